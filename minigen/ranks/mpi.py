"""Ranks that talk over MPI, by mpi4py: any MPI, on one machine or many. Device arrays travel through the host."""

from __future__ import annotations

import sys
import time
from typing import Any, NoReturn

import numpy as np

from minigen.backend import Array, from_host, to_host
from minigen.errors import BackendError
from minigen.ranks.communicator import Communicator

NAP, LONGEST_NAP = 1e-4, 5e-3  # seconds


class Mpi(Communicator):
    """All processes that mpiexec started. Sums spin, for microseconds count; all other waiting sleeps."""

    def __init__(self) -> None:
        self._mpi = _mpi()
        self._world = self._mpi.COMM_WORLD.Dup()
        self._leaving = self._mpi.COMM_WORLD.Dup()  # so that who leaves is never taken for who sums
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()

    def allreduce_sum(self, buffer: Array) -> None:
        if isinstance(buffer, np.ndarray):
            self._world.Allreduce(self._mpi.IN_PLACE, buffer)
            return
        host = np.array(to_host(buffer))
        self._world.Allreduce(self._mpi.IN_PLACE, host)
        buffer[...] = from_host(host)

    def broadcast(self, data: bytes, root: int = 0) -> bytes:
        length = np.array([len(data)])
        _wait(self._world.Ibcast(length, root))
        buffer = bytearray(data) if self.rank == root else bytearray(int(length[0]))
        _wait(self._world.Ibcast([buffer, self._mpi.BYTE], root))
        return bytes(buffer)

    def barrier(self) -> None:
        _wait(self._world.Ibarrier())

    def close(self, code: int = 0, patience: float | None = None) -> list[int] | None:
        codes = np.zeros(self.size, np.int64)
        if not _wait(self._leaving.Iallgather(np.array([code]), codes), patience):
            return None
        return codes.tolist()

    def abort(self, code: int) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(code)
        raise SystemExit(code)

    def __repr__(self) -> str:
        return f"rank {self.rank} of {self.size}, {self._mpi.Get_library_version().splitlines()[0].strip()}"


def _wait(request: Any, patience: float | None = None) -> bool:
    """Whether it was done in time. MPI's own waiting takes a whole core, which another rank may need."""
    begun, nap = time.monotonic(), NAP
    while not request.Test():
        if patience is not None and time.monotonic() - begun > patience:
            return False
        time.sleep(nap)
        nap = min(2 * nap, LONGEST_NAP)
    return True


def _mpi() -> Any:
    """mpi4py.MPI, imported when it is asked for and not before: the import starts MPI"""
    try:
        from mpi4py import MPI
    except ModuleNotFoundError:
        raise BackendError(
            "--ranks needs mpi4py, which is not installed: python -m pip install 'minigen[mpi]'"
        ) from None
    except (ImportError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"--ranks: mpi4py found no MPI library to load ({reason}): install one, such as python -m pip install mpich"
        ) from None
    return MPI
