"""e16, comparing models: answers in other styles that must pass, and wrong ones that nobody planted."""

RIGHT = {
    "answers": {
        "by_hasattr": "return {q: hasattr(model, q) and callable(getattr(model, q)) for q in QUERIES}",
        "loop": """
            found = {}
            for query in QUERIES:
                method = getattr(model, query, None)
                found[query] = method is not None and hasattr(method, "__call__")
            return found
        """,
    },
    "branch": {
        "table": """
            can = answers(model)
            if can["sample"]:
                where = 0 if can["log_prob"] else 1 if can["elbo"] else 2
            else:
                where = 3
            return BRANCHES[where]
        """,
    },
    "longest_chain": {
        "kahn": """
            seen, order, stack = set(), [], [(y, False)]
            while stack:
                node, done = stack.pop()
                if done:
                    order.append(node)
                    continue
                if id(node) in seen:
                    continue
                seen.add(id(node))
                stack.append((node, True))
                if node.op is not None:
                    stack.extend((a, False) for a in node.args if isinstance(a, Tensor))
            length = {}
            for node in order:
                inputs = [] if node.op is None else [a for a in node.args if isinstance(a, Tensor)]
                length[id(node)] = 1 + max([length[id(a)] for a in inputs] + [0]) if node.op is not None else 0
            return length[id(y)]
        """,
    },
    "equal_budgets": {
        "floor": "return {k: max(1, math.floor(seconds / v)) for k, v in step_seconds.items()}",
        "numpy": """
            names = list(step_seconds)
            steps = np.maximum(1, (seconds / np.array([step_seconds[n] for n in names])).astype(int))
            return dict(zip(names, steps))
        """,
    },
    "time_per_sample": {
        "laps": """
            draw(n)
            marks = [clock()]
            for _ in range(repeats):
                draw(n)
                marks.append(clock())
            return np.median(np.diff(marks)) / n
        """,
        "statistics": """
            import statistics

            def once():
                begun = clock()
                draw(n)
                return (clock() - begun) / n

            once()
            return statistics.median(once() for _ in range(repeats))
        """,
    },
    "critical_value": {
        "bracket_from_above": """
            high = 1.0
            while student_inside(high, df) <= confidence:
                high *= 10
            low = 0.0
            while high - low > 1e-13 * high:
                middle = 0.5 * (low + high)
                if student_inside(middle, df) > confidence:
                    high = middle
                else:
                    low = middle
                if middle in (low, high) and high - low < 1e-12 * high:
                    break
            return (low + high) / 2
        """,
        "in_angles": """
            low, high = 0.0, math.pi / 2
            for _ in range(120):
                middle = (low + high) / 2
                if student_inside(math.sqrt(df) * math.tan(middle), df) < confidence:
                    low = middle
                else:
                    high = middle
            return math.sqrt(df) * math.tan(low)
        """,
    },
    "interval": {
        "by_hand": """
            n = len(values)
            mean = sum(values) / n
            if n == 1:
                return Interval(mean, float("-inf"), float("inf"))
            s = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
            t = critical_value(confidence, n - 1)
            return Interval(mean=mean, low=mean - t * s / n**0.5, high=mean + t * s / n**0.5)
        """,
    },
    "difference": {
        "zip_strict": """
            if len(a) != len(b):
                raise ValueError(f"{len(a)} seeds and {len(b)} seeds")
            return interval([x - y for x, y in zip(a, b, strict=True)], confidence)
        """,
        "arrays": """
            a, b = np.asarray(a, float), np.asarray(b, float)
            if a.shape != b.shape:
                raise ValueError(f"shapes {a.shape} and {b.shape}")
            return interval(list(a - b), confidence)
        """,
    },
    "ratio": {
        "log_of_ratio": """
            if len(a) != len(b):
                raise ValueError("seeds")
            found = interval(np.log(np.divide(a, b)), confidence)
            return Interval(np.exp(found.mean), np.exp(found.low), np.exp(found.high))
        """,
        "base_two": """
            found = difference(np.log2(a), np.log2(b), confidence)
            return Interval(*np.exp2(found))
        """,
    },
    "each_confidence": {"spelt_out": "wrong = (1 - overall) / claims\nreturn 1 - wrong"},
    "judge": {
        "nested": """
            return ("confirmed" if claim.above < found.low else
                    "refuted" if claim.above > found.high else "undecided")
        """,
    },
    "sharpness": {
        "kernel": """
            x = np.array(images, dtype=float)
            kernel = {(0, 1): 1, (1, 0): 1, (1, 2): 1, (2, 1): 1, (1, 1): -4}
            n, h, w = x.shape
            y = sum(k * x[:, i : i + h - 2, j : j + w - 2] for (i, j), k in kernel.items())
            below = np.mean([one.var() for one in x])
            return 0.0 if below == 0 else np.mean(y**2) / below
        """,
        "second_differences": """
            x = np.asarray(images).astype(np.float64)
            y = np.diff(x, 2, axis=1)[:, :, 1:-1] + np.diff(x, 2, axis=2)[:, 1:-1, :]
            v = np.var(x.reshape(len(x), -1), axis=1).mean()
            return float((y * y).mean() / v) if v else 0.0
        """,
    },
    "frechet_distance": {
        "eigenvalues_of_the_product": """
            a, b = (np.asarray(x, float) for x in (a, b))
            n, d = a.shape
            c_a, c_b = np.cov(a.T).reshape(d, d), np.cov(b.T).reshape(d, d)
            roots = np.sqrt(np.maximum(np.linalg.eigvals(c_a @ c_b).real, 0))
            m = a.mean(0) - b.mean(0)
            return max(m @ m + np.trace(c_a + c_b) - 2 * roots.sum(), 0.0)
        """,
        "nuclear_norm": """
            a, b = np.asarray(a, float), np.asarray(b, float)
            u, v = a - a.mean(0), b - b.mean(0)
            u, v = u / math.sqrt(len(a) - 1), v / math.sqrt(len(b) - 1)
            both = np.linalg.svd(u @ v.T, compute_uv=False).sum()
            away = a.mean(0) - b.mean(0)
            return max(0.0, float(away @ away + (u**2).sum() + (v**2).sum() - 2 * both))
        """,
    },
    "spreads": {
        "list": """
            logs = [math.log(v) for v in values]
            m = sum(logs) / len(logs)
            return np.array([abs(l - m) for l in logs])
        """,
    },
    "mixture_log_prob": {
        "softplus": """
            p, q = log_p + math.log(share), log_q + math.log(1 - share)
            return q + ops.softplus(p - q)
        """,
        "largest_out": """
            p, q = log_p + np.log(share), log_q + np.log1p(-share)
            m = ops.maximum(p, q)
            m = m.detach() if isinstance(m, Tensor) else m
            return m + ops.log(ops.exp(p - m) + ops.exp(q - m))
        """,
    },
}  # fmt: skip

