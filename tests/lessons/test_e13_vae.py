"""Checks of e13: each hole against NumPy written out here, and against models whose log p(x) is known."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import math

import numpy as np
import pytest

from minigen import Tensor, grad, ops
from minigen.optim import Adam

H, W, D, K = 3, 4, 12, 3
LOG_2PI = math.log(2 * math.pi)
SIGMAS = 6.5  # how far from its mean an honest estimate may lie: once in ten thousand million times


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def near(a, b, rtol=1e-5):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise, rtol=1e-5):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted, rtol):
        pytest.fail(next((says for says, value in likely.items() if near(found, value, rtol)), otherwise))


def sigmoid(l):
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(l, np.float64)))


def log_bernoulli(logits, x):
    return -(np.logaddexp(0, logits) - x * logits).sum(-1)


def log_normal(mean, log_var, x):
    return -0.5 * (np.square(x - mean) / np.exp(log_var) + log_var + LOG_2PI).sum(-1)


def kl(mu, log_var):
    return 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(-1)


def images(rng, n, d=D):
    return (rng.random((n, d)) < 0.5).astype(np.float32)


def make(lesson, rng, scale=0.6, **changes):
    """A small VAE in float64 with random weights and biases everywhere"""
    model = lesson.VAE(lesson.Config(**({"pixels": D, "hidden": (9,), "code": K} | changes)), rng=rng)
    for p in model.parameters():
        p._data = rng.normal(0, scale, p.shape)
    return model


def weights_of(module):
    return [numbers(p) for p in module.parameters()]


def forward(weights, x):
    """[W, b, W, b, ...] and rows -> the stack's output, a ReLU between the layers"""
    h = np.asarray(x, np.float64)
    for i in range(0, len(weights), 2):
        h = h @ weights[i] + weights[i + 1]
        h = np.maximum(h, 0) if i + 2 < len(weights) else h
    return h


def check_slope(y_of, oracle, tensors, rng, what):
    """grad() through the learner's code against the slope of the NumPy version, along a random direction"""
    y = y_of()
    assert isinstance(y, Tensor) and y.requires_grad, (
        f"{what} is cut off from the graph: no gradient can flow (was .data, .numpy(), .detach() or no_grad used?)"
    )
    upstream = rng.normal(size=y.shape)
    found = grad((y * upstream).sum(), tensors, allow_unused=True)
    for i, (tensor, g) in enumerate(zip(tensors, found, strict=True)):
        assert g is not None, (
            f"{what} passes no gradient to its input {i} of shape {tensor.shape}: the graph is cut"
        )
        direction, h = rng.normal(size=tensor.shape), 1e-6
        plus, minus = (oracle(i, numbers(tensor) + s * h * direction) for s in (1, -1))
        slope = float(((plus - minus) * upstream).sum() / (2 * h))
        mine = float((numbers(g) * direction).sum())
        scale = max(abs(slope), 1e-3 * float(np.abs(upstream).sum()))
        assert abs(mine - slope) < 1e-3 * scale, (
            f"the gradient of {what} with respect to a tensor of shape {tensor.shape} has slope {mine:.5g} along a "
            f"random direction, the function itself {slope:.5g}"
        )


def leaves(*arrays):
    return [Tensor(a, requires_grad=True) for a in arrays]


def far_off(samples, mean):
    """(S, ...) draws, their expected mean (...) -> how many standard errors the worst of them is off"""
    error = samples.std(axis=0) / math.sqrt(len(samples)) + 1e-12
    return float((np.abs(samples.mean(axis=0) - mean) / error).max())


# reparameterize


@pytest.mark.hole("reparameterize", kind="value")
def test_reparameterize_value(lesson, rng):
    n = 6
    mu, log_var, eps = (rng.normal(0, 1.5, (n, K)) for _ in "abc")
    wanted = mu + np.exp(0.5 * log_var) * eps
    likely = {
        "exp(log_var) is used as the standard deviation: it is the variance; sigma = exp(log_var / 2)":
            mu + np.exp(log_var) * eps,
        "log_var itself is used as the standard deviation: sigma = exp(log_var / 2)": mu + log_var * eps,
        "log_var / 2 is used as the standard deviation: take its exponential": mu + 0.5 * log_var * eps,
        "sigma is exp(-log_var / 2): that is its inverse": mu + np.exp(-0.5 * log_var) * eps,
        "sigma is exp(2 log_var): the variance is exp(log_var)": mu + np.exp(2 * log_var) * eps,
        "the square root of log_var is taken as sigma": mu + np.sqrt(np.abs(log_var)) * eps,
        "sigma is sqrt(2) times too large or too small": mu + np.exp(0.5 * log_var) * eps * math.sqrt(2),
        "the noise is not used: z is the mean itself": mu,
        "mu is missing": np.exp(0.5 * log_var) * eps,
        "sigma is missing: every code has variance 1": mu + eps,
        "sigma is added, not multiplied with the noise": mu + np.exp(0.5 * log_var) + eps,
        "the noise is subtracted; expected mu + sigma eps": mu - np.exp(0.5 * log_var) * eps,
        "the noise of the first image serves all: each has its own row of eps": mu + np.exp(0.5 * log_var) * eps[:1],
        "mu and log_var are the wrong way round": log_var + np.exp(0.5 * mu) * eps,
        "mu is multiplied with the noise as well": (mu + np.exp(0.5 * log_var)) * eps,
    }  # fmt: skip
    for kind in (Tensor, np.array):
        found = lesson.reparameterize(kind(mu), kind(log_var), eps)
        must_be(
            found,
            wanted,
            likely,
            f"z of shape {shape_of(found)} differs from mu + exp(log_var / 2) eps (is the noise that was given used, "
            "once?)",
        )


@pytest.mark.hole("reparameterize", kind="invariant")
def test_reparameterize_moments(lesson, rng):
    n = 20000
    mu, log_var = rng.normal(0, 2, K), rng.uniform(-2, 2, K)
    shape = (n, K)
    z = numbers(
        lesson.reparameterize(
            Tensor(np.broadcast_to(mu, shape)),
            Tensor(np.broadcast_to(log_var, shape)),
            rng.standard_normal(shape),
        )
    )
    assert far_off(z, mu) < SIGMAS, f"{n} draws have mean {z.mean(0)}, expected mu = {mu}"
    found = np.square(z - mu)
    assert far_off(found, np.exp(log_var)) < SIGMAS, (
        f"{n} draws have variance {found.mean(0)}, expected exp(log_var) = {np.exp(log_var)}"
        + (
            "; it is exp(2 log_var): sigma = exp(log_var / 2)"
            if far_off(found, np.exp(2 * log_var)) < 9
            else ""
        )
    )


@pytest.mark.hole("reparameterize", kind="gradient")
def test_reparameterize_gradient(lesson, rng):
    inputs, eps = leaves(*(rng.normal(size=(5, K)) for _ in "ab")), rng.normal(size=(5, K))

    def oracle(i, value):
        mu, log_var = (value if j == i else numbers(t) for j, t in enumerate(inputs))
        return mu + np.exp(0.5 * log_var) * eps

    check_slope(lambda: lesson.reparameterize(*inputs, eps), oracle, inputs, rng, "z")


# kl_to_prior


