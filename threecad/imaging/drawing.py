"""Pictures for people: what a tile shows and where its defects are, and one image with everything that is drawn on it."""

from __future__ import annotations

import importlib.util
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count, groupby
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from threecad.domain import MEANING, Action, Finding, Shape, Size, State, Tile, Window

LINE = (255, 0, 255)
"""Magenta: no metal, glass or plastic has it."""


def preview(tile: Tile, longest: int = 512) -> NDArray[np.uint8]:
    """The tile as (height, width, 3) uint8 RGB, its longer side at most `longest` pixels, every defect outlined one pixel wide.

    16-bit pixels are spread from the tile's darkest to its brightest.
    """
    pixels: NDArray[Any] = tile.pixels
    if pixels.dtype == np.uint16:
        low, high = int(pixels.min()), int(pixels.max())
        pixels = ((pixels.astype(np.float32) - low) * (255 / max(high - low, 1))).astype(np.uint8)
    scale = min(1.0, longest / max(pixels.shape[:2]))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    shown: NDArray[Any] = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else np.array(pixels, order="C")
    contours, _ = cv2.findContours(tile.mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    edge = np.array([shown.shape[1] - 1, shown.shape[0] - 1])
    cv2.polylines(shown, [np.minimum(np.round(contour * scale), edge).astype(np.int32) for contour in contours], True, LINE)
    return shown


# One annotated image: everything that is drawn on it, what became of that, and a strip below that says what the marks mean.

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
"""(height, width, 3) RGB."""

PALETTE: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Of Okabe and Ito, which people with any common colour blindness tell apart; from the eighth type on they come again."""
IGNORED: Colour = (190, 190, 190)
AS_DRAWN: Colour = (255, 40, 150)
CROSSING: Colour = (255, 225, 0)
STATES: dict[State, Colour] = {
    State.GOOD: (0, 158, 115),
    State.DEFECT: (213, 94, 0),
    State.AMBIGUOUS: (240, 228, 66),
    State.POISONED: (204, 121, 167),
}
_ACTIONS: dict[Action, Colour] = {
    Action.QUEUED: (200, 20, 100),
    Action.DROPPED: (140, 70, 0),
    Action.REPAIRED: (0, 90, 165),
    Action.KEPT: (85, 85, 90),
}
"""What waits for a person first, as in the summary; white letters stand on each."""

_SMALL = 720  # px; a smaller picture is enlarged by a whole factor, so that single pixels and their numbers can be seen
_MOST_TIMES = 32  # enlarged
_MARGIN = 0.25  # of a shape's longer side around it, and at least
_LEAST_MARGIN = 8.0  # px of the image
_REACH = 1e7  # px; farther out a coordinate is garbage (polygons._REACH)
_LITTLE = 1600.0  # px² of the picture
_SHARE = 0.38  # of the type's colour in a pixel of its mask
_FINE = 4  # bits of a pixel's fraction in OpenCV's coordinates
_PERIOD, _DASH = 14.0, 7.0  # px of the picture
_MOST_DASHES = 100_000  # a second's work; more of them are drawn as whole lines
_MOST_TEXTS = 2_000  # numbers on one picture; nobody reads more
_MOST_DOTS = 20_000
_MOST_WORDS = 200  # windows that are labelled with their state
_MOST_CELLS = 20_000_000  # pairs of edges compared in search of crossings: about a second
_MOST_CROSSINGS = 2_000
_MOST_KEYS, _MOST_SHAPES = 48, 12  # entries of the legend, and shapes named in one line of findings
_NARROWEST = 640  # px of a strip that can be read
_NOTHING = np.zeros((0, 2, 2))


@dataclass(frozen=True, slots=True)
class Frame:
    """What part of an image is shown and how large: `window` in pixels of the image, `size` in those of the picture."""

    window: Window
    size: Size

    def place(self, points: Any) -> Floats:
        """Points (…, 2) of the image in the picture; both are continuous, from the outer corner of the top left pixel.

        >>> Frame(Window(10, 20, Size(5, 5)), Size(50, 50)).place([(20.0, 10.0), (20.5, 15.0)]).tolist()
        [[0.0, 0.0], [5.0, 50.0]]
        """
        scale = np.array([self.size.width / self.window.size.width, self.size.height / self.window.size.height])
        with np.errstate(over="ignore", invalid="ignore"):
            placed: Floats = (np.asarray(points, np.float64) - (self.window.left, self.window.top)) * scale
        return placed

    def holds(self, place: tuple[float, float]) -> bool:
        """Whether a point of the image is shown; one on the edge is."""
        x, y = place[0] - self.window.left, place[1] - self.window.top
        return 0 <= x <= self.window.size.width and 0 <= y <= self.window.size.height


def frame(size: Size, longest: int, around: tuple[float, float, float, float] | None = None) -> Frame:
    """The frame of a whole image, or of the part around (left, top, right, bottom) with a margin, at most `longest` px wide
    and high. What is small is enlarged by a whole factor.

    >>> frame(Size(3000, 6000), 1500).size, frame(Size(100, 100), 1500).size
    (Size(height=750, width=1500), Size(height=800, width=800))
    >>> frame(Size(1000, 1000), 1500, around=(990, 400, 1200, 420)).window
    Window(top=347, left=937, size=Size(height=126, width=63))
    """
    window = Window(0, 0, size)
    if around is not None:
        left, top, right, bottom = around
        margin = max(_LEAST_MARGIN, _MARGIN * max(right - left, bottom - top))
        x0, x1 = _span(left - margin, right + margin, size.width)
        y0, y1 = _span(top - margin, bottom + margin, size.height)
        window = Window(y0, x0, Size(y1 - y0, x1 - x0))
    side = max(window.size.height, window.size.width)
    times = float(max(1, min(longest // side, -(-_SMALL // side), _MOST_TIMES))) if side <= longest else longest / side
    return Frame(window, Size(*(max(1, round(length * times)) for length in (window.size.height, window.size.width))))


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Whole pixels from `low` to `high`, as far as the image goes and at least one."""
    first = int(min(max(math.floor(low), 0), length - 1))
    return first, int(min(max(math.ceil(high), first + 1), length))


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the legend: what a colour and a style mean.

    `name` is the type's own, `text` what the strip says for it where that differs, as for letters the font does not have.
    """

    name: str
    colour: Colour
    style: Literal["type", "ignore", "queued", "dropped", "crossing", "window"]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All there is to draw. Geometries, shapes, windows and places are in the image's frame.

    `inks` (height, width of the frame's window) tells for each pixel the type whose mask it is in, from 1 on, 0 for none;
    `names` are these types in order, None the ink of areas to ignore. `outlines` are pairs of an ink and the geometries that
    have it; where there are none, the borders between inks are outlined. `drawn` are shapes as drawn, with the action that
    keeps them out of the masks.
    """

    pixels: NDArray[Any]
    title: str
    facts: Sequence[str] = ()
    names: Sequence[str | None] = ()
    inks: NDArray[Any] | None = None
    outlines: Sequence[tuple[int, Sequence[BaseGeometry]]] | None = None
    drawn: Sequence[tuple[Shape, Action]] = ()
    windows: Sequence[tuple[Window, State]] = ()
    findings: Sequence[Finding] = ()
    state: State | None = None


def draw(scene: Scene, shown: Frame) -> tuple[Picture, tuple[Key, ...]]:
    """The picture with its strip below, (height, width, 3), and the legend.

    Top left is the image's own; the strip is at least 640 px wide, so a narrow image stands to the left of nothing.

    >>> scene = Scene(np.zeros((20, 20), np.uint8), "a.png", ["20 × 20 px"], ["dent"], np.eye(20, dtype=np.uint8))
    >>> picture, legend = draw(scene, frame(Size(20, 20), 1600))
    >>> picture.shape[1], picture[5, 5].tolist(), legend[0].text
    (640, [87, 60, 0], 'dent')
    """
    canvas = _shown(scene.pixels, shown)
    colours = _colours(scene.names)
    inks = None if scene.inks is None else _reduced(scene.inks, shown.size, thin=scene.outlines is None)
    outlines = [(ink, _near(geometries, shown.window)) for ink, geometries in scene.outlines or ()]
    if inks is not None:
        _fill(canvas, inks, colours, scene.names)
    for ink, geometries in outlines:
        _outlined(canvas, shown, geometries, colours[ink].tolist())
    if inks is not None and scene.outlines is None:
        _border(canvas, inks, colours)
    words = _draw_windows(canvas, shown, scene.windows)
    texts, crossed = _draw_as_drawn(canvas, shown, scene.drawn)
    marks, pins = _draw_findings(canvas, shown, scene.findings)
    tags = _tags(shown, outlines, inks) if len(scene.names) > len(PALETTE) else []
    _write(canvas, [*marks, *tags, *words, *texts], pins)
    present = {ink for ink, geometries in outlines if len(geometries)} | set(() if inks is None else np.unique(inks).tolist())
    keys = _keys(scene, colours, present, crossed)
    strip = _strip(max(canvas.shape[1], _NARROWEST), scene, keys)
    whole = np.empty((canvas.shape[0] + strip.shape[0], strip.shape[1], 3), np.uint8)
    whole[:] = _GROUND
    whole[: canvas.shape[0], : canvas.shape[1]] = canvas
    whole[canvas.shape[0] :] = strip
    return whole, keys


def numbered(findings: Iterable[Finding]) -> list[tuple[int | None, Finding]]:
    """Findings in the order in which pictures number them, from 1 on: what waits for a person first; None where there is no
    place to put the number.

    >>> from threecad.domain import Code
    >>> lost = Finding(Code.IMAGE_BY_NAME, Action.KEPT, "a.png", None, "")
    >>> [number for number, _ in numbered([lost, Finding(Code.NO_AREA, Action.QUEUED, "a.png", 0, "", (1.0, 2.0))])]
    [1, None]
    """
    rank = {action: place for place, action in enumerate(_ACTIONS)}
    ordered = sorted(
        findings,
        key=lambda each: (rank[each.action], each.code, each.place is None, -1 if each.shape is None else each.shape),
    )
    numbers = count(1)
    return [(None if each.place is None else next(numbers), each) for each in ordered]


# The image and its masks


def _shown(pixels: NDArray[Any], shown: Frame) -> Picture:
    """The frame's part of the image as 8-bit RGB, scaled before anything is drawn on it.

    16 bits are spread from the part's darkest to its brightest pixel, but for one in a thousand at each end: hot pixels.
    """
    window = shown.window
    part = pixels[window.top : window.top + window.size.height, window.left : window.left + window.size.width]
    part = _scaled(part, shown.size, cv2.INTER_AREA)
    if part.dtype == np.uint16:
        low, high = (float(value) for value in np.quantile(part, (0.001, 0.999), method="nearest"))
        spread = (part.astype(np.float32) - low) * (255 / max(high - low, 1))
        part = np.clip(spread, 0, 255).astype(np.uint8)
    return np.repeat(part[..., None], 3, axis=2) if part.ndim == 2 else np.array(part, order="C")


def _scaled(part: NDArray[Any], size: Size, smaller: int = cv2.INTER_NEAREST_EXACT) -> NDArray[Any]:
    if part.shape[:2] == (size.height, size.width):
        return part
    how = smaller if size.height * size.width < part.shape[0] * part.shape[1] else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(part), (size.width, size.height), interpolation=how)


