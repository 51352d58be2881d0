"""Draw examples/raw: small made-up photographs of three parts, their labelme files, and one of every fault we know of.

Usage: python examples/draw_raw.py [FOLDER]

numpy draws, Pillow only encodes; the randomness of a picture comes from its own name, so that a new one changes no other.
What each file is there to show stands in examples/raw.md.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
Points = Sequence[tuple[float, float]]

TINT = {"scratch": 70, "Scratch": 70, "划痕": 70, "dent": -40, "pit": -90, "chip": 55, "bubble": 60, "crack": -80, "stain": -45}
"""What a defect adds to the gray levels of the pixels it covers."""


# Pictures


def chance(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def centres(height: int, width: int) -> tuple[Pixels, Pixels]:
    """x (1, width) and y (height, 1) of the pixel centres."""
    return np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5


def inside(points: Points, height: int, width: int) -> Pixels:
    """(height, width) bool: the pixels whose centre lies in the outline, even-odd."""
    x, y = centres(height, width)
    found = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            found ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


def along(points: Points, reach: float, height: int, width: int) -> Pixels:
    """(height, width) bool: the pixels whose centre lies within `reach` of the line through the points."""
    x, y = centres(height, width)
    found = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        share = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1) if length else 0.0
        found |= (x - x0 - share * (x1 - x0)) ** 2 + (y - y0 - share * (y1 - y0)) ** 2 <= reach**2
    return found


def levels(pixels: Pixels) -> Pixels:
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def bracket(name: str, height: int, width: int) -> Pixels:
    """A brushed plate with drilled holes on a dark table, gray."""
    rng = chance(name)
    x, y = centres(height, width)
    plate = 130 + rng.integers(-9, 10, (height, 1)) + 40 * x / width * rng.choice([-1, 1]) + 30 * y / height * rng.choice([-1, 1])
    left, top, right, bottom = rng.integers(4, [width // 5, height // 5, width // 5, height // 5])
    table = (x < left) | (y < top) | (x > width - right) | (y > height - bottom)
    corner_x, corner_y = rng.choice([0, width]), rng.choice([0, height])
    table |= (abs(x - corner_x) < width * rng.uniform(0.25, 0.5)) & (abs(y - corner_y) < height * rng.uniform(0.25, 0.5))
    for _ in range(int(rng.integers(3, 6))):
        hole_x, hole_y = rng.uniform(0.15, 0.85, 2) * (width, height)
        table |= (x - hole_x) ** 2 + (y - hole_y) ** 2 < rng.uniform(0.03, 0.08) ** 2 * width * height
    return levels(np.where(table, 35 + rng.integers(0, 3, (height, 1)), plate))


def glass(name: str, height: int, width: int) -> Pixels:
    """A bluish pane with soft reflections, (height, width, 3)."""
    rng = chance(name)
    x, y = centres(height, width)
    light = 120 + rng.integers(-1, 2, (height, width)).astype(float)
    for _ in range(6):
        spot_x, spot_y, wide, high = rng.uniform(0, 1, 2).tolist() + rng.uniform(0.06, 0.3, 2).tolist()
        light += rng.choice([-45, 45]) * np.exp(-(((x / width - spot_x) / wide) ** 2) - ((y / height - spot_y) / high) ** 2)
    return levels(light[..., None] * (0.8, 1.0, 1.1))


def frame(name: str, height: int, width: int) -> Pixels:
    """A green board between rails, with copper pads and tracks, (height, width, 3)."""
    rng = chance(name)
    x, y = centres(height, width)
    board = np.empty((height, width, 3))
    board[:] = (30, 95, 60)
    board += rng.integers(-2, 3, (height, 1, 1))
    for _ in range(14):
        pad_x, pad_y = rng.uniform(0, 0.95, 2) * (width, height)
        wide, high = rng.uniform(0.03, 0.25, 2) * (width, height)
        board[(x >= pad_x) & (x < pad_x + wide) & (y >= pad_y) & (y < pad_y + high)] = (190, 140, 70)
    rail = rng.uniform(0.03, 0.09) * height
    board[np.broadcast_to((y < rail) | (y > height - rail), (height, width))] = (90, 92, 96)
    return levels(board)


PARTS = {"bracket": bracket, "glass": glass, "pcb-frame": frame}


# Annotations


def shape(label: str, points: Points, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    """A shape as labelme 5 writes it."""
    usual: dict[str, Any] = {"group_id": None, "description": "", "flags": {}, "mask": None}
    return {"label": label, "points": [list(point) for point in points], "shape_type": kind, **usual, **more}


def blob(x: float, y: float, radius: float, name: str, corners: int = 12) -> Points:
    """An uneven closed outline around (x, y)."""
    reach = (radius * chance(name).uniform(0.7, 1.2, corners)).tolist()
    angles = [2 * math.pi * corner / corners for corner in range(corners)]
    return [(round(x + r * math.cos(a), 2), round(y + r * math.sin(a), 2)) for r, a in zip(reach, angles, strict=True)]


def stripe(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    """The four corners of a straight stripe from (x0, y0) to (x1, y1)."""
    across = width / 2 / math.hypot(x1 - x0, y1 - y0)
    dx, dy = (y0 - y1) * across, (x1 - x0) * across
    corners = [(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)]
    return [(round(x, 2), round(y, 2)) for x, y in corners]


def encoded(pixels: Pixels, kind: str) -> str:
    """Base64 of the pixels as a file of that kind."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def bitmap(label: str, left: int, top: int, drawn: Pixels) -> dict[str, Any]:
    """A mask shape: its box ends on the last pixel, not behind it."""
    height, width = drawn.shape
    corners: Points = [(left, top), (left + width - 1, top + height - 1)]
    return shape(label, corners, "mask", mask=encoded(drawn.astype(np.uint8), "PNG"))


