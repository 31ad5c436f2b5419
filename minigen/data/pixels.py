"""From 8-bit pixels to what models eat."""

import numpy as np

from minigen.errors import DataError, DTypeError


def scale(images: np.ndarray) -> np.ndarray:
    """(...) uint8 -> (...) float32 in [0, 1], 255 becoming exactly 1"""
    if images.dtype != np.uint8:
        raise DTypeError(
            f"scale: images are {images.dtype}, expected uint8 pixels 0..255; "
            "floating point images are probably scaled already"
        )
    return np.divide(images, np.float32(255), dtype=np.float32)


def binarize(
    images: np.ndarray, how: str = "threshold", rng: np.random.Generator | None = None
) -> np.ndarray:
    """(...) uint8, or float in [0, 1] -> (...) float32 of zeros and ones

    "threshold": one where the pixel is brighter than a half. "dynamic": one with the pixel's brightness as
    the probability, drawn anew at every call from `rng` (Salakhutdinov & Murray 2008, section 4).
    """
    p = scale(images) if images.dtype == np.uint8 else np.asarray(images, np.float32)
    if not (p.min(initial=0) >= 0 and p.max(initial=0) <= 1):
        raise DataError(f"binarize: values from {p.min()} to {p.max()}, expected uint8 or floats in [0, 1]")
    if how == "threshold":
        return (p > 0.5).astype(np.float32)
    if how != "dynamic":
        raise DataError(f'binarize: how={how!r} is unknown, expected "threshold" or "dynamic"')
    if rng is None:
        raise DataError('binarize: how="dynamic" draws random numbers and needs rng, a numpy Generator')
    return (rng.random(p.shape, np.float32) < p).astype(np.float32)
