"""Checks of e06: each hole against a recurrence written out here, whose derivatives come from complex numbers."""

import contextlib
import gc
import itertools
import tracemalloc

import numpy as np
import pytest

from minigen import Tensor, grad, nn, ops, optim
from minigen.course import plug

T, N, D, H = 8, 3, 2, 4  # steps, sequences, inputs, units: all different, so that nothing fits by chance


# Helpers


def same(one, other, rtol=1e-9):
    """Equal in shape, and in numbers up to rounding (relative to the largest)."""
    if np.shape(one) != np.shape(other):
        return False
    size = np.abs(other).max(initial=0.0)
    return bool(np.all(np.abs(np.subtract(one, other)) <= rtol * np.maximum(np.abs(other), size)))


def numbers(value, what):
    """An array, a Tensor, a list of numbers -> an array; None is told."""
    assert value is not None, f"{what} is None: is a `return` missing?"
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)


def agree(got, want, what, causes=None, rtol=1e-9):
    """Fails unless `got` is `want`. `causes`: what went wrong -> what comes of it; the first that fits is named."""
    got = numbers(got, what)
    assert got.dtype.kind == "f", f"{what} holds {got.dtype}, expected floating-point numbers"
    if got.shape == want.shape and not np.isfinite(got).all():
        raise AssertionError(f"{what} holds NaN or infinity, expected finite numbers")
    if same(got, want, rtol):
        return
    for cause, wrong in (causes or {}).items():
        if same(got, wrong, rtol) and not same(want, wrong, 2 * rtol):
            raise AssertionError(f"{what} is wrong: {cause}")
    assert got.shape == want.shape, f"{what} has shape {got.shape}, expected {want.shape}"
    i = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    at = f" at index {tuple(map(int, i))}" if want.ndim else ""
    says = f"found {got[i]:.6g}{at}, expected {want[i]:.6g}"
    scale = float((got * want).sum() / (want * want).sum()) if np.any(want) else 1.0
    if want.size > 1 and np.any(got) and same(got, scale * want, 1e-6):
        says += f": every entry is {scale:.4g} times the right one"
    raise AssertionError(f"{what} is wrong: {says}")


@contextlib.contextmanager
def told(what, cause):
    """An exception of the learner's code is told with its likely cause."""
    try:
        with np.errstate(all="ignore"):
            yield
    except (AssertionError, NotImplementedError):
        raise
    except RecursionError as error:
        says = (
            f"{what} calls itself for ever: it uses the engine's function of that name, whose place it takes"
        )
        raise AssertionError(says).with_traceback(error.__traceback__) from None
    except Exception as error:
        says = f"{what} raised {type(error).__name__} ({str(error)[:200]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


@contextlib.contextmanager
def untouched(what, **arrays):
    """Fails if the block changes one of these arrays."""
    before = {name: a.copy() for name, a in arrays.items()}
    yield
    for name, a in arrays.items():
        assert np.array_equal(a, before[name]), (
            f"{what} changed its argument {name}: others still need it, so make a new array (no +=, no *=)"
        )


def tuple_of(value, count, names, what):
    """What must be several things at once."""
    assert value is not None, f"{what} returned None: is a `return` missing?"
    found = len(value) if isinstance(value, tuple | list) else type(value).__name__
    assert isinstance(value, tuple | list) and len(value) == count, (  # noqa: PT018
        f"{what} returned {found} value(s), expected a tuple of {count}: {names}"
    )
    return value


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def is_tensor(y, what):
    assert y is not None, f"{what} is None: is a `return` missing?"
    assert isinstance(y, Tensor), (
        f"{what} is a {type(y).__name__}, expected a Tensor when Tensors came in: use operators and minigen.ops, "
        "no np functions and no .data"
    )
    assert y.requires_grad, (
        f"{what} is cut off from the graph: no gradient can flow (.data, .numpy(), .detach()?)"
    )


