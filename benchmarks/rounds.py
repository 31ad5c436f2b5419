"""One case on all peers: built and checked equal first, then measured in turn, round by round."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import cases
from benchmarks.peers import Peer, PeerError, Worker

TOLERANCE = 1e-3  # of the largest element: float32 sums in another order
LONGEST = 120.0  # seconds after which a case has had enough rounds, once it has had three
SETTLE = 0.05  # seconds in which the idle threads of the last peer stop spinning


def run_case(name: str, peers: list[Peer], *, threads: int, rounds: int, seconds: float, tiny: bool) -> dict:
    """The case's record: each peer's rounds and median, minigen's ratios, the floor, and what went wrong."""
    workers = [Worker(peer, threads) for peer in peers]
    record: dict = {"case": name, "threads": threads, "peers": {}, "errors": []}
    try:
        ready = prepare(workers, name, threads, tiny, record)
        rates, times = measure(ready, rounds, seconds)
        for worker in ready:
            row = record["peers"][worker.peer.name]
            row["rounds_ms"] = [1e3 * statistics.median(t) for t in times[worker.peer.name]]
            row["median_ms"] = statistics.median(row["rounds_ms"])
            row["best_ms"] = 1e3 * min(min(t) for t in times[worker.peer.name])
            row["peak_mb"] = worker.call("memory")["peak_mb"]
    finally:
        for worker in workers:
            worker.close()
    size = cases.load(name).TINY if tiny else cases.load(name).FULL
    record["floor"] = floor(cases.load(name).work(size), rates)
    record["ratios"] = ratios(record["peers"])
    return record


def prepare(workers: list[Worker], name: str, threads: int, tiny: bool, record: dict) -> list[Worker]:
    """The workers whose case is built and agrees with the first one's; complaints go into the record."""
    with tempfile.TemporaryDirectory() as folder:
        for worker in workers:
            peer, path = worker.peer, str(values_path(folder, worker))
            worker.ask(
                "build",
                library=peer.library,
                case=name,
                tuned=peer.tuned,
                threads=threads,
                tiny=tiny,
                values=path,
            )
        ready: list[Worker] = []
        for worker in workers:
            try:
                built = worker.answer()
                if ready:
                    compare(ready[0], worker, folder, record["peers"][ready[0].peer.name], built)
            except PeerError as error:
                record["errors"].append(f"{name}: {error}")
                continue
            record["peers"][worker.peer.name] = built
            ready.append(worker)
    return ready


def values_path(folder: str, worker: Worker) -> Path:
    """Where a worker writes its loss and gradients."""
    return Path(folder) / f"{worker.peer.name}.npz"


def compare(first: Worker, other: Worker, folder: str, built_first: dict, built: dict) -> None:
    """PeerError unless parameter counts, losses and gradients are equal; keeps the largest difference."""
    if built["parameters"] != built_first["parameters"]:
        counts = f"{built['parameters']} parameters, {first.peer.title} has {built_first['parameters']}"
        raise PeerError(f"{other.peer.title}: {counts}")
    worst = 0.0
    with np.load(values_path(folder, first)) as a, np.load(values_path(folder, other)) as b:
        for key in a.files:
            if key not in b.files or a[key].shape != b[key].shape:
                raise PeerError(f"{other.peer.title}: {key} is missing or has another shape")
            difference = float(np.abs(a[key] - b[key]).max() / max(np.abs(a[key]).max(), 1e-30))
            if not difference <= TOLERANCE:
                problem = f"{key} differs from {first.peer.title}'s by {difference:.1e} of its size"
                raise PeerError(f"{other.peer.title}: {problem}, at most {TOLERANCE:.0e} is allowed")
            worst = max(worst, difference)
    built["difference"] = worst


def measure(workers: list[Worker], rounds: int, seconds: float) -> tuple[dict, dict]:
    """Machine rates, and per peer the step times of each round. Each round starts with another peer.

    Where a peer is very slow, three rounds are enough (LONGEST).
    """
    times: dict[str, list] = {worker.peer.name: [] for worker in workers}
    rates = {"flops": 0.0, "bytes": 0.0}
    begun = time.monotonic()
    for i in range(rounds):
        if i >= 3 and time.monotonic() - begun > LONGEST:
            break
        k = i % max(len(workers), 1)
        for worker in workers[k:] + workers[:k]:
            time.sleep(SETTLE)
            times[worker.peer.name].append(worker.call("measure", seconds=seconds)["times"])
        if workers:
            seen = workers[0].call("rates")
            rates = {name: max(rates[name], seen[name]) for name in rates}
    return rates, times


def floor(work: cases.Work, rates: dict[str, float]) -> dict:
    """Operations over the matrix rate and bytes over the copy rate, in ms; the floor is the longer one."""
    operations = 1e3 * work.operations / rates["flops"] if rates["flops"] else 0.0
    traffic = 1e3 * work.bytes / rates["bytes"] if rates["bytes"] else 0.0
    return {
        "operations": work.operations,
        "bytes": work.bytes,
        "ops": work.ops,
        "operations_ms": operations,
        "bytes_ms": traffic,
        "floor_ms": max(operations, traffic),
        "flops_per_s": rates["flops"],
        "bytes_per_s": rates["bytes"],
    }


def ratios(peers: dict[str, dict]) -> dict[str, float]:
    """minigen's time over each peer's, paired round by round, then the median; below 1, minigen is faster."""
    mine = peers.get("minigen")
    if not mine:
        return {}
    return {
        name: statistics.median(a / b for a, b in zip(mine["rounds_ms"], peer["rounds_ms"], strict=True))
        for name, peer in peers.items()
        if name != "minigen"
    }
