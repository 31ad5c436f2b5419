"""Checks of e01_gradcheck: a toy device that lets no foreign array pass, and a checker put to the test itself."""

import contextlib

import numpy as np
import pytest

from minigen.backend import NUMPY, Backend

# A toy device: NumPy inside, and outside an array that NumPy cannot read.


class ForeignArray(Exception):
    """An array of one library in the hands of another; on a GPU this would fail, or be slow in silence."""


class Guard:
    """An array of a toy device. Operators and methods work among its own kind only."""

    def __init__(self, host):
        self._host = np.asarray(host)

    def __getattr__(self, name):
        value = getattr(self._host, name)
        return lend(type(self), value, f"the method .{name}") if callable(value) else self._own(value)

    def _own(self, value):
        return type(self)(value) if isinstance(value, np.ndarray) else value

    def __array__(self, *args, **kwargs):
        raise ForeignArray("NumPy was given an array of the device: use xp, or bring it home with to_host")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        raise ForeignArray(f"np.{ufunc.__name__} met an array of the device: use xp.{ufunc.__name__}")

    def __array_function__(self, function, types, args, kwargs):
        raise ForeignArray(f"np.{function.__name__} met an array of the device: use xp.{function.__name__}")


def lend(kind, function, name):
    """`function` of NumPy for arrays of one kind: taken out of their guard, and the results put into one."""

    def bare(value):
        if isinstance(value, kind):
            return value._host
        if isinstance(value, np.ndarray | Guard):
            raise ForeignArray(f"{name} was given an array that is not of this device")
        return type(value)(map(bare, value)) if type(value) in (list, tuple) else value

    def call(*args, **kwargs):
        y = function(*map(bare, args), **{key: bare(value) for key, value in kwargs.items()})
        return kind(y) if isinstance(y, np.ndarray | np.generic) else y

    return call


def _delegate(name):
    def method(self, *others):
        return lend(type(self), getattr(self._host, name), f"the operator {name}")(*others)

    return method


OPERATORS = (
    "add radd sub rsub mul rmul truediv rtruediv pow rpow matmul rmatmul neg pos abs invert and or xor "
)
OPERATORS += "eq ne lt le gt ge getitem setitem iadd isub imul itruediv len bool float"
for _name in OPERATORS.split():
    setattr(Guard, f"__{_name}__", _delegate(f"__{_name}__"))


def toy_device(name):
    """(backend, log of its transfers): arrays of its own type, an array module without random numbers."""
    kind, log = type(f"{name.title()}Array", (Guard,), {}), []

    class Module:
        ndarray = kind

        def __getattr__(self, name):
            if name == "random":
                raise ForeignArray("random numbers drawn on the device: draw them on the host, from rng")
            value = from_host if name in ("asarray", "array") else getattr(np, name)
            return (
                lend(kind, value, f"xp.{name}") if _is_function(value) and value is not from_host else value
            )

    def from_host(array, dtype=None):
        if isinstance(array, Guard):
            raise ForeignArray("from_host was given an array of a device: bring it home with to_host first")
        log.append("from_host")
        return kind(np.array(array, dtype=dtype))

    def to_host(array):
        if not isinstance(array, kind):
            raise ForeignArray(f"to_host of {name} was given a {type(array).__name__}")
        log.append("to_host")
        return array._host.copy()

    return Backend(name, Module(), to_host, from_host), log


def _is_function(value):
    return callable(value) and not isinstance(value, type)


def host(array):
    """What a function returned, as a NumPy array."""
    return array._host if isinstance(array, Guard) else np.asarray(array)


def global_stream():
    """The state of NumPy's hidden global generator, which nobody should touch."""
    return np.random.get_state()[1].tolist(), np.random.get_state()[2]


def worst(yours, right):
    """Where two arrays of one shape differ most, for a message."""
    gap = np.abs(np.asarray(yours) - right)
    at = np.unravel_index(np.where(np.isnan(gap), np.inf, gap).argmax(), gap.shape)
    return f"at {tuple(map(int, at))}: yours {np.asarray(yours)[at]:.8g}, right {np.asarray(right)[at]:.8g}"


# move


@pytest.mark.hole("move", kind="value")
def test_move_keeps_numbers(lesson, rng):
    (a, _), (b, _) = toy_device("alpha"), toy_device("beta")
    backends = (NUMPY, a, b)
    for shape, dtype in [
        ((2, 3), "float32"),
        ((2, 3), "float64"),
        ((0, 4), "int64"),
        ((5,), "bool"),
        ((), "float32"),
    ]:
        x = np.asarray(rng.integers(0, 2, shape)).astype(dtype)
        for journey in [(a,), (a, NUMPY), (a, b), (b, a, NUMPY), (NUMPY,)]:
            moved = x
            for target in journey:
                try:
                    moved = lesson.move(moved, target, backends)
                except TypeError as error:
                    raise AssertionError(
                        f"move refuses a {type(moved).__name__} on its way to {target.name} ({error}): ask "
                        "isinstance(x, backend.module.ndarray) of every backend, and raise only after the loop"
                    ) from None
                assert isinstance(moved, target.module.ndarray), (
                    f"move to {target.name} gave a {type(moved).__name__}, not an array of {target.name}: "
                    "to a device with target.from_host, from a device with source.to_host"
                )
            assert host(moved).shape == shape, f"move turned shape {shape} into {host(moved).shape}"
            assert host(moved).dtype == x.dtype, (
                f"move turned {dtype} into {host(moved).dtype}: convert nothing"
            )
            assert np.array_equal(host(moved), x), "move changed the numbers"


@pytest.mark.hole("move", kind="invariant")
def test_move_leaves_alone_what_is_there(lesson, rng):
    (a, log), x = toy_device("alpha"), rng.normal(size=3)
    there = a.from_host(x)
    log.clear()
    for array, target in [(there, a), (x, NUMPY)]:
        same = lesson.move(array, target, (NUMPY, a))
        assert not log, f"an array that is already on the device made a round trip ({', '.join(log)})"
        assert same is array, "an array that is already there was copied: return x itself"


@pytest.mark.hole("move", kind="step")
def test_move_travels_through_the_host_once(lesson, rng):
    (a, log_a), (b, log_b) = toy_device("alpha"), toy_device("beta")
    x = a.from_host(rng.normal(size=3))
    log_a.clear()
    lesson.move(x, b, (NUMPY, a, b))
    assert log_a == ["to_host"], f"leaving device alpha took {log_a}, expected one to_host of alpha"
    assert log_b == ["from_host"], f"entering device beta took {log_b}, expected one from_host of beta"


@pytest.mark.hole("move", kind="shape")
def test_move_refuses_what_is_no_array(lesson):
    a, _ = toy_device("alpha")
    stranger = toy_device("stranger")[0].from_host(np.ones(2))
    for x, target in [
        ([1.0, 2.0], a),
        ([1.0, 2.0], NUMPY),
        (3, a),
        (None, a),
        (stranger, a),
        (stranger, NUMPY),
    ]:
        try:
            moved = lesson.move(x, target, (NUMPY, a))
        except TypeError as error:
            says = str(error)
        else:
            raise AssertionError(
                f"move took a {type(x).__name__} and gave a {type(moved).__name__}; expected a TypeError: "
                "only arrays of one of the backends move, everything else is a mistake of the caller"
            )
        assert type(x).__name__ in says, f"the TypeError does not name the type that was found: {says}"


# draw


