"""Checks of e12: every shortcut against the whole network, logit by logit and sample by sample."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import itertools

import numpy as np
import pytest

from minigen import Tensor
from solutions import e10_pixelrnn
from solutions.e11_pixelcnn import Config, GatedBlock, MaskedConv2d, PixelCNN, colour_mask, double


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def near(a, b, rtol=1e-9):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise, rtol=1e-9):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named

    A likely value may be a function: it is only computed when something is wrong.
    """
    if not near(found, wanted, rtol):
        values = ((says, value() if callable(value) else value) for says, value in likely.items())
        pytest.fail(next((says for says, value in values if near(found, value, rtol)), otherwise))


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def shuffled(module, rng, scale=0.5):
    """The module in float64 with every parameter drawn anew, hidden weights and biases too"""
    for p in double(module).parameters():
        p.data = rng.normal(0, scale, p.shape)
    return module


def make(rng, **changes):
    """A small float64 PixelCNN whose logits are not all alike"""
    small = {"side": 5, "h": 3, "blocks": 2, "first": 3, "kernel": 3, "head": 4}
    return shuffled(PixelCNN(Config(**(small | changes)), rng=rng), rng)


def make_rnn(rng, **changes):
    """A small float64 PixelRNN"""
    small = {"side": 5, "h": 3, "layers": 2, "first": 3, "head": 4}
    return shuffled(e10_pixelrnn.PixelRNN(e10_pixelrnn.Config(**(small | changes)), rng=rng), rng)


MODELS = (
    {},
    {"first": 7, "kernel": 5, "side": 6, "blocks": 1},
    {"levels": 4, "side": 4},
    {"colours": 3, "side": 4, "head": 6},
    {"gated": True},
    {"gated": True, "colours": 2, "levels": 3, "side": 4},
)


def name_of(changes):
    return ", ".join(f"{k}={v}" for k, v in changes.items()) or "plain, binary"


def images(model, rng, n):
    """(n, C, H, W), every value one of the model's levels"""
    c = model.config
    return rng.integers(0, c.levels, (n, getattr(c, "colours", 1), c.side, c.side)) / (c.levels - 1)


def raster(model):
    return itertools.product(range(model.config.side), range(model.config.side))


# draw


def inverse(logits, u, temperature=1.0):
    """draw, by the definition"""
    logits = logits / temperature
    if logits.shape[1] == 1:
        return (u < sigmoid(np.clip(logits[:, 0], -500, 500))).astype(float)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    passed = np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1) <= u[:, None]
    return np.minimum(passed.sum(axis=1), logits.shape[1] - 1) / (logits.shape[1] - 1)


@pytest.mark.hole("draw", kind="shape")
def test_draw_shape(lesson, rng):
    for k in (1, 2, 5):
        for dtype in (np.float32, np.float64):
            found = lesson.draw(rng.normal(size=(7, k)).astype(dtype), rng.random(7))
            assert shape_of(found) == (7,), (
                f"{k} logits for 7 images give {shape_of(found)}; expected one value each, (7,)"
            )
            assert found.dtype == dtype, (
                f"logits of {np.dtype(dtype)} give values of {found.dtype}; expected the same: the values go "
                "back into the "
                "network"
            )


@pytest.mark.hole("draw", kind="value")
def test_draw_value(lesson, rng):
    for k in (1, 2, 3, 9):
        logits, u = rng.normal(0, 2, (4000, k)), rng.random(4000)
        for temperature in (1.0, 0.4, 2.5):
            found = lesson.draw(logits.copy(), u.copy(), temperature)
            wanted = inverse(logits, u, temperature)
            if k == 1:
                p = sigmoid(logits[:, 0] / temperature)
                likely = {
                    "probabilities are given back: a pixel is drawn, 0 or 1": p,
                    "the likelier value is taken: u does not matter, every image would be the same": (p > 0.5)
                    * 1.0,
                    "0 and 1 are exchanged: 1 where u < sigmoid(logit / temperature)": 1 - wanted,
                    "u is compared with the logit: take the sigmoid first": (u < logits[:, 0] / temperature)
                    * 1.0,
                }
            else:
                likely = {
                    "the likeliest level is taken: u does not matter, every image would be the same": logits.argmax(
                        1
                    )
                    / (k - 1),
                    "these are level numbers; expected k / (levels - 1)": wanted * (k - 1),
                    "divided by the number of levels: the largest value must be 1": wanted * (k - 1) / k,
                    "one level too high: count the cumulative probabilities that u has passed": np.minimum(
                        wanted + 1 / (k - 1), 1
                    ),
                    "the levels are drawn from the other end": 1 - inverse(logits[:, ::-1], u, temperature),
                }
            likely["the temperature is ignored: logits / temperature"] = inverse(logits, u)
            likely["the logits are multiplied by the temperature: they are divided by it"] = inverse(
                logits, u, 1 / temperature
            )
            must_be(
                found, wanted, likely,
                f"K = {k}, temperature {temperature}: values differ from the first level whose cumulative "
                "probability "
                "exceeds u",
            )  # fmt: skip


@pytest.mark.hole("draw", kind="invariant")
def test_draw_edges(lesson, rng):
    u = np.array([0.0, 0.3, 1 - 1e-16])
    for k in (2, 5, 256):
        found = numbers(lesson.draw(np.tile(rng.normal(0, 3, k), (3, 1)), u))
        assert found.min() >= 0 and found.max() <= 1, (
            f"u just below 1 gives {found.max():.4g}: cumulative probabilities may end a little below 1, the "
            "last level must "
            "stay the last"
        )
    far = np.array([[-800.0], [800.0]])
    assert near(lesson.draw(far, np.array([0.5, 0.5])), [0, 1]), (
        "logits of -800 and 800 must give 0 and 1: use a sigmoid that never overflows (ops.sigmoid)"
    )
    wide = np.array([[-2000.0, 0.0, 2000.0]])
    assert near(lesson.draw(wide, np.array([0.5])), [1.0]), (
        "logits of 2000 overflow: use ops.softmax, which subtracts the largest"
    )
    logits, u = rng.normal(size=(50, 4)), rng.random(50)
    kept = logits.copy(), u.copy()
    lesson.draw(logits, u, 0.5)
    assert np.array_equal(logits, kept[0]) and np.array_equal(u, kept[1]), (
        "draw changed the logits or u in place"
    )


