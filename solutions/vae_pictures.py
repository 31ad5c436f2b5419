"""What `minigen train vae` draws when it is done, and what it prints beside the bound."""

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from minigen import Tensor, no_grad, xp


def manifold(model: Any, steps: int = 12) -> np.ndarray:
    """A model with a code of two numbers -> (steps^2, pixels): decoded from a grid that the prior finds evenly filled

    The grid's lines are quantiles of N(0, 1). Kingma and Welling 2014, figure 4.
    """
    line = [NormalDist().inv_cdf((i + 0.5) / steps) for i in range(steps)]
    z = np.array([(a, b) for b in line[::-1] for a in line], np.float32)  # (steps^2, 2), top row first
    with no_grad():
        return model.decode(Tensor(z)).numpy()


def walk(model: Any, a: Any, b: Any, steps: int = 10) -> np.ndarray:
    """(...), (...) one image each -> (steps, pixels): decoded along the line between the means of their codes"""
    with no_grad():
        mu = model.encode(xp.stack([xp.asarray(a), xp.asarray(b)]))[0].numpy()  # (2, k)
        t = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        return model.decode(Tensor(mu[0] * (1 - t) + mu[1] * t)).numpy()


def draw_all(
    model: Any, data: Any, folder: Path, rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], list[Path]]:
    """A trained model, its Dataset -> (metric -> what to print beside the model's: the baseline, PNGs in `folder`)"""
    from minigen import plot
    from minigen.data import scale

    test = model.prepare(xp.asarray(scale(data.test.images)), rng)
    chosen = test[xp.asarray([int(np.argmax(data.test.labels == digit)) for digit in range(10)])]
    seed = int(rng.integers(2**31))  # of the same codes, once decoded and once drawn to the end
    z = np.random.default_rng(seed).standard_normal((10, model.config.code), np.float32)
    with no_grad():
        prior = {
            "decoded": model.decode(Tensor(z)).numpy(),
            "drawn": model.sample(10, np.random.default_rng(seed)),
        }
        redrawn = {"test images": chosen, "reconstructed": model.reconstruct(chosen).numpy()}
    walks = np.stack([walk(model, chosen[a], chosen[b]) for a, b in PAIRS])
    side = math.isqrt(model.config.pixels)
    pictures = [
        plot.strips(
            redrawn, folder / "reconstructions.png", title="Test images, decoded from the mean of q(z|x)"
        ),
        plot.strips(
            prior, folder / "prior.png", title="Codes from N(0, I): the mean of p(x|z), and a draw from it"
        ),
        plot.interpolation(
            walks.reshape(*walks.shape[:2], side, side),
            folder / "interpolation.png",
            title="From code to code",
        ),
    ]
    if model.config.code == 2:
        pictures.append(plot.image_grid(manifold(model), folder / "manifold.png", title="The plane of codes"))
    return baseline(model, data, rng), pictures


def baseline(model: Any, data: Any, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """What independent pixels pay for the same test images (nothing, where pixels are no zeros and ones)"""
    from minigen.data import scale
    from solutions.e09_autoregressive import Config as Pixels
    from solutions.e09_autoregressive import Independent

    if model.config.likelihood == "gaussian":
        return {}
    pixels = Independent(Pixels(pixels=model.config.pixels), rng=rng)
    train, test = (xp.asarray(scale(part.images)) for part in (data.train, data.test))
    pixels.fit(model.prepare(train, rng))
    return {"negative_elbo": {"independent pixels": pixels.evaluate(model.prepare(test, rng), rng)["nll"]}}


PAIRS = ((0, 6), (1, 7), (3, 8), (4, 9))  # digits that share strokes: the walks are worth looking at
