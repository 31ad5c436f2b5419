"""The walk back through the graph: what it computes, what it leaves alone, what it frees, what it refuses."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from minigen import Tensor, detect_anomaly, enable_grad, grad, no_grad, op, ops
from minigen.errors import GraphError, MinigenError, ShapeError
from minigen.rules import Partials


def leaf(*values, name=None):
    return Tensor(
        np.array(values if len(values) != 1 else values[0], dtype=np.float64), requires_grad=True, name=name
    )


def counted():
    """An op that doubles, and the list in which its rule and its thunk note that they ran."""
    calls = []

    @op
    def twice(x):
        return x * 2.0

    @twice.vjp
    def _(g, y, x):
        calls.append("rule")

        def thunk():
            calls.append("thunk")
            return g * 2.0

        return thunk

    return twice, calls


# What it computes


def test_diamond():
    x = leaf(3.0)
    a = x * x
    y = a * a + a  # x^4 + x^2
    assert grad(y, x) == pytest.approx(4 * 27 + 6)


def test_a_variable_used_many_times():
    x = leaf(2.0)
    y = x * x * x + x - x * 3.0 + (x + x)
    assert grad(y, x) == pytest.approx(3 * 4 + 1 - 3 + 2)


def test_the_same_tensor_on_both_sides_of_one_op():
    x = leaf(1.0, -2.0)
    np.testing.assert_allclose(grad((x @ x), x), [2.0, -4.0])
    np.testing.assert_allclose(grad(ops.concatenate(x, x).sum(), x), [2.0, 2.0])


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((1, 1), (3,)), ((2, 3), (0, 1, 3))]
)
def test_gradients_have_the_shape_of_their_operand(a, b):
    x, y = (Tensor(np.ones(s), requires_grad=True) for s in (a, b))
    gx, gy = grad((x * y).sum(), [x, y])
    assert (gx.shape, gy.shape) == (a, b)
    n = np.broadcast_shapes(a, b)
    assert gx.sum() == gy.sum() == np.prod(n)


def test_derivatives_of_every_order():
    """x^5 and exp(2x) sin x, differentiated until the closed forms are bored."""
    x = leaf(0.7)
    y = x**5
    for power, factor in [(4, 5), (3, 20), (2, 60), (1, 120), (0, 120)]:
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(factor * 0.7**power)
    e, s, c = np.exp(1.4), np.sin(0.7), np.cos(0.7)
    y = ops.exp(x * 2.0) * ops.sin(x)
    for expected in [e * (2 * s + c), e * (3 * s + 4 * c), e * (2 * s + 11 * c)]:
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected)


def test_mixed_second_derivatives():
    x, y = leaf(2.0), leaf(3.0)
    gx = grad(x * x * y, x, create_graph=True)
    assert grad(gx, [x, y], retain_graph=True) == [6.0, 4.0]
    gx2, gy = grad(x**3 * y**2, [x, y], create_graph=True)
    assert grad(gx2, y, retain_graph=True) == grad(gy, x) == 3 * 4 * 2 * 3


def test_a_gradient_flows_through_the_seed():
    x, v = leaf(1.0, 2.0), leaf(1.0, 1.0)
    g = grad(x * x, x, seed=v, create_graph=True)  # 2 x v
    np.testing.assert_allclose(grad(g.sum(), v), [2.0, 4.0])


def test_second_order_through_a_fused_op(rng):
    """The Hessian of cross-entropy is diag(p) - p p^T."""
    z = Tensor(rng.standard_normal((1, 4)), requires_grad=True)
    g = grad(ops.cross_entropy(z, labels=np.array([2])).sum(), z, create_graph=True)
    hessian = np.array([grad(g[0, i], z, retain_graph=True)[0] for i in range(4)])
    p = ops.softmax(z.numpy())[0]
    np.testing.assert_allclose(g.numpy()[0], p - np.eye(4)[2], atol=1e-12)
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-12)


def test_gradient_penalty_of_a_critic(rng):
    """WGAN-GP: d/dW of (|dD/dx| - 1)^2, against differences in the weights."""
    W1, b1, W2 = rng.standard_normal((3, 5)), rng.standard_normal(5), rng.standard_normal((5, 1))
    x = Tensor(rng.standard_normal((4, 3)), requires_grad=True)

    def penalty(*weights):
        W1, b1, W2 = (Tensor(w, requires_grad=True) if isinstance(w, np.ndarray) else w for w in weights)
        scores = ops.leaky_relu(ops.linear(x, W1, b1), slope=0.2) @ W2
        scores = scores + ops.tanh(x).sum(axis=1, keepdims=True) * W2.sum()
        g = grad(scores.sum(), x, create_graph=True)
        return ops.square(ops.safe_norm(g, axis=1) - 1.0).mean()

    weights = [Tensor(w, requires_grad=True) for w in (W1, b1, W2)]
    found = grad(penalty(*weights), weights, allow_unused=True)
    assert found[1] is None or not np.any(found[1]), (
        "a piecewise linear critic's slope does not depend on its bias"
    )
    for g, w in [(found[0], W1), (found[2], W2)]:
        for place in [(0, 0), (2, 0), tuple(n - 1 for n in w.shape)]:
            value = w[place]
            w[place] = value + 1e-6
            above = penalty(W1, b1, W2).item()
            w[place] = value - 1e-6
            below = penalty(W1, b1, W2).item()
            w[place] = value
            assert g[place] == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-8)


def test_float32_and_float64_mixed():
    """Each gradient has the dtype of its tensor; the wider dtype wins in between, as in NumPy."""
    a = Tensor(np.ones(3, np.float32), requires_grad=True)
    b = Tensor(np.ones(3, np.float64), requires_grad=True)
    y = a * b
    ga, gb = grad(y.sum(), [a, b])
    assert (y.dtype, ga.dtype, gb.dtype) == (np.float64, np.float32, np.float64)


# What grad() is asked for


def test_intermediate_several_repeated_and_y_itself():
    x = leaf(2.0)
    a = x * 3.0
    y = a * a
    ga, gx, ga2, gy = grad(y, [a, x, a, y])
    assert (ga, gx, ga2, gy) == (12.0, 36.0, 12.0, 1.0)


def test_one_tensor_gives_one_array_a_list_gives_a_list():
    x = leaf(1.0, 2.0)
    assert isinstance(grad((x * x).sum(), x), np.ndarray)
    assert isinstance(grad((x * x).sum(), [x]), list)
    assert grad((x * x).sum(), []) == []


def test_unused():
    x, other = leaf(1.0), leaf(1.0, name="W")
    with pytest.raises(GraphError, match=r"does not depend on the tensor 'W'"):
        grad(x * 2.0, [x, other])
    assert grad(x * 2.0, [x, other], allow_unused=True) == [2.0, None]


def test_only_what_is_needed_is_computed():
    twice, calls = counted()
    x, w = leaf(1.0), leaf(1.0)
    y = twice(x) * twice(w)
    calls.clear()
    grad(y, w)
    assert calls == ["rule", "thunk"], "the branch of x does not lead to w"
    calls.clear()
    y = twice(x.detach()) * w
    grad(y, w)
    assert calls == [], "nothing behind a constant is asked"
    inner = twice(x)
    y = inner * 3.0
    calls.clear()
    grad(y, inner)
    assert calls == [], "the walk stops at what was asked for"


def test_backward_adds_to_the_leaves_only():
    x = leaf(1.0, 2.0)
    a = x * 2.0
    a.sum().backward()
    a = x * 2.0
    a.sum().backward()
    np.testing.assert_allclose(x.grad, [4.0, 4.0])
    assert a.grad is None
    x.zero_grad()
    assert x.grad is None


def test_accumulating_leaves_what_was_handed_out_alone():
    x = leaf(1.0, 2.0)
    (x * 2.0).sum().backward()
    first = x.grad
    (x * 2.0).sum().backward()
    np.testing.assert_array_equal(first, [2.0, 2.0])


def test_gradients_belong_to_whoever_asked_for_them():
    """Writing to one gradient changes no other, nor the seed: none is shared, none is a read-only view."""
    x, y, seed = leaf(1.0, 1.0), leaf(1.0, 1.0), np.ones(2)
    (x + y).backward(seed)
    x.grad *= 5
    np.testing.assert_array_equal(y.grad, [1.0, 1.0], "two leaves share one gradient array")
    np.testing.assert_array_equal(seed, [1.0, 1.0], "the gradient of a leaf is the caller's seed itself")
    g = grad(x.sum(), x)
    g *= 5


def test_gradients_of_numbers_are_arrays():
    """A 0-d gradient is an array too, as on a device, not a NumPy scalar that in-place updates would lose."""
    x = leaf(2.0)
    assert isinstance(grad(x * x, x), np.ndarray)
    (x * x).backward()
    (x * x).backward()
    assert isinstance(x.grad, np.ndarray)


def test_own_op_needs_only_its_two_functions():
    @op
    def cube(x, *, scale=1.0):
        return scale * x**3

    @cube.vjp
    def _(g, y, x, *, scale=1.0):
        return lambda: g * (3.0 * scale) * x * x

    x = leaf(2.0)
    g = grad(cube(x, scale=2.0), x, create_graph=True)
    assert (g.item(), grad(g, x)) == (24.0, 24.0)
    assert cube(np.float64(2.0)) == 8.0

    @op
    def mute(x):
        return x * 1.0

    with pytest.raises(GraphError, match="mute has no gradient rule"):
        grad(mute(x), x)


# Memory and depth


def test_a_chain_of_100_000_nodes():
    """No recursion, forward, backward or when the graph is dropped; memory grows in line with the length."""

    def peak(n):
        gc.collect()
        tracemalloc.start()
        x = leaf(1.0)
        y = x
        for _ in range(n):
            y = y + x
        assert grad(y, x) == n + 1
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(8_000) < 2.5 * peak(4_000)
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = -y
    assert grad(y, x, retain_graph=True) == 1.0
    del y  # the whole recorded chain goes at once


def test_a_wide_and_deep_lattice_is_walked_once_per_node():
    """40 diamonds on end have 2^40 paths, and 80 nodes."""
    twice, calls = counted()
    x = leaf(1.0)
    y = x
    for _ in range(40):
        a = twice(y)
        y = a * 0.25 + a * 0.25
    assert grad(y, x) == 1.0
    assert calls.count("rule") == 40


def test_memory_is_freed_during_the_backward_pass():
    alive = []

    @op
    def spy(x):
        return x * 1.0

    @spy.vjp
    def _(g, y, x):
        alive.append(late() is not None)
        return lambda: g

    x = leaf(np.ones(10))
    b = ops.neg(
        ops.neg(ops.exp(spy(x)))
    )  # what is just being worked on may still be held: hence two more nodes in between
    late = weakref.ref(b.data)
    y = b.sum()
    del b
    gc.disable()
    try:
        grad(y, x)
    finally:
        gc.enable()
    assert alive == [False], "the data of a node that is done must be gone while the walk goes on"


def test_nothing_stays_after_the_backward_pass():
    x = leaf(np.ones(10))
    a = ops.exp(x)
    data = weakref.ref(a.data)
    y = (a * a).sum()
    del a
    gc.disable()
    try:
        y.backward()
        assert data() is None, "y holds on to its graph"
        assert x.grad is not None
    finally:
        gc.enable()


def test_training_steps_leave_no_garbage_behind():
    """1,000 steps: as many objects afterwards as before, without the cycle collector's help."""
    W = leaf(np.ones((4, 4)))

    def step():
        loss = ops.square(ops.tanh(W @ W) - 1.0).mean()
        g = grad(loss, W)
        W.data = W.data - 0.01 * g

    step()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(1000):
            step()
        assert len(gc.get_objects()) - before < 50
    finally:
        gc.enable()


