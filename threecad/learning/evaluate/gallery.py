"""cases.png: images to look at, in rows as the paper's Figure 5: the image, the truth outlined in it, the score map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from threecad.imaging.raster import components
from threecad.pipeline.plots.frames import footnote, more, place, write
from threecad.pipeline.plots.lettering import fit
from threecad.pipeline.plots.style import GREEN, GREY, INK, PAGE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from threecad.learning.evaluate.results import Case, CategoryResult, Evaluation
    from threecad.pipeline.plots.lettering import Lettering

DPI = 200
"""So that the figure is 1,400 pixels wide."""
MOST = 12
"""Categories that are shown."""
COLUMNS = 6
"""Cases side by side."""
OUTLINE = "#00E5FF"
"""Cyan is on no metal, and on no map's scale."""
_LEFT, _RIGHT, _GAP, _BETWEEN = 0.5, 0.5, 0.06, 0.14
_HEAD, _CAPTION = 0.24, 0.25
"""Inches: around all, between cells, between categories, for a category's name, and for what stands above a case."""
_ROWS = ("image", "truth", "score")
_TALLEST = 1.9
"""Inches of a cell's height at most."""
_SMALL = 0.06
"""Share of a cell's width below which a region gets a ring, since nobody would see its outline."""
_MOST_RINGS = 20


_VERDICTS = {
    (True, True): "found",
    (True, False): "missed",
    (False, True): "false alarm",
    (False, False): "let through",
}
"""By whether an image is defective, and taken for it."""


