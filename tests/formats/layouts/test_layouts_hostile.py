"""Data sets made on purpose or by mistake: nothing outside is read, nothing lasts long, nothing ends in a traceback."""

from __future__ import annotations

import json
import os
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from trees import TREES, draw, photo, spot, text

from threecad.domain import Code
from threecad.errors import LayoutError, ReadError, ThreecadError
from threecad.formats.layouts import Listing, Request, read
from threecad.formats.layouts import files as walking

VISA = "object,split,label,image,mask\n"
OUTSIDE = (
    "/etc/passwd",
    "../secret.png",
    "a/../../secret.png",
    "..\\secret.png",
    "C:\\secret.png",
    "file:///etc/passwd",
    "\\\\host\\a",
)


def codes(listing: Listing) -> dict[str, int]:
    found: dict[str, int] = {}
    for finding in listing.findings:
        found[finding.code.name] = found.get(finding.code.name, 0) + 1
    return found


def paths(listing: Listing) -> list[str]:
    return [path for entry in listing.entries for path in (entry.image, *(mask.path for mask in entry.masks)) if path is not None]


# What leads out of the data set


def test_a_list_names_nothing_outside(tmp_path: Path) -> None:
    photo(tmp_path, "secret.png", "data/obj/a.png")
    rows = [f"obj,test,anomaly,{path},obj/a.png\n" for path in OUTSIDE]
    rows.append("obj,test,anomaly,obj/a.png,../secret.png\n")
    text(tmp_path / "data", "split_csv/1cls.csv", VISA + "".join(rows))
    listing = read(tmp_path / "data")
    assert paths(listing) == ["obj/a.png"]
    assert codes(listing) == {"PATH_OUTSIDE": len(OUTSIDE), "MASK_MISSING": 1}


def test_no_table_outside_is_read(tmp_path: Path) -> None:
    TREES["visa"](tmp_path / "data")
    text(tmp_path, "secret.csv", VISA)
    for table in ("../secret.csv", str(tmp_path / "secret.csv")):
        with pytest.raises(LayoutError, match="found no table"):
            read(tmp_path / "data", Request(table=table))


@pytest.mark.parametrize("name", TREES)
def test_links_that_lead_out_are_left_out_of_every_layout(name: str, tmp_path: Path) -> None:
    """A data set whose every file is a link to somewhere else holds nothing."""
    TREES[name](tmp_path / "real")
    fake = tmp_path / "fake"
    fake.mkdir()
    for path in sorted((tmp_path / "real").rglob("*")):
        copy = fake / path.relative_to(tmp_path / "real")
        if path.is_dir() and not path.is_symlink():
            copy.mkdir(parents=True)
        elif not path.is_symlink():
            copy.symlink_to(path)
    with pytest.raises(ThreecadError):
        read(fake)


def test_links_inside_lead_to_files_but_never_in_circles(tmp_path: Path) -> None:
    photo(tmp_path, "train/good/a.png", "elsewhere/b.png")
    (tmp_path / "train/good/b.png").symlink_to("../../elsewhere/b.png")
    (tmp_path / "train/good/again").symlink_to("..")
    (tmp_path / "test").symlink_to(".")
    listing = read(tmp_path, Request(layout="mvtec"))
    assert paths(listing) == ["train/good/a.png", "train/good/b.png"]
    assert codes(listing) == {"UNKNOWN_FOLDER": 2}


