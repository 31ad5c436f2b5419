"""Learning-rate schedules: each is a function step -> factor, for opt.lr = base * schedule(step), step = 0, 1, ..."""

import math
from collections.abc import Callable

from minigen.errors import SettingError

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """step -> 1"""
    return lambda step: 1.0


def linear_warmup(steps: int, then: Schedule | None = None) -> Schedule:
    """step -> (step + 1) / steps up to 1, then `then` (counted from the end of the warm-up) or 1"""
    _positive(steps=steps)
    after = then or constant()
    return lambda step: (step + 1) / steps if step < steps else after(step - steps)


def cosine(steps: int, final: float = 0.0) -> Schedule:
    """step -> from 1 to `final` along half a cosine, and `final` from `steps` on

    Loshchilov and Hutter 2017, SGDR, eq. 5, without restarts.
    """
    _positive(steps=steps)
    return lambda step: final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(step, steps) / steps))


def step_decay(every: int, factor: float = 0.1) -> Schedule:
    """step -> factor ** (step // every)"""
    _positive(every=every, factor=factor)
    return lambda step: factor ** (step // every)


def exponential(factor: float) -> Schedule:
    """step -> factor ** step"""
    _positive(factor=factor)
    return lambda step: factor**step


def _positive(**settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise SettingError(f"a schedule's {name} must be above 0, got {value}")
