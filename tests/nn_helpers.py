"""Small tools for the tests of layers, optimizers and distributions: independent slopes, and float64 modules."""

import numpy as np

from minigen import Tensor
from minigen.backend import from_host, to_host


def slope(f, x, step=1e-6):
    """The gradient of the float f at the array x, by central differences; x is changed and put back."""
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        before = x[i]
        x[i] = before + step
        up = f()
        x[i] = before - step
        g[i] = (up - f()) / (2 * step)
        x[i] = before
    return g


def double(module):
    """The module with every tensor in float64, in place."""
    for _, t in [*module.named_parameters(), *module.named_buffers()]:
        t._data = t._data.astype(np.float64)
    return module


def tensor(array, dtype=np.float64, **options):
    return Tensor(from_host(np.asarray(array, dtype)), **options)


def host(value):
    return to_host(getattr(value, "_data", value))


def close(found, expected, rtol=1e-9, atol=0.0, what=""):
    np.testing.assert_allclose(host(found), host(expected), rtol=rtol, atol=atol, err_msg=what)


def within(found, expected, spread, n, what=""):
    """The mean of n draws with standard deviation `spread` lies within 5 standard errors of its expectation."""
    error = 5 * spread / np.sqrt(n)
    assert abs(found - expected) < error, f"{what}: {found} is not within {error:.3g} of {expected}"
