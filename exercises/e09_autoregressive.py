"""Autoregressive models: the chain rule, an exact p(x), and the smallest networks that have one. About 110 minutes.

Any distribution over images of D pixels is a product of D small ones, whatever the order of the pixels:

    p(x) = p(x_1) p(x_2 | x_1) ... p(x_D | x_1, ..., x_{D-1}),     log p(x) = sum_j log p(x_j | x_{<j}).

A network that has logit j depend on the pixels before j, and on nothing else, therefore has a log p(x) that can be
computed, maximised and compared, to the last digit. Three of them: independent pixels (nothing depends on anything),
FVSBN (every logit is linear in the pixels before it: Frey et al. 1996, Does the wake-sleep algorithm produce good
density estimators?; Gan et al. 2015), MADE (hidden layers under masks: Germain et al. 2015, MADE: Masked Autoencoder
for Distribution Estimation). Images are binary here: each pixel is 0 or 1.
"""

# Complete the TODOs in any order, then type: minigen check e09

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, grad, no_grad, ops, xp
from minigen.nn import Dense, Module
from minigen.optim import AdamW, Optimizer
from minigen.optim.schedules import Schedule, cosine
from solutions.e07_autoencoder import flatten


@dataclass(frozen=True)
class Config:
    """One autoregressive model of binary images."""

    pixels: int = 784
    hidden: tuple[int, ...] = (500,)  # MADE's
    order: int | None = (
        None  # None: row by row from the top left corner; a number: pixels shuffled by that seed
    )
    lr: float = 8e-3
    weight_decay: float = 0.05
    epochs: int = 15
    batch_size: int = 50


PRESETS = {
    "made": Config(),
    "fvsbn": Config(hidden=(), lr=2e-2, weight_decay=0.01),
}


# Who may depend on whom


def pixel_order(config: Config) -> np.ndarray:
    """() -> (D,) integers: the pixel that is drawn first, the one that is drawn second, ..."""
    order = np.arange(config.pixels)
    return order if config.order is None else np.random.default_rng(config.order).permutation(order)


def hidden_degrees(units: int, pixels: int) -> np.ndarray:
    """units H, pixels D -> (H,) integers from 1 to D - 1, spread evenly over that range: 1 + floor(k (D - 1) / H)

    A unit of degree m may see the first m pixels of the order. No pixel may see all D, so degree D would be wasted;
    and a unit of degree 0 would see nothing. (Germain et al., section 3, draw them at random from the same range.)
    """
    # TODO: for k = 0, ..., H - 1: 1 + floor(k (D - 1) / H)
    raise NotImplementedError("hidden_degrees: for k = 0, ..., H - 1: 1 + floor(k (D - 1) / H)")


def connections(before: np.ndarray, after: np.ndarray, *, strict: bool) -> np.ndarray:
    """degrees (n,), (m,) of two layers -> (n, m) float32: 1 where a weight may be, else 0

    Into a hidden layer a unit passes what it knows: 1 where before <= after. Into the logits (`strict`) a pixel of
    degree d must not see itself: 1 where before < after. Germain et al., eqs. 8 and 9.
    """
    # TODO: compare every degree of `before` (rows) with every one of `after` (columns)
    raise NotImplementedError(
        "connections: compare every degree of `before` (rows) with every one of `after` (columns)"
    )


# The models


class Autoregressive(Module):
    """What all of them share. `logits(x)`: logit j depends on x's pixels before j in the order, and on nothing else."""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.config = config
        self.order = pixel_order(config)
        self.degrees = 1 + np.argsort(self.order)  # pixel -> its place in the order, from 1 to D

    def logits(self, x: Any) -> Tensor:
        """(N, ...) zeros and ones -> (N, D): p(x_j = 1 | the pixels before j) is their sigmoid"""
        raise NotImplementedError(f"{type(self).__name__} does not say what its logits are")

    def log_prob(self, x: Any) -> Tensor:
        """(N, ...) zeros and ones -> (N,) nats: the exact log p(x), summed over the pixels of each image"""
        # TODO: minus bce_with_logits of logits and pixels, summed over the pixels of each image
        raise NotImplementedError(
            "Autoregressive.log_prob: minus bce_with_logits of logits and pixels, summed over the pixels of "
            "each image"
        )

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[Module, Tensor]]:
        """(N, ...) zeros and ones -> one pair (the model, its loss): minus log p(x) in nats, averaged over images

        To make it small is to make the training images likely. rng: unused.
        """
        # TODO: yield this model with minus the mean of log_prob over the batch
        raise NotImplementedError(
            "Autoregressive.updates: yield this model with minus the mean of log_prob over the batch"
        )

    def sample(self, n: int, rng: np.random.Generator) -> Any:
        """n -> (n, D) zeros and ones drawn from p(x), pixel by pixel in the order; D passes through the network

        Pixel j is 1 with probability sigmoid(logit j), given the pixels drawn before it (ancestral sampling).
        """
        # TODO: pixel after pixel: the logits of what is drawn so far, then a coin toss
        raise NotImplementedError(
            "Autoregressive.sample: pixel after pixel: the logits of what is drawn so far, then a coin toss"
        )

    def evaluate(self, images: Any, rng: np.random.Generator) -> dict[str, float]:
        """(N, ...) zeros and ones -> nll: minus log p(x), nats per image"""
        with no_grad():
            return {"nll": -float(ops.mean(self.log_prob(images)))}

    def optimizers(self) -> dict[str, Optimizer]:
        """The name of a module ("" is the model itself) -> what steps it"""
        return {"": AdamW(self.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay)}

    def schedule(self, steps: int) -> Schedule:
        """The learning rate falls to zero along half a cosine"""
        return cosine(steps)


