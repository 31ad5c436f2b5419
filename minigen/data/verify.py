"""Are the files of a set what they should be? One answer per file."""

from dataclasses import dataclass
from pathlib import Path

from minigen.data import sets
from minigen.data.idx import read_idx, read_labels
from minigen.data.registry import EMBEDDED, idx_set
from minigen.errors import DataError

FINE, MISSING, DAMAGED = "fine", "missing", "damaged"


@dataclass(frozen=True)
class FileCheck:
    """What became of one file of a set; `detail` is the whole message if it is damaged."""

    set: str
    file: str
    state: str
    path: Path | None = None
    detail: str = ""


def verify(name: str, folder=None) -> list[FileCheck]:
    """Hold every file of a set against its shape and checksum; damage is reported, not raised."""
    if name == EMBEDDED:
        return [_check(name, sets.EMBEDDED_FILE.name, sets.EMBEDDED_FILE, sets.load_embedded)]
    published = idx_set(name)
    paths = sets.locate(published, folder)
    checks = []
    for file in published.files:
        if file.name not in paths:
            checks.append(FileCheck(name, file.name, MISSING))
        elif len(file.shape) == 1:
            checks.append(_check(name, file.name, paths[file.name], read_labels, file))
        else:
            checks.append(_check(name, file.name, paths[file.name], read_idx, 3, file))
    return checks


def _check(name: str, file: str, path: Path, read, *args) -> FileCheck:
    try:
        read(path, *args)
    except DataError as error:
        return FileCheck(name, file, DAMAGED, path, str(error))
    return FileCheck(name, file, FINE, path)
