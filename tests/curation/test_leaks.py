"""What stands in two splits is found, and what is left out puts an end to it."""

from __future__ import annotations

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threecad.curation import leaks
from threecad.curation.leaks import Contents, compare, copies, disjoint, overlaps, to_drop
from threecad.curation.statistics import Copies, Overlap
from threecad.domain import Code, Entry, Size, Split, State, Window
from threecad.settings import Splitting

SETTINGS = Splitting()
TRAIN, VALIDATION, TEST = Split.TRAIN, Split.VALIDATION, Split.TEST


def tile(path: str, split: Split | None, window: Window | None = None, source: str | None = None) -> Entry:
    return Entry(path, path.split("/")[0], split, State.GOOD, (), path, (), source or path, window)


def at(top: int, left: int, height: int = 100, width: int = 100) -> Window:
    return Window(top, left, Size(height, width))


def print_of(*steps: int) -> bytes:
    """A fingerprint whose first cells are these, and all others 100."""
    return bytes([*(step % 256 for step in steps), *[100] * (256 - len(steps))])


# Copies


def test_copies_are_told_with_the_splits_of_all_their_members():
    digests = {"a/train/1": "x", "a/test/2": "x", "a/train/3": "y", "a/train/4": "y", "a/test/5": "z", "b": "q", "c": "q"}
    splits = {"a/train/1": TRAIN, "a/test/2": TEST, "a/train/3": TRAIN, "a/train/4": "train", "a/test/5": TEST, "b": None}
    assert copies(digests, {}, splits, SETTINGS) == [
        Copies(True, True, (("a/test/2", "test"), ("a/train/1", "train"))),
        Copies(True, False, (("a/train/3", "train"), ("a/train/4", "train"))),
        Copies(True, False, (("b", ""), ("c", ""))),
    ]


def test_what_has_no_split_stands_in_none():
    assert copies({"a": "x", "b": "x"}, {}, {"a": TRAIN}, SETTINGS) == [Copies(True, False, (("a", "train"), ("b", "")))]


def test_nearly_equal_images_bring_their_equals_with_them():
    digests = {"1": "x", "2": "x", "3": "y", "4": "z"}
    prints = {"1": print_of(0), "2": print_of(0), "3": print_of(2), "4": print_of(50)}
    splits = {"1": TRAIN, "2": VALIDATION, "3": TEST, "4": TEST}
    assert copies(digests, prints, splits, SETTINGS) == [
        Copies(True, True, (("1", "train"), ("2", "validation"))),
        Copies(False, True, (("1", "train"), ("2", "validation"), ("3", "test"))),
    ]
    assert len(copies(digests, prints, splits, Splitting(near_duplicates=False))) == 1


def test_an_equal_image_without_fingerprint_of_its_own_is_found_near_too():
    found = copies({"1": "x", "2": "x", "3": "y"}, {"2": print_of(0), "3": print_of(1)}, {}, SETTINGS)
    assert [group.members for group in found if not group.exact] == [(("1", ""), ("2", ""), ("3", ""))]


def test_more_look_alikes_than_a_crowd_are_told_and_are_no_copies():
    names = [f"{number:02}" for number in range(20)]
    prints = {name: print_of(3 * number) for number, name in enumerate(names)}
    found, crowds = compare({name: name for name in names}, prints, dict.fromkeys(names, TRAIN), SETTINGS)
    assert found == []
    assert [(finding.code, finding.source) for finding in crowds] == [(Code.CROWD, "00")]


def test_a_hundred_thousand_equal_images_take_seconds():
    digests = {f"{number:06}": "x" for number in range(100_000)}
    begin = time.process_time()
    (group,) = copies(digests, dict.fromkeys(digests, print_of(0)), dict.fromkeys(digests, TRAIN), SETTINGS)
    assert time.process_time() - begin < 20
    assert len(group.members) == 100_000


# Overlaps


def test_tiles_of_one_photograph_in_two_splits_that_share_pixels_are_told():
    entries = [
        tile("a/train/1", TRAIN, at(0, 0), "p"),
        tile("a/test/2", TEST, at(0, 80), "p"),
        tile("a/test/3", TEST, at(0, 100), "p"),
        tile("a/test/4", TEST, at(90, 95), "p"),
        tile("a/test/5", TEST, at(0, 0), "q"),
        tile("a/train/6", None, at(0, 0), "p"),
    ]
    assert overlaps(entries, {}) == [
        Overlap("p", "a/test/2", "a/train/1", 20 * 100, ("test", "train")),
        Overlap("p", "a/test/4", "a/train/1", 10 * 5, ("test", "train")),
    ]


