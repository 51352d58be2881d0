"""How quantities are spread: Figure 3 of the paper as histograms, and the looks of the images as boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from threecad.curation.statistics import ALL, Distribution, Quantiles, Statistics
from threecad.pipeline.plots.frames import apart, footnote, footnote_height, label_rows, legend, nothing, percent, place, side
from threecad.pipeline.plots.lettering import Sheet
from threecad.pipeline.plots.style import BLUE, COLUMN, GREEN, GREY, INK, LINES, NAME, PALE, PITCH, RED, SKY

if TYPE_CHECKING:
    from numpy.typing import NDArray


def figure_3(sheet: Sheet, compared: Sequence[Statistics]) -> Figure:
    """(a) area ratio and (b) aspect ratio, as shares of all regions; other data sets as lines."""
    others = compared[: len(LINES)]
    head = 0.16 * ((len(others) + 2) // 2) if others else 0.0
    figure = Figure(figsize=(COLUMN, 3.5 + head))
    panels = (
        ("(a)", "area of the region, share of the image", "area_ratio", percent),
        ("(b)", "aspect ratio of the smallest rectangle around the region", "aspect_ratio", _ratio),
    )
    for number, (letter, label, key, tick) in enumerate(panels):
        axes = place(figure, 0.46, 0.2 + head + 1.72 * number, COLUMN - 0.66, 1.18)
        own = getattr(sheet.statistics, key).get(ALL)
        spreads = [own, *(getattr(other, key).get(ALL) for other in others)]
        _histogram(axes, spreads, tick)
        axes.set_xlabel(label)
        axes.set_ylabel("regions, %")
        axes.set_title(letter)
    if others:
        names = sheet.label([sheet.statistics.name, *(other.name for other in others)], COLUMN / 2 - 0.4)
        handles: list[Any] = [Patch(facecolor=SKY, edgecolor=BLUE, linewidth=0.6)]
        axes = figure.axes[0]
        handles += [axes.plot([], [], color=color, linestyle=dash, linewidth=1)[0] for color, dash in LINES[: len(others)]]
        figure.legend(
            handles, names, loc="upper left", ncols=2, bbox_to_anchor=(0.46 / COLUMN, 1 - 0.05 / figure.get_figheight())
        )
    return figure


def _histogram(axes: Axes, spreads: Sequence[Distribution | None], tick: Callable[[float], str]) -> None:
    """The first one filled, with its median; the others as lines. Only bins from the least to the greatest value are shown."""
    filled = [spread for spread in spreads if spread is not None and any(spread.histogram.counts)]
    if not filled:
        axes.text(0.5, 0.5, "no defects", ha="center", va="center", color=GREY, size=8, transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    edges = filled[0].histogram.edges
    logarithmic = edges[0] > 0 and edges[-1] / edges[0] > 20
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    lows, highs = [], []
    for number, spread in enumerate(spreads):
        if spread is None or not any(spread.histogram.counts):
            continue
        counts = np.array(spread.histogram.counts, dtype=float)
        used = np.flatnonzero(counts)
        lows.append(spread.histogram.edges[used[0]])
        highs.append(spread.histogram.edges[used[-1] + 1])
        shares = 100 * counts / counts.sum()
        if number == 0:
            axes.stairs(shares, spread.histogram.edges, fill=True, facecolor=SKY, alpha=0.55, linewidth=0)
            axes.stairs(shares, spread.histogram.edges, color=BLUE, linewidth=0.7)
        else:
            color, dash = LINES[number - 1]
            axes.stairs(shares, spread.histogram.edges, color=color, linestyle=dash, linewidth=1)
    low, high = min(lows), max(highs)
    if logarithmic and high / low < 10:  # a single bin would be all there is to see
        low, high = max(edges[0], low / 3), min(edges[-1], high * 3)
    axes.set_xlim(low, high)
    ticks = _log_ticks(low, high) if logarithmic else [float(each) for each in MaxNLocator(6).tick_values(low, high)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    own = spreads[0]
    if own is not None and own.quantiles is not None:
        axes.axvline(own.quantiles.q50, color=BLUE, linewidth=0.8, linestyle=(0, (4, 2)))
        text = f"median {tick(own.quantiles.q50)} · n = {own.quantiles.count:,}"
        axes.text(0.99, 1.03, text, ha="right", va="bottom", size=NAME, color=BLUE, transform=axes.transAxes)


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 10, 100, … or, where that is too few, 1, 2, 5, 10, …"""
    for steps in ((1,), (1, 3), (1, 2, 5)):
        exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) >= 4:
            break
    return ticks or [low, high]


