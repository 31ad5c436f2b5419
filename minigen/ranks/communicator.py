"""What ranks can say to each other; here for the process that is alone, where it is nothing."""

from __future__ import annotations

from typing import NoReturn

from minigen.backend import Array


class Communicator:
    """`size` processes, of which this one is `rank`: 0, ..., size - 1. All must call the same methods in one order."""

    rank = 0
    size = 1

    def allreduce_sum(self, buffer: Array) -> None:
        """(n,) floats, contiguous -> None: the sum of all ranks' buffers, in place; the same bits on every rank"""

    def broadcast(self, data: bytes, root: int = 0) -> bytes:
        """The bytes of rank `root`, on every rank; what the others pass is not looked at"""
        return data

    def barrier(self) -> None:
        """Back when all ranks are here."""

    def close(self, code: int = 0, patience: float | None = None) -> list[int] | None:
        """The last call. Waits for all ranks to make it -> the codes that they leave with; None if some have not
        within `patience` seconds"""
        return [code]

    def abort(self, code: int) -> NoReturn:
        """End all ranks now, wherever they are."""
        raise SystemExit(code)
