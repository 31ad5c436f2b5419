"""Runs variants of a lesson against its checks in child processes, within limits, and believes none of them.

The parent knows which checks must pass and hears of each from the child (process.py). A child that dies costs the
variant that it was judging; the others go on in the next child.
"""

from __future__ import annotations

import base64
import contextlib
import marshal
import os
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any

from minigen.course.checks import Check
from minigen.course.manifest import Lesson
from minigen.course.process import Child, Limits
from minigen.errors import MinigenError

LIMITS = ("timeout", "memory", "output")
Waiting = Callable[[Check, float, float], None]


class BrokenChecks(MinigenError):
    """The checks themselves cannot run: pytest is missing, or their file does not import."""

    exit_code = 5


@dataclass(frozen=True)
class Variant:
    """A module to judge: an id, its code, and the checks that it must pass."""

    id: str
    code: CodeType
    path: Path
    checks: tuple[Check, ...]
    lines: tuple[int, int] = (0, 0)  # where in the learner's file the hole is: its line is the one to show


@dataclass
class Outcome:
    """One check on one variant: passed, failed, timeout, memory, output, crashed or not run."""

    check: str
    kind: str
    outcome: str = "not run"
    message: str = ""
    line: int | None = None
    output: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


class Runner:
    """All variants of one lesson, through as many children as it takes.

    waiting(check, seconds so far, seconds allowed) is called now and then while a check runs.
    """

    def __init__(
        self,
        lesson: Lesson,
        seed: int,
        limits: Limits,
        stop_early: bool = False,
        waiting: Waiting | None = None,
        secret: Sequence[str] = (),
    ) -> None:
        self.secret = [
            os.path.realpath(one) for one in secret
        ]  # other people's work, and what is noted of it
        self.lesson, self.seed, self.limits, self.stop_early = lesson, seed, limits, stop_early
        self.waiting = waiting
        self.items: list[tuple[str, str]] = []
        self.results: dict[str, dict[str, Outcome]] = {}
        self.checks: dict[str, dict[str, Check]] = {}
        self.current: tuple[str, str] | None = None  # the variant and check at hand
        self.broken = ""
        self.earlier = ""  # what the module printed while it was imported
        self.imported: set[str] = set()  # variants whose module has run to its end

    def run(self, variants: Sequence[Variant]) -> dict[str, list[Outcome]]:
        """Outcomes per variant id, in the order of the checks' file; a variant without checks has none."""
        self.checks = {one.id: {check.function: check for check in one.checks} for one in variants}
        self.results = {one.id: {} for one in variants}
        pending = [one for one in variants if one.checks]
        while pending:
            self.current, self.broken = None, ""
            with self._folder() as scratch:
                child = self._run(pending, scratch)
            left = [] if child.finished else [one for one in pending if not self.results[one.id]]
            if len(left) == len(pending):
                raise BrokenChecks(self._diagnose(child))
            pending = left
        return {name: list(found.values()) for name, found in self.results.items()}

    def _folder(self) -> contextlib.AbstractContextManager[str]:
        """Where other people's code may write: a folder that goes away with what is in it; '' for one's own."""
        if not self.limits.sealed:
            return contextlib.nullcontext("")
        return tempfile.TemporaryDirectory(prefix="minigen-", ignore_cleanup_errors=True)

    def _run(self, variants: Sequence[Variant], scratch: str) -> Child:
        """One child, heard out, stopped and concluded."""
        script, folder = Path(__file__).with_name("child.py"), Path(scratch or self.lesson.root)
        child = self.child = Child(script, self._request(variants, scratch), folder, scratch)
        ended = "interrupted"
        try:
            ended = child.listen(self._hear, self._allowed, self.limits.output, self._wait)
        finally:
            child.stop(patience=1.0 if ended == "end" else 0.0)
        self._conclude(child, ended)
        return child

    def _request(self, variants: Sequence[Variant], scratch: str) -> dict[str, Any]:
        """What a new child is told."""
        solution = os.path.realpath(self.lesson.solution)
        trusted = _trusted(self.lesson)
        secret = [one for one in self.secret if not any(path.startswith(one + os.sep) for path in trusted)]
        cached = os.path.join(os.path.dirname(solution), "__pycache__", self.lesson.name)
        return {
            "root": str(self.lesson.home),
            "file": str(self.lesson.checks),
            "seed": self.seed,
            "memory": self.limits.megabytes,
            "stop_early": self.stop_early,
            "forbidden": [solution, cached, os.path.realpath(self.lesson.bank), *secret],
            "solution": f"solutions.{self.lesson.name}",
            "scratch": scratch,
            "trusted": trusted,
            "variants": [_packed(one, self.lesson) for one in variants],
        }

    def _allowed(self) -> float:
        """Seconds that what the child is doing now may take."""
        if self.current is None:
            return self.limits.start
        return self._check(*self.current).seconds if self.limits.seconds is None else self.limits.seconds

    def _wait(self, seconds: float) -> None:
        """Somebody may want to know what takes so long."""
        if self.waiting and self.current:
            self.waiting(self._check(*self.current), seconds, self._allowed())

    def _check(self, variant: str, item: str) -> Check:
        function = next((name for name, each in self.items if each == item), item)
        return self.checks[variant][function]

    def _hear(self, event: dict[str, Any], printed: str) -> None:
        """One line of the child's."""
        kind = event["event"]
        if kind == "collected" and not self.current:
            self.items = [(str(name), str(item)) for name, item in event["items"]]
        elif kind == "broken":
            self.broken = event["text"]
        elif kind == "start":
            self.current, self.earlier = (event["variant"], event["check"]), ""
        elif kind == "end" and self.current == (event["variant"], event["check"]):
            outcome = Outcome(
                event["check"], "", event["outcome"], event.get("message", ""), event.get("line")
            )
            outcome.output, outcome.seconds = self.earlier + printed, event["seconds"]
            self._record(outcome)
        elif kind == "imported":
            self.imported.add(event["variant"])
            self.earlier = printed
        elif kind == "left" and self.current and self.current[0] == event["variant"]:
            self._record(Outcome("", "", "crashed", self.child.obituary(event["code"]), None, printed))

    def _record(self, outcome: Outcome) -> None:
        """What became of the check at hand."""
        assert self.current is not None
        variant, outcome.check = self.current
        outcome.kind = self._check(*self.current).kind
        self.results[variant][outcome.check] = outcome
        self.current = None

    def _conclude(self, child: Child, ended: str) -> None:
        """What became of the check at hand when the child stopped, and of those that never ran."""
        if self.current:
            seconds = time.monotonic() - child.since
            ended, says = child.epitaph(ended, self._allowed(), self.limits.output)
            printed = bytes(child.printed[:20_000]).decode(errors="replace")
            variant = self.current[0]
            self._record(Outcome("", "", ended, says, None, printed, seconds))
            if ended == "timeout" and variant not in self.imported:
                self._spare(variant)
        for variant, found in self.results.items():
            if not found:
                continue
            for name, item in self.items:
                if name in self.checks[variant] and item not in found:
                    found[item] = Outcome(item, self.checks[variant][name].kind)
            for name, check in self.checks[variant].items():
                if not any(each == name for each, _ in self.items):
                    found[name] = Outcome(name, check.kind, "not run", "pytest did not find this check")

    def _spare(self, hung: str) -> None:
        """A file that hangs while it is imported does so in each of its variants: one wait is enough."""
        (outcome,) = self.results[hung].values()
        for variant, found in self.results.items():
            if not found and self.checks[variant] and variant.rpartition(":")[0] == hung.rpartition(":")[0]:
                name = next(
                    (item for each, item in self.items if each in self.checks[variant]), outcome.check
                )
                check = self.checks[variant].get(name.partition("[")[0])
                found[name] = replace(outcome, check=name, kind=check.kind if check else "", seconds=0.0)

    def _diagnose(self, child: Child) -> str:
        """Why not a single check could run."""
        text = self.broken or child.printed.decode(errors="replace")
        if "No module named 'pytest'" in text:
            return "checks need pytest, which is missing: python -m pip install pytest"
        lines = [line for line in text.strip().splitlines() if line.strip()]
        says = lines[-1].strip() if lines else child.obituary()
        return f"{self.lesson.checks} cannot run: {says}"


def _trusted(lesson: Lesson) -> list[str]:
    """The folders of code that is not the learner's: Python, its packages, minigen, the course."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [str(Path(__file__).parents[1]), str(lesson.home / "solutions"), str(lesson.home / "tests")]
    return [form + os.sep for path in dict.fromkeys(paths) for form in {path, os.path.realpath(path)}]


def _packed(variant: Variant, lesson: Lesson) -> dict[str, Any]:
    return {
        "id": variant.id,
        "module": f"exercises.{lesson.name}",
        "filename": str(variant.path),
        "lines": list(variant.lines),
        "code": base64.b64encode(marshal.dumps(variant.code)).decode(),
        "checks": [check.function for check in variant.checks],
    }
