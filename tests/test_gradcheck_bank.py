"""Cases that test gradient checkers: right gradients that look wrong, wrong ones that look right, things to flag.

Each known checker fails some of these kinds (an absolute tolerance passes tiny wrong gradients, a fixed step fails at
1e7, NaN compares false and passes). Functions are plain NumPy with hand-written gradients, so that the engine has no
part in it; test_gradcheck.py has the engine's side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from minigen import gradcheck
from minigen.gradcheck import GradcheckError


@dataclass
class Case:
    """f, its claimed gradient, and a function that draws inputs."""

    name: str
    f: Callable[..., Any]
    grad: Callable[..., Any]
    inputs: Callable[[np.random.Generator], tuple]
    says: str = ""  # a fragment of what must be said


def normal(*shape):
    return lambda rng: (rng.normal(size=shape),)


def sigmoid(x):
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def layer_norm_grad(g, x):
    n, s = layer_norm(x), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (g - g.mean(-1, keepdims=True) - n * (g * n).mean(-1, keepdims=True)) / s


def correlate(x, k):
    """(n,), (m,) -> (n - m + 1,)"""
    return np.correlate(x, k, "valid")


def recurrent(x, h):
    """(T, n), (n,) -> (): h_t = tanh(h_{t-1} + x_t), the sum of all states"""
    total = 0.0
    for t in range(len(x)):
        h = np.tanh(h + x[t])
        total = total + h.sum()
    return total


def recurrent_grad(x, h, first=1.0):
    states = [h]
    for t in range(len(x)):
        states.append(np.tanh(states[-1] + x[t]))
    gx, gh = np.zeros_like(x), np.zeros_like(h)
    for t in reversed(range(len(x))):
        gh = (gh + 1.0) * (1 - states[t + 1] ** 2)
        gx[t] = gh * (first if t == 0 else 1.0)
    return gx, gh


def kernel(x):
    return 1e-9 * np.sin(x).sum()


MIXED = 10.0 ** np.array([-12.0, -8, -4, 0, 4, 8])

RIGHT = [
    Case("polynomial", lambda x: (x**3).sum(), lambda x: 3 * x**2, normal(3, 4)),
    Case("inputs of 1e7, quadratic", lambda x: (x**2).sum(), lambda x: 2 * x, lambda r: (1e7 * r.normal(size=5),)),
    Case("inputs of 1e7, oscillating", lambda x: np.sin(x), lambda g, x: g * np.cos(x),
         lambda r: (1e7 + r.normal(size=5),)),
    Case("gradients of 1e-9", kernel, lambda x: 1e-9 * np.cos(x), normal(4, 3)),
    Case("gradients of 1e-9 on a value of 1", lambda x: 1 + kernel(x), lambda x: 1e-9 * np.cos(x), normal(4)),
    Case("high curvature", lambda x: np.sin(1e4 * x), lambda g, x: g * 1e4 * np.cos(1e4 * x), normal(6)),
    Case("steep exponential", lambda x: np.exp(60 * x).sum(), lambda x: 60 * np.exp(60 * x), normal(4)),
    Case("zero gradient, exact", lambda x: (0 * x).sum() + 1.0, lambda x: 0 * x, normal(3)),
    Case("zero gradient, by rounding", lambda x: softmax(x).sum(),
         lambda x: softmax(x) * (1.0 - softmax(x).sum(-1, keepdims=True)), normal(3, 5)),
    Case("dead relu", lambda x: np.maximum(x, 0), lambda g, x: g * (x > 0), lambda r: (-1 - r.random(5),)),
    Case("big sums that cancel", lambda x: (x + 1e8).sum() - (1e8 * x.size), lambda x: np.ones_like(x), normal(6)),
    Case("big outputs that cancel nothing", lambda x: np.concatenate([x, x + 1e8]), lambda g, x: g[:4] + g[4:],
         normal(4)),
    Case("tiny and huge in one input", lambda x: x**2, lambda g, x: 2 * g * x, lambda r: (MIXED * r.normal(size=6),)),
    Case("tiny and huge in one sum", lambda x: (x**2).sum(), lambda x: 2 * x, lambda r: (MIXED * r.normal(size=6),)),
    Case("logarithm of tiny numbers", lambda x: np.log(x), lambda g, x: g / x,
         lambda r: (10.0 ** r.uniform(-12, 3, 6),)),
    Case("0-d", lambda x: np.tanh(x), lambda x: 1 - np.tanh(x) ** 2, normal()),
    Case("broadcasting", lambda a, b: a * b, lambda g, a, b: ((g * b).sum(1, keepdims=True), (g * a).sum(0)),
         lambda r: (r.normal(size=(3, 1)), r.normal(size=4))),
    Case("layer norm", layer_norm, layer_norm_grad, normal(3, 5)),
    Case("a kink nearby", lambda x: np.abs(x), lambda g, x: g * np.sign(x),
         lambda r: (10.0 ** r.uniform(-9, -3, 8) * r.choice((-1, 1), 8),)),
    Case("many entries", lambda x: np.sin(x), lambda g, x: g * np.cos(x), normal(60, 70)),
    Case("recurrence", recurrent, recurrent_grad, lambda r: (r.normal(size=(5, 3)), r.normal(size=3))),
    Case("smooth, its second derivative infinite", lambda x: np.abs(x) ** 1.5,
         lambda g, x: g * 1.5 * np.sign(x) * np.abs(x) ** 0.5, lambda r: (np.array([0.0, 1e-6, -2.0]),)),
]  # fmt: skip


def one_wrong(x):
    g = 1e3 * np.cos(x)
    g[3, 2] = g[3, 2] + 1e-2 if abs(g[3, 2]) > 1 else 1.0
    return g


def one_wrong_of_many(g, x):
    g = g * np.cos(x)
    g[31, 17] *= 1.01
    return g


def border(g, x):
    """A blur with zero padding whose gradient forgets half of the padding's share."""
    gx = blur_grad(g)
    gx[[0, -1], :] *= 0.5
    gx[1:-1, [0, -1]] *= 0.5
    return gx


