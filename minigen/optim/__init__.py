"""Optimizers, gradient clipping, and schedules of the learning rate."""

from minigen.optim import schedules
from minigen.optim.clip import clip_grad_norm
from minigen.optim.optimizer import Optimizer
from minigen.optim.rules import SGD, Adam, AdamW, RMSProp
from minigen.optim.schedules import constant, cosine, exponential, linear_warmup, step_decay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "clip_grad_norm",
    "constant",
    "cosine",
    "exponential",
    "linear_warmup",
    "schedules",
    "step_decay",
]
