"""What the names of folders tell of the images in them: category, split, and whether they are good or of which type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from threecad.domain import Split, State
from threecad.formats.layouts.files import GOOD_FOLDERS, PHOTO_FOLDERS, SPLITS

_FREE = GOOD_FOLDERS | {"free", "defect-free", "defect_free"}


@dataclass(frozen=True, slots=True)
class Place:
    """What a folder says of its images; `labels` are types."""

    category: str
    split: Split | None
    state: State | None
    labels: tuple[str, ...]


def places(folders: Iterable[str], title: str) -> dict[str, Place]:
    """Folder → what it tells; `title` is the category of what no folder names.

    Folders named like a split, and such as only say that images lie in them, are passed over. Where one of several folders side
    by side is called good, ok, normal or (defect-)free, whatever stands before that (`MT_Free`), all of them name states: the
    others are types, and what they all begin with is left out of the types' names. Any other first folder is a category, and
    nothing is known of the state.

    >>> told = places(["MT_Free/Imgs", "MT_Blowhole/Imgs"], "tiles")
    >>> [(place.category, str(place.state), place.labels) for place in told.values()]
    [('tiles', 'good', ()), ('tiles', 'defect', ('Blowhole',))]
    """
    paths = {folder: _telling(folder) for folder in folders}
    kinds: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in paths.values():
        for depth, name in enumerate(path):
            kinds[path[:depth]].add(name)
    shelves = {parent: _prefix(names) for parent, names in kinds.items() if any(map(_is_free, names))}
    return {folder: _place(folder, path, shelves, title) for folder, path in paths.items()}


def _telling(folder: str) -> tuple[str, ...]:
    parts = folder.split("/") if folder else []
    return tuple(part for part in parts if part.casefold() not in PHOTO_FOLDERS | SPLITS.keys())


def _is_free(name: str) -> bool:
    folded = name.casefold()
    return folded in _FREE or folded.replace("-", "_").rpartition("_")[2] in _FREE


def _prefix(names: set[str]) -> str:
    """What all names begin with, up to its last `_` or `-`; "" for a single name."""
    first, last = min(names), max(names)
    same = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), 0)
    return first[: max(first.rfind("_", 0, same), first.rfind("-", 0, same)) + 1]


def _place(folder: str, path: tuple[str, ...], shelves: dict[tuple[str, ...], str], title: str) -> Place:
    split = next((SPLITS[part] for part in folder.casefold().split("/") if part in SPLITS), None)
    depth = next((depth for depth in range(len(path)) if path[:depth] in shelves), None)
    if depth is None:
        return Place(path[0] if path else title, split, None, ())
    category = path[0] if depth else title
    if _is_free(path[depth]):
        return Place(category, split, State.GOOD, ())
    kind = path[depth].removeprefix(shelves[path[:depth]])
    return Place(category, split, State.DEFECT, tuple(sorted({part for part in kind.split("+") if part} or {kind})))