def test_a_spent_graph_says_so():
    x = leaf(2.0)
    a = x * x
    y, z = a * 3.0, a * 5.0
    y.backward()
    with pytest.raises(GraphError, match="already used and freed"):
        y.backward()
    with pytest.raises(GraphError, match="already used and freed"):
        z.backward()
    with pytest.raises(GraphError, match="already used and freed"):
        grad(a * 1.0, x)


def test_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == 8.0
    with pytest.raises(GraphError):
        y.backward()


def test_graph_attributes_for_tools():
    x = leaf(2.0)
    y = ops.sum(x, axis=None)
    assert (y.op, y.args, y.kwargs) == (ops.sum, (x,), {"axis": None})
    y.backward()
    assert y.op is None
    assert x.op is None


# Modes


def test_no_grad_records_nothing():
    x = leaf(2.0)
    with no_grad():
        y = x * x
        with enable_grad():
            z = x * x
        w = x * x
    assert (y.requires_grad, z.requires_grad, w.requires_grad, (x * x).requires_grad) == (
        False,
        True,
        False,
        True,
    )

    @no_grad()
    def silent():
        return x * x

    @enable_grad()
    def loud():
        return x * x

    assert not silent().requires_grad
    assert not silent().requires_grad
    with no_grad():
        assert loud().requires_grad
    assert (x * x).requires_grad


