"""`python -m benchmarks.gpu`, `make bench-gpu`: training steps on a CUDA device, beside PyTorch's eager ones.

Both libraries in one process, the same cases, weights and inputs as on the CPU, in turn, round by round; a round ends
when the device is done. NOT PROVED: written where there is no device, and tried on the strict backend of the tests.
Without a device it says so in one line and measures nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import cases
from minigen.backend import Backend, using
from minigen.errors import BackendError

RESULTS = Path("benchmarks/results/gpu.json")
WARM_UP = 5  # steps: kernels are compiled, and the memory pool filled
TOLERANCE = 1e-3  # of the first loss


def main(argv: list[str] | None = None) -> int:
    """0: measured, or nothing to measure on; 1: the libraries disagree about a loss"""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--cases", default=",".join(cases.STEPS), help="comma-separated; default: all steps")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="per library and round (0.5)")
    options = parser.parse_args(argv)
    try:
        with using("cupy") as backend:
            records = [
                compare(name, backend, options.rounds, options.seconds) for name in options.cases.split(",")
            ]
    except BackendError as error:
        print(f"bench-gpu: nothing was measured: {error}")
        return 0
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(records, indent=1) + "\n")
    print(RESULTS)
    return 0 if all(record["agree"] for record in records) else 1


def compare(name: str, backend: Backend, rounds: int, seconds: float, *, tiny: bool = False) -> dict:
    """The record of one case, and its line on the screen: median step times, minigen's over PyTorch's"""
    runs = {"minigen": (cases.build(name, "minigen", tiny=tiny), wait_for(backend))}
    if importlib.util.find_spec("torch") is not None and backend.name == "cupy":
        runs["torch"] = torch_on_the_device(name)
    losses = {library: first_loss(run) for library, (run, _) in runs.items()}
    times: dict[str, list[float]] = {library: [] for library in runs}
    for run, wait in runs.values():
        timed(run.step, wait, WARM_UP)
    for _ in range(rounds):
        for library, (run, wait) in runs.items():
            steps = max(1, round(seconds / timed(run.step, wait, 1)))
            times[library].append(timed(run.step, wait, steps))
    medians = {library: 1e3 * statistics.median(rounds) for library, rounds in times.items()}
    agree = max(losses.values()) - min(losses.values()) <= TOLERANCE * abs(losses["minigen"])
    ratio = medians["minigen"] / medians["torch"] if "torch" in medians else None
    said = "  ".join(f"{library} {ms:.3f} ms" for library, ms in medians.items())
    print(
        f"{name}: {said}"
        + (f"  ratio {ratio:.2f}" if ratio else "")
        + ("" if agree else "  THE LOSSES DIFFER")
    )
    return {"case": name, "median_ms": medians, "ratio": ratio, "losses": losses, "agree": agree}


def wait_for(backend: Backend) -> Callable[[], None]:
    """What returns when the backend's device has done all it was asked to"""
    if backend.name != "cupy":
        return lambda: None
    return backend.module.cuda.get_current_stream().synchronize


def torch_on_the_device(name: str):
    """The case built by PyTorch, all of whose new tensors lie on the device"""
    import torch

    if not torch.cuda.is_available():
        raise BackendError("this PyTorch finds no CUDA device: install one that does")
    torch.set_default_device("cuda")
    return cases.build(name, "torch"), torch.cuda.synchronize


def first_loss(run: cases.Run) -> float:
    """The loss of the first step, at the weights that all libraries begin with; 0 for a step that tells none"""
    loss = run.step()
    return 0.0 if loss is None else float(loss)


def timed(step: Callable[[], object], wait: Callable[[], None], steps: int) -> float:
    """Seconds for each of so many steps, the device idle before and after"""
    wait()
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - begun) / steps


if __name__ == "__main__":
    raise SystemExit(main())
