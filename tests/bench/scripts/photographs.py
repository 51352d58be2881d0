"""Draw photographs with labelme annotations: `python photographs.py FOLDER --images 8 --width 4096 --height 3072 ...`.

What a sensor gives: smooth shading, a fine texture and noise, so that a gray PNG is about half as large as its pixels. The same
arguments draw the same bytes. Some of the polygons are invalid in ways that can be repaired without guessing, because both
readings of their outline agree: a queued shape would poison its image, and the tools would no longer do the same work.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

KINDS = (("gray", "bmp"), ("gray", "png"), ("rgb", "jpg"), ("rgb", "bmp"))
LABELS = ("scratch", "dent", "stain", "chip")


def photograph(random: np.random.Generator, width: int, height: int, channels: int) -> Any:
    """(height, width) or (height, width, 3) uint8."""
    shape = (height // 256 + 2, width // 256 + 2, channels)
    shading = cv2.resize(random.integers(60, 200, shape).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    texture = cv2.GaussianBlur(random.standard_normal((height, width), dtype=np.float32), (0, 0), 1.5)
    texture *= 5 / texture.std()
    pixels = np.empty((height, width, channels), np.uint8)
    for channel, plane in enumerate(np.atleast_3d(shading).transpose(2, 0, 1)):
        noise = random.standard_normal((height, width), dtype=np.float32)
        noise *= 1.7
        noise += plane
        noise += texture
        np.clip(noise, 0, 255, out=noise)
        pixels[:, :, channel] = noise
    return pixels.squeeze()


def blob(random: np.random.Generator, width: int, height: int) -> tuple[str, Any]:
    """A rounded outline of 12 to 60 vertices and up to some 100 px."""
    radius = math.exp(random.uniform(math.log(8), math.log(100)))
    angle = np.linspace(0, 2 * math.pi, int(random.integers(12, 61)), endpoint=False)
    waves = sum(random.uniform(0, 0.12) * np.cos(times * angle + random.uniform(0, 2 * math.pi)) for times in range(2, 5))
    centre = np.array([random.uniform(150, width - 150), random.uniform(150, height - 150)])
    points = centre + (radius * (1 + waves))[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return str(random.choice(LABELS[1:])), points


def scratch(random: np.random.Generator, width: int, height: int) -> tuple[str, Any]:
    """A band of 3 to 9 px along a bent line of 80 to 800 px."""
    length = min(random.uniform(80, 800), 0.6 * width, 0.6 * height)
    turn = random.uniform(0, 2 * math.pi)
    along = np.linspace(-0.5, 0.5, int(random.integers(6, 25)))
    bent = np.column_stack([along * length, random.uniform(-0.1, 0.1) * length * (1 - 4 * along**2)])
    across = np.array([0.0, random.uniform(1.5, 4.5)])
    band = np.concatenate([bent - across, (bent + across)[::-1]])
    turned = band @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    low, high = turned.min(axis=0), turned.max(axis=0)
    room = np.array([width, height]) - 20 - (high - low)
    return LABELS[0], turned - low + 10 + random.uniform(0, 1, 2) * np.maximum(room, 0)


def spoiled(random: np.random.Generator, points: Any) -> Any:
    """The outline made invalid at its first corner, but hardly changed: a bow-tie, a loop run twice, or a spur run to and fro.

    What is added measures about a thousandth of the outline, so its readings agree on nearly all of it.
    """
    before, corner, after = points[-1], points[0], points[1]
    x, y = points.T
    step = 0.03 * math.sqrt(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
    along = (after - before) / math.dist(after, before) * step
    outward = np.array([along[1], -along[0]])
    if np.dot(outward, corner - points.mean(axis=0)) < 0:
        outward = -outward
    added = {
        "bow-tie": [corner + outward + along, corner + outward - along],
        "loop": [corner, corner - 2 * outward - along, corner - 2 * outward + along, corner],
        "spur": [corner, corner + 2 * outward, corner],
    }[str(random.choice(["bow-tie", "loop", "spur"]))]
    return np.concatenate([added, points[1:]])


def annotation(name: str, width: int, height: int, shapes: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {
                "label": label,
                "points": np.clip(points, 0, (width, height)).round(3).tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for label, points in shapes
        ],
        "imagePath": name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--polygons", type=int, nargs=2, required=True, metavar=("FEWEST", "MOST"))
    parser.add_argument("--invalid", type=float, required=True, help="share of invalid polygons")
    parser.add_argument("--seed", type=int, required=True)
    chosen = parser.parse_args()

    folder = chosen.folder / "line"
    folder.mkdir(parents=True)
    polygons = 0
    for number in range(chosen.images):
        random = np.random.default_rng([chosen.seed, number])
        colour, suffix = KINDS[number % len(KINDS)]
        name = f"{number:04d}-{colour}.{suffix}"
        pixels = photograph(random, chosen.width, chosen.height, 1 if colour == "gray" else 3)
        cv2.imwrite(str(folder / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == "jpg" else [])
        shapes = []
        for _ in range(int(random.integers(chosen.polygons[0], chosen.polygons[1] + 1))):
            label, points = (scratch if random.random() < 0.4 else blob)(random, chosen.width, chosen.height)
            polygons += 1
            if int(polygons * chosen.invalid) > int((polygons - 1) * chosen.invalid):
                points = spoiled(random, points)
            shapes.append((label, points))
        text = json.dumps(annotation(name, chosen.width, chosen.height, shapes), indent=2)
        (folder / name).with_suffix(".json").write_text(text, encoding="utf-8")
    print(json.dumps({"polygons": polygons, "invalid": int(polygons * chosen.invalid)}))


if __name__ == "__main__":
    main()
