"""Convolution, as three linear maps, each the gradient of the others: so gradients of every order exist.

    conv2d            x, w -> y      y[n, f, i, j] = sum of x[n, c, i s + a d - p, j s + b d - p] w[f, c, a, b]
    conv_transpose2d  g, w -> x      its transpose in x: the gradient for x
    conv2d_weight     x, g -> w      its transpose in w: the gradient for w

Names, argument order and weight layouts follow PyTorch. `taps` marks the visible places of the kernel, the same for
all channels; the others are not computed, and their gradient is zero.
"""

from typing import Any

from minigen.autograd import op
from minigen.backend import Array, active, describe
from minigen.errors import ShapeError
from minigen.ops import conv_kernels, conv_plain
from minigen.ops.geometry import Geometry, Pair, geometry, pair
from minigen.ops.reduce import sum

ABSENT: Any = (
    object()
)  # a rule gives one gradient per argument: a bias that is None is one, a bias left out is not


@op
def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, taps=None):
    """(N, C, H, W), (F, C, kh, kw), (F,) -> (N, F, H', W')

    H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1. No kernel is flipped: it is a cross-correlation.
    """
    geo = _geometry(x, w, stride, padding, dilation, taps)
    if x.shape[1] != w.shape[1]:
        raise ShapeError(_channels("x", x, w.shape[1], f"w {tuple(w.shape)} expects {w.shape[1]}"))
    _check_bias(b, w.shape[0], "w has output channels on its first axis")
    _check_fits(x, geo)
    if active().name == "numpy":
        return conv_kernels.forward(x, w, b, geo)
    y = conv_plain.forward(x, w, geo)
    return y if b is None else y + b.reshape(-1, 1, 1)


@conv2d.vjp
def _(g, y, x, w, b=ABSENT, *, stride=1, padding=0, dilation=1, taps=None):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "taps": taps}
    kernel = w.shape[2:]
    extra = geometry(tuple(kernel), stride, padding, dilation, taps).leftover(x.shape[2:])
    thunks = (
        lambda: conv_transpose2d(g, w, output_padding=extra, **how),
        lambda: conv2d_weight(x, g, kernel=kernel, **how),
        lambda: sum(g, axis=(0, 2, 3)),
    )
    return thunks[:2] if b is ABSENT else thunks


@op
def conv_transpose2d(x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, taps=None):
    """(N, F, H', W'), (F, C, kh, kw), (C,) -> (N, C, H, W): each place of x adds a kernel, scaled by it, to the output

    H = (H' - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding. For the input channels F and the output
    channels C, the weights are (in, out, kh, kw), as PyTorch keeps them: those of the conv2d that it transposes.
    """
    geo = _geometry(x, w, stride, padding, dilation, taps)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            _channels("x", x, w.shape[0], f"w {tuple(w.shape)} (in, out, kh, kw) expects {w.shape[0]}")
        )
    _check_bias(b, w.shape[1], "w has output channels on its second axis")
    size = _transposed_size(x, geo, pair("output_padding", output_padding, 0))
    if active().name == "numpy":
        return conv_kernels.transposed(x, w, b, geo, size)
    y = conv_plain.transposed(x, w, geo, size)
    return y if b is None else y + b.reshape(-1, 1, 1)


@conv_transpose2d.vjp
def _(g, y, x, w, b=ABSENT, *, stride=1, padding=0, output_padding=0, dilation=1, taps=None):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "taps": taps}
    kernel = w.shape[2:]
    thunks = (
        lambda: conv2d(g, w, **how),
        lambda: conv2d_weight(g, x, kernel=kernel, **how),
        lambda: sum(g, axis=(0, 2, 3)),
    )
    return thunks[:2] if b is ABSENT else thunks


