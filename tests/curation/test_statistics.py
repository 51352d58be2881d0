"""Statistics of data sets that are made up here, beside counts that anybody can follow."""

from __future__ import annotations

import hashlib
import math
import random
import tracemalloc
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from threecad.curation import sizes
from threecad.curation.duplicates import fingerprint
from threecad.curation.leaks import copies
from threecad.curation.statistics import (
    ALL,
    AREA_EDGES,
    ASPECT_EDGES,
    Balance,
    Comparison,
    Copies,
    Doubts,
    Drawn,
    HeatMap,
    Looks,
    Overlap,
    Overview,
    Pair,
    Photograph,
    Quantiles,
    SourceRow,
    Span,
    Statistics,
    Survival,
    Tally,
    TypeRow,
    distribution,
    kinds_of,
    quantiles,
    state_of,
)
from threecad.domain import HEAT, SHRINKINGS, Action, Code, Entry, Finding, MaskFile, Measure, Size, Split, Spot, State
from threecad.imaging.measuring import measure
from threecad.settings import Splitting

MASK = (MaskFile("mask.png"),)


def entry(image: str | None, split: Split | None, state: State | None, *labels: str, **changes: object) -> Entry:
    """An entry whose category is the first folder of its path."""
    path = image or "part/unused"
    plain = Entry(path, path.split("/")[0], split, state, labels, image, MASK if state is not State.GOOD else (), path)
    return replace(plain, **changes)


def measured(*spots: Spot, **changes: object) -> Measure:
    """A measure with these spots; each pixel belongs to all types of its spot."""
    areas: Counter[str] = Counter()
    for each in spots:
        areas.update(dict.fromkeys(each.labels, each.area))
    whole = tuple(name for name in SHRINKINGS if spots and all(name in each.lost for each in spots))
    plain = Measure(Size(100, 200), 1, 8, 0.5, 0.1, 30.0, None, "00", spots, tuple(sorted(areas.items())), b"", whole, ())
    return replace(plain, **changes)


def spot(area: int, *labels: str, long: float = 4.0, short: float = 2.0, lost: tuple[str, ...] = ()) -> Spot:
    return Spot(area, (0, 0, 1, 1), long, short, labels, lost)


def statistics_of(*images: tuple[Entry, Measure | None], **finish: object) -> Statistics:
    tally = Tally("made up", "mvtec")
    for each, found in images:
        tally.add(each, found)
    return tally.finish(**finish)


def row_of(rows: tuple[Overview, ...], category: str) -> Overview:
    return next(row for row in rows if row.category == category)


# A whole data set, from its pixels

Region = tuple[int, tuple[str, ...], float]
"""Area, types and aspect ratio of what was drawn."""


@dataclass(frozen=True)
class Made:
    entry: Entry
    pixels: NDArray[np.uint8]
    planes: dict[str, NDArray[np.bool_]]
    regions: list[Region]

    @property
    def path(self) -> str:
        return self.entry.image or ""

    def measure(self) -> Measure:
        print_ = fingerprint(self.pixels)
        return measure(self.pixels, self.planes, hashlib.sha256(self.pixels).hexdigest(), print_.hex() if print_ else None)


SHAPES: list[tuple[NDArray[np.bool_], float]] = [
    (np.ones((1, 30), np.bool_), 30.0),
    (np.ones((12, 8), np.bool_), 1.5),
    (np.ones((1, 1), np.bool_), 1.0),
    (np.ones((18, 2), np.bool_), 9.0),
    (np.eye(11, dtype=np.bool_), 11.0),
    (np.eye(16, dtype=np.bool_)[::-1], 16.0),
]
"""What is drawn, with its aspect ratio: a diagonal of n pixels is n times as long as wide."""


def drawn_on(height: int, width: int, types: tuple[str, ...], rng: np.random.Generator) -> tuple[dict, list[Region]]:
    """Some of the shapes, each in a field of its own of 20 × 32 pixels, every third of two types that share it."""
    planes: dict[str, NDArray[np.bool_]] = {}
    regions: list[Region] = []
    fields = list(product(range(0, height - 19, 20), range(0, width - 31, 32)))
    for number, place in enumerate(rng.choice(len(fields), int(rng.integers(1, 8)), replace=False)):
        top, left = fields[place]
        shape, aspect = SHAPES[int(rng.integers(len(SHAPES)))]
        names = rng.choice(types, 2 if number % 3 == 2 and shape.sum() > 1 else 1, replace=False).tolist()
        for name, part in zip(names, (shape, shape & (np.arange(shape.shape[1]) > 0)), strict=False):
            plane = planes.setdefault(name, np.zeros((height, width), np.bool_))
            plane[top : top + shape.shape[0], left : left + shape.shape[1]] |= part
        owning = tuple(sorted(name for name in names if planes[name][top : top + 20, left : left + 32].any()))
        regions.append((int(shape.sum()), owning, aspect))
    return {name: plane for name, plane in planes.items() if plane.any()}, regions


