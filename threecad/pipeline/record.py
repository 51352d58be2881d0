"""What is remembered of one source: everything its tiles, counts and findings need, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from threecad import __version__
from threecad.domain import Action, Case, Decision, Defect, Finding, Size, Source, Split, State, Window
from threecad.formats.labelme import Peek
from threecad.formats.png import REVISION
from threecad.formats.remote import Place
from threecad.pipeline.config import Pipeline, table

ROLES = ("image", "mask", "types", "ignore", "preview")
CASE = "case"
"""The role of a picture that goes with a case; its number is the shape's."""


@dataclass(frozen=True, slots=True)
class File:
    """One PNG that a tile needs. `path` is where it was published, relative to the data set; None while it is staged."""

    sha256: str
    nbytes: int
    mtime_ns: int
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One window of the source. `segmentations` go with `defects`, each the JSON text that COCO takes; `files` is empty for a
    tile nobody uses."""

    window: Window
    state: State
    defects: tuple[Defect, ...]
    segmentations: tuple[str, ...]
    files: dict[str, File]


@dataclass(frozen=True, slots=True)
class Outline:
    """One region as regions.jsonl tells it: `geometry` is GeoJSON text in the source's frame, `area` in square
    pixels, `pixels` those it owns."""

    uid: str
    label: str
    shapes: tuple[int, ...]
    ignore: bool
    area: float
    pixels: int
    geometry: str


@dataclass(frozen=True, slots=True)
class Record:
    """One finished source. `inputs` maps a path to its sha256, `seen` to (bytes, mtime, ctime) or None where the file was so
    young that a later change might not show, `peeks` what each annotation was seen to be about. `retry` asks for another try in
    the next run whatever the digests say. `cases` are the shapes that a person should look at, `pictures` show them."""

    source: Source
    key: str
    inputs: dict[str, str]
    seen: dict[str, tuple[int, int, int] | None]
    size: Size | None
    trainable: bool
    types: tuple[str, ...]
    shapes: dict[Action, int]
    fingerprint: str | None
    findings: tuple[Finding, ...]
    regions: tuple[Outline, ...]
    tiles: tuple[Piece, ...]
    narrow: int = 0
    retry: bool = False
    peeks: dict[str, Peek] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    pictures: dict[int, File] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[int, str, File]]:
        """Number of the tile, or of the shape for pictures of cases, role and file, in a fixed order."""
        for number, piece in enumerate(self.tiles):
            for role in ROLES:
                if role in piece.files:
                    yield number, role, piece.files[role]
        for number in sorted(self.pictures):
            yield number, CASE, self.pictures[number]


_RECORD = TypeAdapter(Record)


def dumps(record: Record) -> bytes:
    """One line of JSON without its newline."""
    return _RECORD.dump_json(record)


def loads(line: bytes) -> Record:
    """Raises ValueError where the line is torn or of another version."""
    return _RECORD.validate_json(line)


def key_of(
    source: Source,
    inputs: Mapping[str, str],
    types: Iterable[tuple[str, int]],
    wide: bool,
    pipeline: Pipeline,
    decisions: Mapping[str, Decision],
) -> str:
    """Digest of all that a record depends on: equal keys mean equal records, to the byte.

    `types` are the numbers of the types it shows, `wide` whether the category has so many that they need 16 bits, `decisions`
    what was decided about shapes of this source, by the shapes' digests. What only
    decides where files are put (splits, folder names) is left out: it moves files and needs no pixels.
    """
    depends = {
        "version": __version__,
        "source": [source.id, source.category, source.image, source.annotation, source.good],
        "inputs": dict(inputs),
        "labels": table(pipeline.labels, source.category),
        "types": dict(types),
        "wide": wide,
        "read": pipeline.read.model_dump(include={"max_megapixels", "max_json_megabytes", "max_shapes", "size_mismatch"}),
        "repair": pipeline.repair.model_dump(),
        "raster": pipeline.raster.model_dump(),
        "tiling": pipeline.tiling.model_dump(),
        "png": [pipeline.write.png, REVISION],
        "previews": pipeline.write.previews,
        "decisions": dict(decisions),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def used(piece: Piece, record: Record, split: Split, clean: str) -> Split | None:
    """The split that uses a tile of a source in `split`, or None: slivers and poisoned tiles are in none."""
    if piece.state is State.DEFECT:
        return split
    if piece.state is State.GOOD and (record.trainable or (clean == "test" and split is not Split.TRAIN)):
        return split
    return None


def remembered(path: Place, seen: tuple[int, int, int] | None) -> bool:
    """Whether a file is to the eye (size, times) the one that was seen."""
    if seen is None:
        return False
    try:
        now = path.stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == tuple(seen)
