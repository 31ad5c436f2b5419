"""Verbs of the course: status, check, watch, solution, reset, list, read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigen.cli.arguments import seconds, seed
from minigen.course.console import markdown, say, shown, tell, width_of
from minigen.course.fingerprints import changed, fingerprints
from minigen.course.language import spoken, text_of, title_of, todo_of
from minigen.course.manifest import Course, Lesson, course, read_source
from minigen.course.progress import Progress
from minigen.course.standing import begun, hole_states, lesson_state, next_lesson, nudges
from minigen.errors import CourseError, MinigenError

if TYPE_CHECKING:
    from minigen.course.verdict import Verdict


NAMED = 3  # holes that a line of the list names
ONE_LESSON = "--file goes with one lesson; expected `minigen check LESSON[:HOLE] ... --file PATH`"


def add(parsers: Any) -> None:
    """The sub-parsers of this family."""
    one, lesson = "LESSON[:HOLE]", "LESSON"
    check = parsers.add_parser("check", help="judge an exercise")
    check.add_argument("targets", nargs="*", metavar=one, help="default: every lesson you have started")
    check.add_argument("--all", action="store_true", help="every lesson")
    check.add_argument("--json", action="store_true", help="the whole verdict for tools")
    check.add_argument("--file", type=Path, help="check this file in place of the exercise")
    check.add_argument("--seed", type=seed, help="repeat the random inputs of an earlier run")
    check.add_argument("--seconds", type=seconds, help="time limit of each check (default: its own)")
    check.set_defaults(run=run_check)
    watch = parsers.add_parser("watch", help="check an exercise whenever it is saved")
    watch.add_argument("target", metavar=one)
    watch.add_argument("--once", action="store_true", help="stop after the first change")
    watch.set_defaults(run=run_watch)
    solution = parsers.add_parser("solution", help="the reference beside yours (asks first)")
    reset = parsers.add_parser("reset", help="put an exercise back to its stub (keeps a backup)")
    for parser, run in ((solution, run_solution), (reset, run_reset)):
        parser.add_argument("target", metavar=one)
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.set_defaults(run=run)
    parsers.add_parser("list", help="all lessons and their state").set_defaults(run=run_list)
    read = parsers.add_parser("read", help="the text of a lesson")
    read.add_argument("target", metavar=lesson, nargs="?", help="default: the one that is next")
    read.set_defaults(run=run_read)


def run_check(args: argparse.Namespace) -> int:
    """0 all done, 1 something fails, 3 nothing started, 4 a limit was hit."""
    from minigen.course.process import Limits
    from minigen.course.report import show
    from minigen.course.verdict import judge_file
    from minigen.course.waiting import noticed

    where = course()
    limits = Limits(seconds=args.seconds)
    verdicts = []
    for lesson, holes in _targets(where, args):
        prints = fingerprints(lesson)  # before the checks: an edit while they run is a change since
        with noticed() as waiting:
            verdict = judge_file(lesson, args.file, holes, args.seed, limits, waiting)
        verdicts.append(verdict)
        if not args.json:
            show(verdict)
        if args.file is None:
            _note(verdict, prints, quiet=args.json)
    code = _combine([verdict.exit_code for verdict in verdicts])
    if args.json:
        print(json.dumps({"exit_code": code, "lessons": [one.as_json() for one in verdicts]}, indent=1))
    return code


def run_watch(args: argparse.Namespace) -> int:
    """Checks now and whenever the file is saved, until Ctrl-C."""
    from minigen.course.report import show
    from minigen.course.verdict import judge_file
    from minigen.course.waiting import noticed
    from minigen.course.watching import watch

    lesson, hole = course().parse(args.target)

    def check() -> None:
        prints = fingerprints(lesson)
        try:
            with noticed() as waiting:
                verdict = judge_file(lesson, holes=[hole] if hole else None, waiting=waiting)
        except MinigenError as error:  # a file half saved, or gone: the next save is another chance
            tell(f"minigen: {error}")
            return
        show(verdict)
        _note(verdict, prints)
        tell("watching: save the file to check it again, Ctrl-C stops")
        sys.stdout.flush()

    watch(lesson.exercise, check, once=args.once)
    return 0


def run_solution(args: argparse.Namespace) -> int:
    """A diff from the learner's function to the reference's, if they want to see it."""
    from minigen.course.keep import difference

    where = course()
    lesson, hole = where.parse(args.target)
    holes = [hole] if hole else [one.name for one in lesson.holes]
    if not _agrees(f"show the reference of {lesson.short}:{hole or 'all holes'}?", args):
        return 0
    progress = Progress.load(where.root)
    for name in holes:
        progress.hole(lesson.name, name)["solution"] = True
    progress.save()
    for line in difference(lesson, holes):
        say(line, {"-": "red", "+": "green"}.get(line[:1], ""))
    return 0


def run_reset(args: argparse.Namespace) -> int:
    """Puts the stub back and says where the old file is."""
    from minigen.course.keep import reset

    lesson, hole = course().parse(args.target)
    what = f"{hole} in {shown(lesson.exercise)}" if hole else shown(lesson.exercise)
    if not _agrees(f"put {what} back to its stub? (a backup is kept)", args):
        return 0
    kept = reset(lesson, hole)
    tell(f"{what} is its stub again" + (f"; the old file is {shown(kept)}" if kept else ""))
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Every lesson: name, state, time, title."""
    where = course()
    progress = Progress.load(where.root)
    width = max((len(lesson.name) for lesson in where.lessons), default=0)
    for lesson in where.lessons:
        states = hole_states(lesson, progress)
        count = spoken(f"{list(states.values()).count('done')}/{len(states)} done")
        count, minutes = " " * (10 - width_of(count)) + count, spoken(f"{lesson.minutes:>4} min")
        style = {"failing": "strong"}.get(lesson_state(states), lesson_state(states))
        say(f"{lesson.name:<{width}}  {count}  {minutes}  {title_of(lesson)}", style)
        if effort := _effort(lesson, progress, states):
            say(f"{'':{width}}  {effort}", "dim")
    return 0


