"""Typical wrong versions of e12's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="argmax_sampling",
        hole="draw",
        old="(u < ops.sigmoid(logits[:, 0]))",
        new="(logits[:, 0] > 0)",
        says="the likelier value is taken",
    ),
    Mistake(
        name="probability_instead_of_a_pixel",
        hole="draw",
        old="(u < ops.sigmoid(logits[:, 0])).astype(logits.dtype)",
        new="ops.sigmoid(logits[:, 0])",
        says="probabilities are given back",
    ),
    Mistake(
        name="zero_and_one_exchanged",
        hole="draw",
        old="(u < ops.sigmoid",
        new="(u > ops.sigmoid",
        says="0 and 1 are exchanged",
    ),
    Mistake(
        name="temperature_multiplied",
        hole="draw",
        old="logits / temperature",
        new="logits * temperature",
        says="multiplied by the temperature",
    ),
    Mistake(
        name="last_level_passed",
        hole="draw",
        old="[:, :-1] <= u[:, None]  # (n, K - 1)",
        new=" <= u[:, None] + 1e-12",
        says="the last level must stay the last",
    ),
    Mistake(
        name="level_number_instead_of_value",
        hole="draw",
        old=".astype(logits.dtype) / (logits.shape[1] - 1)",
        new=".astype(logits.dtype)",
        says="these are level numbers",
    ),
    Mistake(
        name="transposed_scan",
        hole="ancestral",
        old="for i in range(first_row, x.shape[2]):\n        for j in range(x.shape[3]):",
        new="for j in range(x.shape[3]):\n        for i in range(first_row, x.shape[2]):",
        says="the scan is transposed",
    ),
    Mistake(
        name="probabilities_fed_back",
        hole="ancestral",
        old="draw(logits[:, :, c], u[:, c, i, j], temperature)",
        new="ops.sigmoid(logits[:, 0, c] / temperature)",
        says="probabilities are fed back",
    ),
    Mistake(
        name="given_rows_drawn_anew",
        hole="ancestral",
        old="range(first_row, x.shape[2])",
        new="range(x.shape[2])",
        says="rows that were given were drawn anew",
    ),
    Mistake(
        name="temperature_not_passed_on",
        hole="ancestral",
        old="u[:, c, i, j], temperature)",
        new="u[:, c, i, j])",
        says="the temperature is ignored",
    ),
    Mistake(
        name="all_colours_at_once",
        hole="ancestral",
        old=None,
        new="""
        u = xp.asarray(rng.random(x.shape))
        for i in range(first_row, x.shape[2]):
            for j in range(x.shape[3]):
                logits = predict(x, i, j)
                for c in range(x.shape[1]):
                    x[:, c, i, j] = draw(logits[:, :, c], u[:, c, i, j], temperature)
        return x
        """,
        says="G must know which R was drawn",
    ),
    Mistake(
        name="another_array_filled",
        hole="ancestral",
        old="u = xp.asarray(rng.random(x.shape))",
        new="x = x.copy()\n    u = xp.asarray(rng.random(x.shape))",
        says="ancestral must fill x itself",
    ),
    Mistake(
        name="noise_pixel_by_pixel",
        hole="ancestral",
        old="u[:, c, i, j], temperature)",
        new="xp.asarray(rng.random(x.shape[0])), temperature)",
        says="rng.random(x.shape)",
    ),
    Mistake(
        name="all_pixels_at_once",
        hole="ancestral",
        old=None,
        new="""
        u = xp.asarray(rng.random(x.shape))
        places = list(np.ndindex(x.shape[2] - first_row, x.shape[3], x.shape[1]))
        logits = [predict(x, i + first_row, j) for i, j, c in places]
        for (i, j, c), now in zip(places, logits):
            x[:, c, i + first_row, j] = draw(now[:, :, c], u[:, c, i + first_row, j], temperature)
        return x
        """,
        says="the images differ",
    ),
    Mistake(
        name="row_and_column_exchanged",
        hole="Naive.__call__",
        old="[:, :, :, i, j]",
        new="[:, :, :, j, i]",
        says="row and column are exchanged",
    ),
    Mistake(
        name="graph_kept",
        hole="Naive.__call__",
        old="with no_grad():\n            return self.model.logits(x).data[:, :, :, i, j]",
        new="return self.model.logits(x)[:, :, :, i, j]",
        says="the logits hang on the graph",
    ),
    Mistake(
        name="one_row_too_few",
        hole="RowLimited.__call__",
        old="i - self.model.reach)",
        new="i - self.model.reach + 1)",
        says="1 row(s) too few",
    ),
    Mistake(
        name="row_itself_cut_off",
        hole="RowLimited.__call__",
        old=": i + 1]",
        new=": max(i, 1)]",
        says="row i belongs to it",
    ),
    Mistake(
        name="rows_below_too",
        hole="RowLimited.__call__",
        old=None,
        new="""
        with no_grad():
            top = max(0, i - self.model.reach)
            return self.model.logits(x[:, :, top:]).data[:, :, :, i - top, j]
        """,
        says="are enough",
    ),
    Mistake(
        name="first_row_of_the_cut",
        hole="RowLimited.__call__",
        old="[:, :, :, -1, j]",
        new="[:, :, :, 0, j]",
        says="expected its last, row i",
    ),
    Mistake(
        name="padding_column_missed",
        hole="Rows.columns",
        old="e : e + self.width",
        new="self.side : self.side + self.width",
        says="nothing is shifted",
    ),
    Mistake(
        name="shifted_the_wrong_way",
        hole="Rows.columns",
        old="self.kept[a, :, e : e + self.width]",
        new="self.kept[a, :, 2 * self.side - e : 2 * self.side - e + self.width]",
        says="shifted the wrong way",
    ),
    Mistake(
        name="rows_upside_down",
        hole="Rows.columns",
        old="self.kept[a, ",
        new="self.kept[-1 - a, ",
        says="upside down",
    ),
    Mistake(
        name="channel_by_channel",
        hole="Rows.columns",
        old="return xp.concatenate(seen, axis=2)",
        new="return xp.stack(seen, axis=3).reshape(seen[0].shape[0], self.width, -1)",
        says="expected tap by tap",
    ),
    Mistake(
        name="rows_do_not_move",
        hole="CachedConv.start_row",
        old="self.rows.next()\n        ",
        new="",
        says="rows.next() comes first",
    ),
    Mistake(
        name="stale_above",
        hole="CachedConv.start_row",
        old="self.above[...] = self.bias",
        new="self.above += self.bias",
        says="write it anew",
    ),
    Mistake(
        name="bias_lost",
        hole="CachedConv.start_row",
        old="self.above[...] = self.bias",
        new="self.above[...] = 0",
        says="the bias is missing",
    ),
    Mistake(
        name="input_not_kept",
        hole="CachedConv.__call__",
        old="self.rows.present[:, j] = x\n        ",
        new="",
        says="is x kept in the present row",
    ),
    Mistake(
        name="above_forgotten",
        hole="CachedConv.__call__",
        old="        y += self.above[:, j]\n",
        new="",
        says="`above` is missing",
    ),
    Mistake(
        name="above_accumulates",
        hole="CachedConv.__call__",
        old="y = self.left[j].dot(self.left_weight)\n        y += self.above[:, j]\n        return y",
        new="y = self.above[:, j]\n        y += self.left[j].dot(self.left_weight)\n        return y",
        says="the call changed `above`",
    ),
    Mistake(
        name="drawn_pixel_not_taken",
        hole="CachedPlain.__call__",
        old="        if j:\n            self.first.rows.present[:, j - 1] = x[:, :, i, j - 1]\n",
        new="",
        says="a stale cache",
    ),
    Mistake(
        name="block_without_its_sum",
        hole="CachedPlain.__call__",
        old="h += wide",
        new="h = wide",
        says="already the first pixel",
    ),
    Mistake(
        name="row_never_begun",
        hole="CachedPlain.__call__",
        old="if i != self.row:",
        new="if self.row < 0:",
        says="was the row begun in every layer",
    ),
    Mistake(
        name="relu_of_the_sum",
        hole="CachedPlain.__call__",
        old="inner = narrow(self.relu_2h(h))",
        new="h = self.relu_2h(h)\n            inner = narrow(h)",
        says="already the first pixel",
    ),
    Mistake(
        name="rows_of_the_first_block_too_early",
        hole="CachedGatedBlock.start_row",
        old=None,
        new="""
        self.rows.next()
        if v is not None:
            self.rows.present[...] = v
        above = self.vertical.along(self.rows.columns(self.taps))
        self.horizontal.start_row()
        self.horizontal.above += self.down.along(above)
        return gate(above)
        """,
        says="row i - 1",
    ),
    Mistake(
        name="vertical_stack_says_nothing",
        hole="CachedGatedBlock.start_row",
        old="        self.horizontal.above += self.down.along(above)\n",
        new="",
        says="`down` of the vertical convolution is missing",
    ),
    Mistake(
        name="horizontal_row_not_begun",
        hole="CachedGatedBlock.start_row",
        old="        self.horizontal.start_row()\n",
        new="",
        says="horizontal.start_row() was not called",
    ),
    Mistake(
        name="gated_residual_forgotten",
        hole="CachedGatedBlock.__call__",
        old="h + out if self.residual else out",
        new="out",
        says="the residual connection is missing",
    ),
    Mistake(
        name="state_above_forgotten",
        hole="CachedRowLSTM.start_row",
        old="self.h.columns(self.taps) @ self.state_weight",
        new="0",
        says="the states of the row above contribute nothing",
    ),
    Mistake(
        name="state_of_the_row_above_kept_for_ever",
        hole="CachedRowLSTM.__call__",
        old="self.h.present[:, j], self.c[:, j] = h, c",
        new="self.c[:, j] = c",
        says="the new h is not kept",
    ),
    Mistake(
        name="cell_not_carried",
        hole="CachedRowLSTM.__call__",
        old="self.h.present[:, j], self.c[:, j] = h, c",
        new="self.h.present[:, j] = h",
        says="the new c is not kept",
    ),
    Mistake(
        name="cell_instead_of_state",
        hole="CachedRowLSTM.__call__",
        old="return h",
        new="return c",
        says="the new cell came out",
    ),
    Mistake(
        name="right_direction_from_the_left",
        hole="CachedDiagonalLSTM.start_row",
        old="for j in reversed(range(len(self.x))):",
        new="for j in range(len(self.x)):",
        says="this direction comes from the right",
    ),
    Mistake(
        name="inputs_pile_up",
        hole="CachedDiagonalLSTM.start_row",
        old="        self.x = []\n",
        new="",
        says="a new row begins with none",
    ),
    Mistake(
        name="nothing_from_the_right",
        hole="CachedDiagonalLSTM.__call__",
        old="self.left(x, j) + self.from_right[:, j]",
        new="self.left(x, j)",
        says="only the direction from the left",
    ),
    Mistake(
        name="side_forgotten",
        hole="OneDirection.__call__",
        old=" + self.h.dot(self.W_side)",
        new="",
        says="h of the pixel at the side times W_side",
    ),
    Mistake(
        name="state_not_kept",
        hole="OneDirection.__call__",
        old="        self.states[:, j] = self.h\n",
        new="",
        says="the new h is not kept in states",
    ),
    Mistake(
        name="given_rows_not_fed",
        hole="complete",
        old="    predict.feed(x, rows)\n",
        new="",
        says="were not fed to the predictor",
    ),
    Mistake(
        name="conditioned_on_hidden_pixels",
        hole="complete",
        old="x[:, :, :rows] = given[:, :, :rows]",
        new="x[...] = given\n    x[:, :, rows:] = x[:, :, rows:] * 0.5",
        says="they must never be looked at",
    ),
    Mistake(
        name="completion_without_temperature",
        hole="complete",
        old="first_row=rows, temperature=temperature)",
        new="first_row=rows)",
        says="the temperature is ignored",
    ),
    Mistake(
        name="images_overwritten",
        hole="complete",
        old="    x = xp.zeros(given.shape, model.parameters()[0].dtype)\n    x[:, :, :rows] = given[:, :, :rows]",
        new="    x = given",
        says="work on a copy",
    ),
]

HINTS = {
    "draw": (
        "A number u, uniform in [0, 1), decides: how often must it decide for 1?",
        "Binary: u < sigmoid(logit / temperature) happens with exactly that probability. More levels: cumulative "
        "probabilities; the level is how many of them u has passed (leave the last one out: it is 1, or a "
        "little less).",
        "logits = logits / temperature; K = 1: (u < ops.sigmoid(logits[:, 0])).astype(logits.dtype); else passed = "
        "xp.cumsum(ops.softmax(logits, axis=1), axis=1)[:, :-1] <= u[:, None]; passed.sum(axis=1) / (K - 1)",
    ),
    "ancestral": (
        "Three loops. Which one is outermost, and what must be in x before the next prediction?",
        "u = xp.asarray(rng.random(x.shape)) once, before the loops. For each row, column and colour: "
        "predict(x, i, j), "
        "draw from its [:, :, c] with u[:, c, i, j], write the result into x.",
        "for i in range(first_row, H): for j in range(W): for c in range(C): logits = predict(x, i, j); x[:, "
        "c, i, j] = "
        "draw(logits[:, :, c], u[:, c, i, j], temperature). Then return x.",
    ),
    "Naive.__call__": (
        "The model gives logits everywhere. You want one place of them, and no graph.",
        "with no_grad(): logits of x; .data is the array; (n, K, C, H, W) at row i and column j.",
        "with no_grad(): return self.model.logits(x).data[:, :, :, i, j]",
    ),
    "RowLimited.__call__": (
        "Which is the highest row that the logits of row i can see? And which the lowest?",
        "Cut the rows max(0, i - reach) to i out of x. In what is left, row i is the last one.",
        "rows = x[:, :, max(0, i - self.model.reach) : i + 1]; the model's logits of rows, [:, :, :, -1, j]",
    ),
    "Rows.columns": (
        "The rows in `kept` are padded with kw // 2 zeros at both sides. Where does column 0 of the image "
        "stand there?",
        "The tap (a, e) sees kept[a], and for column j its place j + e. So all columns together are a slice of "
        "width W.",
        "xp.concatenate([self.kept[a, :, e : e + self.width] for a, e in taps], axis=2)",
    ),
    "CachedConv.start_row": (
        "What of this row's output can be computed before any of its pixels is known?",
        "First the rows move up. Then `above` is written anew: the bias everywhere, plus, if the kernel has "
        "upper rows, the "
        "columns of the upper taps times upper_weight.",
        "self.rows.next(); self.above[...] = self.bias; if self.upper: self.above += "
        "self.rows.columns(self.upper) @ "
        "self.upper_weight",
    ),
    "CachedConv.__call__": (
        "Two parts: what the row above gave (it waits in `above`), and what the present row gives.",
        "self.rows.present[:, j] = x comes first, for left[j] is a view of that row. Then one product and one "
        "sum. Do not "
        "write into `above`.",
        "self.rows.present[:, j] = x; return self.left[j] @ self.left_weight + self.above[:, j]",
    ),
    "CachedPlain.__call__": (
        "When logits of pixel j are asked for, pixel j - 1 has been drawn since. Who needs to know?",
        "If i is a new row, self.start_row(x, i). If j > 0, put x[:, :, i, j - 1] into "
        "self.first.rows.present[:, j - 1]. Then "
        "h = self.first(x[:, :, i, j], j), through each block as in ResidualBlock, and self.logits(h).",
        "for narrow, masked, wide in zip(self.narrow, self.masked, self.wide): inner = "
        "self.relu_h(narrow(self.relu_2h(h))); "
        "h = h + wide(self.relu_h(masked(inner, j)))",
    ),
    "CachedGatedBlock.start_row": (
        "In the blocks, v is row i of what the block before gave: the rows move up first. In the first block, "
        "v is the image's "
        "row i - 1: it goes in, and then the rows move up. Why?",
        "Then the vertical convolution along the row: self.vertical.along(self.rows.columns(self.taps)). The "
        "horizontal layer "
        "begins a row, and its `above` gets self.down.along(...) on top.",
        "above = self.vertical.along(self.rows.columns(self.taps)); self.horizontal.start_row(); "
        "self.horizontal.above += "
        "self.down.along(above); return gate(above)",
    ),
    "CachedGatedBlock.__call__": (
        "What the vertical stack says is in horizontal.above already.",
        "One pixel of the horizontal convolution, its gate, the 1x1 convolution `mix`; and h itself if the "
        "block is residual.",
        "out = self.mix(gate(self.horizontal(h, j))); return h + out if self.residual else out",
    ),
    "CachedRowLSTM.start_row": (
        "The gates have three sources: the input, the states of the row above, the bias. Which are known now?",
        "self.input.start_row() writes the bias into input.above. self.h holds the states of the row above: "
        "its columns "
        "times state_weight.",
        "self.input.start_row(); self.input.above += self.h.columns(self.taps) @ self.state_weight",
    ),
    "CachedRowLSTM.__call__": (
        "This pixel's gates come from `input`; the cell of the pixel above is self.c[:, j].",
        "cell(gates, c) gives the new h and the new c. Both replace what was kept at column j: nobody in this "
        "row reads the "
        "old ones any more.",
        "h, c = cell(self.input(x, j), self.c[:, j]); self.h.present[:, j] = h; self.c[:, j] = c; return h",
    ),
    "CachedDiagonalLSTM.start_row": (
        "The direction from the right needs a whole row. Which one is whole when row i begins?",
        "If there are inputs of a row before: self.right begins a row and takes them from the last column to "
        "the first; what it "
        "gives goes to from_right. Then forget the inputs, and self.left begins its row.",
        "if self.x: self.right.start_row(); for j in reversed(range(len(self.x))): self.from_right[:, j] = "
        "self.right(self.x[j], j). Then self.x = []; self.left.start_row()",
    ),
    "CachedDiagonalLSTM.__call__": (
        "Two directions are added; one of them has done its work already.",
        "Keep x in self.x for the row's end; the left direction steps now; from_right[:, j] waits.",
        "self.x.append(x); return self.left(x, j) + self.from_right[:, j]",
    ),
    "OneDirection.__call__": (
        "A state comes from the pixel's input, the pixel above and the pixel at the side.",
        "self.input(x) has the bias; self.above[:, j] is what the pixel above contributes; "
        "self.h.dot(self.W_side) the pixel at "
        "the side. Then cell with self.c, and keep h (as self.h and in states) and c.",
        "gates = self.input(x) + self.above[:, j] + self.h.dot(self.W_side); self.h, self.c = cell(gates, self.c); "
        "self.states[:, j] = self.h; return self.h",
    ),
    "complete": (
        "A predictor with caches has never seen the given rows. And x must not contain what is hidden.",
        "Zeros, the given rows copied into them; cached(model, n).feed(x, rows); ancestral with first_row=rows.",
        "x = xp.zeros(given.shape, dtype); x[:, :, :rows] = given[:, :, :rows]; predict = cached(model, "
        "x.shape[0]); "
        "predict.feed(x, rows); ancestral(predict, x, rng, first_row=rows, temperature=temperature)",
    ),
}
