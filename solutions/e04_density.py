"""Density estimation: clusters, axes and four densities of data, before any network. About 130 minutes.

Data x_1, ..., x_N were drawn from a distribution p_data that nobody shows us. A density estimate is a function p >= 0

    with sum_x p(x) = 1 (x discrete: a mass function)  or  integral p(x) dx = 1 (x continuous: a density),

and a good one makes the data likely. On average over the data this is the same as being near p_data:

    KL(p_data || p) = E[log p_data(x)] - E[log p(x)],      the first term does not depend on p.

So maximum likelihood minimises KL. Four estimates: a histogram, a Gaussian, one coin for each pixel, and a small
Gaussian around every data point (Parzen 1962, On estimation of a probability density function and mode). Before them,
two ways to find structure that give no density: k-means (Lloyd 1982, Least squares quantization in PCM) and PCA.
Nothing here needs labels; at the end any density, with labels, becomes a classifier. Everything is NumPy in float64.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

# Where a learner's version of a hole goes: this very module is the live one.
PLUGS = {
    "nearest_centre": "solutions.e04_density:nearest_centre",
    "centre_means": "solutions.e04_density:centre_means",
    "principal_axes": "solutions.e04_density:principal_axes",
    "squeeze": "solutions.e04_density:squeeze",
    "Histogram.fit": "solutions.e04_density:Histogram.fit",
    "Histogram.log_prob": "solutions.e04_density:Histogram.log_prob",
    "Histogram.sample": "solutions.e04_density:Histogram.sample",
    "probability": "solutions.e04_density:probability",
    "Gaussian.fit": "solutions.e04_density:Gaussian.fit",
    "Gaussian.log_prob": "solutions.e04_density:Gaussian.log_prob",
    "Gaussian.sample": "solutions.e04_density:Gaussian.sample",
    "Bernoulli.fit": "solutions.e04_density:Bernoulli.fit",
    "Bernoulli.log_prob": "solutions.e04_density:Bernoulli.log_prob",
    "KernelDensity.log_prob": "solutions.e04_density:KernelDensity.log_prob",
    "KernelDensity.sample": "solutions.e04_density:KernelDensity.sample",
    "choose_width": "solutions.e04_density:choose_width",
    "kl": "solutions.e04_density:kl",
    "posterior": "solutions.e04_density:posterior",
}

LOG_2PI = math.log(2 * math.pi)


def rows(x: Any) -> np.ndarray:
    """(N, ...) -> (N, D) float64: each number, or each image, one row"""
    x = np.asarray(x, np.float64)
    return x.reshape(len(x), math.prod(x.shape[1:]))


# Structure without a density: clusters


def squared_distances(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N, D), (K, D) -> (N, K): ||a - b||^2 = ||a||^2 - 2 a.b + ||b||^2, so that N x K x D numbers never exist"""
    crossed = x @ centres.T  # (N, K)
    return np.maximum(np.square(x).sum(axis=1)[:, None] - 2 * crossed + np.square(centres).sum(axis=1), 0)


def nearest_centre(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N, D), (K, D) -> (N,) integers from 0 to K - 1: which centre lies nearest to each row"""
    # solution: for each row the place of its smallest squared distance
    return squared_distances(x, centres).argmin(axis=1)
    # end


def centre_means(x: np.ndarray, members: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N, D), (N,) integers, (K, D) -> (K, D): each centre moved to the mean of its members

    A centre that nobody belongs to stays where it was. What was given is not changed.
    """
    # solution: for each k the mean of the rows with members == k; without any, centres[k]
    mine = members[None, :] == np.arange(len(centres))[:, None]  # (K, N)
    count = mine.sum(axis=1, keepdims=True)  # (K, 1)
    return np.where(count > 0, mine @ x / np.maximum(count, 1), centres)
    # end


