"""Transposed convolution on NumPy arrays, in two ways.

By phases: output row i = s k + q (s the stride, p the padding, d the dilation) sees row k + (q + p - a d) / s of g
through every tap a for which that is whole. So the rows of one q, and likewise the columns, are an ordinary
convolution of g with stride 1 and some of the taps; nothing is multiplied by inserted zeros, nothing is added twice.

By folding: one product gives what each place of g adds to each tap's place of x, and these are added up. For maps of
few channels, where a phase's product would be only a few columns wide.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from minigen import workers
from minigen.ops import conv_columns
from minigen.ops.conv_columns import Window, blocks, chunks, kernel_rows, product, rows_of
from minigen.ops.geometry import Geometry, Pair

Work = Callable[[Iterable[Pair]], None]  # does ranges (first, last) of the images, taken when they are needed


class Row(NamedTuple):
    """The output rows of one phase q, and one or several phases of columns that lie next to each other.

    Window place (i, j) is output row (i + shift) stride + q and, for each of its column phases m in turn, output column
    j stride + first + m. `taps[m]` lists that phase's taps in the order of the window's offsets.
    """

    q: int
    shift: int
    first: int
    taps: tuple[tuple[Pair, ...], ...]


class Phase(NamedTuple):
    """Phases that see g through one and the same window, up to a shift: its columns are made once for all."""

    window: Window
    rows: tuple[Row, ...]


def fill_by_phases(
    x: np.ndarray, g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geo: Geometry
) -> list[Work]:
    """The works, one for each phase, that fill x (N, H, W, C) from g (N, F, H', W') and w (F, C, kh, kw)"""
    c, found = x.shape[3], phases(geo, x.shape[1:3])
    rows = kernel_rows(w, geo.taps, w.dtype)
    matrices = [[_matrix(rows, geo.taps, row) for row in phase.rows] for phase in found]
    if sum(len(row.taps) for phase in found for row in phase.rows) < math.prod(geo.stride):
        x[...] = 0 if b is None else b  # some places see no tap at all
    bias = None if b is None else np.tile(b.astype(x.dtype, copy=False), x.shape[2])
    straight = geo.stride == (1, 1)  # one phase: the product is the output

    def work(phase: Phase, of_rows: list[np.ndarray], ranges: Iterable[Pair]) -> None:
        width = max(m.shape[1] for m in of_rows)
        for part, columns in chunks(g, phase.window, ranges, x.dtype, width):
            for row, matrix in zip(phase.rows, of_rows, strict=True):
                shape = (len(columns), matrix.shape[1])
                out = x[part].reshape(shape) if straight else workers.scratch("product", shape, x.dtype)
                product(columns, matrix, out=out)
                if bias is not None:
                    _add_line(out, bias, phase.window.size[1] * len(row.taps) * c)
                if not straight:
                    _place(out, x, part, phase.window, row, geo.stride)

    return [partial(work, phase, of_rows) for phase, of_rows in zip(found, matrices, strict=True)]


def _add_line(out: np.ndarray, bias: np.ndarray, length: int) -> None:
    """Add a bias, repeated along rows of the map: long rows are added three times as fast as short ones"""
    line = bias[:length] if length <= bias.size else np.resize(bias, length)
    lines = out.reshape(-1, length)
    np.add(lines, line, out=lines)


def _place(
    values: np.ndarray, x: np.ndarray, part: tuple[slice, slice], window: Window, row: Row, stride: Pair
) -> None:
    """values (places, phases * C) -> its rows and columns of x (N, H, W, C); what lies outside is dropped"""
    images, rows = part
    step, c = len(row.taps), x.shape[3]
    maps = values.reshape(images.stop - images.start, -1, window.size[1] * step, c)
    target = x[images, row.q :: stride[0]]
    top, bottom = max(0, rows.start + row.shift), min(target.shape[1], rows.stop + row.shift)
    if step == stride[1]:  # all phases of columns: whole lines of x
        left, right = max(0, row.first), min(x.shape[2], row.first + maps.shape[2])
        skipped, target = left - row.first, target[:, :, left:right]
    else:
        skipped = max(0, -(row.first // stride[1]))
        target = target[:, :, row.first + skipped * stride[1] :: stride[1]][:, :, : maps.shape[2] - skipped]
    if bottom > top:
        above = rows.start + row.shift
        target[:, top:bottom] = maps[:, top - above : bottom - above, skipped : skipped + target.shape[2]]


@lru_cache(maxsize=1024)
def phases(geo: Geometry, size: Pair) -> tuple[Phase, ...]:
    """The ordinary convolutions over g that together make the transposed one."""
    shapes: dict[tuple, list] = {}  # the offsets that a phase sees, less the first -> the phases
    for qy in range(min(geo.stride[0], size[0])):
        for qx in range(min(geo.stride[1], size[1])):
            seen = _seen_by(geo, (qy, qx))
            if seen:
                corner = min(o[0] for o in seen), min(o[1] for o in seen)
                shape = tuple(sorted((y - corner[0], x - corner[1]) for y, x in seen))
                taps = tuple(seen[corner[0] + y, corner[1] + x] for y, x in shape)
                shapes.setdefault(shape, []).append(((qy, qx), corner, taps))
    return tuple(_phase(geo, size, shape, members) for shape, members in shapes.items())


def _seen_by(geo: Geometry, q: Pair) -> dict[Pair, Pair]:
    """offset in g -> tap, for the taps that phase q sees"""
    seen = {}
    for tap in geo.taps:
        offset = [q[d] + geo.padding[d] - tap[d] * geo.dilation[d] for d in (0, 1)]
        if offset[0] % geo.stride[0] == 0 and offset[1] % geo.stride[1] == 0:
            seen[offset[0] // geo.stride[0], offset[1] // geo.stride[1]] = tap
    return seen


def _phase(geo: Geometry, size: Pair, shape: tuple[Pair, ...], members: list) -> Phase:
    """members: ((qy, qx), corner, taps): cell (i, j) of phase q sees the offsets (i, j) + corner + shape"""
    first, extent = [], []
    for d in (0, 1):
        first.append(min(corner[d] for _, corner, _ in members))
        cells = [-(-(size[d] - q[d]) // geo.stride[d]) + corner[d] for q, corner, _ in members]
        extent.append(max(cells) - first[d])
    lines: dict[tuple, list] = {}
    for q, corner, taps in members:
        column = q[1] + geo.stride[1] * (first[1] - corner[1])
        lines.setdefault((q[0], first[0] - corner[0]), []).append((column, taps))
    rows = []
    for (q, shift), columns in lines.items():
        columns.sort()
        if [c - columns[0][0] for c, _ in columns] == list(range(geo.stride[1])):
            rows.append(Row(q, shift, columns[0][0], tuple(taps for _, taps in columns)))
        else:
            rows.extend(Row(q, shift, column, (taps,)) for column, taps in columns)
    window = Window((1, 1), (extent[0], extent[1]), blocks(shape, (1, 1), (first[0], first[1])))
    return Phase(window, tuple(rows))


def _matrix(rows: np.ndarray, taps: tuple[Pair, ...], row: Row) -> np.ndarray:
    """kernel_rows (F, all taps, C) -> (taps * F, phases * C)"""
    f, _, c = rows.shape
    matrix = np.empty((len(row.taps[0]), f, len(row.taps), c), rows.dtype)
    for m, seen in enumerate(row.taps):
        for t, tap in enumerate(seen):
            matrix[t, :, m] = rows[:, taps.index(tap)]
    return matrix.reshape(-1, len(row.taps) * c)


def fold(x: np.ndarray, g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geo: Geometry) -> list[Work]:
    """The work that fills x (N, H, W, C) from g (N, F, H', W') and w (F, C, kh, kw), for few channels C"""
    c, t, (h, width), (ph, pw) = x.shape[3], len(geo.taps), x.shape[1:3], geo.padding
    places = g.shape[2] * g.shape[3]
    matrix = kernel_rows(w, geo.taps, w.dtype).reshape(len(w), t * c).T
    images = max(1, conv_columns.CHUNK_BYTES // max(1, places * (t * c + g.shape[1]) * x.itemsize))

    def work(ranges: Iterable[Pair]) -> None:
        pieces = ((n, min(n + images, last)) for first, last in ranges for n in range(first, last, images))
        for part in (slice(*piece) for piece in pieces):
            rows = rows_of(g, (part, slice(None)), x.dtype)  # (places, F)
            added = workers.scratch("product", (t * c, len(rows)), x.dtype)
            np.matmul(matrix, rows.T, out=added)
            maps = added.reshape(t, c, part.stop - part.start, *g.shape[2:])  # (T, C, n, H', W')
            total = workers.scratch("total", (c, maps.shape[2], h + 2 * ph, width + 2 * pw), x.dtype)
            total[...] = 0
            for tap, values in zip(geo.taps, maps, strict=True):
                seen = total[(..., *geo.places(tap, g.shape[2:]))]
                np.add(seen, values, out=seen)
            x[part] = total[:, :, ph : ph + h, pw : pw + width].transpose(1, 2, 3, 0)
            if b is not None:
                x[part] += b

    return [work]
