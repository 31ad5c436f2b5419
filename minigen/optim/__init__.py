"""Optimizers, gradient clipping, and schedules of the learning rate."""

from minigen.optim.optimizer import Optimizer
from minigen.optim.rules import SGD, Adam, AdamW, RMSProp

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSProp"]
