"""Checks of e16: what a model answers, what a few seeds can tell, and what samples are like."""

# ruff: noqa: PT018  (one assertion, one message, one thing that is wrong)

import contextlib
import itertools
import math
import warnings

import numpy as np
import pytest

from minigen import Tensor, grad, ops

QUERIES = ("log_prob", "elbo", "encode", "sample")
TABLE = {
    (0.95, 1): 12.706,
    (0.95, 2): 4.303,
    (0.95, 4): 2.776,
    (0.9, 9): 1.833,
    (0.99, 4): 4.604,
    (0.99, 30): 2.750,
}


@contextlib.contextmanager
def told(what, cause):
    """An exception of the learner's code is told with its likely cause"""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of 0 / 0: the assertion says it better
            yield
    except (AssertionError, NotImplementedError):
        raise
    except Exception as error:
        says = f"{what} raised {type(error).__name__} ({str(error)[:160]}): {cause}"
        raise AssertionError(says).with_traceback(error.__traceback__) from None


def near(a, b, rtol=1e-7):
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=rtol, atol=1e-12, equal_nan=False)


def likely(found, causes, otherwise, rtol=1e-6):
    """Fail with the cause whose wrong value was found"""
    for cause, value in causes.items():
        if near(np.asarray(found, float), np.asarray(value, float), rtol):
            pytest.fail(cause)
    pytest.fail(otherwise)


def a_number(value, what):
    """A float, or what can stand for one"""
    assert isinstance(value, int | float | np.floating | np.integer), (
        f"{what} gives a {type(value).__name__} {np.shape(value)}; expected one number"
    )
    return float(value)


def a_count(value, what):
    """A whole number, whatever type of number it came as"""
    number = a_number(value, what)
    return int(number) if number.is_integer() else number


def a_text(value, what):
    """A text that is nothing but a text"""
    assert type(value) in (str, np.str_), f"{what} gives a {type(value).__name__}; expected one of its texts"
    return value


def method(self, *args, **kwargs):
    raise RuntimeError("nobody asked me: to see whether a method is there, it need not be called")


def model(names, **extra):
    """A class that has the methods `names`"""
    return type("Model", (), dict.fromkeys(names, method) | extra)


def subsets():
    for size in range(5):
        yield from itertools.combinations(QUERIES, size)


# answers


@pytest.mark.hole("answers", kind="value")
def test_answers_are_read_off_the_class(lesson, rng):
    for names in subsets():
        kind = model(names, fit=method, score=3)
        for one in (kind, kind()):
            with told(
                f"answers of a class with {names}",
                "it need not be called: getattr, and callable() of what is found",
            ):
                found = lesson.answers(one)
            assert isinstance(found, dict) and list(found) == list(QUERIES), (
                f"answers gives {found!r}; expected a dict with the keys {', '.join(QUERIES)}, in this order"
            )
            for query in QUERIES:
                assert isinstance(found[query], bool), (
                    f"answers[{query!r}] is a {type(found[query]).__name__}; expected True or False"
                )
                assert found[query] is (query in names), (
                    f"a {'model' if one is not kind else 'class'} with the methods {names or 'none'}: answers says "
                    f"{query}: {found[query]}; read it off the class that you are given, not off a list of models"
                )


@pytest.mark.hole("answers", kind="invariant")
def test_answers_inherited_and_taken_back(lesson, rng):
    parent = model(QUERIES)
    child = type("Child", (parent,), {})
    assert all(lesson.answers(child).values()), (
        "a class that INHERITS its methods is said not to have them: vars() and __dict__ see only what is "
        "written in the "
        "class itself; getattr sees all"
    )
    without = type("Without", (parent,), {"elbo": None, "log_prob": None})
    found = lesson.answers(without)
    assert not found["elbo"] and not found["log_prob"], (
        "`elbo = None` takes a method back, yet answers says yes: that a name exists (hasattr) is not enough, "
        "callable()"
    )
    assert found["sample"], "sample, which is inherited, was lost beside `elbo = None`"
    assert not lesson.answers(model((), sample=7, encode="no"))["sample"], (
        "a number under the name `sample` answers no question: ask callable()"
    )


# branch


@pytest.mark.hole("branch", kind="value")
def test_branch_of_every_combination(lesson, rng):
    for names in subsets():
        if "sample" not in names:
            wanted = "no generative model"
        elif "log_prob" in names:
            wanted = "explicit, tractable"
        else:
            wanted = "explicit, approximate" if "elbo" in names else "implicit"
        kind = model(names)
        for one in (kind, kind()):
            with told(f"branch of a model with {names}", "ask answers(model), then sort"):
                found = a_text(lesson.branch(one), "branch")
            if found == wanted:
                continue
            if "sample" not in names:
                pytest.fail(
                    f"without `sample` ({', '.join(names) or 'no method'}) branch says {found!r}: what cannot be drawn "
                    "from is no generative model, whatever else it tells"
                )
            if {"log_prob", "elbo"} <= set(names):
                pytest.fail(
                    f"a model with log_prob AND elbo is {found!r}: who knows log p(x) itself is tractable, a "
                    f"bound beside "
                    "it takes nothing away"
                )
            if "encode" in names and not {"log_prob", "elbo"} & set(names):
                pytest.fail(
                    f"encode and sample alone make it {found!r}: a code is no density, so the density stays implicit"
                )
            pytest.fail(f"a model with {', '.join(names)} is {found!r}; expected {wanted!r}")


# longest_chain


def chain_of(x, n):
    for i in range(n):
        x = ops.tanh(x) if i % 2 else x * 1.5
    return x


