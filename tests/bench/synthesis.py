"""Milliseconds an image to paint anomalies, a batch at once, beside a loop over the images in NumPy and OpenCV.

    python tests/bench/synthesis.py [--batch 32] [--size 256] [--rounds 9] [--threads 1] [--device cpu]

The loop is what data loaders commonly do for each image: noise on a grid, turned as a picture, a texture, the blend. Both take
turns within a round, and the median counts, so that a busy machine slows both alike. Textures lie in memory, at the images' size,
for both. The memory is what the process grew by at its first batch.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from threecad.learning.config import Synthesis
from threecad.learning.synthesis import paint, perlin
from threecad.learning.textures import Textures

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], Any]


def noise_of(random: np.random.Generator, size: int, settings: Synthesis) -> Any:
    """(size, size): gradient noise on a grid, then turned as a picture."""
    down, right = (2 ** int(random.integers(0, settings.perlin_scale)) for _ in range(2))
    angle = 2 * math.pi * random.random((down + 1, right + 1))
    y, x = np.arange(size) * (down / size), np.arange(size) * (right / size)
    row, column = y.astype(int), x.astype(int)
    y, x = (y - row)[:, None], (x - column)[None, :]

    def along(below: int, beside: int) -> Any:
        vectors = np.ix_(row + below, column + beside)
        return np.sin(angle)[vectors] * (y - below) + np.cos(angle)[vectors] * (x - beside)

    fade_y, fade_x = (t * t * t * (t * (t * 6 - 15) + 10) for t in (y, x))
    upper = along(0, 0) + (along(0, 1) - along(0, 0)) * fade_x
    lower = along(1, 0) + (along(1, 1) - along(1, 0)) * fade_x
    noise = math.sqrt(2) * (upper + (lower - upper) * fade_y)
    turn = cv2.getRotationMatrix2D(((size - 1) / 2,) * 2, random.uniform(-settings.rotation, settings.rotation), 1)
    return cv2.warpAffine(noise.astype(np.float32), turn, (size, size), flags=cv2.INTER_LINEAR)


def one_by_one(random: np.random.Generator, images: Any, textures: Any, settings: Synthesis) -> Any:
    painted = np.empty(images.shape, np.float32)
    for number, image in enumerate(images):
        mask = (noise_of(random, len(image), settings) > settings.threshold).astype(np.float32)[..., None]
        texture = textures[random.integers(len(textures))].astype(np.float32) / 255
        own = image.astype(np.float32) / 255
        beta = np.float32(settings.transparency * random.random())
        painted[number] = own * (1 - mask) + (1 - beta) * texture * mask + beta * own * mask
    return painted


def seconds(work: Work, device: str) -> float:
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="of torch; the loop has one")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()

    cv2.setNumThreads(1)
    torch.set_num_threads(chosen.threads)
    settings, random = Synthesis(), np.random.default_rng(0)
    images, pixels = (random.integers(0, 256, (count, chosen.size, chosen.size, 3), np.uint8) for count in (chosen.batch, 64))
    batch, numbers = torch.from_numpy(images).to(chosen.device), torch.arange(chosen.batch, device=chosen.device)
    textures = Textures(torch.from_numpy(pixels), "made").to(chosen.device)

    works: dict[str, Work] = {
        "loop in NumPy": lambda: one_by_one(random, images, pixels, settings),
        "paint": lambda: paint(batch, numbers, 0, 0, textures, settings),
        "paint, redraw": lambda: paint(batch, numbers, 0, 0, textures, settings.model_copy(update={"redraw": True})),
        "perlin alone, 4 at a time": lambda: [perlin(part, chosen.size, chosen.size, settings) for part in numbers.split(4)],
    }
    # On a CPU the first call's growth is result and all that was in work; on Linux in KiB.
    paint(batch[:1], numbers[:1], 0, 0, textures, settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = paint(batch, numbers, 0, 0, textures, settings)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    came = sum(part.numel() * 4 for part in (result.images_B3HW, result.masks_B1HW)) / 2**20

    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(chosen.rounds):
        for name, work in works.items():
            times[name].append(seconds(work, chosen.device) / chosen.batch * 1e3)
    loop = statistics.median(times["loop in NumPy"])
    print(f"{chosen.batch} images of {chosen.size}², {chosen.device}, threads: {chosen.threads}")
    print(f"{'':28} {'ms/image':>9} {'best':>7} {'of the loop':>12}")
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:28} {middle:9.2f} {min(taken):7.2f} {loop / middle:11.1f}×")
    if chosen.device == "cpu":
        print(f"memory: {grown:.0f} MiB more, of which {came:.0f} MiB come out")
    else:
        print(f"memory: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB at most, textures and images included")


if __name__ == "__main__":
    main()
