"""What a function calls its arguments, and how many it must have."""

import inspect
from collections.abc import Callable
from typing import Any

from minigen.autograd import is_op

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def argument_names(f: Any, count: int) -> list[str]:
    """The names of f's first `count` positional arguments; 'xs 0', 'xs 1' where it takes any number."""
    names: list[str] = []
    for p in _parameters(f):
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name} {i}" for i in range(count - len(names))]
        elif p.kind in _POSITIONAL:
            names.append(p.name)
    return names[:count] + [f"input {i}" for i in range(len(names), count)]


def required(f: Callable[..., Any]) -> int:
    """How many positional arguments f must have; -1 if it takes any number or does not tell."""
    parameters = _parameters(f)
    if (not parameters and not _tells(f)) or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return -1
    return sum(p.kind in _POSITIONAL and p.default is p.empty for p in parameters)


def _parameters(f: Any) -> list[inspect.Parameter]:
    f = f.forward if is_op(f) else f
    return list(inspect.signature(f).parameters.values()) if _tells(f) else []


def _tells(f: Any) -> bool:
    try:
        return inspect.signature(f) is not None
    except (TypeError, ValueError):
        return False
