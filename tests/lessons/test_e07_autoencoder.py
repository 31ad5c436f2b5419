"""Checks of e07: each hole against NumPy written out here, and against what must be true of any codes."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import contextlib
from itertools import pairwise

import numpy as np
import pytest

from minigen import Tensor, grad
from minigen.optim import Adam

H, W, D, K = 3, 4, 12, 3


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def make(lesson, rng, kind=None, **changes):
    """A small autoencoder with biases that are not zero, so that forgetting one shows"""
    config = lesson.Config(**({"pixels": D, "hidden": (9, 6), "code": K} | changes))
    model = (kind or lesson.Autoencoder)(config, rng=rng)
    for p in model.parameters():
        if p.ndim == 1:
            p.data = rng.normal(0, 0.5, p.shape).astype(np.float32)
    return model


def images(rng, n):
    return rng.random((n, H, W), dtype=np.float32)


def elu(h):
    return np.where(h > 0, h, np.expm1(np.minimum(h, 0)))


def sigmoid(h):
    return 1 / (1 + np.exp(-h))


def forward(weights, x, bend=elu, last=None):
    """[W, b, W, b, ...] and rows -> the stack's output, in float64"""
    h = np.asarray(x, np.float64)
    for i in range(0, len(weights), 2):
        h = h @ weights[i] + weights[i + 1]
        if i + 2 < len(weights):
            h = bend(h)
    return h if last is None else last(h)


def weights_of(module):
    return [numbers(p) for p in module.parameters()]


def near(a, b, rtol=1e-4):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted):
        pytest.fail(next((says for says, value in likely.items() if near(found, value)), otherwise))


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


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def check_slope(y_of, oracle, tensors, rng, what):
    """grad() through the learner's code against the slope of the NumPy version, along a random direction"""
    y = y_of()
    assert isinstance(y, Tensor) and y.requires_grad, (
        f"{what} is cut off from the graph: no gradient can flow (was .data, .numpy(), .detach() or no_grad used?)"
    )
    upstream = rng.normal(size=y.shape).astype(np.float32)
    found = grad((y * upstream).sum(), tensors, allow_unused=True)
    for i, (tensor, g) in enumerate(zip(tensors, found, strict=True)):
        assert g is not None, (
            f"{what} passes no gradient to its input {i} of shape {tensor.shape}: the graph is cut"
        )
        direction = rng.normal(size=tensor.shape)
        h = 1e-5
        plus, minus = (oracle(i, numbers(tensor) + s * h * direction) for s in (1, -1))
        slope = float(((plus - minus) * upstream).sum() / (2 * h))
        mine = float((numbers(g) * direction).sum())
        scale = max(abs(slope), 1e-3 * float(np.abs(upstream).sum()))
        assert abs(mine - slope) < 2e-2 * scale, (
            f"the gradient of {what} with respect to a tensor of shape {tensor.shape} has slope {mine:.5g} along a "
            f"random direction, the function itself {slope:.5g}"
        )


# dense_stack


@pytest.mark.hole("dense_stack", kind="shape")
def test_stack_has_the_layers(lesson, rng):
    for sizes in ((5, 7, 4, 3), (6, 2), (3, 8, 8)):
        for linear in (False, True):
            stack = lesson.dense_stack(sizes, linear=linear, rng=rng)
            assert hasattr(stack, "parameters"), (
                f"dense_stack gives a {type(stack).__name__}; expected a Sequential: return Sequential(*layers)"
            )
            found = [p.shape for p in stack.parameters()]
            wanted = [s for a, b in pairwise(sizes) for s in ((a, b), (b,))]
            assert found == wanted, (
                f"dense_stack({sizes}, linear={linear}) has parameters of shapes {found}; expected {wanted}: one Dense "
                "with W and b from each size to the next"
            )
            with told(
                "the stack", "its parts are called one after the other: layers, ELU() and not the class ELU"
            ):
                y = stack(rng.normal(size=(4, sizes[0])).astype(np.float32))
            assert shape_of(y) == (4, sizes[-1]), (
                f"it maps (4, {sizes[0]}) to {shape_of(y)}, not (4, {sizes[-1]})"
            )


@pytest.mark.hole("dense_stack", kind="value")
def test_stack_value(lesson, rng):
    sizes = (5, 8, 6, 3)
    stack = lesson.dense_stack(sizes, linear=False, rng=rng)
    for p in stack.parameters():
        p.data = rng.normal(0, 1, p.shape).astype(np.float32)
    weights, x = weights_of(stack), rng.normal(size=(20, 5)).astype(np.float32)
    y = stack(x)
    if near(y, forward(weights, x)):
        return
    likely = {
        "there is an ELU after the last layer too: no code could fall below -1": forward(
            weights, x, last=elu
        ),
        "there is no ELU between the layers: the whole stack is one linear map": forward(
            weights, x, lambda h: h
        ),
        "the layers are joined by ReLU; expected ELU": forward(weights, x, lambda h: np.maximum(h, 0)),
        "the layers are joined by tanh; expected ELU": forward(weights, x, np.tanh),
        "the layers are joined by a sigmoid; expected ELU": forward(weights, x, sigmoid),
        "the layers are joined by LeakyReLU; expected ELU": forward(
            weights, x, lambda h: np.maximum(h, 0.2 * h)
        ),
        "an ELU bends the input before the first layer": forward(weights, elu(x)),
        "the stack ends in a sigmoid: a code may be any number": forward(weights, x, last=sigmoid),
        "the stack ends in a tanh: a code may be any number": forward(weights, x, last=np.tanh),
    }
    why = next((says for says, value in likely.items() if near(y, value)), None)
    assert why is not None, (
        "the stack's output differs from Dense, ELU, Dense, ELU, ..., Dense: look at the order of the layers, and at "
        "what stands between them"
    )
    pytest.fail(why)


@pytest.mark.hole("dense_stack", kind="invariant")
def test_linear_stack_is_linear(lesson, rng):
    stack = lesson.dense_stack((4, 6, 3), linear=True, rng=rng)
    for p in stack.parameters():
        p.data = rng.normal(0, 1, p.shape).astype(np.float32)
    a, b = (rng.normal(size=(7, 4)).astype(np.float32) for _ in "ab")
    bent = np.abs(numbers(stack(a)) + numbers(stack(b)) - numbers(stack(a + b)) - numbers(stack(0 * a))).max()
    assert bent < 1e-3, (
        f"linear=True, but f(a) + f(b) differs from f(a + b) + f(0) by {bent:.3g}: leave the ELU out"
    )
    y = numbers(stack(a))
    expected = forward(weights_of(stack), a, lambda h: h)
    assert near(y, expected), "linear=True: the layers are there, but the output is not W2 (W1 x + b1) + b2"


