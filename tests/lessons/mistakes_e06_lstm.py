"""Typical wrong versions of e06's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="state_left_out",
        hole="rnn_step",
        old=" + h @ W_h",
        new="",
        says="the state has no part in it",
    ),
    Mistake(
        name="sigmoid_for_tanh",
        hole="rnn_step",
        old="ops.tanh",
        new="ops.sigmoid",
        says="a sigmoid, expected a tanh",
    ),
    Mistake(
        name="numpy_tanh",
        hole="rnn_step",
        old="ops.tanh(x @ W_x + h @ W_h + b)",
        new="np.tanh(np.asarray(x) @ np.asarray(W_x) + np.asarray(h) @ np.asarray(W_h) + np.asarray(b))",
        says="ops.tanh takes both",
    ),
    Mistake(
        name="nothing_from_the_next_step",
        hole="rnn_backward",
        old="g[t] + da[t] @ W_h.T",
        new="g[t]",
        says="what the next state does is not carried back",
    ),
    Mistake(
        name="loss_at_the_last_step_only",
        hole="rnn_backward",
        old="g[t] + da[t] @ W_h.T",
        new="da[t] @ W_h.T",
        says="g[t] is added at each step, not only at the last",
    ),
    Mistake(
        name="slope_of_the_state_before",
        hole="rnn_backward",
        old="hs[t + 1] ** 2",
        new="hs[t] ** 2",
        says="the state after the step",
    ),
    Mistake(
        name="weights_not_turned",
        hole="rnn_backward",
        old="da[t] @ W_h.T",
        new="da[t] @ W_h",
        says="W_h must be transposed on the way back",
    ),
    Mistake(
        name="gradient_written_in_place",
        hole="rnn_backward",
        old="dh = g[t] + da[t] @ W_h.T",
        new="dh = g[t]\n        dh += da[t] @ W_h.T",
        says="changed its argument g",
    ),
    Mistake(
        name="last_step_only",
        hole="weight_gradients",
        old=None,
        new="""
        return x[-1].T @ da[-1], hs[-2].T @ da[-1], da[-1].sum(axis=0)
        """,
        says="only the last step counts",
    ),
    Mistake(
        name="state_after_the_step",
        hole="weight_gradients",
        old="hs[:-1]",
        new="hs[1:]",
        says="the state before it, h_{t-1} = hs[:-1]",
    ),
    Mistake(
        name="averaged_over_steps",
        hole="weight_gradients",
        old="return W_x, W_h, rows.sum(axis=0)",
        new="n = max(len(da), 1)\n    return W_x / n, W_h / n, rows.sum(axis=0) / n",
        says="averaged over the steps",
    ),
    Mistake(
        name="all_steps_side_by_side",
        hole="weight_gradients",
        old=None,
        new="""
        W_x = (x[:, :, :, None] * da[:, :, None, :]).sum(axis=(0, 1))
        W_h = (hs[:-1, :, :, None] * da[:, :, None, :]).sum(axis=(0, 1))
        return W_x, W_h, da.sum(axis=(0, 1))
        """,
        says="are kept side by side",
    ),
    Mistake(
        name="gate_order_i_f_o_g",
        hole="lstm_step",
        old=None,
        new="""
        n = W_h.shape[0]
        a = x @ W_x + h @ W_h + b
        i, f, o = (ops.sigmoid(a[:, k * n : (k + 1) * n]) for k in (0, 1, 2))
        g = ops.tanh(a[:, 3 * n :])
        c = f * c + i * g
        return o * ops.tanh(c), c, ops.concatenate(i, f, g, o, axis=1)
        """,
        says="the gates are in the order i, f, o, g",
    ),
    Mistake(
        name="candidate_through_a_sigmoid",
        hole="lstm_step",
        old="g = ops.tanh",
        new="g = ops.sigmoid",
        says="you have a sigmoid there",
    ),
    Mistake(
        name="sigmoid_and_tanh_swapped",
        hole="lstm_step",
        old=None,
        new="""
        n = W_h.shape[0]
        a = x @ W_x + h @ W_h + b
        i, f, o = (ops.tanh(a[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
        g = ops.sigmoid(a[:, 2 * n : 3 * n])
        c = f * c + i * g
        return o * ops.tanh(c), c, ops.concatenate(i, f, g, o, axis=1)
        """,
        says="the sigmoids and the tanh are swapped",
    ),
    Mistake(
        name="bias_counted_twice",
        hole="lstm_step",
        old="x @ W_x + h @ W_h + b",
        new="(x @ W_x + b) + (h @ W_h + b)",
        says="the bias counts twice",
    ),
    Mistake(
        name="nothing_is_forgotten",
        hole="lstm_step",
        old="f * c + i * g",
        new="c + i * g",
        says="the forget gate has no part in it",
    ),
    Mistake(
        name="cell_shown_without_its_tanh",
        hole="lstm_step",
        old="o * ops.tanh(c), c",
        new="o * c, c",
        says="h = o tanh(c): the tanh is missing",
    ),
    Mistake(
        name="gates_before_their_curves",
        hole="lstm_step",
        old="ops.concatenate(i, f, g, o, axis=1)",
        new="a",
        says="as they were before their curves",
    ),
    Mistake(
        name="cell_gradient_of_h_forgotten",
        hole="lstm_step_backward",
        old="dc = dc + dh * o * (1 - tanh_c**2)",
        new="pass",
        says="h is made of c too",
    ),
    Mistake(
        name="cell_gradient_of_the_next_step_lost",
        hole="lstm_step_backward",
        old="dc = dc + dh * o",
        new="dc = dh * o",
        says="the dc that comes from the next step is lost",
    ),
    Mistake(
        name="cell_gradient_in_place",
        hole="lstm_step_backward",
        old="dc = dc + dh * o",
        new="dc += dh * o",
        says="changed its argument dc",
    ),
    Mistake(
        name="new_cell_for_the_old",
        hole="lstm_step_backward",
        old="dc * c_before * f",
        new="dc * c * f",
        says="the forget gate multiplied the cell before the step",
    ),
    Mistake(
        name="cell_gradient_past_the_forget_gate",
        hole="lstm_step_backward",
        old="axis=1), dc * f",
        new="axis=1), dc",
        says="dc_before is dc f",
    ),
    Mistake(
        name="sigmoid_slope_for_the_tanh",
        hole="lstm_step_backward",
        old="(1 - g**2)",
        new="g * (1 - g)",
        says="not g (1 - g)",
    ),
    Mistake(
        name="blocks_in_another_order",
        hole="lstm_step_backward",
        old="[da_i, da_f, da_g, da_o]",
        new="[da_i, da_f, da_o, da_g]",
        says="the blocks of da are in the order i, f, o, g",
    ),
    Mistake(
        name="cell_not_carried",
        hole="lstm",
        old="lstm_step(x[t], hs[t], cs[t], W_x, W_h, b)",
        new="lstm_step(x[t], hs[t], c0, W_x, W_h, b)",
        says="every step starts from c0",
    ),
    Mistake(
        name="ends_with_the_state",
        hole="lstm",
        old="[hs, cs[-1:]]",
        new="[hs, hs[-1:]]",
        says="it ends with h_T; the last entry is c_T",
    ),
    Mistake(
        name="start_from_zero",
        hole="lstm",
        old="hs[0], cs[0] = h0, c0",
        new="hs[0], cs[0] = 0, 0",
        says="h and c start from zero",
    ),
    Mistake(
        name="saved_is_a_view",
        hole="lstm",
        old="return xp.concatenate([hs, cs[-1:]]), (hs, cs, gates)",
        new="y = xp.concatenate([hs, cs[-1:]])\n    return y, (y[:-1], cs, gates)",
        says="share memory",
    ),
    Mistake(
        name="float64_on_the_way",
        hole="lstm",
        old="xp.result_type(x, h0, c0, W_x, W_h, b)",
        new="np.float64",
        says="float32 came in",
    ),
    Mistake(
        name="cell_path_cut",
        hole="lstm_backward",
        old="da[t], dc = lstm_step_backward(",
        new="da[t], _ = lstm_step_backward(",
        says="the gradient of",
    ),
    Mistake(
        name="dc_not_carried",
        hole="lstm_backward",
        old="dh = g[t] + da[t] @ W_h.T",
        new="dh, dc = g[t] + da[t] @ W_h.T, 0 * dc",
        says="dc is not carried",
    ),
    Mistake(
        name="only_the_last_step",
        hole="lstm_backward",
        old="reversed(range(len(x)))",
        new="range(len(x) - 1, max(len(x) - 2, -1), -1)",
        says="the gradient of",
    ),
    Mistake(
        name="last_cell_not_looked_at",
        hole="lstm_backward",
        old="g[-2], g[-1], xp",
        new="g[-2], 0 * g[-1], xp",
        says="dc starts from the gradient of c_T",
    ),
    Mistake(
        name="h_and_c_of_g_swapped",
        hole="lstm_backward",
        old="g[-2], g[-1], xp",
        new="g[-1], g[-2], xp",
        says="they are swapped",
    ),
    Mistake(
        name="first_state_not_looked_at",
        hole="lstm_backward",
        old="dh = g[t] + da[t] @ W_h.T",
        new="dh = (g[t] if t else 0) + da[t] @ W_h.T",
        says="its gradient needs g[0]",
    ),
    Mistake(
        name="forget_bias_zero",
        hole="LSTM.__init__",
        old="b[n_hidden : 2 * n_hidden] = 1.0",
        new="pass",
        says="the forget gate's bias is 0",
    ),
    Mistake(
        name="bias_of_another_gate",
        hole="LSTM.__init__",
        old="b[n_hidden : 2 * n_hidden]",
        new="b[:n_hidden]",
        says="only the forget gate's is 1",
    ),
    Mistake(
        name="four_gates_in_one_draw",
        hole="LSTM.__init__",
        old='np.concatenate([xavier_uniform((n_in, n_hidden), rng=rng) for _ in "ifgo"], axis=1)',
        new="xavier_uniform((n_in, 4 * n_hidden), rng=rng)",
        says="as if all gates were one block",
    ),
    Mistake(
        name="same_block_four_times",
        hole="LSTM.__init__",
        old='np.concatenate([orthogonal((n_hidden, n_hidden), rng=rng) for _ in "ifgo"], axis=1)',
        new="np.tile(orthogonal((n_hidden, n_hidden), rng=rng), 4)",
        says="the same numbers for the gates",
    ),
    Mistake(
        name="two_biases",
        hole="LSTM.__init__",
        old="zero = np.zeros",
        new="self.b_h = Tensor(np.zeros_like(b), requires_grad=True)\n        zero = np.zeros",
        says="one bias, not one for each product",
    ),
    Mistake(
        name="state_kept_between_sequences",
        hole="LSTM.__call__",
        old=None,
        new="""
        (T, N, _), h = x.shape, self.n_hidden
        if state is None:
            zero = xp.zeros((N, h), self.W_h.dtype)
            state = (zero, zero) if self.h0 is None else (self.h0 + zero, self.c0 + zero)
            old = getattr(self, "kept", None)
            state = old if old is not None and old[0].shape == (N, h) else state
        y = lstm(x, *state, self.W_x, self.W_h, self.b)
        self.kept = detach((y[T], y[T + 1]))
        return y[1 : T + 1], (y[T], y[T + 1])
        """,
        says="leaks into the next",
    ),
    Mistake(
        name="first_state_among_them",
        hole="LSTM.__call__",
        old="y[1 : T + 1], (",
        new="y[: T + 1], (",
        says="h_0 is among them",
    ),
    Mistake(
        name="cell_before_state",
        hole="LSTM.__call__",
        old="(y[T], y[T + 1])",
        new="(y[T + 1], y[T])",
        says="the state is (h, c)",
    ),
    Mistake(
        name="state_cut_by_the_layer",
        hole="LSTM.__call__",
        old="(y[T], y[T + 1])",
        new="detach((y[T], y[T + 1]))",
        says="the state that is returned is cut from the graph",
    ),
    Mistake(
        name="learned_start_ignored",
        hole="LSTM.__call__",
        old="(zero, zero) if self.h0 is None else (self.h0 + zero, self.c0 + zero)",
        new="(zero, zero)",
        says="it starts from zeros; expected h0 and c0",
    ),
    Mistake(
        name="each_array_by_itself",
        hole="clip_grad_norm",
        old="g * (max_norm / norm)",
        new="g * min(1.0, max_norm / float(np.sqrt((g**2).sum())))",
        says="every array was scaled by its own norm",
    ),
    Mistake(
        name="each_element_by_itself",
        hole="clip_grad_norm",
        old="g * (max_norm / norm)",
        new="np.clip(g, -max_norm, max_norm)",
        says="every element was clipped by itself",
    ),
    Mistake(
        name="always_scaled",
        hole="clip_grad_norm",
        old="max_norm < norm < np.inf",
        new="0 < norm < np.inf",
        says="only what is too large is scaled",
    ),
    Mistake(
        name="arrays_written_to",
        hole="clip_grad_norm",
        old="grads[:] = [None if g is None else g * (max_norm / norm) for g in grads]",
        new="for g in grads:\n            if g is not None:\n                g *= max_norm / norm",
        says="was written to",
    ),
    Mistake(
        name="new_list_that_nobody_sees",
        hole="clip_grad_norm",
        old="grads[:] = ",
        new="grads = ",
        says="replace the entries of the list",
    ),
    Mistake(
        name="norms_added_up",
        hole="clip_grad_norm",
        old="float(np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads if g is not None)))",
        new="float(sum(np.sqrt((g.astype(np.float64) ** 2).sum()) for g in grads if g is not None))",
        says="the arrays' norms were added up",
    ),
    Mistake(
        name="state_not_handed_on",
        hole="truncated_bptt",
        old="detach(state)",
        new="None",
        says="every piece starts anew",
    ),
    Mistake(
        name="not_detached",
        hole="truncated_bptt",
        old=None,
        new="""
        state, losses = None, []
        for t in range(0, len(x), length):
            y, state = model(x[t : t + length], state)
            value = loss(y, target[t : t + length])
            grads = grad(value, optimizer.params, allow_unused=True, retain_graph=True)
            clip_grad_norm(grads, max_norm)
            optimizer.step(grads)
            losses.append(value.item())
        return losses
        """,
        says="is the state of the piece before detached?",
    ),
    Mistake(
        name="not_detached_and_freed",
        hole="truncated_bptt",
        old="detach(state)",
        new="state",
        says="is the state of the piece before detached?",
    ),
    Mistake(
        name="rest_left_out",
        hole="truncated_bptt",
        old="range(0, len(x), length)",
        new="range(0, len(x) - length + 1, length)",
        says="the last one for what is left over",
    ),
    Mistake(
        name="gradients_pile_up",
        hole="truncated_bptt",
        old=None,
        new="""
        state, losses = None, []
        for t in range(0, len(x), length):
            y, state = model(x[t : t + length], detach(state))
            value = loss(y, target[t : t + length])
            value.backward()
            grads = [p.grad for p in optimizer.params]
            clip_grad_norm(grads, max_norm)
            optimizer.step(grads)
            losses.append(value.item())
        return losses
        """,
        says="the gradients of the pieces before are still in it",
    ),
    Mistake(
        name="not_clipped",
        hole="truncated_bptt",
        old="clip_grad_norm(grads, max_norm)",
        new="pass",
        says="it is not clipped",
    ),
    Mistake(
        name="one_step_at_the_end",
        hole="truncated_bptt",
        old="        optimizer.step(grads)\n        losses.append(value.item())\n",
        new="        losses.append(value.item())\n    optimizer.step(grads)\n",
        says="expected one for each piece",
    ),
    Mistake(
        name="losses_keep_their_graphs",
        hole="truncated_bptt",
        old="value.item()",
        new="value",
        says="append loss.item()",
    ),
    Mistake(
        name="in_the_order_of_time",
        hole="gradient_by_distance",
        old="[::-1]",
        new="",
        says="it is in the order of time",
    ),
    Mistake(
        name="all_states",
        hole="gradient_by_distance",
        old="hs[-1].sum()",
        new="hs.sum()",
        says="expected that of the last, h_T",
    ),
    Mistake(
        name="norm_of_the_batch",
        hole="gradient_by_distance",
        old="xp.sqrt((g**2).sum(axis=2)).mean(axis=1)",
        new="xp.sqrt((g**2).sum(axis=(1, 2)))",
        says="the norm is over the whole batch",
    ),
    Mistake(
        name="layer_marked",
        hole="gradient_by_distance",
        old="g = grad(hs[-1].sum(), x)",
        new="hs[-1].sum().backward()\n    g = x.grad",
        says="got a gradient in .grad",
    ),
]

HINTS = {
    "rnn_step": (
        "One line: two matrix products and a bias inside one curve.",
        "x @ W_x is (N, h), h @ W_h is (N, h), b is added to every row. The curve is ops.tanh, not np.tanh: it takes "
        "Tensors too.",
        "return ops.tanh(x @ W_x + h @ W_h + b)",
    ),
    "rnn_backward": (
        "Walk the steps backwards. Which two things does h_t influence? The loss directly, and h_{t+1}.",
        "Start with dh = g[-1]. At step t: da[t] = dh * (1 - hs[t + 1] ** 2), then dh = g[t] + da[t] @ W_h.T. What is "
        "left at the end is the gradient of h0.",
        "da = xp.empty_like(hs[1:]); the loop; return da @ W_x.T, dh, *weight_gradients(da, x, hs)",
    ),
    "weight_gradients": (
        "For one step: W_x gets x_t^T da_t. The weights are shared by all steps, so what comes from them adds up.",
        "Flatten steps and sequences into rows: da.reshape(-1, k). Then (all x)^T (all da) adds up everything in one "
        "product. Which states does da_t go with: hs[:-1] or hs[1:]?",
        "rows = da.reshape(-1, da.shape[2]); return x.reshape(-1, x.shape[2]).T @ rows, "
        "hs[:-1].reshape(-1, hs.shape[2]).T @ rows, rows.sum(axis=0)",
    ),
    "lstm_step": (
        "One product for all four gates, (N, 4h); then cut the columns into four blocks.",
        "Block k is a[:, k * n : (k + 1) * n]. Sigmoid for i, f, o, tanh for g. c = f * c + i * g, h = o * tanh(c).",
        "i, f, o = (ops.sigmoid(a[:, k * n : (k + 1) * n]) for k in (0, 1, 3)); g = ops.tanh(a[:, 2 * n : 3 * n]); "
        "c = f * c + i * g; return o * ops.tanh(c), c, ops.concatenate(i, f, g, o, axis=1)",
    ),
    "lstm_step_backward": (
        "c reaches the loss by two ways: through the next step (that is dc), and through h = o tanh(c).",
        "dc = dc + dh * o * (1 - tanh(c) ** 2). Then c = f c_before + i g gives the gradients of f, c_before, i and g; "
        "each gate's also times the slope of its curve.",
        "da_i = dc * g * i * (1 - i); da_f = dc * c_before * f * (1 - f); da_g = dc * i * (1 - g**2); "
        "da_o = dh * tanh(c) * o * (1 - o); return them side by side, and dc * f",
    ),
    "lstm": (
        "hs[0] is h0, cs[0] is c0. Step t reads x[t], hs[t] and cs[t].",
        "Make room with xp.empty in the dtype xp.result_type(x, h0, ...): (T + 1, N, h) twice and (T, N, 4h). Then a "
        "loop that fills hs[t + 1], cs[t + 1], gates[t].",
        "hs[t + 1], cs[t + 1], gates[t] = lstm_step(x[t], hs[t], cs[t], W_x, W_h, b); at the end "
        "return xp.concatenate([hs, cs[-1:]]), (hs, cs, gates)",
    ),
    "lstm_backward": (
        "As rnn_backward, with two things to carry. Where in g is what the loss says of c_T?",
        "dh = g[-2], dc = g[-1]. At step t: da[t], dc = lstm_step_backward(dh, dc, gates[t], cs[t], cs[t + 1]); then "
        "dh = g[t] + da[t] @ W_h.T.",
        "da = xp.empty_like(gates); the loop; return da @ W_x.T, dh, dc, *weight_gradients(da, x, hs)",
    ),
    "LSTM.__init__": (
        "Four blocks side by side: np.concatenate([...], axis=1). Which block of b is the forget gate's?",
        "xavier_uniform((n_in, n_hidden), rng=rng) four times for W_x, orthogonal((n_hidden, n_hidden), rng=rng) four "
        "times for W_h. b is zeros, but b[n_hidden : 2 * n_hidden] = 1.",
        "self.W_x = Tensor(np.concatenate([xavier_uniform((n_in, n_hidden), rng=rng) for _ in range(4)], axis=1), "
        "requires_grad=True); likewise W_h and b; self.h0 = Tensor(np.zeros(n_hidden, np.float32), "
        "requires_grad=True) if learn_initial else None; likewise c0",
    ),
    "LSTM.__call__": (
        "What does y hold at its start and at its end? What does a batch of N need when h0 is (h,)?",
        "state None: zeros (N, h) in the dtype of the weights, or h0 + zeros and c0 + zeros, which are (N, h). "
        "y = lstm(x, *state, self.W_x, self.W_h, self.b).",
        "return y[1 : T + 1], (y[T], y[T + 1])",
    ),
    "clip_grad_norm": (
        "One norm for all arrays together, one factor for all.",
        "norm = sqrt of the sum of (g ** 2).sum() over all g that are not None. If it is above max_norm and finite: "
        "grads[:] = [...], new arrays times float(max_norm / norm).",
        "if max_norm < norm < np.inf: grads[:] = [None if g is None else g * (max_norm / norm) for g in grads]; "
        "return norm (a float)",
    ),
    "truncated_bptt": (
        "A loop over range(0, len(x), length). What goes from one piece to the next, and what must not?",
        "y, state = model(piece, detach(state)); value = loss(y, piece of the target); grads = grad(value, "
        "optimizer.params, allow_unused=True); clip; step; value.item().",
        "state, losses = None, []; then for each t the five lines of the second hint; return losses",
    ),
    "gradient_by_distance": (
        "Make x a Tensor that requires gradients, and ask for the gradient of the last state's sum.",
        "g = grad(hs[-1].sum(), x) is (T, N, d): norm over the last axis, mean over the N sequences, then reversed.",
        "return np.sqrt((g**2).sum(axis=2)).mean(axis=1)[::-1]",
    ),
}
