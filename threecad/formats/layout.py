"""The names on disk: which file of a data set stands where, as pure functions of names.

A category's folder holds what MVTec's layout knows and nothing else, because its readers take every image they find below it:

    <category>/train/good/<stem>.png
    <category>/test/{good,<type>}/<stem>.png
    <category>/ground_truth/<type>/<stem>_mask.png

They pair the sorted masks with the sorted defective images as well, so even masks of a validation split would break them:
validation/<category>/…, types/<category>/…, ignore/<category>/… and the manifest lie beside the category folders.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

from threecad.domain import Split, Window

GOOD = "good"
COMBINED = "combined"
GROUND_TRUTH = "ground_truth"
RESERVED_TYPES = (GOOD, COMBINED, GROUND_TRUTH)
"""Folders that no defect type may take."""
RESERVED_CATEGORIES = (
    "train",
    "test",
    "validation",
    GROUND_TRUTH,
    "types",
    "ignore",
    "coco",
    "relabel",
    "previews",
    "report-files",
    "sha256sums",
)
"""Folders that no category may take: they stand beside the categories, or would make the root look like a category."""

_LONGEST_SLUG = 48
_LONGEST_FOLDER = 80
_LONGEST_JOINED = 200  # bytes; file systems allow 255
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}


def stem(source_id: str, window: Window) -> str:
    """The name, without suffix, of the tile that `window` cuts out of source `source_id`: `<slug>-<hash>-<top>-<left>`.

    The slug is the image's own name in ASCII letters, digits and `_`; the hash tells sources of equal slug apart. It is 48
    bits long because a whole folder of names in Chinese has one and the same slug. No stem begins with another one: readers
    that pair image and mask by prefix, or by sorted order, cannot go wrong.

    >>> from threecad.domain import Size
    >>> stem("camera/Gehäuse 07 (neu).bmp", Window(820, 0, Size(1024, 1024)))
    'Gehause_07_neu-8ffa1453428c-000820-000000'
    """
    return f"{_title(source_id)}-{_digits(window.top)}-{_digits(window.left)}"


def case_picture(source_id: str, shape: int) -> str:
    """Where the picture of a shape that a person should look at stands, relative to the data set.

    >>> case_picture("camera/Gehäuse 07 (neu).bmp", 3)
    'relabel/Gehause_07_neu-8ffa1453428c-s000003.jpg'
    """
    return f"relabel/{_title(source_id)}-s{_digits(shape)}.jpg"


_TILE = re.compile(r"-[0-9a-f]{12}((-(\d{6}|x\d{10})){2}[A-Za-z0-9_-]{0,32}\.png|-s(\d{6}|x\d{10})\.jpg)$")


def is_tile(path: str) -> bool:
    """Whether a file is named as only the pictures that conversions write are.

    >>> is_tile("part/ground_truth/dent/a-8ffa1453428c-000820-000000_mask.png"), is_tile("holiday/beach.png")
    (True, False)
    """
    return _TILE.search(PurePosixPath(path).name) is not None


@lru_cache(maxsize=256)
def _title(source_id: str) -> str:
    """Slug and hash, which all tiles of a source share."""
    ascii_name = unicodedata.normalize("NFKD", PurePosixPath(source_id).stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", ascii_name).strip("_")[:_LONGEST_SLUG].rstrip("_") or "tile"
    return f"{slug}-{_hash(source_id, 12)}"


def _digits(pixels: int) -> str:
    """Six digits; the x keeps a seven-digit number from beginning with a six-digit one."""
    return f"{pixels:06d}" if pixels < 1_000_000 else f"x{pixels:010d}"


def _hash(text: str, digits: int) -> str:
    # A file name that is no UTF-8 arrives with lone surrogates in it.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def folder(label: str) -> str:
    """A folder's name for a type or a category, safe on every system: letters, marks and digits of any script, `_` and `-`.

    Everything else becomes `_` (a `+` too, which joins the types of a tile). At most 80 bytes of UTF-8, NFC, never empty, never
    a device name of Windows. Different labels may get the same name: `folders` tells them apart.

    >>> folder("划痕 / Kratzer 1.5 mm"), folder("NUL"), folder("???")
    ('划痕_Kratzer_1_5_mm', 'NUL_', 'unnamed')
    """
    text = unicodedata.normalize("NFC", label)
    kept = "".join(char if char == "-" or unicodedata.category(char)[0] in "LMN" else "_" for char in text)
    name = re.sub(r"_+", "_", kept).strip("_-")
    name = _cut(name, label, _LONGEST_FOLDER) or "unnamed"
    return f"{name}_" if name.lower() in _DEVICES else name


def _cut(name: str, label: str, longest: int) -> str:
    """`name` in at most `longest` bytes; what is cut off is told by a hash of the whole label."""
    data = name.encode()
    if len(data) <= longest:
        return name
    return f"{data[: longest - 9].decode(errors='ignore').rstrip('_-+')}_{_hash(label, 8)}"


def folders(labels: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Each label's folder, no two alike even where case or compatible characters do not count, and none of `reserved`.

    A label whose folder is reserved or wanted by several gets a hash of the label as suffix, whatever the order of `labels`.

    >>> folders(["Scratch", "scratch", "dent", "good"], RESERVED_TYPES)
    {'Scratch': 'Scratch_abe50e', 'dent': 'dent', 'good': 'good_770e60', 'scratch': 'scratch_5a9cb6'}
    """
    plain = {label: folder(label) for label in sorted(set(labels))}
    wanted = Counter(_alike(name) for name in plain.values())
    wanted.update(_alike(name) for name in reserved)
    taken = set(wanted)
    named = {}
    for label, name in plain.items():
        if wanted[_alike(name)] > 1:
            digits = 6
            while _alike(name) in taken:
                name = f"{plain[label].rstrip('_')}_{_hash(label, digits)}"
                digits += 2
            taken.add(_alike(name))
        named[label] = name
    return named


