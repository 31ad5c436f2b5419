"""One case on all peers: built and checked equal first, then measured in turn, round by round."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import cases, machine
from benchmarks.peers import Peer, PeerError, Worker

TOLERANCE = 1e-3  # of the largest element: float32 sums in another order
LONGEST = 120.0  # seconds after which a case has had enough rounds, once it has had three
LONG_ROUND = 30.0  # seconds: one round that takes as long is enough by itself
SETTLE = 0.05  # seconds in which the idle threads of the last peer stop spinning


def run_case(name: str, peers: list[Peer], *, threads: int, rounds: int, seconds: float, tiny: bool) -> dict:
    """The case's record: each peer's rounds and median, minigen's ratios, the floor, and what went wrong."""
    record = blank(name, threads)
    workers = [Worker(peer, threads) for peer in peers]
    try:
        ready = prepare(workers, name, threads, tiny, record)
        rates, times = measure(ready, rounds, seconds, record)
    finally:
        for worker in workers:
            worker.close()
    for peer, measured in times.items():
        row = record["peers"][peer]
        row["rounds_ms"] = [1e3 * statistics.median(t) for t in measured]
        row["median_ms"] = statistics.median(row["rounds_ms"])
        row["best_ms"] = 1e3 * min(min(t) for t in measured)
    record["floor"] = floor(cases.load(name).work(cases.size_of(name, tiny=tiny)), rates)
    record["ratios"] = ratios(record["peers"])
    return record


def blank(name: str, threads: int) -> dict:
    """A record of which nothing is known yet"""
    date = machine.facts()["date"]
    return {"case": name, "threads": threads, "date": date, "peers": {}, "errors": []}


def request(peer: Peer, name: str, threads: int, tiny: bool) -> dict:
    """What a worker must know to build the case"""
    return {
        "library": peer.library,
        "case": name,
        "tuned": peer.tuned,
        "threads": threads,
        "tiny": tiny,
    }


def prepare(workers: list[Worker], name: str, threads: int, tiny: bool, record: dict) -> list[Worker]:
    """The workers whose case is built and agrees with the first one's; complaints go into the record."""
    with tempfile.TemporaryDirectory() as folder:
        for worker in workers:
            path = str(values_path(folder, worker))
            worker.ask("build", **request(worker.peer, name, threads, tiny), values=path)
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
    same_model(other.peer, built, first.peer, built_first)
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


def same_model(other: Peer, built: dict, first: Peer, built_first: dict) -> None:
    """PeerError unless both have as many parameters."""
    if built["parameters"] != built_first["parameters"]:
        counts = f"{built['parameters']} parameters, {first.title} has {built_first['parameters']}"
        raise PeerError(f"{other.title}: {counts}")


def measure(workers: list[Worker], rounds: int, seconds: float, record: dict) -> tuple[dict, dict]:
    """Machine rates, and per peer the step times of each round. Each round starts with another peer.

    Where a peer is very slow, three rounds are enough, or one (LONGEST, LONG_ROUND). A peer that dies leaves the
    record, with a complaint; the others go on.
    """
    alive = list(workers)
    times: dict[str, list] = {worker.peer.name: [] for worker in workers}
    rates = {"flops": 0.0, "bytes": 0.0}
    begun = time.monotonic()
    for i in range(rounds):
        spent = time.monotonic() - begun
        if not alive or (i >= 3 and spent > LONGEST) or (i and spent / i > LONG_ROUND):
            break
        k = i % len(alive)
        for worker in alive[k:] + alive[:k]:
            time.sleep(SETTLE)
            try:
                times[worker.peer.name].append(worker.call("measure", seconds=seconds)["times"])
                if worker is alive[0]:
                    seen = worker.call("rates")
                    rates = {name: max(rates[name], seen[name]) for name in rates}
            except PeerError as error:
                record["errors"].append(f"{record['case']}: {error}")
                alive.remove(worker)
                del times[worker.peer.name], record["peers"][worker.peer.name]
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
