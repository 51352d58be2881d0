"""An image of a finished data set that others made, with its masks, in any layout."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np

from threecad.domain import Action, Code, Finding, Size, State
from threecad.errors import ConfigError, LayoutError, ReadError
from threecad.formats import images, layouts, masks
from threecad.formats.layout import GROUND_TRUTH
from threecad.formats.layouts import Request
from threecad.imaging import drawing
from threecad.pipeline.view.picture import Ask, View, measures, viewed
from threecad.pipeline.view.places import file_in, is_file, is_folder

_SPLITS = ("train", "test", "validation", "val")


def has_annotation(file: Path) -> bool:
    """Whether an annotation of the image's own name lies beside it."""
    return any(is_file(file.with_suffix(suffix)) for suffix in (".json", ".JSON"))


def category_of(file: Path) -> Path | None:
    """The category's folder in MVTec's layout: the file is <category>/<split or ground_truth>/<type>/<file>."""
    parents = Path(os.path.realpath(file)).parents
    if len(parents) < 3 or parents[1].name not in (*_SPLITS, GROUND_TRUTH):
        return None
    return parents[2] if any(is_folder(parents[2] / name) for name in ("train", "test")) else None


def in_folders(folder: Path, name: str, request: Request, ask: Ask) -> View:
    """An image of somebody else's data set, told by its id, its path or one of its masks'."""
    if ask.windows:
        raise ConfigError(f"{name}: --windows shows where tiles of a raw folder will be cut; this is a finished data set")
    if ask.shape is not None:
        raise ConfigError(f"{name}: --shape names a shape of an annotation; this image has a mask, whose shapes have no numbers")
    root = Path(os.path.realpath(folder))
    listing = layouts.read(root, request)
    path = Path(os.path.realpath(name)) if "\0" not in name else root
    wanted = {name, path.relative_to(root).as_posix()} if path.is_relative_to(root) else {name}
    found = (each for each in listing.entries if wanted & {each.id, each.image, *(mask.path for mask in each.masks)})
    entry = next(found, None)
    if entry is None or entry.image is None:
        raise LayoutError(
            f"{name}: is no image of {root.name}, nor the mask of one, as far as its layout ({listing.layout}) tells"
        )
    pixels = images.decode_file(file_in(root, entry.image), entry.image, images.MOST_PIXELS).pixels
    size = Size(*pixels.shape[:2])
    data = [_bytes(file_in(root, mask.path)) for mask in entry.masks]
    planes, flaws = masks.planes(data, entry, size)
    lost = (Code.MASK_OTHER_SIZE, Code.MASK_UNREADABLE)
    findings = [each for each in listing.findings if each.source in (entry.id, entry.image)]
    findings += [Finding(code, Action.DROPPED if code in lost else Action.KEPT, entry.id, None, text) for code, text in flaws]
    kinds = sorted(planes)
    inks = np.zeros(pixels.shape[:2], np.uint16)
    for kind in sorted(kinds, key=lambda each: -np.count_nonzero(planes[each])):  # the smaller on top
        inks[planes[kind]] = kinds.index(kind) + 1
    shown = drawing.frame(size, ask.longest)
    labels = f"type{'s' if len(entry.labels) > 1 else ''} {', '.join(entry.labels[:8])}" if entry.labels else ""
    told = [f"mask {mask.path}" for mask in entry.masks[:4]] or ["no mask"]
    facts = (f"split {entry.split}" if entry.split else "", f"category {entry.category}", labels, measures(size, shown), *told)
    scene = drawing.Scene(
        pixels=pixels,
        title=entry.image,
        facts=[fact for fact in facts if fact],
        names=[kind or "defect" for kind in kinds],
        inks=inks,
        findings=findings,
        state=entry.state or (State.DEFECT if kinds else State.GOOD),
    )
    return viewed(scene, shown, PurePosixPath(entry.image).stem, root, ask)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(images.most_bytes(images.MOST_PIXELS))
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be read: {error.strerror}") from None
