"""Shapes as drawn become regions that need no second look, or findings that say why not.

An outline may be read in two ways: even-odd (a pixel is in where the line must be crossed an odd number of times to leave) and
non-zero (it is in wherever the line winds around it at all). A sound outline gives the same area both ways. One that crosses
itself is repaired only where the readings still agree, because then there is nothing to guess; else a person has to look.
"""

from __future__ import annotations

import math
import re
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from threecad.domain import Action, Annotation, Code, Decision, Finding, Region, Shape, Size
from threecad.settings import Repairing

Area: TypeAlias = Polygon | MultiPolygon
_Points: TypeAlias = Sequence[tuple[float, float]]
_Floats: TypeAlias = NDArray[np.float64]
_Objects: TypeAlias = NDArray[np.object_]

IGNORE = "__ignore__"
"""The type whose shapes mark pixels that count neither as good nor as defective."""
BACKGROUND = "_background_"
"""The type whose shapes cut background out of everything drawn before them."""

_QUARTER = 24  # chords of a quarter of a round joint or of a dot: 0.07 % less area than a disc
_REACH = 1e7  # px; farther out a coordinate is garbage, and differences of products lose the pixel
_MIN_AREA = 1e-6  # px²; less is rounding: three collinear points seldom enclose exactly nothing
_EDGE = 1e-6  # px; as far beyond the image a coordinate may be by rounding, and is moved back without a word
_SAGITTA = 0.01  # px between a circle and its chords, so that hardly any pixel centre changes sides
_MAX_VERTICES = 20_000  # of an outline to untangle, or of a line or a set of points to draw: seconds beyond it
_FEW_VERTICES = 200  # cannot cross itself often enough to matter
_MAX_MEETINGS = 40_000  # pairs of edges whose boxes meet, besides four an edge: at most half a second to node
_MAX_WINDING_STEPS = 100_000_000  # faces × edges: about a second
_MAX_MASK_EDGES = 200_000  # straight edges around a bitmap: about a second

_LINES = ("line", "linestrip")
_POINTS = ("point", "points")
_KINDS = ("", "polygon", "oriented_rectangle", "rectangle", "circle", "mask", *_LINES, *_POINTS)


@dataclass(frozen=True, slots=True)
class _Flaw:
    """A finding that does not know its shape yet; `place` may still lie outside the image.

    `proposal` is what a person may accept where the flaw queues the shape.
    """

    code: Code
    action: Action
    detail: str
    place: tuple[float, float] | None = None
    proposal: Area | None = None


def regions(
    annotation: Annotation,
    size: Size,
    labels: Mapping[str, str] | None,
    settings: Repairing,
    decisions: Mapping[int, Decision] | None = None,
) -> tuple[list[Region], list[Finding]]:
    """All regions of one image in the order of their first shapes, and all findings in the order of the shapes.

    `labels` maps spellings to types: a label is looked up as written, then trimmed and Unicode-normalised (NFC), then without
    regard to case; a type's own name means that type. Without a table each trimmed, normalised label is its own type. Shapes
    of equal type and group are parts of one region. `_background_` shapes are cut out of the regions that begin before them,
    `__ignore__` shapes become regions that are marked so; neither name needs an entry in the table, and any case of them will do.

    `decisions` are a person's, by the shape's number: `accept` takes the `proposal` for a shape that would be queued, `drop`
    leaves a shape out without a trace in the queue, `relabel` queues one that would be used.

    >>> square = ((1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (1.0, 5.0))
    >>> shapes = (Shape(0, " scratch", "polygon", square), Shape(1, "dent", "polygon", square[:2]))
    >>> found, findings = regions(Annotation("a.png", None, shapes), Size(10, 10), None, Repairing())
    >>> [(region.uid, region.label, region.geometry.area) for region in found]
    [('a.png#0', 'scratch', 16.0)]
    >>> [(finding.shape, finding.code.name, finding.detail) for finding in findings]
    [(1, 'TOO_FEW_POINTS', '2 distinct points')]
    """
    shapes = annotation.shapes
    decided = (
        {number: decisions[shape.index] for number, shape in enumerate(shapes) if shape.index in decisions} if decisions else {}
    )
    areas, flaws = _repaired(shapes, size, settings, accepted=_of(decided, Decision.ACCEPT))
    for number in _of(decided, Decision.DROP) | _of(decided, Decision.RELABEL):
        areas[number] = None
    type_of = lookup(labels)
    parts: dict[tuple[str, int | None, int | None], list[int]] = {}
    backgrounds: list[int] = []
    for number, (shape, area) in enumerate(zip(shapes, areas, strict=True)):
        label = type_of(shape.label)
        if label is None:
            if shape.fault is None:  # else that has been said
                detail = f"label {shape.label[:80]!r} is not in the table" if shape.label.strip() else "the label is empty"
                flaws[number].append(_Flaw(Code.UNKNOWN_LABEL, Action.QUEUED, detail, _first(shape.points)))
        elif area is not None:
            if label in (IGNORE, BACKGROUND):
                code = Code.IGNORE_AREA if label == IGNORE else Code.BACKGROUND_AREA
                flaws[number].append(_Flaw(code, Action.KEPT, f"{area.area:.1f} px²", _inner(area)))
            if label == BACKGROUND:
                backgrounds.append(number)
            else:
                parts.setdefault((label, shape.group, number if shape.group is None else None), []).append(number)

    for number, decision in decided.items():
        flaws[number] = _settled(flaws[number], decision, _first(shapes[number].points))

    united = _objects(areas[own[0]] if len(own) == 1 else _solid(shapely.union_all(areas[own])) for own in parts.values())
    first = np.array([own[0] for own in parts.values()], dtype=np.intp)
    for number in backgrounds:
        hit = np.flatnonzero((first < number) & shapely.intersects(united, areas[number]))
        united[hit] = _objects(map(_solid, shapely.difference(united[hit], areas[number])))

    found = []
    for (label, _, _), own, area in zip(parts, parts.values(), shapely.normalize(united), strict=True):
        if area is None:
            for number in own:
                detail = "nothing is left beneath the background drawn over it"
                flaws[number].append(_Flaw(Code.ERASED, Action.DROPPED, detail, _inner(areas[number])))
        else:
            indices = tuple(sorted(shapes[number].index for number in own))
            found.append(Region(f"{annotation.source}#{indices[0]}", label, area, indices, ignore=label == IGNORE))
    return found, [
        finding for shape, own in zip(shapes, flaws, strict=True) for finding in _findings(own, shape, annotation.source, size)
    ]


