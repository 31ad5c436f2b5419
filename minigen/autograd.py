"""Reverse-mode automatic differentiation: the recorded graph, and the walk back through it.

This file knows no arithmetic. An op is a pair of functions, written side by side elsewhere:

    @op
    def mul(a, b):                            # raw arrays in, one raw array out
        return a * b

    @mul.vjp
    def _(g, y, a, b):                        # g is the gradient of the output y
        return lambda: g * b, lambda: g * a   # one thunk per argument; it runs only if that gradient is needed

A Tensor is its own graph node: it remembers `(op, args, kwargs)`, its recipe. Fed arrays, a rule computes numbers;
fed Tensors (`create_graph=True`), the same rule is recorded in turn, which is all that higher derivatives need.

Laws for a rule: use only what arrays and Tensors share, and other ops. What a thunk captures is what the backward
pass needs: take shapes and other metadata out of it first, so that an input which is not captured may be changed.
"""

import contextlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from minigen.backend import Array, active, describe, from_host, is_array, xp
from minigen.errors import GraphError, ShapeError
from minigen.guards import check_finite, explain_failure, fit_constants
from minigen.node import SPENT, Node, check_unchanged, clock, fingerprint, history, look_again, touch

__all__ = [
    "Node", "Op", "backward", "broadcast_to", "constant", "detect_anomaly", "enable_grad", "fingerprint", "fused",
    "grad", "is_op", "is_recording", "no_grad", "op", "reachable", "register_node_type", "sum_axes", "sum_to", "touch",
]  # fmt: skip

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


# Ops


class Op:
    """The attributes that `@op` gives a function; here for readers and type checkers."""

    name: str
    forward: Callable[..., Any]  # on raw arrays
    fused: bool
    rule: Callable[..., Any]
    uses: tuple[bool, ...] | None  # which of (y, *args) the rule captures; None: all
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
    return (
        code.co_argcount == 2 and not code.co_kwonlyargcount and not code.co_flags & 0x0C
    )  # no *args, **kwargs


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
                mixed = mixed or (a.__class__ is not float and a.__class__ is not int)
                raw.append(a)
        if mixed and found:
            raw = fit_constants(this, args, raw)
        try:
            y = this.forward(*raw, **kwargs)
        except _FORWARD_ERRORS as error:
            raise explain_failure(this, raw, kwargs, error) from error
        if is_fused:
            y, saved = y
        if not found:
            return y
        if y.__class__ is not xp.ndarray:
            y = xp.asarray(y)  # NumPy's 0-d results come as scalars
        if _anomaly:
            check_finite(this, args, y)
        t = constant(y)
        if track and _recording:
            t.requires_grad = True
            t.recipe = (this, args, kwargs, raw, saved if is_fused else y, watched, this.rule)
        return t

    return call


def _binary(general: Any, forward: Callable[..., Any]) -> Any:
    """The hot path of small graphs: two Tensors and no metadata. Anything unusual goes the general way."""

    def call(a, b):
        if (
            not (a.__class__ is b.__class__ is _node_type)
            or a._print is not None
            or b._print is not None
            or _anomaly
        ):
            return general(a, b)
        try:
            y = own["forward"](a._data, b._data)
        except _FORWARD_ERRORS:
            return general(a, b)
        if y.__class__ is not xp.ndarray:
            y = xp.asarray(y)
        t = _new(_node_type)
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
        names = code.co_varnames[: code.co_argcount]
        call.rule = rule
        call.uses = None if code.co_flags & 0x04 else tuple(name in code.co_cellvars for name in names[1:])
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
    call.rule, call.twin, call.explain, call.uses = _no_rule(call.name), None, None, None
    call.vjp, call.fits, call.as_twin = vjp, fits, as_twin
    return call


def is_op(value: Any) -> bool:
    """Whether `value` was made by `@op` or `@fused`."""
    return callable(value) and hasattr(value, "rule") and hasattr(value, "forward")


def constant(data: Array) -> Any:
    """A Tensor around `data` that requires no gradient."""
    t = _new(_node_type)
    t._data, t.requires_grad = data, False
    t.grad = t.name = t._print = t.recipe = None
    t._stamp, t.seq = 0, clock()
    return t


# Modes


class no_grad(contextlib.ContextDecorator):
    """Inside, nothing is recorded: a with-block or a decorator."""

    _to = False

    def __enter__(self):
        global _recording
        self._before, _recording = _recording, self._to
        return self

    def __exit__(self, *_):
        global _recording
        _recording = self._before


class enable_grad(no_grad):
    """Inside, operations are recorded even within `no_grad`."""

    _to = True


class detect_anomaly(contextlib.ContextDecorator):
    """Inside, the first operation that makes a NaN or an infinity raises, in the forward or the backward pass."""

    def __enter__(self):
        global _anomaly
        self._before, _anomaly = _anomaly, True
        return self

    def __exit__(self, *_):
        global _anomaly
        _anomaly = self._before


