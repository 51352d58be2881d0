"""How a layout is recognised, what is refused, and what a person may say about a data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from trees import TREES, draw, photo, spot, text

from threecad.domain import Action, Code, MaskFile, Split, State
from threecad.errors import LayoutError, ReadError
from threecad.formats.layouts import Listing, Request, read
from threecad.formats.layouts.places import places


def codes(listing: Listing) -> list[tuple[str, str]]:
    return [(finding.code.name, finding.source) for finding in listing.findings]


def refusal(root: Path, request: Request | None = None) -> str:
    with pytest.raises(LayoutError) as caught:
        read(root, request)
    told = str(caught.value)
    assert str(root) in told
    assert "\n" not in told
    return told


# What is no finished data set


def test_a_raw_folder_is_sent_to_be_converted(examples: Path) -> None:
    assert "run threecad convert first" in refusal(examples)


def test_annotations_in_train_and_test_are_sent_to_be_converted_too(tmp_path: Path) -> None:
    photo(tmp_path, "part/train/good/a.png", "part/test/b.png")
    text(tmp_path, "part/test/b.json", "{}")
    assert "part/test/b.json" in refusal(tmp_path)
    draw(tmp_path, "part/ground_truth/dent/b.png", spot())
    photo(tmp_path, "part/test/dent/b.png")
    assert read(tmp_path).layout == "mvtec"


def test_annotations_alone_are_sent_to_be_converted(tmp_path: Path) -> None:
    text(tmp_path, "data/a.json", "{}")
    assert "data/a.json" in refusal(tmp_path)


def test_a_folder_without_images_is_refused_with_what_is_there_and_the_layouts(tmp_path: Path) -> None:
    text(tmp_path, "notes.md", "")
    (tmp_path / "empty\nfolder").mkdir()
    told = refusal(tmp_path)
    assert all(word in told for word in ("empty\\nfolder, notes.md", "threecad, visa, realiad", "folder"))


def test_a_folder_that_is_not_there_or_a_file_is_refused(tmp_path: Path) -> None:
    text(tmp_path, "a.txt", "")
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "a file; expected the folder of a data set" in refusal(tmp_path / "a.txt")


def test_an_unfinished_conversion_is_refused(tmp_path: Path) -> None:
    TREES["mvtec"](tmp_path)
    (tmp_path / ".threecad").mkdir()
    assert "run the same threecad convert again" in refusal(tmp_path)
    with pytest.raises(LayoutError, match="is not finished"):
        read(tmp_path / "bottle")


def test_a_manifest_of_another_program_is_none_of_ours(tmp_path: Path) -> None:
    TREES["btad"](tmp_path)
    text(tmp_path, "manifest.json", "{}")
    assert read(tmp_path).layout == "mvtec"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "layout", "count", "defective"),
    [
        ("cookie", "manifest", 63, 32),
        ("magnetic_tile_dev", "beside", 250, 100),
        ("deeppcb_dev", "deeppcb", 120, 60),
        ("dtd10_dev", "folder", 80, 0),
    ],
)
def test_real_data_sets_are_recognised(shared: Path, name: str, layout: str, count: int, defective: int) -> None:
    listing = read(shared / name)
    assert (listing.layout, len(listing.entries)) == (layout, count)
    assert sum(entry.state is State.DEFECT for entry in listing.entries) == defective
    assert {finding.code for finding in listing.findings} <= {Code.NOT_LISTED}


@pytest.mark.shared
@pytest.mark.parametrize("name", ["aluminium_labelme_v3", "bsdata_dev", "labelme_examples_min", "nuts_labelme"])
def test_real_raw_folders_are_sent_to_be_converted(shared: Path, name: str) -> None:
    assert "run threecad convert first" in refusal(shared / name)


# What a person says


def test_a_layout_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    TREES["mvtec"](tmp_path)
    listing = read(tmp_path, Request(layout="folder"))
    assert listing.layout == "folder"
    assert "bottle/ground_truth/dent/000_mask.png" in [entry.image for entry in listing.entries]


@pytest.mark.parametrize("layout", ["threecad", "mvtec", "visa", "realiad", "manifest", "deeppcb", "index", "pair", "beside"])
def test_a_layout_that_does_not_fit_is_refused(layout: str, tmp_path: Path) -> None:
    photo(tmp_path, "banded/a.jpg")
    told = refusal(tmp_path, Request(layout=layout))
    assert "expected" in told


def test_a_layout_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="found layout 'coco'; expected one of threecad, visa"):
        read(tmp_path, Request(layout="coco"))


def test_folders_that_are_named_make_a_pair(tmp_path: Path) -> None:
    photo(tmp_path, "photographs/1.jpg", "photographs/2.jpg")
    draw(tmp_path, "drawn/1_mask.png", spot())
    (one, two) = read(tmp_path, Request(images="photographs", masks="./drawn/")).entries
    assert (one.masks, two.masks) == ((MaskFile("drawn/1_mask.png"),), ())
    assert one.category == tmp_path.name


def test_numbers_that_are_named_make_an_index_of_a_pair(tmp_path: Path) -> None:
    photo(tmp_path, "images/1.jpg")
    draw(tmp_path, "masks/1.png", spot(3))
    for request in (Request(names={3: "pit", 1: "dent"}), Request(images="images", masks="masks", names={3: "pit", 1: "dent"})):
        listing = read(tmp_path, request)
        assert listing.layout == "index"
        assert listing.entries[0].masks == (MaskFile("masks/1.png", "index", ((1, "dent"), (3, "pit"))),)
    assert read(tmp_path).entries[0].masks == (MaskFile("masks/1.png"),)


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (Request(images="images"), "masks"),
        (Request(images="images", masks="nowhere"), "nowhere"),
        (Request(images="images", masks="../masks"), "../masks"),
        (Request(images="images", masks="images"), "two folders apart"),
        (Request(images="", masks="masks"), "two folders apart"),
        (Request(table="1cls.csv"), "table"),
        (Request(layout="folder", names={1: "dent"}), "names"),
        (Request(layout="index"), "classes.txt"),
    ],
)
def test_what_makes_no_sense_is_refused(request_: Request, word: str, tmp_path: Path) -> None:
    photo(tmp_path, "images/1.jpg")
    draw(tmp_path, "masks/1.png", spot())
    assert word in refusal(tmp_path, request_)


def test_another_table_of_visa_can_be_named(tmp_path: Path) -> None:
    TREES["visa"](tmp_path)
    text(
        tmp_path,
        "split_csv/2cls_fewshot.csv",
        "object,split,label,image,mask\npcb1,train,normal,pcb1/Data/Images/Normal/0001.JPG,\n",
    )
    for table in ("2cls_fewshot.csv", "split_csv/2cls_fewshot.csv"):
        (entry,) = read(tmp_path, Request(table=table)).entries
        assert (entry.image, entry.split) == ("pcb1/Data/Images/Normal/0001.JPG", Split.TRAIN)
    assert "1cls.csv, 2cls_fewshot.csv" in refusal(tmp_path, Request(table="3cls.csv"))
    (tmp_path / "split_csv/1cls.csv").rename(tmp_path / "split_csv/0cls.csv")
    assert "--table" in refusal(tmp_path)


def test_numbers_of_visa_masks_can_be_named(tmp_path: Path) -> None:
    TREES["visa"](tmp_path)
    masks = [entry.masks for entry in read(tmp_path, Request(names={255: "torn"})).entries if entry.category == "screw"]
    assert masks == [(MaskFile("screw/a.png", "index", ((255, "torn"),)),)]


def test_an_object_of_visa_can_be_read_alone(tmp_path: Path) -> None:
    TREES["visa"](tmp_path)
    listing = read(tmp_path / "pcb1")
    assert (listing.layout, {entry.category for entry in listing.entries}) == ("visa", {"pcb1"})
    first = listing.entries[0]
    assert (first.image, first.labels) == ("Data/Images/Anomaly/000.JPG", ("Melt", "Scratch"))


def test_another_table_and_size_of_realiad_can_be_named(tmp_path: Path) -> None:
    TREES["realiad"](tmp_path)
    photo(tmp_path, "realiad_1024/audiojack/OK/S0002/b_C1.jpg")
    assert len(read(tmp_path).entries) == 1
    listing = read(tmp_path, Request(table="realiad_jsons_sv", images="realiad_256"))
    assert {entry.split for entry in listing.entries} == {Split.TEST}
    assert len(listing.entries) == 4
    assert "NOT_LISTED" not in dict(codes(listing))
    assert len(read(tmp_path, Request(table="realiad_jsons_sv/audiojack.json", images="realiad_256")).entries) == 4
    assert "realiad_jsons_x" in refusal(tmp_path, Request(table="realiad_jsons_x"))


def test_a_category_of_realiad_is_known_by_its_folder_and_table(tmp_path: Path) -> None:
    photo(tmp_path, "toy/OK/a.jpg")
    table = {"meta": {"normal_class": "OK", "prefix": "toy/"}, "test": []}
    row = {"category": "toy", "anomaly_class": "OK", "image_path": "OK/a.jpg", "mask_path": None}
    text(tmp_path, "toy.json", json.dumps(table | {"train": [row]}))
    assert [entry.image for entry in read(tmp_path).entries] == ["toy/OK/a.jpg"]


def test_another_manifest_can_be_named(tmp_path: Path) -> None:
    TREES["manifest"](tmp_path)
    listing = read(tmp_path, Request(table="train_class.manifest"))
    assert [(entry.state, entry.masks) for entry in listing.entries] == [
        (State.GOOD, ()),
        (State.DEFECT, ()),
        (State.DEFECT, ()),
    ]
    assert ("MASK_MISSING", "deep/in/b.jpg") in codes(listing)
    assert "other.manifest" in refusal(tmp_path, Request(table="other.manifest"))


# What the folders tell


def test_pairs_of_train_and_test_are_no_types(tmp_path: Path) -> None:
    photo(tmp_path, "train/images/a.png", "test/images/a.png")
    draw(tmp_path, "train/masks/a.png", spot())
    draw(tmp_path, "test/masks/a.png", spot())
    listing = read(tmp_path)
    assert (listing.layout, [entry.split for entry in listing.entries]) == ("pair", [Split.TEST, Split.TRAIN])


def test_masks_may_lie_in_one_folder_where_the_images_names_differ(tmp_path: Path) -> None:
    photo(tmp_path, "images/train/a.png", "images/test/b.png")
    draw(tmp_path, "masks/a.png", spot())
    draw(tmp_path, "masks/b.png", spot())
    listing = read(tmp_path)
    assert [entry.masks[0].path for entry in listing.entries] == ["masks/b.png", "masks/a.png"]
    assert listing.findings == []
    photo(tmp_path, "images/test/a.png")
    assert [entry.masks for entry in read(tmp_path).entries] == [(), (), ()]


def test_a_type_folder_called_like_a_pairs_is_a_type(tmp_path: Path) -> None:
    photo(tmp_path, "train/good/a.png", "test/mask/a.png")
    draw(tmp_path, "ground_truth/mask/a.png", spot())
    listing = read(tmp_path)
    assert (listing.layout, [entry.labels for entry in listing.entries]) == ("mvtec", [("mask",), ()])


def test_good_folders_beside_others_make_these_types() -> None:
    told = places(["bolt/good", "bolt/test/dent", "nut", "nut/deep/er"], "all")
    assert [(place.category, place.split, place.state, place.labels) for place in told.values()] == [
        ("bolt", None, State.GOOD, ()),
        ("bolt", Split.TEST, State.DEFECT, ("dent",)),
        ("nut", None, None, ()),
        ("nut", None, None, ()),
    ]


def test_a_prefix_is_cut_off_where_all_types_have_it() -> None:
    told = places(["MT_Free", "MT_Blow_hole", "MT_Break"], "tiles")
    assert [place.labels for place in told.values()] == [(), ("Blow_hole",), ("Break",)]
    told = places(["defect-free", "defect-dent", "scratch"], "tiles")
    assert [place.labels for place in told.values()] == [(), ("defect-dent",), ("scratch",)]


@pytest.mark.parametrize(
    ("name", "content", "types"),
    [
        ("classes.txt", "background\ndent\npit\n", ((1, "dent"), (2, "pit"))),
        ("classes.txt", "\ufeffdent\r\npit\r\n\r\n", ((1, "dent"), (2, "pit"))),
        ("labels.txt", "__ignore__\n_background_\ndent\n", ((1, "dent"),)),
        ("names.txt", "0: background\n2: dent\n7 deep pit\n", ((2, "dent"), (7, "deep pit"))),
        ("classes.json", '{"0": "background", "3": "dent"}', ((3, "dent"),)),
        ("labels.json", '{"dent": 3, "background": 4}', ((3, "dent"), (4, ""))),
        ("names.json", '["background", "dent"]', ((1, "dent"),)),
    ],
)
def test_names_are_read_as_people_write_them(name: str, content: str, types: tuple[object, ...], tmp_path: Path) -> None:
    photo(tmp_path, "part/images/a.png")
    draw(tmp_path, "part/masks/a.png", spot(1))
    text(tmp_path, f"part/{name}", content)
    listing = read(tmp_path)
    assert listing.layout == "index"
    assert listing.entries[0].masks[0].types == types


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("classes.txt", "dent\n\npit\n", "line 2: found no name"),
        ("classes.txt", "1 dent\n70000 pit\n", "found the number 70000 for 'pit'"),
        ("classes.json", "{", "not JSON"),
        ("classes.json", "[" * 100_000, "not JSON"),
        ("classes.json", "[1]", "expected"),
        ("classes.json", '{"dent": true}', "expected"),
        ("classes.json", '{"dent": -1}', "found the number -1"),
    ],
)
def test_names_that_cannot_be_read_are_an_error_that_names_the_file(name: str, content: str, words: str, tmp_path: Path) -> None:
    photo(tmp_path, "images/a.png")
    draw(tmp_path, "masks/a.png", spot(1))
    text(tmp_path, name, content)
    with pytest.raises(ReadError, match=words) as caught:
        read(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_a_list_of_names_in_another_encoding_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    photo(tmp_path, "images/a.png")
    draw(tmp_path, "masks/a.png", spot(1))
    (tmp_path / "classes.txt").write_bytes("dent\nKratzer\nGrübchen\n".encode("latin-1"))
    with pytest.raises(ReadError, match=r"classes\.txt, line 3: not UTF-8"):
        read(tmp_path)


def test_what_stands_in_no_list_of_deeppcb_has_no_split(tmp_path: Path) -> None:
    TREES["deeppcb"](tmp_path)
    splits = {Path(entry.id).stem: entry.split for entry in read(tmp_path / "PCBData").entries}
    assert (splits["20085000_test"], splits["20085001_temp"], splits["20085002_test"]) == (Split.TRAIN, Split.TEST, None)


def test_findings_about_files_are_those_of_the_walk_and_of_the_layout(tmp_path: Path) -> None:
    photo(tmp_path, "train/good/a.png", "train/good/A.png", "train/good/b.png")
    (tmp_path / "train/good/c.png").symlink_to("nowhere.png")
    listing = read(tmp_path)
    assert [(finding.code, finding.action, finding.source) for finding in listing.findings] == [
        (Code.CASE_CLASH, Action.KEPT, "train/good/A.png"),
        (Code.CASE_CLASH, Action.KEPT, "train/good/a.png"),
        (Code.FILE_UNREADABLE, Action.DROPPED, "train/good/c.png"),
    ]


def test_listing_names_costs_no_numpy() -> None:
    code = "import sys; from threecad.formats.layouts import Request; print(*{'numpy', 'cv2', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
