"""COCO JSON of a split: boxes and areas of the masks, polygons that give the masks back to the pixel, else run lengths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from threecad.domain import Sample, Size

Ints: TypeAlias = NDArray[np.int64] | NDArray[np.int32]

_NEXT, _LAST = 1, 2
"""What follows a number of an outline, if not another one: the next outline of the same defect, or the next defect."""


def segmentations(defect: Ints, row: Ints, start: Ints, stop: Ints, size: Size) -> list[str]:
    """The pixels of every defect that a tile shows, as the JSON text COCO takes; `annToMask` of pycocotools gives exactly them.

    Pixels come as runs of columns [start, stop) in a row of the tile: arrays of equal length, sorted by defect, row and start;
    no run is empty, and those of one defect neither overlap nor touch within a row. One text for each number in `defect`, in
    their order. It is the outline along the pixels' edges, one polygon x0, y0, x1, y1, … for each 4-connected part, clockwise
    with y down, first point not repeated; where there is a hole, compressed run lengths of the whole tile, {"counts": text,
    "size": [height, width]}. The region's own polygon would be shorter but is no copy of the mask: pycocotools moves its
    corners to a grid of fifths of a pixel and rounds them there.

    >>> dots = np.array([[0, 20, 10, 12], [0, 21, 10, 11], [7, 0, 0, 1]]).T
    >>> segmentations(*dots, Size(64, 64))
    ['[[10,20,12,20,12,21,11,21,11,22,10,22]]', '[[0,0,1,0,1,1,0,1]]']
    """
    if not len(defect):
        return []
    number = np.cumsum(np.append(0, defect[1:] != defect[:-1]))
    edges = _edges(number, row.astype(np.int64), start.astype(np.int64), stop.astype(np.int64), size)
    order, ends = _walk(edges.follows)
    texts = _written(edges, order, ends)
    # The first edge of an outline in reading order is its uppermost: if the pixels below it are out, it runs round a hole.
    first = order[np.append(0, ends[:-1])]
    for holed in np.unique(edges.defect[first[~edges.upper[first]]]).tolist():
        texts[holed] = _run_lengths(edges, holed, size)
    return texts


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """The longest horizontal edges between pixels in and out, in reading order, defect by defect.

    Each lies on the line above row `y` from `left` to `right`; `upper` says that the pixels below it are in. `follows` is the
    edge that comes next on a walk with the pixels on the right hand, so along upper edges to the right, along lower ones to
    the left.
    """

    defect: NDArray[np.int64]
    y: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    upper: NDArray[np.bool_]
    follows: NDArray[np.int64]


def _edges(defect: Any, row: Any, start: Any, stop: Any, size: Size) -> _Edges:
    """Edges from runs: a corner is where one of the rows above and below a line changes, or both do in opposite senses.

    Along each line of the lattice, across or upright, the corners are by turns the begin and the end of an edge. Where two
    pixels touch at a corner only, two corners lie in one place; they are told apart so that each turns round its own pixel,
    which makes the polygons those of the 4-connected parts.
    """
    # A change is packed into one number: defect, line and column, whether it is of the row below, whether a run ends there.
    column, line = size.width.bit_length(), size.height.bit_length()
    begins = (((defect << line) + row << column) + start << 2) + 2
    changes = np.stack([begins, begins + ((stop - start) << 2) + 1], axis=1).reshape(-1)
    changes = np.concatenate([changes, changes + (4 << column) - 2])
    changes.sort(kind="stable")  # two sorted halves: that merges them
    place = changes >> 2
    both = np.flatnonzero(place[1:] == place[:-1])
    straight = both[((changes[both] ^ changes[both + 1]) & 1) == 0]  # the edge goes on upright
    kept = np.ones(len(changes), bool)
    kept[straight] = kept[straight + 1] = False
    changes = changes[kept]
    place = changes >> 2
    x, y, number = place & (1 << column) - 1, place >> column & (1 << line) - 1, place >> column + line
    upper = ((changes[0::2] ^ changes[0::2] >> 1) & 1).astype(bool)
    upright = _upright(x, number)
    # Of two corners in one place the first has the edge to the left. It has the upper one of the edges upright too if the
    # upper left pixel is in; else the other has.
    twin = np.flatnonzero(place[1:] == place[:-1])
    twin = twin[changes[twin] & 1 == 0]
    swapped = np.arange(len(place))
    swapped[twin], swapped[twin + 1] = twin + 1, twin
    upright = swapped[upright]
    other = np.empty_like(upright)
    other[upright[0::2]], other[upright[1::2]] = upright[1::2], upright[0::2]
    leaving = np.arange(0, len(place), 2) + upper
    return _Edges(number[0::2], y[0::2], x[0::2], x[1::2], upper, other[leaving] >> 1)


def _upright(x: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """The corners by defect and column; those in one column stay in their order."""
    begin = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    low, high = np.minimum.reduceat(x, begin), np.maximum.reduceat(x, begin)
    place = np.cumsum(high - low + 1)
    key = x + (np.append(0, place[:-1]) - low)[number]
    # Of 16 bits numpy sorts by counting, many times as fast.
    return np.argsort(key.astype(np.uint16) if place[-1] <= 1 << 16 else key, kind="stable")


def _walk(follows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The edges in the order of a walk along every outline, each from its first edge on, and where in it each outline ends.

    Nobody walks: every edge learns the least of the next 1, 2, 4, … edges, and then how far it is to the first one.
    """
    least, ahead = np.arange(len(follows)), follows
    while True:
        found = np.minimum(least, least[ahead])
        if np.array_equal(found, least):
            break
        least, ahead = found, ahead[ahead]
    first = least == np.arange(len(least))
    ahead = np.where(first, np.arange(len(follows)), follows)
    distance = (~first).astype(np.int64)
    while True:
        further = distance[ahead]
        if not further.any():
            break
        distance += further
        ahead = ahead[ahead]
    length = np.bincount(least, minlength=len(least))
    ends = np.cumsum(length[first])
    begin = np.zeros(len(least), np.int64)
    begin[first] = ends - length[first]
    order = np.empty(len(least), np.int64)
    order[begin[least] + np.where(first, 0, length[least] - distance)] = np.arange(len(least))
    return order, ends


