"""The flat buffers behind the optimizers: assigned, frozen and shared parameters, missing gradients; their state."""

import threading

import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, host, tensor

from minigen import Tensor, blas, grad, nn, workers
from minigen.backend import from_host, using
from minigen.errors import CheckpointError, GraphError, ShapeError
from minigen.optim import SGD, Adam, AdamW, RMSProp, flat, optimizer

every_kind = pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True), RMSProp, Adam, AdamW],
    ids=["SGD", "RMSProp", "Adam", "AdamW"],
)


def parameters(rng, dtype=np.float32, shapes=((3, 4), (4,), (2, 2))):
    return [tensor(rng.standard_normal(s), dtype, requires_grad=True) for s in shapes]


def gradients(rng, params):
    return [rng.standard_normal(p.shape).astype(p.dtype) for p in params]


def test_parameters_are_views_of_one_buffer(rng):
    params = parameters(rng)
    before = [p.numpy() for p in params]
    Adam(params)
    assert len({id(p._data.base) for p in params}) == 1
    for p, w in zip(params, before, strict=True):
        assert (p.numpy() == w).all()


@pytest.mark.parametrize("block", [1, 5, 7, 1000])
def test_blocks_of_any_size_give_the_same_weights(rng, monkeypatch, block):
    params = parameters(rng)
    grads = [gradients(rng, params) for _ in range(3)]
    weights = []
    for size in (flat.BLOCK, block):
        monkeypatch.setattr(flat, "BLOCK", size)
        copies = [Tensor(p.numpy(), requires_grad=True) for p in params]
        opt = Adam(copies)
        for g in grads:
            opt.step(g)
        weights.append([p.numpy() for p in copies])
    for a, b in zip(*weights, strict=True):
        close(a, b, rtol=1e-6, atol=1e-7)  # a block's last few numbers may be rounded otherwise


@each_backend
def test_assigned_data_is_taken_in(rng, backend):
    with using(backend):
        params = parameters(rng)
        opt = SGD(params, lr=1)
        mine = rng.standard_normal((3, 4)).astype(np.float32)
        kept = mine.copy()
        params[0].data = from_host(mine)
        ones = [from_host(np.ones(p.shape, np.float32)) for p in params]
        opt.step(ones)
        close(params[0], kept - 1, rtol=1e-6, atol=1e-6)
        assert (mine == kept).all(), "the array that was assigned is not written to"
        params[0].data[...] = 5.0
        opt.step(ones)
        assert (params[0].numpy() == 4).all(), "writing into .data works too"


def test_loading_a_module_under_an_optimizer(rng):
    layer = nn.Dense(2, 3, rng=rng)
    opt, start = SGD(layer.parameters(), lr=1), layer.state_dict()
    opt.step([np.ones((2, 3), np.float32), np.ones(3, np.float32)])
    layer.load_state_dict(start)
    opt.step([np.ones((2, 3), np.float32), np.ones(3, np.float32)])
    close(layer.W, start["W"] - 1, rtol=1e-6, atol=1e-6)
    assert layer.W._data.base is layer.b._data.base


def test_data_of_another_shape_is_refused(rng):
    params = parameters(rng)
    opt = Adam(params)
    params[1].data = np.zeros(9, np.float32)
    with pytest.raises(ShapeError, match=r"shape \(4,\) was given data of shape \(9,\)"):
        opt.step([np.ones((3, 4)), np.ones(9), np.ones((2, 2))])


@every_kind
def test_parameters_without_a_gradient_stand_still(rng, make):
    """And catch up: their bias correction counts their own steps, as if they had been trained alone."""
    params, alone = parameters(rng), None
    opt = make(params)
    alone = Tensor(params[1].numpy(), requires_grad=True)
    opt_alone = make([alone])
    for turn in range(6):
        g = gradients(rng, params)
        if turn % 2:
            opt_alone.step([g[1]])
        else:
            before, state = params[1].numpy(), opt.state_dict()
            g[1] = None
        opt.step(g)
        if not turn % 2:
            assert (params[1].numpy() == before).all()
            changed = [k for k, v in opt.state_dict().items() if k.endswith(".1") and (v != state[k]).any()]
            assert changed == []
        assert (params[1].numpy() == alone.numpy()).all()
    assert list(opt.state_dict()["steps"]) == [6, 3, 6]


