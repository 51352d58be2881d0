"""ROC, precision-recall and PRO curves, a line a category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from threecad.learning.evaluate.tables import percent
from threecad.pipeline.plots.frames import nothing, place
from threecad.pipeline.plots.lettering import fit
from threecad.pipeline.plots.style import BLUE, GREEN, GREY, INK, NAME, ORANGE, PAGE, PALE, PURPLE, RED, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from threecad.learning.evaluate.results import CategoryResult, Evaluation
    from threecad.metrics import Curve
    from threecad.pipeline.plots.lettering import Lettering

Dash = Literal["-", "--", ":"]
DASHES: tuple[Dash, ...] = ("-", "--", ":")
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, INK)
MOST = len(DASHES) * len(COLOURS)
"""Categories told apart by colour and dashes; more are pale lines without a name."""
_LEFT, _GAP, _HEAD, _FOOT = 0.46, 0.46, 0.24, 0.5
"""Inches around the panels."""
_KEY = 1.72
"""Inches of the key at the right."""
_COLUMN = 0.34
"""Inches of a column of numbers in it."""

Get = Callable[["CategoryResult"], "Curve | None"]


def roc(done: Evaluation, lettering: Lettering) -> Figure:
    """Of images and of pixels; a dot where the run's threshold stands."""
    panels: list[tuple[str, str, Get]] = [
        ("Images", "image_auroc", lambda each: each.curves.image_roc),
        ("Pixels", "pixel_auroc", lambda each: each.curves.roc),
    ]
    figure = _panels(done, lettering, panels, ("false-positive rate", "recall"), dot="the run's threshold")
    for number, each in enumerate(done.categories[:MOST]):
        found, false = each.at.found.value, each.at.false_alarms.value
        if figure.axes and found is not None and false is not None:
            colour = _looks(number)[0]
            figure.axes[0].plot([false], [found], "o", color=colour, markersize=3.2, markeredgewidth=0, clip_on=False)
    return figure


def pr(done: Evaluation, lettering: Lettering) -> Figure:
    """Of images and of pixels."""
    panels: list[tuple[str, str, Get]] = [
        ("Images", "image_ap", lambda each: each.curves.image_pr),
        ("Pixels", "pixel_ap", lambda each: each.curves.pr),
    ]
    return _panels(done, lettering, panels, ("recall", "precision"), what="AP")


def pro(done: Evaluation, lettering: Lettering) -> Figure:
    """Mean overlap of regions up to the limit that P-PRO has."""
    panels: list[tuple[str, str, Get]] = [("Regions", "aupro", lambda each: each.curves.pro)]
    return _panels(done, lettering, panels, ("false-positive rate of pixels", "mean overlap"), limit=done.pro_limit)


def _panels(
    done: Evaluation,
    lettering: Lettering,
    panels: Sequence[tuple[str, str, Get]],
    axes_names: tuple[str, str],
    *,
    what: str = "area",
    dot: str = "",
    limit: float = 1.0,
) -> Figure:
    """Panels side by side, and at the right what each line means, with the area under it in each panel."""
    shown = done.categories[:MOST]
    if not any(get(each) for _, _, get in panels for each in done.categories):
        return nothing("no good or no defective test images")
    side = (PAGE - _KEY - _LEFT - 2 * _GAP) / 2
    lines = len(shown) + bool(dot) + (len(done.categories) > MOST) + 1
    height = max(side + _HEAD + _FOOT, 0.4 + 0.14 * lines)
    figure = Figure(figsize=(_LEFT + (side + _GAP) * len(panels) + _KEY, height))
    for number, (title, _, get) in enumerate(panels):
        axes = place(figure, _LEFT + (side + _GAP) * number, _HEAD, side, side)
        for each in done.categories[MOST:]:
            _draw(axes, get(each), PALE, "-", 0.5)
        for at, each in enumerate(shown):
            _draw(axes, get(each), *_looks(at), 1.0)
        axes.set_xlim(0, limit)
        axes.set_ylim(0, 1.005)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        axes.set_title(title)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.grid(visible=True, color="#EEEEEE", linewidth=0.4)
        axes.set_axisbelow(True)
    _key(figure, done, lettering, [(title.lower(), name) for title, name, _ in panels], what, dot)
    return figure


def _key(figure: Figure, done: Evaluation, lettering: Lettering, columns: Sequence[tuple[str, str]], what: str, dot: str) -> None:
    """A line a category: how it looks, its name, and the area under its curve in each panel."""
    width, height = figure.get_size_inches()
    left = width - _KEY - 0.16
    texts: list[tuple[str, list[str], Line2D | None]] = [(f"{what}, %", [title for title, _ in columns], None)]
    shown = done.categories[:MOST]
    room = width - 0.06 - left - 0.26
    labels = lettering.label([each.category for each in shown], room - _COLUMN * len(columns))
    for at, (each, label) in enumerate(zip(shown, labels, strict=True)):
        colour, dash = _looks(at)
        values = [percent(each.figures[name]) for _, name in columns]
        line = Line2D([left / width, (left + 0.2) / width], [0, 0], color=colour, linestyle=dash, linewidth=1.2)
        texts.append((label, values, line))
    if len(done.categories) > MOST:
        texts.append((f"and {len(done.categories) - MOST:,} more", [], None))
    if dot:
        point = Line2D([(left + 0.1) / width], [0], color=GREY, marker="o", markersize=3.2, markeredgewidth=0, linestyle="")
        texts.append((dot, [], point))
    for number, (text, values, mark) in enumerate(texts):
        y = 1 - (0.3 + 0.14 * number) / height
        if mark is not None:
            mark.set_ydata(np.full(len(np.atleast_1d(mark.get_xdata())), y))
            mark.set_transform(figure.transFigure)
            figure.add_artist(mark)
        colour = INK if number else GREY
        figure.text(
            (left + 0.26) / width, y, fit(text, room - _COLUMN * len(values), NAME), size=NAME, va="center_baseline", color=colour
        )
        for at, value in enumerate(reversed(values)):
            right = (width - 0.06 - _COLUMN * at) / width
            figure.text(right, y, value, size=NAME, ha="right", va="center_baseline", color=colour)


def _draw(axes: Axes, curve: Curve | None, colour: str, dash: Dash, wide: float) -> None:
    if curve is not None:
        axes.plot(curve.x, curve.y, color=colour, linestyle=dash, linewidth=wide, solid_joinstyle="round")


def _looks(number: int) -> tuple[str, Dash]:
    dash, colour = list(product(DASHES, COLOURS))[number % MOST]
    return colour, dash
