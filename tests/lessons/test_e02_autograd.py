"""Checks of e02_autograd. Gradients are compared with central differences, for random upstream gradients."""

import contextlib
import gc
import itertools
import weakref

import numpy as np
import pytest

import minigen

SHAPES = [
    ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((3, 3), (3,)), ((3, 3), (3, 1)), ((), (2, 3)),
    ((2, 3, 4), (3, 1)), ((2, 1, 4), (5, 1, 3, 1)), ((1, 1), (1, 1)), ((1,), (3,)),
]  # fmt: skip


# Helpers


def same(one, other, rtol=1e-9):
    """Equal in shape, and in numbers up to rounding."""
    if np.shape(one) != np.shape(other):
        return False
    size = np.abs(other).max(initial=0.0)
    return bool(np.all(np.abs(np.subtract(one, other)) <= rtol * np.maximum(np.abs(other), size)))


def agree(got, want, what, causes=None, rtol=1e-9):
    """Fails unless `got` is `want`: array, numbers, shape, dtype. `causes`: what went wrong -> what came of it."""
    want = np.asarray(want)
    assert got is not None, f"{what} is None: no gradient has arrived there"
    kind = type(got).__name__
    assert isinstance(got, np.ndarray | np.generic | float), f"{what} is a {kind}, expected an array"
    for cause, wrong in (causes or {}).items():
        if same(got, wrong, rtol) and not same(want, wrong, rtol):
            raise AssertionError(f"{what} is wrong: {cause}")
    found = np.shape(got)
    assert found == want.shape, f"{what} has shape {found}, expected {want.shape}"
    assert np.isfinite(got).all(), f"{what} holds NaN or infinity, expected finite numbers"
    dtype = getattr(got, "dtype", np.dtype(float))
    assert dtype == want.dtype or not same(got, want, 1e-4), (
        f"{what} has dtype {dtype}, expected {want.dtype}: keep the dtype (np.zeros, np.ones, np.array and "
        "float() make float64 unless they are told)"
    )
    assert same(got, want, rtol), f"{what} is wrong: {_difference(np.asarray(got), want)}"


def _difference(got, want):
    """The worst entry, and the factor if all entries are off by the same one."""
    if not np.any(got):
        return "it is zero everywhere: is the graph cut, or a contribution dropped?"
    i = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    at = f" at index {tuple(map(int, i))}" if want.ndim else ""
    says = f"found {got[i]:.6g}{at}, expected {want[i]:.6g}"
    scale = float((got * want).sum() / (want * want).sum()) if np.any(want) else 1.0
    if same(got, want, 1e-4):
        return "close to the right numbers, but not them: is there an eps where none belongs, or a cut to float32?"
    return (
        f"{says}: every entry is {scale:.4g} times the right one" if same(got, scale * want, 1e-6) else says
    )


def numerical(f, g, arrays, h=1e-5):
    """The gradients of sum(g * f(*arrays)), by central differences in float64."""
    results = []
    for k, x in enumerate(arrays):
        result = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            sides = []
            for step in (h, -h):
                moved = [a.copy() for a in arrays]
                moved[k][i] += step
                sides.append((g * f(*moved)).sum())
            result[i] = (sides[0] - sides[1]) / (2 * h)
        results.append(result)
    return results


@contextlib.contextmanager
def told(what, cause):
    """An exception of the learner's code is told with its likely cause."""
    try:
        yield
    except (AssertionError, NotImplementedError):
        raise
    except Exception as error:
        if isinstance(error, RecursionError):
            cause = "use a loop and a list as the stack: Python ends a recursion after about 1,000 levels"
        says = f"{what} raised {type(error).__name__} ({str(error)[:150]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


def walk(
    lesson,
    y,
    seed=None,
    hint="walk in topological order, results first, and let every argument that requires it receive its part",
):
    """y.backward(seed)"""
    with told("backward", hint):
        lesson.backward(y, seed)


def check_gradients(lesson, rng, f, arrays, what, causes=None):
    """The gradients of f (Tensors -> Tensor) at float64 arrays, against central differences."""
    tensors = [lesson.Tensor(a, requires_grad=True) for a in arrays]
    y = f(*tensors)
    seed = rng.standard_normal(y.shape)
    walk(lesson, y, seed)
    want = numerical(lambda *raw: f(*map(lesson.Tensor, raw)).data, seed, arrays)
    for k, (t, w) in enumerate(zip(tensors, want, strict=True)):
        agree(t.grad, w, f"the gradient of {what} for input {k}", rtol=1e-6)


def pull(rule, name, g, y, *arrays, **meta):
    """What the thunks of a rule return; fails where they are no list of functions, or change an input."""
    inputs = [g, y, *arrays]
    before = [a.copy() for a in inputs]
    thunks = rule(g, y, *arrays, **meta)
    form = "`return [lambda: ...]`, one function for each argument"
    assert isinstance(thunks, list | tuple), (
        f"{name} returned a {type(thunks).__name__}, expected a list: {form}"
    )
    assert len(thunks) == len(arrays), (
        f"{name} returned {len(thunks)} thunks for {len(arrays)} arguments: each argument has its gradient ({form})"
    )
    assert all(map(callable, thunks)), (
        f"{name} returned the gradients themselves, expected functions that compute them when called: {form}"
    )
    values = [thunk() for thunk in thunks]
    names = ["the upstream gradient g", "the result y"] + [f"argument {k}" for k in range(len(arrays))]
    for array, old, label in zip(inputs, before, names, strict=True):
        assert np.array_equal(array, old), (
            f"{name} changed {label} in place: other rules still need it, so compute a new array (no +=, *=, out=)"
        )
    return values


def leaves(lesson, rng, *shapes, dtype=np.float64):
    """Tensors of those shapes that require gradients."""
    return [lesson.Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in shapes]


# record


@pytest.mark.hole("record", kind="value")
def test_record_computes(lesson, rng):
    a, b = leaves(lesson, rng, (2, 3), (3,))
    seen = []

    def forward(*arrays, scale):
        seen.extend(map(type, arrays))
        return arrays[0] * arrays[1] * scale

    with told(
        "record", "the forward function takes arrays (raw unwraps an argument) and the metadata (**meta)"
    ):
        y = lesson.record(lesson.op(forward, None), (a, b), {"scale": 2.0})
    assert lesson.Tensor not in seen, (
        "the forward function was given a Tensor: it works on arrays, so unwrap the arguments first (raw)"
    )
    assert isinstance(y, lesson.Tensor), (
        f"the result of an op on Tensors is a {type(y).__name__}, expected a Tensor: wrap it"
    )
    agree(y.data, a.data * b.data * 2.0, "the data of the result")
    y = lesson.record(lesson.mul, (2.0, a), {})
    assert isinstance(y, lesson.Tensor), "2.0 * a is no Tensor: only the first argument was looked at"
    agree(y.data, 2.0 * a.data, "the data of 2.0 * a")


@pytest.mark.hole("record", kind="value")
def test_record_leaves_arrays_alone(lesson, rng):
    a, b = rng.standard_normal((2, 3))
    y = lesson.record(lesson.mul, (a, b), {})
    assert not isinstance(y, lesson.Tensor), (
        "without a Tensor among the arguments the result must be the plain array: this is how a rule, fed arrays, "
        "computes at NumPy's speed and records nothing"
    )
    agree(y, a * b, "the product of two arrays")


