"""`minigen train` and `minigen sample` as they are typed: what is printed and kept, and how each refusal reads."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minigen import checkpoint
from minigen.cli import main
from minigen.course.manifest import Lesson
from minigen.course.stubs import make_stub
from minigen.training.progress import Bar, Lines, progress
from solutions import e07_autoencoder as e07

ROOT = Path(__file__).parents[1]
SOLUTION = Lesson(ROOT, "e07_autoencoder")
# One thread: beside other work on the machine, two threads that wait for each other are slower than one.
SINGLE = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def few(monkeypatch):
    """A set of which an epoch takes no time, under the name that all commands expect."""
    from minigen import data

    whole = data.load()
    parts = (
        data.Split(part.images[:n], part.labels[:n]) for part, n in ((whole.train, 400), (whole.test, 100))
    )
    small = data.Dataset(whole.name, *parts)
    monkeypatch.setattr(data, "load", lambda *_, **__: small)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder of the tiny preset, and what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "ae"
    command = [
        sys.executable,
        "-m",
        "minigen",
        "train",
        "autoencoder",
        "--preset",
        "tiny",
        "--out",
        str(folder),
    ]
    done = subprocess.run(command, cwd=ROOT, env=SINGLE, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder, done


def one_line(capsys):
    error = capsys.readouterr().err.strip()
    assert error.startswith("minigen: "), error
    assert "\n" not in error
    return error


def test_the_last_lines_say_how_good_it_is(trained):
    folder, done = trained
    found = re.search(
        r"test squared error per image: autoencoder (\d+\.\d\d), PCA-32 (\d+\.\d\d)", done.stdout
    )
    assert found, done.stdout
    assert float(found[2]) == pytest.approx(13.37, abs=0.01)
    assert float(found[1]) < 0.9 * float(found[2]), "an autoencoder of a few seconds must beat PCA already"
    for name in ("curves", "reconstructions", "interpolation", "noise"):
        assert str(folder / f"{name}.png") in done.stdout
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert re.search(r"4 epochs, 480 steps: \d+ s", done.stdout), done.stdout


def test_without_a_terminal_progress_is_plain_lines(trained):
    lines = trained[1].stderr.splitlines()
    assert len(lines) == 4
    for n, line in enumerate(lines, 1):
        assert re.fullmatch(rf"epoch {n}/4  train loss \S+  test squared error \S+  \S+ s", line), line


def test_a_run_folder_holds_what_it_takes(trained):
    folder, _ = trained
    config = json.loads((folder / "config.json").read_text())
    assert config["name"] == "autoencoder"
    assert config["command"][-2:] == ["--out", str(folder)]
    assert [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
        4,
    ]
    arrays, _ = checkpoint.load(folder / "checkpoint.npz")
    assert "model/encoder.layers.0.W" in arrays


def test_an_autoencoder_has_nothing_to_sample(trained, capsys):
    assert main(["sample", str(trained[0])]) == 2
    error = one_line(capsys)
    assert "not where the codes lie" in error
    assert "model.decode" in error


def test_the_trained_model_can_be_had(trained):
    from minigen.cli.train import trained as load_trained

    model, config = load_trained(trained[0])
    z = model.encode(np.zeros((2, 28, 28), np.float32))
    assert z.shape == (2, config["config"]["code"])
    assert model.decode(z).shape == (2, 784)


def test_resume_goes_on_and_json_is_json(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(e07, "finish", lambda *_: ({"squared_error": {"PCA-32": 9.0}}, []))
    folder = tmp_path / "run"
    assert main(["train", "autoencoder", "--preset", "tiny", "--epochs", "1", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert main(["train", "autoencoder", "--resume", "--epochs", "2", "--out", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == 2
    assert found["steps"] == 16
    assert found["run"] == str(folder)
    assert found["test"]["squared_error"] > 0
    assert found["baselines"] == {"squared_error": {"PCA-32": 9.0}}
    assert found["pictures"] == [str(folder / "curves.png")]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["vae"], 2, "comes with lesson e13_vae"),
        (["gan"], 2, "there is: autoencoder"),
        (["autoencode"], 2, "did you mean autoencoder?"),
        (["autoencoder", "--preset", "huge"], 2, "expected one of small"),
        (["autoencoder", "--data", "cifar"], None, "cifar"),
        (["autoencoder", "--backend", "torch"], 5, "unknown backend"),
        (["autoencoder", "--resume"], 1, "no run to resume"),
        (["autoencoder", "--data", "mnist", "--data-dir", "nowhere"], 1, "nowhere"),
    ],
)
def test_refusals_are_one_line_and_leave_no_folder(words, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = main(["train", *words])
    assert result == code or (code is None and result in (1, 2))
    assert says in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--epochs", "0"], ["--batch-size", "x"], ["--seed", "-1"]])
def test_numbers_that_are_none(words, capsys):
    assert main(["train", "autoencoder", *words]) == 2
    assert words[0] in capsys.readouterr().err


def test_sample_of_what_is_no_run(tmp_path, capsys):
    assert main(["sample", str(tmp_path / "nothing")]) == 1
    assert "no run" in one_line(capsys)


def test_resume_with_another_preset_is_refused(trained, capsys):
    assert main(["train", "autoencoder", "--resume", "--preset", "linear", "--out", str(trained[0])]) == 1
    assert "preset 'tiny'" in one_line(capsys)


def test_a_damaged_checkpoint_is_refused(trained, tmp_path, capsys):
    for name in ("config.json", "checkpoint.npz"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes()[:-1])
    (tmp_path / "config.json").write_bytes((trained[0] / "config.json").read_bytes())
    assert main(["train", "autoencoder", "--resume", "--out", str(tmp_path)]) == 1
    assert "checksum" in one_line(capsys)


def test_no_run_overwrites_another(tmp_path):
    from minigen.training.folder import fresh, latest

    first = fresh(tmp_path / "runs" / "ae")
    assert fresh(tmp_path / "runs" / "ae") == first  # still empty
    (first / "config.json").write_text("{}")
    second = fresh(tmp_path / "runs" / "ae")
    assert second.name == "ae-2"
    (second / "config.json").write_text("{}")
    for number in range(3, 12):
        (fresh(tmp_path / "runs" / "ae") / "config.json").write_text("{}")
        assert latest(tmp_path / "runs" / "ae").name == f"ae-{number}"
    (tmp_path / "runs" / "ae-other").mkdir()
    (tmp_path / "runs" / "ae-other" / "config.json").write_text("{}")
    assert latest(tmp_path / "runs" / "ae").name == "ae-11"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_process_resumes_to_the_same_bits(tmp_path, rng):
    """The whole command, killed for good in the middle, resumed twice."""

    def command(folder, *more):
        words = ["train", "autoencoder", "--preset", "tiny", "--epochs", "2", "--out", str(folder), *more]
        return [sys.executable, "-m", "minigen", *words]

    def metrics(folder):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    quiet = {"cwd": ROOT, "env": SINGLE, "stdout": subprocess.DEVNULL}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(whole), check=True, timeout=100, **quiet)
    with subprocess.Popen(command(cut), **quiet) as process:
        while not (cut / "checkpoint.npz").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
    subprocess.run(command(cut, "--resume"), check=True, timeout=100, **quiet)
    assert metrics(cut) == metrics(whole)
    (one, _), (other, _) = (checkpoint.load(folder / "checkpoint.npz") for folder in (whole, cut))
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []


# --mine


@pytest.fixture
def exercise(few, tmp_path, monkeypatch):
    """A course of its own with lesson e07; writes the learner's file."""
    monkeypatch.delattr(e07, "finish")  # the pictures are another test's business, and take their time
    for folder in ("solutions", "exercises"):
        (tmp_path / folder).mkdir()
    (tmp_path / "solutions" / "e07_autoencoder.py").write_text(SOLUTION.source)
    monkeypatch.chdir(tmp_path)

    def write(hole=None, old="", new=""):
        text = make_stub(SOLUTION)
        if hole:
            todo = next(one for one in SOLUTION.holes if one.name == hole)
            body = todo.block(SOLUTION.source)
            assert old in body
            stub = re.compile(
                rf" *# TODO: {re.escape(todo.todo)}\n *raise NotImplementedError\((\n.*\n *)?[^\n]*\)\n"
            )
            assert stub.search(text)
            text = stub.sub(lambda _: body.replace(old, new), text)
        path = tmp_path / "exercises" / "e07_autoencoder.py"
        path.write_text(text)
        return path

    return write


