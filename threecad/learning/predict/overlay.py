"""The photograph with what the detector sees in it: heat where the map nears the threshold, outlines where it reaches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from threecad.domain import Size
from threecad.imaging.drawing.canvas import disc, picture
from threecad.imaging.drawing.framing import frame
from threecad.imaging.drawing.lettering import DIGITS, Text, fitting, typeface, write
from threecad.imaging.drawing.marks import outlined
from threecad.imaging.drawing.scene import GROUND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.learning.predict.regions import Outline

    Map = NDArray[np.float32]
    Picture = NDArray[np.uint8]

LONGEST = 1600
"""Most pixels of the longer side; a small photograph is enlarged by a whole factor."""
_FAINTEST, _FULL, _SHARE = 0.8, 1.2, 0.55
"""Multiples of the threshold from and up to which the heat grows, and how much of a pixel it then covers. Below, the photograph
looks as it is."""
_RAMP = np.array([(255, 225, 60), (255, 140, 0), (225, 20, 20)], np.float32)
"""At the faintest, at the threshold, and at twice the threshold."""
_LINE = (0, 255, 255)
"""Cyan, which is nowhere in the ramp, nor in metal, glass or plastic."""
_MOST_TAGS = 20
_WORDS = 22
"""Pixels of the strip of words below."""


def look(pixels: NDArray[Any]) -> Picture:
    """The photograph as the overlay shows it: RGB of 8 bits, at most `LONGEST` pixels a side.

    >>> look(np.zeros((3000, 4000), np.uint16)).shape
    (1200, 1600, 3)
    """
    return picture(pixels, frame(Size(*pixels.shape[:2]), LONGEST))


def overlay(
    photograph: Picture,
    map_HW: Map,
    score: float,
    threshold: float,
    outlines: Sequence[Outline],
    peak: tuple[int, int],
) -> Picture:
    """What `look` made of a photograph with its map over it, the outlines of its regions with their scores, and a line of words.

    Where the score reaches the threshold but no pixel of the map does, a ring stands around the `peak` (x, y).
    """
    shown = frame(Size(*map_HW.shape), LONGEST)
    heated = _heated(photograph, _reduced(map_HW, shown.size), threshold)
    outlined(heated, shown, np.array([each.polygon for each in outlines], dtype=object), _LINE)
    tags = []
    for each in outlines[:_MOST_TAGS]:
        _, top, right, _ = each.polygon.bounds
        x, y = shown.place((right, top)).tolist()
        tags.append(Text((x, y), f"{each.score:.3g}", GROUND, _LINE))
    if score >= threshold and not outlines:
        x, y = shown.place((peak[0] + 0.5, peak[1] + 0.5)).tolist()
        disc(heated, x, y, 14, (0, 0, 0), 5)
        disc(heated, x, y, 14, _LINE, 2)
    write(heated, tags, np.zeros((0, 2)))
    strip = np.full((_WORDS, heated.shape[1], 3), GROUND, np.uint8)
    verdict = "defective" if score >= threshold else "normal"
    words = f"{verdict}   score {score:.4g}   threshold {threshold:.4g}"
    words = fitting(words, typeface(DIGITS, bold=True), heated.shape[1] - 20)
    write(strip, [Text((0, _WORDS - 3), words, colour=(255, 255, 255), needed=True)], np.zeros((0, 2)))
    return np.concatenate([heated, strip])


def _heated(photograph: Picture, small: Map, threshold: float) -> Picture:
    # As many thresholds as a score is; where the threshold is not above 0, as if it were 1 and the scores as far from it.
    times = small / threshold if threshold > 0 else small - threshold + 1
    heated = photograph.copy()
    hot = times > _FAINTEST  # in most photographs next to nothing
    of_hot = times[hot]
    near = np.clip((of_hot - _FAINTEST) / (_FULL - _FAINTEST), 0, 1)[:, None]
    share = near * near * (3 - 2 * near) * _SHARE  # begins and ends without an edge
    colours = np.stack([np.interp(of_hot, (_FAINTEST, 1.0, 2.0), _RAMP[:, channel]) for channel in range(3)], axis=-1)
    heated[hot] = np.rint(photograph[hot] * (1 - share) + colours * share).astype(np.uint8)
    return heated


def _reduced(map_HW: Map, size: Size) -> Map:
    """The map in the picture's size; where that is smaller, its greatest values, so that no small spot fades."""
    height, width = map_HW.shape
    if size.height * size.width >= height * width:
        enlarged: Any = cv2.resize(map_HW, (size.width, size.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, np.float32)
    rows = np.maximum.reduceat(map_HW, np.arange(size.height) * height // size.height, axis=0)
    return np.asarray(np.maximum.reduceat(rows, np.arange(size.width) * width // size.width, axis=1), np.float32)
