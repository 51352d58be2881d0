"""What stands in two splits is found, listed, and gone once the list is left out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import SMALL, factory

from threecad.domain import Action, Code, Finding
from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats import layouts
from threecad.formats.layouts import Request
from threecad.formats.png import encode_mask, encode_png
from threecad.pipeline import audit as module
from threecad.pipeline import plots
from threecad.pipeline.audit import Audit, as_json, audit, read_clean, write_clean
from threecad.pipeline.audit_summary import show
from threecad.pipeline.convert import convert
from threecad.pipeline.profile import statistics


def picture(seed: int, side: int = 160) -> np.ndarray:
    """A picture with detail that encoding it again does not change."""
    coarse = np.random.default_rng(seed).uniform(30, 220, (20, 20)).astype(np.float32)
    return np.rint(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 255)).astype(np.uint8)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def png(seed: int) -> bytes:
    return encode_png(picture(seed))


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def dent(root: Path, name: str, data: bytes) -> None:
    put(root / f"bolt/test/dent/{name}", data)
    mask = np.zeros((160, 160), np.uint8)
    mask[30:40, 50:80] = 255
    put(root / f"bolt/ground_truth/dent/{Path(name).stem}_mask.png", encode_mask(mask))


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A category in MVTec's layout without any leak; one copy stays within its split."""
    root = tmp_path / "parts"
    for seed in range(6):
        put(root / f"bolt/train/good/{seed:03}.png", png(seed))
        put(root / f"bolt/test/good/{seed:03}.png", png(100 + seed))
        dent(root, f"{seed:03}.png", png(200 + seed))
    put(root / "bolt/train/good/copy.png", png(0))
    return root


@pytest.fixture
def leaking(clean: Path) -> Path:
    """With two training images that test as well, byte for byte, and one that tests encoded again."""
    put(clean / "bolt/test/good/a.png", png(1))
    dent(clean, "b.png", png(2))
    put(clean / "bolt/test/good/c.jpg", jpeg(picture(3)))
    return clean


def look(root: Path, **options: object) -> Audit:
    return audit(root, **({"cache": None} | options))  # type: ignore[arg-type]


def leave_out(root: Path, paths: list[str]) -> None:
    for path in paths:
        (root / path).unlink()


def test_a_data_set_without_copies_is_clean(clean: Path) -> None:
    found = look(clean)
    assert found.clean
    assert (found.name, found.layout, found.images) == ("parts", "mvtec", 19)
    assert (found.copies, found.overlaps, found.dropped, found.findings) == ((), (), (), ())


def test_where_nothing_can_stand_in_two_splits_that_is_said_and_not_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from threecad.pipeline import audit_summary

    put(tmp_path / "bolt/train/good/a.png", png(1))
    found = audit(tmp_path, cache=None)
    assert found.splits == ("train",)
    audit_summary.show(found, tmp_path)
    told = capsys.readouterr().out
    assert "all is of split train" in told
    assert "Clean" not in told


def test_copies_across_splits_are_found(leaking: Path) -> None:
    found = look(leaking)
    assert not found.clean
    members = {(group.exact, tuple(path.removeprefix("bolt/") for path, _ in group.members)) for group in found.copies}
    assert members == {
        (True, ("test/good/a.png", "train/good/001.png")),
        (True, ("test/dent/b.png", "train/good/002.png")),
        (False, ("test/good/c.jpg", "train/good/003.png")),
    }


@pytest.mark.parametrize(
    ("keep", "dropped"),
    [
        ("test", ["train/good/001.png", "train/good/002.png", "train/good/003.png"]),
        ("train", ["test/dent/b.png", "test/good/a.png", "test/good/c.jpg"]),
    ],
)
def test_without_the_listed_files_a_second_audit_is_clean(leaking: Path, tmp_path: Path, keep: str, dropped: list[str]) -> None:
    write_clean(look(leaking, keep=keep), tmp_path / "out.txt")
    paths = read_clean(tmp_path / "out.txt")
    assert paths == [f"bolt/{path}" for path in dropped]
    leave_out(leaking, paths)
    assert look(leaking, keep=keep).clean


