"""`minigen train MODEL` and `minigen sample RUN`: the models of solutions/, trained, drawn and recorded."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from minigen.cli.arguments import count, seed
from minigen.cli.models import (
    MODELS,
    OPTIONS,
    RUNS,
    available,
    build,
    load_module,
    presets,
    settings,
    trained,
)
from minigen.course.console import say, tell
from minigen.course.language import spoken
from minigen.errors import CourseError, MinigenError

if TYPE_CHECKING:
    from minigen.cli.mine import Troupe
    from minigen.ranks import Communicator


def add(parsers: Any) -> None:
    """The sub-parsers of this family."""
    train = parsers.add_parser("train", help="train a model", description="Trains a model of the course.")
    train.add_argument("model", metavar="MODEL", help=", ".join(available() or MODELS))
    train.add_argument("--preset", help="a size of the model (default: small)")
    train.add_argument("--presets", action="store_true", help="list the presets of MODEL, and train nothing")
    for name, says in OPTIONS.items():
        train.add_argument(f"--{name}", metavar="HOW", help=says)
    train.add_argument("--data", metavar="NAME", help="mnist-small (default), mnist or fashion-mnist")
    train.add_argument("--data-dir", metavar="DIR", help="a folder that holds the IDX files")
    train.add_argument("--epochs", type=count, help="passes through the training set")
    train.add_argument("--batch-size", type=count, help="images in a step")
    train.add_argument("--seed", type=seed, help="of all randomness (default: 0)")
    train.add_argument("--backend", default="numpy", help="numpy (default) or cupy")
    train.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/MODEL)")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out, or the latest one")
    train.add_argument("--mine", action="store_true", help="put your exercises into the engine first")
    train.add_argument("--verbose", action="store_true", help="with --mine: name every exercise")
    train.add_argument(
        "--ranks", metavar="HOW", help="mpi or nccl: one of the processes that mpiexec started"
    )
    train.add_argument("--json", action="store_true", help="the result as JSON")
    train.set_defaults(run=run_train)
    sample = parsers.add_parser("sample", help="draw from a trained model")
    sample.add_argument("folder", type=Path, metavar="RUN", help="a folder made by `minigen train`")
    sample.add_argument("--n", type=count, default=64, help="how many (default: 64)")
    sample.add_argument("--seed", type=seed, default=0)
    sample.add_argument("--backend", default="numpy", help="numpy (default) or cupy")
    sample.add_argument("--out", type=Path, metavar="PNG", help="default: samples.png in the run's folder")
    sample.set_defaults(run=run_sample)


def run_train(args: argparse.Namespace) -> int:
    """0 trained; 1 diverged, a file is damaged or the learner's code fails; 130 stopped by Ctrl-C, and saved."""
    from minigen import ranks, training
    from minigen.backend import use
    from minigen.cli.mine import troupe

    team = ranks.Communicator()
    try:
        with ranks.opened(args.ranks) as team:
            ranks.agree(team, _typed(args))
            module = load_module(args.model)
            if args.presets:
                say("\n".join(presets(args.model, module)))
                return 0
            use(args.backend)
            ranks.take_device(team)
            return _train(args, module, troupe(args.mine), team)
    except training.Interrupted as stop:
        again = f"minigen train {args.model} --resume --out {stop.folder}" + " --mine" * args.mine
        if args.ranks:
            again = f"mpiexec -n {team.size} {again} --ranks {args.ranks}"
        tell(f"minigen: {stop}; go on with `{again}`", to=sys.stderr)
        return 130


def refuse(error: MinigenError, argv: list[str]) -> None:
    """A command that is none, given to several ranks: ends all but the first of them, which says so."""
    from minigen import ranks

    words = argparse.ArgumentParser(add_help=False)
    words.add_argument("--ranks", nargs="?")
    kind = words.parse_known_args(argv)[0].ranks
    with contextlib.suppress(MinigenError), ranks.opened(kind):  # one process alone is told the same
        raise error


def run_sample(args: argparse.Namespace) -> int:
    """0 drawn; 2 the model is none to draw from."""
    import numpy as np

    from minigen import plot
    from minigen.backend import use

    use(args.backend)
    model, config = trained(args.folder)
    if not hasattr(model, "sample"):
        why = getattr(sys.modules[type(model).__module__], "NO_SAMPLES", "it is no generative model")
        raise CourseError(f"{config['name']} has nothing to sample: {why}")
    soon = getattr(model, "sample_soon", model.sample)  # where the lessons' sampler has a faster twin
    images = _drawn(soon, args.n, np.random.default_rng(args.seed))
    say(str(plot.image_grid(images, args.out or args.folder / "samples.png")))
    return 0


def _drawn(sample: Callable[..., Any], n: int, rng: Any) -> Any:
    """n -> (n, H, W) on the host: what `sample` draws, its one channel taken off"""
    from minigen.backend import to_host

    images = sample(n, rng)
    images = to_host(getattr(images, "data", images) if hasattr(images, "requires_grad") else images)
    return images.reshape(n, *images.shape[-2:]) if images.ndim == 4 and images.shape[1] == 1 else images


# Training


