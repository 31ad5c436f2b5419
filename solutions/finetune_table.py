"""The table and the picture of lesson e08: test error by number of labels, three ways to begin, several seeds."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from minigen import xp
from solutions import e07_autoencoder as e07
from solutions import e08_finetune as e08
from solutions.finetune_pictures import curves

LABELS = (100, 600, 1000, 3000)
STEPS = {100: 120, 600: 300, 1000: 400, 3000: 600}
RATES = {"random": (1e-3, 3e-3), "frozen": (1e-2, 3e-2), "fine-tuned": (1e-3, 3e-3)}
PUBLISHED = {  # per cent, 60,000 unlabelled images; table 1 of Kingma et al. 2014. A star: recalled, not confirmed
    "NN, labels only *": (25.81, 11.44, 10.7, 6.04),
    "CNN, labels only *": (22.98, 7.68, 6.45, 3.35),
    "contractive AE *": (13.47, 6.3, 4.77, 3.22),
    "M1 + TSVM, features of a VAE": (11.82, 5.72, 4.24, 3.49),
}


class Denoiser(e07.Autoencoder):
    """e07's autoencoder; in training three pixels in ten are blotted out, and it is to draw all. Vincent et al."""

    def updates(self, batch: Any, rng: np.random.Generator) -> Any:
        """(N, ...) images -> one pair: this model, the error of what it makes of the damaged ones, against the whole"""
        x = e07.flatten(batch)
        kept = xp.asarray((rng.random(x.shape) > 0.3).astype(np.float32))
        yield self, e07.reconstruction_loss(self.reconstruct(x * kept), x)


def pretrained(data: Any, seed: int = 0) -> Denoiser:
    """A Dataset -> a denoising autoencoder of its training images. No label, and no test image, is trained on"""
    from minigen.training import progress, train

    config = e07.PRESETS["small"]
    epochs = config.epochs if len(data.train.images) < 20_000 else 5
    model = Denoiser(config, rng=np.random.default_rng(seed))
    train(model, data, epochs=epochs, batch_size=config.batch_size, seed=seed, progress=progress())
    return model


def errors_of(kind: str, n: int, model: Denoiser, data: Any, seeds: int) -> list[float]:
    """A kind of start, labels, autoencoder, Dataset -> test error of each seed, with a recipe chosen on validation

    The validation images are 1000 of the training images; their labels are used to choose the rate, once, at a seed
    that is not reported. (So "100 labels" is a little more than that, as it is in most published tables.)
    """
    from minigen.data import scale

    images, labels = scale(data.train.images), data.train.labels.astype(np.int64)
    test = e08.Labelled(scale(data.test.images), data.test.labels)
    rest, held = e08.hold_out(len(labels), 1000, np.random.default_rng(0))

    def some(seed: int) -> tuple[e08.Labelled, np.random.Generator]:
        rng = np.random.default_rng([seed, n])  # the same labels for every kind
        places = rest[e08.label_subset(labels[rest], n, rng)]
        return e08.Labelled(images[places], labels[places]), rng

    few, rng = some(seeds)
    recipes = [e08.Recipe(rate, STEPS[n]) for rate in RATES[kind]]
    validation = e08.Labelled(images[held], labels[held])
    best = e08.choose_recipe(recipes, lambda: e08.start(kind, model, rng), few, validation, rng)
    found = []
    for seed in range(seeds):
        few, rng = some(seed)
        classifier = e08.start(kind, model, rng)
        e08.fine_tune(classifier, few, best, rng)
        found.append(e08.error_rate(classifier, test))
    return found


def main(seeds: int = 3, folder: Path = Path("runs/e08")) -> None:
    """Prints the table of the lesson's text, and draws it: on all of MNIST where MINIGEN_DATA is set"""
    from minigen.data import load

    begun = time.perf_counter()
    data = load("mnist" if os.environ.get("MINIGEN_DATA") else "mnist-small")
    model = pretrained(data)
    print(
        f"{data.name}, {len(data.train.images)} images without labels, {seeds} seeds; per cent of test error"
    )
    print(f"{'labels':30}" + "".join(f"{n:>14}" for n in LABELS), flush=True)
    table = {}
    for kind in e08.KINDS:
        table[kind] = [errors_of(kind, n, model, data, seeds) for n in LABELS]
        cells = ["{:.2f} +- {:.2f}".format(*e08.mean_and_error(cell)) for cell in table[kind]]
        print(f"{kind:30}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    for name, row in PUBLISHED.items():
        print(f"{name:30}" + "".join(f"{cell:>14}" for cell in row))
    for kind in ("frozen", "fine-tuned"):
        for n, a, b in zip(LABELS, table["random"], table[kind], strict=True):
            gain, error, word = e08.verdict(a, b)
            print(f"{n:5} labels: random - {kind} = {gain:.2f} +- {error:.2f}: the error of {kind} is {word}")
    print(curves(LABELS, table, PUBLISHED, folder / "e08_labels.png"))
    print(f"{time.perf_counter() - begun:.0f} s")
