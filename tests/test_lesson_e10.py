"""Of e10's model what is no exercise: it runs on the engine's layers, samples what it says, and misses one pixel."""

import math
from types import SimpleNamespace

import numpy as np
from nn_helpers import tensor

from minigen import Tensor, grad, nn
from solutions import e10_pixelrnn as e10


def numbers(value):
    return np.asarray(value.numpy() if isinstance(value, Tensor) else value, np.float64)


def near(a, b, rtol=1e-5):
    return np.allclose(numbers(a), numbers(b), rtol=rtol, atol=rtol)


def leaf(array):
    return tensor(array, requires_grad=True)


def randomize(model, rng, scale=0.7):
    for p in model.parameters():
        p._data = rng.normal(0, scale, p.shape)
    return model


def small(rng, **changes):
    """A small model in float64, random weights and biases everywhere"""
    config = e10.Config(**({"side": 3, "h": 3, "head": 5, "first": 3} | changes))
    return randomize(e10.PixelRNN(config, rng=rng), rng)


def test_the_engine_computes_the_same(rng):
    """What the model runs on is what the lesson writes out."""
    for ours, fast in ((e10.RowLSTM, nn.RowLSTM), (e10.DiagonalBiLSTM, nn.DiagonalBiLSTM)):
        layer = randomize(ours(2, 3, rng=rng), rng)
        x = leaf(rng.normal(size=(2, 2, 4, 5)))
        wanted = [x, *layer.parameters()]
        a, b = layer(x), fast.__call__(layer, x)
        assert near(a, b, 1e-9), f"minigen.nn.{fast.__name__} computes something else"
        seed = rng.normal(size=a.shape)
        for mine, theirs in zip(grad(a, wanted, seed=seed), grad(b, wanted, seed=seed), strict=True):
            assert near(mine, theirs, 1e-9), f"minigen.nn.{fast.__name__} has other gradients"


def test_evaluate_says_nats_and_bits(rng):
    model = small(rng)
    x = (rng.random((7, 3, 3)) < 0.5) * 1.0
    found = model.evaluate(x, rng)
    assert near(found["nll"], -numbers(model.log_prob(Tensor(x))).mean()), "nll: nats per image, averaged"
    assert near(found["bits_per_dim"], found["nll"] / (9 * math.log(2))), "bits per dimension"


def test_the_pixel_that_a_network_of_diagonals_misses(rng):
    """The last one of the row above, beyond the first convolution's reach: mask A hid it from its own feature."""
    side, reach = 5, 1
    model = small(rng, kind="diagonal", side=side, head=16)
    sees = e10.dependencies(model.logits, rng.normal(size=(16, 1, side, side)))
    for i, j, k, l in np.ndindex(*sees.shape):
        missed = (k, l) == (i - 1, side - 1) and l - j > reach
        assert sees[i, j, k, l] == ((k, l) < (i, j) and not missed), f"({i}, {j}) and ({k}, {l})"


def test_sampling_carries_states_and_draws_the_same(rng):
    for changes in ({}, {"kind": "diagonal"}, {"levels": 4}):
        model = small(rng, side=4, **changes)
        seed = int(rng.integers(1 << 30))
        x = model.draw(np.zeros((3, 1, 4, 4)), 0, np.random.default_rng(seed))
        assert near(model.sample(3, np.random.default_rng(seed)), x[:, 0]), changes


def test_samples_follow_p(rng):
    """6,000 images of 2 x 2 against their 16 probabilities: chi-square, 15 degrees of freedom"""
    model, n = small(rng, side=2, kind="diagonal", layers=1), 6000
    every = (np.arange(16)[:, None] >> np.arange(4) & 1).reshape(16, 2, 2)
    p = np.exp(numbers(model.log_prob(Tensor(every * 1.0))))
    drawn = model.sample(n, rng).reshape(n, 4).astype(int) @ (1 << np.arange(4))
    counts = np.bincount(drawn, minlength=16)
    chi = float(((counts - n * p) ** 2 / (n * p + 1e-9)).sum())
    assert chi < 60, f"chi-square of the samples is {chi:.1f}, expected about 15"


def test_prepared_pixels_are_levels(rng):
    images = rng.random((200, 5, 5)).astype(np.float32)
    for changes in ({}, {"binarize": "dynamic"}, {"levels": 256}, {"levels": 4}):
        model = e10.PixelRNN(e10.Config(side=5, h=1, head=1, layers=1, **changes), rng=rng)
        steps = model.config.levels - 1
        x = numbers(model.prepare(images, rng))
        assert near(x * steps, np.rint(x * steps)), f"{changes}: a value is none of k / (levels - 1)"
        assert abs(x.mean() - images.mean()) < 0.03, f"{changes}: the mean has moved"
        if changes.get("levels"):
            assert np.abs(x - images).max() <= 0.51 / steps, "not the nearest level"
    state = SimpleNamespace(config=e10.Config(binarize="dynamic"))
    a, b = (e10.PixelRNN.prepare(state, images, rng) for _ in range(2))
    assert (a != b).any(), "dynamic: drawn anew at each call"
