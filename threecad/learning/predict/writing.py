"""What is written about one photograph: its map, the overlay, and an annotation that labelme opens."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

import numpy as np

from threecad.domain import Annotation, Shape, Size
from threecad.errors import ReadError
from threecad.formats.jpeg import encode_jpeg
from threecad.formats.labelme import write
from threecad.formats.maps import Scale, encode_map
from threecad.learning.predict.ledger import LABELME, MAPS, OVERLAYS, Counted, Record, Verdict
from threecad.learning.predict.overlay import overlay
from threecad.learning.predict.photographs import relative
from threecad.learning.predict.regions import Regions, regions
from threecad.pipeline.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from threecad.learning.config import Recipe
    from threecad.learning.predict.passing import Mapped

    Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is written of each photograph. Regions of fewer than `min_area` pixels are left out, the others called `label`."""

    label: str = "anomaly"
    min_area: int = 1
    maps: bool = True
    overlays: bool = True
    copy_images: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A photograph and what is known before it is written about; `look` is of its file, `key` as in `Record`."""

    path: str
    name: str
    file: Path
    model: str
    size: Size
    windows: int
    threshold: float
    key: str
    look: os.stat_result


NORMALISED = Scale.between(-64.0, 192.0)
"""Standard deviations of good images, in steps of 0.004. A score beyond is further from them than anything has to be told."""


def scale_of(recipe: Recipe) -> Scale:
    """The scale of all maps of a run, so that their levels can be compared: from 0 to the greatest score that its parts can give.

    The recovery adds three cosine distances, 2 each at most, weighed by `score.levels`, and the segmentation a share of 1: steps
    of 0.0001. Where the maps are normalised there is no greatest score: then it is `NORMALISED`.

    >>> from threecad.learning.config import Recipe
    >>> scale_of(Recipe()) == Scale.between(0, 7), scale_of(Recipe(model={"recovery": False})) == Scale.between(0, 1)
    (True, True)
    >>> scale_of(Recipe(score={"levels": [0, 0, 1]})) == Scale.between(0, 3)
    True
    >>> scale_of(Recipe(score={"normalise": True})) == NORMALISED
    True
    """
    if recipe.score.normalise:
        return NORMALISED
    return Scale.between(0.0, 2.0 * sum(recipe.score.levels) * recipe.model.recovery + 1.0 * recipe.model.segmentation)


def clipped(map_HW: Map, scale: Scale) -> Map:
    """The map with all scores within the scale, which roundings may leave by a hair."""
    return np.clip(map_HW, np.float32(scale.offset), np.float32(scale.offset + 65535 * scale.slope))


def publish(
    out: Path,
    case: Case,
    said: Mapped,
    picture: NDArray[np.uint8] | None,
    scale: Scale,
    wishes: Wishes,
    edited: Callable[[str], bool],
) -> tuple[Record, bool]:
    """Write every file of one photograph; the row for the journal, and whether an annotation was left as somebody had changed it.

    OSError where the folder cannot be written, ReadError where the photograph cannot be copied.
    """
    defective = said.score >= case.threshold
    found = regions(said.map_HW, case.threshold, wishes.min_area) if defective else Regions(0, 0, ())
    row, column = np.unravel_index(int(said.map_HW.argmax()), said.map_HW.shape)
    verdict = Verdict(
        path=case.path,
        name=case.name,
        model=case.model,
        size=(case.size.height, case.size.width),
        windows=case.windows,
        score=said.score,
        threshold=case.threshold,
        defective=defective,
        peak=(int(column), int(row)),
        regions=Counted(count=found.count, area=found.area, worst=max((each.score for each in found.outlines), default=None)),
    )
    if wishes.maps:
        _put(out / MAPS / f"{case.name}.png", encode_map(clipped(said.map_HW, scale), scale))
    if wishes.overlays and picture is not None:
        drawn = overlay(picture, said.map_HW, said.score, case.threshold, found.outlines, verdict.peak)
        _put(out / OVERLAYS / f"{case.name}.jpg", encode_jpeg(drawn))
    beside = out / LABELME / f"{case.name}{splitext(case.path)[1]}"
    if wishes.copy_images:
        _copy(case, beside)
    annotation = annotated(case, found, wishes.label, beside.name if wishes.copy_images else relative(case.file, beside.parent))
    told = f"{LABELME}/{case.name}.json"
    kept = edited(told)
    if not kept:
        write_atomically(out / told, annotation)
    record = Record(
        key=case.key,
        nbytes=case.look.st_size,
        mtime_ns=case.look.st_mtime_ns,
        copied=wishes.copy_images,
        maps=wishes.maps,
        overlays=wishes.overlays,
        annotation=hashlib.sha256(annotation).hexdigest(),
        verdict=verdict,
    )
    return record, kept


def annotated(case: Case, found: Regions, label: str, image: str) -> bytes:
    """The text of labelme's file: a polygon a region, worst first, its score in the description. Without a region it has none."""
    shapes = tuple(
        Shape(
            number,
            label,
            "polygon",
            tuple((x, y) for x, y in each.polygon.exterior.coords[:-1]),
            description=f"score {each.score:.4g}, {each.area} px",
        )
        for number, each in enumerate(found.outlines)
    )
    return write(Annotation(case.path, case.size, shapes), image, case.size).encode()


def _put(path: Path, data: bytes) -> None:
    """Write beside and move. Nobody waits for the disk: a file that a power cut leaves empty counts as missing."""
    with _beside(path) as beside:
        beside.write_bytes(data)


def _copy(case: Case, to: Path) -> None:
    try:
        with _beside(to) as beside, case.file.open("rb") as source, beside.open("wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        if error.filename == str(case.file):
            raise ReadError(f"{case.path}: cannot be read: {error.strerror}") from None
        raise


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; moved there at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may be as long as names can be; what stands for it is short.
    beside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.new")
    try:
        yield beside
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()
