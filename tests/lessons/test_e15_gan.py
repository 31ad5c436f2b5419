"""Checks of e15: each hole against NumPy written out here, and against what must be true of any such game."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import numpy as np
import pytest

from minigen import Tensor, grad, ops
from minigen.nn import BatchNorm, Module
from minigen.ops import conv2d, conv_transpose2d, leaky_relu, relu, sigmoid

LN2 = float(np.log(2))


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def near(a, b, rtol=1e-4):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise, rtol=1e-4):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted, rtol):
        pytest.fail(next((says for says, value in likely.items() if near(found, value, rtol)), otherwise))


def softplus(l):
    return np.logaddexp(0, np.asarray(l, np.float64))


def sig(l):
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(l, np.float64)))


def logits(rng, n, scale=2.0):
    return (rng.normal(size=(n, 1)) * scale).astype(np.float32)


def scalar(value, what):
    """A loss must be one number that gradients can be asked of"""
    shape = tuple(getattr(value, "shape", ()))
    assert shape == (), f"{what} has shape {shape}; expected one number, the mean over the batch"
    return float(numbers(value))


def finite(value, what, wanted):
    found = scalar(value, what)
    assert np.isfinite(found), (
        f"{what} is {found} for logits of +-1000: take the logarithm of a sigmoid by ops.softplus, never ops.log"
    )
    assert abs(found - wanted) <= 1e-3 * max(1.0, abs(wanted)), (
        f"{what} is {found:.4g} for logits of +-1000, expected {wanted:.4g}: is a log clipped, or a small number added "
        "inside it? It stays there for ever, without a slope. softplus needs no help"
    )


def slope(loss, l):
    x = Tensor(np.asarray(l, np.float64), requires_grad=True)
    y = loss(x)
    assert isinstance(y, Tensor) and y.requires_grad, (
        "the loss is cut off from the graph (.data, .numpy(), float() or NumPy in between?): nobody could learn from it"
    )
    return numbers(grad(y, x))


# discriminator_loss


@pytest.mark.hole("discriminator_loss", kind="value")
def test_discriminator_loss_value(lesson, rng):
    r, f = logits(rng, 7) + 1, logits(rng, 5) - 0.5
    zero = scalar(lesson.discriminator_loss(Tensor(np.zeros((4, 1))), Tensor(np.zeros((6, 1)))), "the loss")
    found = lesson.discriminator_loss(Tensor(r), Tensor(f))
    real, fake = softplus(-r).mean(), softplus(f).mean()
    r64, f64 = np.asarray(r, np.float64), np.asarray(f, np.float64)
    must_be(
        found,
        real + fake,
        {
            "the labels are swapped: D would learn to call fakes real": softplus(r64).mean()
            + softplus(-f64).mean(),
            "a sigmoid is applied twice: the logits go through one inside the logarithm already": softplus(
                -sig(r)
            ).mean()
            + softplus(sig(f)).mean(),
            "this is V(D, G) itself, which D wants LARGE; a loss is made small: change the sign": -real
            - fake,
            "the two means are averaged; expected their sum, 2 ln 2 where D knows nothing": (real + fake) / 2,
            "summed over the batch; expected the mean of each": softplus(-r64).sum() + softplus(f64).sum(),
            "only the real images count; the fakes are missing": real,
            "only the fakes count; the real images are missing": fake,
            "the fakes carry the label of real images here: that is the generator's wish, not D's": real
            + softplus(-f64).mean(),
            "the real and the fake logits are thrown together before the mean; each has a "
            "mean of its own": np.concatenate([softplus(-r64), softplus(f64)]).mean(),
            "these are probabilities, 1 - D(real) + D(fake); expected their logarithms": (1 - sig(r)).mean()
            + sig(f).mean(),
        },
        f"the loss is {numbers(found)}, expected {real + fake:.5g}: mean softplus(-real) + mean softplus(fake)",
    )
    assert abs(zero - 2 * LN2) < 1e-5, f"at zero logits it is {zero:.4f}; expected 2 ln 2 = {2 * LN2:.4f}"


@pytest.mark.hole("discriminator_loss", kind="invariant")
def test_discriminator_loss_far_out(lesson, rng):
    a, b = np.full((2, 1), -1000.0, np.float32), np.full((3, 1), 1000.0, np.float32)
    finite(lesson.discriminator_loss(Tensor(a), Tensor(b)), "discriminator_loss", 2000.0)
    finite(lesson.discriminator_loss(Tensor(b), Tensor(a)), "discriminator_loss", 0.0)


@pytest.mark.hole("discriminator_loss", kind="gradient")
def test_discriminator_loss_gradient(lesson, rng):
    r, f = logits(rng, 4, 5), logits(rng, 6, 5)
    must_be(
        slope(lambda x: lesson.discriminator_loss(x, Tensor(np.float64(f))), r),
        (sig(r) - 1) / 4,
        {},
        "its slope by the real logits is not (D(real) - 1) / N",
    )
    must_be(
        slope(lambda x: lesson.discriminator_loss(Tensor(np.float64(r)), x), f),
        sig(f) / 6,
        {},
        "its slope by the fake logits is not D(fake) / M",
    )


# The generator's two losses


def generator_likely(f):
    f = np.asarray(f, np.float64)
    return {
        "D's own labels: this is what D makes small of fakes, so G would help D; G wants the opposite": softplus(
            f
        ).mean(),
        "this is mean log D(fake), which G wants LARGE; a loss is made small: change the sign": -softplus(
            -f
        ).mean(),
        "a sigmoid is applied twice: the logits go through one inside the logarithm already": softplus(
            -sig(f)
        ).mean(),
        "a sigmoid is applied twice: the logits go through one inside the logarithm": -softplus(
            sig(f)
        ).mean(),
        "this is a probability; expected its logarithm": (1 - sig(f)).mean(),
        "minus a probability; expected its logarithm": -sig(f).mean(),
        "this is the critic's score, as in a Wasserstein GAN": -f.mean(),
        "this is log(1 - D): the minimax loss, whose slope vanishes where D is sure": -softplus(f).mean(),
        "this is -log D, the non-saturating loss; the letter of eq. 1 is log(1 - D)": softplus(-f).mean(),
        "summed over the batch; expected the mean": softplus(-f).sum(),
        "summed over the batch, expected the mean": -softplus(f).sum(),
    }


@pytest.mark.hole("minimax_loss", kind="value")
def test_minimax_value(lesson, rng):
    f = logits(rng, 9)
    wanted = -softplus(f).mean()
    must_be(
        lesson.minimax_loss(Tensor(f)),
        wanted,
        generator_likely(f),
        f"expected mean log(1 - D(fake)) = {wanted:.5g}: minus the mean of softplus(logit)",
    )
    zero = scalar(lesson.minimax_loss(Tensor(np.zeros((3, 1)))), "minimax_loss")
    assert abs(zero + LN2) < 1e-5, f"at zero logits it is {zero:.4f}; expected -ln 2 = {-LN2:.4f}"


@pytest.mark.hole("minimax_loss", kind="invariant")
def test_minimax_far_out(lesson, rng):
    finite(lesson.minimax_loss(Tensor(np.full((3, 1), 1000.0))), "minimax_loss", -1000.0)
    finite(lesson.minimax_loss(Tensor(np.full((3, 1), -1000.0))), "minimax_loss", 0.0)


@pytest.mark.hole("minimax_loss", kind="gradient")
def test_minimax_vanishes_where_d_wins(lesson, rng):
    f = logits(rng, 5, 4)
    must_be(slope(lesson.minimax_loss, f), -sig(f) / 5, {}, "the slope by a logit is not -D(fake) / N")
    sure = -8 - rng.random((4, 1))
    pushes = np.abs(slope(lesson.minimax_loss, sure)) * 4
    assert near(pushes, np.exp(sure), 1e-2), (
        f"where D is sure (logit {sure[0, 0]:.2f}) the slope is {pushes[0, 0]:.3g}; expected about "
        f"e^logit = {np.exp(sure[0, 0]):.3g}: next to nothing is what this loss is known for"
    )


@pytest.mark.hole("non_saturating_loss", kind="value")
def test_non_saturating_value(lesson, rng):
    f = logits(rng, 9)
    wanted = softplus(-f).mean()
    must_be(
        lesson.non_saturating_loss(Tensor(f)),
        wanted,
        generator_likely(f),
        f"expected -mean log D(fake) = {wanted:.5g}: the mean of softplus(-logit)",
    )
    zero = scalar(lesson.non_saturating_loss(Tensor(np.zeros((3, 1)))), "non_saturating_loss")
    assert abs(zero - LN2) < 1e-5, f"at zero logits it is {zero:.4f}; expected ln 2 = {LN2:.4f}"


@pytest.mark.hole("non_saturating_loss", kind="invariant")
def test_non_saturating_far_out(lesson, rng):
    finite(lesson.non_saturating_loss(Tensor(np.full((3, 1), -1000.0))), "non_saturating_loss", 1000.0)
    finite(lesson.non_saturating_loss(Tensor(np.full((3, 1), 1000.0))), "non_saturating_loss", 0.0)


@pytest.mark.hole("non_saturating_loss", kind="gradient")
def test_non_saturating_pushes_where_d_wins(lesson, rng):
    f = logits(rng, 5, 4)
    must_be(
        slope(lesson.non_saturating_loss, f), (sig(f) - 1) / 5, {}, "the slope by a logit is not (D - 1) / N"
    )
    sure = -8 - 4 * rng.random((4, 1))
    ratio = slope(lesson.non_saturating_loss, sure) / slope(lesson.minimax_loss, sure)
    assert near(ratio, np.exp(-sure), 1e-3), (
        f"where D is sure (logit {sure[0, 0]:.2f}), it pushes {ratio[0, 0]:.4g} times as hard as the minimax loss; "
        f"expected e^-logit = {np.exp(-sure[0, 0]):.4g} times, in the same direction"
    )


# least_squares and critic_loss


@pytest.mark.hole("least_squares", kind="value")
def test_least_squares_value(lesson, rng):
    for label in (1.0, 0.0, -1.5):
        l = logits(rng, 8)
        wanted = np.square(l.astype(np.float64) - label).mean() / 2
        must_be(
            lesson.least_squares(Tensor(l), label),
            wanted,
            {
                "the factor 1/2 is missing": 2 * wanted,
                "summed over the batch; expected the mean": 8 * wanted,
                "the logits go through a sigmoid: here D gives any number, and none of them is squashed": np.square(
                    sig(l) - label
                ).mean()
                / 2,
                "the distances are not squared: expected (logit - label)^2": np.abs(l - label).mean() / 2,
                "the label is added; expected logit - label": np.square(l.astype(np.float64) + label).mean()
                / 2,
                "the mean is taken before the square": (l.mean() - label) ** 2 / 2,
                "the label is left out": np.square(l.astype(np.float64)).mean() / 2,
            },
            f"with label {label} it is not half the mean of (logit - label)^2 = {wanted:.5g}",
        )


@pytest.mark.hole("least_squares", kind="gradient")
def test_least_squares_gradient(lesson, rng):
    l = logits(rng, 6, 5)
    must_be(
        slope(lambda x: lesson.least_squares(x, 1.0), l),
        (l - 1) / 6,
        {},
        "the slope is not (logit - label) / N",
    )


@pytest.mark.hole("critic_loss", kind="value")
def test_critic_loss_value(lesson, rng):
    r, f = logits(rng, 7) + 2, logits(rng, 5) - 1
    wanted = f.mean() - r.mean()
    must_be(
        lesson.critic_loss(Tensor(r), Tensor(f)),
        wanted,
        {
            "the sign is turned round: a critic gives real images HIGH scores, and a loss is made small": -wanted,
            "the scores go through logarithms: a critic's score is no probability": softplus(-r).mean()
            + softplus(f).mean(),
            "the scores go through a sigmoid: a critic's score is no probability": sig(f).mean()
            - sig(r).mean(),
            "summed over the batch; expected the mean of each": f.sum() - r.sum(),
            "the difference of the means lost its sign": abs(wanted),
            "the two means are added": f.mean() + r.mean(),
            "the factor 1/2 does not belong here": wanted / 2,
        },
        f"expected mean fake - mean real = {wanted:.5g}",
    )


@pytest.mark.hole("critic_loss", kind="gradient")
def test_critic_loss_gradient(lesson, rng):
    r, f = np.abs(logits(rng, 4)) * np.float32([[1], [-1], [1], [-1]]), logits(rng, 5)
    g = slope(lambda x: lesson.critic_loss(x, Tensor(np.float64(f))), r)
    assert near(g, np.full((4, 1), -0.25)), (
        "its slope by a real score is not -1 / N: every score counts the same"
    )


# gradient_penalty


def pair(rng, shape, dtype=np.float64):
    return tuple((rng.normal(size=shape) * 2).astype(dtype) for _ in "rf")


def linear(w):
    """A critic with the slope w everywhere"""
    flat = Tensor(np.asarray(w, np.float64).reshape(-1, 1), requires_grad=True)
    return lambda x: ops.matmul(x.reshape(x.shape[0], -1), flat)


@pytest.mark.hole("gradient_penalty", kind="value")
def test_penalty_of_a_linear_critic(lesson, rng):
    for shape in ((5, 3), (4, 1, 2, 3)):
        size = int(np.prod(shape[1:]))
        for length in (0.3, 1.0, 2.7):
            w = rng.normal(size=size)
            w *= length / np.linalg.norm(w)
            found = lesson.gradient_penalty(linear(w), *pair(rng, shape), rng)
            must_be(
                found,
                (length - 1) ** 2 + 1e-9,
                {
                    "the penalty is on the norm itself; expected (norm - 1)^2: a slope of 1 costs nothing": length
                    ** 2,
                    "the penalty is the norm, not (norm - 1)^2": length,
                    "the norm is squared before 1 is subtracted: expected (norm - 1)^2": (length**2 - 1) ** 2,
                    "|norm - 1| is not squared: expected (norm - 1)^2": abs(length - 1),
                    "one-sided: a slope below 1 must cost as well": max(0.0, length - 1) ** 2,
                    "the norm is of the whole batch; each example has a norm of its own": (
                        length * shape[0] ** 0.5 - 1
                    )
                    ** 2,
                    "the norm is of the whole batch's mean; take grad of the SUM of the scores": (
                        length / shape[0] - 1
                    )
                    ** 2,
                    "the slope's numbers are averaged, not summed: the norm is too small": (
                        length / size**0.5 - 1
                    )
                    ** 2,
                    "each number of the slope is pulled to 1; expected the norm of all numbers of an "
                    "example": np.square(np.abs(w) - 1).mean(),
                    "each number of the slope is pulled towards 1; expected their norm": np.square(
                        w - 1
                    ).mean(),
                    "summed over the batch; expected the mean": shape[0] * (length - 1) ** 2,
                    "the weight of the penalty does not belong in here": 10 * (length - 1) ** 2,
                },
                f"for a critic with slope {length} everywhere, images {shape}: {numbers(found)}, "
                f"expected (norm - 1)^2 = {(length - 1) ** 2:.4g}",
                rtol=1e-3,
            )


@pytest.mark.hole("gradient_penalty", kind="invariant")
def test_penalty_between_real_and_fake(lesson, rng):
    n, seen = 12, []

    def critic(x):
        seen.append(numbers(x))
        return ops.sum(ops.square(x).reshape(n, -1), axis=1).reshape(n, 1)

    real, fake = pair(rng, (n, 1, 2, 3))
    lesson.gradient_penalty(critic, real, fake, rng)
    assert seen, "the critic was never asked: its slope at points between real and fake is what counts"
    x = seen[-1]
    assert x.shape == real.shape, (
        f"the critic was given {x.shape}; expected x_hat of the images' shape {real.shape}"
    )
    u = ((x - fake) / (real - fake)).reshape(n, -1)  # (n, 6): the same number along each row
    assert not np.allclose(u, 1), (
        "x_hat is the real images: expected points on the line between real and fake"
    )
    assert not np.allclose(u, 0), "x_hat is the fakes: expected points on the line between real and fake"
    assert u.std(axis=1).max() < 1e-5, (
        "the numbers of one example are mixed in different shares: ONE u for each example, of shape (N, 1, ..., 1), "
        "or the points do not lie on the line between the two"
    )
    u = u.mean(axis=1)
    assert u.std() > 1e-6, f"all examples have the same u = {u[0]:.3f}: draw one for each of them"
    assert u.min() >= -1e-6 and u.max() <= 1 + 1e-6, (
        f"u runs from {u.min():.2f} to {u.max():.2f}; expected U[0, 1]"
    )
    assert not np.all((u < 0.01) | (u > 0.99)), "u is always 0 or 1: expected any number between, uniformly"


@pytest.mark.hole("gradient_penalty", kind="invariant")
def test_penalty_draws_from_rng(lesson, rng):
    real, fake = pair(rng, (6, 3))

    def critic(x):
        return ops.sum(ops.square(x), axis=1)

    seed = int(rng.integers(2**31))
    one, same, other = (
        float(numbers(lesson.gradient_penalty(critic, real, fake, np.random.default_rng(s))))
        for s in (seed, seed, seed + 1)
    )
    assert one == same, "the same generator gives another penalty: draw u from the rng that was given"
    assert one != other, "another generator gives the same penalty: is u drawn from rng?"


@pytest.mark.hole("gradient_penalty", kind="gradient", seconds=60)
def test_penalty_second_order(lesson, rng):
    """Its gradient by the critic's weights is a second derivative: dense and convolutional critics"""
    W, v = (Tensor(rng.normal(size=s), requires_grad=True) for s in ((3, 4), (4, 1)))
    config = lesson.Config(shape=(1, 4, 8), channels=(3, 2))
    conv = lesson.dc_discriminator(config, rng)
    for layer in conv.modules():
        for name, value in list(vars(layer).items()):
            if isinstance(value, Tensor):  # float64, or a difference quotient would be noise
                setattr(layer, name, Tensor(rng.normal(0, 0.5, value.shape), requires_grad=True))
    cases = (
        ("a dense critic", lambda x: ops.matmul(ops.tanh(ops.matmul(x, W)), v), [W, v], (5, 3)),
        ("a convolutional critic", conv, [p for p in conv.parameters() if p.ndim > 1], (3, 1, 4, 8)),
    )
    for what, critic, weights, shape in cases:
        real, fake = pair(rng, shape)

        def penalty(critic=critic, real=real, fake=fake):
            return lesson.gradient_penalty(critic, real, Tensor(fake), np.random.default_rng(7))

        y = penalty()
        assert isinstance(y, Tensor) and y.requires_grad, (
            "the penalty cannot be differentiated by the critic's weights: take the slope with create_graph=True, and "
            "stay with Tensors from there on"
        )
        found = grad(y, weights, allow_unused=True)
        for w, g in zip(weights, found, strict=True):
            assert g is not None, (
                f"the penalty of {what} passes no gradient to its weight of shape {w.shape}: create_graph=True?"
            )
            direction, h, start = rng.normal(size=w.shape), 1e-7, w.numpy()
            sides = []
            for sign in (1, -1):
                w.data = start + sign * h * direction
                sides.append(float(numbers(penalty())))
            w.data = start
            wanted, mine = (sides[0] - sides[1]) / (2 * h), float((numbers(g) * direction).sum())
            assert abs(mine - wanted) < 1e-3 * max(abs(wanted), 1e-2), (
                f"the gradient of the penalty of {what} by its weight {w.shape} has slope {mine:.5g} along a random "
                f"direction, the penalty itself {wanted:.5g}: is a part of the slope cut off from the graph?"
            )


