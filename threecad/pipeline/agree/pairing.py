"""Which image of an annotator's folder is which of the reference's, told by path or name."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from posixpath import splitext

from threecad.domain import MEANING, Code, Source
from threecad.errors import LayoutError
from threecad.formats import raw
from threecad.pipeline.agree.result import ANNOTATOR, BOTH, REFERENCE, LeftOut
from threecad.settings import Reading

_NO_SOURCE = (Code.UNANNOTATED, Code.FLAG_WITHOUT_SHAPE, Code.ANNOTATION_UNREADABLE)


@dataclass(frozen=True, slots=True)
class _Item:
    """An image or annotation of one folder: a source, or something that is none, with the reason."""

    id: str
    paths: tuple[str, ...]
    source: Source | None
    reason: str = ""


def same_images(
    annotator: str, reference: str, theirs: raw.Found, ours: raw.Found, settings: Reading
) -> tuple[list[tuple[str, Source]], list[LeftOut]]:
    """(id in the reference, the annotator's source) of each image that both have, and what cannot be compared.

    Under `unannotated = "good"` an image for which an annotator has no file at all is one that the annotator calls good.
    """
    left, right = _items(theirs), _items(ours)
    same = _paired([item.paths for item in left], [item.paths for item in right])
    if not same:
        raise LayoutError(
            f"{annotator}: expected annotations of the images in {reference}, found none of the same relative path or name"
        )
    pairs: list[tuple[str, Source]] = []
    alone: list[LeftOut] = []
    nobody = MEANING[Code.UNANNOTATED]
    for number, item in enumerate(left):
        if number in same:
            other = right[same[number]]
            if item.source is not None and other.source is not None:
                pairs.append((item.id, other.source))
            elif item.reason != nobody or other.reason != nobody:  # else neither side has begun with it
                who = REFERENCE if item.source is None else ANNOTATOR
                alone.append(LeftOut(annotator, item.id, BOTH, f"{who}: {item.reason or other.reason}"))
        elif item.source is not None and settings.unannotated == "good":
            pairs.append((item.id, Source(item.id, item.source.category, None, None, good=True)))
        elif item.source is not None:
            alone.append(LeftOut(annotator, item.id, REFERENCE, "the annotator has no file of this path or name"))
    known = {_tail(path, 1) for item in left for path in item.paths}
    for number, item in enumerate(right):
        if number not in same.values() and item.source is not None:
            several = any(_tail(path, 1) in known for path in item.paths)
            reason = "not only one image has this name" if several else "the reference has no file of this path or name"
            alone.append(LeftOut(annotator, item.id, ANNOTATOR, reason))
    return pairs, alone


def _items(found: raw.Found) -> list[_Item]:
    ids = {source.id for source in found.sources}
    items = [
        _Item(source.id, tuple(dict.fromkeys(filter(None, (source.image, source.annotation)))), source)
        for source in found.sources
    ]
    lost = {each.source: MEANING[each.code] for each in found.findings if each.code in _NO_SOURCE and each.source not in ids}
    return items + [_Item(path, (path,), None, reason) for path, reason in sorted(lost.items())]


def _paired(left: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> dict[int, int]:
    """Number on the left → number on the right of what has the same path, else the same path without suffix, else as many
    folders above the same name as make both the only ones; what is not the only one of its name stays alone.

    >>> _paired([["data/a.jpg", "label/a.json"], ["x/b.jpg"], ["y/b.jpg"]], [["a.json"], ["b.json"], ["new/y/b.json"]])
    {0: 0, 2: 2}
    """
    depth = max((path.count("/") + 1 for paths in (*left, *right) for path in paths), default=0)
    keys: list[Callable[[str], str | None]] = [_normal, lambda path: _normal(splitext(path)[0])]
    keys += [partial(_tail, count=count) for count in range(depth, 0, -1)]
    same: dict[int, int] = {}
    taken: set[int] = set()
    for key in keys:
        ours = _index(right, key)
        for name, numbers in _index(left, key).items():
            match = ours.get(name, set())
            if len(numbers) == len(match) == 1:
                (one,), (other,) = numbers, match
                if one not in same and other not in taken:
                    same[one] = other
                    taken.add(other)
    return dict(sorted(same.items()))


def _index(items: Sequence[Sequence[str]], key: Callable[[str], str | None]) -> dict[str, set[int]]:
    index: defaultdict[str, set[int]] = defaultdict(set)
    for number, paths in enumerate(items):
        for path in paths:
            name = key(path)
            if name is not None:
                index[name].add(number)
    return index


def _tail(path: str, count: int) -> str | None:
    """The name without suffix and the `count` - 1 folders above it; None where there are not so many."""
    parts = splitext(path)[0].split("/")
    return _normal("/".join(parts[-count:])) if len(parts) >= count else None


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path)
