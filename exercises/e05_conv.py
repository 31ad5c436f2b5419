"""Convolution: one small kernel, everywhere in the image, and its way back. About 150 minutes.

A kernel of k x k weights looks at an image through a window of k x k pixels and says one number; it is asked at every
place. Copy what the windows see into the columns of a matrix, and all answers are one product of matrices:

    y = W unfold(x),    so    dL/dW = g unfold(x)^T    and    dL/dx = fold(W^T g),

where `fold` adds the columns up where `unfold` took them from: each is the other's transpose. Nothing else is needed
for strides, padding and dilation, for transposed convolution (the map from g to dL/dx, used to draw large images from
small ones) or for pooling. Batch normalisation, which such networks are seldom without, ends the lesson.

These are the operations of minigen.ops, in their short form. `@op` makes an operation of a function on arrays, and
`@f.vjp` states its rule: one thunk per argument, as in e02. Maps are (N, C, H, W): images, channels, rows, columns.

Dumoulin and Visin (2016), A guide to convolution arithmetic for deep learning; Goodfellow, Bengio and Courville
(2016), Deep Learning, chapter 9; Ioffe and Szegedy (2015), Batch normalization.
"""

# Complete the TODOs in any order, then type: minigen check e05

import math
import sys
from itertools import product
from pathlib import Path

import numpy as np

from minigen import Tensor, fused, nn, no_grad, op, ops, xp
from minigen.errors import ShapeError
from minigen.nn import Module, Sequential
from minigen.optim import Adam

# Where a kernel looks. Sizes and options are pairs (vertical, horizontal); a number stands for two equal ones.


def pair(value):
    """2 or (2, 2) -> (2, 2)"""
    return value if isinstance(value, tuple) else (value, value)


def output_size(size, kernel, *, stride=1, padding=0, dilation=1):
    """(H, W), (kh, kw) -> (H', W'): in how many places the kernel fits, going down and going right

    `padding` rows of zeros lie above the image, and as many below. The kernel's taps are `dilation` rows apart, so
    that it spans dilation (kh - 1) + 1 rows. It starts at row 0 of the padded image, then `stride` rows further
    down, and so on, as long as it lies inside. Columns likewise.
    """
    # TODO: per direction, the steps from the first to the last place where it fits, and one
    raise NotImplementedError(
        "output_size: per direction, the steps from the first to the last place where it fits, and one"
    )


def transposed_size(size, kernel, *, stride=1, padding=0, dilation=1, output_padding=0):
    """(H', W'), (kh, kw) -> (H, W): the smallest size with output_size((H, W), kernel, ...) = (H', W')

    and `output_padding` rows and columns more (several sizes have the same output size, because of the stride).
    """
    # TODO: per direction, the way from the first to the last place, the kernel's span, no padding
    raise NotImplementedError(
        "transposed_size: per direction, the way from the first to the last place, the kernel's span, no "
        "padding"
    )


def places(tap, size, *, stride=1, dilation=1):
    """(a, b), (H', W') -> (slice, slice): the pixels of the padded image that lie under the kernel's tap (a, b)

    For a padded image p, p[rows, columns] is (H', W'): entry (i, j) is what the tap in row a and column b of the
    kernel sees when the kernel stands at its place (i, j). The slices end where H', W' say, not at the image's end.
    """
    # TODO: start at tap times dilation, step by stride, exactly H' rows and W' columns
    raise NotImplementedError(
        "places: start at tap times dilation, step by stride, exactly H' rows and W' columns"
    )


def taps_of(kernel):
    """(kh, kw) -> [(0, 0), (0, 1), ...]: the kernel's places, row by row"""
    kh, kw = pair(kernel)
    return list(product(range(kh), range(kw)))


# Windows to columns, and back: a linear map and its transpose, each the rule of the other