@pytest.mark.hole("draw", kind="shape")
def test_draw_shape_and_dtype(lesson, rng):
    device, _ = toy_device("alpha")
    for backend, shape in [
        (NUMPY, (4,)),
        (NUMPY, (2, 3)),
        (device, (2, 1, 3)),
        (device, (0, 2)),
        (device, (4,)),
    ]:
        try:
            x = lesson.draw(shape, rng=rng, backend=backend)
        except TypeError as error:
            raise AssertionError(
                f"draw of shape {shape} raised TypeError ({error}): a Generator takes the shape as one tuple"
            ).with_traceback(error.__traceback__) from None
        assert isinstance(x, backend.module.ndarray), (
            f"draw gave a {type(x).__name__}, expected an array of {backend.name}: the last step is backend.from_host"
        )
        assert x.shape == shape, f"draw gave shape {x.shape}, expected {shape}"
        assert x.dtype == np.float32, (
            f"draw gave {x.dtype}, expected float32: the dtype of everything we train"
        )


@pytest.mark.hole("draw", kind="invariant")
def test_draw_uses_rng_only(lesson, rng):
    device, _ = toy_device("alpha")
    seed, before = int(rng.integers(2**31)), global_stream()
    mine = np.random.default_rng(seed)
    first = lesson.draw((3, 4), rng=mine, backend=NUMPY)
    second = lesson.draw((3, 4), rng=mine, backend=NUMPY)
    again = lesson.draw((3, 4), rng=np.random.default_rng(seed), backend=device)
    other = lesson.draw((3, 4), rng=np.random.default_rng(seed + 1), backend=NUMPY)
    assert global_stream() == before, (
        "draw touched NumPy's hidden global generator (np.random.seed, np.random.randn, ...): use rng"
    )
    assert np.array_equal(first, host(again)), (
        "one seed gave different numbers on two backends: draw on the host from rng, then move"
    )
    assert not np.array_equal(first, second), (
        "two draws from one rng are the same: do not make or seed a generator inside, let rng go on"
    )
    assert not np.array_equal(first, other), (
        "two seeds gave the same numbers: the numbers do not come from rng"
    )


@pytest.mark.hole("draw", kind="value")
def test_draw_is_standard_normal(lesson, rng):
    n = 40_000
    x = lesson.draw((200, n // 200), rng=rng, backend=NUMPY).astype(np.float64)
    assert np.unique(x).size > 0.98 * n, (
        "draw repeats its numbers: every entry is a draw of its own, not clipped, and float32 from the start"
    )
    assert abs(x.mean()) < 5 / np.sqrt(n), (
        f"the mean of {n:,} draws is {x.mean():.3f}, expected 0: is it N(0, 1)?"
    )
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / n), f"the variance is {x.var():.3f}, expected 1: is it N(0, 1)?"
    means = [lesson.draw((4,), rng=rng, backend=NUMPY).mean() for _ in range(200)]
    assert 0.3 < np.std(means) < 0.7, (
        f"the means of 200 draws of four numbers spread by {np.std(means):.2f}, expected 0.50: the numbers are "
        "independent, do not centre or rescale them"
    )
    inside = (np.abs(x) < 1).mean()
    assert abs(inside - 0.6827) < 0.015, (
        f"{inside:.1%} of the draws are within +-1, expected 68.3%: is it normal?"
    )


# sigmoid


@pytest.mark.hole("sigmoid", kind="value")
def test_sigmoid_value(lesson, rng):
    x = rng.normal(size=(3, 5)) * 4
    y = lesson.sigmoid(x.copy(), xp=np)
    assert y.shape == x.shape, f"sigmoid gave {y.shape} for x {x.shape}: it works entry by entry"
    right = np.array([1 / (1 + np.exp(-one)) for one in x.ravel().tolist()]).reshape(x.shape)
    assert np.allclose(y, right, rtol=1e-9, atol=1e-12), (
        f"sigmoid is off, {worst(y, right)}: with e = exp(-|x|) it is 1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0"
    )


@pytest.mark.hole("sigmoid", kind="invariant")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_never_overflows(lesson, dtype):
    x = np.array([-1e4, -800.0, -100.0, 0.0, 100.0, 800.0, 1e4], dtype)
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            y = lesson.sigmoid(x.copy(), xp=np)
    except FloatingPointError as error:
        raise AssertionError(
            f"sigmoid of {dtype} numbers up to 1e4 meets '{error}': exp(1e4) is too large for any float; take exp of "
            "-|x| only (xp.where computes both of its branches, so neither may overflow)"
        ) from None
    assert np.allclose(y, [0, 0, 0, 0.5, 1, 1, 1], atol=1e-6), f"sigmoid of {x.tolist()} gives {y.tolist()}"


@pytest.mark.hole("sigmoid", kind="value")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_of_very_negative_numbers(lesson, rng, dtype):
    x = rng.uniform(*{"float32": (-86, -32), "float64": (-600, -32)}[dtype], 6).astype(dtype)
    x[0] = -86 if dtype == "float32" else -650
    y = np.asarray(lesson.sigmoid(x.copy(), xp=np), np.float64)
    right = np.exp(x.astype(np.float64))  # 1 + exp(x) is 1
    says = "is the small result a difference of larger numbers? e / (1 + e) with e = exp(-|x|) stays accurate"
    if len(np.unique(y)) == 1 and y[0] > 0:
        says = "it is the same for all of them: do not clip x, exp(-|x|) overflows nowhere"
    elif not y.any():
        says = "all are 0: the small results are lost beside a 1 (1 - ..., or 1 + tanh); take e / (1 + e)"
    assert np.allclose(y, right, rtol=1e-4, atol=0), (
        f"sigmoid({x[0]:.4g}) is {y[0]:.4g}, expected {right[0]:.4g}: {says}"
    )


@pytest.mark.hole("sigmoid", kind="shape")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_stays_on_its_device(lesson, rng, dtype):
    device, log = toy_device("alpha")
    values = rng.normal(size=(2, 3)).astype(dtype)
    x = device.from_host(values)
    log.clear()
    y = lesson.sigmoid(x, xp=device.module)
    assert isinstance(y, device.module.ndarray), (
        f"sigmoid of a device array gave a {type(y).__name__}: use xp only"
    )
    assert not log, (
        f"sigmoid moved data between host and device ({', '.join(log)}): compute where x is, with xp"
    )
    assert y.dtype == dtype, (
        f"sigmoid turned {dtype} into {y.dtype}: a plain number (1) has no dtype, an array has one"
    )
    y = lesson.sigmoid(values, xp=np)
    assert y.dtype == dtype, (
        f"sigmoid turned {dtype} into {y.dtype}: a plain number (1) has no dtype, an array has one"
    )


@pytest.mark.hole("sigmoid", kind="step")
def test_sigmoid_leaves_its_input(lesson, rng):
    x = rng.normal(size=6)
    before = x.copy()
    lesson.sigmoid(x, xp=np)
    assert np.array_equal(x, before), (
        "sigmoid changes x in place: -x and xp.abs(x) are new arrays, x *= -1 is not"
    )


# matmul_vjp


def _product(rng, N, n, m, dtype=np.float64):
    return [rng.normal(size=shape).astype(dtype) for shape in [(N, m), (N, n), (n, m)]]


@pytest.mark.hole("matmul_vjp", kind="shape")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul_vjp_shapes(lesson, rng, dtype):
    g, x, W = _product(rng, 2, 3, 4, dtype)
    try:
        found = lesson.matmul_vjp(g, x, W)
    except ValueError as error:
        raise AssertionError(
            f"the products do not fit: {error}. g is (N, m), W.T is (m, n), x.T is (n, N): only one order fits each"
        ) from None
    pair = isinstance(found, tuple | list) and len(found) == 2
    assert pair, "matmul_vjp must return two arrays, the gradients of x and of W"
    for name, like, gradient in zip(("x", "W"), (x, W), found, strict=True):
        assert gradient.shape == like.shape, (
            f"the gradient of {name} has shape {gradient.shape}, expected {like.shape}: a gradient is shaped like "
            "what it is the gradient of (first x, then W)"
        )
        assert gradient.dtype == dtype, (
            f"the gradient of {name} is {gradient.dtype}, expected {dtype} as given"
        )


@pytest.mark.hole("matmul_vjp", kind="gradient")
@pytest.mark.parametrize("sizes", [(2, 3, 4), (3, 3, 3), (1, 4, 1)])
def test_matmul_vjp_is_the_gradient(lesson, rng, sizes):
    g, x, W = _product(rng, *sizes)
    before = [one.copy() for one in (g, x, W)]
    gx, gW = lesson.matmul_vjp(g, x, W)
    assert all(map(np.array_equal, (g, x, W), before)), "matmul_vjp changes its inputs in place"
    # x @ W is linear in x and in W: a whole step along a unit array is the derivative, exactly.
    for name, like, found in [("x", x, gx), ("W", W, gW)]:
        right = np.zeros_like(like)
        for i in np.ndindex(like.shape):
            unit = np.zeros_like(like)
            unit[i] = 1
            right[i] = (g * (unit @ W if name == "x" else x @ unit)).sum()
        assert found.shape == right.shape, f"the gradient of {name} is {found.shape}, expected {right.shape}"
        assert np.allclose(found, right), (
            f"the gradient of {name} is wrong, {worst(found, right)}: is the other factor transposed, and on the side "
            "where it stood? (square shapes fit even when the formula is wrong)"
        )


@pytest.mark.hole("matmul_vjp", kind="value")
def test_matmul_vjp_on_a_device(lesson, rng):
    device, _ = toy_device("alpha")
    g, x, W = _product(rng, 2, 3, 4)
    on_host = lesson.matmul_vjp(g, x, W)
    on_device = lesson.matmul_vjp(*map(device.from_host, (g, x, W)))
    for here, there in zip(on_host, on_device, strict=True):
        assert isinstance(there, device.module.ndarray), (
            "the gradient of device arrays is not on the device: use @ and .T"
        )
        assert np.allclose(here, host(there)), "host and device disagree"


# central_difference


def _quadratic(rng, shape):
    """A function with every mixed second derivative, and its gradient."""
    n = int(np.prod(shape))
    A, b = rng.normal(size=(n, n)), rng.normal(size=n)

    def f(x):
        v = np.reshape(x, -1)
        return v @ A @ v + b @ v

    return f, lambda x: ((A + A.T) @ np.reshape(x, -1) + b).reshape(shape)


@pytest.mark.hole("central_difference", kind="value")
def test_central_difference_is_exact_for_parabolas(lesson, rng):
    f, df = _quadratic(rng, (2, 3))
    x, d, h = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), 0.4
    found, right = lesson.central_difference(f, x.copy(), d.copy(), h), (df(x) * d).sum()
    assert np.shape(found) == (), (
        f"the slope along one direction is one number; found shape {np.shape(found)}"
    )
    forward, backward = (f(x + h * d) - f(x)) / h, (f(x) - f(x - h * d)) / h
    length = np.sqrt((d * d).sum())
    causes = {
        2 * right: "it is twice the slope: the points are 2 h apart, so divide by 2 h",
        -right: "the sign is wrong: f(x + h d) minus f(x - h d)",
        forward: "this is the forward difference: take x - h d in place of x",
        backward: "this is the backward difference: take x + h d in place of x",
        right / length: "d need not have length 1: the slope along 2 d is twice that along d",
        2 * h * right: "divide by the distance of the points, 2 h",
        h * h * right: "multiplied by h where you should divide: brackets around (2 * h)?",
    }
    says = next(
        (cause for value, cause in causes.items() if np.isclose(found, value)), "is it from x +- h d?"
    )
    assert np.isclose(found, right), f"slope {float(found):.8g}, expected {right:.8g}: {says}"
    excess = lesson.central_difference(lambda x: x**3, np.float64(1), np.float64(1), h) - 3
    assert np.isclose(excess, h * h), (
        f"for x^3 at 1 with h = {h} the slope is too large by {excess:.4g}, expected h^2 = {h * h:.4g}: is h really "
        "the step, a whole h to each side of x?"
    )


