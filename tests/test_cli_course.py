"""The command line of the course, as it is typed."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from minigen.cli import main
from minigen.course import verdict
from minigen.course.progress import Progress
from minigen.course.waiting import Notice
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
    assert "--file goes with one lesson" in capsys.readouterr().err


def test_several_holes_of_another_file(toy, tmp_path, capsys):
    other = tmp_path / "kims.py"
    other.write_text(toy_course.SOLUTION.replace("return helper(x)", "return 3 * x"))
    words = ["check", "e01:double", "e01:both", "--file", str(other), "--json"]
    assert main(words) == 1
    (lesson,) = json.loads(capsys.readouterr().out)["lessons"]
    assert {hole["hole"]: hole["state"] for hole in lesson["holes"]} == {"double": "failing", "both": "done"}
    assert not (toy.root / ".minigen").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chek"], "did you mean `minigen check`"),
        (["check", "tou"], "did you mean e01_toy"),
        (["check", "e01:doubel"], "did you mean double"),
        (["check", "e01:Lyer"], "did you mean Layer.__call__"),
        (["check", "e01:layer"], "did you mean Layer.__call__"),
        (["check", "e01:cal"], "did you mean Layer.__call__"),
        (["check", "e01", "--seconds", "0"], "expected seconds above 0"),
        (["check", "e01", "--seed", "-1"], "expected a whole number from 0 on"),
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


def test_tries_and_seen_solutions_are_shown(toy, capsys):
    solve(toy, "double")
    main(["check", "e01"])
    main(["check", "e01:double"])
    main(["solution", "e01:both", "--yes"])
    capsys.readouterr()
    for words in ([], ["list"]):
        assert main(words) == 0
        assert "2 tries; solution seen: both" in capsys.readouterr().out


def test_the_last_lesson_ends_with_a_closing_message_once(toy, capsys):
    solve(toy, "double")
    main(["check", "e01"])
    assert "the last lesson" not in capsys.readouterr().out
    solve(toy)
    assert main(["check", "e01"]) == 0
    assert "that was the last lesson" in capsys.readouterr().out
    assert main(["check", "e01"]) == 0
    assert "the last lesson" not in capsys.readouterr().out
    assert main([]) == 0
    assert "all done; train a model" in capsys.readouterr().out


def test_what_was_edited_since_its_check_is_told(toy, capsys):
    def told(verb="list"):
        assert main([verb] if verb else []) == 0
        return capsys.readouterr().out

    path = toy.lesson("e01").exercise
    stub, solved = path.read_text(), toy_course.SOLUTION
    path.write_text(solved)
    assert "changed" not in told(), "never checked, so nothing can have changed since"
    assert main(["check", "e01"]) == 0
    assert "changed" not in told()
    path.write_text(solved.replace("return helper(x)", "return helper(x)  # twice"))
    assert "changed" not in told(), "a comment is no change"
    path.write_text(solved.replace("return helper(x)", "return 3 * x"))
    assert "3/3 done" in told()
    assert "changed since the last check: double\n" in told()
    assert main(["check", "e01:double"]) == 1
    assert "changed" not in told()
    path.write_text(solved.replace("SCALE = 2.0", "SCALE = 3.0"))  # outside all holes: it may matter to each
    assert "changed since the last check: double, Layer.__call__, both\n" in told()
    path.write_text(solved + "def f(:\n")
    assert "changed since the last check: double" in told("")
    path.write_text(stub)
    assert "changed" not in told(), "what is the stub's again is not started, and that is shown already"
    path.unlink()
    assert "changed" not in told()


def test_an_edit_while_the_checks_run_is_a_change_since(toy, capsys, monkeypatch):
    path = toy.lesson("e01").exercise
    path.write_text(toy_course.SOLUTION)
    real = verdict.judge_file

    def slow(*args, **options):
        found = real(*args, **options)
        path.write_text(toy_course.SOLUTION.replace("return helper(x)", "return 3 * x"))
        return found

    monkeypatch.setattr(verdict, "judge_file", slow)
    assert main(["check", "e01"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    assert "changed since the last check: double" in capsys.readouterr().out


def test_hints_are_found_by_their_words(toy, capsys):
    def told(*words, code=0):
        assert main(["hint", *words]) == code
        found = capsys.readouterr()
        return found.out + found.err

    assert told("e01", "SELF.w") == "e01:Layer.__call__, hint 3 of 3\nreturn x @ self.w\n"
    many = told("e01", "return")
    assert many.count("hint 3 of 3") == 3
    assert "hint 3 of 3\nreturn x * 2" in told("e01:double", "return")
    assert "e01:double, hint 2 of 3" in told("e01", "multiply")
    assert told("e01", "x", "left").count("hint") == 1, "all the words"
    numbers = re.findall(r"hint (\d) of 3$", told("e01", "x"), re.M)
    assert numbers == sorted(numbers), "the gentle ones first"
    assert len(set(numbers)) > 1
    assert "no hint of e01 has 'gradient' in it" in told("e01", "gradient", code=2)
    assert told("twice").splitlines() == [
        "e01:double  return twice x",
        "for the hints of one of them: minigen hint LESSON:HOLE",
    ]
    assert len(told("layer").splitlines()) == 4, (
        "the lesson's title says it, so all of its holes are about it"
    )
    assert "no lesson 'gradient'" in told("gradient", code=2)
    assert "has no hole 'nothing'" in told("e01:nothing", code=2)
    assert not (toy.root / ".minigen").exists(), "a search is no step"


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


def test_one_hole_that_is_not_started_is_named(toy, capsys):
    assert main(["check", "e01:Layer.__call__"]) == 3
    out = capsys.readouterr().out
    assert "Layer.__call__ is not started: open exercises/e01_toy.py and complete the TODO there" in out
    assert main(["check", "e01:Layer.__call__", "e01:both"]) == 3
    assert "Layer.__call__, both are not started" in capsys.readouterr().out


def test_read_alone_opens_the_next_lesson(toy, capsys):
    assert main(["read"]) == 0
    assert "Twice, and a layer." in capsys.readouterr().out
    solve(toy)
    main(["check", "e01"])
    assert main(["read"]) == 2
    assert "all lessons are done; name the one to read again" in capsys.readouterr().err


def test_five_failures_in_a_row_bring_up_the_hints(toy, capsys):
    path = solve(toy)
    path.write_text(path.read_text().replace("return helper(x)", "return x"))
    for number in range(1, 7):
        capsys.readouterr()
        assert main(["check", "e01:double"]) == 1
        out = capsys.readouterr().out
        assert ("times in a row" in out) == (number >= 5)
    assert "double has failed 6 times in a row: `minigen hint e01:double` has 3 more hints" in out
    for _ in range(3):
        main(["hint", "e01:double"])
    capsys.readouterr()
    assert main(["check", "e01:double"]) == 1
    assert "7 times in a row: `minigen solution e01:double` shows" in capsys.readouterr().out
    assert main(["check", "e01:double", "--json"]) == 1
    json.loads(capsys.readouterr().out)


class Stream:
    def __init__(self, tty):
        self.tty, self.text = tty, ""

    def isatty(self):
        return self.tty

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_long_wait_is_spoken_of_once_without_a_terminal():
    stream = Stream(False)
    notice = Notice(stream)
    for seconds in (0.1, 4.9, 5.1, 6, 29):
        notice("double (test_double)", seconds, 30)
    notice("both (test_both)", 0.2, 30)
    notice("both (test_both)", 7, 30)
    notice.clear()
    assert stream.text.splitlines() == [
        "waiting for double (test_double): 5 s (stopped at 30 s)",
        "waiting for both (test_both): 7 s (stopped at 30 s)",
    ]


def test_a_long_wait_counts_in_a_terminal_and_leaves_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Stream(True)
    notice = Notice(stream)
    for seconds in (0.5, 1.2, 1.4, 2.5):
        notice("double (test_double)", seconds, 30)
    assert stream.text.count("waiting for") == 2
    shown = [line for line in stream.text.split("\r") if line.strip()]
    assert all(len(line) < 40 for line in shown)
    notice.clear()
    assert stream.text.endswith("\r" + " " * len(shown[-1]) + "\r")


def test_an_endless_loop_is_not_silent(toy, monkeypatch, capsys):
    monkeypatch.setattr("minigen.course.waiting.PATIENCE", 0.3)
    path = solve(toy)
    path.write_text(path.read_text().replace("return helper(x)", "while True: pass"))
    assert main(["check", "e01:double", "--seconds", "1"]) == 4
    assert "waiting for double (test_double): 0 s (stopped at 1 s)" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize("words", [["--help"], [], ["list"], ["check", "e01"]])
def test_a_narrow_terminal_gets_whole_words(toy, columns, words):
    import pty

    path = solve(toy)
    path.write_text(path.read_text().replace("return helper(x)", "return x"))
    master, slave = pty.openpty()
    env = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "minigen", *words]
    process = subprocess.Popen(command, cwd=toy.root, stdout=slave, stderr=slave, stdin=slave, env=env)
    os.close(slave)
    said = b""
    try:
        while piece := os.read(master, 65536):
            said += piece
    except OSError:
        pass
    os.close(master)
    process.wait(30)
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.decode())
    lines = [line.split("\r")[-1] for line in text.replace("\r\n", "\n").splitlines()]
    assert any("e01" in line or "VERB" in line for line in lines), said
    assert all(len(line) <= columns for line in lines if len(line.split()) > 1), lines
