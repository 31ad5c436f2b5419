"""Checks of e14: each hole against NumPy written out here, and against models whose log p(x) is known exactly."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import contextlib
import math
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import Tensor, grad, ops
from solutions.e13_vae import VAE, Config

D, C = 12, 3  # pixels, numbers of a code
LOG_2PI = math.log(2 * math.pi)


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def number(value):
    """One number -> float"""
    assert np.ndim(numbers(value)) == 0, f"it gives shape {shape_of(value)}; expected one number"
    return float(numbers(value))


def shape_of(value):
    return tuple(np.shape(numbers(value)))


def near(a, b, rtol=1e-5):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise, rtol=1e-5):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted, rtol):
        pytest.fail(next((says for says, value in likely.items() if near(found, value, rtol)), otherwise))


@contextlib.contextmanager
def told(what, cause):
    """An exception of the learner's code is told with its likely cause"""
    try:
        yield
    except (AssertionError, NotImplementedError):
        raise
    except Exception as error:
        says = f"{what} raised {type(error).__name__} ({str(error)[:160]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


def lme(a, axis=0):
    """log mean exp, written out"""
    a = np.asarray(a, np.float64)
    return np.logaddexp.reduce(a, axis=axis) - math.log(a.shape[axis])


def normal_log(z, mu, log_var):
    return -0.5 * (np.square(z - mu) / np.exp(log_var) + log_var + LOG_2PI)


def bernoulli_log(x, logits):
    return -(np.logaddexp(0, logits) - x * logits).sum(-1)


# Models to evaluate


def make(rng, kind=VAE, n=4, **changes):
    """A small model in float64 with random weights and biases everywhere, and n binary images"""
    extra = {"k": changes.pop("k")} if "k" in changes else {}
    config = Config(**({"pixels": D, "hidden": (7,), "code": C, "bend": "tanh"} | changes))
    model = kind(config, rng=rng, **extra)
    for p in model.parameters():
        p.data = rng.normal(0, 0.6, p.shape)
    return model, (rng.random((n, D)) < 0.5).astype(np.float32)


def blind(model, rng):
    """The decoder stops looking at its code, q becomes the prior: L_k = log p(x) then, whatever is drawn"""
    for network in (model.encoder, model.decoder):
        *_, W, b = network.parameters()
        W.data = np.zeros(W.shape)
        b.data = np.zeros(b.shape)
    b.data = rng.normal(0, 1, b.shape)
    return b.numpy()  # the logits of every image


def widen(model):
    """q(z|x) becomes the prior, whatever the image: no weight is much larger than the others"""
    for p in list(model.encoder.parameters())[-2:]:
        p.data = np.zeros(p.shape)


class Counting:
    """A decoder that writes down how many codes it was given"""

    def __init__(self, inner):
        self.inner, self.rows = inner, []

    def __call__(self, z):
        self.rows.append(z.shape[0])
        return self.inner(z)


class Linear:
    """x = z W + b + e at (N, D) images, every number a draw's; q is N(mean, exp(log_var)); log p(x) is known"""

    def __init__(self, rng, n, off=1.0, width=1.5, c=2, d=4):
        basis, _ = np.linalg.qr(rng.normal(size=(d, c)))
        self.W, self.b, self.noise = 1.5 * basis.T, rng.normal(size=d), 0.4
        self.x = rng.normal(size=(n, c)) @ self.W + self.b + math.sqrt(0.4) * rng.normal(size=(n, d))
        precision = (
            1 + 1.5**2 / self.noise
        )  # the rows of W are orthogonal: the posterior's axes are independent
        true, variance = (self.x - self.b) @ self.W.T / self.noise / precision, 1 / precision
        self.mean = true + off * math.sqrt(variance)
        self.log_var = np.full(c, math.log(variance * width**2))
        covariance = self.W.T @ self.W + self.noise * np.eye(d)
        away = self.x - self.b
        squares = (away * np.linalg.solve(covariance, away.T).T).sum(1)
        self.log_p = -0.5 * (d * LOG_2PI + np.linalg.slogdet(covariance)[1] + squares)
        self.kl = c * 0.5 * (off**2 + width**2 - 1 - 2 * math.log(width))  # KL(q || the true posterior)
        self.asked = []

    def sample(self, k, rng):
        self.asked.append(int(k))
        eps = rng.standard_normal((k, *self.mean.shape))
        return Tensor(self.mean + np.exp(0.5 * self.log_var) * eps)

    def log_q(self, z):
        return Tensor(normal_log(numbers(z), self.mean, self.log_var).sum(2))

    def log_joint(self, z):
        z = numbers(z)
        return Tensor(
            normal_log(self.x, z @ self.W + self.b, math.log(self.noise)).sum(2) + normal_log(z, 0, 0).sum(2)
        )


class Table:
    """Draw i is the number i itself, and both logarithms are looked up in tables: nothing is left to chance"""

    def __init__(self, log_p, log_q):
        self.log_p, self.tables, self.next, self.asked = log_p, log_q, 0, []

    def sample(self, k, rng):
        rng.random()
        self.asked.append(int(k))
        draws = self.next + np.arange(k)
        self.next += k
        n = self.log_p.shape[1]
        return Tensor(np.broadcast_to(draws[:, None, None], (k, n, 1)).astype(np.float64))

    def _rows(self, z):
        return numbers(z)[:, 0, 0].astype(int) % len(self.log_p)

    def log_q(self, z):
        return Tensor(self.tables[self._rows(z)])

    def log_joint(self, z):
        return Tensor(self.log_p[self._rows(z)])


def tables(rng, k, n=5, spread=4.0):
    return rng.normal(-90, spread, (k, n)), rng.normal(-5, spread, (k, n))


# log_mean_exp


@pytest.mark.hole("log_mean_exp", kind="value")
def test_log_mean_exp_value(lesson, rng):
    for k, n in ((6, 4), (1, 3), (40, 1)):
        a = rng.normal(0, 2, (k, n))
        with told("log_mean_exp", "a is a Tensor (k, N): use ops, or a's own methods"):
            found = lesson.log_mean_exp(Tensor(a))
        assert shape_of(found) == (n,), (
            f"({k}, {n}) logarithms give shape {shape_of(found)}; expected ({n},): a mean over axis 0"
        )
        if k == 1:
            assert near(found, a[0]), "of a single number it must be that number (k = 1)"
            continue
        likely = {
            "this is the mean of the logs (the ELBO's estimate); expected the log of the mean": a.mean(0),
            "this is the log of the SUM; expected that of the mean: subtract log k": lme(a) + math.log(k),
            "log k is added; expected it subtracted (a mean is the sum divided by k)": lme(a)
            + 2 * math.log(k),
            "the sum is divided by N, the number of images; expected k": lme(a) + math.log(k) - math.log(n),
            "k is subtracted; expected log k": lme(a) + math.log(k) - k,
            "the log of the sum is divided by k; expected log k subtracted": (lme(a) + math.log(k)) / k,
            "this is the mean itself; its log is missing": np.exp(a).mean(0),
            "this is the largest of each column; expected the log of the mean of the exponentials": a.max(0),
            "the largest was taken out and never put back: add it after the log": lme(a) - a.max(0),
        }
        must_be(
            found,
            lme(a),
            likely,
            f"log_mean_exp of ({k}, {n}) normal numbers is not log(mean(exp(a), axis=0))",
        )


