"""Probability distributions: sample(rng), log_prob(x), kl(other). Everything is per element, in nats.

Parameters may be Tensors (gradients flow through log_prob, kl and rsample), raw arrays or numbers. A value x has the
distribution's own shape, or that shape with batch axes in front; a scalar distribution takes any x.
"""

import math
from typing import Any

import numpy as np

from minigen import ops
from minigen.autograd import Node
from minigen.backend import Array, describe, from_host, xp
from minigen.errors import DTypeError, SettingError, ShapeError

LOG_2PI = math.log(2.0 * math.pi)


class Normal:
    """N(mu, sigma^2), independent elements; sigma is the standard deviation, above 0."""

    def __init__(self, mu: Any, sigma: Any):
        data = _raw(sigma)
        if not bool((data > 0).all() if hasattr(data, "shape") else data > 0):
            raise SettingError("Normal: sigma is the standard deviation and must be above 0 everywhere")
        self.mu, self._sigma, self._log_var = mu, sigma, None
        self.shape = _joint_shape("Normal", mu=mu, sigma=sigma)

    @classmethod
    def from_log_var(cls, mu: Any, log_var: Any) -> "Normal":
        """N(mu, exp(log_var)): the form in which a VAE's encoder gives it"""
        self = cls.__new__(cls)
        self.mu, self._sigma, self._log_var = mu, None, log_var
        self.shape = _joint_shape("Normal", mu=mu, log_var=log_var)
        return self

    # Computed when asked for, not kept: a kept result would tie every use to one graph, which one backward pass frees.

    @property
    def sigma(self) -> Any:
        """The standard deviation."""
        if self._log_var is None:
            return self._sigma
        half = self._log_var * 0.5
        return ops.exp(half) if hasattr(half, "shape") else math.exp(half)

    @property
    def log_sigma(self) -> Any:
        """Its logarithm, without a detour through the exponential."""
        if self._log_var is not None:
            return self._log_var * 0.5
        return ops.log(self._sigma) if hasattr(self._sigma, "shape") else math.log(self._sigma)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Array:
        """() -> (*shape, *self.shape) raw: no gradient passes"""
        return _raw(self.mu) + _raw(self.sigma) * self._noise(rng, shape)

    def rsample(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Any:
        """() -> (*shape, *self.shape): mu + sigma eps, eps ~ N(0, 1), recorded

        The reparameterisation of Kingma and Welling 2014, Auto-Encoding Variational Bayes, section 2.4.
        """
        return ops.add(self.mu, ops.mul(self.sigma, self._noise(rng, shape)))

    def _noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        dtype = _dtype(self.mu, self._sigma, self._log_var)
        drawn = np.float64 if dtype == np.float64 else np.float32
        eps = np.asarray(rng.standard_normal((*shape, *self.shape), dtype=drawn))
        return from_host(eps.astype(dtype, copy=False))

    def log_prob(self, x: Any) -> Any:
        """(..., *self.shape) -> the same: -((x - mu) / sigma)^2 / 2 - log sigma - log(2 pi) / 2"""
        _fits("Normal", x, self.shape)
        z = ops.div(ops.sub(x, self.mu), self.sigma)
        return ops.sub(z * z * -0.5, self.log_sigma + 0.5 * LOG_2PI)

    def kl(self, other: "Normal") -> Any:
        """Normal -> self.shape: log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2

        Kingma and Welling 2014, appendix B, for any second Normal. With t = log(s1 / s2) it is
        (exp(2t) - 1 - 2t + ((m1 - m2) / s2)^2) / 2, which cannot cancel below 0.
        """
        _same_kind(self, other)
        _joint_shape("Normal.kl", first=self, second=other)
        t = ops.sub(self.log_sigma, other.log_sigma) * 2.0
        z = ops.div(ops.sub(self.mu, other.mu), other.sigma)
        return ops.add(ops.sub(_expm1(t), t), z * z) * 0.5


class Bernoulli:
    """1 with probability sigmoid(logits), else 0; independent elements."""

    def __init__(self, logits: Any):
        self.logits = _floats("Bernoulli", logits)
        self.shape = tuple(self.logits.shape)

    @property
    def probs(self) -> Any:
        """The probability of 1."""
        return ops.sigmoid(self.logits)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Array:
        """() -> (*shape, *self.shape) raw zeros and ones in the logits' dtype"""
        logits = _raw(self.logits)
        u = from_host(np.asarray(rng.random((*shape, *self.shape))))
        return (u < _sigmoid64(logits)).astype(logits.dtype)

    def log_prob(self, x: Any) -> Any:
        """(..., *self.shape) in [0, 1] -> the same: x log p + (1 - x) log(1 - p), finite for every finite logit"""
        _fits("Bernoulli", x, self.shape)
        logits = self.logits if x.shape == self.shape else ops.broadcast_to(self.logits, shape=tuple(x.shape))
        return -ops.bce_with_logits(logits, x)

    def kl(self, other: "Bernoulli") -> Any:
        """Bernoulli -> self.shape: p log(p / q) + (1 - p) log((1 - p) / (1 - q))

        log p = -softplus(-l) and log(1 - p) = -softplus(l), so nothing overflows and equal logits give 0.
        """
        _same_kind(self, other)
        _joint_shape("Bernoulli.kl", first=self, second=other)
        a, b = self.logits, other.logits
        ones = ops.mul(ops.sigmoid(a), ops.sub(ops.softplus(-b), ops.softplus(-a)))
        return ops.add(ones, ops.mul(ops.sigmoid(-a), ops.sub(ops.softplus(b), ops.softplus(a))))


class Categorical:
    """One of K classes, with probabilities softmax(logits) along the last axis; `shape` is that of the rest."""

    def __init__(self, logits: Any):
        self.logits = _floats("Categorical", logits)
        if not self.logits.shape or not self.logits.shape[-1]:
            raise ShapeError(f"Categorical: logits must be (..., K) with K > 0, got {describe(_raw(logits))}")
        self.shape = tuple(self.logits.shape[:-1])
        self.classes = self.logits.shape[-1]

    @property
    def probs(self) -> Any:
        """The probabilities, (..., K)."""
        return ops.softmax(self.logits, axis=-1)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Array:
        """() -> (*shape, *self.shape) raw integers: where a uniform number falls among the summed probabilities"""
        p = ops.softmax(_raw(self.logits).astype("float64"), axis=-1)
        sums = xp.cumsum(p, axis=-1)
        u = from_host(np.asarray(rng.random((*shape, *self.shape, 1)))) * sums[..., -1:]
        return xp.minimum((sums <= u).sum(axis=-1), self.classes - 1)

    def log_prob(self, x: Any) -> Any:
        """(..., *self.shape) integers -> the same: log softmax(logits)[x]"""
        _fits("Categorical", x, self.shape)
        full = (*x.shape, self.classes)
        logits = self.logits if full == self.logits.shape else ops.broadcast_to(self.logits, shape=full)
        rows = ops.reshape(logits, shape=(-1, self.classes))
        return ops.reshape(-ops.cross_entropy(rows, labels=_raw(x).reshape(-1)), shape=tuple(x.shape))

    def kl(self, other: "Categorical") -> Any:
        """Categorical -> self.shape: sum over classes of p (log p - log q)"""
        _same_kind(self, other)
        if self.classes != other.classes:
            raise ShapeError(f"Categorical.kl: {self.classes} classes against {other.classes}")
        _joint_shape("Categorical.kl", first=self, second=other)
        log_p = ops.log_softmax(self.logits, axis=-1)
        gap = ops.sub(log_p, ops.log_softmax(other.logits, axis=-1))
        return ops.sum(ops.mul(ops.exp(log_p), gap), axis=-1)


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Node) else value


