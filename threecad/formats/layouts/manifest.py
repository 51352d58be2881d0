"""A manifest of AWS Ground Truth or Lookout for Vision: one JSON object a line, in files called *.manifest.

    {"source-ref": "s3://bucket/training-images/anomaly-1.jpg",
     "anomaly-label": 1, "anomaly-label-metadata": {"class-name": "anomaly", "type": "groundtruth/image-classification", …},
     "anomaly-mask-ref": "s3://bucket/mask-images/anomaly-1.png",
     "anomaly-mask-ref-metadata": {"internal-color-map": {"0": {"class-name": "cracked", "hex-color": "#23A436"}},
                                   "type": "groundtruth/semantic-segmentation", …}}

The files are looked for by the end of their addresses: where several fit, the one that shares most folders with the address. All
manifests of the uppermost folder that holds any count together, and a name that begins with a split's (`train_class.manifest`)
names the split. A mask of one class is binary; with several classes its colours tell them apart, as the manifest pairs them.
Where a normal image has a mask, it is of background alone and left aside.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from threecad.domain import Split
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
    titled,
    told,
    writable,
)
from threecad.formats.layouts.lists import Row, entries_of, not_listed

NAME = "manifest"
_BACKGROUND = frozenset({"background"})
COLOUR = 1 << 24
"""As `formats.masks` has it; from there it would bring numpy along."""


def recognises(tree: Tree) -> bool:
    return bool(_paths(tree))


def _paths(tree: Tree) -> list[str]:
    """The manifests of the uppermost folders that hold any."""
    found = [joined(folder, name) for folder in tree.folders for name in tree.files(folder, ".manifest")]
    least = min((path.count("/") for path in found), default=0)
    return sorted(path for path in found if path.count("/") == least)


def read(tree: Tree, request: Request) -> Listing:
    paths = _paths(tree)
    if request.table is not None:
        wanted = inside(request.table)
        if wanted is None or not tree.holds(wanted):
            raise LayoutError(f"{tree.root}: found no manifest {request.table!r}; expected one of {listed(paths)}")
        paths = [wanted]
    if not paths:
        raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected a file called *.manifest")
    where = listed(paths)
    found = _Files(tree)
    rows: dict[tuple[str, Split | None], Row] = {}
    second: list[Row] = []
    for path in paths:
        here: set[tuple[str, Split | None]] = set()
        for row in _rows(tree, path):
            key = row.image, row.split
            known = rows.get(key)
            if known is None:
                rows[key] = row
            elif key in here or known.good is not row.good:
                second.append(row)
            elif known.mask is None:  # the one before told the classes alone
                rows[key] = row
            here.add(key)
    entries, findings = entries_of([*rows.values(), *second], found)
    return Listing(NAME, in_order(entries), told(tree.findings, findings, not_listed(tree, where, entries, tree.folders)))


class _Files:
    """Finds a file of the tree by the end of its address elsewhere."""

    def __init__(self, tree: Tree) -> None:
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        for folder in tree.folders:
            for _, name in tree.images(folder):
                self._named[name].append(joined(folder, name))

    def __call__(self, address: str) -> str | None:
        parts = address.split("/")
        fits = [(_shared(path.split("/"), parts), path) for path in self._named.get(parts[-1], ())]
        best = max(fits, default=(0, ""))
        return best[1] if sum(share == best[0] for share, _ in fits) == 1 else None


def _without_bucket(address: str) -> str:
    """
    >>> _without_bucket("s3://bucket/a/b.png"), _without_bucket("a/b.png")
    ('a/b.png', 'a/b.png')
    """
    return re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*/", "", address.replace("\\", "/"))


def _shared(one: list[str], other: list[str]) -> int:
    """How many parts at their ends are the same."""
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _rows(tree: Tree, path: str) -> Iterator[Row]:
    name = path.rpartition("/")[2].lower()
    split = next((split for word, split in SPLITS.items() if re.match(rf"{word}([^a-z]|$)", name)), None)
    for number, text in enumerate(listing(tree, path).split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            row = _row(json.loads(text), f"{path}, line {number}", titled(tree), split)
        except (ValueError, RecursionError) as error:
            raise ReadError(f"{tree.root / path}, line {number}: not JSON ({error})") from None
        if row is None:
            raise ReadError(f"{tree.root / path}, line {number}: expected source-ref and a label with its metadata")
        yield row


def _row(line: Any, place: str, category: str, split: Split | None) -> Row | None:
    """What one line says, None where it does not read as Ground Truth's."""
    if not isinstance(line, dict) or not isinstance(line.get("source-ref"), str):
        return None
    told_of = {key[: -len("-metadata")]: value for key, value in line.items() if key.endswith("-metadata")}
    classes = mask = None
    good: bool | None = None
    for key, about in told_of.items():
        if not isinstance(about, dict) or not isinstance(about.get("type"), str):
            return None
        if about["type"].endswith("image-classification"):
            good = is_good(str(about.get("class-name", "")))
        elif about["type"].endswith("semantic-segmentation") and isinstance(line.get(key), str):
            mask = _without_bucket(line[key])
            classes = _classes(about.get("internal-color-map"))
    if good is None and classes is None:
        return None
    names = tuple(sorted({name for name in (classes or {}).values() if name}))
    good = not names if good is None else good
    kind: Literal["binary", "index"] = "index" if len(names) > 1 else "binary"
    types = tuple(sorted((classes or {}).items())) if kind == "index" else tuple((0, name) for name in names)
    labels = names if len(names) == 1 and not good else ()  # of several, those of all images, only the mask knows which
    image = _without_bucket(line["source-ref"])
    return Row(place, image, None if good and not names else mask, category, split, good, labels, kind, types)


def _classes(colours: Any) -> dict[int, str] | None:
    """The value of each colour → its class, "" for background; None where there is no such map."""
    found = {}
    for entry in colours.values() if isinstance(colours, dict) else ():
        name, colour = (entry.get(key) for key in ("class-name", "hex-color")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(colour, str) or not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
            return None
        found[COLOUR + int(colour[1:], 16)] = "" if name.casefold() in _BACKGROUND else writable(name)
    return found or None
