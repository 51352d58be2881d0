"""The pass: photographs are decoded ahead, go through the detector in batches of squares, and come out as maps.

What a network gives for an image depends, in its last bits, on how many others are in the batch. So the batches follow from the
list of photographs alone: they are made within groups of neighbours in the list, and a group in which anything is still to do
goes through as a whole. That makes a resumed run give the bytes of one that was never cut off.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch

from threecad.domain import Size
from threecad.errors import ReadError, ThreecadError
from threecad.formats.images import TooLarge, decode_file
from threecad.learning.batches import as_images
from threecad.learning.predict.cutting import Part, joined, parts, square

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from threecad.learning.config import Data
    from threecad.learning.model import Detector
    from threecad.learning.runs import Cut

    Map = NDArray[np.float32]

BATCH = 16
"""Squares that go through the detector at once."""
_BYTES = 16
"""A pixel of a photograph that is being worked on: 16-bit RGB as decoded, its file, and Pillow's copy of a window."""
_MOST_SQUARES = 64 << 20
"""Bytes of squares that are made as soon as a photograph is decoded, which is then forgotten."""

T = TypeVar("T")
U = TypeVar("U")


class Mapped(NamedTuple):
    """What a detector says of a photograph."""

    map_HW: Map
    """Anomaly score of each pixel, float32."""
    score: float
    """The greatest score of its squares. The map may stay a little below: there neighbours are averaged."""


@dataclass(frozen=True, slots=True)
class Job:
    """One photograph: its number in the list, its file, what messages call it, and how it is cut; `wanted`, or for company."""

    number: int
    file: Path
    name: str
    size: Size
    parts: Sequence[Part]
    wanted: bool = True

    @property
    def squares(self) -> int:
        return sum(len(part.fits) for part in self.parts)


@dataclass(slots=True, eq=False)
class Opened:
    """A decoded photograph, as far as it is still needed: its squares where they are made, else its pixels; and a picture."""

    job: Job
    squares: list[NDArray[np.uint8]] | None
    pixels: NDArray[Any] | None
    picture: NDArray[np.uint8] | None


def predict_image(
    detector: Detector, pixels: NDArray[Any], data: Data, cut: Cut | None = None, *, batch_size: int = BATCH
) -> Mapped:
    """The map (H, W) and the score of one photograph, (H, W) gray or (H, W, 3) RGB of uint8 or uint16, the right way up.

    `data` says how an image becomes the model's squares (`run.recipe.data`), `cut` how photographs are cut
    (`run.contents.cut`); None: not at all.
    """
    size = Size(*pixels.shape[:2])
    found = parts(size, data, cut)
    whole = [(part, number) for part in found for number in range(len(part.fits))]
    batches = (np.stack([square(pixels, part, number, data.size) for part, number in some]) for some in evenly(whole, batch_size))
    said = chain.from_iterable(mapped(detector, batch) for batch in batches)
    return assembled(said, found, size, align_corners=detector.align_corners)


def mapped(detector: Detector, squares_BHWC: NDArray[np.uint8]) -> Iterator[tuple[Map, float]]:
    """The map and the score of each square of a batch."""
    device = next((each.device for each in chain(detector.parameters(), detector.buffers())), torch.device("cpu"))
    try:
        with torch.inference_mode():
            said = detector(as_images(torch.from_numpy(squares_BHWC).to(device)))
            maps, scores = said.map_BHW.float().cpu().numpy(), said.score_B.float().cpu().numpy()
    except torch.OutOfMemoryError:
        raise ThreecadError(
            f"{device}: not enough memory for {len(squares_BHWC)} squares at a time; pass a smaller --batch-size, or --device cpu"
        ) from None
    return zip(maps, scores.tolist(), strict=True)


def assembled(said: Iterator[tuple[Map, float]], found: Sequence[Part], size: Size, *, align_corners: bool) -> Mapped:
    """What the squares of one photograph, which are taken from `said`, tell together."""
    scores: list[float] = []

    def maps() -> Iterator[Map]:
        for square_map, score in islice(said, sum(len(part.fits) for part in found)):
            scores.append(score)
            yield square_map

    whole = joined(maps(), found, size, align_corners=align_corners)
    score = np.max(np.array(scores, np.float32))  # NaN comes through
    return Mapped(np.minimum(whole, score), float(score))  # averages are rounded, and so may lie a hair above


def groups(jobs: Iterable[Job], batch_size: int) -> Iterator[list[Job]]:
    """Neighbours in the list whose squares fill at least one batch together; those groups of which anything is wanted.

    >>> from pathlib import Path
    >>> from threecad.learning.config import Data
    >>> wanted = (True, False, False, False, True)
    >>> whole = parts(Size(9, 9), Data(), None)
    >>> jobs = [Job(number, Path(), "", Size(9, 9), whole, each) for number, each in enumerate(wanted)]
    >>> [[job.number for job in group] for group in groups(jobs, 2)]
    [[0, 1], [4]]
    """
    group: list[Job] = []
    for job in jobs:
        group.append(job)
        if sum(each.squares for each in group) >= batch_size:
            if any(each.wanted for each in group):
                yield group
            group = []
    if any(each.wanted for each in group):
        yield group


