"""The child's side of the conversation with the parent (process.py): telling, limits, and what must stay in place."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

HOUSE = ("minigen", "_pytest")
LARGEST = 2**28  # bytes of a file that a check may leave
DESCRIBED = (property, classmethod, functools.cached_property)  # no functions themselves, but they run one


def mark(word: str) -> bytes:
    """What stands between two outputs: made from the word, which it does not give away."""
    return hashlib.sha256(word.encode()).hexdigest().encode()


class Channel:
    """The pipe to the parent; each line carries a word that only the two know."""

    def __init__(self, handle: int, word: str) -> None:
        self.handle, self.word, self.mark = handle, word, mark(word)

    def send(self, event: str, **fields: Any) -> None:
        """One line to the parent, and a mark in what is printed: so the parent can tell whose output is whose."""
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(1, self.mark)
        data = (json.dumps({"word": self.word, "event": event, **fields}) + "\n").encode()
        while data:
            data = data[os.write(self.handle, data) :]


def receive(handle: int) -> tuple[Channel, dict[str, Any]]:
    """The request from standard input, which is empty from now on, and the way to answer it."""
    request = json.loads(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return Channel(handle, request.pop("word")), request


class Guard:
    """The functions that a check relies on: builtins, numpy, minigen, pytest and the modules given."""

    def __init__(self, modules: Iterable[ModuleType] = ()) -> None:
        self.kept = [(owner, dict(functions)) for owner, functions in _relied_on(modules)]

    def restore(self) -> str:
        """The first function that was replaced ('' if none); all are put back."""
        changed = ""
        for owner, functions in self.kept:
            now = vars(owner)
            for name in [name for name, value in functions.items() if now.get(name) is not value]:
                changed = changed or f"{_called(owner)}.{name}"
                with contextlib.suppress(Exception):
                    setattr(owner, name, functions[name])
        return changed


def _relied_on(modules: Iterable[ModuleType]) -> Iterator[tuple[Any, list[tuple[str, Any]]]]:
    """Modules, classes and ops that checks call, each with its functions by name."""
    import builtins
    import math

    import numpy as np

    outer: list[Any] = [builtins, math, np, np.linalg, np.testing, np.random]
    outer += [sys.modules["pytest"]] if "pytest" in sys.modules else []
    inner = [module for name, module in sorted(sys.modules.items()) if name.split(".")[0] in HOUSE]
    inner += dict.fromkeys(modules)
    values = [value for owner in inner for value in vars(owner).values()]
    classes = [one for one in values if isinstance(one, type) and one.__module__.split(".")[0] in HOUSE]
    ops = [one for one in values if hasattr(one, "vjp")]
    for owner in [*outer, *inner, *dict.fromkeys(classes), *dict.fromkeys(ops)]:
        yield (
            owner,
            [
                (name, value)
                for name, value in vars(owner).items()
                if (callable(value) or isinstance(value, DESCRIBED)) and not name.startswith("_abc")
            ],
        )


def relied_on(modules: Iterable[ModuleType]) -> list[ModuleType]:
    """Every module whose names a check may use: all of numpy, minigen, pytest and the standard ones, and these."""
    names = ("builtins", "math", "operator", "copy", "numpy", "pytest", "scipy", *HOUSE)
    return [*modules, *(one for name, one in sorted(sys.modules.items()) if name.split(".")[0] in names)]


def _called(owner: Any) -> str:
    """numpy, or _pytest.python.Function."""
    return f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__


def limit_memory(megabytes: int) -> None:
    """At most so much more address space than the libraries have taken; no core files."""
    try:
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = taken + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    except (ImportError, OSError, ValueError):
        pass  # a system without these limits: the time limit still holds