@pytest.mark.hole("central_difference", kind="invariant")
@pytest.mark.parametrize("name", ["x^3", "exp"])
def test_error_against_step_is_a_v(lesson, rng, name):
    f, df = {"x^3": (lambda x: x**3, lambda x: 3 * x**2), "exp": (np.exp, np.exp)}[name]
    points = [np.float64(x) for x in rng.uniform(0.7, 1.5, 25)]
    powers = range(-11, 0)

    def error(h):
        slopes = [float(lesson.central_difference(f, x, np.float64(1), h)) for x in points]
        return float(np.median([abs(slope / df(x) - 1) for slope, x in zip(slopes, points, strict=True)]))

    errors = {k: error(10.0**k) for k in powers}
    best = min(errors, key=errors.get)
    order = np.log10(errors[-2] / errors[-3]) if errors[-3] else np.inf
    assert best in (-6, -5), (
        f"the smallest error for {name} is at h = 1e{best}, expected 1e-5 or 1e-6: is h really the step, and is the "
        "difference central?"
    )
    assert errors[best] < 1e-9, (
        f"at its best step the error for {name} is {errors[best]:.1g}: is all of it float64?"
    )
    assert 1.8 < order < 2.2, (
        f"with a step ten times smaller the error for {name} shrinks {10**order:.3g} times, expected 100 times: "
        "the error of a central difference is proportional to h^2"
    )
    assert errors[-11] > 100 * errors[best], "rounding leaves no trace at h = 1e-11: is h really the step?"


@pytest.mark.hole("central_difference", kind="shape")
def test_central_difference_keeps_the_dtype(lesson, rng):
    for dtype in (np.float32, np.float64):
        seen = []
        f = lambda x: (seen.append((np.shape(x), x.dtype)), (x * x).sum())[1]  # noqa: B023, E731
        x = rng.normal(size=(2, 3)).astype(dtype)
        lesson.central_difference(f, x, np.ones_like(x), 1e-2)
        assert {shape for shape, _ in seen} == {(2, 3)}, f"f was given shape {seen[0][0]}, x has (2, 3)"
        kinds = {str(kind) for _, kind in seen}
        assert kinds == {np.dtype(dtype).name}, f"x is {x.dtype}, f was given {kinds}: stay in the dtype of x"


class Trouble(Exception):
    """What f raises in the checks below."""


def _raises_at(f, call):
    """f, but its call number `call` raises Trouble."""
    calls = []

    def g(x):
        calls.append(1)
        if len(calls) == call:
            raise Trouble
        return f(x)

    return g


@pytest.mark.hole("central_difference", kind="step")
@pytest.mark.parametrize("call", [None, 1, 2])
def test_central_difference_leaves_x(lesson, rng, call):
    f, _ = _quadratic(rng, (3,))
    x, d = rng.normal(size=3), rng.normal(size=3)
    kept = x.copy(), d.copy()
    with contextlib.suppress(Trouble):
        lesson.central_difference(_raises_at(f, call), x, d, 1e-3)
    when = "" if call is None else f" when f raises in call {call}"
    assert np.array_equal(x, kept[0]), (
        f"x is changed afterwards{when}: make new points, x + h * d; adding h and subtracting it again leaves rounding"
    )
    assert np.array_equal(d, kept[1]), f"d is changed afterwards{when}: h * d is a new array, d *= h is not"


# numerical_grad


