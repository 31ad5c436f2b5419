"""Checks of e11: masks against the raster order itself, layers against NumPy, models against what a density must be."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import itertools

import numpy as np
import pytest

from minigen import Tensor, grad, no_grad, ops
from minigen.optim import SGD, Adam


def numbers(value):
    """Whatever a right answer may be: a Tensor, an array, a list -> float64 array"""
    return np.array(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64)


def near(a, b, rtol=1e-4):
    a, b = numbers(a), numbers(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + np.abs(b).max(initial=0)))


def must_be(found, wanted, likely, otherwise, rtol=1e-4):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted, rtol):
        pytest.fail(next((says for says, value in likely.items() if near(found, value, rtol)), otherwise))


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def earlier(kernel, kind):
    """What comes before the middle in raster order, and with B the middle: said by the order itself"""
    middle = (kernel[0] // 2, kernel[1] // 2)
    seen = np.zeros(kernel, bool)
    for place in itertools.product(*map(range, kernel)):
        seen[place] = place < middle or (kind == "B" and place == middle)
    return seen


def colours_seen(kernel, kind, n_in, n_out, colours):
    """`earlier` for every pair of channels, colour by colour"""
    seen = np.zeros((n_out, n_in, *kernel), bool)
    for o, c in itertools.product(range(n_out), range(n_in)):
        seen[o, c] = earlier(kernel, "A")
        a, b = c % colours, o % colours
        seen[o, c, kernel[0] // 2, kernel[1] // 2] = a < b or (kind == "B" and a == b)
    return seen


def correlate(x, W, b):
    """(N, C, H, W), (F, C, kh, kw), (F,) -> (N, F, H, W) in float64: zeros around, the same size"""
    kh, kw = W.shape[2:]
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2)))
    y = np.zeros((x.shape[0], W.shape[0], *x.shape[2:])) + numbers(b)[:, None, None]
    for a, e in itertools.product(range(kh), range(kw)):
        part = padded[:, :, a : a + x.shape[2], e : e + x.shape[3]]
        y += np.einsum("nchw,fc->nfhw", part, numbers(W[:, :, a, e]))
    return y


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def shuffled(model, rng, scale=0.5):
    """The model with every parameter drawn anew, biases and hidden weights too: whatever is forgotten shows"""
    for p in model.parameters():
        p.data = rng.normal(0, scale, p.shape)
    return model


def make(lesson, rng, **changes):
    """A small float64 model"""
    small = {"side": 4, "h": 4, "blocks": 1, "first": 3, "kernel": 3, "head": 5}
    model = lesson.PixelCNN(lesson.Config(**(small | changes)), rng=rng)
    return shuffled(lesson.double(model), rng)


def alive(model):
    """No ReLU is ever closed and nothing cancels: every connection that there is shows, in any image"""
    if (
        model.config.gated
    ):  # gates never close, but saturate if they are large: only what the ReLUs of the head read
        model.body.blocks[-1].mix.b.data = numbers(model.body.blocks[-1].mix.b) + 100
        model.head[0].b.data = 1e4 + 0 * numbers(model.head[0].b)
    else:
        for p in model.parameters():
            p.data = np.abs(numbers(p)) + 0.01
    return model


def drawn(model, rng, n):
    """n images of the model's kind, every value one of its levels"""
    c = model.config
    shape = (n, c.side, c.side) if c.colours == 1 else (n, c.colours, c.side, c.side)
    return rng.integers(0, c.levels, shape) / (c.levels - 1)


def dependencies(model, rng, n=6):
    """-> (D, D) booleans over the values in their order: [i, j] where the logits of i have a slope in j"""
    c = model.config
    x = Tensor(rng.random((n, c.colours, c.side, c.side)), requires_grad=True)
    rows = []
    for row, column, colour in itertools.product(range(c.side), range(c.side), range(c.colours)):
        y = model.logits(x)
        rows.append(np.abs(numbers(grad(ops.sum(ops.sin(y[:, :, colour, row, column])), x))).max(axis=0) > 0)
    seen = np.array(rows).transpose(
        0, 2, 3, 1
    )  # (D, C, H, W) -> (D, H, W, C): the order in which they are drawn
    return seen.reshape(len(rows), -1)


def check_causal(seen, what):
    for i, j in np.argwhere(np.triu(seen)):
        thing = (
            "itself: it copies its own value, and the loss falls towards 0"
            if i == j
            else f"value {j}, which comes later"
        )
        pytest.fail(
            f"{what}: in raster order (colours of a pixel in turn) the logits of value {i} see {thing}"
        )


# mask


KERNELS = ((3, 3), (5, 5), (7, 7), (1, 3), (1, 7), (1, 1), (3, 5), (5, 1))


@pytest.mark.hole("mask", kind="shape")
def test_mask_is_booleans(lesson):
    for kernel, kind in itertools.product(KERNELS, "AB"):
        found = lesson.mask(kernel, kind)
        assert shape_of(found) == kernel, (
            f"mask({kernel}, {kind!r}) has shape {shape_of(found)}; expected the kernel's, {kernel}"
        )
        assert getattr(found, "dtype", None) is np.dtype(bool), (
            f"mask({kernel}, {kind!r}) holds {getattr(found, 'dtype', type(found).__name__)}; expected booleans "
            "(compare numbers, or .astype(bool))"
        )


