"""e05, convolutions and batch norm: answers in other styles that must pass, and wrong ones that nobody planted."""

RIGHT = {
    "output_size": {
        "loop": """
            sizes = []
            for i in (0, 1):
                room = pair(size)[i] + 2 * pair(padding)[i] - ((pair(kernel)[i] - 1) * pair(dilation)[i] + 1)
                sizes.append(math.floor(room / pair(stride)[i] + 1))
            return sizes[0], sizes[1]
        """,
        "arrays": """
            n, k, s, p, d = (np.array(pair(one)) for one in (size, kernel, stride, padding, dilation))
            return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1)
        """,
        "ranges": """
            def places_in(n, k, s, p, d):
                return len(range(0, n + 2 * p - d * (k - 1), s))
            return [places_in(*one) for one in zip(*map(pair, (size, kernel, stride, padding, dilation)))]
        """,
    },
    "transposed_size": {
        "arrays": """
            n, k, s, p, d, e = (np.array(pair(v)) for v in (size, kernel, stride, padding, dilation, output_padding))
            return tuple((s * (n - 1) + 1 + d * (k - 1) + e - p - p).tolist())
        """,
    },
    "places": {
        "by_direction": """
            (d, e), (s, t) = pair(dilation), pair(stride)
            rows = slice(tap[0] * d, tap[0] * d + size[0] * s - (s - 1), s)
            return [rows, slice(tap[1] * e, tap[1] * e + size[1] * t - t + 1, t)]
        """,
        "until_the_next": "return tuple(slice(a * d, a * d + n * s - s + 1, s) for a, n, s, d in "
        "zip(tap, size, pair(stride), pair(dilation)))",
    },
    "unfold": {
        "by_window": """
            padded = np.full((n, c, x.shape[2] + 2 * ph, x.shape[3] + 2 * pw), fill, x.dtype)
            padded[:, :, ph : ph + x.shape[2], pw : pw + x.shape[3]] = x
            (sh, sw), (dh, dw), (kh, kw) = pair(stride), pair(dilation), pair(kernel)
            windows = []
            for i in range(h):
                for j in range(w):
                    top, left = i * sh, j * sw
                    seen = padded[:, :, top : top + dh * (kh - 1) + 1 : dh, left : left + dw * (kw - 1) + 1 : dw]
                    windows.append(seen.reshape(n, -1))
            return np.stack(windows, axis=2)
        """,
        "sliding_view": """
            (sh, sw), (dh, dw), (kh, kw) = pair(stride), pair(dilation), pair(kernel)
            padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
            view = np.lib.stride_tricks.sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), (2, 3))
            view = view[:, :, ::sh, ::sw, ::dh, ::dw]  # (N, C, H', W', kh, kw)
            return view.transpose(0, 1, 4, 5, 2, 3).reshape(n, -1, h * w)
        """,
        "by_index": """
            (sh, sw), (dh, dw), (kh, kw) = pair(stride), pair(dilation), pair(kernel)
            padded = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
            rows = np.add.outer(np.repeat(np.arange(kh), kw) * dh, np.repeat(np.arange(h), w) * sh)
            columns = np.add.outer(np.tile(np.arange(kw), kh) * dw, np.tile(np.arange(w), h) * sw)
            return padded[:, :, rows, columns].reshape(n, c * kh * kw, -1)
        """,
    },
    "fold": {
        "add_at": """
            (sh, sw), (dh, dw), (kh, kw) = pair(stride), pair(dilation), pair(kernel)
            rows = np.add.outer(np.repeat(np.arange(kh), kw) * dh, np.repeat(np.arange(h), w) * sh)
            columns = np.add.outer(np.tile(np.arange(kw), kh) * dw, np.tile(np.arange(w), h) * sw)
            y = np.zeros((n, c, size[0] + 2 * ph, size[1] + 2 * pw), x.dtype)
            np.add.at(y, (slice(None), slice(None), rows, columns), x.reshape(n, c, kh * kw, h * w))
            return y[:, :, ph : y.shape[2] - ph, pw : y.shape[3] - pw]
        """,
        "by_window": """
            (sh, sw), (dh, dw), (kh, kw) = pair(stride), pair(dilation), pair(kernel)
            y = np.zeros((n, c, size[0] + 2 * ph, size[1] + 2 * pw), x.dtype)
            for l in range(h * w):
                top, left = l // w * sh, l % w * sw
                window = x[:, :, l].reshape(n, c, kh, kw)
                y[:, :, top : top + dh * (kh - 1) + 1 : dh, left : left + dw * (kw - 1) + 1 : dw] += window
            return y[:, :, ph : ph + size[0], pw : pw + size[1]].copy()
        """,
    },
    "conv2d": {
        "einsum": """
            columns = unfold(x, kernel=w.shape[2:], **options)
            columns = columns.reshape(len(x), w.shape[1], *w.shape[2:], *size)
            y = np.einsum("ncabij,fcab->nfij", columns, w)
            return y if b is None else y + b.reshape(-1, 1, 1)
        """,
        "tap_by_tap": """
            ph, pw = pair(padding)
            padded = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
            y = np.zeros((len(x), len(w), *size), x.dtype)
            for a, c in taps_of(w.shape[2:]):
                rows, columns = places((a, c), size, stride=stride, dilation=dilation)
                y += np.einsum("ncij,fc->nfij", padded[:, :, rows, columns], w[:, :, a, c])
            if b is not None:
                y += b[:, None, None]
            return y
        """,
        "one_big_product": """
            columns = unfold(x, kernel=w.shape[2:], **options)  # (N, K, L)
            flat = columns.transpose(1, 0, 2).reshape(columns.shape[1], -1)  # (K, N L)
            y = (w.reshape(len(w), -1) @ flat).reshape(len(w), len(x), *size).transpose(1, 0, 2, 3)
            return y if b is None else y + b[None, :, None, None]
        """,
    },
    "conv_transpose2d": {
        "stamps": """
            (ph, pw), (sh, sw), (dh, dw) = map(pair, (padding, stride, dilation))
            kh, kw = w.shape[2:]
            y = np.zeros((len(x), w.shape[1], size[0] + 2 * ph, size[1] + 2 * pw), x.dtype)
            for i in range(x.shape[2]):
                for j in range(x.shape[3]):
                    stamp = np.tensordot(x[:, :, i, j], w, (1, 0))  # (N, C, kh, kw)
                    rows = slice(i * sh, i * sh + dh * (kh - 1) + 1, dh)
                    y[:, :, rows, j * sw : j * sw + dw * (kw - 1) + 1 : dw] += stamp
            y = y[:, :, ph : ph + size[0], pw : pw + size[1]]
            return y if b is None else y + b[:, None, None]
        """,
        "einsum": """
            stamps = np.einsum("nfij,fcab->ncabij", x, w)
            columns = stamps.reshape(len(x), -1, x.shape[2] * x.shape[3])
            y = fold(columns, size=size, kernel=w.shape[2:], **options)
            if b is not None:
                y += b[:, None, None]
            return y
        """,
    },
    "conv2d_weight": {
        "image_by_image": """
            total = xp.zeros((f, c * kernel[0] * kernel[1]), x.dtype)
            columns = unfold(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
            for one, seen in zip(g, columns):
                total += one.reshape(f, -1) @ seen.T
            return visible(total.reshape(f, c, *kernel), taps)
        """,
        "tensordot": """
            columns = unfold(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
            w = np.tensordot(g.reshape(len(g), f, -1), columns, ((0, 2), (0, 2))).reshape(f, c, *kernel)
            return w if taps is None else np.where(taps, w, np.float32(0))
        """,
    },
    "conv2d_vjp": {
        "by_columns": """
            kernel, f, masked = w.shape[2:], w.shape[0], w if taps is None else w * taps

            def for_x():
                columns = masked.reshape(f, -1).mT @ g.reshape(g.shape[0], f, -1)
                return fold(columns, size=tuple(x.shape[2:]), kernel=tuple(kernel), **options)

            def for_w():
                columns = unfold(x, kernel=tuple(kernel), **options)
                gw = (g.reshape(g.shape[0], f, -1) @ columns.mT).sum(axis=0).reshape(*w.shape)
                return gw if taps is None else gw * taps

            if not b:
                return [for_x, for_w]
            return [for_x, for_w, lambda: ops.sum(g, axis=(0, 2, 3))]
        """,
        "remainders": """
            sizes = zip(x.shape[2:], w.shape[2:], *map(pair, (stride, padding, dilation)))
            rest = tuple((n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in sizes)
            for_x = lambda: conv_transpose2d(g, w, output_padding=rest, taps=taps, **options)
            for_w = lambda: conv2d_weight(x, g, kernel=w.shape[2:], taps=taps, **options)
            return (for_x, for_w) if len(b) == 0 else (for_x, for_w, lambda: g.sum(axis=(0, 2, 3)))
        """,
    },
    "max_pool2d": {
        "slices": """
            ph, pw = pair(padding)
            padded = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=-np.inf)
            seen = [padded[(..., *places(tap, (h, w), stride=stride))] for tap in taps_of(kernel)]
            y = seen[0].copy()
            for one in seen[1:]:
                y = xp.maximum(y, one)
            return y
        """,
        "windows_last": """
            seen = unfold(x, kernel=kernel, stride=stride, padding=padding, fill=-math.inf)
            return np.max(seen.reshape(n, c, len(taps_of(kernel)), h, w), 2)
        """,
    },
    "max_pool2d_vjp": {
        "cumsum": """
            seen = unfold(x, fill=-math.inf, **options)
            seen = seen.reshape(n, c, len(taps_of(kernel)), h, w)
            seen = getattr(seen, "data", seen) if isinstance(seen, Tensor) else seen
            equal = seen == seen.max(axis=2, keepdims=True)
            first = equal & (equal.cumsum(axis=2) == 1)

            def for_x():
                return fold((g.reshape(n, c, 1, h, w) * first).reshape(n, -1, h * w), size=size, **options)

            return [for_x]
        """,
        "one_hot": """
            seen = unfold(x, fill=-math.inf, **options).reshape(n, c, -1, h, w)
            mask = xp.moveaxis(xp.eye(seen.shape[2], dtype=g.dtype)[seen.argmax(axis=2)], -1, 2)
            return lambda: fold((g.reshape(n, c, 1, h, w) * mask).reshape(n, -1, h * w), size=size, **options)
        """,
    },
    "moments": {
        "numpy": """
            axes = tuple(i for i in range(x.ndim) if i != 1)
            mean, var = np.mean(x, axis=axes), np.var(x, axis=axes)
            return mean, var, x - along(mean, x)
        """,
        "rows": """
            rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)  # (C, m)
            mean = rows.sum(axis=1) / rows.shape[1]
            var = np.square(rows - mean[:, None]).sum(axis=1) / rows.shape[1]
            return [mean, var, x - along(mean, x)]
        """,
    },
    "batch_norm": {
        "stepwise": """
            deviation = np.sqrt(var + eps)
            normal = centred / along(deviation, x)
            y = normal * along(gamma, x)
            y += along(beta, x)
            return y, (centred, 1.0 / deviation)
        """,
    },
    "batch_norm_vjp": {
        "by_the_chain": """
            axes = tuple(i for i in range(g.ndim) if i != 1)
            m = g.size // g.shape[1]

            def for_x():
                gn = g * along(gamma, g)
                gvar = (gn * centred).sum(axis=axes) * -0.5 * inverse**3
                gmean = -(gn * along(inverse, g)).sum(axis=axes) + gvar * -2 * centred.mean(axis=axes)
                return gn * along(inverse, g) + along(gvar, g) * 2 * centred / m + along(gmean, g) / m

            return [for_x, lambda: inverse * (g * centred).sum(axis=axes), lambda: np.sum(g, axis=axes)]
        """,
        "eager": """
            axes, normal = (0, *range(2, g.ndim)), centred * along(inverse, g)
            gbeta, ggamma = g.sum(axis=axes), (g * normal).sum(axis=axes)
            m = g.size / g.shape[1]
            gx = along(gamma * inverse / m, g) * (m * g - along(gbeta, g) - normal * along(ggamma, g))
            return lambda: gx, lambda: ggamma, lambda: gbeta
        """,
    },
    "BatchNorm.__call__": {
        "in_place": """
            if self.training:
                stats = moments(data)
                m = data.size // data.shape[1]
                self.running_mean.data += self.momentum * (stats[0] - self.running_mean.data)
                self.running_var.data += self.momentum * (stats[1] * m / (m - 1) - self.running_var.data)
                return batch_norm(x, self.gamma, self.beta, eps=self.eps)
            y = (x - along(self.running_mean.data, x)) / along(np.sqrt(self.running_var.data + self.eps), x)
            return along(self.gamma, x) * y + along(self.beta, x)
        """,
        "all_in_tensors": """
            t = x if isinstance(x, Tensor) else Tensor(x)
            axes = (0, *range(2, t.ndim))
            if self.training:
                mean = t.mean(axis=axes, keepdims=True)
                var = ((t - mean) * (t - mean)).mean(axis=axes, keepdims=True)
                m, k = t.size // t.shape[1], self.momentum
                self.running_mean.data = (1 - k) * self.running_mean.data + k * mean.data.reshape(-1)
                self.running_var.data = (1 - k) * self.running_var.data + k * m / (m - 1) * var.data.reshape(-1)
            else:
                mean, var = along(self.running_mean, t), along(self.running_var, t)
            return (t - mean) / ops.sqrt(var + self.eps) * along(self.gamma, t) + along(self.beta, t)
        """,
    },
}