@pytest.mark.parametrize("mode", [no_grad, enable_grad, detect_anomaly])
def test_modes_are_restored_when_something_raises(mode):
    x = leaf(2.0)
    with no_grad():
        with pytest.raises(KeyError), mode():
            raise KeyError
        assert not (x * x).requires_grad
    with pytest.raises(KeyError), mode():
        raise KeyError
    assert (x * x).requires_grad
    np.log(leaf(0.0).detach() + 1.0)
    with np.errstate(divide="ignore"):
        assert ops.log(leaf(0.0)).item() == -np.inf, "detect_anomaly is still on"


def test_one_mode_object_may_be_entered_twice():
    x, quiet = leaf(2.0), no_grad()
    with quiet, quiet:
        pass
    assert (x * x).requires_grad


def records():
    return (leaf(1.0) * 2.0).requires_grad


@pytest.mark.parametrize("mode", [no_grad, detect_anomaly])
def test_blocks_may_end_in_any_order(mode):
    """As those of generators do, which are closed whenever somebody lets go of them."""

    def inside():
        with mode():
            yield
            with enable_grad():
                yield

    first, second, third = inside(), inside(), inside()
    next(first), next(second), next(third), next(third)
    first.close(), third.close()
    assert records() == (mode is not no_grad), "the second block is still open"
    second.close()
    assert records(), "recording stayed off after the last block was closed"
    with np.errstate(all="ignore"):
        assert np.isinf(ops.log(leaf(0.0)).item()), "detect_anomaly stayed on"


