"""The course's own law: a stub is not started, a solution passes, every planted mistake is told what it is.

`python -m minigen.course.law [LESSON ...]` prints which check caught each mistake, and what it said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minigen.course.checks import KINDS, find_checks
from minigen.course.compose import Draft
from minigen.course.manifest import Lesson, course, reach
from minigen.course.mistakes import Bank, load_bank
from minigen.course.plugs import resolve
from minigen.course.process import Limits
from minigen.course.runner import Runner, Variant
from minigen.course.stubs import make_stub
from minigen.course.verdict import Task, Verdict, judge
from minigen.errors import CourseError, MinigenError

LEAST = 8


@dataclass(frozen=True)
class Finding:
    """What the checks said of one planted mistake; `breach` is empty when that is what it was planted for."""

    mistake: str
    hole: str
    check: str
    message: str
    breach: str


def survey(lesson: Lesson, seed: int | None = None) -> tuple[list[str], list[Finding]]:
    """(breaches of the law, what was found for each mistake). All files run in one child process."""
    bank = load_bank(lesson)
    breaches = list(_form(lesson, bank))
    path = lesson.exercise
    tasks = {"stub": Task(path, make_stub(lesson)), "solution": Task(path, lesson.source)}
    for mistake in bank.mistakes:
        try:
            hole = lesson.hole(mistake.hole).name
            tasks[f"mistake {mistake.name}"] = Task(path, mistake.apply(lesson), (hole,))
        except CourseError as error:
            breaches.append(str(error))
    verdicts = judge(lesson, tasks, seed)
    if verdicts["stub"].exit_code != 3:
        breaches.append(
            f"{lesson.name}: its stub is judged {verdicts['stub'].exit_code}; expected 3, not started"
        )
    breaches += _unsolved(lesson, verdicts["solution"])
    breaches += _unimportable(lesson)
    findings = []
    for mistake in bank.mistakes:
        if (key := f"mistake {mistake.name}") in verdicts:
            judged = verdicts[key].holes[0]
            breach = _missed(verdicts[key], mistake.says)
            findings.append(Finding(mistake.name, judged.hole, judged.check, judged.message, breach))
    breaches += [f"{lesson.name}: mistake {one.mistake!r} {one.breach}" for one in findings if one.breach]
    return breaches, findings


def _form(lesson: Lesson, bank: Bank) -> Iterator[str]:
    """What a lesson must have, whatever its checks say."""
    checks = find_checks(lesson)
    names = [hole.name for hole in lesson.holes]
    if not names:
        yield f"{lesson.name}: no hole"
    for name in names:
        if not any(check.hole == name for check in checks):
            yield f"{lesson.name}: no check of {name}"
        if not any(mistake.hole == name for mistake in bank.mistakes):
            yield f"{lesson.name}: no mistake planted in {name}"
        if len(bank.hints.get(name, ())) != 3 or not all(bank.hints[name]):
            yield f"{lesson.name}: {name} has {len(bank.hints.get(name, ()))} hints; expected three"
    for name in (*bank.hints, *(mistake.hole for mistake in bank.mistakes), *lesson.plugs):
        if name not in names:
            yield f"{lesson.name}: {name!r} is named in HINTS, MISTAKES or PLUGS, but is no hole"
    if len(bank.mistakes) < LEAST:
        yield f"{lesson.name}: {len(bank.mistakes)} mistakes planted; expected at least {LEAST}"
    if len({mistake.name for mistake in bank.mistakes}) < len(bank.mistakes):
        yield f"{lesson.name}: two mistakes share a name"
    for kind in KINDS:
        if not any(check.kind == kind for check in checks):
            yield f"{lesson.name}: no check of kind {kind!r}"
    reach(lesson.home)
    for target in lesson.plugs.values():
        try:
            resolve(target)
        except CourseError as error:
            yield f"{lesson.name}: {error}"


def _unsolved(lesson: Lesson, verdict: Verdict) -> list[str]:
    if verdict.exit_code == 0:
        return []
    said = [f"{hole.hole}: {hole.check} {hole.message}" for hole in verdict.holes if hole.state != "done"]
    return [
        f"{lesson.name}: its solution fails (--seed {verdict.seed}): {verdict.refused or '; '.join(said)}"
    ]


def _unimportable(lesson: Lesson) -> list[str]:
    """A stub must import as it stands: an empty hole may only complain when it is called."""
    draft = Draft(lesson, lesson.exercise, make_stub(lesson))
    checks = find_checks(lesson)[:1]
    variant = Variant("stub", draft.compiled(draft.compose(*draft.states)), lesson.exercise, checks)
    found = Runner(lesson, 0, Limits(), stop_early=True).run([variant])["stub"]
    broken = [one.message for one in found if "cannot be imported" in one.message]
    return [f"{lesson.name}: its stub does not import on its own: {broken[0]}"] if broken else []


def _missed(verdict: Verdict, says: str) -> str:
    """How the checks missed a mistake; empty when they named it."""
    hole = verdict.holes[0] if verdict.holes else None
    if hole is None or verdict.exit_code != 1:
        return f"gives exit {verdict.exit_code}; expected 1 {verdict.refused}".rstrip()
    if says not in hole.message:
        return f"fails with {hole.message!r} ({hole.check}); expected {says!r} in it"
    return ""


def main(argv: list[str] | None = None) -> int:
    """The command: 0 the law holds, 1 it does not."""
    parser = argparse.ArgumentParser(
        prog="python -m minigen.course.law", description="Proves the course's law."
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="default: all")
    parser.add_argument("--root", type=Path, help="the folder that holds exercises/ and solutions/")
    parser.add_argument("--seed", type=int, help="repeat the random inputs of an earlier run")
    args = parser.parse_args(argv)
    bad = False
    try:
        where = course(args.root)
        for lesson in [where.lesson(name) for name in args.lessons] or where.lessons:
            breaches, findings = survey(lesson, args.seed)
            for one in findings:
                first = one.message.partition("\n")[0]
                print(f"{'!!' if one.breach else 'ok'} {lesson.short} {one.mistake} -> {one.check}: {first}")
            for breach in breaches:
                print(f"!! {breach}")
            bad = bad or bool(breaches)
    except MinigenError as error:
        print(f"minigen: {error}", file=sys.stderr)
        return error.exit_code
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
