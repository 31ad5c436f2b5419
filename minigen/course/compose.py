"""A learner's file, and for each hole a module of it in which every other hole is the reference's.

All of it happens on syntax trees, before anything runs. What is the learner's keeps the learner's file name
and lines; what is the reference's is moved far beyond the last line before compiling, and moved back in the
compiled code under a name of its own, so that no traceback points into a line the learner did not write.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from minigen.course.holes import Function, functions
from minigen.course.manifest import Lesson
from minigen.course.stubs import make_stub
from minigen.course.trespass import trespass

FAR = 1_000_000
BLOCKS = ("body", "orelse", "finalbody")
BRANCHES = ast.If | ast.Try | ast.With
HOLDERS = ast.ClassDef | BRANCHES


class Refused(Exception):
    """The file as a whole cannot be judged: a syntax error, or it uses its own solution."""

    def __init__(self, message: str, line: int | None = None, source: str = "") -> None:
        super().__init__(message)
        self.line, self.source = line, source


@dataclass(frozen=True)
class Draft:
    """A learner's version of a lesson: the text, and the path that tracebacks name."""

    lesson: Lesson
    path: Path
    source: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; Refused where there is none or where it reaches for the solution."""
        try:
            tree = ast.parse(self.source, str(self.path))
        except SyntaxError as error:
            text = (error.text or "").rstrip("\n")
            caret = " " * max((error.offset or 1) - 1, 0) + "^"
            raise Refused(f"Python cannot read it: {error.msg}", error.lineno, f"{text}\n{caret}") from None
        except ValueError as error:
            raise Refused(f"Python cannot read it: {error}") from None
        line = _borrows(tree, self.lesson, _constants(self.lesson))
        if line:
            text = self.source.splitlines()[line - 1]
            says = (
                f"it uses its own solution, solutions/{self.lesson.name}.py: only your own code can be judged"
            )
            raise Refused(says, line, text)
        return tree

    def inspect(self) -> None:
        """Refused where the text reaches into the checks: what a learner's own file may, a submission may not."""
        if found := trespass(self.tree, _reference(self.lesson)):
            line, says = found
            text = self.source.splitlines()[line - 1].strip()
            raise Refused(
                f"{says}, which reaches into the checks and no exercise needs: take it out", line, text
            )

    def state(self, hole: str) -> str:
        """`not started` (as in the stub), `missing` (no such function) or `started`."""
        mine = dict(functions(self.tree)).get(hole)
        if mine is None:
            return "started" if hole in _assigned(self.tree) else "missing"
        return "not started" if _bare(mine) == _stub(self.lesson)[hole] else "started"

    def lines(self, hole: str) -> tuple[int, int]:
        """The first and the last line of the learner's version of a hole; (0, 0) if there is none."""
        mine = dict(functions(self.tree)).get(hole)
        return (mine.lineno, mine.end_lineno or mine.lineno) if mine else (0, 0)

    @functools.cached_property
    def states(self) -> dict[str, str]:
        return {hole.name: self.state(hole.name) for hole in self.lesson.holes}

    @property
    def copied(self) -> list[str]:
        """The holes that hold the reference's own code, but for comments and docstrings."""
        mine, solved = dict(functions(self.tree)), dict(functions(_reference(self.lesson)))
        names = [hole.name for hole in self.lesson.holes]
        return [name for name in names if name in mine and _bare(mine[name]) == _bare(solved[name])]

    def compose(self, *holes: str) -> ast.Module:
        """The learner's file with every hole but these as in the reference."""
        tree, reference = _opened(self.tree), _far(self.lesson.source)
        solved = dict(functions(reference))
        _restore(tree, reference)
        for hole in self.lesson.holes:
            if hole.name not in holes:
                _replace(tree, hole.name, solved[hole.name])
        return tree

    @functools.cached_property
    def whole(self) -> ast.Module:
        """The learner's file with all of its holes."""
        return self.compose(*self.states)

    @functools.cached_property
    def own(self) -> set[str]:
        """The holes that are not the reference's to the last name; it makes no difference whose the others are."""
        return {name for name, node in _dumps(self.lesson).items() if _dump(self.whole, name) != node}

    def compiled(self, tree: ast.Module) -> CodeType:
        """Code of a composed tree, each part under its own file name and lines."""
        code = compile(tree, str(self.path), "exec", dont_inherit=True)
        return _bring_back(code, f"<reference {self.lesson.name}>")


@functools.lru_cache(maxsize=32)
def _reference(lesson: Lesson) -> ast.Module:
    return ast.parse(lesson.source)


@functools.lru_cache(maxsize=32)
def _far(source: str) -> ast.Module:
    """The reference beyond FAR, made once: its nodes go into many learners' trees, and nothing there changes them."""
    return ast.increment_lineno(ast.parse(source), FAR)


@functools.lru_cache(maxsize=32)
def _dumps(lesson: Lesson) -> dict[str, str]:
    """The reference's holes as text."""
    solved = dict(functions(_reference(lesson)))
    return {hole.name: ast.dump(solved[hole.name]) for hole in lesson.holes}


