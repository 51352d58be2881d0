"""A finished data set: its manifest and rows, and `Dataset`, which reads it (or any other in one of the layouts)."""

from __future__ import annotations

import json
import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from threecad.domain import Action, Code, Entry, Finding, MaskFile, Sample, Size, Split, State
from threecad.errors import LayoutError, ReadError
from threecad.formats.images import MOST_PIXELS, TooLarge, decode_file, most_bytes, size_of
from threecad.formats.layout import COMBINED, GOOD
from threecad.formats.masks import planes, union
from threecad.formats.regular import lines_of, open_regular, read_regular
from threecad.formats.remote import is_url
from threecad.settings import Describing

if TYPE_CHECKING:
    from threecad.formats.folders import Row
    from threecad.formats.layouts import Request

FORMAT = 1
"""Version of the manifest and the rows; a reader refuses a higher one."""
MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"
SUMS = "SHA256SUMS"
MOST_BYTES = 256 << 20
"""Of a manifest that is read; one that counts a thousand categories has half a million."""
_UNDER_WAY = ".threecad"
"""The folder in which a conversion keeps its state; before there is a manifest, nothing about the splits is settled."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Type(_Part):
    """One defect type of a category; `index` is its value in the type masks."""

    index: int = Field(ge=1)
    name: str
    folder: str


class Shapes(_Part):
    """What became of the shapes: every one is counted once, `total` is the sum of the others."""

    total: int = 0
    kept: int = 0
    repaired: int = 0
    queued: int = 0
    dropped: int = 0


class Category(_Part):
    """What one category holds."""

    folder: str
    """Its folder, relative to the data set."""
    sources: int
    """Images that were found, those that could not be read among them."""
    good: int
    """Sources without any shape."""
    defective: int
    """Sources with at least one shape."""
    tiles: dict[str, dict[State, int]]
    """Split (`unused` for none) → state → number of tiles."""
    shapes: Shapes
    findings: dict[Code, int]
    types: tuple[Type, ...]


class Manifest(_Part):
    """What a data set is made of. It is written last: a folder that holds it is whole."""

    format: int = FORMAT
    threecad: str
    """Version that wrote it."""
    raw: str
    """Name of the raw folder, without where it lay."""
    pipeline: dict[str, Any]
    """The settings in force."""
    categories: dict[str, Category]
    findings: dict[Code, dict[Action, int]]
    """How many findings of each code ended how, those of no category included."""
    digests: dict[str, str]
    """POSIX path → SHA-256 of each file beside the tiles: rows, findings, COCO; the tiles' own are in the rows."""
    inputs: int
    """Number of files read."""
    outputs: int
    """Number of files written, the manifest not counted."""

    def describing(self) -> Describing:
        """What the pipeline's [card] says of the data set. ReadError where somebody has written something else there."""
        try:
            return Describing.model_validate(self.pipeline.get("card", {}))
        except ValidationError as error:
            raise ReadError(f"{MANIFEST}: pipeline.card: {_first(error)}") from None

    def text(self) -> str:
        """The manifest as JSON with sorted keys and a last newline."""
        data = self.model_dump(mode="json")
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


@cache
def _samples() -> TypeAdapter[Sample]:
    return TypeAdapter(Sample)


@cache
def _findings() -> TypeAdapter[Finding]:
    return TypeAdapter(Finding)


def schemas() -> dict[str, dict[str, Any]]:
    """File name → JSON Schema of the manifest, and of one line of samples.jsonl and of findings.jsonl."""
    models: dict[str, TypeAdapter[Any]] = {"manifest": TypeAdapter(Manifest), "sample": _samples(), "finding": _findings()}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {f"{name}.schema.json": dialect | model.json_schema(mode="serialization") for name, model in models.items()}


