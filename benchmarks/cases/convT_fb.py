"""Transposed convolution 4x4, stride 2, padding 1, 64 -> 32 channels, 7x7 -> 14x14, 64 maps, forward and backward."""

from __future__ import annotations

from benchmarks.cases.conv_fb import Size, inputs, jax, minigen, torch, weights, work

FULL = Size(n_in=64, n_out=32, side=7, kernel=4, stride=2, up=True)
TINY = Size(batch=2, n_in=2, n_out=3, side=3, kernel=4, stride=2, up=True)

__all__ = ["FULL", "TINY", "inputs", "jax", "minigen", "torch", "weights", "work"]
