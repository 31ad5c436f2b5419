"""Which entries of a variable are compared with differences, and the verdict on each of them."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from minigen.checker.conduct import RESTLESS, Examined, same
from minigen.checker.report import Refusal, Variable, Worst
from minigen.checker.slopes import Line, Slope, glance, look

BLOCKS = 16  # of the entries outside the sample: one random projection each
WEIGHTS = [sign * 2.0**-k for sign in (-1, 1) for k in range(2)]  # unequal: two errors should not cancel
TIGHT = 1e-9  # the relative bound on a projection, in which one entry is a small part; beyond it, entries are judged
HUNTED, PROJECTIONS = 16, 240  # entries tracked down in blocks that differ, and projections spent on it
UNANIMOUS = 40  # so many suspects found guilty alike, and the others are not looked at one by one
VAGUE = 6  # entries too small for a glance that are looked at closely


@dataclass
class Comparison:
    """The gradient of one variable beside the numeric one, entry by entry; flat, NaN where nothing was compared."""

    variable: int
    yours: np.ndarray
    numeric: np.ndarray
    uncertainty: np.ndarray
    verdicts: dict[int, str] = field(
        default_factory=dict
    )  # flat index -> right, wrong, vague, blind, kink or edge
    blocks: int = 0
    unseen: int = 0  # entries of blocks that the hunt had no time for

    def all(self, verdict: str) -> list[int]:
        return [k for k, v in self.verdicts.items() if v == verdict]


class Comparer:
    """Compares one variable's gradient. `limit`: up to so many entries all are compared, beyond it a sample."""

    def __init__(self, subject: Any, examined: Examined, variable: int, rng: np.random.Generator, limit: int):
        self.subject, self.examined, self.variable, self.rng = subject, examined, variable, rng
        self.limit = limit
        self.x = subject.values[variable]
        self.yours = np.asarray(examined.gradients[variable], dtype=np.float64).reshape(-1)
        self.rounding = examined.rounding[variable].reshape(-1)
        empty = np.full(self.yours.shape, np.nan)
        self.result = Comparison(variable, self.yours, empty, empty.copy())

    def run(self) -> Comparison:
        chosen = np.arange(self.x.size) if self.x.size <= self.limit else self._sample()
        self._judge(chosen)
        rest = np.setdiff1d(np.arange(self.x.size), chosen)
        if rest.size and not self.result.all("wrong"):
            self._judge(np.array(self._hunt(rest), dtype=int))
        else:
            self.result.unseen = rest.size
        return self.result

    def line(self, at: np.ndarray, signs: np.ndarray) -> Line:
        e = self.examined
        return Line(self.subject.evaluate, self.subject.values, self.variable, at, signs, e.base, e.upstream)

    def _entry(self, k: int) -> tuple[Line, float]:
        """The line along one entry, and the scale that turns its slopes into derivatives."""
        line = self.line(np.array([k]), np.ones(1))
        return line, float(line.direction[0])

    def _judge(self, chosen: np.ndarray) -> None:
        """A glance at each; a closer look at those that differ or bend, and at some that are too small for a glance."""
        suspects, vague = [], []
        for k in map(int, chosen):
            line, scale = self._entry(k)
            slope = glance(line)
            verdict = self._note(k, slope, scale)
            if slope.doubtful or verdict in ("wrong", "blind"):
                suspects.append(k)
            elif verdict == "vague":
                vague.append(k)
        self.rng.shuffle(suspects)
        found: list[str] = []
        for k in suspects:
            if len(found) >= UNANIMOUS and set(found) == {"wrong"}:
                break  # the rest keep the verdict of the glance
            found.append(self._look(k))
        for k in vague[:: max(1, len(vague) // VAGUE)][:VAGUE]:
            self._look(k)

    def _look(self, k: int) -> str:
        """The verdict of a closer look, after making sure that f still does what it did."""
        if not all(map(same, self.examined.base, self.subject.evaluate(self.subject.values))):
            raise Refusal(f"f is not deterministic: {RESTLESS}")
        line, scale = self._entry(k)
        verdict = self._note(k, look(line), scale)
        if (
            verdict == "wrong"
        ):  # before that is said: is there rounding inside f that its value does not show?
            line, scale = self._entry(k)
            verdict = self._note(k, look(line, self._internal()), scale)
        return verdict

    def _internal(self) -> float:
        return self.examined.internal_noise(self.subject)

    def _note(self, k: int, slope: Slope, scale: float) -> str:
        yours, rounding = self.yours[k] * scale, self.rounding[k] * scale
        if slope.trouble:
            lost = slope.trouble == "blind" and max(abs(yours), slope.size) <= 64 * self._internal()
            verdict = (
                "vague" if lost else slope.trouble
            )  # f is rounding and nothing else: its slope is 0, and so is yours
        elif not slope.agrees(yours, rounding):
            verdict = "wrong"
            agreeing = [
                rival for rival in slope.rivals if not rival.trouble and rival.agrees(yours, rounding)
            ]
            if agreeing:
                verdict = "blind" if all(rival.is_blind(yours) for rival in agreeing) else "vague"
            elif slope.bent:
                verdict = "kink"
            elif slope.value == slope.uncertainty == 0.0 and abs(yours) <= self._internal():
                verdict = "vague"
        elif slope.is_sharp(yours):
            verdict = "right"
        else:
            verdict = "blind" if slope.is_blind(yours) else "vague"
        self.result.verdicts[k] = verdict
        if not slope.trouble:
            self.result.numeric[k], self.result.uncertainty[k] = (
                slope.value / scale,
                slope.uncertainty / scale,
            )
        return verdict

    def _sample(self) -> np.ndarray:
        """Corners, border entries, the largest and the smallest gradients, and entries from anywhere."""
        n, shape, rng = self.x.size, self.x.shape, self.rng
        corners = [np.ravel_multi_index(c, shape) for c in list(product(*({0, m - 1} for m in shape)))[:16]]
        border = [
            np.ravel_multi_index(tuple(at), shape)
            for at in (
                self._on_border(axis, end) for axis in range(len(shape)) for end in (0, -1) for _ in range(8)
            )
        ]
        order = np.argsort(np.abs(self.yours), kind="stable")
        nonzero = order[np.abs(self.yours)[order] > 0]
        some = rng.choice(n, max(8, self.limit // 2), replace=False)
        return np.unique(np.concatenate([corners, border, order[-8:], nonzero[:8], some]).astype(int))

    def _on_border(self, axis: int, end: int) -> list[int]:
        at = [int(self.rng.integers(m)) for m in self.x.shape]
        at[axis] = 0 if end == 0 else self.x.shape[axis] - 1
        return at

    def _hunt(self, rest: np.ndarray) -> list[int]:
        """Random projections of everything else, block by block; a block that differs is halved down to its entries."""
        weights = dict(zip(rest.tolist(), self.rng.choice(WEIGHTS, rest.size), strict=True))
        blocks = [b for b in np.array_split(self.rng.permutation(rest), BLOCKS) if b.size]
        self.result.blocks = len(blocks)
        found: list[int] = []
        for _ in range(PROJECTIONS):
            if not blocks or len(found) == HUNTED:
                break
            block = blocks.pop()
            if block.size == 1:
                found.append(int(block[0]))
            elif not self._fits(block, np.array([weights[k] for k in block.tolist()])):
                blocks += [block[: block.size // 2], block[block.size // 2 :]]
        self.result.unseen = sum(b.size for b in blocks)
        return found

    def _fits(self, block: np.ndarray, weights: np.ndarray) -> bool:
        """Whether yours and the differences agree along one direction; False too where there is a kink."""
        line = self.line(block, weights)
        yours = float(self.yours[block] @ line.direction)
        rounding = float(self.rounding[block] @ np.abs(line.direction))
        slope = glance(line)
        if slope.doubtful or not slope.agrees(yours, rounding, TIGHT):
            slope = look(line)
        return not slope.trouble and slope.agrees(yours, rounding, TIGHT)


def summarise(subject: Any, c: Comparison, order: int) -> Variable:
    """The comparison in a report's numbers."""
    shape = subject.values[c.variable].shape
    wrong, right = c.all("wrong"), c.all("right")
    vague = c.all("vague")
    size = np.maximum(np.abs(c.yours), np.abs(c.numeric))
    relative = np.where(size > 0, np.abs(c.yours - c.numeric) / size, 0.0)
    v = Variable(subject.names[c.variable], shape, order, projections=c.blocks)
    v.compared, v.wrong, v.vague = len(right) + len(vague) + len(wrong), len(wrong), len(vague)
    v.unseen = c.unseen
    v.kinks, v.edges = len(c.all("kink")), len(c.all("edge"))
    v.blind = len(c.all("blind"))
    v.largest_error = float(relative[right].max(initial=0.0))
    if wrong:
        k = max(wrong, key=lambda k: abs(c.yours[k] - c.numeric[k]))
        index = tuple(int(i) for i in np.unravel_index(k, shape))
        v.worst = Worst(
            index, float(c.yours[k]), float(c.numeric[k]), float(c.uncertainty[k]), float(relative[k])
        )
    return v
