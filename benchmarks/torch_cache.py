"""Lesson e12's samplers in PyTorch: each feature once. For the column *tuned* of the cases called `..._sample`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch


class CachedConv:
    """A masked convolution, one pixel at a time; the rows above enter once for a whole row"""

    def __init__(self, W, b, left: int, n: int, side: int):
        """W (out, in, kh, kw), hidden weights 0; `left`: how many taps of the middle row are seen"""
        n_out, n_in, kh, kw = W.shape
        taps = W.permute(2, 3, 1, 0)  # (kh, kw, in, out)
        self.kernel, self.left, self.side = (kh, kw), left, side
        self.upper = taps[: kh // 2].reshape(-1, n_out)
        self.row_weight = taps[kh // 2, :left].reshape(-1, n_out)
        self.b, self.above = b, b.expand(n, side, n_out)
        self.rows = torch.zeros(kh // 2 + 1, n, side + 2 * (kw // 2), n_in)
        self.present = self.rows[-1][:, kw // 2 : kw // 2 + side]  # (n, side, in)

    def start_row(self) -> None:
        """The present row becomes the one above"""
        kh, kw = self.kernel
        self.rows[:-1] = self.rows[1:].clone()
        if kh > 1:
            columns = [self.rows[a, :, e : e + self.side] for a in range(kh // 2) for e in range(kw)]
            self.above = self.b + torch.cat(columns, dim=2) @ self.upper

    def __call__(self, x, j: int):
        """(n, in) or None, column -> (n, out); None: the kernel does not see its own pixel"""
        if x is not None:
            self.present[:, j] = x
        seen = self.rows[-1][:, j : j + self.left].flatten(1)
        return torch.addmm(self.above[:, j], seen, self.row_weight)


class Pointwise:
    """A 1x1 convolution at one pixel"""

    def __init__(self, W, b):
        self.W, self.b = W.flatten(1).T.contiguous(), b

    def start_row(self) -> None:
        """Nothing to keep"""

    def __call__(self, x):
        return torch.addmm(self.b, x, self.W)


class CachedRowLSTM:
    """A Row LSTM: of the row above it needs the states"""

    def __init__(self, h0, c0, W_x, W_h, b, n: int, side: int):
        self.input = CachedConv(W_x, b, W_x.shape[3] // 2 + 1, n, side)
        self.state = W_h[:, :, 0].permute(2, 1, 0).flatten(0, 1)  # (k h, 4 h)
        self.edge, self.taps = W_h.shape[3] // 2, W_h.shape[3]
        self.h = torch.zeros(n, side + 2 * self.edge, len(h0))
        self.h[:, self.edge : self.edge + side] = h0
        self.c = c0.expand(n, side, -1).clone()

    def start_row(self) -> None:
        """What the states of the row above contribute to every pixel"""
        self.input.start_row()
        side = self.c.shape[1]
        columns = torch.cat([self.h[:, e : e + side] for e in range(self.taps)], dim=2)
        self.input.above = self.input.b + columns @ self.state

    def __call__(self, x, j: int):
        """(n, in), column -> (n, h)"""
        h, c = cell(self.input(x, j), self.c[:, j])
        self.h[:, self.edge + j], self.c[:, j] = h, c
        return h


class CachedDiagonalLSTM:
    """A Diagonal BiLSTM: the direction from the right goes through a row once the row is complete"""

    def __init__(self, h0, c0, W_x, W_h, b, n: int, side: int):
        self.left, self.right = (OneDirection(h0[d], c0[d], W_x[d], W_h[d], b[d], n, side) for d in (0, 1))
        self.row: list = []
        self.from_right = torch.zeros_like(self.left.states)

    def start_row(self) -> None:
        """The direction from the right through the row that is done"""
        if self.row:
            self.right.start_row()
            for j in reversed(range(len(self.row))):
                self.from_right[:, j] = self.right(self.row[j], j)
        self.row = []
        self.left.start_row()

    def __call__(self, x, j: int):
        """(n, in), column -> (n, h)"""
        self.row.append(x)
        return self.left(x, j) + self.from_right[:, j]


class OneDirection:
    """One direction of a Diagonal BiLSTM, row after row"""

    def __init__(self, h0, c0, W_x, W_h, b, n: int, side: int):
        self.input = Pointwise(W_x, b)
        self.up, self.side = W_h[:, :, 0, 0].T.contiguous(), W_h[:, :, 1, 0].T.contiguous()
        self.begin = h0.expand(n, -1), c0.expand(n, -1)
        self.states = torch.zeros(n, side, len(h0))

    def start_row(self) -> None:
        """What the pixels above contribute; the learned state before the first pixel"""
        self.above = self.states @ self.up
        self.h, self.c = self.begin

    def __call__(self, x, j: int):
        """(n, in), column -> (n, h)"""
        gates = torch.addmm(self.input(x) + self.above[:, j], self.h, self.side)
        self.h, self.c = cell(gates, self.c)
        self.states[:, j] = self.h
        return self.h


def cell(gates, c):
    """(n, 4 h), (n, h) -> h, c"""
    n = c.shape[1]
    o, f, i = torch.sigmoid(gates[:, : 3 * n]).chunk(3, 1)
    c = f * c + i * torch.tanh(gates[:, 3 * n :])
    return o * torch.tanh(c), c


def draw(first: CachedConv, layers: Iterable, features: Callable, choose: Callable):
    """-> (n, side, side) images, pixel by pixel

    first: the convolution of the image, mask A; layers: all that keep rows, it included; features(y, column) -> (n, 1)
    logits of what `first` gave; choose(row, column, logits (n,)) -> the pixel (n,).
    """
    layers, side = list(layers), first.side
    images = torch.zeros(len(first.rows[0]), side, side)
    for i, j in np.ndindex(side, side):
        if j == 0:
            for layer in layers:
                layer.start_row()
        pixel = choose(i, j, features(first(None, j), j)[:, 0])
        images[:, i, j] = first.present[:, j, 0] = pixel
    return images
