"""The likelihood of a trained VAE, estimated as the papers do: `python -m solutions.run_evidence RUN [DRAWS [IMAGES]]`.

RUN is a folder of `minigen train vae`. Prints minus the importance-weighted bound of DRAWS draws (5,000), in nats per
image, averaged over the first IMAGES held-out images (all): lesson e14, Burda, Grosse and Salakhutdinov 2016.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from minigen.cli.models import trained
from minigen.data import load, scale
from solutions.e14_evaluation import AtVAE, evidence

BLOCK = 50  # images at a time


def minus_log_likelihood(model: Any, images: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(N, H, W) in [0, 1] -> (N,) nats: minus the importance-weighted bound of so many draws per image"""
    batches = [model.prepare(images[i : i + BLOCK], rng) for i in range(0, len(images), BLOCK)]
    return -np.concatenate([evidence(AtVAE(model, batch), draws, rng) for batch in batches])


def main(run: str, draws: str = "5000", images: str = "") -> None:
    """Prints the estimate with its standard error over the images, and the time it took"""
    began = time.perf_counter()
    model, config = trained(run)
    test = scale(load(config["data"]).test.images)[: int(images) if images else None]
    nats = minus_log_likelihood(model, test, int(draws), np.random.default_rng(0))
    error = nats.std(ddof=1) / np.sqrt(len(nats))
    print(
        f"minus log p(x), {int(draws):,} draws, {len(nats):,} test images of {config['data']}: "
        f"{nats.mean():.2f} ± {error:.2f} nats per image ({time.perf_counter() - began:.0f} s)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:4])
