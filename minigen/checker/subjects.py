"""What is checked, in one form for all of it: functions from host float64 arrays to host arrays.

A subject has `names` and `values` (the variables, in order), `evaluate(values) -> outputs` and
`gradients(values, upstream) -> one array per variable, or None where no graph leads to it`. A function of Tensors, a
hand-written pair of NumPy functions, a single operation, the gradient function of another subject: all have this form.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigen.autograd import enable_grad, grad
from minigen.backend import describe, from_host, is_array, to_host
from minigen.checker.report import Refusal
from minigen.checker.signatures import required
from minigen.tensor import Tensor

Arrays = list[np.ndarray]


class EngineSubject:
    """A function of Tensors; its variables are its float inputs and the parameters of its model."""

    def __init__(
        self,
        f: Callable[..., Any],
        name: str,
        inputs: Sequence[Any],
        names: list[str],
        parameters: dict[str, Tensor],
    ):
        self.f, self.name, self.inputs, self.parameters = f, name, list(inputs), parameters
        self.free = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        self.names = [names[i] for i in self.free] + list(parameters)
        self.values = [inputs[i] for i in self.free]
        self.leaves: list[Tensor] = []
        self.values += [np.array(to_host(t._data), dtype=np.float64, order="C") for t in parameters.values()]

    def seen(self) -> Arrays:
        """The inputs as the last run of f left them."""
        return [to_host(leaf._data) for leaf in self.leaves]

    def record(self, values: Arrays) -> tuple[list[Tensor], list[Tensor]]:
        """Run f, recorded: its outputs that are floats, and the leaves in the order of the variables."""
        args = [from_host(x) if isinstance(x, np.ndarray) else x for x in self.inputs]
        leaves = []
        for i, value in zip(self.free, values, strict=False):
            args[i] = Tensor(from_host(value), requires_grad=True)
            leaves.append(args[i])
        for t, value in zip(self.parameters.values(), values[len(self.free) :], strict=True):
            t._data = from_host(value)
            t._print = None
            leaves.append(t)
        self.leaves = leaves
        with enable_grad():
            return _outputs(self.f(*args)), leaves

    def evaluate(self, values: Arrays) -> Arrays:
        return [to_host(y._data) for y in self.record(values)[0]]

    def gradients(self, values: Arrays, upstream: Arrays) -> list[np.ndarray | None]:
        outputs, leaves = self.record(values)
        return [None if g is None else to_host(g) for g in self.pull(outputs, leaves, upstream)]

    def pull(
        self,
        outputs: Sequence[Tensor],
        leaves: Sequence[Tensor],
        upstream: Sequence[Any],
        create_graph: bool = False,
    ) -> list[Any]:
        """The gradients of sum(<upstream, output>) for all leaves, None where no graph leads; the graph is kept."""
        total: list[Any] = [None] * len(leaves)
        for y, v in zip(outputs, upstream, strict=True):
            if not y.requires_grad:
                continue
            seed = v if isinstance(v, Tensor) else from_host(v.copy())
            found = grad(
                y, leaves, seed=seed, create_graph=create_graph, retain_graph=True, allow_unused=True
            )
            total = [a if g is None else g if a is None else a + g for a, g in zip(total, found, strict=True)]
        return total


class HandWritten:
    """A plain function of arrays and the gradient function that somebody wrote for it.

    grad(*inputs) where f returns a number, grad(g, *inputs) where it returns an array and g is the gradient flowing in.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        gradient: Callable[..., Any],
        name: str,
        inputs: Sequence[Any],
        names: list[str],
    ):
        self.f, self.gradient, self.name, self.inputs = f, gradient, name, list(inputs)
        self.free = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        self.names, self.values = [names[i] for i in self.free], [inputs[i] for i in self.free]
        self.takes_upstream = required(gradient) == len(self.inputs) + 1

    def _args(self, values: Arrays) -> list[Any]:
        args = list(self.inputs)
        for i, value in zip(self.free, values, strict=True):
            args[i] = value
        return args

    def evaluate(self, values: Arrays) -> Arrays:
        return _host_outputs(self.f(*self._args(values)))

    def gradients(self, values: Arrays, upstream: Arrays) -> list[Any]:
        if not self.takes_upstream and any(v.size != 1 for v in upstream):
            shape = upstream[0].shape
            raise Refusal(
                f"f returns an array {shape}, so its gradient needs to know what flows in: write grad(g, "
                f"{', '.join(self.names)}) with g of shape {shape}, or let f return one number, such as a sum"
            )
        flowing = upstream if len(upstream) > 1 else upstream[0]
        found = self.gradient(*([flowing] if self.takes_upstream else []), *self._args(values))
        found = found if isinstance(found, tuple | list) else (found,)
        if len(found) == len(self.inputs) and len(self.free) < len(self.inputs):
            found = [found[i] for i in self.free]
        if len(found) != len(self.free):
            raise Refusal(
                f"the gradient function returned {len(found)} array{'s' * (len(found) != 1)}, expected "
                f"{len(self.free)}: one for each of {', '.join(self.names)}"
            )
        return [None if g is None else np.asarray(getattr(g, "_data", g)) for g in found]


