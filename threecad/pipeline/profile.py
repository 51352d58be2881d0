"""A finished data set image by image: listed, read, measured, and remembered for the next time; and its statistics.

Images are measured a block at a time by as many threads as there are cores, and handed out in the listing's order. So memory is
flat in their number, but for what the statistics themselves keep of each: its name, digest, fingerprint and counts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import numpy as np
import shapely
from pydantic import BaseModel, Field, ValidationError
from shapely import MultiPolygon, Polygon

from threecad.curation import duplicates, leaks
from threecad.curation.statistics import Drawn, Photograph, Tally
from threecad.domain import Action, Code, Entry, Finding, Measure, Size, Split
from threecad.errors import LayoutError, ReadError
from threecad.formats import images, layouts, masks
from threecad.formats.containers.codecs import opencv
from threecad.formats.dataset import SAMPLES, read_manifest, read_samples
from threecad.imaging import measuring
from threecad.pipeline import threads
from threecad.pipeline.convert import Progress, budget, cores, title
from threecad.pipeline.measures import Measures, Place, hint_of, key_of
from threecad.settings import Splitting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.curation.statistics import Statistics
    from threecad.formats.layouts import Listing, Request

BYTES_A_PIXEL = 32
"""What measuring an image takes at most: its pixels, its luma and that one's Laplacian, its masks and their regions' numbers."""
BLOCK = 512
"""Images that are looked up, measured and remembered together, or more where there are many workers."""

_A_WORKER = 64  # images a worker in such a block, so that waiting for the last of them takes little of the time
_LARGEST = images.most_bytes(images.MOST_PIXELS)
_LONGEST_LINE = 64_000_000  # bytes of an outline of more than a million points

_MASK = re.compile(r"mask (\d+) of \d+: ")  # how `masks.planes` says which of several masks is meant

Profiled = tuple[Entry, Measure | None, list[Finding]]
Look = Callable[[Entry, "NDArray[Any]", Mapping[str, "NDArray[np.bool_]"]], object]
"""Takes an entry, its pixels and its masks by type, on any thread, while an image that is measured is open."""


class _Done(NamedTuple):
    """An image that can be handed out; `fresh` is whether it was decoded, `seen` what a look at it gave."""

    entry: Entry
    measure: Measure | None
    findings: list[Finding]
    fresh: bool = False
    seen: object = None


class Profile:
    """The images of a data set with their measures, in the listing's order; it can be gone through once.

    A measure is None where there is no image, or none that can be used; its findings say why. `done` images have been handed out
    so far, and `megapixels` read for them. `note` tells in one line why the cache was of no use, once all have been. `seen` is
    what `look` made of the image handed out last, None where that was not decoded because the cache knew its measure.
    """

    def __init__(
        self,
        root: Path,
        listing: Listing,
        *,
        masked: bool = True,
        workers: int | None = None,
        cache: Place = "default",
        progress: Callable[[Progress], None] | None = None,
        look: Look | None = None,
    ) -> None:
        self.root = root
        self.listing = listing
        self.seen: object = None
        self._look = look
        self.done = 0
        self.megapixels = 0.0
        self.note: str | None = None
        self._workers = workers or cores()
        self._masked = masked
        self._cache = cache
        self._progress = progress
        self._finder = _Finder(os.path.realpath(root))
        self._hints: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.listing.entries)

    def __iter__(self) -> Iterator[Profiled]:
        opencv()  # told to leave the threads to us, also where no image needs its codecs
        entries = self.listing.entries
        size = max(BLOCK, _A_WORKER * self._workers)
        kept = Measures(self._cache)
        with closing(kept):
            for first in range(0, len(entries), size):
                for entry, measure, findings, fresh, seen in self._block(entries[first : first + size], kept):
                    self.seen = seen
                    self.done += 1
                    self.megapixels += measure.size.area / 1e6 if measure is not None and fresh else 0
                    yield entry, measure, findings
                    if self._progress is not None:
                        self._progress(Progress(self.done, len(entries), self.megapixels, entry.id))
                kept.flush()
        self.note = kept.note

    def _block(self, block: Sequence[Entry], kept: Measures) -> Iterator[_Done]:
        done: dict[int, _Done] = {}
        todo: list[_Case] = []
        for number, entry in enumerate(block):
            case, findings = self._finder.case(number, entry, self._masked)
            if case is None:
                done[number] = _Done(entry, None, findings)
            elif (measure := self._known(case, kept)) is not None:
                done[number] = _Done(entry, measure, [*findings, *self._flaws(case, measure)])
            else:
                todo.append(case)
        ready = 0
        for look in self._measured(todo, kept) if todo else ():
            number, findings = look.case.number, [*look.case.findings, *look.findings]
            if look.measure is not None:
                findings += self._flaws(look.case, look.measure)
            done[number] = _Done(block[number], look.measure, findings, look.fresh, look.seen)
            while ready in done:
                yield done.pop(ready)
                ready += 1
        for number in range(ready, len(block)):
            yield done.pop(number)

    def _known(self, case: _Case, kept: Measures) -> Measure | None:
        """The measure of a case all of whose files look as they did when they were measured."""
        image = kept.digest(case.image.where, case.image.stat)
        if image is None:
            return None
        if not self._masked:
            return kept.of_image(image)
        found = ["" if file is None else kept.digest(file.where, file.stat) for file in case.files[1:]]
        whole = [digest for digest in found if digest is not None]
        return kept.find(key_of(case.entry, image, whole), image) if len(whole) == len(found) else None

    def _measured(self, todo: Sequence[_Case], kept: Measures) -> Iterator[_Look]:
        if self._hints is None:
            self._hints = kept.hints()
        work = threads.work(
            todo, partial(_open, self._hints, self._look), workers=min(self._workers, len(todo)), budget=budget(), weigh=_weigh
        )
        with closing(work) as finished:
            for look in finished:
                if look.key is not None and not look.fresh:
                    known = kept.find(look.key, look.digest)
                    if known is not None:
                        look = replace(look, measure=known)
                    else:  # it was damaged, or has just been forgotten
                        again = _look(look.case, look=self._look)
                        look = replace(again, findings=(*look.findings, *again.findings))
                for file, digest in look.read:
                    kept.remember(file.where, file.stat, digest)
                if look.key is not None and look.measure is not None and look.fresh:
                    kept.keep(look.key, look.measure)
                yield look

    def _flaws(self, case: _Case, measure: Measure) -> list[Finding]:
        """The flaws of the files as findings, those of a mask under its path; what could not be opened was told already."""
        found = []
        for code, detail in measure.flaws:
            path = case.image.path
            if code.value.startswith("TC4"):
                which = _MASK.match(detail)
                told = case.files[int(which[1]) :][:1] if which else case.files[1:]
                there = [file for file in told if file is not None]
                if not there:
                    continue
                path, detail = there[0].path, detail[which.end() :] if which else detail
            action = Action.DROPPED if code in (Code.MASK_UNREADABLE, Code.MASK_OTHER_SIZE) else Action.KEPT
            found.append(Finding(code, action, path, None, detail))
        return found


def profile(
    root: str | Path,
    request: Request | None = None,
    *,
    category: str | Sequence[str] | None = None,
    masked: bool = True,
    workers: int | None = None,
    cache: Place = "default",
    progress: Callable[[Progress], None] | None = None,
    look: Look | None = None,
) -> Profile:
    """The images of the data set at `root` and what they measure; `masked=False` leaves the masks alone.

    `category` is one name or several, None meaning all. `workers` is the number of threads (default: the cores this process may
    use). `cache` is the folder of the cache, None for none; THREECAD_CACHE names another than the usual one. Raises LayoutError
    where no layout fits or there is no such category.
    """
    whole = Path(root)
    listing = layouts.read(whole, request)
    if category is not None:
        listing = _of_categories(whole, listing, [category] if isinstance(category, str) else category)
    return Profile(whole, listing, masked=masked, workers=workers, cache=cache, progress=progress, look=look)


def _of_categories(root: Path, listing: Listing, categories: Sequence[str]) -> Listing:
    known = {entry.category for entry in listing.entries}
    for category in categories:
        if category not in known:
            raise LayoutError(f"{root}: no category {category!r}; found {', '.join(sorted(known)) or 'none'}")
    mine = [entry for entry in listing.entries if entry.category in categories]
    folders = {file.partition("/")[0] for entry in mine for file in _files_of(entry)}
    others = {
        file.partition("/")[0] for entry in listing.entries if entry.category not in categories for file in _files_of(entry)
    }
    foreign = others - folders  # a finding is of another category where its folder is
    findings = [finding for finding in listing.findings if finding.source.partition("/")[0] not in foreign]
    return replace(listing, entries=mine, findings=findings)


def _files_of(entry: Entry) -> list[str]:
    return [path for path in (entry.image, *(mask.path for mask in entry.masks)) if path is not None]


# ---------------------------------------------------------------- finding files


class _File(NamedTuple):
    """A file of the data set that may be opened: its path in the data set, where it really is, and how it looks."""

    path: str
    where: str
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class _Case:
    """An entry whose image is there. `files` are the image and then the masks, None for those that may not be opened."""

    number: int
    entry: Entry
    image: _File
    files: tuple[_File | None, ...]
    findings: tuple[Finding, ...]


class _Finder:
    """Finds the files of entries, none outside the data set's folder, whatever a list or a link says."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._folders: dict[str, str | None] = {}

    def case(self, number: int, entry: Entry, masked: bool) -> tuple[_Case | None, list[Finding]]:
        findings: list[Finding] = []
        image = self.file(entry.image, findings) if entry.image is not None else None
        if image is None:
            return None, findings
        named = entry if masked else replace(entry, masks=())
        files = [self.file(mask.path, findings) for mask in named.masks]
        return _Case(number, named, image, (image, *files), tuple(findings)), findings

    def file(self, path: str, findings: list[Finding]) -> _File | None:
        parent, _, name = path.rpartition("/")
        try:
            folder = self._folder(parent)
            if folder is None:
                findings.append(Finding(Code.PATH_OUTSIDE, Action.DROPPED, path, None, "it leads out of the data set"))
                return None
            where = f"{folder}/{name}"
            found = os.lstat(where)
            if stat.S_ISLNK(found.st_mode):
                where = os.path.realpath(where)
                if not self._holds(where):
                    findings.append(Finding(Code.PATH_OUTSIDE, Action.DROPPED, path, None, "a link out of the data set"))
                    return None
                found = os.lstat(where)
        except (FileNotFoundError, NotADirectoryError):
            findings.append(Finding(Code.LISTED_MISSING, Action.DROPPED, path, None, "there is no such file"))
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            why = error.strerror if isinstance(error, OSError) else error
            findings.append(Finding(Code.FILE_UNREADABLE, Action.DROPPED, path, None, f"{why}"))
            return None
        if not stat.S_ISREG(found.st_mode):
            findings.append(Finding(Code.FILE_UNREADABLE, Action.DROPPED, path, None, "not a file"))
            return None
        return _File(path, where, found)

    def _folder(self, path: str) -> str | None:
        """Where a folder of the data set really is; None where that is elsewhere. Most files share one with the file before."""
        if path not in self._folders:
            if len(self._folders) > 10_000:
                self._folders.clear()
            real = os.path.realpath(os.path.join(self._root, path))  # noqa: PTH118  Path is slow on 100,000 names
            self._folders[path] = real if self._holds(real) else None
        return self._folders[path]

    def _holds(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root.rstrip("/") + "/")


