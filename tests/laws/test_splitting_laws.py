from collections import Counter, defaultdict
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from threecad.curation.splitting import Candidate, assign, audit, units
from threecad.domain import Code, Sample, Size, Split, State, Window
from threecad.settings import Splitting

IDS = st.integers(0, 99).map("{:02}.png".format)
TYPES = st.frozensets(st.sampled_from(["dent", "scratch", "stain"]), max_size=2)
SHARES = st.sampled_from([0.0, 0.1, 0.33, 0.5, 0.67, 0.9, 1.0])


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    found = []
    for id_ in draw(st.lists(IDS, unique=True, max_size=30)):
        types = draw(st.one_of(st.just(frozenset()), TYPES))
        found.append(
            Candidate(
                id_,
                draw(st.sampled_from(["cover", "cover", "frame"])),
                types,
                not types and draw(st.booleans()),
                draw(st.sampled_from([None, None, "A", "B", "C"])),
                draw(st.sampled_from([None, None, *Split])),
            )
        )
    return found


BOUND = st.lists(st.frozensets(IDS, min_size=1, max_size=3), max_size=4)
SETTINGS = st.builds(
    Splitting,
    seed=st.integers(0, 3),
    train=SHARES,
    validation=st.sampled_from([0.0, 0.1, 0.5]),
    respect_folders=st.booleans(),
)


@given(candidates(), BOUND, SETTINGS, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_of_the_input_matters(images, bound, settings, random):
    shuffled, sets = random.sample(images, len(images)), random.sample(bound, len(bound))
    assert assign(images, bound, settings) == assign(shuffled, [*sets, *sets], settings)


@given(candidates(), BOUND, SETTINGS)
def test_everyone_gets_one_split_and_no_unit_is_torn_apart(images, bound, settings):
    splits, findings = assign(images, bound, settings)
    assert set(splits) == {image.id for image in images}
    named = units(images, bound)
    by_id = {image.id: image for image in images}
    for together in [*bound, *({i.id for i in images if i.group == group} for group in "ABC")]:
        assert len({named[id_] for id_ in together if id_ in by_id}) <= 1
        assert len({splits[id_] for id_ in together if id_ in by_id}) <= 1
    samples = [
        Sample(
            *(id_, id_, "", Window(0, 0, Size(1, 1)), split, State.GOOD if by_id[id_].trainable else State.POISONED),
            *((), (), (), None, None, None, None, None),
        )
        for id_, split in splits.items()
    ]
    assert audit(samples, named) == []
    trained = {by_id[id_].category for id_, split in splits.items() if split is Split.TRAIN}
    lacking = {image.category for image in images} - trained
    assert sum(finding.code is Code.NOTHING_TO_TRAIN_ON for finding in findings) == len(lacking)


@given(candidates(), BOUND, st.integers(0, 3), st.sampled_from([0.1, 0.33, 0.5, 0.67, 0.9]))
def test_shares_are_met_to_half_the_largest_unit(images, bound, seed, share):
    splits, _ = assign(images, bound, Splitting(seed=seed, train=share))
    members = defaultdict(list)
    for id_, name in units(images, bound).items():
        members[name].append(id_)
    by_id = {image.id: image for image in images}
    strata = defaultdict(list)
    for ids in members.values():
        if all(by_id[id_].trainable for id_ in ids):
            strata[frozenset(by_id[id_].category for id_ in ids)].append(ids)
    for stratum in strata.values():
        train = sum(splits[ids[0]] is Split.TRAIN for ids in stratum)
        assert train >= 1
        assert train < len(stratum) or len(stratum) == 1
        total, largest = sum(map(len, stratum)), max(map(len, stratum))
        short = abs(sum(len(ids) for ids in stratum if splits[ids[0]] is Split.TRAIN) - share * total)
        # at least one on either side: that may cost more than the nearest share
        assert short <= (largest / 2 if 1 < train < len(stratum) - 1 else largest)


@given(candidates(), BOUND, st.integers(0, 3), SHARES, st.sampled_from([0.1, 0.5, 0.9]))
def test_validation_moves_nothing_between_train_and_test(images, bound, seed, train, validation):
    without, _ = assign(images, bound, Splitting(seed=seed, train=train))
    splits, _ = assign(images, bound, Splitting(seed=seed, train=train, validation=validation))
    assert all(split in (without[id_], Split.VALIDATION) for id_, split in splits.items())


@given(
    st.lists(st.integers(0, 9999), unique=True, min_size=1, max_size=60),
    st.integers(0, 5),
    st.one_of(SHARES, st.floats(0.001, 0.999)),
    st.sampled_from([0.0, 0.1, 0.4]),
)
def test_one_more_image_moves_at_most_one_other(names, seed, train, validation):
    images = [Candidate(f"{name:04}", "cover", frozenset(), True, None, None) for name in names]
    settings = Splitting(seed=seed, train=train, validation=validation)
    before, _ = assign(images[1:], [], settings)
    after, _ = assign(images, [], settings)
    moved = sum(after[id_] is not split for id_, split in before.items())
    assert moved <= (1 if validation == 0 else 4)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=25), st.integers(0, 20), st.one_of(SHARES, st.floats(0.001, 0.999)))
def test_one_more_group_moves_no_more_than_its_own_and_twice_the_largest_size(sizes, seed, train):
    images = [
        Candidate(f"{group}-{number}", "cover", frozenset(), True, f"group {group}", None)
        for group, size in enumerate(sizes)
        for number in range(size)
    ]
    before, _ = assign(images[sizes[0] :], [], Splitting(seed=seed, train=train))
    after, _ = assign(images, [], Splitting(seed=seed, train=train))
    assert sum(after[id_] is not split for id_, split in before.items()) < sizes[0] + 2 * max(sizes)


@given(candidates(), SETTINGS)
def test_one_more_image_of_another_kind_moves_nobody(images, settings):
    before, _ = assign(images, [], settings)
    more = [
        Candidate(f"new {n}", category, types, not types, None, None)
        for n, category in enumerate(["new", "other"])
        for types in [frozenset(), frozenset(["rust"])]
    ]
    more = [replace(image, id=f"{image.id} {number}") for number, image in enumerate(more)]
    after, _ = assign([*images, *more], [], settings)
    assert {id_: after[id_] for id_ in before} == before


@given(st.integers(2, 40), st.integers(0, 1000))
def test_every_image_may_train_under_some_seed(count, seed):
    images = [Candidate(f"{n}", "cover", frozenset(), True, None, None) for n in range(count)]
    trained = Counter(
        id_
        for offset in range(40)
        for id_, split in assign(images, [], Splitting(seed=seed + offset, train=0.5))[0].items()
        if split is Split.TRAIN
    )
    assert len(trained) == count
