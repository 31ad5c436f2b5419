"""Convolution on random geometry: against loops, as adjoint maps, on one worker and on two, and inside a critic."""

import conv_loops as loops
import numpy as np
import pytest
from nn_helpers import close, double, slope, tensor

from minigen import Tensor, grad, nn, ops, workers
from minigen.errors import ShapeError
from minigen.ops import conv_columns, conv_kernels, conv_plain
from minigen.ops.geometry import geometry

DRAWS = 25  # geometries per test


def draw(rng):
    """x, w, b and keywords of a conv2d that fits: odd sizes, uneven strides, dilation, single pixels, masks"""
    while True:
        kernel, stride, dilation = (tuple(map(int, rng.integers(1, 5, 2))) for _ in range(3))
        how = {"stride": stride, "dilation": dilation, "padding": tuple(map(int, rng.integers(0, 6, 2)))}
        how["taps"] = None if rng.random() < 0.5 else rng.random(kernel) < 0.6
        n, c, f = map(int, rng.integers((0, 1, 1), (4, 8, 7)))
        size = tuple(map(int, rng.integers(1, 10, 2)))
        if min(geometry(kernel, **how).output_size(size)) >= 1:
            x, w = rng.standard_normal((n, c, *size)), rng.standard_normal((f, c, *kernel))
            return x, w, rng.standard_normal(f), how


def extra_of(x, w, how):
    return geometry(w.shape[2:], **how).leftover(x.shape[2:])


def channels_last(x):
    """The same numbers, laid out as the kernels leave them"""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.fixture(params=["whole", "chunks"])
def chunked(request, monkeypatch):
    """Everything at once, or a row or two at a time, on two workers"""
    if request.param == "chunks":
        monkeypatch.setattr(conv_columns, "CHUNK_BYTES", 1500)
        monkeypatch.setattr(conv_kernels, "WORTH_SHARING", 0)
        with workers.using(2):
            yield
    else:
        yield


def test_values_equal_the_loops(rng, chunked):
    for _ in range(DRAWS):
        x, w, b, how = draw(rng)
        what = f"{x.shape} {w.shape} {how}"
        expected = loops.conv2d(x, w, b, **how)
        g = rng.standard_normal(expected.shape)
        extra, kernel = extra_of(x, w, how), w.shape[2:]
        for order in (np.asarray, channels_last):
            x_, g_ = order(x), order(g)
            kept = x_.copy(), w.copy(), g_.copy()
            close(ops.conv2d(x_, w, b, **how), expected, 1e-10, 1e-10, what)
            back = ops.conv_transpose2d(g_, w, output_padding=extra, **how)
            close(back, loops.conv_transpose2d(g, w, output_padding=extra, **how), 1e-10, 1e-10, what)
            found = ops.conv2d_weight(x_, g_, kernel=kernel, **how)
            close(found, loops.conv2d_weight(x, g, kernel=kernel, **how), 1e-10, 1e-10, what)
            for before, after in zip(kept, (x_, w, g_), strict=True):
                np.testing.assert_array_equal(before, after, "an input was changed")


def test_the_plain_maps_are_the_same(rng):
    for _ in range(DRAWS):
        x, w, _, how = draw(rng)
        geo = geometry(w.shape[2:], **how)
        y = conv_plain.forward(x, w, geo)
        g = rng.standard_normal(y.shape)
        close(conv_kernels.forward(x, w, None, geo), y, 1e-10, 1e-10, f"{how}")
        size = x.shape[2:]
        close(
            conv_kernels.transposed(g, w, None, geo, size),
            conv_plain.transposed(g, w, geo, size),
            1e-10,
            1e-10,
        )
        close(conv_kernels.weight(x, g, geo), conv_plain.weight(x, g, geo), 1e-10, 1e-10, f"{how}")


def test_the_three_maps_are_adjoint(rng, chunked):
    """<A x, y> = <x, A' y>, in x and in w"""
    for _ in range(DRAWS):
        x, w, _, how = draw(rng)
        y = ops.conv2d(x, w, **how)
        g = rng.standard_normal(y.shape)
        size = np.abs(y).sum() + 1
        back = ops.conv_transpose2d(g, w, output_padding=extra_of(x, w, how), **how)
        assert abs(np.vdot(y, g) - np.vdot(x, back)) < 1e-12 * size, how
        assert (
            abs(np.vdot(y, g) - np.vdot(w, ops.conv2d_weight(x, g, kernel=w.shape[2:], **how))) < 1e-12 * size
        )


def test_both_orders_of_gradient(rng):
    """f = <v, grad of <g, conv(x, w)>> is bilinear in every pair, so its gradients are convolutions in closed form"""
    for _ in range(DRAWS):
        x, w, b, how = draw(rng)
        kernel, extra = w.shape[2:], extra_of(x, w, how)
        g = rng.standard_normal(loops.conv2d(x, w, **how).shape)
        vx, vw, vb = (rng.standard_normal(a.shape) for a in (x, w, b))
        tx, tw, tb, tg = (tensor(a, requires_grad=True) for a in (x, w, b, g))
        gx, gw, gb = grad(ops.conv2d(tx, tw, tb, **how), [tx, tw, tb], seed=tg, create_graph=True)
        close(gx, loops.conv_transpose2d(g, w, output_padding=extra, **how), 1e-10, 1e-10)
        close(gw, loops.conv2d_weight(x, g, kernel=kernel, **how), 1e-10, 1e-10)
        close(gb, g.sum(axis=(0, 2, 3)), 1e-10, 1e-10)
        f = (gx * vx).sum() + (gw * vw).sum() + (gb * vb).sum()
        fx, fw, fg = grad(f, [tx, tw, tg])
        close(fx, loops.conv_transpose2d(g, vw, output_padding=extra, **how), 1e-10, 1e-10)
        close(fw, loops.conv2d_weight(vx, g, kernel=kernel, **how), 1e-10, 1e-10)
        close(fg, loops.conv2d(vx, w, **how) + loops.conv2d(x, vw, vb, **how), 1e-10, 1e-10)


