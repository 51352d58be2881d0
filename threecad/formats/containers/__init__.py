"""What a file says of the image it holds, by its own structure: one module a format, and here what all of them answer.

The class of a format parses as much of a file as tells the size, the orientation and where the pixels are; only `decode` touches
these. What can be checked of the structure is checked here, for codecs are forgiving, each in its own way.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from threecad.domain import Code, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8] | NDArray[np.uint16]
    Note = tuple[Code, str]


class Header(Protocol):
    """What is known of an image before decoding: its size as stored, the EXIF orientation that applies, and how to decode it."""

    @property
    def size(self) -> Size: ...
    @property
    def orientation(self) -> int: ...
    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]: ...


class Fault(Exception):
    """What is wrong with the bytes at hand, without the name of the file."""


CUT_OFF = "cut off: the file ends before its image does"

MOST = 1 << 20
"""Pieces (chunks, segments) a file may consist of; 400 MP of 16-bit RGB in libpng's pieces of 8 KiB are 300,000. Each takes
Python a microsecond and up to 150 bytes, while it need not have more than four bytes in the file."""
ENDLESS = f"damaged: more than {MOST:,} pieces"

Read = Callable[[int, int], bytes]
"""(offset, count) → at most so many bytes from there."""


def in_memory(view: memoryview) -> Read:
    return lambda offset, count: bytes(view[offset : offset + count])


def in_file(file: BinaryIO) -> Read:
    """The file as long as it is now. What somebody writes behind that meanwhile is not read, so every walk comes to an end."""
    size = file.seek(0, io.SEEK_END)

    def read(offset: int, count: int) -> bytes:
        # A damaged file may state offsets and lengths that no file can have: these are not for seek and read to judge.
        if offset >= size:
            return b""
        file.seek(offset)
        return file.read(min(count, size - offset))

    return read


def exactly(read: Read, offset: int, count: int) -> bytes:
    found = read(offset, count)
    if len(found) < count:
        raise Fault(CUT_OFF)
    return found


def transparency(alpha: Any) -> list[Note]:
    """A note where some pixel is not opaque."""
    return see_through(alpha.size - int(np.count_nonzero(alpha == np.iinfo(alpha.dtype).max)), alpha.size)


def see_through(count: int, area: int) -> list[Note]:
    return [(Code.ALPHA_DROPPED, f"{count} of {area} pixels are not opaque")] if count else []


def first_of(count: int, what: str) -> list[Note]:
    return [(Code.FIRST_PAGE_ONLY, f"the first of {count} {what}")] if count > 1 else []
