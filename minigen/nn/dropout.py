"""Dropout."""

import numpy as np

from minigen.backend import describe, from_host
from minigen.errors import SettingError
from minigen.nn.module import Module
from minigen.nn.settings import generator


class Dropout(Module):
    """(...) -> (...): in training each value is 0 with probability p, else x / (1 - p); after eval(), x itself

    Srivastava et al. 2014, Dropout, section 10, in the inverted form: the scaling is done in training, so that use
    needs none. The mask is drawn from `rng` on the host.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator):
        generator("Dropout", rng)
        if not isinstance(p, int | float) or not 0 <= p < 1:
            raise SettingError(
                f"Dropout: p is the probability of dropping a value, in [0, 1), got {describe(p)}"
            )
        self.p, self.rng = p, rng

    def __call__(self, x):
        if not self.training or self.p == 0:
            return x
        kept = self.rng.random(x.shape, dtype=np.float32) >= self.p
        return x * from_host(kept * np.float32(1.0 / (1.0 - self.p)))