@pytest.mark.hole("longest_chain", kind="value")
def test_chain_lengths(lesson, rng):
    x, w = (Tensor(rng.normal(size=3), requires_grad=True) for _ in range(2))
    n, short = int(rng.integers(5, 12)), int(rng.integers(1, 4))
    array = rng.normal(size=3)
    split = ops.exp(x)
    tree = [ops.square(x) for _ in range(8)]
    while len(tree) > 1:
        tree = [a + b for a, b in zip(tree[::2], tree[1::2], strict=True)]
    cases = {
        "a leaf, which no operation made": (x, 0, "a leaf has length 0: count operations, not Tensors"),
        "one operation": (ops.exp(x), 1, "one operation after a leaf is a chain of 1"),
        f"{n} operations in a row": (chain_of(x, n), n, "each operation counts one"),
        "a long path first, a short one second": (
            chain_of(x, n) + chain_of(w, short), n + 1, "the LONGEST of the arguments' paths counts"),
        "a short path first, a long one second": (
            chain_of(x, short) + chain_of(w, n), n + 1, "all arguments count, not the first alone"),
        "an array before the Tensor": (array * chain_of(x, n), n + 1, "arrays among the arguments are leaves"),
        "a Tensor that is used twice": (split * ops.tanh(split), 3, "exp, tanh, mul: the two uses are one path each"),
        "eight squares added in pairs": (
            tree[0], 4, "a square and three additions wait for each other; the others run beside them (it is not the "
            "number of all operations)"),
    }  # fmt: skip
    for what, (y, wanted, cause) in cases.items():
        with told(
            f"longest_chain of {what}", "go from a Tensor to the Tensors among y.args; of a leaf y.op is None"
        ):
            found = a_count(lesson.longest_chain(y), "longest_chain")
        assert found == wanted, f"{what}: longest_chain says {found}, expected {wanted}: {cause}"


class Node(Tensor):
    """A Tensor of a graph that was never computed, and that counts how often its arguments are read"""

    def __init__(self, reads, *inputs):
        super().__init__(np.zeros(()))
        self.inputs, self.reads = inputs, reads

    @property
    def op(self):
        return "op" if self.inputs else None

    @property
    def args(self):
        self.reads[0] += 1
        assert self.reads[0] < 20_000, (
            "a graph of 60 Tensors, each used twice by the next: after 20,000 steps longest_chain is still "
            "walking. Keep "
            "the length of every Tensor that you have seen, and never walk it again"
        )
        return self.inputs


@pytest.mark.hole("longest_chain", kind="step")
def test_each_tensor_is_walked_once(lesson, rng):
    reads = [0]
    y = Node(reads)
    for _ in range(60):
        y = Node(reads, y, y)
    with told("longest_chain of 60 diamonds", "y.args are the inputs of y"):
        found = a_count(lesson.longest_chain(y), "longest_chain")
    assert found == 60, f"60 operations, each fed twice by the one before: found {found}, expected 60"
    a = Node(reads)
    b = Node(reads, a)
    skip = Node(reads, a, b)  # reached early by the short way, late by the long one
    end = Node(reads, Node(reads, skip), Node(reads, Node(reads, Node(reads, skip))))
    found = a_count(lesson.longest_chain(end), "longest_chain")
    assert found == 6, (
        f"a Tensor that is reached by a short way and by a long one: found {found}, expected 6: its length is "
        f"known only "
        "when ALL its arguments' are"
    )


@pytest.mark.hole("longest_chain", kind="invariant")
def test_deep_graphs(lesson, rng):
    y = chain_of(Tensor(np.ones(1), requires_grad=True), 5000)
    try:
        found = a_count(lesson.longest_chain(y), "longest_chain")
    except RecursionError:
        pytest.fail("a chain of 5,000 operations is too deep for recursion: keep a stack of your own")
    assert found == 5000, f"5,000 operations in a row: found {found}"


@pytest.mark.hole("longest_chain", kind="gradient")
def test_the_graph_is_left_as_it_is(lesson, rng):
    x = Tensor(rng.normal(size=4), requires_grad=True)
    y = ops.sum(ops.square(ops.tanh(x)) * 3.0)
    before = y.op
    first = a_count(lesson.longest_chain(y), "longest_chain")
    again = a_count(lesson.longest_chain(y), "longest_chain")
    assert first == again == 4, (
        f"the same graph measured twice: {first}, then {again}; expected 4 both times: what is remembered "
        f"belongs to one "
        "call"
    )
    assert y.op is before and y.grad is None, "the graph was changed: it is only to be looked at"
    with told(
        "the gradient after longest_chain", "the graph was spent: look at .op and .args, and touch nothing"
    ):
        found = grad(y, x)
    t = np.tanh(x.numpy())
    assert near(found, 6 * t * (1 - t**2)), (
        "after longest_chain the gradient of y is wrong: the graph was changed"
    )


# equal_budgets


@pytest.mark.hole("equal_budgets", kind="value")
def test_budgets_are_equal_in_time(lesson, rng):
    for _ in range(20):
        costs = {name: float(rng.uniform(0.001, 0.2)) for name in "abcde"[: rng.integers(1, 6)]}
        seconds = float(rng.uniform(0.5, 30))
        with told("equal_budgets", "a dict of whole numbers, one for each model"):
            steps = lesson.equal_budgets(costs, seconds)
        assert isinstance(steps, dict) and set(steps) == set(costs), (
            f"equal_budgets of {set(costs)} gives {steps!r}; expected a dict with the same models"
        )
        for name, each in costs.items():
            n = steps[name]
            assert isinstance(n, int | np.integer), (
                f"{n!r} steps: a step is made or not, expected a whole number"
            )
            assert n * each <= seconds + 1e-9 or n == 1, (
                f"{n} steps of {each:.3f} s take {n * each:.2f} s, more than the {seconds:.2f} s that every model gets"
            )
            assert (n + 1) * each > seconds, (
                f"{n} steps of {each:.3f} s in {seconds:.2f} s: there is time for another one. Every model gets "
                f"all of the "
                "time, not the steps of the slowest, nor a share by the number of models"
            )