def _written(edges: _Edges, order: NDArray[np.int64], ends: NDArray[np.int64]) -> list[str]:
    """The outlines of every defect as JSON."""
    upper = edges.upper[order]
    left, right, y = edges.left[order], edges.right[order], edges.y[order]
    numbers = np.stack([np.where(upper, left, right), y, np.where(upper, right, left), y], axis=1).reshape(-1)
    count = 1 << int(numbers.max()).bit_length()
    owner = edges.defect[order[ends - 1]]
    numbers[4 * ends - 1] += count * np.where(np.append(owner[1:] != owner[:-1], True), _LAST, _NEXT)
    # One gather of eight bytes a number, and the padding taken out, is ten times as fast as writing numbers one by one.
    text = _numerals(count)[numbers].tobytes().translate(None, b"\0").decode("ascii")
    return [f"[[{outlines}]]" for outlines in text.replace(";", "],[").split("\n")[:-1]]


@lru_cache(maxsize=4)
def _numerals(count: int) -> NDArray[np.uint64]:
    """The numbers below `count` and what follows them in eight characters: first those with a comma, then _NEXT, then _LAST."""
    numbers = [f"{number}{mark}" for mark in ",;\n" for number in range(count)]
    return np.array(numbers, "S8").view(np.uint64)


def _run_lengths(edges: _Edges, number: int, size: Size) -> str:
    """The pixels of one defect as compressed run lengths down the columns, out and in by turns, as pycocotools encodes them."""
    own = slice(*np.searchsorted(edges.defect, [number, number + 1]))
    left, length = edges.left[own], edges.right[own] - edges.left[own]
    column = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length - left, length)
    turns = np.sort(column * size.height + np.repeat(edges.y[own], length))
    twice = np.flatnonzero(turns[1:] == turns[:-1])  # a run that ends with its column, and one that begins the next
    turns = np.delete(turns, np.concatenate([twice, twice + 1]))
    counts = np.diff(turns, prepend=0, append=size.area)
    if not counts[-1]:
        counts = counts[:-1]
    counts[3:] -= counts[1:-2].copy()
    return _encode({"counts": _packed(counts), "size": [size.height, size.width]})


