"""What an image and its masks measure, from their pixels alone, and where on a photograph an outline lies.

Everything that is counted is counted in whole numbers, so that equal pixels give equal measures on every machine.
docs/statistics.md says what each number means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from threecad.domain import HEAT, SHRINKINGS, Code, Measure, Size, Spot

Ints = NDArray[np.int64]
Plane = NDArray[np.bool_]

MOST_SPOTS = 250_000
"""More regions than this are no defects but noise, and a small file can hold a hundred million of them: none is measured then."""

_STRIP = 1 << 17  # pixels that are looked at together, so that they stay in the cache
_RUNS = 1 << 22  # pixels that are searched for runs together: their places are numbered in 64 bits
_PAIRS = 1 << 20  # pairs of a run and a new pixel that are weighed together
_FEW = 32  # rows up to which a spot's outline is looked up among those that were measured before
_EDGES = 1 << 10  # edges of an outline that are swept together, each over the whole grid
_LUMA = (77, 150, 29)  # of 256, as in JPEG and in fingerprints
_GROUND = 1e-9  # a share of a cell that rounding may leave where there is nothing


def measure(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    planes: Mapping[str, Plane],
    digest: str,
    fingerprint: str | None = None,
    flaws: Iterable[tuple[Code, str]] = (),
) -> Measure:
    """All that `Measure` tells of an image; see there, and docs/statistics.md.

    `pixels` is (height, width) or (height, width, 3) in RGB order. `planes` maps a type, "" for none, to its pixels, (height,
    width) each; planes may overlap. Spots are the 8-connected regions of their union, in the order in which reading row by row
    meets them. Luma is (77 R + 150 G + 29 B) / 256, rounded. The Laplacian has four neighbours; beyond the border the image is
    mirrored without repeating its last row, as OpenCV does. A mask of more than MOST_SPOTS regions counts as unreadable.

    >>> mask = np.zeros((40, 60), np.bool_)
    >>> mask[5, 10:20] = True
    >>> found = measure(np.zeros((40, 60), np.uint8), {"scratch": mask}, digest="")
    >>> found.spots
    (Spot(area=10, bbox=(10, 5, 10, 1), long=10.0, short=1.0, labels=('scratch',), lost=()),)
    """
    size = Size(*pixels.shape[:2])
    brightness, contrast, sharpness = _looks(pixels)
    told = tuple(flaws)
    marks = _marks(planes, size)
    if marks is not None and marks.count > MOST_SPOTS:
        noise = f"{marks.count} separate regions, more than {MOST_SPOTS}: none was measured"
        marks, told = None, (*told, (Code.MASK_UNREADABLE, noise))
    spots = () if marks is None else _spots(marks, planes)
    return Measure(
        size=size,
        channels=1 if pixels.ndim == 2 else pixels.shape[2],
        bits=8 * pixels.itemsize,
        brightness=brightness,
        contrast=contrast,
        sharpness=sharpness,
        fingerprint=fingerprint,
        digest=digest,
        spots=spots,
        areas=() if marks is None else _areas(planes),
        heat=b"" if marks is None else _heat(marks),
        lost=tuple(name for name in SHRINKINGS if spots and all(name in spot.lost for spot in spots)),
        flaws=told,
    )


# What the image looks like


def _looks(pixels: NDArray[Any]) -> tuple[float, float, float]:
    """Brightness, contrast and sharpness, from sums of whole numbers: they do not depend on the order of adding."""
    height, width = pixels.shape[:2]
    wide = pixels.dtype != np.uint8
    count = height * width
    level = squares = edge = edges = 0
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first = max(top - 1, 0)  # one row more on either side, where there is one, for the Laplacian
        luma = _luma(pixels[first : bottom + 1])
        laplacian = cv2.Laplacian(luma, cv2.CV_32F if wide else cv2.CV_16S)[top - first : bottom - first]
        one, two = _sums(luma[top - first : bottom - first])
        level, squares = level + one, squares + two
        one, two = _sums(laplacian)
        edge, edges = edge + one, edges + two
    full = 65535 if wide else 255
    spread = math.sqrt(count * squares - level * level)
    return (
        level / (count * full),
        spread / (count * full),
        (count * edges - edge * edge) / (count * count * (full // 255) ** 2),
    )


def _luma(pixels: NDArray[Any]) -> NDArray[Any]:
    """(height, width) of the image's own type."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)
    wide = np.uint16 if pixels.dtype == np.uint8 else np.uint32  # 256 times the greatest value, and 128, just fit
    total: Any = pixels[..., 0] * wide(_LUMA[0])
    total += pixels[..., 1] * wide(_LUMA[1])
    total += pixels[..., 2] * wide(_LUMA[2])
    total += wide(128)
    total >>= wide(8)
    luma: NDArray[Any] = total.astype(pixels.dtype)
    return luma


