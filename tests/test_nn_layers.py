"""Dense, activations, containers, dropout and initial values."""

import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, double, host, slope, tensor, within

from minigen import Tensor, grad, nn, ops
from minigen.backend import from_host, using, xp
from minigen.errors import DTypeError, SettingError, ShapeError
from minigen.nn import init

ACTIVATIONS = {
    nn.ReLU: lambda x: np.maximum(x, 0),
    nn.LeakyReLU: lambda x: np.where(x > 0, x, 0.2 * x),
    nn.ELU: lambda x: np.where(x > 0, x, np.exp(x) - 1),
    nn.Tanh: np.tanh,
    nn.Sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    nn.Softplus: lambda x: np.log(1 + np.exp(x)),
}


@each_backend
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 5, 3), (0, 3)])
def test_dense_is_x_w_plus_b(rng, backend, bias, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    with using(backend):
        layer = nn.Dense(3, 2, bias=bias, rng=rng)
        y = layer(Tensor(from_host(x)))
        assert y.dtype == np.float32
        expected = x @ host(layer.W) + (host(layer.b) if bias else 0)
        close(y, expected, rtol=1e-5, atol=1e-6)
        close(layer(from_host(x)), expected, rtol=1e-5, atol=1e-6, what="a raw array in")
        assert (layer.b is None) == (not bias)


def test_dense_gradients(rng):
    layer, x = double(nn.Dense(3, 2, rng=rng)), rng.standard_normal((4, 3))
    t, weight = tensor(x, requires_grad=True), rng.standard_normal((4, 2))

    def f():
        return float(((x @ layer.W._data + layer.b._data) * weight).sum())

    found = grad((layer(t) * weight).sum(), [layer.W, layer.b, t])
    for g, array in zip(found, (layer.W._data, layer.b._data, x), strict=True):
        close(g, slope(f, array), rtol=1e-6, atol=1e-8)


def test_dense_keeps_float32_fed_with_float64_data(rng):
    layer = nn.Dense(3, 2, rng=rng)
    y = layer(rng.standard_normal((4, 3)))
    assert y.dtype == np.float32
    assert all(g.dtype == np.float32 for g in grad(y.sum(), layer.parameters()))


@pytest.mark.parametrize("bias", [True, False])
def test_dense_refuses_wrong_features_with_a_hint(rng, bias):
    layer = nn.Dense(784, 2, bias=bias, rng=rng)
    with pytest.raises(ShapeError, match="784"):
        layer(Tensor(np.ones((4, 28, 28), np.float32)))


@each_backend
@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda k: k.__name__)
def test_activations(rng, backend, kind):
    x = rng.standard_normal((3, 4)).astype(np.float32) * 3
    with using(backend):
        y = kind()(Tensor(from_host(x)))
        assert y.dtype == np.float32
        close(y, ACTIVATIONS[kind](x), rtol=2e-6, atol=1e-6)


def test_activation_settings():
    assert nn.LeakyReLU(0.5)(tensor([-2.0])).item() == -1.0
    assert nn.ELU(2.0)(tensor([-1e3])).item() == -2.0


def test_sequential_is_a_sequence(rng):
    a, b = nn.Dense(3, 4, rng=rng), nn.Dense(4, 2, rng=rng)
    model = nn.Sequential(a, ops.relu, b)
    assert len(model) == 3
    assert model[0] is a
    assert model[-1] is b
    assert list(model) == [a, ops.relu, b]
    assert isinstance(model[:2], nn.Sequential)
    assert model[:2][0] is a
    x = Tensor(np.ones((2, 3), np.float32))
    close(model(x), b(ops.relu(a(x))), rtol=0)
    close(nn.Sequential()(x), x, rtol=0, what="the empty sequence changes nothing")
    with pytest.raises(DTypeError, match=r"layer 0 is a list.*unpack"):
        nn.Sequential([a, b])


def test_flatten_and_reshape():
    x = tensor(np.arange(24.0).reshape(2, 3, 4))
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten()(tensor(np.ones((0, 3, 4)))).shape == (0, 12)
    close(nn.Reshape(3, 4)(nn.Flatten()(x)), x, rtol=0)


