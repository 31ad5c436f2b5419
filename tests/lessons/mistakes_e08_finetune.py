"""Typical wrong versions of e08's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="drawn_twice",
        hole="hold_out",
        old=None,
        new="""
        return rng.choice(n, n - size, replace=False), rng.choice(n, size, replace=False)
        """,
        says="are in both parts",
    ),
    Mistake(
        name="the_first_ones",
        hole="hold_out",
        old="rng.permutation(n)",
        new="np.arange(n)",
        says="another seed holds out the same images",
    ),
    Mistake(
        name="parts_changed_places",
        hole="hold_out",
        old="order[size:], order[:size]",
        new="order[:size], order[size:]",
        says="others first",
    ),
    Mistake(
        name="last_ones_by_negative_index",
        hole="hold_out",
        old="order[size:], order[:size]",
        new="order[:-size], order[-size:]",
        says="hold_out(9, 0) gives",
    ),
    Mistake(
        name="held_out_stay_in_training",
        hole="hold_out",
        old="order[size:], order[:size]",
        new="order, order[:size]",
        says="expected (40,) others first",
    ),
    Mistake(
        name="unbalanced",
        hole="label_subset",
        old="rng.permutation(np.concatenate(each))",
        new="rng.choice(len(labels), n, replace=False)",
        says="the subset is not balanced",
    ),
    Mistake(
        name="drawn_with_replacement",
        hole="label_subset",
        old="replace=False",
        new="replace=True",
        says="an image counts once",
    ),
    Mistake(
        name="first_of_each_class",
        hole="label_subset",
        old="rng.choice(np.flatnonzero(labels == one), n // len(kinds), replace=False)",
        new="np.flatnonzero(labels == one)[: n // len(kinds)]",
        says="several seeds would measure the same labels",
    ),
    Mistake(
        name="class_by_class",
        hole="label_subset",
        old="rng.permutation(np.concatenate(each))",
        new="np.concatenate(each)",
        says="come class by class",
    ),
    Mistake(
        name="ten_classes_always",
        hole="label_subset",
        old="kinds = np.unique(labels)",
        new="kinds = np.arange(10)",
        says="the classes are np.unique(labels)",
    ),
    Mistake(
        name="own_generator",
        hole="label_subset",
        old="kinds = np.unique(labels)",
        new="kinds, rng = np.unique(labels), np.random.default_rng()",
        says="the same seed gives other labels",
    ),
    Mistake(
        name="n_of_each_class",
        hole="label_subset",
        old="n // len(kinds)",
        new="n // 10 * 2",
        says="expected (10,)",
    ),
    Mistake(
        name="double_softmax",
        hole="Classifier.__call__",
        old="self.head(self.encoder(flatten(x)))",
        new="ops.softmax(self.head(self.encoder(flatten(x))), axis=1)",
        says="a softmax was applied",
    ),
    Mistake(
        name="encoder_detached",
        hole="Classifier.__call__",
        old="self.encoder(flatten(x))",
        new="self.encoder(flatten(x)).detach()",
        says="no gradient reaches encoder",
    ),
    Mistake(
        name="images_not_flattened",
        hole="Classifier.__call__",
        old="flatten(x)",
        new="x",
        says="the encoder takes rows",
    ),
    Mistake(
        name="relu_on_the_code",
        hole="Classifier.__call__",
        old="self.encoder(flatten(x))",
        new="ops.relu(self.encoder(flatten(x)))",
        says="the code went through a ReLU",
    ),
    Mistake(
        name="frozen_encoder_in_training_mode",
        hole="Classifier.train",
        old="self.encoder.eval()",
        new="pass",
        says="FROZEN encoder, or parts of it, in training mode",
    ),
    Mistake(
        name="eval_before_train",
        hole="Classifier.train",
        old=None,
        new="""
        if self.frozen:
            self.encoder.eval()
        return super().train(mode)
        """,
        says="eval() it after super().train(mode)",
    ),
    Mistake(
        name="only_the_encoder_itself",
        hole="Classifier.train",
        old="self.encoder.eval()",
        new="self.encoder.training = False",
        says="or parts of it",
    ),
    Mistake(
        name="encoder_always_asleep",
        hole="Classifier.train",
        old="if self.frozen:",
        new="if True:",
        says="only a frozen one stays",
    ),
    Mistake(
        name="train_forgets_to_return",
        hole="Classifier.train",
        old="return self",
        new="return None",
        says="return self",
    ),
    Mistake(
        name="mode_ignored",
        hole="Classifier.train",
        old="super().train(mode)",
        new="super().train()",
        says="in the wrong mode",
    ),
    Mistake(
        name="batch_norm_left_awake",
        hole="freeze",
        old="module.eval()",
        new="pass",
        says="batch normalisation would still change",
    ),
    Mistake(
        name="only_eval",
        hole="freeze",
        old="p.requires_grad = False",
        new="pass",
        says="still require gradients",
    ),
    Mistake(
        name="first_parameter_only",
        hole="freeze",
        old="for p in module.parameters():",
        new="for p in module.parameters()[:1]:",
        says="still require gradients",
    ),
    Mistake(
        name="grad_set_to_none",
        hole="freeze",
        old="p.requires_grad = False",
        new="p.grad = None",
        says="still require gradients",
    ),
    Mistake(
        name="shared_encoder",
        hole="transfer",
        old="classifier.encoder.load_state_dict(autoencoder.encoder.state_dict())",
        new="classifier.encoder = autoencoder.encoder",
        says="SHARES its weights",
    ),
    Mistake(
        name="biases_forgotten",
        hole="transfer",
        old=None,
        new="""
        for p, q in zip(classifier.encoder.parameters(), autoencoder.encoder.parameters(), strict=True):
            if p.ndim == 2:
                p.data = q.data.copy()
        """,
        says="were not transferred",
    ),
    Mistake(
        name="half_precision_on_the_way",
        hole="transfer",
        old=None,
        new="""
        for p, q in zip(classifier.encoder.parameters(), autoencoder.encoder.parameters(), strict=True):
            p.data = q.data.astype("float16").astype("float32")
        """,
        says="equal to the last byte",
    ),
    Mistake(
        name="wrong_way",
        hole="transfer",
        old="classifier.encoder.load_state_dict(autoencoder.encoder.state_dict())",
        new="autoencoder.encoder.load_state_dict(classifier.encoder.state_dict())",
        says="INTO the classifier",
    ),
    Mistake(
        name="whole_autoencoder",
        hole="transfer",
        old="classifier.encoder.load_state_dict(autoencoder.encoder.state_dict())",
        new="classifier.load_state_dict(autoencoder.state_dict())",
        says="load_state_dict",
    ),
    Mistake(
        name="control_is_pretrained_too",
        hole="start",
        old='if kind != "random":',
        new="if True:",
        says="the control starts with the autoencoder's weights",
    ),
    Mistake(
        name="fine_tuned_is_frozen",
        hole="start",
        old='if kind == "frozen":',
        new='if kind != "random":',
        says="expected it to be trained",
    ),
    Mistake(
        name="frozen_not_told",
        hole="start",
        old="classifier.frozen = True",
        new="pass",
        says="train() needs to know",
    ),
    Mistake(
        name="autoencoder_frozen",
        hole="start",
        old="freeze(classifier.encoder)",
        new="freeze(autoencoder.encoder)",
        says="can be trained; expected it frozen",
    ),
    Mistake(
        name="whole_classifier_frozen",
        hole="start",
        old="freeze(classifier.encoder)",
        new="freeze(classifier)",
        says="the head must be trained",
    ),
    Mistake(
        name="misspelt_kind_accepted",
        hole="start",
        old="if kind not in KINDS:",
        new="if False:",
        says="must be refused",
    ),
    Mistake(
        name="frozen_without_transfer",
        hole="start",
        old='if kind != "random":',
        new='if kind == "fine-tuned":',
        says="frozen: the encoder is not the autoencoder's",
    ),
    Mistake(
        name="rate_stays",
        hole="fine_tune",
        old="recipe.lr * factor(step)",
        new="recipe.lr",
        says="the rate does not fall",
    ),
    Mistake(
        name="rate_multiplied_up",
        hole="fine_tune",
        old="recipe.lr * factor(step)",
        new="optimizer.lr * factor(step)",
        says="multiplied up",
    ),
    Mistake(
        name="rate_one_step_early",
        hole="fine_tune",
        old="factor(step)",
        new="factor(step + 1)",
        says="one step too early",
    ),
    Mistake(
        name="epochs_for_steps",
        hole="fine_tune",
        old="range(recipe.steps)",
        new="range(recipe.steps * 2)",
        says="one batch for each step",
    ),
    Mistake(
        name="left_in_training_mode",
        hole="fine_tune",
        old="classifier.eval()",
        new="pass",
        says="left in training mode",
    ),
    Mistake(
        name="never_in_training_mode",
        hole="fine_tune",
        old="classifier.train().parameters()",
        new="classifier.eval().parameters()",
        says="not in training mode",
    ),
    Mistake(
        name="batch_with_replacement",
        hole="fine_tune",
        old="rng.permutation(len(labels))[: recipe.batch_size]",
        new="rng.integers(len(labels), size=recipe.batch_size)",
        says="an image is twice in one batch",
    ),
    Mistake(
        name="same_batch_always",
        hole="fine_tune",
        old="rng.permutation(len(labels))[: recipe.batch_size]",
        new="np.arange(len(labels))[: recipe.batch_size]",
        says="the batches repeat",
    ),
    Mistake(
        name="whole_set_each_step",
        hole="fine_tune",
        old="[: recipe.batch_size]",
        new="[:]",
        says="expected batch_size = 5",
    ),
    Mistake(
        name="loss_made_larger",
        hole="fine_tune",
        old="loss = ops.mean(",
        new="loss = -ops.mean(",
        says="the loss is made LARGER",
    ),
    Mistake(
        name="head_only",
        hole="fine_tune",
        old="classifier.train().parameters()",
        new="classifier.train() and classifier.parameters()[-2:]",
        says="do not lead where they should",
    ),
    Mistake(
        name="softmax_before_the_loss",
        hole="fine_tune",
        old="ops.cross_entropy(classifier(images[i]), labels=labels[i])",
        new="ops.cross_entropy(ops.softmax(classifier(images[i]), axis=1), labels=labels[i])",
        says="do not lead where they should",
    ),
    Mistake(
        name="encoder_woken_up",
        hole="fine_tune",
        old="classifier.train().parameters(), cosine",
        new="(classifier.train(), classifier.encoder.train())[0].parameters(), cosine",
        says="the frozen encoder changed",
    ),
    Mistake(
        name="batches_of_another_generator",
        hole="fine_tune",
        old="rng.permutation(len(labels))",
        new="np.random.default_rng().permutation(len(labels))",
        says="the same seed trains another classifier",
    ),
    Mistake(
        name="accuracy",
        hole="error_rate",
        old="found != labels",
        new="found == labels",
        says="the per cent that are RIGHT",
    ),
    Mistake(
        name="share",
        hole="error_rate",
        old="100 * float",
        new="float",
        says="expected per cent",
    ),
    Mistake(
        name="measured_in_training_mode",
        hole="error_rate",
        old="classifier.eval()",
        new="pass",
        says="measured in training mode",
    ),
    Mistake(
        name="graph_recorded",
        hole="error_rate",
        old="with no_grad():",
        new="if True:",
        says="with no_grad()",
    ),
    Mistake(
        name="mean_of_the_blocks",
        hole="error_rate",
        old=None,
        new="""
        classifier.eval()
        shares = []
        with no_grad():
            for at in range(0, len(data.labels), block):
                z = classifier(xp.asarray(data.images)[at : at + block]).numpy()
                shares.append(np.mean(z.argmax(axis=1) != np.asarray(data.labels)[at : at + block]))
        return 100 * float(np.mean(shares))
        """,
        says="a mean of the blocks' means",
    ),
    Mistake(
        name="all_at_once",
        hole="error_rate",
        old="blocks = [images[at : at + block] for at in range(0, len(labels), block)]",
        new="blocks = [images]",
        says="images at once",
    ),
    Mistake(
        name="chosen_on_the_training_images",
        hole="choose_recipe",
        old="error_rate(classifier, validation)",
        new="error_rate(classifier, train)",
        says="on the TRAINING images",
    ),
    Mistake(
        name="trained_on_validation",
        hole="choose_recipe",
        old="fine_tune(classifier, train, recipe, rng)",
        new="fine_tune(classifier, validation, recipe, rng)",
        says="validation images",
    ),
    Mistake(
        name="largest_error",
        hole="choose_recipe",
        old="np.argmin(errors)",
        new="np.argmax(errors)",
        says="take the smallest error",
    ),
    Mistake(
        name="one_classifier_for_all",
        hole="choose_recipe",
        old=None,
        new="""
        errors, classifier = [], make()
        for recipe in recipes:
            fine_tune(classifier, train, recipe, rng)
            errors.append(error_rate(classifier, validation))
        return recipes[int(np.argmin(errors))]
        """,
        says="own",
    ),
    Mistake(
        name="index_of_the_recipe",
        hole="choose_recipe",
        old="recipes[int(np.argmin(errors))]",
        new="int(np.argmin(errors))",
        says="expected the Recipe itself",
    ),
    Mistake(
        name="spread_of_one_seed",
        hole="mean_and_error",
        old="np.std(values, ddof=1) / math.sqrt(len(values))",
        new="np.std(values, ddof=1)",
        says="of ONE seed",
    ),
    Mistake(
        name="ddof_zero",
        hole="mean_and_error",
        old="ddof=1",
        new="ddof=0",
        says="divided by n: n - 1",
    ),
    Mistake(
        name="divided_by_n",
        hole="mean_and_error",
        old="math.sqrt(len(values))",
        new="len(values)",
        says="expected sqrt(n)",
    ),
    Mistake(
        name="one_seed_without_error",
        hole="mean_and_error",
        old="len(values) < 2",
        new="not len(values)",
        says="how much luck there was",
    ),
    Mistake(
        name="variance_for_deviation",
        hole="mean_and_error",
        old="np.std(values, ddof=1)",
        new="np.var(values, ddof=1)",
        says="the variance was taken",
    ),
    Mistake(
        name="unpaired",
        hole="verdict",
        old="gain, error = mean_and_error(np.subtract(a, b))",
        new="(m, s), (n, t) = mean_and_error(a), mean_and_error(b)\n    gain, error = m - n, math.hypot(s, t)",
        says="two independent sets of seeds",
    ),
    Mistake(
        name="b_minus_a",
        hole="verdict",
        old="np.subtract(a, b)",
        new="np.subtract(b, a)",
        says="a minus b",
    ),
    Mistake(
        name="one_error_is_enough",
        hole="verdict",
        old='"lower" if gain > 2 * error',
        new='"lower" if gain > error',
        says="two standard errors are asked for",
    ),
    Mistake(
        name="never_higher",
        hole="verdict",
        old='"higher" if gain < -2 * error else "undecided"',
        new='"undecided"',
        says="expected 'higher'",
    ),
    Mistake(
        name="words_changed_places",
        hole="verdict",
        old='"lower" if gain > 2 * error else "higher" if',
        new='"higher" if gain > 2 * error else "lower" if',
        says="expected 'lower'",
    ),
    Mistake(
        name="encoder_awake_in_use",
        hole="Classifier.train",
        old=None,
        new="""
        super().train(mode)
        self.encoder.train(not self.frozen)
        return self
        """,
        says="only a frozen one stays",
    ),
    Mistake(
        name="head_of_its_own",
        hole="start",
        old="transfer(autoencoder, classifier)",
        new="transfer(autoencoder, classifier)\n        classifier.head = Dense(autoencoder.config.code, 10, rng=rng)",
        says="or luck is compared",
    ),
    Mistake(
        name="validation_and_training_errors_added",
        hole="choose_recipe",
        old="errors.append(error_rate(classifier, validation))",
        new="errors.append(error_rate(classifier, validation) + error_rate(classifier, train))",
        says="on the TRAINING images",
    ),
    Mistake(
        name="first_block_only",
        hole="error_rate",
        old="blocks = [images[at : at + block] for at in range(0, len(labels), block)]",
        new="blocks = [images[:block]]\n        labels = labels[:block]",
        says="images were measured",
    ),
    Mistake(
        name="any_gain_counts",
        hole="verdict",
        old='word = "lower" if gain > 2 * error else "higher" if gain < -2 * error else "undecided"',
        new='word = "lower" if gain > 0 else "higher"',
        says="two standard errors are asked for",
    ),
]

HINTS = {
    "hold_out": (
        "If each image is to be in exactly one part, how many times may you draw?",
        "order = rng.permutation(n) is all images in random order: a piece of it is a random choice.",
        "order = rng.permutation(n); return order[size:], order[:size]",
    ),
    "label_subset": (
        "Do one class first: where are its images, and how do you draw some of them without repetition?",
        "np.flatnonzero(labels == one) are the places; rng.choice(places, m, replace=False) draws m different ones. "
        "m = n // (number of classes).",
        "each = [rng.choice(np.flatnonzero(labels == one), n // len(kinds), replace=False) for one in kinds]; "
        "return rng.permutation(np.concatenate(each))",
    ),
    "Classifier.__call__": (
        "Image, row, code, logits: three calls, one inside the other.",
        "flatten(x) makes rows; self.encoder gives codes; self.head gives ten logits. No softmax: the loss has it.",
        "return self.head(self.encoder(flatten(x)))",
    ),
    "Classifier.train": (
        "Module.train(mode) switches every part. Which part must not follow, and when?",
        "Call super().train(mode) first, it switches the encoder too; then switch a frozen encoder back.",
        "super().train(mode); if self.frozen: self.encoder.eval(); return self",
    ),
    "freeze": (
        "Two things make a module change in training: gradients, and running statistics.",
        "Every tensor of module.parameters() has an attribute requires_grad. module.eval() stops the statistics.",
        "for p in module.parameters(): p.requires_grad = False; then module.eval()",
    ),
    "transfer": (
        "Modules can give their whole state as arrays, and take one over.",
        "state_dict() gives copies by name, load_state_dict() takes them. Between which two modules?",
        "classifier.encoder.load_state_dict(autoencoder.encoder.state_dict())",
    ),
    "start": (
        "All three begin as blank(autoencoder.config, rng). What is added to which?",
        "Transfer for two of three; freeze(classifier.encoder) and classifier.frozen = True for one. First refuse a "
        "kind that is not in KINDS.",
        "if kind not in KINDS: raise ValueError(...); c = blank(autoencoder.config, rng); if kind != 'random': "
        "transfer(autoencoder, c); if kind == 'frozen': freeze(c.encoder); c.frozen = True; return c",
    ),
    "fine_tune": (
        "The loop of lesson e03, with a rate that falls: batch, loss, gradient, step.",
        "params = classifier.train().parameters(); Adam(params, lr=recipe.lr); before each step set optimizer.lr to "
        "recipe.lr * cosine(recipe.steps)(step). A batch is the first batch_size of rng.permutation(n).",
        "i = rng.permutation(n)[: recipe.batch_size]; loss = ops.mean(ops.cross_entropy(classifier(images[i]), "
        "labels=labels[i])); optimizer.lr = ...; optimizer.step(grad(loss, params)); at the end classifier.eval()",
    ),
    "error_rate": (
        "Switch to use, record nothing, collect the answers of all blocks, then compare once.",
        "Under no_grad: classifier(images[at : at + block]).numpy().argmax(axis=1) for at in range(0, N, block).",
        "found = np.concatenate([...]); return 100 * float(np.mean(found != labels))",
    ),
    "choose_recipe": (
        "One classifier for each recipe. What is it trained on, and what judges it?",
        "Collect the error on validation of each recipe, after fine_tune on train; then the recipe at the smallest.",
        "for recipe in recipes: c = make(); fine_tune(c, train, recipe, rng); errors.append(error_rate(c, validation)) "
        "and return recipes[int(np.argmin(errors))]",
    ),
    "mean_and_error": (
        "The spread of single seeds, and the uncertainty of their mean: which of them shrinks with more seeds?",
        "np.std(values, ddof=1) is s; the standard error is s / sqrt(n). With n < 2 raise ValueError.",
        "if len(values) < 2: raise ValueError(...); return float(np.mean(values)), float(np.std(values, ddof=1) / "
        "math.sqrt(len(values)))",
    ),
    "verdict": (
        "Same seed, same labels: subtract first, average then.",
        "gain, error = mean_and_error(np.subtract(a, b)). Compare gain with 2 * error and with -2 * error.",
        "word = 'lower' if gain > 2 * error else 'higher' if gain < -2 * error else 'undecided'; return gain, error, "
        "word",
    ),
}