@pytest.mark.hole("log_mean_exp", kind="invariant")
def test_log_mean_exp_is_finite(lesson, rng):
    a = rng.normal(0, 2, (6, 4)).astype(np.float32)
    for shift, what in ((-2000, "underflows: log 0 is -inf"), (2000, "overflows")):
        with np.errstate(all="ignore"):
            found = numbers(lesson.log_mean_exp(Tensor(a + np.float32(shift))))
        assert np.isfinite(found).all(), (
            f"log-weights around {shift} give {found[0]}: exp {what}. Take the largest of each column "
            "out first, or use ops.logsumexp"
        )
        assert near(found, lme(a) + shift, 1e-3), (
            f"adding {shift} to every number must add {shift} to the result"
        )
    wide = a + np.float32([0, -3000, 500, -600])
    with np.errstate(all="ignore"):
        found = numbers(lesson.log_mean_exp(Tensor(wide)))
    assert np.isfinite(found).all() and near(found, lme(wide), 1e-4), (
        f"images of very different weights, {[0, -3000, 500, -600]}, give {found.round(1)}; expected "
        f"{lme(wide).round(1)}: it is the largest of each COLUMN that must come out, not the largest of all"
    )
    zero = a.copy()
    zero[2, 1] = -np.inf
    with np.errstate(all="ignore"):
        found = numbers(lesson.log_mean_exp(Tensor(zero)))
    assert near(found, lme(zero), 1e-4), (
        "a draw of weight 0, log -inf, must count as one of k draws that adds nothing"
    )


@pytest.mark.hole("log_mean_exp", kind="gradient")
def test_log_mean_exp_gradient(lesson, rng):
    a = Tensor(rng.normal(0, 2, (6, 4)) - 300, requires_grad=True)
    y = lesson.log_mean_exp(a)
    assert isinstance(y, Tensor) and y.requires_grad, (
        "log_mean_exp is cut off from the graph: no gradient can flow (was .data, .numpy() or NumPy itself used?)"
    )
    upstream = rng.normal(size=4)
    found = numbers(grad(ops.sum(y * upstream), a))
    shares = np.exp(numbers(a) - lme(numbers(a))) / 6
    likely = {
        "every draw gets the same gradient, 1/k; expected its share of the weights": np.full(
            (6, 4), upstream / 6
        )
    }
    must_be(
        found, shares * upstream, likely, "the gradient is not each draw's share of the weights, w_i / sum w"
    )


# AtVAE.log_q


@pytest.mark.hole("AtVAE.log_q", kind="value")
def test_log_q_value(lesson, rng):
    model, x = make(rng)
    at = lesson.AtVAE(model, x)
    z = rng.normal(0, 2, (5, 4, C))
    with told("log_q", "z is (k, N, c), self.mu and self.log_var are (N, c): they broadcast as they are"):
        found = at.log_q(Tensor(z))
    assert shape_of(found) == (5, 4), (
        f"5 draws for 4 images give shape {shape_of(found)}; expected (5, 4): the sum over a code's {C} numbers alone"
    )
    mu, log_var = numbers(at.mu), numbers(at.log_var)
    each = normal_log(z, mu, log_var)
    wanted = each.sum(2)
    likely = {
        "the constant log 2 pi is missing: it does not cancel against an exact log p(x)": (
            each + LOG_2PI / 2
        ).sum(2),
        "log sigma^2 is missing: a narrow density is a high one": (each + log_var / 2).sum(2),
        "the term log sigma^2 has the wrong sign": (each + log_var).sum(2),
        "log_var is the log of the VARIANCE; here it serves as that of the standard deviation": normal_log(
            z, mu, 2 * log_var
        ).sum(2),
        "(z - mu) is divided by sigma once, not squared with it: (z - mu)^2 / sigma^2": (
            -0.5 * (np.square(z - mu) / np.exp(log_var / 2) + log_var + LOG_2PI)
        ).sum(2),
        "log_var itself is divided by; its exponential is the variance": (
            -0.5 * (np.square(z - mu) / log_var + log_var + LOG_2PI)
        ).sum(2),
        "averaged over the numbers of a code; expected their sum": each.mean(2),
        "this is -log q: the sign is wrong": -wanted,
        "this is the prior's log p(z): q(z|x) has mu and log_var": normal_log(z, 0, 0).sum(2),
        "twice too large: the half before the bracket is missing": 2 * wanted,
    }
    must_be(found, wanted, likely, "log_q is not the log-density of N(mu, exp(log_var)) at the draws")


@pytest.mark.hole("AtVAE.log_q", kind="gradient")
def test_log_q_gradient(lesson, rng):
    model, x = make(rng)
    at = lesson.AtVAE(model, x)
    z = Tensor(rng.normal(0, 2, (5, 4, C)), requires_grad=True)
    y = at.log_q(z)
    assert isinstance(y, Tensor) and y.requires_grad, (
        "log_q is cut off from the graph; the bound is trained through it, and through mu and log_var"
    )
    found = grad(ops.sum(y), [z, at.mu, at.log_var], allow_unused=True)
    scaled = (numbers(z) - numbers(at.mu)) / np.exp(numbers(at.log_var))
    squares = np.square(numbers(z) - numbers(at.mu)) / np.exp(numbers(at.log_var))
    wanted = [-scaled, scaled.sum(0), ((squares - 1) / 2).sum(0)]
    for name, g, right in zip(("z", "mu", "log_var"), found, wanted, strict=True):
        assert g is not None, f"no gradient reaches {name}: is it detached?"
        assert near(g, right), (
            f"the gradient of log_q with respect to {name} is wrong: is {name} detached in a part?"
        )


# AtVAE.log_joint


def decoded(model, z):
    """(k, N, c) -> (k, N, D), through the model's own decoder"""
    rows = numbers(model.decoder(Tensor(z.reshape(-1, z.shape[2]))))
    return rows.reshape(*z.shape[:2], -1)


