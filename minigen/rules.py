"""What an op has: its attributes, and the two forms of a rule, thunks and partial derivatives."""

import inspect
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any

from minigen.errors import GraphError


class Op:
    """The attributes that `@op` gives a function; here for readers and type checkers."""

    name: str
    forward: Callable[..., Any]  # on raw arrays
    fused: bool
    rule: Callable[..., Any]
    uses: tuple[
        bool, ...
    ]  # which of (y, *args) the rule's thunks capture; the last also speaks for the rule's *args
    twin: Callable[..., Any] | None
    explain: Callable[..., str | None] | None
    vjp: Callable[[Callable[..., Any]], Callable[..., Any]]
    fits: Callable[[Callable[..., Any]], Callable[..., Any]]
    as_twin: Callable[[Callable[..., Any]], Callable[..., Any]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Partials:
    """A rule of one function for each argument, `(g, y, *args)` -> its gradient: a form without closures.

        mul.vjp(Partials(lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a))

    The walk calls them directly, which small operations notice. A parameter whose name begins with an underscore is
    not looked at: it may be changed before the backward pass.
    """

    __slots__ = ("parts", "uses")

    def __init__(self, *parts: Callable[..., Any]):
        self.parts = parts
        names = [part.__code__.co_varnames[1 : part.__code__.co_argcount] for part in parts]
        self.uses = tuple(any(name[0] != "_" for name in same) for same in zip(*names, strict=True))

    def __call__(self, *operands: Any) -> tuple:
        return tuple([partial(part, *operands) for part in self.parts])


def captured(rule: CodeType) -> tuple[bool, ...]:
    """Which of (y, *args) the thunks of a rule capture; the last also speaks for the rule's *args."""
    names, captured = rule.co_varnames, set(rule.co_cellvars)
    rest = names[rule.co_argcount + rule.co_kwonlyargcount] in captured if is_variadic(rule) else True
    return (*[name in captured for name in names[1 : rule.co_argcount]], rest)


def is_variadic(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_VARARGS)


def no_rule(name: str) -> Callable[..., Any]:
    def rule(*args, **kwargs):
        raise GraphError(f"{name} has no gradient rule: state one with @{name}.vjp")

    return rule


def is_op(value: Any) -> bool:
    """Whether `value` was made by `@op` or `@fused`."""
    return callable(value) and hasattr(value, "rule") and hasattr(value, "forward")
