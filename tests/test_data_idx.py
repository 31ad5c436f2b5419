"""The IDX reader: right files come out exactly, everything else is one line, and no header gets memory."""

import gzip
import os
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from data_helpers import idx_bytes, one_line

from minigen.data import read_split
from minigen.data.idx import read_idx, read_images, read_labels
from minigen.errors import DataError


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)


def refused(path, blob: bytes, ndim: int = 3) -> str:
    path.write_bytes(blob)
    with pytest.raises(DataError) as error:
        read_idx(path, ndim)
    text = one_line(error)
    assert str(path) in text, f"the message must name the file: {text}"
    assert "minigen data get" in text, f"the message must say what to do: {text}"
    return text


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_files_come_out_as_they_were_written(tmp_path, images, pack, name):
    path = tmp_path / name  # the content decides whether it is gzipped, not the name
    path.write_bytes(pack(idx_bytes(images)))
    found = read_images(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, images)
    assert not found.flags.writeable, "what is loaded must not be changed by accident"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_empty_and_highly_compressible_files(tmp_path, pack):
    for shape in ((0, 28, 28), (300, 28, 28)):
        path = tmp_path / "x"
        path.write_bytes(pack(idx_bytes(np.zeros(shape, np.uint8))))
        assert read_images(path).shape == shape


def test_every_truncation_is_refused(tmp_path, images):
    plain = idx_bytes(images)
    for blob in (plain, gzip.compress(plain)):
        for n in range(len(blob)):
            refused(tmp_path / "x", blob[:n])


def test_flipped_bytes_are_refused_or_harmless(tmp_path, images, rng):
    packed = gzip.compress(idx_bytes(images))
    path = tmp_path / "x"
    for i in range(len(packed)):
        damaged = bytearray(packed)
        damaged[i] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(DataError):  # a byte of gzip's own header may be harmless, and then all is well
            assert np.array_equal(read_images(path), images), f"byte {i} changed the pixels in silence"
    plain = idx_bytes(images)
    for i in range(16):  # every byte of the header matters
        for bit in range(8):
            damaged = bytearray(plain)
            damaged[i] ^= 1 << bit
            refused(path, bytes(damaged))


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"", "holds no data"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n <html>moved</html>", "web page"),
        (gzip.compress(b"<html>moved, and packed</html>"), "web page"),
        (b"PK\x03\x04" + bytes(40), "50 4b 03 04"),
        (idx_bytes(np.zeros((2, 2, 2), np.uint8), code=0x0D), "float32"),
        (idx_bytes(np.zeros((2, 2, 2), np.uint8), code=0x77), "0x77"),
        (idx_bytes(np.zeros(20, np.uint8)), "1 dimension"),
        (idx_bytes(np.zeros((2, 2, 2), np.uint8)) + b"x", "too long"),
        (gzip.compress(idx_bytes(np.zeros((2, 2, 2), np.uint8)) + b"x"), "too long"),
        (gzip.compress(idx_bytes(np.zeros((2, 2, 2), np.uint8))) + b"x", "follow its gzip stream"),
        (gzip.compress(idx_bytes(np.zeros((2, 2, 2), np.uint8)))[:-1], "cut short"),
        (idx_bytes(np.zeros((2, 2, 2), np.uint8))[:-3], "found 5 of 8 bytes"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{len(one)} bytes",
)
def test_what_is_wrong_is_named(tmp_path, blob, says):
    assert says in refused(tmp_path / "x", blob)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_lying_header_gets_no_memory(tmp_path, pack):
    terabytes = idx_bytes(np.zeros((0,), np.uint8))[:3] + b"\3" + b"\0\0\xff\xff" * 3
    tracemalloc.start()
    text = refused(tmp_path / "x", pack(terabytes + bytes(1000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "65535 x 65535 x 65535" in text
    assert ("cannot hold" if pack is gzip.compress else "cut short") in text
    assert peak < 2e6, f"reading a lying header took {peak:,} bytes"


def test_a_bomb_is_unpacked_no_further_than_its_header(tmp_path):
    pack = zlib.compressobj(9, wbits=31)
    blob = pack.compress(idx_bytes(np.zeros((1, 28, 28), np.uint8)))
    blob += b"".join(pack.compress(bytes(1 << 20)) for _ in range(40)) + pack.flush()
    (tmp_path / "x").write_bytes(blob)
    tracemalloc.start()
    with pytest.raises(DataError, match="too long"):
        read_images(tmp_path / "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6, f"a bomb of 40 MB took {peak:,} bytes"


def test_a_bomb_whose_header_is_honest_is_not_unpacked(tmp_path):
    pack = zlib.compressobj(9, wbits=31)
    head = idx_bytes(np.zeros((0, 28, 28), np.uint8))
    blob = pack.compress(head[:4] + (300_000).to_bytes(4, "big") + head[8:])
    blob += b"".join(pack.compress(bytes(28 * 28 * 1000)) for _ in range(300)) + pack.flush()
    tracemalloc.start()
    text = refused(tmp_path / "x", blob)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "300000 x 28 x 28 = 235,200,000 bytes in" in text
    assert "more than images shrink" in text
    assert peak < 2e6, f"a bomb of 235 MB took {peak:,} bytes"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(5, 0, 2), (5, 2, 0), (0, 0, 0)])
def test_images_without_pixels_are_refused(tmp_path, pack, shape):
    text = refused(tmp_path / "x", pack(idx_bytes(np.zeros(shape, np.uint8))))
    assert f"promises {' x '.join(map(str, shape))}, expected images of at least a pixel" in text


def test_a_huge_gzip_file_with_a_small_header_is_not_read(tmp_path, images):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(idx_bytes(images)))
    os.truncate(path, 1 << 32)  # sparse: four gigabytes of nothing
    with pytest.raises(DataError, match="before unpacking"):
        read_images(path)


def test_labels_are_digits_and_match_the_images(tmp_path, images):
    x, y = tmp_path / "images", tmp_path / "labels"
    x.write_bytes(idx_bytes(images))
    y.write_bytes(idx_bytes(np.array([0, 9, 10, 255, 3], np.uint8)))
    with pytest.raises(DataError, match=r"labels: label 10 at index 2, expected 0\.\.9"):
        read_labels(y)
    y.write_bytes(idx_bytes(np.arange(4, dtype=np.uint8)))
    with pytest.raises(DataError) as error:
        read_split(x, y)
    assert "4 labels for the 5 images" in one_line(error)
    y.write_bytes(idx_bytes(np.arange(5, dtype=np.uint8)))
    assert len(read_split(x, y)) == 5


def test_what_is_no_file_is_named(tmp_path):
    for path, says in ((tmp_path / "absent", "No such file"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=says) as error:
            read_images(path)
        assert str(path) in one_line(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no regular file"):
        read_images(tmp_path / "pipe")
