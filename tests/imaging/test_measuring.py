"""Measures beside slow loops that anybody can check by eye."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from itertools import pairwise, product

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from threecad.domain import HEAT, SHRINKINGS, Code, Measure, Size, Spot
from threecad.imaging import measuring
from threecad.imaging.measuring import heat_of, measure

Plane = NDArray[np.bool_]


def measured(mask: object, **others: object) -> Measure:
    planes = {"": np.asarray(mask, np.bool_)} | {name: np.asarray(plane, np.bool_) for name, plane in others.items()}
    size = next(iter(planes.values())).shape
    return measure(np.zeros(size, np.uint8), planes, digest="")


def drawn(*rows: str) -> Plane:
    """A mask of text: any character but a dot is marked."""
    return np.array([[char != "." for char in row] for row in rows])


masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda size: arrays(np.bool_, size))


# Spots


def test_spots_are_the_components_that_touch_at_a_corner_or_a_side():
    found = measured(drawn("##...", "#....", ".#..#", "....#")).spots
    assert [(spot.area, spot.bbox) for spot in found] == [(4, (0, 0, 2, 3)), (2, (4, 2, 1, 2))]


@given(masks)
def test_spots_have_the_areas_and_boxes_that_scipy_finds_in_the_order_of_their_first_pixels(mask):
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = measured(mask).spots
    expected = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        place = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        expected.append((int(np.flatnonzero(labels == number)[0]), int((labels == number).sum()), place))
    assert [(spot.area, spot.bbox) for spot in found] == [each[1:] for each in sorted(expected)]
    assert len(found) == count


def slow_rectangle(mask: Plane) -> tuple[Fraction, set[tuple[int, int, int]]]:
    """The least area of a rectangle along any line through two corners of pixels, with its sides (long, short, their unit²)."""
    corners = {(j + y, i + x) for j, i in np.argwhere(mask).tolist() for y, x in product((0, 1), repeat=2)}
    best: list[tuple[Fraction, tuple[int, int, int]]] = []
    for (y0, x0), (y1, x1) in product(sorted(corners), repeat=2):
        dy, dx = y1 - y0, x1 - x0
        if (dy, dx) > (0, 0):
            along = [y * dy + x * dx for y, x in corners]
            across = [y * dx - x * dy for y, x in corners]
            sides = sorted((max(along) - min(along), max(across) - min(across)), reverse=True)
            length = dy * dy + dx * dx
            best.append((Fraction(sides[0] * sides[1], length), (sides[0], sides[1], length)))
    least = min(area for area, _ in best)
    return least, {sides for area, sides in best if area == least}


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(lambda size: arrays(np.bool_, size)).filter(lambda mask: mask.any())
)
def test_the_smallest_rectangle_is_the_least_of_those_along_any_two_corners(mask):
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    spot = measured(mask).spots[0]
    first = labels == labels[tuple(np.argwhere(mask)[0])]
    area, sides = slow_rectangle(first)
    assert spot.long * spot.short == pytest.approx(float(area), rel=1e-12)
    longest = max(Fraction(long * long, length) for long, _, length in sides)
    assert spot.long == pytest.approx(math.sqrt(longest), rel=1e-12)


@pytest.mark.parametrize(
    ("mask", "long", "short"),
    [
        pytest.param(np.ones((1, 1)), 1.0, 1.0, id="one pixel"),
        pytest.param(np.ones((10, 1)), 10.0, 1.0, id="a line"),
        pytest.param(np.ones((3, 7)), 7.0, 3.0, id="a rectangle"),
        pytest.param(np.eye(10), 20 / math.sqrt(2), 2 / math.sqrt(2), id="a diagonal"),
        pytest.param(np.eye(10)[::-1], 20 / math.sqrt(2), 2 / math.sqrt(2), id="the other diagonal"),
        pytest.param(drawn("###", "#..", "#.."), 3.0, 3.0, id="an angle"),
        pytest.param(drawn(".#.", "###", ".#."), 4 / math.sqrt(2), 4 / math.sqrt(2), id="a cross, turned by 45°"),
    ],
)
def test_sides_are_what_the_corners_of_the_pixels_say(mask, long, short):
    (spot,) = measured(np.pad(mask, ((40, 3), (5, 60)))).spots
    assert (spot.long, spot.short) == (pytest.approx(long, rel=1e-15), pytest.approx(short, rel=1e-15))


def test_sides_are_those_of_opencv_within_its_single_precision():
    rng = np.random.default_rng(0)
    mask = cv2.GaussianBlur(rng.random((300, 400)), (0, 0), 4) > 0.505
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    spots = measured(mask).spots
    assert len(spots) == count > 20
    for number, spot in zip(sorted(range(1, count + 1), key=lambda k: np.flatnonzero(labels == k)[0]), spots, strict=True):
        y, x = np.nonzero(labels == number)
        corners = np.concatenate([np.stack([x + dx, y + dy], axis=1) for dx in (0, 1) for dy in (0, 1)]).astype(np.float32)
        assert math.prod(cv2.minAreaRect(corners)[1]) == pytest.approx(spot.long * spot.short, rel=1e-4)


def test_a_spot_names_every_type_that_owns_a_pixel_of_it():
    dent, scratch, hole = drawn("##...", "....."), drawn(".###.", "....."), drawn("....#", "....#")
    found = measured(drawn(".....", "#...."), scratch=scratch, dent=dent)
    assert [spot.labels for spot in found.spots] == [("", "dent", "scratch")]
    assert found.areas == (("", 1), ("dent", 2), ("scratch", 3))
    apart = measured(hole & False, hole=hole, dent=dent, none=hole & False)
    assert [spot.labels for spot in apart.spots] == [("dent",), ("hole",)]
    assert apart.areas == (("dent", 2), ("hole", 2))


def test_where_nothing_is_marked_there_is_nothing():
    empty = measured(np.zeros((20, 30)))
    assert (empty.spots, empty.areas, empty.heat, empty.lost) == ((), (), b"", ())
    assert measure(np.zeros((20, 30), np.uint8), {}, "") == empty


def test_a_plane_of_another_size_is_a_bug_of_the_caller():
    with pytest.raises(ValueError, match=r"plane of 'dent' is \(3, 4\), its image \(4, 3\)"):
        measure(np.zeros((4, 3), np.uint8), {"dent": np.zeros((3, 4), np.bool_)}, "")


def test_200_000_single_pixels_are_measured_in_seconds():
    mask = np.zeros((800, 1000), np.bool_)
    mask[::2, ::2] = True
    begin = time.process_time()
    found = measured(mask)
    assert time.process_time() - begin < 20
    assert len(found.spots) == 200_000
    assert {(spot.area, spot.long, spot.short) for spot in found.spots} == {(1, 1.0, 1.0)}


def test_noise_is_not_measured_and_told(monkeypatch):
    monkeypatch.setattr(measuring, "MOST_SPOTS", 3)
    dots = drawn("#.#.#.#")
    found = measure(np.zeros(dots.shape, np.uint8), {"": dots}, "", None, [(Code.ALPHA_DROPPED, "alpha")])
    assert (found.spots, found.areas, found.heat) == ((), (), b"")
    assert found.flaws[0] == (Code.ALPHA_DROPPED, "alpha")
    assert found.flaws[1] == (Code.MASK_UNREADABLE, "4 separate regions, more than 3: none was measured")


# Shrinking


def lost(mask: Plane) -> dict[str, float]:
    """Shrinking → share of the spots that are lost."""
    spots = measured(mask).spots
    return {name: sum(name in spot.lost for spot in spots) / len(spots) for name in SHRINKINGS}


def all_offsets(side: int) -> Plane:
    """A square of `side` pixels at each of the 16 offsets to the grid of 4 × 4 pixels, far enough from one another."""
    mask = np.zeros((1024, 1024), np.bool_)
    for y, x in product(range(4), repeat=2):
        mask[100 + 80 * y + y :][:side, 200 + 120 * x + x :][:, :side] = True
    return mask


def test_nearest_at_256_loses_seven_of_sixteen_squares_of_3_pixels_and_three_of_four_of_2():
    assert lost(all_offsets(3))["nearest-256"] == 0.4375
    assert lost(all_offsets(2))["nearest-256"] == 0.75
    assert lost(all_offsets(4))["nearest-256"] == 0


def test_area_at_256_loses_all_squares_of_2_pixels_and_those_of_3_and_4_that_fill_half_of_no_cell():
    # Along an axis a square of 3 leaves 3 or 2 px in one cell of 4, each at two offsets of four: only 3 × 3 is half of 16.
    assert lost(all_offsets(3))["area-256"] == 0.75
    # One of 4 leaves 4, 3, 2 or 3: only 3 × 2 (at four offsets of 16) and 2 × 2 are less than half.
    assert lost(all_offsets(4))["area-256"] == 0.3125
    assert lost(all_offsets(2))["area-256"] == 1


@pytest.mark.parametrize("size", [(300, 1000), (1, 700), (257, 255)])
def test_shrunken_masks_are_those_of_a_slow_loop(size):
    rng = np.random.default_rng(sum(size))
    mask = rng.random(size) < 0.004
    mask |= ndimage.binary_dilation(rng.random(size) < 0.0008, np.ones((5, 7)))
    compare_with_loop(mask)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(np.bool_, size)).filter(lambda mask: mask.any())
)
def test_who_survives_is_what_a_slow_loop_says_for_any_small_mask(mask):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "SHRINKINGS", ("nearest-3", "area-3", "nearest-4", "area-4", "area-1"))
        patch.setattr(measuring, "_PAIRS", 7)
        patch.setattr(measuring, "_RUNS", 10)
        compare_with_loop(mask)


def compare_with_loop(mask: Plane) -> None:
    found = measured(mask)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    order = sorted(range(1, count + 1), key=lambda k: np.flatnonzero(labels == k)[0])
    assert len(found.spots) == count
    for name in measuring.SHRINKINGS:
        rule, side = name.split("-")
        owners = (slow_nearest if rule == "nearest" else slow_area)(labels, int(side))
        assert [name not in spot.lost for spot in found.spots] == [number in owners for number in order], name
        assert (name in found.lost) is (not owners)


def slow_nearest(labels: NDArray[np.int32], side: int) -> set[int]:
    height, width = labels.shape
    places = [[math.floor(Fraction(2 * k + 1, 2) * length / side) for k in range(side)] for length in (height, width)]
    return {int(labels[y, x]) for y, x in product(*places)} - {0}


def slow_area(labels: NDArray[np.int32], side: int) -> set[int]:
    """Every new pixel, and of it every source pixel that it meets, in units of 1/side of a pixel."""
    height, width = labels.shape
    owners: set[int] = set()
    for row, column in product(range(side), repeat=2):
        rows = range(row * height // side, -(-(row + 1) * height // side))
        columns = range(column * width // side, -(-(column + 1) * width // side))
        part = labels[rows.start : rows.stop, columns.start : columns.stop]
        if not part.any():
            continue
        high = np.array([min((y + 1) * side, (row + 1) * height) - max(y * side, row * height) for y in rows])
        wide = np.array([min((x + 1) * side, (column + 1) * width) - max(x * side, column * width) for x in columns])
        weight = high[:, None] * wide
        assert weight.sum() == height * width
        if 2 * weight[part > 0].sum() >= height * width:
            shares = {int(number): int(weight[part == number].sum()) for number in np.unique(part[part > 0])}
            owners |= {number for number, share in shares.items() if share == max(shares.values())}
    return owners


def test_a_pixel_that_two_defects_fill_together_belongs_to_the_larger():
    mask = np.zeros((1024, 1024), np.bool_)
    mask[400:404, 400:401] = mask[400:404, 402:404] = True  # 4 and 8 of 16
    small, large = measured(mask).spots
    assert (small.area, large.area) == (4, 8)
    assert "area-256" in small.lost
    assert "area-256" not in large.lost
    mask[400:404, 402:403] = False  # 4 and 4: of both, since nothing tells them apart
    assert all("area-256" not in spot.lost for spot in measured(mask).spots)


# Where defects lie


def slow_heat(mask: Plane) -> bytes:
    height, width = mask.shape
    grid = np.zeros((HEAT, HEAT), np.uint8)
    for row, column in product(range(HEAT), repeat=2):
        share = Fraction(0)
        for y in range(row * height // HEAT, -(-(row + 1) * height // HEAT)):
            for x in range(column * width // HEAT, -(-(column + 1) * width // HEAT)):
                high = min((y + 1) * HEAT, (row + 1) * height) - max(y * HEAT, row * height)
                wide = min((x + 1) * HEAT, (column + 1) * width) - max(x * HEAT, column * width)
                share += Fraction(int(mask[y, x]) * high * wide, height * width)
        grid[row, column] = max(math.floor(share * 255 + Fraction(1, 2)), 1 if share else 0)
    return grid.tobytes()


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (50, 77), (5, 9), (1, 100)])
def test_heat_is_the_covered_share_of_each_cell(size):
    mask = np.random.default_rng(3).random(size) < 0.2
    mask[0, 0] = True
    assert measured(mask).heat == slow_heat(mask)


def test_a_cell_that_is_touched_at_all_is_told():
    mask = np.zeros((2048, 2048), np.bool_)
    mask[100, 70] = True  # 1 of 4096 px
    assert measured(mask).heat == bytes([1 if cell == HEAT + 1 else 0 for cell in range(HEAT * HEAT)])


grid = st.integers(-1280, 7680).map(lambda number: number / 64)  # shapely itself loses areas between subnormal coordinates
polygons = st.one_of(
    st.lists(st.tuples(grid, grid), min_size=3, max_size=9).map(lambda points: shapely.MultiPoint(points).convex_hull),
    st.tuples(grid, grid, st.floats(0.1, 60)).map(
        lambda circle: shapely.Point(circle[:2]).buffer(circle[2]).difference(shapely.Point(circle[:2]).buffer(circle[2] / 2))
    ),
).filter(lambda shape: shape.geom_type in ("Polygon", "MultiPolygon"))


@given(polygons)
def test_the_heat_of_an_outline_is_the_area_that_shapely_cuts_out_of_each_cell(shape):
    size = Size(70, 100)
    row, column = np.divmod(np.arange(HEAT * HEAT), HEAT)
    x, y = (np.arange(HEAT + 1) * side / HEAT for side in (size.width, size.height))
    cells = shapely.box(x[column], y[row], x[column + 1], y[row + 1])
    expected = shapely.area(shapely.intersection(cells, shape)) / (size.area / HEAT**2)
    heat = heat_of(shape, size)
    if not heat:
        assert (expected < 1e-8).all()
        return
    found = np.frombuffer(heat, np.uint8)
    assert (found[expected < 1e-10] == 0).all()
    assert (found[expected > 1e-8] > 0).all()
    assert np.abs(found - np.maximum(expected * 255, found > 0)).max() <= 0.5 + 1e-6


def test_the_heat_of_an_outline_is_that_of_its_mask_where_it_follows_the_pixels():
    mask = np.zeros((128, 256), np.bool_)
    mask[10:37, 50:131] = mask[90:91, 3:4] = True
    both = shapely.MultiPolygon([shapely.box(50, 10, 131, 37), shapely.box(3, 90, 4, 91)])
    assert heat_of(both, Size(128, 256)) == measured(mask).heat
    assert heat_of(shapely.box(300, 10, 400, 20), Size(128, 256)) == b""


def test_the_heat_of_an_outline_of_100_000_points_takes_no_minutes():
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    radius = 400 + 50 * np.sin(40 * angle)
    star = shapely.Polygon(np.stack([500 + radius * np.cos(angle), 500 + radius * np.sin(angle)], axis=1))
    begin = time.process_time()
    found = np.frombuffer(heat_of(star, Size(1000, 1000)), np.uint8)
    assert time.process_time() - begin < 20
    assert found.sum() / 255 == pytest.approx(star.area / 1e6 * HEAT * HEAT, rel=0.01)


# Looks


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (3, 50), (900, 300)])
@pytest.mark.parametrize("kind", ["gray", "colour", "16 bits", "16 bits of colour"])
def test_looks_are_those_of_a_slow_loop_over_the_luma(size, kind):
    rng = np.random.default_rng(7)
    dtype = np.uint16 if "16" in kind else np.uint8
    full = np.iinfo(dtype).max
    pixels = rng.integers(0, full + 1, (*size, 3) if "colour" in kind else size, dtype=dtype)
    luma = pixels.astype(np.int64)
    if "colour" in kind:
        luma = (luma @ np.array([77, 150, 29]) + 128) // 256
    found = measure(pixels, {}, "d" * 64, "ff", ())
    eight = luma * 255 / full
    padded = np.pad(eight, 1, mode="reflect") if min(size) > 1 else mirrored(eight)
    middle = padded[1:-1, 1:-1]
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * middle
    assert found.brightness == pytest.approx(eight.mean() / 255)
    assert found.contrast == pytest.approx(eight.std() / 255)
    assert found.sharpness == pytest.approx(laplacian.var(), abs=1e-9)
    assert (found.channels, found.bits, found.size) == (3 if "colour" in kind else 1, 16 if "16" in kind else 8, Size(*size))
    assert (found.digest, found.fingerprint) == ("d" * 64, "ff")


def mirrored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A border of one pixel; an axis of one pixel mirrors itself."""
    for axis in (0, 1):
        values = np.pad(
            values, [(1, 1) if other == axis else (0, 0) for other in (0, 1)], "reflect" if values.shape[axis] > 1 else "edge"
        )
    return values


