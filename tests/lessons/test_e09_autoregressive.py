"""Checks of e09: each hole against NumPy written out here, and against what must be true of any density."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import Tensor, grad, ops
from minigen.optim import Adam

SIDE, D = 3, 9


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


def log_bernoulli(x, logits):
    """(..., D), (..., D) -> (...) nats, summed over pixels"""
    x, logits = np.asarray(x, np.float64), np.asarray(logits, np.float64)
    return -(np.logaddexp(0, logits) - x * logits).sum(-1)


def every_image(d):
    return (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(np.float32)


def images(rng, n, d=D):
    return (rng.random((n, d)) < 0.5).astype(np.float32)


def make(lesson, rng, kind, scale=1.0, **changes):
    """A small model in float64 with random weights and biases everywhere"""
    config = lesson.Config(**({"pixels": D, "hidden": (20,)} | changes))
    model = getattr(lesson, kind)(config, rng=rng)
    for p in model.parameters():
        p._data = rng.normal(0, scale, p.shape)
    return model


def place_of(model):
    """pixel -> its place in the model's order, 0, 1, ..."""
    place = np.empty(len(model.order), int)
    place[np.asarray(model.order)] = np.arange(len(place))
    return place


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
            f"{what} passes no gradient to its parameter {i} of shape {tensor.shape}: the graph is cut"
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


# hidden_degrees


@pytest.mark.hole("hidden_degrees", kind="value")
def test_degrees_are_spread(lesson, rng):
    for units, d in (
        (int(rng.integers(40, 60)), 9),
        (24, 9),
        (500, 784),
        (int(rng.integers(2, 7)), 16),
        (5, 2),
    ):
        found = np.asarray(lesson.hidden_degrees(units, d))
        assert found.shape == (units,), (
            f"hidden_degrees({units}, {d}) has shape {found.shape}; expected one degree for each unit, ({units},)"
        )
        assert found.dtype.kind in "iu", (
            f"degrees are counts of pixels: expected integers, found {found.dtype}"
        )
        low, high = int(found.min()), int(found.max())
        assert high < d, (
            f"hidden_degrees({units}, {d}) goes up to {high}: a unit that sees all {d} pixels may lead to no logit, "
            f"since no pixel comes later; the range ends at D - 1 = {d - 1}"
        )
        assert low > 0, (
            f"hidden_degrees({units}, {d}) begins at {low}: a unit of degree 0 sees no pixel and is a constant; the "
            "range begins at 1"
        )
        wanted = 1 + np.floor(np.arange(units) * (d - 1) / units)
        must_be(
            np.sort(found),
            wanted,
            {"the degrees stop before D - 1: the last pixels get no hidden unit that has seen what they may see":
                1 + np.arange(units) * max(d - 2, 1) // units,
             "the degrees run 1, 2, ... and start over: with fewer units than pixels the later ones get none":
                np.sort(1 + np.arange(units) % (d - 1)),
             "every unit has the same degree: spread them over 1 .. D - 1": np.full(units, found.flat[0])},
            f"hidden_degrees({units}, {d}) starts {found[:6]}; expected 1 + floor(k (D - 1) / H) for k = 0, 1, ...: "
            f"{wanted[:6].astype(int)}",
        )  # fmt: skip


# connections


@pytest.mark.hole("connections", kind="value")
def test_connections_value(lesson, rng):
    for strict in (False, True):
        a, b = rng.permutation([1, 1, 2, 3, 3, 4, 5, 6]), rng.permutation([1, 2, 2, 3, 5, 5, 6])
        found = numbers(lesson.connections(a, b, strict=strict))
        less, equal = a[:, None] < b[None, :], a[:, None] == b[None, :]
        wanted = less if strict else less | equal
        likely = {
            "strict=True, but equal degrees are connected: a logit would see its own pixel": less | equal
            if strict else wanted,
            "strict=False, but equal degrees are not connected: a hidden unit may pass what it knows to one that "
            "may know as much": wanted if strict else less,
            "the comparison is the wrong way round: weights may lead from lower degrees to higher ones": ~wanted,
            "the comparison is reversed: weights may lead from lower degrees to higher ones":
                (b[None, :] < a[:, None]) if strict else (b[None, :] <= a[:, None]),
            "it is the transpose: rows are the units before, columns those after, as in W: (in, out)": wanted.T,
        }  # fmt: skip
        must_be(
            found,
            wanted,
            likely,
            f"connections(before={a}, after={b}, strict={strict}) is wrong: 1 where the degree of the row is "
            f"{'<' if strict else '<='} that of the column, else 0",
        )


@pytest.mark.hole("connections", kind="shape")
def test_connections_shape(lesson, rng):
    for n, m in ((4, 7), (1, 3), (6, 1)):
        found = lesson.connections(rng.integers(1, 9, n), rng.integers(1, 9, m), strict=bool(n % 2))
        assert shape_of(found) == (n, m), (
            f"{n} units before and {m} after give a mask of shape {shape_of(found)}; expected ({n}, {m})"
        )
        assert np.asarray(found).dtype == np.float32, (
            f"the mask is {np.asarray(found).dtype}; expected float32, so that weights stay float32 under it"
        )


@pytest.mark.hole("connections", kind="invariant")
def test_no_path_leads_to_itself(lesson, rng):
    degrees = rng.permutation(D) + 1
    a, b = rng.integers(1, D, 30), rng.integers(1, D, 25)
    masks = [
        numbers(lesson.connections(before, after, strict=after is degrees))
        for before, after in pairwise([degrees, a, b, degrees])
    ]
    paths = masks[0] @ masks[1] @ masks[2]  # (D, D): how many paths lead from pixel i to logit j
    leak = [(i, j) for i in range(D) for j in range(D) if paths[i, j] and degrees[i] >= degrees[j]]
    assert not leak, (
        f"through two hidden layers a path leads from the pixel of degree {degrees[leak[0][0]]} to the logit of "
        f"degree {degrees[leak[0][1]]}: only pixels of lower degree may reach a logit"
    )


