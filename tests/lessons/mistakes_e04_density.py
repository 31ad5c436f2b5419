"""Typical wrong versions of e04's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="farthest_centre",
        hole="nearest_centre",
        old=".argmin(axis=1)",
        new=".argmax(axis=1)",
        says="FARTHEST",
    ),
    Mistake(
        name="distance_instead_of_centre",
        hole="nearest_centre",
        old=".argmin(axis=1)",
        new=".min(axis=1)",
        says="argmin, not min",
    ),
    Mistake(
        name="nearest_row_of_each_centre",
        hole="nearest_centre",
        old=".argmin(axis=1)",
        new=".argmin(axis=0)",
        says="one centre for each row",
    ),
    Mistake(
        name="dot_product_as_nearness",
        hole="nearest_centre",
        old="squared_distances(x, centres).argmin(axis=1)",
        new="(x @ centres.T).argmax(axis=1)",
        says="||c||^2 is missing",
    ),
    Mistake(
        name="empty_cluster_is_nan",
        hole="centre_means",
        old=None,
        new="""
        with np.errstate(all="ignore"):
            mine = members[None, :] == np.arange(len(centres))[:, None]
            return mine @ x / mine.sum(axis=1, keepdims=True)
        """,
        says="without members became NaN",
    ),
    Mistake(
        name="empty_cluster_at_zero",
        hole="centre_means",
        old="count > 0, mine @ x / np.maximum(count, 1), centres",
        new="count > 0, mine @ x / np.maximum(count, 1), 0",
        says="without members moved to 0",
    ),
    Mistake(
        name="sum_of_members",
        hole="centre_means",
        old="mine @ x / np.maximum(count, 1)",
        new="mine @ x",
        says="the SUM of its members",
    ),
    Mistake(
        name="centres_changed_in_place",
        hole="centre_means",
        old=None,
        new="""
        for k in range(len(centres)):
            if (members == k).any():
                centres[k] = x[members == k].mean(axis=0)
        return centres
        """,
        says="changed in place",
    ),
    Mistake(
        name="median_of_members",
        hole="centre_means",
        old=None,
        new="""
        moved = centres.copy()
        for k in range(len(centres)):
            if (members == k).any():
                moved[k] = np.median(x[members == k], axis=0)
        return moved
        """,
        says="the median of its members",
    ),
    Mistake(
        name="not_centred",
        hole="principal_axes",
        old="centred = x - mean",
        new="centred = x",
        says="without centring",
    ),
    Mistake(
        name="smallest_variance_first",
        hole="principal_axes",
        old="columns[:, ::-1][:, :k].T, variances[::-1][:k]",
        new="columns[:, :k].T, variances[:k]",
        says="small eigenvalues FIRST",
    ),
    Mistake(
        name="rows_of_eigh",
        hole="principal_axes",
        old="columns[:, ::-1][:, :k].T",
        new="columns[::-1][:k]",
        says="not the eigenvectors of the covariance",
    ),
    Mistake(
        name="axes_in_columns",
        hole="principal_axes",
        old="columns[:, ::-1][:, :k].T",
        new="columns[:, ::-1][:, :k]",
        says="they stand in columns",
    ),
    Mistake(
        name="variances_of_np_cov",
        hole="principal_axes",
        old="centred.T @ centred / len(x)",
        new="np.cov(x.T)",
        says="divided by N - 1",
    ),
    Mistake(
        name="standard_deviations",
        hole="principal_axes",
        old="variances[::-1][:k]",
        new="np.sqrt(np.maximum(variances[::-1][:k], 0))",
        says="square roots",
    ),
    Mistake(
        name="codes_of_uncentred_rows",
        hole="squeeze",
        old="(x - mean) @ axes.T",
        new="x @ axes.T",
        says="not centred",
    ),
    Mistake(
        name="mean_stays_away",
        hole="squeeze",
        old="mean + codes @ axes",
        new="codes @ axes",
        says="not added back",
    ),
    Mistake(
        name="mean_of_the_batch",
        hole="squeeze",
        old="(x - mean) @ axes.T",
        new="(x - x.mean(axis=0)) @ axes.T",
        says="that of the TRAINING rows",
    ),
    Mistake(
        name="shares_for_heights",
        hole="Histogram.fit",
        old="shares / self.widths",
        new="shares",
        says="divide by the widths",
    ),
    Mistake(
        name="extra_not_in_the_sum",
        hole="Histogram.fit",
        old="(counts.sum() + self.extra * len(counts))",
        new="counts.sum()",
        says="but not to their sum",
    ),
    Mistake(
        name="extra_forgotten",
        hole="Histogram.fit",
        old="shares / self.widths",
        new="counts / counts.sum() / self.widths",
        says="extra was added to no count",
    ),
    Mistake(
        name="mean_width",
        hole="Histogram.fit",
        old="shares / self.widths",
        new="shares / self.widths.mean()",
        says="these bins differ in width",
    ),
    Mistake(
        name="fit_returns_nothing",
        hole="Histogram.fit",
        old="return self",
        new="return None",
        says="return self",
    ),
    Mistake(
        name="probability_of_the_bin",
        hole="Histogram.log_prob",
        old="self.heights[np.where(inside, b, 0)]",
        new="(self.heights * self.widths)[np.where(inside, b, 0)]",
        says="the log of the bin's SHARE",
    ),
    Mistake(
        name="bin_off_by_one",
        hole="Histogram.log_prob",
        old=None,
        new="""
        x = rows(x)[:, 0]
        b = np.searchsorted(self.edges, x, side="right")
        return np.log(self.heights[np.minimum(b, len(self.heights) - 1)])
        """,
        says="one of the next bin",
    ),
    Mistake(
        name="edge_in_the_left_bin",
        hole="Histogram.log_prob",
        old='side="right"',
        new='side="left"',
        says="belongs to",
    ),
    Mistake(
        name="last_edge_outside",
        hole="Histogram.log_prob",
        old="(x <= self.edges[-1])",
        new="(x < self.edges[-1])",
        says="the last edge belongs to the last bin",
    ),
    Mistake(
        name="clipped_into_the_edges",
        hole="Histogram.log_prob",
        old=None,
        new="""
        x = rows(x)[:, 0]
        b = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.heights) - 1)
        with np.errstate(divide="ignore"):
            return np.log(self.heights[b])
        """,
        says="the histogram says it never happens",
    ),
    Mistake(
        name="log_zero_warns",
        hole="Histogram.log_prob",
        old='divide="ignore"',
        new='divide="warn"',
        says="log 0 is meant here",
    ),
    Mistake(
        name="tiny_number_against_log_zero",
        hole="Histogram.log_prob",
        old="inside, b, 0)], 0.0))",
        new="inside, b, 0)], 0.0) + 1e-12)",
        says="expected -inf",
    ),
    Mistake(
        name="bins_drawn_by_height",
        hole="Histogram.sample",
        old="self.heights * self.widths",
        new="self.heights.copy()",
        says="drawn by their HEIGHT",
    ),
    Mistake(
        name="left_edges_only",
        hole="Histogram.sample",
        old="self.edges[b] + self.widths[b] * rng.random(n)",
        new="self.edges[b]",
        says="samples repeat",
    ),
    Mistake(
        name="one_place_for_all",
        hole="Histogram.sample",
        old="self.widths[b] * rng.random(n)",
        new="self.widths[b] * rng.random()",
        says="samples repeat",
    ),
    Mistake(
        name="sum_without_width",
        hole="probability",
        old=".sum() * width",
        new=".sum()",
        says="not multiplied by the width of a cell",
    ),
    Mistake(
        name="density_read_as_probability",
        hole="probability",
        old="float(np.exp(density.log_prob(middles)).sum() * width)",
        new="float(np.exp(density.log_prob(middles)).mean())",
        says="the MEAN of p over the interval",
    ),
    Mistake(
        name="left_ends",
        hole="probability",
        old="(np.arange(cells) + 0.5)",
        new="np.arange(cells)",
        says="at the left edge",
    ),
    Mistake(
        name="log_integrated",
        hole="probability",
        old="np.exp(density.log_prob(middles))",
        new="density.log_prob(middles)",
        says="it must be 1",
    ),
    Mistake(
        name="n_minus_one",
        hole="Gaussian.fit",
        old="centred.T @ centred / len(x)",
        new="centred.T @ centred / (len(x) - 1)",
        says="maximum likelihood divides by N",
    ),
    Mistake(
        name="second_moment_not_covariance",
        hole="Gaussian.fit",
        old="centred = x - self.mean",
        new="centred = x",
        says="E[x x^T]",
    ),
    Mistake(
        name="ridge_everywhere",
        hole="Gaussian.fit",
        old="self.ridge * np.eye(x.shape[1])",
        new="self.ridge",
        says="ridge was added to ALL entries",
    ),
    Mistake(
        name="diagonal_only",
        hole="Gaussian.fit",
        old="centred.T @ centred / len(x)",
        new="np.diag(np.square(centred).mean(axis=0))",
        says="only the diagonal",
    ),
    Mistake(
        name="determinant_underflows",
        hole="Gaussian.log_prob",
        old="np.log(np.diag(L)).sum()",
        new="0.5 * np.log(np.linalg.det(self.cov))",
        says="det cov underflows",
    ),
    Mistake(
        name="normaliser_forgotten",
        hole="Gaussian.log_prob",
        old=" - np.log(np.diag(L)).sum()",
        new=" + 0.5 * len(L) * LOG_2PI",
        says="normaliser is missing",
    ),
    Mistake(
        name="one_log_2pi",
        hole="Gaussian.log_prob",
        old="len(L) * LOG_2PI",
        new="LOG_2PI",
        says="expected D times",
    ),
    Mistake(
        name="half_of_the_half",
        hole="Gaussian.log_prob",
        old="np.log(np.diag(L)).sum()",
        new="0.5 * np.log(np.diag(L)).sum()",
        says="halved once more",
    ),
    Mistake(
        name="cov_for_its_inverse",
        hole="Gaussian.log_prob",
        old="np.square(u).sum(axis=0)",
        new="(d @ self.cov * d).sum(axis=1)",
        says="formed with cov",
    ),
    Mistake(
        name="L_not_transposed",
        hole="Gaussian.sample",
        old="@ L.T",
        new="@ L",
        says="the wrong way round",
    ),
    Mistake(
        name="noise_times_cov",
        hole="Gaussian.sample",
        old="@ L.T",
        new="@ self.cov",
        says="instead of its root L",
    ),
    Mistake(
        name="mean_forgotten",
        hole="Gaussian.sample",
        old="self.mean + rng",
        new="rng",
        says="add the mean",
    ),
    Mistake(
        name="uniform_noise",
        hole="Gaussian.sample",
        old="rng.standard_normal((n, len(L)))",
        new="rng.uniform(-(3**0.5), 3**0.5, (n, len(L)))",
        says="are not normal",
    ),
    Mistake(
        name="columns_independent",
        hole="Gaussian.sample",
        old="rng.standard_normal((n, len(L))) @ L.T",
        new="rng.standard_normal((n, len(L))) * np.sqrt(np.diag(self.cov))",
        says="the columns vary together",
    ),
    Mistake(
        name="no_extra_counts",
        hole="Bernoulli.fit",
        old="(x.sum(axis=0) + self.extra) / (len(x) + 2 * self.extra)",
        new="x.sum(axis=0) / len(x)",
        says="would be impossible",
    ),
    Mistake(
        name="extra_once_below",
        hole="Bernoulli.fit",
        old="2 * self.extra",
        new="self.extra",
        says="N + 2 extra",
    ),
    Mistake(
        name="grey_cut_at_a_half",
        hole="Bernoulli.fit",
        old="x = rows(x)",
        new="x = (rows(x) > 0.5).astype(float)",
        says="cut at a half",
    ),
    Mistake(
        name="chance_of_an_image",
        hole="Bernoulli.fit",
        old="(x.sum(axis=0) + self.extra) / (len(x) + 2 * self.extra)",
        new="(x.sum(axis=1) + self.extra) / (x.shape[1] + 2 * self.extra)",
        says="one chance for each pixel",
    ),
    Mistake(
        name="zeros_forgotten",
        hole="Bernoulli.log_prob",
        old=" + (1 - x) @ np.log1p(-self.p)",
        new="",
        says="the pixels that are 0 are forgotten",
    ),
    Mistake(
        name="mean_over_pixels",
        hole="Bernoulli.log_prob",
        old="x @ np.log(self.p) + (1 - x) @ np.log1p(-self.p)",
        new="(x @ np.log(self.p) + (1 - x) @ np.log1p(-self.p)) / x.shape[1]",
        says="the MEAN over the pixels",
    ),
    Mistake(
        name="log_of_a_product",
        hole="Bernoulli.log_prob",
        old="x @ np.log(self.p) + (1 - x) @ np.log1p(-self.p)",
        new="np.log((self.p**x * (1 - self.p) ** (1 - x)).prod(axis=1))",
        says="their product underflows",
    ),
    Mistake(
        name="missing_normaliser",
        hole="KernelDensity.log_prob",
        old="math.log(len(self.x)) + x.shape[1] / 2 * (LOG_2PI + 2 * math.log(self.width))",
        new="math.log(len(self.x))",
        says="the normaliser of the kernels is missing",
    ),
    Mistake(
        name="normaliser_of_one_dimension",
        hole="KernelDensity.log_prob",
        old="x.shape[1] / 2 *",
        new="1 / 2 *",
        says="that of one dimension",
    ),
    Mistake(
        name="sum_of_kernels",
        hole="KernelDensity.log_prob",
        old="math.log(len(self.x)) + ",
        new="",
        says="log M is missing",
    ),
    Mistake(
        name="mean_of_logs",
        hole="KernelDensity.log_prob",
        old="np.logaddexp.reduce(one, axis=1) for one in terms]) - constant",
        new="one.mean(axis=1) for one in terms]) - constant + math.log(len(self.x))",
        says="the mean of the kernels' logarithms",
    ),
    Mistake(
        name="kernels_underflow",
        hole="KernelDensity.log_prob",
        old="np.logaddexp.reduce(one, axis=1) for one",
        new="np.log(np.exp(one).sum(axis=1)) for one",
        says="every kernel underflows",
    ),
    Mistake(
        name="width_as_variance",
        hole="KernelDensity.log_prob",
        old="(-2 * self.width**2)",
        new="(-2 * self.width)",
        says="the variance is width^2",
    ),
    Mistake(
        name="copies_of_the_data",
        hole="KernelDensity.sample",
        old="chosen + self.width * rng.standard_normal(chosen.shape)",
        new="chosen",
        says="the samples are the data again",
    ),
    Mistake(
        name="noise_times_variance",
        hole="KernelDensity.sample",
        old="self.width * rng",
        new="self.width**2 * rng",
        says="width is the standard deviation",
    ),
    Mistake(
        name="noise_shared_by_columns",
        hole="KernelDensity.sample",
        old="rng.standard_normal(chosen.shape)",
        new="rng.standard_normal((n, 1))",
        says="share their noise",
    ),
    Mistake(
        name="first_points_only",
        hole="KernelDensity.sample",
        old="rng.integers(len(self.x), size=n)",
        new="rng.integers(len(self.x) // 2 + 1, size=n)",
        says="each should be drawn",
    ),
    Mistake(
        name="width_by_the_training_data",
        hole="choose_width",
        old="log_prob(validation)",
        new="log_prob(train)",
        says="what the TRAINING data want",
    ),
    Mistake(
        name="lowest_likelihood",
        hole="choose_width",
        old="max(widths",
        new="min(widths",
        says="LOWEST",
    ),
    Mistake(
        name="mean_of_p",
        hole="choose_width",
        old="KernelDensity(train, width).log_prob(validation).mean()",
        new="np.exp(KernelDensity(train, width).log_prob(validation)).mean()",
        says="average of p instead of log p",
    ),
    Mistake(
        name="wrong_direction",
        hole="kl",
        old="np.exp(log_p[there])",
        new="-np.exp(log_q[there])",
        says="KL(q || p)",
    ),
    Mistake(
        name="cell_forgotten",
        hole="kl",
        old=".sum() * cell)",
        new=".sum())",
        says="cell is forgotten",
    ),
    Mistake(
        name="zero_times_infinity",
        hole="kl",
        old="there = log_p > -np.inf",
        new="there = slice(None)",
        says="0 times -inf",
    ),
    Mistake(
        name="impossible_events_left_out",
        hole="kl",
        old="there = log_p > -np.inf",
        new="there = (log_p > -np.inf) & (log_q > -np.inf)",
        says="expected infinity",
    ),
    Mistake(
        name="cross_entropy",
        hole="kl",
        old="(log_p[there] - log_q[there])",
        new="-log_q[there]",
        says="cross-entropy",
    ),
    Mistake(
        name="shares_forgotten",
        hole="posterior",
        old=" + np.log(shares)",
        new="",
        says="shares of the classes are forgotten",
    ),
    Mistake(
        name="not_normalised",
        hole="posterior",
        old="joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)",
        new="joint",
        says="do not sum to 1",
    ),
    Mistake(
        name="normalised_over_images",
        hole="posterior",
        old="np.logaddexp.reduce(joint, axis=1, keepdims=True)",
        new="np.logaddexp.reduce(joint, axis=0, keepdims=True)",
        says="the columns sum to 1",
    ),
    Mistake(
        name="exp_too_early",
        hole="posterior",
        old="return np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))",
        new="return np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True)",
        says="BEFORE exp",
    ),
    Mistake(
        name="centres_numbered_from_one",
        hole="nearest_centre",
        old=".argmin(axis=1)",
        new=".argmin(axis=1) + 1",
        says="numbered from 1",
    ),
    Mistake(
        name="centres_of_those_present",
        hole="centre_means",
        old=None,
        new="""
        return np.stack([x[members == k].mean(axis=0) for k in np.unique(members)])
        """,
        says="as many as before",
    ),
    Mistake(
        name="singular_values",
        hole="principal_axes",
        old=None,
        new="""
        mean = x.mean(axis=0)
        _, s, axes = np.linalg.svd(x - mean, full_matrices=False)
        return mean, axes[:k], s[:k]
        """,
        says="singular values",
    ),
    Mistake(
        name="correlations",
        hole="principal_axes",
        old="centred.T @ centred / len(x)",
        new="(centred / x.std(axis=0)).T @ (centred / x.std(axis=0)) / len(x)",
        says="scaled to variance 1",
    ),
    Mistake(
        name="axes_as_long_as_their_spread",
        hole="principal_axes",
        old="columns[:, ::-1][:, :k].T",
        new="(columns[:, ::-1][:, :k] * np.sqrt(np.maximum(variances[::-1][:k], 0))).T",
        says="keep the length",
    ),
    Mistake(
        name="diagonal_of_cov",
        hole="Gaussian.log_prob",
        old=None,
        new="""
        d = rows(x) - self.mean
        var = np.diag(self.cov)
        return -0.5 * (np.square(d) / var + np.log(var) + LOG_2PI).sum(axis=1)
        """,
        says="only the diagonal of cov is used",
    ),
    Mistake(
        name="log_of_the_mixture",
        hole="Bernoulli.log_prob",
        old=None,
        new="""
        x = rows(x)
        return np.log(x * self.p + (1 - x) * (1 - self.p)).sum(axis=1)
        """,
        says="log of a mean",
    ),
    Mistake(
        name="data_and_x_exchanged",
        hole="KernelDensity.log_prob",
        old=None,
        new="""
        terms = squared_distances(self.x, rows(x)) / (-2 * self.width**2)
        return np.logaddexp.reduce(terms, axis=1) - math.log(len(x))
        """,
        says="one number for each row of x",
    ),
    Mistake(
        name="first_block_only",
        hole="KernelDensity.log_prob",
        old="range(0, len(x), block)",
        new="range(0, min(block, len(x)), block)",
        says="3000 points",
    ),
    Mistake(
        name="tiny_number_in_the_log",
        hole="kl",
        old=None,
        new="""
        p, q = np.exp(log_p), np.exp(log_q)
        return float((p * np.log((p + 1e-12) / (q + 1e-12))).sum() * cell)
        """,
        says="expected infinity",
    ),
    Mistake(
        name="largest_of_all_images",
        hole="posterior",
        old=None,
        new="""
        joint = np.stack([one.log_prob(x) for one in densities], axis=1) + np.log(shares)
        joint = np.exp(joint - joint.max())
        return joint / joint.sum(axis=1, keepdims=True)
        """,
        says="BEFORE exp",
    ),
]

HINTS = {
    "nearest_centre": (
        "squared_distances gives one row for each row of x, one column for each centre.",
        "You want the PLACE of the smallest entry in each row: argmin along axis 1.",
        "return squared_distances(x, centres).argmin(axis=1)",
    ),
    "centre_means": (
        "Do it for one centre first: which rows belong to it? What if none do?",
        "Begin with a copy of centres. For each k, rows = x[members == k]; if there are any, their mean over axis 0.",
        "moved = centres.copy(); for k in range(len(centres)): if (members == k).any(): moved[k] = "
        "x[members == k].mean(axis=0); return moved",
    ),
    "principal_axes": (
        "Three steps: centre, covariance (D, D), eigh. In which order do its results come?",
        "variances, columns = np.linalg.eigh(cov): smallest first, the i-th eigenvector is columns[:, i]. You want the "
        "last k, turned round, as rows.",
        "centred = x - x.mean(axis=0); variances, columns = np.linalg.eigh(centred.T @ centred / len(x)); return "
        "x.mean(axis=0), columns[:, ::-1][:, :k].T, variances[::-1][:k]",
    ),
    "squeeze": (
        "Two matrix products, and the mean twice: away before the first, back after the second.",
        "codes = (x - mean) @ axes.T is (N, k). axes are orthonormal, so the way back is by axes itself.",
        "codes = (x - mean) @ axes.T; return codes, mean + codes @ axes",
    ),
    "Histogram.fit": (
        "From counts to shares (they sum to 1), from shares to heights (height times width sums to 1).",
        "np.histogram(rows(x)[:, 0], self.edges)[0] counts. Add self.extra to each; the sum grows by B times extra.",
        "shares = (counts + self.extra) / (counts.sum() + self.extra * len(counts)); self.heights = shares / "
        "self.widths; return self",
    ),
    "Histogram.log_prob": (
        "First find each number's bin, then take care of three cases: below, above, and exactly the last edge.",
        "np.searchsorted(self.edges, x, side='right') - 1 is the bin; it is -1 below all edges and B at or above the "
        "last. Use np.where to put -inf where there is no bin.",
        "b = np.searchsorted(...) - 1; b = np.where(x == self.edges[-1], B - 1, b); inside = (x >= edges[0]) & (x <= "
        "edges[-1]); with np.errstate(divide='ignore'): np.log(np.where(inside, heights[np.where(inside, b, 0)], 0))",
    ),
    "Histogram.sample": (
        "Two draws for each sample: which bin, and where in it.",
        "The chance of a bin is its area, height times width: rng.choice(B, n, p=...). Then a uniform number in it.",
        "b = rng.choice(len(p), n, p=p / p.sum()) with p = self.heights * self.widths; "
        "(self.edges[b] + self.widths[b] * rng.random(n))[:, None]",
    ),
    "probability": (
        "Area = sum of height times width. Which heights? Those in the middle of the cells.",
        "width = (high - low) / cells; the middles are low + width * (0.5, 1.5, 2.5, ...).",
        "middles = low + width * (np.arange(cells) + 0.5); float(np.exp(density.log_prob(middles)).sum() * width)",
    ),
    "Gaussian.fit": (
        "Maximum likelihood has a closed form: the mean of the data, and the average of (x - mean)(x - mean)^T.",
        "With centred rows C the average of the outer products is C.T @ C / N. ridge * np.eye(D) is ridge on the "
        "diagonal.",
        "x = rows(x); self.mean = x.mean(axis=0); c = x - self.mean; self.cov = c.T @ c / len(x) + self.ridge * "
        "np.eye(x.shape[1]); return self",
    ),
    "Gaussian.log_prob": (
        "Three terms: squares, log determinant, D log 2 pi. Everything is halved.",
        "L = np.linalg.cholesky(self.cov); u = np.linalg.solve(L, d.T) is (D, N). The squares are the sums of u^2 over "
        "axis 0, half the log determinant is the sum of log L_ii.",
        "-0.5 * (np.square(u).sum(axis=0) + D * LOG_2PI) - np.log(np.diag(L)).sum()",
    ),
    "Gaussian.sample": (
        "If e has covariance I, L e has covariance L L^T. In rows: e @ L.T.",
        "Draw e = rng.standard_normal((n, D)); L = np.linalg.cholesky(self.cov); do not forget the mean.",
        "return self.mean + rng.standard_normal((n, len(L))) @ L.T",
    ),
    "Bernoulli.fit": (
        "Count the ones of each pixel over the images. Then pretend to have seen `extra` more ones, and `extra` zeros.",
        "x = rows(x) is (N, D), so the sum over axis 0 counts ones; N + 2 extra is the number of all counts.",
        "self.p = (x.sum(axis=0) + self.extra) / (len(x) + 2 * self.extra); return self",
    ),
    "Bernoulli.log_prob": (
        "A pixel that is 1 costs log p, one that is 0 costs log(1 - p). Both kinds count.",
        "sum_j x_j log p_j is a matrix-vector product: rows(x) @ np.log(self.p).",
        "x @ np.log(self.p) + (1 - x) @ np.log1p(-self.p)",
    ),
    "KernelDensity.log_prob": (
        "The log of a mean of Gaussians. The normaliser is the same for all kernels, so it can wait to the end.",
        "For a block of rows: a = squared_distances(block, self.x) / (-2 * self.width**2), (block, M). "
        "np.logaddexp.reduce(a, axis=1) is log sum exp. Subtract log M and D/2 (LOG_2PI + 2 log width).",
        "np.concatenate([np.logaddexp.reduce(squared_distances(x[s : s + block], self.x) / (-2 * self.width**2), "
        "axis=1) for s in range(0, len(x), block)]) - constant",
    ),
    "KernelDensity.sample": (
        "The density is a mixture: first choose a kernel, then draw from it.",
        "rng.integers(len(self.x), size=n) chooses data points. The noise has the shape (n, D).",
        "chosen = self.x[rng.integers(len(self.x), size=n)]; return chosen + self.width * "
        "rng.standard_normal(chosen.shape)",
    ),
    "choose_width": (
        "Two data sets, two jobs: kernels around the one, log_prob of the other.",
        "For each width: KernelDensity(train, width).log_prob(validation).mean(). Which width gives the largest?",
        "return max(widths, key=lambda width: KernelDensity(train, width).log_prob(validation).mean())",
    ),
    "kl": (
        "An average over p of log p - log q. p itself is np.exp(log_p). What about cells where p is 0?",
        "Keep the cells with log_p > -np.inf only; sum p * (log_p - log_q) over them, times cell.",
        "there = log_p > -np.inf; float((np.exp(log_p[there]) * (log_p[there] - log_q[there])).sum() * cell)",
    ),
    "posterior": (
        "Bayes in logarithms: a product becomes a sum, a division becomes a difference.",
        "joint = np.stack([d.log_prob(x) for d in densities], axis=1) + np.log(shares) is (N, K). Its logaddexp over "
        "axis 1 is log p(x).",
        "np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))",
    ),
}
