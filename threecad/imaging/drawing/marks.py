"""What is drawn over the photograph: outlines of regions, windows, shapes as somebody drew them, and the places of findings.

Lines are drawn at once; letters are returned, for `lettering.write` finds room for them when all lines are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from threecad.domain import Action, Finding, Shape, Size, State, Window
from threecad.imaging.drawing.canvas import clipped, dashed, disc, segments, stroke
from threecad.imaging.drawing.framing import Floats, Frame
from threecad.imaging.drawing.lettering import MOST_TEXTS, Text
from threecad.imaging.drawing.scene import ACTIONS, AS_DRAWN, CROSSING, GROUND, IGNORED, MOST_KEYS, STATES, Picture, numbered

_REACH = 1e7  # px; farther out a coordinate is garbage (polygons._REACH)
_LITTLE = 1600.0  # px² of the picture
_MOST_DOTS = 20_000
_MOST_WORDS = 200  # windows that are labelled with their state
_MOST_CELLS = 20_000_000  # pairs of edges compared in search of crossings: about a second
_MOST_CROSSINGS = 2_000


# Regions and windows


def reaching(geometries: Sequence[BaseGeometry], window: Window) -> NDArray[Any]:
    """Those that may reach into the window."""
    every = np.array(geometries, dtype=object)
    left, top, right, bottom = _box(window)
    x0, y0, x1, y1 = shapely.bounds(every).reshape(-1, 4).T
    near: NDArray[Any] = every[(x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top)]
    return near


def outlined(canvas: Picture, shown: Frame, geometries: NDArray[Any], colour: Sequence[int]) -> None:
    """Outline areas in one colour, small ones with a thinner line that leaves something of them to be seen."""
    scale = shown.size.area / shown.window.size.area
    small = shapely.area(geometries) * scale < _LITTLE
    for some, width in ((geometries[~small], 2), (geometries[small], 1)):
        _outline(canvas, shown.place, some, colour, width)


def _outline(
    canvas: Picture, place: Callable[[Any], Floats], geometries: NDArray[Any], colour: Sequence[int], width: int
) -> None:
    """Outline areas in one colour over a darker, wider line."""
    rings = shapely.get_rings(shapely.get_parts(geometries))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    placed = place(points)
    same = ring[1:] == ring[:-1]
    edges = clipped(np.stack([placed[:-1][same], placed[1:][same]], axis=1), Size(*canvas.shape[:2]))
    stroke(canvas, edges, (0, 0, 0), width + 2)
    stroke(canvas, edges, colour, width)


def draw_windows(canvas: Picture, shown: Frame, windows: Sequence[tuple[Window, State]]) -> list[Text]:
    """Thin dashed rectangles. Each is drawn a little inside itself, its neighbours a little more, so that those that overlap can
    be told apart. Returns the states as words, where there are not too many."""
    size = Size(*canvas.shape[:2])
    texts: list[Text] = []
    rows, columns = ({at: k for k, at in enumerate(sorted({key(own) for own, _ in windows}))} for key in (_top, _left))
    for state, colour in STATES.items():
        own = [window for window, its in windows if its is state]
        if own:
            corners = shown.place(np.array([_box(window) for window in own], np.float64).reshape(-1, 2, 2))
            odd = np.array([(rows[window.top] + columns[window.left]) % 2 for window in own])
            inset = np.minimum((2.5 + 5 * odd)[:, None], (corners[:, 1] - corners[:, 0]) / 4)
            (left, top), (right, bottom) = (corners[:, 0] + inset).T, (corners[:, 1] - inset).T
            path = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], axis=1).reshape(-1, 5, 2)
            dashes = dashed(clipped(np.stack([path[:, :-1], path[:, 1:]], axis=2).reshape(-1, 2, 2), size))
            stroke(canvas, dashes, (0, 0, 0), 4)
            stroke(canvas, dashes, colour, 2)
            texts += [Text((x, y), state, GROUND, colour) for x, y in zip(left.tolist(), top.tolist(), strict=True)]
    return texts if len(texts) <= _MOST_WORDS else []


def _top(window: Window) -> int:
    return window.top


def _left(window: Window) -> int:
    return window.left


def _box(window: Window) -> tuple[int, int, int, int]:
    return window.left, window.top, window.left + window.size.width, window.top + window.size.height


# Shapes as drawn


def traces(shape: Shape) -> list[Floats]:
    """The lines (points, x y) of a shape just as it was drawn; closed ones end where they begin. A shape of one point is a
    line of one point. Points that are not finite, or absurdly far away, are left out.

    >>> [line.tolist() for line in traces(Shape(0, "dent", "rectangle", ((1.0, 2.0), (3.0, 5.0))))]
    [[[1.0, 2.0], [3.0, 2.0], [3.0, 5.0], [1.0, 5.0], [1.0, 2.0]]]
    """
    points = _finite(shape)[1]
    if not len(points):
        return []
    if shape.kind in ("point", "points"):
        return list(points[:, None])
    if shape.kind in ("rectangle", "mask") and len(points) == 2:
        (x0, y0), (x1, y1) = np.sort(points, axis=0).tolist()
        if shape.kind == "mask":  # labelme writes its last pixel, not the edge behind it
            x1, y1 = x1 + 1, y1 + 1
        return [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])]
    if shape.kind == "circle" and len(points) == 2:
        angle = np.linspace(0, 2 * math.pi, 97)
        return [points[0] + math.dist(*points.tolist()) * np.column_stack([np.cos(angle), np.sin(angle)])]
    closed = shape.kind not in ("line", "linestrip") and len(points) > 2
    return [np.concatenate([points, points[:1]]) if closed else points]


def _finite(shape: Shape) -> tuple[NDArray[np.intp], Floats]:
    """The points of a shape that can be drawn, with their numbers."""
    points = np.array(shape.points, np.float64).reshape(-1, 2)
    kept = np.flatnonzero((np.abs(points) <= _REACH).all(axis=1))
    return kept, points[kept]


def crossings(line: Floats, most_cells: int = _MOST_CELLS) -> Floats:
    """Where edges of a line (points, x y) truly cross one another, (n, x y); nothing where that takes too many comparisons.

    >>> crossings(np.array([(0, 0), (10, 10), (10, 0), (0, 10), (0, 0)], float)).tolist()
    [[5.0, 5.0]]
    """
    if len(line) < 4 or len(line) ** 2 > most_cells:
        return np.zeros((0, 2))
    start, step = line[:-1], np.diff(line, axis=0)
    found = []
    rows = max(1, 2**18 // len(start))
    for begin in range(0, len(start), rows):
        chunk = slice(begin, begin + rows)
        one, way = start[chunk, None], step[chunk, None]
        reach = _cross(way, step)  # how far apart the two edges' directions are
        with np.errstate(all="ignore"):
            ours, theirs = _cross(start - one, step) / reach, _cross(start - one, way) / reach
        meet = (ours > 0) & (ours < 1) & (theirs > 0) & (theirs < 1)
        meet &= np.arange(len(start)) > np.arange(begin, begin + len(one))[:, None]
        which, _ = np.nonzero(meet)
        found.append(start[begin + which] + ours[meet][:, None] * step[begin + which])
    return np.concatenate(found)


def _cross(one: Floats, two: Floats) -> Floats:
    crossed: Floats = one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]
    return crossed


def draw_as_drawn(canvas: Picture, shown: Frame, drawn: Sequence[tuple[Shape, Action]]) -> tuple[list[Text], int]:
    """Dashed outlines of shapes that are in no mask, their vertices as dots, the crossings of queued ones as diamonds.

    Returns the numbers of the vertices, which are written last (the first vertex of a shape is its largest dot), and how many
    crossings there are.
    """
    size = Size(*canvas.shape[:2])
    cells, met = _MOST_CELLS, [np.zeros((0, 2))]
    dots: list[tuple[tuple[float, float], int]] = []
    texts: list[Text] = []
    for action, colour in ((Action.DROPPED, IGNORED), (Action.QUEUED, AS_DRAWN)):
        lines = []
        for shape in (shape for shape, own in drawn if own is action):
            traced = traces(shape)
            lines += [shown.place(line) for line in traced]
            if action is Action.QUEUED:
                if shape.kind not in ("rectangle", "circle", "mask"):
                    met += [crossings(line, cells) for line in traced]
                    cells -= sum(len(line) ** 2 for line in traced if len(line) ** 2 <= cells)
                _number(shape, shown, dots, texts)
        edges = clipped(segments([line for line in lines if len(line) > 1]), size)
        stroke(canvas, edges, (255, 255, 255), 3)
        stroke(canvas, dashed(edges), colour, 3)
    for (x, y), radius in dots:
        disc(canvas, x, y, radius + 1, (0, 0, 0))
        disc(canvas, x, y, radius, (255, 255, 255))
    crossed = np.concatenate(met)
    places = shown.place(crossed[:_MOST_CROSSINGS])
    tips = np.array([(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)], np.float64)
    diamonds = (places[:, None, None] + 7 * np.stack([tips[:-1], tips[1:]], axis=1)).reshape(-1, 2, 2)
    for colour, width in (((0, 0, 0), 5), (CROSSING, 2)):
        stroke(canvas, clipped(diamonds, size), colour, width)
    return texts, len(crossed)


def _number(shape: Shape, shown: Frame, dots: list[tuple[tuple[float, float], int]], texts: list[Text]) -> None:
    """Add the dots and numbers of a shape's vertices that are in the frame, as long as there is room for them in both lists."""
    numbers, points = _finite(shape)
    for number, point, (x, y) in zip(numbers.tolist(), points.tolist(), shown.place(points).tolist(), strict=True):
        if len(dots) >= _MOST_DOTS:
            return
        if shown.holds((point[0], point[1])):
            dots.append(((x, y), 3 if number else 5))
            if len(texts) < MOST_TEXTS:
                texts.append(Text((x, y), str(number)))


