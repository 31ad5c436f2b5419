"""The laboratory of lesson e16: five models, trained for the same time.

A laboratory is a folder. plan.json says what is to be done, and never changes; every part of the work leaves a file
when it is done, and no part is done twice. `minigen compare` runs it; claims_bench.py measures what was trained, and
claims_report.py reads what is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigen import checkpoint, training, xp
from minigen.data import Dataset, Split
from minigen.errors import CheckpointError, DivergenceError
from minigen.training.folder import CHECKPOINT, write_text
from solutions import e07_autoencoder, e10_pixelrnn, e11_pixelcnn, e13_vae, e15_gan, e16_claims
from solutions.claims_bench import Bench

# Each model's settings are those that did best in a short training. At every pixel the two pixel models have 6,272
# weights at work each, so an image takes both as many multiplications.
_binary: dict[str, Any] = {"binarize": "dynamic", "head": 32, "h": 12, "lr": 8e-3, "batch_size": 16}
LINEUP: dict[str, tuple[ModuleType, Any]] = {
    "autoencoder": (e07_autoencoder, e07_autoencoder.PRESETS["small"]),
    "pixelrnn": (e10_pixelrnn, replace(e10_pixelrnn.PRESETS["diagonal"], layers=1, **_binary)),
    "pixelcnn": (e11_pixelcnn, replace(e11_pixelcnn.PRESETS["small"], blocks=2, kernel=5, **_binary)),
    "vae": (e13_vae, replace(e13_vae.PRESETS["small"], hidden=(200,), lr=3e-3, batch_size=50)),
    "gan": (
        e15_gan,
        replace(e15_gan.PRESETS["small"], channels=(32, 16), lr=2e-3, lr_discriminator=1e-3, batch_size=32),
    ),
}
MODELS = tuple(LINEUP)
for _name, (_module, _config) in LINEUP.items():
    LINEUP[_name] = (_module, replace(_config, epochs=1))  # the plan says how long, not the preset
HOT = 5.0  # times the learning rate: what a hasty choice of it does
for _name in ("vae", "gan"):
    _module, _config = LINEUP[_name]
    _rates = {key: value * HOT for key, value in asdict(_config).items() if key.startswith("lr")}
    LINEUP[f"{_name}-hot"] = (_module, replace(_config, **_rates))
CLASSES = {name: LINEUP[name][0].MODEL for name in MODELS}
TRAINING = 0.8  # of all minutes; the rest is for measuring

# The plan


def plan(data: Dataset, minutes: float, seeds: int, samples: int) -> dict[str, Any]:
    """What is to be done: steps for every model, so that all of them train equally long on this machine"""
    seconds = TRAINING * 60 * minutes / (len(LINEUP) * seeds)
    timed = [{name: _step_seconds(name, data, min(0.6, seconds / 9)) for name in LINEUP} for _ in range(3)]
    step_seconds = {name: float(np.median([one[name] for one in timed])) for name in LINEUP}
    return {
        "data": data.name,
        "minutes": minutes,
        "seeds": seeds,
        "samples": samples,
        "seconds": seconds,
        "step_seconds": step_seconds,
        "steps": e16_claims.equal_budgets(step_seconds, seconds),
        "configs": {name: asdict(config) for name, (_, config) in LINEUP.items()},
    }


def _step_seconds(name: str, data: Dataset, seconds: float) -> float:
    """How long a training step takes: a first go to warm up, and a second one of about `seconds`"""
    module, config = LINEUP[name]
    model = module.MODEL(config, rng=np.random.default_rng(0))

    def steps(n: int) -> float:
        served = serve(data, n * config.batch_size, 0)
        return training.train(model, served, epochs=1, batch_size=config.batch_size, seed=0).seconds / n

    return steps(max(2, min(500, int(seconds / steps(2)))))


def serve(data: Dataset, n: int, seed: int) -> Dataset:
    """A Dataset whose one epoch is n images: every training image equally often, give or take one; 10 test images"""
    rng = np.random.default_rng([seed, n])
    rounds = [rng.permutation(len(data.train)) for _ in range(math.ceil(n / len(data.train)))]
    order = np.concatenate(rounds)[:n]
    few = Split(data.test.images[:10], data.test.labels[:10])
    return Dataset(data.name, Split(data.train.images[order], data.train.labels[order]), few)


def parts(plan: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(model, seed) of every training: seed by seed, so that whoever stops early has whole seeds"""
    return [(name, seed) for seed in range(plan["seeds"]) for name in LINEUP]