def _wave(rng, shape):
    """sum(c sin(x)) plus a product of neighbours: every entry matters, and differently."""
    c = rng.uniform(1, 2, shape)

    def f(x):
        v = np.reshape(x, -1)
        return float((c * np.sin(x)).sum() + (v[1:] * v[:-1]).sum())

    def df(x):
        v = np.pad(np.reshape(x, -1), 1)
        return c * np.cos(x) + (v[2:] + v[:-2]).reshape(shape)

    return f, df


@pytest.mark.hole("numerical_grad", kind="shape")
@pytest.mark.parametrize("dtype", ["float32", "int64", "float64"])
def test_numerical_grad_works_in_float64(lesson, rng, dtype):
    x = rng.integers(1, 5, (2, 3)).astype(dtype)
    seen = []

    def f(x):
        seen.append((np.shape(x), x.dtype))
        return (x * x * x).sum()

    grad = lesson.numerical_grad(f, x)
    kinds = {str(kind) for _, kind in seen}
    assert kinds == {"float64"}, (
        f"x is {dtype} and f was given {kinds}: make a float64 copy of x first (adding 1e-5 to an "
        "integer entry changes nothing, and to a float32 one hardly anything)"
    )
    assert {shape for shape, _ in seen} == {(2, 3)}, f"f was given shape {seen[0][0]}, x has (2, 3)"
    assert grad.dtype == np.float64, (
        f"the gradient is {grad.dtype}, expected float64 (zeros_like an integer x is integer)"
    )


@pytest.mark.hole("numerical_grad", kind="value")
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 1, 3), (1,), ()])
def test_numerical_grad_value(lesson, rng, shape):
    f, df = _wave(rng, shape)
    x = rng.normal(size=shape)
    grad, right = lesson.numerical_grad(f, x), df(x)
    assert grad is not None, "numerical_grad returns None: is there a return at the end?"
    assert np.shape(grad) == shape, f"the gradient has shape {np.shape(grad)}, x has {shape}"
    off = np.abs(grad - right) > 1e-7 * np.abs(right) + 1e-8
    zeros = (np.asarray(grad) == 0) & off
    says = "are numerator and denominator right? is every entry put back before the next one moves?"
    if zeros.all():
        says = "all zero: f never sees the step (moving a copy that f is not given?)"
    elif zeros.any():
        says = f"{zeros.sum()} of {zeros.size} entries are zero: is every entry of every row visited?"
    elif np.allclose(grad, right * np.maximum(1, np.abs(x))):
        says = "a long step is not undone: divide by the distance that the entry really moved, not by 2 h"
    elif np.allclose(grad, 2 * right):
        says = "twice the gradient: the points are 2 h apart"
    elif np.allclose(grad, right, rtol=1e-3, atol=1e-3):
        says = "nearly right: a forward difference, float32, or a step that is too small or too large?"
    assert not off.any(), f"the gradient is off, {worst(grad, right)}: {says}"


@pytest.mark.hole("numerical_grad", kind="gradient")
def test_numerical_grad_moves_one_entry_at_a_time(lesson, rng):
    f, df = _quadratic(rng, (2, 3))
    x = rng.uniform(-0.9, 0.9, (2, 3))
    grad, right = lesson.numerical_grad(f, x, 0.5), df(x)
    assert np.allclose(grad, right), (
        f"for a parabola the central difference is exact at any step; with h = 0.5 yours is off, {worst(grad, right)}: "
        "a forward difference? or an entry not put back before the next one moves?"
    )


@pytest.mark.hole("numerical_grad", kind="gradient")
def test_numerical_grad_uses_h(lesson, rng):
    x = np.append(rng.uniform(-0.9, 0.9, 3), [10.0, -20.0])
    scale = np.maximum(1, np.abs(x))
    for h in (0.1, 0.01):
        grad = lesson.numerical_grad(lambda x: (x**3).sum(), x, h)
        extra = (grad - 3 * x**2) / scale**2
        assert np.allclose(extra[:3], h * h, rtol=1e-3), (
            f"for x^3 the central difference is too large by h^2; at h = {h} yours is off by {extra[0]:.3g}, "
            f"expected {h * h:.3g}: is the step the h that was given?"
        )
        i = 3 if abs(extra[3] / h**2 - 1) > abs(extra[4] / h**2 - 1) else 4
        assert np.allclose(extra, h * h, rtol=1e-3), (
            f"at x = {x[i]:g} the step should be h * max(1, |x|) = {abs(x[i]) * h:g}; yours looks like "
            f"{np.sqrt(abs(extra[i])) * abs(x[i]):.3g}: is it scaled by the size of the entry, its absolute value?"
        )


@pytest.mark.hole("numerical_grad", kind="gradient")
def test_numerical_grad_of_large_entries(lesson, rng):
    x = rng.uniform(1e7, 2e7, 4) * [1, -1, 1, -1]
    grad = lesson.numerical_grad(lambda x: float((x * x).sum()), x)
    assert np.allclose(grad, 2 * x, rtol=1e-6), (
        f"at entries of 1e7 the gradient of sum(x^2) is off, {worst(grad, 2 * x)}: a step of 1e-5 is lost in the "
        "rounding of 1e7, move by h * max(1, |x_i|)"
    )


@pytest.mark.hole("numerical_grad", kind="step")
@pytest.mark.parametrize("call", [None, 1, 2, 3, 8])
def test_numerical_grad_leaves_x(lesson, rng, call):
    f, _ = _wave(rng, (2, 3))
    x = rng.normal(size=(2, 3))
    before = x.copy()
    with contextlib.suppress(Trouble):
        lesson.numerical_grad(_raises_at(f, call), x)
    when = "" if call is None else f" when f raises in call {call}"
    assert np.array_equal(x, before), (
        f"x is changed afterwards{when}: work on a float64 copy, never on the caller's array"
    )


@pytest.mark.hole("numerical_grad", kind="invariant")
def test_numerical_grad_of_any_array(lesson, rng):
    base, view = (
        rng.normal(size=(4, 6)),
        "reshape(-1) and ravel() of it are a copy, not a view: writing there does nothing",
    )
    fixed = base.copy()
    fixed.flags.writeable = False
    cases = [
        ("transposed", base.T, view),
        ("every other column of another array", base[:, ::2], view),
        ("in Fortran order", np.asfortranarray(base), view),
        (
            "of integers",
            rng.integers(-5, 5, (4, 6)),
            "an integer entry cannot move by 1e-5: make a float64 copy first",
        ),
        ("read-only", fixed, "work on a copy"),
        ("empty", base[:0], "no entries, no partial derivatives"),
    ]
    for how, x, cause in cases:
        try:
            grad = lesson.numerical_grad(lambda x: float(np.sin(x).sum()), x)
        except ValueError as error:
            raise AssertionError(f"an x that is {how} ends in a ValueError ({error}): {cause}") from None
        assert np.shape(grad) == x.shape, (
            f"x is {how} and has shape {x.shape}, its gradient has {np.shape(grad)}"
        )
        right = np.allclose(grad, np.cos(x), rtol=1e-7)
        assert right, f"the gradient is off where x is {how}, {worst(grad, np.cos(x))}: {cause}"


# close_enough: (yours, numeric, noise, the answer, the likely cause of another one)

