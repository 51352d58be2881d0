"""An evaluation as text: for the terminal, as CSV, and as LaTeX in the form of the paper's Tables 3 and 4.

Names are other people's: no format lets them do anything.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from threecad.curation import sizes
from threecad.formats.queue import cell
from threecad.learning.evaluate.record import as_json
from threecad.learning.evaluate.results import UPSTREAM, Evaluation, Share
from threecad.learning.thresholds import promised
from threecad.metrics import FIGURES, Bounded
from threecad.pipeline.scoring import tables as scoring
from threecad.pipeline.summary import count, plain
from threecad.pipeline.tables.data import CSV_COLUMNS
from threecad.pipeline.tables.grid import Grid
from threecad.pipeline.tables.terminal import put
from threecad.pipeline.tables.tex import escaped, spelled_out
from threecad.pipeline.tables.writing import NONE, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

MEAN = "Mean"
WIDE = 0.0005
"""Bounds further apart than this would show in the tables' one decimal, so they are told."""
MOST_COLUMNS = 10
"""Categories side by side in LaTeX, as in the paper; more stand below one another."""
PAPER = (
    ("3", "pixel_auroc", "pixel_ap"),
    ("4", "image_auroc", "aupro"),
)
"""Number of a table in the paper, and the two figures that it sets side by side."""


def show(done: Evaluation, console: Console) -> None:
    """Print all tables."""
    images = sum(each.images for each in done.categories)
    head = [done.run, done.dataset, count(len(done.categories), "category", "categories"), count(images, "test image")]
    head.append("at the masks' own resolution" if done.resolution == "native" else f"at {done.side} × {done.side} pixels")
    console.print(plain(" · ".join(head)), style="bold", markup=False)
    console.print()
    for grid in grids(done):
        put(console, grid)


def grids(done: Evaluation) -> list[Grid]:
    """Every table that has a row."""
    made = [_figures(done), _threshold(done), _photographs(done), _types(done), _sizes(done)]
    return [grid for grid in made if grid.rows]


def _figures(done: Evaluation) -> Grid:
    names = [name for name in FIGURES if name != UPSTREAM or done.has_upstream]
    rows = []
    for each in done.categories:
        counts = [f"{number:,}" for number in (each.images, each.defective, each.regions)]
        rows.append((each.category, *(percent(each.figures[name]) for name in names), *counts))
    if len(done.categories) > 1:
        means = [percent(done.mean(name)[0]) for name in names]
        totals = (sum(getattr(each, name) for each in done.categories) for name in ("images", "defective", "regions"))
        rows.append((MEAN, *means, *(f"{total:,}" for total in totals)))
    columns = ("Category", *(FIGURES[name].replace(" ", "\n") for name in names), "images", "defec-\ntive", "regions")
    title = "Per cent, as in the paper's Tables 3 and 4"
    return Grid("figures", title, columns, "l" + "r" * (len(columns) - 1), tuple(rows), " ".join(remarks(done)), total=MEAN)


def remarks(done: Evaluation) -> list[str]:
    """Sentences about the figures: how they are meant, what is undefined and why, and which are not sure to the last digit."""
    said = [f"P-PRO up to a false-positive rate of {done.pro_limit:g}; F1 at its best threshold."]
    if len(done.categories) > 1:
        said.append("Each category counts the same in the mean.")
    for name, title in FIGURES.items():
        of = done.mean(name)[1]
        if 0 < of < len(done.categories) and name != UPSTREAM:
            said.append(f"The mean of {title} is over {of} of {len(done.categories)} categories.")
    for each in done.categories:
        said += [f"{each.category}: {why}" for why in each.why]
        for name, figure in each.figures.items():
            if figure is not None and figure.upper - figure.lower >= WIDE:
                low, high = (f"{100 * bound:.1f}" for bound in (figure.lower, figure.upper))
                said.append(f"{each.category}: {FIGURES[name]} lies between {low} and {high}, where equal digits of scores end.")
    if done.has_upstream:
        said.append("P-PRO upstream is the authors' program's: image by image, to other rates; not comparable with P-PRO.")
    return said


