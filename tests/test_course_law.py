"""The course's law for every lesson there is: minigen.course.law says what it asks."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from minigen.course.manifest import course

LESSONS = course().lessons


@pytest.fixture(scope="module")
def surveys():
    """The lessons' surveys, each in a process of its own, as many at a time as there are cores."""

    def survey(name):
        command = [sys.executable, "-m", "minigen.course.law", name]
        return subprocess.run(command, cwd=course().root, capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {lesson.name: pool.submit(survey, lesson.short) for lesson in LESSONS}


@pytest.mark.timeout(900)  # the first waits for its neighbours too
@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_the_law_holds(lesson, surveys):
    done = surveys[lesson.name].result()
    breaches = [line for line in done.stdout.splitlines() if line.startswith("!!")]
    assert done.returncode == 0, "\n".join([*breaches, done.stderr])
    assert f"ok {lesson.short} " in done.stdout, "no mistake was tried"
