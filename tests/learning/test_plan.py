"""Who trains, who is held out and who tests, and what the user is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threecad.domain import Entry, Split, State
from threecad.errors import LayoutError, ReadError
from threecad.formats.folders import Row
from threecad.formats.layouts import Request
from threecad.formats.png import encode_png
from threecad.learning import plan as planning
from threecad.learning.config import Data
from threecad.learning.plan import Plan, plan

GRAY = encode_png(np.full((6, 8), 90, np.uint8))
EMPTY = encode_png(np.zeros((6, 8), np.uint8))
SPOT = encode_png(np.pad(np.full((2, 2), 255, np.uint8), ((1, 3), (2, 4))))


def draw(root: Path, files: dict[str, int], data: bytes = GRAY) -> Path:
    """So many images in each of the folders."""
    for folder, count in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number:03}.png").write_bytes(data)
    return root


def ids(part: Any) -> list[str]:
    return [row.id for row in part.rows]


def only(root: Path, settings: Data | None = None, **more: Any) -> tuple[Plan, list[str]]:
    (found,), notes = plan(root, settings or Data(), **more)
    return found, notes


def test_good_images_of_split_train_train_and_all_of_split_test_test(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 20, "nut/test/good": 3, "nut/test/dent": 4})
    found, notes = only(tmp_path)
    assert (found.name, found.categories) == ("nut", ("nut",))
    assert len(found.train) == 18
    assert len(found.validation) == 2
    assert sorted(ids(found.train) + ids(found.validation)) == [f"nut/train/good/{number:03}.png" for number in range(20)]
    assert len(found.test) == 7
    assert notes == []
    assert found.train[0]["gt_label"] == 0
    assert found.test[0]["type"] == "dent"


def test_a_defective_image_of_split_train_is_left_out_and_told(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 20, "nut/train/dent": 2, "nut/test/good": 1})
    found, notes = only(tmp_path)
    assert all("/good/" in name for part in (found.train, found.validation, found.test) for name in ids(part))
    assert notes == ["nut: 2 defective images of split train left out; only good images train."]


def test_a_validation_split_of_the_data_set_validates_and_nothing_is_held_out(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 20, "nut/validation/good": 3, "nut/validation/dent": 1, "nut/test/good": 1})
    found, notes = only(tmp_path)
    assert (len(found.train), len(found.validation)) == (20, 3)
    assert notes == ["nut: 1 defective image of split validation left out; only good images validate."]


def test_a_validation_split_without_good_images_does_not_count(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 20, "nut/validation/dent": 2, "nut/test/good": 1})
    found, _ = only(tmp_path)
    assert (len(found.train), len(found.validation)) == (18, 2)


@pytest.mark.parametrize(("count", "share", "held"), [(5, 0.01, 1), (4, 0.5, 0), (20, 0.0, 0), (30, 0.1, 3), (5, 0.99, 4)])
def test_the_share_held_out_is_of_the_training_images(tmp_path: Path, count: int, share: float, held: int) -> None:
    draw(tmp_path, {"train/good": count, "test/good": 1})
    found, notes = only(tmp_path, Data(validation=share))
    assert (len(found.train), len(found.validation)) == (count - held, held)
    assert any("the threshold will come from the training images" in note for note in notes) is (held == 0)


def test_without_held_out_images_the_note_says_why(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 4, "nut/test/good": 1})
    assert only(tmp_path)[1] == [
        "nut: no image is held out (fewer than 5 sources train), so the threshold will come from the training images."
    ]
    assert "(data.validation is 0)" in only(tmp_path, Data(validation=0))[1][0]


def test_another_seed_holds_out_others_and_the_same_seed_the_same(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 40, "nut/test/good": 1})
    held = [ids(only(tmp_path, Data(), seed=seed)[0].validation) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_a_new_image_moves_at_most_one_other(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 30, "nut/test/good": 1})
    before = set(ids(only(tmp_path)[0].validation))
    (tmp_path / "nut/train/good/new.png").write_bytes(GRAY)
    after = set(ids(only(tmp_path)[0].validation))
    assert len((before ^ after) - {"nut/train/good/new.png"}) <= 1


def test_a_single_image_trains_and_is_told(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 1, "nut/test/good": 1})
    found, notes = only(tmp_path)
    assert (len(found.train), len(found.validation)) == (1, 0)
    assert notes[0] == "nut: a single image trains."


def test_without_any_test_image_the_note_says_that_nothing_can_be_measured(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 10})
    found, notes = only(tmp_path)
    assert len(found.test) == 0
    assert notes[-1] == "nut: no image tests, so nothing can be measured."


def test_there_is_a_plan_for_each_category_or_one_for_all(tmp_path: Path) -> None:
    for name in ("nut", "bolt", "screw"):
        draw(tmp_path, {f"{name}/train/good": 10, f"{name}/test/dent": 2})
    plans, _ = plan(tmp_path, Data())
    assert [each.name for each in plans] == ["bolt", "nut", "screw"]
    joint, _ = only(tmp_path, Data(joint=True), categories=["screw", "nut"])
    assert (joint.name, joint.categories) == ("joint", ("nut", "screw"))
    assert sorted(ids(joint.validation)) == sorted(ids(plans[1].validation) + ids(plans[2].validation))
    assert len(joint.train) + len(joint.validation) == 20
    assert len(joint.test) == 4
    assert [each.name for each in plan(tmp_path, Data(), categories=["nut"])[0]] == ["nut"]


# Data sets without splits


def unsplit(root: Path, good: int, defective: int) -> Path:
    """A pair of folders, where the masks alone tell."""
    draw(root, {"images": good + defective})
    (root / "masks").mkdir()
    for number in range(good + defective):
        (root / "masks" / f"{number:03}.png").write_bytes(EMPTY if number < good else SPOT)
    return root


def test_without_splits_a_share_of_the_good_images_tests_with_all_defective_ones(tmp_path: Path) -> None:
    found, notes = only(unsplit(tmp_path / "nut", 20, 5))
    assert len(found.test) == 6 + 5
    assert (len(found.train), len(found.validation)) == (13, 1)
    assert not set(ids(found.test)) & set(ids(found.train) + ids(found.validation))
    assert [item["gt_label"] for item in found.test].count(1) == 5
    assert all(item["gt_label"] == 0 for part in (found.train, found.validation) for item in part)
    assert notes == ["nut: no split is given, so 6 of 20 good images and the 5 others test, chosen by seed 0."]


def test_a_mask_that_must_decide_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    unsplit(tmp_path, 6, 2)
    (tmp_path / "masks" / "003.png").write_bytes(SPOT[:40])
    with pytest.raises(ReadError, match=r"masks/003\.png"):
        plan(tmp_path, Data())


def test_an_image_without_mask_of_which_nothing_tells_is_left_out_and_told(tmp_path: Path) -> None:
    unsplit(tmp_path / "nut", 10, 2)
    (tmp_path / "nut" / "masks" / "004.png").unlink()
    found, notes = only(tmp_path / "nut")
    assert "images/004.png" not in ids(found.train) + ids(found.validation) + ids(found.test)
    assert len(found.train) + len(found.validation) + len(found.test) == 11
    assert "1 image left out, for nothing says whether they are good" in notes[1]


@pytest.mark.parametrize("folder", ["train", "pictures"])
def test_images_that_nothing_vouches_for_are_refused_with_what_would(tmp_path: Path, folder: str) -> None:
    draw(tmp_path, {folder: 9})
    with pytest.raises(LayoutError, match=r"none of them known to be good \(neither a mask nor a folder called good"):
        plan(tmp_path, Data())


def test_a_request_says_what_the_folders_do_not(tmp_path: Path) -> None:
    unsplit(tmp_path / "x", 10, 2)
    (tmp_path / "x" / "images").rename(tmp_path / "x" / "eins")
    (tmp_path / "x" / "masks").rename(tmp_path / "x" / "zwei")
    found, _ = only(tmp_path / "x", request=Request(images="eins", masks="zwei"))
    assert len(found.test) == 3 + 2


# What cannot be planned


def test_an_unknown_category_is_refused_with_those_there_are(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 2, "bolt/train/good": 2})
    with pytest.raises(LayoutError, match=r"no category 'screw'; found bolt, nut"):
        plan(tmp_path, Data(), categories=["nut", "screw"])


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"nut/train/dent": 3, "nut/test/good": 1}, "found 3 images of split train, none of them good"),
        ({"nut/test/good": 2, "nut/test/dent": 1}, "found 3 images, none of split train"),
    ],
)
def test_a_category_without_a_good_training_image_is_refused(tmp_path: Path, files: dict[str, int], found: str) -> None:
    draw(tmp_path, {**files, "bolt/train/good": 3})
    with pytest.raises(LayoutError, match=rf"category 'nut': {found}; expected at least one good image"):
        plan(tmp_path, Data())
    assert plan(tmp_path, Data(), categories=["bolt"])[0][0].name == "bolt"


def test_a_data_set_without_splits_whose_images_are_all_defective_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"found 4 images, none of them good"):
        plan(unsplit(tmp_path, 0, 4), Data())


def test_a_single_good_image_without_splits_trains(tmp_path: Path) -> None:
    found, notes = only(unsplit(tmp_path / "nut", 1, 2))
    assert (len(found.train), len(found.test)) == (1, 2)
    assert "so 0 of 1 good image and the 2 others test" in notes[0]


@pytest.mark.parametrize("content", [None, "", "notes.txt"])
def test_a_folder_without_a_data_set_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x").mkdir()
    if content:
        (tmp_path / "x" / content).write_text("nothing")
    with pytest.raises(LayoutError, match="x"):
        plan(tmp_path / "x", Data())


def test_names_that_would_upset_a_terminal_are_escaped_in_notes(tmp_path: Path) -> None:
    draw(tmp_path, {"nut\x1b[2J/train/good": 1, "nut\x1b[2J/test/good": 1})
    _, notes = only(tmp_path)
    assert notes
    assert all(note.isprintable() for note in notes)


# Sources


def row(name: str, split: Split | None, source: str, state: State = State.GOOD) -> Row:
    kind = "good" if state is State.GOOD else "dent"
    return Row(name, "nut", split, kind, "", name, "", Entry(name, "nut", split, state, (), name, (), source))


def parts(rows: list[Row], settings: Data, seed: int = 0) -> Any:
    return planning._parts(Path("data"), "nut", [(each, not each.defective) for each in rows], settings, seed)


SOURCES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=60)


@given(SOURCES, st.floats(0, 0.99), st.integers(0, 5))
def test_no_source_is_held_out_in_part(sources: list[tuple[int, bool]], share: float, seed: int) -> None:
    rows = [row(f"{number}", Split.TRAIN, f"source {source}") for number, (source, _) in enumerate(sources)]
    found = parts(rows, Data(validation=share), seed)
    trained, held = ({each.entry.source for each in part} for part in (found.train, found.validation))
    assert trained
    assert not trained & held
    assert sorted(found.train + found.validation) == sorted(rows)
    assert bool(held) is (share > 0 and len({source for source, _ in sources}) >= 5)


@given(SOURCES, st.floats(0.01, 0.99), st.integers(0, 5))
def test_without_splits_no_source_that_shows_a_defect_trains(sources: list[tuple[int, bool]], share: float, seed: int) -> None:
    rows = [
        row(f"{number}", None, f"source {source}", State.GOOD if good else State.DEFECT)
        for number, (source, good) in enumerate(sources)
    ]
    flawed = {source for source, good in sources if not good}
    if not {source for source, _ in sources} - flawed:
        with pytest.raises(LayoutError):
            parts(rows, Data(test_good=share), seed)
        return
    found = parts(rows, Data(test_good=share), seed)
    trained, held, tested = ({each.entry.source for each in part} for part in (found.train, found.validation, found.test))
    assert not trained & held
    assert not (trained | held) & tested
    assert {f"source {source}" for source in flawed} <= tested
    assert sorted(found.train + found.validation + found.test) == sorted(rows)


def test_the_order_of_the_rows_changes_nothing_but_their_order() -> None:
    rows = [row(f"{number}", Split.TRAIN, f"{number}") for number in range(30)]
    there, back = parts(rows, Data()), parts(rows[::-1], Data())
    assert there.validation == back.validation[::-1]
    assert there.train == back.train[::-1]


def test_a_source_that_both_trains_and_tests_is_told() -> None:
    rows = [row(f"{number}", Split.TRAIN, f"{number}") for number in range(4)] + [row("again", Split.TEST, "2")]
    assert parts(rows, Data()).notes == ["nut: 1 source, such as 2, both train and test: a leak."]


def test_an_image_of_no_split_among_others_that_have_one_is_left_out_and_told() -> None:
    rows = [row("a", Split.TRAIN, "a"), row("b", None, "b")]
    found = parts(rows, Data())
    assert [each.id for each in found.train] == ["a"]
    assert found.notes == ["nut: 1 image of no split left out, since others have one."]


def test_a_name_that_is_no_text_is_hashed_all_the_same() -> None:
    rows = [row(f"\ud800{number}", Split.TRAIN, f"\ud800{number}") for number in range(6)]
    assert len(parts(rows, Data()).validation) == 1


# Real data


def test_magnetic_tiles_have_no_split_and_get_one(shared: Path) -> None:
    found, notes = only(shared / "magnetic_tile_dev")
    assert (len(found.train), len(found.validation), len(found.test)) == (95, 10, 45 + 100)
    assert notes == ["magnetic_tile_dev: no split is given, so 45 of 150 good images and the 100 others test, chosen by seed 0."]
    assert found.train[0]["gt_label"] == 0


def test_where_everything_is_of_split_train_with_the_defective_images_that_is_no_split(tmp_path: Path) -> None:
    draw(tmp_path, {"nut/train/good": 10, "nut/train/dent": 2})
    found, notes = only(tmp_path)
    assert (len(found.train) + len(found.validation), len(found.test)) == (7, 3 + 2)
    assert notes == ["nut: no split is given, so 3 of 10 good images and the 2 others test, chosen by seed 0."]


def test_the_cracked_cookies_of_split_train_do_not_train_but_test(shared: Path) -> None:
    found, notes = only(shared / "cookie")
    assert (len(found.train), len(found.validation), len(found.test)) == (20, 2, 9 + 32)
    assert notes[0] == "cookie: no split is given, so 9 of 31 good images and the 32 others test, chosen by seed 0."
    assert found.train[0]["type"] == "good"


def test_plans_are_the_same_whatever_was_planned_before(tmp_path: Path) -> None:
    manifest = {"nut/train/good": 12, "nut/test/good": 2, "bolt/train/good": 12}
    draw(tmp_path, manifest)
    alone = plan(tmp_path, Data(), categories=["nut"])[0][0]
    among = next(each for each in plan(tmp_path, Data())[0] if each.name == "nut")
    told = [json.dumps([ids(each.train), ids(each.validation), ids(each.test)]) for each in (alone, among)]
    assert told[0] == told[1]
