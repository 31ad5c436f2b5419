"""e06, recurrent layers: answers in other styles that must pass, and wrong ones that nobody planted."""

RIGHT = {
    "rnn_step": {
        "methods": """
            a = x @ W_x + (h @ W_h + b)
            return a.tanh() if isinstance(a, Tensor) else np.tanh(a)
        """,
        "by_sigmoid": "return 2.0 * ops.sigmoid(2.0 * (x @ W_x + h @ W_h + b)) - 1.0",
        "side_by_side": """
            both = ops.concatenate(x, h, axis=1)
            return ops.tanh(both @ ops.concatenate(W_x, W_h, axis=0) + b)
        """,
    },
    "rnn_backward": {
        "sums_on_the_way": """
            gW_x, gW_h, gb = np.zeros_like(W_x), np.zeros_like(W_h), np.zeros(len(W_h), hs.dtype)
            gx, dh = np.zeros_like(x), g[len(x)]
            for t in range(len(x) - 1, -1, -1):
                da = dh * (1 - hs[t + 1]) * (1 + hs[t + 1])
                gx[t] = da @ W_x.T
                gW_x += x[t].T @ da
                gW_h += hs[t].T @ da
                gb += da.sum(0)
                dh = da @ W_h.T + g[t]
            return [gx, dh, gW_x, gW_h, gb]
        """,
        "own_copy": """
            g = g.copy()
            da = np.zeros(hs[1:].shape, hs.dtype)
            for t in range(len(x), 0, -1):
                da[t - 1] = g[t] * (1 - hs[t] ** 2)
                g[t - 1] += da[t - 1] @ W_h.T
            return (np.einsum("tnh,dh->tnd", da, W_x), g[0], np.einsum("tnd,tnh->dh", x, da),
                    np.einsum("tnk,tnh->kh", hs[:-1], da), da.sum((0, 1)))
        """,
        "lists": """
            dh, steps = g[-1], []
            for h, g_t in zip(hs[:0:-1], g[-2::-1], strict=True):
                steps.insert(0, dh * (1 - h * h))
                dh = g_t + steps[0] @ W_h.T
            da = np.array(steps, hs.dtype).reshape(len(x), *dh.shape)
            return (da @ W_x.T, dh, *weight_gradients(da, x, hs))
        """,
    },
    "weight_gradients": {
        "tensordot": """
            both = ([0, 1], [0, 1])
            return np.tensordot(x, da, both), np.tensordot(hs[:-1], da, both), da.sum(axis=(0, 1))
        """,
        "a_loop": """
            W_x, W_h, b = (np.zeros(s, da.dtype) for s in [(x.shape[2], da.shape[2]), (hs.shape[2], da.shape[2]),
                                                           da.shape[2]])
            for t in range(len(da)):
                W_x += x[t].T @ da[t]
                W_h += hs[t].T @ da[t]
                b += da[t].sum(axis=0)
            return [W_x, W_h, b]
        """,
        "ones": """
            rows = np.concatenate([x, hs[: len(x)], np.ones((*x.shape[:2], 1), x.dtype)], axis=2)
            W = np.einsum("tni,tnk->ik", rows, da)
            return W[: x.shape[2]], W[x.shape[2] : -1], W[-1]
        """,
    },
    "lstm_step": {
        "by_name": """
            n = h.shape[1]
            a = x @ W_x + (h @ W_h + b)
            i, f = ops.sigmoid(a[:, :n]), ops.sigmoid(a[:, n : 2 * n])
            g, o = ops.tanh(a[:, 2 * n : -n]), ops.sigmoid(a[:, -n:])
            new = i * g + f * c
            return [o * ops.tanh(new), new, ops.concatenate(i, f, g, o, axis=-1)]
        """,
        "gate_by_gate": """
            n = h.shape[-1]
            cut = [slice(k * n, k * n + n) for k in range(4)]
            curves = (ops.sigmoid, ops.sigmoid, ops.tanh, ops.sigmoid)
            gates = [curve(x @ W_x[:, s] + h @ W_h[:, s] + b[s]) for s, curve in zip(cut, curves, strict=True)]
            c = gates[1] * c + gates[0] * gates[2]
            return gates[3] * ops.tanh(c), c, ops.concatenate(*gates, axis=1)
        """,
    },
    "lstm_step_backward": {
        "split": """
            i, f, g, o = np.split(gates, 4, axis=-1)
            t = np.tanh(c)
            whole = dc + dh * o - dh * o * t * t
            slopes = gates * (1 - gates)
            n = c.shape[-1]
            slopes[:, 2 * n : 3 * n] = 1 - g * g
            return slopes * np.hstack([whole * g, whole * c_before, whole * i, dh * t]), whole * f
        """,
        "filled": """
            n, da = c.shape[1], np.empty_like(gates)
            i, f, g, o = gates[:, :n], gates[:, n : 2 * n], gates[:, 2 * n : 3 * n], gates[:, 3 * n :]
            dc = dc + dh * o / np.cosh(c) ** 2
            da[:, :n] = dc * g * i * (1 - i)
            da[:, n : 2 * n] = dc * c_before * f * (1 - f)
            da[:, 2 * n : 3 * n] = dc * i * (1 + g) * (1 - g)
            da[:, 3 * n :] = dh * np.tanh(c) * o * (1 - o)
            return da, dc * f
        """,
    },
    "lstm": {
        "lists": """
            hs, cs, gates = [h0], [c0], []
            for x_t in x:
                h, c, gate = lstm_step(x_t, hs[-1], cs[-1], W_x, W_h, b)
                hs.append(h)
                cs.append(c)
                gates.append(gate)
            gates = np.stack(gates) if gates else np.empty((0, len(h0), len(b)), h0.dtype)
            return np.stack([*hs, cs[-1]]), (np.stack(hs), np.stack(cs), gates)
        """,
        "input_first": """
            (T, N, d), n = x.shape, len(W_h)
            a = (x.reshape(T * N, d) @ W_x + b).reshape(T, N, 4 * n)
            y = np.empty((T + 2, N, n), a.dtype)
            cs, gates = np.empty((T + 1, N, n), a.dtype), np.empty_like(a)
            y[0], cs[0] = h0, c0
            for t in range(T):
                z = a[t] + y[t] @ W_h
                gates[t] = 1 / (1 + np.exp(-z))
                gates[t, :, 2 * n : 3 * n] = np.tanh(z[:, 2 * n : 3 * n])
                i, f, g, o = np.split(gates[t], 4, axis=1)
                cs[t + 1] = f * cs[t] + i * g
                y[t + 1] = o * np.tanh(cs[t + 1])
            y[T + 1] = cs[T]
            return y, (y[:-1].copy(), cs, gates)
        """,
    },
    "lstm_backward": {
        "sums_on_the_way": """
            gW_x, gW_h, gb = np.zeros_like(W_x), np.zeros_like(W_h), np.zeros(W_h.shape[1], hs.dtype)
            gx, dh, dc = np.empty_like(x), g[len(x)], g[len(x) + 1]
            for t in range(len(x) - 1, -1, -1):
                da, dc = lstm_step_backward(dh, dc, gates[t], cs[t], cs[t + 1])
                gx[t] = da @ W_x.T
                gW_x += x[t].T @ da
                gW_h += hs[t].T @ da
                gb += da.sum(axis=0)
                dh = da @ W_h.T + g[t]
            return gx, dh, dc, gW_x, gW_h, gb
        """,
        "own_copy": """
            g, da = g.copy(), np.zeros_like(gates)
            for t in range(len(x), 0, -1):
                da[t - 1], g[-1] = lstm_step_backward(g[t], g[-1], gates[t - 1], cs[t - 1], cs[t])
                g[t - 1] += da[t - 1] @ W_h.T
            return [da @ W_x.T, g[0], g[-1], *weight_gradients(da, x, hs)]
        """,
    },
    "LSTM.__init__": {
        "filled": """
            n = n_hidden
            W_x, W_h = np.empty((n_in, 4 * n), np.float32), np.empty((n, 4 * n), np.float32)
            for k in range(4):
                W_h[:, k * n : k * n + n] = orthogonal((n, n), rng=rng)
                W_x[:, k * n : k * n + n] = xavier_uniform((n_in, n), rng=rng)
            self.b = Tensor(np.repeat(np.array([0, 1, 0, 0], np.float32), n), requires_grad=True)
            self.W_x, self.W_h = Tensor(W_x, requires_grad=True), Tensor(W_h, requires_grad=True)
            self.h0 = self.c0 = None
            if learn_initial:
                self.h0, self.c0 = (Tensor(np.zeros(n, np.float32), requires_grad=True) for _ in range(2))
        """,
    },
    "LSTM.__call__": {
        "broadcast": """
            N = x.shape[1]
            if state is not None:
                h, c = state
            elif self.h0 is not None:
                h, c = (ops.broadcast_to(p, shape=(N, self.n_hidden)) for p in (self.h0, self.c0))
            else:
                h = c = np.zeros((N, self.n_hidden), self.b.dtype)
            y = lstm(x, h, c, self.W_x, self.W_h, self.b)
            return y[1:-1], (y[-2], y[-1])
        """,
        "by_twin": """
            zero = np.zeros((x.shape[1], self.n_hidden), self.W_x.dtype)
            h, c = state or ((zero, zero) if self.h0 is None else (zero + self.h0, zero + self.c0))
            hs = []
            for t in range(x.shape[0]):
                h, c, _ = lstm_step(x[t], h, c, self.W_x, self.W_h, self.b)
                hs.append(h)
            return (ops.stack(*hs) if hs else Tensor(np.zeros((0, *zero.shape), zero.dtype))), [h, c]
        """,
    },
    "clip_grad_norm": {
        "flat": """
            kept = [np.ravel(g) for g in grads if g is not None]
            norm = float(np.linalg.norm(np.concatenate(kept))) if kept else 0.0
            if np.isfinite(norm) and norm > max_norm:
                for k, g in enumerate(grads):
                    if g is not None:
                        grads[k] = np.asarray(g * (max_norm / norm), g.dtype)
            return norm
        """,
        "dots": """
            import math
            norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads if g is not None))
            factor = min(1.0, max_norm / norm) if norm and math.isfinite(norm) else 1.0
            if factor < 1:
                grads[:] = [g if g is None else factor * g for g in grads]
            return norm
        """,
    },
    "truncated_bptt": {
        "backward": """
            state, losses = None, []
            for piece in range(-(-len(x) // length)):
                part = slice(piece * length, (piece + 1) * length)
                y, state = model(x[part], state)
                state = detach(state)
                value = loss(y, target[part])
                optimizer.zero_grad()
                value.backward()
                grads = [p.grad for p in optimizer.params]
                clip_grad_norm(grads, max_norm)
                for p, g in zip(optimizer.params, grads, strict=True):
                    p.grad = g
                optimizer.step()
                losses.append(float(value.numpy()))
            return losses
        """,
        "split": """
            state, losses = None, np.zeros(0)
            for part in np.split(np.arange(len(x)), range(length, len(x), length)):
                y, state = model(x[part[0] : part[-1] + 1], detach(state))
                value = loss(y, target[part[0] : part[-1] + 1])
                grads = grad(value, optimizer.params, allow_unused=True)
                clip_grad_norm(grads, max_norm)
                optimizer.step(grads)
                losses = np.append(losses, value.item())
            return losses
        """,
    },
    "gradient_by_distance": {
        "loop": """
            x = Tensor(x, requires_grad=True)
            g = grad(layer(x)[0][-1], x, seed=np.ones((x.shape[1], len(layer.W_h)), layer.W_h.dtype))
            return [float(np.mean([np.linalg.norm(g[t, n]) for n in range(g.shape[1])])) for t in range(len(g))][::-1]
        """,
    },
}