def _alike(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def type_folder(
    labels: Sequence[str], areas: Sequence[int], rule: Literal["combined", "dominant", "joined"], names: Mapping[str, str]
) -> str:
    """The folder of a defect tile that shows `labels`, of which `areas` pixels are visible; `names` are the labels' folders.

    A tie of the `dominant` rule goes to the first label in alphabetical order.

    >>> names = {"dent": "dent", "scratch": "scratch"}
    >>> [type_folder(["scratch", "dent"], [90, 40], rule, names) for rule in ("combined", "dominant", "joined")]
    ['combined', 'scratch', 'dent+scratch']
    """
    if len(labels) == 1:
        return names[labels[0]]
    if rule == "combined":
        return COMBINED
    if rule == "dominant":
        return names[min(zip(labels, areas, strict=True), key=lambda pair: (-pair[1], pair[0]))[0]]
    joined = "+".join(names[label] for label in sorted(labels))
    return _cut(joined, joined, _LONGEST_JOINED)


@dataclass(frozen=True, slots=True)
class Paths:
    """A tile's files as POSIX paths relative to the data set; a good tile has no mask."""

    image: str
    mask: str | None
    types: str
    ignore: str


def place(category: str, split: Split, kind: str, stem: str, mask_suffix: str) -> Paths:
    """Where the files of one tile stand; `category` and `kind` are folders, `kind` is `good` or a type's.

    >>> place("bottle", Split.TEST, "dent", "a-0-0-0", "_mask").mask
    'bottle/ground_truth/dent/a-0-0-0_mask.png'
    >>> place("bottle", Split.VALIDATION, "good", "a-0-0-0", "_mask").image
    'validation/bottle/good/a-0-0-0.png'
    """
    home = f"validation/{category}" if split is Split.VALIDATION else category
    shelf = home if split is Split.VALIDATION else f"{home}/{split.value}"
    return Paths(
        image=f"{shelf}/{kind}/{stem}.png",
        mask=None if kind == GOOD else f"{home}/{GROUND_TRUTH}/{kind}/{stem}{mask_suffix}.png",
        types=f"types/{category}/{stem}.png",
        ignore=f"ignore/{category}/{stem}.png",
    )