def row_of(value: Sample | Finding) -> dict[str, Any]:
    """A sample or a finding as plain values for `line`; keys are the fields, `window` is {"left", "size", "top"}.

    >>> row_of(Finding(Code.CLIPPED, Action.REPAIRED, "a.png", 3, "2 of 90 pixels outside"))["code"]
    'TC109'
    """
    model: TypeAdapter[Any] = _samples() if isinstance(value, Sample) else _findings()
    row: dict[str, Any] = model.dump_python(value, mode="json")
    return row


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def line(row: Mapping[str, Any]) -> bytes:
    r"""One line of a .jsonl file: sorted keys, no spaces, UTF-8, newline.

    >>> line({"b": "é", "a": (1, 2.5)}).decode()
    '{"a":[1,2.5],"b":"é"}\n'
    """
    return _encode(row).encode() + b"\n"


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a samples.jsonl, one after the other; unknown keys are passed over. ReadError names file and line."""
    return _read(path, _samples())


def read_findings(path: Path) -> Iterator[Finding]:
    """The findings of a findings.jsonl, one after the other; unknown keys are passed over. ReadError names file and line."""
    return _read(path, _findings())


def _read(path: Path, model: TypeAdapter[Any]) -> Iterator[Any]:
    try:
        for number, text in lines_of(path):
            try:
                yield model.validate_json(text)
            except ValidationError as error:
                raise ReadError(f"{path}, line {number}: {_first(error)}") from None
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror}") from None


def _first(error: ValidationError) -> str:
    """The first of the flaws in one phrase."""
    flaw = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in flaw["loc"])
    return f"{place}: {flaw['msg']}" if place else flaw["msg"]


def read_manifest(root: Path) -> Manifest:
    """The manifest of the data set at `root`. ReadError if there is none, it is not whole, or it is of a later version."""
    path = root / MANIFEST
    try:
        data = json.loads(read_regular(path, MOST_BYTES))
        text = json.dumps(data)
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ReadError(f"{path}: not JSON ({error})") from None
    except RecursionError:
        raise ReadError(f"{path}: is nested too deeply; expected the manifest of a data set") from None
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise ReadError(f"{path}: found format {found}, this version of threecad reads up to {FORMAT}")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ReadError(f"{path}: {_first(error)}") from None


def is_written(root: Path) -> bool:
    """Whether threecad wrote the data set at `root`: others have a manifest.json too."""
    return (root / MANIFEST).is_file() and ((root / SAMPLES).is_file() or (root / _UNDER_WAY).is_dir())


def refuse_unfinished(root: Path) -> None:
    """LayoutError where `root`, or the data set of which it is one category, is a conversion that did not come to its end."""
    for folder in () if (root / MANIFEST).is_file() else (root, root.parent):
        if (folder / _UNDER_WAY).is_dir() and not (folder / MANIFEST).is_file():
            raise LayoutError(f"{folder} is not finished: run the same threecad convert again")


class Item(TypedDict):
    """One image as `Dataset` gives it; torch's default collate takes it as it is where the images are of one size.

    `image` is (height, width, 3) RGB, uint8, or uint16 where the file has 16 bits (not scaled); gray is repeated. `gt_mask` is
    (height, width) bool, all False for a good image and for a defective one without mask (then `mask_path` is "").
    `gt_label` is 0 for good, 1 for defective. `type` is the type's folder (its name where types have none, `combined` for
    several, `defect` for one that nobody names), `types` those of all types in the image joined by `+`, "" for good. The paths
    lead to the files (`mask_path` to the first of several), `id` is the sample's in the manifest (else the image's path from the
    root).
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    gt_mask: NDArray[np.bool_]
    gt_label: int
    type: str
    types: str
    image_path: str
    mask_path: str
    id: str


class Dataset(Sequence[Any]):
    """The images of a data set that threecad wrote, or of any other in one of the layouts that docs/layouts.md tells.

    `root` holds a manifest, the folders of several categories, or one category's train/ and test/; `split` is `train`, `test`
    or `validation` and `category` one name or several, None meaning all; `transform` is called with each `Item` and what it
    returns is what `[i]` gives; `request` says about a foreign data set what its folders do not. A slice is a smaller data set.
    Files are read when an item is asked for and never held open, so a Dataset can be pickled (if `transform` can) and shared by
    the workers of a torch DataLoader.

    `rows` tells about each image without reading it; `faults` lists masks that are missing or belong to no image, and files that
    were left out. In masks any value but 0 is a defect; in JPEG masks, whose values are blurred, any above half of the range.

    LayoutError if there is no such folder, split or category, or its conversion was interrupted. ReadError when an image or
    mask cannot be read or their sizes differ; no other sample is ever given in its place.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        category: str | Sequence[str] | None = None,
        transform: Callable[[Item], Any] | None = None,
        *,
        request: Request | None = None,
    ) -> None:
        root = str(root).removeprefix("file://")
        if is_url(root):
            scheme = root.partition(":")[0]  # no more of it: a URL may hold a password
            raise LayoutError(f"found a URL ({scheme}://…), expected a folder of this machine; copy the data set to one first")
        self.root = Path(root)
        self.transform = transform
        refuse_unfinished(self.root)
        rows, findings = (_written(self.root), []) if request is None and is_written(self.root) else _found(self.root, request)
        if category is not None:
            rows, findings = self._of_categories(rows, findings, [category] if isinstance(category, str) else category)
        if split is not None:
            found = sorted({row.split for row in rows if row.split is not None})
            rows = [row for row in rows if row.split == split]
            if not rows:
                raise LayoutError(f"{self.root}: no image of split {split!r}; found {', '.join(found) or 'no split at all'}")
        self.rows: tuple[Row, ...] = tuple(rows)
        self.faults: tuple[Finding, ...] = tuple(findings)

    def _of_categories(
        self, rows: list[Row], findings: list[Finding], categories: Sequence[str]
    ) -> tuple[list[Row], list[Finding]]:
        known = sorted({row.category for row in rows})
        for category in categories:
            if category not in known:
                raise LayoutError(f"{self.root}: no category {category!r}; found {', '.join(known) or 'none'}")
        mine = [row for row in rows if row.category in categories]
        # A finding is of another category where its folder is, or the folder of its category lies beside those of these.
        others = {folder for row in rows if row.category not in categories for folder in _homes(row)}
        others -= {folder for row in mine for folder in _homes(row)}
        return mine, [each for each in findings if not others & {each.source.split("/")[0], each.source.rpartition("/")[0]}]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        # Sequence's own would take an IndexError out of `transform` for the end.
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            part = copy(self)
            part.rows = self.rows[index]
            return part
        item = self._load(self.rows[operator.index(index)])
        return item if self.transform is None else self.transform(item)

    def __repr__(self) -> str:
        return f"<Dataset {str(self.root)!r}: {len(self)} images>"

    def _load(self, row: Row) -> Item:
        path = _within(self.root, row.image)
        pixels = _pixels(path)
        # torch warns of read-only arrays and refuses those with reversed rows.
        image: Any = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else np.require(pixels, requirements=("C", "W"))
        mask, named = _mask(self.root, row, Size(*image.shape[:2]))
        kind, types = (row.type, row.types) if row.type else _told(named, row.defective, bool(mask.any()))
        return Item(
            image=image,
            gt_mask=mask,
            gt_label=int(kind != GOOD),
            type=kind,
            types=types,
            image_path=str(path),
            mask_path=str(self.root / row.mask) if row.mask else "",
            id=row.id,
        )


def _homes(row: Row) -> set[str]:
    """The folders of a row's files, and the uppermost ones of these."""
    paths = [path for path in (row.image, row.mask) if path]
    return {path.split("/")[0] for path in paths} | {path.rpartition("/")[0] for path in paths}


