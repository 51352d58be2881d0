"""What is kept of one category while its images pass by: counts, and a few doubles an image and a region."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from threecad.curation import sizes
from threecad.curation.statistics.records import STEPS, Balance, Drawn, Span, TypeRow
from threecad.curation.statistics.showing import kinds_of
from threecad.domain import Spot, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.domain import Entry, Measure

    Heat = NDArray[np.int64]

MOST_TOGETHER = 64
"""An image of more types than this adds no pairs: a mask of 16 bits may hold 65,535 types, two thousand million pairs."""


_DECIMALS = 9  # of an aspect ratio


def _doubles() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Range:
    """The least and the most of what went in."""

    span: Span | None = None

    def add(self, value: int) -> None:
        if self.span is None:
            self.span = Span(value, value)
        elif not self.span.least <= value <= self.span.most:
            self.span = Span(min(self.span.least, value), max(self.span.most, value))


@dataclass(slots=True)
class _Type:
    images: int = 0
    regions: int = 0
    pixels: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    defects: int = 0
    photographs: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Looking:
    brightness: array[float] = field(default_factory=_doubles)
    contrast: array[float] = field(default_factory=_doubles)
    sharpness: array[float] = field(default_factory=_doubles)


@dataclass(slots=True)
class Category:
    """All that is kept of one category: counts, and a few doubles an image and a region."""

    images: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    states: Counter[State | None] = field(default_factory=Counter)
    multiple_instances: int = 0
    multiple_types: int = 0
    height: Range = field(default_factory=Range)
    width: Range = field(default_factory=Range)
    regions: Range = field(default_factory=Range)
    kinds: Range = field(default_factory=Range)
    areas: array[float] = field(default_factory=_doubles)
    image_areas: array[float] = field(default_factory=_doubles)
    aspects: array[float] = field(default_factory=_doubles)
    shown: defaultdict[str, _Type] = field(default_factory=lambda: defaultdict(_Type))
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    marked: int = 0
    heat: Heat | None = None
    lost_regions: Counter[str] = field(default_factory=Counter)
    lost_images: Counter[str] = field(default_factory=Counter)
    looks: defaultdict[str, _Looking] = field(default_factory=lambda: defaultdict(_Looking))
    tiles: int = 0
    steps: Counter[tuple[str, bool]] = field(default_factory=Counter)
    step_types: Counter[tuple[str, str]] = field(default_factory=Counter)
    photographs: int = 0
    good_photographs: int = 0
    defects: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    source_heat: Heat | None = None
    showings: int = 0

    def image(self, entry: Entry, measure: Measure | None, state: State | None) -> None:
        self.images += 1
        self.states[state] += 1
        column = "test" if entry.split is None else entry.split.value
        known = state in (State.GOOD, State.DEFECT)
        self.columns[column] += 1
        self.columns["unsplit"] += entry.split is None
        self.columns["unknown"] += not known
        self.columns[f"{column}, {state if known else 'unknown'}"] += 1
        if measure is not None:
            self.height.add(measure.size.height)
            self.width.add(measure.size.width)
            looks = self.looks[entry.split.value if entry.split is not None else ""]
            looks.brightness.append(measure.brightness)
            looks.contrast.append(measure.contrast)
            looks.sharpness.append(measure.sharpness)
        if state is State.DEFECT:
            self._defective(entry, measure, column == "test")

    def _defective(self, entry: Entry, measure: Measure | None, tests: bool) -> None:
        kinds = sorted(kinds_of(entry, measure))
        self.tiles += 1
        self.multiple_types += len(kinds) > 1
        for kind in kinds:
            self.shown[kind].images += 1
        if len(kinds) <= MOST_TOGETHER:
            self.pairs.update(combinations(kinds, 2))
        if measure is None or not measure.spots:
            return
        self.marked += 1
        self.multiple_instances += len(measure.spots) > 1
        if tests:
            self.regions.add(len(measure.spots))
            self.kinds.add(len(kinds))
        area = measure.size.area
        self.image_areas.append(sum(spot.area for spot in measure.spots) / area)
        for spot in measure.spots:
            self.areas.append(spot.area / area)
            self.aspects.append(aspect_ratio(spot))
            self.lost_regions.update(spot.lost)
            for label in spot.labels:
                self.shown[label].regions += 1
                self.shown[label].sizes[sizes.size_class(spot.area)] += 1
        for label, pixels in measure.areas:
            self.shown[label].pixels += pixels
            self.shown[label].images += label not in kinds
        self.lost_images.update(measure.lost)
        self.heat = _warmed(self.heat, measure.heat)

    def step(self, entry: Entry, state: State | None) -> None:
        """What became of a tile; `state` tells whether it shows a defect where one of the two words fits, its types otherwise."""
        if entry.split is not None:
            step = entry.split.value
        else:
            step = state.value if state in (State.AMBIGUOUS, State.POISONED) else "clean, unused"
        defective = state is State.DEFECT if state in (State.GOOD, State.DEFECT) else bool(entry.labels)
        for each in ("cut", step):
            self.steps[each, defective] += 1
            self.step_types.update((each, label) for label in entry.labels)

    def defect(self, drawn: Drawn) -> None:
        self.defects[drawn.source].append(drawn.label)
        self.shown[drawn.label].defects += 1
        self.shown[drawn.label].photographs.add(drawn.source)
        self.showings += drawn.tiles
        self.source_heat = _warmed(self.source_heat, drawn.heat)

    @property
    def kinds_named(self) -> int:
        """How many types the images show; defects that nobody named are one where no type has a name."""
        shown = {name for name, row in self.shown.items() if row.images}
        return len(shown - {""}) or len(shown)

    def types(self, category: str, framed: bool) -> Iterator[TypeRow]:
        for name, row in sorted(self.shown.items()):
            classes = tuple(row.sizes[size] for size in sizes.NAMES)
            source = (row.defects, len(row.photographs)) if framed else (None, None)
            yield TypeRow(category, name, row.images, row.regions, row.pixels, classes, *source)

    def balance(self, category: str) -> Iterator[Balance]:
        for step in STEPS:
            good, defect = self.steps[step, False], self.steps[step, True]
            if good or defect:
                types = ((name, count) for (each, name), count in self.step_types.items() if each == step)
                yield Balance(category, step, good, defect, tuple(sorted(types)))


def aspect_ratio(spot: Spot) -> float:
    """Long side over short side.

    It is a ratio of whole numbers, but both sides are divided by the root of a slanted edge's length. Nine decimals are kept, so
    that a ratio which is an edge of the histogram stands on it, and not a last bit below.

    >>> long, short = 84 / 72**0.5, 12 / 72**0.5  # a diagonal of 7 pixels
    >>> aspect_ratio(Spot(7, (0, 0, 7, 7), long, short, (), ())), long / short
    (7.0, 6.999999999999999)
    """
    return round(spot.long / spot.short, _DECIMALS)


def _warmed(total: Heat | None, heat: bytes) -> Heat | None:
    """The sum of grids; None for none."""
    if not heat:
        return total
    grid: Heat = np.frombuffer(heat, np.uint8).astype(np.int64)
    return grid if total is None else total + grid
