"""e15, the GANs: answers in other styles that must pass, and wrong ones that nobody planted."""

RIGHT = {
    "discriminator_loss": {
        "bce": """
            ones, zeros = xp.ones_like(real.data), xp.zeros_like(fake.data)
            return ops.mean(ops.bce_with_logits(real, Tensor(ones))) + ops.mean(ops.bce_with_logits(fake, zeros))
        """,
        "methods": "return ops.softplus(-real).mean() + ops.softplus(fake).mean()",
        "sums": "return ops.sum(ops.softplus(-real)) / real.shape[0] + ops.sum(ops.softplus(fake)) / fake.shape[0]",
    },
    "minimax_loss": {
        "by_symmetry": "return ops.mean(-fake - ops.softplus(-fake))",
        "bce": "return -ops.mean(ops.bce_with_logits(fake, xp.zeros_like(fake.data)))",
    },
    "non_saturating_loss": {"bce": "return ops.mean(ops.bce_with_logits(fake, xp.ones_like(fake.data)))"},
    "least_squares": {"power": "return ((logits - label) ** 2 / 2).mean()"},
    "critic_loss": {"turned": "return -(ops.mean(real) - ops.mean(fake))"},
    "gradient_penalty": {
        "other_end": """
            a = fake.detach().data if isinstance(fake, Tensor) else fake
            b = real.detach().data if isinstance(real, Tensor) else real
            u = xp.asarray(rng.uniform(size=len(a)).astype(a.dtype)).reshape((-1,) + (1,) * (a.ndim - 1))
            x = Tensor(a + (1.0 - u) * (b - a), requires_grad=True)
            y = critic(x)
            g = grad(y, x, seed=xp.ones(y.shape, y.dtype), create_graph=True)
            axes = tuple(range(1, a.ndim))
            return ops.mean((ops.sqrt(ops.sum(g * g, axis=axes) + 1e-12) - 1.0) ** 2)
        """,
        "per_example": """
            real, fake = (t.data if isinstance(t, Tensor) else t for t in (real, fake))
            u = rng.random(len(real))
            mixed = xp.stack([a * float(t) + b * (1 - float(t)) for a, b, t in zip(real, fake, u)])
            x = Tensor(mixed, requires_grad=True)
            g = grad(ops.sum(critic(x)), x, create_graph=True)
            norm = ops.sqrt(ops.sum(ops.square(g).reshape(len(u), -1), axis=1) + 1e-10)
            return ops.sum((norm - 1.0) * (norm - 1.0)) / len(u)
        """,
    },
    "dc_generator": {
        "xavier": """
            c1, c2 = config.channels
            c, h, w = config.shape
            layers = [Dense(config.z, c1 * h * w // 16, bias=False, init=init.xavier_normal, rng=rng)]
            layers += [Reshape(c1, h // 4, w // 4), BatchNorm(c1), ops.relu]
            layers.append(ConvTranspose2d(c1, c2, 4, stride=2, padding=1, bias=False, rng=rng))
            layers += [BatchNorm(c2), ops.relu, ConvTranspose2d(c2, c, 4, stride=2, padding=1, rng=rng), ops.sigmoid]
            return Sequential(*layers)
        """,
    },
    "dc_discriminator": {
        "nested": """
            c, h, w = config.shape
            c1, c2 = config.channels
            body = Sequential(Conv2d(c, c2, 4, stride=2, padding=1, rng=rng), LeakyReLU(),
                              Conv2d(c2, c1, 4, stride=2, padding=1, rng=rng), LeakyReLU())
            return Sequential(body, Flatten(), Dense(c1 * (h // 4) * (w // 4), 1, rng=rng))
        """,
    },
    "GAN.updates": {
        "fresh_fakes_for_g": """
            k = self.config.critic_steps
            for part in xp.array_split(batch, k):
                with no_grad():
                    fake = self.generator(self.noise(len(part), rng))
                yield self.discriminator, self.discriminator_objective(part, fake, rng)
            yield self.generator, self.generator_objective(self.generator(self.noise(len(batch), rng)))
        """,
        "one_part_for_g": """
            k = self.config.critic_steps
            for part in xp.array_split(batch, k):
                fake = self.generator(self.noise(len(part), rng))
                yield self.discriminator, self.discriminator_objective(part, fake.detach(), rng)
            yield self.generator, self.generator_objective(fake)
        """,
    },
    "GAN.sample": {
        "generator_only": """
            was = {id(m): m.training for m in self.modules()}
            self.generator.eval()
            with no_grad():
                x = self.generator(self.noise(n, rng)).data
            for m in self.modules():
                m.training = was[id(m)]
            return x
        """,
    },
    "optimal_discriminator": {
        "where": """
            p, q = np.asarray(p, float), np.asarray(q, float)
            return np.where(p + q > 0, p / np.where(p + q > 0, p + q, 1), 0.5)
        """,
    },
    "duel": {
        "list": """
            path = [[x, y]]
            for _ in range(steps):
                old = x
                x -= lr * y
                y += lr * (x if alternating else old)
                path.append([x, y])
            return np.asarray(path)
        """,
    },
    "count_modes": {
        "loop": """
            good, counts = 0, [0] * len(centres)
            for point in x:
                d = [np.sqrt(((point - c) ** 2).sum()) for c in centres]
                k = int(np.argmin(d))
                if d[k] <= 3 * sigma:
                    good, counts[k] = good + 1, counts[k] + 1
            return sum(c >= least for c in counts), good / len(x)
        """,
    },
    "stack_digits": {
        "columns": """
            picks = np.stack([rng.integers(0, len(images), n) for _ in range(3)], axis=1)
            return xp.stack([images[xp.asarray(picks[:, c])] for c in range(3)], axis=1), picks
        """,
    },
    "mode_statistics": {
        "counter": """
            n, c = digits.shape
            counts = {}
            for row in digits.tolist():
                counts[tuple(row)] = counts.get(tuple(row), 0) + 1
            f = np.array(list(counts.values())) / n
            return len(counts), float(c * np.log(10) + (f * np.log(f)).sum())
        """,
    },
}

