"""`minigen pack LESSON...`: an autograder archive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minigen.cli.arguments import count, seconds
from minigen.course.console import shown, tell


def add(parsers: Any) -> None:
    """The sub-parser of this family."""
    pack = parsers.add_parser(
        "pack",
        help="an autograder archive for chosen lessons",
        description="Writes a .zip as Gradescope takes it: setup.sh, run_autograder, config.sh, and minigen with the "
        "lessons' checks. It holds the solutions: hand it to the grader, not to students.",
    )
    pack.add_argument("lessons", nargs="+", metavar="LESSON")
    pack.add_argument(
        "--out", type=Path, default=Path("autograder.zip"), metavar="FILE", help="default: autograder.zip"
    )
    pack.add_argument("--force", action="store_true", help="replace FILE")
    pack.add_argument("--seconds", type=seconds, help="time limit of each check (default: its own)")
    pack.add_argument("--memory", type=count, default=4096, metavar="MB", help="memory limit (default: 4096)")
    pack.set_defaults(run=run_pack)


def run_pack(args: argparse.Namespace) -> int:
    """Says what it wrote and how many points there are."""
    from minigen.course.manifest import Course, any_home
    from minigen.course.pack import pack

    where = Course(any_home())
    lessons = list(dict.fromkeys(where.lesson(name) for name in args.lessons))
    options = ["--memory", str(args.memory)]
    options += ["--seconds", f"{args.seconds:g}"] if args.seconds is not None else []
    points = pack(lessons, args.out, options, args.force)
    size = args.out.stat().st_size / 2**20
    tell(
        f"{shown(args.out)}: {', '.join(one.name for one in lessons)}; {points} points, {size:.1f} MB",
        "strong",
    )
    tell("it holds the solutions; upload it as the autograder of an assignment worth that many points")
    return 0
