"""Stubs from solutions: every fenced block becomes a TODO. `python -m minigen.course.stubs --check|--write`.

A stub ends in a line with the digest of its own text. By it a file that nobody touched is told from one with
a learner's work in it, whatever version of the solution it was made from: only the former is ever rewritten.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
import textwrap
from pathlib import Path

from minigen.course.files import write_text
from minigen.course.manifest import Course, Lesson, course
from minigen.errors import CourseError, MinigenError

WIDTH = 110
SYLLABUS = """# The lessons

Each lesson is a text (`.md`) and an exercise (`.py`) with holes to fill. Lessons stand alone, and so do holes:
take them in any order. What a lesson needs from the others comes from the reference.

| lesson | what it is about | holes | time |
|---|---|---|---|
{rows}
`minigen` shows where you are. `minigen read e01` shows a text, `minigen check e01` judges what you wrote, hole by
hole, and says what is wrong; `minigen watch e01` does so whenever you save. `minigen hint e01` helps one step,
`minigen solution e01` shows the reference beside yours, `minigen reset e01` starts again (and keeps a backup).

This page and the untouched exercises are made from `solutions/` by `python -m minigen.course.stubs --write`; it
never overwrites what you wrote.
"""
SEAL = re.compile(r"# untouched stub ([0-9a-f]{12})\n?\Z")


def make_stub(lesson: Lesson) -> str:
    """The exercise of a lesson: its solution with every block replaced by a TODO."""
    lines: list[str] = lesson.source.splitlines()
    for hole in reversed(lesson.holes):
        lines[hole.first - 1 : hole.last] = _todo(lesson, hole.name, hole.todo, hole.indent)
    text = _invite("\n".join(_without_plugs(lines)).rstrip() + "\n", lesson)
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise CourseError(
            f"{lesson.solution}: its stub is not Python (line {error.lineno}: {error.msg})"
        ) from None
    return seal(text)


def seal(text: str) -> str:
    """The text with its digest as the last line."""
    return f"{text}\n\n# untouched stub {_digest(text)}\n"


def is_untouched(text: str) -> bool:
    """Whether some generator made this very text."""
    text = text.replace("\r\n", "\n")
    found = SEAL.search(text)
    return bool(found and found[1] == _digest(text[: found.start() - 2]))


def state(lesson: Lesson) -> str:
    """`current`, `missing`, `stale` (an older stub) or `edited` (someone's work)."""
    if not lesson.exercise.exists():
        return "missing"
    text = lesson.exercise.read_text(encoding="utf-8", errors="replace")
    if text.replace("\r\n", "\n") == make_stub(lesson):
        return "current"
    return "stale" if is_untouched(text) else "edited"


def syllabus(where: Course) -> str:
    """exercises/README.md: every lesson in order, from what the solutions say of themselves."""
    rows = "".join(
        f"| [{one.name}]({one.text.name}) | {one.title} | {', '.join(f'`{hole.name}`' for hole in one.holes)} "
        f"| {one.minutes} min |\n"
        for one in where.lessons
    )
    return SYLLABUS.format(rows=rows)


def check(where: Course) -> list[str]:
    """One line per generated file that is not what the solutions make."""
    says = {
        "missing": "is missing: run `python -m minigen.course.stubs --write`",
        "stale": "is stale: run `python -m minigen.course.stubs --write`",
        "edited": "has edits: it is not the stub of its solution (`minigen reset` puts the stub back)",
    }
    states = [(lesson.exercise, state(lesson)) for lesson in where.lessons]
    lines = [f"{exercise} {says[found]}" for exercise, found in states if found in says]
    readme = where.root / "exercises" / "README.md"
    if not readme.exists() or readme.read_text(encoding="utf-8") != syllabus(where):
        lines.append(f"{readme} is stale: run `python -m minigen.course.stubs --write`")
    return lines


def write(where: Course) -> list[str]:
    """Writes missing and stale stubs, keeps everything edited; one line per file that it wrote or kept."""
    report = []
    readme = where.root / "exercises" / "README.md"
    if not readme.exists() or readme.read_text(encoding="utf-8") != syllabus(where):
        write_text(readme, syllabus(where))
        report.append(f"wrote {readme}")
    for lesson in where.lessons:
        found = state(lesson)
        if found in ("missing", "stale"):
            write_text(lesson.exercise, make_stub(lesson))
            report.append(f"wrote {lesson.exercise}")
        elif found == "edited":
            report.append(f"kept {lesson.exercise}: it has edits (`minigen reset` puts the new stub there)")
    return report


def main(argv: list[str] | None = None) -> int:
    """The command: 0 all current, 1 something stale, 2 a broken fence."""
    parser = argparse.ArgumentParser(
        prog="python -m minigen.course.stubs", description="Makes the exercises from the solutions."
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument(
        "--check", action="store_true", help="fail and name each exercise that is not the current stub"
    )
    mode.add_argument(
        "--write", action="store_true", help="write missing and stale stubs; edited files are kept"
    )
    parser.add_argument("--root", type=Path, help="the folder that holds exercises/ and solutions/")
    args = parser.parse_args(argv)
    try:
        where = course(args.root)
        lines = check(where) if args.check else write(where)
    except MinigenError as error:
        print(f"minigen: {error}", file=sys.stderr)
        return error.exit_code
    for line in lines:
        print(line)
    return 1 if args.check and lines else 0


def _todo(lesson: Lesson, name: str, todo: str, indent: str) -> list[str]:
    """The lines that stand for a block, laid out as the formatter would."""
    message = f"{name}: {todo}".replace("\\", "\\\\").replace('"', '\\"')
    comment, call = f"{indent}# TODO: {todo}", f'{indent}raise NotImplementedError("{message}")'
    if len(comment) > WIDTH:
        raise CourseError(
            f"{lesson.solution}: the `# solution:` line of {name} is longer than {WIDTH} columns"
        )
    if len(call) <= WIDTH:
        return [comment, call]
    words = textwrap.wrap(message, WIDTH - len(indent) - 7, drop_whitespace=False, break_on_hyphens=False)
    return [
        comment,
        f"{indent}raise NotImplementedError(",
        *(f'{indent}    "{one}"' for one in words),
        f"{indent})",
    ]


def _without_plugs(lines: list[str]) -> list[str]:
    """Drops the PLUGS table and the comment on it: machinery, not part of the invitation."""
    for node in ast.parse("\n".join(lines)).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "PLUGS":
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            while first and lines[first - 1].startswith("#"):
                first -= 1
            before, after = "\n".join(lines[:first]).rstrip(), "\n".join(lines[last:]).lstrip("\n")
            gap = "\n\n\n" if re.match(r"def |class |@|async ", after) else "\n\n"
            return (before + gap + after).splitlines()
    return lines


def _invite(text: str, lesson: Lesson) -> str:
    """Adds one line under the docstring that says what to type."""
    line = f"# Complete the TODOs in any order, then type: minigen check {lesson.short}\n"
    first = ast.parse(text).body[:1]
    if not first or ast.get_docstring(ast.parse(text)) is None:
        return line + "\n" + text
    lines = text.splitlines(keepends=True)
    end = first[0].end_lineno or 1
    return "".join(lines[:end]) + "\n" + line + "\n" + "".join(lines[end:]).lstrip("\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