# ancestral


class Spy:
    """A predictor whose logits depend on everything before the pixel; it notes what it was asked, and what x held"""

    def __init__(self, rng, shape, levels):
        _, c, h, w = shape
        self.c, self.k, self.calls = c, (1 if levels == 2 else levels), []
        self.weights = rng.normal(0, 1.5, (h * w * c, self.k * c, h * w * c))
        self.bias = rng.normal(0, 1, (h * w * c, self.k * c))

    def __call__(self, x, i, j):
        x = numbers(x)
        self.calls.append((i, j, x.copy()))
        w = x.shape[3]
        rows = x.transpose(0, 2, 3, 1).reshape(len(x), -1)  # in the order in which values are drawn
        out = np.zeros((len(x), self.k, self.c))
        for c in range(self.c):
            at = (i * w + j) * self.c + c
            seen = rows * (np.arange(rows.shape[1]) < at)
            out[:, :, c] = (seen @ self.weights[at].T + self.bias[at]).reshape(len(x), self.k, self.c)[
                :, :, c
            ]
        return out


def by_hand(predict, x, rng, first_row=0, temperature=1.0, order=None, feed=inverse, fresh=False):
    """ancestral, or with one thing wrong"""
    x = x.copy()
    u = rng.random(x.shape)
    pixels = order or list(itertools.product(range(first_row, x.shape[2]), range(x.shape[3])))
    for i, j in pixels:
        for c in range(x.shape[1]):
            logits = predict(x, i, j)[:, :, c]
            noise = rng.random(len(x)) if fresh else u[:, c, i, j]
            x[:, c, i, j] = feed(logits, noise, temperature)
    return x


SHAPES = (((4, 1, 3, 3), 2), ((3, 1, 2, 4), 4), ((3, 3, 2, 2), 3), ((2, 2, 3, 2), 2))


@pytest.mark.hole("ancestral", kind="step")
def test_ancestral_asks_in_raster_order(lesson, rng):
    for shape, levels in SHAPES:
        spy, x = Spy(rng, shape, levels), np.zeros(shape)
        lesson.ancestral(spy, x, rng)
        pixels = list(dict.fromkeys((i, j) for i, j, _ in spy.calls))
        wanted = list(itertools.product(range(shape[2]), range(shape[3])))
        assert pixels != sorted(wanted, key=lambda p: (p[1], p[0])) or pixels == wanted, (
            "the scan is transposed: it goes column by column; the model's order is row by row"
        )
        assert pixels == wanted, (
            f"the pixels are drawn in the order {pixels[:6]} ...; expected {wanted[:6]} ..."
        )
        asked = len(spy.calls)
        assert asked >= shape[1] * len(wanted), (
            f"{shape[1]} colours: {asked} predictions for {len(wanted)} pixels; each colour of a pixel needs "
            "one of its own, "
            "for G must know which R was drawn"
        )
        assert asked == shape[1] * len(wanted), (
            f"{asked} predictions for {len(wanted)} pixels of {shape[1]} colours; expected {shape[1] * len(wanted)}"
        )


@pytest.mark.hole("ancestral", kind="value")
def test_ancestral_value(lesson, rng):
    for shape, levels in SHAPES:
        for first_row, temperature in ((0, 1.0), (1, 1.0), (0, 0.5)):
            spy, seed = Spy(rng, shape, levels), int(rng.integers(2**31))
            start = rng.integers(0, levels, shape) / (levels - 1)
            start[:, :, first_row:] = 0

            def by(spy=spy, start=start, seed=seed, **how):
                return by_hand(spy, start, np.random.default_rng(seed), **how)

            def lazily(by=by, **how):
                return lambda: by(**how)

            wanted = by(first_row=first_row, temperature=temperature)
            x = start.copy()
            found = lesson.ancestral(
                spy, x, np.random.default_rng(seed), first_row=first_row, temperature=temperature
            )
            assert found is not None, "ancestral gives nothing back: return x"
            if first_row:
                assert np.array_equal(numbers(found)[:, :, :first_row], start[:, :, :first_row]), (
                    f"first_row={first_row}: rows that were given were drawn anew"
                )
            turned = [(i, j) for j in range(shape[3]) for i in range(first_row, shape[2])]
            likely = {
                "first_row is ignored: rows before it are given, and stay": lazily(temperature=temperature),
                "the temperature is ignored: pass it on to draw": lazily(first_row=first_row),
                "the scan is transposed: row by row": lazily(
                    first_row=first_row, temperature=temperature, order=turned
                ),
                "a pixel's uniform numbers are drawn when it comes: all at once, u = rng.random(x.shape)": lazily(
                    first_row=first_row, temperature=temperature, fresh=True
                ),
                "the likeliest value is taken instead of a drawn one": lazily(
                    first_row=first_row, feed=lambda logits, u, t: inverse(logits, u, 1e-6)
                ),
            }
            if levels == 2:
                likely["probabilities are fed back instead of drawn pixels: later pixels must see 0 or 1"] = lazily(
                    first_row=first_row, temperature=temperature,
                    feed=lambda logits, u, t: sigmoid(logits[:, 0] / t),
                )  # fmt: skip
            must_be(
                found, wanted, likely,
                f"{shape} with {levels} levels, first_row={first_row}: the images differ from those of "
                "draw(predict(x, i, j)"
                "[:, :, c], u[:, c, i, j]), pixel by pixel",
            )  # fmt: skip
            assert np.array_equal(numbers(x), numbers(found)), "ancestral must fill x itself, and return it"
            assert np.shares_memory(x, found), "a copy came back; expected x itself, filled"