def _threshold(done: Evaluation) -> Grid:
    rows = []
    for each in done.categories:
        at = each.at
        cells = [*_found(at.found), *_found(at.false_alarms), *_found(at.regions)]
        best = [NONE if value is None else f"{value:.4g}" for value in (each.image_f1_threshold, each.pixel_f1_threshold)]
        rows.append((each.category, f"{at.threshold:.4g}", *cells, *best))
    columns = (
        *("Category", "threshold", "defective\nfound, %", "of", "good\ntaken for\ndefective, %", "of"),
        *("regions\nfound, %", "of", "best F1 at\n(image)", "best F1 at\n(pixel)"),
    )
    rates = sorted({each.at.expected for each in done.categories})
    said = " and ".join(f"{100 * rate:g} %" for rate in rates)
    weak = limits([(each.category, each.at.rests_on, each.at.expected, each.at.trained) for each in done.categories], "image")
    notes = [
        f"Chosen so that about {said} of good images are taken for defective{', as far as good ones can tell' if weak else ''}.",
        *weak,
        "A region counts as found where a pixel of it reaches the threshold.",
    ]
    return Grid("threshold", "At the run's threshold", columns, "l" + "r" * (len(columns) - 1), tuple(rows), " ".join(notes))


def limits(rests: Sequence[tuple[str, int, float, bool]], one: str) -> list[str]:
    """A sentence for the thresholds that promise less than was asked for; (category, good ones, rate, whether these trained).

    >>> limits([("nut", 10, 0.01, False), ("cap", 1, 0.01, False), ("pin", 200, 0.01, False)], "image")
    ['nut: the threshold rests on 10 good images held out, which promise no better than 9.1 %.', \
'cap: the threshold rests on 1 good image held out, which promises no better than 50 %.']
    """
    names: dict[str, list[str]] = {}
    for category, number, rate, trained in rests:
        verb = "promises" if number == 1 else "promise"
        if trained:
            tail = f"that trained the model, which {verb} nothing: new ones score higher."
        elif (least := promised(number, rate)) > rate:
            tail = f"held out, which {verb} no better than {100 * least:.2g} %."
        else:
            continue
        names.setdefault(f"the threshold rests on {count(number, f'good {one}')} {tail}", []).append(category)
    return [f"{', '.join(of)}: {said}" for said, of in names.items()]


def _photographs(done: Evaluation) -> Grid:
    rows, rests = [], []
    for each in done.categories:
        at = each.at
        if at.photographs_found.total + at.photographs_false_alarms.total:
            cells = (*_found(at.photographs_found), *_found(at.photographs_false_alarms))
            rows.append((each.category, f"{at.photographs_threshold:.4g}", *cells))
            rests.append((each.category, at.photographs_rest_on, at.expected, at.trained))
    columns = ("Category", "threshold", "defective\nfound, %", "of", "good\ntaken for\ndefective, %", "of")
    weak = limits(rests, "photograph")
    note = " ".join(
        [*weak, "The highest score of a photograph's test images counts; those of them that do not test are not looked at."]
    )
    return Grid("photographs", "The same for whole photographs", columns, "lrrrrr", tuple(rows), note)


def _types(done: Evaluation) -> Grid:
    rows = tuple(
        (each.category, kind.type, *_found(kind.images), *_found(kind.regions)) for each in done.categories for kind in each.types
    )
    columns = ("Category", "type", "images\nfound, %", "of", "regions\nfound, %", "of")
    note = "An image of several types is listed under all of them together." if any("+" in row[1] for row in rows) else ""
    return Grid("types", "By type, at the run's threshold", columns, "llrrrr", rows, note)


def _sizes(done: Evaluation) -> Grid:
    rows = [
        (each.category, *(text for kind in each.sizes for text in _found(kind.regions)))
        for each in done.categories
        if any(kind.regions.total for kind in each.sizes)
    ]
    bounds = [f"<{math.isqrt(int(bound))}²" if math.isfinite(bound) else "" for bound in sizes.BOUNDS.values()]
    bounds[-1] = bounds[-2].replace("<", "≥")
    heads = [text for name, bound in zip(sizes.NAMES, bounds, strict=True) for text in (f"{name}\n{bound}, %", "of")]
    note = "Areas in pixels of the image."
    title = "Regions found by size class, at the run's threshold"
    return Grid("sizes", title, ("Category", *heads), "l" + "r" * len(heads), tuple(rows), note)


def percent(figure: Bounded | float | None) -> str:
    """A figure in per cent with one decimal, as the paper and `threecad score` have it.

    >>> percent(0.8765), percent(0.99999), percent(None)
    ('87.6', '>99.9', '-')
    """
    return scoring.percent(None if figure is None else float(figure))


