"""Convolution 3x3, padding 1, 32 -> 32 channels on 64 maps of 28x28, forward and backward: gradients of x, W and b."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, named


@dataclass(frozen=True)
class Size:
    """(batch, n_in, side, side) -> (batch, n_out, ...); `up`: the transposed convolution, which enlarges the maps"""

    batch: int = 64
    n_in: int = 32
    n_out: int = 32
    side: int = 28
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    up: bool = False

    @property
    def out_side(self) -> int:
        """Height and width of the result"""
        if self.up:
            return (self.side - 1) * self.stride - 2 * self.padding + self.kernel
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1


FULL, TINY = Size(), Size(batch=2, n_in=3, n_out=2, side=6)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W (out, in, k, k), or (in, out, k, k) of a transposed convolution; b (out,)]"""
    channels = (size.n_in, size.n_out) if size.up else (size.n_out, size.n_in)
    W = rng.standard_normal((*channels, size.kernel, size.kernel)) / size.kernel / np.sqrt(size.n_in)
    return [W.astype(np.float32), rng.uniform(-0.1, 0.1, size.n_out).astype(np.float32)]


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x; seed: the gradient that comes back from the layer above"""
    x = rng.standard_normal((size.batch, size.n_in, size.side, size.side))
    seed = rng.standard_normal((size.batch, size.n_out, size.out_side, size.out_side))
    return x.astype(np.float32), seed.astype(np.float32)


def work(size: Size) -> Work:
    """Three maps of one size: every place of the smaller map meets every weight."""
    places = min(size.side, size.out_side) ** 2
    return Work(operations=3 * 2.0 * size.batch * places * size.n_in * size.n_out * size.kernel**2)


def minigen(size, weights, inputs, tuned):
    """nn.Conv2d, nn.ConvTranspose2d"""
    from minigen import Tensor, nn
    from minigen.autograd import grad

    kind = nn.ConvTranspose2d if size.up else nn.Conv2d
    layer = kind(
        size.n_in,
        size.n_out,
        size.kernel,
        stride=size.stride,
        padding=size.padding,
        rng=np.random.default_rng(0),
    )
    for p, w in zip(layer.parameters(), weights, strict=True):
        p.data = w.copy()
    x, seed = Tensor(inputs[0], requires_grad=True), inputs[1]
    wanted = [x, *layer.parameters()]

    def step():
        y = layer(x)
        return y, grad(y, wanted, seed=seed)

    def values():
        y, grads = step()
        return named(np.square(y.numpy()).sum(), grads)

    return Run(step, values, sum(p.size for p in layer.parameters()))


def torch(size, weights, inputs, tuned):
    """nn.Conv2d, nn.ConvTranspose2d; tuned: channels last, the memory format that suits the processor"""
    import torch

    kind = torch.nn.ConvTranspose2d if size.up else torch.nn.Conv2d
    layer = kind(size.n_in, size.n_out, size.kernel, stride=size.stride, padding=size.padding)
    with torch.no_grad():
        for p, w in zip(layer.parameters(), weights, strict=True):
            p.copy_(torch.from_numpy(w))
    form = torch.channels_last if tuned else torch.contiguous_format
    layer = layer.to(memory_format=form)
    x, seed = (torch.tensor(a).contiguous(memory_format=form) for a in inputs)
    wanted = [x.requires_grad_(), *layer.parameters()]

    def step():
        y = layer(x)
        return y, torch.autograd.grad(y, wanted, grad_outputs=seed)

    def values():
        y, grads = step()
        return named(y.detach().square().sum().item(), [g.numpy() for g in grads])

    return Run(step, values, sum(p.numel() for p in layer.parameters()))


def jax(size, weights, inputs, tuned):
    """vjp under jit"""
    import jax

    from benchmarks.jax_conv import conv, conv_transpose

    parameters = [jax.numpy.asarray(a) for a in (inputs[0], *weights)]
    seed = jax.numpy.asarray(inputs[1])
    layer = conv_transpose if size.up else conv

    @jax.jit
    def forward_and_backward(x, W, b, seed):
        y, pull = jax.vjp(lambda x, W, b: layer(x, W, b, size.stride, size.padding), x, W, b)
        return (y * y).sum(), pull(seed)

    def step():
        return jax.block_until_ready(forward_and_backward(*parameters, seed))

    def values():
        return named(*step())

    return Run(step, values, sum(p.size for p in parameters[1:]))
