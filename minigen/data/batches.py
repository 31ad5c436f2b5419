"""Shuffled batches of indices whose place can be saved and taken up again exactly."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigen.errors import CheckpointError, DataError


class Batches:
    """() -> (size,) int64 indices into 0..n-1, every epoch in a fresh order

    `for index in batches` walks to the end of the current epoch (a new one, if the last is finished);
    `next(batches)` goes on for ever. Both advance the place *before* they hand out a batch: a state saved
    while a batch is in use resumes with the one after it. The last batch of an epoch is shorter when `size`
    does not divide n, or left out with `drop_last`. `rng` should belong to these batches alone (spawn one).
    """

    def __init__(self, n: int, size: int, rng: np.random.Generator, *, drop_last: bool = False):
        if n < 1 or size < 1 or (drop_last and size > n):
            raise DataError(f"Batches: {n} items in batches of {size}; expected at least one full batch")
        self.n, self.size, self.rng, self.drop_last = n, size, rng, drop_last
        self.epoch = 0  # epochs finished
        self.position = 0  # items of the current epoch already handed out
        self._start: Any = None  # the generator before it drew the current order
        self._order: np.ndarray | None = None

    def __len__(self) -> int:
        """Batches in one epoch."""
        return self._end // self.size + (self._end % self.size > 0)

    def __iter__(self) -> Iterator[np.ndarray]:
        epoch = self.epoch
        while self.epoch == epoch:
            yield next(self)

    def __next__(self) -> np.ndarray:
        if self._order is None:
            self._start = self.rng.bit_generator.state
            self._order = self._draw()
        batch = self._order[self.position : min(self.position + self.size, self._end)]
        self.position += len(batch)
        if self.position == self._end:
            self.epoch, self.position, self._order = self.epoch + 1, 0, None
        return batch

    @property
    def _end(self) -> int:
        return self.n - self.n % self.size if self.drop_last else self.n

    def _draw(self) -> np.ndarray:
        order = self.rng.permutation(self.n)
        order.flags.writeable = False  # batches are views of it
        return order

    def state_dict(self) -> dict[str, Any]:
        """The place, small and fit for JSON: counters, and the generator now and before the current order."""
        return {
            "n": self.n,
            "size": self.size,
            "drop_last": self.drop_last,
            "epoch": self.epoch,
            "position": self.position,
            "start": None if self._order is None else _plain(self._start),
            "rng": _plain(self.rng.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the place that `state_dict` wrote, or raise CheckpointError and change nothing."""
        mine = {"n": self.n, "size": self.size, "drop_last": self.drop_last}
        saved = {key: state.get(key) for key in mine}
        if saved != mine:
            raise CheckpointError(f"Batches: saved with {saved}, expected {mine}; resume with the same data")
        epoch: Any = state.get("epoch")
        position: Any = state.get("position")
        middle = state.get("start") is not None
        if not (
            _is_count(epoch) and _is_count(position) and position < self._end and middle == (position > 0)
        ):
            raise CheckpointError(
                f"Batches: saved place (epoch {epoch}, position {position}) is no place here"
            )
        before, order = self.rng.bit_generator.state, None
        try:
            if middle:
                self.rng.bit_generator.state = state["start"]
                order = self._draw()
            self.rng.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self.rng.bit_generator.state = before
            raise CheckpointError(
                f"Batches: the saved generator does not fit a {before['bit_generator']} ({error}); "
                "resume with the kind of generator the run began with"
            ) from None
        self.epoch, self.position = epoch, position
        self._start, self._order = state.get("start"), order


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _plain(state: Any) -> Any:
    """A generator's state with its arrays as lists: JSON can hold it, and NumPy takes it back."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state