def _told(named: Sequence[str], defective: bool | None, marked: bool) -> tuple[str, str]:
    """`type` and `types` of an image whose masks alone tell."""
    if not (marked if defective is None else defective):
        return GOOD, ""
    names = [name for name in named if name]
    return COMBINED if len(names) > 1 else "".join(names) or "defect", "+".join(names)


def _mask(root: Path, row: Row, size: Size) -> tuple[NDArray[np.bool_], list[str]]:
    """The union of a row's masks, and the types that it shows."""
    if not row.mask:
        return np.zeros((size.height, size.width), np.bool_), []
    paths = [_within(root, mask.path) for mask in row.entry.masks]
    named, flaws = planes([_bytes(path) for path in paths], row.entry, size)
    for code, detail in flaws:
        if code in (Code.MASK_OTHER_SIZE, Code.MASK_UNREADABLE):
            which, _, rest = detail.partition(": ") if len(paths) > 1 else ("mask 1", "", detail)
            raise ReadError(f"{paths[int(which.split()[1]) - 1]}: {rest}")
    return union(named, size), list(named)


def _within(root: Path, path: str) -> Path:
    """A path of the data set's rows. ReadError where it, or a link, leads out of the data set: rows may be anybody's."""
    base = os.path.realpath(root)
    if os.path.commonpath([base, os.path.realpath(root / path)]) != base:
        raise ReadError(f"{root / path}: leads out of the data set")
    return root / path


def _bytes(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            # No more than an image can need: what is longer is cut off, and so damaged.
            return file.read(min(os.fstat(file.fileno()).st_size, most_bytes(MOST_PIXELS)))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None


def _pixels(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    try:
        return decode_file(path, str(path), MOST_PIXELS).pixels
    except TooLarge:  # its message names a setting of conversions
        size = size_of(path, str(path))
        found = f"{size.width} × {size.height} pixels (width × height)"
        raise ReadError(f"{path}: {found}; a Dataset reads images of at most {MOST_PIXELS / 1e6:g} million") from None


def _found(root: Path, request: Request | None) -> tuple[list[Row], list[Finding]]:
    """The rows of any layout, and what is amiss with its files."""
    from threecad.formats import folders, layouts  # they read what this module wrote

    listing = layouts.read(root, request)
    return folders.rows_of(listing), listing.findings


def _written(root: Path) -> list[Row]:
    """The rows of a data set that threecad wrote: every sample that a split uses, in the manifest's order."""
    from threecad.formats.folders import Row

    manifest = read_manifest(root)
    names = {(name, kind.name): kind.folder for name, category in manifest.categories.items() for kind in category.types}
    rows = []
    for sample in read_samples(root / SAMPLES):
        if sample.image is None or sample.split is None:
            continue
        kind = GOOD if sample.state is State.GOOD else sample.image.split("/")[-2]
        types = "" if kind == GOOD else "+".join(names.get((sample.category, label), label) for label in sample.labels)
        category = sys.intern(sample.category)
        split = Split(sample.split)
        masks = (MaskFile(sample.mask),) if sample.mask is not None else ()
        entry = Entry(sample.id, category, split, sample.state, sample.labels, sample.image, masks, sample.source)
        rows.append(Row(sample.id, category, split, sys.intern(kind), sys.intern(types), sample.image, sample.mask or "", entry))
    return rows
