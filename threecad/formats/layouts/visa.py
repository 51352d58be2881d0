"""VisA as it is handed out (https://github.com/amazon-science/spot-diff):

    split_csv/1cls.csv                                     object,split,label,image,mask
    <object>/Data/Images/{Normal,Anomaly}/<name>.JPG
    <object>/Data/Masks/Anomaly/<name>.png                 the value of a pixel is its type
    <object>/image_anno.csv                                image,label,mask

Without a CSV the folders alone tell, and no image has a split. `image_anno.csv` names the types of an image, several with commas
between; which number means which type in the masks is published beside the data set, and holds for its twelve objects only. The
masks of any other object are binary unless the numbers are named (`Request.names`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from functools import cache
from operator import itemgetter

from threecad.domain import Entry, Finding, MaskFile, State
from threecad.errors import LayoutError, ReadError
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import (
    SPLITS,
    Tree,
    contents,
    in_order,
    inside,
    is_good,
    joined,
    listed,
    listing,
    orphan,
    titled,
    told,
    without_mask,
    writable,
)
from threecad.formats.layouts.lists import Row, entries_of, not_listed

NAME = "visa"
_TABLES = "split_csv"
_DEFAULT = "1cls.csv"
_COLUMNS = ("object", "split", "label", "image")
_TYPES = {
    "candle": (
        "Chunk Of Wax Missing",
        "Damaged Corner of Packaging",
        "weird candle wick",
        "Different Colour Spot",
        "Extra Wax in Candle",
        "Foreign Particals on Candle",
        "Wax Melded out of the candle",
        "Other",
    ),
    "capsules": ("Bubble", "Discolor", "Scratch", "Leak", "Misshape"),
    "cashew": (
        "Burnt",
        "Corner or Edge Breakage",
        "Different Colour Spot",
        "Middle Breakage",
        "Small Holes",
        "Small Scratches",
        "Stuck Together",
        "Same Colour Spot",
        "Other",
    ),
    "chewinggum": ("Chunk of gum missing", "Corner Missing", "Scratches", "Similar Colour Spot", "Small Cracks", "Other"),
    "fryum": (
        "Burnt",
        "Corner or Edge Breakage",
        "Different Colour Spot",
        "Fryum Stuck Together",
        "Middle Breakage",
        "Similar Colour Spot",
        "Small Scratches",
        "Other",
    ),
    "macaroni1": (
        "Chip Around Edge And Corner",
        "Different Colour Spot",
        "Middle Breakage",
        "Similar Colour Spot",
        "Small Cracks",
        "Small Scratches",
        "Other",
    ),
    "macaroni2": (
        "Breakage down the middle",
        "Color spot similar to the Object",
        "Different Color spot",
        "Small chip around edge",
        "Small Cracks",
        "Small Scratches",
        "Other",
    ),
    "pcb1": ("Bent", "Melt", "Scratch", "Missing"),
    "pcb2": ("Bent", "Melt", "Scratch", "Missing"),
    "pcb3": ("Bent", "Melt", "Scratch", "Missing"),
    "pcb4": ("Burnt", "Scratch", "Missing", "Damage", "Extra", "Wrong Place", "Dirt"),
    "pipe_fryum": (
        "Burnt",
        "Corner And Edge Breakage",
        "Different Colour Spot",
        "Middle Breakage",
        "Similar Colour Spot",
        "Small Scratches",
        "Stuck Together",
        "Small Cracks",
        "Other",
    ),
}
"""The types of an object in the order of their numbers, from 1, as the data set's authors spell them (id2class.json there)."""


def recognises(tree: Tree) -> bool:
    """A CSV in split_csv/, or Data/Images/Normal or Anomaly of an object or of the data set itself."""
    return bool(tree.files(_TABLES, ".csv")) or bool(_homes(tree))


def _homes(tree: Tree) -> list[str]:
    """The folders of objects."""
    return [home for home in ("", *tree.children("")) if {"Normal", "Anomaly"} & set(tree.children(joined(home, "Data/Images")))]


def read(tree: Tree, request: Request) -> Listing:
    named = _Names(tree, request.names)
    table = _table(tree, request.table)
    if table is None:
        entries, findings = _raw(tree, named)
        return Listing(NAME, in_order(entries), told(tree.findings, findings))
    entries, findings = entries_of(_rows(tree, table, named), lambda text: _found(tree, text))
    folders = [folder for home in _homes(tree) for folder in tree.below(joined(home, "Data/Images"))]
    return Listing(NAME, in_order(entries), told(tree.findings, findings, not_listed(tree, table, entries, folders)))


def _found(tree: Tree, text: str) -> str | None:
    if tree.holds(text):
        return text
    path = inside(text)
    return path if path is not None and tree.holds(path) else None


