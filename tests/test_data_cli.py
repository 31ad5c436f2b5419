"""`minigen data`: what it prints, and its exit codes."""

import json

import pytest
from data_helpers import gzipped, serve, tiny_set

from minigen.cli import main
from minigen.data import registry
from minigen.data.download import write_whole


@pytest.fixture
def tiny(monkeypatch, rng, tmp_path):
    """A data folder with a whole tiny set in it, named by MINIGEN_DATA; no other set is to be found."""
    published, blobs = tiny_set(rng)
    for name in ("mnist", "fashion-mnist"):
        monkeypatch.delitem(registry.IDX_SETS, name)
    monkeypatch.setitem(registry.IDX_SETS, "tiny", published)
    monkeypatch.setattr(registry, "NAMES", ("mnist-small", "tiny"))
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, blob in blobs.items():
        write_whole(tmp_path / "tiny" / name, blob)
    return blobs


def test_list_names_every_set(tiny, tmp_path, capsys):
    assert main(["data"]) == 0
    bare = capsys.readouterr().out
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out == bare
    assert "mnist-small" in bare
    assert str(tmp_path / "tiny") in bare
    assert main(["data", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"], row["train"]) for row in rows] == [
        ("mnist-small", "embedded", 6000),
        ("tiny", "found", 7),
    ]


def test_verify_says_which_are_fine_missing_and_damaged(tiny, tmp_path, capsys):
    assert main(["data", "verify"]) == 0
    assert "5 fine, 0 missing, 0 damaged" in capsys.readouterr().out
    (tmp_path / "tiny" / "train-images-idx3-ubyte").unlink()
    (tmp_path / "tiny" / "t10k-labels-idx1-ubyte").write_bytes(b"<html>")
    assert main(["data", "verify", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is False
    states = {row["file"]: row["state"] for row in report["files"]}
    assert states["train-images-idx3-ubyte"] == "missing"
    assert states["t10k-labels-idx1-ubyte"] == "damaged"
    assert main(["data", "verify", "tiny"]) == 1
    assert "web page" in capsys.readouterr().out


def test_verify_fails_for_a_missing_set_only_if_it_is_named(tiny, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    elsewhere = ["--data-dir", str(tmp_path / "empty")]
    assert main(["data", "verify", *elsewhere]) == 0
    assert main(["data", "verify", "tiny", *elsewhere]) == 1
    assert "minigen data get tiny" in capsys.readouterr().out


def test_get_downloads_then_finds(tiny, tmp_path, capsys):
    dest = tmp_path / "fresh"
    with serve(gzipped(tiny)) as url:
        command = ["data", "get", "tiny", "--dest", str(dest), "--mirror", url]
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert out.count("downloaded: ") == 4
        assert "bytes received" in err, "without a terminal the progress is plain lines"
        assert main([*command, "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [row["downloaded"] for row in files] == [False] * 4
    assert main(["data", "verify", "tiny", "--data-dir", str(dest)]) == 0
    assert main(["data", "get", "mnist-small"]) == 0


def test_get_failures_are_one_line(tiny, tmp_path, capsys, monkeypatch):
    with serve(gzipped({})) as url:
        assert main(["data", "get", "tiny", "--dest", str(tmp_path / "x"), "--mirror", url]) == 1
    err = capsys.readouterr().err
    assert err.startswith("minigen: tiny: no mirror gave train-images-idx3-ubyte")
    assert err.count("\n") == 1
    assert not (tmp_path / "x").exists()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("minigen.data.download.fetch", interrupted)
    assert main(["data", "get", "tiny"]) == 1
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["get", "cifar"], "expected one of"),
        (["verify", "cifar"], "expected one of"),
        (["list", "--data-dir", "no/such/folder"], "is no folder"),
    ],
)
def test_what_does_not_exist_is_named(argv, says, capsys):
    assert main(["data", *argv]) == (2 if "cifar" in argv else 1), "an unknown name is a usage error"
    assert says in capsys.readouterr().err


def test_usage_errors_exit_2(capsys):
    for argv in (["get"], ["get", "mnist", "--mirror", "file:///etc"], ["frobnicate"]):
        try:
            code = main(["data", *argv])
        except SystemExit as leave:
            code = leave.code
        assert code == 2, argv
    assert "is no web address" in capsys.readouterr().err
