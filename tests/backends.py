"""Every backend that a test can run on here: `@each_backend` gives it as the argument `backend`."""

import pytest
from strict import STRICT

from minigen.backend import is_available

cupy = pytest.param(
    "cupy",
    id="cupy",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not is_available("cupy"), reason="no CUDA device")],
)
ACCELERATED = [pytest.param(STRICT, id="strict"), cupy]  # NumPy is what they are compared with
each_backend = pytest.mark.parametrize("backend", [pytest.param("numpy", id="numpy"), *ACCELERATED])
on_a_device = pytest.mark.parametrize("backend", ACCELERATED)