CLOSE = [
    (1.5, 1.5, 0.0, True, "equal numbers are close"),
    (0.0, 0.0, 0.0, True, "zero is close to zero: 0/0 is NaN, and 0 < 0 is false, so write <= and do not divide"),
    (1.0, 1.0 + 4e-7, 0.0, True, "4e-7 is within RTOL"),
    (1.0, 1.001, 0.0, False, "yours is below: take the absolute value of the difference"),
    (1.001, 1.0, 0.0, False, "yours is above by 1e-3"),
    (1e6, 1e6 + 0.4, 0.0, True, "the bound grows with the numbers: RTOL * max(|yours|, |numeric|)"),
    (1e-9, 2e-9, 0.0, False, "an absolute tolerance hides small gradients: the bound must shrink with the numbers"),
    (1e-7, -1e-7, 0.0, False, "an absolute tolerance hides small gradients: the bound must shrink with the numbers"),
    (1.0, 1.0 + 4e-6, 0.0, False, "a relative error of 4e-6 is more than RTOL"),
    (-3.0, 3.0, 0.0, False, "the sign counts: the difference of the numbers, not of their sizes"),
    (-3.0, -3.0 * (1 + 4e-7), 0.0, True, "the bound needs |yours| and |numeric|: it came out negative"),
    (0.0, 3e-9, 1e-8, True, "within the noise: the noise is added to the bound"),
    (0.0, 3e-8, 1e-8, False, "three times the noise is too much"),
    (1e6, 1e6 + 0.4, 0.1, True, "noise is added to the relative bound, it does not replace it"),
    (1.0, 1.0 + 1.6e-6, 1e-6, True, "the noise is added to the relative bound, not the larger of the two taken"),
    (-2.0, -2.0 - 3e-6, 2e-6, True, "the noise is added to the relative bound, not the larger of the two taken"),
    (1.0, 1.0 + 2.6e-6, 1e-6, False, "2.6e-6 is more than RTOL and the noise together"),
    (0.0, 1.0, 1 - 5e-7, True, "the relative part takes the larger of |yours| and |numeric|, not the smaller"),
    (1.0, 0.0, 1 - 5e-7, True, "the relative part takes the larger of |yours| and |numeric|, not the smaller"),
    (0.0, 1.0, 1 - 2e-6, False, "2e-6 beyond the noise is more than RTOL"),
    (2.0, 2.5, 1e-8, False, "noise is an absolute amount: 1e-8 does not excuse 0.5"),
    (np.nan, 1.0, 0.0, False, "NaN passes: it makes every comparison false, so `not (error > bound)` is true"),
    (1.0, np.nan, 0.0, False, "NaN passes: it makes every comparison false, so `not (error > bound)` is true"),
    (np.nan, np.nan, 1.0, False, "NaN is not even close to NaN"),
    (np.inf, 1.0, 0.0, False, "infinity passes: RTOL * inf is inf, and inf <= inf; ask np.isfinite first"),
    (1.0, -np.inf, 1.0, False, "infinity passes: RTOL * inf is inf, and inf <= inf; ask np.isfinite first"),
    (np.inf, np.inf, 0.0, False, "infinity is close to nothing, not even to itself; ask np.isfinite first"),
]  # fmt: skip


@pytest.mark.hole("close_enough", kind="value")
def test_close_enough_one_by_one(lesson):
    with np.errstate(all="ignore"):
        for yours, numeric, noise, right, cause in CLOSE:
            found = lesson.close_enough(np.float64(yours), np.float64(numeric), noise)
            assert np.shape(found) == (), f"two numbers give one answer, found shape {np.shape(found)}"
            assert bool(found) == right, (
                f"close_enough(yours={yours!r}, numeric={numeric!r}, noise={noise!r}) is {bool(found)}: {cause}"
            )


@pytest.mark.hole("close_enough", kind="invariant")
def test_close_enough_is_symmetric(lesson, rng):
    a = rng.normal(size=500) * 10.0 ** rng.uniform(-9, 9, 500)
    b = a * (1 + 10.0 ** rng.uniform(-9, -1, 500) * rng.choice([-1, 1], 500))
    one, other = lesson.close_enough(a, b, 0.0), lesson.close_enough(b, a, 0.0)
    assert np.array_equal(one, other), (
        "close_enough(a, b) and close_enough(b, a) differ: use the larger of the two"
    )
    assert np.array_equal(one, lesson.close_enough(-a, -b, 0.0)), (
        "the signs of both make a difference: use abs"
    )


@pytest.mark.hole("close_enough", kind="shape")
def test_close_enough_entry_by_entry(lesson):
    yours, numeric, noise, right, _ = map(np.array, zip(*CLOSE, strict=True))
    kept = yours.copy(), numeric.copy()
    shape = (3, len(CLOSE) // 3)
    with np.errstate(all="ignore"):
        found = lesson.close_enough(yours.reshape(shape), numeric.reshape(shape), noise.reshape(shape))
    assert np.shape(found) == shape, (
        f"arrays of {shape} give answers of {np.shape(found)}: one answer for each entry"
    )
    assert np.asarray(found).dtype == bool, f"the answers are {np.asarray(found).dtype}, expected bool"
    assert np.array_equal(np.ravel(found), right), (
        "an entry is judged otherwise in an array than alone: no sums, no max"
    )
    same = [np.array_equal(a, b, equal_nan=True) for a, b in zip((yours, numeric), kept, strict=True)]
    assert all(same), "close_enough changes an input in place"


# has_kink

# (name, f, the entry that moves, likely cause of a false alarm). The other entries are smooth everywhere.
KINKS = [
    ("relu at 0", lambda x: relu(x).sum(), 0.0),
    ("|x| at 0", lambda x: np.abs(x).sum(), 0.0),
    ("-|x| at 0", lambda x: -np.abs(x).sum(), 0.0),
    ("leaky relu at 0", lambda x: np.where(x > 0, x, 0.2 * x).sum(), 0.0),
    ("x + relu(x) / 1000 at 0", lambda x: (x + relu(x) / 1000).sum(), 0.0),
    ("|x - 1| at 1", lambda x: np.abs(x - 1).sum(), 1.0),
    ("relu a tenth of a step from 0", lambda x: relu(x).sum(), 1e-6),
    ("relu 0.8 steps from 0", lambda x: relu(x).sum(), -8e-6),
    ("a step at 0", lambda x: (x > 0).sum(), 0.0),
    ("|x| / 10^9 at 0", lambda x: 1e-9 * np.abs(x).sum(), 0.0),
]
BENT = "strong curvature is no kink: it is proportional to h"
SMOOTH = [
    ("10^6 + sin(x)", lambda x: (1e6 + np.sin(x)).sum(), 0.4, "this bend is rounding: 8 * noise belongs to the bound"),
    ("a straight line", lambda x: (3 * x).sum(), 0.7, "that bend is rounding: compare it with the noise"),
    ("a constant", lambda x: (0 * x).sum(), 0.7, "both slopes and the bend are zero: use >, and do not divide"),
    ("x^2 at its minimum", lambda x: (x * x).sum(), 0.0, "slopes of +h and -h: twice the step, twice the bend"),
    ("x^2", lambda x: (x * x).sum(), 1.3, "a smooth function bends in proportion to h"),
    ("sin(100 x)", lambda x: np.sin(100 * x).sum(), 0.3, BENT),
    ("100 x^2 + 0.001 x", lambda x: (100 * x * x + 0.001 * x).sum(), 0.0, BENT),
    ("relu 5 steps from 0", lambda x: relu(x).sum(), 5e-5, "the kink is 5 steps away, out of reach"),
]  # fmt: skip


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.hole("has_kink", kind="value")
def test_has_kink_finds_kinks(lesson, rng):
    for name, f, at in KINKS:
        x = np.append(rng.uniform(1.5, 2.5, 3), at)
        noise = 8 * 2.0**-52 * abs(f(x)) / 1e-5
        for sign in (1.0, -1.0):
            found = lesson.has_kink(f, x, sign * np.array([0.0, 0.0, 0.0, 1.0]), 1e-5, noise)
            assert np.shape(found) == (), f"has_kink is about one direction: expected a bool, found {found!r}"
            assert found, (
                f"the kink of {name} is not seen (d = {sign:+.0f} at that entry): right and left slope, their bend "
                "at h against twice the bend at h/2, in absolute value; the bound is relative to the slopes"
            )


@pytest.mark.hole("has_kink", kind="invariant")
def test_has_kink_lets_smooth_functions_pass(lesson, rng):
    for name, f, at, cause in SMOOTH:
        x = np.append(rng.uniform(0.5, 1.5, 3), at)
        noise = 8 * 2.0**-52 * (np.abs(f(x)) + 10) / 1e-5
        found = lesson.has_kink(f, x, np.array([0.0, 0.0, 0.0, 1.0]), 1e-5, noise)
        assert not found, f"{name} is called a kink: {cause}"


@pytest.mark.hole("has_kink", kind="step")
def test_has_kink_looks_along_d_only(lesson, rng):
    x = np.array([0.0, 1.0, -2.0])
    f = lambda x: np.abs(x).sum()  # noqa: E731
    kept = x.copy()
    assert not lesson.has_kink(f, x, np.array([0.0, 1.0, 1.0]), 1e-5, 1e-10), (
        "a kink of an entry that d does not move"
    )
    assert lesson.has_kink(f, x, np.array([1.0, 1.0, 1.0]), 1e-5, 1e-10), (
        "a kink of one among several moving entries is lost"
    )
    assert not lesson.has_kink(f, x, np.array([1.0, 1.0, 1.0]), 1e-5, 1.0), (
        "a bend below 8 * noise proves nothing"
    )
    assert np.array_equal(x, kept), "has_kink changes x"


# directions


def _all(directions, most=1000):
    found = []
    for d in directions:
        found.append(np.array(d))
        assert len(found) <= most, "directions goes on and on"
    return found


@pytest.mark.hole("directions", kind="value")
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 1, 3), ()])
def test_directions_visit_every_entry(lesson, rng, shape):
    x = np.asarray(rng.normal(size=shape) * 3)
    found = _all(lesson.directions(x, rng=rng))
    assert all(d.shape == shape for d in found), f"x has shape {shape}, a direction has {found[0].shape}"
    moved = sum((d != 0).astype(int) for d in found)
    assert np.all(moved > 0), (
        f"{np.sum(moved == 0)} of {x.size} entries are never moved: one direction for every entry of every row"
    )
    assert len(found) == x.size, (
        f"{x.size} entries (not more than limit) give {len(found)} directions, expected one for each"
    )
    assert np.all(moved == 1), "a direction moves more than one entry: start each one from zeros"
    steps, right = sum(found), np.maximum(1, np.abs(x))
    assert np.allclose(steps, right), (
        f"the length of a direction is off, {worst(steps, right)}: it is max(1, |x_i|) at entry i, positive"
    )


