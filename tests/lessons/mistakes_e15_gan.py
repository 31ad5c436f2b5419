"""Typical wrong versions of e15's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake


def planted(hole: str, *rows: tuple[str, str | None, str, str]) -> list[Mistake]:
    """(name, old, new, says) for one hole"""
    return [Mistake(name=name, hole=hole, old=old, new=new, says=says) for name, old, new, says in rows]


MISTAKES = [
    *planted(
        "discriminator_loss",
        ("labels_swapped", "softplus(-real)) + ops.mean(ops.softplus(fake))",
         "softplus(real)) + ops.mean(ops.softplus(-fake))", "the labels are swapped"),
        ("sigmoid_twice", "ops.softplus(-real)) + ops.mean(ops.softplus(fake))",
         "ops.softplus(-ops.sigmoid(real))) + ops.mean(ops.softplus(ops.sigmoid(fake)))", "a sigmoid is applied twice"),
        ("value_not_loss", "return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))",
         "return -ops.mean(ops.softplus(-real)) - ops.mean(ops.softplus(fake))", "change the sign"),
        ("averaged", "return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))",
         "return 0.5 * (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)))", "expected their sum"),
        ("clipped_log", None, """
         def log(p):
             return ops.log(ops.clip(p, low=1e-7, high=1.0))
         return -ops.mean(log(ops.sigmoid(real))) - ops.mean(log(1.0 - ops.sigmoid(fake)))
         """, "is a log clipped"),
        ("real_labels_for_fakes", "ops.softplus(fake)", "ops.softplus(-fake)", "the generator's wish, not D's"),
    ),
    *planted(
        "minimax_loss",
        ("ds_labels", "return -ops", "return ops", "D's own labels"),
        ("non_saturating_instead", "-ops.mean(ops.softplus(fake))", "ops.mean(ops.softplus(-fake))",
         "the letter of eq. 1"),
        ("plain_log", None, "return ops.mean(ops.log(1.0 - ops.sigmoid(fake)))", "for logits of +-1000"),
    ),
    *planted(
        "non_saturating_loss",
        ("g_uses_ds_labels", "ops.softplus(-fake)", "ops.softplus(fake)", "D's own labels"),
        ("sigmoid_twice_g", "ops.softplus(-fake)", "ops.softplus(-ops.sigmoid(fake))", "a sigmoid is applied twice"),
        ("minimax_instead", "ops.mean(ops.softplus(-fake))", "-ops.mean(ops.softplus(fake))",
         "the minimax loss, whose slope vanishes"),
        ("stuck_at_16", None, "return -ops.mean(ops.log(ops.sigmoid(fake) + 1e-7))", "is a log clipped"),
        ("sign", "return ops.mean(ops.softplus(-fake))", "return -ops.mean(ops.softplus(-fake))", "change the sign"),
    ),
    *planted(
        "least_squares",
        ("squashed", "ops.square(logits - label)", "ops.square(ops.sigmoid(logits) - label)",
         "the logits go through a sigmoid"),
        ("no_half", " * 0.5", "", "the factor 1/2 is missing"),
    ),
    *planted(
        "critic_loss",
        ("score_sign", "ops.mean(fake) - ops.mean(real)", "ops.mean(real) - ops.mean(fake)",
         "the sign is turned round"),
        ("still_logarithms", "ops.mean(fake) - ops.mean(real)",
         "ops.mean(ops.softplus(fake)) + ops.mean(ops.softplus(-real))", "a critic's score is no probability"),
    ),
    *planted(
        "gradient_penalty",
        ("penalty_on_the_norm", "ops.square(norm - 1.0)", "ops.square(norm)", "the penalty is on the norm itself"),
        ("at_real_points_only", "u * real + (1 - u) * fake", "u * 0 + real", "x_hat is the real images"),
        ("at_fakes_only", "u * real + (1 - u) * fake", "u * 0 + fake", "x_hat is the fakes"),
        ("u_for_each_pixel", "rng.random((n,) + (1,) * (real.ndim - 1))", "rng.random(real.shape)",
         "ONE u for each example"),
        ("one_u_for_the_batch", "rng.random((n,) + (1,) * (real.ndim - 1))", "rng.random((1,) * real.ndim)",
         "all examples have the same u"),
        ("norm_of_the_batch", "ops.sqrt(ops.sum(ops.square(slope.reshape(n, -1)), axis=1) + 1e-12)",
         "ops.sqrt(ops.sum(ops.square(slope)) + 1e-12)", "the norm is of the whole batch"),
        ("no_create_graph", None, """
         real, fake = (a.data if isinstance(a, Tensor) else a for a in (real, fake))
         n = len(real)
         u = xp.asarray(rng.random((n,) + (1,) * (real.ndim - 1)).astype(real.dtype))
         x_hat = Tensor(u * real + (1 - u) * fake, requires_grad=True)
         slope = Tensor(grad(ops.sum(critic(x_hat)), x_hat))
         norm = ops.sqrt(ops.sum(ops.square(slope.reshape(n, -1)), axis=1) + 1e-12)
         return ops.mean(ops.square(norm - 1.0))
         """, "create_graph=True"),
        ("root_of_zero", " + 1e-12", "", "a square root has an infinite slope at 0"),
        ("one_sided", "ops.square(norm - 1.0)", "ops.square(ops.relu(norm - 1.0))", "one-sided"),
        ("mean_of_scores", "ops.sum(critic(x_hat))", "ops.mean(critic(x_hat))", "take grad of the SUM"),
    ),
    *planted(
        "dc_generator",
        ("tanh_for_pixels_in_0_1", "Sigmoid(),", "ops.tanh,", "it ends in a tanh"),
        ("bias_before_batch_norm", "math.prod(corner), bias=False,", "math.prod(corner),", "bias=False"),
        ("leaky_generator", "BatchNorm(c2), ReLU()", "BatchNorm(c2), LeakyReLU(0.2)",
         "look at the order"),
    ),
    *planted(
        "dc_discriminator",
        ("sigmoid_at_the_end", "(width // 4), 1, rng=rng),", "(width // 4), 1, rng=rng),\n        Sigmoid(),",
         "it ends in a sigmoid"),
        ("batch_norm_in_the_critic", "Conv2d(c2, c1, 4, **how),", "Conv2d(c2, c1, 4, **how),\n        BatchNorm(c1),",
         "there is a BatchNorm"),
        ("relu_discriminator", None, """
         (c1, c2), (colours, height, width) = config.channels, config.shape
         how: Any = {"stride": 2, "padding": 1, "rng": rng}
         return Sequential(
             Conv2d(colours, c2, 4, **how), ReLU(), Conv2d(c2, c1, 4, **how), ReLU(),
             Flatten(), Dense(c1 * (height // 4) * (width // 4), 1, rng=rng),
         )
         """, "ReLU, not leaky"),
    ),
    *planted(
        "GAN.updates",
        ("fake_not_detached", "fake[part].detach()", "fake[part]", "fake not detached"),
        ("everything_detached", "self.generator(self.noise(len(batch), rng))",
         "self.generator(self.noise(len(batch), rng)).detach()", "the fakes as they are, not detached"),
        ("gradients_left_over", None, """
         fake = self.generator(self.noise(len(batch), rng))
         n = len(batch) // self.config.critic_steps
         for i in range(self.config.critic_steps):
             part = slice(i * n, (i + 1) * n)
             loss = self.discriminator_objective(batch[part], fake[part].detach(), rng)
             loss.backward(retain_graph=True)
             yield self.discriminator, loss
         yield self.generator, self.generator_objective(fake)
         """, "gradients are left over"),
        ("both_judged_before_the_step", None, """
         fake = self.generator(self.noise(len(batch), rng))
         n, pairs = len(batch) // self.config.critic_steps, []
         for i in range(self.config.critic_steps):
             part = slice(i * n, (i + 1) * n)
             pairs.append((self.discriminator, self.discriminator_objective(batch[part], fake[part].detach(), rng)))
         pairs.append((self.generator, self.generator_objective(fake)))
         yield from pairs
         """, "as it is AFTER its step"),
        ("generator_first", None, """
         fake = self.generator(self.noise(len(batch), rng))
         yield self.generator, self.generator_objective(fake)
         fake = self.generator(self.noise(len(batch), rng)).detach()
         n = len(batch) // self.config.critic_steps
         for i in range(self.config.critic_steps):
             part = slice(i * n, (i + 1) * n)
             yield self.discriminator, self.discriminator_objective(batch[part], fake[part], rng)
         """, "and then the generator once"),
        ("batch_norm_mixes_real_and_fake", None, """
         fake = self.generator(self.noise(len(batch), rng))
         if self.config.loss == "non-saturating" and self.config.critic_steps == 1:
             both = self.discriminator(ops.concatenate(Tensor(batch), fake.detach(), axis=0))
             yield self.discriminator, discriminator_loss(both[: len(batch)], both[len(batch) :])
         else:
             n = len(batch) // self.config.critic_steps
             for i in range(self.config.critic_steps):
                 part = slice(i * n, (i + 1) * n)
                 yield self.discriminator, self.discriminator_objective(batch[part], fake[part].detach(), rng)
         yield self.generator, self.generator_objective(fake)
         """, "batch norm is mixing real and fake"),
        ("d_loss_for_g", "self.generator_objective(fake)", "self.told_apart(batch, fake)", "it would help D"),
        ("real_and_fake_swapped", "batch[part], fake[part].detach()", "fake[part].detach(), batch[part]",
         "takes real images for fake"),
        ("same_part_for_all_steps", "slice(i * n, (i + 1) * n)", "slice(0, n)", "do not see the whole batch"),
        ("uniform_noise", "self.noise(len(batch), rng)", "xp.asarray(rng.random((len(batch), self.config.z)))",
         "expected standard normal"),
    ),
    *planted(
        "GAN.sample",
        ("training_mode", "self.eval()", "self.train()", "sample changed the batch norm's running statistics"),
        ("mode_not_put_back", "self.train(mode)", "pass", "put the mode back"),
        ("a_tensor", "self.generator(self.noise(n, rng)).data", "self.generator(self.noise(n, rng))", "gives a Tensor"),
    ),
    *planted(
        "optimal_discriminator",
        ("share_of_the_fakes", "np.divide(p, total", "np.divide(q, total", "the share of the FAKE density"),
        ("nan_where_empty", "np.divide(p, total, out=np.full(total.shape, 0.5), where=total > 0)",
         "p / np.where(total > 0, total, np.nan)", "not finite where both densities are 0"),
    ),
    *planted(
        "duel",
        ("always_simultaneous", "(moved if alternating else x)", "x", "y has to see the NEW x"),
        ("always_alternating", "(moved if alternating else x)", "moved", "both move from where they stood"),
        ("both_descend", "y = y + lr", "y = y - lr", "y wants it LARGE"),
        ("start_left_out", "np.array(path,", "np.array(path[1:],", "the start as the first"),
    ),
    *planted(
        "count_modes",
        ("one_sigma", "<= 3 * sigma", "<= sigma", "not within 1"),
        ("bad_samples_count", "nearest[good]", "nearest", "4 modes are covered"),
        ("to_every_centre", None, """
         distances = np.linalg.norm(x[:, None] - centres, axis=2)
         within = distances <= 3 * sigma
         return int((within.sum(axis=0) >= least).sum()), float(within.any(axis=1).mean())
         """, "its NEAREST centre"),
        ("least_forgotten", "counts >= least", "counts >= 1", "least=2"),
    ),
    *planted(
        "stack_digits",
        ("the_same_digit", "rng.integers(len(images), size=(n, 3))",
         "np.repeat(rng.integers(len(images), size=(n, 1)), 3, axis=1)", "the same digit"),
        ("last_image_never", "rng.integers(len(images), size=(n, 3))", "rng.integers(len(images) - 1, size=(n, 3))",
         "hardly ever picked"),
    ),
    *planted(
        "mode_statistics",
        ("order_does_not_matter", "digits @ 10 ** np.arange(colours)[::-1]", "digits.sum(axis=1)",
         "(1, 0) and (0, 1) are different modes"),
        ("zero_log_zero", "    f = f[f > 0]\n", "", "modes are counted"),
        ("entropy", "(f * np.log(f * 10**colours)).sum()", "-(f * np.log(f)).sum()", "this is the entropy"),
        ("bits", "np.log(f", "np.log2(f", "in bits"),
    ),
]  # fmt: skip

HINTS = {
    "discriminator_loss": (
        "With D = sigmoid(l): -log D is softplus of which number? And -log(1 - D)?",
        "softplus(-l) for a real image, softplus(l) for a fake. Two means, added: 2 ln 2 at zero logits.",
        "ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))",
    ),
    "minimax_loss": (
        "It is the part of V(D, G) that G has a say in, to the letter.",
        "log(1 - sigmoid(l)) = -softplus(l). The sign is right: G makes V small.",
        "-ops.mean(ops.softplus(fake))",
    ),
    "non_saturating_loss": (
        "What would D's loss be, if the fakes were real images?",
        "-log D(fake), the first half of discriminator_loss, with the logits of the fakes.",
        "ops.mean(ops.softplus(-fake))",
    ),
    "least_squares": (
        "No sigmoid, no logarithm: a regression towards the label.",
        "Square the differences, take the mean, halve it.",
        "ops.mean(ops.square(logits - label)) * 0.5",
    ),
    "critic_loss": (
        "Real images should score high, fakes low, and the loss is made small.",
        "Two means and a minus. No logarithm.",
        "ops.mean(fake) - ops.mean(real)",
    ),
    "gradient_penalty": (
        "Three parts: points between, the slope there, how far its norm is from 1. Which of them needs a graph?",
        "u has shape (N, 1, ..., 1). x_hat is a Tensor with requires_grad. grad(ops.sum(critic(x_hat)), x_hat, "
        "create_graph=True) is a Tensor of x_hat's shape; make it (N, D) and take a norm for each row.",
        "norm = ops.sqrt(ops.sum(ops.square(slope.reshape(n, -1)), axis=1) + 1e-12); "
        "ops.mean(ops.square(norm - 1.0))",
    ),
    "dc_generator": (
        "Draw the sizes first: z, (c1, H/4, W/4), (c2, H/2, W/2), (C, H, W). Which layers have a BatchNorm after them?",
        "Dense without bias, Reshape, BatchNorm, ReLU; ConvTranspose2d without bias, BatchNorm, ReLU; ConvTranspose2d, "
        "Sigmoid. Kernel 4, stride 2, padding 1.",
        "Sequential(Dense(config.z, c1 * h * w, bias=False, rng=rng), Reshape(c1, h, w), BatchNorm(c1), ReLU(), "
        "ConvTranspose2d(c1, c2, 4, stride=2, padding=1, bias=False, rng=rng), BatchNorm(c2), ReLU(), ...)",
    ),
    "dc_discriminator": (
        "The generator backwards: (C, H, W), (c2, H/2, W/2), (c1, H/4, W/4), one number.",
        "Conv2d, LeakyReLU(0.2), Conv2d, LeakyReLU(0.2), Flatten, Dense. Nothing after the Dense.",
        "Sequential(Conv2d(C, c2, 4, stride=2, padding=1, rng=rng), LeakyReLU(0.2), Conv2d(c2, c1, ...), "
        "LeakyReLU(0.2), Flatten(), Dense(c1 * H // 4 * W // 4, 1, rng=rng))",
    ),
    "GAN.updates": (
        "Two players, two yields. Whose parameters may each loss reach? When is the generator's loss to be computed?",
        "fake = self.generator(self.noise(len(batch), rng)). D gets fake.detach(), in parts; G gets fake. The code "
        "after a yield runs when the loop has made that step.",
        "yield self.discriminator, self.discriminator_objective(batch[part], fake[part].detach(), rng) for each part; "
        "then yield self.generator, self.generator_objective(fake)",
    ),
    "GAN.sample": (
        "Whose work is done after training? And by which statistics should batch norm go?",
        "Remember self.training, call self.eval(), draw under no_grad(), call self.train(mode).",
        "mode = self.training; self.eval(); with no_grad(): x = self.generator(self.noise(n, rng)).data; "
        "self.train(mode); return x",
    ),
    "optimal_discriminator": (
        "Set the derivative of p log D + q log(1 - D) by D to zero.",
        "p / D = q / (1 - D). Solve for D. What if p and q are both 0?",
        "np.divide(p, p + q, out=np.full(np.shape(p + q), 0.5), where=p + q > 0)",
    ),
    "duel": (
        "df/dx = y and df/dy = x. One goes down, the other goes up.",
        "Keep the old x until y has moved, or not, as `alternating` says. The start belongs to the path.",
        "moved = x - lr * y; y = y + lr * (moved if alternating else x); x = moved; path.append((x, y))",
    ),
    "count_modes": (
        "First: to which centre does each sample belong? Then: is it a good one?",
        "distances is (n, k): x[:, None] - centres. argmin and min along axis 1; np.bincount of the good ones.",
        "counts = np.bincount(nearest[good], minlength=len(centres)); (counts >= least).sum(), good.mean()",
    ),
    "stack_digits": (
        "Three colours, three independent draws for each stack. May an image be drawn twice?",
        "rng.integers gives all indices at once. Indexing images with an (n, 3) array gives (n, 3, H, W).",
        "picks = rng.integers(len(images), size=(n, 3)); return images[xp.asarray(picks)], picks",
    ),
    "mode_statistics": (
        "Give each row of digits one number from 0 to 10^c - 1, then count.",
        "digits @ (100, 10, 1). np.bincount(..., minlength=10**c) / n are the shares f; drop the zeros.",
        "len(f), float((f * np.log(f * 10**colours)).sum())",
    ),
}
