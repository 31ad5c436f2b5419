"""The tables of `minigen compare`: a report, fit for JSON, as text for the terminal and as Markdown.

It speaks the language that was chosen (`minigen --lang ko compare`); the report itself is English.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minigen.course.console import filled, folded, width_of
from minigen.course.language import spoken, term
from solutions.claims_lab import CLASSES, MODELS
from solutions.e16_claims import matrix, taxonomy

NAMES = {
    "autoencoder": "autoencoder",
    "pixelrnn": "PixelRNN",
    "pixelcnn": "PixelCNN",
    "vae": "VAE",
    "gan": "GAN",
}

COLUMNS = "model | weights | images | train s | ms/image | nats | ms/sample | distance | classes | sharp"


def model_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A report -> the cells of the table of models, real digits last"""
    rows = []
    for name in MODELS:
        one = found["models"][name]
        nats = f"{one.get('sign', '')} {one['nats']:.1f} ± {one['nats_sd']:.1f}" if "nats_sd" in one else (
            f"{one.get('sign', '')} {one['nats']:.1f}" if "nats" in one else "-")  # fmt: skip
        rows.append(
            (
                NAMES[name],
                f"{one['parameters']:,.0f}",
                f"{one['images']:,.0f}",
                _cell(one, "seconds", "{:.1f}"),
                _cell(one, "ms_per_image", "{:.3f}"),
                nats,
                _cell(one, "sample_seconds", "{:.3f}", 1000),
                _cell(one, "distance", "{:.1f}") + (f" ± {one['distance_sd']:.1f}" if "distance_sd" in one else ""),
                _cell(one, "classes", "{:.1f}"),
                _cell(one, "sharpness", "{:.2f}"),
            )
        )  # fmt: skip
    real = found["real digits"]
    last = (
        spoken("real digits"),
        *["-"] * 6,
        f"{real['distance']:.1f}",
        f"{real['classes']}",
        f"{real['sharpness']:.2f}",
    )
    return [*rows, last]


def _cell(one: Mapping[str, Any], key: str, how: str, times: float = 1.0) -> str:
    return how.format(one[key] * times) if key in one else "-"


def claim_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A report -> row of the notes, claim, quantity, what would confirm it, mean and interval, verdict"""
    return [
        (
            one["row"],
            spoken(one["claim"]),
            spoken(one["quantity"]),
            f"> {one['above']:g}",
            f"{_figure(one['mean'], '?')} [{_figure(one['low'], '-∞')}, {_figure(one['high'], '∞')}]",
            term("verdict", one["verdict"]),
        )
        for one in found["claims"]
    ]


def _figure(value: float | None, none: str) -> str:
    """Three digits of a number; JSON knows no infinity, so `none` says what stands for it"""
    if value is None:
        return none
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


CLAIM_COLUMNS = "row | claim | quantity | true if | measured | verdict"
BELOW = (
    "nats: of the same binary test images, = exact, <= a bound (50 draws). ms/sample: in batches, by the cached "
    "sampler. distance: of a classifier's features, to binary test digits (not FID). sharp: of grey images; the VAE's "
    "are means. ±: standard deviation over the seeds."
)


def heads(columns: str) -> list[str]:
    """The heads of a table, which are translated together: a word alone may mean anything"""
    return spoken(columns).split(" | ")


def text(found: Mapping[str, Any]) -> str:
    """A report -> what the terminal shows"""
    lines = [*tree(), ""]
    if not found["claims"]:
        return "\n".join([*lines, spoken("no seed is complete yet: no verdict")])
    equal, sure = spoken(found["equal"]), spoken(found["confidence"])
    lines += [f"{term('report', 'equal:')} {equal}; {sure}", ""]
    lines += [*aligned([heads(COLUMNS), *model_rows(found)]), "", *folded(spoken(BELOW)), ""]
    for row, claim, quantity, condition, measured, verdict in claim_rows(found):
        lines.append(f"{filled(verdict, 10)} {row}  {claim}")
        lines.append(f"{'':16}{quantity}: {measured}, {spoken(f'true if {condition}')}")
    lines += ["", *folded(naive_line(found)), *folded(busy_line(found))]
    return "\n".join(lines)


def tree() -> list[str]:
    """The taxonomy and the matrix of the lesson"""
    yes = term("answer", "yes")
    return [
        spoken(taxonomy(CLASSES)),
        "",
        matrix(CLASSES).replace("yes", " " * (len("yes") - width_of(yes)) + yes),
    ]


def naive_line(found: Mapping[str, Any]) -> str:
    """What the samplers would cost without a cache"""
    said = []
    for name in ("pixelrnn", "pixelcnn"):
        one = found["models"][name]
        if "naive_passes" in one:
            said.append(
                spoken(f"{NAMES[name]} {one['naive_passes']:.0f} network runs, {one['naive_seconds']:.2f} s")
            )
    chains = found["exact"]["chains"]
    grows = "; ".join(f"{NAMES[name]} {', '.join(map(str, chains[name]))}" for name in chains)
    sides = ", ".join(f"{side}x{side}" for side in found["exact"]["sides"])
    cost, chain = spoken("one image without a cache:"), spoken("Longest chain of operations, at the sizes")
    return f"{cost} {'; '.join(said)}. {chain} {sides}: {grows}."


def busy_line(found: Mapping[str, Any]) -> str:
    """A warning where trainings took much longer than they were to take; else nothing"""
    planned = found["plan"]["seconds"]
    took = [one["seconds"] for one in found["models"].values() if "seconds" in one]
    if not took or max(took) < 1.3 * planned:
        return ""
    return spoken(
        f"The machine was busy: trainings took {min(took):.1f} to {max(took):.1f} s, planned were {planned:.1f} s; "
        "mind that in all figures of time."
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells -> lines: the first column flush left, the others flush right"""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [" " * (width - width_of(cell)) + cell for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([filled(first, widths[0]), *cells]))
    return lines


def markdown(found: Mapping[str, Any]) -> str:
    """A report -> report.md"""

    def table(columns: str, rows: Sequence[Sequence[str]]) -> list[str]:
        head = heads(columns)
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]  # p(z|x)
        return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]

    lines = [f"# {spoken('Five models, the same training time')}", "", "```", *tree(), "```", ""]
    if found["claims"]:
        lines += [
            f"{term('report', 'Equal:')} {spoken(found['equal'])}. {spoken(found['confidence'])}.",
            "",
            *table(COLUMNS, model_rows(found)),
            "",
            spoken(BELOW),
            "",
            *table(CLAIM_COLUMNS, claim_rows(found)),
            "",
            naive_line(found),
            busy_line(found),
        ]
    return "\n".join([*lines, "", f"![{spoken('Real digits beside samples')}](samples.png)", ""])
