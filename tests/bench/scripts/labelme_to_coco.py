"""labelme → COCO JSON, the least that SAHI needs: `python labelme_to_coco.py RAW OUT.json`.

Outlines go over as they are; SAHI itself mends invalid ones with shapely's make_valid when it reads them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from grid import Clock


def area(points: list[list[float]]) -> float:
    return abs(sum(x * b - a * y for (x, y), (a, b) in zip(points, points[1:] + points[:1], strict=True))) / 2


def main() -> None:
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    clock = Clock()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for path in sorted(raw.rglob("*.json")):
        drawn = json.loads(path.read_bytes())
        name = (path.parent / drawn["imagePath"]).relative_to(raw).as_posix()
        images.append({"id": len(images), "file_name": name, "height": drawn["imageHeight"], "width": drawn["imageWidth"]})
        for shape in drawn["shapes"]:
            xs, ys = zip(*shape["points"], strict=True)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": images[-1]["id"],
                    "category_id": numbers.setdefault(shape["label"], len(numbers)),
                    "segmentation": [[value for point in shape["points"] for value in point]],
                    "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
                    "area": area(shape["points"]),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    clock.tell()


if __name__ == "__main__":
    main()
