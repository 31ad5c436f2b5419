"""What must hold before a gradient can be judged: the same result twice, inputs left alone, finite numbers."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigen.autograd import detect_anomaly
from minigen.backend import to_host
from minigen.checker.report import Refusal
from minigen.checker.slopes import EPS
from minigen.errors import GraphError
from minigen.tensor import Tensor

RESTLESS = (
    "two runs on the same inputs gave different results; is there randomness inside (dropout in training mode: "
    "call .eval()), or state kept from call to call?"
)
SAME = 2.0**-44  # relative: the last bits may differ with the alignment of memory


@dataclass
class Examined:
    """What the comparison needs: outputs at the point, what flows in, the gradients and their own rounding."""

    base: list[np.ndarray]
    upstream: list[np.ndarray]
    gradients: list[Any]
    rounding: list[np.ndarray]
    cut: list[int] = field(default_factory=list)  # variables that no graph leads to
    _internal: float | None = None
    _natural: float | None = None

    def internal_noise(self, subject: Any) -> float:
        """The rounding inside f: eps |value| |gradient|, summed over the graph; no less than of its natural size."""
        if self._internal is None:
            seen = _running_error(subject, self.upstream) if hasattr(subject, "record") else 0.0
            self._internal = max(seen, EPS * self.natural_size(subject))
        return self._internal

    def natural_size(self, subject: Any) -> float:
        """How large f is nearer to the origin: where it is saturated, its value hides how large its parts are."""
        if self._natural is None:
            self._natural = _natural_size(subject, self.upstream)
        return self._natural


def examine(subject: Any, rng: np.random.Generator) -> Examined:
    """Run f and its gradient several times at one point. Raises Refusal for whatever makes a comparison pointless."""
    for name, x in zip(subject.names, subject.values, strict=True):
        if not np.isfinite(x).all():
            raise Refusal(f"{name} holds {_not_finite(x)} before anything was computed: choose other inputs")
    if not any(x.size for x in subject.values):
        are = "is" if len(subject.names) == 1 else "are"
        raise Refusal(f"{' and '.join(subject.names)} {are} empty: there is nothing to check")
    base = run_twice(subject)
    upstream = [random_upstream(y, rng) for y in base]
    if not getattr(subject, "takes_upstream", True):
        upstream = [np.ones(y.shape) if y.size == 1 else v for y, v in zip(base, upstream, strict=True)]
    return Examined(base, upstream, *_gradients_twice(subject, upstream))


def random_upstream(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What flows into an output: never ones, never near zero."""
    return np.asarray(rng.choice((-1.0, 1.0), y.shape) * rng.uniform(0.5, 1.5, y.shape))


