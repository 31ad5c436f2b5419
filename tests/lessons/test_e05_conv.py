"""Checks of e05_conv: each function against loops over places and taps, and as the transpose that it must be."""

import contextlib
import functools
import math

import numpy as np
import pytest

from minigen import Tensor, grad, nn, ops, optim
from minigen.course import plug

# Helpers


def same(one, other, rtol=1e-9):
    """Equal in shape, and in numbers up to rounding (relative to the largest)."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.abs(one - other) <= rtol * np.abs(other).max(initial=0.0)))


def agree(got, want, what, causes=None, rtol=1e-9):
    """Fails unless the array `got` is `want`. `causes`: what went wrong -> what comes of it."""
    got, want = np.asarray(got), np.asarray(want)
    if same(got, want, rtol):
        return
    for cause, wrong in (causes or {}).items():
        if same(got, wrong, max(rtol, 1e-6)) and not same(want, wrong, 1e-4):
            raise AssertionError(f"{what} is wrong: {cause}")
    assert got.shape == want.shape, f"{what} has shape {got.shape}, expected {want.shape}"
    assert np.isfinite(got).all(), f"{what} holds NaN or infinity, expected finite numbers"
    i = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    at = f" at index {tuple(map(int, i))}" if want.ndim else ""
    says = f"found {got[i]:.6g}{at}, expected {want[i]:.6g}"
    scale = float((got * want).sum() / (want * want).sum()) if np.any(want) else 0.0
    if want.size > 1 and scale and abs(scale - 1) > 1e-6 and same(got, scale * want, 1e-6):
        says += f": every entry is {scale:.4g} times the right one"
    raise AssertionError(f"{what} is wrong: {says}")


@contextlib.contextmanager
def told(what, cause):
    """An exception of the learner's code is told with its likely cause."""
    try:
        yield
    except (AssertionError, NotImplementedError):
        raise
    except Exception as error:
        says = f"{what} raised {type(error).__name__} ({' '.join(str(error).split())[:200]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


def run(lesson, name, *arrays, cause="are the shapes those of the docstring?", **options):
    """What the learner's function gives for these arrays, which must stay as they are."""
    function = getattr(lesson, name)
    function = getattr(function, "forward", function)
    kept = [a.copy() if isinstance(a, np.ndarray) else None for a in arrays]
    shown = ", ".join(f"{key}={value}" for key, value in options.items() if key not in ("taps", "stats"))
    shapes = ", ".join(str(a.shape) for a in arrays if isinstance(a, np.ndarray))
    what = f"{name}({shapes}{', ' * bool(shapes and shown)}{shown})"
    with told(what, cause):
        y = function(*arrays, **options)
    assert y is not None, f"{name} returned None: is a `return` missing?"
    for a, before in zip(arrays, kept, strict=True):
        assert before is None or np.array_equal(a, before), (
            f"{name} changed the array of shape {before.shape} that it was given: work on a copy"
        )
    return y, what


def array_of(lesson, name, *arrays, **options):
    """The same, for a function that gives one array of the dtype it was given."""
    y, what = run(lesson, name, *arrays, **options)
    assert isinstance(y, np.ndarray), f"{name} returned a {type(y).__name__}, expected an array"
    dtype = arrays[0].dtype
    assert y.dtype == dtype, (
        f"{name} of {dtype} arrays gives {y.dtype}, expected {dtype}: np.zeros, np.empty and np.pad with another "
        "array's dtype need that dtype said"
    )
    return y, what


def thunks_of(lesson, name, number, *args, **options):
    """The results of the thunks that a rule returns, each called twice (it may be asked twice)."""
    thunks, _ = run(lesson, name, *args, cause="does it use the shapes that it was given?", **options)
    thunks = tuple(thunks) if isinstance(thunks, tuple | list) else (thunks,)
    assert all(map(callable, thunks)), (
        f"{name} returned {', '.join(type(t).__name__ for t in thunks)}; expected thunks, functions without "
        "arguments: `lambda: ...`"
    )
    assert len(thunks) == number, (
        f"{name} returned {len(thunks)} thunks, expected {number}: one for each argument"
    )
    with told(
        f"a thunk of {name}", "does it use the options (stride, padding, ...) and shapes it was given?"
    ):
        results, again = [thunk() for thunk in thunks], [thunk() for thunk in thunks]
    for one, other in zip(results, again, strict=True):
        assert one is not None, f"a thunk of {name} returned None"
        assert same(raw(one), raw(other), 1e-12), (
            f"a thunk of {name} gives another result when it is called again: does it change g or what was saved?"
        )
    return results


def raw(value):
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)


# What the functions must equal: loops over places and taps


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def count(n, k, s, p, d):
    """In how many places a kernel of k taps fits into n pixels, found by trying"""
    return sum(start + d * (k - 1) < n + 2 * p for start in range(0, n + 2 * p, s))


def counts(size, kernel, stride=1, padding=0, dilation=1):
    """(H', W')"""
    return tuple(
        count(*one) for one in zip(size, *map(both, (kernel, stride, padding, dilation)), strict=True)
    )


def looks(size, kernel, stride=1, padding=0, dilation=1):
    """(i, j, a, b, row, column): place (i, j) sees pixel (row, column), if that is inside, through tap (a, b)"""
    (s, t), (p, q), (d, e), (kh, kw) = map(both, (stride, padding, dilation, kernel))
    h, w = counts(size, kernel, stride, padding, dilation)
    for i, j, a, b in np.ndindex(h, w, kh, kw):
        row, column = i * s + a * d - p, j * t + b * e - q
        if 0 <= row < size[0] and 0 <= column < size[1]:
            yield i, j, a, b, row, column


def windows(x, kernel, fill=0.0, **how):
    """(N, C, H, W) -> (N, C, kh, kw, H', W')"""
    seen = np.full((*x.shape[:2], *both(kernel), *counts(x.shape[2:], kernel, **how)), fill, x.dtype)
    for i, j, a, b, row, column in looks(x.shape[2:], kernel, **how):
        seen[:, :, a, b, i, j] = x[:, :, row, column]
    return seen


def folded(seen, size, combine=np.add, **how):
    """(N, C, kh, kw, H', W') -> (N, C, *size)"""
    x = np.zeros((*seen.shape[:2], *size), seen.dtype)
    for i, j, a, b, row, column in looks(size, seen.shape[2:4], **how):
        x[:, :, row, column] = combine(x[:, :, row, column], seen[:, :, a, b, i, j])
    return x


def columns_of(seen):
    return seen.reshape(len(seen), np.prod(seen.shape[1:4]), -1)  # (N, C kh kw, L)


def convolved(x, w, b=None, taps=None, **how):
    w = w if taps is None else w * taps
    y = np.einsum("ncabij,fcab->nfij", windows(x, w.shape[2:], **how), w)
    return y if b is None else y + b[:, None, None]


def transposed(g, w, b=None, taps=None, size=None, **how):
    w = w if taps is None else w * taps
    y = folded(np.einsum("nfij,fcab->ncabij", g, w), size, **how)
    return y if b is None else y + b[:, None, None]


def weighed(x, g, kernel, taps=None, **how):
    w = np.einsum("nfij,ncabij->fcab", g, windows(x, kernel, **how))
    return w if taps is None else w * taps


def geometry(rng, dilated=True):
    """A size, a kernel and options that fit: odd sizes, uneven strides and paddings, both directions different"""
    while True:
        kernel, stride = (tuple(map(int, rng.integers(1, 5, 2))) for _ in range(2))
        dilation = tuple(map(int, rng.integers(1, 3, 2))) if dilated else (1, 1)
        padding, size = tuple(map(int, rng.integers(0, 4, 2))), tuple(map(int, rng.integers(3, 9, 2)))
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        if min(counts(size, kernel, **how)) >= 1:
            return size, kernel, how


TELLING = {
    "stride": (2, 1),
    "padding": (1, 2),
    "dilation": (1, 2),
}  # for (6, 7) pixels, kernel (3, 2): all differ
SIZE, KERNEL = (6, 7), (3, 2)


def cases(rng, number=8):
    """(size, kernel, options): a telling one, plain ones, and random ones"""
    yield SIZE, KERNEL, {"stride": 1, "padding": 0, "dilation": 1}
    yield SIZE, KERNEL, TELLING
    yield (5, 5), 3, {"stride": 2, "padding": 1, "dilation": 1}
    yield (4, 6), (1, 1), {"stride": (3, 2), "padding": 0, "dilation": 1}
    for _ in range(number):
        yield geometry(rng)


def maps(rng, size, n=None, c=None):
    return rng.standard_normal((n or int(rng.integers(1, 4)), c or int(rng.integers(1, 4)), *size))


# A small model of the engine, into which the learner's part is put


def network(rng):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 5, 3, stride=2, rng=rng), nn.ReLU(), nn.BatchNorm(5),
        nn.ConvTranspose2d(5, 2, 4, stride=3, padding=1, rng=rng), nn.Tanh(),
    )  # fmt: skip


def small_run(seed):
    """(the losses of three training steps, the output after them, in use)"""
    rng = np.random.default_rng(seed)
    model, x = network(rng), rng.standard_normal((4, 1, 10, 8)).astype(np.float32)
    opt = optim.SGD(model.parameters(), lr=0.05)
    target, losses = rng.standard_normal(model(x).shape).astype(np.float32), []
    for _ in range(3):
        loss = nn.squared_error(model(x), target)
        opt.step(grad(loss, model.parameters()))
        losses.append(loss.item())
    return np.array(losses), model.eval()(x).numpy()


