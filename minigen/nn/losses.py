"""Losses of a batch: summed over the features of an example, averaged over the examples. Each returns a scalar.

The same losses for each element or row, before anything is summed, are in minigen.ops.
"""

from typing import Any

from minigen import ops
from minigen.backend import describe
from minigen.errors import SettingError, ShapeError
from minigen.tensor import Tensor


def cross_entropy(logits: Any, labels: Any) -> Any:
    """(N, K) logits, (N,) integer labels -> () nats: -log softmax(logits)[label], averaged over the N examples"""
    _batch("cross_entropy", logits)
    return ops.mean(ops.cross_entropy(logits, labels=labels))


def bce_with_logits(logits: Any, targets: Any) -> Any:
    """(N, ...), (N, ...) in [0, 1] -> () nats: binary cross-entropy, summed over features, averaged over examples"""
    _batch("bce_with_logits", logits)
    _probabilities(targets)
    return _per_example(ops.bce_with_logits(logits, targets))


def squared_error(x: Any, target: Any) -> Any:
    """(N, ...), (N, ...) -> (): (x - target)^2, summed over features, averaged over examples"""
    _batch("squared_error", x)
    return _per_example(ops.squared_error(x, target))


def l1(x: Any, target: Any) -> Any:
    """(N, ...), (N, ...) -> (): |x - target|, summed over features, averaged over examples"""
    _batch("l1", x)
    if x.shape != getattr(target, "shape", None):
        raise ShapeError(
            f"l1: the prediction is {describe(x)}, the target {describe(target)}: a loss wants equal shapes "
            "(broadcasting would compare every row with every other); reshape one of them"
        )
    return _per_example(ops.abs(ops.sub(x, target)))


def _per_example(elements: Any) -> Any:
    return ops.sum(elements) * (1.0 / elements.shape[0])


def _batch(loss: str, x: Any) -> None:
    if not x.shape or not x.shape[0]:
        found = "a batch of no examples" if x.shape else "a scalar"
        raise ShapeError(
            f"{loss}: the prediction is {found} {describe(x)}: expected at least one example along the first axis"
        )


def _probabilities(targets: Any) -> None:
    data = targets._data if isinstance(targets, Tensor) else targets
    if getattr(data, "size", 0) and not (data.min() >= 0 and data.max() <= 1):
        raise SettingError(
            f"bce_with_logits: targets must lie in [0, 1], found [{float(data.min()):.4g}, {float(data.max()):.4g}]: "
            "scale the images first (minigen.data.scale)"
        )
