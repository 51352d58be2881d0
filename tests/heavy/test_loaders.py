"""The data set as anomalib's Folder and MVTecAD data modules load it; formats/test_dataset_torch.py has torch's own loader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from threecad.domain import Size, Split, Window
from threecad.formats.dataset import Dataset, Item
from threecad.formats.layout import RESERVED_TYPES, folders, place, stem, type_folder
from threecad.formats.png import encode_png

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(find_spec("anomalib") is None, reason="needs anomalib: make test-heavy"),
    pytest.mark.filterwarnings("ignore"),  # theirs, not ours
]

SIDE = 32
TYPES = ("Kratzer tief", "dent", "划痕", "good")


@pytest.fixture(params=["_mask", ""], ids=["mask suffix", "no mask suffix"])
def category(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One category with names that sort badly: image names that begin with one another, types of several words and scripts."""
    names = folders(TYPES, RESERVED_TYPES)
    kinds = [*names.values(), type_folder(TYPES[:2], [1, 2], "combined", names), type_folder(TYPES[:2], [1, 2], "joined", names)]
    sources = ["a.png", "a_mask.png", "a_1.png", "1.png", "10.png", "裂.png"]
    plan = [(Split.TRAIN, "good", "train"), (Split.TEST, "good", "fine"), *((Split.TEST, kind, kind) for kind in kinds)]
    plan += [(Split.VALIDATION, "good", "v"), (Split.VALIDATION, "dent", "v_dent")]
    for split, kind, folder in plan:
        for number, source in enumerate(sources):
            for left in (0, 820):
                name = stem(f"{folder}/{source}", Window(0, left, Size(SIDE, SIDE)))
                paths = place("bottle", split, kind, name, request.param)
                pixels = np.full((SIDE, SIDE, 3), (number * 20, left % 256, 90), np.uint8)
                mask = np.zeros((SIDE, SIDE), np.uint8)
                mask[number : number + 3, left // 100 : 20] = 255
                for path, content in ((paths.image, pixels), (paths.mask, mask), (paths.types, mask // 255)):
                    if path is not None:
                        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                        (tmp_path / path).write_bytes(encode_png(content))
    return tmp_path / "bottle"


def compare(theirs: Any, ours: Iterable[Item]) -> None:
    """The same images with the same label and the same mask to the pixel."""
    expected = {item["image_path"]: item for item in ours}
    assert len(theirs) == len(expected)
    for index in range(len(theirs)):
        item = theirs[index]
        own = expected[item.image_path]
        assert int(item.gt_label) == own["gt_label"]
        if own["image"].dtype == np.uint8:  # anomalib turns 16 bits into 8 by clipping: docs/decisions/0009
            assert np.allclose(item.image.permute(1, 2, 0).numpy() * 255, own["image"], atol=0.5)
        if item.gt_mask is not None:
            assert np.array_equal(item.gt_mask.numpy().astype(bool), own["gt_mask"])
        if own["gt_label"]:
            assert item.mask_path == own["mask_path"]


def by_folder(home: Path, kinds: Sequence[str]) -> Any:
    """anomalib's data module for anybody's folders, over one category of ours."""
    from anomalib.data import Folder

    return Folder(
        name=home.name,
        root=home,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{kind}" for kind in kinds],
        mask_dir=[f"ground_truth/{kind}" for kind in kinds],
        num_workers=0,
        test_split_mode="from_dir",
        val_split_mode="none",
    )


def test_anomalibs_mvtec_reader_pairs_every_image_with_its_mask(category: Path) -> None:
    from anomalib.data import MVTecAD

    module = MVTecAD(root=category.parent, category=category.name, num_workers=0, val_split_mode="none")
    module.setup()
    compare(module.train_data, Dataset(category, "train"))
    compare(module.test_data, Dataset(category, "test"))


def test_anomalibs_folder_reader_pairs_every_image_with_its_mask(category: Path) -> None:
    # It refuses paths that are not ASCII; a label table gives such types another name. (MVTecAD takes these types.)
    kinds = sorted(path.name for path in (category / "ground_truth").iterdir() if path.name.isascii())
    assert len(kinds) == 5
    module = by_folder(category, kinds)
    module.setup()
    compare(module.train_data, Dataset(category, "train"))
    compare(module.test_data, [item for item in Dataset(category, "test") if item["type"].isascii()])


@pytest.fixture(scope="module")
def converted(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `threecad convert` makes of the example photographs, a validation split and type folders of their own included."""
    from threecad.pipeline.config import load, override
    from threecad.pipeline.convert import convert

    out = tmp_path_factory.mktemp("converted") / "data"
    convert(examples, out, override(load("smoke"), {"split.validation": 0.2, "read.unannotated": "good"}))
    return out


@pytest.mark.parametrize("name", ["bracket", "pcb-frame"])
def test_anomalib_reads_what_a_conversion_wrote(converted: Path, name: str) -> None:
    from anomalib.data import MVTecAD

    ours = {split: Dataset(converted, split, name) for split in ("train", "test")}
    kinds = sorted(path.name for path in (converted / name / "ground_truth").iterdir())
    in_mvtecs_way = MVTecAD(root=converted, category=name, num_workers=0, val_split_mode="none")
    for module in (in_mvtecs_way, by_folder(converted / name, kinds)):
        module.setup()
        compare(module.train_data, ours["train"])
        compare(module.test_data, ours["test"])
