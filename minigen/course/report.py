"""A verdict as a person reads it: one line per hole, then what is wrong with it, and why."""

from __future__ import annotations

from minigen.course.console import mark, say, shown
from minigen.course.verdict import HoleVerdict, Verdict

LINES = 12


def show(verdict: Verdict) -> None:
    """Prints a verdict; the path that was checked comes first, always."""
    lesson = verdict.lesson
    say(f"{lesson.name}: {lesson.title}", "strong")
    say(f"checked {shown(verdict.path)}", "dim")
    if verdict.refused:
        where = f"line {verdict.line}: " if verdict.line else ""
        say(f"  {mark('failing')} {where}{verdict.refused}", "failing")
        for line in verdict.source.splitlines():
            say(f"      {line}")
        return
    width = max(len(hole.hole) for hole in verdict.holes) if verdict.holes else 0
    for hole in verdict.holes:
        say(f"  {mark(hole.state)} {hole.hole:<{width}}  {_count(hole)}", hole.state)
        if hole.state == "failing":
            _explain(hole, verdict)
    _close(verdict)


def _count(hole: HoleVerdict) -> str:
    if not hole.checks:
        return hole.state
    good = sum(one.passed for one in hole.checks)
    return f"{hole.state}: {good} of {len(hole.checks)} checks pass"


def _explain(hole: HoleVerdict, verdict: Verdict) -> None:
    """The first failing check: its message, the learner's line, what was printed, what to type."""
    first, *more = hole.message.splitlines() or [""]
    say(f"      {hole.kind + ' check: ' if hole.kind else ''}{first}")
    for line in more[:LINES]:
        say(f"      {line}")
    if len(more) > LINES:
        say(f"      ... {len(more) - LINES} more lines", "dim")
    if hole.line:
        say(f"      {shown(verdict.path)}:{hole.line}: {hole.source}")
    printed = hole.output.strip().splitlines()
    if printed:
        say(f"      printed{f' (last {LINES} lines)' if len(printed) > LINES else ''}:", "dim")
        for line in printed[-LINES:]:
            say(f"        {line[:200]}", "dim")
    short = verdict.lesson.short
    if hole.checks:
        say(f"      for a hint: minigen hint {short}:{hole.hole}", "dim")
        say(f"      {hole.check}, inputs of --seed {verdict.seed}", "dim")


def _close(verdict: Verdict) -> None:
    """What comes next."""
    left = [hole.hole for hole in verdict.holes if hole.state != "done"]
    if not left:
        say("  all done", "done")
    elif verdict.exit_code == 3 and len(verdict.holes) < len(verdict.lesson.holes):
        are = "is" if len(left) == 1 else "are"
        say(f"  {', '.join(left)} {are} not started: open {shown(verdict.path)} and complete the TODO there")
    elif verdict.exit_code == 3:
        say(f"  nothing is started yet: open {shown(verdict.path)} and complete a TODO", "dim")
