"""A course of one lesson in pure NumPy, to test the machinery without the engine."""

from pathlib import Path

SOLUTION = '''"""Toy lesson: sums and a layer.

About 20 minutes.
"""

import numpy as np

# Where they go in the engine.
PLUGS = {"Layer.__call__": "minigen.toy_engine:Layer.__call__", "double": "minigen.toy_engine:double"}

SCALE = 2.0


def helper(x):
    return x * SCALE


def double(x):
    """(n,) -> (n,)"""
    # solution: return twice x
    return helper(x)
    # end


class Layer:
    """x @ w."""

    def __init__(self, w):
        self.w = np.asarray(w)

    def __call__(self, x):
        """(N, n) -> (N, m)"""
        # solution: multiply by the weights
        y = x @ self.w
        return y
        # end


def both(layer, x):
    """The layer, then double."""
    x = np.asarray(x)
    # solution: apply the layer, then double
    return double(layer(x))
    # end
'''

CHECKS = """import numpy as np
import pytest


@pytest.mark.hole("double", kind="value")
@pytest.mark.parametrize("n", [1, 5])
def test_double(lesson, rng, n):
    x = rng.normal(size=n)
    assert np.allclose(lesson.double(x), 2 * x), "double is not twice its input: is the factor 2?"


@pytest.mark.hole("double", kind="gradient", seconds=20)
def test_slope(lesson, rng):
    x = rng.normal(size=3)
    slope = (lesson.double(x + 1e-3) - lesson.double(x)) / 1e-3
    assert np.allclose(slope, 2), "the slope of double is not 2"


@pytest.mark.hole("Layer.__call__", kind="shape")
def test_layer(lesson, rng):
    layer = lesson.Layer(rng.normal(size=(3, 2)))
    assert layer(rng.normal(size=(4, 3))).shape == (4, 2), "wrong shape: multiply x @ w"


@pytest.mark.hole("Layer.__call__", kind="step")
def test_layer_keeps_w(lesson, rng, tmp_path):
    w = rng.normal(size=(3, 2))
    layer = lesson.Layer(w.copy())
    layer(rng.normal(size=(4, 3)))
    assert np.array_equal(layer.w, w), "calling the layer changes its weights"


@pytest.mark.hole("Layer.__call__", kind="value")
def test_layer_value(lesson, rng):
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    np.testing.assert_allclose(lesson.Layer(w)(x), x @ w, err_msg="the product is off: is it x @ w?")


@pytest.mark.hole("both", kind="invariant")
def test_both(lesson, rng):
    layer = lesson.Layer(rng.normal(size=(3, 2)))
    x = rng.normal(size=(4, 3))
    assert np.allclose(lesson.both(layer, x), 2 * x @ layer.w), "both forgets one of the two steps"
"""

BANK = """from minigen.course import Mistake

HINTS = {
    "double": ("What is twice?", "Multiply.", "return x * 2"),
    "Layer.__call__": ("Matrices.", "x is on the left.", "return x @ self.w"),
    "both": ("Two steps.", "layer(x) first.", "return double(layer(x))"),
}

MISTAKES = [
    Mistake("triple", "double", "helper(x)", "x * 3", says="factor 2"),
    Mistake("same", "double", "helper(x)", "x", says="factor 2"),
    Mistake("shifted", "double", "helper(x)", "helper(x) + 1", says="factor 2"),
    Mistake("transposed", "Layer.__call__", None, "return (x @ self.w).T", says="wrong shape"),
    Mistake("in_place", "Layer.__call__", "y = x @ self.w", "y = x @ self.w; self.w += 1", says="changes its weights"),
    Mistake("off", "Layer.__call__", "x @ self.w", "x @ self.w + 1", says="is it x @ w?"),
    Mistake("no_double", "both", "double(layer(x))", "layer(x)", says="forgets one"),
    Mistake("no_layer", "both", "double(layer(x))", "double(x)[:, :2]", says="forgets one"),
]
"""


def build(root: Path) -> Path:
    """Writes the toy course under `root`, without its stub."""
    for folder in ("solutions", "exercises", "tests/lessons"):
        (root / folder).mkdir(parents=True)
    (root / "solutions/e01_toy.py").write_text(SOLUTION)
    (root / "tests/lessons/test_e01_toy.py").write_text(CHECKS)
    (root / "tests/lessons/mistakes_e01_toy.py").write_text(BANK)
    (root / "exercises/e01_toy.md").write_text("# Toy\n\nTwice, and a layer.\n")
    return root
