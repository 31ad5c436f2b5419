"""Typical wrong versions of e07's holes, each with what its checks must say of it; and the hints."""

from minigen.course import Mistake

MISTAKES = [
    Mistake(
        name="activation_on_the_code",
        hole="dense_stack",
        old=None,
        new="""
        layers: list[Module] = []
        for n_in, n_out in pairwise(sizes):
            layers.append(Dense(n_in, n_out, rng=rng))
            if not linear:
                layers.append(ELU())
        return Sequential(*layers)
        """,
        says="ELU after the last layer",
    ),
    Mistake(
        name="no_activation_at_all",
        hole="dense_stack",
        old="if layers and not linear:",
        new="if layers and linear:",
        says="no ELU between the layers",
    ),
    Mistake(
        name="linear_flag_forgotten",
        hole="dense_stack",
        old="if layers and not linear:",
        new="if layers:",
        says="leave the ELU out",
    ),
    Mistake(
        name="last_layer_popped_with_the_elu",
        hole="dense_stack",
        old=None,
        new="""
        layers: list[Module] = []
        for n_in, n_out in pairwise(sizes):
            layers.append(Dense(n_in, n_out, rng=rng))
            if not linear:
                layers.append(ELU())
        return Sequential(*layers[:-1])
        """,
        says="linear=True) has parameters of shapes",
    ),
    Mistake(
        name="own_generator",
        hole="dense_stack",
        old="Dense(n_in, n_out, rng=rng)",
        new="Dense(n_in, n_out, rng=np.random.default_rng(0))",
        says="pass rng on to Dense",
    ),
    Mistake(
        name="sigmoid_on_the_code",
        hole="Autoencoder.encode",
        old="self.encoder(flatten(x))",
        new="ops.sigmoid(self.encoder(flatten(x)))",
        says="a code may be any number",
    ),
    Mistake(
        name="pixels_of_different_images_mixed",
        hole="Autoencoder.encode",
        old="flatten(x)",
        new="x.reshape(self.config.pixels, -1).T",
        says="pixels of different images are mixed",
    ),
    Mistake(
        name="scaled_twice",
        hole="Autoencoder.encode",
        old="flatten(x)",
        new="flatten(x) / 255",
        says="divided by 255 (again)",
    ),
    Mistake(
        name="detached_code",
        hole="Autoencoder.encode",
        old="self.encoder(flatten(x))",
        new="self.encoder(flatten(x)).detach()",
        says="cut off from the graph",
    ),
    Mistake(
        name="no_sigmoid",
        hole="Autoencoder.decode",
        old="x_hat if self.config.linear else ops.sigmoid(x_hat)",
        new="x_hat",
        says="not squashed",
    ),
    Mistake(
        name="tanh_against_pixels_in_0_1",
        hole="Autoencoder.decode",
        old="ops.sigmoid(x_hat)",
        new="ops.tanh(x_hat)",
        says="a tanh gives pixels in (-1, 1)",
    ),
    Mistake(
        name="sigmoid_in_the_linear_one_too",
        hole="Autoencoder.decode",
        old="x_hat if self.config.linear else ops.sigmoid(x_hat)",
        new="ops.sigmoid(x_hat)",
        says="a sigmoid, which is not linear",
    ),
    Mistake(
        name="overflowing_exp",
        hole="Autoencoder.decode",
        old="ops.sigmoid(x_hat)",
        new="1.0 / (1.0 + ops.exp(-x_hat))",
        says="exp overflows on the way",
    ),
    Mistake(
        name="tied_weights",
        hole="Autoencoder.decode",
        old=None,
        new="""
        weights = [p for p in self.encoder.parameters() if p.ndim == 2][::-1]
        biases = [p for p in self.decoder.parameters() if p.ndim == 1]
        h = z
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            h = h @ W.T + b
            if i + 1 < len(weights) and not self.config.linear:
                h = ops.elu(h)
        return h if self.config.linear else ops.sigmoid(h)
        """,
        says="tied weights are another model",
    ),
    Mistake(
        name="mean_over_pixels",
        hole="reconstruction_loss",
        old="ops.sum(ops.squared_error(x_hat, x)) * (1.0 / x.shape[0])",
        new="ops.mean(ops.squared_error(x_hat, x))",
        says="sum over pixels, average over images",
    ),
    Mistake(
        name="sum_over_the_batch",
        hole="reconstruction_loss",
        old=" * (1.0 / x.shape[0])",
        new="",
        says="average over the images, or the step size depends on the batch",
    ),
    Mistake(
        name="root_of_the_error",
        hole="reconstruction_loss",
        old="return ops.sum(ops.squared_error(x_hat, x)) * (1.0 / x.shape[0])",
        new="return ops.mean(ops.sqrt(ops.sum(ops.squared_error(x_hat, x), axis=1)))",
        says="a square root was taken of each image's error",
    ),
    Mistake(
        name="absolute_error",
        hole="reconstruction_loss",
        old="ops.squared_error(x_hat, x)",
        new="ops.abs(ops.sub(x_hat, x))",
        says="it is the absolute error",
    ),
    Mistake(
        name="target_in_another_range",
        hole="Autoencoder.updates",
        old="flatten(batch))",
        new="255 * flatten(batch))",
        says="both must be in the same range",
    ),
    Mistake(
        name="pair_the_wrong_way_round",
        hole="Autoencoder.updates",
        old="yield self, reconstruction_loss(self.reconstruct(batch), flatten(batch))",
        new="yield reconstruction_loss(self.reconstruct(batch), flatten(batch)), self",
        says="the pair is the wrong way round",
    ),
    Mistake(
        name="frozen_encoder",
        hole="Autoencoder.updates",
        old="self.reconstruct(batch)",
        new="self.decode(self.encode(batch).detach())",
        says="the encoder would never learn",
    ),
    Mistake(
        name="bottleneck_bypassed",
        hole="Autoencoder.updates",
        old="self.reconstruct(batch)",
        new="self.reconstruct(batch) + flatten(batch)",
        says="the bottleneck is bypassed",
    ),
    Mistake(
        name="not_centred",
        hole="pca_fit",
        old="x -= mean",
        new="pass",
        says="not centred before the decomposition",
    ),
    Mistake(
        name="components_as_columns",
        hole="pca_fit",
        old="directions[:k]",
        new="directions[:k].T",
        says="transposed",
    ),
    Mistake(
        name="least_variance",
        hole="pca_fit",
        old="directions[:k]",
        new="directions[-k:]",
        says="directions of least variance",
    ),
    Mistake(
        name="left_singular_vectors",
        hole="pca_fit",
        old=None,
        new="""
        x = flatten(images).astype(np.float64)
        mean = x.mean(axis=0)
        _, values, directions = np.linalg.svd(x - mean, full_matrices=False)
        return mean, values[:k, None] * directions[:k]
        """,
        says="expected 1: take the singular vectors as they are",
    ),
    Mistake(
        name="one_code_for_each_image",
        hole="pca_fit",
        old="np.linalg.svd(x.T @ x)",
        new="np.linalg.svd(x @ x.T)",
        says="those are left singular vectors",
    ),
    Mistake(
        name="rows_of_eigh",
        hole="pca_fit",
        old="_, _, directions = np.linalg.svd(x.T @ x)",
        new="directions = np.linalg.eigh(x.T @ x)[1][:, ::-1]",
        says="transpose it before you take k of them",
    ),
    Mistake(
        name="brightness_of_each_image",
        hole="pca_fit",
        old="x -= mean\n",
        new="x -= x.mean(axis=1, keepdims=True)\n",
        says="its own brightness",
    ),
    Mistake(
        name="mean_not_added_back",
        hole="pca_reconstruct",
        old="mean + codes @ components",
        new="codes @ components",
        says="the mean is not added back",
    ),
    Mistake(
        name="mean_of_the_images_themselves",
        hole="pca_reconstruct",
        old="codes = (flatten(images) - mean) @ components.T",
        new="mean = flatten(images).mean(axis=0)\n    codes = (flatten(images) - mean) @ components.T",
        says="use the mean that was given",
    ),
    Mistake(
        name="codes_instead_of_images",
        hole="pca_reconstruct",
        old="mean + codes @ components",
        new="codes",
        says="these are the codes, not images",
    ),
    Mistake(
        name="pixels_interpolated",
        hole="interpolate",
        old=None,
        new="""
        t = np.linspace(0, 1, steps)[:, None]
        return (1 - t) * a.reshape(1, -1) + t * b.reshape(1, -1)
        """,
        says="the pixels are interpolated, not the codes",
    ),
    Mistake(
        name="single_images",
        hole="interpolate",
        old="z = model.encode(xp.stack([xp.asarray(a), xp.asarray(b)]))",
        new="z = [model.encode(a), model.encode(b)]",
        says="stack the two, or a[None]",
    ),
    Mistake(
        name="mixed_images_encoded",
        hole="interpolate",
        old=None,
        new="""
        t = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        with no_grad():
            return model.reconstruct((1 - t) * a.reshape(1, -1) + t * b.reshape(1, -1)).numpy()
        """,
        says="the mixed images are encoded",
    ),
    Mistake(
        name="one_end_missing",
        hole="interpolate",
        old="xp.linspace(0, 1, steps)",
        new="xp.linspace(0, 1, steps, endpoint=False)",
        says="endpoint=False",
    ),
    Mistake(
        name="backwards",
        hole="interpolate",
        old="z[0] * (1 - t) + z[1] * t",
        new="z[1] * (1 - t) + z[0] * t",
        says="the walk goes from b to a",
    ),
    Mistake(
        name="pca_of_the_test_set",
        hole="bottleneck_sweep",
        old="pca_fit(train, k)",
        new="pca_fit(test, k)",
        says="PCA was fitted on the test set",
    ),
    Mistake(
        name="pca_at_another_size",
        hole="bottleneck_sweep",
        old="pca_fit(train, k)",
        new="pca_fit(train, max(sizes))",
        says="compare at the same code size",
    ),
    Mistake(
        name="training_error",
        hole="bottleneck_sweep",
        old="reconstruction_loss(model.reconstruct(test), flatten(test))",
        new="reconstruction_loss(model.reconstruct(train), flatten(train))",
        says="on the images it was trained on",
    ),
    Mistake(
        name="one_model_for_all_sizes",
        hole="bottleneck_sweep",
        old="rows = []\n    for k in sizes:\n        model = fit(k)",
        new="rows, model = [], fit(max(sizes))\n    for k in sizes:",
        says="each needs a model of its own",
    ),
    Mistake(
        name="codes_of_training_images",
        hole="noise_test",
        old="rng.standard_normal((n, model.config.code)).astype(np.float32)",
        new="model.encode(train[rng.integers(len(train), size=n)]).numpy()",
        says="draw them from N(0, I)",
    ),
    Mistake(
        name="uniform_noise",
        hole="noise_test",
        old="rng.standard_normal((n, model.config.code))",
        new="rng.random((n, model.config.code))",
        says="one standard normal number for each entry",
    ),
    Mistake(
        name="noise_in_pixels",
        hole="noise_test",
        old="model.decode(z).numpy()",
        new="rng.standard_normal((n, model.config.pixels))",
        says="are the noise codes decoded",
    ),
    Mistake(
        name="distance_to_the_test_set",
        hole="noise_test",
        old="nearest_distance(images, train)",
        new="nearest_distance(images, test)",
        says="images are compared with themselves",
    ),
]

