"""Starting several ranks from a test, where there is something to start them with."""

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


def mpi(n, *words, **options):
    command = [MPIEXEC, "-n", str(n), sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, **options)
