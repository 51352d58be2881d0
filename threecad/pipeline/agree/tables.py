"""An agreement as a program reads it: one JSON object, and a table of every defect."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from threecad.curation.agreement import Row
from threecad.formats import queue
from threecad.pipeline.agree.result import Agreement, Coefficient, Line, Scores


def as_json(done: Agreement) -> dict[str, Any]:
    """An agreement as one JSON object; docs/agreement.md defines every number. Numbers are rounded to six digits."""
    return {
        "alpha": {name: _coefficient(each) for name, each in done.alpha.items()},
        "annotators": [_scores_json(each) for each in done.annotators],
        "bars": {name: value for name, value in asdict(done.bars).items() if value is not None},
        "below": [asdict(each) | {"value": _rounded(each.value)} for each in done.below],
        "between": [asdict(each) | {"f1": _rounded(each.f1), "mean_iou": _rounded(each.mean_iou)} for each in done.between],
        "defects": [_line(each) for each in done.lines],
        "images": done.images,
        "left_out": [asdict(each) for each in done.left_out],
        "min_iou": done.min_iou,
        "reference": done.reference,
        "unusable_in_reference": done.unusable,
    }


def _scores_json(each: Scores) -> dict[str, Any]:
    return {
        "calls": [{"reference": one, "annotator": other, "images": count} for (one, other), count in each.calls.items()],
        "confusion": [{"reference": one, "drawn": other, "count": count} for (one, other), count in each.confusion.items()],
        "excused": each.excused,
        "images": each.images,
        "kappa": _coefficient(each.kappa),
        "name": each.name,
        "sizes": [{"size": row.name, **_row(row)} for row in each.sizes],
        "total": _row(each.total),
        "types": [{"type": row.name, **_row(row)} for row in each.types],
    }


def _row(row: Row) -> dict[str, Any]:
    tally = row.tally
    return (
        asdict(tally)
        | {"reference": tally.reference, "drawn": tally.drawn}
        | {name: _rounded(getattr(tally, name)) for name in ("precision", "recall", "f1")}
        | {name: _rounded(value) for name, value in asdict(row.closeness).items()}
    )


def _coefficient(each: Coefficient) -> dict[str, Any]:
    return asdict(each) | {"value": _rounded(each.value)}


COLUMNS = (
    *("annotator", "image", "file", "verdict", "reference_type", "drawn_type", "size", "reference_area", "drawn_area"),
    *("area_ratio", "iou", "distance", "hausdorff", "x", "y", "reference_shapes", "drawn_shapes", "detail"),
)
"""Of the table of defects, a line each; the objects in the JSON's `defects` have the same names."""


def _line(each: Line) -> dict[str, Any]:
    one = each.comparison
    place = one.place or (None, None)
    return {
        "annotator": each.annotator,
        "image": each.image,
        "file": each.file,
        "verdict": one.verdict.value,
        "reference_type": one.reference,
        "drawn_type": one.drawn,
        "size": one.size,
        "reference_area": _rounded(one.reference_area),
        "drawn_area": _rounded(one.drawn_area),
        "area_ratio": _rounded(one.area_ratio),
        "iou": _rounded(one.iou),
        "distance": _rounded(one.distance),
        "hausdorff": _rounded(one.hausdorff),
        "x": _rounded(place[0]),
        "y": _rounded(place[1]),
        "reference_shapes": list(one.reference_shapes),
        "drawn_shapes": list(one.drawn_shapes),
        "detail": one.detail,
    }


def as_csv(done: Agreement) -> str:
    """Every defect as CSV, a line each, then a line for every image that was not compared.

    A cell of text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for line in done.lines:
        rows.writerow(map(_cell, _line(line).values()))
    for each in done.left_out:
        cells = {"annotator": each.annotator, "image": each.image, "verdict": "left out", "detail": f"{each.side}: {each.reason}"}
        rows.writerow(_cell(cells.get(column)) for column in COLUMNS)
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return queue.cell(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
