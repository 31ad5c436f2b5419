"""Products of matrices. On the CPU a large one is shared by the workers, each with its own rows of the result."""

from minigen import workers
from minigen.autograd import op
from minigen.backend import active, describe, xp
from minigen.errors import ShapeError
from minigen.ops.shape import mT, reshape


@op
def matmul(a, b):
    """(..., n, k) @ (..., k, m) -> (..., n, m); a vector counts as one row on the left, one column on the right"""
    return product(a, b)


@matmul.vjp
def _(g, y, a, b):
    if a.ndim > 1 and b.ndim > 1:
        return lambda: matmul(g, mT(b)), lambda: matmul(mT(a), g)
    if a.ndim == 1 and b.ndim == 1:
        return lambda: g * b, lambda: g * a
    if a.ndim == 1:  # (k,) @ (..., k, m) -> (..., m)
        column, row = (*a.shape, 1), (*g.shape[:-1], 1, g.shape[-1])
        return (
            lambda: reshape(b @ reshape(g, shape=(*g.shape, 1)), shape=(*g.shape[:-1], a.shape[0])),
            lambda: reshape(a, shape=column) @ reshape(g, shape=row),
        )
    column = (*g.shape, 1)  # (..., n, k) @ (k,) -> (..., n)
    return (
        lambda: reshape(g, shape=column) @ reshape(b, shape=(1, *b.shape)),
        lambda: _columns(a, g, column),
    )


def _columns(a, g, column):
    """(..., n, k), (..., n) -> (..., k)"""
    y = mT(a) @ reshape(g, shape=column)  # (..., k, 1)
    return reshape(y, shape=y.shape[:-1])


@matmul.fits
def _(a, b):
    if getattr(a, "ndim", 0) == 0 or getattr(b, "ndim", 0) == 0:
        return "matmul needs arrays with at least one axis: use * to scale by a number"
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.shape[-1] != inner:
        hint = ": did you mean b.mT?" if b.ndim > 1 and b.shape[-1] == a.shape[-1] else ""
        return f"the last axis of a ({a.shape[-1]}) must equal the rows of b ({inner}){hint}"
    return f"the batch axes {a.shape[:-2]} and {b.shape[:-2]} do not broadcast"


@op
def linear(x, W, b):
    """(..., n) @ (n, m) + (m,) -> (..., m): a dense layer in one node"""
    if b.shape != W.shape[1:]:  # a bias of another shape might broadcast, and be wrong in silence
        raise ShapeError("the bias does not fit")
    if x.ndim > 2:
        return affine(x.reshape(-1, x.shape[-1]), W, b).reshape(*x.shape[:-1], W.shape[1])
    return affine(x, W, b)


@linear.vjp
def _(g, y, x, W, b):
    n, m = W.shape
    columns = x.shape == (n,)
    return (
        lambda: matmul(g, mT(W)),
        lambda: matmul(
            mT(reshape(x, shape=(-1, n))), g if g.ndim == 2 and not columns else reshape(g, shape=(-1, m))
        ),
        lambda: g,
    )


@linear.fits
def _(x, W, b):
    if getattr(W, "ndim", 0) != 2:
        return f"W must be a matrix (inputs, outputs), got {describe(W)}"
    if x.ndim == 0 or x.shape[-1] != W.shape[0]:
        found = x.shape[-1] if x.ndim else "none"
        flat = 1
        for n in x.shape[1:]:
            flat *= n
        hint = (
            f": flatten the images first, x.reshape({x.shape[0]}, -1)"
            if x.ndim > 2 and flat == W.shape[0]
            else ""
        )
        return f"the layer expects {W.shape[0]} features on the last axis of x, found {found}{hint}"
    return f"the bias must have shape ({W.shape[1]},), got {describe(b)}"


# On raw arrays

SHARED_FROM = 1 << 24  # operations of a product that is worth handing a part of to a worker
LEAST_ROWS = 16  # of the result for each worker: fewer leave a product too thin to be fast


def product(a, b):
    """(..., n, k) @ (..., k, m) raw -> (..., n, m)"""
    if not _is_shared(a, b):
        return a @ b
    y = xp.empty((a.shape[0], b.shape[1]), xp.result_type(a, b))
    workers.share(len(a), lambda start, stop: xp.matmul(a[start:stop], b, out=y[start:stop]))
    return y


def affine(x, W, b):
    """(N, n) @ (n, m) + (m,) raw -> (N, m)"""
    if not _is_shared(x, W):
        y = x @ W
        y += b
        return y
    y = xp.empty((x.shape[0], W.shape[1]), xp.result_type(x, W, b))

    def rows(start, stop):
        xp.matmul(x[start:stop], W, out=y[start:stop])
        y[start:stop] += b

    workers.share(len(x), rows)
    return y


def _is_shared(a, b):
    return (
        getattr(a, "ndim", 0) == getattr(b, "ndim", 0) == 2
        and 2 * a.size * b.shape[1] > SHARED_FROM
        and a.shape[0] >= 2 * LEAST_ROWS
        and active().name == "numpy"
        and workers.have_the_cores()
    )
