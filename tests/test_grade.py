"""`minigen grade DIR`: who handed in what, every verdict right, nothing lost by a kill, files other programs read."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile

import pytest

from minigen.cli import main
from minigen.course import submission
from minigen.course.formats import gradescope, junit, summary, table
from minigen.course.submission import find
from tests import toy_course
from tests.test_course_check import SOLVED, wrong

pytestmark = pytest.mark.timeout(600)  # whole runs of the grader, on machines that may be busy
SLOPPY = wrong("return 3 * x")
# status and score that each must come to
HANDED = {
    "ada": (SOLVED, "passed", 3),
    "bo": (SLOPPY, "failed", 2),
    "cy": (wrong("while True: pass"), "limit", 2),
    "di": (wrong("return x", "while True: pass"), "limit", 0),
    "ed": (wrong("import os; os._exit(0)"), "failed", 2),
    "flo": (SOLVED + "\ndef f(:\n", "refused", 0),
    "gus": (None, "missing", 0),
    "hal": (wrong("return x", "from solutions.e01_toy import *"), "refused", 0),
}
# The fields of Gradescope's autograder specification.
TOP = {
    "score",
    "execution_time",
    "output",
    "output_format",
    "test_output_format",
    "test_name_format",
    "visibility",
}
TOP |= {"stdout_visibility", "extra_data", "tests", "leaderboard"}
TEST = {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags"}
TEST |= {"visibility", "extra_data"}
VISIBLE = {"hidden", "after_due_date", "after_published", "visible"}


def hand_in(folder, handed=HANDED):
    for name, (text, *_) in handed.items():
        (folder / name).mkdir(parents=True)
        if text is None:
            (folder / name / "essay.txt").write_text("the dog ate it")
        else:
            (folder / name / "e01_toy.py").write_text(text)
    return folder


def records(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(folder of results, what was printed) of one run on all of HANDED."""
    base = tmp_path_factory.mktemp("grade")
    toy_course.build(base / "toy")
    hand_in(base / "hw")
    for name in ("conftest.py", "sitecustomize.py", "numpy.py"):
        (base / "hw" / "bo" / name).write_text("import os; os._exit(0)")
    words = ["grade", str(base / "hw"), "--jobs", "2", "--seconds", "5", "--format", "gradescope,junit,csv"]
    command = [sys.executable, "-m", "minigen", *words]
    found = subprocess.run(command, cwd=base / "toy", capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return base / "hw-grades", found.stdout


@pytest.mark.parametrize("name", HANDED)
def test_every_verdict_is_right(graded, name):
    (record,) = [one for one in records(graded[0]) if one["student"] == name]
    assert (record["status"], record["score"]) == HANDED[name][1:], record["message"]
    assert record["max_score"] == len(record["holes"]) == 3
    assert bool(record["message"]) == (name != "ada")


def test_one_seed_for_all_and_a_line_for_each(graded):
    found = records(graded[0])
    assert len(found) == len(HANDED)
    assert len({one["seed"] for one in found}) == 1
    assert graded[1].count("e01_toy  ") == len(HANDED)
    assert "hardest" in graded[1]


def test_gradescope_gets_its_documented_fields(graded):
    for name, (_, _, score) in HANDED.items():
        found = json.loads((graded[0] / "gradescope" / f"{name}.json").read_text())
        assert set(found) <= TOP
        assert found["score"] == score == sum(one["score"] for one in found["tests"])
        assert {found["visibility"], found["stdout_visibility"]} <= VISIBLE
        assert isinstance(found["execution_time"], int | float)
        assert len(found["tests"]) == 3
        for one in found["tests"]:
            assert set(one) <= TEST
            assert one["status"] in ("passed", "failed")
            assert one["visibility"] in VISIBLE
            assert (one["status"] == "passed") == (one["score"] == one["max_score"] == 1)
            assert one["output"]


def test_junit_counts_what_it_lists(graded):
    suites = list(ET.parse(graded[0] / "junit.xml").getroot())
    assert len(suites) == len(HANDED)
    for suite in suites:
        assert int(suite.get("tests")) == len(suite) == 3
        assert int(suite.get("failures")) == len(suite.findall("*/failure"))
        assert int(suite.get("skipped")) == len(suite.findall("*/skipped"))


def test_csv_has_a_row_for_each(graded):
    with open(graded[0] / "grades.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["student"]: (row["status"], int(row["score"])) for row in rows} == {
        name: one[1:] for name, one in HANDED.items()
    }


def test_a_run_that_was_killed_loses_and_repeats_nothing(toy, tmp_path, capsys):
    handed = {f"s{i}": (SOLVED if i != 2 else wrong("import time; time.sleep(60)"), "", 0) for i in range(4)}
    folder = hand_in(tmp_path / "hw", handed)
    out = tmp_path / "out"
    words = ["grade", str(folder), "--out", str(out)]
    run = subprocess.Popen([sys.executable, "-m", "minigen", *words], cwd=toy.root, stdout=subprocess.DEVNULL)
    while not (out / "results.jsonl").exists() or len(records(out)) < 2:
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = (out / "results.jsonl").read_bytes()
    with open(out / "results.jsonl", "ab") as file:
        file.write(b'{"student": "s2", "less')  # a line that the kill cut short
    (folder / "s2" / "e01_toy.py").write_text(SOLVED)
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    after = (out / "results.jsonl").read_bytes()
    assert after.startswith(before)
    found = records(out)
    assert sorted(one["student"] for one in found) == sorted(handed)
    assert all(one["status"] == "passed" for one in found)
    assert len({one["seed"] for one in found}) == 1, "the rest is graded with the inputs of the first"
    assert main([*words, "--resume"]) == 0
    assert (out / "results.jsonl").read_bytes() == after, "nothing left to do"


def test_children_end_with_a_grader_that_is_killed(toy, tmp_path):
    folder = hand_in(tmp_path / "hw", {"s": (wrong("open('at', 'w').close()\n    while True: pass"), "", 0)})
    command = [sys.executable, "-m", "minigen", "grade", str(folder)]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.Popen(command, cwd=toy.root, env=env, stdout=subprocess.DEVNULL)
    while not (at := list(tmp_path.glob("minigen-*/*/at"))):
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.wait()
    scratch = str(at[0].parent.parent)
    while any(scratch in place for place in _working_folders()):
        time.sleep(0.02)  # the test's own time limit ends a wait that is in vain


def _working_folders():
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        try:
            yield os.readlink(f"/proc/{entry}/cwd")
        except OSError:
            continue


def test_ctrl_c_keeps_what_there_is(toy, tmp_path):
    folder = hand_in(tmp_path / "hw", {"a": (SOLVED, "", 0), "b": (wrong("while True: pass"), "", 0)})
    command = [sys.executable, "-m", "minigen", "grade", str(folder)]
    run = subprocess.Popen(command, cwd=toy.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in run.stdout:
        if line.startswith("[1/2]"):
            break
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 130
    assert err.splitlines() == ["minigen: stopped; 1 results are kept: add --resume to go on"]


def test_what_counts_as_a_submission(toy, tmp_path):
    hw = tmp_path / "hw"
    hand_in(hw, {"deep/exercises": ("1", "", 0), "deep/solutions": ("2", "", 0), "two/a": ("1", "", 0)})
    hand_in(hw, {"two/b": ("2", "", 0), "late": ("1", "", 0), "big": ("#" * 2**21, "", 0)})
    (hw / "late/e01_toy-1.py").write_text("2")
    (hw / "link").mkdir()
    (hw / "link/e01_toy.py").symlink_to(toy.lesson("e01").solution)
    (hw / "latin").mkdir()
    (hw / "latin/e01_toy.py").write_bytes(b"# \xe9")
    (hw / "kim_123_e01_toy-2.py").write_text("3")
    (hw / "kim_123_e01_toy.py").write_text("2")
    (hw / "notes.pdf").write_text("")
    with zipfile.ZipFile(hw / "zoe.zip", "w") as archive:
        archive.writestr("x/../../e01_toy.py", "1")
    (hw / "bad.zip").write_bytes(b"PK\3\4nonsense")
    found, ignored = find(hw, toy.lessons)
    found = {one.student: one for one in found}
    texts = {name: one.files["e01_toy"].text for name, one in found.items() if "e01_toy" in one.files}
    says = {
        name: one.problem or getattr(one.files.get("e01_toy"), "problem", "") for name, one in found.items()
    }
    assert (texts["deep"], texts["late"], texts["zoe"]) == ("1", "2", "1")
    assert texts["kim_123"] == "3"
    assert ignored == ["notes.pdf"]
    for name, word in {"two": "2 different files", "big": "expected 1,048,576", "link": "a link"}.items():
        assert word in says[name]
    assert "not UTF-8" in says["latin"]
    assert "not a zip" in says["bad"]
    assert not list(tmp_path.rglob("e01_toy.py.*")), "nothing is unpacked"


def test_a_zip_that_unpacks_to_more_than_it_says_is_cut(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "LARGEST", 1000)
    (tmp_path / "hw").mkdir()
    with zipfile.ZipFile(tmp_path / "hw" / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("e01_toy.py", "#" * 10**6)
    (one,), _ = find(tmp_path / "hw", toy.lessons)
    assert "longer than 1,000" in one.files["e01_toy"].problem


def test_one_folder_is_one_submission(toy, tmp_path, capsys):
    (tmp_path / "submission").mkdir()
    assert main(["grade", str(tmp_path / "submission"), "--one", "--lessons", "e01"]) == 0
    (record,) = records(tmp_path / "submission-grades")
    assert (record["student"], record["status"]) == ("submission", "missing")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "is not a folder"),
        (["empty"], "no submission in"),
        (["hw", "--format", "pdf"], "no format 'pdf'"),
        (["hw", "--lessons", "e77"], "no lesson 'e77'"),
        (["odd"], "no lesson's file"),
        (["hw", "--out", "hw/ada/e01_toy.py"], "cannot be written"),
        (["hw", "--jobs", "0"], "whole number from 1"),
        (["hw", "--out", "broken", "--resume"], "broken/results.jsonl:1 is no result"),
    ],
)
def test_errors_are_one_line(toy, words, says, capsys):
    hand_in(toy.root / "hw", {"ada": (SOLVED, "", 0)})
    hand_in(toy.root / "odd", {"ada": (None, "", 0)})
    (toy.root / "empty").mkdir()
    (toy.root / "broken").mkdir()
    (toy.root / "broken/results.jsonl").write_text("[1]\n")
    assert main(["grade", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_other_programs_cannot_be_fooled_by_what_a_message_says():
    hole = {
        "hole": "f",
        "state": "failing",
        "score": 0,
        "message": "a\x00<b>&\ud800",
        "kind": "value",
        "line": 3,
    }
    record = {
        "student": "=cmd|'/c calc'!A1",
        "lesson": "e01_toy",
        "status": "failed",
        "score": 0,
        "max_score": 1,
    }
    record |= {
        "message": "@SUM(A1)",
        "line": 3,
        "seconds": 1.0,
        "notes": [],
        "path": "p",
        "seed": 1,
        "holes": [hole],
    }
    assert ET.fromstring(junit([record]))[0][0][0].get("message").startswith("value check: a")
    assert "\"'=cmd" in table([record]) or "'=cmd" in table([record])
    assert json.loads(json.dumps(gradescope([record])))["tests"][0]["output"].endswith("line 3")
    assert summary([record])[-1].strip().startswith("e01:f    0% of 1 done")
