"""A data set in a store: what its runs write with, and what they remember. flags.py keeps one run away from the other.

The lists and the memory of a run are written to a folder on this machine, as on a disk, and each is sent to the store when it is
whole; tiles go to the store straight from whoever cuts them. Nothing that lies in that folder and not in the store counts: any
machine may go on with what another began, and the folder may be lost.

    OUT/.threecad/      as on a disk, but
        lock/           a flag of the run that writes
        journal/        the journal in pieces, 00000001.jsonl and so on: an object cannot be added to
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from threecad.errors import BusyError, LayoutError, ThreecadError
from threecad.formats.cases import DECISIONS
from threecad.formats.dataset import MANIFEST, SUMS
from threecad.formats.remote import AT_ONCE, Looks, Remote, hastily
from threecad.pipeline.files import HOME, STAGING, staged
from threecad.pipeline.flags import Flag
from threecad.pipeline.measures import ENVIRONMENT
from threecad.pipeline.record import File
from threecad.pipeline.store import MOVES, Store, refuse_other_raw

JOURNAL = f"{HOME}/journal"

STATE = f"{HOME}/state.jsonl"

FINISHED = f"{HOME}/finished"

LISTS = (f"{HOME}/raw", f"{HOME}/{DECISIONS}", FINISHED, STATE, MOVES, MANIFEST, DECISIONS, SUMS)
"""What a run needs of what an earlier one wrote."""

SEGMENT_SECONDS = 3.0

SEGMENT_BYTES = 4 << 20
"""A piece of the journal is sent when it is as old or as long: what a machine that dies may cost."""

BATCH = 1000
"""Files that are moved or deleted together: the most that S3 deletes with one request."""


class InStore:
    """A data set in a store, as `files.Files` describes it. Another process gets what stages tiles, and nothing else."""

    def __init__(self, out: Remote, home: Path | None = None, flag: Flag | None = None) -> None:
        self.out = out
        self._home = home
        self._flag = flag
        self._listing: _Listing | None = None
        self._before: _Listing | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._moving: deque[tuple[str, Future[bool]]] = deque()
        self._lines: list[bytes] = []
        self._since = 0.0
        self._segments: list[str] = []
        self._next = 1
        self._lost: ThreecadError | None = None
        self._sent: set[str] = set()
        self._writing = threading.Lock()
        self._seen: dict[str, list[int]] = {}

    def __reduce__(self) -> tuple[type[InStore], tuple[Remote]]:
        return InStore, (self.out,)

    # --- tiles

    def stage(self, key: str, number: int, role: str, data: bytes) -> File:
        (self.out / staged(key, number, role)).write(data)
        return File(hashlib.sha256(data).hexdigest(), len(data), 0)

    def holds(self, path: str, file: File, *, digest: bool) -> bool:
        """By one listing of everything, not by a request each. What is there is whole, so its size tells of what is staged; of
        what is published, its size and the store's clock: it was not written after the data set was finished, or, where a
        publication was cut short, after the moves were written down. Anything else is read."""
        listing = self._listed()
        found = listing.find(path)
        if found is None or found[0] != file.nbytes:
            return False
        if digest and (path.startswith(f"{STAGING}/") or 0 < listing.moves < found[1]):
            return True
        if not digest and 0 < found[1] <= listing.stood:
            return True
        try:
            return (self.out / path).fetch(file.nbytes)[1] == file.sha256
        except FileNotFoundError:
            return False

    def exists(self, path: str) -> bool:
        return self._listed().find(path) is not None

    def move(self, moves: Sequence[tuple[str, str]]) -> None:
        """Many at once; those that are under way when this comes back are done when `settle` does."""
        self._mine()
        pool = self._threads()
        for here, there in moves:
            self._moving.append((here, pool.submit((self.out / here).copy, self.out / there)))
        if len(self._moving) >= BATCH:
            self.settle()

    def delete(self, paths: Sequence[str]) -> None:
        self.settle()
        self._mine()
        for start in range(0, len(paths), BATCH):
            self._remove(paths[start : start + BATCH])

    def names(self, folder: str) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for path, _ in self.out.files(folder):
                yield path

    def settle(self) -> None:
        gone = []
        while self._moving:
            here, moved = self._moving.popleft()
            if moved.result():
                gone.append(here)
        if gone:
            self._remove(gone)

    def clear_staging(self) -> None:
        self.settle()
        self._mine()
        names = self.names(STAGING)
        while page := list(islice(names, BATCH)):
            self._remove(page)
        (self.out / STAGING).prune()

    # --- lists

    def send(self, path: str) -> None:
        self._mine()
        local = self._folder() / path
        self._sent.add(path)
        (self.out / path).send(local)
        if path in LISTS and local.stat().st_size > 1_000_000:  # worth a request that may save the next run fetching it
            self._note(path, (self.out / path).now())
        if path == MOVES:
            self._listing = None  # from here on it is asked what is where since earlier moves

    def unsend(self, path: str) -> None:
        self._mine()
        if path in self._sent or self._before is None or self._before.find(path) is not None:
            self.out.remove([path])
            self._sent.discard(path)

    # --- the journal

    def journal(self, line: bytes) -> None:
        self._mine()
        with self._writing:
            self._since = self._since if self._lines else time.monotonic()
            self._lines.append(line)
            if sum(map(len, self._lines)) >= SEGMENT_BYTES:
                self._send_segment()

    def tick(self) -> None:
        """Send the records that have waited long enough; called every second by the thread that keeps the flag."""
        try:
            with self._writing:
                if self._lines and time.monotonic() - self._since >= SEGMENT_SECONDS:
                    self._send_segment()
        except ThreecadError as error:
            self._lost = error

    def end_journal(self) -> None:
        with self._writing:
            self._lines.clear()
            segments, self._segments = self._segments, []
        self.delete(segments)

    def _send_segment(self) -> None:
        path = f"{JOURNAL}/{self._next:08}.jsonl"
        (self.out / path).write(b"".join(self._lines))
        self._segments.append(path)
        self._next += 1
        self._lines.clear()

    # --- what was there before

    def restore(self) -> None:
        """Bring the folder on this machine to what the store holds. What was fetched before and has not changed is kept."""
        home = self._folder()
        listing = self._before = self._listed()
        self._recall(home)
        kept = {path for path in LISTS if path in listing.lists and self._fresh(home / path, path, listing.lists[path])}
        _clear(home, kept)
        (home / HOME).mkdir(parents=True, exist_ok=True)
        self._seen = {path: self._seen[path] for path in kept}
        for path in LISTS:
            if path in listing.lists and path not in kept:
                (self.out / path).bring(home / path, listing.lists[path].st_size)
                self._note(path, listing.lists[path])
        self._segments = sorted(listing.segments)
        self._next = max((int(Path(path).stem) for path in self._segments), default=0) + 1
        if self._segments:
            with (home / HOME / "journal.jsonl").open("wb") as journal:
                for start in range(0, len(self._segments), AT_ONCE):
                    for piece in self._threads().map(self._read, self._segments[start : start + AT_ONCE]):
                        journal.write(piece if piece.endswith(b"\n") else piece + b"\n")

    def close(self) -> None:
        """Send what is left of the journal, if that is possible at once, and keep of the lists what the next run asks for."""
        with suppress(ThreecadError, OSError), hastily(), self._writing:
            if self._lines:
                self._send_segment()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        if self._home is not None:
            with suppress(OSError):
                _clear(self._home, set(self._seen))
                (self._home.parent / "seen.json").write_text(json.dumps(self._seen, sort_keys=True), encoding="utf-8")

    # --- inside

    def _folder(self) -> Path:
        assert self._home is not None, "only a run that was begun on this machine has lists"
        return self._home

    def _mine(self) -> None:
        """See to it that nobody else writes, before anything is written."""
        if self._lost is not None:
            raise self._lost
        if self._flag is not None:
            self._flag.check()

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="threecad-store")
        return self._pool

    def _remove(self, paths: Sequence[str]) -> None:
        if self.out.to.s3:
            self.out.remove(paths)
        else:
            deque(self._threads().map(lambda path: self.out.remove([path]), paths), maxlen=0)

    def _listed(self) -> _Listing:
        if self._listing is None:
            self._listing = _Listing(self._found())
        return self._listing

    def _found(self) -> Iterator[tuple[str, Looks]]:
        with suppress(FileNotFoundError):
            yield from self.out.files()

    def _read(self, path: str) -> bytes:
        return (self.out / path).read_bytes()

    def _note(self, path: str, looks: Looks) -> None:
        """Remember that the list on this machine is what the store holds, where its looks would tell a change."""
        if looks.st_ctime_ns:
            local = (self._folder() / path).stat()
            self._seen[path] = [looks.st_size, looks.st_mtime_ns, looks.st_ctime_ns, local.st_size, local.st_mtime_ns]

    def _recall(self, home: Path) -> None:
        try:
            seen = json.loads((home.parent / "seen.json").read_bytes())
            self._seen = {path: [int(each) for each in seen[path]] for path in LISTS if path in seen}
        except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            self._seen = {}

    def _fresh(self, local: Path, path: str, looks: Looks) -> bool:
        try:
            now = local.stat()
        except OSError:
            return False
        found = [looks.st_size, looks.st_mtime_ns, looks.st_ctime_ns, now.st_size, now.st_mtime_ns]
        return looks.st_ctime_ns != 0 and self._seen.get(path) == found


class _Listing:
    """What a store holds of a data set, 24 bytes a file: sizes and times by a digest of the path; the lists' looks by name.

    `stood` is when the data set, or what is remembered of it, was written; `moves` when moves were written down; 0 for never.
    """

    def __init__(self, found: Iterable[tuple[str, Looks]]) -> None:
        self.lists: dict[str, Looks] = {}
        self.segments: list[str] = []
        keys, sizes, times = array("Q"), array("q"), array("q")
        for path, looks in found:
            if path in LISTS:
                self.lists[path] = looks
            if path.startswith(f"{JOURNAL}/"):
                if path.removeprefix(f"{JOURNAL}/").removesuffix(".jsonl").isdecimal():
                    self.segments.append(path)
            else:
                keys.append(_short(path))
                sizes.append(looks.st_size)
                times.append(looks.st_mtime_ns)
        order = np.argsort(np.frombuffer(keys, np.uint64) if keys else np.empty(0, np.uint64), kind="stable")
        self._keys = np.frombuffer(keys, np.uint64)[order] if keys else np.empty(0, np.uint64)
        self._sizes = np.frombuffer(sizes, np.int64)[order] if keys else np.empty(0, np.int64)
        self._times = np.frombuffer(times, np.int64)[order] if keys else np.empty(0, np.int64)
        stood = self.lists.get(FINISHED) or self.lists.get(STATE)
        self.stood = stood.st_mtime_ns if stood else 0
        self.moves = self.lists[MOVES].st_mtime_ns if MOVES in self.lists else 0

    def find(self, path: str) -> tuple[int, int] | None:
        """The size and the time of a file; None where it is not there."""
        key = np.uint64(_short(path))
        number = int(np.searchsorted(self._keys, key))
        if number == len(self._keys) or self._keys[number] != key:
            return None
        return int(self._sizes[number]), int(self._times[number])


def _short(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def refuse_foreign(out: Remote, *, overwrite: bool) -> None:
    """Raise LayoutError where something else than a data set lies at `out`; asked with two short listings."""
    if overwrite or (out / HOME).is_dir():
        return
    if out.is_dir():
        raise LayoutError(f"{out}/ holds files that threecad did not write; choose another place or pass --overwrite")


@contextmanager
def alone(out: Remote) -> Iterator[tuple[Path, Flag]]:
    """Keep all other runs away from a place in a store; BusyError where one is at work. Its folder on this machine, and the flag,
    which is up and has to be kept so."""
    home = workspace(out)
    lock = FileLock(home / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{out} is being written by another run here; wait for it, or choose another place") from None
    flag = Flag(out, home / "flag")
    try:
        flag.take()
        yield home, flag
    finally:
        flag.end()
        lock.release()


@contextmanager
def hold(out: Remote, raw: str, *, overwrite: bool) -> Iterator[Store]:
    """Keep all other runs away from a place in a store for one run. `raw` is the name of the raw folder.

    Raises LayoutError where something else is there, and BusyError where another run is at work.
    """
    refuse_foreign(out, overwrite=overwrite)
    with alone(out) as (home, flag):
        files = InStore(out, home / "data", flag)
        store = Store(home / "data", files, out)
        try:
            files.restore()
            refuse_other_raw(store.home, out, raw, overwrite=overwrite)
            flag.keep(files.tick)
            noted = json.dumps(raw).encode() + b"\n"
            if not (store.home / "raw").is_file() or (store.home / "raw").read_bytes() != noted:
                store.write(f"{HOME}/raw", noted)
            yield store
        finally:
            store.close()
            files.close()


@contextmanager
def look(out: Remote, raw: str, *, overwrite: bool) -> Iterator[Store]:
    """What is remembered of the data set at `out`, to look at: nothing is written there, and no run is kept away."""
    refuse_foreign(out, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="threecad-") as folder:
        home = Path(folder, "data")
        files = InStore(out, home)
        store = Store(home, files, out)
        try:
            files.restore()
            refuse_other_raw(store.home, out, raw, overwrite=overwrite)
            yield store
        finally:
            store.close()
            files.close()


def workspace(out: Remote) -> Path:
    """The folder on this machine that holds the lists of a data set in a store while a run is at work; it may be lost."""
    if folder := os.environ.get(ENVIRONMENT):
        cache = Path(folder).absolute()
    else:
        from platformdirs import user_cache_path

        cache = user_cache_path("threecad", appauthor=False)
    home = cache / "stores" / hashlib.sha256(str(out).encode()).hexdigest()[:32]
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ThreecadError(f"{home}: cannot be made ({reason}); set {ENVIRONMENT} to a folder that can be written") from None
    return home


def _clear(home: Path, kept: set[str]) -> None:
    """Delete everything in a folder but the files that are kept."""
    for place, folders, names in os.walk(home, topdown=False):
        for name in names:
            path = Path(place, name)
            if path.relative_to(home).as_posix() not in kept:
                path.unlink()
        for name in folders:
            path = Path(place, name)
            if path.is_symlink():
                path.unlink()
            elif not any(path.iterdir()):
                shutil.rmtree(path)
