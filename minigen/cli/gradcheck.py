"""`minigen gradcheck FILE[:NAME]`: are the gradients in this file right, and if not, what is wrong?

FILE alone checks every op, Module class and Module instance that the file defines, and every function that has a
companion NAME_inputs or NAME_grad; a file of plain functions alone: all of them. FILE:NAME checks one thing.

Inputs are drawn at random: one --shape for each argument; else what the file's NAME_inputs(rng) (or inputs_NAME)
returns, a tuple of arrays; else shape (3, 4) for each positional argument. A function of plain NumPy arrays needs
NAME_grad in the file: NAME_grad(*inputs), or NAME_grad(g, *inputs) if it returns an array.
"""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from typing import Any

from minigen.cli.arguments import seconds, seed
from minigen.cli.inquiry import FAILED, LIMIT, Inquiry

PASSED, NOT_STARTED = 0, 3
CODES = {"limit": LIMIT, "wrong": FAILED, "not started": NOT_STARTED}  # the first that occurs
LINES = 12  # of what the file prints
EXAMPLE = """\
example: in mine.py
    @op                                     minigen gradcheck mine.py
    def scale(x, s): return x * s           minigen gradcheck mine.py:scale --shape 3x4 --shape 4
    @scale.vjp
    def _(g, y, x, s): return lambda: g * s, lambda: g * x
    def scale_inputs(rng): return rng.normal(size=(3, 4)), rng.normal(size=4)

The file runs in a process of its own: what it prints is shown, and means nothing.

exit codes: 0 all right, 1 something is wrong or nothing could be checked, 2 usage, 3 not started (NotImplementedError),
4 a limit of time, memory or output was hit
"""


def add(parsers: Any) -> None:
    """Add `gradcheck` to the sub-parsers of the command line."""
    verb = parsers.add_parser(
        "gradcheck",
        help="check the gradients of functions in a file",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "target", metavar="FILE[:NAME]", help="a Python file, and what in it (default: all of it)"
    )
    verb.add_argument(
        "--order", type=int, choices=(1, 2), default=1, help="2: the gradient of the gradient too"
    )
    verb.add_argument("--seed", type=seed, help="repeat the random inputs of an earlier run")
    verb.add_argument(
        "--shape",
        action="append",
        default=[],
        type=_shape,
        metavar="3x4",
        help="of one argument (repeat it; scalar: a number)",
    )
    verb.add_argument(
        "--seconds", type=seconds, default=60.0, help="what one check, or loading the file, may take (60)"
    )
    verb.add_argument("--json", action="store_true", help="the whole result for tools")
    verb.set_defaults(run=run)


def _shape(text: str) -> tuple[int, ...]:
    if text in ("scalar", "()"):
        return ()
    try:
        return tuple(int(n) for n in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape: write 3x4, 5 or scalar") from None


def run(args: argparse.Namespace) -> int:
    """Check the targets one after the other; print what was found about each."""
    path, name = _split(args.target)
    number = secrets.randbits(31) if args.seed is None else args.seed
    request = {"path": str(path), "name": name, "seed": number, "order": args.order, "shapes": args.shape}

    from minigen.course.console import tell

    def begin(printed: str) -> None:
        tell(f"checking {path} (repeat with --seed {number})")
        _show_printed(printed, path)

    def show(result: dict[str, Any]) -> None:
        _show(result)
        _show_printed(result["printed"], path)

    inquiry = Inquiry(request, args.seconds, *((None, None) if args.json else (begin, show)))
    inquiry.run()
    return _conclude(inquiry, path, number, args.json)


def _split(text: str) -> tuple[Path, str | None]:
    """FILE[:NAME]; a colon of the path itself, as in C:\\mine.py, stays."""
    file, colon, name = text.rpartition(":")
    if colon and name.isidentifier() and not Path(text).is_file():
        return Path(file), name
    return Path(text), None


def _show(result: dict[str, Any]) -> None:
    from minigen.course.console import mark, say
    from minigen.course.language import spoken

    state = {"right": "done", "not started": "not started"}.get(result["state"], "failing")
    first, *rest = result["says"].splitlines()
    say(f"{mark(state)} {spoken(first)}", state)
    for line in rest:
        say(f"  {spoken(line)}")


def _show_printed(text: str, path: Path) -> None:
    from minigen.course.console import say, tell

    lines = text.strip().splitlines()
    if lines:
        tell(f"  printed by {path}{f' (last {LINES} lines)' if len(lines) > LINES else ''}:", "dim")
    for line in lines[-LINES:]:
        say(f"    {line[:200]}", "dim")


def _conclude(inquiry: Inquiry, path: Path, seed: int, as_json: bool) -> int:
    from minigen.course.console import tell

    states = [result["state"] for result in inquiry.results]
    code = next((code for state, code in CODES.items() if state in states), PASSED)
    if as_json:
        found = {
            "file": str(path),
            "seed": seed,
            "ok": code == PASSED,
            "checks": inquiry.results,
            "left_out": inquiry.left_out,
            "printed": inquiry.printed,
        }
        print(json.dumps(found, indent=2))
        return code
    for line in inquiry.left_out:
        tell(f"left out: {line}")
    tell(f"{path}: {states.count('right')} of {len(states)} right")
    return code