@pytest.mark.hole("AtVAE.log_joint", kind="value")
def test_log_joint_value(lesson, rng):
    for likelihood in ("bernoulli", "gaussian"):
        model, x = make(rng, likelihood=likelihood)
        at = lesson.AtVAE(model, x)
        z = rng.normal(0, 2, (5, 4, C))
        cause = "self.model.decoder takes rows (k N, c); log_likelihood takes (k N, D) twice: x must be there k times"
        with told("log_joint", cause):
            found = at.log_joint(Tensor(z))
        assert shape_of(found) == (5, 4), (
            f"5 draws for 4 images give shape {shape_of(found)}; expected (5, 4)"
        )
        raw = decoded(model, z)
        if likelihood == "bernoulli":
            score = bernoulli_log
        else:
            noise = numbers(model.noise)

            def score(x, raw, noise=noise):
                return normal_log(x, raw, noise).sum(-1)

        pixels, prior = score(x, raw), normal_log(z, 0, 0).sum(2)
        shuffled = score(np.repeat(x, 5, axis=0).reshape(5, 4, D), raw)
        crossed = decoded(model, z.transpose(1, 0, 2).reshape(5, 4, C))
        decode = numbers(model.decode(Tensor(z.reshape(20, C)))).reshape(5, 4, D)
        likely = {
            "`decode` gives probabilities; log_likelihood takes what the decoder gives before that: "
            "self.model.decoder(z)": score(x, decode) + prior,
            "log p(z) is missing: this is log p(x|z) alone": pixels,
            "this is log p(z) alone: log p(x|z) is missing": prior,
            "log p(z) is subtracted; log p(x, z) is the sum of the two": pixels - prior,
            "codes and images are not matched: draw i of image n must meet image n (each image repeated k times in a "
            "row? it is the whole batch that is repeated)": shuffled + prior,
            "the axes of draws and images are mixed up in the reshape": score(x, crossed) + prior,
            "the prior's constant log 2 pi is missing: it is c/2 log 2 pi": pixels + prior + C * LOG_2PI / 2,
            "the prior's constant is counted once; expected once for each number of the code": (
                pixels - 0.5 * (np.square(z).sum(2) + LOG_2PI)
            ),
            "the prior is averaged over the numbers of a code; expected their sum": pixels + prior / C,
            "averaged over the pixels; expected their sum": pixels / D + prior,
            "the half of the prior's bracket is missing": pixels + 2 * prior,
            "the sign is wrong: this is -log p(x, z)": -pixels - prior,
            "log p(x|z) has the wrong sign: log_likelihood is a log-probability, no loss": prior - pixels,
            "log q(z|x) is in it already; log_joint is log p(x, z) alone": (
                pixels + prior - normal_log(z, numbers(at.mu), numbers(at.log_var)).sum(2)
            ),
            "the likelihood is the Bernoulli's; model.log_likelihood knows which one it is": (
                bernoulli_log(x, raw) + prior
            ),
        }
        must_be(
            found, pixels + prior, likely, "log_joint is not log p(x|z) + log p(z), each draw with its image"
        )


@pytest.mark.hole("AtVAE.log_joint", kind="shape")
def test_log_joint_of_pictures_and_single_draws(lesson, rng):
    model, x = make(rng)
    square = lesson.AtVAE(model, x.reshape(4, 3, 4))
    flat = lesson.AtVAE(model, x)
    z = Tensor(rng.normal(0, 1, (1, 4, C)))
    with told("log_joint", "images may be (N, H, W); self.x has them as rows"):
        assert shape_of(square.log_joint(z)) == (1, 4), "one draw for 4 images must give (1, 4)"
        assert near(square.log_joint(z), flat.log_joint(z)), (
            "images (N, H, W) and rows (N, D) must give the same"
        )


@pytest.mark.hole("AtVAE.log_joint", kind="gradient")
def test_log_joint_gradient(lesson, rng):
    model, x = make(rng)
    at = lesson.AtVAE(model, x)
    z = Tensor(rng.normal(0, 1, (5, 4, C)), requires_grad=True)
    y = at.log_joint(z)
    assert isinstance(y, Tensor) and y.requires_grad, (
        "log_joint is cut off from the graph: no gradient can flow"
    )
    upstream, h = rng.normal(size=(5, 4)), 1e-5
    weights = list(model.decoder.parameters())
    found = grad(ops.sum(y * upstream), [z, *weights], allow_unused=True)
    assert all(g is not None for g in found), (
        "no gradient reaches the decoder, or the codes: the graph is cut (z turned into an array? no_grad?)"
    )
    direction = rng.normal(size=z.shape)
    ends = []
    for sign in (1, -1):
        there = numbers(z) + sign * h * direction
        ends.append(bernoulli_log(x, decoded(model, there)) + normal_log(there, 0, 0).sum(2))
    slope = float(((ends[0] - ends[1]) * upstream).sum() / (2 * h))
    mine = float((numbers(found[0]) * direction).sum())
    assert abs(mine - slope) < 1e-4 * max(1, abs(slope)), (
        f"the gradient with respect to z has slope {mine:.5g} along a direction, the function itself {slope:.5g}: "
        "one of its two parts, log p(x|z) and log p(z), does not pass its gradient"
    )


# iwae_bound


@pytest.mark.hole("iwae_bound", kind="value")
def test_bound_value(lesson, rng):
    for k in (1, 7):
        log_p, log_q = tables(rng, k)
        at = Table(log_p, log_q)
        with told("iwae_bound", "z = at.sample(k, rng); at.log_joint(z) and at.log_q(z) are (k, N)"):
            found = lesson.iwae_bound(at, k, rng)
        assert shape_of(found) == (5,), (
            f"5 images give shape {shape_of(found)}; expected (5,): one bound for each"
        )
        assert at.asked, "nothing was drawn: at.sample(k, rng)"
        assert len(at.asked) == 1, (
            f"at.sample was called {len(at.asked)} times: log p and log q must be taken at the SAME draws; draw once"
        )
        assert at.asked == [k], f"{at.asked[0]} draws for each image; expected k = {k}"
        w = log_p - log_q
        likely = {
            "this is the mean of the log-weights, the ELBO; expected the log of their mean": w.mean(0),
            "log q(z|x) is forgotten: the draws come from q, each must be divided by it": lme(log_p),
            "log q(z|x) is added; a weight is p(x, z) DIVIDED by q(z|x)": lme(log_p + log_q),
            "the weights are upside down: log q - log p": lme(-w),
            "minus the bound: it is the loss that has the minus": -lme(w),
            "this is the log of the sum of the weights; expected that of their mean": lme(w) + math.log(k),
            "log p and log q are averaged apart; a weight belongs to one draw": lme(log_p) - lme(log_q),
            "log p(x, z) is forgotten": -lme(log_q),
            "this is the log of the largest weight; expected that of their mean": w.max(0),
        }
        must_be(found, lme(w), likely, f"k = {k}: the bound is not log_mean_exp of log p(x, z) - log q(z|x)")