def repair(shape: Shape, size: Size, source: str, settings: Repairing) -> tuple[Area | None, list[Finding]]:
    """One shape as a valid area inside the image, or None; label and group are not looked at.

    An area has a positive size, exterior rings run clockwise on paper with y up and begin at the least point. A shape
    without an area always has a finding that queues it; a shape that was taken as drawn has no finding.

    >>> bow_tie = Shape(0, "dent", "polygon", ((0, 0), (10, 10), (10, 0), (0, 10)))
    >>> area, findings = repair(bow_tie, Size(20, 20), "a.png", Repairing())
    >>> area, findings[0].code.name, findings[0].place
    (None, 'READINGS_DISAGREE', (5.0, 5.0))
    """
    areas, flaws = _repaired((shape,), size, settings)
    return areas[0], _findings(flaws[0], shape, source, size)


def proposals(shapes: Sequence[Shape], size: Size, settings: Repairing) -> list[Area | None]:
    """What stands, or what `accept` would make, of each shape: its outline's non-zero reading inside the image, else None.

    >>> bow_tie = Shape(0, "dent", "polygon", ((0, 0), (10, 10), (10, 0), (0, 10)))
    >>> [area.area for area in proposals([bow_tie], Size(20, 20), Repairing())]
    [50.0]
    """
    return list(_repaired(shapes, size, settings, accepted=set(range(len(shapes))))[0])


def outcomes(annotation: Annotation, findings: Iterable[Finding]) -> dict[int, Action]:
    """What became of each shape: the gravest action among its findings, `KEPT` where there is none.

    Findings about other sources, about whole files or about shapes that the annotation does not hold are passed over.

    >>> shape = Shape(0, "dent", "polygon", ())
    >>> outcomes(Annotation("a.png", None, (shape,)), repair(shape, Size(9, 9), "a.png", Repairing())[1])
    {0: <Action.QUEUED: 'queued'>}
    """
    result = {shape.index: Action.KEPT for shape in annotation.shapes}
    for finding in findings:
        if finding.source == annotation.source and finding.shape is not None and finding.shape in result:
            result[finding.shape] = max(result[finding.shape], finding.action, key=lambda action: action.gravity)
    return result


