"""Which sample goes into which shard, settled before a byte is written: so shards can be written in any order, by any number of
workers, and an interrupted export knows what is missing.

A million samples must fit, so what is kept of each is a light row of 41 bytes: where its line and its digests are in the data
set's lists, how much it takes up in a shard, and the hash that orders it. Names and labels are read again when it is written.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from threecad.domain import Split
from threecad.errors import LayoutError, ReadError
from threecad.formats.dataset import MANIFEST, SAMPLES, SUMS, Manifest
from threecad.formats.layouts.files import inside, listed
from threecad.formats.regular import open_regular

ROLES = ("image", "mask", "types", "ignore")
"""The files that a sample may have; an image it always has."""
MOST_BYTES = 1 << 30
"""A tile's file that is larger was not written by a conversion; Parquet's columns hold twice as much."""
_MOST_LINE = 64 << 20
_MOST_ID = 200
_TELL_EVERY = 1_000  # samples, some hundredths of a second
_SPLITS = tuple(Split)
_AGAIN = "run the same threecad convert again"
_LIGHT = np.dtype(
    [("order", "<u8"), ("line", "<u8"), ("length", "<u4"), ("sums", "<u8"), ("span", "<u4"), ("size", "<u8"), ("split", "u1")]
)
Light: TypeAlias = NDArray[Any]
"""Rows of `_LIGHT`."""
Weigh: TypeAlias = Callable[[str, Mapping[str, int], int], int]
"""Bytes in a shard of a sample with this id, with files of these sizes by role and a line of this length."""


@dataclass(frozen=True, slots=True)
class Row:
    """What of a line of samples.jsonl shards are made from; the fields are those of `Sample`."""

    id: str
    category: str
    split: Split | None
    image: str | None
    mask: str | None
    types: str | None
    ignore: str | None

    def paths(self) -> dict[str, str]:
        """Role → path, in the order of `ROLES`, of the files that there are."""
        return {role: path for role in ROLES if (path := getattr(self, role)) is not None}


@cache
def _rows() -> TypeAdapter[Row]:
    return TypeAdapter(Row)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which samples are wanted, in which order, and how large a shard may be. None means all; a `seed` of None means the order
    of the data set."""

    splits: tuple[Split, ...] | None
    categories: tuple[str, ...] | None
    seed: int | None
    shard_bytes: int
    samples: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes into one shard: `rows` are light rows in their order, `number` counts the shards of the split, of which there
    are `count`."""

    split: Split
    number: int
    count: int
    rows: Light


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards of an export, and the categories that are in them."""

    batches: tuple[Batch, ...]
    categories: tuple[str, ...]


def plan(root: Path, manifest: Manifest, wanted: Wanted, weigh: Weigh, tell: Callable[[int], None] | None = None) -> Plan:
    """The shards of the data set at `root`; `tell` hears now and then how many samples were read.

    LayoutError where no sample is wanted; ReadError where the lists are not those of the manifest, name two samples alike, or
    name a file that is not there or leads elsewhere.
    """
    known = sorted(manifest.categories)
    for category in wanted.categories or ():
        if category not in manifest.categories:
            raise LayoutError(f"{root}: no category {category!r}; found {', '.join(known) or 'none'}")
    light, categories = _light(root, manifest, wanted, weigh, tell)
    if not len(light):
        raise _nothing(root, manifest, wanted)
    for category in categories:
        if category not in manifest.categories:
            raise ReadError(f"{root / SAMPLES}: found category {category!r}, which {MANIFEST} does not have")
    _refuse_twins(root, light)
    batches: list[Batch] = []
    for number, split in enumerate(_SPLITS):
        rows = light[light["split"] == number]
        if wanted.seed is not None:
            rows = rows[np.argsort(rows["order"], kind="stable")]
        parts = list(cuts(rows["size"].tolist(), wanted.shard_bytes, wanted.samples))
        batches += [Batch(split, part, len(parts), rows[start:end]) for part, (start, end) in enumerate(parts)]
    return Plan(tuple(batches), categories)


