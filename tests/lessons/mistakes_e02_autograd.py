"""Typical wrong solutions of e02_autograd, each with what its check must say; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="arrays_in_the_recipe",
        hole="record",
        old="result.recipe = (op, args, meta)",
        new="result.recipe = (op, tuple(map(raw, args)), meta)",
        says="the graph is cut there",
    ),
    Mistake(
        name="only_the_first_argument",
        hole="record",
        old="recording and any(map(needs_grad, args))",
        new="recording and needs_grad(args[0])",
        says="look at all arguments, not only at one",
    ),
    Mistake(
        name="recording_ignored",
        hole="record",
        old="recording and any(map(needs_grad, args))",
        new="any(map(needs_grad, args))",
        says="`recording` was not looked at",
    ),
    Mistake(
        name="arrays_become_tensors",
        hole="record",
        old="        return y\n    needed",
        new="        y = y\n    needed",
        says="without a Tensor among the arguments the result must be the plain array",
    ),
    Mistake(
        name="not_restored_after_exception",
        hole="no_grad",
        old=None,
        new="""
            global recording
            before, recording = recording, False
            yield
            recording = before
        """,
        says="an exception inside the block left recording off for good",
    ),
    Mistake(
        name="restored_to_true",
        hole="no_grad",
        old="recording = before\n",
        new="recording = True\n",
        says="an inner no_grad switched recording on while the outer one still runs",
    ),
    Mistake(
        name="local_variable",
        hole="no_grad",
        old=None,
        new="""
            before, recording = True, False
            try:
                yield
            finally:
                recording = before
        """,
        says="without `global recording` an assignment makes a local variable",
    ),
    Mistake(
        name="still_linked",
        hole="detach",
        old=None,
        new="""
            cut = Tensor(x.data)
            cut.recipe, cut.requires_grad = x.recipe, x.requires_grad
            return cut
        """,
        says="the detached tensor still requires gradients",
    ),
    Mistake(
        name="original_detached",
        hole="detach",
        old=None,
        new="""
            x.requires_grad, x.recipe = False, None
            return x
        """,
        says="detach returned the tensor itself",
    ),
    Mistake(
        name="y_for_x",
        hole="log_vjp",
        old="g / x",
        new="g / y",
        says="you divide by y = log(x)",
    ),
    Mistake(
        name="no_upstream_gradient",
        hole="log_vjp",
        old="g / x",
        new="1 / x",
        says="the upstream gradient g is missing",
    ),
    Mistake(
        name="transposes_swapped",
        hole="matmul_vjp",
        old=None,
        new="return [lambda: a.mT @ g, lambda: g @ b.mT]",
        says="the two are swapped",
    ),
    Mistake(
        name="all_axes_transposed",
        hole="matmul_vjp",
        old=None,
        new="return [lambda: g @ b.T, lambda: a.T @ g]",
        says="did you use .T, which turns the batch axes too?",
    ),
    Mistake(
        name="first_input_only",
        hole="matmul_vjp",
        old="[lambda: g @ b.mT, lambda: a.mT @ g]",
        new="[lambda: g @ b.mT]",
        says="returned 1 thunks for 2 arguments",
    ),
    Mistake(
        name="not_broadcast_back",
        hole="sum_vjp",
        old="broadcast_to(g.reshape(kept), shape=x.shape)",
        new="g.reshape(kept)",
        says="not stretched: broadcast to the shape of x",
    ),
    Mistake(
        name="keepdims_forgotten",
        hole="sum_vjp",
        old="broadcast_to(g.reshape(kept), shape=x.shape)",
        new="broadcast_to(g, shape=x.shape)",
        says="put the summed axis back first",
    ),
    Mistake(
        name="negative_axis",
        hole="sum_vjp",
        old="[a % x.ndim for a in np.atleast_1d(axis)]",
        new="[a for a in np.atleast_1d(axis)]",
        says="give g its summed axes back",
    ),
    Mistake(
        name="assignment",
        hole="scatter_add",
        old="np.add.at(y, index, x)",
        new="y[index] = x",
        says="holds only its last number",
    ),
    Mistake(
        name="buffered_addition",
        hole="scatter_add",
        old="np.add.at(y, index, x)",
        new="y[index] += x",
        says="reads before it adds, so repeated places do not add up",
    ),
    Mistake(
        name="zeros_of_float64",
        hole="scatter_add",
        old="np.zeros(shape, x.dtype)",
        new="np.zeros(shape)",
        says="give np.zeros the dtype of x",
    ),
    Mistake(
        name="leading_axes_only",
        hole="unbroadcast",
        old=None,
        new="return x.sum(axis=tuple(range(x.ndim - len(shape))))",
        says="nothing was summed",
    ),
    Mistake(
        name="size_one_axes_removed",
        hole="unbroadcast",
        old="x.sum(axis=copied).reshape(shape)",
        new="x.sum(axis=copied)",
        says="axes of size 1 are gone",
    ),
    Mistake(
        name="mean_of_the_copies",
        hole="unbroadcast",
        old="x.sum(axis=copied)",
        new="x.mean(axis=copied)",
        says="it is the mean over the copied axes",
    ),
    Mistake(
        name="depth_first",
        hole="topological_order",
        old=None,
        new="""
            order, stack = [], [y]
            while stack:
                node = stack.pop()
                if node not in order:
                    order.append(node)
                    stack.extend(sources(node))
            return order
        """,
        says="plain depth-first or breadth-first order is not enough",
    ),
    Mistake(
        name="breadth_first",
        hole="topological_order",
        old=None,
        new="""
            order = [y]
            for node in order:
                order.extend(dict.fromkeys(a for a in sources(node) if a not in order))
            return order
        """,
        says="plain depth-first or breadth-first order is not enough",
    ),
    Mistake(
        name="recursion",
        hole="topological_order",
        old=None,
        new="""
            order, seen = [], set()

            def visit(node):
                if node not in seen:
                    seen.add(node)
                    for a in sources(node):
                        visit(a)
                    order.append(node)

            visit(y)
            return order[::-1]
        """,
        says="Python ends a recursion after about 1,000 levels",
    ),
    Mistake(
        name="overwriting",
        hole="backward",
        old="grads[a] + ga if a in grads else ga",
        new="ga",
        says="you overwrite instead of adding",
    ),
    Mistake(
        name="grad_overwritten",
        hole="backward",
        old="g if node.grad is None else node.grad + g",
        new="g",
        says=".grad holds the last pass only",
    ),
    Mistake(
        name="grad_everywhere",
        hole="backward",
        old="        if node.recipe is None:\n            node.grad = g if node.grad is None else node.grad + g\n",
        new="        node.grad = g if node.grad is None else node.grad + g\n        if node.recipe is None:\n",
        says="only leaves keep theirs",
    ),
    Mistake(
        name="in_place",
        hole="backward",
        old="grads[a] = grads[a] + ga if a in grads else ga",
        new="grads[a] = np.add(grads[a], ga, out=grads[a]) if a in grads else ga",
        says="adding with += changed an array that another gradient shares",
    ),
    Mistake(
        name="not_unbroadcast",
        hole="backward",
        old="unbroadcast(thunk(), shape=a.shape)",
        new="thunk()",
        says="sum over the axes that broadcasting had copied",
    ),
    Mistake(
        name="seed_of_ones",
        hole="backward",
        old="np.ones_like(y.data) if seed is None else np.asarray(seed, y.dtype)",
        new="np.ones_like(y.data)",
        says="the seed was not used",
    ),
    Mistake(
        name="seed_of_float64",
        hole="backward",
        old="np.ones_like(y.data) if seed is None else np.asarray(seed, y.dtype)",
        new="np.ones(y.shape) if seed is None else seed",
        says="look at the dtype of the seed",
    ),
    Mistake(
        name="graph_kept",
        hole="backward",
        old="node.recipe = SPENT",
        new="pass",
        says="after backward the graph is still in memory",
    ),
    Mistake(
        name="freed_into_leaves",
        hole="backward",
        old="node.recipe = SPENT",
        new="node.recipe = None",
        says="None would make it look like a leaf",
    ),
    Mistake(
        name="stale_gradients",
        hole="descend",
        old="p.grad = None",
        new="pass",
        says="an old gradient was added in",
    ),
    Mistake(
        name="uphill",
        hole="descend",
        old="p.data - rate",
        new="p.data + rate",
        says="it went uphill",
    ),
    Mistake(
        name="rebound_name",
        hole="descend",
        old="p.data = p.data - rate * p.grad",
        new="p = p - rate * p.grad",
        says="only gives a new meaning to the name p",
    ),
    Mistake(
        name="arrays_to_the_rules",
        hole="grad",
        old="f.rule(grads[node], node, *args, **meta)",
        new="f.rule(grads[node], node.data, *map(raw, args), **meta)",
        says="the gradient is not connected to x",
    ),
    Mistake(
        name="overwriting_in_grad",
        hole="grad",
        old="grads[a] + ga if a in grads else ga",
        new="ga",
        says="you overwrite instead of adding",
    ),
    Mistake(
        name="graph_freed",
        hole="grad",
        old="        f, args, meta = node.recipe",
        new="        (f, args, meta), node.recipe = node.recipe, SPENT",
        says="grad freed the graph",
    ),
]

HINTS = {
    "record": (
        "Three cases: no Tensor at all; Tensors, but nothing to remember; Tensors with something to remember.",
        "`raw(a)` unwraps an argument. Remember only if `recording` is on and `needs_grad(a)` holds for some a.",
        "y = op.forward(*[raw(a) for a in args], **meta), then Tensor(y, requires_grad=needed); if needed, set "
        "its recipe to (op, args, meta).",
    ),
    "no_grad": (
        "Everything before `yield` runs when the block begins, everything after it when the block ends.",
        "Keep the old value, not True. `try: yield` with `finally:` also runs when the block raises.",
        "global recording; before = recording; recording = False; try: yield; finally: recording = before",
    ),
    "detach": (
        "Look at what Tensor.__init__ sets when it is given an array and nothing else.",
        "A new Tensor is a leaf without requires_grad: exactly what is wanted. Leave x alone.",
        "return Tensor(x.data)",
    ),
    "log_vjp": (
        "Which derivative does log have, and at which point: x or y?",
        "The chain rule: the gradient for x is g times 1 / x, entry by entry. Return it as a list of one function.",
        "return [lambda: g / x]",
    ),
    "matmul_vjp": (
        "Write down the shapes: g is (n, m). Which product with b or a gives (n, k), and which (k, m)?",
        "y[i, j] depends on a[i, l] through b[l, j]: sum g[i, j] b[l, j] over j. The sum is a matrix product.",
        "The gradient of a is g @ b.mT. For b, put a.mT on the left. Each in a lambda, both in a list.",
    ),
    "sum_vjp": (
        "Every x that went into a sum has derivative 1: it receives the g of that sum. So g is copied, not computed.",
        "To copy along the summed axes, g must have them: size 1 there, as keepdims=True would have left it.",
        "kept = x.shape with 1 at the summed axes (a % x.ndim for negative ones); broadcast_to(g.reshape(kept), "
        "shape=x.shape), in a lambda, in a list.",
    ),
    "scatter_add": (
        "Where a place was read twice, two gradients come back to it.",
        "`y[index] += x` reads y[index] once, adds, and writes: of two numbers for one place one gets lost. NumPy "
        "has a ufunc method for this.",
        "y = np.zeros(shape, x.dtype); np.add.at(y, index, x); return y",
    ),
    "unbroadcast": (
        "Copying forwards means summing backwards. Which axes of x were made by copying?",
        "Shapes align from the right: the first x.ndim - len(shape) axes are new; of the others, those of size 1 in "
        "`shape` were stretched.",
        "extra = x.ndim - len(shape); sum over the axes i with i < extra or shape[i - extra] == 1; reshape to shape.",
    ),
    "topological_order": (
        "In x + exp(x), when may x be listed? Only after exp(x), although it is also a direct source of the sum.",
        "Count first: for each Tensor, how many times do results behind y use it? Whenever a result is listed, take "
        "one off the count of each of its sources; at zero a source is ready.",
        "First loop: a stack from y, waiting[a] += 1 for each a in sources(node), pushing a when it is seen first. "
        "Second loop: ready = [y]; pop, list, count down, push at zero.",
    ),
    "backward": (
        "Keep a dict from Tensor to the gradient it has received so far. It starts with y and the seed.",
        "For a leaf, add to .grad. For a result, call its rule with arrays, and each thunk whose argument "
        "needs_grad: un-broadcast, cast, add. Always a + b, never +=.",
        "for node in topological_order(y): g = grads[node]; f, args, meta = node.recipe; thunks = f.rule(g, node.data, "
        "*map(raw, args), **meta); afterwards node.recipe = SPENT.",
    ),
    "descend": (
        "Gradients add up in .grad until someone clears them.",
        "Clear, backward, update. Change p.data: it is an array, so nothing is recorded.",
        "p.grad = None for each; backward(loss); then p.data = p.data - rate * p.grad where p.grad is not None.",
    ),
    "grad": (
        "It is the loop of backward. What must change so that what the rules compute is recorded?",
        "Feed Tensors: the first gradient is Tensor(np.ones_like(y.data)), the rule gets `node` and `*args`.",
        "f.rule(grads[node], node, *args, **meta); ga = sum_to(thunk(), shape=a.shape); grads[a] = grads[a] + ga. "
        "Keep all gradients, write no .grad, free nothing; return [grads[x] for x in xs].",
    ),
}
