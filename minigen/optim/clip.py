"""Gradient clipping."""

import math
from typing import Any

import numpy as np

from minigen.backend import xp
from minigen.errors import SettingError


def clip_grad_norm(grads: list[Any], max_norm: float) -> float:
    """Scale all gradients by one factor so that their joint Euclidean norm is at most max_norm; the norm before.

    The entries of the list are replaced (None stays None); the arrays are not written to, since gradients may share
    memory. A norm that is not finite is returned and changes nothing: `Optimizer.step` then names the parameter.
    Pascanu et al. 2013, On the difficulty of training recurrent neural networks, algorithm 1.
    """
    if not max_norm > 0:
        raise SettingError(f"clip_grad_norm: max_norm must be above 0, got {max_norm}")
    norm = _norm([getattr(g, "_data", g).reshape(-1) for g in grads if g is not None and g.size])
    if math.isfinite(norm) and norm > max_norm:
        scale = max_norm / norm
        grads[:] = [None if g is None else g * scale for g in grads]
    return norm


def _norm(flat: list[Any]) -> float:
    """The root of the sum of all squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float(sum(a @ a for a in flat))
    if 1e-30 < squares < math.inf:
        return math.sqrt(squares)
    return _careful_norm(flat)


def _careful_norm(flat: list[Any]) -> float:
    """Relative to the largest value, so that no square overflows or vanishes; NaN if there is one."""
    tops = [float(xp.abs(a).max()) for a in flat]
    top = math.nan if any(math.isnan(t) for t in tops) else max(tops, default=0.0)
    if not 0 < top < math.inf:
        return top
    return top * math.sqrt(sum(float(xp.square(a / top).sum(dtype="float64")) for a in flat))
