"""`threecad view`: which image is shown, what it says, and what it refuses to open."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import BOW_TIE, SMALL, factory, photograph, polygon, put, square
from PIL import Image

from threecad.domain import Action, Code, State
from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats import labelme
from threecad.formats.dataset import read_samples
from threecad.imaging.drawing import CROSSING, PALETTE, STATES
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import convert
from threecad.pipeline.view import View, describe, save, show, view
from threecad.settings import Labels, Reading


def near(pixel: Any, colour: Any, by: int = 1) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - np.asarray(colour, int)).max() <= by)


def blended(colour: tuple[int, int, int], under: int) -> list[int]:
    return [round(0.62 * under + 0.38 * value) for value in colour]


def codes(seen: View) -> list[str]:
    return [finding.code.name for finding in seen.findings]


def legend(seen: View) -> list[str]:
    return [key.text for key in seen.legend]


GRAY = np.full((800, 900), 100, np.uint8)
"""Large enough to be shown as it is, so that a pixel of the image is one of the picture."""


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A raw folder of one category."""
    return tmp_path / "line7" / "part"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with good, defective, ambiguous and poisoned tiles, and previews."""
    folder = tmp_path_factory.mktemp("view")
    raw = factory(folder / "line7", 4)
    put(
        raw,
        "cover/d1.png",
        photograph(9),
        [square("__ignore__", 40, 40, 20), square("dent", 20, 20, 30), BOW_TIE | {"label": "x"}],
    )
    put(raw, "frame/two.png", photograph(10), [square("dent", 10, 10, 30), square("Kratzer", 25, 25, 30)])
    put(raw, "frame/cross.png", photograph(11), [square("__ignore__", 45, 10, 20), square("dent", 10, 10, 30)])
    settings = SMALL.model_copy(update={"write": SMALL.write.model_copy(update={"previews": True})})
    convert(raw, folder / "data", settings, workers=1)
    return folder / "data"


# An annotation


def test_an_annotation_shows_its_image_with_masks_in_the_types_colours(part: Path) -> None:
    put(part, "a.png", GRAY, [square("scratch", 100, 100, 100), square("dent", 400, 100, 100)])
    seen = view(part / "a.json")
    assert seen.title == "a.png"
    assert legend(seen) == ["dent", "scratch"]
    assert near(seen.pixels[150, 450], blended(PALETTE[0], 100))
    assert near(seen.pixels[150, 150], blended(PALETTE[1], 100))
    assert seen.pixels[600, 600].tolist() == [100] * 3
    assert seen.findings == ()


def test_a_queued_bow_tie_is_drawn_as_it_is_with_its_crossing_and_why(part: Path) -> None:
    put(part, "a.png", GRAY, [polygon("dent", (100, 100), (300, 300), (300, 100), (100, 300))])
    seen = view(part / "a.json")
    assert codes(seen) == ["READINGS_DISAGREE"]
    assert near(seen.pixels[207, 200], CROSSING, 60)
    assert seen.pixels[200, 130].tolist() == [100] * 3
    assert legend(seen) == ["queued, as drawn (1)", "crosses itself (1)"]
    assert describe(seen)[0].startswith("  1  TC105 queued  shape 0: self-crossing outline, readings disagree")


def test_a_label_table_gives_each_type_its_colour_on_every_image(part: Path) -> None:
    put(part, "a.png", GRAY, [square("sc", 100, 100, 100)])
    seen = view(part / "a.json", pipeline=Pipeline(labels=Labels(aliases={"d": "dent", "sc": "scratch"})))
    assert legend(seen) == ["scratch"]
    assert seen.legend[0].colour == PALETTE[1]


def test_an_annotation_of_another_size_is_queued_as_in_a_conversion(part: Path) -> None:
    put(part, "a.png", GRAY, [square("dent", 100, 100, 100)], imageHeight=400, imageWidth=450)
    seen = view(part / "a.json")
    assert codes(seen) == ["SIZE_MISMATCH"]
    assert legend(seen) == ["queued, as drawn (1)"]


def test_sixteen_bits_are_shown_from_black_to_white(part: Path) -> None:
    pixels = np.tile(np.linspace(1000, 3000, 900).astype(np.uint16), (800, 1))
    put(part, "a.png", pixels, [square("dent", 100, 100, 50)])
    seen = view(part / "a.json")
    assert seen.pixels[600, 0].tolist() == [0] * 3
    assert seen.pixels[600, 899].tolist() == [255] * 3


def test_an_image_of_one_pixel_is_enlarged(part: Path) -> None:
    put(part, "a.png", np.zeros((1, 1), np.uint8), [square("dent", 0, 0, 1)])
    seen = view(part / "a.json")
    assert near(seen.pixels[16, 16], blended(PALETTE[0], 0))


def test_a_large_image_is_shrunk_before_it_is_drawn_on(part: Path) -> None:
    put(part, "a.png", np.full((1500, 3000), 100, np.uint8), [square("dent", 1000, 500, 500)])
    seen = view(part / "a.json", longest=1000)
    assert seen.pixels.shape[1] == 1000
    assert near(seen.pixels[250, 400], blended(PALETTE[0], 100))
    assert near(seen.pixels[250, 333], PALETTE[0], 60)


def test_labels_without_letters_in_the_font_are_told_by_number_and_on_the_terminal(part: Path) -> None:
    put(part, "a.png", GRAY, [square("划痕", 100, 100, 50), square("w" * 300, 300, 100, 50)])
    seen = view(part / "a.json")
    assert legend(seen) == ["w" * 300, "type 2"]
    assert describe(seen) == ["type 2: 划痕"]
    assert seen.pixels.shape[1] == 900


def test_an_annotation_with_nothing_but_a_flag_is_shown_all_the_same(part: Path) -> None:
    put(part, "a.png", GRAY, [], flags={"rust": True})
    seen = view(part / "a.json")
    assert codes(seen) == ["FLAG_WITHOUT_SHAPE"]


# Where its image is


def test_images_apart_from_their_annotations_are_found_below_the_raw_folder(tmp_path: Path) -> None:
    put(tmp_path / "raw/data", "a.png", GRAY, [square("dent", 100, 100, 50)])
    (tmp_path / "raw/label").mkdir()
    annotation = (tmp_path / "raw/data/a.json").rename(tmp_path / "raw/label/a.json")
    with pytest.raises(LayoutError, match=r"leads to no image in label; pass its folder with --images, or with --raw"):
        view(annotation)
    assert view(annotation, raw=tmp_path / "raw").title == "data/a.png"
    assert view(annotation, raw=tmp_path / "raw", images="data").title == "data/a.png"
    assert view(annotation, images=tmp_path / "raw/data").title == "a.png"
    assert view(tmp_path / "raw/data/a.png", raw=tmp_path / "raw").legend[0].name == "dent"


def test_the_embedded_copy_is_shown_where_there_is_no_other(part: Path) -> None:
    path = put(part, "a.png", GRAY, [square("dent", 100, 100, 50)], imageData="x")
    file = path.with_suffix(".json")
    file.write_text(file.read_text().replace('"x"', json.dumps(base64.b64encode(path.read_bytes()).decode())))
    path.unlink()
    seen = view(file)
    assert codes(seen) == ["EMBEDDED_IMAGE"]
    assert seen.pixels[600, 600].tolist() == [100] * 3


def test_an_annotation_laid_out_for_relabelling_finds_its_image_in_the_raw_folder(tmp_path: Path, part: Path) -> None:
    path = put(part, "a.png", GRAY, [square("dent", 100, 100, 50)], imagePath="../line7/part/a.png")
    queue = tmp_path / "relabel"
    queue.mkdir()
    shutil.move(path.with_suffix(".json"), queue / "a.json")
    assert view(queue / "a.json", raw=tmp_path / "line7").title == "part/a.png"
    with pytest.raises(LayoutError, match="leads to no image in relabel"):
        view(queue / "a.json")


@pytest.mark.parametrize("target", ["../../secret.png", "{}/secret.png", "a\0b.png", "x" * 5000, "link.png", "pipe.png", "."])
def test_nothing_outside_the_raw_folder_is_opened(tmp_path: Path, part: Path, target: str) -> None:
    put(tmp_path, "secret.png", GRAY)
    put(part, "a.png", GRAY, [square("dent", 1, 1, 5)], imagePath=target.format(tmp_path)).unlink()
    (part / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(part / "pipe.png")
    (tmp_path / "apart").mkdir()
    shutil.copy(part / "a.json", tmp_path / "apart/b.json")
    for options in ({}, {"raw": part}):
        with pytest.raises(LayoutError, match="no image"):
            view(part / "a.json", **options)
    with pytest.raises(LayoutError, match="no image"):
        view(tmp_path / "apart/b.json", raw=part)
    (part / "secret.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(LayoutError, match="no image"):
        view(tmp_path / "apart/b.json", images=part)


def test_a_photograph_that_is_a_link_out_of_its_folder_is_refused(tmp_path: Path, part: Path) -> None:
    put(tmp_path, "secret.png", GRAY)
    part.mkdir(parents=True)
    (part / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(LayoutError, match="is not among the images of part"):
        view(part / "a.png")


def test_a_missing_image_and_a_broken_annotation_are_one_sentence_each(part: Path) -> None:
    put(part, "a.png", GRAY, [square("dent", 1, 1, 5)]).unlink()
    with pytest.raises(LayoutError, match=r"a\.json: imagePath 'a\.png' leads to no image in part"):
        view(part / "a.json")
    (part / "b.json").write_text('{"shapes": [')
    with pytest.raises(ReadError, match=r"b\.json: not JSON"):
        view(part / "b.json")
    put(part, "c.png", GRAY, [square("dent", 1, 1, 5)]).write_bytes(b"no image")
    with pytest.raises(ReadError, match=r"c\.png: not an image"):
        view(part / "c.json")


# A photograph


def test_a_photograph_is_shown_with_the_annotation_beside_it(part: Path) -> None:
    put(part, "a.png", GRAY, [square("dent", 100, 100, 50)])
    assert (view(part / "a.png").pixels == view(part / "a.json").pixels).all()


def test_a_photograph_finds_an_annotation_of_another_name(part: Path) -> None:
    put(part, "a.png", GRAY, [square("dent", 100, 100, 50)])
    (part / "a.json").rename(part / "by-bob.json")
    assert legend(view(part / "a.png")) == ["dent"]


def test_a_photograph_that_nobody_annotated_is_shown_and_told(part: Path) -> None:
    put(part, "a.png", GRAY)
    put(part, "good/b.png", GRAY)
    seen = view(part / "a.png", windows=True)
    assert codes(seen) == ["UNANNOTATED"]
    assert legend(seen) == []
    assert legend(view(part / "good/b.png", windows=True, raw=part)) == ["good window (1)"]
    strict = Pipeline(read=Reading(unannotated="error"))
    assert codes(view(part / "a.png", pipeline=strict)) == ["UNANNOTATED"]


def test_only_the_annotation_that_is_asked_for_is_opened(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        put(part, f"{number}.png", GRAY, [square("dent", 100, 100, 50)])
    opened: list[str] = []
    peek = labelme.peek

    def counting(path: Path, name: str | None = None, *, max_bytes: int, max_shapes: int) -> labelme.Peek:
        opened.append(path.name)
        return peek(path, name, max_bytes=max_bytes, max_shapes=max_shapes)

    monkeypatch.setattr(labelme, "peek", counting)
    view(part / "3.json")
    assert set(opened) == {"3.json"}


def test_the_image_of_another_annotation_is_not_taken_for_a_lost_one(part: Path) -> None:
    put(part / "x", "lost.png", GRAY, [square("dent", 1, 1, 5)]).unlink()
    put(part / "y", "lost.png", GRAY, [square("dent", 1, 1, 5)])
    (part / "y/lost.json").rename(part / "y/other.json")
    with pytest.raises(LayoutError, match="leads to no image"):
        view(part / "x/lost.json", raw=part)


# Windows and single shapes


def test_windows_are_coloured_by_what_a_conversion_makes_of_them(part: Path) -> None:
    photo = np.full((800, 800), 100, np.uint8)
    put(part, "a.png", photo, [square("dent", 100, 100, 100), square("dent", 403, 600, 100)])
    settings = Pipeline.model_validate({"tiling": {"slice_size": 400, "overlap_ratio": 0.0}})
    seen = view(part / "a.json", windows=True, pipeline=settings)
    assert legend(seen)[1:] == ["good window (1)", "defect window (2)", "ambiguous window (1)"]
    for top, left, state in ((0, 0, State.DEFECT), (0, 400, State.GOOD), (400, 0, State.AMBIGUOUS), (400, 400, State.DEFECT)):
        edge = seen.pixels[top + 30 : top + 150, left : left + 12].reshape(-1, 3).tolist()
        assert any(near(pixel, STATES[state], 20) for pixel in edge)
    assert legend(view(part / "a.json", pipeline=settings)) == ["dent"]


def test_a_second_annotation_poisons_the_windows(part: Path) -> None:
    put(part, "a.png", GRAY, [square("dent", 100, 100, 100)])
    shutil.copy(part / "a.json", part / "a-by-bob.json")
    seen = view(part / "a.json", windows=True)
    assert legend(seen)[-1] == "poisoned window (1)"
    assert Code.SECOND_ANNOTATION.name in codes(seen)
    assert legend(view(part / "a-by-bob.json"))[0] == "dent"


def test_one_shape_is_shown_large_with_its_pixels_and_what_is_said_about_it(part: Path) -> None:
    put(part, "a.png", GRAY, [BOW_TIE, square("dent", 500, 300, 10)])
    seen = view(part / "a.json", shape=1)
    times = 720 // 26 + 1  # ten pixels and a margin of eight
    assert near(seen.pixels[13 * times, 13 * times], blended(PALETTE[0], 100))
    assert seen.pixels[4 * times, 4 * times].tolist() == [100] * 3
    assert seen.findings == ()
    assert codes(view(part / "a.json", shape=0)) == ["READINGS_DISAGREE"]
    with pytest.raises(ConfigError, match=r"a\.json: there is no shape 2; its shapes are numbered 0 to 1"):
        view(part / "a.json", shape=2)


def test_a_shape_that_lies_nowhere_shows_the_whole_image(part: Path) -> None:
    put(part, "a.png", GRAY, [polygon("dent", (float("nan"), 1), (2, float("nan")))])
    assert view(part / "a.json", shape=0).pixels.shape[1] == 900


def test_wrong_numbers_and_names_are_told(tmp_path: Path, part: Path) -> None:
    put(part, "a.png", GRAY, [])
    with pytest.raises(ConfigError, match="longest: expected 16 to 8192 pixels, found 9"):
        view(part / "a.json", longest=9)
    with pytest.raises(LayoutError, match="part: a folder; expected an annotation, an image or a tile"):
        view(part)
    for lost in (part / "b.json", part / ("x" * 500)):
        with pytest.raises(LayoutError, match="no such file"):
            view(lost)
    with pytest.raises(LayoutError, match="no such folder; expected the raw folder"):
        view(part / "a.json", raw=tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="no such folder; expected the folder of the images"):
        view(part / "a.json", images="nowhere")
    (part / "notes.txt").write_text("hello")
    with pytest.raises(ReadError, match=r"found a file that ends in '\.txt'; expected \.bmp"):
        view(part / "notes.txt")


# Tiles of a data set


def tile(made: Path, state: State, source: str = "") -> Any:
    samples = read_samples(made / "samples.jsonl")
    return next(
        each
        for each in samples
        if each.state is state and source in each.source and (each.image or state not in ("good", "defect"))
    )


def test_a_tile_is_told_by_any_of_its_files_or_its_id(made: Path) -> None:
    sample = tile(made, State.DEFECT, "d0.png")
    by_image = view(made / sample.image)
    assert by_image.title == sample.id
    preview = f"previews/{sample.category}/{sample.id}.png"
    for path in (sample.mask, sample.types, preview):
        assert (view(made / path).pixels == by_image.pixels).all()
    assert (view(sample.id, data=made).pixels == by_image.pixels).all()


def test_a_tile_shows_its_types_its_state_and_what_is_ignored(made: Path) -> None:
    sample = tile(made, State.DEFECT, "cross.png")
    seen = view(made / sample.image)
    assert legend(seen) == ["dent", "to ignore"]
    assert codes(seen) == ["IGNORE_AREA"]
    with Image.open(made / sample.image) as picture:
        inside = np.asarray(picture)[25 - sample.window.top, 25 - sample.window.left]
    times = -(-720 // 96)
    shown = seen.pixels[(25 - sample.window.top) * times + 4, (25 - sample.window.left) * times + 4]
    assert near(shown, blended(seen.legend[0].colour, int(inside)), 2)
    strip = seen.pixels[96 * times :].reshape(-1, 3)
    assert (strip == np.array(STATES[State.DEFECT])).all(axis=1).any()


def test_a_type_has_the_same_colour_on_every_tile_of_its_category(made: Path) -> None:
    two = view(made / tile(made, State.DEFECT, "two.png").image)
    other = view(made / tile(made, State.DEFECT, "cross.png").image)
    colours = {key.name: key.colour for key in two.legend}
    assert colours["dent"] == other.legend[0].colour


def test_one_defect_of_a_tile_is_shown_large(made: Path) -> None:
    sample = tile(made, State.DEFECT, "two.png")
    whole, close = view(made / sample.image), view(made / sample.image, shape=1)
    assert close.pixels.shape != whole.pixels.shape
    with pytest.raises(ConfigError, match=r"shape 7 is not on this tile; it shows 0, 1"):
        view(made / sample.image, shape=7)


def test_a_tile_without_a_file_names_its_source(made: Path) -> None:
    sample = tile(made, State.POISONED)
    with pytest.raises(LayoutError, match=r"no file was written of this tile \(poisoned, no split uses it\); view its source"):
        view(sample.id, data=made)


def test_what_is_no_tile_of_the_data_set_is_told(tmp_path: Path, made: Path) -> None:
    with pytest.raises(LayoutError, match="nonsense is no sample of data"):
        view("nonsense", data=made)
    with pytest.raises(LayoutError):
        view("nonsense", data=tmp_path)
    with pytest.raises(LayoutError, match="no such folder"):
        view("nonsense", data=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="this is a tile already"):
        view(made / tile(made, State.GOOD).image, windows=True)
    unfinished = tmp_path / "out/.threecad"
    unfinished.mkdir(parents=True)
    put(tmp_path / "out", "a.png", GRAY)
    with pytest.raises(LayoutError, match="out is not finished"):
        view(tmp_path / "out/a.png")


@pytest.fixture
def altered(tmp_path: Path, made: Path) -> Any:
    """The row of a defect tile in a copy of the data set, changed at will."""
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    sample = tile(made, State.DEFECT, "two.png")

    def change(**changes: object) -> tuple[Path, str]:
        rows = [json.loads(line) for line in (made / "samples.jsonl").read_text().splitlines()]
        for row in rows:
            if row["id"] == sample.id:
                row.update(changes)
        (copy / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return copy, changes.get("id", sample.id)  # type: ignore[return-value]

    return change


@pytest.mark.parametrize("path", ["../../secret.png", "link.png", "{}/secret.png"])
def test_a_row_that_names_a_file_outside_the_data_set_is_refused(tmp_path: Path, altered: Any, path: str) -> None:
    put(tmp_path, "secret.png", GRAY)
    for role in ("image", "mask", "ignore"):
        copy, name = altered(**{role: path.format(tmp_path)})
        if not (copy / "link.png").is_symlink():
            (copy / "link.png").symlink_to(tmp_path / "secret.png")
        with pytest.raises(LayoutError, match="leads out of the data set copy"):
            view(name, data=copy)


def test_rows_that_lie_are_told(altered: Any) -> None:
    copy, name = altered(image="gone.png")
    with pytest.raises(LayoutError, match=r"gone\.png: no such file in copy"):
        view(name, data=copy)
    copy, name = altered(image="x" * 5000)
    with pytest.raises(LayoutError, match="no such file"):
        view(name, data=copy)
    copy, name = altered(window={"top": 10**30, "left": 0, "size": {"height": 96, "width": 96}})
    with pytest.raises(ReadError, match="lies where no image reaches"):
        view(name, data=copy)
    copy, name = altered(id="a\0b/../c", split=None, image=None)
    with pytest.raises(LayoutError, match="no file was written"):
        view(name, data=copy)


def test_a_mask_of_another_size_is_told(altered: Any) -> None:
    copy, name = altered(mask="small.png")
    put(copy, "small.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(ReadError, match="mask file is 3 × 3 pixels"):
        view(name, data=copy)


def test_masks_that_disagree_show_it(altered: Any) -> None:
    copy, name = altered(mask="full.png")
    put(copy, "full.png", np.full((96, 96), 255, np.uint8))
    assert legend(view(name, data=copy))[-1] == "mask without type"
    copy, name = altered(types="odd.png")
    put(copy, "odd.png", np.full((96, 96), 200, np.uint8))
    assert legend(view(name, data=copy)) == ["index 200"]


# Other people's folders


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One category in MVTec's layout."""
    root = tmp_path / "tree/bottle"
    mask = np.zeros((800, 900), np.uint8)
    mask[100:200, 300:400] = 255
    for name in ("train/good/000.png", "test/good/000.png", "test/dent/000.png", "test/dent/001.png"):
        put(root, name, GRAY)
    put(root, "ground_truth/dent/000_mask.png", mask)
    return root


