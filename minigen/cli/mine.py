"""`--mine`: the learner's parts in the engine, said aloud; what goes wrong with them named with file and line."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from minigen.cli.rehearsal import LearnersError, Rehearsal, line, place, reached
from minigen.course.console import shown
from minigen.course.plugs import Part, mine, plug, resolve
from minigen.errors import CheckpointError, DataError, MinigenError
from minigen.training.step import Untrained


class NotStarted(MinigenError):
    """--mine, and nothing is."""

    exit_code = 3


class Troupe:
    """The parts of a run: the learner's, in the engine while the run lasts, or none."""

    def __init__(self, own: Sequence[Part], others: Sequence[Part]) -> None:
        self.own, self.others = own, others
        self.rehearsal = Rehearsal(own)
        self.at_work: list[Part] = list(own)

    def rehearse(
        self, module: ModuleType, scene: Callable[[], Any], own_scene: Callable[[], Any], name: str, out: Any
    ) -> None:
        """Watches one batch with the reference's parts and one with the learner's; says who is at work."""
        if not self.own:
            return
        self.rehearsal.run(scene, own_scene)
        called = reached(getattr(module, "finish", None), getattr(module.MODEL, "sample", None))
        used = self.rehearsal.used | {one.target for one in self.own if resolve(one.target)[2] in called}
        self.at_work = [part for part in self.own if part.target in used]
        for part in self.at_work:
            print(part, file=out)
        idle = [_short(part) for part in self.own if part not in self.at_work]
        if idle:
            print(f"in place but not used by this model: {', '.join(idle)}", file=out)
        if not self.at_work:
            print(f"nothing of yours is at work: {name} is trained by the engine's own code", file=out)
        rest = ", ".join(_short(part) for part in self.others)
        print(f"the engine's own: {rest or 'nothing that you could have written'}", file=out, flush=True)

    @contextlib.contextmanager
    def on_stage(self) -> Iterator[None]:
        """Inside, the learner's parts are the engine's."""
        with self.blaming(), plug(self.own):
            yield

    def judged(self) -> contextlib.AbstractContextManager[None]:
        """Inside, what the learner's parts return is looked at once more."""
        return self.rehearsal.judged()

    @contextlib.contextmanager
    def blaming(self) -> Iterator[None]:
        """Inside, errors of the learner's code come out as one line with file and line."""
        try:
            yield
        except (LearnersError, CheckpointError, DataError):
            raise
        except Exception as error:
            if not self.own:
                raise
            raise blamed(error, self.at_work) from error


def troupe(wanted: bool) -> Troupe:
    """Everything started that the engine has a place for; NotStarted if that is nothing"""
    if not wanted:
        return Troupe((), ())
    parts = mine()
    own = [part for part in parts if part.mine]
    if not own:
        holes = ", ".join(_short(part) for part in parts) or "none yet"
        raise NotStarted(f"--mine: no exercise that the engine has a place for is started ({holes})")
    return Troupe(own, [part for part in parts if not part.mine])


def blamed(error: Exception, own: Sequence[Part]) -> MinigenError:
    """The error in one line, with the learner's own where it came from, or else their parts that were at work"""
    words = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, Untrained):
        guilty = culprits(error, own)
        several = "" if len(guilty) == 1 else f" (or {_places(guilty[1:])})"
        it = "it" if len(error.names) == 1 else "them"
        return LearnersError(
            f"{place(guilty[0])}: your {guilty[0].hole}{several}: {error.what}, so training would never change {it}: "
            f"use {it} in what you compute, with Tensors from end to end (no .data, no NumPy in between)"
        )
    kind = "" if isinstance(error, MinigenError) else f"{type(error).__name__}: "
    frames = traceback.extract_tb(error.__traceback__)
    files = {str(part.path) for part in own}
    mine = [frame for frame in frames if frame.filename in files]
    if mine:
        last = mine[-1]
        return LearnersError(
            f"{last.filename}:{last.lineno}: your {_hole(last, own)} fails in training: {kind}{words}"
        )
    at = "" if isinstance(error, MinigenError) else f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
    return LearnersError(f"{kind}{words}{at}, with your code at work: {_places(own)}")


def culprits(error: Untrained, own: Sequence[Part]) -> list[Part]:
    """The parts that may have left parameters out: methods of the smallest module that uses some and not others"""
    modules = dict(error.model.named_modules())
    every = [name for name, _ in error.model.named_parameters()]
    path = error.names[0].split(".")
    for depth in range(len(path) - 1, -1, -1):
        prefix = ".".join(path[:depth])
        inside = [name for name in every if not prefix or name.startswith(f"{prefix}.")]
        if prefix in modules and set(inside) - set(error.names):
            kinds = type(modules[prefix]).__mro__
            there = [part for part in own if resolve(part.target)[0] in kinds]
            found = [part for part in there if not part.hole.endswith("__init__")] or there
            if found:
                return found
    return list(own)


def _hole(frame: traceback.FrameSummary, own: Sequence[Part]) -> str:
    """The hole that a frame's function is, or its name for a helper of the learner's"""
    named = [
        part for part in own if part.hole.split(".")[-1] == frame.name and line(part) <= (frame.lineno or 0)
    ]
    return max(named, key=line).hole if named else frame.name


def _places(parts: Sequence[Part]) -> str:
    return ", ".join(f"{part.hole} ({shown(part.path)}:{line(part)})" for part in parts)


def _short(part: Part) -> str:
    return f"{part.lesson.short}:{part.hole}"


def out(as_json: bool) -> Any:
    """Where lines for people go"""
    return sys.stderr if as_json else sys.stdout
