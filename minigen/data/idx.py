"""IDX files, gzipped or not, read so that no header can ask for more memory than the file can fill.

An IDX file is four bytes of magic (0, 0, type code, number of dimensions), one big-endian 32-bit length per
dimension, then the elements in C order. The header is believed only after it has been held against the size
of the file, and a gzip stream is unpacked to what the header promises and one byte more, never further; nor is it
unpacked at all where a little file promises more than images can be packed into it.
"""

import hashlib
import os
import stat
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from minigen.data.registry import IdxFile, owner_of
from minigen.errors import DataError

TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
GZIP = b"\x1f\x8b"
HEAD = 1 << 16  # compressed bytes that surely show the IDX header
MAX_RATIO = 1032  # deflate expands no byte further than this
LIKELY_RATIO, HARMLESS = 100, 64 << 20  # photographs and digits shrink by 2 to 20; so many bytes hurt nobody


def read_images(path, expect: IdxFile | None = None) -> np.ndarray:
    """file of N images -> (N, H, W) uint8, read-only"""
    return read_idx(path, 3, expect)


def read_labels(path, expect: IdxFile | None = None) -> np.ndarray:
    """file of N labels -> (N,) uint8 in 0..9, read-only"""
    labels = read_idx(path, 1, expect)
    if labels.max(initial=0) > 9:
        i = int(np.argmax(labels > 9))
        raise DataError(
            f"{path}: label {labels[i]} at index {i}, expected 0..9; is this the labels file? Get it again"
        )
    return labels


def read_idx(path, ndim: int, expect: IdxFile | None = None) -> np.ndarray:
    """file -> array of `ndim` dimensions, uint8, read-only

    With `expect`, it must be that published file, byte for byte. Raises DataError: one line, naming the file.
    """
    path = Path(path)
    try:
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):  # asked before opening: a named pipe would wait for ever
            raise DataError(f"is {'a folder' if path.is_dir() else 'no regular file'}, expected an IDX file")
        with open(path, "rb") as file:
            header, elements = unpack(file, info.st_size, ndim, expect)
    except DataError as wrong:
        raise DataError(f"{path}: {wrong}; get it again (`minigen data get NAME`)") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), expected an IDX file; check the path"
        ) from None
    # frombuffer copies nothing: the array is a view of the bytes just read, and as read-only as they are
    return np.frombuffer(elements, np.uint8).reshape(_shape(header))


def unpack(file: BinaryIO, size: int, ndim: int, expect: IdxFile | None = None) -> tuple[bytes, bytes]:
    """(open file of `size` bytes) -> (header, elements), unpacked and checked

    Raises DataError that says what is wrong; the caller knows, and adds, the name of the file or address.
    """
    start = file.read(HEAD)
    read = _gzipped if start.startswith(GZIP) else _plain
    header, elements = read(file, start, size, ndim, expect)
    if expect is not None:
        check_digest(header, elements, sha256=expect.sha256)
    return header, elements


def check_digest(*parts: bytes, sha256: str) -> None:
    """Refuse bytes whose SHA-256 is another; if they are a known file under a wrong name, say which."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    found = digest.hexdigest()
    if found != sha256:
        owner = owner_of(found)
        known = f" (these are the bytes of {owner})" if owner else ""
        raise DataError(f"has the SHA-256 {found[:12]}...{known}, expected {sha256[:12]}...")


def _plain(file: BinaryIO, start: bytes, size: int, ndim: int, expect: IdxFile | None) -> tuple[bytes, bytes]:
    header = start[: 4 + 4 * ndim]
    promise = _promise(header, ndim, expect)
    _check_size(header, promise, size - len(header))
    file.seek(len(header))
    elements = file.read(promise)
    _check_size(header, promise, len(elements))  # again: it may have shrunk since it was measured
    return header, elements


def _gzipped(
    file: BinaryIO, start: bytes, size: int, ndim: int, expect: IdxFile | None
) -> tuple[bytes, bytes]:
    stream = zlib.decompressobj(wbits=31)
    try:
        header = stream.decompress(start, 4 + 4 * ndim)
        promise = _promise(header, ndim, expect)
        if promise > size * MAX_RATIO:
            raise DataError(f"{_says(header)}, which {size:,} gzipped bytes cannot hold")
        if expect is None and promise > max(HARMLESS, size * LIKELY_RATIO):
            raise DataError(
                f"{_says(header)} in {size:,} gzipped bytes, more than images shrink; if it is no bomb, unpack it first"
            )
        if size > 1.001 * promise + HEAD:  # incompressible data grows by less than that
            raise DataError(f"{_says(header)}, but is {size:,} bytes long before unpacking")
        elements = stream.decompress(stream.unconsumed_tail + file.read(), promise + 1)
    except zlib.error as error:
        raise DataError(f"its gzip stream is damaged ({error}), expected a whole IDX file") from None
    _check_size(header, promise, len(elements))
    if not stream.eof:
        raise DataError("its gzip stream is cut short: the closing checksum is missing")
    if stream.unused_data:
        raise DataError(f"{len(stream.unused_data):,} or more bytes follow its gzip stream, expected none")
    return header, elements


def _promise(header: bytes, ndim: int, expect: IdxFile | None) -> int:
    """The number of elements that a header promises, once it is known to be the header wanted."""
    _check_magic(header, ndim)
    if 0 in _shape(header)[1:]:
        raise DataError(f"its header promises {_times(_shape(header))}, expected images of at least a pixel")
    if expect is not None and _shape(header) != expect.shape:
        raise DataError(f"{_says(header)}, expected {_times(expect.shape)}")
    return prod(_shape(header))


def _shape(header: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4))


def _check_magic(header: bytes, ndim: int) -> None:
    expected = f"expected an IDX file of bytes (00 00 08 {ndim:02x})"
    if not header:
        raise DataError(f"holds no data, {expected}")
    if header.lstrip().startswith(b"<"):
        raise DataError(f"holds a web page ({header[:9].decode('ascii', 'replace')!r}...), {expected}")
    if header[:2] != b"\0\0"[: len(header)]:
        raise DataError(f"starts with the bytes {header[:4].hex(' ')}, {expected}")
    if len(header) < 4 + 4 * ndim:
        raise DataError(f"is cut short in its header ({len(header)} bytes), {expected}")
    if header[2] != 0x08:
        raise DataError(f"holds {TYPES.get(header[2], f'type code 0x{header[2]:02x}')}, {expected}")
    if header[3] != ndim:
        raise DataError(f"has {header[3]} dimension(s), {expected}; are images and labels exchanged?")


def _check_size(header: bytes, promise: int, found: int) -> None:
    if found < promise:
        raise DataError(f"is cut short: {_says(header)}, found {found:,} of {promise:,} bytes")
    if found > promise:
        raise DataError(f"is too long: {_says(header)}, but more than {promise:,} bytes follow")


def _says(header: bytes) -> str:
    return f"its header promises {_times(_shape(header))} = {prod(_shape(header)):,} bytes"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
