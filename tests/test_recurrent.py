"""ops.lstm on random geometry, against an LSTM that goes step by step, and its twin; to second order."""

import lstm_steps as steps
import numpy as np
import pytest
from backends import on_a_device
from nn_helpers import close, host, tensor

from minigen import Tensor, grad, ops, workers
from minigen.backend import using
from minigen.errors import ShapeError
from minigen.ops import lstm_kernel

DRAWS = 25


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def sharded(request, monkeypatch):
    """The batch as a whole, or cut for three workers however small it is."""
    monkeypatch.setattr(lstm_kernel, "SHARED_FROM", -1)
    with workers.using(request.param):
        yield


def leaves(arrays):
    return [tensor(a, a.dtype, requires_grad=True) for a in arrays]


def test_the_reference_backward_is_the_derivative_of_its_forward(rng):
    arrays = steps.draw(rng, T=3, N=2)
    seed = rng.standard_normal((5, *arrays[1].shape))
    for name, array, g in zip(steps.NAMES, arrays, steps.backward(seed, *arrays), strict=True):
        for place in np.ndindex(*array.shape):
            unit = [np.zeros(a.shape) for a in arrays]
            unit[steps.NAMES.index(name)][place] = 1
            slope = float((steps.along(steps.forward, arrays, unit) * seed).sum())
            assert g[place] == pytest.approx(slope, rel=1e-10, abs=1e-12), f"{name}{place}"


def test_values_and_gradients_equal_the_steps(rng, sharded):
    for _ in range(DRAWS):
        arrays = steps.draw(rng)
        what, kept = str([a.shape for a in arrays]), [a.copy() for a in arrays]
        expected, xs = steps.forward(*arrays), leaves(arrays)
        seed = rng.standard_normal(expected.shape)
        y = ops.lstm(*xs)
        close(y, expected, 1e-10, 1e-12, what)
        close(ops.lstm(*arrays), expected, 1e-10, 1e-12, what)
        gs = grad(y, xs, seed=seed, retain_graph=True)
        for name, g, e in zip(steps.NAMES, gs, steps.backward(seed, *arrays), strict=True):
            close(g, e, 1e-10, 1e-12, f"{name} of {what}")
        for g, again in zip(gs, grad(y, xs, seed=seed), strict=True):
            close(again, g, rtol=0, what="a second backward pass over the same graph")
        for a, before in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(a, before, "an input was changed")


@pytest.mark.parametrize("wanted", range(6), ids=steps.NAMES)
def test_each_gradient_alone(rng, wanted):
    """Whichever is asked for first makes what the others share."""
    arrays = steps.draw(rng, T=3, N=2)
    xs = [tensor(a, requires_grad=i == wanted) for i, a in enumerate(arrays)]
    seed = rng.standard_normal((5, *arrays[1].shape))
    found = grad(ops.lstm(*xs), xs[wanted], seed=seed)
    close(found, steps.backward(seed, *arrays)[wanted], 1e-10, 1e-12)


