"""Switching the array library, the boundary to the host, and that the strict backend is as strict as it says."""

import copy
import operator
import sys
import types

import numpy as np
import pytest
from backends import each_backend
from strict import STRICT, Refused, watching

from minigen import Tensor, grad, nn, ops, optim
from minigen.backend import (
    NUMPY,
    active,
    describe,
    from_host,
    is_array,
    is_available,
    to_host,
    use,
    using,
    xp,
)
from minigen.errors import BackendError, DTypeError, MinigenError, ShapeError


@pytest.fixture
def strict():
    with using(STRICT):
        yield STRICT


# Switching


def test_numpy_is_active_and_the_proxy_follows():
    assert active() is NUMPY
    assert xp.ndarray is np.ndarray
    assert xp.exp is np.exp
    with using(STRICT):
        assert active() is STRICT
        assert xp.ndarray is not np.ndarray
        assert isinstance(Tensor([1.0]).data, xp.ndarray)
    assert xp.ndarray is np.ndarray
    with pytest.raises(AttributeError):
        xp.__wrapped__  # noqa: B018


def test_the_backend_comes_back_when_something_raises():
    with pytest.raises(KeyError), using(STRICT):
        raise KeyError
    assert active() is NUMPY
    with pytest.raises(BackendError), using("tpu"):
        pass
    assert active() is NUMPY


def test_unknown_backend():
    with pytest.raises(BackendError, match=r"^unknown backend 'tpu': choose one of numpy, cupy$"):
        use("tpu")
    assert not is_available("tpu")
    assert is_available("numpy")
    assert active() is NUMPY


def test_cupy_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy: ImportError
    with pytest.raises(
        BackendError, match=r"^backend 'cupy' needs CuPy, which is not installed: pip install"
    ) as caught:
        use("cupy")
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    assert not is_available("cupy")
    assert active() is NUMPY


def broken_cupy(devices):
    """A CuPy that can be imported, on a machine where nothing computes."""
    fake = types.ModuleType("cupy")
    fake.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=devices))
    return fake


def _no_driver():
    raise RuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient\nfor CUDA runtime version"
    )


@pytest.mark.parametrize(
    "devices", [_no_driver, lambda: 0, lambda: 1], ids=["no driver", "no device", "no kernel"]
)
def test_cupy_without_a_device(monkeypatch, devices):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy(devices))
    with pytest.raises(
        BackendError, match=r"^backend 'cupy' found no working CUDA device.*nvidia-smi"
    ) as caught:
        use("cupy")
    assert "\n" not in str(caught.value)
    assert active() is NUMPY


# The boundary


@each_backend
def test_there_and_back(backend):
    with using(backend):
        for value in [
            np.ones((2, 3), np.float32),
            np.float64(2.0),
            3,
            [1.0, 2.0],
            np.zeros((0, 2)),
            np.array(True),
        ]:
            device = from_host(value)
            assert is_array(device)
            host = to_host(device)
            assert type(host) is np.ndarray
            np.testing.assert_array_equal(host, value)
            assert host.dtype == device.dtype


@each_backend
def test_a_step_of_training(backend, rng):
    """The same code on every backend: a loss, its gradient, a penalty on that gradient, an update."""
    W, x, t = rng.standard_normal((3, 2)), rng.standard_normal((4, 3)), np.array([0, 1, 1, 0])

    def step():
        w, inputs = Tensor(W, requires_grad=True), Tensor(x, requires_grad=True)
        loss = ops.cross_entropy(ops.tanh(inputs @ w), labels=from_host(t)).mean()
        g = grad(loss, inputs, create_graph=True)
        total = loss + ops.square(ops.safe_norm(g, axis=1) - 1.0).mean()
        gw = grad(total, w)
        w.data = w.data - 0.1 * gw
        return to_host(w.data), total.item()

    expected = step()
    with using(backend):
        found = step()
    np.testing.assert_allclose(found[0], expected[0], 1e-10)
    assert found[1] == pytest.approx(expected[1], rel=1e-10)


