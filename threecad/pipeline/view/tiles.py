"""A tile of a data set that threecad wrote, with its masks and the findings that lie on it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.domain import Finding, Sample, Size, Window
from threecad.errors import ConfigError, LayoutError, ReadError
from threecad.formats import images
from threecad.formats.dataset import SAMPLES, is_written, read_findings, read_manifest, read_samples
from threecad.imaging import drawing
from threecad.pipeline.files import HOME
from threecad.pipeline.view.picture import Ask, View, measures, viewed
from threecad.pipeline.view.places import file_in, is_file

_FINDINGS = "findings.jsonl"
_FARTHEST = 2**31


def data_set_of(file: Path) -> Path | None:
    """The folder of the data set that threecad wrote in which a file lies. LayoutError where its conversion is not finished."""
    for folder in Path(os.path.realpath(file)).parents:
        if is_written(folder):
            return folder
        if (folder / HOME).is_dir():
            raise LayoutError(f"{folder.name} is not finished: run the same threecad convert again")
    return None


def tile(folder: Path, name: str, ask: Ask) -> View:
    """The view of a tile of the data set in `folder`, told by its id or by any of its files."""
    _no_windows(ask, name)
    root = Path(os.path.realpath(folder))
    manifest = read_manifest(root)
    sample = _sample(root, name)
    planes = {role: _plane(root, sample, role) for role in ("image", "mask", "types", "ignore")}
    pixels = planes["image"]
    if pixels is None:
        raise LayoutError(
            f"{sample.id}: no file was written of this tile ({sample.state}, no split uses it); view its source {sample.source!r}"
        )
    size = Size(*pixels.shape[:2])
    category = manifest.categories.get(sample.category)
    names = {kind.index: kind.name for kind in category.types} if category else {}
    told, inks = _inked(planes, names)
    around = None
    if ask.shape is not None:
        numbers = {_number(defect.uid): defect for defect in sample.defects}
        if ask.shape not in numbers:
            has = f"it shows {', '.join(map(str, sorted(numbers)[:20]))}" if numbers else "it shows no defect"
            raise ConfigError(f"{sample.id}: shape {ask.shape} is not on this tile; {has}")
        left, top, width, height = numbers[ask.shape].bbox
        around = (float(left), float(top), float(left + width), float(top + height))
    shown = drawing.frame(size, ask.longest, around)
    scene = drawing.Scene(
        pixels=pixels,
        title=sample.id,
        facts=_tile_facts(sample, measures(size, shown)),
        names=told,
        inks=_part(inks, shown.window),
        findings=_in_window(root, sample),
        state=sample.state,
    )
    return viewed(scene, shown, PurePosixPath(sample.id).name, root, ask)


def _number(uid: str) -> int:
    """The number of a region's first shape, -1 where its name does not tell."""
    number = uid.rpartition("#")[2]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else -1


def _no_windows(ask: Ask, name: str) -> None:
    if ask.windows:
        raise ConfigError(f"{name}: --windows shows where tiles will be cut; this is a tile already")


def _part(plane: NDArray[Any], window: Window) -> NDArray[Any]:
    return plane[window.top : window.top + window.size.height, window.left : window.left + window.size.width]


def _sample(root: Path, name: str) -> Sample:
    """The row of a tile, told by its id or by any of its files."""
    path = Path(os.path.realpath(name)) if "\0" not in name else root
    wanted, paths = {name}, {name}
    if path.is_relative_to(root) and is_file(path):
        inside = path.relative_to(root).as_posix()
        paths.add(inside)
        if inside.startswith(f"{HOME}/unused/"):
            wanted.add(path.stem.rpartition("-")[0])
        elif inside.startswith("previews/"):
            wanted.add(path.stem)
    for sample in read_samples(root / SAMPLES):
        if sample.id in wanted or not paths.isdisjoint({sample.image, sample.mask, sample.types, sample.ignore}):
            window = sample.window
            numbers = (window.left, window.top, *(length for defect in sample.defects for length in defect.bbox))
            if any(abs(number) > _FARTHEST for number in numbers):
                raise ReadError(f"{SAMPLES}: the window or a box of {sample.id[:200]!r} lies where no image reaches")
            return sample
    raise LayoutError(f"{name} is no sample of {root.name}; expected an id or a file that its {SAMPLES} names")


def _plane(root: Path, sample: Sample, role: str) -> NDArray[Any] | None:
    """The pixels of one of the tile's files, None where it has none. What no split uses stands out of sight, if anywhere."""
    named = getattr(sample, role)
    name = named or f"{HOME}/unused/{sample.id}-{role}.png"
    if not named and not ("\0" not in name and is_file(root / name)):
        return None
    path = file_in(root, name)
    pixels = images.decode_file(path, name, images.MOST_PIXELS).pixels
    return pixels if role == "image" or pixels.ndim == 2 else pixels.max(axis=2)


def _inked(planes: dict[str, NDArray[Any] | None], names: dict[int, str]) -> tuple[list[str | None], NDArray[Any]]:
    """Types and the pixels as their numbers, from a tile's masks. What only the mask marks is a type of its own."""
    pixels = planes["image"]
    assert pixels is not None
    for role in ("mask", "types", "ignore"):
        plane = planes[role]
        if plane is not None and plane.shape != pixels.shape[:2]:
            found, expected = (f"{width} × {height}" for height, width in (plane.shape, pixels.shape[:2]))
            raise ReadError(f"the tile's {role} file is {found} pixels (width × height), expected {expected} as its image")
    types, mask, ignore = planes["types"], planes["mask"], planes["ignore"]
    inks = np.zeros(pixels.shape[:2], np.uint16) if types is None else types.astype(np.uint16)
    present = np.unique(inks[inks > 0]).tolist()
    told: list[str | None] = []
    if max([*present, *names], default=0) <= len(drawing.PALETTE):
        told += [names.get(index, f"index {index}") for index in range(1, max([*present, *names], default=0) + 1)]
    else:  # the colours go to those that are here
        told += [names.get(index, f"index {index}") for index in present]
        inks = np.where(inks > 0, np.searchsorted(np.array(present), inks) + 1, 0).astype(np.uint16)
    if mask is not None and ((mask > 0) & (inks == 0)).any():
        told.append("defect" if types is None else "mask without type")
        inks[(mask > 0) & (inks == 0)] = len(told)
    if ignore is not None and ignore.any():
        told.append(None)
        inks[ignore > 0] = len(told)
    return told, inks


def _tile_facts(sample: Sample, measures: str) -> list[str]:
    place = f"at ({sample.window.left}, {sample.window.top}) of {sample.source}"
    facts = [f"split {sample.split}" if sample.split else "in no split", f"category {sample.category}", measures, place]
    if sample.clean:
        facts.append("good by the annotator's word alone")
    for defect in sorted(sample.defects, key=lambda each: _number(each.uid))[:8]:
        facts += [f"shape {_number(defect.uid)}: {defect.area:,} px, {defect.share:.0%} of it"]
    if len(sample.defects) > 8:
        facts.append(f"and {len(sample.defects) - 8} more defects")
    return facts


def _in_window(root: Path, sample: Sample) -> list[Finding]:
    """The findings about the tile's source whose place the tile shows, in the tile's frame."""
    if not is_file(root / _FINDINGS):
        return []
    window = sample.window
    found = []
    for finding in read_findings(root / _FINDINGS):
        if finding.source == sample.source and finding.place is not None:
            x, y = finding.place[0] - window.left, finding.place[1] - window.top
            if 0 <= x <= window.size.width and 0 <= y <= window.size.height:
                found.append(replace(finding, place=(x, y)))
    return found
