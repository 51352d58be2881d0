"""The meter against scikit-learn, obvious loops and itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import obvious
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

import threecad.metrics.meter as module
from threecad.errors import ThreecadError
from threecad.metrics import Bounded, Meter, Scores, aupro
from threecad.metrics.bins import keys_of, least_that_round_to

ROUNDING = 1e-12  # what scikit-learn's own sums may be off by
GRAIN = 2**-35  # in what a region weighs
PAIR = 2e-5  # what two scores that share a bin may make where there are so few as here


def drawn(count: int = 6, side: int = 24, seed: int = 0) -> tuple[Any, Any]:
    """Maps with blobs, and their masks; the first image of three is good."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, side, side), np.bool_)
    for number, mask in enumerate(masks):
        for _ in range(number % 3):
            row, column = random.integers(0, side - 5, 2)
            mask[row : row + random.integers(2, 6), column : column + random.integers(2, 6)] = True
    maps = random.gamma(2.0, 0.1, masks.shape) + masks * random.random(masks.shape)
    return maps.astype(np.float32), masks


def measured(maps: Any, masks: Any, **settings: Any) -> Scores:
    meter = Meter(**settings)
    meter.update(maps, masks)
    return meter.compute()


def assert_within(figure: Bounded | None, exact: float, near: float) -> None:
    assert figure is not None
    assert figure.lower - ROUNDING <= exact <= figure.upper + ROUNDING
    assert figure.lower <= figure.value <= figure.upper
    assert abs(figure.value - exact) <= near


def assert_right(scores: Scores, maps: Any, masks: Any, near: float) -> None:
    """All figures against scikit-learn and the loops."""
    flat, positive = np.asarray(maps, np.float64).reshape(-1), np.asarray(masks).reshape(-1) != 0
    assert_within(scores.pixel_auroc, float(roc_auc_score(positive, flat)), near)
    assert_within(scores.pixel_ap, float(average_precision_score(positive, flat)), near)
    assert_within(scores.pixel_f1, obvious.best_f1(maps, masks)[0], near)
    assert_within(scores.aupro, obvious.aupro(np.asarray(maps, np.float64), masks, scores.pro_limit), near)


# Against others


@pytest.mark.parametrize("bits", [8, 12, 16, 23])
@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_scikit_learn_and_a_loop(bits: int, seed: int) -> None:
    maps, masks = drawn(seed=seed)
    scores = measured(maps, masks, mantissa_bits=bits)
    assert_right(scores, maps, masks, near={8: 3e-3, 12: 3e-4, 16: PAIR, 23: GRAIN}[bits])
    tops = maps.max(axis=(1, 2))
    assert scores.image_auroc == pytest.approx(roc_auc_score(masks.any(axis=(1, 2)), tops), abs=ROUNDING)
    assert scores.image_ap == pytest.approx(average_precision_score(masks.any(axis=(1, 2)), tops), abs=ROUNDING)
    assert (scores.image_f1, scores.image_f1_threshold) == obvious.best_f1(tops, masks.any(axis=(1, 2)))
    assert scores.why is None
    assert (scores.images, scores.anomalous_images, scores.pixels) == (6, 4, maps.size)
    assert scores.anomalous_pixels == masks.sum()
    assert scores.regions == sum(len(obvious.regions_of(mask)) for mask in masks)


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.3, 1.0])
def test_the_pro_curve_ends_at_exactly_its_limit(limit: float) -> None:
    maps, masks = drawn()
    meter = Meter(mantissa_bits=23)
    meter.update(maps, masks)
    found = meter.compute(pro_limit=limit).aupro
    assert found is not None
    assert found.value == pytest.approx(obvious.aupro(maps.astype(np.float64), masks, limit), abs=1e-10)
    assert meter.pro(limit).x[-1] == limit
    assert aupro(maps, masks, limit, mantissa_bits=23) == found


LEVELS = st.lists(st.integers(0, 4), min_size=12, max_size=12)
WIDTHS, UNITS = st.sampled_from([4, 16, 23]), st.sampled_from([1, 1 / 7, -3e-40])


