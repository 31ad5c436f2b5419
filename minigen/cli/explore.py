"""`minigen explore RUN`: one HTML page that holds a trained decoder, and in which one drags through its codes."""

from __future__ import annotations

import argparse
import base64
import html
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigen.course.console import tell
from minigen.course.language import chosen, spoken, term
from minigen.errors import CheckpointError, CourseError

KINDS = "an autoencoder or a VAE of Dense layers (`minigen train autoencoder`, `minigen train vae`)"
POINTS = 400  # test images whose codes are shown
PAGE = Path(__file__).with_name("explore.html")
# The page's texts, by their marks in it; and those that its script fills in, #1 being the first gap.
TEXTS = {
    "__PLANE__": "The plane of codes: drag, or use the arrow keys; the sliders below do the same",
    "__DIGITS__": "Small digits: where the encoder puts test images. The ring: where you are.",
    "__PICTURE__": "What the decoder draws for this code",
    "__ACROSS__": "across the square:",
    "__UP__": "up the square:",
    "__GO__": "Go to the code of a test image",
    "__START__": "Go to a test image:",
    "__MORE__": "The other axes",
}
WORDS = {
    "axis": "axis #1",
    "place": "axis #1 at #2",
    "decoded": "Decoded: #1.",
    "centre": "centre",
}


def add(parsers: Any) -> None:
    """The sub-parser of this family."""
    explore = parsers.add_parser(
        "explore", help="a page to drag through a model's codes", description=__doc__
    )
    explore.add_argument("folder", type=Path, metavar="RUN", help="a folder made by `minigen train`")
    explore.add_argument("--out", type=Path, metavar="HTML", help="default: explore.html in the run's folder")
    explore.add_argument("--data-dir", metavar="DIR", help="a folder that holds the IDX files")
    explore.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 written; 1 the run is damaged, or the page cannot be written; 2 the model is none to explore."""
    from minigen import data
    from minigen.cli.models import trained

    model, saved = trained(args.folder)
    layers = decoder_of(model, str(saved["name"]))
    test = data.load(saved["data"], folder=args.data_dir).test
    images, labels = test.images[:POINTS], test.labels[:POINTS]
    text = page(
        spoken(f"{saved['name']} on the data set {saved['data']}"),
        layers,
        codes_of(model, images),
        labels,
        images.shape[1:],
    )
    path = args.out or args.folder / "explore.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); choose another by --out"
        ) from None
    tell(f"{path}: open it in a browser; it needs no network")
    return 0


# The model, taken apart


def decoder_of(model: Any, name: str) -> list[dict[str, Any]]:
    """A model with a decoder of Dense layers -> its layers, {"kind": ..., what belongs to it}, the output's bend last

    Raises CourseError for a model that a page cannot hold.
    """
    from minigen import Tensor, no_grad

    if not all(hasattr(model, part) for part in ("encode", "decode", "decoder")):
        raise CourseError(f"explore: {name} has no codes to drag through; expected {KINDS}")
    layers = list(_layers(model.decoder, name))
    z = np.random.default_rng(0).standard_normal((8, model.config.code)).astype(np.float32)
    with no_grad():
        wanted = model.decode(Tensor(z)).numpy()
    for last in ([], [{"kind": "sigmoid"}]):
        if np.allclose(forward([*layers, *last], z), wanted, rtol=1e-3, atol=1e-3):
            return [*layers, *last]
    raise CourseError(
        f"explore: {name}.decode does more than its layers and a sigmoid at the end; expected {KINDS}"
    )


def _layers(decoder: Any, name: str) -> Iterator[dict[str, Any]]:
    from minigen import nn

    plain: dict[type, str] = {
        nn.ReLU: "relu",
        nn.Tanh: "tanh",
        nn.Sigmoid: "sigmoid",
        nn.Softplus: "softplus",
    }
    for layer in decoder if isinstance(decoder, nn.Sequential) else [decoder]:
        if isinstance(layer, nn.Dense):
            bias = np.zeros(layer.W.shape[1]) if layer.b is None else layer.b.numpy()
            yield {"kind": "dense", "W": packed(layer.W.numpy()), "b": packed(bias)}
        elif isinstance(layer, nn.ELU):
            yield {"kind": "elu", "alpha": layer.alpha}
        elif isinstance(layer, nn.LeakyReLU):
            yield {"kind": "leaky_relu", "slope": layer.slope}
        elif type(layer) in plain:
            yield {"kind": plain[type(layer)]}
        else:
            found = getattr(type(layer), "__name__", "part")
            raise CourseError(f"explore: the decoder of {name} has a {found}; expected {KINDS}")


def codes_of(model: Any, images: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 -> (N, c) float64: their codes, or the means of these where a model gives a distribution"""
    from minigen import no_grad
    from minigen.data import scale
    from minigen.training.evaluation import prepared

    with no_grad():
        found = model.encode(prepared(model, scale(images), np.random.default_rng(0)))
    return (found[0] if isinstance(found, tuple) else found).numpy().astype(np.float64)


