"""A data set is gone through in its own order, on any number of threads, with the cache or without, to the same end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import SMALL, factory

from threecad.curation.statistics import Statistics
from threecad.domain import Action, Code, Entry, Finding, MaskFile, Measure, Size, Split, Spot, State
from threecad.errors import LayoutError, ReadError
from threecad.formats import images
from threecad.formats.layouts import Listing
from threecad.formats.png import encode_mask, encode_png
from threecad.pipeline import measures, profile
from threecad.pipeline.convert import Progress, convert
from threecad.pipeline.profile import Profile, statistics

TREE = 60  # images of `tree`


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.kron(np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8), np.uint8), np.ones((8, 8), np.uint8))


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def spot(top: int, height: int = 48, width: int = 64) -> bytes:
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + 5, 10:30] = 255
    return encode_mask(mask)


def good(name: str) -> Entry:
    return Entry(name, "part", Split.TRAIN, State.GOOD, (), name, (), name)


def bad(name: str, *masks: str) -> Entry:
    return Entry(name, "part", Split.TEST, State.DEFECT, ("dent",), name, tuple(map(MaskFile, masks)), name)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's ctime cannot be set, so that all of them are young here."""
    monkeypatch.setattr(measures, "RACY_NS", 0)


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Listing]:
    """Sixty images, every third defective."""
    root = tmp_path / "set"
    entries = []
    for number in range(TREE):
        name = f"part/{number:03}.png"
        put(root / name, encode_png(noise(number)))
        if number % 3:
            entries.append(good(name))
        else:
            put(root / f"masks/{number:03}.png", spot(number % 40))
            entries.append(bad(name, f"masks/{number:03}.png"))
    return root, Listing("test", entries, [])


def gone_through(root: Path, listing: Listing, **options: object) -> list[tuple[Entry, Measure | None, list[Finding]]]:
    return list(Profile(root, listing, **({"cache": None} | options)))  # type: ignore[arg-type]


def findings(root: Path, *entries: Entry, **options: object) -> list[tuple[str, str]]:
    found = gone_through(root, Listing("test", list(entries), []), **options)
    return [(finding.code.name, finding.source) for _, _, own in found for finding in own]


# Order, threads, memory


def test_images_come_in_the_listings_order_whatever_the_number_of_workers(tree: tuple[Path, Listing]) -> None:
    root, listing = tree
    one = gone_through(root, listing, workers=1)
    assert [entry for entry, _, _ in one] == listing.entries
    assert gone_through(root, listing, workers=5) == one
    assert all(measure is not None and not own for _, measure, own in one)


def test_a_measure_tells_the_image_and_its_masks(tree: tuple[Path, Listing]) -> None:
    root, listing = tree
    (entry, measure, _), *_ = gone_through(root, listing)
    assert measure is not None
    assert measure.digest == hashlib.sha256((root / (entry.image or "")).read_bytes()).hexdigest()
    assert (measure.size, measure.areas) == (Size(48, 64), (("dent", 100),))
    assert [found.area for found in measure.spots] == [100]
    assert measure.fingerprint is not None


def test_without_masks_the_image_alone_is_measured(tree: tuple[Path, Listing]) -> None:
    root, listing = tree
    shutil.rmtree(root / "masks")
    found = gone_through(root, listing, masked=False)
    assert all(measure is not None and not measure.spots and not own for _, measure, own in found)


def test_no_more_than_a_block_is_held(tree: tuple[Path, Listing], monkeypatch: pytest.MonkeyPatch) -> None:
    root, listing = tree
    monkeypatch.setattr(profile, "BLOCK", 8)
    monkeypatch.setattr(profile, "_A_WORKER", 1)
    opened = []
    measured = profile._measure
    monkeypatch.setattr(profile, "_measure", lambda *args: (opened.append(1), measured(*args))[1])
    for count, _ in enumerate(Profile(root, listing, cache=None, workers=3), 1):
        time.sleep(0.002)
        assert len(opened) <= -(-count // 8) * 8
    assert count == len(opened) == TREE


def test_blocks_change_nothing(tree: tuple[Path, Listing], monkeypatch: pytest.MonkeyPatch) -> None:
    root, listing = tree
    whole = gone_through(root, listing)
    monkeypatch.setattr(profile, "BLOCK", 7)
    monkeypatch.setattr(profile, "_A_WORKER", 1)
    assert gone_through(root, listing) == whole


def test_who_stops_early_leaves_no_thread_behind(tree: tuple[Path, Listing]) -> None:
    root, listing = tree
    with closing(iter(Profile(root, listing, cache=None, workers=3))) as going:
        next(going)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("threecad-")]


