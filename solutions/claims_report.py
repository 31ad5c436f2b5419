"""What a laboratory of lesson e16 has found so far: the verdicts, the tables and the picture. Nothing is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigen import checkpoint, plot
from minigen.data import Dataset, scale
from minigen.training.folder import write_text
from solutions import claims_lab
from solutions.claims_bench import Bench
from solutions.claims_tables import NAMES, markdown
from solutions.e16_claims import (
    CLAIMS,
    EXACT,
    Interval,
    answers,
    branch,
    difference,
    each_confidence,
    interval,
    judge,
    mixture_log_prob,
    ratio,
    spreads,
)

OVERALL = 0.95  # for all verdicts together
NOISE = 0.9  # the share of noise in the mixture that likelihood is put to the test with

Records = dict[tuple[str, int], dict[str, Any]]


def gather(folder: Path, plan: Mapping[str, Any]) -> tuple[list[int], Records]:
    """-> seeds whose parts are all done, and the record of every part that is"""
    found: Records = {}
    for name, seed in claims_lab.parts(plan):
        path = folder / f"{name}-{seed}" / "measured.json"
        if path.is_file():
            found[name, seed] = claims_lab.read(path)
    whole = [s for s in range(plan["seeds"]) if all((name, s) in found for name in claims_lab.LINEUP)]
    return whole, found


# The claims


def quantities(folder: Path, bench: Bench, seeds: Sequence[int], records: Records) -> dict[str, Interval]:
    """key of a claim -> the interval of its quantity, over these seeds"""

    def of(name: str, key: str) -> list[float]:
        return [float(records[name, seed].get(key, math.nan)) for seed in seeds]

    sure = each_confidence(len(CLAIMS) - len(EXACT), OVERALL)
    known = claims_lab.read(folder / "exact.json")
    chains, gan = known["chains"], answers(claims_lab.CLASSES["gan"])
    worse = {name: np.divide(of(f"{name}-hot", "distance"), of(name, "distance")) for name in ("gan", "vae")}
    return {
        "slow_rnn": ratio(of("pixelrnn", "sample_seconds"), of("vae", "sample_seconds"), sure),
        "slow_cnn": ratio(of("pixelcnn", "sample_seconds"), of("vae", "sample_seconds"), sure),
        "faster": ratio(of("pixelrnn", "ms_per_image"), of("pixelcnn", "ms_per_image"), sure),
        "parallel": certain(chains["pixelrnn"][-1] / chains["pixelcnn"][-1]),
        "sums": certain(min(known["digits"].values())),
        "metric": interval([_noise_test(folder, bench, seed) for seed in seeds], sure),
        "samples": ratio(of("vae", "distance"), of("pixelcnn", "distance"), sure),
        "decoder": ratio(of("autoencoder", "distance"), of("vae", "distance"), sure),
        "bound": difference(of("vae", "nats"), of("pixelcnn", "nats"), sure),
        # sharper than real is no sharper, it is noise
        "blurry": ratio(np.minimum(of("gan", "sharpness"), bench.sharpness), of("vae", "sharpness"), sure),
        "quality": ratio(of("vae", "distance"), of("gan", "distance"), sure),
        "seeds": _spread(of("gan", "distance"), of("vae", "distance"), sure),
        "rates": ratio(worse["gan"], worse["vae"], sure),
        "silent": certain(sum(not gan[query] for query in ("log_prob", "elbo", "encode"))),
    }


def _spread(a: Sequence[float], b: Sequence[float], confidence: float) -> Interval:
    """The interval of the spread of a minus that of b. Of two seeds both are equally far from their mean: no verdict"""
    if len(a) < 4:
        return Interval(math.nan, -math.inf, math.inf)
    return difference(spreads(a), spreads(b), confidence)


def certain(value: float) -> Interval:
    """What is counted, not sampled"""
    return Interval(value, value, value)


def _noise_test(folder: Path, bench: Bench, seed: int) -> float:
    """-> nats per image of nine tenths noise and one tenth the best explicit model, minus those of the worst one

    Noise: every pixel a coin of its own. Below 0, a model of which nine samples in ten are noise has the better score.
    """
    nats = {}
    for name in ("pixelrnn", "pixelcnn", "vae"):
        nats[name] = checkpoint.load(folder / f"{name}-{seed}" / "kept.npz")[0]["nats"]  # (N,)
    best, worst = (choose(nats, key=lambda name: nats[name].mean()) for choose in (min, max))
    mixed = -mixture_log_prob(-nats[best], bench.noise.astype(np.float64), 1 - NOISE)
    return float((mixed - nats[worst]).mean())


def report(folder: Path, bench: Bench, data: Dataset, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was found, fit for JSON"""
    seeds, records = gather(folder, plan)
    found = quantities(folder, bench, seeds, records) if seeds else {}
    claims = [
        {
            "claim": claim.says,
            "row": claim.row,
            "quantity": claim.quantity,
            "above": claim.above,
            **dict(zip(("mean", "low", "high"), map(finite, found[claim.key]), strict=True)),
            "verdict": judge(claim, found[claim.key]),
        }
        for claim in CLAIMS
        if seeds
    ]
    return {
        "equal": f"training time: {plan['seconds']:.1f} s for each model and seed",
        "confidence": f"{OVERALL:.0%} for all verdicts together, {len(seeds)} seed{'s' * (len(seeds) != 1)}",
        "plan": dict(plan),
        "seeds": seeds,
        "interface": {
            name: {"branch": branch(kind), **answers(kind)} for name, kind in claims_lab.CLASSES.items()
        },
        "models": {name: _summary(name, seeds, records) for name in claims_lab.LINEUP} if seeds else {},
        "real digits": bench.baseline(data),
        "exact": claims_lab.read(folder / "exact.json"),
        "claims": claims,
    }