# Autoregressive.log_prob


def with_logits(lesson, rng, logits_of, d=D):
    """A model whose logits are a function given here"""
    kind = type("Given", (lesson.Autoregressive,), {"logits": lambda self, x: logits_of(x)})
    return kind(lesson.Config(pixels=d), rng=rng)


@pytest.mark.hole("Autoregressive.log_prob", kind="value")
def test_log_prob_value(lesson, rng):
    for n in (5, 1):
        logits = rng.normal(0, 2, (n, D))
        model, x = with_logits(lesson, rng, lambda x, l=logits: Tensor(l)), images(rng, n)
        if n > 1:
            x[0], x[1] = 1, 0
        wanted, p = log_bernoulli(x, logits), sigmoid(logits)
        each = np.log(np.where(x > 0, p, 1 - p))
        likely = {
            "it is averaged over the pixels: a log p(x) is the SUM over the pixels of an image; nats per image, "
            "not per pixel": wanted / D,
            "its sign is wrong: a log-probability is never positive": -wanted,
            "it is in bits: use the natural logarithm": wanted / math.log(2),
            "it is one number for the whole batch: sum over the pixels (axis 1), keep the images apart": wanted.sum(),
            "it is averaged over the batch: expected one number for each image": wanted.mean(),
            "it is summed over the images and kept apart by pixel: sum over axis 1": each.sum(0),
            "the pixels were not summed: expected (N,), one number for each image": each,
            "the sigmoid is taken twice: ops.bce_with_logits wants the logits themselves": log_bernoulli(
                x, p
            ),
            "the image and its logits are the wrong way round": log_bernoulli(logits, x),
            "only the pixels that are 1 count: a pixel that is 0 has probability 1 - p": (x * np.log(p)).sum(
                1
            ),
            "only the pixels that are 0 count": ((1 - x) * np.log(1 - p)).sum(1),
            "ones and zeros are swapped: sigmoid(logit) is the probability of a ONE": log_bernoulli(
                1 - x, logits
            ),
            "it is the probability; expected its logarithm": np.exp(wanted),
            "an axis is left over: expected (N,), found (N, 1)": wanted[:, None],
        }
        must_be(
            model.log_prob(x.reshape(n, SIDE, SIDE)),
            wanted,
            likely,
            f"log_prob of {n} images is {numbers(model.log_prob(x)).ravel()[:3]}..., expected {wanted[:3]}...: minus "
            "bce_with_logits of logits and pixels, summed over the pixels",
        )


@pytest.mark.hole("Autoregressive.log_prob", kind="shape")
def test_log_prob_of_rows_and_images(lesson, rng):
    model = make(lesson, rng, "FVSBN")
    x = images(rng, 4)
    for form in (x, x.reshape(4, SIDE, SIDE), Tensor(x)):
        found = model.log_prob(form)
        assert shape_of(found) == (4,), (
            f"log_prob of 4 images of shape {form.shape[1:]} has shape {shape_of(found)}; expected (4,)"
        )
        assert near(found, model.log_prob(x)), (
            "images (N, H, W) and the same images as rows differ in log_prob"
        )
    alone = np.concatenate([numbers(model.log_prob(x[i : i + 1])).ravel() for i in range(4)])
    assert near(alone, model.log_prob(x)), "the log-probability of an image depends on the rest of the batch"


@pytest.mark.hole("Autoregressive.log_prob", kind="value")
def test_log_prob_of_nothing_learned(lesson, rng):
    model = with_logits(lesson, rng, lambda x: Tensor(np.zeros((len(x), 784), np.float32)), 784)
    x = images(rng, 3, 784).reshape(3, 28, 28)
    found, wanted = numbers(model.log_prob(x)), -784 * math.log(2)
    assert near(found, np.full(3, wanted)), (
        f"with all logits 0 every pixel is a fair coin: log p = -784 ln 2 = {wanted:.2f} nats for every image, "
        f"found {found.ravel()[:3]}"
        + ("; averaged over pixels?" if near(found, np.full(3, wanted / 784)) else "")
    )


@pytest.mark.hole("Autoregressive.log_prob", kind="value")
def test_log_prob_of_sure_pixels(lesson, rng):
    size = 300.0
    logits = size * np.where(rng.random((4, D)) < 0.5, -1.0, 1.0)
    model = with_logits(lesson, rng, lambda x: Tensor(logits.astype(np.float32)))
    x = (logits > 0).astype(np.float32)
    x[2:, 0] = 1 - x[2:, 0]
    found = numbers(model.log_prob(x))
    assert np.isfinite(found).all(), (
        f"logits of +-{size:.0f} give {found}: log(sigmoid(l)) overflows where the pixel is a surprise; use "
        "ops.bce_with_logits, which is finite for every finite logit"
    )
    wanted = np.array([0, 0, -size, -size])
    assert np.allclose(found, wanted, atol=1e-3), (
        f"logits of +-{size:.0f}, the last two images with one surprising pixel: log p is {found}, expected {wanted} "
        "(were probabilities clipped?)"
    )


