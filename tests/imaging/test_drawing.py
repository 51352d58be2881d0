"""Pictures for people: what stands at which pixel, what the strip says, and that nothing that was drawn can break them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from threecad.domain import Action, Code, Finding, Shape, Size, State, Tile, Window
from threecad.imaging import drawing
from threecad.imaging.drawing import CROSSING, PALETTE, STATES, Frame, Scene, crossings, draw, frame, numbered, traces

GRAY = 100
BOW_TIE = Shape(0, "dent", "polygon", ((100.0, 100.0), (300.0, 300.0), (300.0, 100.0), (100.0, 300.0)))


def plain(height: int = 800, width: int = 800) -> np.ndarray:
    return np.full((height, width), GRAY, np.uint8)


def drawn(scene: Scene, longest: int = 1600) -> np.ndarray:
    """The picture of the whole image without its strip."""
    size = Size(*scene.pixels.shape[:2])
    shown = frame(size, longest)
    picture, _ = draw(scene, shown)
    return picture[: shown.size.height, : shown.size.width]


def blended(colour: tuple[int, int, int], under: int = GRAY) -> list[int]:
    return [round(0.62 * under + 0.38 * value) for value in colour]


def near(pixel: Any, colour: Any, by: int = 1) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - np.asarray(colour, int)).max() <= by)


def found(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """The number of pixels of exactly that colour."""
    return int((picture == np.array(colour)).all(axis=2).sum())


# The preview of a tile, which conversions write


def test_a_preview_outlines_each_defect_one_pixel_wide_in_magenta() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 255
    tile = Tile("a.png", Window(0, 0, Size(40, 60)), plain(40, 60), mask, mask, None, State.DEFECT, ())
    picture = drawing.preview(tile)
    assert picture.shape == (40, 60, 3)
    assert found(picture, drawing.LINE) == 2 * 20 + 2 * 8
    assert picture[15, 15].tolist() == [GRAY] * 3


# Frames


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        (Size(800, 800), 1600, Size(800, 800)),
        (Size(3000, 4000), 1600, Size(1200, 1600)),
        (Size(1, 1), 1600, Size(32, 32)),
        (Size(256, 256), 1600, Size(768, 768)),
        (Size(256, 256), 300, Size(256, 256)),
        (Size(1, 100_000), 1600, Size(1, 1600)),
    ],
)
def test_an_image_is_shrunk_to_the_longest_side_or_enlarged_by_a_whole_factor(size: Size, longest: int, expected: Size) -> None:
    assert frame(size, longest).size == expected


@pytest.mark.parametrize(
    "around", [(-500.0, -500.0, -400.0, -400.0), (90.0, 40.0, 1e7, 60.0), (100.0, 50.0, 100.0, 50.0), (3.0, 4.0, 3.0, 4.0)]
)
def test_the_frame_around_a_shape_lies_in_the_image_and_is_never_empty(around: tuple[float, float, float, float]) -> None:
    window = frame(Size(50, 100), 1600, around).window
    assert 0 <= window.top < window.top + window.size.height <= 50
    assert 0 <= window.left < window.left + window.size.width <= 100


# Masks and outlines


def test_a_mask_shines_through_in_its_types_colour_and_all_else_stays_as_it_is() -> None:
    inks = np.zeros((800, 800), np.uint8)
    inks[100:200, 100:200] = 1
    inks[100:200, 400:500] = 2
    picture = drawn(Scene(plain(), "a.png", (), ["dent", "scratch"], inks))
    assert near(picture[150, 150], blended(PALETTE[0]))
    assert near(picture[150, 450], blended(PALETTE[1]))
    assert picture[150, 300].tolist() == [GRAY] * 3
    assert picture[700, 700].tolist() == [GRAY] * 3


def test_a_mask_without_outlines_is_outlined_along_its_own_pixels() -> None:
    inks = np.zeros((800, 800), np.uint8)
    inks[100:200, 100:200] = 1
    picture = drawn(Scene(plain(), "a.png", (), ["dent"], inks))
    assert picture[150, 100].tolist() == list(PALETTE[0])
    assert near(picture[150, 99], [GRAY // 3] * 3)


def test_a_region_is_outlined_in_its_types_colour_where_it_lies() -> None:
    scene = Scene(plain(), "a.png", (), ["dent", "scratch"], outlines=[(2, [shapely.box(100, 100, 200, 200)])])
    picture = drawn(scene)
    assert near(picture[150, 100], PALETTE[1], 60)
    assert near(picture[150, 199], PALETTE[1], 60)
    assert picture[150, 150].tolist() == [GRAY] * 3
    assert [key.text for key in draw(scene, frame(Size(800, 800), 1600))[1]] == ["scratch"]


def test_outlines_stay_two_pixels_wide_on_an_image_that_is_shrunk() -> None:
    outlines = [(1, [shapely.box(800, 800, 2400, 2400)])]
    picture = drawn(Scene(plain(3200, 3200), "a.png", (), ["dent"], outlines=outlines), longest=800)
    row = (picture[400] != GRAY).any(axis=1)
    assert picture.shape == (800, 800, 3)
    assert 3 <= row[190:210].sum() <= 8  # the dark line below it and smooth edges included


def test_what_is_to_be_ignored_is_hatched() -> None:
    inks = np.zeros((800, 800), np.uint8)
    inks[100:300, 100:300] = 2
    picture = drawn(Scene(plain(), "a.png", (), ["dent", None], inks))
    inside = picture[150:250, 150:250].reshape(-1, 3)
    assert {tuple(pixel) for pixel in inside.tolist()} == {(GRAY,) * 3, tuple(blended(drawing.IGNORED))}


def test_a_defect_of_one_pixel_is_still_seen_when_its_tile_is_shrunk() -> None:
    inks = np.zeros((2000, 2000), np.uint8)
    inks[1003, 707] = 1
    picture = drawn(Scene(plain(2000, 2000), "a.png", (), ["dent"], inks), longest=400)
    assert found(picture, PALETTE[0])


def test_the_pixels_handed_in_are_left_alone_and_may_be_read_only_views() -> None:
    pixels = np.arange(400 * 300, dtype=np.uint16).reshape(400, 300)[::-1, ::-1]
    pixels.flags.writeable = False
    before = pixels.copy()
    draw(Scene(pixels, "a.png", drawn=[(BOW_TIE, Action.QUEUED)]), frame(Size(400, 300), 1600))
    assert (pixels == before).all()


def test_sixteen_bits_are_spread_and_a_hot_pixel_does_not_darken_the_rest() -> None:
    pixels = np.tile(np.linspace(2000, 4000, 800).astype(np.uint16), (800, 1))
    pixels[5, 5] = 65_535
    picture = drawn(Scene(pixels, "a.png"))
    assert picture[400, 0].tolist() == [0, 0, 0]
    assert picture[400, 799].tolist() == [255, 255, 255]
    assert near(picture[400, 400], [128] * 3, 2)


# Shapes as drawn


def test_a_queued_bow_tie_is_dashed_its_vertices_are_dots_and_its_crossing_is_marked() -> None:
    scene = Scene(plain(), "a.png", drawn=[(BOW_TIE, Action.QUEUED)])
    picture = drawn(scene)
    assert near(picture[200, 193], CROSSING, 40)  # the diamond's left tip, seven pixels from (200, 200)
    assert near(picture[193, 200], CROSSING, 40)
    assert picture[100, 100].tolist() == [255, 255, 255]
    edge = picture[120:280, 300].tolist()
    assert any(near(pixel, drawing.AS_DRAWN) for pixel in edge)
    assert any(near(pixel, (255, 255, 255)) for pixel in edge)
    assert picture[200, 130].tolist() == [GRAY] * 3  # nothing is filled
    assert [key.text for key in draw(scene, frame(Size(800, 800), 1600))[1]] == ["queued, as drawn (1)", "crosses itself (1)"]


def test_every_vertex_of_a_queued_shape_has_a_number_beside_it() -> None:
    picture = drawn(Scene(plain(), "a.png", drawn=[(BOW_TIE, Action.QUEUED)]))
    for x, y in BOW_TIE.points:
        beside = picture[int(y) - 20 : int(y) - 5, int(x) + 4 : int(x) + 16]
        assert found(beside, (255, 255, 255))
        assert found(beside, (0, 0, 0))


def test_a_dropped_shape_is_drawn_without_numbers() -> None:
    _, legend = draw(Scene(plain(), "a.png", drawn=[(BOW_TIE, Action.DROPPED)]), frame(Size(800, 800), 1600))
    assert [key.style for key in legend] == ["dropped"]


def test_crossings_are_those_of_a_pentagram_and_a_square_has_none() -> None:
    tips = [(math.sin(0.8 * math.pi * k), math.cos(0.8 * math.pi * k)) for k in range(6)]
    assert len(crossings(np.array(tips))) == 5
    assert len(crossings(np.array([(0, 0), (9, 0), (9, 9), (0, 9), (0, 0)], float))) == 0


def test_a_touch_at_a_corner_and_an_edge_walked_twice_are_no_crossings() -> None:
    pinch = [(0, 0), (4, 4), (8, 0), (8, 8), (4, 4), (0, 8), (0, 0)]
    spike = [(0, 0), (9, 0), (9, 9), (9, 0), (0, 0)]
    assert not len(crossings(np.array(pinch, float)))
    assert not len(crossings(np.array(spike, float)))


def test_no_time_is_spent_on_the_crossings_of_an_endless_tangle() -> None:
    tangle = np.random.default_rng(1).uniform(0, 1000, (5_000, 2))
    assert not len(crossings(tangle))


@pytest.mark.parametrize(
    ("shape", "corners", "closed"),
    [
        (Shape(0, "", "polygon", ((0.0, 0.0), (5.0, 0.0), (5.0, 5.0))), 4, True),
        (Shape(0, "", "polygon", ((0.0, 0.0), (5.0, 0.0))), 2, False),
        (Shape(0, "", "linestrip", ((0.0, 0.0), (5.0, 0.0), (5.0, 5.0))), 3, False),
        (Shape(0, "", "circle", ((5.0, 5.0), (8.0, 5.0))), 97, True),
        (Shape(0, "", "mask", ((1.0, 1.0), (4.0, 4.0))), 5, True),
        (Shape(0, "", "point", ((1.0, 1.0),)), 1, True),
        (Shape(0, "", "spline", ((0.0, 0.0), (5.0, 0.0), (math.nan, 5.0), (1e9, 3.0), (5.0, 5.0))), 4, True),
    ],
)
def test_a_shape_is_traced_as_it_was_drawn(shape: Shape, corners: int, closed: bool) -> None:
    [line] = traces(shape)
    assert len(line) == corners
    assert np.allclose(line[0], line[-1]) is closed


COORDINATE = st.one_of(st.floats(), st.floats(-50, 150), st.integers(-2, 120).map(float))
KINDS = ["", "polygon", "rectangle", "oriented_rectangle", "circle", "line", "linestrip", "point", "points", "mask", "spline"]


@profile(max_examples=60)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), max_size=8), st.sampled_from(KINDS), st.sampled_from(list(Action)))
def test_no_shape_breaks_the_picture(points: list[tuple[float, float]], kind: str, action: Action) -> None:
    shape = Shape(0, "dent", kind, tuple(points))
    place = points[0] if points else None
    finding = Finding(Code.NO_AREA, Action.QUEUED, "a.png", 0, "", place)
    picture, _ = draw(Scene(plain(60, 90), "a.png", drawn=[(shape, action)], findings=[finding]), frame(Size(60, 90), 1600))
    assert picture.dtype == np.uint8
    assert picture.shape[1] >= 640


# Windows


def test_windows_are_dashed_in_the_colour_of_their_state_and_counted() -> None:
    windows = [(Window(0, 400 * k, Size(400, 400)), state) for k, state in enumerate((State.GOOD, State.DEFECT))]
    windows += [(Window(400, 400 * k, Size(400, 400)), state) for k, state in enumerate((State.AMBIGUOUS, State.POISONED))]
    scene = Scene(plain(), "a.png", windows=windows)
    picture, legend = draw(scene, frame(Size(800, 800), 1600))
    for window, state in windows:
        inner = picture[window.top + 100 : window.top + 300, window.left : window.left + 12].reshape(-1, 3).tolist()
        assert any(near(pixel, STATES[state], 20) for pixel in inner)
        others = [colour for other, colour in STATES.items() if other is not state]
        assert not any(near(pixel, colour, 20) for pixel in inner for colour in others)
    assert [key.text for key in legend] == [f"{state} window (1)" for state in State]


def test_windows_that_overlap_are_drawn_apart() -> None:
    windows = [(Window(0, 0, Size(800, 500)), State.GOOD), (Window(0, 300, Size(800, 500)), State.GOOD)]
    picture = drawn(Scene(plain(), "a.png", windows=windows))
    left, right = (~(picture[400:480, columns] == GRAY).all(axis=(0, 2)) for columns in (slice(290, 330), slice(480, 520)))
    assert left[10 + 5 : 10 + 10].any()  # the second lies deeper within itself
    assert right[20 - 5 : 20].any()


# Findings, numbers, letters


def test_findings_are_numbered_with_what_waits_for_a_person_first() -> None:
    kept = Finding(Code.IGNORE_AREA, Action.KEPT, "a.png", 0, "", (5.0, 5.0))
    queued = Finding(Code.NO_AREA, Action.QUEUED, "a.png", 7, "", (5.0, 5.0))
    nowhere = Finding(Code.EMBEDDED_IMAGE, Action.KEPT, "a.png", None, "")
    assert numbered([nowhere, kept, queued]) == [(1, queued), (2, kept), (None, nowhere)]


def test_a_finding_has_a_ring_at_its_place() -> None:
    findings = [Finding(Code.NO_AREA, Action.QUEUED, "a.png", 0, "", (400.0, 300.0))]
    picture = drawn(Scene(plain(), "a.png", findings=findings))
    assert picture[300, 400].tolist() == [GRAY] * 3
    assert near(picture[300, 389], (200, 20, 100), 40)
    assert near(picture[300, 410], (200, 20, 100), 40)


def test_a_place_outside_the_frame_is_not_marked() -> None:
    findings = [Finding(Code.NO_AREA, Action.QUEUED, "a.png", 0, "", (400.0, 300.0))]
    shown = Frame(Window(0, 0, Size(200, 200)), Size(200, 200))
    picture, _ = draw(Scene(plain(), "a.png", findings=findings), shown)
    assert (picture[:200, :200] == GRAY).all()


def test_a_label_is_shown_as_it_is_or_by_number_where_the_font_has_no_letters_for_it() -> None:
    inks = np.array([[1, 2, 3, 4, 5]], np.uint8)
    names = ["Kratzer é", "划痕", "line\nbreak", "\x1b[31mred", "خدش"]
    _, legend = draw(Scene(plain(1, 5), "a.png", (), names, inks), frame(Size(1, 5), 1600))
    assert [key.text for key in legend] == ["Kratzer é", "type 2", "type 3", "type 4", "type 5"]
    assert [key.name for key in legend] == names


def test_a_label_of_three_hundred_letters_does_not_widen_the_strip() -> None:
    inks = np.array([[1, 2]], np.uint8)
    picture, legend = draw(Scene(plain(1, 2), "x" * 500, ("y" * 900,), ["w" * 300, "dent"], inks), frame(Size(1, 2), 1600))
    assert picture.shape[1] == 640
    assert picture.shape[0] < 250
    assert legend[0].name == "w" * 300


def test_from_the_eighth_type_on_colours_return_and_types_are_told_by_number() -> None:
    names = [f"type {letter}" for letter in "abcdefghi"]
    outlines = [(ink, [shapely.box(80 * ink, 100, 80 * ink + 40, 140)]) for ink in range(1, 10)]
    _, legend = draw(Scene(plain(), "a.png", (), names, outlines=outlines), frame(Size(800, 800), 1600))
    assert [key.text for key in legend][::8] == ["t1 type a", "t9 type i"]
    assert legend[7].colour == legend[0].colour == PALETTE[0]
    assert len({key.colour for key in legend[:7]}) == 7


def test_the_strip_lists_findings_of_one_kind_in_one_line() -> None:
    few, many = (
        [Finding(Code.CLIPPED, Action.REPAIRED, "a.png", k, "", (10.0 * k, 10.0)) for k in range(count)] for count in (1, 60)
    )
    heights = [draw(Scene(plain(), "a.png", findings=each), frame(Size(800, 800), 1600))[0].shape[0] for each in (few, many)]
    assert heights[0] == heights[1]


def test_five_thousand_shapes_are_drawn() -> None:
    random = np.random.default_rng(3)
    corners = random.uniform(0, 780, (5_000, 2))
    boxes = [shapely.box(x, y, x + 15, y + 10) for x, y in corners.tolist()]
    ties = [
        Shape(k, "", "polygon", ((x, y), (x + 9, y + 9), (x + 9, y), (x, y + 9))) for k, (x, y) in enumerate(corners.tolist())
    ]
    findings = [Finding(Code.READINGS_DISAGREE, Action.QUEUED, "a.png", tie.index, "", tie.points[0]) for tie in ties]
    scene = Scene(plain(), "a.png", (), ["dent"], None, [(1, boxes)], [(tie, Action.QUEUED) for tie in ties], findings=findings)
    _, legend = draw(scene, frame(Size(800, 800), 1600))
    assert [key.text for key in legend] == ["dent", "queued, as drawn (5000)", "crosses itself (5000)"]


def test_the_same_scene_gives_the_same_pixels() -> None:
    inks = np.eye(300, dtype=np.uint8)
    scene = Scene(plain(300, 300), "a.png", ("300 px",), ["dent"], inks, drawn=[(BOW_TIE, Action.QUEUED)])
    first, second = (draw(scene, frame(Size(300, 300), 1600))[0] for _ in range(2))
    assert (first == second).all()