def peak_of(f):
    """Bytes allocated at most while f runs, above what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# The recurrence, in numbers that may be complex


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def draw(rng, gates=1, *, T=T, N=N, D=D, H=H, scale=1.0):
    """x, h0, W_x, W_h, b in float64: weights such that gradients neither die nor explode in eight steps"""
    shapes = [(T, N, D), (N, H), (D, gates * H), (H, gates * H), (gates * H,)]
    return [rng.standard_normal(s) * scale * (1 if i < 3 else 0.7) for i, s in enumerate(shapes)]


def rnn_states(x, h0, W_x, W_h, b):
    hs = [h0 + 0 * (x.sum() + W_x.sum() + W_h.sum() + b.sum())]
    for x_t in x:
        hs.append(np.tanh(x_t @ W_x + hs[-1] @ W_h + b))
    return np.stack(hs)


def step_of(x, h, c, W_x, W_h, b, order=(0, 1, 2, 3), curves="sstss", keep="fc+ig", n=None):
    """One step. order: where i, f, g, o are; curves: of i, f, g, o and then that of c (t) or none (n)"""
    curve = {"s": sigmoid, "t": np.tanh, "n": lambda a: a}
    blocks = np.split(x @ W_x + h @ W_h + b, 4, axis=1)
    i, f, g, o = (curve[kind](blocks[k]) for k, kind in zip(order, curves, strict=False))
    c = {"fc+ig": f * c + i * g, "c+ig": c + i * g, "ic+fg": i * c + f * g, "fc+g": f * c + g, "ig": i * g,
         "(1-f)c+ig": (1 - f) * c + i * g}[keep]  # fmt: skip
    return o * curve[curves[4]](c), c, np.concatenate([i, f, g, o], axis=1)


def lstm_states(x, h0, c0, W_x, W_h, b):
    """-> hs (T + 1, N, h), cs (T + 1, N, h), gates (T, N, 4h)"""
    zero = 0 * (x.sum() + h0.sum() + c0.sum() + W_x.sum() + W_h.sum() + b.sum())
    hs, cs, gates = [h0 + zero], [c0 + zero], [np.zeros((0, *b.shape)) + zero]
    for x_t in x:
        h, c, gate = step_of(x_t, hs[-1], cs[-1], W_x, W_h, b, curves="sstst")
        hs.append(h)
        cs.append(c)
        gates.append(gate[None])
    gates = [np.zeros((0, len(h0), len(b))) + zero, *gates[1:]]
    return np.stack(hs), np.stack(cs), np.concatenate(gates)


def lstm_y(*args):
    hs, cs, _ = lstm_states(*args)
    return np.concatenate([hs, cs[-1:]])


def slopes(f, seed, arrays, e=1e-30):
    """The gradients of sum(seed * f(*arrays)), to the last digit: Im f(x + i e) / e, an entry at a time"""
    results = []
    for k, x in enumerate(arrays):
        result = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            moved = [a.astype(complex) if j == k else a for j, a in enumerate(arrays)]
            moved[k][at] += 1j * e
            result[at] = (seed * f(*moved)).sum().imag / e
        results.append(result)
    return results


def double(module, rng, scale):
    """The module with new numbers in float64 for all parameters"""
    for p in module.parameters():
        p._data = rng.standard_normal(p.shape) * scale
    return module


def rnn_by_hand(g, hs, x, W_x, W_h, carry=True, direct=True, slope="after", turn=True, start=True):
    """The gradients of an RNN by the chain rule, with faults to order."""
    dh, da = g[-1], np.zeros_like(hs[1:])
    for t in reversed(range(len(x))):
        h = hs[t + 1] if slope == "after" else hs[t]
        da[t] = dh * (1 - h**2) if slope != "none" else dh
        back = da[t] @ (W_h.T if turn else W_h) if carry else 0 * dh
        dh = back + (g[t] if direct and (start or t) else 0)
    return da @ W_x.T, dh, *sums(da, x, hs)


def sums(da, x, hs, before=None):
    before = hs[:-1] if before is None else before
    return (
        np.einsum("tnd,tnk->dk", x, da),
        np.einsum("tnh,tnk->hk", before, da),
        da.sum(axis=(0, 1)),
    )


def back_of(dh, dc, gates, c_before, c, **fault):
    """One step of an LSTM backwards, with faults to order."""
    i, f, g, o = np.split(gates, 4, axis=1)
    cell = c if fault.get("untanh") else np.tanh(c)
    through = dh * o * (1 if fault.get("flat") else 1 - cell**2)
    dc = {"both": dc + through, "dc": dc, "dh": through, "swap": dc + dh * o}[fault.get("into_c", "both")]
    slope = (lambda s: 1) if fault.get("noslope") else (lambda s: s * (1 - s))
    kept = c if fault.get("after") else c_before
    parts = [
        dc * g * slope(i), dc * kept * slope(f),
        dc * i * (1 if fault.get("noslope") else g * (1 - g) if fault.get("gsig") else 1 - g**2),
        dh * cell * slope(o),
    ]  # fmt: skip
    order = fault.get("order", (0, 1, 2, 3))
    before = {"f": dc * f, "none": dc, "zero": 0 * dc, "i": dc * i}[fault.get("before", "f")]
    return np.concatenate([parts[k] for k in order], axis=1), before


def lstm_by_hand(g, hs, cs, gates, x, W_x, W_h, carry_h=True, carry_c=True, direct=True, c_end=True, start=True,
                 turn=True):  # fmt: skip
    dh, dc, da = g[-2], g[-1] * c_end, np.zeros_like(gates)
    for t in reversed(range(len(x))):
        da[t], dc = back_of(dh, dc, gates[t], cs[t], cs[t + 1])
        dc = dc * carry_c
        wide = da[t] @ W_h.T if turn else da[t][:, : W_h.shape[0]] @ W_h[:, : W_h.shape[0]]
        dh = wide * carry_h + (g[t] if direct and (start or t) else 0)
    return da @ W_x.T, dh, dc, *sums(da, x, hs)


def lstm_oracle(g, arrays):
    """The gradients of sum(g * lstm_y(*arrays)) for x, h0, c0, W_x, W_h, b"""
    x, _, _, W_x, W_h, _ = arrays
    return lstm_by_hand(g, *lstm_states(*arrays), x, W_x, W_h)


def compare_all(got, want, names, what, faults=None, rtol=1e-8):
    """Several gradients at once. A fault that explains all of them is named before any single one."""
    got = [numbers(one, f"{what}: the gradient of {name}") for one, name in zip(got, names, strict=True)]
    right = [same(a, b, rtol) for a, b in zip(got, want, strict=True)]
    if all(right):
        return
    for cause, wrong in (faults or {}).items():
        if all(same(a, b, rtol) for a, b in zip(got, wrong, strict=True)):
            raise AssertionError(f"{what}: {cause}")
    for a, b, name in zip(got, want, names, strict=True):
        assert a.shape == b.shape, (
            f"{what}: the gradient of {name} has shape {a.shape}, expected {b.shape}, that of {name} itself"
        )
    for a, b, name in zip(got, want, names, strict=True):
        agree(a, b, f"{what}: the gradient of {name}", {"its sign is flipped": -b}, rtol=rtol)


# rnn_step


def one_rnn_step(lesson, args):
    hint = "x is (N, d), W_x (d, h), h (N, h), W_h (h, h). Arrays come in, and Tensors: ops.tanh takes both"
    with told("rnn_step", hint):
        return lesson.rnn_step(*args)


@pytest.mark.hole("rnn_step", kind="value")
def test_rnn_step_value(lesson, rng):
    for n, d, h in [(3, 2, 4), (4, 4, 4), (1, 1, 1)]:
        x, h0, W_x, W_h, b = draw(rng, T=1, N=n, D=d, H=h, scale=0.6)
        args = (x[0], h0, W_x, W_h, b)
        a, past = x[0] @ W_x, h0 @ W_h
        causes = {
            "the bias is missing": np.tanh(a + past),
            "the bias counts twice": np.tanh(a + past + 2 * b),
            "the state has no part in it: h W_h is missing": np.tanh(a + b),
            "the input has no part in it: x W_x is missing": np.tanh(past + b),
            "the tanh is missing: without a curve, T steps are one linear map": a + past + b,
            "a sigmoid, expected a tanh": sigmoid(a + past + b),
            "a ReLU, expected a tanh": np.maximum(a + past + b, 0),
            "W_h is transposed: h @ W_h": np.tanh(a + h0 @ W_h.T + b),
            "the old state is added outside of the tanh": np.tanh(a + past + b) + h0,
            "the state goes in as it is, without W_h": np.tanh(a + h0 + b),
        }
        with untouched("rnn_step", x=args[0], h=h0, W_x=W_x, W_h=W_h, b=b):
            got = one_rnn_step(lesson, args)
        agree(got, np.tanh(a + past + b), "the next state", causes)


@pytest.mark.hole("rnn_step", kind="shape")
def test_rnn_step_keeps_kind_and_dtype(lesson, rng):
    x, h0, W_x, W_h, b = (a.astype(np.float32) for a in draw(rng, T=1))
    got = one_rnn_step(lesson, (x[0], h0, W_x, W_h, b))
    assert isinstance(got, np.ndarray), (
        f"rnn_step of arrays is a {type(got).__name__}, expected an array: ops.tanh gives what it is given"
    )
    assert got.dtype == np.float32, f"rnn_step of float32 arrays is {got.dtype}, expected float32"
    is_tensor(one_rnn_step(lesson, map(leaf, (x[0], h0, W_x, W_h, b))), "rnn_step of Tensors")


@pytest.mark.hole("rnn_step", kind="gradient")
def test_rnn_step_gradient(lesson, rng):
    """Eight steps, one after the other, through autograd."""
    arrays = draw(rng)
    x, h, *weights = tensors = [leaf(a) for a in arrays]
    for t in range(T):
        h = one_rnn_step(lesson, (x[t], h, *weights))
        is_tensor(h, "rnn_step of Tensors")
    seed = rng.standard_normal((N, H))
    got = grad(h, tensors, seed=seed, allow_unused=True)
    for name, g in zip(("x", "h0", "W_x", "W_h", "b"), got, strict=True):
        assert g is not None, f"no gradient arrives at {name} through eight steps: the graph is cut there"
    g = np.concatenate([np.zeros((T, N, H)), seed[None]])
    want = rnn_by_hand(g, rnn_states(*arrays), arrays[0], *arrays[2:4])
    compare_all(got, want, ("x", "h0", "W_x", "W_h", "b"), "eight steps of rnn_step")


# rnn_backward

RNN_NAMES = ("x", "h0", "W_x", "W_h", "b")


def rnn_back(lesson, g, hs, x, W_x, W_h):
    with told(
        "rnn_backward",
        "dh and da[t] are (N, h); T may be 0; the order of the result is x, h0, W_x, W_h, b",
    ), untouched("rnn_backward", g=g, hs=hs, x=x, W_x=W_x, W_h=W_h):  # fmt: skip
        got = lesson.rnn_backward(g, hs, x, W_x, W_h)
    return tuple_of(got, 5, "the gradients of x, h0, W_x, W_h, b", "rnn_backward")


@pytest.mark.hole("rnn_backward", kind="gradient")
def test_rnn_backward_through_eight_steps(lesson, rng):
    arrays = x, _h0, W_x, W_h, _ = draw(rng)
    hs, g = rnn_states(*arrays), rng.standard_normal((T + 1, N, H))
    args = (g, hs, x, W_x, W_h)
    faults = {
        "only the last step gets a gradient: carry dh back, dh = g[t] + da[t] W_h^T": rnn_by_hand(
            *[np.concatenate([0 * g[:-1], g[-1:]])], *args[1:], carry=False
        ),
        "what the next state does is not carried back: dh_{t-1} = g_{t-1} + da_t W_h^T, you have g_{t-1} alone": (
            rnn_by_hand(*args, carry=False)
        ),
        "the loss may look at every h_t: g[t] is added at each step, not only at the last": rnn_by_hand(
            *args, direct=False
        ),
        "h_0 is looked at directly too: its gradient needs g[0]": rnn_by_hand(*args, start=False),
        "the slope of the tanh is 1 - h_t^2 with the state after the step, hs[t + 1], not before it": rnn_by_hand(
            *args, slope="before"
        ),
        "the slope of the tanh, 1 - h_t^2, is missing": rnn_by_hand(*args, slope="none"),
        "W_h must be transposed on the way back: da_t W_h^T": rnn_by_hand(*args, turn=False),
    }
    want = rnn_by_hand(*args)
    compare_all(rnn_back(lesson, *args), want, RNN_NAMES, "rnn_backward", faults)


@pytest.mark.hole("rnn_backward", kind="value")
def test_rnn_backward_of_one_state_only(lesson, rng):
    """The loss looks at one state: nothing may flow to later inputs."""
    arrays = x, _, W_x, W_h, _ = draw(rng)
    hs = rnn_states(*arrays)
    for at in (0, 1, T // 2, T):
        g = np.zeros((T + 1, N, H))
        g[at] = rng.standard_normal((N, H))
        got = rnn_back(lesson, g, hs, x, W_x, W_h)
        gx = numbers(got[0], "the gradient of x")
        if gx.shape == x.shape:
            assert not gx[at:].any(), (
                f"the loss looks at h_{at} only, yet inputs after step {at} get a gradient"
            )
        what = f"rnn_backward, a loss that looks at h_{at} only"
        compare_all(got, rnn_by_hand(g, hs, x, W_x, W_h), RNN_NAMES, what)


@pytest.mark.hole("rnn_backward", kind="shape")
def test_rnn_backward_short(lesson, rng):
    for steps, n in [(0, 2), (1, 1), (2, 1)]:
        arrays = x, _, W_x, W_h, _ = draw(rng, T=steps, N=n)
        hs, g = rnn_states(*arrays), rng.standard_normal((steps + 1, n, H))
        got = rnn_back(lesson, g, hs, x, W_x, W_h)
        compare_all(got, rnn_by_hand(g, hs, x, W_x, W_h), RNN_NAMES, f"rnn_backward of {steps} steps")
    small = [a.astype(np.float32) for a in (g, hs, x, W_x, W_h)]
    for name, one in zip(RNN_NAMES, rnn_back(lesson, *small), strict=True):
        assert one.dtype == np.float32, (
            f"float32 came in, the gradient of {name} is {one.dtype}: make arrays with xp.empty_like or a dtype"
        )


@pytest.mark.hole("rnn_backward", kind="invariant")
def test_rnn_backward_keeps_sequences_apart(lesson, rng):
    """Two batches side by side: the gradients of x and h0 as apart, those of the weights their sum."""
    x, h0, W_x, W_h, b = draw(rng, N=4)
    g = rng.standard_normal((T + 1, 4, H))
    hs = rnn_states(x, h0, W_x, W_h, b)
    whole = rnn_back(lesson, g, hs, x, W_x, W_h)
    one, two = (
        rnn_back(lesson, *(np.ascontiguousarray(a[:, part]) for a in (g, hs, x)), W_x, W_h)
        for part in (slice(0, 1), slice(1, 4))
    )
    agree(
        whole[0], np.concatenate([one[0], two[0]], axis=1), "the gradient of x for two batches side by side"
    )
    for k, name in enumerate(RNN_NAMES[2:], 2):
        says = {"it is averaged over the sequences: what they contribute adds up": (one[k] + 3 * two[k]) / 4}
        agree(whole[k], one[k] + two[k], f"the gradient of {name} for two batches side by side", says)


# weight_gradients


def weights_by(lesson, da, x, hs):
    hint = "x and da are (T, N, ...): flatten (T, N) to rows, then rows^T rows; T may be 0"
    with told("weight_gradients", hint), untouched("weight_gradients", da=da, x=x, hs=hs):
        got = lesson.weight_gradients(da, x, hs)
    return tuple_of(got, 3, "the gradients of W_x, W_h, b", "weight_gradients")


@pytest.mark.hole("weight_gradients", kind="value")
def test_weight_gradients_value(lesson, rng):
    da, x, hs = (rng.standard_normal(s) for s in [(T, N, 5), (T, N, D), (T + 1, N, H)])
    right = sums(da, x, hs)
    faults = {
        "only the last step counts: all steps share the weights, their gradients add up": sums(
            da[-1:], x[-1:], hs[-2:]
        ),
        "only the first step counts: all steps share the weights, their gradients add up": sums(
            da[:1], x[:1], hs[:2]
        ),
        "the last step is left out": sums(da[:-1], x[:-1], hs[:-1]),
        "the first step is left out": sums(da[1:], x[1:], hs[1:]),
        "it is averaged over the steps: what they contribute adds up": [a / T for a in right],
        "it is averaged over the sequences: what they contribute adds up": [a / N for a in right],
        "it is averaged over steps and sequences: what they contribute adds up": [a / (T * N) for a in right],
        "only the first sequence of the batch counts": sums(da[:, :1], x[:, :1], hs[:, :1]),
    }
    late = sums(da, x, hs, before=hs[1:])[1]
    got = weights_by(lesson, da, x, hs)
    if same(numbers(got[1], "the gradient of W_h"), late):
        raise AssertionError(
            "the gradient of W_h is wrong: you pair da_t with the state after the step; a_t was made of the state "
            "before it, h_{t-1} = hs[:-1]"
        )
    half = da.sum(axis=0), da.sum(axis=1)
    assert np.shape(got[2]) not in [a.shape for a in half], (
        f"the gradient of b has shape {np.shape(got[2])}, expected (5,): sum over steps and over sequences"
    )
    compare_all(got, right, ("W_x", "W_h", "b"), "weight_gradients", faults)


@pytest.mark.hole("weight_gradients", kind="shape")
def test_weight_gradients_shapes(lesson, rng):
    for t, n, d, h, k in [(0, 2, 3, 4, 5), (1, 1, 1, 1, 1), (5, 4, 4, 4, 4), (3, 1, 2, 6, 24)]:
        da, x, hs = (rng.standard_normal(s).astype(np.float32) for s in [(t, n, k), (t, n, d), (t + 1, n, h)])
        got = weights_by(lesson, da, x, hs)
        names = ("W_x", "W_h", "b")
        compare_all(got, sums(da, x, hs), names, f"weight_gradients of {t} steps, {n} sequences", rtol=1e-4)
        for name, one in zip(names, got, strict=True):
            assert one.dtype == np.float32, f"float32 came in, the gradient of {name} is {one.dtype}"


@pytest.mark.hole("weight_gradients", kind="invariant")
def test_weight_gradients_memory(lesson, rng):
    """784 steps, as many as an image has pixels."""
    da, x, hs = (rng.standard_normal(s, np.float32) for s in [(784, 2, 128), (784, 2, 8), (785, 2, 32)])
    used, room = peak_of(lambda: weights_by(lesson, da, x, hs)), da.nbytes + x.nbytes + hs.nbytes
    assert used < 6 * room, (
        f"784 steps took {used / 1e6:.1f} MB, the arguments {room / 1e6:.1f} MB: the gradients of all steps are kept "
        "side by side; add them up as they come, or make one product of (all rows)^T (all rows)"
    )


@pytest.mark.hole("weight_gradients", kind="gradient")
def test_weight_gradients_are_gradients(lesson, rng):
    da, x, hs = (rng.standard_normal(s) for s in [(T, N, 5), (T, N, D), (T + 1, N, H)])
    weights = [rng.standard_normal(s) for s in [(D, 5), (H, 5), 5]]
    want = slopes(lambda W_x, W_h, b: x @ W_x + hs[:-1] @ W_h + b, da, weights)
    compare_all(weights_by(lesson, da, x, hs), want, ("W_x", "W_h", "b"), "weight_gradients")


# lstm_step


def take_step(lesson, args):
    hint = "x W_x + h W_h + b is (N, 4h): cut its columns into four blocks of h"
    with told("lstm_step", hint):
        got = lesson.lstm_step(*args)
    return tuple_of(got, 3, "h, c, gates", "lstm_step")


def step_faults(args):
    """What typical slips make of one step: cause -> (h, c, gates)"""
    _, _, _, _, _, b = args
    names, faults = "ifgo", {}
    shown = {}
    for order in itertools.permutations(range(4)):
        if order == (0, 1, 2, 3):
            continue
        columns = "".join(names[order.index(k)] for k in range(4))
        shown[f"the gates are in the order {', '.join(columns)}; expected i, f, g, o"] = {"order": order}
    plain = {
        "g = tanh(a_g): it is what could be written, and may be negative; you have a sigmoid there": {
            "curves": "sssst"
        },
        "the gates go from 0 to 1: sigmoid for i, f and o; you have a tanh there": {"curves": "ttttt"},
        "the sigmoids and the tanh are swapped: sigmoid for i, f and o, tanh for g": {"curves": "ttstt"},
        "h = o tanh(c): the tanh is missing": {"curves": "sstsn"},
        "h = o tanh(c): you have a sigmoid there": {"curves": "sstss"},
        "the output gate has no sigmoid": {"curves": "sstnt"},
        "the forget gate has no part in it: c = f c + i g": {"keep": "c+ig"},
        "i and f are swapped in the new cell: c = f c + i g": {"keep": "ic+fg"},
        "the input gate has no part in it: c = f c + i g": {"keep": "fc+g"},
        "the old cell is lost: c = f c + i g": {"keep": "ig"},
        "the forget gate says what to keep, f c, not what to drop, (1 - f) c": {"keep": "(1-f)c+ig"},
    }
    for cause, fault in (plain | shown).items():
        faults[cause] = step_of(*args, **({"curves": "sstst"} | fault))
    faults["the bias is missing"] = step_of(*args[:-1], 0 * b, curves="sstst")
    faults["the bias counts twice: there is one b, not one for each product"] = step_of(
        *args[:-1], 2 * b, curves="sstst"
    )
    x, h, c, W_x, W_h, _ = args
    faults["the state h has no part in it"] = step_of(x, 0 * h, c, W_x, W_h, b, curves="sstst")
    if x.shape == h.shape:
        faults["x and h go through the wrong weights: x @ W_x, h @ W_h"] = step_of(
            h, x, c, W_x, W_h, b, curves="sstst"
        )
    return faults


@pytest.mark.hole("lstm_step", kind="value")
def test_lstm_step_value(lesson, rng):
    for n, d, h in [(3, 2, 4), (4, 4, 4), (1, 3, 2)]:
        x, h0, W_x, W_h, b = draw(rng, 4, T=1, N=n, D=d, H=h)
        args = (x[0], h0, rng.standard_normal((n, h)), W_x, W_h, b)
        want, names = step_of(*args, curves="sstst"), ("h", "c", "gates")
        with untouched("lstm_step", x=args[0], h=h0, c=args[2], W_x=W_x, W_h=W_h, b=b):
            got = take_step(lesson, args)
        got = [numbers(one, f"lstm_step's {name}") for one, name in zip(got, names, strict=True)]
        if all(same(a, b) for a, b in zip(got, want, strict=True)):
            continue
        for cause, wrong in step_faults(args).items():
            if same(got[0], wrong[0]) and same(got[1], wrong[1]) and not same(got[0], want[0]):
                raise AssertionError(f"lstm_step is wrong: {cause}")
        assert not (same(got[0], want[1]) and same(got[1], want[0])), (
            "lstm_step returns c before h; expected h, c, gates"
        )
        agree(got[1], want[1], "lstm_step: the new cell")
        old = want[2][:, 3 * h :] * np.tanh(args[2])
        causes = {"h is made of the old cell; expected the new one, o tanh(c)": old}
        agree(got[0], want[0], "lstm_step: the new state", causes)
        a = args[0] @ W_x + h0 @ W_h + b
        causes = {"they are as they were before their curves; expected sigmoid and tanh of them": a}
        for order in itertools.permutations(range(4)):
            said = f"their order is {', '.join('ifgo'[k] for k in order)}; expected i, f, g, o, as in the weights"
            causes[said] = np.concatenate([np.split(want[2], 4, axis=1)[k] for k in order], axis=1)
        agree(got[2], want[2], "lstm_step: gates", causes)


@pytest.mark.hole("lstm_step", kind="shape")
def test_lstm_step_keeps_kind_and_dtype(lesson, rng):
    x, h0, W_x, W_h, b = (a.astype(np.float32) for a in draw(rng, 4, T=1))
    args = (x[0], h0, h0 * 2, W_x, W_h, b)
    for name, one, width in zip(("h", "c", "gates"), take_step(lesson, args), (H, H, 4 * H), strict=True):
        assert isinstance(one, np.ndarray), f"lstm_step of arrays gives {name} as a {type(one).__name__}"
        assert one.shape == (N, width), f"{name} has shape {one.shape}, expected {(N, width)}"
        assert one.dtype == np.float32, f"float32 came in, {name} is {one.dtype}"
    for name, one in zip(("h", "c"), take_step(lesson, [leaf(a) for a in args]), strict=False):
        is_tensor(one, f"{name} of lstm_step of Tensors")


@pytest.mark.hole("lstm_step", kind="invariant")
def test_lstm_step_carries_a_cell(lesson, rng):
    """Forget gate open, input gate shut: the cell stays, whatever comes in. Gates of +-500 are no trouble."""
    x, h0, W_x, W_h, _ = draw(rng, 4, T=1)
    c, shut = rng.standard_normal((N, H)), 500.0
    hold = np.repeat([-shut, shut, 0.0, 0.0], H)
    got = take_step(lesson, (x[0], h0, c, W_x, W_h, hold))
    agree(got[1], c, "the cell, with the forget gate open and the input gate shut,")
    wipe = np.repeat([-shut, -shut, 0.0, 0.0], H)
    got = take_step(lesson, (x[0], h0, c, W_x, W_h, wipe))
    found = numbers(got[1], "the cell")
    assert np.abs(found).max() < 1e-12, (
        "with forget gate and input gate shut, the cell must become 0; it does not"
    )
    write = np.repeat([shut, -shut, shut, shut], H)
    got = take_step(lesson, (x[0], h0, c, W_x, W_h, write))
    agree(got[1], np.ones((N, H)), "the cell, overwritten with 1 (f shut, i open, g at its top),")
    agree(got[0], np.full((N, H), np.tanh(1.0)), "h, where the cell is 1 and the output gate is open,")


@pytest.mark.hole("lstm_step", kind="gradient")
def test_lstm_step_gradient(lesson, rng):
    """Eight steps, one after the other, through autograd."""
    x, h0, W_x, W_h, b = draw(rng, 4)
    arrays = [x, h0, rng.standard_normal((N, H)), W_x, W_h, b]
    tensors = x, h, c, *weights = [leaf(a) for a in arrays]
    for t in range(T):
        h, c, _ = take_step(lesson, (x[t], h, c, *weights))
        is_tensor(h, "h of lstm_step of Tensors")
    seed = rng.standard_normal((N, H))
    got = grad(h, tensors, seed=seed, allow_unused=True)
    for name, g in zip(LSTM_NAMES, got, strict=True):
        assert g is not None, f"no gradient arrives at {name} through eight steps: the graph is cut there"
    g = np.concatenate([np.zeros((T, N, H)), seed[None], np.zeros((1, N, H))])
    want = lstm_oracle(g, arrays)
    compare_all(got, want, LSTM_NAMES, "eight steps of lstm_step")


LSTM_NAMES = ("x", "h0", "c0", "W_x", "W_h", "b")


# lstm_step_backward


def back_step(lesson, *args):
    names = ("dh", "dc", "gates", "c_before", "c")
    hint = "gates is (N, 4h), everything else (N, h)"
    with (
        told("lstm_step_backward", hint),
        untouched("lstm_step_backward", **dict(zip(names, args, strict=True))),
    ):
        got = lesson.lstm_step_backward(*args)
    return tuple_of(got, 2, "da (N, 4h), dc_before (N, h)", "lstm_step_backward")


def one_step(rng, n=N, h=H):
    """dh, dc, gates, c_before, c of a real step, and a, before the curves"""
    a, c_before = rng.standard_normal((n, 4 * h)), rng.standard_normal((n, h))
    _, c, gates = from_a(a, c_before)
    return (*rng.standard_normal((2, n, h)), gates, c_before, c), a


def from_a(a, c_before):
    i, f, g, o = np.split(a, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c_before + i * g
    return o * np.tanh(c), c, np.concatenate([i, f, g, o], axis=1)


STEP_FAULTS = {
    "h is made of c too: add dh o (1 - tanh(c)^2) to dc": {"into_c": "dc"},
    "the dc that comes from the next step is lost: add to it": {"into_c": "dh"},
    "h = o tanh(c): on the way to c, dh o is multiplied by the slope 1 - tanh(c)^2": {"into_c": "swap"},
    "the slopes of the gates' curves are missing: s (1 - s), and 1 - g^2": {"noslope": True},
    "the slope of g is that of a tanh, 1 - g^2, not g (1 - g)": {"gsig": True},
    "the forget gate multiplied the cell before the step, not the new one": {"after": True},
    "the gradient of o is dh tanh(c); the tanh is missing": {"untanh": True},
    "dc_before is dc f: what the forget gate let through": {"before": "none"},
    "dc_before is 0: the cell before the step went into c by way of the forget gate": {"before": "zero"},
    "dc_before is dc f; you multiply with the input gate": {"before": "i"},
    "the blocks of da are in the order i, f, o, g; expected i, f, g, o": {"order": (0, 1, 3, 2)},
    "the blocks of da are in the order f, i, g, o; expected i, f, g, o": {"order": (1, 0, 2, 3)},
    "the blocks of da are in the order i, g, f, o; expected i, f, g, o": {"order": (0, 2, 1, 3)},
}


@pytest.mark.hole("lstm_step_backward", kind="gradient")
def test_step_backward_value(lesson, rng):
    for n, h in [(N, H), (1, 1), (5, 2)]:
        args, a = one_step(rng, n, h)
        dh, dc, _, c_before, _ = args
        seed = np.stack([dh, dc])
        want = slopes(lambda a, c: np.stack(from_a(a, c)[:2]), seed, [a, c_before])
        faults = {says: back_of(*args, **fault) for says, fault in STEP_FAULTS.items()}
        compare_all(back_step(lesson, *args), want, ("a", "c_before"), "lstm_step_backward", faults)


@pytest.mark.hole("lstm_step_backward", kind="value")
def test_step_backward_of_one_at_a_time(lesson, rng):
    (dh, dc, gates, c_before, c), a = one_step(rng)
    for name, one in {"h": np.stack([dh, 0 * dc]), "c": np.stack([0 * dh, dc])}.items():
        want = slopes(lambda a, c: np.stack(from_a(a, c)[:2]), one, [a, c_before])
        what = f"lstm_step_backward, where the loss looks at {name} only"
        faults = {
            says: back_of(*one, gates, c_before, c, **fault)
            for says, fault in STEP_FAULTS.items()
            if not all(
                same(x, y) for x, y in zip(back_of(*one, gates, c_before, c, **fault), want, strict=True)
            )
        }
        compare_all(back_step(lesson, *one, gates, c_before, c), want, ("a", "c_before"), what, faults)


@pytest.mark.hole("lstm_step_backward", kind="shape")
def test_step_backward_dtype(lesson, rng):
    args = [a.astype(np.float32) for a in one_step(rng)[0]]
    for name, one, width in zip(("da", "dc_before"), back_step(lesson, *args), (4 * H, H), strict=True):
        assert one.shape == (N, width), f"{name} has shape {one.shape}, expected {(N, width)}"
        assert one.dtype == np.float32, f"float32 came in, {name} is {one.dtype}"


@pytest.mark.hole("lstm_step_backward", kind="invariant")
def test_step_backward_is_linear_and_a_carousel(lesson, rng):
    args, _ = one_step(rng)
    dh, dc, *rest = args
    one, two = back_step(lesson, *args), back_step(lesson, 3 * dh, 3 * dc, *rest)
    for name, a, b in zip(("da", "dc_before"), one, two, strict=True):
        agree(b, 3 * numbers(a, name), f"{name} for three times the gradients (expected three times as much)")
    gates = rest[0].copy()
    gates[:, H : 2 * H] = 1.0  # f
    got = back_step(lesson, 0 * dh, dc, gates, rest[1], rest[2])[1]
    agree(
        got,
        dc,
        "dc_before with the forget gate open: the gradient of the cell must go through unchanged, and",
    )


# lstm


def run_lstm(lesson, args):
    op = lesson.lstm
    assert hasattr(op, "forward"), "lstm is a plain function: leave the line @fused above it"
    with told("lstm", "T may be 0, and hs[0], cs[0] are h0 and c0"):
        got = tuple_of(op.forward(*args), 2, "y, saved", "lstm")
    return got[0], tuple_of(got[1], 3, "hs, cs, gates", "lstm: saved")


def draw_lstm(rng, **sizes):
    x, h0, W_x, W_h, b = draw(rng, 4, **sizes)
    return [x, h0, rng.standard_normal(h0.shape), W_x, W_h, b]


@pytest.mark.hole("lstm", kind="value")
def test_lstm_value(lesson, rng):
    args = x, h0, c0, W_x, W_h, b = draw_lstm(rng)
    hs, cs, gates = lstm_states(*args)
    with untouched("lstm", **dict(zip(LSTM_NAMES, args, strict=True))):
        y, saved = run_lstm(lesson, args)
    y = numbers(y, "y")
    want = np.concatenate([hs, cs[-1:]])
    alone = [lstm_states(x[t : t + 1], h0, c0, W_x, W_h, b) for t in range(T)]
    loose_c = [h0]
    for t in range(T):
        loose_c.append(step_of(x[t], loose_c[-1], c0, W_x, W_h, b, curves="sstst")[0])
    loose_h = [c0]
    for t in range(T):
        loose_h.append(step_of(x[t], h0, loose_h[-1], W_x, W_h, b, curves="sstst")[1])
    causes = {
        "it ends with h_T; the last entry is c_T": np.concatenate([hs, hs[-1:]]),
        "h_0 is missing: expected h_0, h_1, ..., h_T, c_T": want[1:],
        "c_T is missing at the end: expected h_0, h_1, ..., h_T, c_T": hs,
        "these are the cells; expected the states, and the last cell": np.concatenate([cs, cs[-1:]]),
        "c comes first: expected h_0, h_1, ..., h_T and then c_T": np.concatenate([cs[-1:], hs]),
        "the sequence is read backwards": lstm_y(x[::-1], *args[1:]),
        "h and c start from zero; expected h0 and c0": lstm_y(x, 0 * h0, 0 * c0, W_x, W_h, b),
        "h0 and c0 are swapped": lstm_y(x, c0, h0, W_x, W_h, b),
    }
    if y.shape == want.shape and not same(y, want):
        steps = [one[0][1] for one in alone]
        assert not same(y[1:-1], np.stack(steps)), (
            "every step starts from h0 and c0: carry the state from step to step"
        )
        assert not same(y[1:-1], np.stack(loose_c[1:])), (
            "every step starts from c0: carry c from step to step, as h"
        )
        assert not same(y[-1], loose_h[-1]), "every step starts from h0: carry h from step to step, as c"
    agree(y, want, "y", causes)
    shifts = {"hs": {"h_0 is missing": hs[1:], "h_T is missing": hs[:-1]},
              "cs": {"c_0 is missing": cs[1:], "c_T is missing": cs[:-1], "these are the states h": hs}}  # fmt: skip
    for name, found, wanted in zip(("hs", "cs", "gates"), saved, (hs, cs, gates), strict=True):
        agree(found, wanted, f"saved: {name}", shifts.get(name))


@pytest.mark.hole("lstm", kind="shape")
def test_lstm_shapes(lesson, rng):
    for t, n, d, h in [(0, 2, 3, 2), (1, 1, 1, 1), (5, 4, 4, 4), (3, 1, 2, 6)]:
        args = [a.astype(np.float32) for a in draw_lstm(rng, T=t, N=n, D=d, H=h)]
        y, saved = run_lstm(lesson, args)
        what = f"of {t} steps, {n} sequences"
        agree(y, lstm_y(*args), f"y {what}", rtol=1e-4)
        for name, found, want in zip(("hs", "cs", "gates"), saved, lstm_states(*args), strict=True):
            agree(found, want, f"saved: {name} {what}", rtol=1e-4)
        for name, one in zip(("y", "hs", "cs", "gates"), (y, *saved), strict=True):
            assert isinstance(one, np.ndarray), f"{name} is a {type(one).__name__}, expected an array"
            assert one.dtype == np.float32, f"float32 came in, {name} is {one.dtype} (np.zeros makes float64)"
            assert one is y or not np.shares_memory(one, y), (
                f"saved: {name} and y share memory: a caller may write to y, and the backward pass would go wrong"
            )
        for name, one in zip(LSTM_NAMES, args, strict=True):
            assert not np.shares_memory(one, y), f"y is a view of {name}: make an array of its own"


@pytest.mark.hole("lstm", kind="gradient")
def test_lstm_is_the_engine_s(lesson, rng):
    """As an operation: the same values and gradients as minigen.ops.lstm, of a Tensor through eight steps."""
    arrays, seed = draw_lstm(rng), rng.standard_normal((T + 2, N, H))
    mine, theirs = [leaf(a) for a in arrays], [leaf(a) for a in arrays]
    with told(
        "lstm of Tensors", "the rule calls lstm_backward(g, *saved, x, W_x, W_h): saved is (hs, cs, gates)"
    ):
        y = lesson.lstm(*mine)
        is_tensor(y, "lstm of Tensors")
        got = grad(y, mine, seed=seed)
    want = ops.lstm(*theirs)
    agree(y, want.numpy(), "y, compared with minigen.ops.lstm,")
    what = "lstm as an operation"
    compare_all(got, lstm_oracle(seed, arrays), LSTM_NAMES, what)
    compare_all(got, grad(want, theirs, seed=seed), LSTM_NAMES, "compared with minigen.ops.lstm")


@pytest.mark.hole("lstm", kind="invariant")
def test_lstm_in_two_parts(lesson, rng):
    """Stopped anywhere and gone on from there, it is the whole."""
    x, h0, c0, *weights = draw_lstm(rng)
    whole, _ = run_lstm(lesson, (x, h0, c0, *weights))
    for cut in (0, 1, 5, T):
        first, _ = run_lstm(lesson, (x[:cut], h0, c0, *weights))
        second, _ = run_lstm(lesson, (x[cut:], first[-2], first[-1], *weights))
        what = f"y, in two parts of {cut} and {T - cut} steps with the state carried over,"
        agree(np.concatenate([first[:-2], second]), whole, what)


@pytest.mark.hole("lstm", kind="invariant")
def test_lstm_memory(lesson, rng):
    """784 steps, as many as an image has pixels: a few arrays of the size of its gates."""
    args = [a.astype(np.float32) for a in draw_lstm(rng, T=784, N=4, D=1, H=16)]
    used, gates = peak_of(lambda: run_lstm(lesson, args)), 784 * 4 * 64 * 4
    assert used < 5 * gates, (
        f"784 steps took {used / 1e6:.1f} MB; the gates take {gates / 1e6:.1f} MB, and all that is saved 1.5 times that"
    )


# A training run of the engine with the learner's part in it


def small_run(seed, make, steps=6):
    """The losses of a few steps on a small sequence task, by nn.LSTM and nn.LSTMCell."""
    rng = np.random.default_rng(seed)
    layer, cell, head = make(rng)
    params = [*layer.parameters(), *cell.parameters(), *head.parameters()]
    optimizer, losses = optim.Adam(params, lr=0.05), []
    for _ in range(steps):
        x = rng.standard_normal((5, 6, 3)).astype(np.float32)
        hs, state = layer(x)
        h, c = cell(hs[-1], state)
        loss = nn.squared_error(head(h + c), x.sum(axis=0))
        grads = grad(loss, params)
        optim.clip_grad_norm(grads, 0.5)
        optimizer.step(grads)
        losses.append(loss.item())
    return np.array(losses)


def network(rng):
    return nn.LSTM(3, 4, learn_initial=True, rng=rng), nn.LSTMCell(4, 4, rng=rng), nn.Dense(4, 3, rng=rng)


def check_plugged(target, function, rng, name):
    """The engine trains with the learner's part in it as with its own."""
    seed = int(rng.integers(2**31))
    want = small_run(seed, network)
    with told(f"nn.LSTM with your {name} in it", "it must do all that the docstring says"):
        with plug({target: function}):
            got = small_run(seed, network)
        agree(got, want, f"the training loss of nn.LSTM with your {name} in it", rtol=1e-3)


