"""Which photographs there are, what the files made of each are called, and which model looks at it."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import TYPE_CHECKING

from threecad.domain import Action, Code
from threecad.errors import ConfigError, LayoutError
from threecad.formats.layouts.files import SUFFIXES, contents, joined, listed, shown, walk
from threecad.learning.predict.ledger import HOME

if TYPE_CHECKING:
    from threecad.learning.runs import Run, Trained

_MADE = (".png", ".jpg", ".json")
"""Suffixes of what is made of an image; a copy of it has its own."""
_MASKS = "ground_truth"
"""Folders of masks in data sets, so that such a one can be looked at as a whole."""
_LONGEST = 240
"""Bytes of a file's name, its suffix aside; file systems end at 255."""


@dataclass(frozen=True, slots=True)
class Found:
    """`paths` are POSIX, relative to `root` and sorted; `passed` tells why what looks like an image is not among them."""

    root: Path
    paths: tuple[str, ...]
    passed: dict[str, str]


def find(images: Path, out: Path) -> Found:
    """The images in a folder and all folders below it, or the one file. Hidden ones do not count, nor what is in `out` or another
    folder that a prediction was written into, nor masks (folders named ground_truth).

    LayoutError where there is no image, ConfigError where `out` holds them.
    """
    root, target = images.resolve(), out.resolve()
    if images.exists() and root.is_relative_to(target):
        raise ConfigError(f"{out} contains the photographs in {images}; choose an output folder beside them")
    if images.is_file():
        try:
            images.name.encode()
        except UnicodeEncodeError:
            raise LayoutError(f"{images}: the name is not UTF-8; rename the file") from None
        return Found(images.parent, (images.name,), {})
    if not images.exists():
        raise LayoutError(f"{images}: no such file or folder; expected photographs")
    tree = walk(images)
    own = target.relative_to(root).as_posix() if target.is_relative_to(root) else None
    passed_over = {
        folder
        for folder in tree.folders
        if folder == own or folder.rpartition("/")[2] == _MASKS or (folder and (root / folder / HOME).is_dir())
    }
    skipped = {below for folder in passed_over for below in tree.below(folder)}
    paths = [joined(folder, name) for folder in tree.folders if folder not in skipped for _, name in tree.images(folder)]
    passed = {
        finding.source: finding.detail
        for finding in tree.findings
        # A link to a folder inside is no loss: what it leads to is found where it lies.
        if finding.action is Action.DROPPED
        and finding.code is not Code.UNKNOWN_FOLDER
        and _may_matter(finding.source)
        and finding.source.rpartition("/")[0] not in skipped
    }
    if not paths and not passed:
        raise LayoutError(f"{images}: found {contents(images)}; expected photographs ({listed(SUFFIXES)})")
    return Found(images, tuple(sorted(paths)), passed)


def _may_matter(path: str) -> bool:
    """Whether it looks like an image, or a folder of images."""
    suffix = splitext(path)[1].lower()
    return suffix in SUFFIXES or suffix not in (".csv", ".json", ".jsonl", ".manifest", ".txt")


def names(paths: Iterable[str], guarded: Callable[[str, str], bool] | None = None) -> dict[str, str]:
    """What the files made of each image are called: its path without the suffix; with it where two would be called alike, or one
    like a folder, on a file system that tells upper from lower case or on one that does not. `guarded` tells of a name and a path
    whether that name is not to be had for it.

    >>> names(["a.png", "part/b.png", "part/B.jpg"])
    {'a.png': 'a', 'part/b.png': 'part/b.png', 'part/B.jpg': 'part/B.jpg'}
    """
    found = {path: _short(splitext(path)[0]) for path in paths}
    folders = {_folded(str(folder)) for path in found for folder in PurePosixPath(path).parents}

    def taken(path: str, name: str) -> bool:
        if guarded is not None and guarded(name, path):
            return True
        return held[_folded(name)] > 1 or any(_folded(name + end) in folders for end in (*_MADE, splitext(path)[1]))

    for longer in (_short, _marked):
        # What got a longer name may now be called like another one.
        while True:
            held = Counter(map(_folded, found.values()))
            alike = [path for path, name in found.items() if taken(path, name) and name != longer(path)]
            if not alike:
                break
            found.update((path, longer(path)) for path in alike)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _short(path: str) -> str:
    """The path, its last part cut where a suffix would make it longer than names can be."""
    name = path.rpartition("/")[2]
    return path if len(name.encode()) <= _LONGEST else _marked(path)


def _marked(path: str) -> str:
    """The path with a mark that no other has."""
    folder, _, name = path.rpartition("/")
    mark = hashlib.sha256(path.encode()).hexdigest()[:12]
    return joined(folder, f"{name.encode()[: _LONGEST - 13].decode(errors='ignore')}-{mark}")


def models(run: Run, paths: Sequence[str], category: str | None) -> dict[str, Trained]:
    """The model of each image: that of `category`, the only one, or the one of the category that the first folder names.

    ConfigError where the run has no such model, or an image lies in no folder of a category.
    """
    if category is not None or len(run.contents.models) == 1:
        model = run.model(category)
        return dict.fromkeys(paths, model)
    known = {_folded(name): model for name, model in run.models.items()}
    found = {path: known.get(_folded(path.split("/")[0])) if "/" in path else None for path in paths}
    without = [path for path, model in found.items() if model is None]
    if without:
        raise ConfigError(
            f"{run.root}: has {len(run.contents.models)} models, and {len(without)} of {len(paths)} images, the first "
            f"{shown(without[0])}, are in no folder called like one of {listed(run.models)}; name one with --category"
        )
    return {path: model for path, model in found.items() if model is not None}


def relative(image: Path, folder: Path) -> str:
    """Where an image lies, as a file in `folder` names it: POSIX; its name alone where no path leads there (another drive)."""
    real = Path(os.path.realpath(image.parent)) / image.name
    try:
        return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
    except ValueError:
        return image.name
