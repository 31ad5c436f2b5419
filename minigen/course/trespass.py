"""What a submission has no business with, found in its text before anything runs: ways into the checks themselves.

An exercise needs NumPy, minigen and ordinary Python. Frames, closures, other modules' innards and objects that
pretend to equal everything have one use here, to change what a check sees: a file with them is refused, by name and
line.
What the reference itself says is always allowed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator


def _words(text: str, form: str = "{}") -> frozenset[str]:
    return frozenset(form.format(word) for word in text.split())


# Modules that hand out frames, run texts, or find anything by a name that may be glued together.
MODULES = _words(
    "ctypes _ctypes cffi dis importlib imp builtins __main__ inspect bdb pdb trace code codeop runpy doctest pydoc "
    "pkgutil pickle _pickle marshal shelve copyreg dill cloudpickle unittest rlcompleter logging.config _operator "
    "sys.modules zipimport _pytest pluggy minigen.course minigen.cli _testcapi _testinternalcapi"
)
INNARDS = _words(
    "globals builtins closure code subclasses loader spec getattribute wrapped self func defaults kwdefaults import "
    "traceback",
    "__{}__",
)
INNARDS |= _words(
    "f_back f_locals f_globals f_builtins f_trace f_code tb_frame gi_frame cr_frame ag_frame cell_contents builtins "
    "_getframe _getframemodulename _current_frames settrace setprofile addaudithook currentframe "
    "get_objects get_referrers get_referents make_dataclass new_class ABCMeta"
)
PRETENCE = _words("array_function array_ufunc instancecheck subclasscheck eq ne bool", "__{}__")
HANDED_ON = _words(
    "sys _sys builtins importlib inspect gc ctypes _operator"
)  # as attributes of other modules
EXECUTES = _words("exec eval compile")
ORDER = _words("lt le gt ge", "__{}__")
ARITHMETIC = _words("sub rsub abs array", "__{}__")


def trespass(tree: ast.Module, reference: ast.Module) -> tuple[int, str] | None:
    """(line, what is wrong) of the first thing in a file that reaches into its checks; None where there is none."""
    known = {name for _, name in _names(reference)}
    refused = (INNARDS | PRETENCE) - known
    found = [(line, f"it says {name}") for line, name in _names(tree) if name in refused]
    found += [(line, f"it imports {name}") for line, name in _imports(tree) if _within(name, MODULES)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.Attribute | ast.Name | ast.ClassDef) and (
            says := _odd(node, known)
        ):
            found.append((node.lineno, says))
    return min(found, default=None)


def _odd(node: ast.Call | ast.Attribute | ast.Name | ast.ClassDef, known: set[str]) -> str:
    """What is wrong with one node that a name alone does not tell; '' where nothing is."""
    if isinstance(node, ast.Call):
        made = isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) > 1
        return "it makes a class with type()" if made else ""
    if isinstance(node, ast.Attribute):
        if node.attr == "__dict__" and not (
            isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        ):
            return "it says __dict__ of something that is not self"
        if node.attr in HANDED_ON:
            return f"it says {ast.unparse(node)}"
        hidden = node.attr == "modules" and ast.unparse(node.value).split(".")[-1] == "sys"
        return "it says sys.modules" if hidden and "sys.modules" not in known else ""
    if isinstance(node, ast.Name):
        return f"it calls {node.id}()" if node.id in EXECUTES - known else ""
    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    if node.name in known:
        return ""
    if methods & ORDER and methods & ARITHMETIC:
        return f"its class {node.name} redefines both comparison and arithmetic"
    return (
        f"its class {node.name} is an array of its own kind"
        if any("ndarray" in ast.dump(base) for base in node.bases)
        else ""
    )


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every name, attribute, method, keyword of a pattern, and string that could name one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
            if node.attr == "modules":
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.MatchClass):
            yield from ((node.lineno, name) for name in node.kwd_attrs)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:  # `import sys as s` would hide what is said of sys
                yield node.lineno, "sys.modules" if alias.name == "sys" and alias.asname else alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _within(name: str, modules: frozenset[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:end]) in modules for end in range(1, len(parts) + 1))
