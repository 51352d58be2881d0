"""What a data set holds, in numbers: the 3CAD paper's Tables 1 and 2 and Figure 3, and what they cannot tell.

Entries and their measures go in one by one (`Tally.add`), in any order, and `Tally.finish` gives `Statistics`: plain values that
the tables, figures, report and data card are made of. Nothing here opens a file. docs/statistics.md defines every number.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from threecad.curation import sizes
from threecad.domain import SHRINKINGS, Action, Code, Finding, Split, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.domain import Entry, Measure, Size

    Doubles = NDArray[np.float64]
    Heat = NDArray[np.int64]

ALL = "All"
"""The last row of every table."""


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the greatest of some whole numbers."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How a quantity is spread: `count` values, their mean, and the values below which 0, 5, 25, 50, 75, 95 and 100 % lie."""

    count: int
    mean: float
    q0: float
    q5: float
    q25: float
    q50: float
    q75: float
    q95: float
    q100: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """`edges` are one more than `counts`; a value on an edge belongs to the bin that begins there, the last edge to the last bin.
    Values outside are counted in the first or the last bin."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """`quantiles` is None where there is no value."""

    quantiles: Quantiles | None
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Overview:
    """A row of Table 1: `test` is `good` and `defect` together, validation stands apart; `regions` (NE) and `kinds` (TE) are
    counted in each defective test image whose mask marks a pixel. A span is None where nothing was counted.

    Images that no split names count as test images; there are `unsplit` of them. `unknown` are those of which nothing tells
    whether they are good: they are in no column of the test.
    """

    category: str
    train: int
    validation: int
    test: int
    good: int
    defect: int
    types: int
    height: Span | None
    width: Span | None
    regions: Span | None
    kinds: Span | None
    unsplit: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of Table 2. `multiple_instances` and `multiple_types` are the defective images with two or more regions, or types."""

    name: str
    normal: int
    abnormal: int
    source: str | None
    multiple_instances: int
    multiple_types: int


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One defect type of a category: images that show it, regions and pixels in the images' frame, regions by size class
    (`sizes.NAMES` in order), and the defects (uids) and photographs in the source's frame, None where that is unknown."""

    category: str
    type: str
    images: int
    regions: int
    pixels: int
    sizes: tuple[int, ...]
    defects: int | None
    photographs: int | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two types of a category that occur in the same image, so many times."""

    category: str
    first: str
    second: str
    images: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Where defects lie. `cells` is HEAT × HEAT, row by row: the mean share of the cell that is defective, over `images`
    defective images, or photographs where `frame` is `source`."""

    category: str
    frame: str
    images: int
    cells: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Survival:
    """How many regions, and defective images, show no defect any more once the mask is shrunk as `shrinking` says."""

    category: str
    shrinking: str
    regions: int
    lost_regions: int
    images: int
    lost_images: int


@dataclass(frozen=True, slots=True)
class Looks:
    """How images of a category and split are spread in brightness, contrast and sharpness."""

    category: str
    split: str
    brightness: Quantiles
    contrast: Quantiles
    sharpness: Quantiles


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A category in the source's frame, where a defect that two tiles show is one. `tiles` are those that show a defect, `shown`
    the pairs of defect and tile, so that `shown / defects` says how often the overlap repeats a defect."""

    category: str
    photographs: int
    good: int
    defective: int
    defects: int
    regions: Span | None
    kinds: Span | None
    tiles: int
    shown: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Tiles of a category by what became of them: `step` is `cut`, `ambiguous`, `poisoned`, `clean, unused`, `train`,
    `validation` or `test`; `types` counts the tiles that show each type."""

    category: str
    step: str
    good: int
    defect: int
    types: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """Images that are the same: `exact` by bytes, else nearly so. `members` pairs each image's path with its split, sorted;
    `across` says that they stand in more than one split."""

    exact: bool
    across: bool
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two tiles of one photograph in two splits whose windows share pixels; `splits` are those of the first and the second."""

    source: str
    first: str
    second: str
    pixels: int
    splits: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that can be said about a data set. Tables are sorted by category, with a row `All` last where that makes sense.

    `area_ratio` and `aspect_ratio` are Figure 3 (a) and (b) over all regions, `image_ratio` the defective share of each defective
    image; each maps a category, and `All`, to its distribution. `findings` are the faults, by file. `clean` is whether no image,
    photograph or pixel stands in two splits, no defect trains, and no file is at fault in a way that makes a split doubtful.
    """

    name: str
    layout: str
    images: int
    overview: tuple[Overview, ...]
    comparison: Comparison
    area_ratio: dict[str, Distribution]
    image_ratio: dict[str, Distribution]
    aspect_ratio: dict[str, Distribution]
    types: tuple[TypeRow, ...]
    together: tuple[Pair, ...]
    heat: tuple[HeatMap, ...]
    survival: tuple[Survival, ...]
    looks: tuple[Looks, ...]
    sources: tuple[SourceRow, ...]
    balance: tuple[Balance, ...]
    copies: tuple[Copies, ...]
    overlaps: tuple[Overlap, ...]
    findings: tuple[Finding, ...]
    clean: bool