TINY = ["train", "autoencoder", "--preset", "tiny", "--epochs", "1", "--out", "run", "--mine"]


def test_mine_without_anything_started(exercise, capsys):
    exercise()
    assert main(TINY) == 3
    assert "no exercise that the engine has a place for is started" in one_line(capsys)
    assert not Path("run").exists()


def test_mine_trains_on_the_learners_code_and_says_so(exercise, capsys):
    exercise(
        "reconstruction_loss", "(1.0 / x.shape[0])", "(0.0 / x.shape[0])"
    )  # wrong, and it shows: nothing is learned
    assert main(TINY) == 0
    out = capsys.readouterr().out
    assert "your reconstruction_loss from exercises/e07_autoencoder.py" in out
    assert re.search(r"the engine's own: .*e07:Autoencoder\.encode", out)
    assert "test squared error per image: autoencoder 0.00" in out
    assert json.loads(Path("run/config.json").read_text())["mine"] == ["reconstruction_loss"]


def test_mine_reports_the_learners_line(exercise, capsys):
    path = exercise("Autoencoder.encode", "self.encoder(flatten(x))", "self.encoder(flatten(x))[:, : 1 // 0]")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "1 // 0" in text)
    assert main(TINY) == 1
    error = one_line(capsys)
    assert f"{path}:{line}: your encode fails in training: ZeroDivisionError" in error