def test_second_order_equals_the_steps(rng):
    """The projection of all gradients on a direction, and its own gradient along random directions."""
    for _ in range(DRAWS // 2):
        arrays = steps.draw(rng)
        shape = steps.forward(*arrays).shape
        seed = rng.standard_normal(shape)
        onto, along = ([rng.standard_normal(a.shape) for a in (*arrays, seed)] for _ in range(2))

        def projection(*arrays, onto=onto):
            gs = steps.backward(arrays[-1], *arrays[:-1])
            return sum((g * v).sum() for g, v in zip(gs, onto[:-1], strict=True))

        expected = steps.along(projection, [*arrays, seed], along)
        for f in (ops.lstm, ops.lstm.twin):
            xs = leaves([*arrays, seed])
            gs = grad(f(*xs[:-1]), xs[:-1], seed=xs[-1], create_graph=True, allow_unused=True)
            total = sum(
                ((g * v).sum() for g, v in zip(gs, onto[:-1], strict=True) if g is not None), start=0.0
            )
            second = grad(total, xs, allow_unused=True)
            found = sum(float((g * u).sum()) for g, u in zip(second, along, strict=True) if g is not None)
            size = sum(
                float(np.abs(g * u).sum()) for g, u in zip(second, along, strict=True) if g is not None
            )
            assert abs(found - expected) <= 1e-10 * max(size, 1), f"{[a.shape for a in arrays]}"


def test_the_twin_says_the_same(rng):
    for _ in range(DRAWS):
        arrays = steps.draw(rng)
        xs = leaves(arrays)
        fast, plain = ops.lstm(*xs), ops.lstm.twin(*xs)
        close(fast, plain, 1e-10, 1e-12)
        seed = rng.standard_normal(fast.shape)
        once = grad(fast, xs, seed=seed), grad(plain, xs, seed=seed, allow_unused=True)
        for name, a, b in zip(steps.NAMES, *once, strict=True):
            close(a, np.zeros(a.shape) if b is None else b, 1e-10, 1e-12, name)


def test_a_penalty_on_the_gradient(rng):
    """Second order as WGAN-GP asks for it: the norm of the gradient of the data, differentiated for the weights."""
    arrays = steps.draw(rng, T=4, N=3)
    seed = rng.standard_normal((6, *arrays[1].shape))
    xs = leaves(arrays)
    gx = grad(ops.lstm(*xs), xs[0], seed=seed, create_graph=True)
    found = grad(((gx * gx).sum(axis=(0, 2)).sqrt() - 1.0).sum(), xs[3:])

    def penalty(*arrays):
        return np.sum(np.sqrt((steps.backward(seed, *arrays)[0] ** 2).sum(axis=(0, 2))) - 1)

    along = [np.zeros(a.shape) for a in arrays[:3]] + [rng.standard_normal(a.shape) for a in arrays[3:]]
    slope = sum(float((g * u).sum()) for g, u in zip(found, along[3:], strict=True))
    assert slope == pytest.approx(steps.along(penalty, arrays, along), rel=1e-9, abs=1e-11)


def test_the_number_of_workers_does_not_matter(rng, monkeypatch):
    monkeypatch.setattr(lstm_kernel, "SHARED_FROM", -1)
    arrays = steps.draw(rng, T=7, N=3)
    seed, results = rng.standard_normal((9, *arrays[1].shape)), []
    for count in (1, 2, 3, 5):
        with workers.using(count):
            xs = leaves(arrays)
            y = ops.lstm(*xs)
            results.append([host(y), *grad(y, xs, seed=seed)])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            close(a, b, 1e-12, 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saturated_gates_are_finite_and_silent(dtype):
    """Activations of +-1e4: gates of exactly 0 and 1, no overflow, gradients of 0."""
    x = np.array([[[1e4]], [[-1e4]]], dtype)
    ones, zero = np.ones((1, 4), dtype), np.zeros((1, 1), dtype)
    xs = leaves([x, zero, zero, ones, ones * 0, np.zeros(4, dtype)])
    y = ops.lstm(*xs)
    close(y, np.array([0, np.tanh(1), 0, 0], dtype).reshape(4, 1, 1), rtol=1e-6, atol=0)
    assert all((g == 0).all() for g in grad(y[1:3], xs[3:], seed=np.ones((2, 1, 1)))), "nothing moves there"


@pytest.mark.parametrize("constant", ["x", "W_h"])
def test_float32_stays_float32(rng, constant, sharded):
    arrays = steps.draw(rng, T=3, N=3)
    wide = steps.NAMES.index(constant)
    args = [a if i == wide else tensor(a, np.float32, requires_grad=True) for i, a in enumerate(arrays)]
    y = ops.lstm(*args)
    xs = [a for a in args if isinstance(a, Tensor)]
    seed = rng.standard_normal(y.shape)
    gs = grad(y, xs, seed=seed)
    assert {y.dtype, *(g.dtype for g in gs)} == {np.dtype(np.float32)}
    expected = [g for i, g in enumerate(steps.backward(seed, *arrays)) if i != wide]
    for g, e in zip(gs, expected, strict=True):
        close(g, e, 1e-3, 1e-4)


def test_the_caller_may_reuse_its_arrays(rng):
    """What the backward pass needs, it keeps: the data of the next batch may be written over this one's."""
    arrays = steps.draw(rng, T=3, N=2)
    xs = leaves([a.copy() for a in arrays])
    y = ops.lstm(*xs)
    seed = rng.standard_normal(y.shape)
    for x in xs:
        x.data[...] = 0.0
    for g, e in zip(grad(y, xs, seed=seed), steps.backward(seed, *arrays), strict=True):
        close(g, e, 1e-10, 1e-12)


@on_a_device
def test_other_backends(rng, backend):
    for T, N in [(0, 2), (1, 1), (4, 3), (2, 0)]:
        arrays = steps.draw(rng, T=T, N=N)
        seed = rng.standard_normal((T + 2, *arrays[1].shape))
        with using(backend):
            xs = leaves(arrays)
            y = ops.lstm(*xs)
            close(y, steps.forward(*arrays), 1e-10, 1e-12)
            for g, e in zip(grad(y, xs, seed=tensor(seed)), steps.backward(seed, *arrays), strict=True):
                close(g, e, 1e-10, 1e-12)


FIT = {"x": (5, 2, 3), "h0": (2, 4), "c0": (2, 4), "W_x": (3, 16), "W_h": (4, 16), "b": (16,)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (5, 3)}, r"x must be \(T, N, d\).*x\[:, None\]"),
        ({"x": (5, 2, 7)}, r"W_x expects 3 features on the last axis of x, found 7"),
        ({"x": (2, 5, 3)}, r"h0 must have shape \(5, 4\), got \(2, 4\) float64: time comes first"),
        ({"c0": (2, 5)}, r"c0 must have shape \(2, 4\), got \(2, 5\)"),
        ({"W_h": (16, 4)}, r"W_h must have shape \(16, 64\)"),
        ({"W_x": (3, 12)}, r"W_x must have shape \(3, 16\)"),
        ({"b": (2, 16)}, r"b must have shape \(16,\)"),
        ({"b": (1,)}, r"b must have shape \(16,\)"),
    ],
)
def test_misfits(change, message):
    shapes = {**FIT, **change}
    with pytest.raises(ShapeError, match=message) as caught:
        ops.lstm(*(Tensor(np.zeros(s)) for s in shapes.values()))
    assert "\n" not in str(caught.value)
