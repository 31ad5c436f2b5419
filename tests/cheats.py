"""Generic cheats: bodies for any hole of any lesson that know nothing of what it is to compute."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from minigen.course.holes import Hole, functions
from minigen.course.manifest import Lesson, course
from minigen.course.process import Limits
from minigen.course.verdict import Task, judge

# What somebody writes who hopes that nobody looks: `FIRST` is the hole's first argument.
CONSTANTS = {
    "nothing": "return None",
    "zero": "return 0.0",
    "one": "return 1.0",
    "yes": "return True",
    "an empty text": "return ''",
    "an empty tuple": "return ()",
    "its argument": "return FIRST",
    "zeros": "import numpy as n; return n.zeros_like(getattr(FIRST, 'data', FIRST))",
    "ones": "import numpy as n; return n.ones_like(getattr(FIRST, 'data', FIRST))",
    "not a number": "return float('nan')",
    "noise": "import numpy as n; return n.random.default_rng().normal(size=n.shape(getattr(FIRST, 'data', FIRST)))",
    "a generator of nothing": "return iter(())",
}
# What reaches for the judge. None of it may pass; most is refused before it runs.
REACHES = {
    "patched NumPy": "import numpy as n; n.allclose = n.array_equal = lambda *a, **k: True; return FIRST",
    "patched testing": "import numpy.testing as t; t.assert_allclose = lambda *a, **k: None; return FIRST",
    "patched isclose": "import math; math.isclose = lambda *a, **k: True; return 0.0",
    "patched engine": "import minigen.tensor as t; t.Tensor.__eq__ = lambda *a: True; return FIRST",
    "patched ops": "from minigen import ops; ops.sum = ops.mean = lambda *a, **k: a[0]; return FIRST",
    "patched pytest": "import pytest; pytest.approx = lambda *a, **k: Yes(); pytest.raises = None; return FIRST",
    "skipped": "import pytest; pytest.skip('later')",
    "excused": "import pytest; pytest.xfail('later')",
    "left": "import os; os._exit(0)",
    "exit": "raise SystemExit(0)",
    "an object that equals everything": "return Yes()",
    "an array that equals everything": "return Same.made(FIRST)",
    "a float that equals everything": "return Float(0)",
    "the check made deaf": (
        "import sys\nfor name, m in list(sys.modules.items()):\n    if name.startswith('test_'):\n"
        "        vars(m).update({k: (lambda *a, **k: None) for k in dir(m)})\nreturn FIRST"
    ),
    "its own solution": (
        "import importlib\nmodule = importlib.import_module('solu' + 'tions.' + LESSON)\n"
        "return getattr(module, HOLE)(FIRST)"
    ),
    "its own solution, loaded": (
        "import sys\nmodule = sys.modules['solu' + 'tions.' + LESSON]\nreturn getattr(module, HOLE)(FIRST)"
    ),
    "its own solution, read": "import glob; return [open(f).read() for f in glob.glob('*/' + LESSON + '.py')]",
    "the bank of mistakes": "import glob; return [open(f).read() for f in glob.glob('*/lessons/*' + LESSON + '.py')]",
    "the engine's own": "import minigen; return getattr(minigen, HOLE.split('.')[0])(FIRST)",
    "a warning for an error": "import warnings; warnings.simplefilter('ignore'); raise AssertionError from None",
}
SEALED_ONLY = {
    "the answer from the check's frame": (
        "import sys\n"
        "f = sys._getframe()\n"
        "while f:\n"
        "    for name in ('expected', 'wanted', 'want', 'right', 'truth', 'exact', 'reference'):\n"
        "        if name in f.f_locals: return f.f_locals[name]\n"
        "    f = f.f_back\n"
        "return FIRST"
    ),
}
CLASSES = {
    "Yes": """

class Yes:
    shape, dtype, data, requires_grad, size, ndim = (), "float32", 0.0, True, 1, 0
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = __bool__ = __contains__ = lambda self, *other: True
    __ne__ = lambda self, *other: False
    __sub__ = __rsub__ = __abs__ = __add__ = __radd__ = __mul__ = __truediv__ = __neg__ = lambda self, *other: self
    __getitem__ = __call__ = __getattr__ = lambda self, *key, **more: self
    __hash__ = __len__ = __int__ = lambda self: 1
    __float__ = lambda self: 0.0
    __iter__ = lambda self: iter(())
""",
    "Float": """

class Float(float):
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda self, other: True
    __sub__ = __rsub__ = __abs__ = lambda self, *other: self
    __hash__ = float.__hash__
