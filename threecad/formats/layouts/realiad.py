"""Real-IAD as it is handed out (https://github.com/Tencent/AnomalyDetection_Real-IAD):

    realiad_jsons/<category>.json         also realiad_jsons_sv, realiad_jsons_fuiad_0.1 and so on: other splits
    realiad_1024/<category>/…             also realiad_raw, realiad_512, realiad_256: the same images in other sizes

    {"meta": {"normal_class": "OK", "prefix": "audiojack/"},
     "train": [{"category": "audiojack", "anomaly_class": "OK", "image_path": "OK/S0001/….jpg", "mask_path": null}, …],
     "test": […]}

An image of a defective part on which the defect cannot be seen has an anomaly class but no mask. As for the data set's authors it
is good. The types are their two-letter codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial

from pydantic import TypeAdapter, ValidationError

from threecad.domain import Entry, Finding, Split
from threecad.errors import LayoutError, ReadError
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import (
    Tree,
    chosen,
    contents,
    in_order,
    inside,
    joined,
    listed,
    listing,
    told,
)
from threecad.formats.layouts.lists import Row, entries_of, not_listed

NAME = "realiad"
_TABLES = "realiad_jsons"
_SIZES = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
"""Folders of images in the order in which they are looked for; the last are up to 5,000 pixels wide."""


@dataclass(frozen=True, slots=True)
class _Meta:
    normal_class: str
    prefix: str


@dataclass(frozen=True, slots=True)
class _Sample:
    category: str
    anomaly_class: str
    image_path: str
    mask_path: str | None


@dataclass(frozen=True, slots=True)
class _Table:
    meta: _Meta
    train: list[_Sample]
    test: list[_Sample]


@cache
def _tables() -> TypeAdapter[_Table]:
    return TypeAdapter(_Table)


def recognises(tree: Tree) -> bool:
    """A folder called realiad_jsons… with JSON files, or <category>.json beside a folder <category> that holds OK or NG."""
    if _folders(tree):
        return True
    homes = (joined(folder, name[:-5]) for folder in ("", *tree.children("")) for name in tree.files(folder, ".json"))
    return any({"OK", "NG"} & set(tree.children(home)) for home in homes)


def _folders(tree: Tree) -> list[str]:
    """The folders of JSON files; their archive may have unpacked into a folder of its own name."""
    outer = [name for name in tree.children("") if name.startswith(_TABLES)]
    inner = [joined(name, child) for name in outer for child in tree.children(name) if child.startswith(_TABLES)]
    return [folder for folder in (*outer, *inner) if tree.files(folder, ".json")]


def read(tree: Tree, request: Request) -> Listing:
    entries: list[Entry] = []
    findings: list[Finding] = []
    images = None if request.images is None else chosen(tree, request.images, "images")
    for path in _paths(tree, request.table):
        table = _parsed(tree, path)
        home = _home(tree, table, images)
        found, faults = entries_of(_rows(path, table), partial(_found, tree, home))
        entries += found
        findings += faults
        if path.rpartition("/")[0].rpartition("/")[2] in (_TABLES, ""):  # the others leave images out on purpose
            findings += not_listed(tree, path, found, tree.below(home))
    return Listing(NAME, in_order(entries), told(tree.findings, findings))


def _paths(tree: Tree, wanted: str | None) -> list[str]:
    """The JSON files to read: those of a folder, or one."""
    there = _folders(tree)
    if wanted is not None:
        path = inside(wanted)
        if path is not None and tree.holds(path):
            return [path]
        folder = next((each for each in there if path in (each, each.rpartition("/")[2])), path)
    else:
        usual = [each for each in there if each.rpartition("/")[2] == _TABLES]
        if len(there) > 1 and not usual:
            raise LayoutError(f"{tree.root}: found {listed(there)}; expected {_TABLES}, or one of them named (--table)")
        folder = (usual or there or [""])[-1]
    found = [joined(folder, name) for name in tree.files(folder, ".json")] if folder is not None else []
    if not found:
        what = f"no table {wanted!r}" if wanted is not None else contents(tree.root)
        raise LayoutError(f"{tree.root}: found {what}; expected a folder {_TABLES} with <category>.json in it")
    return found


def _parsed(tree: Tree, path: str) -> _Table:
    try:
        return _tables().validate_json(listing(tree, path))
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, flaw["loc"]))
        raise ReadError(f"{tree.root / path}: {place + ': ' if place else ''}{flaw['msg']}") from None


def _home(tree: Tree, table: _Table, images: str | None) -> str:
    """The folder from which the table's paths lead on: the first that holds any of the first images."""
    bases = [images] if images is not None else [*(name for name in _SIZES if name in tree.folders), "", *tree.children("")]
    samples = [*table.train[:20], *table.test[:20]]
    prefixes = [table.meta.prefix, *sorted({sample.category for sample in samples})]
    homes = [home for base in bases for prefix in prefixes if (home := _below(base, prefix)) is not None]
    for home in homes:
        if any(_found(tree, home, sample.image_path) for sample in samples):
            return home
    return homes[0] if homes else ""


def _below(base: str, prefix: str) -> str | None:
    return base if prefix.strip("./") == "" else inside(prefix, base)


def _found(tree: Tree, home: str, text: str) -> str | None:
    path = inside(text, home)
    return path if path is not None and tree.holds(path) else None


def _rows(path: str, table: _Table) -> Iterator[Row]:
    normal = table.meta.normal_class
    for name, split, samples in (("train", Split.TRAIN, table.train), ("test", Split.TEST, table.test)):
        for number, sample in enumerate(samples):
            good = sample.anomaly_class == normal or sample.mask_path is None
            labels = () if good else (sample.anomaly_class,)
            mask = None if sample.anomaly_class == normal else sample.mask_path
            yield Row(f"{path}, {name}.{number}", sample.image_path, mask, sample.category, split, good, labels)
