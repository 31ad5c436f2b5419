"""One file per case: the same computation written for minigen, PyTorch and JAX, side by side.

A case is a module with

    FULL, TINY      its sizes: the one that is timed, and one for the tests
    weights         (size, rng) -> list of float32 arrays, in the order every library keeps its parameters
    inputs          (size, rng) -> tuple of float32 arrays
    work            (size) -> Work, what no implementation can avoid
    minigen, torch, jax     (size, weights, inputs, tuned) -> Run

`tuned` asks for the peer's best known setting (PyTorch: fused Adam); a builder without one ignores it.
A builder imports its library itself: a worker process loads one library and no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

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
)


class Run(NamedTuple):
    """One case, built in one library and ready to be timed."""

    step: Callable[[], object]  # the timed thing; the work is finished when it returns
    values: Callable[[], dict[str, np.ndarray]]  # loss and gradients at the present weights, as host arrays
    parameters: int  # how many numbers the model learns


class Work(NamedTuple):
    """Multiplications and additions of one step, and bytes through memory; the graph's ops if they count."""

    operations: float = 0.0
    bytes: float = 0.0
    ops: int = 0


def load(name: str) -> ModuleType:
    """The module of the case called `name`."""
    return importlib.import_module(f"benchmarks.cases.{name}")


def build(name: str, library: str, *, tiny: bool = False, tuned: bool = False, seed: int = 1) -> Run:
    """The case built in one library; every library gets the same weights and inputs from the same seed."""
    case = load(name)
    size = case.TINY if tiny else case.FULL
    rng = np.random.default_rng(seed)
    weights = case.weights(size, rng)
    inputs = case.inputs(size, rng)
    return getattr(case, library)(size, weights, inputs, tuned)


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
