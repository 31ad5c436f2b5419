"""The checks of a lesson, read from their file without running it: what must pass is known beforehand."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from minigen.course.manifest import Lesson, read_source
from minigen.errors import CourseError

KINDS = ("value", "gradient", "shape", "invariant", "step")
SECONDS = 30.0


@dataclass(frozen=True)
class Check:
    """A pytest function marked `@pytest.mark.hole(name, kind=..., seconds=...)`."""

    function: str
    hole: str
    kind: str
    seconds: float


def find_checks(lesson: Lesson) -> tuple[Check, ...]:
    """The checks of a lesson in file order; a CourseError names the test whose mark is wrong."""
    try:
        tree = ast.parse(read_source(lesson.checks))
    except SyntaxError as error:
        raise CourseError(
            f"{lesson.checks}:{error.lineno}: the checks are not Python ({error.msg})"
        ) from None
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test")]
    return tuple(_read(lesson, node) for node in tests)


def _read(lesson: Lesson, node: ast.FunctionDef) -> Check:
    where = f"{lesson.checks}:{node.lineno}: {node.name}"
    marks = [one for one in node.decorator_list if isinstance(one, ast.Call) and _ends(one.func, "hole")]
    if len(marks) != 1:
        raise CourseError(
            f"{where} has {len(marks)} hole marks; expected one @pytest.mark.hole(name, kind=...)"
        )
    try:
        words = {word.arg: ast.literal_eval(word.value) for word in marks[0].keywords}
        (hole,) = (ast.literal_eval(value) for value in marks[0].args)
    except ValueError:
        raise CourseError(
            f"{where}: expected @pytest.mark.hole('name', kind='value'), plain literals"
        ) from None
    if hole not in [one.name for one in lesson.holes]:
        raise CourseError(f"{where}: {lesson.name} has no hole {hole!r}")
    if words.get("kind") not in KINDS:
        raise CourseError(f"{where}: kind is {words.get('kind')!r}; expected one of {', '.join(KINDS)}")
    return Check(node.name, hole, words["kind"], float(words.get("seconds", SECONDS)))


def _ends(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name