def test_an_image_of_a_plain_folder_is_shown_with_its_mask(tree: Path) -> None:
    seen = view(tree / "test/dent/000.png")
    assert seen.title == "test/dent/000.png"
    assert legend(seen) == ["dent"]
    assert near(seen.pixels[150, 350], blended(PALETTE[0], 100))
    assert seen.pixels[150, 450].tolist() == [100] * 3
    assert (view(tree / "ground_truth/dent/000_mask.png").pixels == seen.pixels).all()
    assert legend(view("bottle/test/dent/000.png", data=tree.parent)) == ["dent"]


def test_a_plain_image_without_mask_or_with_a_bad_one_is_told(tree: Path) -> None:
    assert codes(view(tree / "test/dent/001.png")) == ["MASK_MISSING"]
    assert codes(view(tree / "train/good/000.png")) == []
    put(tree, "ground_truth/dent/001_mask.png", np.zeros((3, 3), np.uint8))
    assert codes(view(tree / "test/dent/001.png")) == ["MASK_OTHER_SIZE"]
    for options, found in (({"shape": 0}, "--shape names a shape of an annotation"), ({"windows": True}, "finished data set")):
        with pytest.raises(ConfigError, match=found):
            view(tree / "test/dent/000.png", **options)
    put(tree, "test/notes/deeper/x.png", GRAY)
    with pytest.raises(LayoutError, match=r"is no image of bottle, nor the mask of one, as far as its layout \(mvtec\) tells"):
        view("x.png", data=tree)