def _reduced(inks: NDArray[Any], size: Size, *, thin: bool) -> NDArray[Any]:
    """The inks in the picture's size; `thin` says that what is narrower than the picture's pixels must not get lost."""
    step = -(-inks.shape[1] // size.width)
    if thin and step > 1:
        inks = cv2.dilate(inks, np.ones((step, step), np.uint8))
    return _scaled(inks, size)


def _colours(names: Sequence[str | None]) -> Picture:
    """The colour of each ink as (inks + 1, 3); ink 0 has none."""
    colours = np.zeros((len(names) + 1, 3), np.uint8)
    for ink, name in enumerate(names, 1):
        colours[ink] = IGNORED if name is None else PALETTE[(ink - 1) % len(PALETTE)]
    return colours


def _fill(canvas: Picture, inks: NDArray[Any], colours: Picture, names: Sequence[str | None]) -> None:
    """Paint the masks over the image so that it shines through; what is to be ignored is hatched."""
    inside = inks > 0
    ignored = np.array([False, *(name is None for name in names)])
    if ignored.any():
        diagonal = np.arange(inks.shape[0])[:, None] + np.arange(inks.shape[1])
        inside &= ~ignored[inks] | (diagonal % 8 < 3)
    blended = cv2.addWeighted(canvas, 1 - _SHARE, colours[inks], _SHARE, 0)
    canvas[inside] = blended[inside]


def _border(canvas: Picture, inks: NDArray[Any], colours: Picture) -> None:
    """Outline every ink along its own pixels, and darken the pixels around it, so that it stands out from a bright image."""
    edge = np.zeros(inks.shape, np.uint8)
    down, right = inks[1:] != inks[:-1], inks[:, 1:] != inks[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    wide = cv2.dilate(edge, np.ones((3, 3), np.uint8)).astype(bool)
    outer, inner = wide & (inks == 0), wide & (inks > 0)
    canvas[outer] = canvas[outer] // 3
    canvas[inner] = colours[inks[inner]]


# Lines


def _segments(lines: Sequence[Floats]) -> Floats:
    """The edges (n, 2 ends, x y) of lines given as (points, x y)."""
    if not lines:
        return _NOTHING
    return np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])


