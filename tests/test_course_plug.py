"""The learner's functions in the engine, and out of it again; and the law on the toy course."""

import sys
import types

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import grad
from minigen.course import Mistake, law, mine, plug
from minigen.course.manifest import Lesson
from minigen.errors import CourseError
from minigen.tensor import Tensor
from tests import toy_course


@pytest.fixture
def engine(monkeypatch):
    """A module of the house with a function and a class, and another that imported the function."""
    one, other = types.ModuleType("minigen.toy_engine"), types.ModuleType("minigen.toy_user")
    exec(
        "def double(x): return 'engine'\nclass Layer:\n    w = 3\n    def __call__(self, x): return 'engine'",
        vars(one),
    )
    other.renamed = one.double
    monkeypatch.setitem(sys.modules, one.__name__, one)
    monkeypatch.setitem(sys.modules, other.__name__, other)
    return one, other


def test_started_holes_go_in_and_come_out_again(toy, engine):
    one, other = engine
    lesson = toy.lesson("e01")
    stub = lesson.exercise.read_text()
    lesson.exercise.write_text(
        stub.replace('raise NotImplementedError("double: return twice x")', "return x * 2")
    )
    parts = mine(["e01"], toy.root)
    assert [part.mine for part in parts] == [False, True]
    assert str(parts[1]) == "your double from exercises/e01_toy.py"
    assert str(parts[0]) == "the engine's own Layer.__call__ (e01:Layer.__call__ is not started)"
    before = one.double
    with plug(parts) as given:
        assert [part.hole for part in given] == ["double"]
        assert one.double(4) == other.renamed(4) == 8, "every module that imported it follows"
        assert one.Layer()(1) == "engine"
    with pytest.raises(TypeError), plug(parts):
        one.double(None)
    assert one.double is other.renamed is before


def test_a_method_is_set_on_the_live_class(toy, engine):
    one, _ = engine
    (toy.root / "exercises/e01_toy.py").write_text(toy_course.SOLUTION.replace("x @ self.w", "x + self.w"))
    layer = one.Layer()
    with plug(mine(root=toy.root)):
        assert layer(4) == 7
    assert layer(4) == "engine"


def test_ops_change_everywhere_with_value_and_rule(monkeypatch):
    x = Tensor(np.array([-1.0, 2.0]), requires_grad=True)
    relu = ops.relu
    with plug({"minigen.ops:relu": lambda x: 3 * x}):
        assert ops.relu is relu
        assert relu(x).numpy().tolist() == [-3, 6]
    with plug({"minigen.ops:relu.rule": lambda g, y, x: lambda: g * 5}):
        assert np.asarray(grad(relu(x), x, seed=np.ones(2))).tolist() == [5, 5]
    assert relu(x).numpy().tolist() == [0, 2]
    assert np.asarray(grad(relu(x), x, seed=np.ones(2))).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("minigen.nothing:f", "cannot import"),
        ("minigen.ops:no_such.f", "no attribute"),
        ("minigen.ops", "no colon"),
    ],
)
def test_a_target_that_is_not_there_is_named(target, says):
    with pytest.raises(CourseError, match=says), plug({target: abs}):
        pass


def test_a_broken_file_is_one_line(toy, engine):
    path = toy.root / "exercises/e01_toy.py"
    for source, says in {
        "def f(:\n": ":1: Python cannot",
        "x = 1 / 0\n" + toy_course.SOLUTION: ":1: the file cannot",
    }.items():
        path.write_text(source)
        with pytest.raises(CourseError, match=says):
            mine(root=toy.root)


def test_the_law_holds_for_the_toy(toy, engine):
    breaches, findings = law.survey(toy.lesson("e01"))
    plugs = [one for one in breaches if "plug target" in one]
    assert breaches == plugs, breaches
    assert {one.mistake: one.check for one in findings}["in_place"] == "test_layer_keeps_w"


def test_the_law_names_every_breach(toy, engine):
    bank = toy.lesson("e01").bank
    text = bank.read_text().replace('says="factor 2"', 'says="factor 3"', 1).replace('("Two steps.", ', "(")
    bank.write_text(
        text.replace('"x[:, :2]"', "")
        .replace('    Mistake("no_layer"', '    Mistake("nowhere"')
        .replace('"double(layer(x))", "double(x)[:, :2]"', '"not there", "x"')
    )
    solution = toy.lesson("e01").solution
    solution.write_text(solution.read_text() + "\n\nREADY = double(1.0)\n")
    checks = toy.lesson("e01").checks
    checks.write_text(checks.read_text().replace('kind="step"', 'kind="shape"'))
    said = "\n".join(law.survey(Lesson(toy.root, "e01_toy"))[0])
    for words in (
        "expected 'factor 3' in it",
        "both has 2 hints",
        "occurs 0 times",
        "no check of kind 'step'",
        "does not import",
    ):
        assert words in said


def test_a_mistake_that_changes_nothing_or_breaks_python_is_named(toy):
    lesson = toy.lesson("e01")
    for mistake, says in (
        (Mistake("a", "double", "helper(x)", "helper(x)", "x"), "changes nothing"),
        (Mistake("b", "double", "helper(x)", "helper(", "x"), "not Python"),
        (Mistake("c", "doubel", None, "return x", "x"), "no hole 'doubel'"),
    ):
        with pytest.raises(CourseError, match=says):
            mistake.apply(lesson)
