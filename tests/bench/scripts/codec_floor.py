"""The least that any converter must do: read and decode each picture once, encode each tile, write nothing; one thread.

    python codec_floor.py RAW

It uses threecad's own codec, so what threecad takes beyond it is everything but the codec: geometry, masks, digests, files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grid import Clock, windows

from threecad.formats import images, png

PIXELS = 1 << 31


def main() -> None:
    raw = Path(sys.argv[1])
    for warm in (True, False):
        clock = Clock()
        encoded = 0
        for path in sorted(path for path in raw.rglob("*") if path.suffix in (".bmp", ".png", ".jpg")):
            pixels = images.decode(path.read_bytes(), path.name, PIXELS).pixels
            for left, top, right, bottom in windows(pixels.shape[1], pixels.shape[0]):
                encoded += len(png.encode_png(pixels[top:bottom, left:right]))
                if warm:
                    break
    clock.tell(encoded=encoded)


if __name__ == "__main__":
    main()
