"""Tensor as a NumPy user meets it: operators both ways round, indexing, conversions, and what is refused aloud."""

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minigen import Tensor, grad, ops
from minigen.errors import DTypeError, GraphError, MinigenError, ShapeError


def leaf(*values, **options):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True, **options)


# Making one


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([[1, 2], [3, 4]], "int64"),
        (3, "int64"),
        (True, "bool"),
        (np.float64(1.5), "float64"),
        (np.ones(2, np.float16), "float16"),
        (np.ones(2, np.float64), "float64"),
        (np.ones(2, np.uint8), "uint8"),
        ([], "float32"),
    ],
)
def test_dtype_of_what_is_given(data, dtype):
    assert Tensor(data).dtype == dtype
    assert Tensor(data, dtype="float64").dtype == np.float64


def test_a_tensor_of_a_tensor_is_a_new_leaf():
    x = leaf(1.0, 2.0)
    y = Tensor(x * 2.0, requires_grad=True)
    assert y.op is None
    assert y.requires_grad


@pytest.mark.parametrize(
    "data", ["text", ["a"], [[1.0], [1.0, 2.0]], None, object(), 1j, np.array(["a"]), {"a": 1}]
)
def test_what_is_no_number_is_refused(data):
    with pytest.raises(DTypeError) as caught:
        Tensor(data)
    assert "\n" not in str(caught.value)


def test_integers_have_no_gradients():
    with pytest.raises(DTypeError, match=r"int64 cannot require gradients.*astype"):
        Tensor([1, 2], requires_grad=True)
    with pytest.raises(DTypeError, match="cannot require gradients"):
        Tensor([1, 2]).require_grad()


def test_a_result_cannot_be_frozen():
    with pytest.raises(GraphError, match="detach"):
        (leaf(1.0) * 2.0).require_grad(False)
    assert not leaf(1.0).require_grad(False).requires_grad


# Operators, both ways round

BINARY = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
    "@": operator.matmul,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
OTHERS = {
    "array": np.array([[0.5, 1.5], [2.5, 0.25]]), "vector": np.array([0.5, 1.5]), "float": 2.0, "int": 3,
    "np.float64": np.float64(1.5), "np.int64": np.int64(2), "np.float32": np.float32(0.5), "0-d": np.array(1.5),
}  # fmt: skip


@pytest.mark.parametrize("f", BINARY.values(), ids=BINARY)
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_operators_as_numpy_both_ways_round(f, other):
    host = np.array([[1.0, 2.0], [0.5, 1.5]])
    t = Tensor(host, requires_grad=True)
    if f is operator.matmul and np.ndim(other) == 0:
        for call in (lambda: t @ other, lambda: other @ t):
            with pytest.raises(MinigenError, match="matmul"):
                call()
        return
    comparing = f.__name__ in ("lt", "le", "gt", "ge", "eq", "ne")
    for y, expected in [
        (f(t, other), f(host, other)),
        (f(other, t), f(other, host)),
        (f(t, t), f(host, host)),
    ]:
        assert isinstance(y, np.ndarray if comparing else Tensor), "comparisons give raw masks"
        assert comparing or y.requires_grad
        np.testing.assert_allclose(np.asarray(y if comparing else y.numpy()), expected)


def test_unary_operators():
    t = leaf(1.0, -2.0)
    np.testing.assert_array_equal((-t).numpy(), [-1, 2])
    np.testing.assert_array_equal(abs(t).numpy(), [1, 2])
    assert +t is t


@pytest.mark.parametrize(
    "f",
    [
        np.exp,
        np.log,
        np.sqrt,
        np.tanh,
        np.sin,
        np.cos,
        np.abs,
        np.square,
        np.negative,
        np.log1p,
        np.expm1,
        np.sign,
    ],
)
def test_numpy_functions_become_ops(f):
    t = leaf(1.0, 2.0)
    y = f(t)
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.numpy(), f(t.numpy()))
    assert grad(y.sum(), t).shape == (2,)


def test_numpy_functions_of_two():
    t, a = leaf(1.0, 2.0), np.array([2.0, 1.0])
    for f in (np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum, np.matmul):
        for y, expected in [(f(t, a), f(t.numpy(), a)), (f(a, t), f(a, t.numpy()))]:
            assert isinstance(y, Tensor)
            np.testing.assert_allclose(y.numpy(), expected)
    for f in (np.less, np.greater_equal, np.equal):
        np.testing.assert_array_equal(f(t, a), f(t.numpy(), a))


