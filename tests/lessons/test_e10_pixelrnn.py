"""Checks of e10: each hole against NumPy, a pixel at a time, and against what must be true of any density."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import itertools
import math

import numpy as np
import pytest

from minigen import Tensor, grad, ops
from minigen.optim import Adam


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def near(a, b, rtol=1e-5):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise, rtol=1e-5):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted, rtol):
        pytest.fail(next((says for says, value in likely.items() if near(found, value, rtol)), otherwise))


def check_slopes(y_of, oracle, tensors, rng, what):
    """grad() through the learner's code against the slope of the NumPy version, along a random direction

    tensors: name -> Tensor; oracle: (name -> float64 array) -> array, the same function in NumPy
    """
    y = y_of()
    assert isinstance(y, Tensor) and y.requires_grad, (
        f"{what} is cut off from the graph: no gradient can flow (was .data, .numpy(), .detach() or no_grad used?)"
    )
    upstream = rng.normal(size=y.shape)
    found = grad((y * upstream).sum(), list(tensors.values()), allow_unused=True)
    now = {name: numbers(tensor) for name, tensor in tensors.items()}
    for (name, tensor), g in zip(tensors.items(), found, strict=True):
        assert g is not None, f"{what} passes no gradient to {name}: is it used at all, or was the graph cut?"
        direction, h = rng.normal(size=tensor.shape), 1e-5
        plus, minus = (oracle(now | {name: now[name] + s * h * direction}) for s in (1, -1))
        slope = float(((plus - minus) * upstream).sum() / (2 * h))
        mine = float((numbers(g) * direction).sum())
        assert abs(mine - slope) < 1e-4 * max(abs(slope), 1e-2 * float(np.abs(upstream).sum())), (
            f"the gradient of {what} with respect to {name} has slope {mine:.5g} along a random direction, the "
            f"function itself {slope:.5g}"
        )


def leaf(array):
    return Tensor(np.array(array, np.float64), requires_grad=True)


def randomize(model, rng, scale=0.7):
    """Random float64 numbers in every parameter"""
    for p in model.parameters():
        p._data = rng.normal(0, scale, p.shape)
    return model


# The layers once more, a pixel at a time


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(a, np.float64)))


def np_cell(a, c):
    """(N, 4h, ...), (N, h, ...) -> h, c"""
    o, f, i, g = np.split(a, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def np_seen(rows, j, W, offsets):
    """What the taps of W (4h, C, 1, k) at these offsets see from column j of rows (N, C, W): (N, 4h)"""
    total = np.zeros((len(rows), len(W)))
    for d in offsets:
        if 0 <= j + d < rows.shape[2]:
            total += rows[:, :, j + d] @ W[:, :, 0, d + W.shape[3] // 2].T
    return total


def np_row_lstm(x, p, kind="B", h0=True, c0=True, b=True, masked_above=False, restart=False, give="h"):
    """(N, C, H, W), name -> array -> (N, h, H, W); the options are the mistakes"""
    N, _, H, W = x.shape
    k, above = p["W_x"].shape[3] // 2, p["W_h"].shape[3] // 2
    own = range(-k, {"A": 0, "B": 1, "": k + 1}[kind])
    y = np.zeros((N, len(p["h0"]), H, W))
    start = [np.tile(np.zeros_like(p[n]) if not use else p[n], (N, 1))[:, :, None].repeat(W, 2)
             for n, use in (("h0", h0), ("c0", c0))]  # fmt: skip
    h, c = start
    for r in range(H):
        h, c = start if restart else (h, c)
        new_h, new_c = np.zeros_like(h), np.zeros_like(c)
        for j in range(W):
            a = p["b"] * b + np_seen(x[:, :, r], j, p["W_x"], own)
            a = a + np_seen(h, j, p["W_h"], range(-above, 1 if masked_above else above + 1))
            new_h[:, :, j], new_c[:, :, j] = np_cell(a, c[:, :, j])
        y[:, :, r] = {"h": new_h, "c": new_c, "before": h}[give]
        h, c = new_h, new_c
    return y


def np_direction(x, p, h0=True, c0=True, b=True, above=True, beside=True, swap=False):
    """(N, C, H, W), name -> array -> (N, h, H, W), each pixel after the one above it and the one to its left"""
    N, _, H, W = x.shape
    y, cells = np.zeros((2, N, len(p["h0"]), H, W))
    up, left = (p["W_h"][:, :, tap, 0].T for tap in ((1, 0) if swap else (0, 1)))
    for i, j in np.ndindex(H, W):
        a = p["b"] * b + x[:, :, i, j] @ p["W_x"][:, :, 0, 0].T
        h = y[:, :, i, j - 1] if j else np.tile(p["h0"] * h0, (N, 1))
        c = cells[:, :, i, j - 1] if j else np.tile(p["c0"] * c0, (N, 1))
        a = a + h @ left * beside + (y[:, :, i - 1, j] @ up if i and above else 0)
        y[:, :, i, j], cells[:, :, i, j] = np_cell(a, c)
    return y


def np_not_held(x, p):
    """np_direction, but a row's state runs on zeros until its turn comes"""
    (N, _, H, W), h = x.shape, len(p["h0"])
    a_x = np.zeros((N, 4 * h, H, H + W - 1))
    for i in range(H):
        a_x[:, :, i, i : i + W] = np.einsum("gc,ncw->ngw", p["W_x"][:, :, 0, 0], x[:, :, i]) + p["b"][:, None]
    y, c = (np.tile(p[n][:, None], (N, 1, H)) for n in ("h0", "c0"))
    columns = []
    for t in range(H + W - 1):
        above = np.concatenate([np.zeros((N, h, 1)), y[:, :, :-1]], axis=2)
        a = a_x[..., t] + sum(
            W @ s for W, s in zip(np.moveaxis(p["W_h"][..., 0], 2, 0), (above, y), strict=True)
        )
        y, c = np_cell(a, c)
        columns.append(y)
    out = np.stack(columns, 3)
    return np.stack([out[:, :, i, i : i + W] for i in range(H)], 2)


def np_bilstm(x, p, shift=1, mirrored_back=True, same=False, mean=False, mirrored=True):
    """(N, C, H, W), name -> (2, ...) -> (N, h, H, W); the options are the mistakes"""
    left, right = ({name: value[d] for name, value in p.items()} for d in (0, 1))
    flip = (lambda a: a[..., ::-1]) if mirrored else (lambda a: a)
    other = np_direction(flip(x), left if same else right)
    other = flip(other) if mirrored_back else other
    y = np_direction(x, left)
    if shift == "roll":
        return y + np.roll(other, 1, 2)
    if shift < 0:
        y[:, :, :shift] += other[:, :, -shift:]
    else:
        y[:, :, shift:] += other[:, :, : other.shape[2] - shift]
    return y / 2 if mean else y


# mask


