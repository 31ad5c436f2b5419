"""`minigen compare`: all models, equal training time, several seeds, and a verdict on every claim of the notes."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigen.cli.arguments import count
from minigen.cli.models import MODELS, RUNS, trained
from minigen.course.console import printable, say, tell
from minigen.errors import CheckpointError, CourseError

PLAN, MINUTES, SEEDS, SAMPLES = "plan.json", 12.0, 5, 500


def add(parsers: Any) -> None:
    """The sub-parser of this verb."""
    compare = parsers.add_parser(
        "compare",
        help="all models, equal training time, a verdict on each claim",
        description="Trains all five models for the same time with several seeds, on the digits of the package, and "
        "judges each claim of the lecture notes. What is done is never done again: stop it whenever you like, and "
        "type the same command to go on.",
    )
    compare.add_argument("--minutes", type=minutes, help=f"of this machine, in all (default: {MINUTES:g})")
    compare.add_argument("--seeds", type=count, help=f"trainings of each model (default: {SEEDS})")
    compare.add_argument(
        "--samples", type=count, help=f"images that are drawn and judged (default: {SAMPLES})"
    )
    compare.add_argument("--out", type=Path, metavar="DIR", help="the folder (default: runs/compare)")
    compare.add_argument(
        "--figure-from",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="only draw: real digits beside samples of these runs of `minigen train`",
    )
    compare.add_argument("--figure", type=Path, metavar="PNG", help="where that goes (default: models.png)")
    compare.add_argument("--json", action="store_true", help="the report as JSON")
    compare.set_defaults(run=run)


def minutes(text: str) -> float:
    """'1.5' -> 1.5, above 0"""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time, expected minutes above 0")
    return number


def run(args: argparse.Namespace) -> int:
    """0 done; 1 a file of the folder is damaged; 2 other settings than the folder's; 130 stopped by Ctrl-C."""
    if args.figure_from:
        say(str(figure(args.figure_from, args.figure or Path("models.png"))))
        return 0
    folder = args.out or RUNS / "compare"
    try:
        return _compare(args, folder)
    except KeyboardInterrupt:
        again = "minigen compare" + (f" --out {folder}" if args.out else "")
        tell(f"minigen: stopped; what is done is kept in {folder}; go on with `{again}`", to=sys.stderr)
        return 130


def _compare(args: argparse.Namespace, folder: Path) -> int:
    from minigen import data

    lab, report = _solution("claims_lab"), _solution("claims_report")
    out = sys.stderr if args.json else sys.stdout
    begun = time.monotonic()
    dataset = data.load()
    plan = _plan(args, folder, lab, dataset, out)
    bench = _solution("claims_bench").Bench(plan, dataset, folder)
    if not (folder / "exact.json").is_file():
        _write(folder / "exact.json", lab.exact())
    _parts(folder, lab, plan, dataset, bench, out)
    found = report.report(folder, bench, dataset, plan)
    report.write(found, folder)
    drawn = report.picture(folder, plan, dataset, folder / "samples.png")
    if args.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    print()
    print(printable(_solution("claims_tables").text(found)))
    say(f"\n  {folder / 'report.md'}\n  {folder / 'report.json'}\n  {drawn}")
    tell(f"{(time.monotonic() - begun) / 60:.1f} minutes")
    return 0


def _plan(args: argparse.Namespace, folder: Path, lab: Any, dataset: Any, out: Any) -> dict[str, Any]:
    """The folder's plan.json, which nothing on the command line may contradict; a new one where there is none"""
    path = folder / PLAN
    given = {key: getattr(args, key) for key in ("minutes", "seeds", "samples")}
    if path.is_file():
        plan = lab.read(path)
        for key, value in given.items():
            if value is not None and value != plan.get(key):
                raise CourseError(
                    f"{folder}: was begun with --{key} {plan.get(key)}, not {value}; leave --{key} out to go on, or "
                    "begin anew with another --out"
                )
        now = json.loads(json.dumps({name: vars(config) for name, (_, config) in lab.LINEUP.items()}))
        if plan.get("configs") != now:
            raise CheckpointError(
                f"{path}: was made for other models than this version's; begin anew with another --out"
            )
        return plan
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder}: is there, and holds no comparison (no {PLAN}); choose another --out")
    usual = {"minutes": MINUTES, "seeds": SEEDS, "samples": SAMPLES}
    wanted = {key: usual[key] if value is None else value for key, value in given.items()}
    tell(f"timing a training step of each model; then about {wanted['minutes']:g} minutes", to=out)
    plan = lab.plan(dataset, **wanted)
    _write(path, plan)
    return plan


def _parts(folder: Path, lab: Any, plan: Mapping[str, Any], dataset: Any, bench: Any, out: Any) -> None:
    """Every part that is not done yet, with a line for each"""
    parts = lab.parts(plan)
    left = [part for part in parts if not (folder / "{}-{}".format(*part) / "measured.json").is_file()]
    if left and len(left) < len(parts):
        tell(f"{len(parts) - len(left)} of {len(parts)} parts were done already", to=out)
    begun = time.monotonic()
    for i, (name, seed) in enumerate(left):
        record = lab.part(name, seed, plan, dataset, bench, folder / f"{name}-{seed}")
        took = "diverged" if "diverged" in record else f"{record['seconds']:.1f} s"
        cost = f", {record['sign']} {record['nats']:.1f} nats" if "nats" in record else ""
        rest = (time.monotonic() - begun) / (i + 1) * (len(left) - i - 1) / 60
        tell(
            f"{len(parts) - len(left) + i + 1:3} of {len(parts)}  {name}, seed {seed}: {record['images']:,} images, "
            f"{took}{cost}, distance {record['distance']:.1f}; about {rest:.1f} min left",
            to=out,
        )


def figure(runs: list[Path], path: Path, seed: int = 0) -> Path:
    """Folders of runs -> one PNG: real test digits, and below them samples of each run's model, in the models' order

    An autoencoder has no samples: its row is what its decoder makes of standard normal codes, and says so.
    """
    import numpy as np

    from minigen import data, plot

    bench, report = _solution("claims_bench"), _solution("claims_report")
    rows = {"real digits": report.real_digits(data.load())}
    n, found = 10, {}
    for run in runs:
        model, config = trained(run)
        found[str(config["name"])] = model
    for name in sorted(found, key=lambda one: (one == "autoencoder", list(MODELS).index(one))):
        rng = np.random.default_rng(seed)
        grey = name in bench.LATENT
        images = bench.grey(name, found[name], n, rng) if grey else found[name].sample(n, rng)
        rows[report.label(name)] = bench.host(images).reshape(n, 28, 28)
    return plot.strips(rows, path)


def _solution(name: str) -> Any:
    """solutions.NAME, of the clone around here or of the installed package"""
    from minigen.course.manifest import any_home, reach

    root = any_home()
    if not (root / "solutions" / f"{name}.py").is_file():
        raise CourseError(f"`minigen compare` comes with lesson e16; {root / 'solutions'} has no {name}.py")
    reach(root)
    return importlib.import_module(f"solutions.{name}")


def _write(path: Path, value: Any) -> None:
    from minigen.training.folder import write_text

    write_text(path, json.dumps(value, indent=1) + "\n")