def test_progress_counts_every_image_and_the_megapixels_read(tree: tuple[Path, Listing], tmp_path: Path, trusting: None) -> None:
    root, listing = tree
    steps: list[Progress] = []
    gone_through(root, listing, cache=tmp_path / "cache", progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(n, TREE) for n in range(1, TREE + 1)]
    assert steps[-1].megapixels == pytest.approx(TREE * 48 * 64 / 1e6)
    again: list[Progress] = []
    gone_through(root, listing, cache=tmp_path / "cache", progress=again.append)
    assert (again[-1].done, again[-1].megapixels) == (TREE, 0)


# The cache


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the images that are decoded, in no particular order."""
    decoded: list[str] = []
    decode = profile.images.decode
    monkeypatch.setattr(profile.images, "decode", lambda data, name, most: (decoded.append(name), decode(data, name, most))[1])
    return decoded


def test_a_second_run_opens_no_file_and_tells_the_same(
    tree: tuple[Path, Listing], tmp_path: Path, trusting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, listing = tree
    first = gone_through(root, listing, cache=tmp_path / "cache")
    monkeypatch.setattr(profile, "_read", None)
    assert gone_through(root, listing, cache=tmp_path / "cache") == first


def test_young_files_are_read_again_but_not_decoded(tree: tuple[Path, Listing], tmp_path: Path, opened: list[str]) -> None:
    root, listing = tree
    first = gone_through(root, listing, cache=tmp_path / "cache")
    assert len(opened) == TREE
    assert gone_through(root, listing, cache=tmp_path / "cache") == first
    assert len(opened) == TREE


def test_a_copy_of_the_data_set_is_known_by_its_digests(
    tree: tuple[Path, Listing], tmp_path: Path, trusting: None, opened: list[str]
) -> None:
    root, listing = tree
    first = gone_through(root, listing, cache=tmp_path / "cache")
    shutil.copytree(root, tmp_path / "copy")
    assert gone_through(tmp_path / "copy", listing, cache=tmp_path / "cache") == first
    assert len(opened) == TREE


@pytest.mark.parametrize("changed", ["part/003.png", "masks/003.png"])
def test_a_file_that_changed_is_measured_again(
    tree: tuple[Path, Listing], tmp_path: Path, trusting: None, opened: list[str], changed: str
) -> None:
    root, listing = tree
    gone_through(root, listing, cache=tmp_path / "cache")
    before = (root / changed).stat()
    put(root / changed, encode_png(noise(99)) if "part" in changed else spot(11))
    os.utime(root / changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    opened.clear()
    second = gone_through(root, listing, cache=tmp_path / "cache")
    assert opened == ["part/003.png"]
    assert second == gone_through(root, listing)


def test_other_words_about_the_same_files_are_measured_apart(tree: tuple[Path, Listing], tmp_path: Path, trusting: None) -> None:
    root, listing = tree
    gone_through(root, listing, cache=tmp_path / "cache")
    scratched = replace(listing.entries[0], labels=("scratch",))
    called_good = replace(listing.entries[3], state=State.GOOD)
    other = Listing("test", [scratched, called_good], [])
    assert gone_through(root, other, cache=tmp_path / "cache") == gone_through(root, other)


def test_what_was_measured_with_masks_serves_an_audit(
    tree: tuple[Path, Listing], tmp_path: Path, trusting: None, opened: list[str]
) -> None:
    root, listing = tree
    first = gone_through(root, listing, cache=tmp_path / "cache")
    second = gone_through(root, listing, cache=tmp_path / "cache", masked=False)
    assert len(opened) == TREE
    told = [(measure.digest, measure.fingerprint, measure.size) for _, measure, _ in first if measure is not None]
    assert [(measure.digest, measure.fingerprint, measure.size) for _, measure, _ in second if measure is not None] == told


def test_flaws_come_back_from_the_cache(tmp_path: Path, trusting: None) -> None:
    root = tmp_path / "set"
    put(root / "a.png", encode_png(noise(1)))
    put(root / "a_mask.png", encode_mask(np.zeros((48, 64), np.uint8)))
    for _ in range(2):
        assert findings(root, bad("a.png", "a_mask.png"), cache=tmp_path / "cache") == [("MASK_EMPTY", "a_mask.png")]
        assert findings(root, bad("a.png", "a_mask.png"), cache=tmp_path / "cache", masked=False) == []


def test_a_cache_that_cannot_be_used_is_told_and_changes_nothing(tree: tuple[Path, Listing], tmp_path: Path) -> None:
    root, listing = tree
    put(tmp_path / "cache" / measures.FILE, b"nonsense " * 1000)
    going = Profile(root, listing, cache=tmp_path / "cache")
    assert list(going) == gone_through(root, listing)
    assert going.note is not None
    assert going.note.count("\n") == 0


def test_a_damaged_measure_is_measured_again(tree: tuple[Path, Listing], tmp_path: Path, trusting: None) -> None:
    root, listing = tree
    first = gone_through(root, listing, cache=tmp_path / "cache")
    base = sqlite3.connect(tmp_path / "cache" / measures.FILE)
    base.execute("UPDATE measures SET value = x'00'")
    base.commit()
    base.close()
    assert gone_through(root, listing, cache=tmp_path / "cache") == first


def test_a_measure_stays_what_the_format_says(tmp_path: Path) -> None:
    """Where this fails because measuring has changed, raise `measures.FORMAT`, and then correct the numbers here."""
    root = tmp_path / "set"
    put(root / "a.png", encode_png(noise(7)))
    put(root / "a_mask.png", spot(3))
    ((_, measure, _),) = gone_through(root, Listing("test", [bad("a.png", "a_mask.png")], []))
    assert measure is not None
    looks = [round(value, 9) for value in (measure.brightness, measure.contrast, measure.sharpness)]
    digests = [hashlib.sha256(data).hexdigest()[:16] for data in (measure.heat, bytes.fromhex(measure.fingerprint or ""))]
    assert measures.FORMAT == 1
    assert looks == [0.502124183, 0.280962853, 4753.416666667]
    assert measure.spots == (Spot(100, (10, 3, 20, 5), 20.0, 5.0, ("dent",), ()),)
    assert (measure.areas, measure.lost) == ((("dent", 100),), ())
    assert digests == ["d095eefaba24584e", "a0efa7d8d2f5101e"]


# Files that are not as the listing says


def test_an_image_that_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    ((entry, measure, own),) = gone_through(tmp_path / "set", Listing("test", [good("no/a.png")], []))
    assert (entry.image, measure, [finding.code for finding in own]) == ("no/a.png", None, [Code.LISTED_MISSING])


def test_a_mask_that_is_missing_is_told_and_the_image_measured(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put(root / "a.png", encode_png(noise(1)))
    ((_, measure, own),) = gone_through(root, Listing("test", [bad("a.png", "a_mask.png")], []))
    assert measure is not None
    assert measure.areas == ()
    assert [(finding.code, finding.source) for finding in own] == [(Code.LISTED_MISSING, "a_mask.png")]


def test_each_mask_answers_for_itself(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put(root / "a.png", encode_png(noise(1)))
    put(root / "one.png", spot(3))
    put(root / "two.png", spot(3, height=40))
    put(root / "three.png", b"\x89PNG\r\n\x1a\nnonsense")
    found = findings(root, bad("a.png", "one.png", "two.png", "gone.png", "three.png"))
    assert sorted(found) == [("LISTED_MISSING", "gone.png"), ("MASK_OTHER_SIZE", "two.png"), ("MASK_UNREADABLE", "three.png")]


def test_an_image_that_is_damaged_is_told(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put(root / "a.png", encode_png(noise(1))[:-30])
    put(root / "b.png", b"")
    put(root / "c.png", b"GIF89a...")
    found = gone_through(root, Listing("test", [good("a.png"), good("b.png"), good("c.png")], []))
    assert [[finding.code for finding in own] for _, _, own in found] == [[Code.IMAGE_UNREADABLE]] * 3
    assert "cut off" in found[0][2][0].detail
    assert all(measure is None for _, measure, _ in found)


def test_an_image_that_is_too_large_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    put(root / "a.png", encode_png(noise(1)))
    monkeypatch.setattr(images, "MOST_PIXELS", 1000)
    ((_, measure, own),) = gone_through(root, Listing("test", [good("a.png")], []))
    assert measure is None
    assert [(finding.code, finding.detail) for finding in own] == [(Code.TOO_LARGE, "64 × 48 pixels, more than 0.001 million")]
    monkeypatch.setattr(profile, "_LARGEST", 100)
    ((_, measure, own),) = gone_through(root, Listing("test", [good("a.png")], []))
    assert [finding.code for finding in own] == [Code.TOO_LARGE]


def test_a_note_of_the_image_is_told_under_the_image(tmp_path: Path) -> None:
    root = tmp_path / "set"
    seen = np.dstack([noise(1)] * 3 + [np.full((48, 64), 7, np.uint8)])
    put(root / "a.png", cv2.imencode(".png", seen)[1].tobytes())
    assert findings(root, good("a.png")) == [("ALPHA_DROPPED", "a.png")]


def test_a_sample_without_file_passes_through(tmp_path: Path) -> None:
    entry = replace(good("a"), image=None, split=None, state=State.AMBIGUOUS)
    assert gone_through(tmp_path, Listing("test", [entry], [])) == [(entry, None, [])]


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".jpg", ".webp", ".png"])
@pytest.mark.parametrize("colour", [False, True])
def test_every_format_is_measured(tmp_path: Path, suffix: str, colour: bool) -> None:
    pixels = np.dstack([noise(seed) for seed in (1, 2, 3)]) if colour else noise(1)
    put(tmp_path / f"a{suffix}", cv2.imencode(suffix, pixels)[1].tobytes())
    ((_, measure, own),) = gone_through(tmp_path, Listing("test", [good(f"a{suffix}")], []))
    assert measure is not None
    assert (measure.size, measure.bits, own) == (Size(48, 64), 8, [])


def test_sixteen_bits_are_measured(tmp_path: Path) -> None:
    put(tmp_path / "a.png", encode_png(noise(1).astype(np.uint16) * 257))
    put(tmp_path / "b.png", encode_png(noise(1)))
    wide, narrow = (measure for _, measure, _ in gone_through(tmp_path, Listing("test", [good("a.png"), good("b.png")], [])))
    assert wide is not None
    assert narrow is not None
    assert wide.bits == 16
    assert wide.brightness == pytest.approx(narrow.brightness)
    assert wide.fingerprint == narrow.fingerprint


# What must not be followed, opened or waited for


def test_no_path_leads_out_of_the_data_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    outside = put(tmp_path / "outside" / "a.png", encode_png(noise(1)))
    put(root / "in" / "a.png", encode_png(noise(2)))
    (root / "link.png").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / "relative.png").symlink_to("../outside/a.png")
    names = ["../outside/a.png", str(outside), "link.png", "folder/a.png", "relative.png", "in/../../outside/a.png"]
    assert findings(root, *map(good, names)) == [("PATH_OUTSIDE", name) for name in names]
    put(root / "mask.png", spot(1))
    assert findings(root, bad("in/a.png", "link.png")) == [("PATH_OUTSIDE", "link.png")]


def test_links_inside_the_data_set_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put(root / "store" / "a.png", encode_png(noise(1)))
    (root / "b.png").symlink_to("store/a.png")
    (root / "folder").symlink_to("store")
    (tmp_path / "alias").symlink_to(root)
    found = gone_through(tmp_path / "alias", Listing("test", [good("b.png"), good("folder/a.png"), good("./store/a.png")], []))
    assert len({measure.digest for _, measure, _ in found if measure is not None}) == 1
    assert all(measure is not None for _, measure, _ in found)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c.png").symlink_to("a.png")
    (tmp_path / "d.png").symlink_to("d.png")
    names = ["a.png", "b.png", "c.png", "d.png", "e\0.png", "f" * 300 + ".png"]
    assert [code for code, _ in findings(tmp_path, *map(good, names))] == ["FILE_UNREADABLE"] * len(names)


def test_a_file_that_vanishes_or_turns_into_a_pipe_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        put(tmp_path / name, encode_png(noise(1)))
    weigh = profile._weigh

    def vanish(case: profile._Case) -> int:
        path = Path(case.image.where)
        path.unlink()
        if path.name == "b.png":
            os.mkfifo(path)
            return 0
        return weigh(case)

    monkeypatch.setattr(profile, "_weigh", vanish)
    assert [code for code, _ in findings(tmp_path, good("a.png"), good("b.png"))] == ["FILE_UNREADABLE"] * 2


def test_damaged_files_never_end_a_run(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    whole = {suffix: cv2.imencode(suffix, noise(1))[1].tobytes() for suffix in (".png", ".jpg", ".bmp", ".tiff", ".webp")}
    entries = []
    for number in range(100):
        name = f"{number}{list(whole)[number % len(whole)]}"
        for folder in ("images", "masks"):
            data = bytearray(whole[Path(name).suffix])
            for place in random.integers(0, min(len(data), 200), random.integers(1, 4)):
                data[place] = random.integers(0, 256)
            put(tmp_path / folder / name, bytes(data[: random.integers(1, len(data) + 1)] if number % 4 == 0 else data))
        entries.append(bad(f"images/{name}", f"masks/{name}"))
    found = gone_through(tmp_path, Listing("test", entries, []), workers=2)
    assert [entry for entry, _, _ in found] == entries
    assert all(own for _, measure, own in found if measure is None)
    assert any(measure is not None for _, measure, _ in found)


# Categories


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three categories with an image and a finding each, and a finding that belongs to none."""
    names = ("bolt", "nut", "washer")
    for seed, name in enumerate(names):
        put(tmp_path / name / "a.png", encode_png(noise(seed)))
    entries = [replace(good(f"{name}/a.png"), category=name) for name in names]
    told = [Finding(Code.MASK_ORPHAN, Action.DROPPED, f"{folder}/b.png", None, "") for folder in (*names, "masks")]
    monkeypatch.setattr(profile.layouts, "read", lambda root, request: Listing("test", entries, told))
    return tmp_path