@settings(max_examples=40)
@given(LEVELS, st.lists(st.booleans(), min_size=10, max_size=10), WIDTHS, UNITS)
def test_ties_count_as_ties(levels: list[int], marks: list[bool], bits: int, unit: float) -> None:
    maps = (np.array(levels) * unit).astype(np.float32).reshape(1, 3, 4)
    masks = np.array([*marks, True, False]).reshape(1, 3, 4)
    scores = measured(maps, masks, mantissa_bits=bits)
    assert_right(scores, maps, masks, near=1.0 if bits == 4 else 1e-10)


@settings(max_examples=40)
@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=24, max_size=24),
    st.lists(st.booleans(), min_size=22, max_size=22),
    st.sampled_from([4, 5, 23]),
)
def test_exact_figures_lie_within_the_bounds(values: list[float], marks: list[bool], bits: int) -> None:
    # An infinity among scikit-learn's scores is refused, so the largest numbers stand for it.
    maps = np.clip(np.array(values, np.float32).reshape(2, 3, 4), -3e38, 3e38)
    masks = np.array([*marks, True, False]).reshape(2, 3, 4)
    assert_right(measured(maps, masks, mantissa_bits=bits), maps, masks, near=1.0 if bits < 23 else 1e-10)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=30, max_size=30), st.lists(st.booleans(), min_size=28, max_size=28))
def test_exact_figures_lie_within_the_bounds_of_crowded_bins(steps: list[int], marks: list[bool]) -> None:
    maps = (0.3 + np.array(steps) * 1e-3).astype(np.float32).reshape(1, 5, 6)  # 4 bits tell two or three apart
    masks = np.array([*marks, True, False]).reshape(1, 5, 6)
    assert_right(measured(maps, masks, mantissa_bits=4), maps, masks, near=1.0)


def test_scores_of_few_levels_are_measured_exactly_whatever_their_digits() -> None:
    maps, masks = drawn()
    levels = (np.clip(maps * 100, 0, 255).astype(np.uint8) / np.float32(255)).astype(np.float32)
    assert_right(measured(levels, masks), levels, masks, near=1e-10)


def test_scores_of_one_bin_that_differ_are_taken_to_be_spread_evenly() -> None:
    random = np.random.default_rng(0)
    masks = random.random((1, 60, 80)) < 0.2
    maps = (0.3 + 0.01 * random.random(masks.shape) + 0.005 * masks).astype(np.float32)  # 43 bins of 10 bits
    exact = average_precision_score(masks.reshape(-1), maps.reshape(-1))
    found = measured(maps, masks, mantissa_bits=10).pixel_ap
    assert found is not None
    assert found.upper - found.lower > 0.01
    assert abs(found.value - exact) < 1e-3  # 7e-3, were they taken to be equal


def test_bounds_are_told_though_a_map_begins_with_scores_of_few_digits() -> None:
    maps, masks = drawn()
    maps[:, :5] = 0.5
    found = measured(maps, masks, mantissa_bits=6).pixel_auroc
    assert found is not None
    assert found.upper > found.lower


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sigmoid_that_saturates_at_1_is_told_apart(sign: int) -> None:
    maps, masks = drawn(12)
    near_one = (sign * (1 - 1e-5 * np.exp(-20 * maps))).astype(np.float32)
    found = measured(near_one, masks)
    assert_right(found, near_one, masks, near=1e-10)
    assert found.pixel_ap is not None
    assert found.pixel_ap.upper == found.pixel_ap.lower


def test_maps_of_many_zeros_have_tight_bounds() -> None:
    maps, masks = drawn()
    maps[maps < 0.2] = 0
    scores = measured(maps, masks)
    assert_right(scores, maps, masks, near=PAIR)
    assert scores.pixel_auroc is not None
    assert scores.pixel_auroc.upper - scores.pixel_auroc.lower < 1e-3


# Degenerate maps and masks