@pytest.mark.hole("kl_to_prior", kind="value")
def test_kl_value(lesson, rng):
    for n in (6, 1):
        mu, lv = rng.normal(0, 1, (n, K)), rng.normal(0, 1, (n, K))
        each = 0.5 * (mu**2 + np.exp(lv) - 1 - lv)
        wanted, var = each.sum(1), np.exp(lv)
        likely = {
            "it is averaged over the numbers of a code: a KL of independent parts is their SUM": each.mean(1),
            "its sign is wrong: a KL is never negative": -wanted,
            "the factor 1/2 is missing": 2 * wanted,
            "it is one number, the average over the batch: keep the images apart, (N,)": wanted.mean(),
            "it is one number, the sum over the batch: keep the images apart, (N,)": wanted.sum(),
            "it is averaged over everything": each.mean(),
            "it is kept apart by the numbers of the code: sum over axis 1": each,
            "an axis is left over: expected (N,), found (N, 1)": wanted[:, None],
            "it is summed over the images: sum over axis 1": each.sum(0),
            "it is the KL the other way round, KL(prior || q)": (0.5 * ((1 + mu**2) / var - 1 + lv)).sum(1),
            "log_var is taken for the log of the standard deviation": 0.5 * (mu**2 + var**2 - 1 - 2 * lv).sum(1),
            "the standard deviation stands where the variance belongs": 0.5 * (mu**2 + np.exp(lv / 2) - 1 - lv).sum(1),
            "mu is not squared": 0.5 * (mu + var - 1 - lv).sum(1),
            "mu^2 is missing": 0.5 * (var - 1 - lv).sum(1),
            "the -1 is missing: the KL of the prior to itself is 0": 0.5 * (mu**2 + var - lv).sum(1),
            "the sign of log_var is wrong": 0.5 * (mu**2 + var - 1 + lv).sum(1),
            "log_var itself stands where its exponential, the variance, belongs": 0.5 * (mu**2 + lv - 1 - lv).sum(1),
        }  # fmt: skip
        found = lesson.kl_to_prior(Tensor(mu), Tensor(lv))
        must_be(
            found,
            wanted,
            likely,
            f"the KL of {n} codes is {numbers(found).ravel()[:3]}, expected {wanted[:3]}: the sum over the code of "
            "(mu^2 + sigma^2 - 1 - log sigma^2) / 2",
        )


@pytest.mark.hole("kl_to_prior", kind="value")
def test_kl_of_known_codes(lesson, rng):
    k = int(rng.integers(2, 9))
    zero, one = np.zeros((2, k)), np.ones((2, k))
    found = numbers(lesson.kl_to_prior(Tensor(zero), Tensor(zero)))
    assert np.allclose(found, 0, atol=1e-9), (
        f"the KL of N(0, 1) to N(0, 1) is 0; found {found.ravel()[0]:.4g}"
    )
    found = numbers(lesson.kl_to_prior(Tensor(one), Tensor(zero)))
    assert near(found, [0.5 * k] * 2), (
        f"the KL of N(1, 1) to N(0, 1) is 1/2 for each number of a code, {0.5 * k} for {k} of them; found "
        f"{found.ravel()[0]:.4g}"
    )


@pytest.mark.hole("kl_to_prior", kind="invariant")
def test_kl_is_what_sampling_says(lesson, rng):
    mu, lv, n = rng.normal(0, 1, K), rng.normal(0, 1, K), 40000
    z = mu + np.exp(0.5 * lv) * rng.standard_normal((n, K))
    draws = log_normal(mu, lv, z) - log_normal(0 * mu, 0 * lv, z)
    found = float(numbers(lesson.kl_to_prior(Tensor(mu[None]), Tensor(lv[None]))).sum())
    assert far_off(draws, found) < SIGMAS, (
        f"the KL in closed form is {found:.5g}; the mean of log q(z) - log p(z) over {n} draws is {draws.mean():.5g}"
    )
    many = numbers(lesson.kl_to_prior(Tensor(rng.normal(0, 2, (500, K))), Tensor(rng.normal(0, 2, (500, K)))))
    assert many.min() >= 0, f"a KL of {many.min():.4g}: it is never negative"


@pytest.mark.hole("kl_to_prior", kind="gradient")
def test_kl_gradient(lesson, rng):
    inputs = leaves(*(rng.normal(size=(5, K)) for _ in "ab"))

    def oracle(i, value):
        return kl(*(value if j == i else numbers(t) for j, t in enumerate(inputs)))

    check_slope(lambda: lesson.kl_to_prior(*inputs), oracle, inputs, rng, "the KL")


# bernoulli_log_prob


@pytest.mark.hole("bernoulli_log_prob", kind="value")
def test_bernoulli_value(lesson, rng):
    for n in (6, 1):
        logits, x = rng.normal(0, 2, (n, D)), images(rng, n)
        wanted, p = log_bernoulli(logits, x), sigmoid(logits)
        each = np.log(np.where(x > 0, p, 1 - p))
        likely = {
            f"it is averaged over the pixels: the KL would then count {D} times as much as it should (in real images "
            "784 times), and every code would collapse to the prior; sum over the pixels": wanted / D,
            "its sign is wrong: a log-probability of pixels is never positive": -wanted,
            "it is one number for the batch: keep the images apart, (N,)": wanted.mean(),
            "it is summed over the batch: keep the images apart, (N,)": wanted.sum(),
            "it is kept apart by pixel: sum over axis 1": each,
            "it is summed over the images: sum over axis 1": each.sum(0),
            "the sigmoid is taken twice: ops.bce_with_logits wants the logits themselves": log_bernoulli(
                p, x
            ),
            "logits and pixels are the wrong way round": log_bernoulli(x, logits),
            "only the pixels that are 1 count": (x * np.log(p)).sum(1),
            "only the pixels that are 0 count": ((1 - x) * np.log(1 - p)).sum(1),
            "ones and zeros are swapped": log_bernoulli(-logits, x),
            "it is in bits: use the natural logarithm": wanted / math.log(2),
            "it is the squared error of the probabilities: that is no log-probability": -np.square(p - x).sum(
                1
            ),
            "it is half of the squared error of the probabilities: that is a Gaussian": -0.5
            * np.square(p - x).sum(1),
        }
        found = lesson.bernoulli_log_prob(Tensor(logits), x)
        must_be(
            found,
            wanted,
            likely,
            f"log p of {n} images is {numbers(found).ravel()[:3]}, expected {wanted[:3]}: minus bce_with_logits, "
            "summed over the pixels",
        )


