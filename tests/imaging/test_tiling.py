"""Where the windows lie, what a tile is called, and what is cut out."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
import shapely

from threecad.domain import Region, Shape, Size, State, Window
from threecad.errors import ConfigError
from threecad.imaging import tiling
from threecad.imaging.raster import paint, spans
from threecad.imaging.tiling import Canvas, cut, extent, judge, windows
from threecad.settings import Tiling

SIZE = Size(64, 192)
TILING = Tiling(slice_size=64, overlap_ratio=0)
"""Three windows side by side: columns 0 to 63, 64 to 127 and 128 to 191."""


def region(geometry, number=0, ignore=False):
    return Region(f"a.png#{number}", "dent", geometry, (number,), ignore)


def verdicts(*regions, queued=(), settings=TILING, size=SIZE):
    cuts, _ = windows(size, settings)
    return judge(spans(regions, size)[0], regions, cuts, size, queued, settings)


def states(*regions, queued=(), settings=TILING):
    return [state.value for state, _ in verdicts(*regions, queued=queued, settings=settings)]


def lefts(width, edge, **settings):
    tiling = Tiling(edge=edge, **settings)
    return [(w.left, w.size.width) for w in windows(Size(tiling.slice_size, width), tiling)[0]]


# Windows


def test_the_default_window_is_1024_with_a_stride_of_820():
    assert lefts(4096, "shift") == [(0, 1024), (820, 1024), (1640, 1024), (2460, 1024), (3072, 1024)]


def test_remainder_leaves_the_last_window_short_and_pad_fills_it_up():
    assert lefts(4000, "remainder")[-1] == (3280, 720)
    assert lefts(4000, "pad")[-1] == (3280, 1024)


def test_no_window_of_any_policy_lies_wholly_within_its_neighbour():
    for edge in ("shift", "remainder", "pad", "balanced"):
        for width in range(820, 3000, 7):
            ends = [left + side for left, side in lefts(width, edge)]
            assert ends == sorted(set(ends)), (edge, width)


def test_balanced_has_as_many_windows_as_shift_at_nearly_equal_distances():
    for width in range(300, 6000, 13):
        even, moved = lefts(width, "balanced"), lefts(width, "shift")
        assert len(even) == len(moved)
        assert (even[0], even[-1]) == (moved[0], moved[-1])
        steps = np.diff([left for left, _ in even])
        assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_a_side_shorter_than_the_window_keeps_its_length_unless_it_is_padded():
    for edge in ("shift", "remainder", "balanced"):
        assert windows(Size(600, 900), Tiling(edge=edge)) == ([Window(0, 0, Size(600, 900))], 0)
    assert windows(Size(600, 900), Tiling(edge="pad")) == ([Window(0, 0, Size(1024, 1024))], 0)


def test_windows_go_from_top_to_bottom_and_left_to_right():
    for edge in ("shift", "remainder", "pad", "balanced"):
        places = [(w.top, w.left) for w in windows(Size(2500, 3500), Tiling(edge=edge))[0]]
        assert places == sorted(places)


@pytest.mark.parametrize("edge", ["shift", "remainder", "pad", "balanced"])
def test_an_image_narrower_than_a_fifth_of_the_window_has_no_windows_and_the_count_says_so(edge):
    assert windows(Size(204, 3000), Tiling(edge=edge)) == ([], 4)
    kept, left_out = windows(Size(205, 3000), Tiling(edge=edge))
    assert (len(kept), left_out) == (4, 0)


def test_a_short_last_window_is_left_out_when_it_is_too_narrow():
    settings = {"slice_size": 100, "overlap_ratio": 0.0}
    for edge in ("remainder", "pad"):
        assert windows(Size(100, 219), Tiling(edge=edge, **settings))[1] == 1
        assert windows(Size(100, 220), Tiling(edge=edge, **settings))[1] == 0
    assert windows(Size(100, 219), Tiling(edge="shift", **settings))[1] == 0


def test_a_side_of_exactly_the_least_share_is_kept():
    assert 0.07 * 100 > 7
    assert windows(Size(7, 100), Tiling(slice_size=100, min_side_ratio=0.07))[1] == 0


def test_the_overlap_is_rounded_down_to_whole_pixels_as_by_sahi():
    assert lefts(300, "remainder", slice_size=100, overlap_ratio=0.29)[1] == (100 - 28, 100)


def test_the_largest_overlap_still_leaves_a_stride_of_one_pixel():
    ratio = 1 - 2**-53
    assert all(int(ratio * side) < side for side in range(8, 65_536))
    for edge in ("shift", "remainder", "pad", "balanced"):
        assert [left for left, _ in lefts(12, edge, slice_size=8, overlap_ratio=ratio)] == [0, 1, 2, 3, 4]


def test_no_policy_needs_sahi(monkeypatch):
    monkeypatch.setitem(sys.modules, "sahi.slicing", None)
    assert lefts(1500, "shift")[-1] == (1500 - 1024, 1024)


# States


def test_an_image_without_shapes_has_good_tiles_only():
    assert states() == ["good"] * 3


def test_a_defect_makes_its_tile_a_defect_tile_and_no_other():
    assert states(region(shapely.box(80, 10, 100, 30))) == ["good", "defect", "good"]


def test_a_tenth_of_a_defect_makes_a_defect_tile_and_less_of_it_an_ambiguous_one():
    # 4 rows: 4 of 40 columns in the left window are a tenth; 3 are not, and 12 pixels are under min_px.
    assert states(region(shapely.box(60, 10, 100, 14)))[0] == "defect"
    assert states(region(shapely.box(61, 10, 101, 14)))[0] == "ambiguous"


def test_enough_pixels_make_a_defect_tile_however_small_their_share():
    wide = shapely.box(62, 0, 192, 32)
    assert states(region(wide))[0] == "defect"
    assert states(region(wide), settings=TILING.model_copy(update={"min_px": 65}))[0] == "ambiguous"


def test_nothing_visible_is_no_defect_even_if_no_share_is_asked_for():
    settings = TILING.model_copy(update={"min_area_ratio": 0.0})
    assert states(region(shapely.box(80, 10, 100, 30)), settings=settings) == ["good", "defect", "good"]


def test_a_tile_is_good_only_beyond_the_margin():
    assert states(region(shapely.box(71, 10, 90, 30)))[0] == "ambiguous"
    assert states(region(shapely.box(72, 10, 90, 30)))[0] == "good"
    assert states(region(shapely.box(64, 10, 90, 30)), settings=TILING.model_copy(update={"margin": 0}))[0] == "good"


def test_the_margin_holds_over_corners_too():
    size = Size(128, 128)
    dent = region(shapely.box(70, 70, 90, 90))
    assert [state.value for state, _ in verdicts(dent, size=size)] == ["ambiguous", "ambiguous", "ambiguous", "defect"]


def test_an_area_to_ignore_is_no_defect_but_spoils_a_good_tile():
    ignored = region(shapely.box(80, 10, 100, 30), ignore=True)
    assert verdicts(ignored) == [(State.GOOD, ()), (State.AMBIGUOUS, ()), (State.GOOD, ())]
    assert states(ignored, region(shapely.box(110, 10, 120, 30), 1)) == ["good", "defect", "good"]


def test_a_queued_shape_poisons_the_tiles_it_touches_and_every_good_one():
    dent = region(shapely.box(10, 10, 30, 30))
    assert states(dent, queued=[(90.0, 10.0, 100.0, 20.0)]) == ["defect", "poisoned", "poisoned"]
    assert states(dent, queued=[(20.0, 10.0, 25.0, 20.0)]) == ["poisoned"] * 3


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((72.0, 70.0, 80.0, 80.0), {0, 1, 2, 3}),
        ((72.1, 70.0, 80.0, 80.0), {1, 3}),
        ((50.0, 50.0, 56.0, 55.9), {0, 1}),
        ((50.0, 50.0, 55.9, 56.0), {0, 2}),
        ((50.0, 50.0, 55.9, 55.9), {0}),
        ((70.0, 72.0, 80.0, 80.0), {0, 1, 2, 3}),
        ((70.0, 72.1, 80.0, 80.0), {2, 3}),
    ],
)
def test_a_queued_shape_reaches_as_far_as_the_margin_in_every_direction(box, touches):
    dents = [region(shapely.box(x, y, x + 15, y + 15), 2 * y + x) for y in (20, 100) for x in (20, 100)]
    found = verdicts(*dents, queued=[box], size=Size(128, 128))
    expected = [State.POISONED if k in touches else State.DEFECT for k in range(4)]
    assert [state for state, _ in found] == expected


def test_a_queued_shape_leaves_an_ambiguous_tile_ambiguous_unless_it_touches_it():
    sliver = region(shapely.box(61, 10, 101, 14))
    assert states(sliver, queued=[(180.0, 0.0, 190.0, 9.0)]) == ["ambiguous", "defect", "poisoned"]


def test_a_queued_shape_of_unknown_place_poisons_every_tile():
    assert states(region(shapely.box(10, 10, 30, 30)), queued=[(0.0, 0.0, 1.0, 1.0), None]) == ["poisoned"] * 3


def test_a_queued_shape_outside_the_image_leaves_no_good_tile_either():
    dent = region(shapely.box(10, 10, 30, 30))
    assert states(dent, queued=[(900.0, 900.0, 950.0, 950.0)]) == ["defect", "poisoned", "poisoned"]


def test_a_poisoned_tile_still_tells_its_defects():
    dent = region(shapely.box(10, 10, 30, 30))
    (state, defects), *_ = verdicts(dent, queued=[None])
    assert (state, len(defects)) == (State.POISONED, 1)


def test_a_defect_tells_its_visible_pixels_box_and_share_in_the_frame_of_the_tile():
    _, (defect,) = verdicts(region(shapely.box(60, 10, 100, 14)))[1]
    assert (defect.uid, defect.label, defect.area, defect.bbox) == ("a.png#0", "dent", 4 * 36, (0, 10, 36, 4))
    assert defect.share == 0.9


def test_defects_come_in_the_order_of_the_regions_and_no_windows_give_no_verdicts():
    dents = [region(shapely.box(40 - 10 * k, 10, 45 - 10 * k, 20), k) for k in range(4)]
    assert [defect.uid for defect in verdicts(*dents)[0][1]] == [f"a.png#{k}" for k in range(4)]
    assert judge(spans(dents, SIZE)[0], dents, [], SIZE, [(0.0, 0.0, 1.0, 1.0)], TILING) == []


# Cutting


def test_a_tile_shows_what_the_whole_image_and_its_masks_show_there():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (64, 192, 3), dtype=np.uint8)
    drawn = [
        region(shapely.Point(70, 30).buffer(21)),
        region(shapely.box(60, 5, 90, 30), 1, ignore=True),
        region(shapely.box(80, 20, 99, 28), 2),
    ]
    found, _ = spans(drawn, SIZE)
    canvas = Canvas("a.png", pixels, found, [3, None, 8])
    for left in (0, 37, 64, 128):
        window = Window(0, left, Size(64, 64))
        tile = cut(canvas, window, State.DEFECT, ())
        assert (tile.source, tile.window, tile.state) == ("a.png", window, State.DEFECT)
        assert np.shares_memory(tile.pixels, pixels)
        here = slice(left, left + 64)
        assert (tile.pixels == pixels[:, here]).all()
        assert (tile.mask == paint(found, SIZE, [255, None, 255])[:, here]).all()
        assert (tile.types == paint(found, SIZE, [3, None, 8])[:, here]).all()
        assert (tile.ignore == paint(found, SIZE, [None, 255, None])[:, here]).all()


def test_a_tile_that_reaches_beyond_the_image_holds_zeros_there():
    pixels = np.full((50, 70, 3), 9, np.uint16)
    everything, _ = spans([region(shapely.box(0, 0, 70, 50))], Size(50, 70))
    tile = cut(Canvas("a.png", pixels, everything, [300], np.uint16), Window(0, 64, Size(64, 64)), State.GOOD, ())
    assert tile.pixels.shape == (64, 64, 3)
    assert tile.pixels.dtype == np.uint16
    assert (tile.pixels[:50, :6] == 9).all()
    assert tile.pixels.sum() == 50 * 6 * 3 * 9
    assert tile.mask.shape == tile.types.shape == (64, 64)
    assert tile.mask.sum() == 50 * 6 * 255
    assert tile.types.sum() == 50 * 6 * 300
    assert tile.ignore is None


# Where a shape lies


def shape(kind, *points, fault=None):
    return Shape(0, "dent", kind, points, fault=fault)


def test_the_extent_of_a_shape_is_that_of_its_points():
    assert extent(shape("polygon", (3.0, 9.0), (1.0, 4.0))) == (1.0, 4.0, 3.0, 9.0)
    assert extent(shape("rectangle", (9.0, 9.0), (1.0, 2.0))) == (1.0, 2.0, 9.0, 9.0)
    assert extent(shape("point", (5.0, 6.0))) == (5.0, 6.0, 5.0, 6.0)


def test_the_extent_of_a_circle_is_the_circle_and_that_of_a_mask_holds_its_last_pixel():
    assert extent(shape("circle", (10.0, 10.0), (13.0, 14.0))) == (5.0, 5.0, 15.0, 15.0)
    assert extent(shape("mask", (2.0, 3.0), (4.0, 4.0))) == (2.0, 3.0, 5.0, 5.0)


@pytest.mark.parametrize(
    "lost",
    [
        shape("polygon"),
        shape("polygon", (1.0, 2.0), (float("inf"), 3.0)),
        shape("blob", (1.0, 2.0), (3.0, 4.0)),
        shape("polygon", (1.0, 2.0), (3.0, 4.0), fault="points is not a list of pairs"),
    ],
)
def test_a_shape_that_cannot_be_located_has_no_extent(lost):
    assert extent(lost) is None


# Large images


@pytest.mark.parametrize("cells", [1, 7, 40])
@pytest.mark.parametrize("queued", [(), ((70.0, 3.0, 75.0, 9.0),), (None,)])
def test_windows_judged_in_parts_get_the_verdicts_of_all_at_once(monkeypatch, cells, queued):
    size, settings = Size(100, 260), Tiling(slice_size=32, overlap_ratio=0.5, margin=3)
    drawn = [region(shapely.box(9 * k, 5 * k, 9 * k + 25, 5 * k + 8), k, ignore=k % 4 == 3) for k in range(9)]
    whole = verdicts(*drawn, queued=queued, settings=settings, size=size)
    assert len(whole) > 40
    monkeypatch.setattr(tiling, "_CELLS", cells)
    assert verdicts(*drawn, queued=queued, settings=settings, size=size) == whole


def test_many_regions_in_many_windows_take_little_memory():
    size, settings = Size(800, 800), Tiling(slice_size=8, overlap_ratio=0.5)
    drawn = [region(shapely.box(3 * k, 3 * k, 3 * k + 2, 3 * k + 2), k) for k in range(250)]
    cuts, _ = windows(size, settings)
    found = spans(drawn, size)[0]
    tracemalloc.start()
    try:
        judged = judge(found, drawn, cuts, size, [], settings)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(judged) == 199 * 199
    assert peak < 300e6  # 1 GB with a table of 250 regions × 39,601 windows


@pytest.mark.parametrize("edge", ["shift", "remainder", "pad", "balanced"])
def test_more_than_200_000_windows_are_refused_before_any_is_made(edge, monkeypatch):
    settings = Tiling(slice_size=8, overlap_ratio=0.5, edge=edge)
    assert len(windows(Size(8, 80_000), settings)[0]) == 19_999
    monkeypatch.setattr(tiling, "_starts", None)
    with pytest.raises(ConfigError) as caught:
        windows(Size(8000, 4000), settings)
    assert str(caught.value) == (
        "an image of 4000 × 8000 pixels would be cut into 1,997,001 windows (slice_size 8, overlap_ratio 0.5), "
        "expected at most 200,000; raise slice_size or lower overlap_ratio"
    )


@pytest.mark.parametrize("edge", ["shift", "remainder", "pad", "balanced"])
def test_windows_are_counted_as_they_are_made(edge, monkeypatch):
    for height, width in ((8, 8), (31, 97), (100, 64), (65, 33)):
        size, settings = Size(height, width), Tiling(slice_size=16, overlap_ratio=0.3, edge=edge)
        kept, narrow = windows(size, settings)
        with monkeypatch.context() as patch:
            patch.setattr(tiling, "_MOST", len(kept) + narrow)
            assert windows(size, settings) == (kept, narrow)
            patch.setattr(tiling, "_MOST", len(kept) + narrow - 1)
            with pytest.raises(ConfigError, match=f"into {len(kept) + narrow} windows"):
                windows(size, settings)