HINTS = {
    "dense_stack": (
        "Count: four sizes, three Dense layers, two ELUs. What stands after the last Dense?",
        "Walk over neighbouring sizes with itertools.pairwise. Put an ELU *before* every Dense but the first, and "
        "none at all if linear.",
        "for n_in, n_out in pairwise(sizes): if layers and not linear: layers.append(ELU()); then "
        "layers.append(Dense(n_in, n_out, rng=rng)). At the end Sequential(*layers).",
    ),
    "Autoencoder.encode": (
        "The encoder wants rows. What shape do the images come in?",
        "flatten(x) makes (N, H, W) into (N, H * W). Nothing else happens to the pixels or to the codes.",
        "return self.encoder(flatten(x))",
    ),
    "Autoencoder.decode": (
        "In which range lie the pixels that the output is compared with? And what of the linear autoencoder?",
        "The decoder gives any number; ops.sigmoid brings it into (0, 1). With config.linear, leave it as it comes.",
        "x_hat = self.decoder(z); return x_hat if self.config.linear else ops.sigmoid(x_hat)",
    ),
    "reconstruction_loss": (
        "Two reductions, two different words: one for the pixels, one for the images.",
        "ops.squared_error(x_hat, x) has the shape of the images. Sum it all, then divide by the number of images.",
        "ops.sum(ops.squared_error(x_hat, x)) * (1.0 / x.shape[0])",
    ),
    "Autoencoder.updates": (
        "It is a generator: it says which module is to be stepped and what is to be made small. One pair.",
        "yield self, loss: the loss of the batch's own reconstructions against the batch, both as rows.",
        "yield self, reconstruction_loss(self.reconstruct(batch), flatten(batch))",
    ),
    "pca_fit": (
        "PCA looks at how images differ from the average image. What must happen before the SVD?",
        "Subtract the mean over the images (axis 0) from a copy. In U, S, V^T of what is left, the rows of V^T are the "
        "directions, the largest singular value first.",
        "x = flatten(images).astype(np.float64); mean = x.mean(axis=0); Vt = np.linalg.svd(x - mean, "
        "full_matrices=False)[2]; return mean, Vt[:k]",
    ),
    "pca_reconstruct": (
        "Into k coordinates and back: two matrix products, and the mean twice.",
        "codes = (x - mean) @ components.T is (N, k). The way back uses components itself, and the mean returns.",
        "mean + ((flatten(images) - mean) @ components.T) @ components",
    ),
    "interpolate": (
        "Which two things are mixed: the images, or what the encoder makes of them?",
        "Encode both images in one batch of two. t runs from 0 to 1 in `steps` values, both ends included. A column of "
        "t times a row of codes gives all points of the line at once.",
        "z = model.encode(xp.stack([a, b])); t = xp.linspace(0, 1, steps)[:, None]; "
        "model.decode(z[0] * (1 - t) + z[1] * t).numpy(), all under no_grad().",
    ),
    "bottleneck_sweep": (
        "Fair play: same code size, same training images, same test images, same measure.",
        "For each k: model = fit(k), then reconstruction_loss on the test images; pca_fit(train, k), then "
        "reconstruction_loss of its reconstructions of the test images.",
        "rows.append((k, float(reconstruction_loss(model.reconstruct(test), flatten(test))), "
        "float(reconstruction_loss(pca_reconstruct(test, *pca_fit(train, k)), flatten(test)))))",
    ),
    "noise_test": (
        "Three sets of images, one ruler: nearest_distance to the training images, averaged.",
        "Draw rng.standard_normal((n, model.config.code)) as float32, decode it; the other two sets are the test "
        "images and their reconstructions.",
        "z = Tensor(rng.standard_normal((n, model.config.code)).astype(np.float32)); for each of test, "
        "model.reconstruct(test).numpy(), model.decode(z).numpy(): float(nearest_distance(images, train).mean())",
    ),
}
