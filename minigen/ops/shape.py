"""Operations that move numbers without changing them. Linear ones come in pairs, each the other's gradient."""

from minigen.autograd import broadcast_to, op, sum_to
from minigen.backend import xp

__all__ = [
    "astype", "broadcast_to", "concatenate", "expand_dims", "flip", "mT", "moveaxis", "pad", "put", "reshape", "squeeze",
    "stack", "sum_to", "swapaxes", "take", "transpose",
]  # fmt: skip


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


@op
def swapaxes(x, *, a, b):
    """(...) -> (...) with the axes a and b exchanged"""
    return x.swapaxes(a, b)


@swapaxes.vjp
def _(g, y, x, *, a, b):
    return lambda: swapaxes(g, a=a, b=b)


@op
def mT(x):
    """(..., n, m) -> (..., m, n)"""
    return x.swapaxes(-1, -2)


@mT.vjp
def _(g, y, x):
    return lambda: mT(g)


@op
def moveaxis(x, *, source, destination):
    """(...) -> (...) with one axis moved to another place"""
    return xp.moveaxis(x, source, destination)


@moveaxis.vjp
def _(g, y, x, *, source, destination):
    return lambda: moveaxis(g, source=destination, destination=source)


@op
def expand_dims(x, *, axis):
    """(...) -> (...) with an axis of size 1 at `axis`"""
    return xp.expand_dims(x, axis)


@expand_dims.vjp
def _(g, y, x, *, axis):
    before = x.shape
    return lambda: reshape(g, shape=before)


@op
def squeeze(x, *, axis=None):
    """(...) -> (...) without its axes of size 1, or without those named"""
    return xp.squeeze(x, axis=axis)


@squeeze.vjp
def _(g, y, x, *, axis=None):
    before = x.shape
    return lambda: reshape(g, shape=before)


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
    return xp.pad(x, width)


@pad.vjp
def _(g, y, x, *, width):
    inside = tuple(slice(before, before + n) for (before, _), n in zip(width, x.shape, strict=True))
    return lambda: take(g, index=inside)


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


@op
def stack(*xs, axis=0):
    """Arrays of one shape -> one array with a new axis"""
    return xp.stack(xs, axis=axis)


@stack.vjp
def _(g, y, *xs, axis=0):
    before = (slice(None),) * (axis % g.ndim)
    return tuple(lambda i=i: take(g, index=(*before, i)) for i in range(len(xs)))


@op
def take(x, *, index):
    """x[index], with any index that NumPy takes: integers, slices, None, ..., integer and boolean arrays"""
    check_bounds(x.shape, index)
    return x[index]


@take.vjp
def _(g, y, x, *, index):
    before = x.shape
    return lambda: put(g, index=index, shape=before)


@op
def put(x, *, index, shape):
    """Zeros of `shape` with x added at `index`: the transpose of `take`. Repeated places add up."""
    y = xp.zeros(shape, x.dtype)
    if _is_basic(index):
        y[index] = x
    else:
        xp.add.at(y, index, x)
    return y


@put.vjp
def _(g, y, x, *, index, shape):
    return lambda: take(g, index=index)


def _is_basic(index):
    """Slices and integers name every place at most once; arrays may repeat one."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice | int) for p in parts) or (
        len(parts) == 1 and getattr(parts[0], "dtype", None) == bool
    )


def check_bounds(shape, index):
    """IndexError for an index outside: CuPy would wrap it silently, so minigen looks itself."""
    parts = index if isinstance(index, tuple) else (index,)
    if Ellipsis in [p for p in parts if not hasattr(p, "shape")]:
        at = next(i for i, p in enumerate(parts) if p is Ellipsis)
        used = sum(_axes_of(p) for p in parts)
        parts = parts[:at] + (slice(None),) * (len(shape) - used) + parts[at + 1 :]
    axis = 0
    for p in parts:
        if getattr(getattr(p, "dtype", None), "kind", "") in "iu" and getattr(p, "size", 0):
            low, high = int(p.min()), int(p.max())
            if axis < len(shape) and (low < -shape[axis] or high >= shape[axis]):
                bad = high if high >= shape[axis] else low
                raise IndexError(f"index {bad} is out of bounds for axis {axis} with size {shape[axis]}")
        axis += _axes_of(p)


def _axes_of(part):
    """How many axes of the indexed array a part of the index uses up."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if getattr(part, "dtype", None) == bool else 1