def cases(done: Evaluation, lettering: Lettering) -> Figure:
    """All cases, two categories a band; one colour scale for all maps, its bar at the right of the last row of each band."""
    shown = [each for each in done.categories if each.cases][:MOST]
    wide = 3 if len(shown) == 1 else COLUMNS
    bands = [shown[at : at + wide // 3] for at in range(0, len(shown), wide // 3)]
    cell = (PAGE - _LEFT - _RIGHT - _GAP * wide - _BETWEEN * (wide // 3 - 1)) / wide
    heights = [_height(band, cell) for band in bands]
    low, high = _range([case for each in shown for case in each.cases])
    hidden = len([each for each in done.categories if each.cases]) - len(shown)
    notes = (
        "Best and worst: the highest and the lowest score of defective images, the best among those that are highest inside the "
        "truth; good: the highest of good images.",
        "Blue: the truth. White: where the score reaches the category's threshold.",
        lettering.note,
        more(hidden, "category", "categories"),
    )
    foot = 0.1 * sum(map(bool, notes)) + 0.06
    tall = sum(_HEAD + _CAPTION + 3 * (height + _GAP) + 0.08 for height in heights) + foot
    figure = Figure(figsize=(PAGE, tall))
    top = 0.02
    for band, height in zip(bands, heights, strict=True):
        _band(figure, band, top, cell, height, lettering, (low, high))
        top += _HEAD + _CAPTION + 3 * (height + _GAP) + 0.08
    footnote(figure, *notes)
    return figure


def _height(band: Sequence[CategoryResult], cell: float) -> float:
    """Inches of a band's rows: as its tallest image needs, within reason."""
    shapes = [case.map.shape for each in band for case in each.cases]
    return min(_TALLEST, cell * float(max(0.3, *(height / width for height, width in shapes))))


def _range(found: Sequence[Case]) -> tuple[float, float]:
    low, high = min(float(case.map.min()) for case in found), max(float(case.map.max()) for case in found)
    return low, high if high > low else low + 1e-6


def _band(
    figure: Figure,
    band: Sequence[CategoryResult],
    top: float,
    cell: float,
    height: float,
    lettering: Lettering,
    scale: tuple[float, float],
) -> None:
    """The cases of one or two categories under their names."""
    for number, text in enumerate(_ROWS):
        middle = top + _HEAD + _CAPTION + (height + _GAP) * number + height / 2
        write(figure, 0.06, middle - 0.05, text, size=7, color=GREY)
    step = 3 * (cell + _GAP) + _BETWEEN
    for place_, each in enumerate(band):
        left = _LEFT + place_ * step
        name = fit(lettering.write(each.category), step - 0.95, 8, "bold")
        write(figure, left, top + 0.04, name, size=8, weight="bold")
        right = left + step - _BETWEEN - _GAP
        write(figure, right, top + 0.055, f"threshold {each.at.threshold:.3g}", size=6.5, color=GREY, ha="right")
        for at, case in enumerate(each.cases):
            spot = (left + at * (cell + _GAP), top + _HEAD, cell, height)
            _case(figure, case, spot, lettering, scale, each.at.threshold)
    bar_left = _LEFT + step * len(band) - _BETWEEN + 0.02
    bar = place(figure, bar_left, top + _HEAD + _CAPTION + 2 * (height + _GAP), 0.07, height)
    coloured = ScalarMappable(Normalize(*scale), colormaps["magma"])
    ticks = figure.colorbar(coloured, cax=bar, ticks=np.linspace(*scale, 3)).ax
    digits = max(0, 1 - math.floor(math.log10(scale[1] - scale[0])))
    ticks.set_yticklabels([f"{value:.{digits}f}" for value in np.linspace(*scale, 3)])
    ticks.tick_params(labelsize=6, length=1.5, pad=1)


def _case(
    figure: Figure,
    case: Case,
    spot: tuple[float, float, float, float],
    lettering: Lettering,
    scale: tuple[float, float],
    threshold: float,
) -> None:
    """A column of three pictures, each `cell` × `height` inches, from (left, top) down, under a caption."""
    left, top, cell, height = spot
    defective = case.kind != "false alarm"
    title = f"{case.kind}: {lettering.write(case.type)}" if defective else "good"
    write(figure, left, top, fit(title, cell, 6.5), size=6.5)
    verdict = _VERDICTS[defective, case.found]
    text = fit(f"{case.score:.3g} {verdict}", cell, 6.5)
    write(figure, left, top + 0.11, text, size=6.5, color=GREEN if defective is case.found else RED)
    for row in range(3):
        axes = place(figure, left, top + _CAPTION + row * (height + _GAP), cell, height)
        axes.set_facecolor("#F4F4F4")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        if row < 2:
            axes.imshow(case.image, interpolation="antialiased")
        else:
            axes.imshow(case.map, cmap="magma", vmin=scale[0], vmax=scale[1], interpolation="antialiased")
        limits = axes.get_xlim(), axes.get_ylim()
        if row > 0 and case.mask is not None and case.mask.any():
            _outline(axes, case.mask, rings=row == 1)
        if row == 2 and min(case.map.shape) > 1 and case.map.min() < threshold <= case.map.max():
            axes.contour(case.map, levels=[threshold], colors=["white"], linewidths=0.7, linestyles="--")
        axes.set_xlim(limits[0])  # which a contour changes
        axes.set_ylim(limits[1])
        if row == 1 and case.mask is None:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axes.text(0.5, 0.5, "no mask", size=7, ha="center", va="center", color=INK, transform=axes.transAxes, bbox=box)


def _outline(axes: Axes, mask: NDArray[np.bool_], *, rings: bool) -> None:
    """The mask's outline, and a ring around what is too small to be seen."""
    around = np.pad(mask, 1).astype(float)
    place_ = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
    axes.contour(place_[1], place_[0], around, levels=[0.5], colors=[OUTLINE], linewidths=0.6)
    if not rings:
        return
    count, labels = components(mask.view(np.uint8))
    longest = max(mask.shape)
    for number in range(1, min(count, _MOST_RINGS) + 1):
        rows, columns = np.nonzero(labels == number)
        reach = max(np.ptp(rows), np.ptp(columns)) + 1
        if reach < _SMALL * longest:
            centre = (float(columns.mean()), float(rows.mean()))
            axes.add_patch(Circle(centre, reach / 2 + 0.03 * longest, fill=False, edgecolor=OUTLINE, linewidth=0.7))