def test_no_gradient_at_all_is_no_step(rng):
    params = parameters(rng)
    before = [p.numpy() for p in params]
    opt = Adam(params)
    opt.step()
    assert all((p.numpy() == w).all() for p, w in zip(params, before, strict=True))
    assert list(opt.steps) == [0, 0, 0]


def test_frozen_parameters(rng):
    layer = nn.Dense(3, 2, rng=rng)
    opt = SGD(layer.parameters(), lr=1)
    layer.W.require_grad(False)
    before, x = layer.W.numpy(), Tensor(np.ones((1, 3), np.float32))
    opt.step(grad(layer(x).sum(), layer.parameters()))
    assert (layer.W.numpy() == before).all()
    close(layer.b, [-1.0, -1.0], rtol=0)
    opt.step([np.ones((3, 2)), np.ones(2)])
    assert (layer.W.numpy() == before).all(), "a gradient for a frozen parameter is not used"
    layer.W.require_grad(True)
    opt.step([np.ones((3, 2)), np.ones(2)])
    close(layer.W, before - 1, rtol=1e-6, atol=1e-6)


def test_two_optimizers_on_the_same_parameters(rng):
    params = parameters(rng)
    start = [p.numpy() for p in params]
    first, second = SGD(params, lr=1), SGD(params[1:], lr=2)
    for _ in range(2):
        first.step([np.ones(p.shape, np.float32) for p in params])
        second.step([np.ones(p.shape, np.float32) for p in params[1:]])
    for p, w, moved in zip(params, start, (2, 6, 6), strict=True):
        close(p, w - moved, rtol=1e-5, atol=1e-5)


def test_a_step_between_forward_and_backward_is_noticed(rng):
    layer = nn.Dense(2, 1, rng=rng)
    opt, x = SGD(layer.parameters(), lr=1), Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    y = layer(x).sum()
    opt.step([np.ones((2, 1), np.float32), np.ones(1, np.float32)])
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_an_optimizer_made_between_forward_and_backward_changes_nothing(rng):
    layer, x = nn.Dense(2, 1, rng=rng), Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    y = layer(x).sum()
    SGD(layer.parameters(), lr=1)
    close(grad(y, x), np.broadcast_to(host(layer.W).T, (3, 2)), rtol=0)


def test_a_swapped_rule_is_used(rng, monkeypatch):
    def update(self, w, g, m, v, t):
        assert w.ndim == g.ndim == m.ndim == v.ndim == 1
        assert w.size == g.size == m.size == v.size
        m[:] += g
        w -= self.lr * t * np.sign(g)

    monkeypatch.setattr(Adam, "update", update)
    p = Tensor(np.zeros((2, 2), np.float32), requires_grad=True)
    opt = AdamW([p], lr=0.5)
    opt.step([np.ones((2, 2), np.float32)])
    opt.step([np.ones((2, 2), np.float32)])
    close(p, -1.5, rtol=0)
    close(opt.state_dict()["m.0"], np.full((2, 2), 2.0), rtol=0)


# State


@each_backend
@every_kind
def test_resuming_is_bit_identical(rng, make, backend):
    with using(backend):
        params = parameters(rng)
        opt = make(params)
        steps = [[from_host(g) for g in gradients(rng, params)] for _ in range(6)]
        steps[1][0] = None
        for g in steps[:3]:
            opt.step(g)
        opt.lr = 0.0123
        weights, state = [p.numpy() for p in params], opt.state_dict()
        assert all(type(a) is np.ndarray for a in state.values())
        copies = [tensor(w, np.float32, requires_grad=True) for w in weights]
        other = make(copies)
        other.step(steps[5])
        for p, w in zip(copies, weights, strict=True):
            p.data = from_host(w)
        other.load_state_dict({k: v.copy() for k, v in state.items()})
        assert other.lr == 0.0123
        for g in steps[3:]:
            opt.step(g)
            other.step(g)
        for p, q in zip(params, copies, strict=True):
            assert (p.numpy() == q.numpy()).all()
        for k, v in opt.state_dict().items():
            assert (other.state_dict()[k] == v).all(), k