def made_up() -> list[Made]:
    """Two categories; a training image of the first is in the test as it is, and one of the second a little brighter."""
    rng = np.random.default_rng(11)
    found: list[Made] = []
    for category, height, width, types in (
        ("cover", 96, 128, ("dent", "scratch")),
        ("frame", 200, 100, ("dent", "hole", "stain")),
    ):
        for number in range(6):
            picture = rng.integers(0, 200, (height, width), dtype=np.uint8)
            found.append(Made(entry(f"{category}/train/good/{number}.png", Split.TRAIN, State.GOOD), picture, {}, []))
        for number in range(4):
            picture = rng.integers(0, 200, (height + number, width), dtype=np.uint8)
            found.append(Made(entry(f"{category}/test/good/{number}.png", Split.TEST, State.GOOD), picture, {}, []))
        for number in range(12):
            planes, regions = drawn_on(height, width, types, rng)
            path = f"{category}/test/{min(planes)}/{number}.png"
            picture = rng.integers(0, 200, (height, width), dtype=np.uint8)
            found.append(Made(entry(path, Split.TEST, State.DEFECT, *sorted(planes)), picture, planes, regions))
    pictures = {each.path: each.pixels for each in found}
    for path, picture in (
        ("cover/test/good/copy.png", pictures["cover/train/good/3.png"]),
        ("frame/test/good/bright.png", pictures["frame/train/good/2.png"] + np.uint8(9)),
        ("frame/train/good/again.png", pictures["frame/train/good/5.png"]),
    ):
        split = Split.TRAIN if "train" in path else Split.TEST
        found.append(Made(entry(path, split, State.GOOD), picture, {}, []))
    return found


@pytest.fixture(scope="module")
def made() -> list[Made]:
    return made_up()


@pytest.fixture(scope="module")
def profiled(made: list[Made]) -> Statistics:
    measures = {each.path: each.measure() for each in made}
    groups = copies(
        {path: found.digest for path, found in measures.items()},
        {path: bytes.fromhex(found.fingerprint) for path, found in measures.items() if found.fingerprint},
        {each.path: each.entry.split for each in made},
        Splitting(),
    )
    return statistics_of(*((each.entry, measures[each.path]) for each in made), copies=groups)


def test_copies_are_those_that_were_made(profiled):
    assert profiled.copies == (
        Copies(True, True, (("cover/test/good/copy.png", "test"), ("cover/train/good/3.png", "train"))),
        Copies(False, True, (("frame/test/good/bright.png", "test"), ("frame/train/good/2.png", "train"))),
        Copies(True, False, (("frame/train/good/5.png", "train"), ("frame/train/good/again.png", "train"))),
    )
    assert not profiled.clean


@pytest.mark.parametrize("category", ["cover", "frame", ALL])
def test_table_1_is_what_counting_by_hand_gives(made, profiled, category):
    mine = [each for each in made if category in (ALL, each.entry.category)]
    test = [each for each in mine if each.entry.split is Split.TEST]
    defective = [each for each in test if each.planes]
    regions = [len(each.regions) for each in defective]
    kinds = [len(each.planes) for each in defective]
    assert row_of(profiled.overview, category) == Overview(
        category=category,
        train=sum(each.entry.split is Split.TRAIN for each in mine),
        validation=0,
        test=len(test),
        good=len(test) - len(defective),
        defect=len(defective),
        types=len({(each.entry.category, name) for each in mine for name in each.planes}),
        height=Span(min(each.pixels.shape[0] for each in mine), max(each.pixels.shape[0] for each in mine)),
        width=Span(min(each.pixels.shape[1] for each in mine), max(each.pixels.shape[1] for each in mine)),
        regions=Span(min(regions), max(regions)),
        kinds=Span(min(kinds), max(kinds)),
    )


def test_table_2_is_what_counting_by_hand_gives(made, profiled):
    defective = [each for each in made if each.planes]
    assert profiled.comparison == Comparison(
        name="made up",
        normal=len(made) - len(defective),
        abnormal=len(defective),
        source=None,
        multiple_instances=sum(len(each.regions) > 1 for each in defective),
        multiple_types=sum(len(each.planes) > 1 for each in defective),
    )


@pytest.mark.parametrize("category", ["cover", "frame", ALL])
def test_figure_3_is_what_counting_by_hand_gives(made, profiled, category):
    mine = [each for each in made if each.planes and category in (ALL, each.entry.category)]
    assert_spread(profiled.area_ratio[category], [area / each.pixels.size for each in mine for area, _, _ in each.regions])
    shares = [sum(area for area, _, _ in each.regions) / each.pixels.size for each in mine]
    assert_spread(profiled.image_ratio[category], shares)
    assert_spread(profiled.aspect_ratio[category], [aspect for each in mine for *_, aspect in each.regions])


