"""10,000 ops on 4 floats: x = x * a + b in a chain, forward and backward. What one small op costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, named


@dataclass(frozen=True)
class Size:
    """Two ops a link: one product, one sum."""

    links: int = 5000
    width: int = 4


FULL, TINY = Size(), Size(links=10)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """a, b: (width,). Below 1, so that the chain stays finite."""
    a = rng.uniform(0.5, 0.9, size.width).astype(np.float32)
    b = rng.uniform(0.5, 0.9, size.width).astype(np.float32)
    return [a, b]


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (width,)"""
    return (rng.uniform(0.5, 0.9, size.width).astype(np.float32),)


def work(size: Size) -> Work:
    """No arithmetic to speak of: the time is all administration."""
    return Work(ops=2 * size.links)


def minigen(size, weights, inputs, tuned):
    """Eager, as a user writes it."""
    from minigen import Tensor
    from minigen.autograd import grad

    a, b = (Tensor(w, requires_grad=True) for w in weights)
    start = Tensor(inputs[0])

    def step():
        x = start
        for _ in range(size.links):
            x = x * a + b
        loss = x.sum()
        return loss, grad(loss, [a, b])

    def values():
        loss, grads = step()
        return named(loss.item(), grads)

    return Run(step, values, a.size + b.size)


def torch(size, weights, inputs, tuned):
    """Eager."""
    import torch

    a, b = (torch.tensor(w, requires_grad=True) for w in weights)
    start = torch.tensor(inputs[0])

    def step():
        x = start
        for _ in range(size.links):
            x = x * a + b
        loss = x.sum()
        return loss, torch.autograd.grad(loss, [a, b])

    def values():
        loss, grads = step()
        return named(loss.item(), grads)

    return Run(step, values, a.numel() + b.numel())


def jax(size, weights, inputs, tuned):
    """A scan under jit: compiled, the chain is one loop without ops, so this is no figure of op overhead.

    Unrolled, XLA would compile 10,000 ops for many minutes; op by op, JAX needs hundreds of us each.
    """
    import jax

    a, b = (jax.numpy.asarray(w) for w in weights)
    start = jax.numpy.asarray(inputs[0])

    def loss(parameters):
        a, b = parameters
        x, _ = jax.lax.scan(lambda x, _: (x * a + b, None), start, None, length=size.links)
        return x.sum()

    loss_and_grads = jax.jit(jax.value_and_grad(loss))

    def step():
        return jax.block_until_ready(loss_and_grads([a, b]))

    def values():
        return named(*step())

    return Run(step, values, a.size + b.size)
