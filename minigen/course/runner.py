"""Runs variants of a lesson against its checks in child processes, within limits, and believes none of them.

The parent knows which checks must pass, hears of each over a pipe, and kills a child that takes too long or
prints too much. A child that dies costs the variant that it was judging; the others go on in the next child.
"""

from __future__ import annotations

import base64
import contextlib
import json
import marshal
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from minigen.course.checks import Check
from minigen.course.manifest import Lesson
from minigen.errors import MinigenError

LIMITS = ("timeout", "memory", "output")


class BrokenChecks(MinigenError):
    """The checks themselves cannot run: pytest is missing, or their file does not import."""

    exit_code = 5


@dataclass(frozen=True)
class Limits:
    """What one check may take; `seconds` replaces what the check asks for."""

    seconds: float | None = None
    megabytes: int = 4096
    output: int = 1_000_000
    start: float = 180.0


@dataclass(frozen=True)
class Variant:
    """A module to judge: an id, its code, and the checks that it must pass."""

    id: str
    code: CodeType
    path: Path
    checks: tuple[Check, ...]


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


@dataclass
class _Child:
    """A running child and what has been heard of it."""

    process: subprocess.Popen[bytes]
    channel: int
    word: str
    current: tuple[str, str] | None = None
    printed: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    since: float = field(default_factory=time.monotonic)
    finished: bool = False
    broken: str = ""


