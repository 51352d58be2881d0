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
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from threecad.errors import BusyError, ConfigError, LayoutError
from threecad.formats import layout
from threecad.formats.cases import CASES, DECISIONS, MOST_BYTES, Decisions
from threecad.formats.dataset import MANIFEST, SAMPLES, SUMS
from threecad.formats.remote import Place
from threecad.pipeline import record as records
from threecad.pipeline.files import HOME, Disk, Files, staged, write_atomically
from threecad.pipeline.record import CASE, File, Record

MOVES = f"{HOME}/moves.jsonl"


@dataclass(frozen=True, slots=True)
class _Line:
    journal: bool
    offset: int
    length: int


class Store:
    """The memory of one output folder; made by `hold`, which also locks it."""

    def __init__(self, out: Path, files: Files | None = None, place: Place | None = None) -> None:
        self.out = out
        self.place: Place = out if place is None else place
        """Where the data set is, as people name it; `out` is where its lists are written."""
        self.home = out / HOME
        self.files: Files = Disk(out.absolute()) if files is None else files  # a worker may stand in another folder
        self._lines: dict[str, _Line] = {}
        self._published: dict[str, _Line] = {}
        self._moved: dict[str, str] = {}
        self._whole = 0
        self._journal: BinaryIO | None = None
        self._files: dict[bool, FileIO] = {}

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

    def keep(self, finished: Record) -> None:
        """Remember a record; its files have been staged."""
        if self._journal is None:
            self._journal = (self.home / _name(True)).open("ab")
            self._journal.truncate(self._whole)  # a line torn by an interruption must not swallow the next one
        line = records.dumps(finished) + b"\n"
        offset = self._journal.seek(0, os.SEEK_END)
        self._journal.write(line)
        self._journal.flush()
        self.files.journal(line)
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
            self.write(f"{HOME}/{DECISIONS}", text)

    def decides(self) -> bool:
        """Whether a run under way, or one that broke off, has remembered decisions."""
        return (self.home / DECISIONS).is_file()

    def publish(self, ids: list[str], place: Callable[[Record], dict[tuple[int, str], str]]) -> Iterator[Record]:
        """Put the files of these sources where `place` says and yield each record as it then stands; forget all others.

        `place` maps (number of the tile or shape, role) to a path relative to the data set. Files that an earlier data set had
        and this one has not are deleted at the end. Every move is written down before the first is made.
        """
        wanted = set(ids)
        with (self.out / MOVES).open("ab") as file:
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
        self.files.send(MOVES)
        stale = {path for move in self._moves() for path in move if path and not path.startswith(f"{HOME}/staging/")}
        stale |= self._listed()

        fresh = self.home / "state.jsonl.new"
        lines: dict[str, _Line] = {}
        with fresh.open("wb") as state:
            for id_ in ids:
                found = self.record(id_)
                places = place(found)
                self._move(found, places)
                stale.difference_update(places.values())
                stands = _placed(found, places)
                lines[id_] = _append(state, stands)
                yield stands
            state.flush()
            os.fsync(state.fileno())
        self.files.delete(sorted(stale))
        self.files.settle()  # the tiles' own bytes must be there for good before anything says that they are
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
        self.files.clear_staging()
        self.drop(f"{HOME}/{DECISIONS}")
        self.drop(MOVES)

    def write(self, path: str, data: bytes) -> str:
        """Write a file of the data set beside its place, move it there, and return its sha256."""
        write_atomically(self.out / path, data)
        self.files.send(path)
        return hashlib.sha256(data).hexdigest()

    def drop(self, path: str) -> None:
        """Delete a list, if it is there."""
        (self.out / path).unlink(missing_ok=True)
        self.files.unsend(path)

    # --- inside

    def _origin(self, found: Record, number: int, role: str, kept: File) -> str:
        """Where a record says its file is, relative to the data set."""
        return kept.path or staged(found.key, number, role)

    def _present(self, origin: str) -> str:
        """Where that file is now: a publication that was cut short may have moved it."""
        if not self._moved:
            return origin
        passed = {origin}
        while not self.files.exists(origin) and self._moved.get(origin, origin) not in passed:
            origin = self._moved[origin]
            passed.add(origin)
        return origin

    def _whole_in(self, found: Record) -> bool:
        return all(
            self.files.holds(self._present(self._origin(found, number, role, file)), file, digest=file.path is None)
            for number, role, file in found.files()
        )

    def _move(self, found: Record, places: Mapping[tuple[int, str], str]) -> None:
        """Put the files of one record where they shall be."""
        moves = []
        for number, role, kept in found.files():
            target = places.get((number, role))
            here = self._present(self._origin(found, number, role, kept))
            if target is not None and here != target:
                moves.append((here, target))
        self.files.move(moves)

    def _listed(self) -> set[str]:
        """The tiles that a data set of ours lists, also one whose memory was lost; never a path that leaves the folder.

        Others have lists of that name too: what is not named as only our tiles are is theirs and stays.
        """
        try:
            lines = (self.out / SUMS).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return set()
        paths = {line[66:] for line in lines if line[64:66] == "  " and layout.is_tile(line[66:])}
        return {path for path in paths if not path.startswith("/") and ".." not in path.split("/")}

    def _moves(self) -> Iterator[tuple[str | None, str | None]]:
        path = self.out / MOVES
        if path.exists():
            for line in path.read_bytes().splitlines():
                with suppress(ValueError, TypeError, RecursionError):  # torn: the move was not made
                    to, origin = json.loads(line)
                    if isinstance(to, str | None) and isinstance(origin, str | None):
                        yield to, origin

    def _read(self, where: _Line) -> Record:
        if where.journal not in self._files:
            # Without a buffer: it would still show the torn line that `keep` has cut off and written over.
            self._files[where.journal] = (self.home / _name(where.journal)).open("rb", buffering=0)
        file = self._files[where.journal]
        file.seek(where.offset)
        return records.loads(file.read(where.length))

    def _adopt(self, fresh: Path, lines: dict[str, _Line]) -> None:
        self.close()
        self._lines = lines
        fresh.replace(self.home / "state.jsonl")
        self.files.send(f"{HOME}/state.jsonl")
        (self.home / _name(True)).unlink(missing_ok=True)
        self.files.end_journal()
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
    refuse_odd(out)
    if out.exists() and not out.is_dir():
        raise LayoutError(f"{out} is a file; expected a folder to write the data set into")
    if out.is_symlink() and not out.exists():
        raise LayoutError(f"{out} is a link that leads nowhere; expected a folder to write the data set into")
    if overwrite:
        return
    if out.is_dir() and not home.is_dir() and any(out.iterdir()):
        raise LayoutError(f"{out}{os.sep} holds files that threecad did not write; choose another folder or pass --overwrite")
    refuse_other_raw(home, f"{out}{os.sep}", raw, overwrite=overwrite)


