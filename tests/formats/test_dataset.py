"""The manifest, its rows, and the reader of finished data sets."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from threecad.domain import Action, Code, Defect, Finding, Sample, Size, Split, State, Window
from threecad.errors import LayoutError, ReadError
from threecad.formats import dataset
from threecad.formats.dataset import (
    FORMAT,
    MANIFEST,
    SAMPLES,
    Category,
    Dataset,
    Item,
    Manifest,
    Shapes,
    Type,
    line,
    read_findings,
    read_manifest,
    read_samples,
    row_of,
    schemas,
)
from threecad.formats.layout import place, stem
from threecad.formats.png import encode_png

SIZE = Size(6, 8)
TYPES = (Type(index=1, name="Kratzer tief", folder="Kratzer_tief"), Type(index=2, name="dent", folder="dent"))


def save(root: Path, path: str, pixels: NDArray[Any]) -> str:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(encode_png(pixels))
    return path


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((6, 8, 3), (value, value + 1, value + 2), np.uint8)


def spot(row: int) -> NDArray[np.uint8]:
    mask = np.zeros((6, 8), np.uint8)
    mask[row, 2:5] = 255
    return mask


def sample(root: Path, category: str, number: int, split: Split | None, labels: tuple[str, ...] = ()) -> Sample:
    source = f"{category}/{number}.png"
    window = Window(0, 0, SIZE)
    name = stem(source, window)
    kind = "combined" if len(labels) > 1 else {"": "good"}.get("".join(labels), "".join(labels).replace(" ", "_"))
    image = mask = None
    if split is not None:
        paths = place(category, split, kind, name, "_mask")
        image = save(root, paths.image, picture(number))
        mask = paths.mask and save(root, paths.mask, spot(number))
    state = State.AMBIGUOUS if split is None else State.DEFECT if labels else State.GOOD
    defects = tuple(Defect(f"{source}#{k}", label, 3, (2, number, 3, 1), 1.0) for k, label in enumerate(labels))
    areas = (3,) * len(labels)
    return Sample(name, source, category, window, split, state, labels, areas, defects, image, mask, None, None, None)


def manifest(*categories: str) -> Manifest:
    counts = Category(
        folder="",
        sources=4,
        good=2,
        defective=2,
        tiles={"train": {State.GOOD: 1}, "unused": {State.AMBIGUOUS: 1}},
        shapes=Shapes(total=3, kept=2, queued=1),
        findings={Code.TOO_FEW_POINTS: 1},
        types=TYPES,
    )
    return Manifest(
        threecad="0.1.0",
        raw="raw",
        pipeline={"tiling": {"slice_size": 1024}},
        categories={category: counts.model_copy(update={"folder": category}) for category in categories},
        findings={Code.TOO_FEW_POINTS: {Action.QUEUED: 1}},
        digests={SAMPLES: "0" * 64},
        inputs=8,
        outputs=12,
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Two categories as threecad lays them out, with a validation split and a tile that nobody uses."""
    samples = [
        sample(tmp_path, "bottle", 1, Split.TRAIN),
        sample(tmp_path, "bottle", 2, Split.TEST),
        sample(tmp_path, "bottle", 3, Split.TEST, ("Kratzer tief",)),
        sample(tmp_path, "bottle", 4, Split.TEST, ("Kratzer tief", "dent")),
        sample(tmp_path, "bottle", 5, None, ("dent",)),
        sample(tmp_path, "cable", 1, Split.TRAIN),
        sample(tmp_path, "cable", 4, Split.VALIDATION, ("dent",)),
    ]
    (tmp_path / SAMPLES).write_bytes(b"".join(line(row_of(sample)) for sample in samples))
    (tmp_path / MANIFEST).write_text(manifest("bottle", "cable").text(), encoding="utf-8")
    return tmp_path


# The reader


def test_every_used_tile_of_the_manifest_is_read_in_its_order(written: Path) -> None:
    data = Dataset(written)
    assert [(row.category, row.split.value, row.type, row.types) for row in data.rows] == [
        ("bottle", "train", "good", ""),
        ("bottle", "test", "good", ""),
        ("bottle", "test", "Kratzer_tief", "Kratzer_tief"),
        ("bottle", "test", "combined", "Kratzer_tief+dent"),
        ("cable", "train", "good", ""),
        ("cable", "validation", "dent", "dent"),
    ]
    assert len(data) == 6
    assert data.faults == ()


