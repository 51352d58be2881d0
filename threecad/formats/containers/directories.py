"""TIFF's directories of tags, which EXIF is made of too: read, and written anew."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from threecad.formats.containers import Fault, Read, exactly, in_memory

_FORMATS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
"""TIFF's field types that hold unsigned numbers, as struct knows them."""

_ENTRIES = 65535
"""Entries a directory may have: what the field of TIFF that counts them can hold."""
_VALUES = 1 << 22
"""Numbers read of one directory, some 40 bytes each: the places and lengths of two million strips or tiles."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Byte order of a TIFF structure, and whether it is a BigTIFF with its wider fields."""

    order: str
    big: bool

    @staticmethod
    def parse(read: Read) -> tuple[Dialect, int]:
        """The dialect, and the offset of the first directory."""
        magic = exactly(read, 0, 4)
        if magic not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise Fault("damaged: no TIFF header")
        dialect = Dialect("<" if magic.startswith(b"I") else ">", b"+" in magic)
        return dialect, dialect.numbers("Q" if dialect.big else "I", exactly(read, *((8, 8) if dialect.big else (4, 4))))[0]

    def numbers(self, letter: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(f"{self.order}{len(data) // struct.calcsize('=' + letter)}{letter}", data)

    def directory(
        self, read: Read, offset: int, wanted: Iterable[int], *, most: int = _ENTRIES
    ) -> tuple[dict[int, tuple[int, ...]], int]:
        """The wanted tags of the directory at `offset` as numbers, and the offset of the next directory (0: none).

        One of more than `most` entries is a fault, and so are more numbers than any image needs: many tags may point at the
        same bytes, and say that these are millions of numbers each.
        """
        counter, step, inline, pointer = ("Q", 20, 8, "Q") if self.big else ("H", 12, 4, "I")
        (count,) = self.numbers(counter, exactly(read, offset, struct.calcsize("=" + counter)))
        start = offset + struct.calcsize("=" + counter)
        if count > most:
            raise Fault("damaged: a TIFF directory without end")
        entries = exactly(read, start, count * step)
        tags = {}
        left = _VALUES
        for place in range(0, len(entries), step):
            tag, kind = struct.unpack_from(self.order + "HH", entries, place)
            if tag not in wanted or kind not in _FORMATS or tag in tags:
                continue
            (amount,) = self.numbers(pointer, entries[place + 4 : place + step - inline])
            value = entries[place + step - inline : place + step]
            if not amount:
                continue
            left -= amount
            if left < 0:
                raise Fault("damaged: a TIFF directory of more numbers than an image needs")
            extent = amount * struct.calcsize("=" + _FORMATS[kind])
            if extent > inline:
                value = exactly(read, self.numbers(pointer, value)[0], extent)
            tags[tag] = self.numbers(_FORMATS[kind], value[:extent])
        following = read(start + len(entries), inline)
        return tags, self.numbers(pointer, following)[0] if len(following) == inline else 0


def orientation_of(exif: bytes) -> int:
    """The orientation that an EXIF block asks for; 1 where it asks for none or makes no sense."""
    view = memoryview(exif.removeprefix(b"Exif\0\0"))
    try:
        dialect, first = Dialect.parse(in_memory(view))
        tags, _ = dialect.directory(in_memory(view), first, {274})
    except Fault:
        return 1
    return sane(tags.get(274))


def sane(values: tuple[int, ...] | None) -> int:
    return values[0] if values and 1 <= values[0] <= 8 else 1


def with_directory(data: memoryview, dialect: Dialect, tags: dict[int, tuple[int, ...]]) -> bytes:
    """A TIFF whose only directory holds these tags; what they point to stays where it was."""
    order, (counter, pointer, inline) = dialect.order, ("Q", "Q", 8) if dialect.big else ("H", "I", 4)
    start = len(data) + len(data) % 2
    beyond = start + struct.calcsize("=" + counter) + len(tags) * (12 + 8 * dialect.big) + inline
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        kind = 7 if tag == 347 and max(numbers) < 256 else 3 if max(numbers) < 65536 else 4 if max(numbers) < 2**32 else 16
        value = struct.pack(f"{order}{len(numbers)}{_FORMATS[kind]}", *numbers)
        entries += struct.pack(f"{order}HH{pointer}", tag, kind, len(numbers))
        if len(value) <= inline:
            entries += value.ljust(inline, b"\0")
        else:
            entries += struct.pack(order + pointer, beyond + len(values))
            values += value + b"\0" * (len(value) % 2)
    mark = bytes(data[: 8 if dialect.big else 4])
    directory = struct.pack(order + counter, len(tags)) + entries + b"\0" * inline + values
    return b"".join((mark, struct.pack(order + pointer, start), data[len(mark) + inline :], b"\0" * (len(data) % 2), directory))
