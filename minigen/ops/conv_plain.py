"""The three maps of convolution, written plainly for any array library: unfold, multiply, fold.

What a device runs, and what the fast NumPy kernels (minigen.ops.conv_kernels) are compared with.
x: (N, C, H, W), w: (F, C, kh, kw), y and g: (N, F, H', W'); T visible taps; M = N H' W' places.
"""

from minigen.backend import Array, xp
from minigen.ops.geometry import Geometry, Pair


def forward(x: Array, w: Array, geo: Geometry) -> Array:
    """x, w -> y"""
    h, w_ = geo.output_size(x.shape[2:])
    y = unfolded(x, geo) @ flat_weight(w, geo)  # (M, F)
    return y.reshape(x.shape[0], h, w_, w.shape[0]).transpose(0, 3, 1, 2)


def transposed(g: Array, w: Array, geo: Geometry, size: Pair) -> Array:
    """g, w -> x of height and width `size`: each place of g adds a kernel, scaled, to the map it came from"""
    n, f, h, w_ = g.shape
    c = w.shape[1]
    columns = g.transpose(0, 2, 3, 1).reshape(-1, f) @ flat_weight(w, geo).T  # (M, T C)
    columns = columns.reshape(n, h, w_, len(geo.taps), c).transpose(3, 0, 4, 1, 2)  # (T, N, C, H', W')
    (ph, pw), dtype = geo.padding, columns.dtype
    x = xp.zeros((n, c, size[0] + 2 * ph, size[1] + 2 * pw), dtype)
    for tap, column in zip(geo.taps, columns, strict=True):
        x[(..., *geo.places(tap, (h, w_)))] += column
    return x[:, :, ph : ph + size[0], pw : pw + size[1]]


def weight(x: Array, g: Array, geo: Geometry) -> Array:
    """x, g -> w; zero at taps that are not visible"""
    f, c = g.shape[1], x.shape[1]
    rows = g.transpose(1, 0, 2, 3).reshape(f, -1)
    w = (rows @ unfolded(x, geo)).reshape(f, len(geo.taps), c)
    full = xp.zeros((f, c, *geo.kernel), w.dtype)
    for t, (a, b) in enumerate(geo.taps):
        full[:, :, a, b] = w[:, t]
    return full


def unfolded(x: Array, geo: Geometry) -> Array:
    """(N, C, H, W) -> (M, T C): a row for each place of the output, holding all that its kernel sees"""
    (ph, pw), size = geo.padding, geo.output_size(x.shape[2:])
    padded = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    if not geo.taps:
        return xp.zeros((x.shape[0] * size[0] * size[1], 0), x.dtype)
    columns = xp.stack([padded[(..., *geo.places(tap, size))] for tap in geo.taps])  # (T, N, C, H', W')
    return columns.transpose(1, 3, 4, 0, 2).reshape(
        x.shape[0] * size[0] * size[1], len(geo.taps) * x.shape[1]
    )


def flat_weight(w: Array, geo: Geometry) -> Array:
    """(F, C, kh, kw) -> (T C, F), visible taps only"""
    if not geo.taps:
        return xp.zeros((0, w.shape[0]), w.dtype)
    taps = xp.stack([w[:, :, a, b] for a, b in geo.taps])  # (T, F, C)
    return taps.transpose(0, 2, 1).reshape(-1, w.shape[0])
