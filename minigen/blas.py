"""The BLAS that NumPy multiplies with, where it is an OpenBLAS: how many threads it uses, and one call NumPy lacks.

NumPy's extension module is linked with it, so a symbol looked up there is found in the library that is loaded already
(on Windows only in the library itself, which lies beside the package). With any other BLAS nothing is found, nothing is
switched, and `axpby` is written out in NumPy.
"""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigen.backend import Array, xp


def threads() -> int | None:
    """How many threads a product may use; None if nobody can say."""
    get = _symbol("openblas_get_num_threads")
    return None if get is None else int(get())


def set_threads(n: int) -> None:
    """Let products use n threads from now on, where that can be said."""
    if (switch := _symbol("openblas_set_num_threads")) is not None:
        switch(ctypes.c_int(n))


def keep_to_one_thread() -> None:
    """From now on products run on the thread that asks for them.

    Workers call this with their first job. To switch back after it costs more than it gives: OpenBLAS's threads, once
    woken by a product, spin for milliseconds on the cores that the workers need (a dense layer took 45 ms, not 24).
    """
    if threads() not in (1, None):
        set_threads(1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, products run on the thread that asks for them."""
    before = threads()
    keep_to_one_thread()
    try:
        yield
    finally:
        if before not in (1, None):
            set_threads(before)


def axpby(a: float, x: Array, b: float, y: Array, spare: Array) -> None:
    """(n,), (n,) -> None: y = a x + b y in place, in one pass through memory instead of three: half the time.

    Where BLAS cannot do it, a x is made in `spare`, which may be x.
    """
    call = _axpby(y.dtype.char) if type(x) is type(y) is np.ndarray and x.dtype == y.dtype else None
    if call is not None and x.shape == y.shape and x.strides == y.strides == (y.itemsize,):
        call(y.size, a, _address(x), 1, b, _address(y), 1)
        return
    xp.multiply(x, a, out=spare)
    y *= b
    y += spare


@functools.cache
def _axpby(kind: str) -> Callable[..., Any] | None:
    """cblas_?axpby of OpenBLAS for a dtype, by its letter"""
    letter, real = {"f": ("s", ctypes.c_float), "d": ("d", ctypes.c_double)}.get(kind, ("", None))
    for suffix, integer in (("64_", ctypes.c_int64), ("", ctypes.c_int)):
        if real and (found := _symbol(f"cblas_{letter}axpby", suffix)) is not None:
            found.argtypes = [integer, real, ctypes.c_void_p, integer, real, ctypes.c_void_p, integer]
            found.restype = None
            return found
    return None


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@functools.cache
def _symbol(name: str, suffix: str | None = None) -> Any:
    """The function of that name in OpenBLAS, under any of the prefixes and suffixes that NumPy's builds give it"""
    for library in _libraries():
        for prefix in ("scipy_", ""):
            for ending in ("64_", "") if suffix is None else (suffix,):
                with contextlib.suppress(AttributeError):
                    return getattr(library, f"{prefix}{name}{ending}")
    return None


@functools.cache
def _libraries() -> list[Any]:
    places = [Path(sys.modules["numpy._core._multiarray_umath"].__file__ or "")]
    if os.name == "nt":
        places = sorted(Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*.dll"))
    found = []
    for place in places:
        with contextlib.suppress(OSError):
            found.append(ctypes.CDLL(str(place)))
    return found
