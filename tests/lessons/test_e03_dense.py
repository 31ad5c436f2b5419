"""Checks of e03_dense. Gradients are compared with central differences, for random upstream gradients."""

import collections
import contextlib
import functools
import inspect

import numpy as np
import pytest

from minigen import Tensor, grad, nn, optim
from minigen.course import plug
from minigen.data import load, scale

# Helpers


def same(one, other, rtol=1e-9):
    """Equal in shape, and in numbers up to rounding (relative to the largest); NaN and infinity in the same places."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return False
    one, other = one[finite], other[finite]
    size = np.abs(other).max(initial=0.0)
    return bool(np.all(np.abs(np.subtract(one, other)) <= rtol * np.maximum(np.abs(other), size)))


def agree(got, want, what, causes=None, rtol=1e-9):
    """Fails unless the array `got` is `want`. `causes`: what went wrong -> what comes of it."""
    got, want = np.asarray(got), np.asarray(want)
    for cause, wrong in (causes or {}).items():
        if same(got, wrong, rtol) and not same(want, wrong, 2 * rtol):
            raise AssertionError(f"{what} is wrong: {cause}")
    assert got.shape == want.shape, f"{what} has shape {got.shape}, expected {want.shape}"
    assert np.isfinite(got).all(), f"{what} holds NaN or infinity, expected finite numbers"
    if not same(got, want, rtol):
        i = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
        at = f" at index {tuple(map(int, i))}" if want.ndim else ""
        scale = float((got * want).sum() / (want * want).sum()) if np.any(want) else 1.0
        says = f"found {got[i]:.6g}{at}, expected {want[i]:.6g}"
        if want.size > 1 and np.any(got) and same(got, scale * want, 1e-6):
            says += f": every entry is {scale:.4g} times the right one"
        elif same(got, want, 1e-4):
            says = "close to the right numbers, but not them: is there an eps where none belongs, or a cut to float32?"
        raise AssertionError(f"{what} is wrong: {says}")


def is_tensor(y, what, dtype=None):
    """Fails unless y is a Tensor that is connected to the graph."""
    assert y is not None, f"{what} is None: is a `return` missing?"
    assert isinstance(y, Tensor), (
        f"{what} is a {type(y).__name__}, expected a Tensor: compute with Tensors to the end (no .data, no .item())"
    )
    assert y.requires_grad, (
        f"{what} does not require gradients: the graph is cut (.data, .detach(), no_grad?)"
    )
    assert dtype is None or y.dtype == dtype, (
        f"{what} has dtype {y.dtype}, expected {np.dtype(dtype)}: float32 must stay float32 (np.zeros, np.eye and "
        "np.array make float64 unless told otherwise)"
    )


@contextlib.contextmanager
def told(what, cause, about=""):
    """An exception of the learner's code is told with its likely cause, if its text is `about` that."""
    try:
        yield
    except (AssertionError, NotImplementedError):
        raise
    except RecursionError as error:
        says = (
            f"{what} calls itself for ever: it uses the engine's function of that name, whose place it takes"
        )
        raise AssertionError(says).with_traceback(error.__traceback__) from None
    except Exception as error:
        if about not in str(error):
            raise AssertionError(f"{what} raised {type(error).__name__} ({str(error)[:200]})").with_traceback(
                error.__traceback__
            ) from None
        if "for ^" in str(error):
            cause = "a power is written ** in Python; ^ is the exclusive or of integers"
        if "ambiguous" in str(error):  # bool() of an array
            cause = f"`if`, `or`, `not` and max() want one true or false, an array has many; {cause}"
        says = f"{what} raised {type(error).__name__} ({str(error)[:200]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def numerical(f, seed, arrays, h=1e-5):
    """The gradients of sum(seed * f(*arrays)), by central differences in float64."""
    results = []
    for k, x in enumerate(arrays):
        result = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            sides = []
            for step in (h, -h):
                moved = [a.copy() for a in arrays]
                moved[k][i] += step
                sides.append((seed * f(*moved)).sum())
            result[i] = (sides[0] - sides[1]) / (2 * h)
        results.append(result)
    return results


def check_gradients(f, arrays, names, rng, what):
    """The gradients of f (Tensors -> Tensor) at float64 arrays, against central differences."""
    tensors = [leaf(a) for a in arrays]
    y = f(*tensors)
    is_tensor(y, f"the result of {what}")
    seed = rng.standard_normal(y.shape)
    y.backward(seed)
    wanted = numerical(lambda *raw: f(*map(leaf, raw)).numpy(), seed, arrays)
    for t, want, name in zip(tensors, wanted, names, strict=True):
        assert t.grad is not None, (
            f"no gradient of {what} arrives at {name}: it does not depend on that Tensor"
        )
        agree(t.grad, want, f"the gradient of {what} for {name}", {"the sign is flipped": -want}, rtol=1e-6)


def small_run(make, loss, optimizer, seed):
    """The losses of a few training steps of the engine."""
    rng = np.random.default_rng(seed)
    model = make(rng)
    opt = optimizer(model.parameters())
    x, target = rng.standard_normal((8, 5)).astype(np.float32), rng.integers(0, 3, 8)
    losses = []
    for _ in range(5):
        y = loss(model(x), target)
        opt.step(grad(y, model.parameters()))
        losses.append(y.item())
    return np.array(losses)


def network(rng):
    return nn.Sequential(nn.Dense(5, 6, rng=rng), nn.ReLU(), nn.Dense(6, 3, bias=False, rng=rng))


def check_plugged(target, function, rng, loss=None, optimizer=None):
    """The engine trains with the learner's part in it as with its own."""
    optimizer = optimizer or (lambda params: optim.Adam(params, lr=0.05))
    loss = loss or (lambda logits, labels: nn.cross_entropy(logits, labels))
    seed, name = int(rng.integers(2**31)), target.partition(":")[2]
    want = small_run(network, loss, optimizer, seed)
    with told(f"a model of the engine, with your {name} in it,", "it must do all that the docstring says"):
        with plug({target: function}):
            got = small_run(network, loss, optimizer, seed)
        agree(got, want, f"the training loss of a model of the engine with your {name} in it", rtol=1e-4)


# he_normal


def draw(lesson, shape, rng):
    with told("he_normal", "`shape` is the pair (n_in, n_out), `rng` a numpy Generator"):
        W = lesson.he_normal(shape, rng=rng)
    assert W is not None, "he_normal returned None: is a `return` missing?"
    assert isinstance(W, np.ndarray), f"he_normal returned a {type(W).__name__}, expected a NumPy array"
    assert W.shape == shape, f"he_normal({shape}) has shape {W.shape}, expected {shape}: (n_in, n_out)"
    return W


@pytest.mark.hole("he_normal", kind="invariant")
def test_he_breaks_the_symmetry(lesson, rng):
    W = draw(lesson, (60, 200), rng).astype(float)
    assert np.any(W), "all weights are zero: every unit gets the same gradient, and they stay equal for ever"
    assert np.ptp(W) > 0, (
        "all weights are equal: every unit then gets the same gradient, and stays equal for ever"
    )
    for axis, lines in (("inputs", W), ("units", W.T)):
        correlations = (
            np.corrcoef(lines)[np.triu_indices(len(lines), 1)] if np.all(lines.std(1)) else np.ones(1)
        )
        assert np.abs(correlations).max() < 0.9, (
            f"the weights of different {axis} are copies of each other: draw n_in x n_out independent numbers"
        )


@pytest.mark.hole("he_normal", kind="value")
def test_he_scale(lesson, rng):
    for n_in, n_out in [(400, 300), (50, 900), (300, 300)]:
        W = draw(lesson, (n_in, n_out), rng).astype(float)
        want, found, n = 2 / n_in, (W**2).mean(), W.size
        causes = {
            "the variance is 2 / n_out: what counts is how many inputs a unit adds up, n_in = shape[0]": 2
            / n_out,
            "2 / n_in is the variance; you used it as the standard deviation (take the square root)": want**2,
            "1 / n_in would do without the ReLU, which cuts away half: expected 2 / n_in": 1 / n_in,
            "2 / (n_in + n_out) is Xavier's variance; He's is 2 / n_in": 2 / (n_in + n_out),
            "the numbers have variance 1: multiply by the standard deviation": 1.0,
            "you divide by n_in, expected its square root: the variance is 2 / n_in": 2 / n_in**2,
            "the square root of 2 / n_in is the standard deviation; you took the root twice": want**0.5,
            "the variance is 2 / (n_in n_out): a unit adds up n_in numbers, whatever n_out is": want / n_out,
        }
        for cause, wrong in causes.items():
            if abs(wrong / want - 1) > 0.2:
                assert abs(found / wrong - 1) > 0.1, f"the scale of the weights is wrong: {cause}"
        assert abs(found / want - 1) < 5 * np.sqrt(2 / n), (
            f"for n_in = {n_in}, n_out = {n_out} the weights have variance {found:.3g}, expected 2 / n_in = {want:.3g}"
        )
        assert abs(W.mean()) < 5 * np.sqrt(want / n), f"the weights have mean {W.mean():.3g}, expected 0"
        fourth = (W**4).mean() / found**2
        assert abs(fourth - 3) < 0.5, (
            f"the weights are not normal: E w^4 / (E w^2)^2 is {fourth:.2f}, expected 3 (uniform numbers have 1.8)"
        )


@pytest.mark.hole("he_normal", kind="shape")
def test_he_is_float32(lesson, rng):
    for shape in [(3, 5), (4, 1)]:
        dtype = draw(lesson, shape, rng).dtype
        assert dtype == np.float32, (
            f"he_normal returned {dtype}, expected float32: end with .astype(np.float32)"
        )


@pytest.mark.hole("he_normal", kind="step")
def test_he_draws_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    first, again = draw(lesson, (7, 6), one), draw(lesson, (7, 6), other)
    assert np.array_equal(first, again), (
        "generators with the same seed gave different weights: draw from `rng`, not from np.random"
    )
    assert not np.array_equal(draw(lesson, (7, 6), one), first), (
        "the same weights twice from one generator: draw from the `rng` that is given, make none of your own"
    )


# Dense.__init__


def build(lesson, *sizes, **settings):
    with told("Dense.__init__", "init wants (n_in, n_out) and rng=rng"):
        return lesson.Dense(*sizes, **settings)