@pytest.mark.hole("iwae_bound", kind="invariant")
def test_bound_rises_to_log_p(lesson, rng):
    exact = Linear(rng, 30, off=0, width=1)
    found = numbers(lesson.iwae_bound(exact, 3, rng))
    assert near(found, exact.log_p, 1e-6), (
        "with the true posterior as q every weight is p(x): the bound must be log p(x) for each image, for any draws"
    )
    n, before, slack = 6000, None, 0.0
    for k in (1, 4, 40):
        at = Linear(rng, n)
        gap = numbers(lesson.iwae_bound(at, k, rng)) - at.log_p  # log p(x) - L_k, negated
        mean, error = gap.mean(), gap.std() / math.sqrt(n)
        if k == 1:
            assert abs(mean + at.kl) < 6 * error, (
                f"k = 1 gives log p(x) {mean:+.3f} on average; expected {-at.kl:+.3f} +- {error:.3f}, the ELBO: with "
                "one draw the two have the same expectation"
            )
        assert mean < 5 * error, f"k = {k}: the bound lies {mean:.3f} nats ABOVE log p(x): it is no bound"
        if before is not None:
            assert mean > before - 5 * math.hypot(error, slack), (
                f"the bound falls from {before:+.3f} to {mean:+.3f} below log p(x) at k = {k}; it may only rise with k"
            )
            assert mean > before + 0.1, (
                f"the bound stays at log p(x) {mean:+.3f} with k = {k} draws: do all k count (or are they one draw?)"
            )
        before, slack = mean, error
    assert mean > -0.15, f"with 40 draws the bound is still {mean:+.3f} from log p(x); expected about -0.05"


@pytest.mark.hole("iwae_bound", kind="gradient")
def test_bound_gradient(lesson, rng):
    mu = Tensor(rng.normal(size=(4, C)), requires_grad=True)
    kept = {}

    def sample(k, rng):
        kept["eps"] = rng.standard_normal((k, 4, C))
        return mu + kept["eps"]

    at = SimpleNamespace(
        sample=sample,
        log_q=lambda z: ops.sum(ops.square(z - mu), axis=2) * -0.5,
        log_joint=lambda z: ops.sum(ops.sin(z), axis=2),
    )
    y = lesson.iwae_bound(at, 6, rng)
    assert isinstance(y, Tensor) and y.requires_grad, (
        "the bound is cut off from the graph: it could not be trained on (no_grad, .numpy()?)"
    )
    found = grad(ops.sum(y), mu)
    z = numbers(mu) + kept["eps"]
    w = np.sin(z).sum(2) + np.square(kept["eps"]).sum(2) / 2
    shares = np.exp(w - lme(w)) / 6
    must_be(
        found,
        (shares[..., None] * np.cos(z)).sum(0),
        {
            "every draw pulls with the same weight, 1/k: that is the gradient of the mean of the logs": (
                np.cos(z).mean(0)
            ),
            "no gradient passes through log p(x, z) along the draws: z is detached": np.zeros((4, C)),
        },
        "the gradient with respect to mu is not that of the bound: does it pass through the draws, and through log q?",
    )


# IWAE.updates


@pytest.mark.hole("IWAE.updates", kind="step")
def test_updates_pair(lesson, rng):
    model, x = make(rng, lesson.IWAE, k=5)
    before, kept = model.state_dict(), x.copy()
    cause = "iwae_bound(AtVAE(self, batch), self.k, rng) is (N,)"
    with told("updates", cause):
        given = model.updates(x, rng)
        assert given is not None and hasattr(given, "__iter__"), (
            "updates must yield (module, loss), not return it"
        )
        pairs = list(given)
    assert len(pairs) == 1, f"updates yields {len(pairs)} times for a batch; expected once"
    pair = pairs[0]
    assert isinstance(pair, tuple) and len(pair) == 2 and pair[0] is model, (
        "updates must yield the pair (self, loss): the model that is to be stepped, and what it is to make small"
    )
    loss = pair[1]
    assert shape_of(loss) == (), (
        f"the loss has shape {shape_of(loss)}; expected one number: the mean over the images"
    )
    assert isinstance(loss, Tensor) and loss.requires_grad, "the loss is cut off from the graph"
    assert all(np.array_equal(before[n], v) for n, v in model.state_dict().items()), (
        "updates changed the model"
    )
    assert np.array_equal(kept, x), "updates changed the batch"
    for name, p in model.named_parameters():
        g = grad(next(iter(model.updates(x, rng)))[1], p, allow_unused=True)
        assert g is not None and np.abs(numbers(g)).max() > 0, (
            f"no gradient reaches {name}: encoder and decoder are trained together"
        )


@pytest.mark.hole("IWAE.updates", kind="value")
def test_updates_loss(lesson, rng):
    model, x = make(rng, lesson.IWAE, k=5, n=6)
    model.decoder = counting = Counting(model.decoder)
    ((_, _loss),) = model.updates(x, rng)
    rows = sum(counting.rows)
    assert rows != 6, (
        "the decoder saw one code for each image: that is the ELBO; expected self.k = 5 draws for each"
    )
    assert rows == 30, f"the decoder saw {rows} codes for 6 images and k = 5; expected 30"
    model.decoder = counting.inner
    logits = blind(model, rng)
    log_p = bernoulli_log(x, logits)
    ((_, loss),) = model.updates(x, rng)
    likely = {
        "the loss is plus the bound, which training would make SMALL: minus": log_p.mean(),
        "the loss is summed over the images; expected their mean": -log_p.sum(),
        "the loss is divided by k as well": -log_p.mean() / 5,
        "the loss is averaged over pixels; expected nats per image": -log_p.mean() / D,
    }
    otherwise = "with q equal to the true posterior the loss must be -log p(x), averaged over images"
    must_be(loss, -log_p.mean(), likely, otherwise, 1e-4)


