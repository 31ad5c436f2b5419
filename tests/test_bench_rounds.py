"""Peers are compared before they are timed, and one that fails does not take the others along. Peers are fakes."""

from __future__ import annotations

import mmap
import sys
from typing import ClassVar

import numpy as np
import pytest

from benchmarks import peaks, resident, rounds, table
from benchmarks.peers import PEERS, PeerError

MACHINE = {"date": "today", "cpu": "c", "system": "s", "libc": "l", "cores": 2, "python": "3"}


class Fake:
    """A worker that answers from a script: what its values are, how long steps take, when it dies"""

    scripts: ClassVar[dict] = {}
    closed: ClassVar[list] = []

    def __init__(self, peer, threads):
        self.peer, self.script, self.asked = peer, dict(self.scripts[peer.name]), 0

    def ask(self, do, **arguments):
        self.request = do, arguments

    def answer(self):
        do, arguments = self.request
        return getattr(self, do)(**arguments)

    def call(self, do, **arguments):
        self.ask(do, **arguments)
        return self.answer()

    def build(self, values, **_):
        loss, gradient = self.script.get("loss", 1.0), self.script.get("gradient", [1.0, 2.0])
        np.savez(values, loss=loss, gradient=np.array(gradient))
        return self.described()

    def described(self):
        return {"parameters": self.script.get("parameters", 7), "versions": {}}

    def measure(self, seconds):
        self.asked += 1
        if self.asked == self.script.get("dies"):
            raise PeerError(f"{self.peer.title}: the worker ended with code 9")
        return {"times": [self.script["seconds"]]}

    def memory(self, **_):
        type(self).scripts[self.peer.name]["mb"] = self.script["mb"][1:]
        return self.described() | {"peak_mb": self.script["mb"][0]}

    def rates(self):
        return {"flops": 1e9, "bytes": 1e9}

    def close(self):
        self.closed.append(self.peer.name)


@pytest.fixture
def run(monkeypatch):
    """run({peer: script}, rounds=...) -> the record"""
    monkeypatch.setattr(rounds, "Worker", Fake)
    monkeypatch.setattr(peaks, "Worker", Fake)
    monkeypatch.setattr(rounds, "SETTLE", 0.0)

    def go(scripts, n=3, case="ae_step", measure=rounds.run_case):
        monkeypatch.setattr(Fake, "scripts", {k: dict(v) for k, v in scripts.items()})
        monkeypatch.setattr(Fake, "closed", [])
        more = {"seconds": 0.1} if measure is rounds.run_case else {}
        return measure(case, [PEERS[name] for name in scripts], threads=2, rounds=n, tiny=True, **more)

    return go


def test_peers_that_agree_are_timed(run):
    record = run({"minigen": {"seconds": 0.002}, "torch": {"seconds": 0.004, "loss": 1.0005}})
    assert record["errors"] == []
    assert record["peers"]["minigen"]["rounds_ms"] == [2.0] * 3
    assert record["ratios"] == {"torch": 0.5}
    assert record["peers"]["torch"]["difference"] == pytest.approx(5e-4)
    assert Fake.closed == ["minigen", "torch"]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({"loss": 1.01}, "loss differs"),
        ({"loss": np.nan}, "loss differs"),
        ({"gradient": [1.0, 2.01]}, "gradient differs"),
        ({"gradient": [1.0]}, "another shape"),
        ({"parameters": 8}, "8 parameters, minigen has 7"),
    ],
)
def test_a_peer_that_differs_is_not_timed(run, script, complaint):
    record = run({"minigen": {"seconds": 0.002}, "torch": {"seconds": 0.004} | script})
    assert complaint in record["errors"][0]
    assert list(record["peers"]) == ["minigen"]
    assert record["ratios"] == {}


@pytest.mark.parametrize("dead", ["minigen", "torch"])
def test_a_peer_that_dies_leaves_the_others(run, dead):
    scripts = {name: {"seconds": 0.002} for name in ("minigen", "torch", "jax")}
    scripts[dead]["dies"] = 2
    record = run(scripts)
    assert "ended with code 9" in record["errors"][0]
    assert dead not in record["peers"]
    assert {len(row["rounds_ms"]) for row in record["peers"].values()} == {3}
    assert sorted(Fake.closed) == ["jax", "minigen", "torch"]
    assert record["floor"]["flops_per_s"] == 1e9, "another peer measures the machine"


def test_a_long_round_is_enough_by_itself(run, monkeypatch):
    clock = iter(range(0, 10**6, 40))  # 40 s pass between any two looks at it
    monkeypatch.setattr(rounds.time, "monotonic", lambda: next(clock))
    record = run({"minigen": {"seconds": 0.002}, "torch": {"seconds": 40.0}})
    assert len(record["peers"]["torch"]["rounds_ms"]) == 1
    assert record["ratios"]["torch"] == pytest.approx(5e-5)


def test_memory_is_the_median_of_processes(run):
    scripts = {"minigen": {"mb": [30.0, 33.0, 90.0]}, "torch": {"mb": [22.0, 21.0, 22.5]}}
    record = run(scripts, measure=peaks.weigh_case)
    assert record["peers"]["minigen"]["peak_mb"] == 33.0
    assert record["peers"]["torch"]["rounds_mb"] == [22.0, 21.0, 22.5]
    assert record["ratios"] == {"torch": 1.5}
    assert Fake.closed == ["minigen"] * 3 + ["torch"] * 3


def test_memory_of_another_model_is_refused(run):
    scripts = {"minigen": {"mb": [1.0]}, "torch": {"mb": [1.0], "parameters": 9}, "jax": {"mb": [4.0]}}
    record = run(scripts, n=1, measure=peaks.weigh_case)
    assert "PyTorch eager: 9 parameters, minigen has 7" in record["errors"][0]
    assert record["ratios"] == {"jax": 0.25}


def test_memory_has_a_table_of_its_own(run):
    record = run({"minigen": {"mb": [30.0]}, "torch": {"mb": [20.0]}}, n=1, measure=peaks.weigh_case)
    result = {"what": "memory", "peers": ["minigen", "torch"], "records": [record], "threads": [2]}
    text = table.markdown(result | {"rounds": 1, "versions": {}, "machine": MACHINE})
    assert "| ae_step | 2 | 30.0 | 20.0 | 1.50 |" in text
    assert "GFLOP" not in text


def test_samplers_have_a_table_of_their_own(run):
    peers = {"minigen": {"seconds": 0.1}, "torch": {"seconds": 20.0}}
    records = [run(peers, n=1, case=case) for case in ("ae_step", "pixelcnn_sample:12", "pixelrnn_sample")]
    result = {"peers": list(peers), "records": records, "threads": [2], "rounds": 1, "seconds": 0.1}
    steps, samplers = table.tables(result)
    assert [row[0] for row in steps[1]] == ["ae_step"]
    assert samplers[0][-1] == "PyTorch eager / minigen"
    assert samplers[1][0] == ["pixelcnn_sample:12", "2", "100", "20000", "200"]
    assert "20000 | 200 |" in table.markdown(result | {"versions": {}, "machine": MACHINE})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets the peak be reset")
def test_peak_counts_what_was_given_back():
    before = resident.resident_mb()
    resident.reset_peak()
    with mmap.mmap(-1, 50 * 2**20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    assert resident.peak_mb() - before > 50, "it was resident, and is counted after it went"
    resident.reset_peak()
    assert resident.peak_mb() - before < 50, "and no longer after the reset"