def settle(findings: Iterable[Finding], decided: Mapping[int, Decision]) -> list[Finding]:
    """Findings about shapes of one source that cannot be used for a reason outside themselves, after a person's decisions.

    >>> lost = Finding(Code.ORPHAN_SHAPE, Action.QUEUED, "a.png", 0, "its image cannot be used")
    >>> [(each.code.name, each.action.value) for each in settle([lost], {0: Decision.DROP})]
    [('ORPHAN_SHAPE', 'dropped'), ('DECIDED', 'dropped')]
    """
    settled: list[Finding] = []
    for finding in findings:
        if finding.shape is None or finding.shape not in decided:
            settled.append(finding)
        else:
            flaw = _Flaw(finding.code, finding.action, finding.detail, finding.place)
            settled += [
                Finding(each.code, each.action, finding.source, finding.shape, each.detail, each.place)
                for each in _settled([flaw], decided[finding.shape], finding.place)
            ]
    return settled


def _of(decided: Mapping[int, Decision], decision: Decision) -> set[int]:
    return {number for number, each in decided.items() if each is decision}


def _settled(flaws: list[_Flaw], decision: Decision, place: tuple[float, float] | None) -> list[_Flaw]:
    """The flaws of a shape that somebody decided about, and a last one that says so."""
    waiting = any(flaw.action is Action.QUEUED for flaw in flaws)
    if decision is Decision.DROP:
        flaws = [replace(flaw, action=Action.DROPPED) if flaw.action is Action.QUEUED else flaw for flaw in flaws]
        return [*flaws, _Flaw(Code.DECIDED, Action.DROPPED, "drop", place)]
    if decision is Decision.RELABEL:  # a shape that waits anyway stands in the queue once
        return [*flaws, _Flaw(Code.DECIDED, Action.KEPT if waiting else Action.QUEUED, "relabel", place)]
    detail = "accept, but nothing can be made of it" if waiting else "accept"
    return [*flaws, _Flaw(Code.DECIDED, Action.KEPT, detail, place)]


def _findings(flaws: Iterable[_Flaw], shape: Shape, source: str, size: Size) -> list[Finding]:
    """Flaws as findings, their places moved into the image."""
    return [
        Finding(flaw.code, flaw.action, source, shape.index, flaw.detail, _clamped(flaw.place, size) if flaw.place else None)
        for flaw in flaws
    ]


def _clamped(place: tuple[float, float], size: Size) -> tuple[float, float]:
    return min(max(float(place[0]), 0.0), float(size.width)), min(max(float(place[1]), 0.0), float(size.height))


def _first(points: _Points) -> tuple[float, float] | None:
    """The first point that can be shown."""
    return next(((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)), None)


def _inner(area: Area) -> tuple[float, float]:
    point = shapely.point_on_surface(area)
    return point.x, point.y


def _array(points: _Points | _Floats) -> _Floats:
    """Points as (n, 2). What is all but 0 becomes 0: the reciprocal of a denormal number overflows, in GEOS and elsewhere."""
    xy = np.array(points, dtype=np.float64).reshape(-1, 2)
    xy[np.abs(xy) < 1e-100] = 0
    return xy


def _objects(geometries: Iterable[BaseGeometry | None]) -> _Objects:
    """A one-dimensional array of geometries; numpy itself would look into them for a second axis."""
    listed = list(geometries)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def lookup(labels: Mapping[str, str] | None) -> Callable[[str], str | None]:
    """From a label as written to its type, None where it has none."""
    reserved = {name.casefold(): name for name in (IGNORE, BACKGROUND)}
    if labels is None:
        return lambda label: reserved.get(_plain(label).casefold()) or _plain(label) or None
    own_names = {_plain(name): name for name in (*labels.values(), IGNORE, BACKGROUND)}
    exact = own_names | {_plain(spelling): name for spelling, name in labels.items()} | dict(labels)
    folded: dict[str, set[str]] = {}
    for spelling, name in exact.items():
        folded.setdefault(_plain(spelling).casefold(), set()).add(name)
    # Spellings that differ in case only may mean two types; then case is what tells them apart and no other case will do.
    caseless = {spelling: names.pop() for spelling, names in folded.items() if len(names) == 1}

    def type_of(label: str) -> str | None:
        plain = _plain(label)
        if not plain:
            return None
        key = plain.casefold()
        # What a person writes as __IGNORE__ is no defect, even where the table has that word in yet another case.
        return exact.get(label) or exact.get(plain) or reserved.get(key) or caseless.get(key)

    return type_of


def _plain(label: str) -> str:
    return unicodedata.normalize("NFC", label).strip()


