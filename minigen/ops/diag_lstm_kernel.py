"""The numbers behind `ops.diagonal_bilstm`: forward, and backpropagation through the diagonals, on raw arrays.

Nothing is skewed. In a map whose pixels stand in one line, the diagonal that goes down to the left is a slice with
step W - 1, the mirrored one a slice with step W + 1. What the pixels of diagonal t need is, for both directions,

    Z[t] = [h above; h beside; x; 1]        (2, K, P), K = 2h + C + 1, its P = L n columns ordered by row, then example

so that one batched product with M (2, 4h, K) gives all gates, two more all gradients. The state that the next diagonal
will ask for is kept by row, (2, h, (H + 1) n), behind a row of zeros: what lies above stands n columns before. A row
that has not begun holds the initial state. Workers take shards of the batch.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from minigen.backend import Array, xp
from minigen.ops import lstm_cell


class Diagonal(NamedTuple):
    """Where one diagonal lies: its rows, and for each direction its pixels in the map's line"""

    rows: slice
    pixels: tuple[slice, slice]

    def columns(self, n: int) -> tuple[slice, slice]:
        """The columns of the rows above its own, and of its own, in a state that begins with the row above the map"""
        first, stop = self.rows.start * n, self.rows.stop * n
        return slice(first, stop), slice(first + n, stop + n)


def diagonals(H: int, W: int) -> Iterator[Diagonal]:
    """The H + W - 1 diagonals, from the upper corners on"""
    for t in range(H + W - 1):
        top, bottom = max(0, t - W + 1), min(t, H - 1)
        starts = top * W + t - top, top * W + W - 1 - (t - top)
        left, right = (
            slice(start, start + (bottom - top) * step + 1, step)
            for start, step in zip(starts, (max(1, W - 1), W + 1), strict=True)
        )
        yield Diagonal(slice(top, bottom + 1), (left, right))


class Step:
    """What the backward pass wants to know of a diagonal.

    Z: (2, K, P); G: (2, 4, h, P) the gates; c: (2, h, P) before the step; tanh_c: (2, h, P) after it
    """

    def __init__(self, where: Diagonal, K: int, h: int, n: int, dtype: Any):
        P = (where.rows.stop - where.rows.start) * n
        self.where = where
        self.Z, self.G = xp.empty((2, K, P), dtype), xp.empty((2, 4, h, P), dtype)
        self.c, self.tanh_c = xp.empty((2, h, P), dtype), xp.empty((2, h, P), dtype)


class Shard:
    """The examples a:z of a batch, and what was seen on each diagonal"""

    def __init__(self, a: int, z: int):
        self.here, self.n = slice(a, z), z - a
        self.steps: list[Step] = []


def forward(x: Array, h0: Array, c0: Array, W_x: Array, W_h: Array, b: Array) -> tuple[Array, Any]:
    """The output of `ops.diagonal_bilstm`, (N, h, H, W), and what its backward pass wants: M, (H, W), the shards."""
    (N, C, H, W), h = x.shape, h0.shape[1]
    M = xp.empty((2, 4 * h, 2 * h + C + 1), xp.result_type(x, h0, c0, W_x, W_h, b))
    M[:, :, :h], M[:, :, h : 2 * h] = W_h[:, :, :, 0, 0], W_h[:, :, :, 1, 0]
    M[:, :, 2 * h : -1], M[:, :, -1] = W_x[:, :, :, 0, 0], b
    M[:, : 3 * h] *= -1.0
    both = xp.empty((2, N, H * W, h), M.dtype)
    shards = [Shard(a, z) for a, z in lstm_cell.cut(N, min(H, W), M.size * N * H * W / max(1, H + W - 1))]
    lstm_cell.each(_forward, shards, _line(x), h0, c0, M, (H, W), both)
    y, right = both
    y[:, W:] += right[:, : H * W - W]
    return y.reshape(N, H, W, h).transpose(0, 3, 1, 2), (M, (H, W), shards)


def _line(x: Array) -> Array:
    """(N, C, H, W) -> (N, H W, C): a map's pixels in one line; no copy if its channels are last in memory"""
    N, C, H, W = x.shape
    return x.transpose(0, 2, 3, 1).reshape(N, H * W, C)