@pytest.mark.hole("lstm", kind="step")
def test_lstm_in_the_engine(lesson, rng):
    check_plugged("minigen.ops:lstm", lesson.lstm, rng, "lstm")


# lstm_backward


def lstm_back(lesson, *args):
    names = ("g", "hs", "cs", "gates", "x", "W_x", "W_h")
    hint = "g is (T + 2, N, h): g[t] belongs to h_t, g[T + 1] to c_T; T may be 0"
    with told("lstm_backward", hint), untouched("lstm_backward", **dict(zip(names, args, strict=True))):
        got = lesson.lstm_backward(*args)
    return tuple_of(got, 6, "the gradients of x, h0, c0, W_x, W_h, b", "lstm_backward")


@pytest.mark.hole("lstm_backward", kind="gradient")
def test_lstm_backward_through_eight_steps(lesson, rng):
    arrays = x, _, _, W_x, W_h, _ = draw_lstm(rng)
    g, saved = rng.standard_normal((T + 2, N, H)), lstm_states(*arrays)
    args = (g, *saved, x, W_x, W_h)
    last = np.concatenate([0 * g[:-2], g[-2:]])
    faults = {
        "only the last step gets a gradient: carry dh and dc back from step to step": lstm_by_hand(
            last, *args[1:], carry_h=False, carry_c=False
        ),
        "dc is not carried: lstm_step_backward gives the dc of the step before, hand it on": lstm_by_hand(
            *args, carry_c=False
        ),
        "dh is not carried: dh_{t-1} = g_{t-1} + da_t W_h^T, you have g_{t-1} alone": lstm_by_hand(
            *args, carry_h=False
        ),
        "neither dh nor dc is carried from step to step": lstm_by_hand(*args, carry_h=False, carry_c=False),
        "the loss may look at every h_t: g[t] is added at each step, not only at the last": lstm_by_hand(
            *args, direct=False
        ),
        "h_0 is looked at directly too: its gradient needs g[0]": lstm_by_hand(*args, start=False),
        "dc starts from the gradient of c_T, which is g[-1]; you start from 0": lstm_by_hand(
            *args, c_end=False
        ),
        "dh starts from the gradient of h_T, which is g[-2], and dc from that of c_T, g[-1]: they are swapped": (
            lstm_by_hand(np.concatenate([g[:-2], g[:-3:-1]]), *args[1:])
        ),
        "dh starts from the gradient of h_T, which is g[-2]; you start from 0": lstm_by_hand(
            np.concatenate([g[:-2], 0 * g[-2:-1], g[-1:]]), *args[1:]
        ),
    }
    compare_all(lstm_back(lesson, *args), lstm_oracle(g, arrays), LSTM_NAMES, "lstm_backward", faults)