@pytest.mark.hole("Dense.__init__", kind="value")
def test_dense_holds_what_init_gives(lesson, rng):
    calls, array = [], rng.standard_normal((4, 3)).astype(np.float32)

    def init(shape, *, rng):
        calls.append((shape, rng))
        return array.copy()

    layer = build(lesson, 4, 3, init=init, rng=rng)
    assert calls, "the function `init` was not called: W must hold init((n_in, n_out), rng=rng)"
    assert len(calls) == 1, f"`init` was called {len(calls)} times, expected once, for W alone"
    shape, given = calls[0]
    assert tuple(shape) == (4, 3), f"init was given the shape {shape}, expected (n_in, n_out) = (4, 3)"
    assert given is rng, "init was given another generator: pass on the `rng` of the layer"
    W = getattr(layer, "W", None)
    assert W is not None, "the layer has no attribute `W`: self.W = Tensor(...)"
    assert isinstance(W, Tensor), (
        f"W is a {type(W).__name__}, expected a Tensor: wrap the array, Tensor(init(...), requires_grad=True), or no "
        "gradient is ever recorded for it"
    )
    agree(layer.W.numpy(), array, "W", {"it is transposed: (n_in, n_out)": array.T})


@pytest.mark.hole("Dense.__init__", kind="shape")
def test_dense_parameters(lesson, rng):
    layer = build(lesson, 4, 3, rng=rng)
    for name, shape in {"W": (4, 3), "b": (3,)}.items():
        p = getattr(layer, name, None)
        assert isinstance(p, Tensor), (
            f"{name} is a {type(p).__name__}, expected a Tensor: parameters are Tensors"
        )
        assert p.shape == shape, f"{name} has shape {p.shape}, expected {shape}"
        assert p.dtype == np.float32, f"{name} has dtype {p.dtype}, expected float32 (np.zeros makes float64)"
        assert p.requires_grad, f"{name} does not require gradients: it would never be trained"
    assert not layer.b.numpy().any(), "the bias does not start at zero"
    assert np.ptp(layer.W.numpy()) > 0, "all weights are equal: all units would learn the same for ever"
    found = [name for name, _ in layer.named_parameters()]
    assert sorted(found) == ["W", "b"], f"the layer's parameters are {found}, expected W and b alone"


@pytest.mark.hole("Dense.__init__", kind="invariant")
def test_dense_without_bias(lesson, rng):
    layer = build(lesson, 4, 3, bias=False, rng=rng)
    assert getattr(layer, "b", 0) is None, "with bias=False the attribute b must be None"
    assert len(layer.parameters()) == 1, "with bias=False the only parameter is W"


@pytest.mark.hole("Dense.__init__", kind="step")
def test_dense_draws_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    first, again = build(lesson, 5, 4, rng=one), build(lesson, 5, 4, rng=other)
    assert np.array_equal(first.W.numpy(), again.W.numpy()), "the same seed gave different weights: use `rng`"
    second = build(lesson, 5, 4, rng=one)
    assert not np.array_equal(first.W.numpy(), second.W.numpy()), (
        "two layers have the same weights: pass on the generator `rng` that is given, not a new one"
    )
    assert first.b is not second.b, "two layers share one bias: make a new Tensor for each layer"


@pytest.mark.hole("Dense.__init__", kind="gradient")
def test_dense_receives_gradients(lesson, rng):
    layer = build(lesson, 4, 3, rng=rng)
    layer(Tensor(rng.standard_normal((2, 4)).astype(np.float32))).sum().backward()
    for name in "Wb":
        assert getattr(layer, name).grad is not None, (
            f"no gradient arrives at {name}: it is no leaf of the graph"
        )


@pytest.mark.hole("Dense.__init__", kind="step")
def test_dense_init_in_the_engine(lesson, rng):
    check_plugged("minigen.nn:Dense.__init__", vars(lesson.Dense)["__init__"], rng)


# Dense.__call__


def dense(lesson, W, b):
    """A layer of the lesson with these parameters."""
    layer = lesson.Dense(*W.shape, bias=b is not None, rng=np.random.default_rng(0))
    layer.W, layer.b = W, b
    return layer


def apply(layer, x):
    n_in, n_out = layer.W.shape
    hint = "W is (n_in, n_out), so the product is x @ W, without a transpose; b may be None (`is None`)"
    with told(f"Dense({n_in}, {n_out}) on x of shape {x.shape}", hint):
        return layer(x)


@pytest.mark.hole("Dense.__call__", kind="value")
def test_dense_value(lesson, rng):
    for n, n_in, n_out in [(3, 3, 3), (2, 4, 3), (1, 2, 5), (5, 1, 1)]:
        x, W, b = (rng.standard_normal(shape) for shape in [(n, n_in), (n_in, n_out), n_out])
        got = apply(dense(lesson, leaf(W), leaf(b)), leaf(x))
        is_tensor(got, "the result of the layer")
        causes = {
            "the bias is missing": x @ W,
            "the bias is subtracted": x @ W - b,
            "the bias counts twice": x @ W + 2 * b,
            "it has gone through a ReLU: a dense layer is linear, the curve is a layer of its own": np.maximum(
                x @ W + b, 0
            ),
        }
        if n == n_in == n_out:
            causes["W is transposed (the shapes fit only because this W is square)"] = x @ W.T + b
            causes["the factors are the wrong way round: expected x @ W"] = W @ x + b
            causes["* multiplies entry by entry: the matrix product is @"] = x * W + b
            causes["b is added to the rows, one number for each example: it has one for each output"] = (
                x @ W + b[:, None]
            )
        agree(got.numpy(), x @ W + b, f"Dense({n_in}, {n_out}) of {n} examples", causes)
        agree(apply(dense(lesson, leaf(W), leaf(b)), x).numpy(), x @ W + b, "Dense of an array (no Tensor)")


@pytest.mark.hole("Dense.__call__", kind="value")
def test_dense_value_without_bias(lesson, rng):
    x, W = rng.standard_normal((2, 4)), rng.standard_normal((4, 3))
    agree(apply(dense(lesson, leaf(W), None), leaf(x)).numpy(), x @ W, "Dense(4, 3, bias=False)")


@pytest.mark.hole("Dense.__call__", kind="shape")
def test_dense_shapes(lesson, rng):
    W, b = (leaf(rng.standard_normal(shape).astype(np.float32)) for shape in [(4, 3), 3])
    for shape in [(2, 4), (1, 4), (5, 2, 4), (4,)]:
        x = leaf(rng.standard_normal(shape).astype(np.float32))
        y = apply(dense(lesson, W, b), x)
        is_tensor(y, f"Dense(4, 3) of x {shape}", np.float32)
        agree(y.numpy(), x.numpy() @ W.numpy() + b.numpy(), f"Dense(4, 3) of x {shape}", rtol=1e-5)


@pytest.mark.hole("Dense.__call__", kind="gradient")
def test_dense_gradient(lesson, rng):
    arrays = [rng.standard_normal(shape) for shape in [(3, 4), (4, 2), 2]]
    check_gradients(lambda x, W, b: dense(lesson, W, b)(x), arrays, ["x", "W", "b"], rng, "Dense")
    check_gradients(lambda x, W: dense(lesson, W, None)(x), arrays[:2], ["x", "W"], rng, "Dense without bias")


@pytest.mark.hole("Dense.__call__", kind="invariant")
def test_dense_uses_and_keeps_its_parameters(lesson, rng):
    x, W, b = (leaf(rng.standard_normal(shape)) for shape in [(2, 4), (4, 3), 3])
    before = [t.numpy() for t in (x, W, b)]
    layer = dense(lesson, W, b)
    for _ in range(2):
        agree(apply(layer, x).numpy(), before[0] @ before[1] + before[2], "a second use of the layer")
    for t, old, name in zip((x, layer.W, layer.b), before, ["x", "W", "b"], strict=True):
        assert np.array_equal(t.numpy(), old), f"using the layer changed {name}: compute new Tensors (no +=)"
    layer.W = leaf(2 * before[1])
    agree(apply(layer, x).numpy(), before[0] @ before[1] * 2 + before[2], "the layer with another W")


@pytest.mark.hole("Dense.__call__", kind="step")
def test_dense_in_the_engine(lesson, rng):
    check_plugged("minigen.nn:Dense.__call__", vars(lesson.Dense)["__call__"], rng)


# ReLU.__call__


def rectify(lesson, x):
    with told("ReLU", "write max(x, 0) elementwise: ops.maximum(x, 0.0), ops.where, or x * (x > 0)"):
        y = lesson.ReLU()(x)
    is_tensor(y, "the result of ReLU")
    return y


@pytest.mark.hole("ReLU.__call__", kind="value")
def test_relu_value(lesson, rng):
    for shape in [(3, 4), (7,), (), (2, 3, 4)]:
        x = np.asarray(rng.standard_normal(shape) + (0.5 if shape == () else 0))
        if x.size > 1:
            x.flat[0], x.flat[1], x.flat[2] = 0.0, -100.0, 100.0
        y, above = rectify(lesson, leaf(x)).numpy(), x > 0
        right_above = y.shape == x.shape and same(y[above], x[above])
        assert not (right_above and np.any(y[~above]) and not same(y, np.logaddexp(0, x))), (
            "negative numbers must become exactly 0: some do not"
        )
        wrong_side = (
            "it keeps the negative numbers and drops the positive ones: the sign is the wrong way round"
        )
        causes = {
            wrong_side: np.minimum(x, 0),
            "that is the mask x > 0: multiply it with x": above * 1.0,
            "the larger of x and 1, expected the larger of x and 0": np.maximum(x, 1),
            "that is a softplus, which is smooth: ReLU has a corner at 0": np.logaddexp(0, x),
        }
        agree(y, np.maximum(x, 0), f"ReLU (of each number x by itself, max(x, 0)) for shape {shape}", causes)


@pytest.mark.hole("ReLU.__call__", kind="invariant")
def test_relu_leaves_x_alone(lesson, rng):
    x = leaf(rng.standard_normal((5, 6)))
    before = x.numpy()
    y, z = rectify(lesson, x), rectify(lesson, x * -1.0)
    assert np.array_equal(x.numpy(), before), "ReLU changed x in place: backward and others still need it"
    agree(y.numpy() - z.numpy(), before, "relu(x) - relu(-x), which must be x")


@pytest.mark.hole("ReLU.__call__", kind="gradient")
def test_relu_gradient(lesson, rng):
    x = rng.uniform(0.1, 2, (4, 5)) * rng.choice([-1, 1], (4, 5))
    x[0, :2] = 1, -1
    check_gradients(lambda x: rectify(lesson, x), [x], ["x"], rng, "ReLU")
    zero = leaf(np.zeros(3))
    rectify(lesson, zero).backward(np.ones(3))
    at_zero = np.asarray(zero.grad)
    assert np.all((at_zero >= 0) & (at_zero <= 1)), (
        f"the gradient at x = 0 is {at_zero}, expected it in [0, 1]"
    )


