"""The pass over test images: decoded and cut ahead by threads, batched through the detector, scored by the threads again.

A few images are open at a time, however many there are. What is counted is counted in whole numbers, so that the number of
threads changes nothing.
"""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from threecad.curation import sizes
from threecad.domain import Size
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.formats.maps import write_map
from threecad.imaging.raster import components
from threecad.learning.devices import precision
from threecad.learning.evaluate.results import Judged
from threecad.learning.fitting import Fit, fit_image, fit_mask, fits, unfit
from threecad.learning.predict.passing import mapped
from threecad.learning.predict.writing import clipped, scale_of
from threecad.metrics import Meter
from threecad.pipeline.convert import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.formats.dataset import Dataset, Item
    from threecad.formats.folders import Row
    from threecad.learning.config import Recipe
    from threecad.learning.model import Detector
    from threecad.learning.runs import Threshold

MOST_AHEAD = 8
"""Images that are decoded before their turn, and as many that are scored after it."""
BUDGET = 1 << 30
"""Bytes that these may take together, as far as the largest one so far tells."""
MOST_METERS = 4
"""Threads that count pixels at a time: each has a meter of its own, which may grow to 84 MB."""
BATCH = {"cuda": 32}
"""Squares a batch; on anything else fewer, since there more gain nothing."""
FEW = 8

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """One test image as the detector needs it: `squares` (K, side, side, 3) uint8 as `fits` tells; its mask at its own size."""

    row: Row
    size: Size
    fits: Sequence[Fit]
    squares: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    marked: bool
    defective: bool
    type: str

    @property
    def nbytes(self) -> int:
        """With the maps that will be made of it."""
        return self.squares.nbytes * 3 + self.mask.nbytes * 5


@dataclass(slots=True, eq=False)
class _Waiting:
    """An image whose squares are on their way through the detector."""

    opened: Opened
    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    left: int


@dataclass(frozen=True, slots=True)
class Terms:
    """How an image is scored. `native` at its mask's own resolution; `maps` is where score maps are written, in files named by
    the images' paths in `names`."""

    recipe: Recipe
    threshold: Threshold
    native: bool
    precision: str = "32-true"
    upstream: bool = False
    maps: Path | None = None
    names: dict[str, str] = field(default_factory=dict)


