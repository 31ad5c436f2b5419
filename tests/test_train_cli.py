"""`minigen train` and `minigen sample` as they are typed: what is printed and kept, and how each refusal reads."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from minigen import checkpoint, data, ops
from minigen.cli import main
from minigen.cli.models import MODELS
from minigen.course.manifest import Lesson
from minigen.course.stubs import make_stub
from minigen.nn import Module
from minigen.optim import Adam
from minigen.tensor import Tensor
from minigen.training.progress import Bar, Lines, progress
from solutions import e07_autoencoder as e07

ROOT = Path(__file__).parents[1]
SOLUTION, DENSE = Lesson(ROOT, "e07_autoencoder"), Lesson(ROOT, "e03_dense")
# One thread: beside other work on the machine, two threads that wait for each other are slower than one.
SINGLE = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def few(monkeypatch):
    """A set of which an epoch takes no time, under the name that all commands expect."""
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
    first, *lines = trained[1].stderr.splitlines()
    assert first == "4 epochs of 120 steps to go, a line after each"
    lines = [line for line in lines if "an epoch" not in line]  # there only where the first epoch took long
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
        (["tomorrow"], 2, "comes with lesson e99_tomorrow"),
        (["tomorrow"], 2, "there is: autoencoder"),
        (["autoencoder", "--binarize", "dynamic"], 2, "no use for --binarize"),
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
    monkeypatch.setitem(MODELS, "tomorrow", "e99_tomorrow")
    result = main(["train", *words])
    assert result == code or (code is None and result in (1, 2))
    assert says in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["--epochs", "0"], ["--epochs", "x"], ["--batch-size", "x"], ["--seed", "-1"]]
)
def test_numbers_that_are_none(words, capsys):
    assert main(["train", "autoencoder", *words]) == 2
    error = capsys.readouterr().err
    assert f"{words[0]}: '{words[1]}' will not do, expected a whole number from" in error
    assert error.count("\n") == 1


def test_sample_of_what_is_no_run(tmp_path, capsys):
    assert main(["sample", str(tmp_path / "nothing")]) == 1
    assert "no run" in one_line(capsys)


def test_resume_of_a_finished_run_says_that_it_was_complete(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(e07, "finish", lambda *_: ({}, []))
    for name in ("config.json", "checkpoint.npz"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    assert main(["train", "autoencoder", "--resume", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert f"{tmp_path} was complete (4 epochs): nothing was trained" in told.out
    assert "recorded in" not in told.out
    assert told.err == ""


def test_resume_with_fewer_epochs_than_were_made_changes_nothing(trained, tmp_path, capsys):
    for name in ("config.json", "checkpoint.npz", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    assert main(["train", "autoencoder", "--resume", "--epochs", "2", "--out", str(tmp_path)]) == 1
    assert "4 epochs were begun, 2 asked for; nothing was changed" in one_line(capsys)
    for name in ("config.json", "checkpoint.npz", "metrics.jsonl"):
        assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": "x"}, "epochs is 'x', expected a whole number from 1 on"),
        ({"epochs": True}, "epochs is True"),
        ({"seed": -1}, "seed is -1"),
        ({"batch_size": None}, "batch_size is None"),
        ({"data": 3}, "data is 3, expected the name"),
        ({"config": []}, "its config does not fit solutions.e07_autoencoder"),
        ({"config": {"colour": 3}}, "its config does not fit"),
        ({"config": {"lr": "fast"}}, "config.lr is 'fast', expected the like of 0.003"),
        ({"config": {"hidden": 3}}, "config.hidden is 3"),
        ({"config": {"hidden": ["x"]}}, "does not fit"),
        ({"config": {"hidden": [-3]}}, ""),
        ({"config": {"lr": -1.0}}, ""),
        ({"config": {"lr": 0.5}}, "config.lr"),
        ({"resumed": 3, "epochs": 1}, "epochs were begun"),
        ({"name": ["autoencoder"]}, "is a run of ['autoencoder']"),
        ({"model": 0, "preset": {}}, ""),
    ],
)
def test_a_config_that_was_edited_is_one_line(change, says, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(e07, "finish", lambda *_: ({}, []))
    (tmp_path / "checkpoint.npz").write_bytes((trained[0] / "checkpoint.npz").read_bytes())
    config = json.loads((trained[0] / "config.json").read_text())
    if isinstance(change.get("config"), dict):
        change = {"config": config["config"] | change["config"]}
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    code = main(["train", "autoencoder", "--resume", "--out", str(tmp_path)])
    if says or code:
        assert code in (1, 2)
        assert says in one_line(capsys)


def test_sample_of_a_models_name_says_what_to_type(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(e07, "finish", lambda *_: ({}, []))
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "autoencoder"]) == 2
    assert "train one first: `minigen train autoencoder`" in one_line(capsys)
    assert main(["train", "autoencoder", "--preset", "tiny", "--epochs", "1"]) == 0
    capsys.readouterr()
    assert main(["sample", "autoencoder"]) == 2
    assert "did you mean its run runs/autoencoder?" in one_line(capsys)


def test_help_and_presets_tell_what_is_there(capsys):
    assert main(["train", "--help"]) == 0
    listed = capsys.readouterr().out
    for model, lesson in MODELS.items():
        here = (ROOT / "solutions" / f"{lesson}.py").is_file()
        assert bool(re.search(rf"^ *MODEL .*\b{model}\b", listed, re.M)) == here, model
    assert main(["train", "autoencoder", "--presets"]) == 0
    said = capsys.readouterr().out
    assert "autoencoder small: pixels 784, hidden 512x256, code 32" in said
    assert "autoencoder linear: hidden none, linear True" in said
    assert re.search(r"autoencoder tiny: hidden 256, lr 0.004, epochs 4$", said, re.M)


def test_resume_with_another_preset_is_refused(trained, capsys):
    assert main(["train", "autoencoder", "--resume", "--preset", "linear", "--out", str(trained[0])]) == 1
    assert "preset 'tiny'" in one_line(capsys)


def test_a_damaged_checkpoint_is_refused(trained, tmp_path, capsys):
    for name in ("config.json", "checkpoint.npz"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes()[:-1])
    (tmp_path / "config.json").write_bytes((trained[0] / "config.json").read_bytes())
    assert main(["train", "autoencoder", "--resume", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "checksum" in told.err
    assert (told.err.count("\n"), told.out) == (1, "")


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


# options of a model


@pytest.fixture
def pixels(few, tmp_path, monkeypatch):
    """A pixel model of a few numbers under the name of pixelcnn."""
    module = types.ModuleType("toy_pixels")

    @dataclass(frozen=True)
    class Config:
        binarize: str = "threshold"
        epochs: int = 1
        batch_size: int = 100

    class Pixels(Module):
        def __init__(self, config, *, rng):
            self.config, self.b = config, Tensor(np.zeros(784, np.float32), requires_grad=True)

        def prepare(self, images, rng):
            return data.binarize(images, self.config.binarize, rng)

        def nats(self, images):
            x = images.reshape(len(images), 784)
            return ops.mean(ops.sum(ops.bce_with_logits(self.b + np.zeros_like(x), x), axis=1))

        def updates(self, batch, rng):
            assert set(np.unique(batch)) <= {0, 1}
            yield self, self.nats(batch)

        def optimizers(self):
            return {"": Adam(self.parameters(), 0.1)}

        def evaluate(self, images, rng):
            return {"nll": float(self.nats(images))}

        def sample(self, n, rng):
            p = ops.sigmoid(self.b).reshape(1, 1, 28, 28)
            return p * np.ones((n, 1, 1, 1), np.float32)

    vars(module).update(
        MODEL=Pixels, Config=Config, PRESETS={"small": Config(), "drawn": Config("dynamic")},
        OPTIONS={"binarize": ("threshold", "dynamic")},
    )  # fmt: skip
    for home in ("minigen.cli.train", "minigen.cli.models"):
        monkeypatch.setattr(f"{home}.load_module", lambda name: module)
    monkeypatch.chdir(tmp_path)
    return ["train", "pixelcnn", "--out", "run"]


def test_an_option_goes_into_the_config_and_comes_back_on_resume(pixels, capsys):
    assert main([*pixels, "--binarize", "dynamic"]) == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["config"]["binarize"] == "dynamic"
    assert main([*pixels, "--resume", "--epochs", "2"]) == 0
    assert json.loads(Path("run/config.json").read_text())["config"] == config["config"]
    capsys.readouterr()
    assert main([*pixels, "--resume", "--epochs", "2", "--binarize", "threshold"]) == 1
    assert "is of binarize 'dynamic', not 'threshold'; leave --binarize out" in one_line(capsys)
    assert main([*pixels[:2], "--binarize", "dinamic"]) == 2
    assert "--binarize 'dinamic': expected one of threshold, dynamic" in one_line(capsys)
    assert main([*pixels[:2], "--preset", "drawn", "--out", "other"]) == 0
    assert json.loads(Path("other/config.json").read_text())["config"]["binarize"] == "dynamic"


def test_a_model_that_draws_is_drawn_from(pixels, capsys):
    assert main(pixels) == 0
    assert Path("run/samples.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["sample", "run", "--n", "5", "--seed", "1", "--out", "five.png"]) == 0
    assert capsys.readouterr().out.endswith("five.png\n")
    assert Path("five.png").exists()


# --mine


@pytest.fixture
def exercise(few, tmp_path, monkeypatch):
    """A course of its own with lessons e03 and e07; writes the learner's file of one of them."""
    monkeypatch.delattr(e07, "finish")  # the pictures are another test's business, and take their time
    for folder in ("solutions", "exercises"):
        (tmp_path / folder).mkdir()
    for lesson in (SOLUTION, DENSE):
        (tmp_path / "solutions" / f"{lesson.name}.py").write_text(lesson.source)
    monkeypatch.chdir(tmp_path)

    def write(*holes, lesson=SOLUTION):
        text = make_stub(lesson)
        for hole, old, new in holes:
            todo = next(one for one in lesson.holes if one.name == hole)
            body = todo.block(lesson.source)
            assert old in body
            stub = re.compile(
                rf" *# TODO: {re.escape(todo.todo)}\n *raise NotImplementedError\((\n(.*\n)*? *)?[^\n]*\)\n"
            )
            assert stub.search(text)
            text = stub.sub(lambda _, body=body, old=old, new=new: body.replace(old, new), text, count=1)
        path = tmp_path / "exercises" / f"{lesson.name}.py"
        path.write_text(text)
        return path

    return write


