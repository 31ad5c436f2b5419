"""PixelCNN: every pixel from the pixels before it, all in parallel. About 130 minutes.

Read an image in raster order, row by row, and its probability is a product (van den Oord, Kalchbrenner, Kavukcuoglu
2016, Pixel Recurrent Neural Networks, eq. 1):

    p(x) = p(x_1) p(x_2 | x_1) ... p(x_D | x_1, ..., x_{D-1}),     -log p(x) = sum of the pixels' cross-entropies.

One convolutional network gives all D conditionals at once, if no output ever sees its own pixel or a later one. Masks
on the kernels see to that. The plain stack of masked convolutions has a blind spot; two stacks with gates have none
(van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders). `minigen train pixelcnn` trains this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, grad, no_grad, ops, to_host, xp
from minigen.errors import SettingError
from minigen.nn import Module, init
from minigen.optim import Adam, Optimizer, RMSProp
from minigen.optim.schedules import Schedule, cosine

# Where a learner's version of a hole goes when training with --mine: this very module is the live one.
PLUGS = {
    "mask": "solutions.e11_pixelcnn:mask",
    "vertical_mask": "solutions.e11_pixelcnn:vertical_mask",
    "colour_mask": "solutions.e11_pixelcnn:colour_mask",
    "MaskedConv2d.__call__": "solutions.e11_pixelcnn:MaskedConv2d.__call__",
    "ResidualBlock.__call__": "solutions.e11_pixelcnn:ResidualBlock.__call__",
    "gate": "solutions.e11_pixelcnn:gate",
    "GatedBlock.__call__": "solutions.e11_pixelcnn:GatedBlock.__call__",
    "PixelCNN.logits": "solutions.e11_pixelcnn:PixelCNN.logits",
    "PixelCNN.log_prob": "solutions.e11_pixelcnn:PixelCNN.log_prob",
    "PixelCNN.prepare": "solutions.e11_pixelcnn:PixelCNN.prepare",
    "PixelCNN.updates": "solutions.e11_pixelcnn:PixelCNN.updates",
    "bits_per_dim": "solutions.e11_pixelcnn:bits_per_dim",
    "context": "solutions.e11_pixelcnn:context",
}


@dataclass(frozen=True)
class Config:
    """One PixelCNN: a first convolution with mask A, `blocks` blocks with mask B, two 1x1 convolutions."""

    side: int = 28  # images are side x side
    colours: int = 1  # 1, or 3 in the order R, G, B: a colour of a pixel sees the colours before it
    levels: int = 2  # values that a colour can take: 2 need one logit, more a softmax
    h: int = 12  # features: 2 h between the blocks, h inside them
    blocks: int = 8
    first: int = 7  # kernel of the first convolution
    kernel: int = 7  # kernel in the blocks: with eight of them a pixel's reach is 27 rows, the whole image
    head: int = 64  # features of the last hidden layer
    gated: bool = False  # two stacks with gates instead of residual blocks
    binarize: str = "threshold"  # at 1/2, or "dynamic": drawn anew each time
    optimizer: str = "adam"
    lr: float = 4e-3
    epochs: int = 6
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.binarize not in OPTIONS["binarize"]:
            raise SettingError(
                f"binarize is {self.binarize!r}; expected one of {', '.join(OPTIONS['binarize'])}"
            )
        if self.gated and 2 * self.h % self.colours:
            raise SettingError(
                f"gated: 2 h = {2 * self.h} features do not divide into {self.colours} colours, and a gate would open "
                f"on a later colour; choose h so that 2 h is a multiple of {self.colours}"
            )


OPTIONS = {"binarize": ("threshold", "dynamic")}
PRESETS = {
    "small": Config(),
    "tiny": Config(h=8, blocks=3, kernel=3, head=16, epochs=3),
    "gated": Config(gated=True, h=8, blocks=5, kernel=5, epochs=10),
    "paper": Config(
        h=128,
        blocks=15,
        kernel=3,
        head=256,
        binarize="dynamic",
        optimizer="rmsprop",
        lr=1e-4,
        epochs=100,
        batch_size=16,
    ),
}


# Masks: what a kernel may see


def mask(kernel: tuple[int, int], kind: str) -> np.ndarray:
    """(kh, kw), "A" or "B" -> (kh, kw) booleans: True where a kernel may look when pixels come in raster order

    All rows above the middle one; in the middle row all that is left of the middle; the middle itself only with "B".
    "A" is for the image, "B" for features, which have not seen their own pixel. Sides are odd. (Section 3.4.)
    """
    # solution: rows above the middle; in the middle row what is left of it, with B the middle itself too
    middle_row, middle = kernel[0] // 2, kernel[1] // 2
    rows, columns = np.indices(kernel)
    left = columns <= middle if kind == "B" else columns < middle
    return (rows < middle_row) | ((rows == middle_row) & left)
    # end


def vertical_mask(kernel: tuple[int, int], kind: str) -> np.ndarray:
    """(kh, kw), "A" or "B" -> (kh, kw) booleans: whole rows, for the vertical stack, which knows the rows above only

    "A" is for the image: the rows above the middle one. "B" is for features of the vertical stack, which have seen no
    more than the rows above them: the middle row too. (Conditional Image Generation, figure 1.)
    """
    # solution: whole rows: above the middle with A, up to the middle with B
    above = np.arange(kernel[0]) < kernel[0] // 2 + (kind == "B")
    return np.repeat(above[:, None], kernel[1], axis=1)  # (kh,) -> (kh, kw)
    # end


def colour_mask(kernel: tuple[int, int], kind: str, n_in: int, n_out: int, colours: int) -> np.ndarray:
    """(kh, kw), "A" or "B" -> (n_out, n_in, kh, kw) booleans: `mask`, but the middle depends on the colours

    Channel c belongs to colour c % colours. At the middle, an output of colour k sees inputs of the colours before k,
    with "B" also those of k itself: R sees no colour of its own pixel, G sees R, B sees R and G. (Figure 2.)
    """
    # solution: mask "A" for every pair of channels, and the middle by comparing their colours
    source, target = np.arange(n_in) % colours, np.arange(n_out) % colours
    visible = np.tile(mask(kernel, "A"), (n_out, n_in, 1, 1))  # (n_out, n_in, kh, kw)
    middle = source < target[:, None] if kind == "A" else source <= target[:, None]  # (n_out, n_in)
    visible[:, :, kernel[0] // 2, kernel[1] // 2] = middle
    return visible
    # end


class MaskedConv2d(Module):
    """(N, n_in, H, W) -> (N, n_out, H, W): cross-correlation with the weights that `visible` shows, zeros around

    visible: (kh, kw) or (n_out, n_in, kh, kw) booleans, odd sides. W: (n_out, n_in, kh, kw), b: (n_out,).
    """

    def __init__(self, n_in: int, n_out: int, visible: np.ndarray, *, rng: np.random.Generator):
        shape = (n_out, n_in, *visible.shape[-2:])
        self.visible = np.broadcast_to(visible, shape)
        self.taps = self.visible.any(axis=(0, 1))  # (kh, kw): places that any pair of channels sees
        self.even = bool(self.visible[:, :, self.taps].all())  # the same places for all pairs
        drawn = init.he_normal(shape, rng=rng) * np.sqrt(self.visible[0, 0].size / max(self.taps.sum(), 1))
        self.W = Tensor((drawn * self.visible).astype(np.float32), requires_grad=True)
        self.b = Tensor(init.zeros((n_out,)), requires_grad=True)

    def __call__(self, x: Any) -> Any:
        """(N, n_in, H, W) -> (N, n_out, H, W)

        A weight that is hidden has no influence and no gradient, whatever its value: the mask is part of the function,
        not of the initial values. ops.conv2d(..., taps=) computes only the places (kh, kw) that `taps` marks.
        """
        # solution: conv2d with the visible taps, padded to keep the size; where channels differ, W times the mask
        kh, kw = self.taps.shape
        W = self.W if self.even else self.W * xp.asarray(self.visible.astype(self.W.dtype))
        return ops.conv2d(x, W, self.b, padding=(kh // 2, kw // 2), taps=self.taps)
        # end


# The plain stack


class ResidualBlock(Module):
    """(N, 2 h, H, W) -> (N, 2 h, H, W): 1x1 to h features, masked kernel, 1x1 back, added to the input (figure 5)"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        h, colours = config.h, config.colours
        self.narrow = one_by_one(2 * h, h, colours, rng=rng)
        shape = (config.kernel, config.kernel)
        self.masked = MaskedConv2d(h, h, colour_mask(shape, "B", h, h, colours), rng=rng)
        self.wide = one_by_one(h, 2 * h, colours, rng=rng)
        self.wide.W.data *= (2 * config.blocks) ** -0.5  # else each block adds as much again to the sum

    def __call__(self, h: Any) -> Any:
        """(N, 2 h, H, W) -> (N, 2 h, H, W): h + wide(relu(masked(relu(narrow(relu(h))))))"""
        # solution: ReLU before each of the three convolutions; the input is added to what comes out
        inner = self.masked(ops.relu(self.narrow(ops.relu(h))))
        return h + self.wide(ops.relu(inner))
        # end


