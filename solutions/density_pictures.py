"""The pictures of lesson e04, from arrays: densities over a line, likelihood beside KL, and the width of kernels."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minigen.plot import COLOURS, DPI, SOFT, STYLE

BLUE, RED = COLOURS[:2]


def line(x, truth, models, path):
    """(N, 1), a density, name -> density -> path: each estimate over the truth; the data as ticks at the bottom"""
    grid = np.linspace(-2.5, 3, 2201)
    with _figure(path, (9.2, 4.4), (2, 4)) as axes:
        for ax, (name, model) in zip(axes.flat, [("the truth", truth), *models.items()], strict=True):
            ax.fill_between(grid, np.exp(truth.log_prob(grid)), color="#e3e3e3")
            if model is not truth:
                ax.plot(grid, np.exp(model.log_prob(grid)), color=BLUE, lw=1.2)
            ax.plot(x[:, 0], np.full(len(x), -0.05), "|", color=SOFT, ms=5, mew=0.5)
            ax.axhline(1, color=RED, lw=0.8, ls=(0, (4, 3)))
            ax.set(title=name, ylim=(-0.1, 2.4), xlim=(-2.5, 3))
    return Path(path)


def likelihood(mus, nll, divergence, mean, path):
    """(M,), (M,), (M,), the data's mean -> path: two curves of mu, one the other moved up; both lowest at the mean"""
    with _figure(path, (6.4, 3.4), (1, 1)) as ax:
        ax.plot(mus, nll, color=BLUE, label="minus mean log p(x) of the data")
        ax.plot(mus, divergence, color=RED, label="KL(histogram of the data || p)")
        ax.axvline(mean, color=SOFT, lw=1, ls=(0, (5, 3)))
        ax.set(xlabel="mu of the Gaussian (dashed: the mean of the data)", ylabel="nats", ylim=(0, None))
        ax.set_title("Likelihood and KL: the same curve but for a constant")
        ax.legend()
    return Path(path)


def widths(widths, scores, best, path):
    """(W,), (W, 2) nats, the chosen one -> path: mean log p of training and validation codes by the kernels' width"""
    with _figure(path, (6.4, 3.4), (1, 1)) as ax:
        for column, colour, name in ((0, RED, "training codes"), (1, BLUE, "validation codes")):
            ax.plot(widths, [row[column] for row in scores], color=colour, marker="o", ms=4, label=name)
        ax.axvline(best, color=SOFT, lw=1, ls=(0, (5, 3)))
        ax.set(xscale="log", xlabel="width of the kernels", ylabel="mean log p, nats")
        ax.set_xticks(widths, [str(w) for w in widths])
        ax.minorticks_off()
        ax.set_title("The training codes want no width at all")
        ax.legend()
    return Path(path)


@contextmanager
def _figure(path, size, shape):
    """A figure of its own, in minigen's style, written when the block ends."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots(*shape, sharey=True) if shape != (1, 1) else figure.subplots()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
