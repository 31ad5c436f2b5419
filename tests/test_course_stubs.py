"""Fences, stubs, and who may overwrite what."""

import ast

import pytest

from minigen.course import stubs
from minigen.course.holes import find_holes
from minigen.course.manifest import Lesson, course, find_root
from minigen.errors import CourseError

BLOCK = "    # solution: do it\n    return 1\n    # end\n"


def test_a_stub_keeps_everything_but_the_blocks(toy):
    text = toy.lesson("e01").exercise.read_text()
    assert "def helper(x):\n    return x * SCALE" in text
    assert (
        '"""(n,) -> (n,)"""\n    # TODO: return twice x\n    raise NotImplementedError("double: return'
        in text
    )
    assert "x = np.asarray(x)\n    # TODO" in text, "what stands before the fence stays"
    assert "minigen check e01" in text
    for gone in ("PLUGS", "Where they go", "return helper(x)", "# solution", "# end"):
        assert gone not in text


def test_a_stub_imports(toy):
    exec(compile(toy.lesson("e01").exercise.read_text(), "stub", "exec"), {"__name__": "stub"})


def test_a_long_todo_is_laid_out_as_the_formatter_would(toy):
    todo = "multiply " * 8
    toy.lesson("e01").solution.write_text(f"def f(x):\n    # solution: {todo}\n    return x\n    # end\n")
    text = stubs.make_stub(Lesson(toy.root, "e01_toy"))
    assert "# TODO: multiply" in text
    toy.lesson("e01").solution.write_text(
        f"def g(x):\n    # solution: {'a b ' * 24}c\n    return x\n    # end\n"
    )
    text = stubs.make_stub(Lesson(toy.root, "e01_toy"))
    assert "raise NotImplementedError(\n        " in text
    assert max(map(len, text.splitlines())) <= 110
    names = {}
    exec(text, names)
    with pytest.raises(NotImplementedError, match=f"^g: {'a b ' * 24}c$"):
        names["g"](1)
    toy.lesson("e01").solution.write_text(f"def f(x):\n    # solution: {todo * 2}\n    return x\n    # end\n")
    with pytest.raises(CourseError, match="longer than 110"):
        stubs.make_stub(Lesson(toy.root, "e01_toy"))


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("# solution: do it\nx = 1\n# end\n", 1, "outside a function"),
        ("class A:\n    # solution: do it\n    x = 1\n    # end\n", 2, "outside a function"),
        ("def f():\n" + BLOCK + BLOCK, 5, "second solution block in f"),
        ("def f():\n    # solution: do it\n    return 1\n", 2, "never closed"),
        ("def f():\n    return 1\n    # end\n", 3, "without a `# solution:`"),
        (
            "def f():\n    # solution: a\n    # solution: b\n    return 1\n    # end\n",
            3,
            "inside the one of line 2",
        ),
        ("def f():\n    # solution:\n    return 1\n    # end\n", 2, "expected `# solution: <what"),
        ("def f():\n    # solution do it\n    return 1\n    # end\n", 2, "expected `# solution: <what"),
        ("def f():\n    # solution: a\n    return 1\n# end\n", 4, "indented"),
        ("def f():\n    # solution: a\n    # nothing\n    # end\n    return 1\n", 2, "is empty"),
        ("def f():\n    return 0\n\ndef f():\n" + BLOCK, 5, "more than once"),
        ("def f(:\n", 1, "not Python"),
    ],
)
def test_a_bad_fence_is_named_by_file_and_line(source, line, says):
    with pytest.raises(CourseError) as caught:
        find_holes(source, "e01_x.py")
    assert f"e01_x.py:{line}:" in str(caught.value)
    assert says in str(caught.value)


def test_fences_in_strings_do_not_count():
    source = 'def f():\n    """\n    # solution: a\n    # end\n    """\n' + BLOCK
    assert [hole.name for hole in find_holes(source, "x")] == ["f"]
    assert (
        find_holes("class A:\n    def f(self):\n        x = 1\n" + BLOCK.replace("    ", " " * 8), "x")[
            0
        ].name
        == "A.f"
    )


def test_check_and_write(toy, capsys):
    exercise = toy.lesson("e01").exercise
    command = ["--root", str(toy.root)]
    assert stubs.main(["--check", *command]) == 0
    solution = toy.lesson("e01").solution
    solution.write_text(solution.read_text().replace("return x * SCALE", "return SCALE * x"))
    assert stubs.main(["--check", *command]) == 1
    assert "e01_toy.py is stale" in capsys.readouterr().out
    assert stubs.main(["--write", *command]) == 0
    assert "SCALE * x" in exercise.read_text()
    exercise.unlink()
    assert stubs.main(["--check", *command]) == 1
    assert stubs.main(["--write", *command]) == 0
    assert stubs.main(["--check", *command]) == 0


@pytest.mark.parametrize("change", ["fill", "comment", "no seal", "empty"])
def test_write_never_overwrites_edits(toy, capsys, change):
    exercise = toy.lesson("e01").exercise
    text = exercise.read_text()
    edited = {
        "fill": text.replace('raise NotImplementedError("double: return twice x")', "return 2 * x"),
        "comment": text.replace("# TODO: return twice x", "# TODO: ask about this"),
        "no seal": text.rsplit("# untouched", 1)[0],
        "empty": "",
    }[change]
    exercise.write_text(edited)
    solution = toy.lesson("e01").solution
    solution.write_text(solution.read_text().replace("SCALE = 2.0", "SCALE = 2"))
    assert stubs.main(["--write", "--root", str(toy.root)]) == 0
    assert exercise.read_text() == edited
    assert "kept" in capsys.readouterr().out
    assert stubs.main(["--check", "--root", str(toy.root)]) == 1
    assert "has edits" in capsys.readouterr().out


def test_windows_line_ends_are_no_edit(toy):
    lesson = toy.lesson("e01")
    lesson.exercise.write_bytes(lesson.exercise.read_bytes().replace(b"\n", b"\r\n"))
    assert stubs.state(lesson) == "current"


def test_lessons_by_any_name(toy):
    (toy.root / "solutions/e10_toyota.py").write_text("")
    where = course(toy.root)
    for name in ("e01_toy", "e01", "1", "01", "toy", "E01", "exercises/e01_toy.py", "e01_t"):
        assert where.lesson(name).name == "e01_toy"
    assert where.lesson("toyo").name == "e10_toyota"
    assert where.parse("1:__call__")[1] == "Layer.__call__"
    for name, says in {
        "e1_toy": "mean e01_toy",
        "e": "may mean",
        "": "no lesson",
        "tou": "mean e01_toy",
    }.items():
        with pytest.raises(CourseError, match=says):
            where.lesson(name)
    with pytest.raises(CourseError, match=r"no hole 'doubel' \(did you mean double"):
        where.parse("e01:doubel")


def test_the_root_is_found_upwards_else_where_minigen_lies(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(toy.root / "tests" / "lessons")
    assert find_root() == toy.root
    monkeypatch.chdir(tmp_path)
    assert (find_root() / "minigen").is_dir()


def test_title_minutes_and_plugs_come_from_the_solution(toy):
    lesson = toy.lesson("e01")
    assert (lesson.title, lesson.minutes) == ("Toy lesson: sums and a layer", 20)
    assert lesson.plugs["double"] == "minigen.toy_engine:double"
    ast.parse(lesson.exercise.read_text())
