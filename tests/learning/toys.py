"""A drawn surface with scratches, and the smallest teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from threecad.formats.png import encode_png

TEACHER = "test_resnet"
"""timm's smallest network with features at strides 4, 8 and 16."""


def surface(seed: int, side: int = 80) -> NDArray[np.uint8]:
    """(side, side, 3): brushed metal."""
    rng = np.random.default_rng(seed)
    lines = rng.normal(120, 12, (side, 1, 1)) + rng.normal(0, 4, (side, side, 1))
    return np.clip(np.repeat(lines, 3, 2), 0, 255).astype(np.uint8)


def scratched(pixels: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The image with a bright scratch, and its mask (H, W)."""
    import cv2

    rng = np.random.default_rng(seed)
    side = len(pixels)
    marked = np.zeros((side, side), np.uint8)
    one, other = (tuple(int(v) for v in rng.integers(side // 5, side - side // 5, 2)) for _ in range(2))
    cv2.line(marked, one, (other[0], (other[1] + side // 3) % side), 255, 5)
    out = pixels.copy()
    out[marked > 0] = (250, 240, 120)
    return out, marked > 0


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(pixels))
