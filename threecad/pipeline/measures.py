"""What earlier runs measured, kept in the user's cache folder so that files which have not changed are not opened again.

    measures.sqlite
        files       a file's path and how it looked (size, times, inode) → the SHA-256 of its bytes
        measures    all that a measure depends on, as one SHA-256 → the measure

Several processes may use it at once, also on a network drive: SQLite's rollback journal needs no memory that they share, which
its write-ahead log does. A run never fails over its cache. What cannot be read or written is not used, and `note` says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import TypeAdapter

from threecad import __version__
from threecad.domain import HEAT, Measure
from threecad.pipeline.sources import RACY_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from threecad.domain import Entry

FORMAT = 1
"""Part of every key: raise it whenever the same files would measure otherwise than before."""
ENVIRONMENT = "THREECAD_CACHE"
"""Names the folder of the cache where it is set and not empty."""
FILE = "measures.sqlite"
LIMIT = 2_000_000_000
"""Bytes in use above which those used least recently go."""

_OURS = 0x33434144  # "3CAD": SQLite's application_id, so that nobody else's database is ever written into
_TABLES = 1  # SQLite's user_version: raised when the tables change
_PATIENCE = 5.0  # seconds to wait for another process, whose transactions take milliseconds
_LONGEST = 16_000_000  # bytes of one measure as JSON; a longer one is not kept
_DAY = 86_400  # seconds: when a row was used is told by the day, so that most runs need not write it
_MAKE = """
    CREATE TABLE files (path BLOB PRIMARY KEY, seen TEXT NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE measures (key BLOB PRIMARY KEY, image BLOB NOT NULL, used INTEGER NOT NULL, value BLOB NOT NULL);
    CREATE INDEX files_used ON files (used);
    CREATE INDEX measures_image ON measures (image);
    CREATE INDEX measures_used ON measures (used);
"""

Place = Path | Literal["default"] | None
"""The cache's folder, the usual one, or none."""


def key_of(entry: Entry, image: str, masks: Sequence[str]) -> bytes:
    """The digest of all that the measure of an entry depends on, given the digests of its image and of its masks ("" for a mask
    that cannot be opened). Where nothing is masked, what the layout says of the image makes no difference.
    """
    told = [[mask.kind, mask.types] for mask in entry.masks]
    said = [entry.labels, entry.state] if told else []
    return hashlib.sha256(json.dumps([FORMAT, __version__, image, list(masks), told, said]).encode()).digest()


def hint_of(key: bytes) -> int:
    return int.from_bytes(key[:8], "big")


def looks(stat: os.stat_result) -> str:
    """How a file looks from outside, as text: an inode may be larger than SQLite's integers."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


class Measures:
    """The cache, open. Only the thread that made it may use it; `close` it in the end.

    What was added is written by `flush`, in one short transaction. `note` tells, in one line, why the cache is not used or not
    written; None as long as it is, or where none is wanted.
    """

    def __init__(self, place: Place = "default") -> None:
        self.note: str | None = None
        self.path: Path | None = None
        self._base: sqlite3.Connection | None = None
        self._writes = True
        self._today = int(time.time()) // _DAY
        self._files: dict[bytes, tuple[str, bytes]] = {}
        self._measures: dict[bytes, tuple[bytes, bytes]] = {}
        self._used: tuple[set[bytes], set[bytes]] = set(), set()
        if place is not None:
            self._open(_folder() if place == "default" else place.absolute())

    # --- reading

    def digest(self, path: str, stat: os.stat_result) -> str | None:
        """The SHA-256 of a file, where it looks as it did when it was read."""
        key = os.fsencode(path)
        for seen, digest, used in self._ask("SELECT seen, digest, used FROM files WHERE path = ?", key):
            if seen == looks(stat) and isinstance(digest, bytes) and len(digest) == 32:
                if used != self._today:
                    self._used[0].add(key)
                return digest.hex()
        return None

    def find(self, key: bytes, image: str) -> Measure | None:
        """The measure under a key, where it is whole and belongs to the image file of that digest."""
        for value, used in self._ask("SELECT value, used FROM measures WHERE key = ?", key):
            return self._taken(key, value, used, image)
        return None

    def of_image(self, image: str) -> Measure | None:
        """Any measure of an image file, whatever its masks: what depends on the image alone holds."""
        asked = "SELECT key, value, used FROM measures WHERE image = ? ORDER BY key"
        for key, value, used in self._ask(asked, bytes.fromhex(image)):
            if (found := self._taken(key, value, used, image)) is not None:
                return found
        return None

    def hints(self) -> NDArray[np.uint64]:
        """The hint of every key, sorted: by it, threads that may not ask the cache can tell what is worth asking for."""
        if self._base is None:
            return np.empty(0, np.uint64)
        try:
            keys = self._base.execute("SELECT key FROM measures")  # may be millions: one by one
            return np.sort(np.fromiter((hint_of(key) for (key,) in keys if isinstance(key, bytes)), np.uint64))
        except sqlite3.DatabaseError as error:
            self._give_up(error)
            return np.empty(0, np.uint64)

    # --- writing

    def remember(self, path: str, stat: os.stat_result, digest: str) -> None:
        """Note the digest of a file as it was read just now; not of one so young that a change might not show."""
        if self._base is not None and time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) >= RACY_NS:
            self._files[os.fsencode(path)] = looks(stat), bytes.fromhex(digest)

    def keep(self, key: bytes, measure: Measure) -> None:
        if self._base is not None:
            text = _model().dump_json(replace(measure, heat=b""))
            if len(text) <= _LONGEST:
                self._measures[key] = bytes.fromhex(measure.digest), zlib.compress(text + b"\n" + measure.heat, 1)

    def flush(self) -> None:
        """Write what was added since, and forget what was used least recently where the cache is too large."""
        files, measures, used = self._files, self._measures, self._used
        self._files, self._measures, self._used = {}, {}, (set(), set())
        if self._base is None or not self._writes or not (files or measures or any(used)):
            return
        today = self._today
        try:
            self._base.execute("BEGIN IMMEDIATE")
            self._base.executemany("UPDATE files SET used = ? WHERE path = ?", [(today, path) for path in used[0]])
            self._base.executemany("UPDATE measures SET used = ? WHERE key = ?", [(today, key) for key in used[1]])
            rows = [(path, seen, digest, today) for path, (seen, digest) in files.items()]
            self._base.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
            values = [(key, image, today, value) for key, (image, value) in measures.items()]
            self._base.executemany("INSERT OR REPLACE INTO measures VALUES (?, ?, ?, ?)", values)
            if self._in_use() > LIMIT:
                self._shrink()
            self._base.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            with suppress(sqlite3.DatabaseError):
                self._base.execute("ROLLBACK")
            self._give_up(error, writing=True)

    def close(self) -> None:
        self.flush()
        base, self._base = self._base, None
        if base is not None:
            with suppress(sqlite3.DatabaseError):
                base.close()

    # --- inside

    def _open(self, folder: Path) -> None:
        self.path = folder / FILE
        if not folder.is_absolute():  # of a user without a home
            self.note = f"no cache: {self.path} is not an absolute path; set {ENVIRONMENT}"
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            self.note = f"no cache: {folder} cannot be made ({error.strerror})"
            return
        try:
            self._base = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            self._make()
        except sqlite3.DatabaseError as error:
            self._give_up(error)

    def _make(self) -> None:
        """See whose database it is, and give it its tables where it has none, or those of an earlier version."""
        base = self._base
        assert base is not None
        (owner,), (version,) = base.execute("PRAGMA application_id").fetchone(), base.execute("PRAGMA user_version").fetchone()
        if (owner, version) == (_OURS, _TABLES):
            return
        begun = base.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
        if (begun and owner != _OURS) or version > _TABLES:
            self.note = f"no cache: {self.path} belongs to {'a later threecad' if owner == _OURS else 'another program'}"
            self._base = None
            base.close()
            return
        base.execute("BEGIN IMMEDIATE")
        if base.execute("PRAGMA user_version").fetchone() != (_TABLES,):  # else another process has just made them
            for table in ("files", "measures"):
                base.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _MAKE.split(";"):
                base.execute(statement)
            base.execute(f"PRAGMA application_id = {_OURS}")
            base.execute(f"PRAGMA user_version = {_TABLES}")
        base.execute("COMMIT")

    def _ask(self, question: str, *values: bytes) -> list[tuple[Any, ...]]:
        if self._base is None:
            return []
        try:
            return self._base.execute(question, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._give_up(error)
            return []

    def _taken(self, key: bytes, value: object, used: object, image: str) -> Measure | None:
        found = _loaded(value)
        if found is None or found.digest != image:
            return None
        if used != self._today:
            self._used[1].add(key)
        return found

    def _give_up(self, error: sqlite3.DatabaseError, *, writing: bool = False) -> None:
        """Go on without the cache, or without writing it; move it aside where it is damaged."""
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        self._writes = False
        if damaged or not writing:
            base, self._base = self._base, None
            if base is not None:
                with suppress(sqlite3.DatabaseError):
                    base.close()
        if damaged:
            self._put_aside()
        if self.note is None:
            what = "was damaged and is put aside" if damaged else f"cannot be {'written' if writing else 'used'}"
            self.note = f"the cache {self.path} {what} ({error})"

    def _put_aside(self) -> None:
        """Journal first: it must never be played into the next database of that name."""
        assert self.path is not None
        with suppress(OSError):
            self.path.with_name(f"{FILE}-journal").unlink(missing_ok=True)
            self.path.replace(self.path.with_name(f"{FILE}.damaged"))

    def _in_use(self) -> int:
        assert self._base is not None
        pages, free, size = (
            self._base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _shrink(self) -> None:
        """Forget an eighth of the rows; the file does not shrink, but what comes next takes their place."""
        assert self._base is not None
        for table, name in (("files", "path"), ("measures", "key")):  # names of ours, so no SQL of others
            (count,) = self._base.execute(f"SELECT count(*) FROM {table}").fetchone()  # nosec B608
            oldest = f"SELECT {name} FROM {table} ORDER BY used LIMIT {count // 8 + 1}"  # nosec B608
            self._base.execute(f"DELETE FROM {table} WHERE {name} IN ({oldest})")  # nosec B608


def _folder() -> Path:
    if folder := os.environ.get(ENVIRONMENT):
        return Path(folder).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("threecad", appauthor=False)


@cache
def _model() -> TypeAdapter[Measure]:
    return TypeAdapter(Measure)


def _loaded(value: object) -> Measure | None:
    """The measure that `keep` packed, or None where it is damaged; the packing carries a checksum."""
    unpacking = zlib.decompressobj()
    try:
        if not isinstance(value, bytes):
            return None
        text = unpacking.decompress(value, _LONGEST + HEAT * HEAT + 1)
        line, _, heat = text.partition(b"\n")
        if not unpacking.eof or len(heat) not in (0, HEAT * HEAT):
            return None
        return replace(_model().validate_json(line), heat=heat)
    except (zlib.error, ValueError):
        return None