@pytest.mark.hole("lstm_backward", kind="value")
def test_lstm_backward_of_one_output_only(lesson, rng):
    arrays = x, _, _, W_x, W_h, _ = draw_lstm(rng)
    saved = lstm_states(*arrays)
    for at in (0, 1, T // 2, T, T + 1):
        g = np.zeros((T + 2, N, H))
        g[at] = rng.standard_normal((N, H))
        name = f"h_{at}" if at <= T else "c_T"
        got = lstm_back(lesson, g, *saved, x, W_x, W_h)
        gx = numbers(got[0], "the gradient of x")
        if gx.shape == x.shape and at <= T:
            assert not gx[at:].any(), (
                f"the loss looks at h_{at} only, yet inputs after step {at} get a gradient"
            )
        what = f"lstm_backward, a loss that looks at {name} only"
        compare_all(got, lstm_oracle(g, arrays), LSTM_NAMES, what)


@pytest.mark.hole("lstm_backward", kind="shape")
def test_lstm_backward_short(lesson, rng):
    for steps, n in [(0, 2), (1, 1), (2, 1)]:
        arrays = x, _, _, W_x, W_h, _ = draw_lstm(rng, T=steps, N=n)
        saved, g = lstm_states(*arrays), rng.standard_normal((steps + 2, n, H))
        got = lstm_back(lesson, g, *saved, x, W_x, W_h)
        compare_all(got, lstm_oracle(g, arrays), LSTM_NAMES, f"lstm_backward of {steps} steps")
    small = [a.astype(np.float32) for a in (g, *saved, x, W_x, W_h)]
    for name, one in zip(LSTM_NAMES, lstm_back(lesson, *small), strict=True):
        assert one.dtype == np.float32, f"float32 came in, the gradient of {name} is {one.dtype}"


@pytest.mark.hole("lstm_backward", kind="invariant")
def test_lstm_backward_memory(lesson, rng):
    """784 steps, as many as an image has pixels."""
    args = [a.astype(np.float32) for a in draw_lstm(rng, T=784, N=2, D=1, H=32)]
    x, _, _, W_x, W_h, _ = args
    saved = [a.astype(np.float32) for a in lstm_states(*args)]
    g = rng.standard_normal((786, 2, 32), np.float32)
    used, gates = peak_of(lambda: lesson.lstm_backward(g, *saved, x, W_x, W_h)), saved[2].nbytes
    assert used < 8 * gates, (
        f"784 steps took {used / 1e6:.1f} MB, the gates take {gates / 1e6:.1f} MB: is a gradient of the weights kept "
        "for every step? Add them up"
    )


@pytest.mark.hole("lstm_backward", kind="step", seconds=60)
def test_lstm_backward_learns_to_add(lesson, rng):
    """Training through nn.LSTM with this backward pass in it gives what the engine's own gives."""
    check_plugged("minigen.ops:lstm", lesson.lstm, rng, "lstm_backward")
    final = learn_to_recall(lesson, rng)
    assert final < 0.35, (
        f"an LSTM trained by your lstm_backward to repeat the first of ten bits ends at {final:.2f} nats; expected "
        "below 0.35 (guessing: 0.69)"
    )


def learn_to_recall(lesson, rng, steps=200):
    """Ten bits; at the end the first is asked for: nothing but the carried state can know it. Nats per bit."""
    layer, head = lesson.LSTM(1, 10, rng=rng), nn.Dense(10, 1, rng=rng)
    params = [*layer.parameters(), *head.parameters()]
    optimizer = optim.Adam(params, lr=0.02)
    last = []
    for _ in range(steps):
        x = rng.choice([-1.0, 1.0], (10, 32, 1)).astype(np.float32)
        loss = nn.bce_with_logits(head(layer(x)[0][-1]), (x[0] + 1) / 2)
        optimizer.step(grad(loss, params))
        last.append(loss.item())
    return float(np.mean(last[-10:]))


# LSTM.__init__


def build(lesson, *sizes, **settings):
    with told("LSTM.__init__", "n_in and n_hidden are numbers, rng a numpy Generator, learn_initial a bool"):
        return lesson.LSTM(*sizes, **settings)


@pytest.mark.hole("LSTM.__init__", kind="shape")
def test_init_parameters(lesson, rng):
    for d, h in [(3, 5), (1, 2), (4, 4)]:
        for learn in (False, True):
            layer = build(lesson, d, h, learn_initial=learn, rng=rng)
            shapes = {"W_x": (d, 4 * h), "W_h": (h, 4 * h), "b": (4 * h,)}
            shapes |= {"h0": (h,), "c0": (h,)} if learn else {}
            for name, shape in shapes.items():
                p = getattr(layer, name, None)
                assert isinstance(p, Tensor), f"{name} is a {type(p).__name__}, expected a Tensor"
                assert p.shape == shape, f"{name} has shape {p.shape}, expected {shape}"
                assert p.dtype == np.float32, f"{name} has dtype {p.dtype}, expected float32"
                assert p.requires_grad, f"{name} does not require gradients: it would never be trained"
            if not learn:
                found = [name for name in ("h0", "c0") if getattr(layer, name, 0) is not None]
                assert not found, f"without learn_initial, {' and '.join(found)} must be None"
            count = sum(p.size for _, p in layer.named_parameters() if p.ndim > 1 or p.size == 4 * h)
            wanted = 4 * h * (d + h + 1)
            assert count == wanted, (
                f"LSTM({d}, {h}) has {count} weights and biases, expected 4h (d + h + 1) = {wanted}: one bias, not one "
                "for each product"
            )
            total = sum(p.size for p in layer.parameters())
            wanted += 2 * h * learn
            assert total == wanted, (
                f"LSTM({d}, {h}, learn_initial={learn}) has {total} parameters, expected {wanted}"
            )


@pytest.mark.hole("LSTM.__init__", kind="value")
def test_init_bias(lesson, rng):
    h = 5
    layer = build(lesson, 3, h, learn_initial=True, rng=rng)
    b = np.split(layer.b.numpy(), 4)
    if np.all(layer.b.numpy() == 0):
        raise AssertionError(
            "the forget gate's bias is 0: the gate then starts half shut, and 20 steps leave a millionth of the "
            "cell; start it at 1"
        )
    assert not np.all(layer.b.numpy() == 1), (
        "all biases are 1, expected 1 for the forget gate and 0 for the others"
    )
    for k, name in enumerate("ifgo"):
        want = float(name == "f")
        assert np.all(b[k] == want), (
            f"the bias of gate {name} (columns {k * h} to {(k + 1) * h - 1}) is {b[k][0]:.3g}, expected {want:g}: "
            "the order is i, f, g, o, and only the forget gate's is 1"
        )
    for name in ("h0", "c0"):
        assert not getattr(layer, name).numpy().any(), f"{name} does not start at zero"


@pytest.mark.hole("LSTM.__init__", kind="value")
def test_init_weights(lesson, rng):
    d, h = 30, 40
    layer = build(lesson, d, h, rng=rng)
    W_x, W_h = (np.split(W.numpy().astype(float), 4, axis=1) for W in (layer.W_x, layer.W_h))
    whole, a = np.sqrt(6 / (d + 4 * h)), np.sqrt(6 / (d + h))
    for k, name in enumerate("ifgo"):
        assert W_x[k].any(), f"W_x of gate {name} is zero: all units would get the same gradients"
        top, spread = np.abs(W_x[k]).max(), W_x[k].std()
        assert not (0.97 * whole < top <= whole * 1.0001), (
            f"W_x of gate {name} goes up to {top:.3f}, as if all gates were one block of {4 * h} columns; draw each "
            f"gate's block by itself, xavier_uniform(({d}, {h})), up to {a:.3f}"
        )
        assert 0.97 * a < top <= a * 1.0001 and abs(spread * np.sqrt(3) / a - 1) < 0.1, (  # noqa: PT018
            f"W_x of gate {name} goes up to {top:.3f} with standard deviation {spread:.3f}; xavier_uniform of shape "
            f"({d}, {h}) goes up to {a:.3f}, with {a / np.sqrt(3):.3f}"
        )
        off = np.abs(W_h[k].T @ W_h[k] - np.eye(h)).max()
        assert off < 1e-4, (
            f"W_h of gate {name} is not orthogonal (W^T W is off by {off:.2g}): draw each gate's ({h}, {h}) block by "
            "itself with minigen.nn.init.orthogonal"
        )
    for name, blocks in (("W_x", W_x), ("W_h", W_h)):
        for i, j in itertools.combinations(range(4), 2):
            assert abs(np.corrcoef(blocks[i].ravel(), blocks[j].ravel())[0, 1]) < 0.5, (
                f"{name} has the same numbers for the gates {'ifgo'[i]} and {'ifgo'[j]}: draw four blocks"
            )


@pytest.mark.hole("LSTM.__init__", kind="invariant")
def test_init_draws_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    first, again, second = (build(lesson, 4, 3, rng=r) for r in (one, other, one))
    for name in ("W_x", "W_h"):
        a, b, c = (getattr(layer, name).numpy() for layer in (first, again, second))
        assert np.array_equal(a, b), f"{name}: the same seed gave different weights: draw from `rng` alone"
        assert not np.array_equal(a, c), (
            f"{name}: two layers from one rng are equal: draw from the rng that is given"
        )
    assert first.b is not second.b, "two layers share one bias: make a new Tensor for each layer"
    learned = build(lesson, 4, 3, learn_initial=True, rng=rng)
    assert not np.shares_memory(learned.h0.data, learned.c0.data), (
        "h0 and c0 share one array: a step of the optimiser on one would move the other"
    )


@pytest.mark.hole("LSTM.__init__", kind="gradient")
def test_init_receives_gradients(lesson, rng):
    layer = build(lesson, 3, 4, learn_initial=True, rng=rng)
    hs, _ = layer(rng.standard_normal((5, 2, 3)).astype(np.float32))
    hs.sum().backward()
    for name in ("W_x", "W_h", "b", "h0", "c0"):
        assert getattr(layer, name).grad is not None, (
            f"no gradient arrives at {name}: it is no leaf of the graph"
        )


@pytest.mark.hole("LSTM.__init__", kind="step")
def test_init_in_the_engine(lesson, rng):
    """nn.LSTM with this __init__ in it: same parameters, and it learns."""
    mine = {"minigen.nn:LSTM.__init__": vars(lesson.LSTM)["__init__"]}
    with told("nn.LSTM with your __init__ in it", "it must do all that the docstring says"), plug(mine):
        losses = small_run(int(rng.integers(2**31)), network, steps=60)
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5]), (
        f"nn.LSTM with your __init__ in it does not learn: its loss goes from {losses[:5].mean():.2f} to "
        f"{losses[-5:].mean():.2f} in 60 steps"
    )