@pytest.mark.hole("gradient_penalty", kind="invariant")
def test_penalty_of_a_flat_critic(lesson, rng):
    w = Tensor(np.zeros((3, 1)), requires_grad=True)
    y = lesson.gradient_penalty(lambda x: ops.matmul(x, w), *pair(rng, (4, 3)), rng)
    assert abs(float(numbers(y)) - 1) < 1e-4, (
        f"a critic with slope 0 has penalty {numbers(y)}; expected (0 - 1)^2 = 1"
    )
    g = numbers(grad(y, w))
    assert np.isfinite(g).all(), (
        "where the critic's slope is 0 the gradient of the penalty is not finite: a "
        "square root has an infinite slope at "
        "0, so add a tiny number under it (1e-12)"
    )


# The networks


def dc(lesson, **changes):
    return lesson.Config(**({"shape": (2, 8, 12), "channels": (6, 5), "z": 4} | changes))


def shake(module, rng):
    """Weights and biases that show: none of them zero or one"""
    for p in module.parameters():
        p.data = (rng.normal(size=p.shape) * 0.5 + 0.1).astype(np.float32)


def shapes(module):
    return [p.shape for p in module.parameters()]


HOW = {"stride": 2, "padding": 1}


def generated(parameters, z, bend=relu, end=sigmoid):
    """The DC generator in plain operations, by the batch's own statistics"""

    def norm(x, gamma, beta):
        x = numbers(x)
        x = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
        return x * gamma.reshape(-1, 1, 1) + beta.reshape(-1, 1, 1)

    W1, gamma1, beta1, W2, gamma2, beta2, W3, b3 = (numbers(p) for p in parameters)
    h = (numbers(z) @ W1).reshape(len(z), 6, 2, 3)
    h = numbers(conv_transpose2d(bend(norm(h, gamma1, beta1)), W2, **HOW))
    return numbers(end(conv_transpose2d(bend(norm(h, gamma2, beta2)), W3, b3, **HOW)))


