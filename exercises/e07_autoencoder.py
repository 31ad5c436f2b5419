"""Autoencoder: a picture squeezed through 32 numbers, and drawn again. About 100 minutes.

An encoder makes a short code z of an image x, a decoder makes an image of the code, and both are trained together so
that little is lost on the way:

    z = f(x),   x_hat = g(z),   loss = ||x - x_hat||^2      summed over the pixels, averaged over the images.

With linear f and g the best that can be done is PCA (Baldi and Hornik 1989, Neural networks and principal component
analysis). Deep and curved ones lose half as much at the same code size (Hinton and Salakhutdinov 2006, Reducing the
dimensionality of data with neural networks). This file is the model that `minigen train autoencoder` trains.
"""

# Complete the TODOs in any order, then type: minigen check e07

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, no_grad, ops, xp
from minigen.nn import ELU, Dense, Module, Sequential
from minigen.optim import Adam, Optimizer
from minigen.optim.schedules import Schedule, cosine


@dataclass(frozen=True)
class Config:
    """One autoencoder: pixels -> hidden sizes -> code -> the same sizes backwards -> pixels."""

    pixels: int = 784
    hidden: tuple[int, ...] = (512, 256)
    code: int = 32
    linear: bool = False  # no curves anywhere: this one learns what PCA computes
    lr: float = 3e-3
    epochs: int = 18
    batch_size: int = 50


PRESETS = {
    "small": Config(),
    "tiny": Config(hidden=(256,), lr=4e-3, epochs=4),
    "linear": Config(hidden=(), linear=True, lr=1e-3, epochs=60),
}


# The model


def flatten(x: Any) -> Any:
    """(N, ...) -> (N, D): each image one row; arrays and Tensors alike"""
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))


def dense_stack(sizes: Sequence[int], *, linear: bool, rng: np.random.Generator) -> Sequential:
    """(n_0, n_1, ..., n_L) -> a Sequential that maps (N, n_0) to (N, n_L)

    Dense layers n_0 -> n_1 -> ... -> n_L with an ELU between any two of them, and none after the last: a code may be
    any number, and the decoder's end decides for itself. `linear`: no ELU at all.
    """
    # TODO: Dense layers from size to size, an ELU between them (not after the last)
    raise NotImplementedError(
        "dense_stack: Dense layers from size to size, an ELU between them (not after the last)"
    )


class Autoencoder(Module):
    """(N, ...) images in [0, 1] -> (N, pixels) reconstructions, through codes of `config.code` numbers"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.config = config
        sizes = (config.pixels, *config.hidden, config.code)
        self.encoder = dense_stack(sizes, linear=config.linear, rng=rng)
        self.decoder = dense_stack(sizes[::-1], linear=config.linear, rng=rng)

    def encode(self, x: Any) -> Tensor:
        """(N, ...) images in [0, 1] -> (N, k) codes"""
        # TODO: one row for each image, through the encoder
        raise NotImplementedError("Autoencoder.encode: one row for each image, through the encoder")

    def decode(self, z: Any) -> Tensor:
        """(N, k) codes -> (N, pixels) images: in (0, 1) by a sigmoid; of a linear autoencoder, as they come"""
        # TODO: the codes through the decoder; a sigmoid at the end unless config.linear
        raise NotImplementedError(
            "Autoencoder.decode: the codes through the decoder; a sigmoid at the end unless config.linear"
        )

    def reconstruct(self, x: Any) -> Tensor:
        """(N, ...) -> (N, pixels): decode(encode(x))"""
        return self.decode(self.encode(x))

    def __call__(self, x: Any) -> Tensor:
        return self.reconstruct(x)

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[Module, Tensor]]:
        """(N, ...) images -> one pair (module to be stepped, its loss on this batch)

        The training loop asks for the gradient and makes the step; nothing is changed here. rng: unused, for models
        that need noise.
        """
        # TODO: yield this model once, with the reconstruction loss of the batch
        raise NotImplementedError(
            "Autoencoder.updates: yield this model once, with the reconstruction loss of the batch"
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """The name of a module ("" is the model itself) -> what steps it"""
        return {"": Adam(self.parameters(), lr=self.config.lr)}

    def schedule(self, steps: int) -> Schedule:
        """The learning rate falls to zero over the run, along half a cosine: worth about a tenth of the error"""
        return cosine(steps)

    def evaluate(self, images: Any, rng: np.random.Generator) -> dict[str, float]:
        """(N, ...) images -> squared error, summed over the pixels, averaged over the images"""
        with no_grad():
            return {"squared_error": float(reconstruction_loss(self.reconstruct(images), flatten(images)))}


def reconstruction_loss(x_hat: Any, x: Any) -> Any:
    """(N, D), (N, D) -> (): squared error, summed over the D pixels, averaged over the N images

    The sum makes it a property of an image, whatever its size: PCA with 30 components leaves 13.87 on MNIST.
    """
    # TODO: the squares of the differences, summed over pixels, averaged over images
    raise NotImplementedError(
        "reconstruction_loss: the squares of the differences, summed over pixels, averaged over images"
    )


# The yardstick: PCA


def pca_fit(images: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, ...), k -> mean (D,), components (k, D): orthonormal rows, the direction of most variance first

    The right singular vectors of the centred data X are those of X^T X, which is small: D x D, however many images.
    """
    # TODO: centre the rows; the first k right singular vectors of what is left
    raise NotImplementedError("pca_fit: centre the rows; the first k right singular vectors of what is left")