# LSTM.__call__


def layer_of(lesson, rng, d=D, h=H, learn=False):
    """A layer in float64, with biases that are not zero"""
    return double(lesson.LSTM(d, h, learn_initial=learn, rng=rng), rng, 0.8)


def weights_of(layer):
    return [p.numpy() for p in (layer.W_x, layer.W_h, layer.b)]


def call(layer, x, state=None):
    with told("LSTM(...)", "x is (T, N, n_in), y = lstm(x, h0, c0, W_x, W_h, b) is (T + 2, N, h)"):
        got = layer(x) if state is None else layer(x, state)
    hs, last = tuple_of(got, 2, "hs and the state (h, c)", "the layer")
    return hs, *tuple_of(last, 2, "h and c", "the layer's state")


@pytest.mark.hole("LSTM.__call__", kind="value")
def test_call_value(lesson, rng):
    for t, n, d, h in [(T, N, D, H), (1, 1, 3, 2), (0, 2, 3, 2), (4, 4, 4, 4)]:
        layer, x, zero = layer_of(lesson, rng, d, h), rng.standard_normal((t, n, d)), np.zeros((n, h))
        given = rng.standard_normal((n, h)), rng.standard_normal((n, h))
        for state in (None, given, tuple(map(leaf, given)), list(given)):
            start = (zero, zero) if state is None else given
            hs, cs, _ = lstm_states(x, *start, *weights_of(layer))
            got = call(layer, x, state)
            what = f"of {t} steps from {'None' if state is None else 'a given state'}"
            restarted = lstm_states(x, zero, zero, *weights_of(layer))[0]
            swapped = lstm_states(x, *start[::-1], *weights_of(layer))[0]
            causes = {
                "h_0 is among them: expected h_1, ..., h_T": hs,
                "h_0 is among them and h_T is not: expected h_1, ..., h_T": hs[:-1],
                "h_0 and c_T are among them: expected h_1, ..., h_T": np.concatenate([hs, cs[-1:]]),
                "c_T is among them: expected h_1, ..., h_T": np.concatenate([hs[1:], cs[-1:]]),
                "only the last state is there: expected h_1, ..., h_T": hs[-1],
                "the state that was given is ignored": restarted[1:],
                "h and c of the state that was given are swapped": swapped[1:],
            }
            agree(got[0], hs[1:], f"hs {what}", causes)
            causes = {"it is c: the state is (h, c)": cs[-1], "it is h_0": hs[0]}
            agree(got[1], hs[-1], f"h {what}", causes)
            causes = {"it is h: the state is (h, c)": hs[-1], "it is c_0": cs[0]}
            agree(got[2], cs[-1], f"c {what}", causes)


