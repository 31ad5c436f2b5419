"""Data sets, checked byte by byte, and the batches cut from them."""

from minigen.data.batches import Batches
from minigen.data.pixels import binarize, scale
from minigen.data.registry import NAMES
from minigen.data.sets import Dataset, Split, load, read_split

__all__ = ["NAMES", "Batches", "Dataset", "Split", "binarize", "load", "read_split", "scale"]
