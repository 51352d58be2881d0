"""The rows of the one table: what is compared with what, the bar, and the verdict on the rounds that were measured.

A ratio is that of the rounds' own measurements, since what disturbs a round disturbs all of it. The median decides, and for
memory the largest: a limit that holds on most days is none.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Any, Literal

Verdict = Literal["met", "not met", "told", "not measured"]


@dataclass(frozen=True, slots=True)
class Row:
    """`over` and `under` are names of measurements of `part`; `under` None means the measurement itself. No limit: only told."""

    part: str
    text: str
    over: str
    under: str | None = None
    limit: float | None = None
    at_least: bool = False
    unit: str = "×"
    factor: float = 1.0
    largest: bool = False

    @property
    def bar(self) -> str:
        return "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what came of it; `rounds` is empty where nothing was measured, and `reason` says why."""

    row: Row
    text: str
    verdict: Verdict
    rounds: tuple[float, ...] = ()
    reason: str = ""

    @property
    def value(self) -> float:
        return max(self.rounds) if self.row.largest else statistics.median(self.rounds)

    @property
    def measured(self) -> str:
        if not self.rounds:
            return ""
        spread = f" ({number(min(self.rounds))} to {number(max(self.rounds))})" if len(self.rounds) > 1 else " (one round)"
        return f"{number(self.value)} {self.row.unit}{spread}"

    @property
    def said(self) -> str:
        return f"not measured: {self.reason}" if self.verdict == "not measured" else self.verdict


