"""A check finds what a conversion finds, lays it out for a person, and touches nothing but its own folders."""

from __future__ import annotations

import csv
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import BOW_TIE, SMALL, contents, factory, photograph, polygon, put, square
from PIL import Image

from threecad.cli import main
from threecad.domain import Action, Code, Finding, Size, State
from threecad.errors import LayoutError, ThreecadError
from threecad.formats import labelme
from threecad.formats.dataset import Dataset, read_findings, read_samples
from threecad.imaging import polygons
from threecad.pipeline import check as checking
from threecad.pipeline.check import check
from threecad.pipeline.config import Pipeline, override
from threecad.pipeline.convert import convert
from threecad.pipeline.sources import Task

NEEDS_PIXELS = {Code.IMAGE_UNREADABLE, Code.ALPHA_DROPPED, Code.FIRST_PAGE_ONLY, Code.IMAGE_DOUBTFUL}
"""What only a decoded image shows; a header may show some of it."""
SPLITS = {
    *(Code.EXACT_DUPLICATE, Code.NEAR_DUPLICATE, Code.CROWD, Code.LEAK, Code.NOTHING_TO_TRAIN_ON, Code.MIXED_GROUP),
    Code.SPLIT_CONFLICT,
}
"""What a check does not look for, since it assigns no splits."""