WRONG = {
    "rnn_step": {
        "half": ("x @ W_x + h", "0.5 * x @ W_x + h"),
        "transposed": ("h @ W_h", "h @ W_h.T"),
        "leaky": ("return ops.tanh(", "return 0.5 * h + 0.5 * ops.tanh("),
        "detached": ("h @ W_h", "detach(h) @ W_h"),
        "first_row": ("+ b", "+ b[:1]"),
        "batch_mean": ("h @ W_h", "h.mean(axis=0, keepdims=True) @ W_h"),
        "two_tanh": ("x @ W_x + h @ W_h + b", "ops.tanh(x @ W_x) + h @ W_h + b"),
    },
    "rnn_backward": {
        "no_gx": ("da @ W_x.T, dh", "da @ W_x.T * 0, dh"),
        "sum_first": ("reversed(range(len(x)))", "range(len(x))"),
        "stops_early": ("reversed(range(len(x)))", "reversed(range(1, len(x)))"),
        "g_next": ("dh = g[t]", "dh = g[t + 1]"),
        "slope_twice": ("(1 - hs[t + 1] ** 2)", "(1 - hs[t + 1] ** 2) ** 2"),
        "sigmoid_slope": ("(1 - hs[t + 1] ** 2)", "hs[t + 1] * (1 - hs[t + 1])"),
        "swapped": ("dh, *weight", "*[dh], *list(weight_gradients(da, x, hs))[::-1]\n    weight"),
        "four": ("return da @ W_x.T, dh,", "return da @ W_x.T,"),
        "damped": ("+ da[t] @ W_h.T", "+ 0.99 * da[t] @ W_h.T"),
        "float64": ("xp.empty_like(hs[1:])", "np.zeros(hs[1:].shape)"),
    },
    "weight_gradients": {
        "no_b": ("rows.sum(axis=0)", "0 * rows.sum(axis=0)"),
        "b_by_step": ("rows.sum(axis=0)", "da.sum(axis=1)"),
        "b_mean": ("rows.sum(axis=0)", "rows.mean(axis=0)"),
        "transposed": ("return W_x, W_h", "return W_x.T, W_h.T"),
        "order": ("return W_x, W_h", "return W_h, W_x"),
        "mixed": ("da.reshape(-1, da.shape[2])", "da.transpose(1, 0, 2).reshape(-1, da.shape[2])"),
        "in_place": ("# (T, N, k) -> (T N, k)", "\n    rows *= 1.0 + 1e-12"),
    },
    "lstm_step": {
        "f_from_i": ("c = f * c + i * g", "c = (1.0 - i) * c + i * g"),
        "old_cell": ("o * ops.tanh(c), c,", "o * ops.tanh(c), c * 1.0001,"),
        "double_tanh": ("ops.tanh(a[:, 2 * n : 3 * n])", "ops.tanh(ops.tanh(a[:, 2 * n : 3 * n]))"),
        "h_first": ("x @ W_x + h @ W_h", "h @ W_h + x @ W_x * 1.01"),
        "peephole": ("+ b  # (N, 4h)", "+ b + ops.concatenate(c, c, 0.0 * c, c, axis=1)"),
        "clipped_cell": ("f * c + i * g", "ops.clip(f * c + i * g, low=-0.5, high=0.5)"),
        "no_gates": (", ops.concatenate(i, f, g, o, axis=1)", ""),
        "relu": ("o * ops.tanh(c), c,", "o * ops.relu(c), c,"),
        "exp_overflows": ("ops.sigmoid(a[", "(1.0 / (1.0 + np.exp(-1.0)) + 0.0 * a["),
        "cut_cell": ("f * c + i * g", "f * detach(c) + i * g"),
        "gates_stacked": ("ops.concatenate(i, f, g, o, axis=1)", "ops.stack(i, f, g, o, axis=1)"),
    },
    "lstm_step_backward": {
        "no_o": ("dh * tanh_c * o", "0 * dh * tanh_c * o"),
        "o_from_dc": ("dh * tanh_c * o", "dc * tanh_c * o"),
        "early_f": ("axis=1), dc * f", "axis=1), (dc - dh * o * (1 - tanh_c**2)) * f"),
        "i_g": ("dc * g * i", "dc * i * i"),
        "tanh_before": ("xp.tanh(c)", "xp.tanh(c_before)"),
        "slope_of_c": ("(1 - tanh_c**2)", "(1 - c**2)"),
        "swapped": ("return xp.concatenate([da_i, da_f, da_g, da_o], axis=1), dc * f",
                    "return dc * f, xp.concatenate([da_i, da_f, da_g, da_o], axis=1)"),
        "axis0": ("axis=1)", "axis=0)"),
        "gates_in_place": ("n = c.shape[1]", "n = c.shape[1]\n    gates *= 1.0 + 1e-9"),
        "minus": ("(1 - i)", "(i - 1)"),
    },
    "lstm": {
        "transposed_time": ("x[t], hs[t]", "x[T - 1 - t], hs[t]"),
        "h0_each": ("x[t], hs[t]", "x[t], h0"),
        "no_last": ("range(T)", "range(T - 1)"),
        "zeros": ("xp.empty(shape, dtype)", "np.zeros(shape)"),
        "writes_h0": ("hs[0], cs[0] = h0, c0", "h0 *= 1.0 + 1e-9\n    hs[0], cs[0] = h0, c0"),
        "c_before": ("cs[-1:]", "cs[-2:-1]"),
        "saved_order": ("(hs, cs, gates)", "(cs, hs, gates)"),
        "no_saved": (", (hs, cs, gates)", ""),
        "detached_c": ("hs[0], cs[0] = h0, c0", "hs[0], cs[0] = h0, h0"),
        "one_short": ("(hs, cs, gates)", "(hs[1:], cs[1:], gates)"),
        "keeps_all": ("return xp.concatenate([hs, cs[-1:]]), (hs, cs, gates)",
                      "copies = [gates.copy() for _ in range(6)]\n"
                      "    return xp.concatenate([hs, cs[-1:]]), (hs, cs, copies[-1])"),
    },
    "lstm_backward": {
        "wrong_cells": ("cs[t], cs[t + 1]", "cs[t + 1], cs[t]"),
        "same_cells": ("cs[t], cs[t + 1]", "cs[t + 1], cs[t + 1]"),
        "gates_late": ("gates[t], ", "gates[t - 1], "),
        "no_dh": ("da[t] @ W_h.T", "0 * (da[t] @ W_h.T)"),
        "forward": ("reversed(range(len(x)))", "range(len(x))"),
        "h0_c0": ("dh, dc, *weight_gradients", "dc, dh, *weight_gradients"),
        "late_states": ("weight_gradients(da, x, hs)", "weight_gradients(da, x, cs)"),
        "truncated_at_4": ("dh = g[t]", "dc = dc if t % 4 else 0 * dc\n        dh = g[t]"),
        "clipped": ("dh = g[t] + da[t] @ W_h.T", "dh = g[t] + xp.clip(da[t] @ W_h.T, -0.3, 0.3)"),
        "gx_of_h": ("da @ W_x.T", "da @ W_h.T"),
        "in_place": ("dh, dc, da = g[-2]", "g[-1] *= 1.0 + 1e-9\n    dh, dc, da = g[-2]"),
        "five": ("dh, dc, *weight", "dh, *weight"),
        "float64": ("xp.empty_like(gates)", "np.empty(gates.shape)"),
        "side_by_side": ("*weight_gradients(da, x, hs)",
                         "(x[:, :, :, None] * da[:, :, None]).sum((0, 1)), "
                         "(hs[:-1, :, :, None] * da[:, :, None]).sum((0, 1)), da.sum((0, 1))"),
    },
    "LSTM.__init__": {
        "whole_orthogonal": (
            'np.concatenate([orthogonal((n_hidden, n_hidden), rng=rng) for _ in "ifgo"], axis=1)',
            "orthogonal((n_hidden, 4 * n_hidden), rng=rng)",
        ),
        "xavier_W_h": ("orthogonal((n_hidden, n_hidden)", "xavier_uniform((n_hidden, n_hidden)"),
        "bias_half": ("= 1.0", "= 0.5"),
        "bias_last": ("b[n_hidden : 2 * n_hidden]", "b[-n_hidden:]"),
        "all_ones": ("b[n_hidden : 2 * n_hidden] = 1.0", "b[:] = 1.0"),
        "float64": ("np.zeros(4 * n_hidden, np.float32)", "np.zeros(4 * n_hidden)"),
        "frozen": ("for array in (W_x, W_h, b))\n",
                   "for array in (W_x, W_h, b))\n        self.b.requires_grad = False\n"),
        "always_learned": ("if learn_initial else None\n        self.c0", "if True else None\n        self.c0"),
        "shared_start": ("zero.copy(), requires_grad=True) if learn_initial else None",
                         "zero, requires_grad=True) if learn_initial else None\n        self.c0 = self.h0"),
        "own_rng": ('xavier_uniform((n_in, n_hidden), rng=rng) for _ in "ifgo"',
                    'xavier_uniform((n_in, n_hidden), rng=np.random.default_rng(k)) for k in range(4)'),
        "zero_W_x": ("for _ in \"ifgo\"], axis=1)\n        W_h", "for _ in \"ifgo\"], axis=1) * 0\n        W_h"),
        "rows": ("self.W_x, self.W_h, self.b", "W_x = W_x.T.copy()\n        self.W_x, self.W_h, self.b"),
    },
    "LSTM.__call__": {
        "off_by_one": ("y[1 : T + 1]", "y[:T]"),
        "all": ("y[1 : T + 1]", "y"),
        "last_only": ("y[1 : T + 1]", "y[T]"),
        "same_twice": ("(y[T], y[T + 1])", "(y[T], y[T])"),
        "given_ignored": ("if state is None:", "if True:"),
        "only_h": ("y = lstm(x, *state", "y = lstm(x, state[0], 0.0 * state[1]"),
        "detached_given": ("y = lstm(x, *state", "y = lstm(x, *detach(tuple(state))"),
        "detached_learned": ("(self.h0 + zero, self.c0 + zero)", "(self.h0.data + zero, self.c0.data + zero)"),
        "learned_over_given": ("if state is None:", "if state is None or self.h0 is not None:"),
        "kept": ("return y[1", "self.last = (y[T], y[T + 1])\n        return y[1"),
        "batch_first": ("y = lstm(x,", "x = x.swapaxes(0, 1) if x.shape[0] == x.shape[1] else x\n        y = lstm(x,"),
    },
    "clip_grad_norm": {
        "squared": ("float(np.sqrt(sum(", "float(1.0 * (sum("),
        "after": ("return norm", "return min(norm, max_norm)"),
        "mean": ("** 2).sum())", "** 2).mean())"),
        "half": ("(max_norm / norm)", "(0.5 * max_norm / norm)"),
        "eps": ("max_norm / norm)", "max_norm / (norm + 1e-3))"),
        "nan": ("max_norm < norm < np.inf", "not norm <= max_norm"),
        "none": ("[None if g is None else g * (max_norm / norm) for g in grads]",
                 "[g * (max_norm / norm) for g in grads if g is not None]"),
        "first": ("for g in grads if g is not None)))", "for g in grads[:1] if g is not None)))"),
        "float64": ("(max_norm / norm)", "np.float64(max_norm / norm)"),
        "list": ("norm = float(", "norm = [] and float("),
        "top": ("(max_norm / norm)", "(1.0 if g.size < 2 else max_norm / norm)"),
    },
    "truncated_bptt": {
        "only_h": ("detach(state)", "(state if state is None or not isinstance(state, tuple) else "
                                    "(state[0].detach(), 0.0 * state[1].detach()))"),
        "overlap": ("range(0, len(x), length)", "range(0, len(x), max(1, length - 1))"),
        "whole_target": ("target[t : t + length]", "target[: length]"),
        "no_step": ("optimizer.step(grads)", "pass"),
        "step_twice": ("optimizer.step(grads)", "optimizer.step(grads)\n        optimizer.step(grads)"),
        "unclipped_step": ("clip_grad_norm(grads, max_norm)", "clip_grad_norm(list(grads), max_norm)"),
        "all_params": ("optimizer.params, allow", "model.parameters(), allow"),
        "sums": ("losses.append(value.item())", "losses.append(value.item() * len(y))"),
        "one_loss": ("return losses", "return losses[-1]"),
        "no_unused": (", allow_unused=True", ""),
        "carries_old": ("y, state = model(x[t : t + length], detach(state))",
                        "y, new = model(x[t : t + length], detach(state))\n        state = state or new"),
        "clips_each": ("clip_grad_norm(grads, max_norm)",
                       "for k in range(len(grads)):\n            one = [grads[k]]\n"
                       "            clip_grad_norm(one, max_norm)\n            grads[k] = one[0]"),
        "leaks": """
            state, losses = getattr(model, "left", None), []
            for t in range(0, len(x), length):
                y, state = model(x[t : t + length], detach(state))
                value = loss(y, target[t : t + length])
                grads = grad(value, optimizer.params, allow_unused=True)
                clip_grad_norm(grads, max_norm)
                optimizer.step(grads)
                losses.append(value.item())
            model.left = detach(state)
            return losses
        """,
    },
    "gradient_by_distance": {
        "first": ("hs[-1]", "hs[0]"),
        "mean": ("hs[-1].sum()", "hs[-1].mean()"),
        "max": ("mean(axis=1)", "max(axis=1)"),
        "l1": ("xp.sqrt((g**2).sum(axis=2))", "xp.abs(g).sum(axis=2)"),
        "no_root": ("xp.sqrt((g**2).sum(axis=2))", "(g**2).sum(axis=2)"),
        "normed": ("to_host(xp.sqrt((g**2).sum(axis=2)).mean(axis=1)[::-1])",
                   "(lambda v: v / v[0])(xp.sqrt((g**2).sum(axis=2)).mean(axis=1)[::-1])"),
        "tensor": ("return to_host(", "return Tensor("),
        "of_c": ("hs[-1].sum()", "(_[1] if isinstance(_, tuple) else _).sum()"),
        "matrix": (".mean(axis=1)[::-1]", "[::-1]"),
    },
}  # fmt: skip
