"""Every model of `minigen train`, small and in float64, and what several ranks do with them: run by mpiexec.

    mpiexec -n 2 python -m tests.ranks_models curves|refusals|resume|FAILURE FILE

`curves` writes each model's losses, figures and parameters to FILE; test_ranks.py holds them against one process's.
"""

import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigen import Tensor, grad, nn, ops, ranks, xp
from minigen.checkpoint import load
from minigen.data import Dataset, Split
from minigen.errors import MinigenError
from minigen.optim import Adam
from minigen.training import streams, train
from minigen.training.progress import Silent
from solutions import e07_autoencoder as e07
from solutions import e10_pixelrnn as e10
from solutions import e11_pixelcnn as e11
from solutions import e13_vae as e13
from solutions import e15_gan as e15


@dataclass(frozen=True)
class Config:
    size: int = 5


class Critic(nn.Module):
    """All that looks across images or draws by itself: batch norm, its second derivative, Dropout, and clipping."""

    clip_norm = 0.5

    def __init__(self, config, *, rng):
        self.config = config
        own = np.random.default_rng(rng.integers(2**31))
        layers = [nn.Dense(64, 7, bias=False, rng=rng), nn.BatchNorm(7), nn.Tanh(), nn.Dropout(0.3, rng=own)]
        self.body = nn.Sequential(*layers, nn.Dense(7, config.size, rng=rng), nn.Dropout(0.1, rng=own))

    def updates(self, batch, rng):
        x = Tensor(batch.reshape(len(batch), 64), requires_grad=True)
        y = self.body(x + xp.asarray(rng.normal(0.0, 0.1, x.shape)))
        slope = grad(ops.sum(ops.square(y)), x, create_graph=True, retain_graph=True)
        yield self, ops.mean(ops.square(y - 1.0)) + ops.mean(ops.sum(ops.square(slope), axis=1))

    def optimizers(self):
        return {"": Adam(self.parameters(), 1e-2)}

    def evaluate(self, images, rng):
        return {"square": float(ops.mean(ops.square(self.body(images.reshape(len(images), 64)))).item())}


MODELS = {
    "autoencoder": (e07.Autoencoder, e07.Config(pixels=64, hidden=(12,), code=4)),
    "linear autoencoder": (e07.Autoencoder, e07.Config(pixels=64, hidden=(), code=4, linear=True)),
    "Row LSTM, dynamic": (
        e10.PixelRNN,
        e10.Config(side=8, h=3, layers=1, first=3, head=5, binarize="dynamic"),
    ),
    "Diagonal BiLSTM": (e10.PixelRNN, e10.Config(kind="diagonal", side=8, h=3, layers=1, first=3, head=5)),
    "PixelCNN, dynamic": (
        e11.PixelCNN,
        e11.Config(side=8, h=3, blocks=1, first=3, head=5, gated=False, binarize="dynamic"),
    ),
    "gated PixelCNN": (e11.PixelCNN, e11.Config(side=8, h=3, blocks=1, first=3, head=5, gated=True)),
    "VAE": (e13.VAE, e13.Config(pixels=64, hidden=(16,), code=3)),
    "convolutional VAE": (e13.VAE, e13.Config(pixels=64, hidden=(), channels=(3, 4), code=3)),
    "Gaussian VAE": (e13.VAE, e13.Config(pixels=64, hidden=(8,), code=3, likelihood="gaussian")),
    "GAN": (e15.GAN, e15.Config(shape=(1, 8, 8), z=5, channels=(6, 4))),
    "Wasserstein GAN": (
        e15.GAN,
        e15.Config(shape=(1, 8, 8), z=5, channels=(6, 4), loss="wasserstein", critic_steps=3),
    ),
    "dense GAN": (
        e15.GAN,
        e15.Config(shape=(1, 8, 8), net="mlp", z=5, hidden=(12,), loss="least-squares"),
    ),
    "GAN of colours": (e15.GAN, e15.Config(shape=(3, 8, 8), z=5, channels=(6, 4), loss="minimax")),
    "critic": (Critic, Config()),
}
IMAGES, BATCH = 199, 10  # 20 steps, the last on 9 images; 10 are cut into 3 parts and a rest of 1


def dataset(n=IMAGES, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n + 20, 8, 8), dtype=np.uint8)
    splits = [Split(part, np.zeros(len(part), np.uint8)) for part in (images[:n], images[n:])]
    return Dataset("toy", *splits)


