"""BatchNorm and LayerNorm: closed form, running statistics, gradients of both orders against their twins."""

import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, double, host, slope, tensor

from minigen import Tensor, grad, nn, no_grad, ops
from minigen.backend import from_host, using
from minigen.errors import ShapeError
from minigen.ops.norm import batch_norm, layer_norm


def by_hand(x, gamma, beta, axes, eps):
    """(x - mean) / sqrt(var + eps) * gamma + beta, in NumPy"""
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * gamma + beta


def case(rng, kind, dtype=np.float64):
    """(op, x, gamma, beta, axes, gamma and beta as they broadcast)"""
    shape = {"batch": (6, 3), "batch_images": (4, 3, 2, 5), "layer": (4, 2, 6), "layer_images": (3, 2, 4)}[
        kind
    ]
    x = (rng.standard_normal(shape) * 2 + 1).astype(dtype)
    if kind.startswith("batch"):
        axes, own, lay = tuple(i for i in range(x.ndim) if i != 1), (3,), (1, 3) + (1,) * (x.ndim - 2)
    else:
        own = shape[-1:] if kind == "layer" else shape[1:]
        axes, lay = tuple(range(x.ndim - len(own), x.ndim)), own
    gamma, beta = (rng.standard_normal(own).astype(dtype) + 1 for _ in range(2))
    return batch_norm if kind.startswith("batch") else layer_norm, x, gamma, beta, axes, lay


KINDS = pytest.mark.parametrize("kind", ["batch", "batch_images", "layer", "layer_images"])


@KINDS
@each_backend
def test_closed_form(rng, kind, backend):
    norm, x, gamma, beta, axes, lay = case(rng, kind, np.float32)
    expected = by_hand(x.astype(float), gamma.reshape(lay), beta.reshape(lay), axes, 1e-5)
    with using(backend):
        ts = [Tensor(from_host(a), requires_grad=True) for a in (x, gamma, beta)]
        y = norm(*ts)
        assert y.dtype == np.float32
        close(y, expected, rtol=1e-5, atol=1e-5)
        gs = grad(y, ts, seed=from_host(rng.standard_normal(x.shape).astype(np.float32)))
        assert [g.dtype for g in gs] == [np.float32] * 3
        close(host(gs[0]).sum(axes), 0.0, atol=1e-5, rtol=0, what="shifting x changes nothing")


@KINDS
def test_gradients_by_differences(rng, kind):
    norm, *arrays, axes, lay = case(rng, kind)
    x, gamma, beta = arrays
    weight = rng.standard_normal(x.shape)
    ts = [Tensor(a, requires_grad=True) for a in arrays]
    found = grad((norm(*ts) * weight).sum(), ts)
    for g, a in zip(found, arrays, strict=True):
        numeric = slope(
            lambda: float((by_hand(x, gamma.reshape(lay), beta.reshape(lay), axes, 1e-5) * weight).sum()), a
        )
        close(g, numeric, rtol=1e-6, atol=1e-7)


@KINDS
@each_backend
def test_the_twin_is_the_same_function_to_second_order(rng, kind, backend):
    norm, x, gamma, beta, *_ = case(rng, kind)
    weight, v = rng.standard_normal(x.shape), [rng.standard_normal(a.shape) for a in (x, gamma, beta)]

    def orders(f, fused):
        ts = [tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        y = f(*ts)
        first = grad((ops.square(y) * from_host(weight)).sum(), ts, create_graph=True)
        plain = grad((ops.square(f(*ts)) * from_host(weight)).sum(), ts)
        along = sum((g * from_host(d)).sum() for g, d in zip(first, v, strict=True))
        return [y, *first, *plain, *grad(along, ts)]

    with using(backend):
        for a, b in zip(orders(norm, True), orders(norm.twin, False), strict=True):
            close(a, b, rtol=1e-9, atol=1e-9)


def test_second_order_by_differences(rng):
    x, gamma, beta = rng.standard_normal((5, 2)), np.array([1.5, 0.5]), np.array([0.1, -0.2])
    weight, v = rng.standard_normal((5, 2)), rng.standard_normal((5, 2))

    def slope_along():
        t = Tensor(x, requires_grad=True)
        return float((grad((batch_norm(t, gamma, beta) * weight).sum(), t) * v).sum())

    t = Tensor(x, requires_grad=True)
    g = grad((batch_norm(t, gamma, beta) * weight).sum(), t, create_graph=True)
    close(grad((g * v).sum(), t), slope(slope_along, x), rtol=1e-5, atol=1e-6)


@each_backend
@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 2, 5)])
def test_running_statistics(rng, backend, shape):
    batches = [rng.standard_normal(shape) * 3 + 2 for _ in range(3)]
    axes, along = tuple(i for i in range(len(shape)) if i != 1), (1, 3) + (1,) * (len(shape) - 2)
    mean, var = np.zeros(3), np.ones(3)
    with using(backend):
        layer = double(nn.BatchNorm(3))
        for x in batches:
            close(layer(tensor(x)), by_hand(x, 1.0, 0.0, axes, 1e-5), rtol=1e-9, atol=1e-9)
            mean, var = 0.9 * mean + 0.1 * x.mean(axes), 0.9 * var + 0.1 * x.var(axes, ddof=1)
        close(layer.running_mean, mean, rtol=1e-12)
        close(layer.running_var, var, rtol=1e-12)
        layer.eval()
        x = batches[0]
        expected = (x - mean.reshape(along)) / np.sqrt(var.reshape(along) + 1e-5)
        close(layer(tensor(x)), expected, rtol=1e-9, atol=1e-9)
        close(layer(tensor(x[:1])), expected[:1], rtol=1e-9, atol=1e-9, what="a batch of one, in use")
        close(layer.running_mean, mean, rtol=1e-12, what="use changes no statistics")


