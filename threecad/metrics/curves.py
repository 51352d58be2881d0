"""What a table of counts by score tells: areas under curves with bounds, the best F1 and the curves themselves.

A row of a table is a bin. Where scores of one bin may differ, nobody knows the order inside it, and each figure comes with the
least and the most that any order could give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.metrics.regions import WHOLE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

POINTS = 1000
"""Points that a curve is thinned to, more than a figure shows."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A figure, and the least and the most that it can be if scores that share a bin are told apart.

    >>> float(Bounded(0.5, 0.4, 0.6))
    0.5
    """

    value: float
    lower: float
    upper: float

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, from the highest threshold to the lowest: what scores at least `threshold` is at (`x`, `y`)."""

    x: Floats
    y: Floats
    threshold: Floats


@dataclass(frozen=True, slots=True)
class Table:
    """Counts by bin, the highest scores first; at least one positive and one negative in all.

    `thresholds` are the lowest scores of the bins, `weights` what regions weigh in each (see `regions.weigh`) and `regions` how
    many there are. Scores of one row are equal where it is `exact`. Elsewhere they are taken to be equal too, as scores of few
    levels are, or where `rooms` are given to be spread evenly over so many different scores. Bounds hold either way.
    """

    thresholds: Floats
    negatives: Ints
    positives: Ints
    weights: Ints
    regions: int
    exact: NDArray[np.bool_]
    rooms: Ints | None = None


def of_scores(scores: Floats, positive: NDArray[np.bool_]) -> Table:
    """The table of single scores, exact.

    >>> of_scores(np.array([0.5, 0.5, 0.9]), np.array([True, False, True])).negatives.tolist()
    [0, 1]
    """
    levels, places = np.unique(scores, return_inverse=True)
    places = places.reshape(-1)
    positives = np.bincount(places[positive], minlength=len(levels))[::-1]
    negatives = np.bincount(places[~positive], minlength=len(levels))[::-1]
    return Table(levels[::-1], negatives, positives, np.zeros(len(levels), np.int64), 0, np.ones(len(levels), np.bool_))


def _bounded(value: Any, lower: Any, upper: Any) -> Bounded:
    """Rounding must not put a value outside its bounds, nor a bound outside 0 … 1."""
    value = min(max(float(value), 0.0), 1.0)
    return Bounded(value, max(0.0, min(float(lower), value)), min(1.0, max(float(upper), value)))


def auroc(table: Table) -> Bounded:
    """The area under the ROC curve: the share of pairs of a positive and a negative in which the positive scores higher; ties
    count half.

    Bounds: whatever the order inside a bin, a positive scores higher than all negatives of lower bins and lower than those of
    higher bins. So each of its bin's n negatives adds 0, a half or 1, and together they add between 0 and n.

    >>> auroc(Table(np.array([0.8, 0.2]), np.array([1, 3]), np.array([2, 2]), np.zeros(2, np.int64), 0, np.zeros(2, np.bool_)))
    Bounded(value=0.625, lower=0.375, upper=0.875)
    """
    positives, negatives = table.positives.astype(np.float64), table.negatives.astype(np.float64)
    lower_ones = negatives.sum() - np.cumsum(negatives)
    pairs = positives.sum() * negatives.sum()
    shared = positives * negatives
    sure, doubt = np.sum(positives * lower_ones) / pairs, np.sum(shared) / (2 * pairs)
    doubtful = np.sum(shared, where=~table.exact) / (2 * pairs)
    return _bounded(sure + doubt, sure + doubt - doubtful, sure + doubt + doubtful)


def average_precision(table: Table) -> Bounded:
    """Average precision: the mean, over the positives, of the precision at the threshold that each one's score makes.

    Bounds, for a bin of p positives and n negatives below T positives and F negatives: at the threshold of the bin's k-th
    positive at least T + k positives and at most F + n negatives are found, and at most T + p and at least F. Precision grows
    with the former and falls with the latter, so it lies between (T+k) / (T+k+F+n) and (T+p) / (T+p+F). The sum over k of the
    former is bounded from below by an integral, as 1/x is convex.

    >>> table = Table(np.array([0.8, 0.2]), np.array([1, 3]), np.array([2, 2]), np.zeros(2, np.int64), 0, np.zeros(2, np.bool_))
    >>> found = average_precision(table)
    >>> round(found.value, 4), round(found.upper, 4)
    (0.5833, 0.9)
    """
    rows = np.flatnonzero(table.positives)
    exact = table.exact[rows]
    own, others = table.positives[rows].astype(np.float64), table.negatives[rows].astype(np.float64)
    found = np.cumsum(table.positives)[rows].astype(np.float64)  # T + p
    false = np.cumsum(table.negatives)[rows].astype(np.float64)  # F + n
    before = found - own
    tied = own * (found / (found + false))
    most = own * (found / (found + false - others))
    # sum of (T+k) / (T+k+G) = p - G · sum of 1 / (T+k+G), and that sum ≤ ∫ dx/x from T+G+½ to T+G+p+½, by the midpoints.
    by_integral = own - false * np.log1p(own / (before + false + 0.5))
    by_first = own * ((before + 1) / (before + 1 + false))
    least = np.minimum(np.maximum(by_integral, by_first), tied)
    likely = tied
    if table.rooms is not None:
        spread = _spread_precision(own, others, before, false - others, table.rooms[rows].astype(np.float64))
        likely = np.clip(spread, least, most)
    sums = (np.sum(np.where(exact, tied, each)) / found[-1] for each in (likely, least, most))
    return _bounded(*sums)


