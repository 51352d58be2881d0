"""One image in windows: where they lie, what each of them shows, and the tiles cut out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threecad.domain import Defect, Region, Shape, Size, State, Tile, Window
from threecad.errors import ConfigError
from threecad.imaging.raster import Boxes, Spans, crop, paint, visible
from threecad.settings import Tiling

Extent = tuple[float, float, float, float]
"""Left, top, right and bottom of something in the image, in pixels."""

_LOCATED = frozenset({"polygon", "rectangle", "oriented_rectangle", "line", "linestrip", "point", "points", "circle", "mask"})
"""The kinds of shapes whose points bound them (a circle's and a mask's after a small computation)."""

_MOST = 200_000
"""Windows of one image. More is a slip in the settings, and a list of millions takes gigabytes before the first tile is cut."""
_CELLS = 2_000_000
"""Regions (or queued shapes) × windows judged at a time: bounds the tables of `judge` to a few hundred MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One source, ready to be cut: its pixels, the runs its regions own, and what each region paints into each mask.

    `types` holds a region's index in the type mask, from 1 on, None for an area to ignore; `depth` is that mask's type of
    number. `boxes` are those of the runs; without them every tile looks at every run.
    """

    source: str
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    found: Spans
    types: Sequence[int | None]
    depth: type[np.uint8] | type[np.uint16] = np.uint8
    boxes: Boxes | None = None


def windows(size: Size, settings: Tiling) -> tuple[list[Window], int]:
    """The windows of an image from top to bottom and left to right, and the number of those left out as too narrow.

    `shift` moves the last window of a row or column back inside, as SAHI does; `balanced` has as many, evenly spread; under
    both an image narrower than the window keeps its length. `remainder` leaves the last window short. `pad` makes every
    window full, and the last may reach beyond the image; what counts as its side is the part inside.

    A window with a side below `min_side_ratio` of `slice_size` is left out, so pixels may stay uncovered: an image that is
    itself so narrow yields no window at all, and the count says so. No window comes twice.

    Raises ConfigError where there would be more than 200,000 windows, before the first is made.

    >>> windows(Size(1024, 1500), Tiling())[0] == [Window(0, 0, Size(1024, 1024)), Window(0, 476, Size(1024, 1024))]
    True
    >>> windows(Size(1024, 1500), Tiling(edge="remainder"))[0][1]
    Window(top=0, left=820, size=Size(height=1024, width=680))
    >>> windows(Size(100, 3000), Tiling())
    ([], 4)
    """
    side = settings.slice_size
    # Whole pixels, rounded as SAHI rounds them: 0.29 × 100 is 28.999…, hence 28. As the ratio is below 1, at least 1 is left.
    stride = side - int(settings.overlap_ratio * side)
    count = math.prod(_gaps(length, side, stride) + 1 for length in (size.height, size.width))
    if count > _MOST:
        raise ConfigError(
            f"an image of {size.width} × {size.height} pixels would be cut into {count:,} windows (slice_size {side}, "
            f"overlap_ratio {settings.overlap_ratio:g}), expected at most {_MOST:,}; raise slice_size or lower overlap_ratio"
        )
    tops, lefts = _starts(size.height, side, stride, settings), _starts(size.width, side, stride, settings)
    height, width = size.height, size.width
    if settings.edge == "pad":
        height, width = height + side, width + side
    every = [Window(top, left, Size(min(side, height - top), min(side, width - left))) for top in tops for left in lefts]
    # Less a hair: 0.07 × 100 is 7.000000000000001 in doubles, and a side of 7 is not below 7 %.
    least = settings.min_side_ratio * side - 1e-9
    kept = [window for window in every if min(_inside(window, size)) >= least]
    return sorted(kept), len(every) - len(kept)


def judge(
    found: Spans,
    regions: Sequence[Region],
    windows: Sequence[Window],
    size: Size,
    queued: Sequence[Extent | None],
    settings: Tiling,
) -> list[tuple[State, tuple[Defect, ...]]]:
    """What each window shows: its state, and the visible part of every defect in the order of the regions.

    `found` are the spans of `regions`, and `queued` says where the shapes lie that wait for relabelling (None: nobody knows;
    see `extent`). A window is, the first that holds of

    - POISONED if a queued shape, grown by `margin`, touches it: its mask would lack that defect;
    - DEFECT if it shows at least `min_area_ratio` of some defect's pixels, or at least `min_px` of them;
    - AMBIGUOUS if a pixel of a defect or an ignore area lies in it or within `margin` around it (also diagonally);
    - POISONED if the image has any queued shape, wherever it lies;
    - GOOD otherwise.

    Areas to ignore are not defects: they never make a defect tile, and are not listed.

    >>> import shapely
    >>> from threecad.imaging.raster import spans
    >>> dent = Region("a#0", "dent", shapely.box(0, 0, 20, 20), (0,))
    >>> size, tiling = Size(64, 128), Tiling(slice_size=64, overlap_ratio=0)
    >>> cuts, _ = windows(size, tiling)
    >>> [(str(state), len(defects)) for state, defects in judge(spans([dent], size)[0], [dent], cuts, size, [], tiling)]
    [('defect', 1), ('good', 0)]
    """
    pixels = np.bincount(found.region, found.stop - found.start, len(regions)).astype(np.int64)
    totals = np.maximum(pixels, 1)[:, None]
    step = max(1, _CELLS // max(1, len(regions), len(queued)))
    verdicts = []
    for begin in range(0, len(windows), step):
        verdicts += _judge_some(found, regions, totals, windows[begin : begin + step], size, queued, settings)
    return verdicts


def _judge_some(
    found: Spans,
    regions: Sequence[Region],
    totals: NDArray[np.int64],
    windows: Sequence[Window],
    size: Size,
    queued: Sequence[Extent | None],
    settings: Tiling,
) -> list[tuple[State, tuple[Defect, ...]]]:
    """The verdicts of `judge` on some of the windows; `totals` (regions, 1) are the regions' pixels, at least 1."""
    margin = settings.margin
    grown = [
        Window(w.top - margin, w.left - margin, Size(w.size.height + 2 * margin, w.size.width + 2 * margin)) for w in windows
    ]
    near = np.any(visible(found, len(regions), grown)[0] > 0, axis=0)
    areas, boxes = visible(found, len(regions), windows)
    shares = areas / totals
    ignored = np.array([region.ignore for region in regions], bool)
    shown = (areas > 0) & ~ignored[:, None]
    enough = np.any(shown & ((shares >= settings.min_area_ratio) | (areas >= settings.min_px)), axis=0)
    poisoned = _poisoned(windows, size, queued, margin)

    defects: list[list[Defect]] = [[] for _ in windows]
    for number, window in zip(*(index.tolist() for index in np.nonzero(shown)), strict=True):
        left, top, width, height = boxes[number, window].tolist()
        region = regions[number]
        area, share = int(areas[number, window]), float(shares[number, window])
        defects[window].append(Defect(region.uid, region.label, area, (left, top, width, height), share))

    verdicts = []
    for window in range(len(windows)):
        if poisoned[window]:
            state = State.POISONED
        elif enough[window]:
            state = State.DEFECT
        elif near[window]:
            state = State.AMBIGUOUS
        else:
            state = State.POISONED if queued else State.GOOD
        verdicts.append((state, tuple(defects[window])))
    return verdicts


