"""A PixelRNN around any recurrent layer, in every library: what pixelrnn_step and diag_bilstm_step have in common.

`recurrent` is the layer in the library at hand: (x, h0, c0, W_x, W_h, b) -> (N, h, H, W); the engine's is a Module.
"""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Run, named
from benchmarks.cases.pixelcnn_step import mask

LR = 1e-3
# parameters: [W, b]; then of each layer [h0, c0, W_x, W_h, b, W, b]; then two [W, b]
IN, LAYER, HEAD = 2, 7, 4


def build(size, weights, inputs, recurrent) -> Run:
    """The model with the layers that `recurrent(h, rng)` makes"""
    from minigen import Tensor, nn
    from minigen.autograd import grad
    from minigen.ops import relu
    from minigen.optim import Adam

    rng, h = np.random.default_rng(0), size.h
    first = nn.Conv2d(1, 2 * h, 7, padding=3, taps=mask(7, "A"), rng=rng)
    layers = [(recurrent(h, rng), nn.Conv2d(h, 2 * h, 1, rng=rng)) for _ in range(size.layers)]
    head = nn.Conv2d(2 * h, 2 * h, 1, rng=rng), nn.Conv2d(2 * h, 1, 1, rng=rng)
    parameters = in_order(first, layers, head)
    for p, w in zip(parameters, weights, strict=True):
        p.data = w.copy()
    optimizer = Adam(parameters, lr=LR)
    x = Tensor(inputs[0])

    def negative_log_likelihood():
        y = first(x)
        for lstm, up in layers:
            y = y + up(lstm(y))
        return nn.bce_with_logits(head[1](relu(head[0](relu(y)))), x)

    def step():
        loss = negative_log_likelihood()
        optimizer.step(grad(loss, parameters))
        return loss

    def values():
        loss = negative_log_likelihood()
        return named(loss.item(), grad(loss, parameters))

    return Run(step, values, sum(p.size for p in parameters))


def in_order(first, layers, head) -> list:
    """A convolution, pairs of a recurrent layer and a convolution, two convolutions -> IN, LAYER, HEAD"""
    parameters = [first.W, first.b]
    for lstm, up in layers:
        parameters += [lstm.h0, lstm.c0, lstm.W_x, lstm.W_h, lstm.b, up.W, up.b]
    return parameters + [p for layer in head for p in (layer.W, layer.b)]


def course_model(size, kind):
    """Untrained, "row" or "diagonal", and its parameters in our order"""
    from solutions.e10_pixelrnn import Config, PixelRNN

    config = Config(kind=kind, side=size.side, h=size.h, layers=size.layers, head=2 * size.h, lr=LR)
    model = PixelRNN(config, rng=np.random.default_rng(0))
    return model, in_order(model.first, [(block.lstm, block.up) for block in model.blocks], model.head)


def build_torch(size, weights, inputs, tuned, recurrent) -> Run:
    """The model with `recurrent(x, h0, c0, W_x, W_h, b)`; tuned: fused Adam, channels last"""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    parameters = [torch.tensor(w, requires_grad=True) for w in weights]
    logits = network_torch(size, recurrent)
    x = torch.tensor(inputs[0])
    if tuned:
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=tuned or None)

    def backward():
        optimizer.zero_grad()
        y = logits(parameters, x)
        loss = binary_cross_entropy_with_logits(y, x, reduction="sum") / size.batch
        loss.backward()
        return loss

    def step():
        loss = backward()
        optimizer.step()
        return loss

    def values():
        return named(backward().item(), [p.grad.numpy() for p in parameters])

    return Run(step, values, sum(p.numel() for p in parameters))


def network_torch(size, recurrent):
    """(parameters, images) -> logits, both (batch, 1, side, side)"""
    import torch
    from torch.nn.functional import conv2d, relu

    hidden = torch.tensor(mask(7, "A"), dtype=torch.float32)

    def logits(parameters, x):
        W, b = parameters[:IN]
        y = conv2d(x, W * hidden, b, padding=3)
        for k in range(size.layers):
            *lstm, W, b = parameters[IN + LAYER * k : IN + LAYER * (k + 1)]
            y = y + conv2d(recurrent(y, *lstm), W, b)
        W, b, W_out, b_out = parameters[-HEAD:]
        return conv2d(relu(conv2d(relu(y), W, b)), W_out, b_out)

    return logits


def build_jax(size, weights, inputs, recurrent) -> Run:
    """The model with `recurrent(x, h0, c0, W_x, W_h, b)`; the whole step under jit, the state donated"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_adam import adam, start

    x, parameters = jnp.asarray(inputs[0]), [jnp.asarray(w) for w in weights]
    logits = network_jax(size, recurrent)

    def negative_log_likelihood(parameters, x):
        y = logits(parameters, x)
        return (jax.nn.softplus(y) - x * y).sum() / size.batch

    update = adam(jax.value_and_grad(negative_log_likelihood), lr=LR)
    state = start(parameters)

    def step():
        nonlocal state
        state, value = update(state, x)
        return jax.block_until_ready((state, value))

    def values():
        return named(*jax.jit(jax.value_and_grad(negative_log_likelihood))(state.parameters, x))

    return Run(step, values, sum(p.size for p in parameters))


def network_jax(size, recurrent):
    """(parameters, images) -> logits, both (batch, 1, side, side)"""
    from jax import numpy as jnp
    from jax.nn import relu

    from benchmarks.jax_conv import conv

    hidden = jnp.asarray(mask(7, "A"))

    def logits(parameters, x):
        W, b = parameters[:IN]
        y = conv(x, W * hidden, b, 1, 3)
        for k in range(size.layers):
            *lstm, W, b = parameters[IN + LAYER * k : IN + LAYER * (k + 1)]
            y = y + conv(recurrent(y, *lstm), W, b, 1, 0)
        W, b, W_out, b_out = parameters[-HEAD:]
        return conv(relu(conv(relu(y), W, b, 1, 0)), W_out, b_out, 1, 0)

    return logits
