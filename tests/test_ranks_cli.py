"""`minigen train --ranks`: one voice for all ranks, and one line when they cannot begin."""

import signal
import subprocess
import sys

import pytest
from mpi import ROOT, begin, mpi, start, under_mpi

from minigen import checkpoint
from minigen.cli import main
from minigen.errors import BackendError

TRAIN = ["-m", "minigen", "train", "autoencoder", "--preset", "tiny", "--batch-size", "500"]


@under_mpi
def test_ranks_that_were_given_different_commands_say_so_once(tmp_path):
    words = ["-m", "minigen", "train", "autoencoder", "--ranks", "mpi", "--out"]
    train = [sys.executable, *words, tmp_path / "run"]
    done = start("-n", 1, *train, ":", "-n", 1, *train, "--seed", 1)
    assert done.returncode == 2
    ours = [line for line in done.stderr.splitlines() if line.startswith("minigen")]
    assert len(ours) == 1
    assert ours[0].startswith("minigen: the ranks disagree about --seed: None on rank 0, 1 on rank 1; start")
    assert not (tmp_path / "run").exists()


@under_mpi
def test_the_command_line_trains_on_two_ranks(tmp_path):
    words = [
        "-m",
        "minigen",
        "train",
        "autoencoder",
        "--preset",
        "tiny",
        "--epochs",
        "1",
        "--batch-size",
        "500",
    ]
    done = mpi(2, *words, "--ranks", "mpi", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parameters) on mnist-small, recorded in") == 1
    assert done.stdout.count("1 epoch, 12 steps:") == 1
    assert done.stderr.count("epoch 1/1") == 1
    there = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"checkpoint.npz", "curves.png", "reconstructions.png"} <= there
    assert not (tmp_path / "run-2").exists()


@under_mpi
@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--epochs", "x"), "minigen train: argument --epochs: 'x' will not do, expected a whole number from 1 on; `"),
        (("--batch-size", "1"), "minigen: a batch has 1 image for 2 ranks: each needs one; choose another"),
    ],
)  # fmt: skip
def test_a_command_that_ranks_refuse_is_refused_once_and_leaves_nothing(option, says, tmp_path):
    done = mpi(2, *TRAIN, *option, "--ranks", "mpi", "--out", tmp_path / "run")
    assert done.returncode == 2
    ours = [line for line in done.stderr.splitlines() if "minigen" in line]
    assert len(ours) == 1
    assert ours[0].startswith(says)
    assert list(tmp_path.iterdir()) == []


@under_mpi
def test_a_command_that_one_rank_alone_refuses_ends_all(tmp_path):
    train = [sys.executable, *TRAIN, "--ranks", "mpi", "--out", tmp_path / "run"]
    done = start("-n", 1, *train, ":", "-n", 1, *train, "--epochs", "x")
    assert done.returncode == 2
    ours = [line for line in done.stderr.splitlines() if "minigen" in line]
    assert len(ours) == 1
    assert ours[0].startswith("minigen: rank 1 of 2: minigen train: argument --epochs: 'x' will not do")
    assert ours[0].endswith("; all ranks are stopped")
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_none_is_told_to_one_process_as_ever(capsys):
    for words in ([], ["--ranks"], ["--ranks", "smoke"], ["--ranks=mpi"]):
        assert main(["train", "vae", "--epochs", "x", *words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("minigen train: argument --epochs: 'x' will not do")
        assert said.count("\n") == 1


@under_mpi
def test_ctrl_c_at_mpiexec_stops_all_ranks_after_a_step_and_saves(tmp_path):
    """mpiexec passes it on, each MPI in its own way: as SIGINT or SIGTERM."""
    words = [*TRAIN, "--epochs", "400", "--ranks", "mpi", "--out", str(tmp_path / "run")]
    with begin(2, *words) as run:
        assert run.stderr is not None
        said = [next(run.stderr), next(run.stderr)]  # how many epochs; the first of them
        assert said[1].startswith("epoch "), said
        run.send_signal(signal.SIGINT)
        _, rest = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "Traceback" not in rest
    _, meta = checkpoint.load(tmp_path / "run" / "checkpoint.npz")
    assert 0 < meta["step"] < 400 * 12
    if "interrupted" in rest:  # Open MPI's mpiexec is gone before the last line
        assert f"minigen: interrupted after step {meta['step']:,}, saved in {tmp_path / 'run'}" in rest
        assert "go on with `mpiexec -n 2 minigen train autoencoder --resume --out" in rest


@under_mpi
def test_one_process_alone_is_told_how_to_start_several():
    done = subprocess.run(
        [sys.executable, "-m", "minigen", "train", "vae", "--ranks", "mpi"],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(
        "minigen: --ranks mpi: there is one process only; start several by `mpiexec -n 2"
    )
    assert done.stderr.count("\n") == 1


def test_without_mpi4py(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["train", "vae", "--ranks", "mpi"]) == BackendError.exit_code == 5
    assert capsys.readouterr().err == (
        "minigen: --ranks needs mpi4py, which is not installed: python -m pip install 'minigen[mpi]'\n"
    )
    monkeypatch.setenv("PMI_RANK", "1")
    with pytest.raises(SystemExit) as silent:
        main(["train", "vae", "--ranks", "mpi"])
    assert (silent.value.code, capsys.readouterr().err) == (5, ""), "rank 0 has said it"


def test_an_unknown_way_is_refused(capsys):
    assert main(["train", "vae", "--ranks", "smoke"]) == 2
    assert capsys.readouterr().err == "minigen: --ranks 'smoke': expected one of mpi, nccl\n"
