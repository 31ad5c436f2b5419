"""The course's models as benchmark cases: what one step of `minigen train` does, with the bytes in memory.

The step is made of the parts that the training loop makes it of (minigen.training.step): bytes to floats, `prepare`,
every pair that `updates()` yields, the look at its loss, its gradients, its optimizer. Products on one BLAS thread, as
in `train()`. Not in it: the order of the data, the learning rate's schedule, checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from benchmarks.cases import Run, named


class Given:
    """In place of a generator: the numbers that all libraries draw with"""

    def __init__(self, numbers: np.ndarray | None = None):
        self.numbers = numbers

    def random(self, shape: Any, dtype: Any = None) -> np.ndarray:
        """The given numbers as uniform ones, in this shape"""
        return self.numbers.reshape(shape)

    def standard_normal(self, shape: Any, dtype: Any = None) -> np.ndarray:
        """The given numbers as normal ones, in this shape"""
        return self.numbers.reshape(shape)


def course_run(
    model: Any,
    parameters: list[Any],
    weights: list[np.ndarray],
    images: np.ndarray,
    noise: np.ndarray | None = None,
    answer: Callable[..., dict] = named,
) -> Run:
    """A course model, its parameters in the case's order, their values, (N, H, W) pixels k / 255 -> a step of training

    answer(*losses, gradients) makes the values that are compared: the loss of every pair that `updates()` yields, and
    the gradients in the order of `parameters`.
    """
    from minigen import blas

    for p, w in zip(parameters, weights, strict=True):
        p.data = w.copy()
    optimizers, pixels = model.optimizers(), np.rint(images * 255).astype(np.uint8)
    blas.keep_to_one_thread()

    def step() -> None:
        for name, loss, gradients in training_step(model, optimizers, pixels, Given(noise)):
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss}")
            optimizers[name].step(gradients)

    def values() -> dict[str, np.ndarray]:
        losses, found = [], {}
        for name, loss, gradients in training_step(model, optimizers, pixels, Given(noise)):
            losses.append(loss)
            found |= {id(p): g for p, g in zip(optimizers[name].params, gradients, strict=True)}
        return answer(*losses, [found[id(p)] for p in parameters])

    return Run(step, values, sum(p.size for p in parameters))


def training_step(
    model: Any, optimizers: dict[str, Any], pixels: np.ndarray, noise: Given
) -> Iterator[tuple[str, float, list]]:
    """(N, H, W) bytes -> (optimizer's name, loss, gradients) of each update; between two of them the first is made"""
    from minigen.data import scale
    from minigen.training.evaluation import prepared
    from minigen.training.step import gradients, pairs

    names = {id(attrgetter(name)(model) if name else model): name for name in optimizers}
    for module, loss in pairs(model.updates(prepared(model, scale(pixels), noise), noise)):
        name = names[id(module)]
        yield name, float(loss.item()), gradients(model, name, loss, optimizers[name])
