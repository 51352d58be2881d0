"""Whatever is drawn, repair either gives a sound area inside the image or says why not; and never anything in between."""

from __future__ import annotations

import math

import numpy as np
import shapely
from hypothesis import assume, example, given
from hypothesis import strategies as st

from threecad.domain import Action, Annotation, Code, Finding, Shape, Size
from threecad.imaging.polygons import Area, outcomes, regions, repair
from threecad.settings import Repairing

SIZE = Size(24, 32)
KINDS = ["polygon", "rectangle", "circle", "line", "linestrip", "point", "points", "mask", "oriented_rectangle", "", "spline"]

# A coarse grid makes what floats almost never do: doubled, collinear and touching vertices, edges that lie on each other and
# on the image's border. The finer ones make slivers, the wild ones everything else.
grid = st.tuples(st.integers(-4, 36), st.integers(-4, 28)).map(lambda point: (float(point[0]), float(point[1])))
small = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda point: (point[0] * 5.0, point[1] * 5.0))
fine = st.tuples(st.floats(-8, 40), st.floats(-8, 32))
wild = st.tuples(st.floats(), st.floats())
outlines = st.one_of(*(st.lists(place, max_size=14) for place in (grid, small, fine)))
garbage = st.one_of(outlines, st.lists(st.one_of(wild, fine), max_size=8))
repairings = st.builds(
    Repairing,
    min_agreement=st.sampled_from([0, 0.9, 0.98, 1]),
    min_winding=st.sampled_from([0, 0.9, 1]),
    two_points=st.sampled_from(["queue", "line:2", "line:0"]),
    line_width=st.sampled_from([None, 1e-9, 2.5]),
    point_radius=st.sampled_from([None, 1e-9, 2.5]),
)
shapes = st.builds(
    Shape,
    index=st.just(0),
    label=st.sampled_from(["dent", " dent", "scratch", "__ignore__", "_background_", ""]),
    kind=st.sampled_from(KINDS),
    points=garbage.map(tuple),
    group=st.sampled_from([None, None, 1]),
    mask=st.one_of(st.none(), st.binary(max_size=60)),
    fault=st.sampled_from([None, None, None, "unreadable"]),
)


def mend(points, settings=None) -> tuple[Area | None, list[Finding]]:
    return repair(Shape(0, "dent", "polygon", tuple(points)), SIZE, "a.png", settings or Repairing())


def assert_sound(area: Area) -> None:
    assert area.geom_type in ("Polygon", "MultiPolygon")
    assert area.is_valid
    assert area.area > 0
    left, top, right, bottom = area.bounds
    assert left >= 0
    assert top >= 0
    assert right <= SIZE.width
    assert bottom <= SIZE.height


def windings(points, xs, ys) -> np.ndarray:
    """By adding up angles, which is slow, obvious, and nothing like the code under test."""
    corners = np.array([*points, points[0]])
    angles = np.arctan2(corners[:, 1, None] - ys, corners[:, 0, None] - xs)
    turns = (np.diff(angles, axis=0) + math.pi) % (2 * math.pi) - math.pi
    return np.rint(turns.sum(axis=0) / (2 * math.pi)).astype(int)


@given(shapes, repairings)
def test_a_shape_yields_a_sound_area_inside_the_image_or_a_finding_that_queues_it(shape, settings):
    area, findings = repair(shape, SIZE, "a.png", settings)
    assert (area is None) == any(finding.action is Action.QUEUED for finding in findings)
    if area is not None:
        assert_sound(area)
    for finding in findings:
        assert (finding.source, finding.shape) == ("a.png", 0)
        assert finding.detail
        if finding.place is not None:
            x, y = finding.place
            assert 0 <= x <= SIZE.width
            assert 0 <= y <= SIZE.height


