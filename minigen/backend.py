"""The active array library, behind one name: `xp`. The only file that knows CuPy exists.

`xp` forwards to NumPy or CuPy and caches what it forwarded, so that after the first use an attribute costs a
dictionary look-up. Host and device meet in `to_host` and `from_host`, and nowhere else.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minigen.errors import BackendError

Array = Any  # an array of the active backend


@dataclass(frozen=True)
class Backend:
    """An array library and the few things in which libraries truly differ."""

    name: str
    module: Any
    to_host: Callable[[Array], np.ndarray]
    from_host: Callable[[Any], Array]


class Namespace:
    """The active array module; attributes are cached on first use and dropped when the backend changes."""

    def __init__(self, backend: Backend):
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._backend.module, name)
        self.__dict__[name] = value
        return value


NUMPY = Backend("numpy", np, np.asarray, np.asarray)
xp: Any = Namespace(NUMPY)
BACKENDS = ("numpy", "cupy")


def active() -> Backend:
    """The backend in use."""
    return xp._backend


def use(backend: str | Backend) -> Backend:
    """Switch every later operation to `backend`: "numpy" or "cupy" (or a `Backend` of your own, as tests do).

    Tensors made before the switch stay where they are. Raises BackendError for an unknown name, and when CuPy is
    missing or no device computes.
    """
    if isinstance(backend, str):
        if backend not in BACKENDS:
            raise BackendError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
        backend = NUMPY if backend == "numpy" else _cupy()
    if not isinstance(backend, Backend):
        raise BackendError(
            f"a backend is a name ({', '.join(BACKENDS)}) or a Backend, got a {type(backend).__name__}"
        )
    xp.__dict__.clear()
    xp.__dict__["_backend"] = backend
    return backend


@contextlib.contextmanager
def using(backend: str | Backend):
    """`use`, for the length of a with-block."""
    before = active()
    try:
        yield use(backend)
    finally:
        use(before)


def to_host(array: Array) -> np.ndarray:
    """An array of the active backend -> a NumPy array (on NumPy: the same object, no copy)."""
    return active().to_host(array)


def from_host(array: Any) -> Array:
    """A NumPy array (or number, or list) -> an array of the active backend (on NumPy: no copy)."""
    return active().from_host(array)


def is_available(name: str) -> bool:
    """Whether `use(name)` would work here and now."""
    try:
        with using(name):
            return True
    except BackendError:
        return False


def _cupy() -> Backend:
    """CuPy, once a device has computed 1 + 1 for us; else BackendError with the one sentence that helps."""
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            "backend 'cupy' needs CuPy, which is not installed: "
            "pip install 'minigen[cuda12]' (or cuda13), or use --backend numpy"
        ) from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
        works = devices > 0 and int(cupy.ones(2, "int32").sum()) == 2
    except Exception as error:
        raise BackendError(
            f"backend 'cupy' found no working CUDA device ({_why_not(cupy, error)}): check the driver with nvidia-smi, "
            "or use --backend numpy"
        ) from error
    if not works:
        raise BackendError(
            "backend 'cupy' found no working CUDA device: check the driver with nvidia-smi, or use --backend numpy"
        )
    return Backend("cupy", cupy, cupy.asnumpy, cupy.asarray)


def _why_not(cupy: Any, error: Exception) -> str:
    """In plain words, where the driver's version says it; else the first line of what CuPy says"""
    with contextlib.suppress(Exception):
        driver, needed = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
        if driver == 0:
            return "this machine has no NVIDIA driver"
        if driver // 1000 < needed // 1000:
            return f"its driver knows CUDA {cuda_version(driver)}, this CuPy is made for CUDA {cuda_version(needed)}"
    return (str(error).splitlines() or [type(error).__name__])[0]


def cuda_version(number: int) -> str:
    """12090, as CUDA counts -> '12.9'"""
    return f"{number // 1000}.{number % 1000 // 10}"


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory instead of handing it back and faulting it in again every step.

    A training step allocates, writes and frees the same activations over and over; with glibc's defaults each round
    pays a page fault per 4 kB. MINIGEN_MALLOC=0 leaves the allocator alone; other C libraries are not touched.
    """
    if os.environ.get("MINIGEN_MALLOC") == "0" or not sys.platform.startswith("linux"):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3  # <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (glibc only: musl has no such symbol)
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def is_array(value: Any) -> bool:
    """Whether `value` is an array of the active backend."""
    return isinstance(value, xp.ndarray)


def describe(value: Any) -> str:
    """'(3, 4) float32' for an array, the value itself for a number: how error messages speak of operands."""
    shape = getattr(value, "shape", None)
    if shape is None or isinstance(value, ModuleType):
        return repr(value) if isinstance(value, bool | int | float | str) else type(value).__name__
    return f"{tuple(shape)} {value.dtype}"


_keep_freed_memory()


def overflow_to_infinity() -> Any:
    """Inside, a result too large for its dtype is an infinity that NumPy does not warn of (a device never does)."""
    return np.errstate(over="ignore")