def check_plugged(lesson, hole, target, rng):
    """The engine trains with the learner's part in it as with its own."""
    seed = int(rng.integers(2**31))
    wanted = small_run(seed)
    function = functools.reduce(getattr, hole.split("."), lesson)
    what = f"a model of the engine, with your {hole} in it,"
    with told(what, "it must do all that the docstring says"), plug({target: function}):
        found = small_run(seed)
    agree(
        found[0], wanted[0], f"the training loss of a model of the engine with your {hole} in it", rtol=1e-3
    )
    what = f"the output, after training, of a model of the engine with your {hole} in it"
    agree(found[1], wanted[1], what, rtol=1e-2)


# output_size, transposed_size


def two_numbers(lesson, name, *args, **options):
    y, what = run(lesson, name, *args, **options)
    assert isinstance(y, tuple | list) and len(y) == 2, (  # noqa: PT018
        f"{name} returned {y!r}, expected a pair (vertical, horizontal)"
    )
    assert all(isinstance(one, int | np.integer) for one in y), (
        f"{what} = {tuple(y)}, expected two integers: divide with //"
    )
    return tuple(map(int, y)), f"{name}({', '.join(map(str, args))}, {options})"


def named(found, wanted, what, causes):
    if found == wanted:
        return
    why = [cause for cause, wrong in causes.items() if found == wrong]
    assert why == [], f"{what} = {found}, expected {wanted}: {why[0]}"
    raise AssertionError(f"{what} = {found}, expected {wanted}")


@pytest.mark.hole("output_size", kind="value")
def test_output_size_by_hand(lesson):
    table = [  # size, kernel, stride, padding, dilation -> output
        ((28, 28), 5, 1, 2, 1, (28, 28)),
        ((28, 28), 3, 1, 0, 1, (26, 26)),
        ((28, 28), 2, 2, 0, 1, (14, 14)),
        ((28, 28), 4, 2, 1, 1, (14, 14)),
        ((7, 7), 3, 2, 0, 1, (3, 3)),
        ((8, 8), 3, 2, 0, 1, (3, 3)),
        ((7, 9), 3, 1, 0, 2, (3, 5)),
        ((5, 5), (1, 5), (1, 2), (0, 1), 1, (5, 2)),
        ((3, 4), (3, 4), 1, 0, 1, (1, 1)),
        ((2, 2), 3, 1, 1, 1, (2, 2)),  # room for a kernel that is larger than the image
    ]
    for size, kernel, stride, padding, dilation, wanted in table:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        check_output_size(lesson, size, kernel, options, wanted)


@pytest.mark.hole("output_size", kind="value")
def test_output_size_by_trying(lesson, rng):
    for _ in range(60):
        size, kernel, options = geometry(rng)
        check_output_size(lesson, size, kernel, options, counts(size, kernel, **options))


@pytest.mark.hole("output_size", kind="shape")
def test_output_size_takes_numbers(lesson, rng):
    found, what = two_numbers(lesson, "output_size", (9, 7), 3)
    named(found, (7, 5), what, {})
    found, what = two_numbers(lesson, "output_size", (9, 7), (3, 2), stride=2)
    named(found, (4, 3), what, {})


