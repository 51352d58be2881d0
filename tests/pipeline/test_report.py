"""The report as a file: what is in it, where it goes, and what it never does. How it behaves is tested in a browser."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from photographs import BOW_TIE, SMALL, factory, photograph, polygon, put, square
from PIL import Image

from threecad.domain import MEANING, Action, Case, Code, Decision, Finding
from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.formats.dataset import read_findings, read_samples
from threecad.pipeline import report as reporting
from threecad.pipeline.config import override
from threecad.pipeline.convert import Progress, convert
from threecad.pipeline.report import findings as told
from threecad.pipeline.report import is_report, made_for, queue, report
from threecad.pipeline.report.beside import MARK, Beside
from threecad.pipeline.report.outlines import MOST_POINTS, outline

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><img src=x onerror=alert(1)>&\u2028<b>"


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here."""
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = factory(tmp_path_factory.mktemp("raw") / "line7", count=4)
    put(folder, "cover/named.png", photograph(300), [square(HOSTILE, 30, 30, 20), polygon("dent", (1, 1), (5, 5))])
    return folder


@pytest.fixture(scope="module")
def converted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, without a report, that nobody writes into."""
    out = tmp_path_factory.mktemp("out") / "data"
    convert(raw, out, SMALL)
    return out


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page" / "report.html"


class _Reader(HTMLParser):
    """Text by tag, attributes that would load something, and what the page's data is."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.loads: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[str] = []
        self.data: Any = None
        self._inside: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [name for name, _ in attrs]
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        self._inside.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, attrs = self._inside[-1] if self._inside else ("", {})
        if tag == "script" and attrs.get("type") == "application/json":
            self.data = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def tile(folder: Path, path: str, seed: int, *, height: int = 40, width: int = 60) -> Path:
    """An image of a data set in MVTec's layout."""
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(seed, height, width)).save(place)
    return place


def mask(folder: Path, path: str, *spots: tuple[int, int, int, int], height: int = 40, width: int = 60) -> None:
    marked = np.zeros((height, width), np.uint8)
    for left, top, right, bottom in spots:
        marked[top:bottom, left:right] = 255
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(marked).save(place)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Somebody else's data set: one image trains and tests."""
    folder = tmp_path / "their set"
    tile(folder, "part/train/good/a.png", 1)
    tile(folder, "part/test/good/b.png", 1)
    tile(folder, "part/test/dent/c.png", 2)
    mask(folder, "part/ground_truth/dent/c_mask.png", (3, 4, 13, 9), (30, 30, 34, 34))
    tile(folder, "part/test/dent/d.png", 3)
    return folder


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def case(**changes: Any) -> Case:
    plain = Case(
        source="cover/a.png",
        shape=0,
        category="cover",
        annotation="cover/a.json",
        label="dent",
        kind="polygon",
        points=((1.0, 1.0), (9.0, 9.0), (9.0, 1.0)),
        action=Action.QUEUED,
        codes=(Code.READINGS_DISAGREE,),
        details=("0.5",),
        place=(5.0, 5.0),
        outline='{"coordinates":[[[0,0],[4,0],[4,2.5],[0,0]]],"type":"Polygon"}',
        digest="ff72a2ebf88696b0",
    )
    return replace(plain, **changes)