@pytest.mark.hole("dc_generator", kind="shape")
def test_generator_has_the_layers(lesson, rng):
    g = lesson.dc_generator(dc(lesson), rng)
    found, wanted = shapes(g), [(4, 36), (6,), (6,), (6, 5, 4, 4), (5,), (5,), (5, 2, 4, 4), (2,)]
    assert len(found) != 10, (
        f"parameters of shapes {found}: layers before a BatchNorm have a bias, which it takes away again: bias=False"
    )
    assert len(found) != 9, (
        f"parameters of shapes {found}: one layer before a BatchNorm has a bias: bias=False"
    )
    assert found == wanted, (
        f"z 4, channels (6, 5), images (2, 8, 12): parameters of shapes {found}; expected {wanted}: Dense, BatchNorm, "
        "ConvTranspose2d, BatchNorm, ConvTranspose2d, biases only where no BatchNorm follows"
    )
    y = g(rng.normal(size=(3, 4)).astype(np.float32))
    assert y.shape == (3, 2, 8, 12), f"it maps (3, 4) to {y.shape}; expected (3, 2, 8, 12)"


@pytest.mark.hole("dc_generator", kind="value")
def test_generator_value(lesson, rng):
    g = lesson.dc_generator(dc(lesson), rng)
    shake(g, rng)
    z = rng.normal(size=(5, 4)).astype(np.float32)
    y, p = numbers(g(z)), g.parameters()
    must_be(
        y,
        generated(p, z),
        {
            "it ends in a tanh, whose images lie in (-1, 1); the real ones lie in [0, 1], "
            "and D would see the difference "
            "at once: sigmoid": generated(p, z, end=ops.tanh),
            "it ends without a sigmoid: pixels lie in [0, 1]": generated(p, z, end=lambda x: x),
            "it ends in a ReLU: pixels lie in [0, 1], use the sigmoid": generated(p, z, end=relu),
            "(tanh + 1) / 2 is a sigmoid of 2 x; expected sigmoid(x)": generated(
                p, z, end=lambda x: (ops.tanh(x) + 1) / 2
            ),
            "two sigmoids at the end": generated(p, z, end=lambda x: sigmoid(sigmoid(x))),
            "leaky ReLUs are the discriminator's; the generator has ReLUs": generated(
                p, z, lambda x: leaky_relu(x, slope=0.2)
            ),
            "nothing bends between the layers: a ReLU after each BatchNorm": generated(p, z, lambda x: x),
        },
        "the images differ from Dense, BatchNorm, ReLU, ConvTranspose2d, BatchNorm, ReLU, ConvTranspose2d, sigmoid: "
        "look at the order, at stride 2 and padding 1",
        rtol=1e-3,
    )


