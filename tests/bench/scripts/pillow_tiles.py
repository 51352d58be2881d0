"""What most engineers write first: Pillow alone, one process. `python pillow_tiles.py RAW OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grid import Clock, windows
from PIL import Image, ImageDraw


def main() -> None:
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    clock = Clock()
    (out / "images").mkdir(parents=True)
    (out / "masks").mkdir()
    for path in sorted(raw.rglob("*.json")):
        drawn = json.loads(path.read_bytes())
        picture = Image.open(path.parent / drawn["imagePath"])
        mask = Image.new("L", picture.size)
        draw = ImageDraw.Draw(mask)
        for shape in drawn["shapes"]:
            draw.polygon([tuple(point) for point in shape["points"]], fill=255)
        for window in windows(*picture.size):
            name = f"{path.stem}_{window[0]}_{window[1]}.png"
            picture.crop(window).save(out / "images" / name)
            part = mask.crop(window)
            if part.getbbox():
                part.save(out / "masks" / name)
    clock.tell()


if __name__ == "__main__":
    main()
