"""Size classes: how large a defect is, in words.

`small`, `medium` and `large` are cut as COCO cuts them, at 32² and 96² pixels; `tiny` is what COCO has no word for: below 8² a
defect is a few pixels wide, and an outline that is one pixel off changes most of it.
"""

from __future__ import annotations

import math

BOUNDS: dict[str, float] = {"tiny": 8.0**2, "small": 32.0**2, "medium": 96.0**2, "large": math.inf}
"""Name → the area in px² that the class stays below; the smallest first."""

NAMES = tuple(BOUNDS)
"""The classes, the smallest first."""


def size_class(area: float) -> str:
    """The class of a defect of that many px².

    >>> [size_class(area) for area in (0, 63.9, 64, 1023, 1024, 9216)]
    ['tiny', 'tiny', 'small', 'small', 'medium', 'large']
    """
    return next((name for name, bound in BOUNDS.items() if area < bound), NAMES[-1])
