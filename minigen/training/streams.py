"""The random streams of a run: one seed, and what one of them draws never shifts another."""

from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """Independent random generators of one seed: what one of them draws never shifts another."""

    init: np.random.Generator
    data: np.random.Generator
    noise: np.random.Generator
    evaluation: np.random.SeedSequence


def streams(seed: int) -> Streams:
    """seed -> Streams"""
    init, data, noise, evaluation = np.random.SeedSequence(seed).spawn(4)
    make = np.random.default_rng
    return Streams(make(init), make(data), make(noise), evaluation)
