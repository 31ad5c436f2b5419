"""Evaluation: what a model is worth whose likelihood nobody can compute. About 120 minutes.

For a model with a latent code, log p(x) is the logarithm of an average over all codes, p(x) = E_q[w] with the weight
w = p(x, z) / q(z|x). Nobody can take it over all z, but anybody can over k draws from q(z|x):

    L_k = E[ log (w_1 + ... + w_k) / k ],     ELBO = L_1 <= L_2 <= ... <= log p(x),     L_k -> log p(x).

(Burda, Grosse and Salakhutdinov 2016, Importance Weighted Autoencoders.) L_k is a better measure than the ELBO, and
may be trained on as well. Beside it: which numbers of a code are used at all, what the code is good for, how models of
different kinds are compared fairly, and the Parzen window, an estimate that was popular and misleads (Theis, van den
Oord and Bethge 2016, A note on the evaluation of generative models).
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from minigen import Tensor, grad, no_grad, ops, xp
from minigen.nn import Module
from minigen.optim import Adam
from minigen.optim.schedules import cosine
from solutions.e07_autoencoder import flatten
from solutions.e13_vae import VAE, Config

# Where a learner's version of a hole goes: this very module is the live one.
PLUGS = {
    "log_mean_exp": "solutions.e14_evaluation:log_mean_exp",
    "AtVAE.log_q": "solutions.e14_evaluation:AtVAE.log_q",
    "AtVAE.log_joint": "solutions.e14_evaluation:AtVAE.log_joint",
    "iwae_bound": "solutions.e14_evaluation:iwae_bound",
    "IWAE.updates": "solutions.e14_evaluation:IWAE.updates",
    "evidence": "solutions.e14_evaluation:evidence",
    "compare": "solutions.e14_evaluation:compare",
    "active_units": "solutions.e14_evaluation:active_units",
    "probe_error": "solutions.e14_evaluation:probe_error",
    "parzen_log_prob": "solutions.e14_evaluation:parzen_log_prob",
    "parzen_score": "solutions.e14_evaluation:parzen_score",
}

LOG_2PI = math.log(2 * math.pi)


# What an estimate needs of a model


class At(Protocol):
    """A model with a latent code, at one batch of N images: three functions. k draws for each image are (k, N, c)."""

    def sample(self, k: int, rng: np.random.Generator) -> Any:
        """k -> (k, N, c) codes drawn from q(z|x)"""

    def log_q(self, z: Any) -> Any:
        """(k, N, c) -> (k, N) nats: log q(z|x)"""

    def log_joint(self, z: Any) -> Any:
        """(k, N, c) -> (k, N) nats: log p(x, z)"""


class AtVAE:
    """The VAE of lesson e13 at (N, ...) images, which are encoded once."""

    def __init__(self, model: VAE, x: Any):
        self.model, self.x = model, flatten(x)  # (N, H, W) -> (N, D)
        self.mu, self.log_var = model.encode(x)  # (N, c) each

    def sample(self, k: int, rng: np.random.Generator) -> Tensor:
        """k -> (k, N, c): mu + sigma eps, through which gradients pass"""
        eps = xp.asarray(rng.standard_normal((k, *self.mu.shape), np.float32))
        return self.mu + ops.exp(self.log_var * 0.5) * eps

    def log_q(self, z: Any) -> Any:
        """(k, N, c) -> (k, N) nats: log N(z; mu, exp(log_var)), summed over the c numbers of a code

        For each of them it is -((z - mu)^2 / sigma^2 + log sigma^2 + log 2 pi) / 2.
        """
        # solution: the formula with self.mu and self.log_var, summed over the last axis
        scaled = ops.square(z - self.mu) * ops.exp(-self.log_var)
        return ops.sum(scaled + (self.log_var + LOG_2PI), axis=2) * -0.5
        # end

    def log_joint(self, z: Any) -> Any:
        """(k, N, c) -> (k, N) nats: log p(x|z) + log p(z), with p(z) = N(0, I)

        self.model.decoder takes rows, so all k N codes go through it as one batch; every draw meets the same N
        images. What it gives is what log_likelihood takes (not what decode gives: those are probabilities).
        """
        # solution: self.model.decoder of the codes as rows; log_likelihood with k copies of x; plus log p(z)
        k, n, c = z.shape
        raw = self.model.decoder(ops.reshape(z, shape=(k * n, c)))  # (k, N, c) -> (k N, c) -> (k N, D)
        copies = ops.reshape(ops.broadcast_to(self.x, shape=(k, *self.x.shape)), shape=raw.shape)  # (k N, D)
        log_p = ops.reshape(self.model.log_likelihood(raw, copies), shape=(k, n))  # (k N,) -> (k, N)
        return log_p - ops.sum(ops.square(z) + LOG_2PI, axis=2) * 0.5
        # end


# The importance-weighted bound


def log_mean_exp(a: Any) -> Any:
    """(k, N) logarithms -> (N,): the logarithm of the MEAN of what they are logarithms of, over the k

    Log-weights lie around -100 in float32, or -1000, where exp gives 0. The largest of a column comes out first:
    log mean exp a = m + log mean exp(a - m).
    """
    # solution: ops.logsumexp over axis 0 (or the formula above), minus log k
    return ops.logsumexp(a, axis=0) - math.log(a.shape[0])
    # end


def iwae_bound(at: At, k: int, rng: np.random.Generator) -> Any:
    """k -> (N,) nats: log (1/k) sum_i p(x, z_i) / q(z_i|x), with z_1 ... z_k drawn from q(z|x). Eq. 8

    One estimate of L_k for each image, from k draws of its own. Gradients pass, through the draws as well.
    """
    # solution: draw once; the log-weights of these draws, log p(x, z) - log q(z|x); their log_mean_exp
    z = at.sample(k, rng)  # (k, N, c)
    return log_mean_exp(at.log_joint(z) - at.log_q(z))  # (k, N) -> (N,)
    # end


class IWAE(VAE):
    """The VAE of lesson e13, trained on L_k instead of the ELBO; with k = 1 the two have the same expectation"""

    def __init__(self, config: Config, *, k: int, rng: np.random.Generator):
        super().__init__(config, rng=rng)
        self.k = k

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[Module, Tensor]]:
        """(N, ...) images -> one pair (the model, its loss): minus L_k in nats, averaged over the images, k = self.k

        The noise of the draws comes from `rng`: new at every step.
        """
        # solution: yield this model once, with minus the mean of iwae_bound at the batch
        yield self, -ops.mean(iwae_bound(AtVAE(self, batch), self.k, rng))
        # end


def evidence(at: At, k: int, rng: np.random.Generator, block: int = 50) -> np.ndarray:
    """k -> (N,) float64 nats: the same L_k, without gradients, with never more than `block` draws in memory

    The sum of all k weights is the sum of the blocks' sums. A block of b draws has a bound of its own, and the sum of
    its weights is exp(bound) * b; only the running logarithm of the sum is kept. The last block may be smaller.
    """
    # solution: under no_grad, logaddexp each block's bound + log b onto a running total; minus log k at the end
    total: Any = -np.inf
    with no_grad():
        for start in range(0, k, block):
            b = min(block, k - start)
            bound = iwae_bound(at, b, rng).numpy().astype(np.float64)  # (N,)
            total = np.logaddexp(total, bound + math.log(b))
    return total - math.log(k)
    # end


# Models beside each other


class Score(NamedTuple):
    """A line of a table: how many nats an image costs, and whether that is known or only bounded."""

    name: str
    sign: str  # "=": minus log p(x) itself; "<=": no more than that, the bound of a model with a latent code
    nats: float  # mean over the images
    error: float  # standard error of that mean: standard deviation over the images / sqrt(N)


def compare(
    models: Mapping[str, Any], images: Any, k: int, rng: np.random.Generator, batch: int = 100
) -> list[Score]:
    """name -> model, (N, ...) in [0, 1] -> a Score for each model, in their order: nats per binary image

    Grey pixels become 0 or 1 once, with their brightness as the chance of a 1, and every model is given the very same
    binary images. A model with `log_prob(x)` -> (N,) is exact, "="; any other is a VAE, whose `evidence` with k draws
    is an upper bound of what an image costs (in expectation), "<=". Images come in batches of `batch`.
    """
    # solution: binarize with one call of rng.random; for each model minus log_prob or evidence, batch by batch
    chance = xp.asarray(rng.random(images.shape, np.float32))
    x = (chance < xp.asarray(images)).astype("float32")
    rows = []
    for name, model in models.items():
        exact = hasattr(model, "log_prob")
        with no_grad():
            parts = [x[start : start + batch] for start in range(0, len(x), batch)]
            found = [
                model.log_prob(part).numpy() if exact else evidence(AtVAE(model, part), k, rng)
                for part in parts
            ]
        nats = -np.concatenate(found).astype(np.float64)
        rows.append(Score(name, "=" if exact else "<=", nats.mean(), nats.std() / math.sqrt(len(nats))))
    return rows
    # end


# What the code is good for


def active_units(mu: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """(N, c) means of q(z|x) of N images -> (c,) bool: True where they VARY from image to image, variance > threshold

    A number of the code that says the same of every image says nothing. Burda et al. 2016, section 5.2.
    """
    # solution: the variance of each column, above the threshold
    return mu.var(axis=0) > threshold
    # end


def balanced(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) -> (n,) different places drawn at random, as many of every class as n allows"""
    kinds = np.unique(labels)
    share = np.full(len(kinds), n // len(kinds)) + (np.arange(len(kinds)) < n % len(kinds))
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == one), m, replace=False)
            for one, m in zip(kinds, share, strict=True)
        ]
    )


