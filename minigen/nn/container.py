"""Modules made of modules."""

from collections.abc import Callable, Iterator
from typing import Any

from minigen import ops
from minigen.errors import DTypeError
from minigen.nn.module import Module


class Sequential(Module):
    """x -> layers[-1](... layers[0](x)): modules, or any functions, one after the other"""

    def __init__(self, *layers: Callable[..., Any]):
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise DTypeError(
                    f"Sequential: layer {i} is a {type(layer).__name__}, which cannot be called: give the layers "
                    "one by one, Sequential(a, b, c), or unpack a list with *"
                )
        self.layers = list(layers)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.layers)

    def __getitem__(self, index):
        """A layer; for a slice, a Sequential of the same layers (shared, not copied)."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]


class Flatten(Module):
    """(N, ...) -> (N, product of the rest)"""

    def __call__(self, x):
        features = 1
        for n in x.shape[1:]:
            features *= n
        return ops.reshape(x, shape=(x.shape[0], features))


class Reshape(Module):
    """(N, ...) -> (N, *shape)"""

    def __init__(self, *shape: int):
        self.shape = shape

    def __call__(self, x):
        return ops.reshape(x, shape=(x.shape[0], *self.shape))  # (N, *shape)