@each_backend
def test_an_index_outside_is_refused_on_every_backend(backend):
    """CuPy wraps it around in silence: minigen looks itself."""
    with using(backend):
        t = Tensor([1.0, 2.0, 3.0])
        for index in [3, [0, 3], np.array([-4])]:
            with pytest.raises(MinigenError, match=r"index (3|-4) is outside axis 0 of size 3"):
                t[index]
        for bad in (4, -1):
            with pytest.raises(ShapeError, match=rf"label {bad} is outside the 3 classes"):
                ops.cross_entropy(Tensor(np.zeros((2, 3))), labels=from_host(np.array([0, bad])))


def test_host_arrays_are_not_mixed_in(strict):
    t = Tensor([1.0, 2.0])
    for f in (
        lambda: t * np.ones(2),
        lambda: np.ones(2) * t,
        lambda: ops.where(np.array([True, False]), t, t),
    ):
        with pytest.raises(DTypeError, match=r"numpy array, but the active backend is strict.*from_host"):
            f()
    assert (np.float64(2.0) * t).dtype == np.float32, "NumPy numbers are as good as Python's"


def test_a_training_step_does_not_wait_for_the_device(strict, rng):
    """Forward, backward and update of a dense net: nothing crosses between host and device."""
    layers = nn.Sequential(nn.Dense(4, 8, rng=rng), nn.Tanh(), nn.Dense(8, 3, rng=rng))
    opt = optim.SGD(layers.parameters(), lr=0.1)
    x, target = Tensor(rng.standard_normal((5, 4)).astype("float32")), Tensor(np.zeros((5, 3), "float32"))
    for _ in range(2):
        with watching() as events:
            loss = ops.squared_error(layers(x), target).sum(axis=1).mean()
            gs = grad(loss, layers.parameters())
        assert events == []
        opt.step(gs)


# What the strict backend refuses: one line for each promise in its docstring


@pytest.mark.parametrize(
    "f",
    [
        lambda a: np.asarray(a), lambda a: np.array(a), lambda a: np.sum(a), lambda a: np.concatenate([a, a]),
        lambda a: np.add.reduce(a), lambda a: a + np.ones(2), lambda a: np.ones(2) + a, lambda a: a + np.array(1.0),
        lambda a: xp.add(a, [1.0, 2.0]), lambda a: xp.maximum([0.0], a), lambda a: xp.sum([1.0, 2.0]),
        lambda a: xp.sum(np.ones(2)), lambda a: xp.where(True, a, a), lambda a: xp.stack([a, np.ones(2)]),
        lambda a: xp.concatenate([[1.0], [2.0]]), lambda a: xp.asarray([a, a]), lambda a: a[np.array([0])],
        lambda a: a[[0, 1]], lambda a: operator.setitem(a, 0, np.ones(1)),
        lambda a: operator.setitem(a, ..., [1.0, 2.0]),
        lambda a: operator.setitem(a, xp.asarray([0, 0]), a), lambda a: xp.add(a, a, where=a > 0),
        lambda a: xp.add(a, a, out=np.ones(2)), lambda a: xp.sum(a, initial=1.0), lambda a: xp.max(a, where=a > 0),
        lambda a: xp.clip(a, min=0.0, max=1.0), lambda a: xp.reshape(a, shape=(2, 1)), lambda a: xp.zeros(2, like=a),
        lambda a: xp.power.at(a, xp.asarray([0]), 2.0), lambda a: xp.maximum.reduce(a),
        lambda a: xp.errstate(all="ignore"),
        lambda a: xp.random.default_rng(0), lambda a: xp.block([a, a]), lambda a: xp.ndenumerate(a),
        lambda a: xp.vecdot(a, a),
        lambda a: xp.insert(a, 0, 1.0), lambda a: xp.asarray(["a"]), lambda a: xp.asarray(np.array([object()])),
        lambda a: xp.zeros(2, np.longdouble), lambda a: xp.add.at(xp.zeros(2, "int64"), xp.asarray([0]), 1),
        lambda a: STRICT.from_host([a, a]), lambda a: STRICT.to_host("text"),
    ],
)  # fmt: skip
def test_strict_refuses(strict, f):
    with pytest.raises(Refused):
        f(xp.asarray([1.0, 2.0]))


