"""States: dictionaries from names to host arrays, and the one strict comparison that every load makes first."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigen.backend import describe
from minigen.errors import CheckpointError


def check_state(expected: Mapping[str, Any], given: Mapping[str, Any], whose: str) -> dict[str, np.ndarray]:
    """Host copies of `given`, once every name, shape and kind of number in it is as in `expected`.

    Raises CheckpointError with all that is missing, unexpected or of another shape, before anything was changed.
    """
    if not isinstance(given, Mapping):
        raise CheckpointError(
            f"the state of {whose} must be a dict of arrays by name, as state_dict() gives it, got {describe(given)}"
        )
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    arrays = {name: np.asarray(given[name]) for name in expected if name in given}
    unfit = [
        f"{name} is {describe(array)}, expected {describe(expected[name])}"
        for name, array in arrays.items()
        if array.shape != tuple(expected[name].shape) or array.dtype.kind != expected[name].dtype.kind
    ]
    faults = [
        f"{fault}: {', '.join(names)}"
        for fault, names in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", unfit))
        if names
    ]
    if faults:
        raise CheckpointError(f"the state does not fit {whose} (nothing was changed): {'; '.join(faults)}")
    return {name: np.array(array, dtype=expected[name].dtype) for name, array in arrays.items()}
