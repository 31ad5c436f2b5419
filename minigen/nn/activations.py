"""Activations as modules, for use in Sequential. Elementwise: (...) -> (...)."""

from minigen import ops
from minigen.nn.module import Module


class ReLU(Module):
    """(...) -> (...): max(x, 0)"""

    def __call__(self, x):
        return ops.relu(x)


class LeakyReLU(Module):
    """(...) -> (...): x where x > 0, else slope * x"""

    def __init__(self, slope: float = 0.2):
        self.slope = slope

    def __call__(self, x):
        return ops.leaky_relu(x, slope=self.slope)


class ELU(Module):
    """(...) -> (...): x where x > 0, else alpha (exp(x) - 1)"""

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def __call__(self, x):
        return ops.elu(x, alpha=self.alpha)


class Tanh(Module):
    """(...) -> (...): the hyperbolic tangent, in (-1, 1)"""

    def __call__(self, x):
        return ops.tanh(x)


class Sigmoid(Module):
    """(...) -> (...): 1 / (1 + exp(-x)), in (0, 1)"""

    def __call__(self, x):
        return ops.sigmoid(x)


class Softplus(Module):
    """(...) -> (...): log(1 + exp(x)), above 0"""

    def __call__(self, x):
        return ops.softplus(x)
