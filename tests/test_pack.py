"""`minigen pack`: the archive is unpacked as Gradescope does it, and its run_autograder judges submissions."""

import json
import os
import stat
import subprocess
import sys
import zipfile

import pytest

from minigen.cli import main
from tests.test_course_check import SOLVED, wrong

pytestmark = pytest.mark.timeout(600)  # whole runs of the grader, on machines that may be busy


@pytest.fixture
def archive(toy):
    assert main(["pack", "e01", "--seconds", "9"]) == 0
    return toy.root / "autograder.zip"


@pytest.fixture
def autograder(archive, tmp_path):
    """Its folder, as the image has it; the environment that setup.sh would make is the one of the tests."""
    root = tmp_path / "autograder"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(root / "source")
    (root / "submission").mkdir()
    return root


def run(root, text):
    (root / "submission" / "e01_toy.py").write_text(text) if text is not None else None
    env = {"PATH": os.environ["PATH"], "AUTOGRADER": str(root), "AUTOGRADER_PYTHON": sys.executable}
    env |= {"HOME": str(root)}
    done = subprocess.run(
        ["bash", str(root / "source/run_autograder")], cwd=root, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads((root / "results/results.json").read_text()), done


def test_a_right_and_a_wrong_submission_get_what_they_earned(autograder):
    right, done = run(autograder, SOLVED)
    assert right["score"] == 3 == sum(one["max_score"] for one in right["tests"]), done.stdout
    wrong_one, _ = run(autograder, wrong("return 3 * x"))
    assert wrong_one["score"] == 2
    (failed,) = [one for one in wrong_one["tests"] if one["status"] == "failed"]
    assert "factor 2" in failed["output"]
    assert sorted(one.name for one in (autograder / "results").iterdir()) == ["results.json"]


def test_an_empty_submission_is_told_so(autograder):
    found, _ = run(autograder, None)
    assert (found["score"], len(found["tests"])) == (0, 3)
    assert "no e01_toy.py was handed in" in found["output"]


def test_a_broken_autograder_blames_itself(autograder):
    checks = autograder / "source/minigen/_course/tests/lessons/test_e01_toy.py"
    checks.write_text("import nothing_here\n" + checks.read_text())
    found, _ = run(autograder, SOLVED)
    assert found["score"] == 0
    assert "cannot run" in found["output"]
    checks.write_text("import numpy\n")
    found, done = run(autograder, SOLVED)
    assert found["score"] == 0
    assert "not your doing" in found["output"]
    assert "no check of double" in done.stderr


def test_the_archive_has_what_gradescope_wants_at_its_top_and_runs_bash(archive):
    with zipfile.ZipFile(archive) as packed:
        entries = {one.filename: one for one in packed.infolist()}
        for name in ("setup.sh", "run_autograder"):
            assert (entries[name].external_attr >> 16) & stat.S_IXUSR
            assert packed.read(name).startswith(b"#!/usr/bin/env bash\n")
            subprocess.run(["bash", "-n"], input=packed.read(name), check=True)
        assert b"numpy==" in packed.read("requirements.txt")
        assert b"LESSONS=(e01_toy)" in packed.read("config.sh")
    assert "minigen/_course/tests/lessons/test_e01_toy.py" in entries
    assert not [
        name for name in entries if "mistakes_" in name or "__pycache__" in name or "exercises" in name
    ]


def test_the_same_lessons_give_the_same_archive_and_nothing_is_overwritten_unasked(archive, capsys):
    before = archive.read_bytes()
    assert main(["pack", "e01", "--seconds", "9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "add --force" in line
    assert main(["pack", "e01", "--seconds", "9", "--force"]) == 0
    assert archive.read_bytes() == before
    assert "3 points" in capsys.readouterr().out
