"""Where the files of a data set lie, as the memory of a run (store.py) sees them: on a disk here, in a store in remote.py.

Tiles are staged first, by any thread, process or machine, and moved into place when the splits are known. The lists, and what a
run remembers, are always written to a folder on this machine; `send` and `journal` take them to a store, if that is where the
data set lies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from threecad.pipeline.record import CASE, File

HOME = ".threecad"
STAGING = f"{HOME}/staging"


class Files(Protocol):
    """What a run asks of the place it writes to. Paths are POSIX and relative to the data set. What cannot be done is an OSError.

    It may be pickled, and then stages files from other processes and machines.
    """

    def stage(self, key: str, number: int, role: str, data: bytes) -> File:
        """Write one file where `staged` says. Written twice, even at the same time, it is whole at any moment."""

    def holds(self, path: str, file: File, *, digest: bool) -> bool:
        """Whether a path holds these bytes: by size and time, or by size and digest where those differ or `digest` asks."""

    def exists(self, path: str) -> bool: ...

    def move(self, moves: Sequence[tuple[str, str]]) -> None:
        """Move each file from the first path to the second, whose folder is made; a file that is there is replaced."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, those that are there, and the folders that are empty then."""

    def names(self, folder: str) -> Iterator[str]:
        """The paths of all files below a folder, in order; none where there is no such folder."""

    def settle(self) -> None:
        """Come back when all that was written is there for good."""

    def send(self, path: str) -> None:
        """Take a list to where the data set is. It was written, whole, to the folder on this machine."""

    def unsend(self, path: str) -> None:
        """Delete a list where the data set is."""

    def journal(self, line: bytes) -> None:
        """Take a finished record's line to where the data set is, at once or soon."""

    def end_journal(self) -> None:
        """All records are in the state: the journal is not needed any more."""

    def clear_staging(self) -> None:
        """Delete what is staged."""


def staged(key: str, number: int, role: str) -> str:
    """Where a file waits for publication. `key` is the record's, so that runs with other settings never meet."""
    return f"{STAGING}/{key[:2]}/{key[:32]}-{number}-{role}.{'jpg' if role == CASE else 'png'}"


@dataclass(frozen=True, slots=True)
class Disk:
    """A data set in a folder."""

    out: Path

    def stage(self, key: str, number: int, role: str, data: bytes) -> File:
        path = self.out / staged(key, number, role)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
        beside.write_bytes(data)
        beside.replace(path)
        return File(hashlib.sha256(data).hexdigest(), len(data), path.stat().st_mtime_ns)

    def holds(self, path: str, file: File, *, digest: bool) -> bool:
        return same(self.out / path, file, digest=digest)

    def exists(self, path: str) -> bool:
        return (self.out / path).exists()

    def move(self, moves: Sequence[tuple[str, str]]) -> None:
        made: set[Path] = set()
        for here, there in moves:
            goal = self.out / there
            if goal.parent not in made:
                goal.parent.mkdir(parents=True, exist_ok=True)
                made.add(goal.parent)
            (self.out / here).replace(goal)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            (self.out / path).unlink(missing_ok=True)
        _remove_empty({(self.out / path).parent for path in paths}, self.out)

    def names(self, folder: str) -> Iterator[str]:
        for place, _, names in sorted(os.walk(self.out / folder)):
            for name in sorted(names):
                yield Path(place, name).relative_to(self.out).as_posix()

    def settle(self) -> None:
        if hasattr(os, "sync"):
            os.sync()

    def send(self, path: str) -> None:
        pass

    def unsend(self, path: str) -> None:
        pass

    def journal(self, line: bytes) -> None:
        pass

    def end_journal(self) -> None:
        pass

    def clear_staging(self) -> None:
        shutil.rmtree(self.out / STAGING, ignore_errors=True)


def same(path: Path, file: File, *, digest: bool) -> bool:
    """Whether a path holds the bytes of a file: by size and time, or by size and digest where those differ or `digest` asks."""
    try:
        now = path.stat()
        if now.st_size != file.nbytes or not stat.S_ISREG(now.st_mode):
            return False
        if not digest and now.st_mtime_ns == file.mtime_ns:
            return True
        return hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    except OSError:
        return False


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, and move into place: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may be as long as names can be; what stands for it is short.
    beside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def _remove_empty(folders: Iterable[Path], top: Path) -> None:
    """Delete folders that became empty, and those above them, but never `top`."""
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        while folder != top and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