def softmax_regression(x: np.ndarray, labels: np.ndarray, decay: float = 1e-3) -> Any:
    """(N, d), (N,) integers -> a function (M, d) -> (M,) predicted labels: the linear classifier of lesson e03"""
    x, steps = x.astype(np.float32), 100
    W = Tensor(np.zeros((x.shape[1], int(labels.max()) + 1), np.float32), requires_grad=True)
    b = Tensor(np.zeros(W.shape[1], np.float32), requires_grad=True)
    optimizer, factor = Adam([W, b], lr=0.1), cosine(steps)
    for step in range(steps):
        optimizer.lr = 0.1 * factor(step)
        loss = ops.mean(ops.cross_entropy(x @ W + b, labels=labels)) + ops.sum(ops.square(W)) * decay
        optimizer.step(grad(loss, [W, b]))
    return lambda rows: (rows.astype(np.float32) @ W.numpy() + b.numpy()).argmax(axis=1)


def probe_error(
    features: np.ndarray, labels: np.ndarray, test_features: np.ndarray, test_labels: np.ndarray
) -> float:
    """(N, d), (N,), (M, d), (M,) -> the share of the M test labels, from 0 to 1, that a linear probe gets wrong

    A softmax regression on features that are not trained any further. They are standardised first: minus the mean,
    divided by the standard deviation, both of the N training rows, which are all that the probe may learn from.
    (A feature that is the same in all N rows is left at 0.)
    """
    # solution: mean and deviation of the N rows; softmax_regression; its errors on the M, scaled alike
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, np.inf)  # a constant feature becomes 0
    predict = softmax_regression((features - mean) / spread, labels)
    return float(np.mean(predict((test_features - mean) / spread) != test_labels))
    # end


