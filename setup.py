"""Build script: everything static stands in pyproject.toml. Here the course goes into the wheel.

exercises/, solutions/ and the lessons' checks lie beside the package, where people read them; a wheel has them inside
it, as minigen/_course/, so that `minigen init DIR` needs no clone.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
COURSE = ("exercises", "solutions", "tests/lessons")
KINDS = {".py", ".md", ".png", ".toml", ".json"}


def course_files():
    """Every file of the course, relative to this one."""
    for folder in COURSE:
        for path in sorted((HERE / folder).rglob("*")):
            if path.suffix in KINDS and path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(HERE)


class BuildWithCourse(build_py):
    """build_py, and the course beside the modules; an editable install finds it in the clone."""

    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):
            for source, target in self.course():
                self.mkpath(str(Path(target).parent))
                self.copy_file(str(HERE / source), target)

    def course(self):
        return [(str(one), str(Path(self.build_lib, "minigen", "_course", one))) for one in course_files()]

    def get_outputs(self, include_bytecode=True):
        return [*super().get_outputs(include_bytecode), *(target for _, target in self.course())]


setup(cmdclass={"build_py": BuildWithCourse})
