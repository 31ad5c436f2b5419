"""From the pattern of an error to its likely cause, by rule.

Each rule looks at your gradient beside the numeric one and says one sentence, or nothing. They are tried in order, the
most particular first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

NEAR = 1e-4  # relative: patterns are compared loosely, the verdicts were not


@dataclass
class Evidence:
    """One variable's gradient and what is known around it. `numeric` is NaN where nothing was compared."""

    name: str
    x: np.ndarray
    yours: np.ndarray
    numeric: np.ndarray
    noise: np.ndarray
    wrong: np.ndarray  # a mask; right entries are those compared and not wrong
    right: np.ndarray
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of every variable and output, by name
    others: dict[str, np.ndarray] = field(default_factory=dict)  # numeric gradients of the other variables
    cut: bool = False  # no graph leads to this variable
    ignores_upstream: bool = False
    diagonal: np.ndarray | None = (
        None  # numeric, of each output by its own input alone, where outputs are as inputs
    )

    @property
    def complete(self) -> bool:
        return bool(np.isfinite(self.numeric).all())

    def like(self, candidate: np.ndarray, numeric: np.ndarray | None = None) -> bool:
        """Whether a rearrangement of yours is the numeric gradient (where it is known)."""
        numeric = self.numeric if numeric is None else numeric
        if candidate.shape != numeric.shape:
            return False
        known = np.isfinite(numeric)
        scale = np.abs(numeric[known]).max(initial=0.0)
        close = np.abs(candidate - numeric) <= NEAR * np.abs(numeric) + 1e-6 * scale
        return bool(known.any() and scale > 0 and close[known].all())


def likely_cause(e: Evidence) -> str:
    """The first rule that fits, in one sentence; '' if none does."""
    rules = (
        _cut,
        _ignores_upstream,
        _zero,
        _ratio,
        _moved,
        _swapped,
        _diagonal,
        _offset,
        _where_wrong,
        _one,
        _axis_factor,
    )
    return next((says for rule in rules if (says := rule(e))), "")


def shape_cause(name: str, yours: np.ndarray, numeric: np.ndarray) -> str:
    """Why a gradient has another shape than its variable, found by comparing sums; '' if unknown."""
    e = Evidence(name, numeric, yours, numeric, numeric, numeric > 0, numeric > 0)
    if yours.ndim == numeric.ndim and yours.shape == numeric.shape[::-1] and e.like(yours.T):
        return "it is the transpose of the right gradient"
    for axes in _subsets(yours.ndim):
        summed = yours.sum(axis=axes)
        if summed.size == numeric.size and e.like(summed.reshape(numeric.shape)):
            return (
                f"summed over axis {_list(axes)} it is right: {name} was broadcast there in the forward pass, and the "
                "gradient of a broadcast is a sum"
            )
    for axes in _subsets(numeric.ndim):
        summed = numeric.sum(axis=axes)
        if summed.size == yours.size and e.like(yours.reshape(summed.shape), summed):
            return f"it is the right gradient summed over axis {_list(axes)}: that sum is one too many"
    if yours.size == 1:
        return "one number for all entries: each entry needs its own derivative"
    return ""


# The rules


def _cut(e: Evidence) -> str:
    if not e.cut:
        return ""
    return f"no graph leads from the output to {e.name}: it was cut on the way (.data, .detach(), .numpy(), no_grad)"


def _ignores_upstream(e: Evidence) -> str:
    if not e.ignores_upstream:
        return ""
    return "it does not depend on the upstream gradient g at all: the chain rule multiplies by g"


def _zero(e: Evidence) -> str:
    if (e.yours[e.wrong] != 0).any():
        return ""
    if not (e.yours != 0).any():
        return "it is zero everywhere: was the graph cut, or never added up?"
    return _where_wrong(e, "it is zero there and should not be")


def _ratio(e: Evidence) -> str:
    """One factor for all entries, named by what is as large as it."""
    known = np.isfinite(e.numeric) & (np.abs(e.numeric) > 1e3 * e.noise) & (e.numeric != 0)
    if not known.any() or (e.right & known).any():
        return ""
    ratios = e.yours[known] / e.numeric[known]
    ratio = float(np.median(ratios))
    if not np.abs(ratios - ratio).max() <= NEAR * abs(ratio) or ratio == 0:
        return ""
    if known.sum() < 2 and e.x.size > 1:
        return ""
    return name_ratio(ratio, e.shapes)