WRONG = {
    "output_size": {
        "same": "return pair(size)",
        "ceil": ("// s + 1", "// s + (1 if s == 1 else 2)"),
        "float": ("// s + 1", "/ s + 1"),
        "no_dilation": ("d * (k - 1)", "(k - 1)"),
        "only_vertical": ("tuple(", "2 * tuple("),
        "first_twice": "n = (pair(size)[0] + 2 * pair(padding)[0] - pair(dilation)[0] * (pair(kernel)[0] - 1) - 1)\n"
        "return (n // pair(stride)[0] + 1,) * 2",
        "max_zero": ("// s + 1", "// s + 1 + (k > n)"),
    },
    "transposed_size": {
        "times_stride": "return tuple(n * s for n, s in zip(pair(size), pair(stride)))",
        "no_extra": ("2 * p + e", "2 * p"),
        "no_dilation": ("d * (k - 1)", "(k - 1)"),
        "one_short": (" + 1 - 2", " - 2"),
        "one_padding": ("2 * p", "p"),
    },
    "places": {
        "to_the_end": "(d, e), (s, t) = pair(dilation), pair(stride)\n"
        "return slice(tap[0] * d, None, s), slice(tap[1] * e, None, t)",
        "no_offset": ("slice(a, a +", "slice(0, 0 +"),
        "no_step": ("+ 1, sw)", "+ 1)"),
        "flipped": ("t * d for", "-t * d for"),
        "sizes_swapped": ("(h, w), (sh, sw) = size", "(w, h), (sh, sw) = size"),
    },
    "unfold": {
        "flipped": ("enumerate(taps)", "enumerate(taps[::-1])"),
        "window_order": ("columns.reshape(", "columns.swapaxes(3, 4).reshape("),
        "edge": (", constant_values=fill)", ', mode="edge")'),
        "no_dilation": ("stride=stride, dilation=dilation", "stride=stride"),
        "stride_swapped": ("stride=stride, dilation", "stride=pair(stride)[::-1], dilation"),
        "padding_swapped": ("(ph, ph), (pw, pw)", "(pw, pw), (ph, ph)"),
        "batch_mixed": ("columns.reshape(n,", "columns.swapaxes(0, 1).reshape(n,"),
        "first_tap": ("enumerate(taps)", "enumerate(taps[:1] * len(taps))"),
        "in_place": ("padded =", "x *= 2\n    padded ="),
    },
    "fold": {
        "mean": ("    return padded[:, :, ph", "    padded /= 1 + (stride == 1)\n    return padded[:, :, ph"),
        "max": ("] += columns[:, :, t]", "] = xp.maximum(columns[:, :, t], 0)"),
        "flipped": ("enumerate(taps)", "enumerate(taps[::-1])"),
        "channel_order": ("x.reshape(n, c, len(taps), h, w)", "x.reshape(n, len(taps), c, h, w).swapaxes(1, 2)"),
        "windows_turned": ("x.reshape(n, c, len(taps), h, w)", "x.reshape(n, c, len(taps), w, h).swapaxes(3, 4)"),
        "float64": (", x.dtype)", ")"),
        "last_tap_missing": ("enumerate(taps)", "enumerate(taps[:-1] or taps)"),
        "fancy": ("] += columns[:, :, t]", "] += columns[:, :, 0]"),
        "no_padding": ("2 * ph, size[1] + 2 * pw", "ph, size[1] + pw"),
    },
    "conv2d": {
        "bias_squared": ("+ b[:, None, None]", "+ b[:, None, None] ** 2"),
        "bias_on_width": ("+ b[:, None, None]", "+ b.sum()"),
        "minus": ("return y if b is None else y +", "return y if b is None else y -"),
        "normalised": ("y.reshape(len(x)", "(y / w[0].size).reshape(len(x)"),
        "transposed_kernel": ("w.reshape(len(w), -1)", "w.swapaxes(2, 3).reshape(len(w), -1)"),
        "channels_reversed": ("w.reshape(len(w), -1)", "w[:, ::-1].reshape(len(w), -1)"),
        "flip_one_axis": ("w.reshape(len(w), -1)", "w[:, :, ::-1].reshape(len(w), -1)"),
        "no_padding": ("columns = unfold(x, kernel", "columns = unfold(x, fill=1.0, kernel"),
        "relu": ("y if b is None", "xp.maximum(y, 0) if b is None"),
        "float64": ("w.reshape(len(w), -1) @", "w.reshape(len(w), -1).astype(float) @"),
    },
    "conv2d_vjp": {
        "no_taps": ("output_padding=rest, taps=taps,", "output_padding=rest,"),
        "no_taps_w": ("kernel=kernel, taps=taps,", "kernel=kernel,"),
        "no_options": ("rest, taps=taps, **options", "rest, taps=taps"),
        "conv_again": ("conv_transpose2d(g, w, output_padding=rest,", "conv2d(g, w.swapaxes(0, 1),"),
        "negative": ("lambda: conv2d_weight(x, g,", "lambda: -conv2d_weight(x, g,"),
        "swapped": ("conv2d_weight(x, g,", "conv2d_weight(g, x,"),
        "arrays": ("return thunks[: 2 + len(b)]", "return tuple(one() for one in thunks[: 2 + len(b)])"),
        "never_bias": ("thunks[: 2 + len(b)]", "thunks[:2]"),
        "mean_loss": ("lambda: conv2d_weight(x, g,", "lambda: conv2d_weight(x, g * (1 / len(x)),"),
    },
    "conv_transpose2d": {
        "flip_one": ("w.reshape(f, -1)", "w[..., ::-1].reshape(f, -1)"),
        "no_bias": ("return y if b is None else y + b[:, None, None]", "return y"),
        "swapped": ("w.reshape(f, -1).T", "w.swapaxes(0, 1).reshape(-1, f)"),
        "no_stride": ("kernel=w.shape[2:], **options)\n    return", "kernel=w.shape[2:], padding=padding)\n    return"),
        "half": ("return y if b is None", "y = y / 2\n    return y if b is None"),
        "bias_in_front": ("x.reshape(n, f, -1)", "(x + (0 if b is None else b.mean())).reshape(n, f, -1)"),
    },
    "conv2d_weight": {
        "no_sum": (".sum(axis=0)", ""),
        "per_place": ("rows @", "rows / rows.shape[2] @"),
        "flipped": (".reshape(f, c, *kernel)", ".reshape(f, c, *kernel)[:, :, ::-1, ::-1]"),
        "turned": (".reshape(f, c, *kernel)", ".reshape(f, *kernel, c).transpose(0, 3, 1, 2)"),
        "taps_ignored": ("return visible(w, taps)", "return w"),
        "no_dilation": ("padding=padding, dilation=dilation", "padding=padding"),
        "negative": ("(rows @", "(-rows @"),
    },
    "max_pool2d": {
        "min": (".max(axis=2)", ".min(axis=2)"),
        "mean": (".max(axis=2)", ".mean(axis=2)"),
        "abs": ("seen.reshape", "xp.abs(seen).reshape"),
        "large_negative": ("-math.inf", "-1.0"),
        "stride_one": ("stride=stride, padding", "stride=1, padding"),
        "positive": (".max(axis=2)", ".max(axis=2, initial=0)"),
        "sorted": (".max(axis=2)", "[:, :, 0]"),
    },
    "max_pool2d_vjp": {
        "everywhere": ("* mask", "* (mask | True)"),
        "zero_border": ("fill=-math.inf", "fill=0.0"),
        "mean": ("* mask", "/ seen.shape[2] * (mask | True)"),
        "minimum": ("seen.argmax", "(-seen).argmax"),
        "padding_lost": (
            "unfold(x, fill=-math.inf, **options).reshape(n, c, -1, h, w)",
            "unfold(x, **options).reshape(n, c, -1, h, w)",
        ),
        "twice": ("* mask", "* mask * 2"),
        "cut": ("(g.reshape(n", "(getattr(g, '_data', g).reshape(n"),
    },
    "moments": {
        "std": ("(centred**2).mean(axis=axes)", "xp.sqrt((centred**2).mean(axis=axes))"),
        "not_centred": ("return mean, (centred**2).mean(axis=axes), centred", "return mean, x.var(axis=axes), x"),
        "kept": ("mean = x.mean(axis=axes)", "mean = x.mean(axis=axes) * (1 - 1e-4)"),
        "all": (
            "mean = x.mean(axis=axes)",
            "mean = x.mean() + 0 * x.mean(axis=axes)",
        ),
        "median": ("mean = x.mean(axis=axes)", "mean = np.median(x, axis=axes)"),
        "abs": ("centred**2", "abs(centred)"),
        "float64": ("mean = x.mean(axis=axes)", "mean = x.mean(axis=axes, dtype=float)"),
        "changes_x": ("centred = x - along(mean, x)", "x -= along(mean, x)\n    centred = x"),
        "order": ("return mean, (centred**2).mean(axis=axes)", "return (centred**2).mean(axis=axes), mean"),
    },
    "batch_norm": {
        "y_alone": (", (centred, inverse)", ""),
        "normal_saved": ("(centred, inverse)", "(centred * along(inverse, x), inverse)"),
        "order": ("(centred, inverse)", "(inverse, centred)"),
        "gamma_squared": ("gamma * inverse", "gamma * gamma * inverse"),
        "eps_fixed": ("var + eps", "var + 1e-5"),
        "minus_beta": ("+ along(beta, x)", "- along(beta, x)"),
        "gamma_saved": ("(centred, inverse)", "(centred, gamma * inverse)"),
        "uncentred": ("return centred *", "return x *"),
    },
    "batch_norm_vjp": {
        "sum_of_g": ("along(g.mean(axis=axes), g)", "along(g.sum(axis=axes), g)"),
        "unbiased": ("(g * normal).mean(axis=axes)", "(g * normal).sum(axis=axes) / (g.size // g.shape[1] - 1)"),
        "per_image": ("axes, normal = (0, *range(2, g.ndim))", "axes, normal = (0, *range(2, g.ndim))[:1]"),
        "plus": ("(g - pull)", "(g + pull)"),
        "no_gamma": ("gamma * inverse, g) * (g", "inverse, g) * (g"),
        "swapped": (
            "lambda: (g * normal).sum(axis=axes), lambda: g.sum(axis=axes)",
            "lambda: g.sum(axis=axes), lambda: (g * normal).sum(axis=axes)",
        ),
        "damage": ("(g - pull)", "np.subtract(g, pull, out=g)"),
        "from_y": ("centred * along(inverse, g)", "x * along(inverse, g)"),
        "means": ("lambda: g.sum(axis=axes)", "lambda: g.mean(axis=axes)"),
    },
    "BatchNorm.__call__": {
        "default_eps": ("eps=self.eps, ", ""),
        "no_eps_in_use": ("self.running_var.data + self.eps", "self.running_var.data"),
        "fixed_momentum": ("self.momentum", "0.1"),
        "var_reversed": ("(m / (m - 1))", "((m - 1) / m)"),
        "mean_never": ("self.running_mean.data = (1 - step) * self.running_mean.data + step * mean", "pass"),
        "cut": ("return batch_norm(x,", "return batch_norm(data,"),
        "cut_parameters": ("batch_norm(x, self.gamma, self.beta", "batch_norm(x, self.gamma.data, self.beta.data"),
        "always_running": ("if not self.training:", "if True:"),
        "summing": ("(1 - step) * self.running_mean.data", "self.running_mean.data"),
        "no_beta_in_use": ("inverse, data) + along(self.beta, data)", "inverse, data)"),
        "new_attribute": ("m, step =", "self.last = Tensor(mean)\n        m, step ="),
        "history_kept": (
            "self.running_mean.data = (1 - step) * self.running_mean.data + step * mean",
            "t = x.mean((0, *range(2, data.ndim)))\n"
            "        self.running_mean = (1 - step) * self.running_mean + step * t",
        ),
        "biased_by_batch": ("m / (m - 1)", "m / (m - data.shape[0])"),
        "in_training_switch": (
            "mean, var, _ = stats = moments(data)",
            "self.training = False\n        mean, var, _ = stats = moments(data)",
        ),
    },
}  # fmt: skip
