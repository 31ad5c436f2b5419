"""Typical wrong versions of e10's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="mask_b_shown_as_a",
        hole="mask",
        old='columns <= centre if kind == "B" else columns < centre',
        new="columns < centre",
        says="mask B hides the middle",
    ),
    Mistake(
        name="mask_a_shows_itself",
        hole="mask",
        old='columns <= centre if kind == "B" else columns < centre',
        new="columns <= centre",
        says="mask A shows the middle",
    ),
    Mistake(
        name="mask_reversed",
        hole="mask",
        old="(rows < middle) | ((rows == middle) & left)",
        new="((rows < middle) | ((rows == middle) & left))[::-1, ::-1]",
        says="upside down",
    ),
    Mistake(
        name="mask_quarter",
        hole="mask",
        old="(rows < middle) | ((rows == middle) & left)",
        new="(rows <= middle) & (columns <= centre) & ((rows < middle) | left)",
        says="rows above the middle are visible as a whole",
    ),
    Mistake(
        name="gate_order_of_e06",
        hole="cell",
        old=None,
        new="""
            n = c.shape[1]
            i, f, o = (ops.sigmoid(a[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
            c = f * c + i * ops.tanh(a[:, 2 * n : 3 * n])
            return o * ops.tanh(c), c
        """,
        says="i, f, g, o of lesson e06",
    ),
    Mistake(
        name="content_through_a_sigmoid",
        hole="cell",
        old="ops.tanh(a[:, 3 * n :])",
        new="ops.sigmoid(a[:, 3 * n :])",
        says="the content g goes through a sigmoid",
    ),
    Mistake(
        name="h_of_the_bare_cell",
        hole="cell",
        old="o * ops.tanh(c)",
        new="o * c",
        says="the cell goes through a tanh",
    ),
    Mistake(
        name="c_before_h",
        hole="cell",
        old="return o * ops.tanh(c), c",
        new="return c, o * ops.tanh(c)",
        says="cell gives (h, c), in this order",
    ),
    Mistake(
        name="state_to_state_masked",
        hole="row_step",
        old="padding=(0, W_h.shape[3] // 2))",
        new='padding=(0, W_h.shape[3] // 2), taps=mask((1, W_h.shape[3]), "B"))',
        says="the row above is masked",
    ),
    Mistake(
        name="row_not_padded",
        hole="row_step",
        old="h, W_h, padding=(0, W_h.shape[3] // 2)",
        new="ops.pad(h, width=((0, 0), (0, 0), (0, 0), (W_h.shape[3] - 1, 0))), W_h",
        says="* a convolution along the row",
    ),
    Mistake(
        name="convolves_the_cell",
        hole="row_step",
        old="ops.conv2d(h, W_h",
        new="ops.conv2d(c, W_h",
        says="it is h that it convolves",
    ),
    Mistake(
        name="mask_lost",
        hole="RowLSTM.__call__",
        old=', taps=mask((1, k), "B"))',
        new=")",
        says="the input's convolution has no mask",
    ),
    Mistake(
        name="mask_a_in_every_layer",
        hole="RowLSTM.__call__",
        old='"B"',
        new='"A"',
        says="the FIRST layer of the network does that",
    ),
    Mistake(
        name="initial_state_not_learned",
        hole="RowLSTM.__call__",
        old="initial(self.h0, N, 1, W), initial(self.c0, N, 1, W)",
        new="xp.zeros((N, len(self.h0.data), 1, W), x.dtype), xp.zeros((N, len(self.c0.data), 1, W), x.dtype)",
        says="it is learned, h0 and c0",
    ),
    Mistake(
        name="every_row_begins_anew",
        hole="RowLSTM.__call__",
        old="h, c = row_step(a_x[:, :, r : r + 1], h, c, self.W_h)",
        new="h, _ = row_step(a_x[:, :, r : r + 1], initial(self.h0, N, 1, W), c, self.W_h)",
        says="the state must go on from row to row",
    ),
    Mistake(
        name="state_carried_between_images",
        hole="RowLSTM.__call__",
        old=None,
        new="""
            k, (N, _, H, W) = self.W_x.shape[3], x.shape
            a_x = ops.conv2d(x, self.W_x, self.b, padding=(0, k // 2), taps=mask((1, k), "B"))
            h, c = vars(self).get("state") or (initial(self.h0, N, 1, W), initial(self.c0, N, 1, W))
            if h.shape[0] != N:
                h, c = initial(self.h0, N, 1, W), initial(self.c0, N, 1, W)
            rows = []
            for r in range(H):
                h, c = row_step(a_x[:, :, r : r + 1], h, c, self.W_h)
                rows.append(h)
            vars(self)["state"] = h, c
            return ops.concatenate(*rows, axis=2)
        """,
        says="the state of the last call lives on",
    ),
    Mistake(
        name="read_from_the_bottom",
        hole="RowLSTM.__call__",
        old="for r in range(H):",
        new="for r in reversed(range(H)):",
        says="the layer's output is wrong",
    ),
    Mistake(
        name="skewed_the_wrong_way",
        hole="skew",
        old="(i, height - 1 - i)",
        new="(height - 1 - i, i)",
        says="row 0 is moved most",
    ),
    Mistake(
        name="skewed_too_wide",
        hole="skew",
        old="(i, height - 1 - i)",
        new="(i, height - i)",
        says="one column too wide",
    ),
    Mistake(
        name="skew_moves_nothing",
        hole="skew",
        old="(i, height - 1 - i)",
        new="(0, height - 1)",
        says="the rows have not moved",
    ),
    Mistake(
        name="unskewed_the_wrong_way",
        hole="unskew",
        old="i : i + width]",
        new="height - 1 - i : height - 1 - i + width]",
        says="row 0 is moved most",
    ),
    Mistake(
        name="unskew_cuts_only",
        hole="unskew",
        old="i : i + width]",
        new=":width]",
        says="the first W columns are kept",
    ),
    Mistake(
        name="sees_the_pixel_below",
        hole="diagonal_step",
        old="(1, 0)",
        new="(0, 1)",
        says="the zeros go on top of h",
    ),
    Mistake(
        name="taps_swapped",
        hole="diagonal_step",
        old="ops.conv2d(above, W_h)",
        new="ops.conv2d(above, ops.flip(W_h, axis=2))",
        says="the taps are swapped",
    ),
    Mistake(
        name="wraps_around",
        hole="diagonal_step",
        old="ops.pad(h, width=((0, 0), (0, 0), (1, 0), (0, 0)))",
        new="ops.concatenate(h[:, :, -1:], h, axis=2)",
        says="row 0 sees the last row",
    ),
    Mistake(
        name="the_cell_moves_down",
        hole="diagonal_step",
        old="return cell(a_x + ops.conv2d(above, W_h), c)",
        new="return cell(a_x + ops.conv2d(above, W_h), ops.pad(c[:, :, :-1], width=((0, 0), (0, 0), (1, 0), (0, 0))))",
        says="the cell c moves down with h",
    ),
    Mistake(
        name="rows_not_held",
        hole="one_direction",
        old="h, c = ops.where(begun, new_h, h), ops.where(begun, new_c, c)",
        new="h, c = new_h, new_c",
        says="hold its state until step i",
    ),
    Mistake(
        name="held_a_step_too_long",
        hole="one_direction",
        old="(xp.arange(H) <= t)",
        new="(xp.arange(H) < t)",
        says="the output for maps",
    ),
    Mistake(
        name="cell_begins_at_zero",
        hole="one_direction",
        old="initial(c0, N, H, 1)",
        new="initial(c0 * 0.0, N, H, 1)",
        says="c begins at zero",
    ),
    Mistake(
        name="not_unskewed",
        hole="one_direction",
        old="unskew(ops.concatenate(*columns, axis=3))",
        new="ops.concatenate(*columns, axis=3)[:, :, :, :W]",
        says="is wrong: pixel (i, j)",
    ),
    Mistake(
        name="shifted_up",
        hole="shift_down",
        old="ops.pad(y[:, :, :-1], width=((0, 0), (0, 0), (1, 0), (0, 0)))",
        new="ops.pad(y[:, :, 1:], width=((0, 0), (0, 0), (0, 1), (0, 0)))",
        says="moved UP",
    ),
    Mistake(
        name="shift_wraps",
        hole="shift_down",
        old="ops.pad(y[:, :, :-1], width=((0, 0), (0, 0), (1, 0), (0, 0)))",
        new="ops.concatenate(y[:, :, -1:], y[:, :, :-1], axis=2)",
        says="has come back as the first",
    ),
    Mistake(
        name="shift_forgotten",
        hole="DiagonalBiLSTM.__call__",
        old="shift_down(mirrored)",
        new="mirrored",
        says="is not shifted down",
    ),
    Mistake(
        name="not_mirrored_back",
        hole="DiagonalBiLSTM.__call__",
        old="ops.flip(one_direction(ops.flip(x, axis=3), *right), axis=3)",
        new="one_direction(ops.flip(x, axis=3), *right)",
        says="not mirrored back",
    ),
    Mistake(
        name="parameters_shared",
        hole="DiagonalBiLSTM.__call__",
        old="for d in (0, 1)",
        new="for d in (0, 0)",
        says="both directions use the same parameters",
    ),
    Mistake(
        name="turned_by_half",
        hole="DiagonalBiLSTM.__call__",
        old="ops.flip(one_direction(ops.flip(x, axis=3), *right), axis=3)",
        new="ops.flip(one_direction(ops.flip(x, axis=(2, 3)), *right), axis=(2, 3))",
        says="the layer's output for maps",
    ),
    Mistake(
        name="no_way_around",
        hole="RecurrentBlock.__call__",
        old="y + self.up",
        new="self.up",
        says="the way around is missing",
    ),
    Mistake(
        name="relu_in_the_block",
        hole="RecurrentBlock.__call__",
        old="return y + self.up(self.lstm(y))",
        new="return ops.relu(y + self.up(self.lstm(y)))",
        says="a ReLU is on the way",
    ),
    Mistake(
        name="head_without_relu",
        hole="PixelRNN.logits",
        old="layer(ops.relu(y))",
        new="layer(y)",
        says="the ReLUs before the head's layers are missing",
    ),
    Mistake(
        name="around_the_first_layer",
        hole="PixelRNN.logits",
        old="y = self.first(as_maps(x))",
        new="y = self.first(as_maps(x)) + as_maps(x)",
        says="goes around the first convolution",
    ),
    Mistake(
        name="one_block_for_all",
        hole="PixelRNN.logits",
        old="y = block(y)",
        new="y = self.blocks[0](y)",
        says="the first block is used in the place of every other",
    ),
    Mistake(
        name="nats_per_pixel",
        hole="PixelRNN.log_prob",
        old="-ops.sum(nats.reshape(x.shape[0], -1), axis=1)",
        new="-ops.mean(nats.reshape(x.shape[0], -1), axis=1)",
        says="the SUM over the pixels",
    ),
    Mistake(
        name="levels_mixed_with_places",
        hole="PixelRNN.log_prob",
        old="ops.moveaxis(logits, source=1, destination=-1).reshape(-1, self.config.levels)",
        new="logits.reshape(-1, self.config.levels)",
        says="levels and places are mixed up",
    ),
    Mistake(
        name="level_rounded_down",
        hole="PixelRNN.log_prob",
        old='xp.rint(raw(x) * (self.config.levels - 1)).astype("int64")',
        new='(raw(x) * (self.config.levels - 1)).astype("int64")',
        says="rounded down",
    ),
    Mistake(
        name="likelihood_made_small",
        hole="PixelRNN.updates",
        old="-ops.mean(",
        new="ops.mean(",
        says="would make the data unlikely",
    ),
    Mistake(
        name="probabilities_fed_back",
        hole="PixelRNN.draw",
        old="u[:, 0, i, j] < ops.sigmoid(now[:, 0])",
        new="ops.sigmoid(now[:, 0])",
        says="probabilities are fed back",
    ),
    Mistake(
        name="rounded",
        hole="PixelRNN.draw",
        old="u[:, 0, i, j] < ops.sigmoid(now[:, 0])",
        new="ops.sigmoid(now[:, 0]) > 0.5",
        says="the same image for ever",
    ),
    Mistake(
        name="column_by_column",
        hole="PixelRNN.draw",
        old="""            for i in range(first_row, x.shape[2]):
                for j in range(x.shape[3]):
                    now = raw(self.logits(x[:, :, : i + 1]))[:, :, 0, i, j]  # (N, K)""",
        new="""            for j in range(x.shape[3]):
                for i in range(first_row, x.shape[2]):
                    now = raw(self.logits(x[:, :, : i + 1]))[:, :, 0, i, j]  # (N, K)""",
        says="raster order is row by row",
    ),
    Mistake(
        name="given_rows_drawn_over",
        hole="PixelRNN.draw",
        old="range(first_row, x.shape[2])",
        new="range(x.shape[2])",
        says="they are given, and stay",
    ),
    Mistake(
        name="the_graph_recorded",
        hole="PixelRNN.draw",
        old="with no_grad():",
        new="if True:",
        says="records a graph",
    ),
]

HINTS = {
    "mask": (
        "Write down the numbers of the places in raster order. Which come before the middle?",
        "np.indices((kh, kw)) gives the row and the column of each place: compare them with kh // 2 and kw // 2.",
        "(rows < kh // 2) | ((rows == kh // 2) & (columns < kw // 2)), with <= in the last comparison for mask B.",
    ),
    "cell": (
        "The order of the gates is not that of lesson e06: the three sigmoids come first, o, f, i, and then g.",
        "n = c.shape[1]; gate k is a[:, k * n : (k + 1) * n]. First the new c, then h from the NEW c.",
        "c = f * c + i * tanh(a_g); return o * tanh(c), c.",
    ),
    "row_step": (
        "Two things make the gates: what the input says, which is there already, and what the row above says.",
        "ops.conv2d(h, W_h, padding=(0, k // 2)) is as wide as h. No mask: the row above came before as a whole.",
        "return cell(a_x + ops.conv2d(h, W_h, padding=(0, W_h.shape[3] // 2)), c).",
    ),
    "RowLSTM.__call__": (
        "What does not depend on a state can be computed for all rows before the loop begins.",
        "a_x = ops.conv2d(x, self.W_x, self.b, padding=(0, k // 2), taps=mask((1, k), 'B')); the state begins with "
        "initial(self.h0, N, 1, W) and the same of c0.",
        "In the loop h, c = row_step(a_x[:, :, r : r + 1], h, c, self.W_h), and h is kept; at the end "
        "ops.concatenate(*rows, axis=2).",
    ),
    "skew": (
        "Draw a map of 3 x 3 on squared paper, and move row 1 by one square, row 2 by two. How wide is it now?",
        "Row i has i zeros before it and H - 1 - i behind it: ops.pad of x[:, :, i : i + 1] does it.",
        "rows = [ops.pad(x[:, :, i : i + 1], width=((0, 0), (0, 0), (0, 0), (i, H - 1 - i))) for i in range(H)]; "
        "ops.concatenate(*rows, axis=2).",
    ),
    "unskew": (
        "Where does row i of the skewed map begin, and how long is it?",
        "The width is W = x.shape[3] - H + 1; of row i the columns i to i + W - 1 are wanted.",
        "ops.concatenate(*[x[:, :, i : i + 1, i : i + W] for i in range(H)], axis=2).",
    ),
    "diagonal_step": (
        "In the skewed map the pixel above (i, j) stands one row higher and one column before. Its column is h.",
        "A kernel of two rows makes a column of H + 1 rows one of H: give h one more row. On which side?",
        "above = ops.pad(h, width=((0, 0), (0, 0), (1, 0), (0, 0))); cell(a_x + ops.conv2d(above, W_h), c).",
    ),
    "one_direction": (
        "It is the loop of RowLSTM, over the columns of the skewed map. But not every row takes part from the start.",
        "begun = (xp.arange(H) <= t)[:, None]; ops.where(begun, new, old) lets the rows below the diagonal wait.",
        "a_x = skew(ops.conv2d(x, W_x, b)); for t: new_h, new_c = diagonal_step(a_x[:, :, :, t : t + 1], h, c, W_h), "
        "then where; at the end unskew(ops.concatenate(*columns, axis=3)).",
    ),
    "shift_down": (
        "The first row has nothing above it. What stands there afterwards?",
        "Cut off the last row, put a row of zeros on top: ops.pad or ops.concatenate.",
        "ops.pad(y[:, :, :-1], width=((0, 0), (0, 0), (1, 0), (0, 0))).",
    ),
    "DiagonalBiLSTM.__call__": (
        "To read from the right is to read the mirrored map from the left. And then to mirror it back.",
        "p[0] and p[1] of each of h0, c0, W_x, W_h, b are the parameters of the two directions. Which of the two "
        "outputs knows of pixels that come later?",
        "right = ops.flip(one_direction(ops.flip(x, axis=3), *parameters_of_1), axis=3); "
        "one_direction(x, *parameters_of_0) + shift_down(right).",
    ),
    "RecurrentBlock.__call__": (
        "Two layers, one after the other, and a way around both.",
        "self.lstm makes h maps of 2h, self.up makes 2h of them again, so the sum fits.",
        "y + self.up(self.lstm(y)).",
    ),
    "PixelRNN.logits": (
        "Three stages: self.first, self.blocks, self.head. Where are the ReLUs?",
        "as_maps(x) takes both shapes of images; a ReLU goes BEFORE each of the two layers of the head.",
        "y = self.first(as_maps(x)); y = block(y) for each block; y = layer(ops.relu(y)) for each layer of the head; "
        "ops.expand_dims(y, axis=2).",
    ),
    "PixelRNN.log_prob": (
        "For every pixel there is a cross-entropy in nats: binary, or of a softmax. Then they are added up.",
        "ops.bce_with_logits(logits, x) wants equal shapes; ops.cross_entropy(rows, labels=k) wants (M, K) and (M,). "
        "Where must the axis K be before the reshape?",
        "rows = ops.moveaxis(logits, source=1, destination=-1).reshape(-1, levels), labels "
        "xp.rint(x * (levels - 1)).astype('int64').reshape(-1); then minus the sum over each image.",
    ),
    "PixelRNN.updates": (
        "What is to be made small so that the training images become likely?",
        "It is a generator: yield one pair, the module to be stepped and its loss.",
        "yield self, -ops.mean(self.log_prob(batch)).",
    ),
    "PixelRNN.draw": (
        "Pixel by pixel in raster order: ask the network, toss a coin, write the result into x, go on.",
        "All u come from one rng.random(x.shape). The rows that are there so far are x[:, :, : i + 1]; of the logits "
        "only those at (i, j) are used.",
        "Binary: x[:, 0, i, j] = u[:, 0, i, j] < sigmoid(logit). More levels: count how many of the cumulative "
        "probabilities (but the last) are <= u; divide by levels - 1.",
    ),
}
