"""The part of a photograph that shows one shape, small enough to look at on a page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from threecad.domain import Size

LEAST = 128
"""Pixels a side, at least, that are shown of the photograph: a pinhole needs surroundings to be recognised."""
LONGEST = 640
"""Pixels of the longer side of the picture."""
_MARGIN = 0.35  # of the shape's own longer side, on each side


def around(points: Iterable[tuple[float, float]], size: Size) -> tuple[int, int, int, int]:
    """The whole pixels (left, top, width, height) around points of an image, with a margin; the whole image where no point helps.

    >>> around([(100, 100), (120, 110)], Size(600, 800))
    (46, 41, 128, 128)
    >>> around([(-50, float("nan"))], Size(600, 800)), around([(1e308, 1), (-1e308, 1)], Size(600, 800))
    ((0, 0, 800, 600), (0, 0, 800, 600))
    """
    usable = np.array([(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)], dtype=np.float64)
    if not len(usable):
        return 0, 0, size.width, size.height
    usable = np.clip(usable, 0, (size.width, size.height))  # what lies outside cannot be shown, and may be anywhere
    low, high = usable.min(axis=0), usable.max(axis=0)
    side = max(LEAST, float((high - low).max()) * (1 + 2 * _MARGIN))
    left, width = _stretch(float(low[0]), float(high[0]), side, size.width)
    top, height = _stretch(float(low[1]), float(high[1]), side, size.height)
    return left, top, width, height


def _stretch(low: float, high: float, side: float, whole: int) -> tuple[int, int]:
    """Start and length of a stretch of `side` pixels about the middle of the part from `low` to `high` that is in the image."""
    length = min(whole, math.ceil(side))
    start = min(max(math.floor((low + high - length) / 2), 0), whole - length)
    return start, length


def part(pixels: NDArray[Any], view: tuple[int, int, int, int], longest: int = LONGEST) -> NDArray[np.uint8]:
    """That part of an image as uint8, its longer side at most `longest`; 16 bits are spread from its darkest to its brightest.

    >>> part(np.zeros((600, 800, 3), np.uint8), (0, 0, 800, 600)).shape
    (480, 640, 3)
    """
    left, top, width, height = view
    cut: NDArray[Any] = pixels[top : top + height, left : left + width]
    scale = longest / max(cut.shape[:2])
    if scale < 1:
        target = max(1, round(width * scale)), max(1, round(height * scale))
        cut = cv2.resize(np.ascontiguousarray(cut), target, interpolation=cv2.INTER_AREA)
    if cut.dtype == np.uint16:
        low, high = int(cut.min()), int(cut.max())
        cut = ((cut.astype(np.uint32) - low) * 255 // max(high - low, 1)).astype(np.uint8)
    return np.ascontiguousarray(cut)
