"""What the README shows is what happens: its code runs, its commands print what it says, its files exist."""

import re
from pathlib import Path

import pytest

from minigen.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.S)
SHOWN = re.findall(r"    \$ minigen (.*)\n((?:    .*\n)+)", README)


def test_the_library_example_runs():
    (example,) = [code for code in PYTHON if "import numpy" in code]
    names: dict = {}
    exec(example, names)
    assert 0 < names["loss"].item() < 1.5, "one epoch of the README's classifier does not learn"


@pytest.mark.parametrize("right", [False, True])
def test_the_gradient_check_prints_what_is_shown(right, tmp_path, monkeypatch, capsys):
    (code,) = [code for code in PYTHON if "mean_rows" in code]
    if right:
        wrong_rule, right_rule = "g * (x * 0 + 1)", re.search(r"`(g \* [^`]*)`", README)[1]
        assert wrong_rule in code
        code = code.replace(wrong_rule, right_rule)
    command, shown = SHOWN[right]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    Path("mean_rows.py").write_text(code, encoding="utf-8")
    assert main(command.split()) == (0 if right else 1)
    printed = capsys.readouterr().out.split()
    # the last digits of a difference are the machine's
    numbers = re.compile(r"\d\.\d+(e-\d+)?|\de-\d+")
    assert [numbers.sub("#", w) for w in printed] == [numbers.sub("#", w) for w in shown.split()]


def test_ci_runs_the_two_commands():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert ".venv/bin/minigen train autoencoder" in script
    assert ".venv/bin/minigen train autoencoder" in README
    assert ".venv/bin/python -m pytest -n auto\n" in script
    assert ".venv/bin/python -m pytest -n auto\n" in README


def test_every_file_that_is_named_exists():
    named = set(re.findall(r"`((?:exercises|solutions|docs|minigen|tests|benchmarks)/[\w./-]*)`", README))
    named |= set(re.findall(r"\]\(((?!http)[^)]+)\)", README))
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert not missing
