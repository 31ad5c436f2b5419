"""e14, evaluation: answers in other styles that must pass, and wrong ones that nobody planted."""

RIGHT = {
    "log_mean_exp": {
        "by_hand": """
            top = a.detach().max(axis=0, keepdims=True)
            return ops.log(ops.mean(ops.exp(a - top), axis=0)) + top.reshape(a.shape[1])
        """,
        "shifted": "return ops.logsumexp(a - math.log(a.shape[0]), axis=0)",
        "transposed": "return ops.logsumexp(a.T, axis=1) - float(np.log(len(a.numpy())))",
    },
    "AtVAE.log_q": {
        "distribution": """
            sigma = ops.exp(self.log_var * 0.5)
            e = (z - self.mu) / sigma
            return (e * e * -0.5 - ops.log(sigma) - 0.5 * LOG_2PI).sum(axis=-1)
        """,
        "normal": """
            from minigen.distributions import Normal
            return ops.sum(Normal.from_log_var(self.mu, self.log_var).log_prob(z), axis=-1)
        """,
        "loop": """
            from solutions.e13_vae import gaussian_log_prob
            return ops.stack(*(gaussian_log_prob(self.mu, self.log_var, z[i]) for i in range(z.shape[0])))
        """,
    },
    "AtVAE.log_joint": {
        "one_draw_at_a_time": """
            rows = []
            for i in range(z.shape[0]):
                log_p = self.model.log_likelihood(self.model.decoder(z[i]), self.x)
                rows.append(log_p - 0.5 * ops.sum(ops.square(z[i]) + LOG_2PI, axis=1))
            return ops.stack(*rows)
        """,
        "tile": """
            k, n, c = z.shape
            raw = self.model.decoder(z.reshape(k * n, c))
            log_p = self.model.log_likelihood(raw, xp.tile(self.x, (k, 1))).reshape(k, n)
            return log_p + (z * z).sum(axis=2) * -0.5 - 0.5 * c * LOG_2PI
        """,
        "images_first": """
            k, n, c = z.shape
            raw = self.model.decoder(z.transpose(1, 0, 2).reshape(n * k, c))
            log_p = self.model.log_likelihood(raw, xp.repeat(self.x, k, axis=0)).reshape(n, k).T
            return log_p - ops.sum(ops.square(z) + LOG_2PI, axis=2) * 0.5
        """,
    },
    "iwae_bound": {
        "by_hand": """
            z = at.sample(k, rng)
            log_q, log_p = at.log_q(z), at.log_joint(z)
            return ops.logsumexp(log_p - log_q, axis=0) - math.log(k)
        """,
    },
    "IWAE.updates": {
        "at_first": """
            at = AtVAE(self, batch)
            bounds = iwae_bound(at, self.k, rng)
            yield (self, bounds.mean() * -1.0)
        """,
        "iterator": "return iter([(self, ops.sum(iwae_bound(AtVAE(self, batch), self.k, rng)) * (-1 / len(batch)))])",
    },
    "evidence": {
        "list_of_sums": """
            sums, left = [], k
            while left > 0:
                b = min(left, block)
                with no_grad():
                    z = at.sample(b, rng)
                    w = (at.log_joint(z) - at.log_q(z)).numpy().astype(np.float64)
                sums.append(np.logaddexp.reduce(w, axis=0))
                left -= b
            return np.logaddexp.reduce(sums, axis=0) - np.log(k)
        """,
        "running_mean": """
            done, mean = 0, None
            with no_grad():
                while done < k:
                    b = min(k - done, block)
                    one = iwae_bound(at, b, rng).numpy().astype(np.float64)
                    if mean is None:
                        mean = one
                    else:
                        mean = np.logaddexp(mean + np.log(done / (done + b)), one + np.log(b / (done + b)))
                    done += b
            return mean
        """,
    },
    "compare": {
        "ddof": """
            x = (xp.asarray(rng.random(images.shape)) < xp.asarray(images)).astype("float32")
            table = []
            for name in models:
                model, costs = models[name], []
                for i in range(0, x.shape[0], batch):
                    part = x[i : i + batch]
                    if hasattr(model, "log_prob"):
                        with no_grad():
                            costs.extend((-model.log_prob(part)).numpy().tolist())
                    else:
                        with no_grad():
                            at = AtVAE(model, part)
                        costs.extend((-evidence(at, k, rng)).tolist())
                costs = np.array(costs)
                sign = "=" if hasattr(model, "log_prob") else "<="
                table.append((name, sign, float(costs.mean()), float(costs.std(ddof=1) / len(costs) ** 0.5)))
            return table
        """,
    },
    "active_units": {
        "by_hand": "return np.mean((mu - np.mean(mu, axis=0)) ** 2, axis=0) > threshold",
        "list": "return [bool(np.var(column) > threshold) for column in mu.T]",
    },
    "probe_error": {
        "epsilon": """
            mean, spread = features.mean(0), features.std(0) + 1e-8
            predict = softmax_regression((features - mean) / spread, labels)
            right = predict((test_features - mean) / spread) == test_labels
            return 1.0 - right.mean()
        """,
        "own_regression": """
            mean, spread = features.mean(0), features.std(0)
            spread = np.where(spread == 0, 1.0, spread)
            x, y = (features - mean) / spread, (test_features - mean) / spread
            one_hot = np.eye(labels.max() + 1)[labels]
            x, y = np.c_[x, np.ones(len(x))], np.c_[y, np.ones(len(y))]
            W = np.zeros((x.shape[1], one_hot.shape[1]))
            for _ in range(500):
                logits = x @ W
                p = np.exp(logits - logits.max(1, keepdims=True))
                p /= p.sum(1, keepdims=True)
                W -= 0.5 * (x.T @ (p - one_hot) / len(x) + 1e-3 * W)
            return np.mean((y @ W).argmax(1) != test_labels)
        """,
    },
    "parzen_log_prob": {
        "row_by_row": """
            s, d = samples.astype(np.float64), samples.shape[1]
            out = []
            for row in x.astype(np.float64):
                e = -np.square(s - row).sum(axis=1) / (2 * sigma**2)
                top = e.max()
                out.append(top + np.log(np.mean(np.exp(e - top))) - d * (np.log(sigma) + 0.5 * np.log(2 * np.pi)))
            return np.array(out)
        """,
        "blocks_of_samples": """
            s, x, total = samples.astype(np.float64), x.astype(np.float64), np.full(len(x), -np.inf)
            for i in range(0, len(s), 20):
                part = s[i : i + 20]
                q = (x**2).sum(1)[:, None] - 2 * x @ part.T + (part**2).sum(1)
                total = np.logaddexp(total, np.logaddexp.reduce(-q / 2 / sigma**2, axis=1))
            return total - np.log(len(s)) - 0.5 * x.shape[1] * np.log(2 * np.pi * sigma**2)
        """,
    },
    "parzen_score": {
        "argmax": """
            means = [parzen_log_prob(samples, validation, s).mean() for s in sigmas]
            best = sigmas[int(np.argmax(means))]
            log_p = parzen_log_prob(samples, test, best)
            return best, log_p.mean(), log_p.std(ddof=1) / np.sqrt(len(test))
        """,
    },
}

