"""Every op of minigen, described once for all its tests: one row, and test_ops derives the rest.

A row says what goes in (shapes and domains, away from kinks and poles), the keywords, and an oracle: what must come
out, said another way than in minigen, on float64 NumPy arrays. From it follow the tests of values, gradients of both
orders, dtypes, layouts, empty inputs, backends and error messages. A new op costs one row; an op without one fails.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import conv_loops as loops
import lstm_steps
import numpy as np
import pixel_lstm_steps


@dataclass(frozen=True)
class Input:
    """One operand: its shape, and how to draw it."""

    shape: tuple[int, ...]
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    differentiable: bool = True

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(self.draw(rng, self.shape))

    def of_shape(self, *shape: int) -> "Input":
        return Input(shape, self.draw, self.differentiable)


def real(*shape):
    """Any number, but none within 0.1 of 0, where absolute values and rectifiers have their kink."""
    return Input(shape, lambda rng, s: rng.uniform(0.1, 2.0, s) * rng.choice([-1, 1], s))


def positive(*shape):
    return Input(shape, lambda rng, s: rng.uniform(0.3, 2.5, s))


def distinct(*shape):
    """No two values within 0.2 of each other, none within 0.1 of 0."""

    def draw(rng, s):
        n = math.prod(s)
        values = (np.arange(n) - n // 2 + 0.5) * 0.25 + rng.uniform(-0.02, 0.02, n)
        return np.asarray(rng.permutation(values).reshape(s))

    return Input(shape, draw)


def between(*shape):
    """Like `distinct`, but each value half-way between two of its values."""
    return Input(shape, lambda rng, s: distinct().draw(rng, s) + 0.125)


def chance(*shape):
    """Numbers in (0, 1)."""
    return Input(shape, lambda rng, s: rng.uniform(0.05, 0.95, s))


def mask(*shape):
    return Input(shape, lambda rng, s: np.asarray(rng.random(s) < 0.5), differentiable=False)


@dataclass(frozen=True)
class Sample:
    """A row. `kind` names the family whose extra tests it takes: "unary", "binary" (elementwise) or "".

    empty: shapes of inputs without elements that must work; None: an empty input must be refused.
    misfits: (shapes, keywords) that must be refused in minigen's own words.
    """

    name: str
    inputs: tuple[Input, ...]
    oracle: Callable[..., Any]
    kwargs: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    empty: tuple | None = ()
    misfits: tuple = ()

    def __str__(self) -> str:
        what = [
            f"{k}={np.asarray(v).tolist() if isinstance(v, np.ndarray) else v}"
            for k, v in self.kwargs.items()
        ]
        return ",".join([self.name, *("x".join(map(str, i.shape)) or "0d" for i in self.inputs), *what])

    def draw(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [x(rng) for x in self.inputs]


def each(f: Callable[..., float]) -> Callable[..., np.ndarray]:
    """A function of Python floats, applied element by element, operands broadcast."""

    def oracle(*arrays, **kwargs):
        arrays = np.broadcast_arrays(*arrays)
        y = [
            f(*(float(v) for v in values), **kwargs) for values in zip(*(a.flat for a in arrays), strict=True)
        ]
        return np.array(y, dtype=np.float64).reshape(arrays[0].shape)

    return oracle


def along(f: Callable[[list[float]], float]) -> Callable[..., np.ndarray]:
    """A function of a list of floats, as a reduction with `axis` and `keepdims`."""

    def oracle(x, axis=None, keepdims=False, **kwargs):
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % max(x.ndim, 1)
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        groups: dict[tuple, list[float]] = {place: [] for place in np.ndindex(*kept)}
        for place in np.ndindex(*x.shape):
            groups[tuple(0 if i in axes else p for i, p in enumerate(place))].append(float(x[place]))
        y = np.empty(kept)
        for place, values in groups.items():
            y[place] = f(values, **kwargs)
        return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axes])

    return oracle


def rows_of(f: Callable[[list[float]], list[float]]) -> Callable[..., np.ndarray]:
    """A function from a list of floats to one of the same length, along `axis`."""

    def oracle(x, axis=-1):
        return np.apply_along_axis(lambda v: np.array(f([float(a) for a in v])), axis, x) if x.size else x

    return oracle


def placed(x, *, index, shape):
    """The transpose of indexing, said place by place."""
    y = np.zeros(shape)
    places = np.arange(math.prod(shape)).reshape(shape)[index]
    for place, value in zip(np.ravel(places), np.ravel(x), strict=True):
        y.flat[place] += value
    return y


def product(a, b):
    """Matrices multiplied by the book, one sum at a time."""
    left, right = np.atleast_2d(a), b if b.ndim > 1 else b[:, None]
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    y = np.zeros((*batch, left.shape[-2], right.shape[-1]))
    for *place, i, j in np.ndindex(*y.shape):
        y[(*place, i, j)] = math.fsum(
            left[(*place, i, k)] * right[(*place, k, j)] for k in range(left.shape[-1])
        )
    y = y[..., 0] if b.ndim == 1 else y
    return (y[..., 0, :] if b.ndim > 1 else y[..., 0]) if a.ndim == 1 else y


def variance(values, ddof=0):
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - ddof)


def log_sum(values):
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def softmaxed(values):
    return [math.exp(v - log_sum(values)) for v in values]


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def normalised(over_batch):
    """Rows of numbers to mean 0 and variance 1, then gamma and beta: one row for each channel, or for each example."""

    def oracle(x, gamma, beta, *, eps=1e-5):
        y = np.empty(x.shape)
        for i in range(x.shape[1] if over_batch else len(x)):
            place = (slice(None), i) if over_batch else (i,)
            values = [float(v) for v in x[place].flat]
            scale = (variance(values) + eps) ** -0.5
            scaled = np.array([(v - math.fsum(values) / len(values)) * scale for v in values]).reshape(
                x[place].shape
            )
            y[place] = scaled * gamma[i] + beta[i] if over_batch else scaled * gamma + beta
        return y

    return oracle


def crossed(logits, *, labels):
    return np.array([log_sum(list(row)) - row[k] for row, k in zip(logits, labels, strict=True)])


def running(values):
    return [math.fsum(values[: i + 1]) for i in range(len(values))]


def bordered(x, *, width):
    y = np.zeros([n + before + after for n, (before, after) in zip(x.shape, width, strict=True)])
    for place in np.ndindex(*x.shape):
        y[tuple(p + before for p, (before, _) in zip(place, width, strict=True))] = x[place]
    return y


def reversed_(x, *, axis=None):
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
    y = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        y[tuple(x.shape[i] - 1 - p if i in axes else p for i, p in enumerate(place))] = x[place]
    return y


def reordered(x, order):
    """The axes of x in another order, place by place."""
    y = np.empty([x.shape[i] for i in order])
    for place in np.ndindex(*x.shape):
        y[tuple(place[i] for i in order)] = x[place]
    return y


def refilled(x, shape):
    return np.array(list(x.flat)).reshape(shape)


def summed_to(x, *, shape):
    y = np.zeros(shape)
    for place in np.ndindex(*x.shape):
        inner = place[x.ndim - len(shape) :]
        y[tuple(0 if n == 1 else p for p, n in zip(inner, shape, strict=True))] += x[place]
    return y


def spread(x, *, shape):
    return np.zeros(shape) + x


def joined(*xs, axis=0):
    """Slices along `axis`, one after the other."""
    return np.moveaxis(np.array([v for x in xs for v in np.moveaxis(x, axis, 0)]), 0, axis)


def piled(*xs, axis=0):
    return np.moveaxis(np.array(list(xs)), 0, axis)


def unary(name, f, domain=real, **kwargs):
    return Sample(name, (domain(2, 3),), each(f), kwargs, "unary", empty=((0, 3),))


def binary(name, f, left=real, right=real):
    empty, misfits = (((0, 3), (0, 3)), ((0, 3), (3,))), (([(2, 3), (4,)], {}),)
    return Sample(name, (left(2, 3), right(2, 3)), each(f), {}, "binary", empty, misfits)


def reduction(name, f, domain=real, *, of_nothing=False, **common):
    """The keywords every reduction takes. of_nothing: it has a value for no elements."""
    oracle = along(f)
    bad = (
        ([(2, 3)], {"axis": 2}),
        ([()], {"axis": 0}),
        ([(2, 3)], {"axis": (0, 5)}),
        ([(2, 3)], {"axis": (0, 0)}),
    )
    for shape, kwargs in [
        ((2, 3), {}),
        ((2, 3, 2), {"axis": 1}),
        ((2, 3, 2), {"axis": (0, -1), "keepdims": True}),
        ((3, 1), {"axis": -1, "keepdims": True}),
        ((), {}),
    ]:
        empty = ((0, *shape[1:]), (*shape[:-1], 0)) if of_nothing else None
        yield Sample(name, (domain(*shape),), oracle, {**common, **kwargs}, "", empty if shape else (), bad)


AXES = (([(2, 3)], {"axis": 2}), ([(2, 3)], {"axis": -3}))

SAMPLES: list[Sample] = [
    # Elementwise
    binary("add", lambda a, b: a + b),
    binary("sub", lambda a, b: a - b),
    binary("mul", lambda a, b: a * b),
    binary("div", lambda a, b: a / b),
    binary("power", lambda a, b: math.exp(b * math.log(a)), left=positive),
    binary("maximum", max, left=distinct, right=between),
    binary("minimum", min, left=distinct, right=between),
    unary("neg", lambda x: 0.0 - x),
    unary("exp", math.exp),
    unary("expm1", math.expm1),
    unary("log", math.log, positive),
    unary("log1p", math.log1p, positive),
    unary("sqrt", lambda x: x**0.5, positive),
    unary("square", lambda x: x**2),
    unary("abs", lambda x: math.hypot(x, 0.0)),
    unary("sign", lambda x: math.copysign(1.0, x)),
    unary("sin", math.sin),
    unary("cos", math.cos),
    unary("tanh", lambda x: 1 - 2 / (math.exp(2 * x) + 1)),
    unary("sigmoid", sigmoid),
    unary("softplus", lambda x: math.log(1 + math.exp(x))),
    unary("relu", lambda x: x if x > 0 else 0.0),
    unary("leaky_relu", lambda x, slope=0.01: x if x > 0 else slope * x),
    unary("leaky_relu", lambda x, slope: x if x > 0 else slope * x, slope=0.2),
    unary("elu", lambda x, alpha=1.0: x if x > 0 else alpha * (math.exp(x) - 1)),
    unary("elu", lambda x, alpha: x if x > 0 else alpha * (math.exp(x) - 1), alpha=0.7),
    unary("clip", lambda x, low, high: min(max(x, low), high), low=-0.05, high=0.05),
    unary("clip", lambda x, low: max(x, low), low=-0.05),
    unary("clip", lambda x, high: min(x, high), high=0.05),
    Sample("where", (mask(2, 3), real(2, 3), real(3)), each(lambda c, a, b: a if c else b),
           empty=(((0, 3), (0, 3), (3,)),), misfits=(([(2, 3), (4,), (2, 3)], {}), ([(3, 2), (2, 3), (3,)], {}))),
    Sample("astype", (real(2, 3),), lambda x, dtype: x, {"dtype": "float64"}, empty=((0, 3),)),
    # Shape
    Sample("reshape", (real(2, 6),), lambda x, shape: refilled(x, (3, 4)), {"shape": (3, -1)}, empty=None,
           misfits=(([(2, 6)], {"shape": (5, -1)}), ([(2, 6)], {"shape": (2, 5)}), ([(2, 6)], {"shape": (-1, -1)}))),
    Sample("reshape", (real(),), lambda x, shape: refilled(x, (1, 1)), {"shape": (1, 1)}),
    Sample("transpose", (real(2, 3, 4),), lambda x: reordered(x, (2, 1, 0)), empty=((2, 0, 4),)),
    Sample("transpose", (real(2, 3, 4),), lambda x, axes: reordered(x, (1, 2, 0)), {"axes": (1, -1, 0)},
           empty=((2, 0, 4),), misfits=(([(2, 3)], {"axes": (0, 1, 2)}), ([(2, 3)], {"axes": (0, 0)}))),
    Sample("swapaxes", (real(2, 3, 4),), lambda x, a, b: reordered(x, (2, 1, 0)), {"a": 0, "b": -1}, empty=((2, 0, 4),),
           misfits=(([(2, 3)], {"a": 0, "b": 2}),)),
    Sample("mT", (real(2, 3, 4),), lambda x: reordered(x, (0, 2, 1)), empty=((2, 0, 4),), misfits=(([(3,)], {}),)),
    Sample("moveaxis", (real(2, 3, 4),), lambda x, source, destination: reordered(x, (1, 2, 0)),
           {"source": 0, "destination": -1}, empty=((2, 0, 4),),
           misfits=(([(2, 3)], {"source": 2, "destination": 0}),)),
    Sample("expand_dims", (real(2, 3),), lambda x, axis: refilled(x, (2, 1, 3)), {"axis": 1}, empty=((2, 0),),
           misfits=(([(2, 3)], {"axis": 4}),)),
    Sample("squeeze", (real(1, 2, 1),), lambda x: refilled(x, (2,)), empty=((1, 0, 1),)),
    Sample("squeeze", (real(1, 2, 1),), lambda x, axis: refilled(x, (1, 2)), {"axis": -1}, empty=((1, 0, 1),),
           misfits=(([(1, 2)], {"axis": 1}), ([(1, 2)], {"axis": 2}))),
    Sample("flip", (real(2, 3),), reversed_, empty=((0, 3),)),
    Sample("flip", (real(2, 3, 2),), reversed_, {"axis": (0, -1)}, empty=((0, 3, 2),), misfits=AXES),
    Sample("pad", (real(2, 3),), bordered, {"width": ((1, 0), (2, 1))}, empty=((0, 3),),
           misfits=(([(2, 3)], {"width": ((1, 1),)}), ([(2, 3)], {"width": ((1, 1), (-1, 0))}))),
    Sample("concatenate", (real(2, 3), real(2, 1), real(2, 2)), joined, {"axis": -1}, empty=(((2, 0), (2, 0), (2, 3)),),
           misfits=(([(2, 3), (3, 3)], {"axis": 1}), ([(2, 3), (2,)], {}), ([(2, 3), (2, 3)], {"axis": 2}))),
    Sample("concatenate", (real(2, 3), real(1, 3)), joined, empty=(((0, 3), (1, 3)),)),
    Sample("stack", (real(2, 3), real(2, 3)), piled, {"axis": 1}, empty=(((0, 3), (0, 3)),),
           misfits=(([(2, 3), (3, 2)], {}), ([(2, 3), (2, 3)], {"axis": 3}))),
    Sample("broadcast_to", (real(2, 1),), spread, {"shape": (4, 2, 3)}, empty=None,
           misfits=(([(2, 3)], {"shape": (3, 2)}), ([(2, 3)], {"shape": (3,)}))),
    Sample("broadcast_to", (real(),), spread, {"shape": (2,)}),
    Sample("sum_to", (real(4, 2, 3),), summed_to, {"shape": (2, 1)}, empty=((4, 2, 0), (0, 2, 3)),
           misfits=(([(2, 3)], {"shape": (4, 2, 3)}), ([(2, 3)], {"shape": (2, 2)}))),
    Sample("sum_to", (real(4, 2),), summed_to, {"shape": ()}, empty=((0, 2),)),
    # Indexing: NumPy's x[index] is the definition
    *(
        row
        for shape, index, empty, bad in [
            ((4,), 2, None, 4),
            ((4, 3), -1, None, -5),
            ((4, 3), (slice(None, None, -2), 1), ((0, 3),), (slice(None), 3)),
            ((4, 3), (Ellipsis, None, 0), ((0, 3),), (Ellipsis, 0, 0, 0)),
            ((4, 3), np.array([2, 0, 2, -1]), None, np.array([0, 4])),
            ((4, 3), (slice(1, 3), np.array([[0, 2], [0, 0]])), ((0, 3),), (Ellipsis, np.array([-4]))),
            ((2, 4, 3), (np.array([0, 1, 0]), slice(None), np.array([2, 2, 2])), None, (0, np.array([0, 4]))),
            ((4, 3), np.arange(12).reshape(4, 3) % 5 == 1, None, np.ones((3, 3), bool)),
            ((4, 3), (np.array([1, 0, 1, 1]) > 0, np.array([0, 0, 2])), None, (np.zeros(2, int), np.zeros(3, int))),
            ((), None, None, 0),
        ]
        for row in (
            Sample("take", (real(*shape),), lambda x, index: x[index], {"index": index}, empty=empty or (),
                   misfits=(([shape], {"index": bad}), ([shape], {"index": 0.5}))),
            Sample("put", (real(*np.zeros(shape)[index].shape),), placed, {"index": index, "shape": shape},
                   misfits=(([(7, 7, 7)], {"index": index, "shape": shape}),)),
        )
    ),
    # Reductions
    *reduction("sum", math.fsum, of_nothing=True),
    *reduction("mean", lambda v: math.fsum(v) / len(v)),
    *(row for row in reduction("var", variance) if row.inputs[0].shape not in [(), (3, 1)]),
    *(row for row in reduction("var", variance, ddof=1) if row.inputs[0].shape not in [(), (3, 1)]),
    *(row for row in reduction("std", lambda v: variance(v) ** 0.5) if row.inputs[0].shape not in [(), (3, 1)]),
    *reduction("max", max, distinct),
    *reduction("min", min, distinct),
    *reduction("prod", lambda v: math.prod(v), of_nothing=True),
    *reduction("logsumexp", log_sum),
    *reduction("safe_norm", lambda v: math.dist(v, [0.0] * len(v)), of_nothing=True),
    Sample("cumsum", (real(2, 4),), rows_of(running), {"axis": 1}, empty=((2, 0),), misfits=AXES),
    Sample("cumsum", (real(3, 2),), rows_of(running), {"axis": -2}, empty=((3, 0),)),
    *(
        Sample(name, (real(3, 4),), rows_of(f), kwargs, empty=(empty,), misfits=(*AXES, ([empty[::-1]], kwargs)))
        for name, f in [("softmax", softmaxed), ("log_softmax", lambda v: [a - log_sum(v) for a in v])]
        for kwargs, empty in [({}, (0, 4)), ({"axis": 0}, (4, 0))]
    ),
    # Products
    *(
        Sample("matmul", (real(*a), real(*b)), product, empty=empty,
               misfits=(([(2, 3), (2, 3)], {}), ([(2, 3), (4,)], {}), ([(), (3,)], {}), ([(2, 2, 3), (3, 3, 4)], {})))
        for a, b, empty in [
            ((2, 3), (3, 4), (((0, 3), (3, 4)), ((2, 0), (0, 4)))),
            ((3,), (3,), (((0,), (0,)),)),
            ((3,), (3, 4), (((0,), (0, 4)),)),
            ((2, 3), (3,), (((0, 3), (3,)),)),
            ((3,), (2, 3, 4), ()),
            ((2, 4, 3), (3,), ()),
            ((2, 1, 2, 3), (4, 3, 2), (((0, 1, 2, 3), (4, 3, 2)),)),
            ((2, 3), (4, 3, 2), ()),
        ]
    ),
    *(
        Sample("linear", (real(*x), real(4, 2), real(2)), lambda x, W, b: product(x, W) + b, empty=empty,
               misfits=(([(2, 3), (4, 2), (2,)], {}), ([(2, 4), (4, 2), (3,)], {}), ([(2, 4), (4, 2), (1,)], {}),
                        ([(2, 4), (4, 2), (2, 2)], {}), ([(2, 4), (4,), (2,)], {}), ([(3, 2, 2), (4, 2), (2,)], {})))
        for x, empty in [((3, 4), (((0, 4), (4, 2), (2,)),)), ((4,), ()), ((2, 3, 4), ())]
    ),
    # Normalisations
    *(
        Sample("batch_norm", (real(*x), positive(x[1]), real(x[1])), normalised(True), kwargs, empty=(),
               misfits=(([(1, 3), (3,), (3,)], {}), ([(4,), (4,), (4,)], {}), ([(4, 3), (4,), (3,)], {}),
                        ([(4, 3), (3,), (1,)], {}), ([(2, 5, 5, 3), (3,), (3,)], {}), ([(0, 3), (3,), (3,)], {})))
        for x, kwargs in [((4, 3), {}), ((2, 3, 2, 2), {"eps": 0.1}), ((3, 2, 2), {})]
    ),
    *(
        Sample("layer_norm", (real(*x), positive(*k), real(*k)), normalised(False), kwargs,
               empty=(((0, *x[1:]), k, k),),
               misfits=(([(2, 4), (3,), (3,)], {}), ([(2, 4), (4,), (1,)], {}), ([(2, 4), (), ()], {})))
        for x, k, kwargs in [((3, 4), (4,), {}), ((2, 2, 3), (2, 3), {"eps": 0.1})]
    ),
    # Convolution and pooling
    *(
        Sample("conv2d", (real(*x), real(*w), *([real(w[0])] if bias else [])), loops.conv2d, kwargs, empty=empty,
               misfits=(([x, (4, 7, *w[2:])], {}), ([x, w, (w[0] + 1,)], {}), ([x[1:], w], {}),
                        ([x, (*w[:2], 30, 1)], {"taps": None}), ([x, w], {"stride": 0}), ([x, w], {"padding": -1}),
                        ([x, w], {"taps": ((True,),) * (w[2] + 1)})))
        for x, w, bias, kwargs, empty in [
            ((2, 2, 4, 3), (3, 2, 2, 3), True, {}, ()),
            ((2, 1, 5, 4), (2, 1, 3, 3), True, {"stride": 2, "padding": 1}, (((0, 1, 5, 4), (2, 1, 3, 3), (2,)),)),
            ((1, 2, 6, 4), (2, 2, 3, 2), False, {"stride": (1, 3), "dilation": (2, 1), "padding": (3, 1)}, ()),
            ((2, 5, 2, 3), (2, 5, 1, 1), False, {}, (((0, 5, 2, 3), (2, 5, 1, 1)),)),
            ((1, 2, 3, 3), (1, 2, 3, 2), False, {"padding": 1, "taps": ((True, True), (True, False), (False, False))},
             ()),
        ]
    ),
    *(
        Sample("conv_transpose2d", (real(*x), real(*w), *([real(w[1])] if bias else [])), loops.conv_transpose2d,
               kwargs, empty=empty,
               misfits=(([x, (7, *w[1:])], {}), ([x, w, (w[1] + 1,)], {}), ([x, w], {"output_padding": 3}),
                        ([x, w], {"padding": 30}), ([x, w[1:]], {"taps": None})))
        for x, w, bias, kwargs, empty in [
            ((2, 2, 2, 3), (2, 3, 2, 2), True, {}, (((0, 2, 2, 3), (2, 3, 2, 2), (3,)),)),
            ((1, 3, 2, 2), (3, 2, 4, 4), True, {"stride": 2, "padding": 1}, ()),
            ((2, 2, 2, 2), (2, 1, 2, 3), False, {"stride": (3, 2), "output_padding": (1, 0), "dilation": (1, 2)}, ()),
        ]
    ),
    *(
        Sample("conv2d_weight", (real(2, 2, 5, 4), real(2, 3, *g)), loops.conv2d_weight, {"kernel": (3, 2), **kwargs},
               empty=(((0, 2, 5, 4), (0, 3, *g)),),
               misfits=(([(2, 2, 5, 4), (1, 3, *g)], {}), ([(2, 2, 5, 4), (2, 3, 9, 9)], {})))
        for g, kwargs in [((3, 3), {}), ((2, 3), {"stride": 2, "padding": (0, 1)})]
    ),
    *(
        Sample("unfold", (real(2, 2, 3, 4),), loops.unfold, {"kernel": 2, **kwargs}, empty=((0, 2, 3, 4),),
               misfits=(([(2, 3, 4)], {}), ([(2, 2, 3, 4)], {"kernel": 9})))
        for kwargs in [{}, {"stride": (2, 1), "padding": 1}]
    ),
    Sample("fold", (real(2, 8, 4),), loops.fold, {"size": (3, 4), "kernel": 2, "stride": (1, 2)}, empty=((0, 8, 4),),
           misfits=(([(2, 7, 4)], {}), ([(2, 8, 5)], {}), ([(2, 8)], {}))),
    *(
        Sample(name, (distinct(2, 2, 5, 4),), loops.pool(choose, fill), {"kernel": 2, **kwargs},
               empty=((0, 2, 5, 4),), misfits=(([(2, 5, 4)], {}), ([(2, 2, 5, 4)], {"kernel": 9}),
                                               ([(2, 2, 5, 4)], {"padding": 2})))
        for name, choose, fill in [("max_pool2d", np.max, -math.inf), ("avg_pool2d", np.mean, 0.0)]
        for kwargs in [{}, {"kernel": (3, 2), "stride": 1, "padding": (1, 0)}]
    ),
    # Recurrence
    *(
        Sample("lstm", (chance(3, 2, 2), real(2, 3), real(2, 3), chance(2, 12), chance(3, 12), real(12)),
               lstm_steps.forward, empty=(((0, 2, 2), *rest(2)), ((3, 0, 2), *rest(0))),
               misfits=(([(3, 2, 2), *rest(3)], {}), ([(3, 2), *rest(2)], {}), ([(3, 2, 3), *rest(2)], {})))
        for rest in [lambda n: ((n, 3), (n, 3), (2, 12), (3, 12), (12,))]
    ),
    Sample("row_lstm", (chance(2, 2, 2, 3), real(2), real(2), chance(8, 2, 1, 3), chance(8, 2, 1, 1), real(8)),
           pixel_lstm_steps.row_lstm, empty=(((0, 2, 2, 3), (2,), (2,), (8, 2, 1, 3), (8, 2, 1, 1), (8,)),),
           misfits=(([(2, 2, 3), (2,), (2,), (8, 2, 1, 3), (8, 2, 1, 1), (8,)], {}),
                    ([(2, 2, 2, 3), (2,), (2,), (8, 2, 3, 3), (8, 2, 1, 1), (8,)], {}))),
    Sample("diagonal_bilstm", (chance(2, 2, 2, 3), real(2, 1), real(2, 1), chance(2, 4, 2, 1, 1), chance(2, 4, 1, 2, 1),
                               real(2, 4)),
           pixel_lstm_steps.diagonal_bilstm,
           empty=(((0, 2, 2, 3), (2, 1), (2, 1), (2, 4, 2, 1, 1), (2, 4, 1, 2, 1), (2, 4)),),
           misfits=(([(2, 2, 2, 3), (2, 1), (1, 1), (2, 4, 2, 1, 1), (2, 4, 1, 2, 1), (2, 4)], {}),)),
    # Losses
    Sample("bce_with_logits", (real(3, 2), chance(3, 2)),
           each(lambda l, t: -t * math.log(sigmoid(l)) - (1 - t) * math.log(1 - sigmoid(l))),
           empty=(((0, 2), (0, 2)),), misfits=(([(3,), (3, 1)], {}), ([(3, 2), (2,)], {}))),
    Sample("squared_error", (real(3, 2), real(3, 2)), each(lambda x, t: x * x - 2 * x * t + t * t),
           empty=(((0, 2), (0, 2)),), misfits=(([(3,), (3, 1)], {}), ([(3, 2), (2,)], {}))),
    Sample("cross_entropy", (real(3, 4),), crossed, {"labels": np.array([1, 3, 1])},
           misfits=(([(3, 4)], {"labels": np.array([1, 4, 0])}), ([(3, 4)], {"labels": np.array([1, -1, 0])}),
                    ([(3, 4)], {"labels": np.array([1, 0])}), ([(3, 4)], {"labels": np.array([1.0, 0.0, 2.0])}),
                    ([(3,)], {"labels": np.array([1, 0, 0])}), ([(3, 4)], {"labels": np.eye(4, dtype=int)[:3]}))),
    Sample("cross_entropy", (real(0, 4),), crossed, {"labels": np.array([], int)}),
]  # fmt: skip


@dataclass(frozen=True)
class Extreme:
    """A row for inputs at the edge: value and gradient (upstream ones), element by element."""

    name: str
    inputs: tuple
    value: list
    gradient: list  # with respect to the first input
    kwargs: dict[str, Any] = field(default_factory=dict)


inf = math.inf
EXTREMES = [
    Extreme("abs", ([0.0],), [0.0], [0.0]),
    Extreme("relu", ([0.0, -1e30, 1e30],), [0.0, 0.0, 1e30], [0.0, 0.0, 1.0]),
    Extreme("leaky_relu", ([0.0],), [0.0], [0.01]),
    Extreme("elu", ([0.0, -1e4, 1e4],), [0.0, -1.0, 1e4], [1.0, 0.0, 1.0]),
    Extreme("sign", ([0.0],), [0.0], [0.0]),
    Extreme("sqrt", ([0.0, 1e30],), [0.0, 1e15], [inf, 5e-16]),
    Extreme("safe_norm", ([0.0, 0.0],), 0.0, [0.0, 0.0]),
    Extreme("power", ([0.0, 0.0], 2.0), [0.0, 0.0], [0.0, 0.0]),
    Extreme("power", ([0.0, 2.0], 1.0), [0.0, 2.0], [1.0, 1.0]),
    Extreme("power", ([0.0, 2.0], 0.0), [1.0, 1.0], [0.0, 0.0]),
    Extreme("power", ([-2.0, -3.0], 2.0), [4.0, 9.0], [-4.0, -6.0]),
    Extreme("power", ([-2.0, -3.0], 3), [-8.0, -27.0], [12.0, 27.0]),
    Extreme("maximum", ([1.0, 2.0], [1.0, 3.0]), [1.0, 3.0], [0.5, 0.0]),
    Extreme("minimum", ([1.0, 2.0], [1.0, 3.0]), [1.0, 2.0], [0.5, 1.0]),
    Extreme("max", ([1.0, 3.0, 3.0],), 3.0, [0.0, 0.5, 0.5]),
    Extreme("min", ([1.0, 1.0, 3.0],), 1.0, [0.5, 0.5, 0.0]),
    Extreme("clip", ([-2.0, 0.5, 2.0],), [0.0, 0.5, 1.0], [0.0, 1.0, 0.0], {"low": 0.0, "high": 1.0}),
    Extreme("sigmoid", ([-1e4, 0.0, 1e4],), [0.0, 0.5, 1.0], [0.0, 0.25, 0.0]),
    Extreme("tanh", ([-1e4, 1e4],), [-1.0, 1.0], [0.0, 0.0]),
    Extreme("softplus", ([-1e4, 0.0, 1e4],), [0.0, math.log(2), 1e4], [0.0, 0.5, 1.0]),
    Extreme("bce_with_logits", ([1e4, -1e4, 1e4, -1e4], [1.0, 0.0, 0.0, 1.0]), [0, 0, 1e4, 1e4], [0, 0, 1, -1]),
    Extreme("cross_entropy", ([[1e4, -1e4]] * 2,), [0.0, 2e4], [[0, 0], [1, -1]], {"labels": np.array([0, 1])}),
    Extreme("logsumexp", ([1e4, 1e4, -1e4],), 1e4 + math.log(2), [0.5, 0.5, 0.0]),
    Extreme("logsumexp", ([-inf, 0.0],), 0.0, [0.0, 1.0]),
    Extreme("softmax", ([1e4, -1e4],), [1.0, 0.0], [0.0, 0.0]),
    Extreme("log_softmax", ([1e4, -1e4],), [0.0, -2e4], [-1.0, 1.0]),
    Extreme("expm1", ([1e-15, -1e4],), [1e-15, -1.0], [1.0, 0.0]),
    Extreme("log1p", ([1e-15],), [1e-15], [1.0]),
]  # fmt: skip