def _sums(values: NDArray[Any]) -> tuple[int, int]:
    """The sum of whole numbers and that of their squares, exactly."""
    exact: Any = values.astype(np.int32 if values.itemsize == 1 or values.dtype == np.int16 else np.int64)
    return int(exact.sum(dtype=np.int64)), int((exact * exact).sum(dtype=np.int64))


# Where it is marked


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """The union of all planes: what lies in the box around it, whose outer corner is at (`left`, `top`) of the image.

    `union` is (height, width) of 0 and 1; `labels` numbers its `count` regions from 1, in no particular order; `integral` is one
    row and one column larger: the marked pixels above and left of each corner.
    """

    size: Size
    top: int
    left: int
    union: NDArray[np.uint8]
    count: int
    labels: NDArray[np.int32]
    integral: NDArray[np.int32]


def _marks(planes: Mapping[str, Plane], size: Size) -> _Marks | None:
    """None where no plane owns a pixel."""
    boxes = []
    for name, plane in planes.items():
        if plane.shape != (size.height, size.width):
            raise ValueError(f"the plane of {name!r} is {plane.shape}, its image ({size.height}, {size.width})")
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(plane).view(np.uint8))
        if width:
            boxes.append((top, left, top + height, left + width))
    if not boxes:
        return None
    top, left = (min(box[side] for box in boxes) for side in (0, 1))
    bottom, right = (max(box[side] for box in boxes) for side in (2, 3))
    union = np.zeros((bottom - top, right - left), np.uint8)
    for plane in planes.values():
        union |= plane[top:bottom, left:right].view(np.uint8)
    # connectedComponentsWithStats takes seven times as long; what it tells besides is read off the runs.
    background, labels = cv2.connectedComponents(union, connectivity=8, ltype=cv2.CV_32S)
    integral = cv2.integral(union, sdepth=cv2.CV_32S)
    numbers, table = (array.astype(np.int32, copy=False) for array in (labels, integral))
    return _Marks(size, int(top), int(left), union, background - 1, numbers, table)


def _areas(planes: Mapping[str, Plane]) -> tuple[tuple[str, int], ...]:
    counts = ((name, int(np.count_nonzero(planes[name]))) for name in sorted(planes))
    return tuple((name, count) for name, count in counts if count)


def _spots(marks: _Marks, planes: Mapping[str, Plane]) -> tuple[Spot, ...]:
    runs, rank = _ordered(marks)
    area = np.bincount(runs.owner, weights=runs.stop - runs.start).astype(np.int64)  # doubles hold whole numbers up to 2^53
    rows = _rows(runs)
    begin = np.searchsorted(rows.owner, np.arange(marks.count + 1))
    left, top = np.minimum.reduceat(rows.start, begin[:-1]), rows.row[begin[:-1]]
    width, height = np.maximum.reduceat(rows.stop, begin[:-1]) - left, rows.row[begin[1:] - 1] + 1 - top
    sides = np.stack([np.maximum(width, height), np.minimum(width, height)], axis=1).astype(np.float64)
    turned = np.flatnonzero(area != width.astype(np.int64) * height)  # an upright rectangle is its own
    sides[turned] = _sides(rows, left[turned], top[turned], begin[turned], begin[turned + 1])
    boxes = np.stack([left + marks.left, top + marks.top, width, height], axis=1).tolist()
    del rows
    labels = _labels(marks, planes, rank)
    lost = _lost(marks, runs, rank)
    return tuple(
        Spot(pixels, (x, y, wide, high), long, short, names, gone)
        for pixels, (x, y, wide, high), (long, short), names, gone in zip(
            area.tolist(), boxes, sides.tolist(), labels, lost, strict=True
        )
    )


