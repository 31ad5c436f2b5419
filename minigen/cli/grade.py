"""`minigen grade DIR`: a folder of submissions, judged."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigen.cli.arguments import count, seconds, seed
from minigen.course.console import say, shown, tell
from minigen.course.formats import FORMATS
from minigen.course.language import spoken, term
from minigen.errors import CourseError
from minigen.patience import patience

if TYPE_CHECKING:
    from minigen.course.manifest import Lesson
    from minigen.course.results import Record

DESCRIPTION = """DIR holds one entry for each student: a folder or a .zip (its lessons' files, eNN_topic.py, anywhere
inside; the nearest to the top counts), or single files STUDENT_eNN_topic.py. A DIR with eNN_topic.py in it is one
submission. Results are appended to OUT/results.jsonl as they come; a run that was stopped goes on with --resume."""


def add(parsers: Any) -> None:
    """The sub-parser of this family."""
    grade = parsers.add_parser("grade", help="judge a folder of submissions", description=DESCRIPTION)
    grade.add_argument("folder", type=Path, metavar="DIR", help="the submissions")
    grade.add_argument(
        "--lessons",
        nargs="+",
        metavar="LESSON",
        help="default: those of which there is a file in any submission",
    )
    grade.add_argument(
        "--out", type=Path, metavar="OUT", help="where the results go (default: DIR-grades beside DIR)"
    )
    grade.add_argument(
        "--format",
        default="csv",
        metavar="LIST",
        help=f"of {', '.join(FORMATS)}; default: csv, and jsonl always",
    )
    grade.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="submissions at a time (default: 1)"
    )
    grade.add_argument("--resume", action="store_true", help="keep what is graded already, grade the rest")
    grade.add_argument("--one", action="store_true", help="DIR is one submission, whatever it holds")
    grade.add_argument("--seed", type=seed, help="repeat the random inputs of an earlier run")
    grade.add_argument("--seconds", type=seconds, help="time limit of each check (default: its own)")
    grade.add_argument(
        "--memory", type=count, default=4096, metavar="MB", help="memory limit (default: 4096)"
    )
    grade.set_defaults(run=run_grade)


def run_grade(args: argparse.Namespace) -> int:
    """0 when everything is graded, whatever the grades; 5 where something could not be."""
    from minigen.course import formats
    from minigen.course.grading import Rules, Stopped, grade
    from minigen.course.manifest import Course, any_home
    from minigen.course.process import Limits
    from minigen.course.results import Results
    from minigen.course.submission import find

    wanted = _formats(args.format)
    where = Course(any_home())
    lessons = [where.lesson(name) for name in args.lessons] if args.lessons else list(where.lessons)
    submissions, ignored = find(args.folder, lessons, args.one)
    if not args.lessons:
        lessons = [one for one in lessons if any(one.name in each.files for each in submissions)]
        if not lessons:
            raise CourseError(
                f"no lesson's file in {args.folder}; expected names like {where.lessons[0].name}.py"
            )
    out = args.out or args.folder.resolve().with_name(f"{args.folder.resolve().name}-grades")
    results = Results(out / "results.jsonl", args.resume)
    try:
        drawn = next((one["seed"] for one in results.records.values() if one.get("seed") is not None), None)
        number = args.seed if args.seed is not None else drawn if drawn is not None else secrets.randbits(31)
        limits = Limits(seconds=args.seconds, megabytes=args.memory, sealed=True)
        rules = Rules(number, limits, (str(args.folder), str(out)))
        _begin(submissions, ignored, lessons, number)
        with patience(signal.SIGINT, signal.SIGTERM) as patient:
            grade(submissions, lessons, results, rules, args.jobs, _heard(lessons), patient)
    except (Stopped, KeyboardInterrupt):
        tell(
            f"minigen: stopped; {len(results.records)} results are kept: add --resume to go on", to=sys.stderr
        )
        return 130
    finally:
        results.close()
    order = [(one.student, lesson.name) for one in submissions for lesson in lessons]
    records = [results.records[key] for key in order]
    written = formats.write(records, out, wanted)
    for line in formats.summary(records, lessons={one.name: one for one in lessons}):
        say(line)
    files = (
        [shown(path) for path in written] if len(written) < 4 else [f"{len(written)} files in {shown(out)}"]
    )
    tell(f"written: {', '.join([shown(results.path), *files])}", "strong")
    broken = [one for one in records if one["status"] == "error"]
    if broken:
        tell(
            f"minigen: {len(broken)} not graded: {broken[0]['message']}; --resume tries again", to=sys.stderr
        )
    return 5 if broken else 0


def _formats(text: str) -> list[str]:
    names = [one.strip() for one in text.split(",") if one.strip()]
    for name in names:
        if name not in FORMATS:
            raise CourseError(
                f"no format {name!r}; expected some of {', '.join(FORMATS)}, with commas between"
            )
    return names


def _begin(submissions: list[Any], ignored: list[str], lessons: list[Lesson], number: int) -> None:
    names = ", ".join(one.short for one in lessons)
    students = f"{len(submissions)} submission{'s' * (len(submissions) != 1)}"
    tell(f"{students}, {names}; inputs of --seed {number}", "strong")
    if ignored:
        few = ignored if len(ignored) <= 5 else [*ignored[:5], f"and {len(ignored) - 5} more"]
        tell(f"no submissions, left out: {', '.join(few)}", "dim")
    if os.name != "posix":
        raise CourseError(
            "grading needs a system with fork (Linux or macOS): run it there, or in a container"
        )


def _heard(lessons: list[Lesson]) -> Callable[[Record, int, int], None]:
    """What says a line of each record"""
    known = {one.name: one for one in lessons}

    def hear(record: Record, done: int, of: int) -> None:
        message = spoken(record["message"], known[record["lesson"]]).partition("\n")[0]
        says = f"  {message[:100]}" if message else ""
        points = f"{record['score']}/{record['max_score']}  {term('status', record['status'])}"
        say(f"[{done:>{len(str(of))}}/{of}] {record['student']} {record['lesson']}  {points}{says}")
        sys.stdout.flush()

    return hear
