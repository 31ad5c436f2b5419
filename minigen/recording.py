"""Recording: what `@op` makes of a function, and the modes in which operations are recorded or not.

    @op
    def mul(a, b):                            # raw arrays in, one raw array out
        return a * b

    @mul.vjp
    def _(g, y, a, b):                        # g is the gradient of the output y
        return lambda: g * b, lambda: g * a   # one thunk per argument; it runs only if that gradient is needed

Laws for a rule: use only what arrays and Tensors share, and other ops. What a thunk captures is what the backward
pass needs: take shapes and other metadata out of it first, so that an input which is not captured may be changed.
"""

import contextlib
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

from minigen.backend import Array, xp
from minigen.errors import GraphError
from minigen.guards import check_finite, explain_failure, fit_constants, keep_option
from minigen.node import Node, clock, hand_out, look_again

_recording = True
_anomaly = False
_new = object.__new__
_node_type: type = Node
_NO_OPTIONS: dict[str, Any] = {}
_FORWARD_ERRORS = (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError)


def register_node_type(cls: type) -> type:
    """Class decorator: results of ops are made of this class (minigen.tensor says so of Tensor)."""
    global _node_type
    _node_type = cls
    return cls


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


def op(forward: Callable[..., Any]) -> Op:
    """Make a differentiable operation of a function on raw arrays.

    Arrays are positional, metadata is keyword-only. Called with no Tensor among its arguments the op returns a raw
    array. `@f.vjp` states its gradient; `@f.fits` (raw arrays -> str) says in an error what would have fitted.
    """
    call = _general(forward, is_fused=False)
    return _equip(_binary(call, forward) if _takes_two(forward) else call, forward, is_fused=False)


def fused(forward: Callable[..., Any]) -> Op:
    """An op whose forward returns `(y, saved)` and whose rule is `(g, saved, *args, **kwargs)` on raw arrays only.

    `@f.as_twin` gives its specification: the same function as a plain expression in other ops. Under
    `create_graph=True` the engine differentiates the twin, so a fused op has derivatives of every order too.
    """
    return _equip(_general(forward, is_fused=True), forward, is_fused=True)


def _takes_two(forward: Callable[..., Any]) -> bool:
    code = forward.__code__
    options = code.co_kwonlyargcount or code.co_flags & inspect.CO_VARKEYWORDS
    return code.co_argcount == 2 and not options and not _is_variadic(code)


def _is_variadic(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_VARARGS)


def _general(forward: Callable[..., Any], is_fused: bool) -> Any:
    def call(*args, **kwargs):
        this = _equipped[call]
        found = track = mixed = watched = False
        raw = []
        for a in args:
            if isinstance(a, Node):
                found = True
                track = track or a.requires_grad
                if a._print is not None:
                    watched = look_again(a)
                raw.append(a._data)
            else:
                mixed = mixed or (type(a) is not float and type(a) is not int)
                raw.append(a)
        if kwargs and track:
            kwargs = {name: keep_option(value) for name, value in kwargs.items()}
        if mixed and found:
            raw = fit_constants(this, args, raw, keep=track and _recording)
            args = tuple([a if isinstance(a, Node) else r for a, r in zip(args, raw, strict=True)])
        try:
            y = this.forward(*raw, **kwargs)
        except _FORWARD_ERRORS as error:
            raise explain_failure(this, raw, kwargs, error) from error
        if is_fused:
            y, saved = y
        if not found:
            return y
        if type(y) is not xp.ndarray:
            y = xp.asarray(y)  # NumPy's 0-d results come as scalars
        if _anomaly:
            check_finite(this, args, y)
        recorded = track and _recording
        if not recorded and getattr(y, "base", None) is not None:
            y = y.copy()  # a view would write through to its source, and no recipe says whose view it is
        t = constant(y)
        if recorded:
            t.requires_grad = True
            t.recipe = (this, args, kwargs, raw, saved if is_fused else y, watched, this.rule)
            if watched and getattr(y, "base", None) is not None:
                hand_out(t)  # a view of data that somebody may write to
        return t

    return call


