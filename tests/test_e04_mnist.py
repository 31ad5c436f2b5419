"""e04 on real digits: published figures where the full MNIST is, and laws on the embedded digits."""

import numpy as np
import pytest

from minigen.data import load, scale
from solutions import e04_density as e04
from tests.data_helpers import full_sets


@pytest.fixture(scope="module")
def digits():
    data = load()
    return e04.rows(scale(data.train.images[:1500])), e04.rows(scale(data.test.images[:200]))


def test_figures_of_the_full_set():
    data = load("mnist", folder=full_sets())
    train, test = (scale(part.images).reshape(-1, 784) for part in (data.train, data.test))
    model = e04.Bernoulli().fit(train)
    assert -model.log_prob(test).mean() == pytest.approx(
        205.8, abs=0.05
    )  # nats, pixels drawn by their brightness
    mean, axes, _ = e04.principal_axes(train, 30)
    left = test - e04.squeeze(test, mean, axes)[1]
    assert np.square(left).sum(axis=1).mean() == pytest.approx(
        13.87, abs=0.01
    )  # Hinton and Salakhutdinov 2006


def test_a_gaussian_of_pixels_needs_its_ridge(digits):
    train, test = digits
    with pytest.raises(np.linalg.LinAlgError):
        e04.Gaussian().fit(train).log_prob(test)
    found = e04.Gaussian(ridge=0.01).fit(train).log_prob(test)
    assert np.isfinite(found).all()
    assert (found > 0).any(), "a density of 784 pixels is above 1 where they lie close"


def test_kmeans_falls_and_knows_digits(digits):
    train, _ = digits
    centres, objective = e04.kmeans(train, 10, np.random.default_rng(0), rounds=15)
    assert (np.diff(objective) <= 1e-9).all()
    assert objective[-1] < 0.65 * objective[0]
    assert np.isfinite(centres).all()


def test_kernels_see_what_coins_do_not(digits):
    train, test = digits
    mean, axes, _ = e04.principal_axes(train, 20)
    codes, seen = (e04.squeeze(x, mean, axes)[0] for x in (train, test))
    width = e04.choose_width(codes[:1200], codes[1200:], (0.05, 0.3, 0.6, 0.9, 3.0))
    kernels, gaussian = e04.KernelDensity(codes, width), e04.Gaussian().fit(codes)
    assert width in (0.6, 0.9)
    assert kernels.log_prob(seen).mean() > gaussian.log_prob(seen).mean()
    assert e04.KernelDensity(codes, 0.05).log_prob(codes).mean() > kernels.log_prob(codes).mean()


def test_the_implicit_model_has_no_log_prob(digits):
    copier = e04.Copier(digits[0])
    assert not hasattr(copier, "log_prob")
    drawn = copier.sample(5, np.random.default_rng(0))
    assert e04.squared_distances(drawn, digits[0]).min(axis=1) == pytest.approx(np.zeros(5), abs=1e-9)
