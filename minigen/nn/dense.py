"""Dense: the fully connected layer."""

from collections.abc import Callable

import numpy as np

from minigen import ops
from minigen.nn import init as initialisers
from minigen.nn.module import Module
from minigen.nn.settings import generator, sizes
from minigen.tensor import Tensor


class Dense(Module):
    """(..., n_in) -> (..., n_out): x W + b, with W: (n_in, n_out) and b: (n_out,)

    init: a function of minigen.nn.init for W; b starts at zero. bias=False: no b at all.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        init: Callable[..., np.ndarray] = initialisers.xavier_uniform,
        rng: np.random.Generator,
    ):
        sizes("Dense", n_in=n_in, n_out=n_out)
        generator("Dense", rng)
        self.W = Tensor(init((n_in, n_out), rng=rng), requires_grad=True)
        self.b = Tensor(initialisers.zeros((n_out,)), requires_grad=True) if bias else None

    def __call__(self, x):
        return ops.matmul(x, self.W) if self.b is None else ops.linear(x, self.W, self.b)
