"""The three maps of convolution on NumPy arrays: products of matrices, a chunk of places at a time.

Three things make them fast, besides columns that stay in cache (minigen.ops.conv_columns):

- Channels last. A row of the kernel is then one stretch of memory, and columns are copied in a few long moves. Maps
  stay so in memory from layer to layer; what callers see is their (N, C, H, W) view.
- Workers (minigen.workers) work on one part of the batch after the other, whoever is free on the next.
- A transposed convolution is several ordinary ones side by side: minigen.ops.conv_phases.
"""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from minigen import workers
from minigen.ops.conv_columns import (
    FEW_CHANNELS,
    Window,
    blocks,
    chunks,
    from_kernel_rows,
    kernel_rows,
    product,
    rows_of,
)
from minigen.ops.conv_phases import Work, fill_by_phases, fold
from minigen.ops.geometry import Geometry, Pair

# In multiplications: with fewer, waking another thread costs more than it saves, and with smaller ranges of images two
# threads wait for the interpreter more than they work (decision 11).
WORTH_SHARING = WORTH_A_RANGE = 1 << 24
RANGES = 2  # for each worker at most: a worker that starts late, or is held up, does fewer of them
ENOUGH_PLACES = 1024  # of a range of `weight`: to add its sum to the others costs as much as a few hundred


def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geo: Geometry) -> np.ndarray:
    """x (N, C, H, W), w (F, C, kh, kw), b (F,) or None -> y (N, F, H', W')"""
    size, f, dtype = geo.output_size(x.shape[2:]), w.shape[0], np.result_type(x, w)
    window, matrix, bias = _forward_window(geo, size), _matrix(w, geo, dtype), _line(b, size[1], dtype)
    y = np.empty((len(x), *size, f), dtype)

    def work(ranges: Iterable[Pair]) -> None:
        for part, columns in chunks(x, window, ranges, dtype, f):
            out = y[part]
            product(columns, matrix, out=out.reshape(-1, f))
            if bias is not None:
                out = out.reshape(-1, len(bias))
                np.add(out, bias, out=out)

    _share(len(x), y.size * len(matrix), work)
    return y.transpose(0, 3, 1, 2)


def weight(x: np.ndarray, g: np.ndarray, geo: Geometry) -> np.ndarray:
    """x (N, C, H, W), g (N, F, H', W') -> w (F, C, kh, kw), zero at taps that are not visible"""
    c, f, dtype = x.shape[1], g.shape[1], np.result_type(x, g)
    window, seen = _forward_window(geo, g.shape[2:]), len(geo.taps) * c
    sums: dict[int, np.ndarray] = {}  # of each range: the same ranges give the same bits, whoever did them

    def work(ranges: Iterable[Pair]) -> None:
        product, begun = np.empty((f, seen), dtype), [(0, 0)]

        def noted() -> Iterator[Pair]:
            for one in ranges:
                begun[0] = one
                yield one

        for part, columns in chunks(x, window, noted(), dtype, f):
            first = begun[0][0]
            if first in sums:
                sums[first] += np.matmul(rows_of(g, part, dtype).T, columns, out=product)
            else:
                sums[first] = np.matmul(rows_of(g, part, dtype).T, columns)

    images = -(-ENOUGH_PLACES // max(1, math.prod(g.shape[2:])))
    _share(len(x), g.size * seen, work, least=images)
    total = np.zeros((f, seen), dtype) if not sums else sums.pop(min(sums))
    for start in sorted(sums):
        total += sums[start]
    return from_kernel_rows(total.reshape(f, len(geo.taps), c), geo.taps, geo.kernel)


def transposed(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geo: Geometry, size: Pair) -> np.ndarray:
    """g (N, F, H', W'), w (F, C, kh, kw), b (C,) or None -> x (N, C, *size)"""
    c, dtype = w.shape[1], np.result_type(g, w)
    x = np.empty((len(g), *size, c), dtype)
    fill = fold if c <= FEW_CHANNELS else fill_by_phases
    _share(len(g), g.size * len(geo.taps) * c, *fill(x, g, w.astype(dtype, copy=False), b, geo))
    return x.transpose(0, 3, 1, 2)


def _share(n: int, multiplications: int, *works: Work, least: int = 1) -> None:
    """Do each of `works` for all n images: alone, or every worker with ranges of them, as long as there are any.

    least: images of a range, where there are that many.
    """
    parts = workers.count() if multiplications > WORTH_SHARING else 1
    for_each = min(RANGES, n // (parts * least), multiplications // (parts * WORTH_A_RANGE))
    ranges = workers.split(n, parts * max(1, for_each)) if parts > 1 else [(0, n)]
    left = [iter(ranges) for _ in works]  # the interpreter gives each range to one worker only

    def task() -> None:
        for work, mine in zip(works, left, strict=True):
            work(mine)

    workers.run([task] * parts)


@lru_cache(maxsize=1024)
def _forward_window(geo: Geometry, size: Pair) -> Window:
    return Window(geo.stride, size, blocks(geo.taps, geo.dilation, (-geo.padding[0], -geo.padding[1])))


def _matrix(w: np.ndarray, geo: Geometry, dtype: Any) -> np.ndarray:
    """(F, C, kh, kw) -> (taps * C, F)"""
    return kernel_rows(w, geo.taps, dtype).reshape(len(w), -1).T


def _line(b: np.ndarray | None, width: int, dtype: Any) -> np.ndarray | None:
    """The bias repeated for a row of the map: adding long rows costs a third of adding short ones"""
    return None if b is None else np.tile(b.astype(dtype, copy=False), width)
