"""The process in which `minigen gradcheck` runs a file. Run by gradcheck.py as a script, never imported by it.

What it finds it tells the parent (conversation.py); its exit code and what the file prints mean nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Reads the request from standard input; tells what is found, check by check."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import numpy as np

    import minigen.gradcheck  # noqa: F401  (all that a check relies on is there before the file runs)
    from minigen.checker.files import FailedFile, FileError, find, loaded
    from minigen.course.conversation import Guard, limit_memory, receive

    channel, request = receive(int(sys.argv[1]))
    path, seed = Path(request["path"]), request["seed"]
    guard = Guard([sys.modules["__main__"]])
    limit_memory(request["memory"])

    def untouched() -> None:
        if changed := guard.restore():
            raise FailedFile(
                f"gradcheck: {path} replaces {changed}, which the check relies on: leave it as it is"
            )

    channel.send("ready")
    try:
        with loaded(path) as module:
            targets, left_out = find(module, path, request["name"], np.random.default_rng(seed))
            untouched()
            if not targets:
                why = "; ".join(left_out) or "it defines no op, no Module and no function; is the name right?"
                raise FailedFile(f"gradcheck: nothing to check in {path}: {why}")
            channel.send("found", names=[target.name for target in targets], left_out=left_out)
            for target in targets[request["skip"] :]:
                channel.send("start", name=target.name)
                result = check(target, module, path, request)
                untouched()
                channel.send("end", **result)
    except FileError as error:
        limit = isinstance(error.__cause__, MemoryError)
        channel.send("refused", text=str(error), failed=isinstance(error, FailedFile), limit=limit)
    channel.send("finished")


def check(target: Any, module: Any, path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One target's result: 'right', 'wrong', 'not started' or 'limit', the words for people, and the report."""
    import numpy as np

    from minigen.checker.files import FileError, inputs_for, where
    from minigen.errors import MinigenError
    from minigen.gradcheck import gradcheck

    seed, shapes = request["seed"], [tuple(shape) for shape in request["shapes"]]
    result: dict[str, Any] = {"name": target.name, "state": "wrong", "report": None}
    try:
        inputs = inputs_for(target, module, shapes, np.random.default_rng(seed))
        report = gradcheck(
            target.f,
            *inputs,
            grad=target.gradient,
            order=request["order"],
            rng=seed,
            raise_on_failure=False,
            name=target.name,
        )
    except FileError:
        raise
    except NotImplementedError as error:
        return result | {"state": "not started", "says": f"{target.name}: not started ({where(error, path)})"}
    except MemoryError as error:
        return result | {"state": "limit", "says": f"{target.name}: out of memory: {where(error, path)}"}
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # the file's code may raise anything
        hint = ""
        if isinstance(error, MinigenError | TypeError | ValueError) and not shapes:
            hint = (
                f"; do these inputs fit? --shape once for each argument, or define {target.name}_inputs(rng)"
            )
        return result | {"says": f"{target.name}: {where(error, path)}{hint}"}
    state = "right" if report.ok else "wrong"
    says = str(report).removeprefix("gradcheck ").replace(f" (repeat with rng={seed})", "")
    return result | {"state": state, "says": says, "report": report.to_dict()}


if __name__ == "__main__":
    main()