def pca_reconstruct(images: np.ndarray, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    """(N, ...), (D,), (k, D) -> (N, D): each image as the mean plus its shadow on the k components"""
    # TODO: subtract the mean, k coordinates for each image, back to pixels, add the mean
    raise NotImplementedError(
        "pca_reconstruct: subtract the mean, k coordinates for each image, back to pixels, add the mean"
    )


def principal_angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(k, D), (k, D) -> (k,) radians, largest first: all zero if the rows span the same subspace

    The cosines are the singular values of Qa^T Qb, Q being orthonormal bases (Bjoerck and Golub 1973).
    """
    q_a, q_b = (np.linalg.qr(rows.T.astype(np.float64))[0] for rows in (a, b))
    cosines = np.linalg.svd(q_a.T @ q_b, compute_uv=False)
    return np.arccos(np.clip(cosines[::-1], -1.0, 1.0))


# What codes are good for, and what they are not


def interpolate(model: Autoencoder, a: Any, b: Any, steps: int) -> np.ndarray:
    """(...), (...) one image each -> (steps, pixels): decoded from the straight line between their codes

    The first of them is the reconstruction of a, the last that of b, the others evenly spaced between (steps >= 2).
    """
    # TODO: encode both; evenly spaced points from code to code, both ends included; decode
    raise NotImplementedError(
        "interpolate: encode both; evenly spaced points from code to code, both ends included; decode"
    )


def bottleneck_sweep(
    sizes: Sequence[int], train: np.ndarray, test: np.ndarray, fit: Callable[[int], Any]
) -> list[tuple[int, float, float]]:
    """code sizes, images (N, ...) and (M, ...), k -> trained model: [(k, the model's error, PCA's error), ...]

    Both errors are squared errors per image of the test set, both at code size k, both learned from the training set.
    """
    # TODO: for each k a model from fit(k) and a PCA of the training set, both measured on the test set
    raise NotImplementedError(
        "bottleneck_sweep: for each k a model from fit(k) and a PCA of the training set, both measured on "
        "the test set"
    )


def nearest_distance(images: np.ndarray, training: np.ndarray) -> np.ndarray:
    """(N, ...), (M, ...) -> (N,): squared distance of each image to the nearest one of `training`

    ||a - b||^2 = ||a||^2 - 2 a.b + ||b||^2, a block of rows at a time, so that N x M x D numbers never exist at once.
    """
    a, b = flatten(images).astype(np.float64), flatten(training).astype(np.float64)
    b_norms = np.square(b).sum(axis=1)
    nearest = [(b_norms - 2 * rows @ b.T).min(axis=1) for rows in np.array_split(a, max(1, len(a) // 256))]
    return np.maximum(np.concatenate(nearest) + np.square(a).sum(axis=1), 0.0)


def noise_test(
    model: Autoencoder, train: np.ndarray, test: np.ndarray, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """images (N, ...), (M, ...) -> mean squared distance to the nearest training image of three kinds of image

    "data": the test images. "reconstructed": what the model makes of them. "noise": `n` images decoded from codes drawn
    from N(0, I). A model of the data would put its samples about as near as data lies. (To be near is necessary,
    not enough: a decoder that had learned one training image by heart would score 0.)
    """
    # TODO: decode n standard normal codes; the mean nearest_distance to train of the three kinds of image
    raise NotImplementedError(
        "noise_test: decode n standard normal codes; the mean nearest_distance to train of the three kinds "
        "of image"
    )


def fitted_noise(model: Autoencoder, train: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(N, ...) -> (n, pixels): decoded from the Gaussian that fits the training codes, instead of N(0, I)

    Better than N(0, I), whose scale the codes never promised to have; still no model of where the codes lie.
    """
    with no_grad():
        codes = model.encode(xp.asarray(train)).numpy().astype(np.float64)
        spread = np.cov(codes.T).reshape(model.config.code, model.config.code)
        z = rng.multivariate_normal(codes.mean(axis=0), spread, n, method="cholesky")
        return model.decode(Tensor(z.astype(np.float32))).numpy()


# What `minigen train autoencoder` prints and draws when it is done

MODEL = Autoencoder
CURVES = {"train_loss": "train", "test_squared_error": "test"}  # metric -> its name in curves.png
YLABEL = "squared error per image"
NO_SAMPLES = (
    "an autoencoder learns to code images, not where the codes lie, so there is nothing to draw codes from "
    "(noise.png shows what decoded noise looks like); decode codes that you have: "
    "from minigen.cli.train import trained; model, _ = trained(RUN); model.decode(model.encode(x))"
)


def finish(
    model: Autoencoder, data: Any, folder: Path, rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], list[Path]]:
    """A trained model, its Dataset -> (metric -> what to print beside the model's: PCA's error, PNGs in `folder`)"""
    from minigen import plot
    from minigen.data import scale

    train, test = scale(data.train.images), scale(data.test.images)
    chosen = test[[int(np.argmax(data.test.labels == digit)) for digit in range(10)]]
    k = model.config.code
    pca = pca_fit(train, k)
    beside = float(reconstruction_loss(pca_reconstruct(test, *pca), flatten(test)))
    walks = [interpolate(model, chosen[a], chosen[b], 10).reshape(-1, *test.shape[1:]) for a, b in PAIRS]
    z = Tensor(rng.standard_normal((10, k)).astype(np.float32))
    with no_grad():
        redrawn = model.reconstruct(xp.asarray(chosen)).numpy()
        decoded = model.decode(z).numpy()
    rows = {"autoencoder": redrawn, f"PCA-{k}": pca_reconstruct(chosen, *pca)}
    noise = {
        "test images": chosen,
        "N(0, I)": decoded,
        "fitted Gaussian": fitted_noise(model, train, 10, rng),
    }
    title = f"Test images through {k} numbers, and the squared error of each"
    return {"squared_error": {f"PCA-{k}": beside}}, [
        plot.reconstructions(chosen, rows, folder / "reconstructions.png", title=title),
        plot.interpolation(walks, folder / "interpolation.png", title="The straight line from code to code"),
        plot.strips(
            noise, folder / "noise.png", title="Decoded noise: an autoencoder is no generative model"
        ),
    ]


PAIRS = ((0, 6), (1, 7), (3, 8), (4, 9))  # digits that share strokes: the walks are worth looking at


def main(folder: Path = Path("runs/e07")) -> None:
    """Draws the bottleneck sweep of the lesson's text: six autoencoders, a few minutes"""
    from minigen import plot
    from minigen.data import load, scale
    from minigen.training import train

    data = load()

    def fit(k: int) -> Autoencoder:
        config = replace(PRESETS["small"], code=k, epochs=12)
        model = Autoencoder(config, rng=np.random.default_rng(k))
        train(model, data, epochs=config.epochs, batch_size=config.batch_size, seed=0)
        return model

    rows = bottleneck_sweep((2, 4, 8, 16, 32, 64), scale(data.train.images), scale(data.test.images), fit)
    for k, ours, pca in rows:
        print(f"k = {k:2}: autoencoder {ours:6.2f}, PCA {pca:6.2f} squared error per test image")
    print(plot.sweep(rows, folder / "sweep.png", title="Squared error per test image, by code size"))


if __name__ == "__main__":
    main()


# untouched stub d287b7dbc153
