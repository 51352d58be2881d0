"""`threecad view`: one photograph or one tile as a picture that shows what was drawn on it and what became of that.

photographs.py  one of a raw folder, as a conversion sees it     search.py   which one is meant
tiles.py        one of a data set that threecad wrote            folders.py  an image of anybody's data set
picture.py      the view, and where it goes                      places.py   what a name leads to
"""

from __future__ import annotations

from pathlib import Path

from threecad.errors import ConfigError, LayoutError
from threecad.formats.dataset import is_written
from threecad.formats.layouts import Request
from threecad.pipeline import config
from threecad.pipeline.config import Pipeline
from threecad.pipeline.view.folders import category_of, has_annotation, in_folders
from threecad.pipeline.view.photographs import photograph
from threecad.pipeline.view.picture import Ask, View, describe, save, show
from threecad.pipeline.view.places import is_file, is_folder
from threecad.pipeline.view.tiles import data_set_of, tile

__all__ = ["View", "describe", "save", "show", "view"]

LEAST, MOST = 16, 8192
"""Pixels of the longer side that a picture may be asked to have."""


def view(
    path: str | Path,
    *,
    data: str | Path | None = None,
    raw: str | Path | None = None,
    images: str | Path | None = None,
    pipeline: Pipeline | str | Path | None = None,
    windows: bool = False,
    longest: int = 1600,
    shape: int | None = None,
) -> View:
    """One image with its masks, outlines and findings.

    `path` is a labelme file, a photograph of a raw folder, a tile of a data set that threecad wrote, an image in a tree of
    MVTec's layout, or, where `data` names a data set in any layout, an image of it, a mask or an id. `raw` is the raw folder, by
    default the file's own folder: nothing outside it is opened, but for a folder that `images` names. Image and shapes are
    found, repaired and judged as a conversion with that `pipeline` does it.

    `windows` draws where tiles will be cut and what they will be called, `shape` shows only that shape (its number in the
    annotation, from 0) and what is around it. The longer side of the image has at most `longest` pixels.

    Raises ConfigError for a wrong number or option, LayoutError where a file is not where it should be, ReadError where one
    cannot be read.
    """
    if not LEAST <= longest <= MOST:
        raise ConfigError(f"longest: expected {LEAST} to {MOST} pixels, found {longest}")
    settings = pipeline if isinstance(pipeline, Pipeline) else Pipeline() if pipeline is None else config.load(pipeline)
    ask = Ask(longest, windows, shape)
    if data is not None:
        folder = Path(data)
        return tile(folder, str(path), ask) if is_written(folder) else in_folders(folder, str(path), Request(), ask)
    file = Path(path)
    if not is_file(file):
        found = "a folder" if is_folder(file) else "no such file"
        raise LayoutError(
            f"{file}: {found}; expected an annotation, an image or a tile (a sample's id needs its data set: --data)"
        )
    if raw is None and images is None and file.suffix.lower() != ".json":
        root = data_set_of(file)
        if root is not None:
            return tile(root, str(path), ask)
        category = category_of(file)
        if category is not None and not has_annotation(file):
            return in_folders(category, str(path), Request(layout="mvtec"), ask)
    return photograph(file, raw, images, settings, ask)
