"""Gradient checking: arrays on any device, and a second opinion on every derivative. About 100 minutes.

Derivatives written by hand are often wrong, and a network with a wrong gradient still learns a little. So we ask a
witness who knows no algebra, only the function itself:

    f'(x) ~ (f(x + h) - f(x - h)) / 2h      off by about      h^2 |f'''| / 6   +   eps |f| / h
                                                                truncation          rounding

A large step h suffers from the first error, a small one from the second. Before that we move arrays between the host
and a device, since everything later in the course should run on both.

Nocedal and Wright (2006), "Numerical Optimization", section 8.1; Goldberg (1991), "What every computer scientist
should know about floating-point arithmetic".
"""

from pathlib import Path

import numpy as np

EPS = 2.0**-52  # from 1.0 to the next float64: the relative size of one rounding
RTOL = 1e-6  # two slopes that agree to one part in a million are the same


class GradientError(AssertionError):
    """A gradient that is wrong, or that could not be checked."""


# Arrays. A backend is a minigen.backend.Backend: `module` is its array module (numpy, cupy, ...; `module.ndarray` is
# the type of its arrays), `to_host(array)` gives a NumPy array, `from_host(array)` an array of the backend.


def move(x, target, backends):
    """(...) of one of `backends` -> (...) of the backend `target`, with the same numbers, shape and dtype

    `target` is one of `backends`. An array that is there already is returned as it is: no copy, no transfer. What is
    no array of any of the backends (a list, a number, a stranger's array) is a TypeError that names its type.
    """
    # solution: find the backend that x belongs to; an array that must travel goes through the host
    for source in backends:
        if isinstance(x, source.module.ndarray):
            return x if source is target else target.from_host(source.to_host(x))
    names = ", ".join(backend.name for backend in backends)
    raise TypeError(f"move: found a {type(x).__name__}, expected an array of one of: {names}")
    # end


def draw(shape, *, rng, backend):
    """shape -> (*shape) float32 of `backend`: independent draws from the normal distribution N(0, 1)

    The numbers come from `rng`, a numpy.random.Generator, and from nothing else: they are drawn on the host and moved,
    so one seed gives the same numbers on every backend.
    """
    # solution: draw on the host from rng, make it float32, hand it to the backend
    return backend.from_host(rng.standard_normal(shape, dtype=np.float32))
    # end


def sigmoid(x, *, xp):
    """(...) -> (...): 1 / (1 + exp(-x)), in the dtype of x

    `xp` is the array module that x belongs to; no other is called. Nothing overflows, however large |x| is, and small
    results are accurate too: at x = -50 it is 1.9e-22, not 0.
    """
    # solution: take exp of -|x| only; x >= 0 and x < 0 then need different fractions
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)
    # end


# Gradients by hand. The rule of y = f(x) takes g, the gradient of a loss with respect to y, and returns the gradient of
# that loss with respect to x. In other words: the gradient of sum(g * f(x)), g held fixed.


def sigmoid_vjp(g, x, *, xp):
    """(...), (...) -> (...): the gradient of sum(g * sigmoid(x)) with respect to x"""
    y = sigmoid(x, xp=xp)
    return g * y * (1 - y)


def matmul_vjp(g, x, W):
    """(N, m), (N, n), (n, m) -> (N, n), (n, m): gradients of sum(g * (x @ W)) with respect to x and to W

    Operators and methods only, no array module: so it serves every backend as it is.
    """
    # solution: return two products, each of g and the other factor transposed, on its own side
    return g @ W.T, x.T @ g
    # end


# Slopes by differences


def forward_difference(f, x, d, h):
    """f: (...) -> (), x (...), d (...) -> (): the slope at x along d, from x and x + h d; off by about h |f''| / 2"""
    return (f(x + h * d) - f(x)) / h


def central_difference(f, x, d, h):
    """f: (...) -> (), x (...), d (...) -> (): the slope at x along d, from x + h d and x - h d

    In the dtype of x. x and d stay as they are, to the last bit, even when f raises.
    """
    # solution: the change of f from x - h d to x + h d, divided by the distance in units of d
    return (f(x + h * d) - f(x - h * d)) / (2 * h)
    # end