def kmeans(
    x: np.ndarray, k: int, rng: np.random.Generator, rounds: int = 30
) -> tuple[np.ndarray, list[float]]:
    """(N, D) -> centres (k, D), the objective before each move: mean squared distance of a row to its centre

    Lloyd's two steps, in turn. Neither can make the objective larger, so it falls until nothing moves: to a local
    minimum, which depends on the k rows that it started from.
    """
    centres, objective = x[rng.choice(len(x), k, replace=False)], []
    for _ in range(rounds):
        members = nearest_centre(x, centres)
        objective.append(float(np.square(x - centres[members]).sum(axis=1).mean()))
        centres = centre_means(x, members, centres)
    return centres, objective


# Structure without a density: axes


def principal_axes(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, D), k -> mean (D,), axes (k, D), variances (k,): PCA, the direction of most variance first

    The axes are orthonormal rows, eigenvectors of the covariance (x - mean)^T (x - mean) / N; the variances are their
    eigenvalues. np.linalg.eigh gives eigenvalues from small to LARGE, and eigenvectors as COLUMNS.
    """
    # solution: eigh of the covariance of the centred rows; the last k of its columns, the largest first
    mean = x.mean(axis=0)
    centred = x - mean
    variances, columns = np.linalg.eigh(centred.T @ centred / len(x))  # (D,), (D, D)
    return mean, columns[:, ::-1][:, :k].T, variances[::-1][:k]
    # end


def squeeze(x: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D), (D,), (k, D) -> codes (N, k), and what can be rebuilt of x from mean, axes and codes alone, (N, D)"""
    # solution: codes are the centred rows times the axes; back by the axes again, and the mean returns
    codes = (x - mean) @ axes.T  # (N, k)
    return codes, mean + codes @ axes  # (N, D)
    # end


# Densities


class Density(Protocol):
    """What a model of data answers. An explicit one answers both questions; an implicit one only draws."""

    def log_prob(self, x: Any) -> np.ndarray:
        """(N, ...) -> (N,) nats: log p(x), exact"""

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, D): new data, drawn from p"""


class Copier:
    """An implicit model, and a bad one: it draws training data again. It has no `log_prob` to be asked for."""

    def __init__(self, x: Any):
        self.x = rows(x)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, D): rows of the training data, drawn with replacement"""
        return self.x[rng.integers(len(self.x), size=n)]