def cut(canvas: Canvas, window: Window, state: State, defects: tuple[Defect, ...]) -> Tile:
    """The tile of one window. Its pixels are a view; where the window reaches beyond the image, a copy with zeros there.

    The masks are painted for this window alone, from runs found on the whole image: what two tiles share is equal in both.

    >>> blank = np.zeros((4, 6), np.uint8)
    >>> from threecad.imaging.raster import spans
    >>> nothing, _ = spans([], Size(4, 6))
    >>> cut(Canvas("a.png", blank, nothing, []), Window(2, 4, Size(4, 4)), State.GOOD, ()).pixels.shape
    (4, 4)
    """
    size = window.size
    pixels = canvas.pixels[window.top : window.top + size.height, window.left : window.left + size.width]
    if pixels.shape[:2] != (size.height, size.width):
        full = np.zeros((size.height, size.width, *pixels.shape[2:]), pixels.dtype)
        full[: pixels.shape[0], : pixels.shape[1]] = pixels
        pixels = full
    part = crop(canvas.found, window, canvas.boxes)
    types = paint(part, size, canvas.types, canvas.depth)
    if len(part):
        mask = (types != 0).view(np.uint8)
        np.multiply(mask, np.uint8(255), out=mask)
    else:
        mask = np.zeros((size.height, size.width), np.uint8)
    ignore = paint(part, size, [255 if type_ is None else None for type_ in canvas.types]) if None in canvas.types else None
    return Tile(canvas.source, window, pixels, mask, types, ignore, state, defects)


