"""Sampling: one pixel after the other, and nothing computed twice. About 110 minutes.

An autoregressive model draws an image as its probability is written: x_1 from p(x_1), x_2 from p(x_2 | x_1), and so on
to x_D. Training sees all pixels at once; drawing cannot, for pixel j + 1 depends on what pixel j turned out to be. The
naive sampler runs the whole network D times and reads one pixel of each run. But masks let nothing flow backwards: a
feature, once its pixel is reached, never changes again. So each layer keeps what later pixels will need of it, and only
the new pixel is computed (Ramachandran et al. 2017, Fast Generation for Convolutional Autoregressive Models): the work
of one run for the whole image instead of D. Same logits, same samples. `minigen sample` draws with this file.
"""

# Complete the TODOs in any order, then type: minigen check e12

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigen import no_grad, ops, to_host, xp
from minigen.errors import SettingError
from solutions.e11_pixelcnn import GatedBlock, PixelCNN, as_maps

Array = Any  # of the active backend
Predictor = Callable[[Array, int, int], Array]  # (n, C, H, W), row, column -> (n, K, C) logits there


# Drawing a pixel, and an image


def draw(logits: Array, u: Array, temperature: float = 1.0) -> Array:
    """(n, K), (n,) in [0, 1) -> (n,) values k / (levels - 1), drawn from logits / temperature by the numbers u

    K = 1, binary: 1 where u < sigmoid(logit / temperature), else 0. K > 1: the first level k whose cumulative
    probability p_0 + ... + p_k exceeds u. Temperature 1 draws from the model, below 1 nearer to its likeliest value.
    """
    # TODO: binary: compare u with a sigmoid; else count the cumulative probabilities that u has passed
    raise NotImplementedError(
        "draw: binary: compare u with a sigmoid; else count the cumulative probabilities that u has passed"
    )


def ancestral(
    predict: Predictor, x: Array, rng: np.random.Generator, *, first_row: int = 0, temperature: float = 1.0
) -> Array:
    """predictor, (n, C, H, W) -> x itself, its rows from first_row on drawn in raster order, colour by colour

    Every pixel gets its uniform number from one draw, rng.random(x.shape), whatever the predictor: so two predictors
    with the same logits draw the same images from the same seed. Rows before first_row are given, and stay.
    """
    # TODO: one uniform number for each value; rows, columns, colours in turn: predict, draw
    raise NotImplementedError(
        "ancestral: one uniform number for each value; rows, columns, colours in turn: predict, draw"
    )


# The model as it is


class Naive:
    """Runs the whole model on the whole image for each pixel: D runs for an image of D pixels"""

    def __init__(self, model: PixelCNN, n: int):
        self.model = model

    def __call__(self, x: Array, i: int, j: int) -> Array:
        """(n, C, H, W), row, column -> (n, K, C): the logits there"""
        # TODO: the model's logits of x, at row i and column j; no graph
        raise NotImplementedError("Naive.__call__: the model's logits of x, at row i and column j; no graph")


class RowLimited:
    """Runs the model on the rows that can still matter: row i and the `model.reach` rows above it"""

    def __init__(self, model: PixelCNN, n: int):
        self.model = model

    def __call__(self, x: Array, i: int, j: int) -> Array:
        """(n, C, H, W), row, column -> (n, K, C): the logits there

        A convolutional network takes images of any height. Rows below i are not drawn yet; rows above i - reach have no
        influence on the logits in row i (though they have one on features near the upper edge, which nobody reads).
        """
        # TODO: cut the rows i - reach ... i out of x (fewer at the top); logits of its last row
        raise NotImplementedError(
            "RowLimited.__call__: cut the rows i - reach ... i out of x (fewer at the top); logits of its "
            "last row"
        )


# What a layer keeps