@dataclass(frozen=True, slots=True)
class Photograph:
    """A source as a conversion tells it: `good` where nothing is drawn on it."""

    id: str
    category: str
    split: Split | None
    size: Size
    good: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """A defect in the source's frame: `area` in pixels it owns, `heat` as in `Measure`, over the whole photograph. `tiles` is the
    number of defective tiles, of any split, that show a pixel of it."""

    uid: str
    source: str
    category: str
    label: str
    area: int
    heat: bytes
    tiles: int = 0


AREA_EDGES = (*(float(f"{mantissa}e{power}") for power in range(-7, 0) for mantissa in ("1", "1.8", "3.2", "5.6")), 1.0)
"""Four bins a decade, about equally wide on a logarithmic axis; they begin at one pixel of 3162 × 3162."""
ASPECT_EDGES = (*(octave * quarter / 4 for octave in (1, 2, 4, 8, 16, 32) for quarter in (4, 5, 6, 7)), 64.0)
"""Four bins an octave: 1, 1.25, 1.5, 1.75, 2, 2.5, … 56, 64; what is longer counts in the last."""
MOST_TOGETHER = 64
"""An image of more types than this adds no pairs: a mask of 16 bits may hold 65,535 types, two thousand million pairs."""

_STEPS = ("cut", "ambiguous", "poisoned", "clean, unused", *(split.value for split in Split))
_UNREAD = frozenset(
    {
        Code.MASK_MISSING,
        Code.MASK_UNREADABLE,
        Code.MASK_OTHER_SIZE,
        Code.LISTED_MISSING,
        Code.FILE_UNREADABLE,
        Code.PATH_OUTSIDE,
        Code.TOO_LARGE,
    }
)  # then a mask that marks nothing does not say that the image is good
_UNSEEN = frozenset({Code.IMAGE_UNREADABLE, Code.FILE_UNREADABLE, Code.TOO_LARGE})


def state_of(entry: Entry, measure: Measure | None, findings: Iterable[Finding] = ()) -> State | None:
    """What the layout says; where it leaves that to the mask, what the mask says.

    None where there is no mask, or one that cannot be used: an image without annotation is not good by that alone.
    """
    if entry.state is not None or measure is None or not entry.masks:
        return entry.state
    if measure.areas:
        return State.DEFECT
    codes = {code for code, _ in measure.flaws} | {finding.code for finding in findings}
    return None if codes & _UNREAD else State.GOOD


def kinds_of(entry: Entry, measure: Measure | None) -> frozenset[str]:
    """The types that a defective image shows: those that own a pixel, and those the layout names where pixels have no type.

    Where no pixel is marked, those that the layout names; "" stands for a defect of no type that anybody told.
    """
    owning = {name for name, _ in measure.areas} if measure is not None else set()
    if not owning or "" in owning:
        owning = (owning - {""}) | set(entry.labels)
    return frozenset(owning or {""})


