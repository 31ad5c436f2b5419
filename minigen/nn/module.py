"""Module: a part of a model. Its parameters are found by looking at its attributes, when they are asked for."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from minigen.backend import from_host
from minigen.errors import CheckpointError, GraphError
from minigen.nn.state import check_state
from minigen.nn.summary import summary
from minigen.tensor import Tensor


class Module:
    """A callable with parameters: subclass it, make attributes in `__init__`, compute in `__call__`.

    What counts is what the attributes hold, directly or in lists, tuples and dicts: Tensors that require gradients are
    parameters, other Tensors are buffers (running statistics, frozen weights), Modules are parts. Results of
    operations are neither, and raw arrays are not looked at. Nothing is registered.
    """

    training = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} does not say what it computes: define __call__(self, x)"
        )

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module (named '') and every module in it, each once, in the order they were made."""
        return ((name, part) for name, part in scan(self) if isinstance(part, Module))

    def modules(self) -> list["Module"]:
        return [part for _, part in self.named_modules()]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """('encoder.layers.0.W', tensor): each parameter once, under its first name, in the order they were made."""
        return ((name, t) for name, t in scan(self) if isinstance(t, Tensor) and t.requires_grad)

    def parameters(self) -> list[Tensor]:
        return [t for _, t in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that belong to the state but receive no gradients."""
        return ((name, t) for name, t in scan(self) if isinstance(t, Tensor) and not t.requires_grad)

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The random streams that parts such as Dropout draw from: exact resume must keep their state too."""
        return ((name, rng) for name, rng in scan(self) if isinstance(rng, np.random.Generator))

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all in it to training behaviour (dropout on, batch statistics)."""
        for part in self.modules():
            part.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all in it to its behaviour in use (dropout off, running statistics)."""
        return self.train(False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies on the host of every parameter and buffer, by name."""
        return {name: t.numpy() for name, t in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; it must have exactly the names and shapes of this module's own.

        Raises CheckpointError that lists everything missing, unexpected and mis-shaped, and then changes nothing.
        """
        tensors = self._tensors()
        expected = {name: t._data for name, t in tensors.items()}
        for name, array in check_state(expected, state, f"this {type(self).__name__}").items():
            tensors[name].data = from_host(array)

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, t in scan(self):
            if not isinstance(t, Tensor):
                continue
            if name in tensors:
                raise CheckpointError(
                    f"{type(self).__name__} has two tensors named {name!r} (a dot in a dict key?): rename one of them"
                )
            tensors[name] = t
        return tensors

    def __repr__(self) -> str:
        return summary(self)


def scan(module: Module) -> Iterator[tuple[str, Any]]:
    """(dotted name, part) for every Module, leaf Tensor and random generator in `module`, which comes first as ''."""
    return _scan("", module, set())


def _scan(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, _LOOKED_AT) or id(value) in seen:  # tied parameters count once, and cycles end
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if value.recipe is None:
            yield name, value
        return
    inside: Iterable[tuple[Any, Any]]
    if isinstance(value, Module):
        yield name, value
        inside = list(vars(value).items())
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    elif isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, np.random.Generator):
        yield name, value
        return
    else:
        _refuse_set(name, value)
        return
    for key, part in inside:
        yield from _scan(f"{name}.{key}" if name else str(key), part, seen)


def _refuse_set(name: str, value: Any) -> None:
    if any(isinstance(part, Module | Tensor) for part in value):
        raise GraphError(f"{name} is a set, which has no order to name its parts by: use a list")


_LOOKED_AT = (Module, Tensor, list, tuple, dict, set, frozenset, np.random.Generator)
