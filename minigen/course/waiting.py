"""Saying what is being waited for, so that a check that takes long does not look like one that hangs."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from minigen.course.console import width_of
from minigen.course.language import spoken

if TYPE_CHECKING:
    from minigen.course.runner import Waiting

PATIENCE = 5.0  # seconds, where a line once printed stays


class Notice:
    """A line on stderr that counts the seconds, in a terminal; elsewhere one plain line for each long wait."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.moving = self.stream.isatty()
        self.after = 1.0 if self.moving else PATIENCE
        self.shown = ""

    def __call__(self, what: str, seconds: float, allowed: float) -> None:
        """`what` has been running for so many seconds, of those that it may take."""
        if seconds < self.after:
            self.clear()
            return
        text = spoken(f"waiting for {what}: {int(seconds)} s (stopped at {allowed:g} s)")
        if not self.moving:
            if self.shown != what:
                self.shown = what
                print(text, file=self.stream, flush=True)
            return
        while width_of(text) >= shutil.get_terminal_size().columns:
            text = text[:-1]
        if text != self.shown:
            self.clear()
            self.shown = text
            self.stream.write(f"\r{self.shown}")
            self.stream.flush()

    def clear(self) -> None:
        """Takes the line away again; what was printed plainly stays."""
        if self.moving and self.shown:
            self.stream.write("\r" + " " * width_of(self.shown) + "\r")
            self.stream.flush()
        self.shown = ""


@contextlib.contextmanager
def noticed() -> Iterator[Waiting]:
    """Inside, what to call while a check runs (the runner's `waiting`)."""
    notice = Notice()
    try:
        yield lambda check, seconds, allowed: notice(f"{check.hole} ({check.function})", seconds, allowed)
    finally:
        notice.clear()
