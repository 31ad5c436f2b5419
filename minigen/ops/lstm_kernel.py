"""The numbers behind `ops.lstm`: forward, and backpropagation through time, on raw arrays.

Inside, a step is a matrix of features by examples. The state Z = [h; x; 1] is (K, n), K = h + d + 1, so that one
product W Z gives all four gates, (4h, n), and each gate is one contiguous block: elementwise work on slices of rows
takes three times as long. Rows come in the order i, f, o, g: the three sigmoids are one block, and their rows of W
have their sign turned, because sigmoid(a) = 1 / (1 + exp(-a)) costs NumPy less than its form with tanh where there is
no AVX-512, and little more where there is.

The examples of a batch do not meet before the gradients of the weights are summed. So the batch is cut into shards,
one for each worker, and a worker carries its shard through all time steps with every operand in its own cache; the
product of a single step is too small to be worth sharing. What remains, the gradients of the weights and of x, are
large products over all steps and examples: one each, for BLAS and all its threads.
"""

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
    """The output of `ops.lstm`, (T + 2, N, h), and what its backward pass wants: W (4h, K) and the shards."""
    (T, N, d), h = x.shape, len(W_h)
    K, dtype = h + d + 1, xp.result_type(x, h0, c0, W_x, W_h, b)
    W = xp.empty((4 * h, K), dtype)
    W[:, :h], W[:, h:-1], W[:, -1] = _swap(W_h).T, _swap(W_x).T, _swap(b)
    W[: 3 * h] *= -1.0
    y = xp.empty((T + 2, N, h), dtype)
    parts = workers.count() if active().name == "numpy" and 8.0 * N * h * K > SHARED_FROM else 1
    shards = [Shard(a, z, T, K, h, dtype) for a, z in workers.split(N, parts) or [(0, 0)]]
    workers.run([partial(_forward, s, x, h0, c0, W, y) for s in shards])
    return y, (W, shards)


def _forward(s: Shard, x: Array, h0: Array, c0: Array, W: Array, y: Array) -> None:
    """Carry a shard through all time steps; its columns of y are written."""
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
    """The gradients, given g, that of the output. What is asked for first makes what the others share."""

    def __init__(self, g: Array, saved: Any):
        self.g, (self.W, self.shards) = g, saved
        self._through: tuple[Array, Array, Array] | None = None
        self._weights: Array | None = None

    def through_time(self) -> tuple[Array, Array, Array]:
        """(4h, T, N) the gradients D of W Z for every step, and those of h_0 and c_0, (N, h)"""
        if self._through is None:
            steps, N, h = self.g.shape
            D = xp.empty((4 * h, steps - 2, N), self.W.dtype)
            gh, gc = xp.empty((N, h), D.dtype), xp.empty((N, h), D.dtype)
            W_h = xp.ascontiguousarray(
                self.W[:, :h].T
            )  # (h, 4h); a transposed view is slower to multiply with
            workers.run([partial(_backward, s, self.g, W_h, D, gh, gc) for s in self.shards])
            self._through = D, gh, gc
        return self._through

    def weights(self) -> Array:
        """(K, 4h): the gradients of W_h, W_x and b, one below the other"""
        if self._weights is None:
            D = self.through_time()[0]
            K, (rows, T, N) = self.W.shape[1], D.shape
            Z = xp.empty((K, T, N), D.dtype)
            for s in self.shards:
                Z[:, :, s.here] = s.Z[:T].swapaxes(0, 1)
            gW = Z.reshape(K, T * N) @ D.reshape(rows, T * N).T
            gW[:, : rows // 4 * 3] *= -1.0
            self._weights = _swap(gW)
        return self._weights

    def of_x(self) -> Array:
        """(T, N, d)"""
        D = self.through_time()[0]
        rows, T, N = D.shape
        W_x = self.W[:, rows // 4 : -1].T
        gx = W_x @ D.reshape(rows, T * N)  # (d, T N)
        return xp.ascontiguousarray(gx.reshape(len(W_x), T, N).transpose(1, 2, 0))  # (T, N, d)


def _backward(s: Shard, g: Array, W_h: Array, D: Array, gh: Array, gc: Array) -> None:
    """Carry the gradient of a shard back through time; its columns of D and its rows of gh, gc are written."""
    here, (T, _, h, n) = s.here, s.G.shape
    dh, dc, u = (xp.zeros((h, n), W_h.dtype) for _ in range(3))
    da, slope = xp.empty((4, h, n), W_h.dtype), xp.empty((4, h, n), W_h.dtype)
    dc += g[T + 1, here].T
    for t in reversed(range(T)):
        i, f, o, cell = s.G[t]
        tanh_c = s.tanh_C[t]
        dh += g[t + 1, here].T
        # dc += dh o (1 - tanh(c)^2), where o tanh(c) is h
        xp.multiply(s.Z[t + 1, :h], tanh_c, out=u)
        xp.subtract(o, u, out=u)
        u *= dh
        dc += u
        # what flows into each gate, times its slope: -s (1 - s), for the turned sign, and 1 - g^2
        xp.multiply(dc, cell, out=da[0])
        xp.multiply(dc, s.C[t], out=da[1])
        xp.multiply(dh, tanh_c, out=da[2])
        xp.multiply(dc, i, out=da[3])
        xp.multiply(s.G[t], s.G[t], out=slope)
        slope[:3] -= s.G[t, :3]
        xp.subtract(1.0, slope[3], out=slope[3])
        da *= slope
        dc *= f
        xp.matmul(W_h, da.reshape(4 * h, n), out=dh)
        D[:, t, here] = da.reshape(4 * h, n)
    gh[here], gc[here] = dh.T, dc.T
    gh[here] += g[0, here]


def _swap(W: Array) -> Array:
    """(..., 4h) -> (..., 4h): the gates i, f, g, o in the order i, f, o, g; and the other way round"""
    n = W.shape[-1] // 4
    return xp.concatenate((W[..., : 2 * n], W[..., 3 * n :], W[..., 2 * n : 3 * n]), axis=-1)