@pytest.mark.hole("Autoregressive.log_prob", kind="gradient")
def test_log_prob_gradient(lesson, rng):
    logits, x = Tensor(rng.normal(size=(4, D)), requires_grad=True), images(rng, 4)
    model = with_logits(lesson, rng, lambda x: logits)
    check_slope(
        lambda: model.log_prob(x), lambda i, value: log_bernoulli(x, value), [logits], rng, "log_prob"
    )


@pytest.mark.hole("Autoregressive.log_prob", kind="invariant")
def test_log_prob_sums_to_one(lesson, rng):
    model = make(lesson, rng, "FVSBN", order=int(rng.integers(99)))
    total = np.exp(numbers(model.log_prob(every_image(D)))).sum()
    assert abs(total - 1) < 1e-9, (
        f"the probabilities of all 2^{D} images of {D} pixels sum to {total:.6g}; a density sums to 1"
    )


# Autoregressive.updates


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
    assert module is model, f"the module to step is a {type(module).__name__}; expected the model itself"
    assert isinstance(loss, Tensor) and loss.size == 1, (
        f"the second of the pair must be the loss, a Tensor of one number; found {type(loss).__name__} "
        f"{shape_of(loss)}"
    )
    return loss


@pytest.mark.hole("Autoregressive.updates", kind="value")
def test_updates_loss(lesson, rng):
    model, x = make(lesson, rng, "MADE"), images(rng, 7)
    log_p = numbers(model.log_prob(x))
    before = model.state_dict()
    loss = pairs_of(model, x.reshape(7, SIDE, SIDE), rng)
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items()), (
        "updates() changes the parameters: it only says what is to be minimised, the training loop makes the step"
    )
    assert loss.requires_grad, (
        "the loss is a plain number: yield the Tensor itself, without .item() or .detach()"
    )
    found, wanted = float(numbers(loss).sum()), -log_p.mean()
    likely = {
        "its sign is wrong: the loop makes the loss small, so it would make the data unlikely": -wanted,
        "it is summed over the batch: average over the images, or the step size depends on the batch": wanted * 7,
        "it is averaged over the pixels too: nats per image, not per pixel": wanted / D,
        "it is minus the average probability: the likelihood of a set is a product, so logs are averaged":
            -np.exp(log_p).mean(),
        "it is minus the log of the average probability: average the logs": -np.log(np.exp(log_p).mean()),
        "it is in bits; expected nats": wanted / math.log(2),
        "only the first image counts": -log_p[0],
    }  # fmt: skip
    must_be(
        found, wanted, likely, f"the loss is {found:.6g}, expected {wanted:.6g}: minus the mean of log_prob"
    )


@pytest.mark.hole("Autoregressive.updates", kind="step")
def test_training_makes_data_likely(lesson, rng):
    x = np.repeat(images(rng, 4), 4, axis=0)
    for kind in ("FVSBN", "MADE"):
        model = make(lesson, rng, kind, scale=0.1)
        optimizer, first = Adam(model.parameters(), lr=0.05), model.evaluate(x, rng)["nll"]
        for _ in range(60):
            optimizer.step(grad(pairs_of(model, x, rng), model.parameters()))
        last = model.evaluate(x, rng)["nll"]
        assert last < 0.7 * first, (
            f"60 steps of Adam bring {kind} from {first:.4g} to {last:.4g} nats per image: it does not learn to make "
            "its training images likely"
        )
        total = np.exp(numbers(model.log_prob(every_image(D)))).sum()
        assert abs(total - 1) < 1e-9, (
            f"after training the probabilities of all images sum to {total:.6g}, not 1"
        )


# Autoregressive.sample


def exact(model, d):
    """(2^d,) probabilities of every image, by the model's own order and logits (a float64 NumPy product)"""
    x = every_image(d)
    return np.exp(log_bernoulli(x, numbers(model.logits(x))))


def in_steps(model, d, seen_by):
    """(2^d,): what comes out if pixel j is drawn from the logits of the pixels in seen_by[j] alone, the rest 0"""
    x, total = every_image(d), 0
    for j in range(d):
        partial = np.zeros_like(x)
        partial[:, seen_by[j]] = x[:, seen_by[j]]
        total = total + log_bernoulli(x[:, [j]], numbers(model.logits(partial))[:, [j]])
    return np.exp(total)


def fed_probabilities(model, d):
    """(2^d,): every pixel drawn on its own, with the probabilities fed back instead of what was drawn"""
    x = np.zeros((1, d))
    for j in model.order:
        x[:, j] = sigmoid(numbers(model.logits(x.astype(np.float32))))[:, j]
    full = every_image(d)
    return np.where(full > 0, x, 1 - x).prod(1)


def one_uniform(model, d):
    """(2^d,): every pixel of an image compared with the same random number"""
    u = (np.arange(20000) + 0.5) / 20000
    x = np.zeros((len(u), d), np.float32)
    for j in model.order:
        x[:, j] = u < sigmoid(numbers(model.logits(x)))[:, j]
    return np.bincount(code(x), minlength=2**d) / len(u)


def code(x):
    """(n, d) zeros and ones -> (n,): which row of every_image"""
    return (x.astype(int) << np.arange(x.shape[1])).sum(1)


