"""Typical wrong versions of e16's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="what_the_class_itself_writes",
        hole="answers",
        old="callable(getattr(model, query, None))",
        new="query in vars(model if isinstance(model, type) else type(model))",
        says="INHERITS",
    ),
    Mistake(
        name="a_name_is_enough",
        hole="answers",
        old="callable(getattr(model, query, None))",
        new="hasattr(model, query)",
        says="takes a method back",
    ),
    Mistake(
        name="a_list_of_models",
        hole="answers",
        old=None,
        new="""
        name = (model if isinstance(model, type) else type(model)).__name__
        known = {"PixelCNN": "log_prob sample", "PixelRNN": "log_prob sample", "VAE": "elbo encode sample"}
        return {query: query in known.get(name, "sample") for query in QUERIES}
        """,
        says="not off a list of models",
    ),
    Mistake(
        name="asked_by_calling",
        hole="answers",
        old=None,
        new="""
        found = {}
        for query in QUERIES:
            found[query] = getattr(model, query, lambda: None)() is not None
        return found
        """,
        says="it need not be called",
    ),
    Mistake(
        name="sample_is_not_asked_for",
        hole="branch",
        old=None,
        new="""
        can = answers(model)
        if can["log_prob"]:
            return "explicit, tractable"
        return "explicit, approximate" if can["elbo"] else "implicit"
        """,
        says="without `sample`",
    ),
    Mistake(
        name="bound_before_exact",
        hole="branch",
        old="""    if can["log_prob"]:
        return "explicit, tractable"
    return "explicit, approximate" if can["elbo"] else "implicit"
""",
        new="""    if can["elbo"]:
        return "explicit, approximate"
    return "explicit, tractable" if can["log_prob"] else "implicit"
""",
        says="log_prob AND elbo",
    ),
    Mistake(
        name="a_code_is_a_density",
        hole="branch",
        old='if can["elbo"] else',
        new='if can["elbo"] or can["encode"] else',
        says="a code is no density",
    ),
    Mistake(
        name="all_operations",
        hole="longest_chain",
        old="1 + max((length[id(a)] for a in inputs), default=0)",
        new="1 + sum(length[id(a)] for a in {id(a): a for a in inputs}.values())",
        says="the LONGEST of the arguments' paths counts",
    ),
    Mistake(
        name="first_argument_only",
        hole="longest_chain",
        old="if isinstance(a, Tensor)]",
        new="if isinstance(a, Tensor)][:1]",
        says="not the first alone",
    ),
    Mistake(
        name="recursion",
        hole="longest_chain",
        old=None,
        new="""
        known = {}

        def length(node):
            if id(node) not in known:
                inputs = [] if node.op is None else [a for a in node.args if isinstance(a, Tensor)]
                known[id(node)] = 0 if node.op is None else 1 + max(map(length, inputs), default=0)
            return known[id(node)]

        return length(y)
        """,
        says="too deep for recursion",
    ),
    Mistake(
        name="every_path_walked",
        hole="longest_chain",
        old=None,
        new="""
        longest, stack = 0, [(y, 0)]
        while stack:
            node, depth = stack.pop()
            longest = max(longest, depth)
            if node.op is not None:
                stack += [(a, depth + 1) for a in node.args if isinstance(a, Tensor)]
        return longest
        """,
        says="still walking",
    ),
    Mistake(
        name="seen_by_the_short_way",
        hole="longest_chain",
        old=None,
        new="""
        seen, front, depth = {id(y)}, [y], 0
        while True:
            nodes = [n for n in front if n.op is not None]
            inputs = {id(a): a for n in nodes for a in n.args if isinstance(a, Tensor) and id(a) not in seen}
            if not nodes:
                return depth
            depth, front = depth + 1, list(inputs.values())
            seen |= set(inputs)
        """,
        says="the two uses are one path each",
    ),
    Mistake(
        name="leaves_count",
        hole="longest_chain",
        old="= 0 if node.op is None else 1",
        new="= 1 if node.op is None else 1",
        says="a leaf has length 0",
    ),
    Mistake(
        name="equal_steps",
        hole="equal_budgets",
        old="int(seconds / each)",
        new="int(seconds / max(step_seconds.values()))",
        says="not the steps of the slowest",
    ),
    Mistake(
        name="shared_between_the_models",
        hole="equal_budgets",
        old="seconds / each",
        new="seconds / each / len(step_seconds)",
        says="nor a share by the number of models",
    ),
    Mistake(
        name="rounded_up",
        hole="equal_budgets",
        old="int(seconds / each)",
        new="math.ceil(seconds / each)",
        says="more than the",
    ),
    Mistake(
        name="no_step_at_all",
        hole="equal_budgets",
        old="max(1, int(seconds / each))",
        new="int(seconds / each)",
        says="there would be no model",
    ),
    Mistake(
        name="broken_steps",
        hole="equal_budgets",
        old="int(seconds / each)",
        new="seconds / each",
        says="expected a whole number",
    ),
    Mistake(
        name="first_call_timed",
        hole="time_per_sample",
        old="""draw(n)
    found = []
