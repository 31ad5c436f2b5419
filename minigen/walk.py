"""The walk from the newest node of a graph back to the oldest: what each rule gives, and the sums of it."""

from collections.abc import Collection
from operator import attrgetter
from typing import Any

from minigen.backend import Array, describe, xp
from minigen.broadcasting import broadcasts, sum_to
from minigen.errors import GraphError
from minigen.guards import check_finite
from minigen.node import SPENT, Node, check_unchanged, history
from minigen.recording import is_checking
from minigen.rules import Partials

SMALL = 64  # elements: gradients of one tensor that are collected before they are added


def reachable(y: Node, stop: Collection[Node] = ()) -> list[Node]:
    """The nodes that y was computed from and that require gradients, oldest first; not looking behind `stop`."""
    seen, stack = {y}, [y]
    while stack:
        for a in stack.pop().inputs:
            if isinstance(a, Node) and a.requires_grad and a not in seen:
                seen.add(a)
                if a not in stop:
                    stack.append(a)
    return sorted(seen, key=attrgetter("seq"))


def propagate(order: list[Node], grads: dict[Node, Any], keep: bool) -> dict[Node, Array]:
    """Carry `grads`, raw arrays, from the newest of `order` to all leaves: node -> gradient.

    `order`, each gradient, and unless `keep` each recipe, is used up on the way: what is spent is freed at once.
    """
    found: dict[Node, Array] = {}
    last_change = history.last
    while order:
        node = order.pop()
        g = grads.pop(node, None)
        if g is None:
            continue
        if type(g) is list:
            g = _total(g)
        if g.dtype is not node._data.dtype and g.dtype != node._data.dtype:
            g = g.astype(node._data.dtype)
        how = node.how
        if how is None:
            if node.maker is SPENT:
                raise _used_already(node)
            found[node] = g
            continue
        if type(how) is tuple:
            for a, ga in _contributions(node, g):
                _gather(grads, a, ga)
        else:
            if node.seq < last_change:
                check_unchanged(node)
            _carry_on(node, g, how, grads)
        if not keep:
            node.maker, node.inputs, node.how = SPENT, (), None
    return found


def _carry_on(node: Node, g: Array, rule: Any, grads: dict[Node, Any]) -> None:
    """A step of `propagate` through an op of two Tensors, unrolled: what a chain of small operations consists of."""
    a, b = node.inputs
    y, x, z = node._data, a._data, b._data
    ga = gb = g
    direct = type(rule) is Partials
    thunks = rule.parts if direct else rule(g, y, x, z)
    left, right = thunks if type(thunks) is tuple and len(thunks) == 2 else _each(node, thunks)
    try:
        if a.requires_grad:
            ga = left(g, y, x, z) if direct else left()
            if ga.shape != x.shape:
                ga = _fit(node, ga, a)
            before = grads.get(a)
            if before is None:
                grads[a] = ga
            elif type(before) is list:
                before.append(ga)
            else:
                _gather(grads, a, ga)
        if b.requires_grad:
            gb = right(g, y, x, z) if direct else right()
            if gb.shape != z.shape:
                gb = _fit(node, gb, b)
            before = grads.get(b)
            if before is None:
                grads[b] = gb
            elif type(before) is list:
                before.append(gb)
            else:
                _gather(grads, b, gb)
    except (AttributeError, TypeError):
        _each(node, thunks)
        for position, found in enumerate((ga, gb)):
            _refuse_no_array(node, found, position)
        raise


def _gather(grads: dict[Node, Any], a: Node, ga: Array) -> None:
    """Add `ga` to the gradient of `a`. Many small ones are collected in a list and added in one go."""
    before = grads.get(a)
    if before is None:
        grads[a] = ga
    elif type(before) is list:
        before.append(ga)
    else:
        grads[a] = [before, ga] if ga.ndim and ga.size <= SMALL else before + ga


def _total(parts: list[Array]) -> Array:
    """The sum of arrays of one shape."""
    if len(parts) == 2:
        return parts[0] + parts[1]
    return xp.concatenate(parts).reshape(len(parts), *parts[0].shape).sum(axis=0)


def propagate_with_care(
    order: list[Node],
    grads: dict[Node, Any],
    targets: set[Node],
    inner: set[Node],
    create_graph: bool,
    keep: bool,
) -> dict[Node, Any]:
    """`propagate` to any targets, through `inner` nodes only: with `create_graph` on Tensors, and for anomalies."""
    found: dict[Node, Any] = {}
    live, checking = inner | targets, is_checking()
    while order:
        node = order.pop()
        g = grads.pop(node, None)
        if g is None:
            continue
        if g.dtype != node._data.dtype:
            g = g.astype(node._data.dtype)
        if node in targets:
            found[node] = g
        if node not in inner:
            continue
        if node.maker is SPENT:
            raise _used_already(node)
        for a, ga in _contributions(node, g, live, create_graph):
            if checking:
                check_finite(node.maker, node.inputs, getattr(ga, "_data", ga), "in the backward pass, ")
            before = grads.get(a)
            grads[a] = ga if before is None else before + ga
        if not keep:
            node.maker, node.inputs, node.how = SPENT, (), None
    return found