def _binary(general: Any, forward: Callable[..., Any]) -> Any:
    """The hot path of small graphs: two Tensors and no metadata. Anything unusual goes the general way."""

    def call(a: Any, b: Any) -> Any:
        # type(x), and no attribute of xp: Python looks these up fastest
        kind: Any = type(a)
        if kind is not type(b) or kind is not _node_type or _anomaly:
            return general(a, b)
        if a._print is not None or b._print is not None:
            return general(a, b)
        x = a._data
        try:
            y = own["forward"](x, b._data)
        except _FORWARD_ERRORS:
            return general(a, b)
        if type(y) is not type(x):
            y = xp.asarray(y)
        t: Any = _new(_node_type)
        t._data = y
        t.grad = t.name = t._print = None
        t._stamp = 0
        t.seq = clock()
        if _recording and (a.requires_grad or b.requires_grad):
            t.requires_grad = True
            t.recipe = (call, (a, b), _NO_OPTIONS, None, y, False, own["rule"])
        else:
            t.requires_grad = False
            t.recipe = None
        return t

    own = call.__dict__  # where the op's attributes are; faster to look into than the attributes
    _equipped[general] = call
    return call


_equipped: dict[Any, Any] = {}  # the function that does the general work -> the op it works for


def _equip(call: Any, forward: Callable[..., Any], is_fused: bool) -> Op:
    """Give a function the attributes of an Op."""
    _equipped.setdefault(call, call)

    def vjp(rule):
        code = rule.__code__
        names, captured = code.co_varnames, set(code.co_cellvars)
        call.rule = rule
        rest = names[code.co_argcount + code.co_kwonlyargcount] in captured if _is_variadic(code) else True
        call.uses = (*[name in captured for name in names[1 : code.co_argcount]], rest)
        return rule

    def fits(explain):
        call.explain = explain
        return explain

    def as_twin(twin):
        call.twin = twin
        return twin

    call.__name__ = call.__qualname__ = call.name = forward.__name__
    call.__module__, call.__doc__, call.__wrapped__ = forward.__module__, forward.__doc__, forward
    call.forward, call.fused = forward, is_fused
    call.rule, call.twin, call.explain, call.uses = _no_rule(call.name), None, None, (True,)
    call.vjp, call.fits, call.as_twin = vjp, fits, as_twin
    return call


def is_op(value: Any) -> bool:
    """Whether `value` was made by `@op` or `@fused`."""
    return callable(value) and hasattr(value, "rule") and hasattr(value, "forward")


def constant(data: Array) -> Any:
    """A Tensor around `data` that requires no gradient."""
    t: Any = _new(_node_type)
    t._data, t.requires_grad = data, False
    t.grad = t.name = t._print = t.recipe = None
    t._stamp, t.seq = 0, clock()
    return t


def _no_rule(name: str) -> Callable[..., Any]:
    def rule(*args, **kwargs):
        raise GraphError(f"{name} has no gradient rule: state one with @{name}.vjp")

    return rule


# Modes


class _Mode(contextlib.ContextDecorator):
    """A switch that is set inside a with-block or a decorated function; the same object may be entered again."""

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self):
        self._before.append(self._switch(True))
        return self

    def __exit__(self, *_):
        self._switch(self._before.pop(), leaving=True)

    def _switch(self, value: bool, leaving: bool = False) -> bool:
        raise NotImplementedError


class no_grad(_Mode):
    """Inside, nothing is recorded: a with-block or a decorator."""

    _inside = False

    def _switch(self, value: bool, leaving: bool = False) -> bool:
        global _recording
        before, _recording = _recording, value if leaving else self._inside
        return before


class enable_grad(no_grad):
    """Inside, operations are recorded even within `no_grad`."""

    _inside = True


class detect_anomaly(_Mode):
    """Inside, the first operation that makes a NaN or an infinity raises, in the forward or the backward pass."""

    def _switch(self, value: bool, leaving: bool = False) -> bool:
        global _anomaly
        before, _anomaly = _anomaly, value
        return before


def is_checking() -> bool:
    """True inside `detect_anomaly`."""
    return _anomaly


def is_recording() -> bool:
    """False inside `no_grad`."""
    return _recording
