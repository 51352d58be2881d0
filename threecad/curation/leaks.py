"""What stands in two splits of a finished data set, and what to leave out so that nothing does.

Three things leak: the same picture twice (by its bytes, or nearly), two tiles of one photograph that share pixels, and, where the
data set tells the photographs, two tiles of one photograph at all. Nothing here opens a file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from threecad.curation.duplicates import alike, equal
from threecad.curation.statistics import Copies, Overlap
from threecad.domain import Code, Size, Split, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from threecad.domain import Entry, Finding
    from threecad.settings import Splitting

Keep = Literal["test", "train"]
"""The split that stays whole."""

MOST_PARTNERS = 32
"""Partners of a tile that are told, at least, in each other split; with less than that many all are. In a grid of tiles that
overlap by less than half a tile has 8 neighbours; thousands of random crops of one photograph would have millions of pairs."""

_PRECEDENCE: dict[Keep, tuple[Split, ...]] = {
    "test": (Split.TEST, Split.VALIDATION, Split.TRAIN),
    "train": (Split.TRAIN, Split.TEST, Split.VALIDATION),
}


def copies(
    digests: Mapping[str, str],
    fingerprints: Mapping[str, bytes],
    splits: Mapping[str, Split | str | None],
    settings: Splitting,
) -> list[Copies]:
    """The groups of equal and of nearly equal images; see `compare`, which also tells of crowds."""
    return compare(digests, fingerprints, splits, settings)[0]


def compare(
    digests: Mapping[str, str],
    fingerprints: Mapping[str, bytes],
    splits: Mapping[str, Split | str | None],
    settings: Splitting,
) -> tuple[list[Copies], list[Finding]]:
    """The groups of equal images, and of nearly equal ones, and a finding (CROWD) for each crowd of look-alikes that is no group.

    All maps are by path: the SHA-256 of the files, the fingerprints of those pictures that have one, and their splits, None or ""
    for none. Groups are sorted by their members, equal ones before nearly equal ones. A group of nearly equal images is one that
    `duplicates.alike` would bind, with all that is equal to one of its members; it has at least two different files.

    >>> from threecad.settings import Splitting
    >>> copies({"a.png": "90f2", "b.png": "90f2"}, {}, {"a.png": "train", "b.png": "test"}, Splitting())
    [Copies(exact=True, across=True, members=(('a.png', 'train'), ('b.png', 'test')))]
    """
    groups = [sorted(group) for group in equal(digests)]
    same = {name: group for group in groups for name in group}
    found = [_group(True, group, splits) for group in groups]
    crowds: list[Finding] = []
    if settings.near_duplicates:
        told: dict[str, str] = {}  # digest → the one of its images that stands for all
        for name in sorted(fingerprints):
            told.setdefault(digests.get(name, name), name)
        bound, findings = alike({}, {name: fingerprints[name] for name in told.values()}, settings)
        found += [_group(False, sorted({twin for name in group for twin in same.get(name, [name])}), splits) for group in bound]
        crowds = [finding for finding in findings if finding.code is Code.CROWD]
    return sorted(found, key=lambda group: (group.members, not group.exact)), crowds


def _group(exact: bool, names: Sequence[str], splits: Mapping[str, Split | str | None]) -> Copies:
    members = tuple((name, str(splits.get(name) or "")) for name in names)
    return Copies(exact, len({split for _, split in members} - {""}) > 1, members)


# Tiles of one photograph


class _Tile(NamedTuple):
    path: str
    split: Split
    window: Window


_THREECAD = re.compile(r"(?P<source>.+-[0-9a-f]{12})-(?P<top>\d{6}|x\d{10})-(?P<left>\d{6}|x\d{10})", re.ASCII)
_SAHI = re.compile(r"(?P<source>.+)_(\d{1,7})_(\d{1,7})_(\d{1,7})_(\d{1,7})", re.ASCII)


def overlaps(entries: Iterable[Entry], sizes: Mapping[str, Size], digests: Mapping[str, str] | None = None) -> list[Overlap]:
    """Pairs of tiles of one photograph, in different splits, whose windows share pixels; sorted by photograph and paths.

    `sizes` and `digests` are by path. Which photograph a tile shows, and where, is taken from the entry; where that does not tell
    it, from its name, if that is one of two kinds:

    - `<slug>-<hash>-<top>-<left>` as threecad names tiles: the hash is that of the photograph.
    - `<name>_<x0>_<y0>_<x1>_<y1>` as SAHI names them, where x1 - x0 and y1 - y0 are the image's size. Tiles of equal name and
      category show one photograph, unless somewhere in the category one window of one name occurs twice with different bytes:
      then names are numbers that begin anew in each folder, and tell nothing.

    Names such as `<name>_<row>_<column>` tell no window, and as often number something else: they are left alone. Of a tile that
    overlaps very many others MOST_PARTNERS in each other split are told, or more.
    """
    told: defaultdict[str, list[_Tile]] = defaultdict(list)
    named: defaultdict[str, list[_Tile]] = defaultdict(list)
    guessed: defaultdict[str, defaultdict[str, list[_Tile]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        if entry.image is None or entry.split is None:
            continue
        if entry.window is not None:
            told[entry.source].append(_Tile(entry.image, entry.split, entry.window))
        elif (size := sizes.get(entry.image)) is not None:
            stem = PurePosixPath(entry.image).stem
            if match := _THREECAD.fullmatch(stem):
                top, left = (int(match[name].lstrip("x")) for name in ("top", "left"))
                named[match["source"]].append(_Tile(entry.image, entry.split, Window(top, left, size)))
            elif (match := _SAHI.fullmatch(stem)) and (window := _window(match, size)):
                guessed[entry.category][f"{entry.category}/{match['source']}"].append(_Tile(entry.image, entry.split, window))
    for photographs in guessed.values():
        if not any(_restarts(tiles, digests or {}) for tiles in photographs.values()):
            named.update(photographs)
    return sorted(
        (overlap for tables in (told, named) for source, tiles in tables.items() for overlap in _shared(source, tiles)),
        key=lambda overlap: (overlap.source, overlap.first, overlap.second),
    )


def _window(match: re.Match[str], size: Size) -> Window | None:
    left, top, right, bottom = map(int, match.groups()[1:])
    return Window(top, left, size) if (right - left, bottom - top) == (size.width, size.height) else None


def _restarts(tiles: Iterable[_Tile], digests: Mapping[str, str]) -> bool:
    """Whether one window occurs with different bytes."""
    seen: dict[Window, str] = {}
    return any(seen.setdefault(tile.window, key) != key for tile in tiles for key in (digests.get(tile.path, tile.path),))


def _shared(source: str, tiles: Sequence[_Tile]) -> Iterator[Overlap]:
    """A line sweeps down the photograph; each tile is compared with those that the line still meets."""
    if len({tile.split for tile in tiles}) < 2:
        return
    tiles = sorted(tiles, key=lambda tile: (tile.window.top, tile.path, tile.split))
    order = list(Split)
    split = np.array([order.index(tile.split) for tile in tiles])
    top, left, bottom, right = np.array(
        [(w.top, w.left, w.top + w.size.height, w.left + w.size.width) for w in (tile.window for tile in tiles)], np.int64
    ).T
    partners = np.zeros((len(tiles), len(order)), np.int64)
    open_ = np.zeros(0, np.int64)
    for number, tile in enumerate(tiles):
        open_ = open_[bottom[open_] > top[number]]
        met = open_[(left[open_] < right[number]) & (right[open_] > left[number]) & (split[open_] != split[number])]
        scarce = partners[met, split[number]] < MOST_PARTNERS
        for other in order:  # whoever has few partners yet, and for this tile as many more as it may have
            spare = np.flatnonzero((split[met] == order.index(other)) & ~scarce)
            scarce[spare[: max(0, MOST_PARTNERS - int(partners[number, order.index(other)]))]] = True
        for partner in met[scarce].tolist():
            partners[number, split[partner]] += 1
            partners[partner, split[number]] += 1
            mate = tiles[partner]
            high = min(bottom[number], bottom[partner]) - top[number]
            wide = min(right[number], right[partner]) - max(left[number], left[partner])
            if mate.path != tile.path:  # a list may name one file in two splits: that is no pair
                one, two = sorted((tile, mate), key=lambda each: each.path)
                yield Overlap(source, one.path, two.path, int(high * wide), (one.split.value, two.split.value))
        open_ = np.append(open_, number)


# What to leave out


def to_drop(found: Iterable[Copies], shared: Iterable[Overlap], keep: Keep = "test", near: bool = True) -> list[tuple[str, str]]:
    """The images to leave out, by path, each with the reason: afterwards none of these copies and overlaps is in two splits.

    The split `keep` stays whole. With `test`, a training image goes for one of validation or test, and one of validation for one
    of test; with `train`, one of test or validation goes for one of train, and one of validation for one of test. So an image
    goes wherever it meets one that takes precedence, even one that itself goes. Copies within one split stay. `near=False` lets
    nearly equal images stay.

    >>> to_drop([Copies(True, True, (("a.png", "train"), ("b.png", "test"), ("c.png", "train")))], [])
    [('a.png', 'the same bytes as b.png (test)'), ('c.png', 'the same bytes as b.png (test)')]
    """
    rank = {split.value: number for number, split in enumerate(_PRECEDENCE[keep])}
    reasons: dict[str, str] = {}
    for group in sorted(found, key=lambda group: (not group.exact, group.members)):
        members = [(path, split) for path, split in group.members if split]
        if group.across and (group.exact or near):
            best, first = min(members, key=lambda member: (rank[member[1]], member[0]))
            words = "the same bytes as" if group.exact else "nearly the same as"
            reasons |= {
                path: f"{words} {best} ({first})" for path, split in members if rank[split] > rank[first] and path not in reasons
            }
    for each in sorted(shared, key=lambda overlap: (overlap.first, overlap.second, overlap.source)):
        pair = sorted(zip((each.first, each.second), each.splits, strict=True), key=lambda tile: rank[tile[1]])
        (kept, split), (path, _) = pair
        reasons.setdefault(path, f"shares {each.pixels} pixels of {each.source} with {kept} ({split})")
    return sorted(reasons.items())


@dataclass(frozen=True, slots=True)
class Contents:
    """What a data set holds, for `disjoint`: its entries and, by path, what their images measure."""

    entries: Sequence[Entry]
    sizes: Mapping[str, Size]
    digests: Mapping[str, str]
    fingerprints: Mapping[str, bytes]


def disjoint(contents: Contents, settings: Splitting, keep: Keep = "test", near: bool = True) -> list[tuple[str, str]]:
    """What to leave out so that a second look finds no copy, no shared pixel and no photograph in two splits.

    As `to_drop`, but looked at again and again: of seventeen look-alikes none is a copy, of the sixteen that are left all may be
    (`near_crowd`). Where the entries tell the photograph, all tiles of it stay in one split. A file that a list names in two
    splits is left: leaving it out would take it from both.
    """
    splits = _splits(contents.entries, keep)
    used = [entry for entry in contents.entries if entry.split is not None and splits.get(entry.image or "") is entry.split]
    prints = contents.fingerprints if near else {}
    dropped: dict[str, str] = {}
    while True:
        left = [entry for entry in used if entry.image not in dropped]
        there = {entry.image for entry in left}
        same = {path: digest for path, digest in contents.digests.items() if path in there}
        seen = {path: value for path, value in prints.items() if path in there}
        found = dict(_torn(left, keep))
        found |= to_drop(copies(same, seen, splits, settings), overlaps(left, contents.sizes, contents.digests), keep, near)
        if not found:
            return sorted(dropped.items())
        dropped |= found


def _splits(entries: Iterable[Entry], keep: Keep) -> dict[str, Split]:
    """The split of each path, of several that which takes precedence."""
    order = _PRECEDENCE[keep]
    splits: dict[str, Split] = {}
    for entry in entries:
        if entry.image is not None and entry.split is not None:
            splits[entry.image] = min(splits.get(entry.image, entry.split), entry.split, key=order.index)
    return splits


def _torn(entries: Iterable[Entry], keep: Keep) -> Iterator[tuple[str, str]]:
    """Tiles of photographs that stand in several splits, but for those of the split that takes precedence."""
    order = _PRECEDENCE[keep]
    photographs: defaultdict[str, list[tuple[str, Split]]] = defaultdict(list)
    for entry in entries:
        if entry.image is not None and entry.split is not None:
            photographs[entry.source].append((entry.image, entry.split))
    for source, tiles in photographs.items():
        first = min((split for _, split in tiles), key=order.index)
        yield from ((path, f"another tile of {source} is in {first}") for path, split in tiles if split is not first)
