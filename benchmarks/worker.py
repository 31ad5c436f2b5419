"""The process of one peer: `python -m benchmarks.worker`, a JSON request a line in, a reply a line out.

    {"do": "build", "library", "case", "tuned", "threads", "tiny", "values"}  -> {"parameters", "versions"}
    {"do": "measure", "seconds"}                                              -> {"times": [seconds, ...]}
    {"do": "rates"}                                                           -> {"flops", "bytes"} per second
    {"do": "memory"}                                                          -> {"peak_mb"} over the start

It starts without importing any library but NumPy, so that what it loads is what is measured.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import metadata

import numpy as np

from benchmarks import cases, machine

WARM_UP_STEPS = 3
LEAST_STEPS = 3
LONG = 5.0  # seconds: steps that take as long are not repeated for the sake of warmth or of a median


class Bench:
    """Holds the built case between requests."""

    def __init__(self):
        self.run = None
        self.long = False
        self.threads = 1
        self.start_mb = 0.0

    def build(self, library, case, tuned, threads, tiny, values):
        """Pin, import, build, warm up, and write loss and gradients to the file `values`."""
        pin(threads)
        self.threads = threads
        __import__(library)
        if library == "torch":
            import torch

            torch.set_num_threads(threads)
        self.start_mb = peak_mb()
        self.run = cases.build(case, library, tiny=tiny, tuned=tuned)
        np.savez(values, **self.run.values())
        start = time.perf_counter()
        for _ in range(WARM_UP_STEPS):
            self.run.step()
            self.long = time.perf_counter() - start > LONG
            if self.long:
                break
        return {"parameters": int(self.run.parameters), "versions": versions(library)}

    def measure(self, seconds):
        """Times of the steps that fit into `seconds`, at least a few (of long ones one); a first wakes the threads."""
        if not self.long:
            self.run.step()
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < (1 if self.long else LEAST_STEPS):
            start = time.perf_counter()
            self.run.step()
            times.append(time.perf_counter() - start)
        return {"times": times}

    def rates(self):
        """What the machine can do at best, on this worker's threads; minigen may have kept BLAS to one of them."""
        if "minigen" not in sys.modules:
            return machine.rates()
        from minigen import blas

        before = blas.threads()
        blas.set_threads(self.threads)
        try:
            return machine.rates()
        finally:
            blas.set_threads(before or self.threads)

    def memory(self):
        """Peak memory since the libraries were imported."""
        return {"peak_mb": peak_mb() - self.start_mb}


def pin(threads: int) -> None:
    """Keep to `threads` cores, the same ones for every peer, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])


def peak_mb() -> float:
    """Largest resident size so far; Linux counts in kB, macOS in bytes."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def versions(library: str) -> dict[str, str]:
    """The library's version and NumPy's."""
    return {name: metadata.version(name) for name in {library, "numpy"}}


def main() -> None:
    """Serve until the driver closes the pipe. Libraries that print must not disturb the replies."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench = Bench()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(bench, request.pop("do"))(**request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