def test_a_state_is_a_copy(rng):
    params = parameters(rng)
    opt = Adam(params)
    opt.step(gradients(rng, params))
    state = opt.state_dict()
    kept = {k: v.copy() for k, v in state.items()}
    opt.step(gradients(rng, params))
    assert all((state[k] == kept[k]).all() for k in state)
    assert {"m.0", "v.2", "steps", "lr", "beta1"} <= state.keys()


def test_a_state_that_does_not_fit_changes_nothing(rng):
    params = parameters(rng)
    opt = Adam(params)
    opt.step(gradients(rng, params))
    before, state = opt.state_dict(), opt.state_dict()
    del state["m.0"]
    state["v.1"] = state["v.1"][:2]
    state["m.2"] = state["m.2"] + 1
    state["s.0"] = np.zeros(3)
    with pytest.raises(CheckpointError, match=r"missing: m\.0; unexpected: s\.0; mis-shaped: v\.1 is \(2,\)"):
        opt.load_state_dict(state)
    for k, v in opt.state_dict().items():
        assert (v == before[k]).all(), k
    with pytest.raises(CheckpointError, match="does not fit this SGD"):
        SGD(params, lr=1).load_state_dict(before)


def test_an_integer_learning_rate_does_not_truncate_a_loaded_one(rng):
    params = parameters(rng)
    state = SGD(params, lr=0.5, momentum=0.9, nesterov=True).state_dict()
    opt = SGD(params, lr=1)
    opt.load_state_dict(state)
    assert (opt.lr, opt.momentum, opt.nesterov) == (0.5, 0.9, True)


def test_training_a_small_network_with_each(rng):
    x = rng.standard_normal((64, 2)).astype(np.float32)
    y = (x[:, :1] * x[:, 1:] > 0).astype(np.float32)
    for make in (
        lambda p: SGD(p, 0.1, momentum=0.9),
        RMSProp,
        lambda p: Adam(p, 0.02),
        lambda p: AdamW(p, 0.02),
    ):
        model = nn.Sequential(nn.Dense(2, 32, rng=rng), nn.Tanh(), nn.Dense(32, 1, rng=rng))
        opt = make(model.parameters())
        for _ in range(250):
            loss = nn.bce_with_logits(model(Tensor(x)), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        assert loss.item() < 0.6, f"{opt}: exclusive or stays near ln 2 = 0.69 unless something is learned"


@every_kind
def test_workers_change_nothing(make, rng, monkeypatch):
    """Blocks shared between two workers give what one worker alone gives, but for rounding."""
    monkeypatch.setattr(flat, "BLOCK", 64)
    monkeypatch.setattr(optimizer, "SHARED_FROM", 256)
    start, gradients = rng.normal(size=(40, 50)), rng.normal(size=(5, 40, 50))
    results = []
    for count in (1, 2):
        with workers.using(count), blas.one_thread():
            p = Tensor(start.astype("f4"), requires_grad=True)
            opt = make([p])
            for g in gradients:
                opt.step([g.astype("f4")])
            results.append(p.numpy())
    close(*results, rtol=1e-6, atol=1e-7)


def test_a_rule_of_ones_own_runs_on_one_thread(monkeypatch):
    """It may keep things on self from one line to the next, which two threads would mix up."""
    monkeypatch.setattr(optimizer, "SHARED_FROM", 8)
    seen = set()

    class Own(SGD):
        def update(self, w, g, v):
            seen.add(threading.get_ident())
            w -= self.lr * g

    p = Tensor(np.ones(1000, "f4"), requires_grad=True)
    with workers.using(2):
        Own([p], lr=0.1).step([np.ones(1000, "f4")])
    assert seen == {threading.get_ident()}
    assert (p.numpy() == np.float32(1) - np.float32(0.1)).all()
