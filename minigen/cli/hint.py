"""`minigen hint`: the next hint for a hole, the hints that have a word in them, or the holes that are about it."""

from __future__ import annotations

import argparse
from typing import Any

from minigen.course.console import say, tell
from minigen.course.language import hints_of
from minigen.course.manifest import Course, Lesson, course
from minigen.course.mistakes import load_bank
from minigen.course.progress import Progress
from minigen.course.standing import next_hole
from minigen.errors import CourseError

SHOWN = 3  # hints that a search shows: who wants more names the hole


def add(parsers: Any) -> None:
    """The sub-parser of this verb."""
    hint = parsers.add_parser("hint", help="the next hint for a hole")
    hint.add_argument(
        "target",
        metavar="LESSON[:HOLE]",
        help="without a hole: the first that is not done; a word in its place: the holes that are about it",
    )
    hint.add_argument("words", nargs="*", metavar="WORD", help="the hints that have this word in them")
    hint.set_defaults(run=run_hint)


def run_hint(args: argparse.Namespace) -> int:
    """One more hint, the last one repeats; or what a search finds, which counts as no step."""
    where = course()
    try:
        lesson, hole = where.parse(args.target)
    except CourseError:
        if ":" in args.target or not _holes_about(where, [args.target, *args.words]):
            raise
        return 0
    if args.words:
        return _hints_with(lesson, hole, args.words, args.target)
    progress = Progress.load(where.root)
    hole = hole or next_hole(lesson, progress)
    hints = hints_of(lesson, hole, load_bank(lesson).hints.get(hole, ()))
    if not hints:
        raise CourseError(
            f"{lesson.name} has no hint for {hole}; `minigen read {lesson.short}` shows the text"
        )
    record = progress.hole(lesson.name, hole)
    record["hints"] = min(record["hints"] + 1, len(hints))
    progress.save()
    tell(f"{lesson.short}:{hole}, hint {record['hints']} of {len(hints)}", "strong")
    say(hints[record["hints"] - 1])
    if record["hints"] == len(hints):
        tell(f"that was the last; `minigen solution {lesson.short}:{hole}` shows the reference", "dim")
    return 0


def _holes_about(where: Course, words: list[str]) -> bool:
    """Shows each hole that is about these words, with its task; False if there is none."""
    from minigen.course.seeking import places

    found = list(places(where, words))
    width = max((len(f"{lesson.short}:{hole}") for lesson, hole, _ in found), default=0)
    for lesson, hole, todo in found:
        say(f"{f'{lesson.short}:{hole}':<{width}}  {todo}")
    if found:
        tell("for the hints of one of them: minigen hint LESSON:HOLE", "dim")
    return bool(found)


def _hints_with(lesson: Lesson, hole: str | None, words: list[str], target: str) -> int:
    """Shows the first few hints that have these words."""
    from minigen.course.seeking import hints

    asked = " ".join(words)
    matching = sorted(hints(lesson, hole, words), key=lambda one: one.number)  # the gentle ones first
    if not matching:
        raise CourseError(
            f"no hint of {target} has {asked!r} in it; `minigen hint {target}` gives the next one"
        )
    for one in matching[:SHOWN]:
        tell(f"{lesson.short}:{one.hole}, hint {one.number} of {one.of}", "strong")
        say(one.says)
    if (more := len(matching) - SHOWN) > 0:
        tell(f"{more} more with {asked!r} in them: add a word, or name the hole", "dim")
    return 0
