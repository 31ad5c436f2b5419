"""Optimizers against their formulas written out one parameter and one number type at a time; clipping; schedules."""

import math

import numpy as np
import pytest
from backends import each_backend
from nn_helpers import close, host, tensor

from minigen import Tensor, optim
from minigen.backend import from_host, using
from minigen.errors import DivergenceError, DTypeError, GraphError, MinigenError, SettingError, ShapeError
from minigen.optim import SGD, Adam, AdamW, RMSProp, schedules

SHAPES = [(3, 4), (), (5,), (0, 2), (2, 1, 3)]


def sgd(w, g, s, t, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * w
    s["v"] = g if t == 1 else momentum * s["v"] + g
    return w - lr * (g + momentum * s["v"] if nesterov else s["v"])


def rmsprop(w, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * w
    s["s"] = alpha * s.get("s", 0) + (1 - alpha) * g**2
    return w - lr * g / (np.sqrt(s["s"]) + eps)


def adam(w, g, s, t, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * w
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    m, v = s["m"] / (1 - beta1**t), s["v"] / (1 - beta2**t)
    return w - lr * m / (np.sqrt(v) + eps)


def adamw(w, g, s, t, lr, weight_decay=0.01, **options):
    return adam(w * (1 - lr * weight_decay), g, s, t, lr, **options)


RULES = [
    (SGD, sgd, {"lr": 0.1}),
    (SGD, sgd, {"lr": 0.1, "weight_decay": 0.02}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.02}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (RMSProp, rmsprop, {"lr": 0.01}),
    (RMSProp, rmsprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    (Adam, adam, {"lr": 0.01}),
    (Adam, adam, {"lr": 0.01, "beta1": 0.5, "beta2": 0.9, "eps": 1e-2, "weight_decay": 0.1}),
    (AdamW, adamw, {"lr": 0.01, "weight_decay": 0.1}),
    (AdamW, adamw, {"lr": 0.01}),
]
rules = pytest.mark.parametrize(
    ("kind", "formula", "options"), RULES, ids=[f"{k.__name__}-{i}" for i, (k, _, _) in enumerate(RULES)]
)


def draw(rng, dtype=np.float64):
    return [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]


@rules
@each_backend
@pytest.mark.parametrize("through", ["list", "grad"])
def test_fifty_steps(rng, kind, formula, options, backend, through):
    weights, states = draw(rng), [{} for _ in SHAPES]
    with using(backend):
        params = [tensor(w, requires_grad=True) for w in weights]
        opt = kind(params, **options)
        for t in range(1, 51):
            grads = draw(rng)
            weights = [formula(w, g, s, t, **options) for w, g, s in zip(weights, grads, states, strict=True)]
            given = [from_host(g.copy()) for g in grads]
            if through == "list":
                opt.step(given)
            else:
                for p, g in zip(params, given, strict=True):
                    p.grad = g
                opt.step()
                assert params[0].grad is given[0], "step() keeps .grad"
            for g, before in zip(given, grads, strict=True):
                assert (host(g) == before).all(), "the caller's gradients are not written to"
        for p, w in zip(params, weights, strict=True):
            close(p, w, rtol=1e-12, atol=1e-12)


def test_adams_first_step_has_the_size_of_lr(rng):
    for dtype in (np.float32, np.float64):
        g = (rng.choice([-1, 1], 1000) * 10.0 ** rng.uniform(-2, 4, 1000)).astype(dtype)  # eps: 1e-6 of it
        p = Tensor(np.zeros(1000, dtype), requires_grad=True)
        Adam([p], lr=0.01).step([g])
        assert p.dtype == dtype
        close(p, -0.01 * np.sign(g), rtol=1e-5)


def test_float32_follows_float64(rng):
    """Fifty steps in single precision stay near those in double: the folded bias corrections lose nothing."""
    weights, states = draw(rng), [{} for _ in SHAPES]
    params = [Tensor(w.astype(np.float32), requires_grad=True) for w in weights]
    opt = Adam(params, lr=0.01)
    for t in range(1, 51):
        grads = draw(rng, np.float32)
        weights = [
            adam(w, g.astype(float), s, t, 0.01) for w, g, s in zip(weights, grads, states, strict=True)
        ]
        opt.step(grads)
    for p, w in zip(params, weights, strict=True):
        assert p.dtype == np.float32
        close(p, w, rtol=1e-5, atol=1e-5)


def test_two_dtypes_side_by_side(rng):
    a, b = Tensor(np.ones(3, np.float32), requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    c = Tensor(np.ones(2, np.float32), requires_grad=True)
    opt = SGD([a, b, c], lr=0.5)
    opt.step([np.full(3, 1, np.float32), np.full(3, 2.0), np.full(2, 3, np.float32)])
    assert [p.dtype for p in (a, b, c)] == [np.float32, np.float64, np.float32]
    for p, expected in ((a, 0.5), (b, 0.0), (c, -0.5)):
        close(p, expected, rtol=0)


@pytest.mark.parametrize("kind", [SGD, RMSProp, Adam, AdamW])
def test_parameters_are_checked(kind):
    p = Tensor([1.0], requires_grad=True)
    from minigen import nn

    layer = nn.Dense(1, 1, rng=np.random.default_rng(0))
    for params, error, message in [
        ([], GraphError, "no parameter that requires gradients"),
        ([Tensor([1.0])], GraphError, "no parameter that requires gradients"),
        ([p, p], GraphError, "listed twice"),
        ([p * 2.0], GraphError, "result of an operation"),
        ([np.ones(2)], DTypeError, "item 0 is a ndarray"),
        (p, DTypeError, "got a Tensor: pass model.parameters"),
        (layer, DTypeError, "got a Dense: pass model.parameters"),
        (layer.named_parameters(), DTypeError, "item 0 is a tuple"),
    ]:
        with pytest.raises(error, match=message):
            kind(params, lr=0.1)
    for lr in (0, -1, math.nan):
        with pytest.raises(SettingError, match="learning rate must be above 0"):
            kind([p], lr=lr)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SGD, {"momentum": 1.0}),
        (SGD, {"nesterov": True}),
        (SGD, {"weight_decay": -1}),
        (Adam, {"beta1": 1.0}),
        (Adam, {"beta2": -0.1}),
        (RMSProp, {"alpha": 2}),
    ],
)
def test_settings_are_checked(kind, options):
    with pytest.raises(SettingError):
        kind([Tensor([1.0], requires_grad=True)], lr=0.1, **options)


def test_the_learning_rate_is_assignable():
    p = Tensor([1.0], requires_grad=True)
    opt = SGD([p], lr=1)
    opt.lr = 0
    opt.step([np.ones(1, np.float32)])
    assert p.item() == 1.0
    opt.lr = 0.25
    opt.step([np.ones(1, np.float32)])
    assert p.item() == 0.75
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(SettingError):
            opt.lr = bad
    assert (
        repr(opt) == "SGD(lr=0.25, momentum=0.0, nesterov=False, weight_decay=0.0): 1 parameters in 1 tensors"
    )


def test_gradients_must_fit():
    params = [Tensor([1.0, 2.0], requires_grad=True, name="W"), Tensor([3.0], requires_grad=True)]
    opt = Adam(params)
    with pytest.raises(ShapeError, match="got 1 gradients for 2 parameters"):
        opt.step([np.ones(2)])
    with pytest.raises(ShapeError, match=r"gradient of parameter 0 'W' \(2,\) float32 has shape \(2, 1\)"):
        opt.step([np.ones((2, 1)), np.ones(1)])
    with pytest.raises(NotImplementedError, match="define update"):
        optim.Optimizer(params, lr=1).step([np.ones(2), np.ones(1)])


@each_backend
@pytest.mark.parametrize(("bad", "called"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_gradients_that_are_not_finite_change_nothing(rng, backend, bad, called):
    with using(backend):
        params = [tensor(w, np.float32, requires_grad=True, name=f"p{i}") for i, w in enumerate(draw(rng))]
        opt = Adam(params)
        opt.step([from_host(g) for g in draw(rng, np.float32)])
        before, state = [p.numpy() for p in params], opt.state_dict()
        grads = draw(rng, np.float32)
        grads[2][3] = bad
        with pytest.raises(
            DivergenceError, match=rf"gradient of parameter 2 'p2' \(5,\) float32 is {called}"
        ):
            opt.step([from_host(g) for g in grads])
        for p, w in zip(params, before, strict=True):
            assert (p.numpy() == w).all()
        for name, array in opt.state_dict().items():
            assert (array == state[name]).all(), name


def test_enormous_gradients_are_not_refused():
    p = Tensor(np.zeros(3, np.float32), requires_grad=True)
    SGD([p], lr=1e-38).step([np.full(3, 3e38, np.float32)])
    close(p, -3.0, rtol=1e-5)


def test_a_broadcast_gradient_is_taken():
    p = Tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    SGD([p], lr=1).step([np.broadcast_to(np.float32(2), (2, 3))])
    close(p, np.full((2, 3), -2), rtol=0)
    SGD([p], lr=1).step([np.arange(6, dtype=np.float64).reshape(3, 2).T])
    close(p, -2 - np.arange(6).reshape(3, 2).T, rtol=0)


# Clipping


@each_backend
def test_clipping_by_the_global_norm(rng, backend):
    grads = draw(rng)
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    with using(backend):
        given = [*(from_host(g) for g in grads), None]
        kept = list(given)
        close(optim.clip_grad_norm(given, 2 * norm), norm, rtol=1e-12)
        assert all(a is b for a, b in zip(given, kept, strict=True)), "small enough: left alone"
        close(optim.clip_grad_norm(given, norm / 3), norm, rtol=1e-12)
        assert given[-1] is None
        for g, before in zip(given, grads, strict=False):
            close(g, before / 3, rtol=1e-12)
        close(kept[0], grads[0], rtol=0, what="the arrays themselves are not written to")


def test_clipping_gradients_that_share_memory():
    g = np.array([3.0, 4.0])
    grads = [g, g]
    close(optim.clip_grad_norm(grads, 1.0), np.sqrt(50))
    close(grads[0], g / np.sqrt(50))
    close(grads[1], g / np.sqrt(50))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_norms_of_any_size(size):
    grads = [np.full((3, 3), size, np.float32), np.full(7, -size, np.float32)]
    close(optim.clip_grad_norm(grads, size), 4 * size, rtol=1e-6)
    close(grads[0], size / 4, rtol=1e-6)


def test_norms_of_nothing_and_of_nan():
    assert optim.clip_grad_norm([None, np.zeros((0,)), np.zeros(3)], 1.0) == 0.0
    grads = [np.array([np.nan, 1.0]), np.ones(2)]
    assert math.isnan(optim.clip_grad_norm(grads, 1.0))
    assert (grads[1] == 1).all()
    assert optim.clip_grad_norm([np.array([np.inf, 1.0])], 1.0) == math.inf
    with pytest.raises(SettingError):
        optim.clip_grad_norm(grads, 0.0)


# Schedules


def test_schedules():
    assert [schedules.constant()(t) for t in (0, 10**9)] == [1, 1]
    warm = schedules.linear_warmup(4)
    assert [warm(t) for t in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    half = schedules.cosine(10, final=0.2)
    close(np.array([half(0), half(5), half(10), half(99)]), [1, 0.6, 0.2, 0.2])
    steps = np.array([half(t) for t in range(11)])
    assert (np.diff(steps) < 0).all()
    both = schedules.linear_warmup(2, then=schedules.cosine(10))
    assert [both(1), both(2), both(12)] == [1, 1, 0]
    stairs = schedules.step_decay(3, 0.5)
    assert [stairs(t) for t in (0, 2, 3, 8)] == [1, 1, 0.5, 0.25]
    close(np.array([schedules.exponential(0.9)(t) for t in range(3)]), [1, 0.9, 0.81])


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.cosine(0),
        lambda: schedules.linear_warmup(-1),
        lambda: schedules.step_decay(0),
        lambda: schedules.exponential(0),
    ],
)
def test_schedules_refuse_nonsense(make):
    with pytest.raises(MinigenError, match="must be above 0"):
        make()