def line_of(path, words):
    return next(n for n, text in enumerate(path.read_text().splitlines(), 1) if words in text)


TINY = ["train", "autoencoder", "--preset", "tiny", "--epochs", "1", "--out", "run", "--mine"]


def test_mine_without_anything_started(exercise, capsys):
    exercise()
    assert main(TINY) == 3
    assert "no exercise that the engine has a place for is started" in one_line(capsys)
    assert not Path("run").exists()


def test_mine_trains_on_the_learners_code_and_says_so(exercise, capsys):
    exercise(
        ("reconstruction_loss", "(1.0 / x.shape[0])", "(0.0 / x.shape[0])")
    )  # wrong, and it shows: nothing is learned
    assert main(TINY) == 0
    out = capsys.readouterr().out
    assert "your reconstruction_loss from exercises/e07_autoencoder.py" in out
    assert re.search(r"the engine's own: \d+ \(e03 \d+, e07 \d+\)\nfor all their names: --verbose", out)
    assert "not used" not in out
    assert "test squared error per image: autoencoder 0.00" in out
    assert re.search(r"^1 epoch, 8 steps: ", out, re.M)
    assert json.loads(Path("run/config.json").read_text())["mine"] == ["reconstruction_loss"]


def test_mine_lists_what_this_model_uses_apart_from_the_rest(exercise, capsys):
    holes = (
        "Dense.__init__",
        "Dense.__call__",
        "ReLU.__call__",
        "SGD.update",
        "Adam.update",
        "cross_entropy",
    )
    exercise(*((hole, "", "") for hole in holes), lesson=DENSE)
    assert main(TINY) == 0
    out = capsys.readouterr().out
    assert "your Dense.__init__, Dense.__call__, Adam.update from exercises/e03_dense.py\n" in out
    assert (
        "in place but not used by this model: e03:ReLU.__call__, e03:cross_entropy, e03:SGD.update\n" in out
    )
    mine = json.loads(Path("run/config.json").read_text())["mine"]
    assert mine == ["Dense.__init__", "Dense.__call__", "Adam.update"]