def blur(x):
    p = np.pad(x, 1)
    return sum(p[i : i + x.shape[0], j : j + x.shape[1]] for i in range(3) for j in range(3)) * np.sqrt(2.0)


def blur_grad(g):
    return blur(g)


WRONG = [
    Case("factor 1.001", lambda x: np.sin(x).sum(), lambda x: 1.001 * np.cos(x), normal(3, 4), "1.001 times"),
    Case("factor 1.00001", lambda x: np.sin(x).sum(), lambda x: 1.00001 * np.cos(x), normal(3, 4), "1.00001 times"),
    Case("one entry, small beside the others", lambda x: 1e3 * np.sin(x).sum(), one_wrong, normal(5, 4),
         "a single entry"),
    Case("one entry of thousands", lambda x: np.sin(x), one_wrong_of_many, normal(60, 70), "[31, 17]"),
    Case("size 1e-9 and wrong", kernel, lambda x: 1.5e-9 * np.cos(x), normal(4, 3), "1.5 times"),
    Case("size 1e-9, wrong, on a value of 1", lambda x: 1 + kernel(x), lambda x: 2e-9 * np.cos(x), normal(4),
         "2 times"),
    Case("size 1e-9 and zero", kernel, lambda x: 0 * x, normal(4, 3), "zero everywhere"),
    Case("a number that would broadcast", lambda x: (x**2).sum(), lambda x: (2 * x).sum(), normal(3, 4),
         "summed over axis 0 and 1"),
    Case("a number filled into the right shape", lambda x: (x**2).sum(),
         lambda x: np.full(x.shape, (2 * x).mean()), normal(3, 4)),
    Case("transposed", lambda x, a: (a * x).sum(), lambda x, a: (a.T, x),
         lambda r: (r.normal(size=(4, 4)), r.normal(size=(4, 4))), "transposed"),
    Case("sign", lambda x: np.cos(x).sum(), lambda x: np.sin(x), normal(5), "sign is wrong"),
    Case("only the border", blur, border, normal(6, 7), "padding"),
    Case("only time step 0", recurrent, lambda x, h: recurrent_grad(x, h, 0.0),
         lambda r: (r.normal(size=(5, 3)), r.normal(size=3)), "time step 0"),
    Case("inputs of 1e7", lambda x: (x**2).sum(), lambda x: 2 * x * 1.0001, lambda r: (1e7 * r.normal(size=5),),
         "1.0001 times"),
    Case("mean for sum", lambda x: (x**2).sum(), lambda x: 2 * x / len(x), normal(7, 4), "7 is the length of axis 0"),
    Case("sum for mean", lambda x: (x**2).mean(), lambda x: 2 * x, normal(7, 4), "the number of entries"),
    Case("broadcast axis not summed", lambda a, b: a * b, lambda g, a, b: (g * b, g * a),
         lambda r: (r.normal(size=(3, 4)), r.normal(size=4)), "summed over axis 0 it is right"),
    Case("flipped kernel", correlate, lambda g, x, k: (np.convolve(g, k), np.correlate(x, g, "valid")[::-1]),
         lambda r: (r.normal(size=9), r.normal(size=3)), "reverse order"),
    Case("upstream forgotten", lambda x: np.sin(x), lambda g, x: np.cos(x), normal(3, 4), "upstream"),
    Case("half of a leaky relu", lambda x: np.where(x > 0, x, 0.1 * x), lambda g, x: g * (x > 0), normal(40),
         "negative"),
    Case("arguments exchanged", lambda a, b: (a * np.exp(b)).sum(), lambda a, b: (a * np.exp(b), np.exp(b)),
         lambda r: (r.normal(size=4), r.normal(size=4)), "wrong order"),
]  # fmt: skip

stream = np.random.default_rng(0)


class Counter:
    """State kept between calls."""

    def __init__(self):
        self.n = 0

    def __call__(self, x):
        self.n += 1
        return (x**2).sum() * (1 + self.n % 2)