class SecondOrder:
    """The gradient function of an EngineSubject: (variables, upstream) -> gradients, and its own gradients."""

    def __init__(self, first: EngineSubject, upstream: Arrays):
        self.first, self.name, self.parameters = first, first.name, first.parameters
        many = len(upstream) > 1
        self.names = first.names + [f"upstream {i}" if many else "upstream" for i in range(len(upstream))]
        self.values = first.values + upstream

    def _split(self, values: Arrays) -> tuple[Arrays, Arrays]:
        n = len(self.first.names)
        return values[:n], values[n:]

    def evaluate(self, values: Arrays) -> Arrays:
        """First-order gradients on the plain path, which the first-order check has judged."""
        inner, upstream = self._split(values)
        found = self.first.gradients(inner, upstream)
        return [np.zeros(x.shape) if g is None else g for g, x in zip(found, inner, strict=True)]

    def record(self, values: Arrays) -> tuple[list[Tensor], list[Tensor]]:
        """First-order gradients as Tensors that remember how they were made, and the leaves."""
        inner, upstream = self._split(values)
        outputs, leaves = self.first.record(inner)
        seeds = [Tensor(from_host(v), requires_grad=True) for v in upstream]
        found = self.first.pull(outputs, leaves, seeds, create_graph=True)
        zero = [
            g if isinstance(g, Tensor) else Tensor(from_host(np.zeros(x.shape)))
            for g, x in zip(found, inner, strict=True)
        ]
        return zero, leaves + seeds

    def gradients(self, values: Arrays, upstream: Arrays) -> list[np.ndarray | None]:
        outputs, leaves = self.record(values)
        return [None if g is None else to_host(g) for g in self.first.pull(outputs, leaves, upstream)]

    pull = EngineSubject.pull


def _outputs(result: Any) -> list[Tensor]:
    """What f returned -> its float Tensors; whatever cannot be differentiated is refused in one line."""
    flat = _flat(result)
    kept = [y for y in flat if isinstance(y, Tensor) and y.dtype.kind == "f"]
    if not kept:
        y = flat[0] if flat else None
        if y is None:
            raise Refusal("f returned nothing: is a return missing?")
        if isinstance(y, Tensor):
            raise Refusal(f"f returned {describe(y._data)}: integers have no gradient, return floats")
        if is_array(y) or isinstance(y, np.ndarray | np.generic | int | float):
            what = describe(y if is_array(y) else np.asarray(y))
            raise Refusal(
                f"f returned {what}, an array and no Tensor: the graph was left on the way (.data, .numpy(), .item()?"
                "): use minigen.ops, or give its gradient with grad="
            )
        raise Refusal(f"f returned a {type(y).__name__}: return a Tensor, or a tuple of them")
    return kept


def _host_outputs(result: Any) -> Arrays:
    """The same for a plain function."""
    flat = [getattr(y, "_data", y) for y in _flat(result)]
    if not flat or flat[0] is None:
        raise Refusal("f returned nothing: is a return missing?")
    try:
        kept = [y for y in map(np.asarray, map(to_host, flat)) if y.dtype.kind == "f"]
    except (TypeError, ValueError):
        kept = []
    if not kept:
        y = np.asarray(flat[0])
        what = (
            describe(y) + ": integers have no gradient" if y.dtype.kind in "iub" else type(flat[0]).__name__
        )
        raise Refusal(f"f returned {what}: return a float or an array of floats")
    return [np.array(y) for y in kept]


def _flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [y for part in result for y in _flat(part)]
    return [result]
