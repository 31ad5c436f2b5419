"""The file that holds a run's results: whole after every case, so that an interrupted run keeps what it measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

WHEN = "date"  # of what is known of the machine, the only thing that may differ when a run is resumed


class ResumeError(Exception):
    """The file cannot be gone on with; the message says why and what to do."""


class Results:
    """What a run knows: its settings, and a record of every case that is done"""

    def __init__(self, path: Path, settings: dict, *, resume: bool = False):
        """settings: all that the figures depend on. resume: go on with the records of the file, if there is one"""
        self.path = path
        self.settings = json.loads(json.dumps(settings))  # as the file gives them back
        self.versions: dict[str, str] = {}
        self.records: list[dict] = []
        if resume and path.exists():
            self.take_up(json.loads(path.read_text()))

    def take_up(self, saved: dict) -> None:
        """Keep the records of an earlier run that came without errors; ResumeError if its settings were others"""
        for name, mine in self.settings.items():
            theirs = saved.get(name)
            if name == "machine":
                mine, theirs = ({k: v for k, v in (m or {}).items() if k != WHEN} for m in (mine, theirs))
            if theirs != mine:
                raise ResumeError(
                    f"{self.path}: its {name} is {theirs}, of this run {mine}; repeat the command that wrote it, or "
                    "leave out --resume to begin anew"
                )
        self.versions = saved["versions"]
        self.records = [record for record in saved["records"] if not record["errors"]]

    def has(self, case: str, threads: int) -> bool:
        """Whether this case is done"""
        return any(r["case"] == case and r["threads"] == threads for r in self.records)

    def add(self, record: dict) -> None:
        """One more case is done; it is on disk when this returns"""
        for row in record["peers"].values():
            for name, version in row.pop("versions").items():
                seen = self.versions.setdefault(name, version)
                if version not in seen.split(" and "):  # the run was resumed with another one: say so
                    self.versions[name] = f"{seen} and {version}"
        self.records.append(record)
        self.write()

    def write(self) -> None:
        """The whole file anew, beside the old one, then in its place: no reader ever sees half of it"""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(self.as_dict(), indent=1) + "\n")
        beside.replace(self.path)

    def as_dict(self) -> dict:
        """What the file holds"""
        threads = list(dict.fromkeys(record["threads"] for record in self.records))
        return self.settings | {"threads": threads, "versions": self.versions, "records": self.records}