def finite(value: float) -> float | None:
    """A number for JSON: null where there is none"""
    return float(value) if math.isfinite(value) else None


def _summary(name: str, seeds: Sequence[int], records: Records) -> dict[str, Any]:
    """Means over the seeds of every figure, with the standard deviation of those that scatter"""
    rows = [records[name, seed] for seed in seeds]
    found: dict[str, Any] = {"diverged": sum("diverged" in row for row in rows)}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if isinstance(row.get(key), int | float)]
        if key not in ("model", "seed", "sign", "diverged") and values:
            found[key] = float(np.mean(values))
            if len(values) > 1:
                found[f"{key}_sd"] = float(np.std(values, ddof=1))
    return found | ({"sign": rows[0]["sign"]} if "sign" in rows[0] else {})


def write(found: Mapping[str, Any], folder: Path) -> None:
    """report.json, and report.md in the chosen language; each whole or not at all"""
    write_text(folder / "report.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "report.md", markdown(found))


# The picture


def picture(folder: Path, plan: Mapping[str, Any], data: Dataset, path: Path) -> Path:
    """Real digits above samples of every model, of the first seed that has them"""
    rows = {"real digits": real_digits(data)}
    for name in ("pixelrnn", "pixelcnn", "vae", "gan", "autoencoder"):
        kept = [folder / f"{name}-{seed}" / "kept.npz" for seed in range(plan["seeds"])]
        there = [one for one in kept if one.is_file()]
        if there:
            rows[label(name)] = checkpoint.load(there[0])[0]["samples"][:10]
    return plot.strips(
        rows, path, title=f"The first samples of every model, after {plan['seconds']:.0f} s of training each"
    )


def real_digits(data: Dataset) -> np.ndarray:
    """(10, H, W): the first test image of each digit"""
    return scale(data.test.images[[int(np.argmax(data.test.labels == digit)) for digit in range(10)]])


def label(name: str) -> str:
    """What stands beside a row of samples"""
    return "autoencoder's noise" if name == "autoencoder" else NAMES[name]
