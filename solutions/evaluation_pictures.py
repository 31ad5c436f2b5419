"""The tables and pictures of lesson e14: `python -m solutions.e14_evaluation [FOLDER]`, about a quarter of an hour."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigen import Tensor, no_grad, xp
from minigen.data import load, scale
from minigen.plot import COLOURS, SOFT, STYLE, strips
from minigen.training import progress, train
from solutions.e07_autoencoder import flatten
from solutions.e09_autoregressive import FVSBN, MADE, PRESETS, Independent
from solutions.e13_vae import VAE, Config, linear_log_prob, linear_posterior
from solutions.e14_evaluation import (
    IWAE,
    AtVAE,
    active_units,
    balanced,
    centroids,
    compare,
    evidence,
    parzen_score,
    probe_error,
)

DRAWS = (1, 5, 50, 500, 5000)
LOG_2PI = math.log(2 * math.pi)


class AtLinear:
    """x = z W + b + e at (N, D) images, with N(mean, spread^2 I) in place of the true posterior; float64 arrays"""

    def __init__(self, x: np.ndarray, W: np.ndarray, b: np.ndarray, noise: float, mean: Any, spread: Any):
        self.x, self.W, self.b, self.noise, self.mean, self.spread = x, W, b, noise, mean, spread

    def sample(self, k: int, rng: np.random.Generator) -> np.ndarray:
        """k -> (k, N, c)"""
        return self.mean + self.spread * rng.standard_normal((k, len(self.x), len(self.W)))

    def log_q(self, z: np.ndarray) -> Tensor:
        """(k, N, c) -> (k, N)"""
        away = np.square((z - self.mean) / self.spread)
        return Tensor(-0.5 * (away + 2 * np.log(self.spread) + LOG_2PI).sum(axis=2))

    def log_joint(self, z: np.ndarray) -> Tensor:
        """(k, N, c) -> (k, N)"""
        away = np.square(self.x - self.b - z @ self.W) / self.noise + math.log(self.noise) + LOG_2PI
        return Tensor(-0.5 * (away.sum(axis=2) + (np.square(z) + LOG_2PI).sum(axis=2)))


def where_it_is_known(rng: np.random.Generator, n: int = 200) -> tuple[dict[str, list[float]], float]:
    """() -> (name of q -> L_k for each of DRAWS, the exact log p(x)): the linear-Gaussian model of lesson e13"""
    basis, _ = np.linalg.qr(rng.normal(size=(8, 2)))
    W, b, noise = (
        2 * basis.T,
        rng.normal(size=8),
        0.3,
    )  # orthogonal rows: the posterior is a diagonal Gaussian
    x = rng.standard_normal((n, 2)) @ W + b + math.sqrt(noise) * rng.standard_normal((n, 8))
    mean, covariance = linear_posterior(x, W, b, noise)
    spread = np.sqrt(np.diag(covariance))
    guesses = {
        "the true posterior": (mean, spread),
        "twice as wide": (mean, 2 * spread),
        "off by two deviations": (mean + 2 * spread, spread),
        "the prior": (np.zeros(2), np.ones(2)),
    }
    found = {}
    for name, q in guesses.items():
        at = AtLinear(x, W, b, noise, *q)
        found[name] = [
            float(np.mean([evidence(at, k, rng).mean() for _ in range(max(1, 500 // k))])) for k in DRAWS
        ]
    return found, float(linear_log_prob(x, W, b, noise).mean())


class DynamicMADE(MADE):
    """The MADE of lesson e09, on pixels that are drawn anew each time, as the VAE's are"""

    def prepare(self, images: Any, rng: np.random.Generator) -> Any:
        """(N, H, W) in [0, 1] -> the same shape, zeros and ones"""
        return (xp.asarray(rng.random(images.shape, np.float32)) < images).astype("float32")


class DynamicFVSBN(FVSBN):
    """The same for the FVSBN"""

    prepare = DynamicMADE.prepare


def models(data: Any) -> dict[str, Any]:
    """A Dataset -> name -> a trained model: two with an exact p(x), two with a bound (code 20, one hidden layer)"""
    config = Config(hidden=(200,), epochs=60)
    independent = Independent(PRESETS["made"], rng=np.random.default_rng(0))
    independent.fit(xp.asarray(scale(data.train.images)))  # the mean over all ways to binarize
    found: dict[str, Any] = {
        "FVSBN": DynamicFVSBN(PRESETS["fvsbn"], rng=np.random.default_rng(0)),
        "MADE": DynamicMADE(PRESETS["made"], rng=np.random.default_rng(0)),
        "VAE": VAE(config, rng=np.random.default_rng(0)),
        "IWAE, k = 5": IWAE(config, k=5, rng=np.random.default_rng(0)),
    }
    for name, model in found.items():
        print(f"training: {name}", flush=True)
        plan = model.config
        train(model, data, epochs=plan.epochs, batch_size=plan.batch_size, seed=0, progress=progress())
        model.eval()
    return {"independent pixels": independent, **found}


def bounds(found: Mapping[str, Any], data: Any, rng: np.random.Generator, n: int = 200) -> dict[str, list]:
    """Trained models -> name -> L_k for each of DRAWS, of the same n binary test images"""
    x = found["VAE"].prepare(xp.asarray(scale(data.test.images[:n])), rng)
    rows = {}
    for name in ("VAE", "IWAE, k = 5"):
        with no_grad():
            at = AtVAE(found[name], x)
        rows[name] = [float(evidence(at, k, rng).mean()) for k in DRAWS]
    return rows