def _clipped(edges: Floats, size: Size, margin: float = 24.0) -> Floats:
    """The parts of edges in the picture and a little around it, so that no coordinate is too large for OpenCV."""
    start, step = edges[:, 0], edges[:, 1] - edges[:, 0]
    low, high = np.zeros(len(edges)), np.ones(len(edges))
    for axis, length in enumerate((size.width, size.height)):
        at = start[:, axis]
        with np.errstate(all="ignore"):
            one, two = (-margin - at) / step[:, axis], (length + margin - at) / step[:, axis]
        flat = step[:, axis] == 0
        inside = (at >= -margin) & (at <= length + margin)
        low = np.maximum(low, np.where(flat, np.where(inside, 0, np.inf), np.fmin(one, two)))
        high = np.minimum(high, np.where(flat, np.where(inside, 1, -np.inf), np.fmax(one, two)))
    kept = low <= high
    start, step, low, high = start[kept], step[kept], low[kept, None], high[kept, None]
    return np.stack([start + low * step, start + high * step], axis=1)


def _dashed(edges: Floats) -> Floats:
    """The dashes of clipped edges, which run on from one edge to the next; the edges themselves where there would be too many."""
    step = edges[:, 1] - edges[:, 0]
    length = np.hypot(step[:, 0], step[:, 1])
    if length.sum() / _PERIOD > _MOST_DASHES:
        return edges
    phase = (np.cumsum(length) - length) % _PERIOD
    counts = np.ceil((length + phase) / _PERIOD).astype(np.intp)
    edge = np.repeat(np.arange(len(edges)), counts)
    begin = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)) * _PERIOD - phase[edge]
    first, last = np.maximum(begin, 0), np.minimum(begin + _DASH, length[edge])
    some = last > first
    edge, first, last = edge[some], first[some, None], last[some, None]
    along = step[edge] / length[edge][:, None]
    return np.stack([edges[edge, 0] + first * along, edges[edge, 0] + last * along], axis=1)


