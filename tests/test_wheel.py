"""What a wheel holds: the course is in it, and is enough to learn from without the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

setuptools = pytest.importorskip("setuptools", reason="needs setuptools to build")
ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(600)  # a whole lesson is checked, on machines that may be busy


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The files of a wheel, as the build command of setup.py lays them out."""
    scope = {"__file__": str(ROOT / "setup.py"), "__name__": "setup"}
    source = (ROOT / "setup.py").read_text()
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        kept, setuptools.setup = setuptools.setup, lambda **words: scope.update(words)
        exec(compile(source, str(ROOT / "setup.py"), "exec"), scope)
        found = setuptools.find_packages(str(ROOT), include=["minigen*"])
        words = {
            "name": "minigen",
            "packages": found,
            "package_data": {"minigen": ["data/*.npz", "lang/*.toml"]},
        }
        command = scope["cmdclass"]["build_py"](setuptools.Distribution(words | {"script_name": "setup.py"}))
        command.build_lib = str(tmp_path_factory.mktemp("built"))
        command.ensure_finalized()
        command.run()
    finally:
        setuptools.setup = kept
        os.chdir(here)
    return Path(command.build_lib)


def run(built, folder, *words):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(built),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-P", "-m", "minigen", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_every_file_of_the_course_is_in_it(built):
    tracked = [one for top in ("exercises", "solutions", "tests/lessons") for one in (ROOT / top).rglob("*")]
    names = [one for one in tracked if one.is_file() and one.suffix in (".py", ".md", ".png", ".toml")]
    missing = [str(one) for one in names if not (built / "minigen/_course" / one.relative_to(ROOT)).is_file()]
    assert not missing
    assert len(names) > 60


def test_it_is_modest(built):
    size = sum(one.stat().st_size for one in built.rglob("*") if one.is_file())
    assert size < 8 * 2**20, f"{size:,} bytes unpacked: a wheel of less than 6 MB was promised"


def test_the_first_lesson_is_passed_without_the_repository(built, tmp_path):
    made = run(built, tmp_path, "init", "course")
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "course"
    assert run(built, folder, "check", "e01").returncode == 3
    solution = (built / "minigen/_course/solutions/e01_gradcheck.py").read_text()
    (folder / "exercises/e01_gradcheck.py").write_text(solution)
    done = run(built, folder, "check", "e01")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all done" in done.stdout
    assert str(ROOT) not in done.stdout
    again = run(built, folder, "init", ".")
    assert "kept, with your edits: exercises/e01_gradcheck.py" in again.stdout


def test_models_are_found_outside_a_course(built, tmp_path):
    found = run(built, tmp_path, "train", "nothing")
    assert "expected one of autoencoder" in found.stderr
