"""Cells in colour: where defects lie, and which types stand in the same image."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from threecad.curation.statistics import ALL
from threecad.domain import HEAT
from threecad.pipeline.plots.frames import apart, footnote, footnote_height, more, nothing, percent, place, write
from threecad.pipeline.plots.lettering import Sheet, fit
from threecad.pipeline.plots.style import COLUMN, GREY, INK, MOST_ROWS, NAME, NAMES, PAGE, PITCH

MOST_PANELS = 120
MOST_TOGETHER = 20
"""Types of one category in the figure of types that occur together."""


def heat(sheet: Sheet) -> Figure:
    """A map a category, each scaled to its own greatest value."""
    maps = apart(sheet.statistics.heat)[:MOST_PANELS]
    if not maps:
        return nothing("no defects")
    across = min(len(maps), 4 if len(maps) <= 12 else 8)
    width = COLUMN if len(maps) <= 12 else PAGE
    side = min(1.3, (width - 0.1) / across - 0.08)
    step, tall = side + 0.08, side + 0.34
    frames = sorted({each.frame for each in maps})
    notes = (
        f"In the frame of the {' and the '.join({'source': 'photograph'}.get(frame, frame) for frame in frames)}. "
        + "Darkest: the share given above.",
        more(len(apart(sheet.statistics.heat)) - len(maps), "category", "categories"),
        sheet.lettering.note,
    )
    height = 0.05 + tall * math.ceil(len(maps) / across) + 0.05 + footnote_height(*notes)
    figure = Figure(figsize=(width, height))
    colors = colormaps["magma_r"]
    labels = sheet.label([each.category for each in maps], side, "bold")
    for number, (each, label) in enumerate(zip(maps, labels, strict=True)):
        row, column = divmod(number, across)
        left, top = 0.06 + column * step, 0.05 + row * tall
        cells = np.array(each.cells, dtype=float).reshape(HEAT, HEAT)
        most = float(cells.max())
        axes = place(figure, left, top + 0.24, side, side)
        axes.imshow(cells, cmap=colors, norm=Normalize(0, most or 1), interpolation="nearest", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.4, edgecolor=GREY)
        write(figure, left, top + 0.02, label, size=NAME, weight="bold")
        small = 5.5 if side > 0.6 else 4.8
        told = f"{percent(most)} · n {each.images:,}" if len(frames) == 1 else f"{percent(most)} · n {each.images:,} {each.frame}"
        write(figure, left, top + 0.135, fit(told, side + 0.04, small), size=small, color=GREY)
    footnote(figure, *notes)
    return figure


def together(sheet: Sheet) -> Figure:
    """Of each category half a matrix of the types that share images: how many, and the types' numbers on the diagonal."""
    pairs = [pair for pair in sheet.statistics.together if pair.category != ALL and pair.images]
    if not pairs:
        return nothing("no image shows two types")
    often: dict[str, Counter[str]] = {}
    for pair in pairs:
        often.setdefault(pair.category, Counter()).update({pair.first: pair.images, pair.second: pair.images})
    blocks: list[tuple[str, list[str]]] = []
    for category, found in often.items():
        kept = sorted(found, key=lambda kind: (-found[kind], kind))[:MOST_TOGETHER]
        if sum(len(kinds) + 2 for _, kinds in blocks) + len(kept) > MOST_ROWS:
            break
        blocks.append((category, sorted(kept)))
    counts = {(pair.category, frozenset((pair.first, pair.second))): pair.images for pair in pairs}
    named = {category: set(kinds) for category, kinds in blocks}
    shown = [images for (category, kinds), images in counts.items() if kinds <= named.get(category, set())]
    most = max(len(kinds) for _, kinds in blocks)
    cell = min(0.24, max(PITCH, 1.9 / most))
    width = max(COLUMN, NAMES + 0.2 + cell * most)
    notes = (
        "Images that show both types, of row and column.",
        more(len(counts) - len(shown), "pair", "pairs"),
        sheet.lettering.note,
    )
    lines = sum(len(kinds) + 1.4 for _, kinds in blocks)
    figure = Figure(figsize=(width, 0.14 + PITCH * lines + footnote_height(*notes)))
    colors, scale = colormaps["Blues"], math.log1p(max(shown, default=1))
    top = 0.06
    for category, kinds in blocks:
        write(figure, 0.06, top, sheet.label([category], width - 0.2, "bold")[0], size=NAME, weight="bold")
        top += PITCH * 0.9
        labels = sheet.label(kinds, width - cell * most - 0.46)
        axes = place(figure, width - cell * most - 0.06, top, cell * len(kinds), PITCH * len(kinds))
        axes.set_xlim(0, len(kinds))
        axes.set_ylim(len(kinds), 0)
        axes.axis("off")
        for row, (kind, label) in enumerate(zip(kinds, labels, strict=True)):
            write(figure, width - cell * most - 0.12, top + PITCH * (row + 0.18), f"{label}  {row + 1}", size=NAME, ha="right")
            axes.text(row + 0.5, row + 0.5, f"{row + 1}", size=5.5, ha="center", va="center_baseline", color=GREY)
            for column in range(row):
                images = counts.get((category, frozenset((kind, kinds[column]))), 0)
                tone = 0.12 + 0.8 * math.log1p(images) / scale if images else 0.0
                axes.barh(
                    row + 0.5, 0.94, left=column + 0.03, height=0.9, color=colors(tone) if images else "#F5F5F5", linewidth=0
                )
                if images:
                    text = f"{images:,}" if cell >= 0.2 or images < 100 else "⁺" if images > 999 else f"{images}"
                    color = "white" if tone > 0.55 else INK
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        text,
                        size=5 if cell >= 0.2 else 4,
                        ha="center",
                        va="center_baseline",
                        color=color,
                    )
        top += PITCH * (len(kinds) + 0.5)
    footnote(figure, *notes)
    return figure
