"""Scoring any detector: which map is of which image, what is known of each, sizes, and the figures against scikit-learn."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import threecad
from threecad.domain import Size
from threecad.errors import ConfigError, LayoutError, ReadError
from threecad.formats.layouts import Request
from threecad.formats.maps import Scale, write_map
from threecad.metrics import FIGURES, Bounded
from threecad.pipeline import scoring
from threecad.pipeline.convert import Progress
from threecad.pipeline.scoring import Row, Scored, tables
from threecad.pipeline.scoring.listing import as_file, read_scores
from threecad.pipeline.scoring.pairing import Named, pair
from threecad.pipeline.scoring.result import value_of
from threecad.pipeline.scoring.sizing import reduced, resampled

HEIGHT, WIDTH = 24, 32


def put(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def defect(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Any:
    random = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    top, left = random.integers(2, size[0] - 8), random.integers(2, size[1] - 8)
    mask[top : top + 5, left : left + 6] = 255
    return mask


def photo(root: Path, path: str) -> None:
    put(root / path, np.full((HEIGHT, WIDTH), 90, np.uint8))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two categories in MVTec's layout."""
    root = tmp_path / "parts"
    for category in ("bolt", "nut"):
        for number in range(3):
            photo(root, f"{category}/train/good/{number:03}.png")
            photo(root, f"{category}/test/good/{number:03}.png")
            photo(root, f"{category}/test/dent/{number:03}.png")
            mask = defect(number + len(category))
            put(root / category / "ground_truth" / "dent" / f"{number:03}_mask.png", mask)
    return root


IMAGES = [
    f"{category}/test/{kind}/{number:03}" for category in ("bolt", "nut") for kind in ("dent", "good") for number in range(3)
]


def noisy(root: Path, image: str) -> Any:
    """A map that finds its defect, more or less."""
    scores = np.random.default_rng(sum(map(ord, image))).random((HEIGHT, WIDTH))
    category, _, kind, name = image.split("/")
    if kind == "dent":
        scores += 0.4 * np.asarray(Image.open(root / category / "ground_truth" / kind / f"{name}_mask.png")) / 255
    return scores.astype(np.float32)


def save(path: Path, scores: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, scores)


def written(root: Path, maps: Path, spelled: Callable[[str], str] = lambda image: f"{image}.npy") -> Path:
    for image in IMAGES:
        save(maps / spelled(image), noisy(root, image))
    return maps


def found(root: Path) -> dict[str, list[Any]]:
    """By category, image labels and scores, pixel labels and scores, as anybody would gather them."""
    data: dict[str, list[Any]] = {}
    for image in IMAGES:
        category, _, kind, name = image.split("/")
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if kind == "dent":
            mask = np.asarray(Image.open(root / category / "ground_truth" / kind / f"{name}_mask.png"))
        labels, highest, marked, scores = data.setdefault(category, [[], [], [], []])
        labels.append(kind == "dent")
        highest.append(noisy(root, image).max())
        marked.append(mask > 0)
        scores.append(noisy(root, image))
    return data


def row(scored: Scored, category: str) -> Row:
    return next(each for each in scored.rows if each.category == category)


def figures(scored: Scored) -> list[float | None]:
    return [value_of(each.scores, name) for each in scored.rows for name in FIGURES]


# The figures


def curve(labels: Any, scores: Any) -> tuple[float, float]:
    """AUROC and average precision by their definitions, slowly: pairs in the right order, and the precision at each hit."""
    labels, scores = np.asarray(labels, bool).ravel(), np.asarray(scores, np.float64).ravel()
    good, bad = scores[~labels], scores[labels]
    right = sum(float((good < score).sum() + (good == score).sum() / 2) for score in bad)
    precision = [float(labels[scores >= score].mean()) for score in bad]
    return right / (good.size * bad.size), float(np.mean(precision))


def test_the_figures_are_what_their_definitions_say(parts: Path, tmp_path: Path) -> None:
    scored = scoring.score(written(parts, tmp_path / "maps"), parts, exact=True)
    assert [each.category for each in scored.rows] == ["bolt", "nut"]
    for category, (labels, highest, marked, scores) in found(parts).items():
        here = row(scored, category).scores
        for names, expected in (
            (("image_auroc", "image_ap"), curve(labels, highest)),
            (("pixel_auroc", "pixel_ap"), curve(np.stack(marked), np.stack(scores))),
        ):
            assert [value_of(here, name) for name in names] == pytest.approx(expected, abs=1e-9)
        assert (here.images, here.anomalous_images, here.regions) == (6, 3, 3)
    for name in (*tables.PAPER, *tables.MORE):
        assert scored.mean(name) == (pytest.approx(np.mean([value_of(each.scores, name) for each in scored.rows])), 2)


