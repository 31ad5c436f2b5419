"""Reverse-mode automatic differentiation: the walk back through the recorded graph. It knows no arithmetic.

A Tensor is its own graph node: it remembers `(op, args, kwargs)`, its recipe (minigen.recording). The walk goes from
the newest node to the oldest, asks each op's rule for the gradients of its arguments and adds them up. Fed arrays, a
rule computes numbers; fed Tensors (`create_graph=True`), the same rule is recorded in turn, which is all that higher
derivatives need.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from minigen.backend import Array, describe, from_host, is_array, xp
from minigen.broadcasting import broadcast_to, broadcasts, sum_axes, sum_to
from minigen.errors import GraphError, ShapeError
from minigen.guards import check_finite
from minigen.node import SPENT, Node, check_unchanged, fingerprint, history, touch
from minigen.recording import (
    Op,
    constant,
    detect_anomaly,
    enable_grad,
    fused,
    is_checking,
    is_op,
    is_recording,
    no_grad,
    op,
    register_node_type,
)

__all__ = [
    "Node", "Op", "backward", "broadcast_to", "constant", "detect_anomaly", "enable_grad", "fingerprint", "fused",
    "grad", "is_op", "is_recording", "no_grad", "op", "reachable", "register_node_type", "sum_axes", "sum_to", "touch",
]  # fmt: skip


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
        leaf.grad = g if leaf.grad is None else _array(leaf.grad + g)


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
    """The nodes that y was computed from and that require gradients, oldest first; not looking behind `stop`."""
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
    return sorted(seen, key=attrgetter("seq"))


def _walk(y: Node, seed: Any, wanted: list[Node] | None, create_graph: bool, keep: bool) -> dict[Node, Any]:
    """Reverse accumulation from y. `wanted` None: all leaves. Returns node -> gradient."""
    order = reachable(y)
    leaves = {n for n in order if n.recipe is None}
    targets = leaves if wanted is None else set(wanted)
    inner = None if leaves == targets else _leading_to(targets, order)
    with enable_grad() if create_graph else no_grad():
        found = _propagate(order, {y: seed}, targets, inner, create_graph, keep)
    return found if create_graph else _owned(found, seed)


def _owned(found: dict[Node, Any], seed: Array) -> dict[Node, Any]:
    """The same gradients, each an array of its own: no view, not the seed, not shared by two nodes.

    Rules hand gradients on as they are (both arguments of a sum get the same array); their receiver may write to them.
    """
    taken = {id(seed)}
    for node, g in found.items():
        g = _array(g)
        if id(g) in taken or getattr(g, "base", None) is not None:
            g = g.copy()
        taken.add(id(g))
        found[node] = g
    return found


def _array(g: Any) -> Array:
    """NumPy gives scalars for 0-d results; a gradient is an array."""
    return g if is_array(g) or isinstance(g, Node) else xp.asarray(g)


def _leading_to(targets: set[Node], order: list[Node]) -> set[Node]:
    """The nodes that have a target behind them: only through these must the walk go."""
    inner: set[Node] = set()
    for node in order:
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
    """Carry `grads` from the newest of `order` to the targets, through `inner` nodes only (None: through all).

    `order`, each gradient, and unless `keep` each recipe, is used up on the way: what is spent is freed at once.
    """
    found: dict[Node, Any] = {}
    last_change, checking = history.last, is_checking()
    fast = inner is None and not create_graph and not checking
    live = None if inner is None else inner | targets
    while order:
        node = order.pop()
        g = grads.pop(node, None)
        if g is None:
            continue
        if g.dtype is not node._data.dtype and g.dtype != node._data.dtype:
            g = g.astype(node._data.dtype)
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
            check_unchanged(node, again=create_graph and call.fused)
        if raw is None and fast:  # _spread, unrolled: what a chain of small operations consists of
            a, b = args
            thunks = rule(g, saved, a._data, b._data)
            left, right = thunks if type(thunks) is tuple and len(thunks) == 2 else _each(call, thunks, args)
            if a.requires_grad:
                ga = left()
                if ga.shape != a._data.shape:
                    ga = _fit(call, ga, a._data.shape)
                before = grads.get(a)
                grads[a] = ga if before is None else before + ga
            if b.requires_grad:
                ga = right()
                if ga.shape != b._data.shape:
                    ga = _fit(call, ga, b._data.shape)
                before = grads.get(b)
                grads[b] = ga if before is None else before + ga
        else:
            if create_graph:
                thunks = _recorded_thunks(node, g)
            else:
                thunks = rule(g, saved, *(raw or [x._data for x in args]), **kwargs)
            _spread(call, args, _each(call, thunks, args), grads, live, checking)
        if not keep:
            node.recipe = SPENT
    return found


def _each(call: Any, thunks: Any, args: Sequence) -> tuple:
    """What a rule returned, as one thunk for each argument."""
    thunks = tuple(thunks) if isinstance(thunks, tuple | list) else (thunks,)
    if len(thunks) != len(args) or not all(callable(thunk) for thunk in thunks):
        raise GraphError(
            f"{call.name}: its rule must return one function (a thunk, lambda: ...) for each of its {len(args)} "
            f"arguments, not {', '.join(type(thunk).__name__ for thunk in thunks)}"
        )
    return thunks


def _spread(
    call: Any, args: Sequence, thunks: tuple, grads: dict[Node, Any], live: set[Node] | None, checking: bool
) -> None:
    """Run the thunks of the arguments that need their gradient, and add what they give to `grads`."""
    for a, thunk in zip(args, thunks, strict=True):
        if not isinstance(a, Node) or not a.requires_grad or (live is not None and a not in live):
            continue
        ga = thunk()
        if ga.shape != a._data.shape:
            ga = _fit(call, ga, a._data.shape)
        if checking:
            check_finite(call, args, getattr(ga, "_data", ga), "in the backward pass, ")
        before = grads.get(a)
        grads[a] = ga if before is None else before + ga


def _fit(call: Any, g: Any, shape: tuple[int, ...]) -> Any:
    """The gradient summed over the axes in which its argument was broadcast."""
    if not broadcasts(shape, g.shape):
        raise GraphError(
            f"{call.name}: its rule gave a gradient of shape {tuple(g.shape)} for an argument of shape {tuple(shape)}: "
            "a gradient has the shape of its argument, or one that broadcasting made of it"
        )
    return sum_to(g, shape=shape)


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
    return tuple([lambda a=a: found.get(a, a * 0.0) for a in args])
