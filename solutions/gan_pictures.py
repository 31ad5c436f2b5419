"""What `minigen train gan` draws and says when it is done; the pictures and tables of lesson e15.

python -m solutions.e15_gan pictures [DIR]     the four pictures of the text
python -m solutions.e15_gan ring [SEEDS]       how many of 8 modes, by loss and seed
python -m solutions.e15_gan stacked [STEPS]    how many of 1000 modes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, grad, ops, plot, to_host, xp
from minigen.data import load, scale
from minigen.nn import Module

PAGES = 10  # after 1, 2, 4, ... 512 epochs


class Album(Module):
    """What a generator makes of the same noise after 1, 2, 4, 8, ... epochs. Buffers only: a resumed run goes on."""

    def __init__(self, noise: Any, shape: tuple[int, ...]):
        self.noise = Tensor(noise)  # (n, z)
        self.pages = Tensor(np.zeros((PAGES, len(noise), *shape), np.float32))
        self.seen = Tensor(np.zeros((), np.float32))  # epochs

    def keep(self, generator: Any) -> None:
        """Count an epoch, and draw a page if it is one of 1, 2, 4, ..."""
        seen = int(self.seen.item()) + 1
        self.seen.data = xp.asarray(np.float32(seen))
        page = seen.bit_length() - 1
        if seen == 1 << page and page < PAGES:
            pages = self.pages.data.copy()
            pages[page] = generator(self.noise).data
            self.pages.data = pages


def finish(
    model: Any, data: Any, folder: Path, rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], list[Path]]:
    """A trained model, its Dataset -> (no baselines, PNGs in `folder`); says which classes 1,000 samples fall into"""
    from solutions.e15_gan import digit_classifier, digits_of, mode_statistics

    pages, seen = model.album.pages.numpy(), int(model.album.seen.item())
    rows = {f"epoch {1 << i}": ink(pages[i]) for i in range(PAGES) if 1 << i <= seen}
    drawn = [plot.strips(rows, folder / "progress.png", title="The same noise, as the generator learns")]
    classify = digit_classifier(scale(data.train.images), data.train.labels, np.random.default_rng(0))
    right = float((classify(scale(data.test.images)) == data.test.labels).mean())
    samples = to_host(model.sample(1000, rng))
    digits = digits_of(classify, samples)
    covered, kl = mode_statistics(digits)
    modes, most = 10 ** digits.shape[1], digits.shape[1] * np.log(10)
    says = f"classes of 1,000 samples: {covered:,} of {modes:,}, entropy {most - kl:.3f} of {most:.3f} nats"
    print(f"{says} (by a classifier that is right for {right:.1%} of the test images)", file=sys.stderr)
    if digits.shape[1] == 1:
        drawn.append(class_strips(samples[:, 0], digits[:, 0], folder / "classes.png", says))
    return {}, drawn


def ink(images: np.ndarray) -> np.ndarray:
    """(n, C, H, W) -> (n, H, W): the mean of the colours; of one colour, that one"""
    return images.mean(axis=1)


def class_strips(samples: np.ndarray, digits: np.ndarray, path: Path, title: str) -> Path:
    """(n, H, W), (n,) -> a PNG: a strip for each class, with how many samples the classifier puts there"""
    rows = {}
    for digit in range(10):
        own = samples[digits == digit][:12]
        missing = np.zeros((12 - len(own), *samples.shape[1:]), samples.dtype)
        rows[f"{digit}: {int((digits == digit).sum())}"] = np.concatenate([own, missing])
    return plot.strips(rows, path, title=title)


# The pictures of the text


def saturation(folder: Path) -> Path:
    """The three losses of the generator against the logit of a fake image, and their slopes"""
    from solutions.e15_gan import least_squares, minimax_loss, non_saturating_loss

    logits = np.linspace(-6, 6, 241)
    losses = {
        "minimax": minimax_loss,
        "non-saturating": non_saturating_loss,
        "least squares": lambda f: least_squares(f, 1.0),
    }
    with _figure(folder / "e15_saturation.png", (8.4, 3.0)) as figure:
        value, slope = figure.subplots(1, 2)
        for colour, (name, loss) in zip(plot.COLOURS, losses.items(), strict=False):
            x = Tensor(logits, requires_grad=True)
            y = [float(loss(Tensor(np.array([l]))).item()) for l in logits]
            g = to_host(grad(loss(x), x)) * len(logits)
            value.plot(logits, y, color=colour, lw=1.8, label=name)
            slope.plot(logits, np.abs(g), color=colour, lw=1.8, label=name)
        value.set(title="the generator's loss", xlabel="logit of a fake image", ylim=(-6, 8))
        slope.set(title="how hard it pushes: |slope|", xlabel="logit of a fake image", ylim=(-0.05, 2))
        for ax in (value, slope):
            ax.axvspan(-6, -3, color="#f3ece4", zorder=0)
        slope.annotate("D is sure:\nminimax is silent", (-5.8, 0.12), fontsize=8, color=plot.SOFT)
        value.legend(fontsize=8, loc="lower left")
    return folder / "e15_saturation.png"


def paths(folder: Path) -> Path:
    """f = x y: the circles and spirals that gradient steps make of a game"""
    from solutions.e15_gan import duel

    with _figure(folder / "e15_duel.png", (8.4, 3.1)) as figure:
        cases = (("simultaneous, step 0.2", 0.2, False, 30), ("alternating, step 0.2", 0.2, True, 60),
                 ("alternating, step 1", 1.0, True, 12))  # fmt: skip
        for ax, (title, lr, alternating, steps) in zip(figure.subplots(1, 3), cases, strict=True):
            path = duel(1.0, 0.0, lr, steps, alternating=alternating)
            ax.plot(*path.T, color=plot.COLOURS[0], lw=1.0, marker="o", ms=2.5)
            ax.plot(*path[0], color=plot.COLOURS[1], marker="o", ms=6)
            ax.plot(0, 0, color=plot.INK, marker="+", ms=9)
            ax.set(title=title, aspect="equal", xlabel="x makes f small", ylabel="y makes it large")
            ax.title.set_fontsize(9)
    return folder / "e15_duel.png"


def best_discriminator(folder: Path) -> Path:
    """p and q on a line, the best D for them, and the D that gradient descent on discriminator_loss finds"""
    from solutions.e15_gan import optimal_discriminator

    x = np.linspace(-4, 4, 81)
    p = 0.5 * normal(x, -1.2, 0.6) + 0.5 * normal(x, 1.4, 0.5)
    q = normal(x, 0.3, 1.0)
    found = fit_on_grid(p, q, 3000)
    with _figure(folder / "e15_optimal.png", (6.4, 3.0)) as figure:
        ax = figure.subplots()
        for y, label, colour in ((p, "p, real", 0), (q, "q, fake", 1)):
            ax.plot(x, y, color=plot.COLOURS[colour], lw=1.8, label=label)
        ax.plot(x, optimal_discriminator(p, q), color=plot.COLOURS[2], lw=1.8, label="p / (p + q)")
        ax.plot(x[::2], found[::2], "o", ms=3, color=plot.INK, label="D by gradient descent")
        ax.axhline(0.5, color=plot.SOFT, lw=0.8, ls=(0, (5, 3)))
        ax.set(xlabel="x", ylim=(0, 1.02))
        ax.legend(fontsize=8, loc="upper right")
    return folder / "e15_optimal.png"


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """A figure without global state, written when the block ends."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        yield figure
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def normal(x: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    """The density of N(mu, sigma^2) at x"""
    return np.exp(-(((x - mu) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))


def fit_on_grid(p: np.ndarray, q: np.ndarray, steps: int) -> np.ndarray:
    """(k,), (k,) -> (k,): a D of one free logit at each point, trained on p softplus(-l) + q softplus(l)"""
    logits = Tensor(np.zeros(len(p)), requires_grad=True)
    for _ in range(steps):
        loss = ops.sum(ops.softplus(-logits) * p + ops.softplus(logits) * q)
        logits.data = logits.data - 4.0 * grad(loss, logits)
    return 1 / (1 + np.exp(-logits.numpy()))


def rings(folder: Path, seeds: int = 4) -> Path:
    """Samples of GANs trained on the ring: a row for each loss, a column for each seed"""
    from solutions.e15_gan import RING_LOSSES, centres, count_modes, ring_samples

    with _figure(folder / "e15_ring.png", (1.7 * seeds, 1.8 * len(RING_LOSSES))) as figure:
        axes = figure.subplots(len(RING_LOSSES), seeds, squeeze=False)
        for row, (loss, config) in zip(axes, RING_LOSSES.items(), strict=True):
            for seed, ax in enumerate(row):
                x = ring_samples(config, seed)
                covered, good = count_modes(x, centres(), 0.05, least=20)
                ax.plot(*centres().T, "o", ms=9, mfc="none", color=plot.COLOURS[1], mew=0.8)
                ax.plot(*x[:600].T, ".", ms=1.2, color=plot.COLOURS[0])
                ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=[], yticks=[], aspect="equal")
                ax.set_title(f"{covered} of 8, {good:.0%} good", fontsize=7)
            row[0].set_ylabel(loss, fontsize=8)
    return folder / "e15_ring.png"


# The tables of the text


def ring_table(seeds: int) -> None:
    """Modes of the ring and the share of good samples, for each loss and seed"""
    from solutions.e15_gan import RING_LOSSES, ring_modes

    for loss, config in RING_LOSSES.items():
        found = [ring_modes(config, seed) for seed in range(seeds)]
        modes, good = zip(*found, strict=True)
        enough = sum(m >= 7 for m in modes)
        shares = f"good samples {np.mean(good):.0%} (+- {np.std(good):.0%})"
        print(f"{loss:15} modes {modes}: at least 7 in {enough} of {seeds} seeds, {shares}", flush=True)


def stacked_table(steps: int) -> None:
    """Modes of 26,000 samples of a GAN trained on stacked digits, and of as many real ones"""
    from solutions.e15_gan import (
        GAN,
        STACKED,
        digit_classifier,
        digits_of,
        mode_statistics,
        stack_digits,
        train_on,
    )

    data, rng = load(), np.random.default_rng(0)
    images = scale(data.train.images)
    classify = digit_classifier(images, data.train.labels, rng)
    model = train_on(GAN(STACKED, rng=rng), lambda n: stack_digits(images, n, rng)[0], steps, rng)
    for name, draw in (
        ("real", lambda n: stack_digits(images, n, rng)[0]),
        ("samples", lambda n: to_host(model.sample(n, rng))),
    ):
        digits = np.concatenate([digits_of(classify, draw(1000)) for _ in range(26)])
        covered, kl = mode_statistics(digits)
        print(f"{name}: {covered} of 1000 modes, KL {kl:.2f} nats")


def main() -> None:
    """python -m solutions.e15_gan pictures [DIR] | ring [SEEDS] | stacked [STEPS]"""
    what, *rest = sys.argv[1:] or ["pictures"]
    if what == "ring":
        ring_table(int(rest[0]) if rest else 10)
    elif what == "stacked":
        stacked_table(int(rest[0]) if rest else 3000)
    else:
        folder = Path(rest[0] if rest else "runs/e15")
        for draw in (saturation, paths, best_discriminator, rings):
            print(draw(folder))
