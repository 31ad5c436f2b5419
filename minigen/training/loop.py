"""The one loop that trains every model.

`model.updates(batch, rng)` yields `(module, loss)` pairs; after each the loop steps that module's optimizer with the
gradient of that loss. Randomness is drawn from streams of one seed: initial values, data order, noise, evaluation.
A checkpoint holds all that the next step depends on, so a run that was killed anywhere and resumed ends with the same
bits as one that was left alone (on the CPU; wall-clock fields aside).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from minigen import blas, checkpoint
from minigen.backend import active, from_host
from minigen.data import Batches, Dataset, scale
from minigen.errors import CheckpointError, DivergenceError, GraphError
from minigen.optim import Optimizer
from minigen.optim.clip import clip_grad_norm
from minigen.patience import Patience, patience
from minigen.ranks import Communicator
from minigen.tensor import Tensor
from minigen.training import folder as run_folder
from minigen.training.evaluation import evaluate, prepared
from minigen.training.folder import CHECKPOINT
from minigen.training.interrupt import Interrupted
from minigen.training.progress import Silent
from minigen.training.state import identity, restore, state
from minigen.training.step import pairs
from minigen.training.streams import streams
from minigen.training.together import Step, Together

Schedule = Callable[[int], float]  # step -> factor of the learning rate


@dataclass(frozen=True)
class Result:
    """What a finished run leaves: metrics by epoch, steps made, seconds spent (all sessions), and its folder.

    `trained` is the number of steps of this session: 0 where the run was complete already.
    """

    history: list[dict[str, Any]]
    steps: int
    seconds: float
    folder: Path | None
    trained: int


def train(
    model: Any,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    run_dir: str | Path | None = None,
    resume: bool = False,
    clip_norm: float | None = None,
    schedule: Schedule | None = None,
    save_seconds: float = 60.0,
    save_steps: int | None = None,
    progress: Silent | None = None,
    about: dict[str, Any] | None = None,
    opened: Callable[[int, int], None] | None = None,
    ranks: Communicator | None = None,
) -> Result:
    """Trains `model` on `dataset.train`, measures it on `dataset.test` after every epoch.

    Batches are (B, H, W) float32 in [0, 1] on the active backend; a model with `prepare(images, rng) -> batch` gets
    what that makes of them, with the noise stream in training and with the same numbers each time when it is measured
    (evaluation.py). Without `schedule`, `model.schedule(steps in all)`
    is asked for one if the model has it. With `run_dir` the run is recorded there: config.json (with `about`),
    metrics.jsonl, and checkpoint.npz at the start, after each epoch and every `save_seconds` or `save_steps`.
    `resume` goes on from that checkpoint (other `epochs` stretch the schedule, fewer than were begun are refused);
    without it the folder must be new. `opened(steps done, steps in all)` is called once nothing stands in the way.

    `ranks`: train on the images of one process, shared out among several (together.py); of what is said here, rank 0
    alone measures, writes, and says how far it is.

    Raises DivergenceError in the very step whose loss or gradient is not finite (the last checkpoint stays), and
    Interrupted on Ctrl-C, once the step is saved.
    """
    together = Together(ranks or Communicator(), model)
    run = Run(
        model, dataset, epochs, batch_size, seed, Path(run_dir) if run_dir is not None else None, together
    )
    run.clip_norm = clip_norm if clip_norm is not None else getattr(model, "clip_norm", None)
    run.schedule = schedule or (model.schedule(run.total) if hasattr(model, "schedule") else lambda step: 1.0)
    run.save_seconds, run.save_steps = save_seconds, save_steps
    run.progress = progress or Silent()
    together.agree(run)
    if run_dir is not None:
        run.open(resume, about or {})
    before = run.step
    if not together.leads:
        opened, run.progress = None, Silent()
    if opened:
        opened(run.step, run.total)
    with (
        blas.one_thread(),  # decision 7: a crowded core must not stall every product
        patience(*together.signals) as stop,
        together.as_one(run),
    ):
        run.progress.begin(epochs, run.total, run.step)
        try:
            run.go(stop)
        finally:
            run.progress.end()
    return Result(run.history, run.step, run.seconds, run.folder, run.step - before)


class Run:
    """A run between two steps: what `save` writes is all there is to it."""

    clip_norm: float | None
    schedule: Schedule
    save_seconds: float
    save_steps: int | None
    progress: Silent

    def __init__(
        self,
        model: Any,
        dataset: Dataset,
        epochs: int,
        batch_size: int,
        seed: int,
        folder: Path | None,
        together: Together,
    ):
        self.model, self.dataset, self.epochs, self.seed = model, dataset, epochs, seed
        self.together, self.folder = together, folder if together.leads else None
        self.optimizers: dict[str, Optimizer] = model.optimizers()
        self.stepped = {id(attrgetter(name)(model) if name else model): name for name in self.optimizers}
        self.rates = {name: optimizer.lr for name, optimizer in self.optimizers.items()}
        _, data, self.noise, self.evaluation = streams(seed)
        self.batches = Batches(len(dataset.train), batch_size, data)
        self.total = epochs * len(self.batches)
        self.test = scale(dataset.test.images)
        self.step, self.seconds, self.seen = 0, 0.0, 0
        self.sums: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.saved = time.monotonic()

    # The loop

    def go(self, stop: Patience) -> None:
        while len(self.history) < self.epochs:
            self.model.train()
            begun = time.monotonic()
            for index in self.batches:  # after a resume: the rest of the epoch
                self.one(index)
                now = time.monotonic()
                self.seconds, begun = self.seconds + now - begun, now
                if self.batches.position:  # the end of an epoch saves anyway, with its metrics
                    stopping, due = self.together.any(stop.asked, self.together.leads and self.is_due())
                    if stopping or due:
                        self.together.first(self.save)
                    if stopping:
                        raise Interrupted(self.folder, self.step)
            self.close_epoch(begun)
            if self.together.any(stop.asked)[0] and len(self.history) < self.epochs:
                raise Interrupted(self.folder, self.step)

    def one(self, index: np.ndarray) -> None:
        """A step on one batch: every pair that the model yields."""
        images = from_host(scale(self.dataset.train.images[index]))
        batch = prepared(self.model, images, self.noise)
        factor = self.schedule(self.step)
        losses = {}
        with self.together.share(batch) as (mine, step):
            for module, loss in pairs(self.model.updates(mine, self.noise)):
                name = self.stepped.get(id(module))
                if name is None:
                    known = ", ".join(repr(n or "the model itself") for n in self.optimizers)
                    raise GraphError(
                        f"updates() yielded a {type(module).__name__} that has no optimizer; optimizers() names {known}"
                    )
                losses[f"{name}_loss" if name else "loss"] = self.update(name, loss, step, factor)
        if not losses:
            raise GraphError("updates() yielded nothing; expected a pair (module, loss) for each batch")
        self.step += 1
        self.seen += len(index)
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * len(index)
        self.progress.step(min(self.epochs, len(self.history) + 1), losses)

    def update(self, name: str, loss: Tensor, step: Step, factor: float) -> float:
        """Step one optimizer by one loss -> its value."""
        value = step.value(loss, self)
        if not math.isfinite(value):
            raise self.diverged(self.step + 1, f"the loss became {value}")
        optimizer = self.optimizers[name]
        grads = step.gradients(name, loss, optimizer)
        if self.clip_norm is not None:
            clip_grad_norm(grads, self.clip_norm)
        optimizer.lr = self.rates[name] * factor
        try:
            optimizer.step(grads)
        except DivergenceError as error:
            raise self.diverged(self.step + 1, str(error).split(":")[0]) from None
        return value

    def measure(self) -> dict[str, float]:
        """Held-out figures, by the same numbers for every epoch: what changes from one to the next is the model."""
        return evaluate(self.model, self.test, np.random.default_rng(self.evaluation))

    def close_epoch(self, begun: float) -> None:
        """Measure, write a line of metrics, save."""
        trained = {f"train_{name}": value / self.seen for name, value in self.sums.items()}
        found = self.together.measured(self, self.measure)
        tested = {f"test_{name}": value for name, value in found.items()}
        self.seconds += time.monotonic() - begun
        epoch = len(self.history) + 1
        row = run_folder.row_of(
            epoch=epoch, step=self.step, **trained, **tested, seconds=round(self.seconds, 3)
        )
        self.history.append(row)
        self.sums, self.seen = {}, 0
        self.together.first(lambda: self.record(row))
        self.progress.epoch(row)

    def diverged(self, step: int, what: str) -> DivergenceError:
        kept = f"; {self.folder / CHECKPOINT} still holds the last good state" if self.folder else ""
        return DivergenceError(
            f"training diverged at step {step:,} of {self.total:,}: {what}{kept}; "
            "lower the learning rate or clip the gradients"
        )

    # The folder

    def open(self, resume: bool, about: dict[str, Any]) -> None:
        """Take up the run in the folder, or begin one there."""
        self.together.take_up(self, lambda: self.begin(resume, about))

    def begin(self, resume: bool, about: dict[str, Any]) -> bool:
        """Whether there was a run to be taken up"""
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        if path.exists() and not resume:
            raise CheckpointError(f"{self.folder}: holds a run already; resume it, or choose another folder")
        taken_up = path.exists()
        if taken_up:
            restore(self, path)
            begun = len(self.history) + (self.batches.position > 0)
            if self.epochs < begun:
                raise CheckpointError(
                    f"{self.folder}: {begun} epochs were begun, {self.epochs} asked for; nothing was changed: resume "
                    f"with {begun} or more, or train a new run"
                )
        elif resume and not self.folder.is_dir():
            raise CheckpointError(f"{self.folder}: no such run, nothing to resume; check the path")
        run_folder.write_config(
            self.folder,
            {
                **identity(self),
                "epochs": self.epochs,
                "backend": active().name,
                **self.together.about,
                **about,
            },
        )
        run_folder.write_metrics(self.folder, self.history)
        if not taken_up:
            self.save()
        return taken_up

    def record(self, row: dict[str, Any]) -> None:
        """Keep the state at the end of an epoch, and its row of metrics"""
        self.save()
        if self.folder:
            run_folder.append_metrics(self.folder, row)

    def is_due(self) -> bool:
        if self.save_steps and self.step % self.save_steps == 0:
            return True
        return time.monotonic() - self.saved >= self.save_seconds

    def save(self) -> None:
        """The whole state to the checkpoint. A number that is not finite: DivergenceError, and the old one stays."""
        if self.folder is None:
            return
        arrays, meta = state(self)
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise self.diverged(self.step, f"{name} is not finite any more")
        checkpoint.save(self.folder / CHECKPOINT, arrays, meta)
        self.saved = time.monotonic()