@pytest.mark.hole("ReLU.__call__", kind="shape")
def test_relu_dtype(lesson, rng):
    x = leaf(rng.standard_normal((2, 3)).astype(np.float32))
    y = rectify(lesson, x)
    is_tensor(y, "ReLU of a float32 Tensor", np.float32)
    assert y.shape == x.shape, f"ReLU changed the shape from {x.shape} to {y.shape}: it is elementwise"


@pytest.mark.hole("ReLU.__call__", kind="step")
def test_relu_in_the_engine(lesson, rng):
    check_plugged("minigen.nn:ReLU.__call__", vars(lesson.ReLU)["__call__"], rng)


# cross_entropy


def log_softmax(l):
    top = l.max(axis=-1, keepdims=True)
    return l - top - np.log(np.exp(l - top).sum(axis=-1, keepdims=True))


def reference_entropy(logits, labels):
    logits = np.asarray(logits, float)
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def entropy(lesson, logits, labels):
    with (
        told(
            "cross_entropy",
            "sum over the classes of each row (axis=1), and pick one logit in each row: logits[np.arange(N), labels]",
        ),
        np.errstate(all="ignore"),
    ):
        loss = lesson.cross_entropy(logits, labels)
    is_tensor(loss, "the loss")
    assert loss.shape == (), (
        f"the loss has shape {loss.shape}, expected one number, shape (): average over the examples"
    )
    return loss


def entropy_causes(logits, labels):
    """What typical mistakes make of moderate logits."""
    n, k = logits.shape
    rows, log_p = np.arange(n), log_softmax(logits)
    p = np.exp(log_p)
    one_hot = np.eye(k)[labels]
    mean = -log_p[rows, labels].mean()
    largest, lse = logits.max(axis=1).mean(), (logits - log_p)[:, 0].mean()
    across = np.exp(logits) / np.exp(logits).sum(axis=0)
    top, label = logits.max(axis=1, keepdims=True), logits[rows, labels].mean()
    whole = np.log(np.exp(logits).sum())
    whole_topped = np.log(np.exp(logits - top).sum()) + top.mean()
    return {
        "softmax was applied twice: log_softmax of something that is a (log-)probability already": (
            -log_softmax(p)[rows, labels].mean()
        ),
        "the losses of the examples are summed: average them, or the step grows with the batch": mean * n,
        "it is averaged over the N x K entries: divide by the N examples only": mean / k,
        "the sign is wrong: the loss is minus the log-probability": -mean,
        "the softmax runs over the examples (axis 0) instead of the classes (axis 1)": (
            -np.log(across)[rows, labels].mean()
        ),
        "log(sum(exp(logits))) runs over the whole table: sum over the classes of each row, axis=1": whole
        - label,
        "log(sum(exp(logits))) runs over the whole table: sum over the classes of each row, axis=1 ": (
            whole_topped - label
        ),
        "the logarithm is missing: that is the probability": -p[rows, labels].mean(),
        "the logarithm is missing: that is the probability ": 1 - p[rows, labels].mean(),
        "it is in bits: nats need the natural logarithm": mean / np.log(2),
        "the normaliser log(sum(exp(logits))) is missing": -logits[rows, labels].mean(),
        "the label's logit is not subtracted: that is the mean of logsumexp alone": lse,
        "it is divided by N twice": mean / n,
        "the row's largest logit was subtracted before exp, but not added again after log": mean - largest,
        "the mean of all logits is subtracted, expected the label's logit of each row": lse - logits.mean(),
        "that is a squared error": ((logits - one_hot) ** 2).sum() / n,
        "every class counts, not the label's alone: logits[:, labels] pairs all examples with all labels": (
            -log_p[:, labels].mean()
        ),
        "the other classes got a term log(1 - p) each: that is binary cross-entropy": (
            -(one_hot * log_p + (1 - one_hot) * np.log1p(-p)).sum(axis=1).mean()
        ),
    }


@pytest.mark.hole("cross_entropy", kind="value")
def test_entropy_value(lesson, rng):
    for n, k in [(5, 4), (1, 3), (4, 4), (7, 2)]:
        logits, labels = 2 * rng.standard_normal((n, k)), rng.integers(0, k, n)
        for dtype in (np.int64, np.uint8):
            got = entropy(lesson, leaf(logits), labels.astype(dtype)).numpy()
            causes = entropy_causes(logits, labels) if n == 5 else {}
            agree(got, reference_entropy(logits, labels), f"the cross-entropy of {n} examples", causes)


@pytest.mark.hole("cross_entropy", kind="value")
def test_entropy_of_zero_logits(lesson, rng):
    for k in (10, 2, 3):
        got = entropy(lesson, leaf(np.zeros((6, k))), rng.integers(0, k, 6)).numpy()
        agree(
            got,
            np.log(k),
            f"the loss at zero logits, which must be ln {k} (all {k} classes equally probable)",
        )


@pytest.mark.hole("cross_entropy", kind="gradient")
def test_entropy_gradient(lesson, rng):
    logits, labels = rng.standard_normal((4, 3)), rng.integers(0, 3, 4)
    check_gradients(lambda l: entropy(lesson, l, labels), [logits], ["the logits"], rng, "cross_entropy")
    t = leaf(logits)
    entropy(lesson, t, labels).backward()
    want = (np.exp(log_softmax(logits)) - np.eye(3)[labels]) / 4
    agree(t.grad, want, "the gradient, which must be (softmax - one-hot) / N")


@pytest.mark.hole("cross_entropy", kind="invariant")
def test_entropy_of_large_logits(lesson):
    rows = np.array([[1000.0, 0, -1000], [1000, 0, -1000], [-1000, -1000, -1001], [0, 1000, 999]])
    labels = np.array([0, 2, 2, 1])
    one_hot = np.eye(3)[labels]
    hint = "subtract each row's largest logit before exp, and take no log of a probability that may be 0"
    for dtype in (np.float64, np.float32):
        logits = leaf(rows.astype(dtype))
        loss = entropy(lesson, logits, labels)
        want = reference_entropy(rows, labels)
        assert np.isfinite(loss.item()), (
            f"the loss is {loss.item()} for logits of +-1000, expected {want:.2f}: {hint}"
        )
        agree(loss.numpy(), want, f"the loss for logits of +-1000 ({hint})", rtol=1e-5)
        with np.errstate(all="ignore"):
            loss.backward()
        g = np.asarray(logits.grad)
        assert np.isfinite(g).all(), f"the gradient holds NaN or infinity for logits of +-1000: {hint}"
        agree(g, (np.exp(log_softmax(rows)) - one_hot) / 4, "the gradient for logits of +-1000", rtol=1e-4)


@pytest.mark.hole("cross_entropy", kind="shape")
def test_entropy_dtype(lesson, rng):
    logits, labels = (
        leaf(rng.standard_normal((4, 3)).astype(np.float32)),
        rng.integers(0, 3, 4).astype(np.uint8),
    )
    before = logits.numpy(), labels.copy()
    loss = entropy(lesson, logits, labels)
    is_tensor(loss, "the loss of float32 logits", np.float32)
    loss.backward()
    assert logits.grad.dtype == np.float32, f"the gradient has dtype {logits.grad.dtype}, expected float32"
    assert np.array_equal(logits.numpy(), before[0]), "cross_entropy changed the logits in place"
    assert np.array_equal(labels, before[1]), "cross_entropy changed the labels in place"


@pytest.mark.hole("cross_entropy", kind="invariant")
def test_entropy_of_shifted_logits(lesson, rng):
    logits, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    shift = 400 * rng.choice([-1, 1], (5, 1))
    one, other = (entropy(lesson, leaf(l), labels).numpy() for l in (logits, logits + shift))
    agree(other, one, "the loss after adding a number to each row (softmax does not see it)", rtol=1e-8)


@pytest.mark.hole("cross_entropy", kind="step")
def test_entropy_in_the_engine(lesson, rng):
    check_plugged("minigen.nn.losses:cross_entropy", lesson.cross_entropy, rng)


# bce_with_logits


def reference_bce(l, t):
    return (np.logaddexp(0, l) - t * l).sum() / len(l)


def bce(lesson, logits, targets):
    with (
        told("bce_with_logits", "logits are a Tensor and targets an array of the same shape"),
        np.errstate(all="ignore"),
    ):
        loss = lesson.bce_with_logits(logits, targets)
    is_tensor(loss, "the loss")
    assert loss.shape == (), (
        f"the loss has shape {loss.shape}, expected one number, shape (): sum, then divide by N"
    )
    return loss


def bce_causes(l, t):
    """What typical mistakes make of moderate logits."""
    want, s, n = reference_bce(l, t), 1 / (1 + np.exp(-l)), len(l)
    twice = 1 / (1 + np.exp(-s))
    return {
        "it is averaged over the features too: sum over features, average over the N examples only": want
        * n
        / l.size,
        "it is summed over the examples too: divide by N": want * n,
        "the sign is wrong: the loss is minus the log-probability": -want,
        "the targets are the wrong way round: t belongs to log(s), 1 - t to log(1 - s)": reference_bce(
            l, 1 - t
        ),
        "the term of the zeros, -(1 - t) log(1 - s), is missing": -(t * np.log(s)).sum() / n,
        "the term of the ones, -t log(s), is missing": -((1 - t) * np.log(1 - s)).sum() / n,
        "the sigmoid was applied twice": -(t * np.log(twice) + (1 - t) * np.log(1 - twice)).sum() / n,
        "the targets were rounded to 0 or 1: anything between is a target too": reference_bce(l, np.round(t)),
        "it is divided by N twice": want / n,
        "the target's term has the wrong sign: it is log(1 + exp(l)) - t l, not + t l": (
            (np.logaddexp(0, l) + t * l).sum() / n
        ),
        "the target's term has the wrong sign: it is log(1 + exp(-l)) + (1 - t) l, not - (1 - t) l": (
            (np.logaddexp(0, -l) - (1 - t) * l).sum() / n
        ),
        "log(1 + exp(l)) without - l t: the target plays no role": np.logaddexp(0, l).sum() / n,
        "log(1 + exp(-l)) goes with + (1 - t) l, and log(1 + exp(l)) with - t l: you mixed the two": (
            (np.logaddexp(0, -l) - l * t).sum() / n
        ),
        "it is divided by the number of features, expected by the number of examples": want
        * n
        / (l.size / n),
        "that is a squared error": ((s - t) ** 2).sum() / n,
        "log(1 + exp(|l|)) in place of log(1 + exp(-|l|))": (
            (np.maximum(l, 0) - l * t + np.log1p(np.exp(np.abs(l)))).sum() / n
        ),
    }


