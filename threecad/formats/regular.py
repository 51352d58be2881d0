"""Opening files whose names are known and whose nature is not: a pipe would wait for ever, a device never end."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # the first is POSIX's, the second Windows'


def open_regular(path: Path) -> BinaryIO:
    """A file or a link to one, opened to be read. OSError, whose `strerror` says it, where it is a pipe, a device or a folder.

    >>> from pathlib import Path
    >>> open_regular(Path(os.devnull))
    Traceback (most recent call last):
    OSError: [Errno 22] found a pipe or a device; expected a file: '/dev/null'
    """
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - a Path's own open takes no opener
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "found a pipe or a device; expected a file", str(path))


def read_regular(path: Path, most: int) -> bytes:
    """All of a file. OSError as `open_regular`, and where it holds more than `most` bytes."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"more than {most >> 20} MB", str(path))
    return data


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)