def test_modes_are_a_threads_own():
    seen = []
    inside, done = threading.Event(), threading.Event()

    def other():
        seen.append(records())
        with no_grad():
            seen.append(records())
            inside.set()
            done.wait(10)

    with no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(10)
        with enable_grad():
            assert records()
        assert not records()
    assert records(), "another thread is inside no_grad, this one is not"
    assert leaf(1.0, 2.0).sum().requires_grad
    done.set()
    thread.join()
    assert seen == [True, False]
    assert records()


def test_a_block_that_another_thread_closes():
    def inside():
        with no_grad():
            yield

    block = inside()
    next(block)
    thread = threading.Thread(target=block.close)
    thread.start()
    thread.join()
    assert records()


def test_modes_as_decorators():
    @no_grad
    def bare(depth=2):
        """The doc."""
        return records() if not depth else bare(depth - 1)

    assert not bare()
    assert (bare.__name__, bare.__doc__) == ("bare", "The doc.")
    assert records()
    for wrong in (True, 3, "x"):
        with pytest.raises(GraphError, match="no_grad takes no argument but a function to decorate"):
            no_grad(wrong)
    with pytest.raises(
        GraphError, match=r"cannot decorate draw, a generator: write `with no_grad\(\):` inside"
    ):

        @no_grad()
        def draw():
            yield 1


def test_a_failing_rule_restores_the_modes():
    @op
    def broken(x):
        return x * 1.0

    @broken.vjp
    def _(g, y, x):
        raise KeyError("mine")

    x = leaf(2.0)
    with pytest.raises(KeyError, match="mine"):
        grad(broken(x), x)
    assert (x * x).requires_grad


