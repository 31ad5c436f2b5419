"""The update rules. Each `update` works on 1-D arrays in place; `out=` and one scratch array save every allocation."""

import math
from collections.abc import Iterable
from numbers import Real

from minigen.backend import Array, xp
from minigen.blas import axpby
from minigen.errors import SettingError
from minigen.optim.optimizer import Optimizer
from minigen.tensor import Tensor


def _fraction(**settings: float) -> None:
    for name, value in settings.items():
        if not isinstance(value, Real) or not 0 <= value < 1:
            raise SettingError(f"{name} must be a number in [0, 1), got {value!r}")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v = momentum v + g, w -= lr v.

    nesterov: w -= lr (g + momentum v). Sutskever et al. 2013, On the importance of initialization and momentum; here in
    PyTorch's form, in which lr scales the whole velocity. weight_decay is added to the gradient (an L2 penalty).
    """

    state = ("v",)
    settings = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        _fraction(momentum=momentum)
        if nesterov and not momentum:
            raise SettingError("SGD: nesterov looks ahead along the momentum, which is 0: set momentum too")
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, w: Array, g: Array, v: Array) -> None:
        """w, g, v: (n,) -> None"""
        self.decay(w, g)
        s = self.scratch(w)
        if self.momentum:
            axpby(1.0, g, self.momentum, v, s)
            if self.nesterov:
                axpby(self.momentum, v, 1.0, g, s)
            else:
                g = v
        axpby(-self.lr, g, 1.0, w, s)


class RMSProp(Optimizer):
    """Divides by a running root mean square: s = alpha s + (1 - alpha) g^2, w -= lr g / (sqrt(s) + eps).

    Tieleman and Hinton 2012, Coursera lecture 6e; eps outside the root, as in PyTorch.
    """

    state = ("s",)
    leaves_gradient = True
    settings = ("lr", "alpha", "eps", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        _fraction(alpha=alpha)
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps = alpha, eps

    def update(self, w: Array, g: Array, s: Array) -> None:
        """w, g, s: (n,) -> None"""
        self.decay(w, g)
        work = self.scratch(w)
        xp.multiply(g, g, out=work)
        axpby(1.0 - self.alpha, work, self.alpha, s, work)
        xp.sqrt(s, out=work)
        work += self.eps
        xp.divide(g, work, out=work)
        axpby(-self.lr, work, 1.0, w, work)


class Adam(Optimizer):
    """Adaptive moments: w -= lr m' / (sqrt(v') + eps), with m', v' the bias-corrected means of g and g^2.

    Kingma and Ba 2015, Adam, algorithm 1. weight_decay is added to the gradient (an L2 penalty); see AdamW.
    """

    state = ("m", "v")
    leaves_gradient = True
    settings = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        _fraction(beta1=beta1, beta2=beta2)
        super().__init__(params, lr, weight_decay)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def _apply(self, w: Array, g: Array, state: list[Array], t: int) -> None:
        m, v = state
        self.update(w, g, m, v, t)

    def update(self, w: Array, g: Array, m: Array, v: Array, t: int) -> None:
        """w, g, m, v: (n,), t = 1, 2, ... -> None

        The bias corrections are numbers, so they move out of the arrays: with c = 1 - beta^t,
        lr (m / c1) / (sqrt(v / c2) + eps) = (lr sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)).
        """
        self.decay(w, g)
        s = self.scratch(w)
        root = math.sqrt(1.0 - self.beta2**t)
        axpby(1.0 - self.beta1, g, self.beta1, m, s)
        xp.multiply(g, g, out=s)
        axpby(1.0 - self.beta2, s, self.beta2, v, s)
        xp.sqrt(v, out=s)
        s += self.eps * root
        xp.divide(m, s, out=s)
        axpby(-self.lr * root / (1.0 - self.beta1**t), s, 1.0, w, s)


class AdamW(Adam):
    """Adam with decoupled weight decay: w -= lr weight_decay w beside Adam's step, not through the moments.

    Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2 (lr scales the decay, as in PyTorch).
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)

    def decay(self, w: Array, g: Array) -> None:
        """w: (n,), g: (n,) -> None: shrinks the weights themselves"""
        if self.weight_decay:
            w *= 1.0 - self.lr * self.weight_decay
