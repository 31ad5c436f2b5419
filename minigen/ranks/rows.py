"""Random numbers for a share of a batch: drawn for the whole batch on every rank, and each takes its own rows.

So an image meets the same noise whichever rank it comes to, and every rank's stream stands at the same place after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigen.errors import RankError
from minigen.ranks.share import Share, current, sharing

# Where `size` stands among the arguments of NumPy's methods.
SIZE = {
    "random": 0, "standard_normal": 0, "standard_exponential": 0, "standard_cauchy": 0,
    "choice": 1, "exponential": 1, "geometric": 1, "logseries": 1, "pareto": 1, "poisson": 1, "power": 1,
    "chisquare": 1, "rayleigh": 1, "standard_gamma": 1, "standard_t": 1, "weibull": 1, "zipf": 1,
    "beta": 2, "binomial": 2, "f": 2, "gamma": 2, "gumbel": 2, "integers": 2, "laplace": 2, "logistic": 2,
    "lognormal": 2, "negative_binomial": 2, "noncentral_chisquare": 2, "normal": 2, "uniform": 2, "vonmises": 2,
    "wald": 2, "hypergeometric": 3, "noncentral_f": 3, "triangular": 3,
}  # fmt: skip
OTHERS = (
    "bytes", "dirichlet", "multinomial", "multivariate_hypergeometric", "multivariate_normal", "permutation",
    "permuted", "shuffle", "spawn",
)  # fmt: skip


class Rows(np.random.Generator):
    """A stream of which, while a batch is shared out, draws are rows of what one process would draw."""


def _drawing(name: str, place: int) -> Callable[..., Any]:
    draw = getattr(np.random.Generator, name)

    def method(self: Rows, *args: Any, **kwargs: Any) -> Any:
        share = current()
        if share is None:
            return draw(self, *args, **kwargs)
        by_place = len(args) > place
        size = args[place] if by_place else kwargs.get("size")
        settings = [*args[:place], *(value for key, value in kwargs.items() if key != "size")]
        if name != "choice" and any(isinstance(one, np.ndarray | list | tuple) for one in settings):
            raise RankError(_unsharable(name, share, "arrays among its arguments"))
        shape = () if size is None else (size,) if np.ndim(size) == 0 else tuple(size)
        if not shape:
            return draw(self, *args, **kwargs)  # one number, the same on every rank
        found = share.places(shape[0])
        if found is None:
            raise RankError(_unsharable(name, share, f"the shape {shape}"))
        whole, rows = found
        if by_place:
            args = (*args[:place], (whole, *shape[1:]), *args[place + 1 :])
        else:
            kwargs["size"] = (whole, *shape[1:])
        with sharing(None):  # some of NumPy's draws call others of them
            return draw(self, *args, **kwargs)[rows]

    method.__name__ = name
    return method


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: Rows, *args: Any, **kwargs: Any) -> Any:
        share = current()
        if share is not None:
            raise RankError(_unsharable(name, share, "no shape that says which image is whose"))
        return getattr(np.random.Generator, name)(self, *args, **kwargs)

    method.__name__ = name
    return method


def _unsharable(name: str, share: Share, what: str) -> str:
    n = len(share.rows)
    return (
        f"rng.{name} with {what} cannot be shared by {share.team.size} ranks: expected the first axis to be the {n} "
        f"image{'s' * (n != 1)} of this rank's share; draw for each image, or train in one process"
    )


for _name, _place in SIZE.items():
    setattr(Rows, _name, _drawing(_name, _place))
for _name in OTHERS:
    setattr(Rows, _name, _refusing(_name))


@contextlib.contextmanager
def drawing_rows(model: Any) -> Iterator[None]:
    """Inside, the generators that the model's parts hold (Dropout's) are Rows of the same streams."""
    made: dict[int, Rows] = {}
    before: list[tuple[Any, str, np.random.Generator]] = []
    for part in model.modules():
        for key, value in list(vars(part).items()):
            if isinstance(value, np.random.Generator):
                before.append((part, key, value))
                setattr(part, key, made.setdefault(id(value), Rows(value.bit_generator)))
    try:
        hidden = [name for name, rng in model.named_generators() if not isinstance(rng, Rows)]
        if hidden:
            raise RankError(
                f"{hidden[0]} is a random generator in a list or dict, which ranks cannot share: make it an attribute"
            )
        yield
    finally:
        for part, key, value in before:
            setattr(part, key, value)
