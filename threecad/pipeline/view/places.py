"""What a name leads to on the disk: whether it is there, and nothing outside the folder that is looked at."""

from __future__ import annotations

import os
from pathlib import Path

from threecad.errors import LayoutError


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no folder can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def file_in(root: Path, name: str) -> Path:
    """The file of that name in the data set. LayoutError where it leads out of it, or there is none."""
    path = Path(os.path.realpath(root / name)) if "\0" not in name else root
    if not path.is_relative_to(root):
        raise LayoutError(f"{name[:200]!r} leads out of the data set {root.name}")
    if not is_file(path):
        raise LayoutError(f"{name[:200]}: no such file in {root.name}")
    return path