# ---------------------------------------------------------------- reading and measuring, on any thread


@dataclass(frozen=True, slots=True)
class _Look:
    """What came of opening the files of a case, without those that could not be read; `read` are their digests.

    `key` is what the measure is kept under and `digest` the image's. Where there is a key but no measure, and no finding that
    says why, the cache probably has it; `fresh` is whether the image was decoded, `seen` what was made of it then.
    """

    case: _Case
    read: tuple[tuple[_File, str], ...] = ()
    digest: str = ""
    key: bytes | None = None
    measure: Measure | None = None
    findings: tuple[Finding, ...] = ()
    fresh: bool = False
    seen: object = None


def _weigh(case: _Case) -> int:
    """The bytes it may take to measure a case, from the header of its image."""
    try:
        area = images.size_of(Path(case.image.where), case.image.path).area
    except ReadError:
        area = 0
    return sum(file.stat.st_size for file in case.files if file is not None) + (
        area * BYTES_A_PIXEL if area <= images.MOST_PIXELS else 0
    )


def _open(hints: NDArray[np.uint64], wanted: Look | None, case: _Case) -> threads.Opened[_Look]:
    look = _look(case, hints, wanted)  # here, while its weight is reserved; nothing of the image is left afterwards
    return threads.Opened([], lambda: look)


