"""Where the course lies and which lessons it has: a lesson is whatever `solutions/eNN_topic.py` is there."""

from __future__ import annotations

import ast
import difflib
import functools
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from minigen.course.holes import Hole, find_holes
from minigen.errors import CourseError

LESSON = re.compile(r"e(\d\d)_([a-z0-9_]+)\Z")
PACKED = Path(__file__).resolve().parents[1] / "_course"  # where a wheel has it: setup.py puts it there


@dataclass(frozen=True)
class Lesson:
    """One lesson: a name, and the paths that follow from it.

    The text and the exercise are in the learner's folder; solution and checks are there too in a clone, and in the
    installed package where `minigen init` made the folder.
    """

    root: Path
    name: str

    @property
    def short(self) -> str:
        """`e03` of `e03_dense`."""
        return self.name.split("_")[0]

    @property
    def topic(self) -> str:
        """`dense` of `e03_dense`."""
        return self.name.split("_", 1)[1]

    @property
    def home(self) -> Path:
        """The folder of its solution and its checks."""
        return home(self.root)

    @property
    def solution(self) -> Path:
        return self.home / "solutions" / f"{self.name}.py"

    @property
    def exercise(self) -> Path:
        return self.root / "exercises" / f"{self.name}.py"

    @property
    def text(self) -> Path:
        return self.root / "exercises" / f"{self.name}.md"

    @property
    def checks(self) -> Path:
        return self.home / "tests" / "lessons" / f"test_{self.name}.py"

    @property
    def bank(self) -> Path:
        return self.home / "tests" / "lessons" / f"mistakes_{self.name}.py"

    @functools.cached_property
    def source(self) -> str:
        """The text of the solution."""
        return read_source(self.solution)

    @functools.cached_property
    def holes(self) -> tuple[Hole, ...]:
        """The holes in the order of the solution's text."""
        return find_holes(self.source, str(self.solution))

    @functools.cached_property
    def docstring(self) -> str:
        return ast.get_docstring(ast.parse(self.source)) or ""

    @property
    def title(self) -> str:
        """The first line of the solution's docstring, without its full stop and how long it takes."""
        first = re.sub(r"\(?\b(about )?\d+ minutes\b\)?", "", self.docstring.partition("\n")[0], flags=re.I)
        return first.strip(" .,;:") or self.topic

    @property
    def minutes(self) -> int:
        """How long the lesson takes: the docstring's "NN minutes", else a quarter of an hour per hole."""
        found = re.search(r"(\d+) minutes", self.docstring)
        return int(found[1]) if found else 15 * len(self.holes)

    @functools.cached_property
    def plugs(self) -> dict[str, str]:
        """The solution's PLUGS, read without running it."""
        found = literal(self.source, "PLUGS", str(self.solution))
        return {str(hole): str(target) for hole, target in found.items()} if isinstance(found, dict) else {}

    def hole(self, name: str) -> Hole:
        """The hole of that name; its last part alone is enough where it is unique."""
        exact = [hole for hole in self.holes if hole.name == name]
        loose = [
            hole
            for hole in self.holes
            if name.lower() in (hole.name.lower(), hole.name.split(".")[-1].lower())
        ]
        if len(exact or loose) == 1:
            return (exact or loose)[0]
        names = [hole.name for hole in self.holes]
        aliases = {word.lower(): word for word in names}
        for part in (0, -1):  # Dense stands for its methods, __call__ for every __call__
            for word in dict.fromkeys(each.split(".")[part] for each in names):
                meant = [each for each in names if each.split(".")[part] == word]
                aliases.setdefault(word.lower(), " or ".join(meant[:3]))
        raise CourseError(
            f"{self.name} has no hole {name!r}{_nearest(name.lower(), [], aliases)}; its holes: {', '.join(names)}"
        )