@pytest.mark.hole("dense_stack", kind="invariant")
def test_stack_draws_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, same, other = (
        [
            numbers(p)
            for p in lesson.dense_stack((6, 6, 6), linear=False, rng=np.random.default_rng(s)).parameters()
        ]
        for s in (seed, seed, seed + 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True)), (
        "the same generator gives other weights each time: draw them from the rng that was given, Dense(..., rng=rng)"
    )
    assert not np.array_equal(one[0], other[0]), (
        "another generator gives the same weights: pass rng on to Dense, do not make one of your own"
    )
    assert not np.array_equal(one[0], one[2]), (
        "two layers begin with the same weights: the layers share one generator, which goes on from layer to layer"
    )
    assert np.abs(one[0]).max() > 0, "the weights begin at zero: all units would stay equal for ever"


@pytest.mark.hole("dense_stack", kind="gradient")
def test_stack_gradient(lesson, rng):
    stack = lesson.dense_stack((4, 5, 3), linear=False, rng=rng)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    weights = weights_of(stack)

    def oracle(i, value):
        return forward([*weights[:i], value, *weights[i + 1 :]], x)

    check_slope(lambda: stack(x), oracle, stack.parameters(), rng, "dense_stack")


# Autoencoder.encode


@pytest.mark.hole("Autoencoder.encode", kind="shape")
def test_encode_shapes(lesson, rng):
    model = make(lesson, rng)
    for n in (1, 5):
        for x in (images(rng, n), images(rng, n).reshape(n, D), Tensor(images(rng, n))):
            with told(
                f"encode of images of shape {x.shape}",
                f"each image is a row for the encoder, of {D} pixels here and 784 elsewhere: flatten(x)",
            ):
                z = model.encode(x)
            assert shape_of(z) == (n, K), (
                f"encode of {n} images of shape {x.shape} gives {shape_of(z)}; expected one code of {K} numbers for "
                f"each image, ({n}, {K})"
            )


@pytest.mark.hole("Autoencoder.encode", kind="value")
def test_encode_value(lesson, rng):
    model, x = make(lesson, rng), images(rng, 6)
    rows, bias = x.reshape(6, D), model.encoder.parameters()[-1]
    middle = forward(weights_of(model.encoder), rows).mean(axis=0)
    bias.data = (numbers(bias) - middle).astype(np.float32)  # codes of both signs, or a ReLU would not show
    z, weights = model.encode(x), weights_of(model.encoder)
    wanted = forward(weights, rows)
    if near(z, wanted):
        return
    assert not near(z, sigmoid(wanted)), (
        "the codes went through a sigmoid: a code may be any number, leave it as it is"
    )
    assert not near(z, np.tanh(wanted)), (
        "the codes went through a tanh: a code may be any number, leave it as it is"
    )
    assert not near(z, np.maximum(wanted, 0)), "the codes went through a ReLU: half of each axis is lost"
    assert not near(z, elu(wanted)), (
        "the codes went through an ELU: a code may be any number, leave it as it is"
    )
    turned = x.transpose(0, 2, 1).reshape(6, D)
    assert not near(z, forward(weights, turned)), "the pixels are read column by column; expected row by row"
    assert not near(z, forward(weights, x.reshape(D, 6).T)), (
        "pixels of different images are mixed: flatten each image into a row of its own, (N, H, W) -> (N, H * W)"
    )
    for says, other in (
        ("divided by 255 (again): they are in [0, 1] already", rows / 255),
        ("shifted to [-1, 1]: take them as they come", 2 * rows - 1),
        ("centred on the batch's mean: a code may depend on its own image only", rows - rows.mean(axis=0)),
        (
            "centred on the mean of each image: take them as they come",
            rows - rows.mean(axis=1, keepdims=True),
        ),
        ("inverted: take them as they come", 1 - rows),
    ):
        assert not near(z, forward(weights, other)), f"the pixels are {says}"
    off = np.abs(numbers(z) - wanted).max() if shape_of(z) == wanted.shape else np.nan
    pytest.fail(
        f"the codes differ from encoder(rows) by up to {off:.3g}: flatten each image into one row, (N, H * W), and "
        "send the rows through self.encoder, nothing else"
    )


@pytest.mark.hole("Autoencoder.encode", kind="invariant")
def test_encode_one_by_one(lesson, rng):
    model, x = make(lesson, rng), images(rng, 5)
    before = x.copy()
    z = numbers(model.encode(x))
    assert np.array_equal(x, before), "encode changed the images it was given: work on a copy"
    alone = np.concatenate([numbers(model.encode(x[i : i + 1])) for i in range(5)])
    assert near(z, alone), "the code of an image depends on the other images of the batch"
    for p in model.decoder.parameters():
        p.data = rng.normal(size=p.shape).astype(np.float32)
    assert near(model.encode(x), z), (
        "the code changes with the decoder's weights: encoding is the encoder's business"
    )


@pytest.mark.hole("Autoencoder.encode", kind="gradient")
def test_encode_gradient(lesson, rng):
    model, x = make(lesson, rng), images(rng, 4)
    weights = weights_of(model.encoder)

    def oracle(i, value):
        return forward([*weights[:i], value, *weights[i + 1 :]], x.reshape(4, D))

    check_slope(lambda: model.encode(x), oracle, model.encoder.parameters(), rng, "encode")


# Autoencoder.decode


@pytest.mark.hole("Autoencoder.decode", kind="shape")
def test_decode_shapes(lesson, rng):
    model = make(lesson, rng)
    for n in (1, 5):
        z = rng.normal(size=(n, K)).astype(np.float32)
        for code in (z, Tensor(z)):
            with told(
                f"decode of ({n}, {K}) codes", f"self.decoder takes codes of {K} numbers, to {D} pixels"
            ):
                x_hat = model.decode(code)
            assert shape_of(x_hat) == (n, D), (
                f"decode of ({n}, {K}) codes gives {shape_of(x_hat)}; expected ({n}, {D})"
            )


