"""Pictures: every kind is drawn, legible by size, without a display, without pyplot; odd inputs are refused."""

import struct
import subprocess
import sys

import numpy as np
import pytest

from minigen import plot
from minigen.errors import ShapeError
from minigen.tensor import Tensor

HISTORY = [{"epoch": n, "train_loss": 50 / n, "test_squared_error": 60 / n} for n in range(1, 9)]
SERIES = {"train_loss": "train", "test_squared_error": "test"}


def size(path):
    """(width, height) of a PNG, which it must be"""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_every_picture_is_drawn(rng, tmp_path):
    images = rng.random((6, 28, 28))
    drawn = [
        plot.image_grid(images, tmp_path / "grid.png", title="six"),
        plot.strips({"a": images, "b": images[:4]}, tmp_path / "strips.png", heads=list("123456")),
        plot.reconstructions(images, {"model": images, "PCA-8": images}, tmp_path / "new" / "rec.png"),
        plot.interpolation(np.stack([images, images]), tmp_path / "walk.png", title="walk"),
        plot.curves(HISTORY, tmp_path / "curves.png", series=SERIES, lines={"PCA": 13.4}, ylabel="error"),
        plot.sweep([(2, 30.0, 43.6), (8, 15.0, 29.0), (32, 6.8, 13.4)], tmp_path / "sweep.png"),
    ]
    for path in drawn:
        width, height = size(path)
        assert width >= 250
        assert height >= 100


def test_images_come_in_every_form(rng, tmp_path):
    rows = rng.random((3, 16)).astype(np.float32)
    for images in (
        rows,
        rows.reshape(3, 4, 4),
        Tensor(rows, requires_grad=True),
        (rows * 255).astype(np.uint8),
        3 * rows - 1,
    ):
        shown = plot.as_images(images)
        assert shown.shape == (3, 4, 4)
        assert shown.min() >= 0
        assert shown.max() <= 1
    assert plot.as_images(np.full((1, 2, 2), 255, np.uint8)).max() == 1
    size(plot.image_grid(np.zeros((0, 4, 4)), tmp_path / "none.png"))
    size(plot.image_grid(rng.random((1, 28, 20)), tmp_path / "tall.png"))


@pytest.mark.parametrize("shape", [(3, 15), (4,), (2, 2, 2, 2)])
def test_what_is_no_image_is_refused(shape, tmp_path):
    with pytest.raises(ShapeError, match="plot"):
        plot.image_grid(np.zeros(shape), tmp_path / "x.png")


def test_reconstructions_carry_their_error(rng, tmp_path, monkeypatch):
    x = rng.random((2, 4, 4))
    y = x.copy()
    y[1, 0, 0] = 1 - x[1, 0, 0]
    seen = {}
    monkeypatch.setattr(plot, "strips", lambda rows, path, **words: seen.update(rows=rows, **words))
    plot.reconstructions(x, {"model": y}, tmp_path / "x.png")
    assert list(seen["rows"]) == ["original", "model"]
    assert seen["notes"] == {"model": ["0.0", f"{(1 - 2 * x[1, 0, 0]) ** 2:.1f}"]}


def test_curves_of_odd_histories(tmp_path):
    size(plot.curves(HISTORY[:1], tmp_path / "one.png", series=SERIES))
    size(plot.curves([], tmp_path / "none.png", series=SERIES))
    holes = [*HISTORY, {"epoch": 9, "train_loss": None}, {"epoch": 10, "train_loss": 1.0}]
    size(plot.curves(holes, tmp_path / "holes.png", series=SERIES))
    negative = [{"epoch": 1, "train_loss": -3.0}, {"epoch": 2, "train_loss": -40.0}]
    size(plot.curves(negative, tmp_path / "negative.png", series=SERIES))


def test_matplotlib_comes_with_the_first_picture_and_without_pyplot(tmp_path):
    code = (
        "import sys; from minigen import plot, training; import minigen.cli.train\n"
        "assert 'matplotlib' not in sys.modules, 'imported too early'\n"
        f"import numpy as np; plot.image_grid(np.zeros((4, 8, 8)), {str(tmp_path / 'x.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