def test_mine_names_the_parts_when_the_engine_stumbles_over_them(exercise, capsys):
    exercise("Autoencoder.encode", "self.encoder(flatten(x))", "self.encoder(flatten(x))[:, :5]")
    assert main(TINY) == 2
    assert "with your Autoencoder.encode in the engine" in one_line(capsys)


# progress


class Terminal:
    def __init__(self, tty):
        self.tty, self.text = tty, ""

    def isatty(self):
        return self.tty

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


def test_a_bar_in_a_terminal_lines_elsewhere(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(progress(Terminal(True)), Bar)
    assert isinstance(progress(Terminal(False)), Lines)
    monkeypatch.setenv("NO_COLOR", "1")
    assert isinstance(progress(Terminal(True)), Lines)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress(Terminal(True)), Lines)


def test_a_bar_moves(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal(True)
    bar = Bar(terminal)
    bar.begin(epochs=2, steps=4, done=0)
    bar.step(1, {"loss": 5.25})
    bar.epoch({"epoch": 1, "step": 2, "test_squared_error": 7.5, "seconds": 1.0})
    bar.step(2, {"loss": 4.0})
    bar.end()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.text)
    assert "epoch 2/2" in plain
    assert "loss 4" in plain
    assert "test squared error 7.5" in plain


def test_many_epochs_are_not_many_lines():
    terminal = Terminal(False)
    lines = Lines(terminal)
    lines.begin(epochs=1000, steps=1000, done=0)
    for epoch in range(1, 1001):
        lines.epoch({"epoch": epoch, "step": epoch, "train_loss": None, "seconds": 0.1})
    assert 20 <= terminal.text.count("\n") <= 60
    assert terminal.text.splitlines()[-1] == "epoch 1000/1000  train loss not finite  0.1 s"