@pytest.mark.hole("dc_generator", kind="invariant")
def test_generator_draws_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, same, other = (
        [numbers(p) for p in lesson.dc_generator(dc(lesson), np.random.default_rng(s)).parameters()]
        for s in (seed, seed, seed + 1)
    )
    assert all(map(np.array_equal, one, same)), "the same rng gives other weights: pass it on, rng=rng"
    assert not np.array_equal(one[0], other[0]) and not np.array_equal(one[3], other[3]), (
        "another rng gives the same weights: pass the given one on, do not make one of your own"
    )


@pytest.mark.hole("dc_discriminator", kind="shape")
def test_discriminator_has_the_layers(lesson, rng):
    d = lesson.dc_discriminator(dc(lesson), rng)
    found, wanted = shapes(d), [(5, 2, 4, 4), (5,), (6, 5, 4, 4), (6,), (36, 1), (1,)]
    assert not any(isinstance(part, BatchNorm) for part in d.modules()), (
        "there is a BatchNorm: a logit would depend on the other images of its batch, "
        "and the gradient penalty, which is "
        "of single images, would mean nothing"
    )
    assert found == wanted, (
        f"channels (6, 5), images (2, 8, 12): parameters of shapes {found}; expected "
        f"{wanted}: two 4x4 convolutions, to "
        "c2 and then c1 maps, and a dense layer to ONE number"
    )
    y = d(rng.random((3, 2, 8, 12), np.float32))
    assert y.shape == (3, 1), f"it maps (3, 2, 8, 12) to {y.shape}; expected (3, 1), a logit for each image"


