"""What the figures have in common: places in inches, rows with their labels, a legend, small print, numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from threecad.curation.statistics import ALL, HeatMap, Looks, Survival
from threecad.pipeline.plots.lettering import Sheet, width_of
from threecad.pipeline.plots.style import COLUMN, GREY, MOST_ROWS, NAME, NAMES

_Row = TypeVar("_Row", HeatMap, Looks, Survival)


def place(figure: Figure, left: float, top: float, width: float, height: float, **more: Any) -> Axes:
    """Axes at a place in inches from the figure's upper left corner."""
    whole_width, whole_height = figure.get_size_inches()
    box = (left / whole_width, 1 - (top + height) / whole_height, width / whole_width, height / whole_height)
    return figure.add_axes(box, **more)


def write(figure: Figure, left: float, top: float, text: str, **more: Any) -> None:
    """A text at a place in inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va="top", **more)


def nothing(text: str, width: float = COLUMN) -> Figure:
    """A figure that says that there is nothing to show."""
    figure = Figure(figsize=(width, 0.8))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY, size=8)
    return figure


def label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Rows from top to bottom, each with its label at the left."""
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for label in axes.get_yticklabels():
        if label.get_text() == ALL:
            label.set_fontweight("bold")


def side(sheet: Sheet, categories: Iterable[str]) -> tuple[list[str], list[str], float, tuple[str, str]]:
    """The categories that have a row (the first ones, and `All`), their labels, inches for these, and what to say below."""
    names = list(dict.fromkeys(categories))
    last = [ALL] if names and names[-1] == ALL else []
    shown = [*names[: len(names) - len(last)][: MOST_ROWS - 1], *last]
    labels = sheet.label(shown, NAMES - 0.1)
    margin = max(width_of(label, NAME, "bold" if name == ALL else "normal") for name, label in zip(shown, labels, strict=True))
    return shown, labels, margin + 0.14, (more(len(names) - len(shown), "category", "categories"), sheet.lettering.note)


def apart(rows: Sequence[_Row]) -> list[_Row]:
    """Without `All` where it only repeats the one category."""
    return [row for row in rows if row.category != ALL or len({each.category for each in rows}) > 2]


def legend(figure: Figure, handles: list[Any], texts: Sequence[str], columns: int) -> None:
    """What the colours mean, at the upper edge."""
    corner = (0.06 / figure.get_figwidth(), 1 - 0.06 / figure.get_figheight())
    figure.legend(handles, texts, loc="upper left", ncols=columns, bbox_to_anchor=corner)


def footnote(figure: Figure, *texts: str) -> None:
    """Small print at the lower edge."""
    notes = [text for text in texts if text]
    if notes:
        figure.text(
            0.06 / figure.get_figwidth(), 0.04 / figure.get_figheight(), "\n".join(notes), size=5.5, color=GREY, va="bottom"
        )


def footnote_height(*texts: str) -> float:
    """Inches for the small print."""
    return 0.1 * sum(bool(text) for text in texts)


def more(count: int, one: str, several: str) -> str:
    return f"and {count:,} more {one if count == 1 else several}" if count > 0 else ""


def percent(share: float) -> str:
    """
    >>> [percent(share) for share in (1, 0.05, 0.00123, 0.0000001)]
    ['100 %', '5 %', '0.12 %', '0.00001 %']
    """
    value = 100 * share
    if value >= 1 or not value:
        return f"{value:.3g} %"
    text = f"{value:.{1 - math.floor(math.log10(value))}f}".rstrip("0")
    return f"{text} %"
