"""PixelRNN with Row LSTMs: mask A 7x7 1-32, two residual layers of 16 units, 1x1 32-32, 1x1 to one logit.

A layer is a Row LSTM (input to state: a 1x3 convolution with mask B, 32 to 4 x 16; state to state: 1x3 over the row
above) and a 1x1 convolution back to 32 maps, which are added to its input. Binary pixels, binary cross-entropy, batch
32, one training step (van den Oord et al. 2016, Pixel Recurrent Neural Networks, sections 3.1 and 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Work, binary_pixels
from benchmarks.cases.conv_vae_step import bias
from benchmarks.course import course_run
from benchmarks.pixelrnn import build, build_jax, build_torch, course_model


@dataclass(frozen=True)
class Size:
    """(batch, 1, side, side) -> logits of the same shape; h: units, half of the channels"""

    batch: int = 32
    side: int = 28
    h: int = 16
    layers: int = 2


FULL, TINY = Size(), Size(batch=2, side=6, h=3, layers=1)


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """Parameters in the order IN, LAYER, HEAD; kernels are (out, in, kh, kw), the gates in the order o, f, i, g"""
    return around(size, rng, lambda: recurrent(size.h, rng))


def around(size, rng: np.random.Generator, layer) -> list[np.ndarray]:
    """The parameters of the convolutions, and between them what `layer()` gives for each recurrent layer"""
    h = size.h
    arrays = conv(2 * h, 1, 7, 7, 24, rng)
    for _ in range(size.layers):
        arrays += [*layer(), *conv(2 * h, h, 1, 1, 1, rng)]
    return arrays + conv(2 * h, 2 * h, 1, 1, 1, rng) + conv(1, 2 * h, 1, 1, 1, rng)


def conv(n_out: int, n_in: int, kh: int, kw: int, seen: int, rng: np.random.Generator) -> list[np.ndarray]:
    """[W, b] with the scale for as many taps as are seen"""
    scale = np.sqrt(2 / (n_in * seen))
    return [(rng.standard_normal((n_out, n_in, kh, kw)) * scale).astype(np.float32), bias(n_out, rng)]


def recurrent(h: int, rng: np.random.Generator) -> list[np.ndarray]:
    """[h0, c0, W_x, W_h, b] of a Row LSTM"""
    shapes = [(h,), (h,), (4 * h, 2 * h, 1, 3), (4 * h, h, 1, 3), (4 * h,)]
    return [rng.uniform(-(h**-0.5), h**-0.5, shape).astype(np.float32) for shape in shapes]


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (batch, 1, side, side), 0 or 1"""
    return (binary_pixels((size.batch, 1, size.side, size.side), rng),)


def work(size: Size) -> Work:
    """Visible taps only, three products each, less the gradient of the data"""
    h = size.h
    return around_work(size, 4 * h * (2 * 2 * h + 3 * h), weights(size, np.random.default_rng(0)))


def around_work(size, layer: int, weights: list[np.ndarray]) -> Work:
    """The work of a step, given the multiplications of one recurrent layer at one pixel"""
    h = size.h
    first, up, head = 24 * 2 * h, 2 * h * h, 2 * h * 2 * h + 2 * h
    products = 3 * (first + size.layers * (layer + up) + head) - first
    return Work(2.0 * size.batch * size.side**2 * products, 7 * 4.0 * sum(w.size for w in weights))


def minigen(size, weights, inputs, tuned):
    """nn.RowLSTM"""
    from minigen import nn

    return build(size, weights, inputs, lambda h, rng: nn.RowLSTM(2 * h, h, rng=rng))


def solutions(size, weights, inputs, tuned):
    """Lesson e10's PixelRNN, which takes the engine's layers"""
    model, parameters = course_model(size, "row")
    return course_run(model, parameters, weights, inputs[0][:, 0])


def torch(size, weights, inputs, tuned):
    """Input to state for the whole map at once, then a loop over the rows"""
    return build_torch(size, weights, inputs, tuned, recurrent_torch())


def recurrent_torch():
    """The Row LSTM (x, h0, c0, W_x, W_h, b) -> (N, h, H, W)"""
    import torch
    from torch.nn.functional import conv2d

    visible = torch.tensor([1.0, 1.0, 0.0])

    def row_lstm(x, h0, c0, W_x, W_h, b):
        h, c = h0.view(1, -1, 1), c0.view(1, -1, 1)
        h, rows = h.expand(x.shape[0], -1, x.shape[3]), []
        a_x = conv2d(x, W_x * visible, b, padding=(0, 1)).unbind(2)
        for a in a_x:
            a = a + torch.conv1d(h, W_h[:, :, 0], padding=1)
            o, f, i, g = a.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            rows.append(h)
        return torch.stack(rows, 2)

    return row_lstm


def jax(size, weights, inputs, tuned):
    """lax.scan over the rows"""
    return build_jax(size, weights, inputs, recurrent_jax(size))


def recurrent_jax(size):
    """The Row LSTM (x, h0, c0, W_x, W_h, b) -> (N, h, H, W)"""
    from jax import nn
    from jax import numpy as jnp
    from jax.lax import conv_general_dilated, scan

    def row_lstm(x, h0, c0, W_x, W_h, b):
        def along(x, W):
            return conv_general_dilated(x, W, (1,), "SAME", dimension_numbers=("NCH", "OIH", "NCH"))

        def step(state, x_row):
            h, c = state
            a = along(x_row, W_x[:, :, 0] * jnp.array([1.0, 1.0, 0.0])) + along(h, W_h[:, :, 0])
            o, f, i, g = jnp.split(a + b[:, None], 4, axis=1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        shape = (x.shape[0], size.h, x.shape[3])
        start = tuple(jnp.broadcast_to(s[:, None], shape) for s in (h0, c0))
        return jnp.moveaxis(scan(step, start, jnp.moveaxis(x, 2, 0))[1], 0, 2)

    return row_lstm