@pytest.mark.hole("directions", kind="shape")
def test_directions_count(lesson, rng):
    for size, limit, k, right in [(300, 300, 20, 300), (301, 300, 20, 20), (7, 6, 3, 3), (0, 6, 3, 0)]:
        found = _all(lesson.directions(rng.normal(size=size), rng=rng, limit=limit, k=k))
        assert len(found) == right, (
            f"{size} entries, limit {limit}, k {k}: {len(found)} directions, expected {right} "
            "(up to and with limit: one for each entry)"
        )
    x = rng.normal(size=(20, 30))
    found = _all(lesson.directions(x, rng=rng))
    assert all(d.shape == x.shape for d in found), (
        f"x has shape {x.shape}, a random direction has {found[0].shape}"
    )


@pytest.mark.hole("directions", kind="invariant")
def test_random_directions_move_everything(lesson, rng):
    x = rng.normal(size=(25, 20))
    x[3] *= 1e7
    found = np.array(_all(lesson.directions(x, rng=rng)))
    assert np.all(found != 0), (
        "a random direction leaves entries out: a wrong gradient there is never noticed"
    )
    for axis, name in [(1, "row"), (2, "column")]:
        alike = np.all(np.diff(np.sign(found), axis=axis) == 0) and not np.all(found > 0)
        assert not alike, f"every {name} of a direction has the same signs: draw one sign for each entry of x"
    plus = (found > 0).mean(axis=(1, 2))
    assert np.all((plus > 0.2) & (plus < 0.8)), (
        f"{plus[0]:.0%} of the signs of a direction are +, expected about half: with all signs equal, errors that "
        "cancel in the sum stay hidden"
    )
    assert not np.allclose(found[0], found[1]), "two random directions are the same: draw new signs for each"
    assert abs(plus.mean() - 0.5) < 5 * 0.5 / np.sqrt(found.size), (
        f"{plus.mean():.1%} of all signs are +, expected half"
    )
    ratio = np.abs(found) / (np.maximum(1, np.abs(x)) / np.sqrt(x.size))
    rows = ratio.mean(axis=(0, 2))
    assert np.isclose(rows[3] / np.median(rows), 1, rtol=1e-6), (
        f"entries of 1e7 move {rows[3] / np.median(rows):.2g} times as far as they should beside the others: every "
        "entry moves in units of max(1, |x_i|)"
    )
    assert np.allclose(ratio, 1), f"the length is off by a factor {ratio.mean():.3g}: scale / sqrt(x.size)"


@pytest.mark.hole("directions", kind="step")
def test_directions_draw_from_rng(lesson, rng):
    x, seed, before = rng.normal(size=400), int(rng.integers(2**31)), global_stream()
    kept = x.copy()
    one, again, other = (
        _all(lesson.directions(x, rng=np.random.default_rng(s))) for s in (seed, seed, seed + 1)
    )
    assert global_stream() == before, "directions drew from NumPy's hidden global generator: draw from rng"
    assert np.array_equal(one, again), (
        "one seed gave two sets of directions: draw from rng, and from nothing else"
    )
    assert not np.array_equal(one, other), "two seeds gave the same directions: draw from rng"
    assert np.array_equal(x, kept), "directions changes x"


# gradcheck. Each case: what it is, f, its vjp, x, and the likely cause if the checker is mistaken about it.


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_vjp(g, x):
    y = softmax(x)
    return y * (g - (g * y).sum(-1, keepdims=True))


def relu_vjp(g, x):
    return g * (x > 0)


def spoiled(vjp, at, factor):
    """A vjp that is wrong in the entries `at` only."""

    def wrong(g, x):
        grad = np.array(vjp(g, x))
        grad[at] *= factor
        return grad

    return wrong


