"""The command line of the course, as it is typed."""

import json
import os
import signal
import subprocess
import sys

import pytest

from minigen.cli import main
from minigen.course.progress import Progress
from minigen.course.watching import watch
from tests import toy_course


def solve(toy, hole="all"):
    path = toy.lesson("e01").exercise
    if hole == "all":
        path.write_text(toy_course.SOLUTION)
    else:
        path.write_text(
            path.read_text().replace('raise NotImplementedError("double: return twice x")', "return 2 * x")
        )
    return path


def test_check_goes_from_not_started_to_done(toy, capsys):
    assert main(["check", "e01"]) == 3
    out = capsys.readouterr().out
    assert "checked exercises/e01_toy.py" in out
    assert "nothing is started" in out
    solve(toy, "double")
    assert main(["check", "toy:double"]) == 0
    assert main(["check"]) == 1
    solve(toy)
    assert main(["check", "--all"]) == 0
    assert "all done" in capsys.readouterr().out
    record = Progress.load(toy.root).hole("e01_toy", "double")
    assert (record["tries"], record["passes"], record["failures"], record["done"]) == (3, 3, 0, True)


def test_check_explains_a_failure(toy, capsys):
    path = solve(toy)
    path.write_text(path.read_text().replace("return helper(x)", "print('here'); return x.nothing"))
    assert main(["check", "e01", "--seed", "7"]) == 1
    out = capsys.readouterr().out
    line = path.read_text().splitlines().index("    print('here'); return x.nothing") + 1
    for words in (
        "AttributeError",
        f"exercises/e01_toy.py:{line}: print",
        "here",
        "minigen hint e01:double",
        "--seed 7",
    ):
        assert words in out
    assert Progress.load(toy.root).hole("e01_toy", "double")["failures"] == 1


def test_check_another_file_leaves_progress_alone(toy, tmp_path, capsys):
    other = tmp_path / "e01_toy.py"
    other.write_text(toy_course.SOLUTION)
    assert main(["check", "--file", str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["lessons"][0]["path"]) == (0, str(other))
    assert not (toy.root / ".minigen").exists()
    assert main(["check", "--file", str(other), "--all"]) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chek"], "did you mean `minigen check`"),
        (["check", "tou"], "did you mean e01_toy"),
        (["check", "e01:doubel"], "did you mean double"),
        (["check", "--bad"], "unrecognized arguments"),
        (["hint"], "required"),
        (["reset", "e01"], "add --yes"),
        (["solution", "e01"], "add --yes"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(toy, capsys, monkeypatch, words, says):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert main(words) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.strip().splitlines()) == 1
    sys.stdin.close()


def test_status_list_and_read(toy, capsys):
    assert main([]) == 0
    assert "type: minigen read e01" in capsys.readouterr().out
    solve(toy, "double")
    main(["check", "e01"])
    capsys.readouterr()
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 holes done" in out
    assert "type: minigen check e01" in out
    assert main(["list"]) == 0
    assert "1/3 done" in capsys.readouterr().out
    assert main(["read", "e01"]) == 0
    assert "Twice, and a layer." in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert main(["check", "--help"]) == 0
    assert main(["--version"]) == 0


def test_hints_come_one_by_one(toy, capsys):
    for words in (
        "1 of 3\nWhat is twice?",
        "2 of 3\nMultiply.",
        "3 of 3\nreturn x * 2",
        "3 of 3\nreturn x * 2",
    ):
        assert main(["hint", "e01"]) == 0
        assert words in capsys.readouterr().out


def test_solution_shows_a_diff(toy, capsys):
    solve(toy, "double")
    assert main(["solution", "e01:double", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "-    return 2 * x" in out
    assert "+    return helper(x)" in out
    assert Progress.load(toy.root).hole("e01_toy", "double")["solution"] is True


def test_reset_keeps_numbered_backups(toy, capsys):
    stub = toy.lesson("e01").exercise.read_text()
    for number in (1, 2):
        path = solve(toy)
        assert main(["reset", "e01", "--yes"]) == 0
        kept = f".minigen/backups/e01_toy.{number}.py"
        assert kept in capsys.readouterr().out
        assert (toy.root / kept).read_text() == toy_course.SOLUTION
        assert path.read_text() == stub


def test_reset_of_one_hole_leaves_the_others(toy):
    path = solve(toy)
    assert main(["reset", "e01:Layer.__call__", "--yes"]) == 0
    text = path.read_text()
    assert text.count("NotImplementedError") == 1
    assert "return helper(x)" in text
    path.write_text(text.replace("def double", "def doubled"))
    assert main(["reset", "e01:double", "--yes"]) == 0
    assert path.read_text().count("def double(x)") == 1
    path.write_text("def f(:\n")
    assert main(["reset", "e01:double", "--yes"]) == 2


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"lessons": {"e01_toy": 3}}', "", '{"lessons": {"e01_toy": {"double": {"tries": "x"}}}}'],
)
def test_damaged_progress_is_set_aside(toy, capsys, damage):
    path = toy.root / ".minigen/progress.json"
    path.parent.mkdir()
    path.write_text(damage)
    assert main([]) == 0
    err = capsys.readouterr().err
    if "tries" not in damage:
        assert "set aside as progress.damaged-1" in err
        assert (path.parent / "progress.damaged-1").read_text() == damage
    solve(toy, "double")
    assert main(["check", "e01"]) == 1
    assert Progress.load(toy.root).hole("e01_toy", "double")["tries"] == 1


def test_watching_checks_now_and_after_each_change(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("1")
    seen = []

    def sleep(_):
        seen.append("sleep")
        if len(seen) == 4:
            path.unlink()
        if len(seen) == 6:
            path.write_text("22")

    watch(path, lambda: seen.append("check"), once=True, sleep=sleep)
    assert seen == ["check", "sleep", "sleep", "sleep", "sleep", "sleep", "check"]


def test_ctrl_c_ends_a_watch_quietly(toy):
    command = [sys.executable, "-u", "-m", "minigen", "watch", "e01"]
    process = subprocess.Popen(
        command, cwd=toy.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if "watching" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


def test_a_closed_pipe_is_quiet(toy):
    done = subprocess.run(
        f"{sys.executable} -m minigen list | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=toy.root,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor_looks_at_everything(toy, capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [one["name"] for one in found["findings"]]
    assert {"python", "numpy", "blas", "rich", "matplotlib", "cupy", "data", "course", "writable"} <= set(
        names
    )
    assert main(["doctor"]) == 0


def test_doctor_outside_a_working_installation_is_5(toy, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["doctor"]) == 5
    assert "pip install 'rich" in capsys.readouterr().out
