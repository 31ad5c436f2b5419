"""Typical wrong solutions of e05_conv, each with what its check must say; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="places_miscounted",
        hole="output_size",
        old="// s + 1",
        new="// s",
        says="the places are one more",
    ),
    Mistake(
        name="padding_on_one_side",
        hole="output_size",
        old="n + 2 * p",
        new="n + p",
        says="the padding lies on both sides",
    ),
    Mistake(
        name="dilated_span",
        hole="output_size",
        old="d * (k - 1) - 1",
        new="d * k",
        says="the kernel spans dilation * (kh - 1) + 1 rows",
    ),
    Mistake(
        name="rounded_up",
        hole="output_size",
        old="(n + 2 * p - d * (k - 1) - 1) // s + 1",
        new="-(-(n + 2 * p - d * (k - 1) - 1) // s) + 1",
        says="a window hangs over the edge",
    ),
    Mistake(
        name="stride_once_too_often",
        hole="transposed_size",
        old="(n - 1) * s",
        new="n * s",
        says="between n places are n - 1 steps",
    ),
    Mistake(
        name="padding_added",
        hole="transposed_size",
        old="- 2 * p",
        new="+ 2 * p",
        says="the padding is not part of the image",
    ),
    Mistake(
        name="slice_to_the_next_stride",
        hole="places",
        old="a + sh * (h - 1) + 1",
        new="a + sh * h + 1",
        says="a slice ends one after it",
    ),
    Mistake(
        name="slice_ends_early",
        hole="places",
        old="b + sw * (w - 1) + 1",
        new="b + sw * (w - 1)",
        says="a slice ends one after it",
    ),
    Mistake(
        name="tap_strided",
        hole="places",
        old="pair(dilation)",
        new="pair(stride)",
        says="the tap's offset is multiplied by the stride, expected by the dilation",
    ),
    Mistake(
        name="tap_transposed",
        hole="places",
        old="zip(tap, ",
        new="zip(tap[::-1], ",
        says="row and column of the tap are swapped",
    ),
    Mistake(
        name="channel_order",
        hole="unfold",
        old="columns.reshape(n",
        new="columns.swapaxes(1, 2).reshape(n",
        says="expected channel by channel",
    ),
    Mistake(
        name="border_of_zeros",
        hole="unfold",
        old=", constant_values=fill",
        new="",
        says="the border holds 0, expected `fill`",
    ),
    Mistake(
        name="windows_as_rows",
        hole="unfold",
        old="columns.reshape(n, c * len(taps), h * w)",
        new="columns.reshape(n, c * len(taps), h * w).swapaxes(1, 2)",
        says="windows are columns, not rows",
    ),
    Mistake(
        name="columns_in_float64",
        hole="unfold",
        old=", x.dtype",
        new="",
        says="gives float64, expected float32",
    ),
    Mistake(
        name="padded_at_the_end",
        hole="unfold",
        old="(ph, ph), (pw, pw)",
        new="(0, 2 * ph), (0, 2 * pw)",
        says="the padding lies at the bottom and on the right only",
    ),
    Mistake(
        name="overwriting",
        hole="fold",
        old="] += columns",
        new="] = columns",
        says="replaced the earlier one: add (+=)",
    ),
    Mistake(
        name="padding_left_on",
        hole="fold",
        old="padded[:, :, ph : ph + size[0], pw : pw + size[1]]",
        new="padded",
        says="the padding is still on it",
    ),
    Mistake(
        name="cut_by_minus_zero",
        hole="fold",
        old="ph : ph + size[0], pw : pw + size[1]",
        new="ph:-ph, pw:-pw",
        says="is empty for p = 0",
    ),
    Mistake(
        name="cut_at_the_end",
        hole="fold",
        old="ph : ph + size[0], pw : pw + size[1]",
        new=": size[0], : size[1]",
        says="at the bottom and on the right only",
    ),
    Mistake(
        name="flipped_kernel",
        hole="conv2d",
        old="w.reshape(len(w), -1)",
        new="w[:, :, ::-1, ::-1].reshape(len(w), -1)",
        says="the kernel is flipped",
    ),
    Mistake(
        name="no_bias",
        hole="conv2d",
        old="y if b is None else y + b[:, None, None]",
        new="y",
        says="the bias is missing",
    ),
    Mistake(
        name="dilation_forgotten",
        hole="conv2d",
        old="kernel=w.shape[2:], **options",
        new="kernel=w.shape[2:], stride=stride, padding=padding",
        says="conv2d((2, 3, 6, 7), (4, 3, 3, 2), (4,), stride=(2, 1), padding=(1, 2), dilation=(1, 2)) raised",
    ),
    Mistake(
        name="mixed_by_reshape",
        hole="conv2d",
        old="y.reshape(len(x), len(w), *size)",
        new="y.swapaxes(1, 2).reshape(len(x), len(w), *size)",
        says="places and kernels are mixed up",
    ),
    Mistake(
        name="transpose_flipped",
        hole="conv_transpose2d",
        old="w.reshape(f, -1)",
        new="w[:, :, ::-1, ::-1].reshape(f, -1)",
        says="the kernel is flipped",
    ),
    Mistake(
        name="bias_in_every_window",
        hole="conv_transpose2d",
        old="""    y = fold(columns, size=size, kernel=w.shape[2:], **options)
    return y if b is None else y + b[:, None, None]""",
        new="""    if b is not None:
        columns = columns + b.repeat(w.shape[2] * w.shape[3])[:, None]
    return fold(columns, size=size, kernel=w.shape[2:], **options)""",
        says="added to the columns, and so once for every window",
    ),
    Mistake(
        name="output_padding_forgotten",
        hole="conv_transpose2d",
        old="size=size",
        new="size=transposed_size(x.shape[2:], w.shape[2:], **options)",
        says="output_padding is ignored",
    ),
    Mistake(
        name="mean_over_images",
        hole="conv2d_weight",
        old=".sum(axis=0)",
        new=".mean(axis=0)",
        says="it is the mean over the images",
    ),
    Mistake(
        name="first_image_only",
        hole="conv2d_weight",
        old=".sum(axis=0)",
        new="[0]",
        says="only the first image counts",
    ),
    Mistake(
        name="leftover_rows_forgotten",
        hole="conv2d_vjp",
        old="output_padding=rest, ",
        new="",
        says="rows at the end that no stride reached",
    ),
    Mistake(
        name="bias_gradient_averaged",
        hole="conv2d_vjp",
        old="g.sum(axis=(0, 2, 3))",
        new="g.mean(axis=(0, 2, 3))",
        says="the mean over images and places was taken",
    ),
    Mistake(
        name="bias_summed_over_places",
        hole="conv2d_vjp",
        old="g.sum(axis=(0, 2, 3))",
        new="g.sum(axis=(2, 3))",
        says="it is summed over places, not over images",
    ),
    Mistake(
        name="rule_on_raw_data",
        hole="conv2d_vjp",
        old="g.sum(axis=(0, 2, 3))",
        new="np.asarray(getattr(g, 'data', g)).sum(axis=(0, 2, 3))",
        says="cannot be differentiated",
    ),
    Mistake(
        name="always_three",
        hole="conv2d_vjp",
        old="thunks[: 2 + len(b)]",
        new="thunks",
        says="expected 2: one for each argument",
    ),
    Mistake(
        name="border_wins",
        hole="max_pool2d",
        old=", fill=-math.inf",
        new="",
        says="fill it with -infinity",
    ),
    Mistake(
        name="over_all_channels",
        hole="max_pool2d",
        old=".max(axis=2)",
        new=".max(axis=(1, 2))[:, None] + np.zeros((1, c, 1, 1))",
        says="each channel has its own",
    ),
    Mistake(
        name="all_equals_win",
        hole="max_pool2d_vjp",
        old="chosen == xp.arange(seen.shape[2]).reshape(-1, 1, 1)",
        new="(getattr(seen, '_data', seen) == getattr(y, '_data', y)[:, :, None])",
        says="each got the whole gradient",
    ),
    Mistake(
        name="last_wins",
        hole="max_pool2d_vjp",
        old="seen.argmax(axis=2)[:, :, None]",
        new="(seen.shape[2] - 1 - seen[:, :, ::-1].argmax(axis=2))[:, :, None]",
        says="the last got the gradient, expected the first",
    ),
    Mistake(
        name="unbiased_in_the_batch",
        hole="moments",
        old="(centred**2).mean(axis=axes)",
        new="x.var(axis=axes, ddof=1)",
        says="it is the unbiased one",
    ),
    Mistake(
        name="over_the_batch_only",
        hole="moments",
        old="axes = (0, *range(2, x.ndim))",
        new="axes = 0",
        says="means over all axes but axis 1",
    ),
    Mistake(
        name="difference_of_squares",
        hole="moments",
        old="(centred**2).mean(axis=axes)",
        new="(x**2).mean(axis=axes) - mean**2",
        says="is the difference of two huge numbers",
    ),
    Mistake(
        name="eps_outside",
        hole="batch_norm",
        old="xp.sqrt(var + eps)",
        new="(xp.sqrt(var) + eps)",
        says="eps stands outside the root",
    ),
    Mistake(
        name="divided_by_the_variance",
        hole="batch_norm",
        old="xp.sqrt(var + eps)",
        new="(var + eps)",
        says="it is divided by the variance, expected its root",
    ),
    Mistake(
        name="keeps_the_deviation",
        hole="batch_norm",
        old="(centred, inverse)",
        new="(centred, 1 / inverse)",
        says="it is sqrt(var + eps), not 1 over it",
    ),
    Mistake(
        name="statistics_as_constants",
        hole="batch_norm_vjp",
        old="(g - pull)",
        new="g",
        says="mean and variance are treated as constants",
    ),
    Mistake(
        name="variance_as_constant",
        hole="batch_norm_vjp",
        old=" + normal * along((g * normal).mean(axis=axes), g)",
        new="",
        says="the variance is treated as a constant",
    ),
    Mistake(
        name="gamma_by_centred",
        hole="batch_norm_vjp",
        old="lambda: (g * normal).sum(axis=axes)",
        new="lambda: (g * centred).sum(axis=axes)",
        says="x - mean stands where x^ belongs",
    ),
    Mistake(
        name="training_at_test",
        hole="BatchNorm.__call__",
        old="if not self.training:",
        new="if False:",
        says="after eval() it is normalised by the running statistics",
    ),
    Mistake(
        name="biased_running_variance",
        hole="BatchNorm.__call__",
        old="step * (m / (m - 1)) * var",
        new="step * var",
        says="it takes the biased variance",
    ),
    Mistake(
        name="momentum_reversed",
        hole="BatchNorm.__call__",
        old="m, step = data.size // data.shape[1], self.momentum",
        new="m, step = data.size // data.shape[1], 1 - self.momentum",
        says="momentum is the weight of the batch, not of what was there",
    ),
    Mistake(
        name="counted_images_only",
        hole="BatchNorm.__call__",
        old="data.size // data.shape[1]",
        new="len(data)",
        says="m counts the batch alone",
    ),
    Mistake(
        name="running_statistics_in_training",
        hole="BatchNorm.__call__",
        old="return batch_norm(x, self.gamma, self.beta, eps=self.eps, stats=stats)",
        new="""stats = None
        inverse = 1 / xp.sqrt(self.running_var.data + self.eps)
        centred = x - along(self.running_mean.data, data)
        return centred * along(self.gamma * inverse, data) + along(self.beta, data)""",
        says="normalised by the new running statistics, expected those of the batch",
    ),
    Mistake(
        name="moved_in_use",
        hole="BatchNorm.__call__",
        old="if not self.training:",
        new="""if not self.training:
            before = moments(np.concatenate([data, data]))[0]
            self.running_mean.data, before = 0.9 * self.running_mean.data + 0.1 * before, self.running_mean.data
            centred = (x - along(before, data)) / along(xp.sqrt(self.running_var.data + self.eps), data)
            return along(self.gamma, data) * centred + along(self.beta, data)
        if False:""",
        says="which must not move in use",
    ),
]

HINTS = {
    "output_size": (
        "In one direction: where does the first tap stand at the first place, and where at the last? Count the steps.",
        "The kernel spans d (k - 1) + 1 of n + 2 p rows. So its first tap can go from row 0 to row n + 2 p - span, in "
        "steps of s: integer division. The places are one more than the steps.",
        "(n + 2 * p - d * (k - 1) - 1) // s + 1, for n, k, s, p, d of each direction; pair() makes a number two.",
    ),
    "transposed_size": (
        "Walk the kernel over the output: n places are n - 1 steps.",
        "The last place begins (n - 1) s rows below the first, and spans d (k - 1) + 1 rows. The padding belongs to "
        "that, not to the image.",
        "(n - 1) * s + d * (k - 1) + 1 - 2 * p + e, for each direction; e is its output_padding.",
    ),
    "places": (
        "Fix one tap and let the kernel walk: which rows of the padded image does the tap touch?",
        "Rows a d, a d + s, a d + 2 s, ...: a slice with a step. It must hold H' of them: the last is (H' - 1) s below "
        "the first, and a slice ends one after its last.",
        "slice(a * d, a * d + s * (h - 1) + 1, s) for the rows; the same with b and w for the columns.",
    ),
    "unfold": (
        "Two ways to fill the matrix: window by window, or tap by tap. The second needs only kh kw copies.",
        "Pad with xp.pad(..., constant_values=fill). For each tap, padded[:, :, rows, columns] is (N, C, H', W'): what "
        "all windows see through it. Gather them in an array (N, C, kh kw, H', W').",
        "columns[:, :, t] = padded[(..., *places(tap, (h, w), stride=stride, dilation=dilation))] for t, tap in "
        "enumerate(taps); then columns.reshape(n, c * len(taps), h * w).",
    ),
    "fold": (
        "Read unfold backwards: what was read there is written here. What if two windows share a pixel?",
        "Start with zeros of the padded size, in x's dtype. Reshape x to (N, C, kh kw, H', W'). For each tap, add "
        "(+=) its part at places(tap, ...). A slice names each pixel once, so += is safe within a tap.",
        "padded[(..., *places(tap, (h, w), stride=stride, dilation=dilation))] += columns[:, :, t]; at the end "
        "padded[:, :, ph : ph + size[0], pw : pw + size[1]].",
    ),
    "conv2d": (
        "Make a kernel one row and each window one column. What is row times column?",
        "unfold gives (N, C kh kw, L). w as a matrix is (F, C kh kw): w.reshape(F, -1) has the same order. `@` "
        "multiplies for every image: (N, F, L). L = H' W' in reading order, so a reshape is enough.",
        "y = w.reshape(len(w), -1) @ unfold(x, kernel=w.shape[2:], **options); y.reshape(len(x), len(w), *size); plus "
        "b[:, None, None] unless b is None.",
    ),
    "conv2d_vjp": (
        "y is linear in x and linear in w. The gradient of a linear map is its transpose, and both transposes are "
        "functions of this file.",
        "x: conv_transpose2d(g, w) with the same options; its output must have x's size, so output_padding is what x "
        "has more than transposed_size says. w: conv2d_weight(x, g). b was added at every place of every image.",
        "thunks = (lambda: conv_transpose2d(g, w, output_padding=rest, taps=taps, **options), lambda: conv2d_weight(x, "
        "g, kernel=w.shape[2:], taps=taps, **options), lambda: g.sum(axis=(0, 2, 3))); return thunks[: 2 + len(b)].",
    ),
    "conv_transpose2d": (
        "Each pixel makes a column: its F numbers times the F kernels. Where do columns go?",
        "conv2d is w times unfold(x). Its transpose in x is fold(w^T times g): the matrix of w transposed, and fold in "
        "place of unfold.",
        "columns = w.reshape(f, -1).T @ x.reshape(n, f, -1); fold(columns, size=size, kernel=w.shape[2:], **options); "
        "plus b[:, None, None] unless b is None.",
    ),
    "conv2d_weight": (
        "y = W columns, so dL/dW = g columns^T: a sum over places is inside the product, the sum over images is not.",
        "g as (N, F, L), the columns of x as (N, C kh kw, L): transpose the latter (.mT), multiply, sum over axis 0.",
        "(g.reshape(len(g), f, -1) @ columns.mT).sum(axis=0).reshape(f, c, *kernel); then visible(w, taps).",
    ),
    "max_pool2d": (
        "unfold has the windows already. Along which axis lies a window, if you reshape its result?",
        "(N, C kh kw, L) reshaped to (N, C, kh kw, H', W'): the maximum over axis 2. With fill=0 the border would win "
        "where all pixels are negative.",
        "unfold(x, kernel=kernel, stride=stride, padding=padding, fill=-math.inf).reshape(n, c, -1, h, w).max(axis=2)",
    ),
    "max_pool2d_vjp": (
        "A window passes its g to one tap and 0 to the others: that is a column. fold takes it home.",
        "argmax gives the first of equals. Compare it with 0 .. kh kw - 1 along axis 2: a mask (N, C, kh kw, H', W') "
        "with one True in each window. g times the mask, reshaped to (N, C kh kw, L).",
        "mask = seen.argmax(axis=2)[:, :, None] == xp.arange(seen.shape[2]).reshape(-1, 1, 1); lambda: "
        "fold((g.reshape(n, c, 1, h, w) * mask).reshape(n, -1, h * w), size=size, **options)",
    ),
    "moments": (
        "One mean for each channel: which axes disappear?",
        "All but axis 1: (0, 2, 3) for images, (0,) for rows. `along(mean, x)` lays the means along the channels, so "
        "that they can be subtracted.",
        "axes = (0, *range(2, x.ndim)); mean = x.mean(axis=axes); centred = x - along(mean, x); "
        "(centred**2).mean(axis=axes)",
    ),
    "batch_norm": (
        "centred has mean 0 already. What makes its variance 1? Then gamma, then beta.",
        "inverse = 1 / xp.sqrt(var + eps) is (C,). y is centred, times gamma times inverse, plus beta, each laid along "
        "the channels. Return two things: y, and what the rule needs.",
        "return centred * along(gamma * inverse, x) + along(beta, x), (centred, inverse)",
    ),
    "batch_norm_vjp": (
        "gamma and beta are easy: y = gamma x^ + beta. For x, use the formula: its two means are over the same axes.",
        "normal = centred * along(inverse, g). mean(g) and mean(g normal) are (C,): lay them along the channels.",
        "gx = along(gamma * inverse, g) * (g - along(g.mean(axes), g) - normal * along((g * normal).mean(axes), g)); "
        "gamma: (g * normal).sum(axes); beta: g.sum(axes). Each in a lambda.",
    ),
    "BatchNorm.__call__": (
        "Two ways, by self.training. What depends on the batch, and what on all batches that came before?",
        "In use: the formula of batch_norm with running_mean.data and running_var.data. In training: moments(data), a "
        "step of the running statistics (m / (m - 1) for the variance), then batch_norm(x, gamma, beta, ...).",
        "self.running_var.data = (1 - self.momentum) * self.running_var.data + self.momentum * var * m / (m - 1), with "
        "m = data.size // data.shape[1]; return batch_norm(x, self.gamma, self.beta, eps=self.eps, stats=stats).",
    ),
}
