"""The picture of lesson e08: test error by number of labels, ours with their errors, published ones dashed."""

from pathlib import Path

import numpy as np

from minigen.plot import COLOURS, DPI, SOFT, STYLE


def curves(labels, table, published, path):
    """(L,), name -> L lists of errors by seed, name -> (L,) -> path: both axes logarithmic, names at the ends"""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.2), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        for name, row in published.items():
            ax.plot(labels, row, color=SOFT, lw=1, ls=(0, (5, 3)))
            _name(ax, labels[0], row[0], name, SOFT, left=True)
        for colour, (name, cells) in zip(COLOURS, table.items(), strict=False):
            mean = [np.mean(cell) for cell in cells]
            error = [np.std(cell, ddof=1) / np.sqrt(len(cell)) for cell in cells]
            ax.errorbar(labels, mean, yerr=error, color=colour, marker="o", ms=4, lw=1.8, capsize=3)
            _name(ax, labels[-1], mean[-1], name, colour)
        ax.set(xscale="log", yscale="log", xlabel="labelled images", ylabel="test error, per cent")
        ax.set_xlim(labels[0] / 3.6, labels[-1] * 1.2)  # room for the names on the left
        ax.set_xticks(labels, [str(n) for n in labels])
        ax.set_yticks([3, 5, 10, 20, 30], ["3", "5", "10", "20", "30"])
        ax.minorticks_off()
        ax.set_title("Test error by number of labels (dashed: published, all of MNIST)")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
    return Path(path)


def _name(ax, x, y, text, colour, left=False):
    shift, ha = ((-8, 0), "right") if left else ((8, 0), "left")
    ax.annotate(text, (x, y), shift, textcoords="offset points", color=colour, fontsize=8, ha=ha, va="center",
                annotation_clip=False)  # fmt: skip