def _contributions(
    node: Node, g: Any, live: Collection[Node] | None = None, create_graph: bool = False
) -> list[tuple[Node, Any]]:
    """What `node`, whose gradient is g, gives to the gradients of its arguments (of those in `live`; None: of all)."""
    call, args, how = node.maker, node.inputs, node.how
    rule, kwargs, raw, saved, watched = (
        how if type(how) is tuple else (how, {}, [a._data for a in args], node._data, False)
    )
    if watched or node.seq < history.last:
        check_unchanged(node, again=create_graph and call.fused)
    thunks = _each(node, _recorded_thunks(node, g) if create_graph else rule(g, saved, *raw, **kwargs))
    given = []
    for position, (a, thunk) in enumerate(zip(args, thunks, strict=True)):
        if not isinstance(a, Node) or not a.requires_grad or (live is not None and a not in live):
            continue
        ga = thunk()
        if getattr(ga, "shape", None) != a._data.shape:
            _refuse_no_array(node, ga, position)
            ga = _fit(node, ga, a)
        given.append((a, ga))
    return given


def _recorded_thunks(node: Node, g: Any) -> Any:
    """Under create_graph: the rule fed with Tensors, or for a fused op the gradient of its twin, recorded now."""
    call, args, how = node.maker, node.inputs, node.how
    rule, kwargs = how[:2] if type(how) is tuple else (how, {})
    if not call.fused:
        return rule(g, node, *args, **kwargs)
    if call.twin is None:
        raise GraphError(f"{call.name} has no twin: it cannot be differentiated twice")
    y = call.twin(*args, **kwargs)
    stop = {a for a in args if isinstance(a, Node) and a.requires_grad}
    order = reachable(y, stop)
    found = propagate_with_care(order, {y: g}, stop, set(order) - stop, create_graph=True, keep=True)
    return tuple([lambda a=a: found.get(a, a * 0.0) for a in args])


def _each(node: Node, thunks: Any) -> tuple:
    """What the rule of `node` returned, as one thunk for each argument."""
    thunks = tuple(thunks) if isinstance(thunks, tuple | list) else (thunks,)
    if len(thunks) != len(node.inputs) or not all(callable(thunk) for thunk in thunks):
        raise GraphError(
            f"{node.maker.name}: its rule must return one function (a thunk, lambda: ...) for each of its "
            f"{len(node.inputs)} arguments, not {', '.join(type(thunk).__name__ for thunk in thunks)}"
        )
    return thunks


def _fit(node: Node, g: Any, a: Node) -> Any:
    """The gradient of the argument `a` of `node`, summed over the axes in which a was broadcast."""
    shape = tuple(a._data.shape)
    others = [n.shape for n in (node, *node.inputs) if n is not a and hasattr(n, "shape")]
    if not broadcasts(shape, g.shape) or not all(
        any(len(other) >= k and other[-k] == n for other in others)
        for k, n in enumerate(reversed(g.shape), 1)
        if k > len(shape) or shape[-k] != n
    ):
        raise GraphError(
            f"{node.maker.name}: its rule gave a gradient of shape {tuple(g.shape)} for an argument of shape {shape}: "
            "a gradient has the shape of its argument, or one that broadcasting made of it in this operation"
        )
    return sum_to(g, shape=shape)


def _refuse_no_array(node: Node, g: Any, position: int) -> None:
    """GraphError if g, which the rule of `node` gave for its argument at `position`, is no array (and no Tensor)."""
    if not hasattr(g, "shape"):
        a = node.inputs[position]
        label = f" {a.name!r}" if a.name else ""
        raise GraphError(
            f"{node.maker.name}: its rule gave {describe(g)} as the gradient of its input {position}{label} "
            f"{describe(a._data)}: a thunk returns an array of that shape; has it a return?"
        )


def _used_already(node: Node) -> GraphError:
    return GraphError(
        f"backward: the graph behind {called(node)} was already used and freed: run the forward pass again, "
        "or pass retain_graph=True the first time"
    )


def called(x: Any) -> str:
    if not isinstance(x, Node):
        return f"a {type(x).__name__}"
    return f"the tensor {x.name!r} {describe(x)}" if x.name else f"a tensor {describe(x)}"