def error_curve(rule, f, df, x, steps):
    """f, df: () -> (), x (), steps (n,) -> (n,): relative error of `rule`, one of the two above, at each step"""
    slopes = [float(rule(f, x, np.ones_like(x), h)) for h in np.asarray(steps).tolist()]
    return np.abs(np.array(slopes) / df(np.float64(x)) - 1)


def numerical_grad(f, x, h=1e-5):
    """f: (...) -> (), x (...) -> (...) float64: the gradient of f at x, every entry by a central difference

    f sees float64 arrays of the shape of x, whatever the dtype of x (integers too). Entry i moves by
    h * max(1, |x_i|) to both sides, since next to 1e7 a step of 1e-5 is lost in rounding. x stays as it is, also when
    f raises.
    """
    # solution: a float64 copy; for each entry a direction d that is zero elsewhere, then a central difference
    x = np.array(x, dtype=np.float64)
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = max(1.0, abs(x[i]))
        grad[i] = central_difference(f, x, d, h) / d[i]
    return grad
    # end


# The checker


def close_enough(yours, numeric, noise):
    """(...), (...), noise >= 0 -> (...) bool: |yours - numeric| <= RTOL * max(|yours|, |numeric|) + noise

    `noise`, () or (...), is what rounding alone can do to `numeric`. NaN and infinity are close to nothing, not even
    to themselves; zero is close to zero.
    """
    # solution: the formula, entry by entry, and False wherever one of the two is not finite
    finite = np.isfinite(yours) & np.isfinite(numeric)
    with np.errstate(invalid="ignore"):  # inf - inf
        return finite & (np.abs(yours - numeric) <= RTOL * np.maximum(np.abs(yours), np.abs(numeric)) + noise)
    # end


def has_kink(f, x, d, h, noise):
    """f: (...) -> (), x (...), d (...) -> bool: whether f bends sharply at x along d, so that no slope exists there

    right(h) = (f(x + h d) - f(x)) / h, left(h) = (f(x) - f(x - h d)) / h, and bend(h) = right(h) - left(h). Where f is
    smooth the bend is proportional to h, at a kink it stays when h shrinks. So it is a kink if |bend(h) - 2 bend(h/2)|
    exceeds RTOL * max(|right(h)|, |left(h)|) + 8 * noise; `noise`, a number, is the rounding error of one slope.
    """
    # solution: left and right slopes at h and at h/2, the two bends, and the comparison
    right, left = forward_difference(f, x, d, h), forward_difference(f, x, d, -h)
    half = forward_difference(f, x, d, h / 2) - forward_difference(f, x, d, -h / 2)
    return bool(abs(right - left - 2 * half) > RTOL * max(abs(right), abs(left)) + 8 * noise)
    # end


def directions(x, *, rng, limit=300, k=20):
    """(...) -> yields arrays (...): the directions along which a gradient at x is tried, in units of max(1, |x_i|)

    Up to `limit` entries, one direction for each: max(1, |x_i|) at entry i and 0 elsewhere. So no entry is missed.
    Beyond, `k` random directions: at every entry +-max(1, |x_i|) / sqrt(x.size), each sign a fair coin from rng.
    """
    # solution: yield one array for each entry; or k arrays of random signs times the scale if there are too many
    scale = np.maximum(1.0, np.abs(x))
    if x.size > limit:
        for _ in range(k):
            yield rng.choice([-1.0, 1.0], x.shape) * scale / np.sqrt(x.size)
        return
    for i in np.ndindex(x.shape):
        d = np.zeros_like(scale)
        d[i] = scale[i]
        yield d
    # end


def untouched(function, *arrays):
    """The result of function(*arrays), called with copies; GradientError if it changes one of them in place"""
    copies = [array.copy() for array in arrays]
    result = np.array(function(*copies))
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(copies, arrays, strict=True)):
        raise GradientError(f"{function.__name__} changes its input in place: it must work on a copy")
    return result


