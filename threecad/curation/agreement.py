"""How well two people agree about the same image: whose defects are whose, how near the outlines lie, and what that makes.

Defects are matched by overlap first, whatever they are called, so that a confusion of types is seen as one. Areas and overlaps
are those of the outlines, exactly; no pixel is counted. Everything here is a function of regions and numbers, without files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from threecad.curation import sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from threecad.domain import Region

MIN_IOU = 0.1
"""Least overlap of a match. Two people's outlines of one small defect seldom overlap by half, and never by next to nothing."""

_SAMPLES = 2_000_000  # points on the outlines of one image, half a minute at worst; the usual image has some thousands
_VERTICES = 200_000  # of two outlines whose distance is measured: an index of their edges is some 100 MB
_WORK = 20_000_000  # vertices that the overlaps of one image go through, half a minute at worst
_A_PAIR = 50  # vertices: what any overlap costs, however simple
_MEETINGS = 1_000_000  # edges of two outlines whose boxes meet: as many crossings may be
_GRID = 512  # points a side, where two outlines cross too often to be cut
_FEW_EDGES = 500  # to which the distance is found faster one by one than with an index


class Verdict(StrEnum):
    """What became of one defect, or of one shape, when two sides were compared."""

    AGREED = "agreed"
    OTHER_TYPE = "other type"
    MISSED = "missed"
    EXTRA = "extra"
    UNUSABLE = "unusable"
    EXCUSED = "excused"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One defect as both sides have it; what a side does not have is None.

    `reference` and `drawn` are the types, `size` the size class (of the reference's region, where there is one), areas are in
    px², `distance` and `hausdorff` in px as `apart` tells them, the shapes are numbers in either side's file. `place` is an
    (x, y) to look at.
    """

    verdict: Verdict
    reference: str | None
    drawn: str | None
    size: str | None
    reference_area: float | None = None
    drawn_area: float | None = None
    iou: float | None = None
    distance: float | None = None
    hausdorff: float | None = None
    reference_shapes: tuple[int, ...] = ()
    drawn_shapes: tuple[int, ...] = ()
    place: tuple[float, float] | None = None
    detail: str = ""

    @property
    def area_ratio(self) -> float | None:
        """The drawn area over that of the reference: above 1 the annotator draws wide."""
        if self.reference_area is None or self.drawn_area is None:
            return None
        return self.drawn_area / self.reference_area


def compare(
    reference: Sequence[Region], drawn: Sequence[Region], *, min_iou: float = MIN_IOU, doubtful: Sequence[BaseGeometry] = ()
) -> list[Comparison] | None:
    """Every defect of one image: those of the reference in their order, then what only the annotator drew.

    What was drawn in addition is excused where nobody can say whether it is right: when more than half of it lies in areas that
    the reference ignores, or when it touches one of the `doubtful` areas, where the reference has a shape that cannot be used.
    Ignored areas themselves are not compared. None where more outlines overlap than can be measured.

    >>> from shapely import box
    >>> from threecad.domain import Region
    >>> theirs = [Region("a#0", "dent", box(0, 0, 10, 10), (0,)), Region("a#1", "dent", box(50, 50, 60, 60), (1,))]
    >>> ours = [Region("b#0", "scratch", box(0, 0, 10, 8), (0,)), Region("b#1", "dent", box(90, 90, 99, 99), (1,))]
    >>> [(each.verdict.value, each.reference, each.drawn, each.iou) for each in compare(theirs, ours) or ()]
    [('other type', 'dent', 'scratch', 0.8), ('missed', 'dent', None, None), ('extra', None, 'dent', None)]
    """
    asked = [region for region in reference if not region.ignore]
    given = [region for region in drawn if not region.ignore]
    matched = match(asked, given, min_iou)
    if matched is None:
        return None
    partner = {number: (other, iou) for number, other, iou in matched}
    spacing = _spacing([region.geometry for number, other, _ in matched for region in (asked[number], given[other])])
    result = []
    for number, region in enumerate(asked):
        if number in partner:
            other, iou = partner[number]
            result.append(_pair(region, given[other], iou, spacing))
        else:
            result.append(_alone(Verdict.MISSED, region))
    taken = {other for other, _ in partner.values()}
    more = [region for number, region in enumerate(given) if number not in taken]
    excuses = _excuses(more, [region.geometry for region in reference if region.ignore], doubtful)
    if excuses is None:
        return None
    return result + [
        _alone(Verdict.EXCUSED if excuse else Verdict.EXTRA, region, excuse) for region, excuse in zip(more, excuses, strict=True)
    ]


def match(one: Sequence[Region], other: Sequence[Region], min_iou: float = MIN_IOU) -> list[tuple[int, int, float]] | None:
    """Which region is which: (number in `one`, number in `other`, IoU), each region at most once, sorted.

    Of all pairs that overlap by `min_iou` or more, the one that overlaps most is taken first; of pairs that overlap equally,
    first those of one type, then those that stand first in their lists. None where more outlines overlap than can be measured.
    """
    overlaps = _overlaps(one, other, min_iou)
    if overlaps is None:
        return None
    # Rounded: outlines that are equal but begin at another point must tie, whatever the last bit says.
    order = sorted(overlaps, key=lambda each: (-round(each[2], 9), one[each[0]].label != other[each[1]].label, each[:2]))
    left: set[int] = set()
    right: set[int] = set()
    chosen = []
    for first, second, iou in order:
        if first not in left and second not in right:
            left.add(first)
            right.add(second)
            chosen.append((first, second, iou))
    return sorted(chosen)


def apart(one: BaseGeometry, other: BaseGeometry, spacing: float = 1.0) -> tuple[float, float] | None:
    """How far two outlines lie apart, in px: the mean distance and the Hausdorff distance, both symmetric.

    Each outline, holes too, is walked in steps of at most `spacing` px, vertices included, and at each step the distance to the
    nearest point of the other outline is taken. The first number is its mean along both outlines together, the second the
    largest. None where the outlines have too many vertices for that.

    >>> from shapely import box
    >>> mean, farthest = apart(box(0, 0, 100, 100), box(2, 0, 102, 100))
    >>> round(mean, 2), farthest
    (1.0, 2.0)
    """
    outlines = one.boundary, other.boundary
    if sum(shapely.get_num_coordinates(outline) for outline in outlines) > _VERTICES:
        return None
    integral = length = farthest = 0.0
    for outline, target in (outlines, outlines[::-1]):
        walk = shapely.get_parts(shapely.segmentize(outline, spacing))
        xy, ring = shapely.get_coordinates(walk, return_index=True)
        away = _distances(xy, target)
        steps = np.hypot(*np.diff(xy, axis=0).T) * (ring[1:] == ring[:-1])
        integral += float((steps * (away[1:] + away[:-1]) / 2).sum())
        length += float(steps.sum())
        farthest = max(farthest, float(away.max()))
    return integral / length, farthest


def _pair(reference: Region, drawn: Region, iou: float, spacing: float) -> Comparison:
    distances = apart(reference.geometry, drawn.geometry, spacing)
    return Comparison(
        verdict=Verdict.AGREED if reference.label == drawn.label else Verdict.OTHER_TYPE,
        reference=reference.label,
        drawn=drawn.label,
        size=sizes.size_class(reference.geometry.area),
        reference_area=reference.geometry.area,
        drawn_area=drawn.geometry.area,
        iou=iou,
        distance=distances[0] if distances else None,
        hausdorff=distances[1] if distances else None,
        reference_shapes=reference.shapes,
        drawn_shapes=drawn.shapes,
        place=_inside(reference),
    )


def _alone(verdict: Verdict, region: Region, detail: str = "") -> Comparison:
    area, kind = region.geometry.area, sizes.size_class(region.geometry.area)
    if verdict is Verdict.MISSED:
        return Comparison(
            verdict,
            region.label,
            None,
            kind,
            reference_area=area,
            reference_shapes=region.shapes,
            place=_inside(region),
            detail=detail,
        )
    return Comparison(
        verdict, None, region.label, kind, drawn_area=area, drawn_shapes=region.shapes, place=_inside(region), detail=detail
    )


def _inside(region: Region) -> tuple[float, float]:
    point = shapely.point_on_surface(region.geometry)
    return point.x, point.y


def _excuses(more: Sequence[Region], ignored: Sequence[BaseGeometry], doubtful: Sequence[BaseGeometry]) -> list[str] | None:
    """For each region why nobody can say whether it is right, "" where one can; None where telling takes too long."""
    ours, blank, vague = map(_array, ([region.geometry for region in more], ignored, doubtful))
    within, touching = _candidates(ours, blank, 0), _candidates(ours, vague, 0)
    if within is None or touching is None:
        return None
    hidden = np.bincount(within[0], _shared(ours[within[0]], blank[within[1]]), len(ours)) > shapely.area(ours) / 2
    hit = np.bincount(touching[0], shapely.intersects(ours[touching[0]], vague[touching[1]]), len(ours)) > 0
    return [
        "the reference ignores this area" if unseen else "the reference has a shape here that cannot be used" if unclear else ""
        for unseen, unclear in zip(hidden, hit, strict=True)
    ]


def _array(areas: Sequence[BaseGeometry]) -> NDArray[Any]:
    return np.array(areas, dtype=object)


# Overlap


def _overlaps(one: Sequence[Region], other: Sequence[Region], min_iou: float) -> list[tuple[int, int, float]] | None:
    """Every pair that overlaps by `min_iou` or more, with its IoU; None where measuring that would take too long."""
    ours, theirs = (_array([region.geometry for region in side]) for side in (one, other))
    pairs = _candidates(ours, theirs, min_iou)
    if pairs is None:
        return None
    first, second = pairs
    shared = _shared(ours[first], theirs[second])
    iou = shared / (shapely.area(ours[first]) + shapely.area(theirs[second]) - shared)
    return [
        (int(left), int(right), float(overlap))
        for left, right, overlap in zip(first, second, iou, strict=True)
        if overlap >= min_iou
    ]


def _candidates(ours: NDArray[Any], theirs: NDArray[Any], least: float) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Pairs whose boxes and areas allow an IoU of `least`; None where their overlaps are too much work.

    A few regions are looked up at a time: what a thousand outlines on top of one another answer at once eats memory.
    """
    if not len(ours) or not len(theirs):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    tree = shapely.STRtree(theirs)
    boxes = shapely.bounds(ours), shapely.bounds(theirs)
    areas = shapely.area(ours), shapely.area(theirs)
    vertices = shapely.get_num_coordinates(ours), shapely.get_num_coordinates(theirs)
    found: list[NDArray[Any]] = []
    work = met = done = 0
    step = 16
    while done < len(ours):
        first, second = tree.query(ours[done : done + step])
        first = first + done
        low = np.maximum(boxes[0][first, :2], boxes[1][second, :2])
        high = np.minimum(boxes[0][first, 2:], boxes[1][second, 2:])
        most = np.minimum((high - low).prod(axis=1), np.minimum(areas[0][first], areas[1][second]))
        near = most >= least * np.maximum(areas[0][first], areas[1][second]) * (1 - 1e-9)
        found.append(np.stack([first[near], second[near]]))
        met += len(first)
        work += int((vertices[0][first] + vertices[1][second] + _A_PAIR)[near].sum())
        if work > _WORK or met > _WORK:
            return None
        done += step
        step = min(1024, max(1, 2**18 * done // max(met, 1)))
    first, second = np.concatenate(found, axis=1)
    return first, second


def _shared(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.float64]:
    """The area that the two outlines of each pair share."""
    crossings = shapely.get_num_coordinates(ours).astype(np.int64) * shapely.get_num_coordinates(theirs)
    plain = crossings <= _MEETINGS
    for number in np.flatnonzero(~plain):
        plain[number] = not _tangled(ours[number], theirs[number])
    areas = np.zeros(len(ours))
    areas[plain] = shapely.area(shapely.intersection(ours[plain], theirs[plain]))
    for number in np.flatnonzero(~plain):
        areas[number] = _sampled(ours[number], theirs[number])
    return areas


def _tangled(one: BaseGeometry, other: BaseGeometry) -> bool:
    """Whether two outlines may cross so often that cutting one with the other takes minutes or all memory."""
    edges, tree = _edges(one.boundary), shapely.STRtree(_edges(other.boundary))
    met, done, step = 0, 0, 16
    while done < len(edges):
        met += tree.query(edges[done : done + step]).shape[1]
        if met > _MEETINGS:
            return True
        done += step
        step = min(1024, max(1, 2**18 * done // max(met, 1)))
    return False


def _sampled(one: BaseGeometry, other: BaseGeometry) -> float:
    """The area that two outlines share, told from a grid of points in the box that both lie in."""
    low = np.maximum(one.bounds[:2], other.bounds[:2])
    high = np.minimum(one.bounds[2:], other.bounds[2:])
    x, y = (low[axis] + (np.arange(_GRID) + 0.5) * (high[axis] - low[axis]) / _GRID for axis in (0, 1))
    shapely.prepare([one, other])
    columns, rows = np.meshgrid(x, y)
    inside = shapely.contains_xy(one, columns, rows) & shapely.contains_xy(other, columns, rows)
    return float(inside.mean() * (high - low).prod())


def _edges(outline: BaseGeometry) -> NDArray[Any]:
    """Each straight edge of an outline as a line of its own."""
    xy, ring = shapely.get_coordinates(shapely.get_parts(outline), return_index=True)
    within = ring[1:] == ring[:-1]
    return np.asarray(shapely.linestrings(np.stack([xy[:-1][within], xy[1:][within]], axis=1)))


# Distance


def _spacing(areas: Sequence[BaseGeometry]) -> float:
    """Pixels between samples, so that all outlines of an image together have no more than there is time for."""
    return max(1.0, float(shapely.length(areas).sum()) / _SAMPLES) if areas else 1.0


def _distances(xy: NDArray[np.float64], line: BaseGeometry) -> NDArray[np.float64]:
    points = shapely.points(xy)
    if shapely.get_num_coordinates(line) <= _FEW_EDGES:
        return np.asarray(shapely.distance(points, line))
    tree = shapely.STRtree(_edges(line))
    return np.asarray(tree.query_nearest(points, return_distance=True, all_matches=False)[1])


# What that makes


@dataclass(frozen=True, slots=True)
class Tally:
    """How many defects met which fate.

    `right` have the same type on both sides. `confused` are the reference's that were drawn under another type, `mistaken` the
    drawn ones that the reference calls otherwise: the same pairs, seen from either side, so that they differ only where a
    table is by type. Whatever is excused stands in no tally.
    """

    right: int = 0
    confused: int = 0
    mistaken: int = 0
    missed: int = 0
    extra: int = 0
    unusable: int = 0

    @property
    def reference(self) -> int:
        """All defects of the reference."""
        return self.right + self.confused + self.missed

    @property
    def drawn(self) -> int:
        """All that the annotator drew, unusable shapes too."""
        return self.right + self.mistaken + self.extra + self.unusable

    @property
    def precision(self) -> float | None:
        """The share of what was drawn that is right; None where nothing was drawn."""
        return self.right / self.drawn if self.drawn else None

    @property
    def recall(self) -> float | None:
        """The share of the reference's defects that were found under their type; None where it has none."""
        return self.right / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None where neither side has anything.

        >>> Tally(right=6, missed=2, extra=2).f1
        0.75
        """
        both = self.reference + self.drawn
        return 2 * self.right / both if both else None


@dataclass(frozen=True, slots=True)
class Closeness:
    """How near the outlines of matched defects lie, whatever their types; None where there is no pair."""

    pairs: int
    mean_iou: float | None
    median_iou: float | None
    mean_distance: float | None
    mean_hausdorff: float | None
    max_hausdorff: float | None
    median_area_ratio: float | None

    @classmethod
    def of(cls, comparisons: Iterable[Comparison]) -> Closeness:
        pairs = [each for each in comparisons if each.iou is not None]
        ious = [each.iou for each in pairs if each.iou is not None]
        distances = [each.distance for each in pairs if each.distance is not None]
        farthest = [each.hausdorff for each in pairs if each.hausdorff is not None]
        ratios = [ratio for each in pairs if (ratio := each.area_ratio) is not None]
        return cls(
            pairs=len(pairs),
            mean_iou=fmean(ious) if ious else None,
            median_iou=median(ious) if ious else None,
            mean_distance=fmean(distances) if distances else None,
            mean_hausdorff=fmean(farthest) if farthest else None,
            max_hausdorff=max(farthest, default=None),
            median_area_ratio=median(ratios) if ratios else None,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; `name` is None for what has no type or no size."""

    name: str | None
    tally: Tally
    closeness: Closeness


def overall(comparisons: Sequence[Comparison]) -> Row:
    """All comparisons in one line."""
    rows = _table(comparisons, lambda _: ("", ""))
    return rows[0] if rows else Row("", Tally(), Closeness.of(()))


def by_type(comparisons: Sequence[Comparison]) -> list[Row]:
    """A line a type, sorted: the reference's type for what it has, the annotator's for what was drawn."""
    rows = _table(comparisons, lambda each: (each.reference, each.drawn))
    return sorted(rows, key=lambda row: (row.name is None, row.name or ""))


def by_size(comparisons: Sequence[Comparison]) -> list[Row]:
    """A line a size class, the smallest first; shapes without an area come last, under None."""
    rows = _table(comparisons, lambda each: (each.size, each.size))
    order = (*sizes.NAMES, None)
    return sorted(rows, key=lambda row: order.index(row.name))


def confusion(comparisons: Iterable[Comparison]) -> dict[tuple[str, str], int]:
    """(type of the reference, type drawn) → how many matched pairs, sorted; agreement is the diagonal."""
    counts = Counter((each.reference, each.drawn) for each in comparisons if each.reference and each.drawn)
    return {(left, right): count for (left, right), count in sorted(counts.items()) if left and right}


_Keys = tuple[str | None, str | None]


def _table(comparisons: Sequence[Comparison], keys: Callable[[Comparison], _Keys]) -> list[Row]:
    """`keys` tells in which line a comparison counts for the reference, and in which for what was drawn."""
    counts: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
    pairs: defaultdict[str | None, list[Comparison]] = defaultdict(list)
    for each in comparisons:
        theirs, ours = keys(each)
        pairs[theirs].append(each)
        match each.verdict:
            case Verdict.AGREED:
                counts[theirs]["right"] += 1
            case Verdict.OTHER_TYPE:
                counts[theirs]["confused"] += 1
                counts[ours]["mistaken"] += 1
            case Verdict.MISSED:
                counts[theirs]["missed"] += 1
            case Verdict.EXTRA | Verdict.UNUSABLE:
                counts[ours][each.verdict.value] += 1
    return [Row(name, Tally(**count), Closeness.of(pairs[name])) for name, count in counts.items()]


# Agreement beyond chance


def cohen_kappa(pairs: Iterable[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa of two raters, one pair of ratings a unit: (p_o - p_e) / (1 - p_e), with p_o the share of equal pairs and
    p_e the share that two raters with these habits would have by chance. None without a unit, and where p_e is 1 because
    both always say the same one thing.

    J. Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20 (1960).

    >>> cohen_kappa([("defect", "defect"), ("good", "good"), ("good", "defect"), ("good", "good")])
    0.5
    """
    counted = Counter(pairs)
    units = counted.total()
    left: Counter[Hashable] = Counter()
    right: Counter[Hashable] = Counter()
    for (one, other), count in counted.items():
        left[one] += count
        right[other] += count
    chance = sum(left[value] * right[value] for value in left)  # of units², a whole number: no rounding can hide a 1
    if not units or chance == units**2:
        return None
    equal = sum(count for (one, other), count in counted.items() if one == other)
    return (equal * units - chance) / (units**2 - chance)


def krippendorff_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal values; a unit lists the ratings it has, in any order and number.

    alpha = 1 - D_o / D_e, from the coincidence matrix: each ordered pair of ratings of a unit of m counts 1 / (m - 1), units of
    one rating do not count. None where nothing can be compared, and where all ratings are the same, so that no disagreement
    could be expected.

    K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C.

    >>> round(krippendorff_alpha([["good", "good"], ["defect", "defect"], ["good", "defect"]]), 4)
    0.4444
    """
    values: Counter[Hashable] = Counter()
    observed = 0.0  # off the diagonal of the coincidence matrix
    for ratings in units:
        if len(ratings) > 1:
            counts = Counter(ratings)
            values += counts
            observed += (len(ratings) ** 2 - sum(count**2 for count in counts.values())) / (len(ratings) - 1)
    total = values.total()
    expected = total**2 - sum(count**2 for count in values.values())
    return 1 - (total - 1) * observed / expected if expected else None