def check_output_size(lesson, size, kernel, options, wanted):
    found, what = two_numbers(lesson, "output_size", size, kernel, **options)
    n, k, s, p, d = (np.array(both(one)) for one in (size, kernel, *options.values()))
    span = d * (k - 1) + 1
    causes = {
        "the kernel spans dilation * (kh - 1) + 1 rows, not dilation * kh": (n + 2 * p - d * k) // s + 1,
        "from the first place to the last are that many steps; the places are one more": (n + 2 * p - span)
        // s,
        "the padding lies on both sides, but was counted once": (n + p - span) // s + 1,
        "a window hangs over the edge: round down": -((span - n - 2 * p) // s) + 1,
        "the dilation is ignored": (n + 2 * p - k) // s + 1,
        "the stride is ignored": n + 2 * p - span + 1,
        "the padding is ignored": (n - span) // s + 1,
        "one too many": (n + 2 * p - span + 1) // s + 1,
        "the two directions are swapped": np.array(wanted[::-1]),
    }
    named(found, wanted, what, {cause: tuple(map(int, wrong)) for cause, wrong in causes.items()})


def smallest(size, kernel, extra=0, **options):
    """The smallest size with this output size, found by trying, and `extra`"""
    found = []
    for k, n, s, p, d, e in zip(*map(both, (kernel, size, *options.values(), extra)), strict=True):
        found.append(next(m for m in range(1 - 2 * p, 200) if count(m, k, s, p, d) == n) + e)
    return tuple(found)


@pytest.mark.hole("transposed_size", kind="value")
def test_transposed_size_by_hand(lesson):
    table = [  # size, kernel, stride, padding, output_padding -> size
        ((7, 7), 4, 2, 1, 0, (14, 14)),
        ((14, 14), 4, 2, 1, 0, (28, 28)),
        ((7, 7), 3, 2, 1, 0, (13, 13)),
        ((7, 7), 3, 2, 1, 1, (14, 14)),
        ((1, 1), 7, 1, 0, 0, (7, 7)),
        ((5, 4), (3, 2), 1, 0, (0, 1), (7, 6)),
    ]
    for size, kernel, stride, padding, extra, wanted in table:
        options = {"stride": stride, "padding": padding, "dilation": 1}
        check_transposed_size(lesson, size, kernel, options, extra, wanted)


@pytest.mark.hole("transposed_size", kind="invariant")
def test_transposed_size_undoes_output_size(lesson, rng):
    for _ in range(60):
        size, kernel, options = geometry(rng)
        inner = counts(size, kernel, **options)
        extra = tuple(map(int, rng.integers(0, 3, 2)))
        check_transposed_size(
            lesson, inner, kernel, options, extra, smallest(inner, kernel, extra, **options)
        )


def check_transposed_size(lesson, size, kernel, options, extra, wanted):
    found, what = two_numbers(lesson, "transposed_size", size, kernel, output_padding=extra, **options)
    n, k, s, p, d, e = (np.array(both(one)) for one in (size, kernel, *options.values(), extra))
    span = d * (k - 1) + 1
    causes = {
        "output_padding is ignored": (n - 1) * s + span - 2 * p,
        "output_padding is added once, not on both sides": (n - 1) * s + span - 2 * p + 2 * e,
        "output_padding is counted in strides": (n - 1 + e) * s + span - 2 * p,
        "between n places are n - 1 steps": n * s + span - 2 * p + e,
        "the padding is not part of the image: take it off, on both sides": (n - 1) * s + span + 2 * p + e,
        "the padding lies on both sides": (n - 1) * s + span - p + e,
        "the padding is ignored": (n - 1) * s + span + e,
        "the kernel spans dilation * (kh - 1) + 1 rows": (n - 1) * s + d * k - 2 * p + e,
        "the dilation is ignored": (n - 1) * s + k - 2 * p + e,
        "the last window's own rows are missing": (n - 1) * s + span - 1 - 2 * p + e,
        "the two directions are swapped": np.array(wanted[::-1]),
    }
    named(found, wanted, what, {cause: tuple(map(int, wrong)) for cause, wrong in causes.items()})


# places


def under(image, tap, size, stride, dilation):
    """The (H', W') entries of the image, taken one by one, from a first one on in steps"""
    (s, t), (d, e), (h, w) = both(stride), both(dilation), size
    rows, columns = tap[0] * d + s * np.arange(h), tap[1] * e + t * np.arange(w)
    return image[np.ix_(rows % len(image), columns % image.shape[1])]


def seen_at(lesson, image, tap, size, **options):
    y, _ = run(lesson, "places", tap, size, **options)
    shown = "".join(f", {key}={value}" for key, value in options.items())
    what = f"places({tap}, {size}{shown})"
    assert isinstance(y, tuple | list) and len(y) == 2, f"{what} is {y!r}, expected a pair of slices"  # noqa: PT018
    with told(f"image[rows, columns] with {what}", "expected a pair of slices, for rows and for columns"):
        found = image[y[0], y[1]]
    assert found.shape == size, (
        f"a {len(image)} x {image.shape[1]} image at {what} has shape {found.shape}, expected {size}: the last row "
        "that is taken lies stride * (H' - 1) below the first, and a slice ends one after it"
    )
    return found, what


@pytest.mark.hole("places", kind="value")
def test_places_see_what_lies_under_the_tap(lesson, rng):
    image, size = np.arange(1600).reshape(40, 40), (3, 4)
    plain = [((2, 3), (4, 5)), (1, 1), (2, 1), (1, 3), (2, 2)]
    for stride, dilation in [*plain, *(rng.integers(1, 4, (2, 2)).tolist() for _ in range(10))]:
        stride, dilation = (tuple(one) if isinstance(one, list) else one for one in (stride, dilation))
        for tap in ((1, 2), (0, 0), (2, 1), (0, 1), (3, 0)):
            found, what = seen_at(lesson, image, tap, size, stride=stride, dilation=dilation)
            wanted = under(image, tap, size, stride, dilation)
            causes = {
                "row and column of the tap are swapped": under(image, tap[::-1], size, stride, dilation),
                "rows and columns are swapped": under(image, tap, size[::-1], stride, dilation).T,
                "the stride is ignored": under(image, (0, 0), size, 1, 1) + wanted[0, 0],
                "the dilation is ignored: taps are `dilation` rows apart": under(image, tap, size, stride, 1),
                "the tap's offset is multiplied by the stride, expected by the dilation": under(
                    image, tap, size, stride, stride
                ),
                "stride and dilation are swapped": under(image, tap, size, dilation, stride),
                "it begins one pixel late": wanted + 41,
            }
            agree(found, wanted, f"the padded image at {what}", causes, 0)


@pytest.mark.hole("places", kind="shape")
def test_places_are_as_many_as_asked(lesson, rng):
    for stride in (1, 2, 3, (2, 3)):
        for size in ((1, 1), (3, 2), (4, 5)):
            seen_at(lesson, np.zeros((40, 40)), (1, 2), size, stride=stride, dilation=2)
    found, what = seen_at(lesson, np.arange(16).reshape(4, 4), (0, 1), (4, 3))
    agree(found, [[1, 2, 3], [5, 6, 7], [9, 10, 11], [13, 14, 15]], f"a 4 x 4 image at {what}", None, 0)


# unfold


@pytest.mark.hole("unfold", kind="shape")
def test_unfold_shape(lesson, rng):
    for size, kernel, how in cases(rng):
        x = maps(rng, size).astype(np.float32)
        y, what = array_of(lesson, "unfold", x, kernel=kernel, **how)
        rows, length = x.shape[1] * math.prod(both(kernel)), math.prod(counts(size, kernel, **how))
        assert rows == length or y.shape != (len(x), length, rows), (
            f"{what} has shape {y.shape}: windows are columns, not rows; expected {(len(x), rows, length)}"
        )
        assert y.shape == (len(x), rows, length), (
            f"{what} has shape {y.shape}, expected {(len(x), rows, length)}: (N, C kh kw, L)"
        )


@pytest.mark.hole("unfold", kind="value")
def test_unfold_value(lesson, rng):
    for k, (size, kernel, how) in enumerate(cases(rng)):
        x = maps(rng, size, 2, 3) if k < 3 else maps(rng, size)
        fill = float(rng.normal()) if k % 2 else 0.0
        y, what = array_of(lesson, "unfold", x, kernel=kernel, fill=fill, **how)
        seen = windows(x, kernel, fill, **how)
        n, c, kh, kw, h, w = seen.shape
        p, q = both(how["padding"])
        late = np.pad(x, ((0, 0), (0, 0), (0, 2 * p), (0, 2 * q)), constant_values=fill)
        causes = {
            "the padding lies at the bottom and on the right only, expected on all sides": columns_of(
                windows(late, kernel, fill, **(how | {"padding": 0}))
            ),
            "the border holds 0, expected `fill`": columns_of(windows(x, kernel, **how)),
            "a column lists the taps first and in each its channels, expected channel by channel": columns_of(
                seen.transpose(0, 2, 3, 1, 4, 5).reshape(n, c, kh, kw, h, w)
            ),
            "the kernel is read column by column, expected row by row": columns_of(
                seen.transpose(0, 1, 3, 2, 4, 5).reshape(seen.shape)
            ),
            "the windows come column by column, expected from left to right, then down": columns_of(
                seen.transpose(0, 1, 2, 3, 5, 4).reshape(seen.shape)
            ),
            "the taps are in reverse: the kernel is flipped": columns_of(seen[:, :, ::-1, ::-1]),
            "it was reshaped to (N, C kh kw, L) with the axes in another order: transpose first": seen.transpose(
                0, 4, 5, 1, 2, 3
            ).reshape(n, c * kh * kw, h * w),
        }
        agree(y, columns_of(seen), what, causes)


@pytest.mark.hole("unfold", kind="invariant")
def test_unfold_is_the_transpose_of_fold(lesson, rng):
    for size, kernel, how in cases(rng):
        x = maps(rng, size)
        y, what = array_of(lesson, "unfold", x, kernel=kernel, **how)
        v = rng.standard_normal(y.shape)
        back = folded(v.reshape(windows(x, kernel, **how).shape), size, **how)
        one, other = np.vdot(y, v), np.vdot(x, back)
        assert abs(one - other) <= 1e-10 * (1 + np.abs(y * v).sum()), (
            f"<unfold(x), v> = {one:.10g} but <x, fold(v)> = {other:.10g} for {what}: unfold must copy, each pixel "
            "as often as windows see it, and nothing else"
        )


# fold


def scattered(rng, size, kernel, how, n=2, c=3):
    """Columns to be folded, as (N, C, kh, kw, H', W')"""
    return rng.standard_normal((n, c, *both(kernel), *counts(size, kernel, **how)))


@pytest.mark.hole("fold", kind="shape")
def test_fold_shape(lesson, rng):
    for size, kernel, how in cases(rng):
        seen = scattered(rng, size, kernel, how).astype(np.float32)
        y, what = array_of(lesson, "fold", columns_of(seen), size=size, kernel=kernel, **how)
        (p, q), wanted = both(how["padding"]), (2, 3, *size)
        assert not (p + q and y.shape == (2, 3, size[0] + 2 * p, size[1] + 2 * q)), (
            f"{what} has shape {y.shape}: the padding is still on it, expected {wanted}"
        )
        assert y.size, f"{what} has shape {y.shape}, expected {wanted}: padded[p:-p] is empty for p = 0"
        assert y.shape == wanted, f"{what} has shape {y.shape}, expected {wanted}"


@pytest.mark.hole("fold", kind="value")
def test_fold_value(lesson, rng):
    for size, kernel, how in cases(rng):
        seen = scattered(rng, size, kernel, how)
        y, what = array_of(lesson, "fold", columns_of(seen), size=size, kernel=kernel, **how)
        wanted = folded(seen, size, **how)
        often = folded(np.ones_like(seen), size, **how)
        n, c, kh, kw, h, w = seen.shape
        rows = columns_of(seen)
        p, q = both(how["padding"])
        whole = folded(seen, (size[0] + 2 * p, size[1] + 2 * q), **(how | {"padding": 0}))
        unpadded = whole[:, :, : size[0], : size[1]]
        causes = {
            "where windows overlap, a later value replaced the earlier one: add (+=)": folded(
                seen, size, lambda old, new: new, **how
            ),
            "where windows overlap, a later tap's value replaced the earlier one: add (+=)": by_taps(
                seen, size, how
            ),
            "where windows overlap, the mean was taken: expected the sum": wanted / np.maximum(often, 1),
            "the rows are taken as (kh, kw, C), expected (C, kh, kw): channel by channel": folded(
                rows.reshape(n, kh, kw, c, h, w).transpose(0, 3, 1, 2, 4, 5), size, **how
            ),
            "the kernel is read column by column, expected row by row": folded(
                rows.reshape(n, c, kw, kh, h, w).transpose(0, 1, 3, 2, 4, 5), size, **how
            ),
            "the taps are in reverse: the kernel is flipped": folded(seen[:, :, ::-1, ::-1], size, **how),
            "the padding was cut off at the bottom and on the right only, expected on all sides": unpadded,
        }
        agree(y, wanted, what, causes)


def by_taps(seen, size, how):
    """fold, tap by tap, forgetting what was there"""
    x, order = np.zeros((*seen.shape[:2], *size)), looks(size, seen.shape[2:4], **how)
    for i, j, a, b, row, column in sorted(order, key=lambda one: one[2:4]):
        x[:, :, row, column] = seen[:, :, a, b, i, j]
    return x


@pytest.mark.hole("fold", kind="invariant")
def test_fold_is_the_transpose_of_unfold(lesson, rng):
    for size, kernel, how in cases(rng):
        v, x = columns_of(scattered(rng, size, kernel, how)), maps(rng, size, 2, 3)
        y, what = array_of(lesson, "fold", v, size=size, kernel=kernel, **how)
        one, other = np.vdot(x, y), np.vdot(columns_of(windows(x, kernel, **how)), v)
        assert abs(one - other) <= 1e-10 * (1 + np.abs(x * y).sum()), (
            f"<x, fold(v)> = {one:.10g} but <unfold(x), v> = {other:.10g} for {what}: fold must add up every entry "
            "once, at the pixel that unfold copies it from"
        )


@pytest.mark.hole("fold", kind="invariant")
def test_fold_counts_the_windows(lesson, rng):
    y, what = array_of(lesson, "fold", np.ones((1, 9, 9)), size=(5, 5), kernel=3)
    line = np.array([1, 2, 3, 2, 1])
    agree(y[0, 0], np.outer(line, line), f"{what}, of ones, which counts the windows each pixel lies in,")


# conv2d


def filters(rng, c, kernel, f=None):
    f = f or int(rng.integers(1, 4))
    return rng.standard_normal((f, c, *both(kernel))), rng.standard_normal(f)


def convolution(lesson, rng, size, kernel, how, b="some", taps=None, n=2, c=3, f=4):
    """What conv2d gives, what it must, and what its likely mistakes give"""
    x, (w, bias) = maps(rng, size, n, c), filters(rng, c, kernel, f)
    bias = None if b is None else bias
    y, what = array_of(lesson, "conv2d", x, w, bias, taps=taps, **how)
    wanted = convolved(x, w, bias, taps, **how)
    flipped = convolved(x, w[:, :, ::-1, ::-1], bias, taps, **how)
    alone = np.einsum("ncabij,fcab->nfij", windows(x, w.shape[2:], **how)[:, :1], w[:, :1])
    causes = {
        "the kernel is flipped: multiply kernel and window as they lie (a cross-correlation)": flipped,
        "the bias is missing": convolved(x, w, None, taps, **how),
        "the bias is subtracted": 2 * convolved(x, w, None, taps, **how) - wanted,
        "the rows of the kernel meet columns of the window that list the taps before the channels": np.einsum(
            "nkij,fk->nfij",
            windows(x, w.shape[2:], **how).transpose(0, 2, 3, 1, 4, 5).reshape(n, -1, *wanted.shape[2:]),
            w.reshape(f, -1),
        )
        + (0 if bias is None else bias[:, None, None]),
        "only the first channel is looked at: sum over all channels": alone
        + (0 if bias is None else bias[:, None, None]),
        "taps that are hidden were used": convolved(x, w, bias, None, **how),
    }
    if wanted.shape[2] * wanted.shape[3] > 1:
        turned = wanted.transpose(0, 1, 3, 2).reshape(wanted.shape)
        causes["the places come column by column, expected row by row"] = turned
        plain = convolved(x, w, None, taps, **how)
        mixed = plain.reshape(n, f, -1).transpose(0, 2, 1).reshape(wanted.shape) + wanted - plain
        causes["places and kernels are mixed up: which axis of the product is which?"] = mixed
    agree(y, wanted, what, causes)


@pytest.mark.hole("conv2d", kind="value")
def test_conv2d_equals_loops(lesson, rng):
    for size, kernel, how in cases(rng):
        convolution(lesson, rng, size, kernel, how)
        convolution(lesson, rng, size, kernel, how, b=None, n=1, c=2, f=1)


@pytest.mark.hole("conv2d", kind="value")
def test_conv2d_sees_only_visible_taps(lesson, rng):
    taps = np.array([[True, True, True], [True, False, False], [False, False, False]])
    convolution(lesson, rng, (5, 4), 3, {"padding": 1}, taps=taps)
    convolution(lesson, rng, (6, 6), 3, {"stride": 2}, taps=rng.random((3, 3)) < 0.5)


@pytest.mark.hole("conv2d", kind="shape")
def test_conv2d_shape(lesson, rng):
    for n, c, f in ((1, 1, 1), (2, 2, 3), (3, 2, 5)):
        x, w = rng.standard_normal((n, c, 6, 5)).astype(np.float32), rng.standard_normal((f, c, 3, 2))
        y, what = array_of(lesson, "conv2d", x, w.astype(np.float32), np.zeros(f, np.float32), stride=2)
        assert y.shape == (n, f, 2, 2), f"{what} has shape {y.shape}, expected {(n, f, 2, 2)}: (N, F, H', W')"


@pytest.mark.hole("conv2d", kind="invariant")
def test_conv2d_moves_with_the_image(lesson, rng):
    x, (w, b) = maps(rng, (8, 9), 2, 2), filters(rng, 2, (3, 2), 3)
    moved = np.roll(x, (1, 2), axis=(2, 3))
    one, what = array_of(lesson, "conv2d", x, w, b)
    other, _ = array_of(lesson, "conv2d", moved, w, b)
    agree(
        other[:, :, 1:, 2:],
        one[:, :, :-1, :-2],
        f"{what} of an image moved down by 1 and right by 2, moved back,",
    )
    spot = np.zeros((1, 1, 5, 5))
    spot[0, 0, 2, 2] = 1
    kernel = np.arange(9.0).reshape(1, 1, 3, 3)
    y, _ = array_of(lesson, "conv2d", spot, kernel)
    causes = {"flipped: that is what a mathematician calls a convolution": kernel[0, 0]}
    what = "conv2d of a single bright pixel, the kernel turned by 180 degrees,"
    agree(y[0, 0], kernel[0, 0, ::-1, ::-1], what, causes)


@pytest.mark.hole("conv2d", kind="step")
def test_conv2d_in_the_engine(lesson, rng):
    check_plugged(lesson, "conv2d", "minigen.ops:conv2d.forward", rng)


# conv_transpose2d


@pytest.mark.hole("conv_transpose2d", kind="value")
def test_conv_transpose2d_equals_loops(lesson, rng):
    for k, (size, kernel, how) in enumerate(cases(rng)):
        x, (w, _) = rng.standard_normal((2, 4, *counts(size, kernel, **how))), filters(rng, 3, kernel, 4)
        b = rng.standard_normal(3) if k % 2 else None
        least = smallest(x.shape[2:], kernel, **how)
        rest = tuple(n - m for n, m in zip(size, least, strict=True))
        y, what = array_of(lesson, "conv_transpose2d", x, w, b, output_padding=rest, **how)
        wanted = transposed(x, w, b, size=size, **how)
        seen, plain = np.einsum("nfij,fcab->ncabij", x, w), transposed(x, w, size=size, **how)
        causes = {
            "the kernel is flipped": transposed(x, w[:, :, ::-1, ::-1], b, size=size, **how),
            "the bias is missing": plain,
            "stamps that overlap replace each other: their sum is wanted": by_taps(seen, size, how)
            + (0 if b is None else b[:, None, None]),
            "output_padding is ignored": transposed(x, w, b, size=least, **how),
        }
        if b is not None:
            stamped = folded(seen + b[:, None, None, None, None], size, **how)
            causes["the bias was added to the columns, and so once for every window: add it at the end"] = (
                stamped
            )
        agree(y, wanted, what, causes)


@pytest.mark.hole("conv_transpose2d", kind="shape")
def test_conv_transpose2d_shape(lesson, rng):
    for n, f, c, stride, extra in ((1, 1, 1, 1, 0), (2, 2, 3, 2, 1), (3, 5, 2, 2, (1, 0))):
        x, w = rng.standard_normal((n, f, 4, 3)), rng.standard_normal((f, c, 3, 2))
        options = {"stride": stride, "output_padding": extra}
        y, what = array_of(lesson, "conv_transpose2d", *(a.astype(np.float32) for a in (x, w)), **options)
        (s, t), (e, g) = both(stride), both(extra)
        wanted = (n, c, 3 * s + 3 + e, 2 * t + 2 + g)
        assert y.shape == wanted, (
            f"{what} has shape {y.shape}, expected {wanted}: w is (in, out, kh, kw), the output has its second axis"
        )


@pytest.mark.hole("conv_transpose2d", kind="invariant")
def test_conv_transpose2d_is_the_transpose(lesson, rng):
    taps = np.array([[True, False], [True, True], [False, True]])
    for size, kernel, how in cases(rng):
        x, (w, _) = maps(rng, size, 2, 3), filters(rng, 3, kernel, 2)
        mask = taps if w.shape[2:] == (3, 2) else None
        ax = convolved(x, w, taps=mask, **how)
        g = rng.standard_normal(ax.shape)
        rest = tuple(n - m for n, m in zip(size, smallest(g.shape[2:], kernel, **how), strict=True))
        back, what = array_of(lesson, "conv_transpose2d", g, w, output_padding=rest, taps=mask, **how)
        assert back.shape == x.shape, f"{what} has shape {back.shape}, expected {x.shape}"
        one, other = np.vdot(ax, g), np.vdot(x, back)
        assert abs(one - other) <= 1e-10 * (1 + np.abs(ax * g).sum()), (
            f"<conv2d(x), g> = {one:.10g} but <x, conv_transpose2d(g)> = {other:.10g} for {what}: it is not the "
            "transpose of conv2d (with the same w: nothing is flipped or reordered)"
        )


@pytest.mark.hole("conv_transpose2d", kind="step")
def test_conv_transpose2d_in_the_engine(lesson, rng):
    check_plugged(lesson, "conv_transpose2d", "minigen.ops:conv_transpose2d.forward", rng)


# conv2d_weight


@pytest.mark.hole("conv2d_weight", kind="value")
def test_conv2d_weight_equals_loops(lesson, rng):
    for size, kernel, how in cases(rng):
        x = maps(rng, size, 3, 2)
        g = rng.standard_normal((3, 4, *counts(size, kernel, **how)))
        y, what = array_of(lesson, "conv2d_weight", x, g, kernel=kernel, **how)
        wanted = weighed(x, g, kernel, **how)
        (kh, kw), each = both(kernel), [weighed(x[n : n + 1], g[n : n + 1], kernel, **how) for n in range(3)]
        causes = {
            "it is the mean over the images, expected the sum": wanted / 3,
            "it is the mean over the places, expected the sum": wanted / np.prod(g.shape[2:]),
            "only the first image counts: sum over all": each[0],
            "only the last image counts: sum over all": each[2],
            "the kernel is flipped": wanted[:, :, ::-1, ::-1],
            "the taps come before the channels: rows of unfold are (C, kh, kw)": wanted.reshape(4, 2, -1)
            .reshape(4, kh, kw, 2)
            .transpose(0, 3, 1, 2),
        }
        agree(y, wanted, what, causes)


@pytest.mark.hole("conv2d_weight", kind="shape")
def test_conv2d_weight_shape(lesson, rng):
    for n, c, f in ((1, 1, 1), (2, 2, 3), (3, 2, 5)):
        x, g = rng.standard_normal((n, c, 6, 5)), rng.standard_normal((n, f, 2, 2))
        y, what = array_of(
            lesson, "conv2d_weight", x.astype(np.float32), g.astype(np.float32), kernel=(3, 2), stride=2
        )
        wanted = (f, c, 3, 2)
        assert y.shape != (n, *wanted), f"{what} has shape {y.shape}: sum over the images, expected {wanted}"
        assert y.shape == wanted, f"{what} has shape {y.shape}, expected {wanted}: (F, C, kh, kw)"
    x, g = rng.standard_normal((1, 1, 4, 4)), rng.standard_normal((1, 1, 2, 2))
    y, what = array_of(lesson, "conv2d_weight", x, g, kernel=3)
    agree(y, weighed(x, g, 3), what)


@pytest.mark.hole("conv2d_weight", kind="invariant")
def test_conv2d_weight_is_the_transpose_in_w(lesson, rng):
    for size, kernel, how in cases(rng, 6):
        x, (w, _) = maps(rng, size, 2, 3), filters(rng, 3, kernel, 2)
        taps = None if w[0, 0].size == 1 else rng.random(w.shape[2:]) < 0.7
        y = convolved(x, w, taps=taps, **how)
        g = rng.standard_normal(y.shape)
        gw, what = array_of(lesson, "conv2d_weight", x, g, kernel=kernel, taps=taps, **how)
        assert taps is None or not gw[:, :, ~taps].any(), (
            f"{what}: a hidden tap has a gradient, expected zero"
        )
        one, other = np.vdot(y, g), np.vdot(w, gw)
        assert abs(one - other) <= 1e-10 * (1 + np.abs(y * g).sum()), (
            f"<conv2d(x, w), g> = {one:.10g} but <w, conv2d_weight(x, g)> = {other:.10g} for {what}"
        )


@pytest.mark.hole("conv2d_weight", kind="step")
def test_conv2d_weight_in_the_engine(lesson, rng):
    check_plugged(lesson, "conv2d_weight", "minigen.ops:conv2d_weight.forward", rng)


# conv2d_vjp


@pytest.mark.hole("conv2d_vjp", kind="gradient")
def test_conv2d_vjp_gradients(lesson, rng):
    taps = np.array([[True, True], [True, False], [False, True]])
    for size, kernel, how in cases(rng):
        x, (w, b) = maps(rng, size, 3, 2), filters(rng, 2, kernel, 4)
        mask = taps if w.shape[2:] == (3, 2) else None
        y = convolved(x, w, b, mask, **how)
        g = rng.standard_normal(y.shape)
        gx, gw, gb = thunks_of(lesson, "conv2d_vjp", 3, g, y, x, w, b, taps=mask, **how)
        what = f"conv2d_vjp, of x {x.shape}, w {w.shape}, {how}, the gradient for"
        wanted = transposed(g, w, taps=mask, size=size, **how)
        causes = {
            "the kernel is flipped": transposed(g, w[:, :, ::-1, ::-1], taps=mask, size=size, **how),
            "taps that are hidden were used": transposed(g, w, size=size, **how),
            "the sign is flipped": -wanted,
        }
        assert np.shape(gx) == x.shape, (
            f"{what} x has shape {np.shape(gx)}, expected that of x, {x.shape}: rows at the end that no stride "
            "reached have gradient zero, but they have one (output_padding)"
        )
        agree(gx, wanted, f"{what} x", causes)
        wanted = weighed(x, g, kernel, mask, **how)
        causes = {
            "it is divided by the number of images": wanted / 3,
            "taps that are hidden were used": weighed(x, g, kernel, **how),
        }
        agree(gw, wanted, f"{what} w", causes)
        wanted = g.sum((0, 2, 3))
        causes = {
            "the mean over the images was taken, expected the sum": wanted / 3,
            "the mean over images and places was taken, expected the sum": g.mean((0, 2, 3)),
            "only the first image counts": g[0].sum((1, 2)),
            "it is summed over images, not over places": g.sum(0),
            "it is summed over places, not over images": g.sum((2, 3)),
        }
        agree(gb, wanted, f"{what} b", causes)


@pytest.mark.hole("conv2d_vjp", kind="shape")
def test_conv2d_vjp_with_and_without_bias(lesson, rng):
    x, w, g = (rng.standard_normal(s).astype(np.float32) for s in ((2, 1, 5, 5), (3, 1, 2, 2), (2, 3, 2, 2)))
    assert len(thunks_of(lesson, "conv2d_vjp", 2, g, g, x, w, stride=2)) == 2, "never reached"
    found = thunks_of(lesson, "conv2d_vjp", 3, g, g, x, w, None, stride=2)
    assert [np.shape(a) for a in found[:2]] == [x.shape, w.shape], (
        f"the gradients for x {x.shape} and w {w.shape} have shapes {[np.shape(a) for a in found[:2]]}"
    )
    for a in found[:2]:
        assert raw(a).dtype == np.float32, f"a gradient of float32 arrays is {raw(a).dtype}, expected float32"


@pytest.mark.hole("conv2d_vjp", kind="gradient")
def test_conv2d_vjp_can_be_differentiated(lesson, rng):
    for size, kernel, how in cases(rng, 3):
        x, (w, b) = maps(rng, size, 2, 2), filters(rng, 2, kernel, 3)
        g = rng.standard_normal(convolved(x, w, **how).shape)
        tx, tw, tb, tg = (Tensor(a, requires_grad=True) for a in (x, w, b, g))
        ty = ops.conv2d(tx, tw, tb, **how)
        with told("conv2d_vjp, fed Tensors,", "use operations, and what arrays and Tensors share"):
            found = [thunk() for thunk in lesson.conv2d_vjp(tg, ty, tx, tw, tb, **how)]
        vs = [rng.standard_normal(a.shape) for a in (x, w, b)]
        total = 0
        for one, v, name in zip(found, vs, "xwb", strict=True):
            assert isinstance(one, Tensor) and one.requires_grad, (  # noqa: PT018
                f"conv2d_vjp was fed Tensors, but its gradient for {name} is a {type(one).__name__} that cannot be "
                "differentiated: no .data, .numpy() or NumPy functions in a rule"
            )
            total = total + (one * v).sum()
        gx, gw, gg = grad(total, [tx, tw, tg])
        agree(gx, transposed(g, vs[1], size=size, **how), "the second derivative of conv2d, for w and x,")
        agree(gw, weighed(vs[0], g, kernel, **how), "the second derivative of conv2d, for x and w,")
        wanted = convolved(vs[0], w, **how) + convolved(x, vs[1], vs[2], **how)
        agree(gg, wanted, "the derivative of conv2d's gradients for g")


@pytest.mark.hole("conv2d_vjp", kind="step")
def test_conv2d_vjp_in_the_engine(lesson, rng):
    check_plugged(lesson, "conv2d_vjp", "minigen.ops:conv2d.rule", rng)


# max_pool2d


def pooling(rng):
    """(size, kernel, options), stride None among them, padding at most half a window"""
    yield (6, 4), 2, {}
    yield (6, 9), (2, 3), {}
    yield (7, 7), 3, {"stride": 2, "padding": 1}
    yield (5, 6), (3, 2), {"stride": 1}
    yield (5, 7), 2, {"stride": 3}
    for _ in range(6):
        kernel = tuple(map(int, rng.integers(1, 4, 2)))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        how = {"stride": tuple(map(int, rng.integers(1, 4, 2))), "padding": padding}
        yield tuple(map(int, rng.integers(3, 8, 2))), kernel, how


def pooled(x, kernel, stride=None, padding=0, fill=-np.inf):
    """-> the windows (N, C, kh kw, H', W'), the options filled in"""
    how = {"stride": kernel if stride is None else stride, "padding": padding}
    seen = windows(x, kernel, fill, **how)
    return seen.reshape(*seen.shape[:2], -1, *seen.shape[4:]), how


@pytest.mark.hole("max_pool2d", kind="value")
def test_max_pool2d_equals_loops(lesson, rng):
    for size, kernel, options in pooling(rng):
        for shift in (0.0, -5.0):
            x = maps(rng, size, 2, 3) + shift
            y, what = array_of(lesson, "max_pool2d", x, kernel=kernel, **options)
            seen, _ = pooled(x, kernel, **options)
            causes = {
                "the padding was 0, and larger than every pixel: fill it with -infinity": pooled(
                    x, kernel, **options, fill=0.0
                )[0].max(2),
                "it is the smallest value": pooled(x, kernel, **options, fill=np.inf)[0].min(2),
                "it is the mean": pooled(x, kernel, **options, fill=0.0)[0].mean(2),
                "the largest is sought over the channels too: each channel has its own": np.broadcast_to(
                    seen.max((1, 2))[:, None], seen.max(2).shape
                ),
                "stride None is the kernel's size, not 1": pooled(x, kernel, stride=1)[0].max(2),
            }
            agree(y, seen.max(2), what + (", of negative numbers," if shift else ""), causes)


@pytest.mark.hole("max_pool2d", kind="shape")
def test_max_pool2d_shape(lesson, rng):
    for n in (1, 3):
        x = rng.standard_normal((n, 2, 7, 6)).astype(np.float32)
        y, what = array_of(lesson, "max_pool2d", x, kernel=2)
        assert y.shape == (n, 2, 3, 3), f"{what} has shape {y.shape}, expected {(n, 2, 3, 3)}"
        y, what = array_of(lesson, "max_pool2d", x, kernel=(3, 2), stride=1, padding=(1, 0))
        assert y.shape == (n, 2, 7, 5), f"{what} has shape {y.shape}, expected {(n, 2, 7, 5)}"


@pytest.mark.hole("max_pool2d", kind="step")
def test_max_pool2d_in_the_engine(lesson, rng):
    check_plugged(lesson, "max_pool2d", "minigen.ops:max_pool2d.forward", rng)


# max_pool2d_vjp


def shares(seen, pick):
    """(N, C, T, H', W') -> which tap of each window gets the gradient"""
    equal = seen == seen.max(2, keepdims=True)
    if pick == "all":
        return equal.astype(float)
    if pick == "even":
        return equal / equal.sum(2, keepdims=True)
    count = np.cumsum(equal, axis=2)
    return (equal & (count == (1 if pick == "first" else equal.sum(2, keepdims=True)))).astype(float)


def pool_gradient(x, g, kernel, options, pick="first", fold_by=folded):
    seen, how = pooled(x, kernel, **options)
    n, c, _, h, w = seen.shape
    share = (shares(seen, pick) * g[:, :, None]).reshape(n, c, *both(kernel), h, w)
    return fold_by(share, x.shape[2:], **how)


def check_pool_gradient(lesson, rng, x, kernel, options, told_of):
    y = pooled(x, kernel, **options)[0].max(2)
    g = rng.standard_normal(y.shape)
    (gx,) = thunks_of(lesson, "max_pool2d_vjp", 1, g, y, x, kernel=kernel, **options)
    wanted = pool_gradient(x, g, kernel, options)
    causes = {
        "among equal pixels, each got the whole gradient: only the first gets it": pool_gradient(
            x, g, kernel, options, "all"
        ),
        "among equal pixels, the gradient was shared: the first gets all of it": pool_gradient(
            x, g, kernel, options, "even"
        ),
        "among equal pixels, the last got the gradient, expected the first": pool_gradient(
            x, g, kernel, options, "last"
        ),
        "a pixel chosen by several windows must get the sum of their g": pool_gradient(
            x,
            g,
            kernel,
            options,
            "first",
            lambda s, size, **how: folded(s, size, lambda old, new: np.where(new, new, old), **how),
        ),
    }
    what = f"max_pool2d_vjp, of {told_of} {x.shape}, kernel={kernel}, {options}, the gradient for x"
    agree(gx, wanted, what, causes)


@pytest.mark.hole("max_pool2d_vjp", kind="gradient")
def test_max_pool2d_vjp_reaches_the_largest(lesson, rng):
    for size, kernel, options in pooling(rng):
        x = rng.permutation(6 * int(np.prod(size))).reshape(2, 3, *size) - 1000.0
        check_pool_gradient(lesson, rng, x, kernel, options, "maps")


@pytest.mark.hole("max_pool2d_vjp", kind="value")
def test_max_pool2d_vjp_with_ties(lesson, rng):
    for size, kernel, options in pooling(rng):
        x = rng.integers(0, 2, (2, 3, *size)).astype(float)
        check_pool_gradient(lesson, rng, x, kernel, options, "maps with equal pixels")
    check_pool_gradient(lesson, rng, np.zeros((1, 2, 4, 4)), 2, {}, "an empty image")


@pytest.mark.hole("max_pool2d_vjp", kind="shape")
def test_max_pool2d_vjp_shape(lesson, rng):
    x = rng.standard_normal((2, 3, 8, 7)).astype(np.float32)
    y = pooled(x, 3)[0].max(2)
    (gx,) = thunks_of(lesson, "max_pool2d_vjp", 1, np.ones_like(y), y, x, kernel=3)
    assert np.shape(gx) == x.shape, f"the gradient for x {x.shape} has shape {np.shape(gx)}"
    assert gx.dtype == np.float32, f"the gradient of float32 maps is {gx.dtype}, expected float32"
    assert gx.sum() == y.size, (
        f"with g = 1 everywhere, the gradient for x sums to {gx.sum():g}, expected {y.size}: one for each window"
    )


@pytest.mark.hole("max_pool2d_vjp", kind="gradient")
def test_max_pool2d_vjp_can_be_differentiated(lesson, rng):
    for size, kernel, options in pooling(rng):
        x = rng.standard_normal((2, 2, *size))
        y = pooled(x, kernel, **options)[0].max(2)
        g, v = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
        tg, tx, ty = Tensor(g, requires_grad=True), Tensor(x, requires_grad=True), Tensor(y)
        with told("max_pool2d_vjp, fed Tensors,", "use operations, and what arrays and Tensors share"):
            thunks = lesson.max_pool2d_vjp(tg, ty, tx, kernel=kernel, **options)
            (thunk,) = thunks if isinstance(thunks, tuple | list) else (thunks,)
            gx = thunk()
        assert isinstance(gx, Tensor) and gx.requires_grad, (  # noqa: PT018
            f"max_pool2d_vjp was fed Tensors, but its gradient is a {type(gx).__name__} that cannot be differentiated: "
            "no .data, .numpy() or NumPy functions on the way from g"
        )
        found = grad((gx * v).sum(), tg)
        seen, how = pooled(x, kernel, **options)
        chosen = windows(v, kernel, **how).reshape(seen.shape)
        agree(found, (chosen * shares(seen, "first")).sum(2), "the derivative of max_pool2d's gradient for g")


@pytest.mark.hole("max_pool2d_vjp", kind="step")
def test_max_pool2d_vjp_in_the_engine(lesson, rng):
    check_plugged(lesson, "max_pool2d_vjp", "minigen.ops:max_pool2d.rule", rng)


# moments


def channels(rng, dtype=np.float64):
    """Inputs of two, three and four axes, every channel with a mean and a spread of its own"""
    for shape in ((6, 3), (4, 3, 5), (5, 3, 2, 4)):
        lie = (1, 3, *[1] * (len(shape) - 2))
        own = rng.normal(0, 3, (1, 3)).reshape(lie), rng.uniform(0.5, 2, (1, 3)).reshape(lie)
        yield (own[0] + own[1] * rng.standard_normal(shape)).astype(dtype)


def others(x):
    return (0, *range(2, x.ndim))


def lie(a, x):
    return np.reshape(a, (1, -1, *[1] * (x.ndim - 2)))


@pytest.mark.hole("moments", kind="value")
def test_moments_value(lesson, rng):
    for x in channels(rng):
        (mean, var, centred), what = three(lesson, x)
        axes, m = others(x), x.size // x.shape[1]
        causes = {"it is taken over all channels together": np.full(3, x.mean())}
        agree(mean, x.mean(axes), f"the mean of {what}", causes)
        causes = {
            "it is the unbiased one, divided by m - 1: expected divided by m": x.var(axes, ddof=1),
            "it is the standard deviation": x.std(axes),
            "it is the mean of x^2: subtract the mean before squaring": np.square(x).mean(axes),
            "it is the sum of the squares, not their mean": m * x.var(axes),
            "it is taken over all channels together": np.full(3, x.var()),
        }
        agree(var, x.var(axes), f"the variance of {what}", causes)
        normal = (x - lie(x.mean(axes), x)) / lie(x.std(axes), x)
        causes = {"it is divided by the deviation already: expected x - mean": normal, "it is x itself": x}
        agree(centred, x - lie(x.mean(axes), x), f"the third of {what}, x - mean,", causes)


def three(lesson, x):
    y, what = run(
        lesson,
        "moments",
        x,
        cause="means over all axes but axis 1 are (C,); along(mean, x) lays them along it",
    )
    assert isinstance(y, tuple | list) and len(y) == 3, (  # noqa: PT018
        f"moments returned {type(y).__name__ if not isinstance(y, tuple | list) else len(y)}, expected three arrays: "
        "mean, variance, x - mean"
    )
    c = x.shape[1]
    for one, name in zip(y, ("mean", "variance"), strict=False):
        assert np.shape(one) == (c,), (
            f"the {name} of {what} has shape {np.shape(one)}, expected {(c,)}: one number for each channel (axis 1), "
            "over all other axes"
        )
    assert np.shape(y[2]) == x.shape, f"x - mean of {what} has shape {np.shape(y[2])}, expected {x.shape}"
    return y, what


@pytest.mark.hole("moments", kind="shape")
def test_moments_keep_float32(lesson, rng):
    for x in channels(rng, np.float32):
        found, what = three(lesson, x)
        for one in found:
            assert one.dtype == np.float32, f"{what} of float32 holds {one.dtype}, expected float32"


@pytest.mark.hole("moments", kind="invariant")
def test_moments_survive_a_large_mean(lesson, rng):
    x = (5000 + rng.standard_normal((50, 2, 6, 6))).astype(np.float32)
    (_, var, _), _ = three(lesson, x)
    wanted = x.astype(float).var((0, 2, 3))
    assert np.allclose(var, wanted, rtol=0.02), (
        f"numbers around 5000, with variance {wanted[0]:.3f}, have variance {var[0]:.3f} in float32: mean(x^2) - "
        "mean(x)^2 is the difference of two huge numbers; average (x - mean)^2"
    )


@pytest.mark.hole("moments", kind="step")
def test_moments_in_the_engine(lesson, rng):
    check_plugged(lesson, "moments", "minigen.ops.norm:moments", rng)


# batch_norm


def pair_of(lesson, x, gamma, beta, **options):
    y, what = run(
        lesson, "batch_norm", x, gamma, beta, cause="(C,) arrays lie along axis 1 by `along(a, x)`", **options
    )
    assert isinstance(y, tuple | list) and len(y) == 2 and isinstance(y[1], tuple | list), (  # noqa: PT018
        f"batch_norm returned a {type(y).__name__}, expected a pair: y, and what the rule needs (a pair of arrays)"
    )
    assert len(y[1]) == 2, f"batch_norm keeps {len(y[1])} arrays for the rule, expected two"
    return y[0], y[1], what


def normed(x, gamma, beta, eps=1e-5, ddof=0):
    axes = others(x)
    inverse = 1 / np.sqrt(x.var(axes, ddof=ddof) + eps)
    return (x - lie(x.mean(axes), x)) * lie(inverse * gamma, x) + lie(beta, x)


@pytest.mark.hole("batch_norm", kind="value")
def test_batch_norm_value(lesson, rng):
    for x in channels(rng):
        gamma, beta = rng.standard_normal((2, 3)) + 2
        for eps in (0.3, 1e-5):
            for stats in (None, (x.mean(others(x)), x.var(others(x)), x - lie(x.mean(others(x)), x))):
                y, _, what = pair_of(lesson, x, gamma, beta, eps=eps, stats=stats)
                axes = others(x)
                centred, var = x - lie(x.mean(axes), x), lie(x.var(axes), x)
                g, b = lie(gamma, x), lie(beta, x)
                causes = {
                    "beta is missing": normed(x, gamma, 0 * beta, eps),
                    "gamma is missing": normed(x, 0 * gamma + 1, beta, eps),
                    "gamma and beta are swapped": normed(x, beta, gamma, eps),
                    "it is divided by the variance, expected its root": g * centred / (var + eps) + b,
                    "eps stands outside the root": g * centred / (np.sqrt(var) + eps) + b,
                    "eps is ignored": normed(x, gamma, beta, 0.0),
                    "it is not centred: subtract the mean": g * x / np.sqrt(var + eps) + b,
                    "the variance is the unbiased one: here the biased one, divided by m": normed(
                        x, gamma, beta, eps, ddof=1
                    ),
                    "gamma scales beta too: y = gamma x^ + beta": g * (centred / np.sqrt(var + eps) + b),
                }
                agree(y, normed(x, gamma, beta, eps), f"y of {what}", causes)


@pytest.mark.hole("batch_norm", kind="invariant")
def test_batch_norm_output_is_normal(lesson, rng):
    for x in channels(rng):
        y, _, what = pair_of(lesson, x, np.ones(3), np.zeros(3), eps=1e-12)
        agree(
            y.mean(others(x)) + 1, np.ones(3), f"1 + the means of {what} with gamma = 1, beta = 0", rtol=1e-9
        )
        agree(y.var(others(x)), np.ones(3), f"the variances of {what} with gamma = 1, beta = 0", rtol=1e-6)


@pytest.mark.hole("batch_norm", kind="shape")
def test_batch_norm_saves_what_the_rule_needs(lesson, rng):
    for x in channels(rng):
        gamma, beta = rng.standard_normal((2, 3)) + 2
        _, (centred, inverse), what = pair_of(lesson, x, gamma, beta)
        axes = others(x)
        deviation = np.sqrt(x.var(axes) + 1e-5)
        true = x - lie(x.mean(axes), x)
        says = f"the first array that {what} keeps, x - mean,"
        causes = {"it is divided by the deviation already": true / lie(deviation, x), "it is x itself": x}
        agree(centred, true, says, causes)
        causes = {
            "it is sqrt(var + eps), not 1 over it": deviation,
            "it is the variance": deviation**2,
            "it is multiplied by gamma": gamma / deviation,
        }
        agree(inverse, 1 / deviation, f"the second array that {what} keeps, 1 / sqrt(var + eps),", causes)
    x = next(channels(rng, np.float32))
    y, _, what = pair_of(lesson, x, np.ones(3, np.float32), np.zeros(3, np.float32))
    assert y.dtype == np.float32, f"{what} of float32 is {y.dtype}, expected float32"


@pytest.mark.hole("batch_norm", kind="step")
def test_batch_norm_in_the_engine(lesson, rng):
    check_plugged(lesson, "batch_norm", "minigen.ops:batch_norm.forward", rng)


# batch_norm_vjp


def numerical(f, x, h=1e-5):
    """The gradient of the number f(x) for the array x, by central differences."""
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        sides = []
        for step in (h, -h):
            moved = x.copy()
            moved[i] += step
            sides.append(f(moved))
        g[i] = (sides[0] - sides[1]) / (2 * h)
    return g


def norm_gradients(lesson, rng, x, eps):
    gamma, beta = rng.standard_normal((2, 3)) + 2
    g, axes = rng.standard_normal(x.shape), others(x)
    saved = x - lie(x.mean(axes), x), 1 / np.sqrt(x.var(axes) + eps)
    kept = [a.copy() for a in saved]
    found = thunks_of(lesson, "batch_norm_vjp", 3, g, saved, x, gamma, beta, eps=eps)
    assert all(map(np.array_equal, saved, kept)), "batch_norm_vjp changed the arrays that were saved for it"
    return found, g, gamma, beta, saved


@pytest.mark.hole("batch_norm_vjp", kind="gradient")
def test_batch_norm_vjp_gradient_for_x(lesson, rng):
    for x in channels(rng):
        eps = float(rng.choice([1e-5, 0.1]))
        (gx, _, _), g, gamma, beta, (centred, inverse) = norm_gradients(lesson, rng, x, eps)
        wanted = numerical(lambda moved, a=(gamma, beta, eps), g=g: (g * normed(moved, *a)).sum(), x)
        axes, scale, normal = others(x), lie(gamma * inverse, x), centred * lie(inverse, x)
        along_mean, along_normal = lie(g.mean(axes), x), normal * lie((g * normal).mean(axes), x)
        m = x.size // x.shape[1]
        causes = {
            "mean and variance are treated as constants: they depend on x, too": scale * g,
            "the variance is treated as a constant: its term - x^ mean(g x^) is missing": scale
            * (g - along_mean),
            "the mean is treated as a constant: its term - mean(g) is missing": scale * (g - along_normal),
            "sums stand where means belong": scale * (g - m * along_mean - m * along_normal),
            "gamma is missing": lie(inverse, x) * (g - along_mean - along_normal),
            "1 / sqrt(var + eps) is missing": lie(gamma, x) * (g - along_mean - along_normal),
            "the terms are added, expected subtracted": scale * (g + along_mean + along_normal),
            "x - mean stands where x^, which is divided by the deviation, belongs": scale
            * (g - along_mean - centred * lie((g * centred).mean(axes), x)),
        }
        agree(gx, wanted, f"the gradient of batch_norm for x {x.shape}", causes, rtol=1e-5)


@pytest.mark.hole("batch_norm_vjp", kind="gradient")
def test_batch_norm_vjp_gradients_for_gamma_and_beta(lesson, rng):
    for x in channels(rng):
        (_, ggamma, gbeta), g, _, _, (centred, inverse) = norm_gradients(lesson, rng, x, 1e-5)
        axes, normal = others(x), centred * lie(inverse, x)
        what, wanted = f"the gradient of batch_norm, of x {x.shape}, for", (g * normal).sum(axes)
        causes = {
            "it is a mean over batch and places, expected the sum": (g * normal).mean(axes),
            "x - mean stands where x^ belongs": (g * centred).sum(axes),
            "x stands where x^ belongs": (g * x).sum(axes),
            "gamma's and beta's gradients are swapped": g.sum(axes),
        }
        agree(ggamma, wanted, f"{what} gamma", causes)
        causes = {"it is a mean over batch and places, expected the sum": g.mean(axes)}
        agree(gbeta, g.sum(axes), f"{what} beta", causes)


@pytest.mark.hole("batch_norm_vjp", kind="invariant")
def test_batch_norm_vjp_feels_no_shift(lesson, rng):
    for x in channels(rng):
        (gx, _, _), _, _, _, (centred, _) = norm_gradients(lesson, rng, x, 1e-12)
        size = np.abs(gx).sum() + 1e-9
        assert np.abs(gx.sum(others(x))).max() <= 1e-9 * size, (
            "the gradients of a channel for x do not sum to zero: adding a number to a whole channel changes nothing, "
            "because the mean moves along; is the term mean(g) there?"
        )
        assert np.abs((gx * centred).sum(others(x))).max() <= 1e-6 * size, (
            "stretching a channel around its mean changes nothing, because the deviation stretches along, but the "
            "gradient says otherwise; is the term x^ mean(g x^) there?"
        )


@pytest.mark.hole("batch_norm_vjp", kind="step")
def test_batch_norm_vjp_in_the_engine(lesson, rng):
    check_plugged(lesson, "batch_norm_vjp", "minigen.ops:batch_norm.rule", rng)


# BatchNorm.__call__


def layer_of(lesson, rng, momentum=0.1, eps=1e-5, dtype=np.float64):
    layer = lesson.BatchNorm(3, momentum=momentum, eps=eps)
    gamma, beta = (rng.standard_normal((2, 3)) + 2).astype(dtype)
    layer.gamma, layer.beta = Tensor(gamma, requires_grad=True), Tensor(beta, requires_grad=True)
    layer.running_mean, layer.running_var = Tensor(np.zeros(3, dtype)), Tensor(np.ones(3, dtype))
    return layer


def through(layer, x, mode="training"):
    with told(
        f"BatchNorm, in {mode}, of {x.shape},", "look at the shapes: (n,) lies along axis 1 by `along`"
    ):
        y = layer(x)
    assert y is not None, "BatchNorm returned None: is a `return` missing?"
    assert isinstance(y, Tensor), f"BatchNorm, in {mode}, returned a {type(y).__name__}, expected a Tensor"
    assert y.requires_grad, f"in {mode} no gradient would reach gamma and beta: the graph is cut (.data?)"
    return y


@pytest.mark.hole("BatchNorm.__call__", kind="value")
def test_batch_norm_layer_in_training(lesson, rng):
    for x in channels(rng):
        layer = layer_of(lesson, rng, eps=0.1)
        layer.running_mean.data, layer.running_var.data = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])
        gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
        before = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])
        running = [in_use(x, gamma, beta, *state, 0.1) for state in (before, follow(before, x, 0.1)[0])]
        y = through(layer, Tensor(x))
        causes = {
            "it is normalised by the running statistics, expected those of the batch": running[0],
            "it is normalised by the new running statistics, expected those of the batch": running[1],
            "eps is not self.eps": normed(x, gamma, beta),
            "gamma and beta are swapped": normed(x, beta, gamma, 0.1),
        }
        agree(y.numpy(), normed(x, gamma, beta, 0.1), f"BatchNorm, in training, of {x.shape}", causes)
        agree(through(layer, x).numpy(), y.numpy(), "BatchNorm of an array, the same as that of a Tensor,")