def _spread_precision(own: Floats, others: Floats, before: Floats, false: Floats, rooms: Floats) -> Floats:
    """The sum of the precisions at a bin's p positives where these and its n negatives are spread evenly over w scores.

    So n k / (p + 1) negatives come before the k-th, and of those that are equal to it n / 2w and (p - 1) / 2w count besides.
    With these added to F and T, the sum of (T+k) / (T+F+a k), with a = 1 + n / (p + 1), is that of 1/a and of
    (T - (T+F)/a) / (T+F+a k), this by the same integral as above. A single positive, as at the top of the scores where the
    integral would be rough, needs none.
    """
    slope = 1 + others / (own + 1)
    before = before + (own - 1) / (2 * rooms)
    start = before + false + others / (2 * rooms)
    several = own / slope + (before - start / slope) * np.log1p(slope * own / (start + slope / 2)) / slope
    return np.where(own == 1, (before + 1) / (start + slope), several)


def best_f1(table: Table) -> tuple[Bounded, float]:
    """The largest F1 of any threshold, and the highest threshold that reaches its value: scores at least that high are found.

    Bounds: the value is that of a threshold between two bins, which exists, so no less is possible. Inside a bin of p
    positives no threshold finds more than all p of them or less than none of its negatives.

    >>> best_f1(of_scores(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True])))
    (Bounded(value=0.8, lower=0.8, upper=0.8), 0.4)
    """
    found, false = np.cumsum(table.positives), np.cumsum(table.negatives)
    scores = 2 * found / (found + false + found[-1])
    most = np.max(2 * found / (found + false - np.where(table.exact, 0, table.negatives) + found[-1]))
    best = int(np.argmax(scores))
    return _bounded(scores[best], scores[best], most), float(table.thresholds[best])


def aupro(table: Table, limit: float) -> Bounded:
    """The area under the PRO curve up to the false-positive rate `limit`, over `limit`: the share of a region that is found,
    mean over all regions. The curve is straight between thresholds, and is cut at exactly the limit.

    P. Bergmann et al., Uninformed Students, CVPR 2020, section 4.

    Bounds: both rates only grow as the threshold falls, so between two bins the curve stays in the box that they span, and its
    area there is between the box's lower and its upper edge. Shares are whole multiples of 2⁻³⁶, which both bounds allow for.

    >>> halves = np.array([WHOLE // 2, WHOLE // 2])
    >>> table = Table(np.array([0.8, 0.2]), np.array([1, 3]), np.array([2, 2]), halves, 1, np.ones(2, np.bool_))
    >>> round(aupro(table, limit=0.5).value, 4)
    0.4167
    """
    rates, overlaps = _pro(table)
    left, right = np.minimum(rates[:-1], limit), np.minimum(rates[1:], limit)
    width, low, high = right - left, overlaps[:-1], overlaps[1:]
    step = rates[1:] - rates[:-1]
    cut = low + (high - low) * np.divide(width, step, out=np.ones_like(step), where=step > 0)
    areas = width * (low + cut) / 2
    value = np.sum(areas) / limit
    lower = np.sum(np.where(table.exact, areas, width * low)) / limit
    upper = np.sum(np.where(table.exact, areas, width * high)) / limit
    grain = 1 / WHOLE
    return _bounded(value, lower - grain, upper + grain)


def _pro(table: Table) -> tuple[Floats, Floats]:
    """False-positive rates and mean overlaps from (0, 0) to (1, 1)."""
    false = np.cumsum(table.negatives)
    rates = np.concatenate([[0.0], false / false[-1]])
    return rates, np.concatenate([[0.0], np.cumsum(table.weights) / (table.regions * WHOLE)])


# Curves to draw


def roc(table: Table, points: int = POINTS) -> Curve:
    """The share of positives that are found (y) over the share of negatives that are (x), from (0, 0) at infinity.

    >>> roc(of_scores(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]))).y.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    found, false = np.cumsum(table.positives), np.cumsum(table.negatives)
    x, y = np.concatenate([[0.0], false / false[-1]]), np.concatenate([[0.0], found / found[-1]])
    return _thinned(x, y, _with_infinity(table), points)


def pr(table: Table, points: int = POINTS) -> Curve:
    """Precision (y) over recall (x), from (0, 1) at infinity.

    >>> pr(of_scores(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]))).y.round(2).tolist()
    [1.0, 1.0, 0.5, 0.67, 0.5]
    """
    found, false = np.cumsum(table.positives), np.cumsum(table.negatives)
    x, y = np.concatenate([[0.0], found / found[-1]]), np.concatenate([[1.0], found / (found + false)])
    return _thinned(x, y, _with_infinity(table), points)


def pro(table: Table, limit: float, points: int = POINTS) -> Curve:
    """Mean overlap of the regions (y) over the share of negatives that are found (x), from (0, 0) at infinity to x = limit.

    The last point is interpolated; its threshold is that of the next one.
    """
    rates, overlaps = _pro(table)
    end = min(int(np.searchsorted(rates, limit)), len(rates) - 1)  # the first point at the limit or beyond
    x, y = rates[: end + 1].copy(), overlaps[: end + 1].copy()
    share = (limit - x[-2]) / (x[-1] - x[-2])
    x[-1], y[-1] = limit, y[-2] + share * (y[-1] - y[-2])
    return _thinned(x, y, _with_infinity(table)[: end + 1], points)


def _with_infinity(table: Table) -> Floats:
    return np.concatenate([[np.inf], table.thresholds])


def _thinned(x: Floats, y: Floats, threshold: Floats, points: int) -> Curve:
    """At most so many points, evenly spaced along the curve, both ends kept."""
    if len(x) > points:
        along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        kept = np.searchsorted(along, np.linspace(0.0, along[-1], points))
        kept[-1] = len(x) - 1
        kept = np.unique(kept)
        x, y, threshold = x[kept], y[kept], threshold[kept]
    return Curve(x, y, threshold)
