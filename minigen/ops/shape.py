"""Operations that move numbers without changing them. Linear ones come in pairs, each the other's gradient."""

from minigen.autograd import broadcast_to, op, sum_to
from minigen.backend import xp
from minigen.errors import ShapeError
from minigen.ops.indexing import take

__all__ = [
    "astype", "broadcast_to", "concatenate", "expand_dims", "flip", "mT", "moveaxis", "pad", "reshape", "squeeze",
    "stack", "sum_to", "swapaxes", "transpose",
]  # fmt: skip


def missing_axis(ndim, *axes):
    """What to say of the first axis that an array with `ndim` axes does not have, or of one named twice; or None."""
    for a in axes:
        if not -ndim <= a < ndim:
            return f"there is no axis {a}: the array has {ndim} axes" + (
                f", 0 to {ndim - 1} (or {-ndim} to -1)" if ndim else ""
            )
    twice = len({a % ndim for a in axes}) < len(axes) if ndim else False
    return f"the axes {axes} name one axis twice" if twice else None


def along_axes(call):
    """Decorator of an op with the keyword `axis`: its errors say which axis is missing, or that nothing is there."""

    @call.fits
    def _(x, *, axis=None, **_):
        wrong = missing_axis(x.ndim, *listed(axis))
        return wrong or (f"there is no {call.name} of no elements" if x.size == 0 else None)

    return call


def listed(axis):
    """None, an axis or several -> a tuple"""
    return () if axis is None else tuple(axis) if isinstance(axis, tuple | list) else (axis,)


@op
def astype(x, *, dtype):
    """(...) -> (...): the same numbers in another float dtype"""
    return x.astype(dtype)


@astype.vjp
def _(g, y, x, *, dtype):
    before = x.dtype
    return lambda: astype(g, dtype=before)


@op
def reshape(x, *, shape):
    """(...) -> shape; one size may be -1"""
    return x.reshape(shape)


@reshape.vjp
def _(g, y, x, *, shape):
    before = x.shape
    return lambda: reshape(g, shape=before)


@reshape.fits
def _(x, *, shape):
    return f"{x.size} numbers do not fill the shape {shape}"


@op
def transpose(x, *, axes=None):
    """(...) -> the axes in the order `axes`; reversed without it"""
    return x.transpose(axes) if axes is not None else x.transpose()


@transpose.vjp
def _(g, y, x, *, axes=None):
    if axes is None:
        return lambda: transpose(g)
    order = [a % len(axes) for a in axes]
    back = tuple(order.index(i) for i in range(len(order)))
    return lambda: transpose(g, axes=back)


@transpose.fits
def _(x, *, axes=None):
    return (
        missing_axis(x.ndim, *axes) or f"{x.ndim} axes cannot be put in the order {axes}: name each axis once"
    )


@op
def swapaxes(x, *, a, b):
    """(...) -> (...) with the axes a and b exchanged"""
    return x.swapaxes(a, b)


@swapaxes.vjp
def _(g, y, x, *, a, b):
    return lambda: swapaxes(g, a=a, b=b)


@swapaxes.fits
def _(x, *, a, b):
    return missing_axis(x.ndim, a, b)


@op
def mT(x):
    """(..., n, m) -> (..., m, n)"""
    return x.swapaxes(-1, -2)


@mT.vjp
def _(g, y, x):
    return lambda: mT(g)


@mT.fits
def _(x):
    return "a matrix is needed, (..., n, m): give a vector a second axis with expand_dims"


@op
def moveaxis(x, *, source, destination):
    """(...) -> (...) with one axis moved to another place"""
    return xp.moveaxis(x, source, destination)


@moveaxis.vjp
def _(g, y, x, *, source, destination):
    return lambda: moveaxis(g, source=destination, destination=source)


@moveaxis.fits
def _(x, *, source, destination):
    return missing_axis(x.ndim, source) or missing_axis(x.ndim, destination)