class Independent(Autoregressive):
    """Every pixel a coin of its own: the baseline that knows nothing but how often each pixel is 1."""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        super().__init__(config, rng=rng)
        self.b = Tensor(xp.zeros(config.pixels, "float32"), requires_grad=True)

    def logits(self, x: Any) -> Tensor:
        """(N, ...) -> (N, D): b, whatever the image"""
        return ops.broadcast_to(self.b, shape=(x.shape[0], self.config.pixels))

    def fit(self, images: Any) -> None:
        """(N, ...) zeros and ones -> b, in one step: b_j = log((ones_j + 1/2) / (zeros_j + 1/2))

        The maximum of the likelihood, but for the half that is added to each count: a pixel that was never 1 in
        training is unlikely then, and not impossible (which would cost a test image infinitely many nats).
        """
        # TODO: count each pixel's ones and zeros, add 1/2 to both; the log of their ratio
        raise NotImplementedError(
            "Independent.fit: count each pixel's ones and zeros, add 1/2 to both; the log of their ratio"
        )


class FVSBN(Autoregressive):
    """Logistic regression of each pixel on those before it: one (D, D) matrix of which only one triangle is used.

    Fully visible sigmoid belief network. The loss is convex: any start will do, so it starts at zero.
    """

    def __init__(self, config: Config, *, rng: np.random.Generator):
        super().__init__(config, rng=rng)
        self.W = Tensor(xp.zeros((config.pixels, config.pixels), "float32"), requires_grad=True)
        self.b = Tensor(xp.zeros(config.pixels, "float32"), requires_grad=True)
        self.mask = xp.asarray(connections(self.degrees, self.degrees, strict=True))  # (D, D)

    def logits(self, x: Any) -> Tensor:
        """(N, ...) -> (N, D): x (W * mask) + b; W[i, j] leads from pixel i to logit j"""
        # TODO: each image a row; times the weights that the mask leaves, plus the biases
        raise NotImplementedError(
            "FVSBN.logits: each image a row; times the weights that the mask leaves, plus the biases"
        )


class MADE(Autoregressive):
    """Hidden layers, in which every unit has a degree and a weight may only lead to what may know as much.

    With h_0 = x: h_l = relu(h_{l-1} (W_l * M_l) + b_l), logits = h_L (W * M) + b + x (A * M_A); the last term, the
    direct connections from pixels to logits, is an FVSBN. M_l lets degrees pass to equal or higher ones, M and M_A
    to higher ones only: so no path leads from a pixel to itself or to one before it. Germain et al., sections 3, 4.
    """

    def __init__(self, config: Config, *, rng: np.random.Generator):
        super().__init__(config, rng=rng)
        inner = [hidden_degrees(n, config.pixels) for n in config.hidden]
        sizes = (config.pixels, *config.hidden, config.pixels)
        self.layers = [Dense(n_in, n_out, rng=rng) for n_in, n_out in pairwise(sizes)]
        self.direct = Tensor(xp.zeros((config.pixels, config.pixels), "float32"), requires_grad=True)
        masks = [connections(a, b, strict=False) for a, b in pairwise([self.degrees, *inner])]
        masks.append(connections([self.degrees, *inner][-1], self.degrees, strict=True))
        self.masks = [xp.asarray(mask) for mask in masks]  # one for each of the layers
        self.direct_mask = xp.asarray(connections(self.degrees, self.degrees, strict=True))

    def logits(self, x: Any) -> Tensor:
        """(N, ...) -> (N, D): through the masked layers, a ReLU after all but the last, plus the direct connections"""
        # TODO: each W under its mask, relu between layers, plus x through the direct weights
        raise NotImplementedError(
            "MADE.logits: each W under its mask, relu between layers, plus x through the direct weights"
        )


# Proofs: what a density must be


def all_images(pixels: int) -> np.ndarray:
    """D -> (2^D, D) float32: every binary image once, the binary digits of 0, 1, ..., 2^D - 1"""
    return (np.arange(2**pixels)[:, None] >> np.arange(pixels)[::-1] & 1).astype(np.float32)


def total_probability(model: Any) -> float:
    """A model of D pixels -> the sum of p(x) over all 2^D binary images, which must be 1

    D = model.config.pixels, up to 16 or so. In float32 the sum is 1 up to 1e-6, in float64 up to 1e-12.
    """
    # TODO: log_prob of all_images(D), exponentials in float64, their sum
    raise NotImplementedError(
        "total_probability: log_prob of all_images(D), exponentials in float64, their sum"
    )