def gradcheck(f, vjp, x, *, rng, h=1e-5, limit=300):
    """f: (...) -> array, vjp: (g, x) -> gradient of sum(g * f(x)), x (...) -> (directions compared, kinks skipped)

    x: a float array, else TypeError; it stays as it is, f and vjp see float64 copies. Anything wrong is a
    GradientError. First come the manners: f(x) is finite and the same when asked twice; neither f nor vjp changes
    its input; vjp(g, x), for one random g ~ N(0, 1) from rng, has the shape of x, dtype float64, and is finite.
    Then the numbers: along each of the `directions` (all of x.size <= limit, else random ones) the slope of
    sum(g * f(x)) at step h/2 is `close_enough` to that of vjp. Noise: 8 EPS sum|g * f(x)| / h for rounding, plus the
    difference of the slopes at h and h/2 for truncation. A direction with a kink is skipped and counted, neither
    right nor wrong. If nothing is left to compare, that is an error as well.
    """
    # solution: first dtype, determinism, shape and finiteness; then compare along each direction
    if np.asarray(x).dtype.kind != "f":
        raise TypeError(f"gradcheck: x has dtype {np.asarray(x).dtype}, expected floats: use x.astype(float)")
    x = np.array(x, dtype=np.float64)
    y = untouched(f, x)
    if not np.array_equal(y, untouched(f, x), equal_nan=True):
        raise GradientError("f gives two results at the same x: draw its random numbers outside")
    g = rng.standard_normal(y.shape)
    grad = untouched(vjp, g, x)
    if grad.shape != x.shape or grad.dtype != x.dtype:
        raise GradientError(f"the gradient is {grad.shape} {grad.dtype}, expected {x.shape} {x.dtype} as x")
    if not (np.isfinite(y).all() and np.isfinite(grad).all()):
        raise GradientError("f(x) or its gradient holds NaN or infinity")

    def loss(x):
        return (g * f(x)).sum()

    compared = skipped = 0
    noise = 8 * EPS * np.abs(g * y).sum() / h
    for d in directions(x, rng=rng, limit=limit):
        if has_kink(loss, x, d, h, noise):
            skipped += 1
            continue
        wide, numeric = central_difference(loss, x, d, h), central_difference(loss, x, d, h / 2)
        yours = (grad * d).sum()
        if not close_enough(yours, numeric, noise + abs(wide - numeric)):
            at = np.argwhere(d).tolist()[0] if x.size <= limit else "many entries"
            raise GradientError(f"wrong slope at {at}: yours {yours:.10g}, numeric {numeric:.10g}")
        compared += 1
    if not compared:
        raise GradientError(f"nothing could be compared ({skipped} kinks): that is no pass")
    return compared, skipped
    # end


def picture(path):
    """Error against step for exp at x = 1, written to `path` as PNG: the V on which every gradient check rests"""
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    steps = np.logspace(-14, 0, 113)
    curves = {
        "forward, float64": error_curve(forward_difference, np.exp, np.exp, np.float64(1), steps),
        "central, float64": error_curve(central_difference, np.exp, np.exp, np.float64(1), steps),
        "central, float32": error_curve(central_difference, np.exp, np.exp, np.float32(1), steps[48:]),
    }
    figure = Figure(figsize=(6.4, 4), dpi=160, layout="constrained")
    ax = figure.subplots()
    for label, errors in curves.items():
        ax.loglog(steps[-len(errors) :], errors, lw=1.4, label=label)
    ax.loglog(steps, steps**2 / 6, "k:", lw=1, label="truncation, h² / 6")
    ax.loglog(steps, EPS / steps, "k--", lw=1, label="rounding, eps / h")
    ax.set(xlabel="step h", ylabel="relative error", ylim=(1e-13, 10), title="exp'(1) by differences")
    ax.legend(frameon=False, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    picture(Path("runs/e01_error_curve.png"))
    print("wrote runs/e01_error_curve.png")
