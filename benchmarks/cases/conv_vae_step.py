"""VAE: conv 1-32-64 (4x4, stride 2), dense to (20, 20), dense, transposed conv 64-32-1; one training step.

ReLU; BCE with logits + KL; batch 128. The noise of the reparametrisation is an input, so that every library computes
the same loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, binary_pixels, named
from benchmarks.course import course_run

LR = 1e-4
HOW = {"stride": 2, "padding": 1}


@dataclass(frozen=True)
class Size:
    """(batch, 1, side, side) -> mu, log_var (batch, codes) -> logits (batch, 1, side, side)"""

    batch: int = 128
    side: int = 28
    c1: int = 32
    c2: int = 64
    codes: int = 20

    @property
    def corner(self) -> tuple[int, int, int]:
        """The smallest maps: (c2, side / 4, side / 4)"""
        return self.c2, self.side // 4, self.side // 4


FULL, TINY = Size(), Size(batch=4, side=8, c1=3, c2=4, codes=2)


def conv_weights(n_in, n_out, rng, up=False):
    """[W, b] of a 4x4 convolution; a transposed one keeps (in, out, 4, 4)"""
    shape = (n_in, n_out, 4, 4) if up else (n_out, n_in, 4, 4)
    scale = np.sqrt(2 / (16 * n_in)) * (2 if up else 1)
    return [(rng.standard_normal(shape) * scale).astype(np.float32), bias(n_out, rng)]


def dense_layer(n_in, n_out, rng):
    """[W, b]"""
    return [(rng.standard_normal((n_in, n_out)) * np.sqrt(1 / n_in)).astype(np.float32), bias(n_out, rng)]


def bias(n, rng):
    """Not zero, so that a lost bias shows"""
    return rng.uniform(-0.1, 0.1, n).astype(np.float32)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W, b] of each layer in turn"""
    flat = int(np.prod(size.corner))
    encoder = conv_weights(1, size.c1, rng) + conv_weights(size.c1, size.c2, rng)
    code = dense_layer(flat, 2 * size.codes, rng) + dense_layer(size.codes, flat, rng)
    return encoder + code + conv_weights(size.c2, size.c1, rng, True) + conv_weights(size.c1, 1, rng, True)


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (batch, 1, side, side), 0 or 1; noise: (batch, codes)"""
    x = binary_pixels((size.batch, 1, size.side, size.side), rng)
    return x, rng.standard_normal((size.batch, size.codes), dtype=np.float32)


def work(size: Size) -> Work:
    """Three products a layer, less the gradient of the data; Adam's traffic"""
    outer, inner = 16 * size.c1 * (size.side // 2) ** 2, 16 * size.c1 * size.c2 * (size.side // 4) ** 2
    dense = int(np.prod(size.corner)) * 3 * size.codes
    weights = 16 * 2 * (size.c1 + size.c1 * size.c2) + dense
    return Work(2.0 * size.batch * (5 * outer + 6 * inner + 3 * dense), 7 * 4.0 * weights)


def minigen(size, weights, inputs, tuned):
    """A step as minigen's training loop takes it: forward, grad, Adam"""
    from minigen import Tensor, nn
    from minigen.autograd import grad
    from minigen.ops import exp, square
    from minigen.optim import Adam

    rng, k, flat = np.random.default_rng(0), size.codes, int(np.prod(size.corner))
    encoder = nn.Sequential(
        nn.Conv2d(1, size.c1, 4, **HOW, rng=rng), nn.ReLU(),
        nn.Conv2d(size.c1, size.c2, 4, **HOW, rng=rng), nn.ReLU(),
        nn.Flatten(), nn.Dense(flat, 2 * k, rng=rng),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Dense(k, flat, rng=rng), nn.ReLU(), nn.Reshape(*size.corner),
        nn.ConvTranspose2d(size.c2, size.c1, 4, **HOW, rng=rng), nn.ReLU(),
        nn.ConvTranspose2d(size.c1, 1, 4, **HOW, rng=rng),
    )  # fmt: skip
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
    """Lesson e13's VAE, with convolutions"""
    from solutions.e13_vae import VAE, Config

    sizes = {"pixels": size.side**2, "hidden": (), "channels": (size.c1, size.c2), "code": size.codes}
    model = VAE(Config(**sizes, binarize="threshold", lr=LR), rng=np.random.default_rng(0))
    return course_run(model, model.parameters(), weights, inputs[0][:, 0], inputs[1])


def torch(size, weights, inputs, tuned):
    """zero_grad, forward, backward, Adam; tuned: the fused Adam and channels last"""
    import torch
    from torch import nn

    k, flat = size.codes, int(np.prod(size.corner))
    encoder = nn.Sequential(
        nn.Conv2d(1, size.c1, 4, **HOW), nn.ReLU(), nn.Conv2d(size.c1, size.c2, 4, **HOW), nn.ReLU(),
        nn.Flatten(), nn.Linear(flat, 2 * k),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(k, flat), nn.ReLU(), nn.Unflatten(1, size.corner),
        nn.ConvTranspose2d(size.c2, size.c1, 4, **HOW), nn.ReLU(), nn.ConvTranspose2d(size.c1, 1, 4, **HOW),
    )  # fmt: skip
    parameters = [*encoder.parameters(), *decoder.parameters()]
    with torch.no_grad():
        for p, w in zip(parameters, weights, strict=True):
            p.copy_(torch.from_numpy(w.T if w.ndim == 2 else w))
    x, noise = (torch.tensor(a) for a in inputs)
    if tuned:
        encoder, decoder = (part.to(memory_format=torch.channels_last) for part in (encoder, decoder))
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=tuned or None)

    def backward():
        optimizer.zero_grad()
        h = encoder(x)  # (B, 2k)
        mu, log_var = h[:, :k], h[:, k:]
        z = mu + torch.exp(0.5 * log_var) * noise
        kl = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum() / size.batch
        bce = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        loss = bce / size.batch + kl
        loss.backward()
        return loss

    def step():
        loss = backward()
        optimizer.step()
        return loss

    def values():
        loss = backward().item()
        return named(loss, [p.grad.numpy().T if p.ndim == 2 else p.grad.numpy() for p in parameters])

    return Run(step, values, sum(p.numel() for p in parameters))


def jax(size, weights, inputs, tuned):
    """The whole step under jit, the state donated"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_adam import adam, start
    from benchmarks.jax_conv import conv, conv_transpose

    k, relu = size.codes, jax.nn.relu
    x, noise = (jnp.asarray(a) for a in inputs)
    parameters = [jnp.asarray(w) for w in weights]

    def negative_elbo(parameters, x, noise):
        W1, b1, W2, b2, W3, b3, W4, b4, W5, b5, W6, b6 = parameters
        h = relu(conv(relu(conv(x, W1, b1, 2, 1)), W2, b2, 2, 1))
        h = h.reshape(size.batch, -1) @ W3 + b3  # (B, 2k)
        mu, log_var = h[:, :k], h[:, k:]
        z = mu + jnp.exp(0.5 * log_var) * noise
        kl = -0.5 * (1 + log_var - mu**2 - jnp.exp(log_var)).sum() / size.batch
        h = relu(z @ W4 + b4).reshape(size.batch, *size.corner)
        y = conv_transpose(relu(conv_transpose(h, W5, b5, 2, 1)), W6, b6, 2, 1)
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