def test_augmented_assignment_binds_a_new_tensor():
    t = leaf(1.0, 2.0)
    before = t
    t += 1.0
    t *= 2.0
    assert t is not before
    np.testing.assert_array_equal(before.numpy(), [1.0, 2.0])
    np.testing.assert_array_equal(grad(t.sum(), before), [2.0, 2.0])


def test_an_array_is_not_silently_turned_into_a_tensor():
    a = np.ones(2)
    with pytest.raises(MinigenError):
        a += leaf(1.0, 2.0)


# Methods


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.sum(), lambda t: t.sum(axis=0), lambda t: t.mean(axis=(0, 1)),
        lambda t: t.max(axis=1, keepdims=True),
        lambda t: t.min(), lambda t: t.prod(axis=0), lambda t: t.var(axis=1), lambda t: t.std(ddof=1),
        lambda t: t.cumsum(axis=1),
        lambda t: t.reshape(3, 2), lambda t: t.reshape((3, -1)), lambda t: t.reshape(-1), lambda t: t.transpose(),
        lambda t: t.transpose(1, 0), lambda t: t.transpose((1, 0)), lambda t: t.swapaxes(0, 1), lambda t: t.T,
        lambda t: t.mT,
        lambda t: t[None].squeeze(0), lambda t: t.flatten(), lambda t: t.clip(0.5, 1.5), lambda t: t.astype("float32"),
        lambda t: abs(t), lambda t: t.argmax(), lambda t: t.argmin(axis=1),
    ],
)  # fmt: skip
def test_methods_are_numpys(f, rng):
    host = rng.uniform(0.1, 2.0, (2, 3))
    y, expected = f(Tensor(host)), f(host)
    y = y.numpy() if isinstance(y, Tensor) else np.asarray(y)
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y, expected)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sigmoid", "relu"])
def test_elementwise_methods(name):
    t = leaf(0.5, 2.0)
    np.testing.assert_array_equal(getattr(t, name)().numpy(), getattr(ops, name)(t.numpy()))


def test_attributes():
    t = Tensor(np.ones((2, 3), np.float32), name="W")
    assert (t.shape, t.ndim, t.size, t.dtype, t.name, len(t)) == ((2, 3), 2, 6, np.float32, "W", 2)
    assert t.flatten(1).shape == (2, 3)
    assert Tensor(np.ones((0, 2, 3))).flatten(1).shape == (0, 6)


def test_astype_is_recorded_for_floats_and_cut_for_integers():
    t = Tensor(np.ones(2, np.float32), requires_grad=True)
    y = t.astype("float64")
    assert y.dtype == np.float64
    assert grad(y.sum(), t).dtype == np.float32
    assert not t.astype("int32").requires_grad


# As Python sees it


def test_numbers_and_truth():
    t = leaf(2.75)
    assert (float(t), int(t), t.item(), bool(t), f"{t.item():.2f}") == (2.75, 2, 2.75, True, "2.75")
    assert [10, 20, 30][Tensor(2)] == 30
    assert list(range(Tensor(3))) == [0, 1, 2]
    for f in (float, int, bool):
        with pytest.raises(DTypeError, match=rf"{f.__name__}\(\) of a Tensor of shape \(2,\) is ambiguous"):
            f(leaf(1.0, 2.0))
    with pytest.raises(DTypeError, match="is no index"):
        [1, 2][leaf(1.0)]
    with pytest.raises(MinigenError, match=r"one element|shape"):
        leaf(1.0, 2.0).item()


def test_iteration_and_length():
    t = leaf(1.0, 2.0, 3.0)
    first, *rest = t
    assert isinstance(first, Tensor)
    assert [r.item() for r in rest] == [2.0, 3.0]
    np.testing.assert_array_equal(grad(first * rest[1], t), [3.0, 0.0, 1.0])
    assert len(t) == 3
    with pytest.raises(DTypeError, match="no length"):
        len(Tensor(1.0))
    with pytest.raises(DTypeError, match=r"no length|iterate"):
        list(Tensor(1.0))
    assert 2.0 in t
    assert 7.0 not in t


