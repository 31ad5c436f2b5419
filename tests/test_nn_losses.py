"""Losses: units, exact shapes, extreme logits; and a gradient penalty through a dense critic."""

import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, double, host, slope, tensor

from minigen import Tensor, grad, nn, ops
from minigen.backend import from_host, using
from minigen.errors import MinigenError, SettingError, ShapeError

PAIRED = [nn.bce_with_logits, nn.squared_error, nn.l1]
paired = pytest.mark.parametrize("loss", PAIRED, ids=lambda f: f.__name__)


@each_backend
def test_values_are_summed_over_features_and_averaged_over_the_batch(rng, backend):
    x, t = rng.standard_normal((4, 3, 2)), rng.random((4, 3, 2))
    p = 1 / (1 + np.exp(-x))
    with using(backend):
        a, b = tensor(x), tensor(t)
        close(nn.squared_error(a, b), ((x - t) ** 2).sum() / 4)
        close(nn.l1(a, b), abs(x - t).sum() / 4)
        close(nn.bce_with_logits(a, b), -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum() / 4)
        close(nn.bce_with_logits(a, from_host(t)), nn.bce_with_logits(a, b), what="a raw target")


@each_backend
def test_nothing_known_costs_ln_2_and_ln_10(rng, backend):
    with using(backend):
        zeros = tensor(np.zeros((5, 10)), np.float32)
        labels = from_host(rng.integers(0, 10, 5))
        loss = nn.cross_entropy(zeros, labels)
        assert loss.dtype == np.float32
        close(loss, np.log(10), rtol=1e-6)
        close(nn.bce_with_logits(zeros, from_host(rng.random((5, 10)))), 10 * np.log(2), rtol=1e-6)
        close(nn.bce_with_logits(zeros[:, 0], from_host(np.ones(5))), np.log(2), rtol=1e-6)


@paired
def test_gradients_by_differences(rng, loss):
    x, t = rng.standard_normal((4, 3)), rng.random((4, 3))
    a = Tensor(x, requires_grad=True)
    close(grad(loss(a, t), a), slope(lambda: float(loss(tensor(x), t).item()), x), rtol=1e-6, atol=1e-8)


def test_cross_entropy_gradient(rng):
    x, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    a = Tensor(x, requires_grad=True)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    close(grad(nn.cross_entropy(a, labels), a), (p - np.eye(4)[labels]) / 5)


@paired
@pytest.mark.parametrize(
    ("a", "b"), [((4,), (4, 1)), ((4, 1), (4,)), ((4, 3), (4, 1)), ((4, 3), (3,)), ((1, 3), (4, 3))]
)
def test_shapes_must_be_equal(loss, a, b):
    with pytest.raises(ShapeError, match="a loss wants equal shapes") as caught:
        loss(tensor(np.zeros(a)), np.zeros(b))
    assert "\n" not in str(caught.value)


@paired
def test_numbers_and_empty_batches_are_refused(loss):
    with pytest.raises(ShapeError, match="a batch of no examples"):
        loss(tensor(np.zeros((0, 3))), np.zeros((0, 3)))
    with pytest.raises(ShapeError, match="a scalar"):
        loss(tensor(0.5), np.float64(0.5))
    with pytest.raises(ShapeError, match="equal shapes"):
        loss(tensor(np.zeros((2, 3))), 0.5)


def test_an_empty_batch_of_labels_is_refused():
    with pytest.raises(ShapeError, match="cross_entropy: the prediction is a batch of no examples"):
        nn.cross_entropy(tensor(np.zeros((0, 3))), np.zeros(0, int))


@pytest.mark.parametrize(
    "labels", [[0, 3], [-1, 0], [0.0, 1.0], [[1, 0, 0], [0, 1, 0]], [[0], [1]], [0, 1, 2]], ids=str
)
def test_labels_are_checked(labels):
    with pytest.raises(MinigenError):
        nn.cross_entropy(tensor(np.zeros((2, 3))), np.array(labels))


@pytest.mark.parametrize("bad", [-0.1, 1.1, 255.0, np.nan])
def test_targets_of_bce_are_probabilities(bad):
    with pytest.raises(SettingError, match=r"targets must lie in \[0, 1\]"):
        nn.bce_with_logits(tensor(np.zeros(2)), np.array([0.5, bad]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_are_finite_and_right(dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    a = Tensor(logits, requires_grad=True)
    loss = nn.bce_with_logits(a, np.ones((2, 2), dtype))
    assert loss.item() == 1e4
    close(grad(loss, a), np.array([[0, -0.5], [-0.5, 0]]))
    loss = nn.cross_entropy(a, np.array([0, 0]))
    assert loss.item() == 1e4
    close(grad(loss, a), np.array([[0, 0], [-0.5, 0.5]]))


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus, nn.LeakyReLU], ids=lambda k: k.__name__)
def test_a_gradient_penalty_through_a_dense_critic(rng, activation):
    """Gulrajani et al. 2017, eq. 3: mean (|grad_x D(x)| - 1)^2, its gradient with respect to D's weights."""
    layers = [
        nn.Dense(4, 6, rng=rng),
        activation(),
        nn.Dense(6, 5, rng=rng),
        activation(),
        nn.Dense(5, 1, rng=rng),
    ]
    critic, x = double(nn.Sequential(*layers)), rng.standard_normal((3, 4))
    kink = 0.0
    while kink < 1e-2:  # differences must not step over the kink of a leaky ReLU
        for p in critic.parameters():
            p._data = rng.standard_normal(p.shape)
        kink = min(abs(host(critic[:n](Tensor(x)))).min() for n in (1, 3))

    def penalty():
        t = Tensor(x, requires_grad=True)
        g = grad(critic(t).sum(), t, create_graph=True)
        return ops.mean(ops.square(ops.sqrt(ops.sum(g * g, axis=1)) - 1.0))

    def numeric():  # the input gradient by differences too: nothing of autograd's second order in it
        g = np.zeros_like(x)
        for j in range(4):
            step = np.zeros(4)
            step[j] = 1e-5
            g[:, j] = (host(critic(Tensor(x + step))) - host(critic(Tensor(x - step))))[:, 0] / 2e-5
        return float(((np.sqrt((g * g).sum(1)) - 1) ** 2).mean())

    params = critic.parameters()
    close(penalty(), numeric(), rtol=1e-6)
    found = grad(penalty(), params[:-1], allow_unused=True)  # the last bias moves no gradient
    for p, g in zip(params[:-1], found, strict=True):
        expected = slope(numeric, p._data, step=1e-4)
        close(np.zeros(p.shape) if g is None else g, expected, rtol=2e-4, atol=2e-5)
