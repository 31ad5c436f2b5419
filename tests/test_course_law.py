"""The course's law for every lesson there is: minigen.course.law says what it asks."""

import subprocess
import sys

import pytest

from minigen.course.manifest import course

LESSONS = course().lessons


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
def test_the_law_holds(lesson, pytestconfig):
    seed = str(pytestconfig.minigen_seed)
    command = [sys.executable, "-m", "minigen.course.law", lesson.name, "--seed", seed]
    done = subprocess.run(command, cwd=course().root, capture_output=True, text=True)
    breaches = [line for line in done.stdout.splitlines() if line.startswith("!!")]
    assert done.returncode == 0, "\n".join([*breaches, done.stderr])
    assert f"ok {lesson.short} " in done.stdout, "no mistake was tried"
