"""Grades for other programs: Gradescope, JUnit, CSV; and for people, which exercises were hard."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from minigen.course.files import write_text
from minigen.course.language import spoken, term
from minigen.course.manifest import Lesson
from minigen.course.results import Record

FORMATS = ("gradescope", "junit", "csv", "jsonl")
COLUMNS = ("student", "lesson", "status", "score", "max_score", "message", "line", "seconds", "notes", "path")


def write(records: Sequence[Record], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Writes each format asked for; results.jsonl is the record of the run and there anyway."""
    written: list[Path] = []
    if "gradescope" in formats:
        for student, own in _by_student(records).items():
            name = re.sub(r"[^\w.-]", "_", student) or "submission"
            path = folder / "gradescope" / f"{name}.json"
            if path in written:  # two names that a file system cannot tell apart
                path = path.with_name(f"{name}-{len(written)}.json")
            write_text(path, json.dumps(gradescope(own), indent=1, ensure_ascii=False) + "\n")
            written.append(path)
    if "junit" in formats:
        write_text(folder / "junit.xml", junit(records))
        written.append(folder / "junit.xml")
    if "csv" in formats:
        write_text(folder / "grades.csv", table(records))
        written.append(folder / "grades.csv")
    return written


def gradescope(records: Sequence[Record]) -> dict[str, Any]:
    """results.json of one submission, with the fields of Gradescope's autograder specification."""
    tests = [
        {
            "name": f"{record['lesson']}: {hole['hole']}",
            "number": f"{int(record['lesson'][1:3])}.{number}",
            "score": hole["score"],
            "max_score": 1,
            "status": "passed" if hole["state"] == "done" else "failed",
            "output": _said(record, hole),
            "output_format": "text",
            "visibility": "visible",
            "tags": [record["lesson"], hole["state"]],
        }
        for record in records
        for number, hole in enumerate(record["holes"], 1)
    ]
    lines = [f"{one['lesson']}: {one['score']} of {one['max_score']} ({one['status']})" for one in records]
    lines += [
        one["message"] for one in records if one["status"] in ("missing", "unreadable", "refused", "error")
    ]
    return {
        "score": sum(record["score"] for record in records),
        "execution_time": round(sum(record["seconds"] for record in records), 1),
        "output": "\n".join(lines),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"seed": records[0]["seed"] if records else None},
        "tests": tests,
    }


def junit(records: Sequence[Record]) -> str:
    """One suite for each submission and lesson, one case for each hole."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for record in records:
        states = Counter(hole["state"] for hole in record["holes"])
        skipped = states["not started"] + states["missing"]
        broken = record["status"] == "error"
        lines.append(
            f"<testsuite name={_quoted(record['student'] + ' ' + record['lesson'])} tests='{len(record['holes'])}' "
            f"failures='{0 if broken else states['failing']}' errors='{len(record['holes']) * broken}' "
            f"skipped='{0 if broken else skipped}' time='{record['seconds']:.2f}'>"
        )
        for hole in record["holes"]:
            lines.append(
                f"<testcase classname={_quoted(record['student'] + '.' + record['lesson'])} "
                f"name={_quoted(hole['hole'])}>{_case(record, hole)}</testcase>"
            )
        lines.append("</testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def table(records: Sequence[Record]) -> str:
    """A line for each submission and lesson; cells that a spreadsheet would run are quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        cells = record | {"notes": "; ".join(record["notes"])}
        writer.writerow([_cell(cells[name]) for name in COLUMNS])
    return text.getvalue()


def summary(
    records: Sequence[Record], most: int = 10, lessons: Mapping[str, Lesson] | None = None
) -> list[str]:
    """Lines for people: the counts, and the exercises that fewest of those who began them finished."""
    begun: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        for hole in record["holes"]:
            if hole["state"] in ("done", "failing") and record["status"] not in ("refused", "error"):
                begun[record["lesson"], hole["hole"]].append(hole)
    counts = Counter(record["status"] for record in records)
    lines = [", ".join(term("status", f"{number} {status}") for status, number in counts.most_common())]
    hard = [(sum(hole["score"] for hole in holes) / len(holes), key, holes) for key, holes in begun.items()]
    hard = sorted((one for one in hard if one[0] < 1), key=lambda one: one[:2])[:most]
    if hard:
        lines.append(spoken("hardest, of those who began it:"))
    for share, (lesson, hole), holes in hard:
        done = spoken(f"{share:4.0%} of {len(holes)} done")
        failed = Counter(one["message"].partition("\n")[0] for one in holes if one["message"])
        often = spoken(failed.most_common(1)[0][0], (lessons or {}).get(lesson)) if failed else ""
        says = f"; {spoken('most often:')} {often[:100]}" if failed else ""
        lines.append(f"  {lesson[:3]}:{hole}  {done}{says}")
    return lines


def _said(record: Record, hole: Record) -> str:
    """What a student reads of one hole."""
    if record["status"] in ("missing", "unreadable", "refused", "error"):
        return str(record["message"])
    if hole["state"] == "done":
        return f"{hole['passed']} of {hole['checks']} checks pass"
    if hole["state"] == "not started":
        return "not started"
    where = f"\nline {hole['line']}" if hole["line"] else ""
    return f"{hole['kind'] + ' check: ' if hole['kind'] else ''}{hole['message']}{where}"


def _case(record: Record, hole: Record) -> str:
    if hole["state"] == "done":
        return ""
    says = _said(record, hole)
    if record["status"] == "error":
        return f"<error message={_quoted(says)}/>"
    if hole["state"] in ("not started", "missing"):
        return f"<skipped message={_quoted(says)}/>"
    return f"<failure message={_quoted(says.partition(chr(10))[0])}>{escape(_clean(says))}</failure>"


def _by_student(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["student"], []).append(record)
    return found


def _quoted(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return re.sub(
        "[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text
    )


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
