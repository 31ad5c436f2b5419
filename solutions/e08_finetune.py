"""Fine-tuning: the decoder is thrown away, and the encoder starts a classifier. About 90 minutes.

An autoencoder learns features from images that nobody has labelled. Labels are dear, so of n images we know them, of
many others we do not. Three classifiers of the same shape, softmax(W f(x) + b), learn from the same n:

    random       f starts at random values, everything is trained: what the labels alone can do
    frozen       f is the encoder as it is, only W and b are trained: what its features are worth (a linear probe)
    fine-tuned   f starts as the encoder, everything is trained

The recipe is that of Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, and of
Vincent et al. 2010, Stacked denoising autoencoders. A claim about random things needs several seeds and its error.
"""

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

# Where a learner's version of a hole goes: this very module is the live one.
PLUGS = {
    "hold_out": "solutions.e08_finetune:hold_out",
    "label_subset": "solutions.e08_finetune:label_subset",
    "Classifier.__call__": "solutions.e08_finetune:Classifier.__call__",
    "Classifier.train": "solutions.e08_finetune:Classifier.train",
    "freeze": "solutions.e08_finetune:freeze",
    "transfer": "solutions.e08_finetune:transfer",
    "start": "solutions.e08_finetune:start",
    "fine_tune": "solutions.e08_finetune:fine_tune",
    "error_rate": "solutions.e08_finetune:error_rate",
    "choose_recipe": "solutions.e08_finetune:choose_recipe",
    "mean_and_error": "solutions.e08_finetune:mean_and_error",
    "verdict": "solutions.e08_finetune:verdict",
}

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
    # solution: one permutation of 0 ... n - 1, cut in two
    order = rng.permutation(n)
    return order[size:], order[:size]
    # end


def label_subset(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) labels of K classes -> (n,) different places, n / K of every class, drawn at random, in random order

    n is a multiple of K, and no class has fewer than n / K images. Balanced, because in ten labels drawn blindly four
    digits would be missing on average; and then that is what would be measured.
    """
    # solution: n / K different places of each class by rng.choice; all of them shuffled
    kinds = np.unique(labels)
    each = [
        rng.choice(np.flatnonzero(labels == one), n // len(kinds), replace=False) for one in kinds
    ]  # K times (n / K,)
    return rng.permutation(np.concatenate(each))
    # end


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
        # solution: one row for each image, through the encoder, through the head
        return self.head(self.encoder(flatten(x)))  # (N, H, W) -> (N, H * W) -> (N, k) -> (N, 10)
        # end

    def train(self, mode: bool = True) -> "Classifier":
        """Switches to training behaviour (mode=False: to behaviour in use) -> itself; a FROZEN encoder stays in use

        Batch normalisation in training mode follows the batches that it sees: a frozen encoder would change after all.
        """
        # solution: super().train(mode); if frozen, the encoder's eval(); return self
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self
        # end


def freeze(module: Module) -> None:
    """All parameters of the module stop to be parameters: requires_grad = False, so no gradient, no step

    And it is switched to its behaviour in use, eval(). Its values do not change. It stays in state_dict.
    """
    # solution: requires_grad = False for each of its parameters; eval()
    for p in module.parameters():
        p.requires_grad = False
    module.eval()
    # end


def transfer(autoencoder: Autoencoder, classifier: Classifier) -> None:
    """Copies the autoencoder's encoder into the classifier's: equal to the last byte, and independent of it

    The two encoders have the same layers. The classifier's head stays as it is; the decoder is used for nothing.
    """
    # solution: the state of one encoder, loaded into the other
    classifier.encoder.load_state_dict(autoencoder.encoder.state_dict())
    # end


def start(kind: str, autoencoder: Autoencoder, rng: np.random.Generator) -> Classifier:
    """One of KINDS -> a classifier of the autoencoder's shape (autoencoder.config), not yet trained

    "random": as `blank` makes it. "frozen": the autoencoder's encoder transferred, then frozen, and `frozen` set.
    "fine-tuned": transferred only. For the same seed all kinds begin with the same head. Any other kind: ValueError.
    """
    # solution: refuse a strange kind; blank; transfer unless random; freeze and say so if frozen
    if kind not in KINDS:
        raise ValueError(f"start: kind is {kind!r}; expected one of {', '.join(KINDS)}")
    classifier = blank(autoencoder.config, rng)
    if kind != "random":
        transfer(autoencoder, classifier)
    if kind == "frozen":
        freeze(classifier.encoder)
        classifier.frozen = True
    return classifier
    # end


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
    # solution: train(); Adam; each step: a batch, its mean cross-entropy, grad, rate, step; eval()
    images, labels = xp.asarray(data.images), xp.asarray(data.labels)
    params, factor = classifier.train().parameters(), cosine(recipe.steps)
    optimizer = Adam(params, lr=recipe.lr)
    for step in range(recipe.steps):
        i = xp.asarray(rng.permutation(len(labels))[: recipe.batch_size])
        loss = ops.mean(ops.cross_entropy(classifier(images[i]), labels=labels[i]))
        optimizer.lr = recipe.lr * factor(step)
        optimizer.step(grad(loss, params))
    classifier.eval()
    # end


def error_rate(classifier: Classifier, data: Labelled, block: int = 1000) -> float:
    """Labelled images -> per cent (0 to 100) of them whose largest logit is not that of the label

    Measured in eval(), without gradients, never more than `block` images at a time.
    """
    # solution: eval(); no_grad; argmax of the logits, block by block; 100 times the share that errs
    classifier.eval()
    images, labels = xp.asarray(data.images), np.asarray(data.labels)
    with no_grad():
        blocks = [images[at : at + block] for at in range(0, len(labels), block)]
        found = np.concatenate([classifier(x).numpy().argmax(axis=1) for x in blocks])  # (N,)
    return 100 * float(np.mean(found != labels))
    # end


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
    # solution: for each recipe make, fine_tune on train, error_rate on validation; the recipe with the smallest
    errors = []
    for recipe in recipes:
        classifier = make()
        fine_tune(classifier, train, recipe, rng)
        errors.append(error_rate(classifier, validation))
    return recipes[int(np.argmin(errors))]
    # end


# What may be claimed


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """One figure for each of n seeds -> their mean, and the standard error of that mean: s / sqrt(n)

    s^2 = sum (v - mean)^2 / (n - 1), the unbiased variance. One seed has no error that could be told: ValueError.
    """
    # solution: refuse fewer than two; the mean; the standard deviation with ddof=1, divided by sqrt(n)
    if len(values) < 2:
        raise ValueError(f"mean_and_error: {len(values)} seed is too few to tell an error; take two or more")
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))
    # end


def verdict(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, str]:
    """(n,), (n,) test errors of two methods, seed by seed -> gain a - b, its standard error, what may be said of b

    The two share their seeds (labels, order of batches), so the DIFFERENCES are averaged: what both suffer from in one
    seed cancels. "lower" if the gain is more than two standard errors above 0, "higher" if below, else "undecided".
    """
    # solution: mean_and_error of the differences; the word by comparing with two errors
    gain, error = mean_and_error(np.subtract(a, b))
    word = "lower" if gain > 2 * error else "higher" if gain < -2 * error else "undecided"
    return gain, error, word
    # end


if __name__ == "__main__":
    from solutions.finetune_table import main

    main(*map(int, sys.argv[1:2]))