def test_without_exact_the_bounds_hold_the_exact_figure(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    rough, exact = (scoring.score(maps, parts, exact=each) for each in (False, True))
    for near, true in zip(rough.rows, exact.rows, strict=True):
        for name in ("pixel_auroc", "pixel_ap", "aupro"):
            bounded: Bounded = getattr(near.scores, name)
            assert bounded.lower - 1e-9 <= float(getattr(true.scores, name)) <= bounded.upper + 1e-9


def test_a_perfect_map_scores_one_and_a_constant_one_one_half(parts: Path, tmp_path: Path) -> None:
    for image in IMAGES:
        category, _, kind, name = image.split("/")
        mask = parts / category / "ground_truth" / kind / f"{name}_mask.png"
        perfect = np.asarray(Image.open(mask)) / 255 if kind == "dent" else np.zeros((HEIGHT, WIDTH))
        save(tmp_path / "perfect" / f"{image}.npy", perfect)
        save(tmp_path / "constant" / f"{image}.npy", np.ones((HEIGHT, WIDTH)))
    assert set(figures(scoring.score(tmp_path / "perfect", parts))[:7]) == {1.0}
    constant = row(scoring.score(tmp_path / "constant", parts), "bolt").scores
    assert (value_of(constant, "image_auroc"), value_of(constant, "pixel_auroc")) == (0.5, 0.5)


@pytest.mark.parametrize("workers", [1, 3])
def test_neither_threads_nor_the_kind_of_file_change_a_byte(parts: Path, tmp_path: Path, workers: int) -> None:
    one = scoring.score(written(parts, tmp_path / "one" / "maps"), parts, workers=1)
    for image in IMAGES:
        path = tmp_path / "two" / "maps" / f"{image}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), noisy(parts, image))
    two = scoring.score(tmp_path / "two" / "maps", parts, workers=workers)
    assert json.dumps(tables.as_json(one)) == json.dumps(tables.as_json(two))


def test_16_bit_maps_give_the_figures_of_their_scores(parts: Path, tmp_path: Path) -> None:
    for image in IMAGES:
        path = tmp_path / "maps" / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_map(path, noisy(parts, image), Scale.between(0, 2))
    near = scoring.score(tmp_path / "maps", parts)
    exact = scoring.score(written(parts, tmp_path / "exact"), parts)
    assert figures(near)[:4] == pytest.approx(figures(exact)[:4], abs=1e-4)
    assert row(near, "bolt").scores.image_f1_threshold == pytest.approx(row(exact, "bolt").scores.image_f1_threshold, abs=2e-5)


def test_the_authors_pro_is_told_only_when_asked_for(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    assert scoring.score(maps, parts).mean("pro_upstream") == (None, 0)
    scored = scoring.score(maps, parts, upstream=True)
    assert scored.mean("pro_upstream")[1] == 2
    assert any("not comparable" in line for line in tables.notes(scored))


def test_the_limit_of_pro_is_a_parameter(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    narrow, wide = (scoring.score(maps, parts, pro_limit=limit).mean("aupro")[0] for limit in (0.05, 1.0))
    assert narrow is not None
    assert wide is not None
    assert narrow < wide
    for limit in (0, -1, 1.01, math.nan):
        with pytest.raises(ConfigError, match="expected above 0 and at most 1"):
            scoring.score(maps, parts, pro_limit=limit)


def test_progress_ends_with_every_image(parts: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    scoring.score(written(parts, tmp_path / "maps"), parts, progress=steps.append)
    assert [step.done for step in steps] == list(range(1, 13))
    assert {step.total for step in steps} == {12}


# Which images, and what is known of them


def test_the_test_images_are_scored_and_one_category_if_asked_for(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    assert scoring.score(maps, parts).split == "test"
    only = scoring.score(maps, parts, category="nut")
    assert ([each.category for each in only.rows], only.left_over) == (["nut"], 6)
    with pytest.raises(LayoutError, match="no category 'screw'; found bolt, nut"):
        scoring.score(maps, parts, category="screw")
    with pytest.raises(LayoutError, match="no image of split 'validation'; found test, train"):
        scoring.score(maps, parts, split="validation")
    with pytest.raises(LayoutError, match=r"no map for 6 of 6 \(bolt/train/good/000\.png"):
        scoring.score(maps, parts, split="train")
    with pytest.raises(LayoutError, match="no map for 6 of 18"):
        scoring.score(maps, parts, split="all")


def test_a_category_without_defects_has_no_figures_and_says_why(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    shutil.rmtree(parts / "nut/test/dent")
    shutil.rmtree(parts / "nut/ground_truth")
    scored = scoring.score(maps, parts)
    assert [each.category for each in scored.rows] == ["bolt"]
    assert any(line.startswith("nut: ") and "no image is defective" in line for line in tables.notes(scored))
    json.dumps(tables.as_json(scored), allow_nan=False)
    with pytest.raises(ReadError, match=r"nut: .*no image is defective.*expected good images and defective ones"):
        scoring.score(maps, parts, category="nut")


def test_a_defective_image_whose_mask_is_empty_or_missing_stays_defective(parts: Path, tmp_path: Path) -> None:
    put(parts / "bolt/ground_truth/dent/000_mask.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    maps = written(parts, tmp_path / "maps")
    (parts / "bolt/ground_truth/dent/001_mask.png").unlink()
    bolt = row(scoring.score(maps, parts), "bolt")
    assert (bolt.scores.anomalous_images, bolt.unmasked, bolt.scores.regions) == (3, 2, 1)
    assert bolt.scores.pixels == 4 * HEIGHT * WIDTH  # nobody knows which pixels of the two are good


def test_a_mask_of_a_good_image_is_left_aside(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    before = scoring.score(maps, parts)
    put(parts / "bolt/ground_truth/good/000_mask.png", defect(1))
    assert figures(scoring.score(maps, parts)) == figures(before)


def test_a_mask_of_another_size_than_its_image_is_told(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    put(parts / "bolt/ground_truth/dent/002_mask.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ReadError, match=r"002_mask\.png: the mask is 9 × 9"):
        scoring.score(maps, parts)


def test_a_link_that_leaves_the_data_set_is_not_followed(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    put(tmp_path / "outside.png", defect(3))
    (parts / "nut/ground_truth/dent/002_mask.png").unlink()
    (parts / "nut/ground_truth/dent/002_mask.png").symlink_to(tmp_path / "outside.png")
    scored = scoring.score(maps, parts)
    assert (row(scored, "nut").unmasked, scored.dropped) == (1, 1)
    assert "1 file of the data set left out: threecad stats tells what is wrong there." in tables.notes(scored)
    assert tables.as_json(scored)["dropped"] == 1


def test_a_folder_of_masks_says_by_its_masks_alone(parts: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    for image in IMAGES[:6]:
        save(maps / f"{image.removeprefix('bolt/test/')}.npy", noisy(parts, image))
    masks = tmp_path / "masks"
    for number in range(3):
        mask = Image.open(parts / f"bolt/ground_truth/dent/{number:03}_mask.png")
        (masks / "dent").mkdir(parents=True, exist_ok=True)
        mask.save(masks / "dent" / f"{number:03}.bmp")
    scored = scoring.score(maps, masks)
    asked = scoring.score(written(parts, tmp_path / "all"), parts, category="bolt")
    assert (scored.layout, scored.masks, [each.category for each in scored.rows]) == ("masks", "masks", ["masks"])
    assert figures(scored) == figures(asked)
    with_suffix = tmp_path / "suffix"
    (parts / "bolt/ground_truth").rename(with_suffix)
    assert figures(scoring.score(maps, with_suffix)) == figures(asked)
    with pytest.raises(LayoutError, match="neither splits nor categories"):
        scoring.score(maps, masks, split="test")


def test_an_empty_mask_in_a_folder_of_masks_says_good(tmp_path: Path) -> None:
    for name, mask in (("a", defect(1)), ("b", np.zeros((HEIGHT, WIDTH), np.uint8))):
        put(tmp_path / "masks" / f"{name}.png", mask)
    for name in "abc":
        save(tmp_path / "maps" / f"{name}.npy", np.random.default_rng(ord(name)).random((HEIGHT, WIDTH)))
    (only,) = scoring.score(tmp_path / "maps", tmp_path / "masks").rows
    assert (only.scores.images, only.scores.anomalous_images, only.scores.pixels) == (3, 1, 3 * HEIGHT * WIDTH)


def test_photographs_whose_folders_tell_are_scored_as_images_alone(tmp_path: Path) -> None:
    for kind in ("good", "scratch"):
        for number in range(3):
            photo(tmp_path / "photos", f"{kind}/{number}.png")
            save(tmp_path / "maps" / kind / f"{number}.npy", np.full((4, 4), number + 1.5 * (kind == "scratch")))
    (only,) = scoring.score(tmp_path / "maps", tmp_path / "photos", Request(layout="folder")).rows
    assert only.scores.image_auroc == pytest.approx(8 / 9)
    assert (only.scores.pixel_auroc, only.scores.aupro, only.unmasked) == (None, None, 3)
    photo(tmp_path / "loose", "a.png")
    with pytest.raises(LayoutError, match="nobody tells of 1 of 1 images whether they are good"):
        scoring.score(tmp_path / "maps", tmp_path / "loose", Request(layout="folder"))


def test_maps_and_masks_in_one_folder_are_refused(parts: Path) -> None:
    with pytest.raises(LayoutError, match="expected two folders"):
        scoring.score(parts, parts)


# Which map is of which image


@pytest.mark.parametrize(
    "spelled",
    [
        lambda image: f"{image}.npy",
        lambda image: f"{image}.PNG.npy",
        lambda image: f"{image}_anomaly_map.npy",
        lambda image: f"run-3/epoch 7/{image}.npy",
        lambda image: image.replace("test/", "") + ".npy",
        lambda image: f"{image.split('/')[0]}/predictions/{image.split('/', 1)[1]}.npy",
    ],
)
def test_a_map_is_found_in_every_common_spelling(parts: Path, tmp_path: Path, spelled: Callable[[str], str]) -> None:
    plain = scoring.score(written(parts, tmp_path / "plain"), parts)
    other = scoring.score(written(parts, tmp_path / "maps", spelled), parts)
    assert (figures(other), other.left_over) == (figures(plain), 0)


def test_of_one_category_the_folder_and_the_name_are_enough(parts: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    for image in IMAGES[:6]:
        save(maps / f"{image.split('/', 2)[2]}.npy", noisy(parts, image))
    plain = scoring.score(written(parts, tmp_path / "plain"), parts, category="bolt")
    assert figures(scoring.score(maps, parts, category="bolt")) == figures(plain)
    with pytest.raises(LayoutError, match=r"for 12 of 12 no map that is of it alone"):
        scoring.score(maps, parts)


def named(*paths: str) -> list[Named]:
    return [Named(path) for path in paths]


def test_names_alone_are_enough_where_each_is_the_only_one() -> None:
    images = named("a/test/dent/1.png", "a/test/good/2.png")
    assert pair(images, ["2.npy", "1.npy"], where="maps", what="map") == [1, 0]
    with pytest.raises(
        LayoutError, match=r"maps: found for 1 of 2 no map that is of it alone \(a/test/dent/1\.png: x/1\.npy, y/1\.npy\)"
    ):
        pair(images, ["2.npy", "x/1.npy", "y/1.npy"], where="maps", what="map")


def test_two_images_of_one_name_do_not_share_a_map() -> None:
    with pytest.raises(LayoutError, match="for 2 of 2 no map that is of it alone"):
        pair(named("a/1.png", "b/1.png"), ["1.npy"], where="maps", what="map")


def test_what_is_missing_is_named_and_counted() -> None:
    images = named(*(f"test/good/{number}.png" for number in range(9)))
    with pytest.raises(LayoutError) as caught:
        pair(images, ["test/good/8.npy"], where="maps", what="map")
    assert str(caught.value).startswith(
        "maps: found no map for 8 of 9 (test/good/0.png, test/good/1.png, test/good/2.png, …); expected one map each"
    )


@pytest.mark.parametrize(
    ("files", "known"),
    [
        (["train/good/1.npy"], ()),
        (["good/1.npy"], ()),
        (["nut/test/dent/1.npy"], ("nut",)),
        (["test/scratch/1.npy"], ("scratch",)),
        (["Test/GOOD/1.npy"], ()),
    ],
)
def test_a_map_in_the_folder_of_other_images_is_never_taken(files: list[str], known: tuple[str, ...]) -> None:
    with pytest.raises(LayoutError, match="no map for 1 of 1"):
        pair(named("bolt/test/dent/1.png"), files, where="maps", what="map", known=known)


def test_a_name_is_the_same_however_its_accents_are_written() -> None:
    assert pair(named("Gl\u00fchen/1.png"), ["Glu\u0308hen/1.npy"], where="maps", what="map") == [0]


def test_a_word_behind_the_name_is_no_other_image_s() -> None:
    assert pair(named("a.png", "a_map.png"), ["a_map.npy", "a.npy"], where="maps", what="map") == [1, 0]
    assert pair(named("a.png"), ["a_map.npy", "b_map.npy"], where="maps", what="map") == [0]


def test_images_that_differ_by_their_suffix_have_maps_of_their_own() -> None:
    images = named("A/0.png", "A/0.jpg")
    assert pair(images, ["A/0.jpg.npy", "A/0.png.npy"], where="maps", what="map") == [1, 0]
    assert pair(images, ["0.jpg.tif", "0.PNG.tif"], where="maps", what="map") == [1, 0]
    assert pair(named("0.png", "0.png.jpg"), ["0.png.npy", "0.png.jpg.npy"], where="maps", what="map") == [0, 1]


def test_maps_that_name_a_suffix_only_where_two_images_are_alike_are_found() -> None:
    images = named("A/0.png", "A/0.jpg", "A/1.png")
    assert pair(images, ["A/0.jpg.png", "A/0.png.png", "A/1.png"], where="maps", what="map") == [1, 0, 2]
    assert pair(named("b.bmp", "B.png", "c.png"), ["B.png.png", "b.bmp.png", "c.png"], where="maps", what="map") == [1, 0, 2]
    with pytest.raises(LayoutError, match=r"no map for 1 of 3 \(A/0\.jpg\)"):
        pair(images, ["A/0.png", "A/0.png.png", "A/1.png"], where="maps", what="map")


def test_a_map_that_names_another_suffix_is_of_another_image() -> None:
    with pytest.raises(LayoutError, match="no map for 1 of 1"):
        pair(named("A/0.png"), ["A/0.jpg.npy"], where="maps", what="map")
    assert pair(named("0_mask.png"), ["0.jpg.npy"], where="maps", what="map", words=("_mask",)) == [0]


def test_names_of_the_terminal_s_own_do_nothing_in_a_message() -> None:
    with pytest.raises(LayoutError) as caught:
        pair(named("a\x1b[2J.png"), ["b.npy"], where="maps", what="map")
    assert "\x1b" not in str(caught.value)


# Sizes


def bilinear(values: Any, length: int) -> Any:
    """Rows at so many places, each between the two nearest centres of pixels, the border's beyond the last."""
    places = ((np.arange(length) + 0.5) * len(values) / length - 0.5).clip(0, len(values) - 1)
    below = np.floor(places).astype(int).clip(0, max(len(values) - 2, 0))
    above = (below + 1).clip(0, len(values) - 1)
    part = (places - below)[:, None]
    return values[below] * (1 - part) + values[above] * part


@pytest.mark.parametrize("size", [Size(14, 18), Size(33, 40), Size(7, 90), Size(8, 9)])
def test_a_map_is_enlarged_bilinearly_between_the_centres_of_pixels(size: Size) -> None:
    scores = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    expected = bilinear(bilinear(scores, size.height).T, size.width).T
    assert np.allclose(resampled(scores, size), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 9_000_000), (9_000_000, 1)])
def test_a_thin_map_is_not_blown_up_on_the_way(shape: tuple[int, int]) -> None:
    """Enlarged first, it would take nine gigabytes."""
    scores = np.zeros(shape, np.float32)
    scores[-1, -1] = 1
    small = resampled(scores, Size(260, 300))
    assert small.shape == (260, 300)
    assert 0 < small.sum() < 1


def test_a_map_that_shrinks_keeps_its_mean() -> None:
    scores = np.random.default_rng(0).random((60, 40)).astype(np.float32)
    for size in (Size(20, 10), Size(13, 7), Size(60, 3)):
        assert resampled(scores, size).mean() == pytest.approx(scores.mean(), abs=1e-5)


@pytest.mark.parametrize("size", [Size(1, 1), Size(3, 5), Size(16, 16), Size(23, 31), Size(24, 32), Size(50, 100), Size(7, 64)])
def test_no_defect_vanishes_when_its_mask_is_resized(size: Size) -> None:
    for at in range(0, HEIGHT * WIDTH, 7):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask.flat[at] = True
        small = reduced(mask, size)
        assert small.shape == (size.height, size.width)
        rows, columns = np.nonzero(small)
        row, column = divmod(at, WIDTH)
        # New pixel i covers [i, i + 1) × old / new: exactly those that touch the marked one are marked.
        touched = [i for i in range(size.height) if i * HEIGHT < (row + 1) * size.height and (i + 1) * HEIGHT > row * size.height]
        beside = [i for i in range(size.width) if i * WIDTH < (column + 1) * size.width and (i + 1) * WIDTH > column * size.width]
        assert sorted(set(rows.tolist())) == touched
        assert sorted(set(columns.tolist())) == beside


def test_maps_of_another_size_are_enlarged_or_masks_shrunk_or_refused(parts: Path, tmp_path: Path) -> None:
    put(parts / "bolt/ground_truth/dent/000_mask.png", np.eye(HEIGHT, WIDTH, dtype=np.uint8))
    one = np.zeros((HEIGHT, WIDTH), np.uint8)
    one[5, 5] = 255
    put(parts / "bolt/ground_truth/dent/001_mask.png", one)
    for image in IMAGES[:6]:
        save(tmp_path / "maps" / f"{image}.npy", cv2.resize(noisy(parts, image), (8, 6), interpolation=cv2.INTER_AREA))
    large, small = (
        row(scoring.score(tmp_path / "maps", parts, category="bolt", resize=how), "bolt")  # type: ignore[arg-type]
        for how in ("maps", "masks")
    )
    assert (large.scores.pixels, small.scores.pixels) == (6 * HEIGHT * WIDTH, 6 * 6 * 8)
    assert (large.resized, small.resized) == (6, 6)
    assert (large.scores.regions, small.scores.regions) == (3, 3)
    assert large.scores.anomalous_images == small.scores.anomalous_images == 3
    assert large.scores.image_auroc == small.scores.image_auroc  # of the maps as they are stored
    with pytest.raises(ReadError, match=r"000\.npy: found 6 × 8 pixels \(height × width\), its mask has 24 × 32; expected"):
        scoring.score(tmp_path / "maps", parts, category="bolt", resize="none")


def test_of_maps_that_cannot_be_read_the_first_is_named(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    for image in IMAGES[2:]:
        save(maps / f"{image}.npy", np.full((HEIGHT, WIDTH), np.nan))
    for workers in (1, 2, 8):
        with pytest.raises(ReadError, match=r"bolt/test/dent/002\.npy: 768 of 768 scores are NaN"):
            scoring.score(maps, parts, workers=workers)


def test_other_files_beside_the_maps_are_passed_over_if_asked(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    for image in IMAGES:
        put(maps / f"{image}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(LayoutError, match="for 12 of 12 no map that is of it alone"):
        scoring.score(maps, parts)
    assert scoring.score(maps, parts, suffix="npy").left_over == 0
    with pytest.raises(ConfigError, match="expected one of npy, tiff, png"):
        scoring.score(maps, parts, suffix="exe")


# Scores of images


def test_scores_of_images_may_come_from_a_list(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    lines = [(f"C:\\data\\parts\\{image}.png".replace("/", "\\"), 1.0 * ("dent" in image)) for image in IMAGES]
    (tmp_path / "a.csv").write_text("model,Path,Score\n" + "".join(f"x,{path},{score}\n" for path, score in lines))
    (tmp_path / "b.csv").write_text("".join(f"{image},{image.count('dent')}\n" for image in IMAGES))
    rows = [json.dumps({"path": f"{image}.png", "score": image.count("dent"), "more": []}) for image in reversed(IMAGES)]
    (tmp_path / "c.jsonl").write_text("\n".join(rows) + "\n\n")
    plain = scoring.score(maps, parts)
    for name in ("a.csv", "b.csv", "c.jsonl"):
        scored = scoring.score(maps, parts, image_scores=tmp_path / name)
        assert scored.mean("image_auroc") == (1.0, 2)
        assert scored.mean("pixel_ap") == plain.mean("pixel_ap")
    (tmp_path / "b.csv").write_text("".join(f"{image},0\n" for image in IMAGES[1:]))
    with pytest.raises(LayoutError, match=r"b\.csv: found no score for 1 of 12 \(bolt/test/dent/000\.png\)"):
        scoring.score(maps, parts, image_scores=tmp_path / "b.csv")


def listed(root: Path, maps: Path, *rows: tuple[str, float]) -> Scored:
    (root.parent / "list.csv").write_text("".join(f"{path},{score}\n" for path, score in rows))
    return scoring.score(maps, root, image_scores=root.parent / "list.csv")


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """Images that differ by their suffix alone: one good, one defective; and their maps."""
    for path in ("good/0.png", "dent/1.png", "dent/1.bmp"):
        photo(tmp_path / "twins", f"part/test/{path}")
        save(tmp_path / "maps" / f"part/test/{path}.npy", np.random.default_rng(len(path)).random((HEIGHT, WIDTH)))
    for suffix in ("png", "bmp"):
        put(tmp_path / f"twins/part/ground_truth/dent/1_mask.{suffix}", defect(1))
    return tmp_path / "twins", tmp_path / "maps"


def test_a_list_tells_images_apart_by_their_suffixes(twins: tuple[Path, Path]) -> None:
    files = [as_file(path) for path in ("1.bmp", "1.PNG")]
    assert pair(named("dent/1.png", "dent/1.bmp"), files, where="list", what="score") == [1, 0]
    found = listed(*twins, ("dent/1.bmp", 5), ("dent/1.png", 3), ("good/0.png", 4))
    assert row(found, "part").scores.image_auroc == 0.5
    with pytest.raises(
        LayoutError, match=r"list\.csv: found for 2 of 3 no score that is of it alone \(part/test/dent/1\.png: dent/1\)"
    ):
        listed(*twins, ("dent/1", 5), ("good/0", 4))


def test_a_score_is_never_taken_from_an_image_of_another_suffix(parts: Path, tmp_path: Path) -> None:
    maps = written(parts, tmp_path / "maps")
    rows = [(f"{image}.png", 1.0) for image in IMAGES]
    with pytest.raises(LayoutError, match=r"found no score for 1 of 12 \(bolt/test/dent/000\.png\)"):
        listed(parts, maps, (f"{IMAGES[0]}.jpg", 9.0), *rows[1:])
    with pytest.raises(
        LayoutError, match=r"for 1 of 12 no score that is of it alone \(bolt/test/dent/000\.png: .*000\.png, .*000\.png"
    ):
        listed(parts, maps, rows[0], *rows)


def test_a_list_may_name_the_maps_and_what_it_holds_besides_is_told(parts: Path, tmp_path: Path) -> None:
    for image in IMAGES:
        path = tmp_path / "maps" / f"{image}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), noisy(parts, image))
    rows = [(f"{image}.tiff", float("dent" in image)) for image in IMAGES]
    found = listed(parts, tmp_path / "maps", *rows, ("bolt/train/good/000.tiff", 7.0))
    assert (found.mean("image_auroc"), found.left_over_scores) == ((1.0, 2), 1)
    assert "1 score of the list, of no image that was to be scored: left out." in tables.notes(found)
    assert tables.as_json(found)["left_over_scores"] == 1


def test_in_a_folder_of_masks_a_list_names_photographs_of_any_suffix(tmp_path: Path) -> None:
    put(tmp_path / "masks" / "a_mask.png", defect(1))
    for name in "ab":
        save(tmp_path / "maps" / f"{name}.npy", np.random.default_rng(ord(name)).random((HEIGHT, WIDTH)))
    for rows in ([("a.jpg", 2.0), ("b.jpg", 1.0)], [("a", 2.0), ("b", 1.0)], [("a.npy", 2.0), ("b.npy", 1.0)]):
        assert listed(tmp_path / "masks", tmp_path / "maps", *rows).mean("image_auroc") == (1.0, 1)
    with pytest.raises(LayoutError, match=r"for 1 of 2 no score that is of it alone \(a\.npy: a\.jpg, a\.png\)"):
        listed(tmp_path / "masks", tmp_path / "maps", ("a.jpg", 2.0), ("a.png", 3.0), ("b.jpg", 1.0))


@pytest.mark.parametrize("double", ["b.tiff", "a.tiff", "b_heatmap.npy", "a_anomaly_map.npy"])
def test_a_picture_of_a_map_does_not_pass_for_the_map_of_a_good_image(tmp_path: Path, double: str) -> None:
    put(tmp_path / "masks" / "a.png", defect(1))
    for name in ("a.npy", "b.npy"):
        save(tmp_path / "maps" / name, np.random.default_rng(ord(name[0])).random((HEIGHT, WIDTH)))
    assert row(scoring.score(tmp_path / "maps", tmp_path / "masks"), "masks").scores.images == 2
    (tmp_path / "maps" / double).touch()
    with pytest.raises(LayoutError, match=r"which seem to be of one image; expected one map an image|no map that is of it alone"):
        scoring.score(tmp_path / "maps", tmp_path / "masks")


def test_an_empty_mask_says_that_an_image_only_seems_to_be_a_map_of_another(tmp_path: Path) -> None:
    put(tmp_path / "masks" / "a.png", defect(1))
    put(tmp_path / "masks" / "a_map.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    for name in ("a.npy", "a_map.npy"):
        save(tmp_path / "maps" / name, np.random.default_rng(len(name)).random((HEIGHT, WIDTH)))
    assert row(scoring.score(tmp_path / "maps", tmp_path / "masks"), "masks").scores.images == 2


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "path,score\n", "empty"),
        ("a.csv", "path,score\na\n", "line 2: 1 columns"),
        ("a.csv", "path,score\na,high\n", "line 2: found score 'high'; expected a finite number"),
        ("a.csv", "a,nan\n", "line 1: found score 'nan'"),
        ("a.csv", "a,1e999\n", "line 1: found score '1e999'"),
        ("a.csv", ",1\n", "line 1: no path"),
        ("a.csv", 'a,"1\n', "not CSV"),
        ("a.csv", "a," + "1" * 20_000, "line 1: 20002 characters"),
        ("a.jsonl", "[]\n", "line 1: expected an object"),
        ("a.jsonl", "{\n", "line 1: not JSON"),
        ("a.jsonl", "[" * 9_000 + "\n", "line 1: not JSON"),
        ("a.jsonl", '{"path": "a"}\n', "line 1: found score None"),
        ("a.jsonl", '{"path": "a", "score": true}\n', "line 1: expected an object"),
        ("a.jsonl", '{"path": 1, "score": 1}\n', "line 1: expected an object"),
        ("a.jsonl", '{"path": "a", "score": ' + "9" * 400 + "}\n", "line 1: found score"),
    ],
)
def test_a_list_that_makes_no_sense_is_told_with_its_line(tmp_path: Path, name: str, text: str, phrase: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReadError) as caught:
        read_scores(tmp_path / name)
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected scores of images as \.csv or \.jsonl"):
        read_scores(tmp_path / "a.xlsx")
    with pytest.raises(ReadError, match="cannot be read"):
        read_scores(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ReadError, match="not UTF-8"):
        read_scores(tmp_path / "a.csv")


# Text


@pytest.fixture
def hostile(parts: Path, tmp_path: Path) -> Scored:
    """A category that would be a formula, a command and a control sequence."""
    name = "=1+\x1b[2J\\input&_%"
    (parts / "bolt").rename(parts / name)
    (parts / "nut").rename(parts / "zinc")
    for image in IMAGES:
        category, rest = image.split("/", 1)
        path = tmp_path / "maps" / (name if category == "bolt" else "zinc") / f"{rest}.npy"
        save(path, np.random.default_rng(len(rest)).random((HEIGHT, WIDTH)))
    return scoring.score(tmp_path / "maps", parts)


def test_the_terminal_gets_the_paper_s_table(parts: Path, tmp_path: Path) -> None:
    scored = scoring.score(written(parts, tmp_path / "maps"), parts)
    console = Console(file=io.StringIO(), width=90)
    tables.show(scored, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert lines[0] == "maps on parts (test) · 12 images · 6 defective · layout mvtec"
    assert lines[2] == "As in the paper's tables"
    assert lines[3].split() == ["Category", "I-AUROC", "P-AUROC", "P-PRO", "AP", "images", "defective", "defects"]
    first = [tables.percent(value_of(scored.rows[0].scores, name)) for name in tables.PAPER]
    assert lines[4].split() == ["bolt", *first, "6", "3", "3"]
    assert lines[6].split()[0] == "Mean"
    assert lines[8] == "What the paper does not tell"


def test_names_do_nothing_in_any_format(hostile: Scored) -> None:
    console = Console(file=io.StringIO(), width=200)
    tables.show(hostile, console)
    for text in (console.file.getvalue(), tables.csv_text(hostile), tables.latex(hostile)):  # type: ignore[attr-defined]
        assert "\x1b" not in text
    assert all(line.startswith(("category,", "'=1+", "zinc,", ",")) for line in tables.csv_text(hostile).splitlines())
    assert "\\input" not in tables.latex(hostile)
    assert "\\&\\_\\%" in tables.latex(hostile)


def test_csv_and_json_hold_the_same_numbers(parts: Path, tmp_path: Path) -> None:
    scored = scoring.score(written(parts, tmp_path / "maps"), parts, upstream=True)
    told = json.loads(json.dumps(tables.as_json(scored), allow_nan=False))
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(scored))))
    for each in rows:
        expected = told["categories"][each["category"]][each["figure"]] if each["category"] else told["mean"][each["figure"]]
        if isinstance(expected, dict):
            assert float(each["value"]) == expected["value"]
            if each["lower"]:
                assert (float(each["lower"]), float(each["upper"])) == (expected["lower"], expected["upper"])
        else:
            assert float(each["value"]) == expected
    assert {each["category"] for each in rows} == {"bolt", "nut", ""}


def test_wide_bounds_are_told_and_narrow_ones_are_not(parts: Path, tmp_path: Path) -> None:
    scored = scoring.score(written(parts, tmp_path / "maps"), parts)
    assert not any("lies between" in line for line in tables.notes(scored))
    # Scores that differ by less than a bin: nobody knows their order.
    for image in IMAGES:
        save(tmp_path / "close" / f"{image}.npy", 1 + noisy(parts, image) * 1e-5)
    close = scoring.score(tmp_path / "close", parts)
    assert any(line.startswith("P-AUROC of bolt lies between ") for line in tables.notes(close))
    exact = scoring.score(tmp_path / "close", parts, exact=True)
    assert not any("lies between" in line for line in tables.notes(exact))


@pytest.mark.parametrize(("width", "told"), [(0.00051, True), (0.00049, False)])
def test_bounds_are_wide_from_half_of_the_last_digit_on(parts: Path, tmp_path: Path, width: float, told: bool) -> None:
    scored = scoring.score(written(parts, tmp_path / "maps"), parts, category="nut")
    (only,) = scored.rows
    near = replace(only, scores=replace(only.scores, aupro=Bounded(0.5, 0.5, 0.5 + width)))
    notes = tables.notes(replace(scored, rows=(near,)))
    assert any(line.startswith("P-PRO of nut lies between 50.000 and 50.05") for line in notes) is told


@pytest.mark.shared
def test_real_tiles_score_as_scikit_learn_says(shared: Path, tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    root, tiles = shared / "magnetic_tile_dev", tmp_path / "tiles"
    chosen = [path for kind in ("MT_Free", "MT_Crack") for path in sorted((root / kind / "Imgs").iterdir())[:8]]
    chosen += (root / "MT_Uneven" / "Imgs").glob("exp3_num_45042.*")  # its mask marks nothing
    for path in chosen:
        target = tiles / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    marked, scores, labels, highest = [], [], [], []
    data = threecad.Dataset(tiles)
    for each, item in zip(data.rows, data, strict=True):
        gray = np.ascontiguousarray(item["image"][..., 0])
        found = cv2.GaussianBlur(abs(gray.astype(np.float32) - cv2.medianBlur(gray, 21)), (0, 0), 4)
        save((tmp_path / "maps" / each.image).with_suffix(".npy"), found)
        labels.append(item["gt_label"])
        highest.append(found.max())
        if item["gt_mask"].any() or not item["gt_label"]:
            marked.append(item["gt_mask"].ravel())
            scores.append(found.ravel())
    pixels = np.concatenate(marked), np.concatenate(scores)
    (only,) = scoring.score(tmp_path / "maps", tiles).rows
    assert (only.scores.images, only.scores.anomalous_images, only.unmasked) == (9, 5, 1)
    assert only.scores.image_auroc == pytest.approx(metrics.roc_auc_score(labels, highest), abs=1e-9)
    for name, value in (
        ("pixel_auroc", metrics.roc_auc_score(*pixels)),
        ("pixel_ap", metrics.average_precision_score(*pixels)),
    ):
        bounded = getattr(only.scores, name)
        assert bounded.lower - 1e-9 <= value <= bounded.upper + 1e-9
        assert float(bounded) == pytest.approx(value, abs=1e-6)
