"""The data set in torch's DataLoader: its items are stacked as they are, in processes of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from threecad.domain import Size, Split, Window
from threecad.formats.dataset import Dataset
from threecad.formats.layout import place, stem
from threecad.formats.png import encode_png

torch_data = pytest.importorskip("torch.utils.data", reason="needs torch (the train extra)")

SIDE = 32


@pytest.fixture
def category(tmp_path: Path) -> Path:
    """Good and defective tiles; the names sort badly and leave ASCII, and so does a type."""
    for split, kind in ((Split.TRAIN, "good"), (Split.TEST, "good"), (Split.TEST, "划痕"), (Split.TEST, "dent")):
        for number, source in enumerate(("a_mask.png", "a.png", "10.png", "裂.png")):
            name = stem(f"{kind}/{source}", Window(0, 820, Size(SIDE, SIDE)))
            paths = place("bottle", split, kind, name, "_mask")
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[number : number + 3, 8:20] = 255
            for path, pixels in ((paths.image, np.full((SIDE, SIDE, 3), number * 20, np.uint8)), (paths.mask, mask)):
                if path is not None:
                    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / path).write_bytes(encode_png(pixels))
    return tmp_path / "bottle"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python's from 3.12 on, about fork
@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])  # a spawned one takes seconds to load torch
def test_its_items_are_collated_in_workers(category: Path, start: str, workers: int) -> None:
    data = Dataset(category)
    loader = torch_data.DataLoader(data, batch_size=7, num_workers=workers, multiprocessing_context=start)
    seen = 0
    for batch in loader:
        for row in range(len(batch["id"])):
            own = data[seen]
            assert np.array_equal(batch["image"][row].numpy(), own["image"])
            assert np.array_equal(batch["gt_mask"][row].numpy(), own["gt_mask"])
            assert int(batch["gt_label"][row]) == own["gt_label"]
            told = {key: batch[key][row] for key in ("type", "types", "image_path", "mask_path", "id")}
            assert told == {key: own[key] for key in told}
            seen += 1
    assert seen == len(data) == 16


def test_it_takes_images_of_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "train" / "good" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_png(np.full((4, 4), 60_000, np.uint16)))
    assert torch_data.default_collate([Dataset(tmp_path)[0]])["image"].numpy().max() == 60_000
