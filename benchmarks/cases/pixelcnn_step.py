"""PixelCNN: mask A 7x7 1-64, six residual blocks (1x1 64-32, mask B 3x3, 1x1 32-64), 1x1 64-64, 1x1 to one logit.

Binary pixels, binary cross-entropy, batch 32, one training step. A mask hides the pixels below and to the right; A also
the pixel itself (van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3.4 and figure 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Run, Work, binary_pixels, named
from benchmarks.cases.conv_vae_step import bias
from benchmarks.course import course_run

LR = 1e-3


@dataclass(frozen=True)
class Size:
    """(batch, 1, side, side) -> logits of the same shape; h: half of the channels"""

    batch: int = 32
    side: int = 28
    h: int = 32
    blocks: int = 6

    @property
    def layers(self) -> list[tuple[int, int, int, str]]:
        """(n_in, n_out, kernel, mask) of each convolution"""
        h = self.h
        block = [(2 * h, h, 1, ""), (h, h, 3, "B"), (h, 2 * h, 1, "")]
        return [(1, 2 * h, 7, "A"), *block * self.blocks, (2 * h, 2 * h, 1, ""), (2 * h, 1, 1, "")]


FULL, TINY = Size(), Size(batch=2, side=6, h=3, blocks=1)


def mask(kernel: int, kind: str) -> np.ndarray:
    """(kernel, kernel) booleans: the rows above, and in the middle row what is left of the middle (B: and itself)"""
    middle = kernel // 2
    rows, columns = np.indices((kernel, kernel))
    return (rows < middle) | ((rows == middle) & (columns < middle + (kind == "B"))) | (kind == "")


def weights(size: Size, rng: np.random.Generator) -> list[np.ndarray]:
    """[W, b] of each convolution in turn; also of the hidden taps there are weights"""
    arrays = []
    for n_in, n_out, k, kind in size.layers:
        scale = np.sqrt(2 / (n_in * mask(k, kind).sum()))
        arrays += [(rng.standard_normal((n_out, n_in, k, k)) * scale).astype(np.float32), bias(n_out, rng)]
    return arrays


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: (batch, 1, side, side), 0 or 1"""
    return (binary_pixels((size.batch, 1, size.side, size.side), rng),)


def work(size: Size) -> Work:
    """Visible taps only, three products a layer, less the gradient of the data"""
    products = [n_in * n_out * int(mask(k, kind).sum()) for n_in, n_out, k, kind in size.layers]
    places = size.batch * size.side**2
    weights = sum(n_in * n_out * k * k for n_in, n_out, k, _ in size.layers)
    return Work(2.0 * places * (3 * sum(products) - products[0]), 7 * 4.0 * weights)


def minigen(size, weights, inputs, tuned):
    """nn.Conv2d is told the visible taps"""
    from minigen import Tensor, nn
    from minigen.autograd import grad
    from minigen.ops import relu
    from minigen.optim import Adam

    rng = np.random.default_rng(0)
    layers = [
        nn.Conv2d(n_in, n_out, k, padding=k // 2, taps=mask(k, kind) if kind else None, rng=rng)
        for n_in, n_out, k, kind in size.layers
    ]
    parameters = [p for layer in layers for p in layer.parameters()]
    for p, w in zip(parameters, weights, strict=True):
        p.data = w.copy()
    optimizer = Adam(parameters, lr=LR)
    x = Tensor(inputs[0])

    def negative_log_likelihood():
        h = layers[0](x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            narrow, masked, wide = layers[i : i + 3]
            h = h + wide(relu(masked(relu(narrow(relu(h))))))
        return nn.bce_with_logits(layers[-1](relu(layers[-2](relu(h)))), x)

    def step():
        loss = negative_log_likelihood()
        optimizer.step(grad(loss, parameters))
        return loss

    def values():
        loss = negative_log_likelihood()
        return named(loss.item(), grad(loss, parameters))

    return Run(step, values, sum(p.size for p in parameters))


def solutions(size, weights, inputs, tuned):
    """Lesson e11's PixelCNN"""
    model = course_model(size)
    return course_run(model, model.parameters(), weights, inputs[0][:, 0])


def course_model(size):
    """Of these sizes, untrained"""
    from solutions.e11_pixelcnn import Config, PixelCNN

    config = Config(side=size.side, h=size.h, blocks=size.blocks, kernel=3, head=2 * size.h, lr=LR)
    return PixelCNN(config, rng=np.random.default_rng(0))


def torch(size, weights, inputs, tuned):
    """The weights are multiplied by the mask before use, as is usual; tuned: fused Adam, channels last"""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, relu

    parameters = [torch.tensor(w, requires_grad=True) for w in weights]
    masks = [
        torch.tensor(mask(k, kind), dtype=torch.float32) if kind else None for *_, k, kind in size.layers
    ]
    x = torch.tensor(inputs[0])
    if tuned:
        x = x.contiguous(memory_format=torch.channels_last)
        for p in parameters[::2]:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=tuned or None)

    def layer(i, h):
        W, b, hidden = parameters[2 * i], parameters[2 * i + 1], masks[i]
        return conv2d(h, W if hidden is None else W * hidden, b, padding=W.shape[2] // 2)

    def backward():
        optimizer.zero_grad()
        h = layer(0, x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            h = h + layer(i + 2, relu(layer(i + 1, relu(layer(i, relu(h))))))
        last = len(masks) - 1
        y = layer(last, relu(layer(last - 1, relu(h))))
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


def jax(size, weights, inputs, tuned):
    """The whole step under jit, the state donated"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_adam import adam, start
    from benchmarks.jax_conv import conv

    x, relu = jnp.asarray(inputs[0]), jax.nn.relu
    parameters = [jnp.asarray(w) for w in weights]
    masks = [jnp.asarray(mask(k, kind)) for *_, k, kind in size.layers]

    def negative_log_likelihood(parameters, x):
        def layer(i, h):
            W, b = parameters[2 * i], parameters[2 * i + 1]
            return conv(h, W * masks[i], b, 1, W.shape[2] // 2)

        h = layer(0, x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            h = h + layer(i + 2, relu(layer(i + 1, relu(layer(i, relu(h))))))
        last = len(masks) - 1
        y = layer(last, relu(layer(last - 1, relu(h))))
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