def test_identity_hash():
    a, b = leaf(1.0), leaf(1.0)
    assert len({a, b, a}) == 2
    assert {a: 1}[a] == 1


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (Tensor([1.0, 2.0]), "Tensor([1., 2.], float32)"),
        (Tensor(1.5, requires_grad=True, name="b"), "Tensor(1.5, float32, name='b', requires_grad=True)"),
        (Tensor([1, 2]), "Tensor([1, 2], int64)"),
        (leaf(1.0) * 2.0, "Tensor([2.], float64, op=mul)"),
        (Tensor(np.zeros((0, 3))), "Tensor([], (0, 3), float64)"),
    ],
)
def test_repr(t, text):
    assert repr(t) == text
    assert str(t) == repr(t)


def test_a_large_repr_is_short():
    text = repr(Tensor(np.zeros((1000, 1000))))
    assert len(text) < 1000
    assert "..." in text
    assert "(1000, 1000)" in text, "where the numbers are elided, the shape is said"


# What would lose the graph


@pytest.mark.parametrize(
    "f",
    [
        np.asarray, np.array, np.sum, np.mean, np.max, np.ravel, np.linalg.norm, np.argmax, np.where,
        lambda t: np.concatenate([t, t]), lambda t: np.stack([t]), lambda t: np.add(np.ones(2), 1.0, out=t),
        lambda t: np.add.reduce(t), lambda t: np.add.outer(t, t), lambda t: np.exp(t, where=np.array([True, False])),
        lambda t: np.isnan(t), lambda t: np.floor(t), lambda t: np.ones(2).dot(t),
    ],
)  # fmt: skip
def test_silent_conversions_are_refused(f):
    t = leaf(1.0, 2.0)
    with pytest.raises(DTypeError) as caught:
        f(t)
    assert "graph" in str(caught.value) or "recorded" in str(caught.value)
    assert "detach" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tensor_without_gradients_converts():
    t = Tensor([1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(t), [1.0, 2.0])
    np.testing.assert_array_equal(np.array(t, dtype=int), [1, 2])
    assert t.numpy() is not t.numpy(), "numpy() gives copies"
    np.testing.assert_array_equal(leaf(1.0).detach().numpy(), [1.0])


def test_assignment_into_a_tensor_is_refused():
    t = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match=r"ops\.where"):
        t[0] = 5.0
    with pytest.raises(GraphError):
        t[0] += 1.0


def test_no_pickles():
    with pytest.raises(DTypeError, match="checkpoint"):
        pickle.dumps(leaf(1.0))


def test_copies_of_leaves():
    w = leaf(1.0, 2.0, name="w")
    nest = copy.deepcopy({"a": [w, w], "b": Tensor([1])})
    other = nest["a"][0]
    assert nest["a"][1] is other, "one leaf stays one leaf"
    assert other is not w
    assert other.requires_grad
    assert other.name == "w"
    other.data[...] = 0.0
    np.testing.assert_array_equal(w.numpy(), [1.0, 2.0])
    for f in (copy.deepcopy, copy.copy):
        with pytest.raises(MinigenError, match=r"detach|leaves|pickled"):
            f(w * 2.0)


def test_detach_shares_the_numbers_and_cuts_the_graph():
    w = leaf(1.0, 2.0)
    d = (w * 2.0).detach()
    assert (d.requires_grad, d.op) == (False, None)
    np.testing.assert_array_equal(d.numpy(), [2.0, 4.0])


# Indexing: any index that NumPy takes, as NumPy takes it


