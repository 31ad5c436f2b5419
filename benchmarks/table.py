"""The results for people: a row per case and thread count; rich if it is there, plain text, or Markdown."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from benchmarks.cases import COURSE
from benchmarks.peers import PEERS

EMPTY = "-"
Table = tuple[list[str], list[list[str]]]  # header, cells


def tables(result: dict) -> list[Table]:
    """Steps and layers, then samplers; or memory. A table without rows is left out."""
    names, records = result["peers"], result["records"]
    if result.get("what") == "memory":
        return [memory_rows(records, names)]
    steps = [r for r in records if not is_sampler(r)]
    samplers = [r for r in records if is_sampler(r)]
    found = (rows(steps, names), sampler_rows(samplers, names))
    return [table for table in found if table[1]]


def is_sampler(record: dict) -> bool:
    """pixelcnn_sample, pixelcnn_sample:12, ..."""
    return record["case"].partition(":")[0].endswith("_sample")


def rows(records: list[dict], names: list[str]) -> Table:
    """Header and cells. A ratio is minigen's time over the peer's: below 1, minigen is faster."""
    others = [name for name in names if name != "minigen"]
    header = ["case", "threads"]
    header += [f"{PEERS[name].title}, ms" for name in names]
    header += [f"minigen / {PEERS[name].title}" for name in others]
    header += ["floor, ms", "minigen / floor", "us per op"]
    return header, [cells(record, names, others) for record in records]


def cells(record: dict, names: list[str], others: list[str]) -> list[str]:
    """One record as text."""
    floor = record["floor"]
    mine = figure(record, "minigen", "median_ms")
    row = [record["case"], str(record["threads"])]
    row += [number(figure(record, name, "median_ms")) for name in names]
    row += [number(record["ratios"].get(name)) for name in others]
    row.append(number(floor["floor_ms"] or None))
    row.append(number(mine / floor["floor_ms"] if mine and floor["floor_ms"] else None))
    row.append(number(1e3 * mine / floor["ops"] if mine and floor["ops"] else None))
    return row


def sampler_rows(records: list[dict], names: list[str]) -> Table:
    """Header and cells. The ratio is the other way round, for it is large: how many times as fast minigen draws."""
    return beside(records, names, "ms", "median_ms", "{} / minigen", inverse)


def memory_rows(records: list[dict], names: list[str]) -> Table:
    """Header and cells: the most memory resident during a step. A ratio is minigen's over the peer's."""
    return beside(records, names, "MB", "peak_mb", "minigen / {}", lambda ratio: ratio)


def beside(
    records: list[dict],
    names: list[str],
    unit: str,
    measure: str,
    title: str,
    shown: Callable[[float | None], float | None],
) -> Table:
    """Header and cells: what each peer measured, then the ratio to each of them, as `shown` makes it, under `title`"""
    others = [name for name in names if name != "minigen"]
    header = ["case", "threads", *(f"{PEERS[name].title}, {unit}" for name in names)]
    header += [title.format(PEERS[name].title) for name in others]
    body = []
    for record in records:
        row = [record["case"], str(record["threads"])]
        row += [number(figure(record, name, measure)) for name in names]
        body.append(row + [number(shown(record["ratios"].get(name))) for name in others])
    return header, body


def figure(record: dict, peer: str, name: str) -> float | None:
    """What a peer measured; None if it did not"""
    return record["peers"].get(peer, {}).get(name)


def inverse(ratio: float | None) -> float | None:
    """1 / ratio"""
    return 1 / ratio if ratio else None


def number(value: float | None) -> str:
    """Three figures, two below 0.1, or a dash for what was not measured."""
    if value is None:
        return EMPTY
    if 0 < value < 0.1:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def geometric_mean(records: list[dict], peer: str = "torch", variant: str = "") -> float | None:
    """Of the ratios of the training steps, the cases called `..._step` or `..._step:VARIANT`."""
    end = f"_step:{variant}" if variant else "_step"
    found = [r["ratios"][peer] for r in records if r["case"].endswith(end) and peer in r["ratios"]]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def conditions(result: dict) -> list[str]:
    """The sentences without which the tables say nothing."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    lines = [
        "; ".join(machine[k] for k in ("date", "cpu", "system", "libc")) + f"; {machine['cores']} cores",
        f"Python {machine['python']}; {versions}",
    ]
    if result.get("what") == "memory":
        return [
            *lines,
            f"medians of {result['rounds']} processes each: the most memory resident during a step, the first ones not "
            "counted, above what was resident before the case was built (data, parameters, optimizer, graph, and what "
            "a library keeps for the next step)",
        ]
    lines.append(
        f"medians of {result['rounds']} interleaved rounds of {result['seconds']:g} s; ratios paired"
    )
    for threads in result["threads"]:
        lines += summary([r for r in result["records"] if r["threads"] == threads], threads)
    return lines


def summary(records: list[dict], threads: int) -> list[str]:
    """The machine's rates, and the geometric means of the steps, at one number of threads"""
    if not records:
        return []
    rate, copy = (max(r["floor"][name] for r in records) / 1e9 for name in ("flops_per_s", "bytes_per_s"))
    lines = [f"matrix products {rate:.0f} GFLOP/s, copies {copy:.0f} GB/s, on {counted(threads)}"]
    for variant, said in (("", "the steps"), (COURSE, "the steps through solutions/")):
        if mean := geometric_mean(records, variant=variant):
            lines.append(f"geometric mean of {said} over PyTorch eager, {counted(threads)}: {mean:.2f}")
    return lines


def counted(threads: int) -> str:
    """1 thread, 2 threads"""
    return f"{threads} thread{'s' * (threads > 1)}"


def markdown(result: dict) -> str:
    """The tables for benchmarks/README.md"""
    lines = []
    for header, body in tables(result):
        lines += ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body)]
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in conditions(result)), ""])


def plain(header: list[str], body: list[list[str]]) -> str:
    """Columns under their names, aligned with spaces"""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    table = [header, *body]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in table)


def show(result: dict) -> None:
    """Print the tables and their conditions."""
    for header, body in tables(result):
        print_table(header, body)
        print()
    print(*conditions(result), sep="\n")


def print_table(header: list[str], body: list[list[str]]) -> None:
    """rich's on a terminal, if it is there; plain elsewhere"""
    try:
        from rich.console import Console
        from rich.table import Table as RichTable
    except ImportError:
        print(plain(header, body))
        return
    if not sys.stdout.isatty():
        print(plain(header, body))
        return
    shown = RichTable(*header)
    for line in body:
        shown.add_row(*line)
    Console().print(shown)