@pytest.mark.hole("Autoencoder.decode", kind="value")
def test_decode_value(lesson, rng):
    model, z = make(lesson, rng), rng.normal(0, 2, (6, K)).astype(np.float32)
    x_hat = numbers(model.decode(z))
    raw = forward(weights_of(model.decoder), z)
    if near(x_hat, sigmoid(raw)):
        return
    assert not near(x_hat, raw), (
        "the decoder's output is not squashed: pixels lie in [0, 1], a sigmoid keeps the reconstruction there too"
    )
    assert not near(x_hat, np.tanh(raw)), (
        "a tanh gives pixels in (-1, 1), the images lie in [0, 1]: use the sigmoid"
    )
    assert not near(x_hat, (np.tanh(raw) + 1) / 2), "(tanh + 1) / 2 is sigmoid(2 x); expected sigmoid(x)"
    assert not near(x_hat, 255 * sigmoid(raw)), (
        "the pixels are in 0..255; expected the range of the images, [0, 1]"
    )
    assert not near(x_hat, sigmoid(sigmoid(raw))), (
        "the sigmoid is applied twice: nothing darker than 1/2 comes out"
    )
    assert not near(x_hat, np.clip(raw, 0, 1)), (
        "the pixels are clipped to [0, 1]: where clipped, no gradient flows; use the sigmoid"
    )
    assert not near(x_hat, np.maximum(raw, 0)), "a ReLU lets pixels grow beyond 1: use the sigmoid"
    total = np.exp(raw - raw.max(1, keepdims=True))
    assert not near(x_hat, total / total.sum(1, keepdims=True)), (
        "a softmax makes the pixels of an image sum to 1: they are no probabilities of one choice, use the sigmoid"
    )
    encoder = [w.T for w in weights_of(model.encoder)[::2]][::-1]
    biases = weights_of(model.decoder)[1::2]
    pairs = [part for pair in zip(encoder, biases, strict=True) for part in pair]
    assert not near(x_hat, sigmoid(forward(pairs, z))), (
        "the decoder uses the encoder's weights (transposed): tied weights are another model, use self.decoder"
    )
    pytest.fail(
        "the reconstruction is not sigmoid(decoder(z)): send the codes through self.decoder, then the sigmoid"
    )


@pytest.mark.hole("Autoencoder.decode", kind="value")
def test_decode_of_a_linear_autoencoder(lesson, rng):
    model = make(lesson, rng, linear=True, hidden=())
    z = rng.normal(0, 2, (6, K)).astype(np.float32)
    x_hat = numbers(model.decode(z))
    raw = forward(weights_of(model.decoder), z)
    assert near(x_hat, raw) or not near(x_hat, sigmoid(raw)), (
        "config.linear: the output went through a sigmoid, which is not linear"
    )
    assert near(x_hat, raw), "config.linear: the output must be the decoder's, W z + b, as it comes"


@pytest.mark.hole("Autoencoder.decode", kind="invariant")
def test_decode_needs_the_code_only(lesson, rng):
    model, z = make(lesson, rng), rng.normal(size=(5, K)).astype(np.float32)
    before = numbers(model.decode(z))
    for p in model.encoder.parameters():
        p.data = rng.normal(size=p.shape).astype(np.float32)
    assert near(model.decode(z), before), (
        "the reconstruction changes with the encoder's weights: it must have weights of its own (tied weights?)"
    )
    model.encode(images(rng, 5))
    model.reconstruct(images(rng, 5))
    assert near(model.decode(z), before), (
        "decode(z) changes with the image that was encoded last: all it may know of an image is z (the bottleneck is "
        "bypassed)"
    )
    alone = np.concatenate([numbers(model.decode(z[i : i + 1])) for i in range(5)])
    assert near(before, alone), "the reconstruction of a code depends on the other codes of the batch"
    far = numbers(model.decode((1e3 * z).astype(np.float32)))
    assert np.isfinite(far).all(), (
        "codes of size 1000 give infinity or NaN: use ops.sigmoid, which never overflows"
    )
    assert (far >= 0).all() and (far <= 1).all(), (
        f"pixels from {far.min():.3g} to {far.max():.3g}; expected [0, 1]"
    )
    code = Tensor((1e3 * z).astype(np.float32), requires_grad=True)
    with np.errstate(all="ignore"):
        g = numbers(grad(model.decode(code).sum(), code))
    assert np.isfinite(g).all(), (
        "the gradient at codes of size 1000 is NaN or infinite: exp overflows on the way; use ops.sigmoid"
    )


@pytest.mark.hole("Autoencoder.decode", kind="gradient")
def test_decode_gradient(lesson, rng):
    model = make(lesson, rng)
    z = Tensor(rng.normal(size=(4, K)).astype(np.float32), requires_grad=True)
    weights = weights_of(model.decoder)

    def oracle(i, value):
        if i == len(weights):
            return forward(weights, value, last=sigmoid)
        return forward([*weights[:i], value, *weights[i + 1 :]], numbers(z), last=sigmoid)

    check_slope(lambda: model.decode(z), oracle, [*model.decoder.parameters(), z], rng, "decode")


# reconstruction_loss


@pytest.mark.hole("reconstruction_loss", kind="value")
def test_loss_value(lesson, rng):
    for n, d in ((5, 12), (3, 7), (1, 4), (8, 1)):
        x_hat, x = (rng.random((n, d)).astype(np.float32) for _ in "ab")
        found = float(numbers(lesson.reconstruction_loss(Tensor(x_hat), Tensor(x))).sum())
        e = np.square(x_hat.astype(np.float64) - x)
        wanted = e.sum() / n
        if near(found, wanted, 1e-5):
            continue
        a, b = np.clip(x_hat, 1e-7, 1 - 1e-7).astype(np.float64), x
        likely = {
            "it is averaged over the pixels too: sum over pixels, average over images": e.mean(),
            "it is summed over the batch: average over the images, or the step size depends on the batch": e.sum(),
            "it is averaged over pixels and summed over images: it is the other way round": e.mean(
                axis=1
            ).sum(),
            "a square root was taken of the whole: it is the squared error that is minimised": np.sqrt(
                wanted
            ),
            "a square root was taken of each image's error: it is the squared error": np.sqrt(
                e.sum(1)
            ).mean(),
            "it is half of the squared error: leave the 1/2 out, figures are compared": wanted / 2,
            "it is the absolute error; expected the squared one": np.abs(x_hat - x).sum() / n,
            "it is a cross-entropy; expected the squared error": -(
                b * np.log(a) + (1 - b) * np.log(1 - a)
            ).sum()
            / n,
            "its sign is wrong: an error is never negative": -wanted,
            "it is divided by n - 1: average over all images": e.sum() / max(n - 1, 1),
            "only the first image counts": e[0].sum(),
            "it is the worst image's error; expected the average over images": e.sum(1).max(),
            "differences are summed before they are squared, so they cancel": np.square(
                (x_hat - x).sum(1)
            ).mean(),
            "differences are summed with their signs, so they cancel: square each of them first": abs(
                (x_hat - x).astype(np.float64).sum()
            )
            / n,
            "it is a cross-entropy of logits; expected the squared error": (
                np.logaddexp(0, x_hat.astype(np.float64)) - x_hat * x
            ).sum()
            / n,
        }
        why = next((says for says, value in likely.items() if near(found, value, 1e-5)), None)
        pytest.fail(
            f"the loss of {n} images of {d} pixels is {found:.6g}, expected {wanted:.6g}: "
            + (why or "the squares of the differences, summed over pixels, averaged over images")
        )