@pytest.mark.hole("bernoulli_log_prob", kind="invariant")
def test_bernoulli_is_a_distribution(lesson, rng):
    d = 8
    x = (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(np.float32)
    logits = np.tile(rng.normal(0, 2, d), (2**d, 1))
    total = np.exp(numbers(lesson.bernoulli_log_prob(Tensor(logits), x))).sum()
    assert abs(total - 1) < 1e-9, f"the probabilities of all images of {d} pixels sum to {total:.6g}, not 1"
    sure = 400.0 * np.where(rng.random((3, D)) < 0.5, -1, 1).astype(np.float32)
    right = (sure > 0).astype(np.float32)
    wrong = right.copy()
    wrong[:, 0] = 1 - wrong[:, 0]
    found = numbers(lesson.bernoulli_log_prob(Tensor(sure), wrong))
    assert np.allclose(found, -400, rtol=1e-3), (
        f"logits of +-400 and one wrong pixel in each image: log p is {found}, expected -400: log(sigmoid(l)) "
        "overflows, and a clipped probability hides how wrong it is; use ops.bce_with_logits"
    )


@pytest.mark.hole("bernoulli_log_prob", kind="gradient")
def test_bernoulli_gradient(lesson, rng):
    logits, x = leaves(rng.normal(size=(4, D))), images(rng, 4)
    check_slope(
        lambda: lesson.bernoulli_log_prob(logits[0], x),
        lambda i, value: log_bernoulli(value, x),
        logits,
        rng,
        "log p",
    )


# gaussian_log_prob


@pytest.mark.hole("gaussian_log_prob", kind="value")
def test_gaussian_value(lesson, rng):
    for shape in ((6, D), (1,), ()):
        mean, x, lv = rng.normal(size=(6, D)), rng.normal(size=(6, D)), rng.normal(0, 1, shape)
        wanted = log_normal(mean, lv, x)
        square, full = np.square(x - mean), np.broadcast_to(lv, (6, D))
        likely = {
            "it is averaged over the pixels: sum over axis 1": wanted / D,
            "its sign is wrong: a point near the mean must be more likely than one far away": -wanted,
            "the factor 1/2 is missing": 2 * wanted,
            "log(2 pi) is missing": wanted + 0.5 * D * LOG_2PI,
            "log(2 pi) counts once; it belongs to each of the D pixels": wanted + 0.5 * (D - 1) * LOG_2PI,
            "log sigma^2 is missing: without it the noise would grow for ever": wanted + 0.5 * full.sum(1),
            "log sigma^2 counts once; it belongs to each of the D pixels": wanted + 0.5 * (full.sum(1) - full[:, 0]),
            "it is the squared error: divide by the variance, and add what normalises": -square.sum(1),
            "exp(log_var) is used as the standard deviation: the squares are divided by the variance twice":
                -0.5 * (square * np.exp(-2 * lv) + lv + LOG_2PI).sum(1),
            "log_var is taken for the log of the standard deviation":
                -0.5 * (square * np.exp(-2 * lv) + 2 * lv + LOG_2PI).sum(1),
            "the squares are divided by the standard deviation":
                -0.5 * (square * np.exp(-lv / 2) + lv + LOG_2PI).sum(1),
            "the squares are multiplied by the variance": -0.5 * (square * np.exp(lv) + lv + LOG_2PI).sum(1),
            "the differences are not squared": -0.5 * (np.abs(x - mean) * np.exp(-lv) + lv + LOG_2PI).sum(1),
            "it is one number for the batch: keep the images apart, (N,)": wanted.mean(),
            "it is summed over the batch: keep the images apart, (N,)": wanted.sum(),
        }  # fmt: skip
        found = lesson.gaussian_log_prob(Tensor(mean), Tensor(lv), x)
        must_be(
            found,
            wanted,
            likely,
            f"log N(x) with a log_var of shape {shape} is {numbers(found).ravel()[:3]}, expected {wanted[:3]}: the sum "
            "over the pixels of -((x - mean)^2 / sigma^2 + log sigma^2 + log 2 pi) / 2",
        )


@pytest.mark.hole("gaussian_log_prob", kind="invariant")
def test_gaussian_integrates_to_one(lesson, rng):
    mean, lv = float(rng.normal()), float(rng.uniform(-2, 2))
    x = np.linspace(mean - 40, mean + 40, 20001)
    full = np.full((len(x), 1), mean)
    p = np.exp(numbers(lesson.gaussian_log_prob(Tensor(full), Tensor(np.array([lv])), x[:, None])))
    total = float(p.sum() * (x[1] - x[0]))
    assert abs(total - 1) < 1e-6, (
        f"with variance exp({lv:.2f}) the density integrates to {total:.6g}; expected 1: is all of -(... + log "
        "sigma^2 + log 2 pi) / 2 there?"
    )


@pytest.mark.hole("gaussian_log_prob", kind="gradient")
def test_gaussian_gradient(lesson, rng):
    x, inputs = rng.normal(size=(4, D)), leaves(rng.normal(size=(4, D)), rng.normal(size=1))

    def oracle(i, value):
        mean, lv = (value if j == i else numbers(t) for j, t in enumerate(inputs))
        return log_normal(mean, lv, x)

    check_slope(lambda: lesson.gaussian_log_prob(*inputs, x), oracle, inputs, rng, "log N(x)")


# VAE.encode


def encoded(model, x):
    found = model.encode(x)
    assert isinstance(found, tuple | list) and len(found) == 2, (
        f"encode gives a {type(found).__name__}; expected a pair: mu, log_var"
    )
    return found


@pytest.mark.hole("VAE.encode", kind="value")
def test_encode_value(lesson, rng):
    for hidden in ((9,), (), (8, 7)):
        model, x = make(lesson, rng, hidden=hidden), images(rng, 6)
        h = forward(weights_of(model.encoder), x)
        mu, lv = h[:, :K], h[:, K:]
        moved = forward(weights_of(model.encoder), 2 * x - 1)
        for form in (x, x.reshape(6, H, W), Tensor(x.reshape(6, H, W))):
            found = encoded(model, form)
            for what, one, wanted, other in (("mu", found[0], mu, lv), ("log_var", found[1], lv, mu)):
                likely = {
                    "the halves are swapped: the first k numbers are mu, the other k log_var": other,
                    "every other number is taken: mu is the first half, log_var the second": h[
                        :, what == "log_var" :: 2
                    ],
                    "it is the variance: leave the logarithm, encode gives log_var": np.exp(wanted),
                    "it is the standard deviation: encode gives log_var": np.exp(0.5 * wanted),
                    "it went through a softplus: log_var may be any number": np.logaddexp(0, wanted),
                    "it went through a tanh: it may be any number": np.tanh(wanted),
                    "it went through a sigmoid: it may be any number": sigmoid(wanted),
                    "it went through a ReLU: it may be any number": np.maximum(wanted, 0),
                    "all 2 k numbers are there: take half of them": h,
                    "the pixels are shifted to [-1, 1]: take them as they come": moved[:, :K]
                    if what == "mu"
                    else moved[:, K:],
                }
                must_be(
                    one,
                    wanted,
                    {f"{what}: {says}": value for says, value in likely.items()},
                    f"{what} of images {form.shape} has shape {shape_of(one)}; expected the "
                    f"{'first' if what == 'mu' else 'other'} {K} columns of encoder(rows), nothing else done to them",
                )


@pytest.mark.hole("VAE.encode", kind="shape")
def test_encode_with_convolutions(lesson, rng):
    model = make(lesson, rng, pixels=64, hidden=(), channels=(3, 4))
    mu, lv = encoded(model, images(rng, 5, 64).reshape(5, 8, 8))
    assert shape_of(mu) == shape_of(lv) == (5, K), (
        f"5 images of 8x8 through convolutions give {shape_of(mu)} and {shape_of(lv)}; expected (5, {K}) both"
    )


@pytest.mark.hole("VAE.encode", kind="gradient")
def test_encode_gradient(lesson, rng):
    model, x = make(lesson, rng), images(rng, 5)
    weights = weights_of(model.encoder)
    for half in (0, 1):

        def oracle(i, value, half=half):
            return forward([*weights[:i], value, *weights[i + 1 :]], x)[:, half * K : half * K + K]

        check_slope(
            lambda half=half: encoded(model, x)[half],
            oracle,
            model.encoder.parameters(),
            rng,
            ("mu", "log_var")[half],
        )


# VAE.terms


class Spy:
    """The decoder, and the codes that it was given"""

    def __init__(self, model):
        self.decoder, self.seen = model.decoder, []
        model.decoder = self

    def __call__(self, z):
        self.seen.append(numbers(z))
        return self.decoder(z)

    def parameters(self):
        return self.decoder.parameters()


def terms_of(model, x, rng):
    found = model.terms(x, rng)
    assert isinstance(found, tuple | list) and len(found) == 2, (
        f"terms gives a {type(found).__name__}; expected a pair: reconstruction, kl"
    )
    return found


@pytest.mark.hole("VAE.terms", kind="value")
def test_terms_value(lesson, rng):
    for likelihood in ("bernoulli", "gaussian"):
        model, n = make(lesson, rng, likelihood=likelihood), 6
        x = images(rng, n) if likelihood == "bernoulli" else rng.normal(size=(n, D)).astype(np.float32)
        spy = Spy(model)
        reconstruction, divergence = terms_of(model, x.reshape(n, H, W), rng)
        assert len(spy.seen) == 1, (
            f"the decoder was asked {len(spy.seen)} times; expected once, for one z per image"
        )
        z, h = spy.seen[0], forward(weights_of(model.encoder), x)
        assert z.shape == (n, K), f"the decoder was given codes of shape {z.shape}; expected ({n}, {K})"
        mu, lv = h[:, :K], h[:, K:]
        assert not near(z, mu), (
            "the decoder was given the mean of q(z|x) itself: draw z, or the bound is none (an autoencoder with a "
            "penalty)"
        )

        def cost(code, model=model, x=x, likelihood=likelihood):
            raw = forward(weights_of(model.decoder), code)
            return -(
                log_bernoulli(raw, x)
                if likelihood == "bernoulli"
                else log_normal(raw, numbers(model.noise), x)
            )

        def squashed(code, model=model, x=x):
            return -log_bernoulli(sigmoid(forward(weights_of(model.decoder), code)), x)

        wanted = cost(z)
        must_be(
            reconstruction,
            wanted,
            {
                "the sign of the reconstruction is wrong: it is MINUS log p(x|z), what the image costs, given its "
                "code": -wanted,
                "the reconstruction is averaged over the pixels": wanted / D,
                "the reconstruction is one number: keep the images apart, (N,)": wanted.mean(),
                "the reconstruction is summed over the batch: keep the images apart, (N,)": wanted.sum(),
                "the KL is in the reconstruction as well": wanted + kl(mu, lv),
                "kl comes first in the pair: expected (reconstruction, kl)": kl(mu, lv),
                "log_likelihood was given the means of decode(z); it wants what self.decoder(z) gives": squashed(
                    z
                ),
            },
            f"the reconstruction is {numbers(reconstruction).ravel()[:3]}, expected {wanted[:3]}: minus log_likelihood "
            "of decoder(z) and the images",
        )
        must_be(
            divergence,
            kl(mu, lv),
            {
                "the sign of the KL is wrong: it is never negative": -kl(mu, lv),
                "the KL is averaged over the code": kl(mu, lv) / K,
                "the KL is averaged over the pixels": kl(mu, lv) / D,
                "the KL is one number: keep the images apart, (N,)": kl(mu, lv).mean(),
                "the KL is estimated from the draw; use the closed form": log_normal(mu, lv, z)
                - log_normal(0 * mu, 0 * lv, z),
            },
            f"kl is {numbers(divergence).ravel()[:3]}, expected {kl(mu, lv)[:3]}: kl_to_prior of mu and log_var",
        )


@pytest.mark.hole("VAE.terms", kind="invariant")
def test_terms_draw_fresh_noise(lesson, rng):
    model, n = make(lesson, rng, scale=0.3), 4000
    x = np.tile(images(rng, 1), (n, 1))
    spy = Spy(model)
    seed = int(rng.integers(2**31))
    stream = np.random.default_rng(seed)
    for source in (stream, stream, np.random.default_rng(seed)):
        terms_of(model, x, source)
    first, second, again = spy.seen[:3]
    h = forward(weights_of(model.encoder), x)
    eps = (first - h[:, :K]) / np.exp(0.5 * h[:, K:])
    assert len(np.unique(eps[:, 0].round(9))) > 1, (
        "one noise for the whole batch: every image needs noise of its own, rng.standard_normal(mu.shape)"
    )
    assert not np.allclose(eps[:, 0], eps[:, 1], atol=1e-5), (
        "one number of noise for a whole code: every number of a code needs its own, rng.standard_normal(mu.shape)"
    )
    assert np.allclose(first, again), (
        "the same generator gives other codes: draw the noise from the rng that was given"
    )
    assert not np.allclose(first, second), "two calls draw the same noise: take it from rng, which goes on"
    assert far_off(eps, 0) < SIGMAS, (
        f"(z - mu) / sigma has mean {eps.mean(0)}, expected 0: is the noise standard normal?"
    )
    spread = np.square(eps).mean()
    twice = far_off(np.square(eps), np.exp(h[0, K:])) < SIGMAS
    assert far_off(np.square(eps), 1) < SIGMAS, f"(z - mu) / sigma has variance {spread:.4g}, expected 1" + (
        ": exp(log_var) is used as the standard deviation" if twice else ": is the noise standard normal?"
    )
    assert np.abs(eps).max() > 2.5, (
        "the noise never leaves +-2.5 in 12,000 draws: it is not normal (uniform?)"
    )
    together = (eps - eps.mean(0)).T @ (eps - eps.mean(0)) / n - np.eye(K)
    assert np.abs(together - np.diag(np.diag(together))).max() < SIGMAS / math.sqrt(n), (
        "the noise of the numbers of a code goes together: expected independent draws"
    )


@pytest.mark.hole("VAE.terms", kind="gradient")
def test_terms_gradient(lesson, rng):
    for likelihood in ("bernoulli", "gaussian"):
        model, n = make(lesson, rng, likelihood=likelihood, scale=0.4), 5
        x = images(rng, n) if likelihood == "bernoulli" else rng.normal(size=(n, D)).astype(np.float32)
        spy, seed = Spy(model), int(rng.integers(2**31))
        reconstruction, divergence = terms_of(model, x, np.random.default_rng(seed))
        inner = model.encoder.parameters()
        for name, term in (("reconstruction", reconstruction), ("kl", divergence)):
            assert isinstance(term, Tensor) and term.requires_grad, f"{name} is cut off from the graph"
        found = grad(reconstruction.sum(), inner, allow_unused=True, retain_graph=True)
        assert all(g is not None for g in found) and any(np.abs(numbers(g)).max() > 0 for g in found), (
            "the reconstruction sends no gradient to the encoder: z was cut from the graph (.data, .numpy(), "
            ".detach()); reparameterize lets it through"
        )
        h = forward(weights_of(model.encoder), x)
        eps = (spy.seen[0] - h[:, :K]) / np.exp(0.5 * h[:, K:])
        half = len(inner)
        tensors = [*inner, *spy.parameters(), *([model.noise] if likelihood == "gaussian" else [])]
        weights = [numbers(t) for t in tensors]

        def oracle(i, value, weights=weights, half=half, likelihood=likelihood, x=x, eps=eps):
            changed = [*weights[:i], value, *weights[i + 1 :]]
            h = forward(changed[:half], x)
            mu, lv = h[:, :K], h[:, K:]
            raw = forward(changed[half : half + half], mu + np.exp(0.5 * lv) * eps)
            fit = log_bernoulli(raw, x) if likelihood == "bernoulli" else log_normal(raw, changed[-1], x)
            return kl(mu, lv) - fit

        check_slope(lambda r=reconstruction, d=divergence: r + d, oracle, tensors, rng, "reconstruction + kl")


@pytest.mark.hole("VAE.terms", kind="invariant")
def test_bound_holds(lesson, rng):
    code_of_one = make(lesson, rng, code=1, scale=1.0)
    x, draws = images(rng, 20), 300
    log_p = lesson.integrated_log_prob(code_of_one, x)
    elbo = np.stack(
        [-sum(numbers(t) for t in terms_of(code_of_one, x, rng)) for _ in range(draws)]
    )  # (draws, N)
    error = elbo.std(0) / math.sqrt(draws) + 1e-3
    above = (elbo.mean(0) - log_p) / error
    assert above.max() < SIGMAS, (
        f"the ELBO of an image is {elbo.mean(0)[above.argmax()]:.4g} nats, but its log p(x) is "
        f"{log_p[above.argmax()]:.4g}: a lower bound may not lie above (are both terms summed, and neither weighted?)"
    )


# VAE.updates


def pairs_of(model, batch, rng):
    given = model.updates(batch, rng)
    assert not (isinstance(given, tuple) and any(part is model for part in given)), (
        "updates() returns the pair; expected it to yield: a generator, so that models of two parts can yield twice"
    )
    assert given is not None and hasattr(given, "__iter__"), (
        "updates() gives nothing to iterate over: yield the pair, `yield self, loss` (a return ends the function)"
    )
    pairs = list(given)
    assert len(pairs) == 1, (
        f"updates() yields {len(pairs)} pairs for a batch; expected one: one module, one loss"
    )
    assert isinstance(pairs[0], tuple) and len(pairs[0]) == 2, (
        f"updates() yields a {type(pairs[0]).__name__}; expected a pair (module, loss)"
    )
    module, loss = pairs[0]
    assert not isinstance(module, Tensor), "the pair is the wrong way round; expected (module, loss)"
    assert module is model, (
        f"the module to step is a {type(module).__name__}; expected the model: both halves learn"
    )
    assert isinstance(loss, Tensor) and loss.size == 1, (
        f"the second of the pair must be the loss, a Tensor of one number; found {type(loss).__name__} {shape_of(loss)}"
    )
    return loss


@pytest.mark.hole("VAE.updates", kind="value")
def test_updates_loss(lesson, rng):
    model, x, n = make(lesson, rng), images(rng, 7), 7
    r, k = rng.uniform(50, 90, n), rng.uniform(5, 20, n)
    asked = []

    def terms(batch, stream):
        asked.append((batch, stream))
        return Tensor(r, requires_grad=True) * 1.0, Tensor(k, requires_grad=True) * 1.0

    model.terms = terms
    found = float(numbers(pairs_of(model, x, rng)).sum())
    assert asked and shape_of(asked[0][0])[:1] == (n,) and asked[0][1] is rng, (
        "updates must ask self.terms(batch, rng) for its two terms, with the batch and the rng that it was given"
    )
    likely = {
        "its sign is wrong: the loop makes the loss small, so it is MINUS the ELBO": -(r + k).mean(),
        "the KL is subtracted: loss = reconstruction + kl, or codes far from the prior are rewarded": (
            r - k
        ).mean(),
        "the reconstruction is subtracted": (k - r).mean(),
        "it is summed over the batch: average over the images, or the step size depends on the batch": (
            r + k
        ).sum(),
        "the KL is averaged over the pixels, the reconstruction is not: both count alike": (r + k / D).mean(),
        "the KL is averaged over the code, the reconstruction is not: both count alike": (r + k / K).mean(),
        "the reconstruction is averaged over the pixels, the KL is not: both count alike": (r / D + k).mean(),
        "both terms are averaged over the pixels: nats per image are summed over them": ((r + k) / D).mean(),
        "the KL is averaged over the batch twice": (r + k / n).mean(),
        "the KL is summed over the batch, the reconstruction averaged": r.mean() + k.sum(),
        "the reconstruction is summed over the batch, the KL averaged": r.sum() + k.mean(),
        "the KL is missing: that is an autoencoder with noise": r.mean(),
        "the reconstruction is missing": k.mean(),
        "the KL counts half: it has its 1/2 already": (r + k / 2).mean(),
    }
    wanted = (r + k).mean()
    must_be(
        found,
        wanted,
        likely,
        f"the loss is {found:.6g}, expected {wanted:.6g}: the mean of reconstruction + kl",
    )


@pytest.mark.hole("VAE.updates", kind="step")
def test_updates_train_both_halves(lesson, rng):
    model = lesson.VAE(lesson.Config(pixels=D, hidden=(16,), code=2), rng=rng)
    x = np.repeat(images(rng, 3), 20, axis=0)
    before, optimizer = model.state_dict(), Adam(model.parameters(), lr=0.02)
    pairs_of(model, x, rng)
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items()), (
        "updates() changes the parameters: it only says what is to be minimised, the training loop makes the step"
    )
    first = model.evaluate(x, rng)["negative_elbo"]
    for _ in range(120):
        optimizer.step(grad(pairs_of(model, x, rng), model.parameters()))
    last = model.evaluate(x, rng)["negative_elbo"]
    after = model.state_dict()
    still = sorted({name.split(".")[0] for name in before if np.array_equal(before[name], after[name])})
    assert not still, f"120 steps did not change the {' and '.join(still)}: does it reach the loss?"
    assert last < 0.7 * first, (
        f"120 steps of Adam bring -ELBO from {first:.4g} to {last:.4g} nats: three images can be learned by heart"
    )


