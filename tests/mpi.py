"""Starting several ranks from a test, where there is something to start them with."""

import functools
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BESIDE = Path(sys.executable).with_name("mpiexec")  # of a wheel; it fits the mpi4py of this interpreter
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
under_mpi = pytest.mark.skipif(
    not MPIEXEC or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and mpiexec: pip install 'minigen[mpi]' mpich",
)


def mpi(n, *words):
    """This interpreter with these words, n times under mpiexec"""
    return start("-n", n, sys.executable, *words)


def start(*words):
    """mpiexec with these words; skips the test where mpiexec cannot start two ranks that know of each other."""
    skip_where_it_cannot()
    return run(*words)


def begin(n, *words):
    """As `mpi`, still running"""
    skip_where_it_cannot()
    command = [MPIEXEC, "-n", str(n), sys.executable, *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def skip_where_it_cannot():
    if why := why_not():
        pytest.skip(why)


def run(*words):
    command = [MPIEXEC, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


@functools.cache
def why_not() -> str:
    """Empty where it can: a sandbox may forbid it, and another MPI's mpiexec starts processes that are alone"""
    code = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"
    done = run("-n", 2, sys.executable, "-c", code)
    if "".join(done.stdout.split()) == "22":  # two processes write, and ends of lines may come late
        return ""
    return f"{MPIEXEC} starts no two ranks here: {(done.stderr or done.stdout).strip()[:200]!r}"
