"""Ctrl-C, patiently: nothing is cut in half.

Python raises KeyboardInterrupt between any two of its instructions, inside the locks of threads and pools as well,
which then stay locked for ever. Here the first Ctrl-C only leaves a note, and who works looks for it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Patience:
    """Whether a stop was asked for."""

    asked = False


@contextlib.contextmanager
def patience(*signals: signal.Signals) -> Iterator[Patience]:
    """Inside, the first of these signals (default: Ctrl-C) only asks for a stop; a second one stops at once."""
    asked_for = Patience()
    if threading.current_thread() is not threading.main_thread():
        yield asked_for
        return

    def asked(number: int, frame: Any) -> None:
        if asked_for.asked:
            raise KeyboardInterrupt
        asked_for.asked = True

    before = {one: signal.signal(one, asked) for one in signals or (signal.SIGINT,)}
    try:
        yield asked_for
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
