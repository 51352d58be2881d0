"""A file of settings that nobody wrote by hand: one short sentence, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from threecad.errors import ConfigError
from threecad.pipeline.config import MOST_BYTES, load, parse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tiling]\nslice_size = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("[tiling]\nslice_size = 0x" + "f" * 5000, "found a number of thousands of digits"),
        ("[tiling]\nedge = '" + "x" * 10**6 + "'", "tiling.edge: input should be"),
        ("[tiling]\n" + "k" * 10**6 + " = 1", "is not a setting"),
        ("".join(f"k{number} = 1\n" for number in range(30_000)), "and 29,980 more"),
        ("a." * 50_000 + "a = 1", "is nested too deeply"),
        ("x = " + "[" * 10_000, "is nested too deeply"),
        ("#" * (MOST_BYTES + 1), "more than 4 MB; expected a file of settings"),
    ],
)
def test_it_ends_in_one_short_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.toml")
    assert str(caught.value).startswith("a.toml: ")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_a_file_without_an_end_is_too_long() -> None:
    with pytest.raises(ConfigError, match="more than 4 MB"):
        load(Path("/dev/zero"))
