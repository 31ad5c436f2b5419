"""Recurrent layers, and how to cut their state from the past."""

from typing import Any

import numpy as np

from minigen import ops
from minigen.backend import from_host, xp
from minigen.errors import ShapeError
from minigen.nn import init
from minigen.nn.module import Module
from minigen.nn.settings import generator, sizes
from minigen.tensor import Tensor

State = tuple[Any, Any]  # (h, c), each (N, n_hidden)


class LSTM(Module):
    """(T, N, n_in) -> (T, N, n_hidden), and the last state (h, c), each (N, n_hidden). Time comes first, as in PyTorch.

    4 n_hidden (n_in + n_hidden + 1) parameters: W_x (n_in, 4h), W_h (h, 4h) and one bias b (4h,); their columns are
    the gates i, f, g, o. The forget gate's bias starts at 1, so that a new cell remembers (Gers, Schmidhuber and
    Cummins 2000); W_x starts as xavier_uniform, W_h as orthogonal, each gate by itself.

    learn_initial: the state before the first step is a parameter too, h0 and c0 (n_hidden,), starting at zero.
    """

    def __init__(self, n_in: int, n_hidden: int, *, learn_initial: bool = False, rng: np.random.Generator):
        sizes(type(self).__name__, n_in=n_in, n_hidden=n_hidden)
        generator(type(self).__name__, rng)
        self.n_hidden = n_hidden
        gates = range(4)
        W_x = np.concatenate([init.xavier_uniform((n_in, n_hidden), rng=rng) for _ in gates], axis=1)
        W_h = np.concatenate([init.orthogonal((n_hidden, n_hidden), rng=rng) for _ in gates], axis=1)
        b = init.zeros((4 * n_hidden,))
        b[n_hidden : 2 * n_hidden] = 1.0
        self.W_x, self.W_h, self.b = (Tensor(from_host(a), requires_grad=True) for a in (W_x, W_h, b))
        self.h0 = Tensor(init.zeros((n_hidden,)), requires_grad=True) if learn_initial else None
        self.c0 = Tensor(init.zeros((n_hidden,)), requires_grad=True) if learn_initial else None

    def __call__(self, x: Any, state: State | None = None) -> tuple[Any, State]:
        """state: (h, c) to go on from, as an earlier call returned it; None: zeros, or what was learned."""
        if x.ndim != 3:
            hint = ": give a single sequence a batch axis with x[:, None]" if x.ndim == 2 else ""
            raise ShapeError(f"LSTM expects x of shape (T, N, n_in), time first, got {tuple(x.shape)}{hint}")
        T, N, _ = x.shape
        y = ops.lstm(x, *self._start(state, N), self.W_x, self.W_h, self.b)  # (T + 2, N, h)
        return y[1 : T + 1], (y[T], y[T + 1])

    def _start(self, state: State | None, N: int) -> State:
        if state is not None:
            h, c = state
            return h, c
        shape = (N, self.n_hidden)
        if self.h0 is None:
            zero = xp.zeros(shape, self.W_h.dtype)
            return zero, zero
        return ops.broadcast_to(self.h0, shape=shape), ops.broadcast_to(self.c0, shape=shape)


class LSTMCell(LSTM):
    """(N, n_in) -> the next state (h, c), each (N, n_hidden): one step of an LSTM, with the same parameters"""

    def __call__(self, x: Any, state: State | None = None) -> State:
        if x.ndim != 2:
            raise ShapeError(
                f"LSTMCell expects one step, x of shape (N, n_in), got {tuple(x.shape)}: nn.LSTM takes "
                "whole sequences"
            )
        return super().__call__(ops.expand_dims(x, axis=0), state)[1]


def detach(state: Any) -> Any:
    """The same state, cut from the graph: gradients stop here (truncated backpropagation through time).

        for piece in pieces:                            # (T, N, n_in) each
            hs, state = lstm(piece, detach(state))      # None, at the start, stays None
            optimizer.step(grad(loss(hs), parameters))

    Memory then grows with the length of a piece, not of the sequence. state: a tensor, or tuples and lists of them.
    """
    if isinstance(state, tuple | list):
        return type(state)(detach(part) for part in state)
    return state.detach() if isinstance(state, Tensor) else state
