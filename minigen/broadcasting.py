"""Broadcasting and its transpose: the engine's own business, so that no rule has to mention it."""

import math
from collections.abc import Sequence

from minigen.backend import Array, active, xp
from minigen.errors import ShapeError
from minigen.recording import op


def broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether broadcasting makes `to` of `shape`."""
    extra = len(to) - len(shape)
    return extra >= 0 and all(n in (1, m) for n, m in zip(shape, to[extra:], strict=True))


@op
def sum_to(x, *, shape):
    """(...) -> shape, summing the axes that broadcasting from `shape` would have added or stretched."""
    if x.shape == tuple(shape):
        return x
    if not broadcasts(shape, x.shape):
        raise ShapeError(f"broadcasting does not make {tuple(x.shape)} of {tuple(shape)}")
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1
    )
    return sum_axes(x, axes).reshape(shape)


@sum_to.vjp
def _(g, y, x, *, shape):
    before = x.shape
    return lambda: broadcast_to(g, shape=before)


@op
def broadcast_to(x, *, shape):
    """(...) -> shape, by NumPy's rules; a read-only view of x."""
    return xp.broadcast_to(x, shape)


@broadcast_to.vjp
def _(g, y, x, *, shape):
    before = x.shape
    return lambda: sum_to(g, shape=before)


def sum_axes(x: Array, axes: tuple[int, ...]) -> Array:
    """`x.sum(axes)`; axes that lead in memory as a product with ones, which is four times as fast.

    Those are the first axes of an ordinary array, and all but the channels of a map that is kept channels last.
    """
    if axes and len(axes) < x.ndim and x.dtype.kind == "f" and x.size > 4096 and active().name == "numpy":
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        leading = x.transpose(axes + kept)
        if leading.flags.c_contiguous:
            shape = leading.shape[len(axes) :]
            rows = x.size // math.prod(shape)
            return (xp.ones(rows, x.dtype) @ leading.reshape(rows, -1)).reshape(shape)
    return x.sum(axis=axes) if axes else x
