"""The learner's code in the live engine: `with plug(mine()): train(...)`."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigen.course.compose import Draft, Refused
from minigen.course.console import shown
from minigen.course.manifest import Lesson, course, reach, read_source
from minigen.errors import CourseError

ABSENT = object()


@dataclass(frozen=True)
class Part:
    """A hole that the engine has a place for; `function` is None where the engine's own stays."""

    lesson: Lesson
    hole: str
    target: str
    path: Path
    function: Any = None

    @property
    def mine(self) -> bool:
        return self.function is not None

    def __str__(self) -> str:
        if self.mine:
            return f"your {self.hole} from {shown(self.path)}"
        return f"the engine's own {self.hole} ({self.lesson.short}:{self.hole} is not started)"


def mine(lessons: Iterable[str] | None = None, root: Path | str | None = None) -> list[Part]:
    """Every hole with a place in the engine, of these lessons or all: the learner's where it is started."""
    where = course(root)
    reach(where.home)
    chosen = where.lessons if lessons is None else [where.lesson(name) for name in lessons]
    return [part for lesson in chosen if lesson.plugs for part in _parts(lesson)]


@contextlib.contextmanager
def plug(parts: Part | Iterable[Part] | Mapping[str, Callable[..., Any]]) -> Iterator[list[Part]]:
    """Swaps functions into the engine and takes them out again, whatever happens in between.

    Takes what `mine()` gives, or a mapping {"minigen.module:Qual.name": function}; gives the parts it swapped.
    A method is set on its class. An op keeps its identity and takes the function as its forward (from an op,
    its rule too), so every module that imported it follows; `op.forward` and `op.rule` name one half alone.
    Another function is replaced wherever it was imported.
    """
    if isinstance(parts, Mapping):
        pairs, given = list(parts.items()), []
    else:
        given = [part for part in ([parts] if isinstance(parts, Part) else parts) if part.mine]
        pairs = [(part.target, part.function) for part in given]
    with contextlib.ExitStack() as stack:
        for target, function in pairs:
            for owner, name, value in _changes(target, function):
                stack.callback(_put, owner, name, vars(owner).get(name, ABSENT))
                _put(owner, name, value)
        yield given


def resolve(target: str) -> tuple[Any, str, Any]:
    """`minigen.nn:Dense.__call__` -> (the class, "__call__", what is there now)."""
    module, colon, path = target.partition(":")
    try:
        owner = importlib.import_module(module)
    except ImportError as error:
        raise CourseError(f"plug target {target!r}: cannot import {module} ({error})") from None
    *names, last = path.split(".")
    try:
        for name in names:
            owner = getattr(owner, name)
        return owner, last, getattr(owner, last)
    except AttributeError as error:
        expected = "expected 'minigen.module:Qual.name'"
        raise CourseError(f"plug target {target!r}: {error if colon else 'no colon'}; {expected}") from None


def _changes(target: str, function: Any) -> Iterator[tuple[Any, str, Any]]:
    """(owner, name, value) of everything to set for one swap."""
    owner, name, old = resolve(target)
    if _is_op(owner) and name in ("forward", "rule") and _is_op(function):
        function = getattr(function, name)  # that half of a learner's op: the other half stays the engine's
    if _is_op(owner) and name == "rule":
        before = owner.uses
        owner.vjp(function)  # works out which operands the rule uses
        uses, owner.uses, owner.rule = owner.uses, before, old
        yield owner, "rule", function
        yield owner, "uses", uses
    elif _is_op(old) and _is_op(function) and old.fused == function.fused:
        for attribute in ("forward", "rule", "uses", "twin", "explain"):
            yield old, attribute, getattr(function, attribute)
    elif _is_op(old) and not _is_op(function) and not old.fused:
        yield old, "forward", function
    elif isinstance(owner, types.ModuleType):
        for module in [one for key, one in sorted(sys.modules.items()) if _house(key)]:
            for binding in [key for key, value in vars(module).items() if value is old]:
                yield module, binding, function
    else:
        yield owner, name, function


def _is_op(value: Any) -> bool:
    return callable(value) and hasattr(value, "rule") and hasattr(value, "forward")


def _house(module: str) -> bool:
    return module.split(".")[0] in ("minigen", "solutions")


def _put(owner: Any, name: str, value: Any) -> None:
    if value is ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


def _parts(lesson: Lesson) -> list[Part]:
    """The parts of one lesson; its module is run once, the holes not started filled from the reference."""
    path = lesson.exercise
    if not path.exists():
        return [Part(lesson, hole, target, path) for hole, target in lesson.plugs.items()]
    draft = Draft(lesson, path, read_source(path))
    try:
        started = [hole for hole, state in draft.states.items() if state == "started"]
        module = _run(draft, started) if set(started) & set(lesson.plugs) else None
    except Refused as error:
        raise CourseError(f"{path}:{error.line or 1}: {error}") from None
    return [
        Part(lesson, hole, target, path, _find(module, hole) if hole in started else None)
        for hole, target in lesson.plugs.items()
    ]


def _run(draft: Draft, started: Sequence[str]) -> types.ModuleType:
    module = types.ModuleType(f"exercises.{draft.lesson.name}")
    module.__file__ = str(draft.path)
    sys.modules[module.__name__] = module
    try:
        exec(draft.compiled(draft.compose(*started)), module.__dict__)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(draft.path)), 1)
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CourseError(f"{draft.path}:{line}: the file cannot be imported: {said}") from error
    return module


def _find(module: Any, hole: str) -> Any:
    """The learner's function as it stands in its class or module (a staticmethod stays one)."""
    found = module
    for name in hole.split("."):
        found = vars(found)[name]
    return found
