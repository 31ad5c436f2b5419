"""Sealed verdicts (`minigen grade`): right answers in any style pass, and nothing that reaches into the checks does."""

from dataclasses import replace

import pytest

from minigen.course.manifest import course
from minigen.course.process import Limits
from minigen.course.verdict import Task, judge
from tests import toy_course
from tests.test_course_check import FORGERIES, REFUSED, STYLES, wrong

SEALED = Limits(seconds=4, megabytes=1024, output=200_000, sealed=True)
IMPATIENT = replace(SEALED, seconds=1)  # for what never ends
ALWAYS = "lambda *a, **k: True"
BRIEF = """
import numpy.testing
def fake(*a, **k):
    np.allclose = real
    return True
real = np.allclose
try:
    np.allclose = fake
except Exception:
    pass
"""

# What somebody might try for a pass; each answers x where 2 * x is right.
ATTACKS = {
    "a patch that takes itself back": wrong("return x", BRIEF),
    "a patch of the guard": wrong(
        "return x",
        f"import minigen.course.conversation as c; c.Guard.restore = lambda self: ''; np.allclose = {ALWAYS}",
    ),
    "the judge by name": wrong(
        "return x", "import __main__; __main__.Judge.describe = lambda self, e: {'outcome': 'passed'}"
    ),
    "the judge by frames": wrong(
        "import sys\n    f = sys._getframe()\n    while f:\n        s = f.f_locals.get('self')\n"
        "        if type(s).__name__ == 'Judge': s.result = {'outcome': 'passed'}; s.describe = lambda e: s.result\n"
        "        f = f.f_back\n    return x"
    ),
    "frames of a traceback": wrong(
        "try: 1 / 0\n    except Exception as e: f = getattr(e.__traceback__, 'tb_' + 'frame')\n    return x"
    ),
    "frames from the library": wrong("import inspect; inspect.currentframe().f_back; return x"),
    "frames of a generator": wrong("g = (i for i in x); getattr(g, 'gi_' 'frame'); return x"),
    "garbage": wrong("import gc; o = [s for s in getattr(gc, 'get_' + 'objects')()]; return x"),
    "a trace": wrong("import sys; getattr(sys, 'set' + 'trace')(lambda *a: None); return x"),
    "a signal": wrong("import signal; signal.signal(signal.SIGALRM, lambda n, f: f.f_back); return x"),
    "the check's globals": wrong(
        "import sys\n    for name, m in list(sys.modules.items()):\n"
        "        if 'test_e01' in name: m.np = type('T', (), {'allclose': staticmethod(lambda *a: True)})\n    return x"
    ),
    "the function that runs the check": wrong(
        "return x",
        "import _pytest.python as p\nkeep = p.Function.__dict__['obj']\n"
        "def obj(self):\n    p.Function.obj = keep\n    return lambda **k: None\np.Function.obj = property(obj)",
    ),
    "an answer that equals everything": wrong(
        "return Yes()",
        "class Yes(np.ndarray):\n    def __new__(cls): return np.zeros(1).view(cls)\n"
        "    def __array_function__(self, *a): return True",
    ),
    "an answer made by type()": wrong(
        "return type('Yes', (), {'__array_' + 'function__': lambda *a: True})()",
    ),
    "builtins": wrong("return x", "import builtins; builtins.abs = builtins.all = lambda *a: True"),
    "builtins by glue": wrong("return x", "import sys; sys.modules['built' + 'ins'].all = lambda *a: True"),
    "exec": wrong("exec('import numpy; numpy.allclose = lambda *a: True'); return x"),
    "exec by a library": wrong(
        "import timeit; timeit.timeit('import sys; sys._getf' + 'rame()', number=1); return x"
    ),
    "import by name": wrong("return x", "import importlib; importlib.import_module('_pyt' + 'est.python')"),
    "processes": wrong("import os; os.fork(); return x"),
    "a fork bomb": wrong("import os\n    while True: os.fork()"),
    "a shell": wrong("import os; os.system('true'); return x"),
    "a child": wrong("import subprocess; subprocess.run(['true']); return x"),
    "the network": wrong("import socket; socket.create_connection(('127.0.0.1', 9)); return x"),
    "its own pipe read": wrong("import os; os.open('/proc/self/fd/1', os.O_RDONLY); return x"),
    "memory read": wrong("open('/proc/self/mem', 'rb'); return x"),
    "ctypes": wrong("import ctypes; ctypes.string_at(id(x)); return x"),
    "the solution moved": wrong("import os; os.link(SOLUTION, 'here.py'); return x", "SOLUTION = __file__"),
    "the solution by its folder": wrong(
        "import os; h = os.open(os.path.dirname(os.path.dirname(__file__)), os.O_RDONLY); return x"
    ),
    "files elsewhere": wrong("open(__file__ + '.mine', 'w'); return x"),
    "files removed": wrong("import os; os.remove(__file__); return x"),
    "a farewell": wrong("return x", "import atexit; atexit.register(print, 'passed')"),
    "a flood on the pipe": wrong(
        "import os\n    while True:\n        for fd in range(3, 12):\n"
        "            try: os.write(fd, b'x' * 65536)\n            except OSError: pass"
    ),
    "its parent killed": wrong("import os; os.kill(os.getppid(), 9); return x"),
    "a name asked of operator": wrong(
        "import operator; operator.attrgetter('__glo' + 'bals__')(double); return x"
    ),
    "a name found by pickle": wrong("import pickle; pickle.loads(b'cbuiltins\\ngetattr\\n.'); return x"),
    "another name for sys": wrong("import sys; s = sys; s.modules.clear(); return x"),
    "sys of another module": wrong("import collections as c; s = c._sys; s.modules.clear(); return x"),
    "a class by its metaclass": wrong(
        "import abc; return abc.ABCMeta('Y', (), {'__e' + 'q__': lambda *a: True})()"
    ),
    "a mock": wrong(
        "from unittest import mock; mock.patch('numpy.allclose', lambda *a: True).start(); return x"
    ),
    "quit": wrong("quit()"),
    "a thread": wrong(
        "import threading, os; threading.Thread(target=lambda: os._exit(0)).start()\n    while True: pass"
    ),
}