def test_a_constant_map_scores_one_half() -> None:
    masks = np.zeros((2, 4, 4))
    masks[0, 1:3, 1:3] = 1
    scores = measured(np.full((2, 4, 4), 0.3), masks)
    assert scores.constant
    assert (scores.image_auroc, scores.pixel_auroc) == (0.5, Bounded(0.5, 0.5, 0.5))
    assert scores.pixel_ap == Bounded(4 / 32, 4 / 32, 4 / 32)
    assert float(scores.aupro or 0) == pytest.approx(0.15)  # the diagonal, up to a rate of 0.3
    assert (scores.image_f1_threshold, scores.pixel_f1_threshold) == (0.3, 0.3)


def test_without_anything_anomalous_nothing_can_be_measured() -> None:
    meter = Meter()
    with pytest.raises(ThreecadError, match="there is no image, and there is no pixel"):
        meter.compute()
    meter.update(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)))
    with pytest.raises(ThreecadError, match="no image is defective, and no pixel is anomalous"):
        meter.compute()
    with pytest.raises(ThreecadError, match="nothing can be measured of the pixels: no pixel is anomalous"):
        meter.roc()


def test_where_one_level_is_undefined_the_other_is_told_and_why() -> None:
    masks = np.zeros((1, 3, 3))
    masks[0, 0, 0] = 1
    scores = measured(np.arange(9.0).reshape(1, 3, 3), masks)
    assert (scores.image_auroc, scores.image_ap, scores.image_f1, scores.image_f1_threshold) == (None,) * 4
    assert scores.pixel_auroc == Bounded(0, 0, 0)
    assert scores.why == "Every image is defective, so the figures of images are undefined"

    meter = Meter()
    meter.update(np.arange(18.0).reshape(2, 3, 3), np.zeros((2, 3, 3)), labels=[0, 1])
    scores = meter.compute()
    assert scores.image_auroc == 1
    assert (scores.pixel_auroc, scores.pixel_ap, scores.pixel_f1, scores.pixel_f1_threshold, scores.aupro) == (None,) * 5
    assert scores.why == "No pixel is anomalous, so the figures of pixels are undefined"


def test_a_defective_image_without_a_marked_pixel_counts_for_images_alone() -> None:
    maps, masks = drawn(3)
    meter = Meter()
    meter.update(maps, masks)
    meter.update(np.full((1, 24, 24), 9.0), np.zeros((1, 24, 24)), labels=[1])
    scores = meter.compute()
    assert (scores.images, scores.anomalous_images, scores.pixels) == (4, 3, 3 * 576)
    assert scores.pixel_auroc == measured(maps, masks).pixel_auroc
    assert meter._high < 9


@pytest.mark.parametrize("place", [(0, 0), (0, 3), (4, 5)])
def test_one_region_at_the_border_is_measured(place: tuple[int, int]) -> None:
    maps = np.random.default_rng(3).random((2, 5, 6)).astype(np.float32)
    masks = np.zeros((2, 5, 6), np.uint8)
    masks[1][place] = 7
    assert_right(measured(maps, masks), maps, masks, near=1e-6)


def test_a_region_counts_as_much_as_any_other_whatever_its_size() -> None:
    masks = np.zeros((1, 20, 20))
    masks[0, :10] = 1
    masks[0, 15, 15] = 1
    found = measured(np.where(masks * (np.arange(20)[:, None] < 12), 1.0, 0.0), masks).aupro
    assert float(found or 0) == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-9)


# What may be handed in


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64, ">f4"])
def test_maps_of_any_type_give_the_figures_of_their_values(dtype: Any) -> None:
    maps, masks = drawn()
    values = (maps * 300 if np.dtype(dtype).kind in "iu" else maps * 0.9).clip(0, 255).astype(dtype)
    scores = measured(values, masks)
    assert_right(scores, values.astype(np.float64), masks, near=PAIR)
    narrow = np.dtype(dtype).name not in ("float32", "float64")
    if narrow:
        assert scores.pixel_ap is not None
        assert scores.pixel_ap.lower == scores.pixel_ap.upper
        # and the threshold is one of the scores
        assert scores.pixel_f1_threshold == obvious.best_f1(values.astype(np.float64), masks)[1]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.uint16, np.float32, np.float64])
