"""nn.LSTM and nn.LSTMCell: their parameters, their state, and what a long sequence costs."""

import gc
import tracemalloc

import lstm_steps as steps
import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, double, host, slope, tensor, within

from minigen import Tensor, grad, nn
from minigen.backend import using
from minigen.errors import SettingError, ShapeError
from minigen.optim import Adam


def weights(layer):
    return [host(p).astype(float) for p in (layer.W_x, layer.W_h, layer.b)]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_parameters(rng, kind):
    """4h (d + h + 1) of them, W_x (d, 4h), W_h (h, 4h), b (4h,); the forget gate starts open."""
    for d, h in [(1, 1), (3, 2), (5, 7)]:
        layer = kind(d, h, rng=rng)
        shapes = {name: p.shape for name, p in layer.named_parameters()}
        assert shapes == {"W_x": (d, 4 * h), "W_h": (h, 4 * h), "b": (4 * h,)}
        assert sum(p.size for p in layer.parameters()) == 4 * h * (d + h + 1)
        assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}
        assert host(layer.b).reshape(4, h).tolist() == [[0] * h, [1] * h, [0] * h, [0] * h], "i, f, g, o"
    learned = kind(3, 2, learn_initial=True, rng=rng)
    assert [name for name, _ in learned.named_parameters()] == ["W_x", "W_h", "b", "h0", "c0"]


def test_initial_weights_gate_by_gate(rng):
    d, h = 200, 100
    layer = nn.LSTM(d, h, rng=rng)
    for gate in range(4):
        mine = slice(gate * h, gate * h + h)
        W = host(layer.W_h)[:, mine].astype(float)
        close(W @ W.T, np.eye(h), rtol=0, atol=1e-5, what="each gate's W_h is orthogonal")
        variance = 2 / (d + h)
        within((host(layer.W_x)[:, mine] ** 2).mean(), variance, variance * np.sqrt(4 / 5), d * h, "Glorot")


@each_backend
@pytest.mark.parametrize("learned", [False, True])
def test_equals_the_steps(rng, backend, learned):
    for T, N in [(5, 3), (1, 1), (0, 2), (4, 0)]:
        x = rng.standard_normal((T, N, 3)).astype(np.float32)
        with using(backend):
            layer = nn.LSTM(3, 4, learn_initial=learned, rng=rng)
            start = np.zeros((2, N, 4), np.float32)
            if learned:
                start[...] = rng.standard_normal((2, 1, 4))
                layer.h0, layer.c0 = (
                    tensor(s[0] if N else np.zeros(4), np.float32, requires_grad=True) for s in start
                )
            hs, (h, c) = layer(tensor(x, np.float32))
            expected = steps.forward(x, *start, *weights(layer))
            assert {hs.dtype, h.dtype, c.dtype} == {np.dtype(np.float32)}
            close(hs, expected[1 : T + 1], 1e-4, 1e-5)
            close(h, expected[T], 1e-4, 1e-5)
            close(c, expected[T + 1], 1e-4, 1e-5)


def test_eight_steps_every_gradient(rng):
    """Of a loss of the sequence, the last h and the last c, against differences: weights, initial state and x."""
    layer = double(nn.LSTM(2, 3, learn_initial=True, rng=rng))
    x = tensor(rng.standard_normal((8, 2, 2)), requires_grad=True)
    u, v, w = (rng.standard_normal(s) for s in [(8, 2, 3), (2, 3), (2, 3)])

    def loss():
        hs, (h, c) = layer(x)
        return (hs * u).sum() + (h * v).sum() + (c * w).sum() + (hs[2] * hs[5]).sum()

    leaves = {**dict(layer.named_parameters()), "x": x}
    for (name, leaf), g in zip(leaves.items(), grad(loss(), list(leaves.values())), strict=True):
        close(g, slope(lambda: loss().item(), leaf._data), 1e-6, 1e-8, name)


@pytest.mark.parametrize("use", ["hs", "h", "c", "one step"])
def test_any_single_output(rng, use):
    """A loss may look at one of the outputs only."""
    layer, seed = double(nn.LSTM(2, 3, rng=rng)), rng.standard_normal((2, 3))
    x = tensor(rng.standard_normal((4, 2, 2)), requires_grad=True)

    def loss():
        hs, (h, c) = layer(x)
        return ({"hs": hs, "h": h, "c": c, "one step": hs[1]}[use] * seed).sum()

    leaves = [x, *layer.parameters()]
    for leaf, g in zip(leaves, grad(loss(), leaves), strict=True):
        close(g, slope(lambda: loss().item(), leaf._data), 1e-6, 1e-8)


