"""Pictures: images in rows and grids, learning curves, sweeps. Every function writes one PNG and returns its path.

matplotlib is imported when a picture is made, never before, and without pyplot: no global state, no display needed.
Images are (N, H, W) or (N, H * W) of a square side, in [0, 1]; they are drawn as ink on paper, 1 being ink.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minigen.errors import ShapeError

INK, SOFT, PAPER, RULE = "#222222", "#6b6b6b", "#ffffff", "#dcdcdc"
COLOURS = ("#1f5fa8", "#c8502d", "#3d8a4d", "#7a4fa0", "#a8841f")
DPI = 160
CELL, GAP, NOTE = (
    0.62,
    0.06,
    0.24,
)  # inches: an image in a strip, the space between strips, a line of small text
STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
}

Out = str | os.PathLike


def image_grid(images: Any, path: Out, *, columns: int | None = None, title: str = "") -> Path:
    """(N, H, W) -> one PNG: the images in reading order, as square a grid as N allows"""
    images = as_images(images)
    columns = columns or max(1, math.ceil(math.sqrt(len(images))))
    rows = max(1, math.ceil(len(images) / columns))
    with _figure(path, (columns * CELL, rows * CELL), title) as figure:
        _draw(figure.subplots(), _tile(images, columns))
    return Path(path)


def strips(
    rows: Mapping[str, Any],
    path: Out,
    *,
    title: str = "",
    notes: Mapping[str, Sequence[str]] | None = None,
    heads: Sequence[str] = (),
) -> Path:
    """label -> (N, H, W): one PNG with one labelled strip of images for each, aligned in columns

    notes: label -> N short texts under the images of that strip. heads: N short texts above the columns.
    """
    strip = {label: as_images(images) for label, images in rows.items()}
    widest = max((len(images) for images in strip.values()), default=1)
    left = 0.088 * max(map(len, strip), default=0) + 0.15
    heights = [CELL + (NOTE if label in (notes or {}) else GAP) for label in strip]
    width, height = left + widest * CELL + GAP, sum(heights) + (NOTE if heads else GAP)
    with _figure(path, (width, height), title, layout=None) as figure:
        total = figure.get_figheight()
        bottom = height - (NOTE if heads else GAP)
        for label, images in strip.items():
            tile = _tile(images, widest)
            bottom -= CELL
            ax = figure.add_axes((left / width, bottom / total, widest * CELL / width, CELL / total))
            _draw(ax, tile, aspect="auto")
            ax.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6)
            centres = (np.arange(widest) + 0.5) * tile.shape[1] / widest - 0.5
            if heads and bottom > height - CELL - NOTE - GAP:
                _label_columns(ax, centres, heads, top=True)
            if label in (notes or {}):
                _label_columns(ax, centres, notes[label], top=False)  # type: ignore[index]
            bottom -= NOTE if label in (notes or {}) else GAP
    return Path(path)


def reconstructions(originals: Any, reconstructed: Mapping[str, Any], path: Out, *, title: str = "") -> Path:
    """originals (N, H, W); label -> (N, H, W) of what a model made of them: the former above the latter

    Under each reconstruction stands its squared error, summed over the pixels of that image.
    """
    x = as_images(originals)
    rows: dict[str, Any] = {"original": x}
    notes = {}
    for label, images in reconstructed.items():
        rows[label] = as_images(images)
        notes[label] = [f"{e:.1f}" for e in np.square(rows[label] - x).sum((1, 2))]
    return strips(rows, path, title=title, notes=notes)


def interpolation(rows: Any, path: Out, *, title: str = "") -> Path:
    """(R, S, H, W) -> one PNG: each row a walk of S steps from its first image to its last"""
    rows = np.asarray(rows)
    heads = [f"{t:.2f}" for t in np.linspace(0, 1, rows.shape[1])]
    # Labels are the keys of a dict: blanks of different length keep the rows apart and show nothing.
    return strips({" " * i: row for i, row in enumerate(rows)}, path, title=title, heads=heads)


def curves(
    history: Sequence[Mapping[str, Any]],
    path: Out,
    *,
    series: Mapping[str, str],
    lines: Mapping[str, float] | None = None,
    ylabel: str = "",
    title: str = "",
) -> Path:
    """Metrics by epoch -> one PNG: a curve for each key of `series` (key: label), a dashed line for each of `lines`"""
    with _figure(path, (6.4, 3.8), title) as figure:
        ax = figure.subplots()
        epochs = [row["epoch"] for row in history]
        everything = list((lines or {}).values())
        for colour, (key, label) in zip(COLOURS, series.items(), strict=False):
            points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
            if points:
                x, y = zip(*points, strict=True)
                everything += y
                ax.plot(
                    x, y, color=colour, lw=1.8, marker="o" if len(x) < 25 else None, ms=3.5, clip_on=False
                )
                _name_end(ax, x[-1], y[-1], f"{label} {y[-1]:.2f}", colour)
        for label, value in (lines or {}).items():
            ax.axhline(value, color=SOFT, lw=1.2, ls=(0, (5, 3)))
            _name_end(ax, max(epochs, default=1), value, f"{label} {value:.2f}", SOFT)
        ax.set_xlim(min(epochs, default=1) - 0.5 * (len(epochs) < 2), max(epochs, default=1))
        if everything and min(everything) > 0 and max(everything) > 6 * min(everything):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter("{x:g}")
        ax.set(xlabel="epoch", ylabel=ylabel)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return Path(path)


def sweep(rows: Sequence[tuple[int, float, float]], path: Out, *, title: str = "") -> Path:
    """(code size, autoencoder's error, PCA's error) for each size -> one PNG, both axes logarithmic"""
    sizes, model, pca = (list(column) for column in zip(*rows, strict=True))
    with _figure(path, (6.4, 3.8), title) as figure:
        ax = figure.subplots()
        ax.set(xscale="log", yscale="log", xlabel="code size k", ylabel="squared error per test image")
        for values, label, colour, va in (
            (pca, "PCA", COLOURS[1], 7),
            (model, "autoencoder", COLOURS[0], -13),
        ):
            ax.plot(sizes, values, color=colour, lw=1.8, marker="o", ms=4)
            for k, value in zip(sizes, values, strict=True):
                _annotate(ax, f"{value:.1f}", (k, value), (0, va), colour, "center", size=8)
            _name_end(ax, sizes[-1], values[-1], label, colour)
        ax.set_ylim(min(model + pca) / 1.25, max(model + pca) * 1.25)  # room for the numbers
        ax.set_xticks(sizes, [str(k) for k in sizes])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_yticks([n for n in (1, 2, 5, 10, 20, 50, 100) if min(model) / 1.5 < n < max(pca) * 1.5])
    return Path(path)


# Parts of pictures


def as_images(images: Any) -> np.ndarray:
    """(N, H, W) or (N, H * W), host or device, uint8 or in [0, 1] -> (N, H, W) float, clipped to [0, 1]"""
    from minigen.backend import is_array, to_host

    images = getattr(images, "_data", images)
    array = np.asarray(to_host(images) if is_array(images) else images)
    array = array / 255 if array.dtype == np.uint8 else array
    if array.ndim == 2:
        side = math.isqrt(array.shape[1])
        if side * side != array.shape[1]:
            raise ShapeError(f"plot: {array.shape[1]} pixels are no square image; reshape to (N, H, W) first")
        array = array.reshape(len(array), side, side)
    if array.ndim != 3:
        raise ShapeError(f"plot: images have shape {array.shape}, expected (N, H, W) or (N, H * W)")
    return np.clip(array, 0.0, 1.0)


def _tile(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """(N, H, W) -> (rows * (H + gap), columns * (W + gap)): the images side by side, NaN between them"""
    n, h, w = images.shape
    rows = max(1, math.ceil(n / columns))
    cells = np.full((rows * columns, h + gap, w + gap), np.nan)
    cells[:n, gap // 2 : gap // 2 + h, gap // 2 : gap // 2 + w] = images
    grid = cells.reshape(rows, columns, h + gap, w + gap).transpose(0, 2, 1, 3)  # (rows, H', columns, W')
    return grid.reshape(rows * (h + gap), columns * (w + gap))


def _draw(ax: Any, tile: np.ndarray, aspect: str = "equal") -> None:
    from matplotlib import colormaps

    ink = colormaps["gray_r"].with_extremes(bad="#eceae4")
    ax.imshow(tile, cmap=ink, vmin=0, vmax=1, interpolation="nearest", aspect=aspect)
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _label_columns(ax: Any, centres: np.ndarray, texts: Sequence[str], *, top: bool) -> None:
    ax.set_xticks(centres[: len(texts)], list(texts))
    ax.tick_params(axis="x", length=0, labelsize=8, top=top, labeltop=top, labelbottom=not top, pad=2)


def _name_end(ax: Any, x: float, y: float, text: str, colour: str) -> None:
    """A curve's name at its end: no legend to look up."""
    _annotate(ax, text, (x, y), (6, 0), colour, "left")


def _annotate(ax: Any, text: str, at: tuple[float, float], shift: tuple[int, int], colour: str, ha: str,
              size: int = 9) -> None:  # fmt: skip
    va = "center" if shift[1] == 0 else "baseline"
    ax.annotate(text, at, shift, textcoords="offset points", color=colour, fontsize=size, ha=ha, va=va,
                annotation_clip=False)  # fmt: skip


@contextmanager
def _figure(path: Out, size: tuple[float, float], title: str, layout: Any = "constrained"):
    """A figure of its own, drawn by Agg and written when the block ends."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size[0], size[1] + 0.3 * bool(title)), dpi=DPI, layout=layout)
        FigureCanvasAgg(figure)
        if title:
            place = {} if layout else {"y": 1 - 0.08 / figure.get_figheight(), "va": "top"}
            figure.suptitle(title, x=0.08 / size[0], ha="left", fontsize=11, **place)
        yield figure
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
