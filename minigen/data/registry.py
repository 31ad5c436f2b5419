"""The data sets minigen knows: their files, the checksums of the unpacked bytes, where they are mirrored."""

from dataclasses import dataclass
from math import prod

from minigen.errors import DataError

EMBEDDED = "mnist-small"
# members of the embedded npz: shape, bytes and SHA-256 of the .npy (printed by make_subset.py)
EMBEDDED_ARRAYS = {
    "train_images": (
        (6000, 28, 28),
        4704128,
        "b23d61f073e631c31e29d16ce9cba387df13edc6a36eb3339cc7aae55ace1388",
    ),
    "train_labels": ((6000,), 6128, "180ce5e310ee2aa0e5dca060b07cdda25a0a8d64a80b63ef37252d560e396fd6"),
    "test_images": (
        (1000, 28, 28),
        784128,
        "25c5c4dbcbcb96a1fff6fe3a8cf3bc96e57d648642333e40cd11db315995128a",
    ),
    "test_labels": ((1000,), 1128, "1903dc41d2a83fae704a70ef3e05ae2e8d1df74986d6fe4b62cb55b2cd9d8b9b"),
}


class UnknownSet(DataError):
    """A name that no data set has: a mistake in the command, not in the data."""

    exit_code = 2


@dataclass(frozen=True)
class IdxFile:
    """One IDX file of unsigned bytes: its name, its shape and the SHA-256 of its unpacked bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """Bytes once unpacked: four of magic, four per dimension, one per element."""
        return 4 + 4 * len(self.shape) + prod(self.shape)


@dataclass(frozen=True)
class IdxSet:
    """A published set: four files and the folders on the web that hold them gzipped."""

    name: str
    licence: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]  # train images, train labels, test images, test labels
    mirrors: tuple[str, ...]


def _four(*digests: str) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    return (
        IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), digests[0]),
        IdxFile("train-labels-idx1-ubyte", (60_000,), digests[1]),
        IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), digests[2]),
        IdxFile("t10k-labels-idx1-ubyte", (10_000,), digests[3]),
    )


MNIST = IdxSet(
    "mnist",
    licence="CC BY-SA 3.0",
    files=_four(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
)

FASHION_MNIST = IdxSet(
    "fashion-mnist",
    licence="MIT",
    files=_four(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
)

IDX_SETS = {s.name: s for s in (MNIST, FASHION_MNIST)}
NAMES = (EMBEDDED, *IDX_SETS)


def idx_set(name: str) -> IdxSet:
    """The published set of that name, or an error that lists the names there are."""
    if name not in IDX_SETS:
        raise UnknownSet(f"data set {name!r} is unknown: expected one of {', '.join(NAMES)}")
    return IDX_SETS[name]


def owner_of(sha256: str) -> str | None:
    """Which published file has these bytes, as 'set/file': a file under a wrong name is worth naming."""
    for published in IDX_SETS.values():
        for file in published.files:
            if file.sha256 == sha256:
                return f"{published.name}/{file.name}"
    return None