class TestThePage:
    def test_it_stands_in_the_data_set_and_needs_nothing_else_where_there_are_few_images(self, raw: Path, tmp_path: Path) -> None:
        convert(raw, tmp_path / "data", SMALL)
        before = listing(tmp_path / "data")
        done = report(tmp_path / "data", cache=None)
        assert done.out == tmp_path / "data/report.html"
        assert done.beside is None
        assert listing(tmp_path / "data") - before == {"report.html"}

    def test_it_loads_nothing_and_runs_nothing_but_its_own_script(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        reader, text = read(page), page.read_text()
        assert not [each for each in reader.loads if not each.startswith(("#", "data:"))]
        assert not [name for name in reader.attributes if name.startswith("on") or name == "style"]
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy
        assert "default-src &#39;none&#39;" in policy[1]
        assert "unsafe" not in policy[1]

    def test_a_label_stays_a_text_wherever_it_stands(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        reader, text = read(page), page.read_text()
        assert (reader.tags["script"], reader.tags["img"]) == (2, 4)  # the figures, and none that a label made
        assert "<img src=x" not in text
        assert "\u2028" not in text
        assert HOSTILE in reader.data["tiles"]["names"]["type"]
        assert "</script><img src=x onerror=alert(1)>" in reader.text

    def test_its_bytes_depend_on_the_data_set_alone(self, converted: Path, tmp_path: Path) -> None:
        first, second = tmp_path / "a/report.html", tmp_path / "b/report.html"
        report(converted, first, workers=1, cache=None)
        report(converted, second, workers=4, cache=tmp_path / "cache")
        assert first.read_bytes() == second.read_bytes()
        report(converted, second, workers=4, cache=tmp_path / "cache")
        assert first.read_bytes() == second.read_bytes()
        assert str(tmp_path).encode() not in first.read_bytes()

    def test_it_tells_who_has_to_look(self, converted: Path, page: Path) -> None:
        done = report(converted, page, cache=None)
        waiting = {(each.source, each.shape) for each in read_findings(converted / "findings.jsonl") if each.action == "queued"}
        assert done.waiting == len(waiting)
        assert f"{len(waiting)} shapes wait for a person" in read(page).text

    def test_it_holds_every_finding_with_what_to_do(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        text = read(page).text
        for finding in read_findings(converted / "findings.jsonl"):
            assert finding.code.value in text
            assert MEANING[finding.code] in text
            assert told.ADVICE[finding.code].split("`")[0].strip() in text

    def test_it_holds_the_settings_and_the_digests(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        text = read(page).text
        assert "slice_size = 96" in text
        manifest = json.loads((converted / "manifest.json").read_text())
        assert all(digest in text for digest in manifest["digests"].values())

    def test_it_finds_the_images_from_wherever_it_lies(self, converted: Path, tmp_path: Path) -> None:
        report(converted, tmp_path / "100% & #1/report.html", cache=None)
        beginning = read(tmp_path / "100% & #1/report.html").data["images"]
        assert not beginning.startswith(("/", "file:"))
        assert Path(os.path.normpath(tmp_path / "100% & #1" / beginning)) == converted

    def test_it_says_what_it_was_made_for(self, converted: Path, foreign: Path, page: Path, tmp_path: Path) -> None:
        report(converted, page, cache=None)
        assert made_for(page) == hashlib.sha256((converted / "manifest.json").read_bytes()).hexdigest()
        assert (is_report(page), page.read_bytes().index(made_for(page).encode()) < 8192) == (True, True)
        report(foreign, tmp_path / "theirs.html", cache=None)
        assert (is_report(tmp_path / "theirs.html"), made_for(tmp_path / "theirs.html")) == (True, None)

    def test_a_manifest_that_changes_meanwhile_makes_it_stale(
        self, raw: Path, tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        convert(raw, tmp_path / "data", SMALL)
        manifest = tmp_path / "data/manifest.json"
        before = hashlib.sha256(manifest.read_bytes()).hexdigest()
        done: list[Progress] = []

        def convert_again(progress: Progress) -> None:
            if not done:
                manifest.write_bytes(manifest.read_bytes() + b"\n")
            done.append(progress)

        report(tmp_path / "data", page, cache=None, progress=convert_again)
        assert done
        assert made_for(page) == before

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "<html>mine</html>",
            f'<meta name="threecad-manifest" content="{"0" * 64}">',
            '<meta name="generator" content="threecad report"><meta name="threecad-manifest" content="">',
            '<meta name="generator" content="threecad report"><meta name="threecad-manifest" content="../x">',
            f'<meta name="generator" content="threecad report">{" " * 8192}<meta name="threecad-manifest" content="{"0" * 64}">',
        ],
    )
    def test_no_other_page_does(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "page.html").write_text(text)
        assert made_for(tmp_path / "page.html") is None
        assert made_for(tmp_path) is None
        assert made_for(tmp_path / "nowhere.html") is None

    def test_nobody_waits_for_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "page.html")
        assert made_for(tmp_path / "page.html") is None

    def test_its_progress_is_one_journey_through_the_images(self, converted: Path, page: Path) -> None:
        steps: list[Progress] = []
        report(converted, page, cache=None, progress=steps.append)
        total = len(list(read_samples(converted / "samples.jsonl")))
        assert {step.total for step in steps} == {total}
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert 1 <= steps[0].done <= steps[-1].done == total

    def test_nothing_heavy_is_loaded_by_its_import(self) -> None:
        heavy = "{'numpy', 'cv2', 'jinja2', 'matplotlib', 'pydantic', 'shapely'}"
        code = f"import sys, threecad.pipeline.report; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestTheGallery:
    def test_its_columns_tell_every_tile_as_the_data_set_does(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        tiles = read(page).data["tiles"]
        names = tiles["names"]
        samples = {sample.id: sample for sample in read_samples(converted / "samples.jsonl")}
        assert sorted(tiles["id"]) == sorted(samples)
        for row, id_ in enumerate(tiles["id"]):
            sample = samples[id_]
            assert names["category"][tiles["category"][row]] == sample.category
            assert names["split"][tiles["split"][row]] == (sample.split or "unused")
            assert names["state"][tiles["state"][row]] == sample.state
            assert [names["type"][kind] for kind in tiles["types"][row]] == sorted(sample.labels)

    def test_sizes_are_those_of_its_defects(self, foreign: Path, page: Path) -> None:
        report(foreign, page, cache=None)
        tiles = read(page).data["tiles"]
        row = tiles["id"].index("part/test/dent/c.png")
        assert [tiles["names"]["size"][size] for size in tiles["sizes"][row]] == ["tiny"]
        assert tiles["largest"][row] == 50
        detail = tiles["details"]["rows"][row]
        assert [spot[1] for spot in detail["spots"]] == [50, 16]
        ((type_, path),) = detail["outlines"]
        assert (type_, sorted(path.split("z"))) == (0, ["", "M3 4v5h10v-5", "M30 30v4h4v-4"])

    def test_a_tile_without_image_shows_where_its_defect_lies(self, tmp_path: Path, page: Path) -> None:
        put(tmp_path / "raw", "part/a.png", photograph(1), [square("dent", 40, 20, 70)])
        convert(tmp_path / "raw", tmp_path / "data", override(SMALL, {"tiling.min_area_ratio": 0.6, "tiling.min_px": 9000}))
        report(tmp_path / "data", page, cache=None)
        tiles = read(page).data["tiles"]
        ambiguous = [row for row, state in enumerate(tiles["state"]) if tiles["names"]["state"][state] == "ambiguous"]
        assert ambiguous
        for row in ambiguous:
            detail = tiles["details"]["rows"][row]
            assert "thumb" not in detail
            assert "no split uses" in detail["why"]
            assert detail["outlines"]

    def test_a_file_that_browsers_do_not_show_is_marked(self, foreign: Path, page: Path) -> None:
        Image.fromarray(photograph(9, 40, 60)).save(foreign / "part/test/good/e.tiff")
        report(foreign, page, cache=None)
        tiles = read(page).data["tiles"]
        kinds = {id_: detail.get("kind") for id_, detail in zip(tiles["id"], tiles["details"]["rows"], strict=True)}
        assert kinds["part/test/good/e.tiff"] == "TIFF"
        assert kinds["part/test/good/b.png"] is None

    def test_an_image_that_cannot_be_read_is_there_without_a_picture(self, foreign: Path, page: Path) -> None:
        whole = (foreign / "part/test/dent/d.png").read_bytes()
        (foreign / "part/test/dent/d.png").write_bytes(whole[: len(whole) // 2])
        report(foreign, page, cache=None)
        tiles = read(page).data["tiles"]
        detail = tiles["details"]["rows"][tiles["id"].index("part/test/dent/d.png")]
        assert detail["why"] == "This image cannot be used"
        assert any(flaw.startswith("TC203") for flaw in detail["flaws"])


class TestOtherPeoplesDataSets:
    def test_nothing_is_written_into_them_unasked(self, foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = listing(foreign)
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        done = report(foreign, cache=None)
        assert done.out == Path("their set-report.html")
        assert listing(tmp_path / "here") == {"their set-report.html"}
        assert listing(foreign) == before
        assert read(done.out).data["images"] == "../their%20set/"

    def test_a_split_that_is_not_clean_is_the_first_thing_told(self, foreign: Path, page: Path) -> None:
        done = report(foreign, page, cache=None)
        reader = read(page)
        assert not done.clean
        assert "✗ The split is not clean 1 image stands in two splits, byte for byte the same" in reader.text
        assert reader.data["queue"] is None
        assert reader.text.index("The split is not clean") < reader.text.index("Table 1")

    def test_copies_stand_side_by_side(self, foreign: Path, page: Path) -> None:
        report(foreign, page, cache=None)
        reader, text = read(page), page.read_text()
        numbers = [int(number) for number in re.findall(r'data-tile="(\d+)"', text)]
        assert {reader.data["tiles"]["id"][number] for number in numbers} == {"part/train/good/a.png", "part/test/good/b.png"}

    @pytest.mark.shared
    def test_the_magnetic_tiles_are_told(self, shared: Path, page: Path) -> None:
        done = report(shared / "magnetic_tile_dev", page, cache=None)
        assert (done.images, done.cases) == (250, 0)


class TestWhereItGoes:
    def test_somebody_elses_page_is_never_written_over(self, converted: Path, page: Path) -> None:
        page.parent.mkdir()
        page.write_text("<html>mine</html>")
        with pytest.raises(ConfigError, match=r"exists and is not a report"):
            report(converted, page, cache=None)
        assert page.read_text() == "<html>mine</html>"

    def test_an_earlier_report_is(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        first = page.read_bytes()
        report(converted, page, cache=None)
        assert page.read_bytes() == first

    def test_a_folder_or_another_suffix_is_refused(self, converted: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is a folder"):
            report(converted, tmp_path, cache=None)
        with pytest.raises(ConfigError, match=r"ends in \.html"):
            report(converted, tmp_path / "photo.jpg", cache=None)

    def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(self, converted: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ThreecadError, match="file"):
            report(converted, tmp_path / "file" / "report.html", cache=None)

    def test_a_folder_that_is_no_data_set_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "nothing").mkdir()
        with pytest.raises(LayoutError):
            report(tmp_path / "nothing", tmp_path / "r.html", cache=None)


class TestBesideThePage:
    @pytest.fixture(autouse=True)
    def _many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Three images are already many."""
        monkeypatch.setattr(reporting, "EMBED_IMAGES", 2)

    def test_thumbnails_and_details_stand_there(self, foreign: Path, page: Path) -> None:
        done = report(foreign, page, cache=None)
        assert done.beside == page.with_name("report-files")
        told = read(page).data
        assert told["beside"] == "report-files/"
        assert "rows" not in told["tiles"]["details"]
        for script in told["tiles"]["details"]["files"]:
            text = (done.beside / script).read_text()
            assert text.startswith('threecadRows("tiles",0,[')
            for detail in json.loads(text.removeprefix('threecadRows("tiles",0,').removesuffix(");\n")):
                assert (done.beside / detail["thumb"]).read_bytes()[:3] == b"\xff\xd8\xff"

    def test_a_second_run_decodes_no_picture_again(self, foreign: Path, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        report(foreign, page, cache=None)
        first = page.read_bytes()
        from threecad.pipeline.report import cards

        monkeypatch.setattr(cards, "decode_file", None)
        report(foreign, page, cache=None)
        assert page.read_bytes() == first

    def test_what_no_page_needs_any_more_goes_and_nothing_else(self, foreign: Path, page: Path) -> None:
        report(foreign, page, cache=None)
        beside = page.with_name("report-files")
        before = listing(beside)
        (beside / "notes.txt").write_text("mine")
        shelf = next(path for path in beside.iterdir() if path.is_dir())
        (shelf / "mine.jpg").write_text("mine")
        (foreign / "part/test/dent/c.png").unlink()
        tile(foreign, "part/test/dent/c.png", 77)
        report(foreign, page, cache=None)
        after = listing(beside)
        assert {"notes.txt", f"{shelf.name}/mine.jpg", MARK} <= after
        assert len(before - after) == len(after - before) - 2 == 2  # a thumbnail and the script that names it

    def test_it_goes_altogether_when_the_page_needs_it_no_more(
        self, foreign: Path, page: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report(foreign, page, cache=None)
        monkeypatch.setattr(reporting, "EMBED_IMAGES", 300)
        done = report(foreign, page, cache=None)
        assert done.beside is None
        assert not page.with_name("report-files").exists()

    def test_somebody_elses_folder_of_that_name_is_left_alone(self, foreign: Path, page: Path) -> None:
        folder = page.with_name("report-files")
        folder.mkdir(parents=True)
        (folder / "0123456789abcdef0123456789abcdef.jpg").write_text("mine")
        with pytest.raises(LayoutError, match="not the folder of an earlier report"):
            report(foreign, page, cache=None)
        assert listing(folder) == {"0123456789abcdef0123456789abcdef.jpg"}

    def test_a_link_in_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "f").mkdir()
        (tmp_path / "f" / MARK).touch()
        (tmp_path / "f" / "ab").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(LayoutError, match="a link"):
            Beside(tmp_path / "f").picture("ab" * 16, b"x")
        (tmp_path / "elsewhere" / f"{'ab' * 16}.jpg").touch()
        Beside(tmp_path / "f").sweep()
        assert listing(tmp_path / "elsewhere") == {f"{'ab' * 16}.jpg"}


class TestTheQueue:
    def test_each_case_is_told_with_its_photograph_and_what_could_be_made_of_it(self, converted: Path, page: Path) -> None:
        report(converted, page, cache=None)
        told = read(page).data["queue"]
        (row,) = [row for row in told["cases"] if row["source"] == "cover/doubtful.png"]
        detail = told["details"]["rows"][told["cases"].index(row)]
        assert (row["shape"], row["decision"], row["can"]) == (0, None, True)
        assert [told["names"]["code"][code] for code in row["codes"]] == ["TC105"]
        assert detail["points"] == BOW_TIE["points"]
        assert detail["outline"].startswith("M")
        assert detail["picture"].startswith("data:image/jpeg;base64,/9j/")

    def test_they_come_by_source_and_shape(self, tmp_path: Path) -> None:
        cases = [case(source="b.png"), case(shape=10, digest="1" * 16), case(shape=2, digest="2" * 16)]
        told = queue.told(str(tmp_path), cases, Beside(tmp_path / "files"))
        assert [(row["source"], row["shape"]) for row in told["cases"]] == [
            ("b.png", 0),
            ("cover/a.png", 2),
            ("cover/a.png", 10),
        ]

    def test_a_decision_that_stands_is_told(self, tmp_path: Path) -> None:
        told = queue.told(str(tmp_path), [case(decision=Decision.DROP)], Beside(tmp_path / "files"))
        assert told["cases"][0]["decision"] == "drop"

    @pytest.mark.parametrize("picture", ["../secret.jpg", "/etc/passwd", "link.jpg", "a.txt", "nowhere.jpg", "a\0b"])
    def test_a_picture_outside_the_data_set_or_that_is_none_is_not_shown(self, tmp_path: Path, picture: str) -> None:
        data = tmp_path / "data"
        data.mkdir()
        (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff secret")
        (data / "link.jpg").symlink_to(tmp_path / "secret.jpg")
        (data / "a.txt").write_text("no picture")
        told = queue.told(str(data), [case(picture=picture, view=(0, 0, 10, 10))], Beside(tmp_path / "files"))
        assert told["details"]["rows"][0]["picture"] == ""

    def test_many_pictures_are_shown_from_the_data_set(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
        monkeypatch.setattr(queue, "EMBED_PICTURES", 10)
        told = queue.told(str(tmp_path), [case(picture="a.jpg", view=(0, 0, 10, 10))], Beside(tmp_path / "files"))
        assert told["details"]["rows"][0]["picture"] == "a.jpg"

    @pytest.mark.parametrize(
        ("step", "vertices", "told_step", "told_vertices"),
        [(1, 0, None, None), (1, 3, None, None), (3, 7, 3, 7), (3, 0, 3, 3), (0, 0, None, None), (-5, 9, None, None)],
    )
    def test_an_outline_that_is_thinned_says_so(
        self, tmp_path: Path, step: int, vertices: int, told_step: int | None, told_vertices: int | None
    ) -> None:
        told = queue.told(str(tmp_path), [case(step=step, vertices=vertices)], Beside(tmp_path / "files"))
        detail = told["details"]["rows"][0]
        assert (detail.get("step"), detail.get("vertices")) == (told_step, told_vertices)

    def test_a_queue_of_nothing_is_none(self, tmp_path: Path, page: Path) -> None:
        put(tmp_path / "raw", "part/a.png", photograph(1), [square("dent", 40, 20, 70)])
        convert(tmp_path / "raw", tmp_path / "data", SMALL)
        assert (tmp_path / "data/cases.jsonl").read_text() == ""
        report(tmp_path / "data", page, cache=None)
        assert read(page).data["queue"] is None

    def test_long_outlines_stand_beside_the_page(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queue, "EMBED_DETAILS", 10)
        told = queue.told(str(tmp_path), [case()], Beside(tmp_path / "files"))
        assert (tmp_path / "files" / told["details"]["files"][0]).is_file()

    @pytest.mark.parametrize(
        "outline",
        [
            *(None, "", "{", "[]", '{"type":"Point","coordinates":[1,2]}', '{"type":"Polygon","coordinates":5}'),
            '{"type":"Polygon","coordinates":[[["a",1],[2,3]]]}',
            '{"type":"Polygon","coordinates":[[[NaN,1],[2,3],[0,0]]]}',
        ],
    )
    def test_an_outline_that_is_none_cannot_be_accepted(self, tmp_path: Path, outline: str | None) -> None:
        told = queue.told(str(tmp_path), [case(outline=outline)], Beside(tmp_path / "files"))
        assert told["cases"][0]["can"] is False

    def test_a_coordinate_that_is_no_number_stays_none(self, tmp_path: Path) -> None:
        told = queue.told(str(tmp_path), [case(points=((None, 3.0), (1.0, 2.0)))], Beside(tmp_path / "files"))
        detail = told["details"]["rows"][0]
        assert detail["points"] == [[None, 3.0], [1.0, 2.0]]
        assert len(detail["view"]) == 4


class TestFindings:
    def test_the_advice_is_that_of_the_document(self) -> None:
        rows = re.findall(r"^\| (TC\d+) \|.*\| ([^|]+) \|$", (ROOT / "docs/findings.md").read_text(encoding="utf-8"), re.M)
        assert {Code(code): advice for code, advice in rows} == told.ADVICE

    def test_what_waits_comes_first(self) -> None:
        findings = [
            Finding(Code.THIN, Action.KEPT, "a", 0, ""),
            Finding(Code.TIDIED, Action.REPAIRED, "a", 1, ""),
            Finding(Code.UNANNOTATED, Action.DROPPED, "b", None, ""),
            Finding(Code.OUTSIDE, Action.REPAIRED, "a", 2, ""),
            Finding(Code.OUTSIDE, Action.QUEUED, "c", 0, ""),
        ]
        groups = told.by_code(findings * 2)
        assert [group.code.value for group in groups] == ["TC110", "TC201", "TC106", "TC113"]
        assert groups[0].outcomes == (("queued", 1), ("repaired", 1))

    def test_only_the_first_of_many_are_listed(self) -> None:
        many = [Finding(Code.THIN, Action.KEPT, f"{number:04}", 0, "") for number in range(told.MOST_LISTED + 7)]
        (group,) = told.by_code(many)
        assert (group.count, len(group.listed), group.more) == (told.MOST_LISTED + 7, told.MOST_LISTED, 7)


MASKS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1))


def filled(path: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels whose centres an even-odd fill of the path covers; written for paths along pixels' edges."""
    marked = np.zeros(shape, np.uint8)
    for ring in path.split("z")[:-1]:
        x = y = 0
        corners = []
        for kind, first, second in re.findall(r"([Mlhv])(-?\d+) ?(-?\d+)?", ring):
            if kind == "M":
                x, y = int(first), int(second)
            else:
                x, y = (
                    x + (int(first) if kind in "lh" else 0),
                    y + (int(second or 0) if kind == "l" else int(first) * (kind == "v")),
                )
            corners.append((x, y))
        for (x, y), (_, other) in zip(corners, [*corners[1:], corners[0]], strict=True):
            marked[min(y, other) : max(y, other), x:] ^= 1
    return marked


class TestOutlines:
    @given(MASKS)
    def test_they_follow_the_pixels_edges_exactly(self, marked: NDArray[np.uint8]) -> None:
        path = outline(marked, most=10_000)
        assert "l" not in path
        assert (filled(path, marked.shape) == marked).all()

    def test_noise_does_not_make_them_long(self) -> None:
        noise = np.random.default_rng(1).integers(0, 2, (300, 300), dtype=np.uint8)
        path = outline(noise)
        assert 0 < len(re.findall("[Mlhv]", path)) <= MOST_POINTS

    def test_a_round_defect_stays_round_within_a_few_pixels(self) -> None:
        marked = cv2.circle(np.zeros((3000, 3000), np.uint8), (1500, 1500), 1400, 1, -1)
        path = outline(marked)
        assert 20 < len(re.findall("[Mlhv]", path)) <= MOST_POINTS

    def test_nothing_marked_is_nothing_drawn(self) -> None:
        assert outline(np.zeros((4, 4), np.uint8)) == ""