def _packed(counts: NDArray[np.int64]) -> str:
    """Signed numbers in characters of five bits each, lowest first; the sixth bit says that more follow."""
    digits = counts[:, None] >> np.arange(0, 50, 5)
    rest = digits[:, 1:]
    digits = digits[:, :-1] & 31
    more = rest != np.where(digits & 16, -1, 0)
    written = np.append(np.ones((len(counts), 1), bool), more[:, :-1], axis=1)
    characters: NDArray[np.uint8] = (digits + 32 * more + 48)[written].astype(np.uint8)
    return characters.tobytes().decode("ascii")


def write(
    file: IO[bytes],
    rows: Callable[[], Iterable[tuple[Sample, Sequence[str]]]],
    types: Mapping[str, Sequence[str]],
    description: str = "",
) -> None:
    """Write the COCO JSON of the samples that have an image; memory stays flat, so `rows` is called twice.

    Each call of `rows` gives the same samples in the same order, each with a text of `segmentations` for every defect. `types`
    lists every category's defect types; a COCO category is one type of one category, the latter being its supercategory.
    Images and annotations are numbered from 1. `file_name` is relative to the data set. Extra keys: `source_id`, `tile_xyxy`
    (the window in the source image, half-open), `split` and `state` of an image, `defect_uid` of an annotation.
    """
    pairs = [(category, name) for category in sorted(types) for name in sorted(types[category])]
    numbers = {pair: number for number, pair in enumerate(pairs, 1)}
    file.write(b'{"annotations":[')
    _list(file, _annotations(rows(), numbers))
    file.write(b'],\n"categories":[')
    _list(file, (_dump({"id": numbers[pair], "name": pair[1], "supercategory": pair[0]}) for pair in pairs))
    file.write(b'],\n"images":[')
    _list(file, (_dump(_image(number, sample)) for number, (sample, _) in enumerate(_shown(rows()), 1)))
    file.write(b'],\n"info":' + _dump({"description": description}) + b',\n"licenses":[]}\n')


def _shown(rows: Iterable[tuple[Sample, Sequence[str]]]) -> Iterable[tuple[Sample, Sequence[str]]]:
    return (row for row in rows if row[0].image is not None)


def _annotations(rows: Iterable[tuple[Sample, Sequence[str]]], numbers: Mapping[tuple[str, str], int]) -> Iterable[bytes]:
    number = 0
    for image, (sample, segmentations) in enumerate(_shown(rows), 1):
        for defect, segmentation in zip(sample.defects, segmentations, strict=True):
            number += 1
            row = {
                "area": defect.area,
                "bbox": list(defect.bbox),
                "category_id": numbers[sample.category, defect.label],
                "defect_uid": defect.uid,
                "id": number,
                "image_id": image,
                "iscrowd": 0,
            }
            yield _dump(row)[:-1] + b',"segmentation":' + segmentation.encode() + b"}"


def _image(number: int, sample: Sample) -> dict[str, Any]:
    window = sample.window
    return {
        "file_name": sample.image,
        "height": window.size.height,
        "id": number,
        "source_id": sample.source,
        "split": sample.split,
        "state": sample.state,
        "tile_xyxy": [window.left, window.top, window.left + window.size.width, window.top + window.size.height],
        "width": window.size.width,
    }


def _list(file: IO[bytes], items: Iterable[bytes]) -> None:
    for number, item in enumerate(items):
        file.write(b",\n" if number else b"\n")
        file.write(item)


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _dump(row: Mapping[str, Any]) -> bytes:
    return _encode(row).encode()