def test_a_data_set_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    TREES["btad"](tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    assert read(tmp_path / "link").entries == read(tmp_path / "real").entries


# Names


def test_odd_names_are_read_and_never_break_a_line_of_a_message(tmp_path: Path) -> None:
    names = ("line\nfeed", "emoji 🙂", "quote'\"", "划痕", "a;b", "=1+1", "e\u0301", "\u202eevil")
    photo(tmp_path, *(f"test/sc\nratch/{name}.png" for name in names), "train/good/0.png")
    listing = read(tmp_path)
    assert {Path(entry.id).stem for entry in listing.entries} == {*names, "0"}
    assert codes(listing) == {"MASK_MISSING": len(names)}
    assert not any("\n" in finding.detail for finding in listing.findings)


def test_names_that_are_no_text_are_told_and_left_out(tmp_path: Path) -> None:
    photo(tmp_path, "train/good/a.png")
    try:
        (tmp_path / os.fsdecode(b"train/good/\xff.png")).touch()
        (tmp_path / os.fsdecode(b"train/\xfe")).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    listing = read(tmp_path)
    assert paths(listing) == ["train/good/a.png"]
    assert codes(listing) == {"FILE_UNREADABLE": 2}
    assert json.dumps([finding.source for finding in listing.findings], ensure_ascii=False).encode()


def test_names_in_lists_may_be_no_text(tmp_path: Path) -> None:
    photo(tmp_path, "obj/a.png")
    text(tmp_path, "split_csv/1cls.csv", "")
    row = b"obj,test,normal,obj/\xff\r.png,\nobj,test,normal,obj/a.png,\n"
    (tmp_path / "split_csv/1cls.csv").write_bytes(VISA.encode() + row.replace(b"\r", b""))
    listing = read(tmp_path)
    assert (paths(listing), codes(listing)) == (["obj/a.png"], {"LISTED_MISSING": 1})
    assert listing.findings[0].source.encode() == b"obj/\\udcff.png"


def test_hidden_files_and_folders_do_not_count(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.png", "images/._a.png", ".trash/images/b.png")
    draw(tmp_path, "masks/a.png", spot())
    draw(tmp_path, "masks/._a.png", spot())
    for name in ("images/.DS_Store", "images/Thumbs.db", "masks/desktop.ini"):
        text(tmp_path, name, "")
    listing = read(tmp_path)
    assert (paths(listing), listing.findings) == (["images/a.png", "masks/a.png"], [])


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.png")
    draw(tmp_path, "masks/a.png", spot())
    os.mkfifo(tmp_path / "images/pipe.png")
    (tmp_path / "images/folder.png").mkdir()
    listing = read(tmp_path)
    assert (paths(listing), codes(listing)) == (["images/a.png", "masks/a.png"], {"FILE_UNREADABLE": 1})


# Sizes


def test_deep_trees_come_to_an_end(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(400):  # far below the longest path, above Python's stack if somebody recursed a few calls a level
        path /= "deep"
    path.mkdir(parents=True)
    photo(path, "a.png")
    (entry,) = read(tmp_path).entries
    assert entry.category == "deep"


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TREES["mvtec"](tmp_path)
    monkeypatch.setattr(walking, "_MOST_FILES", 10)
    with pytest.raises(LayoutError, match="more than 10 files"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "path"), [("visa", "split_csv/1cls.csv"), ("manifest", "train_class.manifest")])
def test_a_list_that_is_too_large_is_refused(name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TREES[name](tmp_path)
    monkeypatch.setattr(walking, "_MOST_LIST_BYTES", 100)
    with pytest.raises(ReadError, match=f"{path}: more than"):
        read(tmp_path)


def test_a_list_of_many_rows_takes_little_time_and_memory(tmp_path: Path) -> None:
    """A million rows were measured: 7 to 12 seconds, 455 bytes a row. These are so few that a test may wait for them."""
    count = 10_000
    rows = (f"obj,train,normal,obj/Data/Images/Normal/{number:07}.JPG,\n" for number in range(count))
    text(tmp_path, "split_csv/1cls.csv", VISA + "obj,train,normal,obj/a.png,\n" + "".join(rows))
    photo(tmp_path, "obj/a.png")
    tracemalloc.start()
    start = time.process_time()
    listing = read(tmp_path)
    taken, memory = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes(listing)["LISTED_MISSING"] == count
    assert memory / count < 1000
    assert taken < 5


def test_many_duplicates_cost_no_more_than_others(tmp_path: Path) -> None:
    photo(tmp_path, "obj/a.png")
    text(tmp_path, "split_csv/1cls.csv", VISA + "obj,train,normal,obj/a.png,\nobj,test,normal,obj/a.png,\n" * 10_000)
    listing = read(tmp_path)
    assert [entry.id for entry in listing.entries] == ["obj/a.png (test)", "obj/a.png"]
    assert codes(listing) == {"LEAK": 1, "EXACT_DUPLICATE": 19_998}


# Broken lists


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "1cls.csv: found columns nothing; expected object,split,label,image,mask"),
        ("a,b\n", "1cls.csv: found columns a, b; expected"),
        (VISA + "obj,test\n", "1cls.csv, line 2: found 2 fields; expected 5"),
        (VISA + "\nobj,tset,normal,a.png,\n", "1cls.csv, line 3: found split 'tset'; expected train"),
        (VISA + 'obj,test,normal,"a.png,\n' + "x" * 200_000, "1cls.csv, line 3: field larger"),
    ],
)
def test_a_broken_table_is_an_error_that_names_the_line(rows: str, words: str, tmp_path: Path) -> None:
    text(tmp_path, "split_csv/1cls.csv", rows)
    with pytest.raises(ReadError) as caught:
        read(tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "audiojack.json: Invalid JSON"),
        ("[" * 100_000, "audiojack.json: Invalid JSON"),
        ("[]", "audiojack.json"),
        ('{"meta": {"normal_class": "OK", "prefix": ""}, "train": []}', "test: "),
        ('{"meta": {"normal_class": "OK", "prefix": ""}, "train": [{"category": 3}], "test": []}', "train.0.category: "),
    ],
)
def test_a_broken_json_table_is_an_error_that_names_the_place(content: str, words: str, tmp_path: Path) -> None:
    TREES["realiad"](tmp_path)
    text(tmp_path, "realiad_jsons/audiojack.json", content)
    with pytest.raises(ReadError) as caught:
        read(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("3", "line 2: expected source-ref"),
        ('{"source-ref": 3}', "line 2: expected source-ref"),
        ('{"source-ref": "a.jpg"}', "line 2: expected source-ref"),
        ('{"source-ref": "a.jpg", "x-metadata": 3}', "line 2: expected source-ref"),
    ],
)
def test_a_broken_line_of_a_manifest_is_an_error_that_names_it(row: str, words: str, tmp_path: Path) -> None:
    TREES["manifest"](tmp_path)
    text(tmp_path, "train_class.manifest", f"\n{row}\n")
    with pytest.raises(ReadError) as caught:
        read(tmp_path)
    assert f"train_class.manifest, {words}" in str(caught.value)