@pytest.mark.hole("bce_with_logits", kind="value")
def test_bce_value(lesson, rng):
    for shape in [(5, 3), (4, 2, 3), (6,), (1, 4)]:
        logits, targets = 2 * rng.standard_normal(shape), rng.random(shape)
        causes = bce_causes(logits, targets) if shape == (5, 3) else {}
        for given in (targets, Tensor(targets)):
            got = bce(lesson, leaf(logits), given).numpy()
            agree(
                got,
                reference_bce(logits, targets),
                f"the binary cross-entropy (summed over all features) of shape {shape}",
                causes,
            )
        ones = np.round(targets)
        got = bce(lesson, leaf(logits), ones).numpy()
        agree(got, reference_bce(logits, ones), f"the binary cross-entropy of targets 0 and 1, shape {shape}")


@pytest.mark.hole("bce_with_logits", kind="value")
def test_bce_of_zero_logits(lesson, rng):
    for n, d in [(6, 1), (3, 5)]:
        got = bce(lesson, leaf(np.zeros((n, d))), rng.random((n, d))).numpy()
        agree(got, d * np.log(2), f"the loss of {d} features at zero logits, which must be {d} ln 2")


@pytest.mark.hole("bce_with_logits", kind="gradient")
def test_bce_gradient(lesson, rng):
    logits, targets = rng.standard_normal((4, 3)), rng.random((4, 3))
    check_gradients(lambda l: bce(lesson, l, targets), [logits], ["the logits"], rng, "bce_with_logits")


@pytest.mark.hole("bce_with_logits", kind="invariant")
def test_bce_of_large_logits(lesson):
    l = np.array([[1000.0, 1000], [-1000, -1000], [1000, -1000], [90, -90], [30, -30]])
    t = np.array([[1.0, 0], [0, 1], [0.5, 0.25], [0, 1], [1, 0]])
    hint = "log(sigmoid(l)) and exp(l) fail there; use max(l, 0) - l t + log(1 + exp(-|l|))"
    for dtype in (np.float64, np.float32):
        logits = leaf(l.astype(dtype))
        loss = bce(lesson, logits, t.astype(dtype))
        want = reference_bce(l, t)
        assert np.isfinite(loss.item()), (
            f"the loss is {loss.item()} for logits of +-1000, expected {want:.2f}: {hint}"
        )
        agree(loss.numpy(), want, f"the loss for logits of +-1000 ({hint})", rtol=1e-5)
        with np.errstate(all="ignore"):
            loss.backward()
        g = np.asarray(logits.grad)
        assert np.isfinite(g).all(), f"the gradient holds NaN or infinity for logits of +-1000: {hint}"
        agree(g, (np.exp(-np.logaddexp(0, -l)) - t) / len(l), "the gradient for logits of +-1000", rtol=1e-5)


@pytest.mark.hole("bce_with_logits", kind="shape")
def test_bce_dtype(lesson, rng):
    logits, targets = (rng.random((4, 3)).astype(np.float32) for _ in range(2))
    t, before = leaf(logits), targets.copy()
    loss = bce(lesson, t, targets)
    is_tensor(loss, "the loss of float32 logits", np.float32)
    loss.backward()
    assert t.grad.dtype == np.float32, f"the gradient has dtype {t.grad.dtype}, expected float32"
    assert np.array_equal(t.numpy(), logits), "bce_with_logits changed the logits in place"
    assert np.array_equal(targets, before), "bce_with_logits changed the targets in place"


@pytest.mark.hole("bce_with_logits", kind="step")
def test_bce_in_the_engine(lesson, rng):
    check_plugged(
        "minigen.nn.losses:bce_with_logits",
        lesson.bce_with_logits,
        rng,
        loss=lambda logits, labels: nn.bce_with_logits(logits, np.eye(3, dtype=np.float32)[labels]),
    )


# The update rules, as text: a mistake is the text with a piece replaced.

SGD = """
v = momentum * v + g
step = g + momentum * v if nesterov else v
w = w - lr * step
"""
SGD_MISTAKES = {
    "it goes uphill: the step is against the gradient, w - lr v": ("w - lr", "w + lr"),
    "the momentum is missing: the step is lr g alone": ("lr * step", "lr * g"),
    "the momentum is missing: the step is lr g alone ": ("momentum * v + g\n", "g\n"),
    "the new gradient is weighed with 1 - momentum: here v <- momentum v + g": (
        "v + g\n",
        "v + (1 - momentum) * g\n",
    ),
    "the old velocity is weighed with 1 - momentum: here v <- momentum v + g": (
        "v = momentum * v",
        "v = (1 - momentum) * v",
    ),
    "`v += momentum * v + g` keeps the old v whole and adds to it: v *= momentum first, then v += g": (
        "v = momentum * v",
        "v = v + momentum * v",
    ),
    "the step uses the velocity from before this gradient: update v first": (
        "v = momentum * v + g\nstep",
        "before, v = v, momentum * v + g\nstep = before\nother",
    ),
    "the momentum has the wrong sign: old steps are taken back": (
        "v = momentum * v + g",
        "v = g - momentum * v",
    ),
    "v piles up without being multiplied by momentum": ("v = momentum * v", "v = v"),
    "momentum multiplies the new gradient: v <- momentum v + g": ("momentum * v + g\n", "v + momentum * g\n"),
    "momentum multiplies the sum: v <- momentum v + g": ("momentum * v + g\n", "momentum * (v + g)\n"),
    "momentum is a setting: use self.momentum, not a number": ("\nv = ", "\nmomentum = 0.9\nv = "),
    "the learning rate is missing": ("lr * step", "step"),
    "the learning rate is a setting that schedules change: use self.lr": ("\nw = ", "\nlr = 0.1\nw = "),
    "the learning rate is inside v: after a change of it, old gradients keep the old rate": (
        "v + g\nstep = g + momentum * v if nesterov else v\nw = w - lr * step",
        "v + lr * g\nw = w - (lr * g + momentum * v if nesterov else v)",
    ),
    "self.nesterov was not looked at: without it the step is lr v, with it lr (g + momentum v)": (
        "nesterov else v",
        "not nesterov else v",
    ),
    "with self.nesterov the step is lr (g + momentum v), with g, not v": ("= g + momentum", "= v + momentum"),
    "with self.nesterov the step is lr (g + momentum v): v comes in times momentum": (
        "momentum * v if",
        "v if",
    ),
    "with self.nesterov the step is lr (g + momentum v), v being the new velocity": (
        "v = momentum * v + g\nstep = g + momentum * v",
        "before, v = v, momentum * v + g\nstep = g + momentum * before",
    ),
}

RMSPROP = """
s = alpha * s + (1 - alpha) * g**2
w = w - lr * g / (sqrt(s) + eps)
"""
RMSPROP_MISTAKES = {
    "it goes uphill: w minus the step": ("w - lr", "w + lr"),
    "alpha and 1 - alpha are swapped": ("s = alpha * s + (1 - alpha)", "s = (1 - alpha) * s + alpha"),
    "g is not squared in s: s averages g^2": ("g**2", "abs(g)"),
    "g is not squared in s: s averages g^2 ": (
        "g**2\nw = w - lr * g / (sqrt(s)",
        "g\nw = w - lr * g / (sqrt(abs(s))",
    ),
    "g is not squared in s: s averages g^2  ": ("g**2", "g"),
    "`s += alpha * s + ...` keeps the old s whole and adds to it: s *= alpha first, then s += ...": (
        "s = alpha * s",
        "s = s + alpha * s",
    ),
    "the square root is missing": ("sqrt(s)", "s"),
    "eps is inside the square root: expected sqrt(s) + eps": ("sqrt(s) + eps", "sqrt(s + eps)"),
    "eps is inside the square root: expected sqrt(s) + eps ": ("sqrt(s) + eps", "sqrt(s + eps**2)"),
    "eps is missing: 0 / 0 where no gradient has come yet": ("sqrt(s) + eps", "sqrt(s)"),
    "the step uses s from before this gradient: update s first": (
        "s = alpha * s + (1 - alpha) * g**2\nw = w - lr * g / (sqrt(s)",
        "before, s = s, alpha * s + (1 - alpha) * g**2\nw = w - lr * g / (sqrt(before)",
    ),
    "the new g^2 is added in full: weigh it with 1 - alpha": ("(1 - alpha) * ", ""),
    "s adds up all g^2 (that is AdaGrad): multiply the old s by alpha": ("alpha * s + (1 - alpha) *", "s +"),
    "s forgets nothing: multiply the old s by alpha": ("alpha * s +", "s +"),
    "the step lacks g: it is lr g / (sqrt(s) + eps)": ("lr * g", "lr"),
    "the learning rate is missing": ("lr * g", "g"),
    "the learning rate is a setting that schedules change: use self.lr": ("\nw = ", "\nlr = 0.1\nw = "),
    "eps is a setting: use self.eps, not a number": ("\nw = ", "\neps = 1e-8\nw = "),
    "alpha is a setting: use self.alpha, not a number": ("\ns = ", "\nalpha = 0.99\ns = "),
    "alpha is a setting: use self.alpha, not a number ": ("\ns = ", "\nalpha = 0.9\ns = "),
    "s averages over the weights too: every weight has a mean square of its own": ("g**2", "(g**2).mean()"),
    "the start of s is corrected: that is Adam's, RMSProp has no such correction": (
        "sqrt(s)",
        "sqrt(s / (1 - alpha**t))",
    ),
}

