"""What annotators drew is compared with the reference on the same images, told in numbers that were put in, and drawn."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from photographs import BOW_TIE, photograph, polygon, put, square

from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.formats import labelme
from threecad.pipeline.agree import COLUMNS, Bars, agree, as_csv, as_json
from threecad.pipeline.agree import page as agree_page
from threecad.pipeline.agree import terminal as agree_summary
from threecad.pipeline.config import Pipeline, override

DENT, SCRATCH = square("dent", 20, 20, 20), square("scratch", 100, 40, 40)


def drawing(folder: Path, name: str, shapes: list[dict[str, object]], **keys: object) -> Path:
    """A labelme file without its image, as an annotator hands it in."""
    file = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"../{Path(name).stem}.png", "imageData": None}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(file | {"imageHeight": 150, "imageWidth": 220} | keys), encoding="utf-8")
    return path


def perturbed(reference: Path, folder: Path, change: Callable[[int, dict[str, Any]], list[dict[str, Any]]]) -> Path:
    """Every annotation of the reference with `change` made to each of its shapes, which are numbered through."""
    number = 0
    for path in sorted(reference.rglob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        shapes = []
        for shape in file["shapes"]:
            shapes += change(number, shape)
            number += 1
        target = folder / path.relative_to(reference)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(file | {"shapes": shapes, "imageData": None}), encoding="utf-8")
    return folder


def shifted(shape: dict[str, Any], by: float) -> dict[str, Any]:
    return shape | {"points": [[x + by, y] for x, y in shape["points"]]}


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """Twelve photographs in two folders: eight with a dent and a scratch each, four good, two of these without a file."""
    folder = tmp_path / "gold"
    for number in range(8):
        put(folder, f"{'cover' if number % 2 else 'frame'}/d{number}.png", photograph(number), [DENT, SCRATCH])
    for number in range(4):
        put(folder, f"cover/good/g{number}.png", photograph(50 + number), [] if number < 2 else None)
    return folder


@pytest.fixture
def anna(gold: Path, tmp_path: Path) -> Path:
    """Anna draws as the reference does."""
    return perturbed(gold, tmp_path / "anna", lambda _, shape: [shape])


class TestNumbers:
    def test_who_draws_the_same_agrees_altogether(self, gold: Path, anna: Path) -> None:
        done = agree(gold, [anna])
        (scores,) = done.annotators
        assert (done.images, scores.images, scores.total.tally.right) == (10, 10, 16)
        assert (scores.total.tally.f1, scores.total.closeness.mean_iou, scores.kappa.value) == (1.0, 1.0, 1.0)
        assert scores.calls == {("defective", "defective"): 8, ("good", "good"): 2}

    def test_they_are_what_was_put_in(self, gold: Path, tmp_path: Path) -> None:
        def change(number: int, shape: dict[str, Any]) -> list[dict[str, Any]]:
            if number % 7 == 0:  # 0, 7, 14
                return []
            if number % 5 == 0:  # 5, 10, 15
                shape = shape | {"label": "stain"}
            if number == 9:
                shape = shape | {"points": shape["points"][:2]}
            more = [square("pit", 200, 140, 6)] if number == 3 else []
            return [shifted(shape, 2), *more]

        done = agree(gold, [perturbed(gold, tmp_path / "bob", change)])
        (bob,) = done.annotators
        tally = bob.total.tally
        assert (tally.reference, tally.drawn) == (16, 14)
        assert (tally.right, tally.confused, tally.missed, tally.extra, tally.unusable) == (9, 3, 4, 1, 1)
        assert (tally.precision, tally.recall, tally.f1) == (9 / 14, 9 / 16, 18 / 30)
        assert {(row.name, row.tally.right, row.tally.missed, row.tally.mistaken, row.tally.extra) for row in bob.types} == {
            ("dent", 5, 2, 0, 0),
            ("scratch", 4, 2, 0, 0),
            ("stain", 0, 0, 3, 0),
            ("pit", 0, 0, 0, 1),
        }
        assert {row.name: row.closeness.mean_iou for row in bob.sizes if row.closeness.pairs} == {
            "small": pytest.approx(18 / 22),
            "medium": pytest.approx(38 / 42),
        }
        assert (bob.total.closeness.mean_hausdorff, bob.total.closeness.max_hausdorff) == (2.0, 2.0)
        (bad,) = [line.comparison for line in done.lines if line.comparison.verdict.value == "unusable"]
        assert (bad.drawn, bad.detail) == ("scratch", "fewer than three distinct points: 2 distinct points")

    def test_small_defects_stand_apart_from_large_ones(self, tmp_path: Path) -> None:
        put(tmp_path / "gold", "a.png", photograph(1), [square("pit", 20, 20, 4), square("pit", 60, 20, 100)])
        drawing(tmp_path / "anna", "a.json", [square("pit", 22, 20, 4), square("pit", 62, 20, 100)])
        sizes = agree(tmp_path / "gold", [tmp_path / "anna"]).annotators[0].sizes
        assert [(row.name, row.closeness.mean_iou) for row in sizes] == [
            ("tiny", pytest.approx(1 / 3)),
            ("large", pytest.approx(98 / 102)),
        ]

    def test_labels_are_looked_up_in_the_label_table(self, gold: Path, tmp_path: Path) -> None:
        bob = perturbed(
            gold, tmp_path / "bob", lambda _, shape: [shape | {"label": {"dent": "Delle", "scratch": "?"}[shape["label"]]}]
        )
        table = override(Pipeline(), {"labels.aliases": {"Delle": "dent", "scratch": "scratch"}})
        tally = agree(gold, [bob], table).annotators[0].total.tally
        assert (tally.right, tally.missed, tally.unusable) == (8, 8, 8)

    def test_ignored_areas_are_no_defects(self, tmp_path: Path) -> None:
        put(tmp_path / "gold", "a.png", photograph(1), [square("__ignore__", 20, 20, 60)])
        put(tmp_path / "gold", "b.png", photograph(2), [DENT])
        drawing(tmp_path / "anna", "a.json", [square("dent", 30, 30, 20)])
        drawing(tmp_path / "anna", "b.json", [DENT])
        (anna,) = agree(tmp_path / "gold", [tmp_path / "anna"]).annotators
        assert (anna.total.tally.f1, anna.excused) == (1.0, 1)
        assert anna.calls == {("defective", "defective"): 1}  # nobody can call the other image good or defective

    def test_what_is_drawn_over_an_unusable_shape_of_the_reference_is_excused_and_told(self, tmp_path: Path) -> None:
        put(tmp_path / "gold", "a.png", photograph(1), [BOW_TIE, SCRATCH])
        drawing(tmp_path / "anna", "a.json", [square("dent", 20, 20, 40), SCRATCH])
        done = agree(tmp_path / "gold", [tmp_path / "anna"])
        assert (done.unusable, done.annotators[0].excused, done.annotators[0].total.tally.f1) == (1, 1, 1.0)

    def test_who_drew_on_an_image_of_another_size_drew_nothing_usable(self, gold: Path, anna: Path) -> None:
        drawing(anna, "frame/d0.json", [DENT, SCRATCH], imageHeight=300)
        tally = agree(gold, [anna]).annotators[0].total.tally
        assert (tally.right, tally.missed, tally.unusable) == (14, 2, 2)
        trusting = override(Pipeline(), {"read.size_mismatch": "trust"})
        assert agree(gold, [anna], trusting).annotators[0].total.tally.f1 == 1.0

    def test_shapes_beyond_the_image_are_cut_as_a_check_cuts_them(self, tmp_path: Path) -> None:
        put(tmp_path / "gold", "a.png", photograph(1), [square("dent", 190, 20, 30)])
        drawing(tmp_path / "anna", "a.json", [square("dent", 190, 20, 60)], imageHeight=None)
        (line,) = agree(tmp_path / "gold", [tmp_path / "anna"]).lines
        assert (line.comparison.reference_area, line.comparison.drawn_area) == (900, 30 * 60)


class TestWholeImages:
    def test_kappa_is_that_of_good_and_defective(self, gold: Path, anna: Path) -> None:
        drawing(anna, "cover/d1.json", [])
        drawing(anna, "cover/good/g0.json", [DENT])
        (scores,) = agree(gold, [anna]).annotators
        assert scores.calls == {
            ("defective", "defective"): 7,
            ("defective", "good"): 1,
            ("good", "defective"): 1,
            ("good", "good"): 1,
        }
        assert scores.kappa.value == pytest.approx((0.8 - 0.68) / (1 - 0.68))

    def test_without_good_images_kappa_is_not_defined_and_says_why(self, gold: Path, anna: Path) -> None:
        shutil.rmtree(gold / "cover/good")
        (scores,) = agree(gold, [anna]).annotators
        assert (scores.kappa.value, scores.kappa.images) == (None, 8)
        assert scores.kappa.reason == "the reference calls every image defective"

    def test_an_unusable_shape_calls_its_image_defective(self, gold: Path, anna: Path) -> None:
        drawing(anna, "cover/d1.json", [BOW_TIE])
        assert agree(gold, [anna]).annotators[0].calls == {("defective", "defective"): 8, ("good", "good"): 2}

    def test_an_image_without_a_file_is_good_where_the_pipeline_says_so(self, gold: Path, anna: Path) -> None:
        (anna / "cover/d1.json").unlink()
        skipped = agree(gold, [anna])
        assert {each.image for each in skipped.left_out} == {"cover/d1.png", "cover/good/g2.png", "cover/good/g3.png"}
        good = agree(gold, [anna], override(Pipeline(), {"read.unannotated": "good"}))
        assert not good.left_out
        assert good.annotators[0].calls == {("defective", "defective"): 7, ("defective", "good"): 1, ("good", "good"): 4}

    def test_alpha_is_told_of_several_annotators_and_of_no_single_one(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        bob = perturbed(gold, tmp_path / "bob", lambda number, shape: [shape] if number > 1 else [])
        assert agree(gold, [anna]).alpha == {}
        done = agree(gold, [anna, bob])
        # Ten images, both annotators: nine alike (7 defective, 2 good) and one not; 15 and 5 of 20 ratings.
        assert done.alpha["calls"].value == pytest.approx(1 - 19 * 2 / (2 * 15 * 5))
        assert done.alpha["types"].value == done.alpha["calls"].value
        (between,) = done.between
        assert (between.images, between.pairs, between.mean_iou, between.f1) == (10, 14, 1.0, 28 / 30)


class TestWhichImageIsWhich:
    def test_files_are_found_by_path_and_then_by_name(self, gold: Path, tmp_path: Path) -> None:
        flat = tmp_path / "flat"
        for path in sorted(gold.rglob("*.json")):
            drawing(flat, path.name, json.loads(path.read_text())["shapes"])
        assert agree(gold, [flat]).annotators[0].images == 10

    def test_a_name_that_stands_twice_needs_its_folder(self, gold: Path, tmp_path: Path) -> None:
        for category in ("cover", "frame"):
            put(gold, f"{category}/same.png", photograph(70), [DENT])
        drawing(tmp_path / "bob", "same.json", [DENT])
        drawing(tmp_path / "bob", "d0.json", [DENT])
        drawing(tmp_path / "carla", "batch/frame/same.json", [DENT])
        done = agree(gold, [tmp_path / "bob", tmp_path / "carla"])
        assert [line.image for line in done.lines if line.comparison.iou] == ["frame/d0.png", "frame/same.png"]
        told = {(each.annotator, each.image, each.side, each.reason) for each in done.left_out}
        assert ("bob", "same.json", "annotator", "not only one image has this name") in told

    def test_images_that_only_one_side_has_are_told(self, gold: Path, anna: Path) -> None:
        (anna / "frame/d0.json").unlink()
        drawing(anna, "frame/new.json", [DENT])
        done = agree(gold, [anna])
        told = {(each.image, each.side) for each in done.left_out}
        assert {("frame/d0.png", "reference"), ("frame/new.json", "annotator")} <= told
        assert done.annotators[0].total.tally.missed == 0

    def test_images_and_annotations_may_lie_in_folders_of_their_own(self, tmp_path: Path) -> None:
        gold = tmp_path / "gold"
        image = put(gold, "photos/part/a.png", photograph(1))
        drawing(gold, "labels/part/a.json", [DENT], imagePath=image.name)
        drawing(tmp_path / "anna", "part/a.json", [DENT])
        named = override(Pipeline(), {"read.images": "photos", "read.annotations": "labels"})
        for pipeline in (None, named):
            assert agree(gold, [tmp_path / "anna"], pipeline).annotators[0].total.tally.right == 1

    def test_an_annotation_that_cannot_be_read_is_told(self, gold: Path, anna: Path) -> None:
        (anna / "frame/d0.json").write_text('{"shapes": [')
        (gold / "frame/d2.json").write_text('{"shapes": [')
        (anna / "frame/d4.json").write_text(json.dumps({"shapes": [], "flags": {"wet": True}, "imagePath": "d4.png"}))
        done = agree(gold, [anna])
        told = {each.image: (each.side, each.reason) for each in done.left_out}
        assert told["frame/d0.png"] == ("both", "annotator: the annotation cannot be read")
        assert told["frame/d2.png"] == ("both", "reference: the annotation cannot be read")
        assert told["frame/d4.png"] == ("both", "annotator: an image flag is set but nothing is drawn, left out")
        assert done.annotators[0].images == 7

    def test_an_empty_annotation_of_another_size_calls_nothing_good(self, gold: Path, anna: Path) -> None:
        drawing(anna, "cover/d1.json", [], imageWidth=99)
        told = {each.image: each.reason for each in agree(gold, [anna]).left_out}
        assert told["cover/d1.png"] == "annotator: the annotation is empty and states another size than the image has"

    def test_an_image_that_nobody_annotated_is_not_worth_a_word(self, gold: Path, anna: Path) -> None:
        for folder in (gold, anna):
            put(folder, "frame/bare.png", photograph(80))
        put(anna, "frame/d0.png", photograph(0)).with_suffix(".json").unlink()
        told = {each.image: each.reason for each in agree(gold, [anna]).left_out}
        assert told["frame/d0.png"] == "annotator: image without annotation, left out"
        assert "frame/bare.png" not in told

    def test_a_second_annotation_of_an_image_is_unusable(self, gold: Path, anna: Path) -> None:
        put(anna, "frame/d0.png", photograph(0), [DENT, SCRATCH])
        drawing(anna, "frame/d0-again.json", [DENT], imagePath="d0.png")
        tally = agree(gold, [anna]).annotators[0].total.tally
        assert (tally.right, tally.unusable) == (16, 1)

    def test_annotators_of_the_same_name_are_told_apart(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        for day in ("monday", "tuesday"):
            shutil.copytree(anna, tmp_path / day / "anna")
        done = agree(gold, [tmp_path / "monday/anna", tmp_path / "tuesday/anna"])
        assert [each.name for each in done.annotators] == ["monday/anna", "tuesday/anna"]

    def test_an_annotators_folder_never_leads_out_of_itself(self, gold: Path, anna: Path) -> None:
        (anna / "frame/d0.json").unlink()
        (anna / "frame/d0.json").symlink_to(gold / "frame/d0.json")
        assert "frame/d0.png" in {each.image for each in agree(gold, [anna]).left_out}

    def test_without_any_image_the_annotations_tell_the_size(self, gold: Path, anna: Path) -> None:
        for path in gold.rglob("*.png"):
            path.unlink()
        assert agree(gold, [anna]).annotators[0].total.tally.f1 == 1.0

    def test_a_stated_size_that_no_image_may_have_is_not_believed(self, tmp_path: Path) -> None:
        for name in ("gold", "anna"):
            drawing(tmp_path / name, "a.json", [DENT], imageHeight=10**9, imageWidth=10**9)
        (left,) = agree(tmp_path / "gold", [tmp_path / "anna"]).left_out
        assert "max_megapixels" in left.reason


class TestHostileShapes:
    def test_whatever_is_drawn_is_counted_and_drawn(self, tmp_path: Path) -> None:
        odd: list[dict[str, object]] = [
            polygon("dent", (1e300, 1e300), (-1e300, 5)),
            polygon("dent", (5, 5), shape_type="point"),
            polygon("dent", (30, 30), (1e300, 40), shape_type="circle"),
            polygon("dent", (float("nan"), 1), (5, 6), (7, 8)),
            {"label": 7},
            polygon("", (1, 1), (9, 1), (9, 9)),
            {"label": "dent", "points": "everywhere"},
        ]
        put(tmp_path / "gold", "a.png", photograph(1), [*odd, SCRATCH])
        drawing(tmp_path / "anna", "a.json", [DENT, *odd])
        drawing(tmp_path / "bob", "a.json", [SCRATCH])
        done = agree(tmp_path / "gold", [tmp_path / "anna", tmp_path / "bob"], page=tmp_path / "page.html")
        anna, bob = (each.total.tally for each in done.annotators)
        assert (done.unusable, anna.unusable, anna.missed, bob.f1) == (len(odd), len(odd), 1, 1.0)
        assert json.dumps(as_json(done), allow_nan=False)

    def test_an_image_too_crowded_to_be_compared_is_told(self, tmp_path: Path) -> None:
        pile = [square("dent", 10, 10, 100)] * 1000
        put(tmp_path / "gold", "a.png", photograph(1), pile)
        put(tmp_path / "gold", "b.png", photograph(2), [DENT])
        drawing(tmp_path / "anna", "a.json", pile)
        drawing(tmp_path / "anna", "b.json", [DENT])
        done = agree(tmp_path / "gold", [tmp_path / "anna"])
        assert [(each.image, each.reason) for each in done.left_out] == [("a.png", "more outlines overlap than can be measured")]
        assert done.images == 1


class TestRequests:
    def test_wrong_ones_are_told_in_a_sentence(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        drawing(other, "elsewhere.json", [DENT])
        (tmp_path / "empty").mkdir()
        shutil.copytree(anna, gold / "anna")
        wrong: list[tuple[list[Path], type[ThreecadError], str]] = [
            ([], ConfigError, "at least one annotator"),
            ([tmp_path / "nobody"], LayoutError, "does not exist"),
            ([gold / "cover/d1.png"], LayoutError, "is no folder"),
            ([gold], LayoutError, "is the reference and an annotator at once"),
            ([anna, anna], LayoutError, "given twice"),
            ([gold / "anna"], LayoutError, "lies inside gold"),
            ([tmp_path], LayoutError, "lies inside"),
            ([other], LayoutError, "expected annotations of the images in gold"),
            ([tmp_path / "empty"], LayoutError, "found none"),
        ]
        for annotators, error, words in wrong:
            with pytest.raises(error, match=words):
                agree(gold, annotators)

    @pytest.mark.parametrize("bars", [Bars(min_f1=1.5), Bars(min_mean_iou=-0.1), Bars(min_kappa=2), Bars(min_f1=float("nan"))])
    def test_a_bar_outside_its_range_is_refused(self, gold: Path, anna: Path, bars: Bars) -> None:
        with pytest.raises(ConfigError, match=r"min_\w+: expected a number"):
            agree(gold, [anna], bars=bars)

    @pytest.mark.parametrize("least", [0, 1.1, float("nan")])
    def test_a_least_overlap_outside_its_range_is_refused(self, gold: Path, anna: Path, least: float) -> None:
        with pytest.raises(ConfigError, match="min_iou: expected"):
            agree(gold, [anna], min_iou=least)

    def test_an_annotation_is_never_written_over(self, gold: Path, anna: Path) -> None:
        before = (anna / "cover/d1.json").read_bytes()
        for option in ("table", "page"):
            with pytest.raises(ConfigError, match="found that of an image or an annotation"):
                agree(gold, [anna], **{option: anna / "cover/d1.json"})  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match="found a folder"):
                agree(gold, [anna], **{option: anna})  # type: ignore[arg-type]
        assert (anna / "cover/d1.json").read_bytes() == before

    def test_one_file_cannot_be_table_and_page(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="expected two files"):
            agree(gold, [anna], table=tmp_path / "both.html", page=tmp_path / "." / "both.html")

    def test_a_place_that_cannot_be_written_is_named(self, gold: Path, anna: Path) -> None:
        with pytest.raises(ThreecadError, match="cannot be written"):
            agree(gold, [anna], table=gold / "cover/d1.json/table.csv")


class TestBars:
    def test_who_reaches_them_is_not_below(self, gold: Path, anna: Path) -> None:
        assert agree(gold, [anna], bars=Bars(1.0, 1.0, 1.0)).below == ()

    def test_each_number_below_its_bar_is_told(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        bob = perturbed(gold, tmp_path / "bob", lambda number, shape: [shifted(shape, 2)] if number % 2 else [])
        below = agree(gold, [anna, bob], bars=Bars(min_f1=0.9, min_mean_iou=0.95, min_kappa=0.5)).below
        assert [(each.annotator, each.measure, each.bar) for each in below] == [("bob", "f1", 0.9), ("bob", "mean_iou", 0.95)]
        assert below[0].value == pytest.approx(16 / 24)

    def test_a_number_that_is_not_defined_reaches_no_bar(self, gold: Path, anna: Path) -> None:
        shutil.rmtree(gold / "cover/good")
        (below,) = agree(gold, [anna], bars=Bars(min_kappa=0.5)).below
        assert (below.measure, below.value, below.reason) == ("kappa", None, "the reference calls every image defective")


EVIL = ["=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(A1)", "\tx", "<script>alert(1)</script>", "a\"b'c", "\u202egnp.exe", "\x1b[2J"]


@pytest.fixture
def evil(tmp_path: Path) -> tuple[Path, Path]:
    """Labels, file names and annotators' names that somebody chose to do harm."""
    shapes = [square(label, 5 + 24 * number, 20, 15) for number, label in enumerate(EVIL)]
    put(tmp_path / "gold", "=1+1<img src=x>.png", photograph(1), shapes)
    put(tmp_path / "gold", "b.png", photograph(2), [DENT])
    annotator = tmp_path / "<b>@bob"
    drawing(annotator, "=1+1<img src=x>.json", [*shapes[1:4], BOW_TIE | {"label": EVIL[5]}])
    drawing(annotator, "b.json", [])
    return tmp_path / "gold", annotator


