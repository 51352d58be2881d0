"""What a careful engineer writes: OpenCV and shapely, a process a core. `python opencv_tiles.py RAW OUT --processes 2 [--gray]`.

`--gray` keeps gray pictures gray; OpenCV's own default makes them three equal channels, which costs three times the work.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from grid import Clock, windows
from shapely import Polygon, get_parts, make_valid


def cut(out: Path, gray: bool, path: Path) -> None:
    drawn = json.loads(path.read_bytes())
    picture = cv2.imread(str(path.parent / drawn["imagePath"]), cv2.IMREAD_UNCHANGED if gray else cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for shape in drawn["shapes"]:
        polygon = Polygon(shape["points"])
        if not polygon.is_valid:
            polygon = make_valid(polygon)
        for part in get_parts(polygon):
            if part.geom_type == "Polygon":
                rings = [part.exterior, *part.interiors]
                cv2.fillPoly(mask, [np.array(ring.coords).round().astype(np.int32) for ring in rings], 255)
    for left, top, right, bottom in windows(width, height):
        name = f"{path.stem}_{left}_{top}.png"
        cv2.imwrite(str(out / "images" / name), picture[top:bottom, left:right])
        part = mask[top:bottom, left:right]
        if part.any():
            cv2.imwrite(str(out / "masks" / name), part)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gray", action="store_true")
    chosen = parser.parse_args()
    clock = Clock()
    (chosen.out / "images").mkdir(parents=True)
    (chosen.out / "masks").mkdir()
    with multiprocessing.Pool(chosen.processes) as pool:
        pool.map(partial(cut, chosen.out, chosen.gray), sorted(chosen.raw.rglob("*.json")), chunksize=1)
        pool.close()
        pool.join()
    clock.tell()


if __name__ == "__main__":
    main()