def cuts(sizes: list[int], most_bytes: int, most_samples: int | None) -> Iterator[tuple[int, int]]:
    """Where each shard begins and ends: it is full when the next sample would exceed either limit, but holds one at least.

    >>> list(cuts([40, 40, 40, 200, 10], 100, None)), list(cuts([1, 1, 1], 100, 2))
    ([(0, 2), (2, 3), (3, 4), (4, 5)], [(0, 2), (2, 3)])
    """
    start, held = 0, 0
    for number, size in enumerate(sizes):
        if number > start and (held + size > most_bytes or number - start == most_samples):
            yield start, number
            start, held = number, 0
        held += size
    if start < len(sizes):
        yield start, len(sizes)


def order_of(id_: str, seed: int | None) -> int:
    """The place of a sample in a shuffle: a hash of the seed and its id, so that it is the same whatever else there is."""
    text = f"{0 if seed is None else seed}\n{id_}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


# ---------------------------------------------------------------- the light rows


def _light(
    root: Path, manifest: Manifest, wanted: Wanted, weigh: Weigh, tell: Callable[[int], None] | None
) -> tuple[Light, tuple[str, ...]]:
    """The light rows of all wanted samples in the data set's order, and their categories, sorted."""
    files = _Files(root)
    chunks: list[Light] = []
    rows: list[tuple[int, ...]] = []
    categories: set[str] = set()
    with _List(root, SAMPLES) as samples, _List(root, SUMS) as sums:
        for done, (offset, line) in enumerate(samples, 1):
            if tell is not None and done % _TELL_EVERY == 0:
                tell(done)
            row = parsed(line, f"{root / SAMPLES}, byte {offset}")
            if not _is_wanted(row, wanted):
                continue
            paths = row.paths()
            sizes = files.sizes(paths)
            begin, span = sums.find(paths.values())
            size = weigh(row.id, sizes, len(line) - 1)
            rows.append(
                (order_of(row.id, wanted.seed), offset, len(line), begin, span, size, _SPLITS.index(Split(row.split or "")))
            )
            categories.add(row.category)
            if len(rows) == 10_000:
                chunks.append(np.array(rows, _LIGHT))
                rows.clear()
        for each in (samples, sums):
            each.refuse_change(manifest.digests)
    files.refuse_missing()
    return np.concatenate([*chunks, np.array(rows, _LIGHT)]), tuple(sorted(categories))


def _is_wanted(row: Row, wanted: Wanted) -> bool:
    if row.image is None or row.split is None:
        return False
    return (wanted.splits is None or row.split in wanted.splits) and (
        wanted.categories is None or row.category in wanted.categories
    )


def parsed(line: bytes, place: str) -> Row:
    """A line of samples.jsonl. ReadError names the place of one that is none."""
    try:
        row = _rows().validate_json(line)
    except ValidationError as error:
        flaw = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in flaw["loc"])
        raise ReadError(f"{place}: {where}: {flaw['msg']}" if where else f"{place}: {flaw['msg']}") from None
    if not 0 < len(row.id.encode()) <= _MOST_ID:
        raise ReadError(f"{place}: found an id of {len(row.id.encode()):,} bytes; expected 1 to {_MOST_ID}")
    return row


def _nothing(root: Path, manifest: Manifest, wanted: Wanted) -> LayoutError:
    chosen = [name for name in manifest.categories if wanted.categories is None or name in wanted.categories]
    found = sorted({split for name in chosen for split in manifest.categories[name].tiles if split in list(Split)})
    if wanted.splits is not None and found:
        return LayoutError(f"{root}: no image of split {', '.join(wanted.splits)}; found {', '.join(found)}")
    return LayoutError(f"{root}: no image that a split uses; findings.jsonl says why")


def _refuse_twins(root: Path, light: Light) -> None:
    """ReadError where two samples have one id: a reader of the shards would take them for one."""
    by_order = np.argsort(light["order"], kind="stable")
    orders = light["order"][by_order]
    for place in np.flatnonzero(orders[1:] == orders[:-1]):
        pair = [light[by_order[place + step]] for step in (0, 1)]
        with (root / SAMPLES).open("rb") as file:
            ids = [parsed(_slice(file, int(row["line"]), int(row["length"])), str(root / SAMPLES)).id for row in pair]
        if ids[0] == ids[1]:
            raise ReadError(f"{root / SAMPLES}: found two samples {ids[0]!r}; expected each id once")


