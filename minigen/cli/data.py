"""`minigen data list|get|verify`: which data sets there are, fetching them, checking every byte of them."""

import argparse
import json
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

from minigen.course.console import filled, say, tell
from minigen.course.language import spoken, term

PASSED, FAILED = 0, 1


def add(parsers) -> None:
    """Add `data` and its verbs to the sub-parsers of the command line."""
    data = parsers.add_parser("data", help="list, download and verify data sets", description=__doc__)
    data.set_defaults(run=list_sets, json=False, data_dir=None)
    verbs = data.add_subparsers(title="verbs", metavar="VERB")

    verb = verbs.add_parser("list", help=spoken("which sets there are and where they lie"))
    _common(verb, list_sets)

    verb = verbs.add_parser("get", help=spoken("download a set, checked, whole or not at all"))
    verb.add_argument("name", metavar="NAME", help="mnist or fashion-mnist")
    verb.add_argument("--dest", metavar="DIR", help="keep it in DIR/NAME (default: the download cache)")
    verb.add_argument(
        "--mirror",
        metavar="URL",
        action="append",
        default=[],
        type=_web_address,
        help="folder on the web that holds the IDX files, instead of the built-in mirrors (may be repeated)",
    )
    verb.add_argument("--json", action="store_true", help="print the result as JSON")
    verb.set_defaults(run=get)

    verb = verbs.add_parser("verify", help=spoken("hold every file found against its published checksum"))
    verb.add_argument(
        "names", metavar="NAME", nargs="*", help="sets that must be complete (default: look at all)"
    )
    _common(verb, verify)


def _common(verb, run) -> None:
    verb.add_argument(
        "--data-dir", metavar="DIR", help="look in DIR only (default: MINIGEN_DATA, then the cache)"
    )
    verb.add_argument("--json", action="store_true", help="print the result as JSON")
    verb.set_defaults(run=run)


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no web address, expected http:// or https://")
    return text


def list_sets(args) -> int:
    """Print every set, its size, its licence and where it was found."""
    from minigen.data.registry import EMBEDDED, EMBEDDED_ARRAYS, IDX_SETS
    from minigen.data.sets import EMBEDDED_FILE, locate

    small = [EMBEDDED_ARRAYS[f"{part}_images"][0][0] for part in ("train", "test")]
    rows = [_row(EMBEDDED, small, "CC BY-SA 3.0", "embedded", EMBEDDED_FILE)]
    for published in IDX_SETS.values():
        paths = list(locate(published, args.data_dir).values())
        state = "missing" if not paths else "found" if len(paths) == 4 else f"{len(paths)} of 4 files"
        sizes = [published.files[i].shape[0] for i in (0, 2)]
        rows.append(_row(published.name, sizes, published.licence, state, paths[0].parent if paths else None))
    if args.json:
        print(json.dumps(rows, indent=2))
        return PASSED
    for row in rows:
        where = row["where"] or f"minigen data get {row['name']}"
        counts = spoken(f"{row['train']:>6,} to train, {row['test']:>6,} to test")
        say(
            f"{row['name']:<14} {counts}  {row['licence']:<13} {filled(term('data', row['state']), 12)} {where}"
        )
    return PASSED


def _row(name: str, sizes, licence: str, state: str, where) -> dict:
    return {
        "name": name,
        "train": sizes[0],
        "test": sizes[1],
        "licence": licence,
        "state": state,
        "where": where and str(where),
    }


def get(args) -> int:
    """Download a set; say for every file where it is and whether it was there already."""
    from minigen.data.download import fetch
    from minigen.data.registry import EMBEDDED
    from minigen.data.sets import EMBEDDED_FILE
    from minigen.errors import DataError

    if args.name == EMBEDDED:
        files = [(EMBEDDED_FILE, False)]
    else:
        try:
            with _progress() as progress:
                files = fetch(args.name, args.dest, mirrors=args.mirror, progress=progress)
        except KeyboardInterrupt:
            raise DataError(
                f"data get {args.name}: interrupted; no unfinished file was kept, run it again"
            ) from None
    if args.json:
        rows = [{"path": str(path), "downloaded": downloaded} for path, downloaded in files]
        print(json.dumps({"name": args.name, "files": rows}, indent=2))
        return PASSED
    for path, downloaded in files:
        tell(f"downloaded: {path}" if downloaded else f"already here: {path}")
    tell(f"{args.name}: complete, every checksum right")
    if args.dest and args.name != EMBEDDED:
        tell(f"to use it from there: --data-dir {args.dest}, or set MINIGEN_DATA={args.dest}")
    return PASSED


def verify(args) -> int:
    """Print what became of every file; fail on damage, on half a set, and on a missing set that was named."""
    from minigen.data.registry import NAMES
    from minigen.data.verify import DAMAGED, FINE, MISSING
    from minigen.data.verify import verify as verify_set

    checks = [verify_set(name, args.data_dir) for name in args.names or NAMES]
    wanted = [
        check for group in checks if args.names or any(c.state != MISSING for c in group) for check in group
    ]
    passed = all(check.state == FINE for check in wanted)
    flat = [check for group in checks for check in group]
    if args.json:
        rows = [vars(check) | {"path": check.path and str(check.path)} for check in flat]
        print(json.dumps({"passed": passed, "files": rows}, indent=2))
        return PASSED if passed else FAILED
    for check in flat:
        damage = spoken(check.detail) if check.state == DAMAGED else ""
        shown = damage or check.path or f"minigen data get {check.set}"
        say(f"{filled(term('data', check.state), 8)} {check.set:<14} {check.file:<24} {shown}")
    fine, missing, damaged = (sum(c.state == state for c in flat) for state in (FINE, MISSING, DAMAGED))
    tell(f"{fine} fine, {missing} missing, {damaged} damaged")
    return PASSED if passed else FAILED


@contextmanager
def _progress():
    """progress(file, done, total) on stderr: bars in a terminal, one line per finished file elsewhere."""
    if not sys.stderr.isatty():
        yield _plain_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def show(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done, total=total)

        yield show


def _plain_progress(file: str, done: int, total: int | None) -> None:
    if done == total:
        tell(f"{file}: {done:,} bytes received", to=sys.stderr)
