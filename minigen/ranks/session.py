"""From the first word to the last: ranks that begin together, speak with one voice, and end together."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from minigen import workers
from minigen.backend import active
from minigen.errors import MinigenError, RankError
from minigen.ranks.agreement import exchange
from minigen.ranks.communicator import Communicator

KINDS = ("mpi", "nccl")
GRACE = 2.0  # seconds in which the others may come to the same end by themselves
LAUNCHERS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")


@contextlib.contextmanager
def opened(kind: str | None) -> Iterator[Communicator]:
    """One of KINDS -> the communicator of all ranks that mpiexec started; None: that of a process alone.

    Inside, only rank 0 writes to stdout, and the ranks of a machine divide its cores. An error that all ranks come to
    is raised on the first of them and ends the others silently (SystemExit); one that some do not come to is told in
    one line and ends all of them at once.
    """
    if kind is None:
        yield Communicator()
        return
    try:
        team = _open(kind)
    except MinigenError as error:  # no rank knows of the others: who started them does
        if any(os.environ.get(name, "0") != "0" for name in LAUNCHERS):
            raise SystemExit(error.exit_code) from None
        raise
    try:
        with workers.using(_cores(team)), _muted(team.rank > 0):
            yield team
    except BaseException as error:
        code = _code(error)
        codes = team.close(code, GRACE)
        if codes is None:
            print(f"minigen: {_told(team, error)}", file=sys.stderr, flush=True)
            team.abort(code)
        if team.rank != next((rank for rank, one in enumerate(codes) if one), team.rank):
            raise SystemExit(code) from None
        raise
    team.close()


def take_device(team: Communicator) -> None:
    """On a backend with devices: one for each rank of a machine, in turn. NOT PROVED on several devices."""
    if team.size == 1 or active().name != "cupy":
        return
    here = [place == _machine() for place in exchange(team, _machine())]
    cuda = active().module.cuda
    cuda.Device(sum(here[: team.rank]) % cuda.runtime.getDeviceCount()).use()


def _open(kind: str) -> Communicator:
    if kind not in KINDS:
        raise RankError(f"--ranks {kind!r}: expected one of {', '.join(KINDS)}")
    from minigen.ranks.mpi import Mpi

    make: type[Mpi] = Mpi
    if kind == "nccl":
        from minigen.ranks.nccl import Nccl

        make = Nccl
    team = make()
    if team.size == 1:
        raise RankError(
            f"--ranks {kind}: there is one process only; start several by `mpiexec -n 2 minigen ...` (if you did, that "
            f"mpiexec belongs to another MPI than mpi4py's: {team!r})"
        )
    return team


def _cores(team: Communicator) -> int:
    """How many workers this rank may have: its cores, shared with the ranks that may use the same ones."""
    if os.environ.get("MINIGEN_WORKERS"):
        return workers.count()
    affinity = getattr(os, "sched_getaffinity", None)
    mine = sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
    places = [json.loads(text) for text in exchange(team, json.dumps([_machine(), mine]))]
    sharers = sum(machine == _machine() and bool({*mine} & {*cores}) for machine, cores in places)
    return max(1, workers.count() // sharers)


def _machine() -> str:
    import socket

    return socket.gethostname()


@contextlib.contextmanager
def _muted(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)


def _told(team: Communicator, error: BaseException) -> str:
    """The error in one line: which rank, what, and for what is no error of minigen's, where"""
    words = (str(error).strip().splitlines() or [""])[0]
    if not isinstance(error, MinigenError | KeyboardInterrupt):
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {words} ({Path(last.filename).name}:{last.lineno})"
    return f"rank {team.rank} of {team.size}: {words or 'interrupted'}; all ranks are stopped"
