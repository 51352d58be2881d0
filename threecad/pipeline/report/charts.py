"""Figures that the page draws itself: places and lengths for its SVG, which takes its colours from the page's own style.

So they follow light and dark, stay sharp, cost no plotting library at the end of every conversion, and each bar can say what it
is. `threecad stats --plots` draws the same numbers for papers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from threecad.curation import sizes
from threecad.curation.statistics import ALL, Distribution, HeatMap, Quantiles, Statistics
from threecad.domain import HEAT

WIDTH = 520
_LEFT, _RIGHT = 46, 22  # what axes need beside the bars
_NAMES = 104  # and where names stand beside boxes
_TALL = 150  # of a histogram
_ROW = 20  # height of a category's box, or a type's bar
MOST_BOXES = 30
"""Categories whose quantiles are drawn under a histogram."""
MOST_BARS = 24
"""Types drawn by size class, those with the most regions first."""
_LEVELS = 12  # shades of a heat map

NO_LABEL = "(no label)"
"""What stands for a label of blanks."""
INVISIBLE = " \u00a0\u115f\u1160\u2800\u3164\uffa0"
"""Characters of which nothing is seen, and which are yet taken for letters or symbols."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle with a word for whoever points at it."""

    x: float
    y: float
    width: float
    height: float
    word: str
    kind: str = "bar"


@dataclass(frozen=True, slots=True)
class Box:
    """One category's quantiles in a row: a line from 5 to 95 %, a box from 25 to 75 %, a mark at the median."""

    name: str
    y: float
    places: tuple[float, float, float, float, float]
    word: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure. `ticks` pairs a place on the x axis with its text, `lines` one on the y axis; `middle` is the median's place."""

    key: str
    title: str
    note: str
    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...] = ()
    lines: tuple[tuple[float, str], ...] = ()
    boxes: tuple[Box, ...] = ()
    names: tuple[tuple[float, str], ...] = ()
    middle: tuple[float, str] | None = None
    left: float = _LEFT
    floor: float = _TALL
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Heat:
    """Where on the part defects lie: a path in a HEAT × HEAT square for each shade, with its opacity."""

    title: str
    note: str
    shades: tuple[tuple[str, str], ...]


def charts(statistics: Statistics) -> list[Chart]:
    """The figures that have something to show."""
    made = [
        _distribution("area_ratio", "Figure 3 (a): area of each defect, % of its image", statistics.area_ratio, percent=True),
        _distribution(
            "aspect_ratio", "Figure 3 (b): long side to short of each defect's smallest rectangle", statistics.aspect_ratio
        ),
        _by_size(statistics),
    ]
    return [chart for chart in made if chart is not None]


def heats(statistics: Statistics) -> list[Heat]:
    found = [heat for heat in statistics.heat if heat.images and any(heat.cells)]
    return [_heat(heat) for heat in found if heat.category != ALL or len(found) > 2]


def _distribution(key: str, title: str, table: dict[str, Distribution], *, percent: bool = False) -> Chart | None:
    """All regions as a histogram whose bins are equally wide on a logarithmic axis, and each category's quantiles below."""
    whole = table.get(ALL)
    if whole is None or whole.quantiles is None:
        return None
    edges, counts = whole.histogram.edges, whole.histogram.counts
    used = [number for number, count in enumerate(counts) if count]
    first, last = max(0, used[0] - 1), min(len(counts), used[-1] + 2)
    several = 1 < sum(name != ALL and spread.quantiles is not None for name, spread in table.items()) <= MOST_BOXES
    axis = _Axis(_NAMES if several else _LEFT, edges[first], edges[last])
    most = max(counts)
    scale = (_TALL - 14) / most
    bars = tuple(
        Bar(axis(low), _TALL - count * scale, max(axis(high) - axis(low) - 1, 0.5), count * scale, word)
        for low, high, count in zip(edges[first:last], edges[first + 1 : last + 1], counts[first:last], strict=True)
        for word in (f"{_value(low, percent)} to {_value(high, percent)}: {count:,}",)
        if count
    )
    rows = _boxes(table, axis, percent) if several else ()
    median = _value(whole.quantiles.q50, percent)
    return Chart(
        key=key,
        title=title,
        note=f"{whole.quantiles.count:,} defects; median {median}, the middle 90 % from {_value(whole.quantiles.q5, percent)} "
        f"to {_value(whole.quantiles.q95, percent)}.",
        height=_TALL + 24 + (len(rows) * _ROW + 8 if rows else 0),
        bars=bars,
        ticks=tuple((axis(value), _value(value, percent)) for value in axis.decades()),
        lines=tuple((_TALL - value * scale, f"{value:,}") for value in _steps(most)),
        boxes=rows,
        middle=(axis(whole.quantiles.q50), median),
        left=axis.left,
    )


def _boxes(table: dict[str, Distribution], axis: _Axis, percent: bool) -> tuple[Box, ...]:
    named = [(name, spread.quantiles) for name, spread in sorted(table.items()) if name != ALL and spread.quantiles]
    return tuple(_box(name, values, _TALL + 40 + row * _ROW, axis, percent) for row, (name, values) in enumerate(named))


