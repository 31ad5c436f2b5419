"""`minigen doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigen.backend import BACKENDS, cuda_version
from minigen.errors import BackendError, CourseError

GOOD, OPTIONAL, BROKEN = "ok", "none", "broken"


@dataclass(frozen=True)
class Finding:
    """One thing looked at; only `broken` keeps minigen from working."""

    name: str
    state: str
    says: str


def add(parsers: Any) -> None:
    """Adds the verb."""
    doctor = parsers.add_parser("doctor", help="what this machine has and what is missing")
    doctor.add_argument("--backend", default="numpy", help="cupy: without a device that computes, exit 5")
    doctor.add_argument("--json", action="store_true", help="the findings for tools")
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 everything needed is here, 5 something is broken."""
    if args.backend not in BACKENDS:
        raise CourseError(f"--backend {args.backend!r}: expected one of {', '.join(BACKENDS)}")
    findings = examine(args.backend)
    code = 5 if any(one.state == BROKEN for one in findings) else 0
    if args.json:
        print(json.dumps({"exit_code": code, "findings": [asdict(one) for one in findings]}, indent=1))
        return code
    from minigen.course.console import filled, say, tell
    from minigen.course.language import spoken, term

    for one in findings:
        style = {GOOD: "", OPTIONAL: "dim", BROKEN: "bold red"}[one.state]
        say(f"{filled(term('finding', one.state), 6)}  {one.name:<11} {spoken(one.says)}", style)
    tell("everything minigen needs is here" if code == 0 else "repair what is marked broken, then try again")
    return code


def examine(backend: str = "numpy") -> list[Finding]:
    """Looks at everything; a look that fails is a finding, never a crash. backend: what must work here"""
    looks: dict[str, Callable[[], tuple[str, str]]] = {
        "python": _python,
        "numpy": lambda: _package("numpy", (2, 0)),
        "blas": _blas,
        "matplotlib": lambda: _package("matplotlib", (3, 8)),
        "rich": lambda: _package("rich", (13, 7)),
        "pytest": lambda: _package("pytest", (8, 0)),
        "terminal": _terminal,
        "cupy": lambda: _cupy(needed=backend == "cupy"),
        "mpi4py": _mpi4py,
        "data": _data,
        "course": _course,
        "writable": _writable,
    }
    findings = []
    for name, look in looks.items():
        try:
            findings.append(Finding(name, *look()))
        except Exception as error:
            said = str(error).partition("\n")[0] or type(error).__name__
            findings.append(Finding(name, BROKEN, said))
    return findings


def _python() -> tuple[str, str]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return (GOOD if good else BROKEN), f"{found} at {sys.executable}" + (
        "" if good else "; needs 3.11 or newer"
    )


def _package(name: str, least: tuple[int, int]) -> tuple[str, str]:
    wanted = ".".join(map(str, least))
    try:
        importlib.import_module(name)
        found = importlib.metadata.version(name)
    except ImportError as error:
        return BROKEN, f"cannot be imported ({error}): python -m pip install '{name}>={wanted}'"
    if tuple(int("".join(filter(str.isdigit, part)) or 0) for part in found.split(".")[:2]) < least:
        return BROKEN, f"{found} is too old: python -m pip install --upgrade '{name}>={wanted}'"
    return GOOD, found


def _blas() -> tuple[str, str]:
    import numpy as np

    built: Any = np.show_config(mode="dicts")
    blas = built.get("Build Dependencies", {}).get("blas", {})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    limit = next(
        (f"{name}={os.environ[name]}" for name in limits if os.environ.get(name)), "no thread limit set"
    )
    return GOOD, f"{blas.get('name', 'unknown')} {blas.get('version', '')}, {cores} cores, {limit}"


def _terminal() -> tuple[str, str]:
    encoding = (getattr(sys.stdout, "encoding", "") or "unknown").lower()
    kind = "a terminal" if sys.stdout.isatty() else "not a terminal: plain lines"
    colour = ", NO_COLOR is set" if os.environ.get("NO_COLOR") else ""
    if encoding.replace("-", "") != "utf8":
        return OPTIONAL, f"{kind}, {encoding}{colour}; set PYTHONUTF8=1 for marks and Korean text"
    return GOOD, f"{kind}, UTF-8{colour}"


def _cupy(needed: bool) -> tuple[str, str]:
    from minigen.backend import using

    try:
        with using("cupy") as backend:
            return GOOD, _device(backend.module)
    except BackendError as error:
        return (BROKEN, str(error)) if needed else (OPTIONAL, f"not in use: {error}")


def _device(cupy: Any) -> str:
    """The device that computes, once it has: its name, memory, CUDA's two versions"""
    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(runtime.getDevice())["name"]
    name = name.decode() if isinstance(name, bytes) else name
    free, total = (amount / 2**30 for amount in runtime.memGetInfo())
    made, known = (cuda_version(get()) for get in (runtime.runtimeGetVersion, runtime.driverGetVersion))
    squares = float(cupy.square(cupy.arange(5, dtype="float32")).sum())
    if squares != 30:
        raise BackendError(
            f"{name} computed 0 + 1 + 4 + 9 + 16 = {squares:g}, expected 30: do not trust this device"
        )
    return (
        f"{cupy.__version__}, a device computes: {name}, {free:.1f} of {total:.1f} GiB free, CUDA {made}, driver for "
        f"CUDA {known}"
    )


def _mpi4py() -> tuple[str, str]:
    """Not imported: that would start MPI"""
    try:
        return GOOD, importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        return OPTIONAL, "not installed; only --ranks needs it: python -m pip install 'minigen[mpi]'"


def _data() -> tuple[str, str]:
    from minigen.data import load

    counts = [f"mnist-small {len(load('mnist-small').train.labels)} images"]
    for name in ("mnist", "fashion-mnist"):
        try:
            counts.append(f"{name} {len(load(name).train.labels)} images")
        except Exception:
            counts.append(f"{name} not here (`minigen data get {name}`)")
    return GOOD, ", ".join(counts)


def _course() -> tuple[str, str]:
    from minigen.course.manifest import course

    where = course()
    return (GOOD if where.lessons else BROKEN), f"{len(where.lessons)} lessons in {where.root}"


def _writable() -> tuple[str, str]:
    from minigen.course.manifest import find_root

    for folder in (find_root() / "exercises", find_root(), Path(tempfile.gettempdir())):
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            return (
                BROKEN,
                f"{folder} cannot be written ({error.strerror}): change its owner or copy the course",
            )
    return GOOD, "exercises/, progress and temporary files"
