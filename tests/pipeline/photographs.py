"""Small raw folders for tests: drawn, not read, and the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from threecad.pipeline.config import Pipeline
from threecad.settings import Splitting, Tiling

SMALL = Pipeline(tiling=Tiling(slice_size=96, margin=2), split=Splitting(train=0.5))
"""Windows small enough that small photographs are cut."""


def photograph(seed: int, height: int = 150, width: int = 220, *, colour: bool = False) -> np.ndarray:
    """Shading with grain, never twice the same."""
    random = np.random.default_rng(seed)
    shape = (height, width, 3) if colour else (height, width)
    coarse = random.normal(0, 40, (height // 10 + 1, width // 10 + 1))
    base = np.kron(coarse, np.ones((10, 10)))[:height, :width] + 128
    grain = random.normal(0, 6, shape)
    return np.clip((base[..., None] if colour else base) + grain, 0, 255).astype(np.uint8)


def polygon(label: str, *points: tuple[float, float], **more: object) -> dict[str, object]:
    return {
        "label": label,
        "points": [list(point) for point in points],
        "shape_type": "polygon",
        "flags": {},
        "group_id": None,
    } | more


def square(label: str, x: float, y: float, side: float, **more: object) -> dict[str, object]:
    return polygon(label, (x, y), (x + side, y), (x + side, y + side), (x, y + side), **more)


BOW_TIE = polygon("dent", (20, 20), (60, 60), (60, 20), (20, 60))


def put(folder: Path, name: str, pixels: np.ndarray, shapes: list[dict[str, object]] | None = None, **keys: object) -> Path:
    """Write an image and, where `shapes` is given, its labelme file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    if shapes is not None:
        height, width = pixels.shape[:2]
        file = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path.name, "imageData": None}
        text = json.dumps(file | {"imageHeight": height, "imageWidth": width} | keys, allow_nan=True)
        path.with_suffix(".json").write_text(text, encoding="utf-8")
    return path


def factory(folder: Path, count: int = 8) -> Path:
    """Two categories of good, defective and doubtful photographs."""
    for number in range(count):
        category = ("cover", "frame")[number % 2]
        put(folder, f"{category}/good/g{number}.png", photograph(number))
        shapes = [square("dent", 10 + 7 * number, 20, 12), square("scratch", 120, 100, 25)]
        put(folder, f"{category}/d{number}.png", photograph(100 + number, colour=number % 3 == 0), shapes)
    put(folder, "cover/doubtful.png", photograph(200), [BOW_TIE, square("dent", 120, 100, 20)])
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a data set but what threecad keeps for itself."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".threecad" not in path.parts
    }