def _repaired(
    shapes: Sequence[Shape], size: Size, settings: Repairing, accepted: Set[int] = frozenset()
) -> tuple[_Objects, list[list[_Flaw]]]:
    """An area or None, and the flaws, for each shape; whatever shapely can do for all at once is done for all at once.

    `accepted` are the places in `shapes` of those whose proposal is taken.
    """
    areas = _objects(None for _ in shapes)
    flaws: list[list[_Flaw]] = [[] for _ in shapes]
    outlined: list[int] = []
    near = _all_near(shapes)
    for number, shape in enumerate(shapes):
        flaw = _unreadable(shape, near)
        if flaw is None and (shape.kind in ("", "polygon", "oriented_rectangle") or _is_freehand(shape)):
            outlined.append(number)
        else:
            if flaw is None:
                areas[number], flaw = _drawn(shape, size, settings)
            if flaw is not None:
                flaws[number].append(flaw)
    traced, traced_flaws = _traced([shapes[number].points for number in outlined], settings)
    areas[outlined] = traced
    for number, own in zip(outlined, traced_flaws, strict=True):
        flaws[number].extend(own)
    for number in sorted(accepted):
        for place, flaw in enumerate(flaws[number]):
            if areas[number] is None and flaw.proposal is not None:
                areas[number] = flaw.proposal
                flaws[number][place] = replace(flaw, action=Action.REPAIRED)
    _clip(areas, flaws, size, settings)
    return shapely.normalize(areas), flaws


def _all_near(shapes: Sequence[Shape]) -> bool:
    """Whether no point of any shape is out of reach, or no number."""
    numbers = chain.from_iterable(chain.from_iterable(shape.points for shape in shapes))
    return bool((np.abs(np.fromiter(numbers, np.float64)) <= _REACH).all())  # NaN compares false


def _unreadable(shape: Shape, near: bool) -> _Flaw | None:
    """Why nothing can be made of a shape; its points are looked at where not all are known to be `near`."""
    place = _first(shape.points)
    if shape.fault is not None:
        return _Flaw(Code.MALFORMED_SHAPE, Action.QUEUED, shape.fault, place)
    if shape.kind not in _KINDS:
        return _Flaw(Code.UNKNOWN_KIND, Action.QUEUED, f"kind {shape.kind[:80]!r}", place)
    for number, (x, y) in enumerate(() if near else shape.points):
        if not (abs(x) <= _REACH and abs(y) <= _REACH):  # NaN compares false
            return _Flaw(Code.NOT_FINITE, Action.QUEUED, f"point {number} is ({x:g}, {y:g})", place)
    return None


def _is_freehand(shape: Shape) -> bool:
    """Whether a rectangle's four corners, which newer versions of labelme store, do not make an upright one."""
    if shape.kind != "rectangle" or len(shape.points) != 4:
        return False
    xs, ys = zip(*shape.points, strict=True)
    return set(shape.points) != {(x, y) for x in (min(xs), max(xs)) for y in (min(ys), max(ys))}


def _drawn(shape: Shape, size: Size, settings: Repairing) -> tuple[Area | None, _Flaw | None]:
    """The area of a shape that is no outline, and the one flaw it has, if any."""
    if shape.kind == "mask":
        return _bitmap_area(shape, size)
    geometry, flaw = _figure(shape) if shape.kind in ("rectangle", "circle") else _stroke(shape, settings)
    if geometry is None:
        return None, flaw
    area = _solid(geometry)
    if area is None:
        flaw = _Flaw(Code.NO_AREA, Action.QUEUED, f"{shape.kind} without extent", _first(shape.points))
    return area, flaw


def _figure(shape: Shape) -> tuple[Polygon | None, _Flaw | None]:
    """A rectangle or a circle, perhaps without extent."""
    if len(shape.points) not in ((2, 4) if shape.kind == "rectangle" else (2,)):
        code = Code.TOO_FEW_POINTS if len(shape.points) < 2 else Code.MALFORMED_SHAPE
        return None, _Flaw(code, Action.QUEUED, f"{shape.kind} of {_count(len(shape.points))}", _first(shape.points))
    if shape.kind == "circle":
        return _disc(*_array(shape.points)), None
    points = _array(shape.points)
    return shapely.box(*points.min(axis=0), *points.max(axis=0)), None


