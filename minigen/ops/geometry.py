"""Where a convolution looks: strides, padding, dilation and visible taps, checked once and shared by every kernel.

One dimension of it: output place i sees input places i * stride + a * dilation - padding, for the taps a of the
kernel; places outside the input are zeros.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minigen.backend import to_host
from minigen.errors import ShapeError

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """All that a convolution needs to know besides its numbers; pairs are (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    taps: tuple[Pair, ...]  # the places of the kernel that are computed, row by row

    @property
    def masked(self) -> bool:
        return len(self.taps) < self.kernel[0] * self.kernel[1]

    @property
    def reach(self) -> Pair:
        """How many input places, both ends included, the dilated kernel spans."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def _along(self, size: Pair) -> Iterator[tuple[int, int, int, int]]:
        """(size, padding, reach, stride) of each dimension"""
        return zip(size, self.padding, self.reach, self.stride, strict=True)

    def output_size(self, size: Pair) -> Pair:
        """(H, W) of the input -> (H', W') of the output; below 1 where the kernel does not fit in."""
        h, w = ((n + 2 * p - r) // s + 1 for n, p, r, s in self._along(size))
        return h, w

    def input_size(self, size: Pair, extra: Pair) -> Pair:
        """(H', W') -> (H, W) of the smallest input that gives it, and `extra` more"""
        h, w = ((n - 1) * s - 2 * p + r + e for (n, p, r, s), e in zip(self._along(size), extra, strict=True))
        return h, w

    def leftover(self, size: Pair) -> Pair:
        """The rows and columns at the end of an (H, W) input that strides do not reach: `output_padding`, undone."""
        h, w = ((n + 2 * p - r) % s for n, p, r, s in self._along(size))
        return h, w

    def places(self, tap: Pair, size: Pair) -> tuple[slice, slice]:
        """Where in the padded input one tap looks, for an output of that size"""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        top, left = tap[0] * dh, tap[1] * dw
        return slice(top, top + sh * (size[0] - 1) + 1, sh), slice(left, left + sw * (size[1] - 1) + 1, sw)


def geometry(kernel: Pair, stride: Any, padding: Any, dilation: Any, taps: Any) -> Geometry:
    """A checked Geometry. stride, padding, dilation: a number or a pair; taps: booleans (kh, kw), or None for all."""
    return _geometry(kernel, _plain(stride), _plain(padding), _plain(dilation), _visible(taps, kernel))


@lru_cache(maxsize=1024, typed=True)  # typed: True is no 1
def _geometry(kernel: Pair, stride: Any, padding: Any, dilation: Any, taps: tuple | None) -> Geometry:
    if taps is None:
        taps = tuple((a, b) for a in range(kernel[0]) for b in range(kernel[1]))
    stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
    return Geometry(kernel, stride, padding, pair("dilation", dilation, 1), taps)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def pair(name: str, value: Any, least: int) -> Pair:
    """2 or (2, 2) -> (2, 2)"""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(hasattr(v, "__index__") and not isinstance(v, bool) for v in both):
        raise ShapeError(f"{name} must be an integer or a pair (vertical, horizontal), got {value!r}")
    if min(both) < least:
        raise ShapeError(f"{name} must be at least {least}, got {value!r}")
    return int(both[0]), int(both[1])


def _visible(taps: Any, kernel: Pair) -> tuple[Pair, ...] | None:
    if taps is None:
        return None
    mask = np.asarray(taps if isinstance(taps, tuple | list) else to_host(taps))
    if mask.shape != kernel or mask.dtype != bool:
        raise ShapeError(
            f"taps must be booleans of the kernel's shape {kernel}, got {mask.shape} {mask.dtype}: one mask, shared by "
            "all channels"
        )
    return tuple((int(a), int(b)) for a, b in np.argwhere(mask))
