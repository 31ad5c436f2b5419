"""A third array backend, for tests: NumPy inside, and outside as unforgiving as CuPy on a machine without a GPU.

    with using(STRICT):                       # minigen.backend.using
        y = ops.exp(Tensor([1.0, 2.0]))       # computes, on an array that is not an ndarray

It refuses (`Refused`, which no `except TypeError` swallows) what CuPy refuses or lacks: implicit conversion to NumPy,
host arrays and Python lists among the operands, functions, methods and keywords that CuPy does not have, object and
string dtypes. What CuPy has and lacks was read off the package (cupy_introspection.py); of its documentation's
"Differences between CuPy and NumPy" these concern minigen: casts of floats that the integers do not have, and repeated
places in an assignment, are refused (undefined on a device); an integer index out of range WRAPS in silence, so that a
test notices where minigen forgot to look; reductions give 0-d arrays; elementwise functions take arrays and numbers
only; a new array has a layout of its own. (Not here: random numbers and complex NaN, which minigen asks no device for.)
Whatever would make the host wait for the device is written down: `with watching() as events`.
"""

import contextlib
import operator
from collections.abc import Iterator
from types import SimpleNamespace

import cupy_api as api
import numpy as np

from minigen.backend import Backend

_log: list[str] = []


class Refused(AssertionError):
    """CuPy would have refused this, or done something else than NumPy."""


@contextlib.contextmanager
def watching() -> Iterator[list[str]]:
    """What crosses between host and device inside the block: 'wait: float()', 'upload', 'download', in order."""
    events: list[str] = []
    start = len(_log)
    try:
        yield events
    finally:
        events.extend(_log[start:])


def wait(what: str) -> None:
    """Note that the host had to wait for the device."""
    _log.append(f"wait: {what}")


class Array:
    """An array on an imaginary device. The numbers are private: ask the backend's `to_host` for them."""

    __slots__ = ("__weakref__", "_host")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray):
        if host.dtype.kind not in "biufc" or host.dtype.char in "gG":
            raise Refused(f"a device array cannot hold dtype {host.dtype}")
        self._host = host

    def __getitem__(self, index):
        index, arrays = _index(index, self.shape)
        if not arrays and not any(part is Ellipsis for part in index):
            index = (*index, Ellipsis)  # a view even of one element, never a NumPy scalar
        return _wrap(self._host[index])

    def __setitem__(self, index, value):
        index, arrays = _index(index, self.shape)
        if arrays and isinstance(value, Array) and value.size > 1:
            _refuse_repeats(self.shape, index)
        self._host[index] = _operand("assignment", value)

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # The host waits.

    def __bool__(self):
        wait("bool()")
        return bool(self._host)

    def __float__(self):
        wait("float()")
        return float(self._host.item())

    def __int__(self):
        wait("int()")
        return int(self._host.item())

    def item(self):
        wait("item()")
        return self._host.item()

    def tolist(self):
        wait("tolist()")
        return self._host.tolist()

    def tobytes(self):
        wait("tobytes()")
        return self._host.tobytes()

    def get(self):
        _log.append("download")
        return self._host.copy()

    def __repr__(self):
        return f"strict.{self._host!r}"

    # NumPy finds it, and is turned away.

    def __array__(self, *_, **__):
        raise Refused("implicit conversion of a device array to a NumPy array: use to_host")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or ufunc.__name__ not in api.UFUNCS:
            raise Refused(f"np.{ufunc.__name__}.{method} of a device array")
        return getattr(module, ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        raise Refused(f"np.{function.__name__} of a device array: write xp.{function.__name__}")

    def __copy__(self):
        return _wrap(self._host.copy())

    def __deepcopy__(self, memo):
        return _wrap(self._host.copy())

    @property
    def flags(self):
        flags = self._host.flags  # CuPy has these three
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata
        )

    @property
    def base(self):
        return None if self._host.base is None else _wrap(np.asarray(self._host.base))


def _wrap(result):
    """What NumPy returned, as CuPy would have returned it: arrays, even of no axes; tuples and lists of them."""
    if isinstance(result, np.ndarray | np.generic):
        return Array(np.asarray(result))
    if isinstance(result, bool):  # array_equal, allclose
        return Array(np.asarray(result))
    if isinstance(result, tuple | list):
        return (
            type(result)(map(_wrap, result)) if type(result) in (tuple, list) else tuple(map(_wrap, result))
        )
    return result


def _laid_out(result):
    """In rows: which layout a new array has is CuPy's choice, and need not be NumPy's."""
    if isinstance(result, Array) and result._host.base is None and not result._host.flags.c_contiguous:
        return Array(np.ascontiguousarray(result._host))
    return result


def _operand(name: str, value):
    """An operand of an elementwise function: an array or a number."""
    if isinstance(value, Array):
        return value._host
    if isinstance(value, bool | int | float | complex | np.number | np.bool):
        return value
    kind = "host array" if isinstance(value, np.ndarray) else type(value).__name__
    raise Refused(f"{name}: a {kind} among the operands; device arrays and numbers only")


