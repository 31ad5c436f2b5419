"""Recurrence: RNN, LSTM, and backpropagation through time by hand. About 150 minutes.

A recurrent layer reads a sequence x_1, x_2, ..., x_T one step after the other, with the same weights at every step.
What it knows of the past is its state, which each step hands to the next:

    RNN     h_t = tanh(x_t W_x + h_{t-1} W_h + b)

    LSTM    a_t = x_t W_x + h_{t-1} W_h + b                 four blocks of columns: i, f, g, o
            i, f, o = sigmoid of a_i, a_f, a_o              gates, from 0 (shut) to 1 (open)
            g = tanh(a_g)                                   what could be written
            c_t = f c_{t-1} + i g                           the cell: keep some, write some
            h_t = o tanh(c_t)                               what the others get to see

Unrolled over T steps it is a network of T layers that share their weights, and its gradient is the chain rule from the
last step to the first: backpropagation through time. Here it is written by hand, one node for a whole sequence, as the
engine does it. Time comes first, then the batch: x is (T, N, d), N sequences side by side.

Elman (1990), Finding structure in time; Hochreiter and Schmidhuber (1997), Long Short-Term Memory; Gers, Schmidhuber
and Cummins (2000), Learning to forget; Werbos (1990), Backpropagation through time: what it does and how to do it.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np

from minigen import Tensor, grad, no_grad, ops, xp
from minigen.autograd import fused
from minigen.backend import to_host
from minigen.errors import ShapeError
from minigen.nn import Dense, Module, cross_entropy, detach, squared_error
from minigen.nn.init import orthogonal, xavier_uniform
from minigen.optim import Adam
from minigen.optim.schedules import cosine

# Where a learner's version goes in the engine. `lstm` takes lstm_step and lstm_backward along.
PLUGS = {
    "lstm": "minigen.ops:lstm",
    "LSTM.__init__": "minigen.nn:LSTM.__init__",
    "LSTM.__call__": "minigen.nn:LSTM.__call__",
    "clip_grad_norm": "minigen.optim:clip_grad_norm",
}


# The plain recurrent network


def rnn_step(x, h, W_x, W_h, b):
    """(N, d), (N, h), (d, h), (h, h), (h,) -> (N, h): the next state, tanh(x W_x + h W_h + b)

    For arrays and for Tensors: operators and minigen.ops (ops.tanh) take both, and give what they were given.
    """
    # solution: both products and the bias, through a tanh
    return ops.tanh(x @ W_x + h @ W_h + b)
    # end


@fused
def rnn(x, h0, W_x, W_h, b):
    """(T, N, d), (N, h), (d, h), (h, h), (h,) -> (T + 1, N, h): h_0, h_1, ..., h_T"""
    hs = xp.empty((len(x) + 1, *h0.shape), xp.result_type(x, h0, W_x, W_h, b))
    hs[0] = h0
    for t in range(len(x)):
        hs[t + 1] = rnn_step(x[t], hs[t], W_x, W_h, b)
    return hs, hs.copy()  # the result, and what the backward pass wants to keep


@rnn.vjp
def rnn_rule(g, hs, x, h0, W_x, W_h, b):
    gradients = cache(lambda: rnn_backward(g, hs, x, W_x, W_h))  # made once, when the first is asked for
    return tuple(lambda k=k: gradients()[k] for k in range(5))


def rnn_backward(g, hs, x, W_x, W_h):
    """(T + 1, N, h), (T + 1, N, h), (T, N, d), (d, h), (h, h) -> the gradients of x, h0, W_x, W_h and b, as a tuple

    g is the gradient of hs = h_0, ..., h_T, as far as the loss looks at them directly. What a state does to the loss by
    way of the next state is yours to add: from the last step to the first,

        dh_T = g_T,    da_t = dh_t (1 - h_t^2),    dh_{t-1} = g_{t-1} + da_t W_h^T.

    hs, x and the weights are raw arrays; none of the arguments is changed.
    """
    # solution: backwards in time, keep every da_t; then x from da, the weights by weight_gradients
    dh, da = g[-1], xp.empty_like(hs[1:])  # (N, h), (T, N, h)
    for t in reversed(range(len(x))):
        da[t] = dh * (1 - hs[t + 1] ** 2)
        dh = g[t] + da[t] @ W_h.T
    return da @ W_x.T, dh, *weight_gradients(da, x, hs)
    # end


def weight_gradients(da, x, hs):
    """(T, N, k), (T, N, d), (T + 1, N, h) -> (d, k), (h, k), (k,): the gradients of W_x, W_h and b

    a_t = x_t W_x + h_{t-1} W_h + b has the gradient da_t, and hs = h_0, h_1, ..., h_T. All steps share the weights, so
    what the steps contribute adds up, as what the N sequences contribute does; T gradients of W never exist at once.
    T may be 0; none of the arguments is changed.
    """
    # solution: (all x)^T da, (the state before each step)^T da, and da summed over steps and sequences
    rows = da.reshape(-1, da.shape[2])  # (T, N, k) -> (T N, k)
    W_x = x.reshape(-1, x.shape[2]).T @ rows  # (d, T N) (T N, k)
    W_h = hs[:-1].reshape(-1, hs.shape[2]).T @ rows  # (h, T N) (T N, k)
    return W_x, W_h, rows.sum(axis=0)
    # end


# The LSTM


def lstm_step(x, h, c, W_x, W_h, b):
    """(N, d), (N, h), (N, h), (d, 4h), (h, 4h), (4h,) -> h' (N, h), c' (N, h), gates (N, 4h)

    The columns of the weights are the gates in the order i, f, g, o. `gates` holds them after their curves, side by
    side in the same order. For arrays and for Tensors (ops.sigmoid, ops.tanh, ops.concatenate take both).
    """
    # solution: a (N, 4h), cut in four; sigmoid, sigmoid, tanh, sigmoid; the new cell, the new state
    n = W_h.shape[0]
    a = x @ W_x + h @ W_h + b  # (N, 4h)
    i, f, o = (ops.sigmoid(a[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
    g = ops.tanh(a[:, 2 * n : 3 * n])
    c = f * c + i * g
    return o * ops.tanh(c), c, ops.concatenate(i, f, g, o, axis=1)
    # end


def lstm_step_backward(dh, dc, gates, c_before, c):
    """(N, h), (N, h), (N, 4h), (N, h), (N, h) -> da (N, 4h), dc_before (N, h): one step of an LSTM, backwards

    dh: the whole gradient of the step's h'. dc: the gradient of its new cell c by way of the next step only; h' is made
    of c too, and that part is yours to add:

        dc <- dc + dh o (1 - tanh(c)^2)

    da is the gradient of a = x W_x + h W_h + b, its columns in the order i, f, g, o. The slope of a sigmoid s is
    s (1 - s), that of a tanh g is 1 - g^2. Raw arrays; none of them is changed.
    """
    # solution: the whole dc; what it does to i, f and g, and dh to o; each times the slope of its curve
    n = c.shape[1]
    i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    tanh_c = xp.tanh(c)
    dc = dc + dh * o * (1 - tanh_c**2)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_before * f * (1 - f)
    da_g = dc * i * (1 - g**2)
    da_o = dh * tanh_c * o * (1 - o)
    return xp.concatenate([da_i, da_f, da_g, da_o], axis=1), dc * f
    # end


@fused
def lstm(x, h0, c0, W_x, W_h, b):
    """(T, N, d), (N, h), (N, h), (d, 4h), (h, 4h), (4h,) -> y (T + 2, N, h), saved

    y is h_0, h_1, ..., h_T and then c_T: all that a caller may want is a slice. saved = (hs, cs, gates) is what the
    backward pass needs: hs (T + 1, N, h), cs (T + 1, N, h), both from step 0 to T, and gates (T, N, 4h), in arrays of
    their own (a caller may write to y). Raw arrays, all in the dtype of the arguments; T may be 0. `@fused` makes an
    operation of it: called with Tensors it gives the Tensor y, with the gradients of lstm_rule.
    """
    # solution: room for all states; step by step with lstm_step; y from hs and the last c
    (T, N, _), h, dtype = x.shape, W_h.shape[0], xp.result_type(x, h0, c0, W_x, W_h, b)
    hs, cs, gates = (xp.empty(shape, dtype) for shape in [(T + 1, N, h), (T + 1, N, h), (T, N, 4 * h)])
    hs[0], cs[0] = h0, c0
    for t in range(T):
        hs[t + 1], cs[t + 1], gates[t] = lstm_step(x[t], hs[t], cs[t], W_x, W_h, b)
    return xp.concatenate([hs, cs[-1:]]), (hs, cs, gates)
    # end


@lstm.vjp
def lstm_rule(g, saved, x, h0, c0, W_x, W_h, b):
    gradients = cache(lambda: lstm_backward(g, *saved, x, W_x, W_h))
    return tuple(lambda k=k: gradients()[k] for k in range(6))


@lstm.as_twin
def lstm_twin(x, h0, c0, W_x, W_h, b):
    """The same, left to autograd: what the engine differentiates when somebody wants gradients of gradients"""
    hs, c = [h0], c0
    for t in range(x.shape[0]):
        h, c, _ = lstm_step(x[t], hs[-1], c, W_x, W_h, b)
        hs.append(h)
    return ops.stack(*hs, c)


def lstm_backward(g, hs, cs, gates, x, W_x, W_h):
    """-> the gradients of x, h0, c0, W_x, W_h and b, as a tuple

    g (T + 2, N, h) is the gradient of y: of h_0, ..., h_T as far as the loss looks at them directly, and at the end
    that of c_T. hs, cs and gates are what `lstm` saved. From the last step to the first, both dh and dc are carried:
    dh_{t-1} = g_{t-1} + da_t W_h^T, and dc as lstm_step_backward gives it. Nothing grows with T but a few arrays of
    the size of gates. T may be 0; none of the arguments is changed.
    """
    # solution: start from g's last h and c; lstm_step_backward for each step; x from da, weight_gradients
    dh, dc, da = g[-2], g[-1], xp.empty_like(gates)  # (N, h), (N, h), (T, N, 4h)
    for t in reversed(range(len(x))):
        da[t], dc = lstm_step_backward(dh, dc, gates[t], cs[t], cs[t + 1])
        dh = g[t] + da[t] @ W_h.T
    return da @ W_x.T, dh, dc, *weight_gradients(da, x, hs)
    # end


# Layers. `state` is what the last call returned, or None at the start of a sequence.


class RNN(Module):
    """(T, N, n_in) -> (T, N, n_hidden), and the last state (N, n_hidden)"""

    def __init__(self, n_in, n_hidden, *, rng):
        self.W_x = Tensor(xavier_uniform((n_in, n_hidden), rng=rng), requires_grad=True)
        self.W_h = Tensor(orthogonal((n_hidden, n_hidden), rng=rng), requires_grad=True)
        self.b = Tensor(xp.zeros(n_hidden, np.float32), requires_grad=True)

    def __call__(self, x, state=None):
        h0 = xp.zeros((x.shape[1], len(self.W_h)), self.W_h.dtype) if state is None else state
        hs = rnn(x, h0, self.W_x, self.W_h, self.b)
        return hs[1:], hs[-1]


class LSTM(Module):
    """(T, N, n_in) -> (T, N, n_hidden), and the last state (h, c), each (N, n_hidden)"""

    def __init__(self, n_in, n_hidden, *, learn_initial=False, rng):
        """Makes the parameters W_x (n_in, 4h), W_h (h, 4h) and b (4h,), h = n_hidden: 4h (n_in + h + 1) numbers

        float32 Tensors that require gradients; columns i, f, g, o. Each gate's block by itself: xavier_uniform of shape
        (n_in, h) in W_x, orthogonal of shape (h, h) in W_h. b is zero but for the forget gate's block, which is 1: a
        new cell remembers. With learn_initial the state before the first step is a parameter too: `h0` and `c0`, (h,)
        each, zeros; else both are None. All random numbers come from `rng`.
        """
        self.n_hidden = n_hidden
        # solution: four blocks side by side for W_x and for W_h; b with ones for f; h0 and c0 or None
        W_x = np.concatenate([xavier_uniform((n_in, n_hidden), rng=rng) for _ in "ifgo"], axis=1)
        W_h = np.concatenate([orthogonal((n_hidden, n_hidden), rng=rng) for _ in "ifgo"], axis=1)
        b = np.zeros(4 * n_hidden, np.float32)
        b[n_hidden : 2 * n_hidden] = 1.0
        self.W_x, self.W_h, self.b = (Tensor(array, requires_grad=True) for array in (W_x, W_h, b))
        zero = np.zeros(n_hidden, np.float32)
        self.h0 = Tensor(zero, requires_grad=True) if learn_initial else None
        self.c0 = Tensor(zero.copy(), requires_grad=True) if learn_initial else None
        # end

    def __call__(self, x, state=None):
        """(T, N, n_in), None or (h, c) -> hs (T, N, n_hidden), (h, c): h_1, ..., h_T, and the state after the last step

        state: (h, c) to go on from, (N, n_hidden) each. None: h0 and c0 for every sequence of the batch, zeros where
        these are None. The state that is returned is still part of the graph. T may be 0.
        """
        if x.ndim != 3:
            raise ShapeError(f"LSTM: x has shape {tuple(x.shape)}, expected (T, N, n_in), time first")
        # solution: the first state; y = lstm(...); its slices
        (T, N, _), h = x.shape, self.n_hidden
        if state is None:
            zero = xp.zeros((N, h), self.W_h.dtype)
            state = (zero, zero) if self.h0 is None else (self.h0 + zero, self.c0 + zero)  # (h,) -> (N, h)
        y = lstm(x, *state, self.W_x, self.W_h, self.b)  # (T + 2, N, h)
        return y[1 : T + 1], (y[T], y[T + 1])
        # end


class Reader(Module):
    """(T, N, n_in), state -> (T, N, n_out), state: a recurrent layer, and a Dense that reads its h at every step"""

    def __init__(self, layer, n_hidden, n_out, *, rng):
        self.layer, self.head = layer, Dense(n_hidden, n_out, rng=rng)

    def __call__(self, x, state=None):
        hs, state = self.layer(x, state)
        return self.head(hs), state

    def last(self, x):
        """(T, N, n_in) -> (N, n_out): what it says when all has been read"""
        return self.head(self.layer(x)[0][-1])


# Training


def clip_grad_norm(grads, max_norm):
    """list of arrays (or None), float -> float: all gradients scaled by one factor to a joint norm of max_norm at most

    The norm is the root of the sum of all squares of all arrays; it is returned as it was before. If it is above
    max_norm, the entries of the list are replaced by new arrays of the same dtype; None stays None, and no array is
    written to (gradients may share memory). A norm that is not finite changes nothing: the optimiser will name the
    culprit. Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks, algorithm 1.
    """
    # solution: one norm over all arrays, in float64; if finite and too large, every entry times max_norm / norm
    norm = float(np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads if g is not None)))
    if max_norm < norm < np.inf:
        grads[:] = [None if g is None else g * (max_norm / norm) for g in grads]
    return norm
    # end


def truncated_bptt(model, optimizer, x, target, loss, *, length, max_norm):
    """(T, N, d), (T, ...) -> [float, ...]: one step of the optimiser for each piece of the sequence; the pieces' losses

    The sequence is read from its start (state None) in pieces of `length` steps, the last one what is left over. For
    each: y, state = model(piece, state), going on from where the piece before ended; the gradient of loss(y, target),
    target that of the piece, for optimizer.params; it does not reach back into earlier pieces, and is clipped to a norm
    of max_norm; one step. So memory grows with `length`, not with T. minigen.nn.detach cuts a state, which may be None,
    a Tensor or a tuple of them. A parameter that a piece does not use (a learned initial state, from the second piece
    on) has no gradient there, None.
    Williams and Peng (1990), An efficient gradient-based algorithm for on-line training of recurrent networks.
    """
    # solution: for each piece: forward from the detached state, grad, clip_grad_norm, step
    state, losses = None, []
    for t in range(0, len(x), length):
        y, state = model(x[t : t + length], detach(state))
        value = loss(y, target[t : t + length])
        grads = grad(value, optimizer.params, allow_unused=True)
        clip_grad_norm(grads, max_norm)
        optimizer.step(grads)
        losses.append(value.item())
    return losses
    # end


def gradient_by_distance(layer, x):
    """(T, N, d) array -> (T,) floats: how strongly h_T feels the input of k steps before, for k = 0, ..., T - 1

    hs, state = layer(x). Entry k is the Euclidean norm of the gradient of sum(h_T) for x_{T-k}, one for each of the N
    sequences, averaged over these. A NumPy array; x and the layer stay as they are.
    """
    # solution: the gradient of the last h's sum for a Tensor x; norms over d, mean over N; last step first
    x = Tensor(x, requires_grad=True)
    hs, _ = layer(x)
    g = grad(hs[-1].sum(), x)  # (T, N, d)
    return to_host(xp.sqrt((g**2).sum(axis=2)).mean(axis=1)[::-1])
    # end


# Three tasks


def adding_problem(n, T, rng):
    """-> x (T, n, 2), target (n, 1): numbers of [0, 1), two of them marked by a 1 beside them; the sum of these two

    One mark lies in each half of the sequence. Who always says 1 has a mean squared error of 1/6. Hochreiter and
    Schmidhuber (1997), section 5.4.
    """
    x = np.zeros((T, n, 2), np.float32)
    x[:, :, 0] = rng.random((T, n))
    first, second, each = rng.integers(0, T // 2, n), rng.integers(T // 2, T, n), np.arange(n)
    x[first, each, 1] = x[second, each, 1] = 1.0
    return x, (x[first, each, 0] + x[second, each, 0])[:, None]


def echo_problem(n, T, delay, rng):
    """-> x (T, n, 1), target (T, n, 1): random bits, and the same bits `delay` steps later (zeros before)"""
    x = rng.integers(0, 2, (T, n, 1)).astype(np.float32)
    return x, np.concatenate([np.zeros_like(x[:delay]), x[: T - delay]])


def rows(images):
    """(N, 28, 28) -> (28, N, 28): an image read row by row, from top to bottom"""
    return images.swapaxes(0, 1)


def bits_lost(logits, target):
    """(T, N, 1), (T, N, 1) -> () nats per bit: binary cross-entropy, averaged over all; log 2 = 0.693 is guessing"""
    return ops.mean(ops.bce_with_logits(logits, target))


def fit(model, batches, steps, loss, *, lr, max_norm=1.0):
    """a Reader, (x, target) for each of `steps` steps, loss -> [float, ...]: trained on what it says at the end

    The learning rate falls to zero along half a cosine, so that the last few batches do not decide.
    """
    optimizer, factor, losses = Adam(model.parameters(), lr=lr), cosine(steps), []
    for step, (x, target) in enumerate(batches):
        optimizer.lr = lr * factor(step)
        value = loss(model.last(x), target)
        grads = grad(value, optimizer.params)
        clip_grad_norm(grads, max_norm)
        optimizer.step(grads)
        losses.append(value.item())
    return losses


def learn_to_add(kind, *, T=50, steps=1000, n_hidden=32, seed=0):
    """RNN or LSTM -> (the trained Reader, its loss at each step): fresh sequences at every step"""
    rng = np.random.default_rng(seed)
    model = Reader(kind(2, n_hidden, rng=rng), n_hidden, 1, rng=rng)
    problems = (adding_problem(50, T, rng) for _ in range(steps))
    return model, fit(model, problems, steps, squared_error, lr=1e-2)


def learn_to_echo(length, *, delay=5, streams=30, n_hidden=24, seed=0):
    """length of the pieces -> nats per bit at the end: streams of 200 steps, read by truncated_bptt"""
    rng = np.random.default_rng(seed)
    model = Reader(LSTM(1, n_hidden, rng=rng), n_hidden, 1, rng=rng)
    optimizer = Adam(model.parameters(), lr=1e-2)
    for _ in range(streams):
        x, target = echo_problem(32, 200, delay, rng)
        losses = truncated_bptt(model, optimizer, x, target, bits_lost, length=length, max_norm=1.0)
    return float(np.mean(losses))


def learn_digits(kind, train, test, *, epochs=4, n_hidden=64, seed=0):
    """RNN or LSTM, (images, labels) twice -> the share of test images that it misnames after its 28 rows"""
    rng = np.random.default_rng(seed)
    model = Reader(kind(28, n_hidden, rng=rng), n_hidden, 10, rng=rng)
    (images, labels), orders = train, [rng.permutation(len(train[1])) for _ in range(epochs)]
    parts = [part for order in orders for part in np.array_split(order, max(1, len(order) // 50))]
    batches = ((rows(images[part]), labels[part]) for part in parts)
    fit(model, batches, len(parts), cross_entropy, lr=5e-3)
    with no_grad():
        return float((model.last(rows(test[0])).argmax(axis=1) != test[1]).mean())


def distances(trained, *, T=100, n_hidden=32, seed=0):
    """a trained LSTM -> name -> (T,): gradient_by_distance of four new layers and of the trained one, on one input"""
    rng = np.random.default_rng(seed)
    x, _ = adding_problem(50, T, rng)
    plain, half, new, forgetful = (kind(2, n_hidden, rng=rng) for kind in (RNN, RNN, LSTM, LSTM))
    half.W_h.data = half.W_h.data / 2
    forgetful.b.data = xp.zeros(4 * n_hidden, np.float32)
    layers = {
        "RNN, W_h orthogonal": plain,
        "RNN, W_h half of that": half,
        "LSTM, forget bias 0": forgetful,
        "LSTM, forget bias 1": new,
        "LSTM, trained to add": trained,
    }
    return {name: gradient_by_distance(layer, x) for name, layer in layers.items()}


def look_inside(layer, x):
    """LSTM, (T, N, n_in) -> cs (T, N, h), gates (T, N, 4, h) in the order i, f, g, o: what happens in it, from zeros"""
    zero = np.zeros((x.shape[1], layer.n_hidden), np.float32)
    _, (_, cs, gates) = lstm.forward(x, zero, zero, layer.W_x.numpy(), layer.W_h.numpy(), layer.b.numpy())
    return cs[1:], gates.reshape(*gates.shape[:2], 4, layer.n_hidden)


def main(folder="runs/e06", dataset="mnist-small"):
    """Three tasks and three pictures, about a minute: adding, an echo in pieces, digits row by row"""
    from minigen.data import load, scale
    from solutions import lstm_pictures as pictures

    adders, losses = {}, {}
    for kind in (RNN, LSTM):
        adders[kind], losses[kind.__name__] = learn_to_add(kind)
        print(f"adding, 50 steps: {kind.__name__}: {np.mean(losses[kind.__name__][-100:]):.4f} squared error")
    for length in (5, 6, 20):
        nats = learn_to_echo(length)
        print(f"echo after 5 steps: LSTM in pieces of {length}: {nats:.3f} nats per bit", flush=True)
    data = load(dataset)
    train, test = [(scale(part.images), part.labels) for part in (data.train, data.test)]
    for kind in (RNN, LSTM):
        error = learn_digits(kind, train, test)
        print(f"digits row by row: {kind.__name__}: {error:.1%} of the test images misnamed", flush=True)
    layer, folder = adders[LSTM].layer, Path(folder)
    far = distances(layer)
    for name, norms in far.items():
        print(
            f"gradient norm 1, 10, 99 steps back: {name}: {', '.join(f'{norms[k]:.0e}' for k in (1, 10, 99))}"
        )
    x, _ = adding_problem(200, 50, np.random.default_rng(1))
    print(pictures.gates(x, *look_inside(layer, x), folder / "e06_gates.png"))
    print(pictures.distance(far, folder / "e06_distance.png"))
    print(pictures.adding(losses, folder / "e06_adding.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