ADAM = """
m = beta1 * m + (1 - beta1) * g
v = beta2 * v + (1 - beta2) * g**2
mh, vh = m / (1 - beta1**t), v / (1 - beta2**t)
w = w - lr * mh / (sqrt(vh) + eps)
"""
ADAM_MISTAKES = {
    "it goes uphill: w minus the step": ("w - lr", "w + lr"),
    "the bias correction is missing: divide m by 1 - beta1^t and v by 1 - beta2^t": (
        "m / (1 - beta1**t), v / (1 - beta2**t)",
        "m, v",
    ),
    "the bias of v is not corrected": ("v / (1 - beta2**t)", "v"),
    "the bias of m is not corrected": ("m / (1 - beta1**t)", "m"),
    "v is corrected with beta1, expected v / (1 - beta2^t)": ("v / (1 - beta2**t)", "v / (1 - beta1**t)"),
    "m is corrected with beta2, expected m / (1 - beta1^t)": ("m / (1 - beta1**t)", "m / (1 - beta2**t)"),
    "beta1 and beta2 are swapped": ("\nm = ", "\nbeta1, beta2 = beta2, beta1\nm = "),
    "beta1 and beta2 are swapped in the bias correction": ("\nmh", "\nbeta1, beta2 = beta2, beta1\nmh"),
    "beta and 1 - beta are swapped in both averages": (
        "beta1 * m + (1 - beta1) * g\nv = beta2 * v + (1 - beta2)",
        "(1 - beta1) * m + beta1 * g\nv = (1 - beta2) * v + beta2",
    ),
    "the new gradients are added in full: weigh them with 1 - beta1 and 1 - beta2": (
        "(1 - beta1) * g\nv = beta2 * v + (1 - beta2) * ",
        "g\nv = beta2 * v + ",
    ),
    "the new gradient is added in full to m: weigh it with 1 - beta1": ("(1 - beta1) * g", "g"),
    "the new g^2 is added in full to v: weigh it with 1 - beta2": ("(1 - beta2) * g**2", "g**2"),
    "g is not squared in v: v averages g^2": ("g**2", "abs(g)"),
    "g is not squared in v: v averages g^2 ": ("g**2", "g"),
    "`m += beta1 * m + ...` keeps the old m whole and adds to it (v too): m *= beta1 first, then m += ...": (
        "m = beta1 * m + (1 - beta1) * g\nv = ",
        "m = m + beta1 * m + (1 - beta1) * g\nv = v + ",
    ),
    "`m += beta1 * m + ...` keeps the old m whole and adds to it: m *= beta1 first, then m += ...": (
        "m = beta1 * m",
        "m = m + beta1 * m",
    ),
    "`v += beta2 * v + ...` keeps the old v whole and adds to it: v *= beta2 first, then v += ...": (
        "v = beta2 * v",
        "v = v + beta2 * v",
    ),
    "1 - beta2 is squared too: v averages g^2, so only g is squared": (
        "(1 - beta2) * g**2",
        "((1 - beta2) * g) ** 2",
    ),
    "v averages m^2, expected g^2": ("g**2", "m**2"),
    "v averages (g - m)^2, the variance; Adam's is the mean square, g^2": ("g**2", "(g - m) ** 2"),
    "v averages over the weights too: every weight has a second moment of its own": ("g**2", "(g**2).mean()"),
    "eps is inside the square root: expected sqrt(v') + eps": ("sqrt(vh) + eps", "sqrt(vh + eps)"),
    "eps is inside the square root: expected sqrt(v') + eps ": ("sqrt(vh) + eps", "sqrt(vh + eps**2)"),
    "eps is missing: 0 / 0 where no gradient has come yet": ("sqrt(vh) + eps", "sqrt(vh)"),
    "the averages are multiplied by 1 - beta^t, which makes them smaller still: divide": (
        "m / (1 - beta1**t), v / (1 - beta2**t)",
        "m * (1 - beta1**t), v * (1 - beta2**t)",
    ),
    "eps stands beside the uncorrected sqrt(v): expected sqrt(v') + eps": (
        "mh / (sqrt(vh) + eps)",
        "mh * sqrt(1 - beta2**t) / (sqrt(v) + eps)",
    ),
    "the square root is missing": ("sqrt(vh)", "vh"),
    "the step counter is one too high: t is 1 at the first step already": ("\nmh", "\nt = t + 1\nmh"),
    "the step counter is one too low: t is 1 at the first step already": ("\nmh", "\nt = max(t - 1, 1)\nmh"),
    "the powers are missing: 1 - beta ** t": ("beta1**t), v / (1 - beta2**t)", "beta1), v / (1 - beta2)"),
    "the power is a product: 1 - beta ** t, not 1 - beta * t": (
        "beta1**t), v / (1 - beta2**t)",
        "beta1 * t), abs(v / (1 - beta2 * t))",
    ),
    "the power is a product: 1 - beta ** t, not 1 - beta * t ": (
        "beta1**t), v / (1 - beta2**t)",
        "beta1 * t), v / (1 - beta2 * t)",
    ),
    "the power is a product: 1 - beta1 ** t, not 1 - beta1 * t": ("beta1**t", "beta1 * t"),
    "the power is a product: 1 - beta2 ** t, not 1 - beta2 * t": ("beta2**t", "beta2 * t"),
    "the moments are corrected in place, so the next step corrects them again: m' and v' are new arrays": (
        "mh, vh = m",
        "m, v = mh, vh = m",
    ),
    "the step uses the moments from before this gradient: update m and v first": (
        "\nm = beta1 * m + (1 - beta1) * g\nv = beta2 * v + (1 - beta2) * g**2\n"
        "mh, vh = m / (1 - beta1**t), v / (1 - beta2**t)",
        "\nmh, vh = m / (1 - beta1**t), v / (1 - beta2**t)\n"
        "m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2",
    ),
    "the step has g in the place of m': that is RMSProp": ("lr * mh", "lr * g"),
    "the learning rate is missing": ("lr * mh", "mh"),
    "the learning rate is a setting that schedules change: use self.lr": ("\nw = ", "\nlr = 0.1\nw = "),
    "eps is a setting: use self.eps, not a number": ("\nw = ", "\neps = 1e-8\nw = "),
    "the betas are settings: use self.beta1 and self.beta2, not numbers": (
        "\nm = ",
        "\nbeta1, beta2 = 0.9, 0.999\nm = ",
    ),
}
RULES = {"SGD": (SGD, "v"), "RMSProp": (RMSPROP, "s"), "Adam": (ADAM, "mv")}


def optimizer(lesson, name, **settings):
    """An optimiser of the lesson, for a parameter that plays no role: `update` is called by hand."""
    return getattr(lesson, name)([leaf(np.zeros(1))], **{"lr": 0.1, **settings})


def update(opt, t, w, g, *state):
    name = f"{type(opt).__name__}.update"
    says = "the arrays are 1-D and all of one size; the settings (lr, ...) are attributes of self"
    with told(name, says), np.errstate(all="ignore"):
        opt.update(w, g, *state, *([t] if name.startswith("Adam") else []))


def trajectory(rule, settings, gradients, lrs, start):
    """[{name: array}, ...] after each step of a rule given as text, from `start`; settings are names in the text."""
    steps = []
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), 1):
        names = {**settings, "lr": lr, "t": t, "g": g, "sqrt": np.sqrt, **(steps[-1] if steps else start)}
        exec(rule, names)
        steps.append({name: names[name] for name in start})
    return steps


def check_rule(lesson, rng, name, mistakes, **settings):
    """Five steps, with other gradients and another learning rate in each, from fresh state and from older state."""
    rule, states = RULES[name]
    gradients, lrs = rng.standard_normal((5, 6)), 0.1 * rng.uniform(0.5, 2, 5)
    gradients[:, 0] *= 1e-3
    for age in (0, 1):
        start = {"w": rng.standard_normal(6), **{s: age * rng.uniform(0.5, 1, 6) for s in states}}
        opt, mine, found = optimizer(lesson, name, **settings), {k: a.copy() for k, a in start.items()}, []
        values = {key: getattr(opt, key) for key in opt.settings}
        for t, g in enumerate(gradients, 1):
            opt.lr = float(lrs[t - 1])
            update(opt, t, mine["w"], g.copy(), *(mine[s] for s in states))
            found.append({k: a.copy() for k, a in mine.items()})
        weights = np.array([step["w"] for step in found])
        with np.errstate(all="ignore"):
            wanted = trajectory(rule, values, gradients, lrs, start)
            right = np.array([step["w"] for step in wanted])
            for cause, (old, new) in mistakes.items():
                steps = trajectory(rule.replace(old, new), values, gradients, lrs, start)
                wrong = np.array([step["w"] for step in steps])
                assert not same(weights, wrong, 1e-7) or same(right, wrong, 1e-6), (
                    f"the weights after {name}.update are wrong: {cause}"
                )
        for t, (mine_now, true) in enumerate(zip(found, wanted, strict=True), 1):
            for key in start:
                what = "the array w" if key == "w" else f"the state {key}"
                agree(mine_now[key], true[key], f"{what} after step {t} of {name}.update", rtol=1e-7)


def check_in_place(lesson, rng, name, **settings):
    """w and the states change in their own arrays, g does not."""
    opt, states = optimizer(lesson, name, **settings), RULES[name][1]
    for dtype in (np.float64, np.float32):
        w, g = (rng.standard_normal(5).astype(dtype) for _ in range(2))
        state = [np.full(5, 0.5, dtype) for _ in states]
        before = w.copy(), g.copy()
        update(opt, 1, w, g, *state)
        assert not np.array_equal(w, before[0]), (
            f"{name}.update left w as it was: `w = w - ...` only makes a new array; write into the one that is given "
            "(w -= ..., or w[...] = ...)"
        )
        assert np.array_equal(g, before[1]), (
            f"{name}.update changed g: compute what you need of it in new arrays"
        )
        for array, label in zip(state, states, strict=True):
            assert np.any(array != 0.5), (
                f"{name}.update left {label} as it was: `{label} = ...` only makes a new array, and the next step "
                f"starts from the old one; write into the array that is given ({label} *= ..., {label} += ...)"
            )


def check_stretches(lesson, rng, name, **settings):
    """Two stretches of parameters, stepped alternately by one optimiser, as if each were alone."""
    start, gradients, results = rng.standard_normal(6), rng.standard_normal((3, 6)), []
    for parts in ([slice(0, 6)], [slice(0, 2), slice(2, 6)]):
        opt, w, state = (
            optimizer(lesson, name, **settings),
            start.copy(),
            [np.zeros(6) for _ in RULES[name][1]],
        )
        for t, g in enumerate(gradients, 1):
            for part in parts:
                update(opt, t, w[part], g[part].copy(), *(array[part] for array in state))
        results.append(w)
    what = f"{name} on two stretches of parameters (update is called for each in every step: keep nothing on self)"
    agree(results[1], results[0], what)


@pytest.mark.hole("SGD.update", kind="step")
def test_sgd_in_place(lesson, rng):
    check_in_place(lesson, rng, "SGD", momentum=0.9)


