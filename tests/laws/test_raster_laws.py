"""What holds for every region: each pixel has one owner, and independent rasterisers agree."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon as skimage_polygon

from threecad.domain import Region, Size, Window
from threecad.imaging.raster import paint, rasterize, spans, visible

SIZE = Size(40, 56)
seeds = st.integers(0, 2**32 - 1)


def region(geometry, number=0):
    return Region(f"a.png#{number}", "dent", geometry, (number,))


def blob(rng, radius):
    corners = rng.integers(3, 16)
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = radius * rng.uniform(0.3, 1, corners)
    x, y = rng.uniform(0, [SIZE.width, SIZE.height])
    return shapely.make_valid(
        shapely.Polygon(np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)])),
        method="structure",
        keep_collapsed=False,
    )


def area(rng):
    """A random area of several parts with holes; random doubles, so no centre lies on an edge."""
    whole = shapely.union_all([blob(rng, rng.uniform(2, 30)) for _ in range(rng.integers(1, 5))])
    holes = shapely.union_all([blob(rng, rng.uniform(1, 9)) for _ in range(rng.integers(0, 5))])
    geometry = shapely.intersection(whole.difference(holes), shapely.box(0, 0, SIZE.width, SIZE.height))
    polygons = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
    return shapely.MultiPolygon(polygons)


def owners(geometries, size):
    """How many of the areas own each pixel, not counting those too thin to own any."""
    found, thin = spans([region(geometry, k) for k, geometry in enumerate(geometries)], size)
    count = np.zeros((size.height, size.width), int)
    for k, row, start, stop in zip(found.region, found.row, found.start, found.stop, strict=True):
        if k not in thin:
            count[row, start:stop] += 1
    return count


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_the_centre_rule_equals_rasterio(seed):
    geometry = area(np.random.default_rng(seed))
    if not geometry.area:
        return
    found, thin = spans([region(geometry)], SIZE)
    theirs = rasterio.features.rasterize(
        [(geometry, 1)], out_shape=(SIZE.height, SIZE.width), all_touched=False, transform=rasterio.Affine.identity()
    )
    if thin:
        assert not theirs.any()
    else:
        assert (paint(found, SIZE, [1]) == theirs).all()


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_the_centre_rule_equals_scikit_image_half_a_pixel_up_and_left(seed):
    polygon = max(shapely.get_parts(blob(np.random.default_rng(seed), 30)), key=lambda part: part.area)
    if polygon.interiors:
        return
    found, thin = spans([region(polygon)], SIZE)
    x, y = shapely.get_coordinates(polygon).T - 0.5
    theirs = np.zeros((SIZE.height, SIZE.width), np.uint8)
    theirs[skimage_polygon(y, x, theirs.shape)] = 1
    if not thin:
        assert (paint(found, SIZE, [1]) == theirs).all()


@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=40), st.sampled_from([0.25, 0.5, 1.0]))
@settings(max_examples=150, deadline=None)
def test_triangles_with_corners_on_centres_and_pixel_corners_own_each_pixel_once(points, grid):
    side = 24 * grid
    corners = shapely.MultiPoint([(0, 0), (side, 0), (0, side), (side, side), *(np.array(points).reshape(-1, 2) * grid).tolist()])
    triangles = shapely.get_parts(shapely.delaunay_triangles(corners))
    assert sum(shapely.area(triangles)) == pytest.approx(side**2)
    assert (owners(triangles, Size(int(side), int(side))) == 1).all()


@given(seeds, st.sampled_from([None, 0.5, 1.0]))
@settings(max_examples=100, deadline=None)
def test_triangles_and_voronoi_cells_own_each_pixel_once(seed, grid):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 32, (rng.integers(3, 60), 2))
    if grid:
        points = np.unique(np.round(points / grid) * grid, axis=0)
    square = shapely.box(-1, -1, 33, 33)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=square))
    assert (owners(cells, Size(32, 32)) == 1).all()
    corners = np.concatenate([points, [(0, 0), (32, 0), (0, 32), (32, 32)]])
    triangles = shapely.get_parts(shapely.delaunay_triangles(shapely.MultiPoint(corners)))
    assert (owners(triangles, Size(32, 32)) == 1).all()


@given(seeds, st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_a_shift_by_whole_pixels_shifts_the_mask(seed, right, down):
    # Corners on a sixteenth of a pixel, as sums of such coordinates are exact.
    geometry = shapely.set_precision(area(np.random.default_rng(seed)), 1 / 16)
    if geometry.is_empty:
        return
    large = Size(SIZE.height + 20, SIZE.width + 20)
    moved = shapely.transform(geometry, lambda points: points + np.array([right, down]))
    here, there = rasterize([region(geometry)], large), rasterize([region(moved)], large)
    assert (np.roll(here, (down, right), axis=(0, 1)) == there).all()


@given(seeds)
@settings(max_examples=80, deadline=None)
def test_every_region_has_pixels_and_their_box_is_tight_within_one_pixel_of_its_bounds(seed):
    geometry = area(np.random.default_rng(seed))
    if not geometry.area:
        return
    found, thin = spans([region(geometry)], SIZE)
    areas, boxes = visible(found, 1, [Window(0, 0, SIZE)])
    left, top, width, height = boxes[0, 0].tolist()
    mask = paint(found, SIZE, [1])
    assert areas[0, 0] == mask.sum() > 0
    assert mask[top : top + height, left : left + width].sum() == mask.sum()
    x0, y0, x1, y1 = geometry.bounds
    slack = 1.0 if thin else 0.5
    assert left >= x0 - slack
    assert top >= y0 - slack
    assert left + width <= x1 + slack
    assert top + height <= y1 + slack


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_visible_areas_over_disjoint_windows_add_up_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    regions = [region(geometry, k) for k, geometry in enumerate(area(rng) for _ in range(3)) if geometry.area]
    found, _ = spans(regions, SIZE)
    rows, columns = (np.unique([0, *rng.integers(1, length, 4), length]).tolist() for length in (SIZE.height, SIZE.width))
    cuts = [Window(t, x, Size(b - t, y - x)) for t, b in pairwise(rows) for x, y in pairwise(columns)]
    areas, _ = visible(found, len(regions), [*cuts, Window(0, 0, SIZE)])
    assert (areas[:, :-1].sum(axis=1) == areas[:, -1]).all()