def refuse_odd(out: Path) -> None:
    """Raise LayoutError where what a run reads and writes by name is a link, a pipe or a device, which leads elsewhere or waits.

    The lists beside the tiles may be links to files, as programs leave them that keep versions of data; a run replaces those.
    """
    home = out / HOME
    if home.is_symlink():
        raise LayoutError(f"{home} is a link; expected a folder that threecad made")
    expected = "expected a file that threecad wrote"
    for path in home.iterdir() if home.is_dir() else ():
        with suppress(FileNotFoundError):  # another run may be at it
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise LayoutError(f"{path}: found a link, a pipe or a device; {expected}")
    for path in (out / name for name in (MANIFEST, SAMPLES, SUMS, DECISIONS, CASES)):
        if path.exists() and not path.is_file():
            raise LayoutError(f"{path}: found a folder, a pipe or a device; {expected}")


def refuse_other_raw(home: Path, out: object, raw: str, *, overwrite: bool) -> None:
    """Raise LayoutError where what is remembered in `home`, of the data set `out`, is of another raw folder."""
    note = home / "raw"
    begun = note.exists() and any((home / _name(journal)).exists() for journal in (True, False))
    if begun and not overwrite and (before := _noted(note)) not in (None, raw):
        raise LayoutError(f"{out} was made from {before!r}, not {raw!r}; choose another folder or pass --overwrite")


def _noted(note: Path) -> str | None:
    """The name of the raw folder that was noted; None where the note is damaged."""
    try:
        name = json.loads(note.read_bytes())
    except (ValueError, RecursionError):
        return None
    return name if isinstance(name, str) else None


@contextmanager
def hold(out: Path, raw: str, *, overwrite: bool) -> Iterator[Store]:
    """Lock an output folder for one run, made if missing. `raw` is the name of the raw folder it is made from.

    Raises LayoutError as `refuse_foreign` does, and BusyError where another run holds the folder. `overwrite` allows a folder of
    others; files that threecad did not write stay where they are.
    """
    refuse_foreign(out, raw, overwrite=overwrite)
    (out / HOME).mkdir(parents=True, exist_ok=True)
    with locked(out), closing(Store(out)) as store:
        refuse_foreign(out, raw, overwrite=overwrite)  # the run that held it may just have made it
        write_atomically(store.home / "raw", json.dumps(raw).encode() + b"\n")
        yield store


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs away from a data set of ours. BusyError where one is at it."""
    lock = FileLock(out / HOME / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{out}{os.sep} is being written by another run; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def _placed(found: Record, places: Mapping[tuple[int, str], str]) -> Record:
    """The record with its files where they were put; a file that has no place any more is left out."""
    tiles = tuple(
        replace(
            piece,
            files={
                role: replace(kept, path=places[number, role]) for role, kept in piece.files.items() if (number, role) in places
            },
        )
        for number, piece in enumerate(found.tiles)
    )
    pictures = {number: replace(kept, path=places[number, CASE]) for number, kept in found.pictures.items()}
    return replace(found, tiles=tiles, pictures=pictures)


def _append(state: BinaryIO, found: Record) -> _Line:
    return _Line(False, state.tell(), state.write(records.dumps(found) + b"\n"))


def _name(journal: bool) -> str:
    return "journal.jsonl" if journal else "state.jsonl"


def _row(to: str | None, origin: str | None) -> bytes:
    return json.dumps([to, origin], ensure_ascii=False).encode() + b"\n"