def _box(name: str, values: Quantiles, y: float, axis: _Axis, percent: bool) -> Box:
    places = tuple(round(axis(each), 1) for each in (values.q5, values.q25, values.q50, values.q75, values.q95))
    word = f"{name}: {values.count:,} defects, median {_value(values.q50, percent)}, "
    word += f"the middle half from {_value(values.q25, percent)} to {_value(values.q75, percent)}"
    return Box(_short(name, 14), y, places, word)  # type: ignore[arg-type]


class _Axis:
    """Places on a logarithmic axis across the chart; what lies beyond an end is put at it."""

    def __init__(self, left: float, low: float, high: float) -> None:
        self.left, self.low, self.high = left, low, high
        self._scale = (WIDTH - left - _RIGHT) / math.log(high / low)

    def __call__(self, value: float) -> float:
        return round(self.left + math.log(min(max(value, self.low), self.high) / self.low) * self._scale, 2)

    def decades(self) -> Iterator[float]:
        """Where ticks stand: powers of ten, and between them where there are few."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        between = (1,) if len(powers) > 4 else (1, 2, 5)
        values = (factor * 10.0**power for power in powers for factor in between)
        return (value for value in values if self.low * 0.999 <= value <= self.high * 1.001)


def _by_size(statistics: Statistics) -> Chart | None:
    """How many defects of each type are tiny, small, medium and large, as parts of one bar each."""
    rows = sorted((row for row in statistics.types if row.category != ALL and row.regions), key=lambda row: -row.regions)
    chosen = sorted(rows[:MOST_BARS], key=lambda row: (row.category, -row.regions, row.type))
    if not chosen:
        return None
    several = len({row.category for row in chosen}) > 1
    names = [f"{row.category} · {row.type}" if several else row.type for row in chosen]
    left = 170.0
    scale = (WIDTH - left - 50) / max(sum(row.sizes) for row in chosen)
    bars = []
    for number, (name, row) in enumerate(zip(names, chosen, strict=True)):
        x = left
        for place, (size, count) in enumerate(zip(sizes.NAMES, row.sizes, strict=True), 1):
            if count:
                bars.append(
                    Bar(
                        round(x, 2),
                        number * _ROW + 3,
                        round(count * scale, 2),
                        _ROW - 6,
                        f"{name}: {count:,} {size}",
                        f"s{place}",
                    )
                )
            x += count * scale
    places = [(number * _ROW + _ROW / 2, _short(name, 26)) for number, name in enumerate(names)]
    totals = [
        (round(left + sum(row.sizes) * scale + 5, 2), f"{sum(row.sizes):,}", number * _ROW + _ROW / 2)
        for number, row in enumerate(chosen)
    ]
    note = f"The {MOST_BARS} types with the most defects." if len(rows) > MOST_BARS else "Regions of all images."
    bars += [Bar(x, y, 0, 0, word, "value") for x, word, y in totals]
    return Chart(
        key="sizes",
        title="Types by size class",
        note=note,
        height=len(chosen) * _ROW + 4,
        bars=tuple(bars),
        names=tuple(places),
        left=left,
        floor=0,
        legend=tuple((f"s{place}", words) for place, words in enumerate(_classes(), 1)),
    )


def _classes() -> Iterator[str]:
    """The size classes in words.

    >>> list(_classes())
    ['tiny: below 8²', 'small: below 32²', 'medium: below 96²', 'large: from 96² px']
    """
    bound = 0
    for name, most in sizes.BOUNDS.items():
        if math.isfinite(most):
            bound = math.isqrt(int(most))
            yield f"{name}: below {bound}²"
        else:
            yield f"{name}: from {bound}² px"


def _heat(heat: HeatMap) -> Heat:
    most = max(heat.cells)
    levels = [math.ceil(cell / most * _LEVELS) for cell in heat.cells]
    shades = []
    for level in range(1, _LEVELS + 1):
        path = "".join(_runs(levels, level))
        if path:
            shades.append((path, f"{level / _LEVELS:.3g}"))
    what = "photographs" if heat.frame == "source" else "images"
    note = f"{heat.images:,} defective {what}; the strongest cell is defective by {_value(most, True)} on average"
    return Heat(heat.category, note, tuple(shades))


def _runs(levels: Sequence[int], level: int) -> Iterator[str]:
    for row in range(HEAT):
        column = 0
        for marked, cells in groupby(levels[row * HEAT : (row + 1) * HEAT], lambda each: each == level):
            length = len(list(cells))
            if marked:
                yield f"M{column} {row}h{length}v1h{-length}z"
            column += length


def _steps(most: int) -> list[int]:
    """Round counts for the y axis, at most five, the greatest not above `most`.

    >>> _steps(7), _steps(2300)
    ([2, 4, 6], [500, 1000, 1500, 2000])
    """
    step = next(factor * 10**power for power in range(12) for factor in (1, 2, 5) if factor * 10**power * 5 > most)
    return list(range(step, most + 1, step))


def _value(value: float, percent: bool) -> str:
    """A number as people write it.

    >>> _value(0.000123, True), _value(0.5, True), _value(12.345, False)
    ('0.012\xa0%', '50\xa0%', '12.3')
    """
    shown = value * 100 if percent else value
    digits = 2 if percent else 3
    text = f"{shown:.{digits}g}"
    text = f"{float(text):f}".rstrip("0").rstrip(".") if "e" in text else text
    return f"{text}\u00a0%" if percent else text


def _short(text: str, longest: int) -> str:
    if not text.strip(INVISIBLE):
        return NO_LABEL
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
