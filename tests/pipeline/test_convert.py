"""From raw folder to data set, whole: what comes out, what a second run does, and what a change costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import BOW_TIE, SMALL, contents, factory, photograph, polygon, put, square

from threecad.domain import Action, Code, Split, State
from threecad.errors import BusyError, ConfigError, LayoutError
from threecad.formats.cases import read_cases
from threecad.formats.dataset import Dataset, read_findings, read_manifest, read_samples
from threecad.pipeline import sources
from threecad.pipeline.config import Pipeline, override
from threecad.pipeline.convert import Conversion, convert
from threecad.pipeline.store import hold


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return factory(tmp_path / "line7")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def codes(out: Path) -> Counter[Code]:
    return Counter(finding.code for finding in read_findings(out / "findings.jsonl"))


def test_every_listed_file_is_there_with_its_digest_and_no_other(raw: Path, out: Path) -> None:
    convert(raw, out, SMALL)
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=out, check=True)
    listed = {line.split("  ", 1)[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    manifest = read_manifest(out)
    assert set(contents(out)) == listed | set(manifest.digests) | {"manifest.json"}
    named = [path for row in read_samples(out / "samples.jsonl") for path in (row.image, row.mask, row.types, row.ignore) if path]
    shown = [case.picture for case in read_cases(out / "cases.jsonl") if case.picture]
    assert shown
    assert sorted(named + shown) == sorted(listed)


def test_number_of_workers_changes_no_byte(raw: Path, out: Path, tmp_path: Path) -> None:
    convert(raw, out, SMALL, workers=1)
    convert(raw, tmp_path / "three", SMALL, workers=3)
    assert contents(out) == contents(tmp_path / "three")


def test_a_second_run_does_nothing_and_says_so(raw: Path, out: Path) -> None:
    convert(raw, out, SMALL)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if ".threecad" not in path.parts}
    again = convert(raw, out, SMALL)
    assert (again.changed, again.converted, again.unchanged) == (False, 0, 17)
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*") if ".threecad" not in path.parts}


def test_masks_hold_exactly_the_pixels_whose_centres_the_outline_encloses(out: Path, tmp_path: Path) -> None:
    put(tmp_path / "part", "a.png", photograph(1), [square("dent", 30.5, 40.5, 10)])
    convert(tmp_path / "part", out, SMALL)
    data = Dataset(out, split="test")
    tiles = {row.id: row for row in read_samples(out / "samples.jsonl")}
    for number in range(len(data)):
        item = data[number]
        window = tiles[item["id"]].window
        expected = np.zeros((150, 220), bool)
        expected[40:50, 30:40] = True  # centre (30.5, 40.5) is on the left and upper edge: in; (40.5, …) on the right: out
        part = expected[window.top : window.top + 96, window.left : window.left + 96]
        assert np.array_equal(item["gt_mask"], part)


def test_tiles_are_the_photograph_pixel_for_pixel(raw: Path, out: Path) -> None:
    convert(raw, out, override(SMALL, {"tiling.clean": "test"}))
    for row in read_samples(out / "samples.jsonl"):
        if row.image is not None:
            whole = cv2.imread(str(raw / row.source), cv2.IMREAD_UNCHANGED)
            window = row.window
            part = whole[window.top : window.top + window.size.height, window.left : window.left + window.size.width]
            assert np.array_equal(cv2.imread(str(out / row.image), cv2.IMREAD_UNCHANGED), part)


def test_no_source_in_two_splits_and_no_defect_in_training(raw: Path, out: Path) -> None:
    convert(raw, out, override(SMALL, {"split.validation": 0.3, "tiling.clean": "test"}))
    splits: dict[str, set[Split]] = {}
    for row in read_samples(out / "samples.jsonl"):
        if row.split is not None:
            splits.setdefault(row.source, set()).add(row.split)
        assert row.split is not Split.TRAIN or (row.state is State.GOOD and not row.labels)
    assert {len(each) for each in splits.values()} == {1}
    assert {split for each in splits.values() for split in each} == set(Split)


def test_an_image_with_a_queued_shape_gives_no_good_tile(out: Path, tmp_path: Path) -> None:
    put(tmp_path / "part", "a.png", photograph(1, 300, 400), [BOW_TIE, square("dent", 300, 200, 20)])
    done = convert(tmp_path / "part", out, override(SMALL, {"tiling.clean": "test"}))
    states = Counter(row.state for row in read_samples(out / "samples.jsonl"))
    assert states[State.GOOD] == 0
    assert states[State.DEFECT] > 0
    assert states[State.POISONED] > 0
    assert done.queued
    assert not done.flawless


def test_shapes_add_up_over_all_outcomes(raw: Path, out: Path) -> None:
    put(raw, "cover/odd.png", photograph(50), [BOW_TIE, polygon("dent", (1, 1), (2, 2)), square("x", 200, 140, 40), {"label": 3}])
    manifest = convert(raw, out, SMALL).manifest
    assert manifest is not None
    for category in manifest.categories.values():
        shapes = category.shapes
        assert shapes.total == shapes.kept + shapes.repaired + shapes.queued + shapes.dropped
    drawn = sum(len(json.loads(path.read_text())["shapes"]) for path in raw.rglob("*.json"))
    assert sum(category.shapes.total for category in manifest.categories.values()) == drawn


class TestWhatAChangeCosts:
    """Only what depends on a change is done again, and the result is that of a run from nothing."""

    @pytest.fixture(autouse=True)
    def converted(self, raw: Path, out: Path, tmp_path: Path) -> None:
        convert(raw, out, SMALL)
        self.raw, self.out, self.afresh = raw, out, tmp_path / "afresh"

    def again(self, pipeline: object = SMALL) -> Conversion:
        done = convert(self.raw, self.out, pipeline)  # type: ignore[arg-type]
        convert(self.raw, self.afresh, pipeline)  # type: ignore[arg-type]
        assert contents(self.out) == contents(self.afresh)
        return done

    def test_a_changed_image_redoes_that_image(self) -> None:
        put(self.raw, "cover/d0.png", photograph(77), [square("dent", 10, 20, 12)])
        assert self.again().converted == 1

    def test_a_changed_annotation_redoes_that_image(self) -> None:
        put(self.raw, "cover/d2.png", photograph(102), [square("dent", 90, 70, 12)])
        assert self.again().converted == 1

    def test_a_change_that_keeps_size_and_time_is_still_seen(self) -> None:
        path = self.raw / "cover/d2.json"
        before = path.stat()
        path.write_text(path.read_text().replace("24", "25"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert self.again().converted == 1

    def test_a_touched_file_is_looked_at_and_left(self) -> None:
        (self.raw / "cover/d2.json").touch()
        done = self.again()
        assert (done.changed, done.converted) == (False, 0)

    def test_a_removed_source_takes_its_files_along(self) -> None:
        (self.raw / "frame/d1.png").unlink()
        (self.raw / "frame/d1.json").unlink()
        done = self.again()
        assert (done.converted, done.removed) == (0, 1)

    def test_a_new_label_shifts_type_numbers_and_redoes_only_what_shows_them(self) -> None:
        put(self.raw, "cover/new.png", photograph(60), [square("abrasion", 100, 100, 20)])
        assert self.again().converted == 6  # itself, and the five of its category that show a dent or a scratch

    def test_another_seed_moves_files_and_encodes_nothing(self) -> None:
        done = self.again(override(SMALL, {"split.seed": 1}))
        assert (done.changed, done.converted) == (True, 0)

    def test_another_mask_suffix_moves_files_and_encodes_nothing(self) -> None:
        done = self.again(override(SMALL, {"write.mask_suffix": ""}))
        assert (done.changed, done.converted) == (True, 0)

    def test_another_overlap_redoes_everything(self) -> None:
        assert self.again(override(SMALL, {"tiling.overlap_ratio": 0.3})).converted == 17

    def test_a_tile_that_was_deleted_or_damaged_comes_back(self) -> None:
        tiles = sorted(self.out.glob("*/test/dent/*.png"))
        tiles[0].unlink()
        tiles[-1].write_bytes(b"damaged")
        assert self.again().converted == 2

    def test_a_list_that_was_edited_comes_back(self) -> None:
        (self.out / "samples.jsonl").write_text("{}\n")
        done = self.again()
        assert (done.changed, done.converted) == (True, 0)

    def test_files_of_others_stay(self) -> None:
        (self.out / "notes.txt").write_text("mine")
        put(self.raw, "cover/d0.png", photograph(77), [square("dent", 10, 20, 12)])
        convert(self.raw, self.out, SMALL)
        assert (self.out / "notes.txt").read_text() == "mine"


class TestWhatIsRemembered:
    """Files old enough that their times are believed: what is remembered of them has to be true."""

    @pytest.fixture(autouse=True)
    def old_files(self, monkeypatch: pytest.MonkeyPatch, raw: Path, out: Path, tmp_path: Path) -> None:
        monkeypatch.setattr(sources, "RACY_NS", 0)
        self.raw, self.out, self.afresh = raw, out, tmp_path / "afresh"

    def again(self, pipeline: Pipeline = SMALL) -> Conversion:
        done = convert(self.raw, self.out, pipeline)
        convert(self.raw, self.afresh, pipeline, overwrite=True)
        assert contents(self.out) == contents(self.afresh)
        return done

    def second(self) -> Path:
        put(self.raw, "cover/d0-too.png", photograph(1), [square("hole", 5, 5, 9), square("hole", 50, 5, 9)])
        (self.raw / "cover/d0-too.png").unlink()
        path = self.raw / "cover/d0-too.json"
        path.write_text(path.read_text().replace("d0-too.png", "d0.png"))
        return path

    def test_a_second_annotation_is_not_taken_for_the_first(self) -> None:
        self.second()
        convert(self.raw, self.out, SMALL)
        assert not self.again().changed

    def test_a_second_annotation_takes_over_when_the_first_is_gone(self) -> None:
        self.second()
        convert(self.raw, self.out, SMALL)
        (self.raw / "cover/d0.json").unlink()
        assert self.again().converted > 0
        assert not codes(self.out)[Code.FILE_UNREADABLE]

    def test_an_image_is_healed_when_its_second_annotation_is_gone(self) -> None:
        path = self.second()
        convert(self.raw, self.out, SMALL)
        path.unlink()
        assert self.again().converted > 0
        assert State.POISONED not in {
            row.state for row in read_samples(self.out / "samples.jsonl") if row.source == "cover/d0.png"
        }

    def test_more_types_than_eight_bits_hold_widen_every_type_mask(self) -> None:
        for number in range(50):
            shapes = [square(f"t{number}-{place}", 20 + 30 * place, 30, 9) for place in range(5)]
            put(self.raw, f"many/{number}.png", photograph(number), shapes)
        convert(self.raw, self.out, SMALL)
        put(self.raw, "many/more.png", photograph(99), [square(f"u{place}", 20 + 30 * place, 30, 9) for place in range(6)])
        assert self.again().converted == 51
        depths = {cv2.imread(str(path), cv2.IMREAD_UNCHANGED).dtype for path in (self.out / "types/many").iterdir()}
        assert depths == {np.dtype(np.uint16)}

    def test_an_annotation_that_changed_during_a_run_heals_in_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        find = sources.raw.find

        def finding(*arguments: object) -> object:
            found = find(*arguments)  # type: ignore[arg-type]
            put(self.raw, "cover/d0.png", photograph(100), [square("unheard-of", 10, 20, 12)])
            return found

        with monkeypatch.context() as patch:
            patch.setattr(sources.raw, "find", finding)
            assert convert(self.raw, self.out, SMALL).queued
        self.again()
        assert not codes(self.out)[Code.FILE_UNREADABLE]


def test_a_second_annotation_that_cannot_be_read_poisons_the_image_too(out: Path, tmp_path: Path) -> None:
    raw = tmp_path / "line7"
    put(raw, "images/a.png", photograph(1), [square("dent", 10, 20, 12)])
    text = (raw / "images/a.json").read_text()
    (raw / "images/a.json").unlink()
    for folder, part in (("ann1", text), ("ann2", text[:60])):
        (raw / folder).mkdir()
        (raw / folder / "a.json").write_text(part)
    convert(raw, out, override(SMALL, {"tiling.clean": "test"}))
    assert codes(out)[Code.SECOND_ANNOTATION] == 1
    assert {row.state for row in read_samples(out / "samples.jsonl")} == {State.POISONED}


def test_without_its_memory_a_data_set_is_made_anew_and_nothing_old_stays(raw: Path, out: Path, tmp_path: Path) -> None:
    convert(raw, out, SMALL)
    for path in sorted((out / ".threecad").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (out / ".threecad").rmdir()
    other = override(SMALL, {"split.seed": 9})
    convert(raw, out, other, overwrite=True)
    convert(raw, tmp_path / "afresh", other)
    assert contents(out) == contents(tmp_path / "afresh")


def test_a_stranger_in_a_categorys_folder_is_told(raw: Path, out: Path) -> None:
    convert(raw, out, SMALL)
    (out / "cover/train/good/mine.png").write_bytes(b"x")
    convert(raw, out, override(SMALL, {"split.seed": 9}))
    assert codes(out)[Code.FOREIGN_FILE] == 1


@pytest.mark.parametrize("name", ["finished", "moves.jsonl", "raw", "state.jsonl", "journal.jsonl"])
@pytest.mark.parametrize("text", [b"", b"3", b"{}", b"\xff\xfe", b"[1, [2]]\n"])
def test_a_damaged_memory_is_made_anew(raw: Path, out: Path, tmp_path: Path, name: str, text: bytes) -> None:
    convert(raw, out, SMALL)
    (out / ".threecad" / name).write_bytes(text)
    convert(raw, out, SMALL)
    convert(raw, tmp_path / "afresh", SMALL)
    assert contents(out) == contents(tmp_path / "afresh")


def test_a_dry_run_tells_that_files_would_move(raw: Path, out: Path) -> None:
    convert(raw, out, SMALL)
    assert not convert(raw, out, SMALL, dry_run=True).changed
    planned = convert(raw, out, override(SMALL, {"split.seed": 9}), dry_run=True)
    assert (planned.changed, planned.converted) == (True, 0)


class TestFolders:
    def test_a_folder_of_others_is_not_written_into(self, raw: Path, out: Path) -> None:
        out.mkdir()
        (out / "thesis.doc").write_text("dear")
        with pytest.raises(LayoutError, match="holds files that threecad did not write"):
            convert(raw, out, SMALL)
        assert [path.name for path in out.iterdir()] == ["thesis.doc"]
        convert(raw, out, SMALL, overwrite=True)
        assert (out / "thesis.doc").read_text() == "dear"

    def test_overwrite_deletes_no_picture_that_somebody_elses_checksums_list(self, raw: Path, out: Path) -> None:
        (out / "holiday").mkdir(parents=True)
        (out / "holiday/beach.png").write_bytes(b"sea")
        (out / "SHA256SUMS").write_text(f"{'0' * 64}  holiday/beach.png\n")
        convert(raw, out, SMALL, overwrite=True)
        assert (out / "holiday/beach.png").read_bytes() == b"sea"

    def test_a_data_set_of_another_raw_folder_is_not_replaced(self, raw: Path, out: Path, tmp_path: Path) -> None:
        convert(raw, out, SMALL)
        with pytest.raises(LayoutError, match="was made from 'line7', not 'line8'"):
            convert(factory(tmp_path / "line8", 2), out, SMALL)

    def test_overwrite_starts_afresh_and_leaves_nothing_behind(self, raw: Path, out: Path, tmp_path: Path) -> None:
        convert(raw, out, override(SMALL, {"tiling.slice_size": 64}))
        assert convert(raw, out, SMALL, overwrite=True).converted == 17
        convert(raw, tmp_path / "afresh", SMALL)
        assert contents(out) == contents(tmp_path / "afresh")

    def test_two_runs_exclude_each_other(self, raw: Path, out: Path) -> None:
        with hold(out, raw.name, overwrite=False), pytest.raises(BusyError, match="is being written by another run"):
            convert(raw, out, SMALL)

    def test_output_above_the_raw_folder_is_refused(self, raw: Path) -> None:
        with pytest.raises(ConfigError, match="contains the raw folder"):
            convert(raw, raw.parent, SMALL)

    def test_output_inside_the_raw_folder_is_not_read_as_raw(self, raw: Path) -> None:
        convert(raw, raw / "out", SMALL)
        assert not convert(raw, raw / "out", SMALL).changed

    def test_a_raw_folder_that_is_not_there(self, out: Path, tmp_path: Path) -> None:
        with pytest.raises(LayoutError, match="does not exist; expected a folder"):
            convert(tmp_path / "nowhere", out)


class TestFlaws:
    """Each costs one file and is told; the rest goes on."""

    def test_a_truncated_image(self, raw: Path, out: Path) -> None:
        path = raw / "cover/d0.png"
        path.write_bytes(path.read_bytes()[:500])
        done = convert(raw, out, SMALL)
        assert codes(out)[Code.IMAGE_UNREADABLE] == 1
        assert codes(out)[Code.ORPHAN_SHAPE] == 2
        assert done.manifest is not None
        assert done.manifest.categories["frame"].shapes.queued == 0

    def test_a_broken_annotation_never_makes_its_image_good(self, raw: Path, out: Path) -> None:
        (raw / "cover/good/g0.json").write_text('{"shapes": [')
        convert(raw, out, SMALL)
        assert codes(out)[Code.ANNOTATION_UNREADABLE] == 1
        assert not [row for row in read_samples(out / "samples.jsonl") if row.source == "cover/good/g0.png"]

    @pytest.mark.usefixtures("bound")
    def test_a_file_without_permission_is_tried_again(self, raw: Path, out: Path) -> None:
        (raw / "cover/d0.png").chmod(0)
        convert(raw, out, SMALL)
        assert codes(out)[Code.FILE_UNREADABLE] == 1
        (raw / "cover/d0.png").chmod(0o644)
        assert convert(raw, out, SMALL).converted == 1

    def test_an_image_beyond_the_limit_is_refused_by_name(self, raw: Path, out: Path) -> None:
        put(raw, "cover/good/large.png", photograph(1, 400, 600))
        convert(raw, out, override(SMALL, {"read.max_megapixels": 0.2}))
        refused = [finding for finding in read_findings(out / "findings.jsonl") if finding.code is Code.TOO_LARGE]
        assert [(finding.source, finding.action) for finding in refused] == [("cover/good/large.png", Action.DROPPED)]

    def test_a_second_annotation_of_one_image_queues_its_shapes_and_poisons_the_image(self, raw: Path, out: Path) -> None:
        text = (raw / "cover/d0.json").read_text()
        (raw / "cover/d0-by-bob.json").write_text(text)
        convert(raw, out, SMALL)
        assert codes(out)[Code.SECOND_ANNOTATION] == 1
        assert codes(out)[Code.ORPHAN_SHAPE] == 2
        assert {row.state for row in read_samples(out / "samples.jsonl") if row.source == "cover/d0.png"} == {State.POISONED}

    def test_an_annotation_of_another_size_is_not_trusted(self, raw: Path, out: Path) -> None:
        put(raw, "cover/d0.png", photograph(100), [square("dent", 10, 20, 12)], imageWidth=440, imageHeight=300)
        convert(raw, out, SMALL)
        assert codes(out)[Code.SIZE_MISMATCH] == 1
        assert {row.state for row in read_samples(out / "samples.jsonl") if row.source == "cover/d0.png"} == {State.POISONED}


def test_equal_files_stay_in_one_split(raw: Path, out: Path) -> None:
    for number in range(6):
        (raw / f"cover/good/copy{number}.png").write_bytes((raw / "cover/good/g0.png").read_bytes())
    convert(raw, out, SMALL)
    copies = [row for row in read_samples(out / "samples.jsonl") if row.source.startswith(("cover/good/copy", "cover/good/g0"))]
    assert len({row.split for row in copies}) == 1
    assert codes(out)[Code.EXACT_DUPLICATE] == 6


def test_an_annotation_that_changes_during_the_run_is_taken_up_by_the_next(
    raw: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = sources.raw.find

    def finding(*arguments: object) -> object:
        found = find(*arguments)  # type: ignore[arg-type]
        put(raw, "cover/d0.png", photograph(100), [square("unheard-of", 10, 20, 12)])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(sources.raw, "find", finding)
        convert(raw, out, SMALL)
    assert codes(out)[Code.FILE_UNREADABLE] == 1
    convert(raw, out, SMALL)
    convert(raw, tmp_path / "afresh", SMALL)
    assert contents(out) == contents(tmp_path / "afresh")


def test_an_annotation_torn_when_it_is_found_and_whole_when_it_is_read_is_taken_up_by_the_next(
    raw: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(raw, "cover/mended.png", photograph(101), [square("unheard-of", 10, 20, 12)])
    whole = (raw / "cover/mended.json").read_bytes()
    (raw / "cover/mended.json").write_bytes(whole[:50])
    find = sources.raw.find

    def finding(*arguments: object) -> object:
        found = find(*arguments)  # type: ignore[arg-type]
        (raw / "cover/mended.json").write_bytes(whole)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(sources.raw, "find", finding)
        assert convert(raw, out, SMALL).queued
    told = {finding.code for finding in read_findings(out / "findings.jsonl") if finding.source == "cover/mended.png"}
    assert Code.FILE_UNREADABLE in told
    convert(raw, out, SMALL)
    convert(raw, tmp_path / "afresh", SMALL)
    assert contents(out) == contents(tmp_path / "afresh")


def test_a_copy_of_a_defective_image_is_not_good(raw: Path, out: Path) -> None:
    """Its tiles are kept out of sight, and come to light when the contradiction is gone, without being encoded again."""
    (raw / "cover/good/copy.png").write_bytes((raw / "cover/d0.png").read_bytes())
    convert(raw, out, SMALL)
    assert {row.split for row in read_samples(out / "samples.jsonl") if row.source == "cover/good/copy.png"} == {None}
    assert not list(out.glob("cover/*/good/copy*"))
    for path in raw.glob("cover/d0.*"):
        path.unlink()
    assert convert(raw, out, SMALL).converted == 0
    assert list(out.glob("cover/*/good/copy*"))
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=out, check=True)


def test_an_empty_annotation_of_another_size_makes_nothing_good(raw: Path, out: Path) -> None:
    put(raw, "cover/empty.png", photograph(70), [], imageWidth=999, imageHeight=999)
    convert(raw, out, SMALL)
    assert codes(out)[Code.SIZE_MISMATCH] == 1
    assert {row.state for row in read_samples(out / "samples.jsonl") if row.source == "cover/empty.png"} == {State.POISONED}


def test_a_defect_that_no_tile_shows_is_told(out: Path, tmp_path: Path) -> None:
    put(tmp_path / "part", "a.png", photograph(1, 100, 200), [square("dent", 194, 50, 5)])
    convert(tmp_path / "part", out, override(SMALL, {"tiling.edge": "remainder", "tiling.overlap_ratio": 0.0}))
    told = [finding.detail for finding in read_findings(out / "findings.jsonl") if finding.code is Code.NOT_SHOWN]
    assert told == ["in no tile at all"]


def test_a_clean_tile_of_a_defective_image_is_marked(raw: Path, out: Path) -> None:
    convert(raw, out, override(SMALL, {"tiling.clean": "test"}))
    marked = {(row.split, "good/" in row.source) for row in read_samples(out / "samples.jsonl") if row.clean}
    assert marked == {(Split.TEST, False)}


def test_previews_outline_what_defect_tiles_show(raw: Path, out: Path) -> None:
    convert(raw, out, override(SMALL, {"write.previews": True}))
    rows = [row for row in read_samples(out / "samples.jsonl") if row.state is State.DEFECT]
    assert rows
    for row in rows:
        picture = cv2.imread(str(out / "previews" / row.category / f"{row.id}.png"))
        assert picture.shape == (row.window.size.height, row.window.size.width, 3)
        assert (picture == (255, 0, 255)).all(axis=2).any()
    assert len(list((out / "previews").rglob("*.png"))) == len(rows)
    convert(raw, out, SMALL)
    assert not (out / "previews").exists()


def test_coco_boxes_and_areas_are_those_of_the_masks(raw: Path, out: Path) -> None:
    convert(raw, out, SMALL)
    coco = json.loads((out / "coco/test.json").read_text())
    images = {image["id"]: image for image in coco["images"]}
    assert coco["annotations"]
    for annotation in coco["annotations"]:
        image = images[annotation["image_id"]]
        row = next(row for row in read_samples(out / "samples.jsonl") if row.image == image["file_name"])
        mask = cv2.imread(str(out / str(row.mask)), cv2.IMREAD_UNCHANGED)
        left, top, width, height = annotation["bbox"]
        assert mask[top : top + height, left : left + width].astype(bool).sum() == annotation["area"]
        assert image["source_id"] == row.source


def test_dry_run_writes_nothing_and_counts_what_a_run_would_do(raw: Path, out: Path) -> None:
    planned = convert(raw, out, SMALL, dry_run=True)
    assert not out.exists()
    done = convert(raw, out, SMALL)
    assert planned.converted == done.converted
    assert planned.windows == len(list(read_samples(out / "samples.jsonl")))
    assert not convert(raw, out, SMALL, dry_run=True).changed


def test_importing_threecad_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import threecad, sys; print([name for name in ('torch', 'sahi', 'matplotlib', 'cv2', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
