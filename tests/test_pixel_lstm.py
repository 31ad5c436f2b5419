"""ops.row_lstm and ops.diagonal_bilstm on random geometry, against pixel by pixel and their twins; to second order."""

import lstm_steps
import numpy as np
import pixel_lstm_steps as steps
import pytest
from backends import each_backend, on_a_device
from nn_helpers import close, double, host, tensor

from minigen import Tensor, grad, nn, ops, workers
from minigen.backend import using
from minigen.errors import SettingError, ShapeError
from minigen.ops import lstm_cell

DRAWS = 15
KINDS = {
    "row": (ops.row_lstm, steps.row_lstm, steps.draw_row),
    "diagonal": (ops.diagonal_bilstm, steps.diagonal_bilstm, steps.draw_diagonal),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """(the op, the same pixel by pixel, a draw of operands)"""
    return KINDS[request.param]


@pytest.fixture(params=[1, 3], ids=["one worker", "three workers"])
def sharded(request, monkeypatch):
    """Shards as small as they get, for one worker or for three."""
    monkeypatch.setattr(lstm_cell, "SHARED_FROM", -1)
    monkeypatch.setattr(lstm_cell, "COLUMNS", 4)  # and some workers get several shards
    with workers.using(request.param):
        yield


def leaves(arrays):
    return [tensor(a, a.dtype, requires_grad=True) for a in arrays]


def slopes(f, arrays, seed, rng):
    """For each array a direction, and the slope of <f, seed> along it"""
    found = []
    for k, array in enumerate(arrays):
        u = rng.standard_normal(array.shape)
        along = [u if i == k else np.zeros(a.shape) for i, a in enumerate(arrays)]
        found.append((u, float((lstm_steps.along(f, arrays, along) * seed).sum())))
    return found


def test_values_and_gradients_equal_the_pixels(kind, rng, sharded):
    op, slow, draw = kind
    for _ in range(DRAWS):
        arrays = draw(rng)
        what, kept = str([a.shape for a in arrays]), [a.copy() for a in arrays]
        expected, xs = slow(*arrays), leaves(arrays)
        seed = rng.standard_normal(expected.shape)
        y = op(*xs)
        close(y, expected, 1e-10, 1e-12, what)
        close(op(*arrays), expected, 1e-10, 1e-12, what)
        gs = grad(y, xs, seed=seed, retain_graph=True)
        for name, g, (u, slope) in zip(steps.NAMES, gs, slopes(slow, arrays, seed, rng), strict=True):
            assert g.shape == u.shape, f"{name} of {what}"
            assert float((g * u).sum()) == pytest.approx(slope, rel=1e-9, abs=1e-9), f"{name} of {what}"
        for g, again in zip(gs, grad(y, xs, seed=seed), strict=True):
            close(again, g, rtol=0, what="a second backward pass over the same graph")
        for a, before in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(a, before, "an input was changed")


def test_the_twin_says_the_same(kind, rng):
    op, _, draw = kind
    for _ in range(DRAWS):
        xs = leaves(draw(rng))
        fast, plain = op(*xs), op.twin(*xs)
        close(fast, plain, 1e-10, 1e-12)
        seed = rng.standard_normal(fast.shape)
        for name, a, b in zip(
            steps.NAMES, grad(fast, xs, seed=seed), grad(plain, xs, seed=seed), strict=True
        ):
            close(a, b, 1e-10, 1e-12, name)


@pytest.mark.parametrize("wanted", range(6), ids=steps.NAMES)
def test_each_gradient_alone(kind, rng, wanted):
    """Whichever is asked for first makes what the others share."""
    op, _, draw = kind
    arrays = draw(rng, N=2)
    seed = rng.standard_normal(op(*arrays).shape)
    everything = leaves(arrays)
    xs = [tensor(a, requires_grad=i == wanted) for i, a in enumerate(arrays)]
    found = grad(op(*xs), xs[wanted], seed=seed)
    close(found, grad(op(*everything), everything, seed=seed)[wanted], 1e-10, 1e-12)


def test_second_order(kind, rng):
    """The projection of all gradients on a direction, and its own gradient along random directions."""
    op, _, draw = kind
    for _ in range(DRAWS // 3):
        arrays = draw(rng, N=2)
        seed = rng.standard_normal(op(*arrays).shape)
        onto, along = ([rng.standard_normal(a.shape) for a in arrays] for _ in range(2))

        def projection(arrays, onto=onto, seed=seed):
            xs = leaves(arrays)
            return sum((g * v).sum() for g, v in zip(grad(op(*xs), xs, seed=seed), onto, strict=True))

        e = 1e-5
        up, down = ([a + s * e * u for a, u in zip(arrays, along, strict=True)] for s in (1, -1))
        expected = (projection(up) - projection(down)) / (2 * e)
        xs = leaves(arrays)
        gs = grad(op(*xs), xs, seed=seed, create_graph=True)
        total = sum((g * v).sum() for g, v in zip(gs, onto, strict=True))
        second = [float((g * u).sum()) for g, u in zip(grad(total, xs), along, strict=True)]
        size = sum(map(abs, second)) + 1
        assert abs(sum(second) - expected) <= 1e-7 * size, f"{[a.shape for a in arrays]}"


def test_the_number_of_workers_does_not_matter(kind, rng, monkeypatch):
    op, _, draw = kind
    monkeypatch.setattr(lstm_cell, "SHARED_FROM", -1)
    arrays, results = draw(rng, N=3, H=5, W=4), []
    seed = rng.standard_normal(op(*arrays).shape)
    for count in (1, 2, 3, 5):
        with workers.using(count):
            xs = leaves(arrays)
            y = op(*xs)
            results.append([host(y), *grad(y, xs, seed=seed)])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            close(a, b, 1e-11, 1e-12)


def test_layouts_in_memory(kind, rng):
    """Channels last, as convolutions leave their maps, reversed, or with holes: all the same."""
    op, _, draw = kind
    x, *rest = draw(rng, N=2, H=3, W=4)
    expected = op(x, *rest)
    for same in (np.asfortranarray(x), x[..., ::-1].copy()[..., ::-1], np.repeat(x, 2, axis=1)[:, ::2]):
        close(op(same, *rest), expected, 1e-12, 1e-13)


@pytest.mark.parametrize("constant", ["x", "W_h"])
def test_float32_stays_float32(kind, rng, constant, sharded):
    op, _, draw = kind
    arrays = draw(rng, N=3)
    wide = steps.NAMES.index(constant)
    args = [a if i == wide else tensor(a, np.float32, requires_grad=True) for i, a in enumerate(arrays)]
    y = op(*args)
    xs = [a for a in args if isinstance(a, Tensor)]
    seed = rng.standard_normal(y.shape)
    gs, all_leaves = grad(y, xs, seed=seed), leaves(arrays)
    assert {y.dtype, *(g.dtype for g in gs)} == {np.dtype(np.float32)}
    expected = [g for i, g in enumerate(grad(op(*all_leaves), all_leaves, seed=seed)) if i != wide]
    for g, e in zip(gs, expected, strict=True):
        close(g, e, 1e-3, 1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saturated_gates_are_finite(kind, dtype):
    """Activations of +-1e4: gates of exactly 0 and 1, no overflow."""
    op, _, draw = kind
    arrays = [a.astype(dtype) for a in draw(np.random.default_rng(0), N=2, H=2, W=2)]
    arrays[0] *= 1e4
    xs = leaves(arrays)
    y = op(*xs)
    assert np.isfinite(host(y)).all()
    assert all(np.isfinite(g).all() for g in grad(y.sum(), xs))


def test_the_caller_may_reuse_its_arrays(kind, rng):
    """What the backward pass needs, it keeps: the data of the next batch may be written over this one's."""
    op, _, draw = kind
    arrays = draw(rng, N=2)
    seed = rng.standard_normal(op(*arrays).shape)
    before = leaves([a.copy() for a in arrays])
    expected = grad(op(*before), before, seed=seed)
    xs = leaves([a.copy() for a in arrays])
    y = op(*xs)
    for x in xs:
        x.data[...] = 0.0
    for g, e in zip(grad(y, xs, seed=seed), expected, strict=True):
        close(g, e, 1e-12, 1e-12)


@on_a_device
def test_other_backends(kind, rng, backend):
    op, _, draw = kind
    for N, H, W in [(2, 4, 3), (0, 2, 2), (1, 1, 1), (1, 3, 1)]:
        arrays = draw(rng, N=N, H=H, W=W)
        seed, here = rng.standard_normal(op(*arrays).shape), leaves(arrays)
        y = op(*here)
        gs = grad(y, here, seed=seed)
        with using(backend):
            xs = leaves(arrays)
            z = op(*xs)
            close(z, y, 1e-10, 1e-12)
            for g, e in zip(grad(z, xs, seed=tensor(seed)), gs, strict=True):
                close(g, e, 1e-10, 1e-12)


# Who sees whom


def dependency(layer, H, W, rng):
    """(H, W, H, W) booleans: whether output pixel [i, j] depends on input pixel [k, l]"""
    x = tensor(rng.standard_normal((1, 2, H, W)), requires_grad=True)
    y, sees = layer(x), np.zeros((H, W, H, W), bool)
    for i, j in np.ndindex(H, W):
        g = grad(y[0, :, i, j].sum(), x, retain_graph=True)
        sees[i, j] = (np.asarray(g[0]) != 0).any(axis=0)
    return sees


def test_a_row_lstm_sees_a_triangle(rng):
    H, W = 5, 6
    sees = dependency(double(nn.RowLSTM(2, 3, rng=rng)), H, W, rng)
    for i, j, k, l in np.ndindex(H, W, H, W):
        expected = (k == i and j - 1 <= l <= j) or (k < i and j - (i - k) - 1 <= l <= j + (i - k))
        assert sees[i, j, k, l] == expected, f"({i}, {j}) and ({k}, {l})"


@pytest.mark.parametrize(("H", "W"), [(4, 4), (3, 5), (5, 3), (1, 3), (3, 1)])
def test_a_diagonal_bilstm_sees_all_that_came_before(rng, H, W):
    sees = dependency(double(nn.DiagonalBiLSTM(2, 3, rng=rng)), H, W, rng)
    for i, j, k, l in np.ndindex(H, W, H, W):
        assert sees[i, j, k, l] == (k < i or (k == i and l <= j)), f"({i}, {j}) and ({k}, {l})"


# Layers


def test_layers_learn_their_parameters(rng):
    row, diagonal = nn.RowLSTM(2, 3, kernel=5, kernel_above=1, rng=rng), nn.DiagonalBiLSTM(2, 3, rng=rng)
    shapes = {name: p.shape for name, p in row.named_parameters()}
    assert shapes == {"W_x": (12, 2, 1, 5), "W_h": (12, 3, 1, 1), "b": (12,), "h0": (3,), "c0": (3,)}
    assert (host(row.W_x)[..., :3] != 0).all()
    assert host(row.b).reshape(4, 3).tolist() == [[0] * 3, [1] * 3, [0] * 3, [0] * 3], "o, f, i, g"
    shapes = {name: p.shape for name, p in diagonal.named_parameters()}
    assert shapes == {
        "W_x": (2, 12, 2, 1, 1), "W_h": (2, 12, 3, 2, 1), "b": (2, 12), "h0": (2, 3), "c0": (2, 3)
    }  # fmt: skip
    assert not np.array_equal(host(diagonal.W_x)[0], host(diagonal.W_x)[1]), "each direction has its own"
    for layer in (row, diagonal):
        assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}


@each_backend
@pytest.mark.parametrize("kind_of_layer", ["RowLSTM", "DiagonalBiLSTM"])
def test_layers_call_their_op(rng, backend, kind_of_layer):
    with using(backend):
        layer = getattr(nn, kind_of_layer)(2, 3, rng=rng)
        x = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
        y = layer(tensor(x, np.float32))
        slow = steps.row_lstm if kind_of_layer == "RowLSTM" else steps.diagonal_bilstm
        parameters = (host(getattr(layer, name)) for name in steps.NAMES[1:])
        assert y.dtype == np.dtype(np.float32)
        close(y, slow(x, *parameters), 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: nn.RowLSTM(0, 3, rng=rng), "RowLSTM: n_in 0 and n_hidden 3"),
        (lambda rng: nn.RowLSTM(1, 3, kernel=4, rng=rng), "RowLSTM: kernel is 4: use an odd width"),
        (lambda rng: nn.RowLSTM(1, 3, kernel_above=0, rng=rng), "kernel_above is 0"),
        (lambda rng: nn.DiagonalBiLSTM(2, 0, rng=rng), "DiagonalBiLSTM: n_in 2 and n_hidden 0"),
    ],
)
def test_settings(rng, make, message):
    with pytest.raises(SettingError, match=message):
        make(rng)


