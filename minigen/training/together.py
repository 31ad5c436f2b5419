"""A training run on several ranks: the parts of the loop that they do together, and those that rank 0 does alone.

Every rank draws the same batches, noise and initial values, computes on its share of each batch, and makes the same
step with the same gradient, which is summed over the ranks. Rank 0 alone has the run's folder, and measures. In one
process all of this is nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minigen import ranks
from minigen.backend import active, from_host, to_host, xp
from minigen.errors import RankError
from minigen.optim import Optimizer
from minigen.ranks.rows import Rows, drawing_rows
from minigen.tensor import Tensor
from minigen.training.folder import CHECKPOINT
from minigen.training.state import identity, plain, restore
from minigen.training.step import gradients

if TYPE_CHECKING:
    from minigen.training.loop import Run

MARKS = 1 << 20  # a place in the random streams is known by a number below: its square is exact in float64


class Together:
    """The ranks of a run, or the one process that it is."""

    def __init__(self, team: ranks.Communicator, model: Any):
        self.team, self.model = team, model
        self.alone, self.leads = team.size == 1, team.rank == 0
        # mpiexec passes Ctrl-C on as one or the other
        self.signals = () if self.alone else (signal.SIGINT, signal.SIGTERM)
        self.about = {} if self.alone else {"ranks": team.size}
        self.buffers: dict[tuple, Any] = {}

    def agree(self, run: Run) -> None:
        """RankError if the ranks are not about to do the same, or a batch has no image for one of them"""
        if not self.alone:
            ranks.agree(self.team, _matters(run))
            shares(self.team, self.model, len(run.dataset.train), run.batches.size)

    @contextlib.contextmanager
    def as_one(self, run: Run) -> Iterator[None]:
        """Inside, what the model draws for its share of a batch are rows of what one process would draw."""
        if self.alone:
            yield
            return
        run.noise = Rows(run.noise.bit_generator)
        with drawing_rows(self.model):
            yield

    # A step

    @contextlib.contextmanager
    def share(self, batch: Any) -> Iterator[tuple[Any, Step]]:
        """(N, ...) -> this rank's images of it, and what makes one step of the ranks' losses and gradients"""
        if self.alone:
            yield batch, Step(self, None)
            return
        share = ranks.cut(self.team, len(batch), _parts(self.model))
        with ranks.sharing(share):
            yield batch[from_host(share.rows)], Step(self, share)

    def any(self, *asked: bool) -> list[bool]:
        """Whether it was asked for on any rank; the same answers on every rank"""
        return list(asked) if self.alone else [n > 0 for n in ranks.total(self.team, asked)]

    def sum(self, grads: list[Any]) -> list[Any]:
        """One array for each parameter -> their sums over the ranks, by one flat buffer for each dtype"""
        sums: list[Any] = list(grads)
        for dtype in dict.fromkeys(g.dtype for g in grads):
            members = [i for i, g in enumerate(grads) if g.dtype == dtype]
            shapes = tuple(grads[i].shape for i in members)
            key = (dtype, shapes)
            if key not in self.buffers:
                self.buffers[key] = xp.empty(sum(map(math.prod, shapes)), dtype)
            flat = self.buffers[key]
            xp.concatenate([grads[i].reshape(-1) for i in members], out=flat)
            self.team.allreduce_sum(flat)
            start = 0
            for i, shape in zip(members, shapes, strict=True):
                sums[i] = flat[start : start + math.prod(shape)].reshape(shape)
                start += math.prod(shape)
        return sums

    # What rank 0 does alone

    def first(self, work: Callable[[], Any]) -> Any:
        """What `work` gives on rank 0 (fit for JSON), on every rank; what it raises there ends all"""
        return ranks.once(self.team, work)

    def measured(self, run: Run, work: Callable[[], dict[str, float]]) -> dict[str, float]:
        """The figures that rank 0 finds, and with them the random streams as it leaves them"""
        if self.alone:
            return work()
        found, streams = self.first(lambda: (work(), _streams(run)))
        for rng, state in zip(_generators(run), streams, strict=True):
            rng.bit_generator.state = state
        return found

    def take_up(self, run: Run, take: Callable[[], bool]) -> None:
        """`take` opens the run's folder on rank 0 -> whether a checkpoint was there, which then goes to the others"""
        if self.alone:
            take()
            return

        def taken() -> bytes:
            there = take()
            return (run.folder / CHECKPOINT).read_bytes() if there and run.folder else b""

        content = ranks.first(self.team, taken)
        if content and not self.leads:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder, CHECKPOINT)
                copy.write_bytes(content)
                restore(run, copy)


class Step:
    """One step on one batch: the losses come one after the other, and are the same for all ranks then."""

    def __init__(self, together: Together, share: ranks.Share | None):
        self.together, self.share, self.pairs = together, share, 0

    def value(self, loss: Tensor, run: Run) -> float:
        """() -> the loss of the whole batch; RankError if the ranks' random streams have come apart"""
        if self.share is None:
            return float(loss.item())
        mark = zlib.crc32(json.dumps(_streams(run)).encode()) % MARKS
        weighed = self.share.weight(self.pairs) * float(loss.item())
        value, marks, squares = ranks.total(self.together.team, (weighed, mark, mark * mark))
        if marks * marks != squares * self.together.team.size:  # equal only if all marks are
            raise RankError(
                f"step {run.step + 1:,}: the ranks drew different amounts of random numbers; expected a model to draw "
                "for the images of a share, in the same order on every rank; mend it, or train in one process"
            )
        return value

    def gradients(self, name: str, loss: Tensor, optimizer: Optimizer) -> list[Any]:
        """() -> the gradients of the whole batch's loss, an array for each trainable parameter"""
        model, share = self.together.model, self.share
        if share is None:
            return gradients(model, name, loss, optimizer)
        weight = share.weight(self.pairs)
        self.pairs += 1
        return self.together.sum(gradients(model, name, loss, optimizer, weight))


def shares(team: ranks.Communicator, model: Any, images: int, batch_size: int) -> None:
    """RankError if the smallest batch of an epoch, the last, has no image for one of the ranks"""
    if team.size > 1:
        ranks.cut(team, images % batch_size or batch_size, _parts(model))


def _parts(model: Any) -> int:
    return getattr(model, "parts", 1)


def _generators(run: Run) -> list[np.random.Generator]:
    return [run.noise, *(rng for _, rng in run.model.named_generators())]


def _streams(run: Run) -> list[Any]:
    return [plain(rng.bit_generator.state) for rng in _generators(run)]


def _matters(run: Run) -> dict[str, Any]:
    """All that ranks must have in common before they begin."""
    from minigen import __version__

    values = [to_host(p.data) for p in run.model.parameters()]
    who = identity(run)
    config = who.pop("config") or {}
    return {
        "minigen": __version__,
        "NumPy": np.__version__,
        "the backend": active().name,
        **{key.replace("_", " "): value for key, value in who.items()},
        **{f"config.{key}": value for key, value in config.items()},
        "epochs": run.epochs,
        "clip_norm": run.clip_norm,
        "the dtypes of the parameters": sorted({str(array.dtype) for array in values}),
        "the training images (by checksum)": checksum(run.dataset.train.images),
        "the initial values (by checksum)": checksum(*values),
    }


def checksum(*arrays: np.ndarray) -> int:
    """Host arrays -> a number that tells them from others"""
    mark = 0
    for array in arrays:
        mark = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, mark)
    return mark
