"""The one training loop, its run folders and its progress."""

from minigen.training.interrupt import Interrupted
from minigen.training.loop import Result, streams, train
from minigen.training.progress import progress

__all__ = ["Interrupted", "Result", "progress", "streams", "train"]
