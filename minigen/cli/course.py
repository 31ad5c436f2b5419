"""Verbs of the course: status, check, watch, hint, solution, reset, list, read."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from minigen.course.manifest import Course, Lesson, course
from minigen.errors import CourseError


def add(parsers: Any) -> None:
    """The sub-parsers of this family."""
    check = parsers.add_parser("check", help="judge an exercise")
    check.add_argument(
        "targets", nargs="*", metavar="LESSON[:HOLE]", help="default: every lesson you have started"
    )
    check.add_argument("--all", action="store_true", help="every lesson")
    check.add_argument("--json", action="store_true", help="the whole verdict for tools")
    check.add_argument("--file", type=Path, help="check this file in place of the exercise")
    check.add_argument("--seed", type=int, help="repeat the random inputs of an earlier run")
    check.add_argument("--seconds", type=float, help="time limit of each check (default: its own)")
    check.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """0 all done, 1 something fails, 3 nothing started, 4 a limit was hit."""
    from minigen.course.progress import Progress
    from minigen.course.report import show
    from minigen.course.runner import Limits
    from minigen.course.verdict import judge_file

    where = course()
    limits = Limits(seconds=args.seconds)
    verdicts = []
    for lesson, holes in _targets(where, args):
        verdict = judge_file(lesson, args.file, holes, args.seed, limits)
        verdicts.append(verdict)
        if not args.json:
            show(verdict)
        if args.file is None:
            progress = Progress.load(where.root)
            progress.note(verdict)
            progress.save()
    code = _combine([verdict.exit_code for verdict in verdicts])
    if args.json:
        print(json.dumps({"exit_code": code, "lessons": [one.as_json() for one in verdicts]}, indent=1))
    return code


def _targets(where: Course, args: argparse.Namespace) -> list[tuple[Lesson, list[str] | None]]:
    """The lessons asked for, each with its holes (None: all)."""
    if args.file is not None and (args.all or len(args.targets) > 1):
        raise CourseError("--file goes with one lesson; expected `minigen check LESSON --file PATH`")
    if args.file is not None and not args.targets:
        args.targets = [args.file.name]
    if not where.lessons:
        raise CourseError(f"no lessons in {where.root / 'solutions'}; expected eNN_topic.py files")
    if args.all:
        return [(lesson, None) for lesson in where.lessons]
    if not args.targets:
        return [(lesson, None) for lesson in _begun(where)]
    found: dict[Lesson, list[str] | None] = {}
    for target in args.targets:
        lesson, hole = where.parse(target)
        asked = found.get(lesson, [])
        found[lesson] = None if hole is None or asked is None else [*asked, hole]
    return list(found.items())


def _begun(where: Course) -> list[Lesson]:
    """Lessons with a hole started (or a file that cannot be read as Python); else the first lesson."""
    from minigen.course.compose import Draft, Refused

    begun = []
    for lesson in where.lessons:
        if not lesson.exercise.exists():
            continue
        try:
            states = Draft(lesson, lesson.exercise, lesson.exercise.read_text(encoding="utf-8")).states
        except (Refused, UnicodeDecodeError):
            states = {"": "started"}
        if set(states.values()) - {"not started"}:
            begun.append(lesson)
    return begun or list(where.lessons[:1])


def _combine(codes: list[int]) -> int:
    """One exit code for several lessons: a limit, then a failure, then not started, then a pass."""
    if 4 in codes:
        return 4
    return codes[0] if len(set(codes)) == 1 else 1
