"""What the installed CuPy offers of NumPy's interface, read off both packages and kept in cupy_names.json.

    python -m tests.cupy_introspection        where CuPy is installed; a device is not needed

The strict backend, and the tests of its completeness, read the file where there is no CuPy, as in CI.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

STORED = Path(__file__).with_name("cupy_names.json")


def public(of: Any) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def beside(ours: set[str], theirs: set[str]) -> dict[str, list[str]]:
    """Which of NumPy's names CuPy has, and which it lacks."""
    return {"shared": sorted(ours & theirs), "lacking": sorted(ours - theirs)}


def keywords(function: Any) -> list[str] | None:
    """The names of a function's parameters; of a compiled method, by the first line of its docstring. None: any"""
    try:
        parameters = inspect.signature(function).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return None
        return [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL and p.name != "self"]
    except (TypeError, ValueError):
        head = re.match(r"[\w.]+\(([^)]*)\)", (function.__doc__ or "").strip())
        if head is None:
            return None
        names = [part.split("=")[0].split()[-1] for part in head[1].split(",") if part.strip()]
        return [name for name in names if name != "self" and not name.startswith("*")]


def introspect() -> dict[str, Any]:
    """Everything that cupy_names.json holds."""
    import cupy

    tricks = "lib.stride_tricks"
    found: dict[str, Any] = {
        "cupy": cupy.__version__,
        "numpy": np.__version__,
        "functions": beside(public(np), public(cupy)),
        "ndarray": beside(set(dir(np.ndarray)), set(dir(cupy.ndarray))),
        "flags": beside(public(np.zeros(1).flags), public(cupy._core.flags.Flags)),
        "linalg": beside(public(np.linalg), public(cupy.linalg)),
        tricks: beside(public(np.lib.stride_tricks), public(cupy.lib.stride_tricks)),
        "ufunc": beside(public(np.ufunc), public(cupy.ufunc)),
        "ufuncs": sorted(n for n in public(cupy) & public(np) if isinstance(getattr(cupy, n), cupy.ufunc)),
    }
    found["keywords"] = {}
    places = {
        "functions": ("", cupy),
        "ndarray": ("ndarray.", cupy.ndarray),
        "linalg": ("linalg.", cupy.linalg),
    }
    places[tricks] = (f"{tricks}.", cupy.lib.stride_tricks)
    for place, (prefix, owner) in places.items():
        for name in found[place]["shared"]:
            value = getattr(owner, name)
            if callable(value) and not isinstance(value, type | cupy.ufunc) and not name.startswith("_"):
                found["keywords"][prefix + name] = keywords(value)
    return found


if __name__ == "__main__":
    STORED.write_text(
        json.dumps(introspect(), indent=None, separators=(",", ":")).replace('],"', '],\n"') + "\n"
    )
    print(STORED)
