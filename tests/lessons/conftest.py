"""`pytest tests/lessons` judges the reference: `lesson` is the solution that the file is named for."""

import importlib

import pytest


@pytest.fixture
def lesson(request):
    """`solutions.eNN_topic` for `test_eNN_topic.py`; under `minigen check` it is the learner's file."""
    return importlib.import_module("solutions." + request.path.stem.removeprefix("test_"))
