"""One batch before training with --mine: through the engine's own code, then through the learner's.

Each part is watched in both. So it is known which parts the model uses at all, and a result of another kind or shape
than the reference's is named where it is made, not where something stumbles over it. Nothing of the run to come is
touched: the models are made anew from a seed, and thrown away.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minigen.course.holes import functions
from minigen.course.plugs import Part, plug, resolve
from minigen.errors import MinigenError

SCALARS = {"a number", ("shape",)}


class LearnersError(MinigenError):
    """An error that came out of the learner's code."""

    exit_code = 1


class Rehearsal:
    """What the reference returned, and which parts were used."""

    def __init__(self, own: Sequence[Part]) -> None:
        self.own = own
        self.used: set[str] = set()
        self.expected: dict[tuple[str, Any], list[Any]] = {}

    def run(self, scene: Callable[[], Any], own_scene: Callable[[], Any]) -> None:
        """Both scenes; LearnersError where the second gives something that is unlike the first."""
        with self._watched(self._note):
            scene()
        with plug(self.own), self.judged():
            own_scene()

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """Inside, what the learner's parts return is held against the reference's."""
        with self._watched(self._judge):
            yield

    @contextlib.contextmanager
    def _watched(self, look: Callable[[Part, Any, Any], None]) -> Iterator[None]:
        """look(part, key of the call, result) at every call of a part that is in the engine now."""
        swaps = {}
        for part in self.own:
            owner, name, now = resolve(part.target)
            value = inspect.getattr_static(owner, name)
            if isinstance(value, types.FunctionType) and not hasattr(now, "rule"):
                swaps[part.target] = _spy(value, functools.partial(look, part))
            elif hasattr(now, "forward") and hasattr(now, "rule"):  # an op: its forward is what changes
                swaps[part.target] = _spy(now if now.fused else now.forward, functools.partial(look, part))
            else:
                self.used.add(part.target)  # a rule, or another kind of method: it cannot be watched
        with plug(swaps):
            yield

    def _note(self, part: Part, key: Any, result: Any) -> None:
        self.used.add(part.target)
        self.expected.setdefault((part.target, key), []).append(result)

    def _judge(self, part: Part, key: Any, result: Any) -> None:
        self.used.add(part.target)
        known = self.expected.get((part.target, key))
        if known and not any(_like(result, one) for one in known):
            raise LearnersError(
                f"{place(part)}: your {part.hole} returned {said(result)}, expected {said(known[0])}"
            )
        promise = _promise(part)
        if known is None and result is None and promise:
            raise LearnersError(
                f"{place(part)}: your {part.hole} returned None, expected {promise}: is a return missing?"
            )


def place(part: Part) -> str:
    """FILE:LINE of a learner's part"""
    return f"{part.path}:{line(part)}"


def line(part: Part) -> int:
    """The line on which a learner's part begins"""
    function = getattr(part.function, "forward", part.function)
    function = inspect.unwrap(getattr(function, "__func__", function))
    return function.__code__.co_firstlineno if hasattr(function, "__code__") else 1


def reached(*starts: Any) -> set[Any]:
    """Every function of solutions/ that these may call, and what they name of the engine, as far as their code tells"""
    left = [one for one in starts if one is not None]
    found: set[Any] = set()
    while left:
        function = inspect.unwrap(left.pop())
        if not isinstance(function, types.FunctionType) or function in found:
            continue
        found.add(function)
        if not function.__module__.startswith("solutions."):
            continue
        names = set(_names(function.__code__))
        scope = dict(function.__globals__)
        for module in (
            name for name in names if name.startswith("solutions.")
        ):  # an import inside the function
            with contextlib.suppress(ImportError):  # a lesson that is not part of this version
                scope |= vars(importlib.import_module(module))
        left += [scope[name] for name in names & scope.keys()]
        ours = [v for v in scope.values() if isinstance(v, type) and v.__module__.startswith("solutions.")]
        left += [vars(cls)[name] for cls in ours for name in names & vars(cls).keys()]
    return found


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _names(one)


def _spy(function: Callable[..., Any], look: Callable[[Any, Any], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def spy(*args: Any, **kwargs: Any) -> Any:
        key = (*map(form, args), *((name, form(value)) for name, value in sorted(kwargs.items())))
        result = function(*args, **kwargs)
        look(key, form(result))
        return result

    return spy


def form(value: Any) -> Any:
    """What a call is compared by: the shape of an array or Tensor, the forms in a tuple, else the kind of thing"""
    if value is None:
        return None
    if isinstance(value, bool | int | float):
        return "a number"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return ("shape", *map(int, value.shape))
    if isinstance(value, list | tuple):
        return ("tuple", *map(form, value))
    if inspect.isgenerator(value) or hasattr(value, "__next__"):
        return "a generator"
    return f"a {type(value).__name__}"


def _like(found: Any, expected: Any) -> bool:
    """Whether a form will do where the reference's is another: a 0-d array is a number, a list of pairs yields them"""
    if found is None or expected is None:
        return found is expected
    if expected == "a generator":
        return found != "a number" and found[:1] != ("shape",)
    if found[:1] == expected[:1] == ("tuple",):
        return len(found) == len(expected) and all(map(_like, found[1:], expected[1:]))
    if isinstance(found, str) and isinstance(expected, str):
        return (found == "a number") == (expected == "a number")  # a class of one's own is nobody's business
    return found == expected or {found, expected} <= SCALARS


def said(value: Any) -> str:
    """A form in words: (50, 256), None, (a number, (3, 4))"""
    if not isinstance(value, tuple):
        return str(value)
    kind, *inside = value
    if kind == "shape":
        return str(tuple(inside)) if inside else "a scalar"
    return f"({', '.join(map(said, inside))})"


def _promise(part: Part) -> str:
    """What the reference says that it returns ('' if it does not say, or nothing)"""
    node = dict(functions(ast.parse(part.lesson.source))).get(part.hole)
    returns = ast.unparse(node.returns) if node is not None and node.returns is not None else ""
    return "" if "None" in returns or returns == "Any" else returns
