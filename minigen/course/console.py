"""Lines for people: coloured in a terminal, plain elsewhere; marks that the terminal can show."""

from __future__ import annotations

import functools
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any, TextIO

from minigen.course.language import spoken

STYLES = {"done": "green", "failing": "bold red", "not started": "dim", "dim": "dim", "strong": "bold"}
MARKS = {"done": ("✓", "+"), "failing": ("✗", "x"), "not started": ("·", "-")}


def tell(text: str, style: str = "", to: TextIO | None = None) -> None:
    """A sentence of minigen's own, in the chosen language; to another stream than stdout plainly, and at once."""
    if to is None or to is sys.stdout:
        say(spoken(text), style)
    else:
        print(printable(spoken(text), to), file=to)
    if to is not None:
        to.flush()


def say(text: str = "", style: str = "") -> None:
    """One line (or several); `style` is a key of STYLES and shows in a terminal only."""
    if not sys.stdout.isatty():
        print(printable(text))
        return
    for line in printable(text).split("\n"):
        for piece in _wrapped(line):
            _console().print(
                piece, style=STYLES.get(style, style), markup=False, highlight=False, soft_wrap=True
            )


def _wrapped(line: str) -> list[str]:
    """The line broken between words to the terminal's width; what follows is indented two columns more."""
    from rich.text import Text

    width = _console().width
    text, hanging = line.lstrip(), " " * (len(line) - len(line.lstrip()) + 2)
    if Text(line).cell_len <= width or len(hanging) > width // 2:
        return [line]
    first, *rest = Text(text).wrap(_console(), width - len(hanging))
    return [hanging[2:] + first.plain.rstrip(), *(hanging + one.plain.rstrip() for one in rest)]


def width_of(text: str) -> int:
    """The columns that a text takes in a terminal: a Korean letter takes two."""
    return sum(1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def filled(text: str, width: int) -> str:
    """A text with spaces after it, up to so many columns"""
    return text + " " * (width - width_of(text))


def folded(paragraph: str, width: int = 100) -> list[str]:
    """A paragraph -> its lines, of so many columns at most; none for none"""
    lines: list[str] = []
    for word in paragraph.split():
        if lines and width_of(lines[-1]) + 1 + width_of(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def mark(state: str) -> str:
    """The sign of a state, in ASCII where the output is not Unicode."""
    fancy, plain = MARKS[state]
    return fancy if printable(fancy) == fancy else plain


def shown(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except OSError:
        return str(path)


def markdown(text: str) -> None:
    """A lesson's text: laid out in a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        print(printable(text))
        return
    from rich.markdown import Markdown

    _console().print(Markdown(text))


@functools.cache
def _console() -> Any:
    from rich.console import Console

    return Console()


def printable(text: str, to: TextIO | None = None) -> str:
    """The text with what the output's encoding lacks replaced, never an encoding error."""
    encoding = getattr(to or sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)
