"""One case on all peers: the peak memory of a step, each in a process of its own."""

from __future__ import annotations

import statistics

from benchmarks.peers import Peer, PeerError, Worker
from benchmarks.rounds import blank, request, same_model


def weigh_case(name: str, peers: list[Peer], *, threads: int, rounds: int, tiny: bool) -> dict:
    """The case's record: the peak memory of each peer, and minigen's over it.

    Every round starts new processes: what is resident depends a little on how threads meet. Medians.
    """
    record = blank(name, threads)
    for peer in peers:
        try:
            found = [weigh(peer, name, threads, tiny) for _ in range(rounds)]
            for first in peers:
                if first.name in record["peers"]:
                    same_model(peer, found[0], first, record["peers"][first.name])
        except PeerError as error:
            record["errors"].append(f"{name}: {error}")
            continue
        peaks = [answer["peak_mb"] for answer in found]
        record["peers"][peer.name] = found[0] | {"rounds_mb": peaks, "peak_mb": statistics.median(peaks)}
    mine = record["peers"].get("minigen", {}).get("peak_mb")
    others = {peer: row["peak_mb"] for peer, row in record["peers"].items() if peer != "minigen"}
    record["ratios"] = {peer: mine / mb for peer, mb in others.items() if mine and mb}
    return record


def weigh(peer: Peer, name: str, threads: int, tiny: bool) -> dict:
    """What a new process of this peer finds: peak_mb, parameters, versions"""
    worker = Worker(peer, threads)
    try:
        return worker.call("memory", **request(peer, name, threads, tiny))
    finally:
        worker.close()
