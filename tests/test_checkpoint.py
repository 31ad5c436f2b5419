"""Checkpoints: what is saved comes back, what is damaged is refused, what is killed loses nothing."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minigen import checkpoint
from minigen.errors import CheckpointError

ARRAYS = {
    "model/encoder.layers.0.W": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(2.5),
    "flags": np.array([True, False]),
    "steps": np.array([1, 2**40]),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.array([1.5], np.float16),
}
META = {"step": 7, "rng": {"state": 2**127 - 1}, "history": [{"loss": 0.1}], "name": "새 모델"}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path, ARRAYS, META)
    return path


def refused(path, *fragments):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message
    return message


def test_round_trip(saved):
    arrays, meta = checkpoint.load(saved)
    assert meta == META
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)
        assert arrays[name].flags.writeable


def test_numpy_opens_it_too(saved):
    with np.load(saved, allow_pickle=False) as archive:
        assert np.array_equal(archive["steps"], ARRAYS["steps"])


def test_same_content_same_bytes(saved):
    before = saved.read_bytes()
    checkpoint.save(saved, ARRAYS, META)
    assert saved.read_bytes() == before


def places(size, rng):
    """Both ends of the file, byte for byte, and some of what lies between"""
    some = rng.choice(size, 400, replace=False).tolist()
    return sorted({*range(120), *some, *range(size - 200, size)})


def test_truncations_are_refused(saved, rng):
    data = saved.read_bytes()
    for length in places(len(data), rng):
        saved.write_bytes(data[:length])
        refused(saved)
    saved.write_bytes(data + b"\0")
    refused(saved)


def test_flipped_bits_are_refused(saved, rng):
    data = saved.read_bytes()
    for place in places(len(data), rng):
        bad = bytearray(data)
        bad[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(bad)
        refused(saved)


def forged(path, members, meta=META, compression=zipfile.ZIP_STORED):
    """A file with a right checksum, whatever is in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        if meta is not None:
            archive.writestr("meta.json", json.dumps({"format": checkpoint.FORMAT, "meta": meta}))
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = b"0" * checkpoint.DIGEST
    body = buffer.getvalue()[: -checkpoint.DIGEST]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    return path


def npy(descr, shape, body=b"", fortran=False):
    head = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + body


def test_headers_are_held_against_the_file_before_anything_is_allocated(tmp_path):
    path = tmp_path / "x.npz"
    refused(forged(path, [("a.npy", npy("<f8", (1 << 40,)))]), "claims", "it has 0")
    refused(forged(path, [("a.npy", npy("<f8", (1 << 40, 1 << 40), b"12345678"))]), "claims")
    refused(forged(path, [("a.npy", npy("<f8", (-1,), b""))]))
    refused(forged(path, [("a.npy", npy("<f8", (1,), b"1234567"))]), "claims 8 bytes")
    refused(forged(path, [("a.npy", npy("<f8", (1,), b"123456789"))]), "claims 8 bytes")
    refused(forged(path, [("a.npy", npy("<f4", (2,), b"12345678", fortran=True))]), "C order")


def test_nothing_is_unpickled_or_unpacked(tmp_path):
    path = tmp_path / "x.npz"
    refused(forged(path, [("a.npy", npy("|O", (1,), b"cos\nsystem\n(S'false'\ntR."))]), "plain numbers")
    refused(forged(path, [("a.npy", npy([("x", "<f8")], (1,), b"12345678"))]), "plain numbers")
    refused(forged(path, [("a.npy", bytes(1 << 20))], compression=zipfile.ZIP_DEFLATED), "packed")
    refused(forged(path, [("a.npy", b"not an array at all")]))
    refused(forged(path, [], meta=None), "meta.json")
    body = [("meta.json", "[" * 100_000)]
    refused(forged(path, body, meta=None))
    refused(forged(path, [("meta.json", '{"format": "other"}')], meta=None), "'other'")


def test_two_arrays_of_one_name_are_refused(tmp_path):
    one = npy("<f4", (1,), b"1234")
    with pytest.warns(UserWarning, match="Duplicate"):
        path = forged(tmp_path / "x.npz", [("a.npy", one), ("a.npy", one)])
    refused(path, "two arrays of one name")


def test_what_is_no_checkpoint(tmp_path):
    refused(tmp_path / "missing.npz", "no such file")
    refused(tmp_path, "no regular file")
    html = tmp_path / "page.npz"
    html.write_text("<html>not found</html>")
    refused(html, "is no checkpoint")
    (tmp_path / "none.npz").touch()
    refused(tmp_path / "none.npz")
    plain = tmp_path / "plain.npz"
    np.savez(plain, a=np.zeros(3))
    refused(plain, "not written by minigen")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_does_not_wait_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", "no regular file")


@pytest.mark.parametrize(
    ("arrays", "meta"),
    [
        ({"a": np.array(["text"])}, {}),
        ({"a": np.array([object()])}, {}),
        ({"": np.zeros(1)}, {}),
        ({}, {"loss": float("nan")}),
        ({}, {"set": {1}}),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(saved, arrays, meta):
    before = saved.read_bytes()
    with pytest.raises(CheckpointError):
        checkpoint.save(saved, arrays, meta)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(saved, monkeypatch, step):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, step, full)
    with pytest.raises(CheckpointError, match="untouched"):
        checkpoint.save(saved, {"a": np.zeros(9)}, {})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save(tmp_path / "file" / "checkpoint.npz", {}, {})


@pytest.mark.skipif(os.name == "nt", reason="asks whether a process lives")
def test_temporaries_of_dead_saves_go_those_of_living_ones_stay(saved):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    stale = saved.with_name(f".{saved.name}.{int(dead.stdout)}.00000000.part")
    at_work = saved.with_name(f".{saved.name}.{os.getppid()}.00000000.part")
    other = saved.with_name(".another.npz.1.part")
    for part in (stale, at_work, other):
        part.touch()
    checkpoint.save(saved, ARRAYS, META)
    assert not stale.exists()
    assert at_work.exists()
    assert other.exists()


# A process that has imported minigen.checkpoint forks children that save in a tight loop, and kills each of them.
KILLER = """
import json, os, random, signal, sys, time
import numpy as np
from minigen import checkpoint

path, kills = sys.argv[1], int(sys.argv[2])
lost, cut, newest = [], 0, 0
checkpoint.save(path, {"a": np.zeros(20_000)}, {"n": 0})
for kill in range(kills):
    child = os.fork()
    if child == 0:
        n = newest
        while True:
            n += 1
            checkpoint.save(path, {"a": np.full(20_000, float(n))}, {"n": n})
    time.sleep(random.uniform(0.001, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    cut += any(name.endswith(".part") for name in os.listdir(os.path.dirname(path)))
    try:
        arrays, meta = checkpoint.load(path)
        assert meta["n"] >= newest, f"went back from {newest} to {meta['n']}"
        assert (arrays["a"] == meta["n"]).all() and arrays["a"].size == 20_000
        newest = meta["n"]
    except Exception as error:
        lost.append(f"kill {kill}: {error}")
print(json.dumps({"lost": lost, "cut": cut, "saves": newest, "left": len(os.listdir(os.path.dirname(path)))}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_200_kills_during_saves_lose_no_checkpoint(tmp_path):
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", KILLER, str(tmp_path / "checkpoint.npz"), "200"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=100)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lost"] == []
    assert found["saves"] > 0
    assert found["cut"] > 20, (
        f"only {found['cut']} of 200 kills hit a save in the middle: the test proves nothing"
    )
    assert found["left"] <= 2, "temporaries of killed saves pile up"
