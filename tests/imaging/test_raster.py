"""Which pixels a region owns, and what is painted and counted from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from threecad.domain import Region, Size, Window
from threecad.imaging.raster import Spans, components, order, paint, rasterize, spans, visible

SIZE = Size(60, 90)
EVERY_RULE = ["center", "labelme", "coco", "opencv"]


def region(geometry, number=0, label="dent"):
    return Region(f"a.png#{number}", label, geometry, (number,))


def blob(rng, x, y, radius, corners=12):
    """A jagged polygon within a circle."""
    angle = (np.arange(corners) + rng.uniform(0, 0.9, corners)) * (2 * np.pi / corners)
    reach = radius * rng.uniform(0.5, 1, corners)
    return shapely.Polygon(np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)]))


def random_geometries(seed, count=60):
    """Blobs with holes, in several parts, with corners on whole and half pixels and on the image's right and lower edge."""
    rng = np.random.default_rng(seed)
    image = shapely.box(0, 0, SIZE.width, SIZE.height)
    while count:
        geometry = blob(rng, rng.uniform(0, SIZE.width), rng.uniform(0, SIZE.height), rng.uniform(2, 25), rng.integers(4, 14))
        if rng.random() < 0.4:
            geometry = geometry.difference(blob(rng, *geometry.representative_point().coords[0], rng.uniform(1, 8), 6))
        if rng.random() < 0.3:
            geometry = geometry.union(blob(rng, rng.uniform(0, SIZE.width), rng.uniform(0, SIZE.height), 5, 5))
        grid = rng.choice([0, 0.5, 1])
        if grid:
            geometry = shapely.set_precision(geometry, grid)
        geometry = shapely.intersection(geometry, image)
        if geometry.geom_type in ("Polygon", "MultiPolygon") and geometry.area > 0:
            count -= 1
            yield geometry


def rings_of(polygon):
    return [shapely.get_coordinates(ring)[:-1] for ring in (polygon.exterior, *polygon.interiors)]


def whole_image(geometry, draw):
    mask = np.zeros((SIZE.height, SIZE.width), bool)
    for polygon in shapely.get_parts(geometry):
        mask |= draw(rings_of(polygon)) != 0
    return mask


def drawn_by_pillow(rings):
    image = Image.new("L", (SIZE.width, SIZE.height))
    pen = ImageDraw.Draw(image)
    pen.polygon([tuple(point) for point in rings[0].tolist()], outline=1, fill=1)
    for hole in rings[1:]:
        pen.polygon([tuple(point) for point in hole.tolist()], outline=1, fill=0)
    return np.asarray(image)


def drawn_by_pycocotools(rings):
    layers = coco.decode(coco.frPyObjects([ring.ravel().tolist() for ring in rings], SIZE.height, SIZE.width))
    return layers[:, :, 0] & ~layers[:, :, 1:].any(axis=2)


def drawn_by_opencv(rings):
    image = np.zeros((SIZE.height, SIZE.width), np.uint8)
    cv2.fillPoly(image, [np.rint(ring).astype(np.int32) for ring in rings], 1)
    return image


def test_a_pixel_belongs_to_the_region_that_its_centre_lies_in():
    mask = rasterize([region(shapely.box(1.4, 0.4, 3.6, 1.6))], Size(3, 5))
    assert mask.tolist() == [[0, 255, 255, 255, 0], [0, 255, 255, 255, 0], [0, 0, 0, 0, 0]]


def test_a_centre_on_the_left_or_upper_edge_is_in_and_on_the_right_or_lower_edge_is_out():
    found, _ = spans([region(shapely.box(1.5, 0.5, 3.5, 2.5))], Size(4, 5))
    assert list(zip(found.row, found.start, found.stop, strict=True)) == [(0, 1, 3), (1, 1, 3)]


def test_a_centre_on_a_slanted_edge_is_in_though_the_slope_is_no_binary_fraction():
    # The edge passes through (14.5, 3.5); 3.5 × (29 / 7) would be 14.500000000000002.
    found, _ = spans([region(shapely.Polygon([(0, 0), (29, 7), (29, 0)]))], Size(7, 29))
    assert found.start[found.row == 3].tolist() == [14]


def test_the_direction_of_a_ring_and_the_order_of_regions_change_no_pixel():
    one = shapely.Polygon([(0, 0), (7.3, 1.1), (3.3, 9.7)])
    there, back = (rasterize([region(shape)], Size(10, 10)) for shape in (one, one.reverse()))
    assert (there == back).all()
    assert there.any()


