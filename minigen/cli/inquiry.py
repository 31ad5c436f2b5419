"""The parent's side of `minigen gradcheck`: what is heard from the process that runs the file, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigen.errors import MinigenError

FAILED, LIMIT = 1, 4
SCRIPT = Path(__file__).with_name("gradcheck_child.py")


class Refused(MinigenError):
    """A file that could not be checked as a whole; the exit code says whose fault that is."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class Inquiry:
    """What is heard of a file, from as many child processes as it takes: one that dies costs the check at hand."""

    request: dict[str, Any]
    seconds: float  # what one check, or loading the file, may take
    begin: Callable[[str], None] | None = None  # called with what the file printed, once it is loaded
    show: Callable[[dict[str, Any]], None] | None = None  # called with each result
    names: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""  # while the file was loaded
    loading: bool = False
    current: bool = False  # whether a check is running
    refused: Refused | None = None

    def run(self) -> None:
        """Every target is checked, or said not to be; raises Refused where the file as a whole cannot be."""
        from minigen.course.process import Child, Limits
        from minigen.course.waiting import Notice

        limits, notice = Limits(), Notice()
        while not self.names or len(self.results) < len(self.names):
            self.loading = self.current = False
            request = {**self.request, "memory": limits.megabytes, "skip": len(self.results)}
            before, child = len(self.results), Child(SCRIPT, request, Path.cwd())
            ended = "interrupted"

            def allowed() -> float:
                return self.seconds if self.loading or self.current else limits.start

            def waiting(spent: float) -> None:
                if self.loading or self.current:  # how long Python takes to start is nobody's fault
                    notice(self._doing(), spent, allowed())

            try:
                ended = child.listen(self.hear, allowed, limits.output, waiting)
            finally:
                child.stop(patience=1.0 if ended == "end" else 0.0)
                notice.clear()
            if self.refused:
                raise self.refused
            if not child.finished or len(self.results) == before:
                kind, says = child.epitaph(ended, allowed(), limits.output)
                self._lost(kind, says, bytes(child.printed[:20_000]).decode(errors="replace"))

    def _doing(self) -> str:
        return self.names[len(self.results)] if self.current else f"{self.request['path']} to load"

    def hear(self, event: dict[str, Any], printed: str) -> None:
        """One line of the child's; only what it says of the check that is due counts."""
        kind = event["event"]
        if kind == "ready":
            self.loading = True
        elif kind == "found":
            self.loading = False
            self._found(list(map(str, event["names"])), event["left_out"], printed)
        elif kind == "start" and self.names and event["name"] == self._due():
            self.current = True
        elif kind == "end" and self.current and event["name"] == self._due():
            self.current = False
            self._add({key: event[key] for key in ("name", "state", "report", "says")} | {"printed": printed})
        elif kind == "refused":
            self.refused = Refused(
                event["text"], LIMIT if event["limit"] else FAILED if event["failed"] else 2
            )

    def _due(self) -> str | None:
        return self.names[len(self.results)] if len(self.results) < len(self.names) else None

    def _found(self, names: list[str], left_out: list[str], printed: str) -> None:
        if self.names and names != self.names:
            text = f"gradcheck: {self.request['path']} defines other things each time it is run"
            self.refused = Refused(text, FAILED)
        elif not self.names:
            self.names, self.left_out, self.printed = names, left_out, printed
            if self.begin:
                self.begin(printed)

    def _add(self, result: dict[str, Any]) -> None:
        self.results.append(result)
        if self.show:
            self.show(result)

    def _lost(self, kind: str, says: str, printed: str) -> None:
        """The child ended before its time."""
        limit = kind != "crashed"
        if not self.names or self._due() is None:
            raise Refused(f"gradcheck: {self.request['path']}: {says}", LIMIT if limit else FAILED)
        name = self.names[len(self.results)]
        state = "limit" if limit else "wrong"
        self._add(
            {"name": name, "state": state, "report": None, "says": f"{name}: {says}", "printed": printed}
        )
