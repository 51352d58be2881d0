"""How a run is measured: which images test, what is counted of them, and what is told."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from threecad.cli import judging
from threecad.cli.frame import main
from threecad.domain import Size, Split
from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats.dataset import Dataset
from threecad.formats.images import decode_file
from threecad.formats.maps import read_map
from threecad.formats.png import encode_png
from threecad.learning import evaluate as package
from threecad.learning import runs
from threecad.learning.config import Recipe
from threecad.learning.evaluate import Evaluation, as_json, evaluate, looking, write
from threecad.learning.evaluate.measuring import at_threshold
from threecad.learning.evaluate.results import Judged, Share
from threecad.learning.fitting import fit_image, fits, unfit
from threecad.learning.model import Cfrg, Prediction, backbone
from threecad.learning.plan import plan
from threecad.learning.predict.passing import predict_image
from threecad.learning.runs import Run, Threshold, Trained
from threecad.pipeline.scoring import score

assert judging  # which registers the command

SIDE = 64


class Brightness(torch.nn.Module):
    """A detector whose every score is known: how bright a pixel is, from 0 to 1."""

    def forward(self, images_B3HW: torch.Tensor) -> Prediction:
        map_BHW = images_B3HW.mean(1)
        return Prediction(map_BHW, map_BHW.flatten(1).amax(1))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny networks are quicker so, and the machine is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "detector", lambda run, model, device="cpu": Brightness())


def a_run(
    root: Path, *categories: str, threshold: float = 0.5, photograph: float = 0.5, joint: bool = False, **settings: object
) -> Path:
    """A run without networks, for `Brightness`; settings of the data section."""
    recipe = Recipe.model_validate({"data": {"size": SIDE, "joint": joint, **settings}})
    models = [("joint", categories)] if joint else [(name, (name,)) for name in categories]
    trained = []
    for number, (name, own) in enumerate(models):
        folder = f"m{number}"
        limit = Threshold(
            image=threshold, photograph=photograph, false_positive_rate=0.01, images=9, photographs=9, source="validation"
        )
        runs.write_json(root / folder / runs.THRESHOLD, limit)
        trained.append(Trained(name=name, categories=own, folder=folder, images=9, seconds=1.0))
    runs.write_recipe(root, recipe)
    runs.write_json(
        root / runs.RUN, runs.Contents(threecad="0.1.0", dataset="data", cut=None, teacher="0" * 64, models=tuple(trained))
    )
    return root


def put(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.ascontiguousarray(pixels)))


def good(root: Path, name: str = "000", level: int = 50, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    put(root / "test/good" / f"{name}.png", np.full(size, level, np.uint8))


def defective(
    root: Path,
    name: str = "000",
    kind: str = "dent",
    *,
    box: tuple[slice, slice] = (slice(4, 12), slice(4, 12)),
    level: int = 200,
    size: tuple[int, int] = (SIDE, SIDE),
    masked: bool = True,
) -> None:
    pixels, mask = np.full(size, 50, np.uint8), np.zeros(size, np.uint8)
    pixels[box], mask[box] = level, 255
    put(root / "test" / kind / f"{name}.png", pixels)
    if masked:
        put(root / "ground_truth" / kind / f"{name}.png", mask)


def one(done: Evaluation) -> Any:
    (found,) = done.categories
    return found


# Figures


def test_a_detector_that_is_always_right_reaches_one_everywhere(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    found = one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data"))
    for name in ("image_auroc", "pixel_auroc", "aupro", "pixel_ap", "image_ap", "image_f1", "pixel_f1"):
        assert found.figures[name].value == pytest.approx(1, abs=1e-6), name
    assert found.figures["pro_upstream"] is None
    assert (found.images, found.defective, found.regions, found.unmarked) == (2, 1, 1, 0)
    assert found.why == ()
    assert found.image_f1_threshold == pytest.approx(200 / 255)
    assert found.pixel_f1_threshold == pytest.approx(200 / 255, rel=1e-4)


@pytest.mark.parametrize("resize", ["squash", "letterbox", "tile"])
def test_figures_are_those_of_all_pixels_at_the_masks_own_resolution(tmp_path: Path, bright: None, resize: str) -> None:
    rng = np.random.default_rng(3)
    for number in range(6):
        size = (70 + 7 * number, 145 - 5 * number)
        mask = np.zeros(size, np.uint8)
        kind = "dent" if number % 2 else "good"
        if number % 2:
            mask[5:20, 8:30] = 255
        noise = rng.integers(0, 200, size) + mask // 8
        put(tmp_path / f"data/nut/test/{kind}/{number}.png", noise.astype(np.uint8))
        if number % 2:
            put(tmp_path / f"data/nut/ground_truth/{kind}/{number}.png", mask)
    run = a_run(tmp_path / "run", "nut", resize=resize)
    done = evaluate(run, tmp_path / "data")
    settings = Run(run).recipe.data
    scores, labels, tops, kinds = [], [], [], []
    for item in Dataset(tmp_path / "data", split="test"):
        cut = fits(Size(*item["gt_mask"].shape), settings)
        squares = np.stack([fit_image(item["image"], each, SIDE) for each in cut]).astype(np.float32) / 255
        maps = squares.mean(-1)
        scores.append(unfit(maps, cut, Size(*item["gt_mask"].shape)).ravel())
        labels.append(item["gt_mask"].ravel())
        tops.append(maps.max())
        kinds.append(item["gt_label"])
    figures = one(done).figures
    pixels, marked = np.concatenate(scores), np.concatenate(labels)
    for name, exact in (("pixel_auroc", roc_auc_score), ("pixel_ap", average_precision_score)):
        figure = figures[name]
        assert figure.lower - 1e-6 <= exact(marked, pixels) <= figure.upper + 1e-6
        assert figure.upper - figure.lower < 1e-2
    assert figures["image_auroc"].value == pytest.approx(roc_auc_score(kinds, tops), abs=1e-9)
    assert figures["image_ap"].value == pytest.approx(average_precision_score(kinds, tops), abs=1e-9)
    assert one(done).pixels == len(pixels)
    assert [each.score for each in done.images] == pytest.approx(tops, abs=1e-6)


def test_a_defect_of_one_pixel_counts_at_the_models_resolution_too(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", size=(640, 640))
    defective(tmp_path / "data/nut", box=(slice(100, 101), slice(100, 101)), level=255, size=(640, 640))
    found = one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", native=False))
    assert (found.pixels, found.anomalous_pixels, found.regions, found.defective) == (2 * SIDE**2, 1, 1, 1)
    assert found.figures["image_auroc"].value == 1
    assert found.sizes[0].regions.total == 1


def test_padding_is_not_measured_at_the_models_resolution(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", size=(32, 128))
    defective(tmp_path / "data/nut", size=(32, 128))
    found = one(evaluate(a_run(tmp_path / "run", "nut", resize="letterbox"), tmp_path / "data", native=False))
    assert found.pixels == 2 * 16 * SIDE


def test_squares_of_a_cut_image_are_measured_one_by_one_at_the_models_resolution(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", size=(SIDE, 2 * SIDE))
    defective(tmp_path / "data/nut", size=(SIDE, 2 * SIDE))
    found = one(evaluate(a_run(tmp_path / "run", "nut", resize="tile", overlap_ratio=0.0), tmp_path / "data", native=False))
    assert (found.images, found.defective) == (2, 1)
    assert found.pixels == 4 * SIDE**2
    assert found.figures["pixel_auroc"].value == 1


def test_the_resolution_is_by_default_what_the_run_says(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", size=(128, 128))
    defective(tmp_path / "data/nut", size=(128, 128))
    run = a_run(tmp_path / "run", "nut")
    assert evaluate(run, tmp_path / "data").resolution == "native"
    text = (run / runs.RECIPE).read_text()
    (run / runs.RECIPE).write_text(text.replace("native = true", "native = false"))
    done = evaluate(run, tmp_path / "data")
    assert (done.resolution, one(done).pixels) == ("model", 2 * SIDE**2)


def test_each_category_counts_the_same_in_the_mean(tmp_path: Path, bright: None) -> None:
    for name, level in (("nut", 200), ("bolt", 20)):
        good(tmp_path / "data" / name)
        defective(tmp_path / "data" / name, level=level)
    for number in range(5):
        good(tmp_path / "data/nut", f"1{number}")
    done = evaluate(a_run(tmp_path / "run", "nut", "bolt"), tmp_path / "data")
    assert [each.category for each in done.categories] == ["bolt", "nut"]
    values = [each.figures["pixel_auroc"].value for each in done.categories]
    assert done.mean("pixel_auroc") == (pytest.approx(sum(values) / 2), 2)
    assert values[0] < 0.5 < values[1]


def test_without_good_images_their_figures_are_undefined_and_the_sentence_says_why(tmp_path: Path, bright: None) -> None:
    defective(tmp_path / "data/nut")
    found = one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data"))
    assert found.figures["image_auroc"] is None
    assert found.figures["pixel_auroc"].value == 1
    assert found.why == ("no good image tests, so the figures of images are undefined.",)
    assert found.at.false_alarms == Share(0, 0)


def test_without_defective_images_nothing_but_false_alarms_is_known(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    good(tmp_path / "data/nut", "001", level=250)
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")
    found = one(done)
    assert not any(found.figures.values())
    assert found.why == (
        "no defective image tests, so the figures of images are undefined.",
        "no mask marks a pixel, so the figures of pixels are undefined.",
    )
    assert found.at.false_alarms == Share(1, 2)
    assert done.mean("aupro") == (None, 0)
    assert [case.kind for case in found.cases] == ["false alarm"]


def test_a_single_image_is_measured(tmp_path: Path, bright: None) -> None:
    defective(tmp_path / "data/nut")
    assert one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")).images == 1


def test_a_defective_image_without_mask_counts_as_an_image_and_its_pixels_not_at_all(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    defective(tmp_path / "data/nut", "001", masked=False)
    found = one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data"))
    assert (found.defective, found.unmarked, found.pixels) == (2, 1, 2 * SIDE**2)
    assert found.figures["pixel_auroc"].value == 1
    assert found.at.found == Share(2, 2)
    assert found.why == ("1 defective image has no mask that marks a pixel, of use for figures of images only.",)


def test_a_mask_that_marks_nothing_does_not_make_an_image_good(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut", masked=False)
    put(tmp_path / "data/nut/ground_truth/dent/000.png", np.zeros((SIDE, SIDE), np.uint8))
    found = one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data"))
    assert (found.defective, found.unmarked) == (1, 1)
    assert found.figures["image_auroc"].value == 1
    assert found.figures["pixel_auroc"] is None


def test_upstreams_variant_is_told_only_where_asked_for_and_never_as_comparable(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    run = a_run(tmp_path / "run", "nut")
    plain = as_json(evaluate(run, tmp_path / "data"))
    asked = as_json(evaluate(run, tmp_path / "data", upstream=True))
    assert "pro_upstream" not in plain["categories"][0]["figures"]
    assert asked["categories"][0]["figures"]["pro_upstream"]["comparable"] is False
    assert "pro_upstream" in asked["mean"]


def test_the_limit_of_the_pro_curve_is_the_runs_or_the_given_one(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", level=220)
    defective(tmp_path / "data/nut")
    run = a_run(tmp_path / "run", "nut")
    narrow, wide = (one(evaluate(run, tmp_path / "data", pro_limit=limit)).figures["aupro"].value for limit in (0.01, 1.0))
    assert narrow < wide
    assert evaluate(run, tmp_path / "data").pro_limit == 0.3
    with pytest.raises(ConfigError, match=r"P-PRO of 0"):
        evaluate(run, tmp_path / "data", pro_limit=0)


# The threshold


def test_a_score_that_equals_the_threshold_is_found(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", level=100)
    defective(tmp_path / "data/nut", level=200)
    defective(tmp_path / "data/nut", "001", level=199)
    score = float(np.float32(200) / np.float32(255))
    found = one(evaluate(a_run(tmp_path / "run", "nut", threshold=score), tmp_path / "data"))
    assert (found.at.found, found.at.false_alarms, found.at.regions) == (Share(1, 2), Share(0, 1), Share(1, 2))


def test_recall_goes_by_type_and_by_size_class(tmp_path: Path, bright: None) -> None:
    root, size = tmp_path / "data/nut", (200, 200)
    good(root, size=size)
    defective(root, "000", "dent", box=(slice(0, 7), slice(0, 9)), level=60, size=size)  # 63 px², missed
    defective(root, "001", "dent", box=(slice(0, 8), slice(0, 8)), level=250, size=size)  # 64 px²
    defective(root, "000", "scratch", box=(slice(0, 150), slice(0, 150)), level=250, size=size)
    found = one(evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data"))
    assert [(each.type, each.images, each.regions) for each in found.types] == [
        ("dent", Share(1, 2), Share(1, 2)),
        ("scratch", Share(1, 1), Share(1, 1)),
    ]
    assert [(each.size_class, each.regions) for each in found.sizes] == [
        ("tiny", Share(0, 1)),
        ("small", Share(1, 1)),
        ("medium", Share(0, 0)),
        ("large", Share(1, 1)),
    ]


def test_regions_that_touch_at_a_corner_are_one(tmp_path: Path) -> None:
    mask = np.eye(9, dtype=bool)
    assert looking.count_regions(mask, np.zeros((9, 9), np.float32), 0.5) == ((1, 0, 0, 0), (0, 0, 0, 0))


def test_regions_are_counted_at_the_images_resolution_whatever_pixels_are(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", size=(256, 256))
    defective(tmp_path / "data/nut", box=(slice(0, 256, 4), slice(0, 1)), size=(256, 256))
    run = a_run(tmp_path / "run", "nut")
    native, model = (one(evaluate(run, tmp_path / "data", native=kind)) for kind in (True, False))
    assert native.sizes == model.sizes
    assert (native.regions, model.regions) == (64, 1)


def test_photographs_are_judged_by_their_highest_tile_and_their_own_threshold(tmp_path: Path, bright: None) -> None:
    def tile(source: str, score: float, *, is_defective: bool) -> Judged:
        return Judged(f"{source}{score}", "nut", "", is_defective, score, False, None, (0,) * 4, (0,) * 4, source)

    limit = Threshold(image=0.5, photograph=0.6, false_positive_rate=0.01, images=9, photographs=9, source="validation")
    tiles = [
        tile("a", 0.9, is_defective=False),
        tile("a", 0.1, is_defective=True),
        tile("b", 0.5, is_defective=True),
        tile("c", 0.6, is_defective=False),
        tile("c", 0.2, is_defective=False),
    ]
    at = at_threshold(tiles, limit)
    assert (at.photographs_found, at.photographs_false_alarms) == (Share(1, 2), Share(1, 1))
    assert at_threshold(tiles[1:4], limit).photographs_found == Share(0, 0), "whole photographs are told once"


# Which images


def test_what_only_the_run_or_only_the_data_set_has_is_told(tmp_path: Path, bright: None) -> None:
    for name in ("nut", "cap"):
        good(tmp_path / "data" / name)
        defective(tmp_path / "data" / name)
    said: list[str] = []
    done = evaluate(a_run(tmp_path / "run", "nut", "bolt"), tmp_path / "data", note=said.append)
    assert [each.category for each in done.categories] == ["nut"]
    assert said == ["bolt: not evaluated, the data set lacks it.", "cap: not evaluated, no model of it."]
    assert done.notes == tuple(said)


def test_no_category_in_common_is_a_sentence(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/cap")
    defective(tmp_path / "data/cap")
    with pytest.raises(ConfigError, match=r"found the categories cap; expected one that .*run is trained on: bolt, nut"):
        evaluate(a_run(tmp_path / "run", "nut", "bolt"), tmp_path / "data")


def test_a_category_that_is_named_must_be_in_both(tmp_path: Path, bright: None) -> None:
    for name in ("nut", "cap"):
        good(tmp_path / "data" / name)
        defective(tmp_path / "data" / name)
    run = a_run(tmp_path / "run", "nut", "bolt")
    assert [each.category for each in evaluate(run, tmp_path / "data", categories=["nut"]).categories] == ["nut"]
    with pytest.raises(ConfigError, match=r"no model of 'cap'; expected one of bolt, nut"):
        evaluate(run, tmp_path / "data", categories=["cap"])
    with pytest.raises(LayoutError, match=r"no category 'bolt'; found cap, nut"):
        evaluate(run, tmp_path / "data", categories=["bolt"])


def test_a_joint_model_is_measured_category_by_category(tmp_path: Path, bright: None) -> None:
    for name in ("nut", "cap"):
        good(tmp_path / "data" / name)
        defective(tmp_path / "data" / name)
    done = evaluate(a_run(tmp_path / "run", "nut", "cap", joint=True), tmp_path / "data")
    assert [(each.category, each.model, each.images) for each in done.categories] == [("cap", "joint", 2), ("nut", "joint", 2)]


def test_only_images_of_split_test_count(tmp_path: Path, bright: None) -> None:
    put(tmp_path / "data/nut/train/good/000.png", np.full((8, 8), 250, np.uint8))
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")
    assert [each.path for each in done.images] == ["nut/test/dent/000.png", "nut/test/good/000.png"]


def test_without_test_images_the_sentence_says_so(tmp_path: Path, bright: None) -> None:
    put(tmp_path / "data/nut/train/good/000.png", np.full((8, 8), 250, np.uint8))
    put(tmp_path / "data/nut/validation/good/000.png", np.full((8, 8), 250, np.uint8))
    with pytest.raises(LayoutError, match="no image of split test in nut"):
        evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")


@pytest.fixture
def unsplit(tmp_path: Path) -> Path:
    """Images beside folders of types, in no split."""
    root = tmp_path / "data"
    for number in range(20):
        put(root / f"nut/good/{number:03}.png", np.full((SIDE, SIDE), 50, np.uint8))
    for number in range(3):
        pixels = np.full((SIDE, SIDE), 50, np.uint8)
        pixels[4:9, 4:9] = 200
        put(root / f"nut/dent/{number:03}.png", pixels)
    return root


def test_without_splits_those_images_test_that_training_leaves_out(tmp_path: Path, bright: None, unsplit: Path) -> None:
    assert {row.split for row in Dataset(unsplit).rows} == {None}
    (category,) = {row.category for row in Dataset(unsplit).rows}
    tested = []
    for seed in (0, 7):
        run = a_run(tmp_path / f"run{seed}", category, seed=seed)
        said: list[str] = []
        done = evaluate(run, unsplit, note=said.append)
        (planned,), _ = plan(unsplit, Run(run).recipe.data, seed=seed)
        tested.append([each.path for each in done.images])
        assert tested[-1] == [row.image for row in planned.test.rows]
        assert not set(tested[-1]) & {row.image for row in planned.train.rows}
        assert said == [
            f"{category}: no split is given; {len(done.images)} images of 23 test, those that training with seed {seed} leaves "
            "out."
        ]
    assert tested[0] != tested[1]


def paired(folder: Path, marks: str) -> None:
    """Images beside their masks; of each letter an image whose mask marks something (1), or nothing (0), or that has none (-)."""
    for number, mark in enumerate(marks):
        put(folder / f"images/{number:03}.png", np.full((SIDE, SIDE), 50, np.uint8))
        if mark != "-":
            put(folder / f"masks/{number:03}.png", np.full((SIDE, SIDE), 255 * int(mark), np.uint8))


def test_without_splits_and_without_good_images_all_test(tmp_path: Path, bright: None) -> None:
    paired(tmp_path / "data/nut", "111")
    said: list[str] = []
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", note=said.append)
    assert [each.defective for each in done.images] == [True] * 3
    assert said == ["nut: no split is given and no image is good, so all test."]


def test_where_all_is_said_to_train_defects_too_that_is_no_split(tmp_path: Path, bright: None) -> None:
    paired(tmp_path / "data/nut/train", "00000000111")
    assert {row.split for row in Dataset(tmp_path / "data").rows} == {Split.TRAIN}
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")
    assert sorted(each.defective for each in done.images) == [False, False, True, True, True]


def test_an_image_that_nobody_calls_good_is_neither_good_nor_lost_without_a_word(tmp_path: Path, bright: None) -> None:
    paired(tmp_path / "data/nut/test", "001--")
    said: list[str] = []
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", note=said.append)
    assert [(each.path[-7:], each.defective) for each in done.images] == [
        ("000.png", False),
        ("001.png", False),
        ("002.png", True),
    ]
    assert said == ["nut: 2 test images left out, for nothing says whether they are good: neither a folder's name nor a mask."]


def test_files_that_the_layout_leaves_out_are_told(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    (tmp_path / "data/nut/test/good/gone.png").symlink_to(tmp_path / "nowhere.png")
    said: list[str] = []
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", note=said.append)
    assert said == ["1 file of the data set left out; threecad stats tells what is wrong there."] == list(done.notes)


# Machinery


def test_batches_and_threads_change_no_byte(tmp_path: Path, bright: None) -> None:
    rng = np.random.default_rng(1)
    for number in range(11):
        put(tmp_path / f"data/nut/test/good/{number:03}.png", rng.integers(0, 120, (80, 190), np.uint8))
        defective(tmp_path / "data/nut", f"{number:03}", size=(70, 90), level=100 + 10 * number)
    run = a_run(tmp_path / "run", "nut", resize="tile")
    files = []
    for workers, batch in ((1, 1), (3, 7), (2, 64)):
        out = tmp_path / f"out{workers}"
        done = evaluate(run, tmp_path / "data", workers=workers, batch_size=batch, cases=False)
        written = write(done, out, figures=False)
        files.append({path.name: path.read_bytes() for path in written})
    assert files[0] == files[1] == files[2]
    assert set(files[0]) == {"metrics.json", "images.jsonl"}
    lines = [json.loads(line) for line in files[0]["images.jsonl"].splitlines()]
    assert len(lines) == 22
    assert lines[0] == {
        "category": "nut",
        "found": False,
        "label": 1,
        "path": "nut/test/dent/000.png",
        "regions": 1,
        "regions_found": 0,
        "score": pytest.approx(100 / 255),
        "type": "dent",
    }


def test_few_images_are_open_however_many_there_are_and_fewer_where_they_are_large() -> None:
    begun = 0

    def work(number: int) -> int:
        nonlocal begun
        begun += 1
        return number

    with ThreadPoolExecutor(1) as pool:
        small, most = [], 0
        for number in looking.ahead(pool, work, range(100), lambda _: 1):
            small.append(number)
            most = max(most, begun - len(small))
        assert small == list(range(100))
        assert most <= looking.MOST_AHEAD
        begun, large, most = 0, [], 0
        for number in looking.ahead(pool, work, range(100), lambda _: looking.BUDGET // 2):
            large.append(number)
            if len(large) > looking.MOST_AHEAD + 1:
                most = max(most, begun - len(large))
        assert large == small
        assert most <= 2


def test_a_mask_of_another_size_is_a_sentence_that_names_it(tmp_path: Path, bright: None) -> None:
    defective(tmp_path / "data/nut")
    put(tmp_path / "data/nut/ground_truth/dent/000.png", np.full((16, 16), 255, np.uint8))
    with pytest.raises(ReadError, match=r"ground_truth/dent/000\.png: "):
        evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")


def test_an_image_that_cannot_be_read_is_a_sentence_that_names_it(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    (tmp_path / "data/nut/test/good/001.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(ReadError, match=r"good/001\.png"):
        evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")


def test_images_of_16_bits_are_measured(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    put(tmp_path / "data/nut/test/good/001.png", np.full((SIDE, SIDE, 3), 40_000, np.uint16))
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")
    assert done.images[-1].score == pytest.approx(round(40_000 / 257) / 255)


def test_scores_that_are_no_numbers_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Brightness):
        def forward(self, images_B3HW: torch.Tensor) -> Prediction:
            return Prediction(*(part * math.nan for part in super().forward(images_B3HW)))

    monkeypatch.setattr(Run, "detector", lambda run, model, device="cpu": Broken())
    good(tmp_path / "data/nut")
    with pytest.raises(ReadError, match=r"nut/test/good/000\.png: the model of 'nut' gives scores that are no finite numbers"):
        evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data")


def test_too_little_memory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hungry(Brightness):
        def forward(self, images_B3HW: torch.Tensor) -> Prediction:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(Run, "detector", lambda run, model, device="cpu": Hungry())
    for number in range(4):
        good(tmp_path / "data/nut", f"{number:03}")
    with pytest.raises(ThreecadError, match=r"cpu: not enough memory for 4 squares at a time; pass a smaller --batch-size"):
        evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", batch_size=4)


def test_maps_are_written_in_one_scale_where_the_images_lie(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut", size=(20, 30))
    defective(tmp_path / "data/nut")
    evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", maps=tmp_path / "maps", native=False)
    found = read_map(tmp_path / "maps/nut/test/good/000.png")
    assert found.shape == (20, 30)
    assert found == pytest.approx(50 / 255, abs=1e-4)
    assert read_map(tmp_path / "maps/nut/test/dent/000.png").max() == pytest.approx(200 / 255, abs=1e-4)


def test_maps_of_images_that_differ_in_their_suffix_alone_are_told_apart_by_score(tmp_path: Path, bright: None) -> None:
    rng = np.random.default_rng(5)
    for name in ("000.png", "000.bmp", "001.png"):
        path = tmp_path / "data/nut/test/good" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 250, (SIDE, SIDE), np.uint8)).save(path)
    for name in ("000", "001"):
        defective(tmp_path / "data/nut", name)
    done = evaluate(a_run(tmp_path / "run", "nut"), tmp_path / "data", maps=tmp_path / "maps")
    assert sorted(path.name for path in (tmp_path / "maps/nut/test/good").iterdir()) == [
        "000.bmp.png",
        "000.png.png",
        "001.png.png",
    ]
    (row,) = score(tmp_path / "maps", tmp_path / "data").rows
    for name in ("image_auroc", "pixel_auroc", "aupro"):
        assert float(getattr(row.scores, name)) == pytest.approx(one(done).figures[name].value, abs=1e-3), name


def test_no_map_is_written_outside_its_folder_or_over_another() -> None:
    class Row:
        def __init__(self, image: str) -> None:
            self.image = image

    names = looking.map_names([Row("a/1.jpg"), Row("a/1.png"), Row("b/1.jpg")])  # type: ignore[list-item]
    assert sorted(names.values()) == ["a/1.jpg.png", "a/1.png.png", "b/1.jpg.png"]
    odd = ["x.jpg", "x.png", "x.png.png", "X.bmp", "\udcff.png"]
    rows: Any = list(map(Row, odd))
    assert len({name.casefold() for name in looking.map_names(rows).values()}) == len(odd)
    for path in ("/etc/1.png", "a/../../1.png"):
        with pytest.raises(ReadError, match="leads out of the data set"):
            looking.map_names([Row(path)])  # type: ignore[list-item]


def all_bytes(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("maps", "text"),
    [
        ("data", r"is the data set .*, whose images maps must not replace; expected a folder of score maps apart from it$"),
        ("data/nut/maps", "lies inside the data set"),
        ("link/nut", "lies inside the data set"),
        (".", "contains the data set"),
        ("home/run", "is the run"),
        ("home", "contains the run"),
        ("home/run/m0", "lies inside the run"),
        ("home/run/evaluation", "lies inside the run"),
        ("photos", r"found me\.png and no \.threecad-maps of an earlier evaluation; expected a new or empty folder"),
        ("photos/me.png", "is a file"),
    ],
)
def test_maps_replace_no_file_that_is_not_a_map(tmp_path: Path, bright: None, maps: str, text: str) -> None:
    good(tmp_path / "data/nut")
    defective(tmp_path / "data/nut")
    run = a_run(tmp_path / "home/run", "nut")
    put(tmp_path / "photos/me.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "link").symlink_to("data")
    before = all_bytes(tmp_path)
    with pytest.raises((ConfigError, LayoutError), match=text):
        evaluate(run, tmp_path / "data", maps=tmp_path / maps)
    assert all_bytes(tmp_path) == before


def test_maps_may_be_written_again_where_an_evaluation_wrote_them(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    run = a_run(tmp_path / "run", "nut")
    for maps in (tmp_path / "maps", run / "evaluation/data/maps"):
        evaluate(run, tmp_path / "data", maps=maps)
        before = all_bytes(maps)
        assert len(before) == 2
        evaluate(run, tmp_path / "data", maps=maps)
        assert all_bytes(maps) == before


def test_no_map_follows_a_link_out_of_its_folder(tmp_path: Path, bright: None) -> None:
    good(tmp_path / "data/nut")
    run = a_run(tmp_path / "run", "nut")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/.threecad-maps").write_text("")
    (tmp_path / "maps/nut").symlink_to(tmp_path / "data/nut")
    before = all_bytes(tmp_path / "data")
    with pytest.raises(ConfigError, match="a link leads out of the folder of score maps"):
        evaluate(run, tmp_path / "data", maps=tmp_path / "maps")
    assert all_bytes(tmp_path / "data") == before


def test_progress_counts_all_categories_together(tmp_path: Path, bright: None) -> None:
    for name in ("nut", "cap"):
        good(tmp_path / "data" / name)
        defective(tmp_path / "data" / name)
    steps: list[tuple[int, int]] = []
    evaluate(
        a_run(tmp_path / "run", "nut", "cap"), tmp_path / "data", progress=lambda step: steps.append((step.done, step.total))
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


# With networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with tiny networks that never trained, and a data set."""
    root = tmp_path_factory.mktemp("networks")
    for number in range(3):
        good(root / "data/nut", f"{number:03}", size=(70, 90))
        defective(root / "data/nut", f"{number:03}", size=(70, 90), level=80 + 60 * number)
    model = {"teacher": "test_resnet.r160_in1k", "student": "test_efficientnet.r160_in1k"}
    recipe = Recipe.model_validate({"data": {"size": 64}, "model": model})
    torch.manual_seed(0)
    teacher = backbone(recipe.model.teacher)
    run = a_run(root / "run", "nut", threshold=2.5, size=64)
    digest = runs.write_teacher(run, teacher)
    runs.write_recipe(run, recipe)
    runs.write_model(run / "m0", Cfrg(recipe.model, teacher))
    contents = Run(run).contents.model_copy(update={"teacher": digest})
    runs.write_json(run / runs.RUN, contents)
    return run, root / "data"