@pytest.mark.hole("dc_discriminator", kind="value")
def test_discriminator_value(lesson, rng):
    d = lesson.dc_discriminator(dc(lesson), rng)
    shake(d, rng)
    x = rng.random((5, 2, 8, 12), np.float32) - 0.3

    def judged(bend, last=lambda l: l):
        W1, b1, W2, b2, W3, b3 = (numbers(p) for p in d.parameters())
        h = bend(conv2d(x, W1, b1, **HOW))
        return last(numbers(bend(conv2d(h, W2, b2, **HOW))).reshape(5, -1) @ W3 + b3)

    must_be(
        d(x),
        judged(lambda h: leaky_relu(h, slope=0.2)),
        {
            "it ends in a sigmoid: the losses take logits and have the sigmoid inside": judged(
                lambda h: leaky_relu(h, slope=0.2), sig
            ),
            "ReLU, not leaky: where a feature is off, nothing reaches the generator": judged(relu),
            "the leaky ReLU has slope 0.01; expected 0.2": judged(lambda h: leaky_relu(h, slope=0.01)),
            "nothing bends between the layers: the whole discriminator is one linear map": judged(
                lambda h: h
            ),
        },
        "the logits differ from Conv2d, leaky ReLU (0.2), Conv2d, leaky ReLU, Flatten, Dense: look at the order, at "
        "stride 2 and padding 1",
        rtol=1e-3,
    )


@pytest.mark.hole("dc_discriminator", kind="invariant")
def test_discriminator_draws_from_rng(lesson, rng):
    seed = int(rng.integers(2**31))
    one, other = (
        [numbers(p) for p in lesson.dc_discriminator(dc(lesson), np.random.default_rng(s)).parameters()]
        for s in (seed, seed + 1)
    )
    assert not np.array_equal(one[0], other[0]), (
        "another rng gives the same weights: pass the given one on, rng=rng"
    )


# GAN.updates, against players that can be looked through


class Painter(Module):
    """A generator that draws its own parameter, whatever the noise; it remembers the noise, and counts in a buffer"""

    def __init__(self, rng, size=3):
        self.w = Tensor(rng.normal(size=(1, size)).astype(np.float32), requires_grad=True)
        self.calls = Tensor(np.zeros(()))
        self.noise, self.modes = [], []

    def __call__(self, z):
        self.noise.append(numbers(z))
        self.modes.append(self.training)
        self.calls.data = self.calls.data + 1
        return self.w + Tensor(np.zeros((z.shape[0], self.w.shape[1]), np.float32))


class Judge(Module):
    """A discriminator with a weight, and on request a batch norm; it remembers what it was shown"""

    def __init__(self, rng, size=3, norm=False):
        self.v = Tensor(rng.normal(size=(size, 1)).astype(np.float32), requires_grad=True)
        self.norm = BatchNorm(size) if norm else None
        self.shown = []

    def __call__(self, x):
        self.shown.append(numbers(x))
        return ops.matmul(ops.tanh(self.norm(x) if self.norm else x), self.v)


def players(lesson, rng, *, norm=False, **changes):
    config = lesson.Config(**({"shape": (3,), "net": "mlp", "hidden": (4,), "z": 5} | changes))
    model = lesson.GAN(config, rng=rng)
    model.generator, model.discriminator = Painter(rng), Judge(rng, norm=norm)
    return model, rng.normal(size=(12, 3)).astype(np.float32)


def pairs_of(model, batch, rng):
    """The pairs as the loop takes them, one after the other, each looked at"""
    found = model.updates(batch, rng)
    assert hasattr(found, "__iter__"), (
        f"updates gave a {type(found).__name__}; expected pairs (module, loss), one after the other: yield"
    )
    for item in found:
        assert isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Tensor), (
            f"updates yielded a {type(item).__name__}; expected a pair (module, loss) with a scalar Tensor"
        )
        assert any(item[0] is player for player in (model.discriminator, model.generator)), (
            f"updates yielded a {type(item[0]).__name__} to be stepped; expected self.discriminator or self.generator"
        )
        scalar(item[1], "a loss")
        yield item


def who(model, module):
    return "D" if module is model.discriminator else "G"


@pytest.mark.hole("GAN.updates", kind="shape")
def test_updates_take_turns(lesson, rng):
    for steps in (1, 3):
        model, batch = players(lesson, rng, critic_steps=steps)
        order = "".join(who(model, module) for module, _ in pairs_of(model, batch, rng))
        assert order == "D" * steps + "G", (
            f"critic_steps={steps}: the steps are {order or 'none'}; expected {'D' * steps + 'G'}, the discriminator "
            f"{steps} time{'s' * (steps > 1)} and then the generator once"
        )


@pytest.mark.hole("GAN.updates", kind="gradient")
def test_updates_detach_the_fakes(lesson, rng):
    model, batch = players(lesson, rng)
    for module, loss in pairs_of(model, batch, rng):
        name = who(model, module)
        assert loss.requires_grad, (
            f"the loss of {name} is cut off from the graph: no player can learn from it"
        )
        own, theirs = (
            grad(loss, player.parameters(), allow_unused=True, retain_graph=True)
            for player in (model.generator, model.discriminator)
        )
        if name == "D":
            assert all(g is None for g in own), (
                "fake not detached: the discriminator's loss reaches the generator's parameters; give D fake.detach()"
            )
            assert any(g is not None for g in theirs), "D's loss does not depend on D's parameters"
        else:
            assert all(g is not None for g in own), (
                "the generator's loss does not reach the generator: its own step needs the fakes "
                "as they are, not detached"
            )


@pytest.mark.hole("GAN.updates", kind="value")
def test_updates_losses(lesson, rng):
    for loss in lesson.LOSSES:
        model, batch = players(lesson, rng, loss=loss)
        fake = numbers(model.generator.w) * np.ones((12, 1))
        fake = fake.astype(np.float32)
        for module, found in pairs_of(model, batch, np.random.default_rng(3)):
            seen = float(numbers(found))
            if who(model, module) == "D":
                apart, swapped = (
                    float(numbers(model.told_apart(*images))) for images in ((batch, fake), (fake, batch))
                )
                if loss == "wasserstein":
                    assert not near(seen, apart), (
                        "wasserstein: the gradient penalty is missing: use self.discriminator_objective"
                    )
                    flat = lesson.gradient_penalty(model.discriminator, batch, fake, rng)
                    assert abs(seen - apart) < 20 * (1 + float(numbers(flat))), "D's loss is far off"
                    continue
                assert near(seen, apart), (
                    "D's loss takes real images for fake and fakes for real"
                    if near(seen, swapped)
                    else f"{loss}: D's loss is {seen:.5g}, expected {apart:.5g}, of {len(batch)} real images and "
                    "as many fakes, each by itself: self.discriminator_objective(real, fake, rng)"
                )
                model.discriminator.v.data = model.discriminator.v.data * 0.5 + 0.3  # what a step would do
            else:
                wanted = float(numbers(model.generator_objective(Tensor(fake))))
                for_real = float(numbers(model.generator_objective(Tensor(batch))))
                apart = float(numbers(model.told_apart(batch, fake)))
                must_be(
                    seen,
                    wanted,
                    {
                        "G's loss is computed of the real images": for_real,
                        "G makes D's loss small: it would help D. G has an objective of its own": apart,
                        "G makes minus D's loss small, real images and all: use self.generator_objective": -apart,
                    },
                    f"{loss}: G's loss is {seen:.5g}, expected {wanted:.5g}: judge the fakes by the "
                    "discriminator as it "
                    "is AFTER its step (compute G's loss after the yield of D's pair)",
                )