@pytest.mark.hole("equal_budgets", kind="invariant")
def test_at_least_one_step(lesson, rng):
    steps = lesson.equal_budgets({"slow": 7.0, "fast": 0.5}, 2.0)
    assert steps["slow"] == 1, (
        f"a step that takes longer than the whole time: {steps['slow']} steps; expected 1, or there would be no model"
    )
    assert steps["fast"] == 4, f"2 s at 0.5 s each: {steps['fast']} steps; expected 4"


# time_per_sample


class Machine:
    """A clock that only runs while images are drawn; the first call is slow, and one later call is disturbed"""

    def __init__(self, rng, repeats):
        self.now, self.sizes = float(rng.uniform(0, 1000)), []
        self.costs = rng.uniform(1.0, 2.0, repeats)
        self.costs[rng.integers(repeats)] += 500.0

    def clock(self):
        return self.now

    def draw(self, n):
        calls = len(self.sizes)
        self.sizes.append(n)
        self.now += 10_000.0 if not calls else self.costs[min(calls, len(self.costs)) - 1]


@pytest.mark.hole("time_per_sample", kind="value")
def test_time_of_one_sample(lesson, rng):
    for repeats in (3, 4, 7):
        machine, n = Machine(rng, repeats), int(rng.integers(2, 50))
        with told(
            "time_per_sample", "clock() gives seconds; its difference around draw(n) is what a call took"
        ):
            found = a_number(
                lesson.time_per_sample(machine.draw, n, repeats, machine.clock), "time_per_sample"
            )
        wanted = float(np.median(machine.costs)) / n
        if near(found, wanted, 1e-6):
            continue
        first = np.concatenate([[10_000.0], machine.costs])
        likely(
            found,
            {
                "the first call, which fills caches, was timed too: one call comes before the clock is read":
                    np.median(first) / n,
                "the first call was timed (in place of the last)": np.median(first[:-1]) / n,
                "the MEAN of the calls: one disturbed call spoils it; take the median": machine.costs.mean() / n,
                "the fastest call: the median was asked for": machine.costs.min() / n,
                "the time of n images: divide by n, it is one image that is asked for": np.median(machine.costs),
                "the mean of all calls, the first one included": first.mean() / n,
                "the sum of all calls": machine.costs.sum() / n,
            },
            f"time_per_sample gives {found:.6g}; the calls took a median of {np.median(machine.costs):.6g} s "
            f"for {n} images "
            f"(expected {wanted:.6g}). Is it the clock that was given which is read, and only that one?",
        )  # fmt: skip


@pytest.mark.hole("time_per_sample", kind="step")
def test_how_often_it_draws(lesson, rng):
    machine, n = Machine(rng, 5), int(rng.integers(2, 9))
    lesson.time_per_sample(machine.draw, n, 5, machine.clock)
    assert set(machine.sizes) == {n}, f"draw was called for {machine.sizes} images; expected {n} each time"
    assert len(machine.sizes) == 6, (
        f"with 5 repeats draw was called {len(machine.sizes)} times; expected 6: one to warm up, 5 that are timed"
    )


# critical_value


@pytest.mark.hole("critical_value", kind="value")
def test_critical_values_of_the_table(lesson, rng):
    for (confidence, df), wanted in TABLE.items():
        with told(f"critical_value({confidence}, {df})", "halve a stretch that holds the solution"):
            found = a_number(lesson.critical_value(confidence, df), "critical_value")
        if abs(found - wanted) <= 0.001 * wanted:
            continue
        inside = lesson.student_inside(abs(found), df) if math.isfinite(found) else math.nan
        likely(
            [inside],
            {
                "one-sided: as much lies outside below as above; student_inside counts both sides already":
                    [2 * confidence - 1],
                "two-sided twice: student_inside is P(|T| <= t), compare it with the confidence itself":
                    [(1 + confidence) / 2],
                "that is the t with student_inside(t) = 1 - confidence: the other side": [1 - confidence],
            },
            f"critical_value({confidence}, {df}) is {found:.4f}, Student's table says {wanted:.3f}"
            + (": an upper end at which it stops? For one degree of freedom t is large" if found < wanted else ""),
            rtol=1e-4,
        )  # fmt: skip


@pytest.mark.hole("critical_value", kind="invariant")
def test_critical_values_are_exact(lesson, rng):
    for _ in range(12):
        confidence, df = float(rng.uniform(0.3, 0.9995)), int(rng.integers(1, 40))
        with told(f"critical_value({confidence:.4f}, {df})", "double an upper end until it is outside"):
            found = a_number(lesson.critical_value(confidence, df), "critical_value")
        assert math.isfinite(found) and found > 0, f"critical_value({confidence:.4f}, {df}) is {found}"
        low, high = (lesson.student_inside(found * (1 + shift), df) for shift in (-1e-8, 1e-8))
        assert low <= confidence <= high, (
            f"critical_value({confidence:.6f}, {df}) is {found:.10g}, there student_inside is "
            f"{lesson.student_inside(found, df):.10f}: wrong, or not exact to 1e-9 of t (halve often enough; "
            f"from where to "
            "where?)"
        )


# interval


def formula(lesson, values, confidence, ddof=1, df=1, root=True):
    n = len(values)
    t = lesson.critical_value(confidence, n - df)
    half = t * np.std(values, ddof=ddof) / (math.sqrt(n) if root else 1)
    return np.array([np.mean(values) - half, np.mean(values) + half])


