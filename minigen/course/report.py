"""A verdict as a person reads it: one line per hole, then what is wrong with it, and why."""

from __future__ import annotations

from minigen.course.console import mark, say, shown, tell
from minigen.course.language import spoken, title_of, todo_of
from minigen.course.verdict import HoleVerdict, Verdict

LINES = 12


def show(verdict: Verdict) -> None:
    """Prints a verdict; the path that was checked comes first, always."""
    lesson = verdict.lesson
    say(f"{lesson.name}: {title_of(lesson)}", "strong")
    tell(f"checked {shown(verdict.path)}", "dim")
    if verdict.refused:
        where = spoken(f"line {verdict.line}: ") if verdict.line else ""
        say(f"  {mark('failing')} {where}{spoken(verdict.refused)}", "failing")
        for line in verdict.source.splitlines():
            say(f"      {line}")
        return
    width = max(len(hole.hole) for hole in verdict.holes) if verdict.holes else 0
    for hole in verdict.holes:
        say(f"  {mark(hole.state)} {hole.hole:<{width}}  {_count(hole, verdict)}", hole.state)
        if hole.state == "failing":
            _explain(hole, verdict)
    _close(verdict)


def _count(hole: HoleVerdict, verdict: Verdict) -> str:
    if not hole.checks:
        todo = todo_of(verdict.lesson, hole.hole) if hole.state == "not started" else ""
        return spoken(hole.state) + (f": {todo}" if todo else "")
    good = sum(one.passed for one in hole.checks)
    return spoken(f"{hole.state}: {good} of {len(hole.checks)} checks pass")


def _explain(hole: HoleVerdict, verdict: Verdict) -> None:
    """The first failing check: its message, the learner's line, what was printed, what to type."""
    first, *more = spoken(hole.message, verdict.lesson).splitlines() or [""]
    say(f"      {spoken(f'{hole.kind} check: ') if hole.kind else ''}{first}")
    for line in more[:LINES]:
        say(f"      {line}")
    if len(more) > LINES:
        tell(f"      ... {len(more) - LINES} more lines", "dim")
    if hole.line:
        say(f"      {shown(verdict.path)}:{hole.line}: {hole.source}")
    printed = hole.output.strip().splitlines()
    if printed:
        tell(f"      printed{f' (last {LINES} lines)' if len(printed) > LINES else ''}:", "dim")
        for line in printed[-LINES:]:
            say(f"        {line[:200]}", "dim")
    short = verdict.lesson.short
    if hole.checks:
        tell(f"      for a hint: minigen hint {short}:{hole.hole}", "dim")
        tell(f"      {hole.check}, inputs of --seed {verdict.seed}", "dim")


def _close(verdict: Verdict) -> None:
    """What comes next."""
    left = [hole.hole for hole in verdict.holes if hole.state != "done"]
    if not left:
        tell("  all done", "done")
    elif verdict.exit_code == 3 and len(verdict.holes) < len(verdict.lesson.holes):
        are = "is" if len(left) == 1 else "are"
        tell(f"  {', '.join(left)} {are} not started: open {shown(verdict.path)} and complete the TODO there")
    elif verdict.exit_code == 3:
        tell(f"  nothing is started yet: open {shown(verdict.path)} and complete a TODO", "dim")
