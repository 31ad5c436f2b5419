"""The three maps of convolution on NumPy arrays, arranged for the caches.

Each is a product of matrices with a row for every place and a column for every tap and channel. Made at once for a
whole batch, those columns are many times the input and the product waits for memory (measured: 41-59 GFLOP/s instead
of 95). So they are made for a chunk of places that stays in the L2 cache, in a buffer that is used again, and
multiplied at once. Three more things pay:

- Channels last. A row of the kernel is then one stretch of memory, and a column block is copied in a few long moves.
  Maps stay so in memory from layer to layer; what callers see is their (N, C, H, W) view.
- Workers (minigen.workers) take a share of the batch each.
- A transposed convolution with stride s is s x s ordinary ones ("phases": output places that see the same taps).
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minigen import workers
from minigen.ops.geometry import Geometry, Pair

CHUNK_BYTES = 400_000  # columns and products of a chunk; with the weights they share an L2 of 512 kB or more
FEW_CHANNELS = 4  # see `Sheet._by_tap`
WORTH_SHARING = 1 << 22  # multiplications; below, waking another thread costs more than it saves


class Block(NamedTuple):
    """Taps in a regular grid: the offset of the first (in the source), the steps between them, how many of them."""

    start: Pair
    step: Pair
    number: Pair


class Window(NamedTuple):
    """Place (i, j) of the result sees the source at (i, j) * stride + offset, for the offsets in `blocks`."""

    stride: Pair
    size: Pair  # of the result
    blocks: tuple[Block, ...]

    @property
    def taps(self) -> int:
        return sum(b.number[0] * b.number[1] for b in self.blocks)

    def frame(self, source: Pair) -> tuple[Pair, Pair]:
        """(rows above, columns left) of zeros that the source needs around it, and its height and width with all."""
        before, full = [], []
        for d in (0, 1):
            first = min([0, *(b.start[d] for b in self.blocks)])
            last = max([0, *(b.start[d] + b.step[d] * (b.number[d] - 1) for b in self.blocks)])
            before.append(-first)
            full.append(max(source[d], last + self.stride[d] * (self.size[d] - 1) + 1) - first)
        return (before[0], before[1]), (full[0], full[1])


def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geo: Geometry) -> np.ndarray:
    """x (N, C, H, W), w (F, C, kh, kw), b (F,) or None -> y (N, F, H', W')"""
    size, dtype = geo.output_size(x.shape[2:]), np.result_type(x, w)
    window, matrix = _forward_window(geo, size), _matrix(w, geo.taps, dtype)
    y = np.empty((len(x), *size, w.shape[0]), dtype)

    def work(first: int, last: int) -> None:
        for part, columns in chunks(x, window, first, last, dtype, matrix.shape[1]):
            out = y[part].reshape(-1, matrix.shape[1])
            np.matmul(columns, matrix, out=out)
            if b is not None:
                out += b

    _share(len(x), y.size * matrix.shape[0], work)
    return y.transpose(0, 3, 1, 2)


def weight(x: np.ndarray, g: np.ndarray, geo: Geometry) -> np.ndarray:
    """x (N, C, H, W), g (N, F, H', W') -> w (F, C, kh, kw), zero at taps that are not visible"""
    c, f, dtype = x.shape[1], g.shape[1], np.result_type(x, g)
    window, rows = _forward_window(geo, g.shape[2:]), len(geo.taps) * c
    sums = []

    def work(first: int, last: int) -> None:
        total = np.zeros((rows, f), dtype)
        sums.append((first, total))
        product = np.empty((rows, f), dtype)
        for part, columns in chunks(x, window, first, last, dtype, f):
            np.matmul(columns.T, _rows(g, part, dtype), out=product)
            np.add(total, product, out=total)

    _share(len(x), g.size * rows, work)
    total = sum((t for _, t in sorted(sums, key=lambda s: s[0])), start=np.zeros((rows, f), dtype))
    full = np.zeros((f, c, *geo.kernel), dtype)
    for t, (a, b) in enumerate(geo.taps):
        full[:, :, a, b] = total[t * c : (t + 1) * c].T
    return full


def transposed(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geo: Geometry, size: Pair) -> np.ndarray:
    """g (N, F, H', W'), w (F, C, kh, kw), b (C,) or None -> x (N, C, *size)"""
    c, dtype = w.shape[1], np.result_type(g, w)
    x = np.empty((len(g), *size, c), dtype)
    jobs = [(phase, _phase_matrix(w, phase, dtype)) for phase in phases(geo, size)]
    if sum(len(phase.members) for phase, _ in jobs) < math.prod(geo.stride):  # some places see no tap at all
        x[...] = 0 if b is None else b

    def work(first: int, last: int) -> None:
        for phase, matrix in jobs:
            for part, columns in chunks(g, phase.window, first, last, dtype, matrix.shape[1]):
                out = workers.scratch("product", (columns.shape[0], matrix.shape[1]), dtype)
                np.matmul(columns, matrix, out=out)
                if b is not None:
                    out += np.tile(b, len(phase.members))
                _place(out, x, part, phase, geo.stride)

    _share(len(g), g.size * len(geo.taps) * c, work)
    return x.transpose(0, 3, 1, 2)


def _share(n: int, multiplications: int, work: Any) -> None:
    parts = workers.count() if multiplications > WORTH_SHARING else 1
    workers.share(n, work, parts)


# Columns


def chunks(
    x: np.ndarray, window: Window, first: int, last: int, dtype: Any, width: int
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Images first..last of x (N, C, H, W) -> ((images, rows), columns): the result's places, a chunk at a time.

    columns: (places, taps * channels), in a buffer that the next chunk overwrites. width: columns of the product.
    """
    maps, c = x.transpose(0, 2, 3, 1), x.shape[1]
    row_bytes = window.size[1] * (window.taps * c + width) * np.dtype(dtype).itemsize
    fit = max(1, CHUNK_BYTES // max(1, row_bytes))  # rows of the result
    images = _even(last - first, max(1, fit // window.size[0]))
    if _is_identity(window, maps) and maps.dtype == dtype and maps[first:last].flags.c_contiguous:
        for n in range(first, last, images):  # 1x1 kernels: the maps are the columns
            part = slice(n, min(n + images, last)), slice(0, window.size[0])
            yield part, maps[part[0]].reshape(-1, c)
        return
    rows = _even(window.size[0], fit) if images == 1 else window.size[0]
    sheet: Sheet | None = None
    for n in range(first, last, images):
        stop = min(n + images, last)
        if sheet is None or sheet.inside.shape[0] != stop - n:
            sheet = Sheet(maps[n:stop], window, rows, dtype)
        np.copyto(sheet.inside, maps[n:stop])
        for part, columns, copies in sheet.pieces:
            for target, seen in copies:
                np.copyto(target, seen)
            yield (slice(n, stop), part), columns


def _even(n: int, most: int) -> int:
    """The size of pieces of at most `most` that divide n into as few, and as equal, as possible."""
    return -(-n // -(-n // most)) if n else 1


def _is_identity(window: Window, maps: np.ndarray) -> bool:
    """Whether place (i, j) of the result sees place (i, j) of the source and nothing else."""
    (block, *others) = window.blocks or (None,)
    alone = block is not None and not others and block.start == (0, 0) and block.number == (1, 1)
    return alone and window.stride == (1, 1) and window.size == maps.shape[1:3]


class Sheet:
    """The buffers in which a worker unfolds maps, and the views of them: made once, used for chunk after chunk.

    inside: (n, H, W, C), where the maps go, with zeros around; pieces: for some rows of the result each, the columns
    (places, taps * C) and the (target, source) pairs that have to be copied to fill them.
    """

    def __init__(self, maps: np.ndarray, window: Window, rows: int, dtype: Any):
        n, h, w, c = maps.shape
        self.window, (self.top, self.left), full = window, *window.frame((h, w))
        self.padded = workers.scratch("padded", (n, *full, c), dtype)
        self.padded[...] = 0
        self.inside = self.padded[:, self.top : self.top + h, self.left : self.left + w]
        places = n * rows * window.size[1]
        buffer = workers.scratch("columns", (places * window.taps * c,), dtype)
        self.pieces = []
        for start in range(0, window.size[0], rows):
            stop = min(start + rows, window.size[0])
            shape = (n, stop - start, window.size[1])
            room = buffer[: math.prod(shape) * window.taps * c]
            by_tap = c <= FEW_CHANNELS
            columns, copies = (self._by_tap if by_tap else self._by_place)(room, shape, start)
            self.pieces.append((slice(start, stop), columns, copies))

    def _by_place(self, room: np.ndarray, shape: tuple, first_row: int) -> tuple[np.ndarray, list]:
        """A row of the kernel is one stretch of memory: copied as it is."""
        c, start, copies = self.padded.shape[3], 0, []
        columns = room.reshape(*shape, self.window.taps, c)
        for block in self.window.blocks:
            stop = start + math.prod(block.number)
            target = columns[:, :, :, start:stop].reshape(*shape, *block.number, c)
            copies.append((target, self._seen(block, shape, first_row)))
            start = stop
        return columns.reshape(math.prod(shape), self.window.taps * c), copies

    def _by_tap(self, room: np.ndarray, shape: tuple, first_row: int) -> tuple[np.ndarray, list]:
        """With few channels that stretch is too short; a row of places, seen through one tap, is longer."""
        c, start, copies = self.padded.shape[3], 0, []
        columns = room.reshape(self.window.taps, c, *shape)
        for block in self.window.blocks:
            stop = start + math.prod(block.number)
            target = columns[start:stop].reshape(*block.number, c, *shape)
            copies.append((target, self._seen(block, shape, first_row).transpose(3, 4, 5, 0, 1, 2)))
            start = stop
        return columns.reshape(self.window.taps * c, math.prod(shape)).T, copies

    def _seen(self, block: Block, shape: tuple, first_row: int) -> np.ndarray:
        """(n, rows, W', *block.number, C): a view of what each place sees through the taps of the block"""
        sn, sh, sw, sc = self.padded.strides
        stride = self.window.stride
        offset = (block.start[0] + self.top + first_row * stride[0]) * sh + (block.start[1] + self.left) * sw
        steps = (sn, stride[0] * sh, stride[1] * sw, block.step[0] * sh, block.step[1] * sw, sc)
        shape = (*shape, *block.number, self.padded.shape[3])
        return np.ndarray(shape, self.padded.dtype, self.padded, offset, steps)


def _rows(g: np.ndarray, part: tuple[slice, slice], dtype: Any) -> np.ndarray:
    """(N, F, H', W') -> (places, F) for the places of the chunk"""
    maps = g.transpose(0, 2, 3, 1)[part]
    if maps.dtype != dtype or not maps.flags.c_contiguous:
        kept = workers.scratch("gradient", maps.shape, dtype)
        np.copyto(kept, maps)
        maps = kept
    return maps.reshape(-1, maps.shape[3])


# Windows


@lru_cache(maxsize=1024)
def _forward_window(geo: Geometry, size: Pair) -> Window:
    return Window(geo.stride, size, blocks(geo.taps, geo.dilation, (-geo.padding[0], -geo.padding[1])))


def blocks(taps: tuple[Pair, ...], step: Pair, start: Pair) -> tuple[Block, ...]:
    """Taps in reading order -> the fewest grids that hold them in this order: all at once, or runs within a row"""

    def place(tap: Pair) -> Pair:
        return start[0] + tap[0] * step[0], start[1] + tap[1] * step[1]

    if not taps:
        return ()
    (a0, b0), (a1, b1) = taps[0], taps[-1]
    if taps == tuple((a, b) for a in range(a0, a1 + 1) for b in range(b0, b1 + 1)):
        return (Block(place(taps[0]), step, (a1 - a0 + 1, b1 - b0 + 1)),)
    runs: list[list[Pair]] = []
    for tap in taps:
        if runs and runs[-1][-1] == (tap[0], tap[1] - 1):
            runs[-1].append(tap)
        else:
            runs.append([tap])
    return tuple(Block(place(run[0]), step, (1, len(run))) for run in runs)


def _matrix(w: np.ndarray, taps: tuple[Pair, ...], dtype: Any) -> np.ndarray:
    """(F, C, kh, kw) -> (taps * C, F)"""
    matrix = np.empty((len(taps), w.shape[1], w.shape[0]), dtype)
    for t, (a, b) in enumerate(taps):
        matrix[t] = w[:, :, a, b].T
    return matrix.reshape(-1, w.shape[0])


# Phases of a transposed convolution


class Phase(NamedTuple):
    """Rows (and columns) q of each s x s cell of the output that see the gradient through one and the same window.

    members: for each q pair its taps, one for each column of the window, and where in the output it begins: the
    window's place (i, j) is the output's cell (i + shift, j + shift).
    """

    window: Window
    members: tuple[tuple[Pair, Pair, tuple[Pair, ...]], ...]  # ((qy, qx), (shift y, shift x), taps)


@lru_cache(maxsize=1024)
def phases(geo: Geometry, size: Pair) -> tuple[Phase, ...]:
    """The ordinary convolutions, with stride 1 over g, that together make the transposed one.

    Output row i = s k + q sees row k + (q + p - a d) / s of g through every tap a for which that is whole. Phases
    whose windows differ by a shift only share one window, and so one product.
    """
    found: dict[tuple, list] = {}
    for qy in range(min(geo.stride[0], size[0])):
        for qx in range(min(geo.stride[1], size[1])):
            seen = _seen_by(geo, (qy, qx))
            if seen:
                corner = min(o[0] for o in seen), min(o[1] for o in seen)
                shape = tuple(sorted((y - corner[0], x - corner[1]) for y, x in seen))
                found.setdefault(shape, []).append(((qy, qx), corner, seen))
    result = []
    for shape, members in found.items():
        cells = [max(-(-(size[d] - m[0][d]) // geo.stride[d]) + m[1][d] for m in members) for d in (0, 1)]
        first = [min(m[1][d] for m in members) for d in (0, 1)]
        extent = (cells[0] - first[0], cells[1] - first[1])
        window = Window((1, 1), extent, blocks(shape, (1, 1), (first[0], first[1])))
        parts = tuple(
            ((q), (first[0] - c[0], first[1] - c[1]), tuple(seen[c[0] + y, c[1] + x] for y, x in shape))
            for q, c, seen in members
        )
        result.append(Phase(window, parts))
    return tuple(result)


def _seen_by(geo: Geometry, q: Pair) -> dict[Pair, Pair]:
    """offset in g -> tap, for the taps that phase q sees"""
    seen = {}
    for tap in geo.taps:
        offset = [q[d] + geo.padding[d] - tap[d] * geo.dilation[d] for d in (0, 1)]
        if offset[0] % geo.stride[0] == 0 and offset[1] % geo.stride[1] == 0:
            seen[offset[0] // geo.stride[0], offset[1] // geo.stride[1]] = tap
    return seen


def _phase_matrix(w: np.ndarray, phase: Phase, dtype: Any) -> np.ndarray:
    """(F, C, kh, kw) -> (taps * F, members * C)"""
    matrix = np.empty((phase.window.taps, w.shape[0], len(phase.members), w.shape[1]), dtype)
    for m, (_, _, taps) in enumerate(phase.members):
        for t, (a, b) in enumerate(taps):
            matrix[t, :, m] = w[:, :, a, b]
    return matrix.reshape(-1, len(phase.members) * w.shape[1])


def _place(product: np.ndarray, x: np.ndarray, part: tuple[slice, slice], phase: Phase, stride: Pair) -> None:
    """Interleave the phases: product (places, members * C) -> x (N, H, W, C)"""
    n, c = part[0].stop - part[0].start, x.shape[3]
    maps = product.reshape(n, -1, phase.window.size[1], len(phase.members), c)
    for m, (q, shift, _) in enumerate(phase.members):
        target = x[part[0], q[0] :: stride[0], q[1] :: stride[1]]
        rows = slice(max(0, part[1].start + shift[0]), min(target.shape[1], part[1].stop + shift[0]))
        columns = slice(max(0, shift[1]), min(target.shape[2], phase.window.size[1] + shift[1]))
        if rows.start < rows.stop and columns.start < columns.stop:
            top, left = part[1].start + shift[0], shift[1]
            target[:, rows, columns] = maps[
                :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, m
            ]