@op
def expand_dims(x, *, axis):
    """(...) -> (...) with an axis of size 1 at `axis`"""
    return xp.expand_dims(x, axis)


@expand_dims.vjp
def _(g, y, x, *, axis):
    before = x.shape
    return lambda: reshape(g, shape=before)


@expand_dims.fits
def _(x, *, axis):
    return missing_axis(x.ndim + len(listed(axis)), *listed(axis))


@op
def squeeze(x, *, axis=None):
    """(...) -> (...) without its axes of size 1, or without those named"""
    return xp.squeeze(x, axis=axis)


@squeeze.vjp
def _(g, y, x, *, axis=None):
    before = x.shape
    return lambda: reshape(g, shape=before)


@squeeze.fits
def _(x, *, axis=None):
    wrong = [a for a in listed(axis) if -x.ndim <= a < x.ndim and x.shape[a] != 1]
    return (
        missing_axis(x.ndim, *listed(axis))
        or f"axis {wrong[0]} has size {x.shape[wrong[0]]}: only axes of size 1 go"
    )


@along_axes
@op
def flip(x, *, axis=None):
    """(...) -> (...) in reverse order along `axis`"""
    return xp.flip(x, axis=axis)


@flip.vjp
def _(g, y, x, *, axis=None):
    return lambda: flip(g, axis=axis)


@op
def pad(x, *, width):
    """(...) -> (...) with zeros around it; `width` is one (before, after) for each axis"""
    if len(width) != x.ndim:  # one pair would be taken for all axes, and the gradient would not know
        raise ShapeError("width does not fit")
    return xp.pad(x, width)


@pad.vjp
def _(g, y, x, *, width):
    inside = tuple(slice(before, before + n) for (before, _), n in zip(width, x.shape, strict=True))
    return lambda: take(g, index=inside)


@pad.fits
def _(x, *, width):
    return f"width must hold one (before, after) for each of the {x.ndim} axes, none negative, got {width}"


@op
def concatenate(*xs, axis=0):
    """Arrays that agree in every axis but one -> one array"""
    return xp.concatenate(xs, axis=axis)


@concatenate.vjp
def _(g, y, *xs, axis=0):
    thunks, start, axis = [], 0, axis % g.ndim
    for x in xs:
        index = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
        thunks.append(lambda index=index: take(g, index=index))
        start += x.shape[axis]
    return tuple(thunks)


@concatenate.fits
def _(*xs, axis=0):
    if not xs:
        return "nothing to join: give at least one array"
    ndims = sorted({x.ndim for x in xs})
    if len(ndims) > 1:
        return f"arrays of {' and '.join(map(str, ndims))} axes cannot be joined: they need equally many"
    others = [i for i in range(ndims[0]) if i != axis % (ndims[0] or 1) and len({x.shape[i] for x in xs}) > 1]
    return missing_axis(ndims[0], axis) or f"axis {others[0]} differs: only the joined axis ({axis}) may"


@op
def stack(*xs, axis=0):
    """Arrays of one shape -> one array with a new axis"""
    return xp.stack(xs, axis=axis)


@stack.vjp
def _(g, y, *xs, axis=0):
    before = (slice(None),) * (axis % g.ndim)
    return tuple(lambda i=i: take(g, index=(*before, i)) for i in range(len(xs)))


@stack.fits
def _(*xs, axis=0):
    if not xs:
        return "nothing to stack: give at least one array"
    if len({x.shape for x in xs}) > 1:
        return "the shapes differ: stack wants them equal (concatenate joins along an existing axis)"
    return missing_axis(xs[0].ndim + 1, axis)


@broadcast_to.fits
def _(x, *, shape):
    return f"{tuple(x.shape)} does not broadcast to {tuple(shape)}: counted from the right, sizes must be equal or 1"


@sum_to.fits
def _(x, *, shape):
    return (
        f"{tuple(x.shape)} is no broadcast of {tuple(shape)}: from the right, sizes must be equal, or 1 there"
    )
