"""Typical wrong versions of e11's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="mask_b_in_the_first_layer",
        hole="mask",
        old='if kind == "B" else columns < middle',
        new="if kind else columns < middle",
        says="A hides the middle",
    ),
    Mistake(
        name="centre_tap_left_out",
        hole="mask",
        old='columns <= middle if kind == "B" else columns < middle',
        new="columns < middle",
        says="A and B are exchanged, or one is used for both",
    ),
    Mistake(
        name="reversed_mask",
        hole="mask",
        old="return (rows < middle_row) | ((rows == middle_row) & left)",
        new="return ((rows < middle_row) | ((rows == middle_row) & left))[::-1, ::-1]",
        says="it is reversed",
    ),
    Mistake(
        name="inverted_mask",
        hole="mask",
        old="return (rows < middle_row) | ((rows == middle_row) & left)",
        new="return ~((rows < middle_row) | ((rows == middle_row) & left))",
        says="it is inverted",
    ),
    Mistake(
        name="transposed_scan_order",
        hole="mask",
        old=None,
        new="""
        rows, columns = np.indices(kernel)
        up = rows <= kernel[0] // 2 if kind == "B" else rows < kernel[0] // 2
        return (columns < kernel[1] // 2) | ((columns == kernel[1] // 2) & up)
        """,
        says="it goes column by column",
    ),
    Mistake(
        name="only_to_the_left",
        hole="mask",
        old="return (rows < middle_row) | ((rows == middle_row) & left)",
        new="return (rows <= middle_row) & left",
        says="it looks to the left in every row",
    ),
    Mistake(
        name="whole_middle_row",
        hole="mask",
        old="return (rows < middle_row) | ((rows == middle_row) & left)",
        new="return rows <= middle_row",
        says="also right of the middle",
    ),
    Mistake(
        name="vertical_stack_reads_the_present_row",
        hole="vertical_mask",
        old='kernel[0] // 2 + (kind == "B")',
        new="kernel[0] // 2 + 1",
        says="reads the present row of the image",
    ),
    Mistake(
        name="vertical_stack_forgets_its_own_row",
        hole="vertical_mask",
        old='kernel[0] // 2 + (kind == "B")',
        new="kernel[0] // 2",
        says="the features there have seen no more than the rows above",
    ),
    Mistake(
        name="vertical_mask_with_a_step",
        hole="vertical_mask",
        old=None,
        new="return mask(kernel, kind)",
        says="sees rows in full or not at all",
    ),
    Mistake(
        name="colour_sees_itself",
        hole="colour_mask",
        old='source < target[:, None] if kind == "A" else source <= target[:, None]',
        new="source <= target[:, None]",
        says="A lets a colour see itself",
    ),
    Mistake(
        name="colour_order_reversed",
        hole="colour_mask",
        old='source < target[:, None] if kind == "A" else source <= target[:, None]',
        new='source > target[:, None] if kind == "A" else source >= target[:, None]',
        says="the order is reversed",
    ),
    Mistake(
        name="colours_in_blocks",
        hole="colour_mask",
        old="np.arange(n_in) % colours, np.arange(n_out) % colours",
        new="np.arange(n_in) * colours // n_in, np.arange(n_out) * colours // n_out",
        says="the channels are grouped in blocks",
    ),
    Mistake(
        name="colours_ignored",
        hole="colour_mask",
        old=None,
        new="return np.tile(mask(kernel, kind), (n_out, n_in, 1, 1))",
        says="at the middle",
    ),
    Mistake(
        name="weights_the_wrong_way_round",
        hole="colour_mask",
        old="return visible",
        new="return visible.swapaxes(0, 1)",
        says="expected (n_out, n_in, kh, kw)",
    ),
    Mistake(
        name="no_mask",
        hole="MaskedConv2d.__call__",
        old="return ops.conv2d(x, W, self.b, padding=(kh // 2, kw // 2), taps=self.taps)",
        new="return ops.conv2d(x, self.W, self.b, padding=(kh // 2, kw // 2))",
        says="nothing is hidden",
    ),
    Mistake(
        name="mask_applied_once_to_the_values",
        hole="MaskedConv2d.__call__",
        old=None,
        new="""
        kh, kw = self.taps.shape
        self.W.data = self.W.data * self.visible
        return ops.conv2d(x, self.W, self.b, padding=(kh // 2, kw // 2))
        """,
        says="hidden weights receive a gradient",
    ),
    Mistake(
        name="taps_only",
        hole="MaskedConv2d.__call__",
        old="self.W if self.even else self.W * xp.asarray(self.visible.astype(self.W.dtype))",
        new="self.W",
        says="but not the pairs of channels",
    ),
    Mistake(
        name="bias_forgotten",
        hole="MaskedConv2d.__call__",
        old="ops.conv2d(x, W, self.b, ",
        new="ops.conv2d(x, W, ",
        says="bias",
    ),
    Mistake(
        name="no_padding",
        hole="MaskedConv2d.__call__",
        old="padding=(kh // 2, kw // 2), ",
        new="",
        says="pad by half of each side",
    ),
    Mistake(
        name="mask_without_gradient",
        hole="MaskedConv2d.__call__",
        old="return ops.conv2d(x, W, self.b,",
        new="W = W.detach()\n        return ops.conv2d(x, W, self.b,",
        says="the graph is cut",
    ),
    Mistake(
        name="no_residual",
        hole="ResidualBlock.__call__",
        old="h + self.wide(ops.relu(inner))",
        new="self.wide(ops.relu(inner))",
        says="the input is not added",
    ),
    Mistake(
        name="relu_after_the_sum",
        hole="ResidualBlock.__call__",
        old="h + self.wide(ops.relu(inner))",
        new="ops.relu(h + self.wide(ops.relu(inner)))",
        says="there is a ReLU after the sum",
    ),
    Mistake(
        name="first_relu_forgotten",
        hole="ResidualBlock.__call__",
        old="self.narrow(ops.relu(h))",
        new="self.narrow(h)",
        says="no ReLU before the first convolution",
    ),
    Mistake(
        name="relu_kept",
        hole="ResidualBlock.__call__",
        old="inner = self.masked(ops.relu(self.narrow(ops.relu(h))))",
        new="h = ops.relu(h)\n        inner = self.masked(ops.relu(self.narrow(h)))",
        says="add h itself",
    ),
    Mistake(
        name="halves_exchanged",
        hole="gate",
        old="ops.tanh(x[:, :p]) * ops.sigmoid(x[:, p:])",
        new="ops.sigmoid(x[:, :p]) * ops.tanh(x[:, p:])",
        says="the halves are exchanged",
    ),
    Mistake(
        name="gate_by_every_second_channel",
        hole="gate",
        old="ops.tanh(x[:, :p]) * ops.sigmoid(x[:, p:])",
        new="ops.tanh(x[:, ::2]) * ops.sigmoid(x[:, 1::2])",
        says="every second channel",
    ),
    Mistake(
        name="h_flows_into_v",
        hole="GatedBlock.__call__",
        old="return gate(above), h",
        new="return gate(above + self.horizontal(h)), h",
        says="h flows into v",
    ),
    Mistake(
        name="stacks_not_connected",
        hole="GatedBlock.__call__",
        old="self.horizontal(h) + self.down(above)",
        new="self.horizontal(h)",
        says="tells the horizontal one nothing",
    ),
    Mistake(
        name="residual_in_the_first_block_too",
        hole="GatedBlock.__call__",
        old="h + out if self.residual else out",
        new="h + out",
        says="block A",
    ),
    Mistake(
        name="residual_forgotten",
        hole="GatedBlock.__call__",
        old="h + out if self.residual else out",
        new="out",
        says="the residual connection is missing",
    ),
    Mistake(
        name="v_not_gated",
        hole="GatedBlock.__call__",
        old="return gate(above), h",
        new="return above, h",
        says="v has shape",
    ),
    Mistake(
        name="residual_past_mask_a",
        hole="PixelCNN.logits",
        old="h = self.body(as_maps(x))",
        new="h = self.body(as_maps(x)) + ops.sum(as_maps(x), axis=1, keepdims=True)",
        says="the image passes beside mask A",
    ),
    Mistake(
        name="no_relu_in_the_head",
        hole="PixelCNN.logits",
        old="layer(ops.relu(h))",
        new="layer(h)",
        says="there is no ReLU in the head",
    ),
    Mistake(
        name="colours_before_levels",
        hole="PixelCNN.logits",
        old="return h.reshape(n, channels // colours, colours, height, width)",
        new="return h.reshape(n, colours, channels // colours, height, width).swapaxes(1, 2)",
        says="channel k C + c is level k of colour c",
    ),
    Mistake(
        name="probabilities_instead_of_logits",
        hole="PixelCNN.logits",
        old="return h.reshape(",
        new="return ops.sigmoid(h).reshape(",
        says="these are probabilities",
    ),
    Mistake(
        name="mean_per_pixel_called_nats",
        hole="PixelCNN.log_prob",
        old="-ops.sum(nats.reshape(x.shape[0], -1), axis=1)",
        new="-ops.mean(nats.reshape(x.shape[0], -1), axis=1)",
        says="the pixels are averaged",
    ),
    Mistake(
        name="positive_log_prob",
        hole="PixelCNN.log_prob",
        old="-ops.sum(",
        new="ops.sum(",
        says="the sign is wrong",
    ),
    Mistake(
        name="summed_over_the_batch",
        hole="PixelCNN.log_prob",
        old="-ops.sum(nats.reshape(x.shape[0], -1), axis=1)",
        new="-ops.sum(nats)",
        says="expected one number for each",
    ),
    Mistake(
        name="log_of_a_sigmoid",
        hole="PixelCNN.log_prob",
        old="nats = ops.bce_with_logits(logits.reshape(*x.shape), x)",
        new="p = ops.sigmoid(logits.reshape(*x.shape))\n"
        "            nats = -(x * ops.log(p) + (1 - x) * ops.log(1 - p))",
        says="never take the log of a sigmoid",
    ),
    Mistake(
        name="levels_cut_off",
        hole="PixelCNN.log_prob",
        old="xp.rint(raw(x) * (self.config.levels - 1))",
        new="(raw(x) * (self.config.levels - 1))",
        says="is cut off, not rounded",
    ),
    Mistake(
        name="log_prob_cut_off",
        hole="PixelCNN.log_prob",
        old="self.logits(x)",
        new="self.logits(x).detach()",
        says="the graph is cut",
    ),
    Mistake(
        name="not_binarized",
        hole="PixelCNN.prepare",
        old="(images > 0.5).astype(images.dtype)",
        new="images",
        says="every value one of the levels",
    ),
    Mistake(
        name="a_half_becomes_white",
        hole="PixelCNN.prepare",
        old="images > 0.5",
        new="images >= 0.5",
        says="exactly 1/2 became 1",
    ),
    Mistake(
        name="everything_but_black",
        hole="PixelCNN.prepare",
        old="images > 0.5",
        new="images > 0",
        says="the threshold is 1/2",
    ),
    Mistake(
        name="dynamic_binarized_once",
        hole="PixelCNN.prepare",
        old="drawn = xp.asarray(rng.random(images.shape, dtype=np.float32))",
        new="drawn = np.random.default_rng(0).random(images.shape, dtype=np.float32)",
        says="draw from the rng",
    ),
    Mistake(
        name="one_number_for_a_whole_image",
        hole="PixelCNN.prepare",
        old="rng.random(images.shape, dtype=np.float32)",
        new="rng.random((images.shape[0], 1, 1), dtype=np.float32)",
        says="draw one number for every pixel",
    ),
    Mistake(
        name="levels_rounded_down",
        hole="PixelCNN.prepare",
        old="xp.rint(images * steps) / steps",
        new="xp.floor(images * steps) / steps",
        says="rounded down",
    ),
    Mistake(
        name="likelihood_made_small",
        hole="PixelCNN.updates",
        old="-ops.mean(",
        new="ops.mean(",
        says="log p would be made small",
    ),
    Mistake(
        name="loss_as_a_float",
        hole="PixelCNN.updates",
        old="-ops.mean(self.log_prob(batch))",
        new="-ops.mean(self.log_prob(batch)).item()",
        says="the loss is a float",
    ),
    Mistake(
        name="loss_summed_over_the_batch",
        hole="PixelCNN.updates",
        old="-ops.mean(",
        new="-ops.sum(",
        says="summed over the batch",
    ),
    Mistake(
        name="nats_called_bits",
        hole="bits_per_dim",
        old="nats / (dimensions * float(np.log(2.0)))",
        new="nats / dimensions",
        says="divide by ln 2, too",
    ),
    Mistake(
        name="bits_multiplied",
        hole="bits_per_dim",
        old="nats / (dimensions * float(np.log(2.0)))",
        new="nats * float(np.log(2.0)) / dimensions",
        says="a nat is 1 / ln 2",
    ),
    Mistake(
        name="row_and_column_exchanged",
        hole="context",
        old="colour, row, column]",
        new="colour, column, row]",
        says="row and column are exchanged",
    ),
    Mistake(
        name="one_image_is_not_enough",
        hole="context",
        old="(to_host(slope) != 0).any(axis=0)",
        new="to_host(slope)[0] != 0",
        says="only the first image",
    ),
    Mistake(
        name="every_image_must_show_it",
        hole="context",
        old=".any(axis=0)",
        new=".all(axis=0)",
        says="True only where all images have a slope",
    ),
]

HINTS = {
    "mask": (
        "Put a finger on the middle of the kernel. Which places has your eye read before, if it reads line by "
        "line?",
        "Two parts, joined by `|`: all rows above the middle row; and in the middle row the columns left of "
        "the middle, "
        "with B up to the middle itself. np.indices(kernel) gives every place its row and its column.",
        "rows, columns = np.indices(kernel); left = columns <= kw // 2 if kind == 'B' else columns < kw // 2; "
        "(rows < kh // 2) | ((rows == kh // 2) & left)",
    ),
    "vertical_mask": (
        "A row is seen as a whole, or not at all. Which rows of the image may the features of row i know?",
        "With A the rows above the middle. With B the kernel looks at features, and those in the middle row "
        "have seen no "
        "more than the rows above: they may be read.",
        "above = np.arange(kh) < kh // 2 + (kind == 'B'), the same for every column: np.repeat(above[:, None], "
        "kw, axis=1)",
    ),
    "colour_mask": (
        "All places but the middle belong to other pixels, which are known in all colours or in none.",
        "Start with mask(kernel, 'A') for every pair. Then the middle: colour of the input channel (c % "
        "colours) against the "
        "colour of the output channel, < with A and <= with B.",
        "source = np.arange(n_in) % colours; target = np.arange(n_out)[:, None] % colours; visible = "
        "np.tile(mask(kernel, "
        "'A'), (n_out, n_in, 1, 1)); visible[:, :, kh // 2, kw // 2] = source < target (A) or source <= target (B)",
    ),
    "MaskedConv2d.__call__": (
        "What must a hidden weight of 1000 do to the output, and what gradient must it get?",
        "ops.conv2d(x, W, b, padding=..., taps=self.taps) looks at marked places only. If self.even is False, "
        "multiply "
        "self.W by the mask first (as a float array of the backend), so that the product is part of the graph.",
        "W = self.W if self.even else self.W * xp.asarray(self.visible.astype(self.W.dtype)); "
        "ops.conv2d(x, W, self.b, padding=(kh // 2, kw // 2), taps=self.taps)",
    ),
    "ResidualBlock.__call__": (
        "Three convolutions, three ReLUs, one sum. Where does each ReLU stand?",
        "Each ReLU comes before its convolution, also the first one; but what is added at the end is h as it "
        "came in.",
        "h + self.wide(ops.relu(self.masked(ops.relu(self.narrow(ops.relu(h))))))",
    ),
    "gate": (
        "One half says what, the other half says how much.",
        "p = x.shape[1] // 2. x[:, :p] goes through tanh, x[:, p:] through the sigmoid; multiply.",
        "ops.tanh(x[:, :p]) * ops.sigmoid(x[:, p:])",
    ),
    "GatedBlock.__call__": (
        "Draw the two stacks side by side. There is one arrow between them: from which to which?",
        "self.vertical(v) is computed once and used twice: gated, it is the new v; through self.down it is "
        "added to "
        "self.horizontal(h) before the gate.",
        "above = self.vertical(v); out = self.mix(gate(self.horizontal(h) + self.down(above))); return "
        "gate(above), "
        "h + out if self.residual else out",
    ),
    "PixelCNN.logits": (
        "The body ends without a ReLU. The head's two layers each have one before them, and none stands after "
        "the last.",
        "The head gives (N, K C, H, W), and channel k C + c is level k of colour c: so K comes first in the "
        "reshape.",
        "h = self.body(as_maps(x)); for layer in self.head: h = layer(ops.relu(h)); then h.reshape(n, channels "
        "// C, C, "
        "height, width)",
    ),
    "PixelCNN.log_prob": (
        "Each pixel is a small classification: two classes, or `levels` of them. What is the log-probability "
        "of the right one?",
        "Binary: logits as (N, C, H, W) against x with ops.bce_with_logits, which is minus log p for each "
        "pixel. Else: the "
        "levels on the last axis, everything else in rows, ops.cross_entropy(rows, labels=...). Then sum for "
        "each image.",
        "binary: -ops.sum(ops.bce_with_logits(logits.reshape(*x.shape), x).reshape(n, -1), axis=1). Levels: "
        "k = xp.rint(raw(x) * (levels - 1)).astype('int64'), rows = ops.moveaxis(logits, source=1, "
        "destination=-1).reshape(-1, levels).",
    ),
    "PixelCNN.prepare": (
        "Three cases. Which of them uses rng?",
        "levels > 2: round x (levels - 1) to the nearest, divide again. threshold: compare with 1/2. dynamic: "
        "compare with "
        "rng.random(images.shape), one number for every pixel. Comparisons give booleans: .astype(images.dtype).",
        "xp.rint(images * steps) / steps; (images > 0.5).astype(images.dtype); "
        "(xp.asarray(rng.random(images.shape, dtype=np.float32)) < images).astype(images.dtype)",
    ),
    "PixelCNN.updates": (
        "What is made small is the mean of a quantity that you have a method for, with a minus.",
        "yield self, loss. self.log_prob(batch) has one number for each image; the batch is prepared already.",
        "yield self, -ops.mean(self.log_prob(batch))",
    ),
    "bits_per_dim": (
        "A fair coin is one bit, and ln 2 nats.",
        "Divide the nats of the image by the number of dimensions, and by ln 2.",
        "nats / (dimensions * np.log(2))",
    ),
    "context": (
        "Which pixels could change this logit? Those with respect to which it has a slope.",
        "x = Tensor(images, requires_grad=True); the sum of the logits [:, :, colour, row, column] over images "
        "and levels; "
        "its gradient with respect to x; then: any image with a gradient that is not 0.",
        "slope = grad(ops.sum(model.logits(x)[:, :, colour, row, column]), x); return (to_host(slope) != "
        "0).any(axis=0)",
    ),
}