def _stroke(canvas: Picture, edges: Floats, colour: Sequence[int], width: int) -> None:
    """Draw edges given in the picture's continuous frame, smoothly."""
    if not len(edges):
        return
    # OpenCV counts from the centre of the first pixel.
    fixed = np.round((edges - 0.5) * (1 << _FINE)).astype(np.int32)
    cv2.polylines(canvas, list(fixed), False, [int(value) for value in colour], width, cv2.LINE_AA, _FINE)


def _near(geometries: Sequence[BaseGeometry], window: Window) -> NDArray[Any]:
    """Those that may reach into the window."""
    every = np.array(geometries, dtype=object)
    left, top, right, bottom = _box(window)
    x0, y0, x1, y1 = shapely.bounds(every).reshape(-1, 4).T
    near: NDArray[Any] = every[(x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top)]
    return near


def _outlined(canvas: Picture, shown: Frame, geometries: NDArray[Any], colour: Sequence[int]) -> None:
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
    edges = _clipped(np.stack([placed[:-1][same], placed[1:][same]], axis=1), Size(*canvas.shape[:2]))
    _stroke(canvas, edges, (0, 0, 0), width + 2)
    _stroke(canvas, edges, colour, width)


def _draw_windows(canvas: Picture, shown: Frame, windows: Sequence[tuple[Window, State]]) -> list[_Text]:
    """Thin dashed rectangles. Each is drawn a little inside itself, its neighbours a little more, so that those that overlap can
    be told apart. Returns the states as words, where there are not too many."""
    size = Size(*canvas.shape[:2])
    texts: list[_Text] = []
    rows, columns = ({at: k for k, at in enumerate(sorted({key(own) for own, _ in windows}))} for key in (_top, _left))
    for state, colour in STATES.items():
        own = [window for window, its in windows if its is state]
        if own:
            corners = shown.place(np.array([_box(window) for window in own], np.float64).reshape(-1, 2, 2))
            odd = np.array([(rows[window.top] + columns[window.left]) % 2 for window in own])
            inset = np.minimum((2.5 + 5 * odd)[:, None], (corners[:, 1] - corners[:, 0]) / 4)
            (left, top), (right, bottom) = (corners[:, 0] + inset).T, (corners[:, 1] - inset).T
            path = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], axis=1).reshape(-1, 5, 2)
            dashes = _dashed(_clipped(np.stack([path[:, :-1], path[:, 1:]], axis=2).reshape(-1, 2, 2), size))
            _stroke(canvas, dashes, (0, 0, 0), 4)
            _stroke(canvas, dashes, colour, 2)
            texts += [_Text((x, y), state, _GROUND, colour) for x, y in zip(left.tolist(), top.tolist(), strict=True)]
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


