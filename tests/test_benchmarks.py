"""The benchmark runs on minigen at tiny sizes, and its arithmetic is right. No timing decides a test."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import cases, machine, rounds, table
from benchmarks.__main__ import arguments, main
from benchmarks.cases import Work

EVERY = (*cases.NAMES, *cases.GROUPS["course"])
STEPS = (*cases.STEPS, *cases.GROUPS["course"])


@pytest.mark.parametrize("name", EVERY)
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


@pytest.mark.parametrize("name", STEPS)
def test_step_learns(name):
    run = cases.build(name, "minigen", tiny=True)
    start = run.values()["loss"]
    for _ in range(20):
        run.step()
    assert run.values()["loss"] < start, f"{name}: twenty steps did not lower the loss"


@pytest.mark.parametrize("name", [name for name in EVERY if name not in cases.SAMPLES])
def test_gradients_are_as_many_as_the_weights(name):
    case, rng = cases.load(name), np.random.default_rng(0)
    weights = case.weights(case.TINY, rng)
    run = cases.build(name, "minigen", tiny=True)
    assert run.parameters == sum(w.size for w in weights), f"{name}: the model has other parameters"
    shapes = [v.shape for key, v in run.values().items() if key != "loss"]
    assert shapes[-len(weights) :] == [w.shape for w in weights], f"{name}: gradients have other shapes"


@pytest.mark.parametrize("name", cases.STEPS)
def test_course_model_is_the_same_computation(name):
    """The engine's layers and the model of solutions/: loss and every gradient"""
    course = f"{name}:{cases.COURSE}"
    size, rng = cases.size_of(course, tiny=True), np.random.default_rng(3)
    case = cases.load(name)
    given = case.weights(size, rng), case.inputs(size, rng)
    engine, solutions = (build(size, *given, False) for build in (case.minigen, case.solutions))
    assert solutions.parameters == engine.parameters
    before, through = engine.values(), solutions.values()
    assert before.keys() == through.keys()
    for key in before:
        assert through[key] == pytest.approx(before[key], rel=1e-4, abs=1e-5), f"{name}: {key}"
    for run in (engine, solutions):
        for _ in range(3):
            run.step()
    assert solutions.values()["loss"] == pytest.approx(engine.values()["loss"], rel=1e-3), "after three steps"


@pytest.mark.parametrize("name", cases.SAMPLES)
def test_sampler_has_the_step_s_model(name):
    """The same seed gives the same weights and images: nats per image are the loss of the step"""
    step = name.replace("_sample", "_step")
    drawn, trained = (cases.build(n, "minigen", tiny=True).values() for n in (name, step))
    assert drawn["loss"] == pytest.approx(trained["loss"], rel=1e-5)


def test_sampler_draws_from_the_given_numbers():
    images = [cases.build("pixelrnn_sample", "minigen", tiny=True).step() for _ in range(2)]
    assert images[0].shape == (2, 6, 6)
    assert (images[0] == images[1]).all()
    assert set(np.unique(images[0])) == {0, 1}


def test_names_have_variants():
    assert cases.known("ae_step:solutions")
    assert cases.known("pixelcnn_sample:12")
    unknown = ["ae", "ae_step:", "ae_step:12", "conv_fb:solutions", "pixelcnn_sample:0", "pixelcnn_sample:x"]
    assert [name for name in unknown if cases.known(name)] == []
    assert all(cases.known(name) for group in cases.GROUPS.values() for name in group)
    assert cases.size_of("pixelcnn_sample:12").side == 12
    assert cases.size_of("ae_step:solutions").course
    assert not cases.size_of("ae_step").course


def test_command_takes_groups_and_variants(capsys):
    asked = arguments(["--cases", "growth,ae_step:solutions,ae_step:solutions"]).cases
    assert asked == [*cases.GROUPS["growth"], "ae_step:solutions"]
    assert arguments([]).cases == list(cases.NAMES)
    assert not set(arguments(["--memory"]).cases) & set(cases.SAMPLES), "drawing is no training step"
    with pytest.raises(SystemExit):
        arguments(["--cases", "ae_step:solution"])
    assert "unknown: ae_step:solution" in capsys.readouterr().err


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
    assert len([line for line in text.splitlines() if line.startswith("| ---")]) == 1, "no sampler, no table"
    assert "| ae_step | 2 | 2.00 | - | - | 1.00 | 2.00 | - |" in text
    assert "| vae_step | 2 | 2.00 | - | 0.50 | 1.00 | 2.00 | - |" in text
    assert "2 threads: 0.50" in text, "the geometric mean of the ratios that there are"


def test_steps_through_the_course_have_a_mean_of_their_own():
    records = [
        {"case": case, "threads": 1, "ratios": {"torch": ratio}}
        for case, ratio in (
            ("ae_step", 0.5),
            ("vae_step", 2.0),
            ("ae_step:solutions", 0.25),
            ("conv_fb", 9.0),
        )
    ]
    assert table.geometric_mean(records) == pytest.approx(1.0)
    assert table.geometric_mean(records, variant="solutions") == pytest.approx(0.25)
    assert table.geometric_mean([]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0053, "0.0053"), (0.0, "0.00"), (0.5, "0.50"), (12.34, "12.3"), (188.4, "188")],
)
def test_numbers_have_two_or_three_figures(value, text):
    assert table.number(value) == text


def test_worker_measures_memory(tmp_path):
    path = tmp_path / "memory.json"
    options = ["--memory", "--peers", "minigen", "--cases", "ae_step", "--threads", "1", "--tiny"]
    assert main([*options, "--rounds", "1", "--json", str(path)]) == 0
    (record,) = json.loads(path.read_text())["records"]
    assert record["errors"] == []
    assert record["peers"]["minigen"]["peak_mb"] >= 0
    assert record["peers"]["minigen"]["parameters"] > 0