def run_twice(subject: Any) -> list[np.ndarray]:
    """The outputs, once two runs at the same point agree and left the inputs as they were."""
    before = [x.copy() for x in subject.values]
    fixed = (
        [np.array(x) if isinstance(x, np.ndarray) else None for x in subject.inputs]
        if hasattr(subject, "inputs")
        else []
    )
    base = [y.copy() for y in subject.evaluate(subject.values)]
    _unchanged(subject, before, "f")
    for i, x in enumerate(fixed):
        if x is not None and not np.array_equal(x, subject.inputs[i], equal_nan=x.dtype.kind == "f"):
            raise Refusal(f"f changed its input {i} in place: work on a copy")
    again = subject.evaluate(subject.values)
    if [y.shape for y in base] != [y.shape for y in again] or not all(map(same, base, again)):
        raise Refusal(f"f is not deterministic: {RESTLESS}")
    for y in base:
        if y.dtype != np.float64:
            raise Refusal(
                f"f returned {y.dtype} for float64 inputs: somewhere it converts, and float32 is too coarse for "
                "differences; let the dtype follow the inputs"
            )
        if not y.size:
            raise Refusal(f"f returned an empty array {y.shape}: there is nothing to differentiate")
        if not np.isfinite(y).all():
            raise Refusal(f"f gives {_not_finite(y)} at these inputs{_made_by(subject)}")
    return base


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two runs agree but for the last bits."""
    if a.shape != b.shape:
        return False
    near = np.abs(a - b) <= SAME * np.maximum(np.abs(a), np.abs(b)).max(initial=0.0)
    return bool((near | (a == b) | (np.isnan(a) & np.isnan(b))).all())


def _gradients_twice(
    subject: Any, upstream: list[np.ndarray]
) -> tuple[list[Any], list[np.ndarray], list[int]]:
    before = [x.copy() for x in subject.values]
    given = [v.copy() for v in upstream]
    found = [g if g is None else np.array(g) for g in _attempt(subject, given)]
    _unchanged(subject, before, "the gradient of f")
    if not all(np.array_equal(v, g) for v, g in zip(upstream, given, strict=True)):
        raise Refusal("the gradient changed the upstream gradient g in place: work on a copy")
    again = subject.gradients(subject.values, given)
    same_graph = _pulled_twice(subject, given) if hasattr(subject, "record") else again
    for name, g, h, k in zip(subject.names, found, again, same_graph, strict=True):
        if any(
            (g is None) != (other is None) or (g is not None and not same(g, np.asarray(other)))
            for other in (h, k)
        ):
            raise Refusal(
                f"the gradient of {name} is not the same twice: the backward pass keeps state, is random, or changes "
                "what the forward pass saved"
            )
    cut = [i for i, g in enumerate(found) if g is None]
    gradients = [np.zeros(x.shape) if g is None else g for g, x in zip(found, subject.values, strict=True)]
    return gradients, _rounding(subject, upstream, gradients), cut


def _pulled_twice(subject: Any, upstream: list[np.ndarray]) -> list[Any]:
    """The gradients of a second backward pass through one and the same graph."""
    outputs, leaves = subject.record(subject.values)
    subject.pull(outputs, leaves, upstream)
    return [None if g is None else to_host(g) for g in subject.pull(outputs, leaves, upstream)]


def _attempt(subject: Any, upstream: list[np.ndarray]) -> list[Any]:
    """The gradients; whatever the code of a rule or a gradient function raises becomes the finding."""
    if hasattr(subject, "record"):
        outputs, _ = subject.record(subject.values)
        if not any(y.requires_grad for y in outputs) and not hasattr(subject, "first"):
            raise Refusal(
                "f returned a Tensor cut from the graph: no operation that leads to it was recorded (.data, .detach(), "
                ".numpy() or no_grad inside f?)"
            )
    try:
        return subject.gradients(subject.values, upstream)
    except (Refusal, NotImplementedError):
        raise
    except Exception as error:
        says = str(error).splitlines()[0] if str(error) else ""
        raise Refusal(f"the backward pass raised {type(error).__name__}: {says}") from error


def _rounding(subject: Any, upstream: list[np.ndarray], gradients: list[np.ndarray]) -> list[np.ndarray]:
    """The rounding of the gradients themselves: a gradient is linear in what flows in, and its last bits are not."""
    floor = [np.full(g.shape, 8 * EPS * np.abs(g[np.isfinite(g)]).max(initial=0.0)) for g in gradients]
    if not getattr(subject, "takes_upstream", True):
        return floor
    largest = max(np.abs(v).max() for v in upstream)
    for scale in (0.7, 1.3):
        scaled = subject.gradients(subject.values, [np.asarray(v * scale) for v in upstream])
        for i, (g, h) in enumerate(zip(gradients, scaled, strict=True)):
            if h is None or np.shape(h) != g.shape:
                continue
            seen = np.minimum(8 * np.abs(h / scale - g), 2.0**-44 * (largest + np.abs(g).max(initial=0.0)))
            floor[i] = np.maximum(floor[i], np.where(np.isfinite(seen), seen, 0.0))
    return floor


def _running_error(subject: Any, upstream: list[np.ndarray]) -> float:
    outputs, leaves = subject.record(subject.values)
    nodes = list(dict.fromkeys([*leaves, *recorded(outputs)]))
    total = 0.0
    for node, g in zip(nodes, subject.pull(outputs, nodes, upstream), strict=True):
        if g is not None:
            error = EPS * float(np.abs(to_host(g) * to_host(node._data)).sum())
            total += error if np.isfinite(error) else 0.0
    return total


def _natural_size(subject: Any, upstream: list[np.ndarray]) -> float:
    sizes = []
    for k in (2, 4, 6, 8, 10):
        with contextlib.suppress(Exception):  # f may refuse such inputs
            outputs = subject.evaluate([x * 2.0**-k for x in subject.values])
            size = max(float(np.abs(y * v).max()) for y, v in zip(outputs, upstream, strict=True))
            sizes += [size] if np.isfinite(size) else []
    return float(np.median(sizes)) if sizes else 0.0


def recorded(outputs: Iterable[Tensor]) -> list[Tensor]:
    """The results of operations behind `outputs`, each after everything that was computed from it."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack = [(y, False) for y in outputs]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen and node.op is not None:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(a, False) for a in node.args if isinstance(a, Tensor) and a.requires_grad]
    return order[::-1]


def misfit(subject: Any, i: int, g: np.ndarray) -> str:
    """Why the gradient of variable i cannot even be compared: shape, dtype, NaN or infinity; '' if it can."""
    name, x = subject.names[i], subject.values[i]
    if g.shape != x.shape:
        return f"the gradient of {name} has shape {g.shape}, {name} itself {x.shape}: they must be equal"
    if g.dtype != np.float64:
        return f"the gradient of {name} is {g.dtype}, expected float64, the dtype of {name}"
    if not np.isfinite(g).all():
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(g))[0])
        return f"the gradient of {name} is {_not_finite(g)}, first at {list(where)}{_made_by(subject, backward=True)}"
    return ""


def _unchanged(subject: Any, before: list[np.ndarray], who: str) -> None:
    after = subject.seen() if hasattr(subject, "seen") else subject.values
    for name, x, now, old in zip(subject.names, subject.values, after, before, strict=True):
        if not (np.array_equal(now, old, equal_nan=True) and np.array_equal(x, old, equal_nan=True)):
            x[...] = old
            raise Refusal(f"{who} changed its input {name} in place: work on a copy")


def _not_finite(x: np.ndarray) -> str:
    return "NaN" if np.isnan(x).any() else "infinity"


def _made_by(subject: Any, backward: bool = False) -> str:
    """': log made the first NaN, ...' where there is a graph to ask."""
    if not hasattr(subject, "record"):
        return ""
    try:
        with detect_anomaly():
            outputs, leaves = subject.record(subject.values)
            if backward:
                subject.pull(outputs, leaves, [np.ones(y.shape) for y in outputs])
    except GraphError as error:
        return f": {error}"
    return ""
