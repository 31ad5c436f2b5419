"""Checks of e04: each hole against NumPy written out here, and against what must be true of any density."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import math
import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

LOG_2PI = math.log(2 * math.pi)


def numbers(value):
    return np.array(value, np.float64)


def near(a, b, rtol=1e-7):
    a, b = numbers(a), numbers(b)
    if a.shape != b.shape:
        return False
    big = np.abs(b[np.isfinite(b)]).max(initial=0)
    return np.allclose(a, b, rtol=rtol, atol=rtol * (1e-6 + big), equal_nan=True)


def must_be(found, wanted, likely, otherwise, rtol=1e-7):
    """Right answers are let through before anything is suspected; then the first likely mistake that fits is named"""
    if not near(found, wanted, rtol):
        pytest.fail(next((says for says, value in likely.items() if near(found, value, rtol)), otherwise))


def must_have_shape(found, wanted, what, cause):
    shape = getattr(found, "shape", None)
    assert shape == wanted, (
        f"{what} gives {'no array' if shape is None else f'shape {shape}'}; expected {wanted}: {cause}"
    )


def quietly(call):
    """The value, and whether NumPy warned on the way"""
    with (
        warnings.catch_warnings(record=True) as said,
        np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"),
    ):
        warnings.simplefilter("always")
        value = call()
    return value, [str(one.message) for one in said if issubclass(one.category, RuntimeWarning)]


def untouched(call, *arrays):
    """What the call gives, when it has left its inputs as they were"""
    before = [one.copy() for one in arrays]
    value = call()
    for one, old in zip(arrays, before, strict=True):
        assert np.array_equal(one, old), "an input was changed in place: work on a copy"
    return value


# nearest_centre


@pytest.mark.hole("nearest_centre", kind="value")
def test_nearest_centre(lesson, rng):
    for n, k, d in ((20, 5, 3), (1, 4, 2), (3, 7, 6), (9, 1, 4)):
        x, centres = rng.normal(1, 2, (n, d)), rng.normal(1, 2, (k, d))
        squares = np.square(x[:, None] - centres).sum(-1)  # (n, k)
        found = untouched(lambda x=x, c=centres: lesson.nearest_centre(x, c), x, centres)
        must_have_shape(found, (n,), f"nearest_centre of {n} rows and {k} centres", "one centre for each row")
        assert np.asarray(found).dtype.kind in "iu", (
            f"nearest_centre gives {np.asarray(found).dtype}: the number of a centre, not a distance (argmin, not min)"
        )
        must_be(
            found,
            squares.argmin(1),
            {
                "the centres are numbered from 1; expected from 0": squares.argmin(1) + 1,
                "the absolute differences were summed; expected their squares":
                    np.abs(x[:, None] - centres).sum(-1).argmin(1),
                "each row got its FARTHEST centre": squares.argmax(1),
                "the centre with the largest dot product was taken: a long centre wins too often, ||c||^2 is missing":
                    (x @ centres.T).argmax(1),
                "the smallest dot product was taken: it is no distance": (x @ centres.T).argmin(1),
            },
            f"rows got the centres {np.asarray(found).tolist()[:8]}; expected {squares.argmin(1).tolist()[:8]}: the "
            "place of the smallest squared distance of each row",
        )  # fmt: skip


@pytest.mark.hole("nearest_centre", kind="invariant")
def test_nearest_of_equal_points(lesson, rng):
    x = rng.normal(size=(12, 4))
    order = rng.permutation(12)
    found = lesson.nearest_centre(x, x[order])
    assert np.array_equal(order[found], np.arange(12)), (
        "with the rows themselves as centres, each row must find itself: distance 0 is the smallest"
    )


# centre_means


def clustered(rng, n=40, k=5, d=3):
    """Rows, members (centre k - 2 has none), centres"""
    members = rng.integers(k - 1, size=n)
    members[members == k - 2] = k - 1
    members[: k - 2], members[k - 2] = np.arange(k - 2), k - 1
    return rng.normal(2, 1, (n, d)), members, rng.normal(2, 1, (k, d))


def means(x, members, centres):
    return np.stack([x[members == k].mean(0) if (members == k).any() else c for k, c in enumerate(centres)])


@pytest.mark.hole("centre_means", kind="value")
def test_centre_means(lesson, rng):
    x, members, centres = clustered(rng)
    found, said = quietly(
        lambda: untouched(lambda: lesson.centre_means(x, members, centres), x, members, centres)
    )
    must_have_shape(found, centres.shape, f"centre_means with {centres.shape} centres", "as many as before")
    empty = 3
    assert not np.isnan(numbers(found)[empty]).any(), (
        "a centre without members became NaN (0 / 0): it stays where it was"
    )
    assert not (numbers(found)[empty] == 0).all(), (
        "a centre without members moved to 0: it stays where it was"
    )
    sums = np.stack([x[members == k].sum(0) if (members == k).any() else centres[k] for k in range(5)])
    halves = np.where(np.arange(5)[:, None] == empty, centres, (means(x, members, centres) + centres) / 2)
    medians = np.stack(
        [np.median(x[members == k], 0) if (members == k).any() else centres[k] for k in range(5)]
    )
    must_be(
        found,
        means(x, members, centres),
        {
            "each centre is the SUM of its members; expected their mean": sums,
            "centres moved half of the way only": halves,
            "each centre is the median of its members: the mean makes the squared distances smallest": medians,
            "the centres did not move": centres,
            "every centre is the mean of all rows": np.where(np.arange(5)[:, None] == empty, centres, x.mean(0)),
            "the sums were divided by the number of all rows; expected the number of members":
                np.where(np.arange(5)[:, None] == empty, centres, sums / len(x)),
        },
        "the centres are not the means of their members: for each k average the rows with members == k",
    )  # fmt: skip
    assert not said, f"NumPy warned ({said[0]}): look after the centre that has no members"


@pytest.mark.hole("centre_means", kind="invariant")
def test_objective_never_rises(lesson, rng):
    x, k = rng.normal(size=(80, 3)), 7
    centres, before = x[:k].copy(), np.inf
    for step in range(12):
        squares = np.square(x[:, None] - centres).sum(-1)
        objective = squares.min(1).mean()
        assert objective <= before + 1e-12, (
            f"the objective rose from {before:.6g} to {objective:.6g} at round {step}: the mean of its members is the "
            "point with the smallest squared distance to them, no other is"
        )
        before, centres = objective, numbers(lesson.centre_means(x, squares.argmin(1), centres))


# principal_axes


def spread_rows(rng, n=60, d=6):
    """Rows with a mean far from 0 and a variance of its own in each of d random directions"""
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * np.geomspace(5, 0.2, d) @ turn + rng.normal(20, 1, d)


@pytest.mark.hole("principal_axes", kind="shape")
def test_axes_shapes(lesson, rng):
    x = spread_rows(rng)
    for k in (1, 4, 6):
        mean, axes, variances = untouched(lambda k=k: lesson.principal_axes(x, k), x)
        must_have_shape(mean, (6,), "the mean of 6 columns", "one number for each column")
        assert numbers(axes).shape != (6, k) or k == 6, (
            f"the axes have shape (6, {k}), they stand in columns as eigh gives them; expected rows, ({k}, 6)"
        )
        must_have_shape(axes, (k, 6), f"the axes for k = {k}", "one row for each axis")
        must_have_shape(variances, (k,), f"the variances for k = {k}", "one for each axis")


@pytest.mark.hole("principal_axes", kind="value")
def test_axes_value(lesson, rng):
    x, k = spread_rows(rng), 3
    mean, axes, variances = map(numbers, lesson.principal_axes(x, k))
    must_be(mean, x.mean(0), {"the mean is 0: centre on the mean of the columns": np.zeros(6)},
            "the first result is not the mean of the rows")  # fmt: skip
    centred = x - x.mean(0)
    values, columns = np.linalg.eigh(centred.T @ centred / len(x))
    z = centred / x.std(0)
    unit = np.linalg.eigh(z.T @ z / len(x))[1][:, ::-1][:, :k].T
    assert not near(np.abs(axes), np.abs(unit), 1e-6), (
        "the columns were scaled to variance 1: that is PCA of the correlations; here the numbers keep their scale"
    )
    assert near(axes @ axes.T, np.eye(k), 1e-6), (
        "the axes are not orthonormal rows: eigh gives unit vectors in its COLUMNS; transpose, keep the length"
    )
    along = np.square(axes @ columns)  # (k, D): how much of each axis lies along each true one
    raw = np.linalg.eigh(x.T @ x / len(x))[1]
    assert not (along[0].argmax() != 5 and along[0].max() > 0.999), (
        f"the first axis is the direction of rank {6 - along[0].argmax()} by variance: eigh gives small eigenvalues "
        "FIRST; turn the order round, and turn the columns with it"
    )
    uncentred = np.square(axes @ raw)[np.arange(k), [5, 4, 3]].min()
    right = along[np.arange(k), [5, 4, 3]].min()
    assert right > 0.999 or uncentred < 0.999, (
        "the axes are those of x^T x without centring: the first one points at the mean, subtract the mean first"
    )
    assert right > 0.999, (
        f"the axes are not the eigenvectors of the covariance with the {k} largest eigenvalues"
    )
    must_be(
        variances,
        values[::-1][:k],
        {
            "the variances are not divided by N": len(x) * values[::-1][:k],
            "the covariance is divided by N - 1; expected N": len(x) / (len(x) - 1) * values[::-1][:k],
            "these are square roots, standard deviations": np.sqrt(values[::-1][:k]),
            "these are the singular values of x - mean: square them and divide by N":
                np.sqrt(len(x) * values[::-1][:k]),
            "the variances are in the order of eigh, smallest first": values[:k],
            "the variances are those of the right axes, smallest first": values[::-1][:k][::-1],
            "these are shares of the total variance": values[::-1][:k] / values.sum(),
        },
        "the variances are not the largest eigenvalues of the covariance",
        rtol=1e-6,
    )  # fmt: skip


@pytest.mark.hole("principal_axes", kind="invariant")
def test_variances_account_for_the_error(lesson, rng):
    x = spread_rows(rng, n=5, d=8)  # fewer rows than columns: a covariance without inverse
    mean, axes, variances = map(numbers, lesson.principal_axes(x, 2))
    left = (x - mean) - (x - mean) @ axes.T @ axes
    total = np.square(x - x.mean(0)).sum() / len(x)
    assert near(np.square(left).sum() / len(x), total - variances.sum(), 1e-6), (
        "the squared error of the training rows should be the total variance minus the variances of the axes that "
        f"were kept: {total - variances.sum():.5g}; found {np.square(left).sum() / len(x):.5g}"
    )


# squeeze


@pytest.mark.hole("squeeze", kind="value")
def test_squeeze_value(lesson, rng):
    x, mean = rng.normal(3, 1, (7, 5)), rng.normal(2, 1, 5)
    axes = np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    pair = untouched(lambda: lesson.squeeze(x, mean, axes), x, mean, axes)
    assert isinstance(pair, tuple | list) and len(pair) == 2, (
        "squeeze gives two arrays: codes, and what is rebuilt"
    )
    codes, rebuilt = pair
    must_have_shape(codes, (7, 2), "the codes of 7 rows and 2 axes", "(N, D) @ (D, k)")
    must_have_shape(rebuilt, (7, 5), "what is rebuilt of 7 rows", "(N, k) @ (k, D)")
    wanted = (x - mean) @ axes.T
    must_be(codes, wanted, {
        "the rows were not centred: subtract the mean before the product": x @ axes.T,
        "the batch's own mean was subtracted: the mean is given, it is that of the TRAINING rows":
            (x - x.mean(0)) @ axes.T,
        "the codes were scaled to variance 1": wanted / wanted.std(0),
    }, "the codes are not (x - mean) @ axes.T")  # fmt: skip
    must_be(rebuilt, wanted @ axes + mean, {
        "the mean was not added back": wanted @ axes,
        "this is x itself: it must pass through the codes": x,
        "the batch's own mean was added: the mean is given, it is that of the TRAINING rows": wanted @ axes + x.mean(0),
        "what is rebuilt was clipped to [0, 1]": np.clip(wanted @ axes + mean, 0, 1),
        "this is what is LOST, x minus the rebuilt": x - mean - wanted @ axes,
    }, "what is rebuilt is not mean + codes @ axes")  # fmt: skip


@pytest.mark.hole("squeeze", kind="invariant")
def test_squeeze_twice(lesson, rng):
    x, mean = rng.normal(3, 1, (7, 5)), rng.normal(2, 1, 5)
    axes = np.linalg.qr(rng.normal(size=(5, 3)))[0].T
    codes, rebuilt = lesson.squeeze(x, mean, axes)
    again, same = lesson.squeeze(numbers(rebuilt), mean, axes)
    assert near(again, codes) and near(same, rebuilt), (
        "squeezing what was rebuilt changes it: it lies in the plane of the axes, so nothing more can be lost"
    )
    alone = np.concatenate([lesson.squeeze(x[i : i + 1], mean, axes)[0] for i in range(7)])
    assert near(alone, codes), "the code of a row depends on the other rows: use the mean that was given"


# Samplers


def must_draw_anew(model, elsewhere, rng):
    """Nothing is kept from one call to the next. `elsewhere`: such a model whose numbers are all larger"""
    first, then, few = (model.sample(n, rng) for n in (5, 5, 3))
    columns = np.shape(first)[1]
    must_have_shape(few, (3, columns), "sample(3) after sample(5)", "n is that of this call, keep no answer")
    assert not (numbers(first) == numbers(then)).any(), (
        "a second call with the same rng gives numbers of the first again: every call draws its own from that rng (is "
        "an answer kept, or an rng of your own seeded anew?)"
    )
    seed = int(rng.integers(2**31))
    one, same = (numbers(model.sample(5, np.random.default_rng(seed))) for _ in "ab")
    assert np.array_equal(one, same), (
        "two rngs of the same seed give different samples: draw from the rng that was given, and from nothing else"
    )
    assert numbers(elsewhere.sample(5, rng)).min() > numbers(then).max(), (
        "a second model, which lies elsewhere, draws samples of the first: ask self for its values at every call"
    )


# Histogram


def bins(rng, n=6):
    return np.cumsum(rng.uniform(0.2, 2, n + 1)) + rng.normal()  # edges of unequal widths


def within(rng, edges, n=50):
    return rng.uniform(edges[0], edges[-1], n)


@pytest.mark.hole("Histogram.fit", kind="value")
def test_histogram_heights(lesson, rng):
    for extra in (0.0, 0.5, 3.0):
        edges = bins(rng)
        x, widths = np.concatenate([within(rng, edges), edges[:2], edges[-1:]]), np.diff(edges)
        counts = np.array([(x >= a).sum() - (x >= b).sum() for a, b in pairwise(edges)])
        counts[-1] += 1  # the number on the last edge
        h = lesson.Histogram(edges, extra=extra)
        back = untouched(lambda h=h, x=x: h.fit(x), x)
        assert back is h, "fit gives the histogram itself: return self"
        n, b = len(x), len(counts)
        shares = (counts + extra) / (n + b * extra)
        must_have_shape(np.asarray(h.heights), (b,), f"self.heights of {b} bins", "one height for each bin")
        must_be(
            h.heights,
            shares / widths,
            {
                "the heights are shares of the data: they SUM to 1, a density INTEGRATES to 1; divide by the widths":
                    shares,
                "the heights are counts: divide by N + B extra, and by the widths": counts + extra,
                "the heights are divided by the mean width: these bins differ in width": shares / widths.mean(),
                "extra was added to no count": counts / n / widths,
                "extra was added to the counts, but not to their sum: N + B extra": (counts + extra) / n / widths,
                "extra was added once to the sum; it was added to each of B counts: N + B extra":
                    (counts + extra) / (n + extra) / widths,
                "the heights were multiplied by the widths; expected divided": shares * widths,
                "1 was added to each count, not extra": (counts + 1) / (n + b) / widths,
                "1/2 was added to each count, not extra": (counts + 0.5) / (n + b / 2) / widths,
            },
            f"heights {np.round(numbers(h.heights), 4)}; expected (count + extra) / (N + B extra) / width = "
            f"{np.round(shares / widths, 4)}",
        )  # fmt: skip


@pytest.mark.hole("Histogram.fit", kind="invariant")
def test_histogram_integrates_to_one(lesson, rng):
    edges = bins(rng)
    for extra in (0.0, 0.5):
        h = lesson.Histogram(edges, extra=extra).fit(within(rng, edges)[:, None])
        total = float((numbers(h.heights) * np.diff(edges)).sum())
        assert abs(total - 1) < 1e-9, (
            f"the histogram integrates to {total:.6g}, it must be 1 (extra = {extra}; data as a column (N, 1))"
        )
    h.fit(np.full(4, (edges[0] + edges[1]) / 2))
    again = (4 + 0.5) / (4 + 6 * 0.5) / np.diff(edges)[0]
    assert near(h.heights[0], again), "a second fit adds to the first: each fit begins anew"


@pytest.mark.hole("Histogram.log_prob", kind="value")
def test_histogram_log_prob(lesson, rng):
    edges = bins(rng)
    h = lesson.Histogram(edges)
    h.heights = rng.uniform(0.1, 1, 6)
    h.heights /= (h.heights * np.diff(edges)).sum()
    x = within(rng, edges, 30)
    where = np.array([max(b for b in range(6) if edges[b] <= v) for v in x])
    wanted = np.log(h.heights[where])
    for shape in (x, x[:, None]):
        found = untouched(lambda s=shape: h.log_prob(s), shape)
        must_have_shape(found, (30,), f"log_prob of numbers of shape {shape.shape}", "one number for each")
        must_be(
            found,
            wanted,
            {
                "this is p(x) itself; expected its logarithm": np.exp(wanted),
                "this is the log of the bin's SHARE (height times width): expected that of the height, a density":
                    np.log((h.heights * np.diff(edges))[where]),
                "the sign: log_prob is log p, not minus log p": -wanted,
                "the logarithm is to base 2; expected nats": wanted / math.log(2),
                "each number is taken for one of the next bin: searchsorted gives 1 for a number in bin 0":
                    np.log(h.heights[np.minimum(where + 1, 5)]),
            },
            "log_prob is not the log of the height of each number's bin",
        )  # fmt: skip


@pytest.mark.hole("Histogram.log_prob", kind="value")
def test_histogram_edges_and_emptiness(lesson, rng):
    edges = bins(rng)
    h = lesson.Histogram(edges)
    h.heights = rng.uniform(0.1, 1, 6)
    h.heights[2] = 0
    found = h.log_prob(np.array([edges[0], edges[4], edges[-1]]))
    assert near(found[0], np.log(h.heights[0])), "the first edge belongs to the first bin"
    assert near(found[1], np.log(h.heights[4])), "a number on an inner edge belongs to the bin on its RIGHT"
    assert near(found[2], np.log(h.heights[5])), (
        f"on the last edge log_prob is {found[2]:.4g}; the last edge belongs to the last bin"
    )
    found, said = quietly(
        lambda: h.log_prob(np.array([edges[0] - 1, edges[-1] + 1, edges[0] - 1e-9, 1e9, (edges[2] + edges[3]) / 2]))
    )  # fmt: skip
    assert (np.asarray(found)[:4] == -np.inf).all(), (
        f"outside the edges log_prob is {np.asarray(found)[:4]}; expected -inf: the histogram says it never happens"
    )
    assert found[4] == -np.inf, f"in a bin of height 0 log_prob is {found[4]}; expected -inf, it is log 0"
    assert not said, (
        f"NumPy warned ({said[0]}): log 0 is meant here, say so with np.errstate(divide='ignore')"
    )


@pytest.mark.hole("Histogram.sample", kind="step")
def test_histogram_samples(lesson, rng):
    edges = np.array([-1.0, 0.0, 3.0, 3.5, 6.5])
    widths, shares = np.diff(edges), np.array([0.15, 0.4, 0.45, 0.0])
    h = lesson.Histogram(edges)
    h.heights = shares / widths
    n = 20_000
    x = h.sample(n, rng)
    must_have_shape(x, (n, 1), f"sample({n})", "a column, one row for each number")
    x = x[:, 0]
    assert x.min() >= edges[0] and x.max() <= edges[-1], "samples lie outside the edges"
    counts = np.histogram(x, edges)[0]
    assert counts[3] == 0, (
        "samples lie in a bin of height 0: bins come by their shares, height times width, and a place in a bin by the "
        "width of that bin"
    )
    found, error = counts / n, np.sqrt(shares * (1 - shares) / n)
    by_height = h.heights / h.heights.sum()
    likely = {
        "bins are drawn by their HEIGHT: a wide bin holds more, its share is height times width": by_height,
        "all bins are drawn alike, whatever their heights": np.full(4, 0.25),
        "samples are spread evenly from the first edge to the last": widths / widths.sum(),
    }
    off = (np.abs(found - shares) > 6 * error + 1e-9).any()
    why = next((says for says, p in likely.items() if np.abs(found - p).max() < 0.02), None)
    assert not off, (
        f"{why or 'the bins are drawn in wrong shares'} (found {np.round(found, 3)}, expected {shares})"
    )
    assert len(np.unique(x)) > n * 0.99, (
        "samples repeat: after the bin is drawn, draw a place in it (left edge + width * uniform)"
    )
    for b in range(3):
        place = (x[(x > edges[b]) & (x < edges[b + 1])] - edges[b]) / widths[b]
        count = np.histogram(place, 10, (0, 1))[0]
        assert (np.abs(count - len(place) / 10) < 6 * np.sqrt(len(place) / 10)).all(), (
            f"inside bin {b} the samples are not spread evenly: a uniform number of its own for each sample, times "
            "the width of its bin"
        )
    elsewhere = lesson.Histogram(edges + 50)
    elsewhere.heights = h.heights
    must_draw_anew(h, elsewhere, rng)


# probability


@pytest.mark.hole("probability", kind="value")
def test_probability_of_known_densities(lesson, rng):
    mu, sd = rng.normal(), rng.uniform(0.02, 0.1)  # a narrow normal: its density is above 1
    normal = SimpleNamespace(
        log_prob=lambda x: -0.5 * (((numbers(x).ravel()) - mu) / sd) ** 2 - 0.5 * LOG_2PI - math.log(sd)
    )
    peak = math.exp(normal.log_prob(np.array([mu]))[0])
    whole = lesson.probability(normal, mu - 10 * sd, mu + 10 * sd)
    assert np.ndim(whole) == 0, f"probability gives an array of shape {np.shape(whole)}; expected one number"
    cells, span = 1000, 20 * sd
    sums = {
        "p is summed and not multiplied by the width of a cell": cells / span,
        "this is the MEAN of p over the interval: times high - low it is the integral": 1 / span,
        "this is 1 - P": 0.0,
    }
    why = next((says for says, value in sums.items() if near(whole, value, 1e-3)), None)
    assert abs(whole - 1) < 1e-6, (
        f"the integral of a normal density over +-10 sigma is {float(whole):.6g}; it must be 1 (its highest value is "
        f"{peak:.2f}, which is no probability){'' if why is None else ': ' + why}"
    )
    for a, b in ((-1, 1), (0, 2), (-3, 0.5)):
        wanted = 0.5 * (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2)))
        found = lesson.probability(normal, mu + a * sd, mu + b * sd)
        ends = np.exp(normal.log_prob(mu + sd * np.array([a, b])))
        shift = (
            0.5 * (ends[0] - ends[1]) * (b - a) * sd / 1000
        )  # what the ends of the cells give, not their middles
        sides = {"left": wanted + shift, "right": wanted - shift}
        side = [s for s, value in sides.items() if abs(shift) > 1e-5 and abs(found - value) < abs(shift) / 10]
        why = f": p is taken at the {side[0]} edge of each cell, expected its middle" if side else ""
        assert abs(found - wanted) < 1e-5, (
            f"P({a} sigma < x < {b} sigma) of a normal is {float(found):.6f}; expected {wanted:.6f}{why}"
        )


@pytest.mark.hole("probability", kind="value")
def test_probability_uses_midpoints(lesson, rng):
    low = float(rng.normal())
    line = SimpleNamespace(
        log_prob=lambda x: np.log(2 * (numbers(x).ravel() - low))
    )  # 2 (x - low) on (low, low + 1)
    for cells in (1, 4, 10):
        found, said = quietly(lambda c=cells: lesson.probability(line, low, low + 1, cells=c))
        likely = {
            "p is taken at the left edge of each cell; expected its middle": (cells - 1) / cells,
            "p is taken at the right edge of each cell; expected its middle": (cells + 1) / cells,
        }
        must_be(found, 1.0, likely, f"2x on (0, 1) with {cells} cells integrates to {found}; the midpoint rule gives "
                "exactly 1 for a straight line", rtol=1e-9)  # fmt: skip
        assert not said, f"NumPy warned ({said[0]}): p at an edge is 0; take the middles"
    seen = []
    flat = SimpleNamespace(log_prob=lambda x: (seen.append(len(x)), np.zeros(len(x)))[1])
    lesson.probability(flat, 0.0, 1.0, cells=37)
    assert sum(seen) == 37, f"with cells=37 the density is asked at {sum(seen)} points; expected 37"


# Gaussian


def correlated(rng, n=40, d=4):
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * np.geomspace(2, 0.5, d) @ turn + rng.normal(3, 1, d)


def gaussian_log(x, mean, cov):
    d = x - mean
    log_det = np.linalg.slogdet(cov)[1]
    return -0.5 * ((d * np.linalg.solve(cov, d.T).T).sum(1) + log_det + x.shape[1] * LOG_2PI)


@pytest.mark.hole("Gaussian.fit", kind="value")
def test_gaussian_fit(lesson, rng):
    for ridge in (0.0, 0.3):
        x = correlated(rng)
        g = lesson.Gaussian(ridge=ridge)
        back = untouched(lambda g=g, x=x: g.fit(x), x)
        assert back is g, "fit gives the Gaussian itself: return self"
        must_have_shape(g.mean, (4,), "self.mean", "one number for each column")
        must_have_shape(g.cov, (4, 4), "self.cov", "D x D, the columns with each other")
        must_be(g.mean, x.mean(0), {"the mean is over everything: axis=0": np.full(4, x.mean()),
                                    "self.mean is the median: that is not the likeliest": np.median(x, 0)},
                "self.mean is not the mean of the rows")  # fmt: skip
        c = x - x.mean(0)
        cov, n, eye = c.T @ c / len(x), len(x), np.eye(4)
        must_be(
            g.cov,
            cov + ridge * eye,
            {
                "cov is divided by N - 1 (np.cov does that): unbiased, but maximum likelihood divides by N":
                    cov * n / (n - 1) + ridge * eye,
                "the rows were not centred: cov is E[x x^T]": x.T @ x / n + ridge * eye,
                "only the diagonal of cov is there: the columns vary together": np.diag(np.diag(cov)) + ridge * eye,
                "cov is not divided by N": c.T @ c + ridge * eye,
                "ridge is missing on the diagonal": cov,
                "ridge was added to ALL entries; expected the diagonal": cov + ridge,
                "ridge^2 was added: ridge is a variance already": cov + ridge**2 * eye,
                "cov was multiplied by ridge": cov * ridge,
            },
            "self.cov is not (1/N) sum (x - mean)(x - mean)^T + ridge I",
        )  # fmt: skip
    images = rng.random((30, 2, 3)).astype(np.float32)
    g = lesson.Gaussian(ridge=0.1).fit(images)
    assert np.shape(g.mean) == (6,) and np.shape(g.cov) == (6, 6), (
        "images (N, H, W) are to become rows: rows(x)"
    )
    one = lesson.Gaussian().fit(rng.normal(size=9))
    assert np.shape(one.cov) == (1, 1), f"for numbers (N,) cov is (1, 1), found {np.shape(one.cov)}: rows(x)"


@pytest.mark.hole("Gaussian.fit", kind="gradient")
def test_likelihood_is_level_at_the_fit(lesson, rng):
    x = correlated(rng)
    g = lesson.Gaussian().fit(x)
    mean, cov = numbers(g.mean), numbers(g.cov)
    best = gaussian_log(x, mean, cov).mean()
    for _ in range(10):
        way, turn, h = rng.normal(size=4), rng.normal(size=(4, 4)), 1e-5
        for name, plus, minus in (
            ("the mean", (mean + h * way, cov), (mean - h * way, cov)),
            ("the covariance", (mean, cov + h * (turn + turn.T)), (mean, cov - h * (turn + turn.T))),
        ):
            slope = (gaussian_log(x, *plus).mean() - gaussian_log(x, *minus).mean()) / (2 * h)
            assert abs(slope) < 1e-4 * (1 + abs(best)), (
                f"the likelihood of the data still rises with slope {slope:.3g} if {name} is moved: at its maximum "
                "all slopes are 0"
            )


@pytest.mark.hole("Gaussian.log_prob", kind="value")
def test_gaussian_log_prob(lesson, rng):
    for d in (1, 4):
        g = lesson.Gaussian()
        root = rng.normal(size=(d, d))
        g.mean, g.cov = rng.normal(size=d), root @ root.T + 0.2 * np.eye(d)
        x = rng.normal(0, 2, (9, d))
        found = untouched(lambda g=g, x=x: g.log_prob(x), x, g.mean, g.cov)
        must_have_shape(found, (9,), f"log_prob of 9 rows of {d}", "one number for each row")
        wanted = gaussian_log(x, g.mean, g.cov)
        log_det, delta = np.linalg.slogdet(g.cov)[1], x - g.mean
        squares = (delta * np.linalg.solve(g.cov, delta.T).T).sum(1)
        must_be(
            found,
            wanted,
            {
                "the normaliser is missing: log det cov and D log 2 pi": -0.5 * squares,
                "D log 2 pi is missing: the density does not integrate to 1": wanted + d / 2 * LOG_2PI,
                "log 2 pi is there once; expected D times": wanted + (d - 1) / 2 * LOG_2PI,
                "log det cov is missing": wanted + log_det / 2,
                "log det cov has the wrong sign": wanted + log_det,
                "log det cov is not halved: half of it is sum log L_ii": wanted - log_det / 2,
                "sum log L_ii was halved once more: it is half of log det cov already": wanted + log_det / 4,
                "the squares are not halved": wanted - squares / 2,
                "this is p itself; expected its logarithm": np.exp(wanted),
                "the sign: log_prob is log p, not minus log p": -wanted,
                "only the diagonal of cov is used: the columns vary together":
                    gaussian_log(x, g.mean, np.diag(np.diag(g.cov))),
                "x was not centred on the mean": gaussian_log(x, 0 * g.mean, g.cov),
                "u = L^-1 d was taken with L transposed: cov = L L^T, lower triangle first":
                    -0.5 * np.square(np.linalg.solve(np.linalg.cholesky(g.cov).T, delta.T)).sum(0)
                    - 0.5 * (log_det + d * LOG_2PI),
                "the squares were formed with cov, not with its inverse":
                    -0.5 * ((delta @ g.cov * delta).sum(1) + log_det + d * LOG_2PI),
            },
            f"log_prob differs from the formula by up to {np.abs(numbers(found) - wanted).max():.4g} nats",
            rtol=1e-6,
        )  # fmt: skip


@pytest.mark.hole("Gaussian.log_prob", kind="value")
def test_gaussian_of_many_small_pixels(lesson, rng):
    d = 400
    g = lesson.Gaussian()
    g.mean, g.cov = np.full(d, 0.5), 1e-4 * np.eye(d)
    x = g.mean + 0.01 * rng.normal(size=(3, 20, 20)).reshape(3, d)
    found, said = quietly(lambda: g.log_prob(x.reshape(3, 20, 20)))
    must_have_shape(found, (3,), "log_prob of images (3, 20, 20)", "rows(x) makes each image a row")
    assert np.isfinite(found).all() and not said, (
        f"with {d} pixels of variance 1e-4 log_prob is {found}: det cov underflows to 0; the sum of log L_ii does not "
        "(np.linalg.cholesky), nor does np.linalg.slogdet"
    )
    wanted = gaussian_log(x, g.mean, g.cov)
    assert near(found, wanted, 1e-6), f"log_prob of {d} pixels is {found}; expected {wanted}"
    assert wanted.min() > 0, "these densities are above 1"


@pytest.mark.hole("Gaussian.sample", kind="step")
def test_gaussian_samples(lesson, rng):
    g, n = lesson.Gaussian(), 20_000
    g.mean, g.cov = (
        np.array([2.0, -1.0, 0.5]),
        np.array([[4.0, 1.2, 0.3], [1.2, 1.0, -0.4], [0.3, -0.4, 0.5]]),
    )
    L = np.linalg.cholesky(g.cov)
    x = untouched(lambda: g.sample(n, rng), g.mean, g.cov)
    must_have_shape(x, (n, 3), f"sample({n}) of three numbers", "one row for each")
    mean, cov = x.mean(0), np.cov(x.T)
    assert (np.abs(mean - g.mean) < 5 * np.sqrt(np.diag(g.cov).max() / n) + 1e-9).all(), (
        f"the samples' mean is {np.round(mean, 2)}, that of the Gaussian {g.mean}: add the mean"
    )
    error = np.sqrt((np.outer(np.diag(g.cov), np.diag(g.cov)) + g.cov**2) / n)
    likely = {
        "e was multiplied by cov instead of its root L": g.cov @ g.cov,
        "L is the wrong way round: rows of e want L TRANSPOSED, e @ L.T": L.T @ L,
        "the noise is not scaled by L": np.eye(3),
        "only the standard deviations were used: the columns vary together": np.diag(np.diag(g.cov)),
        "one number is shared by all columns": np.outer(np.sqrt(np.diag(g.cov)), np.sqrt(np.diag(g.cov))),
        "the variances were used as standard deviations": np.diag(np.diag(g.cov) ** 2),
        "every sample is the same": np.zeros((3, 3)),
    }
    if (np.abs(cov - g.cov) > 6 * error).any():
        far = {says: np.abs(cov - other).max() / (1 + np.abs(other).max()) for says, other in likely.items()}
        why = min(far, key=far.get)
        why = why if far[why] < 0.08 else "the samples vary otherwise than cov says"
        pytest.fail(f"{why}; found {np.round(cov, 2).tolist()}")
    fourth = ((np.linalg.solve(L, (x - g.mean).T) ** 4).mean(1)).round(2)
    assert (np.abs(fourth - 3) < 0.5).all(), (
        f"the samples have the right covariance, but are not normal (fourth moments {fourth}, expected 3)"
    )
    elsewhere = lesson.Gaussian()
    elsewhere.mean, elsewhere.cov = g.mean + 100, g.cov
    must_draw_anew(g, elsewhere, rng)


# Bernoulli


@pytest.mark.hole("Bernoulli.fit", kind="value")
def test_bernoulli_fit(lesson, rng):
    for extra in (0.0, 0.5, 2.0):
        x = rng.random((12, 2, 3)) * rng.random((2, 3))
        x[:, 0, 0] = 0
        model = lesson.Bernoulli(extra=extra)
        back = untouched(lambda m=model, x=x: m.fit(x), x)
        assert back is model, "fit gives the model itself: return self"
        ones, n = x.reshape(12, 6).sum(0), 12
        must_have_shape(
            model.p, (6,), "self.p for images of 2 x 3", "one chance for each pixel, over the images"
        )
        must_be(
            model.p,
            (ones + extra) / (n + 2 * extra),
            {
                "extra is missing: a pixel that was 0 in training would be impossible": ones / n,
                "extra was added above but not below: N + 2 extra": (ones + extra) / n,
                "extra is there once below; it was added to the zeros too: N + 2 extra": (ones + extra) / (n + extra),
                "grey pixels were cut at a half: they count as the part of a one that they are":
                    ((x.reshape(12, 6) > 0.5).sum(0) + extra) / (n + 2 * extra),
                "1/2 was added, not self.extra": (ones + 0.5) / (n + 1),
                "1 was added, not self.extra": (ones + 1) / (n + 2),
                "one chance for all pixels: sum over the images only (axis=0)":
                    np.full(6, (ones.mean() + extra) / (n + 2 * extra)),
                "these are the chances of a 0": 1 - (ones + extra) / (n + 2 * extra),
            },
            f"self.p is {numbers(model.p).tolist()}; expected (ones + extra) / (N + 2 extra) = "
            f"{((ones + extra) / (n + 2 * extra)).tolist()}, extra = {extra}",
        )  # fmt: skip
    default = lesson.Bernoulli().fit(np.zeros((4, 3)))
    assert (numbers(default.p) > 0).all(), (
        "a pixel that was never 1 has chance 0: a test image with it costs infinity"
    )


@pytest.mark.hole("Bernoulli.fit", kind="invariant")
def test_bernoulli_fit_is_likeliest(lesson, rng):
    x = (rng.random((40, 5)) < 0.3).astype(np.uint8)
    x[0], x[1] = 0, 1
    p = numbers(lesson.Bernoulli(extra=0).fit(x).p)

    def score(p):
        return (x * np.log(p) + (1.0 - x) * np.log(1 - p)).sum(1).mean()

    for _ in range(20):
        other = np.clip(p + rng.normal(0, 0.05, 5), 1e-3, 1 - 1e-3)
        assert score(other) <= score(p), "with extra = 0 other chances make the data likelier than self.p"


@pytest.mark.hole("Bernoulli.log_prob", kind="value")
def test_bernoulli_log_prob(lesson, rng):
    model = lesson.Bernoulli()
    model.p = rng.uniform(0.05, 0.95, 6)
    for x in ((rng.random((8, 2, 3)) < 0.4).astype(np.float32), rng.random((8, 6)), rng.random((8, 6)) < 0.5):
        r = numbers(x).reshape(8, 6)
        parts = r * np.log(model.p) + (1 - r) * np.log(1 - model.p)  # (8, 6)
        found = untouched(lambda x=x: model.log_prob(x), x, model.p)
        must_have_shape(found, (8,), f"log_prob of {x.shape} pixels", "one number for each image")
        must_be(
            found,
            parts.sum(1),
            {
                "the MEAN over the pixels was taken: the log-probability of an image is the sum": parts.mean(1),
                "the pixels that are 0 are forgotten: they have a probability too, 1 - p_j":
                    (r * np.log(model.p)).sum(1),
                "this is minus log p": -parts.sum(1),
                "this is p itself; expected its logarithm (of 784 pixels p is 1e-90)": np.exp(parts.sum(1)),
                "the logarithm is to base 2; expected nats": parts.sum(1) / math.log(2),
                "the squared error is no likelihood": -np.square(r - model.p).sum(1),
                "grey pixels were cut at a half: the formula takes them as they are":
                    np.where(r > 0.5, np.log(model.p), np.log(1 - model.p)).sum(1),
                "the logarithm is to be taken before x_j and 1 - x_j mix: this is log of a mean, not mean of logs":
                    np.log(r * model.p + (1 - r) * (1 - model.p)).sum(1),
                "p and 1 - p changed places": (r * np.log(1 - model.p) + (1 - r) * np.log(model.p)).sum(1),
            },
            "log_prob is not sum_j x_j log p_j + (1 - x_j) log(1 - p_j)",
        )  # fmt: skip


@pytest.mark.hole("Bernoulli.log_prob", kind="invariant")
def test_bernoulli_sums_to_one(lesson, rng):
    model = lesson.Bernoulli()
    model.p = rng.uniform(0.05, 0.95, 8)
    everything = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(np.float64)
    total = float(np.exp(numbers(model.log_prob(everything))).sum())
    assert abs(total - 1) < 1e-9, f"p(x) over all 256 images of 8 pixels sums to {total:.8g}; it must be 1"
    model.p = np.full(784, 0.01)
    found, said = quietly(lambda: model.log_prob(np.ones((2, 28, 28))))
    assert np.allclose(found, 784 * math.log(0.01)) and not said, (
        f"784 pixels of chance 0.01, all 1, cost {found} nats; expected {784 * math.log(0.01):.1f}: their product "
        "underflows, sum logarithms"
    )


# KernelDensity


def kernel_log(x, data, width):
    squares = np.square(x[:, None] - data).sum(-1)
    d = x.shape[1]
    return np.logaddexp.reduce(-squares / (2 * width**2), axis=1) - math.log(len(data)) - d / 2 * (
        LOG_2PI + 2 * math.log(width)
    )  # fmt: skip


@pytest.mark.hole("KernelDensity.log_prob", kind="value")
def test_kernel_log_prob(lesson, rng):
    for m, d, width in ((11, 3, 0.7), (5, 1, 0.3), (1, 4, 1.6)):
        data, x = rng.normal(size=(m, d)), rng.normal(size=(8, d))
        model = lesson.KernelDensity(data, width)
        found = untouched(lambda model=model, x=x: model.log_prob(x), x, model.x)
        must_have_shape(found, (8,), f"log_prob of 8 rows, {m} data points", "one number for each row of x")
        wanted = kernel_log(x, data, width)
        scale = LOG_2PI + 2 * math.log(width)
        squares = np.square(x[:, None] - data).sum(-1)
        one = -squares / (2 * width**2) - d / 2 * scale
        must_be(
            found,
            wanted,
            {
                "log M is missing: the M kernels integrate to M together": wanted + math.log(m),
                "the normaliser of the kernels is missing, D/2 log(2 pi width^2)": wanted + d / 2 * scale,
                "the normaliser is that of one dimension: expected D times it": wanted + (d - 1) / 2 * scale,
                "the normaliser is not halved": wanted - d / 2 * scale,
                "the normaliser lacks 2 pi": wanted + d / 2 * LOG_2PI,
                "the normaliser lacks the width": wanted + d * math.log(width),
                "the normaliser takes width for a variance": wanted + d / 2 * math.log(width),
                "the mean of the kernels' logarithms was taken; expected the log of the mean of the kernels":
                    one.mean(1),
                "the logs of the kernels were summed; the kernels are to be added, then the log": one.sum(1),
                "only the nearest data point counts: add all kernels": one.max(1),
                "the squared distances are divided by width^2, without the 2":
                    np.logaddexp.reduce(-squares / width**2, axis=1) - math.log(m) - d / 2 * scale,
                "the squared distances are divided by 2 width: the variance is width^2":
                    np.logaddexp.reduce(-squares / (2 * width), axis=1) - math.log(m) - d / 2 * scale,
                "distances were not squared":
                    np.logaddexp.reduce(-np.sqrt(squares) / (2 * width**2), axis=1) - math.log(m) - d / 2 * scale,
                "this is p itself; expected its logarithm": np.exp(wanted),
                "this is minus log p": -wanted,
                "each row of x is compared with itself somewhere: the data are self.x":
                    kernel_log(x, x, width),
            },
            f"log_prob differs by up to {np.abs(numbers(found) - wanted).max():.4g} nats from "
            "log (1/M) sum_m N(x; x_m, width^2 I)",
            rtol=1e-6,
        )  # fmt: skip


@pytest.mark.hole("KernelDensity.log_prob", kind="invariant")
def test_kernels_integrate_to_one(lesson, rng):
    model = lesson.KernelDensity(rng.normal(size=7), 0.4)
    grid = np.linspace(-9, 9, 3000)
    total = float(np.exp(numbers(model.log_prob(grid))).sum() * (grid[1] - grid[0]))
    assert abs(total - 1) < 1e-6, (
        f"over 3000 points the density integrates to {total:.6g}; it must be 1 (are all blocks of rows there?)"
    )
    data, x = rng.random((40, 5, 5)), rng.random((30, 5, 5))
    model = lesson.KernelDensity(data, 0.5)
    whole = numbers(model.log_prob(x))
    for block in (1, 7, 30, 100):
        assert near(model.log_prob(x, block=block), whole), (
            f"log_prob of 30 images changes with block={block}: the blocks together are all rows, the last one may be "
            "smaller"
        )
    alone = np.concatenate([model.log_prob(x[i : i + 1]) for i in range(30)])
    assert near(alone, whole), "log_prob of an image depends on the other images"


@pytest.mark.hole("KernelDensity.log_prob", kind="value")
def test_kernels_far_away(lesson, rng):
    model = lesson.KernelDensity(rng.normal(size=(6, 784)), 0.1)
    x = rng.normal(size=(3, 784))
    found, said = quietly(lambda: model.log_prob(x))
    assert np.isfinite(found).all() and not said, (
        f"784 numbers away from the data log_prob is {found}: every kernel underflows to exp(-70000) = 0; keep the "
        "logarithms (np.logaddexp.reduce), or take the largest out first"
    )
    assert near(found, kernel_log(x, model.x, 0.1), 1e-6), "far from the data log_prob is wrong"


@pytest.mark.hole("KernelDensity.sample", kind="step")
def test_kernel_samples(lesson, rng):
    data, width, n = np.array([[0.0, 10.0], [50.0, -10.0], [100.0, 30.0], [150.0, 0.0]]), 1.5, 20_000
    model = lesson.KernelDensity(data, width)
    x = untouched(lambda: model.sample(n, rng), model.x)
    must_have_shape(x, (n, 2), f"sample({n}) of two numbers", "one row for each")
    nearest = np.square(x[:, None] - data).sum(-1).argmin(1)
    shares = np.bincount(nearest, minlength=4) / n
    assert (np.abs(shares - 0.25) < 6 * math.sqrt(0.25 * 0.75 / n)).all(), (
        f"of four data points each should be drawn in a quarter of the samples; found shares {np.round(shares, 3)}"
    )
    noise = x - data[nearest]
    assert np.abs(noise).max() > 0, "the samples are the data again: add noise of the kernels' width"
    spread = float(noise.std())
    likely = {
        "width is the standard deviation, not the variance": math.sqrt(width),
        "the noise was scaled by width^2: width is the standard deviation": width**2,
        "the noise is not scaled by width": 1.0,
    }
    why = next((says for says, s in likely.items() if abs(spread - s) < 0.05), "the noise has a wrong scale")
    assert abs(spread - width) < 0.06, (
        f"{why}: around the data the samples spread by {spread:.3f}, expected {width}"
    )
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05, (
        "the columns of a sample share their noise: draw n x D numbers"
    )
    assert abs(((noise / spread) ** 4).mean() - 3) < 0.3, "the noise is not normal"
    assert len(np.unique(noise.round(9), axis=0)) > 0.99 * n, (
        "samples share their noise: draw it for each of them"
    )
    must_draw_anew(model, lesson.KernelDensity(data + 1000, width), rng)


# choose_width


@pytest.mark.hole("choose_width", kind="value")
def test_width_is_chosen_on_validation(lesson, rng):
    few, many = [0.2, 0.4, 0.8, 2.0, 5.0, 50.0], [0.01, 0.05, 0.2, 0.4, 0.8, 2.0, 5.0]
    for widths, scale in ((few, 1), (many, 1), (few, 7)):
        train, validation = rng.normal(0, scale, (40, 2)), rng.normal(0, scale, (60, 2))
        order = (scale * rng.permutation(widths)).tolist()
        scores = {w: kernel_log(validation, train, w) for w in order}
        mean = {w: s.mean() for w, s in scores.items()}
        back = {w: kernel_log(train, validation, w).mean() for w in order}
        best = max(mean, key=mean.get)
        found = lesson.choose_width(train, validation, order)
        assert found in order, f"choose_width gives {found}; expected one of the widths {order}"
        why = {
            "the width with the LOWEST log_prob was chosen; the likeliest is the largest": min(mean, key=mean.get),
            "the narrowest width was chosen: that is what the TRAINING data want, each lies on a kernel of its own; or "
            "an average of p instead of log p": min(widths),
            "the widest was chosen": max(widths),
            "it has the largest average of p instead of log p": max(scores, key=lambda w: np.exp(scores[w]).mean()),
            "train and validation changed places: kernels stand on the training rows": max(back, key=back.get),
        }  # fmt: skip
        why = next((says for says, width in why.items() if width == found), "not the likeliest width")
        assert found == best, (
            f"{why}; width {found} gives the validation data {mean[found]:.4f} nats on average, width {best} "
            f"{mean[best]:.4f}"
        )


@pytest.mark.hole("choose_width", kind="invariant")
def test_every_validation_row_counts(lesson, rng):
    train = rng.normal(size=(50, 1))
    validation = np.concatenate([rng.normal(0, 0.1, (95, 1)), np.full((5, 1), 8.0)])  # five far away
    widths = [0.15, 0.4, 1.0, 1.6, 4.0]
    scores = [kernel_log(validation, train, w) for w in widths]
    by_mean, by_p = (int(np.argmax([f(s) for s in scores])) for f in (np.mean, lambda s: np.exp(s).mean()))
    by_median = int(np.argmax([np.median(s) for s in scores]))
    found = widths.index(lesson.choose_width(train, validation, widths))
    assert found == by_mean or found not in (by_p, by_median), (
        f"width {widths[found]} suits most validation rows, and gives five of them {scores[found][-1]:.0f} nats each: "
        f"take the mean of log p (not an average of p instead of log p, not the median); then {widths[by_mean]} is best"
    )
    assert found == by_mean, (
        f"width {widths[found]} was chosen; by the mean of log_prob it is {widths[by_mean]}"
    )


# kl


@pytest.mark.hole("kl", kind="value")
def test_kl_of_tables(lesson, rng):
    for cell in (1.0, 0.1):
        p, q = (rng.dirichlet(np.ones(9)) / cell for _ in "pq")
        found = lesson.kl(np.log(p), np.log(q), cell) if cell != 1 else lesson.kl(np.log(p), np.log(q))
        assert np.ndim(found) == 0, f"kl gives an array of shape {np.shape(found)}; expected one number"
        wanted = (p * (np.log(p) - np.log(q)) * cell).sum()
        must_be(
            found,
            wanted,
            {
                "this is KL(q || p): the average is over p, the first argument": (q * np.log(q / p) * cell).sum(),
                "this is minus KL: log p - log q, in this order": -wanted,
                "cell is forgotten: p is a density, p times cell is the probability of a cell": wanted / cell,
                "the logarithms were averaged without p: each cell counts by its p": (np.log(p / q) * cell).sum(),
                "the mean over the cells was taken; expected the sum": wanted / 9,
                "log p was taken for p: take its exponential": (np.log(p) * (np.log(p) - np.log(q)) * cell).sum(),
                "this is the cross-entropy, E_p[-log q]: log p is missing": -(p * np.log(q) * cell).sum(),
                "the average of both directions is another divergence":
                    0.5 * (wanted + (q * np.log(q / p) * cell).sum()),
                "the logarithm is to base 2; expected nats": wanted / math.log(2),
            },
            f"KL is {float(found):.6g}; expected sum p (log p - log q) cell = {wanted:.6g}",
        )  # fmt: skip


@pytest.mark.hole("kl", kind="value")
def test_kl_where_a_probability_is_zero(lesson, rng):
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    p[2] = 0
    p /= p.sum()
    with np.errstate(divide="ignore"):
        log_p, log_q = np.log(p), np.log(q)
    found, said = quietly(lambda: lesson.kl(log_p, log_q))
    some = p > 0
    wanted = (p[some] * np.log(p[some] / q[some])).sum()
    assert not np.isnan(found), "where p is 0, KL became NaN (0 times -inf): such a cell adds nothing"
    assert near(found, wanted, 1e-6), (
        f"with a cell where p is 0, KL is {float(found):.6g}; expected {wanted:.6g}"
    )
    assert not said, f"NumPy warned ({said[0]}): leave the cells with p = 0 out"
    found, _ = quietly(lambda: lesson.kl(log_q, log_p))
    assert found == np.inf, (
        f"KL(q || p) with p = 0 where q is not is {found}; expected infinity: p calls impossible what happens"
    )
    log_q[2] = -np.inf  # both 0 there
    found, _ = quietly(lambda: lesson.kl(log_p, log_q))
    assert near(found, wanted, 1e-6), (
        f"where both are 0 a cell adds nothing; KL is {found}, expected {wanted:.6g}"
    )


@pytest.mark.hole("kl", kind="invariant")
def test_likeliest_is_nearest(lesson, rng):
    data = rng.binomial(9, rng.uniform(0.2, 0.8), 60)
    counts = np.bincount(data, minlength=10) / 60
    with np.errstate(divide="ignore"):
        log_p = np.log(counts)
    choose = np.array([math.comb(9, i) for i in range(10)])
    grid = np.linspace(0.05, 0.95, 91)
    models = [np.log(choose) + np.arange(10) * np.log(t) + (9 - np.arange(10)) * np.log(1 - t) for t in grid]
    nll = np.array([-log_q[data].mean() for log_q in models])
    distance = np.array([quietly(lambda q=q: lesson.kl(log_p, q))[0] for q in models])
    assert np.argmin(distance) == np.argmin(nll), (
        f"the likeliest parameter is {grid[np.argmin(nll)]:.2f}, of smallest KL {grid[np.argmin(distance)]:.2f}: "
        "they are the same, since KL(data || model) = -mean log p - entropy of the data"
    )
    assert np.ptp(distance - nll) < 1e-9, (
        "KL and minus the mean log-likelihood differ by more than a constant"
    )
    assert abs(lesson.kl(models[3], models[3])) < 1e-12, "KL(p || p) must be 0"
    assert distance.min() > -1e-12, f"KL is never negative; found {distance.min():.4g}"


# posterior


@pytest.mark.hole("posterior", kind="value")
def test_posterior_value(lesson, rng):
    k, n = 4, 7
    logs, shares = rng.normal(-3, 1.5, (k, n)), rng.dirichlet(np.full(k, 0.7)) * 0.96 + 0.01
    densities = [SimpleNamespace(log_prob=lambda x, row=row: row[np.asarray(x, int)]) for row in logs]
    x = np.arange(n)
    found = lesson.posterior(densities, shares, x)
    joint = np.exp(logs.T) * shares
    wanted = joint / joint.sum(1, keepdims=True)
    if np.shape(found) == (k, n):
        pytest.fail(
            f"posterior has shape {(k, n)}, classes first; expected (N, K) = {(n, k)}: stack along axis 1"
        )
    must_have_shape(found, (n, k), f"posterior of {n} rows and {k} classes", "(N, K)")
    flat = np.exp(logs.T)
    must_be(
        found,
        wanted,
        {
            "the shares of the classes are forgotten: p(x|c) p(c)": flat / flat.sum(1, keepdims=True),
            "the rows do not sum to 1: divide by the sum over the classes": joint,
            "these are logarithms; expected probabilities": np.log(wanted),
            "these are log p(x|c) + log p(c), not yet normalised": np.log(joint),
            "the columns sum to 1; expected the rows: normalise over the classes of each x":
                joint / joint.sum(0, keepdims=True),
            "shares were added to log p(x|c); their logarithm is what belongs there":
                np.exp(logs.T + shares) / np.exp(logs.T + shares).sum(1, keepdims=True),
            "log shares were subtracted": (flat / shares) / (flat / shares).sum(1, keepdims=True),
            "these are ones and zeros: the choice of a class comes later, p(c|x) is wanted":
                (wanted == wanted.max(1, keepdims=True)).astype(float),
        },
        "the result is not p(x|c) p(c) / sum over c",
    )  # fmt: skip


@pytest.mark.hole("posterior", kind="value")
def test_posterior_of_tiny_likelihoods(lesson, rng):
    logs = rng.normal(-2000, 3, (3, 5)) + rng.permutation(
        np.linspace(-1500, 1500, 5)
    )  # images far from each other
    densities = [SimpleNamespace(log_prob=lambda x, row=row: row) for row in logs]
    for shift in (0, 4000):
        moved = [SimpleNamespace(log_prob=lambda x, d=d, s=shift: d.log_prob(x) + s) for d in densities]
        found, said = quietly(lambda m=moved: lesson.posterior(m, [1 / 3] * 3, np.zeros((5, 2))))
        wanted = np.exp(logs.T - logs.max(0)[:, None])
        wanted /= wanted.sum(1, keepdims=True)
        assert np.isfinite(found).all() and not said, (
            f"log p(x|c) around {shift - 2000} gives NaN or warnings: exp under- or overflows; subtract the row's "
            "np.logaddexp.reduce BEFORE exp"
        )
        assert near(found, wanted, 1e-6), "log p(x|c) around -2000 is handled wrongly"
