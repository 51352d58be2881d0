"""An annotation of more shapes than anybody drew is told, and is not worked through."""

from __future__ import annotations

from pathlib import Path

import pytest

from threecad.domain import Code
from threecad.errors import ReadError
from threecad.formats import labelme
from threecad.formats.raw import find
from threecad.settings import Reading


def annotation(shapes: int) -> bytes:
    return b'{"imagePath": "a.png", "shapes": [' + b",".join([b"{}"] * shapes) + b"]}"


def test_as_many_shapes_as_the_limit_are_read() -> None:
    assert labelme.peek_bytes(annotation(30), "a.json", max_shapes=30).shapes == 30
    assert len(labelme.parse(annotation(30), "a.json", "a.png", max_shapes=30).shapes) == 30


def test_more_shapes_than_the_limit_are_one_sentence() -> None:
    expected = r"^a.json: 2,000,000 shapes, more than the limit of 100,000 \(read.max_shapes\)$"
    for read in (labelme.peek_bytes, labelme.embedded_bytes):
        with pytest.raises(ReadError, match=expected):
            read(annotation(2_000_000), "a.json")
    with pytest.raises(ReadError, match=expected):
        labelme.parse(annotation(2_000_000), "a.json", "a.png")


@pytest.mark.parametrize("entry", [b"0", b"[]", b"null", b'"a"'])
def test_entries_that_are_no_shapes_count_too(entry: bytes) -> None:
    data = b'{"shapes": [' + b",".join([entry] * 31) + b"]}"
    with pytest.raises(ReadError, match="31 shapes, more than the limit of 30"):
        labelme.peek_bytes(data, "a.json", max_shapes=30)


def test_nothing_is_made_of_shapes_beyond_the_limit() -> None:
    file = labelme._file_of(labelme._Shape, 3).model_validate_json(annotation(4))
    assert file.shapes == [{}] * 4  # as they were parsed, and no model of any


def test_the_limit_is_a_setting_and_the_finding_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(annotation(8))
    [finding] = [each for each in find(tmp_path, Reading(max_shapes=7)).findings if each.code is Code.ANNOTATION_UNREADABLE]
    assert finding.detail == "a.json: 8 shapes, more than the limit of 7 (read.max_shapes)"
    assert find(tmp_path, Reading(max_shapes=8)).peeks["a.json"].shapes == 8
