"""Figures of any detector from the score maps it wrote: `score` pairs them with what is known of each image, and counts.

pairing.py   which map is of which image      sizing.py   maps and masks of one size
truth.py     good or defective, and where     result.py   what was found
listing.py   scores of whole images           tables.py   text, JSON, CSV, LaTeX
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from threecad.domain import Size
from threecad.errors import ConfigError, LayoutError, ReadError
from threecad.formats import maps as mapping
from threecad.formats.containers.codecs import opencv
from threecad.metrics import Meter, ScoreError
from threecad.pipeline import threads
from threecad.pipeline.convert import Progress, budget, cores, title
from threecad.pipeline.scoring.listing import as_file, read_scores
from threecad.pipeline.scoring.pairing import MASK_WORDS, Named, pair, refuse_doubles
from threecad.pipeline.scoring.result import Row, Scored
from threecad.pipeline.scoring.sizing import reduced, resampled
from threecad.pipeline.scoring.truth import Image, Truth, read_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.formats.layouts import Request

    Map = NDArray[np.float32]
    Mask = NDArray[np.bool_]

__all__ = ["Row", "Scored", "score"]

Resize = Literal["maps", "masks", "none"]

_BYTES_A_PIXEL = 32
"""What scoring a map takes at most: its file and its scores in 64 bits, its mask and the numbers of its regions."""


def score(
    maps: str | Path,
    masks: str | Path,
    request: Request | None = None,
    *,
    plain: bool = False,
    split: str | None = None,
    category: str | Sequence[str] | None = None,
    suffix: str | None = None,
    resize: Resize = "maps",
    image_scores: str | Path | None = None,
    pro_limit: float = 0.3,
    upstream: bool = False,
    exact: bool = False,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Scored:
    """The figures of the score maps in the folder `maps`, measured against what is known in `masks`.

    `masks` is a data set of any layout (`request` says what its folders do not), whose test images are scored unless `split`
    names another one or `all`; or it is a folder of masks, as any is where `plain`, and an image without a mask is good. `resize`
    says what gives way where a map and its mask differ in size. An image scores as its map's highest score before any resizing,
    or as the file `image_scores` says. `suffix` takes maps of one kind only, `upstream` measures the authors' PRO as well, and
    `exact` tells apart every score, for memory in the number of different ones.

    The figures depend on the files alone, not on `workers`. LayoutError where an image has no map or several, ReadError where
    a file cannot be read or sizes differ and nothing may give way, ConfigError where an argument makes no sense.
    """
    if not 0 < pro_limit <= 1:
        raise ConfigError(f"pro_limit is {pro_limit:g}; expected above 0 and at most 1")
    job = _prepare(Path(maps), Path(masks), request, plain, split, category, suffix, image_scores, resize)
    opencv()  # told to leave the threads to us
    rows: list[Row] = []
    unmeasured: dict[str, str] = {}
    done, megapixels = 0, 0.0
    for name, tasks in groupby(job.tasks, key=lambda task: task.category):
        counted = _Category(Meter(mantissa_bits=23 if exact else 16, upstream=upstream))
        with closing(_counted(job, counted, list(tasks), workers or cores())) as finished:
            for task, size in finished:
                done, megapixels = done + 1, megapixels + size.area / 1e6
                if progress is not None:
                    progress(Progress(done, len(job.tasks), megapixels, task.map))
        try:
            rows.append(Row(name, counted.meter.compute(pro_limit=pro_limit), counted.resized, counted.unmasked))
        except ScoreError as error:  # all are good, or all defective
            unmeasured[name] = str(error)
    if not rows:
        name, why = next(iter(unmeasured.items()))
        raise ReadError(f"{masks}, {name}: {why}; expected good images and defective ones")
    return Scored(
        maps=title(Path(maps).resolve()),
        masks=job.truth.title,
        layout=job.truth.layout,
        split=job.truth.split,
        resize=resize,
        pro_limit=pro_limit,
        image_scores=image_scores is not None,
        rows=tuple(rows),
        unmeasured=unmeasured,
        left_over=job.left_over,
        left_over_scores=job.left_over_scores,
        dropped=job.truth.dropped,
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """A map to be scored: `image` is None for a good image of which nothing but the map is known, `score` where the map tells."""

    category: str
    map: str
    image: Image | None
    score: float | None


@dataclass(frozen=True, slots=True)
class _Job:
    """All that is to be done, sorted by category."""

    maps: Path
    truth: Truth
    resize: Resize
    tasks: tuple[_Task, ...]
    left_over: int
    left_over_scores: int

    def weigh(self, task: _Task) -> int:
        """The bytes that scoring a map may take, from the headers; what cannot be read is told when its turn comes."""
        try:
            area = mapping.size_of_map(self.maps / task.map).area
            if task.image is not None:
                area = max(area, self.truth.size(task.image).area)
        except ReadError:
            return 0
        return area * _BYTES_A_PIXEL


class _Category:
    """The counts of one category; all threads add to them, one at a time."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.resized = self.unmasked = 0
        self._lock = threading.Lock()

    def add(self, scores: Map, mask: Mask, *, defective: bool, score: float, resized: bool, unmasked: bool) -> None:
        with self._lock:
            self.resized += resized
            self.unmasked += unmasked
            self.meter.update(scores, mask, labels=[defective], image_scores=[score])