class Tally:
    """Counts a data set while its images pass by, in any order among themselves and with photographs and defects.

    Of each image some numbers are kept, never the entry or the measure. An image that two entries name counts twice.
    """

    def __init__(self, name: str, layout: str, *, defect_source: str | None = None) -> None:
        self._name = name
        self._layout = layout
        self._defect_source = defect_source
        self._categories: defaultdict[str, _Category] = defaultdict(_Category)
        self._splits: dict[str, int] = {}  # source → its splits as bits
        self._findings: list[Finding] = []
        self._leaks: list[Finding] = []
        self._doubtful = False
        self._framed = False

    def add(self, entry: Entry, measure: Measure | None, findings: Iterable[Finding] = ()) -> None:
        """One image with what was found wrong with its files; None for a tile without image, or an image that cannot be used."""
        findings = list(findings)
        self._findings += findings
        category = self._category(entry.category)
        state = state_of(entry, measure, findings)
        category.step(entry, state)
        if entry.image is None:
            return
        category.image(entry, measure, state)
        if entry.split is not None:
            bit = 1 << list(Split).index(entry.split)
            self._splits[entry.source] = self._splits.get(entry.source, 0) | bit
            marked = measure is not None and bool(measure.areas)
            self._doubtful |= measure is None and any(finding.code in _UNSEEN for finding in findings)
            self._doubtful |= entry.split is Split.TRAIN and marked
        if entry.split is Split.TRAIN and state not in (State.GOOD, None):
            self._leaks.append(Finding(Code.LEAK, Action.KEPT, entry.image, None, f"it trains, but it is {_WORDS[state]}"))

    def photograph(self, photograph: Photograph) -> None:
        """A photograph that tiles were cut from, each once."""
        self._framed = True
        category = self._category(photograph.category)
        category.photographs += 1
        category.good_photographs += photograph.good

    def drawn(self, drawn: Drawn) -> None:
        """A defect of a photograph, each once; areas to ignore are none."""
        self._framed = True
        self._category(drawn.category).defect(drawn)

    def finish(
        self, copies: Iterable[Copies] = (), overlaps: Iterable[Overlap] = (), findings: Iterable[Finding] = ()
    ) -> Statistics:
        """The statistics of all that was added. `copies` and `overlaps` are those of `leaks`; `findings` those that came with no
        image, such as the layout's. More may be added afterwards."""
        parts = sorted(self._categories.items())
        named = [*((name, [part]) for name, part in parts), (ALL, [part for _, part in parts])]
        leaks = [*self._leaks, *self._torn()]
        told = {*self._findings, *findings}
        known = {(finding.code, finding.source) for finding in told}
        told |= {leak for leak in leaks if (leak.code, leak.source) not in known}
        groups = sorted(copies, key=lambda group: (group.members, not group.exact))
        shared = sorted(overlaps, key=lambda overlap: (overlap.source, overlap.first, overlap.second))
        overview = tuple(_overview(name, part) for name, part in named)
        return Statistics(
            name=self._name,
            layout=self._layout,
            images=sum(part.images for _, part in parts),
            overview=overview,
            comparison=self._comparison([part for _, part in parts]),
            area_ratio=_distributions(named, lambda part: part.areas, AREA_EDGES),
            image_ratio=_distributions(named, lambda part: part.image_areas, AREA_EDGES),
            aspect_ratio=_distributions(named, lambda part: part.aspects, ASPECT_EDGES),
            types=tuple(row for name, part in parts for row in part.types(name, self._framed)),
            together=tuple(Pair(name, *pair, count) for name, part in parts for pair, count in sorted(part.pairs.items())),
            heat=tuple(row for name, part in named for row in _heat(name, part, self._framed)),
            survival=tuple(row for name, part in named for row in _survival(name, part)),
            looks=tuple(row for name, part in named for row in _looks(name, part)),
            sources=tuple(_source(name, part) for name, part in named) if self._framed else (),
            balance=tuple(row for name, part in parts for row in part.balance(name)) if self._framed else (),
            copies=tuple(groups),
            overlaps=tuple(shared),
            findings=tuple(sorted(told, key=_rank)),
            clean=not (
                leaks
                or shared
                or self._doubtful
                or any(group.across for group in groups)
                or any(finding.code is Code.FOREIGN_FILE for finding in told)
                or any(finding.code is Code.LEAK and finding.action is not Action.KEPT for finding in told)
            ),
        )

    def _category(self, name: str) -> _Category:
        return self._categories[f"{ALL} (category)" if name == ALL else name]

    def _torn(self) -> Iterator[Finding]:
        """Photographs that stand in two splits."""
        for source, bits in self._splits.items():
            if bits & (bits - 1):
                names = " and ".join(split.value for number, split in enumerate(Split) if bits >> number & 1)
                yield Finding(Code.LEAK, Action.KEPT, source, None, f"one source in two splits: {names}")

    def _comparison(self, parts: Sequence[_Category]) -> Comparison:
        return Comparison(
            name=self._name,
            normal=sum(part.states[State.GOOD] for part in parts),
            abnormal=sum(part.states[State.DEFECT] for part in parts),
            source=self._defect_source,
            multiple_instances=sum(part.multiple_instances for part in parts),
            multiple_types=sum(part.multiple_types for part in parts),
        )


_WORDS = {State.DEFECT: "defective", State.AMBIGUOUS: "neither good nor defective", State.POISONED: "not read whole"}


def _rank(finding: Finding) -> tuple[object, ...]:
    shape = -1 if finding.shape is None else finding.shape
    return finding.code, finding.source, shape, finding.detail, finding.action, finding.place or ()


def _doubles() -> array[float]:
    return array("d")


@dataclass(slots=True)
class _Range:
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
class _Category:
    """All that is kept of one category: counts, and a few doubles an image and a region."""

    images: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    states: Counter[State | None] = field(default_factory=Counter)
    multiple_instances: int = 0
    multiple_types: int = 0
    height: _Range = field(default_factory=_Range)
    width: _Range = field(default_factory=_Range)
    regions: _Range = field(default_factory=_Range)
    kinds: _Range = field(default_factory=_Range)
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
            self.aspects.append(spot.long / spot.short)
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
        for step in _STEPS:
            good, defect = self.steps[step, False], self.steps[step, True]
            if good or defect:
                types = ((name, count) for (each, name), count in self.step_types.items() if each == step)
                yield Balance(category, step, good, defect, tuple(sorted(types)))