def _table(tree: Tree, wanted: str | None) -> str | None:
    """The CSV to read, None where there is none."""
    there = tree.files(_TABLES, ".csv")
    if wanted is not None:
        for path in (inside(wanted), inside(wanted, _TABLES)):
            if path is not None and tree.holds(path):
                return path
        raise LayoutError(f"{tree.root}: found no table {wanted!r}; expected one of {listed(there)} in {_TABLES}")
    if not there:
        if not _homes(tree):
            raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected {_TABLES}/{_DEFAULT} or <object>/Data/Images")
        return None
    if _DEFAULT not in there and len(there) > 1:
        raise LayoutError(f"{tree.root}: found {listed(there)} in {_TABLES}; expected {_DEFAULT}, or one of them named (--table)")
    return joined(_TABLES, _DEFAULT if _DEFAULT in there else there[0])


def _rows(tree: Tree, table: str, named: _Names) -> Iterator[Row]:
    where = tree.root / table
    for line, (thing, part, label, image, mask) in _lines(tree, table, (*_COLUMNS, "mask"), _COLUMNS):
        split = SPLITS.get(part.strip().lower())
        if split is None:
            raise ReadError(f"{where}, line {line}: found split {part[:40]!r}; expected train, test or validation")
        good = is_good(label.strip())
        category = named.same(thing)
        types = named.numbers(category)
        labels = () if good else named.labels(category, inside(image) or "")
        yield Row(
            f"{table}, line {line}", image, mask or None, category, split, good, labels, "index" if types else "binary", types
        )


def _lines(tree: Tree, path: str, columns: tuple[str, ...], needed: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, texts of the columns) of a CSV, "" for a column that it lacks. ReadError names the line that is broken."""
    text = io.TextIOWrapper(io.BytesIO(listing(tree, path)), encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text)
    where = tree.root / path
    try:
        head = [name.strip().lower() for name in next(reader, [])]
        if not set(needed) <= set(head):
            raise ReadError(f"{where}: found columns {listed(head)}; expected {','.join(columns)}")
        pick = itemgetter(*(head.index(name) if name in head else len(head) for name in columns))
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(head):
                raise ReadError(f"{where}, line {reader.line_num}: found {len(fields)} fields; expected {len(head)}")
            fields.append("")
            yield reader.line_num, pick(fields)
    except csv.Error as error:
        raise ReadError(f"{where}, line {reader.line_num}: {error}") from None


class _Names:
    """What the types are called: those of an image, and those that the numbers in a mask mean."""

    def __init__(self, tree: Tree, wanted: Mapping[int, str] | None) -> None:
        self._tree = tree
        self._wanted = None if wanted is None else tuple(sorted(wanted.items()))
        self.labels_of = cache(self._annotated)
        self.numbers = cache(self._numbers)
        self.same = cache(lambda thing: writable(thing.strip()))

    def labels(self, category: str, image: str) -> tuple[str, ...]:
        """The types of one image, as image_anno.csv tells them."""
        return self.labels_of(category).get(image, ())

    def _numbers(self, category: str) -> tuple[tuple[int, str], ...]:
        if self._wanted is not None:
            return self._wanted
        return tuple(enumerate(_TYPES.get(category, ()), 1))

    def _annotated(self, category: str) -> Mapping[str, tuple[str, ...]]:
        """Image → its types. They are spelt as in the masks where case alone differs."""
        home = category if category in self._tree.children("") else ""
        path = joined(home, "image_anno.csv")
        if not self._tree.holds(path):
            return {}
        spelt = {name.casefold(): name for _, name in self.numbers(category)}
        found = {}
        for _, (image, label) in _lines(self._tree, path, ("image", "label"), ("image", "label")):
            names = [writable(name.strip()) for name in label.split(",")]
            types = tuple(sorted({spelt.get(name.casefold(), name) for name in names if name and not is_good(name)}))
            path = inside(image) or ""
            if types:
                found[path if home else path.partition("/")[2]] = types  # the paths begin with the object
        return found


def _raw(tree: Tree, named: _Names) -> tuple[list[Entry], list[Finding]]:
    """The images of all objects by their folders alone."""
    entries: list[Entry] = []
    findings: list[Finding] = []
    for home in _homes(tree):
        category = home or titled(tree)
        types = named.numbers(category)
        shelf = joined(home, "Data/Masks/Anomaly")
        masks = {stem: joined(shelf, name) for stem, name in tree.images(shelf)}
        for folder, state in (("Normal", State.GOOD), ("Anomaly", State.DEFECT)):
            place = joined(home, f"Data/Images/{folder}")
            for stem, name in tree.images(place):
                path = joined(place, name)
                mask = masks.pop(stem, None) if state is State.DEFECT else None
                files = (MaskFile(mask, "index" if types else "binary", types),) if mask else ()
                labels = named.labels(category, path) if state is State.DEFECT else ()
                entries.append(Entry(path, category, None, state, labels, path, files, path))
                if state is State.DEFECT and not mask:
                    findings.append(without_mask(path, f"no {stem}.png in {shelf}"))
        findings += [orphan(path, f"of no image in {home or '.'}/Data/Images/Anomaly") for path in masks.values()]
    return entries, findings