@pytest.mark.hole("record", kind="invariant")
def test_record_remembers(lesson, rng):
    a, b = leaves(lesson, rng, (2, 3), (3,))
    c = rng.standard_normal(3)
    for args in [(a, b), (a, c), (c, a), (2.0, a), (a, a)]:
        y = lesson.record(lesson.mul, args, {})
        assert y.requires_grad is True, (
            "the result does not require gradients although an argument does: look at all arguments, not only at one"
        )
        assert y.recipe is not None, (
            "the result has no recipe: the walk will take it for a leaf and stop there"
        )
        assert len(y.recipe) == 3, f"the recipe has {len(y.recipe)} parts, expected (op, args, meta)"
        f, kept, meta = y.recipe
        assert f is lesson.mul, "the first part of the recipe is not the op: expected (op, args, meta)"
        assert len(kept) == len(args), f"the recipe keeps {len(kept)} of {len(args)} arguments"
        assert all(one is other for one, other in zip(kept, args, strict=True)), (
            "the recipe does not keep the arguments as they came in: with arrays in place of Tensors the graph is "
            "cut there, and the walk cannot go on"
        )
        assert meta == {}, f"the third part of the recipe is {meta!r}, expected the metadata, {{}}"
    y = lesson.record(lesson.sum_, (a,), {"axis": 1, "keepdims": True})
    assert y.shape == (2, 1), "the metadata (axis=1, keepdims=True) did not reach the forward function"
    assert y.recipe[2] == {"axis": 1, "keepdims": True}, (
        "the metadata are not in the recipe: the rule needs them"
    )


@pytest.mark.hole("record", kind="invariant")
def test_record_only_what_is_needed(lesson, rng):
    c, d = lesson.Tensor(rng.standard_normal(3)), lesson.Tensor(rng.standard_normal(3))
    y = lesson.record(lesson.mul, (c, d), {})
    assert isinstance(y, lesson.Tensor), "an op on Tensors that require nothing must still give a Tensor"
    assert not y.requires_grad, (
        "the result of constants requires gradients: it should do so only if an argument does"
    )
    assert y.recipe is None, (
        "the result of constants keeps a recipe: nobody will walk through it, and it keeps its arguments alive"
    )
    (a,) = leaves(lesson, rng, (3,))
    with lesson.no_grad():
        y = lesson.record(lesson.mul, (a, c), {})
    assert isinstance(y, lesson.Tensor), "under no_grad an op on Tensors must still give a Tensor"
    assert not y.requires_grad, "under no_grad the result requires gradients: `recording` was not looked at"
    assert y.recipe is None, "under no_grad the result keeps a recipe: `recording` was not looked at"
    assert a.requires_grad is True, "recording changed the requires_grad of an argument"
    assert c.requires_grad is False, "recording changed the requires_grad of an argument"


@pytest.mark.hole("record", kind="shape")
def test_record_keeps_dtype(lesson, rng):
    for dtype in (np.float32, np.float64):
        (a,) = leaves(lesson, rng, (2, 3), dtype=dtype)
        for y in (a * 2.0, a.sum(), a[0, 0]):
            assert y.dtype == dtype, f"an op made {y.dtype} of {np.dtype(dtype)}: keep what forward returns"
            assert isinstance(y.data, np.ndarray), (
                f"the data of a result are a {type(y.data).__name__}, no array"
            )


@pytest.mark.hole("record", kind="gradient")
def test_record_carries_gradients(lesson, rng):
    x, w = rng.standard_normal((3, 4)), rng.standard_normal((4, 2))
    check_gradients(
        lesson, rng, lambda x, w: (0.5 * (x @ w)).exp().sum(axis=1), [x, w], "exp(x @ w / 2).sum(axis=1)"
    )


# no_grad


def records(lesson):
    """Whether operations are recorded now."""
    return (lesson.Tensor([1.0], requires_grad=True) * 2.0).requires_grad


@pytest.mark.hole("no_grad", kind="invariant")
def test_no_grad_switches_off(lesson):
    before = records(lesson)
    with lesson.no_grad():
        inside = records(lesson)
    assert before, "recording is off before any no_grad"
    assert not inside, (
        "operations inside `with no_grad():` are still recorded: the module's `recording` was not set to False "
        "(without `global recording` an assignment makes a local variable)"
    )
    assert records(lesson), (
        "after the block nothing is recorded any more: restore `recording` when the block ends"
    )


@pytest.mark.hole("no_grad", kind="step")
def test_no_grad_restores_after_exception(lesson):
    raised = False
    try:
        with lesson.no_grad():
            raise KeyError("from inside the block")
    except KeyError:
        raised = True
    after, lesson.recording = records(lesson), True
    assert after, (
        "an exception inside the block left recording off for good: everything after it would train nothing "
        "(restore in `finally`)"
    )
    assert raised, "no_grad swallowed an exception that was raised inside: let it go on to the caller"


@pytest.mark.hole("no_grad", kind="invariant")
def test_no_grad_nests(lesson):
    with lesson.no_grad():
        with lesson.no_grad():
            inner = records(lesson)
        between = records(lesson)
        try:
            with lesson.no_grad():
                raise KeyError
        except KeyError:
            after_error = records(lesson)
    after, lesson.recording = records(lesson), True
    assert not inner, "a no_grad inside another one switched recording on: set it to False, do not toggle it"
    assert not between, (
        "an inner no_grad switched recording on while the outer one still runs: restore what it was before, not True"
    )
    assert not after_error, (
        "an inner no_grad that ended by an exception switched recording on inside the outer one: restore what it was"
    )
    assert after, "after nested blocks nothing is recorded any more"


@pytest.mark.hole("no_grad", kind="value")
def test_no_grad_changes_no_numbers(lesson, rng):
    x = lesson.Tensor(rng.standard_normal((2, 3)), requires_grad=True)
    y = (x * x).sum()
    with lesson.no_grad():
        z = (x * x).sum()
    agree(z.data, y.data, "a value computed under no_grad")
    assert x.requires_grad, "no_grad changed the requires_grad of a tensor: it only stops recording"
    walk(lesson, y)
    agree(x.grad, 2 * x.data, "the gradient of what was recorded before no_grad")


# detach


@pytest.mark.hole("detach", kind="value")
def test_detach_same_numbers(lesson, rng):
    for dtype in (np.float32, np.float64):
        (x,) = leaves(lesson, rng, (2, 3), dtype=dtype)
        for t in (x, x * 2.0, (x * x).sum()):
            recipe, old = t.recipe, t.data.copy()
            d = lesson.detach(t)
            assert isinstance(d, lesson.Tensor), f"detach gave a {type(d).__name__}, expected a Tensor"
            assert d is not t, "detach returned the tensor itself, now changed: expected a new Tensor"
            agree(d.data, old, "the data of the detached tensor")
            assert t.requires_grad, "detach switched off requires_grad of the original: it must stay as it is"
            assert t.recipe is recipe, "detach cut the original out of its graph: it must stay as it is"
            agree(t.data, old, "the data of the original after detach")


@pytest.mark.hole("detach", kind="gradient")
def test_detach_cuts(lesson, rng):
    (x,) = leaves(lesson, rng, (4,))
    h = x * x
    d = lesson.detach(h)
    assert not d.requires_grad, "the detached tensor still requires gradients: it must be a constant"
    assert d.recipe is None, "the detached tensor is still linked to the graph by its recipe"
    seed = rng.standard_normal(4)
    walk(lesson, d * h, seed)
    causes = {"gradient went through detach as well: it is still linked": seed * 4 * x.data**3}
    agree(x.grad, seed * d.data * 2 * x.data, "the gradient of h.detach() * h with h = x * x", causes)
    assert d.grad is None, "the detached tensor has received a gradient: it must be a constant"


# log_vjp


@pytest.mark.hole("log_vjp", kind="value")
def test_log_rule(lesson, rng):
    x = rng.uniform(0.3, 3.0, (2, 3))
    g, y = rng.standard_normal((2, 3)), np.log(x)
    causes = {
        "you divide by y = log(x): the derivative of log is 1 / x": g / y,
        "the upstream gradient g is missing: the chain rule multiplies by it": 1 / x,
        "you multiply by x: the derivative of log is 1 / x": g * x,
        "you multiply by y: that is the rule of exp": g * y,
        "the sign is flipped": -g / x,
    }
    (got,) = pull(lesson.log_vjp, "log_vjp", g, y, x)
    agree(got, g / x, "the gradient of log(x)", causes)


