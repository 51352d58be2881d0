"""A drawn surface with scratches, the smallest teacher, and what may happen to one of two devices."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

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


def fit_with_a_number_lost(run_on: Any, task: Any, events: Any) -> float:
    """In the place of train._fit_there: on the second device a loss becomes no number."""
    from threecad.learning import loop
    from threecad.learning.train import _fit_there

    paint = loop.paint

    def broken(*args: Any) -> Any:
        painted = paint(*args)
        return type(painted)(painted.images_B3HW * float("nan"), painted.masks_B1HW)

    if run_on.global_rank == 1:
        loop.paint = broken  # type: ignore[assignment]
    return _fit_there(run_on, task, events)


def fit_and_die(run_on: Any, task: Any, events: Any) -> float:
    """In the place of train._fit_there: the second device's process is killed in its first step."""
    from threecad.learning import loop
    from threecad.learning.train import _fit_there

    if run_on.global_rank == 1:
        loop.paint = lambda *args: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, return-value]
    return _fit_there(run_on, task, events)
