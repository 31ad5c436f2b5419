"""The tables and pictures of lesson e04: densities of a line and of digits, with and without labels."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from solutions import density_pictures as pictures
from solutions import e04_density as e04

WIDTHS = (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.4)


class Mixture:
    """The truth behind the picture of a line: two normals, a narrow one whose density exceeds 1, and a wide one"""

    def log_prob(self, x: Any) -> np.ndarray:
        """(N,) -> (N,) nats"""
        x = e04.rows(x)[:, 0]
        parts = [
            np.log(share / sd) - 0.5 * ((x - mean) / sd) ** 2
            for share, mean, sd in ((0.4, -1, 0.12), (0.6, 1, 0.6))
        ]
        return np.logaddexp(*parts) - 0.5 * e04.LOG_2PI

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, 1)"""
        narrow = rng.random(n) < 0.4
        return np.where(narrow, rng.normal(-1, 0.12, n), rng.normal(1, 0.6, n))[:, None]


def line(folder: Path, rng: np.random.Generator) -> None:
    """200 numbers, three estimates of their density, and how far each is from the truth"""
    truth, low, high = Mixture(), -4.0, 4.0
    train, validation = truth.sample(200, rng), truth.sample(200, rng)
    train, validation = np.clip(train, low, high), np.clip(validation, low, high)
    width = e04.choose_width(train, validation, np.geomspace(0.01, 1, 25).tolist())
    models = {
        "histogram, 4 bins": e04.Histogram(np.linspace(low, high, 5)).fit(train),
        "histogram, 40 bins": e04.Histogram(np.linspace(low, high, 41)).fit(train),
        "histogram, 400 bins": e04.Histogram(np.linspace(low, high, 401)).fit(train),
        "Gaussian": e04.Gaussian().fit(train),
        "kernels, width 0.01": e04.KernelDensity(train, 0.01),
        f"kernels, width {width:.2f}": e04.KernelDensity(train, width),
        "kernels, width 0.60": e04.KernelDensity(train, 0.6),
    }
    grid = np.linspace(low, high, 4001)[:-1] + 0.001
    print("200 numbers: estimate, its integral, KL(truth || estimate), mean log p of training and validation")
    for name, model in models.items():
        distance = e04.kl(truth.log_prob(grid), model.log_prob(grid), 0.002)
        total = e04.probability(model, 2 * low, 2 * high, 8000)
        scores = [model.log_prob(x).mean() for x in (train, validation)]
        print(f"  {name:22} {total:6.4f} {distance:7.3f} nats {scores[0]:8.3f} {scores[1]:8.3f}")
    print(pictures.line(train, truth, models, folder / "e04_line.png"))
    mus = np.linspace(-1, 1.5, 51)
    gaussian = e04.Gaussian().fit(train)
    p = e04.Histogram(np.linspace(low, high, 41), extra=0).fit(train)
    middles = np.linspace(low, high, 41)[:-1] + 0.1
    likelihood, divergence = [], []
    for mu in mus:
        gaussian.mean = np.array([mu])
        likelihood.append(-gaussian.log_prob(train).mean())
        divergence.append(e04.kl(p.log_prob(middles), gaussian.log_prob(middles), 0.2))
    print(pictures.likelihood(mus, likelihood, divergence, train.mean(), folder / "e04_likelihood.png"))


