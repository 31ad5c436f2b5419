"""Windows of a map: unfolding, its transpose, and pooling.

`unfold` copies what each window sees, `fold` adds such copies up where they came from: each is the gradient of the
other. Pooling chooses or averages within a window, so its gradients are made of the two.
"""

import math

from minigen.autograd import op
from minigen.backend import describe, xp
from minigen.errors import ShapeError
from minigen.ops.geometry import Geometry, geometry, pair
from minigen.ops.shape import broadcast_to, reshape


@op
def unfold(x, *, kernel, stride=1, padding=0, dilation=1, fill=0.0):
    """(N, C, H, W) -> (N, C kh kw, L): column l holds what window l sees; the border is filled with `fill`"""
    geo = _window(kernel, stride, padding, dilation)
    h, w = _output_size(x, geo)
    (ph, pw), (n, c) = geo.padding, x.shape[:2]
    padded = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
    y = xp.empty((n, c, len(geo.taps), h, w), x.dtype)
    for t, tap in enumerate(geo.taps):
        y[:, :, t] = padded[(..., *geo.places(tap, (h, w)))]
    return y.reshape(n, c * len(geo.taps), h * w)


@unfold.vjp
def _(g, y, x, *, kernel, stride=1, padding=0, dilation=1, fill=0.0):
    size = x.shape[2:]
    return lambda: fold(g, size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


@op
def fold(x, *, size, kernel, stride=1, padding=0, dilation=1):
    """(N, C kh kw, L) -> (N, C, *size): every column added up where `unfold` would have taken it from"""
    geo, size = _window(kernel, stride, padding, dilation), pair("size", size, 1)
    (h, w), (ph, pw), t = geo.output_size(size), geo.padding, len(geo.taps)
    if getattr(x, "ndim", 0) != 3 or x.shape[1] % t or x.shape[2] != h * w:
        raise ShapeError(
            f"x must be (N, C kh kw, L) with a multiple of {t} rows and L = {h} x {w} windows, got {describe(x)}"
        )
    n, c = x.shape[0], x.shape[1] // t
    columns = x.reshape(n, c, t, h, w)
    y = xp.zeros((n, c, size[0] + 2 * ph, size[1] + 2 * pw), x.dtype)
    for t, tap in enumerate(geo.taps):
        y[(..., *geo.places(tap, (h, w)))] += columns[:, :, t]
    return y[:, :, ph : ph + size[0], pw : pw + size[1]]


@fold.vjp
def _(g, y, x, *, size, kernel, stride=1, padding=0, dilation=1):
    return lambda: unfold(g, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


@op
def max_pool2d(x, *, kernel, stride=None, padding=0):
    """(N, C, H, W) -> (N, C, H', W'): the largest value of each window; among equals the first takes the gradient

    stride None: the kernel's size, so that windows tile the map. Padding is never the largest.
    """
    geo = _pooling(kernel, stride, padding)
    h, w = _output_size(x, geo)
    ph, pw = geo.padding
    if ph or pw:
        x = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=-math.inf)
    first, *others = (x[(..., *geo.places(tap, (h, w)))] for tap in geo.taps)
    y = xp.array(first)
    for seen in others:
        xp.maximum(y, seen, out=y)
    return y


@max_pool2d.vjp
def _(g, y, x, *, kernel, stride=None, padding=0):
    geo, size = _pooling(kernel, stride, padding), x.shape[2:]
    how = {"kernel": geo.kernel, "stride": geo.stride, "padding": geo.padding}
    (n, c, h, w), t = y.shape, len(geo.taps)

    def thunk():
        seen = unfold(x, fill=-math.inf, **how)
        equal = reshape(seen, shape=(n, c, t, h, w)) == reshape(y, shape=(n, c, 1, h, w))  # a raw mask
        first = equal & (equal.cumsum(axis=2) == 1)
        share = reshape(g, shape=(n, c, 1, h, w)) * first
        return fold(reshape(share, shape=(n, c * t, h * w)), size=size, **how)

    return thunk


@op
def avg_pool2d(x, *, kernel, stride=None, padding=0):
    """(N, C, H, W) -> (N, C, H', W'): the mean of each window; padding counts as zeros

    stride None: the kernel's size, so that windows tile the map.
    """
    geo = _pooling(kernel, stride, padding)
    h, w = _output_size(x, geo)
    ph, pw = geo.padding
    if ph or pw:
        x = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    first, *others = (x[(..., *geo.places(tap, (h, w)))] for tap in geo.taps)
    y = xp.array(first)
    for seen in others:
        y += seen
    y *= 1.0 / len(geo.taps)
    return y


@avg_pool2d.vjp
def _(g, y, x, *, kernel, stride=None, padding=0):
    geo, size = _pooling(kernel, stride, padding), x.shape[2:]
    how = {"kernel": geo.kernel, "stride": geo.stride, "padding": geo.padding}
    (n, c, h, w), t = g.shape, len(geo.taps)

    def thunk():
        share = broadcast_to(reshape(g * (1.0 / t), shape=(n, c, 1, h, w)), shape=(n, c, t, h, w))
        return fold(reshape(share, shape=(n, c * t, h * w)), size=size, **how)

    return thunk


def _pooling(kernel, stride, padding) -> Geometry:
    geo = _window(kernel, kernel if stride is None else stride, padding, 1)
    if any(2 * p > k for p, k in zip(geo.padding, geo.kernel, strict=True)):
        raise ShapeError(
            f"padding {geo.padding} must be at most half of the window {geo.kernel}: a window must not see padding only"
        )
    return geo


def _window(kernel, stride, padding, dilation) -> Geometry:
    return geometry(pair("kernel", kernel, 1), stride, padding, dilation, None)


def _output_size(x, geo: Geometry):
    if getattr(x, "ndim", 0) != 4:
        raise ShapeError(f"x must have the 4 axes (batch, channels, height, width), got {describe(x)}")
    size = geo.output_size(x.shape[2:])
    if min(size) < 1:
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], geo.padding, strict=True))
        raise ShapeError(
            f"the window {geo.reach} is larger than the padded input {padded}: use a smaller kernel or more padding"
        )
    return size
