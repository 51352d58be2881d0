"""Regions of masks, what their pixels weigh, and the variant that is evaluated image by image."""

from __future__ import annotations

import numpy as np
import obvious
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from threecad.metrics import regions
from threecad.metrics.regions import WHOLE, Marked, find, pro_upstream, weigh

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)))


@given(MASKS)
def test_regions_are_those_of_flooding(masks: np.ndarray) -> None:
    found, width, size = find(masks), masks.shape[2], masks[0].size
    groups = {
        frozenset(found.places[found.regions == region].tolist()) for region in range(len(found.areas))
    }  # as sets: the order in which regions are counted means nothing
    expected = {
        frozenset(number * size + row * width + column for row, column in region)
        for number, mask in enumerate(masks)
        for region in obvious.regions_of(mask)
    }
    assert groups == expected
    assert (np.diff(found.places) > 0).all()
    assert found.areas.tolist() == np.bincount(found.regions, minlength=len(found.areas)).tolist()


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert find(np.eye(5, dtype=np.bool_)[None]).areas.tolist() == [5]


def test_a_region_does_not_continue_behind_the_border() -> None:
    mask = np.zeros((2, 4), np.bool_)
    mask[0, 3] = mask[1, 0] = True  # neighbours in memory
    assert find(mask[None]).areas.tolist() == [1, 1]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_what_lies_below_a_threshold_weighs_its_share_of_the_region(areas: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(areas)), areas))
    keys = random.integers(-5, 5, len(labels)).astype(np.int32)
    weighed = weigh(keys, Marked(np.arange(len(labels)), labels, np.array(areas)))
    assert np.count_nonzero(~weighed.follows) == len(areas)
    starts = np.append(np.flatnonzero(~weighed.follows), len(labels))
    for region, area in enumerate(areas):
        own = slice(starts[region], starts[region + 1])
        assert weighed.weights[own].sum() == WHOLE
        for threshold in range(-5, 6):
            below = int(weighed.weights[own][weighed.keys[own] < threshold].sum())
            count = int((keys[labels == region] < threshold).sum())
            assert below == count * WHOLE // area


def test_the_weights_of_a_huge_region_do_not_overflow() -> None:
    parts, whole = np.array([1, 2**30 - 1, 2**30]), np.full(3, 2**30)
    assert regions._share(parts, whole).tolist() == [int(part) * WHOLE // 2**30 for part in parts]
    assert regions.MOST * WHOLE < 2**63


@pytest.mark.parametrize("seed", range(5))
def test_the_variant_by_image_is_that_of_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((12, 12)) < 0.15
    scores = (random.random((12, 12)) + mask * 0.3).astype(np.float32)
    found = find(mask[None])
    assert pro_upstream(scores.reshape(-1), found.places, found.regions) == pytest.approx(
        obvious.pro_image_by_image(scores, mask), abs=1e-12
    )


def test_the_variant_by_image_is_undefined_without_normal_pixels_or_with_infinite_scores() -> None:
    both = np.array([0, 1])
    assert pro_upstream(np.array([0.1, 0.2]), both, np.zeros(2, np.int64)) is None
    assert pro_upstream(np.array([0.1, np.inf]), both[1:], np.zeros(1, np.int64)) is None


def test_the_variant_by_image_of_a_constant_map_is_0() -> None:
    assert pro_upstream(np.full(9, 0.5), np.array([4]), np.zeros(1, np.int64)) == 0
