"""An autograder archive for chosen lessons, as Gradescope takes it: setup.sh, run_autograder, and all they need.

minigen itself, the solutions and the chosen lessons' checks are in it as sources, laid out as in a wheel; nothing is
fetched but Python and the packages of requirements.txt, in the versions that are installed here.
"""

from __future__ import annotations

import importlib.metadata
import io
import shlex
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from minigen import __version__
from minigen.course.files import write_bytes
from minigen.course.manifest import Lesson
from minigen.errors import CourseError

PACKAGES = ("numpy", "matplotlib", "rich", "pytest")
SCRIPTS = ("setup.sh", "run_autograder")

SETUP = """#!/usr/bin/env bash
# Run once, when the image is built: Python 3.11 or later in an environment of its own, and what the checks need.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

find_python() {
  for name in python3.14 python3.13 python3.12 python3.11 python3; do
    if command -v "$name" > /dev/null && "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
    then echo "$name"; return; fi
  done
}

python="$(find_python || true)"
if [ -z "$python" ]; then
  apt-get update
  apt-get install -y python3.12 python3.12-venv || apt-get install -y python3.11 python3.11-venv
  python="$(find_python)"
fi
"$python" -m venv "$here/.venv"
"$here/.venv/bin/python" -m pip install -q -r "$here/requirements.txt"
"""

RUN = """#!/usr/bin/env bash
# Run for each submission: ROOT/submission is judged, ROOT/results/results.json says how.
set -uo pipefail
root="${AUTOGRADER:-/autograder}"
here="$root/source"
. "$here/config.sh"
out="$(mktemp -d)"
mkdir -p "$root/results"

PYTHONPATH="$here" "${AUTOGRADER_PYTHON:-$here/.venv/bin/python}" -P -m minigen grade "$root/submission" --one \\
  --lessons "${LESSONS[@]}" "${OPTIONS[@]}" --format gradescope --out "$out"

if ! cp "$out/gradescope/submission.json" "$root/results/results.json"; then
  echo '{"score": 0, "output": "The autograder itself failed. This is not your doing: tell your instructor."}' \\
    > "$root/results/results.json"
fi
rm -rf "$out"
"""

CONFIG = """# What run_autograder grades, and within which limits; `minigen grade --help` says what the options mean.
LESSONS=({lessons})
OPTIONS=({options})
"""


def pack(lessons: Sequence[Lesson], target: Path, options: Sequence[str] = (), force: bool = False) -> int:
    """Writes the archive; returns how many points there are to earn (one for each hole)."""
    if target.exists() and not force:
        raise CourseError(
            f"{target} is there already; add --force to replace it, or choose another name with --out"
        )
    files = dict(_contents(lessons, options))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # dated 1980: the same lessons give the same archive
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name in SCRIPTS else 0o100644) << 16
            archive.writestr(entry, data)
    write_bytes(target, buffer.getvalue())
    return sum(len(lesson.holes) for lesson in lessons)


def _contents(lessons: Sequence[Lesson], options: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    yield "setup.sh", SETUP.encode()
    yield "run_autograder", RUN.encode()
    names = " ".join(lesson.name for lesson in lessons)
    yield "config.sh", CONFIG.format(lessons=names, options=shlex.join(options)).encode()
    yield (
        "requirements.txt",
        "".join(f"{one}=={importlib.metadata.version(one)}\n" for one in PACKAGES).encode(),
    )
    yield "VERSION", f"minigen {__version__}\n".encode()
    package = Path(__file__).parents[1]
    for path in _files(package):
        if "_course" not in path.relative_to(package).parts:
            yield f"minigen/{path.relative_to(package).as_posix()}", path.read_bytes()
    for path in _course_files(lessons):
        yield f"minigen/_course/{path.relative_to(lessons[0].home).as_posix()}", path.read_bytes()


def _course_files(lessons: Sequence[Lesson]) -> Iterator[Path]:
    """All solutions, since lessons build on one another; of the checks those that are asked for."""
    home = lessons[0].home
    yield from _files(home / "solutions")
    wanted = {lesson.checks for lesson in lessons}
    for path in _files(home / "tests" / "lessons"):
        if path in wanted or not path.name.startswith(("test_", "mistakes_")):
            yield path
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        raise CourseError(f"{missing[0]} is missing: without its checks a lesson cannot be graded")


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if (
            path.is_file()
            and path.suffix != ".pyc"
            and not any(one.startswith((".", "__pycache__")) for one in parts)
        ):
            yield path