def test_a_colour_map_that_makes_no_sense_is_passed_over(tmp_path: Path) -> None:
    TREES["manifest"](tmp_path)
    path = tmp_path / "train_mask.manifest"
    path.write_text(path.read_text(encoding="utf-8").replace("#23A436", "green"), encoding="utf-8")
    listing = read(tmp_path)
    assert {mask.types for entry in listing.entries for mask in entry.masks} == {()}


LISTS = {
    "visa": ("split_csv/1cls.csv", "pcb1/image_anno.csv"),
    "realiad": ("realiad_jsons/audiojack.json",),
    "manifest": ("train_mask.manifest", "train_class.manifest"),
    "index": ("classes.txt",),
    "deeppcb": ("PCBData/trainval.txt",),
    "threecad": ("manifest.json", "samples.jsonl"),
}


@pytest.mark.parametrize("name", LISTS)
def test_no_list_ends_in_a_traceback_or_leads_outside(name: str, tmp_path: Path) -> None:
    """Lists with a few bytes changed, or cut off: each is read, or refused in one sentence."""
    TREES[name](tmp_path)
    chance = random.Random(7)
    refused: list[str] = []
    inside = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    for path in LISTS[name]:
        original = (tmp_path / path).read_bytes()
        for number in range(40):
            data = bytearray(original)
            for _ in range(chance.randint(1, 3)):
                data[chance.randrange(len(data))] = chance.choice(b'/.\\,:"{}[]0\n\xff\0aN')
            (tmp_path / path).write_bytes(data[: chance.randint(0, len(data))] if number % 4 == 0 else data)
            try:
                listing = read(tmp_path)
            except ThreecadError as error:
                refused.append(str(error))
            else:
                assert set(paths(listing)) <= inside
                assert all(isinstance(finding.code, Code) for finding in listing.findings)
        (tmp_path / path).write_bytes(original)
    assert not [message for message in refused if "\n" in message]
