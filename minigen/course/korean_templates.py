"""The sentences that a Python file may say to a learner, read from its syntax tree without running it.

A sentence is a template: what an f-string fills in is {0}, {1}, ... in order, a literal brace is doubled. Every string
counts that looks like prose, wherever it stands, but for docstrings and strings that only the code itself reads: so a
sentence that takes a detour (through a helper, a dictionary of likely causes, a sum of strings) is found as well. Its
parts are templates of their own then, and a translated text is put together as the English one was.
"""

from __future__ import annotations

import ast
import contextlib
import re
import string
from collections.abc import Iterator
from pathlib import Path

WORD = re.compile(r"[A-Za-z]{2,}")
# Of strings without gaps, those with operators in them and none of these are code.
PLAIN = r"(?!(?:if|else|not|and|or|in|for|return)\b)[a-z]+\b"
SENTENCE = re.compile(
    rf"\b{PLAIN}[:,;]? {PLAIN}|\b(?:the|is|are|of|at|it|this|to|be)\b|^not (?!.* else )", re.I
)
OPERATOR = re.compile(r"[*/+@=-] |\belse\b|\(1 -")
LETTERS = 6
# What these are called with is read by Python, not by people.
SILENT = {
    "exec",
    "compile",
    "eval",
    "split",
    "_words",
    "startswith",
    "endswith",
    "match",
    "search",
    "sub",
    "einsum",
}
SILENT |= {
    "raises",
    "warns",
    "filterwarnings",
    "simplefilter",
    "getattr",
    "hasattr",
    "skipif",
    "literal_eval",
}
SILENT_WORDS = {"match", "dtype", "ids", "metavar", "prog", "encoding", "action", "textcoords"}
MARKUP = re.compile(r"<\?|</?[a-z]+ |minigen (?:[a-z]+ )*[a-z0-9]*(?:\{|$)")  # XML, and a command to type


def templates(path: Path) -> list[str]:
    """The templates of a file in the order of its text, each once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shown = any(isinstance(node, ast.Name) and node.id == "__doc__" for node in ast.walk(tree))
    about = [(ast.get_docstring(tree) or "").replace("{", "{{").replace("}", "}}")] if shown else []
    lists = {name for node in ast.walk(tree) if (name := _taken_apart(node))}
    body = [node for node in tree.body if not lists.intersection(map(ast.unparse, _targets(node)))]
    return list(dict.fromkeys([*about, *(text for node in body for text in _walk(node))]))


def fields(template: str) -> list[str]:
    """The placeholders of a template, sorted: what a translation must have too."""
    return sorted(field for _, field, _, _ in string.Formatter().parse(template) if field is not None)


def _walk(node: ast.AST) -> Iterator[str]:
    """Templates below a node; a string that has been used up by a larger one is not looked at again."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    text: str | None = None
    if _taken_apart(node) and isinstance(node.func.value, ast.Constant):  # type: ignore[attr-defined]
        return  # words for the code
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
        text = _template([node])
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and _is_text(node.value):
        text = _template([node.target, node.value])
    if text is not None:
        if _is_prose(text):
            yield text.strip()
        parts = [node.target, node.value] if isinstance(node, ast.AugAssign) else [node]
        for inner in _filled([part for part in parts if isinstance(part, ast.expr)]):
            yield from _walk(inner)
        return
    for child in _heard(node):
        yield from _walk(child)


def _taken_apart(node: ast.AST) -> str:
    """`NAMES` of `NAMES.split()`: what is in it are words for the code."""
    split = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "split"
    return ast.unparse(node.func.value) if split else ""  # type: ignore[attr-defined]


def _targets(node: ast.stmt) -> list[ast.expr]:
    return (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AugAssign)
        else []
    )


def _heard(node: ast.AST) -> Iterator[ast.AST]:
    """The children of a node whose strings may reach a person."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or name in ("decorator_list", "annotation"):
                continue
            if name == "slice" and isinstance(getattr(node, "ctx", None), ast.Load):
                continue  # what is looked up is a key; what is stored there may be a cause
            if isinstance(child, ast.keyword) and child.arg in SILENT_WORDS:
                continue
            if isinstance(node, ast.Compare) and isinstance(child, ast.Constant):
                continue
            if isinstance(node, ast.Call) and name != "keywords" and _called(node) in SILENT:
                continue
            yield child


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_text(node: ast.AST) -> bool:
    """Whether a node is surely a string: one, an f-string, or a sum with one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _template(nodes: list[ast.AST]) -> str | None:
    """The template of a sum of nodes, None where none of them is a string."""
    if not any(map(_is_text, nodes)):
        return None
    count, pieces = 0, []
    for piece in _pieces(nodes):
        if isinstance(piece, str):
            pieces.append(piece.replace("{", "{{").replace("}", "}}"))
        else:
            pieces.append(f"{{{count}}}")
            count += 1
    return "".join(pieces)


def _pieces(nodes: list[ast.AST]) -> Iterator[str | ast.AST]:
    """Literal text, and the expressions between."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                yield from _pieces([part]) if isinstance(part, ast.Constant) else [part]
        elif isinstance(node, ast.BinOp) and _is_text(node) and isinstance(node.op, ast.Add):
            yield from _pieces([node.left, node.right])
        else:
            yield node


def _filled(nodes: list[ast.expr]) -> Iterator[ast.AST]:
    """The expressions that a template fills in; what formats them is not text."""
    for piece in _pieces(list(nodes)):
        if isinstance(piece, ast.FormattedValue):
            yield piece.value
        elif not isinstance(piece, str):
            yield piece


def _is_prose(template: str) -> bool:
    """Two words or more: what stands between placeholders, not a name, a format or an option."""
    if MARKUP.match(template):
        return False
    literal = "".join(text + " " for text, _, _, _ in string.Formatter().parse(template))
    if not fields(template) and _is_code(literal):
        return False
    words = WORD.findall(literal)
    return len(words) > 1 and " " in template.strip() and sum(map(len, words)) >= LETTERS


def _is_code(text: str) -> bool:
    """Whether a string is a formula or a program, which both languages write alike; or a file, which begins with #."""
    if text.startswith("#") and "\n" in text:
        return True
    if "\n" in text.strip() and " = " in text:
        with contextlib.suppress(SyntaxError):
            return bool(ast.parse(text.strip()))
    return bool(OPERATOR.search(text)) and not SENTENCE.search(text)
