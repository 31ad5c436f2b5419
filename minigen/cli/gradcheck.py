"""`minigen gradcheck FILE[:NAME]`: are the gradients in this file right, and if not, what is wrong?

FILE alone checks every op, Module class and Module instance that the file defines, and every function that has a
companion NAME_inputs or NAME_grad; a file of plain functions alone: all of them. FILE:NAME checks one thing.

Inputs are drawn at random: one --shape for each argument; else what the file's NAME_inputs(rng) (or inputs_NAME)
returns, a tuple of arrays; else shape (3, 4) for each positional argument. A function of plain NumPy arrays needs
NAME_grad in the file: NAME_grad(*inputs), or NAME_grad(g, *inputs) if it returns an array.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigen.checker.files import Target

PASSED, FAILED, NOT_STARTED = 0, 1, 3
EXAMPLE = """\
example: in mine.py
    @op                                     minigen gradcheck mine.py
    def scale(x, s): return x * s           minigen gradcheck mine.py:scale --shape 3x4 --shape 4
    @scale.vjp
    def _(g, y, x, s): return lambda: g * s, lambda: g * x
    def scale_inputs(rng): return rng.normal(size=(3, 4)), rng.normal(size=4)

exit codes: 0 all right, 1 something is wrong or nothing could be checked, 2 usage, 3 not started (NotImplementedError)
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
    verb.add_argument("--seed", type=int, help="repeat the random inputs of an earlier run")
    verb.add_argument(
        "--shape",
        action="append",
        default=[],
        type=_shape,
        metavar="3x4",
        help="of one argument (repeat it; scalar: a number)",
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
    import numpy as np

    from minigen.checker.files import FailedFile, find, loaded

    path, name = _split(args.target)
    seed = secrets.randbits(31) if args.seed is None else args.seed
    results = []
    with (
        contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext(),
        loaded(path) as module,
    ):
        targets, left_out = find(module, path, name, np.random.default_rng(seed))
        if not targets:
            why = "; ".join(left_out) or "it defines no op, no Module and no function; is the name right?"
            raise FailedFile(f"gradcheck: nothing to check in {path}: {why}")
        if not args.json:
            print(f"checking {path} (repeat with --seed {seed})")
        for target in targets:
            results.append(_check(target, module, path, args, seed))
            if not args.json:
                _show(results[-1])
    return _conclude(results, left_out, path, seed, args.json)


def _split(text: str) -> tuple[Path, str | None]:
    """FILE[:NAME]; a colon of the path itself, as in C:\\mine.py, stays."""
    file, colon, name = text.rpartition(":")
    if colon and name.isidentifier() and not Path(text).is_file():
        return Path(file), name
    return Path(text), None


def _check(target: Target, module: Any, path: Path, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One target's result: 'right', 'wrong' or 'not started', the words for people, and the report."""
    import numpy as np

    from minigen.checker.files import FileError, inputs_for, where
    from minigen.errors import MinigenError
    from minigen.gradcheck import gradcheck

    result: dict[str, Any] = {"name": target.name, "state": "wrong", "report": None}
    try:
        inputs = inputs_for(target, module, args.shape, np.random.default_rng(seed))
        report = gradcheck(
            target.f,
            *inputs,
            grad=target.gradient,
            order=args.order,
            rng=seed,
            raise_on_failure=False,
            name=target.name,
        )
    except FileError:
        raise
    except NotImplementedError as error:
        return result | {"state": "not started", "says": f"{target.name}: not started ({where(error, path)})"}
    except Exception as error:  # the file's code may raise anything
        hint = ""
        if isinstance(error, MinigenError | TypeError | ValueError) and not args.shape:
            hint = (
                f"; do these inputs fit? --shape once for each argument, or define {target.name}_inputs(rng)"
            )
        return result | {"says": f"{target.name}: {where(error, path)}{hint}"}
    state = "right" if report.ok else "wrong"
    says = str(report).removeprefix("gradcheck ").replace(f" (repeat with rng={seed})", "")
    return result | {"state": state, "says": says, "report": report.to_dict()}


def _show(result: dict[str, Any]) -> None:
    from minigen.course.console import mark, say

    state = {"right": "done", "wrong": "failing", "not started": "not started"}[result["state"]]
    first, *rest = result["says"].splitlines()
    say(f"{mark(state)} {first}", state)
    for line in rest:
        say(f"  {line}")


def _conclude(
    results: list[dict[str, Any]], left_out: list[str], path: Path, seed: int, as_json: bool
) -> int:
    states = [result["state"] for result in results]
    code = FAILED if "wrong" in states else NOT_STARTED if "not started" in states else PASSED
    if as_json:
        print(
            json.dumps(
                {
                    "file": str(path),
                    "seed": seed,
                    "ok": code == PASSED,
                    "checks": results,
                    "left_out": left_out,
                },
                indent=2,
            )
        )
        return code
    for line in left_out:
        print(f"left out: {line}")
    print(f"{path}: {states.count('right')} of {len(states)} right")
    return code