# Dropout


@each_backend
def test_dropout_keeps_or_scales(rng, backend):
    with using(backend):
        x = Tensor(xp.ones((200, 50), "float32"), requires_grad=True)
        layer = nn.Dropout(0.3, rng=rng)
        y = layer(x)
        values = host(y)
        assert y.dtype == np.float32
        close(values[values != 0], 1 / 0.7, rtol=1e-6)
        within(values.mean(), 1.0, np.sqrt(0.3 / 0.7), values.size, "the mean of a dropped-out one")
        close(grad(y.sum(), x), values, rtol=0, what="the gradient passes where the value did")
        assert (host(layer(x)) != values).any(), "a fresh mask each time"
        assert layer.eval()(x) is x


def test_dropout_draws_the_same_on_every_backend(rng):
    seed, x = int(rng.integers(1 << 30)), np.ones((5, 6), np.float32)
    masks = []
    for backend in ["numpy", *(p.values[0] for p in each_backend.args[1][1:2])]:
        with using(backend):
            masks.append(
                np.array(host(nn.Dropout(0.5, rng=np.random.default_rng(seed))(Tensor(from_host(x)))))
            )
    assert (masks[0] == masks[1]).all()


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_dropout_refuses_what_is_no_probability(rng, p):
    with pytest.raises(SettingError, match="Dropout: p is the probability"):
        nn.Dropout(p, rng=rng)


# Initial values


@pytest.mark.parametrize("shape", [(300, 200), (40, 50, 5, 5)])
@pytest.mark.parametrize(
    ("name", "variance", "fourth"),
    [
        ("xavier_uniform", lambda i, o: 2 / (i + o), 9 / 5),
        ("xavier_normal", lambda i, o: 2 / (i + o), 3),
        ("he_uniform", lambda i, o: 2 / i, 9 / 5),
        ("he_normal", lambda i, o: 2 / i, 3),
    ],
)
def test_initial_spread(rng, name, shape, variance, fourth):
    fans = shape if len(shape) == 2 else (50 * 25, 40 * 25)
    v, w = variance(*fans), getattr(init, name)(shape, rng=rng)
    assert w.dtype == np.float32
    assert w.shape == shape
    within(w.mean(dtype=float), 0, np.sqrt(v), w.size, "mean")
    within((w.astype(float) ** 2).mean(), v, v * np.sqrt(fourth - 1), w.size, "variance")
    if "uniform" in name:
        assert abs(w).max() <= np.sqrt(3 * v) * (1 + 1e-6)


def test_plain_initial_values(rng):
    assert (init.zeros((2, 3)) == 0).all()
    w = init.normal((400, 300), rng=rng, mean=1.0, std=0.5)
    within(w.mean(dtype=float), 1.0, 0.5, w.size, "mean of normal")
    w = init.uniform((400, 300), rng=rng, low=2.0, high=3.0)
    within(w.mean(dtype=float), 2.5, np.sqrt(1 / 12), w.size, "mean of uniform")
    assert w.min() >= 2.0
    assert w.max() <= 3.0
    assert {a.dtype for a in (w, init.zeros((1,)))} == {np.dtype(np.float32)}


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (5, 2, 3, 3)])
def test_orthogonal_rows_or_columns(rng, shape):
    w = init.orthogonal(shape, rng=rng, gain=2.0).astype(float).reshape(shape[0], -1) / 2
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    close(small, np.eye(len(small)), atol=1e-6, rtol=0)


def test_gains_and_slopes(rng):
    seed = int(rng.integers(1 << 30))

    def draw(name, **options):
        return getattr(init, name)((20, 30), rng=np.random.default_rng(seed), **options)

    close(draw("xavier_normal", gain=3.0), 3 * draw("xavier_normal"), rtol=1e-6)
    close(draw("he_uniform", slope=1.0), draw("he_uniform") / np.sqrt(2), rtol=1e-6)


def test_a_vector_has_no_fans(rng):
    with pytest.raises(ShapeError, match="no fan-in"):
        init.he_normal((5,), rng=rng)
