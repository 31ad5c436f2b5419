"""Progress of a run on stderr: a bar in a terminal, plain lines elsewhere and where NO_COLOR asks for them.

What is said is made of short pieces, which go through `say`: the command line passes one that knows another language.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

Say = Callable[[str], str]  # an English piece -> what is printed


class Silent:
    """Says nothing; and the shape of the other two."""

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """epochs and steps in all, steps done already"""

    def step(self, epoch: int, losses: Mapping[str, float]) -> None:
        """One step of `epoch` (counted from 1) is done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is over: its row of metrics."""

    def end(self) -> None:
        """Nothing more comes, be it done, stopped or failed."""


class Lines(Silent):
    """What comes, a line for an epoch, at most about forty in all; and if the first one takes long, how long."""

    def __init__(self, stream: TextIO, patience: float = 5.0, say: Say = str):
        self.stream, self.patience, self.say = stream, patience, say

    def begin(self, epochs: int, steps: int, done: int) -> None:
        self.epochs, self.every = epochs, max(1, epochs // 40)
        self.steps, self.first, self.done = steps // epochs, done, done
        self.waiting, self.began = done < steps, time.monotonic()
        if self.waiting:
            often = "a line after each" if self.every == 1 else f"a line after every {self.every}"
            left = epochs - done // self.steps
            self._print(self.say(f"{left} epoch{'s' * (left > 1)} of {self.steps:,} steps to go, {often}"))

    def step(self, epoch: int, losses: Mapping[str, float]) -> None:
        self.done += 1
        spent = time.monotonic() - self.began
        if self.waiting and spent > self.patience:
            self.waiting = False
            each = spent / (self.done - self.first) * self.steps
            at = self.done - (epoch - 1) * self.steps
            step, long = f"step {at:,}/{self.steps:,}", f"about {each:.0f} s an epoch"
            self._print(
                self.say(f"epoch {epoch}/{self.epochs}"),
                self.say(step),
                *figures(trained(losses), self.say),
                self.say(long),
            )

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.waiting = False
        n = row["epoch"]
        if n == 1 or n % self.every == 0 or n == self.epochs:
            self._print(self.say(f"epoch {n:{len(str(self.epochs))}}/{self.epochs}"), *figures(row, self.say))

    def _print(self, *pieces: str) -> None:
        print("  ".join(pieces), file=self.stream, flush=True)


class Bar(Silent):
    """One line that moves."""

    def __init__(self, stream: TextIO, say: Say = str):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[says]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=Console(file=stream), refresh_per_second=8)
        self.say = say
        self.held_out: list[str] = []

    def begin(self, epochs: int, steps: int, done: int) -> None:
        self.epochs = epochs
        self.task = self.bar.add_task(self.say(f"epoch 1/{epochs}"), total=steps, completed=done, says="")
        self.bar.start()

    def step(self, epoch: int, losses: Mapping[str, float]) -> None:
        says = "  ".join([*figures(trained(losses), self.say), *self.held_out])
        self.bar.update(self.task, advance=1, description=self.say(f"epoch {epoch}/{self.epochs}"), says=says)

    def epoch(self, row: Mapping[str, Any]) -> None:
        tests = {key: value for key, value in row.items() if key.startswith("test_")}
        self.held_out = figures(tests, self.say)

    def end(self) -> None:
        self.bar.stop()


def trained(losses: Mapping[str, float]) -> dict[str, float]:
    """The losses of a step under the names that they have in a row of metrics: `train_loss`"""
    return {f"train_{name}": value for name, value in losses.items()}


def figures(row: Mapping[str, Any], say: Say = str) -> list[str]:
    """A row of metrics for people: `train loss 6.123`, `test squared error 7.01`, `12.3 s`"""
    parts = []
    for key, value in row.items():
        if key == "seconds":
            parts.append(say(f"{value:.1f} s"))
        elif key not in ("epoch", "step"):
            found = say("not finite") if value is None else format(value, ".4g")
            parts.append(f"{say(label(key))} {found}")
    return parts


def label(key: str) -> str:
    """`test_squared_error` -> `test squared error`"""
    return key.replace("_", " ")


def progress(stream: TextIO | None = None, say: Say = str) -> Silent:
    """A bar if `stream` (stderr) is a terminal that can show one, else lines"""
    stream = sys.stderr if stream is None else stream
    capable = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return Bar(stream, say) if capable else Lines(stream, say=say)
