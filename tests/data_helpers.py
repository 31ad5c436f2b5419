"""What the tests of the data room share: small IDX files, a tiny published set, a local web server."""

import gzip
import hashlib
import http.server
import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from minigen.data.registry import IdxFile, IdxSet

ROOT = Path(__file__).resolve().parents[1]
NAMED = os.environ.get("MINIGEN_DATA")  # read before any test changes it


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    """uint8 array -> the bytes of its IDX file"""
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, code, array.ndim]) + lengths + array.tobytes()


def full_sets() -> Path:
    """The folder of the full sets, or skip: MINIGEN_DATA, else shared/data beside the repository."""
    folder = Path(NAMED) if NAMED else ROOT.parent / "shared" / "data"
    if not (folder / "mnist").is_dir() or not (folder / "fashion-mnist").is_dir():
        pytest.skip("the full sets are not here (MINIGEN_DATA names their folder)")
    return folder


def tiny_set(rng: np.random.Generator, name: str = "tiny") -> tuple[IdxSet, dict[str, bytes]]:
    """A published set of 7 + 3 images of 28x28, and the bytes of its four files"""
    blobs, files = {}, []
    for part, n in (("train", 7), ("t10k", 3)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        for kind, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            blobs[kind] = idx_bytes(array)
            files.append(IdxFile(kind, array.shape, hashlib.sha256(blobs[kind]).hexdigest()))
    return IdxSet(name, "none", tuple(files), ("http://127.0.0.1:9/nowhere/",)), blobs


@contextmanager
def serve(answer):
    """A web server on this machine for the time of the block; `answer(handler)` answers every GET."""

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self):
            with suppress(BrokenPipeError, ConnectionResetError):  # some tests hang up
                answer(self)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def send(handler, body: bytes, status: int = 200, length: int | None = None) -> None:
    """Answer with `body`; `length` announces another length than it has."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def gzipped(blobs):
    """An answer: every file of a set, gzipped."""

    def answer(handler):
        name = handler.path.rsplit("/", 1)[-1]
        stem = name.removesuffix(".gz")
        if stem in blobs and name != stem:
            send(handler, gzip.compress(blobs[stem]))
        else:
            send(handler, b"<html>not here</html>", status=404)

    return answer


def one_line(error) -> str:
    """The message of a caught error, which must be one line."""
    text = str(error.value)
    assert "\n" not in text, f"an error must be one line, found {text!r}"
    return text
