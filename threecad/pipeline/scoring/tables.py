"""The figures as text: for the terminal, JSON, CSV and LaTeX.

The table is the paper's: I-AUROC, P-AUROC, P-PRO and AP in per cent with one decimal, a row a category and their mean. JSON and
CSV hold the numbers themselves, with their bounds. Names are other people's: no format lets them do anything.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.text import Text

from threecad.formats import queue
from threecad.metrics import FIGURES, Bounded, Scores
from threecad.pipeline.scoring.result import bounds_of, total, value_of
from threecad.pipeline.summary import count, plain, say
from threecad.pipeline.tables.grid import Grid
from threecad.pipeline.tables.terminal import put
from threecad.pipeline.tables.tex import escaped, spelled_out
from threecad.pipeline.tables.writing import NONE

if TYPE_CHECKING:
    from rich.console import Console

    from threecad.pipeline.scoring.result import Row, Scored

PAPER = ("image_auroc", "pixel_auroc", "aupro", "pixel_ap")
"""The columns of the paper's tables."""
MORE = ("image_ap", "image_f1", "pixel_f1")
"""What the paper does not tell."""
UPSTREAM = "pro_upstream"
MEAN = "Mean"
CSV_COLUMNS = ("category", "figure", "value", "lower", "upper")
_COUNTS = ("images", "anomalous_images", "pixels", "anomalous_pixels", "regions")
_LAST_DIGIT = 0.001
"""Of a figure in per cent with one decimal."""


def percent(value: float | None) -> str:
    """A figure in per cent as the paper writes it; never 100.0 or 0.0 where it is neither.

    >>> percent(0.9342), percent(1.0), percent(0.99999), percent(0.00001), percent(None)
    ('93.4', '100.0', '>99.9', '<0.1', '-')
    """
    if value is None:
        return NONE
    text = f"{100 * value:.1f}"
    if text == "100.0" and value < 1:
        return ">99.9"
    return "<0.1" if text == "0.0" and value > 0 else text


# Standard output


def show(scored: Scored, console: Console) -> None:
    """Print the table and what has to be known to read it."""
    console.print(Text(plain(_head(scored))), style="bold")
    console.print()
    for grid in _grids(scored):
        put(console, grid)
    for line in notes(scored):
        say(console, line, whole=True)


def _head(scored: Scored) -> str:
    images = total(scored.rows, lambda row: row.scores.images)
    defective = total(scored.rows, lambda row: row.scores.anomalous_images)
    masks = scored.masks if scored.split is None else f"{scored.masks} ({scored.split})"
    return " · ".join(
        (f"{scored.maps} on {masks}", count(images, "image"), f"{defective:,} defective", f"layout {scored.layout}")
    )


def _grids(scored: Scored) -> Iterator[Grid]:
    names = _columns(scored)
    rows = [(row.category, *_percents(row, names), *_counted(row.scores)) for row in scored.rows]
    rows += [(*means, "", "", "") for means in _means(scored, names)]
    heads = ("Category", *(FIGURES[name].replace(" ", "\n") for name in names), "images", "defective", "defects")
    # The key of a table that is always whole.
    yield Grid("overview", "As in the paper's tables", heads, _align(heads), tuple(rows), total=MEAN)
    rows = [(row.category, *_percents(row, MORE), *_levels(row.scores)) for row in scored.rows]
    rows += [(*means, "", "") for means in _means(scored, MORE)]
    heads = ("Category", *(FIGURES[name] for name in MORE), "image\nthreshold", "pixel\nthreshold")
    yield Grid("overview", "What the paper does not tell", heads, _align(heads), tuple(rows), total=MEAN)


def _columns(scored: Scored) -> tuple[str, ...]:
    return (*PAPER, UPSTREAM) if _has_upstream(scored) else PAPER


def _align(heads: Sequence[str]) -> str:
    return "l" + "r" * (len(heads) - 1)


def _percents(row: Row, names: Sequence[str]) -> list[str]:
    return [percent(value_of(row.scores, name)) for name in names]


def _counted(scores: Scores) -> list[str]:
    return [f"{number:,}" for number in (scores.images, scores.anomalous_images, scores.regions)]


def _levels(scores: Scores) -> list[str]:
    return [NONE if value is None else f"{value:.4g}" for value in (scores.image_f1_threshold, scores.pixel_f1_threshold)]


