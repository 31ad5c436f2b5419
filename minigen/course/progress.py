"""What a learner has done: `.minigen/progress.json` under the course's root. Losing it loses no work."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigen.course.console import tell
from minigen.course.files import write_text
from minigen.course.verdict import Verdict
from minigen.errors import CourseError


@dataclass
class Progress:
    """Per lesson and hole: tries, failures (in a row), passes, done, hints, solution (seen), checked (a digest)."""

    path: Path
    lessons: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> Progress:
        """What is on disk; a damaged file is set aside with one line, and a new one begun."""
        path = root / ".minigen" / "progress.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["lessons"]
            return cls(path, {str(name): _holes(holes) for name, holes in found.items()})
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            tell(f"minigen: {path} cannot be read ({error.strerror}): going on without it", to=sys.stderr)
            return cls(path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            aside = _free(path.with_name("progress.damaged"))
            try:
                path.replace(aside)
                tell(f"minigen: {path} was damaged; set aside as {aside.name}, begun anew", to=sys.stderr)
            except OSError:
                tell(f"minigen: {path} is damaged: going on without it", to=sys.stderr)
            return cls(path)

    def save(self) -> None:
        """Writes it whole; a folder that cannot be written costs one line, not the command."""
        text = json.dumps({"version": 1, "lessons": self.lessons}, indent=1, sort_keys=True) + "\n"
        try:
            write_text(self.path, text)
        except CourseError as error:
            tell(f"minigen: progress is not kept: {error}", to=sys.stderr)

    def hole(self, lesson: str, hole: str) -> dict[str, Any]:
        """The record of one hole, to read and to change."""
        blank: dict[str, Any] = {"tries": 0, "failures": 0, "passes": 0, "done": False, "hints": 0}
        blank |= {"solution": False, "checked": ""}
        record = self.lessons.setdefault(lesson, {}).setdefault(hole, {})
        for name, value in blank.items():
            if type(record.get(name)) is not type(value):
                record[name] = value
        return record

    def note(self, verdict: Verdict, prints: Mapping[str, str] | None = None) -> None:
        """Counts a run of the checks on the learner's exercise, with the fingerprints of what was checked."""
        for one in verdict.holes:
            record = self.hole(verdict.lesson.name, one.hole)
            record["done"] = one.state == "done"
            record["checked"] = (prints or {}).get(one.hole, "")
            if one.state == "not started":
                continue
            record["tries"] += 1
            record["passes"] += one.state == "done"
            record["failures"] = 0 if one.state == "done" else record["failures"] + 1


def _holes(holes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(hole): dict(record) for hole, record in holes.items()}


def _free(path: Path) -> Path:
    """path-1, path-2, ...: the first that is not there yet."""
    number = 1
    while (found := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return found
