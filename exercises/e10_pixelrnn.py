"""PixelRNN: recurrence in two dimensions, and an exact p(x) of whole images. About 130 minutes.

Read an image in raster order, row by row from the top left corner. Its probability is a product (van den Oord,
Kalchbrenner and Kavukcuoglu 2016, Pixel Recurrent Neural Networks, eq. 1):

    p(x) = p(x_1) p(x_2 | x_1) ... p(x_D | x_1, ..., x_{D-1}),     log p(x) = sum over pixels of log p(x_i | x_{<i}).

What came before a pixel is carried to it by LSTMs. A Row LSTM reads the map row by row, all pixels of a row at once,
and sees a triangle above the pixel. A Diagonal BiLSTM reads it diagonal by diagonal from both upper corners, and sees
all that came before. They do for maps what lesson e06 did for sequences; both are written out here, and the engine's
fast ones (minigen.nn) compute the same. This file is the model that `minigen train pixelrnn` trains.
"""

# Complete the TODOs in any order, then type: minigen check e10

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, grad, nn, no_grad, ops, to_host, xp
from minigen.errors import SettingError
from minigen.optim import Adam, Optimizer, RMSProp
from minigen.optim.schedules import Schedule, cosine


@dataclass(frozen=True)
class Config:
    """One PixelRNN: a convolution with mask A, `layers` recurrent blocks, two 1x1 convolutions."""

    kind: str = "row"  # or "diagonal"
    side: int = 28  # images are side x side
    levels: int = 2  # values that a pixel can take: 2 need one logit, more a softmax
    h: int = 16  # units of a recurrent layer; 2 h maps between the layers
    layers: int = 2
    first: int = 7  # kernel of the first convolution
    head: int = 32  # maps of the last hidden layer
    binarize: str = "threshold"  # at 1/2, or "dynamic": drawn anew each time
    optimizer: str = "adam"
    lr: float = 4e-3
    epochs: int = 12
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name, known in {"kind": tuple(LAYERS), **OPTIONS}.items():
            if getattr(self, name) not in known:
                raise SettingError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")


LAYERS = {"row": nn.RowLSTM, "diagonal": nn.DiagonalBiLSTM}
OPTIONS = {"binarize": ("threshold", "dynamic")}
PAPER: dict[str, Any] = {
    "layers": 7,
    "binarize": "dynamic",
    "optimizer": "rmsprop",
    "lr": 1e-3,
    "epochs": 100,
}
PRESETS = {
    "small": Config(),
    "tiny": Config(h=8, layers=1, head=16, epochs=3),
    "diagonal": Config(kind="diagonal", epochs=10),
    "paper": Config(kind="diagonal", batch_size=16, **PAPER),
    "paper-row": Config(batch_size=16, **PAPER),
}


# Masks


def mask(kernel: tuple[int, int], kind: str) -> np.ndarray:
    """(kh, kw), "A" or "B" -> (kh, kw) booleans: True where a kernel may look when pixels come in raster order

    All rows above the middle one; in the middle row all that is left of the middle; the middle itself only with "B".
    "A" is for the image, "B" for everything after it: features have not seen their own pixel. Sides are odd. (Section
    3.4.)
    """
    # TODO: rows above the middle; in the middle row what is left of it, with B the middle itself too
    raise NotImplementedError(
        "mask: rows above the middle; in the middle row what is left of it, with B the middle itself too"
    )


# The cell


def cell(a: Any, c: Any) -> tuple[Any, Any]:
    """(N, 4h, ...), (N, h, ...) -> the new h and the new c, (N, h, ...) each

    The channels of a are the gates in the paper's order o, f, i, g, a quarter each:

        o, f, i = sigmoid of a_o, a_f, a_i      g = tanh(a_g)      c' = f c + i g      h' = o tanh(c')      (eq. 3)
    """
    # TODO: cut a in four along axis 1; three sigmoids and a tanh; the new cell, the new state
    raise NotImplementedError(
        "cell: cut a in four along axis 1; three sigmoids and a tanh; the new cell, the new state"
    )