@pytest.mark.hole("reconstruction_loss", kind="shape")
def test_loss_is_one_number(lesson, rng):
    x_hat, x = images(rng, 4).reshape(4, D), images(rng, 4).reshape(4, D)
    loss = lesson.reconstruction_loss(Tensor(x_hat, requires_grad=True), x)
    assert isinstance(loss, Tensor) and loss.size == 1 and loss.ndim == 0, (
        f"the loss has shape {shape_of(loss)}; expected one number, shape ()"
    )
    raw = lesson.reconstruction_loss(x_hat, x)
    assert near(raw, loss), "plain arrays give another loss than Tensors do"


@pytest.mark.hole("reconstruction_loss", kind="gradient")
def test_loss_gradient(lesson, rng):
    n = 5
    x_hat, x = images(rng, n).reshape(n, D), images(rng, n).reshape(n, D)
    t = Tensor(x_hat, requires_grad=True)
    loss = lesson.reconstruction_loss(t, x)
    assert isinstance(loss, Tensor) and loss.requires_grad, (
        "the loss is cut off from the graph: no gradient can flow"
    )
    g, wanted = numbers(grad(loss, t)), 2 * (x_hat - x) / n
    ratio = float((g * wanted).sum() / np.square(wanted).sum())
    assert near(g, wanted), (
        f"the gradient is not 2 (x_hat - x) / N: it is about {ratio:.3g} times that"
        + (": averaged over pixels?" if abs(ratio * D - 1) < 0.01 else "")
        + (": summed over the batch?" if abs(ratio - n) < 0.01 * n else "")
    )


@pytest.mark.hole("reconstruction_loss", kind="invariant")
def test_loss_belongs_to_an_image(lesson, rng):
    x_hat, x = images(rng, 4).reshape(4, D), images(rng, 4).reshape(4, D)

    def loss(a, b):
        return float(numbers(lesson.reconstruction_loss(Tensor(a), b)))

    once = loss(x_hat, x)
    kept = x_hat.copy(), x.copy()
    assert near(loss(np.concatenate([x_hat] * 3), np.concatenate([x] * 3)), once), (
        "three copies of the same batch change the loss: average over the images"
    )
    assert near(loss(np.tile(x_hat, 2), np.tile(x, 2)), 2 * once), (
        "twice as many pixels do not give twice the loss: sum over the pixels"
    )
    assert loss(x, x.copy()) == 0, "a perfect reconstruction must cost nothing"
    assert near(loss(x, x_hat), once), "swapping image and reconstruction changes the loss"
    assert np.array_equal(kept[0], x_hat) and np.array_equal(kept[1], x), (
        "the loss changed the arrays it was given"
    )
    # one bad image among good ones counts with its share
    one = np.concatenate([x[:3], x_hat[3:]])
    assert near(loss(one, x), np.square(x_hat[3] - x[3].astype(np.float64)).sum() / 4), (
        "not every image counts alike"
    )
    for far in (0.0, 3.0, -2.0):
        assert near(loss(np.full((2, D), far, np.float32), np.zeros((2, D), np.float32)), D * far * far), (
            f"pixels of {far} against 0: the loss is not {D} x {far}^2; was something clipped or squashed?"
        )


# Autoencoder.updates


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
        f"the module to step is a {type(module).__name__}; expected the model: encoder and decoder learn together"
    )
    assert isinstance(loss, Tensor) and loss.size == 1, (
        "the second of the pair must be the loss, a Tensor of one number"
    )
    return loss


@pytest.mark.hole("Autoencoder.updates", kind="step")
def test_updates_yields_one_pair(lesson, rng):
    model, batch = make(lesson, rng), images(rng, 6)
    before = model.state_dict()
    loss = pairs_of(model, batch, rng)
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before), (
        "updates() changes the parameters: it only says what is to be minimised, the training loop makes the step"
    )
    assert loss.requires_grad, (
        "the loss is a plain number: yield the Tensor itself, without .item() or .detach()"
    )
    found = grad(loss, model.parameters(), allow_unused=True)
    names = [name for name, _ in model.named_parameters()]
    idle = [
        name for name, g in zip(names, found, strict=True) if g is None or not np.abs(numbers(g)).max() > 0
    ]
    parts = sorted({name.split(".")[0] for name in idle})
    assert not idle, (
        f"the {' and '.join(parts)} would never learn, no gradient reaches {', '.join(idle[:3])}: was the code "
        "detached, or the image compared with something that does not come from it?"
    )


@pytest.mark.hole("Autoencoder.updates", kind="value")
def test_updates_loss(lesson, rng):
    model, batch = make(lesson, rng), images(rng, 6)
    loss = float(numbers(pairs_of(model, batch, rng)))
    x = batch.reshape(6, D).astype(np.float64)
    code = forward(weights_of(model.encoder), x)
    x_hat = forward(weights_of(model.decoder), code, last=sigmoid)
    wanted = np.square(x_hat - x).sum() / 6
    if near(loss, wanted):
        return
    assert not near(loss, np.square(x_hat - 255 * x).sum() / 6), (
        "the reconstruction in [0, 1] is compared with pixels in 0..255: both must be in the same range"
    )
    assert not near(loss, np.square(x_hat - (2 * x - 1)).sum() / 6), (
        "the reconstruction in [0, 1] is compared with pixels in [-1, 1]: both must be in the same range"
    )
    assert not near(loss, np.square(x_hat - (x > 0.5)).sum() / 6), (
        "the reconstruction is compared with binarized pixels: compare it with the images themselves"
    )
    assert not near(loss, np.square(x_hat - x / 255).sum() / 6), (
        "the pixels are divided by 255 once more: they are in [0, 1] already"
    )
    assert not near(loss, wanted / D), (
        "the loss is averaged over pixels too: use reconstruction_loss as it is"
    )
    assert not near(loss, wanted * 6), "the loss is summed over the batch: use reconstruction_loss as it is"
    assert not near(loss, np.square(x_hat).sum() / 6), (
        "the image itself is added to its reconstruction: the bottleneck is bypassed, and nothing need be learned"
    )
    assert not near(loss, np.square(x_hat - np.roll(x, 1, axis=0)).sum() / 6), (
        "each reconstruction is compared with the image of its neighbour"
    )
    pytest.fail(
        f"the loss of this batch is {loss:.6g}, expected {wanted:.6g}: reconstruction_loss of the batch's own "
        "reconstructions, against the same images, all of them, without noise or penalties"
    )


