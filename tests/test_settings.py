"""What a label table may say."""

import pytest
from pydantic import ValidationError

from threecad.errors import ConfigError
from threecad.imaging import polygons
from threecad.pipeline import config
from threecad.settings import Labels


def test_types_are_trimmed_and_normalised():
    labels = Labels(aliases={"a": " dent "}, categories={"part": {"b": "Gro\u0308ße\n"}})
    assert labels.aliases == {"a": "dent"}
    assert labels.categories == {"part": {"b": "Gr\u00f6ße"}}


@pytest.mark.parametrize("name", [polygons.IGNORE, polygons.BACKGROUND])
def test_a_near_miss_of_a_reserved_type_is_refused(name):
    assert Labels(aliases={"a": f" {name} "}).aliases == {"a": name}
    for near in (name.upper(), name.title(), f" {name.swapcase()}"):
        for table in ({"aliases": {"a": near}}, {"categories": {"part": {"a": near}}}):
            with pytest.raises(ValidationError, match=f"expected {name} exactly as here"):
                Labels(**table)


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_an_empty_type_is_refused(name):
    with pytest.raises(ValidationError, match="expected the name of a type"):
        Labels(aliases={"a": name})


def test_a_refused_type_is_told_in_one_sentence():
    with pytest.raises(ConfigError) as caught:
        config.parse('[labels.aliases]\n"do not care" = "__Ignore__"', "line7.toml")
    assert str(caught.value) == (
        "line7.toml: labels.aliases.do not care: expected __ignore__ exactly as here, which has a meaning of its own, "
        "or another name, found '__Ignore__'"
    )