def _ordered(marks: _Marks) -> tuple[_Runs, NDArray[np.int32]]:
    """The runs with the numbers of their spots, from 0 in the order of their first pixels, and a table of them by label.

    OpenCV numbers regions as its algorithm of the day meets them. The table has -1 for the background.
    """
    runs = _runs(marks)
    first = np.empty(marks.count + 1, np.int64)
    first[runs.owner[::-1]] = np.arange(len(runs.owner))[::-1]  # of equal indices the last one counts
    rank = np.full(marks.count + 1, -1, np.int32)
    rank[np.argsort(first[1:]) + 1] = np.arange(marks.count, dtype=np.int32)
    return _Runs(runs.row, runs.start, runs.stop, rank[runs.owner]), rank


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """Runs of marked pixels, columns [start, stop) of a row, in reading order; four arrays of int32, places in the box.

    A run belongs to one region, as do neighbouring pixels.
    """

    row: NDArray[np.int32]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    owner: NDArray[np.int32]


def _runs(marks: _Marks) -> _Runs:
    height, width = marks.union.shape
    found: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]] = []
    step = max(1, _RUNS // width)
    for top in range(0, height, step):
        part = marks.union[top : top + step]
        # A zero left and right of every row: then each run has two ends, and none goes on in the next row.
        padded = np.zeros((len(part), width + 2), np.uint8)
        padded[:, 1:-1] = part
        flat = padded.reshape(-1)
        row, column = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), width + 2)
        narrow = column.astype(np.int32)
        found.append(((row[0::2] + top).astype(np.int32), narrow[0::2], narrow[1::2]))
    row, start, stop = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _Runs(row, start, stop, marks.labels[row, start])


def _rows(runs: _Runs) -> _Runs:
    """From the first to the last pixel of every row of every spot, sorted by spot and row."""
    order = np.argsort(runs.owner, kind="stable")
    row, owner = runs.row[order], runs.owner[order]
    fresh = np.append(True, (row[1:] != row[:-1]) | (owner[1:] != owner[:-1]))
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(row)) - 1
    return _Runs(row[first], runs.start[order[first]], runs.stop[order[last]], owner[first])


def _sides(rows: _Runs, left: NDArray[Any], top: NDArray[Any], begin: Ints, end: Ints) -> NDArray[np.float64]:
    """(n, 2): long and short side of the smallest rectangle around each of n spots, whose boxes begin at (left, top) and whose
    rows are those from `begin` to `end`."""
    sides: list[tuple[float, float]] = []
    known: dict[bytes, tuple[float, float]] = {}  # noise, and all that is tiny, comes in few shapes
    corners = np.stack([top, left, left], axis=1)
    for corner, one, other in zip(corners, begin.tolist(), end.tolist(), strict=True):
        shape = np.stack([rows.row[one:other], rows.start[one:other], rows.stop[one:other]], axis=1) - corner
        if len(shape) > _FEW:
            sides.append(_rectangle(shape))
        else:
            key = shape.tobytes()
            if key not in known:
                known[key] = _rectangle(shape)
            sides.append(known[key])
    return np.array(sides).reshape(-1, 2)


