"""The folder of results: metrics.json, images.jsonl and the figures, each written beside and moved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from threecad.errors import ThreecadError
from threecad.learning.evaluate.folders import METRICS, refuse_results
from threecad.learning.evaluate.results import Evaluation, as_json, rows
from threecad.pipeline.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = "images.jsonl"


def write(done: Evaluation, folder: Path, *, figures: bool = True) -> list[Path]:
    """Write metrics.json, images.jsonl (a line an image) and, unless told not to, the figures; the files, sorted.

    LayoutError if the folder is a file, ConfigError if it holds files and none of an earlier evaluation, ThreecadError if a file
    cannot be written.
    """
    refuse_results(folder)
    files = {METRICS: _json(as_json(done), indent=1), IMAGES: b"".join(_json(row) for row in rows(done))}
    if figures:
        from threecad.learning.evaluate import drawing

        files |= dict(drawing.render(done))
    written = []
    for name, data in files.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, data)
        except OSError as error:
            raise ThreecadError(f"{folder / name}: cannot be written ({error.strerror or error})") from None
        written.append(folder / name)
    return sorted(written)


def _json(value: object, indent: int | None = None) -> bytes:
    # A name may hold bytes that are no UTF-8.
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=indent, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")