def _means(scored: Scored, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The row of the means, where there is more than one category."""
    return [(MEAN, *(percent(scored.mean(name)[0]) for name in names))] if len(scored.rows) > 1 else []


def notes(scored: Scored) -> list[str]:
    """What has to be known to read the table, a sentence a line."""
    return [*_on_the_way(scored), *_without(scored), *_uncertain(scored), *_not_comparable(scored)]


def _on_the_way(scored: Scored) -> Iterator[str]:
    yield f"In per cent. P-PRO up to a false-positive rate of {scored.pro_limit:g}; a defect is an 8-connected region of a mask."
    resized = total(scored.rows, lambda row: row.resized)
    if resized and scored.resize == "maps":
        yield f"{count(resized, 'map')} of another size than the mask: resized to it, bilinearly where they grow."
    elif resized:
        yield f"{count(resized, 'mask')} of another size than the map: resized to it, a pixel marked where it touches a defect."
    unmasked = total(scored.rows, lambda row: row.unmasked)
    if unmasked:
        yield f"{count(unmasked, 'defective image')} without a mask, or with an empty one: counted as images, their pixels not."
    if scored.left_over:
        yield f"{count(scored.left_over, 'map')} of no image that was to be scored: left out."
    if scored.left_over_scores:
        yield f"{count(scored.left_over_scores, 'score')} of the list, of no image that was to be scored: left out."
    if scored.dropped:
        yield f"{count(scored.dropped, 'file')} of the data set left out: threecad stats tells what is wrong there."


def _without(scored: Scored) -> Iterator[str]:
    for category, why in scored.unmeasured.items():
        yield f"{category}: {why}; it is in no table and in no mean."
    for row in scored.rows:
        if row.scores.why is not None:
            yield f"{row.category}: {row.scores.why}"
    for name in (*PAPER, *MORE):
        value, there = scored.mean(name)
        if value is not None and there < len(scored.rows):
            yield f"The mean of {FIGURES[name]} is over {there} of {len(scored.rows)} categories."


def _uncertain(scored: Scored) -> Iterator[str]:
    """Where the bounds of a figure are wider than half of the last digit that is shown."""
    for row in scored.rows:
        for name in (*PAPER, *MORE):
            bounds = bounds_of(row.scores, name)
            if bounds is not None and bounds[1] - bounds[0] > _LAST_DIGIT / 2:
                low, high = (f"{100 * bound:.3f}" for bound in bounds)
                told = f"{FIGURES[name]} of {row.category} lies between {low} and {high}"
                yield f"{told}; --exact tells scores apart that share a bin."


def _not_comparable(scored: Scored) -> Iterator[str]:
    if _has_upstream(scored):
        yield f"{FIGURES[UPSTREAM]} is not comparable: as the authors' program measures it, image by image and rescaled."


def _has_upstream(scored: Scored) -> bool:
    return any(row.scores.pro_upstream is not None for row in scored.rows)


# For programs


def as_json(scored: Scored) -> dict[str, Any]:
    """All of it as plain values; a figure of pixels is an object of `value`, `lower` and `upper`."""
    return {
        "maps": scored.maps,
        "masks": scored.masks,
        "layout": scored.layout,
        "split": scored.split,
        "resize": scored.resize,
        "pro_limit": scored.pro_limit,
        "unmeasured": dict(scored.unmeasured),
        "image_scores": "list" if scored.image_scores else "highest",
        "left_over": scored.left_over,
        "left_over_scores": scored.left_over_scores,
        "dropped": scored.dropped,
        "categories": {row.category: _row_json(row) for row in scored.rows},
        "mean": {name: scored.mean(name)[0] for name in FIGURES},
    }


def _row_json(row: Row) -> dict[str, Any]:
    told = {field.name: _plain(getattr(row.scores, field.name)) for field in fields(row.scores)}
    return told | {"resized": row.resized, "unmasked": row.unmasked}


def _plain(value: object) -> object:
    if isinstance(value, Bounded):
        return {"value": value.value, "lower": value.lower, "upper": value.upper}
    return value


def csv_text(scored: Scored) -> str:
    """All numbers, one a line: category, figure, value, lower, upper; the bounds are empty where a figure is exact.

    The category of the means is empty, since one may be called `Mean`. A cell that a spreadsheet would take for a formula begins
    with an apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for row in scored.rows:
        for name in FIGURES:
            rows.writerow(_cells(row.category, name, value_of(row.scores, name), bounds_of(row.scores, name)))
        for name in ("image_f1_threshold", "pixel_f1_threshold", *_COUNTS):
            rows.writerow(_cells(row.category, name, getattr(row.scores, name), None))
    for name in FIGURES:
        rows.writerow(_cells("", name, scored.mean(name)[0], None))
    return text.getvalue()


def _cells(category: str, name: str, value: float | None, bounds: tuple[float, float] | None) -> list[object]:
    return [queue.cell(plain(category)), name, queue.cell(value), *(bounds or ("", ""))]


def latex(scored: Scored) -> str:
    r"""The paper's table, a `table` with a caption and a label to refer to; it needs the package booktabs.

    Letters that plain LaTeX lacks stand as `\uXXXX`, and a comment says what they are.
    """
    names = _columns(scored)
    lines = [f"% threecad score: {plain(scored.maps)}", r"% \usepackage{booktabs}"]
    categories = [plain(row.category) for row in scored.rows]
    lines += [f"% {spelled}: {name}" for name in categories if (spelled := spelled_out(name)) != name]
    caption = f"{scored.maps} on {scored.masks}. {' '.join(notes(scored))}"
    lines += [r"\begin{table}[t]", r"\centering", f"\\caption{{{escaped(caption)}}}", r"\label{tab:score}"]
    lines += [
        f"\\begin{{tabular}}{{l{'r' * len(names)}}}",
        r"\toprule",
        _line(("Category", *(FIGURES[name] for name in names))),
        r"\midrule",
    ]
    lines += [_line((row.category, *_percents(row, names))) for row in scored.rows]
    for means in _means(scored, names):
        lines += [r"\midrule", _line(means)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