def _rectangle(rows: NDArray[np.int32]) -> tuple[float, float]:
    """Long and short side of the rectangle of least area, turned as need be, around the corners of a region's pixels.

    `rows` are (n, 3) of row, first column and last + 1. A side of that rectangle lies on the hull (rotating calipers); lengths
    along and across each edge of the hull are whole numbers over the edge's length, so that rounding decides nothing, while
    `cv2.minAreaRect` computes in single precision. Of equal areas the longest rectangle counts.

    >>> _rectangle(np.array([[k, k, k + 1] for k in range(10)], np.int32))  # a diagonal: 20 and 2 halves of √2
    (14.142135623730951, 1.4142135623730951)
    """
    row, start, stop = rows.T
    corners = np.concatenate([np.stack([x, y], axis=1) for x in (start, stop) for y in (row, row + 1)])
    hull = cv2.convexHull(corners.astype(np.int32))[:, 0].astype(np.int64)
    edges = np.roll(hull, -1, axis=0) - hull
    along = np.ptp(hull @ edges.T, axis=0)
    across = np.ptp(hull @ np.stack([-edges[:, 1], edges[:, 0]]), axis=0)
    squared = (edges * edges).sum(axis=1)
    area = along.astype(np.float64) * across / squared
    equal = np.flatnonzero(area == area.min()).tolist()
    ways = [(max(int(along[k]), int(across[k])), min(int(along[k]), int(across[k])), int(squared[k])) for k in equal]
    long, short, length = max(ways, key=lambda way: Fraction(way[0] ** 2, way[2]))
    return long / math.sqrt(length), short / math.sqrt(length)


def _labels(marks: _Marks, planes: Mapping[str, Plane], rank: NDArray[np.int32]) -> list[tuple[str, ...]]:
    """The sorted types of each spot."""
    height, width = marks.union.shape
    whole = (slice(marks.top, marks.top + height), slice(marks.left, marks.left + width))
    owning = [name for name in sorted(planes) if planes[name][whole].any()]
    if len(owning) == 1:
        return [(owning[0],)] * marks.count
    named: list[list[str]] = [[] for _ in range(marks.count)]
    present = np.empty(marks.count + 1, np.bool_)
    for name in owning:
        present[:] = False
        present[marks.labels[planes[name][whole]]] = True
        for spot in rank[np.flatnonzero(present)].tolist():
            named[spot].append(name)
    same: dict[tuple[str, ...], tuple[str, ...]] = {}
    return [same.setdefault(names, names) for names in map(tuple, named)]