def test_a_hole_is_not_painted():
    ring = shapely.box(0, 0, 6, 6).difference(shapely.box(2, 2, 4, 4))
    mask = rasterize([region(ring)], Size(6, 6))
    assert (mask[2:4, 2:4] == 0).all()
    assert np.count_nonzero(mask) == 36 - 4


def test_runs_that_meet_between_two_parts_become_one():
    parts = shapely.MultiPolygon([shapely.Polygon([(0, 0), (4, 0), (4, 2)]), shapely.Polygon([(4, 0), (8, 0), (4, 2)])])
    found, _ = spans([region(parts)], Size(2, 8))
    assert found.row.tolist() == [0, 1]


def test_what_lies_outside_the_image_does_not_exist():
    found, thin = spans([region(shapely.box(-5, -5, 3, 2)), region(shapely.box(8, 8, 99, 99))], Size(10, 10))
    assert thin == []
    assert (found.start >= 0).all()
    assert (found.stop <= 10).all()
    assert visible(found, 2, [Window(0, 0, Size(10, 10))])[0].tolist() == [[6], [4]]


def test_no_regions_give_no_spans_and_an_empty_mask():
    for rule in EVERY_RULE:
        found, thin = spans([], SIZE, rule)
        assert (len(found), thin) == (0, [])
    assert not rasterize([], SIZE).any()
    assert visible(spans([], SIZE)[0], 0, [Window(0, 0, SIZE)])[0].shape == (0, 1)


def test_spans_are_sorted_and_those_of_a_region_neither_overlap_nor_touch():
    regions = [region(geometry, k) for k, geometry in enumerate(random_geometries(1))]
    found, _ = spans(regions, SIZE)
    assert (found.stop > found.start).all()
    place = list(zip(found.region.tolist(), found.row.tolist(), found.start.tolist(), strict=True))
    assert place == sorted(place)
    for (one, row, _), (two, below, start), stop in zip(place, place[1:], found.stop.tolist(), strict=False):
        assert (one, row) != (two, below) or stop < start


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_every_region_has_at_least_one_pixel_under_every_rule(rule):
    slivers = [
        shapely.box(10.1, 10.1, 10.3, 10.3),
        shapely.box(3, 20.6, 43, 20.9),
        shapely.LineString([(5, 5), (55.3, 31.7)]).buffer(1e-4, cap_style="flat"),
        shapely.box(SIZE.width - 1e-6, SIZE.height - 1e-6, SIZE.width, SIZE.height),
        shapely.box(0, 0, 1e-12, 1e-12),
    ]
    regions = [region(sliver, k) for k, sliver in enumerate(slivers)]
    found, thin = spans(regions, SIZE, rule)
    assert set(found.region.tolist()) == set(range(len(slivers)))
    if rule == "center":
        assert thin == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_region_of_one_whole_pixel_owns_that_pixel_under_every_rule(rule):
    for row, column in [(0, 0), (3, 7), (59, 89), (0, 89), (59, 0)]:
        mask = rasterize([region(shapely.box(column, row, column + 1, row + 1))], SIZE, rule)
        assert mask[row, column] == 255


def test_a_thin_strip_gets_every_pixel_it_touches_and_is_reported():
    wide, strip = region(shapely.box(0, 0, 5, 5)), region(shapely.box(10, 30.0, 50, 30.4))
    found, thin = spans([wide, strip], SIZE)
    assert thin == [1]
    runs = [(r, a, b) for k, r, a, b in zip(found.region, found.row, found.start, found.stop, strict=True) if k == 1]
    assert runs == [(30, 10, 50)]


def test_a_region_that_owns_a_single_centre_is_not_thin():
    found, thin = spans([region(shapely.box(3.4, 3.4, 3.6, 20.6))], SIZE)
    assert thin == []
    assert found.start.tolist() == [3] * 18


