"""Dense 1024 -> 1024 on 512 rows, forward and backward: gradients of x, W and b."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, dense_weights, named


@dataclass(frozen=True)
class Size:
    """(batch, n_in) -> (batch, n_out)"""

    batch: int = 512
    n_in: int = 1024
    n_out: int = 1024


FULL, TINY = Size(), Size(batch=4, n_in=5, n_out=3)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W, b]"""
    return dense_weights((size.n_in, size.n_out), rng)


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (batch, n_in); seed: (batch, n_out), the gradient that comes back from the layer above"""
    x = rng.standard_normal((size.batch, size.n_in)).astype(np.float32)
    return x, rng.standard_normal((size.batch, size.n_out)).astype(np.float32)


def work(size: Size) -> Work:
    """Three products of one size: y = x W, gx = g W^T, gW = x^T g."""
    return Work(operations=3 * 2.0 * size.batch * size.n_in * size.n_out)


def minigen(size, weights, inputs, tuned):
    """nn.Dense"""
    from minigen import Tensor
    from minigen.autograd import grad
    from minigen.nn import Dense

    layer = Dense(size.n_in, size.n_out, rng=np.random.default_rng(0))
    for p, w in zip(layer.parameters(), weights, strict=True):
        p.data = w.copy()
    x, seed = Tensor(inputs[0], requires_grad=True), inputs[1]
    wanted = [x, *layer.parameters()]

    def step():
        y = layer(x)
        return y, grad(y, wanted, seed=seed)

    def values():
        y, grads = step()
        return named(y.numpy(), grads)

    return Run(step, values, sum(p.size for p in layer.parameters()))


def torch(size, weights, inputs, tuned):
    """nn.Linear, which keeps W transposed"""
    import torch

    layer = torch.nn.Linear(size.n_in, size.n_out)
    with torch.no_grad():
        for p, w in zip(layer.parameters(), weights, strict=True):
            p.copy_(torch.from_numpy(w.T))
    x, seed = torch.tensor(inputs[0], requires_grad=True), torch.tensor(inputs[1])
    wanted = [x, *layer.parameters()]

    def step():
        y = layer(x)
        return y, torch.autograd.grad(y, wanted, grad_outputs=seed)

    def values():
        y, (gx, gW, gb) = step()
        return named(y.detach(), [gx.numpy(), gW.numpy().T, gb.numpy()])

    return Run(step, values, sum(p.numel() for p in layer.parameters()))


def jax(size, weights, inputs, tuned):
    """vjp under jit"""
    import jax

    parameters = [jax.numpy.asarray(a) for a in (inputs[0], *weights)]
    seed = jax.numpy.asarray(inputs[1])

    @jax.jit
    def forward_and_backward(x, W, b, seed):
        y, pull = jax.vjp(lambda x, W, b: x @ W + b, x, W, b)
        return y, pull(seed)

    def step():
        return jax.block_until_ready(forward_and_backward(*parameters, seed))

    def values():
        return named(*step())

    return Run(step, values, sum(p.size for p in parameters[1:]))