class Rows:
    """The newest rows of a map (n, C, H, W), as many as a kernel (kh, kw) sees upwards: kept[-1] is the present row

    kept: (kh // 2 + 1, n, W + 2 (kw // 2), C), channels last, with the zeros that pad the map at both sides.
    """

    def __init__(self, n: int, width: int, channels: int, kernel: tuple[int, int], dtype: Any):
        self.width, self.side = width, kernel[1] // 2
        self.kept = xp.zeros((kernel[0] // 2 + 1, n, width + 2 * self.side, channels), dtype)
        self.present = self.kept[-1, :, self.side : self.side + width]  # (n, W, C), where the new row goes

    def next(self) -> None:
        """The present row becomes the one above it, and so on; the oldest is forgotten"""
        for older, newer in zip(self.kept[:-1], self.kept[1:], strict=True):
            older[...] = newer

    def columns(self, taps: list[tuple[int, int]]) -> Array:
        """T places (row, column) of the kernel, its rows counted from the top -> (n, W, T C): what they see along a row

        For every column of the present row, the C channels at the first tap, those at the second, and so on.
        """
        # TODO: for each tap a slice of its row of `kept`, W columns from the tap on; side by side
        raise NotImplementedError(
            "Rows.columns: for each tap a slice of its row of `kept`, W columns from the tap on; side by "
            "side"
        )


def taps_of(visible: np.ndarray) -> list[tuple[int, int]]:
    """(kh, kw) booleans -> [(row, column), ...] of the places that are True, in reading order"""
    return [(int(a), int(e)) for a, e in np.argwhere(visible)]


class Kernel(NamedTuple):
    """A convolution as a sampler wants it: hidden weights 0; `taps`, the places that any pair of channels sees"""

    W: Array  # (n_out, n_in, kh, kw)
    b: Array  # (n_out,)
    taps: np.ndarray  # (kh, kw) booleans, on the host

    @classmethod
    def of(cls, layer: Any) -> Kernel:
        """Of a MaskedConv2d of lesson e11, or an nn.Conv2d"""
        W = layer.W.data
        taps = np.ones(W.shape[2:], bool) if layer.taps is None else layer.taps
        visible = getattr(layer, "visible", np.broadcast_to(taps, W.shape))
        return cls(W * xp.asarray(visible.astype(W.dtype)), layer.b.data, taps)

    def flat(self, taps: list[tuple[int, int]]) -> Array:
        """-> (T n_in, n_out): `columns` of these taps times this is the convolution"""
        return xp.concatenate([self.W[:, :, a, e].T for a, e in taps])


class CachedConv:
    """A MaskedConv2d, one pixel at a time. The rows above enter once for a whole row, the present row pixel by pixel

    above: (n, W, n_out), what the rows above and the bias contribute to every pixel of the present row.
    """

    def __init__(self, layer: Any, n: int, width: int):
        kernel = layer if isinstance(layer, Kernel) else Kernel.of(layer)
        (n_out, n_in), middle = kernel.W.shape[:2], kernel.taps.shape[0] // 2
        self.bias, self.rows = kernel.b, Rows(n, width, n_in, kernel.taps.shape, kernel.W.dtype)
        self.upper = [tap for tap in taps_of(kernel.taps) if tap[0] < middle]
        left = [
            tap for tap in taps_of(kernel.taps) if tap[0] == middle
        ]  # one stretch, from the kernel's edge
        self.upper_weight = kernel.flat(self.upper) if self.upper else None
        self.left_weight = kernel.flat(left)
        row, k = self.rows.kept[-1], len(left)
        self.left = [
            row[:, j : j + k].reshape(n, k * n_in) for j in range(width)
        ]  # views, one for each column
        self.above = xp.zeros((n, width, n_out), kernel.W.dtype)

    def start_row(self) -> None:
        """The row that was present is done: the next one begins, and `above` is what it gets from the rows above it"""
        # TODO: rows.next(); `above` from the columns of the upper taps in one product, plus the bias
        raise NotImplementedError(
            "CachedConv.start_row: rows.next(); `above` from the columns of the upper taps in one product, "
            "plus the bias"
        )

    def __call__(self, x: Array, j: int) -> Array:
        """(n, n_in), column -> (n, n_out): the layer's output at column j of the present row, where its input is x

        `left[j]` is (n, k n_in): what the k taps of the kernel's middle row see from column j, x itself the last of
        them if the mask is B; it is a view, and changes with the row.
        """
        # TODO: keep x as column j of the present row; left[j] times left_weight, plus `above` at j
        raise NotImplementedError(
            "CachedConv.__call__: keep x as column j of the present row; left[j] times left_weight, plus "
            "`above` at j"
        )


class Pointwise:
    """A 1x1 convolution at one pixel, or any product with a bias: nothing to keep"""

    def __init__(self, W: Array, b: Array, n: int):
        self.W, self.b = (
            W,
            xp.tile(b, (n, 1)),
        )  # (n_in, n_out), (n, n_out): an equal shape is added twice as fast

    @classmethod
    def of(cls, layer: Any, n: int) -> Pointwise:
        kernel = Kernel.of(layer)
        return cls(kernel.flat([(0, 0)]), kernel.b, n)

    def __call__(self, x: Array) -> Array:
        """(n, n_in) -> (n, n_out)"""
        y = x.dot(self.W)  # of two small matrices: a third faster than `@`
        y += self.b
        return y

    def along(self, rows: Array) -> Array:
        """(n, W, n_in) -> (n, W, n_out)"""
        return rows @ self.W + self.b[0]


class ReLU:
    """(n, features) -> the same shape: max(x, 0), into `out` if it is given. No graph"""

    def __init__(self, n: int, features: int, dtype: Any):
        self.zeros = xp.zeros(
            (n, features), dtype
        )  # of x's shape: compared twice as fast as with the number 0

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        return xp.maximum(x, self.zeros, out=out)


# Predictors that keep everything


class Cached:
    """A predictor for one batch of images, asked for its logits in raster order (a pixel's as often as it has colours)

    The first layer reads the image itself, of which a pixel is drawn only after its logits were computed: so the pixel
    before, and at the start of a row the whole row above, are taken from x anew.
    """

    def __init__(self, model: Any, n: int):
        self.width, self.colours, self.row = model.config.side, colours_of(model), -1
        self.head = [Pointwise.of(layer, n) for layer in model.head]
        self.dtype = model.head[0].W.dtype
        self.relus = [ReLU(n, layer.W.shape[1], self.dtype) for layer in model.head]

    def logits(self, h: Array) -> Array:
        """(n, 2 h) features of one pixel -> (n, K, C)"""
        for relu, layer in zip(self.relus, self.head, strict=True):
            h = layer(relu(h))
        return h.reshape(h.shape[0], -1, self.colours)  # (n, K C) -> (n, K, C)

    def feed(self, x: Array, rows: int) -> None:
        """(n, C, H, W): computes the features of the first rows, which are given"""
        for i in range(rows):
            for j in range(self.width):
                self(x, i, j)

    def __call__(self, x: Array, i: int, j: int) -> Array:
        """(n, C, H, W), row, column -> (n, K, C): the logits there"""
        raise NotImplementedError


class CachedPlain(Cached):
    """The stack of residual blocks, one pixel at a time"""

    def __init__(self, model: PixelCNN, n: int):
        super().__init__(model, n)
        self.first = CachedConv(model.body.first, n, self.width)
        self.masked = [CachedConv(block.masked, n, self.width) for block in model.body.blocks]
        self.narrow = [Pointwise.of(block.narrow, n) for block in model.body.blocks]
        self.wide = [Pointwise.of(block.wide, n) for block in model.body.blocks]
        h = model.config.h
        self.relu_2h, self.relu_h = ReLU(n, 2 * h, self.dtype), ReLU(n, h, self.dtype)

    def start_row(self, x: Array, i: int) -> None:
        """(n, C, H, W), row: row i begins in every layer"""
        if i:
            self.first.rows.present[...] = x[:, :, i - 1].swapaxes(1, 2)  # (n, C, W) -> (n, W, C)
        for layer in (self.first, *self.masked):
            layer.start_row()
        self.row = i

    def __call__(self, x: Array, i: int, j: int) -> Array:
        """(n, C, H, W), row, column -> (n, K, C): the logits there, from this pixel's features alone"""
        # TODO: perhaps a new row; the pixel drawn last, into `first`; this pixel through all layers
        raise NotImplementedError(
            "CachedPlain.__call__: perhaps a new row; the pixel drawn last, into `first`; this pixel through"
            " all layers"
        )


class CachedGated(Cached):
    """The gated stacks: the vertical one a row at a time, the horizontal one a pixel at a time"""

    def __init__(self, model: PixelCNN, n: int):
        super().__init__(model, n)
        self.blocks = [CachedGatedBlock(b, n, self.width) for b in (model.body.first, *model.body.blocks)]

    def start_row(self, x: Array, i: int) -> None:
        """(n, C, H, W), row: the vertical stack for the whole of row i, which tells the horizontal one what is above"""
        v = x[:, :, i - 1].swapaxes(1, 2) if i else None  # (n, W, C): the image, known up to the row above
        for block in self.blocks:
            v = block.start_row(v)
        self.row = i

    def __call__(self, x: Array, i: int, j: int) -> Array:
        """(n, C, H, W), row, column -> (n, K, C): the logits there, from this pixel's features alone"""
        if i != self.row:
            self.start_row(x, i)
        if j:
            self.blocks[0].horizontal.rows.present[:, j - 1] = x[:, :, i, j - 1]
        h = x[:, :, i, j]
        for block in self.blocks:
            h = block(h, j)
        return self.logits(h)


class CachedGatedBlock:
    """A GatedBlock: its vertical half for a whole row, its horizontal half for one pixel"""

    def __init__(self, block: GatedBlock, n: int, width: int):
        kernel = Kernel.of(block.vertical)
        self.rows = Rows(n, width, kernel.W.shape[1], kernel.taps.shape, kernel.W.dtype)
        self.taps = taps_of(kernel.taps)  # whole rows: above the present one, or also that one
        self.vertical = Pointwise(kernel.flat(self.taps), kernel.b, n)
        self.down, self.mix = Pointwise.of(block.down, n), Pointwise.of(block.mix, n)
        self.horizontal = CachedConv(block.horizontal, n, width)
        self.residual = block.residual

    def start_row(self, v: Array | None) -> Array:
        """(n, W, n_in) -> (n, W, p): the vertical stack along the present row; `horizontal.above` holds what it says

        v is the block's input in the present row. In the first block, whose kernel sees the rows above only, it is the
        image's row above (None: there is none), for the present one is not drawn.
        """
        # TODO: v into its row (first block: before the rows move up); product, its gate, `down` of it
        raise NotImplementedError(
            "CachedGatedBlock.start_row: v into its row (first block: before the rows move up); product, its"
            " gate, `down` of it"
        )

    def __call__(self, h: Array, j: int) -> Array:
        """(n, n_in), column -> (n, p): the horizontal stack at one pixel"""
        # TODO: mix the gate of the horizontal convolution; add h if the block is residual
        raise NotImplementedError(
            "CachedGatedBlock.__call__: mix the gate of the horizontal convolution; add h if the block is "
            "residual"
        )


def gate(x: Array) -> Array:
    """(..., 2 p) -> (..., p): tanh of the first half times sigmoid of the second, channels last"""
    p = x.shape[-1] // 2
    return xp.tanh(x[..., :p]) * ops.sigmoid(x[..., p:])


# PixelRNN: the state is carried


class CachedRowLSTM:
    """A Row LSTM of lesson e10, one pixel at a time: of the row above it needs the states h and c, and no more rows"""

    def __init__(self, layer: Any, n: int, width: int):
        k, (h, k_state) = layer.W_x.shape[3], layer.W_h.shape[1::2]
        taps = np.arange(k)[None, :] <= k // 2  # mask B along the row
        self.input = CachedConv(Kernel(layer.W_x.data, layer.b.data, taps), n, width)
        state = Kernel(layer.W_h.data, layer.b.data, np.ones((1, k_state), bool))
        self.taps = taps_of(state.taps)
        self.state_weight = state.flat(self.taps)  # (k' h, 4 h)
        self.h = Rows(
            n, width, h, (1, k_state), layer.W_h.dtype
        )  # of the row above, then overwritten by this row's
        self.c = xp.zeros((n, width, h), layer.W_h.dtype)
        self.h.present[...], self.c[...] = layer.h0.data, layer.c0.data

    def start_row(self) -> None:
        """A new row: `input.above` becomes the bias plus what the states of the row above contribute to every pixel"""
        # TODO: input.start_row() brings the bias; add the columns of h times state_weight
        raise NotImplementedError(
            "CachedRowLSTM.start_row: input.start_row() brings the bias; add the columns of h times "
            "state_weight"
        )

    def __call__(self, x: Array, j: int) -> Array:
        """(n, n_in), column -> (n, h): the new h at column j, kept with the new c for the row below

        `input` gives the gates of this pixel before they are bent; c[:, j] still is the cell of the pixel above.
        """
        # TODO: gates from `input`; cell with c of the pixel above; keep both
        raise NotImplementedError(
            "CachedRowLSTM.__call__: gates from `input`; cell with c of the pixel above; keep both"
        )


class CachedDiagonalLSTM:
    """A Diagonal BiLSTM of lesson e10, one pixel at a time

    From the left, a pixel needs the states of the pixel above and of the one to the left. The direction from the right
    comes shifted down by one row: in row i it is what row i - 1 gave, which is complete when row i begins.
    """

    def __init__(self, layer: Any, n: int, width: int):
        weights = layer.W_x.data, layer.W_h.data, layer.b.data, layer.h0.data, layer.c0.data
        self.left, self.right = (OneDirection(*(part[d] for part in weights), n, width) for d in (0, 1))
        self.x: list[Array] = []  # the layer's input along the row, for the direction from the right
        self.from_right = xp.zeros_like(self.left.states)  # (n, W, h)

    def start_row(self) -> None:
        """A new row: the direction from the right goes through the whole row before it"""
        # TODO: right: a new row, then all columns from the last to the first; left: a new row
        raise NotImplementedError(
            "CachedDiagonalLSTM.start_row: right: a new row, then all columns from the last to the first; "
            "left: a new row"
        )

    def __call__(self, x: Array, j: int) -> Array:
        """(n, n_in), column -> (n, h): the direction from the left here, plus the one from the right, one row above"""
        # TODO: keep x for the row's end; the step from the left, plus what came from the right
        raise NotImplementedError(
            "CachedDiagonalLSTM.__call__: keep x for the row's end; the step from the left, plus what came "
            "from the right"
        )


class OneDirection:
    """One direction of a Diagonal BiLSTM: row after row, each from its beginning

    states: (n, W, h), the h of the row above where this row has not come yet, and of this row where it has.
    """

    def __init__(self, W_x: Array, W_h: Array, b: Array, h0: Array, c0: Array, n: int, width: int):
        self.input = Pointwise(W_x[:, :, 0, 0].T, b, n)
        self.W_up, self.W_side = W_h[:, :, 0, 0].T, xp.asarray(W_h[:, :, 1, 0].T)  # (h, 4 h)
        self.begin = xp.tile(h0, (n, 1)), xp.tile(c0, (n, 1))
        self.states = xp.zeros((n, width, h0.shape[0]), h0.dtype)  # nothing above the first row

    def start_row(self) -> None:
        """Every pixel gets what the pixel above contributes; before its first pixel a row has the learned state"""
        self.above = self.states @ self.W_up  # (n, W, 4 h)
        self.h, self.c = self.begin

    def __call__(self, x: Array, j: int) -> Array:
        """(n, n_in), column -> (n, h): the state at column j, after the one that was asked for last"""
        # TODO: gates from x, from the pixel above and from the pixel at the side; the cell; keep h and c
        raise NotImplementedError(
            "OneDirection.__call__: gates from x, from the pixel above and from the pixel at the side; the "
            "cell; keep h and c"
        )


def cell(gates: Array, c: Array) -> tuple[Array, Array]:
    """(n, 4 h), (n, h) -> h', c': the gates o, f, i and the candidate g, in this order (PixelRNN, eq. 3)"""
    h = c.shape[1]
    open_ = ops.sigmoid(gates[:, : 3 * h])
    c = open_[:, h : 2 * h] * c + open_[:, 2 * h :] * xp.tanh(gates[:, 3 * h :])
    return open_[:, :h] * xp.tanh(c), c


class CachedRNN(Cached):
    """PixelRNN, one pixel at a time"""

    def __init__(self, model: Any, n: int):
        super().__init__(model, n)
        kinds = {"row": CachedRowLSTM, "diagonal": CachedDiagonalLSTM}
        self.first = CachedConv(model.first, n, self.width)
        self.layers = [kinds[model.config.kind](block.lstm, n, self.width) for block in model.blocks]
        self.up = [Pointwise.of(block.up, n) for block in model.blocks]

    def start_row(self, x: Array, i: int) -> None:
        """(n, 1, H, W), row: row i begins in every layer"""
        if i:
            self.first.rows.present[...] = x[:, :, i - 1].swapaxes(1, 2)  # (n, 1, W) -> (n, W, 1)
        for layer in (self.first, *self.layers):
            layer.start_row()
        self.row = i

    def __call__(self, x: Array, i: int, j: int) -> Array:
        """(n, 1, H, W), row, column -> (n, K, 1): the logits there. Ask for each pixel once"""
        if i != self.row:
            self.start_row(x, i)
        if j:
            self.first.rows.present[:, j - 1] = x[:, :, i, j - 1]
        y = self.first(x[:, :, i, j], j)
        for layer, up in zip(self.layers, self.up, strict=True):
            y = y + up(layer(y, j))
        return self.logits(y)


# What one asks for


def cached(model: Any, n: int) -> Predictor:
    """A PixelCNN or PixelRNN, n images -> the predictor that computes each feature once"""
    if not hasattr(model.config, "gated"):
        return CachedRNN(model, n)
    return (CachedGated if model.config.gated else CachedPlain)(model, n)


def colours_of(model: Any) -> int:
    """C: a PixelRNN has one colour"""
    return getattr(model.config, "colours", 1)


def sample(
    model: Any,
    n: int,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    predictor: Callable[[Any, int], Predictor] = cached,
) -> np.ndarray:
    """n -> (n, H, W), or (n, C, H, W) with several colours, on the host: images drawn from the model

    predictor: cached, Naive or RowLimited; the images are the same, the time is not.
    """
    if not temperature > 0:
        raise SettingError(f"temperature is {temperature}; expected above 0 (near 0: the likeliest values)")
    side, colours = model.config.side, colours_of(model)
    x = xp.zeros((n, colours, side, side), model.parameters()[0].dtype)
    ancestral(predictor(model, n), x, rng, temperature=temperature)
    return to_host(x[:, 0] if colours == 1 else x)


def complete(
    model: Any, images: Array, rows: int, rng: np.random.Generator, *, temperature: float = 1.0
) -> np.ndarray:
    """(n, H, W) or (n, C, H, W), number of rows that are given -> the same shape, on the host: the other rows drawn

    The images are left as they are, and their rows below the given ones are never looked at.
    """
    # TODO: zeros but for the given rows; the cached predictor fed with these; ancestral from there on
    raise NotImplementedError(
        "complete: zeros but for the given rows; the cached predictor fed with these; ancestral from there "
        "on"
    )


# untouched stub 49719b299154