def _slice(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


class _List:
    """One of the data set's lists, read line by line while its digest is taken."""

    def __init__(self, root: Path, name: str) -> None:
        self.path, self.name = root / name, name
        self._hash = hashlib.sha256()
        self._offset = 0

    def __enter__(self) -> _List:
        try:
            self._file = open_regular(self.path)
        except OSError as error:
            raise ReadError(f"{self.path}: {error.strerror}; {_AGAIN}") from None
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Offset and line, its end included."""
        while line := self._next():
            yield self._offset - len(line), line

    def _next(self) -> bytes:
        try:
            line = self._file.readline(_MOST_LINE)
        except OSError as error:
            raise ReadError(f"{self.path}: {error.strerror}") from None
        if len(line) == _MOST_LINE:
            raise ReadError(f"{self.path}: found a line of {_MOST_LINE >> 20} MB; expected one of a few kilobytes")
        self._hash.update(line)
        self._offset += len(line)
        return line

    def find(self, paths: Collection[str]) -> tuple[int, int]:
        """Where in a list of digests these files are told, and how long that is; the lists are in step."""
        left, start = {path.encode() for path in paths}, -1
        while left:
            line = self._next()
            if not line:
                missing = sorted(path.decode() for path in left)
                raise ReadError(f"{self.path}: does not name {listed(missing)} in the order of {SAMPLES}; {_AGAIN}")
            if (path := line[66:].rstrip(b"\n")) in left:
                left.discard(path)
                start = self._offset - len(line) if start < 0 else start
        return start, self._offset - start

    def refuse_change(self, digests: Mapping[str, str]) -> None:
        """ReadError where the list, read to its end, is not the one of the manifest."""
        while self._next():
            pass
        if self._hash.hexdigest() != digests.get(self.name):
            raise ReadError(f"{self.path}: changed since the data set was finished (its SHA-256 is another); {_AGAIN}")


@dataclass(slots=True)
class _Files:
    """The sizes of files, by paths that anybody may have written."""

    root: Path
    _base: str = field(init=False)
    _folders: dict[str, str | None] = field(default_factory=dict)
    _missing: list[str] = field(default_factory=list)
    _lost: int = 0

    def __post_init__(self) -> None:
        self._base = os.path.realpath(self.root)

    def sizes(self, paths: Mapping[str, str]) -> dict[str, int]:
        """Role → bytes; 0 for a file that is not there, see `refuse_missing`."""
        return {role: self._size(path) for role, path in paths.items()}

    def refuse_missing(self) -> None:
        """ReadError where any file was not there: a shard that is silently shorter is worse than none."""
        if self._lost:
            more = f" (and {self._lost - 1:,} more)" if self._lost > 1 else ""
            raise ReadError(f"{self.root / self._missing[0]}: named by {SAMPLES}, but not there{more}; {_AGAIN}")

    def _size(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        place = self._folder(folder) if inside(path) == path else None
        if place is None:
            raise ReadError(f"{self.root / path}: leads out of the data set")
        try:
            found = os.lstat(f"{place}/{name}")
            if stat.S_ISLNK(found.st_mode):
                if not self._holds(os.path.realpath(f"{place}/{name}")):
                    raise ReadError(f"{self.root / path}: a link that leads out of the data set")
                found = os.stat(f"{place}/{name}")  # noqa: PTH116  as lstat above
        except FileNotFoundError:
            self._lost += 1
            self._missing = self._missing or [path]
            return 0
        except OSError as error:
            raise ReadError(f"{self.root / path}: cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(found.st_mode):
            raise ReadError(f"{self.root / path}: expected a file, found a folder, a device or a pipe")
        if found.st_size > MOST_BYTES:
            raise ReadError(f"{self.root / path}: found {found.st_size / 1e6:,.0f} MB; expected a tile of at most 1,074")
        return found.st_size

    def _folder(self, folder: str) -> str | None:
        """Where a folder really is, None outside the data set; a million tiles lie in a few folders."""
        if folder not in self._folders:
            real = os.path.realpath(f"{self._base}/{folder}")
            self._folders[folder] = real if self._holds(real) else None
        return self._folders[folder]

    def _holds(self, real: str) -> bool:
        return os.path.commonpath([self._base, real]) == self._base