def _stroke(shape: Shape, settings: Repairing) -> tuple[BaseGeometry | None, _Flaw | None]:
    """A line or points, drawn with the configured width."""
    linear = shape.kind in _LINES
    place = _first(shape.points)
    width = settings.line_width if linear else settings.point_radius
    if width is None:
        setting = "line_width" if linear else "point_radius"
        return None, _Flaw(Code.NEEDS_WIDTH, Action.QUEUED, f"{shape.kind} without area, and {setting} is not set", place)
    points = _array(shape.points)
    if linear:
        points = np.concatenate([points[:1], points[1:][(points[1:] != points[:-1]).any(axis=1)]])
    else:
        points = np.unique(points, axis=0)
    if len(points) < 1 + linear:
        detail = f"{shape.kind} of {_count(len(points), 'distinct point')}"
        return None, _Flaw(Code.TOO_FEW_POINTS, Action.QUEUED, detail, place)
    tangle = _tangle(points, closed=False, most=_MAX_VERTICES) if linear else _crowd(points)
    if tangle is not None:
        return None, _Flaw(Code.READINGS_DISAGREE, Action.QUEUED, tangle, place)
    extent = f"{width:g} px wide" if linear else f"with a radius of {width:g} px"
    note = _Flaw(Code.DRAWN_WITH_WIDTH, Action.REPAIRED, f"{shape.kind} drawn {extent}", place)
    return _strip(points, width) if linear else _dots(points, width), note


def _count(number: int, noun: str = "point") -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _disc(centre: _Floats, edge: _Floats) -> Polygon:
    """The polygon inscribed in a circle: never beyond it, at least 128 corners (0.04 % less area)."""
    radius = math.dist(centre.tolist(), edge.tolist())
    corners = 4 * math.ceil(min(max(128.0, math.pi * math.sqrt(radius / (2 * _SAGITTA))), 8192.0) / 4)
    angle = np.arange(corners) * (2 * math.pi / corners)
    return Polygon(np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)]))


def _crowd(points: _Floats) -> str | None:
    return f"{len(points)} points, at most {_MAX_VERTICES} can be drawn" if len(points) > _MAX_VERTICES else None


def _dots(points: _Floats, radius: float) -> BaseGeometry:
    return shapely.union_all(shapely.buffer(shapely.points(points), radius, quad_segs=_QUARTER))


def _strip(line: _Floats, width: float) -> BaseGeometry:
    """A line of some width with flat ends and round joints.

    Drawn two edges at a time and united, since GEOS takes minutes to buffer a long wiggling line as a whole. Pieces overlap by
    an edge, so each joint is the middle of one of them.
    """
    pieces = line[np.newaxis] if len(line) == 2 else np.stack([line[:-2], line[1:-1], line[2:]], axis=1)
    return shapely.union_all(shapely.buffer(shapely.linestrings(pieces), width / 2, quad_segs=_QUARTER, cap_style="flat"))


def _solid(geometry: BaseGeometry) -> Area | None:
    """The areas in a geometry as one valid geometry; lines, points and specks of rounding are left out, None if that is all.

    What is invalid here is so by rounding alone, where all readings agree; where crossings crowd it may take several rounds.
    """
    for _ in range(8):
        geometry = shapely.transform(geometry, _array)
        if shapely.is_valid(geometry):
            break
        geometry = shapely.make_valid(geometry)
    else:
        return None
    # Twice, for the multipolygon in a collection; and only now, since GEOS spoils invalid polygons by removing repeated points.
    parts = shapely.remove_repeated_points(shapely.get_parts(shapely.get_parts(geometry)))
    parts = parts[(shapely.get_type_id(parts) == 3) & (shapely.area(parts) > _MIN_AREA)]
    return None if len(parts) == 0 else parts[0] if len(parts) == 1 else MultiPolygon(list(parts))


def _traced(outlines: Sequence[_Points], settings: Repairing) -> tuple[_Objects, list[list[_Flaw]]]:
    """Closed outlines as areas: sound ones at once, the others one by one."""
    areas, doubled = _closed(outlines)
    flaws: list[list[_Flaw]] = [[] for _ in outlines]
    for number in np.flatnonzero(shapely.get_num_coordinates(areas) > _MAX_VERTICES).tolist():
        # Even the question whether a tangle of a million vertices is valid takes a minute.
        tangle = _tangle(shapely.get_coordinates(areas[number])[:-1], closed=True, factor=16)
        if tangle is not None:
            flaws[number].append(_Flaw(Code.READINGS_DISAGREE, Action.QUEUED, tangle, _first(outlines[number])))
            areas[number] = None
    sound = shapely.is_valid(areas) & (shapely.area(areas) > _MIN_AREA)
    for number in np.flatnonzero(~sound).tolist():
        if not flaws[number]:
            areas[number], flaw = _mended(outlines[number], areas[number], settings)
            flaws[number].append(flaw)
    for number, place in doubled.items():
        if areas[number] is not None and not any(flaw.code in (Code.TIDIED, Code.DRAWN_WITH_WIDTH) for flaw in flaws[number]):
            flaws[number].append(_Flaw(Code.TIDIED, Action.REPAIRED, "a point drawn twice in a row", place))
    return areas, flaws


