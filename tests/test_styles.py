"""Checks are fair and strict: right answers in other styles pass, wrong ones that nobody planted are told why."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from minigen.course.manifest import course
from minigen.course.mistakes import Mistake
from minigen.course.verdict import Task, judge

LETTERS = 30  # of the shortest message: fewer hold no reason


class Bank(NamedTuple):
    """What is asked of the answers in `tests/styles/eNN.py` and of what they are told."""

    right: int  # so many right answers at least
    wrong: int
    to_the_end: bool = False  # whether wrong answers meet the checks behind the first that they fail


BANKS = {
    "e05": Bank(25, 80),
    "e06": Bank(25, 80),
    "e07": Bank(25, 80),
    "e10": Bank(25, 50),
    "e14": Bank(20, 80),
    "e15": Bank(20, 40, to_the_end=True),
    "e16": Bank(20, 40, to_the_end=True),
}


def judged(name, bank, seed, stop_early):
    """Every answer through the real judge, one hole at a time, all in one child process: "hole: style" -> verdict"""
    lesson, tasks = course().lesson(name), {}
    for hole, answers in bank.items():
        for style, change in answers.items():
            old, new = (None, change) if isinstance(change, str) else change
            source = Mistake(style, hole, old, new, says="").apply(lesson)
            tasks[f"{hole}: {style}"] = Task(lesson.exercise, source, (hole,))
    return judge(lesson, tasks, seed, stop_early=stop_early)


def said(verdict):
    return verdict.refused or verdict.holes[0].message


@pytest.mark.timeout(400)
@pytest.mark.parametrize("lesson", BANKS)
def test_right_answers_in_other_styles_pass(lesson, pytestconfig):
    bank = import_module(f"tests.styles.{lesson}").RIGHT
    verdicts = judged(lesson, bank, pytestconfig.minigen_seed, stop_early=False)
    assert len(verdicts) >= BANKS[lesson].right
    failed = [f"{key}: {said(one)}" for key, one in verdicts.items() if one.exit_code]
    assert not failed, "\n".join(failed)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("lesson", BANKS)
def test_wrong_answers_nobody_planted_fail_with_a_reason(lesson, pytestconfig):
    bank, least = import_module(f"tests.styles.{lesson}").WRONG, BANKS[lesson]
    verdicts = judged(lesson, bank, pytestconfig.minigen_seed, stop_early=not least.to_the_end)
    assert len(verdicts) >= least.wrong
    passed = [key for key, one in verdicts.items() if one.exit_code != 1]
    assert not passed, "\n".join(passed)
    silent = [f"{key}: {said(one)}" for key, one in verdicts.items() if len(said(one)) < LETTERS]
    assert not silent, "\n".join(silent)


def test_every_bank_is_judged():
    assert {path.stem for path in Path(__file__).with_name("styles").glob("e*.py")} == set(BANKS)