def test_sharpness_is_what_opencv_users_compute():
    picture = np.random.default_rng(1).integers(0, 256, (333, 444), dtype=np.uint8)
    assert measure(picture, {}, "").sharpness == pytest.approx(cv2.Laplacian(picture, cv2.CV_64F).var(), rel=1e-12)


def test_a_black_and_a_white_image_are_0_and_1():
    for value, dtype in ((0, np.uint8), (255, np.uint8), (65535, np.uint16)):
        found = measure(np.full((40, 50), value, dtype), {}, "")
        assert (found.brightness, found.contrast, found.sharpness) == (float(value > 0), 0, 0)


def test_equal_pixels_measure_equal_whatever_their_memory_layout():
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)
    mask = rng.random((90, 70)) < 0.1
    wide = np.zeros((180, 210, 3), np.uint8)
    wide[::2, ::3] = pixels
    turned = np.asfortranarray(mask)
    assert measure(wide[::2, ::3], {"a": turned}, "") == measure(pixels, {"a": mask}, "")
    assert measure(pixels[::-1][::-1], {"a": mask[:, ::-1][:, ::-1]}, "") == measure(pixels, {"a": mask}, "")


def test_all_values_of_a_measure_are_plain_python():
    found = measured(drawn("##.", "#.#"))
    assert type(found.spots[0]) is Spot
    assert {type(value) for value in (*found.spots[0].bbox, found.spots[0].area, found.size.height)} == {int}
    assert {type(value) for value in (found.spots[0].long, found.brightness, found.contrast, found.sharpness)} == {float}
    assert all(one.bbox[1] <= other.bbox[1] for one, other in pairwise(found.spots))
