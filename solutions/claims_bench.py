"""What the trained models of lesson e16 are measured by: one set of binary test images, one classifier, one clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, checkpoint, no_grad, to_host, xp
from minigen.data import Dataset, scale
from minigen.nn import Conv2d, Dense, Flatten, ReLU, Reshape, Sequential
from solutions import e15_gan, e16_claims
from solutions.e08_finetune import Classifier, Labelled, Recipe, fine_tune
from solutions.e09_autoregressive import PRESETS as AUTOREGRESSIVE
from solutions.e09_autoregressive import Independent
from solutions.e12_sampling import Naive, sample
from solutions.e14_evaluation import AtVAE, evidence

DRAWS = 50  # of the VAE's bound on log p
LATENT = {"autoencoder": "code", "vae": "code", "gan": "z"}


class Bench:
    """What all models are held against: the same binary test images, and one classifier that sees for us"""

    def __init__(self, plan: Mapping[str, Any], data: Dataset, folder: Path):
        self.samples = plan["samples"]
        rng = np.random.default_rng(0)
        self.grey = scale(data.test.images[: 2 * self.samples])
        self.sharpness = e16_claims.sharpness(self.grey)
        self.test = toss(self.grey, rng)  # (N, H, W) zeros and ones, once for all
        self.judge = _judge(data, folder, plan["seconds"])
        self.features, _ = self.seen(self.test)
        noise = Independent(AUTOREGRESSIVE["made"], rng=rng)
        noise.fit(xp.asarray(scale(data.train.images)))
        with no_grad():
            self.noise = to_host(noise.log_prob(xp.asarray(self.test)).data)  # (N,) nats

    def seen(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, H, W) zeros and ones -> features (n, 64), classes (n,)"""
        with no_grad():
            features = self.judge.encoder(xp.asarray(images.reshape(len(images), -1)))
            logits = self.judge.head(features)
        return features.numpy(), logits.numpy().argmax(axis=1)

    def baseline(self, data: Dataset) -> dict[str, Any]:
        """The same figures of real digits: training images in place of samples"""
        some = scale(data.train.images[: self.samples])
        found = self.look(toss(some, np.random.default_rng(1)))
        return found | {"sharpness": self.sharpness}

    def look(self, images: np.ndarray) -> dict[str, float]:
        """Binary samples (n, H, W) -> their feature distance to the test images, and the classes they fall into"""
        features, digits = self.seen(images)
        classes, kl = e15_gan.mode_statistics(digits[:, None])
        distance = e16_claims.frechet_distance(features, self.features)
        return {"distance": distance, "classes": classes, "class_kl": kl}

    def measure(self, name: str, model: Any, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A trained model -> (figures, arrays to keep: a few samples, nats of every test image)"""
        rng = np.random.default_rng([seed, 1])
        record, kept = self._samples(name, model, rng)
        can = e16_claims.answers(model)
        if can["log_prob"] or can["elbo"]:
            kept["nats"] = self._nats(model, rng)
            record |= {"nats": float(kept["nats"].mean()), "sign": "=" if can["log_prob"] else "<="}
        if can["log_prob"] and seed == 0:
            record |= naive(model)
        return record, kept

    def _samples(self, name: str, model: Any, rng: np.random.Generator) -> tuple[dict, dict]:
        drawn: list[np.ndarray] = []
        n = max(1, self.samples // 5)
        if e16_claims.answers(model)["sample"]:

            def draw(count: int) -> None:
                drawn.append(host(model.sample(count, rng)).reshape(count, 28, 28))

            each = e16_claims.time_per_sample(draw, n, 5, time.perf_counter)
            images, record = np.concatenate(drawn[1:]), {"sample_seconds": each}
        else:
            images, record = grey(name, model, 5 * n, rng), {}
        binary = images if set(np.unique(images)) <= {0.0, 1.0} else toss(images, rng)
        record |= self.look(binary)
        picture = images[:24]
        if name.removesuffix("-hot") in LATENT:
            picture = grey(name, model, 5 * n, rng)
            record["sharpness"] = e16_claims.sharpness(picture)
        return record, {"samples": picture[:24].astype(np.float32)}

    def _nats(self, model: Any, rng: np.random.Generator) -> np.ndarray:
        """-> (N,): what each binary test image costs; of a VAE an upper bound of that, from DRAWS draws"""
        found = []
        with no_grad():
            for start in range(0, len(self.test), 100):
                x = xp.asarray(self.test[start : start + 100])
                if e16_claims.answers(model)["log_prob"]:
                    found.append(-model.log_prob(x).numpy())
                else:
                    found.append(-evidence(AtVAE(model, x), DRAWS, rng))
        return np.concatenate(found).astype(np.float64)


def grey(name: str, model: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """n -> (n, H, W) in [0, 1]: what the decoder or generator makes of standard normal codes, before any pixel is drawn

    Of the VAE the means of p(x|z), which is what papers print; of the autoencoder what it makes of codes it never saw.
    """
    name = name.removesuffix("-hot")
    if name == "gan":
        return host(model.sample(n, rng)).reshape(n, 28, 28)
    z = rng.standard_normal((n, getattr(model.config, LATENT[name])), np.float32)
    with no_grad():
        return model.decode(Tensor(xp.asarray(z))).numpy().reshape(n, 28, 28)


def naive(model: Any) -> dict[str, float]:
    """An autoregressive model -> how often the network runs for one image without a cache, and how long that takes"""
    calls = 0

    class Counting(Naive):
        def __call__(self, x: Any, i: int, j: int) -> Any:
            nonlocal calls
            calls += 1
            return super().__call__(x, i, j)

    begun = time.perf_counter()
    sample(model, 1, np.random.default_rng(0), predictor=Counting)
    return {"naive_passes": calls, "naive_seconds": time.perf_counter() - begun}


def host(images: Any) -> np.ndarray:
    """Tensor or array -> an array of the host"""
    return images if isinstance(images, np.ndarray) else to_host(getattr(images, "_data", images))


def toss(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, H, W) in [0, 1] -> zeros and ones, with the brightness as the chance of a one: all models alike"""
    return (rng.random(images.shape, np.float32) < images).astype(np.float32)


def _judge(data: Dataset, folder: Path, seconds: float) -> Classifier:
    """A small convolutional classifier of binary digits, trained once and kept; its 64 features are what `look` uses"""
    how: Any = {"stride": 2, "padding": 1, "rng": np.random.default_rng(0)}
    encoder = Sequential(
        Reshape(1, 28, 28), Conv2d(1, 16, 4, **how), ReLU(), Conv2d(16, 32, 4, **how), ReLU(), Flatten(),
        Dense(1568, 64, rng=how["rng"]), ReLU(),
    )  # fmt: skip
    judge, path = Classifier(encoder, 64, rng=how["rng"]), folder / "judge.npz"
    if path.is_file():
        judge.load_state_dict(checkpoint.load(path)[0])
    else:
        rng = np.random.default_rng(1)
        binary = toss(scale(data.train.images), rng)
        recipe = Recipe(lr=3e-3, steps=1200 if seconds > 5 else 20)
        fine_tune(judge, Labelled(binary, data.train.labels.astype(np.int64)), recipe, rng)
        checkpoint.save(path, judge.state_dict(), {})
    return judge.eval()