@pytest.mark.hole("log_vjp", kind="shape")
def test_log_rule_keeps_dtype(lesson, rng):
    for shape in ((2, 3), (), (4, 1)):
        x = rng.uniform(0.3, 3.0, shape).astype(np.float32)
        g = np.asarray(rng.standard_normal(shape), np.float32)
        (got,) = pull(lesson.log_vjp, "log_vjp", g, np.log(x), x)
        agree(got, g / x, "the gradient of log(x) in float32", rtol=1e-5)


@pytest.mark.hole("log_vjp", kind="gradient")
def test_log_rule_in_the_walk(lesson, rng):
    x, c = rng.uniform(0.3, 3.0, (2, 3)), rng.uniform(0.3, 3.0, 3)
    check_gradients(lesson, rng, lambda x, c: (x * c).log() * x, [x, c], "log(x * c) * x")


# matmul_vjp


@pytest.mark.hole("matmul_vjp", kind="value")
def test_matmul_rule(lesson, rng):
    for n, k, m in [(2, 3, 4), (3, 3, 3), (1, 4, 1)]:
        a, b, g = (rng.standard_normal(s) for s in [(n, k), (k, m), (n, m)])
        with told(
            "matmul_vjp", "g is (n, m): which product with b or its transpose is (n, k), and which is (k, m)?"
        ):
            results = pull(lesson.matmul_vjp, "matmul_vjp", g, a @ b, a, b)
        ga, gb, ones = g @ b.T, a.T @ g, np.ones_like(g)
        swapped, order, forgot = (
            "the two are swapped",
            "the factors are in the wrong order",
            "a transpose is missing",
        )
        causes = [{"the upstream gradient g is missing": w} for w in (ones @ b.T, a.T @ ones)]
        if n == k == m:
            causes[0] |= {
                swapped: gb,
                order: b.T @ g,
                f"{forgot}: the shapes fit, as these matrices are square": g @ b,
            }
            causes[1] |= {
                swapped: ga,
                order: g @ a.T,
                f"{forgot}: the shapes fit, as these matrices are square": a @ g,
            }
        else:
            turned = "it is transposed: multiply g from the other side, with the other factor transposed"
            causes[0] |= {swapped: gb, turned: ga.T}
            causes[1] |= {swapped: ga, turned: gb.T}
        for name, got, w, cause in zip("ab", results, (ga, gb), causes, strict=True):
            agree(got, w, f"the gradient of {name} in {(n, k)} @ {(k, m)}", cause)


@pytest.mark.hole("matmul_vjp", kind="shape")
def test_matmul_rule_batches(lesson, rng):
    a, b, g = (rng.standard_normal(s).astype(np.float32) for s in [(5, 2, 3), (5, 3, 4), (5, 2, 4)])
    hint = "did you use .T, which turns the batch axes too? .mT transposes the last two axes only"
    with told("matmul_vjp with a batch axis", hint):
        ga, gb = pull(lesson.matmul_vjp, "matmul_vjp", g, a @ b, a, b)
    assert np.shape(ga) == a.shape, (
        f"with a batch axis the gradient of a has shape {np.shape(ga)}, not {a.shape}: {hint}"
    )
    assert np.shape(gb) == b.shape, (
        f"with a batch axis the gradient of b has shape {np.shape(gb)}, not {b.shape}: {hint}"
    )
    agree(ga, g @ b.swapaxes(1, 2), "the gradient of a in a batch", rtol=1e-4)
    agree(gb, a.swapaxes(1, 2) @ g, "the gradient of b in a batch", rtol=1e-4)


@pytest.mark.hole("matmul_vjp", kind="gradient")
def test_matmul_rule_in_the_walk(lesson, rng):
    for one, other in [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 2)), ((2, 1, 2, 3), (4, 3, 2))]:
        a, b = rng.standard_normal(one), rng.standard_normal(other)
        check_gradients(lesson, rng, lambda a, b: a @ b, [a, b], f"{one} @ {other}")
    x = rng.standard_normal((3, 3))
    check_gradients(lesson, rng, lambda x: x @ x, [x], "x @ x")


# sum_vjp

AXES = [None, 0, 1, 2, -1, -3, (0,), (0, 1), (1, 2), (2, 0), (-1, 0), (0, 1, 2)]


@pytest.mark.hole("sum_vjp", kind="value")
def test_sum_rule(lesson, rng):
    for shape, keepdims in itertools.product([(3, 3, 3), (2, 3, 4), (2, 1, 4)], [False, True]):
        for axis in AXES:
            x = rng.standard_normal(shape)
            y = np.asarray(x.sum(axis=axis, keepdims=keepdims))
            g = rng.standard_normal(y.shape)
            call = f"x.sum(axis={axis}, keepdims={keepdims}) with x of shape {shape}"
            got = _pull_sum(lesson, g, y, x, axis, keepdims, call)
            want = np.ones(shape) * g.reshape(x.sum(axis=axis, keepdims=True).shape)
            causes = {
                "g came back as it was: every summed number needs its copy of g": g,
                "the summed axes are back with size 1, but not stretched: broadcast to the shape of x": g.reshape(
                    x.sum(axis=axis, keepdims=True).shape
                ),
                "the upstream gradient g is missing": np.ones(shape),
                "g was multiplied by x: a sum passes g on as it is": want * x,
                "g was added up: every summed number belongs to one entry of g": np.full(shape, g.sum()),
                "g is divided by the number of summands: that is the rule of the mean": want
                * y.size
                / x.size,
            }
            if g.ndim < 3 and not keepdims and _broadcasts(g, shape):
                causes["g was broadcast along the wrong axis: put the summed axis back first"] = (
                    np.broadcast_to(g, shape)
                )
            agree(got, want, f"the gradient of {call}", causes)


def _broadcasts(g, shape):
    try:
        return np.broadcast_shapes(g.shape, shape) == shape
    except ValueError:
        return False


def _pull_sum(lesson, g, y, x, axis, keepdims, call):
    cause = "give g its summed axes back, of size 1: for negative axes, tuples, keepdims too; 0 is an axis, None is all"
    with told(f"sum_vjp for {call}", cause):
        (got,) = pull(lesson.sum_vjp, "sum_vjp", g, y, x, axis=axis, keepdims=keepdims)
    return got


@pytest.mark.hole("sum_vjp", kind="shape")
def test_sum_rule_keeps_dtype(lesson, rng):
    for axis, keepdims in itertools.product([None, 0, -1, (0, 1)], [False, True]):
        x = rng.standard_normal((2, 3)).astype(np.float32)
        y = np.asarray(x.sum(axis=axis, keepdims=keepdims))
        g = np.asarray(rng.standard_normal(y.shape), np.float32)
        got = _pull_sum(lesson, g, y, x, axis, keepdims, f"x.sum(axis={axis}, keepdims={keepdims})")
        want = np.ones_like(x) * g.reshape(x.sum(axis=axis, keepdims=True).shape)
        agree(got, want, f"the gradient of x.sum(axis={axis}) in float32", rtol=1e-6)
    x = np.float32([[2.0]])[0, 0].reshape(())
    (got,) = pull(lesson.sum_vjp, "sum_vjp", np.float32([3.0]).reshape(()), x, x)
    agree(got, np.float32(3.0), "the gradient of the sum of a single number, shape ()")


@pytest.mark.hole("sum_vjp", kind="gradient")
def test_sum_rule_in_the_walk(lesson, rng):
    x = rng.standard_normal((3, 3))
    for axis, keepdims in [
        (0, True),
        (1, True),
        (0, False),
        (1, False),
        (None, False),
        (None, True),
        ((0, 1), True),
    ]:
        check_gradients(
            lesson,
            rng,
            lambda x, axis=axis, keepdims=keepdims: x * (x * x).sum(axis=axis, keepdims=keepdims),
            [x],
            f"x * (x * x).sum(axis={axis}, keepdims={keepdims})",
        )


# scatter_add


def named(index):
    """An index, as it is typed, on one line."""
    return " ".join(repr(index).split())


