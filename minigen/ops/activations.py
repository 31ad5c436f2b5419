"""The nonlinearities of neural networks, each finite for every finite input."""

from functools import lru_cache

from minigen.autograd import op
from minigen.backend import active, overflow_to_infinity, xp
from minigen.ops.elementwise import minimum


@op
def sigmoid(x):
    """(...) -> (...): 1 / (1 + exp(-x)); where exp(-x) is infinite, that is 0"""
    with overflow_to_infinity():
        y = xp.exp(-x)
    y += 1.0
    return 1.0 / y


@sigmoid.vjp
def _(g, y, x):
    return lambda: g * (y * (1.0 - y))


@op
def softplus(x):
    """(...) -> (...): log(1 + exp(x)), finite for every finite x"""
    y = log1p_exp_negative(xp.abs(x))
    y += rectified(x)
    return y


def log1p_exp_negative(x):
    """(...) raw -> (...): log(1 + exp(-x)) for x >= 0.

    log(u) corrected by what rounding took from u = 1 + e: as exact as log1p(e), which NumPy computes four times slower.
    """
    e = xp.exp(-x)
    u = e + 1.0
    e -= u - 1.0  # what u lacks; u - 1 is exact
    e /= u
    e += xp.log(u)
    return e


@softplus.vjp
def _(g, y, x):
    return lambda: g * sigmoid(x)


@op
def relu(x):
    """(...) -> (...): max(x, 0), with derivative 0 at 0"""
    return rectified(x)


@relu.vjp
def _(g, y, x):
    return lambda: g * (y > 0)


ROW = 4096  # numbers: a row of zeros that stays in the nearest cache


def rectified(x):
    """(...) raw -> (...): max(x, 0)"""
    if active().name != "numpy" or x.size < 2 * ROW:
        return xp.maximum(x, xp.zeros((1,) * x.ndim, x.dtype))
    y = xp.empty_like(x)
    if x.strides != y.strides:  # it has gaps, which y has not
        return xp.maximum(x, 0, out=y)
    # With a scalar 0 NumPy takes four times as long as with a row of zeros.
    source, target = x.ravel("K"), y.ravel("K")  # views, in the order of memory
    whole = x.size - x.size % ROW
    row = _zeros(x.dtype)
    xp.maximum(source[:whole].reshape(-1, ROW), row, out=target[:whole].reshape(-1, ROW))
    xp.maximum(source[whole:], row[: x.size - whole], out=target[whole:])
    return y


@lru_cache(maxsize=8)
def _zeros(dtype):
    return xp.zeros(ROW, dtype)


# NumPy's where takes ten times as long as arithmetic where the signs are mixed: the processor guesses each choice


@op
def leaky_relu(x, *, slope=0.01):
    """(...) -> (...): x where x > 0, else slope * x"""
    if 0.0 <= slope <= 1.0:
        return xp.maximum(x, x * slope)
    return xp.where(x > 0, x, x * slope)


@leaky_relu.vjp
def _(g, y, x, *, slope=0.01):
    return lambda: g * ((x > 0).astype(x.dtype) * (1.0 - slope) + slope)


@op
def elu(x, *, alpha=1.0):
    """(...) -> (...): x where x > 0, else alpha * (exp(x) - 1)

    exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2): nothing is cancelled, and NumPy's expm1 takes four times as long.
    """
    zero = xp.zeros((), x.dtype)
    t = xp.tanh(xp.minimum(x, zero) * 0.5)
    return xp.maximum(x, zero) + t * (2.0 * alpha) / (1.0 - t)


@elu.vjp
def _(g, y, x, *, alpha=1.0):
    """Below 0 the slope is alpha exp(x), which is y + alpha."""
    return lambda: g * (minimum(y, y * 0.0) + ((x > 0).astype(x.dtype) * (1.0 - alpha) + alpha))
