"""The preview of a tile: its pixels, and where its defects are."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from threecad.domain import Tile

LINE = (255, 0, 255)
"""Magenta: no metal, glass or plastic has it."""


def preview(tile: Tile, longest: int = 512) -> NDArray[np.uint8]:
    """The tile as (height, width, 3) uint8 RGB, its longer side at most `longest` pixels, every defect outlined one pixel wide.

    16-bit pixels are spread from the tile's darkest to its brightest.
    """
    pixels: NDArray[Any] = tile.pixels
    if pixels.dtype == np.uint16:
        low, high = int(pixels.min()), int(pixels.max())
        pixels = ((pixels.astype(np.float32) - low) * (255 / max(high - low, 1))).astype(np.uint8)
    scale = min(1.0, longest / max(pixels.shape[:2]))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    shown: NDArray[Any] = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else np.array(pixels, order="C")
    contours, _ = cv2.findContours(tile.mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    edge = np.array([shown.shape[1] - 1, shown.shape[0] - 1])
    cv2.polylines(shown, [np.minimum(np.round(contour * scale), edge).astype(np.int32) for contour in contours], True, LINE)
    return shown