# Findings and types


def draw_findings(canvas: Picture, shown: Frame, findings: Sequence[Finding]) -> tuple[list[Text], Floats]:
    """Rings around the places of findings. Returns their numbers, which are written last, and the rings' places."""
    marks: list[Text] = []
    for number, finding in numbered(findings):
        if finding.place is not None and shown.holds(finding.place) and len(marks) < MOST_TEXTS:
            x, y = shown.place(finding.place).tolist()
            disc(canvas, x, y, 11, (255, 255, 255), 4)
            disc(canvas, x, y, 11, ACTIONS[finding.action], 2)
            marks.append(Text((x, y), str(number), ACTIONS[finding.action], needed=True))
    return marks, np.array([mark.place for mark in marks], np.float64).reshape(-1, 2)


def type_tags(shown: Frame, outlines: Sequence[tuple[int, NDArray[Any]]], inks: NDArray[Any] | None) -> list[Text]:
    """The number of each region's type, where colours alone do not tell types apart; without outlines, of each type once."""
    places: list[tuple[int, float, float]] = []
    for ink, geometries in outlines:
        inner = shapely.get_coordinates(shapely.point_on_surface(geometries[: MOST_TEXTS - len(places)]))
        places += [(ink, x, y) for x, y in shown.place(inner).tolist()]
    if inks is not None and not outlines:
        for ink in np.unique(inks[inks > 0])[:MOST_KEYS].tolist():
            depth = cv2.distanceTransform((inks == ink).astype(np.uint8), cv2.DIST_L1, 3)
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            places.append((ink, float(x), float(y)))
    return [Text((x, y), f"t{ink}") for ink, x, y in places]