@pytest.mark.hole("SGD.update", kind="value")
def test_sgd_value(lesson, rng):
    check_rule(lesson, rng, "SGD", SGD_MISTAKES, momentum=0.7)
    check_rule(lesson, rng, "SGD", SGD_MISTAKES, momentum=0.7, nesterov=True)
    w, g = rng.standard_normal((2, 4))
    got = w.copy()
    update(optimizer(lesson, "SGD", lr=0.5), 1, got, g.copy(), np.zeros(4))
    agree(got, w - 0.5 * g, "one step of SGD without momentum, w - lr g")


@pytest.mark.hole("SGD.update", kind="invariant")
def test_sgd_momentum_accumulates(lesson, rng):
    check_stretches(lesson, rng, "SGD", momentum=0.9)
    opt, g = optimizer(lesson, "SGD", lr=1.0, momentum=0.5), rng.standard_normal(3)
    w, v, seen = np.zeros(3), np.zeros(3), []
    for t in range(1, 31):
        before = w.copy()
        update(opt, t, w, g.copy(), v)
        seen.append(before - w)
    agree(seen[1], 1.5 * g, "the second step along the same gradient g, which must be (1 + momentum) lr g")
    agree(
        seen[-1],
        2 * g,
        "the step after many equal gradients g, which must be lr g / (1 - momentum)",
        rtol=1e-6,
    )


@pytest.mark.hole("SGD.update", kind="step")
def test_sgd_in_the_engine(lesson, rng):
    for settings in ({"momentum": 0.9}, {}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}):
        rule = vars(lesson.SGD)["update"]
        check_plugged(
            "minigen.optim:SGD.update", rule, rng, optimizer=lambda p, s=settings: optim.SGD(p, 0.1, **s)
        )


@pytest.mark.hole("RMSProp.update", kind="step")
def test_rmsprop_in_place(lesson, rng):
    check_in_place(lesson, rng, "RMSProp")


@pytest.mark.hole("RMSProp.update", kind="value")
def test_rmsprop_value(lesson, rng):
    check_rule(lesson, rng, "RMSProp", RMSPROP_MISTAKES, alpha=0.8, eps=0.03)
    check_rule(lesson, rng, "RMSProp", RMSPROP_MISTAKES)


@pytest.mark.hole("RMSProp.update", kind="invariant")
def test_rmsprop_first_step(lesson, rng):
    check_stretches(lesson, rng, "RMSProp")
    opt, g = optimizer(lesson, "RMSProp", alpha=0.75, eps=1e-12), np.array([1e-3, -1.0, 50.0])
    w, s = np.zeros((2, 3))
    update(opt, 1, w, g.copy(), s)
    agree(
        w, -0.2 * np.sign(g), "the first step, lr sign(g) / sqrt(1 - alpha) whatever the size of g", rtol=1e-6
    )
    w, s = np.zeros((2, 3))
    update(opt, 1, w, np.zeros(3), s)
    assert np.isfinite(w).all(), "a zero gradient gives NaN: eps belongs in the denominator"


@pytest.mark.hole("RMSProp.update", kind="step")
def test_rmsprop_in_the_engine(lesson, rng):
    rule = vars(lesson.RMSProp)["update"]
    for settings in ({}, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}):
        make = functools.partial(optim.RMSProp, lr=0.01, **settings)
        check_plugged("minigen.optim:RMSProp.update", rule, rng, optimizer=make)


@pytest.mark.hole("Adam.update", kind="step")
def test_adam_in_place(lesson, rng):
    check_in_place(lesson, rng, "Adam")


@pytest.mark.hole("Adam.update", kind="value")
def test_adam_value(lesson, rng):
    check_rule(lesson, rng, "Adam", ADAM_MISTAKES, beta1=0.7, beta2=0.9, eps=0.03)
    check_rule(lesson, rng, "Adam", ADAM_MISTAKES)


@pytest.mark.hole("Adam.update", kind="invariant")
def test_adam_first_step(lesson, rng):
    opt, g = optimizer(lesson, "Adam", eps=1e-12), np.array([1e-3, -1e-3, 1.0, -50.0])
    w, m, v = np.zeros((3, 4))
    update(opt, 1, w, g.copy(), m, v)
    agree(w, -0.1 * np.sign(g), "the first step, which must be lr sign(g) whatever the size of g", rtol=1e-6)
    w, m, v = np.zeros((3, 4))
    update(opt, 1, w, np.zeros(4), m, v)
    assert np.isfinite(w).all(), "a zero gradient gives NaN: eps belongs in the denominator"


@pytest.mark.hole("Adam.update", kind="invariant")
def test_adam_does_not_see_the_scale(lesson, rng):
    gradients, results = rng.standard_normal((4, 5)), []
    for factor in (1.0, 1000.0):
        opt, (w, m, v) = optimizer(lesson, "Adam", eps=1e-12), np.zeros((3, 5))
        for t, g in enumerate(gradients, 1):
            update(opt, t, w, factor * g, m, v)
        results.append(w)
    agree(
        results[1],
        results[0],
        "the path with all gradients times 1000 (Adam divides by their size)",
        rtol=1e-6,
    )


@pytest.mark.hole("Adam.update", kind="step")
def test_adam_uses_t(lesson, rng):
    opt, (w, m, v), g = optimizer(lesson, "Adam", eps=1e-12), np.zeros((3, 4)), rng.standard_normal(4)
    update(opt, 1000, w, g.copy(), m, v)
    want = -0.1 * (0.1 * g / (1 - 0.9**1000)) / np.sqrt(0.001 * g**2 / (1 - 0.999**1000))
    what = "a step with t = 1000 of a new optimiser (t is given: keep no counter of your own)"
    agree(w, want, what, rtol=1e-6)
    check_stretches(lesson, rng, "Adam")


@pytest.mark.hole("Adam.update", kind="step")
def test_adam_in_the_engine(lesson, rng):
    for make in (optim.Adam, optim.AdamW):
        rule, decaying = vars(lesson.Adam)["update"], functools.partial(make, lr=0.05, weight_decay=0.1)
        check_plugged("minigen.optim:Adam.update", rule, rng, optimizer=decaying)


# error_rate


def error_of(lesson, logits, labels):
    names = ", ".join(inspect.signature(lesson.error_rate).parameters)
    assert names != "labels, logits", f"your signature is error_rate({names}), the stub's is (logits, labels)"
    hint = "a Tensor has the method argmax(axis=...), which gives a plain array"
    with told("error_rate", hint, about="argmax"):
        found = lesson.error_rate(Tensor(np.asarray(logits, np.float32)), labels)
    assert found is not None, "error_rate returned None: is a `return` missing?"
    assert isinstance(found, float | np.floating), (
        f"error_rate returned a {type(found).__name__} {found!r}, expected a float: the mean over the examples"
    )
    return float(found)


@pytest.mark.hole("error_rate", kind="value")
def test_error_rate_value(lesson, rng):
    for n, k in [(40, 40), (200, 5), (3, 10), (1, 3)]:
        logits = rng.standard_normal((n, k)) - 5
        labels = np.where(rng.random(n) < 0.6, logits.argmax(1), rng.integers(0, k, n)).astype(np.uint8)
        right = [0.0] * 2
        while n == k and len({0, *right}) < 3:  # the wrong axis is right sometimes too, but not as often
            labels = np.where(rng.random(n) < 0.3, logits.argmax(0), labels)
            labels[:3] = logits[:3].argmin(1)
            right = [float(np.mean(logits.argmax(axis) == labels)) for axis in (0, 1)]
        want = float(np.mean(logits.argmax(1) != labels))
        causes = {}
        if n == k:
            says = "argmax runs over the examples (axis 0), expected over the classes (axis 1)"
            causes[says] = float(np.mean(logits.argmax(0) != labels))
        causes |= {
            "that is the accuracy: count where the prediction differs from the label": 1 - want,
            "it is in percent: expected a fraction between 0 and 1": 100 * want,
            "it is a count: divide by the number of examples": n * want,
            "no example at all counts as right: argmax without axis=1 gives one place in the whole table, max "
            "gives the logit and not its place": 1.0,
            "it takes the smallest logit, expected the largest": float(np.mean(logits.argmin(1) != labels)),
            "the distance between class numbers means nothing: count where they differ": float(
                np.mean(np.abs(logits.argmax(1) - labels.astype(int)))
            ),
            "it divides by the number of classes, not of examples": n * want / k,
        }
        agree(error_of(lesson, logits, labels), want, f"the error rate of {n} examples", causes)


@pytest.mark.hole("error_rate", kind="invariant")
def test_error_rate_extremes(lesson, rng):
    for labels in (rng.integers(0, 4, 6), np.array([3, 2, 1, 0, 0, 0], np.uint8)):
        right = np.full((6, 4), -3.0)
        right[np.arange(6), labels] = -1
        agree(error_of(lesson, right, labels), 0.0, "the error rate when every largest logit is the label's")
        agree(
            error_of(lesson, -right, labels), 1.0, "the error rate when every smallest logit is the label's"
        )


# batches


