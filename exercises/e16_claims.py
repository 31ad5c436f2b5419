"""Claims: what the lecture notes say of the models, turned into measurements with a verdict. About 120 minutes.

"Sequential generation is slow", "samples are blurrier", "more unstable to train": each can be measured. What is
measured, and what number would refute it, is written down BEFORE anybody looks. Then every model gets the same
training time, several seeds, and the mean over the seeds gets an interval:

    interval wholly on the claim's side: confirmed      wholly on the other side: refuted      else: undecided

`minigen compare` is the laboratory that uses this file: it trains all five models, and judges every claim.
"""

# Complete the TODOs in any order, then type: minigen check e16

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigen import Tensor, ops

QUERIES = ("log_prob", "elbo", "encode", "sample")  # what one may ask a model
NODES = np.polynomial.legendre.leggauss(100)  # places in [-1, 1] and weights, of an integral
BRANCHES = ("explicit, tractable", "explicit, approximate", "implicit", "no generative model")


# The taxonomy, read off the classes


def answers(model: Any) -> dict[str, bool]:
    """A model or its class -> for each of QUERIES, in their order, whether it has a method of that name

    A method that is inherited counts. A name that stands for something else than a method does not: `elbo = None` is
    how a subclass takes a method back.
    """
    # TODO: for each name of QUERIES: getattr with None where there is nothing, and whether that is callable
    raise NotImplementedError(
        "answers: for each name of QUERIES: getattr with None where there is nothing, and whether that is "
        "callable"
    )


def branch(model: Any) -> str:
    """A model or its class -> its place in the taxonomy, one of BRANCHES, by what it answers

    Without `sample` it is no generative model. With it: "explicit, tractable" if it tells log p(x) itself, else
    "explicit, approximate" if it tells a bound, else "implicit". (Goodfellow 2016, NIPS tutorial: Generative
    Adversarial Networks, figure 9.)
    """
    # TODO: no sample first; then log_prob, elbo, and what is left
    raise NotImplementedError("branch: no sample first; then log_prob, elbo, and what is left")


def taxonomy(models: Mapping[str, Any]) -> str:
    """name -> class: the tree, as text"""
    found: dict[str, list[str]] = {place: [] for place in BRANCHES}
    for name, model in models.items():
        found[branch(model)].append(name)
    tractable, approximate, implicit, none = (", ".join(found[place]) or "-" for place in BRANCHES)
    return (
        "generative models\n"
        "├── explicit density: p(x) is written down\n"
        f"│   ├── tractable: log_prob(x)          {tractable}\n"
        f"│   └── approximate: elbo(x) <= log p   {approximate}\n"
        f"└── implicit density: sample() only     {implicit}\n"
        f"not generative: no sample()             {none}"
    )


def matrix(models: Mapping[str, Any]) -> str:
    """name -> class: who answers what, as text"""
    rows = [f"{'':12}" + "".join(f"{query:>10}" for query in QUERIES)]
    for name, model in models.items():
        rows.append(f"{name:12}" + "".join(f"{'yes' if yes else '-':>10}" for yes in answers(model).values()))
    return "\n".join(rows)


# Time


def longest_chain(y: Tensor) -> int:
    """A Tensor -> the number of operations on the longest path to it from any leaf: what cannot run in parallel

    A recorded Tensor knows the operation that made it, `y.op`, and the arguments, `y.args`; of a leaf `op` is None, and
    of the arguments only Tensors count. A Tensor that is used twice is walked once (else a graph of 40 diamonds would
    take 2^40 steps), without recursion (a chain of 5,000 would be too deep), and the graph stays as it is.
    """
    # TODO: a stack; a Tensor's length is 1 + the longest of its arguments', once these are all known
    raise NotImplementedError(
        "longest_chain: a stack; a Tensor's length is 1 + the longest of its arguments', once these are all "
        "known"
    )


def equal_budgets(step_seconds: Mapping[str, float], seconds: float) -> dict[str, int]:
    """model -> seconds of one training step, seconds for each model -> model -> steps: the same TIME, not more

    As many whole steps as fit into the time, at least one. An epoch of one model may take as long as fifty of another:
    who gives each model the same number of epochs, gives one of them fifty times as much.
    """
    # TODO: for each model seconds / its step_seconds, rounded down, at least 1
    raise NotImplementedError(
        "equal_budgets: for each model seconds / its step_seconds, rounded down, at least 1"
    )


def time_per_sample(draw: Callable[[int], Any], n: int, repeats: int, clock: Callable[[], float]) -> float:
    """draw(n) draws n images; how often; a clock -> seconds for ONE image: the median of `repeats` calls

    One call comes before and is not timed: caches fill, memory is fetched. The median, because a machine that does
    something else for a moment makes one call slow and none fast.
    """
    # TODO: draw(n) once; `repeats` times clock, draw(n), clock; the median of the differences over n
    raise NotImplementedError(
        "time_per_sample: draw(n) once; `repeats` times clock, draw(n), clock; the median of the differences"
        " over n"
    )


