"""16 images drawn from pixelcnn_step's model, pixel by pixel, 28x28, from given uniform numbers.

minigen draws with the cached sampler of lesson e12, which computes every feature once. PyTorch eager and JAX draw as
one writes it first: the whole network for each of the 784 pixels. PyTorch *tuned* is the same cache written in PyTorch:
what is left between it and minigen is not the algorithm. Compared first: the logits of given images, each its own way.
"""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Run, Work, pixelcnn_step
from benchmarks.cases.pixelcnn_step import Size, mask, weights

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


class Given:
    """In place of a generator: the numbers that all libraries draw with"""

    def __init__(self, u: np.ndarray):
        self.u = u

    def random(self, shape) -> np.ndarray:
        return self.u.reshape(shape)


def answer(logits, x: np.ndarray) -> dict[str, np.ndarray]:
    """Nats per image of the given images, and their logits (batch, 1, side, side)"""
    logits = np.asarray(logits)
    nats = np.logaddexp(0, logits.astype(np.float64)) - x * logits
    return {"loss": nats.sum() / len(x), "logits": logits}


def minigen(size, weights, inputs, tuned):
    """Lesson e12's sampler, lesson e11's model"""
    from solutions.e11_pixelcnn import Config, PixelCNN
    from solutions.e12_sampling import cached, sample

    config = Config(side=size.side, h=size.h, blocks=size.blocks, kernel=3, head=2 * size.h)
    model = PixelCNN(config, rng=np.random.default_rng(0))
    for p, w in zip(model.parameters(), weights, strict=True):
        p.data = w
    x, u = inputs

    def step():
        return sample(model, size.batch, Given(u))

    def values():
        predict, logits = cached(model, size.batch), np.empty_like(x)
        for i, j in np.ndindex(size.side, size.side):
            logits[:, 0, i, j] = predict(x, i, j)[:, 0, 0]
        return answer(logits, x)

    return Run(step, values, sum(p.size for p in model.parameters()))


def torch(size, weights, inputs, tuned):
    """Naive, weights masked once; tuned: the cache"""
    import torch
    from torch.nn.functional import conv2d, relu

    Ws = [torch.tensor(w * mask(k, kind)) for w, (*_, k, kind) in zip(weights[::2], size.layers, strict=True)]
    bs = [torch.tensor(b) for b in weights[1::2]]
    x, u = (torch.tensor(a) for a in inputs)
    last = len(Ws) - 1

    def layer(i, h):
        return conv2d(h, Ws[i], bs[i], padding=Ws[i].shape[2] // 2)

    def logits(x):
        h = layer(0, x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            h = h + layer(i + 2, relu(layer(i + 1, relu(layer(i, relu(h))))))
        return layer(last, relu(layer(last - 1, relu(h))))

    def naive():
        drawn = torch.zeros_like(x)
        for i, j in np.ndindex(size.side, size.side):
            drawn[:, 0, i, j] = (u[:, 0, i, j] < torch.sigmoid(logits(drawn)[:, 0, i, j])).float()
        return drawn

    def by_cache(choose):
        return torch_cache(torch, size, Ws, bs, choose)

    @torch.no_grad()
    def step():
        return by_cache(lambda i, j, y: (u[:, 0, i, j] < torch.sigmoid(y)).float()) if tuned else naive()

    @torch.no_grad()
    def values():
        if not tuned:
            return answer(logits(x).numpy(), x.numpy())
        seen = torch.empty_like(x)

        def given(i, j, y):
            seen[:, 0, i, j] = y
            return x[:, 0, i, j]

        by_cache(given)
        return answer(seen.numpy(), x.numpy())

    return Run(step, values, sum(w.size for w in weights))


def torch_cache(torch, size, Ws, bs, choose):
    """Lesson e12's CachedPlain in PyTorch; choose(row, column, logits (n,)) -> the pixel (n,)"""
    n, side, last = size.batch, size.side, len(Ws) - 1
    masked = [0, *range(2, last - 1, 3)]  # the layers with a kernel; all others are 1x1
    kept = {
        i: torch.zeros(Ws[i].shape[2] // 2 + 1, n, side + 2 * (Ws[i].shape[2] // 2), Ws[i].shape[1])
        for i in masked
    }
    upper, left, flat = {}, {}, {}
    for i, W in enumerate(Ws):
        k = W.shape[2]
        taps = W.permute(2, 3, 1, 0)  # (k, k, n_in, n_out)
        upper[i] = taps[: k // 2].reshape(-1, W.shape[0])
        left[i] = taps[k // 2, : k // 2 + (i > 0)].reshape(-1, W.shape[0])
        flat[i] = W[:, :, 0, 0].T.contiguous()
    above = {}

    def at(i, h):
        return torch.addmm(bs[i], h, flat[i])

    def conv(i, h, j):
        width = left[i].shape[0] // Ws[i].shape[1]
        if i:
            kept[i][-1][:, j + Ws[i].shape[2] // 2] = h
        return torch.addmm(above[i][:, j], kept[i][-1][:, j : j + width].reshape(n, -1), left[i])

    images = torch.zeros(n, side, side)
    for row in range(side):
        for i in masked:
            k, rows = Ws[i].shape[2], kept[i]
            rows[:-1] = rows[1:].clone()
            columns = [rows[a, :, e : e + side] for a in range(k // 2) for e in range(k)]
            above[i] = bs[i] + torch.cat(columns, dim=2) @ upper[i]
        for j in range(side):
            h = conv(0, None, j)
            for i in range(1, 1 + 3 * size.blocks, 3):
                h = h + at(i + 2, torch.relu(conv(i + 1, torch.relu(at(i, torch.relu(h))), j)))
            y = at(last, torch.relu(at(last - 1, torch.relu(h))))[:, 0]
            images[:, row, j] = kept[0][-1][:, j + Ws[0].shape[2] // 2, 0] = choose(row, j, y)
    return images


def jax(size, weights, inputs, tuned):
    """Naive, the loop over the pixels inside jit"""
    import jax
    from jax import numpy as jnp

    from benchmarks.jax_conv import conv

    relu = jax.nn.relu
    Ws = [jnp.asarray(w * mask(k, kind)) for w, (*_, k, kind) in zip(weights[::2], size.layers, strict=True)]
    bs = [jnp.asarray(b) for b in weights[1::2]]
    x, u = (jnp.asarray(a) for a in inputs)
    last = len(Ws) - 1

    def logits(x):
        def layer(i, h):
            return conv(h, Ws[i], bs[i], 1, Ws[i].shape[2] // 2)

        h = layer(0, x)
        for i in range(1, 1 + 3 * size.blocks, 3):
            h = h + layer(i + 2, relu(layer(i + 1, relu(layer(i, relu(h))))))
        return layer(last, relu(layer(last - 1, relu(h))))

    @jax.jit
    def draw(u):
        def pixel(t, drawn):
            i, j = t // size.side, t % size.side
            value = (u[:, 0, i, j] < jax.nn.sigmoid(logits(drawn)[:, 0, i, j])).astype(drawn.dtype)
            return drawn.at[:, 0, i, j].set(value)

        return jax.lax.fori_loop(0, size.side**2, pixel, jnp.zeros_like(u))

    def step():
        return draw(u).block_until_ready()

    def values():
        return answer(jax.jit(logits)(x), inputs[0])

    return Run(step, values, sum(w.size for w in weights))