@pytest.mark.hole("IWAE.updates", kind="invariant")
def test_updates_draw_from_the_given_generator(lesson, rng):
    model, x = make(rng, lesson.IWAE, k=5)

    def loss(generator):
        ((_, found),) = model.updates(x, generator)
        return float(numbers(found))

    seed = int(rng.integers(1, 2**31))
    first, again, other = (loss(np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    assert first == again, (
        "the same generator gives two losses: draw from the rng that was given, and from nothing else"
    )
    assert first != other, (
        "two generators give the same loss: draw from the rng that was given, new noise at every step"
    )
    stream = np.random.default_rng(seed)
    assert loss(stream) != loss(stream), (
        "two steps with one generator have the same noise: draw from rng itself, not from a copy of it"
    )


@pytest.mark.hole("IWAE.updates", kind="value")
def test_updates_use_the_bound(lesson, rng):
    grid = np.linspace(-9, 9, 2001)
    prior = normal_log(grid, 0, 0) + math.log(grid[1] - grid[0])
    gap = 0.0
    while not 1.5 < gap < 3:  # the ELBO is told from log p(x), and 400 draws are enough: every other model
        model, x = make(rng, lesson.IWAE, k=400, code=1)
        for p in model.decoder.parameters():
            p.data = 2 * p.data
        each = bernoulli_log(x[:, None], numbers(model.decoder(Tensor(grid[:, None]))))
        log_p = np.logaddexp.reduce(each + prior, axis=1).mean()
        gap = log_p - (each * np.exp(prior)).sum(1).mean()
    widen(model)
    ((_, loss),) = model.updates(x, rng)
    loss = float(numbers(loss))
    assert abs(loss + log_p) < gap / 2, (
        f"with k = 400 draws the loss is {loss:.3f}; -log p(x), integrated by brute force, is {-log_p:.3f}: it should "
        "be L_k, the log of the MEAN weight of the k draws (and not a mean of logs)"
    )


# evidence


@pytest.mark.hole("evidence", kind="value")
def test_evidence_value(lesson, rng):
    k, block = 23, 5
    log_p, log_q = tables(rng, k)
    at, w = Table(log_p, log_q), log_p - log_q
    with told(
        "evidence",
        "iwae_bound(at, b, rng).numpy() is a block's bound, (N,); np.logaddexp(total, bound + log b)",
    ):
        found = lesson.evidence(at, k, rng, block)
    assert shape_of(found) == (5,), f"5 images give shape {shape_of(found)}; expected (5,)"
    made = sum(at.asked)
    assert made <= k, f"{made} draws were made, expected {k}: the last block is smaller"
    blocks = [w[i : i + block] for i in range(0, k, block)]
    parts = np.stack([lme(one) for one in blocks])
    sizes = np.array([[len(one)] for one in blocks])
    likely = {
        "the blocks' bounds are averaged: a mean of logs again, L_5 for every k; their SUMS must be added": (
            parts.mean(0)
        ),
        "the blocks' bounds are averaged with their sizes: a mean of logs again; their SUMS must be added": (
            (parts * sizes).sum(0) / k
        ),
        "the last block, which is smaller, counts like a whole one: its sum is exp(bound) * 3": lme(parts),
        "the last block, which is smaller, is left out": lme(w[:20]),
        "the last block is left out, and its draws counted": lme(w[:20]) + math.log(20 / k),
        "the log of the sum of the weights; expected that of their mean: minus log k at the end": lme(w)
        + math.log(k),
        "only the last block counts: the running total is overwritten": parts[-1],
        "only the first block counts": parts[0],
        "the blocks' bounds are added up: it is their sums that add, under the log": parts.sum(0),
        "this is the mean of the log-weights, the ELBO": w.mean(0),
        "a total that begins at 0 holds one weight too many, exp(0) = 1: begin at -inf": (
            np.logaddexp(lme(w) + math.log(k), 0) - math.log(k)
        ),
        "log q(z|x) is forgotten": lme(log_p),
        "the best block is taken, not all of them": parts.max(0),
        "a block's sum is exp(bound) * b: log b must be added to its bound": lme(parts) + math.log(5 / k),
    }
    must_be(
        found, lme(w), likely, "23 draws in blocks of 5 do not give log_mean_exp of all 23 log-weights", 1e-9
    )


@pytest.mark.hole("evidence", kind="step")
def test_evidence_blocks(lesson, rng):
    for k, block in ((23, 5), (20, 5), (3, 10), (4, 1)):
        log_p, log_q = tables(rng, k)
        at = Table(log_p, log_q)
        found = lesson.evidence(at, k, rng, block)
        assert max(at.asked) <= block, (
            f"{max(at.asked)} draws at once with block = {block}: k = 5000 would not fit in memory"
        )
        assert sum(at.asked) == k, f"{sum(at.asked)} draws in all, {at.asked}; expected k = {k}"
        assert near(found, lme(log_p - log_q), 1e-9), (
            f"k = {k} in blocks of {block} is not log_mean_exp of the {k} log-weights"
        )
        assert isinstance(found, np.ndarray) and found.dtype == np.float64, (
            f"evidence gives a {type(found).__name__} of {getattr(found, 'dtype', None)}; expected a float64 array"
        )
    found = lesson.evidence(Table(log_p.astype(np.float32), log_q.astype(np.float32)), 4, rng, 2)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64, (
        "of a float32 model evidence gives float32; sums of thousands of weights are kept in float64"
    )
    for shift in (-5000, 5000):
        at = Table(log_p + shift, log_q)
        with np.errstate(all="ignore"):
            found = lesson.evidence(at, 4, rng, 2)
        assert near(found, lme(log_p - log_q) + shift, 1e-9), (
            f"weights around exp({shift}) give {found[0]}: keep the logarithm of the running sum (np.logaddexp)"
        )


@pytest.mark.hole("evidence", kind="invariant")
def test_evidence_of_a_vae(lesson, rng):
    model, x = make(rng, code=1)
    grid = np.linspace(-9, 9, 2001)
    raw = numbers(model.decoder(Tensor(grid[:, None])))
    each = bernoulli_log(x[:, None], raw) + normal_log(grid, 0, 0) + math.log(grid[1] - grid[0])
    log_p = np.logaddexp.reduce(each, axis=1)
    widen(model)
    seen, at = [], lesson.AtVAE(model, x)
    inner = at.log_joint
    at.log_joint = lambda z: seen.append(numbers(z)) or inner(z)
    hanging = []
    model.decoder = Watch(model.decoder, hanging)
    found = lesson.evidence(at, 5000, rng, 250)
    first, second = seen[:2]
    assert not np.array_equal(first, second), (
        "two blocks hold the same draws: a generator made anew in each block repeats itself; pass rng on"
    )
    assert not any(hanging), "the draws are recorded for a gradient that nobody asks for: with no_grad()"
    assert np.abs(found - log_p).max() < 0.4, (
        f"with 5,000 draws the evidence is {found.round(2)}; log p(x), integrated by brute force, is {log_p.round(2)}"
    )


class Watch:
    """A decoder that writes down whether its output is recorded for a gradient"""

    def __init__(self, inner, seen):
        self.inner, self.seen = inner, seen

    def __call__(self, z):
        y = self.inner(z)
        self.seen.append(y.requires_grad)
        return y


# compare


class Exact:
    """A model with an exact log p(x): independent pixels; writes down what it is given"""

    def __init__(self, logits):
        self.logits, self.seen = logits, []

    def log_prob(self, x):
        self.seen.append(numbers(x).reshape(len(x), -1))
        return Tensor(bernoulli_log(self.seen[-1], self.logits))


class Seen(VAE):
    """A VAE that writes down what it encodes"""

    def encode(self, x):
        self.__dict__.setdefault("seen", []).append(numbers(x).reshape(len(x), -1))
        return super().encode(x)


def compared(lesson, models, images, rng, k=3, batch=4):
    cause = "models without log_prob are VAEs: evidence(AtVAE(model, part), k, rng); the others: model.log_prob(part)"
    with told("compare", cause):
        rows = lesson.compare(models, images, k, rng, batch)
    assert isinstance(rows, list | tuple) and len(rows) == len(models), (
        f"{len(models)} models give {type(rows).__name__}; expected a list with a Score for each"
    )
    assert all(len(row) == 4 for row in rows), "each row must be a Score(name, sign, nats, error)"
    assert [row[0] for row in rows] == list(models), "the rows are not in the order of the models"
    return rows


@pytest.mark.hole("compare", kind="invariant")
def test_compare_gives_all_the_same_images(lesson, rng):
    vae, _ = make(rng, Seen)
    images = rng.random((11, 3, 4), dtype=np.float32)
    kept = images.copy()
    models = {"pixels": Exact(rng.normal(size=D)), "vae": vae, "others": Exact(rng.normal(size=D))}
    compared(lesson, models, images, rng)
    given = [np.concatenate(model.seen) for model in models.values()]
    assert np.array_equal(images, kept), "compare changed the images it was given"
    assert not near(given[0], images.reshape(11, D)), (
        "the models are given grey images: make the pixels 0 or 1 first (their brightness is the chance of a 1)"
    )
    assert all(set(np.unique(x)) <= {0, 1} for x in given), (
        "the pixels that a model is given must be 0 or 1: binarize the images once, for all models"
    )
    assert all(x.shape == (11, D) for x in given), (
        f"the models were given {[len(x) for x in given]} images; expected each of the 11 once"
    )
    assert all(np.array_equal(given[0], x) for x in given[1:]), (
        "every model is given other binary images: on other noise they cannot be compared; binarize ONCE, "
        "before the loop"
    )
    assert all(len(x) <= 4 for model in models.values() for x in model.seen), (
        f"a batch of {max(len(x) for m in models.values() for x in m.seen)} images; expected no more than batch = 4"
    )


@pytest.mark.hole("compare", kind="value")
def test_compare_binarizes_by_chance(lesson, rng):
    images = np.tile(np.linspace(0, 1, D, dtype=np.float32), (4000, 1))
    model = Exact(rng.normal(size=D))
    compared(lesson, {"a": model}, images, rng, batch=4000)
    found = model.seen[0].mean(0)
    assert found[0] == 0 and found[-1] == 1, "a black pixel (0) must stay 0, a white one (1) must stay 1"
    half = (images[0] > 0.5).astype(float)
    assert not near(found, half), (
        "the pixels are cut at a half; expected 1 with the pixel's brightness as its probability (rng.random < images)"
    )
    assert np.abs(found - images[0]).max() < 0.06, (
        f"pixels of brightness {images[0].round(2).tolist()} become 1 in shares {found.round(2).tolist()}; expected "
        "the brightness itself"
    )
    model.seen.clear()
    compared(lesson, {"a": model}, np.full((400, D), 0.5, np.float32), rng, batch=400)
    same = np.ptp(model.seen[0], axis=1) == 0
    assert same.mean() < 0.1, "all pixels of an image share one coin; each needs a toss of its own"
    model.seen.clear()
    compared(lesson, {"a": model}, images[:50], np.random.default_rng(1))
    first = np.concatenate(model.seen)
    model.seen.clear()
    compared(lesson, {"a": model}, images[:50], np.random.default_rng(2))
    assert not np.array_equal(first, np.concatenate(model.seen)), (
        "another generator gives the same binary images: draw from the rng that was given"
    )


@pytest.mark.hole("compare", kind="value")
def test_compare_scores(lesson, rng):
    vae, _ = make(rng)
    logits = blind(vae, rng)
    images = (rng.random((11, D)) < 0.5).astype(
        np.float32
    )  # black and white already: they stay what they are
    models = {"exact": Exact(rng.normal(size=D)), "vae": vae}
    vae.decoder = counting = Counting(vae.decoder)
    rows = compared(lesson, models, images, rng)
    for row, log_p in zip(
        rows, (bernoulli_log(images, models["exact"].logits), bernoulli_log(images, logits)), strict=True
    ):
        name, n = row[0], 11
        batches = [log_p[i : i + 4].mean() for i in range(0, n, 4)]
        likely = {
            f"{name}: this is the mean log-probability; expected MINUS it, nats that an image costs": log_p.mean(),
            f"{name}: summed over the images; expected their mean": -log_p.sum(),
            f"{name}: bits per pixel or nats per pixel; expected nats per image": -log_p.mean() / D,
            f"{name}: the means of the batches are averaged: the last batch is smaller and counts as much": -np.mean(
                batches
            ),
            f"{name}: only one batch counts": -batches[-1],
            f"{name}: only whole batches count": -log_p[:8].mean(),
        }
        must_be(
            row[2], -log_p.mean(), likely, f"{name}: {row[2]:.4f} nats, expected {-log_p.mean():.4f}", 1e-4
        )
        spread = log_p.std()
        likely = {
            f"{name}: this is the spread of the images; the mean's error is smaller by sqrt(N)": spread,
            f"{name}: the spread is divided by N; expected by sqrt(N)": spread / n,
            f"{name}: this is the variance of the mean; expected its square root": spread**2 / n,
        }
        if not near(row[3], log_p.std(ddof=1) / math.sqrt(n), 1e-4):
            otherwise = f"{name}: its standard error is {row[3]:.4g}, expected {spread / math.sqrt(n):.4g}"
            must_be(row[3], spread / math.sqrt(n), likely, otherwise, 1e-4)
    signs = [row[1] for row in rows]
    assert signs[1] != "=", (
        'the VAE is marked "=": its figure is a bound, an image costs no more than that; expected "<="'
    )
    assert signs == ["=", "<="], (
        f'the signs are {signs}; expected "=" for an exact log p(x), "<=" for a bound'
    )
    total = sum(counting.rows)
    assert total == 33, (
        f"the decoder saw {total} codes for 11 images; expected k = 3 draws for each: "
        "evidence(AtVAE(model, part), k, rng)"
    )


# active_units


@pytest.mark.hole("active_units", kind="value")
def test_active_units_value(lesson, rng):
    n = 400
    noise = rng.normal(size=(n, 5))
    noise = (noise - noise.mean(0)) / noise.std(0)
    mu = noise * np.array([1.0, 0.15, 0.05, 0.0, 0.09]) + np.array([0.0, 0.0, 0.0, 3.0, -2.0])
    found = lesson.active_units(mu)
    assert shape_of(found) == (5,), (
        f"({n}, 5) means give shape {shape_of(found)}; expected (5,): one answer for each number of the code"
    )
    found = numbers(found)
    wanted = np.array([1, 1, 0, 0, 0.0])
    likely = {
        "a number that is 3 for every image counts as active: it is the VARIANCE from image to image that counts, not "
        "the size": np.array([1, 1, 0, 1, 1.0]),
        "the standard deviation is held against the threshold; expected the variance": np.array(
            [1, 1, 1, 0, 1.0]
        ),
        "True where the number is NOT active": 1 - wanted,
        "these are the variances; expected True where they are above the threshold": mu.var(0),
    }
    must_be(
        found,
        wanted,
        likely,
        f"variances {mu.var(0).round(4).tolist()} give {found.tolist()}; expected > 0.01",
    )
    for threshold, right in ((0.001, [1, 1, 1, 0, 1]), (0.5, [1, 0, 0, 0, 0]), (4.0, [0] * 5)):
        assert near(lesson.active_units(mu, threshold), np.array(right, float)), (
            f"with threshold {threshold} the variances {mu.var(0).round(4).tolist()} must give {right}"
        )


# probe_error


def blobs(rng, n, d=4, kinds=3, spread=0.3):
    """(n, d) features around the corners of a simplex, (n,) labels"""
    labels = np.arange(n) % kinds
    rng.shuffle(labels)
    return np.eye(kinds, d)[labels] + spread * rng.normal(size=(n, d)), labels


@pytest.mark.hole("probe_error", kind="value")
def test_probe_error_value(lesson, rng):
    (x, t), (y, s) = blobs(rng, 90), blobs(rng, 60)
    kept = x.copy(), y.copy()
    with told(
        "probe_error", "predict = softmax_regression(rows, labels); predict(test rows) are labels, (M,)"
    ):
        found = lesson.probe_error(x, t, y, s)
    assert np.array_equal(kept[0], x) and np.array_equal(kept[1], y), (
        "probe_error changed what it was given: x - mean makes a new array, x -= mean does not"
    )
    assert np.ndim(numbers(found)) == 0, f"probe_error gives shape {shape_of(found)}; expected one number"
    found = float(numbers(found))
    assert 0 <= found <= 1, f"the error is {found}; expected a share of the test labels, from 0 to 1"
    assert found < 0.8, (
        f"the share of RIGHT answers is {found:.2f}, or labels are mixed up; expected the errors"
    )
    assert found < 0.3, (
        f"the probe errs in {100 * found:.0f} % of cases on three clouds that are easy to tell apart"
    )
    wrong = number(lesson.probe_error(x, t, y, (s + 1) % 3))
    assert wrong > 0.7, (
        "with every test label changed nearly all must count as errors: are the test labels looked at?"
    )
    lonely = rng.normal(size=(15, 40)), np.arange(15) % 3  # so few rows that they can be learned by heart
    guess = number(lesson.probe_error(*lonely, rng.normal(size=(300, 40)), rng.integers(0, 3, 300)))
    assert guess > 0.4, (
        f"an error of {guess:.2f} on pure noise: it is measured on the rows the probe was trained on; use the test rows"
    )


@pytest.mark.hole("probe_error", kind="invariant")
def test_probe_standardises_by_the_training_rows(lesson, rng):
    (x, t), (y, s) = blobs(rng, 90, spread=0.25), blobs(rng, 240, spread=0.25)
    plain = number(lesson.probe_error(x, t, y, s))
    scale, shift = np.array([1e-4, 1.0, 1e3, 10.0]), np.array([0.0, -50.0, 3e3, 0.5])
    far = number(lesson.probe_error(x * scale + shift, t, y * scale + shift, s))
    assert abs(far - plain) < 0.05, (
        f"the error goes from {plain:.2f} to {far:.2f} when features are multiplied and shifted: standardise them, "
        "minus mean, divided by the standard deviation, both for each feature"
    )
    one = s == 0
    alone = number(lesson.probe_error(x, t, y[one], s[one]))
    others = [number(lesson.probe_error(x, t, y[s == j], s[s == j])) for j in (1, 2)]
    together = float(np.mean([alone, *others]))
    assert alone < 0.34 and abs(together - plain) < 0.05, (
        f"test rows of one class alone are wrong in {100 * alone:.0f} % of cases, together {100 * plain:.0f} %: the "
        "test rows are standardised by THEIR mean and deviation; use those of the training rows for both"
    )
    # Of three labels one is right for a far row, whatever the probe says: what is left of the errors is the others'
    crowd = np.concatenate([y, np.full((240, 4), 5000.0)])
    errors = [number(lesson.probe_error(x, t, crowd, np.concatenate([s, np.full(240, j)]))) for j in range(3)]
    among = (480 * sum(errors) - 2 * 240) / (3 * 240)
    assert abs(among - plain) < 0.02, (
        "the prediction for a test row depends on the other test rows: no statistic may be taken of them"
    )


@pytest.mark.hole("probe_error", kind="step")
def test_probe_leaves_its_arguments_alone(lesson, rng):
    (x, t), (y, s) = blobs(rng, 60), blobs(rng, 30)
    x[:, 3] = 7.0  # the same in every row
    kept = [part.copy() for part in (x, t, y, s)]
    cause = "with a feature that never varies? 0 / 0 is not a number; leave that feature at 0"
    with told("probe_error", cause), np.errstate(all="ignore"):
        found = number(lesson.probe_error(x, t, y, s))
    assert all(np.array_equal(a, b) for a, b in zip(kept, (x, t, y, s), strict=True)), (
        "probe_error changed what it was given: x - mean makes a new array, x -= mean does not"
    )
    assert math.isfinite(found) and found < 0.4, (
        f"with a feature that never varies the error is {found:.2f}: 0 / 0 is not a number; leave that feature at 0"
    )


# parzen_log_prob


def window(samples, x, sigma):
    """(N, M): the log-density of x at each kernel, written out"""
    squares = np.square(x[:, None] - samples[None]).sum(2)
    return -squares / (2 * sigma**2) - samples.shape[1] / 2 * math.log(2 * math.pi * sigma**2)


@pytest.mark.hole("parzen_log_prob", kind="value")
def test_parzen_value(lesson, rng):
    m, n, d, sigma = 9, 7, 5, 0.7
    samples, x = rng.normal(size=(m, d)), rng.normal(size=(n, d))
    with told("parzen_log_prob", "samples (M, D), x (N, D); squared distances of all pairs are (block, M)"):
        found = lesson.parzen_log_prob(samples, x, sigma)
    assert shape_of(found) == (n,), f"{n} images give shape {shape_of(found)}; expected ({n},)"
    each = window(samples, x, sigma)
    squares = -(each + d / 2 * math.log(2 * math.pi * sigma**2)) * 2 * sigma**2
    constant = d / 2 * math.log(2 * math.pi * sigma**2)
    wanted = lme(each, 1)

    def with_constant(c, power=-1 / (2 * sigma**2)):
        return lme(squares * power, 1) - c

    likely = {
        "the normaliser D/2 log(2 pi sigma^2) is missing: without it the widest window wins": wanted
        + constant,
        "the normaliser is that of one pixel; there are D of them": with_constant(constant / d),
        "the normaliser has sigma where sigma^2 belongs": with_constant(
            d / 2 * math.log(2 * math.pi * sigma)
        ),
        "the normaliser has the wrong sign": wanted + 2 * constant,
        "the normaliser lacks its half: D/2 log(2 pi sigma^2)": wanted - constant,
        "log 2 pi is missing from the normaliser": with_constant(d * math.log(sigma)),
        "log M is missing: the mean of the kernels, not their sum": wanted + math.log(m),
        "this is the mean of the kernels' logs; expected the log of their mean": each.mean(1),
        "only the nearest sample counts; expected the mean over all of them": each.max(1),
        "divided by N, the number of images; expected M, the number of samples": wanted + math.log(m / n),
        "distances are divided by 2 sigma; expected 2 sigma^2": with_constant(constant, -1 / (2 * sigma)),
        "distances are divided by sigma^2; expected 2 sigma^2": with_constant(constant, -1 / sigma**2),
        "the roots of the squared distances are used; expected the squares": lme(
            np.sqrt(squares) * -1 / (2 * sigma**2), 1
        )
        - constant,
        "the minus before the distances is missing": with_constant(constant, 1 / (2 * sigma**2)),
        "this is the density; its log is missing": np.exp(wanted),
        "averaged over pixels; expected nats per image": wanted / d,
        "minus the log-density: higher must be more probable": -wanted,
    }
    must_be(found, wanted, likely, "log p is not the log of the mean of M Gaussians around the samples", 1e-6)


@pytest.mark.hole("parzen_log_prob", kind="invariant")
def test_parzen_is_a_density(lesson, rng):
    samples = rng.normal(size=(6, 1))
    grid = np.linspace(-12, 12, 4001)[:, None]
    total = float(np.exp(lesson.parzen_log_prob(samples, grid, 0.5)).sum() * (grid[1, 0] - grid[0, 0]))
    assert abs(total - 1) < 1e-3, f"over the whole line the density integrates to {total:.4f}; expected 1"
    far, samples = rng.random((5, 300)) * 40, rng.random((8, 300)).astype(np.float32)
    with np.errstate(all="ignore"):
        found = numbers(lesson.parzen_log_prob(samples, far, 0.2))
    assert np.isfinite(found).all(), (
        "an image far from all samples has log p -inf: exp underflowed; use logsumexp (np.logaddexp.reduce)"
    )
    assert near(found, lme(window(samples.astype(np.float64), far, 0.2), 1), 1e-6), (
        "far from all samples the log-density is wrong"
    )
    close = (samples * 60 + 0.01 * rng.normal(size=(8, 300))).astype(np.float32)
    found = numbers(lesson.parzen_log_prob(samples * np.float32(60), close, 0.05))
    wanted = lme(window((samples * np.float32(60)).astype(np.float64), close.astype(np.float64), 0.05), 1)
    assert np.abs(found - wanted).max() < 0.05, (
        f"close to a sample log p is {found[0]:.2f}; expected {wanted[0]:.2f}: |x|^2 - 2 x.s + |s|^2 in float32 loses "
        "the small distance between large squares; compute in float64"
    )


@pytest.mark.hole("parzen_log_prob", kind="step")
def test_parzen_in_blocks(lesson, rng):
    samples, x = rng.normal(size=(1500, 3)), rng.normal(size=(1601, 3))
    kept = samples.copy(), x.copy()
    tracemalloc.start()
    found = lesson.parzen_log_prob(samples, x, 0.5, block=50)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert np.array_equal(kept[0], samples) and np.array_equal(kept[1], x), (
        "parzen_log_prob changed its arguments"
    )
    assert shape_of(found) == (1601,), (
        f"1,601 images in blocks of 50 give {shape_of(found)}: is the last block there?"
    )
    assert peak < 12, (
        f"{peak:.0f} MB at once for 1,601 images and 1,500 samples: all pairs exist together; take `block` = 50 rows "
        "of x at a time, and |x|^2 - 2 x.s + |s|^2 for the distances"
    )
    some = rng.choice(1601, 40, replace=False)
    assert near(numbers(found)[some], lme(window(samples, x[some], 0.5), 1), 1e-6), (
        "the blocks are not in order, or some of them are wrong"
    )


# parzen_score


@pytest.mark.hole("parzen_score", kind="value")
def test_parzen_score_value(lesson, rng):
    # The samples' best width is 0.1, the test images' 0.2, validation's 0.5, and its worst 1e6: each choice shows
    d, sigmas = 6, [2.0, 0.1, 0.5, 0.2, 1e6, 1.0]
    samples = rng.normal(size=(40, d))
    away = rng.normal(size=(40, d))  # of one length: chance cannot make another width the best
    validation = samples + away / np.linalg.norm(away, axis=1, keepdims=True)
    test = 0.22 * rng.normal(size=(50, d)) + samples[:1]
    means = {s: [lme(window(samples, x, s), 1).mean() for x in (validation, test)] for s in sigmas}
    best = max(sigmas, key=lambda s: means[s][0])
    cause = "parzen_log_prob(samples, images, sigma) is (N,); give (sigma, mean, standard error)"
    with told("parzen_score", cause):
        found = lesson.parzen_score(samples, validation, test, sigmas)
    assert isinstance(found, tuple | list) and len(found) == 3, (
        "expected three numbers: (sigma, mean, standard error)"
    )
    sigma, mean, error = (float(numbers(part)) for part in found)
    over = max(sigmas, key=lambda s: means[s][1])
    assert sigma != over, (
        f"sigma = {sigma:g} is the best for the TEST images: the score is tuned on what it is measured on; choose it "
        f"on the validation images ({best:g} here)"
    )
    alone = max(sigmas, key=lambda s: lme(window(samples, samples, s), 1).mean())
    assert sigma != alone, (
        f"sigma = {sigma:g} is chosen on the samples; expected on `validation` ({best:g} here)"
    )
    assert sigma != min(sigmas, key=lambda s: means[s][0]), (
        f"sigma = {sigma:g} is the worst on validation: take the best"
    )
    assert sigma == best, f"sigma = {sigma:g}; expected {best:g}, which has the highest mean on validation"
    each = lme(window(samples, test, sigma), 1)
    likely = {
        "this is the validation images' mean; expected the test images', at the chosen sigma": means[sigma][
            0
        ],
        "summed over the test images; expected their mean": each.sum(),
        "this is minus the mean: the table says log p, the higher the better": -each.mean(),
        "this is the best mean that any sigma gives on test": max(pair[1] for pair in means.values()),
    }
    must_be(mean, each.mean(), likely, f"the mean is {mean:.4g}; expected {each.mean():.4g}")
    if not near(error, each.std(ddof=1) / math.sqrt(50)):
        likely = {
            "this is the spread of the images; the mean's error is smaller by sqrt(N)": each.std(),
            "the spread is divided by N; expected by sqrt(N)": each.std() / 50,
            "this is the variance of the mean; expected its square root": each.var() / 50,
        }
        otherwise = f"the error is {error:.4g}; expected {each.std() / math.sqrt(50):.4g}"
        must_be(error, each.std() / math.sqrt(50), likely, otherwise)
    few = number(lesson.parzen_score(samples, validation, test[:20], sigmas)[1])
    assert near(few, each[:20].mean()), (
        f"the mean of the first 20 test images alone is {few:.4g}; expected {each[:20].mean():.4g}: is something kept "
        "from one call to the next?"
    )