WRONG = {
    "discriminator_loss": {
        "real_only_sum": ("ops.mean(ops.softplus(-real))", "ops.sum(ops.softplus(-real))"),
        "detached": ("ops.softplus(fake)", "ops.softplus(Tensor(fake.data))"),
        "smoothed": ("ops.mean(ops.softplus(fake))", "0.9 * ops.mean(ops.softplus(fake))"),
    },
    "minimax_loss": {"relu": ("ops.softplus(fake)", "ops.relu(fake)")},
    "non_saturating_loss": {"scaled": ("ops.mean(ops.softplus(-fake))", "2 * ops.mean(ops.softplus(-fake))")},
    "least_squares": {"abs": ("ops.square(logits - label)", "ops.abs(logits - label)")},
    "critic_loss": {"hinge": ("ops.mean(real)", "ops.mean(ops.relu(real))")},
    "gradient_penalty": {
        "extrapolated": ("rng.random((n,)", "2 * rng.random((n,)"),
        "half_way": ("u * real + (1 - u) * fake", "u * 0 + 0.5 * (real + fake)"),
        "squared_norm": ("ops.square(norm - 1.0)", "ops.square(ops.square(norm) - 1.0)"),
        "max_norm": ("ops.sum(ops.square(slope.reshape(n, -1)), axis=1)",
                     "ops.max(ops.square(slope.reshape(n, -1)), axis=1)"),
        "norm_cut": ("ops.square(norm - 1.0)", "ops.square(Tensor(norm.data) - 1.0)"),
        "root": ("ops.mean(ops.square(norm - 1.0))", "ops.sqrt(ops.mean(ops.square(norm - 1.0)))"),
        "own_generator": ("rng.random((n,)", "np.random.default_rng(0).random((n,)"),
        "mixed_twice": ("u * real + (1 - u) * fake", "u * real + (1 + u) * fake"),
    },
    "dc_generator": {
        "no_end": ("Sigmoid()", "ReLU()"),
        "stride": ('"stride": 2', '"stride": 1'),
        "own_rng": ('"rng": rng', '"rng": np.random.default_rng(0)'),
        "relu_before_norm": ("BatchNorm(c1), ReLU()", "ReLU(), BatchNorm(c1)"),
    },
    "dc_discriminator": {
        "two_outputs": ("(width // 4), 1, rng", "(width // 4), 2, rng"),
        "slope": ("LeakyReLU(0.2), Conv2d", "LeakyReLU(0.1), Conv2d"),
        "channels_turned": ("Conv2d(colours, c2, 4, **how)", "Conv2d(colours, c1, 4, **how)"),
    },
    "GAN.updates": {
        "nothing_for_g": ("yield self.generator, self.generator_objective(fake)", "pass"),
        "g_steps_d": ("yield self.generator,", "yield self.discriminator,"),
        "whole_model": ("yield self.generator,", "yield self,"),
        "few_fakes": ("self.noise(len(batch), rng)", "self.noise(1, rng)"),
        "own_noise": ("self.noise(len(batch), rng)", "self.noise(len(batch), np.random.default_rng(0))"),
        "real_for_g": ("self.generator_objective(fake)", "self.generator_objective(Tensor(batch)) + 0 * ops.sum(fake)"),
        "no_penalty": ("self.discriminator_objective(batch[part], fake[part].detach(), rng)",
                       "self.told_apart(batch[part], fake[part].detach())"),
        "flipped": ("yield self.generator, self", "yield self.generator, -self"),
    },
    "GAN.sample": {
        "uniform": ("self.noise(n, rng)", "xp.asarray(rng.random((n, self.config.z), np.float32))"),
        "one_more": ("self.noise(n, rng)", "self.noise(n + 1, rng)"),
        "inverted": ("self.generator(self.noise(n, rng)).data", "1 - self.generator(self.noise(n, rng)).data"),
        "always_train_after": ("self.train(mode)", "self.train()"),
    },
    "optimal_discriminator": {"ratio": ("out=np.full(total.shape, 0.5)", "out=np.zeros(total.shape)")},
    "duel": {"shrinking": ("lr * y\n", "lr * y\n        lr *= 0.9\n"), "float32": ("moved = x - lr", "moved = x + lr")},
    "count_modes": {"all_share": ("float(good.mean())", "float(good.sum())"), "more": (">= least", "> least")},
    "stack_digits": {
        "without_repeats": ("rng.integers(len(images), size=(n, 3))",
                            "np.stack([rng.permutation(len(images))[:3] for _ in range(n)])"),
        "wrong_images": ("images[xp.asarray(picks)]", "images[xp.asarray(picks[:, ::-1])]"),
    },
    "mode_statistics": {
        "base_nine": ("10 ** np.arange", "9 ** np.arange"),
        "at_least_two": ("f = f[f > 0]", "f = f[f > 1 / n]"),
    },
}  # fmt: skip
