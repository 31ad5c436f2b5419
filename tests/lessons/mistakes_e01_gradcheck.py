"""Typical wrong solutions of e01_gradcheck, with what the checks say of them; and the hints."""

from minigen.course import Mistake

HINTS = {
    "move": (
        "Two questions: whose array is x, and is that where it should go?",
        "`isinstance(x, backend.module.ndarray)` says whether x belongs to `backend`. If that backend is the target, "
        "return x. If not, the numbers go home first and then out again. After the loop nobody knew x: TypeError.",
        "for source in backends: if isinstance(x, source.module.ndarray): return x if source is target else "
        "target.from_host(source.to_host(x)). Then: raise TypeError(f'... {type(x).__name__} ...')",
    ),
    "draw": (
        "Where do random numbers come from, if every backend should see the same ones?",
        "`rng.standard_normal(shape, dtype=...)` draws on the host. One call of the backend moves the result.",
        "return backend.from_host(rng.standard_normal(shape, dtype=np.float32))",
    ),
    "sigmoid": (
        "exp(1000) is infinite, exp(-1000) is just 0. Can you manage with the second kind only?",
        "Let e = exp(-|x|), which is between 0 and 1. For x >= 0 the answer is 1 / (1 + e). For x < 0 multiply "
        "numerator and denominator of 1 / (1 + exp(-x)) by exp(x): what comes out, in e?",
        "e = xp.exp(-xp.abs(x)); return xp.where(x >= 0, 1, e) / (1 + e)",
    ),
    "matmul_vjp": (
        "Write down the shapes of g, x and W, and the shape each gradient must have.",
        "y_ij = sum_k x_ik W_kj. So x_ik meets every y_ij with weight W_kj: its gradient is sum_j g_ij W_kj. "
        "That sum over j is a matrix product of g and a transposed factor. The same for W_kj, with a sum over i.",
        "return g @ W.T, x.T @ g",
    ),
    "central_difference": (
        "Two points, one on either side of x. How far are they from each other?",
        "The points are x + h * d and x - h * d. Writing them like this makes new arrays, so x is safe.",
        "return (f(x + h * d) - f(x - h * d)) / (2 * h)",
    ),
    "numerical_grad": (
        "One partial derivative at a time: a direction that is zero everywhere but at entry i.",
        "Copy x with np.array(x, dtype=np.float64). Visit all entries with np.ndindex(x.shape). At each make "
        "d = np.zeros_like(x), set d[i] = max(1, abs(x[i])), and call central_difference.",
        "The slope along d is d[i] times the partial derivative: grad[i] = central_difference(f, x, d, h) / d[i].",
    ),
    "close_enough": (
        "The formula is in the docstring. Which numbers make a comparison come out True by accident?",
        "RTOL * inf is inf, and inf <= inf holds: ask np.isfinite of both first. NaN makes every comparison false, "
        "which is right here if you ask `error <= bound`, and wrong if you ask `not error > bound`.",
        "np.isfinite(yours) & np.isfinite(numeric) & (np.abs(yours - numeric) <= RTOL * np.maximum(np.abs(yours), "
        "np.abs(numeric)) + noise)",
    ),
    "has_kink": (
        "forward_difference gives the right slope. What does it give for a negative h?",
        "right(h) = forward_difference(f, x, d, h), left(h) = forward_difference(f, x, d, -h). Compute both bends, "
        "at h and at h / 2, and compare the first with twice the second.",
        "half = right(h/2) - left(h/2); return abs(right - left - 2 * half) > RTOL * max(abs(right), abs(left)) + "
        "8 * noise",
    ),
    "directions": (
        "Two cases: few entries or many. `yield` hands out one direction and goes on afterwards.",
        "scale = np.maximum(1, np.abs(x)). Few: loop over np.ndindex(x.shape), a new array of zeros for each, one "
        "entry set to scale[i]. Many: k times signs * scale / sqrt(x.size).",
        "The signs: rng.choice([-1.0, 1.0], x.shape). After the k random directions, return.",
    ),
    "gradcheck": (
        "The docstring is a list: turn each sentence into a line or two, in that order.",
        "Manners: dtype.kind, np.array(x, np.float64), y = untouched(f, x) twice, g = rng.standard_normal(y.shape), "
        "grad = untouched(vjp, g, x), then its shape, dtype and np.isfinite. Define loss(x) = (g * f(x)).sum().",
        "for d in directions(x, rng=rng, limit=limit): if has_kink(loss, x, d, h, noise), count and continue; else "
        "compare (grad * d).sum() with central_difference(loss, x, d, h / 2) by close_enough. At the end: was "
        "anything compared?",
    ),
}

