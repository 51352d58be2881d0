"""The picture as pixels: the photograph in the frame's size, the masks painted over it, and smooth lines and discs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from threecad.domain import Size
from threecad.imaging.drawing.framing import Floats, Frame
from threecad.imaging.drawing.scene import SHARE, Colour, Picture

_FINE = 4  # bits of a pixel's fraction in OpenCV's coordinates
_PERIOD, _DASH = 14.0, 7.0  # px of the picture
_MOST_DASHES = 100_000  # a second's work; more of them are drawn as whole lines
_NOTHING = np.zeros((0, 2, 2))


# The image and its masks


def picture(pixels: NDArray[Any], shown: Frame) -> Picture:
    """The frame's part of the image as 8-bit RGB, scaled before anything is drawn on it.

    16 bits are spread from the part's darkest to its brightest pixel, but for one in a thousand at each end: hot pixels.
    """
    window = shown.window
    part = pixels[window.top : window.top + window.size.height, window.left : window.left + window.size.width]
    part = _scaled(part, shown.size, cv2.INTER_AREA)
    if part.dtype == np.uint16:
        low, high = (float(value) for value in np.quantile(part, (0.001, 0.999), method="nearest"))
        spread = (part.astype(np.float32) - low) * (255 / max(high - low, 1))
        part = np.clip(spread, 0, 255).astype(np.uint8)
    return np.repeat(part[..., None], 3, axis=2) if part.ndim == 2 else np.array(part, order="C")


def _scaled(part: NDArray[Any], size: Size, smaller: int = cv2.INTER_NEAREST_EXACT) -> NDArray[Any]:
    if part.shape[:2] == (size.height, size.width):
        return part
    how = smaller if size.height * size.width < part.shape[0] * part.shape[1] else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(part), (size.width, size.height), interpolation=how)


def reduced(inks: NDArray[Any], size: Size, *, thin: bool) -> NDArray[Any]:
    """The inks in the picture's size; `thin` says that what is narrower than the picture's pixels must not get lost."""
    step = -(-inks.shape[1] // size.width)
    if thin and step > 1:
        inks = cv2.dilate(inks, np.ones((step, step), np.uint8))
    return _scaled(inks, size)


def fill(canvas: Picture, inks: NDArray[Any], colours: Picture, names: Sequence[str | None]) -> None:
    """Paint the masks over the image so that it shines through; what is to be ignored is hatched."""
    inside = inks > 0
    ignored = np.array([False, *(name is None for name in names)])
    if ignored.any():
        diagonal = np.arange(inks.shape[0])[:, None] + np.arange(inks.shape[1])
        inside &= ~ignored[inks] | (diagonal % 8 < 3)
    blended = cv2.addWeighted(canvas, 1 - SHARE, colours[inks], SHARE, 0)
    canvas[inside] = blended[inside]


def border(canvas: Picture, inks: NDArray[Any], colours: Picture) -> None:
    """Outline every ink along its own pixels, and darken the pixels around it, so that it stands out from a bright image."""
    edge = np.zeros(inks.shape, np.uint8)
    down, right = inks[1:] != inks[:-1], inks[:, 1:] != inks[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    wide = cv2.dilate(edge, np.ones((3, 3), np.uint8)).astype(bool)
    outer, inner = wide & (inks == 0), wide & (inks > 0)
    canvas[outer] = canvas[outer] // 3
    canvas[inner] = colours[inks[inner]]


# Lines


def segments(lines: Sequence[Floats]) -> Floats:
    """The edges (n, 2 ends, x y) of lines given as (points, x y)."""
    if not lines:
        return _NOTHING
    return np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])


def clipped(edges: Floats, size: Size, margin: float = 24.0) -> Floats:
    """The parts of edges in the picture and a little around it, so that no coordinate is too large for OpenCV."""
    start, step = edges[:, 0], edges[:, 1] - edges[:, 0]
    low, high = np.zeros(len(edges)), np.ones(len(edges))
    for axis, length in enumerate((size.width, size.height)):
        at = start[:, axis]
        with np.errstate(all="ignore"):
            one, two = (-margin - at) / step[:, axis], (length + margin - at) / step[:, axis]
        flat = step[:, axis] == 0
        inside = (at >= -margin) & (at <= length + margin)
        low = np.maximum(low, np.where(flat, np.where(inside, 0, np.inf), np.fmin(one, two)))
        high = np.minimum(high, np.where(flat, np.where(inside, 1, -np.inf), np.fmax(one, two)))
    kept = low <= high
    start, step, low, high = start[kept], step[kept], low[kept, None], high[kept, None]
    return np.stack([start + low * step, start + high * step], axis=1)


def dashed(edges: Floats) -> Floats:
    """The dashes of clipped edges, which run on from one edge to the next; the edges themselves where there would be too many."""
    step = edges[:, 1] - edges[:, 0]
    length = np.hypot(step[:, 0], step[:, 1])
    if length.sum() / _PERIOD > _MOST_DASHES:
        return edges
    phase = (np.cumsum(length) - length) % _PERIOD
    counts = np.ceil((length + phase) / _PERIOD).astype(np.intp)
    edge = np.repeat(np.arange(len(edges)), counts)
    begin = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)) * _PERIOD - phase[edge]
    first, last = np.maximum(begin, 0), np.minimum(begin + _DASH, length[edge])
    some = last > first
    edge, first, last = edge[some], first[some, None], last[some, None]
    along = step[edge] / length[edge][:, None]
    return np.stack([edges[edge, 0] + first * along, edges[edge, 0] + last * along], axis=1)


def stroke(canvas: Picture, edges: Floats, colour: Sequence[int], width: int) -> None:
    """Draw edges given in the picture's continuous frame, smoothly."""
    if not len(edges):
        return
    # OpenCV counts from the centre of the first pixel.
    fixed = np.round((edges - 0.5) * (1 << _FINE)).astype(np.int32)
    cv2.polylines(canvas, list(fixed), False, [int(value) for value in colour], width, cv2.LINE_AA, _FINE)


def disc(canvas: Picture, x: float, y: float, radius: float, colour: Colour, width: int = cv2.FILLED) -> None:
    """A disc around a place of the picture, or a ring whose line is `width` wide."""
    centre = (round((x - 0.5) * (1 << _FINE)), round((y - 0.5) * (1 << _FINE)))
    cv2.circle(canvas, centre, round(radius * (1 << _FINE)), colour, width, cv2.LINE_AA, _FINE)