class LateCounter(Counter):
    def __call__(self, x):
        self.n += 1
        return (x**2).sum() + (self.n > 6)


def mutating(x):
    x *= 2
    return x.sum()


def mutating_grad(x):
    x *= 2
    return x


def consuming_upstream(g, x):
    g *= 2 * x
    return g


def infinite_grad(x):
    with np.errstate(all="ignore"):
        return 1 / x - 1 / x + 1 / (x * 0)


FLAGGED = [
    Case("kink at 0", lambda x: np.abs(x), lambda g, x: g * np.sign(x), lambda r: (np.zeros(3),), "kink"),
    Case("kink in a maximum", lambda x: np.maximum(x, 1.0), lambda g, x: g * (0.5 * (x > 1) + 0.5 * (x >= 1)),
         lambda r: (np.ones(2),), "kink"),
    Case("jump", lambda x: np.sign(x) + x, lambda g, x: g, lambda r: (np.zeros(2),), "skipped"),
    Case("NaN value", lambda x: np.log(x), lambda g, x: g / x, lambda r: (-1 - r.random(3),), "NaN"),
    Case("NaN gradient", lambda x: (x**2).sum(), lambda x: x * np.nan, normal(3), "NaN"),
    Case("one NaN in the gradient", lambda x: (x**2).sum(),
         lambda x: np.where(np.arange(x.size) == 4, np.nan, 2 * x), normal(9), "NaN, first at [4]"),
    Case("infinite value", lambda x: 1 / (x * 0.0), lambda g, x: g, normal(3), "infinity"),
    Case("infinite gradient", lambda x: (x**2).sum(), infinite_grad, normal(3), "infinity"),
    Case("infinite slope at the edge", lambda x: np.sqrt(x), lambda g, x: g * 0.0, lambda r: (np.zeros(3),),
         "not finite"),
    Case("NaN input", lambda x: np.nansum(x), lambda x: 1.0 + 0 * x, lambda r: (np.array([1.0, np.nan]),),
         "before anything"),
    Case("wrong shape", lambda x: (x**2).sum(), lambda x: (2 * x).T, normal(3, 4), "transpose"),
    Case("wrong number of gradients", lambda a, b: (a * b).sum(), lambda a, b: b,
         lambda r: (r.normal(size=3), r.normal(size=3)), "returned 1 array, expected 2"),
    Case("wrong dtype", lambda x: (x**2).sum(), lambda x: (2 * x).astype(np.float32), normal(3), "float32"),
    Case("value in float32", lambda x: (x.astype(np.float32) ** 2).sum(), lambda x: 2 * x, normal(3), "float32"),
    Case("integer gradient", lambda x: x.sum(), lambda x: np.ones(x.shape, int), normal(3), "int64"),
    Case("random inside f", lambda x: (x * stream.random(3)).sum(), lambda x: 0 * x + 0.5, normal(3),
         "not deterministic"),
    Case("random gradient", lambda x: x.sum(), lambda x: stream.random(3), normal(3), "not the same twice"),
    Case("f changes its input", mutating, lambda x: 0 * x + 2.0, normal(3), "in place"),
    Case("gradient changes its input", lambda x: (x**2).sum(), mutating_grad, normal(3), "in place"),
    Case("gradient changes the upstream", lambda x: x**2, consuming_upstream, normal(3), "in place"),
    Case("state kept between calls", Counter(), lambda x: 2 * x, normal(3), "not deterministic"),
    Case("state that shows late", LateCounter(), lambda x: 2 * x, normal(3), "state"),
    Case("empty input", lambda x: x.sum(), lambda x: 0 * x, lambda r: (np.zeros((0, 3)),), "empty"),
    Case("integers only", lambda x: x.sum(), lambda x: 0 * x, lambda r: (np.arange(3),), "only floats have gradients"),
    Case("returns nothing", lambda x: None, lambda x: 0 * x, normal(3), "returned nothing"),
    Case("returns integers", lambda x: x.argmax(), lambda x: 0 * x, normal(3), "integers have no gradient"),
]  # fmt: skip


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "_") for case in cases])


@named(RIGHT)
def test_right_gradients_are_accepted(case, rng):
    for _ in range(3):
        report = gradcheck(case.f, *case.inputs(rng), grad=case.grad, rng=int(rng.integers(2**31)))
        assert report.ok
        assert report.compared > 0


@named(WRONG)
def test_wrong_gradients_are_rejected_with_their_cause(case, rng):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(case.f, *case.inputs(rng), grad=case.grad, rng=int(rng.integers(2**31)))
    assert case.says in str(caught.value), str(caught.value)


@named(FLAGGED)
def test_what_cannot_be_judged_is_flagged_by_name(case, rng):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(case.f, *case.inputs(rng), grad=case.grad, rng=int(rng.integers(2**31)))
    assert not caught.value.report.ok
    assert case.says in str(caught.value), str(caught.value)