MISTAKES = [
    # move
    Mistake(
        "straight_over",
        "move",
        "target.from_host(source.to_host(x))",
        "target.from_host(x)",
        says="bring it home with to_host first",
    ),
    Mistake("round_trip", "move", "x if source is target else target", "target", says="round trip"),
    Mistake(
        "takes_anything",
        "move",
        None,
        """
        for source in backends:
            if isinstance(x, source.module.ndarray):
                return x if source is target else target.from_host(source.to_host(x))
        return target.from_host(np.asarray(x))
        """,
        says="expected a TypeError",
    ),
    # draw
    Mistake(
        "drawn_on_the_device",
        "draw",
        None,
        "return backend.module.random.standard_normal(shape).astype('float32')",
        says="draw them on the host",
    ),
    Mistake(
        "global_generator",
        "draw",
        "rng.standard_normal(shape, dtype=np.float32)",
        "np.random.standard_normal(shape).astype(np.float32)",
        says="hidden global generator",
    ),
    Mistake(
        "seeded_inside",
        "draw",
        "rng.standard_normal",
        "np.random.default_rng(0).standard_normal",
        says="do not make or seed a generator inside",
    ),
    Mistake("float64_noise", "draw", ", dtype=np.float32", "", says="expected float32"),
    Mistake(
        "uniform",
        "draw",
        "rng.standard_normal(shape, dtype=np.float32)",
        "rng.random(shape, dtype=np.float32)",
        says="is it N(0, 1)?",
    ),
    # sigmoid
    Mistake("overflow", "sigmoid", None, "return 1 / (1 + xp.exp(-x))", says="too large for any float"),
    Mistake(
        "clipped",
        "sigmoid",
        None,
        "return 1 / (1 + xp.exp(-xp.clip(x, -30, 30)))",
        says="do not clip x",
    ),
    Mistake("np_in_place_of_xp", "sigmoid", "xp.exp(-xp.abs(x))", "np.exp(-xp.abs(x))", says="use xp.exp"),
    Mistake(
        "float64_creeps_in",
        "sigmoid",
        "xp.where(x >= 0, 1, e)",
        "xp.where(x >= 0, xp.ones(x.shape), e)",
        says="a plain number (1) has no dtype",
    ),
    # matmul_vjp
    Mistake("no_transpose", "matmul_vjp", "g @ W.T, x.T @ g", "g @ W, x @ g", says="only one order fits"),
    Mistake("swapped", "matmul_vjp", "g @ W.T, x.T @ g", "x.T @ g, g @ W.T", says="first x, then W"),
    # central_difference
    Mistake(
        "forward_difference",
        "central_difference",
        "f(x - h * d)) / (2 * h)",
        "f(x)) / h",
        says="this is the forward difference",
    ),
    Mistake("no_two", "central_difference", "(2 * h)", "h", says="so divide by 2 h"),
    Mistake("no_brackets", "central_difference", "(2 * h)", "2 * h", says="brackets around"),
    Mistake(
        "h_too_small",
        "central_difference",
        "return ",
        "h = h * 1e-6\n    return ",
        says="a whole h to each side",
    ),
    Mistake(
        "not_restored",
        "central_difference",
        None,
        """
        x += h * d
        up = f(x)
        x -= 2 * h * d
        down = f(x)
        x += h * d
        return (up - down) / (2 * h)
        """,
        says="adding h and subtracting it again leaves rounding",
    ),
    # numerical_grad
    Mistake(
        "float32_check", "numerical_grad", "dtype=np.float64", "dtype=np.float32", says="make a float64 copy"
    ),
    Mistake(
        "integers_kept",
        "numerical_grad",
        "np.array(x, dtype=np.float64)",
        "np.array(x)",
        says="make a float64 copy",
    ),
    Mistake(
        "first_row_only",
        "numerical_grad",
        "np.ndindex(x.shape)",
        "np.ndindex((1, *x.shape[1:]) if x.ndim > 1 else x.shape)",
        says="is every entry of every row visited?",
    ),
    Mistake(
        "fixed_step", "numerical_grad", "max(1.0, abs(x[i]))", "1.0", says="scaled by the size of the entry"
    ),
    Mistake(
        "ravel_of_a_view",
        "numerical_grad",
        None,
        """
        x = np.array(x, dtype=np.float64)
        flat, grad = x.reshape(-1), np.zeros(x.size)
        for i in range(x.size):
            old, step = flat[i], h * max(1.0, abs(flat[i]))
            flat[i] = old + step
            up = f(x)
            flat[i] = old - step
            grad[i] = (up - f(x)) / (2 * step)
            flat[i] = old
        return grad.reshape(x.shape)
        """,
        says="not a view",
    ),
    Mistake(
        "direction_not_reset",
        "numerical_grad",
        None,
        """
        x = np.array(x, dtype=np.float64)
        grad, d = np.zeros_like(x), np.zeros_like(x)
        for i in np.ndindex(x.shape):
            d[i] = max(1.0, abs(x[i]))
            grad[i] = central_difference(f, x, d, h) / d[i]
        return grad
        """,
        says="put back before the next one moves",
    ),
    Mistake(
        "callers_array",
        "numerical_grad",
        None,
        """
        x = np.asarray(x, dtype=np.float64)
        grad = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            old, step = x[i], h * max(1.0, abs(x[i]))
            x[i] = old + step
            up = f(x)
            x[i] = old - step
            grad[i] = (up - f(x)) / (2 * step)
            x[i] = old
        return grad
        """,
        says="never on the caller's array",
    ),
    # close_enough
    Mistake(
        "absolute_tolerance",
        "close_enough",
        "RTOL * np.maximum(np.abs(yours), np.abs(numeric)) + noise",
        "1e-6 + noise",
        says="the bound grows with the numbers",
    ),
    Mistake(
        "no_abs",
        "close_enough",
        "np.abs(yours - numeric)",
        "(yours - numeric)",
        says="take the absolute value of the difference",
    ),
    Mistake(
        "nan_passes",
        "close_enough",
        None,
        """
        error = np.abs(yours - numeric)
        return ~(error > RTOL * np.maximum(np.abs(yours), np.abs(numeric)) + noise)
        """,
        says="NaN passes",
    ),
    Mistake(
        "the_larger_of_both",
        "close_enough",
        "RTOL * np.maximum(np.abs(yours), np.abs(numeric)) + noise",
        "np.maximum(RTOL * np.maximum(np.abs(yours), np.abs(numeric)), noise)",
        says="not the larger of the two",
    ),
    Mistake(
        "the_smaller_number",
        "close_enough",
        "np.maximum(np.abs(yours), np.abs(numeric))",
        "np.minimum(np.abs(yours), np.abs(numeric))",
        says="takes the larger of |yours| and |numeric|",
    ),
    Mistake("infinity_passes", "close_enough", "finite & ", "", says="infinity passes"),
    Mistake(
        "zero_over_zero",
        "close_enough",
        "<= RTOL * np.maximum(np.abs(yours), np.abs(numeric)) + noise",
        "< RTOL * np.maximum(np.abs(yours), np.abs(numeric)) + noise",
        says="zero is close to zero",
    ),
    Mistake(
        "all_at_once",
        "close_enough",
        "finite & (",
        "np.all(finite) & np.all(",
        says="one answer for each entry",
    ),
    # has_kink
    Mistake(
        "any_bend",
        "has_kink",
        "abs(right - left - 2 * half)",
        "abs(right - left)",
        says="twice the step, twice the bend",
    ),
    Mistake(
        "one_sign_only",
        "has_kink",
        "abs(right - left - 2 * half)",
        "(right - left - 2 * half)",
        says="in absolute value",
    ),
    Mistake("no_noise", "has_kink", " + 8 * noise", "", says="this bend is rounding"),
    # directions
    Mistake(
        "first_coordinate",
        "directions",
        "yield d",
        "yield d\n        return",
        says="one direction for every entry",
    ),
    Mistake("unscaled", "directions", "np.maximum(1.0, np.abs(x))", "np.ones_like(x)", says="max(1, |x_i|)"),
    Mistake(
        "ones",
        "directions",
        "rng.choice([-1.0, 1.0], x.shape)",
        "np.ones(x.shape)",
        says="errors that cancel",
    ),
    Mistake("global_signs", "directions", "rng.choice", "np.random.choice", says="hidden global generator"),
    # gradcheck
    Mistake(
        "ones_upstream",
        "gradcheck",
        "rng.standard_normal(y.shape)",
        "np.ones(y.shape)",
        says="the upstream gradient must be random",
    ),
    Mistake(
        "redrawn",
        "gradcheck",
        "return (g * f(x)).sum()",
        "return (rng.standard_normal(y.shape) * f(x)).sum()",
        says="drawn once",
    ),
    Mistake(
        "shape_not_compared",
        "gradcheck",
        "grad.shape != x.shape or ",
        "",
        says="NumPy broadcasts one that does not fit",
    ),
    Mistake("dtype_not_compared", "gradcheck", " or grad.dtype != x.dtype", "", says="compare the dtypes"),
    Mistake(
        "float32_kept",
        "gradcheck",
        "np.array(x, dtype=np.float64)",
        "np.array(x)",
        says="check with a float64 copy",
    ),
    Mistake(
        "integers_taken",
        "gradcheck",
        'kind != "f"',
        'kind not in "fib"',
        says="a derivative needs real numbers",
    ),
    Mistake(
        "kinks_fail",
        "gradcheck",
        "            skipped += 1\n            continue\n",
        "            skipped += 1\n",
        says="there is no slope at a kink",
    ),
    Mistake(
        "kinks_pass",
        "gradcheck",
        "            skipped += 1\n",
        "            compared += 1\n",
        says="neither right nor wrong",
    ),
    Mistake(
        "asked_once",
        "gradcheck",
        "not np.array_equal(y, untouched(f, x), equal_nan=True)",
        "False",
        says="ask it twice",
    ),
    Mistake(
        "damage_unseen",
        "gradcheck",
        "untouched(vjp, g, x)",
        "np.array(vjp(g.copy(), x.copy()))",
        says="through `untouched`",
    ),
    Mistake("nothing_is_a_pass", "gradcheck", "if not compared:", "if False:", says="that is no pass"),
    Mistake(
        "no_noise_floor",
        "gradcheck",
        "noise + abs(wide - numeric)",
        "0.0",
        says="f is large beside its slope",
    ),
    Mistake(
        "no_truncation",
        "gradcheck",
        "noise + abs(wide - numeric)",
        "noise",
        says="allow |slope(h) - slope(h / 2)| more",
    ),
    Mistake(
        "noise_of_the_sum",
        "gradcheck",
        "np.abs(g * y).sum()",
        "abs((g * y).sum())",
        says="the absolute values before the sum",
    ),
]
