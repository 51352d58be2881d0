"""What is known of each image: good or defective, and which pixels. A data set of any layout tells it, or a folder of masks.

The label comes from the data set, and only where that leaves it to the mask from the mask as it is stored: a defective image
whose mask is empty stays defective, and so does one whose defect would vanish in a smaller mask.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from threecad.domain import Action, Code, Entry, Finding, MaskFile, Size, Split, State
from threecad.errors import LayoutError, ReadError
from threecad.formats import folders, images, layouts, masks
from threecad.formats.folders import Row
from threecad.formats.layouts import Listing, Request, folder
from threecad.formats.layouts.files import SUFFIXES, contents, joined, listed, shown, walk
from threecad.formats.maps import MOST_PIXELS
from threecad.pipeline.convert import title
from threecad.pipeline.scoring.pairing import Named

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

MASKS = "masks"
"""What a folder of masks alone is called where a data set has its layout."""
ALL = "all"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Image:
    """One image to be scored. `entry` names its masks; its `state` is None where the mask decides, and it has no masks where it
    is good, or where nobody drew what is defective in it."""

    entry: Entry
    type: str

    @property
    def path(self) -> str:
        return self.entry.image or self.entry.id

    @property
    def named(self) -> Named:
        return Named(self.path, self.entry.category, self.type)


@dataclass(frozen=True, slots=True)
class Truth:
    """The images of a data set that are scored, sorted; where `layout` is MASKS, those that have a mask.

    `split` is None where the data set has none, or all are scored. `known` are the folders and categories of all its images,
    scored or not. `title` is its own folder's name. `dropped` files with which something is wrong were left out.
    """

    root: Path
    layout: str
    split: str | None
    images: tuple[Image, ...]
    known: frozenset[str]
    title: str
    dropped: int

    @property
    def plain(self) -> bool:
        """Whether it is a folder of masks: any map without a mask is then that of a good image."""
        return self.layout == MASKS

    def read(self, image: Image) -> tuple[Mask | None, bool]:
        """(height, width) of the defective pixels, and whether the image is defective. None where it is, but has no mask.

        ReadError where a file cannot be read, has another size than its image, or leads out of the data set.
        """
        entry = image.entry
        size = self.size(image)
        if entry.state is State.GOOD:
            return np.zeros((size.height, size.width), np.bool_), False
        if not entry.masks:
            return None, True
        paths = [self._within(mask.path) for mask in entry.masks]
        planes, flaws = masks.planes([_bytes(path) for path in paths], entry, size)
        for code, detail in flaws:
            if code in (Code.MASK_OTHER_SIZE, Code.MASK_UNREADABLE):
                raise ReadError(f"{paths[0].parent if len(paths) > 1 else paths[0]}: {detail}")
        mask = masks.union(planes, size)
        return mask, bool(mask.any()) if entry.state is None else True

    def size(self, image: Image) -> Size:
        """Height and width of an image (of its mask, in a folder of masks), from the header alone."""
        path = self._within(image.path)
        size = images.size_of(path, str(path))
        if size.area > MOST_PIXELS:
            found = f"{size.height} × {size.width} pixels (height × width)"
            raise ReadError(f"{path}: {found}; images of at most {MOST_PIXELS / 1e6:g} million are scored")
        return size

    def _within(self, path: str) -> Path:
        base = os.path.realpath(self.root)
        if os.path.commonpath([base, os.path.realpath(self.root / path)]) != base:
            raise ReadError(f"{self.root / path}: leads out of the data set")
        return self.root / path


def read_truth(
    root: Path,
    request: Request | None = None,
    *,
    plain: bool = False,
    split: str | None = None,
    categories: Sequence[str] = (),
) -> Truth:
    """The images at `root`, and what is known of them.

    A folder that no layout recognises as images with masks is one of masks, and so is any where `plain`. Without `split` the
    test images are meant where there are splits; `all` means all. LayoutError where there is no such split or category, where no
    layout fits, or where nobody tells whether an image is good.
    """
    found = None if plain else layouts.read(root, request)
    if found is None or (found.layout == folder.NAME and request is None):
        return _of_masks(root, split, categories)
    rows = folders.rows_of(found)
    rows = _of_categories(root, rows, categories)
    chosen = _chosen(root, rows, split)
    rows = [row for row in rows if chosen is None or row.split == chosen]
    unknown = [row.image for row in rows if row.defective is None and not row.mask]
    if unknown:
        first = ", ".join(map(shown, unknown[:_SHOWN]))
        raise LayoutError(
            f"{root}: nobody tells of {len(unknown)} of {len(rows)} images whether they are good ({first}); "
            "expected folders that say so, or masks"
        )
    scored = tuple(Image(row.entry, row.type) for row in rows)
    return Truth(root, found.layout, chosen, scored, _known(found), title(root), _dropped(found.findings))


def _of_masks(root: Path, split: str | None, categories: Sequence[str]) -> Truth:
    if split is not None or categories:
        raise LayoutError(f"{root}: found a folder of masks, which has neither splits nor categories; expected a data set")
    tree = walk(root)
    paths = [joined(name, file) for name in tree.folders for _, file in tree.images(name)]
    if not paths:
        raise LayoutError(f"{root}: found {contents(root)}; expected masks ({listed(SUFFIXES)})")
    name = title(root)
    entries = (Entry(path, name, None, None, (), path, (MaskFile(path),), path) for path in sorted(paths))
    return Truth(
        root, MASKS, None, tuple(Image(entry, "") for entry in entries), _folders_of(paths), name, _dropped(tree.findings)
    )


def _of_categories(root: Path, rows: list[Row], categories: Sequence[str]) -> list[Row]:
    there = {row.category for row in rows}
    for category in categories:
        if category not in there:
            raise LayoutError(f"{root}: no category {category!r}; found {listed(there)}")
    return [row for row in rows if row.category in categories] if categories else rows


def _chosen(root: Path, rows: Collection[Row], split: str | None) -> str | None:
    """The split that is meant. LayoutError where no image is of it."""
    there = {row.split for row in rows if row.split is not None}
    wanted = split or (Split.TEST if there else None)
    if wanted is None or wanted == ALL:
        return None
    if wanted not in there:
        found = listed(there) if there else "no split at all"
        raise LayoutError(
            f"{root}: no image of split {str(wanted)!r}; found {found}: expected one of these as the split, or {ALL}"
        )
    return wanted


def _known(found: Listing) -> frozenset[str]:
    paths = [entry.image for entry in found.entries if entry.image is not None]
    return _folders_of(paths) | {entry.category for entry in found.entries}


def _dropped(findings: Iterable[Finding]) -> int:
    return sum(finding.action is Action.DROPPED and finding.shape is None for finding in findings)


def _folders_of(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(name for path in paths for name in path.split("/")[:-1])


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # No more than a mask can need: what is longer is cut off, and so damaged.
            return file.read(min(os.fstat(file.fileno()).st_size, images.most_bytes(MOST_PIXELS)))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