def test_masks_of_any_type_mark_what_is_not_zero(dtype: Any) -> None:
    maps, masks = drawn()
    assert measured(maps, (masks * 200).astype(dtype)) == measured(maps, masks)


def test_a_batch_may_have_a_channel_and_an_image_no_batch() -> None:
    maps, masks = drawn()
    expected = measured(maps, masks)
    assert measured(maps[:, None], masks[:, None]) == measured(maps[:, None], masks) == expected
    meter = Meter()
    for one, mask in zip(maps, masks, strict=True):
        meter.update(one, mask)
    meter.update(maps[:0], masks[:0])
    assert meter.compute() == expected


def test_views_need_not_be_contiguous() -> None:
    maps, masks = drawn()
    wide = np.repeat(maps, 2, axis=2)
    assert measured(wide[:, ::-1, ::2], masks[:, ::-1]) == measured(maps, masks)


def test_images_of_several_sizes_are_measured_together() -> None:
    meter, sizes = Meter(mantissa_bits=23), [(5, 9), (31, 4), (1, 50)]
    random, flat, marks = np.random.default_rng(0), [], []
    for size in sizes:
        maps, masks = random.random((3, *size)).astype(np.float32), random.random((3, *size)) < 0.1
        meter.update(maps, masks)
        flat.append(maps.reshape(-1))
        marks.append(masks.reshape(-1))
    expected = average_precision_score(np.concatenate(marks), np.concatenate(flat))
    assert meter.compute().pixel_ap == Bounded(*[pytest.approx(expected, abs=ROUNDING)] * 3)


def test_infinite_huge_and_tiny_scores_are_in_their_order() -> None:
    order = np.array([-np.inf, -1e300, -3e38, -1e-45, 0.0, 1e-45, 1e-40, 1.0, 3e38, 1e300, np.inf])
    for split in range(1, len(order)):
        masks = np.arange(len(order)) >= split
        scores = measured(order[None], masks[None])
        # 1e300 is infinite as float32, which ties it with infinity; 3e38 may share their bin.
        exact = split not in (1, 2, 8, 9, 10)
        assert float(scores.pixel_auroc or 0) >= (1 if exact else 0.5)
        assert scores.pixel_auroc is not None
        assert scores.pixel_auroc.upper == 1


def test_scores_that_rounding_to_float32_makes_equal_are_within_the_bounds() -> None:
    maps = np.array([[[0.1, 0.1 + 1e-12, 0.1 + 2e-12, 0.2]]])
    masks = np.array([[[0, 0, 1, 0]]])
    assert_right(measured(maps, masks, mantissa_bits=23), maps, masks, near=0.5)


@pytest.mark.parametrize("bits", [16, 23])
@pytest.mark.parametrize(
    "values", [[0.1, 0.3], [-0.3, -0.1], [0.0, 1e-46], [0.0, 1e39], [-1e39, 0.1], [-4e38, -3.4028235e38 - 1e31]]
)
def test_the_threshold_is_one_of_the_scores_as_they_were_given(values: list[float], bits: int) -> None:
    maps = np.array([values])
    scores = measured(maps, np.array([[0, 1]]), mantissa_bits=bits)
    if scores.pixel_f1 is not None and scores.pixel_f1.value == 1:
        assert (maps >= scores.pixel_f1_threshold).tolist() == [[False, True]]
    else:  # float32 does not tell them apart
        assert (maps >= scores.pixel_f1_threshold).all()


@pytest.mark.parametrize("score", [0.0, 1e-45, 0.1, 0.5, 1.0, 3.4028235e38, np.inf, -1e-45, -0.1, -1.0, -3.4028235e38])
def test_the_least_that_rounds_to_a_score_does_and_nothing_below_it(score: float) -> None:
    (least,) = least_that_round_to(keys_of(np.array([score], np.float32)))
    with np.errstate(over="ignore"):
        assert np.float32(least) == np.float32(score)
        assert np.float32(np.nextafter(least, -np.inf)) < np.float32(score)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