@pytest.mark.hole("ancestral", kind="invariant")
def test_samples_have_the_model_s_probabilities(lesson, rng):
    model = make(rng, side=2, blocks=1)
    n, every = 6000, np.array(list(itertools.product((0.0, 1.0), repeat=4))).reshape(16, 1, 2, 2)
    p = np.exp(numbers(model.log_prob(every)))
    x = lesson.ancestral(lesson.Naive(model, n), np.zeros((n, 1, 2, 2)), rng)
    counts = np.bincount((numbers(x).reshape(n, 4) @ [8, 4, 2, 1]).astype(int), minlength=16)
    chi2 = float(((counts - n * p) ** 2 / (n * p + 1e-3)).sum())
    worst = int(np.abs(counts - n * p).argmax())
    assert chi2 < 75, (
        f"6000 images of 2x2 do not follow p(x): image {every[worst].astype(int).ravel().tolist()} came "
        f"{counts[worst]} times, "
        f"expected {n * p[worst]:.0f} (chi square {chi2:.0f} on 15 degrees of freedom)"
    )


# Naive.__call__


@pytest.mark.hole("Naive.__call__", kind="shape")
def test_naive_shape(lesson, rng):
    for changes in MODELS:
        model = make(rng, **changes)
        c = model.config
        found = lesson.Naive(model, 3)(images(model, rng, 3), 1, 2)
        wanted = (3, 1 if c.levels == 2 else c.levels, c.colours)
        assert shape_of(found) == wanted, (
            f"{name_of(changes)}: logits of shape {shape_of(found)}; expected (n, K, C) = {wanted}"
        )


@pytest.mark.hole("Naive.__call__", kind="value")
def test_naive_value(lesson, rng):
    for changes in MODELS:
        model = make(rng, **changes)
        x = images(model, rng, 2)
        kept, state = x.copy(), model.state_dict()
        full = numbers(model.logits(x))
        for i, j in ((0, 1), (2, 1), (3, 2)):
            likely = {
                "row and column are exchanged": full[:, :, :, j, i],
                "these are probabilities; expected logits": sigmoid(full[:, :, :, i, j]),
            }
            must_be(
                lesson.Naive(model, 2)(x, i, j),
                full[:, :, :, i, j],
                likely,
                f"{name_of(changes)}: not the model's logits at ({i}, {j})",
            )
        assert np.array_equal(x, kept), "the predictor changed the images"
        assert all(np.array_equal(state[k], v) for k, v in model.state_dict().items()), "it changed the model"


@pytest.mark.hole("Naive.__call__", kind="gradient")
def test_naive_keeps_no_graph(lesson, rng):
    model = make(rng)
    found = lesson.Naive(model, 2)(images(model, rng, 2), 1, 1)
    assert not (isinstance(found, Tensor) and found.requires_grad), (
        "the logits hang on the graph: a sampler needs none, compute them under no_grad() (784 graphs would "
        "fill the memory)"
    )
    assert not isinstance(found, Tensor), "a Tensor came back: give its array, .data (draw works on arrays)"


# RowLimited.__call__


@pytest.mark.hole("RowLimited.__call__", kind="value")
def test_row_limited_value(lesson, rng):
    for changes in (*MODELS, {"side": 9}, {"side": 8, "gated": True, "blocks": 1}):
        model = make(rng, **changes)
        x, side, reach = images(model, rng, 8), model.config.side, model.reach
        full = numbers(model.logits(x))

        def cut(first, last, row, j, model=model, x=x):
            return lambda: numbers(model.logits(x[:, :, max(0, first) : last]))[:, :, :, row, j]

        for i in (side - 2, side - 1, *range(side - 2)):  # the row that tells mistakes apart comes first
            j = int(rng.integers(side))
            likely = {
                "row and column are exchanged": full[:, :, :, j, i],
                "these are the logits of the row's last column; expected column j": full[:, :, :, i, -1],
                "these are the logits of the cut's first row; expected its last, row i": cut(
                    i - reach, i + 1, 0, j
                ),
            }
            if 0 < i < side - 1:
                likely["the cut ends one row too early: row i belongs to it"] = cut(i - reach, i, -1, j)
            for less in (1, 2):
                if i >= reach > less:
                    likely[f"{less} row(s) too few: all of i - reach ... i can matter"] = cut(
                        i - reach + less, i + 1, -1, j
                    )
            must_be(
                lesson.RowLimited(model, 2)(x, i, j), full[:, :, :, i, j], likely,
                f"{name_of(changes)}, reach {reach}: at ({i}, {j}) the logits differ from the whole model's",
            )  # fmt: skip


@pytest.mark.hole("RowLimited.__call__", kind="step")
def test_row_limited_runs_few_rows(lesson, rng):
    model = make(rng, side=9, blocks=1)  # reach 2
    heights = []
    plain = model.logits

    def watched(x):
        heights.append(x.shape[2])
        return plain(x)

    model.logits = watched
    x = images(model, rng, 1)
    for i in (0, 1, 2, 5, 8):
        heights.clear()
        lesson.RowLimited(model, 1)(x, i, 3)
        wanted = min(i, model.reach) + 1
        assert heights and max(heights) <= wanted, (
            f"row {i}, reach {model.reach}: the model ran on {max(heights, default=0)} rows; {wanted} are "
            "enough, from "
            f"{max(0, i - model.reach)} to {i}"
        )
        assert len(heights) == 1, f"the model ran {len(heights)} times for one pixel; once is enough"


@pytest.mark.hole("RowLimited.__call__", kind="invariant")
def test_row_limited_samples_the_same(lesson, rng):
    for changes in ({"side": 7, "blocks": 1}, {"gated": True, "side": 6, "blocks": 1}):
        model, seed = make(rng, **changes), int(rng.integers(2**31))
        one, other = (
            lesson.sample(model, 3, np.random.default_rng(seed), predictor=kind)
            for kind in (lesson.Naive, lesson.RowLimited)
        )
        assert np.array_equal(one, other), (
            f"{name_of(changes)}: from one seed, the naive and the row-limited sampler draw different images"
        )


# Rows.columns