# In-place damage

DAMAGE = {
    "setter": lambda t: setattr(t, "data", t.data * 2.0),
    "slice": lambda t: t.data.__setitem__(..., 5.0),
    "augmented": lambda t: setattr(t, "data", t.data.__isub__(1.0)),
    "augmented, unannounced": lambda t: t.data.__imul__(1.5),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize(
    ("f", "named"),
    [
        (lambda x: x * x, "mul"),
        (lambda x: ops.log(x), "log"),
        (lambda x: x @ x, "matmul"),
        (lambda x: ops.where(np.array([True, False]), x * x, x), "mul"),
    ],
)
def test_damage_to_an_input_is_caught(damage, f, named):
    x = leaf(1.0, 2.0, name="w")
    y = f(x).sum()
    damage(x)
    with pytest.raises(GraphError, match=rf"{named}: the data of its input 0 'w' .* changed in place"):
        y.backward()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("f", [ops.exp, ops.tanh, ops.sigmoid, ops.sqrt, ops.relu, ops.softmax])
def test_damage_to_an_output_is_caught(damage, f):
    x = leaf(1.0, 2.0)
    y = f(x)
    z = y.sum()
    damage(y)
    with pytest.raises(GraphError, match=rf"{f.name}: the data of its output"):
        z.backward()


def test_damage_through_an_old_reference_is_caught():
    x = leaf(1.0, 2.0)
    old = x.data
    y = (x * x).sum()
    old += 1.0
    with pytest.raises(GraphError, match="mul"):
        y.backward()


def test_damage_through_a_view_is_caught():
    x = leaf(1.0, 2.0)
    row = x.data[1:]
    y = (x * x).sum()
    row[0] = 7.0
    with pytest.raises(GraphError, match="mul"):
        y.backward()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "change", [lambda a: a[::-1], lambda a: -a, lambda a: a[[1, 0, 2, 3, 4, 5, 6, 7]], np.nextafter]
)
def test_subtle_damage_is_caught(dtype, change):
    """The same numbers in another order, with other signs, or one bit away are other numbers."""
    x = Tensor(np.arange(1.0, 9.0, dtype=dtype), requires_grad=True)
    y = (x * x).sum()
    x.data[:] = change(x.data, x.data[:1] * 0) if change is np.nextafter else change(x.data).copy()
    with pytest.raises(GraphError, match="mul"):
        y.backward()


def test_damage_that_the_backward_pass_does_not_need_is_none():
    x = leaf(1.0, 2.0)
    z = leaf(3.0, 4.0)
    for y in [x + z, x - z, ops.reshape(x, shape=(2, 1)), -x, ops.concatenate(x, z), x.sum(), x[0]]:
        x.data[...] = 9.0
        (y if y.size == 1 else y.sum()).backward()
    y = x + z
    y.data[...] = 0.0
    y.sum().backward()


def test_a_change_before_the_forward_pass_is_none():
    x = leaf(1.0, 2.0)
    old = x.data
    old[...] = 3.0
    x.data = x.data * 1.0
    y = (x * x).sum()
    np.testing.assert_array_equal(grad(y, x), [6.0, 6.0])


def test_loops_that_update_parameters_never_raise():
    w, b = leaf(np.ones((2, 2))), leaf(np.zeros(2))
    x = Tensor(np.ones((3, 2)))
    for _ in range(3):
        loss = ops.square(ops.tanh(x @ w + b)).mean()
        gw, gb = grad(loss, [w, b])
        w.data -= 0.1 * gw
        b.data[...] -= 0.1 * gb
        loss = ops.square(ops.linear(x, w, b)).mean()
        loss.backward()
        w.data = w.data - 0.1 * w.grad
        w.zero_grad()


def test_reading_data_between_forward_and_backward_is_no_damage():
    x = leaf(1.0, 2.0)
    y = x * x
    assert x.data.sum() + y.data.sum() + y.numpy().sum() == 13.0
    np.testing.assert_array_equal(grad(y.sum(), x), [2.0, 4.0])


# Anomalies