def _heat(marks: _Marks) -> bytes:
    """How much of each cell of the grid is covered, in 255ths to the nearest, a half up; what is touched is at least 1."""
    top, left, covered = _covered(marks, HEAT)
    area = marks.size.area
    grid = np.zeros((HEAT, HEAT), np.uint8)
    level = np.maximum((2 * 255 * covered + area) // (2 * area), covered > 0)
    grid[top : top + covered.shape[0], left : left + covered.shape[1]] = level
    return grid.tobytes()


# What is left of it when it is shrunk


def _lost(marks: _Marks, runs: _Runs, rank: NDArray[np.int32]) -> list[tuple[str, ...]]:
    """The shrinkings that each spot does not survive.

    Every new pixel has one owner. `nearest`: the spot that holds the place its centre falls on, source pixel
    floor((i + 1/2) · height / side). `area`: of a new pixel of which the union covers half or more, the spot that covers most
    of it (each of them where several cover the same). A spot that owns no new pixel is lost; so all are lost exactly where the
    shrunken mask is empty.
    """
    gone = np.ones((marks.count, len(SHRINKINGS)), np.bool_)
    for number, name in enumerate(SHRINKINGS):
        rule, side = name.split("-")
        owners = rank[_sampled(marks, int(side))] if rule == "nearest" else _majorities(marks, runs, int(side))
        gone[owners, number] = False
    named = {
        row: tuple(name for name, is_gone in zip(SHRINKINGS, row, strict=True) if is_gone)
        for row in set(map(tuple, gone.tolist()))
    }
    return [named[row] for row in map(tuple, gone.tolist())]


def _sampled(marks: _Marks, side: int) -> NDArray[np.int32]:
    """The labels, not 0, at the centres of the new pixels; one may occur more than once."""
    places = []
    for length, begin, extent in (
        (marks.size.height, marks.top, marks.union.shape[0]),
        (marks.size.width, marks.left, marks.union.shape[1]),
    ):
        place = (2 * np.arange(side) + 1) * length // (2 * side) - begin
        places.append(place[(place >= 0) & (place < extent)])
    labels = marks.labels[np.ix_(*places)]
    return labels[labels > 0]


def _majorities(marks: _Marks, runs: _Runs, side: int) -> NDArray[Any]:
    """The spots, numbered in order, that own a new pixel under the rule `area`."""
    top, left, covered = _covered(marks, side)
    marked = 2 * covered >= marks.size.area
    if not marked.any():
        return np.zeros(0, np.int64)
    if marks.count == 1:
        return np.zeros(1, np.int64)
    sums = np.zeros((marked.shape[0] + 1, marked.shape[1] + 1), np.int32)
    sums[1:, 1:] = marked.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    # In units of 1/side of a pixel, pixels are `side` long and new pixels height, or width: all borders are whole numbers.
    height, width = marks.size.height, marks.size.width
    keys, shares = [], []
    for begin in range(0, len(runs.row), _PAIRS):
        part = slice(begin, begin + _PAIRS)
        y = (runs.row[part].astype(np.int64) + marks.top) * side
        x0 = (runs.start[part].astype(np.int64) + marks.left) * side
        x1 = (runs.stop[part].astype(np.int64) + marks.left) * side
        first, last = y // height - top, (y + side - 1) // height - top
        west, east = x0 // width - left, (x1 - 1) // width - left
        met = sums[last + 1, east + 1] - sums[first, east + 1] > sums[last + 1, west] - sums[first, west]
        y, x0, x1, owner = y[met], x0[met], x1[met], runs.owner[part][met]
        for run, row, column in _pairs(first[met], last[met], west[met], east[met]):
            inside = marked[row, column]
            run, row, column = run[inside], row[inside], column[inside]
            high = np.minimum(y[run] + side, (row + top + 1) * height) - np.maximum(y[run], (row + top) * height)
            wide = np.minimum(x1[run], (column + left + 1) * width) - np.maximum(x0[run], (column + left) * width)
            key, share = _summed((row * marked.shape[1] + column) * marks.count + owner[run], high * wide)
            keys.append(key)
            shares.append(share)
    key, share = _summed(np.concatenate(keys), np.concatenate(shares))
    cell, spot = np.divmod(key, marks.count)
    begins = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
    most = np.repeat(np.maximum.reduceat(share, begins), np.diff(begins, append=len(cell)))
    owners: Ints = spot[share == most]
    return owners


def _pairs(first: Ints, last: Ints, west: Ints, east: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Each run with each new pixel of rows `first` to `last` and columns `west` to `east`: the run's number, and the new pixel's
    row and column, a block at a time."""
    wide = east - west + 1
    count = (last - first + 1) * wide
    ends = np.cumsum(count)
    done = 0
    while done < len(count):
        before = int(ends[done - 1]) if done else 0
        stop = max(done + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
        run = np.repeat(np.arange(done, stop), count[done:stop])
        down, along = np.divmod(np.arange(len(run)) - (ends[run] - count[run] - before), wide[run])
        yield run, first[run] + down, west[run] + along
        done = stop


def _summed(key: Ints, value: Ints) -> tuple[Ints, Ints]:
    """Distinct keys, sorted, with the sums of their values."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    begin = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    return key[begin], np.add.reduceat(value[order], begin) if len(key) else value


def _covered(marks: _Marks, side: int) -> tuple[int, int, Ints]:
    """How much of each cell of a grid of side × side over the image is marked: those cells that the union's box meets.

    Returns the first row and column, and areas in pixels times side²; a cell's whole area is that of the image. The integral of a
    mask grows linearly within a pixel, in each direction, so that between its corners it is interpolated exactly.
    """
    axes = []
    for length, begin, extent in (
        (marks.size.height, marks.top, marks.union.shape[0]),
        (marks.size.width, marks.left, marks.union.shape[1]),
    ):
        first, last = begin * side // length, -(-(begin + extent) * side // length)
        border = np.clip(np.arange(first, last + 1) * length - begin * side, 0, extent * side)
        whole, rest = np.divmod(border, side)
        axes.append((first, whole, np.minimum(whole + 1, extent), rest))
    (top, y0, y1, fy), (left, x0, x1, fx) = axes
    table = marks.integral
    fy = fy[:, None]
    upper = table[np.ix_(y0, x0)] * (side - fx) + table[np.ix_(y0, x1)] * fx
    lower = table[np.ix_(y1, x0)] * (side - fx) + table[np.ix_(y1, x1)] * fx
    total: Ints = upper * (side - fy) + lower * fy
    return top, left, np.diff(np.diff(total, axis=0), axis=1)


# Where an outline lies


def heat_of(geometry: Polygon | MultiPolygon, size: Size) -> bytes:
    """The same grid as `Measure.heat`, of an outline in the frame of its photograph, which has that size.

    Coverage is computed from the outline itself, to within 1e-9 of a cell; what lies outside the photograph does not count.

    >>> import shapely
    >>> grid = heat_of(shapely.box(0, 0, 96, 32), Size(1024, 2048))
    >>> grid[:3], grid.count(0)
    (b'\\xff\\x80\\x00', 1022)
    """
    polygons = shapely.get_parts(shapely.orient_polygons(geometry))
    rings, _ = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    scale = np.array([HEAT / size.width, HEAT / size.height])
    one, two = points[:-1][same] * scale, points[1:][same] * scale
    cover = np.zeros((HEAT, HEAT))
    for start in range(0, len(one), _EDGES):
        cover += _swept(one[start : start + _EDGES], two[start : start + _EDGES])
    share = np.clip(np.abs(cover), 0, 1)
    if not (share > _GROUND).any():
        return b""
    return np.where(share > _GROUND, np.maximum(np.floor(share * 255 + 0.5), 1), 0).astype(np.uint8).tobytes()


def _swept(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each edge, from `one` to `two` in cells, sweeps to its right in every cell; upward edges count negative.

    Over a closed ring that adds up to the area within. In the band of one row an edge at x(y) covers clamp(column + 1 - x(y), 0,
    1) of a column's cell; over a straight piece that is the difference of an antiderivative over that of its argument.
    """
    x0, y0, x1, y1 = (np.repeat(values, HEAT) for values in (*one.T, *two.T))
    row = np.tile(np.arange(HEAT), len(one))
    begin, end = (np.clip(values, row, row + 1) for values in (y0, y1))
    moves = begin != end
    x0, y0, x1, y1, row, begin, end = (values[moves] for values in (x0, y0, x1, y1, row, begin, end))
    columns = np.arange(1, HEAT + 1)
    # A share of the edge, at most 1: the slope itself may be too large for a double.
    near, far = (columns - (x0 + (x1 - x0) * ((y - y0) / (y1 - y0)))[:, None] for y in (begin, end))
    step = far - near
    steep = np.abs(step) < 1e-6
    mean = np.where(steep, np.clip((near + far) / 2, 0, 1), (_ramp(far) - _ramp(near)) / np.where(steep, 1, step))
    swept = np.zeros((HEAT, HEAT))
    np.add.at(swept, row, mean * (end - begin)[:, None])
    return swept


def _ramp(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """The antiderivative of clamp(value, 0, 1)."""
    inner = np.clip(value, 0, 1)
    ramp: NDArray[np.float64] = inner * inner / 2 + np.maximum(value - 1, 0)
    return ramp