def _floats(name: str, logits: Any) -> Any:
    if getattr(getattr(logits, "dtype", None), "kind", "") != "f":
        raise DTypeError(
            f"{name}: logits must be a floating-point Tensor or array, got {describe(_raw(logits))}"
        )
    return logits


def _dtype(*values: Any) -> Any:
    kinds = [v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"]
    return kinds[0] if kinds else np.dtype(np.float32)


def _joint_shape(name: str, **parts: Any) -> tuple[int, ...]:
    """The shape of the larger part; all must be equal to it, or scalars."""
    shapes = {key: tuple(getattr(part, "shape", ())) for key, part in parts.items()}
    largest = max(shapes.values(), key=len)
    if any(shape not in ((), largest) for shape in shapes.values()):
        found = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ShapeError(f"{name}: shapes must be equal, or scalar: {found}")
    return largest


def _fits(name: str, x: Any, shape: tuple[int, ...]) -> None:
    """x has the distribution's shape, behind any batch axes: (N,) against (N, 1) is refused."""
    found = tuple(getattr(x, "shape", ()))
    if len(found) < len(shape) or found[len(found) - len(shape) :] != shape:
        raise ShapeError(
            f"{name}: a value of shape {found} does not fit a distribution of shape {shape}: its last axes must agree"
        )


def _same_kind(first: Any, second: Any) -> None:
    if type(first) is not type(second):
        raise DTypeError(
            f"kl: no closed form from {type(first).__name__} to {type(second).__name__}: use two of the same kind"
        )


def _expm1(t: Any) -> Any:
    return ops.expm1(t) if hasattr(t, "shape") else math.expm1(t)


def _sigmoid64(logits: Array) -> Array:
    return ops.sigmoid(logits.astype("float64"))
