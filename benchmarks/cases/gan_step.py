"""GAN: one step of the discriminator, then one of the generator. Batch 64.

G: z 64, dense to 64x7x7, batch norm, transposed conv 64-32, batch norm, transposed conv 32-1, sigmoid (ReLU between).
D: conv 1-32-64 with leaky ReLU, dense to one logit. All convolutions 4x4, stride 2, padding 1. No bias before a batch
norm, which would take it away again. The losses are those of Goodfellow et al. 2014, the generator's non-saturating.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from benchmarks.cases import Run, Work, named, pixels
from benchmarks.cases.conv_vae_step import bias, conv_weights, dense_layer
from benchmarks.course import course_run

LR = 2e-4
HOW = {"stride": 2, "padding": 1}
SLOPE = 0.2


@dataclass(frozen=True)
class Size:
    """z (batch, codes) -> image (batch, 1, side, side) -> logit (batch, 1)"""

    batch: int = 64
    codes: int = 64
    side: int = 28
    c1: int = 32
    c2: int = 64

    @property
    def corner(self) -> tuple[int, int, int]:
        """The smallest maps: (c2, side / 4, side / 4)"""
        return self.c2, self.side // 4, self.side // 4


# With seed 1 one of D's 800,000 leaky ReLUs gets a number that is 0 but for rounding: its slope, and so 16 weights'
# gradients, are those of either side, as the sums were ordered.
SEED = 2

FULL, TINY = Size(), Size(batch=4, codes=3, side=8, c1=3, c2=4)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """The discriminator's, then the generator's: 6 and 8 arrays"""
    flat = int(np.prod(size.corner))
    critic = conv_weights(1, size.c1, rng) + conv_weights(size.c1, size.c2, rng) + dense_layer(flat, 1, rng)
    scales = [np.stack([1 + bias(n, rng), bias(n, rng)]) for n in (size.c2, size.c1)]
    dense, up = dense_layer(size.codes, flat, rng)[:1], conv_weights(size.c2, size.c1, rng, True)[:1]
    return [*critic, *dense, *scales[0], *up, *scales[1], *conv_weights(size.c1, 1, rng, True)]


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """real: (batch, 1, side, side) in [0, 1]; z: (batch, codes)"""
    real = pixels((size.batch, 1, size.side, size.side), rng)
    return real, rng.standard_normal((size.batch, size.codes), dtype=np.float32)


def work(size: Size) -> Work:
    """Products of: G once; D on real, fake, and on fake for G, whose step needs no gradient of D's weights"""
    outer, inner = 16 * size.c1 * (size.side // 2) ** 2, 16 * size.c1 * size.c2 * (size.side // 4) ** 2
    flat = int(np.prod(size.corner))
    generator = 3 * (outer + inner) + 2 * flat * size.codes
    critic = 2 * (2 * outer + 3 * inner) + 2 * (outer + inner)
    weights = 16 * 2 * (size.c1 + size.c1 * size.c2) + flat * (size.codes + 1)
    return Work(2.0 * size.batch * (generator + critic), 7 * 4.0 * weights)


def minigen(size, weights, inputs, tuned):
    """Fakes are made once and serve both steps; each step takes the gradients of its own module only"""
    from minigen import Tensor, nn
    from minigen.autograd import grad
    from minigen.ops import mean, softplus
    from minigen.optim import Adam

    rng, flat = np.random.default_rng(0), int(np.prod(size.corner))
    critic = nn.Sequential(
        nn.Conv2d(1, size.c1, 4, **HOW, rng=rng), nn.LeakyReLU(SLOPE),
        nn.Conv2d(size.c1, size.c2, 4, **HOW, rng=rng), nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Dense(flat, 1, rng=rng),
    )  # fmt: skip
    generator = nn.Sequential(
        nn.Dense(size.codes, flat, bias=False, rng=rng), nn.Reshape(*size.corner), nn.BatchNorm(size.c2), nn.ReLU(),
        nn.ConvTranspose2d(size.c2, size.c1, 4, **HOW, bias=False, rng=rng), nn.BatchNorm(size.c1), nn.ReLU(),
        nn.ConvTranspose2d(size.c1, 1, 4, **HOW, rng=rng), nn.Sigmoid(),
    )  # fmt: skip
    sides = [critic.parameters(), generator.parameters()]
    for p, w in zip(chain(*sides), weights, strict=True):
        p.data = w.copy()
    optimizers = [Adam(parameters, lr=LR, beta1=0.5) for parameters in sides]
    real, z = (Tensor(a) for a in inputs)

    def critic_loss(fake):
        return mean(softplus(-critic(real))) + mean(softplus(critic(fake.detach())))

    def generator_loss(fake):
        return mean(softplus(-critic(fake)))

    def step():
        fake = generator(z)
        for parameters, optimizer, loss in zip(sides, optimizers, (critic_loss, generator_loss), strict=True):
            optimizer.step(grad(loss(fake), parameters))

    def values():
        fake = generator(z)
        losses = [critic_loss(fake), generator_loss(fake)]
        gradients = [
            g for loss, parameters in zip(losses, sides, strict=True) for g in grad(loss, parameters)
        ]
        return both(*(loss.item() for loss in losses), gradients)

    return Run(step, values, sum(p.size for p in chain(*sides)))


def solutions(size, weights, inputs, tuned):
    """Lesson e15's GAN; between the comparison's two losses no step is made"""
    from solutions.e15_gan import GAN, Config

    shape, channels = (1, size.side, size.side), (size.c2, size.c1)
    config = Config(shape=shape, z=size.codes, channels=channels, lr=LR, lr_discriminator=LR, beta1=0.5)
    model = GAN(config, rng=np.random.default_rng(0))
    parameters = [*model.discriminator.parameters(), *model.generator.parameters()]
    return course_run(model, parameters, weights, inputs[0][:, 0], inputs[1], answer=both)


def both(critic_loss, generator_loss, gradients):
    """The answer of `Run.values` with two losses; the discriminator's is the one that falls"""
    return {"generator": np.asarray(generator_loss, np.float64)} | named(critic_loss, gradients)


def torch(size, weights, inputs, tuned):
    """As in PyTorch's own tutorial: backward() through D fills D's gradients too; tuned: only G's, fused Adam,
    channels last"""
    import torch
    from torch import nn
    from torch.nn.functional import softplus

    flat = int(np.prod(size.corner))
    critic = nn.Sequential(
        nn.Conv2d(1, size.c1, 4, **HOW), nn.LeakyReLU(SLOPE), nn.Conv2d(size.c1, size.c2, 4, **HOW),
        nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Linear(flat, 1),
    )  # fmt: skip
    generator = nn.Sequential(
        nn.Linear(size.codes, flat, bias=False), nn.Unflatten(1, size.corner), nn.BatchNorm2d(size.c2), nn.ReLU(),
        nn.ConvTranspose2d(size.c2, size.c1, 4, **HOW, bias=False), nn.BatchNorm2d(size.c1), nn.ReLU(),
        nn.ConvTranspose2d(size.c1, 1, 4, **HOW), nn.Sigmoid(),
    )  # fmt: skip
    sides = [list(critic.parameters()), list(generator.parameters())]
    with torch.no_grad():
        for p, w in zip(chain(*sides), weights, strict=True):
            p.copy_(torch.from_numpy(w.T if w.ndim == 2 else w))
    real, z = (torch.tensor(a) for a in inputs)
    if tuned:
        for part in (critic, generator):
            part.to(memory_format=torch.channels_last)
        real = real.contiguous(memory_format=torch.channels_last)
    optimizers = [torch.optim.Adam(p, lr=LR, betas=(0.5, 0.999), fused=tuned or None) for p in sides]

    def critic_loss(fake):
        return softplus(-critic(real)).mean() + softplus(critic(fake.detach())).mean()

    def generator_loss(fake):
        return softplus(-critic(fake)).mean()

    def step():
        fake = generator(z)
        for parameters, optimizer, loss in zip(sides, optimizers, (critic_loss, generator_loss), strict=True):
            optimizer.zero_grad()
            loss(fake).backward(inputs=parameters if tuned else None)
            optimizer.step()

    def values():
        fake = generator(z)
        losses = [critic_loss(fake), generator_loss(fake)]
        pairs = zip(losses, sides, strict=True)
        gradients = [g.numpy() for loss, p in pairs for g in torch.autograd.grad(loss, p)]
        return both(*(loss.item() for loss in losses), [g.T if g.ndim == 2 else g for g in gradients])

    return Run(step, values, sum(p.numel() for p in chain(*sides)))


def jax(size, weights, inputs, tuned):
    """Each update under jit; the fakes are made again for the second"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_adam import adam, start
    from benchmarks.jax_conv import conv, conv_transpose

    real, z = (jnp.asarray(a) for a in inputs)
    sides = [[jnp.asarray(w) for w in weights[:6]], [jnp.asarray(w) for w in weights[6:]]]

    def critic(parameters, x):
        W1, b1, W2, b2, W3, b3 = parameters
        h = jax.nn.leaky_relu(conv(x, W1, b1, 2, 1), SLOPE)
        h = jax.nn.leaky_relu(conv(h, W2, b2, 2, 1), SLOPE)
        return h.reshape(size.batch, -1) @ W3 + b3

    def batch_norm(x, gamma, beta):
        mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        return (x - mean) / jnp.sqrt(var + 1e-5) * gamma[:, None, None] + beta[:, None, None]

    def generator(parameters, z):
        W1, gamma1, beta1, W2, gamma2, beta2, W3, b3 = parameters
        h = jax.nn.relu(batch_norm((z @ W1).reshape(size.batch, *size.corner), gamma1, beta1))
        h = jax.nn.relu(batch_norm(conv_transpose(h, W2, jnp.zeros(size.c1), 2, 1), gamma2, beta2))
        return jax.nn.sigmoid(conv_transpose(h, W3, b3, 2, 1))

    def critic_loss(own, fake, real):
        return jax.nn.softplus(-critic(own, real)).mean() + jax.nn.softplus(critic(own, fake)).mean()

    def generator_loss(own, other, z):
        return jax.nn.softplus(-critic(other, generator(own, z))).mean()

    update_critic = adam(jax.value_and_grad(critic_loss), lr=LR, beta1=0.5)
    update_generator = adam(jax.value_and_grad(generator_loss), lr=LR, beta1=0.5)
    make = jax.jit(generator)
    states = [start(side) for side in sides]

    def step():
        fake = make(states[1].parameters, z)
        states[0], _ = update_critic(states[0], fake, real)
        states[1], _ = update_generator(states[1], states[0].parameters, z)
        return jax.block_until_ready(states)

    def values():
        d, g = (state.parameters for state in states)
        loss_d, grads_d = jax.value_and_grad(critic_loss)(d, make(g, z), real)
        loss_g, grads_g = jax.value_and_grad(generator_loss)(g, d, z)
        return both(loss_d, loss_g, [*grads_d, *grads_g])

    return Run(step, values, sum(p.size for p in chain(*sides)))
