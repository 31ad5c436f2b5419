"""Distributions: integrals and sums of 1, samples that follow the density, KL against Monte Carlo and its laws."""

import math

import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, host, slope, tensor, within

from minigen import Tensor, grad
from minigen.backend import from_host, using
from minigen.distributions import Bernoulli, Categorical, Normal
from minigen.errors import DTypeError, MinigenError, SettingError, ShapeError


def monte_carlo_kl(p, q, x):
    """E_p[log p - log q] over the samples x (n, ...), and its standard deviation"""
    gap = host(p.log_prob(x)) - host(q.log_prob(x))
    return gap.mean(0), gap.std(0)


def pair(rng, kind, shape=(4,)):
    """Two distributions with float64 Tensors that want gradients, and those Tensors"""
    if kind is Normal:
        arrays = [rng.standard_normal(shape), rng.uniform(0.5, 2, shape)] * 1
        arrays += [rng.standard_normal(shape), rng.uniform(0.5, 2, shape)]
        ts = [tensor(a, requires_grad=True) for a in arrays]
        return Normal(*ts[:2]), Normal(*ts[2:]), ts
    full = shape if kind is Bernoulli else (*shape, 5)
    ts = [tensor(rng.standard_normal(full), requires_grad=True) for _ in range(2)]
    return kind(ts[0]), kind(ts[1]), ts


kinds = pytest.mark.parametrize("kind", [Normal, Bernoulli, Categorical], ids=lambda k: k.__name__)


# Densities


def test_the_normal_density_integrates_to_one(rng):
    mu, sigma = rng.standard_normal() * 3, rng.uniform(0.1, 4)
    x = np.linspace(mu - 12 * sigma, mu + 12 * sigma, 20_001)
    p = np.exp(Normal(mu, sigma).log_prob(x))
    close(np.trapezoid(p, x), 1.0, rtol=1e-9)
    close(np.trapezoid(p * x, x), mu, rtol=1e-9, atol=1e-9)
    close(np.trapezoid(p * (x - mu) ** 2, x), sigma**2, rtol=1e-9)


def test_the_standard_normal_at_its_mean():
    close(Normal(0.0, 1.0).log_prob(np.zeros(3)), np.full(3, -0.5 * math.log(2 * math.pi)), rtol=1e-12)


def test_discrete_probabilities_sum_to_one(rng):
    b, c = Bernoulli(rng.standard_normal((3, 4)) * 5), Categorical(rng.standard_normal((3, 4, 6)) * 5)
    close(sum(np.exp(b.log_prob(np.full((3, 4), float(x)))) for x in (0, 1)), np.ones((3, 4)))
    close(sum(np.exp(c.log_prob(np.full((3, 4), x))) for x in range(6)), np.ones((3, 4)))
    close(np.exp(b.log_prob(np.ones((3, 4)))), b.probs)
    close(np.exp(c.log_prob(np.full((3, 4), 2))), c.probs[..., 2])


@each_backend
@kinds
def test_log_prob_takes_a_batch_in_front(rng, kind, backend):
    with using(backend):
        p, _, _ = pair(rng, kind, (2, 3))
        x = p.sample(rng, (5,))
        assert x.shape == (5, 2, 3)
        together = p.log_prob(x)
        assert together.shape == (5, 2, 3)
        close(together[1], p.log_prob(x[1]), rtol=1e-12)


# Samples


@each_backend
def test_normal_samples(rng, backend):
    mu, sigma = np.array([-1.0, 0.0, 3.0], np.float32), np.array([0.5, 1.0, 2.0], np.float32)
    with using(backend):
        p = Normal(Tensor(from_host(mu)), Tensor(from_host(sigma)))
        raw = p.sample(rng, (20_000,))
        assert not isinstance(raw, Tensor)
        assert raw.dtype == np.float32
        x = host(raw).astype(float)
        assert x.shape == (20_000, 3)
        assert p.sample(rng).shape == (3,)
    for i in range(3):
        within(x[:, i].mean(), mu[i], sigma[i], len(x), "mean")
        within(((x[:, i] - mu[i]) ** 2).mean(), sigma[i] ** 2, sigma[i] ** 2 * np.sqrt(2), len(x), "variance")


