"""threecad stats on a drawn data set of 3CAD's size: images a second, memory, both cores, and the second run.

    python tests/bench/stats.py [--images 27039] [--json FILE]     draw, profile, profile again from the cache
    python tests/bench/stats.py --growth                           a quarter, a half and all of the images: memory stays flat
    python tests/bench/stats.py --functions 30                     where one thread spends its time

The data set has 3CAD's numbers: 10,493 images to train on, 5,084 good and 11,462 defective ones to test, eight categories, and 52
training images that are test images byte for byte. Images are 8-bit gray PNGs of up to 1024². Drawing and compressing each would
take an hour, so that 208 pictures are compressed, and each file gets last rows of its own: no two are equal or look alike but
those that shall. Each run is a fresh process; seconds are those of the work, without the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Nothing heavier is imported: a child's peak memory is never below that of the process that started it.

SIDES = ((1024, 1024), (1024, 1024), (1024, 760), (820, 1024), (600, 1024), (512, 512), (1024, 340), (700, 700))
"""Height and width of the images of each category."""
TYPES = ("bump", "dent", "pinhole", "scratch", "stain")
SHARES = {"train": 10_493 / 27_039, "good": 5_084 / 27_039, "defect": 11_462 / 27_039}
COPIES = 52
PICTURES = 13  # of each category, good and defective each
ROWS = 72  # the last of each file, its own
OLD_ENOUGH = 3  # seconds; a younger file is not trusted to be the same the next time


# ---------------------------------------------------------------- drawing


@dataclass(frozen=True)
class Base:
    """A picture whose upper rows are compressed already; `mask` is a PNG, None for a good one."""

    height: int
    width: int
    checksum: int
    stream: bytes
    mask: bytes | None
    type: str


def draw(root: Path, images: int, seed: int) -> None:
    import numpy as np

    of = {name: round(images * share) for name, share in SHARES.items()}
    copies = round(COPIES * images / 27_039)
    of["good"] -= copies
    random = np.random.default_rng(seed)
    for number, (height, width) in enumerate(SIDES):
        category = f"part-{number}"
        good = [base(random, height, width, None) for _ in range(PICTURES)]
        bad = [base(random, height, width, TYPES[k % len(TYPES)]) for k in range(PICTURES)]
        texture = random.normal(0, 1, (ROWS, width))
        for kind, count in of.items():
            mine = range(number, count, len(SIDES))
            for k in mine:
                chosen = bad[k // len(SIDES) % PICTURES] if kind == "defect" else good[k // len(SIDES) % PICTURES]
                folder = {"train": "train/good", "good": "test/good", "defect": f"test/{chosen.type}"}[kind]
                data = finished(chosen, random, texture)
                put(root / category / folder / f"{k:05}.png", data)
                if chosen.mask is not None:
                    put(root / category / "ground_truth" / chosen.type / f"{k:05}_mask.png", chosen.mask)
                if kind == "train" and k < copies:
                    put(root / category / "test" / "good" / f"copy-{k:05}.png", data)


def base(random: np.random.Generator, height: int, width: int, kind: str | None) -> Base:
    """Smooth shading, a fine texture and a sensor's noise; a defect lies above the last rows."""
    import cv2
    import numpy as np

    coarse = cv2.resize(random.uniform(60, 190, (9, 9)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(random.normal(0, 6, (height // 4, width // 4)).astype(np.float32), (width, height))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(0 if kind is None else int(random.integers(1, 6))):
        blot(mask, random, kind or "")
    pixels = coarse + fine + random.normal(0, 0.6, (height, width)) - (mask > 0) * 45.0
    upper = np.clip(np.rint(pixels[: height - ROWS]), 0, 255).astype(np.uint8)
    packing = zlib.compressobj(6)
    rows = filtered(upper)
    stream = packing.compress(rows) + packing.flush(zlib.Z_FULL_FLUSH)
    encoded = None if kind is None else png(mask.shape, zlib.compress(filtered(mask), 6))
    return Base(height, width, zlib.adler32(rows), stream, encoded, kind or "good")


def blot(mask: NDArray[np.uint8], random: np.random.Generator, kind: str) -> None:
    import cv2

    height, width = mask.shape[0] - ROWS, mask.shape[1]
    x, y = int(random.integers(20, width - 20)), int(random.integers(20, height - 20))
    if kind == "scratch":
        far = int(x + random.normal(0, width / 6)), int(min(max(y + random.normal(0, height / 6), 2), height - 3))
        cv2.line(mask, (x, y), far, 255, int(random.integers(1, 4)))
    else:
        most = {"pinhole": 4, "bump": 16, "dent": 30, "stain": 90}[kind]
        axes = (int(random.integers(1, most + 1)), int(random.integers(1, most + 1)))
        cv2.ellipse(mask, (x, y), axes, float(random.uniform(0, 180)), 0, 360, 255, -1)
        mask[height:] = 0


def finished(chosen: Base, random: np.random.Generator, texture: NDArray[np.float64]) -> bytes:
    """The picture with last rows of its own: bars of a gray that differ enough for no two to pass for each other."""
    import numpy as np

    bars = np.repeat(random.uniform(20, 235, (1, 24)), -(-chosen.width // 24), axis=1)[:, : chosen.width]
    rows = filtered(np.clip(np.rint(bars + texture), 0, 255).astype(np.uint8))
    packing = zlib.compressobj(1, wbits=-15)
    end = packing.compress(rows) + packing.flush()
    whole = chosen.stream + end + struct.pack(">I", zlib.adler32(rows, chosen.checksum))
    return png((chosen.height, chosen.width), whole)


def filtered(pixels: NDArray[np.uint8]) -> bytes:
    """Rows as PNG has them, each less the pixel to its left, so that the rows above play no part."""
    import numpy as np

    rows = np.empty((pixels.shape[0], pixels.shape[1] + 1), np.uint8)
    rows[:, 0] = 1
    rows[:, 1] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=rows[:, 2:])
    return rows.tobytes()


def png(shape: tuple[int, ...], stream: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8, 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# ---------------------------------------------------------------- measuring


def work(root: Path, cache: Path | None, workers: int | None) -> None:
    """Profile the data set in this process and print what it took."""
    import resource

    from threecad.pipeline.profile import statistics

    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    start = before.ru_maxrss
    (found,) = statistics(root, cache=cache, workers=workers)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    copies = [group for group in found.copies if group.across]
    told = {
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak": after.ru_maxrss * 1024 / 1e6,
        "start": start * 1024 / 1e6,
        "images": found.images,
        "exact across": sum(group.exact for group in copies),
        "near across": sum(not group.exact for group in copies),
        "findings": len(found.findings),
    }
    print(json.dumps(told))


def run(root: Path, cache: Path | None, workers: int | None) -> dict[str, Any]:
    command = [sys.executable, __file__, "--work", str(root)]
    command += [] if cache is None else ["--cache", str(cache)]
    command += [] if workers is None else ["--workers", str(workers)]
    load = os.getloadavg()[0]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told | {"load": load}


def functions(root: Path, most: int) -> None:
    """One thread's time by function, the cache left out."""
    import cProfile
    import pstats

    from threecad.pipeline import profile, threads

    def in_turn(jobs: Any, start: Any, **_: Any) -> Any:  # the profiler sees its own thread alone
        for job in jobs:
            opened = start(job)
            for piece in opened.pieces:
                piece()
            yield opened.finish()

    threads.work = in_turn
    watched = cProfile.Profile()
    watched.runcall(profile.statistics, root, cache=None, workers=1)
    pstats.Stats(watched).sort_stats("tottime").print_stats(most)


def shown(name: str, told: dict[str, Any]) -> str:
    seconds, cpu = told["seconds"], told["cpu"]
    row = f"{name:<28}{told['images']:>8,} images{seconds:>9.1f} s{told['images'] / seconds:>9.0f} images/s"
    row += f"{cpu / seconds:>7.2f} cores busy{told['peak']:>8.0f} MB at most, {told['start']:.0f} MB of them imports"
    return f"{row}; load {told['load']:.1f}"


def machine() -> str:
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{len(os.sched_getaffinity(0))} × {model[0] if model else platform.processor()}, {memory:.1f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=27_039)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--rounds", type=int, default=1, help="each with an empty cache")
    parser.add_argument("--growth", action="store_true", help="a quarter, a half and all of the images")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="so many functions of one thread under cProfile")
    parser.add_argument("--data", type=Path, help="folder for the data set and the cache (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep the data set there for the next run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured there")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.draw is not None:
        draw(chosen.draw, chosen.images, chosen.seed)
        return
    if chosen.work is not None:
        work(chosen.work, chosen.cache, chosen.workers)
        return

    print(machine())
    data = chosen.data or Path(tempfile.mkdtemp(prefix="threecad-stats-"))
    data.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    report: dict[str, Any] = {"machine": machine()}
    try:
        for images in (chosen.images // 4, chosen.images // 2, chosen.images) if chosen.growth else (chosen.images,):
            root = data / f"{images}-images-seed-{chosen.seed}"
            made.append(root)
            if not root.exists():
                began = time.perf_counter()
                arguments = ["--draw", str(root.with_suffix(".new")), "--images", str(images), "--seed", str(chosen.seed)]
                shutil.rmtree(root.with_suffix(".new"), ignore_errors=True)
                subprocess.run([sys.executable, __file__, *arguments], check=True)
                root.with_suffix(".new").rename(root)
                os.sync()
                time.sleep(OLD_ENOUGH)
                size = sum(path.stat().st_size for path in root.rglob("*.png")) / 1e9
                print(f"drawn in {time.perf_counter() - began:.0f} s, {size:.1f} GB", flush=True)
            if chosen.functions:
                functions(root, chosen.functions)
                continue
            for number in range(chosen.rounds):
                cache = Path(tempfile.mkdtemp(prefix="cache-", dir=data))
                made.append(cache)
                first, second = (run(root, cache, chosen.workers) for _ in range(2))
                print(shown("first run", first) + "\n" + shown("second run", second), flush=True)
                print(
                    f"the second run takes {second['seconds'] / first['seconds']:.1%} of the first; {first['exact across']} exact"
                )
                print(f"copies stand in train and test, and {first['near across']} near ones", flush=True)
                size = sum(path.stat().st_size for path in cache.iterdir()) / 1e6
                report.setdefault("runs", []).append(
                    {"images": images, "round": number, "first": first, "second": second, "cache_mb": size}
                )
        if chosen.json:
            chosen.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    finally:
        for path in made:
            if not chosen.keep or path.name.startswith("cache-"):
                shutil.rmtree(path, ignore_errors=True)
        if not any(data.iterdir()):
            data.rmdir()


if __name__ == "__main__":
    main()