def ends(found, what):
    """An Interval's mean, and its two ends"""
    assert all(hasattr(found, name) for name in ("mean", "low", "high")), (
        f"{what} gives a {type(found).__name__}; expected an Interval(mean, low, high)"
    )
    return float(found.mean), np.array([float(found.low), float(found.high)])


@pytest.mark.hole("interval", kind="value")
def test_interval_formula(lesson, rng):
    for n in (2, 3, 5, 9):
        values, confidence = rng.normal(3, 2, n).tolist(), float(rng.uniform(0.8, 0.995))
        with told(f"interval of {n} seeds", "mean, standard deviation, critical_value"):
            mean, found = ends(lesson.interval(values, confidence), "interval")
        assert near(mean, np.mean(values)), (
            f"the mean of the seeds is {np.mean(values):.4f}; found {mean:.4f}"
        )
        wanted = formula(lesson, values, confidence)
        if near(found, wanted, 1e-6):
            continue
        normal = np.std(values, ddof=1) / math.sqrt(n) * 1.959964
        likely(
            found,
            {
                "the standard deviation has n below; it is n - 1 (ddof=1), or few seeds look too sure":
                    formula(lesson, values, confidence, ddof=0),
                "the spread of single seeds, not of their mean: s / sqrt(n)":
                    formula(lesson, values, confidence, root=False),
                "n degrees of freedom; with a mean taken from n figures n - 1 are left":
                    formula(lesson, values, confidence, df=0),
                "1.96 is for the normal distribution, with many seeds and 95 %: here t is "
                "critical_value(confidence, n - 1)":
                    np.array([mean - normal, mean + normal]),
                "the two ends have changed places: low comes first": wanted[::-1],
                "half of the width on each side was halved again": (wanted + mean) / 2,
            },
            f"interval of {np.round(values, 3).tolist()} at {confidence:.3f}: found {found[0]:.4f} ... {found[1]:.4f}, "
            f"expected {wanted[0]:.4f} ... {wanted[1]:.4f}",
        )  # fmt: skip


@pytest.mark.hole("interval", kind="invariant")
def test_interval_of_one_seed(lesson, rng):
    value = float(rng.normal())
    with told("interval of one seed", "s is 0 / 0: say -inf and inf"):
        mean, found = ends(lesson.interval([value], 0.95), "interval")
    assert mean == value, f"the mean of one figure is that figure, {value:.4f}; found {mean:.4f}"
    assert found[0] == -math.inf and found[1] == math.inf, (
        f"one seed tells nothing about the next: expected -inf ... inf, found {found[0]} ... {found[1]}"
    )
    _, found = ends(lesson.interval(np.full(4, 2.5), 0.95), "interval")
    assert near(found, [2.5, 2.5]), "four equal figures: expected an interval of no width"


# difference


@pytest.mark.hole("difference", kind="value")
def test_difference_is_paired(lesson, rng):
    hard = rng.normal(100, 30, 6)  # what the seeds do to both models
    hard[1] = hard[0]  # two seeds that are as hard as each other: which one is which still matters
    a, b = hard + 0.5 + rng.normal(0, 0.1, 6), hard + rng.normal(0, 0.1, 6)
    a[:2] += (1.5, -1.5)
    b[:2] += (-1.0, 1.0)
    with told("difference", "interval(a - b, confidence), seed by seed"):
        mean, found = ends(lesson.difference(list(a), list(b), 0.95), "difference")
    ia, ib = (lesson.interval(v, 0.95) for v in (a, b))
    if near(found, formula(lesson, a - b, 0.95), 1e-6) and near(mean, (a - b).mean(), 1e-6):
        return
    spread = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 6) * lesson.critical_value(0.95, 10)
    welch = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 6) * lesson.critical_value(0.95, 5)
    gap = float((a - b).mean())
    likely(
        [mean, *found],
        {
            "b - a: a minus b was asked for": [-gap, *-formula(lesson, a - b, 0.95)[::-1]],
            "not paired: the spread of both models, though the seeds are hard for both and cancel in a - b":
                [gap, gap - spread, gap + spread],
            "not paired: the spreads of the two models were added": [gap, gap - welch, gap + welch],
            "the ends of two intervals were subtracted: subtract seed by seed first":
                [gap, ia.low - ib.low, ia.high - ib.high],
            "the ends of two intervals were subtracted crosswise: not paired":
                [gap, ia.low - ib.high, ia.high - ib.low],
        },
        f"difference gives {found[0]:.3f} ... {found[1]:.3f}, expected "
        f"{formula(lesson, a - b, 0.95)[0]:.3f} ... {formula(lesson, a - b, 0.95)[1]:.3f}: the interval of a - "
        f"b, seed by seed, "
        "in the order given, at the confidence given",
    )  # fmt: skip


@pytest.mark.hole("difference", kind="invariant")
def test_difference_refuses_other_seeds(lesson, rng):
    for n, m in ((4, 3), (1, 5), (5, 1)):
        refused = None
        try:
            found = lesson.difference(rng.normal(size=n).tolist(), rng.normal(size=m).tolist(), 0.95)
        except NotImplementedError:
            raise
        except Exception as error:
            refused = error
        assert refused is not None, (
            f"{n} seeds of one model and {m} of the other give {found}: they are not the same seeds (NumPy stretches a "
            "single one, zip cuts the longer); raise ValueError"
        )
        says = f"{type(refused).__name__}: {refused}"
        assert isinstance(refused, ValueError), f"{n} and {m} seeds: raised {says}; expected a ValueError"
        assert str(n) in says and str(m) in says, (
            f"{says}: say how many seeds there are of each, or nobody knows what is missing"
        )
    two = lesson.difference([1.0, 3.0], [0.0, 1.0], 0.9), lesson.difference([1.0, 3.0], [0.0, 1.0], 0.99)
    assert two[1].high > two[0].high, "a higher confidence must give a wider interval: pass it on"


