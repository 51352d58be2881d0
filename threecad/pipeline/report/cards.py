"""One image of the gallery as a page shows it: a thumbnail, and the outlines of its defects."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from threecad.domain import Entry, Finding, Measure, Size
from threecad.errors import ReadError
from threecad.formats import masks
from threecad.formats.images import MOST_PIXELS, decode_file
from threecad.formats.jpeg import encode_jpeg
from threecad.imaging import crops
from threecad.pipeline.profile import Profiled
from threecad.pipeline.report.outlines import outline

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL = 224
"""Pixels of a thumbnail's longer side: a tile of the gallery on a screen with one and a half dots a pixel."""
BROWSERS_SHOW = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
NOT_WRITTEN = "Not written: no split uses this tile"
NOT_USABLE = "This image cannot be used"

_FORMAT = 1  # part of every thumbnail's name: raised whenever the same image would look otherwise than before
_MAX_MASK_BYTES = 1 << 30

Outlines = tuple[tuple[str, str], ...]
"""Types ("" for none) and SVG paths in pixels of an image."""

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Card:
    """An image of the gallery. `name` is its thumbnail's (see `name_of`), None where there is no picture to show, and `why` says
    why not. `thumbnail` is its JPEG, None where a page's folder has it already."""

    entry: Entry
    measure: Measure | None
    findings: Sequence[Finding]
    name: str | None
    thumbnail: bytes | None
    outlines: Outlines
    why: str = ""


def name_of(digest: str) -> str:
    """What the thumbnail of an image file with that digest is called, without suffix.

    >>> name_of("ab" * 32)
    'a1c7725fdab5c31811b4ec11fa4abf60'
    """
    return hashlib.sha256(f"thumbnail {_FORMAT} {THUMBNAIL} {digest}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Glance:
    """What a card shows of an image, made while it is open anyway."""

    thumbnail: bytes
    outlines: Outlines


def look_at(entry: Entry, pixels: NDArray[Any], named: Mapping[str, masks.Plane]) -> Glance:
    """What `profile` calls with the pixels (H, W) or (H, W, 3) and the masks of an image that it decodes."""
    return Glance(_small(pixels), _drawn(named))


def card_of(root: str, profiled: Profiled, seen: object, has: Callable[[str], bool], drawn: Mapping[str, Outlines]) -> Card:
    """The card of one image; `root` is the data set's real path, and `has` tells whether a thumbnail is there already. `drawn`
    has the outlines of entries for which no image is written, by their ids. `seen` is the Glance at it where it was decoded a
    moment ago; else it is decoded now."""
    entry, measure, findings = profiled
    if entry.image is None:
        return Card(entry, None, findings, None, None, drawn.get(entry.id, ()), NOT_WRITTEN)
    if measure is None:
        return Card(entry, None, findings, None, None, (), NOT_USABLE)
    name = name_of(measure.digest)
    if isinstance(seen, Glance):
        return Card(entry, measure, findings, name, None if has(name) else seen.thumbnail, seen.outlines)
    try:
        data = None if has(name) else _thumbnail(root, entry.image)
    except ReadError:  # it could be read a moment ago, or an earlier run measured it
        return Card(entry, measure, findings, None, None, (), NOT_USABLE)
    return Card(entry, measure, findings, name, data, _outlines(root, entry, measure.size) if measure.spots else ())


def shows(path: str) -> bool:
    """Whether browsers show a file of that name as it is.

    >>> shows("a/b.PNG"), shows("a/b.tif")
    (True, False)
    """
    return PurePosixPath(path).suffix.lower() in BROWSERS_SHOW


def in_order(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Generator[Result, None, None]:
    """The results in the order of the jobs, a few of which are under way at any time.

    >>> list(in_order(lambda n: n * n, range(5), 2))
    [0, 1, 4, 9, 16]
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def inside(root: str, path: str) -> Path | None:
    """Where a file of the data set really is; None where that is outside, or no file. `root` is a real path."""
    try:
        where = os.path.realpath(os.path.join(root, path))  # noqa: PTH118  as fast as it can be, for each of many masks
    except ValueError:  # a NUL
        return None
    if not where.startswith(root.rstrip("/\\") + os.sep) or not os.path.isfile(where):  # noqa: PTH113
        return None
    return Path(where)


def _thumbnail(root: str, path: str) -> bytes:
    where = inside(root, path)
    if where is None:
        raise ReadError(f"{path}: there is no such file in the data set")
    return _small(decode_file(where, path, MOST_PIXELS).pixels)


def _small(pixels: NDArray[Any]) -> bytes:
    return encode_jpeg(crops.part(pixels, (0, 0, pixels.shape[1], pixels.shape[0]), THUMBNAIL))


def _outlines(root: str, entry: Entry, size: Size) -> Outlines:
    named, _ = masks.planes([_bytes(root, mask.path) for mask in entry.masks], entry, size)
    return _drawn(named)


def _drawn(named: Mapping[str, masks.Plane]) -> Outlines:
    return tuple((name, path) for name, plane in named.items() if (path := outline(plane)))


def _bytes(root: str, path: str) -> bytes:
    """What a mask's file holds, b"" where it cannot be read."""
    where = inside(root, path)
    try:
        return b"" if where is None or where.stat().st_size > _MAX_MASK_BYTES else where.read_bytes()
    except OSError:
        return b""
