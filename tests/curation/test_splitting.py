from collections import Counter
from dataclasses import replace

import pytest

from threecad.curation.splitting import Candidate, assign, audit, group_of, units
from threecad.domain import Action, Code, Defect, Sample, Size, Split, State, Window
from threecad.settings import Splitting

TRAIN, VALIDATION, TEST = Split.TRAIN, Split.VALIDATION, Split.TEST


def good(id_: str, category: str = "cover", group: str | None = None, split: Split | None = None) -> Candidate:
    return Candidate(id_, category, frozenset(), True, group, split)


def bad(id_: str, *types: str, category: str = "cover", group: str | None = None, split: Split | None = None) -> Candidate:
    return Candidate(id_, category, frozenset(types), False, group, split)


def many(count: int, **how: str) -> list[Candidate]:
    return [good(f"{how.get('category', 'cover')}/{number:04}.png", **how) for number in range(count)]


def counts(splits: dict[str, Split]) -> dict[Split, int]:
    return dict(Counter(splits.values()))


@pytest.mark.parametrize(
    ("source", "pattern", "group"),
    [
        ("cam1/S0412_top.png", r"(?P<group>S\d+)_", "S0412"),
        ("cam1/S0412_top.png", r"(cam)\d/(?P<group>S\d+)_", "S0412"),
        ("lot3/part7/a.png", r"lot(\d+)/part(\d+)", "3/7"),
        ("A17.png", r"A(\d+)|B(\d+)", "17"),
        ("cam1/S0412_top.png", r"S\d+", "S0412"),
        ("cam1/other.png", r"S\d+", None),
        ("cam1/other.png", r"S(\d*)|", None),
        ("cam1/other.png", r"(?P<group>S\d+)?", None),
        ("cam1/S0412_top.png", None, None),
        ("01_200906072940_332500_225_crop_2.jpg", r"(?P<group>\d{6}_\d{3}|KGT[^_]+)_crop", "332500_225"),
        ("KGT2-V-284-A08_crop_0.jpg", r"(?P<group>\d{6}_\d{3}|KGT[^_]+)_crop", "KGT2-V-284-A08"),
    ],
)
def test_a_group_is_what_the_pattern_names_and_never_an_empty_name(source, pattern, group):
    assert group_of(source, pattern) == group


@pytest.mark.parametrize(("count", "train"), [(1, 1), (2, 1), (3, 2), (10, 7), (100, 67), (1000, 670)])
def test_the_share_is_met_to_the_image(count, train):
    splits, findings = assign(many(count), [], Splitting())
    assert counts(splits).get(TRAIN) == train
    assert len(splits) == count
    assert findings == []


def test_every_category_gets_its_own_share():
    splits, _ = assign(many(30) + many(60, category="frame"), [], Splitting(train=0.5))
    assert sum(split is TRAIN for id_, split in splits.items() if id_.startswith("cover")) == 15
    assert sum(split is TRAIN for id_, split in splits.items() if id_.startswith("frame")) == 30


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_of_two_good_units_one_trains_and_one_tests_however_small_the_share(share):
    big = [good(f"{number}.png", group="big") for number in range(50)]
    splits, _ = assign([*big, good("single.png")], [], Splitting(train=share))
    assert set(splits.values()) == {TRAIN, TEST}
    assert len({splits[image.id] for image in big}) == 1


@pytest.mark.parametrize(("share", "split"), [(0.0, TEST), (1.0, TRAIN)])
def test_a_share_of_none_or_all_is_taken_at_its_word(share, split):
    splits, findings = assign(many(9), [], Splitting(train=share))
    assert set(splits.values()) == {split}
    assert [finding.code for finding in findings] == ([Code.NOTHING_TO_TRAIN_ON] if share == 0 else [])


def test_shares_count_images_and_not_groups():
    groups = [
        good(f"{group}{number}", group=group)
        for group, size in zip("abcdefghij", range(1, 11), strict=True)
        for number in range(size)
    ]
    for seed in range(20):
        splits, _ = assign(groups, [], Splitting(train=0.6, seed=seed))
        assert abs(counts(splits)[TRAIN] - 0.6 * 55) <= 5


def test_another_seed_gives_another_split_of_the_same_size():
    one, _ = assign(many(50), [], Splitting(seed=1))
    other, _ = assign(many(50), [], Splitting(seed=2))
    assert one != other
    assert counts(one) == counts(other)


def test_the_split_of_a_name_never_changes():
    splits, _ = assign(many(12), [], Splitting(validation=0.25))
    assert "".join(splits[f"cover/{number:04}.png"][:2] for number in range(12)) == "trtrtevatetrtrtrtrvavate"