@pytest.mark.hole("VAE.updates", kind="step", seconds=90)
def test_linear_vae_recovers_the_truth(lesson, rng):
    d, noise, n = 5, float(rng.uniform(0.2, 0.5)), 1000
    true_W, true_b = rng.choice([-1, 1], (1, d)) * rng.uniform(0.6, 1.4, (1, d)), rng.normal(0, 1, d)
    x = (
        rng.standard_normal((n, 1)) @ true_W + true_b + math.sqrt(noise) * rng.standard_normal((n, d))
    ).astype(np.float32)
    model = lesson.fit_linear(x, 1, 500, rng)
    W, b = weights_of(model.decoder)
    found = float(np.exp(numbers(model.noise)[0]))
    mine, best = (
        lesson.linear_log_prob(x, w, c, s).mean() for w, c, s in ((W, b, found), (true_W, true_b, noise))
    )
    assert mine > best - 0.03, (
        f"a linear VAE trained on data of a known model gives them {mine:.4g} nats, the truth {best:.4g}: another loss "
        "than the ELBO was minimised"
    )
    covariance, truth = W.T @ W + found * np.eye(d), true_W.T @ true_W + noise * np.eye(d)
    off = np.abs(covariance - truth).max() / np.abs(truth).max()
    assert off < 0.25, (
        f"the covariance W^T W + noise I of the trained model is off by {off:.0%} of the true one (noise {found:.3g}, "
        f"true {noise:.3g})"
    )