@pytest.mark.hole("mask", kind="value")
def test_mask_value(lesson):
    for kernel, kind in itertools.product(KERNELS, "AB"):
        found, wanted = lesson.mask(kernel, kind), earlier(kernel, kind)
        if np.array_equal(found, wanted):
            continue
        other = earlier(kernel, "B" if kind == "A" else "A")
        middle_row = np.arange(kernel[0])[:, None] == kernel[0] // 2
        above = np.broadcast_to(np.arange(kernel[0])[:, None] < kernel[0] // 2, kernel)
        left = np.broadcast_to(np.arange(kernel[1]) < kernel[1] // 2, kernel)
        swap = "A hides the middle (the image's own pixel), B shows it (a feature that has not seen it)"
        columns = np.zeros(kernel, bool)
        for a, e in itertools.product(*map(range, kernel)):
            columns[a, e] = (e, a) < (kernel[1] // 2, kernel[0] // 2) or (kind == "B" and wanted[a, e])
        likely = {
            f"A and B are exchanged, or one is used for both: {swap}": other,
            "it is reversed: it shows what comes after the middle": wanted[::-1, ::-1],
            "it is inverted: True must mean visible": ~wanted,
            "the whole middle row is hidden: left of the middle it is seen already": above
            | (wanted & other & ~left & middle_row)
            | ((kind == "B") & earlier(kernel, "B") & ~earlier(kernel, "A")),
            "the whole middle row is visible, also right of the middle": above | middle_row,
            "the rows above the middle are hidden": wanted & middle_row,
            "it looks to the left in every row; the rows above are seen in full, also right of the middle": (
                above | middle_row
            )
            & (left | ((kind == "B") & (np.arange(kernel[1]) == kernel[1] // 2))),
            "it goes column by column; the raster order goes row by row": columns,
            "everything is visible": np.ones(kernel, bool),
        }
        why = next((says for says, value in likely.items() if np.array_equal(found, value)), None)
        picture = " / ".join("".join(".#"[int(v)] for v in row) for row in numbers(found))
        right = " / ".join("".join(".#"[int(v)] for v in row) for row in wanted)
        pytest.fail(f"mask({kernel}, {kind!r}): {why or 'expected ' + right}; it shows {picture}")


@pytest.mark.hole("mask", kind="invariant")
def test_mask_counts(lesson):
    for k in (1, 3, 5, 7, 9):
        for kind, wanted in (("A", (k * k - 1) // 2), ("B", (k * k + 1) // 2)):
            found = int(numbers(lesson.mask((k, k), kind)).sum())
            assert found == wanted, (
                f"mask(({k}, {k}), {kind!r}) shows {found} places; expected (k^2 {'-' if kind == 'A' else '+'} "
                "1) / 2 "
                f"= {wanted}: half of the kernel, with B the middle too"
            )
        a = np.array(lesson.mask((k, k), "A"), bool)
        b = np.array(lesson.mask((k, k), "B"), bool)
        both = a.astype(int) + a[::-1, ::-1]
        both[k // 2, k // 2] += 1
        assert (both == 1).all(), (
            "turned by half a circle, mask A must show exactly what it hid (but for the middle): before and after"
        )
        assert (a != b).sum() == 1 and b[k // 2, k // 2], (
            "A and B must differ in the middle, and nowhere else"
        )


@pytest.mark.hole("mask", kind="step")
def test_mask_makes_the_model_causal(lesson, rng):
    check_causal(dependencies(make(lesson, rng), rng), "a PixelCNN with your masks")
    check_causal(dependencies(make(lesson, rng, gated=True), rng), "a gated PixelCNN with your masks")


# vertical_mask


@pytest.mark.hole("vertical_mask", kind="shape")
def test_vertical_mask_is_booleans(lesson):
    for kernel, kind in itertools.product(((3, 3), (7, 7), (3, 5), (5, 1)), "AB"):
        found = lesson.vertical_mask(kernel, kind)
        assert shape_of(found) == kernel, (
            f"vertical_mask({kernel}, {kind!r}) has shape {shape_of(found)}; expected the kernel's, {kernel}"
        )
        assert found.dtype is np.dtype(bool), (
            f"vertical_mask({kernel}, {kind!r}) holds {found.dtype}; expected booleans"
        )


@pytest.mark.hole("vertical_mask", kind="value")
def test_vertical_mask_value(lesson):
    for kernel, kind in itertools.product(((3, 3), (5, 5), (7, 7), (3, 5), (5, 1)), "AB"):
        found = np.array(lesson.vertical_mask(kernel, kind), bool)
        rows = np.arange(kernel[0])[:, None]
        above, upto = (
            np.broadcast_to(part, kernel) for part in (rows < kernel[0] // 2, rows <= kernel[0] // 2)
        )
        wanted = above if kind == "A" else upto
        if np.array_equal(found, wanted):
            continue
        likely = {
            "with A the vertical stack reads the present row of the image: it must know the rows above only": (
                kind == "A",
                upto,
            ),
            "with B the middle row is hidden: the features there have seen no more than the rows above": (
                kind == "B",
                above,
            ),
            "this is `mask`: the vertical stack sees rows in full or not at all, else the blind spot comes back": (
                True,
                earlier(kernel, kind),
            ),
            "it is upside down: it shows the rows below": (True, wanted[::-1]),
            "it is inverted: True must mean visible": (True, ~wanted),
            "everything is visible": (True, np.ones(kernel, bool)),
        }
        why = next(
            (says for says, (when, value) in likely.items() if when and np.array_equal(found, value)), None
        )
        picture = " / ".join("".join(".#"[int(v)] for v in row) for row in found)
        pytest.fail(f"vertical_mask({kernel}, {kind!r}): {why or 'expected whole rows'}; it shows {picture}")


@pytest.mark.hole("vertical_mask", kind="invariant")
def test_vertical_stack_knows_the_rows_above(lesson, rng):
    model = make(lesson, rng, gated=True, blocks=2, side=5)
    x = Tensor(rng.random((6, 1, 5, 5)), requires_grad=True)
    for row in (1, 2, 4):
        v, h = model.body.first(x, x)
        for block in model.body.blocks:
            v, h = block(v, h)
        slope = np.abs(numbers(grad(ops.sum(v[:, :, row, 2]), x))).max(axis=(0, 1))
        assert not slope[row:].any(), (
            f"with your masks the vertical stack's features in row {row} see row "
            f"{row + int(slope[row:].any(1).argmax())}"
            ": it must know the rows above only"
        )
        assert (slope[row - 1] > 0).all(), (
            f"with your masks the vertical stack's features in row {row}, column 2 do not see all of row "
            f"{row - 1}, "
            "three layers of 3x3 reach that far"
        )


# colour_mask


CASES = (
    ((3, 3), 3, 6, 3),
    ((1, 1), 6, 4, 3),
    ((1, 3), 2, 5, 2),
    ((5, 5), 1, 4, 1),
    ((3, 3), 7, 7, 3),
    ((3, 3), 4, 6, 1),
)


@pytest.mark.hole("colour_mask", kind="shape")
def test_colour_mask_is_booleans(lesson):
    for (kernel, n_in, n_out, colours), kind in itertools.product(CASES, "AB"):
        found = lesson.colour_mask(kernel, kind, n_in, n_out, colours)
        wanted = (n_out, n_in, *kernel)
        assert shape_of(found) == wanted, (
            f"colour_mask({kernel}, {kind!r}, n_in={n_in}, n_out={n_out}, colours={colours}) has shape "
            f"{shape_of(found)}; expected (n_out, n_in, kh, kw) = {wanted}, as convolution weights"
        )
        assert found.dtype is np.dtype(bool), f"colour_mask holds {found.dtype}; expected booleans"


@pytest.mark.hole("colour_mask", kind="value")
def test_colour_mask_value(lesson):
    for (kernel, n_in, n_out, colours), kind in itertools.product(CASES, "AB"):
        found = np.array(lesson.colour_mask(kernel, kind, n_in, n_out, colours), bool)
        wanted = colours_seen(kernel, kind, n_in, n_out, colours)
        if np.array_equal(found, wanted):
            continue
        middle = (slice(None), slice(None), kernel[0] // 2, kernel[1] // 2)
        around = wanted.copy()
        around[middle] = found[middle]
        call = f"colour_mask({kernel}, {kind!r}, {n_in}, {n_out}, {colours})"
        assert np.array_equal(found, around), (
            f"{call}: beside the middle, every pair of channels must have mask A: pixels before this one are "
            "seen in all "
            "their colours"
        )
        a, b = np.arange(n_in), np.arange(n_out)[:, None]
        compare = np.less if kind == "A" else np.less_equal
        likely = {
            "A lets a colour see itself: only the colours before it": a % colours <= b % colours,
            "B must let a colour see itself, too": a % colours < b % colours,
            "the order is reversed: R comes first, and sees neither G nor B": compare(
                b % colours, a % colours
            ),
            "the channels are grouped in blocks; channel c belongs to colour c % colours": compare(
                a * colours // n_in, b * colours // n_out
            ),
            "the channels themselves are compared, not their colours": compare(a, b),
            "the middle is hidden for all pairs": np.zeros((n_out, n_in), bool),
            "the middle is visible for all pairs": np.ones((n_out, n_in), bool),
            "only equal colours see each other": a % colours == b % colours,
        }
        why = next((says for says, value in likely.items() if np.array_equal(found[middle], value)), None)
        o, c = np.argwhere(found[middle] != wanted[middle])[0]
        must = "must see" if wanted[middle][o, c] else "must not see"
        what = f"output {o} (colour {o % colours}) {must} input {c} (colour {c % colours})"
        pytest.fail(f"{call}, at the middle: {why or what}")


@pytest.mark.hole("colour_mask", kind="invariant")
def test_colour_mask_makes_the_model_causal(lesson, rng):
    for changes in ({}, {"gated": True}, {"levels": 3}):
        model = make(lesson, rng, side=2, colours=3, h=6, **changes)
        check_causal(dependencies(model, rng), f"a PixelCNN of three colours{changes or ''} with your masks")
        seen = dependencies(alive(model), rng, n=1)
        assert seen[1, 0] and seen[2, 1], (
            "G must see R of its own pixel, and B must see G: the middle hides too much"
        )


# MaskedConv2d.__call__


def layer_of(lesson, rng, kernel=(3, 3), kind="B", n_in=3, n_out=4, colours=1):
    layer = lesson.MaskedConv2d(n_in, n_out, colours_seen(kernel, kind, n_in, n_out, colours), rng=rng)
    return shuffled(lesson.double(layer), rng)


LAYERS = (
    {},
    {"kind": "A", "kernel": (5, 5), "n_in": 1},
    {"colours": 3, "n_in": 3, "n_out": 6, "kind": "A"},
    {"colours": 2, "kernel": (1, 1), "n_in": 4},
    {"kernel": (1, 5)},
)


@pytest.mark.hole("MaskedConv2d.__call__", kind="shape")
def test_conv_keeps_the_size(lesson, rng):
    for how in LAYERS:
        layer = layer_of(lesson, rng, **how)
        n_out, n_in = layer.W.shape[:2]
        for h, w in ((6, 6), (3, 7), (1, 1)):
            x = rng.normal(size=(2, n_in, h, w))
            y = layer(Tensor(x))
            assert shape_of(y) == (2, n_out, h, w), (
                f"kernel {layer.taps.shape}: a map of {h}x{w} gives {shape_of(y)}; expected (2, {n_out}, {h}, "
                f"{w}): pad by "
                "half of each side of the kernel, (kh // 2, kw // 2)"
            )
            assert isinstance(y, Tensor) and y.requires_grad, (
                "the result is cut off from the graph: use ops.conv2d on self.W and self.b, not on their .data"
            )


@pytest.mark.hole("MaskedConv2d.__call__", kind="value")
def test_conv_value(lesson, rng):
    for how in LAYERS:
        layer = layer_of(lesson, rng, **how)
        x = rng.normal(size=(3, layer.W.shape[1], 5, 6))
        W, b, seen = numbers(layer.W), numbers(layer.b), layer.visible
        tapped = np.broadcast_to(layer.taps, W.shape)
        likely = {
            "nothing is hidden: every call needs the mask (self.taps; self.visible where channels differ)": (
                correlate(x, W, b)
            ),
            "places are hidden by `taps`, but not the pairs of channels: where they differ (not self.even), "
            "multiply W "
            "by self.visible": correlate(x, W * tapped, b),
            "the bias is missing": correlate(x, W * seen, 0 * b),
            "the mask is inverted: `visible` is what stays": correlate(x, W * ~seen, b),
            "the kernel is flipped: this is a cross-correlation": correlate(
                x, (W * seen)[:, :, ::-1, ::-1], b
            ),
        }
        must_be(
            layer(Tensor(x)), correlate(x, W * seen, b), likely,
            f"kernel {layer.taps.shape}: the output differs from the cross-correlation with W * visible, plus b",
        )  # fmt: skip


@pytest.mark.hole("MaskedConv2d.__call__", kind="gradient")
def test_hidden_weights_have_no_gradient(lesson, rng):
    for how in LAYERS:
        layer = layer_of(lesson, rng, **how)
        x = Tensor(rng.normal(size=(2, layer.W.shape[1], 4, 5)), requires_grad=True)
        up = rng.normal(size=(2, layer.W.shape[0], 4, 5))
        gW, gb, gx = grad(ops.sum(layer(x) * up), [layer.W, layer.b, x], allow_unused=True)
        assert gW is not None and gb is not None and gx is not None, (
            "no gradient reaches the weights, the bias or the input: the graph is cut"
        )
        assert not numbers(gW)[~layer.visible].any(), (
            "hidden weights receive a gradient: the mask must be applied in every call, on the way from W to "
            "the output, "
            "not once to the values of W (InterDigital's CompressAI had this bug, issue 25)"
        )
        W, b = numbers(layer.W) * layer.visible, numbers(layer.b)
        for name, g, at in (("W", gW, layer.W), ("b", gb, layer.b), ("x", gx, x)):
            step = rng.normal(size=at.shape)

            half = {"W": W * 0, "b": b * 0, "x": numbers(x) * 0} | {
                name: step / 2
            }  # linear in each: no small step
            half["W"] = half["W"] * layer.visible
            plus, minus = (
                correlate(numbers(x) + s * half["x"], W + s * half["W"], b + s * half["b"]) for s in (1, -1)
            )
            slope = float(((plus - minus) * up).sum())
            assert np.isclose(float((numbers(g) * step).sum()), slope, rtol=1e-6, atol=1e-8), (
                f"the gradient with respect to {name} does not fit the function: "
                f"{float((numbers(g) * step).sum()):.6g} along a random direction, expected {slope:.6g}"
            )


@pytest.mark.hole("MaskedConv2d.__call__", kind="step")
def test_hidden_weights_never_matter(lesson, rng):
    for how in LAYERS:
        layer = layer_of(lesson, rng, **how)
        x = rng.normal(size=(4, layer.W.shape[1], 4, 4))
        if layer.visible.all():
            continue
        hidden = numbers(layer.W)[~layer.visible]
        for optimizer in (Adam(layer.parameters(), lr=0.1), SGD(layer.parameters(), lr=0.01, momentum=0.9)):
            for _ in range(4):
                optimizer.step(grad(ops.mean(ops.square(layer(Tensor(x)))), optimizer.params))
                assert np.array_equal(numbers(layer.W)[~layer.visible], hidden), (
                    "a step of the optimizer, or a call of the layer, changed hidden weights: they must get no "
                    "gradient, and "
                    "a call changes no parameter"
                )
        before = numbers(layer(Tensor(x)))
        layer.W.data = np.where(layer.visible, numbers(layer.W), 1e3)
        assert near(layer(Tensor(x)), before), "hidden weights of size 1000 change the output: the mask leaks"


# ResidualBlock.__call__


def block_of(lesson, rng, **changes):
    config = lesson.Config(**({"h": 3, "blocks": 1, "first": 3, "kernel": 3} | changes))
    return shuffled(lesson.double(lesson.ResidualBlock(config, rng=rng)), rng)


@pytest.mark.hole("ResidualBlock.__call__", kind="shape")
def test_block_shape(lesson, rng):
    block = block_of(lesson, rng)
    y = block(Tensor(rng.normal(size=(2, 6, 4, 5))))
    assert shape_of(y) == (2, 6, 4, 5), (
        f"maps (2, 6, 4, 5) give {shape_of(y)}; expected their own shape back: narrow, masked, wide, added to "
        "the input"
    )


@pytest.mark.hole("ResidualBlock.__call__", kind="value")
def test_block_value(lesson, rng):
    block, x = block_of(lesson, rng), rng.normal(size=(3, 6, 5, 4))

    def through(a, b, c, start=x):
        inner = a(start)
        inner = b(numbers(block.narrow(inner)))
        inner = c(numbers(block.masked(inner)))
        return numbers(block.wide(inner))

    def same(t):
        return t

    right = through(relu, relu, relu)
    likely = {
        "the input is not added: h + ...": right,
        "the input goes through the ReLU before it is added: add h itself": relu(x) + right,
        "the input is subtracted": right - x,
        "there is a ReLU after the sum: the sum is passed on as it is": relu(x + right),
        "there is no ReLU before the first convolution": x + through(same, relu, relu),
        "there is no ReLU before the masked convolution": x + through(relu, same, relu),
        "there is no ReLU before the last convolution": x + through(relu, relu, same),
        "there is no ReLU at all": x + through(same, same, same),
        "the ReLU of the last convolution stands behind it, not before it": x
        + relu(through(relu, relu, same)),
        "each ReLU stands behind its convolution; expected before it": x + relu(through(same, relu, relu)),
        "the curve is a tanh; expected ReLU": x + through(np.tanh, np.tanh, np.tanh),
    }
    must_be(
        block(Tensor(x)),
        x + right,
        likely,
        "the output differs from h + wide(relu(masked(relu(narrow(relu(h))))))",
    )


@pytest.mark.hole("ResidualBlock.__call__", kind="gradient")
def test_block_gradient(lesson, rng):
    block = block_of(lesson, rng)
    x = Tensor(rng.normal(size=(2, 6, 3, 3)), requires_grad=True)
    up = rng.normal(size=(2, 6, 3, 3))
    before = numbers(x)
    y = block(x)
    assert np.array_equal(numbers(x), before), "the block changed its input in place"
    found = numbers(grad(ops.sum(y * up), x))
    step = rng.normal(size=x.shape)
    with no_grad():
        plus, minus = (numbers(block(before + t * 1e-6 * step)) for t in (1, -1))
    slope = ((plus - minus) * up).sum() / 2e-6
    assert np.isclose((found * step).sum(), slope, rtol=1e-4, atol=1e-4), (
        f"the gradient has slope {(found * step).sum():.5g} along a random direction, the block itself {slope:.5g}"
    )


@pytest.mark.hole("ResidualBlock.__call__", kind="invariant")
def test_block_sees_what_mask_b_shows(lesson, rng):
    block = block_of(lesson, rng)
    for p in block.parameters():
        p.data = np.abs(numbers(p)) + 0.01  # no ReLU is ever closed
    x = Tensor(rng.random((2, 6, 5, 5)), requires_grad=True)
    slope = np.abs(numbers(grad(ops.sum(block(x)[:, :, 2, 2]), x))).max(axis=(0, 1)) > 0
    wanted = np.zeros((5, 5), bool)
    wanted[1:4, 1:4] = earlier((3, 3), "B")
    late = slope & ~wanted
    assert not late.any(), (
        f"a feature at (2, 2) sees {tuple(map(int, np.argwhere(late)[0]))}, which mask B hides"
    )
    assert np.array_equal(slope, wanted), (
        "a feature at (2, 2) does not see all that mask B of the 3x3 convolution shows it"
    )


# gate


@pytest.mark.hole("gate", kind="shape")
def test_gate_shape(lesson, rng):
    for p in (1, 4):
        y = lesson.gate(Tensor(rng.normal(size=(2, 2 * p, 3, 5))))
        assert shape_of(y) == (2, p, 3, 5), (
            f"2 p = {2 * p} channels give {shape_of(y)}; expected half as many, (2, {p}, 3, 5)"
        )


@pytest.mark.hole("gate", kind="value")
def test_gate_value(lesson, rng):
    x = rng.normal(0, 2, (3, 8, 2, 4))
    a, b = x[:, :4], x[:, 4:]
    likely = {
        "the halves are exchanged: tanh of the first p channels, sigmoid of the last p": np.tanh(b)
        * sigmoid(a),
        "every second channel is taken: the first p against the last p": np.tanh(x[:, ::2])
        * sigmoid(x[:, 1::2]),
        "the two are added; expected their product": np.tanh(a) + sigmoid(b),
        "both halves go through a tanh": np.tanh(a) * np.tanh(b),
        "both halves go through a sigmoid": sigmoid(a) * sigmoid(b),
        "the first half is not bent: tanh(a) sigmoid(b)": a * sigmoid(b),
        "the first half goes through a ReLU; expected tanh": relu(a) * sigmoid(b),
        "the second half does not go through the sigmoid": np.tanh(a) * b,
    }
    must_be(
        lesson.gate(Tensor(x)),
        np.tanh(a) * sigmoid(b),
        likely,
        "it is not tanh(first half) * sigmoid(second half)",
    )


@pytest.mark.hole("gate", kind="gradient")
def test_gate_gradient(lesson, rng):
    x = Tensor(rng.normal(size=(2, 6, 2, 2)), requires_grad=True)
    y = lesson.gate(x)
    assert isinstance(y, Tensor) and y.requires_grad, "no gradient can flow: use ops.tanh and ops.sigmoid"
    up = rng.normal(size=(2, 3, 2, 2))
    a, b = numbers(x)[:, :3], sigmoid(numbers(x)[:, 3:])
    wanted = np.concatenate([up * (1 - np.tanh(a) ** 2) * b, up * np.tanh(a) * b * (1 - b)], axis=1)
    assert near(grad(ops.sum(y * up), x), wanted), "the gradient is not that of tanh(a) sigmoid(b)"
    assert np.isfinite(numbers(lesson.gate(Tensor(np.full((1, 2, 1, 1), -1000.0))))).all(), (
        "an input of -1000 gives infinity or NaN: use ops.sigmoid, which never overflows"
    )


# GatedBlock.__call__


def gated_of(lesson, rng, kind="B", colours=1):
    config = lesson.Config(h=3, gated=True, first=3, kernel=3, colours=colours)
    block = shuffled(lesson.double(lesson.GatedBlock(config, kind, rng=rng)), rng)
    n_in = colours if kind == "A" else 6
    return block, rng.normal(size=(3, n_in, 4, 5)), rng.normal(size=(3, n_in, 4, 5))


def numpy_gate(x):
    p = x.shape[1] // 2
    return np.tanh(x[:, :p]) * sigmoid(x[:, p:])


@pytest.mark.hole("GatedBlock.__call__", kind="shape")
def test_gated_shapes(lesson, rng):
    for kind in "AB":
        block, v, h = gated_of(lesson, rng, kind)
        found = block(Tensor(v), Tensor(h))
        assert isinstance(found, tuple | list) and len(found) == 2, (
            f"a block gives the pair (v, h), found a {type(found).__name__}"
        )
        for name, part in zip("vh", found, strict=True):
            assert shape_of(part) == (3, 6, 4, 5), (
                f"block {kind}: {name} has shape {shape_of(part)}; expected (3, 6, 4, 5)"
            )


@pytest.mark.hole("GatedBlock.__call__", kind="value")
def test_gated_value(lesson, rng):
    for kind in "AB":
        block, v, h = gated_of(lesson, rng, kind)
        above, beside = numbers(block.vertical(v)), numbers(block.horizontal(h))
        down = numbers(block.down(above))
        found_v, found_h = (numbers(part) for part in block(Tensor(v), Tensor(h)))
        right_v = numpy_gate(above)
        out = numbers(block.mix(numpy_gate(beside + down)))
        right_h = out + h if kind == "B" else out
        likely = {
            "v and h are exchanged in the result: (v, h)": right_h,
            "v is not gated: gate(vertical(v))": above,
            "h flows into v, which must know the rows above only: gate(vertical(v)), nothing else": numpy_gate(
                above + beside
            ),
            "v comes from h: vertical(v)": numpy_gate(numbers(block.vertical(h))),
        }
        if kind == "B":
            likely["v has a residual connection: only h has one"] = v + right_v
        must_be(found_v, right_v, likely, f"block {kind}: v differs from gate(vertical(v))")
        likely = {
            "the vertical stack tells the horizontal one nothing: add down(vertical(v)) before the gate": numbers(
                block.mix(numpy_gate(beside))
            )
            + (h if kind == "B" else 0),
            "what the vertical stack saw is added without the 1x1 convolution `down`": numbers(
                block.mix(numpy_gate(beside + above))
            )
            + (h if kind == "B" else 0),
            "the last 1x1 convolution, `mix`, is missing": numpy_gate(beside + down)
            + (h if kind == "B" else 0)
            if kind == "B"
            else numpy_gate(beside + down),
            "h is gated twice": numbers(block.mix(numpy_gate(beside) * np.tanh(down[:, :6])))
            + (h if kind == "B" else 0),
        }
        if kind == "B":
            likely["block B must add its input h: the residual connection is missing"] = out
            likely["the residual connection adds v; expected h"] = out + v
        must_be(
            found_h, right_h, likely,
            f"block {kind}: h differs from mix(gate(horizontal(h) + "
            f"down(vertical(v)))){' + h' if kind == 'B' else ''}",
        )  # fmt: skip


@pytest.mark.hole("GatedBlock.__call__", kind="gradient")
def test_gated_gradient(lesson, rng):
    block, v, h = gated_of(lesson, rng)
    tv, th = (Tensor(part, requires_grad=True) for part in (v, h))
    up = rng.normal(size=(2, 3, 6, 4, 5))
    new_v, new_h = block(tv, th)
    found = grad(ops.sum(new_v * up[0]) + ops.sum(new_h * up[1]), [tv, th], allow_unused=True)
    assert all(g is not None for g in found), "no gradient reaches v or h: the graph is cut"
    steps = rng.normal(size=(2, *v.shape))

    def value(t):
        with no_grad():
            a, b = block(v + t * steps[0], h + t * steps[1])
        return (numbers(a) * up[0]).sum() + (numbers(b) * up[1]).sum()

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    mine = sum((numbers(g) * s).sum() for g, s in zip(found, steps, strict=True))
    assert np.isclose(mine, slope, rtol=1e-5, atol=1e-5), (
        f"the gradient has slope {mine:.6g}, the block {slope:.6g}"
    )


@pytest.mark.hole("GatedBlock.__call__", kind="invariant")
def test_gated_model_sees_everything_before(lesson, rng):
    model = alive(make(lesson, rng, gated=True, side=5, blocks=4))
    seen = dependencies(model, rng, n=2)
    check_causal(seen, "a gated PixelCNN with your block")
    missing = np.tril(~seen, -1)
    for i, j in np.argwhere(missing):
        pytest.fail(
            f"a gated PixelCNN with your block has a blind spot: the logits of pixel {divmod(int(i), 5)} do "
            "not see pixel "
            f"{divmod(int(j), 5)}, which comes before it"
        )


# PixelCNN.logits


KINDS = (
    {},
    {"gated": True},
    {"levels": 4},
    {"colours": 3, "levels": 3, "side": 3},
    {"colours": 2, "gated": True, "side": 3},
)


@pytest.mark.hole("PixelCNN.logits", kind="shape")
def test_logits_shape(lesson, rng):
    for changes in KINDS:
        model = make(lesson, rng, **changes)
        c, x = model.config, drawn(model, rng, 2)
        levels = 1 if c.levels == 2 else c.levels
        wanted = (2, levels, c.colours, c.side, c.side)
        for given in (x, Tensor(x), x.reshape(2, c.colours, c.side, c.side)):
            found = shape_of(model.logits(given))
            assert found == wanted, (
                f"images {given.shape} with {c.levels} levels and {c.colours} colours give logits of shape "
                f"{found}; "
                f"expected (N, K, C, H, W) = {wanted}"
            )
        low = x[..., :2, :]
        assert shape_of(model.logits(low)) == (*wanted[:3], 2, c.side), (
            "an image of two rows gives logits of another height: take height and width from the maps, not "
            "from the config "
            "(lesson e12 needs it)"
        )


@pytest.mark.hole("PixelCNN.logits", kind="value")
def test_logits_value(lesson, rng):
    for changes in KINDS:
        model = make(lesson, rng, **changes)
        c, x = model.config, drawn(model, rng, 3)
        maps = x.reshape(3, c.colours, c.side, c.side)
        h = numbers(model.body(maps))

        def headed(h, *bends, model=model):
            for layer, bend in zip(model.head, bends, strict=True):
                h = numbers(layer(bend(h)))
            return h

        def split(y, c=c):
            return y.reshape(3, -1, c.colours, c.side, c.side)

        right = headed(h, relu, relu)

        def same(t):
            return t

        likely = {
            "the split is colour by colour; channel k C + c is level k of colour c: (N, K, C, H, W)": (
                right.reshape(3, c.colours, -1, c.side, c.side).swapaxes(1, 2)
            ),
            "there is no ReLU before the first layer of the head": split(headed(h, same, relu)),
            "there is no ReLU before the last layer": split(headed(h, relu, same)),
            "there is no ReLU in the head": split(headed(h, same, same)),
            "there is a ReLU after the last layer: logits may be negative": split(relu(right)),
            "the ReLUs stand behind the layers; expected before them": split(relu(headed(h, same, relu))),
            "these are probabilities: leave the sigmoid out, the loss takes logits": split(sigmoid(right)),
            "the image passes beside mask A: nothing of it may be added to the features": split(
                headed(h + maps.sum(axis=1, keepdims=True), relu, relu)
            ),
            "the image was shifted to [-1, 1]: take it as it comes": split(
                headed(numbers(model.body(2 * maps - 1)), relu, relu)
            ),
        }  # fmt: skip
        must_be(
            model.logits(x), split(right), likely, "the logits differ from body, ReLU, head[0], ReLU, head[1]"
        )


@pytest.mark.hole("PixelCNN.logits", kind="invariant")
def test_logits_are_causal(lesson, rng):
    for changes in KINDS:
        model = make(lesson, rng, **(changes | {"side": 3}))
        check_causal(dependencies(model, rng), f"PixelCNN {changes or 'of one colour'}")


# PixelCNN.log_prob


def oracle_log_prob(model, x, rounded=np.rint):
    """(N,) nats and the nats of each pixel (N, D), by probabilities written out"""
    c = model.config
    logits = numbers(model.logits(x))
    maps = x.reshape(len(x), c.colours, c.side, c.side)
    if c.levels == 2:
        p = sigmoid(logits[:, 0])
        each = np.where(maps > 0.5, np.log(p), np.log1p(-p))
    else:
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        k = rounded(maps * maps.dtype.type(c.levels - 1)).astype(int)
        each = np.log(np.take_along_axis(p, k[:, None], axis=1)[:, 0])
    each = each.reshape(len(x), -1)
    return each.sum(axis=1), each


@pytest.mark.hole("PixelCNN.log_prob", kind="shape")
def test_log_prob_shape(lesson, rng):
    for changes in KINDS:
        model = make(lesson, rng, **changes)
        for n in (1, 5):
            found = shape_of(model.log_prob(drawn(model, rng, n)))
            assert found == (n,), f"{n} images give shape {found}; expected one number for each, ({n},)"


@pytest.mark.hole("PixelCNN.log_prob", kind="value")
def test_log_prob_value(lesson, rng):
    for changes in (*KINDS, {"levels": 100}):
        model = make(lesson, rng, **changes)
        x = drawn(model, rng, 6).astype(np.float32)
        if model.config.levels == 100:  # k / 99 of which 99 times are a little less than k, in float32
            x = rng.choice([7, 14, 25, 28, 31, 50, 56, 62], x.shape).astype(np.float32) / np.float32(99)
        wanted, each = oracle_log_prob(model, x)
        logits, maps = numbers(model.logits(x)), x.reshape(6, model.config.colours, *x.shape[-2:])
        inverted = np.log(np.where(maps > 0.5, 1 - sigmoid(logits[:, 0]), sigmoid(logits[:, 0])))
        likely = {
            "the sign is wrong: log p is negative, the cross-entropy is minus log p": -wanted,
            "the pixels are averaged: log p of an image is the sum over its pixels": each.mean(axis=1),
            "it is in bits: nats are natural logarithms": wanted / np.log(2),
            "these are probabilities: take the logarithm": np.exp(wanted),
            "it is summed over the pixels of all images": np.full(6, wanted.sum()),
            "x (levels - 1) is cut off, not rounded: 28.999 is level 29": oracle_log_prob(model, x, np.floor)[
                0
            ],
            "black and white are exchanged: the logit is that of pixel value 1": inverted.reshape(6, -1).sum(
                axis=1
            ),
        }
        kind = f"{model.config.levels} levels, {model.config.colours} colours"
        must_be(
            model.log_prob(x), wanted, likely,
            f"{kind}: expected the sum of each pixel's log-probability, {wanted[0]:.5g} for the first image, found "
            f"{numbers(model.log_prob(x)).ravel()[0]:.5g}",
        )  # fmt: skip


def recorded(y):
    assert isinstance(y, Tensor) and y.requires_grad, (
        "log_prob: the graph is cut (.detach(), .data); training needs the gradient of this"
    )
    return y


@pytest.mark.hole("PixelCNN.log_prob", kind="invariant", seconds=60)
def test_probabilities_sum_to_one(lesson, rng):
    """All 2^9 images of 3x3 with random and with trained weights, all of three levels and two colours at 2x2"""
    for changes in ({}, {"gated": True}, {"levels": 3, "colours": 2, "side": 2}):
        model = make(lesson, rng, h=2, head=3, **({"side": 3} | changes))
        optimizer = Adam(model.parameters(), lr=0.03)
        for trained in ("random", "trained"):
            total = lesson.total_probability(model)
            assert abs(total - 1) < 1e-9, (
                f"the probabilities of all {len(lesson.all_images(model.config))} images sum to {total:.10g} "
                f"with {trained} "
                "weights; expected 1 within 1e-9"
            )
            x = drawn(model, rng, 20) * (rng.random(20) < 0.5).reshape(
                -1, *[1] * (drawn(model, rng, 1).ndim - 1)
            )
            for _ in range(15):
                optimizer.step(grad(-ops.mean(recorded(model.log_prob(x))), optimizer.params))


@pytest.mark.hole("PixelCNN.log_prob", kind="gradient")
def test_log_prob_gradient_and_extremes(lesson, rng):
    for changes in KINDS:
        model = make(lesson, rng, **changes)
        x = drawn(model, rng, 4)
        y = recorded(model.log_prob(x))
        parameters = model.parameters()
        found = grad(ops.mean(y), parameters, allow_unused=True)
        steps = [rng.normal(size=p.shape) for p in parameters]
        kept = [numbers(p) for p in parameters]

        def value(t, model=model, x=x, parameters=parameters, kept=kept, steps=steps):
            for p, w, s in zip(parameters, kept, steps, strict=True):
                p.data = w + t * s
            return oracle_log_prob(model, x)[0].mean()

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        mine = sum((numbers(g) * s).sum() for g, s in zip(found, steps, strict=True) if g is not None)
        assert np.isclose(mine, slope, rtol=1e-3, atol=1e-3), (
            f"the gradient of log_prob has slope {mine:.5g} along a random direction, the function {slope:.5g}"
        )
        model.head[-1].b.data = 900.0 * rng.choice([-1.0, 1.0], model.head[-1].b.shape)
        assert np.isfinite(numbers(model.log_prob(x))).all(), (
            "logits of size 900 give infinity or NaN: never take the log of a sigmoid or softmax that has "
            "become 0; "
            "use ops.bce_with_logits and ops.cross_entropy (or ops.log_softmax)"
        )


# PixelCNN.prepare


def greys(rng, *shape):
    return rng.integers(0, 256, shape).astype(np.float32) / np.float32(255)


@pytest.mark.hole("PixelCNN.prepare", kind="shape")
def test_prepare_keeps_shape_and_images(lesson, rng):
    for changes in ({}, {"binarize": "dynamic"}, {"levels": 5}, {"colours": 3}):
        model = lesson.PixelCNN(lesson.Config(side=4, h=2, blocks=1, **changes), rng=rng)
        images = greys(rng, 3, 4, 4) if model.config.colours == 1 else greys(rng, 3, 3, 4, 4)
        kept = images.copy()
        found = model.prepare(images, rng)
        c = model.config
        kind = f"binarize={c.binarize}, levels={c.levels}, colours={c.colours}"
        assert shape_of(found) == images.shape, f"{kind}: {images.shape} became {shape_of(found)}"
        assert np.dtype(found.dtype) == np.float32, (
            f"{kind}: float32 images became {found.dtype}; expected float32 (the network multiplies them): "
            ".astype"
        )
        assert np.array_equal(images, kept), (
            f"{kind}: prepare changed the images it was given: work on a copy"
        )
        levels = numbers(found) * (model.config.levels - 1)
        fits = np.allclose(levels, np.rint(levels), atol=1e-4) and levels.min() >= 0
        assert fits and levels.max() <= model.config.levels - 1, (
            f"{kind}: values like {float(numbers(found).ravel()[0]):.3g}; expected k / (levels - 1) in [0, "
            "1]: every value "
            "one of the levels"
        )


@pytest.mark.hole("PixelCNN.prepare", kind="value")
def test_prepare_threshold_and_levels(lesson, rng):
    images = greys(rng, 5, 6, 6)
    images[:, 2, 1:4] = 0.5  # 8 bits have no such level; averages of pixels do
    model = lesson.PixelCNN(lesson.Config(side=6, h=2, blocks=1), rng=rng)
    likely = {
        "pixels of exactly 1/2 became 1: 1 above 1/2, else 0": (images >= 0.5).astype(float),
        "it is inverted: 1 above 1/2": (images < 0.5).astype(float),
        "every pixel that is not 0 became 1: the threshold is 1/2": (images > 0).astype(float),
        "the images are not binarized": images,
        "the threshold is the mean of the images; expected 1/2": (images > images.mean()).astype(float),
    }
    must_be(
        model.prepare(images, rng),
        (images > 0.5).astype(float),
        likely,
        "threshold: expected 1 where the intensity is above 1/2, else 0",
    )
    images = greys(rng, 5, 6, 6)
    one, two = (model.prepare(images, np.random.default_rng(seed)) for seed in (1, 2))
    assert near(one, two), "threshold: the result changes with rng: nothing is drawn here"
    for levels in (4, 17, 256):
        model = lesson.PixelCNN(lesson.Config(side=6, h=2, blocks=1, levels=levels), rng=rng)
        steps = levels - 1
        likely = {
            "levels are rounded down; expected the nearest": np.floor(images * steps) / steps,
            "these are level numbers; expected k / (levels - 1) in [0, 1]": np.rint(images * steps),
            "divided by `levels`: the largest level must be 1": np.rint(images * steps) / levels,
            "scaled by `levels`; k / (levels - 1) runs from 0 to 1": np.rint(images * levels) / levels,
            "the images are binarized, though there are more than two levels": (images > 0.5).astype(float),
            "the images come back unchanged": images if levels != 256 else -images,
        }
        must_be(
            model.prepare(images, rng), np.rint(images.astype(np.float64) * steps) / steps, likely,
            f"levels={levels}: expected the nearest of k / {steps}",
        )  # fmt: skip


@pytest.mark.hole("PixelCNN.prepare", kind="invariant")
def test_prepare_dynamic(lesson, rng):
    model = lesson.PixelCNN(lesson.Config(side=8, h=2, blocks=1, binarize="dynamic"), rng=rng)
    images = greys(rng, 1, 8, 8)
    many = np.repeat(images, 3000, axis=0)
    found = numbers(model.prepare(many, rng))
    assert set(np.unique(found)) <= {0.0, 1.0}, "dynamic: every pixel must be 0 or 1"
    assert found.std(axis=0).max() > 0, (
        "dynamic: the pixels are not drawn: 1 with the intensity as its probability"
    )
    off = np.abs(found.mean(axis=0) - images[0]).max()
    assert np.abs(1 - found.mean(axis=0) - images[0]).max() > 0.1 or off < 0.1, (
        "dynamic: bright pixels become 0: 1 with the intensity as probability, drawn < intensity"
    )
    assert np.abs(found.mean(axis=(1, 2)) - found.mean()).max() > 0, (
        "dynamic: all images got the same noise: draw a number for every pixel of every image"
    )
    together = found[:, 0].std(axis=1).mean()
    assert together > 0 or images[0, 0].std() == 0, (
        "dynamic: one number per image was drawn; one for every pixel"
    )
    assert off < 0.06, (
        f"dynamic: over 3000 draws a pixel is 1 in a share that differs from its intensity by {off:.2f}: 1 "
        "where a uniform "
        "number is below the intensity"
    )
    rows = found.reshape(3000, -1)
    alive = rows.std(axis=0) > 0.2
    linked = np.abs(np.corrcoef(rows[:, alive].T) - np.eye(alive.sum())).max() if alive.sum() > 1 else 0
    assert linked < 0.2, (
        "dynamic: the pixels of an image go up and down together: draw one number for every pixel"
    )
    seed = int(rng.integers(2**31))
    one, same, other = (
        numbers(model.prepare(many[:5], np.random.default_rng(s))) for s in (seed, seed, seed + 1)
    )
    assert np.array_equal(one, same), (
        "dynamic: the same generator gives other pixels: draw from the rng that was given"
    )
    assert not np.array_equal(one, other), (
        "dynamic: another generator gives the same pixels: draw from the rng given"
    )
    stream = np.random.default_rng(seed)
    first, second = (numbers(model.prepare(many[:5], stream)) for _ in "ab")
    assert not np.array_equal(first, second), (
        "dynamic: the second call gives the same pixels as the first: binarized once, this is a fixed data set"
    )


# PixelCNN.updates


def pair_of(model, batch, rng):
    pairs = list(model.updates(batch, rng))
    assert len(pairs) == 1, f"updates yields {len(pairs)} pairs for a batch; expected one (yield, not return)"
    (pair,) = pairs
    assert isinstance(pair, tuple) and len(pair) == 2, "updates must yield a pair (module, loss)"
    assert pair[0] is model, "the first of the pair must be this model, self: it is what is stepped" + (
        " (the pair is the wrong way round)" if isinstance(pair[0], Tensor) else ""
    )
    return pair[1]


@pytest.mark.hole("PixelCNN.updates", kind="value")
def test_updates_loss(lesson, rng):
    for changes in ({}, {"levels": 4}, {"gated": True}):
        model = make(lesson, rng, **changes)
        x = drawn(model, rng, 6)
        loss = pair_of(model, x, rng)
        assert not isinstance(loss, float), "the loss is a float: yield the Tensor, its gradient is needed"
        assert isinstance(loss, Tensor) and loss.size == 1, (
            f"the loss has shape {shape_of(loss)}; expected one number, the mean over the batch"
        )
        wanted, each = oracle_log_prob(model, x)
        likely = {
            "the sign is wrong: log p would be made small": wanted.mean(),
            "it is summed over the batch: average over the images, or the step depends on it": -wanted.sum(),
            "it is averaged over the pixels too: nats per image are summed over pixels": -each.mean(),
            "it is in bits; expected nats": -wanted.mean() / np.log(2),
        }
        must_be(
            numbers(loss).ravel()[0], -wanted.mean(), likely,
            f"the loss is {float(numbers(loss).ravel()[0]):.5g}; expected the mean of -log_prob(batch), "
            f"{-wanted.mean():.5g}",
        )  # fmt: skip


@pytest.mark.hole("PixelCNN.updates", kind="step")
def test_updates_train(lesson, rng):
    model = make(lesson, rng, side=3)
    batch = np.repeat(drawn(model, rng, 2), 8, axis=0)
    optimizer = Adam(model.parameters(), lr=0.02)
    state = model.state_dict()
    losses = []
    for _ in range(25):
        loss = pair_of(model, batch, rng)
        assert loss.requires_grad, "the loss is cut off from the graph: nothing can be learned"
        assert all(np.array_equal(state[k], v) for k, v in model.state_dict().items()), (
            "updates changed the parameters itself: the training loop makes the step"
        )
        found = grad(loss, optimizer.params, allow_unused=True)
        assert all(g is not None for g in found), "some parameters get no gradient from the loss"
        optimizer.step(found)
        state = model.state_dict()
        losses.append(loss.item())
    assert losses[-1] < losses[0], (
        f"25 steps on two images moved the loss from {losses[0]:.3g} to {losses[-1]:.3g} only"
    )


@pytest.mark.hole("PixelCNN.updates", kind="invariant")
def test_updates_draw_nothing(lesson, rng):
    model = make(lesson, rng, binarize="dynamic")
    batch, stream = drawn(model, rng, 8), np.random.default_rng(3)
    kept = batch.copy()
    one, other = (pair_of(model, batch, stream).item() for _ in "ab")
    assert one == other, "the same batch gives two losses: it is prepared already, nothing is drawn here"
    assert np.array_equal(batch, kept), "updates changed the batch"


# bits_per_dim


@pytest.mark.hole("bits_per_dim", kind="value")
def test_bits_per_dim(lesson, rng):
    for dims in (784, 3072, 4):
        nats = float(rng.uniform(1, 900))
        likely = {
            "this is nats per dimension: divide by ln 2, too": nats / dims,
            "these are bits of the whole image: divide by the number of dimensions, too": nats / np.log(2),
            "multiplied by ln 2: a nat is 1 / ln 2 = 1.44 bits": nats * np.log(2) / dims,
            "divided by log2(2) or ln e, which is 1: by ln 2": nats / dims,
            "divided by log10(2): the natural logarithm of 2 is meant": nats / (dims * np.log10(2)),
        }
        must_be(
            lesson.bits_per_dim(nats, dims),
            nats / (dims * np.log(2)),
            likely,
            f"bits_per_dim({nats:.4g}, {dims}) is {float(lesson.bits_per_dim(nats, dims)):.5g}; expected "
            f"{nats / (dims * np.log(2)):.5g}",
        )


@pytest.mark.hole("bits_per_dim", kind="invariant")
def test_a_fair_coin_has_one_bit(lesson):
    found = float(lesson.bits_per_dim(784 * np.log(2), 784))
    assert abs(found - 1) < 1e-9, f"784 fair coins, 543.43 nats, have {found:.5g} bits each; expected 1"


# context


def context_of(model, row, column, images, colour=0):
    x = Tensor(images, requires_grad=True)
    return (numbers(grad(ops.sum(model.logits(x)[:, :, colour, row, column]), x)) != 0).any(axis=0)


@pytest.mark.hole("context", kind="shape")
def test_context_shape(lesson, rng):
    for changes in ({}, {"colours": 3}):
        model = make(lesson, rng, **changes)
        images = drawn(model, rng, 5)
        kept, state = images.copy(), model.state_dict()
        found = lesson.context(model, 2, 1, images)
        assert shape_of(found) == images.shape[1:], (
            f"images {images.shape} give {shape_of(found)}; expected {images.shape[1:]}: one answer for each "
            "pixel, over all "
            "the images"
        )
        assert np.asarray(found).dtype is np.dtype(bool), (
            f"it holds {np.asarray(found).dtype}; expected booleans"
        )
        assert np.array_equal(images, kept), "context changed the images"
        assert all(np.array_equal(state[k], v) for k, v in model.state_dict().items()), (
            "context changed the model"
        )


class Pretended:
    """Logits (N, K, C, H, W) that depend on pixels drawn by lot, and on a pixel only where it is above 1/2"""

    def __init__(self, lesson, rng, levels, colours):
        self.config = lesson.Config(side=4, levels=levels, colours=colours)
        d = 16 * colours
        self.shape = (1 if levels == 2 else levels, colours, 4, 4)
        chosen = rng.random((d, 1, d)) < 0.5
        self.weights = (chosen * rng.normal(size=(d, self.shape[0], d))).reshape(d, -1)

    def logits(self, x):
        rows = ops.relu(x.reshape(x.shape[0], -1) - 0.5)
        return (rows @ self.weights).reshape(x.shape[0], *self.shape)


def telling(lesson, rng, row, column, levels, colours):
    """A model and images for which every likely mistake gives another context"""
    while True:
        model = Pretended(lesson, rng, levels, colours)
        images = rng.random((4, 4, 4) if colours == 1 else (4, colours, 4, 4))
        colour = colours - 1
        wanted = context_of(model, row, column, images, colour)
        each = [context_of(model, row, column, images[i : i + 1], colour) for i in range(4)]
        likely = {
            "True only where all images have a slope; one is enough": np.all(each, axis=0),
            "only the first image was looked at: True where any of them has a slope": each[0],
            "only the last image was looked at: True where any of them has a slope": each[-1],
            "row and column are exchanged": context_of(model, column, row, images, colour),
            "it is inverted: True where the gradient is not zero": ~wanted,
        }
        if colour:
            likely["this is the context of colour 0"] = context_of(model, row, column, images, 0)
        if len({part.tobytes() for part in (wanted, *likely.values())}) == len(likely) + 1:
            return model, images, wanted, likely


@pytest.mark.hole("context", kind="value")
def test_context_value(lesson, rng):
    for levels, colours in ((2, 1), (3, 1), (2, 3), (3, 2)):
        for row, column in ((3, 1), (2, 3)):
            model, images, wanted, likely = telling(lesson, rng, row, column, levels, colours)
            args = (colours - 1,) if colours > 1 else ()
            found = np.array(lesson.context(model, row, column, images, *args), bool)
            if np.array_equal(found, wanted):
                continue
            why = next((says for says, value in likely.items() if np.array_equal(found, value)), None)
            extra = np.argwhere(found & ~wanted)
            spot = tuple(map(int, extra[0] if len(extra) else np.argwhere(wanted & ~found)[0]))
            state = "marked, but has gradient 0" if len(extra) else "not marked, but has a gradient"
            pytest.fail(f"context({row}, {column}): {why or f'{spot} is {state}'}")


@pytest.mark.hole("context", kind="invariant")
def test_blind_spot(lesson, rng):
    for gated in (False, True):
        model = alive(make(lesson, rng, side=7, blocks=3, gated=gated))
        seen = np.array(lesson.context(model, 3, 3, rng.random((4, 7, 7))), bool)
        before = np.arange(49).reshape(7, 7) < 3 * 7 + 3
        assert not (seen & ~before).any(), "the context holds the pixel itself, or later ones"
        blind = np.argwhere(before & ~seen)
        if gated:
            assert not len(blind), (
                f"the gated stacks have no blind spot, but {tuple(map(int, blind[0]))} is not marked"
            )
        else:
            wanted = {(1, 6), (2, 5), (2, 6)}  # right of the slope: a 3x3 mask cannot climb it
            found = {tuple(map(int, spot)) for spot in blind}
            assert found == wanted, (
                f"the plain stack's blind spot at (3, 3) is {sorted(wanted)}: pixels above and to the right; found "
                f"{sorted(found)}"
            )