def right_gradients(lesson, rng):
    """(name, f, vjp, x, likely cause of a false alarm)"""
    W, v = rng.normal(size=(3, 4)), rng.normal(size=(5, 3))
    once = (
        "yours is (grad * d).sum(), with one g, drawn once, for vjp and for every evaluation of sum(g * f(x))"
    )
    small = "compare relative to the size of the numbers, plus the noise"
    return [
        ("2 x", lambda x: 2 * x, lambda g, x: 2 * g, rng.normal(size=(2, 3)), once),
        ("sum(x^2)", lambda x: (x * x).sum(), lambda g, x: 2 * g * x, rng.normal(size=6), "f may return one number"),
        ("softmax", softmax, softmax_vjp, rng.normal(size=(3, 4)), once),
        ("your sigmoid", lambda x: lesson.sigmoid(x, xp=np), lambda g, x: lesson.sigmoid_vjp(g, x, xp=np),
         rng.normal(size=(2, 4)) * 3, once),
        ("x @ W in x", lambda x: x @ W, lambda g, x: lesson.matmul_vjp(g, x, W)[0], v, once),
        ("x @ W in W", lambda W: v @ W, lambda g, W: lesson.matmul_vjp(g, v, W)[1], W, once),
        ("x^2 of a number", lambda x: x * x, lambda g, x: 2 * g * x, np.array(1.5), "x may have shape ()"),
        ("x^3 of float32", lambda x: x**3, lambda g, x: 3 * g * x**2, rng.normal(size=5).astype(np.float32),
         "x is float32: check with a float64 copy, in float32 a difference has three digits left"),
        ("x^2 at 1e7", lambda x: x * x, lambda g, x: 2 * g * x, rng.uniform(1e7, 2e7, 4), "`directions` are scaled"),
        ("sin(100 x)", lambda x: np.sin(100 * x), lambda g, x: 100 * g * np.cos(100 * x), rng.normal(size=4), small),
        ("1e-9 x^2", lambda x: 1e-9 * x * x, lambda g, x: 2e-9 * g * x, rng.normal(size=4), small),
        ("10^8 + sin(x)", lambda x: 1e8 + np.sin(x), lambda g, x: g * np.cos(x), rng.normal(size=4),
         "f is large beside its slope: the noise 8 EPS sum|g * f(x)| / h, the absolute values before the sum, belongs "
         "to the bounds"),
        ("sin(1000 x)", lambda x: np.sin(1000 * x), lambda g, x: 1000 * g * np.cos(1000 * x),
         (np.pi * rng.integers(-9, 9, 4) + rng.uniform(-1, 1, 4)) / 1000,
         "it curves so much that the step shows: compare the slope at h / 2, and allow |slope(h) - slope(h / 2)| more"),
        ("0 x", lambda x: 0 * x, lambda g, x: 0 * g, rng.normal(size=4), "a zero gradient can be right"),
        ("x transposed", lambda x: x.T @ x, lambda g, x: x @ (g + g.T), rng.normal(size=(4, 3)).T, once),
        ("sin of 2,000 entries", np.sin, lambda g, x: g * np.cos(x), rng.normal(size=(40, 50)), once),
    ]  # fmt: skip


@pytest.mark.hole("gradcheck", kind="gradient")
def test_gradcheck_accepts_right_gradients(lesson, rng):
    for name, f, vjp, x, cause in right_gradients(lesson, rng):
        kept = x.copy()
        try:
            found = lesson.gradcheck(f, vjp, x, rng=rng)
        except (lesson.GradientError, TypeError) as error:
            says = f"the right gradient of {name} is refused ({type(error).__name__}: {error}): {cause}"
            raise AssertionError(says) from None
        pair = isinstance(found, tuple | list) and len(found) == 2
        assert pair, f"gradcheck returned {found!r}, expected two counts (compared, skipped)"
        right = (x.size if x.size <= 300 else 20, 0)
        assert tuple(map(int, found)) == right, (
            f"gradcheck of {name} reports {tuple(found)}, expected {right} (compared, skipped): try all `directions`, "
            f"and give has_kink the noise, so that it calls no rounding a kink; {cause}"
        )
        assert np.array_equal(x, kept), "gradcheck changes the x that it was given: check a copy"


@pytest.mark.hole("gradcheck", kind="gradient")
def test_gradcheck_knows_the_noise_of_sums_that_cancel(lesson, rng):
    seed, x, seen = int(rng.integers(2**31)), rng.normal(size=6), []
    lesson.gradcheck(
        np.sin, lambda g, x: (seen.append(g.copy()), g * np.cos(x))[1], x, rng=np.random.default_rng(seed)
    )
    g, large = seen[0], rng.normal(size=6)
    large = 1e8 * (
        large - g * (g @ large) / (g @ g)
    )  # g * large sums to nothing, its entries are large all the same
    try:
        found = lesson.gradcheck(
            lambda x: large + np.sin(x), lambda g, x: g * np.cos(x), x, rng=np.random.default_rng(seed)
        )
    except lesson.GradientError as error:
        raise AssertionError(
            f"a right gradient is refused where f is large and g * f(x) cancels in its sum ({error}): every entry of "
            "g * f(x) is rounded, so the noise is 8 EPS sum|g * f(x)| / h, the absolute values before the sum"
        ) from None
    assert tuple(map(int, found)) == (6, 0), (
        f"(compared, skipped) is {tuple(found)} where f is large and g * f(x) cancels in its sum, expected (6, 0): "
        "rounding is no kink; the noise is 8 EPS sum|g * f(x)| / h, the absolute values before the sum"
    )


def wrong_numbers(rng):
    """(name, f, vjp, x, likely cause of its passing)"""
    square, x, big = (rng.uniform(0.5, 1.5, shape) for shape in [(3, 3), (3, 4), (20, 15)])
    cube, cube_vjp = (lambda x: x**3), (lambda g, x: 3 * g * x**2)
    every = "are all the `directions` tried?"
    upstream = (
        "the upstream gradient must be random: with ones, rows that sum to a constant (softmax) show nothing"
    )
    finite = "ask np.isfinite of the gradient itself, before anything is skipped as a kink"
    return [
        ("a factor 1.001", cube, lambda g, x: 1.001 * cube_vjp(g, x), x, "the bound is one part in a million"),
        ("the wrong sign", cube, lambda g, x: -cube_vjp(g, x), x, "compare signed numbers"),
        ("a factor not transposed", lambda x: x @ square, lambda g, x: g @ square, x.T[:2, :3], every),
        ("one wrong entry among 300", cube, spoiled(cube_vjp, (13, 7), 1.01), big, every),
        ("a wrong last entry", cube, spoiled(cube_vjp, (-1, -1), 1.01), x, every),
        ("a wrong second row", cube, spoiled(cube_vjp, 1, 0.0), x, every),
        ("only the first entry right", cube, spoiled(cube_vjp, np.arange(12).reshape(3, 4) > 0, 0.5), x, every),
        ("a wrong size of 1e-9", lambda x: 1e-9 * x**3, lambda g, x: 6e-9 * g * x**2, x, "no absolute tolerance"),
        ("zero for softmax", softmax, lambda g, x: 0 * x, x, upstream),
        ("a vjp that forgets g", np.sin, lambda g, x: np.cos(x), x, upstream),
        ("NaN in one entry", cube, spoiled(cube_vjp, (2, 2), np.nan), x, finite),
        ("NaN at a kink", np.abs, lambda g, x: g * x / np.abs(x), np.array([0.0, 1.0]), finite),
        ("infinity at a kink", np.abs, lambda g, x: g / x, np.array([0.0, 1.0]), finite),
        ("a wrong entry at the edge of where f exists", np.sqrt, spoiled(lambda g, x: g / (2 * np.sqrt(x)), 0, 2.0),
         np.array([1e-6, 1.0]), "the slope there is NaN: close_enough refuses it, `error > bound` does not"),
        ("a wrong quarter of 2,000 entries", np.sin, spoiled(lambda g, x: g * np.cos(x), slice(10), 1.1),
         rng.normal(size=(40, 50)), "beyond the limit, all random directions must agree"),
        ("errors that cancel in the sum", lambda x: x.sum(), lambda g, x: g * (1 + np.linspace(-1, 1, 400)),
         np.ones(400), "a random direction needs random signs"),
    ]  # fmt: skip


def wrong_forms(rng):
    """The same, of gradients whose shape or dtype is wrong."""
    x, cube, cube_vjp = rng.uniform(0.5, 1.5, (3, 4)), (lambda x: x**3), (lambda g, x: 3 * g * x**2)
    shape = "compare the shapes first: NumPy broadcasts one that does not fit, and the sums come out right"
    return [
        ("a number that broadcasts", lambda x: x.mean(), lambda g, x: g / x.size, x, shape),
        ("an extra axis", cube, lambda g, x: cube_vjp(g, x)[None], x, shape),
        ("a column for a row", lambda x: 2 * x.sum(), lambda g, x: 2 * g * np.ones((4, 1)), np.ones(4), shape),
        ("a gradient that lacks the last row", cube, lambda g, x: cube_vjp(g, x)[:-1], x, shape),
        ("float32", lambda x: 2 * x, lambda g, x: (2 * g).astype(np.float32), np.ones(3), "compare the dtypes"),
        ("float32 zeros", lambda x: 0 * x, lambda g, x: np.zeros(3, np.float32), np.ones(3), "compare the dtypes"),
    ]  # fmt: skip