def in_use(x, gamma, beta, mean, var, eps=1e-5):
    inverse = 1 / np.sqrt(np.asarray(var) + eps)
    return (x - lie(mean, x)) * lie(inverse * gamma, x) + lie(beta, x)


def follow(layer_before, x, momentum):
    """running mean and variance after a batch, and what mistakes make of them"""
    (mean, var), axes, m = layer_before, others(x), x.size // x.shape[1]
    one, biased = x.mean(axes), x.var(axes)
    unbiased = biased * m / (m - 1)
    wanted = (1 - momentum) * mean + momentum * one, (1 - momentum) * var + momentum * unbiased
    wrong_mean = {
        "momentum is the weight of the batch, not of what was there": momentum * mean + (1 - momentum) * one,
        "it is the batch's mean: take only a step towards it": one,
        "it did not move": mean,
        "the old value is not faded: times 1 - momentum": mean + momentum * one,
    }
    wrong_var = {
        "it takes the biased variance: multiply by m / (m - 1), m values per channel": (1 - momentum) * var
        + momentum * biased,
        "m counts the batch alone: all values of a channel count, places too": (1 - momentum) * var
        + momentum * biased * len(x) / (len(x) - 1),
        "the factor is (m - 1) / m, expected m / (m - 1)": (1 - momentum) * var
        + momentum * biased * (m - 1) / m,
        "momentum is the weight of the batch, not of what was there": momentum * var
        + (1 - momentum) * unbiased,
        "it is the batch's variance: take only a step towards it": unbiased,
        "it did not move": var,
        "it follows the deviation, not the variance": (1 - momentum) * var + momentum * np.sqrt(unbiased),
        "the old value is not faded: times 1 - momentum": var + momentum * unbiased,
    }
    return wanted, wrong_mean, wrong_var


