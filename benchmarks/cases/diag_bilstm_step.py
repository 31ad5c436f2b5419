"""PixelRNN with Diagonal BiLSTMs: the model of pixelrnn_step with two Diagonal BiLSTMs of 16 units, batch 32.

A layer's two directions, which read the map from its upper corners, are added, the one from the right moved down by a
row; a 1x1 convolution goes back to 32 maps (van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3.2).
"""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Run, Work
from benchmarks.cases.pixelrnn_step import Size, around, around_work, inputs
from benchmarks.course import course_run
from benchmarks.pixelrnn import build, build_jax, build_torch, course_model

FULL, TINY = Size(), Size(batch=2, side=6, h=3, layers=1)

__all__ = ["FULL", "TINY", "inputs", "jax", "minigen", "solutions", "torch", "weights", "work"]


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """As in pixelrnn_step; the recurrent layers' parameters come twice, for the left and the right direction"""
    return around(size, rng, lambda: recurrent(size.h, rng))


def recurrent(h: int, rng: np.random.Generator) -> list[np.ndarray]:
    """[h0, c0, W_x, W_h, b] of a Diagonal BiLSTM"""
    shapes = [(2, h), (2, h), (2, 4 * h, 2 * h, 1, 1), (2, 4 * h, h, 2, 1), (2, 4 * h)]
    return [rng.uniform(-(h**-0.5), h**-0.5, shape).astype(np.float32) for shape in shapes]


def work(size: Size) -> Work:
    """As in pixelrnn_step"""
    h = size.h
    return around_work(size, 2 * 4 * h * (2 * h + 2 * h), weights(size, np.random.default_rng(0)))


def minigen(size, weights, inputs, tuned) -> Run:
    """nn.DiagonalBiLSTM"""
    from minigen import nn

    return build(size, weights, inputs, lambda h, rng: nn.DiagonalBiLSTM(2 * h, h, rng=rng))


def solutions(size, weights, inputs, tuned) -> Run:
    """Lesson e10's PixelRNN with the engine's diagonal layers"""
    model, parameters = course_model(size, "diagonal")
    return course_run(model, parameters, weights, inputs[0][:, 0])


def torch(size, weights, inputs, tuned) -> Run:
    """The map is skewed, so that a diagonal is a column; then a loop over the columns, both directions at once"""
    return build_torch(size, weights, inputs, tuned, recurrent_torch())


def recurrent_torch():
    """The Diagonal BiLSTM (x, h0, c0, W_x, W_h, b) -> (N, h, H, W)

    Grouped convolutions take both directions together. A row that has not begun keeps its first state.
    """
    import torch
    from torch.nn.functional import conv1d, conv2d, pad

    def skew(x):
        h, w = x.shape[2:]
        return pad(x, (0, h)).flatten(2)[:, :, : h * (w + h - 1)].unflatten(2, (h, w + h - 1))

    def unskew(x):
        h, width = x.shape[2:]
        return pad(x.flatten(2), (0, h)).unflatten(2, (h, width + 1))[..., : width + 1 - h]

    def diagonal_bilstm(x, h0, c0, W_x, W_h, b):
        n, side, units = len(x), x.shape[2], h0.shape[1]
        both = torch.cat((x, x.flip(3)), 1)
        a_x = skew(conv2d(both, W_x.flatten(0, 1), b.flatten(), groups=2)).unbind(3)
        h, c = (s.flatten().view(1, -1, 1).expand(n, -1, side) for s in (h0, c0))
        kernel, rows, columns = W_h.flatten(0, 1)[..., 0], torch.arange(side), []
        for t, a in enumerate(a_x):
            a = a + conv1d(pad(h, (1, 0)), kernel, groups=2)
            o, f, i, g = (s.flatten(1, 2) for s in a.view(n, 2, 4, units, side).unbind(2))
            new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            new_h = torch.sigmoid(o) * torch.tanh(new_c)
            if t < side - 1:
                begun = rows <= t
                new_c, new_h = torch.where(begun, new_c, c), torch.where(begun, new_h, h)
            c, h = new_c, new_h
            columns.append(h)
        left, right = unskew(torch.stack(columns, 3)).chunk(2, 1)
        return left + pad(right.flip(3), (0, 0, 1, -1))

    return diagonal_bilstm


def jax(size, weights, inputs, tuned) -> Run:
    """lax.scan over the columns of the skewed map"""
    return build_jax(size, weights, inputs, recurrent_jax(size))


def recurrent_jax(size):
    """The Diagonal BiLSTM (x, h0, c0, W_x, W_h, b) -> (N, h, H, W)"""
    from jax import nn
    from jax import numpy as jnp
    from jax.lax import scan

    def skew(x):
        """(..., H, W) -> (..., H, W + H - 1)"""
        *n, h, w = x.shape
        line = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, h)]).reshape(*n, -1)
        return line[..., : h * (w + h - 1)].reshape(*n, h, w + h - 1)

    def unskew(x):
        *n, h, width = x.shape
        line = jnp.pad(x.reshape(*n, -1), [(0, 0)] * (x.ndim - 2) + [(0, h)])
        return line.reshape(*n, h, width + 1)[..., : width + 1 - h]

    def diagonal_bilstm(x, h0, c0, W_x, W_h, b):
        both = jnp.stack((x, x[..., ::-1]))  # (2, N, C, H, W)
        a_x = skew(jnp.einsum("dnchw,dgc->dnghw", both, W_x[..., 0, 0]) + b[:, None, :, None, None])
        rows = jnp.arange(x.shape[2])

        def step(state, now):
            (h, c), (a, t) = state, now
            above = jnp.pad(h, ((0, 0), (0, 0), (0, 0), (1, 0)))
            for tap in range(2):
                seen = above[..., tap : tap + len(rows)]
                a = a + jnp.einsum("dnch,dgc->dngh", seen, W_h[:, :, :, tap, 0])
            o, f, i, g = jnp.split(a, 4, axis=2)
            c = jnp.where(rows <= t, nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g), c)
            h = jnp.where(rows <= t, nn.sigmoid(o) * jnp.tanh(c), h)
            return (h, c), h

        shape = (2, len(x), h0.shape[1], len(rows))
        start = tuple(jnp.broadcast_to(s[:, None, :, None], shape) for s in (h0, c0))
        a_x = jnp.moveaxis(a_x, -1, 0)
        columns = scan(step, start, (a_x, jnp.arange(len(a_x))))[1]
        left, right = unskew(jnp.moveaxis(columns, 0, -1))
        return left + jnp.pad(right[..., ::-1], ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]

    return diagonal_bilstm
