"""Elementwise operations. Operands broadcast; the engine sums the broadcast axes of the gradients."""

import math

from minigen.autograd import Partials, op
from minigen.backend import describe, xp
from minigen.errors import DTypeError


def broadcast_hint(*arrays):
    """Which axis disagrees, counted from the right as broadcasting does."""
    shapes = [tuple(a.shape) for a in arrays if hasattr(a, "shape")]
    longest = max(map(len, shapes), default=0)
    for back in range(1, longest + 1):
        sizes = {s[-back] for s in shapes if len(s) >= back} - {1}
        if len(sizes) > 1:
            found = " and ".join(map(str, sorted(sizes)))
            return f"axis -{back} has sizes {found}: sizes must be equal, or one of them 1"
    return None


def binary(forward):
    """An op of two operands that broadcast."""
    call = op(forward)
    call.fits(broadcast_hint)
    return call


@binary
def add(a, b):
    """(...), (...) -> (...): a + b"""
    return a + b


add.vjp(Partials(lambda g, _y, _a, _b: g, lambda g, _y, _a, _b: g))


@binary
def sub(a, b):
    """(...), (...) -> (...): a - b"""
    return a - b


sub.vjp(Partials(lambda g, _y, _a, _b: g, lambda g, _y, _a, _b: -g))


@binary
def mul(a, b):
    """(...), (...) -> (...): a * b"""
    return a * b


mul.vjp(Partials(lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a))


@binary
def div(a, b):
    """(...), (...) -> (...): a / b"""
    return a / b


div.vjp(Partials(lambda g, _y, _a, b: g / b, lambda g, y, _a, b: -g * y / b))


@binary
def power(a, b):
    """(...), (...) -> (...): a ** b. The gradient for b takes log(a): 0 where a is 0."""
    return a**b


@power.vjp
def _(g, y, a, b):
    def base():
        if isinstance(b, int | float):
            return g * (a ** (b - 1) * b) if b != 0 else g * 0.0
        # b * a**(b - 1) is 0 * inf at a = 0, b = 0, where the derivative is 0
        return where(b == 0, g * 0.0, g * b * a ** where(b == 0, b * 0.0, b - 1))

    def exponent():
        if isinstance(a, int | float):
            return g * y * (math.log(a) if a > 0 else 0.0)
        return g * y * log(where(a == 0, a * 0.0 + 1.0, a))

    return base, exponent


@op
def neg(x):
    """(...) -> (...): -x"""
    return -x


@neg.vjp
def _(g, y, x):
    return lambda: -g


@op
def exp(x):
    """(...) -> (...): e to the x"""
    return xp.exp(x)


@exp.vjp
def _(g, y, x):
    return lambda: g * y


@op
def expm1(x):
    """(...) -> (...): exp(x) - 1, exact near 0"""
    return xp.expm1(x)


@expm1.vjp
def _(g, y, x):
    return lambda: g * exp(x)


@op
def log(x):
    """(...) -> (...): natural logarithm"""
    return xp.log(x)


@log.vjp
def _(g, y, x):
    return lambda: g / x


@op
def log1p(x):
    """(...) -> (...): log(1 + x), exact near 0"""
    return xp.log1p(x)


@log1p.vjp
def _(g, y, x):
    return lambda: g / (x + 1.0)


@op
def sqrt(x):
    """(...) -> (...): square root. The derivative at 0 is infinite."""
    return xp.sqrt(x)


@sqrt.vjp
def _(g, y, x):
    return lambda: g * 0.5 / y


@op
def square(x):
    """(...) -> (...): x * x"""
    return xp.square(x)


@square.vjp
def _(g, y, x):
    return lambda: g * (2.0 * x)


@op
def abs(x):
    """(...) -> (...): |x|, with derivative 0 at 0"""
    return xp.abs(x)


@abs.vjp
def _(g, y, x):
    return lambda: g * sign(x)


@op
def sign(x):
    """(...) -> (...): -1, 0 or 1; its derivative is 0 everywhere"""
    return xp.sign(x)


@sign.vjp
def _(g, y, x):
    return lambda: g * 0.0


@op
def sin(x):
    """(...) -> (...)"""
    return xp.sin(x)


@sin.vjp
def _(g, y, x):
    return lambda: g * cos(x)


@op
def cos(x):
    """(...) -> (...)"""
    return xp.cos(x)


@cos.vjp
def _(g, y, x):
    return lambda: -g * sin(x)


@op
def tanh(x):
    """(...) -> (...)"""
    return xp.tanh(x)


@tanh.vjp
def _(g, y, x):
    return lambda: g * (1.0 - y * y)


@binary
def maximum(a, b):
    """(...), (...) -> (...): the larger of the two; where they are equal each gets half of the gradient"""
    return xp.maximum(a, b)


@maximum.vjp
def _(g, y, a, b):
    return lambda: g * _share(a, b), lambda: g * _share(b, a)


@binary
def minimum(a, b):
    """(...), (...) -> (...): the smaller of the two; where they are equal each gets half of the gradient"""
    return xp.minimum(a, b)


@minimum.vjp
def _(g, y, a, b):
    return lambda: g * _share(b, a), lambda: g * _share(a, b)


def _share(a, b):
    """1 where a > b, 1/2 where equal, 0 elsewhere"""
    return 0.5 * (a > b) + 0.5 * (a >= b)


@op
def where(condition, a, b):
    """(...) bool, (...), (...) -> (...): a where the condition holds, else b"""
    if isinstance(condition, bool):
        condition = xp.asarray(condition)
    elif not _is_mask(condition):
        raise DTypeError("not a mask")
    return xp.where(condition, a, b)


@where.vjp
def _(g, y, condition, a, b):
    return lambda: None, lambda: where(condition, g, g * 0.0), lambda: where(condition, g * 0.0, g)


def _is_mask(value):
    return getattr(getattr(value, "dtype", None), "kind", "") == "b"


@where.fits
def _(condition, a, b):
    if not _is_mask(condition):
        return f"the condition must be a boolean array, got {describe(condition)}: compare first, as in x > 0"
    return broadcast_hint(condition, a, b)


@op
def clip(x, *, low=None, high=None):
    """(...) -> (...): x limited to [low, high]; the gradient is 0 outside"""
    return xp.clip(x, _bound(x, low), _bound(x, high))


def _bound(x, bound):
    """A bound that does not widen x: a NumPy number is as weak as a Python number."""
    if getattr(bound, "dtype", x.dtype) == x.dtype:
        return bound
    return bound.astype(x.dtype) if bound.shape else bound.item()


@clip.vjp
def _(g, y, x, *, low=None, high=None):
    inside = True
    if low is not None:
        inside = inside & (x >= low)
    if high is not None:
        inside = inside & (x <= high)
    return lambda: g * inside