class TestOutputs:
    def test_the_bytes_do_not_depend_on_the_workers_nor_on_the_place(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        bob = perturbed(gold, tmp_path / "bob", lambda number, shape: [shifted(shape, number)] if number % 3 else [])
        made = []
        for workers, place in ((1, tmp_path), (5, tmp_path / "elsewhere")):
            for folder in (gold, anna, bob):
                if place != tmp_path:
                    shutil.copytree(folder, place / folder.name)
            folders = [place / folder.name for folder in (gold, anna, bob)]
            page, table = tmp_path / f"{workers}.html", tmp_path / f"{workers}.csv"
            done = agree(folders[0], folders[1:], workers=workers, page=page, table=table)
            made.append((json.dumps(as_json(done), sort_keys=True), page.read_bytes(), table.read_bytes()))
        assert made[0] == made[1]
        assert str(tmp_path).encode() not in b"".join((made[0][0].encode(), *made[0][1:]))

    def test_the_json_holds_every_defect_and_every_number(self, gold: Path, anna: Path) -> None:
        told = json.loads(json.dumps(as_json(agree(gold, [anna])), allow_nan=False))
        assert len(told["defects"]) == 16
        assert set(told["defects"][0]) == set(COLUMNS)
        total = told["annotators"][0]["total"]
        assert (total["f1"], total["mean_iou"], total["reference"], total["drawn"]) == (1.0, 1.0, 16, 16)

    def test_the_table_holds_every_defect_and_what_was_left_out(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        done = agree(gold, [anna], table=tmp_path / "new/table.csv")
        rows = list(csv.DictReader(io.StringIO((tmp_path / "new/table.csv").read_text(encoding="utf-8"))))
        assert tuple(rows[0]) == COLUMNS
        assert [row["verdict"] for row in rows] == ["agreed"] * 16 + ["left out"] * len(done.left_out)
        assert (rows[0]["iou"], rows[0]["reference_area"], rows[0]["reference_shapes"]) == ("1", "400", "0")

    def test_no_cell_of_the_table_is_a_formula(self, evil: tuple[Path, Path]) -> None:
        rows = list(csv.reader(io.StringIO(as_csv(agree(evil[0], [evil[1]])))))
        cells = [cell for row in rows[1:] for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert "'=HYPERLINK(1)" in cells

    def test_the_summary_prints_nothing_a_terminal_obeys(
        self, evil: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        agree_summary.show(agree(evil[0], [evil[1]], bars=Bars(min_f1=0.9)), page="page.html")
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        assert "\u202e" not in printed
        assert "Below the bar: <b>@bob: F1 " in printed

    def test_the_summary_tells_what_there_is(
        self, gold: Path, anna: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bob = perturbed(gold, tmp_path / "bob", lambda number, shape: [shape | {"label": "pit"}] if number == 4 else [shape])
        agree_summary.show(agree(gold, [anna, bob], bars=Bars(min_f1=0.5)), table="t.csv")
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert lines[0] == "gold · 10 images · 2 annotators · matched from IoU 0.1 on"
        assert "anna 16 16 16 0 0 0 0 1.000 1.000 1.000" in lines
        assert "bob dent 8 7 7 1 0 0 0 0.933 1.000" in lines
        assert "pit 0 1 0 0 (1) 0 0 0 0.000 –" in lines
        assert "bob dent pit 1" in lines
        assert "Every annotator reaches every bar." in lines
        assert any(
            line.startswith("anna: 2 images not compared, the first cover/good/g2.png: only in the reference") for line in lines
        )


class Page(HTMLParser):
    """The elements of a page; whatever would be fetched; and tags that were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "input", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


class TestPage:
    def page(self, tmp_path: Path, gold: Path, *annotators: Path, **options: Any) -> tuple[str, Page]:
        agree(gold, annotators, page=tmp_path / "page.html", **options)
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        return text, Page(text)

    def test_it_draws_every_disagreement_over_the_photograph(self, gold: Path, tmp_path: Path) -> None:
        def change(number: int, shape: dict[str, Any]) -> list[dict[str, Any]]:
            changes = {
                0: [],
                1: [shape, square("pit", 200, 140, 6)],
                2: [shape | {"label": "scratch"}],
                4: [shape | {"points": shape["points"][:2]}],
                6: [shifted(shape, 10)],
            }
            return changes.get(number, [shape])

        _, page = self.page(tmp_path, gold, perturbed(gold, tmp_path / "bob", change))
        cards = [each for each in page.of("li") if "data-kind" in each]
        # The dent that is missed twice: nobody drew it, and somebody did so with two points.
        assert [each["data-kind"] for each in cards] == ["missed", "missed", "extra", "other", "unusable", "loose"]
        assert len(page.of("image")) == len(cards)
        assert all((each["href"] or "").startswith("data:image/jpeg;base64,") for each in page.of("image"))
        assert len(page.of("circle")) == 2
        assert not page.open

    def test_it_says_so_where_there_is_none(self, gold: Path, anna: Path, tmp_path: Path) -> None:
        text, page = self.page(tmp_path, gold, anna, bars=Bars(min_f1=1.0))
        assert not page.of("image")
        assert "No disagreement" in text
        assert "reaches every bar" in text

    def test_it_fetches_nothing(self, gold: Path, tmp_path: Path) -> None:
        text, page = self.page(tmp_path, gold, perturbed(gold, tmp_path / "bob", lambda _, shape: []))
        addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
        assert all(value and value.startswith(("data:", "#")) for value in addresses)
        assert not re.search(r"https?://|url\(|@import", text)

    def test_no_name_or_label_becomes_markup(self, evil: tuple[Path, Path], tmp_path: Path) -> None:
        text, page = self.page(tmp_path, *evil)
        assert len(page.of("script")) == 1
        assert not page.of("img")
        assert not page.of("b")
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert not page.open

    def test_without_a_photograph_the_outlines_are_drawn_all_the_same(self, gold: Path, tmp_path: Path) -> None:
        for path in gold.rglob("*.png"):
            path.unlink()
        _, page = self.page(tmp_path, gold, perturbed(gold, tmp_path / "bob", lambda _, shape: []))
        assert not page.of("image")
        assert len([each for each in page.of("path") if each["class"] == "line theirs" and each["d"] != "M3 7H35"]) == 16

    def test_no_more_than_the_worst_are_drawn(self, gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agree_page, "MOST_DRAWN", 3)
        text, page = self.page(tmp_path, gold, perturbed(gold, tmp_path / "bob", lambda _, shape: []))
        assert len(page.of("image")) == 3
        assert "3 of 16 disagreements are drawn" in text
        assert {each["data-size"] for each in page.of("li") if "data-size" in each} == {"medium"}

    def test_many_types_are_told_in_a_list(self, tmp_path: Path) -> None:
        shapes = [square(f"type{number}", 10 * number, 20, 8) for number in range(20)]
        put(tmp_path / "gold", "a.png", photograph(1), shapes)
        drawing(tmp_path / "anna", "a.json", [*shapes[1:], shapes[0] | {"label": "type1"}])
        text, _ = self.page(tmp_path, tmp_path / "gold", tmp_path / "anna")
        assert "Commonest confusions" in text

    def test_an_outline_of_very_many_corners_stays_short(self) -> None:
        from shapely import Point, union_all

        holes = union_all([Point(5 * number % 995, number // 5).buffer(2) for number in range(0, 4000, 20)])
        text = agree_page.path(Point(500, 400).buffer(600, quad_segs=5000) - holes, 0.01)
        assert text.count("L") + text.count("M") <= 1500
        assert len(text) < 25_000

    def test_the_filters_count_right_in_a_browser(self, gold: Path, tmp_path: Path) -> None:
        browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if browser is None:
            pytest.skip("needs Chromium on the path")
        text, _ = self.page(
            tmp_path, gold, perturbed(gold, tmp_path / "bob", lambda number, shape: [shape] if number > 4 else [])
        )
        choose = (
            'const each = document.querySelector("[data-filter=types]"); each.value = "1";'
            'each.dispatchEvent(new Event("change", {bubbles: true}));'
            'document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "j", bubbles: true}));'
            'document.title = `${document.querySelector("output").textContent}, ${document.activeElement.dataset.types.trim()}`;'
        )
        # The page's own policy forbids other pages' scripts, not its own; this one stands last in it.
        (tmp_path / "page.html").write_text(text.replace("</body>", f"<script>{choose}</script></body>"), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "page.html").as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert re.search(r"<title>(.*?)</title>", done.stdout).group(1) == "2 shown, 1"  # type: ignore[union-attr]


@pytest.mark.shared
def test_real_annotations_agree_with_themselves_and_tell_what_was_changed(shared: Path, tmp_path: Path) -> None:
    gold = shared / "nuts_labelme" / "images"
    count = sum(len(labelme.read(path, path.name, max_bytes=10**9).shapes) for path in gold.glob("*.json"))

    def change(number: int, shape: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if number % 7 == 6 else [shifted(shape | ({"label": "nut"} if number % 11 == 10 else {}), 2)]

    done = agree(gold, [perturbed(gold, tmp_path / "anna", change)])
    tally = done.annotators[0].total.tally
    both = sum(number % 7 == 6 and number % 11 == 10 for number in range(count))
    assert (tally.reference, tally.missed, tally.confused, tally.extra) == (count, count // 7, count // 11 - both, 0)
    assert done.annotators[0].total.closeness.max_hausdorff == pytest.approx(2)
