"""Who may import whom, who may say cupy, and what `import minigen` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "minigen").rglob("*.py"))

# The rooms of the house, lowest first; each imports rooms before it, itself, and nothing else of minigen.
FLOORS = [
    {"errors", "patience"},
    {"backend"},
    {"node"},
    {"guards"},
    {"rules"},
    {"recording"},
    {"broadcasting"},
    {"walk"},
    {"autograd"},
    {"blas"},
    {"ops", "workers"},
    {"operators"},
    {"tensor"},
    {"ranks"},
    {"nn", "distributions", "gradcheck", "checker"},
    {"optim", "data", "checkpoint", "plot"},
    {"training"},
    {"course"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "minigen")
    return relative.parts[0].removesuffix(".py")


def imported(path: Path):
    """(module, line) for each import statement, also those inside functions; `from minigen import x` as minigen.x."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import; write it out"
            if node.module == "minigen":
                yield from ((f"minigen.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards_only(path):
    here = room_of(path)
    if here == "__init__":
        return
    assert here in FLOOR, (
        f"{here}: a new room needs its floor in tests/test_imports.py (and in docs/design.md)"
    )
    for module, line in imported(path):
        first, *rest = module.split(".")
        assert first not in ("exercises", "solutions", "tests"), (
            f"{path}:{line}: minigen does not import {first}"
        )
        if first == "minigen" and rest and rest[0] in FLOOR:
            assert FLOOR[rest[0]] <= FLOOR[here], (
                f"{path}:{line}: {here} must not import {rest[0]}, which is above it"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_backend_imports_cupy(path):
    says = [line for module, line in imported(path) if module.split(".")[0] in ("cupy", "cupyx")]
    assert not says or path.name == "backend.py", f"{path}:{says}: only minigen/backend.py knows CuPy"


def defines_ops(path: Path) -> bool:
    marks = {
        getattr(d, "id", "")
        for n in ast.walk(ast.parse(path.read_text()))
        for d in getattr(n, "decorator_list", [])
    }
    return bool(marks & {"op", "fused"})


@pytest.mark.parametrize("path", [p for p in FILES if defines_ops(p)], ids=lambda p: p.name)
def test_ops_say_xp_not_numpy(path):
    """The same source computes on every backend."""
    says = [line for module, line in imported(path) if module.split(".")[0] == "numpy"]
    assert not says, f"{path}:{says}: ops say xp, not numpy"


THIRD_PARTY_AFTER_IMPORT = """
import sys
before = set(sys.modules)
import minigen
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(n for n in new - set(sys.stdlib_module_names) - {"minigen"} if "cython" not in n))  # NumPy's own
"""


def test_importing_minigen_brings_in_numpy_alone():
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}){THIRD_PARTY_AFTER_IMPORT}",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() in ("['numpy']", "[]"), found.stdout
    assert not found.stderr


def test_importing_minigen_has_no_side_effects_on_numpy():
    """No patched NumPy, no changed error state, no seed drawn, no thread started."""
    code = """
import numpy as np, threading
names = dict(vars(np))
before = (np.geterr(), np.random.get_state()[1].tolist(), threading.active_count())
import minigen
assert before == (np.geterr(), np.random.get_state()[1].tolist(), threading.active_count())
assert all(vars(np)[name] is value for name, value in names.items())
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
