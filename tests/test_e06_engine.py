"""The LSTM of lesson e06 and the engine's are one thing; and the lesson's checks know what a gradient is."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from backends import ACCELERATED

from minigen import Tensor, grad, nn, ops, optim
from minigen.backend import from_host, to_host, using
from minigen.course import plug
from solutions import e06_lstm as lesson

SPEC = importlib.util.spec_from_file_location(
    "checks_e06", Path(__file__).parent / "lessons" / "test_e06_lstm.py"
)
checks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(checks)


def leaves(arrays, dtype=np.float64):
    return [Tensor(from_host(np.asarray(a, dtype)), requires_grad=True) for a in arrays]


def close(found, wanted, rtol=1e-10):
    for a, b in zip(found, wanted, strict=True):
        a, b = (to_host(getattr(one, "_data", one)) for one in (a, b))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (1 + np.abs(b).max(initial=0)))


def draw(rng):
    """lstm's operands, of random geometry, empty ones too"""
    t, n = int(rng.choice([0, 1, 2, 9])), int(rng.choice([0, 1, 4]))
    d, h = map(int, rng.integers(1, 6, 2))
    return checks.draw_lstm(rng, T=t, N=n, D=d, H=h)


def test_the_oracles_of_the_checks(rng):
    """The chain rule written out in the checks, against derivatives by complex numbers."""
    arrays = checks.draw_lstm(rng, T=4, N=2)
    seed = rng.standard_normal((6, 2, checks.H))
    close(checks.lstm_oracle(seed, arrays), checks.slopes(checks.lstm_y, seed, arrays))
    arrays = x, _, W_x, W_h, _ = checks.draw(rng, T=4, N=2)
    seed = rng.standard_normal((5, 2, checks.H))
    found = checks.rnn_by_hand(seed, checks.rnn_states(*arrays), x, W_x, W_h)
    close(found, checks.slopes(checks.rnn_states, seed, arrays))


@pytest.mark.parametrize("trial", range(6))
def test_lstm_is_the_engine_s(rng, trial):
    """Values, gradients, and gradients of gradients."""
    arrays = draw(rng)
    mine, theirs = leaves(arrays), leaves(arrays)
    y, z = lesson.lstm(*mine), ops.lstm(*theirs)
    seed = rng.standard_normal(y.shape)
    close([y, lesson.lstm(*arrays)], [z, ops.lstm(*arrays)])
    close(grad(y, mine, seed=seed), grad(z, theirs, seed=seed))
    found = []
    for f, xs in ((lesson.lstm, mine), (ops.lstm, theirs)):
        first = grad(f(*xs), xs, seed=seed, create_graph=True)
        total = sum((ops.sum(ops.square(g)) for g in first), start=Tensor(np.zeros(())))
        found.append([np.zeros(()) if g is None else g for g in grad(total, xs, allow_unused=True)])
    close(*found, rtol=1e-8)


def test_layers_are_the_engine_s(rng):
    """The same parameters from the same generator, the same results, the same state."""
    for learn in (False, True):
        seed = int(rng.integers(2**31))
        mine, theirs = (
            kind(3, 5, learn_initial=learn, rng=np.random.default_rng(seed))
            for kind in (lesson.LSTM, nn.LSTM)
        )
        assert mine.state_dict().keys() == theirs.state_dict().keys()
        close(mine.state_dict().values(), theirs.state_dict().values(), 0.0)
        x = rng.standard_normal((7, 2, 3)).astype(np.float32)
        (hs, last), (their_hs, their_last) = mine(x), theirs(x)
        close([hs, *last], [their_hs, *their_last], 1e-5)
        close([mine(x, last)[0]], [theirs(x, their_last)[0]], 1e-5)


def test_clipping_is_the_engine_s(rng):
    for limit in (1e-3, 1.0, 1e3):
        grads = [rng.standard_normal((3, 4)), None, rng.standard_normal(()) * 5, np.zeros((0, 2))]
        mine, theirs = list(grads), list(grads)
        close(
            [np.asarray(lesson.clip_grad_norm(mine, limit))],
            [np.asarray(optim.clip_grad_norm(theirs, limit))],
        )
        assert mine[1] is None
        assert theirs[1] is None
        close([g for g in mine if g is not None], [g for g in theirs if g is not None])


def test_all_of_it_in_the_engine(rng):
    """What PLUGS says, all at once: nn.LSTM trains as before."""
    seed = int(rng.integers(2**31))
    want = checks.small_run(seed, checks.network)
    parts = {}
    for hole, target in lesson.PLUGS.items():
        owner = lesson
        for name in hole.split("."):
            owner = vars(owner)[name]
        parts[target] = owner
    with plug(parts):
        assert ops.lstm.forward is lesson.lstm.forward
        found = checks.small_run(seed, checks.network)
    close([found], [want], 1e-4)
    assert ops.lstm.forward is not lesson.lstm.forward


@pytest.mark.parametrize("backend", ACCELERATED)
def test_on_other_backends(rng, backend):
    arrays = checks.draw_lstm(rng, T=3, N=2)
    x, h0, _, *_ = arrays
    plain = [x, h0, *checks.draw(rng, T=3, N=2)[2:]]
    seeds = rng.standard_normal((5, 2, checks.H)), rng.standard_normal((4, 2, checks.H))

    def run():
        found = []
        for f, operands, seed in ((lesson.lstm, arrays, seeds[0]), (lesson.rnn, plain, seeds[1])):
            xs = leaves(operands)
            y = f(*xs)
            found += [to_host(y._data), *map(to_host, grad(y, xs, seed=from_host(seed)))]
        layer = lesson.LSTM(checks.D, checks.H, learn_initial=True, rng=np.random.default_rng(0))
        hs, _ = layer(Tensor(from_host(x.astype(np.float32))))
        grads = grad(hs.sum(), layer.parameters())
        lesson.clip_grad_norm(grads, 0.1)
        found += [lesson.gradient_by_distance(layer, from_host(x.astype(np.float32))), *map(to_host, grads)]
        return found

    wanted = run()
    with using(backend):
        close(run(), wanted, 1e-5)


def test_the_run_and_its_pictures(tmp_path, monkeypatch, capsys):
    """`python -m solutions.e06_lstm`, smaller."""
    small = {
        "learn_to_add": {"steps": 25, "T": 6},
        "learn_to_echo": {"streams": 1},
        "learn_digits": {"epochs": 1, "n_hidden": 4},
    }
    for name, settings in small.items():
        full = getattr(lesson, name)
        monkeypatch.setattr(lesson, name, lambda *a, full=full, settings=settings: full(*a, **settings))
    lesson.main(tmp_path)
    said = capsys.readouterr().out
    assert said.count("squared error") == 2
    assert said.count("nats per bit") == 3
    assert said.count("misnamed") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "e06_adding.png",
        "e06_distance.png",
        "e06_gates.png",
    ]
