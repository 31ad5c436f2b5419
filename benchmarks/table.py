"""The results for people: one row per case and thread count; rich if it is there, plain text, or Markdown."""

from __future__ import annotations

import math
import sys

from benchmarks.peers import PEERS

EMPTY = "-"


def rows(records: list[dict], names: list[str]) -> tuple[list[str], list[list[str]]]:
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
    mine = record["peers"].get("minigen", {}).get("median_ms")
    row = [record["case"], str(record["threads"])]
    row += [number(record["peers"].get(name, {}).get("median_ms")) for name in names]
    row += [number(record["ratios"].get(name)) for name in others]
    row.append(number(floor["floor_ms"] or None))
    row.append(number(mine / floor["floor_ms"] if mine and floor["floor_ms"] else None))
    row.append(number(1e3 * mine / floor["ops"] if mine and floor["ops"] else None))
    return row


def number(value: float | None) -> str:
    """Three figures, or a dash for what was not measured."""
    if value is None:
        return EMPTY
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def geometric_mean(records: list[dict], peer: str = "torch") -> float | None:
    """Of the ratios of the training steps, the cases called `..._step`."""
    found = [r["ratios"][peer] for r in records if r["case"].endswith("_step") and peer in r["ratios"]]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def conditions(result: dict) -> list[str]:
    """The sentences without which the table says nothing."""
    machine, first = result["machine"], result["records"][0]["floor"] if result["records"] else None
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    lines = [
        "; ".join(machine[k] for k in ("date", "cpu", "system", "libc")) + f"; {machine['cores']} cores",
        f"Python {machine['python']}; {versions}",
        f"medians of {result['rounds']} interleaved rounds of {result['seconds']:g} s; ratios paired",
    ]
    if first:
        rate, copy = first["flops_per_s"] / 1e9, first["bytes_per_s"] / 1e9
        lines.append(
            f"matrix products {rate:.0f} GFLOP/s, copies {copy:.0f} GB/s, on {result['threads'][0]} threads"
        )
    for threads in result["threads"]:
        mean = geometric_mean([r for r in result["records"] if r["threads"] == threads])
        if mean:
            lines.append(f"geometric mean of the steps over PyTorch eager, {threads} threads: {mean:.2f}")
    return lines


def markdown(result: dict) -> str:
    """The table for benchmarks/README.md"""
    header, body = rows(result["records"], result["peers"])
    lines = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body)]
    return "\n".join([*lines, "", *(f"- {line}" for line in conditions(result)), ""])


def plain(header: list[str], body: list[list[str]]) -> str:
    """Columns under their names, aligned with spaces"""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    table = [header, *body]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in table)


def show(result: dict) -> None:
    """Print the table and its conditions."""
    header, body = rows(result["records"], result["peers"])
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(plain(header, body))
    else:
        if sys.stdout.isatty():
            table = Table(*header)
            for line in body:
                table.add_row(*line)
            Console().print(table)
        else:
            print(plain(header, body))
    print(*conditions(result), sep="\n")