def _found(those: Share) -> tuple[str, str]:
    """
    >>> _found(Share(1, 3)), _found(Share(0, 0))
    (('33.3', '3'), ('-', '0'))
    """
    return share(those.count, those.total), f"{those.total:,}"


def csv_text(done: Evaluation) -> str:
    """All numbers as one long table, a number a line: dataset, table, category, item, name, value; figures are shares of 1.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for row in _long(as_json(done)):
        rows.writerow([_cell(value) for value in (done.dataset, *row)])
    return text.getvalue()


def _long(data: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """(table, category, item, name, value) of each number."""
    for name in ("resolution", "side", "pro_limit"):
        yield "evaluation", "", "", name, data[name]
    for each in data["categories"]:
        category = each["category"]
        for name in ("images", "defective", "unmarked", "regions", "pixels", "anomalous_pixels"):
            yield "counts", category, "", name, each[name]
        for figure, values in each["figures"].items():
            yield from (("figures", category, figure, name, value) for name, value in (values or {"value": None}).items())
        yield from (("threshold", category, "", name, value) for name, value in _leaves(each["threshold"]))
        for table, key in (("types", "type"), ("sizes", "class")):
            for row in each[table]:
                rest = {name: value for name, value in row.items() if name != key}
                yield from ((table, category, row[key], name, value) for name, value in _leaves(rest))
    for figure, values in data["mean"].items():
        yield from (("mean", "", figure, name, value) for name, value in values.items())


def _leaves(row: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in row.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _cell(value: object) -> object:
    return cell(value if value is None or isinstance(value, int | float) else plain(value))


def latex(done: Evaluation) -> str:
    r"""Two tables in the form of the paper's Tables 3 and 4: P-AUROC/AP and I-AUROC/P-PRO, in per cent, a column a category.

    With more than ten categories a row each. They need the packages booktabs and amssymb, and any engine. Letters that plain
    LaTeX lacks stand as `\uXXXX`, and a comment says what they are.
    """
    lines = [f"% threecad evaluate: {plain(done.run)} on {plain(done.dataset)}", r"% \usepackage{booktabs,amssymb}"]
    names = dict.fromkeys(plain(each.category) for each in done.categories)
    lines += [f"% {spelled}: {name}" for name in names if (spelled := spelled_out(name)) != name]
    for number, first, second in PAPER:
        lines += ["", *_tabular(done, number, first, second)]
    return "\n".join(lines) + "\n"


def _tabular(done: Evaluation, number: str, first: str, second: str) -> Iterator[str]:
    pair = f"{FIGURES[first]}/{FIGURES[second]}"
    resolution = "the masks' own resolution" if done.resolution == "native" else f"{done.side} × {done.side} pixels"
    limit = f", P-PRO up to a false-positive rate of {done.pro_limit:g}" if "aupro" in (first, second) else ""
    yield r"\begin{table*}[t]"
    yield r"\centering"
    yield f"\\caption{{{escaped(f'{pair} (%) on {plain(done.dataset)}, at {resolution}{limit}.')}}}"
    yield f"\\label{{tab:evaluation-{number}}}"
    names = [each.category for each in done.categories]
    cells = [_pair(each.figures[first], each.figures[second]) for each in done.categories]
    if len(names) > 1:
        names.append(MEAN)
        cells.append(_pair(done.mean(first)[0], done.mean(second)[0]))
    side_by_side = len(done.categories) <= MOST_COLUMNS
    rows = (
        [["Method", *names], ["CFRG", *cells]]
        if side_by_side
        else [["Category", pair], *map(list, zip(names, cells, strict=True))]
    )
    yield f"\\begin{{tabular}}{{l{'c' * (len(rows[0]) - 1)}}}"
    yield r"\toprule"
    for at, row in enumerate(rows):
        if at == 1 or (not side_by_side and at == len(rows) - 1):
            yield r"\midrule"
        yield " & ".join(escaped(text) for text in row) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table*}"


def _pair(first: Bounded | float | None, second: Bounded | float | None) -> str:
    return f"{percent(first)}/{percent(second)}"


TEXTS = {"csv": csv_text, "latex": latex}
"""What can be printed instead of the tables, but for JSON."""
