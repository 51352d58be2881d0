"""A folder or a file of a store, which answers the few questions that the reading code asks of a `Path`."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast
from urllib.parse import quote, unquote

from threecad.errors import ConfigError
from threecad.formats.remote import s3
from threecad.formats.remote.asking import StoreError, asked
from threecad.formats.remote.listing import Looks, Tree, put
from threecad.formats.remote.reading import FIRST, SMALL, Ahead, Ranges
from threecad.formats.remote.systems import keep, ls, options, parent, prune, rename

PIECE = 64 << 20
"""Bytes that are in memory when a file is brought to this machine."""

_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"})
"""Stores of objects: no folders to make, a file is there when it is whole, and copied there rather than renamed."""


def is_url(place: object) -> bool:
    """Whether this names something in a store.

    >>> is_url("s3://parts/line7"), is_url("line7/good"), is_url(Path("s3:/parts"))
    (True, False, False)
    """
    return isinstance(place, str) and "://" in place


def place_of(named: str | Path) -> Place:
    """The folder that a path or a URL names; file:// is a path like any other.

    >>> place_of("line7").name, place_of("file:///data/line7").name, str(place_of("memory://line7/"))
    ('line7', 'line7', 'memory://line7')
    """
    if not isinstance(named, str) or not is_url(named):
        return Path(named)
    if named.startswith(("file://", "local://")):
        return Path("/" + named.partition("://")[2].lstrip("/"))
    return Remote.at(named)


def shown(url: str) -> str:
    """A URL without whatever secret somebody put into it.

    >>> shown("sftp://anna:secret@host/parts"), shown("https://host/parts?sig=abc"), shown("s3://parts/a")
    ('sftp://host/parts', 'https://host/parts', 's3://parts/a')
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme in ("http", "https"):
        path = path.partition("?")[0]
    user, _, server = host.rpartition("@")
    return f"{scheme}://{server if ':' in user else host}{slash}{path}"


@dataclass(slots=True, eq=False)
class _Connection:
    """One URL's file system, and what was learned of what lies below it. `root` is as the file system names it."""

    url: str
    first: Any
    root: str
    tree: Tree | None = None
    ahead: Ahead | None = None
    made: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fs(self) -> Any:
        """fsspec's asynchronous file systems serve all threads; of the others it keeps one for each."""
        if self.first.async_impl or self.protocols & {"memory"}:
            return self.first
        return type(self.first)(*self.first.storage_args, **self.first.storage_options)

    @property
    def protocols(self) -> frozenset[str]:
        named = self.first.protocol
        return frozenset({named} if isinstance(named, str) else named)

    @property
    def s3(self) -> bool:
        return hasattr(self.first, "call_s3")

    @property
    def web(self) -> bool:
        return bool(self.protocols & {"http", "https"})

    @property
    def objects(self) -> bool:
        return bool(self.protocols & _OBJECTS)


