"""What the engine does off the hot path: constants that must not widen float32, errors in the reader's terms, and
the search for the first NaN."""

import contextlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minigen.backend import Array, active, describe, is_array, xp
from minigen.errors import DTypeError, GraphError, MinigenError, ShapeError
from minigen.node import Node, fingerprint


def fit_constants(call, args: tuple, raw: Sequence, keep: bool) -> list:
    """Constants, and Tensors of integers, take the float dtype of the Tensors: neither must widen float32.

    keep: a backward pass may come, so the caller's arrays are copied: they may be changed until then.
    """
    dtype = next((a._data.dtype for a in args if isinstance(a, Node) and a._data.dtype.kind == "f"), None)
    if dtype is None:
        return list(raw)
    fitted = [_fitted(call, a, r, dtype) for a, r in zip(args, raw, strict=True)]
    return [f.copy() if keep and f is a and is_array(f) else f for a, f in zip(args, fitted, strict=True)]


def _fitted(call, given: Any, raw: Any, dtype: Any) -> Any:
    if not isinstance(given, Node):
        return _constant(call, raw, dtype)
    return raw.astype(dtype) if raw.dtype.kind in "iu" else raw


def _constant(call, value: Any, dtype: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return float(value) if isinstance(value, float) else value
    if isinstance(value, list | tuple):
        with contextlib.suppress(ValueError, TypeError):
            value = xp.asarray(value)
    if isinstance(value, list | tuple) or getattr(getattr(value, "dtype", None), "kind", "f") not in "biuf":
        raise DTypeError(
            f"{call.name}: an operand that is not an array of numbers, or has rows of unequal length"
        )
    if not hasattr(value, "dtype"):
        raise DTypeError(
            f"{call.name}: cannot use a {type(value).__name__} as an operand: give a Tensor, array or number"
        )
    if not is_array(value):
        if getattr(value, "shape", None) == ():
            return value.item()  # a NumPy scalar: as weak as a Python number
        raise DTypeError(
            f"{call.name}: operand {describe(value)} is a {type(value).__module__} array, but the active backend is "
            f"{active().name}: move it first with minigen.backend.from_host"
        )
    return value if value.dtype.kind == "b" or value.dtype == dtype else value.astype(dtype)


def keep_option(value: Any, keep: bool) -> Any:
    """Metadata as it is now: a NumPy number is as weak as a Python number, and must not widen float32.

    keep: a backward pass may read it, so arrays in it (an index, labels) are copied.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is tuple or type(value) is list:
        return type(value)([keep_option(part, keep) for part in value])
    return value.copy() if keep and is_array(value) else value


def seen(raw: Sequence) -> list[int | None]:
    """Fingerprints of the arrays among `raw`."""
    return [fingerprint(r) if is_array(r) else None for r in raw]


def check_kept(call, raw: Sequence, before: list[int | None]) -> None:
    """GraphError if the op `call` has just changed one of its inputs, whose fingerprints are `before`."""
    for i, (r, was) in enumerate(zip(raw, before, strict=True)):
        if was is not None and fingerprint(r) != was:
            raise GraphError(
                f"{call.name} changed its input {i} {describe(r)} in place: an operation must leave its inputs as they "
                "are, because others use them; compute a new array"
            )


def explain_failure(call, raw: Sequence, kwargs: dict, error: Exception) -> Exception:
    """The error of a failed forward pass: the op, every operand, and what would have fitted."""
    names = list(inspect.signature(call.forward).parameters)
    named = names[: len(raw)] if len(names) >= len(raw) else [f"input {i}" for i in range(len(raw))]
    operands = ", ".join(f"{n}: {describe(r)}" for n, r in zip(named, raw, strict=False))
    options = "".join(
        f", {k}={' '.join(repr(v).split())}"
        for k, v in kwargs.items()
        if isinstance(v, int | float | str | tuple)
    )
    reason = None
    if call.explain is not None:
        with contextlib.suppress(Exception):
            reason = call.explain(*raw, **kwargs)
    reason = reason or _settings_by_place(call, len(raw))
    if reason is None:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
    kind = DTypeError if isinstance(error, TypeError) else ShapeError
    if isinstance(error, MinigenError):
        kind = type(error)  # type: ignore[assignment]
    return kind(f"{call.name}({operands}{options}): {reason}")


def _settings_by_place(call, count: int) -> str | None:
    """How the op is called, if it was given `count` arguments by their place, more than it has arrays."""
    places: list[str] = []
    settings: list[str] = []
    for name, parameter in inspect.signature(call.forward).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return None
        (settings if parameter.kind is parameter.KEYWORD_ONLY else places).append(name)
    if not settings or count <= len(places):
        return None
    return f"settings go by name: {call.name}({', '.join(places + [f'{name}=...' for name in settings])})"


def check_finite(call, args: Iterable, y: Array, where: str = "") -> None:
    """GraphError if `y`, just made by the op `call`, holds a NaN or an infinity."""
    if y.dtype.kind != "f" or bool(xp.isfinite(y).all()):
        return
    bad = "NaN" if bool(xp.isnan(y).any()) else "infinity"
    operands = ", ".join(describe(a) + _range(a) for a in args)
    raise GraphError(
        f"{where}{call.name} made the first {bad}, in an output of shape {tuple(y.shape)}, from {operands}: "
        "look at the inputs of this operation (log of 0? division by 0? exp of a large number?)"
    )


def _range(value: Any) -> str:
    data = getattr(value, "_data", value)
    if not is_array(data) or data.size == 0 or data.dtype.kind not in "fiu":
        return ""
    return f" in [{float(data.min()):.4g}, {float(data.max()):.4g}]"
