"""The one training loop, its run folders and its progress."""

from minigen.training.evaluation import evaluate
from minigen.training.interrupt import Interrupted
from minigen.training.loop import Result, train
from minigen.training.progress import progress
from minigen.training.streams import streams

__all__ = ["Interrupted", "Result", "evaluate", "progress", "streams", "train"]
