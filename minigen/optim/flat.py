"""One buffer for all parameters of a dtype, and the cache-sized blocks in which an update walks through it.

Twelve passes of Adam over each of a dozen small arrays cost a Python call each and, on large arrays, a trip to memory
each. Side by side in one buffer, parameters are updated a block at a time: the block stays in cache for all passes.
"""

from itertools import pairwise
from typing import NamedTuple

from minigen import workers
from minigen.backend import Array, active, xp
from minigen.errors import ShapeError
from minigen.tensor import Tensor

BLOCK = 131_072  # elements: 512 kB of float32; workers need passes long enough to be worth handing over
ALONE = (
    1 << 20
)  # without workers fewer and longer passes are faster: each call into BLAS costs some microseconds


class Piece(NamedTuple):
    """Where part of a parameter's gradient goes in a block."""

    parameter: int
    source: slice
    target: slice


class Block(NamedTuple):
    """A stretch of the flat buffers."""

    w: Array
    state: list[Array]
    pieces: list[Piece]


class Flat:
    """The parameters of one dtype, each a view of one flat array `w`, with flat state arrays beside it."""

    def __init__(self, params: list[Tensor], state: tuple[str, ...]):
        self.params = params
        dtype = params[0]._data.dtype
        self.starts = [0]
        for p in params:
            self.starts.append(self.starts[-1] + p.size)
        self.w = xp.empty(self.starts[-1], dtype)
        self.state = [xp.zeros(self.starts[-1], dtype) for _ in state]
        self.views = [self._view(self.w, i) for i in range(len(params))]
        self._plans: dict[tuple[int, int], list[Block]] = {}
        self.gather()

    def _view(self, flat: Array, i: int) -> Array:
        return flat[self.starts[i] : self.starts[i + 1]].reshape(self.params[i].shape)

    def state_of(self, i: int) -> list[Array]:
        """The state arrays of parameter i, in its shape; views."""
        return [self._view(s, i) for s in self.state]

    def gather(self) -> None:
        """Take in every parameter whose array is not (or no longer: it was assigned) its view of the buffer."""
        for p, view in zip(self.params, self.views, strict=True):
            if p._data is view:
                continue
            if p._data.shape != view.shape:
                raise ShapeError(
                    f"a parameter of shape {view.shape} was given data of shape {p._data.shape} after the optimizer "
                    "was made: make a new optimizer"
                )
            view[...] = p._data
            p._data = view
            p._print = None  # what was handed out before is another array now

    def blocks(self, first: int, last: int) -> list[Block]:
        """The blocks that cover parameters first..last-1."""
        if (first, last) not in self._plans:
            # on a device a launch costs more than a miss
            size = BLOCK if active().name == "numpy" else max(1, self.starts[-1])
            self._plans[first, last] = self._plan(first, last, size)
        return self._plans[first, last]

    def _plan(self, first: int, last: int, size: int) -> list[Block]:
        blocks = []
        for start, stop in pairwise(self._cuts(first, last, size)):
            pieces = []
            for i in range(first, last):
                a, b = max(start, self.starts[i]), min(stop, self.starts[i + 1])
                if a < b:
                    begin = self.starts[i]
                    pieces.append(Piece(i, slice(a - begin, b - begin), slice(a - start, b - start)))
            blocks.append(Block(self.w[start:stop], [s[start:stop] for s in self.state], pieces))
        return blocks

    def _cuts(self, first: int, last: int, size: int) -> list[int]:
        """Where blocks begin and end: a large parameter has blocks of its own, so that its gradient is not copied."""
        cuts = [self.starts[first]]
        for i in range(first, last):
            start, stop = self.starts[i], self.starts[i + 1]
            large = stop - start >= size // 16
            if large and start > cuts[-1]:
                cuts.append(start)
            while stop - cuts[-1] >= size:
                cuts.append(cuts[-1] + size)
            if large and stop > cuts[-1]:
                cuts.append(stop)
        return cuts if cuts[-1] == self.starts[last] else [*cuts, self.starts[last]]

    def collect(self, block: Block, grads: list[Array], lend: bool) -> Array:
        """The block's gradient, copied together from those of the parameters; `lend`: not if it lies in one."""
        if lend and len(block.pieces) == 1:
            i, source, _ = block.pieces[0]
            return grads[i][source]
        g = scratch("gradient", block.w)
        for i, source, target in block.pieces:
            g[target] = grads[i][source]
        return g


def scratch(name: str, like: Array) -> Array:
    """An array like `like` to compute in: on the CPU the same buffer every time, one for each worker."""
    if active().name == "numpy":
        return workers.scratch(f"optim {name}", like.shape, like.dtype)
    return xp.empty(like.shape, like.dtype)