@pytest.mark.hole("Rows.columns", kind="shape")
def test_columns_shape(lesson, rng):
    rows = lesson.Rows(3, 6, 4, (5, 3), np.float64)
    found = rows.columns([(0, 0), (1, 2), (2, 1)])
    assert shape_of(found) == (3, 6, 12), (
        f"3 taps of 4 channels for 3 images of width 6: {shape_of(found)}; expected (n, W, T C) = (3, 6, 12)"
    )


@pytest.mark.hole("Rows.columns", kind="value")
def test_columns_value(lesson, rng):
    for kernel, taps in (
        ((3, 3), [(0, 0), (0, 1), (0, 2)]),
        ((7, 7), [(0, 6), (2, 0), (1, 3), (3, 2)]),
        ((1, 5), [(0, 0), (0, 1)]),
        ((3, 1), [(1, 0), (0, 0)]),
    ):
        n, width, c = 2, 5, 3
        rows = lesson.Rows(n, width, c, kernel, np.float64)
        side, height = kernel[1] // 2, kernel[0] // 2 + 1
        maps = rng.normal(size=(height, n, width, c))
        rows.kept[:, :, side : side + width] = maps

        def seen(a, e, j, maps=maps, side=side, width=width, zero=0.0):
            at = j + e - side
            return maps[a, :, at] if 0 <= at < width else zero + 0 * maps[a, :, 0]

        wanted = np.array([[seen(a, e, j) for a, e in taps] for j in range(width)])  # (W, T, n, C)
        right = wanted.transpose(2, 0, 1, 3).reshape(n, width, -1)
        mirrored = np.array([[seen(a, 2 * side - e, j) for a, e in taps] for j in range(width)])
        upturned = np.array([[seen(height - 1 - a, e, j) for a, e in taps] for j in range(width)])
        unmoved = np.array([[seen(a, side, j) for a, e in taps] for j in range(width)])
        likely = {
            "channel by channel; expected tap by tap, the C channels of a tap side by side": wanted.transpose(
                2, 0, 3, 1
            ).reshape(n, width, -1),
            "the columns are shifted the wrong way: tap e of column j sees column j + e - kw // 2": mirrored.transpose(
                2, 0, 1, 3
            ).reshape(n, width, -1),
            "the rows are upside down: the kernel's row 0 is the oldest, kept[0]": upturned.transpose(
                2, 0, 1, 3
            ).reshape(n, width, -1),
            "nothing is shifted: tap e begins at column e of the padded row": unmoved.transpose(
                2, 0, 1, 3
            ).reshape(n, width, -1),
        }
        must_be(
            rows.columns(taps), right, likely,
            f"kernel {kernel}, taps {taps}: the columns are not kept[a, :, e : e + W] of the taps, side by side",
        )  # fmt: skip


# CachedConv


LAYERS = (
    ((3, 3), "B", 2, 3, 1),
    ((7, 7), "A", 1, 4, 1),
    ((5, 5), "B", 3, 3, 1),
    ((3, 3), "A", 3, 6, 3),
    ((3, 3), "B", 6, 6, 2),
    ((1, 5), "B", 2, 4, 1),
    ((1, 3), "A", 2, 4, 2),
)


def layer_of(rng, kernel, kind, n_in, n_out, colours):
    visible = colour_mask(kernel, kind, n_in, n_out, colours)
    return shuffled(MaskedConv2d(n_in, n_out, visible, rng=rng), rng)


