"""The folder beside a page: thumbnails and scripts that are too many to stand in the page itself.

Everything in it is named by a digest, so a name never means two things, and what a later page does not need can be told and
removed. A mark says that the folder is ours; in a folder without it nothing is written and nothing deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from threecad.errors import LayoutError
from threecad.pipeline.files import write_atomically

MARK = ".threecad-report"
_OURS = re.compile(r"[0-9a-f]{32}\.(jpg|js)|\.[0-9a-f]{16}\.new")
_SHELF = re.compile(r"[0-9a-f]{2}")


class Beside:
    """The folder `folder`, which is made when the first file is put into it.

    LayoutError where something else than an earlier report's folder has that name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: set[str] = set()
        if folder.is_symlink() or (folder.exists() and not (folder / MARK).is_file() and not _empty(folder)):
            raise LayoutError(f"{folder}: is not the folder of an earlier report; move it away, or choose another --out")

    @property
    def used(self) -> bool:
        """Whether the page needs the folder."""
        return bool(self._kept)

    def has(self, name: str) -> bool:
        """Whether the thumbnail of that name is there from an earlier run."""
        return (self.folder / name[:2] / f"{name}.jpg").is_file()

    def picture(self, name: str, data: bytes | None) -> str:
        """Keep a thumbnail, written if `data` is given; returns its path in the folder."""
        path = f"{name[:2]}/{name}.jpg"
        if data is not None:
            self._write(path, data)
        self._kept.add(path)
        return path

    def script(self, text: str) -> str:
        """Keep a script; returns its path in the folder."""
        data = text.encode()
        path = f"{hashlib.sha256(data).hexdigest()[:32]}.js"
        if path not in self._kept:
            self._write(path, data)
        self._kept.add(path)
        return path

    def sweep(self) -> None:
        """Delete what earlier reports put here and this one does not need; the folder, too, once it is empty."""
        if not (self.folder / MARK).is_file():
            return
        for folder in (self.folder, *(each for each in self.folder.iterdir() if _is_shelf(each))):
            for file in list(folder.iterdir()):
                path = file.relative_to(self.folder).as_posix()
                if path not in self._kept and _OURS.fullmatch(file.name) and file.is_file():
                    file.unlink()
            if folder != self.folder:
                with suppress(OSError):  # until it holds something
                    folder.rmdir()
        if not self._kept and {each.name for each in self.folder.iterdir()} == {MARK}:
            (self.folder / MARK).unlink()
            self.folder.rmdir()

    def _write(self, path: str, data: bytes) -> None:
        if not (self.folder / MARK).is_file():
            write_atomically(self.folder / MARK, b"Written by threecad report; files named by digests come and go.\n")
        place = self.folder / path
        if path.endswith(".jpg"):  # thousands of them, and easily made again: moved into place, but not each flushed to the disk
            if place.parent.is_symlink():
                raise LayoutError(f"{place.parent}: a link in a folder that threecad report writes; delete it")
            place.parent.mkdir(exist_ok=True)
            fresh = place.with_name(f".{place.name[:16]}.new")
            fresh.write_bytes(data)
            fresh.replace(place)
        else:
            write_atomically(place, data)


def _empty(folder: Path) -> bool:
    return folder.is_dir() and not os.listdir(folder)  # noqa: PTH208  an iterator that is given up warns


def _is_shelf(path: Path) -> bool:
    return _SHELF.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()