def axes_of(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, c) codes -> centre (c,), axes (c, c), places (N, c): code = centre + place @ axes

    With more than two numbers the axes are the principal ones, the direction of most variance first; each axis is as
    long as the standard deviation of the codes along it, so that places are counted in these.
    """
    centre, n = codes.mean(axis=0), codes.shape[1]
    away = codes - centre
    directions = np.linalg.svd(away, full_matrices=True)[2] if n > 2 else np.eye(n)
    along = away @ directions.T
    spread = along.std(axis=0)
    return centre, directions * spread[:, None], along / np.where(spread > 1e-9, spread, np.inf)


# The page


def packed(array: np.ndarray) -> str:
    """(...) -> its float32 values, little-endian, in base64"""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """What `packed` made -> (n,) float32"""
    return np.frombuffer(base64.b64decode(text), "<f4")


def page(
    title: str, layers: list[dict[str, Any]], codes: np.ndarray, labels: Any, shape: Sequence[int]
) -> str:
    """A title, a decoder's layers, (N, c) codes and (N,) labels of test images, (H, W) -> the page's text"""
    centre, axes, points = axes_of(codes)
    model = {
        "size": len(centre),
        "height": int(shape[0]),
        "width": int(shape[1]),
        "centre": packed(centre),
        "axes": packed(axes),
        "points": packed(points),
        "labels": [str(label) for label in labels],
        "words": {key: term("page", word) for key, word in WORDS.items()},
        "layers": layers,
    }
    said = {"__LANG__": chosen(), "__TITLE__": title, **texts(*codes.shape)}
    parts = {mark: html.escape(words) for mark, words in said.items()}
    parts["__MODEL__"] = json.dumps(model).replace("<", "\\u003c")
    text = PAGE.read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def texts(count: int, n: int) -> dict[str, str]:
    """Number of test images, of numbers in a code -> what stands in the page, by its marks, in the chosen language"""
    size = "one number in all" if n == 1 else f"{n} numbers in all"
    kind = "one number of the code" if n < 3 else "a principal axis of the codes, that of most variance first"
    said = {
        "__DRAG__": f"Drag in the square. Every point in it is a code, {size}, and the picture on the right is "
        "what the trained decoder draws for it: the whole network is in this page, and it is computed anew at every "
        "move.",
        "__LEGEND__": f"Each axis is {kind}. Its unit is the standard deviation of the {count} test images' codes: "
        "between -2 and 2 lie nearly all of them, and farther out the decoder was hardly trained.",
    }
    return {mark: spoken(text) for mark, text in (said | TEXTS).items()}


BENDS: dict[str, Callable[[np.ndarray, dict[str, Any]], np.ndarray]] = {
    "relu": lambda h, _: np.maximum(h, 0),
    "leaky_relu": lambda h, layer: np.where(h > 0, h, layer["slope"] * h),
    "elu": lambda h, layer: np.where(h > 0, h, layer["alpha"] * np.expm1(np.minimum(h, 0))),
    "tanh": lambda h, _: np.tanh(h),
    "softplus": lambda h, _: np.logaddexp(0, h),
    "sigmoid": lambda h, _: 0.5 * (1 + np.tanh(0.5 * h)),
}


def forward(layers: list[dict[str, Any]], z: np.ndarray) -> np.ndarray:
    """The page's layers, (N, c) codes -> (N, pixels): what its script computes, in NumPy"""
    h = z.astype(np.float64)
    for layer in layers:
        if layer["kind"] == "dense":
            bias = unpacked(layer["b"])
            h = h @ unpacked(layer["W"]).reshape(-1, len(bias)).astype(np.float64) + bias
        else:
            h = BENDS[layer["kind"]](h, layer)
    return h