@dataclass(frozen=True, slots=True)
class _Text:
    """A few letters near a place of the picture, on a pill where there is a `fill`; `needed` ones are never left out."""

    place: tuple[float, float]
    text: str
    fill: Colour | None = None
    colour: Colour = (255, 255, 255)
    needed: bool = False


def _draw_as_drawn(canvas: Picture, shown: Frame, drawn: Sequence[tuple[Shape, Action]]) -> tuple[list[_Text], int]:
    """Dashed outlines of shapes that are in no mask, their vertices as dots, the crossings of queued ones as diamonds.

    Returns the numbers of the vertices, which are written last (the first vertex of a shape is its largest dot), and how many
    crossings there are.
    """
    size = Size(*canvas.shape[:2])
    cells, met = _MOST_CELLS, [np.zeros((0, 2))]
    dots: list[tuple[tuple[float, float], int]] = []
    texts: list[_Text] = []
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
        edges = _clipped(_segments([line for line in lines if len(line) > 1]), size)
        _stroke(canvas, edges, (255, 255, 255), 3)
        _stroke(canvas, _dashed(edges), colour, 3)
    for (x, y), radius in dots:
        _disc(canvas, x, y, radius + 1, (0, 0, 0))
        _disc(canvas, x, y, radius, (255, 255, 255))
    crossed = np.concatenate(met)
    places = shown.place(crossed[:_MOST_CROSSINGS])
    tips = np.array([(0, -1), (1, 0), (0, 1), (-1, 0), (0, -1)], np.float64)
    diamonds = (places[:, None, None] + 7 * np.stack([tips[:-1], tips[1:]], axis=1)).reshape(-1, 2, 2)
    for colour, width in (((0, 0, 0), 5), (CROSSING, 2)):
        _stroke(canvas, _clipped(diamonds, size), colour, width)
    return texts, len(crossed)


def _number(shape: Shape, shown: Frame, dots: list[tuple[tuple[float, float], int]], texts: list[_Text]) -> None:
    """Add the dots and numbers of a shape's vertices that are in the frame, as long as there is room for them in both lists."""
    numbers, points = _finite(shape)
    for number, point, (x, y) in zip(numbers.tolist(), points.tolist(), shown.place(points).tolist(), strict=True):
        if len(dots) >= _MOST_DOTS:
            return
        if shown.holds((point[0], point[1])):
            dots.append(((x, y), 3 if number else 5))
            if len(texts) < _MOST_TEXTS:
                texts.append(_Text((x, y), str(number)))


def _disc(canvas: Picture, x: float, y: float, radius: float, colour: Colour, width: int = cv2.FILLED) -> None:
    centre = (round((x - 0.5) * (1 << _FINE)), round((y - 0.5) * (1 << _FINE)))
    cv2.circle(canvas, centre, round(radius * (1 << _FINE)), colour, width, cv2.LINE_AA, _FINE)


# Numbers and letters


