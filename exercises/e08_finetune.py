"""Fine-tuning: the decoder is thrown away, and the encoder starts a classifier. About 90 minutes.

An autoencoder learns features from images that nobody has labelled. Labels are dear, so of n images we know them, of
many others we do not. Three classifiers of the same shape, softmax(W f(x) + b), learn from the same n:

    random       f starts at random values, everything is trained: what the labels alone can do
    frozen       f is the encoder as it is, only W and b are trained: what its features are worth (a linear probe)
    fine-tuned   f starts as the encoder, everything is trained

The recipe is that of Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, and of
Vincent et al. 2010, Stacked denoising autoencoders. A claim about random things needs several seeds and its error.
"""

# Complete the TODOs in any order, then type: minigen check e08

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigen import grad, no_grad, ops, xp
from minigen.nn import Dense, Module
from minigen.nn.init import zeros
from minigen.optim import Adam
from minigen.optim.schedules import cosine
from solutions.e07_autoencoder import Autoencoder, Config, dense_stack, flatten

KINDS = ("random", "frozen", "fine-tuned")


class Labelled(NamedTuple):
    """Images with their labels."""

    images: Any  # (N, ...) in [0, 1]
    labels: Any  # (N,) integers from 0 to 9


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: steps of Adam, the rate falling to zero along half a cosine."""

    lr: float = 1e-3
    steps: int = 200
    batch_size: int = 50


# Which images, and which labels


def hold_out(n: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n images, how many to hold out -> places of the others (n - size,), of those held out (size,)

    Both drawn at random; together they are 0, ..., n - 1, each once. Recipes are chosen on the images held out, never
    on the test set.
    """
    # TODO: one permutation of 0 ... n - 1, cut in two
    raise NotImplementedError("hold_out: one permutation of 0 ... n - 1, cut in two")


