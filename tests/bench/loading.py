"""`threecad.Dataset` beside plain decoding of the same files: images a second, iterated and in a torch DataLoader.

    python tests/bench/loading.py [--images 8] [--rounds 3] [--json FILE]

Photographs are drawn and converted, so that a data set of tiles with masks lies there. The other side knows the paths of the same
images and masks, and does to each what cannot be left out: read, decode with the same decoder, gray to three channels, mask to
bool, an empty mask for good images. Both give the same arrays under the same keys (the first pass checks each), in the same
order, to the same collate and the same number of workers. Sides take turns; a pass over all files before makes them warm.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import threecad
from threecad.formats.images import MOST_PIXELS, decode

SCRIPTS = Path(__file__).parent / "scripts"


class Files(Sequence[Any]):
    """What a data set's items hold, from the paths alone and with nothing checked."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.told = [{key: value for key, value in item.items() if key not in ("image", "gt_mask")} for item in items]

    def __len__(self) -> int:
        return len(self.told)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        told = self.told[index]
        pixels = decoded(told["image_path"])
        image = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else np.require(pixels, requirements=("C", "W"))
        mask = decoded(told["mask_path"]) > 0 if told["mask_path"] else np.zeros(image.shape[:2], np.bool_)
        return {"image": image, "gt_mask": mask, **told}


def decoded(path: str) -> Any:
    with Path(path).open("rb") as file:
        return decode(file.read(), path, MOST_PIXELS).pixels


def draw(folder: Path, images: int, width: int, height: int) -> Path:
    """A data set of tiles, gray and in colour, some with masks."""
    sizes = ["--images", images, "--width", width, "--height", height]
    more = ["--polygons", 5, 30, "--invalid", 0, "--seed", 0]
    for script in (
        ["photographs.py", folder / "raw", *sizes, *more],
        ["threecad_tiles.py", folder / "raw", folder / "data", "--workers", 2],
    ):
        subprocess.run([sys.executable, SCRIPTS / script[0], *map(str, script[1:])], check=True, stdout=subprocess.PIPE)
    return folder / "data"


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    arrays = all(one[key].dtype == other[key].dtype and np.array_equal(one[key], other[key]) for key in ("image", "gt_mask"))
    return arrays and all(one[key] == other[key] for key in one if key not in ("image", "gt_mask"))


def iterated(side: Any) -> int:
    return sum(1 for _ in side)


def loaded(side: Any, workers: int, batch: int) -> int:
    from torch.utils.data import DataLoader

    return sum(len(part["image"]) for part in DataLoader(side, batch_size=batch, num_workers=workers))


def ways(batch: int) -> tuple[dict[str, Callable[[Any], int]], dict[str, str]]:
    """How items are taken, and what is left out with the reason."""
    found: dict[str, Callable[[Any], int]] = {"iterated": iterated}
    try:
        import torch
    except ImportError:
        return found, {f"{side} loader": "torch is not installed" for side in ("dataset", "raw")}
    torch.set_num_threads(1)
    return found | {f"loader {workers}": lambda side, n=workers: loaded(side, n, batch) for workers in (0, 2)}, {}


def measure(data: Path, rounds: int, batch: int) -> dict[str, Any]:
    dataset = threecad.Dataset(data)
    # Held without their arrays: what the other side may know beforehand.
    told = [{key: value for key, value in item.items() if key not in ("image", "gt_mask")} for item in dataset]
    sides = {"dataset": dataset, "raw": Files(told)}
    if not all(same(one, other) for one, other in zip(dataset, sides["raw"], strict=True)):
        raise SystemExit("the data set's items and the decoded files differ: their times do not compare")
    how, missing = ways(batch)
    seconds: dict[str, list[float]] = {f"{side} {way}": [] for side in sides for way in how}
    for number in range(-1, rounds):  # the first round imports what is imported late, and is thrown away
        for way, take in how.items():
            for side in sorted(sides, reverse=number % 2 == 0):
                began = time.perf_counter()
                count = take(sides[side])
                spent = time.perf_counter() - began
                if count != len(dataset):
                    raise SystemExit(f"{side}, {way}: {count} images instead of {len(dataset)}")
                if number >= 0:
                    seconds[f"{side} {way}"].append(spent)
    pixels = sum(item["image"].shape[0] * item["image"].shape[1] for item in sides["raw"])
    return {"images": len(dataset), "megapixels": pixels / 1e6, "seconds": seconds, "missing": missing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, help="photographs that are cut into tiles")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--height", type=int, default=3072)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="threecad-loading-"))
    try:
        data = draw(folder, chosen.images, chosen.width, chosen.height)
        os.sync()
        found = measure(data, chosen.rounds, chosen.batch)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{found['images']} tiles, {found['megapixels']:.1f} MP")
    for way in ("iterated", "loader 0", "loader 2"):
        if f"raw {way}" not in found["seconds"]:
            print(f"{way:10} not measured: torch is not installed")
            continue
        own, other = (found["seconds"][f"{side} {way}"] for side in ("dataset", "raw"))
        ratios = sorted(raw / mine for raw, mine in zip(other, own, strict=True))
        rates = [found["images"] / statistics.median(each) for each in (own, other)]
        print(
            f"{way:10} {rates[0]:8.1f} images/s, decoding alone {rates[1]:8.1f}: {statistics.median(ratios):.1%} "
            f"({ratios[0]:.1%} to {ratios[-1]:.1%})"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
