"""Typical wrong versions of e14's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="mean_of_logs",
        hole="log_mean_exp",
        old=None,
        new="return ops.mean(a, axis=0)",
        says="mean of the logs",
    ),
    Mistake(
        name="sum_for_mean",
        hole="log_mean_exp",
        old=" - math.log(a.shape[0])",
        new="",
        says="log of the SUM",
    ),
    Mistake(
        name="overflow",
        hole="log_mean_exp",
        old=None,
        new="return ops.log(ops.mean(ops.exp(a), axis=0))",
        says="underflows",
    ),
    Mistake(
        name="largest_of_all_images",
        hole="log_mean_exp",
        old=None,
        new="""
        top = float(a.max().item())
        return ops.log(ops.mean(ops.exp(a - top), axis=0)) + top
        """,
        says="the largest of each COLUMN",
    ),
    Mistake(
        name="mean_over_the_images",
        hole="log_mean_exp",
        old=None,
        new="return ops.logsumexp(a, axis=1) - math.log(a.shape[1])",
        says="a mean over axis 0",
    ),
    Mistake(
        name="off_the_graph",
        hole="log_mean_exp",
        old=None,
        new="return Tensor(np.logaddexp.reduce(a.numpy(), axis=0) - math.log(a.shape[0]))",
        says="cut off from the graph",
    ),
    Mistake(
        name="constant_forgotten",
        hole="AtVAE.log_q",
        old="(self.log_var + LOG_2PI)",
        new="self.log_var",
        says="log 2 pi is missing",
    ),
    Mistake(
        name="log_var_as_log_sigma",
        hole="AtVAE.log_q",
        old="ops.exp(-self.log_var)",
        new="ops.exp(-2 * self.log_var)",
        says="not the log-density",
    ),
    Mistake(
        name="log_sigma_everywhere",
        hole="AtVAE.log_q",
        old=None,
        new="""
        log_var = 2 * self.log_var
        scaled = ops.square(z - self.mu) * ops.exp(-log_var)
        return ops.sum(scaled + (log_var + LOG_2PI), axis=2) * -0.5
        """,
        says="log of the VARIANCE",
    ),
    Mistake(
        name="prior_for_posterior",
        hole="AtVAE.log_q",
        old=None,
        new="return ops.sum(ops.square(z) + LOG_2PI, axis=2) * -0.5",
        says="the prior's log p(z)",
    ),
    Mistake(
        name="mean_over_the_code",
        hole="AtVAE.log_q",
        old="ops.sum(",
        new="ops.mean(",
        says="averaged over the numbers of a code",
    ),
    Mistake(
        name="prior_forgotten",
        hole="AtVAE.log_joint",
        old=" - ops.sum(ops.square(z) + LOG_2PI, axis=2) * 0.5",
        new="",
        says="log p(z) is missing",
    ),
    Mistake(
        name="each_image_repeated_in_a_row",
        hole="AtVAE.log_joint",
        old="ops.reshape(ops.broadcast_to(self.x, shape=(k, *self.x.shape)), shape=raw.shape)",
        new="xp.repeat(self.x, k, axis=0)",
        says="codes and images are not matched",
    ),
    Mistake(
        name="prior_without_constant",
        hole="AtVAE.log_joint",
        old="ops.sum(ops.square(z) + LOG_2PI, axis=2)",
        new="ops.sum(ops.square(z), axis=2)",
        says="the prior's constant log 2 pi is missing",
    ),
    Mistake(
        name="always_bernoulli",
        hole="AtVAE.log_joint",
        old="self.model.log_likelihood(raw, copies)",
        new="ops.sum(ops.bce_with_logits(raw, copies), axis=1) * -1.0",
        says="model.log_likelihood knows",
    ),
    Mistake(
        name="probabilities",
        hole="AtVAE.log_joint",
        old="self.model.decoder(",
        new="self.model.decode(",
        says="`decode` gives probabilities",
    ),
    Mistake(
        name="log_q_forgotten",
        hole="iwae_bound",
        old=" - at.log_q(z)",
        new="",
        says="log q(z|x) is forgotten",
    ),
    Mistake(
        name="elbo_again",
        hole="iwae_bound",
        old="log_mean_exp(at.log_joint(z) - at.log_q(z))",
        new="ops.mean(at.log_joint(z) - at.log_q(z), axis=0)",
        says="mean of the log-weights, the ELBO",
    ),
    Mistake(
        name="two_different_draws",
        hole="iwae_bound",
        old=None,
        new="return log_mean_exp(at.log_joint(at.sample(k, rng)) - at.log_q(at.sample(k, rng)))",
        says="draw once",
    ),
    Mistake(
        name="one_draw_only",
        hole="iwae_bound",
        old="at.sample(k, rng)",
        new="at.sample(1, rng)",
        says="expected k = 7",
    ),
    Mistake(
        name="averaged_apart",
        hole="iwae_bound",
        old="log_mean_exp(at.log_joint(z) - at.log_q(z))",
        new="log_mean_exp(at.log_joint(z)) - log_mean_exp(at.log_q(z))",
        says="averaged apart",
    ),
    Mistake(
        name="trained_on_the_elbo",
        hole="IWAE.updates",
        old="self.k, rng",
        new="1, rng",
        says="that is the ELBO",
    ),
    Mistake(
        name="bound_made_small",
        hole="IWAE.updates",
        old="-ops.mean(",
        new="ops.mean(",
        says="which training would make SMALL",
    ),
    Mistake(
        name="summed_over_images",
        hole="IWAE.updates",
        old="-ops.mean(",
        new="-ops.sum(",
        says="summed over the images",
    ),
    Mistake(
        name="mean_of_k_elbos",
        hole="IWAE.updates",
        old="iwae_bound(AtVAE(self, batch), self.k, rng)",
        new="ops.stack(*(iwae_bound(AtVAE(self, batch), 1, rng) for _ in range(self.k)))",
        says="and not a mean of logs",
    ),
    Mistake(
        name="the_same_noise_at_every_step",
        hole="IWAE.updates",
        old="self.k, rng",
        new="self.k, np.random.default_rng(0)",
        says="two generators give the same loss",
    ),
    Mistake(
        name="blocks_averaged",
        hole="evidence",
        old=None,
        new="""
        with no_grad():
            sizes = [min(block, k - start) for start in range(0, k, block)]
            parts = [iwae_bound(at, b, rng).numpy().astype(np.float64) for b in sizes]
        return np.mean(parts, axis=0)
        """,
        says="the blocks' bounds are averaged",
    ),
    Mistake(
        name="small_floats",
        hole="evidence",
        old=".astype(np.float64)",
        new="",
        says="kept in float64",
    ),
    Mistake(
        name="last_block_like_a_whole_one",
        hole="evidence",
        old=None,
        new="""
        with no_grad():
            sizes = [min(block, k - start) for start in range(0, k, block)]
            parts = [iwae_bound(at, b, rng).numpy().astype(np.float64) for b in sizes]
        return np.logaddexp.reduce(parts, axis=0) - math.log(len(parts))
        """,
        says="counts like a whole one",
    ),
    Mistake(
        name="all_draws_at_once",
        hole="evidence",
        old="range(0, k, block)",
        new="range(0, k, block := k)",
        says="would not fit in memory",
    ),
    Mistake(
        name="last_block_left_out",
        hole="evidence",
        old="range(0, k, block)",
        new="range(0, k - block + 1, block)",
        says="the last block is left out",
    ),
    Mistake(
        name="last_block_too_large",
        hole="evidence",
        old="min(block, k - start)",
        new="block",
        says="25 draws were made, expected 23",
    ),
    Mistake(
        name="the_same_draws_in_each_block",
        hole="evidence",
        old="iwae_bound(at, b, rng)",
        new="iwae_bound(at, b, np.random.default_rng(0))",
        says="two blocks hold the same draws",
    ),
    Mistake(
        name="graph_kept",
        hole="evidence",
        old="with no_grad():",
        new="if True:",
        says="with no_grad()",
    ),
    Mistake(
        name="total_from_zero",
        hole="evidence",
        old="-np.inf",
        new="0.0",
        says="begin at -inf",
    ),
    Mistake(
        name="binarized_anew_for_each_model",
        hole="compare",
        old=None,
        new="""
        rows = []
        for name, model in models.items():
            x = (xp.asarray(rng.random(images.shape, np.float32)) < xp.asarray(images)).astype("float32")
            exact, found = hasattr(model, "log_prob"), []
            for start in range(0, len(x), batch):
                part = x[start : start + batch]
                with no_grad():
                    found.append(model.log_prob(part).numpy() if exact else evidence(AtVAE(model, part), k, rng))
            nats = -np.concatenate(found)
            rows.append(Score(name, "=" if exact else "<=", nats.mean(), nats.std() / math.sqrt(len(nats))))
        return rows
        """,
        says="binarize ONCE",
    ),
    Mistake(
        name="one_coin_for_an_image",
        hole="compare",
        old="rng.random(images.shape, np.float32)",
        new="rng.random((len(images), *[1] * (images.ndim - 1)), np.float32)",
        says="each needs a toss of its own",
    ),
    Mistake(
        name="bound_called_exact",
        hole="compare",
        old='"=" if exact else "<="',
        new='"="',
        says="its figure is a bound",
    ),
    Mistake(
        name="threshold_for_chance",
        hole="compare",
        old="(chance < xp.asarray(images))",
        new="(0.5 < xp.asarray(images))",
        says="cut at a half",
    ),
    Mistake(
        name="grey_images",
        hole="compare",
        old='(chance < xp.asarray(images)).astype("float32")',
        new="xp.asarray(images)",
        says="grey images",
    ),
    Mistake(
        name="elbo_in_the_table",
        hole="compare",
        old="evidence(AtVAE(model, part), k, rng)",
        new="model.elbo(part, rng).numpy()",
        says="expected k = 3 draws for each",
    ),
    Mistake(
        name="spread_for_error",
        hole="compare",
        old="nats.std() / math.sqrt(len(nats))",
        new="nats.std()",
        says="smaller by sqrt(N)",
    ),
    Mistake(
        name="size_for_variance",
        hole="active_units",
        old="mu.var(axis=0)",
        new="(mu**2).mean(axis=0)",
        says="it is the VARIANCE",
    ),
    Mistake(
        name="deviation_for_variance",
        hole="active_units",
        old="mu.var(axis=0)",
        new="mu.std(axis=0)",
        says="the standard deviation is held against",
    ),
    Mistake(
        name="one_answer_for_each_image",
        hole="active_units",
        old="axis=0",
        new="axis=1",
        says="one answer for each number of the code",
    ),
    Mistake(
        name="test_rows_standardised_by_themselves",
        hole="probe_error",
        old="predict((test_features - mean) / spread)",
        new="predict((test_features - test_features.mean(axis=0)) / test_features.std(axis=0))",
        says="THEIR mean and deviation",
    ),
    Mistake(
        name="statistics_of_all_rows",
        hole="probe_error",
        old="features.mean(axis=0), features.std(axis=0)",
        new="(f(np.concatenate([features, test_features]), axis=0) for f in (np.mean, np.std))",
        says="depends on the other test rows",
    ),
    Mistake(
        name="not_standardised",
        hole="probe_error",
        old=None,
        new="""
        predict = softmax_regression(features, labels)
        return float(np.mean(predict(test_features) != test_labels))
        """,
        says="standardise them",
    ),
    Mistake(
        name="accuracy_for_error",
        hole="probe_error",
        old="!= test_labels",
        new="== test_labels",
        says="the share of RIGHT answers",
    ),
    Mistake(
        name="error_on_the_training_rows",
        hole="probe_error",
        old="predict((test_features - mean) / spread) != test_labels",
        new="predict((features - mean) / spread) != labels",
        says="are the test labels looked at?",
    ),
    Mistake(
        name="nothing_over_nothing",
        hole="probe_error",
        old="np.where(spread > 0, spread, np.inf)",
        new="spread",
        says="leave that feature at 0",
    ),
    Mistake(
        name="window_without_normaliser",
        hole="parzen_log_prob",
        old=" + x.shape[1] / 2 * math.log(2 * math.pi * sigma**2)",
        new="",
        says="the widest window wins",
    ),
    Mistake(
        name="normaliser_of_one_pixel",
        hole="parzen_log_prob",
        old="x.shape[1] / 2",
        new="1 / 2",
        says="that of one pixel",
    ),
    Mistake(
        name="mean_of_log_kernels",
        hole="parzen_log_prob",
        old="np.logaddexp.reduce(squares / (-2 * sigma**2), axis=1)",
        new="(squares / (-2 * sigma**2)).mean(axis=1) + math.log(len(samples))",
        says="mean of the kernels' logs",
    ),
    Mistake(
        name="window_underflows",
        hole="parzen_log_prob",
        old="np.logaddexp.reduce(squares / (-2 * sigma**2), axis=1)",
        new="np.log(np.exp(squares / (-2 * sigma**2)).sum(axis=1))",
        says="exp underflowed",
    ),
    Mistake(
        name="all_pairs_at_once",
        hole="parzen_log_prob",
        old="range(0, len(x), block)",
        new="range(0, len(x), block := len(x))",
        says="all pairs exist together",
    ),
    Mistake(
        name="squares_in_float32",
        hole="parzen_log_prob",
        old="samples.astype(np.float64), x.astype(np.float64)",
        new="samples.astype(np.float32), x.astype(np.float32)",
        says="the small distance between large squares",
    ),
    Mistake(
        name="samples_not_counted",
        hole="parzen_log_prob",
        old="math.log(len(samples)) + ",
        new="",
        says="log M is missing",
    ),
    Mistake(
        name="sigma_tuned_on_test",
        hole="parzen_score",
        old="parzen_log_prob(samples, validation, s)",
        new="parzen_log_prob(samples, test, s)",
        says="tuned on what it is measured on",
    ),
    Mistake(
        name="score_of_the_validation_images",
        hole="parzen_score",
        old="parzen_log_prob(samples, test, sigma)",
        new="parzen_log_prob(samples, validation, sigma)",
        says="the validation images' mean",
    ),
    Mistake(
        name="worst_sigma",
        hole="parzen_score",
        old="max(sigmas",
        new="min(sigmas",
        says="the worst on validation",
    ),
    Mistake(
        name="sigma_chosen_on_the_samples",
        hole="parzen_score",
        old="parzen_log_prob(samples, validation, s)",
        new="parzen_log_prob(samples, samples, s)",
        says="chosen on the samples",
    ),
]

HINTS = {
    "log_mean_exp": (
        "The mean is the sum divided by k. What does a division become under the log?",
        "exp of -1000 is 0. log sum exp(a) = m + log sum exp(a - m) for any m; with m the largest of the column "
        "nothing overflows, and ops.logsumexp does just that.",
        "return ops.logsumexp(a, axis=0) - math.log(a.shape[0])",
    ),
    "AtVAE.log_q": (
        "A Gaussian in c independent numbers: c log-densities, summed.",
        "self.mu and self.log_var are (N, c) and broadcast against z, (k, N, c). sigma^2 is exp(log_var), so dividing"
        " by it is multiplying by exp(-log_var).",
        "ops.sum(ops.square(z - self.mu) * ops.exp(-self.log_var) + (self.log_var + LOG_2PI), axis=2) * -0.5",
    ),
    "AtVAE.log_joint": (
        "log p(x, z) = log p(x|z) + log p(z). The decoder wants rows: how many are there?",
        "ops.reshape(z, shape=(k * n, c)) puts the N codes of the first draw first, then those of the second, ...: so"
        " the copies of x are the whole batch, k times over (broadcast to (k, N, D), then reshape). raw = "
        "self.model.decoder(rows), as log_likelihood wants it (not decode, which gives probabilities).",
        "ops.reshape(self.model.log_likelihood(raw, copies), shape=(k, n)) - ops.sum(ops.square(z) + LOG_2PI, axis=2)"
        " * 0.5",
    ),
    "iwae_bound": (
        "Draw from q. What is a draw worth? The ratio of how probable p and q find it.",
        "log w = log p(x, z) - log q(z|x) at the same z: (k, N). The bound is the log of the mean weight.",
        "z = at.sample(k, rng); return log_mean_exp(at.log_joint(z) - at.log_q(z))",
    ),
    "IWAE.updates": (
        "As in the VAE: one pair is yielded. Only the loss is another.",
        "The bound should grow: minus its mean over the images. AtVAE(self, batch) is the model at these images.",
        "yield self, -ops.mean(iwae_bound(AtVAE(self, batch), self.k, rng))",
    ),
    "evidence": (
        "The mean of 5,000 weights from blocks of 50: what must be kept from a block, so that it can be forgotten?",
        "Its sum, whose log is bound + log b. Two such logs are added by np.logaddexp. Start from -inf, the log of 0.",
        "with no_grad(): for start in range(0, k, block): b = min(block, k - start); total = np.logaddexp(total, "
        "iwae_bound(at, b, rng).numpy().astype(np.float64) + math.log(b)); then total - math.log(k)",
    ),
    "compare": (
        "What would you have to hold equal between two models for their figures to mean anything?",
        "x = (xp.asarray(rng.random(images.shape, np.float32)) < xp.asarray(images)).astype('float32') before the "
        "loop. hasattr(model, 'log_prob') tells the exact ones.",
        "found = [model.log_prob(part).numpy() if exact else evidence(AtVAE(model, part), k, rng) for part in parts];"
        " nats = -np.concatenate(found); Score(name, '=' if exact else '<=', nats.mean(), nats.std() / "
        "math.sqrt(len(nats)))",
    ),
    "active_units": (
        "A number of the code that is 3 for every image tells them apart as badly as one that is 0.",
        "Its variance over the N images, each column for itself.",
        "return mu.var(axis=0) > threshold",
    ),
    "probe_error": (
        "What the probe does to the training rows it must do to a test row, without looking at other test rows.",
        "mean, spread = features.mean(axis=0), features.std(axis=0); both sets are scaled by these. Mind a spread of "
        "0.",
        "spread = np.where(spread > 0, spread, np.inf); predict = softmax_regression((features - mean) / spread, "
        "labels); float(np.mean(predict((test_features - mean) / spread) != test_labels))",
    ),
    "parzen_log_prob": (
        "The density is a mean of M Gaussians, so its log is a log-mean-exp. Over which axis?",
        "Squared distances of a block of rows to all samples: |x|^2 - 2 x @ samples.T + |s|^2. Divided by -2 sigma^2,"
        " then np.logaddexp.reduce over the samples; minus log M, minus D/2 log(2 pi sigma^2).",
        "squares = np.square(rows).sum(axis=1)[:, None] - 2 * rows @ samples.T + np.square(samples).sum(axis=1); "
        "found.append(np.logaddexp.reduce(squares / (-2 * sigma**2), axis=1)); at the end np.concatenate(found) - "
        "constant",
    ),
    "parzen_score": (
        "Three sets: one makes the window, one chooses its width, one is measured. Which is which?",
        "For each width the mean of parzen_log_prob(samples, validation, width); the best of them, once, on test.",
        "sigma = max(sigmas, key=lambda s: parzen_log_prob(samples, validation, s).mean())",
    ),
}
