"""Folders in MVTec's and 3CAD's layout, whole and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from threecad.domain import Action, Code, Split
from threecad.errors import LayoutError
from threecad.formats.folders import scan


def tree(root: Path, *files: str) -> Path:
    """Empty files: `scan` looks at names only."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def pairs(root: Path) -> dict[str, str]:
    return {row.image: row.mask for row in scan(root)[0] if row.defective}


BOTTLE = (
    "bottle/train/good/000.png",
    "bottle/test/good/000.png",
    "bottle/test/dent/000.png",
    "bottle/test/dent/001.png",
    "bottle/ground_truth/dent/000_mask.png",
    "bottle/ground_truth/dent/001_mask.png",
)


def test_a_whole_tree_has_no_findings(tmp_path: Path) -> None:
    rows, findings = scan(tree(tmp_path, *BOTTLE, "cable/train/good/x.png", "license.txt", "readme/about.png"))
    assert findings == []
    assert [(row.category, row.split, row.type, row.image) for row in rows] == [
        ("bottle", Split.TEST, "dent", "bottle/test/dent/000.png"),
        ("bottle", Split.TEST, "dent", "bottle/test/dent/001.png"),
        ("bottle", Split.TEST, "good", "bottle/test/good/000.png"),
        ("bottle", Split.TRAIN, "good", "bottle/train/good/000.png"),
        ("cable", Split.TRAIN, "good", "cable/train/good/x.png"),
    ]
    assert [row.mask for row in rows[:3]] == [
        "bottle/ground_truth/dent/000_mask.png",
        "bottle/ground_truth/dent/001_mask.png",
        "",
    ]


def test_one_category_alone_reads_like_its_tree(tmp_path: Path) -> None:
    tree(tmp_path, *BOTTLE)
    inside, outside = scan(tmp_path / "bottle")[0], scan(tmp_path)[0]
    assert [(f"bottle/{row.image}", row.category, row.type) for row in inside] == [
        (row.image, row.category, row.type) for row in outside
    ]


def test_masks_of_the_images_own_name_are_found(tmp_path: Path) -> None:
    tree(tmp_path, "test/dent/a.jpg", "ground_truth/dent/a.png")
    assert pairs(tmp_path) == {"test/dent/a.jpg": "ground_truth/dent/a.png"}


def test_ok_and_ko_are_good_and_defective(tmp_path: Path) -> None:
    tree(tmp_path, "train/ok/1.bmp", "test/ok/1.bmp", "test/ko/2.bmp", "ground_truth/ko/2.png")
    rows, findings = scan(tmp_path)
    assert [(row.split.value, row.type, row.defective) for row in rows] == [
        ("test", "good", False),
        ("test", "ko", True),
        ("train", "good", False),
    ]
    assert findings == []


def test_a_missing_mask_is_told_and_the_image_stays(tmp_path: Path) -> None:
    tree(tmp_path, *BOTTLE)
    (tmp_path / "bottle/ground_truth/dent/001_mask.png").unlink()
    rows, (finding,) = scan(tmp_path)
    assert (finding.code, finding.action, finding.source) == (Code.MASK_MISSING, Action.KEPT, "bottle/test/dent/001.png")
    assert len(rows) == 4


def test_a_mask_of_no_image_is_told(tmp_path: Path) -> None:
    tree(tmp_path, *BOTTLE, "bottle/ground_truth/dent/002_mask.png", "bottle/ground_truth/rust/000_mask.png")
    _, findings = scan(tmp_path)
    assert [(finding.code, finding.source) for finding in findings] == [
        (Code.MASK_ORPHAN, "bottle/ground_truth/dent/002_mask.png"),
        (Code.MASK_ORPHAN, "bottle/ground_truth/rust/000_mask.png"),
    ]


def test_two_masks_of_one_image_leave_one_orphan(tmp_path: Path) -> None:
    tree(tmp_path, "test/dent/a.png", "ground_truth/dent/a_mask.png", "ground_truth/dent/a_mask.bmp")
    _, (finding,) = scan(tmp_path)
    assert finding.code is Code.MASK_ORPHAN


def test_blank_masks_of_good_images_are_no_orphans_and_not_needed(tmp_path: Path) -> None:
    tree(tmp_path, "train/good/0.png", "test/good/1.png", "ground_truth/good/1_mask.png")
    rows, findings = scan(tmp_path)
    assert findings == []
    assert not any(row.mask for row in rows)


def test_an_image_whose_name_ends_like_a_mask_gets_its_own_mask(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    with_suffix = tree(
        tmp_path / "with", "test/d/a.png", "test/d/a_mask.png", "ground_truth/d/a_mask.png", "ground_truth/d/a_mask_mask.png"
    )
    assert pairs(with_suffix) == {
        "test/d/a.png": "ground_truth/d/a_mask.png",
        "test/d/a_mask.png": "ground_truth/d/a_mask_mask.png",
    }
    without = tree(tmp_path / "without", "test/d/a.png", "test/d/a_mask.png", "ground_truth/d/a.png", "ground_truth/d/a_mask.png")
    assert pairs(without) == {"test/d/a.png": "ground_truth/d/a.png", "test/d/a_mask.png": "ground_truth/d/a_mask.png"}


def test_the_test_split_has_the_first_claim_on_a_mask(tmp_path: Path) -> None:
    tree(tmp_path, "test/d/0.png", "validation/d/0.png", "val/d/1.png", "ground_truth/d/0_mask.png", "ground_truth/d/1_mask.png")
    assert pairs(tmp_path) == {
        "test/d/0.png": "ground_truth/d/0_mask.png",
        "validation/d/0.png": "",
        "val/d/1.png": "ground_truth/d/1_mask.png",
    }


def test_only_images_count(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "train/good/a.PNG",
        "train/good/Thumbs.db",
        "train/good/.hidden.png",
        "train/good/deeper/b.png",
        "train/loose.png",
    )
    assert [row.image for row in scan(tmp_path)[0]] == ["train/good/a.PNG"]


def test_categories_called_train_and_test_are_categories(tmp_path: Path) -> None:
    tree(tmp_path, "train/train/good/a.png", "test/train/good/a.png")
    assert {row.category for row in scan(tmp_path)[0]} == {"train", "test"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), ["found nothing", "train/ and test/"]),
        (("photos/1.png", "notes.txt"), ["found notes.txt, photos", "train/ and test/"]),
        (("bottle/train/good/notes.txt",), ["no image"]),
    ],
)
def test_another_layout_is_refused_with_what_is_there(tmp_path: Path, files: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(LayoutError) as caught:
        scan(tree(tmp_path, *files))
    assert all(word in str(caught.value) for word in [str(tmp_path), *words])


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such folder"):
        scan(tmp_path / "nowhere")
