"""Which images of a batch are whose, and what they weigh."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigen.errors import RankError
from minigen.ranks.communicator import Communicator


@dataclass(frozen=True)
class Share:
    """This rank's images of a batch of `whole`, of which `updates()` makes `parts` equal parts (and may leave a rest).

    The share consists of as many equal parts, each of them this rank's share of one of the batch's: so a model that
    cuts its batch finds in the i-th part what belongs there.
    """

    team: Communicator
    whole: int
    parts: int
    rows: np.ndarray  # (n,) places of this rank's images in the batch
    part_rows: np.ndarray  # (n // parts,) the same, within a part

    def weight(self, pair: int) -> float:
        """What this rank's mean counts for in the mean of all: the first `parts` losses are of one part each"""
        if pair < self.parts:
            return len(self.part_rows) / (self.whole // self.parts)
        return len(self.rows) / self.whole

    def places(self, n: int) -> tuple[int, np.ndarray] | None:
        """First axis of a draw for this rank's images -> that of the draw for all of them, and which rows are ours"""
        if n == len(self.rows):
            return self.whole, self.rows
        return (self.whole // self.parts, self.part_rows) if n == len(self.part_rows) else None


def cut(team: Communicator, whole: int, parts: int = 1) -> Share:
    """A batch of `whole` images -> this rank's share of it; RankError if a rank would have none"""
    size = whole // parts
    if size < team.size:
        one = f"one of the {parts} parts of a batch of {whole}" if parts > 1 else "a batch"
        raise RankError(
            f"{one} has {size} image{'s' * (size != 1)} for {team.size} ranks: each needs one; choose another "
            "--batch-size (the last batch of an epoch is what is left), or fewer ranks"
        )
    mine = np.arange(size * team.rank // team.size, size * (team.rank + 1) // team.size)
    left = whole - size * parts  # fewer than parts, so no rank's share makes larger parts by them
    rest = size * parts + np.arange(left * team.rank // team.size, left * (team.rank + 1) // team.size)
    rows = np.concatenate([*(i * size + mine for i in range(parts)), rest])
    return Share(team, whole, parts, rows, mine)


_current: Share | None = None


def current() -> Share | None:
    """The share of the batch that this process computes on now; None where a batch is a whole one"""
    return _current


@contextlib.contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Inside, batches are shares: random draws and batch statistics are those of all ranks together."""
    global _current
    before, _current = _current, share
    try:
        yield
    finally:
        _current = before
