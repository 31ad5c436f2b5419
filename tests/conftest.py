"""Fixtures for every test: `rng`, whose fresh seed is printed when a test fails; `toy`, a small course."""

import secrets
import zlib

import numpy as np
import pytest

import solutions  # noqa: F401  (before a toy course can stand in for it)
from minigen import blas
from tests import toy_course


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="replay the random inputs of a run")


def pytest_configure(config):
    given = config.getoption("--seed")
    config.minigen_seed = secrets.randbits(31) if given is None else given


def pytest_report_header(config):
    return f"minigen: inputs drawn from --seed {config.minigen_seed}"


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Small products, and other processes beside us: BLAS's own threads would only wait for each other."""
    with blas.one_thread():
        yield


@pytest.fixture
def rng(request):
    """A numpy Generator, different in each run and for each test; `--seed N` repeats a run."""
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