def test_look_alikes_may_stay(leaking: Path) -> None:
    found = look(leaking, near=False)
    assert [path for path, _ in found.dropped] == ["bolt/train/good/001.png", "bolt/train/good/002.png"]
    leave_out(leaking, [path for path, _ in found.dropped])
    assert look(leaking, near=False).clean
    assert not look(leaking).clean


def test_tiles_that_share_pixels_are_found_by_sahis_names(tmp_path: Path) -> None:
    root = tmp_path / "tiles"
    whole = picture(1, 1000)
    for number, left in enumerate((0, 120, 240, 360)):
        split = "test/good" if number == 2 else "train/good"
        put(root / f"bolt/{split}/part1_{left}_0_{left + 160}_160.png", encode_png(whole[:160, left : left + 160]))
    put(root / "bolt/test/good/part2_0_0_160_160.png", png(2))
    found = look(root)
    assert [(overlap.first, overlap.second, overlap.pixels) for overlap in found.overlaps] == [
        ("bolt/test/good/part1_240_0_400_160.png", f"bolt/train/good/part1_{left}_0_{left + 160}_160.png", 40 * 160)
        for left in (120, 360)
    ]
    leave_out(root, [path for path, _ in found.dropped])
    assert look(root).clean
    assert len(list(root.rglob("*.png"))) == 3


