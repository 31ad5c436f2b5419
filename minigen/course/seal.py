"""The child's walls: what code under judgement may not open, call or look at. Bound before any of it has run.

`Walls` hears Python's own audit events, which no code can unhear. Its own solution nobody opens. Sealed, for other
people's code (`minigen grade`): files are written in a scratch folder only; no processes, no network, no frames.
"""

from __future__ import annotations

import builtins
import operator
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from minigen.course.trespass import INNARDS, PRETENCE

PROCESSES = {
    "os.fork",
    "os.forkpty",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "subprocess.Popen",
}
PROCESSES |= {"os.kill", "os.killpg", "signal.pthread_kill", "pty.spawn"}
NETWORK = {
    f"socket.{name}" for name in ("connect", "bind", "sendto", "sendmsg", "getaddrinfo", "gethostbyname")
}
CHANGES = {
    "os.remove",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
}
CHANGES |= {"os.chown", "os.utime", "os.setxattr"}
FRAMES = {"sys._getframe", "sys._getframemodulename", "sys._current_frames", "sys._current_exceptions"}
FRAMES |= {
    "gc.get_objects",
    "gc.get_referrers",
    "gc.get_referents",
    "code.__new__",
    "function.__new__",
    "marshal.loads",
}
NEVER = {"sys.settrace", "sys.setprofile", "sys.addaudithook", "cpython._PySys_ClearAuditHooks"}
# Library files that hand out frames, or run a text they are given.
GIVERS = (
    "inspect.py",
    "traceback.py",
    "pdb.py",
    "bdb.py",
    "trace.py",
    "timeit.py",
    "code.py",
    "runpy.py",
    "doctest.py",
)
DEVICES = {os.devnull, "/dev/urandom", "/dev/random"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Walls:
    """Call `raise_()` just before the code under judgement runs; there is no way to take them down."""

    def __init__(self, forbidden: Iterable[str], scratch: str = "", trusted: Iterable[str] = ()) -> None:
        self.forbidden = tuple(forbidden)
        self.scratch = os.path.realpath(scratch) + os.sep if scratch else ""
        self.trusted = tuple(trusted)
        self.up = False
        self.busy: set[int] = set()
        sys.addaudithook(self._hook())

    def confine(self, name: str) -> None:
        """A part of the scratch folder for this process alone; the rest is forbidden to it like the solution."""
        self.forbidden += (self.scratch,)
        folder = os.path.join(self.scratch, name)
        os.mkdir(folder)
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        self.scratch = folder + os.sep

    def raise_(self) -> None:
        """From now on."""
        self.up = True
        if self.scratch:
            sys.dont_write_bytecode = True
            for name in (
                "signal",
                "setitimer",
                "alarm",
                "set_wakeup_fd",
            ):  # a handler is given the frame it interrupts
                setattr(signal, name, _refusing(f"signal.{name}"))
                setattr(sys.modules["_signal"], name, _refusing(f"signal.{name}"))
            for name in ("attrgetter", "methodcaller"):
                setattr(operator, name, _named(getattr(operator, name)))

    def freeze(self, modules: Iterable[Any]) -> None:
        """No name in these modules changes any more while code from elsewhere is at work, not even for a moment.

        New names may come: an import sets its submodule. Checks may plug functions in.
        """
        walls = self

        class Frozen(ModuleType):
            def __setattr__(self, name: str, value: Any) -> None:
                if self.__dict__.get(name, value) is not value and walls.breached():
                    raise AttributeError(
                        f"your file replaces {self.__name__}.{name}, which the checks rely on: leave it as it is"
                    )
                super().__setattr__(name, value)

            def __delattr__(self, name: str) -> None:
                if walls.breached():
                    raise AttributeError(
                        f"your file deletes {self.__name__}.{name}, which the checks rely on"
                    )
                super().__delattr__(name)

        for module in modules:
            if type(module) is ModuleType:
                module.__class__ = Frozen

    def breached(self) -> bool:
        """Whether code from elsewhere is at work."""
        me = threading.get_ident()
        self.busy.add(me)  # looking at frames is ours to do
        try:
            return outsiders(self.trusted)
        finally:
            self.busy.discard(me)

    def _hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        """A closure over what it needs: patching a module later does not change it."""
        ident, refuse, busy, sealed = threading.get_ident, self._refusal, self.busy, bool(self.scratch)

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if not (sealed or event == "open") or not self.up or (me := ident()) in busy:
                return  # this is asked at every op that is recorded: it has to be quick
            busy.add(me)
            try:
                says = refuse(event, args)
            finally:
                busy.discard(me)
            if says:
                raise PermissionError(says)

        return hook

    def _refusal(self, event: str, args: tuple[Any, ...]) -> str:
        """Why this event may not happen; empty where it may."""
        if event == "open":
            return self._opening(*args)
        if not self.scratch:
            return ""
        if event in PROCESSES:
            return f"the file starts or stops a process ({event}), which an exercise has no use for"
        if event in NETWORK:
            return f"the file asks the network ({event}), which an exercise has no use for"
        if event in CHANGES and not all(self._mine(one) for one in args if isinstance(one, str | bytes)):
            return (
                f"the file changes files that are not its own ({event}); it may write in its working folder"
            )
        if event in NEVER:
            return f"the file uses {event}, which reaches into the checks"
        if event in FRAMES or event.startswith("ctypes.") or _inside(event, args):
            return (
                f"the file uses {event}, which reaches into the checks"
                if outsiders(self.trusted, GIVERS)
                else ""
            )
        return ""

    def _opening(self, path: Any, mode: Any, flags: Any) -> str:
        if not isinstance(path, str | bytes):
            return ""
        name = os.path.abspath(os.fsdecode(path))
        real = os.path.realpath(name)
        if self.scratch and self._mine(real):
            return ""
        folder = os.path.isdir(real) and any(
            one.startswith(real.rstrip(os.sep) + os.sep) for one in self.forbidden
        )
        if folder or real.startswith(self.forbidden):
            return "the file opens its own solution, which is what this check compares with"
        if not self.scratch or name in DEVICES:
            return ""
        if (flags or 0) & WRITING:
            return f"the file writes {name}; it may write in its working folder only"
        if name.startswith(("/proc/", "/dev/")) or real.startswith(("/proc/", "/dev/")):
            return (
                f"the file opens {name}, which reaches into the checks"
                if outsiders(self.trusted, GIVERS)
                else ""
            )
        return ""

    def _mine(self, path: str | bytes) -> bool:
        return (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(self.scratch)


def _inside(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an attribute is read or set that leads to a frame, to code, or out of a frozen module."""
    if event == "object.__getattr__":
        return args[1] in INNARDS
    return event == "object.__setattr__" and (args[1] in INNARDS or isinstance(args[0], ModuleType))


def outsiders(trusted: tuple[str, ...], through: tuple[str, ...] | None = None) -> bool:
    """Whether code from elsewhere is at work here; with `through`, whether the nearest is, these files left out."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(trusted):
            return True
        if through is not None and name != __file__ and not name.endswith(through):
            return False
        frame = frame.f_back
    return False


def guarded() -> dict[str, Any]:
    """Builtins for the code under judgement: names glued together are held to the same rules as written ones."""
    refused = INNARDS | PRETENCE

    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(thing: Any, name: Any, *rest: Any) -> Any:
            plain = type(name) is str and name not in refused and (thing is not sys or name != "modules")
            if not plain or (function is not getattr and isinstance(thing, ModuleType)):
                raise PermissionError(f"the file says {name}, which reaches into the checks")
            return function(thing, name, *rest)

        return call

    def look(*thing: Any) -> Any:
        if thing and not isinstance(thing[0], ModuleType):
            return vars(*thing)
        raise PermissionError("the file says vars() of a module, which reaches into the checks")

    safe = {"getattr": named(getattr), "setattr": named(setattr), "delattr": named(delattr), "vars": look}
    return vars(builtins) | safe


def _named(maker: Callable[..., Any]) -> Callable[..., Any]:
    """operator.attrgetter, for names that may be said."""

    def make(*names: Any, **kwargs: Any) -> Any:
        if any(part in INNARDS | PRETENCE for name in names if type(name) is str for part in name.split(".")):
            raise PermissionError(f"the file says {names[0]}, which reaches into the checks")
        return maker(*(str(name) if isinstance(name, str) else name for name in names), **kwargs)

    return make


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(f"the file uses {name}, which an exercise has no use for")

    return refuse
