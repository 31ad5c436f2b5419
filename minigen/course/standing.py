"""Where a learner stands, from their files and from what was last checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigen.course.compose import Draft, Refused
from minigen.course.manifest import Course, Lesson
from minigen.course.progress import Progress
from minigen.errors import CourseError

if TYPE_CHECKING:
    from minigen.course.verdict import Verdict

STUCK = 5  # failures in a row


def hole_states(lesson: Lesson, progress: Progress) -> dict[str, str]:
    """The holes' states as last checked; what went back to the stub since then is not started."""
    done = {hole.name: progress.hole(lesson.name, hole.name)["done"] for hole in lesson.holes}
    try:
        source = lesson.exercise.read_text(encoding="utf-8", errors="replace")
        found = Draft(lesson, lesson.exercise, source).states
    except FileNotFoundError:
        found = dict.fromkeys(done, "not started")
    except Refused:
        found, done = dict.fromkeys(done, "started"), dict.fromkeys(done, False)
    return {
        name: state if state == "not started" else "done" if done[name] else "failing"
        for name, state in found.items()
    }


def lesson_state(states: dict[str, str]) -> str:
    """done, not started, or failing (under way)."""
    kinds = set(states.values())
    return kinds.pop() if len(kinds) == 1 else "failing"


def begun(where: Course, progress: Progress) -> list[Lesson]:
    """Lessons with something in them."""
    return [one for one in where.lessons if lesson_state(hole_states(one, progress)) != "not started"]


def next_hole(lesson: Lesson, progress: Progress) -> str:
    """The hole to work on: the first that fails, else the first not started, else the first."""
    states = hole_states(lesson, progress)
    for wanted in ("failing", "not started", "done"):
        if found := [name for name, state in states.items() if state == wanted]:
            return found[0]
    raise CourseError(f"{lesson.name} has no holes")


def next_lesson(where: Course, progress: Progress) -> Lesson | None:
    """The lesson to work on: the first under way, else the first that is not done; None if all are"""
    states = {lesson: lesson_state(hole_states(lesson, progress)) for lesson in where.lessons}
    for wanted in ("failing", "not started"):
        if found := [lesson for lesson, state in states.items() if state == wanted]:
            return found[0]
    return None


def nudges(verdict: Verdict, progress: Progress) -> list[str]:
    """A line for each hole that has failed STUCK times or more in a row: what else there is to help."""
    from minigen.course.mistakes import load_bank

    lines = []
    for hole in verdict.holes:
        record = progress.hole(verdict.lesson.name, hole.hole)
        if hole.state != "failing" or record["failures"] < STUCK:
            continue
        name = f"{verdict.lesson.short}:{hole.hole}"
        left = len(load_bank(verdict.lesson).hints.get(hole.hole, ())) - record["hints"]
        help_ = (
            f"`minigen hint {name}` has {left} more hint{'s' * (left > 1)}"
            if left > 0
            else f"`minigen solution {name}` shows the reference beside yours"
        )
        lines.append(f"{hole.hole} has failed {record['failures']} times in a row: {help_}")
    return lines
