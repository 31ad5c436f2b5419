"""Every operation, by its name. Arrays are positional, metadata (axis, shape, ...) is keyword-only."""

# ruff: noqa: F401 (what is imported here is what `__all__` lists)

from minigen.ops.activations import elu, leaky_relu, relu, sigmoid, softplus
from minigen.ops.conv import conv2d, conv2d_weight, conv_transpose2d
from minigen.ops.diag_lstm import diagonal_bilstm
from minigen.ops.elementwise import (
    abs,
    add,
    clip,
    cos,
    div,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    power,
    sign,
    sin,
    sqrt,
    square,
    sub,
    tanh,
    where,
)
from minigen.ops.indexing import put, take
from minigen.ops.linalg import linear, matmul
from minigen.ops.losses import bce_with_logits, cross_entropy, squared_error
from minigen.ops.norm import batch_norm, layer_norm
from minigen.ops.pool import avg_pool2d, fold, max_pool2d, unfold
from minigen.ops.recurrent import lstm
from minigen.ops.reduce import (
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    prod,
    safe_norm,
    softmax,
    std,
    sum,
    var,
)
from minigen.ops.row_lstm import row_lstm
from minigen.ops.shape import (
    astype,
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    moveaxis,
    mT,
    pad,
    reshape,
    squeeze,
    stack,
    sum_to,
    swapaxes,
    transpose,
)

__all__ = [name for name in dir() if not name.startswith("_") and callable(globals()[name])]