@pytest.mark.hole("Autoencoder.updates", kind="step")
def test_updates_train_both_halves(lesson, rng):
    model, batch = make(lesson, rng), images(rng, 16)
    optimizer, before = Adam(model.parameters(), lr=5e-3), model.state_dict()
    first = last = None
    for _ in range(60):
        loss = pairs_of(model, batch, rng)
        optimizer.step(grad(loss, model.parameters()))
        last = loss.item()
        first = last if first is None else first
    after = model.state_dict()
    still = sorted({name.split(".")[0] for name in before if np.array_equal(before[name], after[name])})
    assert not still, (
        f"60 steps did not change the {' and '.join(still)}: does its part of the graph reach the loss?"
    )
    assert last < 0.8 * first, (
        f"60 steps of Adam bring the loss from {first:.4g} to {last:.4g} only: it does not learn"
    )


@pytest.mark.hole("Autoencoder.updates", kind="invariant")
def test_linear_autoencoder_finds_pca(lesson, rng):
    d, k, steps = 10, 3, 700
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spread = np.array([2.0, 1.8, 1.6] + [0.3] * (d - k))
    x = (rng.normal(size=(200, d)) * spread @ basis.T + rng.random(d)).astype(np.float32)
    model = lesson.Autoencoder(lesson.Config(pixels=d, hidden=(), code=k, linear=True), rng=rng)
    optimizer = Adam(model.parameters(), lr=0.05)
    for step in range(steps):  # ends within 0.1% of PCA in 60 seeds of 60
        optimizer.lr = 0.05 * (1 - step / steps)
        optimizer.step(grad(pairs_of(model, x, rng), model.parameters()))
    error = model.evaluate(x, rng)["squared_error"]
    mean, components = lesson.pca_fit(x, k)
    best = np.square(lesson.pca_reconstruct(x, mean, components) - x).sum(axis=1).mean()
    assert error > best * (1 - 1e-3), (
        f"a linear autoencoder with code {k} has error {error:.4g}, below PCA's {best:.4g}, which cannot be: something "
        "of the image passes beside the code"
    )
    assert error < best * 1.01, (
        f"a linear autoencoder with code {k} ends at error {error:.4g}; PCA, the best there is, has {best:.4g}: the "
        "loss that is minimised is not the squared error of the reconstruction"
    )
    angle = float(lesson.principal_angles(numbers(model.decoder.parameters()[0]), components)[0])
    assert angle < 0.1, (
        f"the linear decoder spans another subspace than the first {k} components (angle {angle:.2g} radians)"
    )


# pca_fit


def cloud(rng, n, d=D, k=K):
    """(n, d) points with k strong directions, falling, around a mean far from zero; in the range of images"""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spread = np.concatenate([np.linspace(0.2, 0.1, k), np.linspace(0.04, 0.01, d - k)])
    return (0.5 + 0.1 * rng.random(d) + (rng.normal(size=(n, d)) * spread) @ basis.T).astype(np.float32)


def principal(x, k):
    """(N, D) -> mean, (k, D) by the eigenvectors of the covariance: the oracle"""
    x = np.asarray(x, np.float64)
    _, vectors = np.linalg.eigh(np.cov(x.T))
    return x.mean(axis=0), vectors[:, ::-1][:, :k].T


def turned(centred):
    """Matrices with the directions as columns, as eigh and a transposed SVD have them"""
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    columns = np.linalg.svd(centred.astype(np.float64))[2].T
    return vectors, vectors[:, ::-1], columns, np.linalg.svd(centred.T.astype(np.float64) @ centred)[2].T


def projector(rows):
    return rows.T @ rows


def fitted(lesson, x, k):
    with told(
        f"pca_fit of {len(x)} images",
        "each image is a row of pixels: flatten(images), then the mean over axis 0",
    ):
        found = lesson.pca_fit(x, k)
    assert isinstance(found, tuple | list) and len(found) == 2, (
        "pca_fit gives " + type(found).__name__ + "; expected mean and components"
    )
    return numbers(found[0]), numbers(found[1])


@pytest.mark.hole("pca_fit", kind="shape")
def test_pca_shapes(lesson, rng):
    for n, k in ((40, 3), (40, 1), (8, 4)):
        x = cloud(rng, n).reshape(n, H, W)
        kept = x.copy()
        mean, components = fitted(lesson, x, k)
        assert np.array_equal(kept, x), "pca_fit changed the images it was given: centre a copy"
        assert mean.shape != (k, D) or components.shape != (D,), (
            "mean and components are in the wrong order; expected (mean, components)"
        )
        assert components.shape != (k, n), (
            f"the components have shape {components.shape}, a number for each image: those are left singular vectors, "
            "of U or of X X^T; the directions in pixel space are the rows of V^T"
        )
        assert mean.shape == (D,), (
            f"the mean of {n} images of {D} pixels has shape {mean.shape}; expected one number for each pixel, ({D},)"
        )
        transposed = " (transposed: a component is a row)" if components.shape == (D, k) else ""
        assert components.shape == (k, D), (
            f"the components have shape {components.shape}; expected ({k}, {D}){transposed}"
        )


@pytest.mark.hole("pca_fit", kind="invariant")
def test_pca_components_are_orthonormal(lesson, rng):
    _, components = fitted(lesson, cloud(rng, 60), K)
    lengths = np.linalg.norm(components, axis=1)
    assert np.allclose(lengths, 1, atol=1e-4), (
        f"the components have lengths {np.round(lengths, 3)}; expected 1: take the singular vectors as they are"
    )
    assert np.allclose(components @ components.T, np.eye(K), atol=1e-4), (
        "the components are not orthogonal to each other: are they rows of V^T, or something else?"
    )