@pytest.mark.parametrize("start", [2**53, 2**60, 2**62])
def test_whole_numbers_that_float64_makes_equal_are_within_the_bounds(dtype: Any, start: int) -> None:
    numbers = np.array([[start, start + 1]], dtype)
    scores = measured(numbers, np.array([[0, 1]]), mantissa_bits=23)
    assert scores.pixel_auroc is not None
    assert scores.pixel_auroc.upper == 1
    assert not scores.constant


def test_a_threshold_of_whole_numbers_that_float64_rounds_up_finds_the_lowest() -> None:
    numbers = np.array([[2**53 + 3, 2**53 + 11]])  # the first one is 2⁵³ + 4 as float64
    found = measured(numbers, np.array([[1, 0]])).pixel_f1_threshold
    assert found is not None
    assert int(numbers.min()) >= found  # as whole numbers


def test_labels_and_image_scores_may_be_given() -> None:
    maps, masks = drawn(3)
    meter = Meter()
    meter.update(maps, masks, labels=np.array([False, True, True]), image_scores=[0.9, 0.1, 0.5])
    assert meter.compute().image_auroc == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"maps": np.full((2, 2, 2), [[[0]], [[np.nan]]])}, "the map of image 1 of the batch holds NaN"),
        ({"maps": np.full((2, 2, 2), [[[0]], [[np.nan]]], np.float16)}, "the map of image 1 of the batch holds NaN"),
        ({"maps": np.zeros((2, 2, 2), np.complex64)}, "the map holds values of type complex64"),
        ({"maps": np.full((2, 2, 2), "0")}, "the map holds values of type <U1"),
        ({"maps": np.zeros((2, 2, 3))}, "maps and masks differ in shape: 2 × 2 × 3 and 2 × 2 × 2"),
        ({"maps": np.zeros(4), "masks": np.zeros(4)}, "maps have the shape 4; expected"),
        ({"maps": np.zeros((2, 0, 3)), "masks": np.zeros((2, 0, 3))}, "maps have the shape 2 × 0 × 3"),
        ({"masks": np.full((2, 2, 2), np.nan)}, "the mask of image 0 of the batch holds NaN"),
        ({"masks": np.full((2, 2, 2), None)}, "the mask holds values of type object"),
        ({"labels": [0, 0]}, "image 0 of the batch is labelled 0 .good., but its mask marks pixels"),
        ({"labels": [1, 2]}, "the label of image 1 of the batch is neither 0 .good. nor 1 .defective."),
        ({"labels": [1]}, "labels has 1 values for 2 images"),
        ({"image_scores": [1, np.nan]}, "image_scores holds NaN for image 1 of the batch"),
        ({"image_scores": [1, 2, 3]}, "image_scores has 3 values for 2 images"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_and_changes_nothing(changes: dict[str, Any], sentence: str) -> None:
    good = {"maps": np.zeros((2, 2, 2)), "masks": np.array([np.eye(2), np.zeros((2, 2))])}
    meter = Meter()
    with pytest.raises(ValueError, match=sentence) as caught:
        meter.update(**{**good, **changes})
    assert isinstance(caught.value, ThreecadError)
    assert len(meter.state()["bins"]) == len(meter.state()["image_scores"]) == 0


@pytest.mark.parametrize("bits", [3, 24])
def test_mantissa_bits_are_checked(bits: int) -> None:
    with pytest.raises(ThreecadError, match=f"mantissa_bits is {bits}; expected 4 to 23"):
        Meter(mantissa_bits=bits)


@pytest.mark.parametrize("limit", [0, -1, 1.1, float("nan")])
def test_the_limit_is_checked(limit: float) -> None:
    meter = Meter()
    meter.update(*drawn(2))
    with pytest.raises(ThreecadError, match="limit of the PRO curve"):
        meter.compute(pro_limit=limit)
    with pytest.raises(ThreecadError, match="limit of the PRO curve"):
        meter.pro(limit)


# Any order, any split


def states_equal(one: Meter, other: Meter) -> bool:
    first, second = one.state(), other.state()
    same = [first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name]) for name in first]
    return first.keys() == second.keys() and all(same)


