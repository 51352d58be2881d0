"""`Dataset` over every layout: the same items, whoever made the data."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from trees import TREES, draw, photo, spot, text

from threecad.errors import LayoutError, ReadError
from threecad.formats.dataset import Dataset, Item
from threecad.formats.layouts import Request


def items(root: Path, request: Request | None = None) -> dict[str, tuple[int, str, str, int]]:
    """Name of an image → gt_label, type, types and marked pixels."""
    told: dict[str, tuple[int, str, str, int]] = {}
    for item in Dataset(root, request=request):
        assert set(item) == set(Item.__annotations__)
        assert item["gt_mask"].shape == item["image"].shape[:2]
        told[Path(item["image_path"]).name] = (item["gt_label"], item["type"], item["types"], int(item["gt_mask"].sum()))
    return told


def test_masks_of_numbers_name_the_types(tmp_path: Path) -> None:
    TREES["index"](tmp_path)
    (tmp_path / "masks/d.jpg").unlink()
    assert items(tmp_path) == {
        "a.jpg": (1, "combined", "pit+scratch", 6),
        "b.jpg": (1, "pit", "pit", 3),
        "c.jpg": (1, "value-7", "value-7", 3),
        "d.jpg": (0, "good", "", 0),
        "e.jpg": (0, "good", "", 0),
        "f.jpg": (1, "scratch", "scratch", 3),
    }
    assert Dataset(tmp_path).rows[0].defective is None


def test_masks_alone_tell_good_from_defective(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.png", "images/b.png")
    draw(tmp_path, "masks/a.png", spot())
    draw(tmp_path, "masks/b.png", 0)
    assert items(tmp_path) == {"a.png": (1, "defect", "", 3), "b.png": (0, "good", "", 0)}


def test_folders_and_lists_tell_as_well(tmp_path: Path) -> None:
    TREES["beside"](tmp_path / "tiles")
    assert items(tmp_path / "tiles")["c.jpg"] == (1, "Crack", "Crack", 0)
    TREES["visa"](tmp_path / "visa")
    assert items(tmp_path / "visa") == {
        "000.JPG": (1, "combined", "Melt+Scratch", 6),
        "001.JPG": (1, "defect", "", 0),
        "002.JPG": (1, "value-9", "value-9", 3),
        "0000.JPG": (0, "good", "", 0),
        "0001.JPG": (0, "good", "", 0),
        "a.JPG": (1, "defect", "", 3),
    }
    assert [row.split for row in Dataset(tmp_path / "visa", "train").rows] == ["train"]


def test_several_masks_of_an_image_are_united(tmp_path: Path) -> None:
    TREES["several-masks"](tmp_path)
    data = Dataset(tmp_path, category="a")
    assert [int(item["gt_mask"].sum()) for item in data] == [6, 0, 0]
    draw(tmp_path, "a/ground_truth/logical/0/001.png", spot(height=9))
    with pytest.raises(ReadError, match=r"001\.png: the mask is 8 × 9 .* its image 8 × 6"):
        data[0]
    text(tmp_path, "a/ground_truth/logical/0/001.png", "")
    with pytest.raises(ReadError, match=r"001\.png: empty"):
        data[0]
    (tmp_path / "a/ground_truth/logical/0/001.png").unlink()
    with pytest.raises(ReadError, match=r"001\.png: cannot be read"):
        data[0]


def test_rows_and_links_lead_nowhere_else(tmp_path: Path) -> None:
    TREES["threecad"](tmp_path / "data")
    photo(tmp_path, "secret.png")
    data = {row.id: number for number, row in enumerate(Dataset(tmp_path / "data").rows)}
    (tmp_path / "data/part/train/good/a.png").unlink()
    (tmp_path / "data/part/train/good/a.png").symlink_to(tmp_path / "secret.png")
    for name in "afg":  # a link, the path of a mask, the path of an image
        with pytest.raises(ReadError, match="leads out of the data set"):
            Dataset(tmp_path / "data")[data[name]]


def test_boxes_are_masks(tmp_path: Path) -> None:
    TREES["deeppcb"](tmp_path)
    assert items_of(Dataset(tmp_path, "train")) == [("good", 0), ("combined", 18)]
    assert items_of(Dataset(tmp_path, "test")) == [("good", 0), ("value-9", 4)]


def items_of(data: Dataset) -> list[tuple[str, int]]:
    return [(item["type"], int(item["gt_mask"].sum())) for item in data]


def test_a_good_image_stays_good_whatever_its_mask(tmp_path: Path) -> None:
    TREES["mvtec"](tmp_path)
    (row,) = [row for row in Dataset(tmp_path).rows if row.image == "bottle/test/good/001.png"]
    assert (row.type, row.mask, len(row.entry.masks)) == ("good", "", 1)


def test_the_findings_of_a_category_are_those_of_its_folders(tmp_path: Path) -> None:
    TREES["mvtec"](tmp_path)
    assert Dataset(tmp_path, category="cable").faults == ()
    assert len(Dataset(tmp_path, category="bottle").faults) == len(Dataset(tmp_path).faults) > 3


def test_a_request_reaches_the_layout_and_the_rows_can_be_pickled(tmp_path: Path) -> None:
    TREES["threecad"](tmp_path)
    assert len(Dataset(tmp_path, request=Request(layout="folder"))) == 9
    with pytest.raises(LayoutError, match="found layout"):
        Dataset(tmp_path, request=Request(table="x"))
    data = Dataset(tmp_path / "part")
    assert pickle.loads(pickle.dumps(data)).rows == data.rows


def test_a_data_set_without_splits_says_so(tmp_path: Path) -> None:
    TREES["beside"](tmp_path)
    with pytest.raises(LayoutError, match="no image of split 'test'; found no split at all"):
        Dataset(tmp_path, "test")
