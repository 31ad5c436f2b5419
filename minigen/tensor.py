"""Tensor: an array that remembers how it was made."""

from typing import Any

import numpy as np

from minigen import autograd, ops
from minigen.autograd import Node, register_node_type
from minigen.backend import Array, from_host, is_array, to_host
from minigen.errors import DTypeError, GraphError
from minigen.node import NOT_FLOAT, SPENT, clock, hand_out
from minigen.operators import Operators, compare

_UFUNCS = {
    "add": ops.add, "subtract": ops.sub, "multiply": ops.mul, "divide": ops.div, "power": ops.power,
    "matmul": ops.matmul, "negative": ops.neg, "exp": ops.exp, "expm1": ops.expm1, "log": ops.log,
    "log1p": ops.log1p, "sqrt": ops.sqrt, "square": ops.square, "absolute": ops.abs, "sign": ops.sign,
    "sin": ops.sin, "cos": ops.cos, "tanh": ops.tanh, "maximum": ops.maximum, "minimum": ops.minimum,
}  # fmt: skip
_COMPARISONS = {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip


@register_node_type
class Tensor(Operators):
    """An array of the active backend, with gradients.

    data: a number or list (these become float32), or an array (copied; floats keep their dtype, integers stay).
    requires_grad: record what is computed from this tensor, so that `backward` and `grad` reach it. Floats only.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None):
        self._data = as_array(data, dtype, copy=True)
        self._stamp, self.seq = 0, clock()
        self.grad = self.maker = self.how = None
        self.inputs = ()
        self._print = None if self._data.dtype.kind == "f" else NOT_FLOAT
        self.name, self.requires_grad = name, False
        if requires_grad:
            self.require_grad()

    # What it is

    @property
    def data(self) -> Array:
        """The array itself. Writing to it is noticed by a backward pass that still needs the old values."""
        return hand_out(self)

    @data.setter
    def data(self, value: Any) -> None:
        if value is not self._data:  # `t.data -= 1` changes the array and then assigns it
            self._data = as_array(value, self._data.dtype, copy=True)
        autograd.touch(self)

    def require_grad(self, flag: bool = True) -> "Tensor":
        """Ask for gradients (or no longer), in place; returns the tensor. Floating-point leaves only."""
        if flag and self._data.dtype.kind != "f":
            raise DTypeError(
                f"a tensor of dtype {self._data.dtype} cannot require gradients: only floating-point numbers have "
                "them; convert it with .astype('float32')"
            )
        if not flag and self.maker is not None:
            raise GraphError(
                "this tensor is the result of an operation: cut it from the graph with .detach()"
            )
        self.requires_grad = flag
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> Any:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def op(self) -> Any:
        """The op that made this tensor; None for a leaf, and once the backward pass has used it."""
        return None if self.maker is SPENT else self.maker

    @property
    def args(self) -> tuple:
        return self.inputs

    @property
    def kwargs(self) -> dict:
        return self.how[1] if isinstance(self.how, tuple) else {}

    @property
    def recipe(self) -> Any:
        """(op, args, kwargs) that made this tensor; None for a leaf, ("spent", (), {}) once it is used."""
        return None if self.maker is None else (self.maker, self.args, self.kwargs)

    def numpy(self) -> np.ndarray:
        """A copy on the host."""
        return np.array(to_host(self._data))

    def item(self) -> float:
        """The only element, as a Python number."""
        return self._single("item")

    def detach(self) -> "Tensor":
        """A copy of the numbers, cut from the graph."""
        return Tensor(self._data)

    def backward(
        self, seed: Any = None, *, create_graph: bool = False, retain_graph: bool | None = None
    ) -> None:
        """Add the gradient of this scalar (or, with `seed`, of any tensor) to `.grad` of every leaf behind it."""
        autograd.backward(self, seed, create_graph=create_graph, retain_graph=retain_graph)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def __repr__(self) -> str:
        body = np.array2string(
            np.asarray(to_host(self._data)), separator=", ", prefix="Tensor(", threshold=100
        )
        if self.size > 100 or not self.size:  # numbers are left out, or there are none
            body += f", {self.shape}"
        name = f", name={self.name!r}" if self.name else ""
        made = f", op={self.op.name}" if self.op else (", requires_grad=True" if self.requires_grad else "")
        return f"Tensor({body}, {self._data.dtype}{name}{made})"

    def __format__(self, spec: str) -> str:
        """f"{loss:.3f}" formats the number of a tensor of one element."""
        return format(self.item(), spec) if spec and self._data.size == 1 else format(str(self), spec)

    # As Python and NumPy see it

    def __len__(self) -> int:
        if not self._data.ndim:
            raise DTypeError("a scalar Tensor has no length")
        return self._data.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self._single("float"))

    def __int__(self) -> int:
        return int(self._single("int"))

    def __bool__(self) -> bool:
        return bool(self._single("bool"))

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            raise DTypeError(f"a Tensor of dtype {self._data.dtype} is no index: only integers are")
        return int(self._single("index"))

    def _single(self, what: str) -> Any:
        if self._data.size != 1:
            raise DTypeError(
                f"{what}() of a Tensor of shape {self.shape} is ambiguous: it needs exactly one element; "
                "reduce it first (.sum(), .mean(), (t > 0).all())"
            )
        return self._data.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise DTypeError(
                "turning a Tensor that requires gradients into an array would lose its graph: use minigen.ops, or say "
                "so with .detach().numpy()"
            )
        return np.array(to_host(self._data), dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """np.exp(t) and array * t become minigen ops; what has no op is refused rather than done without a graph."""
        if method == "__call__" and not kwargs:
            if ufunc.__name__ in _UFUNCS:
                return _UFUNCS[ufunc.__name__](*inputs)
            if ufunc.__name__ in _COMPARISONS:
                return compare(ufunc, _COMPARISONS[ufunc.__name__], *inputs)
        raise DTypeError(
            f"np.{ufunc.__name__} cannot be recorded on a Tensor: use an operation of minigen.ops, or leave the graph "
            "with .detach().numpy()"
        )

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        hint = (
            f"minigen.ops.{function.__name__}"
            if hasattr(ops, function.__name__)
            else "an operation of minigen.ops"
        )
        raise DTypeError(
            f"np.{function.__name__} would lose the graph of a Tensor: use {hint}, or leave the graph with "
            ".detach().numpy()"
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphError(
            "a Tensor cannot be assigned into (its gradient would be wrong): build it with ops.where, ops.put or "
            "ops.concatenate, or write to .data of a leaf"
        )

    def __deepcopy__(self, memo: dict) -> "Tensor":
        if self.maker is not None:
            raise GraphError("only leaves of the graph can be copied: detach() first")
        t = Tensor(self._data.copy(), self.requires_grad, name=self.name)
        memo[id(self)] = t
        return t

    def __reduce__(self):
        raise DTypeError("Tensors are not pickled: keep .numpy() with minigen.checkpoint")


def as_array(data: Any, dtype: Any = None, copy: bool = False) -> Array:
    """Anything numeric -> an array of the active backend. Numbers and lists of floats become float32.

    copy: never the caller's own memory, which the caller may go on to change.
    """
    if isinstance(data, Node):
        data = data._data
    array = data if is_array(data) else _from_python(data)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"a Tensor holds numbers, got dtype {array.dtype}: convert the data first")
    if dtype is not None and array.dtype != dtype:
        return array.astype(dtype)
    return array.copy() if copy and (array is data or isinstance(data, np.ndarray)) else array


def _from_python(data: Any) -> Array:
    given = isinstance(data, np.ndarray | np.generic)
    try:
        host = np.asarray(data)
    except ValueError as error:
        raise DTypeError(
            f"cannot make a Tensor of a {type(data).__name__}: {str(error).splitlines()[0]}"
        ) from error
    if host.dtype.kind == "f" and not given:
        host = host.astype(np.float32)
    return from_host(host) if host.dtype.kind in "fiub" else host