def test_what_is_bound_stays_together_across_groups_duplicates_and_categories():
    images = [good("a1", group="a"), good("a2", group="a"), good("b1", group="b"), good("c", category="frame"), *many(40)]
    bound = [frozenset({"a2", "copy"}), frozenset({"copy", "b1"}), frozenset({"b1", "c"})]
    for seed in range(10):
        splits, _ = assign(images, bound, Splitting(seed=seed))
        assert len({splits[id_] for id_ in ("a1", "a2", "b1", "c")}) == 1
        assert "copy" not in splits
    named = units(images, bound)
    assert {named[id_] for id_ in ("a1", "a2", "b1", "c")} == {"a"}
    assert set(named) == set(splits)


def test_a_group_with_a_defective_image_does_not_train_and_says_so_once():
    part = [good("part1/1"), good("part1/2"), bad("part1/3", "scratch")]
    part = [replace(image, group="part1") for image in part]
    unclear = [good("5"), replace(good("6"), trainable=False)]  # 6 shows something that nobody could read
    splits, findings = assign([*part, *unclear, *many(10)], [frozenset({"5", "6"})], Splitting(train=1))
    assert {id_ for id_, split in splits.items() if split is TEST} == {"part1/1", "part1/2", "part1/3", "5", "6"}
    assert [(finding.code, finding.action, finding.source) for finding in findings] == [
        (Code.MIXED_GROUP, Action.KEPT, "5"),
        (Code.MIXED_GROUP, Action.KEPT, "part1/1"),
    ]
    assert findings[1].detail == "2 good and 1 other images in unit part1: none of them trains"


def test_a_candidate_with_types_never_trains_even_if_it_claims_to_be_clean():
    splits, _ = assign([replace(bad("x", "scratch"), trainable=True), *many(3)], [], Splitting(train=1))
    assert splits["x"] is TEST


def test_validation_takes_its_share_of_the_good_and_of_every_type():
    images = many(100) + [bad(f"s{n}", "scratch") for n in range(20)] + [bad(f"d{n}", "dent", "scratch") for n in range(10)]
    splits, _ = assign(images, [], Splitting(validation=0.2))
    validating = [id_ for id_, split in splits.items() if split is VALIDATION]
    assert Counter(id_[0] for id_ in validating) == {"c": 20, "s": 4, "d": 2}
    assert counts(splits) == {VALIDATION: 26, TRAIN: 54, TEST: 26 + 16 + 8}


def test_validation_moves_nothing_between_train_and_test():
    images = many(100) + [bad(f"s{n}", "scratch") for n in range(20)]
    without, _ = assign(images, [], Splitting())
    for share in (0.05, 0.2, 0.5, 0.95):
        splits, _ = assign(images, [], Splitting(validation=share))
        assert all(split in (without[id_], VALIDATION) for id_, split in splits.items())
        assert set(splits.values()) == {TRAIN, VALIDATION, TEST}


def test_validation_never_takes_the_last_image_of_its_kind():
    splits, _ = assign([good("a"), good("b"), bad("c", "dent")], [], Splitting(validation=0.9))
    assert sorted(splits.values()) == [TEST, TEST, TRAIN]


def test_folders_decide_only_on_request():
    images = [good("train/1", split=TRAIN), good("test/2", split=TEST), bad("val/3", "dent", split=VALIDATION)]
    splits, findings = assign(images, [], Splitting(respect_folders=True))
    assert splits == {"train/1": TRAIN, "test/2": TEST, "val/3": VALIDATION}
    assert findings == []
    swapped = [replace(image, split=TEST) for image in images]
    assert counts(assign(swapped, [], Splitting())[0])[TRAIN] == 1
    splits, findings = assign(swapped, [], Splitting(respect_folders=True))
    assert set(splits.values()) == {TEST}
    assert [finding.code for finding in findings] == [Code.NOTHING_TO_TRAIN_ON]
    assert "respect_folders" in findings[0].detail


def test_the_members_that_no_folder_names_follow_their_unit():
    images = [good("train/1", group="g", split=TRAIN), good("2", group="g"), *many(20)]
    for seed in range(5):
        splits, _ = assign(images, [], Splitting(respect_folders=True, seed=seed, train=0.1))
        assert splits["2"] is TRAIN
        assert counts(splits)[TRAIN] == 2 + 2, "the others keep their own share"


