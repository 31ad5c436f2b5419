"""`minigen init`: a learner's folder without a clone, and its refreshment, which never touches their work."""

import json
import shutil

import pytest

from minigen.cli import main
from minigen.course import init, manifest
from minigen.course.manifest import Course, find_root
from minigen.errors import CourseError
from tests import toy_course


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A course as a wheel has it; the working directory elsewhere."""
    root = toy_course.build(tmp_path / "site" / "_course")
    (root / "exercises" / "img").mkdir()
    (root / "exercises" / "img" / "toy.png").write_bytes(b"\x89PNG picture")
    (root / "exercises" / "__pycache__").mkdir()
    (root / "exercises" / "__pycache__" / "e01_toy.pyc").write_bytes(b"")
    monkeypatch.setattr(manifest, "PACKED", root)
    monkeypatch.chdir(tmp_path)
    return root


def begin(monkeypatch, tmp_path):
    assert main(["init", "mine"]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def test_a_lesson_is_passed_without_the_solutions(package, tmp_path, monkeypatch, capsys):
    folder = begin(monkeypatch, tmp_path)
    assert "type: cd mine && minigen" in capsys.readouterr().out
    assert sorted(one.name for one in folder.iterdir()) == [".minigen", "exercises"]
    assert not list(folder.rglob("*.pyc"))
    assert main(["check", "e01"]) == 3
    (folder / "exercises/e01_toy.py").write_text(toy_course.SOLUTION)
    assert main(["check"]) == 0
    assert (folder / ".minigen/progress.json").exists()
    assert not (package / ".minigen").exists(), "progress belongs to the learner's folder"
    assert (
        main(["hint", "e01:double"])
        == main(["solution", "e01", "--yes"])
        == main(["reset", "e01", "--yes"])
        == 0
    )
    assert list((folder / ".minigen/backups").iterdir())


def test_a_second_time_refreshes_what_is_untouched_and_nothing_else(package, tmp_path, monkeypatch, capsys):
    folder = begin(monkeypatch, tmp_path)
    (folder / "exercises/e01_toy.py").write_text("my work\n")
    (folder / "exercises/notes.md").write_text("my notes\n")
    (folder / "exercises/img/toy.png").unlink()
    solution = package / "solutions/e01_toy.py"
    solution.write_text(solution.read_text().replace("return twice x", "return x, twice"))
    (package / "exercises/e01_toy.md").write_text("# Toy, better\n")
    capsys.readouterr()
    assert main(["init", "."]) == 0
    out = capsys.readouterr().out
    assert (folder / "exercises/e01_toy.py").read_text() == "my work\n"
    assert (folder / "exercises/notes.md").read_text() == "my notes\n"
    assert (folder / "exercises/e01_toy.md").read_text() == "# Toy, better\n"
    assert (folder / "exercises/img/toy.png").exists()
    assert "new: exercises/img/toy.png" in out
    assert "refreshed: exercises/e01_toy.md" in out
    assert "though it has changed in minigen: exercises/e01_toy.py (`minigen reset e01`" in out
    assert main(["init", "."]) == 0
    out = capsys.readouterr().out
    assert "kept, with your edits: exercises/e01_toy.py" in out, "told once that it has changed, not for ever"
    assert "nothing to do" in out


def test_an_untouched_stub_of_an_older_version_is_renewed_even_without_the_note(
    package, tmp_path, monkeypatch
):
    folder = begin(monkeypatch, tmp_path)
    (folder / init.NOTE).unlink()
    solution = package / "solutions/e01_toy.py"
    solution.write_text(solution.read_text().replace("return twice x", "return x, twice"))
    (folder / "exercises/e01_toy.md").write_text("# My own text\n")
    done = init.deliver(folder)
    assert done.refreshed == ["exercises/e01_toy.py"]
    assert "return x, twice" in (folder / "exercises/e01_toy.py").read_text()
    assert done.kept == ["exercises/e01_toy.md"], "who wrote it is not known any more, so it stays"


def test_with_solutions_the_folder_stands_alone(package, tmp_path, monkeypatch):
    assert main(["init", "whole", "--solutions"]) == 0
    shutil.rmtree(package)
    folder = tmp_path / "whole"
    monkeypatch.chdir(folder)
    assert Course(folder).home == folder
    (folder / "exercises/e01_toy.py").write_text(toy_course.SOLUTION)
    assert main(["check", "e01"]) == 0


def test_what_left_the_course_is_named_and_left_alone(package, tmp_path, monkeypatch):
    folder = begin(monkeypatch, tmp_path)
    (package / "exercises/img/toy.png").unlink()
    done = init.deliver(folder)
    assert done.gone == ["exercises/img/toy.png"]
    assert (folder / "exercises/img/toy.png").exists()


def test_errors_are_one_line(package, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    toy_course.build(tmp_path / "clone")
    for name, says in (("file", "is a file"), ("clone", "solutions/ of its own")):
        assert main(["init", name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line


def test_a_damaged_note_is_a_lost_note(package, tmp_path, monkeypatch):
    folder = begin(monkeypatch, tmp_path)
    for text in ("", "[1]", '{"files": 3}'):
        (folder / init.NOTE).write_text(text)
        assert init.deliver(folder).refreshed == []
        assert json.loads((folder / init.NOTE).read_text())["files"]


def test_outside_a_course_one_is_told_how_to_make_one(package, tmp_path):
    with pytest.raises(CourseError, match=r"minigen init DIR"):
        find_root(tmp_path)
    assert manifest.any_home() == package