def surprise(counts, p):
    """Chi-square of counts against probabilities, in standard deviations above its mean; rare cells are pooled"""
    n = counts.sum()
    order = np.argsort(p)
    counts, expected = counts[order], p[order] * n
    cell = np.minimum(np.cumsum(expected) // 10, 1e9).astype(int)
    cell = np.unique(cell, return_inverse=True)[1]
    counts, expected = np.bincount(cell, counts), np.bincount(cell, expected)
    if expected[-1] < 5 and len(expected) > 1:
        counts, expected = (
            np.append(counts[:-2], counts[-2:].sum()),
            np.append(expected[:-2], expected[-2:].sum()),
        )
    chi2, free = (np.square(counts - expected) / np.maximum(expected, 1e-9)).sum(), max(len(expected) - 1, 1)
    return (chi2 - free) / math.sqrt(2 * free)


def drawn(model, n, rng):
    """sample(n) as (n, d) zeros and ones; what is neither is told"""
    x = numbers(model.sample(n, rng))
    d = model.config.pixels
    assert x.shape == (n, d), f"sample({n}) has shape {x.shape}; expected ({n}, {d}): one row for each image"
    odd = x[(x != 0) & (x != 1)]
    assert not odd.size, (
        f"a sample has pixels like {odd[0]:.4g}: probabilities were put into the image; toss a coin with each of them"
    )
    return x


@pytest.mark.hole("Autoregressive.sample", kind="value", seconds=60)
def test_samples_follow_p(lesson, rng):
    d, n = 5, 20000
    for kind in ("FVSBN", "MADE"):
        model = make(lesson, rng, kind, scale=1.5, pixels=d, hidden=(12,), order=int(rng.integers(5, 99)))
        while np.array_equal(model.order, np.arange(d)):
            model = make(
                lesson, rng, kind, scale=1.5, pixels=d, hidden=(12,), order=int(rng.integers(5, 9999))
            )
        x = drawn(model, n, rng)
        p, counts = exact(model, d), np.bincount(code(x), minlength=2**d)
        if surprise(counts, p) < 12:
            continue
        kinds = len(np.unique(code(x)))
        assert kinds > 1, (
            f"{n} samples are all the same image: pixels are rounded to the more likely value, or one random number "
            "serves all images; each pixel of each image is a coin toss of its own, rng.random() < p"
        )
        place, everything = place_of(model), np.arange(d)
        likely = {
            "the coin falls the wrong way: a pixel is 1 where the random number is BELOW its probability":
                np.exp(log_bernoulli(every_image(d), -in_steps_logits(model, d))),
            "all pixels are drawn at once, from the logits of the empty image (or in the reverse order): draw one, "
            "then ask for the logits again":
                in_steps(model, d, [everything[:0]] * d),
            "the pixels are drawn row by row, but this model has another order: follow self.order":
                in_steps(model, d, [everything[(everything < j) & (place < place[j])] for j in everything]),
            "self.order is read backwards: it lists the pixel drawn first, then the second, ...; it does not give a "
            "pixel its place":
                in_steps(model, d, [everything[(np.asarray(model.order)[everything] < np.asarray(model.order)[j])
                                               & (place < place[j])] for j in everything]),
            "probabilities are fed back instead of the pixels that were drawn: each pixel must be decided before the "
            "next one is asked for": fed_probabilities(model, d),
            "one random number decides all pixels of an image: draw a new one for each pixel": one_uniform(model, d),
            "each pixel is a fair coin: the logits are not used": np.full(2**d, 0.5**d),
        }  # fmt: skip
        why = next((says for says, q in likely.items() if surprise(counts, q) < 12), None)
        worst = int(np.argmax(np.abs(counts / n - p)))
        pytest.fail(
            why
            or f"{n} samples of {d} pixels do not follow p(x): image {every_image(d)[worst].astype(int)} came "
            f"{counts[worst] / n:.3f} of the time, its probability is {p[worst]:.3f} (is every pixel drawn once, given "
            "exactly those before it in self.order?)"
        )


def in_steps_logits(model, d):
    return numbers(model.logits(every_image(d)))


@pytest.mark.hole("Autoregressive.sample", kind="value", seconds=60)
def test_samples_of_tiny_images(lesson, rng):
    model = make(lesson, rng, "MADE", scale=0.7)
    counts = np.bincount(code(drawn(model, 20000, rng)), minlength=2**D)
    found = surprise(counts, exact(model, D))
    assert found < 12, (
        f"20,000 samples of 3x3 images against the probabilities of all 512: chi-square lies {found:.0f} standard "
        "deviations above what chance gives; the samples do not follow p(x)"
    )


@pytest.mark.hole("Autoregressive.sample", kind="invariant")
def test_samples_come_from_rng(lesson, rng):
    model, seed = make(lesson, rng, "FVSBN", scale=0.3), int(rng.integers(2**31))
    one, same, other = (drawn(model, 40, np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    assert np.array_equal(one, same), (
        "the same generator gives other samples each time: draw from the rng given"
    )
    assert not np.array_equal(one, other), (
        "another generator gives the same samples: nothing is drawn from rng (are pixels rounded?)"
    )
    assert len(np.unique(one, axis=0)) > 1, (
        "all samples are the same image: one random number for each image, not one for all"
    )
    assert drawn(model, 1, rng).shape == (1, D), "sample(1) must give one image, (1, D)"


@pytest.mark.hole("Autoregressive.sample", kind="invariant")
def test_sampling_records_nothing(lesson, rng):
    model = make(lesson, rng, "FVSBN")
    before, x = model.state_dict(), model.sample(3, rng)
    assert not (isinstance(x, Tensor) and x.requires_grad), (
        "the samples hang on a graph of D passes: sample under no_grad()"
    )
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items()), (
        "sampling changed the model"
    )


# Independent.fit


@pytest.mark.hole("Independent.fit", kind="value")
def test_fit_value(lesson, rng):
    n = int(rng.integers(11, 30))
    x = images(rng, n)
    x[:, 0], x[:, 1] = 0, 1
    x[: n // 3, 2] = 1
    x[n // 3 :, 2] = 0
    model = make(lesson, rng, "Independent")
    model.fit(x.reshape(n, SIDE, SIDE))
    found, ones = numbers(model.b), x.sum(0).astype(np.float64)
    assert np.isfinite(found).all(), (
        f"a pixel that was never 1 (or always) gets the logit {found[~np.isfinite(found)][0]}: it would be impossible "
        "for ever; add 1/2 to both counts"
    )
    wanted = np.log((ones + 0.5) / (n - ones + 0.5))
    p = (ones + 0.5) / (n + 1)
    likely = {
        "b holds probabilities; expected their logits, log(p / (1 - p))": p,
        "the sign is wrong: the logit is positive where a pixel is mostly 1": -wanted,
        "b holds log p; expected log(p / (1 - p))": np.log(p),
        "1 is added to each count; expected 1/2": np.log((ones + 1) / (n - ones + 1)),
        "1/2 is added to the ones only; to the zeros, too": np.log(
            (ones + 0.5) / np.maximum(n - ones, 1e-30)
        ),
        "the ones are compared with all images: log(p / (1 - p)) compares them with the zeros": np.log(
            (ones + 0.5) / (n + 0.5)
        ),
        "every pixel has the same b: count each pixel on its own, over the images (axis 0)": np.full(
            D, np.log((ones.sum() + 0.5) / (n * D - ones.sum() + 0.5))
        ),
        "it is in bits: use the natural logarithm": wanted / math.log(2),
    }
    must_be(
        found,
        wanted,
        likely,
        f"b is {found[:4]}..., expected log((ones + 1/2) / (zeros + 1/2)): {wanted[:4]}",
    )
    model.fit(1 - x.reshape(n, SIDE, SIDE))
    assert near(model.b, -wanted), (
        "a second fit, to the negatives of the same images, must give every b the other sign: each fit counts anew"
    )


@pytest.mark.hole("Independent.fit", kind="step")
def test_fit_is_the_best(lesson, rng):
    x = (rng.random((4000, D)) < rng.uniform(0.1, 0.9, D)).astype(np.float32)
    model = make(lesson, rng, "Independent")
    model.fit(x)
    assert [p.shape for p in model.parameters()] == [(D,)], (
        "after fit the model has no parameter b of shape (D,) any more: write into self.b.data, and keep the Tensor"
    )
    p = x.astype(np.float64).mean(0)
    floor = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    nll = -float(numbers(model.log_prob(x)).mean())
    assert nll < floor + 0.01, (
        f"after fit the training images cost {nll:.4g} nats; the best that independent pixels can do is {floor:.4g}"
    )


# FVSBN.logits


def fvsbn(model, x, W=None, b=None, mask=None):
    W, b = numbers(model.W) if W is None else W, numbers(model.b) if b is None else b
    place = place_of(model)
    mask = place[:, None] < place[None, :] if mask is None else mask
    return x.astype(np.float64) @ (W * mask) + b


@pytest.mark.hole("FVSBN.logits", kind="value")
def test_fvsbn_value(lesson, rng):
    for order in (None, int(rng.integers(1, 99))):
        model, x = make(lesson, rng, "FVSBN", order=order), images(rng, 8)
        place, W, b = place_of(model), numbers(model.W), numbers(model.b)
        wanted = fvsbn(model, x)
        likely = {
            "the mask is not applied: every logit sees every pixel, its own too": fvsbn(model, x, mask=np.ones((D, D))),
            "the mask is transposed: each logit sees the pixels AFTER it": fvsbn(model, x, mask=place[:, None] > place),
            "each logit sees its own pixel too (the diagonal): it would only have to copy it":
                fvsbn(model, x, mask=place[:, None] <= place),
            "the weights are transposed: W[i, j] leads from pixel i to logit j, x @ W": fvsbn(model, x, W=W.T),
            "the bias is missing": wanted - b,
            "a sigmoid was applied: logits are expected, log_prob and sample do the rest": sigmoid(wanted),
            "the mask is applied to the images or the result, not to the weights": (x @ W + b) * 0 + b,
            "the mask is that of the row-by-row order, but this model has another: use self.mask":
                fvsbn(model, x, mask=np.triu(np.ones((D, D)), 1)),
        }  # fmt: skip
        found = model.logits(x.reshape(8, SIDE, SIDE))
        assert shape_of(found) == (8, D), (
            f"8 images give logits of shape {shape_of(found)}; expected (8, {D}): flatten each image into a row"
        )
        must_be(found, wanted, likely, "the logits are not x (W * mask) + b")


@pytest.mark.hole("FVSBN.logits", kind="gradient")
def test_fvsbn_gradient(lesson, rng):
    model, x = make(lesson, rng, "FVSBN", order=3), images(rng, 5)
    check_slope(
        lambda: model.logits(x),
        lambda i, value: fvsbn(model, x, **{"Wb"[i]: value}),
        [model.W, model.b],
        rng,
        "FVSBN.logits",
    )
    g = numbers(grad(model.logits(images(rng, 20)).sum(), model.W))
    assert not (g * (1 - numbers(model.mask))).any(), (
        "weights under the mask get a gradient: it is the mask's place in the product that stops them"
    )


def leaks(model, d, rng):
    """[(j, i)]: logit j changes when pixel i is flipped, though i does not come before j; and those that never do"""
    place = place_of(model)
    x = images(rng, 40, d)
    base = numbers(model.logits(x))
    moved = np.zeros((d, d), bool)
    for i in range(d):
        flipped = x.copy()
        flipped[:, i] = 1 - flipped[:, i]
        moved[:, i] = (np.abs(numbers(model.logits(flipped)) - base) > 0).any(0)
    may = place[None, :] < place[:, None]
    return np.argwhere(moved & ~may), np.argwhere(may & ~moved)


@pytest.mark.hole("FVSBN.logits", kind="invariant")
def test_fvsbn_is_a_density(lesson, rng):
    for order in (None, int(rng.integers(1, 99))):
        model = make(lesson, rng, "FVSBN", order=order)
        forbidden, idle = leaks(model, D, rng)
        assert not len(forbidden), (
            f"logit {forbidden[0][0]} changes with pixel {forbidden[0][1]}, which does not come before it: with such a "
            "leak the product of conditionals is no probability"
        )
        assert not len(idle), (
            f"logit {idle[0][0]} never changes with pixel {idle[0][1]}, which comes before it: every earlier pixel "
            "may be seen"
        )
        total = np.exp(numbers(model.log_prob(every_image(D)))).sum()
        assert abs(total - 1) < 1e-9, f"the probabilities of all 3x3 images sum to {total:.6g}, not 1"
    big = make(lesson, rng, "FVSBN", pixels=16)
    total = np.exp(numbers(big.log_prob(every_image(16)))).sum()
    assert abs(total - 1) < 1e-9, f"the probabilities of all 2^16 images of 4x4 sum to {total:.6g}, not 1"


# MADE.logits


def made(model, x, weights=None, bend=lambda h: np.maximum(h, 0), **free):
    """NumPy's version; free: what is left out, for likely mistakes"""
    W = [numbers(p) for p in model.parameters()] if weights is None else weights  # W, b, W, b, ..., direct
    place = place_of(model)
    degrees = [place + 1, *(1 + np.arange(n) * (len(place) - 1) // n for n in model.config.hidden)]
    h, x = x.astype(np.float64), x.astype(np.float64)
    count = len(degrees)
    for layer in range(count):
        last = layer == count - 1
        after = place + 1 if last else degrees[layer + 1]
        row, column = degrees[layer][:, None], after[None, :]
        mask = (row < column) if last and not free.get("lax") else (row <= column)
        mask = np.ones_like(mask) if (free.get("open_last") if last else free.get("open_hidden")) else mask
        h = h @ (W[2 * layer] * mask) + W[2 * layer + 1] * (not free.get("no_bias"))
        h = h if last and not free.get("bend_last") else bend(h)
    direct = np.ones((len(place),) * 2) if free.get("open_direct") else place[:, None] < place[None, :]
    return h + (0 if free.get("no_direct") else x @ (W[-1] * direct))


@pytest.mark.hole("MADE.logits", kind="value")
def test_made_value(lesson, rng):
    for hidden, order in (((15,), None), ((14, 11), int(rng.integers(1, 99)))):
        model, x = make(lesson, rng, "MADE", hidden=hidden, order=order), images(rng, 8)
        wanted = made(model, x)
        likely = {
            "no mask is applied: every logit sees every pixel": made(
                model, x, open_hidden=1, open_last=1, open_direct=1
            ),
            "the masks of the hidden layers are missing": made(model, x, open_hidden=1),
            "the last layer is not masked: a unit of degree 5 reaches the logit of pixel 1": made(
                model, x, open_last=1
            ),
            "the direct connections are not masked: each logit sees its own pixel": made(
                model, x, open_direct=1
            ),
            "the direct connections from the pixels to the logits are missing": made(model, x, no_direct=1),
            "a ReLU is taken of the last layer too: logits of both signs are needed": made(
                model, x, bend_last=1
            ),
            "there is no ReLU between the layers: hidden layers without it add nothing to the direct connections": made(
                model, x, bend=lambda h: h
            ),
            "the layers are joined by tanh; expected ReLU": made(model, x, bend=np.tanh),
            "the layers are joined by a sigmoid; expected ReLU": made(model, x, bend=sigmoid),
            "the biases are missing": made(model, x, no_bias=1),
            "a sigmoid was applied to the result: logits are expected": sigmoid(wanted),
        }
        found = model.logits(x.reshape(8, SIDE, SIDE))
        assert shape_of(found) == (8, D), (
            f"8 images give logits of shape {shape_of(found)}; expected (8, {D}): flatten each image into a row"
        )
        must_be(
            found,
            wanted,
            likely,
            f"the logits of a MADE with hidden layers {hidden} differ from relu(... (W * mask) + b) through the layers "
            "plus x (direct * direct_mask)",
        )


@pytest.mark.hole("MADE.logits", kind="gradient")
def test_made_gradient(lesson, rng):
    model, x = make(lesson, rng, "MADE", hidden=(14, 11)), images(rng, 5)
    weights = [numbers(p) for p in model.parameters()]

    def oracle(i, value):
        return made(model, x, [*weights[:i], value, *weights[i + 1 :]])

    check_slope(lambda: model.logits(x), oracle, model.parameters(), rng, "MADE.logits")


@pytest.mark.hole("MADE.logits", kind="invariant")
def test_made_is_a_density(lesson, rng):
    for hidden, order in (((30,), None), ((30, 20), int(rng.integers(1, 99)))):
        model = make(lesson, rng, "MADE", hidden=hidden, order=order)
        forbidden, idle = leaks(model, D, rng)
        assert not len(forbidden), (
            f"logit {forbidden[0][0]} changes with pixel {forbidden[0][1]}, which does not come before it: with such a "
            "leak the product of conditionals is no probability"
        )
        assert not len(idle), (
            f"logit {idle[0][0]} never changes with pixel {idle[0][1]}, which comes before it: every earlier pixel "
            "may be seen"
        )
        total = np.exp(numbers(model.log_prob(every_image(D)))).sum()
        assert abs(total - 1) < 1e-9, f"the probabilities of all 3x3 images sum to {total:.6g}, not 1"
    big = make(lesson, rng, "MADE", pixels=16, hidden=(40,), scale=0.7)
    total = np.exp(numbers(big.log_prob(every_image(16)))).sum()
    assert abs(total - 1) < 1e-9, f"the probabilities of all 2^16 images of 4x4 sum to {total:.6g}, not 1"


@pytest.mark.hole("MADE.logits", kind="value")
def test_made_of_zero_weights(lesson, rng):
    model = lesson.MADE(lesson.Config(hidden=(32,)), rng=rng)
    for p in model.parameters():
        p.data = np.zeros(p.shape, np.float32)
    nll = model.evaluate(images(rng, 3, 784).reshape(3, 28, 28), rng)["nll"]
    assert abs(nll - 784 * math.log(2)) < 0.01, (
        f"with all weights zero every pixel is a fair coin: {784 * math.log(2):.2f} nats per image, found {nll:.2f}"
    )


# dependency_matrix


def bent(pattern, bend):
    """A model whose logit j is the sum over i of pattern[j, i] bend(x_i)"""
    weights = pattern.T.astype(np.float32)
    return SimpleNamespace(logits=lambda x: bend(x) @ weights, config=SimpleNamespace(pixels=len(pattern)))


def cubic(x):
    """Slope 1 at 0 and -1 at 1"""
    return x * x * x * -2.0 + x * x * 2.0 + x


@pytest.mark.hole("dependency_matrix", kind="value")
def test_dependencies_value(lesson, rng):
    d = int(rng.integers(5, 9))
    x = np.repeat(np.float32([0, 1]), 4)[:, None] * np.ones((1, d), np.float32)
    x = rng.permuted(x, axis=0)  # every pixel is 1 in half of the images
    for bend in (lambda x: x * 0.7, cubic):
        weights = rng.choice([-2.0, -1.0, 1.0, 2.0], (d, d)) * (rng.random((d, d)) < 0.4)
        weights[rng.integers(2, d)] = 0  # a logit that depends on nothing
        weights[0, :2], weights[1, :2] = (-1, 1), (0, 1)  # not symmetric, not triangular, of both signs
        wanted = weights != 0
        found = np.asarray(lesson.dependency_matrix(bent(weights, bend), x))
        assert found.shape == (d, d), f"{d} pixels give a matrix of shape {found.shape}; expected ({d}, {d})"
        assert found.dtype == bool, f"the matrix is {found.dtype}; expected bool: depends, or does not"
        likely = {
            "it is transposed: rows are logits, columns are pixels": wanted.T,
            "only positive derivatives count: a negative one is a dependence as well": weights > 0,
            "only negative derivatives count: a positive one is a dependence as well": weights < 0,
            "the diagonal is left out: whether a logit sees its own pixel is the question": wanted
            & ~np.eye(d, dtype=bool),
            "True stands where logit j does NOT depend on pixel i": ~wanted,
            "what comes later is left out: whether a logit sees later pixels is the question": np.tril(
                wanted
            ),
        }
        if bend is cubic:
            likely[
                "the derivatives of the images are summed, and cancel where they differ in sign: ask of each image "
                "whether its derivative is not 0"
            ] = np.zeros_like(wanted)
        must_be(
            found,
            wanted,
            likely,
            f"{int((found & ~wanted).sum())} dependencies are reported that do not exist, "
            f"{int((wanted & ~found).sum())} are missed: True at [j, i] where d logit_j / d x_i is not 0 at some image",
        )


@pytest.mark.hole("dependency_matrix", kind="invariant")
def test_dependencies_at_some_images_only(lesson, rng):
    d = 6

    def logits(x):  # logit j = x_j-1 x_j-2: its derivative is 0 at most images
        return x[:, [(j - 1) % d for j in range(d)]] * x[:, [(j - 2) % d for j in range(d)]]

    x = np.eye(d, dtype=np.float32)
    found = np.asarray(
        lesson.dependency_matrix(SimpleNamespace(logits=logits, config=SimpleNamespace(pixels=d)), x)
    )
    wanted = np.zeros((d, d), bool)
    for j in range(d):
        wanted[j, j - 1] = wanted[j, j - 2] = True
    assert np.array_equal(found, wanted), (
        "a logit that depends on a pixel at one of the images only must count: is it asked of the first image only, of "
        "the average image, or of all images at once?"
    )
    kept = x.copy()
    lesson.dependency_matrix(bent(np.eye(d), cubic), x)
    assert np.array_equal(kept, x), "the images that were given are changed: work on a copy"


@pytest.mark.hole("dependency_matrix", kind="invariant")
def test_dependencies_of_real_models(lesson, rng):
    for kind in ("Independent", "FVSBN", "MADE"):
        model = make(lesson, rng, kind, hidden=(40,))
        x = images(rng, 30)
        if kind == "Independent":
            x = x[:4]
            model.logits = lambda x, b=model.b: ops.broadcast_to(b, shape=x.shape) + x * 0.0
        found = np.asarray(lesson.dependency_matrix(model, x))
        wanted = np.tril(np.ones((D, D), bool), -1) if kind != "Independent" else np.zeros((D, D), bool)
        assert np.array_equal(found, wanted), (
            f"the dependency matrix of a{'n' * (kind == 'Independent')} {kind} must be "
            f"{'empty' if kind == 'Independent' else 'all that lies below the diagonal'}; {int(found.sum())} entries "
            f"are True, expected {int(wanted.sum())}"
        )


# total_probability


def tabulated(rng, d, total):
    """A model whose p(x) is a table that sums to `total`"""
    p = rng.random(2**d) + 0.01
    p[0] = p[-1] = p.mean() * 3  # the empty and the full image count
    p *= total / p.sum()
    table = Tensor(np.log(p))

    def log_prob(x):
        rows = numbers(x).reshape(-1, d)
        assert np.isin(rows, (0, 1)).all(), "log_prob was asked for images that are not binary"
        return table[code(rows)]

    return SimpleNamespace(log_prob=log_prob, config=SimpleNamespace(pixels=d)), p


@pytest.mark.hole("total_probability", kind="value")
def test_total_value(lesson, rng):
    for d in (3, 6, 9, 1):
        total = float(rng.uniform(0.3, 3))
        model, p = tabulated(rng, d, total)
        found = lesson.total_probability(model)
        likely = {
            "it is the logarithm of the sum; expected the sum itself": np.log(total),
            "log-probabilities are summed: take exponentials first": np.log(p).sum(),
            "it is the average over the images; expected the sum": total / 2**d,
            "the result is always 1: was it divided by itself?": 1.0,
        }
        must_be(
            np.sum(numbers(found)),
            total,
            likely,
            f"a table of 2^{d} probabilities that sum to {total:.6g} gives {float(np.sum(numbers(found))):.6g}: is "
            "every binary image there, once, the empty and the full one, too?",
        )
        assert isinstance(found, float | np.floating), (
            f"total_probability gives a {type(found).__name__}; expected a float"
        )


@pytest.mark.hole("total_probability", kind="invariant")
def test_total_is_one(lesson, rng):
    model, p = tabulated(rng, 3, float(rng.uniform(0.3, 3)))
    off = abs(lesson.total_probability(model) - p.sum())
    assert off < 1e-12, (
        f"a table of probabilities in float64 gives a sum that is off by {off:.2g}: take exponentials and sum in "
        "float64, or a small leak cannot be told from rounding"
    )
    for kind, d in (("Independent", 8), ("FVSBN", 9), ("MADE", 9), ("FVSBN", 14)):
        total = lesson.total_probability(make(lesson, rng, kind, pixels=d))
        assert abs(total - 1) < 1e-9, (
            f"{kind} of {d} pixels, in float64: total_probability is {total:.10g}, but it is 1 to the 12th digit"
        )


# ensemble_log_prob


def given(log_p):
    return SimpleNamespace(log_prob=lambda x: Tensor(log_p), config=SimpleNamespace(pixels=D))


@pytest.mark.hole("ensemble_log_prob", kind="value")
def test_ensemble_value(lesson, rng):
    for k in (2, 5, 1):
        models = [make(lesson, rng, "FVSBN", order=int(s)) for s in rng.integers(1, 99, k)]
        x = images(rng, 6)
        each = np.stack([log_bernoulli(x, numbers(m.logits(x))) for m in models])
        wanted = np.logaddexp.reduce(each, axis=0) - math.log(k)
        logits = np.mean([numbers(m.logits(x)) for m in models], axis=0)
        p = np.mean([sigmoid(numbers(m.logits(x))) for m in models], axis=0)
        likely = {
            "the logs are averaged: it is the probabilities that are averaged (the sum over all images would be less "
            "than 1)": each.mean(0),
            "the average is missing: subtract log K, or the probabilities sum to K": wanted + math.log(k),
            "log K is added; expected to be subtracted": wanted + 2 * math.log(k),
            "K is subtracted; expected log K": wanted + math.log(k) - k,
            "the logits of members of different orders are averaged: each pixel is then predicted from some that "
            "follow it, and that is no density": log_bernoulli(x, logits),
            "the predictions of members of different orders are averaged pixel by pixel: each pixel is then predicted "
            "from some that follow it, and that is no density": np.log(np.where(x > 0, p, 1 - p)).sum(1),
            "log-probabilities are added: that is the probability that all members draw x": each.sum(0),
            "it is the best member's; expected the average of all": each.max(0),
            "it is the average probability; expected its logarithm": np.exp(wanted),
            "only the first member counts": each[0],
        }
        must_be(
            lesson.ensemble_log_prob(models, x.reshape(6, SIDE, SIDE)),
            wanted,
            likely,
            f"{k} members: expected logsumexp over the members of log p_k(x), minus log {k}, one number per image",
        )


@pytest.mark.hole("ensemble_log_prob", kind="value")
def test_ensemble_of_real_sizes(lesson, rng):
    each = rng.uniform(-900, -700, (3, 4))
    found = numbers(lesson.ensemble_log_prob([given(row) for row in each], images(rng, 4)))
    wanted = np.logaddexp.reduce(each, axis=0) - math.log(3)
    assert near(found, wanted), (
        f"log-probabilities near -800 nats give {found}, expected {wanted}: exp(-800) is 0 in floating point; use "
        "ops.logsumexp, which takes the largest one out first"
    )


@pytest.mark.hole("ensemble_log_prob", kind="invariant")
def test_ensemble_is_a_density(lesson, rng):
    models = [make(lesson, rng, "MADE", order=int(s)) for s in rng.integers(1, 99, 3)]
    log_p = lesson.ensemble_log_prob(models, every_image(D))
    assert shape_of(log_p) == (2**D,), (
        f"{2**D} images give log-probabilities of shape {shape_of(log_p)}; expected ({2**D},)"
    )
    total = np.exp(numbers(log_p)).sum()
    assert abs(total - 1) < 1e-9, (
        f"the probabilities of all 3x3 images sum to {total:.6g} for the ensemble, not 1"
    )
