"""Initial values of weights: each function maps a shape and a generator to a float32 array on the host.

Fans, as the sources count them: a dense weight is (in, out); a convolution weight is (out, in, *kernel), where every
place of the kernel counts once.
"""

import math

import numpy as np

from minigen.errors import ShapeError
from minigen.nn.settings import generator


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(in, out) or (out, in, *kernel) -> (fan_in, fan_out): how many inputs feed one output, and the reverse"""
    if len(shape) < 2:
        raise ShapeError(
            f"a weight of shape {tuple(shape)} has no fan-in and fan-out: expected (in, out) or (out, in, *kernel)"
        )
    if len(shape) == 2:
        return shape[0], shape[1]
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def zeros(shape: tuple[int, ...], *, rng: np.random.Generator | None = None) -> np.ndarray:
    """shape -> zeros: for biases. As weights they would leave all units equal for ever."""
    return np.zeros(shape, np.float32)


def normal(
    shape: tuple[int, ...], *, rng: np.random.Generator, mean: float = 0.0, std: float = 0.01
) -> np.ndarray:
    """shape -> N(mean, std^2)"""
    generator("init", rng)
    return (rng.standard_normal(shape) * std + mean).astype(np.float32)


def uniform(
    shape: tuple[int, ...], *, rng: np.random.Generator, low: float = -0.05, high: float = 0.05
) -> np.ndarray:
    """shape -> U[low, high)"""
    generator("init", rng)
    return rng.uniform(low, high, shape).astype(np.float32)


def xavier_uniform(shape: tuple[int, ...], *, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """shape -> U[-a, a), a = gain sqrt(6 / (fan_in + fan_out)): variance kept in both directions.

    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 16.
    """
    a = gain * math.sqrt(6.0 / sum(fans(shape)))
    return uniform(shape, rng=rng, low=-a, high=a)


def xavier_normal(shape: tuple[int, ...], *, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """shape -> N(0, s^2), s = gain sqrt(2 / (fan_in + fan_out)).

    Glorot and Bengio 2010, eq. 12.
    """
    return normal(shape, rng=rng, std=gain * math.sqrt(2.0 / sum(fans(shape))))


def he_uniform(shape: tuple[int, ...], *, rng: np.random.Generator, slope: float = 0.0) -> np.ndarray:
    """shape -> U[-a, a), a = sqrt(6 / ((1 + slope^2) fan_in)): he_normal's variance, spread evenly."""
    a = math.sqrt(6.0 / ((1.0 + slope**2) * fans(shape)[0]))
    return uniform(shape, rng=rng, low=-a, high=a)


def he_normal(shape: tuple[int, ...], *, rng: np.random.Generator, slope: float = 0.0) -> np.ndarray:
    """shape -> N(0, s^2), s = sqrt(2 / ((1 + slope^2) fan_in)): variance kept through (leaky) ReLUs.

    He et al. 2015, Delving Deep into Rectifiers, eq. 10 and 15.
    """
    return normal(shape, rng=rng, std=math.sqrt(2.0 / ((1.0 + slope**2) * fans(shape)[0])))


def orthogonal(shape: tuple[int, ...], *, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """shape -> orthonormal rows or columns (of the (shape[0], rest) matrix) times gain: lengths are kept.

    Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning, section 3. The signs of R's diagonal
    make the draw uniform over orthogonal matrices (Mezzadri 2007).
    """
    fans(shape)
    generator("init", rng)
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    q = q if rows >= columns else q.T
    return (gain * q).reshape(shape).astype(np.float32)