WRONG = {
    "log_mean_exp": {
        "max": ("ops.logsumexp(a, axis=0) - math.log(a.shape[0])", "a.max(axis=0)"),
        "log2": ("math.log(", "math.log2("),
        "k_by_n": ("a.shape[0]", "a.shape[1]"),
        "all_of_it": ("axis=0", "axis=None"),
        "keepdims": ("axis=0", "axis=0, keepdims=True"),
        "minus_one": ("a.shape[0])", "max(a.shape[0] - 1, 1))"),
        "float64_without_max": (
            "ops.logsumexp(a, axis=0) - math.log(a.shape[0])",
            "ops.log(ops.mean(ops.exp(a.astype('float64')), axis=0))",
        ),
        "clipped": (
            "ops.logsumexp(a, axis=0) - math.log(a.shape[0])",
            "ops.log(ops.mean(ops.exp(ops.clip(a, low=-80.0, high=80.0)), axis=0))",
        ),
        "epsilon": (
            "ops.logsumexp(a, axis=0) - math.log(a.shape[0])",
            "ops.log(ops.mean(ops.exp(a), axis=0) + 1e-12)",
        ),
        "detached": ("ops.logsumexp(a, axis=0)", "ops.logsumexp(a.detach(), axis=0)"),
    },
    "AtVAE.log_q": {
        "first_draw": ("z - self.mu", "z[:1] - self.mu"),
        "no_half": ("* -0.5", "* -1.0"),
        "sum_over_images": ("axis=2", "axis=1"),
        "abs": ("ops.square(z - self.mu)", "ops.abs(z - self.mu)"),
        "mu_detached": ("z - self.mu", "z - self.mu.detach()"),
        "log_var_detached": ("ops.exp(-self.log_var)", "ops.exp(-self.log_var.detach())"),
        "unit_variance": (" * ops.exp(-self.log_var)", ""),
    },
    "AtVAE.log_joint": {
        "z_detached": ("ops.reshape(z, shape=(k * n, c))", "ops.reshape(z.detach(), shape=(k * n, c))"),
        "prior_detached": ("ops.square(z)", "ops.square(z.detach())"),
        "prior_from_mu": ("ops.square(z)", "ops.square(z - self.mu)"),
        "sum_over_draws": ("axis=2", "axis=0"),
        "mean_of_prior": (
            "ops.sum(ops.square(z) + LOG_2PI, axis=2)",
            "ops.mean(ops.square(z) + LOG_2PI, axis=2)",
        ),
        "probabilities": ("self.model.decoder(", "self.model.decode("),
        "plus_prior": ("return log_p -", "return log_p +"),
        "decoded_mean": (
            "ops.reshape(z, shape=(k * n, c))",
            "ops.reshape(ops.broadcast_to(self.mu, shape=(k, n, c)), shape=(k * n, c))",
        ),
    },
    "iwae_bound": {
        "k_draws_too_many": ("at.sample(k, rng)", "at.sample(k + 1, rng)"),
        "best_weight": (
            "log_mean_exp(at.log_joint(z) - at.log_q(z))",
            "(at.log_joint(z) - at.log_q(z)).max(axis=0)",
        ),
        "half_q": ("at.log_q(z)", "0.5 * at.log_q(z)"),
        "summed_images": (
            "log_mean_exp(at.log_joint(z) - at.log_q(z))",
            "ops.sum(log_mean_exp(at.log_joint(z) - at.log_q(z)))",
        ),
        "q_detached": ("at.log_q(z)", "at.log_q(z.detach())"),
        "draws_detached": ("at.sample(k, rng)", "at.sample(k, rng).detach()"),
        "upside_down": ("at.log_joint(z) - at.log_q(z)", "at.log_q(z) - at.log_joint(z)"),
    },
    "IWAE.updates": {
        "vae_loss": ("iwae_bound(AtVAE(self, batch), self.k, rng)", "self.elbo(batch, rng)"),
        "twice": ("yield self, ", "yield self, -ops.mean(self.elbo(batch, rng)); yield self, "),
        "returns": ("yield self, -ops", "return self, -ops"),
        "loss_alone": ("yield self, ", "yield "),
        "numbers": ("-ops.mean(", "-np.mean("),
        "k_as_factor": ("-ops.mean(", "-self.k * ops.mean("),
        "decoder_only": ("yield self", "yield self.decoder"),
    },
    "evidence": {
        "float32": (".astype(np.float64)", ""),
        "log_block": ("math.log(b)", "math.log(block)"),
        "no_log_k": (" - math.log(k)", ""),
        "plain_sum": ("np.logaddexp(total, bound + math.log(b))", "total + np.exp(bound) * b"),
        "max": ("np.logaddexp(total", "np.maximum(total"),
        "k_from_blocks": ("math.log(k)", "math.log(len(range(0, k, block)))"),
        "one_block": ("range(0, k, block)", "range(0, 1)"),
        "tensor": ("return total - math.log(k)", "return Tensor(total - math.log(k))"),
        "copies": ("rng)", "__import__('copy').deepcopy(rng))"),
    },
    "compare": {
        "grey_for_bounds": ("AtVAE(model, part)", "AtVAE(model, xp.asarray(images)[: len(part)])"),
        "log_likelihood": ("nats = -np", "nats = np"),
        "bits": ("nats.mean()", "nats.mean() / math.log(2)"),
        "all_at_once": ("range(0, len(x), batch)", "range(0, len(x), len(x))"),
        "one_draw": ("k, rng)\n", "1, rng)\n"),
        "sign_swapped": ('"=" if exact else "<="', '"<=" if exact else "="'),
        "wrong_way": ("chance < xp.asarray(images)", "chance > xp.asarray(images)"),
        "one_coin": (
            "rng.random(images.shape, np.float32)",
            "rng.random((len(images), *[1] * (images.ndim - 1)), np.float32)",
        ),
        "own_seed": (
            "rng.random(images.shape, np.float32)",
            "np.random.default_rng(0).random(images.shape, np.float32)",
        ),
        "sorted": ("in models.items()", "in sorted(models.items())"),
        "error_by_n": ("/ math.sqrt(len(nats))", "/ len(nats)"),
    },
    "active_units": {
        "count": ("mu.var(axis=0) > threshold", "int((mu.var(axis=0) > threshold).sum())"),
        "below": ("> threshold", "< threshold"),
        "fixed": ("> threshold", "> 0.01"),
        "range": ("mu.var(axis=0)", "np.ptp(mu, axis=0)"),
        "abs_mean": ("mu.var(axis=0)", "abs(mu.mean(axis=0))"),
        "whole": ("mu.var(axis=0)", "mu.var() * np.ones(mu.shape[1])"),
    },
    "probe_error": {
        "mean_only": ("(features - mean) / spread, labels", "features - mean, labels"),
        "percent": ("float(np.mean(", "100 * float(np.mean("),
        "count": ("np.mean(predict", "np.sum(predict"),
        "all_statistics": (
            "features.mean(axis=0), features.std(axis=0)",
            "np.concatenate([features, test_features]).mean(axis=0), "
            "np.concatenate([features, test_features]).std(axis=0)",
        ),
        "trained_on_test": (
            "softmax_regression((features - mean) / spread, labels)",
            "softmax_regression((test_features - mean) / spread, test_labels)",
        ),
        "one_scale": ("features.std(axis=0)", "features.std() * np.ones(features.shape[1])"),
        "in_place": ("predict = ", "features -= mean; mean = 0; predict = "),
    },
    "parzen_log_prob": {
        "sigma_once": ("(-2 * sigma**2)", "(-2 * sigma)"),
        "d_not_half": ("x.shape[1] / 2 *", "x.shape[1] *"),
        "log_n": ("math.log(len(samples))", "math.log(len(x))"),
        "nearest": ("np.logaddexp.reduce(", "np.max("),
        "last_block": ("range(0, len(x), block)", "range(0, len(x) - block, block)"),
        "absolute": ("squares / (-2 * sigma**2)", "np.sqrt(np.abs(squares)) / (-2 * sigma**2)"),
        "float32": (
            "samples.astype(np.float64), x.astype(np.float64)",
            "samples.astype(np.float32), x.astype(np.float32)",
        ),
        "over_images": ("axis=1))\n", "axis=0))\n"),
        "plus": (" - constant", " + constant"),
    },
    "parzen_score": {
        "on_samples": ("parzen_log_prob(samples, validation, s)", "parzen_log_prob(samples, samples, s)"),
        "first": ("max(sigmas, key=lambda s: parzen_log_prob(samples, validation, s).mean())", "sigmas[0]"),
        "largest": (
            "max(sigmas, key=lambda s: parzen_log_prob(samples, validation, s).mean())",
            "max(sigmas)",
        ),
        "swapped": ("samples, test, sigma", "test, samples, sigma"),
        "spread": (" / math.sqrt(len(found))", ""),
        "summed": ("found.mean()", "found.sum()"),
        "order": ("return sigma, float(found.mean()),", "return float(found.mean()), sigma,"),
    },
}