def test_gradients_in_use(rng):
    layer, x = double(nn.BatchNorm(3)), rng.standard_normal((4, 3))
    layer(tensor(x))
    layer.eval()
    weight, t = rng.standard_normal((4, 3)), tensor(x, requires_grad=True)
    gs = grad((layer(t) * weight).sum(), [t, layer.gamma, layer.beta])
    arrays = (x, layer.gamma._data, layer.beta._data)
    for g, a in zip(gs, arrays, strict=True):
        close(g, slope(lambda: float((layer(tensor(x)).numpy() * weight).sum()), a), rtol=1e-6, atol=1e-8)


def test_the_statistics_move_even_without_recording(rng):
    layer = nn.BatchNorm(2)
    with no_grad():
        layer(Tensor(rng.standard_normal((4, 2)).astype(np.float32) + 5))
    assert (layer.running_mean.numpy() > 0.2).all()
    assert layer.running_mean.dtype == np.float32
    assert not layer.running_mean.requires_grad


def test_training_twice_before_backward_is_allowed(rng):
    """As a GAN's step does: the statistics of the second batch do not damage the graph of the first."""
    layer = nn.BatchNorm(2)
    x = Tensor(rng.standard_normal((4, 2)).astype(np.float32), requires_grad=True)
    first = layer(x)
    (first.sum() + layer(x * 2.0).sum()).backward()
    assert np.isfinite(host(x.grad)).all()


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 3, 1, 1)])
def test_a_batch_of_one_is_refused(shape):
    layer = nn.BatchNorm(3)
    with pytest.raises(ShapeError, match=r"per channel, and the statistics of a batch need at least 2"):
        layer(Tensor(np.ones(shape, np.float32)))
    assert (layer.running_var.numpy() == 1).all()
    assert nn.BatchNorm(3)(Tensor(np.ones((1, 3, 2, 2), np.float32))).shape == (1, 3, 2, 2)


def test_wrong_channels_are_refused():
    with pytest.raises(
        ShapeError, match=r"BatchNorm expects 3 channels on axis 1, got \(2, 4, 4, 3\).*last axis\?"
    ):
        nn.BatchNorm(3)(Tensor(np.ones((2, 4, 4, 3), np.float32)))
    with pytest.raises(ShapeError, match="BatchNorm expects 3 channels"):
        nn.BatchNorm(3)(Tensor(np.ones(3, np.float32)))
    with pytest.raises(ShapeError, match=r"last axes of x \(2, 4\) must be those of gamma \(3,\)"):
        nn.LayerNorm(3)(Tensor(np.ones((2, 4), np.float32)))


def test_constant_inputs_are_finite():
    x = Tensor(np.full((4, 3), 7.0, np.float32), requires_grad=True)
    for layer in (nn.BatchNorm(3), nn.LayerNorm(3)):
        y = layer(x)
        assert (y.numpy() == 0).all()
        assert np.isfinite(grad(y.sum(), x)).all()


def test_layer_norm_layer(rng):
    x = rng.standard_normal((5, 4, 3))
    close(double(nn.LayerNorm((4, 3)))(tensor(x)), by_hand(x, 1.0, 0.0, (1, 2), 1e-5), rtol=1e-9, atol=1e-9)
    close(double(nn.LayerNorm(3))(tensor(x)), by_hand(x, 1.0, 0.0, (2,), 1e-5), rtol=1e-9, atol=1e-9)
    assert [name for name, _ in nn.LayerNorm(3).named_parameters()] == ["gamma", "beta"]
