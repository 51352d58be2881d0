"""What part of an image a picture shows, and how large: the only place where pixels of the one become those of the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.domain import Size, Window

Floats = NDArray[np.float64]

_SMALL = 720  # px; a smaller picture is enlarged by a whole factor, so that single pixels and their numbers can be seen
_MOST_TIMES = 32  # enlarged
_MARGIN = 0.25  # of a shape's longer side around it, and at least
_LEAST_MARGIN = 8.0  # px of the image


@dataclass(frozen=True, slots=True)
class Frame:
    """What part of an image is shown and how large: `window` in pixels of the image, `size` in those of the picture."""

    window: Window
    size: Size

    def place(self, points: Any) -> Floats:
        """Points (…, 2) of the image in the picture; both are continuous, from the outer corner of the top left pixel.

        >>> Frame(Window(10, 20, Size(5, 5)), Size(50, 50)).place([(20.0, 10.0), (20.5, 15.0)]).tolist()
        [[0.0, 0.0], [5.0, 50.0]]
        """
        scale = np.array([self.size.width / self.window.size.width, self.size.height / self.window.size.height])
        with np.errstate(over="ignore", invalid="ignore"):
            placed: Floats = (np.asarray(points, np.float64) - (self.window.left, self.window.top)) * scale
        return placed

    def holds(self, place: tuple[float, float]) -> bool:
        """Whether a point of the image is shown; one on the edge is."""
        x, y = place[0] - self.window.left, place[1] - self.window.top
        return 0 <= x <= self.window.size.width and 0 <= y <= self.window.size.height


def frame(size: Size, longest: int, around: tuple[float, float, float, float] | None = None) -> Frame:
    """The frame of a whole image, or of the part around (left, top, right, bottom) with a margin, at most `longest` px wide
    and high. What is small is enlarged by a whole factor.

    >>> frame(Size(3000, 6000), 1500).size, frame(Size(100, 100), 1500).size
    (Size(height=750, width=1500), Size(height=800, width=800))
    >>> frame(Size(1000, 1000), 1500, around=(990, 400, 1200, 420)).window
    Window(top=347, left=937, size=Size(height=126, width=63))
    """
    window = Window(0, 0, size)
    if around is not None:
        left, top, right, bottom = around
        margin = max(_LEAST_MARGIN, _MARGIN * max(right - left, bottom - top))
        x0, x1 = _span(left - margin, right + margin, size.width)
        y0, y1 = _span(top - margin, bottom + margin, size.height)
        window = Window(y0, x0, Size(y1 - y0, x1 - x0))
    side = max(window.size.height, window.size.width)
    times = float(max(1, min(longest // side, -(-_SMALL // side), _MOST_TIMES))) if side <= longest else longest / side
    return Frame(window, Size(*(max(1, round(length * times)) for length in (window.size.height, window.size.width))))


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Whole pixels from `low` to `high`, as far as the image goes and at least one."""
    first = int(min(max(math.floor(low), 0), length - 1))
    return first, int(min(max(math.ceil(high), first + 1), length))