def assert_spread(found, values: list[float]) -> None:
    ordered = sorted(values)
    assert found.quantiles.count == len(values) > 0
    assert found.quantiles.mean == pytest.approx(sum(values) / len(values))
    for name in ("q0", "q5", "q25", "q50", "q75", "q95", "q100"):
        place = int(name[1:]) / 100 * (len(ordered) - 1)
        below, rest = int(place), place - int(place)
        above = ordered[min(below + 1, len(ordered) - 1)]
        assert getattr(found.quantiles, name) == pytest.approx(ordered[below] + rest * (above - ordered[below]))
    edges = found.histogram.edges
    counts = [
        sum(low <= value < high or (high == edges[-1] and value >= high) or (low == edges[0] and value < low) for value in values)
        for low, high in pairwise(edges)
    ]
    assert list(found.histogram.counts) == counts


def test_types_pairs_and_survival_are_what_counting_by_hand_gives(made, profiled):
    for category in ("cover", "frame"):
        mine = [each for each in made if each.planes and each.entry.category == category]
        for name in sorted({name for each in mine for name in each.planes}):
            regions = [area for each in mine for area, kinds, _ in each.regions if name in kinds]
            classes = Counter(map(sizes.size_class, regions))
            row = next(row for row in profiled.types if (row.category, row.type) == (category, name))
            pixels = sum(int(each.planes[name].sum()) for each in mine if name in each.planes)
            images = sum(name in each.planes for each in mine)
            expected = TypeRow(
                category, name, images, len(regions), pixels, tuple(classes[size] for size in sizes.NAMES), None, None
            )
            assert row == expected
        pairs = Counter(pair for each in mine for pair in combinations(sorted(each.planes), 2))
        assert [row for row in profiled.together if row.category == category] == [
            Pair(category, *pair, count) for pair, count in sorted(pairs.items())
        ]
    for row in profiled.survival:
        mine = [each for each in made if each.planes and row.category in (ALL, each.entry.category)]
        found = [each.measure().spots for each in mine]
        assert (row.regions, row.images) == (sum(map(len, found)), len(found))
        lost = [[row.shrinking in each.lost for each in spots] for spots in found]
        assert (row.lost_regions, row.lost_images) == (sum(map(sum, lost)), sum(map(all, lost)))
    assert {row.shrinking for row in profiled.survival} == set(SHRINKINGS)


def test_a_heat_map_is_the_mean_of_the_images_grids(made, profiled):
    mine = [each for each in made if each.planes and each.entry.category == "cover"]
    grids = [np.frombuffer(each.measure().heat, np.uint8) / 255 for each in mine]
    (row,) = (row for row in profiled.heat if row.category == "cover")
    assert (row.frame, row.images) == ("image", len(mine))
    assert row.cells == pytest.approx(np.mean(grids, axis=0))
    total = next(row for row in profiled.heat if row.category == ALL)
    assert total.images == sum(bool(each.planes) for each in made)


def test_looks_are_told_of_each_category_and_split(made, profiled):
    for row in profiled.looks:
        mine = [each for each in made if row.category in (ALL, each.entry.category) and each.entry.split == row.split]
        found = [each.measure() for each in mine]
        assert row.brightness.count == len(mine) > 0
        assert row.brightness.q50 == pytest.approx(np.median([each.brightness for each in found]))
        assert row.contrast.q100 == max(each.contrast for each in found)
        assert row.sharpness.mean == pytest.approx(np.mean([each.sharpness for each in found]))
    assert [(row.category, row.split) for row in profiled.looks] == [
        *product(("cover", "frame", ALL), ("train", "test")),
    ]


def test_the_order_of_adding_makes_no_difference(made):
    def told(order: list[int]) -> Statistics:
        tally = Tally("made up", "threecad", defect_source="Real")
        things = [
            *((each.entry, each.measure()) for each in made),
            *(Photograph(f"{n}.bmp", "cover", Split.TEST, Size(9, 9), n % 2 == 0) for n in range(9)),
            *(Drawn(f"{n}#0", f"{n % 3}.bmp", "cover", "dent", 7, bytes([n] * HEAT * HEAT), n) for n in range(1, 9)),
            (entry("cover/test/dent/x.png", Split.TEST, State.DEFECT, "dent"), None),
        ]
        for number in order:
            thing = things[number % len(things)]
            if isinstance(thing, Photograph):
                tally.photograph(thing)
            elif isinstance(thing, Drawn):
                tally.drawn(thing)
            else:
                tally.add(*thing, [Finding(Code.MASK_EMPTY, Action.KEPT, f"{number}", None, "")])
        return tally.finish()

    order = list(range(len(made) + 18))
    expected = told(order)
    for seed in range(3):
        random.Random(seed).shuffle(order)
        assert told(order) == expected
    assert expected.comparison.source == "Real"