def _look(case: _Case, hints: NDArray[np.uint64] | None = None, look: Look | None = None) -> _Look:
    """Read the files of a case, and measure them unless the cache seems to know them."""
    findings: list[Finding] = []
    data: list[bytes] = []
    digests: list[str] = []
    files: list[_File | None] = []
    for file in case.files:
        content, digest, now = b"", "", None
        if file is not None:
            try:
                content, digest, now = _read(file)
            except ReadError as error:
                code = Code.TOO_LARGE if isinstance(error, images.TooLarge) else Code.FILE_UNREADABLE
                findings.append(Finding(code, Action.DROPPED, file.path, None, str(error)))
        data.append(content)
        digests.append(digest)
        files.append(now)
    case = replace(case, files=tuple(files))
    if files[0] is None:
        return _Look(case, findings=tuple(findings))
    key = key_of(case.entry, digests[0], digests[1:])
    read = tuple((file, digest) for file, digest in zip(files, digests, strict=True) if file is not None)
    found = _Look(case, read, digests[0], key, None, tuple(findings))
    if hints is not None and _hinted(hints, key):
        return found
    measure, more, seen = _measure(case.entry, data, digests[0], look)
    return replace(found, measure=measure, findings=(*findings, *more), fresh=True, seen=seen)


def _hinted(hints: NDArray[np.uint64], key: bytes) -> bool:
    wanted = np.uint64(hint_of(key))
    place = int(np.searchsorted(hints, wanted))
    return place < len(hints) and bool(hints[place] == wanted)