# The Parzen window, and why not


def parzen_log_prob(samples: np.ndarray, x: np.ndarray, sigma: float, block: int = 100) -> np.ndarray:
    """(M, D), (N, D), standard deviation -> (N,) float64 nats: log (1/M) sum_m N(x; sample_m, sigma^2 I)

    A kernel density of a model's samples, in place of the density that the model does not tell. Every term is
    -|x - s|^2 / (2 sigma^2) - D/2 log(2 pi sigma^2). Never more than `block` rows of x at a time: N x M x D
    numbers never exist, nor N x M.
    """
    # solution: |x|^2 - 2 x.s + |s|^2, block by block; logsumexp over samples, minus log M and the normaliser
    samples, x = samples.astype(np.float64), x.astype(np.float64)
    constant = math.log(len(samples)) + x.shape[1] / 2 * math.log(2 * math.pi * sigma**2)
    norms, found = np.square(samples).sum(axis=1), []
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        squares = np.square(rows).sum(axis=1)[:, None] - 2 * rows @ samples.T + norms  # (block, M)
        found.append(np.logaddexp.reduce(squares / (-2 * sigma**2), axis=1))
    return np.concatenate(found) - constant
    # end


def parzen_score(
    samples: np.ndarray, validation: np.ndarray, test: np.ndarray, sigmas: Sequence[float]
) -> tuple[float, float, float]:
    """(M, D), (V, D), (N, D), widths to try -> (sigma, mean of log p over the test images in nats, its standard error)

    sigma is the width with the highest mean on the VALIDATION images; the test images are looked at once. The
    protocol of Goodfellow et al. 2014, Generative Adversarial Nets, section 5.
    """
    # solution: the best sigma on validation; parzen_log_prob of the test images with it; mean, and std / sqrt(N)
    sigma = max(sigmas, key=lambda s: parzen_log_prob(samples, validation, s).mean())
    found = parzen_log_prob(samples, test, sigma)
    return sigma, float(found.mean()), float(found.std() / math.sqrt(len(found)))
    # end


def centroids(x: np.ndarray, k: int, rng: np.random.Generator, rounds: int = 10) -> np.ndarray:
    """(N, D) -> (k, D): k-means by Lloyd's algorithm from k random rows; an empty cluster keeps its centre"""
    centres = x[rng.choice(len(x), k, replace=False)].astype(np.float64)
    for _ in range(rounds):
        nearest = (np.square(centres).sum(axis=1) - 2 * x @ centres.T).argmin(axis=1)  # (N,)
        members = np.zeros((k, len(x)), np.float32)
        members[nearest, np.arange(len(x))] = 1
        count = members.sum(axis=1)
        centres[count > 0] = (members @ x)[count > 0] / count[count > 0, None]
    return centres


if __name__ == "__main__":
    from solutions.evaluation_pictures import main

    main(*map(Path, sys.argv[1:2]))