def test_touched_pixels_are_those_of_which_the_region_covers_a_part():
    rng = np.random.default_rng(5)
    size = Size(24, 24)
    cells = shapely.box(*np.meshgrid(np.arange(24), np.arange(24)), *np.meshgrid(np.arange(1, 25), np.arange(1, 25)))
    checked = 0
    for _ in range(400):
        ends = rng.uniform(1, 23, (2, 2)) if rng.random() < 0.5 else rng.integers(2, 45, (2, 2)) / 2
        sliver = shapely.LineString(ends).buffer(rng.choice([0.01, 0.1, 0.25, 0.5]), cap_style="flat")
        other = shapely.box(*(lambda x, y: (x, y, x + 0.25, y + 0.25))(*rng.integers(1, 20, 2)))
        geometry = sliver.union(other) if rng.random() < 0.3 else sliver
        if not geometry.area:
            continue
        found, thin = spans([region(geometry)], size)
        if not thin:
            continue
        checked += 1
        mask = paint(found, size, [1]) != 0
        part = shapely.area(shapely.intersection(cells, geometry))
        # Where a corner only just enters a pixel shapely's own rounding decides; nothing else may differ.
        assert (mask[part > 1e-12]).all()
        assert not mask[part == 0].any()
    assert checked > 60


def test_touched_pixels_are_taken_once_however_many_edges_pass_through_them():
    strip, teeth = shapely.box(0.2, 0.1, 9.8, 0.2), [shapely.box(x, 0.6, x + 0.1, 0.7) for x in (2.1, 5.1)]
    found, thin = spans([region(shapely.MultiPolygon([strip, *teeth]))], SIZE)
    assert thin == [0]
    assert (found.row.tolist(), found.start.tolist(), found.stop.tolist()) == ([0], [0], [10])


def test_the_work_for_a_thin_region_follows_its_boundary_and_not_its_box():
    size = Size(20_000, 20_000)
    hair = shapely.Polygon([(0.1, 0.3), (19_999.2, 19_999.3), (19_999.2, 19_999.30001)])
    found, thin = spans([region(hair)], size)
    assert thin == [0]
    assert 20_000 <= visible(found, 1, [Window(0, 0, size)])[0][0, 0] <= 60_000


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decode under numpy 2
@pytest.mark.parametrize(
    ("rule", "draw"), [("labelme", drawn_by_pillow), ("coco", drawn_by_pycocotools), ("opencv", drawn_by_opencv)]
)
def test_a_foreign_rule_paints_what_the_program_paints_over_the_whole_image(rule, draw):
    geometries = list(random_geometries(7, 250))
    found, thin = spans([region(geometry, k) for k, geometry in enumerate(geometries)], SIZE, rule)
    assert len(thin) < 20
    for number, geometry in enumerate(geometries):
        if number in thin:
            continue
        ours = paint(found, SIZE, [1 if k == number else None for k in range(len(geometries))]) != 0
        assert (ours == whole_image(geometry, draw)).all(), shapely.to_wkt(geometry)


def test_the_labelme_rule_is_what_labelme_makes_of_a_polygon():
    points = [(10.2, 5.7), (40.9, 12.1), (33.3, 44.8), (90.0, 60.0)]
    image = Image.fromarray(np.zeros((SIZE.height, SIZE.width), np.uint8))
    ImageDraw.Draw(image).polygon(xy=points, outline=1, fill=1)
    assert (rasterize([region(shapely.Polygon(points))], SIZE, "labelme") // 255 == np.asarray(image)).all()


# Measured bias of the mean area against the true one, and mean IoU with the pixel-centre rule.
BIAS = {
    1.5: {"center": (0.00, 1.00), "opencv": (1.41, 0.38), "labelme": (1.26, 0.46), "coco": (0.00, 0.90)},
    6: {"center": (0.00, 1.00), "opencv": (0.28, 0.74), "labelme": (0.22, 0.82), "coco": (0.00, 0.97)},
    25: {"center": (0.00, 1.00), "opencv": (0.06, 0.93), "labelme": (0.05, 0.95), "coco": (0.00, 0.99)},
}


@pytest.mark.parametrize("radius", BIAS)
def test_the_centre_rule_has_no_area_bias_and_the_others_have_the_known_one(radius):
    rng = np.random.default_rng(11)
    geometries = [blob(rng, *rng.uniform(32, 33, 2), radius) for _ in range(300)]
    size = Size(64, 64)
    true = sum(geometry.area for geometry in geometries)
    exact = [rasterize([region(geometry)], size) != 0 for geometry in geometries]
    for rule, (bias, agreement) in BIAS[radius].items():
        masks = [rasterize([region(geometry)], size, rule) != 0 for geometry in geometries]
        measured = sum(int(mask.sum()) for mask in masks) / true - 1
        iou = np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(masks, exact, strict=True)])
        assert measured == pytest.approx(bias, abs=0.03 + 0.15 * bias), rule
        assert iou == pytest.approx(agreement, abs=0.06), rule


