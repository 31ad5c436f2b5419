"""The LSTM over a whole sequence as one node, with backpropagation through time written by hand.

    i, f, o = sigmoid of a_i, a_f, a_o      g = tanh(a_g)       where a_t = x_t W_x + h_{t-1} W_h + b
    c_t = f c_{t-1} + i g                   h_t = o tanh(c_t)

Hochreiter and Schmidhuber 1997, Long Short-Term Memory, with the forget gate of Gers, Schmidhuber and Cummins 2000.
The numbers are worked out in minigen.ops.lstm_kernel; here are the contract, the twin and the errors.
"""

from minigen.autograd import fused
from minigen.backend import describe
from minigen.errors import ShapeError
from minigen.ops import lstm_kernel
from minigen.ops.activations import sigmoid
from minigen.ops.elementwise import tanh
from minigen.ops.indexing import take
from minigen.ops.linalg import linear
from minigen.ops.shape import stack


@fused
def lstm(x, h0, c0, W_x, W_h, b):
    """(T, N, d), (N, h), (N, h), (d, 4h), (h, 4h), (4h,) -> (T + 2, N, h): h_0, h_1, ..., h_T, and then c_T

    Time comes first, as in PyTorch. The columns of the weights are the gates in the order i, f, g, o. All that a
    caller may want is a slice: y[1:T + 1] the sequence, y[T] the last h (h_0 if T is 0), y[T + 1] the last c.
    """
    _check(x, h0, c0, W_x, W_h, b)
    return lstm_kernel.forward(x, h0, c0, W_x, W_h, b)


@lstm.vjp
def _(g, saved, x, h0, c0, W_x, W_h, b):
    back, h = lstm_kernel.Backward(g, saved), W_h.shape[0]
    return (
        back.of_x,
        back.of_h0,
        back.of_c0,
        lambda: back.of_weights()[h:-1],
        lambda: back.of_weights()[:h],
        lambda: back.of_weights()[-1],
    )


@lstm.as_twin
def _(x, h0, c0, W_x, W_h, b):
    n = W_h.shape[0]
    hs, c = [h0], c0
    for t in range(x.shape[0]):
        a = linear(x[t], W_x, b) + hs[-1] @ W_h  # (N, 4h)
        i, f, g, o = (take(a, index=(slice(None), slice(k * n, k * n + n))) for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        hs.append(sigmoid(o) * tanh(c))
    return stack(*hs, c)


def _check(x, h0, c0, W_x, W_h, b):
    """ShapeError that says which operand does not fit, and what would."""
    for name, array, axes in (("x", x, "(T, N, d)"), ("W_x", W_x, "(d, 4h)"), ("W_h", W_h, "(h, 4h)")):
        if getattr(array, "ndim", 0) != axes.count(",") + 1:
            one = ": give a single sequence a batch axis with x[:, None]" if name == "x" else ""
            raise ShapeError(f"{name} must be {axes}, got {describe(array)}{one}")
    T, N, d = x.shape
    n = W_h.shape[0]
    if W_x.shape[0] != d:
        raise ShapeError(f"W_x expects {W_x.shape[0]} features on the last axis of x, found {d}")
    for name, array, shape in (
        ("W_h", W_h, (n, 4 * n)),
        ("W_x", W_x, (d, 4 * n)),
        ("b", b, (4 * n,)),
        ("h0", h0, (N, n)),
        ("c0", c0, (N, n)),
    ):
        found = tuple(getattr(array, "shape", ()))
        if found != shape:
            hint = ": time comes first in x, (T, N, d), then the batch" if found == (T, n) and T != N else ""
            raise ShapeError(f"{name} must have shape {shape}, got {describe(array)}{hint}")