@pytest.mark.hole("LSTM.__call__", kind="invariant")
def test_call_keeps_no_state(lesson, rng):
    """A new sequence starts anew, unless a state is given."""
    layer, x = layer_of(lesson, rng), rng.standard_normal((T, N, D))
    before = set(vars(layer))
    first = call(layer, x)[0].numpy()
    call(layer, rng.standard_normal((3, N, D)))
    again = call(layer, x)[0].numpy()
    assert same(again, first), (
        "the same sequence gives something else the second time: the state of the sequence before leaks into the next. "
        "With state=None start from zeros (or what was learned), and keep nothing on self"
    )
    one, two = call(layer, x[:, :1])[0], call(layer, x[:, 1:])[0]
    both = np.concatenate([one.numpy(), two.numpy()], axis=1)
    agree(both, first, "hs of the sequences of a batch one by one (they may not meet)")
    left = [
        name
        for name in set(vars(layer)) - before
        if isinstance(vars(layer)[name], Tensor | tuple | np.ndarray)
    ]
    assert not left, (
        f"the call leaves {', '.join(left)} on the layer: it would be taken for a part of the model"
    )


@pytest.mark.hole("LSTM.__call__", kind="invariant")
def test_call_in_pieces(lesson, rng):
    """With the state carried over, the pieces are the whole, in value and in every gradient."""
    layer, x = layer_of(lesson, rng), leaf(rng.standard_normal((T, N, D)))
    seed = rng.standard_normal((T, N, H))
    leaves = [x, *layer.parameters()]
    whole = call(layer, x)[0]
    state, total, found = None, 0.0, []
    for a, z in [(0, 3), (3, 4), (4, T)]:
        hs, *state = call(layer, x[a:z], state)
        found.append(hs.numpy())
        total = total + (hs * seed[a:z]).sum()
    agree(
        np.concatenate(found),
        whole.numpy(),
        "hs in three pieces with the state carried over, compared with the whole,",
    )
    wanted = grad((whole * seed).sum(), leaves)
    got = grad(total, leaves, allow_unused=True)
    names = ("x", "W_x", "W_h", "b")
    for name, g in zip(names, got, strict=True):
        assert g is not None, f"no gradient arrives at {name}: the graph is cut"
    causes = {
        "the state that is returned is cut from the graph (.detach(), .data?): whoever wants to cut it will do so": (
            pieces_cut(layer, x.numpy(), seed)
        )
    }
    compare_all(got, wanted, names, "three pieces with the state carried over", causes)


def pieces_cut(layer, x, seed):
    """The gradients of x, W_x, W_h, b if nothing flows back from piece to piece"""
    zero, totals, gx = np.zeros((N, H)), [0, 0, 0], []
    h, c, weights = zero, zero, weights_of(layer)
    for a, z in [(0, 3), (3, 4), (4, T)]:
        hs, cs, gates = lstm_states(x[a:z], h, c, *weights)
        g = np.concatenate([zero[None], seed[a:z], zero[None]])
        one, _, _, *rest = lstm_by_hand(g, hs, cs, gates, x[a:z], *weights[:2])
        gx.append(one)
        totals = [s + r for s, r in zip(totals, rest, strict=True)]
        h, c = hs[-1], cs[-1]
    return [np.concatenate(gx), *totals]


@pytest.mark.hole("LSTM.__call__", kind="gradient")
def test_call_learned_start(lesson, rng):
    """h0 and c0 start every sequence of the batch, and learn from all of them."""
    layer, x = layer_of(lesson, rng, learn=True), rng.standard_normal((T, N, D))
    params = [layer.W_x, layer.W_h, layer.b, layer.h0, layer.c0]
    arrays = [p.numpy() for p in params]

    def oracle(W_x, W_h, b, h0, c0):
        return lstm_states(x, h0 + np.zeros((N, H)), c0 + np.zeros((N, H)), W_x, W_h, b)[0][1:]

    hs = call(layer, x)[0]
    causes = {"it starts from zeros; expected h0 and c0": oracle(*arrays[:3], 0 * arrays[3], 0 * arrays[4]),
              "h0 and c0 are swapped": oracle(*arrays[:3], arrays[4], arrays[3])}  # fmt: skip
    agree(hs, oracle(*arrays), "hs from a learned state", causes)
    seed = rng.standard_normal((T, N, H))
    got = grad(hs, params, seed=seed, allow_unused=True)
    names = ("W_x", "W_h", "b", "h0", "c0")
    for name, g in zip(names, got, strict=True):
        assert g is not None, f"no gradient arrives at {name}: it could not be learned (.data, .numpy()?)"
    compare_all(got, slopes(oracle, seed, arrays), names, "from a learned state")
    given = rng.standard_normal((N, H)), rng.standard_normal((N, H))
    want = lstm_states(x, *given, *arrays[:3])[0][1:]
    agree(call(layer, x, given)[0], want, "hs from a given state, though there is a learned one,")


@pytest.mark.hole("LSTM.__call__", kind="shape")
def test_call_dtype(lesson, rng):
    layer = lesson.LSTM(D, H, rng=rng)
    x = rng.standard_normal((T, N, D)).astype(np.float32)
    for name, one, shape in zip(("hs", "h", "c"), call(layer, x), [(T, N, H), (N, H), (N, H)], strict=True):
        is_tensor(one, name)
        assert one.shape == shape, f"{name} has shape {one.shape}, expected {shape}"
        assert one.dtype == np.float32, f"{name} is {one.dtype}, expected float32 (np.zeros makes float64)"


