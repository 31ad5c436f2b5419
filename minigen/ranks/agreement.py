"""What is built of the few words of a Communicator: one rank's work for all, and whether all are of one mind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minigen.errors import MinigenError, RankError
from minigen.ranks.communicator import Communicator


class Elsewhere(MinigenError):
    """Rank 0 failed; it says so itself."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.exit_code = code


def first(team: Communicator, work: Callable[[], bytes]) -> bytes:
    """What `work` gives on rank 0, on every rank; only rank 0 does it. If it raises there, all ranks raise."""
    if team.size == 1:
        return work()
    if team.rank:
        answer = team.broadcast(b"")
        if answer[:1] == b"!":
            told = json.loads(answer[1:])
            raise Elsewhere(told["message"], told["code"])
        return answer[1:]
    try:
        done = work()
    except BaseException as error:
        told = {"message": f"rank 0: {error}", "code": getattr(error, "exit_code", 1)}
        team.broadcast(b"!" + json.dumps(told).encode())
        raise
    team.broadcast(b"." + done)
    return done


def once(team: Communicator, work: Callable[[], Any]) -> Any:
    """`first` for what is fit for JSON: lists where there were tuples, unless there is one process only"""
    return work() if team.size == 1 else json.loads(first(team, lambda: json.dumps(work()).encode()))


def exchange(team: Communicator, text: str) -> list[str]:
    """What each rank has to say, by rank."""
    return [team.broadcast(text.encode(), root).decode() for root in range(team.size)]


def total(team: Communicator, values: Sequence[float]) -> list[float]:
    """The sums over all ranks, each in float64"""
    sums = np.array(values, np.float64)
    team.allreduce_sum(sums)
    return sums.tolist()


def agree(team: Communicator, matters: Mapping[str, Any]) -> None:
    """RankError, the same on every rank, unless all name the same value (fit for JSON) for every matter"""
    if team.size == 1:
        return
    minds = [json.loads(text) for text in exchange(team, json.dumps(dict(matters)))]
    for rank, mind in enumerate(minds):
        for matter in dict.fromkeys([*minds[0], *mind]):
            ours, theirs = minds[0].get(matter), mind.get(matter)
            if ours != theirs:
                raise RankError(
                    f"the ranks disagree about {matter}: {ours!r} on rank 0, {theirs!r} on rank {rank}; start all of "
                    "them by one mpiexec, with the same command, the same versions and the same data"
                )
