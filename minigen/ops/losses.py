"""The losses that must be one operation to be finite and fast. Per element or per row: nothing is averaged."""

from minigen.autograd import fused, op
from minigen.backend import describe, xp
from minigen.errors import ShapeError
from minigen.ops.activations import log1p_exp_negative, rectified, sigmoid
from minigen.ops.indexing import take
from minigen.ops.reduce import log_softmax


@op
def bce_with_logits(logits, targets):
    """(...), (...) -> (...) nats: -t log s(l) - (1 - t) log(1 - s(l)) for each element, s the sigmoid.

    Finite for every finite logit: max(l, 0) - l t + log(1 + exp(-|l|)). Shapes must be equal.
    """
    if _same_shape(logits, targets):
        raise ShapeError("shapes differ")
    y = log1p_exp_negative(xp.abs(logits))
    y += rectified(logits)
    y -= logits * targets
    return y


@bce_with_logits.vjp
def _(g, y, logits, targets):
    return lambda: g * (sigmoid(logits) - targets), lambda: -g * logits


@bce_with_logits.fits
def _(logits, targets):
    return _same_shape(logits, targets)


@op
def squared_error(x, target):
    """(...), (...) -> (...): (x - target)^2 for each element. Shapes must be equal."""
    if _same_shape(x, target):
        raise ShapeError("shapes differ")
    return xp.square(x - target)


@squared_error.vjp
def _(g, y, x, target):
    return lambda: g * (2.0 * (x - target)), lambda: g * (2.0 * (target - x))


@squared_error.fits
def _(x, target):
    return _same_shape(x, target)


def _same_shape(a, b):
    if getattr(a, "shape", None) != getattr(b, "shape", 0):
        return (
            f"the prediction is {describe(a)}, the target {describe(b)}: a loss wants equal shapes "
            "(broadcasting would compare every row with every other); reshape one of them"
        )
    return None


@fused
def cross_entropy(logits, *, labels):
    """(N, K) logits, (N,) integer labels -> (N,) nats: -log softmax(logits)[label] for each row."""
    labels = _checked_labels(logits, labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = xp.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    rows = xp.arange(len(labels))
    y = xp.log(total[:, 0]) - shifted[rows, labels]
    p /= total
    return y, (p, rows, labels)


@cross_entropy.vjp
def _(g, saved, logits, *, labels):
    def thunk():
        p, rows, checked = saved
        gx = p * g[:, None]
        gx[rows, checked] -= g
        return gx

    return thunk


@cross_entropy.as_twin
def _(logits, *, labels):
    labels = _checked_labels(logits, labels)
    return -take(log_softmax(logits, axis=1), index=(xp.arange(len(labels)), labels))


def _checked_labels(logits, labels):
    labels = getattr(labels, "_data", labels)
    labels = xp.asarray(labels) if isinstance(labels, list) else labels
    if logits.ndim != 2:
        raise ValueError(f"logits must be (N, K), one row for each example, got {describe(logits)}")
    if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
        hint = (
            ": labels are class indices, not one-hot rows; use labels.argmax(1)" if labels.ndim == 2 else ""
        )
        raise ValueError(f"labels must be ({logits.shape[0]},) integers, got {describe(labels)}{hint}")
    classes = logits.shape[1]
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        bad = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise ValueError(f"label {bad} is outside the {classes} classes 0..{classes - 1} of the logits")
    return labels.copy()  # the caller may reuse his array before the backward pass
