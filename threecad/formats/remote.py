"""Folders and files in stores: whatever fsspec speaks with, s3://, gs://, az://, sftp://, hdfs://, https:// among them.

A `Remote` answers the few questions that the reading code asks of a `Path`, so that one code reads both. Credentials are fsspec's
own matter (its configuration files and environment variables); nothing here knows, keeps or prints any.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from threecad.errors import ConfigError


def is_url(place: object) -> bool:
    """Whether this names something in a store.

    >>> is_url("s3://parts/line7"), is_url("line7/good"), is_url(Path("s3:/parts"))
    (True, False, False)
    """
    return isinstance(place, str) and "://" in place


@dataclass(frozen=True, slots=True)
class Looks:
    """What a store says of a file, in the words of `os.stat_result`. `st_ctime_ns` is a digest of whatever the store changes
    with the content (an ETag, say): the same as before means the same file."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Looks:
        folder = info.get("type") == "directory"
        marks = {
            key: str(info[key]) for key in ("ETag", "etag", "md5Hash", "content_md5", "checksum", "VersionId") if key in info
        }
        token = int.from_bytes(hashlib.sha256(repr(sorted(marks.items())).encode()).digest()[:7])
        return cls(stat.S_IFDIR if folder else stat.S_IFREG, int(info.get("size") or 0), _modified(info), token)


@dataclass(frozen=True, slots=True, eq=False)
class Remote:
    """A file or folder of a store. `path` is as its file system `fs` (fsspec's) names it, `shown` as people may see it.

    >>> import fsspec
    >>> with fsspec.open("memory://line7/good/a.txt", "wb") as file: _ = file.write(b"abc")
    >>> root = Remote.at("memory://line7")
    >>> root.name, list(root.entries("")), (root / "good/a.txt").stat().st_size, (root / "good/a.txt").read_bytes()
    ('line7', [('good', True)], 3, b'abc')
    """

    fs: Any
    path: str
    shown: str
    _listed: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, url: str) -> Remote:
        """The place a URL names. Raises ConfigError where fsspec, or what it needs for such URLs, is missing or refuses it."""
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ConfigError(
                f"{shown(url)}: expected fsspec for such places, found none; pip install 'threecad[remote]'"
            ) from None
        try:
            fs, path = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{shown(url)}: {error}") from None
        return cls(fs, path.rstrip("/"), shown(url).rstrip("/"))

    def __truediv__(self, name: str) -> Remote:
        return Remote(self.fs, f"{self.path}/{name}", f"{self.shown}/{name}", self._listed)

    def __str__(self) -> str:
        return self.shown

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def stat(self) -> Looks:
        """As it was listed, else as the store says now; OSError where there is nothing."""
        folder, _, name = self.path.rpartition("/")
        info = self._listed.get(folder, {}).get(name)
        return Looks.of(self.fs.info(self.path) if info is None else info)

    def now(self) -> Looks:
        """As the store says at this moment."""
        self.fs.invalidate_cache(self.path.rpartition("/")[0])
        return Looks.of(self.fs.info(self.path))

    def open(self, mode: Literal["rb"] = "rb", buffering: int = -1) -> BinaryIO:
        """A file to read and seek in; what is read comes in ranges."""
        file: BinaryIO = self.fs.open(self.path, mode)
        return file

    def read_bytes(self) -> bytes:
        data: bytes = self.fs.cat_file(self.path)
        return data

    def fetch(self, limit: int) -> tuple[bytes | None, str, Looks, Looks]:
        """The bytes, None where they are more than `limit`; their sha256; how the file looked before and after."""
        before = self.now()
        if before.st_size > limit:
            with self.open() as file:
                digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
            return None, digest.hexdigest(), before, self.now()
        data = self.read_bytes()
        after = before if len(data) == before.st_size else self.now()
        return data, hashlib.sha256(data).hexdigest(), before, after

    def is_dir(self) -> bool:
        return bool(self.fs.isdir(self.path))

    def exists(self) -> bool:
        return bool(self.fs.exists(self.path))

    def entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        """What lies in a folder below this one: names, and whether each is a folder itself. It is remembered how files looked."""
        path = f"{self.path}/{folder}" if folder else self.path
        found = {info["name"].rstrip("/").rpartition("/")[2]: info for info in self.fs.ls(path, detail=True)}
        found.pop("", None)
        self._listed[path] = found
        for name, info in found.items():
            if info["name"].rstrip("/") != path:
                yield name, info["type"] == "directory"


Place: TypeAlias = Path | Remote
"""A folder or a file, on a disk or in a store."""


def shown(url: str) -> str:
    """A URL without whatever secret somebody put into it.

    >>> shown("sftp://anna:secret@host/parts"), shown("https://host/parts?sig=abc"), shown("s3://parts/a")
    ('sftp://host/parts', 'https://host/parts', 's3://parts/a')
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme in ("http", "https"):
        path = path.partition("?")[0]
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _modified(info: Mapping[str, Any]) -> int:
    for key in ("LastModified", "last_modified", "updated", "mtime", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0
