"""What lists of images have in common: the paths in them are looked up among the files that were found, never on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from posixpath import splitext
from typing import Literal

from threecad.domain import Action, Code, Entry, Finding, MaskFile, Split, State
from threecad.formats.layouts.files import Tree, inside, joined, shown, without_mask

Find = Callable[[str], str | None]
"""A path as a list writes it → that of a file in the tree, or None."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a list says of one image at a `place` such as `a.csv, line 7`.

    `image` and `mask` (None for none) are paths as written, `types` those of `MaskFile`.
    """

    place: str
    image: str
    mask: str | None
    category: str
    split: Split | None
    good: bool
    labels: tuple[str, ...] = ()
    kind: Literal["binary", "index"] = "binary"
    types: tuple[tuple[int, str], ...] = ()


def entries_of(rows: Iterable[Row], find: Find) -> tuple[list[Entry], list[Finding]]:
    """The images that the rows name, as far as they are there.

    A second row of the same image counts only where it names another split: then the list leaks, and both stay.
    """
    entries: list[Entry] = []
    findings: list[Finding] = []
    first: dict[str, tuple[Split | None, bool, str]] = {}
    further: set[tuple[str, Split | None]] = set()
    for row in rows:
        path = find(row.image)
        if path is None:
            findings.append(lost(row.image, row.place))
            continue
        identity = path
        if path in first:
            split, good, before = first[path]
            if row.split is split or (path, row.split) in further:
                also = "" if row.good is good else ", and as good once and as defective once"
                detail = f"{row.place}: listed in {before} already{also}"
                findings.append(Finding(Code.EXACT_DUPLICATE, Action.KEPT, path, None, detail))
                continue
            further.add((path, row.split))
            detail = f"{split or 'no split'} in {before}, {row.split or 'no split'} in {row.place}"
            findings.append(Finding(Code.LEAK, Action.KEPT, path, None, detail))
            identity = f"{path} ({row.split or 'no split'})"
        else:
            first[path] = row.split, row.good, row.place
        mask = find(row.mask) if row.mask else None
        if row.mask and mask is None:
            findings.append(
                without_mask(path, f"{row.place} names {row.mask[:200]!r}: {_LEAVES if inside(row.mask) is None else _NOT_THERE}")
            )
        elif not row.mask and not row.good:
            findings.append(without_mask(path, f"{row.place} names no mask"))
        masks = (MaskFile(mask, row.kind, row.types),) if mask is not None else ()
        state = State.GOOD if row.good else State.DEFECT
        entries.append(Entry(identity, row.category, row.split, state, row.labels, path, masks, path))
    return entries, findings


def lost(text: str, where: str) -> Finding:
    """What a list names and nobody can find."""
    path = inside(text)
    if path is None:
        return Finding(Code.PATH_OUTSIDE, Action.DROPPED, shown(text), None, f"{where}: {_LEAVES}")
    return Finding(Code.LISTED_MISSING, Action.DROPPED, shown(path), None, f"{where}: {_NOT_THERE}")


_LEAVES = "a path that leaves the data set"
_NOT_THERE = "there is no such file"


def not_listed(tree: Tree, table: str, entries: Sequence[Entry], folders: Iterable[str]) -> Iterator[Finding]:
    """The images in these folders, of a suffix that images of the list have, that no entry names as its image or mask."""
    images = {entry.image for entry in entries if entry.image is not None}
    named = images | {mask.path for entry in entries for mask in entry.masks}
    suffixes = {splitext(path)[1].lower() for path in images}
    for folder in folders:
        for _, name in tree.images(folder):
            path = joined(folder, name)
            if path not in named and splitext(name)[1].lower() in suffixes:
                yield Finding(Code.NOT_LISTED, Action.DROPPED, path, None, f"not named by {table}")