def _draw_findings(canvas: Picture, shown: Frame, findings: Sequence[Finding]) -> tuple[list[_Text], Floats]:
    """Rings around the places of findings. Returns their numbers, which are written last, and the rings' places."""
    marks: list[_Text] = []
    for number, finding in numbered(findings):
        if finding.place is not None and shown.holds(finding.place) and len(marks) < _MOST_TEXTS:
            x, y = shown.place(finding.place).tolist()
            _disc(canvas, x, y, 11, (255, 255, 255), 4)
            _disc(canvas, x, y, 11, _ACTIONS[finding.action], 2)
            marks.append(_Text((x, y), str(number), _ACTIONS[finding.action], needed=True))
    return marks, np.array([mark.place for mark in marks], np.float64).reshape(-1, 2)


def _tags(shown: Frame, outlines: Sequence[tuple[int, NDArray[Any]]], inks: NDArray[Any] | None) -> list[_Text]:
    """The number of each region's type, where colours alone do not tell types apart; without outlines, of each type once."""
    places: list[tuple[int, float, float]] = []
    for ink, geometries in outlines:
        inner = shapely.get_coordinates(shapely.point_on_surface(geometries[: _MOST_TEXTS - len(places)]))
        places += [(ink, x, y) for x, y in shown.place(inner).tolist()]
    if inks is not None and not outlines:
        for ink in np.unique(inks[inks > 0])[:_MOST_KEYS].tolist():
            depth = cv2.distanceTransform((inks == ink).astype(np.uint8), cv2.DIST_L1, 3)
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            places.append((ink, float(x), float(y)))
    return [_Text((x, y), f"t{ink}") for ink, x, y in places]


_GROUND: Colour = (24, 26, 30)
_BRIGHT: Colour = (236, 238, 242)
_FAINT: Colour = (160, 166, 176)
_LETTERS, _HEAD, _DIGITS = 15, 17, 12  # px: the strip, its title, numbers on the image
_AROUND = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0))
"""Where a text is tried: at the upper right of its place first, then all around it."""


def _font(size: int, bold: bool = False) -> Any:
    """DejaVu Sans, which has the letters of Europe and comes with matplotlib; Pillow's own, which has fewer, where it is not."""
    return _fonts(size, bold)


@cache
def _fonts(size: int, bold: bool) -> Any:
    from PIL import ImageFont

    found = importlib.util.find_spec("matplotlib")  # without running it
    for folder in (found and found.submodule_search_locations) or ():
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
        if file.is_file():
            return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    """Whether the font has a picture of the letter that can be put beside others from left to right."""
    if letter == " ":
        return True
    if not letter.isprintable() or unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.combining(letter):
        return False
    font = _font(_LETTERS)
    own, missing = font.getmask(letter), font.getmask("\uffff")
    return bool(own.size != missing.size or bytes(own) != bytes(missing))


def legible(text: str) -> bool:
    """Whether the picture can show this text letter by letter.

    >>> legible("Kratzer é × 2"), legible("划痕"), legible("a\\nb")
    (True, False, False)
    """
    return all(map(_has, text[:1000]))


def plain(text: str) -> str:
    r"""The text with escapes for the letters that a picture cannot show.

    >>> plain("样品_3.png")
    '\\u6837\\u54c1_3.png'
    """
    return "".join(letter if _has(letter) else letter.encode("unicode_escape").decode() for letter in text[:1000])


def _fitting(text: str, font: Any, width: float, *, from_end: bool = False) -> str:
    """The text; where it is longer than `width` px, as much of its beginning, or of its end, as there is room for."""
    if font.getlength(text) <= width:
        return text

    def cut(count: int) -> str:
        return f"…{text[len(text) - count :]}" if from_end else f"{text[:count]}…"

    low, high = 0, min(len(text), 1000)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(cut(middle)) <= width else (low, middle - 1)
    return cut(low)


def _write(canvas: Picture, texts: Sequence[_Text], pins: Floats) -> None:
    """Put each text beside its place where it hides no other and no place in `pins`; one that finds no room is left out, or,
    if it is needed, put to the upper right all the same."""
    from PIL import Image, ImageDraw

    if not texts:
        return
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    font = _font(_DIGITS, bold=True)
    taken = np.zeros(canvas.shape[:2], bool)
    for x, y in pins.astype(int).tolist():
        taken[max(y - 6, 0) : y + 6, max(x - 6, 0) : x + 6] = True
    for text in texts[:_MOST_TEXTS]:
        width, height = math.ceil(font.getlength(text.text)) + (10 if text.fill else 4), _DIGITS + 4
        room = _room(text, width, height, taken)
        if room is None:
            continue
        left, top = room
        taken[top : top + height, left : left + width] = True
        middle = (left + width / 2, top + height / 2)
        if text.fill:
            box = (left, top, left + width - 1, top + height - 1)
            pen.rounded_rectangle(box, height / 2, fill=text.fill, outline=text.colour)
            pen.text(middle, text.text, fill=text.colour, font=font, anchor="mm")
        else:
            pen.text(middle, text.text, fill=text.colour, font=font, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))
    canvas[:] = np.asarray(picture)


