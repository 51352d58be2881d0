"""What holds for the windows and the states of every image."""

from __future__ import annotations

import cv2
import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sahi.slicing import get_slice_bboxes

from threecad.domain import Region, Size, State
from threecad.imaging.raster import paint, spans
from threecad.imaging.tiling import judge, windows
from threecad.settings import Tiling

EDGES = ("shift", "remainder", "pad", "balanced")
sizes = st.builds(Size, st.integers(1, 700), st.integers(1, 700))
overlaps = st.one_of(st.sampled_from([0, 0.2, 0.25, 0.29, 0.5]), st.floats(0, 0.8))
tilings = st.builds(
    Tiling,
    slice_size=st.integers(8, 300).filter(lambda side: side > 40),
    overlap_ratio=overlaps,
    edge=st.sampled_from(EDGES),
    min_side_ratio=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)


@given(sizes, tilings)
@settings(max_examples=150, deadline=None)
def test_windows_cover_every_pixel_unless_some_are_left_out(size, tiling):
    kept, left_out = windows(size, tiling)
    covered = np.zeros((size.height, size.width), bool)
    for window in kept:
        assert min(window.top, window.left) >= 0
        covered[window.top : window.top + window.size.height, window.left : window.left + window.size.width] = True
    assert covered.all() or left_out
    assert len(set(kept)) == len(kept)
    assert kept == sorted(kept)


@given(sizes, tilings)
@settings(max_examples=150, deadline=None)
def test_windows_are_full_inside_or_as_long_as_the_image(size, tiling):
    side = tiling.slice_size
    for window in windows(size, tiling)[0]:
        for start, length, whole in ((window.top, window.size.height, size.height), (window.left, window.size.width, size.width)):
            assert start < whole
            if tiling.edge == "pad":
                assert length == side
            else:
                assert start + length <= whole
                assert length == min(side, whole) or (tiling.edge == "remainder" and start + length == whole)


@given(sizes, tilings, st.integers(1, 65))
@settings(max_examples=150, deadline=None)
def test_every_window_left_out_is_too_narrow_and_no_kept_one_is(size, tiling, percent):
    tiling = tiling.model_copy(update={"min_side_ratio": percent / 100})
    every, none = windows(size, tiling.model_copy(update={"min_side_ratio": 0.0}))
    kept, left_out = windows(size, tiling)
    assert none == 0
    assert left_out == len(every) - len(kept)
    for window in every:
        height = min(window.size.height, size.height - window.top)
        width = min(window.size.width, size.width - window.left)
        # Compared in whole hundredths, where nothing is rounded.
        assert (window in kept) == (100 * min(height, width) >= percent * tiling.slice_size)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(64, 2048), overlaps)
@settings(max_examples=200, deadline=None)
def test_shift_gives_the_windows_of_sahi(height, width, side, overlap):
    boxes = get_slice_bboxes(height, width, side, side, False, overlap, overlap)
    ours, left_out = windows(Size(height, width), Tiling(slice_size=side, overlap_ratio=overlap, min_side_ratio=0))
    assert left_out == 0
    assert [[w.left, w.top, w.left + w.size.width, w.top + w.size.height] for w in ours] == boxes


@given(st.integers(1, 20_000), st.integers(8, 2048), overlaps)
@settings(max_examples=200, deadline=None)
def test_balanced_spreads_as_many_windows_as_shift_evenly(width, side, overlap):
    size = Size(side, width)
    shifted, even = (
        [w.left for w in windows(size, Tiling(slice_size=side, overlap_ratio=overlap, min_side_ratio=0, edge=edge))[0]]
        for edge in ("shift", "balanced")
    )
    assert len(even) == len(shifted)
    assert (even[0], even[-1]) == (0, max(0, width - side))
    steps = np.diff(even)
    if len(steps):
        assert steps.max() - steps.min() <= 1
        assert steps.max() <= side - int(overlap * side)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.sampled_from(EDGES), st.booleans())
@settings(max_examples=100, deadline=None)
def test_states_follow_from_the_pixels(seed, margin, edge, waiting):
    rng = np.random.default_rng(seed)
    size = Size(*rng.integers(40, 200, 2).tolist())
    tiling = Tiling(slice_size=48, edge=edge, margin=margin, min_px=20, min_side_ratio=0)
    regions = []
    for k in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, [size.width - 3, size.height - 3])
        box = shapely.box(x, y, min(size.width, x + rng.uniform(1, 40)), min(size.height, y + rng.uniform(1, 40)))
        regions.append(Region(f"a#{k}", "dent", box, (k,), ignore=bool(rng.random() < 0.2)))
    queued = [tuple(float(v) for v in (5, 5, 20, 9))] if waiting else []
    found, _ = spans(regions, size)
    cuts, _ = windows(size, tiling)

    masks = [paint(found, size, [255 if j == k else None for j in range(len(regions))]) for k in range(len(regions))]
    union = np.bitwise_or.reduce(masks) if masks else np.zeros((size.height, size.width), np.uint8)
    spread = cv2.dilate(union, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    for window, (state, defects) in zip(cuts, judge(found, regions, cuts, size, queued, tiling), strict=True):
        view = np.s_[window.top : window.top + window.size.height, window.left : window.left + window.size.width]
        parts = [
            (region.uid, int(np.count_nonzero(mask[view])), np.count_nonzero(mask))
            for region, mask in zip(regions, masks, strict=True)
            if not region.ignore
        ]
        assert [(defect.uid, defect.area) for defect in defects] == [(uid, area) for uid, area, _ in parts if area]
        enough = any(area and (area >= 20 or area / total >= 0.1) for _, area, total in parts)
        touched = waiting and window.left <= 20 + margin and window.top <= 9 + margin
        good = State.POISONED if waiting else State.GOOD
        unspoilt = State.DEFECT if enough else State.AMBIGUOUS if spread[view].any() else good
        assert state == (State.POISONED if touched else unspoilt)
