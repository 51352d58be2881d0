"""The law of COCO segmentations: pycocotools paints them as exactly the pixels they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage.measure import euler_number, label

from threecad.domain import Size
from threecad.formats.coco import segment

# pycocotools' own arrays are older than NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@st.composite
def bitmaps(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Few enough pixels that corners touch, holes appear and edges are reached."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    filled = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any))
    return np.array(filled).reshape(height, width)


margins = st.integers(0, 3)


@given(bitmaps(), margins, margins, margins, margins)
def test_a_segmentation_gives_back_exactly_its_pixels(
    bitmap: NDArray[np.bool_], top: int, left: int, low: int, right: int
) -> None:
    whole = np.pad(bitmap, ((top, low), (left, right)))
    size = Size(*whole.shape)
    found = segment(bitmap, left, top, size)
    if isinstance(found, list):
        run_lengths = coco_mask.merge(coco_mask.frPyObjects(found, size.height, size.width))
        parts, count = label(whole, connectivity=1, return_num=True)
        assert len(found) == count
        assert all(euler_number(parts == number, connectivity=1) == 1 for number in range(1, count + 1))
    else:
        run_lengths = found
        assert euler_number(whole, connectivity=1) < label(whole, connectivity=1).max()
    assert np.array_equal(coco_mask.decode(run_lengths), whole)
    assert segment(whole, 0, 0, size) == found
