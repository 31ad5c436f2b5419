"""An LSTM over 28 steps, 28 inputs, 128 units, batch 128, forward and backward: gradients of x, W_x, W_h and b."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, named


@dataclass(frozen=True)
class Size:
    """(steps, batch, n_in) -> (steps, batch, n_hidden)"""

    steps: int = 28
    batch: int = 128
    n_in: int = 28
    n_hidden: int = 128


FULL, TINY = Size(), Size(steps=3, batch=4, n_in=5, n_hidden=6)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W_x (in, 4h), W_h (h, 4h), b (4h,)], the gates in the order i, f, g, o"""
    bound = size.n_hidden**-0.5
    shapes = [(size.n_in, 4 * size.n_hidden), (size.n_hidden, 4 * size.n_hidden), (4 * size.n_hidden,)]
    return [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (steps, batch, n_in); seed: (steps, batch, n_hidden), the gradient that comes back from the layer above"""
    x = rng.standard_normal((size.steps, size.batch, size.n_in)).astype(np.float32)
    return x, rng.standard_normal((size.steps, size.batch, size.n_hidden)).astype(np.float32)


def work(size: Size) -> Work:
    """Three products of one size in every step: the gates, the gradients of h and x, those of the weights."""
    one = 2.0 * size.batch * (size.n_in + size.n_hidden) * 4 * size.n_hidden
    return Work(operations=3 * size.steps * one)


def minigen(size, weights, inputs, tuned):
    """nn.LSTM"""
    from minigen import Tensor
    from minigen.autograd import grad
    from minigen.nn import LSTM

    layer = LSTM(size.n_in, size.n_hidden, rng=np.random.default_rng(0))
    for p, w in zip(layer.parameters(), weights, strict=True):
        p.data = w.copy()
    x, seed = Tensor(inputs[0], requires_grad=True), inputs[1]
    wanted = [x, *layer.parameters()]

    def step():
        hs, _ = layer(x)
        return hs, grad(hs, wanted, seed=seed)

    def values():
        hs, grads = step()
        return named(hs.numpy(), grads)

    return Run(step, values, sum(p.size for p in layer.parameters()))


def torch(size, weights, inputs, tuned):
    """nn.LSTM, which keeps its weights transposed and has two biases: one is frozen at zero"""
    import torch

    layer = torch.nn.LSTM(size.n_in, size.n_hidden)
    parameters = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0]
    with torch.no_grad():
        for p, w in zip(parameters, weights, strict=True):
            p.copy_(torch.from_numpy(w.T))
        layer.bias_hh_l0.zero_()
    layer.bias_hh_l0.requires_grad_(False)
    x, seed = torch.tensor(inputs[0], requires_grad=True), torch.tensor(inputs[1])

    def step():
        hs, _ = layer(x)
        return hs, torch.autograd.grad(hs, [x, *parameters], grad_outputs=seed)

    def values():
        hs, (gx, *grads) = step()
        return named(hs.detach(), [gx.numpy(), *(g.numpy().T for g in grads)])

    return Run(step, values, sum(p.numel() for p in parameters))


def jax(size, weights, inputs, tuned):
    """lax.scan over the steps, vjp under jit; the input's product for all steps at once"""
    import jax
    from jax import numpy as jnp

    x, seed = (jnp.asarray(a) for a in inputs)
    parameters = [jnp.asarray(w) for w in weights]
    zeros = jnp.zeros((size.batch, size.n_hidden), jnp.float32)

    def lstm(x, W_x, W_h, b):
        def step(state, a_x):
            h, c = state
            i, f, g, o = jnp.split(a_x + h @ W_h, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jax.lax.scan(step, (zeros, zeros), x @ W_x + b)[1]

    @jax.jit
    def forward_and_backward(x, W_x, W_h, b, seed):
        hs, pull = jax.vjp(lstm, x, W_x, W_h, b)
        return hs, pull(seed)

    def step():
        return jax.block_until_ready(forward_and_backward(x, *parameters, seed))

    def values():
        return named(*step())

    return Run(step, values, sum(p.size for p in parameters))
