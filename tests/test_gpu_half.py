"""What runs on a device where there is one, and says in one line why it does nothing where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest
from strict import STRICT

from benchmarks import cases, gpu
from minigen.backend import is_available, using

ROOT = Path(__file__).parent.parent
nowhere = pytest.mark.skipif(is_available("cupy"), reason="here a device computes")


@nowhere
def test_the_benchmark_says_why_it_measures_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gpu.main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("bench-gpu: nothing was measured: backend 'cupy' ")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", cases.STEPS)
def test_every_step_of_the_benchmark_runs_on_a_backend_of_its_own(name, capsys):
    """On the strict one: the code of the measurement and of minigen's half, not its time."""
    with using(STRICT):
        record = gpu.compare(name, STRICT, rounds=1, seconds=1e-9, tiny=True)
    assert record["median_ms"].keys() == {"minigen"}
    assert record["agree"]
    assert capsys.readouterr().out.startswith(f"{name}: minigen ")


@nowhere
def test_the_marked_tests_say_why_they_do_nothing():
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_doctor.py",
    ]
    done = subprocess.run([*words, "--no-header"], cwd=ROOT, capture_output=True, text=True, timeout=100)
    lines = [
        line for line in done.stdout.splitlines() if line.startswith("the tests marked gpu do nothing here: ")
    ]
    assert len(lines) == 1
    assert "backend 'cupy' " in lines[0]
