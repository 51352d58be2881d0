"""Outlines of what a map shows: valid, inside, near enough, and worst first."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from threecad.domain import Region, Size
from threecad.imaging.raster import paint, spans
from threecad.learning.predict import regions as module
from threecad.learning.predict.regions import Outline, regions

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))


def scores(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return mask.astype(np.float32)


def painted(outlines: tuple[Outline, ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    found = [Region(f"a#{number}", "anomaly", each.polygon, (number,)) for number, each in enumerate(outlines)]
    runs, thin = spans(found, Size(*shape))
    assert not thin
    return np.asarray(paint(runs, Size(*shape), [1] * len(found)), bool)


def without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """By another way than the module's: what the outside, going from edge to edge, does not reach."""
    around = np.pad((~mask).astype(np.uint8), 1, constant_values=1)
    _, labels = cv2.connectedComponents(around, connectivity=4)
    outside: NDArray[np.bool_] = (labels == labels[0, 0])[1:-1, 1:-1]
    return ~outside


@given(MASKS)
def test_every_outline_is_a_valid_polygon_without_holes_inside_the_image(mask: NDArray[np.bool_]) -> None:
    for each in regions(scores(mask), 0.5).outlines:
        assert each.polygon.is_valid
        assert not each.polygon.interiors
        assert len(each.polygon.exterior.coords) > 3
        assert shapely.box(0, 0, mask.shape[1], mask.shape[0]).covers(each.polygon)


@given(MASKS)
def test_outlines_own_the_pixels_of_their_regions_and_of_holes_and_lie_half_a_pixel_off_at_most(mask: NDArray[np.bool_]) -> None:
    simple = regions(scores(mask), 0.5).outlines
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOLERANCE", 0.0)
        exact = regions(scores(mask), 0.5).outlines
    assert (painted(exact, mask.shape) == without_holes(mask)).all()  # type: ignore[arg-type]
    for one, other in zip(simple, exact, strict=True):
        assert shapely.hausdorff_distance(one.polygon.exterior, other.polygon.exterior, densify=0.25) < 0.5 + 1e-9
        painted((one,), mask.shape)  # type: ignore[arg-type]


@given(MASKS)
def test_regions_hang_together_across_corners_and_count_pixels_at_the_threshold(mask: NDArray[np.bool_]) -> None:
    found = regions(scores(mask), 0.5)
    assert found.count == cv2.connectedComponents(without_holes(mask).astype(np.uint8), connectivity=8)[0] - 1
    assert found.area == mask.sum() == sum(each.area for each in found.outlines)


@given(st.floats(0, 1, width=32))
def test_a_pixel_at_the_threshold_counts_and_one_below_does_not(value: float) -> None:
    lower = np.nextafter(np.float32(value), np.float32(-1))
    found = regions(np.array([[value, lower]], np.float32), value)
    assert (found.count, found.area) == (1, 1)


def test_what_lies_in_a_hole_belongs_to_the_region_around_it() -> None:
    ring = np.zeros((9, 9), bool)
    ring[1:8, 1:8] = True
    ring[2:7, 2:7] = False
    ring[4, 4] = True
    found = regions(scores(ring), 0.5)
    assert (found.count, found.area) == (1, 25)
    assert painted(found.outlines, ring.shape).sum() == 49


def test_the_worst_region_comes_first_and_tiny_ones_are_left_out() -> None:
    values = np.zeros((6, 20), np.float32)
    values[1:4, 1:4] = 0.6
    values[1:3, 8:10] = 0.6
    values[2, 9] = 0.9
    values[4, 15] = 1.0
    found = regions(values, 0.5, min_area=2)
    assert [(each.area, round(each.score, 3)) for each in found.outlines] == [(4, 0.9), (9, 0.6)]
    assert (found.count, found.area) == (2, 13)


def test_of_very_many_regions_the_worst_thousand_are_outlined_and_all_are_counted() -> None:
    values = np.zeros((80, 80), np.float32)
    values[::2, ::2] = np.linspace(0.5, 1, 1600, dtype=np.float32).reshape(40, 40)
    found = regions(values, 0.5)
    assert (found.count, len(found.outlines)) == (1600, module.MOST)
    assert found.outlines[0].score == 1.0
    assert min(each.score for each in found.outlines) > 0.68


def test_a_smooth_region_has_far_fewer_corners_than_pixels_along_its_edge() -> None:
    y, x = np.mgrid[:400, :400]
    disc = (x - 200) ** 2 / 150**2 + (y - 200) ** 2 / 70**2 < 1
    [each] = regions(scores(disc), 0.5).outlines
    assert len(each.polygon.exterior.coords) < 200
    assert abs(each.polygon.area / disc.sum() - 1) < 0.005
