"""Waves: several rows of an image drawn at once. One answer to a question that lesson e12 asks.

Could two pixels be drawn at the same time? In the plain stack, yes. Of the row above, a layer sees no further to the
right than half its kernel; what lies beyond is not asked for. So row i may begin as soon as row i - 1 is `lag` columns
ahead of it, row i + 1 when row i is, and a wave of pixels runs over the image:

    0  1  2  3  4      an image of 5 x 5, lag 2: the time j + 2 i at which pixel (i, j) is drawn
    2  3  4  5  6      13 times instead of 25; for 28 x 28 pixels and 7 x 7 kernels (lag 4), 136 instead of 784
    4  5  6  7  8
    6  7  8  9 10
    8  9 10 11 12

Every feature is still computed once, as by lesson e12's cached sampler, from the same numbers: the images are the same.
But a product of seven rows' pixels takes little longer than that of one, and there are fewer of them. The gated stacks
cannot do this: their vertical stack looks along its own row, to the right, in every block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigen import to_host, xp
from minigen.errors import SettingError
from solutions.e12_sampling import Kernel, colours_of, draw, sample, taps_of

Array = Any  # of the active backend


def can(model: Any) -> bool:
    """Whether `in_waves` is more than `sample` for that model: a PixelCNN whose blocks have no gates"""
    return getattr(model.config, "gated", True) is False


def in_waves(model: Any, n: int, rng: np.random.Generator, *, temperature: float = 1.0) -> np.ndarray:
    """n -> (n, H, W), or (n, C, H, W) with several colours, on the host: what `sample` of lesson e12 gives, sooner"""
    if not can(model):
        return sample(model, n, rng, temperature=temperature)
    if not temperature > 0:
        raise SettingError(f"temperature is {temperature}; expected above 0 (near 0: the likeliest values)")
    side, colours = model.config.side, colours_of(model)
    x = xp.zeros((n, colours, side * side), model.parameters()[0].dtype)
    u, waves = xp.asarray(rng.random(x.shape)), Waves(model, n)
    for t in range(waves.times):
        here = waves.begin(t)
        for c in range(colours):
            logits = waves.logits()[:, :, c]  # (rows n, K)
            drawn = draw(logits, u[:, c, here].T.reshape(-1), temperature).reshape(-1, n)
            x[:, c, here] = drawn.T
            waves.put(drawn, c)
    return to_host(x.reshape(n, *(side, side) if colours == 1 else (colours, side, side)))


class Waves:
    """A plain PixelCNN on the pixels of one time after the other, each feature computed once

    lag: columns that a row is behind the one above it; times: from the first pixel to the last.
    """

    def __init__(self, model: Any, n: int):
        c = model.config
        self.side, self.colours, self.t = c.side, colours_of(model), 0
        self.lag = max(c.first, c.kernel) // 2 + 1
        self.times = c.side + self.lag * (c.side - 1)
        most = -(-c.side // self.lag) * n  # pixels of a time
        self.first = Convolution(model.body.first, c.side, n, self.lag)
        self.blocks = [
            (
                Product(b.narrow, most),
                Convolution(b.masked, c.side, n, self.lag),
                Product(b.wide, most),
            )
            for b in model.body.blocks
        ]
        self.head = [Product(layer, most) for layer in model.head]
        self.zeros = xp.zeros((most // n, n, c.h), self.first.W.dtype)

    def begin(self, t: int) -> slice:
        """Time t, after t - 1 -> where its pixels are in an image whose rows stand in one line, from the top"""
        first, stop = max(0, -(-(t - self.side + 1) // self.lag)), min(self.side, t // self.lag + 1)
        self.t, self.rows = t, slice(first, stop)
        for layer in (self.first, *(masked for _, masked, _ in self.blocks)):
            layer.map.begin(t)
        step = self.side - self.lag  # from pixel (i, j) to (i + 1, j - lag)
        start = t + first * step
        behind = (
            start + (stop - first - 1) * step + 1 if first < stop else start
        )  # a lag above the side leaves gaps
        return slice(start, behind, max(1, step))

    def logits(self) -> Array:
        """-> (rows n, K, C): the logits at the pixels of this time, row by row"""
        h, zeros = self.first(self.t, self.rows), self.zeros[: self.rows.stop - self.rows.start]
        for narrow, masked, wide in self.blocks:
            here = masked.map.at(self.t, self.rows)
            xp.maximum(narrow(h).reshape(here.shape), zeros, out=here)
            h += wide(masked(self.t, self.rows))
        for layer in self.head:
            h = layer(h)
        return h.reshape(h.shape[0], h.shape[1] // self.colours, self.colours)

    def put(self, drawn: Array, c: int) -> None:
        """(rows, n), colour: the image's values at the pixels of this time"""
        self.first.map.at(self.t, self.rows)[:, :, c] = drawn


class Skewed:
    """A map whose axis is the time, not the column: row i is at column t - lag i at time t

    So what a wave sees through a tap of a kernel, `up` rows above and `right` columns further, is one stretch:
    its rows, that many higher, as they were lag up - right times ago.

    kept: (times, H + rows above, n, C), the newest times that a kernel (kh, kw) can see; 0 outside the image.
    """

    def __init__(self, side: int, n: int, channels: int, kernel: tuple[int, int], lag: int, dtype: Any):
        self.lag, self.above = lag, kernel[0] // 2
        times = lag * self.above + kernel[1] // 2 + 1
        self.kept = xp.zeros((times, side + self.above, n, channels), dtype)

    def begin(self, t: int) -> None:
        """The oldest time is forgotten: time t stands in its place, empty"""
        self.kept[t % len(self.kept)] = 0

    def at(self, t: int, rows: slice, up: int = 0, right: int = 0) -> Array:
        """-> (rows, n, C): a view of what lies `up` rows above and `right` columns beside the wave of time t"""
        time = self.kept[(t - self.lag * up + right) % len(self.kept)]
        return time[rows.start + self.above - up : rows.stop + self.above - up]


class Convolution:
    """A MaskedConv2d on a wave; `map` is its input"""

    def __init__(self, layer: Any, side: int, n: int, lag: int):
        kernel = Kernel.of(layer)
        size, taps = kernel.taps.shape, taps_of(kernel.taps)
        self.W, self.b = kernel.flat(taps), xp.tile(kernel.b, (-(-side // lag) * n, 1))
        self.seen = [(size[0] // 2 - a, e - size[1] // 2) for a, e in taps]  # (up, right)
        self.map = Skewed(side, n, kernel.W.shape[1], size, lag, kernel.W.dtype)

    def __call__(self, t: int, rows: slice) -> Array:
        """-> (rows n, n_out): the layer's output at the pixels of time t"""
        columns = xp.concatenate([self.map.at(t, rows, up, right) for up, right in self.seen], axis=2)
        y = columns.reshape(-1, self.W.shape[0]).dot(self.W)
        y += self.b[: y.shape[0]]
        return y


class Product:
    """ReLU, then a 1x1 convolution, for at most that many pixels

    The zeros and the bias are as long as the pixels: NumPy adds rows of one shape twice as fast.
    """

    def __init__(self, layer: Any, most: int):
        kernel = Kernel.of(layer)
        self.W, self.b = kernel.flat([(0, 0)]), xp.tile(kernel.b, (most, 1))
        self.zeros = xp.zeros((most, self.W.shape[0]), self.W.dtype)

    def __call__(self, x: Array) -> Array:
        """(pixels, n_in) -> (pixels, n_out)"""
        y = xp.maximum(x, self.zeros[: x.shape[0]]).dot(self.W)
        y += self.b[: y.shape[0]]
        return y
