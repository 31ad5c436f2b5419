"""Grading a folder of submissions: every one in sealed processes, several at a time, nothing lost by a kill."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigen import __version__
from minigen.course.checks import find_checks
from minigen.course.compose import Draft, Refused
from minigen.course.manifest import Lesson, read_source
from minigen.course.process import Limits
from minigen.course.results import Record, Results
from minigen.course.submission import Handed, Submission
from minigen.course.verdict import HoleVerdict, Task, Verdict, judge
from minigen.errors import CourseError, MinigenError
from minigen.patience import Patience

HEED = 0.1  # seconds between two looks at whether to stop
STATUS = {0: "passed", 1: "failed", 3: "not started", 4: "limit"}


class Stopped(MinigenError):
    """The run was asked to end."""

    exit_code = 130


@dataclass(frozen=True)
class Rules:
    """What all submissions are graded by: one seed, so that all meet the same inputs."""

    seed: int
    limits: Limits
    secret: tuple[str, ...] = ()


def grade(
    submissions: Sequence[Submission],
    lessons: Sequence[Lesson],
    results: Results,
    rules: Rules,
    jobs: int = 1,
    heard: Callable[[Record, int, int], None] = lambda record, done, all: None,
    patient: Patience | None = None,
) -> None:
    """Adds a record for each submission and lesson that has none yet; heard(record, how many done, of how many).

    Raises Stopped a moment after `patient` was asked; what was being graded then is graded when the run goes on.
    """
    keys = {lesson: _course_key(lesson, rules) for lesson in lessons}
    todo = [
        (one, lesson)
        for one in submissions
        for lesson in lessons
        if not _known(results, one, lesson, _key(keys[lesson], one, lesson))
    ]
    done, of, patient = 0, len(todo), patient or Patience()
    with ThreadPoolExecutor(jobs) as pool:
        running: set[Future[Record]] = set()
        try:
            while todo or running:
                while todo and len(running) < jobs:
                    one, lesson = todo.pop(0)
                    key = _key(keys[lesson], one, lesson)
                    running.add(pool.submit(assess, one, lesson, rules, key, patient))
                finished, running = wait(running, HEED, FIRST_COMPLETED)
                for future in finished:
                    results.add(record := future.result())
                    done += 1
                    heard(record, done, of)
                if patient.asked:
                    raise Stopped("stopped")
        finally:
            patient.asked = True  # whatever ended it: the children end within a moment


def assess(
    one: Submission, lesson: Lesson, rules: Rules, key: str = "", patient: Patience | None = None
) -> Record:
    """The record of one submission and one lesson."""
    record: Record = {"student": one.student, "lesson": lesson.name, "status": "missing", "score": 0}
    record |= {"max_score": len(lesson.holes), "message": "", "line": None, "seconds": 0.0}
    handed, started = one.files.get(lesson.name), time.monotonic()
    record |= {"path": handed.place if handed else "", "seed": rules.seed, "notes": [], "key": key}
    record["holes"] = [_hole(HoleVerdict(hole.name, "missing", [])) for hole in lesson.holes]
    problem = one.problem or (handed.problem if handed else "")
    if problem:
        return record | {"status": "unreadable", "message": problem}
    if handed is None:
        return record | {"message": f"no {lesson.name}.py was handed in"}

    def waiting(*_: Any) -> None:
        if patient is not None and patient.asked:
            raise Stopped("stopped")

    try:
        task = {"": Task(_place(handed, lesson), handed.text)}
        verdict = judge(lesson, task, rules.seed, rules.limits, waiting=waiting, secret=rules.secret)[""]
    except Stopped:
        raise
    except MinigenError as error:  # not the student's doing: graded again when the run is resumed
        return record | {
            "status": "error",
            "message": str(error),
            "seconds": round(time.monotonic() - started, 2),
        }
    return (
        record
        | _summary(verdict)
        | {
            "notes": list(_notes(lesson, handed)),
            "seconds": round(time.monotonic() - started, 2),
        }
    )


def _summary(verdict: Verdict) -> Record:
    """What a verdict comes to."""
    if verdict.refused:
        holes = [
            _hole(HoleVerdict(hole.name, "failing", [], verdict.refused)) for hole in verdict.lesson.holes
        ]
        return {"status": "refused", "message": verdict.refused, "line": verdict.line, "holes": holes}
    holes = [_hole(hole) for hole in verdict.holes]
    worst = next((hole for hole in verdict.holes if hole.message), None)
    return {
        "status": STATUS[verdict.exit_code],
        "score": sum(hole["score"] for hole in holes),
        "message": f"{worst.hole}: {worst.message}" if worst else "",
        "line": worst.line if worst else None,
        "holes": holes,
    }


def _hole(hole: HoleVerdict) -> Record:
    return {
        "hole": hole.hole,
        "state": hole.state,
        "score": int(hole.state == "done"),
        "message": hole.message,
        "line": hole.line,
        "kind": hole.kind,
        "check": hole.check,
        "limit": hole.limit,
        "passed": sum(one.passed for one in hole.checks),
        "checks": len(hole.checks),
        "output": hole.output[-2000:],
    }


def _notes(lesson: Lesson, handed: Handed) -> Iterator[str]:
    """What an instructor may want to look at."""
    try:
        copied = Draft(lesson, _place(handed, lesson), handed.text).copied
    except Refused:
        return
    if copied:
        yield f"the reference's own code, but for comments: {', '.join(copied)}"


def _place(handed: Handed, lesson: Lesson) -> Path:
    """The path that tracebacks name: nobody learns from it where others' work is."""
    return Path("/submission") / f"{lesson.name}.py"


def _known(results: Results, one: Submission, lesson: Lesson, key: str) -> bool:
    record = results.records.get((one.student, lesson.name))
    return record is not None and record["key"] == key and record["status"] != "error"


def _course_key(lesson: Lesson, rules: Rules) -> str:
    """What a verdict depends on besides the file: another version, limit or check means another grading."""
    checked = {check.hole for check in find_checks(lesson)}
    if bare := [hole.name for hole in lesson.holes if hole.name not in checked]:
        raise CourseError(f"{lesson.checks} has no check of {bare[0]}: {lesson.name} cannot be graded")
    parts = (__version__, lesson.source, read_source(lesson.checks), repr(rules.limits))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _key(course: str, one: Submission, lesson: Lesson) -> str:
    handed = one.files.get(lesson.name)
    text = f"{course}\0{one.problem}\0{(handed.text, handed.problem) if handed else None}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
