"""Folders and files in stores: whatever fsspec speaks with, s3://, gs://, az://, sftp://, hdfs://, https:// among them.

A `Remote` answers the few questions that the reading code asks of a `Path`, so that one code reads both. Credentials are fsspec's
own matter (its configuration files and environment variables); nothing here knows, keeps or prints any.

What goes wrong on the way to a store is judged in one place, `asked`: what may pass is tried again, later and later; what
will not ends the run in one sentence. A file that is gone is a FileNotFoundError, as on a disk. All else would look, source by
source, like a flaw of the data, and must not.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, TypeVar, cast
from urllib.parse import quote, unquote

from threecad.errors import ConfigError, LayoutError, ThreecadError

Result = TypeVar("Result")

WAITS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds, about, before each further try of what may pass: half a minute in all, after those that fsspec's own layers make."""

AT_ONCE = 32
"""Requests under way at the same time, at most: a store answers each after some 20 ms, and would be idle in between."""

FIRST = 64 << 10
"""Bytes that a look into a file fetches first: the header of nearly every photograph, with its EXIF, for the price of any."""

SMALL = 1 << 20
"""Bytes up to which annotations are fetched before they are asked for, and kept while there is room."""
ROOM = 64 << 20
PIECE = 64 << 20
"""Bytes that are in memory when a file is brought to this machine."""

_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"})
"""Stores of objects: no folders to make, a file is there when it is whole, and copied there rather than renamed."""

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "ExpiredAccessToken"})
_PASSING = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "IncompleteBody", "BadDigest"),
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "XAmzContentSHA256Mismatch"),
        *("429", "500", "502", "503", "504"),
    }
)
_PASSING_ERRNOS = frozenset(
    {errno.EBUSY, errno.EIO, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH}
    | {getattr(errno, "EREMOTEIO", errno.EIO)}
)
_FOREIGN = (
    ("botocore.exceptions", ("BotoCoreError", "ClientError")),
    ("aiohttp", ("ClientError",)),
    ("azure.core.exceptions", ("AzureError",)),
    ("google.auth.exceptions", ("GoogleAuthError",)),
    ("paramiko.ssh_exception", ("SSHException",)),
)
"""What the libraries below fsspec raise that is no OSError."""


class StoreError(ThreecadError):
    """A store that cannot be reached, or that refuses. What was finished is kept."""


class Truncated(ConnectionError):
    """Fewer bytes came than were announced."""


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


