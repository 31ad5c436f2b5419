"""The settings of layers, checked when a layer is made: one line for a size or a generator that is none."""

from typing import Any

import numpy as np

from minigen.backend import describe
from minigen.errors import DTypeError, SettingError


def sizes(layer: str, **named: Any) -> None:
    """SettingError unless every size is a positive whole number."""
    for name, n in named.items():
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise SettingError(f"{layer}: got {name} {describe(n)}: a size is a whole number of at least 1")


def generator(layer: str, rng: Any) -> None:
    """DTypeError unless `rng` is a NumPy random generator."""
    if not isinstance(rng, np.random.Generator):
        raise DTypeError(
            f"{layer}: rng must be a NumPy Generator, got {describe(rng)}: make one with np.random.default_rng(seed)"
        )
