"""The recurrent layers of PixelRNN: an LSTM along the rows of a map, and one along its diagonals from both sides.

van den Oord, Kalchbrenner and Kavukcuoglu 2016, Pixel Recurrent Neural Networks, sections 3.1 and 3.2. Both layers let
a pixel see itself (mask B): the network's first layer must hide it (mask A).
"""

from typing import Any

import numpy as np

from minigen import ops
from minigen.backend import from_host
from minigen.errors import SettingError
from minigen.nn import init
from minigen.nn.module import Module
from minigen.tensor import Tensor

GATES = 4  # o, f, i, g


class RowLSTM(Module):
    """(N, n_in, H, W) -> (N, n_hidden, H, W): reads a map row by row, all pixels of a row at once

    W_x (4h, n_in, 1, kernel), of which the middle tap and those to its left are used; W_h (4h, h, 1, kernel_above), b
    (4h,); their output channels are the gates o, f, i, g. h0, c0 (h,): the learned state above the map, at first zero.
    The forget gate's bias starts at 1; W_x starts as xavier_uniform, W_h as orthogonal, each gate by itself.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        *,
        kernel: int = 3,
        kernel_above: int = 3,
        rng: np.random.Generator,
    ):
        _check_sizes(self, n_in=n_in, n_hidden=n_hidden)
        _check_odd(self, kernel=kernel, kernel_above=kernel_above)
        W_x = init.zeros((GATES * n_hidden, n_in, 1, kernel))
        seen = kernel // 2 + 1
        W_x[..., :seen] = _by_gate(init.xavier_uniform, (n_hidden, n_in, 1, seen), rng)
        W_h = _by_gate(init.orthogonal, (n_hidden, n_hidden, 1, kernel_above), rng)
        self.W_x, self.W_h, self.b = _parameters(W_x, W_h, _bias(n_hidden))
        self.h0, self.c0 = _parameters(init.zeros((n_hidden,)), init.zeros((n_hidden,)))

    def __call__(self, x: Any) -> Any:
        return ops.row_lstm(x, self.h0, self.c0, self.W_x, self.W_h, self.b)


class DiagonalBiLSTM(Module):
    """(N, n_in, H, W) -> (N, n_hidden, H, W): reads a map by diagonals, from the left and from the right

    Of each parameter the first is for the direction that comes from the left: W_x (2, 4h, n_in, 1, 1), W_h (2, 4h, h,
    2, 1), b (2, 4h), with the gates o, f, i, g; h0, c0 (2, h): the learned state before each row, at first zero. They
    start as those of RowLSTM.
    """

    def __init__(self, n_in: int, n_hidden: int, *, rng: np.random.Generator):
        _check_sizes(self, n_in=n_in, n_hidden=n_hidden)
        sides = range(2)
        W_x = np.stack([_by_gate(init.xavier_uniform, (n_hidden, n_in, 1, 1), rng) for _ in sides])
        W_h = np.stack([_by_gate(init.orthogonal, (n_hidden, n_hidden, 2, 1), rng) for _ in sides])
        b = np.stack([_bias(n_hidden) for _ in sides])
        self.W_x, self.W_h, self.b = _parameters(W_x, W_h, b)
        self.h0, self.c0 = _parameters(init.zeros((2, n_hidden)), init.zeros((2, n_hidden)))

    def __call__(self, x: Any) -> Any:
        return ops.diagonal_bilstm(x, self.h0, self.c0, self.W_x, self.W_h, self.b)


def _by_gate(draw: Any, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """(h, ...) -> (4h, ...): each gate drawn by itself"""
    return np.concatenate([draw(shape, rng=rng) for _ in range(GATES)])


def _bias(n_hidden: int) -> np.ndarray:
    """(4h,): 1 for the forget gate, so that a new cell remembers (Gers, Schmidhuber and Cummins 2000)"""
    b = init.zeros((GATES * n_hidden,))
    b[n_hidden : 2 * n_hidden] = 1.0
    return b


def _parameters(*arrays: np.ndarray) -> list[Tensor]:
    return [Tensor(from_host(a), requires_grad=True) for a in arrays]


def _check_sizes(layer: Module, **sizes: int) -> None:
    if min(sizes.values()) < 1:
        found = " and ".join(f"{name} {n}" for name, n in sizes.items())
        raise SettingError(f"{type(layer).__name__}: {found}: use positive sizes")


def _check_odd(layer: Module, **kernels: int) -> None:
    for name, k in kernels.items():
        if k < 1 or k % 2 == 0:
            raise SettingError(
                f"{type(layer).__name__}: {name} is {k}: use an odd width, so that it has a middle"
            )
