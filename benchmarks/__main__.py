"""`python -m benchmarks`: minigen beside its peers; a table on the screen, everything else in a JSON file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import cases, machine, table
from benchmarks.peers import MALLOC_VARIABLES, PEERS, Peer
from benchmarks.rounds import run_case


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--cases", type=names(cases.NAMES), default=list(cases.NAMES), help="comma-separated")
    parser.add_argument("--peers", type=names(tuple(PEERS)), default=list(PEERS), help="comma-separated")
    parser.add_argument("--threads", type=counts, default=[2], help="thread counts, comma-separated (2)")
    parser.add_argument("--rounds", type=positive(int), default=9, help="rounds per case (9)")
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="per peer and round (0.5)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/latest.json"), metavar="PATH")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="also write the table as Markdown")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: tries the machinery, times nothing")
    return parser.parse_args(argv)


def names(known: tuple[str, ...]):
    """A parser of comma-separated names out of `known`."""

    def parse(text: str) -> list[str]:
        wanted = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return list(dict.fromkeys(wanted))

    return parse


def positive(kind: type):
    """A parser of numbers above zero."""

    def parse(text: str):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text}: must be above 0")
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def counts(text: str) -> list[int]:
    """A parser of comma-separated thread counts."""
    return [positive(int)(part) for part in text.split(",")]


def present(wanted: list[str]) -> list[Peer]:
    """The wanted peers that are installed; what is missing is said once, with the way to get it."""
    peers = [PEERS[name] for name in wanted]
    if missing := sorted({peer.library for peer in peers if not peer.installed}):
        verb = "is" if len(missing) == 1 else "are"
        hint = 'pip install -e ".[bench]"'
        print(f"{', '.join(missing)} {verb} not installed ({hint}): going on without", file=sys.stderr)
    return [peer for peer in peers if peer.installed]


def main(argv: list[str] | None = None) -> int:
    """Run the cases; 0 if every case ran on every peer that is installed, 1 if one failed or differed."""
    options = arguments(argv)
    peers = present(options.peers)
    result: dict = {
        "machine": machine.facts(),
        "peers": options.peers,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "threads": options.threads,
        "tiny": options.tiny,
        "malloc": {peer.name: settings(peer) for peer in peers},
        "versions": {},
        "records": [],
    }
    for threads in options.threads:
        for name in options.cases:
            print(f"{name}, {threads} threads", file=sys.stderr)
            record = run_case(
                name,
                peers,
                threads=threads,
                rounds=options.rounds,
                seconds=options.seconds,
                tiny=options.tiny,
            )
            for error in record["errors"]:
                print(error, file=sys.stderr)
            for row in record["peers"].values():
                result["versions"] |= row.pop("versions")
            result["records"].append(record)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    table.show(result)
    if options.markdown:
        options.markdown.write_text(table.markdown(result))
    print(f"all figures: {options.json}")
    return 1 if any(record["errors"] for record in result["records"]) else 0


def settings(peer: Peer) -> dict[str, str]:
    """The malloc variables that this peer's worker runs with; none: the C library's defaults."""
    return {name: value for name, value in peer.environment.items() if name in MALLOC_VARIABLES}


if __name__ == "__main__":
    sys.exit(main())