@pytest.mark.hole("BatchNorm.__call__", kind="step")
def test_batch_norm_layer_follows_the_batches(lesson, rng):
    for momentum in (0.1, 0.3):
        for x in channels(rng):
            layer = layer_of(lesson, rng, momentum)
            state = np.zeros(3), np.ones(3)
            for batch in (x, 2 * x + 1, x[::-1] - 3):
                through(layer, Tensor(batch))
                wanted, wrong_mean, wrong_var = follow(state, batch, momentum)
                what = f"after a batch of {x.shape} with momentum {momentum}"
                agree(layer.running_mean.numpy(), wanted[0], f"running_mean {what}", wrong_mean)
                agree(layer.running_var.numpy(), wanted[1], f"running_var {what}", wrong_var)
                state = wanted


@pytest.mark.hole("BatchNorm.__call__", kind="value")
def test_batch_norm_layer_in_use(lesson, rng):
    for x in channels(rng):
        layer = layer_of(lesson, rng, eps=0.1)
        mean, var = rng.normal(size=3), rng.uniform(0.5, 3, 3)
        layer.running_mean.data, layer.running_var.data = mean.copy(), var.copy()
        gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
        layer.eval()
        for part in (x, x[:1]):
            y = through(layer, Tensor(part), "use").numpy()
            causes = {
                "after eval() it is normalised by the running statistics, not by the batch's": normed(
                    part, gamma, beta, 0.1
                ),
                "gamma is missing": in_use(part, 1, beta, mean, var, 0.1),
                "beta is missing": in_use(part, gamma, 0 * beta, mean, var, 0.1),
                "eps is missing": in_use(part, gamma, beta, mean, var, 0.0),
                "it is divided by the variance, expected its root": lie(gamma, part)
                * (part - lie(mean, part))
                / lie(var + 0.1, part)
                + lie(beta, part),
                "eps stands outside the root": in_use(
                    part, gamma, beta, mean, (np.sqrt(var) + 0.1) ** 2, 0.0
                ),
            }
            wanted = in_use(part, gamma, beta, mean, var, 0.1)
            agree(y, wanted, f"BatchNorm, in use, of {part.shape}", causes)
            agree(layer.running_mean.numpy(), mean, "running_mean, which must not move in use,")
            agree(layer.running_var.numpy(), var, "running_var, which must not move in use,")
        agree(
            through(layer, x, "use").numpy(),
            in_use(x, gamma, beta, mean, var, 0.1),
            "BatchNorm of an array, in use",
        )


