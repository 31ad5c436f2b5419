"""`minigen init DIR`: the course as a folder of one's own, and its refreshment after an upgrade."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minigen.course.console import shown, tell

MOST = 6  # names in a line; the rest are counted


def add(parsers: Any) -> None:
    """The sub-parser of this family."""
    init = parsers.add_parser(
        "init",
        help="make the course's folder, or refresh it",
        description="Writes texts, pictures and exercises. In a folder made earlier it refreshes what you have not "
        "touched and leaves what you have; it says which is which.",
    )
    init.add_argument("folder", type=Path, metavar="DIR", help="the folder to make or to refresh")
    init.add_argument(
        "--solutions",
        action="store_true",
        help="the solutions and checks too, used in place of the package's",
    )
    init.set_defaults(run=run_init)


def run_init(args: argparse.Namespace) -> int:
    """Says what it wrote, what it refreshed, what it left alone."""
    from minigen import __version__
    from minigen.course.init import deliver
    from minigen.course.manifest import Course

    done = deliver(args.folder, args.solutions)
    lessons = len(Course(args.folder.resolve()).lessons)
    was = f", {done.before} before" if done.before not in ("", __version__) else ""
    tell(f"{shown(args.folder)}: the course of minigen {__version__}{was}, {lessons} lessons", "strong")
    for what, names in (
        ("new", done.new),
        ("refreshed", done.refreshed),
        ("kept, with your edits", done.kept),
    ):
        if names:
            tell(f"  {what}: {_listed(names)}")
    for name in done.changed:
        tell(f"  kept, with your edits, though it has changed in minigen: {name}{_help(name)}", "strong")
    if done.gone:
        tell(f"  no longer part of the course, left where they are: {_listed(done.gone)}")
    if not (done.new or done.refreshed or done.changed):
        tell("  nothing to do: everything is as this version has it, or yours")
    if not done.before:
        tell(f"type: cd {shown(args.folder)} && minigen", "strong")
    return 0


def _listed(names: list[str]) -> str:
    if len(names) <= MOST:
        return ", ".join(names)
    return f"{len(names)} files ({', '.join(names[:2])}, ...)"


def _help(name: str) -> str:
    """What to type for a newer version of an exercise."""
    path = Path(name)
    if path.suffix != ".py" or path.parts[0] != "exercises":
        return " (move it away and repeat this for the new one)"
    return f" (`minigen reset {path.stem.split('_')[0]}` puts the new stub there and keeps yours as a backup)"