def passed(
    detector: Detector,
    grouped: Iterable[Sequence[Job]],
    data: Data,
    pool: Executor,
    *,
    batch_size: int,
    budget: int,
    ahead_of_it: int,
    look: Callable[[NDArray[Any]], NDArray[np.uint8]] | None = None,
) -> Iterator[tuple[Job, NDArray[np.uint8] | None, Mapped | ReadError]]:
    """Each wanted job of the `groups` in its order, with what the detector says or why its file cannot be read.

    Photographs are decoded on the pool's threads, at most so many `ahead_of_it`, and as far as `budget` bytes go. `look` makes a
    picture of a photograph while its pixels are there.
    """

    def opened(job: Job) -> Opened | ReadError:
        try:
            return _open(job, data.size, look)
        except ReadError as error:
            return error

    numbered = ((number, job) for number, group in enumerate(grouped) for job in group)
    coming = ahead(
        numbered, lambda each: opened(each[1]), pool, lambda each: _BYTES * each[1].size.area, budget=budget, most=ahead_of_it
    )
    for group in _together(coming):
        sound = [each for _, each in group if isinstance(each, Opened)]
        batches = _batches(sound, data.size, batch_size, pool)
        said = chain.from_iterable(mapped(detector, batch) for batch in batches)
        for job, each in group:
            if isinstance(each, ReadError):
                if job.wanted:
                    yield job, None, each
            elif job.wanted:
                yield job, each.picture, assembled(said, job.parts, job.size, align_corners=detector.align_corners)
            else:
                deque(islice(said, job.squares), maxlen=0)


def _together(
    coming: Iterable[tuple[tuple[int, Job], Opened | ReadError]],
) -> Iterator[list[tuple[Job, Opened | ReadError]]]:
    group: list[tuple[Job, Opened | ReadError]] = []
    current = -1
    for (number, job), each in coming:
        if number != current and group:
            yield group
            group = []
        current = number
        group.append((job, each))
    if group:
        yield group


def _open(job: Job, side: int, look: Callable[[NDArray[Any]], NDArray[np.uint8]] | None) -> Opened:
    pixels = read(job.file, job.name, job.size.area)
    if pixels.shape[:2] != (job.size.height, job.size.width):
        raise ReadError(f"{job.name}: changed while it was read")
    picture = look(pixels) if look is not None and job.wanted else None
    if job.squares * side * side * 3 > max(_MOST_SQUARES, pixels.nbytes):
        return Opened(job, None, pixels, picture)
    squares = [square(pixels, part, number, side) for part in job.parts for number in range(len(part.fits))]
    return Opened(job, squares, None, picture)


def read(file: Path, name: str, max_pixels: int) -> NDArray[Any]:
    """The pixels of a photograph. ReadError names it, whatever is wrong; a pipe is not waited for."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116
            raise ReadError(f"{name}: not a file")
    except OSError as error:
        raise ReadError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        return decode_file(file, name, max_pixels).pixels
    except TooLarge:  # its message names a setting of conversions
        raise ReadError(f"{name}: changed while it was read") from None


def _batches(group: Sequence[Opened], side: int, batch_size: int, pool: Executor) -> Iterator[NDArray[np.uint8]]:
    """The squares of a group, in batches as even as can be; the next one is made while the detector looks at one."""
    every = [(opened, part, number) for opened in group for part in opened.job.parts for number in range(len(part.fits))]
    at = {id(opened): iter(opened.squares) for opened in group if opened.squares is not None}

    def begun(some: Sequence[tuple[Opened, Part, int]]) -> list[NDArray[np.uint8] | Future[NDArray[np.uint8]]]:
        return [
            next(at[id(opened)]) if opened.pixels is None else pool.submit(square, opened.pixels, part, number, side)
            for opened, part, number in some
        ]

    coming: list[NDArray[np.uint8] | Future[NDArray[np.uint8]]] = []
    for some in evenly(every, batch_size):
        ready, coming = coming, begun(some)
        if ready:
            yield _stacked(ready)
    if coming:
        yield _stacked(coming)


def _stacked(squares: Iterable[NDArray[np.uint8] | Future[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    return np.stack([each.result() if isinstance(each, Future) else each for each in squares])


def evenly(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """
    >>> evenly("abcde", 4)
    ['ab', 'cde']
    """
    count = -(-len(items) // most)
    bounds = [len(items) * part // count for part in range(count + 1)] if count else []
    return [items[low:high] for low, high in pairwise(bounds)]


def ahead(
    items: Iterable[T], do: Callable[[T], U], pool: Executor, weigh: Callable[[T], int], *, budget: int, most: int
) -> Iterator[tuple[T, U]]:
    """Each item with what `do` makes of it on the pool, in order; begun are at most `most`, and within `budget` but for one.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(ahead([1, 2, 3], str, pool, lambda _: 1, budget=2, most=9))
    [(1, '1'), (2, '2'), (3, '3')]
    """
    waiting: deque[tuple[T, int, Future[U]]] = deque()
    held = 0
    for item in items:
        weight = weigh(item)
        while waiting and (held + weight > budget or len(waiting) >= most):
            first, freed, future = waiting.popleft()
            made = future.result()
            held -= freed
            yield first, made
        held += weight
        waiting.append((item, weight, pool.submit(do, item)))
    while waiting:
        first, freed, future = waiting.popleft()
        yield first, future.result()
