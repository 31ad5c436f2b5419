"""The memory of this process that is resident, and the most that ever was: Linux tells both, macOS the second."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mb() -> float:
    """MB (10^6 bytes) resident now; where the system does not tell, the most so far"""
    return _status_mb("VmRSS") or _largest_mb()


def peak_mb() -> float:
    """The most MB that were resident since `reset_peak`, or, where that cannot be reset, since the start"""
    return _status_mb("VmHWM") or _largest_mb()


def reset_peak() -> None:
    """From here on `peak_mb` counts anew; on Linux only"""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")


def _status_mb(field: str) -> float | None:
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def _largest_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