def must_refuse(lesson, rng, f, vjp, x, what):
    """The assertion that gradcheck raises GradientError, and nothing else."""
    with np.errstate(all="ignore"):
        try:
            found = lesson.gradcheck(f, vjp, x, rng=rng)
        except lesson.GradientError:
            return
        except Exception as error:
            raise AssertionError(
                f"{what} ends in {type(error).__name__} ({error}), expected a GradientError: check before you compute"
            ) from None
    raise AssertionError(f"{what} passes, with (compared, skipped) = {found}")


@pytest.mark.hole("gradcheck", kind="gradient")
def test_gradcheck_refuses_wrong_gradients(lesson, rng):
    for name, f, vjp, x, cause in wrong_numbers(rng):
        must_refuse(lesson, rng, f, vjp, x, f"a wrong gradient ({name}: {cause})")


@pytest.mark.hole("gradcheck", kind="shape")
def test_gradcheck_refuses_wrong_shapes_and_dtypes(lesson, rng):
    for name, f, vjp, x, cause in wrong_forms(rng):
        must_refuse(lesson, rng, f, vjp, x, f"a wrong gradient ({name}: {cause})")


@pytest.mark.hole("gradcheck", kind="value")
def test_gradcheck_counts_kinks(lesson, rng):
    x = rng.uniform(0.5, 1.5, (3, 4)) * rng.choice([-1, 1], (3, 4))
    x[0, 1] = x[2, 3] = 0
    for value in (0.0, 0.5, 1.0):  # whatever is said at the kink
        vjp = lambda g, x: g * np.where(x == 0, value, x > 0)  # noqa: B023, E731
        try:
            found = lesson.gradcheck(relu, vjp, x, rng=rng)
        except lesson.GradientError as error:
            raise AssertionError(
                f"relu is refused where two entries are exactly 0 ({error}): there is no slope at a kink, so skip it"
            ) from None
        assert tuple(map(int, found)) == (10, 2), (
            f"relu with 2 of 12 entries at 0 gives (compared, skipped) = {tuple(found)}, expected (10, 2): a kink is "
            "skipped and counted, neither right nor wrong"
        )
    wrong = spoiled(relu_vjp, (1, 1), 0.0)
    x[1, 1] = 1
    must_refuse(
        lesson,
        rng,
        relu,
        wrong,
        x,
        "a wrong entry beside two kinks (go on after a kink, to the next direction)",
    )


@pytest.mark.hole("gradcheck", kind="invariant")
@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((0, 2))], ids=["kinks only", "empty"])
def test_gradcheck_that_compares_nothing_is_no_pass(lesson, rng, x):
    what = "an empty x" if not x.size else "relu at zeros, where every direction is a kink,"
    must_refuse(lesson, rng, relu, relu_vjp, x, f"{what} (nothing was compared, and that is no pass)")


@pytest.mark.hole("gradcheck", kind="shape")
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex128"])
def test_gradcheck_refuses_integers(lesson, rng, dtype):
    x = np.array([1, 0, 1]).astype(dtype)
    try:
        lesson.gradcheck(lambda x: 2.0 * x, lambda g, x: 2.0 * g, x, rng=rng)
    except TypeError:
        return
    except Exception as error:
        raise AssertionError(
            f"{dtype} x ends in {type(error).__name__} ({error}), expected a TypeError"
        ) from None
    raise AssertionError(
        f"gradcheck takes {dtype} x: a derivative needs real numbers; look at x.dtype.kind first"
    )


@pytest.mark.hole("gradcheck", kind="invariant")
@pytest.mark.parametrize("kind", ["dropout", "settles"])
def test_gradcheck_refuses_chance_in_f(lesson, rng, kind):
    calls = []

    def dropout(x):
        return x * (rng.random(x.shape) < 0.5)

    def settles(x):
        calls.append(1)
        return x * x + max(0, 6 - len(calls))

    f = {"dropout": dropout, "settles": settles}[kind]
    what = (
        "an f that draws new random numbers"
        if kind == "dropout"
        else "an f whose first results differ at one x"
    )
    must_refuse(
        lesson,
        rng,
        f,
        lambda g, x: 2 * g * x,
        rng.normal(size=4),
        f"{what} (ask it twice first, and compare)",
    )


def _shifts_x(x):
    x -= x.max()
    return np.exp(x) / np.exp(x).sum()


def _shifts_x_too(g, x):
    x -= x.max()
    return softmax_vjp(g, x)


def _spoils_g(g, x):
    y = softmax(x)
    g -= (g * y).sum()
    return g * y


@pytest.mark.hole("gradcheck", kind="step")
def test_gradcheck_notices_changed_inputs(lesson, rng):
    x = rng.uniform(0.5, 1.5, 3)
    cases = [
        ("a softmax that subtracts max(x) from x in place", _shifts_x, softmax_vjp),
        ("a vjp that writes into x", softmax, _shifts_x_too),
        ("a vjp that writes into g", softmax, _spoils_g),
    ]
    for what, f, vjp in cases:
        kept = x.copy()
        must_refuse(lesson, rng, f, vjp, x, f"{what} (call f and vjp through `untouched`)")
        assert np.array_equal(x, kept), f"{what} reached the caller's x: give it copies"

    def broken(g, x):
        raise Trouble

    def late(x):
        calls.append(1)
        if len(calls) > 3:
            x += 1
        return softmax(x)

    kept, calls = x.copy(), []
    for f, vjp in [
        (late, softmax_vjp),
        (_raises_at(softmax, 1), softmax_vjp),
        (softmax, broken),
        (_raises_at(softmax, 5), softmax_vjp),
    ]:
        with contextlib.suppress(Exception):
            lesson.gradcheck(f, vjp, x, rng=rng)
        assert np.array_equal(x, kept), "x is changed when f or vjp goes wrong later on: check a copy"


@pytest.mark.hole("gradcheck", kind="invariant")
def test_gradcheck_refuses_values_that_are_not_finite(lesson, rng):
    for what, bad in [("NaN", np.nan), ("infinity", np.inf)]:
        f = lambda x: np.append(x, bad)  # noqa: B023, E731
        vjp = lambda g, x: g[:-1]  # noqa: E731
        must_refuse(lesson, rng, f, vjp, np.ones(3), f"an f that returns {what} (ask np.isfinite of f(x))")


@pytest.mark.hole("gradcheck", kind="step")
def test_gradcheck_draws_from_rng(lesson, rng):
    before, seed, upstream = global_stream(), int(rng.integers(2**31)), []

    def vjp(g, x):
        upstream.append(np.array(g))
        return g * np.cos(x)

    for s in (seed, seed, seed + 1):
        lesson.gradcheck(np.sin, vjp, np.ones(4), rng=np.random.default_rng(s))
    assert global_stream() == before, "gradcheck drew from NumPy's hidden global generator: draw from rng"
    assert np.shape(upstream[0]) == (4,), f"g has shape {np.shape(upstream[0])}, f(x) has (4,)"
    each = len(upstream) // 3
    assert np.array_equal(upstream[0], upstream[each]), (
        "one seed gave two different g: draw g from rng, only from it"
    )
    assert not np.array_equal(upstream[0], upstream[2 * each]), "two seeds gave the same g: draw it from rng"
