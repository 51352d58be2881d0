"""Counts and shares as bars, a row a category or a type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from threecad.curation import sizes
from threecad.curation.statistics import ALL, TypeRow
from threecad.domain import SHRINKINGS
from threecad.pipeline.plots.frames import (
    apart,
    footnote,
    footnote_height,
    label_rows,
    legend,
    more,
    nothing,
    place,
    side,
)
from threecad.pipeline.plots.lettering import Sheet, width_of
from threecad.pipeline.plots.style import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    INK,
    MOST_ROWS,
    NAME,
    NAMES,
    ORDERED,
    PALE,
    PITCH,
    PURPLE,
    RED,
    SKY,
)


def survival(sheet: Sheet) -> Figure:
    """A panel a way to shrink, a row a category: bars for regions that vanish, dots for images left without a defect."""
    rows = apart(sheet.statistics.survival)
    if not rows:
        return nothing("no defects")
    found = {(row.category, row.shrinking): row for row in rows}
    ways = [name for name in SHRINKINGS if any(row.shrinking == name for row in rows)]
    ways += sorted({row.shrinking for row in rows} - set(ways))
    categories, labels, margin, notes = side(sheet, (row.category for row in rows))
    head, foot = 0.46, 0.36 + footnote_height(*notes)
    figure = Figure(figsize=(COLUMN, head + PITCH * len(categories) + foot))
    each = (COLUMN - margin - 0.04) / len(ways)
    shares = [100 * row.lost_regions / row.regions for row in rows if row.regions]
    shares += [100 * row.lost_images / row.images for row in rows if row.images]
    most = max([*shares, 10.0])
    dot: dict[str, Any] = {"marker": "o", "markersize": 2.4, "color": INK, "markeredgewidth": 0, "linestyle": ""}
    for number, way in enumerate(ways):
        axes = place(figure, margin + each * number, head, each - 0.07, PITCH * len(categories))
        there = [(line, found[category, way]) for line, category in enumerate(categories) if (category, way) in found]
        there = [(line, row) for line, row in there if row.regions]
        gone = [100 * row.lost_regions / row.regions for _, row in there]
        alone = [100 * row.lost_images / row.images if row.images else 0.0 for _, row in there]
        tones = [BLUE if row.category == ALL else SKY for _, row in there]
        axes.barh([line for line, _ in there], gone, height=0.68, color=tones, linewidth=0)
        axes.plot(alone, [line for line, _ in there], **dot)
        for (line, _), share, dotted in zip(there, gone, alone, strict=True):
            beside = max(share, dotted + 0.04 * most) + 0.03 * most
            axes.text(beside, line, f"{share:.0f}", size=5.5, va="center_baseline", ha="left")
        label_rows(axes, labels if number == 0 else [""] * len(categories))
        axes.set_xlim(0, most * 1.3)
        axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
        axes.set_title(way.replace("-", "\n"), size=NAME, weight="normal", pad=2)
        axes.spines["left"].set_visible(True)
    handles = [Patch(facecolor=SKY), figure.axes[0].plot([], [], **dot)[0]]
    texts = ["regions that vanish", "images left without a defect"]
    legend(figure, handles, texts, 2)
    middle = (margin + COLUMN) / 2 / COLUMN
    figure.text(middle, (foot - 0.33) / figure.get_figheight(), "lost, %", ha="center", va="bottom")
    footnote(figure, *notes)
    return figure


def types(sheet: Sheet) -> Figure:
    """A bar a type, cut by size class; categories as headings."""
    types = [row for row in sheet.statistics.types if row.category != ALL and row.regions]
    if not types:
        return nothing("no defects")
    kept = set(sorted(types, key=lambda row: (-row.regions, row.category, row.type))[:MOST_ROWS])
    blocks: dict[str, list[TypeRow]] = {}
    for row in types:
        if row in kept:
            blocks.setdefault(row.category, []).append(row)
    labels = {category: sheet.label([row.type for row in rows], NAMES - 0.1) for category, rows in blocks.items()}
    headings = sheet.label(list(blocks), COLUMN - 0.5, "bold")
    margin = max(width_of(label, NAME) for texts in labels.values() for label in texts) + 0.2
    notes = (more(len(types) - len(kept), "type", "types"), sheet.lettering.note)
    lines, head, foot = len(kept) + len(blocks), 0.24, 0.36 + footnote_height(*notes)
    figure = Figure(figsize=(COLUMN, head + PITCH * lines + foot))
    wide = COLUMN - margin - 0.42
    axes = place(figure, margin, head, wide, PITCH * lines)
    beside: dict[str, Any] = {"size": 6, "va": "center_baseline", "transform": axes.get_yaxis_transform(), "color": GREY}
    texts: list[str] = []
    bars: list[tuple[int, TypeRow]] = []
    for heading, (category, rows) in zip(headings, blocks.items(), strict=True):
        axes.text(-(margin - 0.06) / wide, len(texts), heading, **beside | {"size": NAME, "weight": "bold", "color": INK})
        bars += [(len(texts) + 1 + number, row) for number, row in enumerate(rows)]
        texts += ["", *labels[category]]
    axes.text(1.02, 0, "n", **beside)
    left = np.zeros(len(bars))
    for number, color in enumerate(ORDERED):
        shares = np.array([100 * row.sizes[number] / row.regions for _, row in bars])
        axes.barh([line for line, _ in bars], shares, left=left, height=0.74, color=color, linewidth=0)
        left += shares
    for line, row in bars:
        axes.text(1.02, line, f"{row.regions:,}", **beside)
    label_rows(axes, texts)
    axes.set_xlim(0, 100)
    axes.set_xlabel("regions, %")
    bounds = [f" < {math.isqrt(int(bound))}²" if math.isfinite(bound) else "" for bound in sizes.BOUNDS.values()]
    handles = [Patch(facecolor=color, edgecolor=GREY, linewidth=0.3) for color in ORDERED]
    told = [f"{name}{bound}" for name, bound in zip(sizes.NAMES, bounds, strict=True)]
    legend(figure, handles, told, 4)
    footnote(figure, *notes)
    return figure


def balance(sheet: Sheet) -> Figure:
    """A bar a category: images by split and state, and the tiles that no split uses where that is known."""
    statistics = sheet.statistics
    parts: dict[str, dict[str, int]] = {row.category: {} for row in statistics.overview if row.category != ALL}
    for row in statistics.overview:
        if row.category != ALL:
            counts = {"train": row.train, "validation": row.validation, "test, good": row.good, "test, defect": row.defect}
            parts[row.category].update(counts)
    for step in statistics.balance:
        if step.category in parts and step.step in ("ambiguous", "poisoned", "clean, unused"):
            parts[step.category][f"{step.step.removesuffix(', unused')}, unused"] = step.good + step.defect
        if step.category in parts and step.step == "train" and step.defect:
            parts[step.category]["train"] = step.good
            parts[step.category]["train, defect"] = step.defect
    looks = {
        "train": (BLUE, ""),
        "train, defect": (PURPLE, "xxxx"),
        "validation": (GREEN, ""),
        "test, good": (SKY, ""),
        "test, defect": (RED, ""),
        "ambiguous, unused": (PALE, "////"),
        "poisoned, unused": (PALE, "xxxx"),
        "clean, unused": (PALE, ""),
    }
    if not any(sum(counts.values()) for counts in parts.values()):
        return nothing("no images")
    categories, labels, margin, notes = side(sheet, parts)
    used = [part for part in looks if any(counts.get(part) for counts in parts.values())]
    head, foot = 0.12 + 0.13 * math.ceil(len(used) / 3), 0.36 + footnote_height(*notes)
    figure = Figure(figsize=(COLUMN, head + PITCH * len(categories) + foot))
    axes = place(figure, margin, head, COLUMN - margin - 0.42, PITCH * len(categories))
    left = np.zeros(len(categories))
    for part in used:
        numbers = np.array([parts[category].get(part, 0) for category in categories])
        color, hatch = looks[part]
        axes.barh(range(len(numbers)), numbers, left=left, height=0.74, color=color, hatch=hatch, edgecolor=GREY, linewidth=0)
        left += numbers
    for line, total in enumerate(left):
        axes.text(1.02, line, f"{total:,.0f}", size=6, va="center_baseline", transform=axes.get_yaxis_transform(), color=GREY)
    label_rows(axes, labels)
    axes.set_xlim(0, left.max() or 1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images")
    handles = [Patch(facecolor=looks[part][0], hatch=looks[part][1], edgecolor=GREY, linewidth=0) for part in used]
    legend(figure, handles, used, 3)
    footnote(figure, *notes)
    return figure