def initial(state: Any, n: int, height: int, width: int) -> Any:
    """(h,) -> (n, h, height, width): a learned state, the same in every image and at every place"""
    return ops.broadcast_to(state.reshape(1, -1, 1, 1), shape=(n, state.shape[0], height, width))


# Row LSTM: row by row


def row_step(a_x: Any, h: Any, c: Any, W_h: Any) -> tuple[Any, Any]:
    """(N, 4h, 1, W), (N, h, 1, W), (N, h, 1, W), (4h, h, 1, k) -> h and c of the next row, (N, h, 1, W) each

    a = a_x + W_h * h, then the cell; * is a convolution along the row with zeros around it. It needs no mask: all of
    the row above came before. (Section 3.1.)
    """
    # TODO: a_x plus the convolution of the row above, padded by k // 2 at both sides; then the cell
    raise NotImplementedError(
        "row_step: a_x plus the convolution of the row above, padded by k // 2 at both sides; then the cell"
    )


class RowLSTM(nn.RowLSTM):
    """(N, n_in, H, W) -> (N, h, H, W). Parameters: W_x (4h, n_in, 1, k), W_h (4h, h, 1, k'), b (4h,), h0, c0 (h,)"""

    def __call__(self, x: Any) -> Any:
        """(N, n_in, H, W) -> (N, h, H, W): h of every row, from the top to the bottom

        The input's part, a_x = W_x * x + b, does not depend on any state: one convolution with mask B for all rows
        at once. Above the first row every pixel has the learned state h0, c0.
        """
        # TODO: one masked convolution for the whole map; row_step from row to row; the rows put together
        raise NotImplementedError(
            "RowLSTM.__call__: one masked convolution for the whole map; row_step from row to row; the rows "
            "put together"
        )


# Diagonal BiLSTM: diagonal by diagonal


def skew(x: Any) -> Any:
    """(N, C, H, W) -> (N, C, H, H + W - 1): row i moved i places to the right, zeros elsewhere (Figure 3)

    Pixel (i, j) comes to stand in column i + j: a diagonal becomes a column, which a convolution can read at once. For
    arrays and for Tensors (ops.pad, ops.concatenate and ops.stack take both).
    """
    # TODO: each row with i zeros before it and H - 1 - i behind it, one below the other
    raise NotImplementedError(
        "skew: each row with i zeros before it and H - 1 - i behind it, one below the other"
    )


def unskew(x: Any) -> Any:
    """(N, C, H, H + W - 1) -> (N, C, H, W): row i moved i places to the left; unskew(skew(x)) is x"""
    # TODO: of row i the W columns from i on
    raise NotImplementedError("unskew: of row i the W columns from i on")


def diagonal_step(a_x: Any, h: Any, c: Any, W_h: Any) -> tuple[Any, Any]:
    """(N, 4h, H, 1), (N, h, H, 1), (N, h, H, 1), (4h, h, 2, 1) -> h and c of the next diagonal, (N, h, H, 1) each

    a = a_x + W_h * h, then the cell. * is a convolution along the column of the skewed map, its kernel of two taps: in
    row i it sees h of row i - 1 (the pixel above) and of row i (the pixel to the left). Above row 0 there are zeros.
    (Section 3.2.)
    """
    # TODO: a row of zeros on top of h, then the convolution, plus a_x; then the cell
    raise NotImplementedError(
        "diagonal_step: a row of zeros on top of h, then the convolution, plus a_x; then the cell"
    )


def one_direction(x: Any, h0: Any, c0: Any, W_x: Any, W_h: Any, b: Any) -> Any:
    """(N, n_in, H, W), (h,), (h,), (4h, n_in, 1, 1), (4h, h, 2, 1), (4h,) -> (N, h, H, W): from the upper left corner

    a_x = W_x * x + b is one 1x1 convolution of the whole map; skewed, its columns are the H + W - 1 steps. Row i begins
    in step i. Before that it holds the learned state h0, c0, or it would begin with what zeros and biases made of it.
    """
    # TODO: 1x1 convolution, skew; a step for each column, rows below the diagonal held; unskew
    raise NotImplementedError(
        "one_direction: 1x1 convolution, skew; a step for each column, rows below the diagonal held; unskew"
    )


