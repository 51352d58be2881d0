"""Regions ↔ pixels of one image: which pixels a region owns, as runs of columns, and the arrays painted from them.

Everything goes through `Spans`: they are found once for all regions of an image, and masks, type maps, visible areas and
bounding boxes are then read off them, so that no two of these can disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from threecad.domain import Region, Size, Window
from threecad.settings import RasterRule

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bitmap = NDArray[np.uint8]
Part = list[Floats]
"""The rings of one polygon, exterior first, each (n, 2) of x and y without the closing point."""

_LONG = 1024
"""Runs from this many pixels on are written one by one, shorter ones of one value together, eight bytes at a time."""
_BATCH = 1 << 13
"""Runs written together: their indices stay within the cache, and memory does not grow with the number of runs."""
_DEEP = 8
"""Pieces a run, on average, into which runs of several values may cut one another; where they lie deeper they are written one
over the other."""
_INKS = 16
"""Values from which on it takes longer to look for the runs of each than to write runs one by one."""
_PAIRS = 1 << 20
"""Runs compared with windows at a time in `visible`, or those of one region in one window where they are more: some 50 bytes
each. What `visible` returns comes on top, regions × windows large; who has many of both passes the windows in parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """The pixels of numbered regions as runs of columns [start, stop) in a row: four int32 arrays of equal length.

    Sorted by region, row and start. The runs of one region are not empty, do not overlap and do not touch one another;
    runs of different regions may overlap.
    """

    region: NDArray[np.int32]
    row: NDArray[np.int32]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.region)


def order(regions: Sequence[Region]) -> list[int]:
    """The numbers of the regions from the largest area to the smallest, equal areas by uid.

    Painted in this order a type map shows the smaller of two nested defects on top:
    `spans([regions[k] for k in order(regions)], ...)`.

    >>> small, large = (Region(f"a#{k}", "dent", shapely.box(0, 0, k + 1, 2), (k,)) for k in range(2))
    >>> order([small, large])
    [1, 0]
    """
    return sorted(range(len(regions)), key=lambda k: (-regions[k].geometry.area, regions[k].uid))