def is_recording() -> bool:
    """False inside `no_grad`."""
    return _recording


# The walk


def grad(
    y: Any,
    xs: Any,
    seed: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Any:
    """The gradient of `y` with respect to each of `xs`: a list of raw arrays (for a single x: one array).

    y: a scalar Tensor, or any Tensor with `seed` of its shape (the gradient flowing into y). With `create_graph` the
    results are Tensors that can be differentiated again. Only what `xs` need is computed. The graph is freed on the
    way unless `retain_graph`. Raises GraphError when y does not depend on some x (unless `allow_unused`: then None).
    """
    single = isinstance(xs, Node)
    wanted: list[Node] = [xs] if single else list(xs)
    for x in wanted:
        if not isinstance(x, Node) or not x.requires_grad:
            raise GraphError(
                f"grad: cannot differentiate with respect to {_called(x)}: it does not require gradients"
            )
    found = _walk(y, _seed(y, seed, create_graph), wanted, create_graph, _keep(retain_graph, create_graph))
    results = [found.get(x) for x in wanted]
    if not allow_unused and any(g is None for g in results):
        missing = ", ".join(_called(x) for x, g in zip(wanted, results, strict=True) if g is None)
        raise GraphError(
            f"grad: y does not depend on {missing}: was the graph cut (.data, .detach(), no_grad)? "
            "pass allow_unused=True to get None"
        )
    return results[0] if single else results


def backward(
    y: Any, seed: Any = None, *, create_graph: bool = False, retain_graph: bool | None = None
) -> None:
    """Add the gradient of `y` to `.grad` of every leaf that requires it (`Tensor.backward`)."""
    found = _walk(y, _seed(y, seed, create_graph), None, create_graph, _keep(retain_graph, create_graph))
    for leaf, g in found.items():
        leaf.grad = g if leaf.grad is None else leaf.grad + g


def _keep(retain_graph: bool | None, create_graph: bool) -> bool:
    return create_graph if retain_graph is None else retain_graph


def _seed(y: Any, seed: Any, create_graph: bool) -> Any:
    if not isinstance(y, Node) or not y.requires_grad:
        raise GraphError(
            f"backward: {_called(y)} is not part of a recorded graph: no input requires gradients, or it was made "
            "under no_grad"
        )
    if seed is None:
        if y._data.size != 1:
            raise GraphError(
                f"backward: the output has shape {tuple(y._data.shape)}, not a scalar: reduce it with .sum() or "
                ".mean(), or pass seed= (the gradient flowing into it) of the same shape"
            )
        g = xp.ones(y._data.shape, y._data.dtype)
    else:
        g = seed._data if isinstance(seed, Node) else seed
        g = g if is_array(g) else from_host(g)
        if tuple(g.shape) != tuple(y._data.shape):
            raise ShapeError(
                f"backward: the seed has shape {tuple(g.shape)}, the output {tuple(y._data.shape)}: they must be equal"
            )
        g = g.astype(y._data.dtype, copy=False)
    if not create_graph:
        return g
    return seed if isinstance(seed, Node) and seed._data.dtype == y._data.dtype else constant(g)


def _called(x: Any) -> str:
    if not isinstance(x, Node):
        return f"a {type(x).__name__}"
    return f"the tensor {x.name!r} {describe(x)}" if x.name else f"a tensor {describe(x)}"


def reachable(y: Node, stop: frozenset | set = frozenset()) -> list[Node]:
    """The nodes that y was computed from and that require gradients, newest first; not looking behind `stop`."""
    seen, stack = {y}, [y]
    while stack:
        recipe = stack.pop().recipe
        if recipe is None or recipe is SPENT:
            continue
        for a in recipe[1]:
            if isinstance(a, Node) and a.requires_grad and a not in seen:
                seen.add(a)
                if a.recipe is not None and a not in stop:
                    stack.append(a)
    return sorted(seen, key=attrgetter("seq"), reverse=True)


def _walk(y: Node, seed: Any, wanted: list[Node] | None, create_graph: bool, keep: bool) -> dict[Node, Any]:
    """Reverse accumulation from y. `wanted` None: all leaves. Returns node -> gradient."""
    order = reachable(y)
    leaves = {n for n in order if n.recipe is None}
    targets = leaves if wanted is None else set(wanted)
    inner = None if leaves == targets else _leading_to(targets, order)
    with enable_grad() if create_graph else no_grad():
        return _propagate(order, {y: seed}, targets, inner, create_graph, keep)


def _leading_to(targets: set[Node], order: list[Node]) -> set[Node]:
    """The nodes that have a target behind them: only through these must the walk go."""
    inner: set[Node] = set()
    for node in reversed(order):
        recipe = node.recipe
        # behind a spent node everything is gone: it stays, so that the walk can say so
        if recipe is SPENT or (
            recipe is not None
            and any(isinstance(a, Node) and (a in inner or a in targets) for a in recipe[1])
        ):
            inner.add(node)
    return inner


def _propagate(
    order: list[Node],
    grads: dict[Node, Any],
    targets: set[Node],
    inner: set[Node] | None,
    create_graph: bool,
    keep: bool,
) -> dict[Node, Any]:
    """Carry `grads` down `order` (newest first) to the targets, through `inner` nodes only (None: through all).

    Each gradient, and unless `keep` each recipe, is dropped as soon as it is spent, so memory is freed on the way.
    """
    found: dict[Node, Any] = {}
    last_change = history.last
    for node in order:
        g = grads.pop(node, None)
        if g is None:
            continue
        recipe = node.recipe
        if recipe is None or inner is not None:
            if node in targets:
                found[node] = g
            if recipe is None or node not in inner:  # type: ignore[operator]
                continue
        if recipe is SPENT:
            raise GraphError(
                f"backward: the graph behind {_called(node)} was already used and freed: run the forward pass again, "
                "or pass retain_graph=True the first time"
            )
        call, args, kwargs, raw, saved, watched, rule = recipe
        if watched or node.seq < last_change:
            check_unchanged(node)
        if create_graph:
            thunks = _recorded_thunks(node, g)
        elif raw is None:
            a, b = args
            thunks = rule(g, saved, a._data, b._data)
        else:
            thunks = rule(g, saved, *raw, **kwargs)
        if thunks.__class__ is not tuple:
            thunks = (thunks,)
        i = -1
        for a in args:  # counted by hand: zip and enumerate cost more than a small rule
            i += 1
            if not isinstance(a, Node) or not a.requires_grad:
                continue
            if inner is not None and a not in inner and a not in targets:
                continue
            ga, data = thunks[i](), a._data
            if ga.shape != data.shape:
                ga = sum_to(ga, shape=data.shape)
            if ga.dtype is not data.dtype and ga.dtype != data.dtype:
                ga = ga.astype(data.dtype)
            if _anomaly:
                check_finite(call, args, getattr(ga, "_data", ga), "in the backward pass, ")
            before = grads.get(a)
            grads[a] = ga if before is None else before + ga
        if not keep:
            node.recipe = SPENT
    return found


def _recorded_thunks(node: Node, g: Any) -> Any:
    """Under create_graph: the rule fed with Tensors, or for a fused op the gradient of its twin, recorded now."""
    call, args, kwargs, *_ = node.recipe
    if not call.fused:
        return call.rule(g, node, *args, **kwargs)
    if call.twin is None:
        raise GraphError(f"{call.name} has no twin: it cannot be differentiated twice")
    y = call.twin(*args, **kwargs)
    stop = {a for a in args if isinstance(a, Node) and a.requires_grad}
    order = reachable(y, stop)
    found = _propagate(order, {y: g}, stop, set(order) - stop, create_graph=True, keep=True)
    return tuple([lambda a=a: found.get(a, a * 0.0) for a in args])  # type: ignore[misc]


def _no_rule(name: str) -> Callable[..., Any]:
    def rule(*args, **kwargs):
        raise GraphError(f"{name} has no gradient rule: state one with @{name}.vjp")

    return rule


# Broadcasting: the engine's own business, so that no rule has to mention it.


@op
def sum_to(x, *, shape):
    """(...) -> shape, summing the axes that broadcasting from `shape` would have added or stretched."""
    if x.shape == tuple(shape):
        return x
    extra = x.ndim - len(shape)
    if extra < 0:
        raise ValueError(f"cannot sum {x.shape} to {tuple(shape)}: it has fewer axes")
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1
    )
    return sum_axes(x, axes).reshape(shape)


@sum_to.vjp
def _(g, y, x, *, shape):
    before = x.shape
    return lambda: broadcast_to(g, shape=before)


@op
def broadcast_to(x, *, shape):
    """(...) -> shape, by NumPy's rules; a read-only view of x."""
    return xp.broadcast_to(x, shape)


@broadcast_to.vjp
def _(g, y, x, *, shape):
    before = x.shape
    return lambda: sum_to(g, shape=before)


def sum_axes(x: Array, axes: tuple[int, ...]) -> Array:
    """`x.sum(axes)`; leading axes of a contiguous matrix as a product with ones, which is four times as fast."""
    rows = len(axes)
    if rows and axes == tuple(range(rows)) and rows < x.ndim and x.dtype.kind == "f" and x.size > 4096:
        flat = x.reshape(-1, *x.shape[rows:]) if rows > 1 else x
        if flat.ndim == 2 and flat.flags.c_contiguous and active().name == "numpy":
            return xp.ones(flat.shape[0], x.dtype) @ flat
    return x.sum(axis=axes) if axes else x
