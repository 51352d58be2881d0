"""OpenCV and Pillow, kept quiet: compressed data in, pixels or a Fault out. Both are imported when they are first needed."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from threecad.formats.containers import Fault


@cache
def opencv() -> Any:
    """OpenCV, told once to leave the threads to us and its complaints about broken files unprinted."""
    import cv2

    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def by_opencv(data: memoryview | bytes) -> Any:
    """What OpenCV makes of an encoded image, channels in its own order (B, G, R, A). It returns nothing where data is missing."""
    cv2 = opencv()
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise Fault("damaged: its compressed data cannot be decoded") from error
    if pixels is None:
        raise Fault("damaged: its compressed data cannot be decoded")
    return pixels


def by_pillow(plugin: Callable[[io.BytesIO], Any], data: memoryview | bytes) -> Any:
    """The loaded Pillow image.

    Its plugin is called directly, because Image.open warns of large images, and warnings cannot be caught safely in threads.
    Hostile bytes make Pillow raise nearly anything, so all of it counts as damage.
    """
    try:
        image = plugin(io.BytesIO(data))
        image.load()
    except Exception as error:
        raise Fault("damaged: its compressed data cannot be decoded") from error
    return image


_STRIP = 64
"""Rows that are turned into RGB at once: few enough to stay in a cache."""


def rgb(pixels: Any) -> Any:
    """(H, W, 3 or 4) in OpenCV's order → (H, W, 3) RGB."""
    cv2 = opencv()
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def turn_into_rgb(pixels: Any) -> Any:
    """As `rgb` of three channels, in the array itself: a large photograph is not in memory twice."""
    for top in range(0, len(pixels), _STRIP):
        strip = pixels[top : top + _STRIP]
        strip[:] = rgb(strip)
    return pixels


def is_gray(palette: Any) -> bool:
    """Whether a flat palette r, g, b, r, g, b, … holds grays only."""
    colours = palette[: palette.size // 3 * 3].reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