# Which image is what


GOOD, MARKED = measured(), measured(spot(7, "dent"))


@pytest.mark.parametrize(
    ("told", "found", "state"),
    [
        pytest.param(entry("p/1", Split.TEST, State.GOOD), MARKED, State.GOOD, id="the layout's word counts, whatever is marked"),
        pytest.param(entry("p/1", Split.TEST, State.DEFECT), GOOD, State.DEFECT, id="an empty mask makes nothing good"),
        pytest.param(entry("p/1", Split.TEST, State.DEFECT), None, State.DEFECT, id="nor does an unreadable image"),
        pytest.param(entry("p/1", Split.TEST, None), MARKED, State.DEFECT, id="the mask decides: marked"),
        pytest.param(entry("p/1", Split.TEST, None), GOOD, State.GOOD, id="the mask decides: empty"),
        pytest.param(entry("p/1", Split.TEST, None), None, None, id="an image that nobody could read"),
        pytest.param(entry("p/1", Split.TEST, None, masks=()), GOOD, None, id="an image without mask is not good by that alone"),
        pytest.param(
            entry("p/1", Split.TEST, None),
            replace(GOOD, flaws=((Code.MASK_UNREADABLE, ""),)),
            None,
            id="a mask nobody could read",
        ),
        pytest.param(
            entry("p/1", Split.TEST, None),
            replace(GOOD, flaws=((Code.MASK_NOT_BINARY, ""),)),
            State.GOOD,
            id="a smooth empty mask",
        ),
    ],
)
def test_the_state_is_what_the_layout_says_and_else_what_the_mask_says(told, found, state):
    assert state_of(told, found) is state


def test_a_mask_that_is_not_there_says_nothing():
    missing = [Finding(Code.LISTED_MISSING, Action.DROPPED, "mask.png", None, "")]
    assert state_of(entry("p/1", Split.TEST, None), GOOD, missing) is None


def test_an_image_of_unknown_state_is_neither_good_nor_defective():
    found = statistics_of((entry("p/1", Split.TEST, None, masks=()), GOOD), (entry("p/2", Split.TRAIN, None, masks=()), GOOD))
    (row, _) = found.overview
    assert (row.train, row.test, row.good, row.defect, row.unknown) == (1, 0, 0, 0, 2)
    assert (found.comparison.normal, found.comparison.abnormal, found.images) == (0, 0, 2)


def test_images_that_no_split_names_count_as_test_images():
    found = statistics_of((entry("p/1", None, State.GOOD), GOOD), (entry("p/2", None, State.DEFECT), MARKED))
    (row, _) = found.overview
    assert (row.train, row.test, row.good, row.defect, row.unsplit) == (0, 2, 1, 1, 2)
    assert (row.regions, [looks.split for looks in found.looks]) == (Span(1, 1), ["", ""])
    assert found.clean


def test_validation_stands_apart_but_counts_in_table_2_and_figure_3():
    found = statistics_of(
        (entry("p/1", Split.VALIDATION, State.DEFECT, "dent"), MARKED), (entry("p/2", Split.VALIDATION, State.GOOD), GOOD)
    )
    (row, _) = found.overview
    assert (row.train, row.validation, row.test, row.regions, row.types) == (0, 2, 0, None, 1)
    assert (found.comparison.normal, found.comparison.abnormal) == (1, 1)
    assert found.area_ratio["p"].quantiles == quantiles([7 / 20_000])


def test_a_good_image_whose_mask_marks_pixels_is_good_and_its_pixels_are_no_defects():
    found = statistics_of((entry("p/1", Split.TEST, State.GOOD), MARKED))
    assert (found.overview[0].good, found.overview[0].defect, found.types, found.survival) == (1, 0, (), ())
    assert found.clean
    assert not statistics_of((entry("p/1", Split.TRAIN, State.GOOD), MARKED)).clean


def test_a_defective_image_whose_mask_is_empty_counts_as_an_image_but_not_in_ne_and_te():
    found = statistics_of((entry("p/1", Split.TEST, State.DEFECT, "dent"), GOOD))
    (row, _) = found.overview
    assert (row.defect, row.types, row.regions, row.kinds) == (1, 1, None, None)
    assert found.types == (TypeRow("p", "dent", 1, 0, 0, (0, 0, 0, 0), None, None),)
    assert (found.area_ratio["p"].quantiles, found.survival, found.heat) == (None, (), ())