class ResidualStack(Module):
    """(N, C, H, W) images -> (N, 2 h, H, W) features that have not seen their own pixel"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        shape = (config.first, config.first)
        visible = colour_mask(shape, "A", config.colours, 2 * config.h, config.colours)
        self.first = MaskedConv2d(config.colours, 2 * config.h, visible, rng=rng)
        self.blocks = [ResidualBlock(config, rng=rng) for _ in range(config.blocks)]

    def __call__(self, x: Any) -> Any:
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        return h


# The gated stacks


def gate(x: Any) -> Any:
    """(N, 2 p, H, W) -> (N, p, H, W): tanh of the first p channels times sigmoid of the last p

    y = tanh(W_f * x) sigmoid(W_g * x), the multiplication that LSTMs have and ReLUs lack. (Conditional Image
    Generation, eq. 2.)
    """
    # solution: tanh of the first half of the channels, times the sigmoid of the second half
    p = x.shape[1] // 2
    return ops.tanh(x[:, :p]) * ops.sigmoid(x[:, p:])
    # end


class GatedBlock(Module):
    """(v, h) -> (v, h), maps (N, p, H, W) with p = 2 h: v has seen the rows above, h also its own row up to its pixel

    The first block takes the image as v and as h (mask A, nothing to add to). (Conditional Image Generation, figure 2.)
    """

    def __init__(self, config: Config, kind: str, *, rng: np.random.Generator):
        k = config.first if kind == "A" else config.kernel
        p = 2 * config.h
        n_in = config.colours if kind == "A" else p
        self.residual = kind == "B"
        self.vertical = MaskedConv2d(n_in, 2 * p, vertical_mask((k, k), kind), rng=rng)
        self.down = MaskedConv2d(2 * p, 2 * p, np.ones((1, 1), bool), rng=rng)
        row = colour_mask((1, k), kind, n_in, 2 * p, config.colours)
        self.horizontal = MaskedConv2d(n_in, 2 * p, row, rng=rng)
        self.mix = one_by_one(p, p, config.colours, rng=rng)

    def __call__(self, v: Any, h: Any) -> tuple[Any, Any]:
        """(N, n_in, H, W), (N, n_in, H, W) -> (N, p, H, W), (N, p, H, W)

        v' = gate(vertical(v)); h' = mix(gate(horizontal(h) + down(vertical(v)))), plus h if `residual`. The vertical
        stack tells the horizontal one what it saw, before its gate; nothing flows back, for h has seen its own row.
        """
        # solution: the vertical convolution once, for its own gate and, through `down`, for the horizontal stack
        above = self.vertical(v)  # (N, 2 p, H, W)
        out = self.mix(gate(self.horizontal(h) + self.down(above)))
        return gate(above), h + out if self.residual else out
        # end


class GatedStack(Module):
    """(N, C, H, W) images -> (N, 2 h, H, W) features that have seen all pixels before their own, and nothing else"""

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.first = GatedBlock(config, "A", rng=rng)
        self.blocks = [GatedBlock(config, "B", rng=rng) for _ in range(config.blocks)]

    def __call__(self, x: Any) -> Any:
        v, h = self.first(x, x)
        for block in self.blocks:
            v, h = block(v, h)
        return h


def one_by_one(n_in: int, n_out: int, colours: int, *, rng: np.random.Generator) -> MaskedConv2d:
    """A 1x1 convolution with mask B: of one colour it sees everything, of several none that comes later"""
    return MaskedConv2d(n_in, n_out, colour_mask((1, 1), "B", n_in, n_out, colours), rng=rng)


# The model


class PixelCNN(Module):
    """(N, H, W) or (N, C, H, W) images with values k / (levels - 1) -> exact log-probabilities, and samples"""

    evaluation_block = 125  # held-out images at a time: their maps stay small

    def __init__(self, config: Config, *, rng: np.random.Generator):
        self.config = config
        self.body = (GatedStack if config.gated else ResidualStack)(config, rng=rng)
        outputs = config.colours * (1 if config.levels == 2 else config.levels)
        self.head = [
            one_by_one(2 * config.h, config.head, config.colours, rng=rng),
            one_by_one(config.head, outputs, config.colours, rng=rng),
        ]
        self.head[-1].W.data *= 0.1  # begin near p = 1/2 for every pixel

    @property
    def reach(self) -> int:
        """How many rows above its own a pixel's logits can depend on"""
        return self.config.first // 2 + self.config.blocks * (self.config.kernel // 2)

    def logits(self, x: Any) -> Any:
        """(N, H, W) or (N, C, H, W) images -> (N, K, C, H, W) logits: K = levels, or 1 for binary pixels

        body, then ReLU and convolution for each of the two layers of the head. Its channel k C + c is level k of
        colour c.
        """
        # solution: body, head with a ReLU before each layer; channels split into levels and colours
        h = self.body(as_maps(x))
        for layer in self.head:
            h = layer(ops.relu(h))
        n, channels, height, width = h.shape
        colours = self.config.colours
        return h.reshape(n, channels // colours, colours, height, width)  # (N, K C, H, W) -> (N, K, C, H, W)
        # end

    def log_prob(self, x: Any) -> Any:
        """(N, H, W) or (N, C, H, W) images -> (N,) nats: log p of each image, summed over its pixels and colours

        Binary: log p = -binary cross-entropy of one logit. More levels: log softmax(logits) at the level
        k = x (levels - 1).
        """
        # solution: minus the cross-entropy of every pixel and colour, summed for each image
        x = as_maps(x)
        logits = self.logits(x)  # (N, K, C, H, W)
        if self.config.levels == 2:
            nats = ops.bce_with_logits(logits.reshape(*x.shape), x)
        else:
            k = xp.rint(raw(x) * (self.config.levels - 1)).astype("int64")
            rows = ops.moveaxis(logits, source=1, destination=-1).reshape(-1, self.config.levels)
            nats = ops.cross_entropy(rows, labels=k.reshape(-1))  # (N C H W, K) -> (N C H W,)
        return -ops.sum(nats.reshape(x.shape[0], -1), axis=1)  # (N, C H W) -> (N,)
        # end

    def prepare(self, images: Any, rng: np.random.Generator) -> Any:
        """(N, ...) intensities in [0, 1] -> the same shape, every value one of k / (levels - 1)

        Binary, "threshold": 1 above 1/2, else 0. "dynamic": 1 with the intensity as its probability, drawn from rng at
        each call anew. More levels: the nearest one; binarize does not matter then.
        """
        # solution: the nearest level; binary: above 1/2, or above a uniform number drawn for each pixel
        if self.config.levels > 2:
            steps = self.config.levels - 1
            return xp.rint(images * steps) / steps
        if self.config.binarize == "threshold":
            return (images > 0.5).astype(images.dtype)
        drawn = xp.asarray(rng.random(images.shape, dtype=np.float32))
        return (drawn < images).astype(images.dtype)
        # end

    def updates(self, batch: Any, rng: np.random.Generator) -> Iterator[tuple[Module, Tensor]]:
        """(N, ...) prepared images -> one pair (this model, its loss): nats per image, averaged over the batch

        The training loop calls `prepare` first, at every step anew. rng: unused, for models that need noise.
        """
        # solution: yield this model with the mean of minus log_prob
        yield self, -ops.mean(self.log_prob(batch))
        # end

    def optimizers(self) -> dict[str, Optimizer]:
        """The name of a module ("" is the model itself) -> what steps it"""
        kinds = {"adam": Adam, "rmsprop": RMSProp}
        return {"": kinds[self.config.optimizer](self.parameters(), lr=self.config.lr)}

    def schedule(self, steps: int) -> Schedule:
        """The learning rate falls to zero over the run, along half a cosine"""
        return cosine(steps)

    def evaluate(self, images: Any, rng: np.random.Generator) -> dict[str, float]:
        """(N, ...) prepared images -> nll: nats per image, averaged; bits_per_dim: bits for each pixel and colour"""
        with no_grad():
            nll = -float(ops.mean(self.log_prob(images)).item())
        return {"nll": nll, "bits_per_dim": bits_per_dim(nll, int(np.prod(images.shape[1:])))}

    def sample(self, n: int, rng: np.random.Generator, *, temperature: float = 1.0) -> np.ndarray:
        """n -> (n, H, W) or (n, C, H, W) images on the host, drawn pixel by pixel: the cached sampler of lesson e12"""
        from solutions.e12_sampling import sample

        return sample(self, n, rng, temperature=temperature)

    def sample_soon(self, n: int, rng: np.random.Generator, *, temperature: float = 1.0) -> np.ndarray:
        """The same images, several rows at once where there are no gates: `solutions/waves.py`"""
        from solutions.waves import in_waves

        return in_waves(self, n, rng, temperature=temperature)


def as_maps(x: Any) -> Any:
    """(N, H, W) or (N, C, H, W) -> (N, C, H, W)"""
    return x.reshape(x.shape[0], 1, *x.shape[1:]) if x.ndim == 3 else x


def raw(x: Any) -> Any:
    """A Tensor's array; an array as it is"""
    return x.data if isinstance(x, Tensor) else x


def bits_per_dim(nats: float, dimensions: int) -> float:
    """nats of an image, number of pixels times colours -> bits for each of them: nats / (dimensions ln 2)"""
    # solution: divide by the number of dimensions and by ln 2
    return nats / (dimensions * float(np.log(2.0)))
    # end


def double(model: Module) -> Module:
    """The same model, its parameters float64: for proofs to more digits than float32 has"""
    for part in model.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                setattr(part, name, Tensor(raw(value).astype("float64"), requires_grad=value.requires_grad))
    return model


# Two proofs


def context(model: PixelCNN, row: int, column: int, images: Any, colour: int = 0) -> np.ndarray:
    """images (N, H, W) or (N, C, H, W) -> booleans (H, W) or (C, H, W): what the logits at one place depend on

    True where the gradient of the logits of (colour, row, column) is not zero for at least one of the images. A pixel
    that a mask hides has gradient 0 exactly, with any weights.
    """
    # solution: the gradient of the logits at this place with respect to the images, and where it is not zero
    x = Tensor(images, requires_grad=True)
    logits = model.logits(x)  # (N, K, C, H, W)
    slope = grad(ops.sum(logits[:, :, colour, row, column]), x)  # (N, ...)
    return (to_host(slope) != 0).any(axis=0)
    # end


def all_images(config: Config) -> np.ndarray:
    """-> (levels^D, C, side, side) float64, D = C side^2: every image there is; for the smallest sides only"""
    dims = config.colours * config.side**2
    numbers = np.arange(config.levels**dims)[:, None]
    digits = numbers // config.levels ** np.arange(dims) % config.levels  # (levels^D, D)
    return digits.reshape(-1, config.colours, config.side, config.side) / (config.levels - 1.0)


def total_probability(model: PixelCNN, batch: int = 4096) -> float:
    """-> the sum of p(x) over all_images(model.config), `batch` at a time: 1, to 1e-9 if the weights are float64"""
    images, total = all_images(model.config), 0.0
    with no_grad():
        for start in range(0, len(images), batch):
            log_p = model.log_prob(xp.asarray(images[start : start + batch]))
            total += float(xp.exp(raw(log_p)).sum())
    return total


# What `minigen train pixelcnn` prints and draws when it is done

MODEL = PixelCNN
CURVES = {"train_loss": "train", "test_nll": "test"}  # metric -> its name in curves.png
YLABEL = "nats per image"


def independent_pixels(train: np.ndarray, test: np.ndarray) -> float:
    """binary (N, ...), (M, ...) -> nats per test image if each pixel is 1 with its own probability, whatever the others

    Probabilities from the training images, each counted as if one more black and one more white one had been seen.
    """
    p = (train.sum(axis=0, dtype=np.float64) + 1) / (len(train) + 2)
    return float(-(test * np.log(p) + (1 - test) * np.log1p(-p)).reshape(len(test), -1).sum(axis=1).mean())


def finish(
    model: PixelCNN, data: Any, folder: Path, rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], list[Path]]:
    """A trained model, its Dataset -> (metric -> what to print beside the model's, PNGs in `folder`)"""
    from minigen import plot
    from minigen.data import scale
    from solutions.e12_sampling import complete

    train, test = (
        to_host(model.prepare(xp.asarray(scale(part.images)), rng)) for part in (data.train, data.test)
    )
    binary = model.config.levels == 2
    beside = {"nll": {"independent pixels": independent_pixels(train, test)}} if binary else {}
    chosen = test[[int(np.argmax(data.test.labels == digit)) for digit in range(10)]]
    seen = test.shape[-2] // 2
    hidden = chosen.copy()
    hidden[..., seen:, :] = 0.25  # grey: not given to the model
    rows = {"original": chosen, "given": hidden}
    for i in range(1, 5):
        rows[f"completed, {i}"] = complete(model, chosen, seen, rng)
    title = "The upper half given, the lower half drawn from the model, four times"
    return beside, [plot.strips(rows, folder / "completions.png", title=title)]


# The lesson's pictures


def draw_contexts(folder: Path, side: int = 11) -> Path:
    """What the logits in the middle of an image see of it, by number of blocks: plain stack, gated stacks -> a PNG"""
    from minigen import plot

    rng = np.random.default_rng(0)
    images, middle = rng.random((8, side, side)).astype(np.float32), side // 2
    before = np.arange(side * side).reshape(side, side) < middle * side + middle
    rows = {}
    for label, gated in (("plain", False), ("gated", True)):
        seen = []
        for blocks in range(1, 6):
            config = Config(side=side, h=4, blocks=blocks, first=3, kernel=3, head=8, gated=gated)
            visible = context(PixelCNN(config, rng=rng), middle, middle, images)
            shade = 0.15 * before + 0.45 * visible  # before it in the order; and seen
            shade[middle, middle] = 1.0
            seen.append(shade)
        rows[label] = np.stack(seen)
    heads = [f"{blocks} block{'s' * (blocks > 1)}" for blocks in range(1, 6)]
    return plot.strips(
        rows, folder / "e11_blind_spot.png", heads=heads, title="What the black pixel's logit sees"
    )


if __name__ == "__main__":
    print(draw_contexts(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/e11")))