@pytest.mark.hole("BatchNorm.__call__", kind="gradient")
def test_batch_norm_layer_gradients(lesson, rng):
    for x in channels(rng):
        for mode in ("training", "use"):
            layer = layer_of(lesson, rng, eps=0.1)
            mean, var = rng.normal(size=3), rng.uniform(0.5, 3, 3)
            layer.running_mean.data, layer.running_var.data = mean, var
            layer.train(mode == "training")
            gamma, beta, tx = layer.gamma.numpy(), layer.beta.numpy(), Tensor(x, requires_grad=True)
            g, y = rng.standard_normal(x.shape), through(layer, tx, mode)
            found = grad(y, [tx, layer.gamma, layer.beta], seed=g, allow_unused=True)

            def f(x, gamma, beta, mode=mode, mean=mean, var=var):
                return (
                    normed(x, gamma, beta, 0.1)
                    if mode == "training"
                    else in_use(x, gamma, beta, mean, var, 0.1)
                )

            arrays = [x, gamma, beta]
            for k, name in enumerate(("x", "gamma", "beta")):
                assert found[k] is not None, (
                    f"in {mode}, no gradient of BatchNorm reaches {name}: is the graph cut?"
                )
                wanted = numerical(lambda a, k=k: (g * f(*arrays[:k], a, *arrays[k + 1 :])).sum(), arrays[k])  # noqa: B023
                agree(found[k], wanted, f"in {mode}, the gradient of BatchNorm for {name}", rtol=1e-5)


