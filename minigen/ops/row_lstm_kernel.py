"""The numbers behind `ops.row_lstm`: forward, and backpropagation through the rows, on raw arrays.

Inside, a row of all examples is a matrix of features by places, its P = W n columns ordered by pixel, then example.
To look one pixel to the left is then to shift by n columns: taps are long stretches of memory. What a row needs is

    Z[r] = [h_{r-1} at each tap of W_h; x_r at each visible tap of W_x; 1]         (K, P)

so that one product with M (4h, K) gives all gates, two more all gradients. As in minigen.ops.lstm_kernel a worker
carries its shard of the batch through all rows, every operand of a product in its own cache.
"""

from typing import Any, NamedTuple

from minigen.backend import Array, xp
from minigen.ops import lstm_cell


class Taps(NamedTuple):
    """The rows of Z in which some maps (channels, P) stand, once for each offset along the row."""

    first: int
    channels: int
    offsets: range

    @property
    def end(self) -> int:
        return self.first + self.channels * len(self.offsets)

    @property
    def middle(self) -> slice:
        """The rows of the tap without an offset, where a map is written first"""
        first = self.first - self.offsets.start * self.channels
        return slice(first, first + self.channels)

    def shifts(self, W: int, n: int) -> list[tuple[slice, slice, slice]]:
        """For every other tap: its rows, its columns that see a pixel, and the columns of the pixels they see"""
        found = []
        for k, d in enumerate(self.offsets):
            seen = max(0, W - abs(d)) * n
            first = self.first + k * self.channels
            here, there = min(W, max(0, -d)) * n, min(W, max(0, d)) * n
            if d:
                rows = slice(first, first + self.channels)
                found.append((rows, slice(here, here + seen), slice(there, there + seen)))
        return found


class Plan(NamedTuple):
    """Sizes, and where things stand in Z"""

    size: tuple[int, int]  # H, W
    h: int
    above: Taps  # h of the row above
    own: Taps  # x of the row itself

    @property
    def K(self) -> int:
        return self.own.end + 1


class Shard:
    """The examples a:z of a batch, and what the backward pass wants to know of them.

    Z: (H + 1, K, P), the last only for its h; G: (H, 4, h, P) the gates; C: (H + 1, h, P), tanh_C: (H, h, P)
    """

    def __init__(self, a: int, z: int, plan: Plan, dtype: Any):
        (H, W), h, n = plan.size, plan.h, z - a
        self.here, self.n = slice(a, z), n
        self.Z = xp.empty((H + 1, plan.K, W * n), dtype)
        self.G = xp.empty((H, 4, h, W * n), dtype)
        self.C = xp.empty((H + 1, h, W * n), dtype)
        self.tanh_C = xp.empty((H, h, W * n), dtype)
        self.shifts_h, self.shifts_x = plan.above.shifts(W, n), plan.own.shifts(W, n)