@pytest.mark.hole("GAN.updates", kind="invariant")
def test_updates_keep_batches_apart(lesson, rng):
    model, batch = players(lesson, rng, norm=True)
    for part in (model, model.discriminator.norm):
        part.training = True
    fake = (numbers(model.generator.w) * np.ones((12, 1))).astype(np.float32)
    module, loss = next(iter(pairs_of(model, batch, rng)))
    shown = [len(x) for x in model.discriminator.shown]
    wanted = float(numbers(model.told_apart(batch, fake)))
    assert who(model, module) == "G" or near(float(numbers(loss)), wanted, 1e-3), (
        f"a discriminator with batch norm gives another loss than real and fake one by one (it was shown batches of "
        f"{shown}): batch norm is mixing real and fake images; call D on each batch by itself"
    )


@pytest.mark.hole("GAN.updates", kind="invariant")
def test_a_step_leaves_the_other_player_alone(lesson, rng):
    model = lesson.GAN(lesson.Config(shape=(1, 8, 8), channels=(4, 3), z=3), rng=rng)
    optimizers = model.optimizers()
    everything = model.parameters()
    begin = {name: a.copy() for name, a in model.state_dict().items()}
    batch = rng.random((6, 1, 8, 8), np.float32)
    for module, loss in pairs_of(model, batch, rng):
        name = who(model, module)
        before = model.state_dict()
        mine = "discriminator" if name == "D" else "generator"
        running = "running"
        for key, array in before.items():
            if running not in key and not key.startswith(
                ("discriminator" if name == "G" else "album", "album")
            ):
                assert np.array_equal(array, begin[key]), (
                    f"{key} changed inside updates: it only says what to step; the loop makes the step"
                )
        assert all(p.grad is None for p in everything), (
            "gradients are left over in .grad: backward() was called inside updates, and the next player would add to "
            "them; only yield (module, loss), the loop asks for the gradient of that module alone"
        )
        optimizers[mine].step(grad(loss, module.parameters()))
        after = model.state_dict()
        changed = {key.split(".")[0] for key, a in after.items() if not np.array_equal(a, before[key])}
        assert changed <= {mine}, f"the step of {mine} changed {', '.join(sorted(changed))}"
        assert all(p.grad is None for p in everything), "a step left gradients over in .grad"


@pytest.mark.hole("GAN.updates", kind="invariant")
def test_updates_show_the_whole_batch(lesson, rng):
    model, batch = players(lesson, rng, critic_steps=3)
    w, shown = numbers(model.generator.w)[0], []
    for module, _ in pairs_of(model, batch, rng):
        if who(model, module) == "D":
            images = np.concatenate(model.discriminator.shown)
            fake = np.isclose(images, w).all(axis=1)
            shown.append(images[~fake])
            assert len(shown[-1]) == 4, (
                f"critic_steps=3, a batch of 12: a step of D saw {len(shown[-1])} real images; "
                "expected a third of them, 4"
            )
            assert fake.sum() == 4, (
                f"a step of D saw {fake.sum()} fakes beside 4 real images; expected as many"
            )
        model.discriminator.shown.clear()
    seen = np.sort(np.concatenate(shown), axis=0)
    assert near(seen, np.sort(batch, axis=0)), (
        "the steps of D do not see the whole batch, each image once: cut it into critic_steps parts"
    )


