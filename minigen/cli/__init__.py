"""The command line: `minigen VERB`."""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from minigen.course.console import folded
from minigen.course.language import spoken, take
from minigen.errors import CourseError, MinigenError

# verb -> (family module, what it does): the table is all that help and a typing error need.
VERBS = {
    "check": ("course", "judge an exercise: hole by hole, with what is wrong and why"),
    "watch": ("course", "check an exercise whenever it is saved"),
    "hint": ("hint", "the next hint for a hole"),
    "solution": ("course", "the reference beside yours (asks first)"),
    "reset": ("course", "put an exercise back to its stub (keeps a backup)"),
    "list": ("course", "all lessons and their state"),
    "read": ("course", "the text of a lesson"),
    "train": ("train", "train a model"),
    "sample": ("train", "draw from a trained model"),
    "compare": ("compare", "all models, equal training time, a verdict on each claim"),
    "explore": ("explore", "a page in which one drags through a model's codes"),
    "gradcheck": ("gradcheck", "check the gradients of functions in a file"),
    "data": ("data", "list, get or verify data sets"),
    "init": ("init", "the course as a folder of your own, or what is new in it"),
    "grade": ("grade", "judge a folder of submissions"),
    "pack": ("pack", "an autograder archive for chosen lessons"),
    "doctor": ("doctor", "what this machine has and what is missing"),
}


HEADINGS = re.compile(r"^(usage|positional arguments|options|verbs):", re.MULTILINE)  # argparse's own


class Formatter(argparse.HelpFormatter):
    """Breaks lines by the columns they take in a terminal, where a Korean letter takes two."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return folded(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in folded(text, width - len(indent)))


class UsageError(MinigenError):
    """Words that no verb takes; the line begins with the verb."""


class Parser(argparse.ArgumentParser):
    """Argument errors are one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}; `{self.prog} --help` shows what fits")

    def format_help(self) -> str:
        """Its headings in the chosen language; the rest was translated when it was added."""
        return HEADINGS.sub(lambda found: spoken(found[0]), super().format_help())

    def __init__(self, *args: Any, **options: Any) -> None:
        said = {key: spoken(options[key]) for key in ("description", "epilog") if options.get(key)}
        super().__init__(*args, **{"formatter_class": Formatter, **options, **said})

    def add_argument(self, *args: Any, **options: Any) -> argparse.Action:
        said = {"help": spoken(options["help"])} if options.get("help") else {}
        return super().add_argument(*args, **options | said)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    try:
        code = _run(take(list(sys.argv[1:] if argv is None else argv)))
        sys.stdout.flush()
        return code
    except MinigenError as error:
        who = "" if isinstance(error, UsageError) else "minigen: "
        print(f"{who}{spoken(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`minigen list | head`); Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(argv: list[str]) -> int:
    verb = next((word for word in argv if not word.startswith("-")), None)
    if argv[:1] in (["-h"], ["--help"]):
        from minigen.course.console import say

        say(_help())
        return 0
    if argv[:1] == ["--version"]:
        from minigen import __version__

        print(f"minigen {__version__}")
        return 0
    if verb is not None and verb == argv[0] and verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
        meant = f"did you mean `minigen {near[0]}`?" if near else "`minigen --help` lists the verbs"
        raise CourseError(f"no verb {verb!r}: {meant}")
    parser = Parser(prog="minigen", add_help=False)
    parsers = parser.add_subparsers(parser_class=Parser)
    family = VERBS[verb][0] if verb in VERBS else "course"
    module = f"minigen.cli.{family}"
    if importlib.util.find_spec(module) is None:
        raise MinigenError(f"`minigen {verb}` is not part of this version: {module} is missing")
    loaded = importlib.import_module(module)
    loaded.add(parsers)
    parser.set_defaults(run=getattr(loaded, "status", None))
    try:
        args = parser.parse_args(argv)
    except UsageError as error:
        refuse = getattr(loaded, "refuse", None)  # a family may have more to do than to say so
        if refuse:
            refuse(error, argv)
        raise
    except SystemExit as stop:
        return int(stop.code or 0)
    return int(args.run(args))


def _help() -> str:
    verbs = "\n".join(f"  {verb:<10} {spoken(says)}" for verb, (_, says) in VERBS.items())
    return spoken(
        "usage: minigen [VERB ...] [--lang en|ko]\n\n"
        "minigen alone shows where you are in the course and what is next.\n\n"
        f"{verbs}\n\n`minigen VERB --help` shows a verb's options. Exit codes: 0 pass, 1 failed, 2 usage, "
        "3 not started, 4 time or memory limit, 5 broken environment."
    )
