"""All that the next step of a run depends on, as arrays and JSON; and back, or nothing at all."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minigen import checkpoint
from minigen.errors import CheckpointError

if TYPE_CHECKING:
    from minigen.training.loop import Run


def identity(run: "Run") -> dict[str, Any]:
    """What must be the same for a checkpoint to be of this run."""
    config = getattr(run.model, "config", None)
    return {
        "model": type(run.model).__name__,
        "config": plain(asdict(config)) if is_dataclass(config) else None,  # type: ignore[arg-type]
        "data": run.dataset.name,
        "images": len(run.dataset.train),
        "batch_size": run.batches.size,
        "seed": run.seed,
    }


def state(run: "Run") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, meta): parameters and buffers, optimizers, every random stream, the place in the data, the metrics"""
    arrays = {f"model/{name}": array for name, array in run.model.state_dict().items()}
    for owner, optimizer in run.optimizers.items():
        arrays |= {f"optimizer/{owner}/{name}": a for name, a in optimizer.state_dict().items()}
    return arrays, {
        "identity": identity(run),
        "step": run.step,
        "seconds": run.seconds,
        "seen": run.seen,
        "sums": run.sums,
        "history": run.history,
        "batches": run.batches.state_dict(),
        "noise": plain(run.noise.bit_generator.state),
        "generators": {name: plain(rng.bit_generator.state) for name, rng in run.model.named_generators()},
    }


def restore(run: "Run", path: Path) -> None:
    """Take over a checkpoint. Raises CheckpointError, one line, and then the model is as it was."""
    arrays, meta = checkpoint.load(path)
    _check_identity(identity(run), meta.get("identity"), path)
    before = run.model.state_dict()
    try:
        run.model.load_state_dict(_under("model/", arrays))
        for owner, optimizer in run.optimizers.items():
            optimizer.load_state_dict(_under(f"optimizer/{owner}/", arrays))
        run.batches.load_state_dict(meta["batches"])
        run.noise.bit_generator.state = meta["noise"]
        for name, rng in run.model.named_generators():
            rng.bit_generator.state = meta["generators"][name]
        run.step, run.seconds, run.seen = meta["step"], meta["seconds"], meta["seen"]
        run.sums, run.history = dict(meta["sums"]), list(meta["history"])
    except (CheckpointError, KeyError, TypeError, ValueError, AttributeError) as error:
        run.model.load_state_dict(before)
        raise CheckpointError(f"{path}: does not fit this model ({error}); nothing was loaded") from None


def _check_identity(wanted: dict[str, Any], found: Any, path: Path) -> None:
    found = found if isinstance(found, dict) else {}
    differ = [key for key in wanted if found.get(key) != wanted[key]]
    if not differ:
        return
    if "config" in differ and isinstance(found.get("config"), dict) and wanted["config"]:
        keys = [key for key in wanted["config"] if found["config"].get(key) != wanted["config"][key]]
        found = found | {f"config.{key}": found["config"].get(key) for key in keys}
        wanted = wanted | {f"config.{key}": wanted["config"][key] for key in keys}
        differ = [key for key in differ if key != "config"] + [f"config.{key}" for key in keys]
    theirs = ", ".join(f"{key} {found.get(key)!r}" for key in differ)
    ours = ", ".join(f"{key} {wanted[key]!r}" for key in differ)
    raise CheckpointError(
        f"{path}: is of a run with {theirs}; expected {ours}: resume with the settings the run began with"
    )


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def plain(value: Any) -> Any:
    """As JSON gives it back: tuples and arrays are lists."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
