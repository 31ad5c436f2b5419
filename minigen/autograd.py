"""Reverse-mode automatic differentiation: the walk back through the recorded graph. It knows no arithmetic.

A Tensor is its own graph node: it remembers the op that made it, and of what; that is its recipe (minigen.node). The
walk goes from the newest node to the oldest, asks each op's rule for the gradients of its arguments and adds them up.
Fed arrays, a rule computes numbers; fed Tensors (`create_graph=True`), the same rule is recorded in turn, which is all
that higher derivatives need.
"""

from typing import Any

from minigen.backend import Array, from_host, is_array, xp
from minigen.broadcasting import broadcast_to, sum_axes, sum_to
from minigen.errors import GraphError, ShapeError
from minigen.node import SPENT, Node, fingerprint, touch
from minigen.recording import (
    constant,
    detect_anomaly,
    enable_grad,
    fused,
    is_checking,
    is_recording,
    no_grad,
    op,
    register_node_type,
)
from minigen.rules import Op, Partials, is_op
from minigen.walk import called, propagate, propagate_with_care, reachable

__all__ = [
    "Node", "Op", "Partials", "backward", "broadcast_to", "constant", "detect_anomaly", "enable_grad", "fingerprint",
    "fused", "grad", "is_op", "is_recording", "no_grad", "op", "reachable", "register_node_type", "sum_axes",
    "sum_to", "touch",
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
                f"grad: cannot differentiate with respect to {called(x)}: it does not require gradients"
            )
    found = _walk(y, _seed(y, seed, create_graph), wanted, create_graph, _keep(retain_graph, create_graph))
    results = [found.get(x) for x in wanted]
    if not create_graph and len(set(wanted)) < len(wanted):  # whoever is named twice gets two arrays
        results = [None if g is None else g.copy() for g in results]
    if not allow_unused and any(g is None for g in results):
        missing = ", ".join(called(x) for x, g in zip(wanted, results, strict=True) if g is None)
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
            f"backward: {called(y)} is not part of a recorded graph: no input requires gradients, or it was made "
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


def _walk(y: Node, seed: Any, wanted: list[Node] | None, create_graph: bool, keep: bool) -> dict[Node, Any]:
    """Reverse accumulation from y. `wanted` None: all leaves. Returns node -> gradient."""
    order = reachable(y)
    leaves = {n for n in order if n.maker is None}
    targets = leaves if wanted is None else set(wanted)
    with enable_grad() if create_graph else no_grad():
        if leaves == targets and not create_graph and not is_checking():
            return _owned(propagate(order, {y: seed}, keep), seed)
        inner = _leading_to(targets, order)
        found = propagate_with_care(order, {y: seed}, targets, inner, create_graph, keep)
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
        # behind a spent node everything is gone: it stays, so that the walk can say so
        if node.maker is SPENT or any(
            isinstance(a, Node) and (a in inner or a in targets) for a in node.inputs
        ):
            inner.add(node)
    return inner
