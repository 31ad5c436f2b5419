"""The bank of typical wrong solutions that a lesson's checks must recognise."""

from __future__ import annotations

import runpy
import textwrap
from dataclasses import dataclass

from minigen.course.manifest import Lesson
from minigen.errors import CourseError


@dataclass(frozen=True)
class Mistake:
    """A wrong version of one hole: `old` (None: the whole block) becomes `new`, and a check says `says`."""

    name: str
    hole: str
    old: str | None
    new: str
    says: str

    def apply(self, lesson: Lesson) -> str:
        """The lesson's solution with this mistake in it."""
        hole = lesson.hole(self.hole)
        where = f"mistake {self.name!r} of {lesson.name}"
        block = hole.block(lesson.source)
        if self.old is None:
            wrong = textwrap.indent(textwrap.dedent(self.new).strip("\n") + "\n", hole.indent)
        elif block.count(self.old) == 1:
            wrong = block.replace(self.old, self.new)
        else:
            raise CourseError(
                f"{where}: its `old` occurs {block.count(self.old)} times in {hole.name}; expected once"
            )
        if wrong == block:
            raise CourseError(f"{where}: it changes nothing")
        lines = lesson.source.splitlines(keepends=True)
        source = "".join([*lines[: hole.first], wrong, *lines[hole.last - 1 :]])
        try:
            compile(source, str(lesson.solution), "exec")
        except SyntaxError as error:
            raise CourseError(f"{where}: the changed block is not Python ({error.msg})") from None
        return source


@dataclass(frozen=True)
class Bank:
    """What stands in `mistakes_eNN_topic.py`."""

    mistakes: tuple[Mistake, ...]
    hints: dict[str, tuple[str, ...]]


def load_bank(lesson: Lesson) -> Bank:
    """The mistakes and hints of a lesson; a lesson without the file has none."""
    if not lesson.bank.exists():
        return Bank((), {})
    names = runpy.run_path(str(lesson.bank))
    hints = {hole: tuple(hint) for hole, hint in names.get("HINTS", {}).items()}
    return Bank(tuple(names.get("MISTAKES", ())), hints)