def test_the_op_that_made_the_first_nan_is_named():
    x = leaf(1.0, -1.0)
    with np.errstate(all="ignore"), detect_anomaly():
        with pytest.raises(GraphError, match=r"^log made the first NaN.*\(2,\) float64 in \[-1, 1\]"):
            ops.exp(ops.log(x)).sum()
        with pytest.raises(GraphError, match=r"^div made the first infinity"):
            x / (x + 1.0)
        y = ops.sqrt(x * 0.0).sum()
        with pytest.raises(GraphError, match=r"in the backward pass, sqrt made the first infinity"):
            y.backward()


# Refusals


@pytest.mark.parametrize(
    ("what", "error", "says"),
    [
        (lambda: leaf(1.0, 2.0).backward(), GraphError, r"shape \(2,\), not a scalar"),
        (lambda: (leaf(1.0, 2.0) * 1.0).backward(), GraphError, "not a scalar"),
        (
            lambda: (leaf(1.0, 2.0) * 1.0).backward(np.ones(3)),
            ShapeError,
            r"seed has shape \(3,\), the output \(2,\)",
        ),
        (lambda: Tensor([1.0]).backward(), GraphError, "not part of a recorded graph"),
        (lambda: grad(leaf(1.0) * 1.0, Tensor(1.0)), GraphError, "does not require gradients"),
        (lambda: grad(leaf(1.0) * 1.0, [np.ones(1)]), GraphError, "ndarray: it does not require gradients"),
        (lambda: grad(3.0, leaf(1.0)), GraphError, "a float is not part of a recorded graph"),
        (lambda: grad(leaf(1.0).detach() * 1.0, leaf(1.0)), GraphError, "not part of a recorded graph"),
    ],
)
def test_refusals(what, error, says):
    with pytest.raises(error, match=says) as caught:
        what()
    assert isinstance(caught.value, MinigenError)
    assert "\n" not in str(caught.value)


def test_a_leaf_is_its_own_gradient():
    x = leaf(1.0)
    x.backward()
    assert x.grad == 1.0
    assert grad(x, x) == 1.0


def _through_the_constructor():
    array = np.ones(4)
    x = Tensor(array, requires_grad=True)
    return x, (x * x).sum(), lambda: array.__iadd__(5)


def _through_assignment():
    array = np.ones(4)
    x = leaf(0.0, 0.0, 0.0, 0.0)
    x.data = array
    return x, (x * x).sum(), lambda: array.__iadd__(5)


def _through_a_detached_copy():
    x = leaf(*np.log([2.0, 2.0]))
    y = ops.exp(x)
    return x, y.sum(), lambda: y.detach().data.__imul__(0)


def _through_a_constant():
    array = np.full(4, 2.0)
    x = leaf(1.0, 1.0, 1.0, 1.0)
    return x, (x * array).sum(), lambda: array.__imul__(9)