def test_scores_are_the_detectors(networks: tuple[Path, Path]) -> None:
    run, data = networks
    opened = Run(run)
    done = evaluate(opened, data, batch_size=4)
    detector = opened.detector(opened.model())
    item = Dataset(data, split="test")[0]
    (fit,) = fits(Size(70, 90), opened.recipe.data)
    square = torch.from_numpy(fit_image(item["image"], fit, 64)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        said = detector(square)
    assert done.images[0].score == pytest.approx(float(said.score_B[0]), rel=1e-5)


def test_the_precision_is_that_of_the_threshold_unless_another_is_asked_for(networks: tuple[Path, Path]) -> None:
    run, data = networks
    opened = Run(run)
    expected = [each.score for each in evaluate(opened, data, cases=False).images]
    train = opened.recipe.train.model_copy(update={"precision": "bf16-mixed"})
    opened.recipe = opened.recipe.model_copy(update={"train": train})
    assert [each.score for each in evaluate(opened, data, cases=False).images] == expected
    rounded = [each.score for each in evaluate(opened, data, cases=False, precision="bf16-mixed").images]
    assert rounded == pytest.approx(expected, abs=0.1)
    assert rounded != expected
    with pytest.raises(ConfigError, match="16-mixed"):
        evaluate(opened, data, precision="16-mixed", device="cpu")


def test_the_score_of_an_image_is_the_one_that_predict_tells(networks: tuple[Path, Path]) -> None:
    run, data = networks
    opened = Run(run)
    detector = opened.detector(opened.model())
    for each in evaluate(opened, data, cases=False, batch_size=1).images:
        pixels = decode_file(data / each.path, each.path, 10_000_000).pixels
        assert each.score == predict_image(detector, pixels, opened.recipe.data, batch_size=1).score


def test_a_device_that_is_not_there_is_a_sentence(networks: tuple[Path, Path]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run, data = networks
    with pytest.raises(ConfigError, match="cuda:7"):
        evaluate(run, data, device="cuda:7")


# The command


def call(*words: object) -> Any:
    return CliRunner().invoke(main, ["evaluate", *map(str, words)])


def test_the_command_prints_tables_and_writes_beside_the_run(networks: tuple[Path, Path]) -> None:
    run, data = networks
    said = call(run, data)
    assert said.exit_code == 0, said.output
    for text in ("I-AUROC", "P-PRO", "At the run's threshold", "dent", "(9 files)"):
        assert text in said.output
    files = {path.name for path in (run / "evaluation/data").iterdir()}
    figures = {f"{name}.{form}" for name in ("roc", "pr", "pro") for form in ("svg", "png")}
    assert files == {"metrics.json", "images.jsonl", "cases.png"} | figures
    metrics = json.loads((run / "evaluation/data/metrics.json").read_text())
    assert metrics["categories"][0]["images"] == 6
    assert str(run) not in (run / "evaluation/data/metrics.json").read_text()


def test_the_command_prints_one_form_and_nothing_else_on_standard_output(networks: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = networks
    asked = (run, data, "--out", tmp_path / "out", "--no-figures", "--category", "nut")
    told = json.loads(call(*asked, "--json").stdout)
    assert told == json.loads((tmp_path / "out/metrics.json").read_text())
    assert call(*asked, "--csv").stdout.startswith("dataset,table,category,item,name,value\n")
    assert r"\toprule" in call(*asked, "--latex").stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images.jsonl", "metrics.json"]
    assert call(*asked, "--csv", "--json").exit_code == 2


def test_all_means_every_category(networks: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = networks
    asked = (run, data, "--no-figures", "--csv", "--out", tmp_path / "out")
    said = call(*asked, "--category", "all")
    assert said.exit_code == 0, said.output
    assert said.stdout == call(*asked).stdout


def test_results_and_their_maps_may_share_a_folder(networks: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = networks
    for maps in (tmp_path / "a", tmp_path / "b/maps"):
        out = tmp_path / maps.relative_to(tmp_path).parts[0]
        for _ in range(2):
            said = call(run, data, "--no-figures", "--out", out, "--maps", maps)
            assert said.exit_code == 0, said.output


@pytest.mark.parametrize("out", ["data", "data/nut/results", "desk", "alien"])
def test_results_go_into_no_folder_of_other_files(networks: tuple[Path, Path], tmp_path: Path, out: str) -> None:
    run, data = networks
    shutil.copytree(data, tmp_path / "data")
    for name, text in (("desk/roc.png", "mine"), ("alien/metrics.json", '{"loss": 1}')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    before = all_bytes(tmp_path)
    said = call(run, tmp_path / "data", "--out", tmp_path / out)
    assert said.exit_code == 2
    assert ("the data set" if "data" in out else "of an earlier evaluation; expected a new or empty folder") in said.stderr
    assert "expected" in said.stderr.splitlines()[-1]
    assert all_bytes(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["{data}", "{data}"], 2, "holds no run.json"),
        (["{run}", "{run}/nowhere"], 2, "nowhere"),
        (["{run}", "{data}", "--category", "bolt"], 2, "no model of 'bolt'"),
        (["{run}", "{data}", "--device", "toaster"], 2, "toaster"),
        (["{run}", "{data}", "--pro-limit", "2"], 2, "P-PRO"),
        (["{run}", "{data}", "--no-figures", "--out", "{run}/run.json"], 2, "is a file"),
    ],
)
def test_a_mistake_is_a_sentence(networks: tuple[Path, Path], words: list[str], code: int, text: str) -> None:
    run, data = networks
    said = call(*(word.format(run=run, data=data) for word in words))
    assert said.exit_code == code
    assert text in said.stderr
    assert said.stderr.splitlines()[-1].startswith("threecad: ")
    assert "Traceback" not in said.output


def test_what_python_offers() -> None:
    assert set(package.__all__) == {"CategoryResult", "Evaluation", "as_json", "evaluate", "write"}
