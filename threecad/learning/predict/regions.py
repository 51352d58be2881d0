"""Where a map reaches the threshold, as outlines that labelme opens: valid polygons inside the image, worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.float32]

MOST = 1000
"""Outlines of one image that are kept, the worst ones: with more of them nobody can work in labelme."""
_TOLERANCE = 0.5
"""Pixels by which a simplified outline may lie off."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One region: pixels at or above the threshold that hang together, also across corners. Holes are not drawn.

    `area` counts those pixels, `score` is the greatest among them.
    """

    polygon: shapely.Polygon
    area: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """`count` regions of `area` pixels in all; the outlines of the worst `MOST`, worst first."""

    count: int
    area: int
    outlines: tuple[Outline, ...]


def regions(map_HW: Map, threshold: float, min_area: int = 1) -> Regions:
    """The regions of a map, less those of fewer than `min_area` pixels. What lies in another's hole is part of that one.

    >>> found = regions(np.eye(4, dtype=np.float32), 0.5)
    >>> found.count, found.area, found.outlines[0].polygon.is_valid
    (1, 4, True)
    """
    inside = np.asarray(map_HW >= threshold)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return Regions(0, 0, ())
    top, left = int(rows[0]), int(columns[0])
    inside = np.ascontiguousarray(inside[top : rows[-1] + 1, left : columns[-1] + 1])
    part = map_HW[top : rows[-1] + 1, left : columns[-1] + 1]
    filled = np.zeros(inside.shape, np.uint8)
    borders, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(filled, borders, -1, 1, cv2.FILLED)
    number, labels = cv2.connectedComponents(filled, connectivity=8)
    of_region, scores_of = labels[inside], part[inside]
    areas = np.bincount(of_region, minlength=number)
    scores = np.full(number, -np.inf, np.float32)
    np.maximum.at(scores, of_region.astype(np.intp), scores_of)
    kept = np.flatnonzero(areas >= max(1, min_area))
    # Labels come in reading order, and a stable sort leaves equal scores in it.
    worst = kept[np.argsort(-scores[kept], kind="stable")][:MOST]
    shown = np.zeros(number, bool)
    shown[worst] = True
    rings = _rings(shown[labels], labels)
    polygons = _simplified([rings[label] + (left, top) for label in worst.tolist()])
    outlines = tuple(
        Outline(polygon, int(areas[label]), float(scores[label])) for label, polygon in zip(worst.tolist(), polygons, strict=True)
    )
    return Regions(len(kept), int(areas[kept].sum()), outlines)


def _simplified(rings: list[NDArray[np.float64]]) -> list[shapely.Polygon]:
    """Polygons of the rings with fewer corners, where that leaves them valid."""
    exact = np.array([shapely.Polygon(ring) for ring in rings], dtype=object)
    simple = shapely.simplify(exact, _TOLERANCE, preserve_topology=True)
    sound = shapely.is_valid(simple) & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON) & (shapely.area(simple) > 0)
    return list(np.where(sound, simple, exact))


def _rings(filled: NDArray[np.bool_], labels: NDArray[Any]) -> dict[int, NDArray[np.float64]]:
    """The outline of each region, midway between its pixels and others: label → (points, x y), clockwise with y down, not closed.

    `filled` has no holes. The points are the middles of the pixels' edges, those within a straight line left out, so corners are
    cut, no ring touches itself, and a pixel that touches its region at a corner only hangs on a bridge.

    As in `formats.coco`, corners are walked along the lattice's lines, on each of which they are in turn the begin and the end of
    an edge. But here regions hang together across corners: where two pixels touch so, the two corners in one place turn round
    the pixels that are not of the region.
    """
    padded = np.pad(filled, 1)
    changes = padded[:, 1:] != padded[:, :-1]
    above, below = changes[:-1], changes[1:]
    pinched = above & below & (padded[:-1, :-1] != padded[1:, :-1])
    ys, xs = np.nonzero((above != below) | pinched)
    twice = pinched[ys, xs]
    ys, xs = np.repeat(ys, 1 + twice), np.repeat(xs, 1 + twice)
    # Of two corners in one place, the one whose horizontal edge lies to the left comes first in its row. In its column it
    # does if its vertical edge lies above, which turns round the upper left pixel: if that is not of the region.
    late = np.zeros(len(ys), bool)
    late[np.cumsum(1 + twice)[twice] - 1] = True
    by_column = np.lexsort((late != padded[ys, xs], ys, xs))
    beside = np.arange(len(ys)) ^ 1
    upright = np.empty_like(beside)
    upright[by_column] = by_column[beside]
    corners = np.column_stack([xs, ys]).astype(np.float64)
    beside_of, upright_of = beside.tolist(), upright.tolist()
    seen = bytearray(len(ys))
    rings: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(ys), 2):
        if seen[start]:
            continue
        walked: list[int] = []
        corner = start
        while not seen[corner]:
            other = beside_of[corner]
            seen[corner] = seen[other] = 1
            walked += (corner, other)
            corner = upright_of[other]
        # The first corner in reading order is the upper left one of a pixel of the region.
        rings[int(labels[ys[start], xs[start]])] = _middles(corners[walked])
    return rings


def _middles(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each edge of a ring along the lattice, the middles of its first and its last pixel, which may be the same."""
    half = np.sign(np.roll(ring, -1, axis=0) - ring) / 2
    points = np.stack([ring + half, np.roll(ring, -1, axis=0) - half], axis=1).reshape(-1, 2)
    kept: NDArray[np.float64] = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    return kept