def test_a_defect_that_trains_is_told_and_the_split_is_not_clean():
    found = statistics_of((entry("p/train/1", Split.TRAIN, State.DEFECT, "dent"), MARKED))
    assert [(finding.code, finding.source, finding.detail) for finding in found.findings] == [
        (Code.LEAK, "p/train/1", "it trains, but it is defective")
    ]
    assert not found.clean
    assert (found.overview[0].train, found.overview[0].test, found.comparison.abnormal) == (1, 0, 1)
    assert found.overview[0].regions is None


def test_an_image_that_cannot_be_used_counts_but_has_no_size():
    found = statistics_of((entry("p/1", Split.TEST, State.DEFECT, "dent"), None))
    (row, _) = found.overview
    assert (row.test, row.height, row.width) == (1, None, None)
    assert found.looks == ()


# Types


@pytest.mark.parametrize(
    ("labels", "areas", "kinds"),
    [
        (("dent",), (), {"dent"}),
        ((), (), {""}),
        (("dent", "hole"), (("dent", 3),), {"dent"}),
        (("dent", "hole"), (("", 3),), {"dent", "hole"}),
        (("dent",), (("", 3), ("hole", 1)), {"dent", "hole"}),
        ((), (("", 3), ("hole", 1)), {"hole"}),
        ((), (("", 3),), {""}),
    ],
)
def test_an_image_shows_the_types_of_its_pixels_and_those_that_the_layout_names_for_the_rest(labels, areas, kinds):
    assert kinds_of(entry("p/1", Split.TEST, State.DEFECT, *labels), replace(GOOD, areas=areas)) == kinds


def test_a_region_of_two_types_counts_for_each_of_them_but_once_as_a_region():
    both, one = spot(1100, "dent", "hole"), spot(63, "dent")
    found = statistics_of((entry("p/1", Split.TEST, State.DEFECT, "dent", "hole"), measured(both, one)))
    assert found.types == (
        TypeRow("p", "dent", 1, 2, 1163, (1, 0, 1, 0), None, None),
        TypeRow("p", "hole", 1, 1, 1100, (0, 0, 1, 0), None, None),
    )
    assert found.together == (Pair("p", "dent", "hole", 1),)
    assert (found.overview[0].regions, found.overview[0].kinds) == (Span(2, 2), Span(2, 2))
    assert (found.comparison.multiple_instances, found.comparison.multiple_types) == (1, 1)


def test_where_no_type_has_a_name_there_is_one_and_else_the_named_ones_count():
    nameless = (entry("p/1", Split.TEST, State.DEFECT), measured(spot(7, "")))
    assert statistics_of(nameless).overview[0].types == 1
    found = statistics_of(nameless, (entry("p/2", Split.TEST, State.DEFECT, "dent"), MARKED))
    assert found.overview[0].types == 1
    assert [row.type for row in found.types] == ["", "dent"]


def test_untyped_regions_of_an_image_of_two_types_belong_to_neither():
    found = statistics_of((entry("p/1", Split.TEST, State.DEFECT, "dent", "hole"), measured(spot(7, ""))))
    assert [(row.type, row.images, row.regions, row.pixels) for row in found.types] == [
        ("", 1, 1, 7),
        ("dent", 1, 0, 0),
        ("hole", 1, 0, 0),
    ]
    assert (found.overview[0].kinds, found.overview[0].types) == (Span(2, 2), 2)


def test_an_image_of_a_thousand_types_adds_no_pairs():
    names = [f"{number:04}" for number in range(1000)]
    found = statistics_of((entry("p/1", Split.TEST, State.DEFECT, *names), measured(*(spot(1, name) for name in names))))
    assert (found.overview[0].kinds, found.together) == (Span(1000, 1000), ())


# Spreads


def test_edges_are_fixed_numbers():
    assert AREA_EDGES[:6] == (1e-7, 1.8e-7, 3.2e-7, 5.6e-7, 1e-6, 1.8e-6)
    assert (AREA_EDGES[-1], len(AREA_EDGES)) == (1.0, 29)
    assert ASPECT_EDGES[:9] == (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4)
    assert (ASPECT_EDGES[-2:], len(ASPECT_EDGES)) == ((56, 64), 25)
    assert all(list(edges) == sorted(set(edges)) for edges in (AREA_EDGES, ASPECT_EDGES))


def test_a_value_on_an_edge_begins_a_bin_and_what_lies_outside_is_in_the_outermost():
    assert distribution([0.0, 1.0, 2.0, 3.0, 4.0, 99.0], (1.0, 2.0, 4.0)).histogram.counts == (2, 4)
    nothing = distribution([], (1.0, 2.0, 4.0))
    assert (nothing.quantiles, nothing.histogram.counts) == (None, (0, 0))


