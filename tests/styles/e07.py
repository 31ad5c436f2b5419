"""e07, the autoencoder: answers in other styles that must pass, and wrong ones that nobody planted."""

RIGHT = {
    "dense_stack": {
        "by_index": """
            parts = []
            for i in range(len(sizes) - 1):
                parts += [Dense(sizes[i], sizes[i + 1], rng=rng)] + ([] if linear or i == len(sizes) - 2 else [ELU()])
            return Sequential(*parts)
        """,
        "nested": """
            first = Dense(sizes[0], sizes[1], rng=rng)
            if len(sizes) == 2:
                return Sequential(first)
            rest = dense_stack(sizes[1:], linear=linear, rng=rng)
            return Sequential(first, rest) if linear else Sequential(first, ops.elu, rest)
        """,
        "he": """
            from minigen.nn import init
            layers = [Dense(a, b, init=init.he_normal, rng=rng) for a, b in zip(sizes, sizes[1:])]
            out = [layers[0]]
            for layer in layers[1:]:
                out.extend([layer] if linear else [ELU(), layer])
            return Sequential(*out)
        """,
    },
    "Autoencoder.encode": {
        "loop": """
            h = x.reshape(len(x), -1)
            for layer in self.encoder:
                h = layer(h)
            return h
        """,
        "ops": "return self.encoder(ops.reshape(Tensor(x), shape=(len(x), self.config.pixels)))",
    },
    "Autoencoder.decode": {
        "method": """
            if self.config.linear:
                return self.decoder(z)
            return self.decoder(z).sigmoid()
        """,
        "by_hand": """
            h = self.decoder(z)
            return h if self.config.linear else 0.5 * (ops.tanh(0.5 * h) + 1.0)
        """,
        "module": """
            from minigen.nn import Sigmoid
            return self.decoder(z) if self.config.linear else Sequential(self.decoder, Sigmoid())(z)
        """,
    },
    "reconstruction_loss": {
        "other_order": "return ops.mean(ops.sum(ops.squared_error(x_hat, x), axis=1))",
        "operators": "return ((x_hat - x) ** 2).sum() / len(x)",
        "matmul": """
            e = x - x_hat
            return (e * e).mean() * x.shape[1]
        """,
        "nn": """
            from minigen import nn
            return nn.squared_error(x_hat, x)
        """,
        "ops_square": "return ops.mean(ops.sum(ops.square(ops.sub(x_hat, x)), axis=-1))",
    },
    "Autoencoder.updates": {
        "list": "return [(self, reconstruction_loss(self(batch), flatten(batch)))]",
        "spelled": """
            x = flatten(batch)
            z = self.encode(batch)
            loss = reconstruction_loss(self.decode(z), x)
            yield (self, loss)
        """,
        "tensor": """
            x = Tensor(flatten(batch))
            yield self, ops.sum((self.reconstruct(x) - x) ** 2) * (1.0 / len(batch))
        """,
    },
    "pca_fit": {
        "svd": """
            x = images.reshape(len(images), -1)
            mean = x.mean(axis=0)
            u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
            return mean, vt[:k]
        """,
        "eigh": """
            x = flatten(images).astype(np.float64)
            mean = np.einsum("nd->d", x) / len(x)
            values, vectors = np.linalg.eigh(np.einsum("ni,nj->ij", x - mean, x - mean))
            return mean, vectors.T[np.argsort(-values)][:k]
        """,
        "signs": """
            x = flatten(images).astype(np.float64)
            mean = x.sum(0) / x.shape[0]
            vt = np.linalg.svd((x - mean).T @ (x - mean) / len(x))[2]
            return [mean, -vt[:k]]
        """,
        "in_place_on_a_copy": """
            x = flatten(images).copy()
            mean = x.mean(0, keepdims=True)
            x -= mean
            return mean[0], np.linalg.svd(x, full_matrices=False)[2][:k, :]
        """,
    },
    "pca_reconstruct": {
        "einsum": """
            x = images.reshape(len(images), -1) - mean
            return np.einsum("nd,kd,ke->ne", x, components, components) + mean
        """,
        "lstsq": """
            x = flatten(images) - mean
            codes = np.linalg.lstsq(components.T, x.T, rcond=None)[0]
            return (components.T @ codes).T + mean
        """,
        "projector": "return (flatten(images) - mean) @ (components.T @ components) + mean",
    },
    "interpolate": {
        "loop": """
            with no_grad():
                za, zb = model.encode(a[None]), model.encode(b[None])
                rows = [model.decode(za + i / (steps - 1) * (zb - za)).numpy()[0] for i in range(steps)]
            return np.stack(rows)
        """,
        "float64": """
            za = model.encode(a.reshape(1, -1)).detach().numpy().astype(np.float64)
            zb = model.encode(b.reshape(1, -1)).detach().numpy().astype(np.float64)
            z = np.concatenate([za + t * (zb - za) for t in np.linspace(0.0, 1.0, steps)])
            return model.decode(z.astype(np.float32)).detach().numpy()
        """,
        "outer": """
            with no_grad():
                za, zb = model.encode(np.stack([a, b])).numpy()
                t = np.arange(steps) / (steps - 1)
                return model.decode((np.outer(1 - t, za) + np.outer(t, zb)).astype(np.float32)).numpy()
        """,
    },
    "bottleneck_sweep": {
        "comprehension": """
            def both(k):
                x = flatten(test)
                m = fit(k)
                ours = np.square(m(test).detach().numpy() - x).sum(1).mean()
                return k, ours, np.square(pca_reconstruct(test, *pca_fit(train, k)) - x).sum(axis=1).mean()
            return [both(k) for k in sizes]
        """,
        "evaluate": """
            mean, components = pca_fit(train, max(sizes))
            rows = []
            for k in sizes:
                error = fit(k).evaluate(test, np.random.default_rng(0))["squared_error"]
                e = pca_reconstruct(test, mean, components[:k]) - flatten(test)
                rows.append([k, error, float((e * e).sum() / len(test))])
            return rows
        """,
    },
    "noise_test": {
        "normal": """
            z = rng.normal(size=(n, model.config.code)).astype("float32")
            decoded = model.decode(z).detach().numpy()
            again = model.reconstruct(test).detach().numpy()
            return dict(noise=nearest_distance(decoded, train).mean(), data=nearest_distance(test, train).mean(),
                        reconstructed=nearest_distance(again, train).mean())
        """,
        "in_parts": """
            found = []
            with no_grad():
                for _ in range(n):
                    z = rng.standard_normal((1, model.config.code), dtype=np.float32)
                    found.append(nearest_distance(model.decode(Tensor(z)).numpy(), train)[0])
                seen = model(test).numpy()
            return {"noise": float(np.mean(found)), "data": float(nearest_distance(test, train).mean()),
                    "reconstructed": float(nearest_distance(seen, train).mean())}
        """,
    },
}

