"""A folder of submissions: who handed in what. Nothing is run, unpacked or followed here, only read.

DIR/kim/, DIR/kim.zip: what Kim handed in; a lesson's file may lie anywhere inside, the nearest to the top counts, and
copies under solutions/ or tests/ do not. DIR/kim_e01_gradcheck.py: one file of Kim's. A DIR that holds the lessons'
files themselves, or exercises/ with them, is one submission.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from minigen.course.manifest import Lesson
from minigen.errors import CourseError

LARGEST = 2**20  # bytes of one exercise
MOST = 20_000  # files looked at in one submission
ELSEWHERE = {"solutions", "tests", "__pycache__", "__MACOSX", "site-packages", "_course"}
COPY = r"(?:[ _-]?\(?(\d+)\)?)?"  # e01_gradcheck-1.py, e01_gradcheck (2).py: later uploads


@dataclass(frozen=True)
class Handed:
    """One lesson's file: its text, or why there is none."""

    place: str
    text: str = ""
    problem: str = ""


@dataclass
class Submission:
    """What one student handed in, by the name of the lesson; `problem` where all of it is unreadable."""

    student: str
    files: dict[str, Handed] = field(default_factory=dict)
    problem: str = ""


def find(folder: Path, lessons: Sequence[Lesson], one: bool = False) -> tuple[list[Submission], list[str]]:
    """(submissions by student, entries that are none); `one`: the folder is one submission, whatever it holds."""
    if not folder.is_dir():
        raise CourseError(
            f"{folder} is not a folder; expected one with a folder, .zip or .py for each student"
        )
    direct = [where / f"{lesson.name}.py" for where in (folder, folder / "exercises") for lesson in lessons]
    if one or any(path.is_file() for path in direct):
        return [_of_folder(folder, lessons, folder.resolve().name)], []
    found: dict[str, Submission] = {}
    ignored = []
    for path in sorted(folder.iterdir(), key=_upload):
        if path.name.startswith(".") or path.name in ELSEWHERE:
            continue
        if path.is_dir() and not path.is_symlink():
            _add(found, _of_folder(path, lessons, path.name))
        elif path.suffix.lower() == ".zip":
            _add(found, _of_archive(path, lessons))
        elif path.suffix == ".py" and (single := _of_file(path, lessons)):
            _add(found, single)
        else:
            ignored.append(path.name)
    if not found:
        raise CourseError(f"no submission in {folder}; expected a folder, .zip or .py for each student")
    return list(found.values()), ignored


def _upload(path: Path) -> tuple[int, str]:
    """The order in which entries count: later uploads of a file (-1, -2) after earlier ones."""
    match = re.fullmatch(rf".*e\d\d_[a-z_]+?{COPY}\.py", path.name)
    return int(match[1] or 0) if match else 0, path.name


def _add(found: dict[str, Submission], one: Submission) -> None:
    """Several files of one student are one submission; the later upload of a lesson counts."""
    known = found.setdefault(one.student, one)
    if known is not one:
        known.files |= one.files
        known.problem = known.problem or one.problem


def _of_file(path: Path, lessons: Sequence[Lesson]) -> Submission | None:
    for lesson in lessons:
        if match := re.fullmatch(rf"(.*?)[ _.-]*{lesson.name}{COPY}", path.stem):
            return Submission(match[1] or path.stem, {lesson.name: _read(path)})
    return Submission(path.stem, {lessons[0].name: _read(path)}) if len(lessons) == 1 else None


def _of_folder(folder: Path, lessons: Sequence[Lesson], student: str) -> Submission:
    return _chosen(student, lessons, list(_walk(folder)), lambda name: _read(folder / name))


def _of_archive(path: Path, lessons: Sequence[Lesson]) -> Submission:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()][:MOST]
            return _chosen(path.stem, lessons, names, lambda name: _unpacked(archive, name, path))
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        return Submission(path.stem, problem=f"{path.name} is not a zip archive that can be read ({error})")


def _walk(folder: Path) -> Iterator[str]:
    """Paths of files under a folder, as an archive would name them; links are not followed."""
    seen = 0
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in ELSEWHERE)
        for name in sorted(files):
            if (seen := seen + 1) > MOST:
                return
            yield (Path(where) / name).relative_to(folder).as_posix()


def _chosen(
    student: str, lessons: Sequence[Lesson], names: Sequence[str], read: Callable[[str], Handed]
) -> Submission:
    """Of all files with a lesson's name: the nearest to the top, of several there the latest upload."""
    one = Submission(student)
    for lesson in lessons:
        places: list[tuple[int, int, str]] = []
        for name in names:
            path = PurePosixPath(name)
            match = re.fullmatch(rf"{lesson.name}{COPY}\.py", path.name)
            if match and not ELSEWHERE & set(path.parts):
                places.append((len(path.parts), -int(match[1] or 0), name))
        if places:
            depth, copy, name = min(places)
            rivals = [read(other) for at, number, other in places if (at, number) == (depth, copy)]
            same = len({each.text for each in rivals}) == 1
            says = f"there are {len(rivals)} different files {lesson.name}.py: which one counts?"
            one.files[lesson.name] = read(name) if same else Handed(name, problem=says)
    return one


def _read(path: Path) -> Handed:
    try:
        if path.is_symlink() or not path.is_file():
            return Handed(str(path), problem=f"{path.name} is a link or no file; expected the file itself")
        if path.stat().st_size > LARGEST:
            return Handed(
                str(path),
                problem=f"{path.name} has {path.stat().st_size:,} bytes; expected {LARGEST:,} at most",
            )
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        return Handed(str(path), problem=f"{path.name} cannot be read ({error.strerror})")


def _unpacked(archive: zipfile.ZipFile, name: str, path: Path) -> Handed:
    place = f"{path}/{name}"
    try:
        with archive.open(name) as file:
            data = file.read(LARGEST + 1)  # never what the archive says of itself
    except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        return Handed(place, problem=f"{name} in {path.name} cannot be read ({error})")
    if len(data) > LARGEST:
        return Handed(place, problem=f"{name} in {path.name} is longer than {LARGEST:,} bytes")
    return _decoded(data, place)


def _decoded(data: bytes, place: str) -> Handed:
    try:
        return Handed(place, data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        return Handed(place, problem=f"{place} is not UTF-8 text (byte {error.start})")
