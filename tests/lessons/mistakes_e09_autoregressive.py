"""Typical wrong versions of e09's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="degrees_up_to_D",
        hole="hidden_degrees",
        old="(pixels - 1) // units",
        new="pixels // units",
        says="a unit that sees all",
    ),
    Mistake(
        name="degrees_from_zero",
        hole="hidden_degrees",
        old="1 + np.arange(units)",
        new="np.arange(units)",
        says="a unit of degree 0 sees no pixel",
    ),
    Mistake(
        name="degrees_in_turn",
        hole="hidden_degrees",
        old="1 + np.arange(units) * (pixels - 1) // units",
        new="1 + np.arange(units) % (pixels - 1)",
        says="start over",
    ),
    Mistake(
        name="diagonal_allowed",
        hole="connections",
        old="rows < columns if strict else rows <= columns",
        new="rows <= columns",
        says="a logit would see its own pixel",
    ),
    Mistake(
        name="strict_everywhere",
        hole="connections",
        old="rows < columns if strict else rows <= columns",
        new="rows < columns",
        says="equal degrees are not connected",
    ),
    Mistake(
        name="mask_reversed",
        hole="connections",
        old="rows < columns if strict else rows <= columns",
        new="rows > columns if strict else rows >= columns",
        says="reversed",
    ),
    Mistake(
        name="boolean_mask",
        hole="connections",
        old=".astype(np.float32)",
        new="",
        says="expected float32",
    ),
    Mistake(
        name="mean_over_pixels",
        hole="Autoregressive.log_prob",
        old="ops.sum(ops.bce_with_logits(self.logits(x), x), axis=1)",
        new="ops.mean(ops.bce_with_logits(self.logits(x), x), axis=1)",
        says="nats per image, not per pixel",
    ),
    Mistake(
        name="loss_called_log_prob",
        hole="Autoregressive.log_prob",
        old="-ops.sum",
        new="ops.sum",
        says="a log-probability is never positive",
    ),
    Mistake(
        name="one_number_for_the_batch",
        hole="Autoregressive.log_prob",
        old=", axis=1)",
        new=")",
        says="keep the images apart",
    ),
    Mistake(
        name="sigmoid_before_bce",
        hole="Autoregressive.log_prob",
        old="self.logits(x), x)",
        new="ops.sigmoid(self.logits(x)), x)",
        says="the sigmoid is taken twice",
    ),
    Mistake(
        name="ones_only",
        hole="Autoregressive.log_prob",
        old="return -ops.sum(ops.bce_with_logits(self.logits(x), x), axis=1)",
        new="return ops.sum(-ops.softplus(-self.logits(x)) * x, axis=1)",
        says="only the pixels that are 1 count",
    ),
    Mistake(
        name="log_of_the_sigmoid",
        hole="Autoregressive.log_prob",
        old="return -ops.sum(ops.bce_with_logits(self.logits(x), x), axis=1)",
        new="p = ops.sigmoid(self.logits(x))\n"
        "        return ops.sum(ops.log(ops.where(np.asarray(x) > 0, p, 1.0 - p) + 1e-12), axis=1)",
        says="were probabilities clipped",
    ),
    Mistake(
        name="likelihood_made_small",
        hole="Autoregressive.updates",
        old="-ops.mean(self.log_prob(batch))",
        new="ops.mean(self.log_prob(batch))",
        says="would make the data unlikely",
    ),
    Mistake(
        name="nats_per_pixel",
        hole="Autoregressive.updates",
        old="-ops.mean(self.log_prob(batch))",
        new="-ops.mean(self.log_prob(batch)) / self.config.pixels",
        says="nats per image, not per pixel",
    ),
    Mistake(
        name="sum_over_the_batch",
        hole="Autoregressive.updates",
        old="ops.mean(",
        new="ops.sum(",
        says="summed over the batch",
    ),
    Mistake(
        name="sampling_by_rounding",
        hole="Autoregressive.sample",
        old="u < ops.sigmoid",
        new="0.5 < ops.sigmoid",
        says="pixels are rounded to the more likely value",
    ),
    Mistake(
        name="probabilities_in_the_image",
        hole="Autoregressive.sample",
        old="u < ops.sigmoid(self.logits(x).data[:, j])",
        new="ops.sigmoid(self.logits(x).data[:, j])",
        says="probabilities were put into the image",
    ),
    Mistake(
        name="probabilities_fed_back",
        hole="Autoregressive.sample",
        old="u < ops.sigmoid(self.logits(x).data[:, j])\n        return x",
        new="ops.sigmoid(self.logits(x).data[:, j])\n"
        '        return (xp.asarray(rng.random(x.shape)) < x).astype("float32")',
        says="probabilities are fed back",
    ),
    Mistake(
        name="row_by_row_whatever_the_order",
        hole="Autoregressive.sample",
        old="self.order.tolist()",
        new="range(self.config.pixels)",
        says="follow self.order",
    ),
    Mistake(
        name="all_pixels_at_once",
        hole="Autoregressive.sample",
        old=None,
        new="""
        x = xp.zeros((n, self.config.pixels), "float32")
        with no_grad():
            p = ops.sigmoid(self.logits(x).data)
        return (xp.asarray(rng.random(x.shape)) < p).astype("float32")
        """,
        says="all pixels are drawn at once",
    ),
    Mistake(
        name="coin_the_wrong_way",
        hole="Autoregressive.sample",
        old="u < ops.sigmoid",
        new="u > ops.sigmoid",
        says="the coin falls the wrong way",
    ),
    Mistake(
        name="one_number_for_an_image",
        hole="Autoregressive.sample",
        old="rng.random((self.config.pixels, n))",
        new="np.repeat(rng.random((1, n)), self.config.pixels, axis=0)",
        says="one random number decides all pixels",
    ),
    Mistake(
        name="one_number_for_the_batch_of_samples",
        hole="Autoregressive.sample",
        old="rng.random((self.config.pixels, n))",
        new="np.repeat(rng.random((self.config.pixels, 1)), n, axis=1)",
        says="are all the same image",
    ),
    Mistake(
        name="no_smoothing",
        hole="Independent.fit",
        old="xp.log(ones + 0.5) - xp.log(len(x) - ones + 0.5)",
        new="xp.log(ones / xp.maximum(len(x) - ones, 1e-300))",
        says="impossible",
    ),
    Mistake(
        name="probability_for_logit",
        hole="Independent.fit",
        old="xp.log(ones + 0.5) - xp.log(len(x) - ones + 0.5)",
        new="(ones + 0.5) / (len(x) + 1)",
        says="b holds probabilities",
    ),
    Mistake(
        name="unmasked_regression",
        hole="FVSBN.logits",
        old="self.W * self.mask",
        new="self.W",
        says="the mask is not applied",
    ),
    Mistake(
        name="transposed_weights",
        hole="FVSBN.logits",
        old="self.W * self.mask",
        new="self.W.T * self.mask",
        says="the weights are transposed",
    ),
    Mistake(
        name="diagonal_left_in",
        hole="FVSBN.logits",
        old="self.W * self.mask",
        new="self.W * (self.mask + np.eye(len(self.order)))",
        says="sees its own pixel too",
    ),
    Mistake(
        name="mask_on_the_result",
        hole="FVSBN.logits",
        old="ops.linear(flatten(x), self.W * self.mask, self.b)",
        new="ops.sigmoid(ops.linear(flatten(x), self.W * self.mask, self.b))",
        says="logits are expected",
    ),
    Mistake(
        name="last_layer_open",
        hole="MADE.logits",
        old="last.W * self.masks[-1]",
        new="last.W",
        says="the last layer is not masked",
    ),
    Mistake(
        name="hidden_layers_open",
        hole="MADE.logits",
        old="layer.W * mask",
        new="layer.W",
        says="the masks of the hidden layers are missing",
    ),
    Mistake(
        name="no_direct_connections",
        hole="MADE.logits",
        old=" + x @ (self.direct * self.direct_mask)",
        new="",
        says="the direct connections from the pixels to the logits are missing",
    ),
    Mistake(
        name="direct_connections_open",
        hole="MADE.logits",
        old="self.direct * self.direct_mask",
        new="self.direct",
        says="the direct connections are not masked",
    ),
    Mistake(
        name="relu_on_the_logits",
        hole="MADE.logits",
        old="return deep +",
        new="return ops.relu(deep) +",
        says="a ReLU is taken of the last layer too",
    ),
    Mistake(
        name="derivatives_summed_over_images",
        hole="dependency_matrix",
        old="(xp.abs(g) > 0).any(axis=0)",
        new="xp.abs(g.sum(axis=0)) > 1e-6",
        says="cancel where they differ in sign",
    ),
    Mistake(
        name="positive_derivatives_only",
        hole="dependency_matrix",
        old="xp.abs(g) > 0",
        new="g > 0",
        says="only positive derivatives count",
    ),
    Mistake(
        name="matrix_transposed",
        hole="dependency_matrix",
        old="Tensor((xp.abs(g) > 0).any(axis=0)).numpy() for g in rows])",
        new="Tensor((xp.abs(g) > 0).any(axis=0)).numpy() for g in rows], axis=1)",
        says="it is transposed",
    ),
    Mistake(
        name="first_image_only",
        hole="dependency_matrix",
        old="(xp.abs(g) > 0).any(axis=0)",
        new="xp.abs(g[0]) > 0",
        says="at one of the images only must count",
    ),
    Mistake(
        name="logs_summed",
        hole="total_probability",
        old="np.exp(log_p.numpy().astype(np.float64)).sum()",
        new="log_p.numpy().astype(np.float64).sum()",
        says="take exponentials first",
    ),
    Mistake(
        name="an_image_short",
        hole="total_probability",
        old="all_images(model.config.pixels)",
        new="all_images(model.config.pixels)[1:]",
        says="the empty and the full one",
    ),
    Mistake(
        name="mean_for_sum",
        hole="total_probability",
        old=".sum())",
        new=".mean())",
        says="it is the average over the images",
    ),
    Mistake(
        name="summed_in_float32",
        hole="total_probability",
        old="astype(np.float64)",
        new="astype(np.float32)",
        says="sum in float64",
    ),
    Mistake(
        name="predictions_averaged_over_orders",
        hole="ensemble_log_prob",
        old=None,
        new="""
        logits = sum(model.logits(flatten(x)) for model in models) * (1.0 / len(models))
        return -ops.sum(ops.bce_with_logits(logits, flatten(x)), axis=1)
        """,
        says="the logits of members of different orders are averaged",
    ),
    Mistake(
        name="mean_of_logs",
        hole="ensemble_log_prob",
        old="ops.logsumexp(each, axis=0) - math.log(len(models))",
        new="ops.mean(each, axis=0)",
        says="the logs are averaged",
    ),
    Mistake(
        name="forgotten_log_K",
        hole="ensemble_log_prob",
        old=" - math.log(len(models))",
        new="",
        says="subtract log K",
    ),
    Mistake(
        name="exponentials_that_vanish",
        hole="ensemble_log_prob",
        old="ops.logsumexp(each, axis=0)",
        new="ops.log(ops.sum(ops.exp(each), axis=0) + 1e-300)",
        says="takes the largest one out first",
    ),
]

HINTS = {
    "hidden_degrees": (
        "Which degrees are useful? One that has seen no pixel, and one that has seen them all, are not.",
        "D - 1 degrees for H units: unit k stands at the fraction k / H of the range 1, ..., D - 1.",
        "1 + np.arange(units) * (pixels - 1) // units",
    ),
    "connections": (
        "Row i is a unit before, column j a unit after. When may i's knowledge reach j?",
        "np.asarray(before)[:, None] against np.asarray(after)[None, :] compares all pairs: < if strict, else <=.",
        "rows, columns = before[:, None], after[None, :]; (rows < columns if strict else rows <= columns)"
        ".astype(np.float32)",
    ),
    "Autoregressive.log_prob": (
        "log p(x) is a sum over the pixels. What is -log p(x_j | x_<j) for a binary pixel with a logit?",
        "ops.bce_with_logits(logits, x) gives -log p of each pixel, (N, D). Sum over axis 1, mind the sign.",
        "x = flatten(x); return -ops.sum(ops.bce_with_logits(self.logits(x), x), axis=1)",
    ),
    "Autoregressive.updates": (
        "Which module is to be stepped, and what is to be made small? The answer is yielded, once.",
        "The log-probability of the training images should grow: minus its mean over the batch.",
        "yield self, -ops.mean(self.log_prob(batch))",
    ),
    "Autoregressive.sample": (
        "Begin with an empty image. Which pixel can be decided first, and by what?",
        "For j in self.order: p = ops.sigmoid(self.logits(x))[:, j], and x[:, j] = 1 where a fresh rng.random(n) is "
        "below p. Then the next j, with new logits.",
        'x = xp.zeros((n, D), "float32"); with no_grad(): for j in self.order.tolist(): x[:, j] = '
        "xp.asarray(rng.random(n)) < ops.sigmoid(self.logits(x).data[:, j])",
    ),
    "Independent.fit": (
        "How often was each pixel 1, how often 0? Images are along axis 0.",
        "logit = log(p / (1 - p)) = log(ones) - log(zeros), with 1/2 added to both counts.",
        "x = flatten(images); ones = x.sum(axis=0); self.b.data = xp.log(ones + 0.5) - xp.log(len(x) - ones + 0.5)",
    ),
    "FVSBN.logits": (
        "D logistic regressions at once: one matrix product. What keeps a pixel from seeing itself and later ones?",
        "self.W * self.mask are the weights that may be. ops.linear(x, W, b) is x @ W + b.",
        "return ops.linear(flatten(x), self.W * self.mask, self.b)",
    ),
    "MADE.logits": (
        "An ordinary stack of layers, in which each W is used as W * mask. Which layers end in a ReLU?",
        "self.layers and self.masks belong together. After the last layer no ReLU; then add x @ (self.direct * "
        "self.direct_mask).",
        "h = flatten(x); for layer, mask in zip(self.layers[:-1], self.masks[:-1]): h = ops.relu(ops.linear(h, layer.W "
        "* mask, layer.b)); then the last layer without relu, plus the direct connections",
    ),
    "dependency_matrix": (
        "The engine can tell which inputs a number depends on. Ask it for one logit after the other.",
        "x = Tensor(x, requires_grad=True); grad(logits[:, j].sum(), x, retain_graph=True) is (N, D): row n holds the "
        "derivatives of logit j at image n.",
        "rows.append((xp.abs(g) > 0).any(axis=0)) for each j; stacked, rows are logits and columns pixels",
    ),
    "total_probability": (
        "There are 2^D images. The model gives the log-probability of each. What must their probabilities sum to?",
        "all_images(D) is one batch. log_prob under no_grad, .numpy(), float64, np.exp, sum.",
        "log_p = model.log_prob(xp.asarray(all_images(model.config.pixels))); "
        "float(np.exp(log_p.numpy().astype(np.float64)).sum())",
    ),
    "ensemble_log_prob": (
        "The average of probabilities is a probability. Of logs it is not.",
        "log (1/K) sum_k exp(a_k) = logsumexp_k(a_k) - log K, with a_k = model.log_prob(x).",
        "each = ops.stack(*(model.log_prob(x) for model in models)); return ops.logsumexp(each, axis=0) - "
        "math.log(len(models))",
    ),
}