@given(st.lists(st.floats(1e-7, 1e6), min_size=1, max_size=60))
def test_quantiles_are_those_of_numpy_and_the_mean_is_exact(values):
    found = quantiles(sorted(values))
    shares = np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    assert (found.q0, found.q5, found.q25, found.q50, found.q75, found.q95, found.q100) == tuple(shares)
    assert found == replace(found, count=len(values), mean=math.fsum(values) / len(values))


@pytest.mark.parametrize("flipped", [False, True])
def test_a_diagonal_of_n_pixels_has_the_aspect_ratio_n_and_begins_its_bin(flipped):
    for side in range(1, 65):
        mask = np.eye(side, dtype=np.bool_)
        mask = np.ascontiguousarray(mask[::-1]) if flipped else mask
        found = measure(np.zeros((side, side), np.uint8), {"": mask}, digest="")
        told = statistics_of((entry("p/1", Split.TEST, State.DEFECT), found)).aspect_ratio["p"]
        assert told.quantiles.q50 == side
        edges, counts = told.histogram.edges, told.histogram.counts
        assert counts.index(1) == min(max(k for k, edge in enumerate(edges) if edge <= side), len(counts) - 1)


def test_one_value_is_every_quantile():
    assert quantiles([0.25]) == Quantiles(1, *[0.25] * 8)


# Photographs


def test_what_became_of_tiles_is_told_step_by_step():
    tally = Tally("tiles", "threecad")
    for state, split, count, labels in (
        (State.GOOD, Split.TRAIN, 5, ()),
        (State.GOOD, Split.TEST, 2, ()),
        (State.DEFECT, Split.TEST, 3, ("dent",)),
        (State.DEFECT, Split.VALIDATION, 1, ("dent", "hole")),
        (State.AMBIGUOUS, None, 4, ("dent",)),
        (State.POISONED, None, 2, ()),
        (State.POISONED, None, 1, ("hole",)),
        (State.GOOD, None, 6, ()),
    ):
        for number in range(count):
            path = f"part/{state}-{split}-{number}.png" if split is not None else None
            tally.add(entry(path, split, state, *labels, id=f"{state}-{number}", category="part"), None)
    tally.photograph(Photograph("a.bmp", "part", Split.TRAIN, Size(9, 9), good=True))
    found = tally.finish()
    assert found.balance == (
        Balance("part", "cut", 15, 9, (("dent", 8), ("hole", 2))),
        Balance("part", "ambiguous", 0, 4, (("dent", 4),)),
        Balance("part", "poisoned", 2, 1, (("hole", 1),)),
        Balance("part", "clean, unused", 6, 0, ()),
        Balance("part", "train", 5, 0, ()),
        Balance("part", "validation", 0, 1, (("dent", 1), ("hole", 1))),
        Balance("part", "test", 2, 3, (("dent", 3),)),
    )
    assert found.images == 11  # a tile without file is no image
    (row, _) = found.overview
    assert (row.train, row.validation, row.good, row.defect, row.unsplit) == (5, 1, 2, 3, 0)


def test_a_data_set_without_photographs_has_no_balance_and_no_frame_of_its_source():
    found = statistics_of((entry("p/1", Split.TEST, State.DEFECT, "dent"), MARKED))
    assert (found.balance, found.sources) == ((), ())
    assert (found.types[0].defects, found.types[0].photographs) == (None, None)


def test_a_defect_that_two_tiles_show_is_one_in_its_photograph():
    tally = Tally("tiles", "threecad")
    for number in range(2):
        tally.add(entry(f"part/test/dent/{number}.png", Split.TEST, State.DEFECT, "dent", source="a.bmp"), MARKED)
    tally.add(
        entry("part/test/dent/2.png", Split.TEST, State.DEFECT, "dent", "hole", source="b.bmp"), measured(spot(9, "dent", "hole"))
    )
    tally.photograph(Photograph("a.bmp", "part", Split.TEST, Size(64, 64), good=False))
    tally.photograph(Photograph("b.bmp", "part", Split.TEST, Size(64, 64), good=False))
    tally.photograph(Photograph("c.bmp", "part", Split.TRAIN, Size(64, 64), good=True))
    cell = [bytes([255 if k == number else 0 for k in range(HEAT * HEAT)]) for number in range(3)]
    tally.drawn(Drawn("a.bmp#0", "a.bmp", "part", "dent", 7, cell[0], 2))
    tally.drawn(Drawn("b.bmp#0", "b.bmp", "part", "dent", 6, cell[0], 1))
    tally.drawn(Drawn("b.bmp#1", "b.bmp", "part", "hole", 3, cell[2], 1))
    found = tally.finish()
    expected = SourceRow("part", 3, 1, 2, 3, Span(1, 2), Span(1, 2), 3, 4)
    assert found.sources == (expected, replace(expected, category=ALL))
    assert [(row.type, row.images, row.defects, row.photographs) for row in found.types] == [("dent", 3, 2, 2), ("hole", 1, 1, 1)]
    cells = (1.0, 0.0, 0.5, *[0.0] * (HEAT * HEAT - 3))
    assert found.heat == (HeatMap("part", "source", 2, cells), HeatMap(ALL, "source", 2, cells))
    assert found.clean


