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

    __slots__ = (
        "__weakref__", "_data", "_print", "_stamp", "grad", "how", "inputs", "maker", "name", "requires_grad", "seq",
    )  # fmt: skip

    _data: Array
    grad: Any
    name: str | None
    # The recipe: the op that made the node (None: a leaf; SPENT: its backward pass is over), what it was made of, and
    # how: the rule, or (rule, kwargs, raw arrays, what the rule is given as y, whether an argument was handed out)
    maker: Any
    inputs: Any
    how: Any
    requires_grad: bool
    seq: int  # when it was made, on the clock
    _stamp: int  # when its data was last changed, on the same clock; 0: never
    _print: (
        int | None
    )  # fingerprint of data that was handed out and may be written to; None: never handed out


SPENT: Any = "spent"  # the maker of a node whose backward pass is over
NOT_FLOAT = (
    -1
)  # in place of a fingerprint: never handed out, but the hot path must leave the node to the general way


class _History:
    last = 0  # when any data was last changed or handed out: a node made later needs no look


history = _History()


def touch(node: Node) -> None:
    """Announce that the data of `node` is changed in place: a pending backward that needs the old values refuses."""
    history.last = node._stamp = clock()
    if node._print is not None and node._print != NOT_FLOAT:
        node._print = fingerprint(node._data)


def hand_out(node: Node) -> Array:
    """The array of `node`, for someone who may write to it; and so to the tensors that it is a view of."""
    if node._print is not None and node._print != NOT_FLOAT:
        look_again(node)
    else:
        if node.maker is SPENT and getattr(node._data, "base", None) is not None:
            node._data = node._data.copy()  # nobody knows any more whose view it is
        node._print = fingerprint(node._data)
    history.last = clock()
    for a in _sources(node):
        if a._print is None or a._print == NOT_FLOAT:
            hand_out(a)
    return node._data


def _sources(node: Node) -> list[Node]:
    """The tensors that `node` is a view of."""
    if getattr(node._data, "base", None) is None or not node.inputs:
        return []
    return [a for a in node.inputs if isinstance(a, Node) and _root(a._data) is _root(node._data)]


def look_again(node: Node) -> bool:
    """Stamp the node if the array that was handed out has been written to since the last look; whether it was one."""
    if node._print == NOT_FLOAT:
        return False
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
    return max([node._stamp, *map(_last_change, _sources(node))])


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
    call = node.maker
    values: Sequence = (node, *node.inputs)
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
