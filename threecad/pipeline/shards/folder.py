"""The folder of an export: shards appear whole or not at all, and the index that lists them is written last.

OUT/index.json              every shard with its samples, bytes and SHA-256; where it stands, the export is whole
OUT/.threecad-export/       while an export is under way
    lock                    held while it writes
    plan.json               what it is made from, and the names that are its own
    journal.jsonl           shards that are finished, one a line
    *.new                   shards that are being written
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from threecad.errors import BusyError, LayoutError
from threecad.formats.layouts.files import contents
from threecad.pipeline.files import write_atomically
from threecad.pipeline.shards import parquet, tar

HOME = ".threecad-export"
INDEX, PLAN, JOURNAL = "index.json", "plan.json", "journal.jsonl"
FORMAT = 1
"""Version of the index."""
_MOST_NOTE = 256 << 20
_OURS = re.compile(f"({tar.PATTERN}|{parquet.PATTERN}|{re.escape(parquet.CARD)})")
"""Names that an export gives; nothing else is ever deleted, whatever a list says."""
_SAID = {
    "categories": "categories",
    "manifest": "data",
    "pyarrow": "pyarrow",
    "samples_per_shard": "samples a shard",
    "seed": "seed",
    "shard_bytes": "bytes a shard",
    "splits": "splits",
    "threecad": "version of threecad",
    "to": "format",
}


@dataclass(frozen=True, slots=True)
class Shard:
    """One finished file; `path` is POSIX and relative to the export."""

    path: str
    split: str
    samples: int
    bytes: int
    sha256: str


class _Shard(BaseModel):
    model_config = ConfigDict(strict=True)
    path: str
    split: str
    samples: int
    bytes: int
    sha256: str


class _Note(BaseModel):
    """What index.json and plan.json have in common."""

    model_config = ConfigDict(strict=True)
    format: int
    made_from: dict[str, Any]
    names: list[str]
    shards: list[_Shard] = []


class Sink:
    """A file that is being written beside its place; `finish` moves it there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.length = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.length += len(data)
        return self._file.write(data)

    def finish(self, place: Path) -> str:
        """Its SHA-256; it is on the disk before it has its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        place.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(place)
        return self._hash.hexdigest()

    def drop(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink()


@dataclass(slots=True)
class Folder:
    """An export's folder, held; made by `hold`."""

    out: Path
    known: dict[str, Shard] = field(default_factory=dict)
    _plan: dict[str, Any] = field(default_factory=dict)
    _stale: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def home(self) -> Path:
        return self.out / HOME

    def settle(self, made_from: Mapping[str, Any], names: Sequence[str], *, overwrite: bool) -> None:
        """Find out what is `known`: the shards of this very export that an earlier run finished.

        LayoutError where the folder is another export's and not to be overwritten, or holds a file of nobody's that has one of
        our names.
        """
        plan, index = _note(self.home / PLAN), _note(self.out / INDEX)
        latest = plan or index
        if latest is not None and latest.made_from != made_from and not overwrite:
            raise LayoutError(_other(self.out, latest.made_from, made_from))
        ours = {name for note in (plan, index) if note for name in note.names if _OURS.fullmatch(name)}
        self._refuse_strangers(ours, names)
        mine = [note for note in (plan, index) if note and note.made_from == made_from]
        found = [shard for note in mine for shard in note.shards] + (list(self._journal()) if plan in mine else [])
        self.known = {shard.path: Shard(**shard.model_dump()) for shard in found}
        self._plan = {"format": FORMAT, "made_from": dict(made_from), "names": sorted(ours.union(names))}
        self._stale = sorted(ours.difference(names))
        if not (index in mine and plan is None):
            self.begin()

    def begin(self) -> None:
        """Note that the export is not whole, and whose files are whose, before the first of them is touched."""
        if (note := _note(self.home / PLAN)) is None or note.made_from != self._plan["made_from"]:
            (self.home / JOURNAL).unlink(missing_ok=True)
        write_atomically(self.home / PLAN, _text(self._plan))
        write_atomically(self.home / JOURNAL, b"".join(map(_line, self.known.values())))
        (self.out / INDEX).unlink(missing_ok=True)
        for path in [*(self.out / name for name in self._stale), *sorted(self.home.glob("*.new"))]:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # the last Parquet file may have left it
            (self.out / "data").rmdir()

    def whole(self, path: str) -> Shard | None:
        """The shard as it is known, if its file has just those bytes."""
        shard = self.known.get(path)
        if shard is None:
            return None
        try:
            with (self.out / path).open("rb") as file:
                if os.fstat(file.fileno()).st_size != shard.bytes:
                    return None
                return shard if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256 else None
        except OSError:
            return None

    def write(self, path: str, split: str, samples: int, fill: Callable[[Sink], None]) -> Shard:
        """Let `fill` write a shard, move it into place and remember it. Any thread may call it."""
        sink = Sink(self.home / f"{path.replace('/', '-')}.new")
        try:
            fill(sink)
            shard = Shard(path, split, samples, sink.length, sink.finish(self.out / path))
        except BaseException:
            sink.drop()
            raise
        with self._lock, (self.home / JOURNAL).open("ab") as journal:
            journal.write(_line(shard))
        return shard

    def keep(self, name: str, data: bytes) -> None:
        """Write a small file of the export, where it does not stand so already."""
        place = self.out / name
        if not place.is_file() or place.read_bytes() != data:
            write_atomically(place, data)

    def finish(self, index: Mapping[str, Any]) -> None:
        """Write the index, and forget what only an interrupted export needs."""
        self.keep(INDEX, _text(index))
        shutil.rmtree(self.home, ignore_errors=True)

    def _journal(self) -> Iterator[_Shard]:
        try:
            lines = (self.home / JOURNAL).read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            with suppress(ValidationError):  # torn: that shard is written again
                yield _Shard.model_validate_json(line)

    def _refuse_strangers(self, ours: set[str], names: Sequence[str]) -> None:
        """Whoever reads `train-*.tar` takes every such file for a shard of this export."""
        wanted = set(names)
        for place in (self.out, self.out / "data"):
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                name = path.relative_to(self.out).as_posix()
                alike = name in wanted or (_OURS.fullmatch(name) and name != parquet.CARD)
                if alike and name not in ours:
                    raise LayoutError(f"{path}: not of this export, but has a name of its own; move it away")
        if (self.out / INDEX).exists() and _note(self.out / INDEX) is None:
            raise LayoutError(f"{self.out / INDEX}: not an index of threecad export, which has this name; move it away")