def test_a_later_region_lies_on_top_and_none_leaves_a_region_out():
    found, _ = spans(
        [region(shapely.box(0, 0, 4, 1)), region(shapely.box(2, 0, 6, 1)), region(shapely.box(1, 0, 8, 1))], Size(1, 8)
    )
    assert paint(found, Size(1, 8), [1, 2, None]).tolist() == [[1, 1, 2, 2, 2, 2, 0, 0]]
    assert not paint(found, Size(1, 8), [None, None, None]).any()


def test_a_region_painted_with_nought_erases():
    found, _ = spans([region(shapely.box(0, 0, 4, 1)), region(shapely.box(1, 0, 2, 1))], Size(1, 4))
    assert paint(found, Size(1, 4), [9, 0]).tolist() == [[9, 0, 9, 9]]


@pytest.mark.parametrize("values", ["one", "few", "many"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_painting_equals_a_slow_loop(values, dtype):
    rng = np.random.default_rng(3)
    size = Size(40, 3001)
    boxes = [shapely.box(x, y, x + w, y + h) for x, y, w, h in rng.uniform(0, [2500, 30, 1, 20], (60, 4))]
    boxes = [
        shapely.box(*(box.bounds[0], box.bounds[1], box.bounds[0] + rng.choice([3, 9, 60, 2000]), box.bounds[3])) for box in boxes
    ]
    found, _ = spans([region(box, k) for k, box in enumerate(boxes)], size)
    ink = {"one": [7] * 60, "few": [None if k % 7 == 0 else 1 + k % 3 for k in range(60)], "many": list(range(1, 61))}[values]
    expected = np.zeros((size.height, size.width), dtype)
    for k, row, start, stop in zip(found.region, found.row, found.start, found.stop, strict=True):
        if ink[k] is not None:
            expected[row, start:stop] = ink[k]
    painted = paint(found, size, ink, dtype)
    assert painted.dtype == dtype
    assert (painted == expected).all()


def test_visible_equals_counting_pixels():
    regions = [region(geometry, k) for k, geometry in enumerate(random_geometries(13, 40))]
    found, _ = spans(regions, SIZE)
    rng = np.random.default_rng(0)
    cuts = [Window(-8, -8, Size(30, 30)), Window(50, 80, Size(30, 30)), Window(0, 0, SIZE), Window(70, 100, Size(5, 5))]
    cuts += [Window(*rng.integers(0, 50, 2).tolist(), Size(*rng.integers(1, 40, 2).tolist())) for _ in range(30)]
    areas, boxes = visible(found, len(regions), cuts)
    for k in range(len(regions)):
        mask = np.pad(paint(found, SIZE, [1 if j == k else None for j in range(len(regions))]), 200)
        for n, window in enumerate(cuts):
            part = mask[200 + window.top :, 200 + window.left :][: window.size.height, : window.size.width]
            assert areas[k, n] == part.sum()
            assert tuple(boxes[k, n]) == cv2.boundingRect(part)


def test_visible_gives_the_same_in_small_steps(monkeypatch):
    regions = [region(geometry, k) for k, geometry in enumerate(random_geometries(17, 30))]
    found, _ = spans(regions, SIZE)
    cuts = [Window(top, left, Size(20, 20)) for top in range(0, 60, 10) for left in range(0, 90, 10)]
    at_once = visible(found, len(regions), cuts)
    monkeypatch.setattr("threecad.imaging.raster._PAIRS", 7)
    for whole, stepwise in zip(at_once, visible(found, len(regions), cuts), strict=True):
        assert (whole == stepwise).all()


def test_regions_without_spans_are_visible_nowhere():
    found = Spans(*(np.array([value], np.int32) for value in (3, 0, 0, 2)))
    assert visible(found, 5, [Window(0, 0, Size(1, 1))])[0][:, 0].tolist() == [0, 0, 0, 1, 0]


def test_the_smaller_of_two_nested_regions_is_ordered_last_and_equal_areas_go_by_uid():
    large, small = region(shapely.box(0, 0, 9, 9), 5), region(shapely.box(2, 2, 4, 4), 3)
    twin = region(shapely.box(5, 5, 7, 7), 2)
    assert order([small, large, twin]) == [1, 2, 0]


def test_a_diagonal_scratch_is_one_component():
    count, labels = components(np.eye(30, dtype=np.uint8) * 255)
    assert count == 1
    assert (labels == np.eye(30)).all()
    assert components(np.zeros((4, 4), np.uint8))[0] == 0
