"""Optimizer: everything that optimizers share. The rule itself is one method, `update`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minigen import workers
from minigen.autograd import touch
from minigen.backend import Array, describe, from_host, to_host, xp
from minigen.errors import DivergenceError, DTypeError, GraphError, SettingError, ShapeError
from minigen.nn.module import Module
from minigen.nn.state import check_state
from minigen.optim.flat import BLOCK, Flat, scratch
from minigen.tensor import Tensor

SHARED_FROM = 4 * BLOCK  # numbers from which an update is shared by the workers


class Optimizer:
    """Moves parameters against their gradients.

    The parameters' arrays become views of one flat buffer per dtype; `p.data = ...` still works, and is taken in
    at the next step. A subclass names its state arrays in `state`, its settings in `settings`, and defines
    `update(w, g, *state)`, which changes 1-D arrays in place: a stretch of many parameters at a time, so the rule
    must be elementwise. g may be overwritten.
    """

    state: tuple[str, ...] = ()
    leaves_gradient = False  # whether `update`, without weight decay, only reads g: saves a copy of it
    settings: tuple[str, ...] = ("lr", "weight_decay")

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0):
        self.params = _checked(params)
        _numbers(type(self).__name__, lr=lr, weight_decay=weight_decay)
        if not lr > 0:
            raise SettingError(f"{type(self).__name__}: the learning rate must be above 0, got {lr}")
        if not weight_decay >= 0:
            raise SettingError(f"{type(self).__name__}: weight_decay must be at least 0, got {weight_decay}")
        self.lr, self.weight_decay = lr, float(weight_decay)
        self.steps = [0] * len(self.params)  # for each parameter: those without a gradient stand still
        self._flats: list[tuple[list[int], Flat]] = []
        for dtype in dict.fromkeys(p._data.dtype for p in self.params):
            members = [i for i, p in enumerate(self.params) if p._data.dtype == dtype]
            self._flats.append((members, Flat([self.params[i] for i in members], self.state)))

    @property
    def lr(self) -> float:
        """The learning rate; assign to it, as schedules do. 0 is allowed there: a step that moves nothing."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        _numbers(type(self).__name__, lr=value)
        if not 0 <= value < math.inf:
            raise SettingError(
                f"{type(self).__name__}: the learning rate must be a number of at least 0, got {value}"
            )
        self._lr = float(value)

    def update(self, w: Array, g: Array, *state: Any) -> None:
        """(n,), (n,), state (n,) each -> None: one step of the rule, in place"""
        raise NotImplementedError(f"{type(self).__name__} has no rule: define update(self, w, g, ...)")

    def decay(self, w: Array, g: Array) -> None:
        """(n,), (n,) -> None: weight decay as an L2 penalty, part of the gradient"""
        if self.weight_decay:
            g += xp.multiply(w, self.weight_decay, out=self.scratch(w))

    def _apply(self, w: Array, g: Array, state: list[Array], t: int) -> None:
        self.update(w, g, *state)

    def step(self, grads: Sequence[Any] | None = None) -> None:
        """One update of every parameter that has a gradient.

        grads: one array (or None) for each parameter, as `grad()` gives them; without it, each parameter's `.grad`,
        which is kept. Raises DivergenceError, before anything is changed, when a gradient is not finite.
        """
        given = self._gradients(grads)
        self._refuse_nonfinite(given)
        for members, flat in self._flats:
            flat.gather()
            local = [given[i] for i in members]
            for first, last, t in self._runs(members, given):
                self._walk(flat, local, first, last, t)
        for i, g in enumerate(given):
            if g is not None:
                self.steps[i] += 1
                touch(self.params[i])

    def _walk(self, flat: Flat, grads: list[Any], first: int, last: int, t: int) -> None:
        """Apply the rule to every block. The engine's own rules keep nothing on the way, so workers can share them."""
        own = self.update.__module__.startswith("minigen.")
        lend = own and self.leaves_gradient and not self.weight_decay
        shared = own and workers.have_the_cores() and flat.starts[last] - flat.starts[first] >= SHARED_FROM
        blocks = flat.blocks(first, last)

        def some(start: int, stop: int) -> None:
            for block in blocks[start:stop]:
                self._apply(block.w, flat.collect(block, grads, lend), block.state, t)

        workers.share(len(blocks), some, parts=None if shared else 1)

    def zero_grad(self) -> None:
        """Forget every `.grad`."""
        for p in self.params:
            p.grad = None

    def _runs(self, members: list[int], given: list[Any]) -> list[tuple[int, int, int]]:
        """(first, last, t): neighbouring parameters that have gradients and are at the same step."""
        runs: list[tuple[int, int, int]] = []
        for at, i in enumerate(members):
            if given[i] is None:
                continue
            t = self.steps[i] + 1
            if runs and runs[-1][1] == at and runs[-1][2] == t:
                runs[-1] = (runs[-1][0], at + 1, t)
            else:
                runs.append((at, at + 1, t))
        return runs

    def _gradients(self, grads: Sequence[Any] | None) -> list[Any]:
        """One 1-D array, or None, for each parameter."""
        trainable = [p.requires_grad for p in self.params]
        given = [p.grad for p in self.params] if grads is None else list(grads)
        if len(given) != len(self.params):
            if len(given) != sum(trainable):
                raise ShapeError(
                    f"step: got {len(given)} gradients for {len(self.params)} parameters: pass grad(loss, opt.params)"
                )
            rest = iter(given)  # frozen since: module.parameters() no longer lists them
            given = [next(rest) if t else None for t in trainable]
        return [
            self._flat_gradient(i, g) if g is not None and t else None
            for i, (g, t) in enumerate(zip(given, trainable, strict=True))
        ]

    def _flat_gradient(self, i: int, g: Any) -> Array:
        g = g._data if isinstance(g, Tensor) else g
        if g.shape != self.params[i]._data.shape:
            raise ShapeError(f"step: the gradient of {self._called(i)} has shape {g.shape}")
        return g.reshape(-1)

    def _refuse_nonfinite(self, given: list[Any]) -> None:
        squares: Any = 0.0
        with np.errstate(all="ignore"):
            for g in given:
                if g is not None:
                    squares = squares + xp.dot(
                        g, g
                    )  # NaN and infinities stay; four times as fast as isfinite
        if math.isfinite(squares):  # one question to the device for all
            return
        for i, g in enumerate(given):
            if g is not None and not bool(xp.isfinite(g).all()):
                bad = "NaN" if bool(xp.isnan(g).any()) else "infinite"
                raise DivergenceError(
                    f"the gradient of {self._called(i)} is {bad}: nothing was changed; lower the learning rate, "
                    "clip the gradients, or find the operation with detect_anomaly()"
                )

    def _called(self, i: int) -> str:
        p = self.params[i]
        return f"parameter {i} " + (f"{p.name!r} " if p.name else "") + describe(p._data)

    def scratch(self, like: Array) -> Array:
        """An array like `like` to compute in; the same one every time."""
        return scratch("update", like)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on besides parameters and gradients, as host arrays.

        'm.3' is the state array m of parameter 3; 'steps' counts each parameter's steps; 'lr' and the other settings
        are float64 numbers.
        """
        arrays = {name: np.array(to_host(array)) for name, array in self._state_arrays().items()}
        arrays["steps"] = np.array(self.steps, np.int64)
        return arrays | {name: np.array(float(getattr(self, name))) for name in self.settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state, exactly. Raises CheckpointError that lists all that does not fit, and changes nothing."""
        arrays = self._state_arrays()
        expected = arrays | {"steps": np.array(self.steps)}
        expected |= {name: np.array(0.0) for name in self.settings}
        loaded = check_state(expected, state, f"this {type(self).__name__}")
        for name, array in arrays.items():
            array[...] = from_host(loaded[name])
        self.steps = [int(t) for t in loaded["steps"]]
        for name in self.settings:
            kind = bool if isinstance(getattr(self, name), bool) else float
            setattr(self, name, kind(loaded[name]))

    def _state_arrays(self) -> dict[str, Array]:
        found = {}
        for members, flat in self._flats:
            for at, i in enumerate(members):
                for name, array in zip(self.state, flat.state_of(at), strict=True):
                    found[f"{name}.{i}"] = array
        return found

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in self.settings)
        count = sum(p.size for p in self.params)
        return f"{type(self).__name__}({settings}): {count:,} parameters in {len(self.params)} tensors"


def _numbers(optimizer: str, **settings: Any) -> None:
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise SettingError(f"{optimizer}: {name} must be a number, got {describe(value)}")


def _checked(params: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(params, Module | Tensor) or not isinstance(params, Iterable):
        raise DTypeError(
            f"an optimizer takes a list of Tensors, got a {type(params).__name__}: pass model.parameters()"
        )
    found = list(params)
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            raise DTypeError(
                f"an optimizer takes Tensors, but item {i} is a {type(p).__name__}: pass model.parameters()"
            )
        if p.recipe is not None:
            raise GraphError(
                f"parameter {i} {describe(p._data)} is the result of an operation: only leaves can be optimized"
            )
    if not any(p.requires_grad for p in found):
        raise GraphError(
            "an optimizer was given no parameter that requires gradients: pass model.parameters()"
        )
    if len({id(p) for p in found}) < len(found):
        raise GraphError("the same parameter is listed twice: it would be updated twice in every step")
    return found