# Statistics of a few seeds


class Interval(NamedTuple):
    """A mean over seeds, and where the true one lies with the confidence that was asked for."""

    mean: float
    low: float
    high: float


def student_inside(t: float, df: int) -> float:
    """t >= 0, degrees of freedom -> P(|T| <= t) of Student's distribution (1908, The probable error of a mean)

    With t = sqrt(df) tan(a) its density becomes cos(a)^(df - 1), integrated here by Gauss and Legendre.
    """
    x, weights = NODES

    def integral(end: float) -> float:
        return float(end / 2 * (weights * np.cos(end / 2 * (x + 1)) ** (df - 1)).sum())

    return integral(math.atan(t / math.sqrt(df))) / integral(math.pi / 2)


def critical_value(confidence: float, df: int) -> float:
    """0 < confidence < 1, degrees of freedom -> the t with student_inside(t, df) = confidence, to 1e-9 of t

    12.71 for 95 % and df = 1, 2.776 for df = 4; only for many seeds the 1.96 of the normal distribution.
    """
    # TODO: double an upper end until it is outside; then halve the stretch, 100 times
    raise NotImplementedError(
        "critical_value: double an upper end until it is outside; then halve the stretch, 100 times"
    )


def interval(values: Sequence[float], confidence: float) -> Interval:
    """(n,) one figure of each seed -> mean -+ t s / sqrt(n), t = critical_value(confidence, n - 1)

    s is the standard deviation with n - 1 below (ddof=1). One seed alone tells nothing: its ends are -inf and inf.
    """
    # TODO: the mean; the half width, infinite for one seed; both ends
    raise NotImplementedError("interval: the mean; the half width, infinite for one seed; both ends")


def difference(a: Sequence[float], b: Sequence[float], confidence: float) -> Interval:
    """(n,), (n,) figures of two models, seed by seed -> the interval of a - b

    The same seeds, in the same order: what makes a seed hard for both (its test images, its order of batches) is in
    both figures, and cancels in their difference. Unequal numbers of seeds: ValueError.
    """
    # TODO: refuse unequal lengths; the interval of the differences, seed by seed
    raise NotImplementedError(
        "difference: refuse unequal lengths; the interval of the differences, seed by seed"
    )


def ratio(a: Sequence[float], b: Sequence[float], confidence: float) -> Interval:
    """(n,), (n,) positive figures, seed by seed -> the interval of a / b: how many times as much

    Seconds and distances scatter by factors. So their LOGARITHMS are subtracted, and mean and ends taken back by exp:
    the mean is the geometric one, both ends are positive, and ratio(b, a) is one over ratio(a, b).
    """
    # TODO: the difference of the logarithms; exp of its mean and its ends
    raise NotImplementedError("ratio: the difference of the logarithms; exp of its mean and its ends")


def each_confidence(claims: int, overall: float) -> float:
    """m claims, a confidence for ALL their intervals together -> the confidence of each: 1 - (1 - overall) / m

    Of twenty intervals at 95 % one is wrong on average. Whoever wants a table without a wrong verdict, in 95 of 100
    tables, may be wrong in each line only a share of that. (Bonferroni; Dunn 1961, Multiple comparisons among means.)
    """
    # TODO: the chance to be wrong, shared by m
    raise NotImplementedError("each_confidence: the chance to be wrong, shared by m")


@dataclass(frozen=True)
class Claim:
    """A statement, and the quantity that is to be ABOVE `above` if it is true. Written down before the measurement."""

    key: str
    row: str  # of the lecture notes
    says: str
    quantity: str
    above: float = 0.0


def judge(claim: Claim, found: Interval) -> str:
    """A claim, the interval of its quantity -> "confirmed", "refuted" or "undecided"

    Confirmed: the whole interval lies above `claim.above`. Refuted: the whole of it lies below. An end that touches
    claim.above, an end that is nan: undecided. The mean alone decides nothing.
    """
    # TODO: compare the low end, then the high end, with claim.above; strictly
    raise NotImplementedError("judge: compare the low end, then the high end, with claim.above; strictly")


# What samples are like


