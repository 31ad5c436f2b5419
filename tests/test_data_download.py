"""Downloads: checked before anything is written, whole or not at all, and every failure one line."""

import errno
import gzip
import os
import signal
import subprocess
import sys
import time

import pytest
from data_helpers import ROOT, gzipped, idx_bytes, one_line, send, serve, tiny_set

from minigen.data import download, load, registry
from minigen.data.download import fetch, write_whole
from minigen.errors import DataError


@pytest.fixture
def tiny(monkeypatch, rng):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    published, blobs = tiny_set(rng)
    monkeypatch.setitem(registry.IDX_SETS, "tiny", published)
    return blobs


def files_under(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(tmp_path, answer) -> str:
    """Fetch from a bad server: the error, and nothing may be left."""
    with serve(answer) as url, pytest.raises(DataError) as error:
        fetch("tiny", tmp_path / "dest", mirrors=[url])
    assert files_under(tmp_path) == [], "a failed download left something behind"
    assert "MINIGEN_DATA" in one_line(error), "the message must say what else can be done"
    assert "train-images-idx3-ubyte" in one_line(error)
    return one_line(error)


def test_a_set_comes_down_whole(tmp_path, tiny):
    seen = []
    with serve(gzipped(tiny)) as url:
        files = fetch("tiny", tmp_path, mirrors=[url + "/some/folder/"], progress=lambda *a: seen.append(a))
    assert all(downloaded for _, downloaded in files)
    assert files_under(tmp_path / "tiny") == sorted(tiny), "only the four files may lie there"
    assert all((tmp_path / "tiny" / name).read_bytes() == blob for name, blob in tiny.items())
    assert idx_bytes(load("tiny", folder=tmp_path).train.images) == tiny["train-images-idx3-ubyte"]
    assert {name for name, _, _ in seen} == set(tiny)
    assert all(done <= total for _, done, total in seen)


def test_what_is_there_is_kept_and_what_is_damaged_is_replaced(tmp_path, tiny):
    with serve(gzipped(tiny)) as url:
        fetch("tiny", tmp_path, mirrors=[url])
        (tmp_path / "tiny" / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
        files = fetch("tiny", tmp_path, mirrors=[url])
    assert [downloaded for _, downloaded in files] == [False, False, False, True]
    load("tiny", folder=tmp_path)
    assert fetch("tiny", tmp_path, mirrors=[url]), "with every file right no server is needed"


def test_an_unpacked_mirror_serves_too(tmp_path, tiny):
    def answer(handler):
        blob = tiny.get(handler.path.rsplit("/", 1)[-1])
        send(handler, blob or b"", status=200 if blob else 404)

    with serve(answer) as url:
        fetch("tiny", tmp_path, mirrors=[url])
    load("tiny", folder=tmp_path)


def test_a_bad_mirror_is_passed_over(tmp_path, tiny):
    with serve(lambda handler: send(handler, b"<html>busy</html>")) as bad, serve(gzipped(tiny)) as good:
        fetch("tiny", tmp_path, mirrors=[bad, good])
    load("tiny", folder=tmp_path)


def test_bad_answers_are_named_and_leave_nothing(tmp_path, tiny, monkeypatch):
    right = gzip.compress(tiny["train-images-idx3-ubyte"])
    other = gzip.compress(tiny["train-images-idx3-ubyte"][:-1] + b"!")
    monkeypatch.setattr(download, "HEAD", 1000)
    for answer, says in (
        (lambda h: send(h, b"<!DOCTYPE html><p>log in first"), "web page"),
        (lambda h: send(h, b"gone", status=404), "HTTP 404"),
        (lambda h: send(h, b"", status=503), "HTTP 503"),
        (lambda h: send(h, b""), "holds no data"),
        (lambda h: send(h, right[:-20], length=len(right)), "broke off"),
        (lambda h: send(h, right[:-20]), "cut short"),
        (lambda h: send(h, other), "SHA-256"),
        (lambda h: send(h, gzip.compress(tiny["t10k-images-idx3-ubyte"])), "3 x 28 x 28"),
        (lambda h: send(h, b"", length=1 << 40), "offers 1,099,511,627,776 bytes"),
    ):
        assert says in refused(tmp_path, answer)


def test_an_endless_answer_is_cut_off(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(download, "HEAD", 1000)

    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"\x1f\x8b" * 5000)

    assert "sent more than" in refused(tmp_path, answer)


def test_a_silent_and_a_trickling_server_are_given_up(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    monkeypatch.setattr(download, "PATIENCE", 0.2)

    def trickle(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"\x1f")
            time.sleep(0.05)

    begun = time.monotonic()
    assert "timed out" in refused(tmp_path, lambda handler: time.sleep(0.5))
    assert "sent only" in refused(tmp_path, trickle)
    assert time.monotonic() - begun < 10


def test_no_server_at_all(tmp_path, tiny):
    with serve(gzipped(tiny)) as url:
        pass
    with pytest.raises(DataError, match="cannot be reached"):
        fetch("tiny", tmp_path / "dest", mirrors=[url])
    with pytest.raises(DataError, match="nowhere"):
        fetch("tiny", tmp_path / "dest")  # the built-in mirror of the tiny set
    assert files_under(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path, tiny, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with serve(gzipped(tiny)) as url, pytest.raises(DataError, match="the disk is full") as error:
        fetch("tiny", tmp_path, mirrors=[url])
    assert "5,504 bytes" in one_line(error)
    assert files_under(tmp_path) == ["tiny"]


def test_an_interrupt_while_writing_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new", b"er")
    assert path.read_bytes() == b"old"
    assert files_under(tmp_path) == ["file"]


def test_a_place_that_cannot_be_written_is_refused_before_the_download(tmp_path, tiny):
    (tmp_path / "file").write_bytes(b"")
    with serve(gzipped(tiny)) as url, pytest.raises(DataError, match="cannot be written"):
        fetch(
            "tiny", tmp_path / "file" / "deeper", mirrors=[url], progress=lambda *_: pytest.fail("too late")
        )


def test_the_remains_of_a_kill_are_swept_up_later(tmp_path, tiny):
    (tmp_path / "tiny").mkdir()
    old, young = tmp_path / "tiny" / ".abandoned.part", tmp_path / "tiny" / ".at-work.part"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, 0))
    with serve(gzipped(tiny)) as url:
        fetch("tiny", tmp_path, mirrors=[url])
    assert not old.exists()
    assert young.exists(), "another download may be at work on it"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_kill_during_the_download_leaves_nothing(tmp_path, how):
    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.wfile.write(b"\x1f\x8b" + bytes(5000))
        handler.wfile.flush()
        time.sleep(3)

    code = (
        "import sys; from minigen.data.download import fetch\n"
        "fetch('mnist', sys.argv[1], mirrors=[sys.argv[2]], progress=lambda *a: print('going', flush=True))"
    )
    with serve(stall) as url:
        command = [sys.executable, "-c", code, str(tmp_path), url]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"no_proxy": "127.0.0.1"}, **quiet
        ) as child:
            assert child.stdout.readline() == "going\n"
            child.send_signal(how)
            assert child.wait(10) != 0
    assert files_under(tmp_path) == []


def test_a_kill_during_writing_leaves_the_file_whole(tmp_path, rng):
    path = tmp_path / "file"
    code = (
        "import sys; from pathlib import Path; from minigen.data.download import write_whole\n"
        "for i in range(10**6): write_whole(Path(sys.argv[1]), bytes([i % 256]) * 300_000); print(flush=True)"
    )
    for _ in range(3):
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.1))
            child.kill()
        blob = path.read_bytes()
        assert len(blob) == 300_000
        assert blob == blob[:1] * 300_000, "a killed writer left a torn file"