def build(name, seed=1):
    """The model with float64 parameters and batches."""
    kind, config = MODELS[name]
    model = kind(config, rng=streams(seed).init)
    for part in model.modules():
        for key, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                setattr(part, key, Tensor(value.data.astype("float64"), requires_grad=value.requires_grad))
    prepare = getattr(model, "prepare", lambda images, rng: images)
    model.prepare = lambda images, rng: prepare(images, rng).astype("float64")
    return model


class Curve(Silent):
    """Keeps the losses of each step."""

    def __init__(self):
        self.losses = []

    def step(self, epoch, losses):
        self.losses.append(list(losses.values()))


def run(team, name, data=None, at=None, **changes):
    """-> what a run is: its losses step by step, figures, parameters and buffers. at: (rank, step, what it does)"""
    model, curve = build(name), Curve()
    if at is not None:
        model.updates = surprised(model.updates, team, *at)
    settings = {"epochs": 1, "batch_size": BATCH, "seed": 1, "save_seconds": 1e9} | changes
    done = train(model, data or dataset(), progress=curve, ranks=team, **settings)
    figures = [value for row in done.history for key, value in row.items() if key != "seconds"]
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("album")}
    return {"losses": curve.losses, "figures": figures, "state": {k: v.tolist() for k, v in state.items()}}


def surprised(updates, team, rank, step, action):
    steps = itertools.count(1)

    def wrapped(batch, rng):
        if next(steps) == step and team.rank == rank:
            action()
        yield from updates(batch, rng)

    return wrapped


def refused(work):
    try:
        work()
    except MinigenError as error:
        return str(error)
    return "nothing was refused"


class Uneven(Critic):
    """Draws one number more on rank 1."""

    def updates(self, batch, rng):
        share = ranks.current()
        if share is not None and share.team.rank:
            rng.random()
        yield from super().updates(batch, rng)


class Shuffling(Critic):
    def updates(self, batch, rng):
        yield from super().updates(batch[rng.permutation(len(batch))], rng)


def refusals(team):
    """What all ranks refuse together, line by line; they go on together after each."""
    MODELS.update(uneven=(Uneven, Config()), shuffling=(Shuffling, Config()))
    odd = team.rank == 1
    works = {
        "settings": lambda: run(team, "VAE", batch_size=12 if odd else 10),
        "data": lambda: run(team, "VAE", data=dataset(seed=int(odd))),
        "small": lambda: run(team, "VAE", batch_size=66),
        "uneven": lambda: run(team, "uneven"),
        "shuffling": lambda: run(team, "shuffling"),
        "first": lambda: ranks.once(team, lambda: load(Path("no such checkpoint.npz"))),
        "diverged": lambda: run(
            team, "VAE", at=(0, 1, lambda: None), clip_norm=1e-9, schedule=lambda t: 1e300
        ),
    }
    with np.errstate(all="ignore"):
        return {name: refused(work) for name, work in works.items()}


def resume(team, folder):
    """A run that somebody stops on its last rank at step 7, taken up again, beside one that was left alone."""
    whole, told = run(team, "GAN"), ""
    try:
        run(team, "GAN", run_dir=folder, at=(team.size - 1, 7, lambda: os.kill(os.getpid(), signal.SIGINT)))
    except KeyboardInterrupt as stop:
        told = str(stop)
    return {"whole": whole, "again": run(team, "GAN", run_dir=folder, resume=True), "told": told}


FAILURES = {"killed": lambda: os.kill(os.getpid(), signal.SIGKILL), "raised": lambda: [][1]}


def main(what, file):
    with ranks.opened("mpi") as team:
        if what == "curves":
            names = list(MODELS) if team.size == 2 else ["VAE", "GAN", "Wasserstein GAN", "critic"]
            found = {name: run(team, name) for name in names}
        elif what == "refusals":
            found = refusals(team)
        elif what == "resume":
            found = resume(team, Path(file).parent / "run")
        else:
            run(team, "VAE", run_dir=Path(file).parent / "run", at=(1, 5, FAILURES[what]), save_steps=1)
        if team.rank == 0:
            Path(file).write_text(json.dumps(found))
        print(f"rank {team.rank} of {team.size}")


if __name__ == "__main__":
    main(*sys.argv[1:])