# A part: one model, one seed


def part(
    name: str, seed: int, plan: Mapping[str, Any], data: Dataset, bench: Bench, folder: Path
) -> dict[str, Any]:
    """Trains, or goes on training, and measures -> the record, which is also in `folder`/measured.json"""
    path = folder / "measured.json"
    if path.is_file():
        return read(path)
    record, model = _trained(name, seed, plan, data, folder)
    measured, kept = bench.measure(name, model.eval(), seed)
    record |= measured
    checkpoint.save(folder / "kept.npz", kept, {})
    write_text(path, json.dumps(record, indent=1) + "\n")
    return record


def _trained(
    name: str, seed: int, plan: Mapping[str, Any], data: Dataset, folder: Path
) -> tuple[dict[str, Any], Any]:
    module, config = LINEUP[name]
    model = module.MODEL(config, rng=training.streams(seed).init)
    images = plan["steps"][name] * config.batch_size
    epochs = max(1, round(images / len(data.train))) if images > 5 * len(data.train) else 1
    served = serve(data, len(data.train) if epochs > 1 else images, seed)
    record: dict[str, Any] = {
        "model": name,
        "seed": seed,
        "parameters": sum(p.size for p in model.parameters()),
        "images": epochs * len(served.train),
    }
    about = {"name": name.removesuffix("-hot"), "preset": "compare", "mine": []}
    known = folder.is_dir()
    try:
        result = training.train(
            model, served, epochs=epochs, batch_size=config.batch_size, seed=seed, run_dir=folder,
            resume=known, save_seconds=10.0, about=about,
        )  # fmt: skip
    except DivergenceError as error:
        arrays, _ = checkpoint.load(folder / CHECKPOINT)
        good = {k.removeprefix("model/"): a for k, a in arrays.items() if k.startswith("model/")}
        model.load_state_dict(good)
        return record | {"diverged": str(error).split(";")[0]}, model
    return record | {
        "seconds": result.seconds,
        "ms_per_image": 1000 * result.seconds / record["images"],
    }, model


# What chance has no part in


def exact() -> dict[str, Any]:
    """Chains of operations by side of the image; and the digits to which p(x) sums to 1 over all 3x3 images"""
    rng = np.random.default_rng(0)
    chains = {name: [chain(name, side) for side in (7, 14, 28)] for name in ("pixelrnn", "pixelcnn")}
    sums = {}
    for name, total in (
        ("pixelrnn", e10_pixelrnn.total_probability),
        ("pixelcnn", e11_pixelcnn.total_probability),
    ):
        module, config = LINEUP[name]
        tiny = replace(config, side=3, h=4)
        off = abs(total(e11_pixelcnn.double(module.MODEL(tiny, rng=rng))) - 1)
        sums[name] = -math.log10(max(off, 1e-16))
    return {"sides": [7, 14, 28], "chains": chains, "digits": sums}


def chain(name: str, side: int) -> int:
    """The longest chain of operations between an image of that side and its log p(x), of the lessons' own layers

    The engine's recurrent layers are one fused operation each; lesson e10's are made of single ones, so it is these
    that are counted.
    """
    module, config = LINEUP[name]
    model = module.MODEL(replace(config, side=side), rng=np.random.default_rng(0))
    for block in getattr(model, "blocks", []):
        block.lstm.__class__ = e10_pixelrnn.DiagonalBiLSTM
    image = xp.zeros((1, side, side), "float32")
    return e16_claims.longest_chain(model.log_prob(image))


# Files


def read(path: Path) -> Any:
    """A JSON file of the laboratory; CheckpointError, one line, if it is damaged"""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); remove it, and its part is done again"
        ) from None
