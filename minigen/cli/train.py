"""`minigen train MODEL` and `minigen sample RUN`: the models of solutions/, trained, drawn and recorded."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from minigen.errors import CheckpointError, CourseError, MinigenError

MODELS = {
    "autoencoder": "e07_autoencoder",
    "pixelrnn": "e10_pixelrnn",
    "pixelcnn": "e11_pixelcnn",
    "vae": "e13_vae",
    "gan": "e15_gan",
}
RUNS = Path("runs")


class NotStarted(MinigenError):
    """--mine, and nothing is."""

    exit_code = 3


class LearnersError(MinigenError):
    """An error that came out of the learner's code."""

    exit_code = 1


def add(parsers: Any) -> None:
    """The sub-parsers of this family."""
    train = parsers.add_parser("train", help="train a model", description="Trains a model of the course.")
    train.add_argument("model", metavar="MODEL", help=", ".join(MODELS))
    train.add_argument("--preset", help="a size of the model (default: small)")
    train.add_argument("--data", metavar="NAME", help="mnist-small (default), mnist or fashion-mnist")
    train.add_argument("--data-dir", metavar="DIR", help="a folder that holds the IDX files")
    train.add_argument("--epochs", type=_count, help="passes through the training set")
    train.add_argument("--batch-size", type=_count, help="images in a step")
    train.add_argument("--seed", type=_seed, help="of all randomness (default: 0)")
    train.add_argument("--backend", default="numpy", help="numpy (default) or cupy")
    train.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/MODEL)")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out, or the latest one")
    train.add_argument("--mine", action="store_true", help="put your exercises into the engine first")
    train.add_argument("--json", action="store_true", help="the result as JSON")
    train.set_defaults(run=run_train)
    sample = parsers.add_parser("sample", help="draw from a trained model")
    sample.add_argument("folder", type=Path, metavar="RUN", help="a folder made by `minigen train`")
    sample.add_argument("--n", type=_count, default=64, help="how many (default: 64)")
    sample.add_argument("--seed", type=_seed, default=0)
    sample.add_argument("--backend", default="numpy", help="numpy (default) or cupy")
    sample.add_argument("--out", type=Path, metavar="PNG", help="default: samples.png in the run's folder")
    sample.set_defaults(run=run_sample)


def run_train(args: argparse.Namespace) -> int:
    """0 trained; 1 diverged or a file is damaged; 130 stopped by Ctrl-C, and saved."""
    from minigen import training
    from minigen.backend import use

    use(args.backend)
    module = load_module(args.model)
    with _mine(args) as parts:
        try:
            return _train(args, module, [part.hole for part in parts])
        except training.Interrupted as stop:
            again = f"minigen train {args.model} --resume --out {stop.folder}" + " --mine" * args.mine
            print(f"minigen: {stop}; go on with `{again}`", file=sys.stderr)
            return 130


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
    images = model.sample(args.n, np.random.default_rng(args.seed))
    print(plot.image_grid(images, args.out or args.folder / "samples.png"))
    return 0


def trained(folder: str | Path) -> tuple[Any, dict[str, Any]]:
    """A run's folder -> (its model with the trained parameters, its config.json)"""
    from minigen import checkpoint
    from minigen.training.folder import CHECKPOINT, read_config

    folder = Path(folder)
    saved = read_config(folder)
    model = _build(load_module(str(saved.get("name"))), saved, folder)
    arrays, _ = checkpoint.load(folder / CHECKPOINT)
    prefix = "model/"
    model.load_state_dict({k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)})
    return model.eval(), saved


def load_module(name: str) -> ModuleType:
    """`autoencoder` -> solutions.e07_autoencoder; CourseError for a name unknown, or not there yet"""
    from minigen.course.manifest import course, reach

    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise CourseError(f"no model {name!r}{meant}; expected one of {', '.join(MODELS)}")
    root, lesson = course().root, MODELS[name]
    if not (root / "solutions" / f"{lesson}.py").is_file():
        here = [model for model, file in MODELS.items() if (root / "solutions" / f"{file}.py").is_file()]
        raise CourseError(
            f"{name} comes with lesson {lesson}, which is not part of this version; "
            f"there is: {', '.join(here) or 'no model yet'}"
        )
    reach(root)
    return importlib.import_module(f"solutions.{lesson}")


# Training