@dataclass(frozen=True, slots=True)
class Looks:
    """What a store says of a file, in the words of `os.stat_result`, times in whole seconds: no store tells them finer by every
    one of its ways. `st_ctime_ns` is a digest of what the store changes with the content (an ETag, say), and 0 where there is
    none: the same as before means the same file. `st_size` is -1 where the store does not tell it in a listing."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Looks:
        kind = stat.S_IFDIR if info.get("type") == "directory" else stat.S_IFREG
        marks = ("ETag", "etag", "md5Hash", "content_md5", "checksum")
        mark = next((str(info[key]).strip('"') for key in marks if info.get(key)), None)
        token = 0 if mark is None else int.from_bytes(hashlib.sha256(mark.encode()).digest()[:7])
        size = info.get("size")
        return cls(kind, -1 if size is None else int(size), _modified(info), token)


@dataclass(slots=True, eq=False)
class _Connection:
    """One URL's file system, and what was learned of what lies below it. `root` is as the file system names it."""

    url: str
    first: Any
    root: str
    tree: dict[str, dict[str, Looks | str | None]] | None = None
    """Folder → name → how a file looks, None for a folder, and for what cannot be read, why."""
    ahead: _Ahead | None = None
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
            fs, path = asked(seen, lambda: url_to_fs(url, **_options(url)))
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{seen}: {str(error).splitlines()[0]}") from None
        root = path.rstrip("/")
        if not root.strip("/") and getattr(fs, "call_s3", None):
            raise ConfigError(f"{seen}: expected the name of a bucket, found none")
        if hasattr(fs, "call_s3"):
            fs.retries = 1  # `asked` tries again
        _keep(fs)
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
            return Looks.of(asked(self, lambda: _s3_seen(fs, self.path)))
        return Looks.of(asked(self, lambda: (fs.invalidate_cache(_parent(self.path)), fs.info(self.path))[1]))

    def open(self, mode: Literal["rb"] = "rb", buffering: int = -1) -> BinaryIO:
        """A file to look into. A small annotation comes whole, and those that follow it are fetched meanwhile; of anything else,
        what is read comes, and little more."""
        looks = self.stat()
        if stat.S_ISDIR(looks.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self))
        if self.to.ahead is not None and looks.st_size <= SMALL:
            return io.BytesIO(self.to.ahead.read(self, looks))
        return cast(
            "BinaryIO", io.BufferedReader(_Ranges(self, looks.st_size), FIRST) if buffering else _Ranges(self, looks.st_size)
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
            whole, digest, looks = asked(self, lambda: _s3_fetched(self.to.fs, self.path, limit))
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
            return cast("bytes", asked(self, lambda: _s3_fetched(self.to.fs, self.path, sys.maxsize)[0]))
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
            self.to.ahead = _Ahead(Remote(self.to), sorted(small))
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
            asked(self, lambda: _s3_copied(fs, self.path, there.path) if to.s3 else fs.cp_file(self.path, there.path))
            return True
        there._make_room()
        asked(self, lambda: _renamed(fs, self.path, there.path))
        return False

    def remove(self, names: Sequence[str]) -> None:
        """Delete files below this place, those that are there."""
        fs = self.to.fs
        if self.to.s3:
            for start in range(0, len(names), 1000):  # the most that one request takes
                left = [(self / name).path for name in names[start : start + 1000]]
                asked(self, partial(_s3_removed, fs, left))
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
                asked(self, lambda: _pruned(self.to.fs, self.path))
            self.to.made.clear()

    # --- inside

    def _digested(self) -> str:
        with self.to.fs.open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _listed(self) -> dict[str, dict[str, Looks | str | None]]:
        tree: dict[str, dict[str, Looks | str | None]] = {}
        home = Remote(self.to)
        for path, looks in home.files():
            _put(tree, path, looks)
        if not tree and (home.to.objects or not asked(home, lambda: home.to.fs.isdir(home.path))):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(home))
        tree.setdefault("", {})
        return tree

    def _infos(self, few: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Names, as the file system gives them, and what it says of each file below this folder."""
        if self.to.s3:
            yield from _s3_listed(self, few)
            return
        fs = self.to.fs
        if self.to.objects and not few:
            asked(self, fs.invalidate_cache)
            yield from asked(self, lambda: fs.find(self.path, detail=True)).items()
            return
        waiting = [self.path]
        while waiting:
            folder = waiting.pop()
            listed = asked(self, partial(_ls, fs, folder))
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
        beside = f"{_parent(self.path)}/.{stamp}.new"

        def place() -> None:
            put(beside)
            _renamed(self.to.fs, beside, self.path)

        asked(self, place)

    def _make_room(self) -> None:
        """The folder that a file needs, where a store has folders."""
        folder = _parent(self.path)
        if folder not in self.to.made:
            asked(self, lambda: self.to.fs.makedirs(folder, exist_ok=True))
            self.to.made.add(folder)

    def _leave(self, top: Remote) -> None:
        """Delete the folders that are empty without this file."""
        folder = _parent(self.path)
        while folder != top.path and folder.startswith(top.path):
            try:
                if self.to.fs.ls(folder, detail=False):
                    return
                self.to.fs.rmdir(folder)
            except OSError:
                return
            self.to.made.discard(folder)
            folder = _parent(folder)


Place: TypeAlias = Path | Remote
"""A folder or a file, on a disk or in a store."""


def _reopened(url: str, inner: str) -> Remote:
    return Remote(Remote.at(url).to, inner)


# Faults


def asked(what: object, call: Callable[[], Result]) -> Result:
    """What a request to a store brings; it is made again while what went wrong may pass.

    `what` is the file or folder that a sentence will name. Raises FileNotFoundError and FileExistsError, about that file;
    LayoutError where there is no such bucket; and StoreError for all else that a store, or the way to it, can do. None of them
    quotes what the store said, which may hold a key or a signature: they tell its code.
    """
    for wait in (*(() if getattr(_HASTE, "on", False) else WAITS), None):
        try:
            return call()
        except _faults() as error:
            code = _code(error)
            if isinstance(error, FileExistsError) or (isinstance(error, FileNotFoundError) and code != "NoSuchBucket"):
                raise type(error)(error.errno or errno.ENOENT, os.strerror(error.errno or errno.ENOENT), str(what)) from None
            if wait is None or not _passes(error, code):
                raise _sentence(str(what), error, code) from None
        time.sleep(wait * (0.5 + time.monotonic_ns() % 1000 / 1000))  # not all threads at the same moment
    raise AssertionError


_HASTE = threading.local()


@contextmanager
def hastily() -> Iterator[None]:
    """Within this, this thread tries everything once only: a run that ends does not wait for what does not matter any more."""
    _HASTE.on = True
    try:
        yield
    finally:
        _HASTE.on = False


def _faults() -> tuple[type[BaseException], ...]:
    """What may come of talking to a store: the exceptions of libraries that are in use have to be looked for."""
    found: list[type[BaseException]] = [OSError, EOFError, NotImplementedError]
    for module, names in _FOREIGN:
        if (loaded := sys.modules.get(module)) is not None:
            found += [getattr(loaded, name) for name in names]
    return tuple(found)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _code(error: BaseException) -> str:
    """The store's own word for what happened, the number of an HTTP status, or the name of the exception."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        told = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if told is None:
            status = getattr(each, "status", None) or getattr(each, "code", None)
            told = status if isinstance(status, int) and 100 <= status < 600 else None
        if told is not None and re.fullmatch(r"[\w.-]{1,60}", str(told)):
            return str(told)
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)
    return type(error).__name__