def covered(one: dict[str, Any], height: int, width: int) -> Pixels:
    """(height, width) bool: where the defect that a shape outlines is painted."""
    points: Points = [(x, y) for x, y in one["points"]]
    if one["shape_type"] == "mask":
        (left, top), (right, bottom) = one["points"]
        found = np.zeros((height, width), bool)
        found[top : bottom + 1, left : right + 1] = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["mask"])))) > 0
        return found
    if one["shape_type"] == "rectangle":
        (x0, y0), (x1, y1) = points
        return inside([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], height, width)
    if one["shape_type"] == "circle":
        return along(points[:1], math.dist(points[0], points[1]), height, width)
    if not np.isfinite(points).all():
        return np.zeros((height, width), bool)
    if one["shape_type"] in ("line", "linestrip", "point", "points") or len(points) < 3:
        return along(points, 2.5, height, width)
    return inside(points, height, width)


def paint(pixels: Pixels, shapes: list[dict[str, Any]]) -> Pixels:
    """The picture with the defects that the shapes outline."""
    height, width = pixels.shape[:2]
    tint = np.zeros((height, width))
    for one in shapes:
        where = covered(one, height, width)
        tint[where] = {"_background_": 0, "__ignore__": 110}.get(one["label"], TINT.get(one["label"], 50))
    return levels(pixels + (tint[..., None] if pixels.ndim == 3 else tint))


# Files


def save_picture(path: Path, pixels: Pixels, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tiff": "TIFF", ".webp": "WEBP"}
    if kinds[path.suffix.lower()] == "JPEG":
        options.setdefault("quality", 88)
    Image.fromarray(pixels).save(path, kinds[path.suffix.lower()], **options)


def save_json(path: Path, document: dict[str, Any], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(encoding))


def labelme(shapes: list[dict[str, Any]], image: str, height: int, width: int, **more: Any) -> dict[str, Any]:
    """A document as labelme 5 writes it; `more` replaces what it says."""
    size = {"imageHeight": height, "imageWidth": width}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None, **size, **more}


def draw(path: Path, height: int, width: int, shapes: list[dict[str, Any]] | None = None, **more: Any) -> Pixels:
    """Save one picture of its category and, unless `shapes` is None, the JSON beside it; returns the pixels."""
    category = next(parent.name for parent in path.parents if parent.name in PARTS)
    pixels = paint(PARTS[category](f"{category}/{path.name}", height, width), shapes or [])
    save_picture(path, pixels)
    if shapes is not None:
        save_json(path.with_suffix(".json"), labelme(shapes, path.name, height, width, **more))
    return pixels


