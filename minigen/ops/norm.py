"""Normalisations as single nodes: the statistics are part of the function, and of its gradient.

Ioffe and Szegedy 2015, Batch Normalization, algorithm 1; Ba, Kiros and Hinton 2016, Layer Normalization, eq. 4.
"""

from minigen.autograd import fused, sum_axes
from minigen.backend import describe, xp
from minigen.errors import ShapeError
from minigen.ops.elementwise import sqrt
from minigen.ops.reduce import mean
from minigen.ops.shape import reshape


def channel_axes(x):
    """(N, C, ...) -> (all axes but 1), and the shape (1, C, 1, ...) that lays a (C,) array along axis 1"""
    if x.ndim < 2:
        raise ShapeError(f"channels lie along axis 1, but the input is {describe(x)}")
    return (0, *range(2, x.ndim)), (1, x.shape[1], *(1 for _ in x.shape[2:]))


def moments(x):
    """(N, C, ...) -> mean (C,), biased variance (C,), x - mean; on raw arrays"""
    axes, along = channel_axes(x)
    n = x.size // x.shape[1] if x.size else 0
    if n < 2:
        raise ShapeError(
            f"a batch of shape {tuple(x.shape)} has {n} value{'' if n == 1 else 's'} per channel, and the statistics "
            "of a batch need at least 2: use a larger batch, or .eval()"
        )
    middle = sum_axes(x, axes) * (1.0 / n)
    centred = x - middle.reshape(along)
    return middle, sum_axes(xp.square(centred), axes) * (1.0 / n), centred


@fused
def batch_norm(x, gamma, beta, *, eps=1e-5, stats=None):
    """(N, C, ...), (C,), (C,) -> (N, C, ...): gamma (x - mean) / sqrt(var + eps) + beta, per channel over the batch

    stats: what `moments(x)` gave, for a caller that has it already.
    """
    _, along = channel_axes(x)
    _, var, centred = moments(x) if stats is None else stats
    inverse = 1.0 / xp.sqrt(var + eps)
    y = centred * (gamma * inverse).reshape(along)
    y += beta.reshape(along)
    return y, (centred, inverse)


@batch_norm.vjp
def _(g, saved, x, gamma, beta, *, eps=1e-5, stats=None):
    centred, inverse = saved
    axes, along = channel_axes(centred)
    known = {}

    def total():  # of g; each of the two sums is needed by two thunks at most
        if "g" not in known:
            known["g"] = sum_axes(g, axes)
        return known["g"]

    def weighted():  # of g (x - mean)
        if "gc" not in known:
            known["gc"] = sum_axes(g * centred, axes)
        return known["gc"]

    def for_x():  # s (g - mean(g) - centred mean(g centred) / (var + eps)), s = gamma / sqrt(var + eps)
        share = centred.shape[1] / centred.size
        scale = gamma * inverse
        gx = centred * (scale * inverse * inverse * weighted() * -share).reshape(along)
        gx += g * scale.reshape(along)
        gx -= (scale * total() * share).reshape(along)
        return gx

    return for_x, lambda: weighted() * inverse, total


@batch_norm.as_twin
def _(x, gamma, beta, *, eps=1e-5, stats=None):
    axes, along = channel_axes(x)
    centred = x - mean(x, axis=axes, keepdims=True)
    var = mean(centred * centred, axis=axes, keepdims=True)
    return centred / sqrt(var + eps) * reshape(gamma, shape=along) + reshape(beta, shape=along)


@batch_norm.fits
def _(x, gamma, beta, *, eps=1e-5, stats=None):
    if x.ndim > 1 and not gamma.shape == beta.shape == (x.shape[1],):
        hint = ": are the channels on the last axis?" if x.shape[-1] == gamma.shape[0] else ""
        return f"x has {x.shape[1]} channels on axis 1, gamma and beta have {gamma.shape[0]}{hint}"
    return None


@fused
def layer_norm(x, gamma, beta, *, eps=1e-5):
    """(..., *k), (*k), (*k) -> (..., *k): gamma (x - mean) / sqrt(var + eps) + beta, over the axes of gamma"""
    axes = _last_axes(x, gamma, beta)
    normal = x - x.mean(axis=axes, keepdims=True)
    inverse = 1.0 / xp.sqrt(xp.square(normal).mean(axis=axes, keepdims=True) + eps)
    normal *= inverse
    return normal * gamma + beta, (normal, inverse)


@layer_norm.vjp
def _(g, saved, x, gamma, beta, *, eps=1e-5):
    normal, inverse = saved

    def for_x():
        axes = _last_axes(normal, gamma, beta)
        gn = g * gamma
        gx = gn - gn.mean(axis=axes, keepdims=True)
        gx -= normal * (gn * normal).mean(axis=axes, keepdims=True)
        gx *= inverse
        return gx

    return for_x, lambda: g * normal, lambda: g


@layer_norm.as_twin
def _(x, gamma, beta, *, eps=1e-5):
    axes = _last_axes(x, gamma, beta)
    centred = x - mean(x, axis=axes, keepdims=True)
    var = mean(centred * centred, axis=axes, keepdims=True)
    return centred / sqrt(var + eps) * gamma + beta


def _last_axes(x, gamma, beta):
    k = gamma.ndim
    if beta.shape != gamma.shape:
        raise ShapeError(f"gamma {tuple(gamma.shape)} and beta {tuple(beta.shape)} must have the same shape")
    if k == 0 or x.ndim < k or x.shape[x.ndim - k :] != gamma.shape or 0 in gamma.shape:
        raise ShapeError(f"the last axes of x {tuple(x.shape)} must be those of gamma {tuple(gamma.shape)}")
    return tuple(range(-k, 0))
