"""The numbers behind `ops.lstm`: forward, and backpropagation through time, on raw arrays.

Inside, a step is a matrix of features by examples. The state Z = [h; x; 1] is (K, n), K = h + d + 1, so that one
product gives all four gates, (4h, n), and each gate is one contiguous block: elementwise work on slices of rows takes
three times as long. The columns of W, (K, 4h), come in the order o, i, f, g. So the three sigmoids are one block, and
their columns have their sign turned on the way forward, because sigmoid(a) = 1 / (1 + exp(-a)) costs NumPy less than
its form with tanh where there is no AVX-512, and little more where there is. i, f, g are a block too: their gradients
are multiples of one array. And with c behind them i g and f c are one call, (i, f) (g, c).

The examples of a batch do not meet before the gradients of the weights are summed. So the batch is cut into shards,
one for each worker, and a worker carries its shard through all time steps with every operand in its own cache; the
product of a single step is too small to be shared. The gradients of the weights and of x are large products over all
steps, again one for each shard. BLAS's own threads are not asked at all: they would go on spinning for a while when
their product is done, on the cores that the workers need next.

Two workers take turns at the interpreter between any two calls, and waiting for a turn can take longer than the call.
So few calls are made: what the way back needs of a step besides what comes from the step behind it is made for several
steps at once (`_slopes`), and a step back is five calls, not nineteen.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigen import workers
from minigen.backend import Array, active, xp

AT_ONCE = 4  # steps; more of them leave the cache
SHARED_FROM = 4e6  # operations in a step's product for which a second worker pays off


class Shard:
    """The examples a:z of a batch, and what the backward pass wants to know of them.

    Z: (T + 1, K, n) the states; G: (T + 1, 5, h, n) the gates o, i, f, g of each step and the c that it began with;
    tanh_C: (T, h, n)
    """

    def __init__(self, a: int, z: int, T: int, K: int, h: int, dtype: Any):
        self.here = slice(a, z)
        self.Z = xp.empty((T + 1, K, z - a), dtype)
        self.G = xp.empty((T + 1, 5, h, z - a), dtype)
        self.tanh_C = xp.empty((T, h, z - a), dtype)


def forward(x: Array, h0: Array, c0: Array, W_x: Array, W_h: Array, b: Array) -> tuple[Array, Any]:
    """The output of `ops.lstm`, (T + 2, N, h), and what its backward pass wants: W and the shards."""
    (T, N, d), h = x.shape, len(W_h)
    K, dtype = h + d + 1, xp.result_type(x, h0, c0, W_x, W_h, b)
    W = xp.empty((K, 4 * h), dtype)
    W[:h], W[h:-1], W[-1] = _to_front(W_h), _to_front(W_x), _to_front(b)
    turned = W.T.copy()  # (4h, K)
    turned[: 3 * h] *= -1.0
    y = xp.empty((T + 2, N, h), dtype)
    parts = workers.count() if active().name == "numpy" and 8.0 * N * h * K > SHARED_FROM else 1
    shards = [Shard(a, z, T, K, h, dtype) for a, z in workers.split(N, parts) or [(0, 0)]]
    _each(_forward, shards, x, h0, c0, turned, y)
    return y, (W, shards)


def _forward(s: Shard, x: Array, h0: Array, c0: Array, W: Array, y: Array) -> None:
    """Carry a shard through all time steps; its columns of y are written. W: (4h, K), sigmoids with signs turned"""
    Z, here = s.Z, s.here
    T, h, n = s.tanh_C.shape
    Z[:T, h:-1], Z[:T, -1] = x[:, here].swapaxes(1, 2), 1.0
    Z[0, :h], s.G[0, 4] = h0[here].T, c0[here].T
    terms = xp.empty((2, h, n), W.dtype)
    with np.errstate(over="ignore"):  # where exp(-a) is infinite, the gate is 0
        for t in range(T):
            gates, c, tanh_c = s.G[t, :4], s.G[t + 1, 4], s.tanh_C[t]
            xp.matmul(W, Z[t], out=gates.reshape(4 * h, n))
            sigmoids, cell = gates[:3], gates[3]
            xp.exp(sigmoids, out=sigmoids)
            sigmoids += 1.0
            xp.divide(1.0, sigmoids, out=sigmoids)
            xp.tanh(cell, out=cell)
            xp.multiply(s.G[t, 1:3], s.G[t, 3:], out=terms)
            xp.add(terms[0], terms[1], out=c)
            xp.tanh(c, out=tanh_c)
            xp.multiply(gates[0], tanh_c, out=Z[t + 1, :h])
    y[:-1, here], y[-1, here] = Z[:, :h].swapaxes(1, 2), s.G[T, 4].T


class Backward:
    """The gradients, given g, that of the output. Whichever is asked for first makes what they share."""

    def __init__(self, g: Array, saved: Any):
        self.g, (self.W, self.shards) = g, saved
        self._through: list[Any] = []
        self._weights: Any = None

    def through_time(self) -> list[Any]:
        """For each shard: itself, D (4h, T, n), the gradients of all its gates, and those of its h_0 and c_0, (h, n)"""
        if not self._through:
            h = self.g.shape[2]
            self._through = _each(_backward, self.shards, self.g, self.W[:h])
        return self._through

    def of_h0(self) -> Array:
        """(N, h)"""
        return xp.concatenate([gh.T for _, _, gh, _ in self.through_time()])

    def of_c0(self) -> Array:
        """(N, h)"""
        return xp.concatenate([gc.T for _, _, _, gc in self.through_time()])

    def of_weights(self) -> Array:
        """(K, 4h): of W_h, W_x and b, one below the other"""
        if self._weights is None:
            self._weights = _to_back(sum(_each(_of_weights, self.through_time())))
        return self._weights

    def of_x(self) -> Array:
        """(T, N, d)"""
        steps, N, h = self.g.shape
        W_x = self.W[h:-1]
        gx = xp.empty((steps - 2, N, len(W_x)), W_x.dtype)
        _each(_of_x, self.through_time(), W_x, gx)
        return gx


def _backward(s: Shard, g: Array, W_h: Array) -> tuple[Shard, Array, Array, Array]:
    """Carry the gradient of a shard back through time: see Backward.through_time. W_h: (h, 4h)"""
    here, (T, h, n) = s.here, s.tanh_C.shape
    D = xp.empty(
        (T, 6, h, n), W_h.dtype
    )  # what h adds to dc; the gradients of the four gates; dc of the step before
    dc, dh = g[T + 1, here].T, xp.zeros((h, n), W_h.dtype)
    room = xp.empty((7, AT_ONCE, h, n), W_h.dtype)
    for last in range(T, 0, -AT_ONCE):
        steps = slice(max(0, last - AT_ONCE), last)
        given, slopes = _slopes(s, g, steps, room)
        for t in reversed(range(steps.start, steps.stop)):
            k, d = t - steps.start, D[t]
            dh += given[k]
            xp.multiply(dh, slopes[:2, k], out=d[:2])
            dc = xp.add(dc, d[0], out=d[0])
            xp.multiply(dc, slopes[2:, k], out=d[2:])
            dc = d[5]
            xp.matmul(W_h, d[1:5].reshape(4 * h, n), out=dh)
    dh += g[0, here].T
    gates = xp.ascontiguousarray(D[:, 1:5].reshape(T, 4 * h, n).swapaxes(0, 1))
    return s, gates, dh, dc


def _slopes(s: Shard, g: Array, steps: slice, room: Array) -> tuple[Array, Array]:
    """For some steps: the gradient given for h, and the slopes dc/dh, dh/do, dc/di, dc/df, dc/dg, dc/dc' in this order

    (k, h, n), (6, k, h, n). o, i, f, g stand for what goes into the gates, c' for c of the step before. The slope of a
    sigmoid s is s (1 - s), that of a tanh t is 1 - t^2.
    """
    k, h = steps.stop - steps.start, s.tanh_C.shape[1]
    given, (by_h, by_o, by_i, by_f, by_g, by_c) = room[0, :k], room[1:, :k]
    o, i, f, cell, c = s.G[steps].swapaxes(0, 1)
    tanh_c = s.tanh_C[steps]
    xp.copyto(given, g[steps.start + 1 : steps.stop + 1, s.here].swapaxes(1, 2))
    xp.multiply(s.Z[steps.start + 1 : steps.stop + 1, :h], tanh_c, out=by_h)  # o tanh(c)^2
    xp.subtract(o, by_h, out=by_h)
    for slope, gate, factor in ((by_o, o, tanh_c), (by_i, i, cell), (by_f, f, c)):
        xp.multiply(gate, gate, out=slope)
        xp.subtract(gate, slope, out=slope)
        slope *= factor
    xp.multiply(i, cell, out=by_g)
    by_g *= cell
    xp.subtract(i, by_g, out=by_g)
    xp.copyto(by_c, f)
    return given, room[1:, :k]


def _of_weights(through: Any) -> Array:
    """(K, 4h): a shard's part in the gradients of the weights"""
    s, D, *_ = through
    Z = xp.ascontiguousarray(s.Z[:-1].swapaxes(0, 1))  # (K, T, n)
    return Z.reshape(len(Z), Z[0].size) @ D.reshape(len(D), D[0].size).T


def _of_x(through: Any, W_x: Array, gx: Array) -> None:
    """Write a shard's columns of gx, (T, N, d)."""
    s, D, *_ = through
    rows, T, n = D.shape
    gx[:, s.here] = (W_x @ D.reshape(rows, T * n)).reshape(len(W_x), T, n).transpose(1, 2, 0)


def _each(work: Callable[..., Any], parts: list[Any], *args: Any) -> list[Any]:
    """[work(part, *args) for each part], a worker for each"""
    results: list[Any] = [None] * len(parts)

    def task(k: int) -> None:
        results[k] = work(parts[k], *args)

    workers.run([partial(task, k) for k in range(len(parts))])
    return results


def _to_front(W: Array) -> Array:
    """(..., 4h) -> (..., 4h): the gates i, f, g, o in the order o, i, f, g"""
    n = W.shape[-1] // 4
    return xp.concatenate((W[..., 3 * n :], W[..., : 3 * n]), axis=-1)


def _to_back(W: Array) -> Array:
    """(..., 4h) -> (..., 4h): the gates o, i, f, g in the order i, f, g, o"""
    n = W.shape[-1] // 4
    return xp.concatenate((W[..., n:], W[..., :n]), axis=-1)