@functools.lru_cache(maxsize=32)
def _stub(lesson: Lesson) -> dict[str, str]:
    """The stub's functions, bare."""
    return {name: _bare(node) for name, node in functions(ast.parse(make_stub(lesson)))}


def _bare(node: Function) -> str:
    """A function without its docstring, as text: comments, blank lines and prose do not start a hole."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return ast.dump(node.args) + "".join(map(ast.dump, body))


def _bring_back(code: CodeType, filename: str) -> CodeType:
    """Gives code from beyond FAR its real lines and `filename`; line tables are relative, so they follow."""
    far = code.co_firstlineno > FAR
    inner = (_bring_back(one, filename) if isinstance(one, CodeType) else one for one in code.co_consts)
    code = code.replace(co_consts=tuple(inner))
    return code.replace(co_firstlineno=code.co_firstlineno - FAR, co_filename=filename) if far else code


def _opened(node: Any) -> Any:
    """A copy that may be given other functions: the statements are the same, the blocks that hold them its own."""
    copied = copy.copy(node)
    for field in BLOCKS:
        if hasattr(node, field):
            block = [_opened(one) if isinstance(one, HOLDERS) else one for one in getattr(node, field)]
            setattr(copied, field, block)
    return copied


def _replace(tree: ast.Module, name: str, solved: Function) -> None:
    """Puts the reference's function where the learner's is; appends it where there is none."""
    if found := _place(tree, name):
        block, where = found
        block[where] = [solved]


def _place(tree: ast.Module, name: str) -> tuple[list[ast.stmt], slice] | None:
    """The block of a function and its place there, an empty one at the end if it is missing; None without its class."""
    body: list[ast.stmt] = tree.body
    *owners, last = name.split(".")
    for owner in owners:
        classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == owner]
        if not classes:
            return None  # the whole class is missing, and _restore has put the reference's there
        body = classes[-1].body
    places = [
        (block, node) for block, node in _statements(body) if isinstance(node, Function) and node.name == last
    ]
    if not places:
        return body, slice(len(body), None)
    block, node = places[-1]
    at = block.index(node)
    return block, slice(at, at + 1)


def _dump(tree: ast.Module, name: str) -> str:
    """What `_replace` would take out, as text."""
    block, where = _place(tree, name) or ([], slice(0))
    return "".join(map(ast.dump, block[where]))


def _statements(body: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], ast.stmt]]:
    """Every statement of a block with the list that holds it; into if, try and with, not into definitions."""
    for node in list(body):
        yield body, node
        if isinstance(node, BRANCHES):
            for field in BLOCKS:
                yield from _statements(getattr(node, field, []))


def _restore(tree: ast.Module, reference: ast.Module) -> None:
    """Adds what the reference defines at module level and the learner's file lacks, in its order."""
    mine = {name for node in tree.body for name in _binds(node)}
    for at, node in enumerate(reference.body):
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not _binds(node) or _binds(node) <= mine or "PLUGS" in _binds(node):
            continue
        later = {name for other in reference.body[at + 1 :] for name in _binds(other)}
        spots = [i for i, other in enumerate(tree.body) if _binds(other) & later]
        start = 1 if ast.get_docstring(tree) is not None else 0
        tree.body.insert(start if future else max(start, spots[0]) if spots else len(tree.body), node)
        mine |= _binds(node)


def _binds(node: ast.stmt) -> set[str]:
    """The names that a module-level statement defines."""
    if isinstance(node, ast.ClassDef | Function):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.If) and "__name__" in ast.dump(node.test):
        return set()
    stored = [one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
    return {one.id for one in stored}


def _assigned(tree: ast.Module) -> set[str]:
    """Qualified names bound by assignment, at module level or in a class: `relu = vectorize(...)` counts."""
    names = {name for node in tree.body for name in _binds(node) if not isinstance(node, ast.ClassDef)}
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        names |= {f"{owner.name}.{name}" for node in owner.body for name in _binds(node)}
    return names


def _borrows(tree: ast.Module, lesson: Lesson, known: set[str]) -> int | None:
    """The line where a file names its own solution, by an import or in a string; None if nowhere."""
    module = f"solutions.{lesson.name}"
    hidden: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name == module for alias in node.names):
            return node.lineno
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("solutions"):
            if any(alias.name in (lesson.name, "*") for alias in node.names):
                return node.lineno
        elif isinstance(node, ast.ImportFrom) and (node.module or "").endswith(module):
            return node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in known:
            hidden.append((node.lineno, node.value))
    lines = [line for line, text in hidden if re.search(rf"\b{lesson.name}", text)]
    spoken = any(re.search(r"\bsolutions\b", text) for _, text in hidden)
    return lines[0] if lines and spoken else None


@functools.lru_cache(maxsize=32)
def _constants(lesson: Lesson) -> set[str]:
    """The strings that stand in the reference anyway."""
    return {str(node.value) for node in ast.walk(_reference(lesson)) if isinstance(node, ast.Constant)}
