"""Fetch a published set: into memory, checked there, and only then written, whole or not at all."""

import errno
import http.client
import io
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from minigen import __version__
from minigen.data.idx import HEAD, read_idx, unpack
from minigen.data.registry import IdxFile, IdxSet, idx_set
from minigen.data.sets import cache_folder
from minigen.errors import DataError

TIMEOUT = 20.0  # seconds without a byte
PATIENCE = 30.0  # seconds after which SLOWEST counts
SLOWEST = 1024  # bytes per second
STALE = 3600.0  # seconds after which a temporary file can belong to no living download

Progress = Callable[[str, int, int | None], None]  # (file, bytes so far, bytes in all if known)


def fetch(
    name: str, dest=None, *, mirrors: Sequence[str] = (), progress: Progress = lambda *_: None
) -> list[tuple[Path, bool]]:
    """Make the four files of a set stand in `dest`/NAME (else the cache): [(path, was it downloaded now)]

    A file that is already there and right is left alone. `mirrors` replace the built-in ones. Raises
    DataError saying why each mirror failed; nothing but whole, checked files is ever left in the folder.
    """
    published = idx_set(name)
    folder = (Path(dest).expanduser() if dest is not None else cache_folder()) / name
    _check_writable(folder)
    return [_fetch_file(published, file, folder, mirrors, progress) for file in published.files]


def _fetch_file(
    published: IdxSet, file: IdxFile, folder: Path, mirrors: Sequence[str], progress: Progress
) -> tuple[Path, bool]:
    path = folder / file.name
    if path.is_file():
        try:
            read_idx(path, len(file.shape), file)
            return path, False
        except DataError:
            pass  # damaged: fetch it anew; it is replaced only by a right one
    # a mirror of one's own may well hold the files unpacked, as this function leaves them
    endings = (".gz", "") if mirrors else (".gz",)
    failures = []
    for mirror in mirrors or published.mirrors:
        for ending in endings:
            url = f"{mirror.rstrip('/')}/{file.name}{ending}"
            try:
                blob = _download(url, file, progress)
                header, elements = unpack(io.BytesIO(blob), len(blob), len(file.shape), file)
            except DataError as failure:
                failures.append(f"{url} {failure}")
                continue
            write_whole(path, header, elements)
            return path, True
    raise DataError(
        f"{published.name}: no mirror gave {file.name}: {'; '.join(failures)}. Check the connection, "
        "name another mirror by --mirror URL, or point MINIGEN_DATA to a folder that holds the files"
    )


def _download(url: str, file: IdxFile, progress: Progress) -> bytes:
    """url -> its bytes, at most a little more than the unpacked file has; DataError says what went wrong"""
    limit = file.size + file.size // 1000 + HEAD
    # a server that packs on the fly would give us one layer of gzip more than the file has
    headers = {"User-Agent": f"minigen/{__version__}", "Accept-Encoding": "identity"}
    blob = bytearray()
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        ) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            if total is not None and total > limit:
                raise DataError(f"offers {total:,} bytes, expected at most {file.size:,}")
            while chunk := response.read1(1 << 16):
                blob += chunk
                progress(file.name, len(blob), total)
                if len(blob) > limit:
                    raise DataError(f"sent more than {limit:,} bytes, expected at most {file.size:,}")
                seconds = time.monotonic() - begun
                if seconds > PATIENCE and len(blob) < SLOWEST * seconds:
                    raise DataError(f"sent only {len(blob):,} bytes in {seconds:.0f} s")
    except DataError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"answered HTTP {error.code} ({error.reason})") from None
    except urllib.error.URLError as error:
        raise DataError(f"cannot be reached ({error.reason})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(f"broke off ({error or type(error).__name__})") from None
    if total is not None and len(blob) < total:  # read1 does not complain of an early end
        raise DataError(f"broke off after {len(blob):,} of {total:,} bytes")
    return bytes(blob)


def write_whole(path: Path, *parts: bytes) -> None:
    """Write under a temporary name in the same folder, flush to the disk, rename: all of it or nothing."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # only now: a failed download leaves not even a folder
        with tempfile.NamedTemporaryFile(
            "wb", dir=path.parent, prefix=".", suffix=".part", delete=False
        ) as file:
            temporary = Path(file.name)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # made private; a shared folder of data wants readers
        os.replace(temporary, path)
        temporary = None
        _flush_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error, sum(map(len, parts))) from None
    finally:
        if temporary is not None:  # also when Ctrl-C comes in between
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system lets one open a folder."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_writable(folder: Path) -> None:
    """Refuse a hopeless folder before the download, and clear it of what a kill in mid-write left there."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise _cannot_write(folder, OSError(errno.EACCES, f"{nearest} is no folder that can be written to"))
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:  # a younger one may be another download at work
                part.unlink()


def _cannot_write(path: Path, error: OSError, size: int = 0) -> DataError:
    if error.errno in (
        errno.ENOSPC,
        errno.EFBIG,
        getattr(errno, "EDQUOT", None),
    ):  # Windows has no quota error
        return DataError(
            f"{path}: the disk is full ({size:,} bytes needed), nothing kept; free some or use --dest"
        )
    return DataError(
        f"{path}: cannot be written ({error.strerror or error}); choose another folder by --dest DIR"
    )