def slow_overlaps(entries: list[Entry]) -> list[Overlap]:
    found = []
    for one, two in combinations(sorted(entries, key=lambda entry: entry.image or ""), 2):
        if one.source == two.source and one.split is not two.split and one.window and two.window and one.split and two.split:
            high, wide = (
                min(a + extent, b + other) - max(a, b)
                for a, extent, b, other in (
                    (one.window.top, one.window.size.height, two.window.top, two.window.size.height),
                    (one.window.left, one.window.size.width, two.window.left, two.window.size.width),
                )
            )
            if high > 0 and wide > 0:
                splits = (one.split.value, two.split.value)
                found.append(Overlap(one.source, one.image or "", two.image or "", high * wide, splits))
    return sorted(found, key=lambda overlap: (overlap.source, overlap.first, overlap.second))


windows = st.builds(at, st.integers(0, 12), st.integers(0, 12), st.integers(1, 6), st.integers(1, 6))
splits = st.sampled_from([TRAIN, VALIDATION, TEST])
tiles = st.lists(st.tuples(splits, windows, st.sampled_from("pq")), max_size=25).map(
    lambda found: [tile(f"c/{number}", split, window, source) for number, (split, window, source) in enumerate(found)]
)


@given(tiles, st.randoms())
def test_a_sweep_finds_the_pairs_that_comparing_all_of_them_finds(entries, random):
    shuffled = random.sample(entries, len(entries))
    assert overlaps(shuffled, {}) == slow_overlaps(entries)


@given(tiles)
def test_of_many_partners_some_in_each_other_split_are_told(entries):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks, "MOST_PARTNERS", 2)
        found = overlaps(entries, {})
    every = slow_overlaps(entries)
    assert set(found) <= set(every)

    def partners(pairs: list[Overlap], path: str, split: str) -> int:
        return sum(
            other == split
            for pair in pairs
            for name, other in ((pair.first, pair.splits[1]), (pair.second, pair.splits[0]))
            if name == path
        )

    for entry in entries:
        for split in ("train", "validation", "test"):
            assert partners(found, entry.image or "", split) >= min(2, partners(every, entry.image or "", split))


def test_ten_thousand_tiles_of_one_photograph_take_seconds():
    entries = [
        tile(f"c/{row:03}-{column:03}", TRAIN if (row + column) % 2 else TEST, at(80 * row, 80 * column), "p")
        for row in range(100)
        for column in range(100)
    ]
    begin = time.process_time()
    found = overlaps(entries, {})
    assert time.process_time() - begin < 20
    assert len(found) == 2 * 99 * 100  # neighbours in a row and in a column; those at a corner are in the same split


def test_tiles_that_all_lie_on_one_another_are_not_told_pair_by_pair():
    entries = [tile(f"c/{number}", TRAIN if number % 2 else TEST, at(number % 7, number % 5), "p") for number in range(3000)]
    found = overlaps(entries, {})
    assert len(found) <= 3000 * leaks.MOST_PARTNERS
    assert {path for pair in found for path in (pair.first, pair.second)} == {entry.image for entry in entries}


def test_names_as_threecad_gives_them_tell_the_photograph_and_the_window():
    paths = {
        "part/train/good/a-8ffa1453428c-000000-000000.png": TRAIN,
        "part/test/good/a-8ffa1453428c-000000-000820.png": TEST,
        "part/test/good/b-8ffa1453428d-000000-000000.png": TEST,
        "part/test/good/a-8ffa1453428c-x0001000000-000000.png": TEST,
    }
    found = overlaps([tile(path, split) for path, split in paths.items()], dict.fromkeys(paths, Size(1024, 1024)))
    first, second, *_ = paths
    assert found == [Overlap("a-8ffa1453428c", second, first, 204 * 1024, ("test", "train"))]


def test_names_as_sahi_gives_them_tell_them_where_the_image_is_of_that_size():
    paths = {"part/train/img_1_0_0_512_512.png": TRAIN, "part/test/img_1_410_0_922_512.png": TEST}
    entries = [tile(path, split) for path, split in paths.items()]
    assert overlaps(entries, dict.fromkeys(paths, Size(512, 512))) == [
        Overlap(
            "part/img_1", "part/test/img_1_410_0_922_512.png", "part/train/img_1_0_0_512_512.png", 102 * 512, ("test", "train")
        )
    ]
    assert overlaps(entries, dict.fromkeys(paths, Size(512, 500))) == []
    assert overlaps(entries, {}) == []