@settings(max_examples=25)
@given(st.permutations(range(6)), st.lists(st.integers(0, 2), min_size=6, max_size=6), st.sampled_from([10, 16, 23]))
def test_merging_in_any_order_equals_one_pass(order: list[int], owners: list[int], bits: int) -> None:
    maps, masks = drawn(side=12)
    whole = Meter(mantissa_bits=bits, upstream=True)
    whole.update(maps, masks)
    meters = [Meter(mantissa_bits=bits, upstream=True) for _ in range(3)]
    for number in order:
        meters[owners[number]].update(maps[number], masks[number])
    merged = Meter(mantissa_bits=bits, upstream=True)
    for meter in meters:
        before = meter.state()
        merged.merge(meter)
        assert all(np.array_equal(before[name], now) for name, now in meter.state().items())
    assert states_equal(merged, whole)
    assert merged.compute() == whole.compute()


def wide(seed: int) -> tuple[Any, Any]:
    """Scores over all magnitudes, a page for each."""
    random = np.random.default_rng(seed)
    maps = np.ldexp(random.random((2, 20, 20)) - 0.3, random.integers(-120, 120, (2, 20, 20)))
    return maps.astype(np.float32), random.random((2, 20, 20)) < 0.2


def test_joining_bins_bounds_memory_and_does_not_depend_on_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 24 << 20)
    monkeypatch.setattr(module, "_STAGE", 500)
    batches = [wide(seed) for seed in range(3)]
    one, other, parts = Meter(), Meter(), [Meter(), Meter()]
    for number, batch in enumerate(batches):
        one.update(*batch)
        parts[number % 2].update(*batch)
    for batch in reversed(batches):
        other.update(*batch)
    assert one.compute().mantissa_bits < 16
    assert one.nbytes < (24 << 20) + 10_000
    assert states_equal(one, other)
    narrow = Meter()
    narrow.update(*drawn(2))
    for merged in (Meter.from_state(parts[0].state()), narrow):
        merged.merge(parts[1])
    parts[1].merge(parts[0])
    again = Meter()
    again.merge(parts[1])
    assert states_equal(parts[1], one)
    assert states_equal(again, one)
    maps, masks = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    assert_right(one.compute(), maps, masks, near=0.01)


def test_more_bits_than_there_is_room_for_end_as_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 24 << 20)
    added, add = [], module.Pages.add
    monkeypatch.setattr(module.Pages, "add", lambda self, *given: (add(self, *given), added.append(self.nbytes)))
    fine, wider = Meter(mantissa_bits=22), Meter(mantissa_bits=21)
    for seed in range(2):
        fine.update(*wide(seed))
        wider.update(*wide(seed))
    assert fine.compute().mantissa_bits == wider.compute().mantissa_bits < 16
    assert fine.compute().pixel_ap == wider.compute().pixel_ap
    assert max(added) < 100 << 20  # for a moment
    parts = [Meter(mantissa_bits=22) for _ in range(2)]
    for seed, part in enumerate(parts):
        part.update(*wide(seed))
    parts[1].merge(Meter.from_state(parts[0].state()))
    assert states_equal(parts[1], fine)


def test_counts_beyond_32_bits_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks = drawn()
    narrow = measured(maps, masks)
    monkeypatch.setattr(module, "_NARROW", 3000)
    assert measured(maps, masks) == narrow
    meter = Meter()
    meter.update(maps, masks)
    doubled = Meter.from_state(meter.state())
    doubled.merge(meter)
    doubled.merge(doubled)
    assert doubled._pixel_count == 4 * maps.size
    assert doubled._pixels.table()[1].sum() == 4 * maps.size


def test_more_regions_than_can_be_added_up_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.regions, "MOST", 2)
    meter = Meter()
    with pytest.raises(ThreecadError, match="more than 2 regions"):
        meter.update(np.zeros((1, 1, 5)), [[[1, 0, 1, 0, 1]]])


