"""`python -m benchmarks`: minigen beside its peers; a table on the screen, everything else in a JSON file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import cases, machine, table
from benchmarks.peaks import weigh_case
from benchmarks.peers import MALLOC_VARIABLES, PEERS, Peer
from benchmarks.results_file import Results, ResumeError
from benchmarks.rounds import run_case

RESULTS = Path("benchmarks/results")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--cases",
        type=case_names,
        help=f"comma-separated; or groups: {', '.join(cases.GROUPS)}; NAME_step:solutions is the step through the "
        "course's model, NAME_sample:12 draws images of side 12 (all layers, steps and samples)",
    )
    parser.add_argument("--peers", type=peer_names, default=list(PEERS), help="comma-separated")
    parser.add_argument("--threads", type=counts, default=[2], help="thread counts, comma-separated (2)")
    parser.add_argument("--rounds", type=positive(int), help="rounds per case (9; of --memory 3)")
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="per peer and round (0.5)")
    parser.add_argument("--memory", action="store_true", help="peak memory of a step in place of its time")
    parser.add_argument("--resume", action="store_true", help="go on with the cases that the JSON file lacks")
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help=f"default: {RESULTS}/latest.json, memory.json"
    )
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="also write the table as Markdown")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: tries the machinery, times nothing")
    options = parser.parse_args(argv)
    if options.cases is None:
        options.cases = [n for n in cases.NAMES if not (options.memory and n in cases.SAMPLES)]
    options.rounds = options.rounds or (3 if options.memory else 9)
    options.json = options.json or RESULTS / ("memory.json" if options.memory else "latest.json")
    return options


def case_names(text: str) -> list[str]:
    """Comma-separated cases and groups of them -> the cases, each once"""
    wanted = [case for name in names(text) for case in cases.GROUPS.get(name, (name,))]
    if unknown := [name for name in wanted if not cases.known(name)]:
        there = f"{', '.join(cases.NAMES)}; groups {', '.join(cases.GROUPS)}"
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {there}")
    return list(dict.fromkeys(wanted))


def peer_names(text: str) -> list[str]:
    """Comma-separated peers"""
    if unknown := [name for name in names(text) if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names(text)


def names(text: str) -> list[str]:
    """Comma-separated names, each once"""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


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
    try:
        results = Results(options.json, settings_of(options), resume=options.resume)
    except ResumeError as error:
        print(error, file=sys.stderr)
        return 2
    wanted = [(name, threads) for threads in options.threads for name in options.cases]
    interrupted = not go(results, wanted, present(options.peers), options)
    order = {case: i for i, case in enumerate(wanted)}
    results.records.sort(key=lambda r: order.get((r["case"], r["threads"]), len(order)))
    if results.records:
        results.write()
    table.show(results.as_dict())
    if options.markdown:
        options.markdown.write_text(table.markdown(results.as_dict()))
    print(f"all figures: {options.json}")
    if interrupted:
        done = sum(results.has(*case) for case in wanted)
        print(
            f"interrupted: {done} of {len(wanted)} cases are done; the same command with --resume goes on",
            file=sys.stderr,
        )
        return 130
    return 1 if any(record["errors"] for record in results.records) else 0


def settings_of(options: argparse.Namespace) -> dict:
    """What the figures depend on, but for the cases"""
    settings = {
        "machine": machine.facts(),
        "what": "memory" if options.memory else "time",
        "tiny": options.tiny,
    }
    settings |= {"peers": options.peers, "malloc": {name: malloc(PEERS[name]) for name in options.peers}}
    return settings | {"rounds": options.rounds} | ({} if options.memory else {"seconds": options.seconds})


def go(
    results: Results, wanted: list[tuple[str, int]], peers: list[Peer], options: argparse.Namespace
) -> bool:
    """Measure every case that is wanted and not done yet; False if Ctrl-C came between"""
    for name, threads in wanted:
        if results.has(name, threads):
            continue
        print(f"{name}, {threads} thread{'s' * (threads > 1)}", file=sys.stderr)
        how = {"threads": threads, "rounds": options.rounds, "tiny": options.tiny}
        try:
            if options.memory:
                record = weigh_case(name, peers, **how)
            else:
                record = run_case(name, peers, **how, seconds=options.seconds)
        except KeyboardInterrupt:
            return False
        for error in record["errors"]:
            print(error, file=sys.stderr)
        results.add(record)
    return True


def malloc(peer: Peer) -> dict[str, str]:
    """The malloc variables that this peer's worker runs with; none: the C library's defaults."""
    return {name: value for name, value in peer.environment.items() if name in MALLOC_VARIABLES}


if __name__ == "__main__":
    sys.exit(main())