def indices(rng):
    """(shape of a, index) of every kind."""
    mask = rng.permutation([True, True, True, False, False, False, True, False, False, True, False, False])
    return [
        ((4,), np.array([0, 0, 2])),
        ((4,), np.array([3, -1, 1, -3])),
        ((4,), [1, 1, 1]),
        ((4, 3), np.array([2, 0, 2, 2])),
        ((4, 3), (np.array([0, 0, 3]), np.array([1, 1, 2]))),
        ((4, 3), (np.array([[0], [0]]), np.array([0, 2, 2]))),
        ((4, 3), (slice(None), np.array([1, 1]))),
        ((4, 3), np.array([[0, 1], [1, 0]])),
        ((4, 3), mask.reshape(4, 3)),
        ((4, 3), mask[:4]),
        ((4, 3), 1),
        ((4, 3), -1),
        ((4, 3), (2, -1)),
        ((4, 3), slice(1, 3)),
        ((4, 3), slice(None, None, -2)),
        ((4, 3), (..., 0)),
        ((4, 3), (None, slice(2))),
        ((2, 4, 3), (1, np.array([0, 0]), slice(1, None))),
        ((4,), np.array([], dtype=int)),
    ]


@pytest.mark.hole("scatter_add", kind="value")
def test_scatter_add_repeats_add_up(lesson, rng):
    for shape, index in indices(rng):
        x = rng.standard_normal(np.empty(shape)[index].shape)
        old = x.copy()
        want, assigned = np.zeros(shape), np.zeros(shape)
        np.add.at(want, index, x)
        assigned[index] = x
        filled = np.zeros(shape)
        filled[index] = 1.0
        with told(
            f"scatter_add for a[{named(index)}] with a of shape {shape}", "any index of NumPy must work"
        ):
            got = lesson.scatter_add(x, index=index, shape=shape)
        causes = {
            "a place that is named several times holds only its last number: `=` overwrites, and `y[index] += x` "
            "reads before it adds, so repeated places do not add up": assigned,
            "it holds ones in place of the numbers of x": filled,
            "it starts from ones: places that were not read have gradient 0, so start from zeros": want + 1.0,
        }
        if np.shape(got) == shape and not same(got, want) and abs(np.sum(got) - x.sum()) > 1e-6:
            causes |= {
                "numbers of x are lost, their sum is another: x has the shape of a[index], which may be a row for each "
                "index, a slice or a mask; np.add.at takes them all": got
            }
        agree(got, want, f"scatter_add for a[{named(index)}] with a of shape {shape}", causes)
        assert np.array_equal(x, old), "scatter_add changed x in place: build a new array"


@pytest.mark.hole("scatter_add", kind="shape")
def test_scatter_add_keeps_dtype(lesson, rng):
    for dtype in (np.float32, np.float64):
        for shape, index in indices(rng):
            x = np.asarray(rng.standard_normal(np.empty(shape)[index].shape), dtype)
            got = lesson.scatter_add(x, index=index, shape=shape)
            assert np.shape(got) == shape, f"scatter_add gave shape {np.shape(got)}, expected {shape}"
            assert got.dtype == dtype, (
                f"scatter_add made {got.dtype} of {np.dtype(dtype)}: give np.zeros the dtype of x"
            )


@pytest.mark.hole("scatter_add", kind="invariant")
def test_scatter_add_is_the_transpose(lesson, rng):
    for shape, index in indices(rng):
        a = rng.standard_normal(shape)
        x = rng.standard_normal(a[index].shape)
        one, other = (lesson.scatter_add(x, index=index, shape=shape) * a).sum(), (x * a[index]).sum()
        assert abs(one - other) < 1e-9 * (1 + abs(other)), (
            f"<scatter_add(x), a> = {one:.6g}, but <x, a[index]> = {other:.6g} for the index {named(index)}: "
            "the two maps must be transposes of each other"
        )


@pytest.mark.hole("scatter_add", kind="gradient")
def test_scatter_add_in_the_walk(lesson, rng):
    for index in (
        np.array([0, 0, 2]),
        -1,
        slice(1, 3),
        (np.array([1, 1]), np.array([2, 2])),
        np.array([True, False, True]),
    ):
        x = rng.standard_normal((3, 4))
        check_gradients(
            lesson, rng, lambda x, index=index: x[index] * x[index], [x], f"x[{named(index)}] ** 2"
        )


# unbroadcast


@pytest.mark.hole("unbroadcast", kind="value")
def test_unbroadcast_sums(lesson, rng):
    bigs = [(3, 4), (3, 3), (1, 4), (), (2, 3, 4), (2, 2, 2), (2, 1, 4), (5, 1, 1)]
    for big, shape in [(one, shape) for one in bigs for shape in _that_broadcast_to(one)]:
        x = np.asarray(rng.standard_normal(big))
        old = x.copy()
        want = _sum_by_hand(x, shape)
        cause = "shapes are aligned from the right, and summing an axis away moves the axes behind it"
        with told(f"unbroadcast from {big} to {shape}", cause):
            got = lesson.unbroadcast(x, shape=shape)
        mean, first = want * want.size / x.size, _first_copy(x, shape)
        causes = {
            "it is the mean over the copied axes, expected the sum: every copy passes on its gradient": mean,
            "it is only one of the copies, expected their sum: every copy passes on its gradient": first,
        }
        _shape_of_unbroadcast(got, big, shape)
        agree(got, want, f"unbroadcast from {big} to {shape}", causes)
        assert np.array_equal(x, old), "unbroadcast changed its input in place: build a new array"


def _that_broadcast_to(big):
    for front in range(len(big) + 1):
        yield from itertools.product(*[sorted({1, n}) for n in big[front:]])


def _shape_of_unbroadcast(got, big, shape):
    found = np.shape(got)
    if found == shape:
        return
    cause = ": shapes are aligned from the right"
    if found == big:
        cause = ": nothing was summed"
    elif found == tuple(n for n in shape if n != 1):
        cause = ": axes of size 1 are gone; they are part of the shape and stay, with size 1 (keepdims=True)"
    elif len(found) > len(shape):
        cause = ": the axes that broadcasting had added in front are still there"
    raise AssertionError(f"unbroadcast from {big} to {shape} gave shape {found}{cause}")


def _sum_by_hand(x, shape):
    y = np.zeros(shape)
    for i in np.ndindex(x.shape):
        y[tuple(j if n > 1 else 0 for j, n in zip(i[x.ndim - len(shape) :], shape, strict=True))] += x[i]
    return y


def _first_copy(x, shape):
    y = x[(0,) * (x.ndim - len(shape))]
    return y[tuple(slice(0, n) for n in shape)]


@pytest.mark.hole("unbroadcast", kind="shape")
def test_unbroadcast_keeps_dtype(lesson, rng):
    for shape in [(4,), (3, 1), (1, 4), (3, 4), ()]:
        x = rng.standard_normal((3, 4)).astype(np.float32)
        got, want = lesson.unbroadcast(x, shape=shape), np.float32(_sum_by_hand(x, shape))
        agree(got, want, f"unbroadcast from (3, 4) to {shape} in float32", rtol=1e-5)


@pytest.mark.hole("unbroadcast", kind="invariant")
def test_unbroadcast_is_the_transpose(lesson, rng):
    for big, shape in [((3, 4), (4,)), ((2, 3, 4), (3, 1)), ((3, 3), ()), ((4, 4), (4, 1))]:
        x, a = rng.standard_normal(big), np.asarray(rng.standard_normal(shape))
        one, other = (lesson.unbroadcast(x, shape=shape) * a).sum(), (x * np.broadcast_to(a, big)).sum()
        assert abs(one - other) < 1e-9 * (1 + abs(other)), (
            f"<unbroadcast(x), a> = {one:.6g}, but <x, broadcast_to(a)> = {other:.6g} for {big} and {shape}: "
            "the two maps must be transposes of each other"
        )


