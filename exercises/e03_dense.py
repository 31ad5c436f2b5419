"""Dense layers, losses, optimisers: a classifier of digits, from its parts. About 120 minutes.

Supervised learning: from pairs (x, y) learn a function that answers y for a new x. Here x is an image, y its digit.
The function is a stack of dense layers with a curve between them, its last output one logit for each class; the loss
is the cross-entropy of the softmax of the logits; an optimiser moves the weights against the gradient of the loss:

    h = relu(x W1 + b1),   logits = h W2 + b2,   loss = -log softmax(logits)[y]      averaged over the examples.

Autograd is given: these functions get minigen Tensors, and what minigen.ops does to Tensors has its gradient already.
Every optimiser keeps one rule, written on flat arrays. The parts are those of minigen.nn and minigen.optim.

Goodfellow, Bengio and Courville (2016), Deep Learning, chapters 6 and 8; LeCun et al. (1998), Efficient BackProp.
"""

# Complete the TODOs in any order, then type: minigen check e03

import sys
from itertools import pairwise

import numpy as np

from minigen import Tensor, no_grad, ops, optim, xp
from minigen.errors import ShapeError
from minigen.nn import Module, Sequential
from minigen.nn.init import xavier_uniform

# Layers


def he_normal(shape, *, rng):
    """(n_in, n_out) -> (n_in, n_out) float32 array: independent draws from N(0, 2 / n_in)

    Behind a ReLU, a sum of n_in products has n_in Var(w) / 2 times the mean square of the sums one layer below. With
    this variance the signal keeps its size through many layers. All randomness comes from `rng`, a numpy Generator.
    He et al. (2015), Delving Deep into Rectifiers, eq. 10.
    """
    # TODO: standard normal numbers times the standard deviation, as float32
    raise NotImplementedError("he_normal: standard normal numbers times the standard deviation, as float32")


class Dense(Module):
    """(..., n_in) -> (..., n_out): x W + b, with W: (n_in, n_out) and b: (n_out,)"""

    def __init__(self, n_in, n_out, *, bias=True, init=xavier_uniform, rng):
        """Makes the parameters `W` and `b`: float32 Tensors that require gradients.

        W holds init((n_in, n_out), rng=rng), b zeros; with bias=False, b is None. (Equal weights would get equal
        gradients and stay equal for ever; biases may start equal, because the weights already differ.)
        """
        # TODO: W from init and b from zeros, both trainable Tensors; b = None if bias is False
        raise NotImplementedError(
            "Dense.__init__: W from init and b from zeros, both trainable Tensors; b = None if bias is False"
        )

    def __call__(self, x):
        """(..., n_in) -> (..., n_out): x W + b, or x W where there is no b; x is a Tensor or an array"""
        # TODO: the matrix product of x and W, plus b if there is one
        raise NotImplementedError("Dense.__call__: the matrix product of x and W, plus b if there is one")


class ReLU(Module):
    """(...) -> (...): max(x, 0), elementwise"""

    def __call__(self, x):
        """(...) -> (...): x where x > 0, else 0, for a Tensor x, which stays as it is"""
        # TODO: the larger of x and zero, elementwise
        raise NotImplementedError("ReLU.__call__: the larger of x and zero, elementwise")


def mlp(sizes, *, rng):
    """(n_0, ..., n_L) -> a model (N, n_0) -> (N, n_L): Dense layers with a ReLU between any two

    With two sizes it is linear: softmax regression.
    """
    layers = [layer for pair in pairwise(sizes) for layer in (Dense(*pair, init=he_normal, rng=rng), ReLU())]
    return Sequential(*layers[:-1])


# Losses: summed over the features of an example, averaged over the N examples. Shapes are never broadcast.


def same_shape(prediction, target):
    """Raises ShapeError unless the shapes are equal: (N,) against (N, 1) would compare each with each other."""
    if prediction.shape != target.shape or not prediction.shape:
        raise ShapeError(f"loss: prediction {prediction.shape}, target {target.shape}; expected equal shapes")


def squared_error(x, target):
    """(N, ...), (N, ...) -> (): (x - target)^2, summed over features, averaged over examples (regression)"""
    same_shape(x, target)
    return ops.sum(ops.square(x - target)) * (1 / len(x))