""",
        new="""found = []
    begun = clock()
    draw(n)
    found.append(clock() - begun)
""",
        says="the first call, which fills caches",
    ),
    Mistake(
        name="mean_of_the_calls",
        hole="time_per_sample",
        old="np.median",
        new="np.mean",
        says="one disturbed call spoils it",
    ),
    Mistake(
        name="of_the_whole_batch",
        hole="time_per_sample",
        old=" / n",
        new="",
        says="divide by n",
    ),
    Mistake(
        name="a_clock_of_its_own",
        hole="time_per_sample",
        old=None,
        new="""
        import time

        draw(n)
        found = []
        for _ in range(repeats):
            begun = time.perf_counter()
            draw(n)
            found.append(time.perf_counter() - begun)
        return float(np.median(found)) / n
        """,
        says="Is it the clock that was given",
    ),
    Mistake(
        name="one_sided",
        hole="critical_value",
        old=None,
        new="""
        low, high = 0.0, 1e7
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if (1 + student_inside(middle, df)) / 2 < confidence else (low, middle)
        return high
        """,
        says="one-sided",
    ),
    Mistake(
        name="two_sided_twice",
        hole="critical_value",
        old=None,
        new="""
        low, high = 0.0, 1e7
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if student_inside(middle, df) < (1 + confidence) / 2 else (low, middle)
        return high
        """,
        says="two-sided twice",
    ),
    Mistake(
        name="upper_end_too_low",
        hole="critical_value",
        old="""while student_inside(high, df) < confidence:
        low, high = high, 2 * high
""",
        new="""high = 10.0
