"""What is said in English and not yet in Korean: `python -m minigen.course.korean [eNN ...] [--add]`.

A lesson's Korean is its text, `exercises/ko/eNN_topic.md`, and a table, `exercises/ko/eNN_topic.toml`: title, [todo],
[hints], [messages]; [words] may hold more, for single words that fill gaps. The command line's sentences stand in
`minigen/lang/ko.toml`. An empty string is a translation that is missing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from minigen.course.files import write_text
from minigen.course.korean_templates import fields, templates
from minigen.course.manifest import Course, Lesson, any_home, course, read_source
from minigen.course.mistakes import load_bank
from minigen.errors import CourseError, MinigenError

PACKAGE = Path(__file__).resolve().parents[1]
PHRASES = PACKAGE / "lang" / "ko.toml"
# Tools for those who write lessons speak English only: `python -m minigen.course.stubs` and its like.
AUTHORS = {"course/korean.py", "course/korean_templates.py", "course/law.py", "course/stubs.py"}
AUTHORS |= {"data/make_subset.py"}
COMPARED = ("e16_claims", "claims_lab", "claims_report", "claims_tables")  # what `minigen compare` says

SYLLABUS = """# 단원

단원은 본문(`.md`) 하나와, 채울 빈칸이 있는 연습 문제(`.py`) 하나입니다. 단원도 빈칸도 따로 설 수 있으니
아무 순서로나 하세요. 단원이 다른 단원에서 필요로 하는 것은 모범 답안에서 옵니다.

| 단원 | 내용 | 빈칸 | 시간 |
|---|---|---|---|
{rows}
`minigen --lang ko`는 지금 어디까지 왔는지 보여 줍니다. 매번 `--lang ko`를 붙이지 않으려면 환경 변수
`MINIGEN_LANG=ko`를 설정하세요. `minigen read e01`은 본문을 보여 주고, `minigen check e01`은 여러분이 쓴 것을
빈칸마다 판정해 무엇이 틀렸는지 말해 주며, `minigen watch e01`은 저장할 때마다 그렇게 합니다.
`minigen hint e01`은 한 걸음씩 도와주고, `minigen solution e01`은 모범 답안을 여러분의 코드와 나란히 보여 주고,
`minigen reset e01`은 처음부터 다시 시작하게 합니다(백업을 남깁니다).

용어는 [용어집](glossary.md)에, 영어 본문은 [위 폴더](../README.md)에 있습니다.
이 글은 `python -m minigen.course.korean --add`가 씁니다.
"""


def table_of(lesson: Lesson) -> Path:
    """Where a lesson's Korean table stands."""
    return lesson.text.parent / "ko" / f"{lesson.name}.toml"


def english(lesson: Lesson) -> dict[str, Any]:
    """All that a lesson says beside its text, in the form of a table whose values are the English."""
    return {
        "title": lesson.title,
        "todo": {hole.name: hole.todo for hole in lesson.holes},
        "hints": {hole: list(hints) for hole, hints in load_bank(lesson).hints.items()},
        "messages": {one: one for one in templates(lesson.checks)} if lesson.checks.exists() else {},
    }


def speakers() -> list[Path]:
    """The files whose sentences a command may print: all of minigen but its authors' tools, models, the comparison"""
    package = [path for path in sorted(PACKAGE.rglob("*.py")) if "_course" not in path.parts]
    spoken = [path for path in package if path.relative_to(PACKAGE).as_posix() not in AUTHORS]
    solutions = sorted((any_home() / "solutions").glob("*.py"))
    return spoken + [
        path
        for path in solutions
        if path.stem in COMPARED or re.search(r"^PRESETS\b", read_source(path), re.M)
    ]


def phrases() -> dict[str, Any]:
    """The same for the command line."""
    found = [template for path in speakers() for template in templates(path)]
    return {"phrases": dict.fromkeys(found, "") | {template: template for template in found}}


def read_table(path: Path) -> dict[str, Any]:
    """A table; empty if there is none yet."""
    if not path.exists():
        return {}
    try:
        return tomllib.loads(read_source(path))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path} is no TOML: {error}") from None


