"""The folder of results: metrics.json, images.jsonl and the figures, each written beside and moved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from threecad.errors import ThreecadError
from threecad.learning.evaluate.folders import METRICS, refuse_results
from threecad.learning.evaluate.record import as_json, rows
from threecad.pipeline.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from threecad.learning.evaluate.results import Evaluation

IMAGES = "images.jsonl"
PICTURES = ("cases.png", "pr.png", "pr.svg", "pro.png", "pro.svg", "roc.png", "roc.svg")


def write(done: Evaluation, folder: Path, *, figures: bool = True) -> list[Path]:
    """Write metrics.json, images.jsonl (a line an image) and, unless told not to, the figures; the files, sorted. Figures that an
    earlier evaluation left, and this one does not write, go.

    LayoutError if the folder is a file, ConfigError if it holds files and none of an earlier evaluation, ThreecadError if a file
    cannot be written.
    """
    refuse_results(folder)
    files = {METRICS: _json(as_json(done), indent=1), IMAGES: b"".join(_json(row) for row in rows(done))}
    if figures:
        from threecad.learning.evaluate import drawing

        files |= dict(drawing.render(done))
    path = folder
    try:
        for path in (folder / name for name in PICTURES if name not in files):
            path.unlink(missing_ok=True)  # it would show other numbers than those beside it
        for path, data in ((folder / name, data) for name, data in files.items()):
            write_atomically(path, data)
    except OSError as error:
        raise ThreecadError(f"{path}: cannot be written ({error.strerror or error})") from None
    return sorted(folder / name for name in files)


def _json(value: object, indent: int | None = None) -> bytes:
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=indent, allow_nan=False) + "\n").encode()
