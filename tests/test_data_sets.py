"""The sets: the embedded digits, the full sets where they are, where files are looked for, pixels."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from data_helpers import ROOT, full_sets, idx_bytes, one_line, tiny_set

from minigen.data import NAMES, Split, binarize, load, make_subset, registry, scale
from minigen.data.idx import read_idx
from minigen.data.sets import EMBEDDED_FILE, load_embedded, locate
from minigen.data.verify import verify
from minigen.errors import DataError, DTypeError, ShapeError


@pytest.fixture(autouse=True)
def no_sets_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIGEN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def full():
    return full_sets()


@pytest.fixture
def tiny(monkeypatch, rng):
    published, blobs = tiny_set(rng)
    monkeypatch.setitem(registry.IDX_SETS, "tiny", published)
    return published, blobs


def put(folder, blobs: dict[str, bytes], suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in blobs.items():
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(blob) if suffix == ".gz" else blob)


def test_the_embedded_digits_are_balanced_and_mixed():
    digits = load()
    assert digits.name == "mnist-small"
    for split, each in ((digits.train, 600), (digits.test, 100)):
        assert split.images.shape == (10 * each, 28, 28)
        assert split.images.dtype == split.labels.dtype == np.uint8
        assert np.array_equal(np.bincount(split.labels), [each] * 10)
        assert 80 < np.count_nonzero(np.diff(split.labels)) / each / 10 * 100 < 98, "the order must be mixed"
        assert not split.images.flags.writeable
        assert split.images.min() == 0
        assert split.images.max() == 255
    assert EMBEDDED_FILE.stat().st_size < 1_200_000


def test_numpy_opens_the_embedded_file_without_pickle():
    digits = load()
    with np.load(EMBEDDED_FILE, allow_pickle=False) as archive:
        assert np.array_equal(archive["train_images"], digits.train.images)
        assert np.array_equal(archive["test_labels"], digits.test.labels)


def test_the_licence_lies_beside_the_data():
    text = EMBEDDED_FILE.with_name("LICENSE-MNIST.txt").read_text(encoding="utf-8")
    for fact in ("Yann LeCun", "Corinna Cortes", "Burges", "CC BY-SA 3.0", "by-sa/3.0"):
        assert fact in text


def test_damage_to_the_embedded_file_is_named_or_harmless(tmp_path, rng):
    whole, right = EMBEDDED_FILE.read_bytes(), load().train.images
    path = tmp_path / "digits.npz"
    places = [*rng.integers(0, len(whole), 12), *rng.integers(len(whole) - 300, len(whole), 20)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            found = load_embedded(path).train.images
        except DataError as error:
            text = str(error)
            assert text.startswith(str(path)), text
        else:
            assert np.array_equal(found, right), f"byte {place} changed the digits in silence"
    for n in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(DataError, match="reinstall"):
            load_embedded(path)
    other = {name: np.zeros(shape, np.uint8) for name, (shape, _, _) in registry.EMBEDDED_ARRAYS.items()}
    make_subset.write(path, other)
    with pytest.raises(DataError, match="SHA-256"):
        load_embedded(path)
    with pytest.raises(DataError, match="missing from the package"):
        load_embedded(tmp_path / "absent.npz")


def test_the_embedded_digits_are_made_from_the_full_set(full, tmp_path):
    digits, arrays = load(), make_subset.make(load("mnist", folder=full))
    assert np.array_equal(arrays["train_images"], digits.train.images)
    assert np.array_equal(arrays["train_labels"], digits.train.labels)
    assert np.array_equal(arrays["test_images"], digits.test.images)
    assert np.array_equal(arrays["test_labels"], digits.test.labels)
    small = {name: arrays[name] for name in ("test_images", "test_labels")}
    make_subset.write(tmp_path / "a.npz", small)
    make_subset.write(tmp_path / "b.npz", small)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_full_sets_have_their_published_checksums(full, name):
    dataset = load(name, folder=full)
    assert dataset.name == name
    assert dataset.train.images.shape == (60_000, 28, 28)
    assert dataset.test.labels.shape == (10_000,)
    assert np.array_equal(np.bincount(dataset.test.labels) > 800, [True] * 10)


def test_a_full_set_under_the_name_of_another_is_recognised(full):
    path = next((full / "mnist").glob("t10k-labels*"))
    with pytest.raises(DataError, match=r"the bytes of mnist/t10k-labels"):
        read_idx(path, 1, registry.FASHION_MNIST.files[3])
    assert locate(registry.FASHION_MNIST, full / "mnist") == {}, (
        "a flat folder of MNIST holds no Fashion-MNIST"
    )
    assert len(locate(registry.MNIST, full / "mnist")) == 4


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("inner", [".", "tiny"])
@pytest.mark.parametrize("how", ["folder", "variable", "cache"])
def test_a_set_is_found_wherever_it_may_lie(tmp_path, monkeypatch, tiny, suffix, inner, how):
    base = tmp_path / "cache" / "minigen" if how == "cache" else tmp_path / "mine"
    put(base / inner, tiny[1], suffix)
    if how == "variable":
        monkeypatch.setenv("MINIGEN_DATA", str(base))
    dataset = load("tiny", folder=base if how == "folder" else None)
    assert idx_bytes(dataset.train.images) == tiny[1]["train-images-idx3-ubyte"]
    assert idx_bytes(dataset.test.labels) == tiny[1]["t10k-labels-idx1-ubyte"]


def test_dotted_names_and_the_cache_behind_the_variable(tmp_path, monkeypatch, tiny):
    put(
        tmp_path / "cache/minigen/tiny",
        {name.replace("-idx", ".idx"): blob for name, blob in tiny[1].items()},
    )
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path / "mine"))
    assert len(load("tiny").train) == 7
    with pytest.raises(DataError, match="none of its files"):
        load("tiny", folder=tmp_path / "mine")


def test_what_is_not_there_is_named(tmp_path, monkeypatch, tiny):
    with pytest.raises(DataError) as error:
        load("mnist", folder=tmp_path)
    assert str(tmp_path) in one_line(error)
    assert "minigen data get mnist" in one_line(error)
    with pytest.raises(DataError, match="expected one of mnist-small, mnist, fashion-mnist"):
        load("cifar")
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="MINIGEN_DATA is no folder"):
        load("tiny")
    put(tmp_path / "half", dict(list(tiny[1].items())[:3]))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte missing"):
        load("tiny", folder=tmp_path / "half")


def test_a_wrong_file_in_a_set_is_named(tmp_path, tiny):
    name = "train-labels-idx1-ubyte"
    wrong = bytearray(tiny[1][name])
    wrong[-1] = (wrong[-1] + 1) % 10
    for blob, says in ((bytes(wrong), "SHA-256"), (idx_bytes(np.zeros(6, np.uint8)), "promises 6 = 6 bytes")):
        put(tmp_path, tiny[1] | {name: blob})
        with pytest.raises(DataError, match=says) as error:
            load("tiny", folder=tmp_path)
        assert str(tmp_path / name) in one_line(error)
        assert [c.state for c in verify("tiny", tmp_path)] == ["fine", "damaged", "fine", "fine"]


def test_split_shapes_are_checked():
    with pytest.raises(ShapeError, match=r"\(3, 2, 2\)"):
        Split(np.zeros((3, 2, 2), np.uint8), np.zeros(2, np.uint8))


def test_scale_is_exact_and_once():
    every = np.arange(256, dtype=np.uint8)
    scaled = scale(every)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, (np.arange(256) / 255).astype(np.float32))
    with pytest.raises(DTypeError, match="scaled already"):
        scale(scaled)


def test_binarize(rng):
    every = np.arange(256, dtype=np.uint8)
    for images in (every, scale(every)):
        assert np.array_equal(binarize(images), (every >= 128).astype(np.float32))
    grey = np.full(40_000, 51, np.uint8)  # a fifth of full brightness
    drawn = binarize(grey, "dynamic", rng)
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    assert abs(drawn.mean() - 0.2) < 6 * np.sqrt(0.2 * 0.8 / grey.size)
    ends = binarize(np.array([0, 255] * 1000, np.uint8), "dynamic", rng)
    assert np.array_equal(ends, [0, 1] * 1000), "black stays black and white white"
    for images, how, needs, says in (
        (every * 2.0, "threshold", None, "expected uint8 or floats"),
        (np.array([np.nan]), "threshold", None, "expected uint8 or floats"),
        (every, "otsu", None, "is unknown"),
        (every, "dynamic", None, "needs rng"),
    ):
        with pytest.raises(DataError, match=says):
            binarize(images, how, needs)


def test_data_imports_numpy_and_the_standard_library_alone():
    code = (
        "import sys, json; before = set(sys.modules); import minigen.data; minigen.data.load();"
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name for name in json.loads(done.stdout) if not name.startswith("_")}
    assert found <= {"numpy", "minigen", "cython_runtime", "sitecustomize"}, found
    assert NAMES == ("mnist-small", "mnist", "fashion-mnist")