def run_read(args: argparse.Namespace) -> int:
    """The lesson's text; of the next lesson if none is named."""
    where = course()
    lesson = where.parse(args.target)[0] if args.target else next_lesson(where, Progress.load(where.root))
    if lesson is None:
        raise CourseError("all lessons are done; name the one to read again: `minigen read LESSON`")
    todo = [f"- `{hole.name}`: {says}" for hole in lesson.holes if (says := todo_of(lesson, hole.name))]
    head = [f"\n## {spoken('What to do in each hole')}\n"] if todo else []
    markdown("\n".join([read_source(text_of(lesson)), *head, *todo]))
    return 0


def status(args: argparse.Namespace) -> int:
    """Where the learner is, what is next, one command to type."""
    where = course()
    progress = Progress.load(where.root)
    states = {lesson: hole_states(lesson, progress) for lesson in where.lessons}
    if not states:
        raise CourseError(f"no lessons in {where.home / 'solutions'}; expected eNN_topic.py files")
    every = [state for found in states.values() for state in found.values()]
    tell(f"minigen: {every.count('done')} of {len(every)} holes done in {len(states)} lessons", "strong")
    lesson = next_lesson(where, progress)
    if lesson is None:
        tell("all done; train a model on your own code: minigen train autoencoder --mine")
        return 0
    under_way = lesson_state(states[lesson]) == "failing"
    found = list(states[lesson].values())
    tell(f"next: {lesson.name}, {title_of(lesson)} (about {lesson.minutes} minutes)")
    tell(f"      {found.count('done')} of {len(found)} holes done in {shown(lesson.exercise)}")
    if effort := _effort(lesson, progress, states[lesson]):
        say(f"      {effort}", "dim")
    tell(f"type: minigen {'check' if under_way else 'read'} {lesson.short}", "strong")
    return 0


def _effort(lesson: Lesson, progress: Progress, states: Mapping[str, str]) -> str:
    """What a lesson has cost so far: tries, holes whose solution was looked at; and what changed since its check."""
    records = {hole.name: progress.hole(lesson.name, hole.name) for hole in lesson.holes}
    tries = sum(record["tries"] for record in records.values())
    seen = [name for name, record in records.items() if record["solution"]]
    said = [spoken(f"{tries} tries") if tries > 1 else spoken("one try")] if tries else []
    said += [spoken(f"solution seen: {', '.join(seen)}")] if seen else []
    if names := changed(lesson, progress, states):
        what = names if len(names) <= NAMED else [*names[:NAMED], f"and {len(names) - NAMED} more"]
        said.append(spoken(f"changed since the last check: {', '.join(what)}"))
    return "; ".join(said)


def _note(verdict: Verdict, prints: Mapping[str, str], quiet: bool = False) -> None:
    """Keeps what was found; says so where somebody may be stuck, and where the last lesson is done."""
    progress = Progress.load(verdict.lesson.root)
    before = [progress.hole(verdict.lesson.name, hole.hole)["done"] for hole in verdict.holes]
    progress.note(verdict, prints)
    for line in [] if quiet else nudges(verdict, progress):
        tell(f"  {line}", "strong")
    progress.save()
    finished = not quiet and verdict.exit_code == 0 and not all(before)
    if finished and next_lesson(Course(verdict.lesson.root), progress) is None:
        tell("that was the last lesson: you have built all of it, gradients to GAN", "done")
        tell("train a model on your own code: minigen train autoencoder --mine", "strong")


def _agrees(question: str, args: argparse.Namespace) -> bool:
    """Whether the person says yes; without a person, only --yes does."""
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise CourseError(f"{spoken(question)} There is nobody to ask here: add --yes")
    try:
        return input(f"{spoken(question)} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _targets(where: Course, args: argparse.Namespace) -> list[tuple[Lesson, list[str] | None]]:
    """The lessons asked for, each with its holes (None: all)."""
    if args.file is not None and not args.targets and not args.all:
        args.targets = [args.file.name]
    if not where.lessons:
        raise CourseError(f"no lessons in {where.home / 'solutions'}; expected eNN_topic.py files")
    if args.all and args.file is not None:
        raise CourseError(ONE_LESSON)
    if args.all:
        return [(lesson, None) for lesson in where.lessons]
    if not args.targets:
        started = begun(where, Progress.load(where.root))
        return [(lesson, None) for lesson in started or where.lessons[:1]]
    found: dict[Lesson, list[str] | None] = {}
    for target in args.targets:
        lesson, hole = where.parse(target)
        asked = found.get(lesson, [])
        found[lesson] = None if hole is None or asked is None else [*asked, hole]
    if args.file is not None and len(found) > 1:
        raise CourseError(ONE_LESSON)
    return list(found.items())


def _combine(codes: list[int]) -> int:
    """One exit code for several lessons: a limit, then a failure, then not started, then a pass."""
    if 4 in codes:
        return 4
    return codes[0] if len(set(codes)) == 1 else 1
