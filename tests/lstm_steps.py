"""An LSTM one step of one example at a time, forward and backward: what the fast one is held to.

Both passes also take complex numbers, so that derivatives can be had without a difference: Im f(x + i e u) / e, e tiny.
"""

import numpy as np

NAMES = ("x", "h0", "c0", "W_x", "W_h", "b")


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step(x, h, c, W_x, W_h, b):
    """One step of one example: i, f, g, o, then the new c and h"""
    i, f, g, o = np.split(x @ W_x + h @ W_h + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + i * g
    return i, f, g, o, c, o * np.tanh(c)


def forward(x, h0, c0, W_x, W_h, b):
    """What ops.lstm gives: h_0, ..., h_T, c_T"""
    T, N, _ = x.shape
    y = np.empty((T + 2, *h0.shape), np.result_type(x, h0, c0, W_x, W_h, b))
    for n in range(N):
        h, c = h0[n], c0[n]
        y[0, n] = h
        for t in range(T):
            *_, c, h = step(x[t, n], h, c, W_x, W_h, b)
            y[t + 1, n] = h
        y[T + 1, n] = c
    return y


def backward(seed, x, h0, c0, W_x, W_h, b):
    """The gradients of <forward, seed> for each of NAMES, by the chain rule, a step at a time"""
    T, N, _ = x.shape
    kind = np.result_type(seed, x, h0, c0, W_x, W_h, b)
    gx, gh0, gc0, gW_x, gW_h, gb = (np.zeros(a.shape, kind) for a in (x, h0, c0, W_x, W_h, b))
    for n in range(N):
        states, h, c = [], h0[n], c0[n]
        for t in range(T):
            i, f, g, o, new_c, new_h = step(x[t, n], h, c, W_x, W_h, b)
            states.append((i, f, g, o, c, new_c, h))
            h, c = new_h, new_c
        dh, dc = np.zeros(h.shape, kind), seed[T + 1, n]
        for t in reversed(range(T)):
            i, f, g, o, c, new_c, h = states[t]
            dh = dh + seed[t + 1, n]
            dc = dc + dh * o * (1 - np.tanh(new_c) ** 2)
            da = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2),
                                 dh * np.tanh(new_c) * o * (1 - o)])  # fmt: skip
            gx[t, n] = W_x @ da
            gW_x += np.outer(x[t, n], da)
            gW_h += np.outer(h, da)
            gb += da
            dh, dc = W_h @ da, dc * f
        gh0[n], gc0[n] = dh + seed[0, n], dc
    return gx, gh0, gc0, gW_x, gW_h, gb


def along(f, arrays, directions, e=1e-30):
    """The derivative of f(*arrays) along `directions`, to the last digit"""
    return f(*(a + 1j * e * u for a, u in zip(arrays, directions, strict=True))).imag / e


def draw(rng, T=None, N=None):
    """The operands of an lstm of random geometry, by NAMES"""
    T = int(rng.choice([0, 1, 2, 7])) if T is None else T
    N = int(rng.choice([0, 1, 3])) if N is None else N
    d, h = map(int, rng.integers(1, 6, 2))
    shapes = [(T, N, d), (N, h), (N, h), (d, 4 * h), (h, 4 * h), (4 * h,)]
    return [rng.standard_normal(s) for s in shapes]
