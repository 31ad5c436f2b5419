"""Make the embedded subset anew from the full MNIST: `python -m minigen.data.make_subset --data-dir DIR`.

The images are chosen and ordered by one raw random key each, from a bit generator whose stream NumPy keeps
fixed: sort by key, then keep the first 600 (100) of every digit. The same images come out everywhere.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from minigen.data.sets import EMBEDDED_FILE, Dataset, Split, load

SEED = 1998  # the year MNIST was published
PER_DIGIT = {"train": 600, "test": 100}


def choose(split: Split, per_digit: int, seed: int) -> Split:
    """N images -> 10 * per_digit images, balanced, unmodified, in mixed order"""
    order = np.argsort(np.random.PCG64(seed).random_raw(len(split)), kind="stable")
    labels = split.labels[order]
    keep = np.zeros(len(split), bool)
    for digit in range(10):
        keep[np.flatnonzero(labels == digit)[:per_digit]] = True
    chosen = order[keep]
    return Split(split.images[chosen], split.labels[chosen])


def make(full: Dataset) -> dict[str, np.ndarray]:
    """the full set -> the four arrays of the subset"""
    arrays: dict[str, np.ndarray] = {}
    for stream, (part, per_digit) in enumerate(PER_DIGIT.items()):
        chosen = choose(getattr(full, part), per_digit, SEED + stream)
        arrays |= {f"{part}_images": chosen.images, f"{part}_labels": chosen.labels}
    return arrays


def npy(array: np.ndarray) -> bytes:
    """array -> the bytes of its .npy file"""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An npz like that of np.savez_compressed, but with the strongest deflate and no date inside."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy(array), zipfile.ZIP_DEFLATED, 9)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the embedded MNIST subset from the full set.")
    parser.add_argument(
        "--data-dir", help="folder that holds the full MNIST (else MINIGEN_DATA or the cache)"
    )
    parser.add_argument("out", nargs="?", type=Path, default=EMBEDDED_FILE)
    args = parser.parse_args(argv)
    arrays = make(load("mnist", folder=args.data_dir))
    write(args.out, arrays)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes; the table EMBEDDED_ARRAYS of registry.py:")
    for name, array in arrays.items():
        data = npy(array)
        print(f'    "{name}": ({array.shape}, {len(data)}, "{hashlib.sha256(data).hexdigest()}"),')


if __name__ == "__main__":
    main()
