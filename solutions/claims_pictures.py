"""The pictures of lesson e16's text: the taxonomy, drawn from what the classes answer, and what sharpness can see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigen import plot
from minigen.data import load, scale
from solutions.e16_claims import BRANCHES, QUERIES, answers, branch, sharpness

COLOUR = dict(zip(BRANCHES, (*plot.COLOURS[:3], plot.SOFT), strict=True))


def kinds() -> dict[str, Any]:
    """name -> class of the five models"""
    from solutions.claims_lab import CLASSES

    return CLASSES


def draw_all(folder: Path) -> list[Path]:
    """The two pictures, in `folder`"""
    return [draw_tree(kinds(), folder / "e16_tree.png"), draw_sharpness(folder / "e16_sharpness.png")]


def draw_tree(models: Mapping[str, Any], path: Path) -> Path:
    """name -> class: the tree, each model in the place that `branch` gives it, and below who answers what -> a PNG"""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plot.STYLE):
        figure = Figure(figsize=(8.2, 4.6), dpi=110)
        tree, table = figure.add_axes((0, 0.42, 1, 0.58)), figure.add_axes((0, 0, 1, 0.42))
        for ax in (tree, table):
            ax.set(xlim=(0, 1), ylim=(0, 1))
            ax.axis("off")
        _tree(tree, models)
        _matrix(table, models)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
    return path


PLACES = {
    "explicit, tractable": 0.16,
    "explicit, approximate": 0.42,
    "implicit": 0.66,
    "no generative model": 0.88,
}
SAYS = {
    "explicit, tractable": "tractable\nlog_prob(x)",
    "explicit, approximate": "approximate\nelbo(x) ≤ log p(x)",
    "implicit": "implicit density\nsample() only",
    "no generative model": "not generative\nno sample()",
}


def _tree(ax: Any, models: Mapping[str, Any]) -> None:
    inner = {"generative models": (0.46, 0.9), "explicit density": (0.27, 0.66)}
    edges = [
        (inner["generative models"], inner["explicit density"]),
        (inner["generative models"], (PLACES["implicit"], 0.42)),
        (inner["explicit density"], (PLACES["explicit, tractable"], 0.42)),
        (inner["explicit density"], (PLACES["explicit, approximate"], 0.42)),
    ]
    for (x0, y0), (x1, y1) in edges:
        ax.plot([x0, x1], [y0 - 0.04, y1 + 0.07], color=plot.RULE, lw=1.6, zorder=0)
    for text, (x, y) in inner.items():
        ax.text(x, y, text, ha="center", va="center", fontsize=11, weight="bold")
    for place, x in PLACES.items():
        own = [name for name, model in models.items() if branch(model) == place]
        ax.text(x, 0.38, SAYS[place], ha="center", va="center", fontsize=9, color=COLOUR[place])
        ax.text(x, 0.14, "\n".join(own) or "-", ha="center", va="center", fontsize=11, color=COLOUR[place])


def _matrix(ax: Any, models: Mapping[str, Any]) -> None:
    ax.axhline(0.97, 0.05, 0.95, color=plot.RULE, lw=1)
    for column, query in enumerate(QUERIES):
        ax.text(
            0.42 + 0.14 * column, 0.86, f"{query}()", ha="center", va="center", fontsize=9, color=plot.SOFT
        )
    for row, (name, model) in enumerate(models.items()):
        y = 0.7 - 0.145 * row
        ax.text(0.27, y, name, ha="right", va="center", color=COLOUR[branch(model)])
        for column, yes in enumerate(answers(model).values()):
            where = (0.42 + 0.14 * column, y)
            if yes:
                ax.plot(*where, "o", ms=8, color=COLOUR[branch(model)])
            else:
                ax.plot(*where, "o", ms=4, mfc="none", mec=plot.RULE)


def draw_sharpness(path: Path) -> Path:
    """Ten test digits, blurred, faded, noisy, and drawn as pixels, with the sharpness of 500 such images -> a PNG"""
    rng = np.random.default_rng(0)
    data = load().test
    order = [int(np.argmax(data.labels == digit)) for digit in range(10)]
    x = scale(data.images[np.concatenate([order, np.arange(490)])])  # the ten come first
    kinds = {
        "test digits": x,
        "blurred": blur(x, 1),
        "blurred 3 times": blur(x, 3),
        "half the contrast": 0.5 * x,
    }
    kinds["a little noise"] = (x + 0.1 * rng.standard_normal(x.shape)).clip(0, 1)
    kinds["pixels 0 or 1"] = (rng.random(x.shape) < x).astype(np.float64)
    kinds["... of blurred ones"] = (rng.random(x.shape) < kinds["blurred 3 times"]).astype(np.float64)
    rows = {f"{name}: {sharpness(images):.2f}": images[:10] for name, images in kinds.items()}
    return plot.strips(rows, path)


def blur(images: np.ndarray, times: int) -> np.ndarray:
    """(N, H, W) -> the same shape: each pixel the mean of the nine around it, so many times"""
    for _ in range(times):
        p = np.pad(images, ((0, 0), (1, 1), (1, 1)))
        h, w = images.shape[1:]
        images = sum(p[:, i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9
    return images