def _room(text: _Text, width: int, height: int, taken: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Left and top of a free place for a text, None where there is none."""
    x, y = text.place
    away = 8 if text.needed else 3
    lowest, rightmost = taken.shape[0] - height, taken.shape[1] - width
    for farther in (0, 9):
        for across, down in _AROUND:
            left = round(x - width / 2 + across * (away + farther + width / 2))
            top = round(y - height / 2 + down * (away + farther + height / 2))
            if 0 <= left <= rightmost and 0 <= top <= lowest and not taken[top : top + height, left : left + width].any():
                return left, top
    if not text.needed:
        return None
    return round(min(max(x + away, 0), max(rightmost, 0))), round(min(max(y - away - height, 0), max(lowest, 0)))


# The strip


def _keys(scene: Scene, colours: Picture, present: Set[int], crossed: int) -> tuple[Key, ...]:
    """The legend of what the picture holds; `present` are the inks in it."""
    several = len(scene.names) > len(PALETTE)
    keys = []
    for ink, name in enumerate(scene.names, 1):
        if ink in present:
            red, green, blue = colours[ink].tolist()
            text = "to ignore" if name is None else name if name and legible(name) else f"type {ink}"
            tag = f"t{ink} " if several and name is not None else ""
            keys.append(Key(name or text, (red, green, blue), "ignore" if name is None else "type", tag + text))
    actions = Counter(action for _, action in scene.drawn)
    if actions[Action.QUEUED]:
        keys.append(Key("queued", AS_DRAWN, "queued", f"queued, as drawn ({actions[Action.QUEUED]})"))
    if crossed:
        keys.append(Key("crossing", CROSSING, "crossing", f"crosses itself ({crossed})"))
    if actions[Action.DROPPED]:
        keys.append(Key("dropped", IGNORED, "dropped", f"dropped, as drawn ({actions[Action.DROPPED]})"))
    states = Counter(state for _, state in scene.windows)
    keys += [Key(state, STATES[state], "window", f"{state} window ({states[state]})") for state in STATES if states[state]]
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of findings: their numbers, whose colour is `fill`, and what they say."""

    numbers: str
    fill: Colour
    text: str


def _rows(findings: Sequence[Finding]) -> list[_Row]:
    """The findings as the strip lists them: one line a code and outcome, since a hundred shapes may share one."""
    rows = []
    listed = numbered(findings)
    for (action, code), group in groupby(listed, key=lambda item: (item[1].action, item[1].code)):
        own = list(group)
        numbers = [number for number, _ in own if number is not None]
        shapes = sorted({finding.shape for _, finding in own if finding.shape is not None})
        named = ", ".join(map(str, shapes[:_MOST_SHAPES])) + (
            f" and {len(shapes) - _MOST_SHAPES} more" if shapes[_MOST_SHAPES:] else ""
        )
        which = f" · shape{'s' if len(shapes) > 1 else ''}\u00a0{named}" if shapes else ""
        span = "" if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
        rows.append(_Row(span, _ACTIONS[action], f"{code.value} {action.value}: {MEANING[code]}{which}"))
    return rows


def _strip(width: int, scene: Scene, keys: Sequence[Key]) -> Picture:
    """What stands below the image: title, facts, legend, findings."""
    from PIL import Image, ImageDraw

    pad, step = 12, 24
    letters, head = _font(_LETTERS), _font(_HEAD, bold=True)
    inner = width - 2 * pad
    legend = _laid_out(keys, inner, letters)
    rows = [(row, line) for row in _rows(scene.findings) for line in _wrapped(row.text.split(" "), " ", letters, inner - 64)]
    facts = _wrapped(map(plain, scene.facts), " · ", letters, inner)
    height = 2 * pad + step * (1 + len(facts) + len(legend) + len(rows)) + (6 if legend else 0) + (6 if rows else 0)
    strip = Image.new("RGB", (width, height), _GROUND)
    pen = ImageDraw.Draw(strip)
    y = pad
    chip = 0
    if scene.state is not None:
        chip = round(letters.getlength(scene.state)) + 26
        pen.rounded_rectangle((pad, y, pad + chip - 10, y + 20), 10, fill=STATES[scene.state])
        pen.text((pad + 8, y + 10), scene.state, fill=(0, 0, 0), font=letters, anchor="lm")
    pen.text(
        (pad + chip, y + 10),
        _fitting(plain(scene.title), head, inner - chip, from_end=True),
        fill=_BRIGHT,
        font=head,
        anchor="lm",
    )
    y += step
    for line in facts:
        pen.text((pad, y + 10), line, fill=_FAINT, font=letters, anchor="lm")
        y += step
    y += 6 if legend else 0
    for entries in legend:
        for x, key, text in entries:
            _swatch(pen, pad + x, y + 3, key)
            pen.text((pad + x + 30, y + 10), text, fill=_BRIGHT, font=letters, anchor="lm")
        y += step
    y += 6 if rows else 0
    before = None
    for row, line in rows:
        if row is not before and row.numbers:
            numbers = _font(_DIGITS, bold=True)
            reach = numbers.getlength(row.numbers) + 12
            pen.rounded_rectangle((pad, y + 1, pad + reach, y + 18), 9, fill=row.fill, outline=(255, 255, 255))
            pen.text((pad + reach / 2, y + 9.5), row.numbers, fill=(255, 255, 255), font=numbers, anchor="mm")
        elif row is not before:
            pen.ellipse((pad + 6, y + 6, pad + 13, y + 13), fill=row.fill, outline=(255, 255, 255))
        pen.text((pad + 64, y + 10), line, fill=_BRIGHT, font=letters, anchor="lm")
        before = row
        y += step
    return np.array(strip, np.uint8)


def _laid_out(keys: Sequence[Key], width: float, font: Any) -> list[list[tuple[float, Key, str]]]:
    """The legend in lines: where each entry begins, and its text."""
    if len(keys) > _MOST_KEYS:
        more = f"and {len(keys) - _MOST_KEYS + 1} more"
        keys = [*keys[: _MOST_KEYS - 1], Key(more, _GROUND, "type", more)]
    lines: list[list[tuple[float, Key, str]]] = []
    x = width
    for key in keys:
        text = _fitting(key.text, font, min(width - 30, 300))
        reach = 30 + font.getlength(text) + 22
        if x + reach - 22 > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, key, text))
        x += reach
    return lines