@pytest.mark.hole("LSTM.__call__", kind="step")
def test_call_in_the_engine(lesson, rng):
    check_plugged("minigen.nn:LSTM.__call__", vars(lesson.LSTM)["__call__"], rng, "__call__")


# clip_grad_norm


def clip(lesson, grads, max_norm):
    with told("clip_grad_norm", "an entry may be None; each array has a shape of its own"):
        norm = lesson.clip_grad_norm(grads, max_norm)
    assert norm is not None, "clip_grad_norm returned None, expected the norm before clipping"
    return norm


def some_gradients(rng, dtype=np.float64):
    scales = [(0.3, (3, 4)), (5.0, (7,)), (1.0, ()), (2.0, (2, 3, 2))]
    return [np.asarray(rng.standard_normal(shape) * s, dtype) for s, shape in scales]


def joint(grads):
    return np.sqrt(sum((g**2).sum() for g in grads))


@pytest.mark.hole("clip_grad_norm", kind="value")
def test_clip_value(lesson, rng):
    for factor in (0.1, 0.7):
        grads = some_gradients(rng)
        norm = joint(grads)
        limit = factor * norm
        passed, want = list(grads), [g * factor for g in grads]
        found = clip(lesson, passed, limit)
        assert len(passed) == len(grads), (
            f"the list has {len(passed)} entries afterwards, expected {len(grads)}"
        )
        faults = {
            "every array was scaled by its own norm: one factor for all, or the direction changes": [
                g * min(1, limit / np.sqrt((g**2).sum())) for g in grads
            ],
            "every array was scaled to the norm by itself: one factor for all, or the direction changes": [
                g * limit / np.sqrt((g**2).sum()) for g in grads
            ],
            "every element was clipped by itself: scale all by one factor, or the direction changes": [
                np.clip(g, -limit, limit) for g in grads
            ],
            "the factor is max_norm / norm^2: a square root is missing": [g * limit / norm**2 for g in grads],
            "the norm is the largest element, expected the root of the sum of squares": [
                g * min(1, limit / max(np.abs(g).max() for g in grads)) for g in grads
            ],
            "the norm is the sum of the absolute values, expected the root of the sum of squares": [
                g * min(1, limit / sum(np.abs(g).sum() for g in grads)) for g in grads
            ],
            "the arrays' norms were added up: the joint norm is the root of the sum of ALL squares": [
                g * limit / sum(np.sqrt((g**2).sum()) for g in grads) for g in grads
            ],
            "the norm is that of the largest array: the joint norm is over all arrays": [
                g * limit / max(np.sqrt((g**2).sum()) for g in grads) for g in grads
            ],
            "they were divided by the norm, expected max_norm / norm times each": [g / norm for g in grads],
            "they are unchanged: replace the entries of the list that was given (grads[:] = ...)": grads,
        }
        compare_all(passed, want, [f"array {k}" for k in range(4)], "clip_grad_norm", faults)
        causes = {"it is the norm after clipping; expected the one before": np.asarray(limit),
                  "it is the square of the norm": np.asarray(norm**2)}  # fmt: skip
        agree(found, np.asarray(norm), "the norm that clip_grad_norm returns", causes)


@pytest.mark.hole("clip_grad_norm", kind="invariant")
def test_clip_leaves_small_ones(lesson, rng):
    for factor in (1.5, 100.0):
        grads = some_gradients(rng)
        passed, norm = list(grads), joint(grads)
        found = clip(lesson, passed, factor * norm)
        for k, (got, want) in enumerate(zip(passed, grads, strict=True)):
            assert np.array_equal(got, want), (
                f"the norm {norm:.3g} is below max_norm {factor * norm:.3g}, yet array {k} changed: only what is too "
                "large is scaled"
            )
        agree(found, np.asarray(norm), "the norm that clip_grad_norm returns, below max_norm,")
    zeros = [np.zeros(3), np.zeros((2, 2))]
    assert clip(lesson, zeros, 1.0) == 0, "the norm of zeros is 0"
    assert not any(g.any() for g in zeros), "zeros became something else (0 / 0?)"
    assert clip(lesson, [], 1.0) == 0, "the norm of no arrays is 0"


@pytest.mark.hole("clip_grad_norm", kind="invariant")
def test_clip_writes_to_no_array(lesson, rng):
    shared = some_gradients(rng)
    grads = [*shared, None, shared[0]]  # two parameters may share one gradient
    before, norm = [g.copy() for g in shared], joint([*shared, shared[0]])
    clip(lesson, grads, 0.5 * norm)
    for k, (now, old) in enumerate(zip(shared, before, strict=True)):
        assert np.array_equal(now, old), (
            f"array {k} was written to: gradients may share memory (here two entries do); put new arrays into the list"
        )
    assert grads[4] is None, "an entry that was None must stay None"
    for k, wanted in zip((0, 1, 2, 3, 5), [*before, before[0]], strict=True):
        agree(grads[k], 0.5 * wanted, f"array {k} of a list with None and a shared array")


@pytest.mark.hole("clip_grad_norm", kind="shape")
def test_clip_keeps_dtype(lesson, rng):
    grads = some_gradients(rng, np.float32)
    shapes = [g.shape for g in grads]
    clip(lesson, grads, 0.1)
    for g, shape in zip(grads, shapes, strict=True):
        assert g.shape == shape, f"an array of shape {shape} came out with shape {g.shape}"
        assert g.dtype == np.float32, (
            f"float32 gradients came out as {g.dtype}: a NumPy float64 number makes them so; take float(...) of "
            "the factor"
        )


@pytest.mark.hole("clip_grad_norm", kind="gradient")
def test_clip_keeps_the_direction(lesson, rng):
    """One factor for everything: the step goes the same way, only less far."""
    grads = some_gradients(rng)
    passed = list(grads)
    clip(lesson, passed, 1.0)
    one, other = (np.concatenate([np.ravel(g) for g in gs]) for gs in (grads, passed))
    cosine = one @ other / np.sqrt((one @ one) * (other @ other))
    assert cosine > 1 - 1e-9, (
        f"clipping turned the gradient: the cosine of the angle is {cosine:.3f}, expected 1"
    )
    length = np.sqrt(other @ other)
    assert abs(length - 1) < 1e-6, f"clipped to max_norm 1, the joint norm is {length:.4g}"


@pytest.mark.hole("clip_grad_norm", kind="invariant")
def test_clip_of_what_is_not_finite(lesson, rng):
    for bad in (np.nan, np.inf):
        grads = some_gradients(rng)
        grads[1][2] = bad
        passed = list(grads)
        norm = clip(lesson, passed, 1.0)
        assert not np.isfinite(norm), f"with {bad} among the gradients the norm is {norm:.3g}, expected {bad}"
        for got, want in zip(passed, grads, strict=True):
            assert np.array_equal(got, want, equal_nan=True), (
                f"with {bad} among the gradients others were changed; leave them: the optimiser then says whose it is"
            )


@pytest.mark.hole("clip_grad_norm", kind="step")
def test_clip_in_the_engine(lesson, rng):
    check_plugged("minigen.optim:clip_grad_norm", lesson.clip_grad_norm, rng, "clip_grad_norm")


# truncated_bptt


class Recorder(optim.SGD):
    """An optimiser that writes down what it is given, and the values of the parameters at that time"""

    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.seen = []

    def step(self, grads=None):
        given = [p.grad for p in self.params] if grads is None else list(grads)
        raw = [getattr(g, "_data", g) for g in given]
        self.seen.append([None if g is None else g.copy() for g in raw])
        super().step(grads)


def reader(lesson, rng, kind="LSTM", learn=False):
    """A Reader in float64"""
    settings = {"learn_initial": True} if learn else {}
    model = lesson.Reader(getattr(lesson, kind)(D, H, rng=rng, **settings), H, 2, rng=rng)
    return double(model, rng, 0.7)


def square(y, target):
    assert y.shape == target.shape, (
        f"the loss got y {y.shape} and a target {target.shape}: both are of one piece"
    )
    return ops.mean(ops.square(y - target))


def truncated(lesson, model, optimizer, x, target, length, max_norm=1e9, loss=square):
    hint = (
        "is the state of the piece before detached? its graph is used up by then. A learned initial state gets no "
        "gradient from the second piece on: grad(..., allow_unused=True)"
    )
    with told("truncated_bptt", hint):
        losses = lesson.truncated_bptt(model, optimizer, x, target, loss, length=length, max_norm=max_norm)
    assert losses is not None, "truncated_bptt returned None, expected the list of the pieces' losses"
    return losses


def pieces(n, length):
    return [(t, min(t + length, n)) for t in range(0, n, length)]


def reference_pieces(model, x, target, cuts, carry=True, cut=True):
    """-> losses, gradients for each piece, without moving a parameter"""
    state, losses, found, params = None, [], [], model.parameters()
    for a, z in cuts:
        y, state = model(x[a:z], (nn.detach(state) if cut else state) if carry else None)
        value = square(y, target[a:z])
        losses.append(value.item())
        found.append(grad(value, params, allow_unused=True, retain_graph=True))
    return np.array(losses), found


@pytest.mark.hole("truncated_bptt", kind="value")
def test_truncated_losses(lesson, rng):
    """With a learning rate of 0: the state is carried, every step is read once."""
    for kind, n, length in [("LSTM", 10, 4), ("RNN", 6, 3), ("LSTM", 5, 8), ("LSTM", 3, 1)]:
        model, x, target = (
            reader(lesson, rng, kind),
            rng.standard_normal((n, N, D)),
            rng.standard_normal((n, N, 2)),
        )
        optimizer = Recorder(model.parameters(), lr=1.0)
        optimizer.lr = 0.0
        got = truncated(lesson, model, optimizer, x, target, length)
        assert isinstance(got, list | tuple | np.ndarray), (
            f"the losses are a {type(got).__name__}, expected a list"
        )
        assert not any(isinstance(one, Tensor) for one in got), (
            "the losses are Tensors: each keeps its whole graph alive; append loss.item()"
        )
        cuts = pieces(n, length)
        assert len(got) == len(cuts), (
            f"{n} steps in pieces of {length} gave {len(got)} losses, expected {len(cuts)}: one each, the last "
            "one for what is left over"
        )
        want, _ = reference_pieces(model, x, target, cuts)
        causes = {
            "every piece starts anew: hand the state on from piece to piece": reference_pieces(
                model, x, target, cuts, carry=False
            )[0],
            "they are added up: expected the loss of each piece": np.cumsum(want),
        }
        agree(np.array(got, float), want, f"the losses ({kind}, {n} steps in pieces of {length})", causes)
        again = truncated(lesson, model, optimizer, x, target, length)
        agree(
            np.array(again, float),
            want,
            "the losses of the next sequence (the state must be reset: it starts at None)",
        )
        assert len(optimizer.seen) == 2 * len(cuts), (
            f"{len(cuts)} pieces made {len(optimizer.seen) // 2} steps of the optimiser, expected one for each piece"
        )