@each_backend
def test_discrete_samples(rng, backend):
    logits = rng.standard_normal((2, 4))
    with using(backend):
        b, c = Bernoulli(tensor(logits, np.float32)), Categorical(tensor(logits))
        ones, classes = b.sample(rng, (20_000,)), c.sample(rng, (20_000,))
        assert ones.dtype == np.float32
        assert classes.dtype.kind == "i"
        ones, classes, p, q = host(ones), host(classes), host(b.probs), host(c.probs)
    assert set(np.unique(ones)) <= {0.0, 1.0}
    assert ones.shape == (20_000, 2, 4)
    assert classes.shape == (20_000, 2)
    for i, j in np.ndindex(2, 4):
        within(ones[:, i, j].mean(), p[i, j], np.sqrt(p[i, j] * (1 - p[i, j])), 20_000, "Bernoulli")
        within((classes[:, i] == j).mean(), q[i, j], np.sqrt(q[i, j] * (1 - q[i, j])), 20_000, "Categorical")


@kinds
def test_the_same_seed_gives_the_same_numbers_on_every_backend(rng, kind):
    seed, drawn = int(rng.integers(1 << 30)), []
    for backend in ["numpy", each_backend.args[1][1].values[0]]:
        with using(backend):
            p, _, _ = pair(np.random.default_rng(seed), kind)
            drawn.append(np.array(host(p.sample(np.random.default_rng(seed + 1), (50,)))))
    assert (drawn[0] == drawn[1]).all()


def test_certain_events(rng):
    sure = np.array([1e4, -1e4])
    assert (Bernoulli(sure).sample(rng, (100,)) == [1, 0]).all()
    assert (Categorical(np.array([[0, 1e4, 0], [-1e4, -1e4, 0]])).sample(rng, (100,)) == [1, 2]).all()


@each_backend
def test_rsample_lets_gradients_through(rng, backend):
    seed = int(rng.integers(1 << 30))
    with using(backend):
        mu, sigma = (
            tensor(np.zeros((3, 2)), requires_grad=True),
            tensor(np.full((3, 2), 2.0), requires_grad=True),
        )
        p = Normal(mu, sigma)
        z = p.rsample(np.random.default_rng(seed))
        close(z, p.sample(np.random.default_rng(seed)), rtol=0, what="the same stream, the same sample")
        gm, gs = grad(z.sum(), [mu, sigma])
        close(gm, np.ones((3, 2)), rtol=0)
        close(gs, host(z) / 2, rtol=1e-12, what="d(mu + sigma eps) / d sigma = eps")


# KL


@kinds
def test_kl_against_monte_carlo(rng, kind):
    p, q, _ = pair(rng, kind)
    mean, spread = monte_carlo_kl(p, q, p.sample(rng, (20_000,)))
    for found, expected, s in zip(mean, host(p.kl(q)), spread, strict=True):
        within(found, expected, s, 20_000, "KL")


@kinds
def test_kl_is_zero_only_between_equals(rng, kind):
    for _ in range(20):
        p, q, _ = pair(rng, kind, (50,))
        assert (host(p.kl(q)) > 0).all()
        close(p.kl(p), np.zeros(50), atol=1e-15, rtol=0)


def test_discrete_kl_by_enumeration(rng):
    for kind, values in ((Bernoulli, (0.0, 1.0)), (Categorical, range(5))):
        p, q, _ = pair(rng, kind)
        total = 0
        for v in values:
            x = np.full(4, v)
            total = total + np.exp(host(p.log_prob(x))) * (host(p.log_prob(x)) - host(q.log_prob(x)))
        close(p.kl(q), total, rtol=1e-9, atol=1e-12)


@kinds
def test_gradients_by_differences(rng, kind):
    p, q, ts = pair(rng, kind)
    x = p.sample(rng)

    def again(f):
        half = len(ts) // 2
        return float(host(f(kind(*ts[:half]), kind(*ts[half:]))).sum())

    for f in (lambda a, b: a.kl(b), lambda a, b: a.log_prob(x) * b.log_prob(x)):
        for g, t in zip(grad(f(p, q).sum(), ts), ts, strict=True):
            close(g, slope(lambda f=f: again(f), t._data), rtol=1e-5, atol=1e-7)


def test_the_vaes_kl(rng):
    """Kingma and Welling 2014, appendix B: -(1 + log s^2 - mu^2 - s^2) / 2."""
    mu, log_var = rng.standard_normal((3, 2)), rng.standard_normal((3, 2))
    a, b = Tensor(mu, requires_grad=True), Tensor(log_var, requires_grad=True)
    kl = Normal.from_log_var(a, b).kl(Normal(0.0, 1.0))
    close(kl, -0.5 * (1 + log_var - mu**2 - np.exp(log_var)))
    ga, gb = grad(kl.sum(), [a, b])
    close(ga, mu)
    close(gb, 0.5 * (np.exp(log_var) - 1))