def sharpness(images: np.ndarray) -> float:
    """(N, H, W) of any dtype -> how much of their contrast is in fine detail: squared Laplacian over variance

    The Laplacian of a pixel is the sum of its four neighbours minus four times itself, for the (H - 2)(W - 2) inner
    pixels; its square, averaged over these and over all images, is divided by the mean over images of each image's
    variance. So neither brightness nor contrast counts. Blurring lowers it. So does nothing else, but noise raises it:
    compare grey with grey, and never a probability map with drawn pixels. No contrast at all: 0.
    """
    # TODO: slices for the four neighbours and the middle; mean square over mean variance, 0 if that is 0
    raise NotImplementedError(
        "sharpness: slices for the four neighbours and the middle; mean square over mean variance, 0 if that"
        " is 0"
    )


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """(N, d), (M, d) features of two sets of images -> the squared Frechet distance of the Gaussians that fit them

        |m_a - m_b|^2 + trace(C_a + C_b - 2 (C_a C_b)^(1/2)),      C with N - 1 below (np.cov)

    trace (C_a C_b)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric S C_b S, S = C_a^(1/2).
    Never below 0. (Dowson and Landau 1982. With features of an Inception network it is the FID of Heusel et al. 2017;
    with a classifier of one's own it is not, and figures of two classifiers do not compare.)
    """
    # TODO: means and covariances; the root of C_a by eigh; eigenvalues of S C_b S, clipped at 0
    raise NotImplementedError(
        "frechet_distance: means and covariances; the root of C_a by eigh; eigenvalues of S C_b S, clipped "
        "at 0"
    )


def spreads(values: Sequence[float]) -> np.ndarray:
    """(n,) positive figures, one for each seed -> (n,): by what factor each is off the mean, |log v - mean of the logs|

    A model that is hard to train is good with one seed and bad with the next. A mean over seeds hides that; these
    can be compared between two models as any other figures. (Levene 1960, Robust tests for equality of variances.)
    """
    # TODO: logarithms, minus their mean, without sign
    raise NotImplementedError("spreads: logarithms, minus their mean, without sign")


def mixture_log_prob(log_p: Any, log_q: Any, share: float) -> Any:
    """(N,), (N,) nats, 0 < share < 1 -> (N,) nats: log (share p(x) + (1 - share) q(x))

    Arrays, or Tensors that pass their gradient. log p of an image is around -100: exp(-1000) is 0 in any float. With
    share 1/10 it is never less than log p - log 10: nine samples of ten may be noise q, and it costs 2.3 nats of 100.
    (Theis, van den Oord and Bethge 2016, A note on the evaluation of generative models, section 3.2.)
    """
    # TODO: the two logarithms, weights added, stacked; logsumexp over the two
    raise NotImplementedError(
        "mixture_log_prob: the two logarithms, weights added, stacked; logsumexp over the two"
    )


# The claims


CLAIMS = (
    Claim("slow_rnn", "S21", "PixelRNN: sequential generation is slow", "seconds per image, PixelRNN / VAE", 10),
    Claim("slow_cnn", "S27", "PixelCNN: generation is still slow", "seconds per image, PixelCNN / VAE", 10),
    Claim("faster", "S26", "PixelCNN trains faster than PixelRNN",
          "training seconds per image, PixelRNN / PixelCNN", 1),
    Claim("parallel", "S26", "... because its convolutions run in parallel",
          "longest chain of operations, PixelRNN / PixelCNN", 2),
    Claim("sums", "S28", "PixelRNN and PixelCNN compute p(x) exactly", "digits to which p(x) sums to 1", 9),
    Claim("metric", "S29", "likelihood is a good evaluation metric",
          "nats of 9/10 noise + 1/10 best model, minus worst model", 0),
    Claim("samples", "S30", "PixelCNN: good samples", "feature distance, VAE / PixelCNN", 1),
    Claim("decoder", "S45", "an autoencoder is not for generation", "feature distance, AE's noise / VAE", 1),
    Claim("bound", "S67", "VAE: evaluation not as good as PixelCNN", "nats per image, VAE - PixelCNN", 0),
    Claim("blurry", "S68", "VAE: samples blurrier than the GAN's", "sharpness, GAN (at most real digits') / VAE", 1),
    Claim("quality", "S68", "VAE: samples of lower quality than the GAN's", "feature distance, VAE / GAN", 1),
    Claim("seeds", "S78", "GAN: more unstable, from seed to seed", "spread of log distance, GAN - VAE", 0),
    Claim("rates", "S78", "GAN: more unstable, at 5 times the rate", "worsening by the rate, GAN / VAE", 1),
    Claim("silent", "S79", "GAN: no p(x), no p(z|x)", "of log_prob, elbo, encode: how many missing", 2.5),
)  # fmt: skip
EXACT = ("parallel", "sums", "silent")  # not left to chance: no share of the doubt


def main(folder: Path = Path("runs/e16")) -> None:
    """Prints the tree and the matrix of the lesson's text, and draws its pictures"""
    from solutions.claims_pictures import draw_all, kinds

    print(taxonomy(kinds()), matrix(kinds()), sep="\n\n")
    for path in draw_all(folder):
        print(path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))


# untouched stub 8a30e6cd2da7