@pytest.mark.hole("unbroadcast", kind="gradient")
def test_unbroadcast_in_the_walk(lesson, rng):
    for one, other in SHAPES:
        a, b = np.asarray(rng.standard_normal(one)), np.asarray(rng.standard_normal(other))
        check_gradients(lesson, rng, lambda a, b: a * b, [a, b], f"a * b with shapes {one} and {other}")


# topological_order


def ordered(lesson, y):
    """topological_order(y) as a list, its members checked."""
    with told("topological_order", "list a Tensor once all results that were computed from it are listed"):
        order = lesson.topological_order(y)
    assert order is not None, "topological_order returned None: is the `return` missing?"
    order = list(order)
    alien = next((a for a in order if not isinstance(a, lesson.Tensor)), None)
    assert alien is None, f"the order holds a {type(alien).__name__}: expected Tensors only"
    assert len({id(a) for a in order}) == len(order), (
        "a Tensor stands in the order more than once: its rule would run again for each path, with part of its gradient"
    )
    assert all(a.requires_grad for a in order), (
        "the order holds a Tensor that requires no gradients: it is a constant"
    )
    return order


def check_order(lesson, y):
    """Fails unless the order holds every Tensor behind y, results before sources."""
    order = ordered(lesson, y)
    assert any(a is y for a in order), "y itself is not in the order: the walk starts with it"
    place = {id(a): i for i, a in enumerate(order)}
    edges, seen, stack = [], {id(y)}, [y]
    while stack:
        node = stack.pop()
        for a in node.recipe[1] if node.recipe else ():
            if isinstance(a, lesson.Tensor) and a.requires_grad:
                edges.append((node, a))
                if id(a) not in seen:
                    seen.add(id(a))
                    stack.append(a)
    missing = [a for _, a in edges if id(a) not in place]
    what = "leaves" if missing and all(a.recipe is None for a in missing) else "Tensors"
    assert not missing, f"{what} are missing from the order: their gradients would never arrive"
    assert len(order) == len(seen), f"the order has {len(order)} Tensors, but only {len(seen)} lie behind y"
    late = [node for node, a in edges if place[id(node)] > place[id(a)]]
    if late and all(place[id(node)] > place[id(a)] for node, a in edges):
        raise AssertionError(
            "the order is the wrong way round: the loss comes first and the leaves last, so reverse it"
        )
    assert not late, (
        "a Tensor stands before a result that was computed from it: it would pass on its gradient before the last "
        "contribution has arrived (plain depth-first or breadth-first order is not enough: wait for all results)"
    )
    return order


