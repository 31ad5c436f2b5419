"""False alarms: random layers whose gradients are right must be accepted, whatever their shapes, scales and inputs.

By hand, for a rate: `python tests/test_gradcheck_alarms.py 5000 [SEED]`.
"""

import sys
import time

import numpy as np

from minigen import gradcheck, nn, ops
from minigen.gradcheck import GradcheckError

ACTIVATIONS = [
    ops.relu, ops.tanh, ops.sigmoid, ops.softplus, ops.leaky_relu, ops.elu, ops.abs, ops.square, ops.sin, ops.cos,
    ops.softmax, ops.log_softmax, ops.expm1, lambda x: ops.exp(x * 0.3), lambda x: ops.log(x * x + 1e-3),
    lambda x: ops.sqrt(x * x + 1e-6), lambda x: ops.log1p(ops.square(x)), lambda x: 1.0 / (x * x + 0.1),
]  # fmt: skip
REDUCTIONS = [
    lambda x: x, lambda x: x.sum(), lambda x: x.mean(axis=0), lambda x: x.max(axis=-1), lambda x: x.min(axis=0),
    lambda x: x.sum(axis=-1, keepdims=True), lambda x: ops.logsumexp(x, axis=-1), lambda x: x.cumsum(axis=0),
    lambda x: ops.std(x + x * x, axis=-1), lambda x: ops.safe_norm(x), lambda x: ops.flip(x, axis=0), lambda x: x.T,
    lambda x: x[1:],
]  # fmt: skip


def standardise(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / ops.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)


def recurrent(x, W, h):
    for t in range(x.shape[0]):
        h = ops.tanh(x[t] @ W + h)
    return h


def random_layer(rng):
    """A function and its inputs: shapes, scales and operations drawn at random."""
    n, i, o = (int(k) for k in rng.integers(1, 6, 3))
    scale = 10.0 ** rng.choice([-3, -1, 0, 0, 0, 0, 1, 3])
    act, act2 = (ACTIVATIONS[int(rng.integers(len(ACTIVATIONS)))] for _ in range(2))
    end = REDUCTIONS[int(rng.integers(len(REDUCTIONS) - (n == 1)))]
    x, W, b = scale * rng.normal(size=(n, i)), rng.normal(size=(i, o)), rng.normal(size=o)
    offset = 10.0 ** int(rng.integers(0, 7))
    labels = rng.integers(0, o, n)
    kinds = {
        "dense": (lambda x, W, b: end(act(x @ W + b)), (x, W, b)),
        "linear": (lambda x, W, b: end(act(ops.linear(x, W, b))), (x, W, b)),
        "activation": (lambda x: end(act(x)), (x,)),
        "two activations": (lambda x: end(act2(act(x))), (x,)),
        "dense, normed": (lambda x, W: end(act(standardise(x @ W))), (x, W)) if o > 1 else (act, (x,)),
        "softmax cross entropy": (lambda x, W: ops.cross_entropy(x @ W, labels=labels).mean(), (x, W)),
        "bernoulli": (lambda x, t: ops.bce_with_logits(x, t).sum() / n, (x, rng.random((n, i)))),
        "squared error": (lambda x, t: ops.squared_error(act(x), t).mean(), (x, rng.normal(size=(n, i)))),
        "broadcast": (lambda x, b: end(x * b - b / (1.0 + x * x)), (x, rng.normal(size=i))),
        "maximum": (lambda x, y: end(ops.maximum(x, y) * ops.minimum(x, -y)), (x, rng.normal(size=(n, i)))),
        "concatenate": (lambda x, y: end(act(ops.concatenate(x, y, axis=1))), (x, rng.normal(size=(n, o)))),
        "recurrent": (recurrent, (x[:, None], rng.normal(size=(i, o)), rng.normal(size=(1, o)))),
        "power": (lambda x: end(ops.power(x * x + 0.5, 1.7)), (x,)),
        "offset": (lambda x: end(act(x) + offset), (x / scale,)),
    }
    name = str(rng.choice(list(kinds)))
    f, inputs = kinds[name]
    return name, f, inputs


def false_alarm(seed):
    """'' or what the checker said about a right layer."""
    rng = np.random.default_rng(seed)
    name, f, inputs = random_layer(rng)
    try:
        gradcheck(f, *inputs, rng=rng, name=name, order=2 if seed % 4 == 0 else 1)
    except GradcheckError as error:
        if "infinity" in str(error) or "NaN" in str(error):  # an overflow is no right layer
            return ""
        return f"layer {seed}: {error}"
    return ""


def test_random_right_layers_raise_no_alarm(rng):
    first = int(rng.integers(2**31))
    print(f"layers {first} to {first + 119}")
    alarms = [said for seed in range(first, first + 120) if (said := false_alarm(seed))]
    assert not alarms, "\n".join(alarms)


def test_modules_raise_no_alarm(rng):
    for activation in (nn.ReLU(), nn.Tanh(), nn.Softplus(), nn.ELU(), nn.LeakyReLU(0.2)):
        net = nn.Sequential(nn.Dense(5, 7, rng=rng), activation, nn.Dense(7, 3, rng=rng))
        assert gradcheck(net, rng.normal(size=(4, 5)), rng=rng).compared > 0


if __name__ == "__main__":
    count = int(sys.argv[1])
    first = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 2**31
    found = 0
    start = time.perf_counter()
    for seed in range(first, first + count):
        said = false_alarm(seed)
        found += bool(said)
        if said:
            print(said, flush=True)
    print(f"{found} false alarms in {count} layers from seed {first}, {time.perf_counter() - start:.0f} s")