# VAE.sample


def drawn(model, n, rng):
    x = numbers(model.sample(n, rng))
    d = model.config.pixels
    assert x.shape == (n, d), f"sample({n}) has shape {x.shape}; expected ({n}, {d}): one row for each image"
    return x


def one_code(lesson, rng):
    """A Bernoulli VAE of three pixels and a code of one number, whose p(x) can be integrated"""
    model = make(lesson, rng, pixels=3, code=1, hidden=())
    W, b = model.decoder.parameters()
    W._data, b._data = rng.choice([-1, 1], (1, 3)) * rng.uniform(2, 4, (1, 3)), rng.normal(0, 0.5, 3)
    return model


@pytest.mark.hole("VAE.sample", kind="value")
def test_samples_follow_p(lesson, rng):
    model, n = one_code(lesson, rng), 20000
    x = drawn(model, n, rng)
    odd = x[(x != 0) & (x != 1)]
    assert not odd.size, (
        f"a sample has pixels like {odd[0]:.3g}: these are the means of p(x|z); a sample of a Bernoulli model is 0 or "
        "1, toss a coin for each pixel"
    )
    counts = np.bincount((x @ [4, 2, 1]).astype(int), minlength=8)
    every = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    z = np.linspace(-8, 8, 4001)[:, None]
    prior = np.exp(-0.5 * z[:, 0] ** 2) / np.exp(-0.5 * z[:, 0] ** 2).sum()
    W, b = weights_of(model.decoder)
    p = sigmoid(z @ W + b)  # (M, 3)

    def mixture(weights, p):
        return np.array([(weights * np.where(image, p, 1 - p).prod(1)).sum() for image in every])

    def misfit(q):
        expected = np.maximum(n * q, 1e-9)
        return (np.square(counts - expected) / np.maximum(expected, 1)).sum()

    if misfit(mixture(prior, p)) < 60:
        return
    u = (np.arange(400) + 0.5) / 400
    flat = (np.abs(z[:, 0] - 0.5) < 0.5) / (np.abs(z[:, 0] - 0.5) < 0.5).sum()
    likely = {
        "all images come from the same code: draw a z for each": np.where(
            every, x.mean(0), 1 - x.mean(0)
        ).prod(1),
        "the pixels are rounded to the more likely value: toss a coin for each": mixture(
            prior, (p > 0.5).astype(float)
        ),
        "z is uniform in [0, 1]; the prior is N(0, I)": mixture(flat, p),
        "one random number decides all pixels of an image": np.array(
            [
                (prior[:, None] * ((u[None, :, None] < p[:, None, :]) == image).all(2)).sum() / 400
                for image in every
            ]
        ),
        "the coin falls the wrong way: a pixel is 1 where the random number is BELOW its probability": mixture(
            prior, 1 - p
        ),
        "the pixels are drawn from the logits, not from their sigmoid": mixture(
            prior, np.clip(z @ W + b, 0, 1)
        ),
    }
    why = next((says for says, q in likely.items() if misfit(q) < 60), None)
    kinds = len(np.unique(x, axis=0))
    pytest.fail(
        why
        or ("all samples are the same image" if kinds == 1 else None)
        or f"{n} samples do not follow p(x): the eight images of three pixels come in shares {(counts / n).round(3)}, "
        f"their probabilities are {mixture(prior, p).round(3)}: z from N(0, I), then each pixel from p(x|z)"
    )