def look(
    detector: Detector,
    device: torch.device,
    data: Dataset,
    terms: Terms,
    *,
    batch_size: int | None = None,
    workers: int,
    tell: Callable[[Progress], None] | None = None,
) -> tuple[list[Judged], Meter]:
    """Every image of `data` in its order, and their pixels counted. The detector is on the device, in eval mode.

    ReadError where an image or mask cannot be read, or the detector's scores are not finite; ThreecadError where the device has
    too little memory.
    """
    meters: queue.SimpleQueue[Meter] = queue.SimpleQueue()
    for _ in range(min(workers, MOST_METERS)):
        meters.put(Meter(upstream=terms.upstream))
    judged: list[Judged] = []
    largest = 0

    def judge(seen: tuple[Opened, NDArray[np.float32], float]) -> Judged:
        nonlocal largest
        largest = max(largest, seen[0].nbytes)
        meter = meters.get()
        try:
            return judged_of(*seen, terms, meter)
        finally:
            meters.put(meter)

    settings = terms.recipe.data
    with ThreadPoolExecutor(workers, "threecad") as pool:
        opened = ahead(
            pool, lambda at: open_image(data.rows[at], data[at], terms.recipe), range(len(data)), lambda one: one.nbytes
        )
        try:
            seen = predictions(detector, device, opened, settings.size, terms.precision, batch_size)
            for one in ahead(pool, judge, seen, lambda _: largest):
                judged.append(one)
                if tell is not None:
                    tell(Progress(len(judged), len(data), 0.0, one.path))
        finally:
            pool.shutdown(cancel_futures=True)
    total = meters.get()
    while not meters.empty():
        total.merge(meters.get())
    return judged, total


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Job], Result], jobs: Iterable[Job], weigh: Callable[[Result], int]
) -> Iterator[Result]:
    """The results of `work` in the order of `jobs`, a few of which are begun before their turn: fewer where a result weighs many
    bytes, always one."""
    waiting: deque[Future[Result]] = deque()
    most = MOST_AHEAD
    for job in jobs:
        waiting.append(pool.submit(work, job))
        while len(waiting) > most:
            result = waiting.popleft().result()
            most = max(1, min(most, BUDGET // max(1, weigh(result))))
            yield result
    while waiting:
        yield waiting.popleft().result()


def open_image(row: Row, item: Item, recipe: Recipe) -> Opened:
    """A decoded image with its mask, cut into squares."""
    size = Size(*item["gt_mask"].shape)
    found = fits(size, recipe.data)
    side = recipe.data.size
    squares = np.empty((len(found), side, side, 3), np.uint8)
    for place, fit in enumerate(found):
        squares[place] = fit_image(item["image"], fit, side)
    defective = bool(item["gt_label"])
    mask: NDArray[np.bool_] = item["gt_mask"]
    marked = bool(mask.any())
    kinds = (item["types"] or item["type"]) if defective else ""
    return Opened(row, size, found, squares, mask, marked, defective, kinds)


def predictions(
    detector: Detector,
    device: torch.device,
    opened: Iterable[Opened],
    side: int,
    wanted: str,
    batch_size: int | None = None,
) -> Iterator[tuple[Opened, NDArray[np.float32], float]]:
    """Each image with its squares' maps (K, side, side) and its score, in their order; a batch may hold squares of several."""
    batch = batch_size or BATCH.get(device.type, FEW)
    waiting: deque[_Waiting] = deque()
    pending: list[tuple[_Waiting, int]] = []
    for one in opened:
        count = len(one.squares)
        waiting.append(_Waiting(one, np.empty((count, side, side), np.float32), np.empty(count, np.float32), count))
        for place in range(count):
            pending.append((waiting[-1], place))
            if len(pending) == batch:
                _detect(detector, device, pending, wanted)
                pending = []
        yield from _done(waiting)
    if pending:
        _detect(detector, device, pending, wanted)
    yield from _done(waiting)


def _done(waiting: deque[_Waiting]) -> Iterator[tuple[Opened, NDArray[np.float32], float]]:
    while waiting and not waiting[0].left:
        one = waiting.popleft()
        yield one.opened, one.maps, float(one.scores.max())


def _detect(detector: Detector, device: torch.device, pending: Sequence[tuple[_Waiting, int]], wanted: str) -> None:
    """The detector's word on some squares, noted with their images."""
    squares_BHWC = np.stack([one.opened.squares[place] for one, place in pending])
    with autocast(device, wanted):
        said = mapped(detector, squares_BHWC)
    for (one, place), (map_, score) in zip(pending, said, strict=True):
        one.maps[place], one.scores[place] = map_, score
        one.left -= 1


def autocast(device: torch.device, wanted: str) -> AbstractContextManager[object]:
    """The numbers in the networks; ConfigError where the device has none such."""
    number = precision(wanted, device.type)
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    return torch.autocast(device.type, kinds[number]) if number in kinds else nullcontext()


def judged_of(opened: Opened, maps: NDArray[np.float32], score: float, terms: Terms, meter: Meter) -> Judged:
    """Counts an image's pixels and tells what was found of it; regions always at the image's own resolution."""
    row = opened.row
    if not np.isfinite(maps).all():
        raise ReadError(f"{row.image}: the model of {row.category!r} gives scores that are no finite numbers; expected a run to "
                        "train anew, with a lower train.learning_rate")  # fmt: skip
    whole: NDArray[np.float32] | None = None
    if terms.native or opened.marked or terms.maps is not None:
        whole = unfit(maps, opened.fits, opened.size, align_corners=terms.recipe.score.align_corners)
    pixels = marked = 0
    if opened.marked or not opened.defective:
        parts = [(whole, opened.mask)] if terms.native and whole is not None else _squares(opened, maps, terms.recipe.data.size)
        for map_, mask in parts:
            meter.update(map_, mask)
            pixels += mask.size
            marked += int(np.count_nonzero(mask))
    if terms.maps is not None and whole is not None:
        _write(terms.maps, terms.names[row.image], whole, terms.recipe)
    hit = None
    none = (0,) * len(sizes.NAMES)
    regions, found = none, none
    if opened.marked and whole is not None:
        hit = bool(opened.mask.flat[int(whole.argmax())])
        regions, found = count_regions(opened.mask, whole, terms.threshold.image)
    return Judged(
        path=row.image,
        category=row.category,
        type=opened.type,
        defective=opened.defective,
        score=score,
        found=score >= terms.threshold.image,
        hit=hit,
        regions=regions,
        found_regions=found,
        source=row.entry.source,
        pixels=pixels,
        anomalous_pixels=marked,
    )


def count_regions(
    mask: NDArray[np.bool_], map_: NDArray[np.float32], threshold: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many regions (8-connected) of each size class a mask has, and in how many of them a pixel reaches the threshold.

    >>> mask = np.zeros((40, 40), bool)
    >>> mask[1, 1] = mask[10:30, 10:30] = True
    >>> map_ = np.zeros((40, 40), np.float32)
    >>> map_[29, 29] = 0.5
    >>> count_regions(mask, map_, 0.5)
    ((1, 1, 0, 0), (0, 1, 0, 0))
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    count, labels = components(mask[box].view(np.uint8))
    inside = labels > 0
    own = labels[inside] - 1
    areas = np.bincount(own, minlength=count)
    found = np.bincount(own[map_[box][inside] >= np.float32(threshold)], minlength=count) > 0
    bounds = list(sizes.BOUNDS.values())
    classes = np.searchsorted(bounds, areas, side="right")
    every, those = (np.bincount(each, minlength=len(bounds)).tolist() for each in (classes, classes[found]))
    return tuple(every), tuple(those)


def _squares(opened: Opened, maps: NDArray[np.float32], side: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Map and shrunken mask of each square, without what only pads it."""
    for map_, fit in zip(maps, opened.fits, strict=True):
        top, left, height, width = fit.inner
        part = (slice(top, top + height), slice(left, left + width))
        yield map_[part], fit_mask(opened.mask, fit, side)[part]


def map_names(rows: Sequence[Row]) -> dict[str, str]:
    """The file of each image's map below the folder of maps: the image's path as a PNG. Where two images differ in their suffix
    alone, all maps keep it (`000.bmp.png`), for whoever reads them expects one habit. ReadError for a path that would lead out of
    the folder."""
    paths = [PurePosixPath(row.image) for row in rows]
    for path in paths:
        if path.is_absolute() or ".." in path.parts:
            raise ReadError(f"{path}: leads out of the data set")
    alike = len({str(path.with_suffix("")).casefold() for path in paths}) < len(paths)
    return {row.image: f"{path}.png" if alike else str(path.with_suffix(".png")) for row, path in zip(rows, paths, strict=True)}


def _write(folder: Path, name: str, whole: NDArray[np.float32], recipe: Recipe) -> None:
    path, scale = folder / name, scale_of(recipe)
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder)):
        raise ConfigError(f"{path}: a link leads out of the folder of score maps; expected a folder without one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_map(path, clipped(whole, scale), scale)
    except OSError as error:
        raise ThreecadError(f"{path}: cannot be written ({error.strerror or error})") from None