def name_ratio(ratio: float, shapes: dict[str, tuple[int, ...]]) -> str:
    """'yours is 4 times the numeric gradient: 4 is ...'"""
    if abs(ratio + 1) < NEAR:
        return "the sign is wrong: yours is -1 times the numeric gradient everywhere"
    sign = "minus " if ratio < 0 else ""
    size = abs(ratio)
    for n, inverse in ((size, False), (1 / size, True)):
        whole = round(n)
        if whole < 2 or abs(n - whole) > NEAR * n:
            continue
        labels = _lengths(shapes, whole)
        what = f"1/{whole} of" if inverse else f"{whole} times"
        fix = (
            "averaged where it should be summed, or divided once too often"
            if inverse
            else ("summed where it should be averaged, or added up once too often")
        )
        if whole == 2:
            plain = "a factor 2 is missing" if inverse else "counted twice, or a 1/2 is missing"
            return f"yours is {sign}{what} the numeric gradient everywhere: {plain}" + (
                f" (2 is also {labels[0]}: {fix}?)" if labels else ""
            )
        if labels:
            return (
                f"yours is {sign}{what} the numeric gradient everywhere, and {whole} is {labels[0]}: {fix}?"
            )
    return f"yours is {ratio:.6g} times the numeric gradient everywhere: a constant factor is wrong"


def _lengths(shapes: dict[str, tuple[int, ...]], n: int) -> list[str]:
    """What is n long: axes first, then heights times widths, then whole arrays."""
    axes = [
        f"the length of axis {i} of {k} {s}" for k, s in shapes.items() for i, m in enumerate(s) if m == n
    ]
    images = [f"H*W of {k} {s}" for k, s in shapes.items() if len(s) > 2 and s[-1] * s[-2] == n]
    whole = [f"the number of entries of {k} {s}" for k, s in shapes.items() if len(s) > 1 and np.prod(s) == n]
    pairs = [
        f"axes {i} and {j} of {k} {s} together"
        for k, s in shapes.items()
        for i, j in combinations(range(len(s)), 2)
        if s[i] * s[j] == n
    ]
    return axes + images + whole + pairs


def _moved(e: Evidence) -> str:
    """The right numbers in the wrong places."""
    yours, n = e.yours, e.yours.ndim
    if e.like(yours):  # nearly right where it stands
        return ""
    for a, b in combinations(range(n), 2):
        if e.like(yours.swapaxes(a, b)) or (n == 2 and e.like(yours.reshape(yours.shape[::-1]).T)):
            return "it is transposed" + (f": axes {a} and {b} are exchanged" if n > 2 else "")
    if n >= 2 and e.like(yours[..., ::-1, ::-1]):
        return "it is rotated by 180 degrees: the kernel is flipped (correlation and convolution mixed up)"
    for axis in range(n):
        if e.like(np.flip(yours, axis)):
            return f"it is in reverse order along axis {axis}"
        for shift in (1, -1):
            if yours.shape[axis] > 2 and e.like(np.roll(yours, -shift, axis)):
                return f"it is shifted by one along axis {axis}"
    if e.complete and e.yours.size > 2 and e.like(np.sort(yours, axis=None), np.sort(e.numeric, axis=None)):
        return "these are the right numbers in the wrong places: a reshape instead of a transpose, or a wrong order?"
    for axis in range(n):
        mean = e.numeric.mean(axis=axis, keepdims=True)
        for what, value in (("mean", mean), ("sum", mean * e.numeric.shape[axis])):
            if e.complete and yours.shape[axis] > 1 and e.like(yours, np.broadcast_to(value, yours.shape)):
                return f"every entry along axis {axis} is the {what} of the right gradient over that axis"
    return ""


def _swapped(e: Evidence) -> str:
    for name, numeric in e.others.items():
        if e.like(e.yours, numeric) and not e.like(e.yours):
            return f"it is the gradient of {name}: are the two in the wrong order?"
    return ""