@pytest.mark.hole("pca_fit", kind="value")
def test_pca_value(lesson, rng):
    x = cloud(rng, 80)
    mean, components = fitted(lesson, x, K)
    wanted, best = principal(x, K)
    assert near(mean, wanted), "the mean is not the average image of the training set"
    found = projector(components)
    if not np.allclose(found, projector(best), atol=1e-3):
        raw = np.linalg.svd(x.astype(np.float64), full_matrices=False)[2]
        assert not np.allclose(found, projector(raw[:K]), atol=1e-3), (
            "the images were not centred before the decomposition: the first component points at the mean image"
        )
        _, every = principal(x, D)
        assert not np.allclose(found, projector(every[-K:]), atol=1e-3), (
            "these are the directions of least variance: singular values fall, eigenvalues of eigh rise"
        )
        assert not np.allclose(found, projector(every[1 : K + 1]), atol=1e-3), (
            "the first component is left out"
        )
        assert not any(np.allclose(found, projector(v[:K]), atol=1e-3) for v in turned(x - wanted)), (
            "the components are rows of a matrix whose columns are the directions (the eigenvectors of eigh, the V of "
            "V^T): transpose it before you take k of them"
        )
        rows = x - x.mean(axis=1, keepdims=True)
        own = np.linalg.svd(rows.astype(np.float64) - rows.mean(axis=0), full_matrices=False)[2]
        plain = np.linalg.svd(rows.astype(np.float64), full_matrices=False)[2]
        assert not any(np.allclose(found, projector(v[:K]), atol=1e-3) for v in (own, plain)), (
            "each image was centred on its own brightness: subtract the average over the images (axis 0)"
        )
        scaled = (x - wanted) / x.std(axis=0)
        other = np.linalg.svd(scaled, full_matrices=False)[2]
        assert not np.allclose(found, projector(other[:K]), atol=1e-3), (
            "the pixels were divided by their standard deviations: PCA of the images themselves is asked for"
        )
    assert np.allclose(found, projector(best), atol=1e-3), (
        "the components do not span the directions of most variance: rows of V^T of the centred images"
    )


@pytest.mark.hole("pca_fit", kind="invariant")
def test_pca_most_variance_first(lesson, rng):
    x = cloud(rng, 100)
    mean, components = fitted(lesson, x, 5)
    variance = ((x - mean) @ components.T).var(axis=0)
    assert (np.diff(variance) < 1e-9).all(), (
        f"the variances along the components are {np.round(variance, 4)}: the largest must come first"
    )
    for k in (1, 2):
        _, fewer = fitted(lesson, x, k)
        assert np.allclose(projector(fewer), projector(components[:k]), atol=1e-3), (
            f"the first {k} of 5 components are not those of pca_fit(images, {k})"
        )
    few = cloud(rng, 6)  # fewer images than pixels
    mean, components = fitted(lesson, few, 5)
    left = np.abs(few - mean - (few - mean) @ components.T @ components).max()
    assert left < 1e-3, (
        f"6 images lie in 5 directions around their mean, but 5 components leave {left:.2g} of them"
    )


# pca_reconstruct


@pytest.mark.hole("pca_reconstruct", kind="value")
def test_pca_reconstruct_value(lesson, rng):
    mean, components = principal(cloud(rng, 60), K)
    x = cloud(rng, 7)
    with told(
        "pca_reconstruct",
        "(N, D) rows times components.T (D, k) are codes (N, k), times components (k, D) images; flatten(images) first",
    ):
        found = lesson.pca_reconstruct(x.reshape(7, H, W), mean, components)
    centred = x - mean
    wanted = mean + centred @ components.T @ components
    if near(found, wanted):
        return
    own = x.mean(axis=0)
    likely = {
        "the mean is not added back": wanted - mean,
        "the mean is not subtracted before the projection": mean + x @ components.T @ components,
        "the mean plays no part: subtract it before the projection and add it after": x
        @ components.T
        @ components,
        "the images are centred on their own mean: use the mean that was given, of the training set": own
        + (x - own) @ components.T @ components,
        "these are the codes, not images: multiply by the components once more": centred @ components.T,
        "this is what the components leave, not what they keep": centred
        - centred @ components.T @ components,
        "the images come back untouched: they must pass through the k coordinates": x,
    }
    why = next((says for says, value in likely.items() if near(found, value)), None)
    pytest.fail(why or "the reconstruction is not mean + (x - mean) V^T V, V being the components")


@pytest.mark.hole("pca_reconstruct", kind="shape")
def test_pca_reconstruct_shape(lesson, rng):
    mean, components = principal(cloud(rng, 60), K)
    for n in (1, 4):
        x = cloud(rng, n).reshape(n, H, W)
        kept = [array.copy() for array in (x, mean, components)]
        found = shape_of(lesson.pca_reconstruct(x, mean, components))
        assert found == (n, D), f"{n} images of {H} x {W} give {found}; expected rows of pixels, ({n}, {D})"
        assert all(np.array_equal(a, b) for a, b in zip(kept, (x, mean, components), strict=True)), (
            "pca_reconstruct changed an array it was given: work on a copy"
        )


@pytest.mark.hole("pca_reconstruct", kind="invariant")
def test_pca_reconstruct_is_a_projection(lesson, rng):
    mean, components = principal(cloud(rng, 60), K)
    inside = mean + rng.normal(size=(5, K)) @ components
    assert near(lesson.pca_reconstruct(inside, mean, components), inside), (
        "images that lie in the subspace do not come back unchanged"
    )
    x = cloud(rng, 9)
    once = numbers(lesson.pca_reconstruct(x, mean, components))
    assert near(lesson.pca_reconstruct(once, mean, components), once), (
        "reconstructing twice changes the result"
    )
    assert np.abs((x - once) @ components.T).max() < 1e-4, "what is lost is not orthogonal to the components"
    alone = np.concatenate(
        [numbers(lesson.pca_reconstruct(x[i : i + 1], mean, components)) for i in range(9)]
    )
    assert near(once, alone), "the reconstruction of an image depends on the other images of the batch"


# interpolate


@pytest.mark.hole("interpolate", kind="shape")
def test_interpolate_shape(lesson, rng):
    model, (a, b) = make(lesson, rng), images(rng, 2)
    for steps in (2, 5, 8):
        kept = a.copy(), b.copy()
        with told(
            "interpolate",
            f"a and b are single images, here {a.shape}, and encode wants a batch, (N, ...): stack the two, or a[None]",
        ):
            walk = lesson.interpolate(model, a, b, steps)
        assert not isinstance(walk, list), "interpolate gives a list; expected one array (steps, pixels)"
        assert shape_of(walk) == (steps, D), (
            f"{steps} steps between two images of {D} pixels give {shape_of(walk)}; expected ({steps}, {D}), both "
            "ends among them"
        )
        assert not (isinstance(walk, Tensor) and walk.requires_grad), (
            "the walk still hangs on the graph: compute it under no_grad() and give .numpy()"
        )
        assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1]), (
            "interpolate changed an image it was given"
        )


