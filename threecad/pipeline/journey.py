"""One source's journey: what was drawn on it → regions → windows → tiles. Nothing here touches a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from threecad.domain import Action, Annotation, Code, Decision, Defect, Finding, Region, Size, State, Window
from threecad.formats import coco
from threecad.imaging import polygons, raster, tiling
from threecad.pipeline.config import Pipeline, table

NARROW, MOST = 255, 65_535
"""Types of a category that a type mask of 8 bits, and one of 16, can tell apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What will become of one image, known before a pixel of it is read.

    `regions` are ordered so that the smaller lies on top, `spans` are the pixels they own (`pixels`: how many each, `boxes`:
    where), `tiles` every window with what it shows, `shapes` how many shapes had which outcome, `narrow` how many windows were
    too narrow.
    """

    regions: list[Region]
    spans: raster.Spans
    boxes: raster.Boxes
    tiles: list[tuple[Window, State, tuple[Defect, ...]]]
    findings: list[Finding]
    shapes: Counter[Action]
    pixels: list[int]
    narrow: int


def plan(
    annotation: Annotation,
    size: Size,
    category: str,
    pipeline: Pipeline,
    *,
    poisoned: bool = False,
    decisions: Mapping[int, Decision] | None = None,
) -> Plan:
    """Repair what was drawn, decide which pixels it owns and what every window shows.

    `size` is the image's own, after its EXIF orientation. Every shape has exactly one outcome in `shapes`. `poisoned` says that
    somebody drew more on the image than the annotation holds, nobody knows where. `decisions` are a person's about single
    shapes, by their number; on an image of another size than stated, shapes can only be dropped.

    >>> from threecad.domain import Shape
    >>> square = Shape(0, "dent", "polygon", ((10, 10), (30, 10), (30, 30), (10, 30)))
    >>> made = plan(Annotation("a.png", Size(300, 300), (square,)), Size(300, 300), "part", Pipeline())
    >>> made.regions[0].geometry.area, [(state.value, defects[0].area) for _, state, defects in made.tiles]
    (400.0, [('defect', 400)])
    """
    elsewhere = annotation.size is not None and annotation.size != size and pipeline.read.size_mismatch == "queue"
    if elsewhere:
        regions: list[Region] = []
        findings = [_elsewhere(annotation, index, size) for index in range(len(annotation.shapes))]
        findings = polygons.settle(findings, decisions or {})
    else:
        regions, findings = polygons.regions(annotation, size, table(pipeline.labels, category), pipeline.repair, decisions)
    outcomes = polygons.outcomes(annotation, findings)
    regions = [regions[number] for number in raster.order(regions)]
    spans, thin = raster.spans(regions, size, pipeline.raster.rule)
    findings += [
        Finding(
            Code.THIN,
            Action.KEPT,
            annotation.source,
            regions[number].shapes[0],
            "it owns no pixel centre",
            _inside(regions[number]),
        )
        for number in thin
    ]
    windows, narrow = tiling.windows(size, pipeline.tiling)
    if narrow:
        findings.append(
            Finding(Code.TILE_TOO_SMALL, Action.DROPPED, annotation.source, None, f"{narrow} of {narrow + len(windows)} windows")
        )
    if elsewhere and not annotation.shapes:  # as little to be trusted as a shape: it may belong to another image
        findings.append(_elsewhere(annotation, None, size))
    suspects: list[tiling.Extent | None] = [None] if poisoned or elsewhere else []
    suspects += [tiling.extent(annotation.shapes[index]) for index, action in outcomes.items() if action is Action.QUEUED]
    judged = tiling.judge(spans, regions, windows, size, suspects, pipeline.tiling)
    tiles = [(window, state, defects) for window, (state, defects) in zip(windows, judged, strict=True)]
    findings += _not_shown(regions, tiles, annotation.source)
    pixels = np.bincount(spans.region, spans.stop - spans.start, len(regions)).astype(int).tolist()
    return Plan(regions, spans, raster.boxes(spans), tiles, findings, Counter(outcomes.values()), pixels, narrow)


def canvas(plan: Plan, source: str, pixels: NDArray[Any], types: Mapping[str, int]) -> tiling.Canvas:
    """The image and its plan, for `tiling.cut`. `types` maps a label to its index in the type mask, from 1 on."""
    depth = np.uint8 if len(types) <= NARROW else np.uint16
    inks = [None if region.ignore else types[region.label] for region in plan.regions]
    return tiling.Canvas(source, pixels, plan.spans, inks, depth, plan.boxes)


def segmentations(plan: Plan, number: int) -> tuple[str, ...]:
    """The visible part of every defect of tile `number`, as the JSON text that COCO takes."""
    window, _, _ = plan.tiles[number]
    part = raster.crop(plan.spans, window, plan.boxes)
    defects = np.array([not region.ignore for region in plan.regions], bool)[part.region]
    region, row, start, stop = (array[defects] for array in (part.region, part.row, part.start, part.stop))
    return tuple(coco.segmentations(region, row, start, stop, window.size))


def outlines(areas: Iterable[polygons.Area], digits: int | None = None) -> list[str]:
    """Every area as GeoJSON text, keys sorted, coordinates as in Python's own JSON or rounded to so many digits.

    >>> outlines([shapely.box(0, 0, 2, 1)])
    ['{"coordinates":[[[2.0,0.0],[2.0,1.0],[0.0,1.0],[0.0,0.0],[2.0,0.0]]],"type":"Polygon"}']
    """
    shapes = np.array([*areas, None], object)[:-1]  # geometries alone would make an array of another kind
    parts, shape = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    # All numbers in one go: asking every geometry for its own takes four times as long.
    numbers = points.tolist()
    if digits is not None:
        numbers = [[round(x, digits), round(y, digits)] for x, y in numbers]
    texts = str(numbers)[2:-2].replace(" ", "").split("],[")
    texts = _joined(texts, ring, len(rings), "[[", "],[", "]]")
    texts = _joined(texts, part, len(parts), "[", ",", "]")
    single = shapely.get_type_id(shapes) == 3
    return [
        f'{{"coordinates":{text[1:-1]},"type":"Polygon"}}' if one else f'{{"coordinates":{text},"type":"MultiPolygon"}}'
        for text, one in zip(_joined(texts, shape, len(shapes), "[", ",", "]"), single.tolist(), strict=True)
    ]


def _joined(texts: list[str], owner: NDArray[np.intp], count: int, begin: str, between: str, end: str) -> list[str]:
    """Texts of the same owner, of whom there are `count`, joined; they come in the order of their owners."""
    ends = np.cumsum(np.bincount(owner, minlength=count)).tolist()
    return [begin + between.join(texts[low:high]) + end for low, high in zip([0, *ends], ends, strict=False)]


def _elsewhere(annotation: Annotation, index: int | None, size: Size) -> Finding:
    stated = annotation.size
    assert stated is not None
    detail = f"drawn on {stated.height} × {stated.width}, the image has {size.height} × {size.width} (height × width)"
    return Finding(Code.SIZE_MISMATCH, Action.QUEUED, annotation.source, index, detail)


def _not_shown(regions: list[Region], tiles: list[tuple[Window, State, tuple[Defect, ...]]], source: str) -> list[Finding]:
    """A finding for each defect that is in no defect tile: it is in the lists and counts, but nobody will be tested on it."""
    seen: dict[str, set[State]] = {}
    for _, state, defects in tiles:
        for defect in defects:
            seen.setdefault(defect.uid, set()).add(state)
    found = []
    for region in regions:
        states = seen.get(region.uid, set())
        if not region.ignore and State.DEFECT not in states:
            where = f"only in tiles that are {' or '.join(sorted(states))}" if states else "in no tile at all"
            found.append(Finding(Code.NOT_SHOWN, Action.KEPT, source, region.shapes[0], where, _inside(region)))
    return found


def _inside(region: Region) -> tuple[float, float]:
    point = shapely.point_on_surface(region.geometry)
    return (point.x, point.y)
