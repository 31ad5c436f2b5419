"""Row LSTM and Diagonal BiLSTM, one pixel of one image at a time: what the fast ones are held to.

Everything also takes complex numbers, so that derivatives can be had without a difference: lstm_steps.along.
"""

import numpy as np
from lstm_steps import sigmoid

NAMES = ("x", "h0", "c0", "W_x", "W_h", "b")


def cell(a, c):
    """(4h,), (h,) -> the new h and c; the gates in the paper's order"""
    o, f, i, g = np.split(a, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def row_lstm(x, h0, c0, W_x, W_h, b):
    """What ops.row_lstm gives"""
    N, _, H, W = x.shape
    y = np.zeros((N, len(h0), H, W), np.result_type(x, h0, c0, W_x, W_h, b))
    for n in range(N):
        h, c = [h0] * W, [c0] * W
        for r in range(H):
            row = []
            for j in range(W):
                a = b + seen(x[n, :, r].T, j, W_x, mask=True) + seen(h, j, W_h)
                row.append(cell(a, c[j]))
            h, c = [s for s, _ in row], [s for _, s in row]
            y[n, :, r] = np.transpose(h)
    return y


def seen(row, j, W, mask=False):
    """What pixel j of a row gets through the kernel W (4h, C, 1, k); masked: from itself and its left"""
    k, total = W.shape[3], 0
    for tap in range(k // 2 + 1 if mask else k):
        at = j + tap - k // 2
        if 0 <= at < len(row):
            total = total + W[:, :, 0, tap] @ row[at]
    return total


def diagonal_bilstm(x, h0, c0, W_x, W_h, b):
    """What ops.diagonal_bilstm gives"""
    left = one_direction(x, h0[0], c0[0], W_x[0], W_h[0], b[0])
    right = one_direction(x[..., ::-1], h0[1], c0[1], W_x[1], W_h[1], b[1])[..., ::-1]
    y = left.copy()
    y[:, :, 1:] += right[:, :, :-1]
    return y


def one_direction(x, h0, c0, W_x, W_h, b):
    """Pixel (i, j) hears of (i - 1, j) and (i, j - 1)"""
    N, _, H, W = x.shape
    y = np.zeros((N, len(h0), H, W), np.result_type(x, h0, c0, W_x, W_h, b))
    for n in range(N):
        above = [np.zeros(len(h0))] * W
        for i in range(H):
            h, c = h0, c0
            for j in range(W):
                a = b + W_x[:, :, 0, 0] @ x[n, :, i, j]
                h, c = cell(a + W_h[:, :, 0, 0] @ above[j] + W_h[:, :, 1, 0] @ h, c)
                above[j] = h
                y[n, :, i, j] = h
    return y


def draw_row(rng, N=None, H=None, W=None):
    """The operands of a Row LSTM of random geometry, by NAMES"""
    N, H, W = sizes(rng, N, H, W)
    C, h = map(int, rng.integers(1, 4, 2))
    k, above = rng.choice([1, 3, 5, 7], 2)
    shapes = [(N, C, H, W), (h,), (h,), (4 * h, C, 1, k), (4 * h, h, 1, above), (4 * h,)]
    return [rng.standard_normal(s) for s in shapes]


def draw_diagonal(rng, N=None, H=None, W=None):
    """The operands of a Diagonal BiLSTM of random geometry, by NAMES"""
    N, H, W = sizes(rng, N, H, W)
    C, h = map(int, rng.integers(1, 4, 2))
    shapes = [(N, C, H, W), (2, h), (2, h), (2, 4 * h, C, 1, 1), (2, 4 * h, h, 2, 1), (2, 4 * h)]
    return [rng.standard_normal(s) for s in shapes]


def sizes(rng, *given):
    """(N, H, W), drawn where not given: single pixels, rows and columns among them"""
    choices = [0, 1, 3], [1, 2, 5], [1, 2, 4]
    return [int(rng.choice(c)) if n is None else n for n, c in zip(given, choices, strict=True)]
