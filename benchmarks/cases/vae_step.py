"""VAE 784-500-(20, 20)-500-784, ReLU, BCE with logits + KL, batch 128: one training step.

The noise of the reparametrisation is an input, so that every library computes the same loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, binary_pixels, dense_weights, dense_work, named
from benchmarks.course import course_run

LR = 1e-4


@dataclass(frozen=True)
class Size:
    """(batch, pixels) -> mu, log_var (batch, codes) -> logits (batch, pixels)"""

    batch: int = 128
    pixels: int = 784
    hidden: int = 500
    codes: int = 20


FULL, TINY = Size(), Size(batch=4, pixels=6, hidden=5, codes=2)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W, b] of pixels -> hidden -> (mu, log_var), then of code -> hidden -> pixels"""
    encoder = dense_weights((size.pixels, size.hidden, 2 * size.codes), rng)
    return encoder + dense_weights((size.codes, size.hidden, size.pixels), rng)


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (batch, pixels), 0 or 1; noise: (batch, codes)"""
    x = binary_pixels((size.batch, size.pixels), rng)
    return x, rng.standard_normal((size.batch, size.codes), dtype=np.float32)


def work(size: Size) -> Work:
    """The products of both halves and Adam's traffic; the code needs its gradient, the data does not"""
    encoder = dense_work((size.pixels, size.hidden, 2 * size.codes), size.batch)
    decoder = dense_work((size.codes, size.hidden, size.pixels), size.batch)
    gradient_of_code = 2.0 * size.batch * size.codes * size.hidden
    return Work(encoder.operations + decoder.operations + gradient_of_code, encoder.bytes + decoder.bytes)


def minigen(size, weights, inputs, tuned):
    """A step as minigen's training loop takes it: forward, grad, Adam"""
    from minigen import Tensor, nn
    from minigen.autograd import grad
    from minigen.ops import exp, square
    from minigen.optim import Adam

    rng, k = np.random.default_rng(0), size.codes
    encoder = nn.Sequential(
        nn.Dense(size.pixels, size.hidden, rng=rng), nn.ReLU(), nn.Dense(size.hidden, 2 * k, rng=rng)
    )
    decoder = nn.Sequential(
        nn.Dense(k, size.hidden, rng=rng), nn.ReLU(), nn.Dense(size.hidden, size.pixels, rng=rng)
    )
    parameters = [*encoder.parameters(), *decoder.parameters()]
    for p, w in zip(parameters, weights, strict=True):
        p.data = w.copy()
    optimizer = Adam(parameters, lr=LR)
    x, noise = (Tensor(a) for a in inputs)

    def negative_elbo():
        h = encoder(x)  # (B, 2k)
        mu, log_var = h[:, :k], h[:, k:]
        z = mu + exp(0.5 * log_var) * noise
        kl = -0.5 * (1 + log_var - square(mu) - exp(log_var)).sum() / size.batch
        return nn.bce_with_logits(decoder(z), x) + kl

    def step():
        loss = negative_elbo()
        optimizer.step(grad(loss, parameters))
        return loss

    def values():
        loss = negative_elbo()
        return named(loss.item(), grad(loss, parameters))

    return Run(step, values, sum(p.size for p in parameters))


def solutions(size, weights, inputs, tuned):
    """Lesson e13's VAE"""
    from solutions.e13_vae import VAE, Config

    config = Config(pixels=size.pixels, hidden=(size.hidden,), code=size.codes, binarize="threshold", lr=LR)
    model = VAE(config, rng=np.random.default_rng(0))
    return course_run(model, model.parameters(), weights, inputs[0][:, None], inputs[1])


def torch(size, weights, inputs, tuned):
    """zero_grad, forward, backward, Adam; tuned: the fused Adam"""
    import torch
    from torch import nn

    k = size.codes
    encoder = nn.Sequential(nn.Linear(size.pixels, size.hidden), nn.ReLU(), nn.Linear(size.hidden, 2 * k))
    decoder = nn.Sequential(nn.Linear(k, size.hidden), nn.ReLU(), nn.Linear(size.hidden, size.pixels))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    with torch.no_grad():
        for p, w in zip(parameters, weights, strict=True):
            p.copy_(torch.from_numpy(w.T))
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=tuned or None)
    x, noise = (torch.tensor(a) for a in inputs)

    def negative_elbo():
        h = encoder(x)  # (B, 2k)
        mu, log_var = h[:, :k], h[:, k:]
        z = mu + torch.exp(0.5 * log_var) * noise
        kl = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum() / size.batch
        bce = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        return bce / size.batch + kl

    def backward():
        optimizer.zero_grad()
        loss = negative_elbo()
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

    k = size.codes
    x, noise = (jnp.asarray(a) for a in inputs)
    parameters = [jnp.asarray(w) for w in weights]

    def negative_elbo(parameters, x, noise):
        W1, b1, W2, b2, W3, b3, W4, b4 = parameters
        h = jax.nn.relu(x @ W1 + b1) @ W2 + b2  # (B, 2k)
        mu, log_var = h[:, :k], h[:, k:]
        z = mu + jnp.exp(0.5 * log_var) * noise
        kl = -0.5 * (1 + log_var - mu**2 - jnp.exp(log_var)).sum() / size.batch
        y = jax.nn.relu(z @ W3 + b3) @ W4 + b4  # (B, pixels)
        return (jax.nn.softplus(y) - x * y).sum() / size.batch + kl

    update = adam(jax.value_and_grad(negative_elbo), lr=LR)
    state = start(parameters)

    def step():
        nonlocal state
        state, value = update(state, x, noise)
        return jax.block_until_ready((state, value))

    def values():
        return named(*jax.jit(jax.value_and_grad(negative_elbo))(state.parameters, x, noise))

    return Run(step, values, sum(p.size for p in parameters))
