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

from rich.console import Console
from rich.table import Table
from rich.text import Text

from threecad.formats import queue
from threecad.metrics import Bounded
from threecad.pipeline.scoring.result import FIGURES, bounds_of, total, value_of
from threecad.pipeline.summary import count, plain
from threecad.pipeline.tables.tex import escaped
from threecad.pipeline.tables.writing import NONE

if TYPE_CHECKING:
    from threecad.pipeline.scoring.result import Row, Scored

PAPER = {"image_auroc": "I-AUROC", "pixel_auroc": "P-AUROC", "aupro": "P-PRO", "pixel_ap": "AP"}
"""The columns of the paper's tables."""
MORE = {"image_ap": "image AP", "image_f1": "image F1", "pixel_f1": "pixel F1"}
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
        console.print(grid, crop=False)
        console.print()
    for line in notes(scored):
        console.print(Text(plain(line)), soft_wrap=True)


def _head(scored: Scored) -> str:
    images = total(scored.rows, lambda row: row.scores.images)
    defective = total(scored.rows, lambda row: row.scores.anomalous_images)
    masks = scored.masks if scored.split is None else f"{scored.masks} ({scored.split})"
    return " · ".join(
        (f"{scored.maps} on {masks}", count(images, "image"), f"{defective:,} defective", f"layout {scored.layout}")
    )


def _grids(scored: Scored) -> Iterator[Table]:
    names = PAPER | ({UPSTREAM: "PRO*"} if _has_upstream(scored) else {})
    yield _table(
        ("Category", *names.values(), "images", "defective", "defects"),
        [
            *(
                [row.category, *_percents(row, names), *_counted(row.scores, ("images", "anomalous_images", "regions"))]
                for row in scored.rows
            ),
            *_mean_row(scored, names, 3),
        ],
    )
    yield _table(
        ("Category", *MORE.values(), "image\nthreshold", "pixel\nthreshold"),
        [
            *(
                [
                    row.category,
                    *_percents(row, MORE),
                    _level(row.scores.image_f1_threshold),
                    _level(row.scores.pixel_f1_threshold),
                ]
                for row in scored.rows
            ),
            *_mean_row(scored, MORE, 2),
        ],
    )


def _percents(row: Row, names: Sequence[str] | dict[str, str]) -> list[str]:
    return [percent(value_of(row.scores, name)) for name in names]


def _counted(scores: Any, names: Sequence[str]) -> list[str]:
    return [f"{getattr(scores, name):,}" for name in names]


def _level(value: float | None) -> str:
    return NONE if value is None else f"{value:.4g}"


def _mean_row(scored: Scored, names: dict[str, str], empty: int) -> list[list[str]]:
    if len(scored.rows) < 2:
        return []
    return [[MEAN, *(percent(scored.mean(name)[0]) for name in names), *[""] * empty]]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(columns[0], overflow="fold", vertical="bottom", min_width=8)
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row), style="bold" if row[0] == MEAN and row is rows[-1] else None)
    return table


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


def _without(scored: Scored) -> Iterator[str]:
    for category, why in scored.unmeasured.items():
        yield f"{category}: {why}; it is in no table and in no mean."
    for row in scored.rows:
        if row.scores.why is not None:
            yield f"{row.category}: {row.scores.why}"
    for name, called in (PAPER | MORE).items():
        value, there = scored.mean(name)
        if value is not None and there < len(scored.rows):
            yield f"The mean of {called} is over {there} of {len(scored.rows)} categories."


def _uncertain(scored: Scored) -> Iterator[str]:
    """Where the bounds of a figure are wider than half of the last digit that is shown."""
    for row in scored.rows:
        for name, called in (PAPER | MORE).items():
            bounds = bounds_of(row.scores, name)
            if bounds is not None and bounds[1] - bounds[0] > _LAST_DIGIT / 2:
                low, high = (f"{100 * bound:.3f}" for bound in bounds)
                yield f"{called} of {row.category} lies between {low} and {high}; --exact tells scores apart that share a bin."


def _not_comparable(scored: Scored) -> Iterator[str]:
    if _has_upstream(scored):
        yield "PRO* is not comparable: as the authors' program measures it, image by image and rescaled."


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
    """The paper's table, a `table` with a caption and a label to refer to; it needs the package booktabs."""
    names = PAPER | ({UPSTREAM: "PRO*"} if _has_upstream(scored) else {})
    lines = [f"% threecad score: {plain(scored.maps)}", r"% \usepackage{booktabs}", r"\begin{table}[t]", r"\centering"]
    caption = f"{scored.maps} on {scored.masks}. {' '.join(notes(scored))}"
    lines += [f"\\caption{{{escaped(caption)}}}", r"\label{tab:score}", f"\\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule"]
    lines += [" & ".join(map(escaped, ("Category", *names.values()))) + r" \\", r"\midrule"]
    for row in scored.rows:
        lines.append(" & ".join(map(escaped, (row.category, *_percents(row, names)))) + r" \\")
    for means in _mean_row(scored, names, 0):
        lines += [r"\midrule", " & ".join(map(escaped, means)) + r" \\"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"