@dataclass(frozen=True)
class Course:
    """A folder that holds `exercises/`, and `solutions/` unless those are the installed package's."""

    root: Path

    @property
    def home(self) -> Path:
        """The folder of the solutions and the checks."""
        return home(self.root)

    @functools.cached_property
    def lessons(self) -> tuple[Lesson, ...]:
        """All lessons, in order."""
        files = sorted((self.home / "solutions").glob("e[0-9][0-9]_*.py"))
        return tuple(Lesson(self.root, file.stem) for file in files if LESSON.match(file.stem))

    def lesson(self, name: str) -> Lesson:
        """The lesson meant by `e05_conv`, `e05`, `5`, `conv`, `e05_c` or a path to one of its files."""
        wanted = Path(name).stem.lower() if name.endswith((".py", ".md")) else name.lower()
        wanted = f"e{int(wanted):02d}" if wanted.isdecimal() else wanted
        exact = [one for one in self.lessons if wanted in (one.name, one.short, one.topic)]
        loose = [one for one in self.lessons if one.name.startswith(wanted) or one.topic.startswith(wanted)]
        found = exact or (loose if wanted else [])
        if len(found) == 1:
            return found[0]
        if found:
            raise CourseError(
                f"{name!r} may mean {' or '.join(one.name for one in found)}: type more of the name"
            )
        names = [one.name for one in self.lessons]
        shorts = {one.topic: one.name for one in self.lessons} | {one.short: one.name for one in self.lessons}
        raise CourseError(
            f"no lesson {name!r}{_nearest(wanted, names, shorts)}; `minigen list` shows all of them"
        )

    def parse(self, target: str) -> tuple[Lesson, str | None]:
        """`e05:unfold` -> (lesson, "unfold"); `e05` -> (lesson, None)."""
        name, colon, hole = target.partition(":")
        lesson = self.lesson(name)
        return lesson, lesson.hole(hole).name if colon else None


def shipped() -> Path:
    """The course that came with minigen: inside the package of a wheel, around it in a clone."""
    return PACKED if PACKED.is_dir() else PACKED.parents[1]


def home(root: Path) -> Path:
    """Where the solutions and checks of the course under `root` are."""
    return root if (root / "solutions").is_dir() else shipped()


def find_root(start: Path | None = None) -> Path:
    """The nearest folder upwards with exercises/ that is a course's, else the clone minigen was installed from."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, PACKED.parents[1]):
        if (folder / "exercises").is_dir() and (
            (folder / "solutions").is_dir() or any((folder / "exercises").glob("e[0-9][0-9]_*.py"))
        ):
            return folder
    raise CourseError(
        f"no course here: neither {here} nor a folder above it holds exercises/; cd there, or make one: "
        "`minigen init DIR`"
    )


def any_home() -> Path:
    """Where the solutions are for somebody who may be anywhere: those of the course around, else minigen's own."""
    try:
        return home(find_root())
    except CourseError:
        return shipped()


def course(root: Path | str | None = None) -> Course:
    """The course under `root`, or the one around the working directory."""
    return Course(Path(root).resolve() if root is not None else find_root())


def reach(root: Path) -> None:
    """Makes `import solutions.eNN_topic` mean this course's, wherever the command was typed.

    The folder goes to the end of the path: a file of the learner's must not stand in for numpy.
    """
    if str(root) not in sys.path:
        sys.path.append(str(root))
    if "solutions" not in sys.modules:
        package = types.ModuleType("solutions")
        package.__path__ = [str(root / "solutions")]
        sys.modules["solutions"] = package


def read_source(path: Path) -> str:
    """The text of a Python file, or one line of error."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        again = (
            "; `minigen reset` makes it anew"
            if path.parent.name == "exercises" and path.suffix == ".py"
            else ""
        )
        raise CourseError(f"{path} is missing: expected a file of the course{again}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read ({error}); expected a UTF-8 text file") from None


def literal(source: str, name: str, filename: str) -> object | None:
    """The value of a module-level `name = <literal>`, without running the module; None if there is none."""
    for node in ast.parse(source).body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                raise CourseError(f"{filename}:{node.lineno}: {name} must be a plain literal") from None
    return None


def _nearest(name: str, names: list[str], aliases: dict[str, str] | None = None) -> str:
    """` (did you mean ...?)`, or nothing."""
    words = {word: word for word in names} | (aliases or {})
    found = difflib.get_close_matches(name, list(words), n=1, cutoff=0.5)
    return f" (did you mean {words[found[0]]}?)" if found else ""