@pytest.mark.hole("VAE.sample", kind="value")
def test_gaussian_samples_have_the_moments(lesson, rng):
    d, n = 4, 20000
    model = make(lesson, rng, pixels=d, code=2, hidden=(), likelihood="gaussian", scale=0.5)
    noise = float(rng.choice([-0.5, 1.3]))  # 0, 1, noise^2, exp(noise) and exp(2 noise) are far apart
    model.noise._data = np.array([noise])
    W, b = weights_of(model.decoder)
    x = drawn(model, n, rng)
    assert far_off(x, b) < SIGMAS, (
        f"the samples have mean {x.mean(0).round(3)}, expected {b.round(3)} (z has mean 0)"
    )
    outer = (x - b)[:, :, None] * (x - b)[:, None, :]  # (n, d, d)
    base = W.T @ W
    if far_off(outer, base + math.exp(noise) * np.eye(d)) < SIGMAS:
        return
    likely = {
        "the noise of the pixels is missing: these are the means of p(x|z)": base,
        "exp(noise) is used as the standard deviation of the pixels; it is their variance": base
        + math.exp(2 * noise) * np.eye(d),
        "the noise itself is used as the standard deviation; its variance is exp(noise)": base
        + noise**2 * np.eye(d),
        "the pixels have noise of variance 1; expected exp(noise)": base + np.eye(d),
        "the codes have no spread: draw z from N(0, I)": math.exp(noise) * np.eye(d),
        "one random number serves all pixels of an image": base + math.exp(noise) * np.ones((d, d)),
        "the codes are uniform; expected N(0, I)": base / 12 + math.exp(noise) * np.eye(d),
    }
    pytest.fail(
        next((says for says, c in likely.items() if far_off(outer, c) < SIGMAS), None)
        or f"the samples have variances {outer.mean(0).diagonal().round(3)}, expected W^T W + exp(noise) I: "
        f"{(base + math.exp(noise) * np.eye(d)).diagonal().round(3)}"
    )


