"""The Diagonal BiLSTM of PixelRNN as one node: a map is read diagonal by diagonal from both of its upper corners.

    a_t = K_is * x_t + K_ss * h_{t-1} + b       the four gates on diagonal t; K_ss is a column of two taps, so that
                                                pixel (i, j) hears of its neighbours (i - 1, j) and (i, j - 1)
    o, f, i = sigmoid of a_o, a_f, a_i          g = tanh(a_g)
    c_t = f c_{t-1} + i g                       h_t = o tanh(c_t)       where c comes from (i, j - 1)

The other direction does the same on the mirrored map, where the neighbours are (i - 1, j) and (i, j + 1). It must not
see what comes after the pixel in its row, so its output is shifted down by one row before the two are added. Together
they know of all pixels above and to the left. van den Oord, Kalchbrenner and Kavukcuoglu 2016, Pixel Recurrent Neural
Networks, section 3.2. The numbers are worked out in minigen.ops.diag_lstm_kernel.
"""

from typing import Any

from minigen.autograd import fused
from minigen.backend import Array, describe, xp
from minigen.errors import ShapeError
from minigen.ops import diag_lstm_kernel
from minigen.ops.activations import sigmoid
from minigen.ops.conv import conv2d
from minigen.ops.elementwise import tanh, where
from minigen.ops.indexing import take
from minigen.ops.shape import broadcast_to, concatenate, flip, pad, reshape

ROWS, COLUMNS = 2, 3  # axes of a map


@fused
def diagonal_bilstm(x, h0, c0, W_x, W_h, b):
    """(N, C, H, W), (2, h), (2, h), (2, 4h, C, 1, 1), (2, 4h, h, 2, 1), (2, 4h) -> (N, h, H, W)

    Of each parameter the first is for the direction that comes from the left, the second for the one from the right.
    The output channels of the kernels are the gates in the paper's order o, f, i, g; of W_h the first tap looks at the
    row above. A row begins with the state h0, c0 of its direction; above the map there are zeros.
    """
    check(x, h0, c0, W_x, W_h, b)
    return diag_lstm_kernel.forward(x, h0, c0, W_x, W_h, b)


@diagonal_bilstm.vjp
def _(g, saved, x, h0, c0, W_x, W_h, b):
    back = diag_lstm_kernel.Backward(g, saved)
    return back.of_x, back.of_h0, back.of_c0, back.of_W_x, back.of_W_h, back.of_b


@diagonal_bilstm.as_twin
def _(x, h0, c0, W_x, W_h, b):
    parameters = h0, c0, W_x, W_h, b
    left, right = ([p[d] for p in parameters] for d in (0, 1))
    mirrored = flip(_one_direction(flip(x, axis=COLUMNS), *right), axis=COLUMNS)
    shifted = pad(mirrored[:, :, :-1], width=((0, 0), (0, 0), (1, 0), (0, 0)))
    return _one_direction(x, *left) + shifted


def _one_direction(x: Any, h0: Any, c0: Any, W_x: Any, W_h: Any, b: Any) -> Any:
    """(N, C, H, W), (h,), (h,), (4h, C, 1, 1), (4h, h, 2, 1), (4h,) -> (N, h, H, W): on the skewed map"""
    (N, _, H, W), n = x.shape, h0.shape[0]
    a_x = skew(conv2d(x, W_x, b))  # (N, 4h, H, W + H - 1): a diagonal is a column now
    h, c = (broadcast_to(reshape(s, shape=(1, n, 1, 1)), shape=(N, n, H, 1)) for s in (h0, c0))
    columns = []
    for t in range(W + H - 1):
        above = pad(h, width=((0, 0), (0, 0), (1, 0), (0, 0)))
        a = a_x[:, :, :, t : t + 1] + conv2d(above, W_h)  # (N, 4h, H, 1)
        o, f, i, g = (take(a, index=(slice(None), slice(j * n, j * n + n))) for j in range(4))
        begun = (xp.arange(H) <= t)[:, None]  # a row that has not begun keeps its first state
        c = where(begun, sigmoid(f) * c + sigmoid(i) * tanh(g), c)
        h = where(begun, sigmoid(o) * tanh(c), h)
        columns.append(h)
    return unskew(concatenate(*columns, axis=COLUMNS))


def skew(x: Any) -> Any:
    """(N, C, H, W) -> (N, C, H, W + H - 1): row i moved i places to the right, zeros elsewhere"""
    N, C, H, W = x.shape
    wide = pad(x, width=((0, 0), (0, 0), (0, 0), (0, H)))
    line = reshape(wide, shape=(N, C, H * (W + H)))[:, :, : H * (W + H - 1)]  # each row now starts one later
    return reshape(line, shape=(N, C, H, W + H - 1))


def unskew(x: Any) -> Any:
    """(N, C, H, W + H - 1) -> (N, C, H, W): the inverse of `skew`"""
    N, C, H, width = x.shape
    line = pad(reshape(x, shape=(N, C, H * width)), width=((0, 0), (0, 0), (0, H)))
    return reshape(line, shape=(N, C, H, width + 1))[:, :, :, : width + 1 - H]


def check(x: Array, h0: Array, c0: Array, W_x: Array, W_h: Array, b: Array) -> None:
    """ShapeError that says which operand does not fit, and what would."""
    for name, array, axes, ndim in (("x", x, "(N, C, H, W)", 4), ("h0", h0, "(2, h)", 2)):
        if getattr(array, "ndim", 0) != ndim:
            one = ": give a single image a batch axis with x[None]" if name == "x" else ""
            raise ShapeError(f"{name} must be {axes}, got {describe(array)}{one}")
    n, (_, C, H, W) = h0.shape[1], x.shape
    if H < 1 or W < 1:
        raise ShapeError(f"x must have at least one row and one column, got {describe(x)}")
    for name, array, shape in (
        ("h0", h0, (2, n)),
        ("c0", c0, (2, n)),
        ("W_x", W_x, (2, 4 * n, C, 1, 1)),
        ("W_h", W_h, (2, 4 * n, n, 2, 1)),
        ("b", b, (2, 4 * n)),
    ):
        if tuple(getattr(array, "shape", ())) != shape:
            what = f"for {C} channels in x and {n} features in h0"
            raise ShapeError(
                f"{name} must have shape {shape} {what}, two directions first, got {describe(array)}"
            )