def codes(model: VAE, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, H, W) uint8 -> (N, c): the means of q(z|x)"""
    with no_grad():
        return model.encode(model.prepare(xp.asarray(scale(images)), rng))[0].numpy()


def probes(model: VAE, data: Any, rng: np.random.Generator, seeds: int = 5) -> None:
    """Prints the test error of a linear probe on raw pixels and on the means of q(z|x), by number of labels"""
    kinds = {
        "pixels": [flatten(scale(part.images)) for part in (data.train, data.test)],
        "means of q(z|x)": [codes(model, part.images, rng) for part in (data.train, data.test)],
    }
    for name, (features, test) in kinds.items():
        line = []
        for n in (100, 300, 1000, 3000):
            errors = []
            for _ in range(seeds):
                chosen = balanced(data.train.labels, n, rng)
                errors.append(
                    probe_error(features[chosen], data.train.labels[chosen], test, data.test.labels)
                )
            line.append(
                f"{n} labels {100 * np.mean(errors):5.2f} +- {100 * np.std(errors) / math.sqrt(seeds):.2f} %"
            )
        print(f"{name:16} " + ", ".join(line))


def parzen_table(found: Mapping[str, Any], data: Any, rng: np.random.Generator, m: int = 1000) -> dict:
    """Trained models -> name -> (m images, sigma, log p(test) by a Parzen window on them, its error)

    The last 1,000 training images choose sigma; nothing else sees them.
    """
    images = flatten(scale(data.train.images))
    train_images, validation = images[:-1000], images[-1000:]
    test, vae = flatten(scale(data.test.images)), found["VAE"]
    z = rng.standard_normal((m, vae.config.code)).astype(np.float32)
    with no_grad():
        kinds = {
            "centroids": centroids(train_images, m, rng),
            "VAE's means": vae.decode(Tensor(z)),
            "real digits": train_images[rng.choice(len(train_images), m, replace=False)],
            "VAE's pixels": vae.sample(m, rng),
            "MADE's pixels": found["MADE"].sample(m, rng),
        }
    kinds = {name: np.asarray(getattr(x, "data", x), np.float32) for name, x in kinds.items()}
    sigmas = np.geomspace(0.1, 1, 10)
    return {name: (x, *parzen_score(x, validation, test, sigmas)) for name, x in kinds.items()}


def draw_bounds(
    left: Mapping[str, Sequence], exact: float, right: Mapping[str, Sequence], path: Path
) -> Path:
    """L_k over k, twice: where log p(x) is known (a dashed line), and where it is not -> one PNG"""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.7), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        for ax, rows in zip(figure.subplots(1, 2), (left, right), strict=True):
            ax.set(xscale="log", xlabel="draws k", ylabel="nats per image")
            for colour, (name, values) in zip(COLOURS, rows.items(), strict=False):
                ax.plot(DRAWS, values, color=colour, lw=1.8, marker="o", ms=4, label=name)
            ax.set_xticks(DRAWS, [f"{k:,}" for k in DRAWS])
            ax.minorticks_off()
            if rows is left:
                ax.axhline(exact, color=SOFT, lw=1.2, ls=(0, (5, 3)), label="log p(x), exact")
                ax.set_title("Linear-Gaussian: the bound rises to log p(x)")
                ax.set_ylim(exact - 4.5, exact + 0.4)
            else:
                ax.set_title("Test digits: how much the ELBO leaves out")
            ax.legend(loc="lower right", fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
    return path


def main(folder: Path = Path("runs/e14")) -> None:
    """Prints the tables of the lesson's text and draws its pictures"""
    rng = np.random.default_rng(0)
    known, exact = where_it_is_known(rng)
    print(f"log p(x) is {exact:.3f} nats; L_k by k = {DRAWS}")
    for name, values in known.items():
        print(f"{name:22} " + " ".join(f"{value:9.3f}" for value in values))
    data = load()
    found = models(data)
    print("\nthe same binary test images, nats per image")
    for row in compare(found, scale(data.test.images), 200, rng):
        print(f"{row.name:20} {row.sign:>2} {row.nats:7.2f} +- {row.error:.2f}")
    rows = bounds(found, data, rng)
    print(f"\nL_k of 200 test images by k = {DRAWS}, and active units")
    for name, values in rows.items():
        alive = active_units(codes(found[name], data.test.images, rng))
        print(
            f"{name:20} "
            + " ".join(f"{value:8.2f}" for value in values)
            + f"   {alive.sum()} of {len(alive)}"
        )
    print("\ntest error of a linear probe")
    probes(found["VAE"], data, rng)
    print("\nParzen window: log p of the test images, in nats")
    table = parzen_table(found, data, rng)
    for name, (_, sigma, mean, error) in table.items():
        print(f"{name:20} {mean:7.1f} +- {error:.1f}  (sigma {sigma:.3f})")
    print(draw_bounds(known, exact, rows, folder / "e14_bounds.png"))
    title = "Parzen log p of the test digits, in nats: the higher, the better the model?"
    labelled = {f"{name}: {mean:.0f}": x[:10] for name, (x, _, mean, _) in table.items()}
    print(strips(labelled, folder / "e14_parzen.png", title=title))
