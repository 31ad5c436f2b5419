"""Normalisation layers."""

from minigen import ops, ranks
from minigen.autograd import Node
from minigen.backend import Array, describe, xp
from minigen.errors import ShapeError
from minigen.nn.init import zeros
from minigen.nn.module import Module
from minigen.nn.settings import sizes
from minigen.ops import norm
from minigen.ranks import norm as over_ranks
from minigen.tensor import Tensor


class BatchNorm(Module):
    """(N, n, ...) -> (N, n, ...): each channel (axis 1) normalised over all other axes, then scaled and shifted

    In training, by the batch's mean and biased variance, and the running statistics move towards the batch's (the
    variance unbiased) by `momentum`, as in PyTorch; after eval(), by the running statistics.
    """

    def __init__(self, n: int, *, momentum: float = 0.1, eps: float = 1e-5):
        sizes("BatchNorm", n=n)
        self.momentum, self.eps = momentum, eps
        self.gamma = Tensor(zeros((n,)) + 1, requires_grad=True)
        self.beta = Tensor(zeros((n,)), requires_grad=True)
        self.running_mean = Tensor(zeros((n,)))
        self.running_var = Tensor(zeros((n,)) + 1)

    def __call__(self, x):
        data = x._data if isinstance(x, Node) else x
        if data.ndim < 2 or data.shape[1] != self.gamma.size:
            hint = ": are the channels on the last axis?" if data.shape[-1:] == self.gamma.shape else ""
            raise ShapeError(
                f"BatchNorm expects {self.gamma.size} channels on axis 1, got {describe(data)}{hint}"
            )
        if not self.training:
            return self._by_running_statistics(x)
        share = ranks.current()
        if share is not None:
            return self._over_ranks(x, data, share)
        stats = norm.moments(data)
        self._follow(stats[0], stats[1], data.size // data.shape[1])
        return norm.batch_norm(x, self.gamma, self.beta, eps=self.eps, stats=stats)

    def _over_ranks(self, x, data: Array, share: ranks.Share):
        """By the mean and variance of the whole batch, of which this process has a share."""
        stats = over_ranks.moments(data, share)
        self._follow(stats[1], stats[2], stats[0])
        return over_ranks.batch_norm(x, self.gamma, self.beta, eps=self.eps, team=share.team, stats=stats)

    def _follow(self, mean: Array, var: Array, n: int) -> None:
        m = self.momentum
        self.running_mean.data = self.running_mean._data * (1.0 - m) + mean * m
        self.running_var.data = self.running_var._data * (1.0 - m) + var * (m * n / (n - 1))

    def _by_running_statistics(self, x):
        _, along = norm.channel_axes(x)
        inverse = 1.0 / xp.sqrt(self.running_var._data + self.eps)
        scale = self.gamma * inverse
        shift = self.beta - scale * self.running_mean._data
        return ops.add(ops.mul(x, ops.reshape(scale, shape=along)), ops.reshape(shift, shape=along))


class LayerNorm(Module):
    """(..., *n) -> (..., *n): each example normalised over the last axes (n: their sizes), then scaled and shifted"""

    def __init__(self, n: int | tuple[int, ...], *, eps: float = 1e-5):
        shape = tuple(n) if isinstance(n, tuple | list) else (n,)
        for size in shape:
            sizes("LayerNorm", n=size)
        self.eps = eps
        self.gamma = Tensor(zeros(shape) + 1, requires_grad=True)
        self.beta = Tensor(zeros(shape), requires_grad=True)

    def __call__(self, x):
        return norm.layer_norm(x, self.gamma, self.beta, eps=self.eps)
