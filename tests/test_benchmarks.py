"""The benchmark runs on minigen at tiny sizes, and its arithmetic is right. No timing decides a test."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import cases, machine, rounds, table
from benchmarks.__main__ import main
from benchmarks.cases import Work


@pytest.mark.parametrize("name", cases.NAMES)
def test_case_runs_on_minigen(name):
    run = cases.build(name, "minigen", tiny=True)
    before = run.values()
    run.step()
    run.step()
    after = run.values()
    assert run.parameters > 0
    for key in before:
        assert np.isfinite(before[key]).all(), f"{name}: {key} is not finite before training"
        assert np.isfinite(after[key]).all(), f"{name}: {key} is not finite after two steps"
    gradients = [before[key] for key in before if key != "loss"]
    assert gradients, f"{name}: gives no gradient to compare"
    assert all(np.abs(g).max() > 0 for g in gradients), f"{name}: a gradient is zero throughout"


@pytest.mark.parametrize("name", [name for name in cases.NAMES if name.endswith("_step")])
def test_step_learns(name):
    run = cases.build(name, "minigen", tiny=True)
    start = run.values()["loss"]
    for _ in range(20):
        run.step()
    assert run.values()["loss"] < start, f"{name}: twenty steps did not lower the loss"


@pytest.mark.parametrize("name", [name for name in cases.NAMES if not name.endswith("_sample")])
def test_gradients_are_as_many_as_the_weights(name):
    case, rng = cases.load(name), np.random.default_rng(0)
    weights = case.weights(case.TINY, rng)
    run = cases.build(name, "minigen", tiny=True)
    assert run.parameters == sum(w.size for w in weights), f"{name}: the model has other parameters"
    shapes = [v.shape for key, v in run.values().items() if key != "loss"]
    assert shapes[-len(weights) :] == [w.shape for w in weights], f"{name}: gradients have other shapes"


def test_command_without_peers(tmp_path, capsys):
    path = tmp_path / "out.json"
    options = ["--peers", "minigen", "--cases", "op_overhead", "--threads", "1", "--tiny"]
    code = main([*options, "--rounds", "1", "--seconds", "0.01", "--json", str(path)])
    result = json.loads(path.read_text())
    record = result["records"][0]
    assert code == 0
    assert record["errors"] == []
    assert record["ratios"] == {}
    assert record["peers"]["minigen"]["median_ms"] > 0
    assert {"numpy", "minigen"} <= set(result["versions"])
    assert "op_overhead" in capsys.readouterr().out


def test_ratios_are_paired_by_round():
    peers = {"minigen": {"rounds_ms": [1.0, 20.0, 3.0]}, "torch": {"rounds_ms": [2.0, 10.0, 4.0]}}
    assert rounds.ratios(peers) == {"torch": 0.75}, "the median of 0.5, 2 and 0.75"
    assert rounds.ratios({"torch": {"rounds_ms": [1.0]}}) == {}


def test_floor_is_the_longer_of_products_and_traffic():
    rates = {"flops": 1e9, "bytes": 1e9}
    assert rounds.floor(Work(operations=2e9, bytes=1e9), rates)["floor_ms"] == pytest.approx(2000)
    assert rounds.floor(Work(operations=1e9, bytes=3e9), rates)["floor_ms"] == pytest.approx(3000)
    assert rounds.floor(Work(ops=10), {"flops": 0.0, "bytes": 0.0})["floor_ms"] == 0


def test_markdown_leaves_a_missing_peer_empty():
    floor = rounds.floor(Work(operations=1e9), {"flops": 1e12, "bytes": 1e9})
    records = [
        {"case": c, "threads": 2, "floor": floor, "peers": {"minigen": {"median_ms": 2.0}}, "ratios": ratios}
        for c, ratios in (("ae_step", {}), ("vae_step", {"torch": 0.5}))
    ]
    result = {"records": records, "peers": ["minigen", "torch"], "machine": machine.facts(), "versions": {}}
    text = table.markdown(result | {"rounds": 1, "seconds": 1.0, "threads": [2]})
    assert "| ae_step | 2 | 2.00 | - | - | 1.00 | 2.00 | - |" in text
    assert "| vae_step | 2 | 2.00 | - | 0.50 | 1.00 | 2.00 | - |" in text
    assert "2 threads: 0.50" in text, "the geometric mean of the ratios that there are"
