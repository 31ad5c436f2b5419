"""The models of the course by name: their modules, what a run's config.json says of them, and trained ones.

A model is a lesson's solution that defines MODEL (a class), Config (a dataclass), PRESETS, and, for what is printed
and drawn, CURVES, YLABEL and finish(). OPTIONS = {"binarize": ("threshold", "dynamic")} names fields of its Config
that `minigen train` has a flag for, and what they may be.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from minigen.errors import CheckpointError, CourseError

MODELS = {
    "autoencoder": "e07_autoencoder",
    "pixelrnn": "e10_pixelrnn",
    "pixelcnn": "e11_pixelcnn",
    "vae": "e13_vae",
    "gan": "e15_gan",
}
OPTIONS = {
    "binarize": "how pixels become 0 or 1: threshold, or dynamic (drawn anew each time); pixel models only"
}
RUNS = Path("runs")
LEAST = {"epochs": 1, "batch_size": 1, "seed": 0}


def available() -> list[str]:
    """The models whose lessons are part of this version"""
    from minigen.course.manifest import any_home

    folder = any_home() / "solutions"
    return [model for model, lesson in MODELS.items() if (folder / f"{lesson}.py").is_file()]


def load_module(name: str) -> ModuleType:
    """`autoencoder` -> solutions.e07_autoencoder; CourseError for a name unknown, or not there yet"""
    from minigen.course.manifest import any_home, reach

    here = available()
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise CourseError(f"no model {name!r}{meant}; expected one of {', '.join(here or MODELS)}")
    if name not in here:
        raise CourseError(
            f"{name} comes with lesson {MODELS[name]}, which is not part of this version; "
            f"there is: {', '.join(here) or 'no model yet'}"
        )
    reach(any_home())
    return importlib.import_module(f"solutions.{MODELS[name]}")


def trained(folder: str | Path) -> tuple[Any, dict[str, Any]]:
    """A run's folder -> (its model with the trained parameters, its config.json)"""
    from minigen import checkpoint
    from minigen.training.folder import CHECKPOINT, read_config

    folder = _run_meant(Path(folder))
    saved = read_config(folder)
    module = load_module(str(saved.get("name")))
    model = build(module, checked(saved, module, folder), folder)
    arrays, _ = checkpoint.load(folder / CHECKPOINT)
    prefix = "model/"
    model.load_state_dict({k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)})
    return model.eval(), saved


def _run_meant(folder: Path) -> Path:
    """The folder; CourseError with what to type for a model's name, which is none"""
    from minigen.training.folder import latest

    if folder.exists() or str(folder) not in MODELS:
        return folder
    try:
        there = f"did you mean its run {latest(RUNS / folder)}?"
    except CheckpointError:
        there = f"train one first: `minigen train {folder}`"
    raise CourseError(f"{folder} is a model, expected the folder of a run; {there}")


def settings(args: argparse.Namespace, module: ModuleType, folder: Path | None) -> dict[str, Any]:
    """What to train: the flags; on resume, what the run began with and then the flags."""
    from minigen.training.folder import read_config

    given = {key: getattr(args, key) for key in ("preset", "data", *LEAST)}
    given = {key: value for key, value in given.items() if value is not None}
    options = _options(args, module)
    if folder is not None:
        saved = read_config(folder)
        if saved.get("name") != args.model:
            raise CheckpointError(f"{folder}: is a run of {saved.get('name')!r}, expected {args.model!r}")
        saved = checked(saved, module, folder)
        began = {"preset": saved.get("preset"), **saved["config"]}
        for key, value in {**{k: v for k, v in given.items() if k == "preset"}, **options}.items():
            if value != began.get(key):
                raise CheckpointError(
                    f"{folder}: is of {key} {began.get(key)!r}, not {value!r}; leave --{key} out"
                )
        return {**saved, **given}
    preset = given.get("preset", "small")
    if preset not in module.PRESETS:
        raise CourseError(
            f"{args.model} has no preset {preset!r}; expected one of {', '.join(module.PRESETS)}"
        )
    config = asdict(replace(module.PRESETS[preset], **options))
    usual = {"data": "mnist-small", "epochs": config["epochs"], "batch_size": config["batch_size"], "seed": 0}
    return {**usual, **given, "preset": preset, "config": config}


def _options(args: argparse.Namespace, module: ModuleType) -> dict[str, Any]:
    """The model's own flags that were given"""
    known = getattr(module, "OPTIONS", {})
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    for name, value in given.items():
        if name not in known:
            raise CourseError(f"{args.model} has no use for --{name}: leave it out")
        if value not in known[name]:
            raise CourseError(f"--{name} {value!r}: expected one of {', '.join(known[name])}")
    return given


def checked(saved: dict[str, Any], module: ModuleType, folder: Path) -> dict[str, Any]:
    """A config.json as read, refused where it was changed into something that no run began with"""
    where, ends = folder / "config.json", "put back what the run began with, or train anew"
    for key, least in LEAST.items():
        value = saved.get(key)
        if type(value) is not int or value < least:
            raise CheckpointError(
                f"{where}: {key} is {value!r}, expected a whole number from {least} on; {ends}"
            )
    if not isinstance(saved.get("data"), str):
        raise CheckpointError(
            f"{where}: data is {saved.get('data')!r}, expected the name of a data set; {ends}"
        )
    config, known = saved.get("config"), [asdict(preset) for preset in module.PRESETS.values()]
    if not isinstance(config, dict) or not config.keys() <= known[0].keys():
        names = ", ".join(known[0])
        raise CheckpointError(f"{where}: its config does not fit {module.__name__}, expected {names}; {ends}")
    for key, value in config.items():
        examples = [preset[key] for preset in known]
        if not any(_alike(value, example) for example in examples):
            usual = examples[0]
            raise CheckpointError(
                f"{where}: config.{key} is {value!r}, expected the like of {usual!r}; {ends}"
            )
    return saved


def _alike(value: Any, example: Any) -> bool:
    """Whether JSON could have made `value` of something of the same type"""
    if isinstance(example, float):
        return type(value) in (int, float)
    if isinstance(example, tuple):
        return isinstance(value, list | tuple)
    return example is None or type(value) is type(example)


def build(module: ModuleType, saved: dict[str, Any], folder: Path | None) -> Any:
    """The model of a config.json, with the initial values of its seed"""
    from minigen.training import streams

    try:
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in saved["config"].items()}
        return module.MODEL(module.Config(**fields), rng=streams(saved["seed"]).init)
    except Exception as error:
        if folder is None:
            raise
        raise CheckpointError(
            f"{folder}: its config.json does not fit {module.__name__} ({error}); train anew"
        ) from None


def presets(name: str, module: ModuleType) -> list[str]:
    """Lines: each preset, and what of it is unlike the first"""
    rows = {preset: asdict(config) for preset, config in module.PRESETS.items()}
    (first, usual), *rest = rows.items()
    lines = [f"{name} {first}: {_listed(usual)}"]
    for preset, config in rest:
        lines.append(f"{name} {preset}: {_listed({k: v for k, v in config.items() if v != usual[k]})}")
    return lines


def _listed(config: dict[str, Any]) -> str:
    words = {key: "x".join(map(str, v)) or "none" if isinstance(v, tuple) else v for key, v in config.items()}
    return ", ".join(f"{key} {word}" for key, word in words.items())
