"""From a learner's file to a verdict per hole: not started, failing or done."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigen.course.checks import Check, find_checks
from minigen.course.compose import Draft, Refused
from minigen.course.manifest import Lesson, read_source
from minigen.course.process import Limits
from minigen.course.runner import LIMITS, Outcome, Runner, Variant, Waiting

PASS, FAILED, NOT_STARTED, LIMIT = 0, 1, 3, 4


@dataclass
class HoleVerdict:
    """One hole: its state, and the checks it was put to."""

    hole: str
    state: str  # "not started", "failing" or "done"
    checks: list[Outcome]
    message: str = ""  # what is wrong, for people; empty when nothing is
    line: int | None = None
    source: str = ""
    kind: str = ""
    check: str = ""
    output: str = ""
    limit: str = ""  # "timeout", "memory" or "output" where one was hit


@dataclass
class Verdict:
    """One file: the path that was checked, its holes, the seed that repeats the run."""

    lesson: Lesson
    path: Path
    holes: list[HoleVerdict]
    seed: int
    refused: str = ""  # why the file as a whole could not be judged
    line: int | None = None
    source: str = ""

    @property
    def exit_code(self) -> int:
        """0 all done, 3 nothing started, 4 a limit was hit, else 1. No checks at all is a failure."""
        if self.refused:
            return FAILED
        states = [hole.state for hole in self.holes]
        if any(hole.limit for hole in self.holes):
            return LIMIT
        if states and all(state == "done" for state in states):
            return PASS
        return NOT_STARTED if states and all(state == "not started" for state in states) else FAILED

    def as_json(self) -> dict[str, Any]:
        """Everything, for tools."""
        return {
            "lesson": self.lesson.name,
            "path": str(self.path),
            "exit_code": self.exit_code,
            "seed": self.seed,
            "refused": self.refused,
            "line": self.line,
            "holes": [asdict(hole) for hole in self.holes],
        }


@dataclass(frozen=True)
class Task:
    """A file to judge: its text, the path to name, and the holes asked for (None: all)."""

    path: Path
    source: str
    holes: tuple[str, ...] | None = None


def judge_file(
    lesson: Lesson,
    path: Path | None = None,
    holes: Sequence[str] | None = None,
    seed: int | None = None,
    limits: Limits | None = None,
    waiting: Waiting | None = None,
) -> Verdict:
    """The verdict on one file (default: the lesson's exercise)."""
    path = path or lesson.exercise
    task = Task(path, read_source(path), tuple(holes) if holes else None)
    return judge(lesson, {"": task}, seed, limits, waiting=waiting)[""]


def judge(
    lesson: Lesson,
    tasks: Mapping[str, Task],
    seed: int | None = None,
    limits: Limits | None = None,
    stop_early: bool = False,
    waiting: Waiting | None = None,
    secret: Sequence[str] = (),
) -> dict[str, Verdict]:
    """Verdicts on several files of one lesson, all in one child process where nothing goes wrong.

    secret: folders that none of them may read. With sealed limits, a file that reaches into the checks is refused.
    """
    seed = secrets.randbits(31) if seed is None else seed
    checks = find_checks(lesson)
    drafts = {key: Draft(lesson, task.path, task.source) for key, task in tasks.items()}
    verdicts: dict[str, Verdict] = {}
    first: dict[str, Variant] = {}
    second: dict[str, Variant] = {}
    for key, draft in drafts.items():
        wanted = tasks[key].holes or tuple(hole.name for hole in lesson.holes)
        try:
            if limits and limits.sealed:
                draft.inspect()
            for hole in wanted:
                if draft.states[hole] == "started":
                    _prepare(draft, f"{key}:{hole}", hole, checks, first)
            if set(draft.states.values()) == {"started"}:
                second |= _whole(draft, key, checks, wanted)
            verdicts[key] = Verdict(lesson, draft.path, [], seed)
        except Refused as error:
            verdicts[key] = Verdict(lesson, draft.path, [], seed, str(error), error.line, error.source)
            first = {name: one for name, one in first.items() if not name.startswith(f"{key}:")}
    runner = Runner(lesson, seed, limits or Limits(), stop_early, waiting, secret)
    found = runner.run(list(first.values()))

    def rest(key: str) -> dict[str, Variant]:
        return _whole(drafts[key], key, checks, tuple(drafts[key].states))

    retried = _as_a_whole(runner, found, second, rest)
    for key, verdict in verdicts.items():
        if not verdict.refused:
            wanted = tasks[key].holes or tuple(hole.name for hole in lesson.holes)
            for hole in wanted:
                name = f"{key}:{hole}"
                outcomes = retried[name] if _passed(retried.get(name, [])) else found.get(name, [])
                verdict.holes.append(_conclude(drafts[key], hole, outcomes))
    return verdicts


def _prepare(draft: Draft, name: str, hole: str, checks: Sequence[Check], first: dict[str, Variant]) -> None:
    """The hole among the reference's."""
    own = tuple(check for check in checks if check.hole == hole)
    first[name] = Variant(name, draft.compiled(draft.compose(hole)), draft.path, own, draft.lines(hole))


def _whole(draft: Draft, key: str, checks: Sequence[Check], holes: Sequence[str]) -> dict[str, Variant]:
    """The whole file as it stands, once for each of `holes` that it makes a difference to; all are started.

    Someone may have moved work from one hole to another: right as a whole, wrong beside the reference's half.
    """
    others, found = [hole for hole in holes if draft.own - {hole}], {}
    if others:
        code = draft.compiled(draft.whole)
    for hole in others:
        name, own = f"{key}:{hole}", tuple(check for check in checks if check.hole == hole)
        found[name] = Variant(name, code, draft.path, own, draft.lines(hole))
    return found


def _as_a_whole(
    runner: Runner,
    found: Mapping[str, list[Outcome]],
    second: Mapping[str, Variant],
    rest: Callable[[str], dict[str, Variant]],
) -> dict[str, list[Outcome]]:
    """What holes that fail beside the reference are worth in their own file, if all holes of that file pass there.

    All: two wrong halves can make a right one, and nobody has done a hole whose other half is wrong.
    """
    failed = [one for name, one in second.items() if _plainly_failed(found.get(name, []))]
    retried = runner.run(failed)
    saved = {name.rpartition(":")[0] for name, outcomes in retried.items() if _passed(outcomes)}
    others = [one for key in saved for name, one in rest(key).items() if name not in retried]
    whole = retried | (runner.run(others) if others else {})
    wrong = {name.rpartition(":")[0] for name, outcomes in whole.items() if not _passed(outcomes)}
    return {name: outcomes for name, outcomes in retried.items() if name.rpartition(":")[0] not in wrong}


def _passed(outcomes: Sequence[Outcome]) -> bool:
    return bool(outcomes) and all(one.passed for one in outcomes)


def _plainly_failed(outcomes: Sequence[Outcome]) -> bool:
    return any(one.outcome == "failed" for one in outcomes) and not any(
        one.outcome in LIMITS for one in outcomes
    )


def _conclude(draft: Draft, hole: str, outcomes: list[Outcome]) -> HoleVerdict:
    """The state of a hole, and what to say of it."""
    state = draft.states[hole]
    if state == "not started":
        return HoleVerdict(hole, state, [])
    if state == "missing":
        says = (
            f"{hole} is not in the file any more: `minigen reset {draft.lesson.short}:{hole}` brings it back"
        )
        return HoleVerdict(hole, "failing", [], says)
    if _passed(outcomes):
        return HoleVerdict(hole, "done", outcomes)
    if not outcomes:
        return HoleVerdict(hole, "failing", [], f"no check of {hole} was run, and that is not a pass")
    worst = next(one for one in outcomes if not one.passed)
    source = _line(draft.source, worst.line)
    limit = next((one.outcome for one in outcomes if one.outcome in LIMITS), "")
    message = worst.message
    if worst.outcome == "memory":
        message = f"out of memory: {message}"
    return HoleVerdict(
        hole, "failing", outcomes, message, worst.line, source, worst.kind, worst.check, worst.output, limit
    )


def _line(source: str, line: int | None) -> str:
    lines = source.splitlines()
    return lines[line - 1].strip() if line and line <= len(lines) else ""
