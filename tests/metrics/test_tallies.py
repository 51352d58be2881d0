"""Counting by bin, dense and sparse."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threecad.metrics.tallies import PAGE, Pages, Runs

BINS = st.lists(st.integers(-(2**24), 2**24) | st.integers(-3, 3), max_size=30)
KINDS = [Pages, Runs, lambda: Pages(small=True)]


def int32(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


def table(tally: Pages | Runs) -> dict[int, int]:
    bins, amounts = tally.table()
    assert (np.diff(bins) > 0).all()
    assert (bins.dtype, amounts.dtype) == (np.int32, np.int64)
    return dict(zip(bins.tolist(), amounts.tolist(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@given(parts=st.lists(BINS, max_size=5))
def test_a_tally_counts_as_a_counter_does(kind: type[Pages], parts: list[list[int]]) -> None:
    tally = kind()
    for part in parts:
        tally.add(int32(part))
    assert table(tally) == Counter(value for part in parts for value in part)


@pytest.mark.parametrize("kind", KINDS)
@given(bins=BINS)
def test_amounts_are_added_up(kind: type[Pages], bins: list[int]) -> None:
    tally, amounts = kind(), np.arange(1, len(bins) + 1)
    tally.add(int32(bins), amounts)
    tally.add(int32(bins), amounts)
    expected: Counter[int] = Counter()
    for value, amount in zip(bins, amounts.tolist(), strict=True):
        expected[value] += 2 * amount
    assert table(tally) == expected


@pytest.mark.parametrize("kind", KINDS)
@given(bins=BINS, asked=BINS)
def test_below_is_what_lies_in_lower_bins(kind: type[Pages], bins: list[int], asked: list[int]) -> None:
    tally = kind()
    tally.add(int32(bins))
    found = tally.below(int32(sorted(asked)))
    assert found.tolist() == [sum(value < limit for value in bins) for limit in sorted(asked)]


@given(BINS)
def test_moving_is_counting_where_bins_lie_now(bins: list[int]) -> None:
    one, other = Pages(), Pages()
    one.add(int32(bins))
    one.move(lambda known: known >> 3)
    other.add(int32(bins) >> 3)
    assert table(one) == table(other)
    assert one.nbytes == other.nbytes


def test_weights_of_2_to_the_62_lose_no_digit() -> None:
    tally = Pages()
    tally.add(int32([5, 5]), np.array([2**62 - 1, 2]))
    assert table(tally) == {5: 2**62 + 1}


def test_counts_are_widened_before_they_overflow() -> None:
    tally = Pages(small=True)
    tally.add(int32([1]), np.array([2**32 - 1]))
    tally.widen()
    tally.add(int32([1, 2]))
    assert table(tally) == {1: 2**32, 2: 1}
    assert tally.nbytes == 8 * PAGE


def test_memory_follows_the_ranges_in_which_there_are_scores() -> None:
    tally = Pages(small=True)
    tally.add(int32([-(2**24), 0, 5, 2**24]))
    assert tally.nbytes == 3 * 4 * PAGE


def test_runs_are_merged_as_they_grow() -> None:
    random, tally = np.random.default_rng(0), Runs()
    for _ in range(200):
        tally.add(random.integers(0, 1000, 50).astype(np.int32))
    assert len(tally._runs) < 12
    assert sum(table(tally).values()) == 10_000
