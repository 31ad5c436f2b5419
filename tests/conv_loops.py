"""Convolution and pooling place by place: what the ops must equal. Loops over the output and the kernel, no more."""

import itertools

import numpy as np


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def looks(size, kernel, stride=1, padding=0, dilation=1, taps=None):
    """(i, j, a, b, y, x): output place (i, j) sees input place (y, x), if that is inside, through the tap (a, b)"""
    s, p, d = both(stride), both(padding), both(dilation)
    rows, columns = (
        out_size(n, k, s_, p_, d_) for n, k, s_, p_, d_ in zip(size, kernel, s, p, d, strict=True)
    )
    for i, j, a, b in itertools.product(range(rows), range(columns), range(kernel[0]), range(kernel[1])):
        y, x = i * s[0] + a * d[0] - p[0], j * s[1] + b * d[1] - p[1]
        if 0 <= y < size[0] and 0 <= x < size[1] and (taps is None or np.asarray(taps)[a, b]):
            yield i, j, a, b, y, x


def out_size(n, k, s, p, d):
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


def out_shape(size, kernel, stride=1, padding=0, dilation=1, taps=None):
    parts = (both(v) for v in (kernel, stride, padding, dilation))
    return tuple(itertools.starmap(out_size, zip(size, *parts, strict=True)))


def conv2d(x, w, b=None, **how):
    y = np.zeros((len(x), len(w), *out_shape(x.shape[2:], w.shape[2:], **how)))
    for i, j, a, c, row, column in looks(x.shape[2:], w.shape[2:], **how):
        y[:, :, i, j] += x[:, :, row, column] @ w[:, :, a, c].T
    return y if b is None else y + b[:, None, None]


def conv_transpose2d(x, w, b=None, *, output_padding=0, **how):
    sizes = zip(
        x.shape[2:], w.shape[2:], both(how.get("stride", 1)), both(how.get("padding", 0)),
        both(how.get("dilation", 1)), both(output_padding), strict=True,
    )  # fmt: skip
    y = np.zeros(
        (len(x), w.shape[1], *((n - 1) * s - 2 * p + d * (k - 1) + 1 + e for n, k, s, p, d, e in sizes))
    )
    for i, j, a, c, row, column in looks(y.shape[2:], w.shape[2:], **how):
        y[:, :, row, column] += x[:, :, i, j] @ w[:, :, a, c]
    return y if b is None else y + b[:, None, None]


def conv2d_weight(x, g, *, kernel, **how):
    w = np.zeros((g.shape[1], x.shape[1], *both(kernel)))
    for i, j, a, c, row, column in looks(x.shape[2:], both(kernel), **how):
        w[:, :, a, c] += g[:, :, i, j].T @ x[:, :, row, column]
    return w


def unfold(x, *, kernel, fill=0.0, **how):
    kernel = both(kernel)
    size = out_shape(x.shape[2:], kernel, **how)
    y = np.full((*x.shape[:2], *kernel, *size), fill)
    for i, j, a, b, row, column in looks(x.shape[2:], kernel, **how):
        y[:, :, a, b, i, j] = x[:, :, row, column]
    return y.reshape(len(x), x.shape[1] * kernel[0] * kernel[1], size[0] * size[1])


def fold(x, *, size, kernel, **how):
    kernel = both(kernel)
    c = x.shape[1] // (kernel[0] * kernel[1])
    windows = x.reshape(len(x), c, *kernel, *out_shape(size, kernel, **how))
    y = np.zeros((len(x), c, *size))
    for i, j, a, b, row, column in looks(size, kernel, **how):
        y[:, :, row, column] += windows[:, :, a, b, i, j]
    return y


def pool(choose, fill):
    """Pooling by a function of a window's values; padding holds `fill`"""

    def oracle(x, *, kernel, stride=None, padding=0):
        kernel = both(kernel)
        how = {"kernel": kernel, "stride": kernel if stride is None else stride, "padding": padding}
        size = out_shape(x.shape[2:], **how)
        seen = unfold(x, fill=fill, **how).reshape(*x.shape[:2], kernel[0] * kernel[1], *size)
        return choose(seen, axis=2)

    return oracle