def test_from_log_var_is_the_same_distribution(rng):
    mu, log_var, x = rng.standard_normal(5), rng.standard_normal(5), rng.standard_normal(5)
    p, q = Normal.from_log_var(mu, log_var), Normal(mu, np.exp(0.5 * log_var))
    close(p.log_prob(x), q.log_prob(x))
    close(Normal.from_log_var(0.0, 0.0).log_prob(x), Normal(0.0, 1.0).log_prob(x))
    assert (
        Normal.from_log_var(np.zeros(1, np.float32), np.full(1, -300, np.float32)).kl(Normal(0.0, 1.0)) > 100
    )


def test_kl_of_nearly_equal_normals_does_not_cancel():
    kl = Normal(0.0, 1.0 + 1e-6).kl(Normal(0.0, 1.0))
    close(kl, 1e-12, rtol=1e-3)
    assert Normal(np.zeros(1), np.ones(1)).kl(Normal(0.0, 1.0 + 1e-9))[0] >= 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_are_finite(dtype):
    logits = np.array([1e4, -1e4, 1e4], dtype)
    a, b = Tensor(logits, requires_grad=True), Tensor(-logits, requires_grad=True)
    kl = Bernoulli(a).kl(Bernoulli(b))
    assert (kl.numpy() == 1e4).all()
    assert all(np.isfinite(g).all() for g in grad(kl.sum(), [a, b]))
    close(Bernoulli(a).log_prob(np.array([1.0, 0.0, 0.0], dtype)), [0, 0, -1e4], rtol=0)
    kl = Categorical(a).kl(Categorical(b))
    assert abs(kl.item() - 2e4) < 1
    assert all(np.isfinite(g).all() for g in grad(kl, [a, b]))
    assert Categorical(a).log_prob(np.array(1)).item() < -1.9e4


@kinds
def test_float32_is_kept(rng, kind):
    one = (
        (np.zeros(3, np.float32), np.ones(3, np.float32))
        if kind is Normal
        else (np.zeros((3, 2), np.float32),)
    )
    p = kind(*(Tensor(a, requires_grad=True) for a in one))
    assert p.kl(kind(*one)).dtype == np.float32
    assert p.log_prob(p.sample(rng)).dtype == np.float32


# What is refused


def test_shapes_are_checked():
    column, row = np.zeros((4, 1)), np.zeros(4)
    with pytest.raises(
        ShapeError, match=r"value of shape \(4, 1\) does not fit a distribution of shape \(4,\)"
    ):
        Normal(row, 1.0).log_prob(column)
    with pytest.raises(ShapeError, match="does not fit"):
        Bernoulli(row).log_prob(column)
    with pytest.raises(ShapeError, match="does not fit"):
        Categorical(np.zeros((4, 3))).log_prob(np.zeros((4, 1), int))
    with pytest.raises(
        ShapeError, match=r"Normal: shapes must be equal, or scalar: mu \(4,\), sigma \(4, 1\)"
    ):
        Normal(row, column + 1)
    with pytest.raises(ShapeError, match=r"Bernoulli\.kl: shapes must be equal"):
        Bernoulli(row).kl(Bernoulli(column))
    with pytest.raises(ShapeError, match="3 classes against 4"):
        Categorical(np.zeros((2, 3))).kl(Categorical(np.zeros((2, 4))))
    with pytest.raises(ShapeError, match="logits must be"):
        Categorical(np.zeros((2, 0)))


@pytest.mark.parametrize(
    "sigma", [0.0, -1.0, math.nan, np.array([1.0, 0.0]), np.array([np.nan, 1.0])], ids=str
)
def test_sigma_must_be_positive(sigma):
    with pytest.raises(SettingError, match="sigma is the standard deviation and must be above 0"):
        Normal(0.0, sigma)


def test_kinds_are_checked():
    with pytest.raises(DTypeError, match="no closed form from Bernoulli to Categorical"):
        Bernoulli(np.zeros(2)).kl(Categorical(np.zeros(2)))
    with pytest.raises(DTypeError, match="logits must be a floating-point"):
        Bernoulli(np.zeros(2, int))
    with pytest.raises(DTypeError, match="logits must be a floating-point"):
        Categorical([0.0, 1.0])
    with pytest.raises(MinigenError):
        Categorical(np.zeros((2, 3))).log_prob(np.array([0, 3]))