def _offset(e: Evidence) -> str:
    known = np.isfinite(e.numeric)
    if known.sum() < 3:
        return ""
    off = e.yours[known] - e.numeric[known]
    mean = float(off.mean())
    if abs(mean) > 0 and np.abs(off - mean).max() <= NEAR * abs(mean):
        return f"every entry is off by the same {mean:.6g}: a term is missing or too much"
    return ""


def _where_wrong(e: Evidence, what: str = "") -> str:
    """Wrong in some places only: which ones?"""
    wrong = np.argwhere(e.wrong)
    if not len(wrong) or not e.right.any():
        return ""
    start = f"{what}: only " if what else "wrong only "
    for axis, n in enumerate(e.x.shape):
        there = set(wrong[:, axis].tolist())
        if len(there) == 1 and n > 1 and len(wrong) > 1 and not (e.right.take(there.pop(), axis)).any():
            k = int(wrong[0, axis])
            why = (
                " (if that axis is time: time step 0, the initial state)"
                if k == 0
                else (" (if that axis is time: the last time step)" if k == n - 1 else "")
            )
            return f"{start}at index {k} of axis {axis}, right everywhere else{why}"
    return _border(e, wrong, start) or _sign_of_x(e, start) or _near_zero(e, start)


def _border(e: Evidence, wrong: np.ndarray, start: str) -> str:
    for axes in ([e.x.ndim - 2, e.x.ndim - 1] if e.x.ndim > 1 else [], [e.x.ndim - 1], range(e.x.ndim)):
        lengths = [(axis, e.x.shape[axis]) for axis in axes if e.x.shape[axis] > 2]
        if not lengths or len(wrong) < 2:
            continue
        at_border = np.zeros(e.x.shape, bool)
        for axis, n in lengths:
            at_border |= np.isin(np.indices(e.x.shape)[axis], (0, n - 1))
        inside_right = (e.right & ~at_border).any()
        if at_border[e.wrong].all() and inside_right and e.wrong[at_border].mean() > 0.5:
            return f"{start}on the border (axes {_list([a for a, _ in lengths])}): is it the padding?"
    return ""


def _sign_of_x(e: Evidence, start: str) -> str:
    for word, side in (("negative", e.x < 0), ("positive", e.x > 0)):
        if side[e.wrong].all() and not (e.right & side).any() and (e.right & ~side & (e.x != 0)).sum() > 1:
            return f"{start}where {e.name} is {word}"
    return ""


def _near_zero(e: Evidence, start: str) -> str:
    widest, nearest = np.abs(e.x[e.wrong]).max(), np.abs(e.x[e.right]).min()
    if widest < nearest and widest < 0.1 * np.median(np.abs(e.x[e.right])):
        return f"{start}where {e.name} is near 0 (below {nearest:.2g}): a kink, or an epsilon?"
    return ""


def _axis_factor(e: Evidence) -> str:
    """A factor that changes along one axis only."""
    if e.x.ndim < 2 or not e.complete or (e.numeric == 0).any():
        return ""
    ratios = e.yours / e.numeric
    for axis in range(e.x.ndim):
        rest = tuple(a for a in range(e.x.ndim) if a != axis)
        first = ratios.mean(axis=rest, keepdims=True)
        if e.x.shape[axis] > 1 and np.abs(ratios - first).max() <= NEAR * np.abs(first).max():
            return f"the factor between them depends on the index along axis {axis} only: broadcast along a wrong axis?"
    return ""


def _diagonal(e: Evidence) -> str:
    if e.diagonal is None or not e.like(e.yours, e.diagonal) or e.like(e.yours):
        return ""
    return (
        "each output was differentiated by its own input only, but it depends on other inputs too (a softmax, a "
        "normalisation, a sum): their shares are missing"
    )


def _one(e: Evidence) -> str:
    if e.wrong.sum() == 1 and e.right.sum() > 1:
        return "a single entry is wrong, the others are right"
    return ""


def _subsets(n: int) -> Iterator[tuple[int, ...]]:
    for count in range(1, n + 1):
        yield from combinations(range(n), count)


def _list(axes: object) -> str:
    return " and ".join(map(str, axes))  # type: ignore[call-overload]
