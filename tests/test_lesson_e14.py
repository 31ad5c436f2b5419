"""Lesson e14: it runs on every backend, and the Parzen window misleads as the text says."""

import math
from itertools import pairwise

import numpy as np
import pytest
from backends import each_backend

from minigen import grad, no_grad
from minigen.backend import from_host, using
from minigen.data import load, scale
from minigen.optim import Adam
from solutions import e14_evaluation as e14
from solutions.e13_vae import VAE, Config

TINY = Config(pixels=16, hidden=(10,), code=3)


# On every backend


@each_backend
def test_bounds_and_training_on_every_backend(backend):
    images = np.random.default_rng(1).random((6, 4, 4), dtype=np.float32)
    with using(backend):
        model = e14.IWAE(TINY, k=4, rng=np.random.default_rng(0))
        optimizer, losses = Adam(model.parameters(), lr=1e-2), []
        for _ in range(3):
            batch = model.prepare(from_host(images), np.random.default_rng(5))
            ((_, loss),) = model.updates(batch, np.random.default_rng(6))
            optimizer.step(grad(loss, optimizer.params))
            losses.append(float(loss.item()))
        rows = e14.compare({"IWAE": model}, images, 7, np.random.default_rng(2), batch=4)
    assert losses == sorted(losses, reverse=True), (
        "three steps on the same batch and noise make the loss fall"
    )
    assert rows[0].sign == "<="
    wanted = getattr(test_bounds_and_training_on_every_backend, "found", None) or (losses, rows[0].nats)
    test_bounds_and_training_on_every_backend.found = wanted
    assert np.allclose(losses, wanted[0], rtol=1e-4)
    assert rows[0].nats == pytest.approx(wanted[1], rel=1e-4)


def test_one_draw_is_the_elbo_in_expectation():
    rng = np.random.default_rng(0)
    model = VAE(TINY, rng=rng)
    x = np.tile((rng.random((1, 16)) < 0.5).astype(np.float32), (20000, 1))
    with no_grad():
        elbo = model.elbo(x, rng).numpy().astype(np.float64)
        bound = e14.iwae_bound(e14.AtVAE(model, x), 1, rng).numpy().astype(np.float64)
    error = math.hypot(elbo.std(), bound.std()) / math.sqrt(len(x))
    assert abs(elbo.mean() - bound.mean()) < 5 * error


# What the text says


def test_centroids_beat_real_digits():
    rng, m = np.random.default_rng(0), 300
    data = load()
    train = scale(data.train.images).reshape(-1, 784)
    validation, test = train[-300:], scale(data.test.images[:300]).reshape(-1, 784)
    sigmas = np.geomspace(0.1, 1, 6)
    real, means = train[rng.choice(3000, m, replace=False)], e14.centroids(train[:3000], m, rng, rounds=4)
    scores = {
        name: e14.parzen_score(x, validation, test, sigmas)[1]
        for name, x in (("real", real), ("means", means))
    }
    assert scores["means"] > scores["real"] + 30, scores


def test_centroids_never_get_worse_and_balanced_subsets_are():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    costs = []
    for rounds in (0, 1, 3, 9):
        centres = e14.centroids(x, 8, np.random.default_rng(1), rounds)
        costs.append(np.square(x[:, None] - centres).sum(2).min(1).sum())
    assert all(b <= a + 1e-6 for a, b in pairwise(costs)), costs
    labels = rng.integers(0, 10, 3000)
    chosen = e14.balanced(labels, 104, rng)
    assert len(set(chosen.tolist())) == 104
    assert set(np.bincount(labels[chosen], minlength=10)) == {10, 11}
