"""Laws of the names on disk and of the rows that tell them."""

from __future__ import annotations

import tempfile
import unicodedata
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from threecad.domain import Action, Code, Defect, Finding, Sample, Size, Split, State, Window
from threecad.formats.dataset import line, read_findings, read_samples, row_of
from threecad.formats.layout import RESERVED_CATEGORIES, RESERVED_TYPES, folder, folders, stem

text = st.text(st.characters(), max_size=120)
near = st.text(st.sampled_from("aA_b-. +ßẞﬁ1"), max_size=5)  # small enough that names clash
numbers = st.integers(0, 20_000) | st.integers(999_990, 20_000_000)
windows = st.builds(Window, numbers, numbers, st.just(Size(1024, 1024)))


@given(st.lists(st.tuples(near | text, windows), min_size=2, max_size=8, unique_by=lambda pair: (pair[0], pair[1])))
def test_no_stem_begins_with_another_one(tiles: list[tuple[str, Window]]) -> None:
    stems = sorted(stem(source, window) for source, window in tiles)
    assert all(not right.startswith(left) for left, right in pairwise(stems))


@given(text | near)
def test_a_folder_is_safe_and_its_own_folder(label: str) -> None:
    name = folder(label)
    assert name
    assert len(name.encode()) <= 80
    assert not set(name) & set('<>:"/\\|?*.+ \0\n\t')
    assert name == unicodedata.normalize("NFC", name)
    assert folder(name) == name


@given(st.lists(near | text | st.sampled_from(RESERVED_TYPES), max_size=12))
def test_folders_are_distinct_wherever_case_does_not_count(labels: list[str]) -> None:
    named = folders(labels, RESERVED_TYPES)
    assert set(named) == set(labels)
    alike = {unicodedata.normalize("NFKC", name).casefold() for name in named.values()}
    assert len(alike) == len(named)
    assert not alike & set(RESERVED_TYPES)
    assert named == folders(list(reversed(labels)), RESERVED_TYPES)
    assert not {name.casefold() for name in folders(labels, RESERVED_CATEGORIES).values()} & set(RESERVED_CATEGORIES)


words = st.text(max_size=20)
counts = st.integers(0, 2**40)
samples = st.builds(
    Sample,
    id=words,
    source=words,
    category=words,
    window=windows,
    split=st.none() | st.sampled_from(Split),
    state=st.sampled_from(State),
    labels=st.lists(words, max_size=3).map(tuple),
    areas=st.lists(counts, max_size=3).map(tuple),
    defects=st.lists(
        st.builds(Defect, words, words, counts, st.tuples(counts, counts, counts, counts), st.floats(0, 1)), max_size=3
    ).map(tuple),
    image=st.none() | words,
    mask=st.none() | words,
    types=st.none() | words,
    ignore=st.none() | words,
    digest=st.none() | words,
)
coordinates = st.floats(allow_nan=False, allow_infinity=False)
findings = st.builds(
    Finding,
    code=st.sampled_from(Code),
    action=st.sampled_from(Action),
    source=words,
    shape=st.none() | st.integers(0, 10_000),
    detail=words,
    place=st.none() | st.tuples(coordinates, coordinates),
)


@given(st.lists(samples, max_size=5), st.lists(findings, max_size=5))
def test_what_is_written_is_read_again(rows: list[Sample], flaws: list[Finding]) -> None:
    with tempfile.TemporaryDirectory() as folder_:
        path = Path(folder_) / "rows.jsonl"
        path.write_bytes(b"".join(line(row_of(row)) for row in rows))
        assert list(read_samples(path)) == rows
        path.write_bytes(b"".join(line(row_of(flaw)) for flaw in flaws))
        assert list(read_findings(path)) == flaws
