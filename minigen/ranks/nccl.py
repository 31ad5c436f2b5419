"""Ranks whose device arrays are summed by NCCL, from device to device; MPI introduces them and carries the rest.

Written from CuPy's binding (cupy.cuda.nccl) and NOT PROVED: no machine with several devices has run it yet. Nothing
imports this file unless `--ranks nccl` is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigen.backend import Array, active
from minigen.errors import BackendError
from minigen.ranks.agreement import first
from minigen.ranks.mpi import Mpi


class Nccl(Mpi):
    """As Mpi, one device for each rank of a machine; sums of device arrays are NCCL's."""

    _ring: Any = None

    def allreduce_sum(self, buffer: Array) -> None:
        if isinstance(buffer, np.ndarray):
            super().allreduce_sum(buffer)
            return
        cuda = active().module.cuda
        if self._ring is None:  # only now is it sure which device is this rank's
            self._ring = self._introduce(cuda.nccl)
        kind = {"float32": cuda.nccl.NCCL_FLOAT32, "float64": cuda.nccl.NCCL_FLOAT64}[str(buffer.dtype)]
        here, stream = buffer.data.ptr, cuda.get_current_stream().ptr
        self._ring.allReduce(here, here, buffer.size, kind, cuda.nccl.NCCL_SUM, stream)

    def _introduce(self, nccl: Any) -> Any:
        if not getattr(nccl, "available", False):
            raise BackendError("--ranks nccl: this CuPy has no NCCL: install it, or use --ranks mpi")
        return nccl.NcclCommunicator(
            self.size, first(self, nccl.get_unique_id), self.rank
        )  # bytes since CuPy 14
