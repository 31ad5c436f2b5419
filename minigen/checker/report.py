"""What a check hands back: numbers for programs, sentences for people, and an error that carries both."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from minigen.errors import MinigenError


@dataclass(frozen=True)
class Worst:
    """The entry that is furthest off."""

    index: tuple[int, ...]
    yours: float
    numeric: float
    uncertainty: float
    relative: float

    def __str__(self) -> str:
        where = f"[{', '.join(map(str, self.index))}]" if self.index else "the number itself"
        return (
            f"worst at {where}: yours {self.yours:.10g}, numeric {self.numeric:.10g} +- {self.uncertainty:.1g}"
            f" (relative error {self.relative:.2g})"
        )


@dataclass
class Variable:
    """The verdict on one input or parameter, in the gradient of one order."""

    name: str
    shape: tuple[int, ...]
    order: int = 1
    compared: int = 0  # entries judged one by one
    projections: int = 0  # blocks of the other entries, each judged as a whole
    wrong: int = 0
    kinks: int = 0
    edges: int = 0
    blind: int = 0  # differences say nothing: f is too wild around them
    vague: int = 0  # right as far as rounding lets one see, but not to one part in ten thousand
    unseen: int = 0  # entries beyond the sample that no projection judged
    largest_error: float = 0.0  # relative, of the entries that are right and sharp
    worst: Worst | None = None
    cause: str = ""

    @property
    def size(self) -> int:
        n = 1
        for length in self.shape:
            n *= length
        return n

    @property
    def skipped(self) -> int:
        return self.kinks + self.edges + self.blind + self.unseen

    def __str__(self) -> str:
        what = f"{self.name} {self.shape}" + (" (second order)" if self.order == 2 else "")
        if self.wrong:
            of = self.compared + self.kinks + self.edges + self.blind
            sampled = "" if of == self.size else f" looked at (it has {self.size:,})"
            return f"{what}: {self.wrong:,} of {of:,} entries{sampled} differ; {self.worst}"
        parts = [f"{self.compared:,} of {self.size:,} entries right"]
        parts += [f"relative error up to {self.largest_error:.1g}"] if self.compared else []
        if self.projections:
            parts.append(f"the rest in {self.projections} random projections")
        if self.kinks:
            parts.append(f"{self.kinks:,} skipped: a kink, f has no derivative there")
        if self.edges:
            parts.append(f"{self.edges:,} skipped: f is not finite beside them")
        if self.blind:
            parts.append(f"{self.blind:,} skipped: f is too wild there for differences")
        if self.unseen:
            parts.append(f"{self.unseen:,} not judged: too many kinks around them")
        if self.vague:
            parts.append(f"{self.vague:,} too small beside the rounding of f to judge sharply")
        return f"{what}: {', '.join(parts)}"


@dataclass
class Report:
    """The result of a gradient check. True in a condition when the gradient is right."""

    name: str
    order: int
    seed: int | None
    variables: list[Variable] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what kept the check from being made
    operation: str = ""  # the first wrong operation, going backwards through the graph
    notes: list[str] = field(default_factory=list)

    @property
    def compared(self) -> int:
        return sum(v.compared for v in self.variables)

    @property
    def skipped(self) -> int:
        return sum(v.skipped for v in self.variables)

    @property
    def wrong(self) -> int:
        return sum(v.wrong for v in self.variables)

    @property
    def ok(self) -> bool:
        """Something was compared, and nothing was wrong."""
        return self.compared > 0 and not self.wrong and not self.problems

    def __bool__(self) -> bool:
        return self.ok

    @property
    def causes(self) -> list[str]:
        return [v.cause for v in self.variables if v.cause]

    def __str__(self) -> str:
        orders = " to second order" if self.order == 2 else ""
        seed = "" if self.seed is None else f" (repeat with rng={self.seed})"
        if self.ok:
            skipped = f", {self.skipped:,} skipped" if self.skipped else ""
            lines = [
                f"gradcheck {self.name}: right{orders}, {self.compared:,} entries compared{skipped}{seed}"
            ]
            return "\n".join(
                lines + [f"  {v}" for v in self.variables] + [f"  {note}" for note in self.notes]
            )
        if self.problems:
            first = f"gradcheck {self.name}: {self.problems[0]}"
        elif self.wrong:
            names = list(dict.fromkeys(v.name for v in self.variables if v.wrong))
            listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            first = f"gradcheck {self.name}: the gradient of {listed} is wrong{seed}"
        else:
            first = (
                f"gradcheck {self.name}: nothing could be compared, every entry was skipped: that is no pass"
            )
        lines = [first, *(f"  {line}" for line in self.problems[1:])]
        for v in self.variables:
            lines.append(f"  {v}")
            if v.cause:
                lines.append(f"    likely cause: {v.cause}")
        if self.operation:
            lines.append(f"  {self.operation}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, ready for JSON."""
        return {
            "name": self.name,
            "ok": self.ok,
            "order": self.order,
            "seed": self.seed,
            "compared": self.compared,
            "wrong": self.wrong,
            "skipped": self.skipped,
            "problems": list(self.problems),
            "operation": self.operation,
            "notes": list(self.notes),
            "variables": [_plain(asdict(v)) for v in self.variables],
        }


class GradcheckError(MinigenError, AssertionError):
    """A gradient that is wrong or could not be checked; the text is the diagnosis, `.report` the numbers."""

    exit_code = 1

    def __init__(self, report: Report):
        super().__init__(str(report))
        self.report = report


class Refusal(Exception):
    """Inside the checker: the check cannot go on, and the one line that says why."""


def _plain(value: Any) -> Any:
    """Tuples become lists, and what JSON cannot say (NaN, infinity) None."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
