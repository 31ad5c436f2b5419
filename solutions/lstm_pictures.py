"""The pictures of lesson e06, from arrays: how a gate opens, how far a gradient reaches, how the adding is learned."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minigen.plot import COLOURS, DPI, INK, SOFT, STYLE

BLUE, RED, GREEN = COLOURS[:3]


def gates(x, cs, gates, path):
    """(T, N, 2), (T, N, h), (T, N, 4, h) -> path: the gates of an LSTM on the first of N adding problems

    At the top the input; below it all input gates, those first that open most at a mark; at the bottom a unit whose
    input gate opens at the marks and whose forget gate stays open, on average over the N.
    """
    marked = x[:, :, 1] == 1  # (T, N)
    opening = gates[marked][:, 0].mean(axis=0) - gates[~marked][:, 0].mean(axis=0)  # (h,)
    unit = np.argmax(opening * gates[:, :, 1].mean(axis=(0, 1)) ** 20)  # keeps for twenty steps and more
    steps = np.arange(1, len(x) + 1)
    with _figure(path, (7.6, 5.4), (3, 1)) as (top, middle, bottom):
        top.bar(steps, x[:, 0, 0], color=np.where(marked[:, 0], RED, "#c9c9c9"))
        top.set(ylabel="x", title="Input: the two red numbers are marked, they are to be added")
        _map(middle, gates[:, 0, 0, np.argsort(-opening)])
        middle.set(ylabel="unit", title="Input gates i of all units (white: shut, dark: open)")
        for values, name, colour in [
            (gates[:, 0, 0, unit], "input gate i", BLUE),
            (gates[:, 0, 1, unit], "forget gate f", GREEN),
            (cs[:, 0, unit], "cell c", INK),
        ]:
            bottom.plot(steps, values, color=colour, label=name)
        for step in steps[marked[:, 0]]:
            bottom.axvline(step, color=RED, lw=0.8, ls=(0, (4, 3)))
        bottom.set(xlabel="step t", title="A unit that listens at the marks and keeps what it heard")
        bottom.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return Path(path)


def distance(lines, path):
    """name -> (T,) -> path: the norm of the gradient by the number of steps that it has gone back"""
    with _figure(path, (6.4, 3.8)) as ax:
        _lines(ax, lines, (RED, "#e8a58f", COLOURS[4], BLUE, GREEN))
        ax.set_ylim(bottom=1e-13)
        ax.set(xlabel="steps back in time", ylabel="norm of the gradient", title="How far a gradient reaches")
    return Path(path)


def adding(losses, path):
    """name -> loss at each training step -> path: smoothed over 20 steps"""
    smooth = {name: np.convolve(values, np.ones(20) / 20, "valid") for name, values in losses.items()}
    with _figure(path, (6.4, 3.4)) as ax:
        _lines(ax, smooth, (RED, BLUE))
        ax.axhline(1 / 6, color=SOFT, lw=1, ls=(0, (5, 3)))
        ax.set(xlabel="training step", ylabel="squared error", title="Adding (dashed: always answering 1)")
    return Path(path)


def _lines(ax, lines, colours):
    for (name, values), colour in zip(lines.items(), colours, strict=False):
        ax.plot(np.arange(len(values)), values, color=colour, label=name)
    ax.set_yscale("log")
    ax.legend()


def _map(ax, values):
    """(T, h) in [0, 1] -> T columns of h cells"""
    T, h = values.shape
    ax.imshow(values.T, extent=(0.5, T + 0.5, h, 0), aspect="auto", cmap="Blues", vmin=0, vmax=1)
    ax.grid(False)


@contextmanager
def _figure(path, size, shape=(1, 1)):
    """A figure of its own, in minigen's style, written when the block ends."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots(*shape, sharex=shape[0] > 1)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
