"""Generic cheats in the holes of the last lessons: one for each hole here, all of them by `python -m tests.cheats`."""

import pytest

from minigen.course.manifest import course
from minigen.course.verdict import Task, judge
from tests.cheats import CONSTANTS, REACHES, cheats, kept_answers, passed

LESSONS = ("e13", "e14", "e15", "e16")
EARLIER = ("e01", "e02", "e03", "e05", "e06", "e07", "e10", "e11", "e12")  # one of them with each seed


def some(lesson, sealed, seed):
    """For each hole one of the cheats: another for the next hole, and with the next seed."""
    every = list(cheats(lesson, sealed))
    count = len(every) // len(lesson.holes)
    for at, hole in enumerate(lesson.holes):
        own = [one for one in every if one[1] == hole.name]
        yield own[(at + len(lesson.holes) * seed) % count]


@pytest.mark.parametrize("short", LESSONS)
def test_no_cheat_passes(short, pytestconfig):
    lesson, seed = course().lesson(short), pytestconfig.minigen_seed
    sources = [*some(lesson, False, seed), *kept_answers(lesson)]
    assert passed(lesson, sources, sealed=False, seed=seed) == []


@pytest.mark.parametrize("short", ["e04", "e08", "e09", None])
def test_no_old_answer_passes(short, pytestconfig):
    seed = pytestconfig.minigen_seed
    lesson = course().lesson(short or EARLIER[seed % len(EARLIER)])
    assert passed(lesson, kept_answers(lesson), sealed=False, seed=seed) == []


def test_who_keeps_answers_is_told_so(pytestconfig):
    """Right for one input of a shape, which is all that many a check of values asks."""
    lesson = course().lesson("e02")
    [source] = [text for name, hole, text in kept_answers(lesson) if hole == "log_vjp" and "form" in name]
    task = Task(lesson.exercise, source, ("log_vjp",))
    verdict = judge(lesson, {"": task}, seed=pytestconfig.minigen_seed)[""]
    assert verdict.holes[0].message.startswith(
        "right for the first inputs, not for the next (is an answer kept"
    )


def test_no_cheat_passes_sealed(pytestconfig):
    seed = pytestconfig.minigen_seed
    lesson = course().lesson(LESSONS[seed % len(LESSONS)])
    assert passed(lesson, some(lesson, True, seed), sealed=True, seed=seed) == []


def test_the_cheats_are_programs_that_reach_the_hole(toy):
    """Each is the solution but for one hole; and what would pass is seen to pass."""
    lesson = toy.lesson("e01")
    found = list(cheats(lesson, True))
    assert len({one[0] for one in found}) == len(found) // 3 >= len(CONSTANTS) + len(REACHES)
    for name, hole, text in found:
        compile(text, f"{name} in {hole}", "exec")
    honest = [("the solution", hole.name, lesson.source) for hole in lesson.holes]
    assert len(passed(lesson, honest, sealed=False)) == 3
