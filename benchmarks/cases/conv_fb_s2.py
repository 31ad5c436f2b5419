"""Convolution 4x4, stride 2, padding 1, 32 -> 64 channels on 64 maps of 28x28, forward and backward."""

from __future__ import annotations

from benchmarks.cases.conv_fb import Size, inputs, jax, minigen, torch, weights, work

FULL = Size(n_out=64, kernel=4, stride=2)
TINY = Size(batch=2, n_in=3, n_out=2, side=6, kernel=4, stride=2)

__all__ = ["FULL", "TINY", "inputs", "jax", "minigen", "torch", "weights", "work"]