def test_an_item_holds_the_picture_its_mask_and_what_they_are(written: Path) -> None:
    item = Dataset(written, split="test", category="bottle")[2]
    assert item["image"].dtype == np.uint8
    assert np.array_equal(item["image"], picture(4))
    assert item["gt_mask"].dtype == bool
    assert np.array_equal(item["gt_mask"], spot(4) > 0)
    assert (item["gt_label"], item["type"], item["types"]) == (1, "combined", "Kratzer_tief+dent")
    assert Path(item["image_path"]).is_file()
    assert Path(item["mask_path"]).is_file()
    assert item["id"] == Path(item["image_path"]).stem
    assert set(item) == set(Item.__annotations__)


def test_a_good_item_has_an_empty_mask_of_its_own_size(written: Path) -> None:
    item = Dataset(written, "train")[0]
    assert (item["gt_label"], item["type"], item["mask_path"]) == (0, "good", "")
    assert item["gt_mask"].shape == (6, 8)
    assert not item["gt_mask"].any()


def test_the_validation_split_is_found_beside_the_categories(written: Path) -> None:
    (item,) = Dataset(written, "validation")
    assert np.array_equal(item["gt_mask"], spot(4) > 0)


def test_without_its_manifest_the_folders_tell_the_same(written: Path) -> None:
    def told(data: Dataset) -> set[tuple[str, str, str, str]]:
        return {(row.image, row.mask, row.category, row.type) for row in data.rows if row.split is not Split.VALIDATION}

    by_rows = told(Dataset(written))
    (written / MANIFEST).unlink()
    assert told(Dataset(written)) == by_rows
    assert Dataset(written).faults == ()


def test_one_categorys_folder_can_be_read_alone(written: Path) -> None:
    data = Dataset(written / "bottle", "test")
    assert sorted(row.type for row in data.rows) == ["Kratzer_tief", "combined", "good"]
    assert {row.category for row in data.rows} == {"bottle"}


def test_a_transform_comes_last(written: Path) -> None:
    data = Dataset(written, "test", transform=lambda item: (item["type"], item["gt_mask"].sum()))
    assert list(data) == [("good", 0), ("Kratzer_tief", 3), ("combined", 3)]


def test_several_categories_can_be_asked_for(written: Path) -> None:
    assert len(Dataset(written, category=["cable", "bottle"])) == 6
    assert len(Dataset(written, category=["cable"])) == 2


def test_it_counts_from_the_end_slices_and_ends_like_a_list(written: Path) -> None:
    data = Dataset(written)
    assert data[-1]["id"] == data[5]["id"] == data[np.int64(5)]["id"]
    part = data[1:4:2]
    assert [item["id"] for item in part] == [data[1]["id"], data[3]["id"]]
    assert len(part) == 2
    for index in (6, -7):
        with pytest.raises(IndexError):
            data[index]
    with pytest.raises(TypeError):
        data["0"]  # type: ignore[call-overload]


def test_an_index_error_of_a_transform_does_not_end_the_data_set(written: Path) -> None:
    def broken(item: Item) -> Any:
        return [][0]

    with pytest.raises(IndexError):
        list(Dataset(written, transform=broken))


def test_an_unreadable_image_is_an_error_that_names_it_and_no_other_sample(written: Path) -> None:
    data = Dataset(written, "train")
    path = Path(data[0]["image_path"])
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ReadError, match=path.name):
        data[0]
    path.unlink()
    with pytest.raises(ReadError, match=path.name):
        data[0]


def test_a_mask_of_another_size_is_an_error_that_names_it(written: Path) -> None:
    data = Dataset(written, "validation")
    mask = written / data.rows[0].mask
    mask.write_bytes(encode_png(np.zeros((6, 9), np.uint8)))
    with pytest.raises(ReadError, match=rf"{mask.name}.* 9 × 6 .* 8 × 6"):
        data[0]


def test_a_defective_image_without_mask_has_an_empty_one_and_is_among_the_faults(written: Path) -> None:
    (written / MANIFEST).unlink()
    data = Dataset(written, "test", category="bottle")
    (written / data.rows[0].mask).unlink()
    (finding,) = Dataset(written, category="bottle").faults
    assert (finding.code, finding.action) == (Code.MASK_MISSING, Action.KEPT)
    item = Dataset(written, "test", category="bottle")[0]
    assert (item["gt_label"], item["mask_path"], item["gt_mask"].any()) == (1, "", False)
    assert Dataset(written, category="cable").faults == ()