def shift_down(y: Any) -> Any:
    """(N, C, H, W) -> (N, C, H, W): every row one place further down, zeros in the first; the last row is lost"""
    # TODO: a row of zeros on top, the last row cut off
    raise NotImplementedError("shift_down: a row of zeros on top, the last row cut off")


class DiagonalBiLSTM(nn.DiagonalBiLSTM):
    """(N, n_in, H, W) -> (N, h, H, W)

    Parameters: W_x (2, 4h, n_in, 1, 1), W_h (2, 4h, h, 2, 1), b (2, 4h), h0 and c0 (2, h). Of each the first is for the
    direction from the left, the second for the one from the right.
    """

    def __call__(self, x: Any) -> Any:
        """(N, n_in, H, W) -> (N, h, H, W): the direction from the left, plus the one from the right, shifted down

        From the right: the same on the mirrored map, mirrored back. It would know of pixels further right in its own
        row, which come later. Moved down by one row it knows of the rows above, and of nothing else.
        """
        # TODO: one_direction on x; on the mirrored x, mirrored back and shifted down; their sum
        raise NotImplementedError(
            "DiagonalBiLSTM.__call__: one_direction on x; on the mirrored x, mirrored back and shifted down;"
            " their sum"
        )


# The model


class RecurrentBlock(nn.Module):
    """(N, 2h, H, W) -> (N, 2h, H, W): a recurrent layer, back to 2h maps by a 1x1 convolution, and a way around it"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.lstm = LAYERS[config.kind](2 * config.h, config.h, rng=rng)
        self.up = nn.Conv2d(config.h, 2 * config.h, 1, rng=rng)
        self.up.W.data *= (2 * config.layers) ** -0.5  # else each block adds as much again to the sum

    def __call__(self, y: Any) -> Any:
        """(N, 2h, H, W) -> (N, 2h, H, W): y + up(lstm(y)) (section 3.3, figure 5)"""
        # TODO: through the recurrent layer and the 1x1 convolution, added to what came in
        raise NotImplementedError(
            "RecurrentBlock.__call__: through the recurrent layer and the 1x1 convolution, added to what "
            "came in"
        )


class PixelRNN(nn.Module):
    """(N, H, W) images with values k / (levels - 1) -> exact log-probabilities, and samples"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.config = config
        maps, outputs = 2 * config.h, 1 if config.levels == 2 else config.levels
        square = (config.first, config.first)
        self.first = nn.Conv2d(1, maps, square, padding=config.first // 2, taps=mask(square, "A"), rng=rng)
        self.blocks = [RecurrentBlock(config, rng=rng) for _ in range(config.layers)]
        self.head = [nn.Conv2d(maps, config.head, 1, rng=rng), nn.Conv2d(config.head, outputs, 1, rng=rng)]
        self.head[-1].W.data *= 0.1  # begin near p = 1/2 for every pixel

    def logits(self, x: Any) -> Any:
        """(N, H, W) or (N, 1, H, W) images -> (N, K, 1, H, W) logits: K = levels, or 1 for binary pixels

        The first convolution, which hides the pixel itself (mask A); the blocks; ReLU and 1x1 convolution twice.
        """
        # TODO: first, the blocks in turn, then relu before each layer of the head; an axis for the one colour
        raise NotImplementedError(
            "PixelRNN.logits: first, the blocks in turn, then relu before each layer of the head; an axis "
            "for the one colour"
        )

    def log_prob(self, x: Any) -> Any:
        """(N, H, W) or (N, 1, H, W) images -> (N,) nats: log p of each image, summed over its pixels

        Binary: minus the binary cross-entropy of one logit. More levels: log softmax(logits) at the level
        k = x (levels - 1).
        """
        # TODO: minus the cross-entropy of every pixel, summed for each image
        raise NotImplementedError(
            "PixelRNN.log_prob: minus the cross-entropy of every pixel, summed for each image"
        )

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[nn.Module, Any]]:
        """(N, H, W) prepared images -> one pair (this model, its loss): nats per image, averaged over the batch"""
        # TODO: yield this model with the mean of minus log_prob
        raise NotImplementedError("PixelRNN.updates: yield this model with the mean of minus log_prob")

    def draw(self, x: Any, first_row: int, rng: np.random.Generator) -> Any:
        """(N, 1, H, W) -> the same array, its rows from first_row on drawn from p, pixel by pixel in raster order

        Each pixel gets its uniform number u from one draw, rng.random(x.shape). Binary: 1 where u < sigmoid(logit),
        else 0. More levels: k / (levels - 1) for the first level k with p_0 + ... + p_k > u. The network runs once for
        every pixel; rows below the pixel cannot matter, so it is not shown them.
        """
        # TODO: for each pixel the logits of the rows so far, a draw by its u, written into x
        raise NotImplementedError(
            "PixelRNN.draw: for each pixel the logits of the rows so far, a draw by its u, written into x"
        )

    def sample(self, n: int, rng: np.random.Generator, *, temperature: float = 1.0) -> np.ndarray:
        """n -> (n, H, W) images on the host: what `draw` would draw, by lesson e12's sampler, which carries states"""
        from solutions.e12_sampling import sample

        return sample(self, n, rng, temperature=temperature)

    def prepare(self, images: Any, rng: np.random.Generator) -> Any:
        """(N, H, W) intensities in [0, 1] -> the same shape, every value one of k / (levels - 1)

        Binary, "threshold": 1 above 1/2, else 0. "dynamic": 1 with the intensity as its probability, drawn from rng at
        each call anew. More levels: the nearest one; binarize does not matter then.
        """
        if self.config.levels > 2:
            return xp.rint(images * (self.config.levels - 1)) / (self.config.levels - 1)
        if self.config.binarize == "threshold":
            return (images > 0.5).astype(images.dtype)
        return (xp.asarray(rng.random(images.shape, np.float32)) < images).astype(images.dtype)

    def evaluate(self, images: Any, rng: np.random.Generator) -> dict[str, float]:
        """(N, H, W) prepared images -> nll: nats per image, averaged; bits_per_dim: nll / (H W ln 2)"""
        with no_grad():
            parts = [raw(self.log_prob(images[i : i + 100])) for i in range(0, len(images), 100)]
        nll = -float(xp.concatenate(parts).mean(dtype="float64"))
        return {"nll": nll, "bits_per_dim": nll / (self.config.side**2 * math.log(2))}

    def optimizers(self) -> dict[str, Optimizer]:
        """The name of a module ("" is the model itself) -> what steps it"""
        kinds = {"adam": Adam, "rmsprop": RMSProp}
        return {"": kinds[self.config.optimizer](self.parameters(), lr=self.config.lr)}

    def schedule(self, steps: int) -> Schedule:
        """The learning rate falls to zero over the run, along half a cosine"""
        return cosine(steps)


