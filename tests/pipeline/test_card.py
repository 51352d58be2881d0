"""The data card, the Croissant catalogue and the metadata, read by the libraries they are written for."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from threecad.errors import ConfigError
from threecad.pipeline import card as carding
from threecad.pipeline.card import card
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import convert

DESCRIBED = {
    "name": "Brackets | <b>line 7</b>",
    "description": "Die-cast brackets, one camera.\nSecond line with ``` and <script>.",
    "license": "CC-BY-4.0",
    "creators": ["A. Person", "B. Person"],
    "url": "https://example.org/brackets",
    "citation": "@misc{brackets}",
    "published": "2026-11-23",
    "defect_source": "Real",
}


@pytest.fixture(scope="module")
def data(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("card") / "data"
    convert(examples, out, Pipeline.model_validate({"tiling": {"slice_size": 256, "min_px": 16}, "card": DESCRIBED}))
    card(out)
    return out


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Somebody else's data set in MVTec's layout."""
    root = tmp_path / "theirs"
    for path, value in {
        "bolt/train/good/000.png": 90,
        "bolt/test/good/000.png": 80,
        "bolt/test/dent/000.png": 70,
        "bolt/ground_truth/dent/000_mask.png": 255,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / path), np.full((40, 50), value, np.uint8))
    return root


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_metadata_names_every_image_that_a_split_uses_and_its_mask(data: Path) -> None:
    used = {row["image"]: row["mask"] for row in rows(data / "samples.jsonl") if row["image"] and row["split"]}
    told = {row["file_name"]: row["mask_file_name"] for row in rows(data / "metadata.jsonl")}
    assert told == used
    assert any(told.values())


def test_hugging_face_loads_images_with_masks(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of theirs
        from datasets import load_dataset

        loaded = load_dataset(
            "imagefolder", data_dir=str(data), data_files="metadata.jsonl", split="train", cache_dir=str(tmp_path / "cache")
        )
        expected = rows(data / "metadata.jsonl")
        assert len(loaded) == len(expected)
        for number in range(0, len(expected), 7):
            found, told = loaded[number], expected[number]
            image = cv2.imread(str(data / told["file_name"]), cv2.IMREAD_UNCHANGED)
            assert found["image"].size == image.shape[1::-1]
            assert (found["mask"] is None) == (told["mask_file_name"] is None)
            if found["mask"] is not None:
                assert set(np.unique(np.asarray(found["mask"]))) == {0, 255}
            assert (found["split"], found["labels"], found["id"]) == (told["split"], told["labels"], told["id"])


def croissant(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of theirs
        logging.getLogger("absl").setLevel(logging.ERROR)
        import mlcroissant

        return mlcroissant.Dataset(str(folder / "croissant.json"))


def test_the_catalogue_is_valid_croissant_without_a_warning(data: Path) -> None:
    found = croissant(data)
    assert found.metadata.issues.errors == set()
    assert found.metadata.issues.warnings == set()
    assert found.metadata.name == DESCRIBED["name"]


def test_croissant_reads_every_record_and_every_picture(data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = croissant(data)
        told = rows(data / "metadata.jsonl")
        samples = [record["samples/file_name"].decode() for record in found.records("samples")]
        assert samples == [row["file_name"] for row in told]
        images = {record["images/path"].decode(): record["images/image"].size for record in found.records("images")}
        assert images.keys() == {row["file_name"] for row in told}
        masks = {record["masks/path"].decode() for record in found.records("masks")}
        assert masks == {row["mask_file_name"] for row in told} - {None}


def test_the_digests_are_those_of_the_files(data: Path) -> None:
    told = json.loads((data / "croissant.json").read_text(encoding="utf-8"))
    digests = {each["contentUrl"]: each["sha256"] for each in told["distribution"] if each["@type"] == "cr:FileObject"}
    assert digests.keys() >= {"metadata.jsonl", "samples.jsonl", "manifest.json"}
    for path, digest in digests.items():
        assert hashlib.sha256((data / path).read_bytes()).hexdigest() == digest
        assert f"| {digest} |" in (data / "dataset_card.md").read_text(encoding="utf-8")


def test_the_card_tells_counts_licence_and_types_and_its_text_stays_text(data: Path) -> None:
    text = (data / "dataset_card.md").read_text(encoding="utf-8")
    assert 'license: "cc-by-4.0"' in text
    assert "- Licence: CC-BY-4.0" in text
    assert "<script>" not in text.replace("\\<script\\>", "")
    train = sum(row["split"] == "train" for row in rows(data / "metadata.jsonl"))
    assert f"| All | {train} | 0 |" in text
    assert "| bracket | dent |" in text


def test_two_cards_of_one_data_set_are_equal(data: Path, tmp_path: Path) -> None:
    made = card(data, tmp_path / "elsewhere")
    for path in (made.card, made.croissant, made.metadata):
        assert path.read_bytes() == (data / path.name).read_bytes()


def test_somebody_elses_data_set_gets_a_card_where_one_asks_for_it(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--out"):
        card(plain)
    made = card(plain, tmp_path / "card")
    assert made.images == 3
    assert sorted(path.name for path in plain.iterdir()) == ["bolt"]
    assert [row["mask_file_name"] for row in rows(made.metadata)].count("bolt/ground_truth/dent/000_mask.png") == 1
    assert "unknown; ask whoever made it" in made.card.read_text(encoding="utf-8")
    assert croissant(tmp_path / "card").metadata.issues.errors == set()


def test_a_file_in_the_way_is_named(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "card").write_text("")
    with pytest.raises(ConfigError, match=r"card is a file; expected a folder"):
        card(plain, tmp_path / "card")


def test_folders_with_signs_that_globs_read_are_catalogued_by_suffix(plain: Path, tmp_path: Path) -> None:
    (plain / "bolt").rename(plain / "bolt [7]")
    told = json.loads(card(plain, tmp_path / "card").croissant.read_text(encoding="utf-8"))
    sets = {each["@id"]: each["includes"] for each in told["distribution"] if each["@type"] == "cr:FileSet"}
    assert sets["image-files"] == ["**/*.png"]


def test_what_was_skipped_is_told_by_reason(plain: Path, tmp_path: Path) -> None:
    text = card(plain, tmp_path / "before").card.read_text(encoding="utf-8")
    assert "Skipped" not in text
    (plain / "bolt/train/good/001.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("x", "y"):
        cv2.imwrite(str(plain / f"bolt/train/{name}.png"), np.zeros((9, 9), np.uint8))
    text = card(plain, tmp_path / "after").card.read_text(encoding="utf-8")
    assert "Skipped and not counted: 2 files or folders (TC205 a path leads out of the folder: 1; TC411 a folder that " in text


def test_a_category_called_all_is_not_mixed_up_with_the_sum(plain: Path, tmp_path: Path) -> None:
    (plain / "bolt").rename(plain / "All")
    shutil.copytree(plain / "All", plain / "nut")
    text = card(plain, tmp_path / "card").card.read_text(encoding="utf-8")
    assert "| All (category) | 1 | 0 | 1 | 1 | 0 | 1 |" in text
    assert "| All | 2 | 0 | 2 | 2 | 0 | 2 |" in text
    assert "| All (category) | dent | 1 |" in text


def test_the_catalogue_is_written_last_since_its_digest_says_that_all_is_up_to_date(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(carding, "write_atomically", lambda path, data: written.append(path.name))
    carding.card(plain, tmp_path)
    assert set(written) == {"metadata.jsonl", "dataset_card.md", "croissant.json"}
    assert written[-1] == "croissant.json"