@st.composite
def indexed(draw):
    """A shape and an index into it: integers, slices, None, ..., integer arrays and lists, boolean arrays."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    parts, axis, nones = [], 0, 0
    wide = draw(st.integers(1, 3))
    while axis < len(shape) and draw(st.integers(0, 4)):
        n = shape[axis]
        kinds = ["slice", "none"] + (["int", "array", "list"] if n else []) + ["mask"]
        kind = draw(st.sampled_from(kinds))
        if kind == "none":
            parts.append(None)
            nones += 1
            if nones > 2:
                break
            continue
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "mask":
            k = draw(st.integers(1, min(2, len(shape) - axis)))
            covered = shape[axis : axis + k]
            bits = draw(st.integers(0, 2 ** _size(covered) - 1))
            parts.append(np.array([bits >> i & 1 for i in range(_size(covered))], bool).reshape(covered))
            axis += k - 1
        else:
            rows = draw(st.sampled_from([(wide,), (2, wide), (1,), ()]))
            places = np.array(
                draw(st.lists(st.integers(-n, n - 1), min_size=_size(rows), max_size=_size(rows))), int
            )
            places = places.reshape(rows)
            parts.append(places.tolist() if kind == "list" and rows else places)
        axis += 1
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return shape, parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def _size(shape):
    return int(np.prod(shape))


@given(indexed())
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
def test_indexing_is_numpys(case):
    """Values, and gradients: each place of x receives what its copies in y received."""
    shape, index = case
    host = np.arange(float(_size(shape))).reshape(shape)
    try:
        expected = host[index]
    except IndexError:  # masks and arrays that do not broadcast
        with pytest.raises(MinigenError):
            Tensor(host)[index]
        assume(False)
    x = Tensor(host, requires_grad=True)
    try:
        y = x[index]
    except MinigenError:
        assert not host.size, "only of arrays without elements does NumPy let places pass that do not exist"
        return
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.numpy(), expected)
    seed = np.arange(1.0, expected.size + 1).reshape(expected.shape)
    received = np.zeros(host.size)
    np.add.at(received, np.ravel(expected).astype(int), seed.ravel())
    np.testing.assert_array_equal(grad(y, x, seed=seed), received.reshape(shape))


def test_indexing_with_tensors():
    x, where = leaf(1.0, 2.0, 3.0), Tensor([2, 0])
    np.testing.assert_array_equal(x[where].numpy(), [3.0, 1.0])
    np.testing.assert_array_equal(x[x > 1.5].numpy(), [2.0, 3.0])
    np.testing.assert_array_equal(grad(x[[2, 2, 0]].sum(), x), [1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    "index", [3, -4, (0, 0), [3], np.array([-4]), np.array([True]), 1.5, "a", np.array([0.5]), ([0, 1], [0])]
)
def test_wrong_indices_are_refused(index):
    with pytest.raises(MinigenError, match=r"^take\(x: \(3,\) float64") as caught:
        leaf(1.0, 2.0, 3.0)[index]
    assert "\n" not in str(caught.value)


def test_a_changed_index_array_does_not_change_the_gradient():
    """The index belongs to the recorded operation: the caller may reuse his array."""
    x, index = leaf(1.0, 2.0, 3.0), np.array([0, 1])
    y = x[index].sum()
    index[:] = 2
    np.testing.assert_array_equal(grad(y, x), [1.0, 1.0, 0.0])


@pytest.mark.parametrize("f", [ops.add, ops.mul, ops.div, ops.maximum, ops.power], ids=lambda f: f.name)
@pytest.mark.parametrize("kind", ["int8", "int64", "uint8"])
def test_integers_do_not_widen_float32(f, kind):
    x, n = Tensor(np.ones(3, np.float32), requires_grad=True), Tensor(np.arange(1, 4, dtype=kind))
    for y in (f(x, n), f(n, x), f(x, n[:1]), f(x.detach(), n)):
        assert y.dtype == np.float32
    g = grad(f(x, n).sum(), x, create_graph=True)
    assert g.dtype == np.float32
    assert (n + n).dtype == n.dtype
    assert n.astype("int32").dtype == np.int32


def test_numpy_numbers_as_options_do_not_widen_float32():
    x, b = Tensor([1.0, 2.0], requires_grad=True), np.float64(0.5)
    for y in (ops.clip(x, low=b, high=b + 1), ops.clip(x, low=np.zeros(2)), ops.leaky_relu(x, slope=b),
              ops.elu(x, alpha=b)):  # fmt: skip
        assert (y.dtype, grad(y.sum(), x).dtype) == (np.float32, np.float32)
    assert ops.clip(x.numpy(), low=b).dtype == np.float32


@pytest.mark.parametrize(
    "compare",
    [lambda a, b: a < b, lambda a, b: a >= b, lambda a, b: a == b, lambda a, b: a != b, np.less, np.equal],
)
def test_comparing_shapes_that_do_not_fit(compare):
    for other in (np.ones(7, np.float32), Tensor(np.ones(7, np.float32))):
        with pytest.raises(
            ShapeError, match=r"^\(2,\) float32 [<>=!]+ \(7,\) float32: axis -1 has sizes 2 and 7"
        ):
            compare(Tensor([1.0, 2.0]), other)
    with pytest.raises(DTypeError, match="cannot be compared"):
        Tensor([1.0]) < None  # noqa: B015