@pytest.mark.parametrize(
    "make", [_through_the_constructor, _through_assignment, _through_a_detached_copy, _through_a_constant]
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_what_others_may_change_is_copied(make, create_graph):
    x, y, damage = make()
    damage()
    g = grad(y, x, create_graph=create_graph)
    np.testing.assert_allclose(getattr(g, "_data", g), np.full(x.shape, 2.0))


def test_damage_through_a_recorded_view_is_caught():
    for reshape in (lambda x: x.reshape(2, 1), lambda x: x[:1], lambda x: x.mT):
        x = Tensor(np.ones((1, 2)), requires_grad=True)
        view, y = reshape(x), (x * x).sum()
        view.data[...] = 9.0
        with pytest.raises(GraphError, match="mul"):
            y.backward()
        x = Tensor(np.ones((1, 2)), requires_grad=True)
        view = reshape(x)
        y = (view * view).sum()
        x.data[...] = 9.0
        with pytest.raises(GraphError, match="mul"):
            y.backward()
        x = Tensor(np.ones((1, 2)), requires_grad=True)
        array = x.data
        view = reshape(x)
        y = (view * view).sum()
        array[...] = 9.0
        with pytest.raises(GraphError, match="mul"):
            y.backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_of_another_shape_is_refused(create_graph):
    @op
    def double(x):
        return 2 * x

    @double.vjp
    def _(g, y, x):
        return lambda: (2 * g).T

    x = Tensor(np.ones((3, 4)), requires_grad=True)
    with pytest.raises(GraphError, match=r"double: .*\(4, 3\).*\(3, 4\)"):
        grad(double(x).sum(), x, create_graph=create_graph)


@pytest.mark.parametrize(
    "result",
    [
        lambda g: g,
        lambda g: (lambda: g,),
        lambda g: lambda: g,
        lambda g: [1, 2],
        lambda g: (g, g),
        lambda g: (lambda: g, None),
        lambda g: None,
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_of_the_wrong_form_is_told_so(result, create_graph):
    @op
    def plus(a, b):
        return a + b

    @plus.vjp
    def _(g, y, a, b):
        return result(g)

    x = leaf(1.0, 2.0)
    with pytest.raises(
        GraphError, match=r"plus: its rule must return one function .* each of its 2 arguments"
    ):
        grad(plus(x, x).sum(), x, create_graph=create_graph)


def test_a_twin_on_changed_inputs_is_refused():
    """Under create_graph the twin computes anew from the arguments, whatever the fused rule itself would need."""
    x = Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    y = ops.layer_norm(x, np.ones(4), np.zeros(4)).sum()
    x.data[...] = 1.0
    with pytest.raises(GraphError, match="layer_norm"):
        grad(y, x, create_graph=True)


def test_a_view_that_nothing_records_is_a_copy():
    x, c = leaf(1.0, 2.0, 3.0), Tensor(np.ones(3))
    view, z = c.reshape(3, 1), (x * c).sum()
    view.data[...] = 9.0
    np.testing.assert_array_equal(grad(z, x), [1.0, 1.0, 1.0])
    with no_grad():
        view = x.reshape(3, 1)
    z = (x * x).sum()
    view.data[...] = 9.0
    np.testing.assert_array_equal(grad(z, x), [2.0, 4.0, 6.0])


def test_an_index_may_be_changed_after_the_forward_pass():
    x, i = leaf(1.0, 2.0, 3.0, 4.0), np.array([0, 1])
    y = (ops.take(x, index=i) * 2.0).sum()
    i[0] = 3
    np.testing.assert_array_equal(grad(y, x), [2.0, 2.0, 0.0, 0.0])


def test_damage_through_a_view_whose_recipe_is_spent():
    x = leaf(1.0, 2.0, 3.0)
    view = x.reshape(3, 1)
    (view * view).sum().backward()
    y = (x * x).sum()
    view.data[...] = 9.0
    np.testing.assert_array_equal(grad(y, x), [2.0, 4.0, 6.0], "x was written to through a view, unnoticed")
    # handed out before it was spent: then it goes on being the view, and the damage is seen
    view = x.reshape(3, 1)
    array = view.data
    (view * view).sum().backward()
    y = (x * x).sum()
    array[...] = 9.0
    with pytest.raises(GraphError, match="mul: the data of its input 0"):
        grad(y, x)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("record", [False, True])
def test_an_op_that_hands_its_input_on_makes_a_copy(both, record):
    @op
    def one(x):
        return x

    @op
    def left(x, z):
        return x

    one.vjp(lambda g, y, x: lambda: g)
    left.vjp(lambda g, y, x, z: (lambda: g, lambda: z * 0.0))
    x = Tensor(np.ones(2), requires_grad=record)
    y = left(x, x) if both else one(x)
    z = (x * x).sum()
    y.data[...] = 9.0
    np.testing.assert_array_equal(x.numpy(), [1.0, 1.0])
    if record:
        np.testing.assert_array_equal(grad(z + y.sum(), x), [3.0, 3.0])


def test_an_op_that_changes_its_input_is_noticed():
    @op
    def greedy(x, z):
        x += 1.0
        return x * z

    greedy.vjp(lambda g, y, x, z: (lambda: g * z, lambda: g * x))
    x = leaf(1.0, 2.0)
    with (
        detect_anomaly(),
        pytest.raises(GraphError, match=r"greedy changed its input 0 \(2,\) float64 in place"),
    ):
        greedy(x, x * 1.0)
    with detect_anomaly():
        ops.sigmoid(ops.softmax(x * 2.0) + 1.0).sum().backward()


@pytest.mark.parametrize("options", [False, True])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("bad", "found"), [(None, "NoneType"), (2.5, "2.5"), ([1.0, 2.0], "list")], ids=["None", "float", "list"]
)
def test_a_thunk_that_gives_no_array(options, create_graph, bad, found):
    @op
    def pair(a, b):
        return a * b

    @op
    def chosen(a, b, *, extra=1):
        return a * b

    f = chosen if options else pair
    f.vjp(lambda g, y, a, b, **_: (lambda: g * b, lambda: bad))
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0, name="w")
    with pytest.raises(
        GraphError,
        match=rf"{f.name}: its rule gave {found} as the gradient of its input 1 'w' \(2,\) float64: ",
    ):
        grad(f(x, w).sum(), [x, w], create_graph=create_graph)


def test_an_error_inside_a_thunk_stays_itself():
    @op
    def pair(a, b):
        return a * b

    for error in (AttributeError("mine"), TypeError("mine")):

        def thunk(error=error):
            raise error

        pair.vjp(lambda g, y, a, b, thunk=thunk: (lambda: g, thunk))
        x = leaf(1.0, 2.0)
        with pytest.raises(type(error), match="mine"):
            grad(pair(x, x).sum(), x)


def test_a_gradient_with_axes_that_were_never_broadcast_is_refused():
    @op
    def same(x):
        return x * 1.0

    same.vjp(lambda g, y, x: lambda: g[None] * np.ones((5, 1)))
    x = leaf(1.0, 2.0)
    with pytest.raises(
        GraphError, match=r"same: its rule gave a gradient of shape \(5, 2\) .* of shape \(2,\)"
    ):
        grad(same(x).sum(), x)
    row = Tensor(np.ones((1, 2)), requires_grad=True)
    same.vjp(lambda g, y, x: lambda: g * np.ones((5, 1)))
    with pytest.raises(GraphError, match=r"\(5, 2\)"):
        grad(same(row).sum(), row)
    batch, W = Tensor(np.ones((5, 3, 2)), requires_grad=True), Tensor(np.ones((2, 4)), requires_grad=True)
    assert grad((batch @ W).sum(), W).shape == (2, 4), "a real broadcast is summed"


def test_the_same_tensor_asked_for_twice_gives_two_arrays():
    x = leaf(1.0, 2.0)
    first, second = grad((x * x).sum(), [x, x])
    first *= 5
    np.testing.assert_array_equal(second, [2.0, 4.0])


def test_many_small_gradients_of_one_tensor_are_added_in_one_go():
    """The sums are those of adding one by one, for every shape and however often a tensor is used."""
    for shape in [(), (1,), (4,), (2, 3), (0,), (65,), (1, 1, 1)]:
        for uses in (1, 2, 3, 7):
            x = Tensor(np.ones(shape), requires_grad=True)
            y = x
            for i in range(uses):
                y = y + x * float(i)
            np.testing.assert_array_equal(grad(y.sum(), x), np.full(shape, 1.0 + sum(range(uses))))


def test_partials_are_the_rule_they_stand_for(rng):
    """One function for each argument: of every order, with numbers as operands, and checked when stated."""

    @op
    def product(a, b):
        return a * b

    product.vjp(Partials(lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a))
    assert product.uses == (False, True, True)
    a, b = leaf(2.0, 3.0), leaf(5.0, 7.0)
    ga, _ = grad(product(product(a, b), a).sum(), [a, b], create_graph=True)
    np.testing.assert_array_equal(ga.numpy(), 2 * a.numpy() * b.numpy())
    np.testing.assert_array_equal(grad(ga.sum(), b), 2 * a.numpy())
    np.testing.assert_array_equal(grad(product(a, 3.0).sum(), a), [3.0, 3.0])
    with pytest.raises(GraphError, match="product: Partials takes one function for each argument, got 1"):
        product.vjp(Partials(lambda g, _y, _a, _b: g))
