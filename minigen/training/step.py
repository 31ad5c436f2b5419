"""The parts of a training step that look at what a model gives: its pairs, and the gradients of their losses."""

from collections.abc import Iterator
from typing import Any

from minigen.autograd import grad
from minigen.backend import xp
from minigen.errors import GraphError
from minigen.optim import Optimizer
from minigen.tensor import Tensor


class Untrained(GraphError):
    """A loss that does not depend on some of the parameters that it is to train."""

    def __init__(self, model: Any, names: list[str], count: int, loss: str):
        said = ", ".join(names if len(names) <= 4 else [*names[:4], f"and {len(names) - 4} more"])
        self.model, self.names, self.count = model, names, count
        self.what = f"the {loss} does not depend on {said} ({len(names)} of {count} parameters)"
        super().__init__(
            f"{self.what}, so training would never change that: is it used at all, or was the graph cut "
            "(.data, .detach(), no_grad)?"
        )


def gradients(
    model: Any, name: str, loss: Tensor, optimizer: Optimizer, weight: float | None = None
) -> list[Any]:
    """loss () -> one raw array for each trainable parameter of the optimizer; Untrained where there is none

    weight: what the loss counts for in a sum of losses; without it, 1
    """
    wanted = [p for p in optimizer.params if p.requires_grad]
    seed = None if weight is None else xp.full(loss.shape, weight, loss.dtype)
    found = grad(loss, wanted, seed, allow_unused=True) if loss.requires_grad else [None] * len(wanted)
    if any(g is None for g in found):
        called = {id(p): name for name, p in model.named_parameters()}
        unused = [p for p, g in zip(wanted, found, strict=True) if g is None]
        names = [called.get(id(p), p.name or f"a parameter {tuple(p.shape)}") for p in unused]
        raise Untrained(model, names, len(wanted), f"loss of {name}" if name else "loss")
    return found


def pairs(updates: Any) -> Iterator[tuple[Any, Tensor]]:
    """What a model yields, refused where it is no (module, loss)"""
    if updates is None or isinstance(updates, Tensor) or not hasattr(updates, "__iter__"):
        raise GraphError(
            f"updates() gave a {type(updates).__name__}; expected it to yield pairs (module, loss)"
        )
    for pair in updates:
        if not (
            isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Tensor) and pair[1].size == 1
        ):
            raise GraphError(
                f"updates() yielded a {type(pair).__name__}; expected a pair (module, loss) with a scalar Tensor"
            )
        yield pair