def _ratio(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def looks(sheet: Sheet) -> Figure:
    """Boxes from 25 to 75 %, lines from 5 to 95 %, a stroke at the median; a colour a split."""
    rows = apart(sheet.statistics.looks)
    if not rows:
        return nothing("no images")
    found = {(row.category, row.split): row for row in rows}
    categories, labels, margin, below = side(sheet, (row.category for row in rows))
    colors = {"train": BLUE, "validation": GREEN, "test": RED}
    splits = [split for split in colors if any(row.split == split for row in rows)]
    splits += sorted({row.split for row in rows} - set(splits))
    pitch = max(PITCH, 0.07 * len(splits) + 0.03)
    notes = ("Box: the middle half; line: 5 to 95 %; stroke: median.", *below)
    head, foot = 0.36, 0.22 + footnote_height(*notes)
    figure = Figure(figsize=(COLUMN, head + pitch * len(categories) + foot))
    each = (COLUMN - margin - 0.06) / 3
    high = 0.8 / len(splits)
    for number, key in enumerate(("brightness", "contrast", "sharpness")):
        axes = place(figure, margin + each * number, head, each - 0.1, pitch * len(categories))
        for order, split in enumerate(splits):
            there = [(line, found[category, split]) for line, category in enumerate(categories) if (category, split) in found]
            places = [line - 0.4 + high * (order + 0.5) for line, _ in there]
            _boxes(axes, [getattr(row, key) for _, row in there], np.array(places), high * 0.72, colors.get(split, GREY))
        label_rows(axes, labels if number == 0 else [""] * len(categories))
        values: list[Quantiles] = [getattr(row, key) for row in rows]
        low, most = min(value.q5 for value in values), max(value.q95 for value in values)
        if low > 0 and most / low > 30:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlim(low / 1.2, most * 1.2)
            ticks = _log_ticks(low / 1.2, most * 1.2)
            axes.xaxis.set_major_locator(FixedLocator(ticks[:: math.ceil(len(ticks) / 3)]))
        else:
            axes.set_xlim(max(0.0, low - 0.08 * (most - low)), most + 0.08 * (most - low) + (most == low))
            axes.xaxis.set_major_locator(MaxNLocator(2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}" if value < 1000 else f"{value:,.0f}"))
        axes.set_title(key, size=NAME, weight="normal", pad=2)
        between = [line - 0.5 for line in range(1, len(categories))]
        axes.hlines(between, 0, 1, color=PALE, linewidth=0.3, zorder=0, transform=axes.get_yaxis_transform())
    handles = [Patch(facecolor=colors.get(split, GREY)) for split in splits]
    legend(figure, handles, [split or "no split" for split in splits], 4)
    footnote(figure, *notes)
    return figure


def _boxes(axes: Axes, values: Sequence[Quantiles], lines: NDArray[np.float64], high: float, color: str) -> None:
    axes.hlines(lines, [each.q5 for each in values], [each.q95 for each in values], color=color, linewidth=0.6)
    widths = [each.q75 - each.q25 for each in values]
    axes.barh(lines, widths, left=[each.q25 for each in values], height=high, color=color, linewidth=0, alpha=0.85)
    for shade, width in (("white", 1.1), (INK, 0.5)):
        axes.vlines([each.q50 for each in values], lines - high / 2, lines + high / 2, color=shade, linewidth=width)
