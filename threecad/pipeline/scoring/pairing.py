"""Which file belongs to which image: by paths alone, one habit of naming for all, and never by a guess.

Detectors write their maps in the tree of the data set, in folders of the types, or all into one folder; they call a map like its
image, or put a word behind. Every such way is tried on all images at once, the most exact first, and the first in which each
image has a file of its own is taken. So an image whose map is missing is told: no file that another way of naming would find
for it is taken instead.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from posixpath import splitext

from threecad.errors import LayoutError
from threecad.formats.layouts.files import GOOD_FOLDERS, PHOTO_FOLDERS, SPLITS, SUFFIXES, shown

_WORDS = ("_map", "_anomaly_map", "_heatmap", "_heat_map", "_score_map", "_score", "_scores", "_pred")
"""What detectors put behind the name of an image."""
MASK_WORDS = ("_mask",)
"""What annotators put behind it."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Named:
    """What a file may be called after: a path, POSIX and relative, and what the data set says of the image besides."""

    path: str
    category: str = ""
    type: str = ""


def pair(
    named: Sequence[Named],
    files: Sequence[str],
    *,
    where: str,
    what: str,
    words: tuple[str, ...] = (),
    known: Iterable[str] = (),
    told: Sequence[str] | None = None,
) -> list[int]:
    """The number of each one's file, in order; no file is given twice, and some may be left over.

    `words` may stand behind the names of `named`, as `_mask` does. `known` are names of folders that tell images apart: a file in
    such a folder is never of an image that is not. Suffixes are passed over but for one: where an image's suffix stands before
    the file's, as in `0.png.npy`, it is the image's own. Only where there are `words`, so that `named` are masks, may it be
    another one. `where` and `what` (such as `map`) are for messages, and so is `told`, the files as these call them.

    LayoutError names the first that have no file, or several, and says how many they are.

    >>> images = [Named("part/test/dent/0.png", "part", "dent"), Named("part/test/good/0.png", "part", "good")]
    >>> pair(images, ["dent/0.npy", "good/0.npy", "good/1.npy"], where="maps", what="map")
    [0, 1]
    """
    barred = {name.casefold() for name in known} | GOOD_FOLDERS | set(SPLITS)
    best: _Try | None = None
    habits = _distinct([habit(file) for file in files] for habit in _habits(photographs=not words))
    full = [_full(file) for file in files] if any(_is_full(file) for file in files) else None
    suffixes = [splitext(each.path)[1].lower() for each in named]
    for spelling in _distinct(chain.from_iterable(_columns(named, word) for word in ("", *words))):
        ways = [(spelling, names) for names in habits]
        if full is not None:
            whole = [(*parts[:-1], parts[-1] + suffix) for parts, suffix in zip(spelling, suffixes, strict=True)]
            ways[:0] = [(whole, full), (_where_alike(spelling, whole), full)]
        for spelled, names in ways:
            found = _match(named, spelled, names, barred)
            if not found.missing and not found.several:
                return [found.pairs[number] for number in range(len(named))]
            if best is None or (len(found.pairs), len(found.several)) > (len(best.pairs), len(best.several)):
                best = found
    assert best is not None  # there is always a first way
    raise LayoutError(_told(best, named, told or files, where, what))


def refuse_doubles(files: Sequence[str], paired: Collection[int], *, where: str) -> None:
    """LayoutError where a map that is of no mask is called like another one but for its suffix, or for a word that detectors put
    behind a name: where maps without a mask are those of good images, a picture of a map would pass for one.

    >>> refuse_doubles(["a.npy", "b.npy", "b_map.npy"], {1, 2}, where="maps")
    """
    alike: defaultdict[_Parts, list[int]] = defaultdict(list)
    for number, file in enumerate(files):
        alike[_bare(file)].append(number)
    for numbers in alike.values():
        if len(numbers) > 1 and not set(numbers).issubset(paired):
            first = ", ".join(shown(files[number]) for number in numbers[:_SHOWN])
            raise LayoutError(
                f"{where}: found {first}{_more(numbers)}, which seem to be of one image; expected one map an image "
                "(--suffix passes over files of other kinds, an empty mask says that an image of that name is good)"
            )


def _distinct(ways: Iterable[list[_Parts]]) -> list[list[_Parts]]:
    """Each once, in order."""
    return list({tuple(way): way for way in ways}.values())


def _columns(named: Sequence[Named], word: str) -> Iterator[list[_Parts]]:
    """For each spelling, the names of all."""
    return map(list, zip(*(_spellings(each, word) for each in named), strict=True))


@dataclass(slots=True)
class _Try:
    """What one way of naming finds: image → file, the images without one, and those of which several files may be."""

    pairs: dict[int, int] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    several: dict[int, list[int]] = field(default_factory=dict)


