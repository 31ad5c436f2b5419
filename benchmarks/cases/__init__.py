"""One file per case: the same computation written for minigen, PyTorch and JAX, side by side.

A case is a module with

    FULL, TINY      its sizes: the one that is timed, and one for the tests
    weights         (size, rng) -> list of float32 arrays, in the order every library keeps its parameters
    inputs          (size, rng) -> tuple of float32 arrays
    work            (size) -> Work, what no implementation can avoid
    minigen, torch, jax     (size, weights, inputs, tuned) -> Run
    solutions       the same for minigen, through the course's model (course.py); the cases called `..._step`
    COURSE          fields of the size that are other ones in the course's model; most have none

`tuned` asks for the peer's best known setting (PyTorch: fused Adam); a builder without one ignores it.
A builder imports its library itself: a worker process loads one library and no other.

A name may end in a variant: `ae_step:solutions` is the case through the course's model, on every peer the same
computation; `pixelcnn_sample:12` is the case with images of side 12.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

NAMES = (
    "op_overhead",
    "dense_fb",
    "conv_fb",
    "conv_fb_s2",
    "convT_fb",
    "lstm_fb",
    "ae_step",
    "vae_step",
    "conv_vae_step",
    "gan_step",
    "pixelcnn_step",
    "pixelrnn_step",
    "diag_bilstm_step",
    "pixelcnn_sample",
    "pixelrnn_sample",
    "diag_bilstm_sample",
)
STEPS = tuple(name for name in NAMES if name.endswith("_step"))
SAMPLES = tuple(name for name in NAMES if name.endswith("_sample"))
COURSE = "solutions"
GROUPS = {
    "layers": tuple(name for name in NAMES if name not in STEPS + SAMPLES),
    "steps": STEPS,
    "samples": SAMPLES,
    "course": tuple(f"{name}:{COURSE}" for name in STEPS),
    "growth": tuple(f"pixelcnn_sample:{side}" for side in (12, 16, 20, 28)),
}


class Run(NamedTuple):
    """One case, built in one library and ready to be timed."""

    step: Callable[[], object]  # the timed thing; the work is finished when it returns
    values: Callable[[], dict[str, np.ndarray]]  # loss and gradients at the present weights, as host arrays
    parameters: int  # how many numbers the model learns
    once: bool = False  # so long that it needs no warming up, and one step is a measurement


class Work(NamedTuple):
    """Multiplications and additions of one step, and bytes through memory; the graph's ops if they count."""

    operations: float = 0.0
    bytes: float = 0.0
    ops: int = 0


def known(name: str) -> bool:
    """Whether there is a case of this name, its variant included"""
    base, _, variant = name.partition(":")
    if base not in NAMES or ":" not in name:
        return base in NAMES
    return (variant.isdigit() and int(variant) > 0 and base in SAMPLES) or (
        variant == COURSE and base in STEPS
    )


def load(name: str) -> ModuleType:
    """The module of the case called `name`."""
    return importlib.import_module(f"benchmarks.cases.{name.partition(':')[0]}")


def size_of(name: str, *, tiny: bool = False) -> Any:
    """The sizes of the case, as its variant has them"""
    case, variant = load(name), name.partition(":")[2]
    size = case.TINY if tiny else case.FULL
    if variant == COURSE:
        return replace(size, **getattr(case, "COURSE", {}))
    return replace(size, side=int(variant)) if variant and not tiny else size


def build(name: str, library: str, *, tiny: bool = False, tuned: bool = False) -> Run:
    """The case built in one library; every library gets the same weights and inputs, from the case's seed or 1."""
    case, size = load(name), size_of(name, tiny=tiny)
    rng = np.random.default_rng(getattr(case, "SEED", 1))
    weights = case.weights(size, rng)
    inputs = case.inputs(size, rng)
    through_course = library == "minigen" and name.endswith(f":{COURSE}")
    return getattr(case, COURSE if through_course else library)(size, weights, inputs, tuned)


def pixels(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Grey images as data sets have them: k / 255, float32"""
    return np.divide(rng.integers(0, 256, shape), np.float32(255), dtype=np.float32)


def binary_pixels(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Zeros and ones, three of ten are ones, float32"""
    return (rng.random(shape) < 0.3).astype(np.float32)


def dense_weights(widths: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """[W (in, out), b (out,), ...] for a chain of dense layers; biases are not zero, so a lost one shows."""
    arrays = []
    for n_in, n_out in pairwise(widths):
        arrays.append((rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)).astype(np.float32))
        arrays.append(rng.uniform(-0.1, 0.1, n_out).astype(np.float32))
    return arrays


def dense_work(widths: tuple[int, ...], batch: int) -> Work:
    """Three products per layer, less the gradient of the data; Adam reads four arrays and writes three."""
    sizes = [n_in * n_out for n_in, n_out in pairwise(widths)]
    products = 3 * sum(sizes) - sizes[0]
    return Work(operations=2.0 * batch * products, bytes=7 * 4.0 * sum(sizes))


def named(loss: object, gradients: list) -> dict[str, np.ndarray]:
    """The answer of `Run.values`: the loss and the gradients, numbered in the order of the parameters."""
    answer = {"loss": np.asarray(loss, dtype=np.float64)}
    return answer | {f"gradient {i}": np.asarray(g) for i, g in enumerate(gradients)}