def test_gray_is_repeated_and_sixteen_bits_are_kept(tmp_path: Path) -> None:
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    save(tmp_path, "train/good/a.png", deep)
    (item,) = Dataset(tmp_path)
    assert item["image"].dtype == np.uint16
    assert all(np.array_equal(item["image"][:, :, channel], deep) for channel in range(3))


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg"])
def test_images_and_masks_of_others_are_ready_for_torch(tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    for path, pixels in (
        ("test/ko/1", np.full((16, 16, 3), 90, np.uint8)),
        ("ground_truth/ko/1", np.zeros((16, 16, 3), np.uint8)),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        pixels[8:, 8:] = 255
        Image.fromarray(pixels).save(tmp_path / f"{path}.{suffix}")
    (item,) = Dataset(tmp_path)
    assert item["image"].flags.writeable
    assert item["image"].flags.c_contiguous
    assert item["image"][0, 0].tolist() == pytest.approx([90, 90, 90], abs=3)
    assert item["gt_mask"].sum() == 64


def test_masks_of_small_values_count_too(tmp_path: Path) -> None:
    save(tmp_path, "test/d/a.png", picture(0))
    save(tmp_path, "ground_truth/d/a.png", spot(2) // 255)
    assert Dataset(tmp_path)[0]["gt_mask"].sum() == 3


def types_of(data: Dataset) -> list[str]:
    return [item["type"] for item in data]


def test_another_process_reads_the_same(written: Path) -> None:
    data = Dataset(written)
    copy = pickle.loads(pickle.dumps(data))
    assert copy.rows == data.rows
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(types_of, (data,)) == types_of(data)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"root": "nowhere"}, ["nowhere", "no such folder"]),
        ({"split": "val"}, ["'val'", "test, train, validation"]),
        ({"category": "can"}, ["'can'", "bottle, cable"]),
        ({"category": "cable", "split": "test"}, ["'test'", "train, validation"]),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(written: Path, wish: dict[str, str], words: list[str]) -> None:
    root = written / wish.pop("root", "")
    with pytest.raises(LayoutError) as caught:
        Dataset(root, **wish)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_an_interrupted_conversion_is_no_data_set(written: Path) -> None:
    (written / ".threecad").mkdir()
    assert len(Dataset(written)) > 0
    (written / MANIFEST).unlink()
    for folder in (written, written / "bottle"):
        with pytest.raises(LayoutError, match=f"{re.escape(str(written))} is not finished: run the same threecad convert again"):
            Dataset(folder)


def test_an_image_above_the_limit_is_refused_without_naming_a_setting(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MOST_PIXELS", 10)
    with pytest.raises(ReadError, match=r"\d+ × \d+ pixels .*at most 1e-05 million$") as caught:
        Dataset(written)[0]
    assert "max_megapixels" not in str(caught.value)


# The manifest and the rows


def test_a_manifest_is_sorted_json_that_reads_back(written: Path) -> None:
    text = (written / MANIFEST).read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert read_manifest(written) == manifest("bottle", "cable")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["No such file"]),
        ("{", ["not JSON"]),
        ("[]", ["manifest.json"]),
        ('{"format": 1}', ["threecad", "required"]),
        (json.dumps({"format": FORMAT + 1}), [f"found format {FORMAT + 1}", f"up to {FORMAT}"]),
    ],
)
def test_a_manifest_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, text: str | None, words: list[str]) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(ReadError) as caught:
        read_manifest(tmp_path)
    assert all(word in str(caught.value) for word in [str(tmp_path / MANIFEST), *words])


@pytest.mark.parametrize("text", [b"{}", b"{", b"\xff", b'{"id": 3}'])
def test_a_broken_row_is_an_error_that_names_file_and_line(written: Path, text: bytes) -> None:
    path = written / SAMPLES
    path.write_bytes(path.read_bytes() + text + b"\n")
    with pytest.raises(ReadError, match=r"samples\.jsonl, line 8: "):
        Dataset(written)


def test_a_row_of_a_later_version_may_hold_more(tmp_path: Path) -> None:
    one = sample(tmp_path, "bottle", 1, Split.TRAIN)
    path = tmp_path / SAMPLES
    path.write_bytes(line(row_of(one) | {"weather": "fine"}))
    assert list(read_samples(path)) == [one]


def test_a_file_of_rows_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"findings\.jsonl"):
        list(read_findings(tmp_path / "findings.jsonl"))


def test_the_schemas_describe_what_is_written(written: Path) -> None:
    models = {name: jsonschema.Draft202012Validator(schema) for name, schema in schemas().items()}
    assert set(models) == {"manifest.schema.json", "sample.schema.json", "finding.schema.json"}
    models["manifest.schema.json"].validate(json.loads((written / MANIFEST).read_text(encoding="utf-8")))
    for text in (written / SAMPLES).read_text(encoding="utf-8").splitlines():
        models["sample.schema.json"].validate(json.loads(text))
    finding = row_of(Finding(Code.CLIPPED, Action.REPAIRED, "a.png", 3, "at the edge", (1.5, 2.0)))
    models["finding.schema.json"].validate(json.loads(line(finding)))
    with pytest.raises(jsonschema.ValidationError):
        models["finding.schema.json"].validate(finding | {"code": "TC999"})