class Runner:
    """All variants of one lesson, through as many children as it takes."""

    def __init__(self, lesson: Lesson, seed: int, limits: Limits, stop_early: bool = False) -> None:
        self.lesson, self.seed, self.limits, self.stop_early = lesson, seed, limits, stop_early
        self.items: list[tuple[str, str]] = []
        self.results: dict[str, dict[str, Outcome]] = {}
        self.checks: dict[str, dict[str, Check]] = {}

    def run(self, variants: Sequence[Variant]) -> dict[str, list[Outcome]]:
        """Outcomes per variant id, in the order of the checks' file; a variant without checks has none."""
        self.checks = {one.id: {check.function: check for check in one.checks} for one in variants}
        self.results = {one.id: {} for one in variants}
        pending = [one for one in variants if one.checks]
        while pending:
            child = self._start(pending)
            ended = "interrupted"
            try:
                ended = self._listen(child)
            finally:
                _stop(child, patience=1.0 if ended == "end" else 0.0)
            self._conclude(child, ended)
            left = [] if child.finished else [one for one in pending if not self.results[one.id]]
            if len(left) == len(pending):
                raise BrokenChecks(self._diagnose(child))
            pending = left
        return {name: list(found.values()) for name, found in self.results.items()}

    def _start(self, variants: Sequence[Variant]) -> _Child:
        """A new child, told what to judge."""
        solution = os.path.realpath(self.lesson.solution)
        cached = os.path.join(os.path.dirname(solution), "__pycache__", self.lesson.name)
        request = {
            "word": secrets.token_hex(16),
            "root": str(self.lesson.root),
            "file": str(self.lesson.checks),
            "seed": self.seed,
            "memory": self.limits.megabytes,
            "stop_early": self.stop_early,
            "forbidden": [solution, cached, os.path.realpath(self.lesson.bank)],
            "variants": [_packed(one, self.lesson) for one in variants],
        }
        read, write = os.pipe()
        script = Path(__file__).with_name("child.py")
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(write)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write,),
            cwd=self.lesson.root,
            env=_environment(),
            start_new_session=True,
        )
        os.close(write)
        with contextlib.suppress(BrokenPipeError):
            _feed(process, request)
        return _Child(process, read, str(request["word"]))

    def _listen(self, child: _Child) -> str:
        """Hears the child out; returns why it ended: end, timeout or output."""
        assert child.process.stdout is not None
        printed = child.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            for handle in (child.channel, printed):
                os.set_blocking(handle, False)
                selector.register(handle, selectors.EVENT_READ)
            while True:
                # The pipe's lines come first in each round only after what was printed before them.
                ready = {key.fd for key, _ in selector.select(0.05)}
                if printed in ready or child.channel in ready:
                    self._take_output(child, printed)
                if child.channel in ready and not self._take_events(child, printed):
                    return "end"
                if len(child.printed) > self.limits.output:
                    return "output"
                if child.finished or (not ready and child.process.poll() is not None):
                    return "end"
                if time.monotonic() - child.since > self._allowed(child):
                    return "timeout"

    def _allowed(self, child: _Child) -> float:
        """Seconds that what the child is doing now may take."""
        if child.current is None:
            return self.limits.start
        if self.limits.seconds is not None:
            return self.limits.seconds
        variant, item = child.current
        return self._check(variant, item).seconds

    def _check(self, variant: str, item: str) -> Check:
        function = next((name for name, each in self.items if each == item), item)
        return self.checks[variant][function]

    def _take_output(self, child: _Child, printed: int) -> None:
        for data in _chunks(printed):
            child.printed += data
            if len(child.printed) > self.limits.output:
                return

    def _take_events(self, child: _Child, printed: int) -> bool:
        """Reads the pipe; False once it is closed."""
        closed = True
        for data in _chunks(child.channel):
            child.heard += data
            closed = False
        *lines, rest = bytes(child.heard).split(b"\n")
        child.heard = bytearray(rest)
        for line in lines:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.pop("word", None) == child.word:
                    self._take_output(child, printed)
                    self._hear(child, event)
        return not closed

    def _hear(self, child: _Child, event: dict[str, Any]) -> None:
        """One line of the child's."""
        child.since = time.monotonic()
        kind = event["event"]
        before, mark, after = bytes(child.printed).partition(child.word.encode())
        printed, child.printed = before.decode(errors="replace"), bytearray(after if mark else b"")
        if kind == "collected" and not child.current:
            self.items = [(str(name), str(item)) for name, item in event["items"]]
        elif kind == "broken":
            child.broken = event["text"]
        elif kind == "start":
            child.current = event["variant"], event["check"]
        elif kind == "end" and child.current == (event["variant"], event["check"]):
            outcome = Outcome(
                event["check"], "", event["outcome"], event.get("message", ""), event.get("line")
            )
            outcome.output, outcome.seconds = printed, event["seconds"]
            self._record(child, outcome)
        elif kind == "finished":
            child.finished = True

    def _record(self, child: _Child, outcome: Outcome) -> None:
        """What became of the check at hand."""
        assert child.current is not None
        variant, outcome.check = child.current
        outcome.kind = self._check(*child.current).kind
        self.results[variant][outcome.check] = outcome
        child.current = None

    def _conclude(self, child: _Child, ended: str) -> None:
        """What became of the check at hand when the child stopped, and of those that never ran."""
        if child.current:
            seconds = time.monotonic() - child.since
            if ended == "timeout":
                says = f"still running after {self._allowed(child):g} s: is there a loop that does not end?"
            elif ended == "output":
                says = f"printed more than {self.limits.output:,} characters: is there a print in a loop?"
            else:
                ended, says = "crashed", _obituary(child.process)
            printed = bytes(child.printed[:20_000]).decode(errors="replace")
            self._record(child, Outcome("", "", ended, says, None, printed, seconds))
        for variant, found in self.results.items():
            if not found:
                continue
            for name, item in self.items:
                if name in self.checks[variant] and item not in found:
                    found[item] = Outcome(item, self.checks[variant][name].kind)
            for name, check in self.checks[variant].items():
                if not any(each == name for each, _ in self.items):
                    found[name] = Outcome(name, check.kind, "not run", "pytest did not find this check")

    def _diagnose(self, child: _Child) -> str:
        """Why not a single check could run."""
        text = child.broken or child.printed.decode(errors="replace")
        if "No module named 'pytest'" in text:
            return "checks need pytest, which is missing: python -m pip install pytest"
        lines = [line for line in text.strip().splitlines() if line.strip()]
        says = lines[-1].strip() if lines else _obituary(child.process)
        return f"{self.lesson.checks} cannot run: {says}"


def _packed(variant: Variant, lesson: Lesson) -> dict[str, Any]:
    return {
        "id": variant.id,
        "module": f"exercises.{lesson.name}",
        "filename": str(variant.path),
        "code": base64.b64encode(marshal.dumps(variant.code)).decode(),
        "checks": [check.function for check in variant.checks],
    }


def _feed(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode())
    process.stdin.close()


def _environment() -> dict[str, str]:
    """The user's, without what would change how pytest runs."""
    drop = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    kept.setdefault("OPENBLAS_NUM_THREADS", "1")  # small products: more threads only get in each other's way
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"}


def _chunks(handle: int) -> Iterator[bytes]:
    """What can be read now."""
    with contextlib.suppress(BlockingIOError, OSError):
        while data := os.read(handle, 65536):
            yield data


def _stop(child: _Child, patience: float) -> None:
    """Ends the child and whatever it started; with patience, so that its own exit code is seen."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.process.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()
    os.close(child.channel)
    for pipe in (child.process.stdout, child.process.stdin):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def _obituary(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"Python was killed by {name} while it ran your code"
    return f"Python ended (exit code {code}) before the check was over: your code must return, not exit"