@pytest.mark.hole("BatchNorm.__call__", kind="invariant")
def test_batch_norm_layer_keeps_its_state(lesson, rng):
    layer = layer_of(lesson, rng, dtype=np.float32)
    names = list(layer.state_dict())
    x = next(channels(rng, np.float32))
    y = through(layer, Tensor(x, requires_grad=True))
    assert y.dtype == np.float32, f"BatchNorm of float32 is {y.dtype}, expected float32"
    for name in ("running_mean", "running_var"):
        t = getattr(layer, name)
        assert isinstance(t, Tensor), f"{name} became a {type(t).__name__}: it must stay a Tensor"
        assert not t.requires_grad, (
            f"{name} requires gradients, and drags the graph of every batch along: compute it from arrays (.data)"
        )
        assert t.dtype == np.float32, f"{name} became {t.dtype}, expected float32"
        assert t.shape == (3,), f"{name} has shape {t.shape}, expected (3,)"
    assert list(layer.state_dict()) == names, (
        f"the state of the layer was {names}, and is now {list(layer.state_dict())}: make no new attributes"
    )
    again = layer.state_dict()
    layer.eval()
    assert through(layer, Tensor(x), "use").dtype == np.float32, "in use, float32 became another dtype"
    assert all(np.array_equal(again[name], value) for name, value in layer.state_dict().items()), (
        "using the layer after eval() changed its state"
    )


@pytest.mark.hole("BatchNorm.__call__", kind="step")
def test_batch_norm_layer_in_the_engine(lesson, rng):
    check_plugged(lesson, "BatchNorm.__call__", "minigen.nn:BatchNorm.__call__", rng)