def _swatch(pen: Any, x: float, y: float, key: Key) -> None:
    """What the marks of an entry look like, 22 × 14 px."""
    box = (x, y, x + 22, y + 14)
    if key.style in ("type", "ignore"):
        faint = tuple(round(_SHARE * value + (1 - _SHARE) * 128) for value in key.colour)
        pen.rectangle(box, fill=faint if key.style == "type" else (105, 105, 105), outline=key.colour, width=2)
        if key.style == "ignore":
            for start in (5, 11, 17):
                pen.line((x + start - 4, y + 12, x + start + 6, y + 2), fill=key.colour, width=1)
    elif key.style == "crossing":
        pen.polygon([(x + 11, y - 1), (x + 19, y + 7), (x + 11, y + 15), (x + 3, y + 7)], outline=key.colour, width=2)
    elif key.style == "window":
        for start in (0, 8, 16):
            pen.line((x + start, y + 1, x + min(start + 5, 22), y + 1), fill=key.colour, width=2)
            pen.line((x + start, y + 13, x + min(start + 5, 22), y + 13), fill=key.colour, width=2)
    else:
        pen.line((x, y + 7, x + 22, y + 7), fill=(255, 255, 255), width=3)
        for start in (0, 9, 18):
            pen.line((x + start, y + 7, x + min(start + 5, 22), y + 7), fill=key.colour, width=3)


def _wrapped(words: Iterable[str], between: str, font: Any, width: float) -> list[str]:
    """The words in lines of at most `width` px, `between` them where they share a line; a longer word is cut."""
    lines: list[str] = []
    for word in words:
        if lines and font.getlength(f"{lines[-1]}{between}{word}") <= width:
            lines[-1] = f"{lines[-1]}{between}{word}"
        else:
            lines.append(_fitting(word, font, width))
    return lines
