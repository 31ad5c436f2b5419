"""Ctrl-C, patiently: the step that runs is finished and saved first."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training: the step was finished and saved first."""

    def __init__(self, folder: Path | None, step: int):
        where = f", saved in {folder}" if folder else ", not saved (no run folder)"
        super().__init__(f"interrupted after step {step:,}{where}")
        self.folder, self.step = folder, step


class Patience:
    """Whether Ctrl-C was typed."""

    asked = False


@contextlib.contextmanager
def patience() -> Iterator[Patience]:
    """Inside, the first Ctrl-C only asks for a stop, so that no step is cut in half; a second one stops at once."""
    asked_for = Patience()
    if threading.current_thread() is not threading.main_thread():
        yield asked_for
        return

    def asked(number: int, frame: Any) -> None:
        if asked_for.asked:
            raise KeyboardInterrupt
        asked_for.asked = True

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield asked_for
    finally:
        signal.signal(signal.SIGINT, before)
