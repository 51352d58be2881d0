"""A photograph of a raw folder, with what was drawn on it and what a conversion makes of that."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.domain import Action, Annotation, Code, Finding
from threecad.errors import ConfigError, LayoutError
from threecad.formats import images, labelme
from threecad.imaging import drawing, polygons, raster
from threecad.pipeline import config, journey
from threecad.pipeline.config import Pipeline
from threecad.pipeline.view.picture import Ask, View, measures, viewed
from threecad.pipeline.view.places import is_folder
from threecad.pipeline.view.search import Found, find, with_images

_OF_TILES = frozenset({Code.NOT_SHOWN, Code.TILE_TOO_SMALL})
"""Findings about windows, which nobody wants to hear of who did not ask for windows."""


def photograph(file: Path, folder: str | Path | None, images_: str | Path | None, settings: Pipeline, ask: Ask) -> View:
    """The view of an annotation or a photograph of the raw folder `folder`, by default the file's own."""
    root = Path(os.path.realpath(file.parent if folder is None else folder))
    if not is_folder(root):
        raise LayoutError(f"{folder}: no such folder; expected the raw folder")
    settings, apart = with_images(settings, root, images_)
    found = find(file, root, apart, settings, ask)
    annotation = Annotation(found.source, None, ())
    text = b""
    limits = labelme.limits(settings.read)
    if found.annotation is not None:
        text = labelme.load(found.annotation, found.annotation.name, max_bytes=limits["max_bytes"])
        annotation = labelme.parse(text, found.annotation.name, found.source, max_shapes=limits["max_shapes"])
    limit = int(settings.read.max_megapixels * 1e6)
    if found.image is not None:
        picture = images.decode_file(found.image, found.source, limit)
    else:
        picture = images.decode(labelme.embedded_bytes(text, file.name, max_shapes=limits["max_shapes"]), found.source, limit)
    made = journey.plan(annotation, picture.size, found.category, settings, poisoned=found.others)
    notes = [Finding(code, Action.KEPT, found.source, None, detail) for code, detail in picture.notes]
    findings = [*found.findings, *notes, *(each for each in made.findings if ask.windows or each.code not in _OF_TILES)]
    shown = drawing.frame(picture.size, ask.longest, _around(annotation, ask.shape, file.name))
    names, inks, outlines = _painted(made, shown, config.table(settings.labels, found.category))
    outcomes = polygons.outcomes(annotation, made.findings)
    drawn = [(shape, outcomes[shape.index]) for shape in annotation.shapes]
    known = found.annotation is not None or found.good
    scene = drawing.Scene(
        pixels=picture.pixels,
        title=found.source,
        facts=_facts(found, annotation, outcomes.values(), measures(picture.size, shown)),
        names=names,
        inks=inks,
        outlines=outlines,
        drawn=[(shape, action) for shape, action in drawn if action in (Action.QUEUED, Action.DROPPED)],
        windows=[(window, state) for window, state, _ in made.tiles] if ask.windows and known else (),
        findings=findings,
    )
    return viewed(scene, shown, file.stem, root, ask)


def _facts(found: Found, annotation: Annotation, outcomes: Iterable[Action], measures: str) -> list[str]:
    facts = [measures, f"category {found.category}" if found.category else ""]
    counts = Counter(outcomes)
    total = len(annotation.shapes)
    told = ", ".join(f"{counts[action]} {action}" for action in Action if counts[action])
    if found.annotation is None:
        facts.append("good: a folder vouches for it" if found.good else "not annotated")
    else:
        facts.append(
            f"{total} shape{'' if total == 1 else 's'}{f' ({told})' if told else ', nothing is drawn'} in {found.annotation.name}"
        )
    if annotation.flags:
        facts.append("flags " + ", ".join(flag[:40] for flag in annotation.flags[:8]))
    return [fact for fact in facts if fact]


def _around(annotation: Annotation, number: int | None, name: str) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a shape as drawn, None for the whole image: also of a shape that lies nowhere."""
    if number is None:
        return None
    shape = next((each for each in annotation.shapes if each.index == number), None)
    if shape is None:
        count = len(annotation.shapes)
        has = f"its shapes are numbered 0 to {count - 1}" if count else "it has none"
        raise ConfigError(f"{name}: there is no shape {number}; {has}")
    lines = drawing.traces(shape)
    if not lines:
        return None
    points = np.concatenate(lines)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def _painted(
    made: journey.Plan, shown: drawing.Frame, labels: dict[str, str] | None
) -> tuple[list[str | None], NDArray[Any], list[tuple[int, list[Any]]]]:
    """The types, the frame's pixels as their numbers, and the regions' geometries by number.

    Where a label table fits the palette a type has the same colour on every image.
    """
    used = {region.label for region in made.regions if not region.ignore}
    table = [name for name in dict.fromkeys((labels or {}).values()) if name not in (polygons.IGNORE, polygons.BACKGROUND)]
    names: list[str | None] = []
    names += table if len(table) <= len(drawing.PALETTE) and used <= set(table) else sorted(used)
    number: dict[str | None, int] = {name: ink for ink, name in enumerate(names, 1)}
    if any(region.ignore for region in made.regions):
        names.append(None)
        number[None] = len(names)
    own = [number[None if region.ignore else region.label] for region in made.regions]
    inks = raster.paint(
        raster.crop(made.spans, shown.window), shown.window.size, own, np.uint8 if len(names) <= 255 else np.uint16
    )
    outlines: dict[int, list[Any]] = {}
    for ink, region in zip(own, made.regions, strict=True):
        outlines.setdefault(ink, []).append(region.geometry)
    return names, inks, sorted(outlines.items())