def _match(named: Sequence[Named], spelling: Sequence[_Parts], names: Sequence[_Parts], barred: Collection[str]) -> _Try:
    lengths = {len(parts) for parts in spelling}
    tails: defaultdict[_Parts, list[int]] = defaultdict(list)
    for number, parts in enumerate(names):
        for length in lengths:
            if 0 < length <= len(parts):
                tails[parts[-length:]].append(number)
    found = _Try()
    owner: dict[int, int] = {}
    for number, (each, parts) in enumerate(zip(named, spelling, strict=True)):
        own = _folders(each)
        hits = [hit for hit in tails.get(parts, ()) if not _elsewhere(names[hit][: -len(parts)], own, barred)]
        if not hits:
            found.missing.append(number)
        elif len(hits) > 1:
            found.several[number] = hits
        elif hits[0] in owner:  # two images of one name
            found.several[number] = hits
            first = owner[hits[0]]
            if first in found.pairs:
                found.several[first] = [found.pairs.pop(first)]
        else:
            owner[hits[0]] = number
            found.pairs[number] = hits[0]
    return found


def _elsewhere(folders: _Parts, own: Collection[str], barred: Collection[str]) -> bool:
    """Whether one of the folders tells that the file is of another image."""
    return any(folder.casefold() in barred and folder.casefold() not in own for folder in folders)


def _folders(each: Named) -> set[str]:
    return {name.casefold() for name in (*each.path.split("/")[:-1], each.category, each.type)}


_Parts = tuple[str, ...]


def _spellings(each: Named, word: str) -> list[_Parts]:
    """What a file may be called after the image, the most exact first; as many for every image, the shortest repeated."""
    parts = _parts(splitext(each.path)[0].removesuffix(word))
    stem = parts[-1:]
    without = tuple(name for name in parts[:-1] if name.casefold() not in PHOTO_FOLDERS) + stem
    tails = [parts[-length:] for length in range(len(parts) - 1, 1, -1)]
    typed = [(*_parts(each.category), *_parts(each.type), *stem)] if each.category and each.type else [parts]
    flat = [(*_parts(each.category), *stem)] if each.category else [parts]
    return [parts, without, *typed, *(tails[at] if at < len(tails) else stem for at in range(_DEEPEST)), *flat, stem]


_DEEPEST = 6
"""Folders above a name that are tried one by one."""


def _habits(*, photographs: bool) -> Iterator[Callable[[str], _Parts]]:
    yield _plain
    if not photographs:  # a mask does not tell the suffix of its photograph
        yield lambda file: _parts(_without(splitext(file)[0]))
    for word in _WORDS:
        yield lambda file, word=word: _parts(splitext(file)[0].removesuffix(word))  # type: ignore[misc]


def _plain(file: str) -> _Parts:
    return _parts(splitext(file)[0])


def _bare(file: str) -> _Parts:
    """The name without its suffix and any word behind."""
    stem = splitext(file)[0]
    return _parts(stem.removesuffix(max((word for word in _WORDS if stem.endswith(word)), key=len, default="")))


def _is_full(file: str) -> bool:
    return splitext(splitext(file)[0])[1].lower() in SUFFIXES


def _where_alike(plain: Sequence[_Parts], whole: Sequence[_Parts]) -> list[_Parts]:
    """The names with their suffixes where they are alike without, as `threecad predict` calls its maps: only for those it is told
    which one is meant."""
    alike = Counter(_folded(parts) for parts in plain)
    return [longer if alike[_folded(parts)] > 1 else parts for parts, longer in zip(plain, whole, strict=True)]


def _folded(parts: _Parts) -> _Parts:
    return tuple(part.casefold() for part in parts)


def _full(file: str) -> _Parts:
    """The name with an image's own suffix: `0.png.npy` is the map of `0.png`, and not of `0.jpg`."""
    stem, suffix = splitext(splitext(file)[0])
    return _parts(stem + (suffix.lower() if suffix.lower() in SUFFIXES else suffix))


def _without(name: str) -> str:
    """The name without an image's suffix: `0.jpg.npy` is the map of the photograph whose mask is `0.png`."""
    stem, suffix = splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def _parts(path: str) -> _Parts:
    return tuple(unicodedata.normalize("NFC", path).split("/"))


def _told(found: _Try, named: Sequence[Named], files: Sequence[str], where: str, what: str) -> str:
    faults = []
    if found.missing:
        first = ", ".join(shown(named[number].path) for number in found.missing[:_SHOWN])
        faults.append(f"no {what} for {len(found.missing)} of {len(named)} ({first}{_more(found.missing)})")
    if found.several:
        number, hits = next(iter(found.several.items()))
        told = ", ".join(shown(files[hit]) for hit in hits[:_SHOWN])
        named_so = f"{shown(named[number].path)}: {told}{_more(hits)}"
        faults.append(f"for {len(found.several)} of {len(named)} no {what} that is of it alone ({named_so})")
    return (
        f"{where}: found {' and '.join(faults)}; expected one {what} each, called by the path, by folder and name, or by the name"
    )


def _more(numbers: Sequence[int]) -> str:
    return ", …" if len(numbers) > _SHOWN else ""
