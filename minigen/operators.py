"""The operators and methods of a Tensor: each is one line to an op. Comparisons give raw masks."""

import math
import operator
from typing import Any

import numpy as np

from minigen import ops
from minigen.autograd import Node, constant
from minigen.backend import describe, from_host, is_array, xp
from minigen.errors import DTypeError, ShapeError
from minigen.ops.elementwise import broadcast_hint


class Operators(Node):
    """What can be computed from a tensor. An op is a plain function, so it serves as a method."""

    __slots__ = ()
    __hash__ = object.__hash__  # lost otherwise where __eq__ is defined

    __add__ = ops.add

    def __radd__(self, other):
        return ops.add(other, self)

    __sub__ = ops.sub

    def __rsub__(self, other):
        return ops.sub(other, self)

    __mul__ = ops.mul

    def __rmul__(self, other):
        return ops.mul(other, self)

    __truediv__ = ops.div

    def __rtruediv__(self, other):
        return ops.div(other, self)

    __pow__ = ops.power

    def __rpow__(self, other):
        return ops.power(other, self)

    __matmul__ = ops.matmul

    def __rmatmul__(self, other):
        return ops.matmul(other, self)

    def __neg__(self):
        return ops.neg(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return ops.abs(self)

    def __getitem__(self, index):
        return ops.take(self, index=_plain(index))

    def __lt__(self, other):
        return compare(operator.lt, "<", self, other)

    def __le__(self, other):
        return compare(operator.le, "<=", self, other)

    def __gt__(self, other):
        return compare(operator.gt, ">", self, other)

    def __ge__(self, other):
        return compare(operator.ge, ">=", self, other)

    def __eq__(self, other):
        return compare(operator.eq, "==", self, other)

    def __ne__(self, other):
        return compare(operator.ne, "!=", self, other)

    # Methods, as NumPy names them

    @property
    def T(self):
        return ops.transpose(self)

    @property
    def mT(self):
        return ops.mT(self)

    def reshape(self, *shape):
        return ops.reshape(self, shape=_shape(shape))

    def flatten(self, start: int = 0):
        """(a, b, c) -> (a * b * c,); the axes before `start` stay"""
        shape = self._data.shape
        return ops.reshape(self, shape=(*shape[:start], math.prod(shape[start:])))

    def transpose(self, *axes):
        return ops.transpose(self, axes=_shape(axes) if axes else None)

    def swapaxes(self, a, b):
        return ops.swapaxes(self, a=a, b=b)

    def squeeze(self, axis=None):
        return ops.squeeze(self, axis=axis)

    def astype(self, dtype):
        """The same numbers in another float dtype (recorded), or in an integer dtype (cut from the graph)."""
        if xp.dtype(dtype).kind != "f" or not self.requires_grad:
            return constant(self._data.astype(dtype))
        return ops.astype(self, dtype=dtype)

    def sum(self, axis=None, keepdims=False):
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis=None, keepdims=False, ddof=0):
        return ops.var(self, axis, keepdims, ddof)

    def std(self, axis=None, keepdims=False, ddof=0):
        return ops.std(self, axis, keepdims, ddof)

    def max(self, axis=None, keepdims=False):
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis=None, keepdims=False):
        return ops.min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis=None, keepdims=False):
        return ops.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis):
        return ops.cumsum(self, axis=axis)

    def argmax(self, axis=None):
        """A raw array of indices: no gradient passes."""
        return self._data.argmax(axis=axis)

    def argmin(self, axis=None):
        """A raw array of indices: no gradient passes."""
        return self._data.argmin(axis=axis)

    def clip(self, low=None, high=None):
        return ops.clip(self, low=low, high=high)

    def exp(self):
        return ops.exp(self)

    def log(self):
        return ops.log(self)

    def sqrt(self):
        return ops.sqrt(self)

    def tanh(self):
        return ops.tanh(self)

    def sigmoid(self):
        return ops.sigmoid(self)

    def relu(self):
        return ops.relu(self)


def compare(how: Any, sign: str, a: Any, b: Any) -> Any:
    """(...), (...) -> (...): a raw mask"""
    a, b = getattr(a, "_data", a), getattr(b, "_data", b)
    try:
        return how(a, b)
    except ValueError as error:
        raise ShapeError(f"{describe(a)} {sign} {describe(b)}: {broadcast_hint(a, b) or error}") from error
    except TypeError as error:
        raise DTypeError(f"{describe(a)} {sign} {describe(b)}: these cannot be compared") from error


def _plain(index: Any) -> Any:
    """An index of the active backend, and of the operation alone: whoever made it may go on to change it."""
    if isinstance(index, tuple):
        return tuple(_plain(part) for part in index)
    if isinstance(index, list | np.ndarray):
        return from_host(
            np.array(index, dtype=None if np.size(index) or not isinstance(index, list) else int)
        )
    if isinstance(index, Node):
        index = index._data
    return index.copy() if is_array(index) else index


def _shape(sizes: tuple) -> tuple:
    """reshape(2, 3) and reshape((2, 3)) mean the same"""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else tuple(sizes)
