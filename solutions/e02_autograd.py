"""Reverse-mode autograd: record the forward pass, walk it backwards, add up. About 150 minutes.

An operation is a pair: a forward function on arrays, and a rule that carries the gradient of its output back to
its arguments. A Tensor remembers the operation and the arguments that made it. To walk these memories from a loss
back to the parameters, newest first, applying rules and adding up what arrives: that is backpropagation.

Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors"; Baydin, Pearlmutter,
Radul and Siskind (2018), "Automatic differentiation in machine learning: a survey", section 3.2.
"""

import contextlib

import numpy as np

# Where a learner's version goes in the engine.
PLUGS = {"scatter_add": "minigen.ops:put", "unbroadcast": "minigen.autograd:sum_to"}


class Tensor:
    """An array that remembers how it was made.

    data: an array; a float array is kept as it is, with its dtype; numbers, lists and integers become float32.
    """

    __array_ufunc__ = None  # array * tensor: NumPy steps back, and Tensor.__rmul__ records the product

    def __init__(self, data, requires_grad=False):
        is_float = isinstance(data, np.ndarray | np.generic) and data.dtype.kind == "f"
        self.data = np.asarray(data, dtype=None if is_float else np.float32)
        self.requires_grad = requires_grad
        self.recipe = None  # (op, args, meta) if a recorded operation made it; None for a leaf
        self.grad = None  # an array like data, once a backward pass has arrived here

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)

    def __repr__(self):
        return f"Tensor({self.data}, requires_grad={self.requires_grad})"


def raw(a):
    """The array of a Tensor; arrays and numbers as they are."""
    return a.data if isinstance(a, Tensor) else a


def needs_grad(a):
    """Whether `a` is a Tensor that requires gradients."""
    return isinstance(a, Tensor) and a.requires_grad


# Recording

recording = True


def record(op, args, meta):
    """The result of `op` on the tuple `args` (Tensors, arrays, numbers), with the dict `meta` (axis, shape, ...).

    The forward function sees arrays only: `op.forward(*arrays, **meta)`. If no argument is a Tensor, its result is
    returned as it is. Otherwise the result is a Tensor. It requires gradients if at least one argument does and
    `recording` is on; then, and only then, it keeps its recipe `(op, args, meta)`, with `args` as they came in.
    """
    # solution: run the forward function on arrays; wrap the result, keep its recipe if needed
    y = op.forward(*map(raw, args), **meta)
    if not any(isinstance(a, Tensor) for a in args):
        return y
    needed = recording and any(map(needs_grad, args))
    result = Tensor(y, requires_grad=needed)
    if needed:
        result.recipe = (op, args, meta)
    return result
    # end


def op(forward, rule):
    """A differentiable operation: arrays are its positional arguments, everything else is keyword-only metadata.

    forward: (*arrays, **meta) -> array
    rule: (g, y, *arrays, **meta) -> a list of thunks, one for each array. `y` is the result, `g` the gradient of the
    loss with respect to `y`. Thunk i returns the gradient with respect to argument i, in the dtype of g; whoever
    needs it calls it. A rule changes none of its inputs, and need not undo broadcasting: the walk does that.
    """

    def call(*args, **meta):
        return record(call, args, meta)

    call.forward, call.rule = forward, rule
    return call


@contextlib.contextmanager
def no_grad():
    """`with no_grad():` switches `recording` off for the block.

    However the block ends, also by an exception (which goes on to the caller), `recording` is then what it was
    before: so blocks nest.
    """
    # solution: switch recording off, yield, and restore what it was, whatever happens in between
    global recording
    before, recording = recording, False
    try:
        yield
    finally:
        recording = before
    # end


def detach(x):
    """(...) -> (...): a new Tensor with the numbers and dtype of the Tensor x, cut from the graph; x stays as it is."""
    # solution: a Tensor of the same data that requires no gradients and has no recipe
    return Tensor(x.data)
    # end


# Rules


def log_vjp(g, y, x):
    """(...) -> [(...)]: the rule of y = log(x)"""
    # solution: return a list of one thunk: g times the derivative of log at x
    return [lambda: g / x]
    # end