@pytest.mark.hole("topological_order", kind="value")
def test_order_of_a_chain(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    h = x.exp()
    y = h.sum()
    assert [id(a) for a in check_order(lesson, y)] == [id(y), id(h), id(x)], (
        "the order of x -> h -> y must be y, h, x"
    )
    assert [id(a) for a in check_order(lesson, x)] == [id(x)], "the order of a leaf is the leaf alone"


@pytest.mark.hole("topological_order", kind="invariant")
def test_order_waits_for_the_longest_way(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    h, c = x * 2.0, lesson.Tensor(rng.standard_normal(3))
    deep = h.exp().exp() * c
    graphs = [x + deep, deep + x, h * deep + h, (h + deep) * h, h + (x + deep), (deep + x) + h, x * x]
    for y in [*graphs, x + (x + (x + x))]:
        check_order(lesson, y)


@pytest.mark.hole("topological_order", kind="invariant")
def test_order_of_random_graphs(lesson, rng):
    for _ in range(30):
        nodes = [*leaves(lesson, rng, (), ()), lesson.Tensor(1.0)]
        for _ in range(12):
            i, j = rng.integers(len(nodes), size=2)
            nodes.append((nodes[i] + nodes[j]) if rng.random() < 0.7 else -nodes[i])
        y = nodes[0] + nodes[-1]
        first = check_order(lesson, y)
        again = check_order(lesson, y)
        assert {id(a) for a in first} == {id(a) for a in again}, "a second call gives another result"


@pytest.mark.hole("topological_order", kind="step")
def test_order_changes_nothing(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    h = x * x
    y = (h + h.exp()).sum()
    recipes = [t.recipe for t in (x, h, y)]
    check_order(lesson, y)
    check_order(lesson, y)
    assert all(t.recipe is r for t, r in zip((x, h, y), recipes, strict=True)), (
        "topological_order changed a recipe"
    )
    assert x.grad is None, "topological_order wrote a gradient: it only lists"
    assert y.requires_grad, "topological_order changed requires_grad: it only lists"


@pytest.mark.hole("topological_order", kind="invariant")
def test_order_of_a_deep_graph(lesson):
    x = lesson.Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(5000):
        y = y + 1.0
    assert len(ordered(lesson, y)) == 5001, "a chain of 5,000 operations has 5,001 Tensors"


@pytest.mark.hole("topological_order", kind="invariant")
def test_order_takes_linear_time(lesson):
    looks = 0

    class Watched(lesson.Tensor):
        """A Tensor that counts how often its recipe is looked at."""

        @property
        def recipe(self):
            nonlocal looks
            looks += 1
            assert looks < 50 * 41, (
                "the walk goes through the same Tensors again and again: 40 diamonds have 2 ** 40 paths, so remember "
                "which Tensors were seen, and go on from each only once"
            )
            return self.kept

        @recipe.setter
        def recipe(self, value):
            self.kept = value

    y = Watched([1.0], requires_grad=True)
    for _ in range(40):
        z = Watched(y.data, requires_grad=True)
        z.recipe = (lesson.add, (y, y), {})
        y = z
    looks = 0
    assert len(ordered(lesson, y)) == 41, "40 additions x + x on top of each other have 41 Tensors"


@pytest.mark.hole("topological_order", kind="gradient")
def test_order_serves_the_walk(lesson, rng):
    x = rng.standard_normal((2, 3)) * 0.5
    check_gradients(lesson, rng, lambda x: x * (x * x + x).exp() + x, [x], "x * exp(x * x + x) + x")


# backward


@pytest.mark.hole("backward", kind="value")
def test_backward_calls_rules(lesson, rng):
    calls = []

    def rule(g, y, *arrays, **meta):
        calls.append((g, y, arrays, meta))
        return [lambda: g * 3, lambda: g * 4]

    (a,) = leaves(lesson, rng, (3,))
    c, seed = rng.standard_normal(3), rng.standard_normal(3)
    y = lesson.op(lambda a, c, *, s: a * s + c, rule)(a, c, s=3.0)
    with told("backward", "the rule takes g, the result and the arguments as arrays, and the metadata"):
        lesson.backward(y, seed)
    assert len(calls) == 1, f"the rule of the only op was called {len(calls)} times, expected once"
    g, result, arrays, meta = calls[0]
    assert not any(isinstance(one, lesson.Tensor) for one in (g, result, *arrays)), (
        "a rule was fed Tensors: feed it arrays, f.rule(g, node.data, *map(raw, args), **meta)"
    )
    agree(g, seed, "the g that the rule was given", {"it is 1: the seed was not used": np.ones(3)})
    agree(result, y.data, "the second argument of a rule: the result, node.data")
    assert len(arrays) == 2, (
        f"the rule was given {len(arrays)} arguments, expected both: the constant as well"
    )
    for k, (got, want) in enumerate(zip(arrays, (a.data, c), strict=True)):
        agree(got, want, f"argument {k} that the rule was given")
    assert meta == {"s": 3.0}, f"the rule was given the metadata {meta}, expected those of the forward pass"
    agree(a.grad, 3 * seed, "the gradient that the thunk returned")


@pytest.mark.hole("backward", kind="value")
def test_backward_of_a_product(lesson, rng):
    a, b = leaves(lesson, rng, (3,), (3,))
    seed = rng.standard_normal(3)
    old = seed.copy()
    walk(lesson, a * b, seed)
    for x, other, name in ((a, b, "first"), (b, a, "second")):
        assert x.grad is not None, f"the {name} factor of a * b has no gradient: every argument gets one"
        assert not isinstance(x.grad, lesson.Tensor), (
            "a gradient is a Tensor, expected an array: feed arrays to the rule"
        )
        causes = {
            "the seed was not used: what flows into y is not always 1": other.data,
            "it is the gradient of the other factor": seed * x.data,
        }
        agree(x.grad, seed * other.data, f"the gradient of a * b for the {name} factor", causes)
    assert np.array_equal(seed, old), "backward changed the seed in place: it belongs to the caller"
    a.grad = None
    walk(lesson, (a * b).sum(), hint="a leaf can be used again in a new graph: only results become SPENT")
    agree(a.grad, b.data, "the gradient of (a * b).sum(), without a seed")


@pytest.mark.hole("backward", kind="invariant")
def test_backward_leaves_constants_alone(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    c, d = lesson.Tensor(rng.standard_normal(3)), rng.standard_normal(3)
    called = []

    def rule(g, y, a, b, c):
        return [
            lambda: called.append("a") or g,
            lambda: called.append("b") or g,
            lambda: called.append("c") or g,
        ]

    y = lesson.op(lambda a, b, c: a + b + c, rule)(c, x * d + 2.0, d)
    data = [x.data.copy(), c.data.copy(), d.copy(), y.data.copy()]
    walk(
        lesson, y, rng.standard_normal(3), "arrays and numbers among the arguments get no gradient: skip them"
    )
    assert c.grad is None, "a Tensor that does not require gradients has received one"
    x2 = x * x
    y2 = x2.exp()
    walk(lesson, y2, rng.standard_normal(3))
    assert x2.grad is None, (
        "a result on the way has a .grad after backward: only leaves keep theirs, or every activation's gradient stays "
        "in memory"
    )
    assert y2.grad is None, "y itself has a .grad after backward: only leaves keep theirs, and y is a result"
    assert called == ["b"], (
        f"thunks {called} were called, expected ['b']: only for arguments that require gradients"
    )
    for array, old in zip((x.data, c.data, d, y.data), data, strict=True):
        assert np.array_equal(array, old), "backward changed data: it may only write .grad"


@pytest.mark.hole("backward", kind="value")
def test_backward_adds_up(lesson, rng):
    says = "the gradient of a variable used twice has only"
    inplace = "adding with += changed an array that another gradient shares: write grads[a] = grads[a] + ga"
    for make, parts in [
        (lambda a, b: a * 3.0 + a * 5.0 + b, [(3, 5), (1,)]),
        (lambda a, b: (a + b) + a, [(1, 1), (1,)]),
        (lambda a, b: a + (b + a), [(1, 1), (1,)]),
        (lambda a, b: (a + b) + (a + b), [(1, 1), (1, 1)]),
    ]:
        a, b = leaves(lesson, rng, (3,), (3,))
        seed = rng.standard_normal(3)
        given = seed.copy()
        walk(lesson, make(a, b), given, inplace)
        assert np.array_equal(given, seed), f"the seed has changed: {inplace}"
        for x, each in zip((a, b), parts, strict=True):
            causes = {
                f"{says} its last contribution: you overwrite instead of adding": each[0] * seed,
                f"{says} one of its contributions: you overwrite instead of adding": each[-1] * seed,
                f"{says} the mean of its contributions: add them": sum(each) / len(each) * seed,
                inplace: (sum(each) + 1) * seed,
                f"{inplace}.": (sum(each) + 2) * seed,
            }
            agree(x.grad, sum(each) * seed, "a gradient", causes)


@pytest.mark.hole("backward", kind="value")
def test_backward_adds_up_on_the_way(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    seed, says = rng.standard_normal(3), "only one contribution is there: you overwrite instead of adding"
    h = x * 3.0
    walk(lesson, h * h + h, seed)
    causes = {says: seed * 9 * x.data, f"{says}.": 3 * seed, f"{says} ": seed * (9 * x.data + 3)}
    agree(x.grad, seed * (18 * x.data + 3), "the gradient of h * h + h, with h = 3 * x", causes)


@pytest.mark.hole("backward", kind="step")
def test_backward_twice_adds_to_grad(lesson, rng):
    says = "a second pass must add to it (.grad is cleared by whoever trains)"
    for make, want in [
        (lambda a, b: a * b, lambda a, b: (b, a)),
        (lambda a, b: a + b, lambda a, b: (1.0, 1.0)),
    ]:
        a, b = leaves(lesson, rng, (3,), (3,))
        first, second = rng.standard_normal((2, 3))
        for seed in (first, second):
            walk(lesson, make(a, b), seed.copy(), f"{says}; only results become SPENT, leaves are used again")
        for x, factor in zip((a, b), want(a.data, b.data), strict=True):
            late, early = (first + 2 * second) * factor, (2 * first + second) * factor
            causes = {
                f".grad holds the last pass only: {says}": second * factor,
                f".grad holds the first pass only: {says}": first * factor,
                "it counts a pass too often: two .grad share one array, and += changed both": late,
                "it counts the first pass too often: the walk must start from zero, not from .grad": early,
            }
            agree(x.grad, (first + second) * factor, "the .grad after two passes", causes)


@pytest.mark.hole("backward", kind="shape")
def test_backward_undoes_broadcasting(lesson, rng):
    for one, other in SHAPES:
        a, b = leaves(lesson, rng, one, other)
        y = a * b
        seed = rng.standard_normal(y.shape)
        walk(lesson, y, seed)
        for x, z in ((a, b), (b, a)):
            assert x.grad is not None, "a factor that was broadcast has no gradient"
            found = np.shape(x.grad)
            assert found == x.shape, (
                f"{one} * {other}: the gradient has shape {found}, its Tensor {x.shape}: sum over the axes that "
                "broadcasting had copied (unbroadcast)"
            )
            want, copies = _sum_by_hand(seed * z.data, x.shape), np.resize(seed * z.data, x.shape)
            causes = {"it holds one of the copies, expected their sum (unbroadcast)": copies}
            agree(x.grad, want, f"the gradient of {one} * {other}", causes)


@pytest.mark.hole("backward", kind="shape")
def test_backward_undoes_broadcasting_on_every_edge(lesson, rng):
    (x,) = leaves(lesson, rng, (2, 2))
    seed = rng.standard_normal((3, 4))
    says = "un-broadcast on every edge, not only at the leaves: a rule needs g in the shape of its result"
    walk(lesson, x.reshape(4) * np.ones((3, 4)), seed, says)
    agree(x.grad, seed.sum(axis=0).reshape(2, 2), "the gradient through a reshape and a broadcast")
    seen = []

    def rule(g, y, x):
        seen.append((np.shape(g), np.shape(y)))
        return [lambda: g * np.ones(x.shape)]

    (x,) = leaves(lesson, rng, (4,))
    walk(lesson, lesson.op(lambda x: x * 1.0, rule)(x) * np.ones((3, 4)), seed, says)
    assert all(g == y for g, y in seen), (
        f"a rule was given a g of shape {seen[0][0]} for a result of shape {seen[0][1]}: {says}"
    )


@pytest.mark.hole("backward", kind="shape")
def test_backward_keeps_float32(lesson, rng):
    dtypes = set()

    def rule(g, y, x):
        dtypes.add(np.asarray(g).dtype.name)
        return [lambda: g * 2]

    double = lesson.op(lambda x: x * 2, rule)
    x, c = leaves(lesson, rng, (3,), dtype=np.float32)[0], rng.standard_normal(3)
    for y, seed in [
        (double(x).sum(), None),
        (double(x * x), rng.standard_normal(3)),
        (double(x) * c, rng.standard_normal(3)),
        (double(double(x) * 3.0).sum() / 7.0, None),
    ]:
        dtypes.clear()
        x.grad = None
        walk(lesson, y, seed)
        assert x.grad is not None, "no gradient arrived"
        found = np.asarray(x.grad).dtype
        cause = "look at the dtype of the seed, and cast every gradient to the dtype of its Tensor"
        assert found == np.float32, f"the gradient of a float32 Tensor is {found}: {cause}"
        assert dtypes == {"float32"}, f"the g of a float32 result is {' and '.join(dtypes)}: {cause}"


@pytest.mark.hole("backward", kind="gradient")
def test_backward_against_differences(lesson, rng):
    x, w, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 3)) * 0.5, rng.standard_normal(3)

    def network(x, w, b):
        h = (x @ w + b).exp()
        p = h / h.sum(axis=1, keepdims=True)
        return (p * x).sum(axis=0) + (p.log() - b)[np.array([0, 0, 2])].sum(axis=0) * w.mT.sum()

    check_gradients(lesson, rng, network, [x, w, b], "a small network")
    for f, name in [
        (lambda x: x + x.exp().exp(), "x + exp(exp(x))"),
        (lambda x: x.exp().exp() + x, "exp(exp(x)) + x"),
        (lambda x: x * (x * (x * x)), "x ** 4"),
        (lambda x: (x.exp() + x) * x.exp() - 1.0 / (x * x + 2.0), "a function that uses x in five places"),
    ]:
        check_gradients(lesson, rng, f, [x * 0.5], name)


@pytest.mark.hole("backward", kind="invariant")
def test_backward_of_a_deep_graph(lesson):
    x = lesson.Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(5000):
        y = y + 1.0
    walk(lesson, y, hint="a graph may be 5,000 operations deep: no recursion")
    agree(x.grad, np.float32([1.0]), "the gradient through 5,000 additions")


@pytest.mark.hole("backward", kind="invariant")
def test_backward_takes_linear_time(lesson):
    calls = 0

    def rule(g, y, a, b):
        nonlocal calls
        calls += 1
        assert calls < 400, (
            "rules run again and again: 40 diamonds have 2 ** 40 paths, so gather all of a Tensor's gradient "
            "first, and run its rule once"
        )
        return [lambda: g * 0.5, lambda: g * 0.5]

    mean = lesson.op(lambda a, b: (a + b) * 0.5, rule)
    x = lesson.Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(40):
        y = mean(y, y)
    lesson.backward(y)
    agree(x.grad, np.float32([1.0]), "the gradient through 40 diamonds")
    assert calls == 40, f"{calls} rules were called for a graph of 40 operations: expected each once"


@pytest.mark.hole("backward", kind="step")
def test_backward_frees_the_graph(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    h = x.exp()
    inner = weakref.ref(h * h)
    y = (h * h).sum()
    kept = weakref.ref(y.recipe[1][0])
    walk(lesson, y)
    gc.collect()
    assert inner() is None, "something outside the graph keeps Tensors alive"
    assert kept() is None, (
        "after backward the graph is still in memory: set the recipe of every result to SPENT, or each training step "
        "keeps its arrays"
    )
    for again, what in [
        (y, "a second backward through the same graph"),
        ((h * 2.0).sum(), "a backward into a used part"),
    ]:
        try:
            lesson.backward(again)
        except RuntimeError:
            continue
        except Exception as error:
            raise AssertionError(
                f"{what} raised {type(error).__name__}, expected the RuntimeError of SPENT"
            ) from error
        raise AssertionError(
            f"{what} went through in silence: its gradients are wrong. Set the recipe of every result to SPENT "
            "(None would make it look like a leaf)"
        )
    assert x.recipe is None, "a leaf has lost its place: only results become SPENT"
    x.grad = None
    walk(lesson, (x * x).sum(), hint="a leaf can be used again in a new graph")
    agree(x.grad, 2 * x.data, "the gradient of a new graph on the same leaf")


# descend


@pytest.mark.hole("descend", kind="step")
def test_descend_moves_against_the_gradient(lesson, rng):
    w, b = leaves(lesson, rng, (2, 3), (3,))
    x = rng.standard_normal((4, 2))
    old_w, old_b = w.data.copy(), b.data.copy()
    residual = x @ old_w + old_b
    grad_w, grad_b = 2 * x.T @ residual, 2 * residual.sum(axis=0)
    r = x @ w + b
    with told("descend", "one backward pass serves all parameters"):
        lesson.descend((r * r).sum(), [w, b], 0.1)
    for p, old, g, name in ((w, old_w, grad_w, "first"), (b, old_b, grad_b, "second")):
        assert not isinstance(p.data, lesson.Tensor), (
            "the data of a parameter are a Tensor now: set p.data to an array"
        )
        causes = {
            "it has not moved: change p.data (`p = p - ...` only gives a new meaning to the name p), and by a gradient "
            "that was not cleared before": old,
            "it moved twice as far": old - 0.2 * g,
            "it went uphill: subtract the gradient": old + 0.1 * g,
            "the rate was not used": old - g,
            "it is the step itself: subtract it from the old data": -0.1 * g,
            "the gradient was scaled to length 1: the step is rate times the gradient as it is": (
                old - 0.1 * g / np.sqrt((g * g).sum())
            ),
            "the gradient is averaged: the step is rate times the gradient as it is": old - 0.1 * g / g.size,
        }
        agree(p.data, old - 0.1 * g, f"the {name} parameter after one step", causes)
        assert p.requires_grad, (
            "after the step a parameter does not require gradients any more: the next step stops there"
        )
        assert p.recipe is None, "after the step a parameter is no leaf any more: the update was recorded"


@pytest.mark.hole("descend", kind="step")
def test_descend_forgets_old_gradients(lesson, rng):
    (w,) = leaves(lesson, rng, (3,))
    old, want = w.data.copy(), w.data.copy()
    w.grad = rng.standard_normal(3)
    stale = w.grad.copy()
    says = "an old gradient was added in: set .grad to None before the backward pass"
    for step in range(3):
        before = want.copy()
        want = want - 0.1 * 2 * want
        lesson.descend((w * w).sum(), [w], 0.1)
        causes = {
            says: old - 0.1 * (2 * old + stale),
            "it was moved by the old gradient alone": before - 0.1 * stale,
        }
        if not step:
            agree(w.data, want, "the parameter after the first step", causes)
        if step:
            both = before - 0.1 * (2 * before + 2 * before / 0.8)
            agree(w.data, want, f"the parameter after step {step + 1}", {says: both})


@pytest.mark.hole("descend", kind="invariant")
def test_descend_touches_parameters_only(lesson, rng):
    w, other, free = leaves(lesson, rng, (3,), (3,), (2,))
    x = lesson.Tensor(rng.standard_normal(3))
    old = [t.data.copy() for t in (other, free, x)]
    with told("descend", "the .grad of a parameter that the loss does not use is None"):
        lesson.descend((w * other * x).sum(), [w, free], 0.1)
    for t, before, name in zip(
        (other, free, x), old, ("other tensor", "unused parameter", "input"), strict=True
    ):
        assert np.array_equal(t.data, before), (
            f"an {name} was moved: only the given parameters that the loss uses move"
        )
    free.grad = rng.standard_normal(2)
    lesson.descend((w * w).sum(), [w, free], 0.1)
    assert np.array_equal(free.data, old[1]), (
        "a parameter that the loss does not use was moved by an old gradient"
    )


@pytest.mark.hole("descend", kind="shape")
def test_descend_keeps_dtype(lesson, rng):
    for dtype in (np.float32, np.float64):
        (w,) = leaves(lesson, rng, (2, 3), dtype=dtype)
        lesson.descend((w * w).sum(), (w,), 0.1)
        assert w.data.dtype == dtype, (
            f"one step made {w.data.dtype} of {np.dtype(dtype)}: keep the dtype of the parameter"
        )
        assert w.data.shape == (2, 3), f"one step made shape {w.data.shape} of (2, 3)"


@pytest.mark.hole("descend", kind="value")
def test_descend_fits_a_line(lesson, rng):
    x = rng.standard_normal((30, 2))
    w, b = leaves(lesson, rng, (2, 1), (1,))
    target = x @ np.array([[2.0], [-1.0]]) + 0.5
    for _ in range(300):
        r = x @ w + b - target
        lesson.descend((r * r).sum() / 30.0, [w, b], 0.1)
    says = "after 300 steps on noiseless data the line is not found"
    assert np.allclose(w.data, [[2.0], [-1.0]], atol=1e-3), (
        f"{says}: the slopes are {w.data.ravel()}, expected 2 and -1"
    )
    assert np.allclose(b.data, 0.5, atol=1e-3), f"{says}: the offset is {b.data}, expected 0.5"


# grad


def gradients(lesson, y, *xs):
    """grad(y, xs), its form checked."""
    says = "feed Tensors to the rules: g, node, *args (arrays give arrays, and nothing is recorded)"
    before = [x.grad for x in xs]
    with told("grad", says):
        found = lesson.grad(y, list(xs))
    assert all(x.grad is old for x, old in zip(xs, before, strict=True)), (
        "grad wrote to .grad: it returns the gradients and leaves every .grad as it is (and so cannot use backward)"
    )
    assert isinstance(found, list | tuple), (
        f"grad returned a {type(found).__name__}, expected a list of Tensors"
    )
    assert len(found) == len(xs), f"grad returned {len(found)} gradients for {len(xs)} Tensors"
    for g, x in zip(found, xs, strict=True):
        assert isinstance(g, lesson.Tensor), f"grad returned a {type(g).__name__} in the list: {says}"
        assert g.shape == x.shape, (
            f"a gradient has shape {g.shape}, its Tensor {x.shape}: sum_to undoes broadcasting"
        )
    return found


@pytest.mark.hole("grad", kind="value")
def test_grad_first_order(lesson, rng):
    a, b = leaves(lesson, rng, (3,), (2, 3))
    h = a * b
    ga, gb, gh = gradients(lesson, (h * h + a).sum(), a, b, h)
    says = "only one contribution is there: you overwrite instead of adding"
    agree(gh.data, 2 * h.data, "the gradient of (h * h + a).sum() for h, which is no leaf", {says: h.data})
    causes = {says: np.full(3, 2.0), f"{says}.": (2 * h.data * b.data).sum(axis=0)}
    agree(ga.data, (2 * h.data * b.data).sum(axis=0) + 2, "the gradient for a, used in two places", causes)
    agree(gb.data, 2 * h.data * a.data, "the gradient for b")


@pytest.mark.hole("grad", kind="step")
def test_grad_leaves_everything_in_place(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    x.grad = old = rng.standard_normal(3)
    before = old.copy()
    y = (x * x).sum()
    recipe = y.recipe
    (first,) = gradients(lesson, y, x)
    assert y.recipe is recipe, "grad freed the graph: the second derivative still needs it"
    (second,) = gradients(lesson, y, x)
    assert x.grad is old, "grad wrote to .grad: it returns the gradients and leaves .grad as it is"
    assert np.array_equal(old, before), (
        "grad wrote to .grad: it returns the gradients and leaves .grad as it is"
    )
    assert y.recipe is recipe, "grad freed the graph: the second derivative still needs it"
    agree(second.data, first.data, "the gradient asked for a second time")
    x.grad = None
    walk(lesson, y, hint="grad must keep the graph")
    agree(x.grad, 2 * x.data, "the gradient by backward() after grad()")


@pytest.mark.hole("grad", kind="gradient")
def test_grad_of_grad(lesson, rng):
    (x,) = leaves(lesson, rng, (3,))
    v = rng.standard_normal(3)
    (g,) = gradients(lesson, (x * x * x).sum(), x)
    agree(g.data, 3 * x.data**2, "the gradient of (x ** 3).sum()")
    assert g.requires_grad, (
        "the gradient is not connected to x: feed the rules the Tensors themselves, not their .data, with recording on"
    )
    (gg,) = gradients(lesson, (g * v).sum(), x)
    says = "a part of the graph is missing: was something fed as an array, or detached?"
    causes = {says: 3 * x.data * v, f"{says} ": 4 * x.data * v}
    agree(gg.data, 6 * x.data * v, "the second derivative of x ** 3, times v", causes)
    (ggg,) = gradients(lesson, (gg * v).sum(), x)
    agree(ggg.data, 6 * v * v, "the third derivative of x ** 3, times v, times v")
    walk(lesson, (g * v).sum(), hint="the result of grad must be a recorded graph that backward can walk")
    agree(x.grad, 6 * x.data * v, "the second derivative by backward()")
    (g,) = gradients(lesson, x.exp().sum(), x)
    assert g.requires_grad, (
        "the gradient of exp(x) is not connected to x: its rule uses the result y, so feed `node` itself, not node.data"
    )


@pytest.mark.hole("grad", kind="gradient")
def test_grad_of_grad_through_every_rule(lesson, rng):
    x, w = rng.uniform(0.5, 1.5, (4, 3)), rng.standard_normal((3, 3)) * 0.5
    v = rng.standard_normal((4, 3))

    def f(x, w):
        h = (x @ w + x).exp()
        return ((h / h.sum(axis=1, keepdims=True)).log() * x[np.array([0, 0, 3, 1])] - w[0]).reshape(12).sum()

    def first_order(x, w):
        t = lesson.Tensor(x, requires_grad=True)
        lesson.backward(f(t, lesson.Tensor(w)))
        return t.grad

    want = numerical(first_order, v, [x, w])
    x, w = lesson.Tensor(x, requires_grad=True), lesson.Tensor(w, requires_grad=True)
    (g,) = gradients(lesson, f(x, w), x)
    agree(g.data, first_order(x.data, w.data), "the gradient of a small network for its input")
    found = gradients(lesson, (g * v).sum(), x, w)
    for t, second, name in zip(found, want, ("input", "weights"), strict=True):
        agree(t.data, second, f"the gradient of the input's gradient for the {name}", rtol=1e-5)


@pytest.mark.hole("grad", kind="shape")
def test_grad_keeps_float32(lesson, rng):
    a, b = leaves(lesson, rng, (2, 1), (3,), dtype=np.float32)
    for t in gradients(lesson, (a * b * b).sum(), a, b):
        assert t.dtype == np.float32, (
            f"a gradient of float32 Tensors is {t.dtype}: look at the dtype of the first 1"
        )


@pytest.mark.hole("grad", kind="invariant")
def test_grad_waits_and_runs_rules_once(lesson):
    calls = 0

    def rule(g, y, a, b):
        nonlocal calls
        calls += 1
        assert calls < 400, (
            "rules run again and again: gather all of a Tensor's gradient first, and run its rule once"
        )
        return [lambda: g * 0.5, lambda: g * 0.5]

    mean = lesson.op(lambda a, b: (a + b) * 0.5, rule)
    x = lesson.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(40):
        y = mean(y, y)
    (g,) = gradients(lesson, y + x, x)
    agree(g.data, np.float32(2.0), "the gradient through 40 diamonds, plus x")


@pytest.mark.hole("grad", kind="value")
def test_grad_agrees_with_the_engine(lesson, rng):
    arrays = [rng.uniform(0.5, 1.5, shape).astype(np.float32) for shape in ((4, 3), (3, 2), (2,))]

    def penalty(tensor, differentiate):
        x, w, b = (tensor(a, requires_grad=True) for a in arrays)
        y = ((x @ w + b).exp() / (x * x).sum(axis=1, keepdims=True)).log()[np.array([0, 0, 3])].sum()
        (g,) = differentiate((y * y), [x])
        ((g * g).sum() - 1.0).backward()
        return [t.grad for t in (x, w, b)]

    want = penalty(minigen.Tensor, lambda y, xs: minigen.grad(y, xs, create_graph=True))
    got = penalty(lesson.Tensor, lambda y, xs: gradients(lesson, y, *xs))
    for mine, engine, name in zip(got, want, "xwb", strict=True):
        agree(
            mine, engine, f"the gradient of a gradient penalty for {name}, beside minigen's engine", rtol=1e-3
        )
