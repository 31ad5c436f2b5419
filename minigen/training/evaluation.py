"""Held-out figures: the same images, the same noise, and never more of them at a time than memory is sure to hold."""

from typing import Any

import numpy as np

from minigen.backend import from_host
from minigen.errors import GraphError

BLOCK = 500  # images


def prepared(model: Any, images: Any, rng: np.random.Generator) -> Any:
    """(N, H, W) float32 in [0, 1] on the backend -> the batch that the model takes: itself, without `prepare`"""
    return model.prepare(images, rng) if hasattr(model, "prepare") else images


def evaluate(model: Any, images: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """(N, H, W) host float32 in [0, 1] -> metric -> its mean over the images, in eval mode

    The images are prepared, then given to `model.evaluate` in blocks whose means are weighted by their sizes. A model
    whose figures are no means over images sets `evaluation_block = None` and gets all of them at once; a number there
    is another size of block. The mode that the model was in is put back.
    """
    size = getattr(model, "evaluation_block", BLOCK) or len(images)
    mode = model.training
    model.eval()
    try:
        sums: dict[str, float] = {}
        whole = prepared(
            model, from_host(images), rng
        )  # at once: another size of block changes no drawn pixel
        for start in range(0, len(images), size):
            found = model.evaluate(whole[start : start + size], rng)
            if start and found.keys() != sums.keys():
                raise GraphError(
                    f"evaluate() gave {', '.join(found)} for one block of images and {', '.join(sums)} for another; "
                    "expected the same figures for all"
                )
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + float(value) * min(size, len(images) - start)
    finally:
        model.train(mode)
    return {name: value / len(images) for name, value in sums.items()}
