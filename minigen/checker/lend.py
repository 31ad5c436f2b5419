"""float64 copies lent to the tensors of a model for the length of a check, and everything put back afterwards."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minigen.backend import is_array
from minigen.tensor import Tensor

_KEPT = ("_data", "_stamp", "_print", "grad", "requires_grad", "name")  # all that a Tensor is, but its recipe


@contextlib.contextmanager
def lent(*owners: Any) -> Iterator[None]:
    """Inside, every float tensor held by `owners` (Modules, Tensors, containers of them) is float64.

    Afterwards, exception or not, the same arrays with the same numbers are back, and so are gradients, flags, buffers,
    attributes and the state of random generators: a training step of a batch norm leaves no trace.
    """
    restore: list[tuple[Any, Any, Any]] = []
    for part in _parts(owners, set()):
        if isinstance(part, Tensor):
            restore.append((part, {slot: getattr(part, slot) for slot in _KEPT}, None))
        elif isinstance(part, np.random.Generator):
            restore.append((part, part.bit_generator.state, None))
        elif is_array(part):
            restore.append((part, None, part.copy()))
        else:
            restore.append((part, dict(vars(part)), None))
    try:
        for part, state, _ in restore:
            if isinstance(part, Tensor) and state["_data"].dtype.kind == "f":
                part._data, part._print = part._data.astype("float64"), None  # a copy, even of float64
            elif isinstance(part, Tensor):
                part._data = part._data.copy()
        yield
    finally:
        for part, state, content in restore:
            _put_back(part, state, content)


def _put_back(part: Any, state: Any, content: Any) -> None:
    if isinstance(part, Tensor):
        for slot, value in state.items():
            setattr(part, slot, value)
    elif isinstance(part, np.random.Generator):
        part.bit_generator.state = state
    elif is_array(part):
        part[...] = content
    else:
        vars(part).clear()
        vars(part).update(state)


def _parts(values: Iterable[Any], seen: set[int]) -> Iterator[Any]:
    """Every tensor, array, generator and module within `values`, each once."""
    for value in values:
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor | np.random.Generator) or is_array(value):
            yield value
        elif isinstance(value, dict):
            yield from _parts(list(value.values()), seen)
        elif isinstance(value, list | tuple):
            yield from _parts(value, seen)
        elif is_module(value):
            yield value
            yield from _parts(list(vars(value).values()), seen)


def is_module(value: Any) -> bool:
    """Whether `value` is an instance with named parameters: a Module, or something shaped like one."""
    return hasattr(value, "named_parameters") and hasattr(value, "__dict__") and not isinstance(value, type)


def parameters_of(owner: Any) -> dict[str, Tensor]:
    """Name -> tensor: of a Module, of a dict of tensors, of one tensor or a list of them."""
    if owner is None:
        return {}
    if is_module(owner):
        return dict(owner.named_parameters())
    if isinstance(owner, dict):
        found = {}
        for name, value in owner.items():
            inner = {"": value} if isinstance(value, Tensor) else parameters_of(value)
            found.update({f"{name}.{key}" if key else str(name): t for key, t in inner.items()})
        return found
    tensors = [owner] if isinstance(owner, Tensor) else list(owner)
    return {t.name or f"parameter {i}": t for i, t in enumerate(tensors)}
