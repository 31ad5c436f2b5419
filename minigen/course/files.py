"""Writing files that must never be half written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from minigen.errors import CourseError


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one; UTF-8, lines as they are."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes the whole file or leaves the old one: a temporary name beside it, flushed, then renamed."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise CourseError(f"{path} cannot be written ({error.strerror}); the old file is as it was") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
