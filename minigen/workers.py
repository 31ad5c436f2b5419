"""A few Python threads that share one job, while BLAS keeps to one thread in each of them.

NumPy lets go of the interpreter while it multiplies and copies, so two Python threads that each work on half of a
batch, chunk by chunk inside their own caches, run 1.4 to 1.8 times as fast as one. BLAS's own threads split every
single product instead: they help large products and stand in the way of small ones, so while the workers work they
are switched off.

How many workers: MINIGEN_WORKERS, else OMP_NUM_THREADS or OPENBLAS_NUM_THREADS, else the cores this process may use
(8 at most). Work is divided by count and index alone, never by who is free: the same count gives the same bits.
"""

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np

from minigen import blas

MOST = 8  # beyond this the threads wait for the interpreter more than they work
SCRATCH_BYTES = 1 << 24  # larger buffers are not kept

_local = threading.local()  # .inside: this thread is doing a task of `run`; .scratch: its kept buffers


def run(tasks: Sequence[Callable[[], object]]) -> None:
    """Do all tasks, at the same time; back when all are done. The first error of a task is raised then.

    A task that calls `run` itself, or a second thread that does so meanwhile, does its tasks one after the other.
    """
    if len(tasks) < 2 or getattr(_local, "inside", False) or not _crew.busy.acquire(blocking=False):
        for task in tasks:
            task()
        return
    try:
        blas.keep_to_one_thread()
        _crew.run(tasks)
    finally:
        _crew.busy.release()


def share(n: int, work: Callable[[int, int], object], parts: int | None = None) -> None:
    """Do `work(start, stop)` for consecutive pieces of range(n), one per worker (or as many as `parts`)."""
    run([functools.partial(work, start, stop) for start, stop in split(n, parts or count())])


def have_the_cores() -> bool:
    """Whether BLAS leaves the other cores to the workers: it has one thread, and there are several workers."""
    return count() > 1 and blas.threads() in (1, None)


def split(n: int, parts: int) -> list[tuple[int, int]]:
    """range(n) in at most `parts` consecutive pieces (start, stop) of almost equal size; none is empty."""
    parts = max(1, min(parts, n))
    return [(n * i // parts, n * (i + 1) // parts) for i in range(parts)] if n else []


def count() -> int:
    """How many workers share a job, this thread included."""
    return _asked() if _count_override is None else _count_override


@functools.cache
def _asked() -> int:
    for name in ("MINIGEN_WORKERS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        value = os.environ.get(name, "").strip()
        if value.isdigit() and int(value) > 0:
            return int(value) if name == "MINIGEN_WORKERS" else min(int(value), MOST)
    # a BLAS whose threads cannot be switched off would start its own in every worker: leave the cores to it
    return min(_cores(), MOST) if blas.threads() is not None else 1


@contextlib.contextmanager
def using(workers: int) -> Iterator[None]:
    """Inside, jobs are shared by that many workers."""
    global _count_override
    before, _count_override = _count_override, workers
    try:
        yield
    finally:
        _count_override = before


_count_override: int | None = None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array in a buffer that this thread keeps under `name`: good until it asks for that name again.

    Fresh memory costs a page fault per 4 kB; the same warm buffer again costs nothing.
    """
    kept = _local.__dict__.setdefault("scratch", {})
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > SCRATCH_BYTES:
        return np.empty(shape, dtype)
    buffer = kept.get(name)
    if buffer is None or buffer.size < size:
        buffer = kept[name] = np.empty(size, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


class _Crew:
    """Threads that wait for tasks; started when first needed, and again in a forked child."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.inboxes: list[SimpleQueue] = []
        self.done: SimpleQueue = SimpleQueue()

    def run(self, tasks: Sequence[Callable[[], object]]) -> None:
        while len(self.inboxes) < len(tasks) - 1:
            inbox: SimpleQueue = SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="minigen-worker", daemon=True).start()
            self.inboxes.append(inbox)
        others = tasks[1:]
        for task, inbox in zip(others, self.inboxes, strict=False):
            inbox.put(task)
        errors = []
        try:
            errors.append(_attempt(tasks[0]))
        finally:  # even when interrupted: the others still write into shared arrays
            errors.extend(self.done.get() for _ in others)
        for error in errors:
            if error is not None:
                raise error

    def _serve(self, inbox: SimpleQueue) -> None:
        while True:
            self.done.put(_attempt(inbox.get()))


def _attempt(task: Callable[[], object]) -> Exception | None:
    """Do the task; its error, if it had one."""
    _local.inside = True
    try:
        task()
        return None
    except Exception as error:
        return error
    finally:
        _local.inside = False


_crew = _Crew()


def _after_fork() -> None:
    """Threads do not survive a fork."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