def spans(regions: Sequence[Region], size: Size, rule: RasterRule = "center") -> tuple[Spans, list[int]]:
    """The pixels each region owns, and the numbers of the regions that were too thin to own any.

    `center`: pixel (row j, column i) belongs to a region if its centre (i + 0.5, j + 0.5) lies in it, even-odd over all rings.
    A centre on the boundary belongs to the side right of it (below it, on a horizontal edge), so that regions which share
    their edges vertex by vertex own each pixel exactly once. Crossings are computed in doubles.

    `labelme` paints as labelme's own `shape_to_mask` does with the outline's points (holes keep their outline painted),
    `coco` as pycocotools (less the masks of holes), `opencv` as `cv2.fillPoly` over points rounded to whole pixels.

    A region that owns no pixel by the rule gets every pixel of which it covers a part, however small, but more than an edge.
    Pixels outside the image do not exist.

    >>> strip = Region("a#0", "scratch", shapely.box(1.0, 0.1, 4.0, 0.4), (0,))
    >>> found, thin = spans([strip], Size(2, 8))
    >>> found.row.tolist(), found.start.tolist(), found.stop.tolist(), thin
    ([0], [1], [4], [0])
    """
    geometries = np.array([region.geometry for region in regions], dtype=object)
    if rule == "center":
        edges = _edges(geometries)
        first, last = _centers(edges, size)
    else:
        edges = None
        first, last = _drawn(geometries, size, _DRAW[rule])
    owns = np.zeros(len(regions), bool)
    owns[first // (size.height * (size.width + 1))] = True
    thin = np.flatnonzero(~owns)
    if len(thin):
        touched = _touched(_edges(geometries) if edges is None else edges, thin, size)
        first, last = np.concatenate([first, touched[0]]), np.concatenate([last, touched[1]])
        by_place = np.argsort(first)
        first, last = first[by_place], last[by_place]
    return _unpack(first, last, size), [int(number) for number in thin]


def paint(
    found: Spans, size: Size, values: Sequence[int | None], dtype: type[np.uint8] | type[np.uint16] = np.uint8
) -> NDArray[Any]:
    """An array (height, width) of zeros in which region k is painted with `values[k]`; None leaves a region out.

    Later regions lie on top of earlier ones; see `order`.

    >>> dot = Region("a#0", "dent", shapely.box(1, 0, 3, 1), (0,))
    >>> paint(spans([dot], Size(2, 4))[0], Size(2, 4), [7]).tolist()
    [[0, 7, 7, 0], [0, 0, 0, 0]]
    """
    canvas = np.zeros((size.height, size.width), dtype)
    if not len(found):
        return canvas
    inks = np.array([-1 if value is None else value for value in values], np.int64)
    ink = inks[found.region]
    begin = found.row.astype(np.int64) * size.width + found.start
    length = (found.stop - found.start).astype(np.int64)
    if inks.min() < 0:
        painted = ink >= 0
        ink, begin, length = ink[painted], begin[painted], length[painted]
    flat = canvas.reshape(-1)
    shown = np.flatnonzero(np.bincount(ink)).tolist()
    if len(shown) > 1:
        apart = _uppermost(begin, begin + length, ink) if len(shown) < _INKS else None
        if apart is None:
            _write_slices(flat, begin, length, ink)
            return canvas
        begin, length, ink = apart
    # Where no value lies on top of another, the runs may be written in any order.
    for value in shown:
        long, own = length >= _LONG, ink == value
        _write_words(flat, begin[own & ~long], length[own & ~long], value)
        _write_slices(flat, begin[own & long], length[own & long], ink[own & long])
    return canvas


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Of the regions that have runs, in order: their numbers, where in the spans their runs begin and end, how many pixels they
    own, and the boxes around these, right and bottom exclusive."""

    region: NDArray[np.int32]
    begin: Ints
    end: Ints
    area: Ints
    top: Ints
    left: Ints
    bottom: Ints
    right: Ints


def boxes(found: Spans) -> Boxes:
    """Where every region lies, so that a window need not look at the runs of those that are elsewhere.

    >>> bar = Region("a#0", "dent", shapely.box(1, 0, 3, 2), (0,))
    >>> box = boxes(spans([bar], Size(4, 4))[0])
    >>> box.area.tolist(), box.left.tolist(), box.right.tolist()
    ([4], [1], [3])
    """
    region, begin = np.unique(found.region, return_index=True)
    end = np.append(begin[1:], len(found))
    if not len(region):
        return Boxes(region, *[np.zeros(0, np.int64)] * 7)
    area = np.add.reduceat(found.stop - found.start, begin, dtype=np.int64)
    left, right = np.minimum.reduceat(found.start, begin), np.maximum.reduceat(found.stop, begin)
    edges = (found.row[begin], left, found.row[end - 1] + 1, right)
    return Boxes(region, begin, end, area, *(edge.astype(np.int64) for edge in edges))


def crop(found: Spans, window: Window, boxes: Boxes | None = None) -> Spans:
    """The part of every run that lies in a window, in the window's own frame.

    A mask painted from it is the window of the mask painted from all: pixels are decided once, on the whole image. With the
    `boxes` of `found` it takes only as long as there are runs in the regions that reach into the window.

    >>> dot = Region("a#0", "dent", shapely.box(1, 0, 3, 2), (0,))
    >>> part = crop(spans([dot], Size(4, 4))[0], Window(1, 2, Size(2, 2)))
    >>> paint(part, Size(2, 2), [7]).tolist()
    [[7, 0], [0, 0]]
    """
    if boxes is not None:
        down, across = window.top + window.size.height, window.left + window.size.width
        near = (boxes.top < down) & (boxes.bottom > window.top) & (boxes.left < across) & (boxes.right > window.left)
        run = _ranges(boxes.begin[near], boxes.end[near])
        found = Spans(found.region[run], found.row[run], found.start[run], found.stop[run])
    row, start, stop = found.row - window.top, found.start - window.left, found.stop - window.left
    kept = np.flatnonzero((row >= 0) & (row < window.size.height) & (start < window.size.width) & (stop > 0))
    edge = np.int32(window.size.width)
    return Spans(found.region[kept], row[kept], np.maximum(start[kept], np.int32(0)), np.minimum(stop[kept], edge))


def rasterize(regions: Sequence[Region], size: Size, rule: RasterRule = "center") -> Bitmap:
    """The union of the regions as a mask (height, width), 0 and 255.

    >>> rasterize([Region("a#0", "dent", shapely.box(0.5, 0, 2.5, 1), (0,))], Size(1, 4)).tolist()
    [[255, 255, 0, 0]]
    """
    return paint(spans(regions, size, rule)[0], size, [255] * len(regions))


def visible(found: Spans, count: int, windows: Sequence[Window]) -> tuple[Ints, NDArray[np.int32]]:
    """How much of each of `count` regions each window shows, without touching a pixel.

    Returns the visible pixels (count, len(windows)) and the tight boxes around them (count, len(windows), 4) as left, top,
    width and height in the window's frame, zeros where nothing is visible. Windows may overlap and reach beyond the image.

    >>> dot = Region("a#0", "dent", shapely.box(1, 0, 5, 2), (0,))
    >>> areas, boxes = visible(spans([dot], Size(4, 8))[0], 1, [Window(0, 0, Size(4, 4)), Window(1, 4, Size(3, 4))])
    >>> areas.tolist(), boxes.tolist()
    ([[6, 1]], [[[1, 0, 3, 2], [0, 0, 1, 1]]])
    """
    areas = np.zeros((count, len(windows)), np.int64)
    seen = np.zeros((count, len(windows), 4), np.int32)
    if not len(found) or not windows:
        return areas, seen
    frame = np.array([(w.top, w.left, w.top + w.size.height, w.left + w.size.width) for w in windows], np.int64)
    top, left, bottom, right = frame.T
    whole = boxes(found)
    hits = (whole.top[:, None] < bottom) & (whole.bottom[:, None] > top)
    hits &= (whole.left[:, None] < right) & (whole.right[:, None] > left)
    which, window = np.nonzero(hits)
    region = whole.region[which].astype(np.int64)
    inside = (whole.top[which] >= top[window]) & (whole.bottom[which] <= bottom[window])
    inside &= (whole.left[which] >= left[window]) & (whole.right[which] <= right[window])
    at, here = which[inside], window[inside]
    areas[region[inside], here] = whole.area[at]
    corner = whole.left[at] - left[here], whole.top[at] - top[here]
    sides = whole.right[at] - whole.left[at], whole.bottom[at] - whole.top[at]
    seen[region[inside], here] = np.stack([*corner, *sides], axis=1)
    region, window = region[~inside], window[~inside]
    # Runs are sorted by region and row, so those of a region in a window's rows are neighbours: one search finds them.
    rows = int(found.row.max()) + 2
    place = found.region.astype(np.int64) * rows + found.row
    low = np.searchsorted(place, region * rows + np.clip(top[window], 0, rows - 1))
    runs = np.searchsorted(place, region * rows + np.clip(bottom[window], 0, rows - 1)) - low
    region, window, low, runs = (array[runs > 0] for array in (region, window, low, runs))
    ends = np.cumsum(runs)
    done = 0
    while done < len(runs):
        before = int(ends[done - 1]) if done else 0
        stop = max(done + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
        chunk = slice(done, stop)
        area, box = _clipped(found, low[chunk], runs[chunk], frame[window[chunk]])
        areas[region[chunk], window[chunk]], seen[region[chunk], window[chunk]] = area, box
        done = stop
    return areas, seen


def components(mask: Bitmap) -> tuple[int, NDArray[np.int32]]:
    """The number of 8-connected components of a mask (height, width; anything but 0 counts), and the array of their numbers.

    Eight neighbours, since a diagonal scratch one pixel wide is one defect; 0 is background, components count from 1.

    >>> components(np.eye(3, dtype=np.uint8))[0]
    1
    """
    count, labels = cv2.connectedComponents(np.ascontiguousarray(mask), connectivity=8, ltype=cv2.CV_32S)
    return count - 1, labels.astype(np.int32, copy=False)


# Runs as packed keys. One int64 says region, row and column, so that one sort of plain integers orders everything; the
# factor width + 1 keeps a run that ends at the right border apart from one that begins the next row.


def _pack(region: NDArray[Any], row: NDArray[Any], column: NDArray[Any], size: Size) -> Ints:
    packed: Ints = (region.astype(np.int64) * size.height + row) * (size.width + 1) + column
    return packed


def _unpack(first: Ints, last: Ints, size: Size) -> Spans:
    line, start = np.divmod(first, size.width + 1)
    region, row = np.divmod(line, size.height)
    stop = start + (last - first)
    return Spans(*(array.astype(np.int32) for array in (region, row, start, stop)))


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Edges of all rings of all regions, each with its end of lower y first."""

    region: Ints
    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats

    def of(self, chosen: NDArray[Any]) -> _Edges:
        return _Edges(self.region[chosen], self.x0[chosen], self.y0[chosen], self.x1[chosen], self.y1[chosen])

    def at(self, y: NDArray[Any], edge: Ints) -> Floats:
        """x where `edge` crosses `y`. Multiplied before it is divided: exact wherever the result is a short binary fraction."""
        crossing: Floats = self.x0[edge] + (y - self.y0[edge]) * (self.x1 - self.x0)[edge] / (self.y1 - self.y0)[edge]
        return crossing


def _edges(geometries: NDArray[Any]) -> _Edges:
    parts, region = shapely.get_parts(geometries, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    one, two = points[:-1][same], points[1:][same]
    # Two regions that share an edge usually walk it in opposite directions. Both must compute the very same crossing, down to
    # the last bit, or a pixel centre next to it might have two owners or none.
    swap = (one[:, 1] > two[:, 1])[:, None]
    low, high = np.where(swap, two, one), np.where(swap, one, two)
    owner = region[part[ring[:-1][same]]].astype(np.int64)
    return _Edges(owner, low[:, 0], low[:, 1], high[:, 0], high[:, 1])


def _rows(first: Floats, last: Floats, size: Size) -> tuple[Ints, Ints]:
    """Every row in [first, last) of each edge that the image has: the edges' numbers and the rows."""
    begin = np.clip(first, 0, size.height).astype(np.int64)
    count = np.clip(last, 0, size.height).astype(np.int64) - begin
    count = np.maximum(count, 0)
    edge = np.repeat(np.arange(len(count)), count)
    return edge, _ranges(begin, begin + count)


def _centers(edges: _Edges, size: Size) -> tuple[Ints, Ints]:
    """Runs of the pixels whose centres lie in each region, packed and sorted."""
    # An edge crosses the scanline y = j + 0.5 if ymin <= j + 0.5 < ymax; both bounds round up to the same kind of whole number.
    edge, row = _rows(np.ceil(edges.y0 - 0.5), np.ceil(edges.y1 - 0.5), size)
    column = np.ceil(edges.at(row + 0.5, edge) - 0.5)
    column = np.clip(column, 0, size.width).astype(np.int64)
    # Each edge goes down row by row, so there are long stretches in order, which a stable sort merges in no time.
    crossings = np.sort(_pack(edges.region[edge], row, column, size), kind="stable")
    # Two crossings at one place cancel: this drops empty runs, and joins runs that touch.
    fresh = np.flatnonzero(np.append(True, crossings[1:] != crossings[:-1])[: len(crossings)])
    odd = np.diff(fresh, append=len(crossings)) % 2 == 1
    crossings = crossings[fresh[odd]]
    return crossings[0::2], crossings[1::2]


def _touched(edges: _Edges, thin: Ints, size: Size) -> tuple[Ints, Ints]:
    """Runs of the pixels whose open squares the regions `thin` meet, packed and sorted.

    A region without a pixel centre holds no whole pixel, so it meets just those pixels that its boundary passes through;
    the work is that of walking the boundary.
    """
    edges = edges.of(np.isin(edges.region, thin))
    edge, row = _rows(np.floor(edges.y0), np.ceil(edges.y1), size)
    flat = (edges.y0 == edges.y1)[edge]
    with np.errstate(invalid="ignore", divide="ignore"):
        enter = np.where(flat | (row <= edges.y0[edge]), edges.x0[edge], edges.at(row, edge))
        leave = np.where(flat | (row + 1 >= edges.y1[edge]), edges.x1[edge], edges.at(row + 1, edge))
    # Rounding must not carry a crossing beyond the ends of its edge.
    low, high = np.minimum(edges.x0, edges.x1)[edge], np.maximum(edges.x0, edges.x1)[edge]
    start = np.clip(np.floor(np.maximum(np.minimum(enter, leave), low)), 0, size.width)
    stop = np.clip(np.ceil(np.minimum(np.maximum(enter, leave), high)), 0, size.width)
    some = stop > start  # An edge along the grid lies in no open square.
    region, row = edges.region[edge[some]], row[some]
    first, last = (_pack(region, row, column[some].astype(np.int64), size) for column in (start, stop))
    by_place = np.argsort(first)
    first, reach = first[by_place], np.maximum.accumulate(last[by_place])
    gap = first[1:] > reach[:-1]
    return first[np.append(True, gap)[: len(first)]], reach[np.append(gap, True)[: len(first)]]


# Other programs' masks. Each draws one polygon into a bitmap that is as small as it may be: where a program's rounding
# depends on the coordinates' magnitude the bitmap must begin at the image's own origin, or the mask would differ from one
# drawn over the whole image.


def _drawn(geometries: NDArray[Any], size: Size, draw: Callable[[Part, Size], tuple[int, int, Bitmap]]) -> tuple[Ints, Ints]:
    """Runs of what `draw` paints for each region, packed and sorted. `draw` returns the top, the left and a bitmap."""
    firsts, lasts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, geometry in enumerate(geometries):
        drawings = [draw(_part(polygon), size) for polygon in shapely.get_parts(geometry)]
        top, left = min(drawing[0] for drawing in drawings), min(drawing[1] for drawing in drawings)
        bottom = max(drawing[0] + drawing[2].shape[0] for drawing in drawings)
        right = max(drawing[1] + drawing[2].shape[1] for drawing in drawings)
        # A zero left and right of every row: then each run has two ends, and none goes on in the next row.
        union = np.zeros((bottom - top, right - left + 2), bool)
        for y, x, bitmap in drawings:
            height, width = bitmap.shape
            union[y - top : y - top + height, x - left + 1 : x - left + 1 + width] |= bitmap != 0
        flat = union.reshape(-1)
        turn = np.flatnonzero(flat[1:] != flat[:-1])
        row, column = np.divmod(turn, union.shape[1])
        packed = _pack(np.full(len(turn), number), row + top, column + left, size)
        firsts.append(packed[0::2])
        lasts.append(packed[1::2])
    return np.concatenate(firsts), np.concatenate(lasts)


def _part(polygon: shapely.Polygon) -> Part:
    return [shapely.get_coordinates(ring)[:-1] for ring in (polygon.exterior, *polygon.interiors)]


def _corner(part: Part, size: Size) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the pixels a drawn outline may reach, inside the image."""
    (left, top), (right, bottom) = np.floor(part[0].min(0)).astype(int), np.floor(part[0].max(0)).astype(int) + 2
    return max(int(top), 0), max(int(left), 0), min(int(bottom), size.height), min(int(right), size.width)


def _draw_labelme(part: Part, size: Size) -> tuple[int, int, Bitmap]:
    from PIL import Image, ImageDraw

    # Pillow computes in single precision from the absolute x, so columns are not shifted; it truncates y to whole rows first.
    top, left, bottom, right = _corner(part, size)
    image = Image.new("L", (right, bottom - top))
    pen = ImageDraw.Draw(image)
    for ring, fill in zip(part, [1, *[0] * len(part)], strict=False):
        pen.polygon([(float(x), float(y) - top) for x, y in ring], fill=fill, outline=1)
    return top, left, np.asarray(image)[:, left:]


def _draw_coco(part: Part, size: Size) -> tuple[int, int, Bitmap]:
    from pycocotools import mask as coco

    # pycocotools rounds five times the absolute coordinate and steps along edges from there: neither axis is shifted. Its
    # masks come as counts down the columns, of which only the polygon's own columns are unfolded.
    top, left, bottom, right = _corner(part, size)
    drawn: Bitmap = np.zeros((right - left, bottom), np.uint8)
    for number, mask in enumerate(coco.frPyObjects([ring.reshape(-1).tolist() for ring in part], bottom, right)):
        counts = _counts(mask["counts"])
        counts[0] -= left * bottom
        layer = np.repeat(np.arange(len(counts), dtype=np.uint8) & 1, counts).reshape(drawn.shape)
        drawn = drawn & ~layer if number else layer
    return top, left, drawn.T[top:]


def _counts(text: bytes) -> list[int]:
    """The lengths of a COCO mask's runs, of zeros and ones in turn.

    Characters hold five bits each, lowest first, and say whether more follow; from the fourth number on they are differences
    to the number two places before.

    >>> _counts(b"522M"), sum(_counts(b"522M"))
    ([5, 2, 2, -1], 8)
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text:
        value |= (byte - 48 & 31) << shift
        shift += 5
        if not byte - 48 & 32:
            signed = value - (1 << shift) if byte - 48 & 16 else value
            counts.append(signed + counts[-2] if len(counts) > 2 else signed)
            value = shift = 0
    return counts


def _draw_opencv(part: Part, size: Size) -> tuple[int, int, Bitmap]:
    # OpenCV computes in fixed point from whole coordinates, so the bitmap may begin anywhere. It must not go on beyond the
    # image, as lines that leave the bitmap are clipped before they are drawn.
    top, left, bottom, right = _corner(part, size)
    bitmap = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(bitmap, [np.rint(ring).astype(np.int32) - (left, top) for ring in part], 1)
    return top, left, bitmap


_DRAW: dict[str, Callable[[Part, Size], tuple[int, int, Bitmap]]] = {
    "labelme": _draw_labelme,
    "coco": _draw_coco,
    "opencv": _draw_opencv,
}


def _write_slices(flat: NDArray[Any], begin: Ints, length: Ints, ink: Ints) -> None:
    """Writes the runs in their order, each with its own value."""
    # A memoryview assigns a slice in half the time that an array needs.
    target = flat.data
    longest = int(length.max(initial=0))
    pots: dict[int, memoryview] = {}
    for at, count, value in zip(begin.tolist(), length.tolist(), ink.tolist(), strict=True):
        pot = pots.get(value)
        if pot is None:
            pot = pots[value] = np.full(longest, value, flat.dtype).data
        target[at : at + count] = pot[:count]


def _write_words(flat: NDArray[Any], begin: Ints, length: Ints, value: int) -> None:
    """Writes one value into all runs: the whole words of eight bytes in each, then what is left at either end."""
    wide = 8 // flat.itemsize
    end = begin + length
    word = -(-begin // wide)
    words = np.maximum(end // wide - word, 0)
    head = np.where(words > 0, word * wide, end)
    tail = head + words * wide
    _write_indices(
        flat[: len(flat) // wide * wide].view(np.uint64), word, words, np.full(wide, value, flat.dtype).view(np.uint64)
    )
    _write_indices(flat, begin, head - begin, np.full(1, value, flat.dtype))
    _write_indices(flat, tail, end - tail, np.full(1, value, flat.dtype))


def _write_indices(flat: NDArray[Any], begin: Ints, length: Ints, value: NDArray[Any]) -> None:
    for low in range(0, len(begin), _BATCH):
        count = length[low : low + _BATCH]
        flat[_ranges(begin[low : low + _BATCH], begin[low : low + _BATCH] + count)] = value


def _uppermost(begin: Ints, end: Ints, ink: Ints) -> tuple[Ints, Ints, Ints] | None:
    """Begin, length and value of runs apart from one another that look as if those given were written in their order.

    None where they lie so deep upon one another that it would take longer than to write them.
    """
    ends = np.stack([begin, end], axis=1).reshape(-1)
    order = np.argsort(ends, kind="stable")
    fresh = np.append(True, ends[order[1:]] != ends[order[:-1]])
    points = ends[order[fresh]]
    rank = np.empty_like(order)
    rank[order] = np.cumsum(fresh) - 1
    first, last = rank[0::2], rank[1::2]
    pieces = last - first
    if int(pieces.sum()) > _DEEP * len(begin):
        return None
    top = np.full(len(points), -1, np.int64)
    top[_ranges(first, last)] = np.repeat(ink, pieces)  # of what is assigned to one place the last stays
    changed = np.flatnonzero(np.append(True, top[1:] != top[:-1]))
    painted = top[changed] >= 0
    until = np.append(changed[1:], 0)
    start = points[changed[painted]]
    return start, points[until[painted]] - start, top[changed[painted]]


def _ranges(begin: Ints, end: Ints) -> Ints:
    """The whole numbers of all ranges [begin, end), one after the other."""
    count = end - begin
    found: Ints = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - begin, count)
    return found


def _clipped(found: Spans, low: Ints, runs: Ints, frame: Ints) -> tuple[Ints, Ints]:
    """For pairs of a region and a window: visible pixels and their box, from `runs` runs each that begin at `low`."""
    begins = np.cumsum(runs) - runs
    run = _ranges(low, low + runs)
    top, left, _, right = frame.T
    start = np.maximum(found.start[run], np.repeat(left, runs))
    stop = np.minimum(found.stop[run], np.repeat(right, runs))
    row = found.row[run].astype(np.int64)
    seen = stop > start
    area = np.add.reduceat(np.where(seen, stop - start, 0), begins)
    far = np.iinfo(np.int64).max
    x0, y0 = (np.minimum.reduceat(np.where(seen, values, far), begins) for values in (start, row))
    x1, y1 = (np.maximum.reduceat(np.where(seen, values, -1), begins) for values in (stop, row + 1))
    box = np.where((area > 0)[:, None], np.stack([x0 - left, y0 - top, x1 - x0, y1 - y0], axis=1), 0)
    return area, box