def test_defects_that_overlap_cover_a_cell_at_most_once():
    tally = Tally("tiles", "threecad")
    for number in range(3):
        tally.drawn(Drawn(f"a#{number}", "a", "part", "dent", 1, bytes([200] * HEAT * HEAT)))
    assert set(tally.finish().heat[0].cells) == {1.0}


def test_a_type_that_only_photographs_show_is_told_but_is_no_type_of_the_images():
    tally = Tally("tiles", "threecad")
    tally.add(entry("part/1.png", Split.TEST, State.DEFECT, "dent"), MARKED)
    tally.drawn(Drawn("a#0", "a", "part", "crack", 1, b""))
    found = tally.finish()
    assert [(row.type, row.images, row.defects) for row in found.types] == [("crack", 0, 1), ("dent", 1, 0)]
    assert found.overview[0].types == 1


# Faults


def test_findings_are_sorted_and_told_once():
    late, early = (Finding(Code.MASK_EMPTY, Action.KEPT, name, None, "") for name in ("b", "a"))
    other = Finding(Code.MASK_MISSING, Action.KEPT, "z", None, "")
    tally = Tally("x", "mvtec")
    tally.add(entry("p/1", Split.TEST, State.DEFECT), GOOD, [late, early])
    assert tally.finish(findings=[other, early]).findings == (other, early, late)


def test_a_leak_that_the_layout_told_is_not_told_again_but_counts():
    told = Finding(Code.LEAK, Action.KEPT, "p/1", None, "train in a.csv, line 1, test in a.csv, line 9")
    tally = Tally("x", "visa")
    tally.add(entry("p/1", Split.TRAIN, State.GOOD), GOOD)
    tally.add(entry("p/1", Split.TEST, State.GOOD, id="p/1 (test)"), GOOD)
    assert tally.finish(findings=[told]).findings == (told,)
    assert not tally.finish(findings=[told]).clean
    assert [finding.detail for finding in tally.finish().findings] == ["one source in two splits: train and test"]


IMAGES = (entry("p/1", Split.TRAIN, State.GOOD), GOOD), (entry("p/2", Split.TEST, State.DEFECT), MARKED)
TWINS = (("p/1", "train"), ("p/2", "test"))


@pytest.mark.parametrize(
    ("amiss", "clean"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"copies": [Copies(True, True, TWINS)]}, False, id="equal across"),
        pytest.param({"copies": [Copies(False, True, TWINS)]}, False, id="nearly equal across"),
        pytest.param({"copies": [Copies(True, False, TWINS)]}, True, id="equal inside"),
        pytest.param({"overlaps": [Overlap("a", "p/1", "p/2", 9, ("train", "test"))]}, False, id="shared pixels"),
        pytest.param({"findings": [Finding(Code.MASK_EMPTY, Action.KEPT, "p/2", None, "")]}, True, id="a fault of a mask"),
        pytest.param({"findings": [Finding(Code.FOREIGN_FILE, Action.KEPT, "p", None, "")]}, False, id="a stranger's file"),
        pytest.param({"findings": [Finding(Code.PATH_OUTSIDE, Action.DROPPED, "p", None, "")]}, False, id="a link out"),
        pytest.param({"findings": [Finding(Code.FILE_UNREADABLE, Action.DROPPED, "p", None, "")]}, False, id="an odd name"),
        pytest.param({"findings": [Finding(Code.UNKNOWN_FOLDER, Action.DROPPED, "p/train", None, "")]}, False, id="passed over"),
        pytest.param({"findings": [Finding(Code.UNKNOWN_FOLDER, Action.DROPPED, "p/notes", None, "")]}, True, id="elsewhere"),
        pytest.param({"findings": [Finding(Code.NOT_LISTED, Action.DROPPED, "p/1.png", None, "")]}, True, id="not listed"),
        pytest.param({"findings": [Finding(Code.LEAK, Action.DROPPED, "p", None, "")]}, False, id="a leak"),
        pytest.param({"findings": [Finding(Code.LEAK, Action.KEPT, "p", None, "")]}, True, id="two black tiles of a conversion"),
    ],
)
def test_a_split_is_clean_when_nothing_stands_in_two(amiss, clean):
    assert statistics_of(*IMAGES, **amiss).clean is clean


