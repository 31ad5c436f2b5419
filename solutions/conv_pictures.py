"""The pictures of lesson e05: what kernels see, how windows overlap, what batch normalisation does in use."""

from pathlib import Path

import numpy as np

from minigen import plot

BY_HAND = {
    "blur": np.ones((3, 3)),
    "upright": np.array([[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]]),
    "lying": np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]]),
    "rim, left": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "rim, top": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
    "outline": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
}
OVERLAPS = ((9, 3, 1), (9, 3, 3), (9, 3, 2), (10, 4, 2))  # size of the image, kernel, stride


def by_hand(conv2d, images, folder):
    """(n, 28, 28) -> path: six well-known kernels, and the maps that they make of the images"""
    return _maps(conv2d, BY_HAND, images, folder / "e05_edges.png", "Kernels made by hand")


def learned(conv2d, kernels, images, folder):
    """(F, k, k), (n, 28, 28) -> path: the same for kernels that were learned"""
    named = {f"kernel {f + 1}": kernel for f, kernel in enumerate(kernels)}
    return _maps(conv2d, named, images, folder / "e05_kernels.png", "Learned kernels")


def _maps(conv2d, kernels, images, path, title):
    w = np.stack(list(kernels.values()))[:, None].astype(np.float32)  # (F, 1, k, k)
    maps = conv2d(images[:, None], w, padding=w.shape[2] // 2)  # (n, F, 28, 28)
    w = 0.5 + 0.5 * w / np.abs(w).max(axis=(1, 2, 3), keepdims=True)
    maps = 0.5 + 0.5 * maps / np.abs(maps).max(axis=(0, 2, 3), keepdims=True)
    rows = {" " * n: np.concatenate([images[n : n + 1], seen]) for n, seen in enumerate(maps)}
    rows = {"kernel": np.concatenate([np.full_like(w[:1, 0], np.nan), w[:, 0]]), **rows}
    return plot.strips(rows, path, heads=["image", *kernels], title=f"{title}: gray is 0, black positive")


def overlaps(there_and_back, folder):
    """fold(unfold(ones)) -> path: how many windows each pixel lies in, for four kernels and strides"""
    from matplotlib.figure import Figure

    path = Path(folder) / "e05_overlaps.png"
    figure = Figure(figsize=(9.2, 2.5), dpi=130, layout="constrained")
    for ax, (size, kernel, stride) in zip(figure.subplots(1, 4), OVERLAPS, strict=True):
        counts = there_and_back(np.ones((1, 1, size, size)), kernel=kernel, stride=stride)[
            0, 0
        ]  # (size, size)
        ax.imshow(counts, cmap="Blues", vmin=0, vmax=14)
        for (i, j), count in np.ndenumerate(counts):
            ax.text(j, i, f"{count:.0f}", ha="center", va="center", fontsize=8)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"kernel {kernel}, stride {stride}", fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    return path


def batch_norm(images, redrawn, folder):
    """(10, 28, 28), name -> (10, 28, 28) -> path: images redrawn one at a time, and their errors"""
    title = "Test images one at a time, batch normalisation in use and left in training"
    return plot.reconstructions(images, redrawn, folder / "e05_batch_norm.png", title=title)
