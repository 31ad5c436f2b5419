"""Checking a file whenever it is saved, by polling: file events fail on WSL, NFS and in containers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Stamp = tuple[int, int] | None


def watch(
    path: Path,
    check: Callable[[], object],
    *,
    every: float = 0.5,
    once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Checks now and after each change, until Ctrl-C; with `once`, until one change has been checked.

    A file that is being replaced is missing for a moment: that is waited out, and is no change.
    """
    seen = stamp(path)
    check()
    while True:
        sleep(every)
        now = stamp(path)
        if now is None or now == seen:
            continue
        seen = now
        check()
        if once:
            return


def stamp(path: Path) -> Stamp:
    """(time of change, size), or None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
