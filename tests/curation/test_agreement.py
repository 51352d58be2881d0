"""Two sides of one image are matched, counted and measured; the coefficients are those that others compute."""

from __future__ import annotations

import math
import random

import krippendorff
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from shapely import Point, Polygon, affinity, box
from shapely.geometry.base import BaseGeometry
from sklearn.metrics import cohen_kappa_score

from threecad.curation import agreement, sizes
from threecad.curation.agreement import (
    Closeness,
    Comparison,
    Tally,
    Verdict,
    apart,
    by_size,
    by_type,
    cohen_kappa,
    compare,
    confusion,
    krippendorff_alpha,
    match,
    overall,
)
from threecad.domain import Region


def regions(*areas: tuple[str, BaseGeometry], ignore: bool = False) -> list[Region]:
    return [Region(f"a#{number}", label, area, (number,), ignore) for number, (label, area) in enumerate(areas)]


def compared(*sides: list[Region], **options: object) -> list[Comparison]:
    found = compare(*sides, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def verdicts(*sides: list[Region]) -> list[str]:
    return [each.verdict.value for each in compared(*sides)]


class TestMatching:
    def test_the_pair_that_overlaps_most_is_taken_first(self) -> None:
        reference = regions(("dent", box(0, 0, 10, 10)))
        drawn = regions(("dent", box(0, 0, 10, 6)), ("dent", box(0, 0, 10, 9)))
        assert match(reference, drawn) == [(0, 1, 0.9)]
        assert verdicts(reference, drawn) == ["agreed", "extra"]

    def test_overlap_counts_before_the_type(self) -> None:
        reference = regions(("dent", box(0, 0, 10, 10)))
        drawn = regions(("dent", box(0, 0, 10, 6)), ("scratch", box(0, 0, 10, 9)))
        assert verdicts(reference, drawn) == ["other type", "extra"]

    def test_of_equal_overlaps_the_equal_type_comes_first(self) -> None:
        square = [(0, 0), (10, 0), (10, 10), (0, 10)]
        reference = regions(("dent", Polygon(square)), ("scratch", Polygon(square)))
        drawn = regions(("scratch", Polygon(square[2:] + square[:2])), ("dent", Polygon(square[1:] + square[:1])))
        assert verdicts(reference, drawn) == ["agreed", "agreed"]

    def test_too_small_an_overlap_is_a_miss_and_an_extra(self) -> None:
        reference, drawn = regions(("dent", box(0, 0, 10, 10))), regions(("dent", box(9, 0, 19, 10)))
        assert verdicts(reference, drawn) == ["missed", "extra"]
        assert match(reference, drawn, 10 / 190) == [(0, 0, pytest.approx(10 / 190))]

    def test_outlines_that_only_touch_do_not_match(self) -> None:
        assert match(regions(("dent", box(0, 0, 10, 10))), regions(("dent", box(10, 0, 20, 10))), 1e-9) == []

    def test_nothing_matches_nothing(self) -> None:
        assert compared([], []) == []
        assert overall([]).tally == Tally()

    @given(st.integers(0, 2**32 - 1))
    def test_where_no_two_of_one_side_overlap_it_is_the_best_assignment_there_is(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        cells = [(20 * column, 20 * row) for column in range(4) for row in range(3)]
        areas, moved = (
            [box(x + left, y + top, x + right, y + low) for (x, y), (left, top, right, low) in zip(cells, edges, strict=True)]
            for edges in np.concatenate([draw.uniform(0, 6, (2, 12, 2)), draw.uniform(14, 20, (2, 12, 2))], axis=2)
        )
        draw.shuffle(moved)
        iou = np.array([[one.intersection(other).area / one.union(other).area for other in moved] for one in areas])
        rows, columns = linear_sum_assignment(iou, maximize=True)
        found = match(regions(*(("dent", area) for area in areas)), regions(*(("dent", area) for area in moved)))
        assert found == [
            (row, column, pytest.approx(iou[row, column]))
            for row, column in zip(rows, columns, strict=True)
            if iou[row, column] >= 0.1
        ]

    @given(st.randoms(use_true_random=False))
    def test_the_order_of_the_shapes_does_not_matter(self, rng: random.Random) -> None:
        areas = [(f"type{number % 3}", box(7 * number, 0, 7 * number + 9, 5 + number)) for number in range(8)]
        others = [(f"type{number % 2}", box(7 * number + 2, 1, 7 * number + 10, 5)) for number in range(7)]
        expected = sorted(
            (each.verdict, each.reference or "", each.drawn or "", each.iou or 0)
            for each in compared(regions(*areas), regions(*others))
        )
        rng.shuffle(areas)
        rng.shuffle(others)
        found = compared(regions(*areas), regions(*others))
        assert sorted((each.verdict, each.reference or "", each.drawn or "", each.iou or 0) for each in found) == expected


class TestExcuses:
    def test_ignored_areas_are_not_compared(self) -> None:
        ignored = regions(("__ignore__", box(0, 0, 50, 50)), ignore=True)
        assert compared(ignored, []) == compared([], ignored) == compared(ignored, ignored) == []

    def test_what_lies_mostly_where_the_reference_ignores_is_excused(self) -> None:
        reference = regions(("__ignore__", box(0, 0, 50, 50)), ignore=True)
        drawn = regions(("dent", box(40, 40, 52, 52)), ("dent", box(48, 48, 60, 60)))
        assert verdicts(reference, drawn) == ["excused", "extra"]

    def test_what_matches_is_not_excused(self) -> None:
        ignored = regions(("__ignore__", box(0, 0, 50, 50)), ignore=True)
        assert verdicts([*regions(("dent", box(5, 5, 9, 9))), *ignored], regions(("dent", box(5, 5, 9, 9)))) == ["agreed"]

    def test_what_touches_a_doubtful_area_is_excused(self) -> None:
        drawn = regions(("dent", box(0, 0, 10, 10)), ("dent", box(20, 20, 30, 30)))
        found = compared([], drawn, doubtful=[box(8, 8, 12, 12)])
        assert [each.verdict.value for each in found] == ["excused", "extra"]

    def test_what_is_excused_counts_nowhere(self) -> None:
        found = compared([], regions(("dent", box(0, 0, 10, 10))), doubtful=[box(8, 8, 12, 12)])
        assert overall(found).tally == Tally()
        assert by_type(found) == by_size(found) == []


class TestDistance:
    @pytest.mark.parametrize("shift", [0.0, 0.25, 2.0, 7.0])
    def test_a_shift_is_the_hausdorff_distance(self, shift: float) -> None:
        square = box(0, 0, 100, 60)
        found = apart(square, affinity.translate(square, shift, 0))
        assert found is not None
        assert found[1] == shift

    def test_of_concentric_circles_both_are_the_difference_of_the_radii(self) -> None:
        found = apart(Point(50, 50).buffer(40, quad_segs=400), Point(50, 50).buffer(43, quad_segs=400))
        assert found == (pytest.approx(3, abs=1e-3), pytest.approx(3, abs=1e-3))

    def test_equal_outlines_are_no_distance_apart(self) -> None:
        assert apart(box(0, 0, 9, 9), box(0, 0, 9, 9)) == (0, 0)

    def test_it_is_the_same_both_ways(self) -> None:
        one, other = box(0, 0, 30, 7), Point(12, 5).buffer(9)
        assert apart(one, other) == pytest.approx(apart(other, one))

    def test_a_hole_is_an_outline_too(self) -> None:
        whole = box(0, 0, 100, 100)
        found = apart(whole, whole - box(45, 45, 55, 55))
        assert found is not None
        assert found[1] == 45

    @given(st.integers(0, 2**32 - 1))
    def test_it_is_what_many_single_points_tell(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        angles = np.linspace(0, 2 * math.pi, 17, endpoint=False)
        one, other = (
            Polygon(np.column_stack([50 + radii * np.cos(angles), 50 + radii * np.sin(angles)]))
            for radii in draw.uniform(10, 45, (2, 17))
        )
        found = apart(one, other)
        assert found is not None
        ways = [
            [line.interpolate(at).distance(target) for at in np.arange(0, line.length, 0.2)]
            for line, target in ((one.exterior, other.exterior), (other.exterior, one.exterior))
        ]
        assert found[0] == pytest.approx(np.mean([*ways[0], *ways[1]]), abs=0.05)
        assert found[1] == pytest.approx(max(map(max, ways)), abs=0.6)
        assert found[1] == pytest.approx(shapely.hausdorff_distance(one.exterior, other.exterior, densify=0.02), abs=0.6)

    def test_an_outline_of_many_edges_is_looked_up_in_an_index_and_no_different(self) -> None:
        one, fine = Point(50, 50).buffer(40, quad_segs=20), Point(52, 50).buffer(40, quad_segs=1000)
        coarse = apart(one, shapely.simplify(fine, 0.001))
        assert coarse == pytest.approx(apart(one, fine), abs=0.01)

    def test_outlines_of_too_many_vertices_are_not_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agreement, "_VERTICES", 9)
        assert apart(box(0, 0, 9, 9), box(0, 0, 9, 9)) is None
        (found,) = compared(regions(("dent", box(0, 0, 9, 9))), regions(("dent", box(0, 0, 9, 9))))
        assert (found.iou, found.distance, found.hausdorff) == (1.0, None, None)
        assert Closeness.of([found]).mean_distance is None


def comb(teeth: int, upright: bool) -> Polygon:
    corners = [(x + dx, y) for x in range(teeth) for dx, y in ((0, 10 * teeth), (0.5, 10 * teeth), (0.5, 1), (1, 1))]
    area = Polygon([(0, 0), *corners[:-1], (teeth, 0)])
    return area if upright else shapely.transform(area, lambda xy: xy[:, ::-1])


class TestHostileOutlines:
    def test_outlines_that_cross_too_often_are_sampled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = comb(30, upright=True), comb(30, upright=False)
        (exact,) = compared(regions(("dent", one)), regions(("dent", other)), min_iou=0.01)
        monkeypatch.setattr(agreement, "_MEETINGS", 1000)
        (sampled,) = compared(regions(("dent", one)), regions(("dent", other)), min_iou=0.01)
        assert sampled.iou != exact.iou
        assert sampled.iou == pytest.approx(exact.iou, rel=0.02)

    def test_outlines_of_many_vertices_that_hardly_cross_are_measured_exactly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = Point(50, 50).buffer(40, quad_segs=100)
        monkeypatch.setattr(agreement, "_MEETINGS", 1000)
        (found,) = compared(regions(("dent", one)), regions(("dent", affinity.translate(one, 2, 0))))
        assert found.iou == pytest.approx(
            one.intersection(affinity.translate(one, 2, 0)).area / one.union(affinity.translate(one, 2, 0)).area
        )

    def test_too_many_outlines_on_top_of_one_another_are_refused(self) -> None:
        pile = regions(*[("dent", box(0, 0, 100, 100))] * 1000)
        assert compare(pile, pile) is None

    def test_two_thousand_regions_beside_one_another_are_not(self) -> None:
        field = [("dent", box(x, y, x + 6, y + 6)) for x in range(0, 500, 10) for y in range(0, 400, 10)]
        moved = [(label, affinity.translate(area, 1, 0)) for label, area in field]
        row = overall(compared(regions(*field), regions(*moved)))
        assert (row.tally.right, row.tally.f1) == (2000, 1.0)
        assert row.closeness.mean_iou == pytest.approx(5 / 7)
        assert row.closeness.median_area_ratio == pytest.approx(1.0)

    def test_many_ignored_areas_on_top_of_one_another_are_refused(self) -> None:
        pile = regions(*[("__ignore__", box(0, 0, 100, 100))] * 1000, ignore=True)
        assert compare(pile, regions(*[("dent", box(0, 0, 100, 100))] * 1000)) is None


class TestCounting:
    def test_a_confusion_costs_both_types(self) -> None:
        found = compared(regions(("dent", box(0, 0, 40, 40))), regions(("scratch", box(0, 0, 40, 40))))
        dent, scratch = by_type(found)
        assert (dent.name, dent.tally) == ("dent", Tally(confused=1))
        assert (scratch.name, scratch.tally) == ("scratch", Tally(mistaken=1))
        assert overall(found).tally == Tally(confused=1, mistaken=1)
        assert confusion(found) == {("dent", "scratch"): 1}
        assert (dent.tally.recall, dent.tally.precision, scratch.tally.recall, scratch.tally.precision) == (0, None, None, 0)

    def test_the_size_is_that_of_the_reference(self) -> None:
        found = compared(
            regions(("dent", box(0, 0, 30, 30))), regions(("dent", box(0, 0, 35, 35)), ("dent", box(90, 90, 95, 95)))
        )
        assert [(row.name, row.tally.right, row.tally.extra) for row in by_size(found)] == [("tiny", 0, 1), ("small", 1, 0)]

    def test_an_unusable_shape_has_been_drawn_and_is_not_right(self) -> None:
        unusable = Comparison(Verdict.UNUSABLE, None, "dent", None)
        found = [*compared(regions(("dent", box(0, 0, 9, 9))), regions(("dent", box(0, 0, 9, 9)))), unusable]
        tally = overall(found).tally
        assert (tally.drawn, tally.precision, tally.recall) == (2, 0.5, 1.0)
        assert [row.name for row in by_size(found)] == ["small", None]

    def test_numbers_without_anything_to_count_are_none(self) -> None:
        row = overall([])
        assert (row.tally.precision, row.tally.recall, row.tally.f1) == (None, None, None)
        assert row.closeness == Closeness(0, None, None, None, None, None, None)

    def test_wide_outlines_have_a_ratio_above_one(self) -> None:
        (found,) = compared(regions(("dent", box(0, 0, 10, 10))), regions(("dent", box(0, 0, 12, 10))))
        assert found.area_ratio == 1.2

    @given(st.integers(0, 2**32 - 1))
    def test_every_region_counts_once_and_tables_add_up(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        sides = []
        for count in draw.integers(0, 12, 2):
            low, size = draw.uniform(0, 80, (count, 2)), draw.uniform(1, 40, (count, 2))
            areas = [box(*corner, *(corner + extent)) for corner, extent in zip(low, size, strict=True)]
            sides.append(regions(*((str(draw.choice(["dent", "scratch", "pit"])), area) for area in areas)))
        found, turned = compared(*sides), compared(*sides[::-1])
        tally, mirrored = overall(found).tally, overall(turned).tally
        assert (tally.reference, tally.drawn) == tuple(map(len, sides))
        assert (tally.missed, tally.extra, tally.right) == (mirrored.extra, mirrored.missed, mirrored.right)
        assert (tally.precision, tally.recall, tally.f1) == (mirrored.recall, mirrored.precision, mirrored.f1)
        for rows in (by_type(found), by_size(found)):
            for name in ("right", "confused", "mistaken", "missed", "extra", "reference", "drawn"):
                assert sum(getattr(row.tally, name) for row in rows) == getattr(tally, name)
            assert sum(row.closeness.pairs for row in rows) == overall(found).closeness.pairs
        assert sum(confusion(found).values()) == tally.right + tally.confused


class TestCoefficients:
    @given(st.lists(st.tuples(st.sampled_from("gd"), st.sampled_from("gd")), min_size=2, max_size=40))
    def test_kappa_is_that_of_scikit_learn(self, pairs: list[tuple[str, str]]) -> None:
        ours = cohen_kappa(pairs)
        if ours is None:
            assert len({value for pair in pairs for value in pair}) == 1
        else:
            assert ours == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))

    def test_kappa_of_nothing_or_of_one_word_is_not_defined(self) -> None:
        assert cohen_kappa([]) is None
        assert cohen_kappa([("good", "good")] * 5) is None
        assert cohen_kappa([("good", "defect")] * 5) == 0

    @given(st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=4, max_size=4), min_size=1, max_size=25))
    def test_alpha_is_that_of_the_krippendorff_package(self, ratings: list[list[int | None]]) -> None:
        units = [[value for value in unit if value is not None] for unit in ratings]
        ours = krippendorff_alpha(units)
        used = {value for unit in units if len(unit) > 1 for value in unit}
        if ours is None:
            assert len(used) < 2
        else:
            data = np.array([[math.nan if value is None else value for value in unit] for unit in ratings], dtype=float).T
            assert ours == pytest.approx(krippendorff.alpha(data, level_of_measurement="nominal"))

    def test_alpha_is_the_published_example(self) -> None:
        # Krippendorff (2011), section C: four observers, twelve units, data missing; alpha = 0.743.
        rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
        units = [[value for value in unit if value != "."] for unit in zip(*(row.split() for row in rows), strict=True)]
        assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)

    def test_alpha_takes_sets_of_types(self) -> None:
        dent, both, none = frozenset({"dent"}), frozenset({"dent", "scratch"}), frozenset[str]()
        assert krippendorff_alpha([[dent, dent], [both, both], [none, none]]) == 1
        assert krippendorff_alpha([[dent, both], [both, none], [none, dent]]) == pytest.approx(-0.25)


class TestSizes:
    def test_every_area_has_one_class(self) -> None:
        assert [sizes.size_class(area) for area in (0.5, 63.999, 64, 1023.9, 1024, 9215.9, 9216, 1e9)] == [
            *("tiny", "tiny", "small", "small"),
            *("medium", "medium", "large", "large"),
        ]
        assert sizes.NAMES == ("tiny", "small", "medium", "large")