ROW = {"x": (2, 3, 4, 5), "h0": (2,), "c0": (2,), "W_x": (8, 3, 1, 3), "W_h": (8, 2, 1, 3), "b": (8,)}
DIAGONAL = {
    "x": (2, 3, 4, 5), "h0": (2, 6), "c0": (2, 6), "W_x": (2, 24, 3, 1, 1), "W_h": (2, 24, 6, 2, 1), "b": (2, 24)
}  # fmt: skip


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        (ops.row_lstm, {"x": (3, 4, 5)}, r"x must be \(N, C, H, W\).*x\[None\]"),
        (ops.row_lstm, {"x": (2, 1, 4, 5)}, r"W_x expects 3 channels on axis 1 of x, found 1"),
        (ops.row_lstm, {"x": (2, 3, 0, 5)}, r"at least one row"),
        (ops.row_lstm, {"W_x": (8, 3, 3, 3)}, r"one row and odd width"),
        (ops.row_lstm, {"W_h": (8, 2, 1, 2)}, r"W_h must be a kernel of one row and odd width"),
        (ops.row_lstm, {"W_x": (6, 3, 1, 3)}, r"W_x must have shape \(8, 3, 1, 3\)"),
        (ops.row_lstm, {"W_h": (8, 3, 1, 3)}, r"W_h must have shape \(8, 2, 1, 3\)"),
        (ops.row_lstm, {"h0": (2, 2)}, r"h0 must be \(h,\)"),
        (ops.row_lstm, {"c0": (3,)}, r"c0 must have shape \(2,\)"),
        (ops.row_lstm, {"b": (1,)}, r"b must have shape \(8,\)"),
        (ops.diagonal_bilstm, {"x": (3, 4, 5)}, r"x must be \(N, C, H, W\).*x\[None\]"),
        (ops.diagonal_bilstm, {"x": (2, 1, 4, 5)}, r"W_x must have shape \(2, 24, 1, 1, 1\) for 1 channels in x"),
        (ops.diagonal_bilstm, {"x": (2, 3, 4, 0)}, r"at least one row"),
        (ops.diagonal_bilstm, {"h0": (6,)}, r"h0 must be \(2, h\)"),
        (ops.diagonal_bilstm, {"h0": (1, 6)}, r"h0 must have shape \(2, 6\)"),
        (ops.diagonal_bilstm, {"W_x": (24, 3, 1, 1)}, r"W_x must have shape.*two directions first"),
        (ops.diagonal_bilstm, {"W_h": (2, 24, 6, 1, 2)}, r"W_h must have shape \(2, 24, 6, 2, 1\)"),
        (ops.diagonal_bilstm, {"b": (24,)}, r"b must have shape \(2, 24\)"),
    ],
)  # fmt: skip
def test_misfits(op, change, message):
    shapes = {**(ROW if op is ops.row_lstm else DIAGONAL), **change}
    with pytest.raises(ShapeError, match=message) as caught:
        op(*(Tensor(np.zeros(s)) for s in shapes.values()))
    assert "\n" not in str(caught.value)