def test_mine_trains_to_the_same_bits_as_the_reference_it_is_a_copy_of(exercise):
    exercise(("Autoencoder.encode", "", ""), ("Autoencoder.updates", "", ""))
    assert main(TINY) == 0
    assert main([*TINY[:-3], "--out", "plain"]) == 0
    (one, _), (other, _) = (checkpoint.load(Path(name) / "checkpoint.npz") for name in ("run", "plain"))
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []


def test_mine_reports_the_learners_line(exercise, capsys):
    path = exercise(
        ("Autoencoder.encode", "self.encoder(flatten(x))", "self.encoder(flatten(x))[:, : 1 // 0]")
    )
    assert main(TINY) == 1
    error = one_line(capsys)
    assert (
        f"{path}:{line_of(path, '1 // 0')}: your Autoencoder.encode fails in training: ZeroDivisionError"
        in error
    )
    assert not Path("run").exists()


def test_mine_names_a_parameter_that_is_forgotten(exercise, capsys):
    path = exercise(("Dense.__call__", "else y + self.b", "else y"), lesson=DENSE)
    assert main(TINY) == 1
    error = one_line(capsys)
    assert (
        f"{path}:{line_of(path, 'def __call__')}: your Dense.__call__: the loss does not depend on" in error
    )
    assert (
        "encoder.layers.0.b, encoder.layers.2.b, decoder.layers.0.b, decoder.layers.2.b (4 of 8 par" in error
    )
    assert "allow_unused" not in error
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("lesson", "hole", "old", "new", "says"),
    [
        (DENSE, "Dense.__call__", "return ", "", "returned None, expected (50, 256)"),
        (
            DENSE,
            "Dense.__call__",
            "else y + self.b",
            "else (y + self.b)[:, :1]",
            "returned (50, 1), expected (50, 256)",
        ),
        (
            SOLUTION,
            "Autoencoder.encode",
            "flatten(x))",
            "flatten(x))[:, :5]",
            "returned (50, 5), expected (50, 32)",
        ),
        (SOLUTION, "Autoencoder.updates", "yield self,", "return", "returned a scalar, expected a generator"),
        (SOLUTION, "reconstruction_loss", "return ", "", "returned None, expected a scalar"),
        (SOLUTION, "dense_stack", "return ", "", "returned None, expected a Sequential"),
        (SOLUTION, "Autoencoder.decode", "self.decoder(z)", "self.decoder(z).detach()", "encoder.layers.0.W"),
    ],
)
def test_mine_names_a_result_that_cannot_be(exercise, capsys, lesson, hole, old, new, says):
    path = exercise((hole, old, new), lesson=lesson)
    assert main(TINY) == 1
    error = one_line(capsys)
    assert error.startswith(f"minigen: {path}:")
    assert f"your {hole}" in error
    assert says in error
    assert not Path("run").exists()


