"""Typical wrong solutions of e03_dense, each with what its check must say; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="zero_weights",
        hole="he_normal",
        old=None,
        new="return np.zeros(shape, np.float32)",
        says="all weights are zero",
    ),
    Mistake(
        name="one_number_for_all",
        hole="he_normal",
        old=None,
        new="return np.full(shape, rng.standard_normal() * np.sqrt(2 / shape[0]), np.float32)",
        says="all weights are equal",
    ),
    Mistake(
        name="variance_as_deviation",
        hole="he_normal",
        old="np.sqrt(2 / shape[0])",
        new="(2 / shape[0])",
        says="is the variance; you used it as the standard deviation",
    ),
    Mistake(
        name="fan_out",
        hole="he_normal",
        old="shape[0]",
        new="shape[1]",
        says="the variance is 2 / n_out",
    ),
    Mistake(
        name="own_generator",
        hole="he_normal",
        old="rng.standard_normal(shape)",
        new="np.random.default_rng(0).standard_normal(shape)",
        says="make none of your own",
    ),
    Mistake(
        name="weights_not_trained",
        hole="Dense.__init__",
        old="rng=rng), requires_grad=True)",
        new="rng=rng))",
        says="W does not require gradients",
    ),
    Mistake(
        name="bias_in_float64",
        hole="Dense.__init__",
        old="xp.zeros(n_out, np.float32)",
        new="xp.zeros(n_out)",
        says="b has dtype float64",
    ),
    Mistake(
        name="drawn_transposed",
        hole="Dense.__init__",
        old="init((n_in, n_out), rng=rng)",
        new="init((n_out, n_in), rng=rng).T",
        says="init was given the shape (3, 4), expected (n_in, n_out) = (4, 3)",
    ),
    Mistake(
        name="raw_weights",
        hole="Dense.__init__",
        old="Tensor(init((n_in, n_out), rng=rng), requires_grad=True)",
        new="init((n_in, n_out), rng=rng)",
        says="W is a ndarray, expected a Tensor",
    ),
    Mistake(
        name="bias_always",
        hole="Dense.__init__",
        old=" if bias else None",
        new="",
        says="with bias=False the attribute b must be None",
    ),
    Mistake(
        name="bias_forgotten",
        hole="Dense.__call__",
        old="y if self.b is None else y + self.b",
        new="y",
        says="the bias is missing",
    ),
    Mistake(
        name="truth_of_the_bias",
        hole="Dense.__call__",
        old="y if self.b is None else y + self.b",
        new="y + self.b if self.b else y",
        says="b may be None (`is None`)",
    ),
    Mistake(
        name="weights_transposed",
        hole="Dense.__call__",
        old="self.W",
        new="self.W.T",
        says="W is transposed",
    ),
    Mistake(
        name="graph_cut",
        hole="Dense.__call__",
        old="x @ self.W",
        new="x @ self.W.data",
        says="no gradient of Dense arrives at W",
    ),
    Mistake(
        name="wrong_side",
        hole="ReLU.__call__",
        old="maximum",
        new="minimum",
        says="the sign is the wrong way round",
    ),
    Mistake(
        name="maximum_of_python",
        hole="ReLU.__call__",
        old="ops.maximum(x, 0.0)",
        new="max(x, 0)",
        says="write max(x, 0) elementwise",
    ),
    Mistake(
        name="leaky",
        hole="ReLU.__call__",
        old="ops.maximum(x, 0.0)",
        new="ops.maximum(x, 0.01 * x)",
        says="negative numbers must become exactly 0",
    ),
    Mistake(
        name="double_softmax",
        hole="cross_entropy",
        old="    top =",
        new="    logits = ops.softmax(logits, axis=1)\n    top =",
        says="softmax was applied twice",
    ),
    Mistake(
        name="unstable_log",
        hole="cross_entropy",
        old=None,
        new="""
            p = ops.exp(logits) / ops.exp(logits).sum(axis=1, keepdims=True)
            return -ops.mean(ops.log(p[xp.arange(len(labels)), labels]))
        """,
        says="subtract each row's largest logit before exp",
    ),
    Mistake(
        name="log_of_softmax",
        hole="cross_entropy",
        old=None,
        new="""
            p = ops.softmax(logits, axis=1)
            return -ops.mean(ops.log(p[xp.arange(len(labels)), labels] + 1e-12))
        """,
        says="take no log of a probability that may be 0",
    ),
    Mistake(
        name="largest_of_all",
        hole="cross_entropy",
        old="logits.max(axis=1, keepdims=True)  # (N, 1)",
        new="logits.max() * np.ones((len(labels), 1), np.float32)",
        says="subtract each row's largest logit before exp",
    ),
    Mistake(
        name="sum_over_examples",
        hole="cross_entropy",
        old="ops.mean",
        new="ops.sum",
        says="the losses of the examples are summed",
    ),
    Mistake(
        name="softmax_over_examples",
        hole="cross_entropy",
        old="ops.log(ops.exp(logits - top).sum(axis=1)) + top[:, 0]",
        new="(ops.log(ops.exp(logits).sum(axis=0)))[labels]",
        says="the softmax runs over the examples",
    ),
    Mistake(
        name="summed_over_examples",
        hole="cross_entropy",
        old="ops.log(ops.exp(logits - top).sum(axis=1)) + top[:, 0]",
        new="ops.logsumexp(logits, axis=0)",
        says="sum over the classes of each row (axis=1)",
    ),
    Mistake(
        name="summed_over_the_table",
        hole="cross_entropy",
        old="ops.log(ops.exp(logits - top).sum(axis=1)) + top[:, 0]",
        new="ops.logsumexp(logits)",
        says="runs over the whole table",
    ),
    Mistake(
        name="mean_over_features",
        hole="bce_with_logits",
        old="ops.sum(elements) * (1 / len(logits))",
        new="ops.mean(elements)",
        says="it is averaged over the features too",
    ),
    Mistake(
        name="sigmoid_overflows",
        hole="bce_with_logits",
        old=None,
        new="""
            s = 1.0 / (1.0 + ops.exp(-logits))
            return ops.sum(-targets * ops.log(s) - (1.0 - targets) * ops.log(1.0 - s)) * (1 / len(logits))
        """,
        says="log(sigmoid(l)) and exp(l) fail there",
    ),
    Mistake(
        name="no_absolute_value",
        hole="bce_with_logits",
        old="-ops.abs(logits)",
        new="ops.abs(logits)",
        says="log(1 + exp(|l|)) in place of log(1 + exp(-|l|))",
    ),
    Mistake(
        name="target_added",
        hole="bce_with_logits",
        old="- logits * targets",
        new="+ logits * targets",
        says="the target's term has the wrong sign",
    ),
    Mistake(
        name="divided_twice",
        hole="bce_with_logits",
        old="(1 / len(logits))",
        new="(1 / len(logits)) / len(logits)",
        says="it is divided by N twice",
    ),
    Mistake(
        name="ascent",
        hole="SGD.update",
        old="w -=",
        new="w +=",
        says="it goes uphill",
    ),
    Mistake(
        name="momentum_subtracted",
        hole="SGD.update",
        old="v *= self.momentum",
        new="v *= -self.momentum",
        says="the momentum has the wrong sign",
    ),
    Mistake(
        name="velocity_rebound",
        hole="SGD.update",
        old="    v *= self.momentum\n        v += g",
        new="    v = self.momentum * v + g",
        says="SGD.update left v as it was",
    ),
    Mistake(
        name="no_momentum",
        hole="SGD.update",
        old="v *= self.momentum",
        new="v *= 0",
        says="the momentum is missing",
    ),
    Mistake(
        name="momentum_for_one_minus_it",
        hole="SGD.update",
        old="v *= self.momentum",
        new="v *= 1 - self.momentum",
        says="the old velocity is weighed with 1 - momentum",
    ),
    Mistake(
        name="nesterov_ignored",
        hole="SGD.update",
        old="self.lr * (g + self.momentum * v if self.nesterov else v)",
        new="self.lr * v",
        says="self.nesterov was not looked at",
    ),
    Mistake(
        name="nesterov_without_its_momentum",
        hole="SGD.update",
        old="g + self.momentum * v if",
        new="g + v if",
        says="v comes in times momentum",
    ),
    Mistake(
        name="eps_inside_the_root",
        hole="RMSProp.update",
        old="(xp.sqrt(s) + self.eps)",
        new="xp.sqrt(s + self.eps)",
        says="eps is inside the square root",
    ),
    Mistake(
        name="gradient_not_squared",
        hole="RMSProp.update",
        old="g**2",
        new="abs(g)",
        says="g is not squared in s",
    ),
    Mistake(
        name="gradient_plain",
        hole="RMSProp.update",
        old="g**2",
        new="g",
        says="g is not squared in s",
    ),
    Mistake(
        name="old_squares_kept",
        hole="RMSProp.update",
        old="    s *= self.alpha\n        s += (1",
        new="    s += self.alpha * s + (1",
        says="keeps the old s whole",
    ),
    Mistake(
        name="all_squares_added",
        hole="RMSProp.update",
        old="(1 - self.alpha) * g**2",
        new="g**2",
        says="weigh it with 1 - alpha",
    ),
    Mistake(
        name="no_bias_correction",
        hole="Adam.update",
        old="m / (1 - self.beta1**t), v / (1 - self.beta2**t)",
        new="m, v",
        says="the bias correction is missing",
    ),
    Mistake(
        name="corrected_with_beta1",
        hole="Adam.update",
        old="v / (1 - self.beta2**t)",
        new="v / (1 - self.beta1**t)",
        says="v is corrected with beta1",
    ),
    Mistake(
        name="product_for_power",
        hole="Adam.update",
        old="self.beta1**t), v / (1 - self.beta2**t)",
        new="self.beta1 * t), v / (1 - self.beta2 * t)",
        says="the power is a product",
    ),
    Mistake(
        name="product_for_power_in_m",
        hole="Adam.update",
        old="self.beta1**t",
        new="self.beta1 * t",
        says="not 1 - beta1 * t",
    ),
    Mistake(
        name="second_moment_of_plain_gradient",
        hole="Adam.update",
        old="g**2",
        new="g",
        says="g is not squared in v",
    ),
    Mistake(
        name="betas_swapped",
        hole="Adam.update",
        old=None,
        new="""
            m *= self.beta2
            m += (1 - self.beta2) * g
            v *= self.beta1
            v += (1 - self.beta1) * g**2
            m_hat, v_hat = m / (1 - self.beta2**t), v / (1 - self.beta1**t)
            w -= self.lr * m_hat / (xp.sqrt(v_hat) + self.eps)
        """,
        says="beta1 and beta2 are swapped",
    ),
    Mistake(
        name="counter_off_by_one",
        hole="Adam.update",
        old="m / (1 - self.beta1**t), v / (1 - self.beta2**t)",
        new="m / (1 - self.beta1 ** (t + 1)), v / (1 - self.beta2 ** (t + 1))",
        says="the step counter is one too high",
    ),
    Mistake(
        name="corrected_in_place",
        hole="Adam.update",
        old="m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)",
        new="m /= 1 - self.beta1**t; v /= 1 - self.beta2**t; m_hat, v_hat = m, v",
        says="the moments are corrected in place",
    ),
    Mistake(
        name="moments_on_self",
        hole="Adam.update",
        old=None,
        new="""
            self.m = self.beta1 * getattr(self, "m", 0) + (1 - self.beta1) * g
            self.v = self.beta2 * getattr(self, "v", 0) + (1 - self.beta2) * g**2
            m_hat, v_hat = self.m / (1 - self.beta1**t), self.v / (1 - self.beta2**t)
            w -= self.lr * m_hat / (xp.sqrt(v_hat) + self.eps)
        """,
        says="Adam.update left m as it was",
    ),
    Mistake(
        name="largest_over_the_batch",
        hole="error_rate",
        old="axis=1",
        new="axis=0",
        says="argmax runs over the examples",
    ),
    Mistake(
        name="largest_of_the_table",
        hole="error_rate",
        old="argmax(axis=1)",
        new="argmax()",
        says="argmax without axis=1 gives one place in the whole table",
    ),
    Mistake(
        name="accuracy",
        hole="error_rate",
        old="!=",
        new="==",
        says="that is the accuracy",
    ),
    Mistake(
        name="a_name_unknown",
        hole="error_rate",
        old="labels",
        new="label",
        says="error_rate raised NameError (name 'label' is not defined)",
    ),
    Mistake(
        name="no_shuffle",
        hole="batches",
        old="rng.permutation(n)",
        new="np.arange(n)",
        says="nothing is shuffled",
    ),
    Mistake(
        name="last_batch_dropped",
        hole="batches",
        old="range(0, n, size)",
        new="range(0, n - size + 1, size)",
        says="is the last, shorter batch dropped?",
    ),
    Mistake(
        name="with_replacement",
        hole="batches",
        old="rng.permutation(n)",
        new="rng.integers(0, n, n)",
        says="come more than once and",
    ),
    Mistake(
        name="pieces_counted",
        hole="batches",
        old="return [order[start : start + size] for start in range(0, n, size)]",
        new="return np.array_split(order, size)",
        says="array_split counts the pieces",
    ),
    Mistake(
        name="batches_shuffled_only",
        hole="batches",
        old=None,
        new="""
            pieces = [np.arange(start, min(start + size, n)) for start in range(0, n, size)]
            return [pieces[i] for i in rng.permutation(len(pieces))]
        """,
        says="shuffle the examples, not the batches",
    ),
    Mistake(
        name="gradients_not_cleared",
        hole="train_step",
        old="optimizer.zero_grad()",
        new="pass",
        says="the gradients of the step before were added in",
    ),
    Mistake(
        name="cleared_at_the_end",
        hole="train_step",
        old=None,
        new="""
            loss = cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()
        """,
        says="zero them before backward",
    ),
    Mistake(
        name="a_tensor_returned",
        hole="train_step",
        old="loss.item()",
        new="loss",
        says="expected a float: loss.item()",
    ),
    Mistake(
        name="trained_on_the_test_set",
        hole="fit",
        old="    history = []",
        new="    x, labels = np.concatenate([x, test_x]), np.concatenate([labels, test_labels])\n    history = []",
        says="a step saw images of the test set",
    ),
    Mistake(
        name="tuned_on_the_test_set",
        hole="fit",
        old="    for _ in range(epochs):\n",
        new="    for _ in range(epochs):\n"
        "        if len(history) > 1 and history[-1][1] >= history[-2][1]:\n"
        "            optimizer.lr *= 0.5\n",
        says="something was decided by the test error",
    ),
    Mistake(
        name="loss_of_the_last_step",
        hole="fit",
        old="float(np.mean(losses))",
        new="losses[-1]",
        says="it is the loss of the epoch's last step",
    ),
    Mistake(
        name="one_order_for_all_epochs",
        hole="fit",
        old=None,
        new="""
            (x, labels), (test_x, test_labels) = train, test
            order, history = batches(len(x), batch_size, rng), []
            for _ in range(epochs):
                losses = [train_step(model, optimizer, x[i], labels[i]) for i in order]
                history.append((float(np.mean(losses)), error_rate(model(test_x), test_labels)))
            return history
        """,
        says="call batches anew in each epoch",
    ),
    Mistake(
        name="error_on_the_training_set",
        hole="fit",
        old="error_rate(model(test_x), test_labels)",
        new="error_rate(model(x), labels)",
        says="it is the error on the training set",
    ),
    Mistake(
        name="graph_recorded_while_measuring",
        hole="fit",
        old="with no_grad():",
        new="if True:",
        says="measure inside `with no_grad():`",
    ),
]

HINTS = {
    "he_normal": (
        "Let z have variance 1. Then c z has variance c^2: which c gives it the variance 2 / n_in?",
        "rng.standard_normal(shape) has variance 1; n_in is shape[0]; the result must be float32.",
        "return (rng.standard_normal(shape) * np.sqrt(2 / shape[0])).astype(np.float32)",
    ),
    "Dense.__init__": (
        "A parameter is a Tensor with requires_grad=True; init makes an array.",
        "Call init with the shape (n_in, n_out) and rng=rng. Zeros need a dtype: np.float32.",
        "self.W = Tensor(init((n_in, n_out), rng=rng), requires_grad=True); self.b the same with zeros of (n_out,), "
        "or None where bias is False.",
    ),
    "Dense.__call__": (
        "x is (N, n_in) and W is (n_in, n_out): which product is (N, n_out)?",
        "`@` and `+` work on Tensors and are recorded; b (n_out,) is broadcast over the examples. b may be None.",
        "y = x @ self.W; return y if self.b is None else y + self.b",
    ),
    "ReLU.__call__": (
        "The value is the larger of two numbers.",
        "minigen.ops has maximum(a, b), and where(mask, a, b); x * (x > 0) works too.",
        "return ops.maximum(x, 0.0)",
    ),
    "cross_entropy": (
        "-log softmax(l)[y] = log(sum(exp(l))) - l[y]: no probability is needed, and no division.",
        "exp(1000) overflows. log(sum(exp(l))) = m + log(sum(exp(l - m))) for any m: take the largest of the row. "
        "logits[np.arange(N), labels] picks one logit from each row.",
        "top = logits.max(axis=1, keepdims=True); log_sum = ops.log(ops.exp(logits - top).sum(axis=1)) + top[:, 0]; "
        "then the mean of log_sum minus the picked logits.",
    ),
    "bce_with_logits": (
        "With s = 1 / (1 + exp(-l)): -log s = log(1 + exp(-l)) and -log(1 - s) = log(1 + exp(l)). Put both in.",
        "It becomes log(1 + exp(l)) - t l. And log(1 + exp(l)) = max(l, 0) + log(1 + exp(-|l|)), always finite.",
        "ops.maximum(l, 0.0) - l * t + ops.log1p(ops.exp(-ops.abs(l))), then ops.sum of it times 1 / len(l).",
    ),
    "SGD.update": (
        "`v = ...` gives the name v to a new array, and the caller's array stays. `v *= ...` and `v += ...` change it.",
        "First v: times self.momentum, plus g. Then w minus self.lr times the step; the step is v.",
        "v *= self.momentum; v += g; step = g + self.momentum * v if self.nesterov else v; w -= self.lr * step",
    ),
    "RMSProp.update": (
        "s is a running mean of g^2: an old part, alpha, and a new part, 1 - alpha.",
        "s *= self.alpha, then add the new part. The root of s, plus eps outside the root, divides the step.",
        "s *= self.alpha; s += (1 - self.alpha) * g**2; w -= self.lr * g / (np.sqrt(s) + self.eps)",
    ),
    "Adam.update": (
        "m is a running mean of g, v of g^2. After one step from zero, m is only (1 - beta1) g: divide by 1 - beta1^t.",
        "Change m and v in place; m_hat and v_hat are new arrays, since the next step needs the uncorrected ones.",
        "m *= b1; m += (1 - b1) * g; v *= b2; v += (1 - b2) * g**2; m_hat = m / (1 - b1**t), v_hat likewise; "
        "w -= lr * m_hat / (np.sqrt(v_hat) + eps), all from self.",
    ),
    "error_rate": (
        "The predicted class is the place of the largest logit in each row.",
        "logits.argmax(axis=1) is a plain array (N,). Compare it with the labels.",
        "return float((logits.argmax(axis=1) != labels).mean())",
    ),
    "batches": (
        "Shuffle the numbers 0..n-1 once, then cut the row into pieces.",
        "rng.permutation(n) shuffles; order[start : start + size] is a piece, also at the end, where it is shorter.",
        "order = rng.permutation(n); return [order[s : s + size] for s in range(0, n, size)]",
    ),
    "train_step": (
        "Five lines: zero, forward, backward, step, return. Why must the zeroing come first?",
        "optimizer.zero_grad(), loss.backward() and optimizer.step(); the loss is cross_entropy of model(x).",
        "optimizer.zero_grad(); loss = cross_entropy(model(x), labels); loss.backward(); optimizer.step(); "
        "return loss.item()",
    ),
    "fit": (
        "Two loops: over the epochs, and in each over new batches. After the inner loop, measure.",
        "for i in batches(len(x), batch_size, rng): x[i] and labels[i] are a batch. Collect what train_step returns.",
        "After each epoch: with no_grad(): history.append((float(np.mean(losses)), error_rate(model(test_x), "
        "test_labels)))",
    ),
}
