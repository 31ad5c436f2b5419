"""The course: lessons and holes, stubs, the check runner, progress, the learner's code in the engine."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigen.course.mistakes import Mistake
    from minigen.course.plugs import Part, mine, plug

__all__ = ["Mistake", "Part", "mine", "plug"]

HOMES = {"Mistake": "mistakes", "Part": "plugs", "mine": "plugs", "plug": "plugs"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `minigen list` needs no runner, a stub no engine."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