def _mended(outline: _Points, polygon: Polygon | None, settings: Repairing) -> tuple[Area | None, _Flaw]:
    """The area of an outline that is no sound polygon, and why it has none or what was done."""
    distinct = np.array(list(dict.fromkeys(map(tuple, _array(outline).tolist()))))
    place = _first(outline)
    if len(distinct) == 2 and settings.two_points != "queue":
        width = float(settings.two_points.removeprefix("line:"))
        area = _solid(_strip(distinct, width))
        detail = f"2 points drawn as a line {width:g} px wide"
        if area is None:
            return None, _Flaw(Code.NO_AREA, Action.QUEUED, detail, place)
        return area, _Flaw(Code.DRAWN_WITH_WIDTH, Action.REPAIRED, detail, place)
    if len(distinct) < 3 or polygon is None:
        return None, _Flaw(Code.TOO_FEW_POINTS, Action.QUEUED, _count(len(distinct), "distinct point"), place)
    return _untangled(polygon, settings)


def _closed(outlines: Sequence[_Points]) -> tuple[_Objects, dict[int, tuple[float, float]]]:
    """A polygon for each outline, however broken, and where those with doubled points have the first of them.

    A point that repeats the one before it (the first one follows the last) is left out; None where fewer than three remain.
    """
    polygons = _objects(None for _ in outlines)
    counts = np.array([len(outline) for outline in outlines], dtype=np.intp)
    xy = _array([point for outline in outlines for point in outline])
    owner = np.repeat(np.arange(len(outlines)), counts)
    start = np.cumsum(counts) - counts
    before = np.arange(len(xy)) - 1
    before[start[counts > 0]] = (start + counts - 1)[counts > 0]
    doubled = (xy == xy[before]).all(axis=1)
    enough = np.bincount(owner[~doubled], minlength=len(outlines)) >= 3
    keep = ~doubled & enough[owner]
    if keep.any():
        polygons[enough] = shapely.polygons(shapely.linearrings(xy[keep], indices=(np.cumsum(enough) - 1)[owner[keep]]))
    places = {int(owner[at]): (float(xy[at, 0]), float(xy[at, 1])) for at in np.flatnonzero(doubled)[::-1]}
    return polygons, places


def _untangled(polygon: Polygon, settings: Repairing) -> tuple[Area | None, _Flaw]:
    """An invalid polygon, repaired or queued, and in both cases the flaw that says so.

    The ring is cut at all its crossings, which makes a map of faces; how often the ring winds around a face decides which
    reading counts it in. The repaired area is the non-zero reading, put together from its faces. shapely's `make_valid` will not
    do: `linework` takes an edge drawn twice for one, and `structure` loses outlines whose first edge is also a spike, wholly.
    """
    ring = shapely.get_coordinates(polygon)[:-1]
    start = float(ring[0, 0]), float(ring[0, 1])
    tangle = _tangle(ring, closed=True, most=_MAX_VERTICES)
    if tangle is not None:
        return None, _Flaw(Code.READINGS_DISAGREE, Action.QUEUED, tangle, start)
    faces = shapely.get_parts(shapely.polygonize([shapely.unary_union(polygon.exterior)]))
    if len(faces) * len(ring) > _MAX_WINDING_STEPS:
        tangle = f"{len(ring)} vertices, {len(faces)} faces, too tangled to be read"
        return None, _Flaw(Code.READINGS_DISAGREE, Action.QUEUED, tangle, start)
    sizes = shapely.area(faces)
    turns = _windings(ring, shapely.point_on_surface(faces))
    covered = float(sizes[turns != 0].sum())
    if covered <= _MIN_AREA:
        return None, _Flaw(Code.NO_AREA, Action.QUEUED, f"{_count(len(ring))} that enclose nothing", start)
    agreement = float(sizes[turns % 2 == 1].sum()) / covered
    signed = float((sizes * turns).sum())
    winding = abs(signed) / covered
    # Where a line truly crosses itself the winding numbers around that point span three values, so one of them is neither
    # 0 nor the outline's own sense. Keyholes, pinches and spikes have no such face.
    crossed = (turns != 0) & (turns != (1 if signed >= 0 else -1)) & (sizes > _MIN_AREA)
    place = _crossing(faces[crossed][np.argmax(sizes[crossed])], ring) if crossed.any() else _complaint(polygon)
    readings = f"IoU of the readings {agreement:.4f}, signed area {winding:.4f} of the covered"
    if agreement < settings.min_agreement or winding < settings.min_winding:
        wanted = f"{readings} (at least {settings.min_agreement:g} and {settings.min_winding:g})"
        return None, _Flaw(Code.READINGS_DISAGREE, Action.QUEUED, wanted, place, _solid(shapely.union_all(faces[turns != 0])))
    area = _solid(shapely.union_all(faces[turns != 0]))
    if area is None:
        return None, _Flaw(Code.NO_AREA, Action.QUEUED, f"{_count(len(ring))} that enclose no sound area", place)
    if crossed.any():
        return area, _Flaw(Code.SELF_CROSSING, Action.REPAIRED, readings, place)
    return area, _Flaw(Code.TIDIED, Action.REPAIRED, "the outline touches or retraces itself", place)


