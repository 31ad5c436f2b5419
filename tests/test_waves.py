"""Several rows at once: the logits and the images are those of the whole network, pixel by pixel."""

import numpy as np
import pytest
from strict import STRICT

from minigen import no_grad, xp
from minigen.backend import using
from minigen.errors import SettingError
from solutions import waves
from solutions.e10_pixelrnn import Config as RNNConfig
from solutions.e10_pixelrnn import PixelRNN
from solutions.e11_pixelcnn import Config, PixelCNN, double
from solutions.e12_sampling import Naive, sample

KINDS = {
    "3x3": {"first": 5, "kernel": 3},
    "first smaller": {"first": 3, "kernel": 7},
    "1x1 blocks": {"first": 3, "kernel": 1},
    "no blocks": {"blocks": 0},
    "smaller than the lag": {"side": 3, "first": 7, "kernel": 5},
    "as wide as the lag": {"side": 4, "first": 7, "kernel": 5},
    "one pixel": {"side": 1},
    "colours": {"colours": 3, "levels": 4},
}


def model_of(rng, **changes):
    model = double(
        PixelCNN(Config(**{"side": 7, "h": 3, "blocks": 2, "kernel": 5, "head": 6} | changes), rng=rng)
    )
    for p in model.parameters():  # far from p = 1/2, so that a wrong logit draws another pixel
        p.data = p.data + xp.asarray(0.3 * rng.standard_normal(p.shape))
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_the_images_are_those_of_the_naive_sampler(rng, kind):
    model = model_of(rng, **KINDS[kind])
    for n, seed in ((1, 3), (5, 4)):
        found = waves.in_waves(model, n, np.random.default_rng(seed), temperature=1.3)
        wanted = sample(model, n, np.random.default_rng(seed), temperature=1.3, predictor=Naive)
        assert found.shape == wanted.shape
        assert (found == wanted).all()
    assert 0 < wanted.mean() < 1, "nothing to tell apart"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "colours"])
def test_the_logits_are_those_of_the_model(rng, kind):
    model = model_of(rng, **KINDS[kind])
    side, n = model.config.side, 4
    x = (rng.random((n, side, side)) < 0.5) * 1.0
    with no_grad():
        wanted = model.logits(xp.asarray(x)).data.reshape(n, -1)
    line, found, seen = x.reshape(n, -1), np.full((n, side * side), np.nan), waves.Waves(model, n)
    for t in range(seen.times):
        here = seen.begin(t)
        found[:, here] = seen.logits().reshape(-1, n).T
        seen.put(line[:, here].T, 0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def test_one_step_of_a_wave_holds_several_rows(rng):
    seen = waves.Waves(model_of(rng, side=28, first=7, kernel=3, h=1), 1)
    assert (seen.lag, seen.times) == (4, 136)
    pixels = [p for t in range(seen.times) for p in range(28 * 28)[seen.begin(t)]]
    assert sorted(pixels) == list(range(28 * 28)), "every pixel once"


def test_on_a_device_that_forgives_nothing():
    with using(STRICT):
        model = model_of(np.random.default_rng(2))
        found = waves.in_waves(model, 2, np.random.default_rng(3))
    model = model_of(np.random.default_rng(2))
    assert (found == waves.in_waves(model, 2, np.random.default_rng(3))).all()


def test_other_models_draw_as_ever(rng):
    gated = PixelCNN(Config(side=5, h=3, blocks=1, gated=True), rng=rng)
    recurrent = PixelRNN(RNNConfig(side=5, h=3), rng=rng)
    for model in (gated, recurrent):
        assert not waves.can(model)
        found = waves.in_waves(model, 2, np.random.default_rng(1))
        assert (found == sample(model, 2, np.random.default_rng(1))).all()


def test_a_temperature_of_zero_is_refused(rng):
    with pytest.raises(SettingError, match="temperature is 0; expected above 0"):
        waves.in_waves(model_of(rng), 1, rng, temperature=0)
