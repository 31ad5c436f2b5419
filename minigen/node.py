"""A node of the recorded graph: what the engine sees of a Tensor, and how it notices that data was changed.

In-place damage. Announced changes (the `data` setter, optimizers) put a stamp on the tensor. An array that was handed
out through `.data` can also be written to behind our back: it is fingerprinted when it is handed out and whenever an
op reads it, and compared when the backward pass needs it.
"""

import zlib
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from minigen.backend import Array, describe, xp
from minigen.errors import GraphError

clock = count(1).__next__  # numbers every node and every change of data: who came first?


class Node:
    """The fields of a Tensor (minigen.tensor adds the arithmetic)."""

    __slots__ = ("__weakref__", "_data", "_print", "_stamp", "grad", "name", "recipe", "requires_grad", "seq")

    _data: Array
    grad: Any
    name: str | None
    # (op, args, kwargs, raw arrays (None: those of two Tensors), what the rule is given as y, whether an argument's
    # data was handed out before, rule); None for a leaf; SPENT
    recipe: Any
    requires_grad: bool
    seq: int  # when it was made, on the clock
    _stamp: int  # when its data was last changed, on the same clock; 0: never
    _print: (
        int | None
    )  # fingerprint of data that was handed out and may be written to; None: never handed out


SPENT = "spent"  # the recipe of a node whose backward pass is over


class _History:
    last = 0  # when any data was last changed or handed out: a node made later needs no look


history = _History()


def touch(node: Node) -> None:
    """Announce that the data of `node` is changed in place: a pending backward that needs the old values refuses."""
    history.last = node._stamp = clock()
    if node._print is not None:
        node._print = fingerprint(node._data)


def hand_out(node: Node) -> Array:
    """The array of `node`, for someone who may write to it; and so to the tensors that it is a view of."""
    if node._print is None:
        node._print = fingerprint(node._data)
    else:
        look_again(node)
    history.last = clock()
    if getattr(node._data, "base", None) is not None and isinstance(node.recipe, tuple):
        for a in node.recipe[1]:
            if isinstance(a, Node) and a._print is None and _root(a._data) is _root(node._data):
                hand_out(a)
    return node._data


def look_again(node: Node) -> bool:
    """Stamp the node if the array that was handed out has been written to since the last look; always True."""
    now = fingerprint(node._data)
    if now != node._print:
        node._print = now
        history.last = node._stamp = clock()
    return True


def fingerprint(data: Array) -> int:
    """A number that changes when the array does, about 3 GB/s: the CRC of its bytes.

    On another backend a sum of its words, each mixed and weighted by its place, so that nothing leaves the device.
    """
    flat = xp.ascontiguousarray(data).reshape(-1)
    if isinstance(flat, np.ndarray):
        return zlib.crc32(flat.view(np.uint8).data)
    words = flat.view("uint32" if flat.dtype.itemsize % 4 == 0 else "uint8").astype("uint64")
    words = words * (
        xp.arange(words.size, dtype="uint64") * 2 + 1
    )  # odd weights: no change is multiplied away
    return int((words ^ (words >> 17)).sum(dtype="uint64"))


def _last_change(node: Node) -> int:
    """When the data of `node` was last changed, also through a tensor that it is a view of."""
    if node._print is not None:
        look_again(node)
    last = node._stamp
    if getattr(node._data, "base", None) is not None and isinstance(node.recipe, tuple):
        for a in node.recipe[1]:
            if isinstance(a, Node) and _root(a._data) is _root(node._data):
                last = max(last, _last_change(a))
    return last


def _root(data: Array) -> Array:
    """The array that owns the memory of `data`."""
    while getattr(data, "base", None) is not None:
        data = data.base
    return data


def check_unchanged(node: Node, again: bool = False) -> None:
    """GraphError if something that the backward rule of `node` needs was changed since the forward pass.

    What a rule's thunks capture is what it needs (`op.uses`): a sum does not mind that its inputs changed. `again`: the
    forward pass of a fused op is repeated by its twin, which needs every argument.
    """
    call, args = node.recipe[:2]
    values: Sequence = (node, *args)
    for position, value in enumerate(values):
        needed = again or call.uses[min(position, len(call.uses) - 1)]
        if not needed or not isinstance(value, Node) or (position == 0 and call.fused):
            continue
        if _last_change(value) > node.seq:
            what = "output" if position == 0 else f"input {position - 1}"
            label = f" {value.name!r}" if value.name else ""
            raise GraphError(
                f"{call.name}: the data of its {what}{label} {describe(value)} was changed in place after the "
                "forward pass, but the backward pass needs the old values: change it after backward(), or work on "
                "a copy"
            )
