"""16 images drawn from pixelrnn_step's model, pixel by pixel, 28x28, from given uniform numbers.

minigen draws with the sampler of lesson e12, which carries the Row LSTMs' states from row to row. The peers draw as
those of pixelcnn_sample: PyTorch eager and JAX run the whole network for each pixel, PyTorch *tuned* carries the states
too. Compared first: the logits of given images, each its own way.
"""

from __future__ import annotations

from benchmarks.cases import Run, Work, pixelrnn_step
from benchmarks.cases.pixelcnn_sample import cached_torch, carried, inputs, naive_jax, naive_torch
from benchmarks.cases.pixelcnn_step import mask
from benchmarks.cases.pixelrnn_step import Size, weights
from benchmarks.pixelrnn import HEAD, IN, LAYER, course_model, network_jax, network_torch

__all__ = ["FULL", "TINY", "inputs", "jax", "minigen", "torch", "weights", "work"]

FULL, TINY = Size(batch=16), Size(batch=2, side=6, h=3, layers=1)


def work(size: Size) -> Work:
    """Every feature of every pixel once"""
    return work_of(size, 4 * size.h * (2 * 2 * size.h + 3 * size.h))


def work_of(size: Size, layer: int) -> Work:
    """The work of one image after the other, given the multiplications of one recurrent layer at one pixel"""
    h = size.h
    products = 24 * 2 * h + size.layers * (layer + 2 * h * h) + 2 * h * 2 * h + 2 * h
    return Work(2.0 * size.batch * size.side**2 * products)


def minigen(size, weights, inputs, tuned) -> Run:
    """Lesson e12's sampler, lesson e10's model"""
    return carried(*course_model(size, "row"), weights, inputs)


def torch(size, weights, inputs, tuned) -> Run:
    """Naive; tuned: the states carried"""
    from benchmarks.torch_cache import CachedRowLSTM

    return build_torch(size, weights, inputs, tuned, pixelrnn_step.recurrent_torch(), CachedRowLSTM)


def build_torch(size, weights, inputs, tuned, recurrent, cached) -> Run:
    """The model with `recurrent`, a layer for whole maps, or, tuned, with `cached`, the same pixel by pixel"""
    import torch

    parameters, count = [torch.tensor(w) for w in weights], sum(w.size for w in weights)
    if tuned:
        return cached_torch(lambda choose: torch_states(size, parameters, cached, choose), inputs, count)
    logits = network_torch(size, recurrent)
    return naive_torch(lambda x: logits(parameters, x), inputs, count)


def torch_states(size, parameters, cached, choose):
    """Lesson e12's CachedRNN in PyTorch"""
    import torch
    from torch import relu

    from benchmarks.torch_cache import CachedConv, Pointwise, draw

    n, side = size.batch, size.side
    W, b = parameters[:IN]
    first = CachedConv(W * torch.tensor(mask(7, "A")), b, 3, n, side)
    lstms, ups = [], []
    for k in range(size.layers):
        *lstm, W, b = parameters[IN + LAYER * k : IN + LAYER * (k + 1)]
        lstms.append(cached(*lstm, n, side))
        ups.append(Pointwise(W, b))
    head = [Pointwise(*parameters[-HEAD:-2]), Pointwise(*parameters[-2:])]

    def features(y, j):
        for lstm, up in zip(lstms, ups, strict=True):
            y = y + up(lstm(y, j))
        return head[1](relu(head[0](relu(y))))

    return draw(first, [first, *lstms], features, choose)


def jax(size, weights, inputs, tuned) -> Run:
    """Naive, the loop over the pixels inside jit"""
    return build_jax(size, weights, inputs, pixelrnn_step.recurrent_jax(size))


def build_jax(size, weights, inputs, recurrent) -> Run:
    """The model with `recurrent`"""
    from jax import numpy as jnp

    parameters, logits = [jnp.asarray(w) for w in weights], network_jax(size, recurrent)
    return naive_jax(lambda x: logits(parameters, x), inputs, sum(w.size for w in weights))
