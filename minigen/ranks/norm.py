"""Batch statistics of all ranks' images, and the gradient through them.

A loss is the weighted sum of the ranks' losses, so what flows into a sum over ranks flows, summed, to every rank:
the transpose of `all_sum` is `all_sum`. Every rank walks the same graph, and so meets the same sums in one order.
"""

import math

from minigen import ops
from minigen.autograd import fused, op, sum_axes
from minigen.backend import xp
from minigen.errors import ShapeError
from minigen.ops.norm import channel_axes


@op
def all_sum(x, *, team):
    """(...) -> (...): the sum over all ranks"""
    y = xp.array(x, order="C")  # in rows: then it is itself, and no copy, that lies flat
    team.allreduce_sum(y.reshape(-1))
    return y


@all_sum.vjp
def _(g, y, x, *, team):
    return lambda: all_sum(g, team=team)


def moments(x, share):
    """(N, C, ...) -> n, mean (C,), biased variance (C,), x - mean: over all ranks' N and the rest; on raw arrays

    In two passes, as in one process: the squares of what is centred are summed, never a difference of large squares.
    """
    axes, along = channel_axes(x)
    found = share.places(x.shape[0])
    n = found[0] * math.prod(x.shape[2:]) if found else 0
    if n < 2:
        raise ShapeError(
            f"a batch of shape {tuple(x.shape)} on rank {share.team.rank} has no statistics: expected the "
            f"{len(share.rows)} images of this rank's share, and 2 values per channel on all ranks together"
        )
    middle = sum_axes(x, axes)
    share.team.allreduce_sum(middle)
    middle *= 1.0 / n
    centred = x - middle.reshape(along)
    squares = sum_axes(xp.square(centred), axes)
    share.team.allreduce_sum(squares)
    return n, middle, squares * (1.0 / n), centred


@fused
def batch_norm(x, gamma, beta, *, eps, team, stats):
    """(N, C, ...), (C,), (C,) -> (N, C, ...): as ops.norm.batch_norm, over the batch of all ranks; stats: `moments`"""
    n, _, var, centred = stats
    _, along = channel_axes(x)
    inverse = 1.0 / xp.sqrt(var + eps)
    y = centred * (gamma * inverse).reshape(along)
    y += beta.reshape(along)
    return y, (n, centred, inverse)


@batch_norm.vjp
def _(g, saved, x, gamma, beta, *, eps, team, stats):
    n, centred, inverse = saved
    axes, along = channel_axes(centred)
    known: dict = {}

    def sums():  # (C,) each: of g, and of g (x - mean), of this rank's images
        if not known:
            known["sums"] = sum_axes(g, axes), sum_axes(g * centred, axes)
        return known["sums"]

    def for_x():  # s (g - mean(g) - centred mean(g centred) / (var + eps)), s = gamma / sqrt(var + eps)
        of_all = xp.concatenate(sums())
        team.allreduce_sum(of_all)
        of_all *= 1.0 / n
        g_mean, gc_mean = of_all[: len(inverse)], of_all[len(inverse) :]
        scale = gamma * inverse
        gx = centred * (scale * inverse * inverse * -gc_mean).reshape(along)
        gx += g * scale.reshape(along)
        gx -= (scale * g_mean).reshape(along)
        return gx

    # those of gamma and beta are this rank's part: gradients of parameters are summed over the ranks afterwards
    return for_x, lambda: sums()[1] * inverse, lambda: sums()[0]


@batch_norm.as_twin
def _(x, gamma, beta, *, eps, team, stats):
    axes, along = channel_axes(x)
    share = 1.0 / stats[0]
    mean = all_sum(ops.sum(x, axis=axes, keepdims=True), team=team) * share
    centred = x - mean
    var = all_sum(ops.sum(centred * centred, axis=axes, keepdims=True), team=team) * share
    scale = ops.reshape(gamma, shape=along)
    return centred / ops.sqrt(var + eps) * scale + ops.reshape(beta, shape=along)
