"""minigen: deep generative models, built by hand in NumPy."""

from minigen import distributions, errors, nn, ops, optim
from minigen.autograd import detect_anomaly, enable_grad, fused, grad, no_grad, op
from minigen.backend import to_host, use, xp
from minigen.gradcheck import gradcheck
from minigen.tensor import Tensor

__version__ = "0.1.0"
__all__ = [
    "Tensor",
    "detect_anomaly",
    "distributions",
    "enable_grad",
    "errors",
    "fused",
    "grad",
    "gradcheck",
    "nn",
    "no_grad",
    "op",
    "ops",
    "optim",
    "to_host",
    "use",
    "xp",
]