@dataclass(frozen=True, slots=True, eq=False)
class Remote:
    """A file or folder of a store: `inner` is its path below the place that was named, with forward slashes.

    It may be pickled: what goes along is the URL, and whoever unpickles it connects by their own means.

    >>> import fsspec
    >>> with fsspec.open("memory://line7/good/a.txt", "wb") as file: _ = file.write(b"abc")
    >>> root = Remote.at("memory://line7")
    >>> root.name, list(root.entries("")), (root / "good/a.txt").stat().st_size, (root / "good/a.txt").read_bytes()
    ('line7', [('good', True, None)], 3, b'abc')
    """

    to: _Connection
    inner: str = ""

    @classmethod
    def at(cls, url: str) -> Remote:
        """The place a URL names. Raises ConfigError where fsspec, or what it needs for such URLs, is missing or refuses it."""
        seen = shown(url)
        if re.search(r"://[^/@]*:[^/]*@", url):
            raise ConfigError(
                f"{seen}: found a password in the URL, where histories and lists of processes show it; expected it where fsspec "
                "looks by itself: its configuration, the environment, a key file"
            )
        if "?" in url and (url.startswith("http") or "?versionId=" in url):
            raise ConfigError(f"{seen}: found a query in the URL; expected the address of a folder")
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ConfigError(f"{seen}: expected fsspec for such places, found none; pip install 'threecad[remote]'") from None
        try:
            fs, path = asked(seen, lambda: url_to_fs(url, **options(url)))
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{seen}: {str(error).splitlines()[0]}") from None
        root = path.rstrip("/")
        if not root.strip("/") and getattr(fs, "call_s3", None):
            raise ConfigError(f"{seen}: expected the name of a bucket, found none")
        if hasattr(fs, "call_s3"):
            fs.retries = 1  # `asked` tries again
        keep(fs)
        return cls(_Connection(url.rstrip("/"), fs, root))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.to.url, self.inner)

    def __truediv__(self, name: str) -> Remote:
        return Remote(self.to, f"{self.inner}/{name}" if self.inner else name)

    def __str__(self) -> str:
        base = shown(self.to.url)
        return f"{base}/{self.inner}" if self.inner else base

    @property
    def name(self) -> str:
        return unquote(self.path.rpartition("/")[2]) if self.to.web else self.path.rpartition("/")[2]

    @property
    def path(self) -> str:
        """As the file system names it."""
        inner = quote(self.inner) if self.to.web else self.inner
        return f"{self.to.root}/{inner}" if inner else self.to.root

    # --- reading

    def stat(self) -> Looks:
        """As it was listed, else as the store says now; FileNotFoundError where there is nothing."""
        folder, _, name = self.inner.rpartition("/")
        found = self.to.tree.get(folder, {}).get(name) if self.to.tree is not None else None
        return found if isinstance(found, Looks) and found.st_size >= 0 else self.now()

    def now(self) -> Looks:
        """As the store says at this moment."""
        fs = self.to.fs
        if self.to.s3:
            return Looks.of(asked(self, lambda: s3.seen(fs, self.path)))
        return Looks.of(asked(self, lambda: (fs.invalidate_cache(parent(self.path)), fs.info(self.path))[1]))

    def open(self, mode: Literal["rb"] = "rb", buffering: int = -1) -> BinaryIO:
        """A file to look into. A small annotation comes whole, and those that follow it are fetched meanwhile; of anything else,
        what is read comes, and little more."""
        looks = self.stat()
        if stat.S_ISDIR(looks.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self))
        if self.to.ahead is not None and looks.st_size <= SMALL:
            return io.BytesIO(self.to.ahead.read(self, looks))
        return cast(
            "BinaryIO", io.BufferedReader(Ranges(self, looks.st_size), FIRST) if buffering else Ranges(self, looks.st_size)
        )

    def read_bytes(self) -> bytes:
        data, _, _, _ = self.fetch(sys.maxsize)
        assert data is not None
        return data

    def fetch(self, limit: int) -> tuple[bytes | None, str, Looks, Looks]:
        """The bytes, None where they are more than `limit`; their sha256; how the file looked before and after.

        From S3 this is one request, which tells the looks of the very bytes it brings."""
        if self.to.ahead is not None and (kept := self.to.ahead.taken(self.inner)) is not None:
            data, looks = kept
            return data, hashlib.sha256(data).hexdigest(), looks, looks
        if self.to.s3:
            whole, digest, looks = asked(self, lambda: s3.fetched(self.to.fs, self.path, limit))
            if whole is not None:
                digest = hashlib.sha256(whole).hexdigest()
            return whole, digest, looks, looks
        before = self.stat()
        if before.st_size > limit:
            digest = asked(self, lambda: self._digested())
            return None, digest, before, self.now()
        data = self.part(0, None)
        after = before if len(data) == before.st_size else self.now()
        return data, hashlib.sha256(data).hexdigest(), before, after

    def part(self, start: int, end: int | None) -> bytes:
        """The bytes from `start` up to `end`, the end of the file where that is None."""
        whole = start == 0 and end is None
        if whole and self.to.s3:
            return cast("bytes", asked(self, lambda: s3.fetched(self.to.fs, self.path, sys.maxsize)[0]))
        data: bytes = asked(self, lambda: self.to.fs.cat_file(self.path, start=None if whole else start, end=end))
        return data

    def bring(self, local: Path, size: int) -> None:
        """Write the file, of that many bytes, to one on this machine, a piece at a time. StoreError where it has more or less."""
        local.parent.mkdir(parents=True, exist_ok=True)
        with local.open("wb") as file:
            for start in range(0, size, PIECE):
                data = self.part(start, min(size, start + PIECE)) if size > PIECE else self.part(0, None)
                if len(data) != min(PIECE, size - start):
                    found = f"{start + len(data):,} bytes, expected {size:,}"
                    raise StoreError(f"{self}: found {found}: it was cut off, or changed while it was read; try again")
                file.write(data)

    def holds(self, other: Remote) -> bool:
        """Whether another place is this one, or lies below it."""
        ours, theirs = self.to.first, other.to.first
        alike = type(ours) is type(theirs) and ours.storage_options == theirs.storage_options
        return alike and f"{other.path}/".startswith(f"{self.path}/")

    def is_dir(self) -> bool:
        """Whether something lies below this; in a store of objects that alone makes a folder."""
        if self.to.tree is not None:
            return self.inner in self.to.tree
        try:
            return next(self.files(few=True), None) is not None or bool(
                not self.to.objects and asked(self, lambda: self.to.fs.isdir(self.path))
            )
        except FileNotFoundError:
            return False

    def exists(self) -> bool:
        try:
            self.stat()
        except FileNotFoundError:
            return self.is_dir()
        return True

    def entries(self, folder: str) -> Iterator[tuple[str, bool, str | None]]:
        """What lies in a folder below this one: names, whether each is a folder, and why it cannot be read if it cannot.

        All that lies below the place that was named is listed at once, a thousand files a request, and remembered. What is in
        folders that begin with a dot is passed over.
        """
        tree = self.to.tree
        if tree is None:
            tree = self.to.tree = self._listed()
            small = [
                f"{place}/{name}" if place else name
                for place, found in tree.items()
                for name, looks in found.items()
                if isinstance(looks, Looks) and 0 <= looks.st_size <= SMALL and name.lower().endswith(".json")
            ]
            self.to.ahead = Ahead(Remote(self.to), sorted(small))
        path = "/".join(part for part in (self.inner, folder) if part)
        if path not in tree:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self / folder if folder else self))
        for name, looks in tree[path].items():
            yield name, looks is None, looks if isinstance(looks, str) else None

    def files(self, folder: str = "", *, few: bool = False) -> Iterator[tuple[str, Looks]]:
        """All files below a folder, their paths relative to this place, as the store lists them now; `few` asks for a first
        handful. FileNotFoundError may tell that there is no such folder."""
        place = self / folder if folder else self
        skipped = len(self.path) + 1
        for name, info in place._infos(few):
            if not name.endswith("/") and name.startswith(f"{self.path}/"):
                yield (unquote(name[skipped:]) if self.to.web else name[skipped:]), Looks.of(info)

    # --- writing

    def write(self, data: bytes) -> None:
        """Write a file, whole or not at all."""
        self._written(lambda path: self.to.fs.pipe_file(path, data))

    def send(self, local: Path) -> None:
        """Write a file from one on this machine, whole or not at all."""
        self._written(lambda path: self.to.fs.put_file(str(local), path))

    def copy(self, there: Remote) -> bool:
        """Bring a file to another place of the store, whatever is there; say whether it is still here too."""
        fs, to = self.to.fs, self.to
        if to.objects:
            asked(self, lambda: s3.copy(fs, self.path, there.path) if to.s3 else fs.cp_file(self.path, there.path))
            return True
        there._make_room()
        asked(self, lambda: rename(fs, self.path, there.path))
        return False

    def remove(self, names: Sequence[str]) -> None:
        """Delete files below this place, those that are there."""
        fs = self.to.fs
        if self.to.s3:
            for start in range(0, len(names), 1000):  # the most that one request takes
                left = [(self / name).path for name in names[start : start + 1000]]
                asked(self, partial(s3.remove, fs, left))
            return
        for name in names:
            place = self / name
            try:
                asked(place, partial(fs.rm_file, place.path))
            except FileNotFoundError:
                continue
            if not self.to.objects:
                place._leave(self)

    def prune(self) -> None:
        """Delete the folders from here on that hold nothing but such folders, where a store has folders."""
        if not self.to.objects:
            with suppress(FileNotFoundError):
                asked(self, lambda: prune(self.to.fs, self.path))
            self.to.made.clear()

    # --- inside

    def _digested(self) -> str:
        with self.to.fs.open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _listed(self) -> Tree:
        tree: Tree = {}
        home = Remote(self.to)
        for path, looks in home.files():
            put(tree, path, looks)
        if not tree and (home.to.objects or not asked(home, lambda: home.to.fs.isdir(home.path))):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(home))
        tree.setdefault("", {})
        return tree

    def _infos(self, few: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Names, as the file system gives them, and what it says of each file below this folder."""
        if self.to.s3:
            yield from s3.listed(self, few)
            return
        fs = self.to.fs
        if self.to.objects and not few:
            asked(self, fs.invalidate_cache)
            yield from asked(self, lambda: fs.find(self.path, detail=True)).items()
            return
        waiting = [self.path]
        while waiting:
            folder = waiting.pop()
            listed = asked(self, partial(ls, fs, folder))
            for info in sorted(listed, key=lambda info: str(info["name"])):
                name = str(info["name"]).rstrip("/")
                if not name.startswith(f"{folder}/"):
                    continue  # a file in the place of the folder, or a page's link to elsewhere
                if info["type"] == "directory":
                    waiting.append(name)
                elif not (self.to.web and re.search(r"[?#]", name)):
                    yield name, info

    def _written(self, put: Callable[[str], object]) -> None:
        if self.to.objects:
            asked(self, lambda: put(self.path))
            return
        self._make_room()
        stamp = hashlib.sha256(f"{self.path} {os.getpid()} {threading.get_ident()}".encode()).hexdigest()[:16]
        beside = f"{parent(self.path)}/.{stamp}.new"

        def place() -> None:
            put(beside)
            rename(self.to.fs, beside, self.path)

        asked(self, place)

    def _make_room(self) -> None:
        """The folder that a file needs, where a store has folders."""
        folder = parent(self.path)
        if folder not in self.to.made:
            asked(self, lambda: self.to.fs.makedirs(folder, exist_ok=True))
            self.to.made.add(folder)

    def _leave(self, top: Remote) -> None:
        """Delete the folders that are empty without this file."""
        folder = parent(self.path)
        while folder != top.path and folder.startswith(top.path):
            try:
                if self.to.fs.ls(folder, detail=False):
                    return
                self.to.fs.rmdir(folder)
            except OSError:
                return
            self.to.made.discard(folder)
            folder = parent(folder)


Place: TypeAlias = Path | Remote
"""A folder or a file, on a disk or in a store."""


def _reopened(url: str, inner: str) -> Remote:
    return Remote(Remote.at(url).to, inner)
