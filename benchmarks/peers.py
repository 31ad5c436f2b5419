"""The peers, and a worker process for each: own thread pool, own allocator, driven over pipes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

# What would make one peer's run differ from another's: each worker gets exactly what is said here.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MALLOC_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "LD_PRELOAD")
RAISED_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**30)}


@dataclass(frozen=True)
class Peer:
    """A column of the table."""

    name: str
    library: str  # the module to import, and the name of the builder in a case
    title: str
    tuned: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether the library can be imported here; it is not imported in this process."""
        return importlib.util.find_spec(self.library) is not None


PEERS = {
    peer.name: peer
    for peer in (
        Peer("minigen", "minigen", "minigen"),
        Peer("torch", "torch", "PyTorch eager"),
        Peer("torch-tuned", "torch", "PyTorch tuned", tuned=True, environment=RAISED_MALLOC),
        Peer("jax", "jax", "JAX jit"),
    )
}


class PeerError(Exception):
    """A worker could not build or run its case; the message says which and why."""


class Worker:
    """One peer in its own process. `ask` and `answer` are apart so that several can get ready at once."""

    def __init__(self, peer: Peer, threads: int):
        self.peer = peer
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(peer, threads),
            cwd=Path(__file__).resolve().parent.parent,
        )

    def ask(self, do: str, **arguments) -> None:
        """Send one request; the answer is fetched with `answer`."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the worker is gone: `answer` says so

    def answer(self) -> dict:
        """The reply to the last request; PeerError if the worker failed or died."""
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.peer.title}: the worker ended with code {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(f"{self.peer.title}: {reply['error']}")
        return reply

    def call(self, do: str, **arguments) -> dict:
        """`ask`, then `answer`."""
        self.ask(do, **arguments)
        return self.answer()

    def close(self) -> None:
        """End the worker; closing its input is how it is told."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def environment(peer: Peer, threads: int) -> dict[str, str]:
    """The worker's environment: threads fixed before any library is imported, malloc as this peer has it."""
    kept = {name: value for name, value in os.environ.items() if name not in MALLOC_VARIABLES}
    fixed = dict.fromkeys(THREAD_VARIABLES, str(threads))
    if threads == 1:
        fixed["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return kept | fixed | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""} | peer.environment
