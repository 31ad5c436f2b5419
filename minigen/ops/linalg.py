"""Products of matrices."""

from minigen.autograd import op
from minigen.backend import describe
from minigen.errors import ShapeError
from minigen.ops.shape import mT, reshape


@op
def matmul(a, b):
    """(..., n, k) @ (..., k, m) -> (..., n, m); a vector counts as one row on the left, one column on the right"""
    return a @ b


@matmul.vjp
def _(g, y, a, b):
    if a.ndim > 1 and b.ndim > 1:
        return lambda: g @ mT(b), lambda: mT(a) @ g
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
    y = x @ W
    y += b
    return y


@linear.vjp
def _(g, y, x, W, b):
    n, m = W.shape
    columns = x.shape == (n,)
    return (
        lambda: g @ mT(W),
        lambda: (
            mT(reshape(x, shape=(-1, n))) @ (g if g.ndim == 2 and not columns else reshape(g, shape=(-1, m)))
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
