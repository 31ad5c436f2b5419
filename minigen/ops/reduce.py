"""Reductions, and the stable functions made of them. `axis` and `keepdims` as in NumPy."""

from minigen.autograd import op, sum_axes
from minigen.backend import describe, xp
from minigen.errors import ShapeError
from minigen.ops.elementwise import exp, sqrt, where
from minigen.ops.shape import along_axes, broadcast_to, flip, listed, missing_axis, reshape


def _axes(axis, ndim):
    """axis (None, int or tuple, negative allowed) -> a sorted tuple of axes"""
    if axis is None:
        return tuple(range(ndim))
    axes = listed(axis)
    wrong = missing_axis(ndim, *axes)
    if wrong:
        raise ShapeError(wrong)
    return tuple(sorted(a % ndim for a in axes))


def _kept(shape, axes):
    """shape with 1 on the reduced axes"""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _count(shape, axes):
    n = 1
    for a in axes:
        n *= shape[a]
    return n


@op
def sum(x, *, axis=None, keepdims=False):
    """(...) -> (...) without the reduced axes"""
    axes = _axes(axis, x.ndim)
    y = sum_axes(x, axes)
    return y.reshape(_kept(x.shape, axes)) if keepdims else y


@sum.vjp
def _(g, y, x, *, axis=None, keepdims=False):
    before, kept = x.shape, _kept(x.shape, _axes(axis, x.ndim))
    return lambda: broadcast_to(reshape(g, shape=kept), shape=before)


@op
def mean(x, *, axis=None, keepdims=False):
    """(...) -> (...) without the reduced axes. Of nothing: an error, not a NaN."""
    n = _count(x.shape, _axes(axis, x.ndim))
    if n == 0:
        raise ShapeError("there is no mean of no elements")
    return x.sum(axis=axis, keepdims=keepdims) * (1.0 / n)


@mean.vjp
def _(g, y, x, *, axis=None, keepdims=False):
    axes = _axes(axis, x.ndim)
    before, kept, scale = x.shape, _kept(x.shape, axes), 1.0 / _count(x.shape, axes)
    return lambda: broadcast_to(reshape(g * scale, shape=kept), shape=before)


def var(x, axis=None, keepdims=False, ddof=0):
    """(...) -> (...): the mean squared distance from the mean (ddof=1: divided by n - 1)"""
    wrong = missing_axis(x.ndim, *listed(axis))
    if wrong:
        raise ShapeError(f"var(x: {describe(x)}): {wrong}")
    axes = _axes(axis, x.ndim)
    n = _count(x.shape, axes)
    if n <= ddof:
        raise ShapeError(
            f"var(x: {describe(x)}): it needs more than {ddof} values along the axes {axes}, found {n}"
        )
    centred = x - mean(x, axis=axes, keepdims=True)
    return sum(centred * centred, axis=axes, keepdims=keepdims) * (1.0 / (n - ddof))


def std(x, axis=None, keepdims=False, ddof=0):
    """(...) -> (...): the square root of the variance. The derivative at 0 is infinite."""
    return sqrt(var(x, axis, keepdims, ddof))


@along_axes
@op
def max(x, *, axis=None, keepdims=False):
    """(...) -> (...): the largest value; equal largest values share the gradient"""
    return x.max(axis=_axes(axis, x.ndim), keepdims=keepdims)


@max.vjp
def _(g, y, x, *, axis=None, keepdims=False):
    return _extremum_rule(g, y, x, axis)


@along_axes
@op
def min(x, *, axis=None, keepdims=False):
    """(...) -> (...): the smallest value; equal smallest values share the gradient"""
    return x.min(axis=_axes(axis, x.ndim), keepdims=keepdims)


@min.vjp
def _(g, y, x, *, axis=None, keepdims=False):
    return _extremum_rule(g, y, x, axis)


def _extremum_rule(g, y, x, axis):
    axes = _axes(axis, x.ndim)
    kept = _kept(x.shape, axes)

    def thunk():
        here = x == reshape(y, shape=kept)  # a raw mask
        share = here * (1.0 / here.sum(axis=axes, keepdims=True)).astype(y.dtype)
        return reshape(g, shape=kept) * share

    return thunk


@along_axes
@op
def prod(x, *, axis=None, keepdims=False):
    """(...) -> (...): the product of the values, which must not be 0 for the gradient to be finite"""
    return x.prod(axis=_axes(axis, x.ndim), keepdims=keepdims)


@prod.vjp
def _(g, y, x, *, axis=None, keepdims=False):
    kept = _kept(x.shape, _axes(axis, x.ndim))
    return lambda: reshape(g * y, shape=kept) / x


@along_axes
@op
def cumsum(x, *, axis):
    """(..., n, ...) -> (..., n, ...): running sums along one axis"""
    return x.cumsum(axis=axis)


@cumsum.vjp
def _(g, y, x, *, axis):
    return lambda: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)


@along_axes
@op
def logsumexp(x, *, axis=None, keepdims=False):
    """(...) -> (...): log(sum(exp(x))), finite whenever x is"""
    axes = _axes(axis, x.ndim)
    top = x.max(axis=axes, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros((), x.dtype))  # all -inf: the sum is 0, not NaN
    y = xp.log(xp.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axes])


@logsumexp.vjp
def _(g, y, x, *, axis=None, keepdims=False):
    # softmax(x) is exp(x - y), without the digits that the difference of two large numbers loses
    axes = _axes(axis, x.ndim)
    kept = _kept(x.shape, axes)
    return lambda: reshape(g, shape=kept) * softmax(x, axis=axes)


@along_axes
@op
def log_softmax(x, *, axis=-1):
    """(..., K) -> (..., K): log-probabilities, x - logsumexp(x)"""
    y = x - x.max(axis=axis, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))
    return y


@log_softmax.vjp
def _(g, y, x, *, axis=-1):
    return lambda: g - exp(y) * sum(g, axis=axis, keepdims=True)


@along_axes
@op
def softmax(x, *, axis=-1):
    """(..., K) -> (..., K): probabilities that sum to 1 along `axis`"""
    y = xp.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


@softmax.vjp
def _(g, y, x, *, axis=-1):
    def thunk():
        gy = g * y
        return gy - y * sum(gy, axis=axis, keepdims=True)

    return thunk


def safe_norm(x, axis=None, keepdims=False):
    """(...) -> (...): the Euclidean norm, with gradient 0 instead of NaN at the zero vector"""
    squared = sum(x * x, axis=axis, keepdims=keepdims)
    at_zero = squared == 0
    return where(at_zero, squared * 0.0, sqrt(where(at_zero, squared * 0.0 + 1.0, squared)))