def walks(model, a, b, steps):
    """The right walk, {what is wrong: the walk that comes of it}"""
    ends = numbers(model.reconstruct(np.stack([a, b])))
    za, zb = numbers(model.encode(np.stack([a, b])))
    weights = weights_of(model.decoder)
    t = np.linspace(0, 1, steps)
    column = t[:, None]
    mixed = (1 - column) * a.ravel() + column * b.ravel()

    def along(t):
        t = np.asarray(t)[:, None]
        return forward(weights, (1 - t) * za + t * zb, last=sigmoid)

    return along(t), {
        "the pixels are interpolated, not the codes: mix z, then decode": mixed,
        "the two reconstructions are mixed pixel by pixel: mix their codes, then decode": (
            (1 - column) * ends[0] + column * ends[1]
        ),
        "the mixed images are encoded: it is the codes that must lie on a straight line": numbers(
            model.reconstruct(mixed.astype(np.float32))
        ),
        "the last step does not arrive at b: the ends belong to the walk (endpoint=False?)": along(
            np.linspace(0, 1, steps, endpoint=False)
        ),
        "the walk leaves out both ends: the first image is a's reconstruction, the last b's": along(
            np.linspace(0, 1, steps + 2)[1:-1]
        ),
        "the walk leaves out its beginning: the first image must be a's reconstruction": along(
            np.linspace(0, 1, steps + 1)[1:]
        ),
        "the walk goes from b to a; expected from a to b": along(t[::-1]),
        "the walk goes from a to a: b never comes in": along(0 * t),
        "the steps are not even: t must grow by the same amount each time": along(t * t),
    }


def model_and_pair(lesson, rng, steps):
    """A model and two images between which every kind of walk is another: dead units could make them all alike"""
    for _ in range(200):
        model, (a, b) = make(lesson, rng), images(rng, 2)
        for p in model.parameters():
            p.data = 2 * p.numpy()
        wanted, likely = walks(model, a, b, steps)
        if all(np.abs(value - wanted).max() > 0.02 for value in likely.values()):
            break
    return model, a, b


@pytest.mark.hole("interpolate", kind="value")
def test_interpolate_value(lesson, rng):
    steps = 6
    model, a, b = model_and_pair(lesson, rng, steps)
    walk = numbers(lesson.interpolate(model, a, b, steps))
    wanted, likely = walks(model, a, b, steps)
    if near(walk, wanted, 1e-3):
        return
    why = next((says for says, value in likely.items() if near(walk, value, 1e-3)), None)
    if why is None and not near(walk[0], wanted[0], 1e-3):
        why = "the first image must be the reconstruction of a"
    if why is None and not near(walk[-1], wanted[-1], 1e-3):
        why = "the last image must be the reconstruction of b: the ends belong to the walk"
    pytest.fail(
        why or "the ends are right, but between them the codes are not evenly spaced on the straight line"
    )


@pytest.mark.hole("interpolate", kind="invariant")
def test_interpolate_there_and_back(lesson, rng):
    model, a, b = model_and_pair(lesson, rng, 7)
    before = model.state_dict()
    there = numbers(lesson.interpolate(model, a, b, 7))
    back = numbers(lesson.interpolate(model, b, a, 7))
    assert near(there, back[::-1], 1e-3), "the walk from b to a is not the walk from a to b backwards"
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before), "interpolate changed the model"
    same = numbers(lesson.interpolate(model, a, a, 4))
    assert near(same, np.repeat(same[:1], 4, axis=0)), "from an image to itself every step must be the same"


# bottleneck_sweep


def swept(lesson, rng, sizes=(4, 1, 2)):
    train, test = cloud(rng, 50).reshape(50, H, W), cloud(rng, 20).reshape(20, H, W)
    models, asked = {}, []

    def fit(k):
        asked.append(k)
        models.setdefault(int(k), make(lesson, rng, code=int(k)))
        return models[int(k)]

    with told(
        "bottleneck_sweep",
        "model = fit(k) and pca_fit(train, k) for each k; the losses want whole sets, images as rows: flatten(test)",
    ):
        rows = lesson.bottleneck_sweep(sizes, train, test, fit)
    assert not isinstance(rows, dict), (
        "bottleneck_sweep gives a dict; expected a list of rows (k, error, PCA's error)"
    )
    assert rows is not None and hasattr(rows, "__iter__"), (
        "bottleneck_sweep gives nothing: return the list of rows"
    )
    return [tuple(row) for row in rows], train, test, models, asked


@pytest.mark.hole("bottleneck_sweep", kind="shape")
def test_sweep_rows(lesson, rng):
    rows, *_ = swept(lesson, rng)
    assert len(rows) == 3, f"three code sizes give {len(rows)} rows; expected one for each"
    assert all(len(row) == 3 for row in rows), (
        f"a row holds {len(rows[0])} values; expected (k, model's error, PCA's)"
    )
    assert [row[0] for row in rows] == [4, 1, 2], (
        f"the rows are for sizes {[row[0] for row in rows]}; expected those asked for, in their order: [4, 1, 2]"
    )
    for row in rows:
        assert all(np.ndim(numbers(value)) == 0 for value in row[1:]), (
            "an error is one number for the whole test set"
        )


@pytest.mark.hole("bottleneck_sweep", kind="step")
def test_sweep_trains_one_model_for_each_size(lesson, rng):
    *_, asked = swept(lesson, rng)
    assert asked == [4, 1, 2], (
        f"fit was called for sizes {asked}; expected once for each code size, [4, 1, 2]: each needs a model of its own"
    )


@pytest.mark.hole("bottleneck_sweep", kind="value")
def test_sweep_errors(lesson, rng):
    rows, train, test, models, _ = swept(lesson, rng)
    x, y = (part.reshape(len(part), D).astype(np.float64) for part in (train, test))

    def pca(of, on, k):
        mean, components = principal(of, k)
        return np.square(mean + (on - mean) @ components.T @ components - on).sum(axis=1).mean()

    for k, ours, theirs in rows:
        ours, theirs = float(numbers(ours)), float(numbers(theirs))
        model = models[k]

        def error(on, model=model):
            return np.square(numbers(model.reconstruct(on.astype(np.float32))) - on).sum(axis=1).mean()

        swapped = "the two errors are in the wrong order; expected (k, the model's error, PCA's error)"
        likely = {
            swapped: pca(x, y, k),
            f"k = {k}: the model is measured on the images it was trained on: use the test set": error(x),
            f"k = {k}: the model's error is averaged over pixels: sum them": error(y) / D,
            f"k = {k}: the model's error is summed over images: average them": error(y) * len(y),
        }
        must_be(
            ours,
            error(y),
            likely,
            f"k = {k}: the model's error is {ours:.5g}, expected {error(y):.5g}: the loss of the test images",
        )
        likely = {
            f"k = {k}: PCA was fitted on the test set, which it is measured on: fit it on the training set": pca(
                y, y, k
            ),
            f"k = {k}: PCA is measured on the training set: use the test set": pca(x, x, k),
            f"k = {k}: PCA's error is averaged over pixels: sum them": pca(x, y, k) / D,
        } | {
            f"k = {k}: this is PCA with {j} components: compare at the same code size": pca(x, y, j)
            for j in range(1, D)
        }
        must_be(
            theirs,
            pca(x, y, k),
            likely,
            f"k = {k}: PCA's error is {theirs:.5g}, expected {pca(x, y, k):.5g}: fitted on the training set, measured "
            "on the test set",
        )