class Histogram:
    """A density on a line that is constant in each bin: bin b reaches from edges[b] to edges[b + 1]."""

    def __init__(self, edges: Sequence[float], *, extra: float = 0.5):
        self.edges = np.asarray(edges, np.float64)  # (B + 1,), rising; bins need not be equally wide
        self.widths = np.diff(self.edges)  # (B,)
        self.extra = extra  # added to the count of every bin; with 0 this is maximum likelihood
        self.heights = np.full(len(self.widths), 1 / (self.edges[-1] - self.edges[0]))  # (B,)

    def fit(self, x: Any) -> "Histogram":
        """(N,) or (N, 1) numbers within the edges -> this histogram, with `heights` (B,)

        heights[b] = (count_b + extra) / (N + B extra) / width_b: the share of bin b, spread over its width. A number on
        an inner edge belongs to the bin on its right.
        """
        # solution: count with np.histogram; share of each bin; divided by its width; return self
        counts, _ = np.histogram(rows(x)[:, 0], self.edges)
        shares = (counts + self.extra) / (counts.sum() + self.extra * len(counts))
        self.heights = shares / self.widths
        return self
        # end

    def log_prob(self, x: Any) -> np.ndarray:
        """(N,) or (N, 1) -> (N,) nats: log of the height of each number's bin; -inf outside the edges

        The last edge belongs to the last bin. A bin of height 0 gives -inf, and no warning.
        """
        # solution: np.searchsorted finds the bin; log of its height, -inf where there is none
        x = rows(x)[:, 0]
        b = np.searchsorted(self.edges, x, side="right") - 1
        b = np.where(x == self.edges[-1], len(self.heights) - 1, b)
        inside = (x >= self.edges[0]) & (x <= self.edges[-1])
        with np.errstate(divide="ignore"):
            return np.log(np.where(inside, self.heights[np.where(inside, b, 0)], 0.0))
        # end

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, 1): a bin drawn by its share (height times width), then a place in it, all places alike"""
        # solution: rng.choice among the bins with p=shares; left edge plus width times a uniform number
        shares = self.heights * self.widths
        b = rng.choice(len(shares), n, p=shares / shares.sum())
        return (self.edges[b] + self.widths[b] * rng.random(n))[:, None]  # (n,) -> (n, 1)
        # end


def probability(density: Density, low: float, high: float, cells: int = 1000) -> float:
    """A density on a line -> P(low < x < high): the integral of p, a number from 0 to 1

    By the midpoint rule: `cells` cells of equal width, p in the middle of each, times the width.
    """
    # solution: the midpoints of the cells; exp of their log_prob, summed, times the width of a cell
    width = (high - low) / cells
    middles = low + width * (np.arange(cells) + 0.5)  # (cells,)
    return float(np.exp(density.log_prob(middles)).sum() * width)
    # end


class Gaussian:
    """N(mean, cov): parametric, D + D (D + 1) / 2 numbers whatever the amount of data."""

    def __init__(self, *, ridge: float = 0.0):
        self.ridge = ridge  # added to the variances: pixels that never change have none, and no inverse

    def fit(self, x: Any) -> "Gaussian":
        """(N, ...) -> this Gaussian, with `mean` (D,) and `cov` (D, D), those of maximum likelihood

        mean = (1/N) sum x,  cov = (1/N) sum (x - mean)(x - mean)^T + ridge I.  (Divided by N, not by N - 1.)
        """
        # solution: mean of rows(x); average of the outer products, ridge on the diagonal; return self
        x = rows(x)
        self.mean = x.mean(axis=0)
        centred = x - self.mean
        self.cov = centred.T @ centred / len(x) + self.ridge * np.eye(x.shape[1])
        return self
        # end

    def log_prob(self, x: Any) -> np.ndarray:
        """(N, ...) -> (N,) nats: -(d^T cov^-1 d + log det cov + D log 2 pi) / 2, with d = x - mean

        det cov of 784 pixels is 0 in floating point. Its logarithm is not: with cov = L L^T (np.linalg.cholesky),
        d^T cov^-1 d = ||L^-1 d||^2 and log det cov = 2 sum log L_ii. (np.linalg.slogdet does it too.)
        """
        # solution: L; u = L^-1 d for all rows at once; the formula
        d = rows(x) - self.mean  # (N, D)
        L = np.linalg.cholesky(self.cov)
        u = np.linalg.solve(L, d.T)  # (D, N)
        return -0.5 * (np.square(u).sum(axis=0) + len(L) * LOG_2PI) - np.log(np.diag(L)).sum()
        # end

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, D): mean + L e, with e standard normal and cov = L L^T"""
        # solution: standard normal rows, times L transposed, plus the mean
        L = np.linalg.cholesky(self.cov)
        return self.mean + rng.standard_normal((n, len(L))) @ L.T
        # end


