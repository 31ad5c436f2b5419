"""The fences of a solution: `# solution: <what to do>` ... `# end` inside a function makes it a hole."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from minigen.errors import CourseError

OPEN = re.compile(r"# solution\b:?\s*(.*)")
CLOSE = re.compile(r"# end\s*\Z")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Hole:
    """A function or method that the learner completes."""

    name: str
    todo: str
    first: int  # the line of `# solution:`, counted from 1
    last: int  # the line of `# end`
    indent: str

    def block(self, source: str) -> str:
        """The text between the fences."""
        return "".join(source.splitlines(keepends=True)[self.first : self.last - 1])


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """(qualified name, node) of every function and method; functions inside functions are part of those."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from functions(node, prefix)


def find_holes(source: str, filename: str) -> tuple[Hole, ...]:
    """The holes of a solution in text order; a CourseError names file:line of a bad fence."""
    try:
        named = list(functions(ast.parse(source)))
    except SyntaxError as error:
        raise CourseError(f"{filename}:{error.lineno}: the solution is not Python ({error.msg})") from None
    holes: list[Hole] = []
    for first, last, indent, todo in _blocks(source, filename):
        where = f"{filename}:{first}"
        inside = [(name, node) for name, node in named if node.lineno < first and last <= _end(node, source)]
        if not inside:
            raise CourseError(
                f"{where}: a solution block outside a function; expected it inside the one it completes"
            )
        name, node = inside[-1]
        if any(hole.name == name for hole in holes):
            raise CourseError(f"{where}: a second solution block in {name}; expected one block per function")
        if sum(other == name for other, _ in named) > 1:
            raise CourseError(f"{where}: {name} is defined more than once; a hole needs a name of its own")
        if not any(first < child.lineno < last for child in ast.walk(node) if isinstance(child, ast.stmt)):
            raise CourseError(
                f"{where}: the solution block of {name} is empty; expected the code that solves it"
            )
        holes.append(Hole(name, todo, first, last, indent))
    return tuple(holes)


def _blocks(source: str, filename: str) -> Iterator[tuple[int, int, str, str]]:
    """(first line, last line, indent, todo) of each fenced block."""
    opened: tuple[int, str, str] | None = None
    for line, indent, comment in _comments(source):
        where = f"{filename}:{line}"
        if found := OPEN.match(comment):
            if opened:
                raise CourseError(
                    f"{where}: a solution block inside the one of line {opened[0]}; expected `# end` first"
                )
            if not found[1] or ":" not in comment:
                raise CourseError(
                    f"{where}: expected `# solution: <what to do, in one line>`, found {comment!r}"
                )
            opened = line, indent, found[1]
        elif CLOSE.match(comment):
            if not opened:
                raise CourseError(f"{where}: `# end` without a `# solution:` before it")
            if indent != opened[1]:
                raise CourseError(
                    f"{where}: `# end` must be indented like the `# solution:` of line {opened[0]}"
                )
            yield opened[0], line, indent, opened[2]
            opened = None
    if opened:
        raise CourseError(
            f"{filename}:{opened[0]}: `# solution:` is never closed; expected `# end` after the block"
        )


def _comments(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, indent, text) of the comments that have a line to themselves; strings do not count."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            yield token.start[0], token.line[: token.start[1]], token.string


def _end(node: Function, source: str) -> int:
    """The last line that belongs to the function: comments at its depth count (the AST drops them)."""
    lines = source.splitlines()
    end = node.end_lineno or node.lineno
    while end < len(lines):
        text = lines[end]
        if text.strip() and not (
            text.lstrip().startswith("#") and len(text) - len(text.lstrip()) > node.col_offset
        ):
            break
        end += 1
    return end
