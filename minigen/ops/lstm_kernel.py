"""The numbers behind `ops.lstm`: forward, and backpropagation through time, on raw arrays.

Inside, a step is a matrix of features by examples. The state Z = [h; x; 1] is (K, n), K = h + d + 1, so that one
product gives all four gates, (4h, n), and each gate is one contiguous block: elementwise work on slices of rows takes
three times as long. The columns of W, (K, 4h), come in the order i, f, o, g: the three sigmoids are one block, and
their columns have their sign turned, because sigmoid(a) = 1 / (1 + exp(-a)) costs NumPy less than its form with tanh
where there is no AVX-512, and little more where there is.

The examples of a batch do not meet before the gradients of the weights are summed. So the batch is cut into shards,
one for each worker, and a worker carries its shard through all time steps with every operand in its own cache; the
product of a single step is too small to be shared. The gradients of the weights and of x are large products over all
steps, again one for each shard. BLAS's own threads are not asked at all: they would go on spinning for a while when
their product is done, on the cores that the workers need next.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigen import workers
from minigen.backend import Array, active, xp

SHARED_FROM = 4e6  # operations in a step's product for which a second worker pays off


class Shard:
    """The examples a:z of a batch, and what the backward pass wants to know of them.

    Z: (T + 1, K, n) the states; G: (T, 4, h, n) the gates i, f, o, g; C: (T + 1, h, n); tanh_C: (T, h, n)
    """

    def __init__(self, a: int, z: int, T: int, K: int, h: int, dtype: Any):
        self.here = slice(a, z)
        self.Z = xp.empty((T + 1, K, z - a), dtype)
        self.G = xp.empty((T, 4, h, z - a), dtype)
        self.C = xp.empty((T + 1, h, z - a), dtype)
        self.tanh_C = xp.empty((T, h, z - a), dtype)


def forward(x: Array, h0: Array, c0: Array, W_x: Array, W_h: Array, b: Array) -> tuple[Array, Any]:
    """The output of `ops.lstm`, (T + 2, N, h), and what its backward pass wants: W and the shards."""
    (T, N, d), h = x.shape, len(W_h)
    K, dtype = h + d + 1, xp.result_type(x, h0, c0, W_x, W_h, b)
    W = xp.empty((K, 4 * h), dtype)
    W[:h], W[h:-1], W[-1] = _swap(W_h), _swap(W_x), _swap(b)
    W[:, : 3 * h] *= -1.0
    y = xp.empty((T + 2, N, h), dtype)
    parts = workers.count() if active().name == "numpy" and 8.0 * N * h * K > SHARED_FROM else 1
    shards = [Shard(a, z, T, K, h, dtype) for a, z in workers.split(N, parts) or [(0, 0)]]
    _each(_forward, shards, x, h0, c0, W.T, y)
    return y, (W, shards)


def _forward(s: Shard, x: Array, h0: Array, c0: Array, W: Array, y: Array) -> None:
    """Carry a shard through all time steps; its columns of y are written. W: (4h, K)"""
    Z, C, here = s.Z, s.C, s.here
    T, _, h, n = s.G.shape
    Z[:T, h:-1], Z[:T, -1] = x[:, here].swapaxes(1, 2), 1.0
    Z[0, :h], C[0] = h0[here].T, c0[here].T
    ig = xp.empty((h, n), W.dtype)
    with np.errstate(over="ignore"):  # where exp(-a) is infinite, the gate is 0
        for t in range(T):
            xp.matmul(W, Z[t], out=s.G[t].reshape(4 * h, n))
            i, f, o, g = s.G[t]
            gates = s.G[t, :3]
            xp.exp(gates, out=gates)
            gates += 1.0
            xp.divide(1.0, gates, out=gates)
            xp.tanh(g, out=g)
            c, tanh_c = C[t + 1], s.tanh_C[t]
            xp.multiply(f, C[t], out=c)
            xp.multiply(i, g, out=ig)
            c += ig
            xp.tanh(c, out=tanh_c)
            xp.multiply(o, tanh_c, out=Z[t + 1, :h])
    y[:-1, here], y[-1, here] = Z[:, :h].swapaxes(1, 2), C[T].T


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
            gW = sum(_each(_of_weights, self.through_time()))
            gW[:, : gW.shape[1] // 4 * 3] *= -1.0
            self._weights = _swap(gW)
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
    here, (T, _, h, n) = s.here, s.G.shape
    D = xp.empty((4 * h, T, n), W_h.dtype)
    dh, dc, u = (xp.zeros((h, n), W_h.dtype) for _ in range(3))
    da, rest = xp.empty((4, h, n), W_h.dtype), xp.empty((4, h, n), W_h.dtype)
    dc += g[T + 1, here].T
    for t in reversed(range(T)):
        i, f, _, cell = s.G[t]
        h_t, tanh_c = s.Z[t + 1, :h], s.tanh_C[t]
        dh += g[t + 1, here].T
        # dc += dh o (1 - tanh(c)^2), where o tanh(c) is h
        xp.multiply(dh, s.G[t, 2], out=u)
        dc += u
        xp.multiply(dh, h_t, out=da[2])
        xp.multiply(da[2], tanh_c, out=u)
        dc -= u
        # the slope of a sigmoid s is s (1 - s), that of the cell's tanh is 1 - cell^2
        xp.multiply(dc, i, out=da[3])
        dc *= f
        xp.multiply(da[3], cell, out=da[0])
        xp.multiply(dc, s.C[t], out=da[1])
        xp.subtract(s.G[t, :3], 1.0, out=rest[:3])  # - (1 - s), for the turned sign
        xp.multiply(cell, cell, out=rest[3])
        xp.subtract(1.0, rest[3], out=rest[3])
        da *= rest
        xp.matmul(W_h, da.reshape(4 * h, n), out=dh)
        D[:, t] = da.reshape(4 * h, n)
    dh += g[0, here].T
    return s, D, dh, dc


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


def _swap(W: Array) -> Array:
    """(..., 4h) -> (..., 4h): the gates i, f, g, o in the order i, f, o, g; and the other way round"""
    n = W.shape[-1] // 4
    return xp.concatenate((W[..., : 2 * n], W[..., 3 * n :], W[..., 2 * n : 3 * n]), axis=-1)
