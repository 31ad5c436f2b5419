"""`minigen gradcheck FILE[:NAME]`: what is found in a file, what is said, and the exit codes."""

import json
import sys
import textwrap

import pytest

from minigen.cli import main

FILE = """
    import numpy as np
    from minigen import nn, op, ops

    @op
    def scale(x, s):
        return x * s

    @scale.vjp
    def _(g, y, x, s):
        return lambda: g * s, lambda: g * x

    def scale_inputs(rng):
        return rng.normal(size=(3, 4)), rng.normal(size=4)

    @op
    def double(x):
        return 2.0 * x

    @double.vjp
    def _(g, y, x):
        return lambda: g

    class Net(nn.Module):
        def __init__(self, *, rng):
            self.layer = nn.Dense(7, 2, rng=rng)

        def __call__(self, x):
            return self.layer(x)

    class Needy(nn.Module):
        def __init__(self, n):
            self.n = n

    def loss(x, t):
        return ((x - t) ** 2).mean()

    def loss_grad(x, t):
        return 2 * (x - t) / x.size, -2 * (x - t) / x.size

    def helper(path):
        raise AssertionError("not to be called")
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write mine.py, with the folder as the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="mine.py"):
        (tmp_path / name).write_text(textwrap.dedent(text))

    return write


def test_a_whole_file(write, capsys):
    write(FILE)
    assert main(["gradcheck", "mine.py"]) == 1
    said = capsys.readouterr().out
    assert "scale: right" in said
    assert "double: the gradient of x is wrong" in said
    assert "a factor 2 is missing" in said
    assert "Net: right" in said
    assert "loss: right" in said
    assert "helper" not in said
    assert "left out: class Needy needs n: put an instance into the file" in said
    assert "mine.py: 3 of 4 right" in said


def test_one_name_of_a_file(write, capsys):
    write(FILE)
    assert main(["gradcheck", "mine.py:scale", "--order", "2", "--seed", "5"]) == 0
    assert "to second order" in capsys.readouterr().out


def test_shapes_from_the_command_line(write, capsys):
    write("from minigen import ops\ndef f(x, W, c): return (x @ W).sum() * c")
    shapes = [word for shape in ("2x3", "3x1", "scalar") for word in ("--shape", shape)]
    assert main(["gradcheck", "mine.py:f", *shapes]) == 0
    assert "W (3, 1): 3 of 3" in capsys.readouterr().out
    assert main(["gradcheck", "mine.py:f", "--shape", "2x3"]) == 2
    assert "f takes 3 arguments: --shape once for each" in capsys.readouterr().err
    assert main(["gradcheck", "mine.py:f", "--shape", "2x"]) == 2
    assert "'2x' is no shape" in capsys.readouterr().err


def test_a_file_of_plain_functions_is_checked_whole(write, capsys):
    write(
        "from minigen import ops\ndef f(x): return ops.tanh(x)\ndef g(x): return x.numpy()\ndef nothing(): pass"
    )
    assert main(["gradcheck", "mine.py"]) == 1
    said = capsys.readouterr().out
    assert "f: right" in said
    assert "g: f returned (3, 4) float64, an array and no Tensor" in said
    assert "nothing takes no arguments" in said


def test_an_instance_in_the_file_stands_for_its_class(write, capsys):
    write("from minigen import nn\nimport numpy as np\nnet = nn.Dense(6, 2, rng=np.random.default_rng(0))")
    assert main(["gradcheck", "mine.py"]) == 0
    assert "W (6, 2): 12 of 12" in capsys.readouterr().out


def test_json_is_json_whatever_the_file_prints(write, capsys):
    write("print('hello')\n" + textwrap.dedent(FILE))
    assert main(["gradcheck", "mine.py", "--json", "--seed", "3"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["seed"], told["file"]) == (False, 3, "mine.py")
    assert {check["name"]: check["state"] for check in told["checks"]} == {
        "scale": "right", "double": "wrong", "Net": "right", "loss": "right",
    }  # fmt: skip
    assert told["checks"][1]["report"]["variables"][0]["wrong"] == 12


def test_a_seed_repeats_a_run(write, capsys):
    write(FILE)
    said = []
    for _ in range(2):
        main(["gradcheck", "mine.py", "--seed", "11"])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "repeat with --seed 11" in said[0]


def test_a_stub_is_not_started(write, capsys):
    write("def f(x): raise NotImplementedError('f: write it')")
    assert main(["gradcheck", "mine.py"]) == 3
    assert "f: not started (mine.py, line 1: NotImplementedError: f: write it)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "target", "code", "says"),
    [
        ("x = 1", "other.py", 2, "no file other.py"),
        ("def f(x): return x", "mine.py:g", 2, "mine.py has no 'g'; it defines f"),
        ("x = 1", "mine.py:x", 2, "x is a int: only functions, ops and Modules"),
        ("x = 1", "mine.py", 1, "nothing to check in mine.py"),
        ("x = 1\ny = x / 0", "mine.py", 1, "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("def f(:", "mine.py", 1, "mine.py, line 1: SyntaxError"),
        ("import sys\nsys.exit(0)", "mine.py", 1, "mine.py, line 2: SystemExit"),
        ("from nowhere_at_all import x", "mine.py", 1, "mine.py, line 1: ModuleNotFoundError"),
    ],
)
def test_one_clear_line(write, capsys, text, target, code, says):
    write(text)
    assert main(["gradcheck", target]) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_errors_inside_a_check_name_the_line_and_help(write, capsys):
    write("from minigen import ops\n\ndef f(x, W):\n    return x @ W\n")
    assert main(["gradcheck", "mine.py"]) == 1
    said = capsys.readouterr().out
    assert "mine.py, line 4: ShapeError: matmul" in said
    assert "define f_inputs(rng)" in said


def test_loading_leaves_no_trace(write):
    write("value = 2.0", "beside.py")
    write("from beside import value\ndef f(x): return x * value")
    path, modules = list(sys.path), set(sys.modules)
    assert main(["gradcheck", "mine.py"]) == 0
    assert sys.path == path
    assert not {
        name for name in set(sys.modules) - modules if name in ("beside", "mine", "minigen_gradcheck_file")
    }


# In a process of its own


WHOLE = "from minigen import ops\nimport os, sys, atexit\ndef f(x): return ops.tanh(x)\n"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("import os; os._exit(0)", 1, "mine.py: Python ended (exit code 0) before the check was over"),
        (WHOLE + "print('mine.py: 1 of 1 right')\nos._exit(0)", 1, "your code must return, not exit"),
        (WHOLE + "import signal; os.kill(os.getpid(), signal.SIGSEGV)", 1, "killed by SIGSEGV"),
        (WHOLE + "raise KeyboardInterrupt", 1, "mine.py"),
        ("while True: pass", 4, "mine.py: still running after 1 s"),
        ("while True: print('x' * 1000)", 4, "mine.py: printed more than"),
        ("import numpy as np\nx = np.zeros(2**36)", 4, "mine.py, line 2: MemoryError"),
        (
            "import numpy as np\nnp.allclose = lambda *a, **k: True\ndef f(x): return x",
            1,
            "mine.py replaces numpy.allclose, which the check relies on",
        ),
        (
            "import minigen.gradcheck as g\nfrom minigen.checker import report\n"
            "report.Report.ok = property(lambda self: True)\ng.gradcheck = lambda *a, **k: None\ndef f(x): return x",
            1,
            "replaces minigen.",
        ),
    ],
)
def test_a_file_that_does_not_let_itself_be_checked(write, capsys, text, code, says):
    write(text)
    assert main(["gradcheck", "mine.py", "--seconds", "1"]) == code
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert "right" not in told.out


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("os._exit(0)", 1, "g: Python ended (exit code 0) before the check was over"),
        ("sys.exit(0)", 1, "g: mine.py, line 5: SystemExit: 0"),
        ("raise KeyboardInterrupt", 1, "g: mine.py, line 5: KeyboardInterrupt"),
        ("import ctypes; ctypes.string_at(0)", 1, "g: Python was killed by SIGSEGV"),
        ("while True: pass", 4, "g: still running after 1.5 s"),
        ("while True: os.write(1, b'x' * 9999)", 4, "g: printed more than"),
        ("import numpy as np; np.zeros(2**36)", 4, "g: out of memory"),
        ("os.closerange(3, 99)", 1, "g: Python ended"),
    ],
)
def test_a_check_that_dies_costs_itself_only(write, capsys, body, code, says):
    write(f"{WHOLE}def g(x):\n    {body}\ndef h(x): return ops.exp(x)\n")
    assert main(["gradcheck", "mine.py", "--seconds", "1.5"]) == code
    said = capsys.readouterr().out
    assert says in said
    assert "f: right" in said
    assert "h: right" in said
    assert "mine.py: 2 of 3 right" in said


def test_forged_words_are_shown_as_the_files_own_and_believed_by_nobody(write, capsys):
    forged = "\n".join(
        [
            "atexit.register(lambda: (print('mine.py: 1 of 1 right'), os._exit(0)))",
            "import json",
            "for fd in range(3, 30):",
            "    try: os.write(fd, json.dumps({'event': 'end', 'name': 'g', 'state': 'right'}).encode() + b'\\n')",
            "    except OSError: pass",
            "print('g: right')",
            "def g(x): return ops.tanh(x).detach() + x",
        ]
    )
    write(WHOLE + forged)
    assert main(["gradcheck", "mine.py"]) == 1
    said = capsys.readouterr().out
    assert "printed by mine.py:\n    g: right\n" in said
    assert "g: the gradient of x is wrong" in said
    assert said.splitlines()[-1] == "mine.py: 1 of 2 right"


def test_time_limits_that_are_none(capsys):
    assert main(["gradcheck", "mine.py", "--seconds", "nan"]) == 2
    assert "'nan' is no time limit" in capsys.readouterr().err


def test_help_tells_where_inputs_come_from(capsys):
    assert main(["gradcheck", "--help"]) == 0
    said = capsys.readouterr().out
    assert "NAME_inputs" in said
    assert "exit codes" in said