def test_photographs_whose_numbers_begin_anew_in_each_folder_are_not_taken_for_one():
    paths = {
        "part/train/good/000_0_0_512_512.png": TRAIN,
        "part/test/good/000_0_0_512_512.png": TEST,  # another photograph called 000
        "part/test/dent/001_0_0_512_512.png": TEST,
        "part/train/good/001_410_0_922_512.png": TRAIN,
    }
    entries = [tile(path, split) for path, split in paths.items()]
    sizes = dict.fromkeys(paths, Size(512, 512))
    assert overlaps(entries, sizes, {path: path for path in paths}) == []
    same = dict.fromkeys(paths, "90f2")  # byte for byte: one photograph, after all
    assert len(overlaps(entries, sizes, same)) == 2


def test_rows_and_columns_in_names_tell_no_window():
    paths = {"part/train/a_0_0.png": TRAIN, "part/test/a_0_1.png": TEST}
    assert overlaps([tile(path, split) for path, split in paths.items()], dict.fromkeys(paths, Size(64, 64))) == []


def test_a_file_that_a_list_names_twice_is_no_pair():
    twice = [tile("c/1", TRAIN, at(0, 0), "p"), tile("c/1", TEST, at(0, 0), "p")]
    assert overlaps(twice, {}) == []


# What to leave out

THREE = Copies(True, True, (("1", "test"), ("2", "train"), ("3", "train"), ("4", "validation"), ("5", "test"), ("6", "")))


def test_the_test_stays_whole_and_the_training_image_goes():
    assert to_drop([THREE], []) == [
        ("2", "the same bytes as 1 (test)"),
        ("3", "the same bytes as 1 (test)"),
        ("4", "the same bytes as 1 (test)"),
    ]


def test_or_the_training_images_stay_and_the_others_go():
    assert to_drop([THREE], [], keep="train") == [
        ("1", "the same bytes as 2 (train)"),
        ("4", "the same bytes as 2 (train)"),
        ("5", "the same bytes as 2 (train)"),
    ]


def test_of_training_and_validation_the_training_image_goes():
    assert to_drop([Copies(True, True, (("1", "train"), ("2", "validation")))], []) == [("1", "the same bytes as 2 (validation)")]


def test_nearly_equal_images_go_unless_they_may_stay():
    near = Copies(False, True, (("1", "train"), ("2", "test")))
    assert to_drop([near], []) == [("1", "nearly the same as 2 (test)")]
    assert to_drop([near], [], near=False) == []


def test_copies_inside_a_split_stay():
    assert to_drop([Copies(True, False, (("1", "train"), ("2", "train")))], []) == []


def test_the_gravest_reason_is_told():
    equal, near = Copies(True, True, (("1", "train"), ("9", "test"))), Copies(False, True, (("1", "train"), ("2", "test")))
    shared = Overlap("p", "0", "1", 77, ("test", "train"))
    assert to_drop([near, equal], [shared]) == [("1", "the same bytes as 9 (test)")]
    assert to_drop([], [shared]) == [("1", "shares 77 pixels of p with 0 (test)")]


@st.composite
def data_sets(draw):
    """A few images with few different bytes and looks, some of them tiles; one may be listed in two splits."""
    entries, sizes, digests, prints = [], {}, {}, {}
    for number in range(draw(st.integers(0, 14))):
        split = draw(st.sampled_from([TRAIN, VALIDATION, TEST, None]))
        kind = draw(st.sampled_from(["plain", "told", "named", "guessed"]))
        top, left = draw(st.integers(0, 6)), draw(st.integers(0, 6))
        path = {
            "plain": f"c/{number}.png",
            "told": f"c/{number}.png",
            "named": f"c/{number}/a-0123456789ab-{top:06}-{left:06}.png",
            "guessed": f"c/{number}/{draw(st.sampled_from('ab'))}_{left}_{top}_{left + 3}_{top + 3}.png",
        }[kind]
        window, source = (at(top, left, 3, 3), draw(st.sampled_from("pq"))) if kind == "told" else (None, None)
        entries.append(tile(path, split, window, source))
        if draw(st.integers(0, 9)) == 0:
            entries.append(tile(path, draw(splits), window, source))
        sizes[path] = Size(3, 3)
        look = draw(st.integers(0, 12))
        digests[path] = f"{look}-{draw(st.integers(0, 1))}"
        if look:
            prints[path] = print_of(2 * look)
    return Contents(entries, sizes, digests, prints)


