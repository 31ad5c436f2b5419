"""What a file defines that has gradients, and with which inputs to check it: behind `minigen gradcheck FILE[:NAME]`."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigen.autograd import is_op
from minigen.checker.lend import is_module, parameters_of
from minigen.checker.signatures import required
from minigen.errors import MinigenError

DEFAULT = (3, 4)  # the shape of an argument about which nothing is known
LOADED_AS = "minigen_gradcheck_file"


class FileError(MinigenError, ValueError):
    """A file that cannot be checked: not there, or not what was asked for."""


class FailedFile(FileError):
    """A file that raises when it is run, or that has nothing to check."""

    exit_code = 1


@dataclass(frozen=True)
class Target:
    """Something to check: a name in the file, and its hand-written gradient if there is one."""

    name: str
    f: Callable[..., Any]
    gradient: Callable[..., Any] | None = None

    @property
    def count(self) -> int:
        """How many arguments it must have; one, if it does not tell."""
        n = required(self.f)
        return 1 if n < 0 else n


@contextlib.contextmanager
def loaded(path: Path) -> Iterator[ModuleType]:
    """The file as a module. Its folder leads sys.path for the length of the block; nothing else of Python changes."""
    if not path.is_file():
        raise FileError(f"gradcheck: no file {path}: give the path of a Python file, FILE or FILE:NAME")
    spec = importlib.util.spec_from_file_location(LOADED_AS, path.resolve())
    if spec is None or spec.loader is None:
        raise FileError(f"gradcheck: {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    before = dict.fromkeys([LOADED_AS, *(p.stem for p in path.resolve().parent.glob("*.py"))])
    kept = {name: sys.modules[name] for name in before if name in sys.modules}
    sys.path.insert(0, folder)
    sys.modules[LOADED_AS] = module
    try:
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise FailedFile(f"gradcheck: {where(error, path)}") from error
        yield module
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
        for name in before:
            if name not in kept and name in sys.modules:
                del sys.modules[name]


def where(error: BaseException, path: Path) -> str:
    """'FILE, line 12: ZeroDivisionError: division by zero': the line of the file that led to the error."""
    says = str(error).splitlines()[0] if str(error) else ""
    file = str(path.resolve())
    if isinstance(error, SyntaxError) and error.filename == file:
        line, says = error.lineno, error.msg
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = frames[-1].lineno if frames else None
    at = f"{path}, line {line}" if line else str(path)
    return f"{at}: {type(error).__name__}{': ' + says if says else ''}"


def find(
    module: ModuleType, path: Path, name: str | None, rng: np.random.Generator
) -> tuple[list[Target], list[str]]:
    """The targets of a file (or the one that was named), and a line for each thing that had to be left out."""
    own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    if name is not None:
        if name not in own:
            there = [key for key, value in own.items() if _is_ours(value) and not _helps(key, own)]
            raise FileError(f"gradcheck: {path} has no {name!r}; it defines {', '.join(there) or 'nothing'}")
        return [_target(name, own, rng)], []
    classes = {key: value for key, value in own.items() if _is_ours(value) and isinstance(value, type)}
    instances = [key for key, value in own.items() if is_module(value)]
    covered = {type(own[key]) for key in instances}
    names = [key for key, value in own.items() if _is_ours(value) and is_op(value)] + instances
    names += [
        key for key, value in classes.items() if hasattr(value, "named_parameters") and value not in covered
    ]
    functions = [
        key for key, value in own.items() if _is_ours(value) and _is_function(value) and not _helps(key, own)
    ]
    names += [key for key in functions if _companion(key, "grad", own) or _companion(key, "inputs", own)]
    names = names or functions
    found, left_out = [], []
    for key in names:
        try:
            target = _target(key, own, rng)
            if target.count or is_module(target.f):
                found.append(target)
            else:
                left_out.append(f"{key} takes no arguments: nothing to differentiate")
        except FileError as error:
            left_out.append(str(error).removeprefix("gradcheck: "))
    return found, left_out


def inputs_for(
    target: Target, module: ModuleType, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> tuple:
    """--shape; else NAME_inputs(rng) or inputs_NAME(rng) of the file; else (3, 4) for each positional argument."""
    if shapes and len(shapes) < target.count:
        raise FileError(
            f"gradcheck: {target.name} takes {target.count} arguments: --shape once for each of them"
        )
    if shapes:
        return tuple(rng.normal(size=shape) for shape in shapes)
    given = _companion(target.name, "inputs", vars(module))
    if given is not None:
        found = given(*[rng][: required(given)]) if callable(given) else given
        return tuple(found) if isinstance(found, tuple | list) else (found,)
    first = DEFAULT
    if is_module(target.f):
        matrices = [t.shape for t in parameters_of(target.f).values() if t.ndim == 2]
        first = (DEFAULT[0], matrices[0][0]) if matrices else DEFAULT
    return tuple(rng.normal(size=first) for _ in range(target.count))


def _target(name: str, own: dict[str, Any], rng: np.random.Generator) -> Target:
    value = own[name]
    if isinstance(value, type):
        value = _instance(name, value, rng)
    if not callable(value):
        raise FileError(
            f"gradcheck: {name} is a {type(value).__name__}: only functions, ops and Modules are checked"
        )
    return Target(name, value, None if is_op(value) else _companion(name, "grad", own))


def _instance(name: str, cls: type, rng: np.random.Generator) -> Any:
    """cls() or cls(rng=rng); what needs more must be made in the file."""
    parameters = inspect.signature(cls).parameters.values()
    flexible = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind not in flexible and p.name != "rng"
    ]
    if needed:
        raise FileError(
            f"gradcheck: class {name} needs {', '.join(needed)}: put an instance into the file, such as "
            f"{name.lower()} = {name}(...)"
        )
    return cls(rng=rng) if any(p.name == "rng" for p in parameters) else cls()


def _companion(name: str, what: str, own: dict[str, Any]) -> Any:
    return own.get(f"{name}_{what}", own.get(f"{what}_{name}"))


def _helps(name: str, own: dict[str, Any]) -> bool:
    """Whether a name is the companion of another."""
    for what in ("inputs", "grad"):
        if name.removesuffix(f"_{what}") in own.keys() - {name} or name.removeprefix(
            f"{what}_"
        ) in own.keys() - {name}:
            return True
    return False


def _is_function(value: Any) -> bool:
    return inspect.isfunction(value) and not is_op(value)


def _is_ours(value: Any) -> bool:
    return getattr(value, "__module__", None) == LOADED_AS