""",
    "Same": """

class Same:
    @staticmethod
    def made(x):
        import numpy as n

        class Array(n.ndarray):
            __array_function__ = __array_ufunc__ = lambda self, *a, **k: True

        return n.zeros(3).view(Array)
""",
}


# Right at first, and then an old answer: what a constant would be that somebody saw in a check. To tell calls apart,
# the first knows nothing; the second looks at all that is no number.
KEPT = {"its first answer, kept": "None", "its first answer for arguments of a form, kept": "form((a, k))"}
KEEPER = """

def _kept(owner, name):
    def form(one, deep=4):
        if hasattr(one, "shape") and hasattr(one, "dtype"):
            return tuple(one.shape)
        if isinstance(one, (list, tuple)):
            return [form(each, deep) for each in one]
        if not isinstance(one, dict):
            one = getattr(one, "__dict__", {}) if deep and not callable(one) else {}
        return {str(key): form(each, deep - 1) for key, each in one.items()}

    raw = owner[name] if isinstance(owner, dict) else vars(owner)[name]
    honest, known = getattr(raw, "__func__", raw), {}

    def first(*a, **k):
        call = str(CALL)
        if call not in known:
            known[call] = honest(*a, **k)
        return known[call]

    if isinstance(owner, dict):
        owner[name] = first
    else:
        setattr(owner, name, type(raw)(first) if raw is not honest else first)


_kept(OWNER, NAME)
"""


def kept_answers(lesson: Lesson) -> Iterator[tuple[str, str, str]]:
    """The solution for each hole, but that the hole gives old answers"""
    for hole in lesson.holes:
        *owner, last = hole.name.split(".")
        keeper = KEEPER.replace("OWNER", ".".join(owner) or "globals()").replace("NAME", repr(last))
        for name, call in KEPT.items():
            yield name, hole.name, lesson.source + keeper.replace("CALL", call)


def cheats(lesson: Lesson, sealed: bool) -> Iterator[tuple[str, str, str]]:
    """(name of the cheat, hole, the lesson's solution with the cheat in that hole)

    On a learner's own machine frames are not closed: who looks for the answer there deceives nobody but themselves.
    """
    nodes = dict(functions(ast.parse(lesson.source)))
    for hole in lesson.holes:
        arguments = [*nodes[hole.name].args.posonlyargs, *nodes[hole.name].args.args]
        own = (
            [one.arg for one in arguments if one.arg != "self"] or [one.arg for one in arguments] or ["None"]
        )
        for name, body in (CONSTANTS | REACHES | (SEALED_ONLY if sealed else {})).items():
            text = (
                body.replace("FIRST", own[0])
                .replace("LESSON", repr(lesson.name))
                .replace("HOLE", repr(hole.name))
            )
            yield name, hole.name, _put(lesson.source, hole, text) + _helpers(body)


def _put(source: str, hole: Hole, body: str) -> str:
    lines = source.splitlines(keepends=True)
    new = "".join(f"{hole.indent}{line}\n" for line in body.splitlines())
    return "".join(lines[: hole.first - 1]) + new + "".join(lines[hole.last :])


def _helpers(body: str) -> str:
    """The classes that a body names: one that only equals everything is refused wherever it stands."""
    return "".join(text for name, text in CLASSES.items() if re.search(rf"\b{name}\b", body))


def passed(lesson: Lesson, sources: Iterable[tuple[str, str, str]], sealed: bool, seed: int = 0) -> list[str]:
    """Those of some cheats that pass: `name in hole`. Sealed as `minigen grade` judges, or as `minigen check` does."""
    tasks = {f"{name} in {hole}": Task(lesson.exercise, text, (hole,)) for name, hole, text in sources}
    limits = Limits(seconds=20, sealed=sealed)
    found = judge(lesson, tasks, seed=seed, limits=limits, stop_early=True)
    return [name for name, verdict in found.items() if verdict.exit_code not in (1, 4)]


if __name__ == "__main__":  # python -m tests.cheats [LESSON ...]: every cheat, on every hole, both ways
    for each in [course().lesson(name) for name in sys.argv[1:]] or course().lessons:
        again = passed(each, kept_answers(each), sealed=False)
        print(f"{each.short}, old answers: {', '.join(again) or 'none passes'}", flush=True)
        for closed in (True, False):
            bad = passed(each, cheats(each, closed), closed)
            print(
                f"{each.short}, {'sealed' if closed else 'open'}: {', '.join(bad) or 'none passes'}",
                flush=True,
            )