def complaints(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One line for each sentence that is missing, left over, or has other gaps than the English."""
    lines = []
    for section, entries in wanted.items():
        if isinstance(entries, str):
            lines += _compare(section, entries, found.get(section, ""))
            continue
        others = found.get(section, {})
        for key, own in entries.items():
            if isinstance(own, str):
                lines += _compare(f"[{section}] {key!r}", own, others.get(key, ""), section != "todo")
                continue
            given = others.get(key, [])
            if len(given) > len(own):
                lines.append(f"left over: [{section}] {key!r} has {len(given)} entries, expected {len(own)}")
            for at, one in enumerate(own):
                lines += _compare(
                    f"[{section}] {key!r}, {at + 1}", one, given[at] if at < len(given) else "", False
                )
        lines += [
            f"left over: [{section}] {key!r}" for key, other in others.items() if other and key not in entries
        ]
    return lines


def _compare(where: str, own: str, other: str, gaps: bool = True) -> list[str]:
    if not other:
        return [f"missing: {where}"]
    if not gaps:
        return []
    try:
        same = fields(own) == fields(other)
    except ValueError as error:
        return [f"broken: {where}: {error}"]
    return (
        []
        if same
        else [f"other gaps: {where}: {', '.join(fields(other)) or 'none'}; expected {', '.join(fields(own))}"]
    )


def written(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """A table as text: the English as it is now, each with the Korean that was found; what is left over, at the end."""
    lines = []
    for section, entries in wanted.items():
        if isinstance(entries, str):
            lines += [f"# {entries}", f"{section} = {_quoted(found.get(section, ''))}"]
            continue
        others = dict(found.get(section, {}))
        lines += ["", f"[{section}]"]
        for key, own in entries.items():
            lines += _entry(key, own, others.pop(key, None))
        others = {key: other for key, other in others.items() if other}
        if others:
            lines += [
                "# left over: the English is gone, or was changed",
                *(f"{_quoted(k)} = {_quoted(v)}" for k, v in others.items()),
            ]
    if words := found.get("words"):
        lines += ["", "[words]", *(f"{_quoted(key)} = {_quoted(value)}" for key, value in words.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _entry(key: str, own: Any, other: Any) -> list[str]:
    """A key with its value; the English stands above where the key is not the English itself."""
    if isinstance(own, str):
        above = [] if own == key else [f"# {own}"]
        return [*above, f"{_quoted(key)} = {_quoted(other or '')}"]
    given = [*(other or []), *[""] * len(own)][: max(len(own), len(other or []))]
    shown = ["# " + one.replace("\n", "\n# ") for one in own]
    return [*shown, f"{_quoted(key)} = [", *(f"  {_quoted(one)}," for one in given), "]"]


def _quoted(value: Any) -> str:
    """A TOML basic string (JSON's escapes are TOML's), or a list of them."""
    return json.dumps(value, ensure_ascii=False)


def syllabus(where: Course) -> str:
    """exercises/ko/README.md: every lesson in order, with its Korean title."""
    rows = "".join(
        f"| [{one.name}]({one.name}.md) | {read_table(table_of(one)).get('title') or one.title} | {len(one.holes)} "
        f"| {one.minutes}분 |\n"
        for one in where.lessons
    )
    return SYLLABUS.format(rows=rows)


def survey(where: Course, names: list[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """name -> (its table's path, the English): of the lessons named, or of all and the command line."""
    lessons = [where.lesson(name) for name in names if name != "cli"] or (
        list(where.lessons) if not names else []
    )
    found = {lesson.name: (table_of(lesson), english(lesson)) for lesson in lessons}
    return found if names and "cli" not in names else {**found, "cli": (PHRASES, phrases())}


def main(argv: list[str] | None = None) -> int:
    """0 nothing is missing, 1 something is."""
    parser = argparse.ArgumentParser(
        prog="python -m minigen.course.korean", description="What is not yet said in Korean."
    )
    parser.add_argument("names", nargs="*", metavar="LESSON", help="lessons, or cli; default: all of them")
    parser.add_argument("--add", action="store_true", help="write the missing keys, with the empty string")
    parser.add_argument("--short", action="store_true", help="counts only")
    args = parser.parse_args(argv)
    bad = 0
    try:
        where = course()
        page = where.root / "exercises" / "ko" / "README.md"
        if args.add:
            write_text(page, syllabus(where))
        elif not args.names and (not page.exists() or read_source(page) != syllabus(where)):
            bad += 1
            print(f"{page} is stale: run `python -m minigen.course.korean --add`")
        for name, (path, wanted) in survey(where, args.names).items():
            table = read_table(path)
            if args.add:
                write_text(path, written(wanted, table))
            lines = complaints(wanted, table)
            if name != "cli" and not path.with_suffix(".md").exists():
                lines.append(f"missing: the text {path.with_suffix('.md').name}")
            bad += len(lines)
            print(f"{name}: {len(lines)} to do" if lines else f"{name}: complete")
            for line in [] if args.short else lines:
                print(f"  {line}")
    except MinigenError as error:
        print(f"minigen: {error}", file=sys.stderr)
        return error.exit_code
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