@op
def conv2d_weight(x, g, *, kernel, stride=1, padding=0, dilation=1, taps=None):
    """(N, C, H, W), (N, F, H', W') -> (F, C, kh, kw): the gradient of conv2d(x, w) for w, given g, the one for y"""
    geo = geometry(pair("kernel", kernel, 1), stride, padding, dilation, taps)
    if getattr(x, "ndim", 0) != 4 or getattr(g, "ndim", 0) != 4 or x.shape[0] != g.shape[0]:
        raise ShapeError("x must be (N, C, H, W) and g (N, F, H', W'), of one batch size N")
    _check_fits(x, geo)
    if geo.output_size(x.shape[2:]) != tuple(g.shape[2:]):
        raise ShapeError(
            f"conv2d of x {tuple(x.shape)} gives maps of {geo.output_size(x.shape[2:])}, but g {tuple(g.shape)} has "
            f"{tuple(g.shape[2:])}"
        )
    kernels: Any = conv_kernels if active().name == "numpy" else conv_plain
    return kernels.weight(x, g, geo)


@conv2d_weight.vjp
def _(v, w, x, g, *, kernel, stride=1, padding=0, dilation=1, taps=None):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "taps": taps}
    extra = geometry(pair("kernel", kernel, 1), stride, padding, dilation, taps).leftover(x.shape[2:])
    return lambda: conv_transpose2d(g, v, output_padding=extra, **how), lambda: conv2d(x, v, **how)


# What does not fit, in the reader's terms


def _geometry(x: Array, w: Array, stride: Any, padding: Any, dilation: Any, taps: Any) -> Geometry:
    for name, array, axes in (("x", x, "(batch, channels, height, width)"), ("w", w, "of a kernel")):
        if getattr(array, "ndim", 0) != 4:
            raise ShapeError(
                f"{name} must have the 4 axes {axes}, got {describe(array)}"
                + (
                    ": give a single image a batch axis with x[None]"
                    if getattr(array, "ndim", 0) == 3
                    else ""
                )
            )
    kernel = (int(w.shape[2]), int(w.shape[3]))
    if min(kernel) < 1:
        raise ShapeError(f"the kernel {kernel} of w {tuple(w.shape)} is empty")
    return geometry(kernel, stride, padding, dilation, taps)


def _channels(name: str, x: Array, wanted: int, expectation: str) -> str:
    hint = ""
    if x.shape[3] == wanted:
        hint = f": are the channels on the last axis? {name}.transpose(0, 3, 1, 2) puts them second"
    return f"{name} {tuple(x.shape)} has {x.shape[1]} channels on axis 1, {expectation}{hint}"


def _check_bias(b: Any, n: int, where: str) -> None:
    if b is not None and getattr(b, "shape", None) != (n,):
        raise ShapeError(
            f"the bias must have shape ({n},), one for each output channel ({where}), got {describe(b)}"
        )


def _check_fits(x: Array, geo: Geometry) -> None:
    if min(geo.output_size(x.shape[2:])) < 1:
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], geo.padding, strict=True))
        dilated = f", {geo.reach} with dilation {geo.dilation}," if geo.reach != geo.kernel else ""
        raise ShapeError(
            f"the kernel {geo.kernel}{dilated} is larger than the padded input {padded} (x {tuple(x.shape)}, padding "
            f"{geo.padding}): use a smaller kernel or more padding"
        )


def _transposed_size(x: Array, geo: Geometry, extra: Pair) -> Pair:
    for e, s, d in zip(extra, geo.stride, geo.dilation, strict=True):
        if e >= max(s, d):
            raise ShapeError(
                f"output_padding {extra} must be smaller than the stride {geo.stride} or the dilation {geo.dilation}"
            )
    size = geo.input_size(x.shape[2:], extra)
    if min(x.shape[2:]) < 1 or min(size) < 1:
        raise ShapeError(
            f"the output would be {size}: x {tuple(x.shape)} with kernel {geo.kernel} and padding {geo.padding} leaves "
            "nothing of it"
        )
    return size