def _other(name: str, value):
    """An argument that is no operand: an axis, a shape, a dtype. Device arrays are unwrapped, host arrays refused."""
    if isinstance(value, Array):
        return value._host
    if isinstance(value, np.ndarray):
        raise Refused(f"{name}: a host array among the arguments; move it with from_host")
    if isinstance(value, list | tuple):
        if any(isinstance(v, float) for v in value):
            raise Refused(f"{name}: a Python {type(value).__name__} of numbers is no array on a device")
        return type(value)(_other(name, v) for v in value)
    return value


def _keywords(name: str, kwargs: dict) -> dict:
    known = api.keywords(name)
    lacking = kwargs.keys() & api.NOWHERE if known is None else kwargs.keys() - known
    if lacking:
        raise Refused(f"{name}: CuPy has no keyword {', '.join(sorted(lacking))}")
    return {
        k: _operand(name, v) if k == "out" and v is not None else _other(name, v) for k, v in kwargs.items()
    }


def _finish(name: str, function, args, kwargs):
    if name in api.WAITING or (name == "where" and len(args) == 1):
        wait(name)
    with np.errstate(all="ignore"):  # a device knows no floating-point warnings
        result = function(*args, **kwargs)
    out = kwargs.get("out")
    return Array(out) if isinstance(out, np.ndarray) else _wrap(result)


def _elementwise(name: str):
    function = getattr(np, name)

    def call(*args, **kwargs):
        operands = [_operand(name, a) for a in args]
        return _laid_out(_finish(name, function, operands, _keywords(name, kwargs)))

    for method in ("at", "reduce", "accumulate", "reduceat", "outer"):
        setattr(call, method, _ufunc_method(name, method))
    call.__name__ = name
    return call


def _ufunc_method(name: str, method: str):
    def call(array, *args, **kwargs):
        if name not in api.UFUNC_METHODS[method]:
            raise Refused(f"{name}.{method}: CuPy has none")
        host = _array(f"{name}.{method}", array)
        if method != "at":
            rest = [_other(name, a) for a in args]
            return _finish(name, getattr(getattr(np, name), method), (host, *rest), _keywords(name, kwargs))
        if host.dtype.name not in api.AT_DTYPES:
            raise Refused(f"{name}.at: no atomic operation for {host.dtype}")
        index, _ = _index(args[0], host.shape)
        return getattr(np, name).at(host, index, *(_operand(name, b) for b in args[1:]))

    return call


def _array(name: str, value) -> np.ndarray:
    if not isinstance(value, Array):
        raise Refused(f"{name}: wants a device array first, got {type(value).__name__}")
    return value._host


def _of_an_array(name: str, function, place: str = ""):
    if name in ("take", "take_along_axis"):
        function = _wrapping(function)

    def call(array, *args, **kwargs):
        rest = [_other(name, a) for a in args]
        host, kwargs = _array(name, array), _keywords(place + name, kwargs)
        if name == "astype":
            _refuse_undefined_cast(host, kwargs.get("dtype", rest[0] if rest else None))
        return _finish(name, function, (host, *rest), kwargs)

    call.__name__ = name
    return call


def _wrapping(function):
    """np.take, np.take_along_axis: places outside wrap around, where NumPy's own raise"""

    def call(array, indices, axis=None, **kwargs):
        size = array.size if axis is None else array.shape[axis]
        return function(array, np.asarray(indices) % max(1, size), axis, **kwargs)

    return call


def _refuse_undefined_cast(host: np.ndarray, dtype) -> None:
    """Floats that the integers do not have: the result depends on the machine, and differs on a device."""
    target = np.dtype(dtype)
    if host.dtype.kind != "f" or target.kind not in "iu" or not host.size:
        return
    info, values = np.iinfo(target), np.trunc(host)
    if not (
        np.isfinite(values).all() and values.min() >= info.min and values.max() < float(int(info.max) + 1)
    ):
        raise Refused(f"astype: {host.dtype} values that {target} does not have: undefined on a device")


def _joining(name: str):
    function = getattr(np, name)

    def call(*args, **kwargs):
        def unwrap(a):
            if isinstance(a, list | tuple):
                return [_array(name, part) for part in a]
            return a if isinstance(a, str | int) else _array(name, a)

        return _finish(name, function, [unwrap(a) for a in args], _keywords(name, kwargs))

    call.__name__ = name
    return call


def _creation(name: str):
    function = getattr(np, name)

    def call(*args, **kwargs):
        if any(isinstance(a, np.ndarray | list) for a in args[:1]):
            _log.append("upload")
        args = [a._host if isinstance(a, Array) else a for a in args]
        if args and isinstance(args[0], list | tuple) and _holds_arrays(args[0]):
            raise Refused(f"{name}: a list of device arrays; use stack")
        return _finish(name, function, args, _keywords(name, kwargs))

    call.__name__ = name
    return call


def _holds_arrays(value) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_arrays, value))
    return isinstance(value, Array)


# Indices