""",
        says="an upper end at which it stops",
    ),
    Mistake(
        name="ten_halvings",
        hole="critical_value",
        old="range(100)",
        new="range(14)",
        says="not exact",
    ),
    Mistake(
        name="always_normal",
        hole="interval",
        old="critical_value(confidence, n - 1)",
        new="1.959964",
        says="1.96 is for the normal distribution",
    ),
    Mistake(
        name="n_below",
        hole="interval",
        old="ddof=1",
        new="ddof=0",
        says="the standard deviation has n below",
    ),
    Mistake(
        name="spread_not_error",
        hole="interval",
        old=" / math.sqrt(n)",
        new="",
        says="not of their mean",
    ),
    Mistake(
        name="degrees_of_freedom",
        hole="interval",
        old="n - 1",
        new="n",
        says="n degrees of freedom",
    ),
    Mistake(
        name="one_seed_is_certain",
        hole="interval",
        old="return Interval(mean, -math.inf, math.inf)",
        new="return Interval(mean, mean, mean)",
        says="one seed tells nothing",
    ),
    Mistake(
        name="not_paired",
        hole="difference",
        old="return interval(np.subtract(a, b), confidence)",
        new="""one, other = interval(a, confidence), interval(b, confidence)
    half = math.hypot(one.high - one.mean, other.high - other.mean)
    return Interval(one.mean - other.mean, one.mean - other.mean - half, one.mean - other.mean + half)""",
        says="not paired",
    ),
    Mistake(
        name="ends_subtracted",
        hole="difference",
        old="return interval(np.subtract(a, b), confidence)",
        new="""one, other = interval(a, confidence), interval(b, confidence)
    return Interval(one.mean - other.mean, one.low - other.low, one.high - other.high)""",
        says="the ends of two intervals were subtracted",
    ),
    Mistake(
        name="the_other_way_round",
        hole="difference",
        old="np.subtract(a, b)",
        new="np.subtract(b, a)",
        says="a minus b was asked for",
    ),
    Mistake(
        name="zip_cuts",
        hole="difference",
        old=None,
        new="return interval([x - y for x, y in zip(a, b)], confidence)",
        says="zip cuts the longer",
    ),
    Mistake(
        name="mean_of_ratios",
        hole="ratio",
        old=None,
        new="return interval(np.divide(a, b), confidence)",
        says="outweighs all others",
    ),
    Mistake(
        name="logarithms_left",
        hole="ratio",
        old=None,
        new="return difference(np.log(a), np.log(b), confidence)",
        says="take mean and ends back by exp",
    ),
    Mistake(
        name="confidence_divided",
        hole="each_confidence",
        old="1 - (1 - overall) / claims",
        new="overall / claims",
        says="the chance to be WRONG",
    ),
    Mistake(
        name="each_as_sure_as_all",
        hole="each_confidence",
        old="1 - (1 - overall) / claims",
        new="overall",
        says="the same for each",
    ),
    Mistake(
        name="as_if_independent",
        hole="each_confidence",
        old="1 - (1 - overall) / claims",
        new="overall ** (1 / claims)",
        says="independent claims only",
    ),
    Mistake(
        name="the_mean_decides",
        hole="judge",
        old=None,
        new='return "confirmed" if found.mean > claim.above else "refuted"',
        says="expected 'undecided'",
    ),
    Mistake(
        name="always_against_zero",
        hole="judge",
        old=None,
        new='return "confirmed" if found.low > 0 else "refuted" if found.high < 0 else "undecided"',
        says="was compared with 0",
    ),
    Mistake(
        name="nan_is_refuted",
        hole="judge",
        old=None,
        new="""
        if found.low > claim.above:
            return "confirmed"
        return "undecided" if found.high >= claim.above else "refuted"
        """,
        says="a training that diverged",
    ),
    Mistake(
        name="touching_counts",
        hole="judge",
        old="found.low > claim.above",
        new="found.low >= claim.above",
        says="touches what divides",
    ),
    Mistake(
        name="wraps_around",
        hole="sharpness",
        old=None,
        new="""
        x = np.asarray(images, np.float64)
        around = sum(np.roll(x, step, axis) for step in (-1, 1) for axis in (1, 2))
        contrast = x.var(axis=(1, 2)).mean()
        return float(np.square(around - 4 * x).mean() / contrast) if contrast > 0 else 0.0
        """,
        says="wraps around",
    ),
    Mistake(
        name="contrast_counts",
        hole="sharpness",
        old="float(detail / contrast)",
        new="float(detail)",
        says="divide by the variance",
    ),
    Mistake(
        name="one_variance_for_all",
        hole="sharpness",
        old="x.var(axis=(1, 2)).mean()",
        new="x.var()",
        says="one variance together",
    ),
    Mistake(
        name="eight_bits",
        hole="sharpness",
        old="np.asarray(images, np.float64)",
        new="np.asarray(images)",
        says="make them float first",
    ),
    Mistake(
        name="nothing_by_nothing",
        hole="sharpness",
        old="float(detail / contrast) if contrast > 0 else 0.0",
        new="float(np.divide(detail, contrast))",
        says="not 0 / 0",
    ),
    Mistake(
        name="root_of_every_entry",
        hole="frechet_distance",
        old=None,
        new="""
        c_a, c_b = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
        both = np.trace(np.sqrt(c_a @ c_b))
        away = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
        return max(0.0, float(away + np.trace(c_a) + np.trace(c_b) - 2 * both))
        """,
        says="root of every entry",
    ),
    Mistake(
        name="means_not_squared",
        hole="frechet_distance",
        old="np.square(a.mean(axis=0) - b.mean(axis=0)).sum()",
        new="np.linalg.norm(a.mean(axis=0) - b.mean(axis=0))",
        says="the distance of the means is squared",
    ),
    Mistake(
        name="counts_once",
        hole="frechet_distance",
        old="- 2 * both",
        new="- both",
        says="counts twice",
    ),
    Mistake(
        name="variances_only",
        hole="frechet_distance",
        old="(np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))",
        new="(np.diag(rows.var(axis=0, ddof=1)) for rows in (a, b))",
        says="only the variances were used",
    ),
    Mistake(
        name="a_little_below_zero",
        hole="frechet_distance",
        old="np.sqrt(values.clip(0))",
        new="np.sqrt(values)",
        says="clip",
    ),
    Mistake(
        name="no_logarithm",
        hole="spreads",
        old="np.log(values)",
        new="np.asarray(values)",
        says="without logarithms",
    ),
    Mistake(
        name="with_the_sign",
        hole="spreads",
        old="np.abs(logs - logs.mean())",
        new="logs - logs.mean()",
        says="with the sign",
    ),
    Mistake(
        name="off_the_median",
        hole="spreads",
        old="logs.mean()",
        new="np.median(logs)",
        says="off the median",
    ),
    Mistake(
        name="mean_of_logarithms",
        hole="mixture_log_prob",
        old=None,
        new="return log_p * share + log_q * (1 - share)",
        says="the mean of the logarithms",
    ),
    Mistake(
        name="exp_first",
        hole="mixture_log_prob",
        old=None,
        new="return ops.log(ops.exp(log_p) * share + ops.exp(log_q) * (1 - share))",
        says="exp(-1000) is 0",
    ),
    Mistake(
        name="weights_exchanged",
        hole="mixture_log_prob",
        old="log_p + math.log(share), log_q + math.log1p(-share)",
        new="log_p + math.log1p(-share), log_q + math.log(share)",
        says="have changed places",
    ),
    Mistake(
        name="weights_forgotten",
        hole="mixture_log_prob",
        old="log_p + math.log(share), log_q + math.log1p(-share)",
        new="log_p, log_q",
        says="without weights",
    ),
    Mistake(
        name="off_the_graph",
        hole="mixture_log_prob",
        old=None,
        new="""
        p, q = (x.numpy() if isinstance(x, Tensor) else x for x in (log_p, log_q))
        return np.logaddexp(p + math.log(share), q + math.log1p(-share))
        """,
        says="no gradient can pass",
    ),
]

HINTS = {
    "answers": (
        "Python can tell whether an object has an attribute, without calling it. Inherited ones count too.",
        "getattr(model, name, None) gives the attribute or None; callable() tells a method from anything else.",
        "return {query: callable(getattr(model, query, None)) for query in QUERIES}",
    ),
    "branch": (
        "Three questions, one after the other: can it be drawn from? does it tell log p? does it tell a bound?",
        "can = answers(model). The first question that is answered decides; encode plays no part.",
        "if not can['sample']: ...; if can['log_prob']: ...; then 'explicit, approximate' if can['elbo'] else "
        "'implicit'",
    ),
    "longest_chain": (
        "The length of a Tensor is 1 + the longest length among its arguments. In which order can they be computed?",
        "Keep a stack. Look at the Tensor on top: if an argument's length is not known yet, push that argument; if all "
        "are known, pop the Tensor and note its length (in a dict, by id()).",
        "while stack: node = stack[-1]; inputs = Tensors of node.args, none if node.op is None; waiting = those not in "
        "`length`; if waiting: stack += waiting; else: stack.pop(); length[id(node)] = 0 for a leaf, else 1 + max(...)",
    ),
    "equal_budgets": (
        "How many times does a step fit into the time?",
        "seconds / step, rounded down; but a model with no step at all would not be trained: at least 1.",
        "return {name: max(1, int(seconds / each)) for name, each in step_seconds.items()}",
    ),
    "time_per_sample": (
        "Read the clock before and after a call. Which call must not be timed, and which average is robust?",
        "draw(n) once, untimed; then `repeats` times: begun = clock(); draw(n); clock() - begun. Median, divided by n.",
        "draw(n); found = []; for _ in range(repeats): begun = clock(); draw(n); found.append(clock() - begun); return "
        "float(np.median(found)) / n",
    ),
    "critical_value": (
        "student_inside(t, df) rises with t, from 0 to 1. Where does it pass the confidence?",
        "First an upper end: double it while student_inside(high, df) < confidence. Then halve [low, high] many times.",
        "for _ in range(100): middle = (low + high) / 2; if student_inside(middle, df) < confidence: low = "
        "middle; else: "
        "high = middle",
    ),
    "interval": (
        "The mean, and on both sides of it t times the standard error of the mean.",
        "np.std(values, ddof=1) / sqrt(n) is the standard error; t = critical_value(confidence, n - 1). One "
        "seed: -inf, inf.",
        "half = critical_value(confidence, n - 1) * np.std(values, ddof=1) / math.sqrt(n); return "
        "Interval(mean, mean - "
        "half, mean + half)",
    ),
    "difference": (
        "What is hard about a seed is hard for both models. When does it cancel?",
        "Subtract seed by seed first, then make the interval. First of all refuse lists of unequal length.",
        "if len(a) != len(b): raise ValueError(f'{len(a)} and {len(b)} seeds ...'); return interval(np.subtract(a, b), "
        "confidence)",
    ),
    "ratio": (
        "log (a / b) is a difference, and you have a function for differences.",
        "difference(np.log(a), np.log(b), confidence), then exp of all three numbers.",
        "found = difference(np.log(a), np.log(b), confidence); return Interval(*(float(np.exp(x)) for x in found))",
    ),
    "each_confidence": (
        "If each of m intervals is wrong with chance e, at least one is wrong with chance m e at most.",
        "All together may be wrong with chance 1 - overall. Each gets an m-th of that.",
        "return 1 - (1 - overall) / claims",
    ),
    "judge": (
        "Two ends of an interval, one number that divides, three outcomes. Which of them needs no comparison?",
        "low > above: confirmed. high < above: refuted. Everything else, nan included: undecided.",
        "if found.low > claim.above: return 'confirmed'; return 'refuted' if found.high < claim.above else 'undecided'",
    ),
    "sharpness": (
        "Slices give all neighbours at once: x[:, :-2, 1:-1] are those above the inner pixels.",
        "Sum of four slices minus 4 x[:, 1:-1, 1:-1]; its mean square; divided by x.var(axis=(1, 2)).mean(); 0 if that "
        "is 0. Make the images float64 first.",
        "around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]; detail = np.square(around - 4 * "
        "x[:, 1:-1, 1:-1]).mean()",
    ),
    "frechet_distance": (
        "Means, covariances, and a matrix's root. A symmetric matrix has it by its eigenvalues.",
        "values, vectors = np.linalg.eigh(C_a); S = (vectors * sqrt(values)) @ vectors.T. Then "
        "np.linalg.eigvalsh(S @ C_b "
        "@ S). Rounding makes eigenvalues of -1e-17: clip(0) before a root.",
        "both = np.sqrt(np.linalg.eigvalsh(root @ c_b @ root).clip(0)).sum(); return max(0.0, float(|m_a - "
        "m_b|^2 + trace "
        "C_a + trace C_b - 2 * both))",
    ),
    "spreads": (
        "How far is each seed off the middle, by what factor?",
        "Factors are differences of logarithms. The mean of the logarithms is the middle.",
        "logs = np.log(values); return np.abs(logs - logs.mean())",
    ),
    "mixture_log_prob": (
        "log (a + b) from log a and log b: the larger one comes out first. There is an op for that.",
        "log (share p) is log_p + math.log(share); log ((1 - share) q) is log_q + math.log1p(-share). ops.stack and "
        "ops.logsumexp do the rest.",
        "return ops.logsumexp(ops.stack(log_p + math.log(share), log_q + math.log1p(-share)), axis=0)",
    ),
}