def from_above(layer, maps):
    """(N, F, H, W): what the kernel's upper rows alone give, plus the bias"""
    upper = MaskedConv2d(layer.W.shape[1], layer.W.shape[0], layer.visible, rng=np.random.default_rng(0))
    double(upper)
    weight = numbers(layer.W) * layer.visible
    weight[:, :, layer.taps.shape[0] // 2 :] = 0
    upper.W.data, upper.b.data = weight, numbers(layer.b)
    return numbers(upper(Tensor(maps)))


@pytest.mark.hole("CachedConv.start_row", kind="value")
def test_start_row_gives_above(lesson, rng):
    for how in LAYERS:
        layer, maps = layer_of(rng, *how), rng.normal(size=(2, how[2], 5, 6))
        cached, wanted = lesson.CachedConv(layer, 2, 6), from_above(layer, maps)
        bias = numbers(layer.b)
        total = 0
        for i in range(5):
            cached.start_row()
            found = numbers(cached.above).transpose(0, 2, 1)  # (n, W, F) -> (n, F, W)
            right = wanted[:, :, i]
            total = total + right
            likely = {
                "what the rows give is added to what `above` held: write it anew": total,
                "the bias is missing in `above`": right - bias[:, None],
                "the bias is added twice": right + bias[:, None],
                "`above` is that of the row before: do the rows move up? rows.next() comes first": wanted[
                    :, :, i - 1
                ]
                if i
                else right,
                "the rows above contribute nothing": 0 * right + bias[:, None],
            }
            must_be(
                found, right, likely,
                f"kernel {how[0]} {how[1]}, row {i}: `above` is not what the rows above give, plus the bias"
                + (" (did the rows move up? rows.next() comes first)" if i else ""),
            )  # fmt: skip
            for j in range(6):
                cached(maps[:, :, i, j], j)


@pytest.mark.hole("CachedConv.start_row", kind="step")
def test_start_row_moves_the_rows_up(lesson, rng):
    layer, maps = layer_of(rng, *LAYERS[2]), rng.normal(size=(2, 3, 4, 6))
    cached = lesson.CachedConv(layer, 2, 6)
    for i in range(4):
        cached.start_row()
        for j in range(6):
            cached(maps[:, :, i, j], j)
        for up in range(1, min(i, 2) + 1):
            kept = numbers(cached.rows.kept)[2 - up, :, 2:8]
            assert near(kept, maps[:, :, i - up].transpose(0, 2, 1)), (
                f"in row {i}, rows.kept[{2 - up}] is not row {i - up}: start_row must let the rows move up, once "
                "(rows.next())"
            )


@pytest.mark.hole("CachedConv.__call__", kind="value")
def test_cached_conv_value(lesson, rng):
    for how in LAYERS:
        layer, maps = layer_of(rng, *how), rng.normal(size=(2, how[2], 5, 6))
        cached = lesson.CachedConv(layer, 2, 6)
        full, above = numbers(layer(Tensor(maps))), from_above(layer, maps)
        bias = numbers(layer.b)[:, None, None]
        for i in range(5):
            cached.start_row()
            for j in range(6):
                found = numbers(cached(maps[:, :, i, j], j))
                right = full[:, :, i, j]
                likely = {
                    "`above` is missing: what the rows above and the bias contribute": right
                    - above[:, :, i, j],
                    "only `above` comes out: is x kept in the present row, and left[j] times left_weight added?": above[
                        :, :, i, j
                    ],
                    "the bias is added again: it is in `above`": (full + bias)[:, :, i, j],
                    "`above` of another column was added": right - above[:, :, i, j] + above[:, :, i, j - 1],
                }
                must_be(
                    found, right, likely,
                    f"kernel {how[0]} {how[1]}: at row {i}, column {j} the output differs from the whole layer's"
                    + (": is x kept in the present row before left[j] is read?" if i == 0 else ""),
                )  # fmt: skip


@pytest.mark.hole("CachedConv.__call__", kind="step")
def test_cached_conv_keeps_its_input(lesson, rng):
    layer, maps = layer_of(rng, *LAYERS[0]), rng.normal(size=(2, 2, 3, 6))
    cached = lesson.CachedConv(layer, 2, 6)
    cached.start_row()
    for j in range(4):
        x = maps[:, :, 0, j].copy()
        y = cached(x, j)
        held = numbers(y)
        assert near(numbers(cached.rows.present)[:, j], maps[:, :, 0, j]), (
            f"column {j} of the present row does not hold x: later pixels, and the row below, will need it"
        )
        assert np.array_equal(x, maps[:, :, 0, j]), "the layer changed its input"
        cached(rng.normal(size=(2, 2)), j + 1)
        assert np.array_equal(numbers(y), held), (
            "an output changed when the next pixel was computed: give a new array"
        )
    above = numbers(cached.above)
    again = cached(maps[:, :, 0, 3], 3)
    assert near(cached.above, above), "the call changed `above`, which belongs to the whole row"
    assert near(again, cached(maps[:, :, 0, 3], 3)), (
        "asked again for the same pixel, the layer gives something else: nothing may accumulate (each colour "
        "asks anew)"
    )


# Whole predictors


def drive(predict, model, x, rng):
    """The logits at every pixel when x is filled as a sampler does: what is not drawn yet is anything, then changes"""
    c = model.config
    filled = images(model, rng, len(x))
    found = np.zeros(numbers(model.logits(x)).shape)
    for i, j in raster(model):
        for colour in range(getattr(c, "colours", 1)):
            found[:, :, colour, i, j] = numbers(predict(filled, i, j))[:, :, colour]
            filled[:, colour, i, j] = x[:, colour, i, j]
    return found


def check_predictor(kind, model, rng, changes):
    x = images(model, rng, 3)
    full = numbers(model.logits(x))
    found = drive(kind(model, 3), model, x, rng)
    wrong = np.abs(found - full).max(axis=(0, 1)) > 1e-10 * (1 + np.abs(full).max())  # (C, H, W)
    if wrong.any():
        i, j, colour = min((i, j, c) for c, i, j in np.argwhere(wrong))
        off = np.abs(found - full)[:, :, colour, i, j].max()
        if (i, j) == (0, 0):
            hint = (
                "already the first pixel: its features go through every layer, ReLU and sum as in the model"
            )
        elif i == 0 and j >= 1 and not wrong[:, 0, :j].any():
            hint = (
                "a pixel is drawn after its logits were computed: take column j - 1 of x anew (a stale cache)"
            )
        elif i > 0 and not wrong[:, 0].any():
            hint = (
                "the first row is right, what the rows above give is not: was the row begun in every layer?"
            )
        elif colour:
            hint = (
                "the first colour is right, a later one is not: the pixel itself goes in anew for each colour"
            )
        else:
            hint = "is anything left over from another row or pixel?"
        pytest.fail(
            f"{name_of(changes)}: at ({i}, {j}), colour {colour}, the logits differ from the whole model's by "
            f"{off:.2g} ({hint})"
        )


@pytest.mark.hole("CachedPlain.__call__", kind="value")
def test_cached_plain_logits(lesson, rng):
    for changes in MODELS[:4]:
        check_predictor(lesson.CachedPlain, make(rng, **changes), rng, changes)


@pytest.mark.hole("CachedPlain.__call__", kind="shape")
def test_cached_plain_shape(lesson, rng):
    for changes in MODELS[:4]:
        model = make(rng, **changes)
        x = images(model, rng, 2)
        kept = x.copy()
        found = lesson.CachedPlain(model, 2)(x, 0, 0)
        wanted = (2, 1 if model.config.levels == 2 else model.config.levels, model.config.colours)
        assert shape_of(found) == wanted, (
            f"{name_of(changes)}: {shape_of(found)}; expected (n, K, C) = {wanted}"
        )
        assert np.array_equal(x, kept), "the predictor changed the images"


@pytest.mark.hole("CachedPlain.__call__", kind="invariant")
def test_cached_plain_samples_the_same(lesson, rng):
    for changes in ({}, {"colours": 2, "side": 3}, {"levels": 3, "side": 4}):
        model = make(rng, **changes)
        state = model.state_dict()
        for n in (3, 1, 5):  # another batch is another predictor
            seed = int(rng.integers(2**31))
            one, other = (
                lesson.sample(model, n, np.random.default_rng(seed), predictor=kind)
                for kind in (lesson.Naive, lesson.CachedPlain)
            )
            assert np.array_equal(one, other), (
                f"{name_of(changes)}: from one seed, the naive and the cached sampler draw different images"
            )
        assert all(np.array_equal(state[k], v) for k, v in model.state_dict().items()), (
            "sampling changed the model"
        )


@pytest.mark.hole("CachedPlain.__call__", kind="step")
def test_cached_plain_computes_one_pixel(lesson, rng):
    """Everything after the new pixel may change, and everything before it too (it is kept): the logits stay"""
    model = make(rng)
    x = images(model, rng, 2)
    predict, other = lesson.CachedPlain(model, 2), images(model, rng, 2)
    for i, j in raster(model):
        right = numbers(predict(x, i, j))
        if (i, j) == (3, 2):
            break
    far = x.copy()
    far[:, :, :2] = other[:, :, :2]  # two rows up and more: in the caches since long
    far[:, :, 4:] = other[:, :, 4:]
    assert near(predict(far, 3, 2), right), (
        "at (3, 2) the predictor read rows of x that it has seen long ago, or that are not drawn: it computes "
        "the network again"
    )


# CachedGatedBlock


def gated_of(rng, kind, colours=1):
    config = Config(h=3, gated=True, first=5, kernel=3, colours=colours)
    block = shuffled(GatedBlock(config, kind, rng=rng), rng)
    n_in = colours if kind == "A" else 6
    v, h = rng.normal(size=(2, 2, n_in, 5, 4))
    full_v, full_h = (numbers(part) for part in block(Tensor(v), Tensor(h)))
    return block, v, h, full_v, full_h


def row_of(v, i, kind):
    """What start_row is given in row i: the block's input there; to the first block, the image's row above"""
    if kind == "A":
        return v[:, :, i - 1].swapaxes(1, 2) if i else None
    return v[:, :, i].swapaxes(1, 2)  # (n, C, W) -> (n, W, C)


GATED = (("B", 1), ("A", 1), ("A", 3))


@pytest.mark.hole("CachedGatedBlock.start_row", kind="shape")
def test_gated_row_shape(lesson, rng):
    for kind, colours in GATED:
        block, v, *_ = gated_of(rng, kind, colours)
        found = lesson.CachedGatedBlock(block, 2, 4).start_row(row_of(v, 0, kind))
        assert shape_of(found) == (2, 4, 6), (
            f"block {kind}: start_row gives {shape_of(found)}; expected the vertical stack's new row, (n, W, "
            "p) = (2, 4, 6)"
        )


@pytest.mark.hole("CachedGatedBlock.start_row", kind="value")
def test_gated_row_value(lesson, rng):
    for kind, colours in GATED:
        block, v, h, full_v, _ = gated_of(rng, kind, colours)
        cached = lesson.CachedGatedBlock(block, 2, 4)
        above = numbers(block.vertical(Tensor(v)))
        down = numbers(block.down(Tensor(above))) + numbers(block.horizontal.b)[:, None, None]
        for i in range(5):
            found = numbers(cached.start_row(row_of(v, i, kind))).swapaxes(1, 2)
            likely = {
                "it is not gated": above[:, :, i],
                "it is the row above's: when do the rows move up? (v is row i; in the first block, row i - 1)": full_v[
                    :, :, i - 1
                ]
                if i
                else full_v[:, :, 0],
                "it is the row below's: in the first block the rows move up after v was put in": full_v[
                    :, :, min(i + 1, 4)
                ],
            }
            must_be(
                found, full_v[:, :, i], likely,
                f"block {kind}, row {i}: v differs from the whole block's"
                + (": do the rows move up, and when? v is row i; in the first block, row i - 1" if i else ""),
            )  # fmt: skip
            told = numbers(cached.horizontal.above).swapaxes(1, 2)
            bias = numbers(block.horizontal.b)[:, None]
            likely = {
                "`down` of the vertical convolution is missing": 0 * told + bias,
                "horizontal.start_row() was not called: it brings the bias": down[:, :, i] - bias,
                "`down` is added to that of the row before: horizontal.start_row() begins anew": down[
                    :, :, : i + 1
                ].sum(2)
                - i * bias,
            }
            must_be(
                told, down[:, :, i], likely,
                f"block {kind}, row {i}: horizontal.above is not its bias plus down(vertical(v))",
            )  # fmt: skip
            for j in range(4):
                cached(h[:, :, i, j], j)


@pytest.mark.hole("CachedGatedBlock.__call__", kind="value")
def test_gated_pixel_value(lesson, rng):
    for kind, colours in GATED:
        block, v, h, _, full_h = gated_of(rng, kind, colours)
        cached = lesson.CachedGatedBlock(block, 2, 4)
        for i in range(5):
            cached.start_row(row_of(v, i, kind))
            for j in range(4):
                x = h[:, :, i, j].copy()
                found, right = numbers(cached(x, j)), full_h[:, :, i, j]
                likely = {"the residual connection is missing: add h": right - x} if kind == "B" else {}
                if kind == "A" and colours == 1:
                    likely["the first block has no residual connection"] = right + x
                must_be(
                    found, right, likely,
                    f"block {kind}: at ({i}, {j}) h differs from the whole block's: mix(gate(horizontal(h, j)))"
                    f"{' + h' if kind == 'B' else ''}",
                )  # fmt: skip
                assert np.array_equal(x, h[:, :, i, j]), "the block changed its input h"


@pytest.mark.hole("CachedGatedBlock.__call__", kind="invariant")
def test_gated_model_samples_the_same(lesson, rng):
    for changes in MODELS[4:]:
        model, seed = make(rng, **changes), int(rng.integers(2**31))
        check_predictor(lesson.CachedGated, model, rng, changes)
        one, other = (
            lesson.sample(model, 3, np.random.default_rng(seed), predictor=kind)
            for kind in (lesson.Naive, lesson.CachedGated)
        )
        assert np.array_equal(one, other), (
            f"{name_of(changes)}: from one seed, the naive and the cached sampler draw different images"
        )


# PixelRNN: Row LSTM


def lstm_of(rng, kind, lesson):
    """A recurrent layer of e10 as it stands, its input maps, what it gives for all of them, and its cached version"""
    model = make_rnn(rng, kind=kind, layers=1)
    layer, maps = model.blocks[0].lstm, rng.normal(size=(2, 6, 4, 5))
    cached = {"row": lesson.CachedRowLSTM, "diagonal": lesson.CachedDiagonalLSTM}[kind](layer, 2, 5)
    return layer, maps, numbers(layer(Tensor(maps))), cached


def gates_above(layer, h):
    """(n, W, h) states of the row above -> (n, W, 4 h): the bias and what W_h makes of them"""
    W = numbers(layer.W_h)
    k, width = W.shape[3], h.shape[1]
    padded = np.pad(h, ((0, 0), (k // 2, k // 2), (0, 0)))
    return numbers(layer.b) + sum(padded[:, e : e + width] @ W[:, :, 0, e].T for e in range(k))


@pytest.mark.hole("CachedRowLSTM.start_row", kind="value")
def test_row_lstm_start_row(lesson, rng):
    layer, maps, full, cached = lstm_of(rng, "row", lesson)
    above = np.broadcast_to(numbers(layer.h0), (2, 5, 3))
    before = np.zeros((2, 5, 12))
    for i in range(4):
        cached.start_row()
        right, bias = gates_above(layer, above), numbers(layer.b)
        likely = {
            "the bias is missing: input.start_row() brings it": right - bias,
            "the states of the row above contribute nothing": 0 * right + bias,
            "the bias is added twice": right + bias,
            "input.start_row() was not called: `above` still holds what it held in the row before": before
            + right
            - bias,
        }
        must_be(
            cached.input.above, right, likely,
            f"row {i}: input.above is not the bias plus the 1 x k' convolution of the states above with W_h",
        )  # fmt: skip
        before = numbers(cached.input.above)
        for j in range(5):
            cached(maps[:, :, i, j], j)
        above = full[:, :, i].swapaxes(1, 2)  # (n, h, W) -> (n, W, h)


@pytest.mark.hole("CachedRowLSTM.__call__", kind="value")
def test_row_lstm_pixel(lesson, rng):
    _, maps, full, cached = lstm_of(rng, "row", lesson)
    for i in range(4):
        cached.start_row()
        for j in range(5):
            c = numbers(cached.c)[:, j]
            x = maps[:, :, i, j].copy()
            found = numbers(cached(x, j))
            right = full[:, :, i, j]
            if i:
                hint = (
                    "from the second row on: were h and c of the row above kept, and not of another column?"
                )
            else:
                hint = "in the first row: gates from input(x, j), then cell with c of this column"
            likely = {"the new cell came out; expected the new state h": numbers(cached.c)[:, j]}
            must_be(found, right, likely, f"at ({i}, {j}) h differs from the whole layer's ({hint})")
            assert near(numbers(cached.h.present)[:, j], right), (
                f"at ({i}, {j}) the new h is not kept in h.present: the row below needs it"
            )
            assert not near(numbers(cached.c)[:, j], c), (
                f"at ({i}, {j}) the new c is not kept: the row below needs it"
            )
            assert np.array_equal(x, maps[:, :, i, j]), "the layer changed its input"


@pytest.mark.hole("CachedRowLSTM.__call__", kind="invariant")
def test_row_lstm_model_samples_the_same(lesson, rng):
    for changes in ({}, {"levels": 3, "first": 5}):
        model, seed = make_rnn(rng, **changes), int(rng.integers(2**31))
        check_predictor(lesson.CachedRNN, model, rng, {"kind": "row"} | changes)
        check_same_samples(lesson, model, seed, f"Row LSTM {changes or ''}")


def check_same_samples(lesson, model, seed, what):
    one, other = (
        lesson.sample(model, 3, np.random.default_rng(seed), predictor=kind)
        for kind in (lesson.Naive, lesson.cached)
    )
    assert np.array_equal(one, other), (
        f"{what}: from one seed, the naive sampler and the one that carries its state draw different images"
    )


# PixelRNN: Diagonal BiLSTM


@pytest.mark.hole("OneDirection.__call__", kind="value")
def test_one_direction(lesson, rng):
    layer, maps, *_ = lstm_of(rng, "diagonal", lesson)
    for d in (0, 1):
        parts = [part.data[d] for part in (layer.W_x, layer.W_h, layer.b, layer.h0, layer.c0)]
        given = maps if d == 0 else maps[..., ::-1].copy()
        full = numbers(e10_pixelrnn.one_direction(Tensor(given), parts[3], parts[4], *parts[:3]))
        one = lesson.OneDirection(*parts, 2, 5)
        for i in range(4):
            one.start_row()
            for j in range(5):
                held = numbers(one.states)[:, j]
                found, right = numbers(one(given[:, :, i, j], j)), full[:, :, i, j]
                likely = {
                    "the new cell came out; expected the new state h": numbers(one.c),
                    "the state did not change: was the cell applied?": held,
                }
                place = "first pixel" if j == 0 else "pixel further on"
                must_be(
                    found, right, likely,
                    f"at ({i}, {j}), a row's {place}, h differs from the whole layer's: gates are input(x) + "
                    "above[:, j] + "
                    "h of the pixel at the side times W_side",
                )  # fmt: skip
                assert near(numbers(one.states)[:, j], right), (
                    f"at ({i}, {j}) the new h is not kept in states[:, {j}]: the row below needs it"
                )
                assert near(numbers(one.h), right), (
                    "the new h is not kept as self.h: the next pixel of the row needs it"
                )


@pytest.mark.hole("CachedDiagonalLSTM.start_row", kind="value")
def test_diagonal_start_row(lesson, rng):
    layer, maps, _, cached = lstm_of(rng, "diagonal", lesson)
    parts = [part.data[1] for part in (layer.W_x, layer.W_h, layer.b, layer.h0, layer.c0)]
    mirrored = e10_pixelrnn.one_direction(Tensor(maps[..., ::-1].copy()), parts[3], parts[4], *parts[:3])
    right = numbers(mirrored)[
        ..., ::-1
    ]  # at (i, j): what the direction from the right has seen, itself included
    for i in range(4):
        cached.start_row()
        wanted = right[:, :, i - 1] if i else 0 * right[:, :, 0]
        likely = {
            "it goes through the row from its first pixel on: this direction comes from the right": (
                lambda i=i: one_row_wrong(layer, maps, i)
            ),
            "this is the state two rows above: the row that was just finished counts": right[
                :, :, max(i - 2, 0)
            ],
            "nothing came from the right": 0 * wanted,
        }
        must_be(
            numbers(cached.from_right).swapaxes(1, 2), wanted, likely,
            f"row {i}: from_right is not what the direction from the right gave in row {i - 1} (in row 0: zeros)",
        )  # fmt: skip
        for j in range(5):
            cached(maps[:, :, i, j], j)
        assert len(cached.x) == 5, "the inputs of the row before are still kept: a new row begins with none"


def one_row_wrong(layer, maps, i):
    """from_right of row i if rows were read from the left"""
    parts = [part.data[1] for part in (layer.W_x, layer.W_h, layer.b, layer.h0, layer.c0)]
    return numbers(e10_pixelrnn.one_direction(Tensor(maps), parts[3], parts[4], *parts[:3]))[:, :, i - 1]


@pytest.mark.hole("CachedDiagonalLSTM.__call__", kind="value")
def test_diagonal_pixel(lesson, rng):
    layer, maps, full, cached = lstm_of(rng, "diagonal", lesson)
    parts = [part.data[0] for part in (layer.W_x, layer.W_h, layer.b, layer.h0, layer.c0)]
    alone = numbers(e10_pixelrnn.one_direction(Tensor(maps), parts[3], parts[4], *parts[:3]))
    for i in range(4):
        cached.start_row()
        for j in range(5):
            right = full[:, :, i, j]
            likely = {
                "only the direction from the left: add what came from the right in the row above": alone[
                    :, :, i, j
                ],
                "only what came from the right": right - alone[:, :, i, j],
            }
            must_be(
                cached(maps[:, :, i, j], j), right, likely,
                f"at ({i}, {j}) the output differs from the whole layer's"
                + (": is the row's input kept for the direction from the right?" if i else ""),
            )  # fmt: skip


@pytest.mark.hole("CachedDiagonalLSTM.__call__", kind="invariant")
def test_diagonal_model_samples_the_same(lesson, rng):
    for changes in ({}, {"levels": 3, "layers": 3}):
        model, seed = make_rnn(rng, kind="diagonal", **changes), int(rng.integers(2**31))
        check_predictor(lesson.CachedRNN, model, rng, {"kind": "diagonal"} | changes)
        check_same_samples(lesson, model, seed, f"Diagonal BiLSTM {changes or ''}")


# complete


def completed(lesson, model, x, rows, seed, predictor, **how):
    """complete, with the whole network for every pixel"""
    start = np.zeros(x.shape)
    start[:, :, :rows] = x[:, :, :rows]
    return numbers(
        lesson.ancestral(
            predictor(model, len(x)), start, np.random.default_rng(seed), **({"first_row": rows} | how)
        )
    )


@pytest.mark.hole("complete", kind="shape")
def test_complete_shape(lesson, rng):
    for changes in ({}, {"colours": 3, "side": 3}):
        model = make(rng, **changes)
        x = images(model, rng, 3)
        for given in (x, *([x[:, 0]] if model.config.colours == 1 else [])):
            kept = given.copy()
            found = lesson.complete(model, given, 2, rng)
            assert shape_of(found) == given.shape, f"images {given.shape} come back as {shape_of(found)}"
            assert isinstance(found, np.ndarray), (
                f"a {type(found).__name__} came back; expected an array on the host"
            )
            assert np.array_equal(given, kept), "complete changed the images it was given: work on a copy"
            assert np.array_equal(found[..., :2, :], given[..., :2, :]), (
                "the rows that were given came back changed"
            )


@pytest.mark.hole("complete", kind="value")
def test_complete_value(lesson, rng):
    for changes in ({}, {"gated": True, "side": 4}, {"colours": 3, "side": 3}):
        model = make(rng, **changes)
        x, side = images(model, rng, 60), model.config.side
        for rows, temperature in ((2, 0.3), (0, 1.0), (side, 1.0), (side - 1, 1.0)):
            seed = int(rng.integers(2**31))
            found = lesson.complete(model, x, rows, np.random.default_rng(seed), temperature=temperature)
            wanted = completed(lesson, model, x, rows, seed, lesson.Naive, temperature=temperature)
            assert near(found[:, :, :rows], x[:, :, :rows]), f"{rows} rows given: they came back changed"
            blank, how = np.zeros(x.shape), {"temperature": temperature}

            def whole(kind, model=model, x=x, rows=rows, seed=seed, how=how):
                return lambda: completed(lesson, model, x, rows, seed, kind, **how)

            likely = {
                "the given rows were not fed to the predictor: it must have their features (predict.feed)": whole(
                    lesson.cached
                ),
                "the temperature is ignored": whole(lesson.Naive, how={}),
                "the hidden rows are left empty": np.where(np.arange(side)[:, None] < rows, x, blank),
                "the hidden rows of the image came back: they are to be drawn": x,
            }
            must_be(
                found, wanted, likely,
                f"{name_of(changes)}, {rows} rows given: the lower rows differ from what the whole model draws "
                "from this seed",
            )  # fmt: skip


@pytest.mark.hole("complete", kind="invariant")
def test_complete_never_looks_at_hidden_rows(lesson, rng):
    for changes in ({}, {"gated": True}, {"colours": 3, "side": 3}):
        model, seed = make(rng, **changes), int(rng.integers(2**31))
        x = images(model, rng, 3)
        one = lesson.complete(model, x, 2, np.random.default_rng(seed))
        blind = x.copy()
        blind[:, :, 2:] = np.nan
        other = lesson.complete(model, blind, 2, np.random.default_rng(seed))
        assert np.array_equal(one, other), (
            f"{name_of(changes)}: with other pixels in the hidden rows, the completion changes: they must "
            "never be looked at"
        )
        again = lesson.complete(model, x, 2, np.random.default_rng(seed + 1))
        assert not np.array_equal(one, again) or model.config.side < 4, (
            "another generator completes to the same images: draw, from the rng that was given"
        )
