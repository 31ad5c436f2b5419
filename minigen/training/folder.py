"""A run's folder: config.json, metrics.jsonl, checkpoint.npz and pictures. No run ever overwrites another's."""

import json
import math
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from minigen.errors import CheckpointError

CONFIG, METRICS, CHECKPOINT = "config.json", "metrics.jsonl", "checkpoint.npz"


def fresh(path: str | os.PathLike) -> Path:
    """`path` if nothing is there yet, else the first free one of path-2, path-3, ...; the folder is made"""
    path = Path(path)
    number = 1
    while True:
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        number += 1
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if folder.is_dir() and not any(folder.iterdir()):
                return folder
        except OSError as error:
            raise CheckpointError(
                f"{folder}: cannot make a folder for the run ({error.strerror}); choose another by --out"
            ) from None


def latest(path: str | os.PathLike) -> Path:
    """The youngest run among path, path-2, path-3, ...; CheckpointError if there is none"""
    path = Path(path)
    runs = [path, *path.parent.glob(f"{path.name}-*")] if path.parent.is_dir() else [path]
    found = {_number(run, path): run for run in runs if (run / CONFIG).is_file()}
    found.pop(0, None)
    if not found:
        raise CheckpointError(f"{path}: no run to resume there (no {CONFIG}); train without --resume first")
    return found[max(found)]


def _number(run: Path, path: Path) -> int:
    if run == path:
        return 1
    match = re.fullmatch(re.escape(path.name) + r"-([1-9]\d*)", run.name)
    return int(match[1]) if match else 0


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json; CheckpointError if it is missing or no run's"""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: no run (it has no {CONFIG}); expected a folder made by `minigen train`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); expected the JSON that `minigen train` wrote"
        ) from None
    if not isinstance(config, dict) or "model" not in config:
        raise CheckpointError(f"{path}: names no model; expected the JSON that `minigen train` wrote")
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """config.json, with the versions and the command that it takes to repeat the run; a resume adds its own to them"""
    from minigen import __version__

    session: dict[str, Any] = {
        "versions": {"minigen": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
    if (folder / CONFIG).is_file():
        before = read_config(folder)
        first = {key: before.get(key) for key in session}
        earlier = before.get("resumed")
        session = {**first, "resumed": [*(earlier if isinstance(earlier, list) else []), session]}
    write_text(folder / CONFIG, json.dumps({**config, **session}, indent=1) + "\n")


def write_metrics(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """metrics.jsonl, exactly these rows: what an interrupted run wrote beyond its checkpoint goes"""
    write_text(folder / METRICS, "".join(map(_line, history)))


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """One more line"""
    with open(folder / METRICS, "a", encoding="utf-8") as file:
        file.write(_line(row))


def row_of(**values: Any) -> dict[str, Any]:
    """A row of metrics: plain JSON values, null for what is not finite"""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()
