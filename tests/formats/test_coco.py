"""COCO JSON as pycocotools reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.mask import encode

from threecad.domain import Defect, Sample, Size, Split, State, Window
from threecad.formats import coco

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = Size(48, 64)
TYPES = {"bottle": ("dent", "scratch"), "cable": ("dent",)}


def disc(row: float, column: float, radius: float, hole: float = 0.0) -> NDArray[np.bool_]:
    rows, columns = np.indices((SIZE.height, SIZE.width)) + 0.5
    distance = np.hypot(rows - row, columns - column)
    return (distance < radius) & (distance >= hole)


def diagonal() -> NDArray[np.bool_]:
    return np.eye(SIZE.height, SIZE.width, 5, bool)


MASKS = {
    "a#0": ("bottle", "dent", disc(20, 30, 9)),
    "a#1": ("bottle", "scratch", diagonal()),
    "b#0": ("cable", "dent", disc(24, 32, 15, 6)),
    "b#1": ("cable", "dent", disc(0, 0, 12)),
    "b#2": ("cable", "dent", np.ones((SIZE.height, SIZE.width), bool)),
}


def box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top


def defect(uid: str) -> Defect:
    _, label, mask = MASKS[uid]
    return Defect(uid, label, int(mask.sum()), box(mask), 1.0)


def sample(source: str, category: str, image: str | None = "there") -> Sample:
    defects = tuple(defect(uid) for uid in MASKS if uid.startswith(f"{source}#"))
    labels = tuple(sorted({defect.label for defect in defects}))
    state = State.DEFECT if defects else State.GOOD
    path = image and f"{category}/test/dent/{source}.png"
    return Sample(
        source, source, category, Window(96, 10, SIZE), Split.TEST, state, labels, (), defects, path, None, None, None, None
    )


def segmentations(*masks: NDArray[np.bool_]) -> list[str]:
    """The segmentation of each mask, from its runs."""
    if not masks:
        return []
    turns = np.diff(np.pad(np.stack(masks), ((0, 0), (0, 0), (1, 1))).astype(np.int8))
    defect, row, start = np.nonzero(turns > 0)
    return coco.segmentations(defect, row, start, np.nonzero(turns < 0)[2], Size(*masks[0].shape))


def rows() -> Iterator[tuple[Sample, list[str]]]:
    for one in (sample("a", "bottle"), sample("b", "cable", image=None), sample("c", "cable"), sample("b", "cable")):
        yield one, segmentations(*(MASKS[defect.uid][2] for defect in one.defects))


def written() -> bytes:
    file = io.BytesIO()
    coco.write(file, rows, TYPES, "a test")
    return file.getvalue()


@pytest.fixture
def loaded(tmp_path: Path) -> COCO:
    path = tmp_path / "test.json"
    path.write_bytes(written())
    return COCO(str(path))


def test_every_annotation_gives_back_the_mask_to_the_pixel(loaded: COCO) -> None:
    assert len(loaded.anns) == len(MASKS)
    for annotation in loaded.anns.values():
        _, _, mask = MASKS[annotation["defect_uid"]]
        assert np.array_equal(loaded.annToMask(annotation), mask)


def test_area_and_box_are_those_of_the_mask(loaded: COCO) -> None:
    for annotation in loaded.anns.values():
        _, _, mask = MASKS[annotation["defect_uid"]]
        assert annotation["area"] == mask.sum()
        assert tuple(annotation["bbox"]) == box(mask)


def test_a_hole_makes_run_lengths_and_everything_else_polygons(loaded: COCO) -> None:
    kinds = {annotation["defect_uid"]: type(annotation["segmentation"]) for annotation in loaded.anns.values()}
    assert kinds == {"a#0": list, "a#1": list, "b#0": dict, "b#1": list, "b#2": list}
    assert not any(annotation["iscrowd"] for annotation in loaded.anns.values())


def test_an_image_tells_its_source_and_its_window(loaded: COCO) -> None:
    assert loaded.imgs[3] == {
        "file_name": "cable/test/dent/b.png",
        "height": 48,
        "id": 3,
        "source_id": "b",
        "split": "test",
        "state": "defect",
        "tile_xyxy": [10, 96, 74, 144],
        "width": 64,
    }


def test_a_sample_without_file_is_no_image_and_a_good_one_has_no_annotation(loaded: COCO) -> None:
    assert [image["source_id"] for image in loaded.imgs.values()] == ["a", "c", "b"]
    assert loaded.getAnnIds(imgIds=[2]) == []


def test_a_type_of_two_categories_is_two_coco_categories(loaded: COCO) -> None:
    found = [(number, row["supercategory"], row["name"]) for number, row in loaded.cats.items()]
    assert found == [(1, "bottle", "dent"), (2, "bottle", "scratch"), (3, "cable", "dent")]
    assert {loaded.anns[number]["category_id"] for number in loaded.getAnnIds(imgIds=[3])} == {3}


def test_the_file_has_sorted_keys_a_last_newline_and_the_same_bytes_every_time() -> None:
    text = written()
    assert text == written()
    assert text.endswith(b"}\n")
    document = json.loads(text)
    assert list(document) == sorted(document)
    assert all(list(row) == sorted(row) for part in ("images", "annotations", "categories") for row in document[part])


def test_a_split_without_samples_is_still_coco(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with path.open("wb") as file:
        coco.write(file, list, {})
    assert COCO(str(path)).imgs == {}


def test_a_defect_without_segmentation_is_refused() -> None:
    with pytest.raises(ValueError):
        coco.write(io.BytesIO(), lambda: [(sample("a", "bottle"), [])], TYPES)


def test_no_runs_are_no_segmentations() -> None:
    nothing = np.zeros(0, np.int32)
    assert coco.segmentations(nothing, nothing, nothing, nothing, SIZE) == []


def test_pixels_that_touch_at_a_corner_are_polygons_of_their_own() -> None:
    assert segmentations(np.eye(2, dtype=bool)) == ["[[0,0,1,0,1,1,0,1],[1,1,2,1,2,2,1,2]]"]
    assert segmentations(np.eye(2, dtype=bool)[::-1]) == ["[[1,0,2,0,2,1,1,1],[0,1,1,1,1,2,0,2]]"]


def test_each_defect_of_a_tile_is_traced_as_if_it_were_alone() -> None:
    masks = [mask for _, _, mask in MASKS.values()]
    assert segmentations(*masks) == [segmentations(mask)[0] for mask in masks]


def test_a_large_tile_and_a_long_outline_change_nothing() -> None:
    comb = np.zeros((9, 70_000), bool)
    comb[1:8, 1:69_999:2] = True
    comb[4, 1:69_999] = True
    [text] = segmentations(comb)
    [outline] = json.loads(text)
    assert outline[:4] == [1, 1, 2, 1]
    xs, ys = np.array(outline).reshape(-1, 2).T
    assert np.sum(xs * np.roll(ys, -1) - np.roll(xs, -1) * ys) == 2 * comb.sum()


def test_run_lengths_are_those_of_pycocotools() -> None:
    ring = disc(24, 32, 20, 17)
    whole = np.ones((SIZE.height, SIZE.width), bool)
    whole[0, 0] = whole[5, 5] = False
    texts = segmentations(ring, whole, ~disc(24, 32, 5))
    for text, mask in zip(texts, (ring, whole, ~disc(24, 32, 5)), strict=True):
        assert json.loads(text)["counts"] == encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
