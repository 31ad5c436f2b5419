"""The first wrong operation, going backwards through the recorded graph.

Each operation's own rule is judged alone: on the inputs that were recorded, with a random upstream gradient, against
differences of its own forward. So an error is found where it is made, however long the chain behind it.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from minigen.autograd import sum_to
from minigen.backend import describe, from_host, is_array, to_host
from minigen.checker.conduct import examine, misfit, random_upstream, recorded
from minigen.checker.entries import Comparer, summarise
from minigen.checker.report import Refusal, Variable
from minigen.checker.signatures import argument_names
from minigen.checker.subjects import EngineSubject, SecondOrder
from minigen.tensor import Tensor

NODES = 300  # operations judged at most
ALIKE = 2  # of the same op on the same shapes
ENTRIES = 48  # per argument
SPOILT = (
    "its rule writes into the upstream gradient g in place when asked for the gradient of {}, and other operations may "
    "share g: make a new array, g * 2 in place of g *= 2"
)


class OperationSubject:
    """One recorded operation: its forward and its rule, on raw arrays."""

    def __init__(self, node: Tensor):
        self.op, self.args, self.kwargs = node.op, node.args, _own_options(node)
        self.name = self.op.name
        self.inputs = [_raw(a) for a in self.args]
        self.free = [i for i, a in enumerate(self.args) if isinstance(a, Tensor) and a.requires_grad]
        self.argument_names = argument_names(self.op, len(self.args))
        self.names = [self.argument_names[i] for i in self.free]
        self.values = [np.array(to_host(self.inputs[i]), dtype=np.float64, order="C") for i in self.free]

    def _forward(self, values: list[np.ndarray]) -> tuple[Any, list[Any], Any]:
        raw = list(self.inputs)
        for i, value in zip(self.free, values, strict=True):
            raw[i] = from_host(value)
        y = self.op.forward(*raw, **self.kwargs)
        y, saved = y if self.op.fused else (y, y)
        return y, raw, saved

    def evaluate(self, values: list[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(to_host(self._forward(values)[0]))]

    def gradients(self, values: list[np.ndarray], upstream: list[np.ndarray]) -> list[Any]:
        _, raw, saved = self._forward(values)
        if self.op.rule is None:
            raise Refusal(f"it has no rule: state one with @{self.name}.vjp")
        g = from_host(upstream[0].copy())
        thunks = self.op.rule(g, saved, *raw, **self.kwargs)
        thunks = (thunks,) if callable(thunks) else tuple(thunks)
        if len(thunks) != len(raw):
            raise Refusal(f"its rule returns {len(thunks)} functions for {len(raw)} arguments")
        found = []
        for i in self.free:
            found.append(np.array(self._one(i, thunks[i])))  # a copy: a rule may return g itself
            if not np.array_equal(to_host(g), upstream[0], equal_nan=True):
                raise Refusal(SPOILT.format(self.argument_names[i]))
        return found

    def _one(self, i: int, thunk: Callable[[], Any]) -> np.ndarray:
        """What the rule gives for argument i, its broadcast axes summed as the engine does."""
        name, shape = self.argument_names[i], tuple(self.inputs[i].shape)
        g = thunk()
        g = from_host(g) if isinstance(g, np.generic) else g
        if not is_array(g):
            raise Refusal(
                f"its rule gives {type(g).__name__} for {name}, not an array: the graph is cut here"
            )
        try:
            fits = np.broadcast_shapes(tuple(g.shape), shape) == tuple(g.shape)
        except ValueError:
            fits = False
        if not fits:
            raise Refusal(
                f"its rule gives an array {tuple(g.shape)} for {name} {shape}: {_shape_cause(g.shape, shape)}"
            )
        return np.asarray(to_host(sum_to(g, shape=shape)))


def first_wrong(outputs: Iterable[Tensor], rng: np.random.Generator, order: int = 1) -> str:
    """One sentence: the first operation whose rule is wrong, with what is wrong about it; or that all are right."""
    judged = list(islice(unlike(recorded(outputs)), NODES))
    for node in judged:
        fault = judge_operation(node, rng, order)
        if fault:
            return f"first wrong operation, going backwards: {describe_operation(node)}: {fault}"
    if not judged:
        return "no operation was recorded: the graph is cut before the output"
    return (
        f"every operation in the graph ({len(judged)} judged alone) is right: the error is outside the recorded graph, "
        "where something computed from the inputs entered as a constant (.data, .detach(), .numpy(), no_grad)"
    )


def first_spoiler(outputs: Iterable[Tensor], rng: np.random.Generator) -> str:
    """One sentence: the first operation whose rule changes the gradient that it is given; '' if none does.

    Its own numbers may be right all the same: it is the other operations that g belongs to that get wrong ones.
    """
    for node in islice(unlike(recorded(outputs)), NODES):
        subject = OperationSubject(node)
        y = np.asarray(to_host(node._data))
        try:
            subject.gradients(subject.values, [random_upstream(y, rng)])
        except Refusal as refusal:
            return f"{describe_operation(node)}: {refusal}"
    return ""


def unlike(nodes: Iterable[Tensor]) -> Iterator[Tensor]:
    """The nodes, without those of the same operation on the same shapes beyond the first few."""
    seen: dict[Any, int] = {}
    for node in nodes:
        kind = (node.op, tuple(map(_describe, node.args)), repr(sorted(node.kwargs)))
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= ALIKE:
            yield node


def describe_operation(node: Tensor) -> str:
    """'matmul(a (2, 3), b (3, 4))'"""
    names = argument_names(node.op, len(node.args))
    operands = ", ".join(f"{n} {_describe(a)}" for n, a in zip(names, node.args, strict=True))
    return f"{node.op.name}({operands})"


def judge_operation(node: Tensor, rng: np.random.Generator, order: int = 1) -> str:
    """What is wrong with the rule of the operation that made this node; '' if nothing is."""
    subject = OperationSubject(node)
    try:
        wrong = _compare(subject, rng)
        if not wrong and order == 2:
            plain = EngineSubject(_replay(node), node.op.name, subject.values, subject.names, {})
            examined = examine(plain, rng)
            wrong = _compare(SecondOrder(plain, examined.upstream), rng)
            if wrong:
                return (
                    "its rule gives the right gradient, but not the right gradient of the gradient: a "
                    "rule must compute with ops on what it is given, never with raw arrays"
                )
    except Refusal as refusal:
        return str(refusal)
    except Exception as error:  # a rule is somebody's code: whatever it raises is the finding
        return f"its rule raises {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return f"its gradient for {' and '.join(v.name for v in wrong)} is wrong" if wrong else ""


def _compare(subject: Any, rng: np.random.Generator) -> list[Variable]:
    examined = examine(subject, rng)
    wrong = []
    for i, g in enumerate(examined.gradients):
        fault = misfit(subject, i, g)
        if fault:
            raise Refusal(fault)
        v = summarise(subject, Comparer(subject, examined, i, rng, ENTRIES).run(), 1)
        if v.wrong:
            wrong.append(v)
    return wrong


def _replay(node: Tensor) -> Callable[..., Any]:
    """The operation as a function of its free arguments."""
    subject = OperationSubject(node)

    def call(*free: Any) -> Any:
        args = list(subject.inputs)
        for i, a in zip(subject.free, free, strict=True):
            args[i] = a
        return node.op(*args, **subject.kwargs)

    return call


def _own_options(node: Tensor) -> dict[str, Any]:
    """The metadata of a node, without what was computed from its inputs beforehand (arrays whose default is None)."""
    optional = {k for k, p in inspect.signature(node.op.forward).parameters.items() if p.default is None}
    return {k: v for k, v in node.kwargs.items() if k not in optional or not _holds_floats(v)}


def _holds_floats(value: Any) -> bool:
    parts = value if isinstance(value, tuple | list) else (value,)
    return any(is_array(part) and part.dtype.kind == "f" for part in parts)


def _raw(value: Any) -> Any:
    if isinstance(value, Tensor):
        raw = value._data
        return raw.astype("float64") if raw.dtype.kind == "f" else raw
    return from_host(np.asarray(value)) if isinstance(value, list | tuple) else value


def _describe(value: Any) -> str:
    return (
        describe(value._data).split()[0]
        if isinstance(value, Tensor) and not value.shape
        else (str(tuple(value.shape)) if hasattr(value, "shape") else describe(value))
    )


def _shape_cause(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if tuple(got) == tuple(expected)[::-1]:
        return "it is transposed"
    if int(np.prod(got)) < int(np.prod(expected)):
        return "it was summed over an axis too many, or it is the gradient of one number only"
    return "they must be equal, but for broadcast axes, which the engine sums"
