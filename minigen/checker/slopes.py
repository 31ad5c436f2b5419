"""Derivatives by differences along a line, each with an uncertainty that follows from the size of f and the step.

A central difference with step h is wrong by about h^2 f''' / 6 (truncation) and by eps |f| / h (rounding). Two steps
and Richardson's extrapolation show the first, the size of f gives the second. `glance` spends four evaluations on it;
where these do not agree, `look` walks down a ladder of steps, from an eighth of x to the last bits of it, and takes
the rung with the smallest uncertainty. One-sided slopes that stay apart while the step shrinks are a kink.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

EPS = 2.0**-52
RELATIVE = 1e-6  # the bound on the relative error, beyond the uncertainty
STEP = 2.0**-14  # of a glance, in units of max(1, |x|)
TOP, BOTTOM, RATIO = 2.0**-3, 2.0**-44, 4.0  # of the ladder
DEEPER = 5  # rungs below the bottom, again and again, while the slopes still approach their limit


@dataclass(frozen=True)
class Slope:
    """A derivative along a line: `value`, give or take `uncertainty`; or the `trouble` that keeps it from one."""

    value: float
    uncertainty: float
    trouble: str = ""  # "kink" | "edge": f is not finite on one side | "blind": it is too wild
    doubtful: bool = False  # the two steps of a glance do not tell the same story
    size: float = 0.0  # of what was subtracted
    bent: bool = False  # smaller steps see left and right slopes apart: there is a kink close by
    rivals: "tuple[Slope, ...]" = ()  # what lower rungs suggest instead: there is fine structure at x
    nearby: float = 0.0  # how steep f is where a fall of its slope to nothing begins, as of x|x| at 0

    def agrees(self, yours: float, rounding: float = 0.0, relative: float = RELATIVE) -> bool:
        """Whether `yours` is as near as can be told; `rounding` is its own."""
        size = max(abs(yours), abs(self.value))
        return abs(yours - self.value) <= 4 * self.uncertainty + relative * size + rounding

    def is_sharp(self, yours: float) -> bool:
        """Whether an error of one part in ten thousand could not hide in the uncertainty."""
        return self.uncertainty <= 1e-5 * max(abs(yours), abs(self.value)) or yours == self.value == 0.0

    def is_blind(self, yours: float) -> bool:
        """Whether the uncertainty would cover nearly anything: small beside no slope, here or near, nor beside f."""
        return self.uncertainty > max(
            1e-3 * max(abs(yours), abs(self.value)), 1e-8 * self.size, 1e-5 * self.nearby
        )


class Line:
    """t -> <upstream, f(x + t d) - f(x)>, where d moves the entries `at` of one variable, each by its own scale."""

    def __init__(
        self,
        evaluate: Callable[[list[np.ndarray]], list[np.ndarray]],
        values: list[np.ndarray],
        variable: int,
        at: np.ndarray,
        signs: np.ndarray,
        base: list[np.ndarray],
        upstream: Sequence[np.ndarray],
    ):
        self.evaluate, self.values, self.variable, self.at = evaluate, values, variable, at
        self.base, self.upstream = base, upstream
        here = np.abs(values[variable].reshape(-1)[at])
        self.direction = signs * np.exp2(
            np.ceil(np.log2(np.maximum(here, 1.0)))
        )  # powers of 2: x + t d is exact
        self.weight = [np.abs(v) for v in upstream]
        self.moved = [np.zeros(y.shape, bool) for y in base]  # the outputs that this line has changed so far
        near = here[here > 0].min(initial=1.0)
        self.bottom = min(BOTTOM, max(near * 2.0**-12, 2.0**-100))
        self.deepest = max(near * 2.0**-36, 2.0**-160)

    def __call__(self, t: float) -> tuple[float, float, float]:
        """The step really taken, the change of f, and the size of what was subtracted to get it."""
        values = list(self.values)
        x = values[self.variable] = values[self.variable].copy()
        before = x.reshape(-1)[self.at]
        x.reshape(-1)[self.at] = after = before + t * self.direction
        step = float((after[0] - before[0]) / self.direction[0]) if len(self.at) == 1 else t
        change, size = 0.0, 0.0
        for i, y in enumerate(self.evaluate(values)):
            dy = y - self.base[i]
            moved = self.moved[i]
            moved |= dy != 0
            weight = self.weight[i] * np.maximum(np.abs(y), np.abs(self.base[i]))
            change += float((self.upstream[i] * dy).sum())
            size += float(weight[moved].sum())
            if not moved.all():
                size += float(weight[~moved].max())  # a change below the last bits of these would not show
        return step, change, size


@dataclass(frozen=True)
class Rung:
    """What the two points x - h d and x + h d say."""

    h: float
    central: float
    right: float
    left: float
    noise: float  # of these slopes, from the rounding of f and of the step
    size: float  # of what was subtracted

    @property
    def bend(self) -> float:
        return self.right - self.left

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.central)


def _rung(line: Line, h: float) -> Rung:
    (up, rise, size), (down, fall, size_left) = line(h), line(-h)
    if not up or not down:  # h is below the last bit of x
        return Rung(h, math.nan, math.nan, math.nan, math.nan, math.nan)
    central = (rise - fall) / (up - down)
    size = max(size, size_left)
    inexact = abs(central) if len(line.at) > 1 and math.isfinite(central) else 0.0  # x + h d was rounded
    return Rung(h, central, rise / up, fall / down, EPS * (4 * size + inexact) / h, size)


def glance(line: Line) -> Slope:
    """The slope from two steps, marked doubtful where they do not fit a smooth function."""
    wide, narrow = _rung(line, 2 * STEP), _rung(line, STEP)
    if not (wide.is_finite and narrow.is_finite):
        return Slope(narrow.central, math.inf, doubtful=True)
    value = (4 * narrow.central - wide.central) / 3
    bends = abs(narrow.bend - wide.bend / 2)  # O(h^3) if smooth, half the jump of the slope at a kink
    steepest = max(abs(narrow.right), abs(narrow.left))
    doubtful = bends > 20 * narrow.noise + RELATIVE * steepest
    return Slope(value, abs(value - narrow.central) + 2 * narrow.noise, "", doubtful, narrow.size)


def look(line: Line, internal: float = 0.0) -> Slope:
    """The slope from a whole ladder of steps: the most certain rung, or the kink or edge that there is.

    internal: the rounding inside f, where it is known to be more than its value shows.
    """
    rungs = _ladder(line)
    while rungs and math.isnan(rungs[-1].noise):
        rungs.pop()
    inside = next((k for k in range(len(rungs), 0, -1) if not rungs[k - 1].is_finite), 0)
    rungs = rungs[inside:]
    slope = _settle(rungs, internal)
    moving = _without_flat_end(rungs)
    if len(moving) < len(rungs):
        other = _settle(moving, internal)
        slope = replace(slope, rivals=(*slope.rivals, other, *other.rivals))
    return slope


def _ladder(line: Line) -> list[Rung]:
    """The rungs down to the bottom, and on below it while they still converge: close by f is singular, as log at 0."""
    rungs: list[Rung] = []
    h, further = TOP, 0
    while h >= line.bottom or (further and h >= line.deepest):
        rungs.append(_rung(line, h))
        h /= RATIO
        further = DEEPER if h < line.bottom and _converges(rungs) else max(0, further - 1)
    return rungs


def _converges(rungs: list[Rung]) -> bool:
    """Whether the last rung still came nearer to a limit, by more than rounding can explain."""
    first, second, last = rungs[-3:]
    change = abs(last.central - second.central)
    visible = max(20 * last.noise, 1e-9 * abs(last.central))
    return visible < change < 0.5 * abs(second.central - first.central)


def _settle(rungs: list[Rung], internal: float) -> Slope:
    if len(rungs) < 4:
        return Slope(math.nan, math.inf, trouble="edge")
    nearby = _fall(rungs)
    noise = _noise(rungs, internal, not nearby)
    if (
        noise[-1] * rungs[-1].h > 0.1 * rungs[-1].size > 0
    ):  # moved by the last bits of x as much as by anything
        return Slope(rungs[-1].central, math.inf, "blind", size=rungs[-1].size)
    bends = _bends(rungs)
    if _is_kink(rungs, noise, bends):
        return Slope(rungs[-1].central, math.inf, trouble="kink")
    return replace(_best(rungs, noise, bends), nearby=nearby)


def _fall(rungs: list[Rung]) -> float:
    """How steep f is where its slopes begin to shrink with the step, if they do so to the last; else 0."""
    steep = [max(abs(rung.right), abs(rung.left)) for rung in rungs]
    k = len(steep) - 1
    while k > 0 and steep[k - 1] >= 1.5 * steep[k] > 0:
        k -= 1
    return steep[k] if len(steep) - k > 8 else 0.0


def _best(rungs: list[Rung], noise: list[float], bends: list[float]) -> Slope:
    """The most certain of the extrapolated slopes; but a lower rung that contradicts it sharply knows better."""
    values = [(RATIO**2 * low.central - high.central) / (RATIO**2 - 1) for high, low in pairwise(rungs)]
    slopes = [  # values[k] belongs to rungs[k + 1]
        Slope(
            values[k],
            abs(values[k] - values[k - 1]) + noise[k + 1],
            size=rungs[k + 1].size,
        )
        for k in range(1, len(values))
    ]
    best = min(slopes, key=lambda s: s.uncertainty)
    rivals: list[Slope] = []
    start = slopes.index(best) + 2
    bent = any(bends[k] > max(20 * noise[k], 0.6 * bends[k - 1]) for k in range(start, len(rungs)))
    for slope in slopes[slopes.index(best) + 1 :]:
        size = max(abs(slope.value), abs(best.value))
        if abs(slope.value - best.value) <= 4 * (slope.uncertainty + best.uncertainty):
            continue
        if slope.uncertainty <= 1e-3 * size:
            best, rivals, bent = slope, [], False
        elif slope.uncertainty < 0.1 * size:
            rivals.append(slope)
    return replace(best, rivals=tuple(rivals), bent=bent)


def _without_flat_end(rungs: list[Rung]) -> list[Rung]:
    """Without the last rungs, if f does not move at all on them while it did higher up.

    Either f is flat near x, or these steps are below its rounding: both readings are possible if it begins far down.
    """
    end = len(rungs)
    while end and rungs[end - 1].right == rungs[end - 1].left == 0.0:
        end -= 1
    return rungs[:end] if 4 <= end < len(rungs) and rungs[end].h < 2.0**-20 else rungs


def _noise(rungs: list[Rung], internal: float, shown: bool) -> list[float]:
    """The noise of each rung: what the size of f explains, or what the lowest rungs show, if that is more."""
    low = range(max(1, len(rungs) - 5), len(rungs)) if shown else ()  # rounding lets no slope fall to nothing
    seen = max((abs(rungs[k].central - rungs[k - 1].central) * rungs[k].h for k in low), default=0.0)
    return [max(rung.noise, seen / rung.h, internal / rung.h) for rung in rungs]


def _is_kink(rungs: list[Rung], noise: list[float], bends: list[float]) -> bool:
    """Whether the slopes left and right of x stay apart, down to where rounding hides it; or grow without end."""
    end = [rung.central for rung in rungs[-4:]]
    if all(
        low * high > 0 and abs(low) > 1.5 * abs(high) > 30 * rungs[-4].noise for high, low in pairwise(end)
    ):
        return True
    clear = [k for k in range(2, len(rungs)) if bends[k] > 20 * noise[k]]
    if not clear:
        return False
    k = clear[-1]
    if bends[k] <= RELATIVE * max(abs(rungs[k].right), abs(rungs[k].left)):
        return False
    refuted = k + 1 < len(rungs) and 20 * noise[k + 1] < 0.5 * bends[k]
    return bends[k] > 0.6 * bends[k - 1] and not refuted


def _bends(rungs: list[Rung]) -> list[float]:
    """How far left and right slopes are apart, the curvature's share (a quarter of it one rung lower) taken away.

    What is left of a smooth function is a 64th one rung lower, of a kink it stays.
    """
    return [rungs[0].bend, *(abs(low.bend - high.bend / RATIO) for high, low in pairwise(rungs))]