def number(value: float) -> str:
    """Three digits that count.

    >>> number(0.01234), number(1.236), number(1234.5)
    ('0.0123', '1.24', '1,234')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def faster(text: str, over: str, under: str = "two seconds", limit: float | None = None) -> Row:
    return Row("convert", text, over, under, limit, True)


def share(part: str, text: str, over: str, under: str, limit: float) -> Row:
    return Row(part, text, over, under, limit, unit="%", factor=100)


ROWS = (
    faster("SAHI's slice_coco, over convert with 2 workers", "sahi seconds", limit=12),
    faster("OpenCV script, 2 processes, imread as it is, over convert", "opencv seconds", limit=2),
    faster("the same script, gray kept gray, over convert", "opencv-gray seconds"),
    faster("Pillow script, 1 process, over convert", "pillow seconds"),
    Row("convert", "CPU of convert over the codec floor, 1 worker, warm", "one-warm cpu", "floor cpu", 1.25),
    Row("convert", "CPU of convert over the codec floor, 2 workers, warm", "two-warm cpu", "floor cpu", 1.25),
    faster("1 worker over 2 workers, whole processes", "one seconds", limit=1.6),
    faster("1 worker over 2 workers, warm", "one-warm seconds", "two-warm seconds", 1.6),
    Row("convert", "peak memory, 2 workers", "two peak", limit=250, unit="MB", largest=True),
    share("convert", "second run over the first, warm", "again-warm seconds", "two-warm seconds", 5),
    share("profile", "exact rasteriser, share of convert's CPU", "rasteriser cpu", "all cpu", 5),
    Row("growth", "seconds an image, {images[2]} photographs over {images[0]}", "images 3 each", "images 1 each", 1.15),
    Row("growth", "seconds, {polygons[2]} polygons an image over {polygons[0]}", "polygons 3 seconds", "polygons 1 seconds", 1.7),
    Row("growth", "time a megapixel, {sides[2]} pixels a side over {sides[0]}", "sides 3 each", "sides 1 each", 1.25),
    *(Row("growth", f"time a megapixel, {{sides[{k - 1}]}} pixels a side", f"sides {k} each", unit="ms") for k in (1, 2, 3)),
    *(
        Row("growth", f"peak over two decoded photographs of {{sides[{k - 1}]}}²", f"sides {k} peak", f"sides {k} two", limit)
        for k, limit in ((1, None), (2, 1.5), (3, 1.5))
    ),
    Row("many", "{sources} sources: scan, check and split", "both seconds", limit=10, unit="min", factor=1 / 60),
    Row("many", "{sources} sources: peak memory of check", "check peak", limit=1000, unit="MB", largest=True),
    Row("many", "{sources} sources: peak memory of convert", "convert peak", limit=1000, unit="MB", largest=True),
    share("many", "second run over the first, whole processes", "again seconds", "convert seconds", 5),
    Row("stats", "{images} images: images a second, first run", "first rate", unit="images/s"),
    share("stats", "second run over the first", "second seconds", "first seconds", 5),
    Row("stats", "{images} images: peak memory", "first peak", limit=1000, unit="MB", largest=True),
    *(
        Row("loading", f"Dataset {text}, of the speed of decoding alone", f"raw {way}", f"dataset {way}", 90, True, "%", 100)
        for way, text in (
            ("iterated", "in one process"),
            ("loader 0", "in a DataLoader"),
            ("loader 2", "in a DataLoader, 2 workers"),
        )
    ),
    Row("metrics", "scikit-learn's AUROC and AP, over all of threecad's, CPU", "sklearn cpu", "own cpu", 20, True),
    Row("metrics", "adeval's accumulator over threecad's, CPU", "adeval cpu", "own cpu", 1, True),
    Row("metrics", "error of AP, adeval's over threecad's", "adeval error", "own error", 100, True),
    Row("metrics", "{streamed} maps: state held", "state held", limit=100, unit="MB", largest=True),
    Row("training", "images a second on a GPU", "gpu rate", limit=600, at_least=True, unit="images/s"),
    Row("training", "images a second on the CPU", "cpu rate", unit="images/s"),
)


def judge(results: dict[str, Any], rows: tuple[Row, ...] = ROWS) -> list[Judged]:
    """Every row of the parts that were asked for; what was only to be told and was not measured is left out.

    The sizes of a quick run are too small for any verdict.
    """
    found = []
    for row in rows:
        if row.part not in results["parts"]:
            continue
        judged = _judged(row, results["parts"][row.part])
        if results.get("mode") == "quick" and judged.rounds:
            judged = replace(judged, verdict="told")
        if judged.rounds or row.limit is not None:
            found.append(judged)
    return found


def _judged(row: Row, part: dict[str, Any]) -> Judged:
    text = titled(row, part)
    rounds = values(row, part)
    if not rounds:
        return Judged(row, text, "not measured", reason=_reason(row, part))
    judged = Judged(row, text, "told", rounds)
    if row.limit is None:
        return judged
    met = judged.value >= row.limit if row.at_least else judged.value <= row.limit
    return Judged(row, text, "met" if met else "not met", rounds)


def titled(row: Row, part: dict[str, Any]) -> str:
    """The row's text with the part's settings in it, as far as it holds them."""
    try:
        return row.text.format(**part["settings"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return row.text


def values(row: Row, part: dict[str, Any]) -> tuple[float, ...]:
    """What the row says, round by round; empty where one of its measurements is missing, or one to divide by is 0."""
    measurements = part["measurements"]
    names = [row.over] if row.under is None else [row.over, row.under]
    if not all(name in measurements for name in names):
        return ()
    over = measurements[row.over]["rounds"]
    if row.under is None:
        return tuple(value * row.factor for value in over)
    under = measurements[row.under]["rounds"]
    if len(over) != len(under) or 0 in under:
        return ()
    return tuple(one / other * row.factor for one, other in zip(over, under, strict=True))


def _reason(row: Row, part: dict[str, Any]) -> str:
    names = [name for name in (row.over, row.under) if name is not None and name not in part["measurements"]]
    for prefix, why in part["missing"].items():
        if any(name.startswith(prefix) for name in names):
            return str(why)
    return part["reason"] or "the part says nothing of it"


def table(found: list[Judged]) -> list[str]:
    """Lines of plain text: part, what is compared, bar, measured with least and largest round, verdict."""
    cells = [["part", "what is compared", "bar", "measured", ""]]
    cells += [[each.row.part, each.text, each.row.bar, each.measured, each.said] for each in found]
    return columns(cells)


def columns(cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
