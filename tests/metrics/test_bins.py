"""From a score to its bin and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threecad.metrics.bins import MANTISSA, Scale, keys_of, scores_of

ANY = st.floats(width=32, allow_nan=False)
WIDTHS = st.integers(4, MANTISSA)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def bin_of(scale: Scale, *values: float) -> list[int]:
    return scale.bins(floats(*values).view(np.int32)).tolist()


@given(ANY, ANY)
def test_keys_order_as_scores_do(one: float, other: float) -> None:
    first, second = keys_of(floats(one, other)).tolist()
    assert (first < second, first == second) == (one < other, one == other)


@given(ANY)
def test_a_key_leads_back_to_its_score(score: float) -> None:
    assert scores_of(keys_of(floats(score)))[0] == score


@given(ANY, ANY, WIDTHS)
def test_bins_never_disagree_with_the_order_of_scores(one: float, other: float, width: int) -> None:
    low, high = bin_of(Scale(width), *sorted([one, other]))
    assert low <= high


@given(ANY | st.floats(0.5, 1, width=32), WIDTHS, WIDTHS)
def test_bins_lie_within_those_of_fewer_bits(score: float, one: int, other: int) -> None:
    fine, wide = Scale(max(one, other)), Scale(min(one, other))
    own = fine.bins(floats(score).view(np.int32))
    assert fine.into(wide, own).tolist() == bin_of(wide, score)
    lowest, highest = fine.ends(own)
    assert wide.bins_of_keys(lowest).tolist() == wide.bins_of_keys(highest).tolist() == bin_of(wide, score)


@given(ANY | st.floats(0.5, 1, width=32), WIDTHS)
def test_the_ends_of_a_bin_are_the_scores_where_it_begins_and_stops(score: float, width: int) -> None:
    scale = Scale(width)
    own = scale.bins(floats(score).view(np.int32))
    lowest, highest = scale.ends(own)
    assert lowest[0] <= keys_of(floats(score))[0] <= highest[0]
    infinity = keys_of(floats(np.inf))[0]
    for key, inside in [(lowest[0], True), (highest[0], True), (lowest[0] - 1, False), (highest[0] + 1, False)]:
        if abs(key) <= infinity:
            assert bool(scale.bins_of_keys(np.array([key], np.int32))[0] == own[0]) is inside


@given(ANY, WIDTHS)
def test_promises_about_the_range_change_no_bin(score: float, width: int) -> None:
    bits, scale = floats(abs(score) + 0.0).view(np.int32), Scale(width)
    assert scale.bins(bits, signed=False)[0] == scale.bins(bits)[0]
    if abs(score) <= 0.5:
        assert scale.bins(bits, signed=False, near_one=False)[0] == scale.bins(bits)[0]


@pytest.mark.parametrize("width", [4, 8, 16, 22])
def test_0_and_1_have_bins_of_their_own(width: int) -> None:
    tiny = float(np.nextafter(np.float32(0), np.float32(1)))
    before, after = (float(np.nextafter(np.float32(1), np.float32(to))) for to in (0, 2))
    assert len(set(bin_of(Scale(width), -tiny, 0, tiny, before, 1, after))) == 6


def test_next_to_1_every_float_has_its_own_bin() -> None:
    scores = scores_of(keys_of(floats(1.0)) - np.arange(65_536, dtype=np.int32))
    assert len(set(Scale(16).bins(scores.view(np.int32)).tolist())) == 65_536


def test_negative_zero_is_zero() -> None:
    assert bin_of(Scale(16), -0.0) == bin_of(Scale(16), 0.0) == [0]


def test_scores_of_few_bits_never_share_a_bin() -> None:
    every = np.arange(65_536, dtype=np.uint16)
    half = every.view(np.float16)[np.isfinite(every.view(np.float16))].astype(np.float32)
    scale = Scale(16)
    assert len(np.unique(scale.bins(half.view(np.int32)))) == len(np.unique(half))
    assert len(np.unique(scale.bins(every.astype(np.float32).view(np.int32)))) == 65_536


@given(ANY, WIDTHS)
def test_a_bin_is_no_wider_than_its_mantissa_says(score: float, width: int) -> None:
    size = max(abs(score), float(np.finfo(np.float32).tiny))
    scale = Scale(width)
    lowest, highest = (float(scores_of(keys)[0]) for keys in scale.ends(scale.bins(floats(score).view(np.int32))))
    if np.isfinite([lowest, highest]).all():
        assert highest - lowest <= size * 2.0**-width