def extent(shape: Shape) -> Extent | None:
    """Left, top, right and bottom of a shape as drawn, or None when nobody can say where it lies.

    That is so for a shape that could not be understood, of an unknown kind, without points or with one that is not finite.

    >>> extent(Shape(0, "dent", "circle", ((10.0, 10.0), (13.0, 14.0))))
    (5.0, 5.0, 15.0, 15.0)
    >>> extent(Shape(0, "dent", "polygon", ((1.0, float("nan")),))) is None
    True
    """
    if shape.fault is not None or shape.kind not in _LOCATED or not shape.points:
        return None
    xs, ys = zip(*shape.points, strict=True)
    if not all(map(math.isfinite, (*xs, *ys))):
        return None
    if shape.kind == "circle":
        radius = max(math.dist(shape.points[0], point) for point in shape.points)
        x, y = shape.points[0]
        return x - radius, y - radius, x + radius, y + radius
    # labelme writes the last pixel of a mask, not the edge behind it.
    behind = 1.0 if shape.kind == "mask" else 0.0
    return min(xs), min(ys), max(xs) + behind, max(ys) + behind


def _starts(length: int, side: int, stride: int, settings: Tiling) -> list[int]:
    """Where the windows begin along one axis: as many as it takes until one reaches the end."""
    gaps = _gaps(length, side, stride)
    if settings.edge == "balanced" and gaps:
        return [(2 * k * (length - side) + gaps) // (2 * gaps) for k in range(gaps + 1)]
    last = max(0, length - side) if settings.edge == "shift" else gaps * stride
    return [min(k * stride, last) for k in range(gaps + 1)]


def _gaps(length: int, side: int, stride: int) -> int:
    """The number of windows along one axis less one, under every policy."""
    return max(0, -(-(length - side) // stride))


def _inside(window: Window, size: Size) -> tuple[int, int]:
    """Height and width of the part of the window that lies in the image."""
    return min(window.size.height, size.height - window.top), min(window.size.width, size.width - window.left)


def _poisoned(windows: Sequence[Window], size: Size, queued: Sequence[Extent | None], margin: int) -> NDArray[np.bool_]:
    """Which windows a queued shape touches, or may touch."""
    if None in queued:
        return np.ones(len(windows), bool)
    if not queued or not windows:
        return np.zeros(len(windows), bool)
    x0, y0, x1, y1 = np.array(queued, np.float64).T[:, :, None]
    left, top = np.array([(w.left, w.top) for w in windows], np.float64).T
    height, width = np.array([_inside(w, size) for w in windows], np.float64).T
    beside = (x1 + margin < left) | (x0 - margin > left + width)
    above = (y1 + margin < top) | (y0 - margin > top + height)
    touched: NDArray[np.bool_] = np.any(~beside & ~above, axis=0)
    return touched
