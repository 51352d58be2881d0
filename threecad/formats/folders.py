"""The images of a data set as `Dataset` lists them, one row each, out of the entries of any layout."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from threecad.domain import Entry, Finding, Split, State
from threecad.formats.layout import COMBINED, GOOD
from threecad.formats.layouts import Listing, Request, mvtec
from threecad.formats.layouts.files import walk


class Row(NamedTuple):
    """One image of a data set: paths are POSIX and relative to its root, `mask` is "" where there is none.

    `type` is the type's folder, or its name where types have no folders, `good` for any image without defect, `combined` for one
    of several types; `types` are all types the image shows, joined by `+` (no folder that threecad writes holds one), "" for
    good. Both are "" where only the mask can tell, and `split` is None where the data set has none. A good image that has a mask
    all the same is good: its mask is left out here, though not in `entry`.
    """

    id: str
    category: str
    split: Split | None
    type: str
    types: str
    image: str
    mask: str
    entry: Entry

    @property
    def defective(self) -> bool | None:
        """None where only the mask can tell."""
        return None if self.entry.state is None else self.type != GOOD


def rows_of(listing: Listing) -> list[Row]:
    """The rows of all entries that have an image, in their order."""
    by_folder = listing.layout == mvtec.NAME
    return [_row(entry, entry.image, by_folder) for entry in listing.entries if entry.image is not None]


def _row(entry: Entry, image: str, by_folder: bool) -> Row:
    if entry.state is State.GOOD:
        return Row(entry.id, entry.category, entry.split, GOOD, "", image, "", entry)
    if by_folder:
        kind = types = image.split("/")[-2]
    else:
        kind = COMBINED if len(entry.labels) > 1 else "".join(entry.labels)
        types = "+".join(entry.labels)
    return Row(entry.id, entry.category, entry.split, kind, types, image, entry.masks[0].path if entry.masks else "", entry)


def scan(root: Path) -> tuple[list[Row], list[Finding]]:
    """All images of a data set in MVTec's layout, sorted by category, split, type and name, and what is amiss with its files.

    LayoutError if there is no such layout.
    """
    listing = mvtec.read(walk(root), Request())
    return sorted(rows_of(listing), key=lambda row: (row.category, row.split or "", row.type, row.image)), listing.findings