class Bernoulli:
    """A coin for each pixel, independent of the others: parametric, D numbers. A mass function on 2^D images."""

    def __init__(self, *, extra: float = 0.5):
        self.extra = (
            extra  # added to the count of ones and to that of zeros; with 0 this is maximum likelihood
        )

    def fit(self, x: Any) -> "Bernoulli":
        """(N, ...) pixels in [0, 1] -> this model, with `p` (D,): the chance of each pixel to be 1

        p_j = (ones_j + extra) / (N + 2 extra), where ones_j sums pixel j over the images. A grey pixel counts as the
        part of a one that it is. With extra = 0, a pixel that was 0 in training would be impossible: log 0.
        """
        # solution: the sum of each pixel over the images, plus extra; divided by N + 2 extra; return self
        x = rows(x)
        self.p = (x.sum(axis=0) + self.extra) / (len(x) + 2 * self.extra)
        return self
        # end

    def log_prob(self, x: Any) -> np.ndarray:
        """(N, ...) pixels in [0, 1] -> (N,) nats: sum over the pixels of x_j log p_j + (1 - x_j) log(1 - p_j)

        For binary images, log p(x). For grey ones it is what log p is on average, if each pixel is made 1 with its
        brightness as the chance.
        """
        # solution: two matrix-vector products, with log p and log(1 - p)
        x = rows(x)
        return x @ np.log(self.p) + (1 - x) @ np.log1p(-self.p)  # (N, D) -> (N,)
        # end

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, D) zeros and ones"""
        return (rng.random((n, len(self.p))) < self.p).astype(np.float64)


class KernelDensity:
    """A Gaussian of one width around every data point: non-parametric, it keeps all the data."""

    def __init__(self, x: Any, width: float):
        self.x = rows(x)  # (M, D)
        self.width = width

    def log_prob(self, x: Any, block: int = 500) -> np.ndarray:
        """(N, ...) -> (N,) nats: log (1/M) sum_m N(x; x_m, width^2 I)

        The terms are -||x - x_m||^2 / (2 width^2) - (D/2) log(2 pi width^2), and may lie around -1000, where exp gives
        0: use np.logaddexp.reduce. Not more than `block` rows of x are compared with the data at a time.
        """
        # solution: by blocks: logaddexp of squared_distances / (-2 width^2); less log M and the normaliser
        x = rows(x)
        constant = math.log(len(self.x)) + x.shape[1] / 2 * (LOG_2PI + 2 * math.log(self.width))
        parts = [x[start : start + block] for start in range(0, len(x), block)]
        terms = (squared_distances(part, self.x) / (-2 * self.width**2) for part in parts)  # (block, M) each
        return np.concatenate([np.logaddexp.reduce(one, axis=1) for one in terms]) - constant
        # end

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n -> (n, D): for each a data point drawn at random, plus width times a standard normal row"""
        # solution: n places of data points, with replacement; noise of their shape times the width
        chosen = self.x[rng.integers(len(self.x), size=n)]
        return chosen + self.width * rng.standard_normal(chosen.shape)
        # end


def choose_width(train: Any, validation: Any, widths: Sequence[float]) -> float:
    """(M, ...), (N, ...), widths to try -> the one under which the VALIDATION data are most likely on average

    The training data cannot decide: each lies on a kernel of its own, and likes it as narrow as can be. The test data
    must not: they are to judge the result.
    """
    # solution: a KernelDensity of train for each width; the largest mean log_prob of validation
    return max(widths, key=lambda width: KernelDensity(train, width).log_prob(validation).mean())
    # end


# How far from each other: KL, and why likelihood is the thing to maximise


def kl(log_p: np.ndarray, log_q: np.ndarray, cell: float = 1.0) -> float:
    """(B,), (B,) nats on a grid, width of a cell -> KL(p || q) = sum_b p_b (log p_b - log q_b) cell, nats

    cell = 1 for mass functions. Where p is 0, nothing is added (0 log 0 = 0); where q is 0 and p is not: infinity.
    """
    # solution: the sum over the cells where p > 0
    log_p, log_q = np.asarray(log_p, np.float64), np.asarray(log_q, np.float64)
    there = log_p > -np.inf
    return float((np.exp(log_p[there]) * (log_p[there] - log_q[there])).sum() * cell)
    # end


# With labels: any density makes a classifier


def posterior(densities: Sequence[Density], shares: Sequence[float], x: Any) -> np.ndarray:
    """K densities p(x|c), their classes' shares p(c), (N, ...) -> (N, K): p(c|x), each row sums to 1

    Bayes: p(c|x) = p(x|c) p(c) / sum_c' p(x|c') p(c'), with logarithms until the end, since p(x|c) underflows.
    """
    # solution: log_prob of every density plus log share; minus the row's logaddexp; exp
    joint = np.stack([one.log_prob(x) for one in densities], axis=1) + np.log(shares)  # (N, K)
    return np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    # end


if __name__ == "__main__":
    from solutions.density_tables import main

    main(*map(Path, sys.argv[1:2]))