def test_a_photograph_of_threecads_own_in_two_splits_is_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    convert(factory(tmp_path / "raw", 4), data, SMALL)
    assert look(data).clean
    rows = [json.loads(line) for line in (data / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    moved = next(row for row in rows if row["split"] == "train")
    moved["split"] = "test"
    (data / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = look(data)
    mates = {row["image"] for row in rows if row["source"] == moved["source"] and row["split"] == "train"}
    assert {path for path, _ in found.dropped} == mates
    assert {overlap.source for overlap in found.overlaps} == {moved["source"]}
    leave_out(data, [path for path, _ in found.dropped])
    assert look(data).clean


def test_the_number_of_workers_changes_nothing(leaking: Path) -> None:
    assert look(leaking, workers=1) == look(leaking, workers=4)


def test_no_mask_is_opened(leaking: Path) -> None:
    for mask in (leaking / "bolt/ground_truth").rglob("*.png"):
        mask.write_bytes(b"nonsense")
    assert look(leaking).findings == ()


def test_an_image_that_cannot_be_compared_is_told_and_nobody_knows(clean: Path) -> None:
    put(clean / "bolt/train/good/900.png", b"nonsense")
    found = look(clean)
    assert (found.clean, found.unseen, found.images) == (False, 1, 19)
    assert [(finding.code, finding.source) for finding in found.findings] == [(Code.IMAGE_UNREADABLE, "bolt/train/good/900.png")]


def test_a_training_folder_that_is_a_link_out_of_the_data_set_is_not_clean(clean: Path, tmp_path: Path) -> None:
    (clean / "bolt/train").rename(tmp_path / "elsewhere")
    (clean / "bolt/train").symlink_to(tmp_path / "elsewhere")
    assert told(clean) == [(Code.PATH_OUTSIDE, "bolt/train")]


def test_training_images_that_are_links_out_of_the_data_set_are_not_clean(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    images = sorted((clean / "bolt/train/good").iterdir())
    for image in images:
        image.rename(tmp_path / "elsewhere" / image.name)
        image.symlink_to(tmp_path / "elsewhere" / image.name)
    assert told(clean) == [(Code.PATH_OUTSIDE, f"bolt/train/good/{image.name}") for image in images]


def test_a_training_image_whose_name_is_no_text_is_not_clean(clean: Path) -> None:
    try:
        (clean / os.fsdecode(b"bolt/train/good/\xff.png")).write_bytes(png(100))
    except OSError:
        pytest.skip("this file system takes no such name")
    assert told(clean) == [(Code.FILE_UNREADABLE, "bolt/train/good/\\udcff.png")]


def test_images_that_lie_where_only_readers_of_folders_look_are_not_clean(clean: Path) -> None:
    put(clean / "bolt/train/x.png", png(100))
    put(clean / "bolt/train/good/sub/x.png", png(101))
    put(clean / "bolt/train/good/sub/y.png", png(102))
    assert told(clean) == [(Code.UNKNOWN_FOLDER, "bolt/train"), (Code.UNKNOWN_FOLDER, "bolt/train/good/sub")]


def test_images_that_vanish_while_the_audit_runs_are_not_clean(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = layouts.read

    def vanishing(root: Path, request: Request | None = None) -> layouts.Listing:
        listing = first(root, request)
        for name in ("000", "001"):
            (root / f"bolt/train/good/{name}.png").unlink(missing_ok=True)
        return listing

    monkeypatch.setattr(layouts, "read", vanishing)
    listed = look(clean)
    assert [(each.code, each.source[-7:]) for each in listed.findings] == [
        (Code.LISTED_MISSING, "000.png"),
        (Code.LISTED_MISSING, "001.png"),
    ]
    assert (listed.clean, listed.unseen, listed.images) == (False, 2, 17)


def test_a_strangers_image_among_threecads_own_is_not_clean(tmp_path: Path) -> None:
    data = tmp_path / "data"
    convert(factory(tmp_path / "raw", 4), data, SMALL)
    home = next(path.parent.parent.name for path in data.glob("*/train/good"))
    for place in (f"{home}/train/good", f"{home}/ground_truth/dent", f"validation/{home}/good"):
        put(data / place / "mine.png", png(1))
        assert told(data) == [(Code.FOREIGN_FILE, f"{place}/mine.png")]
        (data / place / "mine.png").unlink()
    assert look(data).clean


@pytest.mark.parametrize("keep", ["test", "train"])
def test_a_mask_whose_image_was_left_out_is_no_strangers(tmp_path: Path, keep: str) -> None:
    data = tmp_path / "data"
    convert(factory(tmp_path / "raw", 4), data, SMALL)
    rows = [json.loads(line) for line in (data / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    defective = next(row for row in rows if row["split"] == "test" and row["mask"])
    (data / defective["image"]).unlink()
    assert look(data, keep=keep).clean


def told(root: Path) -> list[tuple[Code, str]]:
    """What an audit that must not be clean tells, and the statistics as well."""
    found = look(root)
    counted = statistics(root, cache=None)[0]
    assert not found.clean
    assert not counted.clean
    assert found.unseen == counted.doubts.unseen == len(found.findings)
    assert set(found.findings) <= set(counted.findings)
    return [(finding.code, finding.source) for finding in found.findings]


def shown(found: Audit, capsys: pytest.CaptureFixture[str], clean: Path | None = None) -> str:
    show(found, Path("parts"), clean)
    return " ".join(capsys.readouterr().out.split())


def test_what_could_not_be_compared_is_to_be_repaired(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(clean / "bolt/train/x.png", png(100))
    text = shown(look(clean), capsys)
    assert "1 image or folder could not be compared" in text
    assert "repair or remove" in text
    assert "--clean" not in text
    assert "leave out" not in text


def test_a_list_that_names_a_file_twice_is_to_be_corrected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leak = Finding(Code.LEAK, Action.KEPT, "a.png", None, "train in line 1, test in line 2")
    text = shown(Audit("x", "visa", 1, 0, (), (), (), (leak,)), capsys, tmp_path / "drop.txt")
    assert "correct the list" in text
    assert "0 images" not in text
    assert "()" not in text


def test_copies_are_to_be_left_out(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(look(leaking), capsys)
    assert "3 images to leave out (3 in bolt) to make the splits disjoint" in text
    assert "threecad audit parts --clean drop.txt" in text
    assert "repair" not in text


def test_a_file_that_a_list_names_in_two_splits_is_not_clean() -> None:
    leak = Finding(Code.LEAK, Action.KEPT, "a.png", None, "train in line 1, test in line 2")
    assert not Audit("x", "visa", 1, 0, (), (), (), (leak,)).clean


def test_one_category_alone(leaking: Path) -> None:
    put(leaking / "nut/train/good/000.png", png(1))
    put(leaking / "nut/test/good/000.png", png(500))
    assert look(leaking, category="nut").clean
    assert len(look(leaking).dropped) == 4
    with pytest.raises(LayoutError, match="no category 'screw'"):
        look(leaking, category="screw")


def test_a_folder_that_is_no_data_set_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(LayoutError):
        look(tmp_path)
    with pytest.raises(LayoutError):
        look(tmp_path, request=Request(layout="mvtec"))


def test_the_json_tells_all_of_it(leaking: Path) -> None:
    told = as_json(look(leaking))
    assert (told["format"], told["clean"], told["images"]) == (1, False, 22)
    assert told["dropped"][0] == {"path": "bolt/train/good/001.png", "reason": "the same bytes as bolt/test/good/a.png (test)"}
    assert [group["exact"] for group in told["copies"]].count(True) == 2


# The list


def found(*dropped: tuple[str, str]) -> Audit:
    return Audit("parts", "mvtec", 9, 0, (), (), dropped, ())


def test_the_list_reads_line_by_line(tmp_path: Path) -> None:
    write_clean(found(("a/1.png", "the same bytes as b/1.png (test)"), ("a/2 2.png", "划痕")), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == (
        "# parts: 2 of 9 images to leave out\n# the same bytes as b/1.png (test)\na/1.png\n# 划痕\na/2 2.png\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        "#1.png",
        "a\nb.png",
        "a\rb.png",
        "a\u2028b.png",
        "a\x85b.png",
        " a.png",
        "a.png ",
        '"a".png',
        "a\\b.png",
        "\udcff.png",
        "\u202egnp.a",
        "划痕/ä.png",
        "a\x1b[2J.png",
        "\ufeffa.png",
    ],
)
def test_any_name_comes_back_from_the_list(tmp_path: Path, name: str) -> None:
    write_clean(found((name, f"the same bytes as {name}"), ("z.png", "why")), tmp_path / "out.txt")
    assert read_clean(tmp_path / "out.txt") == [name, "z.png"]
    text = (tmp_path / "out.txt").read_bytes().decode()
    assert len(text.splitlines()) == 5, "no name breaks its line"
    assert "\x1b" not in text


def test_a_list_written_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_bytes("\ufeff# mine\r\na.png\r\n\r\nb c.png".encode())
    assert read_clean(tmp_path / "out.txt") == ["a.png", "b c.png"]


@pytest.mark.parametrize("line", ['"a', '"a" b', '"\\x"'])
def test_a_line_that_is_no_path_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "out.txt").write_text(f"a.png\n{line}\n", encoding="utf-8")
    with pytest.raises(ReadError, match=r"out\.txt, line 2: found"):
        read_clean(tmp_path / "out.txt")


def test_a_list_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        read_clean(tmp_path / "out.txt")
    (tmp_path / "out.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError, match="not UTF-8"):
        read_clean(tmp_path / "out.txt")


def test_the_list_of_before_stays_where_none_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clean(found(("a.png", "why")), tmp_path / "out.txt")

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(ThreecadError, match="cannot be written"):
        write_clean(found(), tmp_path / "out.txt")
    assert read_clean(tmp_path / "out.txt") == ["a.png"]


def test_a_full_disk_leaves_nothing_beside_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ThreecadError, match="No space left"):
        write_clean(found(), tmp_path / "out.txt")
    assert list(tmp_path.iterdir()) == []


def test_figures_are_never_written_into_a_folder_that_is_not_there(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no folder"):
        plots.draw(statistics(clean, cache=None)[0], tmp_path / "missing" / "figures")
    assert not (tmp_path / "missing").exists()


def test_a_list_is_never_written_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        write_clean(found(), tmp_path / "missing" / "dir" / "out.txt")
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_the_place_of_the_list_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        write_clean(found(), tmp_path)


# A data set of other people


@pytest.mark.shared
def test_real_tiles_are_audited(shared: Path) -> None:
    told = look(shared / "magnetic_tile_dev")
    assert told.images > 0
