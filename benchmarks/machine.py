"""The machine under the numbers: what it is, and how fast it multiplies and copies."""

from __future__ import annotations

import datetime
import os
import platform
import time
from pathlib import Path

import numpy as np

PRODUCT = 1024  # rows and columns of the product that measures the matrix rate
COPY_BYTES = 64 * 2**20  # beyond any cache


def rates(repetitions: int = 7) -> dict[str, float]:
    """Best float32 products and copies seen: operations per second, bytes read and written per second."""
    a = np.ones((PRODUCT, PRODUCT), np.float32)
    out = np.empty_like(a)
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.empty_like(source)
    product = best(lambda: np.matmul(a, a, out=out), repetitions)
    copy = best(lambda: np.copyto(target, source), repetitions)
    return {"flops": 2.0 * PRODUCT**3 / product, "bytes": 2.0 * COPY_BYTES / copy}


def best(f, repetitions: int) -> float:
    """Shortest time of `f` in seconds, after one call to warm up."""
    f()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


def facts() -> dict[str, object]:
    """What a reader must know to compare: date, processor, cores, system, Python, C library."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu_name(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
    }


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor as the system calls it; Linux keeps the name in a file only."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
