"""The course as a learner's own folder: made once, and refreshed after an upgrade without touching their work.

What was written is noted in `.minigen/course.json` with its digest: a file that still has it is nobody's work yet.
Stubs carry their own digest too (stubs.py), so losing the note loses nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from minigen import __version__
from minigen.course.files import write_bytes, write_text
from minigen.course.manifest import Course, shipped
from minigen.course.stubs import is_untouched, make_stub, syllabus
from minigen.errors import CourseError

NOTE = Path(".minigen") / "course.json"
SOURCES = ("solutions", "tests/lessons")


@dataclass
class Delivery:
    """What became of each file, as paths under the folder."""

    folder: Path
    before: str = ""  # the version that was there, empty for a new folder
    new: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # kept, though minigen has another version now
    gone: list[str] = field(default_factory=list)  # no longer part of the course; left where they are


def deliver(folder: Path, sources: bool = False, origin: Path | None = None) -> Delivery:
    """Writes what is missing and refreshes what is untouched; `sources`: the solutions and checks as well."""
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is a file; expected a folder, or a name that is free")
    noted = _read(folder / NOTE)
    if (folder / "solutions").is_dir() and not noted:
        raise CourseError(
            f"{folder} has solutions/ of its own (a clone?): it is a course already, and stays as it is"
        )
    done = Delivery(folder, str(noted.get("version", "")))
    before = noted.get("files", {})
    before = before if isinstance(before, dict) else {}
    files = dict(_contents(origin or shipped(), sources or (folder / "solutions").is_dir()))
    for name, data in files.items():
        _put(done, name, data, before.get(name))
    done.gone = [name for name in before if name not in files and (folder / name).exists()]
    digests = {name: _digest(data) for name, data in files.items()}
    write_text(folder / NOTE, json.dumps({"version": __version__, "files": digests}, indent=1) + "\n")
    return done


def _put(done: Delivery, name: str, data: bytes, noted: str | None) -> None:
    """One file: written, refreshed, or left to the person who wrote in it."""
    path = done.folder / name
    try:
        old = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise CourseError(
            f"{path} cannot be read ({error.strerror}); expected a file of the course"
        ) from None
    if old is None:
        done.new.append(name)
    elif old == data:
        return
    elif _digest(old) == noted or is_untouched(old.decode(errors="replace")):
        done.refreshed.append(name)
    else:
        (done.kept if noted in (None, _digest(data)) else done.changed).append(name)
        return
    write_bytes(path, data)


def _contents(origin: Path, sources: bool) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file of a learner's folder. Stubs are made anew: those of a clone may be in use."""
    where = Course(origin)
    if not where.lessons:
        raise CourseError(
            f"no lessons in {where.home / 'solutions'}: this minigen was installed without its course"
        )
    made = {f"exercises/{one.name}.py": make_stub(one) for one in where.lessons}
    made["exercises/README.md"] = syllabus(where)
    yield from ((name, text.encode()) for name, text in made.items())
    for folder in ("exercises", *(SOURCES if sources else ())):
        for path in sorted((origin / folder).rglob("*")):
            name = path.relative_to(origin).as_posix()
            if path.is_file() and name not in made and not _passing(path.relative_to(origin)):
                yield name, path.read_bytes()


def _passing(path: Path) -> bool:
    """Caches, editors' files, and scripts that are no exercise."""
    return any(part.startswith((".", "__pycache__")) for part in path.parts) or path.suffix in (
        ".pyc",
        ".orig",
    )


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
