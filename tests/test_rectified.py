"""relu of large arrays goes by rows of zeros: the same numbers as the definition, whatever the layout."""

import numpy as np
import pytest

from minigen.ops.activations import ROW, rectified

SIZES = (2 * ROW, 2 * ROW + 1, 3 * ROW - 1, 5 * ROW)


def nchw(a):
    """The same values, lying as (N, H, W, C)."""
    whole = a[: a.size - a.size % 128].reshape(4, 8, 4, -1)
    return np.ascontiguousarray(whole.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


LAYOUTS = {
    "plain": lambda a: a,
    "rows": lambda a: a[: a.size - a.size % 4].reshape(4, -1),
    "columns": lambda a: np.asfortranarray(a[: a.size - a.size % 4].reshape(4, -1)),
    "channels last": nchw,
    "gaps": lambda a: np.repeat(a, 2)[::2],
    "backwards": lambda a: a[::-1],
    "repeated": lambda a: np.broadcast_to(a[:ROW], (3, ROW)),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SIZES)
def test_any_layout(rng, size, layout, dtype):
    x = LAYOUTS[layout](rng.normal(size=size).astype(dtype))
    before, y = x.copy(), rectified(x)
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0))
    np.testing.assert_array_equal(x, before)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", [0, ROW - 1, ROW, 2 * ROW - 1, -1])
def test_what_is_not_a_number_stays(size, place):
    x = np.full(size, -1.0, "float32")
    x[place] = np.nan
    assert np.flatnonzero(np.isnan(rectified(x))).tolist() == [place % size]
    x[place] = np.inf
    assert np.flatnonzero(rectified(x)).tolist() == [place % size]
