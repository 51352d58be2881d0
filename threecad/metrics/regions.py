"""The regions of masks and what each pixel of one weighs: the per-region overlap (PRO) as sums of whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from threecad.metrics.bins import Keys

Ints = NDArray[np.int64]

WHOLE = 1 << 36
"""What the pixels of one region weigh together. Shares are whole multiples of 2⁻³⁶, so their sums do not depend on any order."""
MOST = (1 << 27) - 1
"""Regions that can be added up in 64 bits."""

_HALF = 18  # bits of WHOLE that are divided at a time, so that no product leaves 64 bits
_STEPS = 200  # thresholds of the variant that is evaluated image by image


@dataclass(frozen=True, slots=True)
class Marked:
    """The anomalous pixels of a batch: `places` are their numbers in it, ascending, `regions` the number of each one's region.

    Regions are 8-connected and counted from 0 through the batch; `areas` are in pixels.
    """

    places: Ints
    regions: Ints
    areas: Ints


def find(marked_BHW: NDArray[np.bool_]) -> Marked:
    """The 8-connected regions of masks, one image after the other.

    >>> found = find(np.array([[[1, 0, 0], [0, 1, 0]], [[1, 0, 1], [0, 0, 1]]], np.bool_))
    >>> found.places.tolist(), found.regions.tolist(), found.areas.tolist()
    ([0, 4, 6, 8, 11], [0, 0, 1, 2, 2], [2, 1, 2])
    """
    size = marked_BHW[0].size if len(marked_BHW) else 0
    places, regions, areas = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    count = 0
    for number in np.flatnonzero(marked_BHW.any(axis=(1, 2))):
        inside, labels = _labelled(marked_BHW[number])
        places.append(inside + number * size)
        regions.append(labels + count)
        areas.append(np.bincount(labels))
        count += len(areas[-1])
    return Marked(np.concatenate(places), np.concatenate(regions), np.concatenate(areas))


def _labelled(marked_HW: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The numbers of the marked pixels of one image and of their regions, from 0."""
    rows = np.flatnonzero(marked_HW.any(axis=1))
    columns = np.flatnonzero(marked_HW[rows[0] : rows[-1] + 1].any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = np.ascontiguousarray(marked_HW[top : rows[-1] + 1, left : columns[-1] + 1])
    _, labels_HW = cv2.connectedComponents(part.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    inside = np.flatnonzero(part)
    labels: Ints = labels_HW.reshape(-1)[inside].astype(np.int64) - 1
    down, right = np.divmod(inside, part.shape[1])
    places: Ints = (down + top) * marked_HW.shape[1] + (right + left)
    return places, labels


@dataclass(frozen=True, slots=True)
class Weighed:
    """The keys of anomalous pixels, by region and from the lowest to the highest, and what each weighs of `WHOLE`.

    `follows` is true where a pixel has the same region as the one before it.
    """

    keys: Keys
    weights: Ints
    follows: NDArray[np.bool_]


def weigh(keys: Keys, found: Marked) -> Weighed:
    """Weigh the marked pixels, given their keys.

    In the order of their scores, the first k of a region's a pixels weigh floor(k · WHOLE / a) together: the whole region exactly
    WHOLE, and what lies below any threshold its share to less than 1 of WHOLE, in bins of any width.

    >>> weighed = weigh(np.array([5, 3, 4], np.int32), Marked(np.arange(3), np.zeros(3, np.int64), np.array([3])))
    >>> weighed.keys.tolist(), int(weighed.weights.sum()) == WHOLE
    ([3, 4, 5], True)
    """
    lowest = np.int64(1) << 31
    ordered = np.sort(found.regions << 32 | (keys.astype(np.int64) + lowest))  # by region, then by score
    regions = ordered >> 32
    starts = np.cumsum(found.areas) - found.areas
    ranks = np.arange(1, len(ordered) + 1) - starts[regions]
    below = _share(ranks, found.areas[regions])
    weights = np.diff(below, prepend=0)
    weights[starts] = below[starts]
    return Weighed(((ordered & 0xFFFF_FFFF) - lowest).astype(np.int32), weights, ranks > 1)


def _share(parts: Ints, wholes: Ints) -> Ints:
    """floor(parts · WHOLE / wholes), without a product of more than 63 bits."""
    quotient, rest = np.divmod(parts << _HALF, wholes)
    return (quotient << _HALF) + (rest << _HALF) // wholes


def pro_upstream(scores_P: NDArray[Any], places: Ints, regions: Ints, limit: float = 0.3) -> float | None:
    """The PRO area of one image as some published programs compute it; not comparable with AUPRO.

    The thresholds are 200 even steps from the image's own lowest score up, exclusive of its highest; a pixel above one is found.
    Points with a false-positive rate below `limit` are kept, their rates divided by the largest of them, and the area under
    them taken by trapezoids; so each image is integrated to another rate, and none to the limit. `places` are the marked
    pixels and `regions` their regions, from 0. Where all kept points have a rate of 0 the area is the largest share they
    find. None where no pixel is normal, no point is kept or a score is infinite.

    >>> pro_upstream(np.array([0.0, 0.1, 0.9, 1.0]), np.array([2, 3]), np.array([0, 0]))
    1.0
    """
    low, high = float(scores_P.min()), float(scores_P.max())
    normal = len(scores_P) - len(places)
    if not normal or not np.isfinite([low, high]).all():
        return None
    thresholds = low + np.arange(_STEPS) * ((high - low) / _STEPS)
    passed = np.searchsorted(thresholds, scores_P.astype(np.float64), side="left")  # so many thresholds lie below the score
    areas = np.bincount(regions)
    shares = np.bincount(passed[places], weights=1 / areas[regions], minlength=_STEPS + 1) / len(areas)
    false = np.bincount(passed, minlength=_STEPS + 1) - np.bincount(passed[places], minlength=_STEPS + 1)
    # Above threshold j are the scores that passed more than j; ascending rates go with descending thresholds.
    rates, overlaps = np.cumsum(false[:0:-1]) / normal, np.cumsum(shares[:0:-1])
    kept = rates < limit
    rates, overlaps = rates[kept], overlaps[kept]
    if not len(rates):
        return None
    if rates[-1] == 0:
        return min(float(overlaps[-1]), 1.0)
    return min(float(np.sum(np.diff(rates) * (overlaps[1:] + overlaps[:-1])) / (2 * rates[-1])), 1.0)