WRONG = {
    "answers": {
        "truthy": ("callable(getattr(model, query, None))", "bool(getattr(model, query, None))"),
        "the_others": ("callable(", "not callable("),
    },
    "branch": {
        "places_exchanged": ('if can["elbo"] else "implicit"', 'if not can["elbo"] else "implicit"'),
        "exact_needs_encode": ('if can["log_prob"]', 'if can["log_prob"] and not can["encode"]'),
    },
    "longest_chain": {
        "shortest": ("max((", "min(("),
        "last_only": ("if isinstance(a, Tensor)]", "if isinstance(a, Tensor)][-1:]"),
        "number_of_nodes": ("return length[id(y)]", "return len(length) - 1"),
    },
    "equal_budgets": {
        "rounded": ("int(seconds / each)", "round(seconds / each)"),
        "two_at_least": ("max(1,", "max(2,"),
    },
    "time_per_sample": {
        "fastest": ("np.median", "np.min"),
        "one_at_a_time": ("begun = clock()\n        draw(n)", "begun = clock()\n        draw(1)"),
        "over_repeats": ("/ n", "/ repeats"),
    },
    "critical_value": {
        "normal": ("student_inside(middle, df)", "math.erf(middle / math.sqrt(2))"),
        "starts_at_one": ("low, high = 0.0, 1.0", "low, high = 1.0, 2.0"),
        "thirty_halvings": ("range(100)", "range(25)"),
    },
    "interval": {
        "variance": ("np.std(values, ddof=1)", "np.var(values, ddof=1)"),
        "over_n_minus_one": ("/ math.sqrt(n)", "/ math.sqrt(n - 1)"),
        "half_only": ("mean - half, mean + half", "-half, half"),
    },
    "difference": {
        "absolute": ("np.subtract(a, b)", "np.abs(np.subtract(a, b))"),
        "sorted": ("np.subtract(a, b)", "np.subtract(sorted(a), sorted(b))"),
        "all_pairs": ("np.subtract(a, b)", "np.subtract.outer(a, b).ravel()"),
        "type_error": ("raise ValueError", "raise TypeError"),
    },
    "ratio": {
        "log10": ("np.log(a), np.log(b)", "np.log10(a), np.log10(b)"),
        "relative": ("np.exp(end)", "1 + end"),
    },
    "each_confidence": {
        "halved": ("/ claims", "/ (2 * claims)"),
    },
    "judge": {
        "one_sided": ('return "refuted" if found.high < claim.above else "undecided"', 'return "refuted"'),
        "mean_above": ("found.low > claim.above", "found.mean > claim.above"),
        "edge_below": ("found.high < claim.above", "found.high <= claim.above"),
    },
    "sharpness": {
        "one_side": ("x[:, :-2, 1:-1] + x[:, 2:, 1:-1]", "2 * x[:, :-2, 1:-1]"),
        "energy": ("x.var(axis=(1, 2)).mean()", "np.square(x).mean()"),
        "absolute": (
            "np.square(around - 4 * x[:, 1:-1, 1:-1]).mean()",
            "np.abs(around - 4 * x[:, 1:-1, 1:-1]).mean()",
        ),
    },
    "frechet_distance": {
        "correlations": ("np.cov(", "np.corrcoef("),
        "eigenvalues_alone": (
            "(vectors * np.sqrt(values.clip(0))) @ vectors.T",
            "np.diag(np.sqrt(values.clip(0)))",
        ),
        "one_trace": ("+ np.trace(c_b)", "+ np.trace(c_a)"),
    },
    "spreads": {
        "log10": ("np.log(values)", "np.log10(values)"),
        "off_the_best": ("logs.mean()", "logs.min()"),
        "one_number": ("np.abs(logs - logs.mean())", "np.abs(logs - logs.mean()).mean()"),
    },
    "mixture_log_prob": {
        "twice": ("math.log1p(-share)", "math.log(share)"),
        "over_images": ("axis=0", "axis=1"),
        "detached": (
            "return ops.logsumexp(both, axis=0)",
            "return ops.logsumexp(both.detach() if isinstance(both, Tensor) else both, axis=0)",
        ),
    },
}