def _passes(error: BaseException, code: str) -> bool:
    """Whether the same request may succeed a little later."""
    if code in _PASSING:
        return True
    if code in _EXPIRED or isinstance(error, PermissionError):
        return False
    names = {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}
    if names & {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError", "ResponseParserError"}:
        return True
    if names & {"ClientPayloadError", "ClientConnectionError", "TimeoutError", "EOFError", "ServiceRequestError"}:
        return True
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNOS


def _sentence(what: str, error: BaseException, code: str) -> ThreecadError:
    names = {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}
    again = "what is finished is kept, run the same command again"
    if isinstance(error, NotImplementedError) or code in ("405", "501", "MethodNotAllowed", "NotImplemented"):
        return ConfigError(f"{what}: nothing can be written to such places, only read")
    if code == "NoSuchBucket":
        return LayoutError(f"{what}: there is no such bucket")
    if "ParamValidationError" in names or code == "InvalidBucketName":
        return ConfigError(f"{what}: the store takes no such name")
    if code in _EXPIRED or names & {"SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError", "RefreshError"}:
        return StoreError(f"{what}: the credentials have expired; renew them: {again}")
    if any("Credential" in name or "NoAuthToken" in name for name in names):
        return StoreError(f"{what}: found no credentials where fsspec looks for them (its configuration, the environment)")
    if isinstance(error, PermissionError) or code in ("401", "403", "AccessDenied"):
        return StoreError(f"{what}: access is denied ({code}); {again} when these credentials may read and write there")
    if _passes(error, code):
        return StoreError(f"{what}: the store does not answer as it should, also after {len(WAITS) + 1} tries ({code}); {again}")
    return StoreError(f"{what}: the store refuses ({code}); {again}")


# What is read


class _Ranges(io.RawIOBase):
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


class _Ahead:
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
            data, _, looks = asked(place, lambda: _s3_fetched(place.to.fs, place.path, sys.maxsize))
            assert data is not None
            return data, looks
        return place.part(0, None), place.stat()


def _put(tree: dict[str, dict[str, Looks | str | None]], path: str, looks: Looks) -> None:
    """Note a file and the folders it lies in; nothing below a hidden folder, and for names that no disk could hold, why not."""
    parts = path.split("/")
    folder = ""
    for number, part in enumerate(parts):
        here = tree.setdefault(folder, {})
        last = number == len(parts) - 1
        flaw = _flaw(part, last)
        if flaw is not None:
            here["./" + "/".join(parts[number:])] = flaw
            return
        if last:
            if part in here:
                here[f"./{part}"] = "a file and a folder have this name"
            else:
                here[part] = looks
            return
        if isinstance(here.get(part), Looks):
            here[f"./{part}"] = "a file and a folder have this name"
        here[part] = None
        if part.startswith("."):
            return
        folder = f"{folder}/{part}" if folder else part


def flaw_of(path: str) -> str | None:
    """Why no disk could hold a file of that path, None where one could.

    >>> flaw_of("a/b.png"), flaw_of("a/../../b.png")
    (None, "a folder named '..' on the way")
    """
    parts = path.split("/")
    flaws = (_flaw(part, number == len(parts) - 1) for number, part in enumerate(parts))
    return next((flaw for flaw in flaws if flaw is not None), None)


def _flaw(part: str, last: bool) -> str | None:
    if part in ("", ".", ".."):
        return f"a folder named {part!r} on the way"
    if "\0" in part:
        return "its name holds the character NUL"
    if last and "?versionId=" in part:
        return "its name reads like that of a version"
    return None


def _modified(info: Mapping[str, Any]) -> int:
    for key in ("LastModified", "last_modified", "updated", "mtime", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp()) * 1_000_000_000
        if isinstance(value, int | float):
            return int(value) * 1_000_000_000
    return 0


# What file systems do differently


def _options(url: str) -> dict[str, Any]:
    """How we want an S3 client besides what the user's own configuration says: room for our threads, and no tries below ours."""
    if not url.startswith(("s3://", "s3a://")):
        return {}
    from fsspec.config import conf

    own = conf.get(url.partition("://")[0], {}).get("config_kwargs")
    tuned = {"max_pool_connections": AT_ONCE, "retries": {"mode": "standard", "total_max_attempts": 1}}
    return {"use_listings_cache": False, "config_kwargs": tuned | (own if isinstance(own, dict) else {})}


_KEPT: dict[int, tuple[Any, Any]] = {}


def _keep(fs: Any) -> None:
    """Let no file system that talks in the background be disposed of, above all not in a process that was forked off: there it
    would take its connections out of the list of those that this process waits for, which both share."""
    if fs.async_impl:
        _KEPT[id(fs)] = fs, fs.loop
        fs.loop.call_soon_threadsafe(fs.loop.set_exception_handler, _unheard)


def _unheard(loop: Any, context: dict[str, Any]) -> None:
    """Say nothing of a connection that broke while something was written to it: whoever asked has been told, and tries again."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _ls(fs: Any, folder: str) -> list[dict[str, Any]]:
    """What lies in a folder now, whatever the file system remembers of it."""
    fs.invalidate_cache(folder)
    return list(fs.ls(folder, detail=True))


def _pruned(fs: Any, folder: str) -> None:
    for info in _ls(fs, folder):
        if info["type"] == "directory" and str(info["name"]).startswith(f"{folder}/"):
            _pruned(fs, str(info["name"]))
    if not _ls(fs, folder):
        fs.rmdir(folder)


def _renamed(fs: Any, here: str, there: str) -> None:
    from fsspec import AbstractFileSystem

    if type(fs).mv is AbstractFileSystem.mv:  # which takes names for patterns
        fs.cp_file(here, there)
        fs.rm_file(here)
    else:
        fs.mv(here, there)


def _synchronously(fs: Any, work: Callable[[], Awaitable[Result]]) -> Result:
    from fsspec.asyn import sync

    return cast("Result", sync(fs.loop, work))


def _s3_listed(place: Remote, few: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    fs = place.to.fs
    bucket, key, _ = fs.split_path(place.path)
    more: dict[str, Any] = {"MaxKeys": 3} if few else {}
    while True:
        prefix = f"{key}/" if key else ""
        page = asked(place, partial(fs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more))
        for each in page.get("Contents", ()):
            info = {"size": each["Size"], "ETag": each.get("ETag"), "LastModified": each.get("LastModified")}
            yield f"{bucket}/{each['Key']}", info
        if few or not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _s3_seen(fs: Any, path: str) -> Mapping[str, Any]:
    """What a listing says of one object. Asked for its header, S3 would not say why it refuses."""
    bucket, key, _ = fs.split_path(path)
    page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
    for each in page.get("Contents", ()):
        if each["Key"] == key:
            return {"size": each["Size"], "ETag": each.get("ETag"), "LastModified": each.get("LastModified")}
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _s3_fetched(fs: Any, path: str, limit: int) -> tuple[bytes | None, str, Looks]:
    """One request: the bytes, or, where they are more than `limit`, their sha256; and how the object looked."""
    bucket, key, _ = fs.split_path(path)

    async def get() -> tuple[bytes | None, str, Looks]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        size = answer["ContentLength"]
        looks = Looks.of({"size": size, "ETag": answer.get("ETag"), "LastModified": answer.get("LastModified")})
        data, digest, came = None, hashlib.sha256(), 0
        async with answer["Body"] as body:
            if size <= limit:
                data = await body.read()
                came = len(data)
            else:
                while piece := await body.read(1 << 20):
                    digest.update(piece)
                    came += len(piece)
        if came != size:
            raise Truncated
        return data, digest.hexdigest(), looks

    return _synchronously(fs, get)


def _s3_copied(fs: Any, here: str, there: str) -> None:
    bucket, key, _ = fs.split_path(here)
    other, name, _ = fs.split_path(there)
    fs.call_s3("copy_object", Bucket=other, Key=name, CopySource={"Bucket": bucket, "Key": key})


def _s3_removed(fs: Any, left: list[str]) -> None:
    """Delete objects of one bucket; what the store could not delete stays in `left`."""
    bucket = fs.split_path(left[0])[0]
    keys = {fs.split_path(path)[1]: path for path in left}
    answer = fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    failed = answer.get("Errors", ())
    left[:] = [keys[each["Key"]] for each in failed if each.get("Key") in keys]
    for each in failed:
        if each.get("Code") in _PASSING:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
