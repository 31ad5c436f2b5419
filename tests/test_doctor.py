"""`minigen doctor` and `--backend cupy` without CuPy, without a device, with one: a plain sentence, no more breaks."""

import importlib.util
import json
import subprocess
import sys
import types

import numpy as np
import pytest

from minigen.backend import NUMPY, active, is_available
from minigen.cli import main
from minigen.cli.doctor import examine

MISSING = (
    "backend 'cupy' needs CuPy, which is not installed: pip install 'minigen[cuda12]' (or cuda13), or use "
    "--backend numpy"
)


class Broken(RuntimeError):
    """As CuPy raises it: several lines."""


def pretended(driver=12080, made=12090, devices=1, computes=True):
    """A CuPy whose device is NumPy, as far as the doctor and `use` look."""

    def count():
        if driver < made and not devices:
            raise Broken(
                "cudaErrorInsufficientDriver: CUDA driver version is insufficient\nfor CUDA runtime version"
            )
        return devices

    fake = types.ModuleType("cupy")
    fake.__version__ = "14.2.0"
    fake.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            getDeviceCount=count,
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: made,
            getDevice=lambda: 0,
            getDeviceProperties=lambda device: {"name": b"NVIDIA H200"},
            memGetInfo=lambda: (100 << 30, 140 << 30),
        )
    )
    fake.ones, fake.asnumpy, fake.asarray, fake.arange = np.ones, np.asarray, np.asarray, np.arange
    fake.square = np.square if computes else np.sqrt
    return fake


@pytest.fixture
def without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def finding(name, **options):
    return next(one for one in examine(**options) if one.name == name)


@pytest.mark.parametrize(
    "command", [["train", "vae"], ["train", "autoencoder", "--resume"], ["sample", "runs/none"]], ids=" ".join
)
def test_a_backend_that_is_not_there_is_one_sentence_and_5(
    command, without_cupy, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--backend", "cupy"]) == 5
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"minigen: {MISSING}\n")
    assert active() is NUMPY
    assert list(tmp_path.iterdir()) == [], "no folder was begun"


@pytest.mark.parametrize(
    ("fake", "says"),
    [
        (pretended(driver=0, devices=0), "(this machine has no NVIDIA driver)"),
        (pretended(driver=11040, devices=0), "(its driver knows CUDA 11.4, this CuPy is made for CUDA 12.9)"),
        (
            pretended(driver=12000, devices=0),
            "(cudaErrorInsufficientDriver: CUDA driver version is insufficient)",
        ),
        (pretended(driver=13000, devices=0), "no working CUDA device: check the driver"),
    ],
    ids=["no driver", "old driver", "refused", "no device"],
)
def test_why_no_device_computes_is_said_in_plain_words(fake, says, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "vae", "--backend", "cupy"]) == 5
    said = capsys.readouterr().err
    assert said.startswith("minigen: backend 'cupy' found no working CUDA device")
    assert says in said
    assert said.count("\n") == 1


def test_the_doctor_needs_a_device_only_if_asked(without_cupy, capsys):
    assert main(["doctor"]) == 0
    assert f"cupy        not in use: {MISSING}" in capsys.readouterr().out
    assert main(["doctor", "--backend", "cupy"]) == 5
    said = capsys.readouterr().out
    assert f"broken  cupy        {MISSING}\n" in said
    assert said.endswith("repair what is marked broken, then try again\n")
    assert main(["doctor", "--backend", "cupy", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["exit_code"] == 5
    assert main(["doctor", "--backend", "tpu"]) == 2
    assert capsys.readouterr().err == "minigen: --backend 'tpu': expected one of numpy, cupy\n"


def test_the_doctor_describes_a_device(monkeypatch):
    """Its words only: what a real device answers is for `pytest -m gpu`."""
    monkeypatch.setitem(sys.modules, "cupy", pretended())
    found = finding("cupy", backend="cupy")
    assert found.state == "ok"
    assert found.says == (
        "14.2.0, a device computes: NVIDIA H200, 100.0 of 140.0 GiB free, CUDA 12.9, driver for CUDA 12.8"
    )
    monkeypatch.setitem(sys.modules, "cupy", pretended(computes=False))
    found = finding("cupy", backend="cupy")
    assert (found.state, "do not trust this device" in found.says) == ("broken", True)
    assert active() is NUMPY


def test_the_doctor_looks_for_mpi4py_without_starting_mpi(monkeypatch):
    found = finding("mpi4py")
    assert found.state == ("ok" if importlib.util.find_spec("mpi4py") else "none")
    monkeypatch.setattr("importlib.metadata.version", absent)
    assert (
        finding("mpi4py").says == "not installed; only --ranks needs it: python -m pip install 'minigen[mpi]'"
    )


def absent(name):
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.skipif(is_available("cupy"), reason="here a device computes")
def test_nothing_else_breaks_where_cupy_is_installed_and_no_device_is(tmp_path):
    """With the real CuPy, if it is installed: imports, the doctor and a computation, with no warning on the way."""
    code = "import minigen, numpy; print(minigen.ops.exp(minigen.Tensor([0.0])).item())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1.0\n", "")


@pytest.mark.gpu
@pytest.mark.skipif(not is_available("cupy"), reason="no CUDA device")
def test_the_doctor_describes_this_device():
    found = finding("cupy", backend="cupy")
    assert (found.state, "GiB free, CUDA" in found.says) == ("ok", True)
