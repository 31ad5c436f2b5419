"""The language that the course speaks: English, or Korean where somebody asks for it.

English stays in the code and is the key: a Korean sentence stands beside its English template in `minigen/lang/ko.toml`
(the command line) and in `exercises/ko/eNN_topic.toml` (a lesson). What is not translated is shown in English.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigen.errors import CourseError

if TYPE_CHECKING:
    from minigen.course.manifest import Lesson
    from minigen.course.phrases import Phrases

LANGUAGES = ("en", "ko")
VARIABLE = "MINIGEN_LANG"
HERE = Path(__file__).resolve().parents[1] / "lang"
_asked: str | None = None


def choose(language: str | None) -> None:
    """The language from now on; None: the environment variable MINIGEN_LANG, else English."""
    global _asked
    _asked = None if language is None else _known(language, "--lang")


def chosen() -> str:
    """en or ko."""
    if _asked is not None:
        return _asked
    return _known(os.environ.get(VARIABLE) or "en", VARIABLE)


def take(argv: list[str]) -> list[str]:
    """The arguments without `--lang ko`, which may stand anywhere, and chooses the language."""
    left, language, rest = [], None, list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            left += [word, *rest]
            break
        if word != "--lang" and not word.startswith("--lang="):
            left.append(word)
        elif "=" in word:
            language = word.partition("=")[2]
        elif rest:
            language = rest.pop(0)
        else:
            raise CourseError(f"--lang says no language; expected one of {', '.join(LANGUAGES)}")
    try:
        choose(language)
        chosen()
    except CourseError:  # told before anything else happens, and in English
        choose("en")
        raise
    return left


def spoken(text: str, lesson: Lesson | None = None) -> str:
    """The sentence in the chosen language: the command line's own, or one that a check of `lesson` says."""
    return text if chosen() == "en" else _phrases(_table(lesson))(text)


def term(kind: str, word: str) -> str:
    """A word or two in the chosen language. In the table it is `kind: word`, since by itself it may mean anything."""
    return word if chosen() == "en" else spoken(f"{kind}: {word}").removeprefix(f"{kind}: ")


def title_of(lesson: Lesson) -> str:
    """The lesson's title."""
    return _read(_table(lesson)).get("title") or lesson.title if chosen() != "en" else lesson.title


def text_of(lesson: Lesson) -> Path:
    """The lesson's text; the English one where there is no other."""
    other = lesson.text.parent / chosen() / lesson.text.name
    return other if chosen() != "en" and other.exists() else lesson.text


def todo_of(lesson: Lesson, hole: str) -> str:
    """What a hole asks for, in the language of the course; empty in English, which stands in the exercise."""
    return "" if chosen() == "en" else _read(_table(lesson)).get("todo", {}).get(hole, "")


def hints_of(lesson: Lesson, hole: str, english: tuple[str, ...]) -> tuple[str, ...]:
    """The hints for a hole, each in the chosen language where it is translated."""
    if chosen() == "en":
        return english
    others = _read(_table(lesson)).get("hints", {}).get(hole, [])
    return tuple(
        other or own for own, other in zip(english, [*others, *english[len(others) :]], strict=False)
    )


def _known(language: str, where: str) -> str:
    if language.lower() not in LANGUAGES:
        raise CourseError(f"{where}: no language {language!r}; expected one of {', '.join(LANGUAGES)}")
    return language.lower()


def _table(lesson: Lesson | None) -> Path | None:
    return lesson.text.parent / chosen() / f"{lesson.name}.toml" if lesson else None


@functools.cache
def _read(path: Path | None) -> dict[str, Any]:
    """A table of translations; one that is missing or broken is empty: the English will do."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


@functools.cache
def _phrases(path: Path | None) -> Phrases:
    """The sentences of a lesson and of the command line."""
    from minigen.course.phrases import Phrases

    known: dict[str, str] = {}
    for table in (_read(HERE / f"{chosen()}.toml"), _read(path)):
        for section in ("words", "phrases", "messages"):
            known |= table.get(section, {})
    return Phrases(known)
