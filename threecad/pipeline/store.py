"""What a run keeps beside the data set, so that any later run goes on where the last one stopped.

    OUT/.threecad/
        lock            held while a run writes
        raw             name of the raw folder the data set comes from
        state.jsonl     a Record a line, sorted by source: the data set as it stands
        journal.jsonl   Records finished since, appended one by one
        staging/        their files, encoded but not yet in place
        unused/         files that no split uses as things stand
        moves.jsonl     [to, from] of every move a publication under way makes, and [null, path] of what it deletes
        decisions.json  what people decided, until the data set holds it
        finished        digest of everything the data set was made from; written last

A record is appended only after its files are written, and files are known by their digest: whatever an interruption leaves
behind is either proved whole or done again. Publishing renames files into place and is repeated when it was cut short.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from threecad.errors import BusyError, ConfigError, LayoutError
from threecad.formats import layout
from threecad.formats.cases import DECISIONS, MOST_BYTES, Decisions
from threecad.pipeline import record as records
from threecad.pipeline.record import CASE, File, Record

HOME = ".threecad"


@dataclass(frozen=True, slots=True)
class _Line:
    journal: bool
    offset: int
    length: int


class Store:
    """The memory of one output folder; made by `hold`, which also locks it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.home = out / HOME
        self.staging = self.home / "staging"
        self._lines: dict[str, _Line] = {}
        self._published: dict[str, _Line] = {}
        self._moved: dict[str, str] = {}
        self._whole = 0
        self._journal: BinaryIO | None = None
        self._files: dict[bool, FileIO] = {}
        self._reading = threading.Lock()

    # --- reading

    def load(self, *, forget: bool = False) -> Iterator[Record]:
        """Every record whose files are still there, in no particular order; the others are forgotten.

        A file counts as there when size and time are as recorded, else when its digest is. What a broken-off run left is
        checked by digest always: after a power failure a file may have its size but not its bytes. `forget` gives none, but
        still knows which files of the data set are ours.
        """
        self._moved = {move[1]: move[0] for move in self._moves() if move[0] and move[1]}
        later = {found.source.id: line for found, line in self._scan(journal=True)}
        for found, line in self._scan(journal=False):
            self._published[found.source.id] = line
            if found.source.id not in later and not forget and self._whole_in(found):
                self._lines[found.source.id] = line
                yield found
        for id_, line in later.items() if not forget else ():
            found = self._read(line)
            if self._whole_in(found):
                self._lines[id_] = line
                yield found

    def _scan(self, *, journal: bool) -> Iterator[tuple[Record, _Line]]:
        path = self.home / _name(journal)
        if not path.exists():
            return
        offset = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # torn
                with suppress(ValueError):  # of an earlier version, or damaged: that source is done again
                    yield records.loads(line), _Line(journal, offset, len(line))
                offset += len(line)
        if journal:
            self._whole = offset

    def record(self, id_: str) -> Record:
        where = self._lines[id_]
        return self._read(where)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._lines

    # --- writing

    def stage(self, key: str, number: int, role: str, data: bytes) -> File:
        """Write one file beside the data set. `key` is the record's, so that runs with other settings never meet."""
        path = self._staged(key, number, role)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return File(hashlib.sha256(data).hexdigest(), len(data), path.stat().st_mtime_ns)

    def keep(self, finished: Record) -> None:
        """Remember a record; its files have been staged."""
        if self._journal is None:
            self._journal = (self.home / _name(True)).open("ab")
            self._journal.truncate(self._whole)  # a line torn by an interruption must not swallow the next one
        line = records.dumps(finished) + b"\n"
        offset = self._journal.seek(0, os.SEEK_END)
        self._journal.write(line)
        self._journal.flush()
        self._lines[finished.source.id] = _Line(True, offset, len(line))

    def decide(self, decisions: Decisions, *, before: bool) -> None:
        """Remember what people decided until the data set does, so that an interrupted run cannot forget it; also that nothing
        holds any more, where something did `before`."""
        text = decisions.text().encode()
        if len(text) > MOST_BYTES:
            raise ConfigError(
                f"{decisions.count:,} decisions are more than {MOST_BYTES >> 20} MB; expected fewer: the data set keeps all"
            )
        if decisions or before:
            write_atomically(self.home / DECISIONS, text)

    def decides(self) -> bool:
        """Whether a run under way, or one that broke off, has remembered decisions."""
        return (self.home / DECISIONS).is_file()

    def publish(self, ids: list[str], place: Callable[[Record], dict[tuple[int, str], str]]) -> Iterator[Record]:
        """Put the files of these sources where `place` says and yield each record as it then stands; forget all others.

        `place` maps (number of the tile or shape, role) to a path relative to the data set. Files that an earlier data set had
        and this one has not are deleted at the end. Every move is written down before the first is made.
        """
        wanted = set(ids)
        with (self.home / "moves.jsonl").open("ab") as file:
            for id_, line in self._published.items():
                if id_ not in wanted or self._lines.get(id_) != line:
                    file.writelines(_row(None, kept.path) for _, _, kept in self._read(line).files())
            for id_ in ids:
                found = self.record(id_)
                places = place(found)
                for number, role, kept in found.files():
                    target = places.get((number, role))
                    if target != kept.path:
                        file.write(_row(target, self._origin(found, number, role, kept)))
            file.flush()
            os.fsync(file.fileno())
        stale = {path for move in self._moves() for path in move if path and not path.startswith(f"{HOME}/staging/")}
        stale |= self._listed()

        fresh = self.home / "state.jsonl.new"
        made: set[Path] = set()
        lines: dict[str, _Line] = {}
        with fresh.open("wb") as state:
            for id_ in ids:
                found = self.record(id_)
                places = place(found)
                tiles = []
                for number, piece in enumerate(found.tiles):
                    files = {}
                    for role, kept in piece.files.items():
                        target = places.get((number, role))
                        if target is not None:
                            stale.discard(target)
                            self._move(found, number, role, kept, target, made)
                            files[role] = replace(kept, path=target)
                    tiles.append(replace(piece, files=files))
                pictures = {}
                for number, kept in found.pictures.items():
                    target = places[number, CASE]
                    stale.discard(target)
                    self._move(found, number, CASE, kept, target, made)
                    pictures[number] = replace(kept, path=target)
                stands = replace(found, tiles=tuple(tiles), pictures=pictures)
                lines[id_] = _append(state, stands)
                yield stands
            state.flush()
            os.fsync(state.fileno())
        for path in sorted(stale):
            (self.out / path).unlink(missing_ok=True)
        _remove_empty({(self.out / path).parent for path in stale}, self.out)
        if hasattr(os, "sync"):
            os.sync()  # the tiles' own bytes must be on the disk before anything says that they are there
        self._adopt(fresh, lines)

    def fold(self, ids: Iterable[str]) -> None:
        """Bring the journal's lines into the state without touching the data set."""
        if any(line.journal for line in self._lines.values()):
            fresh = self.home / "state.jsonl.new"
            with fresh.open("wb") as state:
                lines = {id_: _append(state, self.record(id_)) for id_ in ids}
                state.flush()
                os.fsync(state.fileno())
            self._adopt(fresh, lines)

    def clean(self) -> None:
        """Forget what only a broken-off publication needs; called when the data set is whole."""
        shutil.rmtree(self.staging, ignore_errors=True)
        (self.home / DECISIONS).unlink(missing_ok=True)
        (self.home / "moves.jsonl").unlink(missing_ok=True)

    def write(self, path: str, data: bytes) -> str:
        """Write a file of the data set beside its place, move it there, and return its sha256."""
        write_atomically(self.out / path, data)
        return hashlib.sha256(data).hexdigest()

    # --- inside

    def _staged(self, key: str, number: int, role: str) -> Path:
        return self.staging / key[:2] / f"{key[:32]}-{number}-{role}.{'jpg' if role == CASE else 'png'}"

    def _origin(self, found: Record, number: int, role: str, kept: File) -> str:
        """Where a record says its file is, relative to the data set."""
        return kept.path or self._staged(found.key, number, role).relative_to(self.out).as_posix()

    def _present(self, origin: str) -> Path:
        """Where that file is now: a publication that was cut short may have moved it."""
        here, passed = self.out / origin, {origin}
        while not here.exists() and self._moved.get(origin, origin) not in passed:
            origin = self._moved[origin]
            passed.add(origin)
            here = self.out / origin
        return here

    def _holds(self, found: Record, number: int, role: str, file: File) -> bool:
        return same(self._present(self._origin(found, number, role, file)), file, digest=file.path is None)

    def _whole_in(self, found: Record) -> bool:
        return all(self._holds(found, number, role, file) for number, role, file in found.files())

    def _move(self, found: Record, number: int, role: str, kept: File, target: str, made: set[Path]) -> None:
        goal = self.out / target
        here = self._present(self._origin(found, number, role, kept))
        if here == goal:
            return
        if goal.parent not in made:
            goal.parent.mkdir(parents=True, exist_ok=True)
            made.add(goal.parent)
        here.replace(goal)

    def _listed(self) -> set[str]:
        """The tiles that a data set of ours lists, also one whose memory was lost; never a path that leaves the folder.

        Others have lists of that name too: what is not named as only our tiles are is theirs and stays.
        """
        try:
            lines = (self.out / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return set()
        paths = {line[66:] for line in lines if line[64:66] == "  " and layout.is_tile(line[66:])}
        return {path for path in paths if not path.startswith("/") and ".." not in path.split("/")}

    def _moves(self) -> Iterator[tuple[str | None, str | None]]:
        path = self.home / "moves.jsonl"
        if path.exists():
            for line in path.read_bytes().splitlines():
                with suppress(ValueError, TypeError):  # torn: the move was not made
                    to, origin = json.loads(line)
                    if isinstance(to, str | None) and isinstance(origin, str | None):
                        yield to, origin

    def _read(self, where: _Line) -> Record:
        with self._reading:  # any worker may ask
            if where.journal not in self._files:
                # Without a buffer: it would still show the torn line that `keep` has cut off and written over.
                self._files[where.journal] = (self.home / _name(where.journal)).open("rb", buffering=0)
            file = self._files[where.journal]
            file.seek(where.offset)
            line = file.read(where.length)
        return records.loads(line)

    def _adopt(self, fresh: Path, lines: dict[str, _Line]) -> None:
        self.close()
        self._lines = lines
        fresh.replace(self.home / "state.jsonl")
        (self.home / _name(True)).unlink(missing_ok=True)
        self._whole = 0

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def refuse_foreign(out: Path, raw: str, *, overwrite: bool) -> None:
    """Raise LayoutError where `out` is a file, or a folder that threecad did not write, or wrote from another raw folder."""
    home = out / HOME
    if out.exists() and not out.is_dir():
        raise LayoutError(f"{out} is a file; expected a folder to write the data set into")
    if out.is_symlink() and not out.exists():
        raise LayoutError(f"{out} is a link that leads nowhere; expected a folder to write the data set into")
    if overwrite:
        return
    if out.is_dir() and not home.is_dir() and any(out.iterdir()):
        raise LayoutError(f"{out}{os.sep} holds files that threecad did not write; choose another folder or pass --overwrite")
    note = home / "raw"
    begun = note.exists() and any((home / _name(journal)).exists() for journal in (True, False))
    if begun and (before := _noted(note)) not in (None, raw):
        raise LayoutError(f"{out}{os.sep} was made from {before!r}, not {raw!r}; choose another folder or pass --overwrite")


def _noted(note: Path) -> str | None:
    """The name of the raw folder that was noted; None where the note is damaged."""
    try:
        name = json.loads(note.read_bytes())
    except ValueError:
        return None
    return name if isinstance(name, str) else None


@contextmanager
def hold(out: Path, raw: str, *, overwrite: bool) -> Iterator[Store]:
    """Lock an output folder for one run, made if missing. `raw` is the name of the raw folder it is made from.

    Raises LayoutError as `refuse_foreign` does, and BusyError where another run holds the folder. `overwrite` allows a folder of
    others; files that threecad did not write stay where they are.
    """
    refuse_foreign(out, raw, overwrite=overwrite)
    home = out / HOME
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{out}{os.sep} is being written by another run; wait for it, or choose another folder") from None
    store = Store(out)
    try:
        refuse_foreign(out, raw, overwrite=overwrite)  # the run that held it may just have made it
        write_atomically(home / "raw", json.dumps(raw).encode() + b"\n")
        yield store
    finally:
        store.close()
        lock.release()


def same(path: Path, file: File, *, digest: bool) -> bool:
    """Whether a path holds the bytes of a file: by size and time, or by size and digest where those differ or `digest` asks."""
    try:
        now = path.stat()
        if now.st_size != file.nbytes:
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


def _append(state: BinaryIO, found: Record) -> _Line:
    return _Line(False, state.tell(), state.write(records.dumps(found) + b"\n"))


def _name(journal: bool) -> str:
    return "journal.jsonl" if journal else "state.jsonl"


def _row(to: str | None, origin: str | None) -> bytes:
    return json.dumps([to, origin], ensure_ascii=False).encode() + b"\n"


def _remove_empty(folders: Iterable[Path], top: Path) -> None:
    """Delete folders that became empty, and those above them, but never `top`."""
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        while folder != top and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