def draw_brackets(root: Path) -> None:
    for number in range(1, 8):
        draw(root / "good" / f"bracket_{number:02}.png", 240 + 16 * number, 320 + 24 * number)
    draw(root / "good" / "bracket_08.png", 300, 420, [])
    shutil.copyfile(root / "good" / "bracket_01.png", root / "good" / "bracket_01 (copy).png")

    several = [
        shape("scratch", stripe(60, 70, 290, 150, 5)),
        shape("dent", [(360, 300), (300, 240)], "rectangle"),
        shape("pit", [(420, 110), (431, 110)], "circle"),
    ]
    draw(root / "bracket_10.png", 400, 560, several)
    halves = [
        shape("scratch", stripe(80, 380, 240, 330, 6), group_id=1),
        shape("scratch", stripe(270, 320, 470, 260, 6), group_id=1),
    ]
    draw(root / "bracket_11.png", 480, 640, [*halves, shape("__ignore__", [(520, 30), (620, 110)], "rectangle")])
    ring = [(150, 90), (230, 90), (230, 170), (150, 170), (150, 90), (175, 115), (175, 145), (205, 145), (205, 115), (175, 115)]
    draw(root / "bracket_12.png", 260, 360, [shape("stain", ring)])
    draw(
        root / "bracket_13.png",
        260,
        380,
        [shape("stain", blob(190, 130, 60, "stain")), shape("_background_", [(190, 130), (212, 130)], "circle")],
    )

    dent = shape("dent", blob(90, 200, 18, "dent"))
    draw(root / "bracket_14.png", 280, 360, [shape("scratch", [(40, 40), (300, 90)]), dent])
    draw(root / "bracket_15.png", 280, 340, [shape("chip", [(120, 100), (200, 160), (200, 100), (120, 160)])])
    draw(
        root / "bracket_16.png",
        300,
        380,
        [shape("dent", [(99, 102), (98, 99), (170, 96), (178, 160), (110, 166), (96.5, 100.5), (102, 101)])],
    )
    reaching = [(300, 120), (362, 118), (362, 170), (305, 165)]
    draw(
        root / "bracket_17.png",
        280,
        360,
        [shape("chip", reaching), shape("dent", blob(0, 60, 25, "edge")), shape("pit", [(500, 90), (510, 90)], "circle")],
    )
    unusual = [
        shape("scratch", [(50, 60), (130, 110), (240, 100)], "linestrip"),
        shape("dent", blob(220, 190, 20, "spline"), "spline"),
    ]
    draw(root / "bracket_18.png", 280, 340, unusual)

    twin = draw(root / "bracket_19.png", 280, 400, [shape("pit", [(200, 140), (209, 140)], "circle")])
    save_picture(root / "bracket_19.jpg", twin)
    draw(root / "BRACKET_20.PNG", 260, 340, [shape("pit", [(150, 120), (158, 126)], "circle")])
    draw(root / "bracket_21.png", 260, 340)

    pit = [shape("pit", blob(260, 180, 16, "deep"))]
    deep = paint(bracket("bracket/bracket_22.png", 320, 420), pit)
    save_picture(root / "bracket_22.png", deep.astype(np.uint16) * 200 + chance("deep").integers(0, 8, (320, 1), dtype=np.uint16))
    save_json(root / "bracket_22.json", labelme(pit, "bracket_22.png", 320, 420))

    draw(root / "cut off.jpg", 300, 400, [shape("dent", blob(200, 150, 30, "cut"))])
    whole = (root / "cut off.jpg").read_bytes()
    (root / "cut off.jpg").write_bytes(whole[: len(whole) // 3])
    draw(root / "half a json.png", 240, 320, [shape("dent", blob(160, 120, 20, "half"))])
    text = (root / "half a json.json").read_bytes()
    (root / "half a json.json").write_bytes(text[: len(text) // 2])
    save_json(root / "no image.json", labelme([dent], "lost in the move.png", 280, 360))
    save_json(root / "leaves.json", labelme([dent], "../../../elsewhere/photo.png", 280, 360))
    save_json(root / "settings of the camera.json", {"exposure_us": 1200, "gain": 1.5})


def draw_glass(root: Path) -> None:
    for number in range(1, 7):
        draw(root / "good" / f"glass_{number:02}.jpg", 300 + 20 * number, 460 + 30 * number)
    draw(root / "good" / "glass_07.jpg", 380, 520, [])

    draw(root / "glass 08 (left side).webp", 320, 420, [shape("bubble", [(180, 140), (196, 140)], "circle")])
    draw(root / "glass_09.tiff", 210, 240, [shape("crack", stripe(30, 40, 200, 130, 4))])
    draw(root / "peça 10 – é.png", 220, 300, [shape("crack", stripe(60, 180, 240, 60, 5))])

    bubble = [shape("bubble", blob(140, 110, 22, "clear"))]
    clear = paint(glass("glass/glass_11.png", 220, 280), bubble)
    veil = np.full((220, 280, 1), 255, np.uint8)
    veil[:40] = 90
    save_picture(root / "glass_11.png", np.concatenate([clear, veil], axis=2))
    save_json(root / "glass_11.json", labelme(bubble, "glass_11.png", 220, 280))

    turned = [shape("crack", stripe(60, 60, 220, 380, 5))]
    upright = paint(glass("glass/glass_12.jpg", 420, 300), turned)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise, so stored turned the other way; points are in the picture as shown
    save_picture(root / "glass_12.jpg", np.rot90(upright).copy(), exif=exif)
    save_json(root / "glass_12.json", labelme(turned, "glass_12.jpg", 420, 300))

    shots = [shape("bubble", [(90, 90), (102, 96)], "circle"), shape("stain", [(150, 200), (260, 240)], "rectangle")]
    draw(root / "photos" / "glass_13.jpg", 320, 440, shots)
    (root / "photos" / "glass_13.json").unlink()
    save_json(root / "glass_13.json", labelme(shots, "photos\\glass_13.jpg", 320, 440))

    speck = [shape("stain", blob(130, 100, 24, "speck"))]
    inner = paint(glass("glass/glass_14.png", 220, 260), speck)
    save_json(root / "glass_14.json", labelme(speck, "glass_14.jpg", 220, 260, imageData=encoded(inner, "JPEG")))

    x, y = centres(48, 64)
    drawn = ((x - 32) / 30) ** 2 + ((y - 24) / 22) ** 2 + 0.25 * np.sin(x / 3) < 1
    draw(root / "glass_15.jpg", 360, 500, [bitmap("stain", 210, 150, drawn)])

    scratch = [shape("划痕", stripe(40, 150, 260, 60, 6))]
    draw(root / "样品_3.png", 210, 300, scratch)
    save_json(root / "样品_3.json", labelme(scratch, "样品_3.png", 210, 300), encoding="gbk")


def draw_frames(root: Path) -> None:
    for number in range(1, 8):
        draw(root / "good" / f"frame_{number:02}.png", 280 + 16 * number, 360 + 20 * number)
    draw(root / "good" / "frame_08.png", 320, 480, [])

    turned = stripe(220, 110, 330, 220, 26)
    mixed = [
        shape("dent", turned, "oriented_rectangle"),
        shape("scratch", [(60, 60)], "point"),
        shape("Scratch", stripe(380, 60, 560, 90, 6)),
    ]
    draw(root / "frame_10.png", 380, 640, mixed)
    thin = [(60, 100.55), (300, 100.55), (300, 100.95), (60, 100.95)]
    draw(root / "frame_11.png", 240, 360, [shape("crack", thin), shape("stain", blob(250, 180, 20, "frame"))])
    pits = [shape("pit", [(120, 90), (130, 90)], "circle")]
    save_picture(root / "frame_12.bmp", paint(frame("pcb-frame/frame_12.bmp", 180, 240)[..., 1], pits))
    save_json(root / "frame_12.json", labelme(pits, "frame_12.bmp", 180, 240))

    old = {"label": "dent", "line_color": None, "fill_color": None, "points": [[140, 120], [190, 118], [186, 168], [138, 160]]}
    draw(root / "frame_13.png", 300, 400, [shape("dent", [(140, 120), (190, 118), (186, 168), (138, 160)])])
    colors = {"lineColor": [0, 255, 0, 128], "fillColor": [255, 0, 0, 128]}
    save_json(root / "frame_13.json", {"flags": {}, "shapes": [old], **colors, "imagePath": "frame_13.png", "imageData": None})

    draw(root / "frame_14.png", 240, 320, [shape("dent", blob(150, 120, 22, "shrunk"))], imageHeight=480, imageWidth=640)
    lost = [shape("pit", [(100, 100), (math.nan, 110), (120, 130)]), shape("pit", [(200, 60), (210, 60)], "circle")]
    draw(root / "frame_15.png", 240, 320, lost)
    long = [shape("crack", stripe(150, 60, 1080, 240, 5)), shape("chip", blob(1150, 200, 24, "long"))]
    draw(root / "frame_16.jpg", 300, 1300, long)
    nested = [shape("stain", blob(200, 140, 70, "outer")), shape("pit", blob(210, 140, 14, "inner"))]
    draw(root / "frame_17.png", 300, 420, nested)


def draw_all(root: Path) -> None:
    """Draw everything below `root`, which must not exist or be empty."""
    draw_brackets(root / "bracket")
    draw_glass(root / "glass")
    draw_frames(root / "pcb-frame")


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "raw"
    if root.exists() and any(root.iterdir()):
        sys.exit(f"{root} is not empty; remove it first")
    draw_all(root)
    files = [path for path in root.rglob("*") if path.is_file()]
    print(f"{root}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