def matmul_vjp(g, y, a, b):
    """(..., n, m) -> [(..., n, k), (..., k, m)]: the rule of y = a @ b, for (..., n, k) @ (..., k, m)

    Both have at least two axes. Batch axes may broadcast; summing over them is left to the walk, as in every rule.
    """
    # solution: return two thunks: g times the other factor, transposed, on its own side
    return [lambda: g @ b.mT, lambda: a.mT @ g]
    # end


def sum_vjp(g, y, x, *, axis=None, keepdims=False):
    """(shape of y) -> [(shape of x)]: the rule of y = x.sum(axis, keepdims)

    axis: None (all), an integer or a tuple of integers; negative ones count from the end.
    """
    # solution: give g its summed axes back, with size 1, and broadcast it to the shape of x
    axes = range(x.ndim) if axis is None else [a % x.ndim for a in np.atleast_1d(axis)]
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return [lambda: broadcast_to(g.reshape(kept), shape=x.shape)]
    # end


def scatter_add(x, *, index, shape):
    """(shape of a[index]) -> shape: zeros with x added at `index`, places named several times get the sum

    The transpose of a[index], for an `a` of that shape, and so the heart of its rule. Arrays only. `index` is anything
    that NumPy takes: integers, slices, arrays of integers or booleans, tuples of them. The dtype is that of x.
    """
    # solution: start from zeros, add x at the index (`zeros[index] += x` misses repeats)
    y = np.zeros(shape, x.dtype)
    np.add.at(y, index, x)
    return y
    # end


def unbroadcast(x, *, shape):
    """(...) -> shape: undo np.broadcast_to(a, x.shape) for an `a` of `shape`: sum what broadcasting had copied

    Arrays only. Axes that were added in front vanish; axes that were stretched from size 1 have size 1 again.
    """
    # solution: sum over the axes in front and over those of size 1 in `shape`; then reshape
    extra = x.ndim - len(shape)
    copied = tuple(i for i in range(x.ndim) if i < extra or shape[i - extra] == 1)
    return x.sum(axis=copied).reshape(shape) if copied else x
    # end


# Operations. Fed arrays, a rule computes; fed Tensors, it is recorded like everything else.

add = op(np.add, lambda g, y, a, b: [lambda: g, lambda: g])
neg = op(np.negative, lambda g, y, x: [lambda: -g])
mul = op(np.multiply, lambda g, y, a, b: [lambda: g * b, lambda: g * a])
div = op(np.divide, lambda g, y, a, b: [lambda: g / b, lambda: -g * y / b])
exp = op(np.exp, lambda g, y, x: [lambda: g * y])
log = op(np.log, log_vjp)
matmul = op(np.matmul, matmul_vjp)
sum_ = op(np.sum, sum_vjp)
mT = op(lambda x: x.mT, lambda g, y, x: [lambda: g.mT])
reshape = op(lambda x, *, shape: x.reshape(shape), lambda g, y, x, *, shape: [lambda: g.reshape(x.shape)])

# Two pairs of linear operations. Each is the other's transpose, and therefore the other's rule.
broadcast_to = op(np.broadcast_to, lambda g, y, x, *, shape: [lambda: sum_to(g, shape=x.shape)])
sum_to = op(unbroadcast, lambda g, y, x, *, shape: [lambda: broadcast_to(g, shape=x.shape)])
take = op(
    lambda x, *, index: x[index],
    lambda g, y, x, *, index: [lambda: put(g, index=index, shape=x.shape)],
)
put = op(scatter_add, lambda g, y, x, *, index, shape: [lambda: take(g, index=index)])


# The walk


def sources(node):
    """The arguments that `node` was made from and that require gradients; a repeated one is listed repeatedly."""
    return [a for a in node.recipe[1] if needs_grad(a)] if node.recipe else []


def topological_order(y):
    """The Tensors behind y that require gradients, y included, as a list: each once, results before their sources.

    Wherever one was computed from another, by however many steps, it stands before it. No recursion: a graph
    may be many thousand operations deep. Linear time: a graph of n operations may have 2 ** n paths.
    """
    # solution: list a Tensor once all results computed from it are listed: count them down
    waiting, found = {y: 0}, [y]
    while found:
        for a in sources(found.pop()):
            if a not in waiting:
                waiting[a] = 0
                found.append(a)
            waiting[a] += 1
    order, ready = [], [y]
    while ready:
        node = ready.pop()
        order.append(node)
        for a in sources(node):
            waiting[a] -= 1
            if waiting[a] == 0:
                ready.append(a)
    return order
    # end