@pytest.mark.hole("GAN.updates", kind="invariant")
def test_updates_noise(lesson, rng):
    model, _ = players(lesson, rng, z=7)
    batch = rng.normal(size=(600, 3)).astype(np.float32)
    seed = int(rng.integers(2**31))
    list(pairs_of(model, batch, np.random.default_rng(seed)))
    assert model.generator.noise, "the generator was never asked for fakes"
    z = model.generator.noise[0]
    assert z.shape == (600, 7), (
        f"the generator was given {z.shape}; expected noise for as many fakes, (600, 7)"
    )
    assert abs(z.mean()) < 0.12 and abs(z.std() - 1) < 0.12, (
        f"the noise has mean {z.mean():.2f} and deviation {z.std():.2f}; expected standard normal: self.noise(n, rng)"
    )
    assert len(np.unique(z[:, 0])) > 500, (
        "several fakes are made of the same noise: a row of its own for each"
    )
    list(pairs_of(model, batch, np.random.default_rng(seed)))
    again = model.generator.noise[len(model.generator.noise) // 2]
    assert np.array_equal(z, again), "the same rng gives other noise: draw it from the rng that was given"
    list(pairs_of(model, batch, np.random.default_rng(seed + 1)))
    assert not np.array_equal(z, model.generator.noise[-1]), "another rng gives the same noise"
    assert all(model.generator.modes), (
        "the fakes are made in eval mode; in training, batch norm goes by the batch"
    )


@pytest.mark.hole("GAN.updates", kind="step", seconds=60)
def test_updates_train(lesson, rng):
    """A generator of points finds where the real ones are"""
    config = lesson.Config(
        shape=(2,), net="mlp", z=2, hidden=(16,), lr=2e-2, lr_discriminator=2e-2, batch_size=32
    )
    model = lesson.GAN(config, rng=rng)
    target = np.array([1.5, -1.0])
    start = np.linalg.norm(numbers(model.sample(400, rng)).mean(axis=0) - target)
    lesson.train_on(model, lambda n: (target + 0.3 * rng.normal(size=(n, 2))).astype(np.float32), 120, rng)
    end = np.linalg.norm(numbers(model.sample(400, rng)).mean(axis=0) - target)
    assert end < 0.8 * start, (
        f"after 120 steps the mean of the samples is {end:.2f} from that of the data, "
        f"{start:.2f} before: nobody learned"
    )


# GAN.sample


@pytest.mark.hole("GAN.sample", kind="shape")
def test_sample_shape(lesson, rng):
    model = lesson.GAN(dc(lesson), rng=rng)
    for n in (1, 5):
        x = model.sample(n, rng)
        assert not isinstance(x, Tensor), "sample gives a Tensor; expected an array: .data, under no_grad()"
        assert x.shape == (n, 2, 8, 12), f"sample({n}) has shape {x.shape}; expected ({n}, 2, 8, 12)"


@pytest.mark.hole("GAN.sample", kind="value")
def test_sample_value(lesson, rng):
    model = lesson.GAN(dc(lesson), rng=rng)
    shake(model.generator, rng)
    for part in model.generator.modules():
        if isinstance(part, BatchNorm):
            part.running_mean.data = rng.normal(size=part.gamma.shape).astype(np.float32)
            part.running_var.data = (0.5 + rng.random(part.gamma.shape)).astype(np.float32)
    state = {name: a.copy() for name, a in model.state_dict().items()}
    seed = int(rng.integers(2**31))
    for mode in (True, False):
        model.train(mode)
        x = numbers(model.sample(6, np.random.default_rng(seed)))
        flags = {part.training for part in model.modules()}
        assert flags == {mode}, (
            f"the model was in {'training' if mode else 'eval'} mode before sample and is not (all of it) after: put "
            "the mode back"
        )
        assert all(np.array_equal(a, state[name]) for name, a in model.state_dict().items()), (
            "sample changed the batch norm's running statistics: switch to eval mode first"
        )
        z = model.noise(6, np.random.default_rng(seed))
        by_batch = numbers(model.train().generator(z))
        model.load_state_dict(state)
        wanted = numbers(model.eval().generator(z))
        must_be(
            x,
            wanted,
            {
                "the batch norm goes by the batch: a sample depends on the others; switch to eval mode first": by_batch
            },
            "the images are not the generator's, in eval mode, of self.noise(n, rng): one "
            "row of noise for each, as it is",
        )


@pytest.mark.hole("GAN.sample", kind="invariant")
def test_sample_needs_the_generator_only(lesson, rng):
    model = lesson.GAN(dc(lesson), rng=rng)
    seed = int(rng.integers(2**31))
    one = numbers(model.sample(4, np.random.default_rng(seed)))
    for p in model.discriminator.parameters():
        p.data = rng.normal(size=p.shape).astype(np.float32)
    same, other = (numbers(model.sample(4, np.random.default_rng(s))) for s in (seed, seed + 1))
    assert np.array_equal(one, same), (
        "the samples changed though rng and generator are the same: the discriminator's work is done, and noise comes "
        "from the given rng"
    )
    assert not np.array_equal(one, other), "another rng gives the same samples: draw the noise from it"


# What can be known exactly


@pytest.mark.hole("optimal_discriminator", kind="value")
def test_optimal_discriminator(lesson, rng):
    p, q = rng.random(40) * 3, rng.random(40) * 3
    p[0], q[1], p[2], q[2] = 0, 0, 0, 0
    found = numbers(lesson.optimal_discriminator(p, q))
    assert found.shape == p.shape, (
        f"densities at {p.shape} points give {found.shape}; expected a D for each point"
    )
    assert np.isfinite(found).all(), "D is not finite where both densities are 0: 1/2 there"
    rest = np.arange(40) != 2
    must_be(
        found[rest],
        (p / np.where(p + q > 0, p + q, 1))[rest],
        {
            "this is the share of the FAKE density: D is large where real ones are": (
                q / np.where(p + q > 0, p + q, 1)
            )[rest],
            "this is the logit, log p - log q": np.log(p[rest] + 1e-300) - np.log(q[rest] + 1e-300),
        },
        "D is not the maximiser of p log D + q log(1 - D): set its derivative by D to zero",
    )
    assert found[2] == 0.5, f"where both densities are 0, D is {found[2]:.3g}; expected 1/2"


@pytest.mark.hole("optimal_discriminator", kind="invariant")
def test_optimal_discriminator_wins(lesson, rng):
    p, q = rng.random(9) + 0.05, rng.random(9) + 0.05
    best = np.clip(numbers(lesson.optimal_discriminator(p, q)), 1e-9, 1 - 1e-9)
    grid = np.linspace(0.001, 0.999, 999)[:, None]
    value, others = (p * np.log(d) + q * np.log(1 - d) for d in (best, grid))
    assert (value >= others.max(axis=0) - 1e-9).all(), (
        "another D has a larger p log D + q log(1 - D) at some point"
    )
    assert near(lesson.optimal_discriminator(p, p), np.full(9, 0.5)), (
        "where fakes are like real ones, D is 1/2"
    )


def play(x, y, lr, steps, alternating=True, sign=1, first="x"):
    path = [(x, y)]
    for _ in range(steps):
        if first == "y" and alternating:
            y = y + lr * x
            x = x - lr * y
        else:
            x, y = x - lr * y, y + sign * lr * ((x - lr * y) if alternating else x)
        path.append((x, y))
    return np.array(path)


@pytest.mark.hole("duel", kind="value")
def test_duel_path(lesson, rng):
    for alternating in (True, False):
        x, y = rng.normal(size=2)
        lr = float(rng.uniform(0.1, 0.9))
        found = numbers(lesson.duel(float(x), float(y), lr, 7, alternating=alternating))
        assert found.shape != (7, 2), (
            "the path has 7 places for 7 steps; expected 8, with the start as the first"
        )
        must_be(
            found,
            play(x, y, lr, 7, alternating),
            {
                "simultaneous, though alternating is True: y has to see the NEW x": play(x, y, lr, 7, False),
                "alternating, though alternating is False: both move from where they stood": play(
                    x, y, lr, 7, True
                ),
                "both players make f small; y wants it LARGE": play(x, y, lr, 7, alternating, sign=-1),
                "y moves first; expected x": play(x, y, lr, 7, alternating, first="y"),
                "both directions are turned round: x makes f small, y makes it large": play(
                    x, y, -lr, 7, alternating
                ),
                "both players use a step of 1, not lr": play(x, y, 1.0, 7, alternating),
            },
            f"alternating={alternating}: the path is not that of x -= lr y, y += lr x",
        )


@pytest.mark.hole("duel", kind="invariant")
def test_duel_cycles(lesson, rng):
    x, y = (float(v) for v in rng.normal(size=2))
    path = numbers(lesson.duel(x, y, 1.0, 18))
    assert near(path[6], path[0]) and near(path[12:], path[6:13]) and not near(path[3], path[0]), (
        "alternating steps of 1 come back after exactly 6 steps, for ever: this path does not"
    )
    radius = np.linalg.norm(numbers(lesson.duel(x, y, 0.5, 10, alternating=False)), axis=1)
    assert near(radius[1:] / radius[:-1], np.full(10, 1.25**0.5)), (
        "simultaneous steps of lr leave the equilibrium: sqrt(1 + lr^2) times as far with each step; this path does not"
    )


# Counting modes


@pytest.mark.hole("count_modes", kind="value")
def test_count_modes(lesson, rng):
    sigma, where = 0.1, np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [5.0, 5.0]])
    counts, distance = (9, 4, 1, 0), (0.5, 2.5, 2.9, 0)  # in sigma
    x = [
        where[k] + distance[k] * sigma * np.array([np.cos(a), np.sin(a)])
        for k, n in enumerate(counts)
        for a in rng.uniform(0, 7, n)
    ]
    x += [where[3] + 3.2 * sigma * np.array([1.0, 0.0])] * 5 + [np.array([1.0, 1.0])] * 1
    x = np.array(x)[rng.permutation(20)]
    covered, good = lesson.count_modes(x, where, sigma)
    assert covered != 4, (
        "4 modes are covered: one of them has samples at 3.2 sigma only, which are not good ones"
    )
    assert covered != 1, "1 mode is covered: good samples lie within 3 sigma of a centre, not within 1"
    assert covered == 3, f"{covered} modes are covered; expected 3 of 4: those with a good sample"
    assert abs(good - 14 / 20) < 1e-9, (
        f"the share of good samples is {good:.3f}; expected 14 of 20 = 0.7: those within 3 sigma of a centre, among all"
    )
    for least, wanted in ((1, 3), (2, 2), (4, 2), (5, 1), (10, 0)):
        found, _ = lesson.count_modes(x, where, sigma, least=least)
        assert found == wanted, (
            f"least={least}: {found} modes are covered; expected {wanted} (their good samples: 9, 4, 1, 0)"
        )


