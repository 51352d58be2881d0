"""The law of COCO segmentations: pycocotools paints them as exactly the pixels they were made of."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage.measure import euler_number, label

from threecad.domain import Size
from threecad.formats.coco import segmentations

# pycocotools' own arrays are older than NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@st.composite
def bitmaps(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Few enough pixels that corners touch, holes appear and edges are reached."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    filled = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any))
    return np.array(filled).reshape(height, width)


def runs_of(whole: NDArray[np.bool_], number: int = 0) -> NDArray[np.int64]:
    turns = np.diff(np.pad(whole, ((0, 0), (1, 1))).astype(np.int8))
    row, start = np.nonzero(turns > 0)
    return np.stack([np.full(len(row), number), row, start, np.nonzero(turns < 0)[1]])


def segment(whole: NDArray[np.bool_]) -> Any:
    [text] = segmentations(*runs_of(whole), Size(*whole.shape))
    return json.loads(text)


margins = st.integers(0, 3)


@given(bitmaps(), margins, margins, margins, margins)
def test_a_segmentation_gives_back_exactly_its_pixels(
    bitmap: NDArray[np.bool_], top: int, left: int, low: int, right: int
) -> None:
    whole = np.pad(bitmap, ((top, low), (left, right)))
    size = Size(*whole.shape)
    found = segment(whole)
    if isinstance(found, list):
        run_lengths = coco_mask.merge(coco_mask.frPyObjects(found, size.height, size.width))
        parts, count = label(whole, connectivity=1, return_num=True)
        assert len(found) == count
        assert all(euler_number(parts == number, connectivity=1) == 1 for number in range(1, count + 1))
    else:
        run_lengths = found
        assert euler_number(whole, connectivity=1) < label(whole, connectivity=1).max()
        assert found == {
            "counts": coco_mask.encode(np.asfortranarray(whole, np.uint8))["counts"].decode(),
            "size": [*whole.shape],
        }
    assert np.array_equal(coco_mask.decode(run_lengths), whole)


@given(st.lists(bitmaps(), min_size=2, max_size=4))
def test_each_defect_of_a_tile_is_traced_as_if_it_were_alone(defects: list[NDArray[np.bool_]]) -> None:
    wholes = [np.pad(defect, ((0, 7 - len(defect)), (0, 7 - len(defect[0])))) for defect in defects]
    runs = np.concatenate([runs_of(whole, 3 * number) for number, whole in enumerate(wholes)], axis=1)
    assert segmentations(*runs, Size(7, 7)) == [segmentations(*runs_of(whole), Size(7, 7))[0] for whole in wholes]
