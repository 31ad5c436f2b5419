"""The Row LSTM of PixelRNN as one node: a map is read row by row from the top, a row's pixels all at once.

    a_r = K_is * x_r + K_ss * h_{r-1} + b        the four gates of row r, (4h, W); * is convolution along the row
    o, f, i = sigmoid of a_o, a_f, a_i           g = tanh(a_g)
    c_r = f c_{r-1} + i g                        h_r = o tanh(c_r)

van den Oord, Kalchbrenner and Kavukcuoglu 2016, Pixel Recurrent Neural Networks, section 3.1 and equation 3. Taps to
the right of the pixel in K_is are masked (mask B), so h_r knows of a growing triangle above the pixel and no more.
The numbers are worked out in minigen.ops.row_lstm_kernel; here are the contract, the twin and the errors.
"""

from minigen.autograd import fused
from minigen.backend import Array, describe
from minigen.errors import ShapeError
from minigen.ops import row_lstm_kernel
from minigen.ops.activations import sigmoid
from minigen.ops.conv import conv2d
from minigen.ops.elementwise import tanh
from minigen.ops.indexing import take
from minigen.ops.shape import broadcast_to, concatenate, reshape


@fused
def row_lstm(x, h0, c0, W_x, W_h, b):
    """(N, C, H, W), (h,), (h,), (4h, C, 1, k), (4h, h, 1, k'), (4h,) -> (N, h, H, W)

    The weights are convolution kernels of odd width whose output channels are the gates in the paper's order o, f, i,
    g. Of W_x only the middle tap and those to its left are used (the gradient of the others is zero); W_h sees all of
    the row above. Left and right of the map there are zeros, above it every pixel has the state h0, c0.
    """
    check(x, h0, c0, W_x, W_h, b)
    return row_lstm_kernel.forward(x, h0, c0, W_x, W_h, b)


@row_lstm.vjp
def _(g, saved, x, h0, c0, W_x, W_h, b):
    back = row_lstm_kernel.Backward(g, saved)
    return back.of_x, back.of_h0, back.of_c0, back.of_W_x, back.of_W_h, back.of_b


@row_lstm.as_twin
def _(x, h0, c0, W_x, W_h, b):
    (N, _, _, W), n = x.shape, h0.shape[0]
    k, k_above = W_x.shape[3], W_h.shape[3]
    a_x = conv2d(x, W_x, b, padding=(0, k // 2), taps=visible(k))  # (N, 4h, H, W)
    h, c = (broadcast_to(reshape(s, shape=(1, n, 1, 1)), shape=(N, n, 1, W)) for s in (h0, c0))
    rows = []
    for r in range(x.shape[2]):
        a = a_x[:, :, r : r + 1] + conv2d(h, W_h, padding=(0, k_above // 2))  # (N, 4h, 1, W)
        o, f, i, g = (take(a, index=(slice(None), slice(j * n, j * n + n))) for j in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        rows.append(h)
    return concatenate(*rows, axis=2)


def visible(k: int) -> list[list[bool]]:
    """k -> (1, k): the taps of mask B in a row, the middle and what is left of it"""
    return [[tap <= k // 2 for tap in range(k)]]


def check(x: Array, h0: Array, c0: Array, W_x: Array, W_h: Array, b: Array) -> None:
    """ShapeError that says which operand does not fit, and what would."""
    for name, array, axes in (
        ("x", x, "(N, C, H, W)"),
        ("h0", h0, "(h,)"),
        ("W_x", W_x, "(4h, C, 1, k)"),
        ("W_h", W_h, "(4h, h, 1, k)"),
    ):
        if getattr(array, "ndim", 0) != (1 if name == "h0" else 4):
            one = ": give a single image a batch axis with x[None]" if name == "x" else ""
            raise ShapeError(f"{name} must be {axes}, got {describe(array)}{one}")
    n, (_, C, H, W) = len(h0), x.shape
    for name, kernel in (("W_x", W_x), ("W_h", W_h)):
        if kernel.shape[2] != 1 or kernel.shape[3] % 2 == 0:
            raise ShapeError(
                f"{name} must be a kernel of one row and odd width, (.., .., 1, k), got {describe(kernel)}"
            )
    if H < 1 or W < 1:
        raise ShapeError(f"x must have at least one row and one column, got {describe(x)}")
    if W_x.shape[1] != C:
        raise ShapeError(f"W_x expects {W_x.shape[1]} channels on axis 1 of x, found {C} in {describe(x)}")
    for name, array, shape in (
        ("c0", c0, (n,)),
        ("W_x", W_x, (4 * n, C, 1, W_x.shape[3])),
        ("W_h", W_h, (4 * n, n, 1, W_h.shape[3])),
        ("b", b, (4 * n,)),
    ):
        if tuple(getattr(array, "shape", ())) != shape:
            raise ShapeError(f"{name} must have shape {shape} for h0 of {n} features, got {describe(array)}")