def test_a_mask_that_is_a_link_out_of_its_data_set_is_not_opened(tmp_path: Path, tree: Path) -> None:
    put(tmp_path, "secret.png", np.full((800, 900), 255, np.uint8))
    (tree / "ground_truth/dent/001_mask.png").symlink_to(tmp_path / "secret.png")
    seen = view(tree / "test/dent/001.png")
    assert legend(seen) == []
    assert "MASK_MISSING" in codes(seen)


def test_an_annotation_beside_an_image_comes_before_a_mask(tree: Path) -> None:
    put(tree, "test/dent/000.png", GRAY, [square("scratch", 100, 100, 50)])
    assert legend(view(tree / "test/dent/000.png")) == ["scratch"]


# The picture as a file and on the terminal


@pytest.fixture
def seen(part: Path) -> View:
    put(part, "a.png", GRAY, [square("dent", 100, 100, 50)])
    return view(part / "a.json")


def test_a_saved_picture_holds_the_pixels_and_nothing_else_and_is_the_same_every_time(
    tmp_path: Path, seen: View, part: Path
) -> None:
    save(seen, tmp_path / "x.png")
    save(view(part / "a.json"), tmp_path / "y.PNG")
    with Image.open(tmp_path / "x.png") as picture:
        assert (np.asarray(picture) == seen.pixels).all()
        assert not picture.info
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.PNG").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line7", "x.png", "y.PNG"]