def test_masked_taps_have_no_effect_and_no_gradient(rng):
    taps = np.array([[True, True, True], [True, False, False], [False, False, False]])
    x, w = tensor(rng.standard_normal((2, 3, 5, 5))), rng.standard_normal((4, 3, 3, 3))
    seen, t = ops.conv2d(x, w * taps, padding=1), tensor(w, requires_grad=True)
    y = ops.conv2d(x, t, padding=1, taps=taps)
    close(y, seen, 1e-12, 1e-12)
    g = grad(y.sum(), t)
    assert not g[:, :, ~taps].any(), "a masked tap received a gradient"
    assert g[:, :, taps].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_workers_change_nothing_but_rounding(rng, dtype, monkeypatch):
    monkeypatch.setattr(conv_kernels, "WORTH_SHARING", 0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in [(5, 3, 8, 8), (4, 3, 3, 3)])
    g = rng.standard_normal((5, 4, 4, 4)).astype(dtype)
    how = {"stride": 2, "padding": 1}

    def everything():
        return (
            ops.conv2d(x, w, **how),
            ops.conv_transpose2d(g, w, output_padding=1, **how),
            ops.conv2d_weight(x, g, kernel=3, **how),
        )

    with workers.using(1):
        alone = everything()
    with workers.using(2):
        shared, again = everything(), everything()
    for a, b, c in zip(alone, shared, again, strict=True):
        assert a.dtype == b.dtype == dtype
        close(b, a, 0, 100 * np.finfo(dtype).eps * np.abs(a).max())
        np.testing.assert_array_equal(b, c, "the same worker count must give the same bits")


def test_gradient_penalty_of_a_strided_critic(rng):
    """WGAN-GP: (|d critic / d x| - 1)^2 differentiated for the weights, against differences of the penalty"""
    critic = double(
        nn.Sequential(
            nn.Conv2d(1, 3, 4, stride=2, padding=1, rng=rng), nn.LeakyReLU(0.2),
            nn.Conv2d(3, 4, 4, stride=2, padding=1, rng=rng), nn.Tanh(), nn.Flatten(), nn.Dense(16, 1, rng=rng),
        )
    )  # fmt: skip
    images = rng.standard_normal((3, 1, 8, 8))

    def penalty():
        x = Tensor(images, requires_grad=True)
        (g,) = grad(critic(x).sum(), [x], create_graph=True)
        return ops.mean(ops.square(ops.safe_norm(ops.reshape(g, shape=(3, -1)), axis=1) - 1.0))

    parameters = critic.parameters()
    found = grad(penalty(), parameters, allow_unused=True)
    for p, g in zip(parameters, found, strict=True):
        expected = slope(lambda: penalty().item(), p._data)
        close(expected * 0 if g is None else g, expected, 1e-5, 1e-8)


@pytest.mark.parametrize(
    ("x", "w", "how", "says"),
    [
        ((2, 28, 28, 3), (8, 3, 3, 3), {}, "are the channels on the last axis"),
        (
            (2, 1, 4, 4),
            (8, 1, 7, 7),
            {"padding": 1},
            r"kernel \(7, 7\) is larger than the padded input \(6, 6\)",
        ),
        ((2, 1, 4, 4), (8, 1, 3, 3), {"dilation": 2}, r"\(5, 5\) with dilation"),
        ((2, 5, 4, 4), (8, 3, 3, 3), {}, "5 channels on axis 1.*expects 3"),
        ((1, 28, 28), (8, 1, 3, 3), {}, r"x\[None\]"),
        ((2, 1, 4, 4), (8, 1, 3, 3), {"stride": (1, 2, 3)}, "stride must be an integer or a pair"),
        ((2, 1, 4, 4), (8, 1, 3, 3), {"taps": np.ones((3, 3))}, "booleans"),
    ],
)
def test_misfits_name_both_sides(x, w, how, says):
    with pytest.raises(ShapeError, match=says) as caught:
        ops.conv2d(np.ones(x), np.ones(w), **how)
    text = str(caught.value)
    assert "\n" not in text
    assert str(x) in text
    assert str(w) in text


def test_layers(rng):
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    down = nn.Conv2d(3, 4, 4, stride=2, padding=1, rng=rng)
    up = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, rng=rng)
    assert [p.shape for p in down.parameters()] == [(4, 3, 4, 4), (4,)]
    assert [p.shape for p in up.parameters()] == [(4, 3, 4, 4), (3,)]
    y = up(down(Tensor(x)))
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert nn.Conv2d(3, 4, 1, bias=False, rng=rng).b is None
    assert nn.MaxPool2d(2)(Tensor(x)).shape == nn.AvgPool2d(2)(Tensor(x)).shape == (2, 3, 4, 4)