# noise_test


def nearest(a, b):
    a, b = (numbers(part).reshape(len(part), -1) for part in (a, b))
    return np.square(a[:, None] - b[None]).sum(axis=2).min(axis=1)


def measured(lesson, model, train, test, n, rng):
    size = model.config.code
    with told(
        "noise_test",
        f"a code has model.config.code numbers, {size} here: n of them are ({n}, {size}) normal draws",
    ):
        found = lesson.noise_test(model, train, test, n, rng)
    assert isinstance(found, dict) and set(found) == {"data", "reconstructed", "noise"}, (
        f"noise_test gives {sorted(found) if isinstance(found, dict) else type(found).__name__}; expected a dict with "
        "data, reconstructed and noise"
    )
    assert all(np.ndim(numbers(value)) == 0 for value in found.values()), (
        "each value must be one number, a mean"
    )
    return {kind: float(numbers(value)) for kind, value in found.items()}


@pytest.mark.hole("noise_test", kind="value")
def test_noise_data_and_reconstructions(lesson, rng):
    model, train, test = make(lesson, rng), images(rng, 30), images(rng, 9)
    found = measured(lesson, model, train, test, 11, rng)
    wanted = nearest(test, train)
    assert found["data"] != 0, (
        "images are compared with themselves: it is the distance from the test images to the training images"
    )
    likely = {
        "these are distances; expected squared distances": np.sqrt(wanted).mean(),
        "it is the distance of the first image alone: expected the mean over the images": wanted[0],
        "it is the sum over the images: expected the mean": wanted.sum(),
        "this is how far the training images are from the test images; expected the reverse": nearest(
            train, test
        ).mean(),
    }
    must_be(
        found["data"],
        wanted.mean(),
        likely,
        f"data: {found['data']:.5g}, expected {wanted.mean():.5g}: the mean of nearest_distance(test, train)",
    )
    redrawn = model.reconstruct(test)
    lost = np.square(numbers(redrawn) - test.reshape(9, D)).sum(axis=1)
    likely = {
        "reconstructed: this is the reconstruction error; expected the distance to the nearest training image": (
            lost.mean()
        ),
        "reconstructed: these are the training images' reconstructions; expected the test images'": nearest(
            model.reconstruct(train), train
        ).mean(),
    }
    must_be(
        found["reconstructed"],
        nearest(redrawn, train).mean(),
        likely,
        "reconstructed: expected the mean distance of the test images' reconstructions to the nearest training image",
    )


@pytest.mark.hole("noise_test", kind="invariant")
def test_noise_is_decoded(lesson, rng):
    model, train, test = make(lesson, rng), images(rng, 30), images(rng, 9)
    weights = model.decoder.parameters()
    weights[-2].data = np.zeros(weights[-2].shape, np.float32)  # now every code gives one and the same image
    always = sigmoid(numbers(weights[-1]))[None]
    found = measured(lesson, model, train, test, 11, rng)
    wrong_set = "noise: the distance is to the test images; expected the nearest training image"
    must_be(
        found["noise"],
        nearest(always, train).mean(),
        {wrong_set: nearest(always, test).mean()},
        "noise: a decoder that draws the same image for every code must give exactly that image's distance: are the "
        "noise codes decoded by model.decode?",
    )


@pytest.mark.hole("noise_test", kind="value")
def test_noise_is_standard_normal(lesson, rng):
    k, n = 40, 3000
    seen = []

    class Mirror(lesson.Autoencoder):
        def decode(self, z):
            seen.extend(map(tuple, numbers(z)))
            return super().decode(z)

    model = make(lesson, rng, Mirror, pixels=k, hidden=(), code=k, linear=True)
    for module in (model.encoder, model.decoder):  # an image is its code
        weight, bias = module.parameters()
        weight.data, bias.data = np.eye(k, dtype=np.float32), np.zeros(k, np.float32)
    centre = rng.random((1, k)).astype(np.float32)
    test = np.concatenate([centre] * 7)
    noise = measured(lesson, model, centre, test, n, rng)["noise"]
    expected = k + float(np.square(centre).sum())
    slack = 7 * np.sqrt((2 * k + 4 * np.square(centre).sum()) / n)
    assert noise > 0, "noise: the codes are those of images: draw them from N(0, I), no image is asked"
    assert set(seen) != {tuple(numbers(centre)[0])}, (
        "noise: the codes are those of images: draw them from N(0, I), no image is asked"
    )
    assert len(seen) != n + 7 or len(set(seen)) > n / 2, (
        "noise: one code is decoded again and again; draw n of them"
    )
    assert abs(noise - expected) < slack, (
        f"noise: {n} codes of {k} numbers lie {noise:.4g} from a fixed point on average, where N(0, I) gives "
        f"{expected:.4g}: one standard normal number for each entry of each code, rng.standard_normal((n, k))"
    )
    total = len(seen)
    assert total <= 7 or total == n + 7, (
        f"{total - 7} noise codes were decoded; expected n = {n}, however many test images there are"
    )


@pytest.mark.hole("noise_test", kind="step")
def test_noise_uses_rng_and_leaves_the_model(lesson, rng):
    model, train, test = make(lesson, rng), images(rng, 30), images(rng, 9)
    before, kept = model.state_dict(), (train.copy(), test.copy())
    seed = int(rng.integers(2**31))
    one, same, other = (
        measured(lesson, model, train, test, 25, np.random.default_rng(s))["noise"]
        for s in (seed, seed, seed + 1)
    )
    assert one == same, (
        "the same generator gives another result: draw from the rng that was given, from nothing else"
    )
    assert one != other, "another generator gives the same result: draw from the rng that was given"
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before), "noise_test changed the model"
    assert np.array_equal(kept[0], train) and np.array_equal(kept[1], test), "noise_test changed the images"
