"""Fixtures for every test: `rng`, the same in each run unless `--seed N` draws others; `toy`, a small course."""

import zlib

import numpy as np
import pytest

import solutions  # noqa: F401  (before a toy course can stand in for it)
from minigen import blas
from minigen.backend import using
from minigen.errors import BackendError
from tests import toy_course


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="draw other random inputs (`make soak` tries many)")


def pytest_configure(config):
    config.minigen_seed = config.getoption("--seed")


def pytest_report_header(config):
    return f"minigen: inputs drawn from --seed {config.minigen_seed}"


def pytest_terminal_summary(terminalreporter, config):
    """`pytest -m gpu` where no device computes: why all of it was skipped, in one line."""
    if config.option.markexpr == "gpu":
        try:
            with using("cupy"):
                pass
        except BackendError as error:
            terminalreporter.write_line(f"the tests marked gpu do nothing here: {error}")


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Small products, and other processes beside us: BLAS's own threads would only wait for each other."""
    with blas.one_thread():
        yield


@pytest.fixture
def rng(request):
    """A numpy Generator, another one for each test and each `--seed`."""
    seed = request.config.minigen_seed
    print(f"random inputs: --seed {seed}")
    return np.random.default_rng([seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A course of one lesson, its stub written, the working directory inside it."""
    from minigen.course.manifest import course
    from minigen.course.stubs import write

    where = course(toy_course.build(tmp_path / "toy"))
    write(where)
    monkeypatch.chdir(where.root)
    return where