@pytest.mark.parametrize(
    "name", ["__index__", "__contains__", "__array_interface__", "ctypes", "setflags", "data", "resize"]
)
def test_strict_arrays_lack_what_cupys_lack(strict, name):
    assert not hasattr(xp.zeros(2), name)
    assert not hasattr(xp.zeros(2).flags, "writeable")


def test_strict_keeps_no_numpy_scalars(strict):
    a = xp.asarray([1.0, 2.0])
    for y in [
        a.sum(),
        xp.sum(a),
        a[0],
        a @ a,
        xp.max(a),
        a.mean(),
        xp.allclose(a, a),
        a.any(),
        next(iter(a)),
        -a[0],
        a[0] + 1,
    ]:
        assert isinstance(y, xp.ndarray)
        assert y.shape == ()
    a[0][...] = 5.0
    assert to_host(a)[0] == 5.0, "one element is a view, too"


def test_strict_indices_wrap_as_on_a_device(strict):
    a = xp.asarray([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(to_host(a[xp.asarray([3, -4])]), [1.0, 3.0])
    with pytest.raises(IndexError):
        a[3]


def test_strict_notes_every_wait(strict):
    a = xp.asarray([1.0, 2.0])
    with watching() as events:
        a = (a * 2.0 + a).sum()
    assert events == []
    for f in (float, int, bool, operator.methodcaller("item"), operator.methodcaller("tolist")):
        with watching() as events:
            f(a)
        assert len(events) == 1
    with watching() as events:
        to_host(from_host(np.ones(2))[xp.asarray([True, False])])
    assert events == ["upload", "upload", "wait: boolean index", "download"]


def test_strict_copies(strict):
    a = xp.asarray([1.0, 2.0])
    for b in (copy.copy(a), copy.deepcopy(a), a.copy()):
        b[...] = 0.0
    np.testing.assert_array_equal(to_host(a), [1.0, 2.0])


def test_strict_functions_are_numpys(strict, rng):
    """The whitelist computes: a spot check of each family, in place and with `out`."""
    host = rng.standard_normal((2, 3))
    a = from_host(host)
    out = xp.empty((2, 3))
    assert xp.exp(a, out=out) is not None
    np.testing.assert_array_equal(to_host(out), np.exp(host))
    a2 = a.copy()
    a2 += 1.0
    a2 *= a
    np.testing.assert_array_equal(to_host(a2), (host + 1) * host)
    np.testing.assert_array_equal(to_host(xp.einsum("ij,kj->ik", a, a)), np.einsum("ij,kj->ik", host, host))
    np.testing.assert_array_equal(to_host(xp.linalg.norm(a)), np.linalg.norm(host))
    windows = xp.lib.stride_tricks.sliding_window_view(a, (1, 2))
    np.testing.assert_array_equal(to_host(windows), np.lib.stride_tricks.sliding_window_view(host, (1, 2)))
    np.testing.assert_array_equal(to_host(xp.add.outer(a[0], a[1])), np.add.outer(host[0], host[1]))
    np.testing.assert_array_equal(to_host(a.T.reshape(-1).view("uint64")), host.T.reshape(-1).view("uint64"))


def test_describe():
    assert describe(np.ones((2, 3), np.float32)) == "(2, 3) float32"
    assert describe(Tensor([1.0])) == "(1,) float32"
    assert (describe(2.5), describe("a"), describe([1])) == ("2.5", "'a'", "list")
