"""The process of one peer: `python -m benchmarks.worker`, a JSON request a line in, a reply a line out.

    {"do": "build", "library", "case", "tuned", "threads", "tiny", "values"}  -> {"parameters", "versions"}
    {"do": "measure", "seconds"}                                              -> {"times": [seconds, ...]}
    {"do": "rates"}                                                           -> {"flops", "bytes"} per second
    {"do": "memory", "library", "case", "tuned", "threads", "tiny"}           -> {"peak_mb", "parameters", "versions"}

It starts without importing any library but NumPy, so that what it loads is what is measured.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from importlib import metadata

import numpy as np

from benchmarks import cases, machine
from benchmarks.resident import peak_mb, reset_peak, resident_mb

WARM_UP_STEPS = 3
LEAST_STEPS = 3
LONG = 5.0  # seconds: steps that take as long are not repeated for the sake of warmth


class Bench:
    """Holds the built case between requests."""

    def __init__(self):
        self.run = None
        self.threads = 1

    def build(self, library, case, tuned, threads, tiny, values):
        """Pin, import, build, warm up, and write loss and gradients to the file `values`."""
        self.start(library, threads)
        self.run = cases.build(case, library, tiny=tiny, tuned=tuned)
        np.savez(values, **self.run.values())
        warm_up(self.run)
        return {"parameters": int(self.run.parameters), "versions": versions(library)}

    def start(self, library, threads):
        """Keep to so many threads, and import the library."""
        pin(threads)
        self.threads = threads
        __import__(library)
        if library == "torch":
            import torch

            torch.set_num_threads(threads)

    def measure(self, seconds):
        """Times of the steps that fit into `seconds`, at least a few; a first one wakes the threads.

        Where one step is a measurement, it is made once.
        """
        if self.run.once:
            return {"times": [timed(self.run.step)]}
        self.run.step()
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < LEAST_STEPS:
            times.append(timed(self.run.step))
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

    def memory(self, library, case, tuned, threads, tiny):
        """The most memory that was resident during a step, above what was resident before the case was built.

        The same at tiny sizes comes first: what a library loads and keeps with its first steps is not the case's. The
        first steps at full size are not counted either (JAX compiles there); what they leave behind is.
        """
        self.start(library, threads)
        small = cases.build(case, library, tiny=True, tuned=tuned)
        warm_up(small)
        del small
        gc.collect()
        before = resident_mb()
        self.run = cases.build(case, library, tiny=tiny, tuned=tuned)
        warm_up(self.run)
        gc.collect()
        reset_peak()
        for _ in range(1 if self.run.once else LEAST_STEPS):
            self.run.step()
        peak = max(peak_mb() - before, 0.0)
        return {"peak_mb": peak, "parameters": int(self.run.parameters), "versions": versions(library)}


def warm_up(run: cases.Run) -> None:
    """A few steps; none of a case whose step is long by itself, and not many of one that turns out to be"""
    begun = time.perf_counter()
    for _ in range(0 if run.once else WARM_UP_STEPS):
        run.step()
        if time.perf_counter() - begun > LONG:
            break


def timed(step) -> float:
    """Seconds that one call takes"""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def pin(threads: int) -> None:
    """Keep to `threads` cores, the same ones for every peer, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])


def versions(library: str) -> dict[str, str]:
    """The library's version and NumPy's."""
    return {name: metadata.version(name) for name in {library, "numpy"}}


def main() -> None:
    """Serve until the driver closes the pipe. Libraries that print must not disturb the replies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
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