@op
def unfold(x, *, kernel, stride=1, padding=0, dilation=1, fill=0.0):
    """(N, C, H, W) -> (N, C kh kw, L): column l holds what window l sees, channel by channel, row by row

    L = H' W' windows, from left to right and from top to bottom. The padding holds `fill`.
    """
    (ph, pw), taps = pair(padding), taps_of(kernel)
    h, w = output_size(x.shape[2:], kernel, stride=stride, padding=padding, dilation=dilation)
    n, c = x.shape[:2]
    # TODO: pad with `fill`; one slice of the padded image for each tap; put them side by side
    raise NotImplementedError(
        "unfold: pad with `fill`; one slice of the padded image for each tap; put them side by side"
    )


@unfold.vjp
def _(g, y, x, *, kernel, stride=1, padding=0, dilation=1, fill=0.0):
    size = x.shape[2:]
    return lambda: fold(g, size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


@op
def fold(x, *, size, kernel, stride=1, padding=0, dilation=1):
    """(N, C kh kw, L) -> (N, C, *size): each entry is added to the pixel that `unfold` would have copied it from

    A pixel that lies in several windows gets the sum, one in none gets zero, and what belongs to the padding is
    dropped.
    """
    (ph, pw), taps = pair(padding), taps_of(kernel)
    h, w = output_size(size, kernel, stride=stride, padding=padding, dilation=dilation)
    n, c = x.shape[0], x.shape[1] // len(taps)
    # TODO: a padded image of zeros; for each tap, add its part at the tap's places; cut the padding off
    raise NotImplementedError(
        "fold: a padded image of zeros; for each tap, add its part at the tap's places; cut the padding off"
    )


@fold.vjp
def _(g, y, x, *, size, kernel, stride=1, padding=0, dilation=1):
    return lambda: unfold(g, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


# Convolution: products with columns. Of w, only the visible taps count: `taps`, booleans (kh, kw), None for all.


def visible(w, taps):
    """(F, C, kh, kw) -> (F, C, kh, kw): zero at the taps that are hidden"""
    return w if taps is None else w * xp.asarray(taps)


@op
def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, taps=None):
    """(N, C, H, W), (F, C, kh, kw), (F,) or None -> (N, F, H', W'): F kernels at H' x W' places

    y[n, f, i, j] = b[f] + sum over c, u, v of w[f, c, u, v] x[n, c, i s + u d - p, j s + v d - p], with zeros outside
    the image: kernel and image are multiplied as they lie, nothing is flipped. The result has the dtype of x and w.
    """
    w = visible(w, taps)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    size = output_size(x.shape[2:], w.shape[2:], **options)
    # TODO: each kernel a row, each window a column: one product; plus the bias of each kernel
    raise NotImplementedError(
        "conv2d: each kernel a row, each window a column: one product; plus the bias of each kernel"
    )


@conv2d.vjp
def conv2d_vjp(g, y, x, w, *b, stride=1, padding=0, dilation=1, taps=None):
    """(N, F, H', W') -> thunks of (N, C, H, W), (F, C, kh, kw), and (F,) if there is a b: the rule of conv2d

    g is the gradient for y = conv2d(x, w, *b): an array, or a Tensor if this gradient is to be differentiated again;
    so say it with operations (conv_transpose2d, conv2d_weight) and with what Tensors can do too (g.sum). b is () or
    (b,). Each thunk gives the gradient for its argument, in the shape of the argument.
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    # TODO: for x the transposed map (of x's very size), for w conv2d_weight, for b a sum
    raise NotImplementedError(
        "conv2d_vjp: for x the transposed map (of x's very size), for w conv2d_weight, for b a sum"
    )


@op
def conv_transpose2d(x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, taps=None):
    """(N, F, H', W'), (F, C, kh, kw), (C,) or None -> (N, C, H, W): each pixel stamps its kernel on the output

    The transpose of x -> conv2d(x, w): every x[n, f, i, j] adds itself times w[f] to the C maps of the output, where
    conv2d's window (i, j) looks; then b is added. The input has F channels, the output C, (H, W) is transposed_size.
    """
    w = visible(w, taps)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    size = transposed_size(x.shape[2:], w.shape[2:], output_padding=output_padding, **options)
    # TODO: a column for each pixel: the kernels transposed, times x; fold the columns; plus the bias
    raise NotImplementedError(
        "conv_transpose2d: a column for each pixel: the kernels transposed, times x; fold the columns; plus "
        "the bias"
    )


@conv_transpose2d.vjp
def _(g, y, x, w, *b, stride=1, padding=0, output_padding=0, dilation=1, taps=None):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "taps": taps}
    kernel = w.shape[2:]
    thunks = (
        lambda: conv2d(g, w, **options),
        lambda: conv2d_weight(g, x, kernel=kernel, **options),
        lambda: g.sum(axis=(0, 2, 3)),
    )
    return thunks[: 2 + len(b)]


@op
def conv2d_weight(x, g, *, kernel, stride=1, padding=0, dilation=1, taps=None):
    """(N, C, H, W), (N, F, H', W') -> (F, C, kh, kw): the gradient of conv2d(x, w) for w, where g is that for y

    A weight was multiplied with every pixel that its tap came to lie on: it gets the sum of these pixels, each times
    the g of that place, over all places and images. Hidden taps get zero.
    """
    f, c, kernel = g.shape[1], x.shape[1], pair(kernel)
    # TODO: g times the columns of x, transposed; summed over the images; in the shape of w
    raise NotImplementedError(
        "conv2d_weight: g times the columns of x, transposed; summed over the images; in the shape of w"
    )


@conv2d_weight.vjp
def _(g, y, x, gy, *, kernel, stride=1, padding=0, dilation=1, taps=None):
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    least = transposed_size(gy.shape[2:], kernel, **options)
    rest = tuple(n - m for n, m in zip(x.shape[2:], least, strict=True))
    return (
        lambda: conv_transpose2d(gy, g, output_padding=rest, taps=taps, **options),
        lambda: conv2d(x, g, taps=taps, **options),
    )


# Pooling


@op
def max_pool2d(x, *, kernel, stride=None, padding=0):
    """(N, C, H, W) -> (N, C, H', W'): the largest value of each window, each channel on its own

    stride None: the kernel's size, so that the windows tile the image. Padding is never the largest, also where all
    values are negative.
    """
    stride = kernel if stride is None else stride
    (n, c), (h, w) = x.shape[:2], output_size(x.shape[2:], kernel, stride=stride, padding=padding)
    # TODO: unfold with a border that loses against everything; the largest of each window
    raise NotImplementedError(
        "max_pool2d: unfold with a border that loses against everything; the largest of each window"
    )


@max_pool2d.vjp
def max_pool2d_vjp(g, y, x, *, kernel, stride=None, padding=0):
    """(N, C, H', W') -> a thunk of (N, C, H, W): the rule of max_pool2d

    Each window passes its g to the one pixel that it chose: the largest, or among equals the first (row by row). A
    pixel chosen by several windows gets the sum. g is an array or a Tensor, as in conv2d_vjp; y and x may be either.
    """
    stride = kernel if stride is None else stride
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    (n, c, h, w), size = g.shape, tuple(x.shape[2:])
    # TODO: unfold as above; find the first of the largest taps; g there, 0 elsewhere; fold
    raise NotImplementedError(
        "max_pool2d_vjp: unfold as above; find the first of the largest taps; g there, 0 elsewhere; fold"
    )


# Batch normalisation: statistics of each channel (axis 1), over all other axes


def along(a, x):
    """(C,), (N, C, ...) -> (1, C, 1, ...): laid out so that it broadcasts along the channels of x"""
    return a.reshape(1, -1, *(1 for _ in x.shape[2:]))


def moments(x):
    """(N, C, ...) array -> mean (C,), variance (C,), x - mean (N, C, ...); x may be (N, C) as well

    The variance is the biased one, the mean of the squared distances to the mean.
    """
    if x.size < 2 * x.shape[1]:
        raise ShapeError(
            f"moments: {x.shape} has {x.size // x.shape[1]} value per channel; expected 2 or more"
        )
    # TODO: means over all axes but the channels: of x, and of (x - mean)^2
    raise NotImplementedError("moments: means over all axes but the channels: of x, and of (x - mean)^2")


@fused
def batch_norm(x, gamma, beta, *, eps=1e-5, stats=None):
    """(N, C, ...), (C,), (C,) -> (N, C, ...), and two arrays for the rule: x - mean, and 1 / sqrt(var + eps) (C,)

    y = gamma (x - mean) / sqrt(var + eps) + beta, all on arrays. `@fused`: such a function returns a pair, (y, what
    its rule wants to see again); callers of the operation get y alone. stats: moments(x), if they are known already.
    Ioffe and Szegedy (2015), algorithm 1.
    """
    _, var, centred = moments(x) if stats is None else stats
    # TODO: scale and shift what is centred; return the pair (y, (centred, inverse deviation))
    raise NotImplementedError(
        "batch_norm: scale and shift what is centred; return the pair (y, (centred, inverse deviation))"
    )


@batch_norm.vjp
def batch_norm_vjp(g, saved, x, gamma, beta, *, eps=1e-5, stats=None):
    """(N, C, ...) -> thunks of (N, C, ...), (C,), (C,): the rule of batch_norm, on arrays

    saved is the pair of arrays that batch_norm kept. mean and var depend on x, too: moving one value of a channel
    moves all of its outputs. With x^ = (x - mean) / sqrt(var + eps) and means over all axes but the channels,

        dL/dx = gamma / sqrt(var + eps) (g - mean(g) - x^ mean(g x^)).
    """
    centred, inverse = saved
    # TODO: three thunks; sums over all axes but the channels for gamma and beta
    raise NotImplementedError(
        "batch_norm_vjp: three thunks; sums over all axes but the channels for gamma and beta"
    )


@batch_norm.as_twin
def _(x, gamma, beta, *, eps=1e-5, stats=None):
    """The same as an expression in other operations: what is differentiated for gradients of gradients"""
    axes = (0, *range(2, x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    deviation = ops.sqrt((centred * centred).mean(axis=axes, keepdims=True) + eps)
    return centred / deviation * along(gamma, x) + along(beta, x)


class BatchNorm(Module):
    """(N, n, ...) -> (N, n, ...): each channel normalised, then scaled by gamma and shifted by beta"""

    def __init__(self, n, *, momentum=0.1, eps=1e-5):
        self.momentum, self.eps = momentum, eps
        self.gamma = Tensor(xp.ones(n, np.float32), requires_grad=True)
        self.beta = Tensor(xp.zeros(n, np.float32), requires_grad=True)
        self.running_mean = Tensor(xp.zeros(n, np.float32))
        self.running_var = Tensor(xp.ones(n, np.float32))

    def __call__(self, x):
        """(N, n, ...) array or Tensor -> (N, n, ...) Tensor

        In training (self.training), normalised by the batch's own statistics: batch_norm. And the running statistics
        take a step of size `momentum` towards the batch's: running <- (1 - momentum) running + momentum batch, where
        the batch's variance is the unbiased one, the biased one times m / (m - 1) for m values per channel.
        In use, after .eval(), normalised by the running statistics in place of the batch's, which stay as they are.
        (The data of a Tensor t are t.data, and t.data = ... replaces them.)
        """
        data = x.data if isinstance(x, Tensor) else x
        # TODO: eval: by the running statistics; training: move them, then batch_norm
        raise NotImplementedError(
            "BatchNorm.__call__: eval: by the running statistics; training: move them, then batch_norm"
        )


# A convolutional autoencoder on these functions. Its layers are the engine's, except for what they compute.


class Conv2d(nn.Conv2d):
    def __call__(self, x):
        return conv2d(x, self.W, self.b, stride=self.stride, padding=self.padding, dilation=self.dilation)


class ConvTranspose2d(nn.ConvTranspose2d):
    def __call__(self, x):
        return conv_transpose2d(x, self.W, self.b, stride=self.stride, padding=self.padding)


class MaxPool2d(nn.MaxPool2d):
    def __call__(self, x):
        return max_pool2d(x, kernel=self.kernel, stride=self.stride, padding=self.padding)


class ConvAutoencoder(Module):
    """(N, 28, 28) images in [0, 1] -> (N, 28, 28), through codes of 32 numbers; layers: where to take them from"""

    def __init__(self, *, rng, layers=None, lr=1e-2):
        make, self.lr = layers or sys.modules[__name__], lr
        self.encoder = Sequential(
            make.Conv2d(1, 8, 5, padding=2, rng=rng),  # (N, 8, 28, 28)
            make.BatchNorm(8),
            nn.ReLU(),
            make.MaxPool2d(2),  # (N, 8, 14, 14)
            make.Conv2d(8, 16, 3, padding=1, rng=rng),  # (N, 16, 14, 14)
            make.BatchNorm(16),
            nn.ReLU(),
            make.MaxPool2d(2),  # (N, 16, 7, 7)
            nn.Flatten(),
            nn.Dense(784, 32, rng=rng),
        )
        self.decoder = Sequential(
            nn.Dense(32, 784, rng=rng),
            nn.Reshape(16, 7, 7),
            make.BatchNorm(16),
            nn.ReLU(),
            make.ConvTranspose2d(16, 8, 4, stride=2, padding=1, rng=rng),  # (N, 8, 14, 14)
            make.BatchNorm(8),
            nn.ReLU(),
            make.ConvTranspose2d(8, 1, 4, stride=2, padding=1, rng=rng),  # (N, 1, 28, 28)
            nn.Sigmoid(),
        )

    def __call__(self, x):
        return self.decoder(self.encoder(x.reshape(len(x), 1, 28, 28))).reshape(len(x), 28, 28)

    def updates(self, batch, rng):
        """(N, 28, 28) -> the pair (module to be stepped, loss): squared error, summed over pixels, mean over images"""
        yield self, ops.sum(ops.squared_error(self(batch), batch)) * (1 / len(batch))

    def optimizers(self):
        return {"": Adam(self.parameters(), lr=self.lr)}

    def evaluate(self, images, rng, batch_size=100):
        """(N, 28, 28) -> the same error on images that it is not trained on, a batch at a time"""
        parts = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        with no_grad():
            return {
                "squared_error": sum(float(ops.sum(ops.squared_error(self(x), x))) for x in parts)
                / len(images)
            }


# What `python -m solutions.e05_conv` prints and draws


def main(epochs=6, folder="runs/e05"):
    """Trains the autoencoder on the functions of this file, and draws what its kernels see. About a minute."""
    from minigen.data import load, scale
    from minigen.optim.schedules import cosine
    from minigen.training import train
    from solutions import conv_pictures as pictures

    data, folder = load(), Path(folder)
    model = ConvAutoencoder(rng=np.random.default_rng(0))
    run = train(model, data, epochs=epochs, batch_size=50, seed=0, schedule=cosine(epochs * 120))
    for row in run.history:
        print(f"epoch {row['epoch']}: squared error per test image {row['test_squared_error']:.2f}")
    print(f"{run.steps} steps in {run.seconds:.0f} s")

    images = scale(data.test.images)[np.argsort(data.test.labels, kind="stable")]  # a hundred of each digit
    digits, redrawn = images[::100], {}
    with no_grad():
        for name, training in {"running statistics": False, "each batch's own": True}.items():
            model.train(training)
            redrawn[name] = np.concatenate([model(one[None]).numpy() for one in digits])
            error = model.evaluate(images, None)["squared_error"]
            print(f"test images, sorted by digit, normalised by {name}: {error:.2f}")
    kernels, some = model.encoder[0].W.numpy()[:, 0], digits[[3, 4, 7]]  # (F, 5, 5)
    print(pictures.overlaps(lambda x, **how: fold(unfold(x, **how), size=x.shape[2:], **how), folder))
    print(pictures.by_hand(conv2d, some, folder))
    print(pictures.learned(conv2d, kernels, some, folder))
    print(pictures.batch_norm(digits, redrawn, folder))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])


# untouched stub 6df872654692
