"""Reading and writing at places: `take` and `put`, each the other's gradient, for every index that NumPy takes."""

from minigen.autograd import op
from minigen.backend import describe, xp


@op
def take(x, *, index):
    """x[index], with any index that NumPy takes: integers, slices, None, ..., integer and boolean arrays"""
    check_bounds(x.shape, index)
    return x[index]


@take.vjp
def _(g, y, x, *, index):
    before = x.shape
    return lambda: put(g, index=index, shape=before)


@take.fits
def _(x, *, index):
    return _wrong_index(x.shape, index)


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


@put.fits
def _(x, *, index, shape):
    wrong = _wrong_index(shape, index)
    return (
        wrong
        or f"x must have the shape of the places that the index names in {tuple(shape)}, or broadcast to it"
    )


def _is_basic(index):
    """Slices and integers name every place at most once; arrays may repeat one."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice) or _is_integer(p) for p in parts) or (
        len(parts) == 1 and _kind(parts[0]) == "b"
    )


def _is_integer(part):
    """A Python or NumPy integer, not an array of one."""
    return hasattr(part, "__index__") and getattr(part, "shape", ()) == ()


def _kind(part):
    return getattr(getattr(part, "dtype", None), "kind", "")


def check_bounds(shape, index):
    """IndexError for an index outside: CuPy would wrap it silently, so minigen looks itself."""
    for axis, p in _by_axis(shape, index):
        if _kind(p) in ("i", "u") and p.size and axis < len(shape):
            low, high = int(p.min()), int(p.max())
            if low < -shape[axis] or high >= shape[axis]:
                raise IndexError(_outside(high if high >= shape[axis] else low, axis, shape))


def _by_axis(shape, index):
    """(axis, part) for each part of an index that uses up axes"""
    parts = index if isinstance(index, tuple) else (index,)
    used, axis = sum(map(_axes_of, parts)), 0
    for p in parts:
        if p is Ellipsis:
            axis += len(shape) - used
        elif p is not None:
            yield axis, p
            axis += _axes_of(p)


def _axes_of(part):
    """How many axes of the indexed array a part of the index uses up."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if _kind(part) == "b" else 1


def _outside(place, axis, shape):
    n = shape[axis]
    return f"index {place} is outside axis {axis} of size {n}" + (
        f" (0 to {n - 1}, or {-n} to -1)" if n else ""
    )


def _wrong_index(shape, index):
    """What is wrong with an index into an array of this shape; None if nothing is found."""
    parts = list(_by_axis(shape, index))
    used = sum(_axes_of(p) for _, p in parts)
    if used > len(shape):
        return f"too many indices: {used} for the {len(shape)} axes of {tuple(shape)}"
    for axis, p in parts:
        if _kind(p) == "b" and tuple(p.shape) != tuple(shape[axis : axis + p.ndim]):
            return (
                f"the mask {describe(p)} does not cover axis {axis} of {tuple(shape)}: shapes must be equal"
            )
        if not (isinstance(p, slice) or _is_integer(p) or _kind(p) in ("b", "i", "u")):
            return f"{describe(p)} is no index: use integers, slices, None, ... and integer or boolean arrays"
        if _is_integer(p) and not -shape[axis] <= p < shape[axis]:
            return _outside(p, axis, shape)
    arrays = [describe(p) for _, p in parts if getattr(p, "shape", ())]
    return f"the index arrays {', '.join(arrays)} do not broadcast" if len(arrays) > 1 else None
