"""Variational autoencoder: a model of images with a latent code, and a bound on what it is worth. About 140 minutes.

Nature draws a code z, then an image x from it; we see x only:

    z ~ N(0, I),   x ~ p(x|z),   p(x) = integral of p(x|z) p(z) dz.

With a neural p(x|z) nobody can do the integral. But for any distribution q(z|x)

    log p(x) >= ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z)),     with equality where q is the true posterior p(z|x).

Encoder q and decoder p are trained together to make the ELBO large (Kingma and Welling 2014, Auto-Encoding Variational
Bayes; Rezende, Mohamed and Wierstra 2014). This file is the model that `minigen train vae` trains. In it a Gaussian is
given by its mean mu and the logarithm of its VARIANCE, log_var, everywhere.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from minigen import Tensor, grad, no_grad, ops, xp
from minigen.nn import Conv2d, ConvTranspose2d, Dense, Flatten, Module, ReLU, Reshape, Sequential, Tanh
from minigen.optim import Adam, Optimizer
from minigen.optim.schedules import Schedule, cosine
from solutions.e07_autoencoder import flatten
from solutions.vae_pictures import draw_all

# Where a learner's version of a hole goes when training with --mine: this very module is the live one.
PLUGS = {
    "reparameterize": "solutions.e13_vae:reparameterize",
    "kl_to_prior": "solutions.e13_vae:kl_to_prior",
    "bernoulli_log_prob": "solutions.e13_vae:bernoulli_log_prob",
    "gaussian_log_prob": "solutions.e13_vae:gaussian_log_prob",
    "VAE.encode": "solutions.e13_vae:VAE.encode",
    "VAE.terms": "solutions.e13_vae:VAE.terms",
    "VAE.updates": "solutions.e13_vae:VAE.updates",
    "VAE.sample": "solutions.e13_vae:VAE.sample",
    "pathwise_gradient": "solutions.e13_vae:pathwise_gradient",
    "score_gradient": "solutions.e13_vae:score_gradient",
    "linear_log_prob": "solutions.e13_vae:linear_log_prob",
    "linear_posterior": "solutions.e13_vae:linear_posterior",
    "integrated_log_prob": "solutions.e13_vae:integrated_log_prob",
}

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Config:
    """One VAE: pixels -> hidden layers (or convolutions) -> code -> the same backwards -> pixels."""

    pixels: int = 784
    hidden: tuple[int, ...] = (500,)  # (): encoder and decoder are linear
    channels: tuple[int, ...] = ()  # of 4x4 convolutions with stride 2, in place of the hidden layers
    code: int = 20
    bend: str = "relu"  # or "tanh"
    likelihood: str = "bernoulli"  # pixels are 0 or 1; or "gaussian": any number, one noise for all pixels
    binarize: str = "dynamic"  # or "threshold": how pixels become 0 or 1 for the Bernoulli likelihood
    decay: str = "cosine"  # or "stages": the learning rate's way down
    lr: float = 2e-3
    adam_eps: float = 1e-8
    epochs: int = 100
    batch_size: int = 100


PRESETS = {
    "small": Config(),
    "conv": Config(hidden=(), channels=(32, 64), epochs=40),
    "plane": Config(hidden=(500, 250), code=2),
    "gaussian": Config(likelihood="gaussian"),
    # Burda, Grosse and Salakhutdinov 2016, Importance Weighted Autoencoders, section 5 (one stochastic layer, k = 1)
    "paper": Config(
        hidden=(200, 200),
        code=50,
        bend="tanh",
        decay="stages",
        lr=1e-3,
        adam_eps=1e-4,
        epochs=3280,
        batch_size=20,
    ),
}
OPTIONS = {"binarize": ("threshold", "dynamic")}


# The two terms of the bound


def reparameterize(mu: Any, log_var: Any, eps: Any) -> Any:
    """(N, k), (N, k), (N, k) standard normal -> (N, k): z = mu + sigma eps, a draw from N(mu, sigma^2)

    sigma^2 = exp(log_var). The randomness comes in from the side, so the gradient passes through mu and sigma.
    Kingma and Welling 2014, section 2.4.
    """
    # solution: the standard deviation is the exponential of half of log_var
    return mu + ops.exp(log_var * 0.5) * eps
    # end


def kl_to_prior(mu: Any, log_var: Any) -> Any:
    """(N, k), (N, k) -> (N,) nats: KL(N(mu, sigma^2) || N(0, 1)), summed over the k numbers of a code; never negative

    For each of them it is (mu^2 + sigma^2 - 1 - log sigma^2) / 2. Kingma and Welling 2014, appendix B.
    """
    # solution: the formula for each number of the code, summed over axis 1
    return ops.sum(ops.square(mu) + ops.exp(log_var) - log_var - 1.0, axis=1) * 0.5
    # end


def bernoulli_log_prob(logits: Any, x: Any) -> Any:
    """(N, D), (N, D) of zeros and ones -> (N,) nats: log p(x) of pixels that are 1 with probability sigmoid(logits)

    Summed over the D pixels of an image. Finite for every finite logit.
    """
    # solution: minus the cross-entropy of each pixel with its logit, summed over axis 1
    return -ops.sum(ops.bce_with_logits(logits, x), axis=1)
    # end


def gaussian_log_prob(mean: Any, log_var: Any, x: Any) -> Any:
    """(N, D), () or (1,) or (N, D), (N, D) -> (N,) nats: log N(x; mean, exp(log_var)), summed over axis 1

    For each number it is -((x - mean)^2 / sigma^2 + log sigma^2 + log 2 pi) / 2. A density: it may be above 0.
    """
    # solution: the formula for each number, summed over axis 1
    scaled = ops.square(x - mean) * ops.exp(-log_var)
    return ops.sum(scaled + (log_var + LOG_2PI), axis=1) * -0.5
    # end


# The model


def networks(config: Config, rng: np.random.Generator) -> tuple[Sequential, Sequential]:
    """The encoder, (N, pixels) -> (N, 2 code), and the decoder, (N, code) -> (N, pixels)"""
    if config.channels:
        return convolutional(config, rng)
    bend = {"relu": ReLU, "tanh": Tanh}[config.bend]

    def stack(sizes: tuple[int, ...]) -> Sequential:
        layers: list[Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [Dense(n_in, n_out, rng=rng), bend()]
        return Sequential(*layers[:-1])

    encoder = stack((config.pixels, *config.hidden, 2 * config.code))
    return encoder, stack((config.code, *config.hidden[::-1], config.pixels))


def convolutional(config: Config, rng: np.random.Generator) -> tuple[Sequential, Sequential]:
    """The same, with a 4x4 convolution of stride 2 for each of the channels: every one halves the sides"""
    how = {"stride": 2, "padding": 1, "rng": rng}
    side, widths = math.isqrt(config.pixels), (1, *config.channels)
    corner = side >> len(config.channels)  # 28 -> 14 -> 7
    down: list[Module] = [Reshape(1, side, side)]  # (N, D) -> (N, 1, H, W)
    up: list[Module] = []
    for n_in, n_out in pairwise(widths):
        down += [Conv2d(n_in, n_out, 4, **how), ReLU()]
        up = [ReLU(), ConvTranspose2d(n_out, n_in, 4, **how), *up]
    maps = (widths[-1], corner, corner)
    flat = math.prod(maps)
    encoder = Sequential(*down, Flatten(), Dense(flat, 2 * config.code, rng=rng))
    start = [Dense(config.code, flat, rng=rng), Reshape(*maps)]  # (N, k) -> (N, C H W) -> (N, C, H, W)
    return encoder, Sequential(*start, *up, Flatten())


class VAE(Module):
    """(N, ...) images -> a bound on log p(x); codes -> images"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.config = config
        self.encoder, self.decoder = networks(config, rng)
        if config.likelihood == "gaussian":
            self.noise = Tensor(
                np.zeros(1, np.float32), requires_grad=True
            )  # the log-variance of every pixel

    def prepare(self, images: Any, rng: np.random.Generator) -> Any:
        """(N, H, W) in [0, 1] -> the same shape: zeros and ones for a Bernoulli likelihood, else as they are"""
        if self.config.likelihood == "gaussian":
            return images
        if self.config.binarize == "threshold":
            return (images > 0.5).astype("float32")
        return (xp.asarray(rng.random(images.shape, np.float32)) < images).astype("float32")

    def encode(self, x: Any) -> tuple[Tensor, Tensor]:
        """(N, ...) images -> mu (N, k), log_var (N, k) of q(z|x) = N(mu, exp(log_var))

        The encoder gives 2 k numbers for each image: mu comes first, log_var second.
        """
        # solution: each image a row, through the encoder; the first k numbers and the other k
        h = self.encoder(flatten(x))  # (N, H, W) -> (N, D) -> (N, 2k)
        return h[:, : self.config.code], h[:, self.config.code :]
        # end

    def log_likelihood(self, raw: Any, x: Any) -> Any:
        """(N, D) as the decoder gives them, (N, D) pixels -> (N,) nats: log p(x|z)"""
        if self.config.likelihood == "gaussian":
            return gaussian_log_prob(raw, self.noise, x)
        return bernoulli_log_prob(raw, x)

    def terms(self, x: Any, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(N, ...) images -> reconstruction (N,), kl (N,), in nats: the ELBO of each image is minus their sum

        reconstruction: -log p(x|z) with ONE z drawn from q(z|x), by noise of its own for each number of each image.
        kl: KL(q(z|x) || N(0, I)). Both summed over what belongs to an image, neither weighted.
        """
        # solution: encode; standard normal noise of mu's shape; z; minus log_likelihood of decoder(z), and the KL
        mu, log_var = self.encode(x)
        eps = xp.asarray(
            rng.standard_normal(mu.shape, np.float32)
        )  # drawn on the host, on every backend the same
        z = reparameterize(mu, log_var, eps)
        return -self.log_likelihood(self.decoder(z), flatten(x)), kl_to_prior(mu, log_var)
        # end

    def elbo(self, x: Any, rng: np.random.Generator) -> Tensor:
        """(N, ...) images -> (N,) nats: an estimate, with one draw of z, of a lower bound on log p(x)"""
        reconstruction, kl = self.terms(x, rng)
        return -(reconstruction + kl)

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[Module, Tensor]]:
        """(N, ...) images -> one pair (the model, its loss): minus the ELBO in nats per image, averaged over images"""
        # solution: yield this model once, with reconstruction + kl averaged over the batch
        reconstruction, kl = self.terms(batch, rng)
        yield self, ops.mean(reconstruction + kl)
        # end

    def decode(self, z: Any) -> Tensor:
        """(N, k) codes -> (N, pixels): the mean of p(x|z), which for a Bernoulli is the probability of each pixel"""
        raw = self.decoder(z)
        return raw if self.config.likelihood == "gaussian" else ops.sigmoid(raw)

    def reconstruct(self, x: Any) -> Tensor:
        """(N, ...) -> (N, pixels): decoded from the mean of q(z|x), without noise"""
        return self.decode(self.encode(x)[0])

    def sample(self, n: int, rng: np.random.Generator) -> Any:
        """n -> (n, pixels) drawn from p(x): z from the prior N(0, I), then x from p(x|z)

        The pixels are drawn as well: zeros and ones for a Bernoulli, the mean plus noise of variance exp(self.noise)
        for a Gaussian.
        """
        # solution: n standard normal codes, decoded; then a coin toss, or Gaussian noise, for each pixel
        z = xp.asarray(rng.standard_normal((n, self.config.code), np.float32))
        with no_grad():
            mean = self.decode(z).data
            if self.config.likelihood == "gaussian":
                noise = xp.asarray(rng.standard_normal(mean.shape, np.float32))
                return reparameterize(mean, self.noise.data, noise)
            return (xp.asarray(rng.random(mean.shape, np.float32)) < mean).astype("float32")
        # end

    def optimizers(self) -> dict[str, Optimizer]:
        """The name of a module ("" is the model itself) -> what steps it"""
        return {"": Adam(self.parameters(), lr=self.config.lr, eps=self.config.adam_eps)}

    def schedule(self, steps: int) -> Schedule:
        """Half a cosine to zero; or "stages": rate 10^(-i/7) for 3^i passes, i = 0 .. 7, which are 3,280 in all

        A run of another length goes through the same stages in proportion. Burda et al. 2016, section 5.
        """
        if self.config.decay == "cosine":
            return cosine(steps)
        return lambda step: 10 ** (-math.floor(math.log(2 * 3280 * min(step, steps - 1) / steps + 1, 3)) / 7)

    def evaluate(self, images: Any, rng: np.random.Generator) -> dict[str, float]:
        """(N, ...) images -> negative_elbo, reconstruction, kl: nats, averaged over the images"""
        with no_grad():
            reconstruction, kl = (float(ops.mean(term)) for term in self.terms(images, rng))
        return {"negative_elbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}


# Two ways to the gradient of an expectation


def pathwise_gradient(
    f: Callable[[Any], Any], mu: np.ndarray, log_var: np.ndarray, eps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """f: (S, k) -> (S,); (k,), (k,); (S, k) noise -> d/dmu, d/dlog_var of E[f(z)], z ~ N(mu, sigma^2): (S, k) each

    One estimate for each of the S draws; their mean estimates the gradient. This is the gradient through z = mu +
    sigma eps, so it needs a differentiable f (an op on Tensors).
    """
    # solution: a copy of mu and log_var for each draw, as Tensors; the gradient of f(reparameterize(...)) summed
    copies = [Tensor(np.broadcast_to(p, eps.shape), requires_grad=True) for p in (mu, log_var)]  # (S, k) each
    found = grad(ops.sum(f(reparameterize(*copies, eps))), copies)
    return found[0], found[1]
    # end


def score_gradient(
    f: Callable[[Any], Any], mu: np.ndarray, log_var: np.ndarray, eps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """f: (S, k) -> (S,); (k,), (k,); (S, k) noise -> d/dmu, d/dlog_var of E[f(z)], z ~ N(mu, sigma^2): (S, k) each

    One estimate for each draw: f(z) times the gradient of log q(z), which is (z - mu) / sigma^2 for mu, and
    ((z - mu)^2 / sigma^2 - 1) / 2 for log_var. Only values of f are needed: f may be anything (an array is passed
    in), and the price is variance. Williams 1992, Simple statistical gradient-following algorithms (REINFORCE).
    """
    # solution: z; the value f(z) of each draw, as a column, times the two formulas
    sigma = np.exp(0.5 * log_var)
    value = np.asarray(f(mu + sigma * eps))[:, None]  # (S, 1)
    return value * eps / sigma, value * (np.square(eps) - 1) / 2
    # end


# Where everything is known: the linear-Gaussian model


def linear_log_prob(x: np.ndarray, W: np.ndarray, b: np.ndarray, noise: float) -> np.ndarray:
    """(N, D), (k, D), (D,), variance -> (N,) nats: exact log p(x) of x = z W + b + e, z ~ N(0, I), e ~ N(0, noise I)

    x is Gaussian itself, with mean b and covariance W^T W + noise I (Tipping and Bishop 1999, Probabilistic principal
    component analysis, eq. 3): log p(x) = -(D log 2 pi + log det C + (x - b) C^-1 (x - b)^T) / 2.
    """
    # solution: C = W^T W + noise I; its log-determinant (slogdet), and the quadratic form of x - b (solve)
    C = W.T @ W + noise * np.eye(W.shape[1])  # (D, D)
    away = x - b  # (N, D)
    squares = (away * np.linalg.solve(C, away.T).T).sum(axis=1)
    return -0.5 * (W.shape[1] * LOG_2PI + np.linalg.slogdet(C)[1] + squares)
    # end


def linear_posterior(
    x: np.ndarray, W: np.ndarray, b: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """(N, D), (k, D), (D,), variance -> mean (N, k), covariance (k, k) of the true p(z|x) of the same model

    Precision P = I + W W^T / noise; mean (x - b) W^T P^-1 / noise, covariance P^-1. It is the same for all x, and
    diagonal only if the rows of W are orthogonal: only then can an encoder with a log_var be exact.
    """
    # solution: invert the precision; the mean from x - b
    covariance = np.linalg.inv(np.eye(len(W)) + W @ W.T / noise)  # (k, k)
    return (x - b) @ W.T @ covariance / noise, covariance
    # end


def integrated_log_prob(model: VAE, x: np.ndarray, points: int = 1000, reach: float = 8.0) -> np.ndarray:
    """A model with a code of ONE number, (N, ...) images -> (N,) nats: log p(x), the integral done by brute force

    p(x) is the sum over evenly spaced z_m in [-reach, reach] of p(x|z_m) N(z_m; 0, 1) dz. With k numbers it would take
    points^k of them: that is what "intractable" means.
    """
    # solution: decode a grid of codes; for each image logsumexp over it of log p(x|z) + log N(z) + log dz
    z, rows = np.linspace(-reach, reach, points), flatten(Tensor(x))  # (M,), (N, D)
    prior = -0.5 * (np.square(z) + LOG_2PI) + math.log(z[1] - z[0])  # (M,)
    with no_grad():
        raw = model.decoder(Tensor(z[:, None]))  # (M, 1) -> (M, D), in float64 as z is
        each = [model.log_likelihood(raw, ops.broadcast_to(row, shape=raw.shape)).numpy() for row in rows]
    return np.logaddexp.reduce(np.stack(each) + prior, axis=1)  # (N, M) -> (N,)
    # end


def fit_linear(
    x: np.ndarray,
    code: int,
    steps: int,
    rng: np.random.Generator,
    report: Callable[[int, VAE], None] | None = None,
) -> VAE:
    """(N, D), k -> a linear VAE trained on the whole of x: encoder and decoder one Dense each, the noise learned"""
    config = Config(pixels=x.shape[1], hidden=(), code=code, likelihood="gaussian", lr=0.05)
    model = VAE(config, rng=rng)
    model.encoder.parameters()[0].data[:, code:] = (
        0  # one log_var for all: exp(log_var) of wild ones would blow up
    )
    optimizer, factor = model.optimizers()[""], cosine(steps)
    for step in range(steps):
        optimizer.lr = config.lr * factor(step)
        for _, loss in model.updates(x, rng):
            optimizer.step(grad(loss, optimizer.params))
        if report and (step + 1) % (steps // 5) == 0:
            report(step + 1, model)
    return model


# What `minigen train vae` prints and draws when it is done

MODEL = VAE
CURVES = {
    "train_loss": "train -ELBO",
    "test_negative_elbo": "test -ELBO",
    "test_reconstruction": "reconstruction",
    "test_kl": "KL",
}
YLABEL = "nats per image"
finish = draw_all


# The two tables of the lesson's text


def main() -> None:
    """Prints the two tables of the lesson's text: a bound that becomes exact, and what the path is worth"""
    rng = np.random.default_rng(0)
    W, b, noise, n = rng.normal(0, 1, (2, 8)), rng.normal(0, 1, 8), 0.3, 2000
    x = rng.standard_normal((n, 2)) @ W + b + math.sqrt(noise) * rng.standard_normal((n, 8))

    def report(step: int, model: VAE) -> None:
        W, b = (p.numpy() for p in model.decoder.parameters())
        mine = linear_log_prob(x, W, b, float(np.exp(model.noise.numpy()[0]))).mean()
        elbo = [-model.evaluate(x, rng)["negative_elbo"] for _ in range(100)]
        error = np.std(elbo) / 10
        print(
            f"step {step:5}: ELBO {np.mean(elbo):8.4f} +- {error:.4f}, log p(x) {mine:8.4f} nats, same model"
        )

    fit_linear(x, 2, 3000, rng, report)
    print(f"the truth: log p(x) {linear_log_prob(x, W, b, noise).mean():9.4f} nats\n")
    print("spread of one estimate of d/dmu E[|z - 1|^2], z ~ N(0, I): through the path, by the score")
    for k in (1, 10, 100):
        eps = rng.standard_normal((20000, k))
        ways = (pathwise_gradient, score_gradient)
        spread = [way(squared_distance, np.zeros(k), np.zeros(k), eps)[0].std(axis=0).mean() for way in ways]
        print(
            f"k = {k:3}: {spread[0]:8.2f} {spread[1]:8.2f}, variance {(spread[1] / spread[0]) ** 2:8.0f} times"
        )


def squared_distance(z: Any) -> Any:
    """(S, k) -> (S,): squared distance from (1, ..., 1)"""
    return ops.sum(ops.square(z - 1.0), axis=1)


if __name__ == "__main__":
    main()
