"""Opening files whose names are known and whose nature is not: a pipe would wait for ever, a device never end."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_OF_A_LINE = 64 << 20
"""Bytes: to parse a line takes fifteen times as much. The row of a tile that shows 100,000 defects has a third of it."""

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


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of every line. OSError as `open_regular`, and where a line is longer than any row of a list."""
    with open_regular(path) as file:
        for number, line in enumerate(iter(partial(file.readline, MOST_OF_A_LINE + 1), b""), 1):
            if len(line) > MOST_OF_A_LINE:
                raise OSError(errno.EFBIG, f"line {number} is longer than {MOST_OF_A_LINE >> 20} MB", str(path))
            yield number, line


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)