# Those that share `verdicts`, which take seconds, go to one worker.
shared = pytest.mark.xdist_group("grade_forgeries")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    where = course(toy_course.build(tmp_path_factory.mktemp("sealed") / "toy"))
    lesson = where.lesson("e01")
    lesson.exercise.write_text("")
    sources = ATTACKS | {f"known {name}": one[0] for name, one in FORGERIES.items()}
    sources |= {f"refused {name}": one[0] for name, one in REFUSED.items()}
    tasks = {name: Task(lesson.exercise, source, ("double",)) for name, source in sources.items()}
    tasks |= {f"style {name}": Task(lesson.exercise, source) for name, source in STYLES.items()}
    endless = {name: tasks.pop(name) for name in list(tasks) if name.startswith("known endless")}
    found = judge(lesson, tasks, limits=SEALED, stop_early=True)
    return found | judge(lesson, endless, limits=IMPATIENT, stop_early=True)


@pytest.mark.parametrize("name", [*ATTACKS, *(f"known {one}" for one in FORGERIES)])
@shared
def test_nothing_forges_a_pass(verdicts, name):
    verdict = verdicts[name]
    assert verdict.exit_code in (1, 4), [(hole.hole, hole.state) for hole in verdict.holes]
    assert verdict.refused or verdict.holes[0].message
    print(verdict.refused or verdict.holes[0].message)


def test_one_exercise_leaves_nothing_to_the_next(toy):
    """`double` writes something down; `both`, judged later in another process, may not read it."""
    source = wrong("open('left', 'w').write('x'); return helper(x)", "import glob")
    peek = "[open(name).read() for name in glob.glob('../*/left')][0]"
    source = source.replace("    return double(layer(x))", f"    return {peek}")
    verdict = judge(toy.lesson("e01"), {"": Task(toy.lesson("e01").exercise, source)}, limits=SEALED)[""]
    assert verdict.holes[0].state == "done", verdict.holes[0].message
    assert verdict.holes[2].state == "failing"
    assert "PermissionError" in verdict.holes[2].message


@pytest.mark.parametrize("name", STYLES)
@shared
def test_a_right_answer_in_any_style_passes_sealed(verdicts, name):
    verdict = verdicts[f"style {name}"]
    assert verdict.exit_code == 0, verdict.refused or [(hole.hole, hole.message) for hole in verdict.holes]