@pytest.mark.hole("truncated_bptt", kind="gradient")
def test_truncated_gradients(lesson, rng):
    """Each step gets the gradient of its piece alone, with the carried state as a constant."""
    n, length = 9, 3
    model, x, target = reader(lesson, rng), rng.standard_normal((n, N, D)), rng.standard_normal((n, N, 2))
    optimizer = Recorder(model.parameters(), lr=1.0)
    optimizer.lr = 0.0
    truncated(lesson, model, optimizer, x, target, length)
    cuts, names = pieces(n, length), [name for name, _ in model.named_parameters()]
    _, want = reference_pieces(model, x, target, cuts)
    _, whole = reference_pieces(model, x, target, cuts, cut=False)
    _, fresh = reference_pieces(model, x, target, cuts, carry=False)
    assert len(optimizer.seen) == len(cuts), (
        f"{len(optimizer.seen)} steps, expected one for each of {len(cuts)} pieces"
    )
    total = [0.0 for _ in names]
    for k, (got, right) in enumerate(zip(optimizer.seen, want, strict=True)):
        total = [s + g for s, g in zip(total, right, strict=True)]
        missing = [name for name, g in zip(names, got, strict=True) if g is None]
        assert not missing, f"piece {k + 1}: no gradient for {', '.join(missing)}"
        faults = {
            "it reaches back into the pieces before: cut the state with minigen.nn.detach": whole[k],
            "the state is not handed on from the piece before": fresh[k],
            "the gradients of the pieces before are still in it: clear .grad, or use grad(...)": total,
        }
        compare_all(got, right, names, f"the gradient of piece {k + 1}", {} if k == 0 else faults)


@pytest.mark.hole("truncated_bptt", kind="invariant")
def test_truncated_clips(lesson, rng):
    n, length, limit = 9, 3, 0.05
    model, x, target = reader(lesson, rng), rng.standard_normal((n, N, D)), rng.standard_normal((n, N, 2))
    optimizer = Recorder(model.parameters(), lr=1.0)
    optimizer.lr = 0.0
    truncated(lesson, model, optimizer, x, target, length, limit)
    _, want = reference_pieces(model, x, target, pieces(n, length))
    names = [name for name, _ in model.named_parameters()]
    for k, (got, right) in enumerate(zip(optimizer.seen, want, strict=True)):
        norm = joint(right)
        faults = {
            f"it is not clipped: its norm is {norm:.3g}, max_norm {limit}": right,
            "every array was clipped by itself": [g * min(1, limit / np.sqrt((g**2).sum())) for g in right],
        }
        clipped = [g * min(1, limit / norm) for g in right]
        compare_all(got, clipped, names, f"the gradient of piece {k + 1}", faults)


@pytest.mark.hole("truncated_bptt", kind="invariant")
def test_truncated_with_a_learned_start(lesson, rng):
    """h0 and c0 have a part in the first piece only. Parameters the optimiser does not have stay."""
    n, length = 6, 2
    model, x, target = (
        reader(lesson, rng, learn=True),
        rng.standard_normal((n, N, D)),
        rng.standard_normal((n, N, 2)),
    )
    optimizer = Recorder([*model.layer.parameters()], lr=0.1)
    head = model.head.W.numpy()
    truncated(lesson, model, optimizer, x, target, length)
    names = [name for name, _ in model.layer.named_parameters()]
    for k, step in enumerate(optimizer.seen):
        for name, g in zip(names, step, strict=True):
            starts = name in ("h0", "c0")
            assert g is not None or (starts and k), f"piece {k + 1}: no gradient for {name}"
            assert not (starts and k and g is not None and g.any()), (
                f"piece {k + 1}: {name} gets a gradient, though only the first piece starts from it: was the state "
                "detached and handed on?"
            )
    assert np.array_equal(head, model.head.W.numpy()), "a parameter that is not among optimizer.params moved"


@pytest.mark.hole("truncated_bptt", kind="shape")
def test_truncated_memory(lesson, rng):
    """784 steps take the memory of a piece."""
    model = lesson.Reader(lesson.LSTM(1, 16, rng=rng), 16, 1, rng=rng)
    x = rng.standard_normal((784, 8, 1)).astype(np.float32)
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    truncated(lesson, model, optimizer, x[:56], x[:56], 28)  # what is made once is made now
    long = peak_of(lambda: truncated(lesson, model, optimizer, x, x, 28))
    short = peak_of(lambda: truncated(lesson, model, optimizer, x[:56], x[:56], 28))
    assert long < 2.5 * short, (
        f"784 steps in pieces of 28 took {long / 1e6:.2f} MB, 56 steps {short / 1e6:.2f} MB: memory must not grow with "
        "the sequence. Is the state detached, and are the losses numbers (.item())?"
    )


@pytest.mark.hole("truncated_bptt", kind="step", seconds=60)
def test_truncated_learns_an_echo(lesson, rng):
    """Bits, and the same bits two steps later: in pieces of six."""
    model = lesson.Reader(lesson.LSTM(1, 16, rng=rng), 16, 1, rng=rng)
    optimizer = optim.Adam(model.parameters(), lr=0.03)
    before = [p.numpy() for p in model.parameters()]
    for _ in range(30):
        x, target = lesson.echo_problem(32, 60, 2, rng)
        losses = truncated(lesson, model, optimizer, x, target, 6, 1.0, lesson.bits_lost)
    moved = any(not np.array_equal(a, p.numpy()) for a, p in zip(before, model.parameters(), strict=True))
    assert moved, "no parameter moved: is optimizer.step called?"
    final = float(np.mean(losses[1:]))
    assert final < 0.1, (
        f"after 300 pieces an LSTM repeats a bit of 2 steps ago with {final:.3f} nats, expected below 0.1 (guess: 0.69)"
    )


# gradient_by_distance


def measured(lesson, layer, x):
    hint = "hs, state = layer(x) with x a Tensor that requires gradients; hs[-1] is h_T"
    with told("gradient_by_distance", hint), untouched("gradient_by_distance", x=x):
        return lesson.gradient_by_distance(layer, x)


def felt(layer, x, every=False):
    """The gradient of sum(h_T), or of the sum of all states, for x: (T, N, d)"""
    zero, weights = np.zeros((x.shape[1], H)), weights_of(layer)
    g = np.ones((len(x) + 1, *zero.shape)) if every else np.concatenate([[zero] * len(x), zero[None] + 1])
    if layer.W_h.shape[1] == H:
        return rnn_by_hand(g, rnn_states(x, zero, *weights), x, *weights[:2])[0]
    return lstm_oracle(np.concatenate([g, zero[None]]), [x, zero, zero, *weights])[0]


@pytest.mark.hole("gradient_by_distance", kind="value")
def test_distance_value(lesson, rng):
    for kind, n, d in [("LSTM", N, D), ("RNN", N, D), ("LSTM", 1, 1)]:
        layer, x = double(getattr(lesson, kind)(d, H, rng=rng), rng, 0.6), rng.standard_normal((T, n, d))
        g, every = felt(layer, x), felt(layer, x, every=True)
        norms = np.sqrt((g**2).sum(axis=2))  # (T, N)
        want = norms.mean(axis=1)[::-1]
        causes = {
            "it is in the order of time: entry 0 belongs to the last step, distance 0": want[::-1],
            "the squares are not rooted": (g**2).sum(axis=2).mean(axis=1)[::-1],
            "the norm is over the whole batch: one for each sequence, then their mean": np.sqrt(
                (g**2).sum(axis=(1, 2))
            )[::-1],
            "the norms are added up over the sequences: expected their mean": norms.sum(axis=1)[::-1],
            "the gradients are averaged over the batch before the norm: they cancel": np.sqrt(
                (g.mean(axis=1) ** 2).sum(axis=1)
            )[::-1],
            "absolute values are averaged: expected the Euclidean norm over d": np.abs(g).mean(axis=(1, 2))[::-1],
            "absolute values are added: expected the Euclidean norm over d": np.abs(g).sum(axis=2).mean(axis=1)[::-1],
            "the gradient is that of all states: expected that of the last, h_T": np.sqrt((every**2).sum(axis=2)).mean(
                axis=1
            )[::-1],
            "the last state is averaged, expected its sum": want / (n * H),
        }  # fmt: skip
        got = measured(lesson, layer, x)
        assert not isinstance(got, Tensor), "the result is a Tensor, expected an array of T numbers"
        agree(got, want, f"the norms ({kind}, {n} sequences)", causes)


@pytest.mark.hole("gradient_by_distance", kind="shape")
def test_distance_shape(lesson, rng):
    layer = lesson.LSTM(D, H, rng=rng)
    for t in (1, 5):
        got = measured(lesson, layer, rng.standard_normal((t, N, D)).astype(np.float32))
        assert np.shape(got) == (t,), f"for {t} steps the result has shape {np.shape(got)}, expected ({t},)"


@pytest.mark.hole("gradient_by_distance", kind="invariant")
def test_distance_with_the_gates_shut(lesson, rng):
    """Where the forget gate is shut and h has no way back, nothing older than the last step can be felt."""
    layer = lesson.LSTM(D, H, rng=rng)
    layer.W_h.data = np.zeros((H, 4 * H), np.float32)
    layer.b.data = np.repeat(np.array([3.0, -200.0, 0.0, 3.0], np.float32), H)
    layer.W_x.data[:, H : 2 * H] = 0.0
    got = np.asarray(measured(lesson, layer, rng.standard_normal((6, N, D)).astype(np.float32)))
    assert got[0] > 0, f"the last input is not felt at all: {got}"
    assert got[1:].max() < 1e-12, f"with the forget gate shut the past is still felt: {got}"
    layer.b.data = np.repeat(np.array([0.0, 200.0, 0.0, 3.0], np.float32), H)
    far = np.asarray(measured(lesson, layer, rng.standard_normal((60, N, D)).astype(np.float32)))
    assert far[-1] > 1e-3, (
        f"with the forget gate open the input of 59 steps ago must still be felt, found {far[-1]:.2g}"
    )


@pytest.mark.hole("gradient_by_distance", kind="gradient")
def test_distance_leaves_the_layer_alone(lesson, rng):
    layer, x = lesson.LSTM(D, H, rng=rng), rng.standard_normal((5, N, D)).astype(np.float32)
    before = layer.state_dict()
    first, second = measured(lesson, layer, x), measured(lesson, layer, x)
    agree(second, np.asarray(first), "a second measurement")
    assert all(np.array_equal(before[k], v) for k, v in layer.state_dict().items()), (
        "the layer's weights changed"
    )
    assert all(p.requires_grad for p in layer.parameters()), (
        "the layer's parameters no longer require gradients"
    )
    marks = [name for name, p in layer.named_parameters() if p.grad is not None]
    assert not marks, (
        f"the layer's {', '.join(marks)} got a gradient in .grad, and the next step of training would take it: ask "
        "grad(..., x) for that of x alone"
    )