def test_mine_names_a_forgotten_return_of_what_only_the_pictures_need(exercise, monkeypatch, capsys):
    def finish(model, data, folder, rng):
        mean, _ = e07.pca_fit(data.test.images, 3)
        return {"squared_error": {"PCA": float(mean[0])}}, []

    finish.__module__ = e07.__name__
    monkeypatch.setattr(
        e07, "finish", types.FunctionType(finish.__code__, vars(e07) | {"e07": e07}), raising=False
    )
    path = exercise(("pca_fit", "return ", ""))
    assert main(TINY) == 1
    told = capsys.readouterr()
    assert "your pca_fit from exercises" in told.out
    error = told.err.strip().splitlines()[-1]
    assert (
        f"{path}:{line_of(path, 'def pca_fit')}: your pca_fit returned None, expected tuple[np.ndarray"
        in error
    )


def test_mine_blames_nobody_for_a_damaged_checkpoint(exercise, capsys):
    exercise(("reconstruction_loss", "", ""))
    assert main(TINY) == 0
    Path("run/checkpoint.npz").write_bytes(b"PK")
    capsys.readouterr()
    assert main([*TINY, "--resume"]) == 1
    assert "reconstruction_loss" not in capsys.readouterr().err


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


def test_a_first_epoch_that_takes_long_tells_how_long():
    terminal = Terminal(False)
    lines = Lines(terminal, patience=0.0)
    lines.begin(epochs=3, steps=12, done=0)
    time.sleep(0.001)
    lines.step(1, {"loss": 5.0})
    lines.step(1, {"loss": 4.0})
    assert re.search(
        r"^3 epochs of 4 steps to go, a line after each\nepoch 1/3  step 1/4  train loss 5  about \d+ s an epoch\n$",
        terminal.text,
    )