@pytest.mark.hole("VAE.sample", kind="invariant")
def test_samples_come_from_rng(lesson, rng):
    model, seed = one_code(lesson, rng), int(rng.integers(2**31))
    one, same, other = (drawn(model, 60, np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    assert np.array_equal(one, same), (
        "the same generator gives other samples: draw everything from the rng given"
    )
    assert not np.array_equal(one, other), (
        "another generator gives the same samples: nothing is drawn from rng"
    )
    x = model.sample(3, rng)
    assert not (isinstance(x, Tensor) and x.requires_grad), (
        "the samples hang on a graph: draw them under no_grad()"
    )
    big = make(lesson, rng, pixels=64, hidden=(), channels=(3, 4))
    assert drawn(big, 1, rng).shape == (1, 64), "sample(1) must give one image, (1, pixels)"


# pathwise_gradient and score_gradient


def curve(z):
    """(S, k) -> (S,): smooth, not linear, not the same in each direction; arrays and Tensors alike"""
    return ops.sum(ops.square(z) * 0.7 + ops.sin(z), axis=1) + z[:, 0] * z[:, -1] * 0.3


def slopes(z):
    g = 1.4 * z + np.cos(z)
    g[:, 0] += 0.3 * z[:, -1]
    g[:, -1] += 0.3 * z[:, 0]
    return g


def two_arrays(found, shape, name):
    assert isinstance(found, tuple | list) and len(found) == 2, (
        f"{name} gives a {type(found).__name__}; expected a pair: for mu, for log_var"
    )
    for what, one in zip(("mu", "log_var"), found, strict=True):
        assert shape_of(one) == shape, (
            f"{name} for {what} has shape {shape_of(one)}; expected {shape}: one estimate for each draw, not their mean"
        )
    return numbers(found[0]), numbers(found[1])


@pytest.mark.hole("pathwise_gradient", kind="value")
def test_pathwise_value(lesson, rng):
    mu, lv, eps = rng.normal(size=K), rng.normal(size=K), rng.standard_normal((9, K))
    sigma = np.exp(0.5 * lv)
    g = slopes(mu + sigma * eps)
    for_mu, for_lv = two_arrays(lesson.pathwise_gradient(curve, mu, lv, eps), eps.shape, "pathwise_gradient")
    must_be(
        for_mu,
        g,
        {
            "the gradients are averaged over the draws already: divide by nothing": g / 9,
            "the gradient is multiplied by sigma: dz/dmu is 1": g * sigma,
            "z is drawn with exp(log_var) as the standard deviation": slopes(mu + np.exp(lv) * eps),
            "it is the score-function estimator": np.array(curve(mu + sigma * eps))[:, None] * eps / sigma,
        },
        "d f(mu + sigma eps) / d mu is the slope of f at z, for each draw",
    )
    must_be(
        for_lv,
        0.5 * g * sigma * eps,
        {
            "the factor 1/2 is missing: d sigma / d log_var is sigma / 2": g * sigma * eps,
            "it is the gradient for sigma; expected for log_var": g * eps,
            "it is the gradient for mu a second time": g,
            "the gradients are averaged over the draws already: divide by nothing": 0.5 * g * sigma * eps / 9,
        },
        "d f(mu + sigma eps) / d log_var is the slope of f at z times sigma eps / 2, for each draw",
    )


@pytest.mark.hole("pathwise_gradient", kind="invariant")
def test_pathwise_is_unbiased(lesson, rng):
    mu, lv, a, n = rng.normal(size=K), rng.uniform(-1, 1, K), rng.normal(size=K), 4000
    found = two_arrays(
        lesson.pathwise_gradient(
            lambda z: ops.sum(ops.square(z - a), axis=1), mu, lv, rng.standard_normal((n, K))
        ),
        (n, K),
        "pathwise_gradient",
    )
    for what, one, wanted in zip(("mu", "log_var"), found, (2 * (mu - a), np.exp(lv)), strict=True):
        assert far_off(one, wanted) < SIGMAS, (
            f"the mean of {n} estimates for {what} is {one.mean(0)}; E|z - a|^2 has gradient {wanted}"
        )


@pytest.mark.hole("score_gradient", kind="value")
def test_score_value(lesson, rng):
    mu, lv, eps = rng.normal(size=K), rng.normal(size=K), rng.standard_normal((9, K))
    sigma = np.exp(0.5 * lv)
    z = mu + sigma * eps
    f = np.array(curve(z))[:, None]
    for_mu, for_lv = two_arrays(lesson.score_gradient(curve, mu, lv, eps), eps.shape, "score_gradient")
    must_be(
        for_mu,
        f * eps / sigma,
        {
            "eps / sigma^2: with z - mu = sigma eps, (z - mu) / sigma^2 is eps / sigma": f * eps / sigma**2,
            "eps is not divided by sigma": f * eps,
            "eps is multiplied by sigma; expected divided": f * eps * sigma,
            "its sign is wrong": -f * eps / sigma,
            "f(z) is missing: that is the score alone": eps / sigma + 0 * f,
            "the logarithm of f is taken": np.log(np.abs(f)) * eps / sigma,
            "it is the pathwise estimator: the slope of f is not to be used": slopes(z),
            "the average of f is subtracted: a fine idea (a baseline), but not what is asked for": (
                f - f.mean()
            )
            * eps
            / sigma,
            "z is drawn with exp(log_var) as the standard deviation": np.array(curve(mu + sigma**2 * eps))[
                :, None
            ]
            * eps
            / sigma,
        },
        "for mu: f(z) (z - mu) / sigma^2, for each draw",
    )
    must_be(
        for_lv,
        f * (eps**2 - 1) / 2,
        {
            "the factor 1/2 is missing": f * (eps**2 - 1),
            "the -1 is missing: the score has mean 0": f * eps**2 / 2,
            "it is the gradient for sigma; expected for log_var": f * (eps**2 - 1) / sigma,
            "the average of f is subtracted: a fine idea (a baseline), but not what is asked for": (
                f - f.mean()
            )
            * (eps**2 - 1)
            / 2,
        },
        "for log_var: f(z) ((z - mu)^2 / sigma^2 - 1) / 2, for each draw",
    )


@pytest.mark.hole("score_gradient", kind="invariant")
def test_score_needs_values_only(lesson, rng):
    mu, lv, n = rng.normal(0, 0.5, 1), rng.uniform(-1, 1, 1), 40000
    sigma = math.exp(0.5 * lv[0])

    def step(z):
        assert not isinstance(z, Tensor), (
            "f was given a Tensor: the score-function estimator needs values only"
        )
        return (np.asarray(z)[:, 0] > 0).astype(np.float64)

    for_mu, _ = two_arrays(
        lesson.score_gradient(step, mu, lv, rng.standard_normal((n, 1))), (n, 1), "score_gradient"
    )
    wanted = math.exp(-0.5 * (mu[0] / sigma) ** 2) / math.sqrt(2 * math.pi) / sigma
    assert far_off(for_mu, wanted) < SIGMAS, (
        f"the chance that z is above 0 has slope {wanted:.4g} in mu; the mean of {n} estimates is {for_mu.mean():.4g}"
    )


@pytest.mark.hole("score_gradient", kind="invariant")
def test_score_has_the_larger_variance(lesson, rng):
    k, n = 20, 2000
    eps, zero = rng.standard_normal((n, k)), np.zeros(k)

    def f(z):
        return ops.sum(ops.square(z - 1.0), axis=1)

    score = two_arrays(lesson.score_gradient(f, zero, zero, eps), (n, k), "score_gradient")[0]
    path = two_arrays(lesson.pathwise_gradient(f, zero, zero, eps), (n, k), "pathwise_gradient")[0]
    ratio = float(score.var(0).mean() / path.var(0).mean())
    assert ratio > 20, (
        f"for |z - 1|^2 of {k} numbers the score estimator has {ratio:.3g} times the variance of the pathwise one; "
        "expected hundreds of times: is it the pathwise estimator?"
    )


# linear_log_prob and linear_posterior


def linear_model(rng, n=6, d=5, k=2):
    W, b, noise = rng.normal(size=(k, d)), rng.normal(size=d), float(rng.uniform(0.1, 0.6))
    return rng.normal(size=(n, d)) * 1.5 + b, W, b, noise


def gaussian(x, mean, C):
    """log N(x; mean, C) by the eigenvectors of C"""
    values, vectors = np.linalg.eigh(C)
    u = (x - mean) @ vectors
    return -0.5 * (np.log(values).sum() + len(C) * LOG_2PI + (u**2 / values).sum(1))


@pytest.mark.hole("linear_log_prob", kind="value")
def test_linear_value(lesson, rng):
    x, W, b, noise = linear_model(rng)
    d = len(b)
    C = W.T @ W + noise * np.eye(d)
    wanted = gaussian(x, b, C)
    away = x - b
    quadratic, log_det = (away @ np.linalg.inv(C) * away).sum(1), np.log(np.linalg.det(C))
    likely = {
        "noise is taken for the standard deviation: it is the variance": gaussian(
            x, b, W.T @ W + noise**2 * np.eye(d)
        ),
        "noise is missing from the covariance of x, or counts as 1": gaussian(x, b, W.T @ W + np.eye(d)),
        "b is not subtracted": gaussian(x, 0 * b, C),
        "D log 2 pi is missing": wanted + 0.5 * d * LOG_2PI,
        "log det C is missing": wanted + 0.5 * log_det,
        "the sign of log det C is wrong": wanted + log_det,
        "the determinant itself was taken; expected its logarithm": -0.5
        * (d * LOG_2PI + math.exp(log_det) + quadratic),
        "the factor 1/2 is missing": 2 * wanted,
        "its sign is wrong": -wanted,
        "C is not inverted in the quadratic form": -0.5 * (d * LOG_2PI + log_det + (away @ C * away).sum(1)),
        "it is the sum over the images: keep them apart, (N,)": wanted.sum(),
        "it is the average over the images: keep them apart, (N,)": wanted.mean(),
        "it is log p(x|z) at the code 0: integrate over z": log_normal(b, np.full(d, math.log(noise)), x),
    }
    must_be(
        lesson.linear_log_prob(x, W, b, noise),
        wanted,
        likely,
        "log p(x) is not log N(x; b, W^T W + noise I), one number for each image",
    )


@pytest.mark.hole("linear_log_prob", kind="invariant")
def test_linear_of_many_pixels(lesson, rng):
    d = 400
    W, b, noise = rng.normal(size=(2, d)) * 0.1, rng.normal(size=d), 1e-3
    x = rng.standard_normal((3, 2)) @ W + b + math.sqrt(noise) * rng.standard_normal((3, d))
    found = np.asarray(lesson.linear_log_prob(x, W, b, noise))
    assert np.isfinite(found).all(), (
        f"{d} pixels and noise {noise} give {found}: det C is 1e-1200 there, which is 0 in floating point; "
        "np.linalg.slogdet gives the logarithm itself"
    )
    assert near(found, gaussian(x, b, W.T @ W + noise * np.eye(d)), 1e-6), f"log p(x) of {d} pixels is wrong"


@pytest.mark.hole("linear_posterior", kind="value")
def test_posterior_value(lesson, rng):
    for k in (2, 1, 3):
        x, W, b, noise = linear_model(rng, k=k)
        d = len(b)
        found = lesson.linear_posterior(x, W, b, noise)
        assert isinstance(found, tuple | list) and len(found) == 2, (
            "expected a pair: mean (N, k), covariance (k, k)"
        )
        C = W.T @ W + noise * np.eye(d)  # of x; the covariance of z and x together is W: condition on x
        gain = np.linalg.solve(C, W.T)  # (d, k)
        mean, covariance = (x - b) @ gain, np.eye(k) - W @ gain
        no_prior = noise * np.linalg.inv(W @ W.T)
        squared = np.linalg.inv(np.eye(k) + W @ W.T / noise**2)
        must_be(
            found[1],
            covariance,
            {
                "it is the precision; expected its inverse, the covariance": np.linalg.inv(covariance),
                "the prior is forgotten: P = I + W W^T / noise": no_prior,
                "noise is taken for the standard deviation: it is the variance": squared,
                "W W^T is multiplied by the noise; expected divided": np.linalg.inv(
                    np.eye(k) + W @ W.T * noise
                ),
                "only the diagonal is there: the posterior has correlations": np.diag(np.diag(covariance)),
                "the noise is missing": np.linalg.inv(np.eye(k) + W @ W.T),
            },
            "the covariance of p(z|x) is not the inverse of I + W W^T / noise",
        )
        must_be(
            found[0],
            mean,
            {
                "b is not subtracted": x @ gain,
                "the division by the noise is missing": mean * noise,
                "the prior is forgotten: the mean is drawn towards 0 by it": (x - b) @ W.T @ no_prior / noise,
                "noise is taken for the standard deviation: it is the variance": (x - b)
                @ W.T
                @ squared
                / noise**2,
                "the covariance is missing from the mean": (x - b) @ W.T / noise,
            },
            "the mean of p(z|x) is not (x - b) W^T P^-1 / noise",
        )


@pytest.mark.hole("linear_posterior", kind="invariant")
def test_bound_is_exact_at_the_posterior(lesson, rng):
    x, W, b, noise = linear_model(rng, k=2)
    mean, covariance = (numbers(part) for part in lesson.linear_posterior(x, W, b, noise))
    log_p = gaussian(x, b, W.T @ W + noise * np.eye(len(b)))

    def elbo(m, S):
        """E_q[log p(x|z)] - KL(q || N(0, I)) for q = N(m, S), in closed form"""
        error = np.square(x - b - m @ W).sum(1) + np.trace(W.T @ S @ W)
        fit = -0.5 * (error / noise + len(b) * (math.log(noise) + LOG_2PI))
        return fit - 0.5 * (np.square(m).sum(1) + np.trace(S) - len(S) - np.linalg.slogdet(S)[1])

    gap = np.abs(elbo(mean, covariance) - log_p).max()
    assert gap < 1e-8, (
        f"with your p(z|x) as q the bound misses log p(x) by {gap:.3g} nats; at the true posterior it misses nothing"
    )
    worse = elbo(mean + 0.1 * rng.normal(size=mean.shape), covariance * 1.2)
    assert (worse < log_p).all(), "another q reaches log p(x) too: then this one is not the true posterior"


# integrated_log_prob


@pytest.mark.hole("integrated_log_prob", kind="value")
def test_integral_of_a_linear_model(lesson, rng):
    model = make(lesson, rng, pixels=5, code=1, hidden=(), likelihood="gaussian", scale=1.0)
    noise = float(rng.uniform(-1, 0.5))
    model.noise._data = np.array([noise])
    W, b = weights_of(model.decoder)
    x = (rng.standard_normal((6, 1)) @ W + b + math.exp(0.5 * noise) * rng.standard_normal((6, 5))).astype(
        np.float32
    )
    wanted = gaussian(x, b, W.T @ W + math.exp(noise) * np.eye(5))
    z = np.linspace(-8, 8, 1000)
    each = np.stack([log_normal(z[:, None] * W + b, noise, row) for row in x.astype(np.float64)])  # (N, M)
    prior = -0.5 * (z**2 + LOG_2PI)
    log_sum = np.logaddexp.reduce
    likely = {
        "the prior is missing: p(x) is the integral of p(x|z) p(z)": log_sum(each, axis=1)
        + math.log(z[1] - z[0]),
        "the average over the grid is taken, without the prior": log_sum(each, axis=1) - math.log(1000),
        "dz is missing: the sum grows with the number of points": log_sum(each + prior, axis=1),
        "the sum is divided by the number of points; expected times dz": log_sum(each + prior, axis=1)
        - math.log(1000),
        "the prior is not normalised: log N(z) has -log(2 pi) / 2": wanted + 0.5 * LOG_2PI,
        "it is the average of log p(x|z), not the log of an average": (
            np.exp(prior) * (z[1] - z[0]) * each
        ).sum(1),
        "it is the best code's log p(x|z)": each.max(1),
        "it is the largest of log p(x|z) p(z); expected the integral": (each + prior).max(1),
        "it is p(x); expected its logarithm": np.exp(wanted),
    }
    must_be(
        lesson.integrated_log_prob(model, x),
        wanted,
        likely,
        "the integral over the code differs from log N(x; b, W^T W + noise I), which this model has exactly",
        rtol=1e-4,
    )


@pytest.mark.hole("integrated_log_prob", kind="invariant")
def test_integral_is_a_distribution(lesson, rng):
    d = 6
    model = make(lesson, rng, pixels=d, code=1, hidden=(7,), scale=1.0)
    x = (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(np.float32)
    found = np.asarray(numbers(lesson.integrated_log_prob(model, x)))
    assert found.shape == (2**d,), f"{2**d} images give shape {found.shape}; expected one log p(x) for each"
    total = np.exp(found).sum()
    assert abs(total - 1) < 1e-4, (
        f"the probabilities of all 2^{d} images of {d} pixels sum to {total:.6g}; expected 1"
    )
    shaped = numbers(lesson.integrated_log_prob(model, x[:4].reshape(4, 2, 3)))
    assert near(shaped, found[:4]), "images (N, H, W) and the same images as rows differ"


@pytest.mark.hole("integrated_log_prob", kind="invariant", seconds=60)
def test_integral_of_real_sizes(lesson, rng):
    model = make(lesson, rng, pixels=1600, code=1, hidden=(), scale=0.05)
    x = images(rng, 2, 1600)
    found = numbers(lesson.integrated_log_prob(model, x))
    assert np.isfinite(found).all() and (found < -900).all(), (
        f"images of 1,600 pixels have log p(x) = {found}: exp(-1100) is 0 in floating point; sum with logsumexp "
        "(np.logaddexp.reduce), which takes the largest one out first"
    )
    finer = numbers(lesson.integrated_log_prob(model, x, points=1500))
    assert near(found, finer, 1e-4), f"with 1,500 points instead of 1,000 log p(x) is {finer}, not {found}"