def as_maps(x: Any) -> Any:
    """(N, H, W) or (N, 1, H, W) -> (N, 1, H, W)"""
    return x.reshape(x.shape[0], 1, *x.shape[1:]) if x.ndim == 3 else x


def raw(x: Any) -> Any:
    """A Tensor's array; an array as it is"""
    return x.data if isinstance(x, Tensor) else x


# Proofs


def dependencies(f: Any, images: Any, places: Any = None) -> np.ndarray:
    """f: (N, C, H, W) -> (N, ..., H, W), images -> (H, W, H, W) booleans: whether f at [i, j] depends on pixel [k, l]

    That is where the derivative of anything at place (i, j) with respect to pixel (k, l) is not zero for one of the
    images. What a mask hides has gradient 0 exactly, with any weights. places: only for these (i, j), not for all.
    """
    x = Tensor(images, requires_grad=True)
    y = f(x)
    sees = np.zeros((*images.shape[-2:], *images.shape[-2:]), bool)
    for i, j in places or np.ndindex(*images.shape[-2:]):
        slope = to_host(grad(ops.sum(y[..., i, j]), x, retain_graph=True))  # (N, C, H, W)
        sees[i, j] = (slope != 0).any(axis=(0, 1))
    return sees


def total_probability(model: PixelRNN) -> float:
    """-> the sum of p(x) over all levels^(side^2) images; for the smallest sides only. 1, if p is a distribution"""
    side, levels = model.config.side, model.config.levels
    numbers = np.arange(levels ** (side * side))[:, None]
    digits = numbers // levels ** np.arange(side * side) % levels  # (levels^D, D)
    images = digits.reshape(-1, 1, side, side) / (levels - 1.0)
    with no_grad():
        parts = np.array_split(images, max(1, len(images) // 4096))
        return sum(float(xp.exp(raw(model.log_prob(xp.asarray(part)))).sum()) for part in parts)


# What `minigen train pixelrnn` prints and draws when it is done

MODEL = PixelRNN
CURVES = {"train_loss": "train", "test_nll": "test"}  # metric -> its name in curves.png
YLABEL = "nats per image"


def finish(
    model: PixelRNN, data: Any, folder: Path, rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], list[Path]]:
    """A trained model, its Dataset -> (metric -> what to print beside the model's, PNGs in `folder`)"""
    from minigen import plot
    from minigen.data import scale
    from solutions.e12_sampling import complete

    train, test = (model.prepare(xp.asarray(scale(part.images)), rng) for part in (data.train, data.test))
    beside = {"nll": {"independent pixels": independent(train, test)}} if model.config.levels == 2 else {}
    digits = [int(np.argmax(data.test.labels == digit)) for digit in range(10)]
    chosen, seen = to_host(test)[digits], model.config.side // 2
    hidden = chosen.copy()
    hidden[:, seen:] = 0.25  # grey: not given to the model
    rows = {"original": chosen, "given": hidden}
    rows |= {f"completed, {k + 1}": complete(model, chosen, seen, rng) for k in range(3)}
    title = "The upper half given, the lower half drawn from the model, three times"
    return beside, [plot.strips(rows, folder / "completions.png", title=title)]


def independent(train: Any, test: Any) -> float:
    """binary (N, H, W), (M, H, W) -> nats per test image if each pixel is ink as often as in training, by itself"""
    p = (train.sum(axis=0, dtype="float64") + 1) / (len(train) + 2)
    return float(-(test * xp.log(p) + (1 - test) * xp.log1p(-p)).sum(axis=(1, 2)).mean())


# The lesson's picture


def draw_contexts(folder: Path, side: int = 13) -> Path:
    """What one, two and three layers see of the image from the pixel in the middle -> a PNG"""
    from minigen import plot

    rng, middle = np.random.default_rng(0), side // 2
    images = rng.standard_normal((4, 2, side, side))
    before = np.arange(side * side).reshape(side, side) < middle * side + middle

    def from_the_left(layer: DiagonalBiLSTM) -> Any:
        left = [p[0] for p in (layer.h0, layer.c0, layer.W_x, layer.W_h, layer.b)]
        return lambda x: one_direction(x, *left)

    rows = {}
    for label, make, use in (
        ("Row LSTM", RowLSTM, lambda layer: layer),
        ("from the left", DiagonalBiLSTM, from_the_left),
        ("Diagonal BiLSTM", DiagonalBiLSTM, lambda layer: layer),
    ):
        shades, layers = [], nn.Sequential()
        for _ in range(3):
            layers = nn.Sequential(layers, use(make(2, 2, rng=rng)))
            seen = dependencies(layers, images, [(middle, middle)])[middle, middle]
            shade = 0.15 * before + 0.5 * seen
            shade[middle, middle] = 1.0
            shades.append(shade)
        rows[label] = np.stack(shades)
    heads = ("1 layer", "2 layers", "3 layers")
    return plot.strips(rows, folder / "e10_contexts.png", heads=heads, title="What the black pixel sees")


if __name__ == "__main__":
    print(draw_contexts(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/e10")))


# untouched stub bc54d6033557