def _forward(s: Shard, x: Array, h0: Array, c0: Array, M: Array, size: tuple[int, int], both: Array) -> None:
    """Carry a shard over all diagonals; its part of `both`, (2, N, H W, h), is written. x: (N, H W, C)"""
    (H, W), n, h = size, s.n, h0.shape[1]
    x, both = x[s.here], both[:, s.here]
    state, c = xp.zeros((2, h, (H + 1) * n), M.dtype), xp.empty((2, h, H * n), M.dtype)
    state[:, :, n:], c[...] = h0[:, :, None], c0[:, :, None]
    for where in diagonals(H, W):
        step = Step(where, M.shape[2], h, n, M.dtype)
        Z, (above, beside) = step.Z, where.columns(n)
        Z[:, :h], Z[:, h : 2 * h], Z[:, -1] = state[:, :, above], state[:, :, beside], 1.0
        for d, pixels in enumerate(where.pixels):
            seen = x[:, pixels].transpose(2, 1, 0)  # (C, L, n)
            Z[d, 2 * h : -1].reshape(seen.shape)[...] = seen
        xp.matmul(M, Z, out=step.G.reshape(2, 4 * h, Z.shape[2]))
        step.c[...] = c[:, :, above]
        lstm_cell.forward(step.G, c[:, :, above], step.tanh_c, state[:, :, beside])
        for d, pixels in enumerate(where.pixels):
            out = both[d, :, pixels].transpose(2, 1, 0)  # (h, L, n)
            out[...] = state[d, :, beside].reshape(out.shape)
        s.steps.append(step)


class Backward:
    """The gradients, given g, that of the output. Whichever is asked for first makes them all."""

    def __init__(self, g: Array, saved: Any):
        self.g, (self.M, self.size, self.shards) = g, saved
        self._made: Any = None

    def all(self) -> tuple[Array, Array, Array, Array]:
        """gx (N, H W, C); and summed over the batch those of M (2, 4h, K), h0 (2, h) and c0 (2, h)"""
        if self._made is None:
            (N, h, H, W), M = self.g.shape, self.M
            g = xp.zeros((2, N, H * W, h), M.dtype)
            g[0] = _line(self.g)
            g[1, :, : H * W - W] = g[0, :, W:]
            gx = xp.empty((2, N, H * W, M.shape[2] - 1 - 2 * h), M.dtype)
            upward = xp.ascontiguousarray(M[:, :, :-1].swapaxes(1, 2))
            parts = lstm_cell.each(_backward, self.shards, g, upward, self.size, gx)
            gM, gh0, gc0 = lstm_cell.total(parts)
            gM[:, : 3 * h] *= -1.0
            gx[0] += gx[1]
            self._made = gx[0], gM, gh0, gc0
        return self._made

    def of_x(self) -> Array:
        """(N, C, H, W)"""
        gx = self.all()[0]
        return gx.reshape(len(gx), *self.size, gx.shape[2]).transpose(0, 3, 1, 2)

    def of_h0(self) -> Array:
        """(2, h)"""
        return self.all()[2]

    def of_c0(self) -> Array:
        """(2, h)"""
        return self.all()[3]

    def of_W_x(self) -> Array:
        """(2, 4h, C, 1, 1)"""
        h = self.g.shape[1]
        return self.all()[1][:, :, 2 * h : -1, None, None]

    def of_W_h(self) -> Array:
        """(2, 4h, h, 2, 1)"""
        h, gM = self.g.shape[1], self.all()[1]
        return xp.stack((gM[:, :, :h], gM[:, :, h : 2 * h]), axis=3)[..., None]

    def of_b(self) -> Array:
        """(2, 4h)"""
        return self.all()[1][:, :, -1]


def _backward(
    s: Shard, g: Array, upward: Array, size: tuple[int, int], gx: Array
) -> tuple[Array, Array, Array]:
    """Carry the gradient of a shard back over the diagonals. Its part of gx is written; the others are returned.

    g: (2, N, H W, h); upward: (2, K - 1, 4h); gx: (2, N, H W, C)
    """
    n, h = s.n, g.shape[3]
    H = size[0]
    g, gx, dtype = g[:, s.here], gx[:, s.here], upward.dtype
    gM = xp.zeros((2, 4 * h, upward.shape[1] + 1), dtype)
    dstate, dc = xp.zeros((2, h, (H + 1) * n), dtype), xp.zeros((2, h, H * n), dtype)
    for step in reversed(s.steps):
        P, (above, beside) = step.Z.shape[2], step.where.columns(n)
        dh, dG, spare = dstate[:, :, beside], xp.empty(step.G.shape, dtype), xp.empty(step.G.shape, dtype)
        for d, pixels in enumerate(step.where.pixels):
            from_above = g[d, :, pixels].transpose(2, 1, 0)  # (h, L, n)
            dh[d].reshape(from_above.shape)[...] += from_above
        lstm_cell.backward(dh, dc[:, :, above], step.G, step.c, step.tanh_c, dG, spare)
        da = dG.reshape(2, 4 * h, P)
        gM += xp.matmul(da, step.Z.swapaxes(1, 2))
        dZ = xp.matmul(upward, da)  # (2, K - 1, P)
        dh[...] = dZ[:, h : 2 * h]
        dstate[:, :, above] += dZ[:, :h]
        for d, pixels in enumerate(step.where.pixels):
            out = gx[d, :, pixels].transpose(2, 1, 0)  # (C, L, n)
            out[...] = dZ[d, 2 * h :].reshape(out.shape)
    return gM, dstate[:, :, n:].reshape(2, h, H * n).sum(axis=2), dc.sum(axis=2)