def _prepare(
    maps: Path,
    masks: Path,
    request: Request | None,
    plain: bool,
    split: str | None,
    category: str | Sequence[str] | None,
    suffix: str | None,
    image_scores: str | Path | None,
    resize: Resize,
) -> _Job:
    if maps.is_dir() and masks.is_dir() and maps.resolve() == masks.resolve():
        raise LayoutError(f"{maps}: given as the maps and as the masks; expected two folders")
    categories = [category] if isinstance(category, str) else category or ()
    truth = read_truth(masks, request, plain=plain, split=split, categories=categories)
    files = mapping.find(maps, mapping.SUFFIXES if suffix is None else _suffixes(suffix))
    named = [image.named for image in truth.images]
    words = MASK_WORDS if truth.plain else ()
    numbers = pair(named, files, where=str(maps), what="map", words=words, known=truth.known)
    images: dict[int, Image | None] = dict(zip(numbers, truth.images, strict=True))
    if truth.plain:
        refuse_doubles(files, images.keys(), where=str(maps))
        images |= {number: None for number in range(len(files)) if number not in images}
    ordered = sorted(images.items(), key=lambda pair: (_category(truth, pair[1]), files[pair[0]]))
    known: Sequence[float | None] = [None] * len(ordered)
    unused = 0
    if image_scores is not None:
        known, unused = _listed(Path(image_scores), [(files[number], image) for number, image in ordered], truth)
    tasks = [
        _Task(_category(truth, image), files[number], image, score) for (number, image), score in zip(ordered, known, strict=True)
    ]
    return _Job(maps, truth, resize, tuple(tasks), len(files) - len(tasks), unused)


def _suffixes(kind: str) -> tuple[str, ...]:
    kinds = {"npy": (".npy",), "tiff": (".tif", ".tiff"), "png": (".png",)}
    if kind not in kinds:
        raise ConfigError(f"suffix is {kind!r}; expected one of {', '.join(kinds)}")
    return kinds[kind]


def _category(truth: Truth, image: Image | None) -> str:
    return truth.title if image is None else image.entry.category


def _listed(file: Path, scored: Sequence[tuple[str, Image | None]], truth: Truth) -> tuple[list[float], int]:
    """The score of each (map, image), in order, and how many scores of the list are left over.

    A list names images, or else their maps. In a folder of masks nobody knows what images are called but for their maps, and no
    suffix counts.
    """
    scores = read_scores(file)
    paths = [path for path, _ in scores]

    def numbers(asked: Sequence[Named]) -> list[int]:
        words = MASK_WORDS if truth.plain else ()
        files = [as_file(path) for path in paths]
        return pair(asked, files, where=str(file), what="score", words=words, known=truth.known, told=paths)

    as_maps = [Named(path) if image is None else replace(image.named, path=path) for path, image in scored]
    as_images = [Named(path) if truth.plain or image is None else image.named for path, image in scored]
    try:
        found = numbers(as_images)
    except LayoutError as error:
        try:
            found = numbers(as_maps)
        except LayoutError:
            raise error from None
    return [scores[number][1] for number in found], len(scores) - len(found)


def _counted(job: _Job, counted: _Category, tasks: Sequence[_Task], workers: int) -> Generator[tuple[_Task, Size], None, None]:
    """Score these maps on so many threads, and yield them in their order with their sizes as stored.

    Of several that cannot be scored the first is told, whichever thread came upon one first.
    """
    work = threads.work(
        list(enumerate(tasks)),
        lambda numbered: _open(job, counted, *numbered),
        workers=min(workers, len(tasks)),
        budget=budget(),
        weigh=lambda numbered: job.weigh(numbered[1]),
    )
    waiting: dict[int, Size | ReadError] = {}
    ready = 0
    with closing(work) as finished:
        for number, result in finished:
            waiting[number] = result
            while ready in waiting:
                size = waiting.pop(ready)
                if isinstance(size, ReadError):
                    raise size
                yield tasks[ready], size
                ready += 1


def _open(job: _Job, counted: _Category, number: int, task: _Task) -> threads.Opened[tuple[int, Size | ReadError]]:
    result: Size | ReadError
    try:
        result = _count(job, counted, task)  # here, while its weight is reserved; nothing of it is left afterwards
    except ReadError as error:
        result = error
    return threads.Opened([], lambda: (number, result))


def _count(job: _Job, counted: _Category, task: _Task) -> Size:
    """Score one map, and give its size as it was stored."""
    path = job.maps / task.map
    scores = mapping.read_map(path)
    size = Size(*scores.shape)
    highest = float(scores.max()) if task.score is None else task.score
    mask: Mask | None = np.zeros(scores.shape, np.bool_)
    defective = False
    if task.image is not None:
        mask, defective = job.truth.read(task.image)
    unmasked = defective and (mask is None or not mask.any())
    if mask is None:
        mask = np.zeros(scores.shape, np.bool_)
    resized = mask.shape != scores.shape
    if resized and job.resize == "none":
        found, expected = ("{} × {}".format(*array.shape) for array in (scores, mask))
        raise ReadError(
            f"{path}: found {found} pixels (height × width), its mask has {expected}; "
            "expected the same, or --resize maps or masks"
        )
    if resized and job.resize == "maps":
        scores = resampled(scores, Size(*mask.shape))
    elif resized:
        mask = reduced(mask, size)
    try:
        counted.add(scores, mask, defective=defective, score=highest, resized=resized, unmasked=unmasked)
    except ScoreError as error:
        raise ReadError(f"{path}: {error}") from None
    return size