def forward(x: Array, h0: Array, c0: Array, W_x: Array, W_h: Array, b: Array) -> tuple[Array, Any]:
    """The output of `ops.row_lstm`, (N, h, H, W), and what its backward pass wants: plan, M and the shards."""
    (N, C, H, W), h = x.shape, len(h0)
    k, k_above = W_x.shape[3], W_h.shape[3]
    above = Taps(0, h, range(-(k_above // 2), k_above // 2 + 1))
    plan = Plan((H, W), h, above, Taps(above.end, C, range(-(k // 2), 1)))
    M = xp.empty((4 * h, plan.K), xp.result_type(x, h0, c0, W_x, W_h, b))
    M[:, : above.end] = W_h[:, :, 0].swapaxes(1, 2).reshape(4 * h, -1)
    M[:, above.end : -1] = W_x[:, :, 0, : k // 2 + 1].swapaxes(1, 2).reshape(4 * h, -1)
    M[:, -1] = b
    M[: 3 * h] *= -1.0
    y = xp.empty((N, H, W, h), M.dtype)
    shards = [Shard(a, z, plan, M.dtype) for a, z in lstm_cell.cut(N, W, M.size * N * W)]
    lstm_cell.each(_forward, shards, x.transpose(2, 1, 3, 0), h0, c0, M, plan, y.transpose(1, 3, 2, 0))
    return y.transpose(0, 3, 1, 2), (plan, M, shards)


def _forward(s: Shard, x: Array, h0: Array, c0: Array, M: Array, plan: Plan, y: Array) -> None:
    """Carry a shard through all rows. x: (H, C, W, N); y: (H, h, W, N), of which the shard's places are written"""
    Z, own, above = s.Z, plan.own.middle, plan.above.middle
    H, _, h, P = s.G.shape
    row, maps = (h, plan.size[1], s.n), (plan.own.channels, plan.size[1], s.n)
    for rows, here, _ in s.shifts_h + s.shifts_x:
        Z[:, rows, : here.start] = Z[:, rows, here.stop :] = 0.0
    Z[:, -1] = 1.0
    Z[0, above], s.C[0] = h0[:, None], c0[:, None]
    for r in range(H):
        Z[r, own].reshape(maps)[...] = x[r, :, :, s.here]
        for rows, here, there in s.shifts_x:
            Z[r, rows, here] = Z[r, own, there]
        for rows, here, there in s.shifts_h:
            Z[r, rows, here] = Z[r, above, there]
        xp.matmul(M, Z[r], out=s.G[r].reshape(4 * h, P))
        s.C[r + 1] = s.C[r]
        lstm_cell.forward(s.G[r], s.C[r + 1], s.tanh_C[r], Z[r + 1, above])
        y[r, :, :, s.here] = Z[r + 1, above].reshape(row)


class Backward:
    """The gradients, given g, that of the output. Whichever is asked for first makes them all."""

    def __init__(self, g: Array, saved: Any):
        self.g, (self.plan, self.M, self.shards) = g, saved
        self._made: Any = None

    def all(self) -> tuple[Array, Array, Array, Array]:
        """gx (N, H, W, C); and summed over the batch those of M (4h, K), h0 (h,) and c0 (h,)"""
        if self._made is None:
            (N, _, H, W), plan, M = self.g.shape, self.plan, self.M
            gx = xp.empty((N, H, W, plan.own.channels), M.dtype)
            upward = xp.ascontiguousarray(M[:, :-1].T)
            args = self.g.transpose(2, 1, 3, 0), upward, plan, gx.transpose(1, 3, 2, 0)
            gM, gh0, gc0 = lstm_cell.total(lstm_cell.each(_backward, self.shards, *args))
            gM[: 3 * plan.h] *= -1.0
            self._made = gx, gM, gh0, gc0
        return self._made

    def of_x(self) -> Array:
        """(N, C, H, W)"""
        return self.all()[0].transpose(0, 3, 1, 2)

    def of_h0(self) -> Array:
        """(h,)"""
        return self.all()[2]

    def of_c0(self) -> Array:
        """(h,)"""
        return self.all()[3]

    def of_b(self) -> Array:
        """(4h,)"""
        return self.all()[1][:, -1]

    def of_W_h(self) -> Array:
        """(4h, h, 1, k')"""
        return _kernel(self.all()[1], self.plan.above)

    def of_W_x(self) -> Array:
        """(4h, C, 1, k), zero at the taps that are not visible"""
        visible = _kernel(self.all()[1], self.plan.own)
        return xp.pad(visible, ((0, 0), (0, 0), (0, 0), (0, visible.shape[3] - 1)))


def _kernel(gM: Array, taps: Taps) -> Array:
    """(4h, K) -> (4h, channels, 1, taps)"""
    part = gM[:, taps.first : taps.end].reshape(len(gM), len(taps.offsets), taps.channels)
    return part.swapaxes(1, 2)[:, :, None]


def _backward(s: Shard, g: Array, upward: Array, plan: Plan, gx: Array) -> tuple[Array, Array, Array]:
    """Carry the gradient of a shard back through the rows. Its places of gx are written; the others are returned.

    g: (H, h, W, N); upward: (K - 1, 4h); gx: (H, C, W, N)
    """
    H, _, h, P = s.G.shape
    own, above = plan.own.middle, plan.above.middle
    row, maps, dtype = (h, plan.size[1], s.n), (plan.own.channels, plan.size[1], s.n), upward.dtype
    gM, part = xp.zeros((4 * h, plan.K), dtype), xp.empty((4 * h, plan.K), dtype)
    dZ, dG, spare = xp.zeros((plan.K - 1, P), dtype), xp.empty((4, h, P), dtype), xp.empty((4, h, P), dtype)
    dh, dc = dZ[above], xp.zeros((h, P), dtype)
    for r in reversed(range(H)):
        dh.reshape(row)[...] += g[r, :, :, s.here]
        lstm_cell.backward(dh, dc, s.G[r], s.C[r], s.tanh_C[r], dG, spare)
        da = dG.reshape(4 * h, P)
        xp.matmul(da, s.Z[r].T, out=part)
        gM += part
        xp.matmul(upward, da, out=dZ)
        for rows, here, there in s.shifts_h:
            dZ[above, there] += dZ[rows, here]
        for rows, here, there in s.shifts_x:
            dZ[own, there] += dZ[rows, here]
        gx[r, :, :, s.here] = dZ[own].reshape(maps)
    return gM, dh.sum(axis=1), dc.sum(axis=1)