def test_meters_of_other_settings_are_not_merged() -> None:
    for other in (Meter(mantissa_bits=15), Meter(upstream=True)):
        with pytest.raises(ThreecadError, match="different settings"):
            Meter().merge(other)


# Sending


@pytest.mark.parametrize("bits", [16, 23])
@pytest.mark.parametrize("upstream", [False, True])
def test_a_state_leads_back_to_its_meter(bits: int, upstream: bool, tmp_path: Any) -> None:
    meter = Meter(mantissa_bits=bits, upstream=upstream)
    meter.update(*drawn())
    np.savez(tmp_path / "state.npz", **meter.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        again = Meter.from_state(dict(stored))
    assert states_equal(again, meter)
    assert again.compute() == meter.compute()
    again.update(*drawn(seed=5))
    meter.update(*drawn(seed=5))
    assert states_equal(again, meter)


def test_the_state_of_an_empty_meter_leads_back() -> None:
    assert states_equal(Meter.from_state(Meter().state()), Meter())


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("bins", lambda column: column[::-1], "not in order"),
        ("bins", lambda column: column * 2, "bins of no score"),
        ("bins", lambda column: column[:-1], "do not belong together"),
        ("bins", lambda column: column.astype(np.int64), "do not belong together"),
        ("bins", lambda column: column.astype(np.float32), "float32"),
        ("pixels", lambda column: column + 1, "do not add up"),
        ("pixels", lambda column: -column.astype(np.int64), "holds nothing"),
        ("pixels", lambda column: np.array([2**62, *column[1:]]), "do not add up"),
        ("marked", lambda column: np.array([0, *column[1:]]), "holds nothing"),
        ("weights", lambda column: np.array([0, column[0] + column[1], *column[2:]]), "holds nothing"),
        ("counts", lambda column: np.array([*column[:3], 2**62, 0]), "do not add up"),
        ("range", lambda column: column * 2, "range of scores"),
        ("range", lambda column: column[[0, 0]], "range of scores"),
        ("settings", lambda column: np.array([*column[:4], 0]), "figures by image"),
        ("upstream", lambda column: column - 2, "figures by image"),
        ("upstream", lambda column: column + 2, "figures by image"),
        ("upstream", lambda column: np.tile(column, 100), "figures by image"),
        ("upstream", lambda column: column * np.nan, "NaN"),
        ("image_labels", lambda column: column * 0, "no defective image"),
        ("marked", lambda column: column * 1000, "more pixels of a bin"),
        ("marked_bins", lambda column: column + 100_000_000, "not in order"),
        ("weights", lambda column: column // 2, "do not add up"),
        ("counts", lambda column: column + 1, "do not add up"),
        ("counts", lambda column: column[:2], "shape"),
        ("settings", lambda column: column + 100, "settings"),
        ("settings", lambda column: np.array([23, *column[1:]]), "exact bins"),
        ("range", lambda column: column[::-1], "range of scores"),
        ("range", lambda column: column * np.nan, "range of scores"),
        ("image_labels", lambda column: column + 1, "labels"),
        ("image_labels", lambda column: column[:-1], "do not belong together"),
        ("image_scores", lambda column: column * np.nan, "NaN"),
        ("upstream", lambda column: column[None], "shape"),
        ("weights", None, "has no 'weights'"),
    ],
)
def test_a_damaged_state_is_refused(name: str, damage: Any, sentence: str) -> None:
    meter = Meter(upstream=True)
    meter.update(*drawn(3))
    state = meter.state()
    column = state.pop(name)
    if damage:
        state[name] = damage(column)
    with pytest.raises(ThreecadError, match=sentence):
        Meter.from_state(state)


@pytest.mark.parametrize("least", [-5.0, -np.inf, -3e38])
def test_a_state_of_scores_far_apart_leads_back_too(least: float) -> None:
    meter = Meter(mantissa_bits=23)
    meter.update(np.array([[least, -least]], np.float32), np.array([[0, 1]]))
    assert states_equal(Meter.from_state(meter.state()), meter)


