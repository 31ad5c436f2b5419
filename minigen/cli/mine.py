"""`--mine`: the learner's parts in the engine, said aloud; what goes wrong with them named with file and line."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from minigen.cli.rehearsal import LearnersError, Rehearsal, line, place, reached
from minigen.course.console import shown, tell
from minigen.course.plugs import Part, mine, plug, resolve
from minigen.errors import CheckpointError, DataError, MinigenError
from minigen.training.step import Untrained

FEW = 5  # names that are told without --verbose


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
        self,
        module: ModuleType,
        scene: Callable[[], Any],
        own_scene: Callable[[], Any],
        say: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        """Watches one batch with the reference's parts and one with the learner's; says who is at work."""
        if not self.own:
            return
        self.rehearsal.run(scene, own_scene)
        called = reached(getattr(module, "finish", None), getattr(module.MODEL, "sample", None))
        used = self.rehearsal.used | {one.target for one in self.own if resolve(one.target)[2] in called}
        self.at_work = [part for part in self.own if part.target in used]
        for path in dict.fromkeys(part.path for part in self.at_work):
            names = [part.hole for part in self.at_work if part.path == path]
            say(f"your {_first(names, verbose)} from {shown(path)}")
        if idle := [part for part in self.own if part not in self.at_work]:
            say(f"in place but not used by this model: {_named(idle, verbose)}")
        if not self.at_work:
            say("nothing of yours is at work: the model is trained by the engine's own code")
        if self.others:
            say(f"the engine's own: {_named(self.others, verbose)}")
        else:
            say("the engine's own: nothing that you could have written")
        if not verbose and len(self.own) + len(self.others) > FEW:
            say("for all their names: --verbose")

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


def _first(names: Sequence[str], verbose: bool) -> str:
    """The names, or the first few of them"""
    if verbose or len(names) <= FEW + 1:
        return ", ".join(names)
    return ", ".join([*names[:FEW], f"and {len(names) - FEW} more"])


def _named(parts: Sequence[Part], verbose: bool) -> str:
    """The parts' names where they are few; else how many of each lesson"""
    if verbose or len(parts) <= FEW:
        return ", ".join(map(_short, parts))
    counts = Counter(part.lesson.short for part in parts)
    each = ", ".join(f"{lesson} {count}" for lesson, count in counts.items())
    return f"{len(parts)} ({each})"


def speaker(as_json: bool) -> Callable[[str], None]:
    """What says a line to people, beside JSON on stderr"""
    return lambda text: tell(text, to=sys.stderr if as_json else sys.stdout)