def structure(
    train: np.ndarray, test: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Clusters and axes of images, printed -> ten centres. The labels only tell how pure the clusters are"""
    centres, objective = e04.kmeans(train, 10, rng)
    members = e04.nearest_centre(train, centres)
    pure = sum(np.bincount(labels[members == k], minlength=1).max() for k in range(10)) / len(train)
    print(f"k-means, 10 centres: {objective[0]:.2f} -> {objective[-1]:.2f} squared error per training image;")
    print(f"  {100 * pure:.1f} % of the images bear the commonest label of their cluster (labels unseen)")
    mean, axes, _ = e04.principal_axes(train, 64)
    for k in (2, 6, 10, 20, 30, 32, 50, 64):
        error = np.square(test - e04.squeeze(test, mean, axes[:k])[1]).sum(axis=1).mean()
        print(f"PCA-{k}: {error:.2f} squared error per test image")
    return centres


def coins(train: np.ndarray, test: np.ndarray) -> e04.Bernoulli:
    """Nats per test image of independent pixels, for grey images and for those cut at a half -> the grey one"""
    grey, cut = e04.Bernoulli().fit(train), e04.Bernoulli().fit(train > 0.5)
    print(f"every pixel 1/2: {784 * np.log(2):.2f} nats per test image")
    print(f"Bernoulli, dynamic (expected): {-grey.log_prob(test).mean():.2f} nats per test image")
    print(f"Bernoulli, threshold: {-cut.log_prob(test > 0.5).mean():.2f} nats per test image")
    return grey


def codes_of(
    train: np.ndarray, test: np.ndarray, folder: Path, rng: np.random.Generator
) -> tuple[float, dict]:
    """A Gaussian and kernels on 30 PCA codes -> the kernels' width, name -> twelve samples, as images"""
    mean, axes, _ = e04.principal_axes(train, 30)
    codes, test_codes = (e04.squeeze(x, mean, axes)[0] for x in (train, test))
    n = len(codes) * 5 // 6  # the rest chooses the width
    kept, validation = codes[:n], codes[n:][:2000]
    scores = [
        [e04.KernelDensity(kept, w).log_prob(x).mean() for x in (kept[:1000], validation)] for w in WIDTHS
    ]
    width = e04.choose_width(kept, validation, WIDTHS)
    print(pictures.widths(WIDTHS, scores, width, folder / "e04_width.png"))
    models = {"Gaussian": e04.Gaussian().fit(codes), f"kernels {width}": e04.KernelDensity(codes, width)}
    for name, model in models.items():
        found = model.log_prob(test_codes).mean()
        print(f"30 PCA codes, {name}: mean log p of the test codes {found:.2f} nats")
    return width, {name: model.sample(12, rng) @ axes + mean for name, model in models.items()}


def digits(folder: Path, data: Any, rng: np.random.Generator) -> None:
    """Clusters, axes, densities and classifiers of images, and a picture of what they draw"""
    from minigen import plot
    from minigen.data import scale

    train, test = e04.rows(scale(data.train.images)), e04.rows(scale(data.test.images))
    shown = {"test images": test[:12], "k-means": structure(train, test, data.train.labels, rng)}
    shown["Bernoulli"] = coins(train, test).sample(12, rng)
    width, samples = codes_of(train, test, folder, rng)
    shown |= samples | {"copier": e04.Copier(train).sample(12, rng)}
    title = "Centres of ten clusters, and samples of four models"
    print(plot.strips(shown, folder / "e04_samples.png", title=title))
    corners(data, train, test, width)


def corners(data: Any, train: np.ndarray, test: np.ndarray, width: float) -> None:
    """Parametric or not, supervised or not: all four pairs exist. Test errors of those with labels"""
    labels = data.train.labels
    shares = np.bincount(labels, minlength=10) / len(labels)
    mean, axes, _ = e04.principal_axes(train, 30)
    codes, test_codes = (e04.squeeze(x, mean, axes)[0] for x in (train, test))
    digit = [labels == c for c in range(10)]
    makers = {
        "parametric: Bernoulli of 784 pixels": ([e04.Bernoulli().fit(train[d]) for d in digit], test),
        "parametric: Gaussian of 30 codes": ([e04.Gaussian(ridge=0.1).fit(codes[d]) for d in digit], test_codes),
        "non-parametric: kernels on 30 codes": ([e04.KernelDensity(codes[d], width) for d in digit], test_codes),
    }  # fmt: skip
    for name, (densities, x) in makers.items():
        wrong = e04.posterior(densities, shares, x).argmax(axis=1) != data.test.labels
        print(f"{name}, one for each digit: {100 * wrong.mean():.1f} % test error")


def main(folder: Path = Path("runs/e04"), name: str = "") -> None:
    """Prints the tables of the lesson's text and draws its pictures: on all of MNIST where MINIGEN_DATA is set"""
    from minigen.data import load

    start = time.perf_counter()
    data = load(name or ("mnist" if os.environ.get("MINIGEN_DATA") else "mnist-small"))
    print(f"{data.name}: {len(data.train.images)} training images, {len(data.test.images)} test images")
    line(folder, np.random.default_rng(1))
    digits(folder, data, np.random.default_rng(0))
    print(f"{time.perf_counter() - start:.0f} s")
