"""Unfolding, a chunk at a time: what every place of a result sees of its source, side by side in rows of a matrix.

Made at once for a whole batch, those columns are many times the source, and the product that reads them waits for
memory (measured: 41-59 GFLOP/s instead of 95). So they are made for a chunk of places that stays in cache, in buffers
that are used again and again.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigen import workers
from minigen.ops.geometry import Pair

# Columns and products of a chunk. One thread takes as long with 0.6 MB as with 5. Two threads wait for the interpreter
# now and then, each time longer than it is needed for: fewer, larger chunks make a step faster. With 4 MB small layers
# take twice PyTorch's memory (decision 11).
CHUNK_BYTES = 2_000_000
FEW_CHANNELS = 4  # see `Sheet._by_tap`


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


def chunks(
    x: np.ndarray, window: Window, ranges: Iterable[Pair], dtype: Any, width: int
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Images of x (N, C, H, W) -> ((images, rows), columns): the result's places, a chunk at a time.

    ranges: (first, last) of images, taken when they are needed. columns: (places, taps * channels), in a buffer that
    the next chunk overwrites. width: columns of the product.
    """
    maps, c = x.transpose(0, 2, 3, 1), x.shape[1]
    row_bytes = window.size[1] * (window.taps * c + width) * np.dtype(dtype).itemsize
    fit = max(1, CHUNK_BYTES // max(1, row_bytes))  # rows of the result
    as_it_is = _is_identity(window, maps) and maps.dtype == dtype  # 1x1 kernels: the maps are the columns
    sheet: Sheet | None = None
    for first, last in ranges:
        if as_it_is and maps[first:last].flags.c_contiguous:
            yield (slice(first, last), slice(0, window.size[0])), maps[first:last].reshape(-1, c)
            continue
        images = _even(last - first, max(1, fit // window.size[0]))
        for n in range(first, last, images):
            part = slice(n, min(n + images, last))
            if sheet is None or sheet.inside.shape[0] != part.stop - n:
                rows = _even(window.size[0], fit) if images == 1 else window.size[0]
                sheet = Sheet(maps[part], window, rows, dtype)
            np.copyto(sheet.inside, maps[part])
            for piece, columns, copies in sheet.pieces:
                for target, seen in copies:
                    np.copyto(target, seen)
                yield (part, piece), columns


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


def kernel_rows(w: np.ndarray, taps: tuple[Pair, ...], dtype: Any) -> np.ndarray:
    """(F, C, kh, kw) -> (F, taps, C): each kernel in the order of the columns.

    Read kernel by kernel, in the order of memory: tap by tap it takes five times as long, a tenth of a convolution of
    small maps. The product takes its transpose as it is.
    """
    kernels = w.reshape(*w.shape[:2], math.prod(w.shape[2:]))
    return np.ascontiguousarray(kernels[:, :, _positions(taps, w.shape[3])].transpose(0, 2, 1), dtype)


def from_kernel_rows(rows: np.ndarray, taps: tuple[Pair, ...], kernel: Pair) -> np.ndarray:
    """(F, taps, C) -> (F, C, kh, kw), zero at the other taps"""
    f, _, c = rows.shape
    kernels = np.zeros((f, c, math.prod(kernel)), rows.dtype)
    kernels[:, :, _positions(taps, kernel[1])] = rows.transpose(0, 2, 1)
    return kernels.reshape(f, c, *kernel)


def _positions(taps: tuple[Pair, ...], width: int) -> slice | list[int]:
    """Where the taps lie in a kernel laid out in one line; a slice, where they follow one another: it copies faster."""
    found = [a * width + b for a, b in taps]
    consecutive = found == list(range(found[0], found[0] + len(found))) if found else False
    return slice(found[0], found[0] + len(found)) if consecutive else found


def product(columns: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """(places, K) @ (K, width) -> out; for K = 1 as a table of products, eight times as fast as BLAS"""
    np.multiply(columns, matrix, out=out) if len(matrix) == 1 else np.matmul(columns, matrix, out=out)


def rows_of(g: np.ndarray, part: tuple[slice, slice], dtype: Any) -> np.ndarray:
    """(N, F, H', W') -> (places, F) for the places of the chunk"""
    maps = g.transpose(0, 2, 3, 1)[part]  # (n, rows, W', F)
    if maps.dtype != dtype or not maps.flags.c_contiguous:
        kept = workers.scratch("gradient", maps.shape, dtype)
        np.copyto(kept, maps)
        maps = kept
    return maps.reshape(-1, maps.shape[3])
