"""Milliseconds a megapixel of every way to read and write pictures here, beside OpenCV's and Pillow's; and what threads gain.

    python tests/bench/codecs.py [--side 2048] [--rounds 7] [--threads 2] [--only png] [FILE ...]

The pictures are a smooth scene under sensor noise, or FILEs. All contenders take turns within a round, and the median counts, so
that a busy machine slows all of them alike; the last column is what THREADS threads gain over one that does the same alone.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from threecad.formats import images, png

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], Any]

PIXELS = 1 << 31


def scene(side: int, channels: int, depth: int) -> Any:
    """A smooth scene under noise of a few levels, (side, side) or (side, side, 3)."""
    random = np.random.default_rng(0)
    coarse = random.integers(60, 200, (side // 64 + 2, side // 64 + 2, channels)).astype(np.float32)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).reshape(side, side, channels)
    levels = np.clip(smooth + random.normal(0, 2, smooth.shape), 0, 255) * (257 if depth == 16 else 1)
    return levels.astype(np.uint16 if depth == 16 else np.uint8).squeeze()


def by_pillow(pixels: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def readers(name: str, data: bytes) -> dict[str, Work]:
    flat = np.frombuffer(data, np.uint8)
    return {
        f"read {name}": lambda: images.decode(data, name, PIXELS),
        f"read {name}, OpenCV": lambda: cv2.imdecode(flat, cv2.IMREAD_UNCHANGED),
        f"read {name}, Pillow": lambda: Image.open(io.BytesIO(data)).load(),
        f"size of {name}": lambda: images.size_of(data, name),
    }


def writers(name: str, tile: Any) -> dict[str, Work]:
    own: dict[str, Work] = {
        f"write {name}, fast": lambda: png.encode_png(tile),
        f"write {name}, small": lambda: png.encode_png(tile, "small"),
        f"write {name}, OpenCV": lambda: cv2.imencode(".png", tile),
    }
    if tile.dtype == np.uint8:
        own[f"write {name}, Pillow"] = lambda: by_pillow(tile, "PNG")
    return own


def contenders(side: int) -> dict[str, tuple[Work, int]]:
    """Name → (work, pixels)."""
    found: dict[str, tuple[Work, int]] = {}
    for label, channels, depth in (("gray", 1, 8), ("RGB", 3, 8), ("gray 16", 1, 16), ("RGB 16", 3, 16)):
        pixels = scene(side, channels, depth)
        files = {"PNG": cv2.imencode(".png", pixels)[1].tobytes(), "TIFF": cv2.imencode(".tiff", pixels, [259, 1])[1].tobytes()}
        if depth == 8:
            files |= {
                "own PNG": png.encode_png(pixels),
                "BMP": by_pillow(pixels, "BMP"),
                "JPEG": by_pillow(pixels, "JPEG", quality=92),
            }
        if (channels, depth) == (3, 8):
            files |= {
                "WebP": by_pillow(pixels, "WEBP", quality=90),
                "TIFF LZW": by_pillow(pixels, "TIFF", compression="tiff_lzw"),
            }
        for kind, data in files.items():
            found |= {name: (work, side * side) for name, work in readers(f"{label} {kind}", data).items()}
        # A tile is a window of its image, so its rows do not touch.
        half = side // 2
        tile = pixels[half // 2 : half // 2 + half, half // 3 : half // 3 + half]
        found |= {name: (work, half * half) for name, work in writers(f"{label} tile", tile).items()}
    mask = np.zeros((side // 2, side // 2), np.uint8)
    blobs = cv2.circle(mask.copy(), (side // 4, side // 4), side // 16, 255, -1)
    for name, drawn in (("empty mask", mask), ("mask of one defect", blobs)):
        found[f"write {name}"] = (lambda drawn=drawn: png.encode_mask(drawn), drawn.size)
        found[f"write {name}, OpenCV"] = (lambda drawn=drawn: cv2.imencode(".png", drawn), drawn.size)
    return found


def of_files(paths: list[Path]) -> dict[str, tuple[Work, int]]:
    found: dict[str, tuple[Work, int]] = {}
    for path in paths:
        data = path.read_bytes()
        area = images.size_of(data, path.name).area
        found |= {name: (work, area) for name, work in readers(path.name, data).items()}
    return found


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="read these instead of drawn pictures")
    parser.add_argument("--side", type=int, default=2048, help="side of the drawn pictures in pixels; tiles are half of it")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="only what has this in its name (any case)")
    chosen = parser.parse_args()

    cv2.setNumThreads(1)
    works = of_files(chosen.files) if chosen.files else contenders(chosen.side)
    works = {name: work for name, work in works.items() if chosen.only.lower() in name.lower()}
    alone: dict[str, list[float]] = {name: [] for name in works}
    together: dict[str, list[float]] = {name: [] for name in works}
    with ThreadPoolExecutor(chosen.threads) as pool:
        for _ in range(chosen.rounds):
            for name, (work, _) in works.items():
                alone[name].append(seconds(work))
                together[name].append(seconds(lambda work=work: list(pool.map(lambda _: work(), range(chosen.threads)))))
    print(f"{'':40} {'ms/MP':>9} {f'{chosen.threads} threads':>10}")
    for name, (_, area) in works.items():
        one, many = statistics.median(alone[name]), statistics.median(together[name])
        print(f"{name:40} {one * 1e9 / area:9.3f} {chosen.threads * one / many:9.2f}×")


if __name__ == "__main__":
    main()