def _train(args: argparse.Namespace, module: ModuleType, troupe: Troupe, team: Communicator) -> int:
    from minigen import data, ranks, training
    from minigen.training.folder import fresh
    from minigen.training.together import shares

    begun = time.monotonic()
    home = args.out or RUNS / args.model
    found, saved = ranks.once(team, lambda: _asked(args, module, home))
    folder = Path(found) if found else None
    dataset = data.load(saved["data"], folder=args.data_dir)
    with troupe.blaming():
        _rehearse(args, module, troupe, saved, dataset, folder, aloud=team.rank == 0)
    with troupe.on_stage():
        model = build(module, saved, None if args.mine else folder)
        shares(team, model, len(dataset.train), saved["batch_size"])
        if folder is None:
            folder = Path(ranks.once(team, lambda: str(fresh(home))))

        def opened(done: int, steps: int) -> None:
            if args.json or done == steps:
                return
            size = f"{sum(p.size for p in model.parameters()):,} parameters"
            went = f"resumed after step {done:,} in {folder}" if args.resume else f"recorded in {folder}"
            tell(f"{args.model} ({size}) on {dataset.name}, {went}", to=sys.stdout)

        result = training.train(
            model,
            dataset,
            epochs=saved["epochs"],
            batch_size=saved["batch_size"],
            seed=saved["seed"],
            run_dir=folder,
            resume=args.resume,
            progress=training.progress(say=spoken),
            about={
                "name": args.model,
                "preset": saved["preset"],
                "mine": [one.hole for one in troupe.at_work],
            },
            opened=opened,
            ranks=team,
        )
        if team.rank == 0:
            with troupe.judged():
                _report(args, module, model, dataset, result, begun)
    return 0


def _asked(args: argparse.Namespace, module: ModuleType, home: Path) -> tuple[str | None, dict[str, Any]]:
    """The folder of the run to resume, if one is; and what to train. Reads the run's files."""
    from minigen.training.folder import latest

    folder = (home if args.out else latest(home)) if args.resume else None
    return (str(folder) if folder else None), settings(args, module, folder)


def _typed(args: argparse.Namespace) -> dict[str, Any]:
    """The command, as ranks must agree about it; where files are may differ from machine to machine"""
    own = {"run", "out", "data_dir"}
    return {f"--{key.replace('_', '-')}": value for key, value in vars(args).items() if key not in own}


def _rehearse(
    args: argparse.Namespace,
    module: ModuleType,
    troupe: Troupe,
    saved: dict[str, Any],
    dataset: Any,
    folder: Any,
    aloud: bool,
) -> None:
    """One batch of the run to come, through the engine's parts and through the learner's, if there are any."""
    from minigen import data, training
    from minigen.cli.mine import speaker

    size = saved["batch_size"]
    parts = [
        data.Split(one.images[:n], one.labels[:n]) for one, n in ((dataset.train, size), (dataset.test, 10))
    ]
    few = data.Dataset(dataset.name, *parts)

    def scene(known: Path | None) -> None:
        model = build(module, saved, known)
        training.train(model, few, epochs=1, batch_size=size, seed=saved["seed"])

    heard = speaker(args.json) if aloud else lambda text: None
    troupe.rehearse(module, lambda: scene(folder), lambda: scene(None), heard, verbose=args.verbose)


def _report(args: Any, module: ModuleType, model: Any, dataset: Any, result: Any, begun: float) -> None:
    """The last lines: the error beside the yardstick's, the pictures, the time."""
    from minigen.training.progress import label

    last = result.history[-1]
    test = {k.removeprefix("test_"): v for k, v in last.items() if k.startswith("test_")}
    model.eval()
    beside, pictures = _finish(args.model, module, model, dataset, result)
    if args.json:
        found = {
            "model": args.model,
            "run": str(result.folder),
            "epochs": len(result.history),
            "steps": result.steps,
            "trained_steps": result.trained,
            "seconds": round(result.seconds, 3),
            "test": test,
            "baselines": beside,
            "pictures": [str(path) for path in pictures],
        }
        print(json.dumps(found, indent=1))
        return
    for metric, value in test.items():
        ours = "not finite" if value is None else f"{value:.2f}"
        others = "".join(f", {name} {other:.2f}" for name, other in beside.get(metric, {}).items())
        tell(f"{label(f'test_{metric}')} per image: {args.model} {ours}{others}")
    for path in pictures:
        say(f"  {path}")
    epochs = f"{len(result.history)} epoch{'s' * (len(result.history) != 1)}"
    if not result.trained:
        tell(
            f"{result.folder} was complete ({epochs}): nothing was trained, only the pictures were drawn again; "
            "--epochs with a larger number goes on"
        )
        return
    tell(f"{epochs}, {result.steps:,} steps: {time.monotonic() - begun:.0f} s with the pictures")


def _finish(name: str, module: ModuleType, model: Any, dataset: Any, result: Any) -> tuple[dict, list[Path]]:
    """What the model's own file measures and draws (`finish`), samples.png if it can, curves.png: (beside, pictures)"""
    import numpy as np

    from minigen import plot

    rng = np.random.default_rng(np.random.SeedSequence(0))
    beside: dict[str, dict[str, float]] = {}
    drawn: list[Path] = []
    if hasattr(module, "finish"):
        beside, drawn = module.finish(model, dataset, result.folder, rng)
    if hasattr(model, "sample"):
        drawn = [*drawn, plot.image_grid(_drawn(model.sample, 64, rng), result.folder / "samples.png")]
    usual = {key: key.replace("_", " ") for key in result.history[-1] if key.startswith(("train_", "test_"))}
    path = plot.curves(
        result.history,
        result.folder / "curves.png",
        series=getattr(module, "CURVES", usual),
        lines={label: value for values in beside.values() for label, value in values.items()},
        ylabel=getattr(module, "YLABEL", "loss"),
        title=f"{name} on {dataset.name}",
    )
    return beside, [*drawn, path]
