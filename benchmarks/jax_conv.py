"""Convolution layers for the JAX peer, with PyTorch's layouts: (N, C, H, W), weights as nn.Conv2d keeps them."""

from __future__ import annotations

LAYOUT = ("NCHW", "OIHW", "NCHW")


def conv(x, W, b, stride=1, padding=0):
    """(N, C, H, W), (out, in, k, k), (out,) -> (N, out, H', W')"""
    from jax import lax

    y = lax.conv_general_dilated(x, W, (stride, stride), [(padding, padding)] * 2, dimension_numbers=LAYOUT)
    return y + b[:, None, None]


def conv_transpose(x, W, b, stride=1, padding=0):
    """(N, C, H, W), (in, out, k, k), (out,) -> (N, out, H', W'): over x with zeros between, the kernel turned round"""
    from jax import lax

    edge = W.shape[2] - 1 - padding
    turned = W.swapaxes(0, 1)[:, :, ::-1, ::-1]
    y = lax.conv_general_dilated(
        x, turned, (1, 1), [(edge, edge)] * 2, lhs_dilation=(stride, stride), dimension_numbers=LAYOUT
    )
    return y + b[:, None, None]