def test_one_category_has_its_images_and_findings_alone(three: Path) -> None:
    listing = profile.profile(three, category="nut").listing
    assert [entry.category for entry in listing.entries] == ["nut"]
    assert [finding.source for finding in listing.findings] == ["nut/b.png", "masks/b.png"]
    assert len(profile.profile(three, category=["nut", "bolt"])) == 2
    assert len(profile.profile(three)) == 3


def test_a_category_that_is_not_there_is_the_users_mistake(three: Path) -> None:
    with pytest.raises(LayoutError, match=r"no category 'screw'; found bolt, nut, washer"):
        profile.profile(three, category="screw")


# Statistics


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that threecad wrote."""
    folder = tmp_path_factory.mktemp("converted")
    convert(factory(folder / "raw", 4), folder / "data", SMALL)
    return folder / "data"


@pytest.fixture
def data(converted: Path, tmp_path: Path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(converted, tmp_path / "data"))


def told(root: Path, **options: object) -> Statistics:
    (found,) = statistics(root, **({"cache": None} | options))  # type: ignore[arg-type]
    return found


def test_a_data_set_of_threecads_own_is_told_in_the_frame_of_its_photographs(converted: Path) -> None:
    found = told(converted)
    assert (found.layout, found.name, found.clean) == ("threecad", "raw", True)
    rows = {row.category: row for row in found.sources}
    assert {name: (row.photographs, row.good, row.defects) for name, row in rows.items()} == {
        "All": (9, 4, 9),
        "cover": (5, 2, 5),
        "frame": (4, 2, 4),
    }
    drawn = [json.loads(line) for line in (converted / "regions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows["All"].defects == len(drawn)
    samples = [json.loads(line) for line in (converted / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = [defect for sample in samples if sample["split"] for defect in sample["defects"]]
    assert rows["All"].shown == len(shown) > rows["All"].defects, "the windows overlap"
    assert {row.frame for row in found.heat} == {"source"}


def test_the_same_tree_read_as_plain_folders_has_the_same_numbers(converted: Path, tmp_path: Path) -> None:
    for category in ("cover", "frame"):
        shutil.copytree(converted / category, tmp_path / "data" / category)
    ours, plain = told(converted), told(tmp_path / "data")
    assert (ours.layout, plain.layout) == ("threecad", "mvtec")
    assert plain.overview == ours.overview
    assert plain.area_ratio == ours.area_ratio
    assert plain.survival == ours.survival
    assert plain.copies == ours.copies


def test_one_category_leaves_out_the_photographs_of_others(converted: Path) -> None:
    found = told(converted, category="frame")
    assert {row.category for row in found.sources} == {"frame", "All"}
    assert [row.photographs for row in found.sources] == [4, 4]


def test_several_data_sets_are_told_one_after_the_other(tree: tuple[Path, Listing], converted: Path) -> None:
    (tree[0] / "part").rename(tree[0] / "normal")
    steps: list[Progress] = []
    one, two = statistics(converted, compare=[tree[0]], cache=None, progress=steps.append, defect_source="Real")
    assert [each.name for each in (one, two)] == ["raw", "set"]
    assert [each.comparison.source for each in (one, two)] == ["Real", None]
    assert (steps[-1].done, {step.total for step in steps}) == (len(steps), {len(steps)})
    assert [step.megapixels for step in steps] == sorted(step.megapixels for step in steps)


@pytest.mark.parametrize("card", [5, [], {}, {"name": 5}, {"name": ""}, None])
def test_a_card_that_says_nothing_leaves_the_raw_folders_name(data: Path, card: object) -> None:
    manifest = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    manifest["pipeline"]["card"] = card
    (data / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert told(data).name == "raw"


def test_the_cache_changes_no_number(converted: Path, tmp_path: Path, trusting: None) -> None:
    first = told(converted, cache=tmp_path / "cache")
    assert told(converted, cache=tmp_path / "cache") == first == told(converted, workers=3)


def test_what_is_wrong_with_the_cache_is_told(converted: Path, tmp_path: Path) -> None:
    put(tmp_path / "cache" / measures.FILE, b"nonsense " * 1000)
    notes: list[str] = []
    assert told(converted, cache=tmp_path / "cache", note=notes.append) == told(converted)
    assert len(notes) == 1


def test_copies_across_splits_are_not_clean(data: Path) -> None:
    train = min((data / "cover/train/good").iterdir())
    shutil.copy(train, data / "cover/test/good/copy.png")
    shutil.rmtree(data / ".threecad")
    for name in ("manifest.json", "samples.jsonl"):
        (data / name).unlink()
    found = told(data)
    assert not found.clean
    assert [group.members for group in found.copies if group.across] == [
        (("cover/test/good/copy.png", "test"), (f"cover/train/good/{train.name}", "train"))
    ]


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("sources.jsonl", "{", "sources.jsonl, line 2: Invalid JSON"),
        ("sources.jsonl", '{"id": "a", "category": "cover", "split": "exam", "size": null, "good": true}', "line 2: split: "),
        ("sources.jsonl", '{"id": "a", "category": "cover", "split": null, "size": [0, 5], "good": true}', "line 2: size.0: "),
        ("regions.jsonl", "[]", "regions.jsonl, line 2: "),
        ("regions.jsonl", {"pixels": -1}, "line 2: pixels: "),
        ("regions.jsonl", {"geometry": {"type": "Polygon"}}, "line 2: geometry: "),
        ("regions.jsonl", {"geometry": {"type": "Point", "coordinates": [1, 2]}}, "line 2: geometry: found Point"),
        ("regions.jsonl", {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}, "line 2: geometry: "),
        ("regions.jsonl", {"geometry": {"type": "Polygon", "coordinates": "x"}}, "line 2: geometry: "),
        ("regions.jsonl", {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1e99], [0, 1], [0, 0]]]}}, "in pixels"),
        ("regions.jsonl", '{"geometry": ' + "[" * 100_000, "line 2: Invalid JSON"),
        ("sources.jsonl", '{"size": [1' + "0" * 400 + ", 5]}", "line 2: "),
    ],
)
def test_a_row_that_threecad_did_not_write_is_told(data: Path, name: str, line: str | dict[str, object], says: str) -> None:
    rows = (data / name).read_text(encoding="utf-8").splitlines()
    rows[1] = line if isinstance(line, str) else json.dumps(json.loads(rows[1]) | line)
    (data / name).write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(ReadError) as error:
        told(data)
    assert says in str(error.value)


def test_a_row_without_end_is_not_read_whole(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_LONGEST_LINE", 100)
    with pytest.raises(ReadError, match=r"sources\.jsonl, line 1: found more than 100 bytes"):
        told(data)


def test_rows_that_lie_elsewhere_are_not_read(data: Path, tmp_path: Path) -> None:
    for name in ("sources.jsonl", "regions.jsonl"):
        (data / name).rename(tmp_path / name)
        (data / name).symlink_to(tmp_path / name)
    assert told(data).sources == ()


def test_without_the_rows_beside_it_a_data_set_is_told_in_its_own_frame(data: Path) -> None:
    (data / "sources.jsonl").unlink()
    (data / "regions.jsonl").unlink()
    assert told(data).sources == ()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["magnetic_tile_dev", "cookie", "deeppcb_dev"])
def test_real_data_sets_are_told(shared: Path, name: str, tmp_path: Path) -> None:
    first = told(shared / name, cache=tmp_path)
    assert first.images > 0
    assert told(shared / name, cache=tmp_path) == first