def _index(index, shape: tuple[int, ...]) -> tuple[tuple, bool]:
    """An index as NumPy wants it, and whether arrays are in it. Integers in arrays wrap around, as on a device."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if isinstance(part, np.ndarray | list):
            kind = "host array" if isinstance(part, np.ndarray) else "Python list"
            raise Refused(f"a {kind} as an index is a hidden upload: move it with from_host")
    used = sum(_axes_of(part) for part in parts)
    axis, converted = 0, []
    for part in parts:
        if part is Ellipsis:
            axis += len(shape) - used
        if isinstance(part, Array):
            if part.dtype.kind == "b":
                wait("boolean index")
            elif part.dtype.kind in "iu" and axis < len(shape) and shape[axis]:
                part = Array(part._host % shape[axis])
            converted.append(part._host)
        else:
            converted.append(part)
        axis += _axes_of(part)
    return tuple(converted), any(isinstance(part, Array) for part in parts)


def _axes_of(part) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, Array) and part.dtype.kind == "b" else 1


def _refuse_repeats(shape: tuple[int, ...], index: tuple) -> None:
    places = np.arange(int(np.prod(shape))).reshape(shape)[index].reshape(-1)
    if len(np.unique(places)) < len(places):
        raise Refused("an assignment names a place twice: which value stays is undefined on a device")


# Operators and methods of the array


def _operator(name: str, function, reflected=False):
    def call(self, other):
        if not isinstance(other, Array) and hasattr(type(other), "requires_grad"):
            return NotImplemented  # a Tensor: its turn
        a, b = self._host, _operand(name, other)
        with np.errstate(all="ignore"):
            return _laid_out(_wrap(function(b, a) if reflected else function(a, b)))

    return call


def _in_place(name: str, function):
    def call(self, other):
        with np.errstate(all="ignore"):
            function(self._host, _operand(name, other))
        return self

    return call


def _unary(function):
    return lambda self: _laid_out(_wrap(function(self._host)))


def _dress() -> None:
    """Give `Array` the operators, methods and attributes that CuPy's array has."""
    for name in [
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
    ]:
        function = getattr(operator, f"__{name}__")
        setattr(Array, f"__{name}__", _operator(name, function))
        setattr(Array, f"__r{name}__", _operator(name, function, reflected=True))
        if name != "matmul":  # CuPy has no in-place product
            setattr(Array, f"__i{name}__", _in_place(name, getattr(operator, f"__i{name}__")))
    for name in ["lt", "le", "gt", "ge", "eq", "ne"]:
        setattr(Array, f"__{name}__", _operator(name, getattr(operator, name)))
    for name in ["neg", "pos", "abs", "invert"]:
        setattr(Array, f"__{name}__", _unary(getattr(operator, name)))
    for name in api.METHODS:
        setattr(Array, name, _of_an_array(name, getattr(np.ndarray, name), "ndarray."))
    for name in api.ATTRIBUTES:
        setattr(Array, name, property(lambda self, name=name: _attribute(self, name)))


def _attribute(array: Array, name: str):
    value = getattr(array._host, name)
    return Array(value) if isinstance(value, np.ndarray) else value


class Module:
    """The module `xp` points at: the whitelist of cupy_api, and nothing else."""

    ndarray = Array

    def __init__(self) -> None:
        self.__dict__.update({name: _elementwise(name) for name in api.UFUNCS})
        self.__dict__.update({name: _creation(name) for name in api.CREATION})
        self.__dict__.update({name: _joining(name) for name in api.JOINING})
        self.__dict__.update({name: _of_an_array(name, getattr(np, name)) for name in api.FUNCTIONS})
        self.__dict__.update({name: getattr(np, name) for name in api.HOST})
        self.shape, self.ndim, self.size = (lambda a: a.shape), (lambda a: a.ndim), (lambda a: a.size)
        self.result_type = lambda *of: np.result_type(*(getattr(a, "dtype", a) for a in of))
        linalg = {name: _of_an_array(name, getattr(np.linalg, name), "linalg.") for name in api.LINALG}
        place = "lib.stride_tricks."
        tricks = {n: _of_an_array(n, getattr(np.lib.stride_tricks, n), place) for n in api.STRIDE_TRICKS}
        self.linalg = SimpleNamespace(**linalg)
        self.lib = SimpleNamespace(stride_tricks=SimpleNamespace(**tricks))

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        raise Refused(f"xp.{name}: CuPy has no such function, or minigen may not use it (tests/cupy_api.py)")


def _to_host(array):
    if isinstance(array, Array):
        return array.get()
    if isinstance(array, np.ndarray | np.generic | int | float | bool | list):
        return np.asarray(array)
    raise Refused(f"to_host of a {type(array).__name__}")


def _from_host(value):
    if isinstance(value, Array):
        return value
    if _holds_arrays(value):
        raise Refused("from_host of a list of device arrays")
    _log.append("upload")
    return Array(np.array(value))


_dress()
module = Module()
STRICT = Backend("strict", module, _to_host, _from_host)
