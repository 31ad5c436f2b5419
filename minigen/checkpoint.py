"""Checkpoints: arrays and a little metadata in one npz file, written whole or not at all, believed only when proved.

The file is an ordinary zip of stored (not packed) `.npy` members and one `meta.json`; `numpy.load` opens it too. Its
zip comment, the last bytes of the file, is the SHA-256 of everything before it. So names, dtypes, shapes, elements,
metadata and the container itself hang on one number: no truncation and no flipped bit anywhere goes unnoticed.
Nothing in it is ever executed, and no header can ask for more memory than the file has bytes.
"""

import hashlib
import json
import math
import os
import secrets
import stat
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minigen.errors import CheckpointError

META = "meta.json"
FORMAT = "minigen checkpoint 1"
DIGEST = 64  # characters of a SHA-256
STALE = 3600.0  # seconds after which a temporary file can belong to no living save
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes, whenever it is saved


def save(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write `arrays` (numbers only) and `meta` (fit for JSON) to `path`: all of it, or the old file stays.

    Temporary name in the same folder, flush, fsync, rename: a kill at any moment leaves the old file or the new one.
    Raises CheckpointError, and keeps the old file, when something cannot be saved or the disk is full.
    """
    path = Path(path)
    members = _to_write(path, arrays, meta)
    # One name for each save, so that two processes on one folder can never write into the same file.
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with open(part, "w+b") as file:
            _write(file, members)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}), the file before it is untouched; "
            "free some space or choose another folder"
        ) from None
    finally:
        with suppress(OSError):  # there only if something went wrong, Ctrl-C included
            part.unlink()


def load(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """path -> (arrays, meta) as they were saved; CheckpointError, one line that names the file, if it is not whole"""
    path = Path(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # asked before opening: a named pipe would wait for ever
            raise CheckpointError("is no regular file, expected a checkpoint")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check_digest(file, size)
            with zipfile.ZipFile(file) as archive:
                return _read(archive, size)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file, expected a checkpoint of an earlier run; check the path"
        ) from None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except Exception as error:  # zipfile and json answer damage with a dozen kinds of error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: damaged ({reason}), expected a checkpoint as minigen saves it"
        ) from None


# Writing


def _to_write(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> dict[str, Any]:
    """member name -> array or JSON bytes, everything checked before the first byte is written"""
    try:
        text = json.dumps({"format": FORMAT, "meta": dict(meta)}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: its metadata does not fit JSON ({error}); expected finite numbers, strings, lists, dicts"
        ) from None
    members: dict[str, Any] = {META: text.encode()}
    for name, value in arrays.items():
        array = np.asarray(value, order="C")
        if array.dtype.kind not in "fiub":
            raise CheckpointError(
                f"{path}: array {name!r} has dtype {array.dtype}, expected numbers; nothing else is ever saved"
            )
        if not isinstance(name, str) or not name or "\0" in name:
            raise CheckpointError(f"{path}: {name!r} is no name for an array, expected a string")
        members[f"{name}.npy"] = array
    return members


def _write(file: BinaryIO, members: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            with archive.open(zipfile.ZipInfo(name, EPOCH), "w", force_zip64=True) as member:
                if isinstance(content, bytes):
                    member.write(content)
                else:
                    np.lib.format.write_array(member, content, allow_pickle=False)
        archive.comment = b"0" * DIGEST
    size = file.seek(0, os.SEEK_END)
    digest = _digest(file, size)
    file.seek(size - DIGEST)
    file.write(digest)


def _sweep(path: Path) -> None:
    """Remove the temporaries of this file whose processes are gone: killed in the middle of a save."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError, ValueError):
            pid = int(part.name.removeprefix(f".{path.name}.").split(".")[0])
            if pid == os.getpid() or not _is_alive(pid) or time.time() - part.stat().st_mtime > STALE:
                part.unlink()


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, asking with signal 0 would end the process: let the hour pass instead
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system lets one open a folder."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Reading


def _digest(file: BinaryIO, size: int) -> bytes:
    """The SHA-256 of all but the last DIGEST bytes, as those bytes hold it."""
    sha256 = hashlib.sha256()
    left = size - DIGEST
    file.seek(0)
    while left > 0 and (chunk := file.read(min(left, 1 << 20))):
        sha256.update(chunk)
        left -= len(chunk)
    return sha256.hexdigest().encode()


def _check_digest(file: BinaryIO, size: int) -> None:
    if file.read(2) != b"PK":
        raise CheckpointError("is no checkpoint (it does not start like a zip file); check the path")
    found = _digest(file, size)
    file.seek(max(0, size - DIGEST))
    if file.read() != found:
        raise CheckpointError(
            f"its checksum does not fit its {size:,} bytes: truncated, damaged, or not written by minigen; "
            "use another checkpoint"
        )


def _read(archive: zipfile.ZipFile, size: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The members, each held against the size of the file before anything is allocated for it."""
    members = {info.filename: info for info in archive.infolist()}
    if len(members) < len(archive.infolist()):
        raise CheckpointError("holds two arrays of one name, expected each once")
    packed = [name for name, info in members.items() if info.compress_type or info.flag_bits & 1]
    if packed:
        raise CheckpointError(f"{packed[0]!r} is packed or encrypted, expected stored members")
    claimed = sum(info.file_size for info in members.values())
    if claimed > size:
        raise CheckpointError(f"claims to hold {claimed:,} bytes in a file of {size:,}")
    if META not in members:
        raise CheckpointError(f"has no {META}, expected a checkpoint as minigen saves it")
    head = json.loads(archive.read(members.pop(META)))
    if not isinstance(head, dict) or head.get("format") != FORMAT or not isinstance(head.get("meta"), dict):
        found = head.get("format") if isinstance(head, dict) else type(head).__name__
        raise CheckpointError(f"is of format {found!r}, expected {FORMAT!r}; use the minigen that wrote it")
    arrays = {name.removesuffix(".npy"): _read_array(archive, info) for name, info in members.items()}
    return arrays, head["meta"]


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One `.npy` member -> its array. Only plain numbers in C order, only as many as the member has room for."""
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise CheckpointError(f"{info.filename!r} is no .npy of version 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if fortran or dtype.kind not in "fiub" or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise CheckpointError(
                f"{info.filename!r} holds {dtype} {shape}, expected plain numbers in C order"
            )
        room, asked = info.file_size - member.tell(), math.prod(shape) * dtype.itemsize
        if asked != room:
            raise CheckpointError(f"{info.filename!r} claims {asked:,} bytes of elements, it has {room:,}")
        elements = bytearray(member.read(room))  # no more than the file has: see `claimed`
        if len(elements) != asked or member.read(1):
            raise CheckpointError(f"{info.filename!r} ends after {len(elements):,} of {asked:,} bytes")
    return np.frombuffer(elements, dtype).reshape(shape)