def test_an_image_that_nobody_could_look_at_leaves_its_split_in_doubt():
    for code in (Code.IMAGE_UNREADABLE, Code.LISTED_MISSING, Code.PATH_OUTSIDE):
        tally = Tally("x", "mvtec")
        tally.add(entry("p/1", Split.TEST, State.GOOD), None, [Finding(code, Action.DROPPED, "p/1", None, "")])
        found = tally.finish()
        assert (found.clean, found.doubts) == (False, Doubts(unseen=1))
    tally = Tally("x", "mvtec")
    tally.add(entry("p/1", None, State.GOOD), None, [Finding(Code.IMAGE_UNREADABLE, Action.DROPPED, "p/1", None, "")])
    assert tally.finish().clean, "what is in no split stands in no two"


def test_why_a_split_is_doubtful_is_counted():
    tally = Tally("x", "visa")
    tally.add(entry("p/1", Split.TRAIN, State.DEFECT), MARKED)
    tally.add(entry("p/2", Split.TRAIN, State.GOOD), GOOD)
    tally.add(entry("p/2", Split.TEST, State.GOOD, id="p/2 (test)"), GOOD)
    assert tally.finish().doubts == Doubts(training=1, torn=1)
    listed = Finding(Code.LEAK, Action.KEPT, "p/2", None, "train in a.csv, line 1, test in a.csv, line 9")
    assert tally.finish(findings=[listed]).doubts == Doubts(training=1, listed=1)


def test_copies_and_overlaps_are_sorted():
    groups = [Copies(False, True, TWINS), Copies(True, False, (("p/3", ""),)), Copies(True, True, TWINS)]
    pairs = [Overlap("b", "1", "2", 1, ("", "")), Overlap("a", "9", "9", 1, ("", "")), Overlap("a", "1", "9", 1, ("", ""))]
    found = statistics_of(*IMAGES, copies=groups, overlaps=pairs)
    assert [(group.exact, group.members[0][0]) for group in found.copies] == [(True, "p/1"), (False, "p/1"), (True, "p/3")]
    assert [(pair.source, pair.first) for pair in found.overlaps] == [("a", "1"), ("a", "9"), ("b", "1")]


# The whole


def test_an_empty_data_set_has_rows_of_zeros():
    found = Tally("nothing", "mvtec").finish()
    assert found.overview == (Overview(ALL, 0, 0, 0, 0, 0, 0, None, None, None, None),)
    assert found.comparison == Comparison("nothing", 0, 0, None, 0, 0)
    assert (found.images, found.types, found.heat, found.survival, found.looks, found.clean) == (0, (), (), (), (), True)
    assert {name: spread.quantiles for name, spread in found.area_ratio.items()} == {ALL: None}


def test_a_category_called_all_is_not_mixed_up_with_the_sum():
    found = statistics_of((entry("All/1", Split.TEST, State.GOOD), GOOD), (entry("a/1", Split.TRAIN, State.GOOD), GOOD))
    assert [(row.category, row.test, row.train) for row in found.overview] == [("All (category)", 1, 0), ("a", 0, 1), (ALL, 1, 1)]
    assert list(found.area_ratio) == ["All (category)", "a", ALL]


def test_two_categories_that_would_be_called_alike_stay_two():
    names = (ALL, "All (category)", "All (category) (category)")
    found = statistics_of(*((entry(f"{name}/1", Split.TEST, State.GOOD), GOOD) for name in names))
    assert sorted(row.category for row in found.overview) == sorted([*names, "All (category) (category) (category)"])
    assert [row.test for row in found.overview] == [1, 1, 1, 3]


def test_statistics_hold_plain_values_only():
    found = statistics_of(*IMAGES)
    assert {type(value) for value in found.area_ratio[ALL].histogram.counts} == {int}
    assert type(found.area_ratio[ALL].quantiles.q50) is float
    assert isinstance(found.survival[0], Survival)
    assert isinstance(found.looks[0], Looks)
    assert hash(found.overview[0]) == hash(replace(found.overview[0]))


def test_what_is_kept_of_an_image_with_three_spots_is_600_bytes_at_most():
    count = 5_000
    found = measured(*(spot(area, "dent", lost=("nearest-256",)) for area in (3, 80, 2000)), heat=bytes(range(256)) * 4)
    tally = Tally("large", "mvtec")
    tally.add(entry("p/0", Split.TEST, State.DEFECT, "dent"), found)
    tracemalloc.start()
    try:
        for number in range(1, count):
            tally.add(entry(f"p/test/dent/{number:06}.png", Split.TEST, State.DEFECT, "dent"), found)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / count < 600
    assert tally.finish().area_ratio[ALL].quantiles.count == 3 * count