WRONG = {
    "dense_stack": {
        "relu": ("layers.append(ELU())", "layers.append(ops.relu)"),
        "alpha": ("layers.append(ELU())", "layers.append(ELU(0.5))"),
        "no_bias": ("Dense(n_in, n_out, rng=rng)", "Dense(n_in, n_out, bias=False, rng=rng)"),
        "skips_last": ("pairwise(sizes)", "pairwise(sizes[:-1])"),
        "shared_seed": ("Dense(n_in, n_out, rng=rng)", "Dense(n_in, n_out, rng=np.random.default_rng(9))"),
        "elu_first": ("if layers and not linear:", "if not linear:"),
        "one_elu": ("if layers and not linear:", "if len(layers) == 1 and not linear:"),
        "zero_init": (
            "Dense(n_in, n_out, rng=rng)",
            "Dense(n_in, n_out, init=lambda shape, rng: np.zeros(shape, np.float32), rng=rng)",
        ),
    },
    "Autoencoder.encode": {
        "centred": ("flatten(x)", "(flatten(x) - 0.5)"),
        "batch_norm": ("flatten(x)", "(flatten(x) - flatten(x).mean(0))"),
        "columns": ("flatten(x)", "flatten(x if x.ndim == 2 else x.transpose(0, 2, 1))"),
        "normed": ("self.encoder(flatten(x))", "ops.softmax(self.encoder(flatten(x)))"),
        "elu_code": ("self.encoder(flatten(x))", "ops.elu(self.encoder(flatten(x)))"),
        "through_decoder": ("self.encoder(flatten(x))", "self.encoder(self.decoder(self.encoder(flatten(x))))"),
        "scaled_code": ("self.encoder(flatten(x))", "self.encoder(flatten(x)) * 0.5"),
        "clipped": ("flatten(x)", "(flatten(x) > 0.5).astype('float32') if not isinstance(x, Tensor) else flatten(x)"),
        "first_layer_only": ("self.encoder(flatten(x))", "self.encoder[:-1](flatten(x))"),
    },
    "Autoencoder.decode": {
        "clipped": ("ops.sigmoid(x_hat)", "ops.clip(x_hat, low=0.0, high=1.0)"),
        "softmax": ("ops.sigmoid(x_hat)", "ops.softmax(x_hat)"),
        "twice": ("ops.sigmoid(x_hat)", "ops.sigmoid(ops.sigmoid(x_hat))"),
        "bytes": ("ops.sigmoid(x_hat)", "255 * ops.sigmoid(x_hat)"),
        "negated": ("ops.sigmoid(x_hat)", "ops.sigmoid(-x_hat)"),
        "overflow": ("ops.sigmoid(x_hat)", "ops.exp(x_hat) / (1 + ops.exp(x_hat))"),
        "inverted_flag": ("if self.config.linear", "if not self.config.linear"),
        "detached": ("ops.sigmoid(x_hat)", "ops.sigmoid(x_hat.detach())"),
        "sharper": ("ops.sigmoid(x_hat)", "ops.sigmoid(1.1 * x_hat)"),
    },
    "reconstruction_loss": {
        "half": ("(1.0 / x.shape[0])", "(0.5 / x.shape[0])"),
        "both_means": ("(1.0 / x.shape[0])", "(1.0 / x.shape[0] / x.shape[1])"),
        "by_pixels": ("(1.0 / x.shape[0])", "(1.0 / x.shape[1])"),
        "fixed_batch": ("(1.0 / x.shape[0])", "(1.0 / 100)"),
        "bessel": ("(1.0 / x.shape[0])", "(1.0 / max(x.shape[0] - 1, 1))"),
        "one_image": ("ops.squared_error(x_hat, x)", "ops.squared_error(x_hat, x)[:1]"),
        "quartic": ("ops.squared_error(x_hat, x)", "ops.square(ops.squared_error(x_hat, x))"),
        "no_gradient": ("ops.squared_error(x_hat, x)", "ops.squared_error(getattr(x_hat, '_data', x_hat), Tensor(x))"),
        "huber": (
            "ops.squared_error(x_hat, x)",
            "ops.minimum(ops.squared_error(x_hat, x), ops.abs(ops.sub(x_hat, x)))",
        ),
        "per_image": ("ops.sum(ops.squared_error(x_hat, x))", "ops.sum(ops.squared_error(x_hat, x), axis=1)"),
        "clipped": ("ops.squared_error(x_hat, x)", "ops.squared_error(ops.clip(x_hat, low=0.0, high=1.0), x)"),
    },
    "Autoencoder.updates": {
        "twice": ("yield self, reconstruction", "for _ in range(2):\n            yield self, reconstruction"),
        "encoder_only": ("yield self,", "yield self.encoder,"),
        "item": ("flatten(batch))", "flatten(batch)).item()"),
        "returns": ("yield self,", "return self,"),
        "neighbour": ("self.reconstruct(batch), flatten(batch)", "self.reconstruct(batch), flatten(batch[::-1])"),
        "denoising": ("self.reconstruct(batch)", "self.reconstruct(batch + 0.3 * rng.random(batch.shape, 'float32'))"),
        "half_batch": (
            "self.reconstruct(batch), flatten(batch)",
            "self.reconstruct(batch[::2]), flatten(batch[::2])",
        ),
        "binarized": (", flatten(batch))", ", (flatten(batch) > 0.5).astype('float32'))"),
        "decay": ("flatten(batch))", "flatten(batch)) + 1e-2 * ops.sum(self.parameters()[0] ** 2)"),
        "steps_itself": """
            loss = reconstruction_loss(self.reconstruct(batch), flatten(batch))
            for p in self.parameters():
                p.data = p.numpy() * 0.999
            yield self, loss
        """,
        "nothing": ("yield self,", "yield from ()\n        _ = self,"),
    },
    "pca_fit": {
        "standardised": ("x -= mean", "x -= mean\n    x /= x.std(axis=0)"),
        "skips_first": ("directions[:k]", "directions[1 : k + 1]"),
        "one_less": ("directions[:k]", "directions[: k - 1]"),
        "in_place": ("flatten(images).astype(np.float64)", "flatten(images)"),
        "zero_mean": ("return mean, ", "return 0 * mean, "),
        "scalar_mean": ("x.mean(axis=0)", "x.mean()"),
        "median": ("x.mean(axis=0)", "np.median(x, axis=0)"),
        "reversed": ("directions[:k]", "directions[:k][::-1]"),
        "half_images": ("flatten(images)", "flatten(images[: len(images) // 2])"),
        "columns": ("np.linalg.svd(x.T @ x)", "(0, 0, np.linalg.svd(x.T @ x)[2].T)"),
        "random": ("directions[:k]", "np.linalg.qr(np.random.default_rng(0).normal(size=(x.shape[1], k)))[0].T"),
    },
    "pca_reconstruct": {
        "mean_twice": ("mean + codes", "2 * mean + codes"),
        "not_subtracted": ("(flatten(images) - mean)", "flatten(images)"),
        "residual": ("mean + codes @ components", "flatten(images) - codes @ components"),
        "one_component": ("codes @ components", "codes[:, :1] @ components[:1]"),
        "whitened": ("@ components.T  #", "@ components.T / (flatten(images) @ components.T).std(0)  #"),
        "identity": ("return mean + codes @ components", "return flatten(images) + 0 * codes @ components"),
        "scalar": ("return mean +", "return mean.mean() +"),
    },
    "interpolate": {
        "extrapolates": ("xp.linspace(0, 1, steps)", "xp.linspace(0, 2, steps)"),
        "inner": ("xp.linspace(0, 1, steps)", "xp.linspace(0, 1, steps + 2)[1:-1]"),
        "one_more": ("xp.linspace(0, 1, steps)", "xp.linspace(0, 1, steps + 1)"),
        "squared": ("z[0] * (1 - t) + z[1] * t", "z[0] * (1 - t * t) + z[1] * t * t"),
        "cosine": ("xp.linspace(0, 1, steps)", "(0.5 - 0.5 * xp.cos(np.pi * xp.linspace(0, 1, steps)))"),
        "only_a": ("z[1] * t", "z[0] * t"),
        "sum": ("z[0] * (1 - t) + z[1] * t", "z[0] + z[1] * t"),
        "outputs": (
            "model.decode(z[0] * (1 - t) + z[1] * t)",
            "(model.decode(z)[0] * (1 - t) + model.decode(z)[1] * t)",
        ),
        "sphere": ("z[0] * (1 - t) + z[1] * t", "z[0] * xp.cos(np.pi / 2 * t) + z[1] * xp.sin(np.pi / 2 * t)"),
        "jump": ("xp.linspace(0, 1, steps)", "xp.round(xp.linspace(0, 1, steps))"),
    },
    "bottleneck_sweep": {
        "sorted": ("for k in sizes:", "for k in sorted(sizes):"),
        "pca_on_train": ("pca = reconstruction_loss(", "pca = 0.9 * reconstruction_loss("),
        "off_by_one": ("pca_fit(train, k)", "pca_fit(train, k + 1)"),
        "swapped": ("float(ours), float(pca)", "float(pca), float(ours)"),
        "all_data": ("pca_fit(train, k)", "pca_fit(np.concatenate([train, test]), k)"),
        "last_only": ("return rows", "return rows[-1:]"),
        "per_pixel": ("float(ours)", "float(ours) / 12"),
        "ratio": ("float(pca)))", "float(pca) / float(ours)))"),
        "fits_twice": ("model = fit(k)", "fit(k)\n        model = fit(k)"),
        "first_image": ("model.reconstruct(test), flatten(test)", "model.reconstruct(test[:1]), flatten(test[:1])"),
    },
    "noise_test": {
        "small": ("rng.standard_normal((n, model.config.code))", "0.9 * rng.standard_normal((n, model.config.code))"),
        "global": ("rng.standard_normal((n, ", "np.random.default_rng(0).standard_normal((n, "),
        "test_count": ("(n, model.config.code)", "(len(test), model.config.code)"),
        "roots": ("nearest_distance(images, train).mean()", "np.sqrt(nearest_distance(images, train)).mean()"),
        "minimum": ("nearest_distance(images, train).mean()", "nearest_distance(images, train).min()"),
        "reverse": ("nearest_distance(images, train)", "nearest_distance(train, images)"),
        "reconstruction_error": (
            "return {kind",
            "kinds['reconstructed'] = train\n    return {kind",
        ),
        "noise_and_image": ("model.decode(z).numpy()", "model.decode(z * 0 + model.encode(test[:1])).numpy()"),
        "one_code": (
            "rng.standard_normal((n, model.config.code))",
            "np.repeat(rng.standard_normal((1, model.config.code)), n, axis=0)",
        ),
        "redecoded": ("model.decode(z).numpy()", "model.reconstruct(model.decode(z)).numpy()"),
        "sum": ("nearest_distance(images, train).mean()", "nearest_distance(images, train).sum()"),
        "uniform": ("rng.standard_normal((n, model.config.code))", "rng.uniform(-1.6, 1.6, (n, model.config.code))"),
    },
}  # fmt: skip
