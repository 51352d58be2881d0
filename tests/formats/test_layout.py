"""Names on disk that every file system and every reader of MVTec's layout takes."""

from __future__ import annotations

import pytest

from threecad.domain import Size, Split, Window
from threecad.formats.layout import (
    RESERVED_CATEGORIES,
    RESERVED_TYPES,
    folder,
    folders,
    place,
    stem,
    type_folder,
)

SIZE = Size(1024, 1024)


def test_a_stem_tells_its_image_and_its_place_and_holds_no_dot() -> None:
    name = stem("cam.1/part 0.7 (b).jpeg", Window(820, 1640, SIZE))
    assert name.startswith("part_0_7_b-")
    assert name.endswith("-000820-001640")
    assert "." not in name


def test_images_of_one_name_in_two_folders_have_different_stems() -> None:
    window = Window(0, 0, SIZE)
    assert stem("a/001.png", window) != stem("b/001.png", window)
    assert stem("a/001.png", window) != stem("a/001.jpg", window)


def test_a_name_without_any_ascii_still_gives_a_stem() -> None:
    assert stem("铝型材/划痕.jpg", Window(0, 0, SIZE)).startswith("tile-")


def test_a_file_name_that_is_no_utf_8_still_gives_a_stem() -> None:
    assert stem("bad\udcff name.png", Window(0, 0, SIZE)).startswith("bad_name-")


def test_a_very_long_name_is_cut() -> None:
    assert len(stem("x" * 240 + ".png", Window(0, 0, SIZE))) < 80


def test_a_place_beyond_a_million_pixels_is_no_continuation_of_a_nearer_one() -> None:
    near, far = (stem("a.png", Window(0, left, SIZE)) for left in (100_000, 1_000_000))
    assert not far.startswith(near)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("划痕", "划痕"),
        ("Kratzer tief", "Kratzer_tief"),
        ("a/b\\c:d*e?f", "a_b_c_d_e_f"),
        ("..", "unnamed"),
        ("../../etc", "etc"),
        ("-rf", "rf"),
        (" spot. ", "spot"),
        ("COM1", "COM1_"),
        ("con.txt", "con_txt"),
        ("", "unnamed"),
        ("a+b", "a_b"),
        ("zero\u200bwidth", "zero_width"),
        ("bad\udcff", "bad"),
        ("e\u0301", "é"),
    ],
)
def test_a_folder_keeps_letters_and_loses_what_a_file_system_may_refuse(label: str, expected: str) -> None:
    assert folder(label) == expected


def test_long_labels_of_one_beginning_get_different_folders() -> None:
    names = {folder("划" * 200 + end) for end in "ab"}
    assert len(names) == 2
    assert all(len(name.encode()) <= 80 for name in names)


def test_labels_that_a_file_system_may_confuse_get_different_folders_in_any_order() -> None:
    labels = ["Scratch", "scratch", "ｓcratch", "dent", "a b", "a_b"]
    named = folders(labels)
    assert named == folders(reversed(labels))
    assert len({name.casefold() for name in named.values()}) == len(labels)
    assert named["dent"] == "dent"


def test_a_suffixed_folder_does_not_hit_a_label_that_looks_like_it() -> None:
    suffixed = folders(["good"], RESERVED_TYPES)["good"]
    named = folders(["good", suffixed], RESERVED_TYPES)
    assert named[suffixed] == suffixed
    assert named["good"] not in (suffixed, "good")


@pytest.mark.parametrize("name", ["good", "Good", "combined", "ground_truth"])
def test_a_type_never_takes_a_reserved_folder(name: str) -> None:
    assert folders([name], RESERVED_TYPES)[name].casefold() not in RESERVED_TYPES


@pytest.mark.parametrize("name", ["types", "Validation", ".git", "train"])
def test_a_category_never_takes_a_folder_that_stands_beside_it(name: str) -> None:
    found = folders([name], RESERVED_CATEGORIES)[name]
    assert found.casefold() not in RESERVED_CATEGORIES
    assert not found.startswith(".")


def test_a_tile_of_one_type_goes_to_its_folder_under_every_rule() -> None:
    assert {type_folder(["a"], [5], rule, {"a": "A"}) for rule in ("combined", "dominant", "joined")} == {"A"}


def test_of_two_equal_areas_the_first_in_the_alphabet_dominates() -> None:
    names = {"a": "A", "b": "B"}
    assert type_folder(["b", "a"], [5, 5], "dominant", names) == "A"
    assert type_folder(["b", "a"], [6, 5], "dominant", names) == "B"


def test_many_joined_types_still_fit_a_file_name() -> None:
    names = {f"{number:02d}": "x" * 70 + f"{number:02d}" for number in range(9)}
    few, more = (type_folder(sorted(names)[:count], [1] * count, "joined", names) for count in (8, 9))
    assert few != more
    assert len(more.encode()) <= 200


def test_a_category_folder_holds_only_what_readers_of_the_layout_know() -> None:
    paths = [
        path
        for split in Split
        for kind in ("good", "dent")
        for place_ in [place("bottle", split, kind, "x", "_mask")]
        for path in (place_.image, place_.mask, place_.types, place_.ignore)
        if path
    ]
    inside = {path for path in paths if path.startswith("bottle/")}
    assert inside == {
        "bottle/train/good/x.png",
        "bottle/train/dent/x.png",
        "bottle/test/good/x.png",
        "bottle/test/dent/x.png",
        "bottle/ground_truth/dent/x_mask.png",
    }
    assert "validation/bottle/ground_truth/dent/x_mask.png" in paths


def test_a_good_tile_has_no_mask() -> None:
    assert place("bottle", Split.TEST, "good", "x", "").mask is None
