"""GAN: two networks play against each other, and one of them learns to draw. About 150 minutes.

A generator G makes images of noise z; a discriminator D looks at an image and says how likely it is a real one. D
learns to tell the two apart, G to fool D (Goodfellow et al. 2014, Generative Adversarial Nets, eq. 1):

    min over G, max over D:   V(D, G) = E_data[log D(x)] + E_z[log(1 - D(G(z)))],     D(x) = sigmoid(logit of x).

Nobody ever writes p(x) down: the model is implicit. It can be sampled, and that is all; there is no log_prob here, no
elbo and no encode. This file is the model that `minigen train gan` trains. A discriminator gives LOGITS everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from minigen import Tensor, grad, no_grad, ops, to_host, xp
from minigen.data import Batches
from minigen.errors import SettingError
from minigen.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    LeakyReLU,
    Module,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    cross_entropy,
    init,
)  # fmt: skip
from minigen.optim import Adam, Optimizer
from minigen.optim.schedules import Schedule, cosine
from solutions import gan_pictures

# Where a learner's version of a hole goes when training with --mine: this very module is the live one.
PLUGS = {
    "discriminator_loss": "solutions.e15_gan:discriminator_loss",
    "minimax_loss": "solutions.e15_gan:minimax_loss",
    "non_saturating_loss": "solutions.e15_gan:non_saturating_loss",
    "least_squares": "solutions.e15_gan:least_squares",
    "critic_loss": "solutions.e15_gan:critic_loss",
    "gradient_penalty": "solutions.e15_gan:gradient_penalty",
    "dc_generator": "solutions.e15_gan:dc_generator",
    "dc_discriminator": "solutions.e15_gan:dc_discriminator",
    "GAN.updates": "solutions.e15_gan:GAN.updates",
    "GAN.sample": "solutions.e15_gan:GAN.sample",
    "stack_digits": "solutions.e15_gan:stack_digits",
    "mode_statistics": "solutions.e15_gan:mode_statistics",
}

LOSSES = ("non-saturating", "minimax", "least-squares", "wasserstein")


@dataclass(frozen=True)
class Config:
    """One GAN: what it draws, its two networks, the game they play."""

    shape: tuple[int, ...] = (1, 28, 28)  # of one example: (C, H, W), pixels in [0, 1]; or (D,), any numbers
    net: str = "dc"  # convolutions, or "mlp": dense layers
    z: int = 64  # numbers of noise
    channels: tuple[int, int] = (64, 32)  # dc: of the maps of a quarter and of half the side
    hidden: tuple[int, ...] = (256, 256)  # mlp
    loss: str = "non-saturating"  # or another of LOSSES
    critic_steps: int = 1  # of the discriminator, for each one of the generator
    penalty: float = 10.0  # wasserstein: weight of the gradient penalty
    lr: float = 1e-3  # of the generator
    lr_discriminator: float = 5e-4
    beta1: float = 0.5
    epochs: int = 30
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise SettingError(f"loss is {self.loss!r}; expected one of {', '.join(LOSSES)}")


PRESETS = {
    "small": Config(),
    "tiny": Config(channels=(16, 8), z=16, epochs=2),
    "minimax": Config(loss="minimax"),
    "least-squares": Config(loss="least-squares"),
    "wasserstein": Config(loss="wasserstein", critic_steps=3, batch_size=192, lr=5e-4, lr_discriminator=5e-4),
    "mlp": Config(net="mlp"),
}
STACKED = Config(shape=(3, 28, 28))  # 1000 modes; python -m solutions.e15_gan stacked
RING = Config(shape=(2,), net="mlp", z=2, hidden=(64, 64), lr=5e-4, lr_discriminator=1e-3, batch_size=128)
RING_STEPS = 2000
RING_LOSSES = {
    "non-saturating": RING,
    "minimax": replace(RING, loss="minimax"),
    "least-squares": replace(RING, loss="least-squares"),
    "wasserstein": replace(RING, loss="wasserstein", critic_steps=3, batch_size=384, penalty=0.1),
}


# The game, from logits: each loss is a mean over the batch, in nats where it is a logarithm


def discriminator_loss(real: Any, fake: Any) -> Any:
    """(N, 1), (M, 1) logits of real and of fake images -> () nats: -mean log D(real) - mean log(1 - D(fake))

    D = sigmoid(logit): a binary cross-entropy with label 1 for real and 0 for fake. 2 ln 2 if D knows nothing. Finite
    for every finite logit. Goodfellow et al. 2014, eq. 1.
    """
    # solution: -log sigmoid(l) is softplus(-l), and -log(1 - sigmoid(l)) is softplus(l)
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
    # end


def minimax_loss(fake: Any) -> Any:
    """(N, 1) logits of fake images -> () nats: mean log(1 - D(fake)), which G makes small; never above 0

    What D gains, G loses: the game of eq. 1 to the letter. -ln 2 if D knows nothing. Where D is sure that a fake is
    one, its slope is next to 0 and G learns nothing. Finite for every finite logit. Goodfellow et al. 2014, section 3.
    """
    # solution: log(1 - sigmoid(l)) is -softplus(l)
    return -ops.mean(ops.softplus(fake))
    # end


def non_saturating_loss(fake: Any) -> Any:
    """(N, 1) logits of fake images -> () nats: -mean log D(fake), which G makes small; never below 0

    The fakes with the label of real images. Same fixed point, but the slope is largest where D is sure. ln 2 if D knows
    nothing. Finite for every finite logit. Goodfellow et al. 2014, section 3.
    """
    # solution: -log sigmoid(l) is softplus(-l)
    return ops.mean(ops.softplus(-fake))
    # end


def least_squares(logits: Any, label: float) -> Any:
    """(N, 1), a number -> (): mean of (logit - label)^2 / 2

    D: least_squares(real, 1) + least_squares(fake, 0). G: least_squares(fake, 1). No sigmoid: a fake that D takes for
    real, far on the right side, still has a slope. Mao et al. 2017, Least Squares Generative Adversarial Networks,
    eq. 2 and 9.
    """
    # solution: half the mean of the squared differences
    return ops.mean(ops.square(logits - label)) * 0.5
    # end


def critic_loss(real: Any, fake: Any) -> Any:
    """(N, 1), (M, 1) scores of real and of fake images -> (): mean fake - mean real, which the critic makes small

    If the critic's slope is nowhere above 1, minus this is at most the Wasserstein distance of the two distributions.
    G makes -mean fake small. Arjovsky, Chintala and Bottou 2017, Wasserstein GAN, eq. 2 and 3.
    """
    # solution: the mean score of the fakes minus that of the real ones
    return ops.mean(fake) - ops.mean(real)
    # end


def gradient_penalty(critic: Callable[[Any], Any], real: Any, fake: Any, rng: np.random.Generator) -> Any:
    """critic (N, ...) -> (N, 1); (N, ...), (N, ...) -> (): mean of (||slope of the critic at x_hat|| - 1)^2

    x_hat = u real + (1 - u) fake with ONE u ~ U[0, 1] for each example, drawn from rng: a point on the line between a
    real and a fake one. The norm runs over all numbers of an example. The result can be differentiated again, by the
    critic's parameters; so can it where the slope is 0. Gulrajani et al. 2017, Improved Training of Wasserstein GANs,
    eq. 3.
    """
    # solution: points between; grad(..., create_graph=True) of the summed scores; its norm for each example
    real, fake = (a.data if isinstance(a, Tensor) else a for a in (real, fake))
    n = len(real)
    u = xp.asarray(rng.random((n,) + (1,) * (real.ndim - 1)).astype(real.dtype))  # (N, 1, ..., 1)
    x_hat = Tensor(u * real + (1 - u) * fake, requires_grad=True)
    slope = grad(ops.sum(critic(x_hat)), x_hat, create_graph=True)  # of each score by its own image
    norm = ops.sqrt(ops.sum(ops.square(slope.reshape(n, -1)), axis=1) + 1e-12)  # (N, ...) -> (N, D) -> (N,)
    return ops.mean(ops.square(norm - 1.0))
    # end


# The players


def dc_generator(config: Config, rng: np.random.Generator) -> Sequential:
    """-> a Sequential that maps (N, z) to (N, C, H, W) in (0, 1), C, H, W being config.shape

    Dense to c1 maps of a quarter of the side, then two transposed convolutions, 4x4, stride 2, padding 1, each of which
    doubles the sides: z -> (c1, H/4, W/4) -> (c2, H/2, W/2) -> (C, H, W), c1, c2 = config.channels. Before each of
    the two a BatchNorm and a ReLU; what comes before a BatchNorm has no bias, which it would take away again. At the
    end a sigmoid, for pixels lie in [0, 1].
    Radford, Metz and Chintala 2016, Unsupervised representation learning with deep convolutional GANs, section 3.
    """
    # solution: Dense, Reshape, BatchNorm, ReLU, ConvTranspose2d, BatchNorm, ReLU, ConvTranspose2d, Sigmoid
    (c1, c2), (colours, height, width) = config.channels, config.shape
    corner = (c1, height // 4, width // 4)
    how: Any = {"stride": 2, "padding": 1, "rng": rng}
    return Sequential(
        Dense(config.z, math.prod(corner), bias=False, rng=rng), Reshape(*corner), BatchNorm(c1), ReLU(),
        ConvTranspose2d(c1, c2, 4, bias=False, **how), BatchNorm(c2), ReLU(),
        ConvTranspose2d(c2, colours, 4, **how), Sigmoid(),
    )  # fmt: skip
    # end


def dc_discriminator(config: Config, rng: np.random.Generator) -> Sequential:
    """-> a Sequential that maps (N, C, H, W) to (N, 1) logits: the generator the other way round

    Two convolutions, 4x4, stride 2, padding 1, to c2 and then c1 maps (c1, c2 = config.channels), each followed by a
    leaky ReLU of slope 0.2; then a dense layer to one number. No batch norm: the penalty of `gradient_penalty` needs
    logits that do not depend on the other images. No sigmoid: the losses take logits.
    """
    # solution: Conv2d, LeakyReLU, Conv2d, LeakyReLU, Flatten, Dense to 1
    (c1, c2), (colours, height, width) = config.channels, config.shape
    how: Any = {"stride": 2, "padding": 1, "rng": rng}
    return Sequential(
        Conv2d(colours, c2, 4, **how), LeakyReLU(0.2), Conv2d(c2, c1, 4, **how), LeakyReLU(0.2),
        Flatten(), Dense(c1 * (height // 4) * (width // 4), 1, rng=rng),
    )  # fmt: skip
    # end


def mlp(config: Config, rng: np.random.Generator) -> tuple[Sequential, Sequential]:
    """The generator (N, z) -> (N, *shape) and the discriminator (N, *shape) -> (N, 1), of dense layers

    Images end in a sigmoid, rows of numbers as they come.
    """

    def stack(sizes: tuple[int, ...]) -> list[Module]:
        layers: list[Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [Dense(n_in, n_out, init=init.he_normal, rng=rng), LeakyReLU(0.2)]
        return layers[:-1]

    pixels = math.prod(config.shape)
    ends: list[Module] = [Sigmoid(), Reshape(*config.shape)] if len(config.shape) > 1 else []
    discriminator = Sequential(Flatten(), *stack((pixels, *config.hidden, 1)))
    return Sequential(*stack((config.z, *config.hidden, pixels)), *ends), discriminator


class GAN(Module):
    """A generator (N, z) -> (N, *shape) and a discriminator (N, *shape) -> (N, 1)"""

    evaluation_block = None

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.config = config
        if config.net == "dc":
            self.generator, self.discriminator = dc_generator(config, rng), dc_discriminator(config, rng)
        else:
            self.generator, self.discriminator = mlp(config, rng)
        if len(config.shape) == 3:
            self.album = gan_pictures.Album(self.noise(10, rng), config.shape)

    @property
    def parts(self) -> int:
        """Into how many parts `updates` cuts a batch: ranks that train together share out each of them"""
        return self.config.critic_steps

    def prepare(self, images: Any, rng: np.random.Generator) -> Any:
        """(N, H, W) -> (N, C, H, W): with three colours each of them a digit of its own, stacked"""
        if self.config.shape[0] == 1:
            return images.reshape(-1, *self.config.shape)  # (N, H, W) -> (N, 1, H, W)
        return stack_digits(images, len(images), rng)[0]

    def noise(self, n: int, rng: np.random.Generator) -> Any:
        """n -> (n, z) standard normal; drawn on the host, on every backend the same"""
        return xp.asarray(rng.standard_normal((n, self.config.z), np.float32))

    def told_apart(self, real: Any, fake: Any) -> Any:
        """(N, *shape), (N, *shape) -> (): how badly the discriminator tells them apart, by its loss"""
        r, f = self.discriminator(real), self.discriminator(fake)  # never mixed in one batch
        if self.config.loss == "wasserstein":
            return critic_loss(r, f)
        if self.config.loss == "least-squares":
            return least_squares(r, 1.0) + least_squares(f, 0.0)
        return discriminator_loss(r, f)

    def discriminator_objective(self, real: Any, fake: Any, rng: np.random.Generator) -> Any:
        """(N, *shape), (N, *shape) -> (): what the discriminator makes small, the penalty included if there is one"""
        loss = self.told_apart(real, fake)
        if self.config.loss == "wasserstein":
            loss = loss + gradient_penalty(self.discriminator, real, fake, rng) * self.config.penalty
        return loss

    def generator_objective(self, fake: Any) -> Any:
        """(N, *shape) -> (): what the generator makes small"""
        f = self.discriminator(fake)
        if self.config.loss == "wasserstein":
            return -ops.mean(f)
        if self.config.loss == "least-squares":
            return least_squares(f, 1.0)
        return minimax_loss(f) if self.config.loss == "minimax" else non_saturating_loss(f)

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[Module, Tensor]]:
        """(N, *shape) -> pairs (module to be stepped, its loss): the discriminator `critic_steps` times, the generator

        The batch is cut into critic_steps equal parts, one for each step of the discriminator, with as many fakes that
        pass it no gradient to the generator. Then one step of the generator, on fakes judged by the discriminator as
        it is by then. Fakes are made in training mode, from self.noise with the given rng.
        """
        # solution: fakes once, for all steps; a detached part for each step of D; all of them, attached, for G
        fake = self.generator(self.noise(len(batch), rng))
        n = len(batch) // self.config.critic_steps
        for i in range(self.config.critic_steps):
            part = slice(i * n, (i + 1) * n)
            yield self.discriminator, self.discriminator_objective(batch[part], fake[part].detach(), rng)
        yield self.generator, self.generator_objective(fake)
        # end

    def optimizers(self) -> dict[str, Optimizer]:
        """One for each player: Adam with a short memory, for the target moves"""
        c = self.config
        return {
            "discriminator": Adam(self.discriminator.parameters(), lr=c.lr_discriminator, beta1=c.beta1),
            "generator": Adam(self.generator.parameters(), lr=c.lr, beta1=c.beta1),
        }

    def schedule(self, steps: int) -> Schedule:
        """Both learning rates fall to zero along half a cosine: the players circle each other closer and closer"""
        return cosine(steps)

    def sample(self, n: int, rng: np.random.Generator) -> Any:
        """n -> (n, *shape) array: noise through the generator, in eval mode; the discriminator's work is done

        By running statistics, so that a sample does not depend on those drawn with it. The mode is put back.
        """
        # solution: eval mode, no graph, self.noise(n, rng) through the generator; then the mode as it was
        mode = self.training
        self.eval()
        try:
            with no_grad():
                return self.generator(self.noise(n, rng)).data
        finally:
            self.train(mode)
        # end

    def evaluate(self, images: Any, rng: np.random.Generator) -> dict[str, float]:
        """(N, *shape) held-out images -> the discriminator's loss on them and on as many fakes

        Far above the loss in training: it knows the training images by heart. It does not say how good the samples are.
        """
        with no_grad():
            fake = self.generator(self.noise(len(images), rng))
            loss = float(self.told_apart(images, fake))
            self.album.keep(self.generator)
        return {"discriminator_loss": loss}


# What can be known exactly


def optimal_discriminator(p: Any, q: Any) -> np.ndarray:
    """densities (...), (...) of real and of fake data at some points -> (...) the D there that maximises V(D, G)

    p log D + q log(1 - D) is largest at one D in [0, 1]. 1/2 where both densities are 0: nothing is ever seen there.
    Goodfellow et al. 2014, proposition 1.
    """
    # solution: p / (p + q), and 1/2 where that is 0 / 0
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    total = p + q
    return np.divide(p, total, out=np.full(total.shape, 0.5), where=total > 0)
    # end


def duel(x: float, y: float, lr: float, steps: int, *, alternating: bool = True) -> np.ndarray:
    """-> (steps + 1, 2): the path of the game f = x y, from (x, y), x making f small and y making it large

    Each player makes gradient steps of its own: x by -lr df/dx, y by +lr df/dy. Alternating: x moves first, and y sees
    where x is by then. Simultaneous: both move from where they stood.
    """
    # solution: df/dx is y, df/dy is x; y's step uses the new x if alternating, else the old one
    path = [(x, y)]
    for _ in range(steps):
        moved = x - lr * y
        y = y + lr * (moved if alternating else x)
        x = moved
        path.append((x, y))
    return np.array(path, np.float64)
    # end


# Counting modes


def centres(modes: int = 8) -> np.ndarray:
    """-> (modes, 2): evenly spaced on the circle of radius 1"""
    angles = 2 * np.pi * np.arange(modes) / modes
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def ring(n: int, rng: np.random.Generator, *, modes: int = 8, sigma: float = 0.05) -> np.ndarray:
    """n -> (n, 2) float32: a mixture of Gaussians on a circle, each drawn from as often as any other"""
    which = rng.integers(modes, size=n)
    return (centres(modes)[which] + sigma * rng.standard_normal((n, 2))).astype(np.float32)


def count_modes(x: np.ndarray, centres: np.ndarray, sigma: float, *, least: int = 1) -> tuple[int, float]:
    """samples (n, D), centres (k, D) -> (how many of the k modes are covered, the share of good samples)

    A sample is good if it lies within 3 sigma of the centre nearest to it. A mode is covered if at least `least` good
    samples are its own. Srivastava et al. 2017, VEEGAN, section 5.1.
    """
    # solution: distances (n, k); the nearest centre of each; count the good ones of each centre
    distances = np.linalg.norm(x[:, None] - centres, axis=2)  # (n, k)
    nearest, good = distances.argmin(axis=1), distances.min(axis=1) <= 3 * sigma
    counts = np.bincount(nearest[good], minlength=len(centres))  # (k,)
    return int((counts >= least).sum()), float(good.mean())
    # end


def train_on(model: GAN, draw: Callable[[int], Any], steps: int, rng: np.random.Generator) -> GAN:
    """model, n -> (n, *shape) real examples, steps -> the model, trained: the loop of minigen.training, bare"""
    optimizers = model.optimizers()
    for _ in range(steps):
        for module, loss in model.updates(xp.asarray(draw(model.config.batch_size)), rng):
            name = "generator" if module is model.generator else "discriminator"
            optimizers[name].step(grad(loss, module.parameters()))
    return model


def ring_samples(config: Config, seed: int, steps: int = RING_STEPS) -> np.ndarray:
    """-> (2500, 2): drawn from a GAN that was trained on the ring"""
    rng = np.random.default_rng(seed)
    model = train_on(GAN(config, rng=rng), lambda n: ring(n, rng), steps, rng)
    return to_host(model.sample(2500, rng))


def ring_modes(config: Config, seed: int, steps: int = RING_STEPS) -> tuple[int, float]:
    """count_modes of ring_samples; it takes 20 samples to cover a mode (a fair share is 312)"""
    return count_modes(ring_samples(config, seed, steps), centres(), 0.05, least=20)


def stack_digits(images: Any, n: int, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    """(N, H, W), n -> (n, 3, H, W), picks (n, 3): each of the three colours an image of its own, any as likely

    picks say which: stacked[i, c] is images[picks[i, c]]. Digits stacked so have 10^3 modes. Metz et al. 2017, Unrolled
    Generative Adversarial Networks, section 3.3.1.
    """
    # solution: n times three indices from rng, each independent of the others; the images at them
    picks = rng.integers(len(images), size=(n, 3))
    return images[xp.asarray(picks)], picks  # (n, 3, H, W)
    # end


def mode_statistics(digits: np.ndarray) -> tuple[int, float]:
    """(n, c) classes 0..9 of the c colours of each sample -> (how many of the 10^c modes occur, KL in nats)

    KL(samples' modes || uniform) = sum over the modes of f log(f 10^c), f being a mode's share of the samples: 0 if all
    occur equally often, c ln 10 if there is only one. With one colour, ln 10 - KL is the entropy of the classes.
    Metz et al. 2017, section 3.3.1.
    """
    # solution: one number for each row of digits; how often each occurs; f log(f 10^c), nothing where f is 0
    n, colours = digits.shape
    numbers = digits @ 10 ** np.arange(colours)[::-1]  # (n,): 3, 0, 7 -> 307
    f = np.bincount(numbers, minlength=10**colours) / n
    f = f[f > 0]
    return len(f), float((f * np.log(f * 10**colours)).sum())
    # end


def digit_classifier(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, epochs: int = 8
) -> Callable[[Any], np.ndarray]:
    """(N, 28, 28) in [0, 1], (N,) -> a function (n, 28, 28) -> (n,) classes, by a small convolutional network

    Trained on the 6,000 embedded digits (some seconds) it is right for 98.4% and 98.6% of the 1,000 test digits (seeds
    0 and 1).
    """
    how: Any = {"stride": 2, "padding": 1, "rng": rng}
    network = Sequential(
        Conv2d(1, 16, 4, **how), ReLU(), Conv2d(16, 32, 4, **how), ReLU(), Flatten(), Dense(1568, 10, rng=rng)
    )
    optimizer, batches = Adam(network.parameters(), lr=3e-3), Batches(len(images), 50, rng)
    factor = cosine(epochs * len(batches))
    for step, index in enumerate(index for _ in range(epochs) for index in batches):
        shift = rng.integers(-1, 2, size=2)  # worth two test images in a hundred
        x = xp.asarray(np.roll(images[index], shift, axis=(1, 2))[:, None])  # (B, 1, 28, 28)
        optimizer.lr = 3e-3 * factor(step)
        optimizer.step(
            grad(cross_entropy(network(x), xp.asarray(labels[index].astype(int))), network.parameters())
        )

    def classify(images: Any) -> np.ndarray:
        blocks = [images[i : i + 500] for i in range(0, len(images), 500)]
        with no_grad():
            logits = [network(xp.asarray(block).reshape(-1, 1, 28, 28)).numpy() for block in blocks]
        return np.concatenate(logits).argmax(axis=1)

    return classify


def digits_of(classify: Callable[[Any], np.ndarray], samples: Any) -> np.ndarray:
    """(n, C, H, W) -> (n, C): what the classifier takes each colour for"""
    n, colours, height, width = samples.shape
    return classify(samples.reshape(-1, height, width)).reshape(n, colours)


# What `minigen train gan` prints and draws when it is done

MODEL = GAN
CURVES = {
    "train_discriminator_loss": "D, training",
    "test_discriminator_loss": "D, held out",
    "train_generator_loss": "G",
}
YLABEL = "loss: no measure of the samples"
finish = gan_pictures.finish


if __name__ == "__main__":
    gan_pictures.main()