# Outlines that can be repaired, each in its own way.
KEYHOLE = polygon("dent", (20, 20), (80, 20), (80, 80), (20, 80), (20, 20), (40, 40), (40, 60), (60, 60), (60, 40), (40, 40))
DOUBLED = polygon("dent", (100, 20), (100, 20), (140, 20), (140, 60), (140, 60), (100, 60))
BEYOND = square("scratch", 190, 20, 40)
CURL = polygon("scratch", (20, 100), (60, 100), (60, 140), (59.5, 140.5), (60.5, 140.5), (20, 140))
SPLIT = polygon("dent", (100, 90), (130, 90), (130, 100), (131, 90), (131, 91), (150, 91), (150, 130), (100, 130))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two categories with every sort of doubt."""
    folder = factory(tmp_path / "line7")
    shapes = [DOUBLED, KEYHOLE, BEYOND, square("x", 150, 100, 20, shape_type="hexagon"), polygon("dent", (1, 1), (5, 5))]
    put(folder, "cover/odd.png", photograph(50), [*shapes, {"label": 3}, CURL])
    put(folder, "cover/elsewhere.png", photograph(51), [square("dent", 10, 10, 30)], imageHeight=300, imageWidth=440)
    put(folder, "frame/bare.png", photograph(52))
    put(folder, "frame/flagged.png", photograph(53), [], flags={"wet": True})
    put(folder, "frame/lost.png", photograph(54), [square("dent", 10, 10, 30)]).unlink()
    put(folder, "frame/ignored.png", photograph(55), [square("__ignore__", 10, 10, 30), square("Dent ", 90, 90, 20)])
    (folder / "frame/d1-by-bob.json").write_bytes((folder / "frame/d1.json").read_bytes())
    (folder / "frame/broken.json").write_text('{"shapes": [')
    (folder / "frame/camera.json").write_text('{"gain": 3}')
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "findings"


def about_annotations(findings: Iterable[Finding]) -> list[Finding]:
    """Without what only pixels show, and without splits."""
    return sorted((each for each in findings if each.code not in NEEDS_PIXELS | SPLITS), key=str)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


PIPELINES = {
    "default": SMALL,
    "table": override(SMALL, {"labels.aliases": {"dent": "dent", "scratch": "dent"}}),
    "trusting": override(SMALL, {"read.size_mismatch": "trust", "repair.two_points": "line:3", "read.unannotated": "good"}),
    "one": override(SMALL, {"read.category": "x", "repair.max_outside": 0.9}),
}


def test_a_relabelled_file_copied_back_finds_its_image_without_a_word(tmp_path: Path) -> None:
    raw = tmp_path / "line7"
    put(raw, "part/a.png", photograph(1), [BOW_TIE])
    check(raw, SMALL, out=tmp_path / "findings")
    file = json.loads((tmp_path / "findings/relabel/part/a.json").read_text())
    file["shapes"] = [square("dent", 30, 30, 20)]
    (raw / "part/a.json").write_text(json.dumps(file))
    assert not {each.code for each in check(raw, SMALL).findings} & {Code.PATH_OUTSIDE, Code.IMAGE_BY_NAME}


class TestFindings:
    @pytest.mark.parametrize("name", PIPELINES)
    def test_they_are_those_of_a_conversion(self, raw: Path, out: Path, tmp_path: Path, name: str) -> None:
        done = check(raw, PIPELINES[name], out=out)
        converted = convert(raw, tmp_path / "data", PIPELINES[name])
        theirs = list(read_findings(tmp_path / "data/findings.jsonl"))
        assert about_annotations(done.findings) == about_annotations(theirs)
        assert list(read_findings(out / "findings.jsonl")) == list(done.findings)
        assert converted.manifest is not None
        assert (done.queued, done.flawless) == (converted.queued, converted.flawless)
        for row in done.rows:
            shapes = converted.manifest.categories[row.category].shapes
            assert row[2:] == (shapes.total, shapes.kept, shapes.repaired, shapes.queued, shapes.dropped)

    def test_with_decoding_they_are_all_of_them(self, raw: Path, out: Path, tmp_path: Path) -> None:
        (raw / "cover/d0.png").write_bytes((raw / "cover/d0.png").read_bytes()[:900])
        Image.fromarray(np.dstack([photograph(60, colour=True), photograph(61)])).save(raw / "cover/good/alpha.png")
        looked, decoded = check(raw, SMALL), check(raw, SMALL, decode=True)
        convert(raw, tmp_path / "data", SMALL)
        theirs = [each for each in read_findings(tmp_path / "data/findings.jsonl") if each.code not in SPLITS]
        assert sorted(decoded.findings, key=str) == sorted(theirs, key=str)
        assert {each.code for each in decoded.findings} >= {Code.IMAGE_UNREADABLE, Code.ALPHA_DROPPED}
        assert {each.code for each in looked.findings} & NEEDS_PIXELS <= {Code.IMAGE_UNREADABLE}
        assert [each.detail for each in decoded.findings if each.source == "cover/d0.png" and each.shape is not None] == [
            "its image cannot be used",
            "its image cannot be used",
        ]

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
    def test_decoding_finds_an_image_that_was_cut_off(self, tmp_path: Path, suffix: str) -> None:
        path = put(tmp_path / "line7", f"part/a{suffix}", photograph(1), [square("dent", 10, 10, 30)])
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        done = check(tmp_path / "line7", SMALL, decode=True)
        assert {Code.IMAGE_UNREADABLE, Code.IMAGE_DOUBTFUL} & {each.code for each in done.findings}

    def test_their_order_does_not_depend_on_threads(self, raw: Path, tmp_path: Path) -> None:
        for workers in (1, 4):
            check(raw, SMALL, out=tmp_path / f"out{workers}", fixed=tmp_path / f"fixed{workers}", workers=workers)
        assert contents(tmp_path / "out1") == contents(tmp_path / "out4")
        assert contents(tmp_path / "fixed1") == contents(tmp_path / "fixed4")

    def test_images_and_annotations_are_counted_as_they_lie_there(self, raw: Path) -> None:
        done = check(raw, SMALL)
        assert done.images == len(list(raw.rglob("*.png")))
        read = set(raw.rglob("*.json")) - {raw / "frame/broken.json", raw / "frame/camera.json", raw / "frame/d1-by-bob.json"}
        assert done.annotated == len(read)
        assert done.versions == {"5.5.0": len(read) - 1}  # the flagged one is no source, so it was only looked into

    def test_progress_comes_to_every_source(self, raw: Path) -> None:
        seen: list[tuple[int, int]] = []
        check(raw, SMALL, progress=lambda step: seen.append((step.done, step.total)))
        assert seen == [(number, len(seen)) for number in range(1, len(seen) + 1)]


class TestRelabelQueue:
    def test_every_file_reads_as_labelmes_and_leads_to_its_image(self, raw: Path, out: Path) -> None:
        done = check(raw, SMALL, out=out)
        files = sorted((out / "relabel").rglob("*.json"))
        assert len(files) == done.relabel == 3
        for path in files:
            annotation = labelme.read(path, path.name, max_bytes=10**6)
            image = (path.parent / annotation.image).resolve()
            assert image == (raw / path.relative_to(out / "relabel")).with_suffix(".png").resolve()
            with Image.open(image) as picture:
                assert annotation.size == Size(picture.height, picture.width)
            assert all(shape.fault is None and shape.kind in labelme.KINDS for shape in annotation.shapes)

    def test_every_queued_shape_tells_why_and_no_other(self, raw: Path, out: Path) -> None:
        done = check(raw, SMALL, out=out)
        for path in (out / "relabel").rglob("*.json"):
            source = path.relative_to(out / "relabel").with_suffix(".png").as_posix()
            reasons = {
                number: [each for each in done.findings if (each.source, each.shape) == (source, number)] for number in range(9)
            }
            for number, shape in enumerate(json.loads(path.read_text(encoding="utf-8"))["shapes"]):
                queued = any(each.action is Action.QUEUED for each in reasons[number])
                assert ("threecad: " in shape["description"]) is queued
                assert all(f"{each.code} {each.detail}" in shape["description"] for each in reasons[number] if queued)

    def test_the_table_lists_what_waits_and_nothing_else(self, raw: Path, out: Path) -> None:
        done = check(raw, SMALL, out=out)
        with (out / "relabel.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        waiting = [each for each in done.findings if each.action is Action.QUEUED]
        assert [(row["source"], row["code"], row["shape"]) for row in rows] == [
            (each.source, each.code, "" if each.shape is None else str(each.shape)) for each in waiting
        ]

    def test_no_cell_is_a_formula_to_a_spreadsheet(self, out: Path, tmp_path: Path) -> None:
        for number, start in enumerate("=+-@"):
            put(tmp_path / "line7", f"{start}cmd|' C'!A{number}.png", photograph(number), [BOW_TIE])
            put(tmp_path / "line7", f"{start}{start}x/a.png", photograph(number), [square("=cmd()", 1, 1, 9, shape_type="=1+1")])
        check(tmp_path / "line7", SMALL, out=out)
        with (out / "relabel.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) == 9
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]

    def test_what_a_person_mends_there_can_be_copied_back(self, raw: Path, out: Path) -> None:
        check(raw, SMALL, out=out)
        for path in (out / "relabel").rglob("*.json"):
            file = json.loads(path.read_text(encoding="utf-8"))
            for shape in file["shapes"]:
                if "threecad: " in shape["description"]:
                    shape |= square("dent", 30, 30, 20) | {"description": ""}
            # labelme keeps the imagePath, which is relative to where the file is.
            (raw / path.relative_to(out / "relabel")).write_text(json.dumps(file))
        mended = {path.relative_to(out / "relabel").with_suffix(".png").as_posix() for path in (out / "relabel").rglob("*.json")}
        again = check(raw, SMALL, out=out)
        left = [each for each in again.findings if each.source in mended and each.action is not Action.KEPT]
        assert {each.code for each in left} <= {Code.TIDIED, Code.CLIPPED, Code.OUTSIDE, Code.SELF_CROSSING, Code.TILE_TOO_SMALL}
        assert not [each for each in left if each.action is Action.QUEUED]
        assert not list((out / "relabel").rglob("*.json"))

    def test_an_image_that_is_only_embedded_goes_along(self, out: Path, tmp_path: Path) -> None:
        import base64

        path = put(tmp_path / "line7", "part/a.png", photograph(1), [BOW_TIE])
        file = json.loads(path.with_suffix(".json").read_text())
        file["imageData"] = base64.b64encode(path.read_bytes()).decode()
        path.with_suffix(".json").write_text(json.dumps(file))
        image = path.read_bytes()
        path.unlink()
        check(tmp_path / "line7", SMALL, out=out)
        assert labelme.embedded_image(out / "relabel/part/a.json", max_bytes=10**7) == image


class TestWrittenFixed:
    """Copied over the raw folder, the repaired annotations change no pixel of any mask, and nothing is missing."""

    @pytest.fixture
    def mended(self, raw: Path, tmp_path: Path) -> Path:
        """A copy of the raw folder with the repaired annotations over it."""
        check(raw, SMALL, fixed=tmp_path / "fixed")
        copy = tmp_path / "copy" / raw.name
        for folder in (raw, tmp_path / "fixed"):
            for path in folder.rglob("*"):
                if path.is_file() and path.name != checking.MARK:
                    target = copy / path.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(path.read_bytes())
        return copy

    def masks(self, raw: Path, out: Path) -> dict[str, bytes]:
        convert(raw, out, SMALL)
        data = Dataset(out)
        found = {data[number]["id"]: data[number]["gt_mask"].tobytes() for number in range(len(data))}
        types = {path.name: path.read_bytes() for path in (out / "types").rglob("*.png")}
        states = {row.id: row.state.value.encode() for row in read_samples(out / "samples.jsonl")}
        return {f"{kind} {name}": each for kind, one in enumerate((found, types, states)) for name, each in one.items()}

    def test_masks_types_and_states_stay_the_same(self, raw: Path, mended: Path, tmp_path: Path) -> None:
        before, after = self.masks(raw, tmp_path / "one"), self.masks(mended, tmp_path / "two")
        assert before == after
        assert sum(name.startswith("0") and any(mask) for name, mask in before.items()) > 10

    def test_every_annotation_that_can_be_read_is_there(self, raw: Path, tmp_path: Path) -> None:
        """Were one missing, its image might pass for a good one."""
        check(raw, SMALL, fixed=tmp_path / "fixed")
        assert {path.relative_to(tmp_path / "fixed") for path in (tmp_path / "fixed").rglob("*.json")} == {
            path.relative_to(raw) for path in raw.rglob("*.json") if path.name not in ("broken.json", "camera.json")
        }

    def test_a_broken_annotation_of_an_image_stays_in_the_way_of_calling_it_good(self, raw: Path, tmp_path: Path) -> None:
        (raw / "cover/good/g0.json").write_text("{")
        check(raw, SMALL, fixed=tmp_path / "fixed")
        assert (tmp_path / "fixed/cover/good/g0.json").read_text() == "{"

    def test_a_file_without_a_repair_is_the_same_to_the_byte(self, raw: Path, tmp_path: Path) -> None:
        check(raw, SMALL, fixed=tmp_path / "fixed")
        changed = [
            path.relative_to(raw).as_posix()
            for path in raw.rglob("*.json")
            if (fixed := tmp_path / "fixed" / path.relative_to(raw)).exists() and fixed.read_bytes() != path.read_bytes()
        ]
        assert changed == ["cover/odd.json"]

    def test_a_repaired_shape_has_a_sound_outline_and_all_that_was_said_about_it(self, tmp_path: Path) -> None:
        told = {"flags": {"deep": True, "old": False}, "description": "by Ann", "colour": [1, 2], "group_id": 4}
        path = put(tmp_path / "line7", "a.png", photograph(1), [DOUBLED | told, square("x", 10, 80, 20), BEYOND], lens="35 mm")
        check(tmp_path / "line7", SMALL, fixed=tmp_path / "fixed")
        file, drawn = (json.loads(each.read_text()) for each in (tmp_path / "fixed/a.json", path.with_suffix(".json")))
        assert {key: value for key, value in file.items() if key != "shapes"} == {
            key: value for key, value in drawn.items() if key != "shapes"
        }
        first, second, third = file["shapes"]
        assert {key: first[key] for key in told} == told
        assert sorted(first["points"]) == [[100, 20], [100, 60], [140, 20], [140, 60]]
        assert second == drawn["shapes"][1]
        assert max(x for x, _ in third["points"]) == 220

    def test_a_second_repair_finds_nothing_to_repair(self, tmp_path: Path) -> None:
        put(tmp_path / "line7", "a.png", photograph(1), [DOUBLED, BEYOND, CURL, SPLIT])
        check(tmp_path / "line7", SMALL, fixed=tmp_path / "fixed")
        (tmp_path / "line7/a.json").write_bytes((tmp_path / "fixed/a.json").read_bytes())
        again = check(tmp_path / "line7", SMALL, fixed=tmp_path / "fixed2")
        assert [each for each in again.findings if each.action is Action.REPAIRED and each.code is not Code.TIDIED] == []
        assert again.rows[0].queued == 0

    def test_parts_of_one_shape_stay_one_defect(self, tmp_path: Path) -> None:
        """Clipped to the image this outline falls apart."""
        comb = polygon("dent", (-20, 10), (40, 10), (40, 30), (-5, 30), (-5, 60), (40, 60), (40, 80), (-20, 80))
        put(tmp_path / "line7", "a.png", photograph(1), [comb, square("dent", 100, 10, 20, group_id=7)])
        pipeline = override(SMALL, {"repair.max_outside": 1.0})
        check(tmp_path / "line7", pipeline, fixed=tmp_path / "fixed")
        shapes = json.loads((tmp_path / "fixed/a.json").read_text())["shapes"]
        assert [shape["group_id"] for shape in shapes] == [8, 8, 7]
        fixed = labelme.read(tmp_path / "fixed/a.json", "a.png", max_bytes=10**6)
        drawn = labelme.read(tmp_path / "line7/a.json", "a.png", max_bytes=10**6)
        before, after = (polygons.regions(each, Size(150, 220), None, pipeline.repair)[0] for each in (drawn, fixed))
        assert [region.geometry.area for region in before] == [region.geometry.area for region in after] == [1600, 400]

    def test_what_waits_for_a_person_still_does(self, raw: Path, mended: Path) -> None:
        """A repair must not smooth over what was queued: not a size that differs, not a shape that does not read."""
        before, after = (
            Counter((each.source, each.code) for each in check(folder, SMALL).findings if each.action is Action.QUEUED)
            for folder in (raw, mended)
        )
        assert before == after

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk"])
    def test_any_encoding_survives(self, tmp_path: Path, encoding: str) -> None:
        path = put(tmp_path / "line7", "a.png", photograph(1), [DOUBLED | {"label": "划痕"}])
        text = json.dumps(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), ensure_ascii=False)
        path.with_suffix(".json").write_bytes(text.encode(encoding))
        check(tmp_path / "line7", SMALL, fixed=tmp_path / "fixed")
        [shape] = labelme.read(tmp_path / "fixed/a.json", "a.png", max_bytes=10**6).shapes
        assert (shape.label, len(shape.points)) == ("划痕", 4)

    def test_a_bitmap_that_had_to_be_clipped_becomes_an_outline(self, tmp_path: Path) -> None:
        import base64
        import io

        buffer = io.BytesIO()
        Image.fromarray(np.full((21, 21), 255, np.uint8)).save(buffer, "PNG")
        mask = {"label": "dent", "shape_type": "mask", "points": [[210, 10], [230, 30]], "flags": {}, "group_id": None}
        put(tmp_path / "line7", "a.png", photograph(1), [mask | {"mask": base64.b64encode(buffer.getvalue()).decode()}])
        check(tmp_path / "line7", SMALL, fixed=tmp_path / "fixed")
        [shape] = json.loads((tmp_path / "fixed/a.json").read_text())["shapes"]
        assert (shape["shape_type"], shape["mask"]) == ("polygon", None)
        assert max(x for x, _ in shape["points"]) == 220


class TestItsFolders:
    def test_the_raw_folder_is_not_touched(self, raw: Path, out: Path, tmp_path: Path) -> None:
        before = snapshot(raw)
        check(raw, SMALL, out=out, fixed=tmp_path / "fixed", decode=True)
        assert snapshot(raw) == before

    def test_without_folders_nothing_is_written(self, raw: Path, tmp_path: Path) -> None:
        before = snapshot(tmp_path)
        assert check(raw, SMALL).out is None
        assert snapshot(tmp_path) == before

    def test_a_report_inside_the_raw_folder_is_not_read_as_raw(self, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(raw)
        first = check(".", SMALL, out="threecad-check")
        second = check(".", SMALL, out="mine", fixed="fixed")
        assert first.findings == second.findings == check(".", SMALL).findings

    def test_a_second_check_clears_its_own_files_and_no_others(self, raw: Path, out: Path, tmp_path: Path) -> None:
        fixed = tmp_path / "fixed"
        check(raw, SMALL, out=out, fixed=fixed)
        for folder in (out, fixed):
            (folder / "notes.txt").write_text("mine")
        (out / "relabel/cover/mine.json").write_text("mine")
        for name in ("doubtful", "odd", "elsewhere"):
            (raw / f"cover/{name}.json").unlink()
        check(raw, SMALL, out=out, fixed=fixed)
        assert set(contents(out)) == {
            *("findings.jsonl", "relabel.csv", "notes.txt", "relabel/cover/mine.json", checking.MARK),
        }
        assert "cover/odd.json" not in contents(fixed)
        assert (fixed / "notes.txt").read_text() == "mine"

    def test_an_empty_folder_is_not_left_behind(self, raw: Path, out: Path) -> None:
        check(raw, SMALL, out=out)
        for name in ("doubtful", "odd", "elsewhere"):
            (raw / f"cover/{name}.json").unlink()
        check(raw, SMALL, out=out)
        assert not (out / "relabel").exists()

    def test_a_check_that_was_cut_short_leaves_nothing_the_next_one_would_keep(
        self, raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checking._Desk, "close", crash)
            with pytest.raises(KeyboardInterrupt):
                check(raw, SMALL, out=out)
        assert len(list((out / "relabel").rglob("*.json"))) == 3
        for name in ("doubtful", "odd", "elsewhere"):
            (raw / f"cover/{name}.json").unlink()
        with (out / checking.MARK).open("ab") as mark:
            mark.write(b'"relabel/cov')  # torn
        check(raw, SMALL, out=out)
        assert set(contents(out)) == {"findings.jsonl", "relabel.csv", checking.MARK}

    def test_a_mark_cannot_make_it_delete_elsewhere(self, raw: Path, out: Path, tmp_path: Path) -> None:
        precious = tmp_path / "thesis.doc"
        precious.write_text("dear")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/dear.txt").write_text("dear")
        out.mkdir()
        (out / "link").symlink_to(tmp_path / "elsewhere")
        rows = ["../thesis.doc", str(precious), "link/dear.txt", "../elsewhere/dear.txt", "", "."]
        (out / checking.MARK).write_text("".join(json.dumps(row) + "\n" for row in rows) + "3\nnull\n[]\n")
        check(raw, SMALL, out=out)
        assert precious.read_text() == (tmp_path / "elsewhere/dear.txt").read_text() == "dear"

    def test_a_folder_of_others_is_refused_before_anything_is_read(self, raw: Path, out: Path, tmp_path: Path) -> None:
        out.mkdir()
        (out / "thesis.doc").write_text("dear")
        for folders in ({"out": out}, {"fixed": out}, {"out": tmp_path / "free", "fixed": out}):
            with pytest.raises(LayoutError, match="holds files that threecad did not write"):
                check(raw, SMALL, **folders)
        assert not (tmp_path / "free").exists()
        assert [path.name for path in out.iterdir()] == ["thesis.doc"]

    def test_a_data_set_is_refused_too(self, raw: Path, tmp_path: Path) -> None:
        convert(raw, tmp_path / "data", SMALL)
        before = contents(tmp_path / "data")
        with pytest.raises(LayoutError, match="holds files that threecad did not write"):
            check(raw, SMALL, out=tmp_path / "data")
        assert contents(tmp_path / "data") == before

    @pytest.mark.parametrize("places", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
    def test_the_two_folders_must_lie_apart(self, raw: Path, tmp_path: Path, places: tuple[str, str]) -> None:
        with pytest.raises(LayoutError, match="expected a folder apart from that of the findings"):
            check(raw, SMALL, out=tmp_path / places[0], fixed=tmp_path / places[1])

    def test_names_as_long_as_names_can_be_and_with_line_breaks(self, out: Path, tmp_path: Path) -> None:
        long, broken = f"{'n' * 250}", "a\nfindings.jsonl"
        for name in (long, broken):
            put(tmp_path / "line7", f"{name}.png", photograph(1), [BOW_TIE, DOUBLED])
        for _ in range(2):
            done = check(tmp_path / "line7", SMALL, out=out, fixed=tmp_path / "fixed")
            assert done.relabel == 2
            assert (out / f"relabel/{long}.json").is_file()
            assert (tmp_path / f"fixed/{broken}.json").is_file()
        (tmp_path / f"line7/{broken}.json").unlink()
        check(tmp_path / "line7", SMALL, out=out)
        assert (out / "findings.jsonl").is_file()
        assert not (out / f"relabel/{broken}.json").exists()

    def test_a_full_disk_is_one_sentence(self, raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(checking, "write_atomically", full)
        with pytest.raises(ThreecadError, match=r"findings: cannot be written \(No space left on device\)"):
            check(raw, SMALL, out=out)


def test_decoding_opens_no_more_images_at_once_than_fit_into_memory(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, most, lock = 0, 0, threading.Lock()
    picture = Task.picture

    def noted(self: Task, *arguments: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        try:
            return picture(self, *arguments)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(Task, "picture", noted)
    monkeypatch.setattr(checking, "budget", lambda: 2 * 220 * 150 * 6)
    found = check(raw, SMALL, decode=True, workers=8)
    assert most <= 3, "two photographs, and the one that is nowhere to be found"
    monkeypatch.setattr(checking, "budget", lambda: 1 << 40)
    assert check(raw, SMALL, decode=True, workers=8).findings == found.findings
    assert most > 3


def test_ctrl_c_does_not_wait_for_what_was_not_begun(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []
    look = checking._look

    def noted(*arguments: Any) -> Any:
        begun.append(arguments)
        time.sleep(0.05)
        return look(*arguments)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checking, "_look", noted)
    with pytest.raises(KeyboardInterrupt):
        check(raw, SMALL, workers=1, progress=stop)
    assert len(begun) < 10


def test_the_examples_have_every_doubt_in_a_file_that_labelme_opens(examples: Path, out: Path) -> None:
    done = check(examples, "smoke", out=out)
    waiting = {each.source for each in done.findings if each.action is Action.QUEUED and each.shape is not None}
    unusable = {each.source for each in done.findings if each.code is Code.ORPHAN_SHAPE}
    assert done.relabel == len(waiting - unusable) > 3
    for path in (out / "relabel").rglob("*.json"):
        assert labelme.read(path, path.name, max_bytes=10**7).shapes


@pytest.mark.shared
@pytest.mark.parametrize("name", ["labelme_examples_min", "nuts_labelme", "aluminium_labelme_v3"])
def test_real_data_is_repaired_without_changing_a_mask(shared: Path, tmp_path: Path, name: str) -> None:
    fixed = tmp_path / "fixed"
    done = check(shared / name, fixed=fixed)
    copy = tmp_path / "copy" / name
    for folder in (shared / name, fixed):
        for path in folder.rglob("*"):
            if path.is_file() and path.name != checking.MARK:
                target = copy / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    again = check(copy)
    assert [(row.category, row.images) for row in again.rows] == [(row.category, row.images) for row in done.rows]
    assert all(after.shapes >= before.shapes for after, before in zip(again.rows, done.rows, strict=True))
    assert sum(row.queued for row in again.rows) == sum(row.queued for row in done.rows)
    assert {each.code for each in again.findings if each.action is Action.REPAIRED} <= {Code.TIDIED}
    pipeline = override(Pipeline(), {"tiling.slice_size": 400})
    masks = []
    for raw in (shared / name, copy):
        convert(raw, tmp_path / f"out{len(masks)}", pipeline)
        out = tmp_path / f"out{len(masks)}"
        masks.append({path: data for path, data in contents(out).items() if "ground_truth" in path or path.startswith("types")})
        assert any(row.state is State.DEFECT for row in read_samples(out / "samples.jsonl"))
    assert masks[0] == masks[1]


def test_the_command_is_the_function(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["check", str(raw), "--write-fixed", "fixed"], catch_exceptions=False)
    assert result.exit_code == 3
    check(raw, out=tmp_path / "out", fixed=tmp_path / "fixed2")
    assert contents(tmp_path / "threecad-check") == contents(tmp_path / "out")
    assert contents(tmp_path / "fixed") == contents(tmp_path / "fixed2")