def cross_entropy(logits, labels):
    """(N, K) Tensor, (N,) integer array -> () nats: -log softmax(logits)[label], averaged over the examples

    softmax(l)_k = exp(l_k) / sum_j exp(l_j), over the K logits of one example. Loss and gradient are finite and right
    for logits of +-1000, and in the dtype of the logits. Neither argument is changed. (Written with exp, log, sums,
    or ops.logsumexp or ops.log_softmax; nn.cross_entropy is what this function replaces.)
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy: {logits.shape} logits, {labels.shape} labels; expected (N, K) and (N,)"
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ShapeError(f"cross_entropy: a label is outside the {logits.shape[1]} classes of the logits")
    # TODO: for each row, a log of a sum of exps that cannot overflow, minus the label's logit; the mean
    raise NotImplementedError(
        "cross_entropy: for each row, a log of a sum of exps that cannot overflow, minus the label's logit; "
        "the mean"
    )


def bce_with_logits(logits, targets):
    """(N, ...) Tensor, (N, ...) in [0, 1] -> () nats: binary cross-entropy, summed over features, mean over examples

    -t log s - (1 - t) log(1 - s) with s = sigmoid(l), for every element; the targets t may lie anywhere between 0
    and 1. Loss and gradient are finite and right for logits of +-1000, and in the dtype of the logits. Neither
    argument is changed. (nn.bce_with_logits is what this function replaces.)
    """
    same_shape(logits, targets)
    # TODO: a form in which no exp overflows and no log sees 0; summed over everything, divided by N
    raise NotImplementedError(
        "bce_with_logits: a form in which no exp overflows and no log sees 0; summed over everything, "
        "divided by N"
    )


# Optimisers. What they inherit keeps lr and the other settings as attributes, the state arrays (zeros at first) and
# the count of steps, and calls `update` on the parameters laid out flat, stretch by stretch. `decay` adds weight
# decay to g, if there is any.


class SGD(optim.SGD):
    """SGD(params, lr, momentum=0.0): stochastic gradient descent with momentum"""

    def update(self, w, g, v):
        """(n,) weights, gradients, velocities -> None: one step, w and v changed in place, g left as it is

        v <- momentum v + g,  then  w <- w - lr v,  or if self.nesterov  w <- w - lr (g + momentum v).
        Sutskever et al. (2013), On the importance of initialization and momentum in deep learning.
        """
        self.decay(w, g)
        # TODO: v first, then w, both in place; with self.nesterov the step looks ahead
        raise NotImplementedError(
            "SGD.update: v first, then w, both in place; with self.nesterov the step looks ahead"
        )


class RMSProp(optim.RMSProp):
    """RMSProp(params, lr, alpha=0.99, eps=1e-8): steps divided by a running root mean square of the gradient"""

    def update(self, w, g, s):
        """(n,) weights, gradients, mean squares -> None: one step, w and s changed in place, g left as it is

        s <- alpha s + (1 - alpha) g^2,  then  w <- w - lr g / (sqrt(s) + eps).
        Tieleman and Hinton (2012), Neural Networks for Machine Learning, lecture 6.5.
        """
        self.decay(w, g)
        # TODO: s first, then w, both in place
        raise NotImplementedError("RMSProp.update: s first, then w, both in place")


class Adam(optim.Adam):
    """Adam(params, lr, beta1=0.9, beta2=0.999, eps=1e-8): momentum and RMSProp, both with their start corrected"""

    def update(self, w, g, m, v, t):
        """(n,) weights, gradients, first and second moments, t = 1, 2, ... -> None: step t; g is left as it is

        m <- beta1 m + (1 - beta1) g  and  v <- beta2 v + (1 - beta2) g^2; these averages started from zero, so
        m' = m / (1 - beta1^t), v' = v / (1 - beta2^t); then  w <- w - lr m' / (sqrt(v') + eps). w, m and v are changed
        in place (m and v hold the uncorrected averages). Kingma and Ba (2015), Adam, algorithm 1.
        """
        self.decay(w, g)
        # TODO: m and v in place; correct both in new arrays; then w in place
        raise NotImplementedError(
            "Adam.update: m and v in place; correct both in new arrays; then w in place"
        )


# Training


def error_rate(logits, labels):
    """(N, K) Tensor, (N,) integer array -> float in [0, 1]: how often the largest logit is not that of the label"""
    # TODO: the class of the largest logit of each example; the mean of where it is not the label
    raise NotImplementedError(
        "error_rate: the class of the largest logit of each example; the mean of where it is not the label"
    )


def batches(n, size, rng):
    """-> an iterable of 1-D integer arrays: the indices 0..n-1 of one epoch, each once, in random order

    All have `size` indices, the last one what is left over. Every call draws a new order from `rng`, and nothing else
    is random.
    """
    # TODO: a random permutation of 0..n-1, cut into pieces of `size`
    raise NotImplementedError("batches: a random permutation of 0..n-1, cut into pieces of `size`")


def train_step(model, optimizer, x, labels):
    """(N, D), (N,) -> float: one step of the optimiser on one batch; returns the cross-entropy from before the step

    The step uses the gradient of this batch's loss alone: what was in `.grad` before does not count. The optimiser's
    parameters (optimizer.params, perhaps not all of the model's) move; everything else stays.
    """
    # TODO: zero the gradients, forward, loss, backward, step; the loss as a float
    raise NotImplementedError(
        "train_step: zero the gradients, forward, loss, backward, step; the loss as a float"
    )


def fit(model, optimizer, train, test, *, epochs, batch_size, rng):
    """pairs (images (N, D), labels (N,)) -> [(mean loss of the epoch's steps, test error after it), ...], both floats

    Each epoch takes the training set once, in batches of `batch_size` in a new order drawn from `rng`. The test set is
    only measured, once an epoch: no step sees it, and no decision depends on it.
    """
    # TODO: for each epoch a train_step on each batch, then the error rate on the test set under no_grad
    raise NotImplementedError(
        "fit: for each epoch a train_step on each batch, then the error rate on the test set under no_grad"
    )


def main(dataset="mnist-small", epochs=10):
    """Trains softmax regression and an MLP on the digits of a data set, and prints their test errors"""
    from minigen.data import load, scale

    data = load(dataset)
    train, test = [(scale(part.images).reshape(-1, 784), part.labels) for part in (data.train, data.test)]
    for name, sizes in {"softmax regression": (784, 10), "MLP": (784, 256, 10)}.items():
        rng = np.random.default_rng(0)
        model = mlp(sizes, rng=rng)
        optimizer = Adam(model.parameters(), lr=1e-3)
        history = fit(model, optimizer, train, test, epochs=epochs, batch_size=50, rng=rng)
        for epoch, (loss, error) in enumerate(history, 1):
            print(f"{name}, epoch {epoch}: training loss {loss:.3f} nats, test error {error:.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])


# untouched stub 1b6e41c820fd
