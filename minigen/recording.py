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
import threading
from collections.abc import Callable
from typing import Any

from minigen.backend import Array, describe, xp
from minigen.errors import GraphError
from minigen.guards import check_finite, check_kept, explain_failure, fit_constants, keep_option, seen
from minigen.node import NOT_FLOAT, Node, clock, hand_out, look_again
from minigen.rules import Op, Partials, captured, is_variadic, no_rule

_recording = True  # no thread is inside no_grad; else is_recording() knows
_silent = _anomaly = 0  # blocks of no_grad, of detect_anomaly, that some thread is in
_new = object.__new__
_node_type: type = Node
_FORWARD_ERRORS = (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError)


def register_node_type(cls: type) -> type:
    """Class decorator: results of ops are made of this class (minigen.tensor says so of Tensor)."""
    global _node_type
    _node_type = cls
    return cls


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
    code = getattr(forward, "__code__", None)
    if code is None:
        raise GraphError(
            f"@op takes a Python function, got {type(forward).__name__} {getattr(forward, '__name__', '')}: "
            "write def f(x): return ..."
        )
    options = code.co_kwonlyargcount or code.co_flags & inspect.CO_VARKEYWORDS
    return code.co_argcount == 2 and not options and not is_variadic(code)


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
                    watched = look_again(a) or watched
                    mixed = mixed or a._data.dtype.kind != "f"
                raw.append(a._data)
            else:
                mixed = mixed or (type(a) is not float and type(a) is not int)
                raw.append(a)
        if kwargs and found:
            kwargs = {name: keep_option(value, track) for name, value in kwargs.items()}
        if mixed and found:
            raw = fit_constants(this, args, raw, keep=track and is_recording())
            args = tuple([a if isinstance(a, Node) else r for a, r in zip(args, raw, strict=True)])
        before = seen(raw) if _anomaly and is_checking() else None
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
        if before is not None:
            check_kept(this, raw, before)
            check_finite(this, args, y)
        for r in raw:
            if r is y:
                y = y.copy()  # an op that hands its input on: two tensors must not share one array
        kind = y.dtype.kind
        recorded = track and kind == "f" and (_recording or is_recording())
        if not recorded and getattr(y, "base", None) is not None:
            y = y.copy()  # a view would write through to its source, and no recipe says whose view it is
        t = constant(y)
        if recorded:
            t.requires_grad, t.maker, t.inputs = True, this, args
            t.how = (this.rule, kwargs, raw, saved if is_fused else y, watched)
            if watched and getattr(y, "base", None) is not None:
                hand_out(t)  # a view of data that somebody may write to
        elif kind != "f":
            t._print = NOT_FLOAT
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
        x, z = a._data, b._data
        try:
            y = own["forward"](x, z)
        except _FORWARD_ERRORS:
            return general(a, b)
        if type(y) is not type(x) or y is x or y is z:
            y = xp.array(y)
        t: Any = _new(_node_type)
        t._data = y
        t.grad = t.name = t._print = None
        t._stamp = 0
        t.seq = clock()
        if (a.requires_grad or b.requires_grad) and (_recording or is_recording()):
            t.requires_grad = True
            t.maker, t.inputs, t.how = call, (a, b), own["rule"]
        else:
            if getattr(y, "base", None) is not None:
                t._data = y.copy()  # a view, as in the general way
            t.requires_grad = False
            t.maker = t.how = None
            t.inputs = ()
        return t

    own = call.__dict__  # where the op's attributes are; faster to look into than the attributes
    _equipped[general] = call
    return call


_equipped: dict[Any, Any] = {}  # the function that does the general work -> the op it works for


def _equip(call: Any, forward: Callable[..., Any], is_fused: bool) -> Op:
    """Give a function the attributes of an Op."""
    _equipped.setdefault(call, call)

    def vjp(rule):
        if isinstance(rule, Partials) and len(rule.parts) != forward.__code__.co_argcount:
            raise GraphError(
                f"{call.name}: Partials takes one function for each argument, got {len(rule.parts)}"
            )
        call.rule = rule
        call.uses = rule.uses if isinstance(rule, Partials) else captured(rule.__code__)
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
    call.rule, call.twin, call.explain, call.uses = no_rule(call.name), None, None, (True,)
    call.vjp, call.fits, call.as_twin = vjp, fits, as_twin
    return call


def constant(data: Array) -> Any:
    """A Tensor around `data` that requires no gradient."""
    t: Any = _new(_node_type)
    t._data, t.requires_grad = data, False
    t.grad = t.name = t._print = t.maker = t.how = None
    t.inputs = ()
    t._stamp, t.seq = 0, clock()
    return t


# Modes. A thread keeps lists of the blocks that it is in; the last of a list speaks. What the hot path reads are two
# global counts, of all threads: only while one of them is not 0 does a thread look into its lists.

_lock = threading.Lock()


class _Here(threading.local):
    def __init__(self) -> None:
        self.recording: list[_Mode] = []
        self.checking: list[_Mode] = []


_here = _Here()


class _Mode(contextlib.ContextDecorator):
    """A switch that is on inside a with-block or a decorated function, in the thread that entered it.

    Leaving takes a block out of its list wherever it stands, so blocks may end in any order, as generators' do.
    """

    family = "recording"
    records = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode: Any = super().__new__(cls)
        return mode if function is None else mode(function)  # @no_grad, without brackets

    def __init__(self) -> None:
        self._lists: list[list[_Mode]] = []  # those that it was entered into

    def __call__(self, function: Any) -> Any:
        name = type(self).__name__
        if not callable(function):
            raise GraphError(f"{name} takes no argument but a function to decorate, got {describe(function)}")
        if inspect.isgeneratorfunction(function):
            raise GraphError(
                f"{name} cannot decorate {function.__name__}, a generator: write `with {name}():` inside it, around "
                "the work between its yields"
            )
        return super().__call__(function)

    def _recreate_cm(self) -> Any:
        return type(self)()

    def __enter__(self) -> Any:
        mine: list[_Mode] = getattr(_here, self.family)
        mine.append(self)
        self._lists.append(mine)
        self._count(1)
        return self

    def __exit__(self, *_: object) -> None:
        mine = getattr(_here, self.family)
        if not any(mode is self for mode in mine):
            mine = self._lists[-1]  # a generator that another thread closes
        last = max(i for i, mode in enumerate(mine) if mode is self)
        del mine[last]
        self._lists.pop(next(i for i, entered in enumerate(self._lists) if entered is mine))
        self._count(-1)

    def _count(self, change: int) -> None:
        """Tell the hot path, where the mode concerns it."""


class no_grad(_Mode):
    """Inside, nothing is recorded: a with-block or a decorator. Other threads go on recording."""

    def _count(self, change: int) -> None:
        global _silent, _recording
        with _lock:
            _silent += change
            _recording = not _silent


class enable_grad(_Mode):
    """Inside, operations are recorded even within `no_grad`."""

    records = True


class detect_anomaly(_Mode):
    """Inside, the first operation that makes a NaN or an infinity, or changes its input, raises.

    Forward and backward passes are looked at; in this thread only.
    """

    family = "checking"

    def _count(self, change: int) -> None:
        global _anomaly
        with _lock:
            _anomaly += change


def is_checking() -> bool:
    """True inside `detect_anomaly`."""
    return bool(_here.checking)


def is_recording() -> bool:
    """False inside `no_grad`."""
    return not _here.recording or _here.recording[-1].records
