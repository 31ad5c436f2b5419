"""Convolutional layers and pooling. Maps are (batch, channels, height, width), weights as PyTorch keeps them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigen import ops
from minigen.nn import init as initialisers
from minigen.nn.module import Module
from minigen.nn.settings import generator, sizes
from minigen.ops.geometry import pair
from minigen.tensor import Tensor

Size = int | tuple[int, int]


def _places(**named: Size) -> None:
    """ShapeError unless each is a whole number or a pair of them: no padding below 0, nothing else below 1."""
    for name, size in named.items():
        pair(name, size, 0 if "padding" in name else 1)


class Conv2d(Module):
    """(N, n_in, H, W) -> (N, n_out, H', W'): cross-correlation with W: (n_out, n_in, kh, kw), plus b: (n_out,)

    H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1. taps: a boolean (kh, kw) mask, the same for all
    channels, of the places that the kernel sees: the others are not computed and stay as they were drawn.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        taps: Any = None,
        bias: bool = True,
        init: Callable[..., np.ndarray] = initialisers.he_normal,
        rng: np.random.Generator,
    ):
        sizes("Conv2d", n_in=n_in, n_out=n_out)
        _places(stride=stride, padding=padding, dilation=dilation)
        generator("Conv2d", rng)
        self.stride, self.padding, self.dilation, self.taps = stride, padding, dilation, taps
        self.W = Tensor(init((n_out, n_in, *pair("kernel", kernel, 1)), rng=rng), requires_grad=True)
        self.b = Tensor(initialisers.zeros((n_out,)), requires_grad=True) if bias else None

    def __call__(self, x):
        how = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "taps": self.taps}
        return ops.conv2d(x, self.W, **how) if self.b is None else ops.conv2d(x, self.W, self.b, **how)


class ConvTranspose2d(Module):
    """(N, n_in, H, W) -> (N, n_out, H', W'): the transpose of a Conv2d, with W: (n_in, n_out, kh, kw) and b: (n_out,)

    H' = (H - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding. With kernel 4, stride 2 and padding 1 a
    map of any size is doubled.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
        init: Callable[..., np.ndarray] = initialisers.he_normal,
        rng: np.random.Generator,
    ):
        sizes("ConvTranspose2d", n_in=n_in, n_out=n_out)
        _places(stride=stride, padding=padding, output_padding=output_padding, dilation=dilation)
        generator("ConvTranspose2d", rng)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.output_padding = output_padding
        self.W = Tensor(init((n_in, n_out, *pair("kernel", kernel, 1)), rng=rng), requires_grad=True)
        self.b = Tensor(initialisers.zeros((n_out,)), requires_grad=True) if bias else None

    def __call__(self, x):
        how = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        args = (x, self.W) if self.b is None else (x, self.W, self.b)
        return ops.conv_transpose2d(*args, output_padding=self.output_padding, **how)


class MaxPool2d(Module):
    """(N, C, H, W) -> (N, C, H', W'): the largest value of each window; stride None: side by side"""

    def __init__(self, kernel: Size, *, stride: Size | None = None, padding: Size = 0):
        _places(kernel=kernel, stride=kernel if stride is None else stride, padding=padding)
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def __call__(self, x):
        return ops.max_pool2d(x, kernel=self.kernel, stride=self.stride, padding=self.padding)


class AvgPool2d(Module):
    """(N, C, H, W) -> (N, C, H', W'): the mean of each window; stride None: side by side"""

    def __init__(self, kernel: Size, *, stride: Size | None = None, padding: Size = 0):
        _places(kernel=kernel, stride=kernel if stride is None else stride, padding=padding)
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def __call__(self, x):
        return ops.avg_pool2d(x, kernel=self.kernel, stride=self.stride, padding=self.padding)