def earlier(kernel, kind):
    """What comes before the middle in raster order, and with B the middle: said by the order itself"""
    middle = (kernel[0] // 2, kernel[1] // 2)
    seen = np.zeros(kernel, bool)
    for place in np.ndindex(*kernel):
        seen[place] = place < middle or (kind == "B" and place == middle)
    return seen


@pytest.mark.hole("mask", kind="value")
def test_mask(lesson, rng):
    kernels = [(3, 5), (1, 3), (1, 1), (7, 7), tuple(int(k) for k in 2 * rng.integers(1, 5, 2) + 1)]
    for kernel, kind in itertools.product(kernels, "AB"):
        found = numbers(lesson.mask(kernel, kind)).astype(float)
        wanted, middle = earlier(kernel, kind), (kernel[0] // 2, kernel[1] // 2)
        other = earlier(kernel, "AB"[kind == "A"])
        row_only = wanted.copy()
        row_only[: middle[0]] = False
        square = np.zeros(kernel, bool)
        square[: middle[0] + 1, : middle[1] + 1] = True
        square[middle] = kind == "B"
        must_be(
            found,
            wanted,
            {
                f"mask {kind} {'hides' if kind == 'B' else 'shows'} the middle: with A a pixel must not see itself, "
                "with B it may (features have not seen it)": other,
                "the mask is upside down: it shows what comes AFTER the pixel": wanted[::-1, ::-1],
                "the mask shows what comes after the pixel and hides what came before": ~wanted,
                "rows above the middle are visible as a whole: what is above and to the right came before": square,
                "the rows above the middle are hidden": row_only,
                "it is the transpose: rows come first, (kh, kw)": earlier(kernel[::-1], kind).T,
            },
            f"mask({kernel}, {kind!r}) is\n{found.astype(int)}\nexpected\n{wanted.astype(int)}",
        )


@pytest.mark.hole("mask", kind="shape")
def test_mask_is_boolean(lesson, rng):
    for kernel in ((7, 7), (1, 5)):
        found = np.asarray(lesson.mask(kernel, "B"))
        assert found.shape == kernel, f"mask({kernel}, 'B') has shape {found.shape}; expected {kernel}"
        assert found.dtype == bool, (
            f"the mask holds {found.dtype}; expected booleans, as nn.Conv2d wants its taps (a comparison gives them)"
        )


# cell


def gates(rng, n=3, h=4, rest=(1, 5)):
    return rng.normal(0, 1.5, (n, 4 * h, *rest)), rng.normal(0, 1.5, (n, h, *rest))


@pytest.mark.hole("cell", kind="value")
def test_cell_value(lesson, rng):
    for rest in ((1, 5), (4, 1)):
        a, c = gates(rng, rest=rest)
        answer = lesson.cell(Tensor(a), Tensor(c))
        assert isinstance(answer, tuple | list) and len(answer) == 2, (
            "cell gives two things: the new h, the new c"
        )
        o, f, i, g = np.split(a, 4, axis=1)
        s, t = sigmoid, np.tanh
        h_new, c_new = np_cell(a, c)

        def of(o, f, i, g, c=c):
            return np_cell(np.concatenate([o, f, i, g], axis=1), c)

        swapped = {
            "the gates are taken in the order i, f, g, o of lesson e06; here it is the paper's o, f, i, g": of(
                g, f, o, i
            ),
            "the gates i and f are swapped: the order is o, f, i, g": of(o, i, f, g),
            "the gates are taken in the order i, f, o, g: here it is o, f, i, g": of(i, f, o, g),
        }
        likely = {what: new for what, (_, new) in swapped.items()} | {
            "the content g goes through a sigmoid; it is tanh(a_g)": s(f) * c + s(i) * s(g),
            "the old cell is kept whole: f c, the forget gate times the old cell": c + s(i) * t(g),
            "the input gate is missing: i g": s(f) * c + t(g),
            "it is the new h: cell gives (h, c), in this order": h_new,
        }
        wrong = {what: new for what, (new, _) in swapped.items()} | {
            "h is o c: the cell goes through a tanh, h = o tanh(c)": s(o) * c_new,
            "h is made of the OLD cell: first c' = f c + i g, then h' = o tanh(c')": s(o) * t(c),
            "the gate o is missing: h = o tanh(c)": t(c_new),
            "it is the new c: cell gives (h, c), in this order": c_new,
        }
        must_be(
            answer[1],
            c_new,
            likely,
            "the new c is wrong: expected f c + i g, the gates in the order o, f, i, g",
        )
        must_be(answer[0], h_new, wrong, "the new h is wrong: expected o tanh(c') with the new c'")


@pytest.mark.hole("cell", kind="gradient")
def test_cell_gradient(lesson, rng):
    a, c = map(leaf, gates(rng))
    for k, name in enumerate("hc"):
        check_slopes(
            lambda k=k: lesson.cell(a, c)[k],
            lambda now, k=k: np_cell(now["a"], now["c"])[k],
            {"a": a, "c": c},
            rng,
            f"the new {name}",
        )


# row_step


def np_row_conv(h, W, offsets=None):
    k = W.shape[3] // 2
    offsets = range(-k, k + 1) if offsets is None else offsets
    return np.stack([np_seen(h[:, :, 0], j, W, offsets) for j in range(h.shape[3])], 2)[:, :, None]


def row_operands(rng, k=3, n=2, h=3, W=5):
    return (
        rng.normal(size=(n, 4 * h, 1, W)),
        *rng.normal(size=(2, n, h, 1, W)),
        rng.normal(size=(4 * h, h, 1, k)),
    )


@pytest.mark.hole("row_step", kind="value")
def test_row_step_value(lesson, rng):
    for k in (3, 1, 5):
        a_x, h, c, W_h = row_operands(rng, k)
        found = lesson.row_step(*map(Tensor, (a_x, h, c, W_h)))
        assert shape_of(found[0]) == h.shape, (
            f"the new h has shape {shape_of(found[0])}, expected {h.shape}: pad the row by k // 2 at "
            f"both sides (k = {k})"
        )
        wanted = np_cell(a_x + np_row_conv(h, W_h), c)
        likely = {
            "the row above is masked: it came before as a whole, so W_h sees it to both sides": np_cell(
                a_x + np_row_conv(h, W_h, range(-(k // 2), 1)), c
            ),
            "the state is not used: a = a_x + W_h * h": np_cell(a_x, c),
            "the input's part a_x is lost: a = a_x + W_h * h": np_cell(np_row_conv(h, W_h), c),
            "W_h is applied to the cell c; it is h that it convolves": np_cell(a_x + np_row_conv(c, W_h), c),
            "the kernel is flipped: ops.conv2d is a cross-correlation already": np_cell(
                a_x + np_row_conv(h, W_h[..., ::-1]), c
            ),
        }
        for which, name in enumerate("hc"):
            must_be(
                found[which],
                wanted[which],
                {what: value[which] for what, value in likely.items()},
                f"the new {name} is wrong: the cell of a_x + W_h * h, * a convolution along the row (kernel 1 x {k})",
            )


@pytest.mark.hole("row_step", kind="gradient")
def test_row_step_gradient(lesson, rng):
    names = ("a_x", "h", "c", "W_h")
    operands = dict(zip(names, map(leaf, row_operands(rng)), strict=True))

    def oracle(now):
        return np_cell(now["a_x"] + np_row_conv(now["h"], now["W_h"]), now["c"])[0]

    check_slopes(lambda: lesson.row_step(*operands.values())[0], oracle, operands, rng, "the new h")


# RowLSTM.__call__


def row_layer(lesson, rng, **kernels):
    return randomize(lesson.RowLSTM(2, 3, rng=rng, **kernels), rng)


def named(layer):
    return {name: numbers(p) for name, p in layer.named_parameters()}


@pytest.mark.hole("RowLSTM.__call__", kind="value")
def test_row_lstm_value(lesson, rng):
    for kernels in ({}, {"kernel": 5, "kernel_above": 1}):
        layer, x = row_layer(lesson, rng, **kernels), rng.normal(size=(2, 2, 4, 5))
        p = named(layer)
        found = layer(Tensor(x))
        assert shape_of(found) == (2, 3, 4, 5), (
            f"maps (2, 2, 4, 5) give {shape_of(found)}; expected (N, h, H, W) = (2, 3, 4, 5): one h "
            "for each row, along "
            "axis 2"
        )
        upside_down = np_row_lstm(x[:, :, ::-1], p)[:, :, ::-1]
        likely = {
            "the input's convolution has no mask: a pixel sees what is to its right, which comes later": np_row_lstm(
                x, p, kind=""
            ),
            "the input's convolution hides the pixel itself (mask A): the FIRST layer of the network "
            "does that; features "
            "have not seen their pixel, so here it is mask B": np_row_lstm(x, p, kind="A"),
            "the state above the map is zero: it is learned, h0 and c0": np_row_lstm(
                x, p, h0=False, c0=False
            ),
            "h begins at zero above the map: expected h0": np_row_lstm(x, p, h0=False),
            "c begins at zero above the map: expected c0": np_row_lstm(x, p, c0=False),
            "the bias b is missing: it is added to every gate": np_row_lstm(x, p, b=False),
            "rows are read from the bottom to the top": upside_down,
            "it is the cell c of each row; the layer gives h": np_row_lstm(x, p, give="c"),
            "row r is h of the row BEFORE it: keep h after the step": np_row_lstm(x, p, give="before"),
            "the state of one image goes on into the next: every image begins with h0 and c0": np.concatenate(
                np.split(np_row_lstm(np.concatenate(x, axis=1)[None], p), 2, axis=2)
            ),
            "every row begins with h0 and c0: the state must go on from row to row": np_row_lstm(
                x, p, restart=True
            ),
        }
        must_be(
            found,
            np_row_lstm(x, p),
            likely,
            "the layer's output is wrong: W_x * x + b with mask B for the whole map, then row_step from the top to the "
            "bottom, beginning with h0 and c0",
        )


@pytest.mark.hole("RowLSTM.__call__", kind="gradient")
def test_row_lstm_gradient(lesson, rng):
    layer, x = row_layer(lesson, rng), leaf(rng.normal(size=(2, 2, 3, 4)))
    tensors = dict(layer.named_parameters()) | {"x": x}
    check_slopes(
        lambda: layer(x), lambda now: np_row_lstm(now["x"], now), tensors, rng, "the Row LSTM's output"
    )


@pytest.mark.hole("RowLSTM.__call__", kind="invariant")
def test_row_lstm_sees_a_triangle(lesson, rng):
    H, W = 4, 5
    layer = row_layer(lesson, rng)
    sees = lesson.dependencies(layer, rng.normal(size=(3, 2, H, W)))
    for i, j, k, l in np.ndindex(H, W, H, W):
        wanted = k <= i and j - (i - k) - 1 <= l <= j + (i - k)
        assert sees[i, j, k, l] <= ((k, l) <= (i, j)), (
            f"pixel ({i}, {j}) of the layer's output depends on pixel ({k}, {l}), which comes later: is the mask lost?"
        )
        assert sees[i, j, k, l] == wanted, (
            f"pixel ({i}, {j}) {'depends' if sees[i, j, k, l] else 'does not depend'} on pixel ({k}, "
            f"{l}): with kernels "
            "1 x 3 it sees the triangle above it, its left neighbour and itself, and nothing else"
        )


@pytest.mark.hole("RowLSTM.__call__", kind="invariant")
def test_row_lstm_forgets_the_last_images(lesson, rng):
    layer, x = row_layer(lesson, rng), Tensor(rng.normal(size=(3, 2, 3, 4)))
    first = numbers(layer(x))
    assert near(layer(x), first), (
        "the same images give something else the second time: the state of the last call lives on; every call begins "
        "with h0 and c0"
    )
    alone = np.concatenate([numbers(layer(x[n : n + 1])) for n in range(3)])
    assert near(alone, first), (
        "what an image gives depends on the others in its batch: state leaks between images"
    )


# skew, unskew


def np_skew(x, left=False):
    N, C, H, W = x.shape
    y = np.zeros((N, C, H, H + W - 1))
    for i in range(H):
        at = H - 1 - i if left else i
        y[:, :, i, at : at + W] = x[:, :, i]
    return y


@pytest.mark.hole("skew", kind="value")
def test_skew_value(lesson, rng):
    for H, W in ((4, 4), (3, 5), (5, 2), (1, 3), (3, 1)):
        x = rng.normal(size=(2, 3, H, W))
        found = lesson.skew(x)
        wanted = np_skew(x)
        N, C = x.shape[:2]
        wide = np.zeros((N, C, H, H + W))
        wide[..., :-1] = wanted
        wrapped = np.pad(x, ((0, 0), (0, 0), (0, 0), (0, H - 1)))
        columns = np.zeros((N, C, H + W - 1, W))
        for j in range(W):
            columns[:, :, j : j + H, j] = x[..., j]
        must_be(
            found,
            wanted,
            {
                "row 0 is moved most: it stays where it is, and row i moves i places to the right": np_skew(
                    x, left=True
                ),
                "the rows have not moved: row i begins at column i": wrapped,
                f"it is one column too wide: {H} rows of {W} make {H + W - 1} diagonals": wide,
                "the columns are moved down; move the rows to the right, so that diagonals become columns": columns,
                "the rows are moved to the left": np_skew(x[..., ::-1])[..., ::-1],
            },
            f"skew of a map {H} x {W} has shape {shape_of(found)}, expected {wanted.shape}: row i "
            "moved i places to the "
            "right, zeros elsewhere",
        )


@pytest.mark.hole("skew", kind="invariant")
def test_a_diagonal_becomes_a_column(lesson, rng):
    n = 28
    i, j = np.indices((n, n))
    found = numbers(lesson.skew((i + j + 1.0)[None, None]))[0, 0]
    assert found.shape == (n, 2 * n - 1), (
        f"28 x 28 pixels lie on 2 n - 1 = 55 diagonals: expected a map (28, 55), found {found.shape}"
    )
    for t, column in enumerate(found.T):
        assert set(column) <= {0.0, t + 1.0}, (
            f"column {t} holds pixels of the diagonals {sorted(set(column - 1) - {-1.0})}; pixel (i, "
            "j) belongs in column "
            "i + j"
        )
    back = numbers(lesson.unskew(lesson.skew(i[None, None] * 1.0)))
    assert near(back, i[None, None]), "unskew(skew(x)) is not x"


@pytest.mark.hole("skew", kind="gradient")
def test_skew_gradient(lesson, rng):
    x = leaf(rng.normal(size=(2, 2, 3, 4)))
    check_slopes(lambda: lesson.skew(x), lambda now: np_skew(now["x"]), {"x": x}, rng, "skew(x)")


@pytest.mark.hole("unskew", kind="value")
def test_unskew_value(lesson, rng):
    for H, W in ((4, 4), (3, 5), (5, 2), (1, 3), (3, 1)):
        y = rng.normal(size=(2, 3, H, H + W - 1))
        found = lesson.unskew(y)
        wanted = np.stack([y[:, :, i, i : i + W] for i in range(H)], 2)
        must_be(
            found,
            wanted,
            {
                "row 0 is moved most: it stays, and row i is moved back by i places": np.stack(
                    [y[:, :, i, H - 1 - i : H - 1 - i + W] for i in range(H)], 2
                ),
                "the first W columns are kept: of row i they are those from column i on": y[..., :W],
                "the last W columns are kept: of row i they are those from column i on": y[..., H - 1 :],
                "the row is skewed once more": np_skew(y),
            },
            f"unskew of {y.shape} has shape {shape_of(found)}, expected {wanted.shape}: of row i the "
            "W columns from i on",
        )
        x = rng.normal(size=(2, 2, H, W))
        assert near(lesson.unskew(lesson.skew(x)), x), f"unskew(skew(x)) is not x for maps of {H} x {W}"


@pytest.mark.hole("unskew", kind="gradient")
def test_unskew_gradient(lesson, rng):
    y = leaf(rng.normal(size=(2, 2, 3, 6)))

    def oracle(now):
        return np.stack([now["y"][:, :, i, i : i + 4] for i in range(3)], 2)

    check_slopes(lambda: lesson.unskew(y), oracle, {"y": y}, rng, "unskew(y)")


# diagonal_step


def np_column(h, W, below=False, wrap=False, above=True, beside=True):
    """(N, h, H, 1), (4h, h, 2, 1) -> (N, 4h, H, 1)"""
    zero = np.zeros_like(h[:, :, :1])
    taps = [np.concatenate([zero, h[:, :, :-1]], 2), h]
    if below:
        taps = [h, np.concatenate([h[:, :, 1:], zero], 2)]
    if wrap:
        taps[0] = np.roll(h, 1, 2)
    used = (above, beside)
    return sum(
        use * np.einsum("gc,nchw->nghw", W[:, :, t, 0:1][..., 0], tap)
        for t, (tap, use) in enumerate(zip(taps, used, strict=True))
    )


def column_operands(rng, n=2, h=3, H=4):
    return (
        rng.normal(size=(n, 4 * h, H, 1)),
        *rng.normal(size=(2, n, h, H, 1)),
        rng.normal(size=(4 * h, h, 2, 1)),
    )


@pytest.mark.hole("diagonal_step", kind="value")
def test_diagonal_step_value(lesson, rng):
    for H in (4, 1):
        a_x, h, c, W_h = column_operands(rng, H=H)
        found = lesson.diagonal_step(*map(Tensor, (a_x, h, c, W_h)))
        assert shape_of(found[0]) == h.shape, (
            f"the new h has shape {shape_of(found[0])}, expected {h.shape}: one row of zeros on top "
            "of h, and a kernel of "
            "two rows gives back as many rows as h has"
        )
        wanted = np_cell(a_x + np_column(h, W_h), c)
        likely = {
            "row i sees row i + 1, the pixel BELOW-left, which comes later: the zeros go on top of h": np_cell(
                a_x + np_column(h, W_h, below=True), c
            ),
            "row 0 sees the last row: above the map there are zeros": np_cell(a_x + np_column(h, W_h, wrap=True), c),
            "the taps are swapped: W_h[:, :, 0] is for the row above, W_h[:, :, 1] for the row itself": np_cell(
                a_x + np_column(h, W_h[:, :, ::-1]), c
            ),
            "the pixel above is not seen": np_cell(a_x + np_column(h, W_h, above=False), c),
            "the pixel to the left is not seen": np_cell(a_x + np_column(h, W_h, beside=False), c),
            "the input's part a_x is lost: a = a_x + W_h * h": np_cell(np_column(h, W_h), c),
            "W_h is applied to the cell c; it is h that it convolves": np_cell(a_x + np_column(c, W_h), c),
            "the cell c moves down with h: it comes from the pixel to the left, the same row": np_cell(
                a_x + np_column(h, W_h), np.concatenate([np.zeros_like(c[:, :, :1]), c[:, :, :-1]], 2)
            ),
        }  # fmt: skip
        for which, name in enumerate("hc"):
            must_be(
                found[which],
                wanted[which],
                {what: value[which] for what, value in likely.items()},
                f"the new {name} is wrong: the cell of a_x + W_h * h, where row i sees the rows i - 1 and i of h",
            )


@pytest.mark.hole("diagonal_step", kind="gradient")
def test_diagonal_step_gradient(lesson, rng):
    operands = dict(zip(("a_x", "h", "c", "W_h"), map(leaf, column_operands(rng)), strict=True))

    def oracle(now):
        return np_cell(now["a_x"] + np_column(now["h"], now["W_h"]), now["c"])[0]

    check_slopes(lambda: lesson.diagonal_step(*operands.values())[0], oracle, operands, rng, "the new h")


# one_direction


PARAMETERS = ("h0", "c0", "W_x", "W_h", "b")


def direction(rng, h=3, n_in=2):
    shapes = (h,), (h,), (4 * h, n_in, 1, 1), (4 * h, h, 2, 1), (4 * h,)
    return {name: rng.normal(0, 0.8, shape) for name, shape in zip(PARAMETERS, shapes, strict=True)}


@pytest.mark.hole("one_direction", kind="value")
def test_one_direction_value(lesson, rng):
    for H, W in ((4, 4), (3, 5), (5, 2), (1, 3), (3, 1)):
        x, p = rng.normal(size=(2, 2, H, W)), direction(rng)
        found = lesson.one_direction(Tensor(x), *(Tensor(p[name]) for name in PARAMETERS))
        assert shape_of(found) == (2, 3, H, W), (
            f"maps (2, 2, {H}, {W}) give {shape_of(found)}; expected (N, h, H, W) = (2, 3, {H}, {W}): unskew what the "
            f"{H + W - 1} steps gave"
        )
        upside_down = np_direction(x[:, :, ::-1], p)[:, :, ::-1]
        must_be(
            found,
            np_direction(x, p),
            {
                "a row does not begin with h0 and c0 (or it does not begin at all): hold its state "
                "until step i": np_not_held(x, p),
                "every row's state is zero before it begins: it is learned, h0 and c0": np_direction(
                    x, p, h0=False, c0=False
                ),
                "h begins at zero: expected h0": np_direction(x, p, h0=False),
                "c begins at zero: expected c0": np_direction(x, p, c0=False),
                "the bias b is missing: it is added to every gate": np_direction(x, p, b=False),
                "rows are read from the bottom to the top": upside_down,
                "columns are read from the right to the left": np_direction(x[..., ::-1], p)[..., ::-1],
            },
            f"the output for maps {H} x {W} is wrong: pixel (i, j) is the cell of W_x x + b + W_h * (h above, h to the "
            "left), and each row begins with h0, c0",
        )


@pytest.mark.hole("one_direction", kind="gradient")
def test_one_direction_gradient(lesson, rng):
    tensors = {name: leaf(value) for name, value in direction(rng).items()}
    tensors["x"] = leaf(rng.normal(size=(2, 2, 3, 4)))
    check_slopes(
        lambda: lesson.one_direction(tensors["x"], *(tensors[name] for name in PARAMETERS)),
        lambda now: np_direction(now["x"], now),
        tensors,
        rng,
        "one_direction",
    )


@pytest.mark.hole("one_direction", kind="step")
def test_one_direction_takes_2n_minus_1_steps(lesson, rng, monkeypatch):
    n, calls, step = 6, [], lesson.diagonal_step

    def counting(*args):
        calls.append(None)
        return step(*args)

    monkeypatch.setattr(lesson, "diagonal_step", counting)
    p = direction(rng)
    lesson.one_direction(Tensor(rng.normal(size=(1, 2, n, n))), *(Tensor(p[name]) for name in PARAMETERS))
    assert not calls or len(calls) == 2 * n - 1, (
        f"a map of {n} x {n} took {len(calls)} steps; it has 2 n - 1 = {2 * n - 1} diagonals, one step for each"
    )


# shift_down


def np_down(y):
    return np.concatenate([np.zeros_like(y[:, :, :1]), y[:, :, :-1]], 2)


@pytest.mark.hole("shift_down", kind="value")
def test_shift_down(lesson, rng):
    for H, W in ((4, 3), (1, 4), (2, 2)):
        y = rng.normal(size=(2, 3, H, W))
        wanted = np.zeros_like(y)
        wanted[:, :, 1:] = y[:, :, :-1]
        up, right = np.zeros_like(y), np.zeros_like(y)
        up[:, :, :-1], right[..., 1:] = y[:, :, 1:], y[..., :-1]
        grown = np.concatenate([np.zeros_like(y[:, :, :1]), y], 2)
        must_be(
            lesson.shift_down(Tensor(y)),
            wanted,
            {
                "nothing has moved: row i is what row i - 1 was": y,
                "the rows have moved UP: row i must become row i + 1": up,
                "the last row has come back as the first: the first row is zeros, the last row is lost": np.roll(
                    y, 1, 2
                ),
                "the columns have moved to the right; move the rows down": right,
                "the map has grown by a row: the last one is cut off": grown,
                "the first row is still there: it is zeros": np.concatenate([y[:, :, :1], y[:, :, :-1]], 2),
            },
            f"shift_down of (2, 3, {H}, {W}) is wrong: row 0 zeros, row i what row i - 1 was",
        )


@pytest.mark.hole("shift_down", kind="gradient")
def test_shift_down_gradient(lesson, rng):
    y = leaf(rng.normal(size=(2, 2, 3, 2)))

    def oracle(now):
        return np.concatenate([np.zeros_like(now["y"][:, :, :1]), now["y"][:, :, :-1]], 2)

    check_slopes(lambda: lesson.shift_down(y), oracle, {"y": y}, rng, "shift_down(y)")


# DiagonalBiLSTM.__call__


def diagonal_layer(lesson, rng):
    return randomize(lesson.DiagonalBiLSTM(2, 3, rng=rng), rng)


@pytest.mark.hole("DiagonalBiLSTM.__call__", kind="value")
def test_bilstm_value(lesson, rng):
    for H, W in ((4, 4), (3, 5), (1, 3), (4, 1)):
        layer, x = diagonal_layer(lesson, rng), rng.normal(size=(2, 2, H, W))
        p = named(layer)
        found = layer(Tensor(x))
        both = {name: value[::-1] for name, value in p.items()}
        left = np_direction(x, {name: value[0] for name, value in p.items()})
        must_be(
            found,
            np_bilstm(x, p),
            {
                "the direction from the right is not shifted down: a pixel sees what is to its right, which comes "
                "later": np_bilstm(x, p, shift=0),
                "the direction from the right is shifted UP: a pixel sees the row below": np_bilstm(
                    x, p, shift=-1
                ),
                "the direction from the right wraps around: its last row is lost, not the first one": np_bilstm(
                    x, p, shift="roll"
                ),
                "the direction from the right is not mirrored back": np_bilstm(x, p, mirrored_back=False),
                "the second direction reads the map from the left, too: mirror x before, and the "
                "result after": np_bilstm(x, p, mirrored=False),
                "both directions use the same parameters: each has its own, p[0] and p[1]": np_bilstm(
                    x, p, same=True
                ),
                "the parameters of the two directions are swapped: the first are for the one from the left": np_bilstm(
                    x, both
                ),
                "the two directions are averaged; the paper adds them": np_bilstm(x, p, mean=True),
                "only the direction from the left is there": left,
                "the direction from the left is shifted down, too: it may see all that is to its left": np_down(
                    left
                )
                + np_bilstm(x, p)
                - left,
                "the direction from the left is shifted down, and the other one is not: it is the one from the right "
                "that sees later pixels": np_down(left) + np_bilstm(x, p, shift=0) - left,
            },
            f"the layer's output for maps {H} x {W} is wrong: one_direction, plus the mirrored one mirrored back and "
            "shifted down",
        )


@pytest.mark.hole("DiagonalBiLSTM.__call__", kind="gradient")
def test_bilstm_gradient(lesson, rng):
    layer, x = diagonal_layer(lesson, rng), leaf(rng.normal(size=(2, 2, 3, 4)))
    tensors = dict(layer.named_parameters()) | {"x": x}
    check_slopes(
        lambda: layer(x), lambda now: np_bilstm(now["x"], now), tensors, rng, "the Diagonal BiLSTM's output"
    )


@pytest.mark.hole("DiagonalBiLSTM.__call__", kind="invariant")
def test_bilstm_sees_all_that_came_before(lesson, rng):
    for H, W in ((4, 4), (3, 5)):
        sees = lesson.dependencies(diagonal_layer(lesson, rng), rng.normal(size=(3, 2, H, W)))
        for i, j, k, l in np.ndindex(H, W, H, W):
            assert sees[i, j, k, l] <= ((k, l) <= (i, j)), (
                f"pixel ({i}, {j}) of the layer's output depends on pixel ({k}, {l}), which comes "
                "later: was the direction "
                "from the right shifted down?"
            )
            assert sees[i, j, k, l] == ((k, l) <= (i, j)), (
                f"pixel ({i}, {j}) does not depend on pixel ({k}, {l}), which came before: both "
                "directions together see "
                "everything above and to the left"
            )


@pytest.mark.hole("DiagonalBiLSTM.__call__", kind="invariant")
def test_bilstm_forgets_the_last_images(lesson, rng):
    layer, x = diagonal_layer(lesson, rng), Tensor(rng.normal(size=(3, 2, 3, 4)))
    first = numbers(layer(x))
    assert near(layer(x), first), (
        "the same images give something else the second time: the state of the last call lives on; every call begins "
        "with h0 and c0"
    )


# RecurrentBlock.__call__


@pytest.mark.hole("RecurrentBlock.__call__", kind="value")
def test_block_value(lesson, rng):
    for kind in ("row", "diagonal"):
        block = randomize(lesson.RecurrentBlock(lesson.Config(kind=kind, h=3), rng=rng), rng)
        y = rng.normal(size=(2, 6, 3, 4))
        inner = numbers(block.up(block.lstm(Tensor(y))))
        relu = lambda a: np.maximum(a, 0)  # noqa: E731
        must_be(
            block(Tensor(y)),
            y + inner,
            {
                "the way around is missing: what came in is added to what comes out": inner,
                "a ReLU is on the way: the block is y + up(lstm(y)) and nothing else": relu(y + inner),
                "a ReLU is before the 1x1 convolution: the LSTM's output goes to it as it is": y
                + numbers(block.up(ops.relu(block.lstm(Tensor(y))))),
                "a ReLU is before the recurrent layer: it reads y as it is": y
                + numbers(block.up(block.lstm(ops.relu(Tensor(y))))),
                "nothing but y comes out": y,
                "y is added twice": 2 * y + inner,
            },
            "the block's output is wrong: expected y + up(lstm(y))",
        )


@pytest.mark.hole("RecurrentBlock.__call__", kind="gradient")
def test_block_passes_gradients(lesson, rng):
    block = randomize(lesson.RecurrentBlock(lesson.Config(h=2), rng=rng), rng)
    y = leaf(rng.normal(size=(2, 4, 2, 3)))
    out = block(y)
    assert isinstance(out, Tensor) and out.requires_grad, "the block's output is cut off from the graph"
    seed = rng.normal(size=out.shape)
    wanted = [y, *block.parameters()]
    expected = grad(y + block.up(block.lstm(y)), wanted, seed=seed)
    for name, mine, right in zip(
        ["y", *named(block)], grad(out, wanted, seed=seed, allow_unused=True), expected, strict=True
    ):
        assert mine is not None and near(mine, right), (
            f"the gradient of the block with respect to {name} is wrong"
        )


# PixelRNN.logits


def small(lesson, rng, scale=0.7, **changes):
    """A small model in float64, random weights and biases everywhere"""
    config = lesson.Config(**({"side": 3, "h": 3, "head": 5, "first": 3} | changes))
    return randomize(lesson.PixelRNN(config, rng=rng), rng, scale)


def binary(rng, *shape):
    return (rng.random(shape) < 0.5).astype(np.float64)


@pytest.mark.hole("PixelRNN.logits", kind="value")
def test_logits_value(lesson, rng):
    for changes in ({"layers": 2}, {"kind": "diagonal", "levels": 4}):
        model = small(lesson, rng, **changes)
        levels, x = model.config.levels, rng.normal(size=(2, 1, 3, 3))
        K = 1 if levels == 2 else levels

        def after(blocks, relus=(True, True), around=0.0, inner=False, model=model, x=x):
            y = model.first(Tensor(x)) + around * x
            for block in blocks:
                y = ops.relu(block(y)) if inner else block(y)
            for layer, relu in zip(model.head, relus, strict=True):
                y = layer(ops.relu(y) if relu else y)
            return numbers(y)[:, :, None]

        blocks = list(model.blocks)
        found, wanted = model.logits(Tensor(x)), after(blocks)
        assert shape_of(found) == (2, K, 1, 3, 3), (
            f"two images of 3 x 3 with {levels} levels give logits {shape_of(found)}; expected (N, K, 1, H, W) = "
            f"(2, {K}, 1, 3, 3)"
        )
        must_be(
            found,
            wanted,
            {
                "the ReLUs before the head's layers are missing": after(blocks, (False, False)),
                "a ReLU is missing before the head's first layer": after(blocks, (False, True)),
                "a ReLU is missing before the head's second layer": after(blocks, (True, False)),
                "the recurrent blocks are not used": after([]),
                "only the first block is used": after(blocks[:1]),
                "only the last block is used": after(blocks[-1:]),
                "the first block is used in the place of every other": after(blocks[:1] * len(blocks)),
                "the blocks are used in the wrong order": after(blocks[::-1]),
                "the image goes around the first convolution: its pixel is no secret any more": after(
                    blocks, around=1.0
                ),
                "the logits went through a ReLU": np.maximum(wanted, 0),
                "the ReLUs are AFTER the head's layers, where they cut the logits; they come before": np.maximum(
                    numbers(model.head[1](ops.relu(model.head[0](body(model, x)))))[:, :, None], 0
                ),
                "there is a ReLU after each block: only the head has ReLUs": after(blocks, inner=True),
                "there is a ReLU after each block, and none in the head": after(
                    blocks, (False, False), inner=True
                ),
                "these are probabilities; logits go into the cross-entropy as they are": sigmoid(wanted),
            },
            "the logits are wrong: first, the blocks in turn, then relu and a layer of the head, twice",
        )
        assert near(model.logits(Tensor(x[:, 0])), wanted), (
            "images (N, H, W) and the same images (N, 1, H, W) differ in their logits"
        )


def body(model, x):
    y = model.first(Tensor(x))
    for block in model.blocks:
        y = block(y)
    return y


def before_only(sees):
    """(H, W, H, W) booleans -> the first pair of places that should not be, or None"""
    H, W = sees.shape[:2]
    for i, j, k, l in np.ndindex(H, W, H, W):
        if sees[i, j, k, l] and (k, l) >= (i, j):
            return (i, j), (k, l)
    return None


@pytest.mark.hole("PixelRNN.logits", kind="invariant")
def test_no_logit_sees_its_own_pixel_or_a_later_one(lesson, rng):
    for kind in ("row", "diagonal"):
        model = small(lesson, rng, kind=kind, side=4, head=16, first=7)
        sees = lesson.dependencies(model.logits, rng.normal(size=(16, 1, 4, 4)))
        leak = before_only(sees)
        assert leak is None, (
            f"{kind}: the logit at {leak[0]} depends on pixel {leak[1]}, which is not before it: no "
            "way may lead around "
            "the first convolution (mask A)"
        )
        if kind == "diagonal":
            count = int(sees.sum())
            assert count == 16 * 15 // 2, (
                f"diagonal: the logits depend on {count} pixels that came before, expected all {16 * 15 // 2}"
            )


@pytest.mark.hole("PixelRNN.logits", kind="invariant", seconds=60)
def test_probabilities_of_all_images_sum_to_one(lesson, rng):
    for kind in ("row", "diagonal"):
        model = small(lesson, rng, kind=kind, layers=1)
        images = binary(rng, 6, 3, 3)
        optimizer = Adam(model.parameters(), lr=0.05)
        for trained in (False, True):
            total = lesson.total_probability(model)
            assert abs(total - 1) < 1e-9, (
                f"{kind}, {'trained' if trained else 'random'} weights: p(x) sums to {total:.6f} over "
                "all 2^9 images of "
                "3 x 3 pixels; a distribution sums to 1"
            )
            for _ in range(20 * (not trained)):
                loss = -ops.mean(model.log_prob(Tensor(images)))
                optimizer.step(grad(loss, model.parameters()))


# PixelRNN.log_prob


def with_logits(lesson, rng, logits, levels):
    """A model whose logits are given"""
    model = lesson.PixelRNN(
        lesson.Config(side=logits.shape[-1], h=2, head=2, layers=1, levels=levels), rng=rng
    )
    vars(model)["logits"] = lambda x: leaf(logits)
    return model


@pytest.mark.hole("PixelRNN.log_prob", kind="value")
def test_log_prob_binary(lesson, rng):
    for n in (4, 1):
        l, x = rng.normal(0, 2, (n, 1, 1, 3, 3)), binary(rng, n, 3, 3)
        each = -(np.logaddexp(0, l[:, 0, 0]) - x * l[:, 0, 0])
        wanted = each.sum((1, 2))
        must_be(
            with_logits(lesson, rng, l, 2).log_prob(Tensor(x)),
            wanted,
            {
                "it is averaged over the pixels: log p(x) is the SUM over the pixels of an image": wanted / 9,
                "its sign is wrong: a log-probability is never positive": -wanted,
                "it is in bits: use the natural logarithm": wanted / math.log(2),
                "it is one number for the whole batch: keep the images apart": wanted.sum(),
                "it is averaged over the batch: expected one number for each image": wanted.mean(),
                "the pixels were not summed: expected (N,)": each,
                "ones and zeros are swapped: sigmoid(logit) is the probability of a ONE": (
                    each - (2 * x - 1) * l[:, 0, 0]
                ).sum((1, 2)),
                "the sigmoid is taken twice: ops.bce_with_logits wants the logits themselves": -(
                    np.logaddexp(0, sigmoid(l[:, 0, 0])) - x * sigmoid(l[:, 0, 0])
                ).sum((1, 2)),
            },
            f"log_prob of {n} binary images is wrong: minus bce_with_logits, summed over the pixels of each image",
        )  # fmt: skip


@pytest.mark.hole("PixelRNN.log_prob", kind="value")
def test_log_prob_levels(lesson, rng):
    n, K, side = 3, 5, 4
    l, k = rng.normal(0, 2, (n, K, 1, side, side)), rng.integers(0, K, (n, side, side))
    log_p = (l - np.logaddexp.reduce(l, axis=1, keepdims=True))[:, :, 0]
    wanted = np.take_along_axis(log_p, k[:, None], 1).sum((1, 2, 3))
    mixed = l.reshape(-1, K)
    mixed = (mixed - np.logaddexp.reduce(mixed, axis=1, keepdims=True))[np.arange(k.size), k.ravel()]
    for x in (k / (K - 1.0), np.nextafter(k / (K - 1.0), 2.0), np.nextafter(k / (K - 1.0), -1.0)):
        must_be(
            with_logits(lesson, rng, l, K).log_prob(Tensor(x)),
            wanted,
            {
                "the axes of the logits were not moved before the reshape: levels and places are "
                "mixed up; K comes last, "
                "then reshape to (N H W, K)": mixed.reshape(n, -1).sum(1),
                "it is averaged over the pixels: log p(x) is the SUM over the pixels of an image": wanted
                / side**2,
                "its sign is wrong: a log-probability is never positive": -wanted,
                "it is one number for the whole batch: keep the images apart": wanted.sum(),
                "the softmax is missing: log softmax(logits) at the level of each pixel": np.take_along_axis(
                    l[:, :, 0], k[:, None], 1
                ).sum((1, 2, 3)),
                "the level is rounded down: x (levels - 1) may be 2.9999999; round to the nearest": np.take_along_axis(
                    log_p, np.trunc(x * (K - 1)).astype(int)[:, None], 1
                ).sum((1, 2, 3)),
                "the level is x times levels: x = k / (levels - 1)": np.take_along_axis(
                    log_p, np.minimum(np.rint(x * K), K - 1).astype(int)[:, None], 1
                ).sum((1, 2, 3)),
            },
            f"log_prob of images with {K} levels is wrong: log softmax(logits) at the level x (levels "
            "- 1) of each pixel, "
            "summed over the pixels of each image",
        )


@pytest.mark.hole("PixelRNN.log_prob", kind="gradient")
def test_log_prob_trains(lesson, rng):
    for levels in (2, 4):
        model = small(lesson, rng, levels=levels, layers=1)
        x = rng.integers(0, levels, (3, 3, 3)) / (levels - 1.0)
        loss = -ops.mean(model.log_prob(Tensor(x)))
        assert isinstance(loss, Tensor) and loss.requires_grad, "log_prob is cut off from the graph"
        found = grad(loss, model.parameters(), allow_unused=True)
        missing = [name for name, g in zip(named(model), found, strict=True) if g is None]
        assert not missing, f"log_prob passes no gradient to {', '.join(missing)}"
    extreme = np.array([-200.0, 200.0]).reshape(2, 1, 1, 1, 1)
    log_p = numbers(
        with_logits(lesson, rng, extreme, 2).log_prob(Tensor(np.array([1.0, 0.0]).reshape(2, 1, 1)))
    )
    assert near(log_p, [-200, -200]), (
        f"a pixel that the model was sure of, and wrong, has log p = -200, found {log_p}: "
        "log(sigmoid(.)) overflows or is "
        "clipped; ops.bce_with_logits does not"
    )


# PixelRNN.updates


def the_pair(lesson, model, batch, rng):
    pairs = model.updates(batch, rng)
    assert hasattr(pairs, "__iter__"), (
        f"updates gave a {type(pairs).__name__}: it yields pairs (module, loss)"
    )
    pairs = list(pairs)
    assert len(pairs) == 1, f"updates gave {len(pairs)} pairs; one model, one loss: one pair"
    assert isinstance(pairs[0], tuple) and len(pairs[0]) == 2, "updates yields pairs (module, loss)"
    module, loss = pairs[0]
    assert module is model, f"the module to be stepped is {type(module).__name__}; expected this model, self"
    return loss


@pytest.mark.hole("PixelRNN.updates", kind="value")
def test_updates_value(lesson, rng):
    model, x = small(lesson, rng), binary(rng, 5, 3, 3)
    each = numbers(model.log_prob(Tensor(x)))
    loss = the_pair(lesson, model, x, rng)
    assert isinstance(loss, Tensor) and loss.requires_grad, (
        "the loss is cut off from the graph: no gradient can flow"
    )
    must_be(
        loss,
        -each.mean(),
        {
            "its sign is wrong: to make this small would make the data unlikely": each.mean(),
            "it is summed over the batch: average over the images": -each.sum(),
            "it is averaged over the pixels too: nats per image, not per pixel": -each.mean() / 9,
            "it is one number for each image: average over the batch": -each,
        },
        f"the loss is {numbers(loss).ravel()[:3]}, expected {-each.mean():.5g}: minus log_prob, "
        "averaged over the batch",
    )


@pytest.mark.hole("PixelRNN.updates", kind="step", seconds=60)
def test_training_finds_the_pattern(lesson, rng):
    """Images with equal halves: far fewer nats than 16 independent coins"""
    model = lesson.PixelRNN(lesson.Config(side=4, h=4, head=8, first=3, layers=1, kind="diagonal"), rng=rng)
    optimizer = Adam(model.parameters(), lr=0.03)

    def images(n):
        half = (rng.random((n, 2, 4)) < 0.5).astype(np.float32)
        return np.concatenate([half, half], 1)

    for _ in range(120):
        optimizer.step(grad(the_pair(lesson, model, images(32), rng), model.parameters()))
    nll = model.evaluate(images(200), rng)["nll"]
    assert nll < 10.5, (
        f"after 120 steps on images whose lower half repeats the upper one the model needs {nll:.2f} nats per image; "
        "16 coins need 11.09, and the best possible is 5.55"
    )


# PixelRNN.draw


class Given:
    """A generator whose numbers are given: what rng.random(shape) says is known"""

    def __init__(self, u):
        self.u, self.asked = u, []

    def random(self, size=None, *_, **__):
        self.asked.append(size)
        assert size is not None and tuple(np.atleast_1d(size)) == self.u.shape, (
            f"rng.random was asked for {size}; expected one draw for all pixels, rng.random(x.shape) "
            f"= {self.u.shape}: so "
            "another sampler draws the same image from the same seed"
        )
        return self.u.copy()

    def __getattr__(self, name):
        pytest.fail(f"rng.{name} was used; expected one draw for all pixels, rng.random(x.shape)")


def np_draw(lesson, model, x, first_row, u, feed=None, columns_first=False, shown=True):
    """The same, the whole image shown each time; feed: what is written into x, given p and the draw"""
    given, x, levels = x, x.copy(), model.config.levels
    H, W = x.shape[2:]
    places = itertools.product(range(first_row, H), range(W))
    if columns_first:
        places = ((i, j) for j in range(W) for i in range(first_row, H))
    for i, j in places:
        l = numbers(model.logits(Tensor(x if shown else given)))[:, :, 0, i, j]
        if levels == 2:
            p = sigmoid(l[:, 0])
            value = (u[:, 0, i, j] < p).astype(float)
        else:
            p = np.exp(l - np.logaddexp.reduce(l, axis=1, keepdims=True))
            value = (np.cumsum(p, 1)[:, :-1] <= u[:, 0, i, j, None]).sum(1) / (levels - 1)
        x[:, 0, i, j] = value if feed is None else feed(p, value)
    return x


def lively(lesson, rng, u, **changes):
    """A model that draws every level with these u: where one is all but certain, mistakes in the others do not show"""
    for _ in range(20):
        model = small(lesson, rng, scale=1.0, layers=1, **changes)
        if len(np.unique(np_draw(lesson, model, np.zeros_like(u), 0, u))) == model.config.levels:
            break
    return model


@pytest.mark.hole("PixelRNN.draw", kind="value", seconds=60)
def test_draw_value(lesson, rng):
    for changes in ({"kind": "diagonal"}, {"levels": 4, "side": 3}, {"kind": "row", "side": 4}):
        side, levels = changes.get("side", 3), changes.get("levels", 2)
        u = rng.random((30, 1, side, side))
        model = lively(lesson, rng, u, **changes)
        given = rng.integers(0, levels, u.shape) / (levels - 1.0)
        for first_row in (0, 1):
            x = given.copy() if first_row else np.zeros_like(u)
            start = x.copy()
            found = model.draw(x, first_row, Given(u))
            wanted = np_draw(lesson, model, start, first_row, u)
            assert shape_of(found) == u.shape, (
                f"draw gave {shape_of(found)} for x {u.shape}; expected the array x itself"
            )
            assert near(numbers(found)[:, :, :first_row], start[:, :, :first_row]), (
                f"rows before first_row = {first_row} have changed: they are given, and stay"
            )
            likely = {
                "pixels are drawn column by column: raster order is row by row": np_draw(
                    lesson, model, start, first_row, u, columns_first=True
                ),
                "what was drawn is not shown to the network: it goes into x before the next pixel": np_draw(
                    lesson, model, start, first_row, u, shown=False
                ),
            }
            if levels == 2:
                likely |= {
                    "probabilities are fed back instead of what was drawn": np_draw(
                        lesson, model, start, first_row, u, feed=lambda p, v: p
                    ),
                    "pixels are rounded, not drawn: the same image for ever": np_draw(
                        lesson, model, start, first_row, u, feed=lambda p, v: (p > 0.5) * 1.0
                    ),
                    "ones and zeros are swapped: 1 where u < sigmoid(logit)": np_draw(
                        lesson, model, start, first_row, u, feed=lambda p, v: 1 - v
                    ),
                }
            else:
                likely["the number of the level is written; expected its value k / (levels - 1)"] = np_draw(
                    lesson, model, start, first_row, u, feed=lambda p, v, top=levels - 1: v * top
                )
                likely["the likeliest level is taken, not drawn"] = np_draw(
                    lesson, model, start, first_row, u, feed=lambda p, v, top=levels - 1: p.argmax(1) / top
                )
            must_be(
                found,
                wanted,
                likely,
                f"{levels} levels, first_row = {first_row}: the image drawn is not the one that these "
                "u decide: in raster "
                "order, each pixel by its u and the logits of what is drawn so far",
            )
            assert found is x, "draw gave a new array: it writes into x, and gives x back"


@pytest.mark.hole("PixelRNN.draw", kind="step")
def test_draw_records_nothing(lesson, rng):
    model = small(lesson, rng, layers=1, side=2)
    calls = []
    logits = model.logits
    vars(model)["logits"] = lambda x: calls.append(logits(x)) or calls[-1]
    model.draw(np.zeros((2, 1, 2, 2)), 0, rng)
    assert len(calls) == 4, (
        f"2 x 2 pixels took {len(calls)} runs of the network; one for each pixel, since each needs "
        "what was drawn before it"
    )
    assert not any(y.requires_grad for y in calls), "drawing records a graph that nobody uses: with no_grad()"