def _measure(entry: Entry, data: list[bytes], digest: str, look: Look | None) -> tuple[Measure | None, list[Finding], object]:
    """`data` are the bytes of the image, which are given up as soon as it is decoded, and those of the masks."""
    path = entry.image or entry.id
    encoded = data.pop(0)
    try:
        picture = images.decode(encoded, path, images.MOST_PIXELS)
    except images.TooLarge:
        size = images.size_of(encoded, path)
        detail = f"{size.width} × {size.height} pixels, more than {images.MOST_PIXELS / 1e6:g} million"
        return None, [Finding(Code.TOO_LARGE, Action.DROPPED, path, None, detail)], None
    except ReadError as error:
        return None, [Finding(Code.IMAGE_UNREADABLE, Action.DROPPED, path, None, str(error).removeprefix(f"{path}: "))], None
    del encoded
    pixels = picture.pixels
    planes, flaws = masks.planes(data, entry, Size(*pixels.shape[:2]))
    print_ = duplicates.fingerprint(pixels)
    measure = measuring.measure(pixels, planes, digest, print_.hex() if print_ else None, [*picture.notes, *flaws])
    return measure, [], look(entry, pixels, planes) if look is not None else None


def _read(file: _File) -> tuple[bytes, str, _File]:
    """The bytes of a file, their SHA-256, and the file as it then looked. Raises ReadError, TooLarge before anything is read."""
    # What is a file now may be a pipe by the time it is opened, and opening one waits for whoever writes into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        for _ in range(3):
            with os.fdopen(os.open(file.where, flags), "rb") as opened:
                before = os.fstat(opened.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise ReadError("not a file")
                if before.st_size > _LARGEST:
                    limit = f"an image of {images.MOST_PIXELS / 1e6:g} megapixels can need"
                    raise images.TooLarge(f"{before.st_size} bytes, more than {limit}")
                data = opened.read(before.st_size + 1)
                digest = hashlib.sha256(data).hexdigest()
                after = os.fstat(opened.fileno())
            if (before.st_size, before.st_mtime_ns, len(data)) == (after.st_size, after.st_mtime_ns, after.st_size):
                return data, digest, _File(file.path, file.where, after)
    except OSError as error:
        raise ReadError(f"it cannot be read ({error.strerror})") from None
    raise ReadError("it changes while it is read")


# ---------------------------------------------------------------- statistics


def called(root: Path, listing: Listing) -> tuple[str, str | None]:
    """The name of a data set, and whether its defects are real or forged where that was told. What threecad made is called as its
    pipeline says, else after the raw folder; so it has the same name wherever it lies. All else is called after its folder."""
    if listing.layout != "threecad":
        return title(root.resolve()), None
    manifest = read_manifest(root)
    card = manifest.pipeline.get("card")  # whatever somebody may have written there
    told = {key: value for key, value in card.items() if isinstance(value, str)} if isinstance(card, dict) else {}
    return told.get("name") or manifest.raw, told.get("defect_source")


def statistics(
    root: str | Path,
    request: Request | None = None,
    *,
    category: str | Sequence[str] | None = None,
    compare: Sequence[str | Path] = (),
    defect_source: str | None = None,
    workers: int | None = None,
    cache: Place = "default",
    progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> tuple[Statistics, ...]:
    """Everything that can be said about the data set at `root`, and then about each to `compare` it with.

    `request` and `category` are about the first alone; `defect_source` (Table 2) as well: whether its defects are real is in no
    file but the pipeline's. `note` is told in a line what went wrong with the cache. Otherwise as `profile`, and ReadError where
    the rows that threecad wrote beside its own data set cannot be read.
    """
    profiles = [profile(root, request, category=category, workers=workers, cache=cache)]
    profiles += [profile(other, workers=workers, cache=cache) for other in compare]
    total = sum(map(len, profiles))
    found: list[Statistics] = []
    before = Progress(0, total, 0.0, "")
    for each in profiles:
        found.append(summed(each, _telling(each, before, progress), defect_source if each is profiles[0] else None))
        before = Progress(before.done + each.done, total, before.megapixels + each.megapixels, "")
        if each.note is not None and note is not None:
            note(each.note)
    return tuple(found)


def _telling(whole: Profile, before: Progress, progress: Callable[[Progress], None] | None) -> Iterator[Profiled]:
    """A profile that is one of several, and tells how far all of them are."""
    for profiled in whole:
        yield profiled
        if progress is not None:
            done, megapixels = before.done + whole.done, before.megapixels + whole.megapixels
            progress(Progress(done, before.total, megapixels, profiled[0].id))


def summed(whole: Profile, images: Iterable[Profiled], defect_source: str | None = None) -> Statistics:
    """Everything that can be said about the data set of a profile, whose `images` are handed on by whoever goes through it."""
    name, real = called(whole.root, whole.listing)
    tally = Tally(name, whole.listing.layout, defect_source=defect_source or real)
    entries = whole.listing.entries
    contents = Gathered(entries)
    for entry, measure, findings in images:
        tally.add(entry, measure, findings)
        contents.add(entry, measure)
    if whole.listing.layout == "threecad":
        _photographs(whole.root, tally, {entry.category for entry in entries})
    splits = {entry.image: entry.split for entry in entries if entry.image is not None}
    same, crowds = leaks.compare(contents.digests, contents.fingerprints, splits, Splitting())
    shared = leaks.overlaps(entries, contents.sizes, contents.digests)
    return tally.finish(same, shared, [*whole.listing.findings, *crowds])


class Gathered:
    """What is kept of every image to compare it with all others: by path, its size, digest and fingerprint."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.sizes: dict[str, Size] = {}
        self.digests: dict[str, str] = {}
        self.fingerprints: dict[str, bytes] = {}

    def add(self, entry: Entry, measure: Measure | None) -> None:
        if entry.image is not None and measure is not None:
            self.sizes[entry.image] = measure.size
            self.digests[entry.image] = measure.digest
            if measure.fingerprint is not None:
                self.fingerprints[entry.image] = bytes.fromhex(measure.fingerprint)


_FAR = 1e9  # pixels: no photograph is as large, and no number beyond is worth computing with


class _Source(BaseModel):
    """A line of sources.jsonl, as much of it as counts here."""

    id: str
    category: str
    split: Split | None
    size: tuple[Annotated[int, Field(ge=1, le=_FAR)], Annotated[int, Field(ge=1, le=_FAR)]] | None
    good: bool


class _Region(BaseModel):
    """A line of regions.jsonl, as much of it as counts here; `geometry` is GeoJSON."""

    uid: str
    source: str
    category: str
    label: str
    pixels: Annotated[int, Field(ge=0, le=_FAR * _FAR)]
    ignore: bool
    geometry: dict[str, Any]


def _photographs(root: Path, tally: Tally, categories: Collection[str]) -> None:
    """Tell the photographs that the tiles were cut from, and what is drawn on them."""
    tiles: Counter[str] = Counter()
    for sample in read_samples(root / SAMPLES):
        if sample.split is not None:
            tiles.update(defect.uid for defect in sample.defects)
    sizes: dict[str, Size] = {}
    finder = _Finder(os.path.realpath(root))
    for _, source in _rows(finder.file("sources.jsonl", []), _Source):
        if source.category in categories and source.size is not None:
            sizes[source.id] = Size(*source.size)
            tally.photograph(Photograph(source.id, source.category, source.split, sizes[source.id], source.good))
    for where, region in _rows(finder.file("regions.jsonl", []), _Region):
        if region.source in sizes and not region.ignore:
            heat = measuring.heat_of(_polygons(region.geometry, where), sizes[region.source])
            drawn = Drawn(region.uid, region.source, region.category, region.label, region.pixels, heat, tiles[region.uid])
            tally.drawn(drawn)


_Row = TypeVar("_Row", bound=BaseModel)


def _rows(path: _File | None, model: type[_Row]) -> Iterator[tuple[str, _Row]]:
    """Where each row of a file stands, and the row; none where there is no file. ReadError names file and line."""
    if path is None:
        return
    try:
        with Path(path.where).open("rb") as file:
            for number in itertools.count(1):
                text = file.readline(_LONGEST_LINE)
                if not text:
                    return
                where = f"{path.where}, line {number}"
                if len(text) == _LONGEST_LINE:
                    raise ReadError(f"{where}: found more than {_LONGEST_LINE} bytes; expected a row that threecad wrote")
                try:
                    yield where, model.model_validate_json(text)
                except ValidationError as error:
                    flaw = error.errors(include_url=False)[0]
                    place = ".".join(map(str, flaw["loc"]))
                    raise ReadError(f"{where}: {place}: {flaw['msg']}" if place else f"{where}: {flaw['msg']}") from None
    except OSError as error:
        raise ReadError(f"{path.where}: {error.strerror}") from None


def _polygons(geometry: Mapping[str, Any], where: str) -> Polygon | MultiPolygon:
    """A geometry from its GeoJSON. ReadError where it is none, or no area."""
    try:
        shape = shapely.from_geojson(json.dumps(geometry))
    except shapely.errors.ShapelyError as error:
        raise ReadError(f"{where}: geometry: {error}") from None
    if not isinstance(shape, Polygon | MultiPolygon) or not (abs(shapely.get_coordinates(shape)) < _FAR).all():
        raise ReadError(f"{where}: geometry: found {shape.geom_type}; expected a Polygon or a MultiPolygon in pixels")
    return shape