def dependency_matrix(model: Any, x: np.ndarray) -> np.ndarray:
    """model, (N, D) images -> (D, D) bool: True at [j, i] where logit j depends on pixel i at one of the images

    That is where the derivative of logit j with respect to pixel i is not zero. A model that generates row by row
    must have nothing on the diagonal, and nothing above it.
    """
    # TODO: for each logit j its gradient with respect to x; True where it is not 0 at some image
    raise NotImplementedError(
        "dependency_matrix: for each logit j its gradient with respect to x; True where it is not 0 at some "
        "image"
    )


def ensemble_log_prob(models: Sequence[Any], x: Any) -> Tensor:
    """K models, (N, ...) images -> (N,) nats: log of the average of their p(x)

    A mixture of densities is a density, whatever order each member generates in: p(x) = (1/K) sum_k p_k(x), so
    log p(x) = logsumexp_k log p_k(x) - log K. (To average *predictions* of members of different orders is no density:
    each pixel would be predicted from some of the pixels that follow it.)
    """
    # TODO: the log_prob of every model, stacked; logsumexp over the models, minus log K
    raise NotImplementedError(
        "ensemble_log_prob: the log_prob of every model, stacked; logsumexp over the models, minus log K"
    )


# The table of the lesson


def thresholded(data: Any) -> Any:
    """A Dataset -> the same with every pixel 0 or 255: what is brighter than a half is ink"""
    from minigen.data import Dataset, Split, binarize

    def black_and_white(split: Any) -> Any:
        return Split((binarize(split.images) * 255).astype(np.uint8), split.labels)

    return Dataset(data.name, black_and_white(data.train), black_and_white(data.test))


def fitted(kind: type[Autoregressive], config: Config, data: Any, seed: int = 0) -> tuple[Any, float]:
    """A kind of model, its Config, a thresholded Dataset -> the trained model, its test nats per image"""
    from minigen.data import scale
    from minigen.training import progress, train

    model = kind(config, rng=np.random.default_rng(seed))
    if isinstance(model, Independent):
        model.fit(xp.asarray(scale(data.train.images)))
    else:
        train(model, data, epochs=config.epochs, batch_size=config.batch_size, seed=seed, progress=progress())
    test = xp.asarray(scale(data.test.images))
    return model, model.evaluate(test, np.random.default_rng(seed))["nll"]


def main(folder: Path = Path("runs/e09"), name: str = "mnist-small") -> None:
    """Trains the models of the lesson's table, prints it, and draws their samples and their dependency matrices"""
    from minigen import plot
    from minigen.data import load, scale

    data = thresholded(load(name))
    made, fvsbn = PRESETS["made"], PRESETS["fvsbn"]
    plans = {"independent": (Independent, made), "FVSBN": (FVSBN, fvsbn), "MADE": (MADE, made)}
    rows, strips = {"every pixel 1/2": 784 * math.log(2)}, {"test images": scale(data.test.images[:10])}
    for label, (kind, config) in plans.items():
        model, rows[label] = fitted(kind, config, data)
        strips[label] = model.sample(10, np.random.default_rng(1))
    members = [model]  # the MADE of the usual order
    for order in (1, 2):
        model, rows[f"MADE, shuffled order {order}"] = fitted(MADE, replace(made, order=order), data, order)
        members.append(model)
    with no_grad():
        test = xp.asarray(scale(data.test.images))
        rows["the three MADEs averaged"] = -float(ensemble_log_prob(members, test).mean())
    for label, nll in rows.items():
        print(f"{label:26} {nll:7.2f} nats per test image, {nll / (784 * math.log(2)):.3f} bits per pixel")
    print(
        plot.strips(
            strips, folder / "e09_samples.png", title="Drawn pixel by pixel, top left to bottom right"
        )
    )
    print(
        plot.strips(dependencies(), folder / "e09_dependencies.png", title="Logit (down) by pixel (across)")
    )


def dependencies() -> dict[str, np.ndarray]:
    """label -> (4, 16, 16): the dependency matrices of untrained models of 4x4 images, in four orders"""
    rng, found = np.random.default_rng(0), {"FVSBN": [], "MADE": [], "averaged logits": []}
    x = (rng.random((40, 16)) < 0.5).astype(np.float32)
    for order in (None, 1, 2, 3):
        config = Config(pixels=16, hidden=(60,), order=order)
        members = [FVSBN(config, rng=rng), MADE(config, rng=rng), MADE(replace(config, order=9), rng=rng)]
        for p in [p for model in members for p in model.parameters()]:
            p.data = xp.asarray(rng.normal(0, 1, p.shape).astype(np.float32))
        matrices = [dependency_matrix(model, x) for model in members]
        for label, matrix in zip(found, (*matrices[:2], matrices[1] | matrices[2]), strict=True):
            found[label].append(matrix)
    return {label: np.array(matrices, np.float32) for label, matrices in found.items()}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))


# untouched stub 1b0c667bed52
