"""Looking for a word: where the course speaks of it, and which hints of a lesson do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minigen.course.language import hints_of, title_of, todo_of
from minigen.course.manifest import Course, Lesson
from minigen.course.mistakes import load_bank


class Hint(NamedTuple):
    """One hint of a hole: its number from 1, of how many, and what it says."""

    hole: str
    number: int
    of: int
    says: str


def places(where: Course, words: Sequence[str]) -> Iterator[tuple[Lesson, str, str]]:
    """(lesson, hole, what is to do there) where the hole's name, task or hints, or the lesson's title have the words"""
    for lesson in where.lessons:
        bank = load_bank(lesson).hints
        for hole in lesson.holes:
            todo, english = todo_of(lesson, hole.name) or hole.todo, bank.get(hole.name, ())
            told = (todo, title_of(lesson), *hints_of(lesson, hole.name, english))
            if _has(words, hole.name, hole.todo, lesson.title, *english, *told):
                yield lesson, hole.name, todo


def hints(lesson: Lesson, hole: str | None, words: Sequence[str]) -> Iterator[Hint]:
    """The hints of a hole, or of all holes of a lesson, that have all the words, in English or as they are shown."""
    for name, english in load_bank(lesson).hints.items():
        if hole is None or name == hole:
            told = hints_of(lesson, name, english)
            for number, (own, shown) in enumerate(zip(english, told, strict=True), 1):
                if _has(words, own, shown):
                    yield Hint(name, number, len(told), shown)


def _has(words: Sequence[str], *texts: str) -> bool:
    text = "\n".join(texts).casefold()
    return all(word.casefold() in text for word in words)