# ratio


@pytest.mark.hole("ratio", kind="value")
def test_ratio_of_logarithms(lesson, rng):
    seeds = np.exp(rng.normal(0, 1, 5))
    a, b = 3 * seeds * np.exp(rng.normal(0, 0.2, 5)), seeds * np.exp(rng.normal(0, 0.2, 5))
    logs = np.log(a) - np.log(b)
    wanted = np.exp([logs.mean(), *formula(lesson, logs, 0.9)])
    with told("ratio", "exp of the difference of the logarithms"):
        mean, found = ends(lesson.ratio(a.tolist(), b.tolist(), 0.9), "ratio")
    if near([mean, *found], wanted, 1e-6):
        return
    likely(
        [mean, *found],
        {
            "the logarithm of the ratio: take mean and ends back by exp": np.log(wanted),
            "the ratios themselves were averaged: one seed with 100 times as much outweighs all others":
                [(a / b).mean(), *formula(lesson, a / b, 0.9)],
            "b / a: a divided by b was asked for": 1 / wanted[[0, 2, 1]],
            "exp of the mean alone: the ends are still logarithms": [wanted[0], *np.log(wanted[1:])],
            "the interval of the ratio's mean, but a mean that is the arithmetic one": [(a / b).mean(), *wanted[1:]],
            "the difference a - b, not the ratio": [(a - b).mean(), *formula(lesson, a - b, 0.9)],
        },
        f"ratio gives {mean:.4f} [{found[0]:.4f}, {found[1]:.4f}], expected {wanted[0]:.4f} [{wanted[1]:.4f}, "
        f"{wanted[2]:.4f}]: "
        "natural logarithms, subtracted seed by seed, their interval, exp",
    )  # fmt: skip


@pytest.mark.hole("ratio", kind="invariant")
def test_ratio_turned_round(lesson, rng):
    a, b = np.exp(rng.normal(0, 2, (2, 4)))
    (m, one), (w, other) = (ends(lesson.ratio(*pair, 0.95), "ratio") for pair in ((a, b), (b, a)))
    assert (one > 0).all(), (
        f"an end of a ratio of positive figures is {one.min():.4g}: it is exp of something"
    )
    assert near([m, *one], [1 / w, *1 / other[::-1]], 1e-6), (
        "ratio(b, a) is not one over ratio(a, b): who is divided by whom must not matter; average the logarithms"
    )
    with told("ratio of one seed", "exp(-inf) is 0, exp(inf) is inf"):
        _, alone = ends(lesson.ratio([2.0], [1.0], 0.95), "ratio")
    assert alone[0] == 0 and alone[1] == math.inf, "one seed: anything is possible, expected 0 ... inf"


# each_confidence


@pytest.mark.hole("each_confidence", kind="value")
def test_confidence_is_shared(lesson, rng):
    for claims in (1, 2, int(rng.integers(3, 40))):
        overall = float(rng.uniform(0.8, 0.99))
        found = a_number(lesson.each_confidence(claims, overall), "each_confidence")
        wanted = 1 - (1 - overall) / claims
        if near(found, wanted, 1e-9):
            continue
        likely(
            found,
            {
                "the confidence was divided: it is the chance to be WRONG, 1 - overall, that is shared":
                    overall / claims,
                "that is the chance to be wrong; the confidence is 1 minus it": (1 - overall) / claims,
                "that is what m intervals have together if each has `overall`: the other way round": overall**claims,
                "the m-th root holds for independent claims only (Sidak); these share their models":
                    overall ** (1 / claims),
                "the same for each: of twenty claims at 95 % one is wrong on average": overall,
                "the chance to be wrong was multiplied": 1 - (1 - overall) * claims,
            },
            f"each_confidence({claims}, {overall:.3f}) is {found:.6f}; expected {wanted:.6f}",
            rtol=1e-9,
        )  # fmt: skip


# judge


@pytest.mark.hole("judge", kind="value")
def test_verdicts(lesson, rng):
    for _ in range(10):
        above = float(rng.normal(0, 20))
        claim = lesson.Claim("key", "S00", "a claim", "a quantity", above)
        g, h = rng.uniform(0.1, 5, 2)
        cases = [
            (above + g, above + g + h, "confirmed", "the whole interval lies above what was set"),
            (above - g - h, above - g, "refuted", "the whole interval lies below what was set"),
            (above - g, above + h, "undecided", "the interval holds the value that divides; the mean alone "
            "decides nothing"),
            (above - 3 * g, above + g / 9, "undecided", "the mean lies below, but the interval reaches above"),
            (above - math.inf, above + math.inf, "undecided", "one seed alone decides nothing"),
            (-math.inf, above - g, "refuted", "the high end lies below"),
            (above + g, math.inf, "confirmed", "the low end lies above"),
        ]  # fmt: skip
        verdicts = []
        for low, high, _, _ in cases:
            mean = (low + high) / 2 if math.isfinite(low + high) else above + 1.0
            with told("judge", "compare found.low and found.high with claim.above"):
                verdicts.append(a_text(lesson.judge(claim, lesson.Interval(mean, low, high)), "judge"))
            assert verdicts[-1] in ("confirmed", "refuted", "undecided"), (
                f"judge says {verdicts[-1]!r}; expected confirmed, refuted or undecided"
            )
        assert verdicts == [case[2] for case in cases] or verdicts != [
            judged(*case[:2], 0.0) for case in cases
        ], f"the interval was compared with 0, not with claim.above = {above:.3f}"
        for found, (low, high, wanted, why) in zip(verdicts, cases, strict=True):
            assert found == wanted, (
                f"quantity in [{low:.3f}, {high:.3f}], true if above {above:.3f}: judge says {found!r}, expected "
                f"{wanted!r}: {why}"
            )