def test_a_file_is_replaced_only_by_force(tmp_path: Path, seen: View) -> None:
    file = tmp_path / "x.png"
    file.write_text("mine")
    with pytest.raises(ConfigError, match=r"x\.png exists already; choose another name or pass --force"):
        save(seen, file)
    assert file.read_text() == "mine"
    save(seen, file, force=True)
    with Image.open(file) as picture:
        assert picture.size == seen.pixels.shape[1::-1]


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path, seen: View) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        save(seen, tmp_path / "nowhere/x.png")
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.png"):
        save(seen, tmp_path / "x.jpg")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        save(seen, tmp_path / "folder.png", force=True)
    with pytest.raises(ThreecadError, match="cannot be written"):
        save(seen, tmp_path / f"{'x' * 300}.png")


def test_without_a_name_the_picture_goes_to_the_current_folder_and_replaces_an_earlier_one(
    tmp_path: Path, seen: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save(seen) == save(seen) == Path("a.view.png")
    assert (tmp_path / "a.view.png").is_file()


def test_a_picture_never_lands_among_the_photographs_it_shows(part: Path, seen: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(part)
    for name in (None, "b.png", part / "b.png"):
        with pytest.raises(LayoutError, match="would lie among the images it shows"):
            save(seen, name)
    assert sorted(path.name for path in part.iterdir()) == ["a.json", "a.png"]


def test_nothing_is_drawn_where_there_is_no_terminal(seen: View, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(seen) is False
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("answer", "columns", "drawn"),
    [(b"\x1b[?62;4c", 80, True), (b"\x1b[?62;22c\x1b_Gi=1;EINVAL\x1b\\", 80, False), (b"", 0, False)],
)
def test_a_terminal_that_speaks_sixel_is_drawn_on_and_another_is_not(
    part: Path, answer: bytes, columns: int, drawn: bool
) -> None:
    import termios

    put(part, "a.png", GRAY[:100, :100], [square("dent", 10, 10, 50)])
    program = "import sys; from threecad.pipeline.view import show, view; print('shown:', show(view(sys.argv[1])))"
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24 if columns else 0, columns))
    os.write(ours, answer)  # before it is asked: the library waits a tenth of a second only
    command = [sys.executable, "-c", program, str(part / "a.json")]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}) as child:
        os.close(theirs)
        said = bytearray()
        while b"shown:" not in said or said[-1:] != b"\n":
            said += os.read(ours, 65536)
        child.wait()
    os.close(ours)
    assert f"shown: {drawn}".encode() in said
    assert (b"\x1bP" in said) is drawn


def test_findings_are_described_up_to_a_screen_or_two(part: Path) -> None:
    put(part, "a.png", GRAY, [polygon("dent", (k, k), (k + 5, k)) for k in range(300)])
    lines = describe(view(part / "a.json"))
    assert len(lines) == 201
    assert lines[-1].strip() == "and 100 more findings"


# Real data


@pytest.mark.shared
def test_real_annotations_are_shown(shared: Path) -> None:
    crossing = view(shared / "labelme_examples_min/instance_segmentation/data_annotated/2011_000006.json")
    assert codes(crossing)[:2] == ["SELF_CROSSING", "SELF_CROSSING"]
    assert all(each.action is not Action.QUEUED for each in crossing.findings)
    aluminium = next(iter(sorted((shared / "aluminium_labelme_v3/data/sample_jsons").glob("*.json"))))
    seen = view(aluminium)
    assert "type 1" in legend(seen)
    assert "EMBEDDED_IMAGE" in codes(seen)
    label = next(iter(sorted((shared / "bsdata_dev/label").glob("*.json"))))
    assert view(label, raw=shared / "bsdata_dev").title.startswith("data/")