def _warmed(total: Heat | None, heat: bytes) -> Heat | None:
    """The sum of grids; None for none."""
    if not heat:
        return total
    grid: Heat = np.frombuffer(heat, np.uint8).astype(np.int64)
    return grid if total is None else total + grid


# The tables, each of one category or of several together


def _overview(name: str, parts: Sequence[_Category]) -> Overview:
    def total(column: str) -> int:
        return sum(part.columns[column] for part in parts)

    good, defect = total(f"test, {State.GOOD}"), total(f"test, {State.DEFECT}")
    return Overview(
        category=name,
        train=total("train"),
        validation=total("validation"),
        test=good + defect,
        good=good,
        defect=defect,
        types=sum(part.kinds_named for part in parts),
        height=_joined(part.height.span for part in parts),
        width=_joined(part.width.span for part in parts),
        regions=_joined(part.regions.span for part in parts),
        kinds=_joined(part.kinds.span for part in parts),
        unsplit=total("unsplit"),
        unknown=total("unknown"),
    )


def _joined(spans: Iterable[Span | None]) -> Span | None:
    known = [span for span in spans if span is not None]
    return Span(min(span.least for span in known), max(span.most for span in known)) if known else None


def _distributions(
    named: Sequence[tuple[str, Sequence[_Category]]], values: Callable[[_Category], array[float]], edges: tuple[float, ...]
) -> dict[str, Distribution]:
    return {name: distribution(_sorted(map(values, parts)), edges) for name, parts in named}


def _sorted(parts: Iterable[array[float]]) -> Doubles:
    """All values in order, so that sums and quantiles do not depend on who came first."""
    return np.sort(np.concatenate([np.zeros(0), *(np.frombuffer(part, np.float64) for part in parts if part)]))


def distribution(values: Doubles | Sequence[float], edges: tuple[float, ...]) -> Distribution:
    """The quantiles and the histogram of sorted values.

    >>> distribution([0.5, 1.0, 1.5, 9.0], (1.0, 2.0, 4.0)).histogram.counts
    (3, 1)
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), np.array(edges))
    return Distribution(quantiles(values) if len(values) else None, Histogram(edges, tuple(counts.tolist())))


def quantiles(values: Doubles | Sequence[float]) -> Quantiles:
    """Of sorted values, one at least: between two neighbours, interpolated on a straight line (Hyndman and Fan's type 7, numpy's
    default). The mean is the exact sum, rounded once, over the count.

    >>> quantiles([1.0, 2.0, 4.0]).q25
    1.5
    """
    shares = np.quantile(values, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), method="linear")
    return Quantiles(len(values), math.fsum(values) / len(values), *shares.tolist())


def _heat(name: str, parts: Sequence[_Category], framed: bool) -> Iterator[HeatMap]:
    images = sum(len(part.defects) if framed else part.marked for part in parts)
    grids = [grid for part in parts if (grid := part.source_heat if framed else part.heat) is not None]
    if images and grids:
        cells = np.minimum(sum(grids) / (255 * images), 1.0)
        yield HeatMap(name, "source" if framed else "image", images, tuple(cells.tolist()))


def _survival(name: str, parts: Sequence[_Category]) -> Iterator[Survival]:
    regions, images = sum(len(part.areas) for part in parts), sum(part.marked for part in parts)
    for shrinking in SHRINKINGS if regions else ():
        lost_regions = sum(part.lost_regions[shrinking] for part in parts)
        yield Survival(name, shrinking, regions, lost_regions, images, sum(part.lost_images[shrinking] for part in parts))


def _looks(name: str, parts: Sequence[_Category]) -> Iterator[Looks]:
    for split in (*(split.value for split in Split), ""):
        found = [part.looks[split] for part in parts if split in part.looks]
        if found:
            yield Looks(
                name,
                split,
                quantiles(_sorted(each.brightness for each in found)),
                quantiles(_sorted(each.contrast for each in found)),
                quantiles(_sorted(each.sharpness for each in found)),
            )


def _source(name: str, parts: Sequence[_Category]) -> SourceRow:
    drawn = [labels for part in parts for labels in part.defects.values()]
    regions, kinds = _Range(), _Range()
    for labels in drawn:
        regions.add(len(labels))
        kinds.add(len(set(labels)))
    photographs, good = sum(part.photographs for part in parts), sum(part.good_photographs for part in parts)
    return SourceRow(
        category=name,
        photographs=photographs,
        good=good,
        defective=photographs - good,
        defects=sum(map(len, drawn)),
        regions=regions.span,
        kinds=kinds.span,
        tiles=sum(part.tiles for part in parts),
        shown=sum(part.showings for part in parts),
    )
