"""Autoencoder 784-512-256-32-256-512-784, ReLU, sigmoid out, squared error, batch 128: one training step.

The course's autoencoder, lesson e07, has ELUs where this one has ReLUs, and none at the code: with `course` every
library computes that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.cases import Run, Work, dense_weights, dense_work, named, pixels
from benchmarks.course import course_run

LR = 1e-4


@dataclass(frozen=True)
class Size:
    """(batch, widths[0]) -> (batch, widths[-1])"""

    batch: int = 128
    widths: tuple[int, ...] = (784, 512, 256, 32, 256, 512, 784)
    course: bool = False

    @property
    def layers(self):
        """(n_in, n_out) of each dense layer"""
        return list(pairwise(self.widths))

    @property
    def bends(self) -> list[str]:
        """What follows each dense layer; the code is in the middle"""
        half = len(self.widths) // 2 - 1
        inner = ["elu"] * half + ["identity"] + ["elu"] * half if self.course else ["relu"] * (2 * half + 1)
        return [*inner, "sigmoid"]


FULL, TINY = Size(), Size(batch=4, widths=(6, 8, 4, 8, 6))
COURSE = {"course": True}


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W, b] of each layer in turn"""
    return dense_weights(size.widths, rng)


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (batch, 784) in [0, 1]"""
    return (pixels((size.batch, size.widths[0]), rng),)


def work(size: Size) -> Work:
    """The products of the dense layers and Adam's traffic"""
    return dense_work(size.widths, size.batch)


def minigen(size, weights, inputs, tuned):
    """A step as minigen's training loop takes it: forward, grad, Adam. Fresh gradients leave none to zero."""
    from minigen import Tensor, nn
    from minigen.autograd import grad
    from minigen.optim import Adam

    rng = np.random.default_rng(0)
    bends = {"relu": [nn.ReLU()], "elu": [nn.ELU()], "identity": [], "sigmoid": [nn.Sigmoid()]}
    layers = []
    for (n_in, n_out), bend in zip(size.layers, size.bends, strict=True):
        layers += [nn.Dense(n_in, n_out, rng=rng), *bends[bend]]
    model = nn.Sequential(*layers)
    parameters = list(model.parameters())
    for p, w in zip(parameters, weights, strict=True):
        p.data = w.copy()
    optimizer = Adam(parameters, lr=LR)
    x = Tensor(inputs[0])

    def step():
        loss = nn.squared_error(model(x), x)
        optimizer.step(grad(loss, parameters))
        return loss

    def values():
        loss = nn.squared_error(model(x), x)
        return named(loss.item(), grad(loss, parameters))

    return Run(step, values, sum(p.size for p in parameters))


def solutions(size, weights, inputs, tuned):
    """Lesson e07's Autoencoder"""
    from solutions.e07_autoencoder import Autoencoder, Config

    half = len(size.widths) // 2
    config = Config(pixels=size.widths[0], hidden=size.widths[1:half], code=size.widths[half], lr=LR)
    model = Autoencoder(config, rng=np.random.default_rng(0))
    return course_run(model, model.parameters(), weights, inputs[0][:, None])


def torch(size, weights, inputs, tuned):
    """zero_grad, forward, backward, Adam; tuned: the fused Adam"""
    import torch
    from torch import nn

    bends = {"relu": nn.ReLU, "elu": nn.ELU, "identity": nn.Identity, "sigmoid": nn.Sigmoid}
    layers = []
    for (n_in, n_out), bend in zip(size.layers, size.bends, strict=True):
        layers += [nn.Linear(n_in, n_out), bends[bend]()]
    model = nn.Sequential(*layers)
    parameters = list(model.parameters())
    with torch.no_grad():
        for p, w in zip(parameters, weights, strict=True):
            p.copy_(torch.from_numpy(w.T))
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=tuned or None)
    x = torch.tensor(inputs[0])

    def backward():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), x, reduction="sum") / size.batch
        loss.backward()
        return loss

    def step():
        loss = backward()
        optimizer.step()
        return loss

    def values():
        return named(backward().item(), [p.grad.numpy().T for p in parameters])

    return Run(step, values, sum(p.numel() for p in parameters))


def jax(size, weights, inputs, tuned):
    """The whole step under jit, the state donated"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_adam import adam, start

    x = jnp.asarray(inputs[0])
    parameters = [jnp.asarray(w) for w in weights]

    def loss(parameters, x):
        h = x
        for W, b, bend in zip(parameters[::2], parameters[1::2], size.bends, strict=True):
            h = getattr(jax.nn, bend)(h @ W + b)
        return jnp.square(h - x).sum() / size.batch

    update = adam(jax.value_and_grad(loss), lr=LR)
    state = start(parameters)

    def step():
        nonlocal state
        state, value = update(state, x)
        return jax.block_until_ready((state, value))

    def values():
        return named(*jax.jit(jax.value_and_grad(loss))(state.parameters, x))

    return Run(step, values, sum(p.size for p in parameters))
