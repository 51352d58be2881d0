"""COCO JSON of a split: boxes and areas of the masks, polygons that give the masks back to the pixel, else run lengths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from threecad.domain import Sample, Size

Segmentation: TypeAlias = list[list[int]] | dict[str, Any]
"""Polygons x0, y0, x1, y1, … in pixels of the tile; or, where there is a hole, {"counts": compressed text, "size": [h, w]}."""


def segment(bitmap: NDArray[np.bool_], left: int, top: int, size: Size) -> Segmentation:
    """The visible part of a defect, as COCO writes it: `annToMask` of pycocotools gives exactly `bitmap` back.

    `bitmap` is (height, width), any part of the tile that holds the whole of the visible part; pixel [0, 0] stands at row
    `top`, column `left` of the tile of `size`. Without a hole the result is the outline along the pixels' edges, one polygon
    for each 4-connected part, first point not repeated; else compressed run lengths of the whole tile. ValueError if no pixel
    is set. The region's own polygon would be shorter but is no copy of the mask: pycocotools moves its corners to a grid of
    fifths of a pixel and rounds them there.

    >>> segment(np.array([[True, True], [True, False]]), 10, 20, Size(64, 64))
    [[10, 20, 12, 20, 12, 21, 11, 21, 11, 22, 10, 22]]
    """
    outlines = _outlines(bitmap, left, top)
    if outlines is not None:
        return outlines
    from pycocotools import mask

    whole = np.zeros((size.height, size.width), np.uint8, order="F")
    whole[top : top + bitmap.shape[0], left : left + bitmap.shape[1]] = bitmap
    return {"counts": mask.encode(whole)["counts"].decode(), "size": [size.height, size.width]}


def text(segmentation: Segmentation) -> str:
    """The segmentation as JSON: what `write` takes, so that long outlines are kept and written without being parsed.

    >>> text([[0, 0, 1, 0, 1, 1, 0, 1]])
    '[[0,0,1,0,1,1,0,1]]'
    """
    return _encode(segmentation)


def _outlines(bitmap: NDArray[np.bool_], left: int, top: int) -> list[list[int]] | None:
    """The boundary of the set pixels as closed rectilinear polygons clockwise (y down), or None where one runs round a hole.

    Walks from corner to corner: along each line of the lattice the corners, in order, are the ends of the boundary's edges.
    Where two pixels touch at a corner only, two corners lie in one place; they are told apart so that each turns round its
    own pixel, which makes the polygons those of the 4-connected parts.
    """
    height, width = bitmap.shape
    padded = np.zeros((height + 2, width + 2), bool)
    padded[1:-1, 1:-1] = bitmap
    changes = padded[:, 1:] != padded[:, :-1]
    above, below = changes[:-1], changes[1:]
    pinched = above & below & (padded[:-1, :-1] != padded[1:, :-1])
    ys, xs = np.nonzero((above != below) | pinched)
    if not len(ys):
        raise ValueError("no pixel is set")
    # Twins in the order of their row: the one with the edge to the left comes first. In the order of their column it is the
    # one with the edge upwards: the same one if the upper left pixel is set, else the other.
    times = 1 + pinched[ys, xs]
    late = np.zeros(int(times.sum()), bool)
    late[np.cumsum(times)[times == 2] - 1] = True
    ys, xs = np.repeat(ys, times), np.repeat(xs, times)
    column_order = np.lexsort((late == padded[ys, xs], ys, xs))
    beside = np.arange(len(ys)) ^ 1
    upright = np.empty_like(beside)
    upright[column_order] = column_order[beside]
    beside_list, upright_list = beside.tolist(), upright.tolist()
    points_x, points_y = (xs + left).tolist(), (ys + top).tolist()
    inside_below = padded[1:, :][ys, xs + 1].tolist()
    seen = bytearray(len(points_x))
    outlines = []
    for start in range(0, len(points_x), 2):
        if seen[start]:
            continue
        # The first corner of a boundary in reading order is the upper left end of its uppermost edge; if the pixels below
        # that edge are not set, the boundary runs round a hole.
        if not inside_below[start]:
            return None
        outline: list[int] = []
        corner = start
        while not seen[corner]:
            other = beside_list[corner]
            seen[corner] = seen[other] = 1
            outline += (points_x[corner], points_y[corner], points_x[other], points_y[other])
            corner = upright_list[other]
        outlines.append(outline)
    return outlines


def write(
    file: IO[bytes],
    rows: Callable[[], Iterable[tuple[Sample, Sequence[str]]]],
    types: Mapping[str, Sequence[str]],
    description: str = "",
) -> None:
    """Write the COCO JSON of the samples that have an image; memory stays flat, so `rows` is called twice.

    Each call of `rows` gives the same samples in the same order, each with one `text` of a segmentation a defect. `types`
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
