"""The data sets as arrays: `load` finds the files, checks every byte and hands out read-only splits."""

import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigen.data.idx import check_digest, read_images, read_labels
from minigen.data.registry import EMBEDDED, EMBEDDED_ARRAYS, IDX_SETS, IdxFile, IdxSet, idx_set
from minigen.errors import DataError, ShapeError

EMBEDDED_FILE = Path(__file__).with_name("mnist_small.npz")


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """images (N, H, W) uint8 and labels (N,) uint8 of one part of a set; what `load` gives is read-only"""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.images.ndim != 3 or self.labels.shape != self.images.shape[:1]:
            raise ShapeError(
                f"Split: images {self.images.shape}, labels {self.labels.shape}; expected (N, H, W) and (N,)"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} images of {self.images.shape[1]}x{self.images.shape[2]})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named set, split as it was published."""

    name: str
    train: Split
    test: Split


def load(name: str = EMBEDDED, *, folder: str | os.PathLike | None = None) -> Dataset:
    """name -> Dataset; images (N, 28, 28) uint8, labels (N,) uint8, read-only

    "mnist-small" is part of the package. "mnist" and "fashion-mnist" are looked for in `folder` if given,
    else in the folder named by MINIGEN_DATA and then in the download cache; a folder holds the four IDX
    files, gzipped or not, itself or in a subfolder named like the set. Every file is held against its
    published checksum. Raises DataError: one line naming the file, what was found and what was expected.
    """
    if name == EMBEDDED:
        return load_embedded()
    published = idx_set(name)
    paths = locate(published, folder)
    missing = [file.name for file in published.files if file.name not in paths]
    if not paths:
        where = ", ".join(map(str, search_path(folder)))
        raise DataError(
            f"data set {name!r}: none of its files found in {where}; `minigen data get {name}` downloads it, "
            "or set MINIGEN_DATA to a folder that holds its IDX files"
        )
    if missing:
        place = next(iter(paths.values())).parent
        raise DataError(
            f"{place}: of data set {name!r} {', '.join(missing)} missing; `minigen data get {name}`"
        )
    splits = [
        read_split(paths[images.name], paths[labels.name], expect=(images, labels))
        for images, labels in (published.files[:2], published.files[2:])
    ]
    return Dataset(name, *splits)


def read_split(images, labels, *, expect: tuple[IdxFile, IdxFile] | None = None) -> Split:
    """(IDX file of N images, IDX file of N labels) -> Split; for sets of your own"""
    x = read_images(images, expect[0] if expect else None)
    y = read_labels(labels, expect[1] if expect else None)
    if len(x) != len(y):
        raise DataError(f"{labels}: {len(y)} labels for the {len(x)} images of {images}; expected a pair")
    return Split(x, y)


def load_embedded(path: Path = EMBEDDED_FILE) -> Dataset:
    """The subset in the package: 600 training and 100 test images of each digit, in mixed order."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name, (shape, size, sha256) in EMBEDDED_ARRAYS.items():
                with archive.open(f"{name}.npy") as member:
                    npy = member.read(size + 1)
                check_digest(npy, sha256=sha256)
                # bytes with that checksum need no further parsing: the elements are at their end
                arrays[name] = np.frombuffer(npy, np.uint8)[size - int(np.prod(shape)) :].reshape(shape)
    except FileNotFoundError:
        raise DataError(
            f"{path}: missing from the package, expected the embedded digits; reinstall minigen"
        ) from None
    except Exception as error:  # zipfile answers damage with a dozen kinds of error
        raise DataError(
            f"{path}: damaged ({error}), expected the embedded digits; reinstall minigen"
        ) from None
    train, test = (Split(arrays[f"{part}_images"], arrays[f"{part}_labels"]) for part in ("train", "test"))
    return Dataset(EMBEDDED, train, test)


def locate(published: IdxSet, folder=None) -> dict[str, Path]:
    """file name -> path, for those files of a set that lie in the first place that has any of them

    All sets call their files the same: files that lie in no folder of the set's name may be another set's.
    """
    for base in search_path(folder):
        for place in (base / published.name, base):
            paths = {file.name: path for file in published.files if (path := _find(place, file.name))}
            if paths and not (place is base and _is_of_another(published, paths)):
                return paths
    return {}


def _is_of_another(published: IdxSet, paths: dict[str, Path]) -> bool:
    """Is the smallest file another published set's? (Any other content counts as this set's, damaged.)"""
    smallest = published.files[3].name
    for other in IDX_SETS.values():
        if other is not published and smallest in paths:
            with suppress(DataError):
                read_labels(paths[smallest], other.files[3])
                return True
    return False


def search_path(folder=None) -> list[Path]:
    """The folders in which sets are looked for, in order."""
    named = folder or os.environ.get("MINIGEN_DATA")
    if not named:
        return [cache_folder()]
    base = Path(named).expanduser()
    if not base.is_dir():
        whose = "the data folder" if folder else "MINIGEN_DATA"
        raise DataError(
            f"{base}: {whose} is no folder; expected one that holds IDX files or subfolders of them"
        )
    return [base] if folder else [base, cache_folder()]


def cache_folder() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "minigen"
    except RuntimeError:
        raise DataError(
            "no home folder to keep downloads in; name one by MINIGEN_DATA or XDG_CACHE_HOME"
        ) from None


def _find(folder: Path, name: str) -> Path | None:
    dotted = name.replace("-idx", ".idx")  # as some tools unpack them
    candidates = (folder / f"{stem}{suffix}" for suffix in ("", ".gz") for stem in (name, dotted))
    return next((path for path in candidates if os.path.lexists(path)), None)
