"""A pipeline file in a store, such as the one that a conversion leaves beside its data set."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="needs fsspec (the remote extra)")

from threecad.errors import ConfigError
from threecad.formats.remote import Remote
from threecad.pipeline.config import load

TEXT = b"[tiling]\nslice_size = 512\n"


def test_a_pipeline_is_read_from_a_store_and_from_a_url_of_this_disk(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_bytes(TEXT)
    place = Remote.at("memory://recipes/pipeline.toml")
    place.write(TEXT)
    for url in ("memory://recipes/pipeline.toml", f"file://{tmp_path}/pipeline.toml"):
        assert load(url).tiling.slice_size == 512


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), (b"\xff\xfe", "is not UTF-8 text"), (b"[tiling", "is not TOML")]
)
def test_one_that_cannot_be_is_a_sentence_that_names_it(content: bytes | None, said: str) -> None:
    url = f"memory://recipes/{len(said)}.toml"
    if content is not None:
        Remote.at(url).write(content)
    with pytest.raises(ConfigError, match=rf"^{url}: {said}"):
        load(url)