@pytest.mark.parametrize("bits", [16, 23])
def test_a_state_of_whole_numbers_that_are_rounded_twice_leads_back(bits: int) -> None:
    meter = Meter(mantissa_bits=bits)
    numbers = np.array([[-(2**60 + 2**36 + 1), 2**60 + 2**36, 2**60 + 2**36 + 1]])
    meter.update(numbers, np.array([[0, 0, 1]]))
    assert states_equal(Meter.from_state(meter.state()), meter)


def test_counts_whose_sum_wraps_are_refused() -> None:
    meter = Meter()
    meter.update(np.arange(6.0)[None], np.array([[0, 0, 0, 0, 0, 1]]))
    state = meter.state()
    state["pixels"] = np.array([2**62, 2**62, 2**62, 2**62, 5, 1], np.int64)  # 6 modulo 2⁶⁴
    with pytest.raises(ThreecadError, match="do not add up"):
        Meter.from_state(state)


def test_an_empty_state_has_no_range() -> None:
    with pytest.raises(ThreecadError, match="range of scores"):
        Meter.from_state(Meter().state() | {"range": np.zeros(2)})


def test_nbytes_is_bounded_and_small_for_what_detectors_give() -> None:
    meter = Meter()
    meter.update(*drawn())
    assert meter.nbytes < 30 << 20
    assert module.LARGEST + 4 * module._STAGE + 12 * module._FEW + 16_546 * 9 < 100_000_000


# Curves, and the variant


@pytest.mark.parametrize("kind", ["roc", "pr", "pro"])
def test_a_curve_is_thinned_and_keeps_its_area_and_its_ends(kind: str) -> None:
    meter = Meter()
    meter.update(*drawn())
    full, thin = getattr(meter, kind)(points=10**9), getattr(meter, kind)(points=50)
    assert len(full.x) == len(full.y) == len(full.threshold) > 100
    assert len(thin.x) <= 50
    for curve in (full, thin):
        assert (np.diff(curve.x) >= 0).all()
        assert (np.diff(curve.threshold) < 0).all()
        assert curve.threshold[0] == np.inf
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (full.x[0], full.y[0], full.x[-1], full.y[-1])
    areas = [np.sum(np.diff(curve.x) * (curve.y[1:] + curve.y[:-1]) / 2) for curve in (full, thin)]
    assert areas[0] == pytest.approx(areas[1], abs=0.03)


def test_the_curves_say_what_a_threshold_finds() -> None:
    maps, masks = drawn(seed=2)
    meter = Meter(mantissa_bits=23)
    meter.update(maps, masks)
    roc, pr, pro = meter.roc(), meter.pr(), meter.pro()
    for number in (1, 50, len(roc.x) - 2):
        found = maps >= np.float32(roc.threshold[number])
        assert roc.x[number] == pytest.approx(np.mean(found[~masks]))
        assert roc.y[number] == pytest.approx(np.mean(found[masks]))
    for number in (1, 50, len(pr.x) - 2):
        found = maps >= np.float32(pr.threshold[number])
        assert pr.x[number] == pytest.approx(np.mean(found[masks]))
        assert pr.y[number] == pytest.approx(np.mean(masks[found]))
    regions = [[(number, *place) for place in region] for number in range(6) for region in obvious.regions_of(masks[number])]
    for number in (1, 50, len(pro.x) - 2):
        found = maps >= np.float32(pro.threshold[number])
        assert pro.x[number] == pytest.approx(np.mean(found[~masks]))
        assert pro.y[number] == pytest.approx(np.mean([np.mean([found[place] for place in region]) for region in regions]))


def test_the_variant_by_image_is_the_mean_over_defective_images() -> None:
    maps, masks = drawn()
    meter = Meter(upstream=True)
    meter.update(maps, masks)
    each = [obvious.pro_image_by_image(one, mask) for one, mask in zip(maps, masks, strict=True) if mask.any()]
    assert meter.compute().pro_upstream == pytest.approx(np.mean(each), abs=1e-12)
    assert measured(maps, masks).pro_upstream is None