@contextmanager
def hold(out: Path) -> Iterator[Folder]:
    """Lock the folder of an export, made if missing. BusyError where another run holds it."""
    home = out / HOME
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{out}{os.sep} is being written by another run; wait for it, or choose another folder") from None
    try:
        yield Folder(out)
    finally:
        lock.release()
        with suppress(OSError):  # nothing is kept: then nothing stays, not even in a folder that was refused
            if {path.name for path in home.iterdir()} <= {"lock"}:
                shutil.rmtree(home)


def refuse_foreign(out: Path, *, overwrite: bool) -> None:
    """LayoutError where `out` is a file, or holds files that no export wrote."""
    if out.exists() and not out.is_dir():
        raise LayoutError(f"{out} is a file; expected a folder to write the shards into")
    if out.is_symlink() and not out.exists():
        raise LayoutError(f"{out} is a link that leads nowhere; expected a folder to write the shards into")
    if overwrite or not out.is_dir():
        return
    begun = _note(out / HOME / PLAN) or _note(out / INDEX)
    if begun is None and any(path.name != HOME for path in out.iterdir()):
        raise LayoutError(
            f"{out}{os.sep} holds files that threecad export did not write ({contents(out)}); "
            "choose another folder or pass --overwrite"
        )


def _other(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    told = [_SAID.get(key, key) for key in keys]
    return f"{out}{os.sep} is an export with other {' and '.join(told)}; choose another folder or pass --overwrite"


def _note(path: Path) -> _Note | None:
    """What such a file says; None where there is none, or it is anybody's."""
    try:
        if path.stat().st_size > _MOST_NOTE:
            return None
        note = _Note.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return note if note.format == FORMAT else None


def _line(shard: Shard) -> bytes:
    return json.dumps(asdict(shard), sort_keys=True).encode() + b"\n"


def _text(note: Mapping[str, Any]) -> bytes:
    return (json.dumps(note, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