def test_pieces_with_carried_state_equal_the_whole(rng):
    """In value, and with the state still in the graph, in every gradient."""
    layer = double(nn.LSTM(2, 3, rng=rng))
    x, seed = tensor(rng.standard_normal((7, 2, 2)), requires_grad=True), rng.standard_normal((7, 2, 3))
    leaves = [x, *layer.parameters()]
    whole, last = layer(x)
    state, total, pieces = None, 0.0, []
    for a, z in [(0, 3), (3, 3), (3, 4), (4, 7)]:
        hs, state = layer(x[a:z], state)
        pieces.append(host(hs))
        total = total + (hs * seed[a:z]).sum()
    close(np.concatenate(pieces), whole, 1e-12)
    for mine, theirs in zip(state, last, strict=True):
        close(mine, theirs, 1e-12)
    for a, b in zip(grad(total, leaves), grad((whole * seed).sum(), leaves), strict=True):
        close(a, b, 1e-10, 1e-12)


def test_a_cell_is_one_step_of_the_layer(rng):
    layer, cell = nn.LSTM(3, 4, rng=rng), nn.LSTMCell(3, 4, rng=rng)
    cell.load_state_dict(layer.state_dict())
    x = tensor(rng.standard_normal((5, 2, 3)), np.float32)
    hs, last = layer(x)
    state = None
    for t in range(5):
        state = cell(x[t], state)
        close(state[0], hs[t], 1e-5, 1e-6)
    for mine, theirs in zip(state, last, strict=True):
        close(mine, theirs, 1e-5, 1e-6)
    assert (state[0]._data != cell(x[4])[0]._data).any(), "the state counts"


def test_detach_cuts_the_past(rng):
    layer = double(nn.LSTM(2, 3, rng=rng))
    x = tensor(rng.standard_normal((4, 2, 2)), requires_grad=True)
    _, state = layer(x)
    cut = nn.detach(state)
    assert isinstance(cut, tuple)
    for a, b in zip(cut, state, strict=True):
        close(a, b, rtol=0)
        assert not a.requires_grad
    hs, _ = layer(x[:1], cut)
    g = grad(hs.sum(), x)
    assert (g[0] != 0).any()
    assert (g[1:] == 0).all(), "the earlier steps had no part in it"
    assert nn.detach(None) is None
    assert nn.detach([x, (None, x)])[1][0] is None


# What a long sequence costs


def peak_of(f):
    """Bytes allocated at most, above what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_784_steps_in_pieces_take_the_memory_of_a_piece(rng):
    """Truncated backpropagation through the pixels of an image: 28 pieces of 28 steps."""
    layer = nn.LSTM(1, 16, rng=rng)
    x = rng.standard_normal((784, 8, 1)).astype(np.float32)

    def train(piece):
        state = None
        for t in range(0, len(x), piece):
            hs, state = layer(Tensor(x[t : t + piece]), nn.detach(state))
            grad((hs * hs).sum(), layer.parameters())

    train(28)
    whole, pieces, one = peak_of(lambda: train(784)), peak_of(lambda: train(28)), 28 * 8 * 16 * 4 * 30
    assert pieces < whole / 15, f"pieces peak at {pieces} bytes, the whole sequence at {whole}"
    assert pieces < one, f"a piece took {pieces} bytes: 30 numbers for each of its states would be {one}"


def test_memory_is_flat_over_a_thousand_steps(rng):
    layer = nn.LSTM(4, 16, rng=rng)
    optimizer = Adam(layer.parameters(), lr=1e-3)
    x = rng.standard_normal((5, 8, 4)).astype(np.float32)
    state, held = None, []
    gc.disable()  # nothing may wait for the collector
    tracemalloc.start()
    try:
        for i in range(1000):
            hs, state = layer(x, nn.detach(state))
            optimizer.step(grad((hs * hs).sum(), layer.parameters()))
            if i in (99, 999):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    kept_by_python = (
        300_000  # up to 2,000 small tuples of each size, for later; a step's states are 18,000 bytes
    )
    assert held[1] < held[0] + kept_by_python, f"{held[0]} bytes after 100 steps, {held[1]} after 1,000"


def test_it_learns_to_remember(rng):
    """The first of ten inputs, told at the end: nothing but the carried cell can know it."""
    layer, head = nn.LSTM(1, 8, rng=rng), nn.Dense(8, 1, rng=rng)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = Adam(parameters, lr=0.02)
    for _ in range(200):
        x = rng.choice([-1.0, 1.0], (10, 32, 1)).astype(np.float32)
        _, (h, _) = layer(x)
        loss = nn.bce_with_logits(head(h), (x[0] + 1) / 2)
        optimizer.step(grad(loss, parameters))
    assert loss.item() < 0.2, f"still {loss.item():.3f} nats of 0.693 after 200 steps"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: nn.LSTM(3, 4, rng=rng)(Tensor(np.zeros((5, 3)))), r"LSTM expects x .*x\[:, None\]"),
        (lambda rng: nn.LSTM(3, 4, rng=rng)(Tensor(np.zeros((5, 2, 7)))), "expects 3 features"),
        (lambda rng: nn.LSTMCell(3, 4, rng=rng)(Tensor(np.zeros((5, 2, 3)))), "one step.*nn.LSTM"),
    ],
)
def test_misfits(rng, make, message):
    with pytest.raises(ShapeError, match=message):
        make(rng)


def test_sizes_must_be_positive(rng):
    with pytest.raises(SettingError, match="n_hidden 0"):
        nn.LSTM(3, 0, rng=rng)
