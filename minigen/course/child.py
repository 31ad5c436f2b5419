"""The process in which a learner's code meets the checks. Run by runner.py as a script, never imported by it.

It tells the parent what it does (conversation.py) and decides nothing: what is not reported as passed has not passed.
pytest collects the checks before a line of the learner's code has run; what checks rely on is frozen (seal.py), and
compared with what it was after each one. Sealed, every variant runs in a fork of its own, so none can leave anything to
the next, and this process, which reports how each of them ended, never runs a line of theirs.
"""

from __future__ import annotations

import base64
import marshal
import os
import signal
import sys
import time
import traceback
import types
import zlib
from pathlib import Path
from typing import Any

LONGEST = 3000
OFF = "cacheprovider warnings terminal junitxml logging faulthandler threadexception unraisableexception"


class Judge:
    """A pytest plugin that runs every variant against its checks, and reports."""

    def __init__(self, request: dict[str, Any], channel: Any) -> None:
        from _pytest.runner import runtestprotocol

        self.protocol = runtestprotocol
        self.request, self.send = request, channel.send
        self.variant: dict[str, Any] = {}
        self.modules: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self.checks: dict[str, tuple[Any, tuple[str, ...], str]] = {}
        self.guard: Any = None
        self.walls: Any = None

    def pytest_configure(self, config: Any) -> None:
        config.addinivalue_line("markers", "hole(name, kind, seconds): the hole that a check judges")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.send("broken", text=str(report.longreprtext)[-LONGEST:])

    def pytest_runtestloop(self, session: Any) -> bool:
        """Every variant against its checks, in place of pytest's own loop."""
        from minigen.course.conversation import limit_memory

        if session.testsfailed:
            return True  # the checks' file does not import: the parent has been told, and nothing has run
        items = [(item.originalname, item) for item in session.items]
        for _, item in items:  # taken now: what a learner's file does to pytest comes too late
            kind = item.get_closest_marker("hole").kwargs["kind"]
            self.checks[item.name] = item.obj, item._fixtureinfo.argnames, kind
        self.send("collected", items=[[name, item.name] for name, item in items])
        self.enclose({item.module for _, item in items})
        limit_memory(self.request["memory"])
        for variant in self.request["variants"]:
            (self.apart if self.request["scratch"] else self.through)(variant, items)
        self.send("finished")
        return True

    def enclose(self, modules: set[Any]) -> None:
        """What checks rely on stays as it is, and their own modules and the solution cannot be found by name."""
        from minigen.course.conversation import Guard, relied_on
        from minigen.course.seal import Walls

        trusted = (*self.request["trusted"], "<frozen ", "<reference ", "<__array_function__")
        self.walls = Walls(self.request["forbidden"], self.request["scratch"], trusted)
        self.guard = Guard(modules)
        self.walls.freeze(relied_on(modules))
        for name in [
            key for key, one in sys.modules.items() if one in modules or key == self.request["solution"]
        ]:
            del sys.modules[name]

    def through(self, variant: dict[str, Any], items: list[Any]) -> None:
        """One variant, check by check."""
        self.variant = variant
        for name, item in items:
            if name in variant["checks"] and not self.one(item):
                break

    def apart(self, variant: dict[str, Any], items: list[Any]) -> None:
        """One variant in a fork; how the fork ended is told. All of it ends with the parent."""
        parent, child = os.getppid(), os.fork()
        if not child:
            try:
                self.walls.confine(variant["id"].encode().hex()[-100:])
                self.through(variant, items)
            finally:
                os._exit(0)
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if os.getppid() != parent:
                os.killpg(0, signal.SIGKILL)
            time.sleep(0.005)
        self.send("left", variant=variant["id"], code=os.waitstatus_to_exitcode(ended[1]))

    def one(self, item: Any) -> bool:
        """Runs one check; whether the next of this variant should run too."""
        self.send("start", variant=self.variant["id"], check=item.name)
        self.result, started = {}, time.perf_counter()
        item._initrequest()
        reports = self.protocol(item, log=False, nextitem=None)
        broken = next((report for report in reports if report.failed and report.when != "call"), None)
        if not self.result:
            says = getattr(broken, "longreprtext", "it neither passed nor failed").strip().splitlines()
            self.result = {"outcome": "failed", "message": says[-1] if says else "it could not be set up"}
        elif broken and self.result["outcome"] == "passed":
            self.result = {
                "outcome": "failed",
                "message": f"clearing up after it failed: {broken.longreprtext}",
            }
        changed = self.guard.restore()
        if changed:
            says = f"your file replaces {changed}, which the checks rely on: leave it as it is"
            self.result = {"outcome": "failed", "message": says}
        seconds = time.perf_counter() - started
        self.send("end", variant=self.variant["id"], check=item.name, seconds=seconds, **self.result)
        if changed:
            os._exit(1)  # what else was changed here nobody knows: the parent goes on in a fresh process
        return self.result["outcome"] == "passed" or not self.request["stop_early"]

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool:
        """Calls the check; only a check that returns, with everything it relies on in place, has passed.

        A check of values is called again, and draws other inputs: an answer that is kept is seen to be an old one.
        """
        import numpy as np

        function, wanted, kind = self.checks[pyfuncitem.name]
        given, again = {name: pyfuncitem.funcargs[name] for name in wanted}, False
        try:
            with np.errstate():
                function(**given)
                if kind == "value":
                    self.send("start", variant=self.variant["id"], check=pyfuncitem.name)  # with all its time
                    again = True
                    function(**given)
        except BaseException as error:
            self.result = self.describe(error)
            if again:
                said = self.result["message"]
                self.result["message"] = (
                    f"right for the first inputs, not for the next (is an answer kept from call to call?): {said}"
                )
        else:
            self.result = {"outcome": "passed"}
        return True

    def load(self) -> Any:
        """The module of the current variant, made once."""
        key = self.variant["id"]
        if key not in self.modules:
            from minigen.course.seal import guarded

            module = types.ModuleType(self.variant["module"])
            module.__file__ = self.variant["filename"]
            if self.request["scratch"]:
                module.__dict__["__builtins__"] = guarded()
            self.modules = {key: module}
            sys.modules[module.__name__] = module
            code = marshal.loads(base64.b64decode(self.variant["code"]))
            self.walls.raise_()
            try:
                exec(code, module.__dict__)
            except BaseException as error:
                self.modules[key] = error
            self.send("imported", variant=key)
        if isinstance(self.modules[key], BaseException):
            failure = ImportFailure(self.modules[key])
            self.result = self.describe(failure)
            raise failure
        return self.modules[key]

    def describe(self, error: BaseException) -> dict[str, Any]:
        """What a person needs to know of an exception: message, and the learner's own line."""
        imported = isinstance(error, ImportFailure)
        error = error.error if isinstance(error, ImportFailure) else error
        frames = traceback.extract_tb(error.__traceback__)
        mine = [frame for frame in frames if frame.filename == self.variant["filename"]]
        first, last = self.variant["lines"]
        inside = [frame for frame in mine if first <= (frame.lineno or 0) <= last]
        shown = (inside or mine)[-1:]  # rather a line of the hole than one of the code that was given
        asserted = isinstance(error, AssertionError) or type(error).__name__ == "Failed"
        said = _text(error)
        raised_again = error.__context__ is not None  # by a check that says what the learner's error means
        if asserted and said and (frames[-1:] != mine[-1:] or raised_again):
            message = said
        elif asserted and not said and frames:
            message = f"this does not hold: {frames[-1].line}"
        else:
            message = f"{type(error).__name__}: {said}" if said else type(error).__name__
        if imported:
            message = f"the file cannot be imported: {message}"
        elif not mine and not asserted:
            message += " (raised by the check on what your code returned: does it return the right thing?)"
        outcome = "memory" if isinstance(error, MemoryError) else "failed"
        return {"outcome": outcome, "message": message[:LONGEST], "line": shown[0].lineno if shown else None}


class ImportFailure(Exception):
    """The learner's module raised while it was imported."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def _text(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception:
        return "(its message cannot be printed)"


def main() -> int:
    """Reads the request from standard input, runs it, reports over the pipe."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import numpy as np
    import pytest

    from minigen.course.conversation import receive
    from minigen.course.manifest import reach

    channel, request = receive(int(sys.argv[1]))
    reach(Path(request["root"]))
    judge = Judge(request, channel)

    class Fixtures:
        @pytest.fixture
        def lesson(self) -> Any:
            return judge.load()

        @pytest.fixture
        def rng(self, request: Any) -> Any:
            return np.random.default_rng([judge.request["seed"], zlib.crc32(request.node.name.encode())])

    plain = ["--noconftest", "--import-mode=importlib", "--assert=plain", "-s"]
    off = [word for name in OFF.split() for word in ("-p", f"no:{name}")]
    sys.modules["__main__"] = types.ModuleType("__main__")  # nobody imports the judge
    place = ["-c", os.devnull, f"--rootdir={request['root']}", request["file"]]
    return int(pytest.main([*plain, *off, *place], plugins=[judge, Fixtures()]))


if __name__ == "__main__":
    sys.exit(main())
