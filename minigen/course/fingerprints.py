"""What a verdict depends on of a learner's file, hole by hole: so it can be said that something has changed since."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping

from minigen.course.holes import functions
from minigen.course.manifest import Lesson, read_source
from minigen.course.progress import Progress
from minigen.errors import CourseError


def fingerprints(lesson: Lesson) -> dict[str, str]:
    """hole -> a digest of its function and of all that stands outside the holes; comments and layout do not count.

    A file that Python cannot read has one digest for all holes; a file that is not there has none.
    """
    try:
        source = read_source(lesson.exercise)
    except CourseError:
        return {}
    names = [hole.name for hole in lesson.holes]
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return dict.fromkeys(names, _digest(source))
    mine = {name: node for name, node in functions(tree) if name in names}
    own = {name: ast.dump(node) for name, node in mine.items()}
    for node in mine.values():
        node.body = []
    return {name: _digest(ast.dump(tree) + own.get(name, "")) for name in names}


def changed(lesson: Lesson, progress: Progress, states: Mapping[str, str]) -> list[str]:
    """The holes that are not what they were when they were checked last, but for those that are the stub's again"""
    checked = {hole.name: progress.hole(lesson.name, hole.name)["checked"] for hole in lesson.holes}
    started = {name: then for name, then in checked.items() if then and states.get(name) != "not started"}
    now = fingerprints(lesson) if started else {}
    return [name for name, then in started.items() if name in now and now[name] != then]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:16]
