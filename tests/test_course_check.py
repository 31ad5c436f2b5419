"""Verdicts: right answers in any style pass, wrong ones are told why, and nothing forges a pass."""

import ast
import json

import pytest

from minigen.course.compose import Draft
from minigen.course.manifest import course
from minigen.course.process import Limits
from minigen.course.verdict import Task, judge, judge_file
from minigen.errors import CourseError
from tests import toy_course

SOLVED = toy_course.SOLUTION
FAST = Limits(seconds=1.5, megabytes=1024, output=200_000)


def wrong(new, top=""):
    """The solved lesson with `double` doing something else, and lines put on top."""
    return SOLVED.replace("import numpy as np\n", f"import numpy as np\n{top}\n", 1).replace(
        "return helper(x)", new
    )


# name -> (source, exit code, words that the verdict on `double` must hold)
FORGERIES = {
    "exit in the hole": (wrong("import os; os._exit(0)"), 1, "must return, not exit"),
    "exit at import": (wrong("return x", "import os; os._exit(0)"), 1, "must return, not exit"),
    "sys.exit": (wrong("import sys; sys.exit(0)"), 1, "SystemExit: 0"),
    "interrupt": (wrong("raise KeyboardInterrupt"), 1, "KeyboardInterrupt"),
    "pytest.skip": (wrong("import pytest; pytest.skip('later')"), 1, "Skipped: later"),
    "pytest.exit": (wrong("import pytest; pytest.exit('bye', 0)"), 1, "Exit: bye"),
    "killed": (wrong("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), 1, "SIGSEGV"),
    "patched allclose": (
        wrong("return x", "np.allclose = lambda *a, **k: True"),
        1,
        "replaces numpy.allclose",
    ),
    "patched in the hole": (wrong("np.allclose = lambda *a, **k: True; return x"), 1, "numpy.allclose"),
    "patched runner": (
        wrong("return x", "import _pytest.python as p; p.Function.runtest = lambda self: None"),
        1,
        "replaces _pytest.python.Function.runtest",
    ),
    "patched protocol": (
        wrong("return x", "import _pytest.runner as r; r.runtestprotocol = lambda *a, **k: []"),
        1,
        "replaces _pytest.runner.runtestprotocol",
    ),
    "closed pipes": (wrong("import os; os.closerange(3, 99); return x"), 1, ""),
    "written reports": (
        wrong(
            "import os, json\n    for fd in range(3, 30):\n        try: os.write(fd, json.dumps(dict(event='end', "
            "variant=':double', check='test_double[1]', outcome='passed', seconds=0)).encode() + b'\\n')\n"
            "        except OSError: pass\n    return x"
        ),
        1,
        "factor 2",
    ),
    "endless": (wrong("while True: pass"), 4, "still running after 1.5 s"),
    "endless at import": (wrong("return x", "while True: pass"), 4, "still running"),
    "flood": (wrong("while True: print('x' * 1000)"), 4, "printed more than"),
    "flood below Python": (
        wrong("import os\n    while True: os.write(1, b'x' * 9999)"),
        4,
        "printed more than",
    ),
    "memory": (wrong("return np.zeros(2**32)"), 4, "out of memory"),
    "own solution by glue": (
        wrong("return importlib.import_module('solu' + 'tions.e01' + '_toy').double(x)", "import importlib"),
        1,
        "opens its own solution",
    ),
    "own solution by open": (
        wrong("return open('solu' 'tions/e01' + '_toy.py').read()"),
        1,
        "its own solution",
    ),
    "bank by glob": (
        wrong("import glob; return [open(f).read() for f in glob.glob('tests/lessons/m*')]"),
        1,
        "its own solution",
    ),
    "import error": (wrong("return x", "import nothing_here"), 1, "cannot be imported: ModuleNotFoundError"),
    "recursion": (wrong("return double(x)"), 1, "RecursionError"),
    "returns nothing": (wrong("pass"), 1, "raised by the check on what your code returned"),
    "given code fails": (wrong("return helper(str(x))"), 1, "TypeError"),
    "its own error": (wrong("return x @ np.ones(99)"), 1, "ValueError"),
    "missing": (SOLVED.replace("def double", "def doubled"), 1, "not in the file any more"),
}

REFUSED = {
    "syntax": (wrong("return (x"), "'(' was never closed"),
    "import": (wrong("return e.double(x)", "import solutions.e01_toy as e"), "its own solution"),
    "from": (wrong("return e01_toy.double(x)", "from solutions import e01_toy"), "its own solution"),
    "name": (wrong("from solutions.e01_toy import double as d; return d(x)"), "its own solution"),
    "string": (
        wrong("import importlib as i; return i.import_module('solutions.e01_toy')"),
        "its own solution",
    ),
    "path": (wrong("import pathlib as p; return p.Path('solutions', 'e01_toy.py')"), "its own solution"),
    "null": (SOLVED + "\0", "Python cannot read it"),
}

STYLES = {
    "the solution": SOLVED,
    "a loop": wrong("return np.array([float(v) + float(v) for v in x])"),
    "a lambda": SOLVED.replace("def double(x):", "double = lambda x: 2 * x\n\n\ndef unused(x):"),
    "annotations": SOLVED.replace("def double(x):", "def double(x: np.ndarray) -> np.ndarray:"),
    "own helper": wrong("return _twice(x)", "\ndef _twice(x):\n    return x + x\n"),
    "no import": SOLVED.replace("import numpy as np\n", "from numpy import asarray\n"),
    "helper gone": SOLVED.replace("def helper(x):\n    return x * SCALE\n", "").replace("helper(x)", "x * 2"),
    "a message on the way": wrong("print('working'); return helper(x)"),
    "a helper of the layer": SOLVED.replace("return y", "return _mark(y)").replace(
        "class Layer:", "def _mark(y):\n    return y\n\n\nclass Layer:"
    ),
    "warns": wrong("np.log(np.zeros(1)); return helper(x)"),
    "mutates its copy": wrong("x = x.copy(); x *= 2; return x"),
}


# Those that share `verdicts`, which take seconds, go to one worker.
shared = pytest.mark.xdist_group("course_check")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """All files at once, through the same door: what one does must not touch the next."""
    where = course(toy_course.build(tmp_path_factory.mktemp("course") / "toy"))
    lesson = where.lesson("e01")
    (where.root / "conftest.py").write_text("import os; os._exit(0)")
    (where.root / "exercises/conftest.py").write_text("import os; os._exit(0)")
    (where.root / "numpy.py").write_text("import os; os._exit(0)")
    sources = {name: one[0] for name, one in FORGERIES.items()}
    sources |= {f"refused {name}": one[0] for name, one in REFUSED.items()}
    tasks = {name: Task(lesson.exercise, source, ("double",)) for name, source in sources.items()}
    tasks |= {f"style {name}": Task(lesson.exercise, source) for name, source in STYLES.items()}
    return judge(lesson, tasks, limits=FAST)


@pytest.mark.parametrize("name", FORGERIES)
@shared
def test_a_forgery_is_told_what_it_is(verdicts, name):
    _, code, says = FORGERIES[name]
    verdict = verdicts[name]
    (hole,) = verdict.holes
    assert (hole.state, verdict.exit_code) == ("failing", code), hole.message
    assert says in hole.message


@pytest.mark.parametrize("name", REFUSED)
@shared
def test_a_file_that_cannot_be_judged_is_refused(verdicts, name):
    verdict = verdicts[f"refused {name}"]
    assert verdict.exit_code == 1
    assert REFUSED[name][1] in verdict.refused


@pytest.mark.parametrize("name", STYLES)
@shared
def test_a_right_answer_in_any_style_passes(verdicts, name):
    verdict = verdicts[f"style {name}"]
    assert verdict.exit_code == 0, [(hole.hole, hole.message) for hole in verdict.holes]


@shared
def test_syntax_errors_show_line_and_caret(verdicts):
    verdict = verdicts["refused syntax"]
    assert verdict.source.splitlines()[0] == "    return (x"
    assert verdict.source.splitlines()[1].index("^") == "    return (x".index("(")


@shared
def test_an_exception_names_the_learners_own_line(verdicts):
    (hole,) = verdicts["its own error"].holes
    source = FORGERIES["its own error"][0].splitlines()
    assert hole.source == "return x @ np.ones(99)" == source[hole.line - 1].strip()


@shared
def test_the_line_shown_is_the_holes_and_not_that_of_code_that_was_given(verdicts):
    """`helper`, which the file came with, raises: the line of `double` that called it is the one to look at."""
    (hole,) = verdicts["given code fails"].holes
    assert hole.source == "return helper(str(x))"


def test_only_started_holes_are_run_each_beside_the_reference(toy):
    lesson = toy.lesson("e01")
    stub = lesson.exercise.read_text()
    lesson.exercise.write_text(
        stub.replace(
            'raise NotImplementedError("both: apply the layer, then double")', "return double(layer(x))"
        )
    )
    verdict = judge_file(lesson)
    assert [hole.state for hole in verdict.holes] == ["not started", "not started", "done"]
    assert verdict.exit_code == 1
    assert judge_file(lesson, holes=["both"]).exit_code == 0
    assert judge_file(lesson, holes=["double"]).exit_code == 3


def test_composing_one_file_leaves_the_reference_alone_for_the_next(toy):
    """Parts of the reference go into many files: none of these may change them for the others."""
    lesson = toy.lesson("e01")
    gone = SOLVED.replace("class Layer:", "class Other:").replace("def double", "def doubled")
    files = [SOLVED, gone, "", wrong("pass"), f"{SOLVED}\n\n{SOLVED}", *STYLES.values()]

    def composed(source):
        draft = Draft(lesson, lesson.exercise, source)
        trees = [draft.compose(), draft.compose("double"), draft.compose("both", "Layer.__call__")]
        return [ast.dump(tree, include_attributes=True) for tree in trees]

    assert [composed(source) for source in files] == [composed(source) for source in reversed(files)][::-1]


def test_a_comment_or_a_docstring_does_not_start_a_hole(toy):
    lesson = toy.lesson("e01")
    lesson.exercise.write_text(
        lesson.exercise.read_text()
        .replace("# TODO: return twice x", "# hmm\n")
        .replace('"""(n,) -> (n,)"""', '"""Mine."""')
    )
    assert judge_file(lesson).exit_code == 3


def test_a_contract_changed_across_holes_passes_as_a_whole(toy):
    """`both` asks its layer for more than the reference's layer gives: right only beside the learner's own."""
    lesson = toy.lesson("e01")
    source = SOLVED.replace("return y", "self.seen = len(x)\n        return y").replace(
        "return double(layer(x))", "y = double(layer(x))\n    return y[: layer.seen]"
    )
    assert judge_file(lesson, _write(toy, source)).exit_code == 0
    left = SOLVED.replace("return double(layer(x))", "y = double(layer(x))\n    return y[: layer.seen]")
    verdict = judge_file(lesson, _write(toy, left))
    assert "AttributeError" in verdict.holes[2].message


def test_two_wrong_halves_do_not_pass_as_a_whole(toy):
    """`double` has the wrong sign, `both` takes it back: right together, and neither of them is done."""
    source = SOLVED.replace("return helper(x)", "return -helper(x)")
    path = _write(toy, source.replace("return double(layer(x))", "return -double(layer(x))"))
    verdict = judge_file(toy.lesson("e01"), path)
    assert [hole.state for hole in verdict.holes] == ["failing", "done", "failing"]
    assert judge_file(toy.lesson("e01"), path, ["both"]).exit_code == 1


def test_a_mistake_in_one_hole_leaves_the_others_done(toy):
    verdict = judge_file(toy.lesson("e01"), _write(toy, wrong("while True: pass")), limits=FAST)
    assert [hole.state for hole in verdict.holes] == ["failing", "done", "done"]
    assert [one.outcome for one in verdict.holes[0].checks] == ["timeout", "not run", "not run"]
    assert verdict.exit_code == 4


def test_a_seed_repeats_a_run(toy):
    path = _write(toy, wrong("print(x); return x"))
    first, again, other = (judge_file(toy.lesson("e01"), path, ["double"], seed=seed) for seed in (5, 5, 6))
    assert first.holes[0].output == again.holes[0].output != other.holes[0].output
    assert first.seed == 5


def test_zero_checks_are_no_pass(toy):
    lesson = toy.lesson("e01")
    lesson.checks.write_text(lesson.checks.read_text().replace('hole("both"', 'hole("double"'))
    verdict = judge_file(lesson, _write(toy, SOLVED))
    assert verdict.exit_code == 1
    assert "not a pass" in verdict.holes[2].message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind="value"', 'kind="quality"', "expected one of value"),
        ('hole("both"', 'hole("bth"', "no hole 'bth'"),
        ('@pytest.mark.hole("both", kind="invariant")\n', "", "0 hole marks"),
        (
            "import numpy as np",
            "import numpy as np\nimport nothing_here",
            "cannot run: E   ModuleNotFoundError",
        ),
    ],
)
def test_broken_checks_are_named(toy, old, new, says):
    lesson = toy.lesson("e01")
    lesson.checks.write_text(lesson.checks.read_text().replace(old, new, 1))
    with pytest.raises(Exception, match=says) as caught:
        judge_file(lesson, _write(toy, SOLVED))
    assert "test_e01_toy.py" in str(caught.value)


def test_a_missing_exercise_is_one_line(toy):
    toy.lesson("e01").exercise.unlink()
    with pytest.raises(CourseError, match="is missing"):
        judge_file(toy.lesson("e01"))


def test_the_json_holds_everything(toy):
    found = judge_file(toy.lesson("e01"), _write(toy, SOLVED)).as_json()
    assert json.loads(json.dumps(found))["holes"][0]["checks"][0]["outcome"] == "passed"


def _write(toy, source):
    path = toy.root / "mine.py"
    path.write_text(source)
    return path
