"""gradcheck: is this gradient right, and if not, what is wrong with it?

    gradcheck(f, x, W)                       a function of Tensors, an op, or a Module (its parameters are checked too)
    gradcheck(f, x, grad=df)                 your own derivation, in plain NumPy, without the engine
    gradcheck(f, x, order=2)                 the gradient of the gradient too

The gradient is compared with differences of f in float64, entry by entry: with a relative bound, and with an
uncertainty that follows from the size of f and the step. Before that come shapes, dtypes, NaN and infinity,
determinism, inputs changed in place. A kink is skipped and counted. A failure raises GradcheckError, whose text is
the diagnosis. The parts are in minigen.checker.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigen.backend import from_host, is_array, to_host
from minigen.checker.conduct import Examined, examine, misfit, random_upstream, same
from minigen.checker.culprit import first_spoiler, first_wrong
from minigen.checker.diagnosis import explain, why_shape
from minigen.checker.entries import Comparer, summarise
from minigen.checker.lend import is_module, lent, parameters_of
from minigen.checker.report import GradcheckError, Refusal, Report
from minigen.checker.signatures import argument_names
from minigen.checker.subjects import EngineSubject, HandWritten, SecondOrder
from minigen.errors import DTypeError, MinigenError
from minigen.tensor import Tensor

__all__ = ["GradcheckError", "Report", "gradcheck"]

ENTRIES = (
    400  # up to so many entries of a variable are all compared; of larger ones a sample, and projections
)


def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    grad: Callable[..., Any] | None = None,
    order: int = 1,
    rng: np.random.Generator | int | None = None,
    params: Any = None,
    raise_on_failure: bool = True,
    entries: int = ENTRIES,
    name: str | None = None,
) -> Report:
    """Check the gradient of f at `inputs`; returns a Report, or raises GradcheckError with the diagnosis.

    f: a function of Tensors, an op, a Module or a method of one; with `grad` a plain function of arrays.
    inputs: float arrays, Tensors and floats are checked, as float64 copies; integers (labels, indices) and other
        objects are passed on. If some of the Tensors require gradients, the Tensors that do not are held fixed.
    grad: a hand-written gradient, grad(*inputs) -> one array per float input (a tuple, if there are several); when f
        returns an array: grad(g, *inputs), where g is the gradient flowing in.
    order: 2 also checks the gradient of the gradient, by inputs and by the upstream gradient.
    rng: a Generator or a seed. Without it a fresh seed, which the report names.
    params: more Tensors to check, as a dict, a list or a Module; for a Module f: its own parameters, which is the
        default, or the names of some of them. Everything in a Module is put back afterwards.
    entries: up to so many entries of a variable are compared one by one; of more, a sample and random projections.
    """
    if order not in (1, 2):
        raise MinigenError(f"gradcheck: order must be 1 or 2, got {order!r}")
    if not callable(f):
        raise DTypeError(
            f"gradcheck: the first argument must be a function, an op or a Module, got a {type(f).__name__}"
        )
    if not isinstance(rng, np.random.Generator):
        seed = secrets.randbits(31) if rng is None else int(rng)
        report = Report(name or _name_of(f), order, seed)
        rng = np.random.default_rng(seed)
    else:
        report = Report(name or _name_of(f), order, None)
    owner = getattr(f, "__self__", f)
    owner = owner if is_module(owner) else None
    chosen = _chosen(owner, params)
    cause: BaseException | None = None
    with lent(owner, *chosen.values(), params), np.errstate(all="ignore"):
        for t in chosen.values():
            t.requires_grad = True
        try:
            check = _Check(report, rng, entries)
            subject = _subject(f, grad, inputs, chosen, report)
            check.run(subject, 1)
            if isinstance(subject, EngineSubject) and order == 2 and report.ok:
                check.second(subject)
        except Refusal as refusal:
            report.problems.append(str(refusal))
            cause = refusal.__cause__
    if raise_on_failure and not report.ok:
        raise GradcheckError(report) from cause
    return report


class _Check:
    """One gradcheck call: what its stages share."""

    def __init__(self, report: Report, rng: np.random.Generator, entries: int):
        self.report, self.rng, self.entries = report, rng, entries

    def run(self, subject: Any, order: int, first: Any = None) -> None:
        """Compare every variable of the subject; fill the report."""
        examined = self._examined(subject, first)
        comparisons = []
        for i, g in enumerate(examined.gradients):
            fault = misfit(subject, i, g)
            if fault:
                self.report.problems.append(fault + why_shape(subject, examined, i, self.rng))
            elif g.size:
                comparisons.append(Comparer(subject, examined, i, self.rng, self.entries).run())
        if self.report.problems:
            return
        if not all(map(same, examined.base, subject.evaluate(subject.values))):
            raise Refusal("f keeps state: after some other calls it gives another result for the same inputs")
        found = [summarise(subject, c, order) for c in comparisons]
        self.report.variables += found
        if any(v.wrong for v in found):
            explain(subject, examined, comparisons, found, self.rng)
            if isinstance(first or subject, EngineSubject):
                self.report.operation = self._operation(first or subject, order)
        elif isinstance(subject, EngineSubject):
            spoiler = first_spoiler(subject.record(subject.values)[0], self.rng)
            self.report.problems += [spoiler] if spoiler else []
        for i in examined.cut if order == 1 else []:
            if not any(v.wrong and v.name == subject.names[i] for v in found):
                self.report.notes.append(f"f does not depend on {subject.names[i]}")

    def second(self, subject: EngineSubject) -> None:
        """The gradient of the gradient, by the inputs and by what flows in."""
        base = subject.evaluate(subject.values)
        upstream = [random_upstream(y, self.rng) for y in base]
        self.run(SecondOrder(subject, upstream), 2, first=subject)

    def _examined(self, subject: Any, first: Any) -> Examined:
        try:
            return examine(subject, self.rng)
        except Refusal as refusal:
            if refusal.__cause__ is not None and isinstance(first or subject, EngineSubject):
                self.report.operation = self._operation(first or subject, 2 if first else 1)
            raise

    def _operation(self, subject: EngineSubject, order: int) -> str:
        return first_wrong(subject.record(subject.values)[0], self.rng, order)


# From what was given to what is checked


def _subject(
    f: Any, gradient: Any, inputs: Sequence[Any], parameters: dict[str, Tensor], report: Report
) -> EngineSubject | HandWritten:
    some_require = any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
    plain = [_given(x, i, some_require) for i, x in enumerate(inputs)]
    names = argument_names(f, len(inputs))
    free = [x for x in plain if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    if not free and not parameters:
        what = ", ".join(
            f"{n} is {getattr(x, 'dtype', type(x).__name__)}" for n, x in zip(names, plain, strict=True)
        )
        raise Refusal(
            f"nothing to check: {what + '; only floats have gradients' if what else 'no inputs and no parameters'}"
        )
    if gradient is None:
        return EngineSubject(f, report.name, plain, names, parameters)
    if report.order == 2:
        raise MinigenError(
            "gradcheck: order=2 needs the recorded graph, not grad=: check grad itself as a function"
        )
    return HandWritten(
        f, gradient, report.name, [x.numpy() if isinstance(x, Tensor) else x for x in plain], names
    )


def _given(x: Any, position: int, some_require: bool) -> Any:
    """float64 copies of floats; a Tensor for floats held fixed; integers and other objects as they are."""
    if isinstance(x, Tensor):
        fixed, x = some_require and not x.requires_grad, x.numpy()
        if fixed and x.dtype.kind == "f":
            return Tensor(from_host(x.astype(np.float64)))
    if is_array(x):
        x = to_host(x)
    if isinstance(x, float | list | np.ndarray | np.generic):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise DTypeError(
                f"gradcheck: input {position} is no array: {str(error).splitlines()[0]}"
            ) from error
        if x.dtype.kind not in "fiub":
            raise DTypeError(
                f"gradcheck: input {position} has dtype {x.dtype}: only real numbers can be checked"
            )
        return np.array(x, dtype=np.float64 if x.dtype.kind == "f" else x.dtype, order="C")
    return x


def _chosen(owner: Any, params: Any) -> dict[str, Tensor]:
    """The parameters to check, by name."""
    own = parameters_of(owner)
    if isinstance(params, str):
        params = [params]
    if isinstance(params, list | tuple) and params and all(isinstance(p, str) for p in params):
        missing = [p for p in params if p not in own]
        if missing:
            raise MinigenError(
                f"gradcheck: no parameter {missing[0]!r}: there are {', '.join(own) or 'none'}"
            )
        return {p: own[p] for p in params}
    return own | parameters_of(params)


def _name_of(f: Any) -> str:
    if is_module(f):
        return type(f).__name__
    name = getattr(f, "__qualname__", getattr(f, "__name__", type(f).__name__)).rpartition("<locals>.")[2]
    return "f" if name == "<lambda>" else name