def test_folders_that_cannot_have_their_way_are_reported_and_test():
    images = [
        good("train/1", group="g", split=TRAIN),
        good("test/1", group="g", split=TEST),
        bad("train/2", "dent", split=TRAIN),
        good("train/3", split=TRAIN),
    ]
    splits, findings = assign(images, [], Splitting(respect_folders=True))
    assert splits == {"train/1": TEST, "test/1": TEST, "train/2": TEST, "train/3": TRAIN}
    assert [(finding.code, finding.source, finding.detail) for finding in findings] == [
        (Code.SPLIT_CONFLICT, "test/1", "folders name test and train for the 2 images of unit g: all of them test"),
        (Code.SPLIT_CONFLICT, "train/2", "its folder names train, but it is not clean: it tests"),
    ]


def test_a_category_with_nothing_to_train_on_says_why():
    images = [
        bad("a/1", "dent", category="a"),
        good("b/1", "b", group="g"),
        bad("b/2", category="b", group="g"),
        good("c/1", "c"),
    ]
    _, findings = assign(images, [], Splitting())
    details = {finding.source: finding.detail for finding in findings if finding.code is Code.NOTHING_TO_TRAIN_ON}
    assert details == {
        "a/1": "category a: 1 images, none of them is known to be clean; add good images, or vouch for unannotated ones",
        "b/1": "category b: 2 images, the 1 good ones are bound to others; narrow the group pattern, or turn near_duplicates off",
    }


def test_nobody_gets_a_split_from_nothing():
    assert assign([], [frozenset({"a", "b"})], Splitting()) == ({}, [])


def tile(source: str, split: Split | None, left: int = 0, **other: object) -> Sample:
    window = Window(0, left, Size(100, 100))
    sample = Sample(
        f"{source}-{left}", source, "cover", window, split, State.GOOD, (), (), (), None, None, None, None, f"{source}{left}"
    )
    return replace(sample, **other)  # type: ignore[arg-type]


CLEAN = [
    tile("a", TRAIN),
    tile("a", TRAIN, 80),
    tile("b", TEST, state=State.DEFECT, labels=("dent",), areas=(9,), defects=(Defect("b#0", "dent", 9, (1, 1, 3, 3), 1.0),)),
    tile("b", None, 80, state=State.AMBIGUOUS, digest=None),
    tile("c", VALIDATION),
    tile("d", None, digest=None),
]


def test_a_clean_data_set_passes_the_audit():
    assert audit(CLEAN, {"a": "g1", "b": "g2", "d": "g1"}) == []
    assert audit([], {}) == []


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("leak", "groups", "action", "words"),
    [
        pytest.param([tile("a", TEST, 160)], {}, Action.DROPPED, "one source in two splits", id="source"),
        pytest.param([tile("a", TEST, 50)], {}, Action.DROPPED, "share", id="overlapping tiles"),
        pytest.param([], {"a": "g", "c": "g"}, Action.DROPPED, "group g in two splits", id="group"),
        pytest.param([tile("e", TEST, digest="a0")], {}, Action.KEPT, "the same picture in two splits", id="picture"),
        pytest.param([tile("e", TRAIN, state=State.DEFECT)], {}, Action.DROPPED, "not clean trains", id="defective tile"),
        pytest.param([tile("e", TRAIN, labels=("dent",))], {}, Action.DROPPED, "not clean trains", id="labelled tile"),
        pytest.param(
            [tile("e", TRAIN), tile("e", None, 80, state=State.POISONED, digest=None)],
            {},
            Action.DROPPED,
            "not clean trains: tile e-0 (train), tile e-80 is not good",
            id="clean tile of a source nobody could read",
        ),
    ],
)
def test_the_audit_finds_every_leak_once(leak, groups, action, words, order):
    findings = audit([*CLEAN, *leak, *leak][::order], groups)
    assert [(finding.code, finding.action) for finding in findings] == [(Code.LEAK, action)]
    assert words in findings[0].detail


def test_the_audit_says_where_the_leak_is():
    (finding,) = audit([tile("a", TRAIN), tile("a", TEST, 50)], {})
    assert (finding.source, finding.place) == ("a", (100.0, 50.0))
    assert finding.detail == "one source in two splits: tile a-50 (test), tile a-0 (train), which share 50 × 100 px"


def test_the_audit_reads_samples_as_a_stream():
    remembered = audit((tile("a", TRAIN, left, digest=None) for left in range(1000)), {})
    assert remembered == []


def test_a_unit_torn_apart_is_found_with_the_names_of_units():
    images, bound = many(30), [frozenset({"cover/0001.png", "cover/0002.png"})]
    splits, _ = assign(images, bound, Splitting())
    named = units(images, bound)
    assert audit([tile(id_, split) for id_, split in splits.items()], named) == []
    splits["cover/0001.png"] = TEST if splits["cover/0002.png"] is TRAIN else TRAIN
    assert len(audit([tile(id_, split) for id_, split in splits.items()], named)) == 1