def _train(args: argparse.Namespace, module: ModuleType, mine: list[str]) -> int:
    from minigen import data, training
    from minigen.training.folder import fresh, latest

    begun = time.monotonic()
    home = args.out or RUNS / args.model
    folder = (home if args.out else latest(home)) if args.resume else None
    saved = _settings(args, module, folder)
    dataset = data.load(saved["data"], folder=args.data_dir)
    model = _build(module, saved, folder)
    if folder is None:
        folder = fresh(home)
    if not args.json:
        size = sum(p.size for p in model.parameters())
        print(f"{args.model} ({size:,} parameters) on {dataset.name}, recorded in {folder}", flush=True)
    result = training.train(
        model,
        dataset,
        epochs=saved["epochs"],
        batch_size=saved["batch_size"],
        seed=saved["seed"],
        run_dir=folder,
        resume=args.resume,
        progress=training.progress(),
        about={"name": args.model, "preset": saved["preset"], "mine": mine},
    )
    _report(args, module, model, dataset, result, begun)
    return 0


def _settings(args: argparse.Namespace, module: ModuleType, folder: Path | None) -> dict[str, Any]:
    """What to train: the flags; on resume, what the run began with and then the flags."""
    from minigen.training.folder import read_config

    given = {key: getattr(args, key) for key in ("preset", "data", "epochs", "batch_size", "seed")}
    given = {key: value for key, value in given.items() if value is not None}
    if folder is not None:
        saved = read_config(folder)
        if saved.get("name") != args.model:
            raise CheckpointError(f"{folder}: is a run of {saved.get('name')!r}, expected {args.model!r}")
        if "preset" in given and given["preset"] != saved.get("preset"):
            raise CheckpointError(
                f"{folder}: is of preset {saved.get('preset')!r}, not {given['preset']!r}; leave --preset out"
            )
        return {**saved, **given}
    preset = given.get("preset", "small")
    if preset not in module.PRESETS:
        raise CourseError(
            f"{args.model} has no preset {preset!r}; expected one of {', '.join(module.PRESETS)}"
        )
    config = asdict(module.PRESETS[preset])
    usual = {"data": "mnist-small", "epochs": config["epochs"], "batch_size": config["batch_size"], "seed": 0}
    return {**usual, **given, "preset": preset, "config": config}


def _build(module: ModuleType, saved: dict[str, Any], folder: Path | None) -> Any:
    """The model of a config.json, with the initial values of its seed"""
    from minigen.training import streams

    try:
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in saved["config"].items()}
        return module.MODEL(module.Config(**fields), rng=streams(saved["seed"]).init)
    except (KeyError, TypeError, AttributeError) as error:
        if folder is None:
            raise
        raise CheckpointError(
            f"{folder}: its config.json does not fit {module.__name__} ({error}); train anew"
        ) from None


def _report(args: Any, module: ModuleType, model: Any, dataset: Any, result: Any, begun: float) -> None:
    """The last lines: the error beside the yardstick's, the pictures, the time."""
    from minigen.training.progress import spoken

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
        print(f"test {spoken({metric: 0})[:-2]} per image: {args.model} {ours}{others}")
    for path in pictures:
        print(f"  {path}")
    spent = time.monotonic() - begun
    print(f"{len(result.history)} epochs, {result.steps:,} steps: {spent:.0f} s with the pictures")


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
        drawn = [*drawn, plot.image_grid(model.sample(64, rng), result.folder / "samples.png")]
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


# The learner's parts


@contextlib.contextmanager
def _mine(args: argparse.Namespace) -> Iterator[Sequence[Any]]:
    """With --mine: the learner's code in the engine, said aloud; its errors come out with file and line."""
    if not args.mine:
        yield ()
        return
    from minigen.course import mine, plug

    parts = mine()
    own = [part for part in parts if part.mine]
    if not own:
        holes = ", ".join(f"{part.lesson.short}:{part.hole}" for part in parts) or "none yet"
        raise NotStarted(f"--mine: no exercise that the engine has a place for is started ({holes})")
    out = sys.stderr if args.json else sys.stdout
    for part in own:
        print(part, file=out)
    rest = ", ".join(f"{part.lesson.short}:{part.hole}" for part in parts if not part.mine)
    print(f"the engine's own: {rest or 'nothing that you could have written'}", file=out, flush=True)
    try:
        with plug(own):
            yield own
    except Exception as error:
        raise _blamed(error, own) from error


def _blamed(error: Exception, own: Sequence[Any]) -> Exception:
    """The error with the learner's own line, where one of their frames is in its traceback"""
    said = (str(error).strip().splitlines() or [""])[0]
    files = {str(part.path) for part in own}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if frames:
        last = frames[-1]
        kind = "" if isinstance(error, MinigenError) else f"{type(error).__name__}: "
        return LearnersError(
            f"{last.filename}:{last.lineno}: your {last.name} fails in training: {kind}{said}"
        )
    if isinstance(error, MinigenError):
        holes = ", ".join(part.hole for part in own)
        blamed = type(error)(f"{said} (with your {holes} in the engine)")
        return blamed
    return error


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is none to train with, expected 1 or more")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is no seed, expected 0 or more")
    return number
