"""Putting a stub back without losing work (numbered backups), and the reference beside the learner's."""

from __future__ import annotations

import ast
import difflib
from pathlib import Path

from minigen.course.files import write_text
from minigen.course.holes import functions
from minigen.course.language import spoken
from minigen.course.manifest import Lesson, read_source
from minigen.course.stubs import make_stub
from minigen.errors import CourseError


def reset(lesson: Lesson, hole: str | None = None) -> Path | None:
    """Puts the stub back, of the whole file or of one hole; returns where the old file is kept."""
    stub = make_stub(lesson)
    old = read_source(lesson.exercise) if lesson.exercise.exists() else None
    new = stub if hole is None or old is None else _transplant(lesson, old, stub, hole)
    if old == new:
        return None
    kept = _backup(lesson, old) if old is not None else None
    write_text(lesson.exercise, new)
    return kept


def difference(lesson: Lesson, holes: list[str]) -> list[str]:
    """Lines of a diff, hole by hole, from the learner's function to the reference's."""
    mine = _texts(read_source(lesson.exercise)) if lesson.exercise.exists() else {}
    reference = _texts(_clean(lesson))
    lines: list[str] = []
    for hole in holes:
        old, new = mine.get(hole, []), reference[hole]
        names = spoken(f"yours: {hole}"), spoken(f"reference: {hole}")
        lines += list(difflib.unified_diff(old, new, *names, n=100, lineterm="")) or [
            spoken(f"{hole}: the same")
        ]
    return lines


def _backup(lesson: Lesson, text: str) -> Path:
    """A numbered copy that nothing overwrites: .minigen/backups/e03_dense.1.py, .2.py, ..."""
    folder, number = lesson.root / ".minigen" / "backups", 1
    while (kept := folder / f"{lesson.name}.{number}.py").exists():
        number += 1
    write_text(kept, text)
    return kept


def _transplant(lesson: Lesson, old: str, stub: str, hole: str) -> str:
    """The learner's file with one function as in the stub; a function that is gone comes back at the end."""
    fresh = _texts(stub)[hole]
    try:
        spans = _spans(old)
    except SyntaxError as error:
        says = (
            f"{lesson.exercise}:{error.lineno}: Python cannot read the file, so no single hole can be reset"
        )
        raise CourseError(f"{says}; `minigen reset {lesson.short}` resets it whole (with a backup)") from None
    lines = old.splitlines()
    if hole in spans:
        first, last = spans[hole]
        lines[first - 1 : last] = fresh
    elif "." in hole:
        owner = hole.rpartition(".")[0]
        ends = [last for name, (_, last) in spans.items() if name.rpartition(".")[0] == owner]
        if not ends:
            raise CourseError(
                f"{lesson.exercise} has no class {owner}; `minigen reset {lesson.short}` resets it whole"
            )
        lines[max(ends) : max(ends)] = ["", *fresh]
    else:
        lines += ["", "", *fresh]
    return "\n".join(lines) + "\n"


def _texts(source: str) -> dict[str, list[str]]:
    try:
        spans = _spans(source)
    except SyntaxError:
        return {}
    lines = source.splitlines()
    return {name: lines[first - 1 : last] for name, (first, last) in spans.items()}


def _spans(source: str) -> dict[str, tuple[int, int]]:
    """(first line with decorators, last line) of every function."""
    return {
        name: (
            min([node.lineno, *(one.lineno for one in node.decorator_list)]),
            node.end_lineno or node.lineno,
        )
        for name, node in functions(ast.parse(source))
    }


def _clean(lesson: Lesson) -> str:
    """The solution without its fences."""
    fences = {line for hole in lesson.holes for line in (hole.first, hole.last)}
    return "".join(
        text for at, text in enumerate(lesson.source.splitlines(keepends=True), 1) if at not in fences
    )
