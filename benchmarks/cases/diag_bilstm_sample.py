"""16 images drawn from diag_bilstm_step's model, as in pixelrnn_sample.

The direction from the right goes through a row once it is complete, and serves the row below.
"""

from __future__ import annotations

from benchmarks.cases import Run, Work, diag_bilstm_step
from benchmarks.cases.diag_bilstm_step import weights
from benchmarks.cases.pixelrnn_sample import FULL, TINY, build_jax, build_torch, carried, inputs, work_of
from benchmarks.pixelrnn import course_model

__all__ = ["FULL", "TINY", "inputs", "jax", "minigen", "torch", "weights", "work"]


def work(size) -> Work:
    """Every feature of every pixel once"""
    return work_of(size, 2 * 4 * size.h * (2 * size.h + 2 * size.h))


def minigen(size, weights, inputs, tuned) -> Run:
    """Lesson e12's sampler, lesson e10's model with diagonal layers"""
    return carried(*course_model(size, "diagonal"), weights, inputs)


def torch(size, weights, inputs, tuned) -> Run:
    """Naive; tuned: the states carried"""
    from benchmarks.torch_cache import CachedDiagonalLSTM

    return build_torch(size, weights, inputs, tuned, diag_bilstm_step.recurrent_torch(), CachedDiagonalLSTM)


def jax(size, weights, inputs, tuned) -> Run:
    """Naive, the loop over the pixels inside jit"""
    return build_jax(size, weights, inputs, diag_bilstm_step.recurrent_jax(size))
