"""Where a mask's defects end, as SVG paths along the pixels' outer edges: crisp at any size, and bounded in length."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 800
"""Corners of all outlines of one mask together: about 5 kB of text."""
_MOST_PIXELS = 1 << 24  # of the part that is looked at; a larger one is looked at in steps
_ROUGHER = (0.0, 0.75, 1.5, 3.0, 6.0, 12.0)  # pixels by which an outline may differ from the pixels' edges


def outline(mask: NDArray[Any], most: int = MOST_POINTS) -> str:
    """The boundary of what a mask (height, width; anything but 0) marks: one closed SVG subpath an area and a hole.

    Coordinates are in pixels, origin at the outer corner of the top left one. The outline follows the pixels' edges exactly as
    long as that takes no more than `most` corners; it is drawn more roughly otherwise, and in the end the smallest areas go.

    >>> outline(np.array([[0, 0, 0], [0, 1, 0]], np.uint8))
    'M1 1v1h1v-1z'
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return ""
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1] != 0
    step = 1
    while part.size > _MOST_PIXELS * step * step:
        step += 1
    rings = _rings(part[::step, ::step])
    for rough in _ROUGHER:
        drawn = rings if rough == 0 else [_simpler(ring, rough) for ring in rings]
        if sum(map(len, drawn)) <= most:
            break
    else:
        drawn = _largest(drawn, most)
    return "".join(_path(ring * step + np.array([left, top])) for ring in drawn)


def _rings(marked: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed rings of pixel corners (x, y).

    OpenCV walks along pixel centres. In a picture twice the size, the half pixels it visits lie at the pixels' edges: an even
    one at its pixel's left or upper edge, an odd one at the right or lower.
    """
    double = np.repeat(np.repeat(marked.view(np.uint8), 2, axis=0), 2, axis=1)
    found, _ = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [_straight((ring[:, 0].astype(np.int64) + 1) // 2) for ring in found]


def _straight(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without doubled corners and corners on a straight line."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    bends: NDArray[np.int64] = ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return bends


def _simpler(ring: NDArray[np.int64], rough: float) -> NDArray[np.int64]:
    simple: NDArray[np.int64] = cv2.approxPolyDP(ring.astype(np.int32), rough, True)[:, 0].astype(np.int64)
    if len(simple) >= 3:
        return simple
    low, high = ring.min(axis=0), ring.max(axis=0)
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def _largest(rings: list[NDArray[np.int64]], most: int) -> list[NDArray[np.int64]]:
    """The rings that reach farthest, as many as fit."""
    order = sorted(range(len(rings)), key=lambda number: (-int(np.ptp(rings[number], axis=0).max()), number))
    room = np.cumsum([len(rings[number]) for number in order]) <= most
    return [rings[number] for number, fits in zip(order, room, strict=True) if fits]


def _path(ring: NDArray[np.int64]) -> str:
    steps = [f"M{ring[0][0]} {ring[0][1]}"]
    for x, y in np.diff(ring, axis=0).tolist():
        steps.append(f"v{y}" if x == 0 else f"h{x}" if y == 0 else f"l{x} {y}")
    return "".join(steps) + "z"
