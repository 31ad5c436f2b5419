"""The course's law for every lesson there is: minigen.course.law says what it asks."""

import pytest

from minigen.course.law import survey
from minigen.course.manifest import course

LESSONS = course().lessons


@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_the_law_holds(lesson):
    breaches, _ = survey(lesson)
    assert not breaches, "\n".join(breaches)