@pytest.mark.hole("count_modes", kind="invariant")
def test_count_modes_each_to_one(lesson, rng):
    where = np.array([[0.0, 0.0], [0.1, 0.0]])  # nearer to each other than 3 sigma
    covered, good = lesson.count_modes(np.full((6, 2), [0.01, 0.0]), where, 0.1)
    assert covered == 1, (
        f"samples near one of two close centres cover {covered} modes; expected 1: a "
        "sample belongs to its NEAREST centre"
    )
    assert good == 1, f"all six are good, the share is {good}; each counts once"
    covered, good = lesson.count_modes(rng.normal(size=(7, 3)) + 100, np.zeros((2, 3)), 1.0)
    assert (covered, good) == (0, 0), "samples far from every centre cover nothing, and none of them is good"


@pytest.mark.hole("stack_digits", kind="value")
def test_stack_digits(lesson, rng):
    images = rng.random((7, 4, 5), np.float32)
    stacked, picks = lesson.stack_digits(images, 50, rng)
    assert np.shape(picks) == (50, 3), f"picks have shape {np.shape(picks)}; expected (50, 3)"
    assert stacked.shape == (50, 3, 4, 5), f"50 stacks have shape {stacked.shape}; expected (50, 3, 4, 5)"
    assert np.array_equal(numbers(stacked), numbers(images)[np.asarray(picks)]), (
        "stacked[i, c] is not images[picks[i, c]] everywhere"
    )
    assert stacked.dtype == np.float32, f"the stacks are {stacked.dtype}; expected the images' float32"


@pytest.mark.hole("stack_digits", kind="invariant")
def test_stack_digits_independent(lesson, rng):
    images = np.zeros((10, 2, 2), np.float32)
    _, picks = lesson.stack_digits(images, 3000, rng)
    picks = np.asarray(picks)
    assert not (picks == picks[:, :1]).all(), "the three colours are the same digit: 10 modes, not 1000"
    same = np.mean(picks[:, 0] == picks[:, 1])
    assert same > 0.05, "two colours never hold the same image: draw each independently, with repetition"
    assert same < 0.2, (
        f"two colours hold the same image in {same:.0%} of the stacks; expected a tenth of them"
    )
    shares = np.stack([np.bincount(column, minlength=10) for column in picks.T]) / 3000
    assert shares.shape[1] == 10, "there are picks beyond the last image"
    assert shares.min() > 0.05, (
        f"some image is hardly ever picked for a colour ({shares.min():.1%}; expected 10%)"
    )
    modes = len({tuple(row) for row in picks})
    assert modes > 850, f"3,000 stacks of 10 images have {modes} modes; expected nearly all of 1000"
    seed = int(rng.integers(2**31))
    one, same, other = (
        np.asarray(lesson.stack_digits(images, 20, np.random.default_rng(s))[1])
        for s in (seed, seed, seed + 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other), (
        "draw the picks from the rng that was given"
    )


@pytest.mark.hole("mode_statistics", kind="value")
def test_mode_statistics(lesson, rng):
    for colours in (1, 2, 3):
        shares = rng.dirichlet(np.full(10**colours, 0.1))
        numbers_of = rng.choice(10**colours, size=500, p=shares)
        digits = np.stack([numbers_of // 10**c % 10 for c in range(colours)[::-1]], axis=1)
        f = np.bincount(numbers_of, minlength=10**colours) / 500
        covered, kl = lesson.mode_statistics(digits)
        f = f[f > 0]
        assert covered == len(f), (
            f"{colours} colours: {covered} modes are counted, expected {len(f)}: (1, 0) and "
            "(0, 1) are different modes, "
            "and a mode counts once, however often it occurs"
        )
        most = colours * np.log(10)
        must_be(
            kl,
            (f * np.log(f)).sum() + most,
            {
                "this is the entropy of the samples' modes; KL = c ln 10 - entropy": -(f * np.log(f)).sum(),
                "this is minus the KL": -(f * np.log(f)).sum() - most,
                "in bits; expected nats, the natural logarithm": ((f * np.log(f)).sum() + most) / LN2,
                "compared with the uniform distribution over the modes that occur; expected over all 10^c": (
                    f * np.log(f * len(f))
                ).sum(),
                "compared with 10 modes whatever the number of colours; expected 10^c": (
                    f * np.log(f * 10)
                ).sum(),
                "the logarithms are averaged, not weighted by f": np.log(f * 10**colours).mean(),
            },
            f"{colours} colours: the KL is {kl}, expected {(f * np.log(f)).sum() + most:.5g} nats",
        )


@pytest.mark.hole("mode_statistics", kind="invariant")
def test_mode_statistics_ends(lesson, rng):
    every = np.stack(np.meshgrid(*[np.arange(10)] * 3), axis=-1).reshape(-1, 3)
    covered, kl = lesson.mode_statistics(every[rng.permutation(1000)])
    assert covered == 1000 and abs(kl) < 1e-9, (
        f"each mode once gives {covered} modes and KL {kl}; expected 1000 and 0"
    )
    covered, kl = lesson.mode_statistics(np.full((30, 3), 7))
    assert np.isfinite(kl), "KL is not finite where modes never occur: f log f is 0 at f = 0, leave these out"
    assert covered == 1 and near(kl, 3 * np.log(10)), (
        f"one mode gives ({covered}, {kl}); expected (1, 3 ln 10)"
    )