@given(
    st.lists(shapes, max_size=7),
    repairings,
    st.sampled_from([None, {"dent": "dent", "scr": "scratch"}, {"dent": "_background_"}]),
)
def test_every_shape_of_an_image_ends_in_one_region_or_in_a_finding(drawn, settings, labels):
    annotation = Annotation(
        "a.png",
        None,
        tuple(
            Shape(index, shape.label, shape.kind, shape.points, shape.group, (), shape.mask, "", shape.fault)
            for index, shape in enumerate(drawn)
        ),
    )
    found, findings = regions(annotation, SIZE, labels, settings)
    result = outcomes(annotation, findings)
    assert list(result) == list(range(len(drawn)))
    used = [index for region in found for index in region.shapes]
    assert len(used) == len(set(used))
    background = {finding.shape for finding in findings if finding.code is Code.BACKGROUND_AREA}
    for index, action in result.items():
        assert (index in used) == (action in (Action.KEPT, Action.REPAIRED) and index not in background)
    assert [region.shapes for region in found] == sorted(region.shapes for region in found)
    for region in found:
        assert_sound(region.geometry)
        assert region.uid == f"a.png#{min(region.shapes)}"
    assert [finding.shape for finding in findings] == sorted(finding.shape for finding in findings if finding.shape is not None)


@given(outlines)
@example([(0.0, 1.0), (0.0, 1e-100), (33.0, 0.0)])
@example([(0.0, 0.0), (0.0, 1.0), (2e-313, 0.0)])
@example([(1.0, 0.0), (10.0, 1.0), (-9.354312672121656e-100, 0.0)])
def test_repairing_what_was_repaired_changes_nothing(points):
    area, _ = mend(points, Repairing(min_agreement=0, min_winding=0))
    for part in [] if area is None else shapely.get_parts(area):
        if not part.interiors:
            again, findings = mend(list(part.exterior.coords)[:-1])
            assert findings == []
            assert again.wkb == part.wkb


@given(outlines, st.integers(0, 13), st.booleans())
def test_where_and_which_way_round_the_outline_begins_makes_no_difference(points, turn, reverse):
    assume(points)
    turn %= len(points)
    turned = points[turn:] + points[:turn]
    area, findings = mend(points)
    other, others = mend(turned[::-1] if reverse else turned)
    assert [(finding.code, finding.action) for finding in findings] == [(finding.code, finding.action) for finding in others]
    if area is not None:
        assert other is not None
        assert shapely.symmetric_difference(area, other).area < 1e-6


@given(
    st.one_of(st.lists(grid, min_size=3, max_size=14), st.lists(small, min_size=3, max_size=14)),
    st.lists(fine, min_size=5, max_size=20),
)
def test_a_repaired_outline_holds_exactly_the_places_it_winds_around(points, places):
    area, _ = mend(points, Repairing(min_agreement=0, min_winding=0))
    xs, ys = np.array(places).T
    off_the_line = shapely.distance(shapely.LineString([*points, points[0]]), shapely.points(xs, ys)) > 1e-3
    kept = off_the_line & (xs > 0) & (xs < SIZE.width) & (ys > 0) & (ys < SIZE.height)
    inside = np.zeros(len(xs), bool) if area is None else shapely.contains_xy(area, xs, ys)
    assert np.array_equal(inside[kept], windings(points, xs, ys)[kept] != 0)


@given(st.lists(small, min_size=3, max_size=10))
@example([(0.0, 0.0), (20.0, 20.0), (20.0, 0.0), (0.0, 20.0)])
@example([(0.0, 0.0), (20.0, 0.0), (20.0, 20.0), (0.0, 20.0)] * 2)
def test_an_outline_is_repaired_just_where_its_readings_agree(points):
    # Counting these places measures areas well enough, since outlines whose numbers are near the limits are left out.
    xs, ys = np.meshgrid(np.arange(0.171, 20, 0.4), np.arange(0.163, 20, 0.4))
    turns = windings(points, xs.ravel(), ys.ravel())
    covered = np.count_nonzero(turns)
    assume(covered > 100)
    agreement, signed = np.count_nonzero(turns % 2) / covered, abs(turns.sum()) / covered
    assume(abs(agreement - 0.9) > 0.05 and abs(signed - 0.8) > 0.05)
    area, findings = mend(points, Repairing(min_agreement=0.9, min_winding=0.8))
    assert (area is not None) == (agreement > 0.9 and signed > 0.8)
    if area is None:
        assert [finding.code for finding in findings] == [Code.READINGS_DISAGREE]