def judged(low, high, above):
    return "confirmed" if low > above else "refuted" if high < above else "undecided"


@pytest.mark.hole("judge", kind="invariant")
def test_on_the_edge_nothing_is_decided(lesson, rng):
    claim = lesson.Claim("key", "S00", "a claim", "a quantity", 2.0)
    for low, high in ((2.0, 3.0), (1.0, 2.0), (2.0, 2.0)):
        found = a_text(lesson.judge(claim, lesson.Interval((low + high) / 2, low, high)), "judge")
        assert found == "undecided", (
            f"[{low}, {high}] touches what divides, 2.0: judge says {found!r}, expected 'undecided': strictly "
            f"above or below"
        )
    for low, high in ((math.nan, math.nan), (math.nan, 1.0e9), (-1.0e9, math.nan)):
        found = a_text(lesson.judge(claim, lesson.Interval(math.nan, low, high)), "judge")
        assert found == "undecided", (
            f"an interval with nan in it ([{low}, {high}]: a training that diverged) is {found!r}; expected "
            f"'undecided': "
            "every comparison with nan is False, so write it such that False means undecided"
        )


# sharpness


def laplacian_by_loops(images):
    images, total, count = np.asarray(images, np.float64), 0.0, 0
    for x in images:
        for i in range(1, x.shape[0] - 1):
            for j in range(1, x.shape[1] - 1):
                total += (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] - 4 * x[i, j]) ** 2
                count += 1
    return total / count


def smooth(x):
    """Each pixel and its neighbours, averaged; edges repeated"""
    p = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return sum(p[:, i : i + x.shape[1], j : j + x.shape[2]] for i in range(3) for j in range(3)) / 9


@pytest.mark.hole("sharpness", kind="value")
def test_sharpness_formula(lesson, rng):
    x = rng.random((4, 7, 9)) * rng.uniform(0.2, 1, (4, 1, 1)) + rng.uniform(-1, 1, (4, 1, 1))
    detail, contrast = laplacian_by_loops(x), x.var(axis=(1, 2)).mean()
    with told("sharpness of (4, 7, 9)", "four slices around, one in the middle"):
        found = a_number(lesson.sharpness(x), "sharpness")
    if near(found, detail / contrast, 1e-6):
        return
    wrapped = sum(np.roll(x, s, axis) for s in (-1, 1) for axis in (1, 2)) - 4 * x
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    zeros = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:] - 4 * x
    each = np.array([laplacian_by_loops(one[None]) for one in x]) / x.var(axis=(1, 2))
    corners = sum(
        x[:, 1 + i : x.shape[1] - 1 + i, 1 + j : x.shape[2] - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
    )
    eight = corners - 9 * x[:, 1:-1, 1:-1]
    likely(
        found,
        {
            "all images have one variance together: then their brightness counts; each image's own, then their mean":
                detail / x.var(),
            "the squared Laplacian alone: divide by the variance, or contrast counts": detail,
            "np.roll wraps around: the left edge is no neighbour of the right one; inner pixels only":
                np.square(wrapped).mean() / contrast,
            "zeros around the image make an edge where there is none: inner pixels only":
                np.square(zeros).mean() / contrast,
            "a sum over the pixels: a mean, or large images are sharper": detail * 4 * 5 * 7 / contrast,
            "each image's own ratio was averaged: a nearly blank image would decide": each.mean(),
            "divided by the deviation: by the variance, its square": detail / math.sqrt(contrast),
            "all eight neighbours: the four at the sides were asked for": np.square(eight).mean() / contrast,
            "the inverse": contrast / detail,
        },
        f"sharpness is {found:.5f}; four neighbours minus four times the pixel, squared, mean over inner pixels, is "
        f"{detail:.5f}, the mean variance {contrast:.5f}, their ratio {detail / contrast:.5f}",
    )  # fmt: skip


@pytest.mark.hole("sharpness", kind="invariant")
def test_sharpness_sees_blur_alone(lesson, rng):
    x = (rng.random((5, 12, 12)) < 0.5).astype(np.float32)
    values = [lesson.sharpness(x)]
    for _ in range(3):
        x = smooth(x)
        values.append(lesson.sharpness(x))
    assert all(a > b for a, b in itertools.pairwise(values)), (
        f"blurred once, twice, three times: sharpness goes {np.round(values, 4).tolist()}; expected it to fall "
        f"each time"
    )
    y = rng.random((3, 8, 8))
    assert near(lesson.sharpness(0.1 * y + 5), lesson.sharpness(y), 1e-6), (
        "a tenth of the contrast, and brighter: sharpness changed; divide by the variance"
    )
    steps = rng.integers(0, 256, (2, 6, 6)).astype(np.uint8)
    with told("sharpness of 8-bit images", "make them float first"):
        assert near(lesson.sharpness(steps), lesson.sharpness(steps.astype(np.float64)), 1e-6), (
            "8-bit images: 4 x 100 is 144 in uint8, and minus wraps around: make them float first"
        )


@pytest.mark.hole("sharpness", kind="shape")
def test_sharpness_of_blank_images(lesson, rng):
    with told("sharpness of blank images", "0 / 0: no contrast at all gives 0"):
        found = a_number(lesson.sharpness(np.full((3, 5, 5), 0.25)), "sharpness")
    assert found == 0, f"images without contrast: sharpness is {found}; expected 0, not 0 / 0"
    one = a_number(lesson.sharpness(rng.random((1, 3, 3))), "sharpness")
    assert math.isfinite(one) and one > 0, "one image of 3 x 3 has one inner pixel, and a sharpness"


# frechet_distance


def frechet(a, b, ddof=1, factor=2.0):
    """By the eigenvalues of C_a C_b, which is not symmetric"""
    c_a, c_b = (np.atleast_2d(np.cov(x, rowvar=False, ddof=ddof)) for x in (a, b))
    both = np.sqrt(np.linalg.eigvals(c_a @ c_b).real.clip(0)).sum()
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c_a) + np.trace(c_b) - factor * both