def _crossing(face: Polygon, ring: _Floats) -> tuple[float, float]:
    """A corner of a face that is no vertex of the ring, thus a crossing; any corner where the ring crosses at a vertex."""
    corners = set(map(tuple, shapely.get_coordinates(face).tolist()))
    x, y = min(corners - set(map(tuple, ring.tolist())) or corners)
    return x, y


def _complaint(polygon: Polygon) -> tuple[float, float] | None:
    """Where GEOS says that a polygon is invalid: `Ring Self-intersection[5 5]`."""
    match = re.search(r"\[(\S+) (\S+)\]", shapely.is_valid_reason(polygon))
    return (float(match[1]), float(match[2])) if match else None


def _windings(ring: _Floats, points: _Objects) -> NDArray[np.int64]:
    """How often an unclosed ring of vertices winds around each point, positive where it runs anticlockwise with y up."""
    x, y = ring[:, 0], ring[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    turns = np.zeros(len(points), dtype=np.int64)
    step = max(1, 2**20 // len(ring))
    for start in range(0, len(points), step):
        px = shapely.get_x(points[start : start + step])[:, np.newaxis]
        py = shapely.get_y(points[start : start + step])[:, np.newaxis]
        left = (next_x - x) * (py - y) - (px - x) * (next_y - y)
        up = (y <= py) & (next_y > py) & (left > 0)
        down = (y > py) & (next_y <= py) & (left < 0)
        turns[start : start + step] = up.sum(axis=1) - down.sum(axis=1)
    return turns


def _tangle(line: _Floats, *, closed: bool, most: int = 0, factor: int = 4) -> str | None:
    """Why a line would take too long to cut at its crossings; None if it would not.

    Crossings grow with the square of the edges; the pairs of edges whose boxes meet are an upper bound that is cheap to
    count, and the count stops as soon as it is too high.
    """
    if most and len(line) > most:
        return f"{len(line)} vertices, at most {most} can be untangled"
    if len(line) <= _FEW_VERTICES:
        return None
    start, end = (line, np.roll(line, -1, axis=0)) if closed else (line[:-1], line[1:])
    low, high = np.minimum(start, end), np.maximum(start, end)
    boxes = shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    tree = shapely.STRtree(boxes)
    limit = _MAX_MEETINGS + factor * len(line)
    met, done, step = 0, 0, 1
    while done < len(boxes):
        met += tree.query(boxes[done : done + step]).shape[1]
        done += step
        if met > limit:
            return f"{len(line)} vertices, too tangled to be read"
        step = min(1024, max(1, 2**18 * done // met))  # a query that answers with a million pairs at once eats memory
    return None


def _clip(areas: _Objects, flaws: list[list[_Flaw]], size: Size, settings: Repairing) -> None:
    """Cut areas that reach beyond the image, in place, and say so."""
    bounds = shapely.bounds(areas)
    reach = np.column_stack([-bounds[:, :2], bounds[:, 2:] - (size.width, size.height)]).max(axis=1, initial=-np.inf)
    beyond = np.flatnonzero(reach > 0)  # NaN, where there is no area, compares false
    frame = shapely.box(0, 0, size.width, size.height)
    for number, inside in zip(beyond, shapely.intersection(areas[beyond], frame), strict=True):
        whole = areas[number]
        areas[number] = _solid(shapely.transform(inside, lambda xy: np.clip(xy, 0, (size.width, size.height))))
        corners = shapely.get_coordinates(whole)
        x, y = corners[np.abs(corners - np.clip(corners, 0, (size.width, size.height))).max(axis=1).argmax()]
        if areas[number] is None:
            flaws[number].append(_Flaw(Code.OUTSIDE, Action.QUEUED, "nothing of it lies inside the image", (x, y)))
        elif reach[number] > _EDGE:
            outside = max(0.0, 1 - areas[number].area / whole.area)
            code = Code.OUTSIDE if outside > settings.max_outside else Code.CLIPPED
            detail = f"reaches {reach[number]:.3g} px beyond the image with {outside:.2%} of its area"
            flaws[number].append(_Flaw(code, Action.REPAIRED, detail, (x, y)))


def _bitmap_area(shape: Shape, size: Size) -> tuple[Area | None, _Flaw | None]:
    """The pixels of a mask shape as an area whose every pixel centre, and no other, lies inside."""
    place = _first(shape.points)
    if len(shape.points) != 2:
        return None, _Flaw(Code.BAD_MASK, Action.QUEUED, f"{_count(len(shape.points))}, expected 2 corners", place)
    (x0, y0), (x1, y1) = np.floor(np.sort(np.array(shape.points), axis=0)).astype(int).tolist()
    bitmap = _bitmap(shape.mask or b"", Size(y1 - y0 + 1, x1 - x0 + 1), size)
    if isinstance(bitmap, str):
        return None, _Flaw(Code.BAD_MASK, Action.QUEUED, bitmap, place)
    if not bitmap.any():
        return None, _Flaw(Code.NO_AREA, Action.QUEUED, "the bitmap is empty", place)
    edges = _edges(bitmap)
    if len(edges) > _MAX_MASK_EDGES:
        detail = f"a bitmap with {len(edges)} straight edges, at most {_MAX_MASK_EDGES} can be followed"
        return None, _Flaw(Code.BAD_MASK, Action.QUEUED, detail, place)
    outline = shapely.line_merge(shapely.multilinestrings(list(edges)))  # else polygonize takes twice as long
    faces = shapely.get_parts(shapely.polygonize([outline]))
    inner = shapely.point_on_surface(faces)
    taken = faces[bitmap[shapely.get_y(inner).astype(int), shapely.get_x(inner).astype(int)]]
    return _solid(shapely.transform(MultiPolygon(list(taken)), lambda xy: xy + np.array([x0, y0]))), None


def _bitmap(data: bytes, expected: Size, image: Size) -> NDArray[np.bool_] | str:
    """The decoded bitmap, True inside; or in words why there is none. Its size is known before any pixel is decoded."""
    if not data:
        return "no bitmap"
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        return "the bitmap is not a PNG"
    width, height = struct.unpack(">II", data[16:24])
    if (height, width) != (expected.height, expected.width):
        return f"a bitmap of {width} × {height} px in a box of {expected.width} × {expected.height} px"
    if expected.area > image.area:
        return f"a bitmap of {width} × {height} px on an image of {image.width} × {image.height} px"
    from PIL.PngImagePlugin import PngImageFile  # directly: Image.open would warn of large bitmaps, whose size is checked here

    try:
        with PngImageFile(BytesIO(_pixels_alone(data))) as picture:
            bands = picture.getbands()
            values: NDArray[Any] = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error) as error:
        return f"the bitmap cannot be decoded ({type(error).__name__})"
    if values.ndim == 3:
        return np.asarray(values[:, :, [number for number, band in enumerate(bands) if band != "A"]].any(axis=2))
    return np.asarray(values != 0)


def _pixels_alone(png: bytes) -> bytes:
    """The chunks that pixels are made of, for Pillow would look for frames besides. ValueError at a second header, whose size it
    would take for the first one's."""
    kept, place, kind = [png[:33]], 33, b""
    while kind != b"IEND" and place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        if kind == b"IHDR":
            raise ValueError("a second header")
        if kind in (b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(png[place : place + 12 + length])
        place += 12 + length
    return b"".join(kept)


def _edges(bitmap: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All longest straight edges between inside and outside, as (n, 2 ends, x y).

    The corners of a row, taken from left to right, are by turns the begin and the end of an edge, and those of a column
    likewise; where two pixels touch at a corner only, that corner counts twice.
    """
    padded = np.pad(bitmap, 1)
    upper_left, upper_right, lower_left, lower_right = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    turning = upper_left ^ upper_right ^ lower_left ^ lower_right
    saddle = (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    times = turning + 2 * saddle.astype(np.uint8)
    row, column = np.nonzero(times)
    corners = np.repeat(np.column_stack([column, row]), times[row, column], axis=0)
    by_column = corners[np.lexsort((corners[:, 1], corners[:, 0]))]
    return np.concatenate([corners.reshape(-1, 2, 2), by_column.reshape(-1, 2, 2)]).astype(np.float64)
