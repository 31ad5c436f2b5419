"""A child process that runs somebody's code, and the parent's side of the conversation with it.

The child says what it does over a pipe of its own (conversation.py); everything it prints elsewhere is only text.
The parent believes what carries the word of this child, kills a child that takes too long or prints too much,
and decides by itself what it all means: what was not reported has not happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigen.course.conversation import mark

NEEDED = {
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "MINIGEN_DATA",
    "OPENBLAS_NUM_THREADS",
}
LOUDEST = 2**22  # bytes on the pipe at once


@dataclass(frozen=True)
class Limits:
    """What one check may take; `seconds` replaces what the check asks for. `sealed`: for other people's code."""

    seconds: float | None = None
    megabytes: int = 4096
    output: int = 1_000_000
    start: float = 180.0
    sealed: bool = False


class Child:
    """`python SCRIPT`, told in `request` what to do, in a session of its own."""

    def __init__(self, script: Path, request: dict[str, Any], folder: Path, scratch: str = "") -> None:
        self.word = secrets.token_hex(16)
        self.printed, self.heard = bytearray(), bytearray()
        self.since = time.monotonic()
        self.finished = False
        self.channel, write = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(script), str(write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write,),
                cwd=folder,
                env=_environment(scratch),
                start_new_session=True,
            )
        except BaseException:
            os.close(self.channel)
            raise
        finally:
            os.close(write)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({**request, "word": self.word}).encode())
            self.process.stdin.close()

    def listen(
        self,
        hear: Callable[[dict[str, Any], str], None],
        allowed: Callable[[], float],
        most: int,
        waiting: Callable[[float], None] = lambda seconds: None,
    ) -> str:
        """Hears the child out; returns why it ended: end, timeout or output.

        hear(event, what was printed before it) for each line; allowed() seconds from one line to the next; at most
        `most` printed bytes between two; waiting(seconds since the last line) now and then.
        """
        assert self.process.stdout is not None
        printed = self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            for handle in (self.channel, printed):
                os.set_blocking(handle, False)
                selector.register(handle, selectors.EVENT_READ)
            while True:
                # The pipe's lines come first in each round only after what was printed before them.
                ready = {key.fd for key, _ in selector.select(0.05)}
                if printed in ready or self.channel in ready:
                    self._take_output(printed, most)
                if self.channel in ready and not self._take_events(printed, most, hear):
                    return "end"
                if len(self.printed) > most or len(self.heard) > LOUDEST:
                    return "output"
                if self.finished or (not ready and self.process.poll() is not None):
                    return "end"
                spent = time.monotonic() - self.since
                if spent > allowed():
                    return "timeout"
                waiting(spent)

    def _take_output(self, printed: int, most: int) -> None:
        for data in _chunks(printed):
            self.printed += data
            if len(self.printed) > most:
                return

    def _take_events(self, printed: int, most: int, hear: Callable[[dict[str, Any], str], None]) -> bool:
        """Reads the pipe; False once it is closed."""
        closed = True
        for data in _chunks(self.channel):
            self.heard += data
            closed = False
            if len(self.heard) > LOUDEST:
                break  # not our child's way of speaking: listen() ends it
        *lines, rest = bytes(self.heard).split(b"\n")
        self.heard = bytearray(rest)
        for line in lines:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.pop("word", None) == self.word:
                    self._take_output(printed, most)
                    self.since = time.monotonic()
                    before, found, after = bytes(self.printed).partition(mark(self.word))
                    self.printed = bytearray(after if found else b"")
                    self.finished = self.finished or event["event"] == "finished"
                    hear(event, before.decode(errors="replace"))
        return not closed

    def stop(self, patience: float) -> None:
        """Ends the child and whatever it started; with patience, so that its own exit code is seen."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.channel)
        for pipe in (self.process.stdout, self.process.stdin):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def epitaph(self, ended: str, seconds: float, most: int) -> tuple[str, str]:
        """(timeout, output or crashed; what to say of it) of a child that stopped before it was done."""
        if ended == "timeout":
            return ended, f"still running after {seconds:g} s: is there a loop that does not end?"
        if ended == "output":
            return ended, f"printed more than {most:,} characters: is there a print in a loop?"
        return "crashed", self.obituary()

    def obituary(self, code: int | None = None) -> str:
        """How Python ended."""
        code = self.process.returncode if code is None else code
        if code is not None and code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            return f"Python was killed by {name} while it ran your code"
        return f"Python ended (exit code {code}) before the check was over: your code must return, not exit"


def _chunks(handle: int) -> Iterator[bytes]:
    """What can be read now."""
    with contextlib.suppress(BlockingIOError, OSError):
        while data := os.read(handle, 65536):
            yield data


def _environment(scratch: str) -> dict[str, str]:
    """The user's, without what would change how Python and pytest run; sealed, no more of it than is needed."""
    drop = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    if scratch:
        kept = {name: value for name, value in kept.items() if name in NEEDED or name.startswith("LC_")}
        kept |= {"TMPDIR": scratch}
    kept.setdefault("OPENBLAS_NUM_THREADS", "1")  # small products: more threads only get in each other's way
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"}
