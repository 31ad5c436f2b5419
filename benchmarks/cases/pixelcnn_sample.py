"""16 images drawn from pixelcnn_step's model, pixel by pixel, 28x28, from given uniform numbers.

minigen draws as `minigen sample` does: every feature computed once, as by lesson e12's cached sampler, and several rows
at a time (solutions/waves.py). PyTorch eager and JAX draw as
one writes it first: the whole network for each of the 784 pixels. PyTorch *tuned* is the same cache written in PyTorch:
what is left between it and minigen is not the algorithm. Compared first: the logits of given images, each its own way.
"""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Run, Work, pixelcnn_step
from benchmarks.cases.pixelcnn_step import Size, course_model, mask, weights
from benchmarks.course import Given

__all__ = ["FULL", "TINY", "inputs", "jax", "minigen", "torch", "weights", "work"]

FULL, TINY = Size(batch=16), Size(batch=2, side=6, h=3, blocks=1)


def inputs(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x: images for the comparison; u: the uniform numbers, (batch, 1, side, side) both"""
    (x,) = pixelcnn_step.inputs(size, rng)
    return x, rng.random(x.shape).astype(np.float32)


def work(size: Size) -> Work:
    """Every feature of every pixel once"""
    products = [n_in * n_out * int(mask(k, kind).sum()) for n_in, n_out, k, kind in size.layers]
    return Work(2.0 * size.batch * size.side**2 * sum(products), 0.0)


def answer(logits, x: np.ndarray) -> dict[str, np.ndarray]:
    """Nats per image of the given images, and their logits (batch, 1, side, side)"""
    logits = np.asarray(logits)
    nats = np.logaddexp(0, logits.astype(np.float64)) - x * logits
    return {"loss": nats.sum() / len(x), "logits": logits}


def minigen(size, weights, inputs, tuned):
    """Lesson e11's model, in waves"""
    from solutions.waves import Waves, in_waves

    def logits(model, x):
        line, waves = x.reshape(len(x), -1), Waves(model, len(x))
        found = np.empty_like(line)
        for here in map(waves.begin, range(waves.times)):
            found[:, here] = waves.logits().reshape(-1, len(x)).T
            waves.put(line[:, here].T, 0)
        return found.reshape(x.shape)

    model = course_model(size)
    return carried(model, model.parameters(), weights, inputs, in_waves, logits)


def by_pixel(model, x: np.ndarray) -> np.ndarray:
    """The logits of given images, as lesson e12's sampler computes them"""
    from solutions.e12_sampling import cached

    predict, logits = cached(model, len(x)), np.empty_like(x)
    for i, j in np.ndindex(*x.shape[2:]):
        logits[:, 0, i, j] = predict(x, i, j)[:, 0, 0]
    return logits


def carried(model, parameters, weights, inputs, sample=None, logits=by_pixel) -> Run:
    """A course model, its parameters in the case's order -> images by `sample`, or by lesson e12's cached sampler"""
    from solutions import e12_sampling

    for p, w in zip(parameters, weights, strict=True):
        p.data = w
    x, u = inputs

    def step():
        return (sample or e12_sampling.sample)(model, len(x), Given(u))

    return Run(step, lambda: answer(logits(model, x), x), sum(p.size for p in parameters))


def torch(size, weights, inputs, tuned):
    """Naive, weights masked once; tuned: the cache"""
    import torch
    from torch.nn.functional import conv2d, relu

    Ws = [torch.tensor(w * mask(k, kind)) for w, (*_, k, kind) in zip(weights[::2], size.layers, strict=True)]
    bs = [torch.tensor(b) for b in weights[1::2]]
    last = len(Ws) - 1

    def layer(i, h):
        return conv2d(h, Ws[i], bs[i], padding=Ws[i].shape[2] // 2)

    def logits(x):
        h = layer(0, x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            h = h + layer(i + 2, relu(layer(i + 1, relu(layer(i, relu(h))))))
        return layer(last, relu(layer(last - 1, relu(h))))

    parameters = sum(w.size for w in weights)
    if not tuned:
        return naive_torch(logits, inputs, parameters)
    return cached_torch(lambda choose: torch_cache(size, Ws, bs, choose), inputs, parameters)


def naive_torch(logits, inputs, parameters: int) -> Run:
    """logits (batch, 1, side, side) of images -> drawn as one writes it first: all of them anew for every pixel"""
    import torch

    x, u = (torch.tensor(a) for a in inputs)

    @torch.no_grad()
    def step():
        drawn = torch.zeros_like(x)
        for i, j in np.ndindex(*x.shape[2:]):
            drawn[:, 0, i, j] = (u[:, 0, i, j] < torch.sigmoid(logits(drawn)[:, 0, i, j])).float()
        return drawn

    @torch.no_grad()
    def values():
        return answer(logits(x).numpy(), x.numpy())

    return Run(step, values, parameters, once=True)


def cached_torch(by_cache, inputs, parameters: int) -> Run:
    """by_cache(choose) -> images, where choose(row, column, logits (n,)) says the pixels (n,)"""
    import torch

    x, u = (torch.tensor(a) for a in inputs)

    @torch.no_grad()
    def step():
        return by_cache(lambda i, j, y: (u[:, 0, i, j] < torch.sigmoid(y)).float())

    @torch.no_grad()
    def values():
        seen = torch.empty_like(x)

        def given(i, j, y):
            seen[:, 0, i, j] = y
            return x[:, 0, i, j]

        by_cache(given)
        return answer(seen.numpy(), x.numpy())

    return Run(step, values, parameters)


def torch_cache(size, Ws, bs, choose):
    """Lesson e12's CachedPlain in PyTorch"""
    from torch import relu

    from benchmarks.torch_cache import CachedConv, Pointwise, draw

    first = CachedConv(Ws[0], bs[0], 3, size.batch, size.side)
    narrow, masked, wide = [], [], []
    for i in range(1, 1 + 3 * size.blocks, 3):
        narrow.append(Pointwise(Ws[i], bs[i]))
        masked.append(CachedConv(Ws[i + 1], bs[i + 1], 2, size.batch, size.side))
        wide.append(Pointwise(Ws[i + 2], bs[i + 2]))
    head = [Pointwise(W, b) for W, b in zip(Ws[-2:], bs[-2:], strict=True)]

    def features(h, j):
        for one, conv, other in zip(narrow, masked, wide, strict=True):
            h = h + other(relu(conv(relu(one(relu(h))), j)))
        return head[1](relu(head[0](relu(h))))

    return draw(first, [first, *masked], features, choose)


def jax(size, weights, inputs, tuned):
    """Naive, the loop over the pixels inside jit"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_conv import conv

    relu = jax.nn.relu
    Ws = [jnp.asarray(w * mask(k, kind)) for w, (*_, k, kind) in zip(weights[::2], size.layers, strict=True)]
    bs = [jnp.asarray(b) for b in weights[1::2]]
    last = len(Ws) - 1

    def logits(x):
        def layer(i, h):
            return conv(h, Ws[i], bs[i], 1, Ws[i].shape[2] // 2)

        h = layer(0, x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            h = h + layer(i + 2, relu(layer(i + 1, relu(layer(i, relu(h))))))
        return layer(last, relu(layer(last - 1, relu(h))))

    return naive_jax(logits, inputs, sum(w.size for w in weights))


def naive_jax(logits, inputs, parameters: int) -> Run:
    """logits (batch, 1, side, side) of images -> all of them anew for every pixel, the loop compiled beforehand"""
    import jax
    from jax import numpy as jnp

    x, u = (jnp.asarray(a) for a in inputs)
    rows, columns = x.shape[2:]

    def draw(u):
        def pixel(t, drawn):
            i, j = t // columns, t % columns
            value = (u[:, 0, i, j] < jax.nn.sigmoid(logits(drawn)[:, 0, i, j])).astype(drawn.dtype)
            return drawn.at[:, 0, i, j].set(value)

        return jax.lax.fori_loop(0, rows * columns, pixel, jnp.zeros_like(u))

    compiled = jax.jit(draw).lower(u).compile()

    def step():
        return compiled(u).block_until_ready()

    def values():
        return answer(jax.jit(logits)(x), inputs[0])

    return Run(step, values, parameters, once=True)