def splits_of(contents: Contents, keep: str) -> dict[str, Split]:
    order = [TEST, VALIDATION, TRAIN] if keep == "test" else [TRAIN, TEST, VALIDATION]
    found: dict[str, Split] = {}
    for entry in contents.entries:
        if entry.split is not None:
            found[entry.image] = min(found.get(entry.image, entry.split), entry.split, key=order.index)
    return found


@given(data_sets(), st.sampled_from(["test", "train"]), st.integers(2, 5), st.booleans())
def test_after_dropping_a_second_audit_finds_nothing(contents, keep, crowd, near):
    settings = Splitting(near_crowd=crowd, near_duplicates=near)
    dropped = dict(disjoint(contents, settings, keep))
    splits = splits_of(contents, keep)
    kept = {path for path, split in splits.items() if split.value == keep}
    assert not kept & dropped.keys()  # that split stays whole
    assert dropped.keys() <= splits.keys()
    left = [each for each in contents.entries if each.image not in dropped and splits.get(each.image) is each.split]
    left = [each for each in left if each.split is not None]
    there = {each.image for each in left}
    again = copies(
        {path: digest for path, digest in contents.digests.items() if path in there},
        {path: value for path, value in contents.fingerprints.items() if path in there},
        splits,
        settings,
    )
    assert not [group for group in again if group.across]
    assert not overlaps(left, contents.sizes, contents.digests)
    photographs: dict[str, set[Split]] = {}
    for each in left:
        photographs.setdefault(each.source, set()).add(each.split)
    assert all(len(found) == 1 for found in photographs.values())
    assert dict(disjoint(Contents(left, *parts(contents)), settings, keep)) == {}


def parts(contents: Contents) -> tuple:
    return contents.sizes, contents.digests, contents.fingerprints


@given(data_sets(), st.sampled_from(["test", "train"]))
def test_whatever_goes_met_something_that_takes_precedence(contents, keep):
    """Nothing is left out without need: put back alone, with all that was there, it would leak."""
    splits = splits_of(contents, keep)
    used = [each for each in contents.entries if each.split is not None and splits[each.image] is each.split]
    digests = {path: digest for path, digest in contents.digests.items() if path in splits}
    prints = {path: value for path, value in contents.fingerprints.items() if path in splits}
    found, shared = copies(digests, prints, splits, SETTINGS), overlaps(used, contents.sizes, contents.digests)
    order = [TEST, VALIDATION, TRAIN] if keep == "test" else [TRAIN, TEST, VALIDATION]
    for path, reason in to_drop(found, shared, keep):
        partners = [name for group in found for name, split in group.members if path in dict(group.members) and split]
        partners += [
            other for pair in shared for name, other in ((pair.first, pair.second), (pair.second, pair.first)) if name == path
        ]
        better = [name for name in partners if order.index(splits[name]) < order.index(splits[path])]
        assert any(name in reason for name in better)


def test_a_second_look_finds_copies_that_the_first_took_for_a_crowd():
    names = ["test/0", "train/1", "train/2"]
    digests = {"test/0": "a", "train/1": "b", "train/2": "c", "test/9": "c"}
    prints = {"test/0": print_of(0), "train/1": print_of(3), "train/2": print_of(6)}
    contents = Contents([tile(path, TRAIN if "train" in path else TEST) for path in [*names, "test/9"]], {}, digests, prints)
    settings = Splitting(near_crowd=2)
    groups = copies(digests, prints, {path: TRAIN if "train" in path else TEST for path in digests}, settings)
    assert [group.exact for group in groups] == [True]  # three look alike: a crowd
    assert to_drop(groups, []) == [("train/2", "the same bytes as test/9 (test)")]
    assert [path for path, _ in disjoint(contents, settings)] == ["train/1", "train/2"]  # two of them: copies


def test_all_tiles_of_a_photograph_that_the_data_set_tells_stay_in_one_split():
    entries = [tile("c/1", TRAIN, at(0, 0), "p"), tile("c/2", TEST, at(500, 500), "p"), tile("c/3", TRAIN, at(0, 0), "q")]
    contents = Contents(entries, {}, {entry.id: entry.id for entry in entries}, {})
    assert disjoint(contents, SETTINGS) == [("c/1", "another tile of p is in test")]
    assert disjoint(contents, SETTINGS, keep="train") == [("c/2", "another tile of p is in train")]


def test_a_file_that_a_list_names_in_two_splits_is_not_taken_from_both():
    entries = [tile("c/1", TRAIN), tile("c/1", TEST), tile("c/2", TRAIN)]
    contents = Contents(entries, {}, {"c/1": "x", "c/2": "x"}, {})
    assert disjoint(contents, SETTINGS) == [("c/2", "the same bytes as c/1 (test)")]
