"""What grading found, one line of JSON for each submission and lesson, kept however the run ends.

A line is appended with one write and flushed to the disk; a line cut short by a kill is dropped when the file is
opened again. Two runs cannot write the same file.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

from minigen.errors import CourseError

Record = dict[str, Any]
FIELDS = ("student", "lesson", "status", "score", "max_score", "holes", "key")


class Results:
    """`results.jsonl`, open for one run. `records` is what it holds, the latest for each student and lesson."""

    def __init__(self, path: Path, resume: bool) -> None:
        self.path, self.lock = path, threading.Lock()
        self.records: dict[tuple[str, str], Record] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise CourseError(
                f"{path} cannot be written ({error.strerror}); choose a folder with --out"
            ) from None
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.handle)
            raise CourseError(
                f"{path} is being written by another run: wait for it, or choose another --out"
            ) from None
        if path.stat().st_size and not resume:
            self.close()
            raise CourseError(f"{path} holds results already: add --resume to go on, or choose another --out")
        self._load()

    def _load(self) -> None:
        """Reads what is there; what follows the last whole line goes."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self.handle, whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                record = json.loads(line)
                self.records[record["student"], record["lesson"]] = {
                    name: record[name] for name in FIELDS
                } | record
            except (ValueError, KeyError, TypeError):
                self.close()
                says = "expected a line of JSON with " + ", ".join(FIELDS)
                raise CourseError(f"{self.path}:{number} is no result: {says}; move the file away") from None

    def add(self, record: Record) -> None:
        """Appends one record; when this returns it is on the disk."""
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", errors="replace")
        with self.lock:
            left = line
            while left:
                left = left[os.write(self.handle, left) :]
            os.fsync(self.handle)
            self.records[record["student"], record["lesson"]] = record

    def close(self) -> None:
        """Gives the file back."""
        os.close(self.handle)
