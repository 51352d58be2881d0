"""Files of a store that are looked into, and those that are fetched before they are asked for."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from threecad.formats.remote import s3
from threecad.formats.remote.asking import AT_ONCE, asked
from threecad.formats.remote.listing import Looks

if TYPE_CHECKING:
    from threecad.formats.remote.places import Remote

FIRST = 64 << 10
"""Bytes that a look into a file fetches first: the header of nearly every photograph, with its EXIF, for the price of any."""

SMALL = 1 << 20
"""Bytes up to which annotations are fetched before they are asked for, and kept while there is room."""

ROOM = 64 << 20


class Ranges(io.RawIOBase):
    """A file of a store that is looked into: each piece that is asked for comes at once, and no less than FIRST bytes."""

    def __init__(self, place: Remote, size: int) -> None:
        super().__init__()
        self.place = place
        self.size = size
        self._at = 0
        self._start = 0
        self._held = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self.size - self._at))
        if count and not self._start <= self._at <= self._at + count <= self._start + len(self._held):
            self._start = self._at
            self._held = self.place.part(self._at, min(self.size, self._at + max(count, FIRST)))
            count = min(count, len(self._held))
        here = self._at - self._start
        buffer[:count] = self._held[here : here + count]
        self._at += count
        return count


class Ahead:
    """Annotations that are read one after the other: the next ones are fetched meanwhile, many at once, as a disk reads ahead.

    Whoever reads them out of order waits for each. What was read is kept for `fetch`, as far as there is room for it, so that
    the run need not ask for it again.
    """

    def __init__(self, root: Remote, order: Sequence[str]) -> None:
        self._root = root
        self._order = order
        self._number = {path: number for number, path in enumerate(order)}
        self._last = -2
        self._coming: dict[str, Future[tuple[bytes, Looks]]] = {}
        self._kept: dict[str, tuple[bytes, Looks]] = {}
        self._bytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def read(self, place: Remote, looks: Looks) -> bytes:
        number = self._number.get(place.inner)
        if number is None:
            return place.part(0, None)
        with self._lock:
            if number == self._last + 1 and (number > 0 or len(self._order) > 1):
                self._fetch_more(number)
            self._last = number
            coming = self._coming.pop(place.inner, None)
        data, now = self._got(place) if coming is None else coming.result()
        with self._lock:
            if self._bytes + len(data) <= ROOM and place.inner not in self._kept:
                self._kept[place.inner] = data, now
                self._bytes += len(data)
        return data if len(data) == looks.st_size or coming is None else place.part(0, None)

    def taken(self, path: str) -> tuple[bytes, Looks] | None:
        with self._lock:
            kept = self._kept.pop(path, None)
            self._bytes -= 0 if kept is None else len(kept[0])
        return kept

    def _fetch_more(self, number: int) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="threecad-ahead")
        for path in self._order[number + 1 : number + 1 + 2 * AT_ONCE]:
            if path not in self._coming and path not in self._kept:
                self._coming[path] = self._pool.submit(self._got, self._root / path)

    def _got(self, place: Remote) -> tuple[bytes, Looks]:
        if self._root.to.s3:
            data, _, looks = asked(place, lambda: s3.fetched(place.to.fs, place.path, sys.maxsize))
            assert data is not None
            return data, looks
        return place.part(0, None), place.stat()
