"""The course's law for every lesson there is: minigen.course.law says what it asks."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from minigen.course.law import survey
from minigen.course.manifest import course

LESSONS = course().lessons


@pytest.fixture(scope="module")
def surveys():
    """The lessons' surveys, as many at a time as there are cores: each waits for child processes of its own."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {lesson.name: pool.submit(survey, lesson) for lesson in LESSONS}


@pytest.mark.timeout(900)  # the first waits for its neighbours too
@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_the_law_holds(lesson, surveys):
    breaches, _ = surveys[lesson.name].result()
    assert not breaches, "\n".join(breaches)