@pytest.mark.hole("frechet_distance", kind="value")
def test_frechet_formula(lesson, rng):
    for d in (1, 2, 5):
        a = rng.normal(size=(12, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
        b = rng.normal(size=(30, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
        with told(
            f"frechet_distance of {d} features", "np.cov(rows, rowvar=False); of one feature it is no matrix"
        ):
            found = a_number(lesson.frechet_distance(a, b), "frechet_distance")
        wanted = frechet(a, b)
        if near(found, wanted, 1e-5):
            continue
        assert math.isfinite(found) and found > 0, (  # max(0.0, nan) is 0.0
            f"frechet_distance of {d} features is {found}: np.sqrt takes the root of every entry, and some are "
            f"below 0; "
            "the root of a matrix has the roots of its EIGENVALUES"
        )
        away, c_a, c_b = a.mean(0) - b.mean(0), np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
        traces = np.trace(c_a) + np.trace(c_b)
        each = np.sqrt(np.linalg.eigvals(c_a @ c_b).real.clip(0)).sum()
        spectra = np.sqrt(np.linalg.eigvalsh(c_a).clip(0)), np.sqrt(np.linalg.eigvalsh(c_b).clip(0))
        with np.errstate(invalid="ignore"):
            entries = np.trace(np.sqrt(c_a @ c_b)), np.sqrt(np.trace(c_a @ c_b).clip(0))
            diagonals = np.sqrt(np.diag(c_a) * np.diag(c_b)).sum()
        likely(
            found,
            {
                "the root of the product counts twice: - 2 (C_a C_b)^(1/2)": wanted + each,
                "the distance of the means is squared": wanted - away @ away + math.sqrt(away @ away),
                "the means were left out": wanted - away @ away,
                "the covariances were left out: only the means were compared": away @ away,
                "covariances with N below; np.cov has N - 1": frechet(a, b, ddof=0),
                "np.sqrt takes the root of every entry: of a matrix it is that of the eigenvalues":
                    away @ away + traces - 2 * entries[0],
                "the root of the trace; the trace of the root was asked for": away @ away + traces - 2 * entries[1],
                "only the variances were used: features hang together, take the whole covariances":
                    away @ away + traces - 2 * diagonals,
                "eigenvalues of C_a and of C_b were paired by size: that holds only if they share their axes":
                    away @ away + traces - 2 * spectra[0] @ spectra[1],
                "the root of the whole: the SQUARED distance was asked for": math.sqrt(wanted),
            },
            f"frechet_distance of {d} features is {found:.5f}; expected {wanted:.5f}",
        )  # fmt: skip


@pytest.mark.hole("frechet_distance", kind="invariant")
def test_frechet_of_the_same_and_of_few(lesson, rng):
    a, shift = rng.normal(size=(20, 4)), rng.normal(size=4)
    for what, b, wanted in (
        ("of a set to itself", a, 0.0),
        ("to the same, moved", a + shift, shift @ shift),
        ("to the same in another order", a[rng.permutation(20)], 0.0),
    ):
        with told(f"frechet_distance {what}", "roots of numbers a little below 0: clip"):
            found = lesson.frechet_distance(a, b)
        assert math.isfinite(found) and abs(found - wanted) < 1e-5, (
            f"{what}: {found:.6f}; expected {wanted:.6f}"
        )
    for _ in range(8):
        few, others = rng.normal(size=(3, 6)), rng.normal(size=(5, 6))  # covariances with eigenvalue 0
        with told("frechet_distance of 3 rows of 6 features", "eigenvalues of -1e-17: clip them at 0"):
            there, back = lesson.frechet_distance(few, others), lesson.frechet_distance(others, few)
        assert math.isfinite(there) and there >= 0, (
            f"three rows of six features: {there}; their covariance has eigenvalues 0, which come out as "
            f"-1e-17: clip at 0"
        )
        assert near(there, back, 1e-5), (
            f"from a to b {there:.6f}, from b to a {back:.6f}: a distance is the same both ways"
        )
        assert near(there, frechet(few, others), 1e-4), (
            f"with few rows the distance is {there:.5f}; expected {frechet(few, others):.5f} (a root by "
            f"Cholesky, or an "
            "inverse, needs covariances of full rank)"
        )
    assert lesson.frechet_distance(a, a.copy()) >= 0, "a distance below 0: rounding; at least 0"


# spreads


@pytest.mark.hole("spreads", kind="value")
def test_spreads_formula(lesson, rng):
    for n in (2, 5, 6):
        values = np.exp(rng.normal(0, 1.5, n))
        logs = np.log(values)
        wanted = np.abs(logs - logs.mean())
        with told("spreads", "np.log, minus the mean, np.abs"):
            found = np.asarray(lesson.spreads(values.tolist()), float)
        assert found.shape == (n,), (
            f"{n} seeds give spreads of shape {found.shape}; expected one for each seed, ({n},)"
        )
        if near(found, wanted, 1e-6):
            continue
        likely(
            found,
            {
                "without logarithms: a model with larger figures would be called less stable":
                    np.abs(values - values.mean()),
                "with the sign: the mean of these is 0 for every model": logs - logs.mean(),
                "squared: one seed would decide": np.square(logs - logs.mean()),
                "off the logarithm of the mean: the mean of the logarithms was asked for":
                    np.abs(logs - np.log(values.mean())),
                "off the median: then one of an odd number is always 0; the mean was asked for":
                    np.abs(logs - np.median(logs)),
                "divided by the deviation: then all models are equally stable": wanted / max(np.std(logs), 1e-12),
                "sorted: they belong to the seeds, in their order": np.sort(wanted),
            },
            f"spreads of {np.round(values, 3).tolist()}: found {np.round(found, 4).tolist()}, expected "
            f"{np.round(wanted, 4).tolist()}",
        )  # fmt: skip


@pytest.mark.hole("spreads", kind="invariant")
def test_spreads_have_no_unit(lesson, rng):
    values = np.exp(rng.normal(size=5))
    assert near(np.asarray(lesson.spreads(values * 60)), np.asarray(lesson.spreads(values)), 1e-6), (
        "in minutes or in seconds, the spread changes: what counts is the factor, so take logarithms"
    )
    assert (np.asarray(lesson.spreads([2.0, 2.0, 2.0])) < 1e-12).all(), "equal figures have no spread"


# mixture_log_prob


@pytest.mark.hole("mixture_log_prob", kind="value")
def test_mixture_value(lesson, rng):
    p, q, share = rng.uniform(-3, 0, 6), rng.uniform(-3, 0, 6), float(rng.uniform(0.05, 0.45))
    wanted = np.log(share * np.exp(p) + (1 - share) * np.exp(q))
    for a, b in ((p, q), (Tensor(p), Tensor(q))):
        with told("mixture_log_prob", "stack the two, logsumexp over them"):
            found = lesson.mixture_log_prob(a, b, share)
        found = np.asarray(found.numpy() if isinstance(found, Tensor) else found)
        assert found.shape == (6,), (
            f"6 images give shape {found.shape}; expected a number for each image, (6,)"
        )
        if near(found, wanted, 1e-6):
            continue
        likely(
            found,
            {
                "the mean of the logarithms: the logarithm of the mean of the densities was asked for":
                    share * p + (1 - share) * q,
                "the weights have changed places: `share` belongs to p":
                    np.log((1 - share) * np.exp(p) + share * np.exp(q)),
                "without weights: the mixture must be a density": np.logaddexp(p, q),
                "both weigh the same": np.logaddexp(p, q) - math.log(2),
                "q weighs 1, not 1 - share: this sums to more than 1": np.logaddexp(p + math.log(share), q),
                "p weighs 1, not share: this sums to more than 1": np.logaddexp(p, q + math.log(1 - share)),
                "the densities, not their logarithm": np.exp(wanted),
                "the larger of the two alone": np.maximum(p + math.log(share), q + math.log(1 - share)),
            },
            f"log (share p + (1 - share) q): found {np.round(found, 4).tolist()}, expected "
            f"{np.round(wanted, 4).tolist()}",
        )  # fmt: skip


@pytest.mark.hole("mixture_log_prob", kind="invariant")
def test_mixture_of_tiny_densities(lesson, rng):
    p, q = rng.uniform(-1200, -900, 5), rng.uniform(-1200, -900, 5)
    with told("mixture_log_prob of nats around -1000", "the larger one comes out first (logsumexp)"):
        found = np.asarray(lesson.mixture_log_prob(p, q, 0.1))
    assert np.isfinite(found).all(), (
        f"nats around -1000 give {found[~np.isfinite(found)][0]}: exp(-1000) is 0; logsumexp takes the larger "
        f"one out first"
    )
    wanted = np.logaddexp(p + math.log(0.1), q + math.log(0.9))
    assert near(found, wanted, 1e-9), f"found {found.tolist()}, expected {wanted.tolist()}"
    loss = p - np.asarray(lesson.mixture_log_prob(p, q - 5000.0, 0.1))
    assert near(loss, np.full(5, math.log(10)), 1e-9), (
        f"nine tenths of hopeless noise cost {loss[0]:.4f} nats; expected log 10 = 2.3026, however bad the noise"
    )
    small = np.asarray(lesson.mixture_log_prob(p, p, 1e-20))
    assert near(small, p, 1e-9), (
        "p mixed with itself is p, whatever the share (1 - share: math.log1p(-share))"
    )


@pytest.mark.hole("mixture_log_prob", kind="gradient")
def test_mixture_gradient(lesson, rng):
    p, q = (Tensor(rng.uniform(-900, -899, 4), requires_grad=True) for _ in range(2))
    y = lesson.mixture_log_prob(p, q, 0.3)
    assert isinstance(y, Tensor) and y.requires_grad, (
        "Tensors give something without a graph: no gradient can pass; use ops, not np"
    )
    up = rng.normal(size=4)
    with told("the gradient of mixture_log_prob", "ops from end to end"):
        found = grad(ops.sum(y * up), [p, q], allow_unused=True)
    a, b = p.numpy() + math.log(0.3), q.numpy() + math.log(0.7)
    mine = 1 / (1 + np.exp(b - a))  # how likely p made the image
    assert found[0] is not None and found[1] is not None, "one of the two gets no gradient: was it detached?"
    assert near(found[0], up * mine, 1e-5) and near(found[1], up * (1 - mine), 1e-5), (
        "the gradient for log_p is not the chance that the image came from p, share p / (share p + (1 - share) q)"
    )
