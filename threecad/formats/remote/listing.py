"""What a store says of its files, and whose names no disk could hold."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias


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


Tree: TypeAlias = dict[str, dict[str, Looks | str | None]]
"""Folder → name → how a file looks, None for a folder, and for what cannot be read, why."""


def _modified(info: Mapping[str, Any]) -> int:
    for key in ("LastModified", "last_modified", "updated", "mtime", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp()) * 1_000_000_000
        if isinstance(value, int | float):
            return int(value) * 1_000_000_000
    return 0


def put(tree: Tree, path: str, looks: Looks) -> None:
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
