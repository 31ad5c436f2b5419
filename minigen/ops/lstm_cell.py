"""What the kernels of the two pixel LSTMs share: one step of the cell on blocks of memory, and shards of a batch.

    o, f, i = sigmoid of a_o, a_f, a_i      g = tanh(a_g)      c' = f c + i g      h = o tanh(c')

A block is (..., h, P): features by places. The four gates of a step are one array G (..., 4, h, P), the three sigmoids
side by side. Their activations arrive with the sign turned: sigmoid(a) = 1 / (1 + exp(-a)) costs NumPy least.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from minigen import workers
from minigen.backend import Array, active, xp

COLUMNS = (
    1024  # of a step's blocks: with more they leave the cache, with fewer the calls cost more than the work
)
SHARED_FROM = (
    5e6  # multiplications of a step from which a second worker pays off: below, both wait for the interpreter
)


def forward(G: Array, c: Array, tanh_c: Array, h: Array) -> None:
    """G holds -a_o, -a_f, -a_i, a_g and becomes the gates; c becomes c', and tanh_c and h are filled."""
    sigmoids, (o, f, i, g) = G[..., :3, :, :], _gates(G)
    with np.errstate(over="ignore"):  # where exp(-a) is infinite, the gate is 0
        xp.exp(sigmoids, out=sigmoids)
    sigmoids += 1.0
    xp.divide(1.0, sigmoids, out=sigmoids)
    xp.tanh(g, out=g)
    c *= f
    xp.multiply(i, g, out=tanh_c)
    c += tanh_c
    xp.tanh(c, out=tanh_c)
    xp.multiply(o, tanh_c, out=h)


def backward(dh: Array, dc: Array, G: Array, c: Array, tanh_c: Array, dG: Array, spare: Array) -> None:
    """dG becomes the gradient of what `forward` found in G, dc that of c, from dh of h and dc of c'; dh is used up.

    c: before the step. spare: an array like G, to work in. The slope of a sigmoid s is s (1 - s), that of a tanh t
    is 1 - t^2.
    """
    (o, f, i, g), (do, df, di, dg) = _gates(G), _gates(dG)
    dh *= o
    dc += dh
    xp.multiply(dh, tanh_c, out=do)
    xp.multiply(do, tanh_c, out=dh)
    dc -= dh
    xp.multiply(dc, i, out=dg)
    xp.multiply(dg, g, out=di)
    dc *= f
    xp.multiply(dc, c, out=df)
    xp.subtract(G[..., :3, :, :], 1.0, out=spare[..., :3, :, :])  # s - 1, not 1 - s, for the turned sign
    rest = spare[..., 3, :, :]
    xp.multiply(g, g, out=rest)
    xp.subtract(1.0, rest, out=rest)
    dG *= spare


def _gates(G: Array) -> list[Array]:
    """o, f, i, g: (..., h, P) each"""
    return [G[..., k, :, :] for k in range(4)]


def cut(N: int, places: int, multiplications: float) -> list[tuple[int, int]]:
    """A batch of N examples in consecutive shards (first, behind the last), with at most COLUMNS columns if an example
    has that many places in a step; as many for each worker, if a step has many multiplications. A device takes the
    batch as a whole."""
    if active().name != "numpy" or N == 0:
        return [(0, N)]
    crew = workers.count() if multiplications > SHARED_FROM else 1
    most = max(1, COLUMNS // places)
    return workers.split(N, crew * -(-N // (crew * most)))


def each(work: Callable[..., Any], shards: list[Any], *args: Any) -> list[Any]:
    """[work(shard, *args) for each shard], shared by the workers"""
    results: list[Any] = [None] * len(shards)

    def task(first: int, last: int) -> None:
        for k in range(first, last):
            results[k] = work(shards[k], *args)

    workers.share(len(shards), task)
    return results


def total(parts: list[tuple[Array, ...]]) -> list[Array]:
    """What the shards found, added up in their order: the same count of workers gives the same bits"""
    return [reduce(add, arrays) for arrays in zip(*parts, strict=True)]