def label_subset(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) labels of K classes -> (n,) different places, n / K of every class, drawn at random, in random order

    n is a multiple of K, and no class has fewer than n / K images. Balanced, because in ten labels drawn blindly four
    digits would be missing on average; and then that is what would be measured.
    """
    # TODO: n / K different places of each class by rng.choice; all of them shuffled
    raise NotImplementedError(
        "label_subset: n / K different places of each class by rng.choice; all of them shuffled"
    )


# The classifier


class Classifier(Module):
    """(N, ...) images -> (N, 10) logits: an encoder, and a softmax layer on its features"""

    def __init__(self, encoder: Module, features: int, *, classes: int = 10, rng: np.random.Generator):
        self.encoder = encoder
        # Codes are large, and a random head would begin with wild answers: zero begins at p = 1/10 for each class.
        self.head = Dense(features, classes, init=zeros, rng=rng)
        self.frozen = False  # is the encoder to stay as it is?

    def __call__(self, x: Any) -> Any:
        """(N, ...) images -> (N, 10) logits: no softmax here, the loss takes logits"""
        # TODO: one row for each image, through the encoder, through the head
        raise NotImplementedError(
            "Classifier.__call__: one row for each image, through the encoder, through the head"
        )

    def train(self, mode: bool = True) -> "Classifier":
        """Switches to training behaviour (mode=False: to behaviour in use) -> itself; a FROZEN encoder stays in use

        Batch normalisation in training mode follows the batches that it sees: a frozen encoder would change after all.
        """
        # TODO: super().train(mode); if frozen, the encoder's eval(); return self
        raise NotImplementedError(
            "Classifier.train: super().train(mode); if frozen, the encoder's eval(); return self"
        )


def freeze(module: Module) -> None:
    """All parameters of the module stop to be parameters: requires_grad = False, so no gradient, no step

    And it is switched to its behaviour in use, eval(). Its values do not change. It stays in state_dict.
    """
    # TODO: requires_grad = False for each of its parameters; eval()
    raise NotImplementedError("freeze: requires_grad = False for each of its parameters; eval()")


def transfer(autoencoder: Autoencoder, classifier: Classifier) -> None:
    """Copies the autoencoder's encoder into the classifier's: equal to the last byte, and independent of it

    The two encoders have the same layers. The classifier's head stays as it is; the decoder is used for nothing.
    """
    # TODO: the state of one encoder, loaded into the other
    raise NotImplementedError("transfer: the state of one encoder, loaded into the other")


def start(kind: str, autoencoder: Autoencoder, rng: np.random.Generator) -> Classifier:
    """One of KINDS -> a classifier of the autoencoder's shape (autoencoder.config), not yet trained

    "random": as `blank` makes it. "frozen": the autoencoder's encoder transferred, then frozen, and `frozen` set.
    "fine-tuned": transferred only. For the same seed all kinds begin with the same head. Any other kind: ValueError.
    """
    # TODO: refuse a strange kind; blank; transfer unless random; freeze and say so if frozen
    raise NotImplementedError(
        "start: refuse a strange kind; blank; transfer unless random; freeze and say so if frozen"
    )


def blank(config: Config, rng: np.random.Generator) -> Classifier:
    """The shape of an autoencoder -> a classifier with an encoder of that shape, all of it at random values"""
    encoder = dense_stack((config.pixels, *config.hidden, config.code), linear=config.linear, rng=rng)
    return Classifier(encoder, config.code, rng=rng)


# Training and measuring


def fine_tune(classifier: Classifier, data: Labelled, recipe: Recipe, rng: np.random.Generator) -> None:
    """Trains the classifier's parameters (a frozen encoder has none) on labelled images, and leaves it in eval()

    Each of `steps` steps: batch_size different images at random (all, if there are fewer); the softmax loss, which is
    the mean of -log p(label) in nats; one step of Adam at rate lr * cosine(steps)(step), step = 0, 1, ...
    """
    # TODO: train(); Adam; each step: a batch, its mean cross-entropy, grad, rate, step; eval()
    raise NotImplementedError(
        "fine_tune: train(); Adam; each step: a batch, its mean cross-entropy, grad, rate, step; eval()"
    )


def error_rate(classifier: Classifier, data: Labelled, block: int = 1000) -> float:
    """Labelled images -> per cent (0 to 100) of them whose largest logit is not that of the label

    Measured in eval(), without gradients, never more than `block` images at a time.
    """
    # TODO: eval(); no_grad; argmax of the logits, block by block; 100 times the share that errs
    raise NotImplementedError(
        "error_rate: eval(); no_grad; argmax of the logits, block by block; 100 times the share that errs"
    )


def choose_recipe(
    recipes: Sequence[Recipe],
    make: Callable[[], Classifier],
    train: Labelled,
    validation: Labelled,
    rng: np.random.Generator,
) -> Recipe:
    """Recipes, make() -> a new classifier -> the recipe with the lowest error on the VALIDATION images

    Each recipe trains a classifier of its own on `train`. The test set is not here, and so cannot be used.
    """
    # TODO: for each recipe make, fine_tune on train, error_rate on validation; the recipe with the smallest
    raise NotImplementedError(
        "choose_recipe: for each recipe make, fine_tune on train, error_rate on validation; the recipe with "
        "the smallest"
    )


# What may be claimed


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """One figure for each of n seeds -> their mean, and the standard error of that mean: s / sqrt(n)

    s^2 = sum (v - mean)^2 / (n - 1), the unbiased variance. One seed has no error that could be told: ValueError.
    """
    # TODO: refuse fewer than two; the mean; the standard deviation with ddof=1, divided by sqrt(n)
    raise NotImplementedError(
        "mean_and_error: refuse fewer than two; the mean; the standard deviation with ddof=1, divided by "
        "sqrt(n)"
    )


def verdict(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, str]:
    """(n,), (n,) test errors of two methods, seed by seed -> gain a - b, its standard error, what may be said of b

    The two share their seeds (labels, order of batches), so the DIFFERENCES are averaged: what both suffer from in one
    seed cancels. "lower" if the gain is more than two standard errors above 0, "higher" if below, else "undecided".
    """
    # TODO: mean_and_error of the differences; the word by comparing with two errors
    raise NotImplementedError(
        "verdict: mean_and_error of the differences; the word by comparing with two errors"
    )


if __name__ == "__main__":
    from solutions.finetune_table import main

    main(*map(int, sys.argv[1:2]))


# untouched stub 9abcad60dec4