def spent(*_):
    """The rule of a graph that has been used."""
    raise RuntimeError("backward: this graph was already used, and freed: run the forward pass again")


SPENT = (op(spent, spent), (), {})  # the recipe of a Tensor that a backward pass has gone through


def backward(y, seed=None):
    """Adds the gradient of y to `.grad` of every leaf behind it that requires gradients (None counts as zero).

    seed: the gradient that flows into y, an array of its shape; it may be left out if y holds one number, and is
    then 1. It stays as it is, and so do the data of all Tensors. Gradients are arrays, and every gradient, on the
    way too, has the shape and the dtype of its Tensor. A thunk is called only if its argument requires gradients,
    each rule once. On the way the graph is freed: the recipe of every result becomes SPENT.
    """
    if not y.requires_grad:
        raise RuntimeError("backward: nothing was recorded: no argument requires gradients, or under no_grad")
    fits = y.data.size == 1 if seed is None else np.shape(seed) == y.shape
    if not fits:
        raise ValueError(f"backward: y has shape {y.shape}: it needs a seed of the same shape")
    # solution: in topological order: rule, un-broadcast, cast, add to what the argument has so far
    grads = {y: np.ones_like(y.data) if seed is None else np.asarray(seed, y.dtype)}
    for node in topological_order(y):
        g = grads.pop(node)
        if node.recipe is None:
            node.grad = g if node.grad is None else node.grad + g
            continue
        f, args, meta = node.recipe
        for a, thunk in zip(args, f.rule(g, node.data, *map(raw, args), **meta), strict=True):
            if needs_grad(a):
                ga = np.asarray(unbroadcast(thunk(), shape=a.shape), a.dtype)
                grads[a] = grads[a] + ga if a in grads else ga
        node.recipe = SPENT
    # end


def descend(loss, parameters, rate):
    """One step of gradient descent: p <- p - rate * (gradient of `loss` with respect to p), for each parameter p.

    The parameters are leaves, and stay the same Tensors with the same dtype: only their data change. What an earlier
    pass left in their `.grad` does not count. A parameter that the loss does not depend on keeps its data.
    """
    # solution: forget the old gradients, run the backward pass, move the data of each parameter
    for p in parameters:
        p.grad = None
    backward(loss)
    for p in parameters:
        if p.grad is not None:
            p.data = p.data - rate * p.grad
    # end


def grad(y, xs):
    """The gradients of y (one number) with respect to each of xs: a list of Tensors that can be differentiated again.

    The walk of `backward`, with one difference: the rules are fed Tensors (g, the result, the arguments) instead of
    arrays, so what they compute is recorded. xs: Tensors that y was computed from, leaves or not. The graph is kept,
    and every `.grad` stays as it is. All data have one dtype.
    """
    # solution: the loop of backward, with Tensors for the rules and the op sum_to
    grads = {y: Tensor(np.ones_like(y.data))}
    for node in topological_order(y):
        if node.recipe is None:
            continue
        f, args, meta = node.recipe
        for a, thunk in zip(args, f.rule(grads[node], node, *args, **meta), strict=True):
            if needs_grad(a):
                ga = sum_to(thunk(), shape=a.shape)
                grads[a] = grads[a] + ga if a in grads else ga
    return [grads[x] for x in xs]
    # end


# What a Tensor can do: every operator and method is one of the functions above.

Tensor.__add__ = Tensor.__radd__ = add
Tensor.__mul__ = Tensor.__rmul__ = mul
Tensor.__neg__ = neg
Tensor.__sub__, Tensor.__rsub__ = lambda a, b: a + (-b), lambda a, b: b + (-a)
Tensor.__truediv__, Tensor.__rtruediv__ = div, lambda a, b: div(b, a)
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, lambda a, b: matmul(b, a)
Tensor.__getitem__ = lambda x, index: take(x, index=index)
Tensor.exp, Tensor.log, Tensor.mT = exp, log, property(mT)
Tensor.sum = lambda x, axis=None, keepdims=False: sum_(x, axis=axis, keepdims=keepdims)
Tensor.reshape = lambda x, *shape: reshape(x, shape=shape[0] if isinstance(shape[0], tuple) else shape)
Tensor.detach, Tensor.backward = detach, backward