def batch_sizes(n, size):
    return [size] * (n // size) + [n % size] * (n % size > 0)


def epoch(lesson, n, size, rng):
    with told("batches", "it takes two numbers and a generator, and returns or yields index arrays"):
        found = lesson.batches(n, size, rng)
        assert found is not None, "batches returned None: is a `return` missing?"
        found = list(found)
    sizes, pieces = [np.size(b) for b in found], [len(piece) for piece in np.array_split(range(n), size)]
    assert sizes != pieces or sizes == batch_sizes(n, size), (
        f"batches({n}, {size}) gave {size} pieces, expected pieces of {size} indices (array_split counts the pieces)"
    )
    assert not any(np.ndim(b) == 0 for b in found), (
        "batches gave one row of numbers, expected several arrays of indices: does it return inside the loop?"
    )
    assert all(np.size(b) for b in found), "there is an empty batch: its loss would be 0 / 0"
    for b in found:
        assert isinstance(b, np.ndarray), f"a batch is a {type(b).__name__}, expected a 1-D array of indices"
        assert b.ndim == 1, f"a batch of indices has shape {b.shape}, expected one axis"
        assert b.dtype.kind in "iu", f"a batch has dtype {b.dtype}, expected integers: they are indices"
    return found


@pytest.mark.hole("batches", kind="invariant")
def test_batches_visit_everyone_once(lesson, rng):
    for n, size in [(10, 5), (11, 4), (3, 8), (5, 1), (1, 1), (7, 7), (9, 8)]:
        found = epoch(lesson, n, size, rng)
        indices = np.concatenate([np.empty(0, int), *found])
        times = collections.Counter(indices.tolist())
        missing = sorted(set(range(n)) - set(times))
        repeated, many = sum(count > 1 for count in times.values()), len(indices) - len(times)
        said = f"batches({n}, {size})"
        assert not len(indices) or (indices.min() >= 0 and indices.max() < n), (
            f"{said} has the index {indices.min() if indices.min() < 0 else indices.max()}, expected 0..{n - 1}"
        )
        assert not many or not missing, (
            f"{said}: {repeated} of the {n} indices come more than once and {len(missing)} never: each once, so "
            "permute, do not draw with replacement"
        )
        assert not many, f"{said} has {many} indices too many: each once, in one batch of the epoch"
        assert len(missing) != n % size or not missing, (
            f"{said} leaves out {len(missing)} of {n} examples: is the last, shorter batch dropped?"
        )
        assert not missing, f"{said} leaves out the examples {missing[:8]}: every index once in an epoch"


@pytest.mark.hole("batches", kind="step")
def test_batches_are_shuffled(lesson, rng):
    n, size = 300, 10
    one, two = epoch(lesson, n, size, rng), epoch(lesson, n, size, rng)
    order, other = np.concatenate(one), np.concatenate(two)
    assert not np.array_equal(order, np.arange(n)), "the order is 0, 1, 2, ...: nothing is shuffled"
    assert not np.array_equal(order, other), (
        "two epochs have the same order: draw a new one from `rng` in every call (not from a generator made here)"
    )
    groups = {frozenset(b.tolist()) for b in one} & {frozenset(b.tolist()) for b in two}
    assert len(groups) < 3, (
        "the same examples are together in every epoch: shuffle the examples, not the batches"
    )
    inside = [np.ptp(b) < 2 * size for b in one]
    assert np.mean(inside) < 0.5, (
        "a batch holds neighbours only: shuffle all examples, not those of each batch"
    )
    assert 0.2 < np.mean(order[: n // 2] < n // 2) < 0.8, (
        "the first half of the epoch holds (nearly) one half of the indices only: use one random permutation of all"
    )
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.2, "neighbours stay neighbours: use a random permutation"


@pytest.mark.hole("batches", kind="shape")
def test_batches_sizes(lesson, rng):
    for n, size in [(10, 5), (11, 4), (9, 8), (13, 5), (3, 8), (5, 1)]:
        sizes = [len(b) for b in epoch(lesson, n, size, rng)]
        want = batch_sizes(n, size)
        assert sizes == want, f"batches({n}, {size}) have {sizes} indices, expected {want}"


@pytest.mark.hole("batches", kind="step")
def test_batches_draw_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, other = (epoch(lesson, 50, 7, np.random.default_rng(seed)) for _ in range(2))
    assert all(map(np.array_equal, one, other)), (
        "generators with the same seed gave different orders: draw from `rng`, not from np.random"
    )


# train_step


def problem(rng, n=6):
    """Images and labels of three classes."""
    return rng.standard_normal((n, 5)).astype(np.float32), rng.integers(0, 3, n).astype(np.uint8)


def numbers(tensors):
    return [t.numpy().astype(float) for t in tensors]


def one_step(lesson, model, opt, x, labels):
    with told("train_step", "zero the gradients, then forward, loss, backward, step"):
        loss = lesson.train_step(model, opt, x, labels)
    assert loss is not None, "train_step returned None: return the loss"
    assert isinstance(loss, float | np.floating), (
        f"train_step returned a {type(loss).__name__}, expected a float: loss.item() (a Tensor would keep its graph)"
    )
    return float(loss)


@pytest.mark.hole("train_step", kind="step")
def test_step_is_the_optimizers(lesson, rng):
    class MinusOne(optim.SGD):
        def update(self, w, g, v):
            w -= 1.0

    model, (x, labels) = lesson.mlp((5, 7, 3), rng=rng), problem(rng)
    params = model.parameters()
    before = numbers(params)
    one_step(lesson, model, MinusOne(params, lr=0.5), x, labels)
    for p, b in zip(numbers(params), before, strict=True):
        causes = {
            "it did not move: is loss.backward() or optimizer.step() missing, or are the gradients gone?": b,
            "it made two steps": b - 2,
        }
        what = "a parameter after a step of an optimiser that subtracts 1 (only optimizer.step() may move it)"
        agree(p, b - 1, what, causes, rtol=1e-5)


@pytest.mark.hole("train_step", kind="value")
def test_step_goes_down_the_gradient(lesson, rng):
    model, (x, labels) = lesson.mlp((5, 7, 3), rng=rng), problem(rng)
    x *= 3
    params = model.parameters()
    opt = lesson.SGD(params, lr=0.5)
    for count in (1, 2):
        before = numbers(params)
        before_step = model(x).numpy()
        labels = before_step.argmin(1)  # all wrong: a large loss, and gradients that clipping would change
        loss = nn.cross_entropy(model(x), labels)
        gradients = [np.asarray(g, float) for g in grad(loss, params)]
        stale = [
            np.asarray(p.grad, float) if p.grad is not None else 0 * b
            for p, b in zip(params, before, strict=True)
        ]
        found = one_step(lesson, model, opt, x, labels)
        moved = numbers(params)
        logits, softmax = numbers([model(x)])[0], np.exp(log_softmax(before_step))
        twice = reference_entropy(softmax, labels)
        causes = {
            "that is the loss after the step": reference_entropy(logits, labels),
            "that is the sum over the batch: the mean is wanted": loss.item() * len(x),
            "softmax was applied before cross_entropy, which applies it itself": twice,
        }
        agree(
            found,
            loss.item(),
            "the loss that train_step returns (cross_entropy of model(x))",
            causes,
            rtol=1e-5,
        )
        for p, b, g, old in zip(moved, before, gradients, stale, strict=True):
            causes = {
                "the gradients of the step before were added in: zero them first": b - 0.5 * (g + old),
                "it went uphill": b + 0.5 * g,
                "it made two steps": b - 1.0 * g,
                "the gradient is N times too large: the loss is the mean over the batch": b
                - 0.5 * g * len(x),
                "the gradient is N times too small: the loss is divided by N already": b - 0.5 * g / len(x),
                "a parameter stayed": b,
            }
            agree(p, b - 0.5 * g, f"a parameter after step {count} of SGD", causes, rtol=1e-4)


@pytest.mark.hole("train_step", kind="step")
def test_step_uses_fresh_gradients(lesson, rng):
    model, (x, labels) = lesson.mlp((5, 7, 3), rng=rng), problem(rng)
    params = model.parameters()
    before = numbers(params)
    gradients = [np.asarray(g, float) for g in grad(nn.cross_entropy(model(x), labels), params)]
    for p in params:
        p.grad = np.full(p.shape, 3.0, np.float32)
    one_step(lesson, model, lesson.SGD(params, lr=0.5), x, labels)
    for p, b, g in zip(numbers(params), before, gradients, strict=True):
        causes = {"the old gradients were added in: zero them before backward": b - 0.5 * (g + 3.0)}
        agree(p, b - 0.5 * g, "a parameter after a step with something left in .grad", causes, rtol=1e-4)


@pytest.mark.hole("train_step", kind="step")
def test_step_changes_nothing_else(lesson, rng):
    model, (x, labels) = lesson.mlp((5, 7, 3), rng=rng), problem(rng)
    inputs = x.copy(), labels.copy()
    first, last = model.layers[0].parameters(), model.layers[-1].parameters()
    before = numbers(first), numbers(last)
    one_step(lesson, model, lesson.SGD(last, lr=0.5), x, labels)
    assert all(map(np.array_equal, numbers(first), before[0])), (
        "a parameter moved that the optimiser does not hold: only optimizer.step() may move parameters"
    )
    assert not any(map(np.array_equal, numbers(last), before[1])), "a parameter of the optimiser did not move"
    assert np.array_equal(x, inputs[0]), "train_step changed the images"
    assert np.array_equal(labels, inputs[1]), "train_step changed the labels"


@pytest.mark.hole("train_step", kind="gradient")
def test_steps_lower_the_loss(lesson, rng):
    model, (x, labels) = lesson.mlp((5, 16, 3), rng=rng), problem(rng)
    opt = lesson.SGD(model.parameters(), lr=0.05)
    losses = [one_step(lesson, model, opt, x, labels) for _ in range(40)]
    assert losses[-1] < losses[0], (
        f"40 steps raised the loss of their own batch from {losses[0]:.3f} to {losses[-1]:.3f}"
    )


# fit


class Spy(optim.SGD):
    """SGD that remembers every gradient it is given."""

    def update(self, w, g, v):
        self.seen = [*getattr(self, "seen", []), g.copy()]
        super().update(w, g, v)


def run_fit(lesson, model, opt, train, test, **settings):
    with told("fit", "train and test are pairs (images, labels); batches gives index arrays, as in x[i]"):
        history = lesson.fit(model, opt, train, test, **settings)
    epochs = settings["epochs"]
    assert history is not None, "fit returned None: return the list of (mean loss, test error)"
    assert len(history) == epochs, (
        f"fit({epochs=}) returned {len(history)} entries, expected one for each epoch"
    )
    for entry in history:
        assert len(entry) == 2, f"an entry of the history is {entry!r}, expected (mean loss, test error)"
        assert all(isinstance(number, float | np.floating) for number in entry), (
            f"an entry of the history holds {[type(one).__name__ for one in entry]}, expected two floats"
        )
    return history


def watched(lesson, rng, n=12, m=5, epochs=3, batch_size=4, lr=0.1):
    """(which images each step saw, model, history): one-hot images, whose rows of the gradient tell who was there."""
    x, labels = np.eye(n + m, dtype=np.float32), rng.integers(0, 3, n + m).astype(np.uint8)
    model = lesson.Dense(n + m, 3, bias=False, rng=rng)
    opt = Spy(model.parameters(), lr=0.1)
    opt.lr, opt.seen = lr, []
    train, test = (x[:n], labels[:n]), (x[n:], labels[n:])
    history = run_fit(lesson, model, opt, train, test, epochs=epochs, batch_size=batch_size, rng=rng)
    assert opt.seen, "the optimiser that fit was given made no step: use it, do not make one of your own"
    steps = [np.flatnonzero(np.abs(g.reshape(n + m, 3)).max(axis=1)) for g in opt.seen]
    return steps, model, history, train, test


@pytest.mark.hole("fit", kind="step")
def test_fit_never_trains_on_the_test_set(lesson, rng):
    steps, _, _, train, _ = watched(lesson, rng)
    assert not any((seen >= len(train[0])).any() for seen in steps), (
        "a step saw images of the test set: it is measured, never trained on, or its error says nothing"
    )


@pytest.mark.hole("fit", kind="step")
def test_fit_takes_every_image_once_an_epoch(lesson, rng):
    n, epochs = 12, 2
    for size in (4, 5):
        steps, *_ = watched(lesson, rng, n=n, epochs=epochs, batch_size=size)
        per_epoch, short = -(-n // size), n // size
        if short < per_epoch:
            assert len(steps) != epochs * short, (
                "the last, shorter batch of each epoch is dropped: it trains too"
            )
        assert len(steps) != per_epoch, "fit trained for one epoch only"
        assert len(steps) == epochs * per_epoch, (
            f"fit made {len(steps)} steps, expected {epochs} epochs of {per_epoch} batches ({n} images, {size} a batch)"
        )
        for e in range(epochs):
            seen = np.concatenate(steps[e * per_epoch : (e + 1) * per_epoch])
            assert np.array_equal(np.sort(seen), np.arange(n)), (
                f"epoch {e + 1} took the images {np.sort(seen).tolist()}, expected each of 0..{n - 1} once"
            )


@pytest.mark.hole("fit", kind="step")
def test_fit_shuffles_anew(lesson, rng):
    n, size = 40, 4
    steps, *_ = watched(lesson, rng, n=n, epochs=2, batch_size=size)
    one, two = ([frozenset(seen.tolist()) for seen in steps[k : k + n // size]] for k in (0, n // size))
    assert one != [frozenset(range(k, k + size)) for k in range(0, n, size)], (
        "the batches are the images in their order: they must be shuffled"
    )
    assert one != two, "every epoch has the same batches in the same order: call batches anew in each epoch"
    assert len(set(one) & set(two)) < 5, "the same images are together in both epochs: draw new batches"


@pytest.mark.hole("fit", kind="value")
def test_fit_reports_the_mean_loss(lesson, rng):
    steps, model, history, train, test = watched(lesson, rng, n=12, batch_size=4, lr=0.0)
    want = reference_entropy(model(train[0]).numpy(), train[1])
    causes = {
        "it is the sum over the batches: expected the mean": 3 * want,
        "it is the loss on the test set": reference_entropy(model(test[0]).numpy(), test[1]),
    }
    rows = -log_softmax(model(train[0]).numpy().astype(float))[np.arange(len(train[1])), train[1]]
    per_step = [rows[seen].mean() for seen in steps]  # three batches of four in each epoch
    for e, (loss, _) in enumerate(history):
        causes |= {
            "it is the loss of the epoch's last step: expected the mean over all of them": per_step[3 * e + 2]
        }
        agree(
            loss,
            want,
            "the mean of the losses of all steps of an epoch (the model does not move)",
            causes,
            rtol=1e-5,
        )


@pytest.mark.hole("fit", kind="invariant")
def test_fit_decides_nothing_by_the_test_set(lesson, rng):
    seed, (x, labels), (test_x, test_labels) = int(rng.integers(2**31)), problem(rng, 20), problem(rng, 10)
    before = x.copy(), labels.copy()

    def trained(test_labels):
        fresh = np.random.default_rng(seed)
        model = lesson.mlp((5, 8, 3), rng=fresh)
        opt = lesson.Adam(model.parameters(), lr=0.05)
        test = test_x, test_labels.astype(np.uint8)
        run_fit(lesson, model, opt, (x, labels), test, epochs=8, batch_size=5, rng=fresh)
        return model

    first = trained(test_labels)
    logits = first(test_x).numpy()
    for others in (logits.argmin(1), logits.argmax(1), (test_labels + 1) % 3):
        second = trained(others)
        assert all(map(np.array_equal, numbers(first.parameters()), numbers(second.parameters()))), (
            "other test labels gave other weights: something was decided by the test error (stopping early, keeping "
            "the best epoch, the learning rate); hold back part of the training set for decisions"
        )
    assert np.array_equal(x, before[0]), "fit changed the training images"
    assert np.array_equal(labels, before[1]), "fit changed the training labels"


@pytest.mark.hole("fit", kind="value")
def test_fit_reports_the_test_error(lesson, rng):
    for _ in range(3):  # 20 and 307 have no divisor in common: no share of one set is a share of the other
        (x, labels), (test_x, test_labels) = problem(rng, 20), problem(rng, 307)
        model = lesson.mlp((5, 8, 3), rng=rng)
        opt = lesson.SGD(model.parameters(), lr=0.5)
        before = float(np.mean(model(test_x).numpy().argmax(1) != test_labels))
        history = run_fit(
            lesson, model, opt, (x, labels), (test_x, test_labels), epochs=1, batch_size=2, rng=rng
        )
        want = float(np.mean(model(test_x).numpy().argmax(1) != test_labels))
        on_train = float(np.mean(model(x).numpy().argmax(1) != labels))
        causes = {
            "it is the accuracy": 1 - want,
            "it is the error on the training set": on_train,
            "it was measured before the epoch's steps: expected after them": before,
        }
        agree(history[-1][1], want, "the test error after the epoch", causes)


class Measured(nn.Module):
    """A model that notes of each batch of ones, the test images, whether its logits were recorded."""

    def __init__(self, model):
        self.model, self.recorded = model, []

    def __call__(self, x):
        y = self.model(x)
        if np.all((x.numpy() if isinstance(x, Tensor) else x) == 1):
            self.recorded.append(y.requires_grad)
        return y


@pytest.mark.hole("fit", kind="step")
def test_fit_measures_without_a_graph(lesson, rng):
    x, labels = problem(rng, 12)
    model = Measured(lesson.mlp((5, 8, 3), rng=rng))
    test = np.ones_like(x), labels
    opt = lesson.SGD(model.parameters(), lr=0.1)
    run_fit(lesson, model, opt, (x, labels), test, epochs=2, batch_size=4, rng=rng)
    assert not any(model.recorded), (
        "the test error was measured with the graph recorded (model(test_x).requires_grad is True): it costs the "
        "memory of a backward pass that never comes; measure inside `with no_grad():`"
    )


@pytest.mark.hole("fit", kind="value")
def test_fit_reports_each_epoch(lesson, rng):
    errors = []
    while (
        len(set(errors)) < 3
    ):  # one step in each epoch, so that the order plays no role; test errors that vary
        data, (test_x, test_labels), seed = problem(rng, 12), problem(rng, 30), int(rng.integers(2**31))
        model, losses, errors = lesson.mlp((5, 8, 3), rng=np.random.default_rng(seed)), [], []
        opt = optim.SGD(model.parameters(), lr=1.0)
        for _ in range(5):
            loss = nn.cross_entropy(model(data[0]), data[1])
            opt.step(grad(loss, model.parameters()))
            losses.append(loss.item())
            errors.append(float(np.mean(model(test_x).numpy().argmax(1) != test_labels)))
    model = lesson.mlp((5, 8, 3), rng=np.random.default_rng(seed))
    opt = lesson.SGD(model.parameters(), lr=1.0)
    history = run_fit(lesson, model, opt, data, (test_x, test_labels), epochs=5, batch_size=12, rng=rng)
    found_losses, found_errors = (np.array(one) for one in zip(*history, strict=True))
    running = np.cumsum(losses) / np.arange(1, 6)
    causes = {
        "they are means over all epochs so far: start a new list of losses in each epoch": running,
        "they are measured after the steps: expected the mean of what the steps returned": [
            *losses[1:],
            loss.item(),
        ],
    }
    agree(found_losses, losses, "the row of losses of five epochs of one step each", causes, rtol=1e-3)
    causes = {"they are all the smallest: report each epoch's own": np.full(5, min(errors))}
    agree(found_errors, errors, "the row of test errors after each of five epochs", causes)


@pytest.mark.hole("fit", kind="step")
def test_fit_repeats_with_the_seed(lesson, rng):
    seed, weights = int(rng.integers(2**31)), []
    data = problem(rng, 20)
    for extra in (0, 0, 1):
        model = lesson.mlp((5, 3), rng=np.random.default_rng(seed))
        opt = lesson.SGD(model.parameters(), lr=0.5)
        run_fit(
            lesson, model, opt, data, data, epochs=2, batch_size=5, rng=np.random.default_rng(seed + extra)
        )
        weights.append(numbers(model.parameters())[0])
    assert np.array_equal(weights[0], weights[1]), "the same seed gave another result: draw from `rng` alone"
    assert not np.array_equal(weights[0], weights[2]), (
        "another `rng` gave the same result: draw the order from the generator that is given"
    )


# fit: what comes out on real digits, scaled down to 14 x 14 to be quick. Bands from 20 seeds, with room.


@functools.cache
def digits(n=None):
    data = load()
    pooled = [scale(part.images).reshape(-1, 14, 2, 14, 2).mean((2, 4)) for part in (data.train, data.test)]
    (x, y), (test_x, test_y) = zip(
        [p.reshape(-1, 196) for p in pooled], [data.train.labels, data.test.labels], strict=True
    )
    return (x[:n], y[:n]), (test_x, test_y)


def final_error(lesson, sizes, rng, epochs, batch_size, train, test):
    model = lesson.mlp(sizes, rng=rng)
    opt = lesson.Adam(model.parameters(), lr=5e-3)
    return run_fit(lesson, model, opt, train, test, epochs=epochs, batch_size=batch_size, rng=rng)[-1][1]


@pytest.mark.hole("fit", kind="invariant")
def test_fit_learns_fifty_digits_by_heart(lesson, rng):
    train, _ = digits(50)
    error = final_error(lesson, (196, 64, 10), rng, 20, 10, train, train)
    assert error == 0, (
        f"after 20 epochs on 50 images {error:.0%} are still wrong: a network of this size fits them all"
    )


@pytest.mark.hole("fit", kind="invariant")
def test_fit_reaches_the_error_of_softmax_regression(lesson, rng):
    error = final_error(lesson, (196, 10), rng, 2, 50, *digits())
    assert 0.07 < error < 0.16, (
        f"two epochs of a linear model gave a test error of {error:.1%}, expected 7% to 16%"
    )


@pytest.mark.hole("fit", kind="invariant")
def test_fit_reaches_the_error_of_an_mlp(lesson, rng):
    error = final_error(lesson, (196, 48, 10), rng, 2, 30, *digits())
    assert 0.03 < error < 0.12, f"two epochs of an MLP gave a test error of {error:.1%}, expected 3% to 12%"
