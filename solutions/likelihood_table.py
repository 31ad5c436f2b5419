"""One command, one table: what every model with a likelihood makes of the same held-out digits, over seeds.

    python -m solutions.likelihood_table [FOLDER [SEEDS]]

trains each at its small preset (hours for several seeds; a run that is there already is not repeated, one that was
stopped goes on) and prints the table as Markdown. Pixels are 0 or 1 at a threshold of one half, nats are sums over an
image, averaged over the 1,000 test images. A model of exact likelihood gives -log p(x); the VAE a bound, and an
estimate by K_DRAWS weighted draws per image (lesson e14).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigen.data import load, scale
from minigen.training import progress, train
from minigen.training.evaluation import evaluate
from solutions import e09_autoregressive as e09
from solutions import e10_pixelrnn as e10
from solutions import e11_pixelcnn as e11
from solutions import e13_vae as e13
from solutions.run_evidence import minus_log_likelihood

K_DRAWS = 500
DIMENSIONS = 784


Measure = Callable[[Any, np.ndarray, np.random.Generator], float]  # model, (N, H, W) images -> nats per image


class Row(NamedTuple):
    """One line of the table: its run's name, the model's class and Config, and how its test images are measured."""

    label: str
    run: str
    kind: Callable[..., Any]
    config: Any
    measure: Measure


def figure(name: str) -> Measure:
    """What the model itself calls its figure: "nll", "negative_elbo" """
    return lambda model, images, rng: evaluate(model, images, rng)[name]


def estimate(model: Any, images: np.ndarray, rng: np.random.Generator) -> float:
    """nats per image: minus the importance-weighted bound of K_DRAWS draws"""
    return float(minus_log_likelihood(model, images, K_DRAWS, rng).mean())


def rows() -> list[Row]:
    """The models, from the simplest. The VAE's dynamic binarization changes nothing: the pixels are 0 or 1 already"""
    exact = figure("nll")
    return [
        Row("independent pixels", "independent", e09.Independent, e09.PRESETS["made"], exact),
        Row("FVSBN (e09)", "fvsbn", e09.FVSBN, e09.PRESETS["fvsbn"], exact),
        Row("MADE (e09)", "made", e09.MADE, e09.PRESETS["made"], exact),
        Row("two Row LSTMs (e10)", "row", e10.PixelRNN, e10.PRESETS["small"], exact),
        Row("two Diagonal BiLSTMs (e10)", "diagonal", e10.PixelRNN, e10.PRESETS["diagonal"], exact),
        Row("PixelCNN (e11)", "pixelcnn", e11.PixelCNN, e11.PRESETS["small"], exact),
        Row("gated PixelCNN (e11)", "gated", e11.PixelCNN, e11.PRESETS["gated"], exact),
        Row("VAE, minus ELBO (e13)", "vae", e13.VAE, e13.PRESETS["small"], figure("negative_elbo")),
        Row(f"VAE, {K_DRAWS} weighted draws (e14)", "vae", e13.VAE, e13.PRESETS["small"], estimate),
    ]


def fitted(row: Row, data: Any, seed: int, folder: Path) -> tuple[Any, float]:
    """-> the trained model, the seconds its training took; the run is kept in the folder"""
    model = row.kind(row.config, rng=np.random.default_rng(seed))
    if row.kind is e09.Independent:
        model.fit(scale(data.train.images))
        return model, 0.0
    place = folder / f"{row.run}-{seed}"
    result = train(
        model, data, epochs=row.config.epochs, batch_size=row.config.batch_size, seed=seed,
        run_dir=place, resume=(place / "checkpoint.npz").exists(), progress=progress(),
    )  # fmt: skip
    return model, result.seconds


def table(folder: Path, seeds: int) -> str:
    """The Markdown table; each run is announced before it begins"""
    data = e09.thresholded(load("mnist-small"))
    test = scale(data.test.images)
    lines = [
        "| model | parameters | nats per test image | bits per pixel | minutes of training |",
        "|---|---|---|---|---|",
    ]
    for row in rows():
        nats, minutes = [], []
        for seed in range(seeds):
            print(f"{row.label}, seed {seed} ({time.strftime('%H:%M:%S')})", flush=True)
            model, seconds = fitted(row, data, seed, folder)
            nats.append(row.measure(model.eval(), test, np.random.default_rng(seed)))
            minutes.append(seconds / 60)
        spread = f" ± {np.std(nats, ddof=1):.2f}" if seeds > 1 else ""
        bits = np.mean(nats) / (DIMENSIONS * math.log(2))
        count = sum(p.size for p in model.parameters())
        lines.append(
            f"| {row.label} | {count:,} | {np.mean(nats):.2f}{spread} | {bits:.4f} | {np.mean(minutes):.1f} |"
        )
    return "\n".join(lines)


def main(folder: str = "runs/likelihoods", seeds: str = "2") -> None:
    """Trains what is not trained yet, and prints the table"""
    print(table(Path(folder), int(seeds)))


if __name__ == "__main__":
    main(*sys.argv[1:3])
