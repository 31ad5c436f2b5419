"""From a comparison that failed to the evidence that the rules of `causes` judge."""

from typing import Any

import numpy as np

from minigen.checker.causes import Evidence, likely_cause, shape_cause
from minigen.checker.conduct import Examined, random_upstream, same
from minigen.checker.entries import Comparer, Comparison
from minigen.checker.report import Variable
from minigen.checker.slopes import Line, glance

WHOLE = 2048  # up to so many entries are all compared when a cause is sought
SMALL = 64  # up to so many outputs are looked at one by one


def explain(
    subject: Any,
    examined: Examined,
    comparisons: list[Comparison],
    found: list[Variable],
    rng: np.random.Generator,
) -> None:
    """Write the likely cause beside every variable that is wrong."""
    numeric = {
        subject.names[c.variable]: c.numeric.reshape(subject.values[c.variable].shape) for c in comparisons
    }
    shapes = {name: x.shape for name, x in zip(subject.names, subject.values, strict=True)}
    outputs = (
        ["the output"] if len(examined.base) == 1 else [f"output {i}" for i in range(len(examined.base))]
    )
    shapes |= {name: y.shape for name, y in zip(outputs, examined.base, strict=True)}
    deaf = _deaf(subject, examined, rng)
    for c, v in zip(comparisons, found, strict=True):
        if not v.wrong:
            continue
        if v.unseen and v.size <= WHOLE:
            c = Comparer(subject, examined, c.variable, rng, WHOLE).run()
        e = _evidence(subject, c)
        e.shapes, e.others = shapes, {name: n for name, n in numeric.items() if name != v.name}
        e.cut, e.ignores_upstream = c.variable in examined.cut, deaf[c.variable]
        e.diagonal = _diagonal(subject, examined, c.variable)
        v.cause = likely_cause(e)


def why_shape(subject: Any, examined: Examined, i: int, rng: np.random.Generator) -> str:
    """What a gradient of another shape than its variable has to do with the numeric one; '' if unknown."""
    yours, x = examined.gradients[i], subject.values[i]
    if yours.shape == x.shape or x.size > WHOLE or yours.dtype.kind not in "fiu":
        return ""
    blank = Examined(examined.base, examined.upstream, list(examined.gradients), list(examined.rounding))
    blank.gradients[i] = blank.rounding[i] = np.zeros(x.shape)
    c = Comparer(subject, blank, i, rng, x.size).run()
    why = shape_cause(subject.names[i], yours, np.nan_to_num(c.numeric.reshape(x.shape)))
    return f"; {why}" if why else ""


def _evidence(subject: Any, c: Comparison) -> Evidence:
    x = subject.values[c.variable]
    wrong, right = np.zeros(x.size, bool), np.zeros(x.size, bool)
    wrong[c.all("wrong")] = True
    right[c.all("right") + c.all("vague")] = True
    yours, numeric, noise, wrong, right = (
        a.reshape(x.shape) for a in (c.yours, c.numeric, c.uncertainty, wrong, right)
    )
    return Evidence(subject.names[c.variable], x, yours, numeric, noise, wrong, right)


def _deaf(subject: Any, examined: Examined, rng: np.random.Generator) -> list[bool]:
    """For each variable: is its gradient the same whatever flows in?"""
    if not getattr(subject, "takes_upstream", True):
        return [False] * len(examined.gradients)
    again = subject.gradients(subject.values, [random_upstream(v, rng) for v in examined.upstream])
    pairs = zip(examined.gradients, again, strict=True)
    return [bool(h is not None and g.any() and same(g, h)) for g, h in pairs]


def _diagonal(subject: Any, examined: Examined, i: int) -> np.ndarray | None:
    """Each output by its own input alone, where one output is shaped like the variable and small."""
    x, base = subject.values[i], examined.base
    if len(base) != 1 or base[0].shape != x.shape or x.size > SMALL:
        return None
    slopes = np.zeros(x.size)
    for k in range(x.size):
        only = np.zeros(x.size)
        only[k] = examined.upstream[0].reshape(-1)[k]
        line = Line(
            subject.evaluate, subject.values, i, np.array([k]), np.ones(1), base, [only.reshape(x.shape)]
        )
        slopes[k] = glance(line).value / line.direction[0]
    return slopes.reshape(x.shape)
