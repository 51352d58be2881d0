"""WebP: a RIFF file, still or animated."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from threecad.domain import Size
from threecad.formats.containers import CUT_OFF, ENDLESS, MOST, Fault, Read, exactly, first_of, transparency
from threecad.formats.containers.codecs import by_opencv, rgb
from threecad.formats.containers.directories import orientation_of

if TYPE_CHECKING:
    from threecad.formats.containers import Note, Pixels


@dataclass(frozen=True, slots=True)
class Webp:
    size: Size
    orientation: int
    frame: tuple[int, int] | None
    """Offset and length of the first frame of an animation."""
    frames: int

    @staticmethod
    def parse(read: Read) -> Webp:
        end = 8 + int.from_bytes(exactly(read, 4, 4), "little")
        exactly(read, end - 1, 1)
        size, exif, frame, frames, stills = None, b"", None, 0, 0
        for kind, offset, length in _riff(read, 12, end):
            if kind == b"VP8X" and size is None:
                fields = exactly(read, offset, 10)
                size = Size(int.from_bytes(fields[7:10], "little") + 1, int.from_bytes(fields[4:7], "little") + 1)
            elif kind in (b"VP8 ", b"VP8L"):
                stills += 1
                size = size or _webp_size(kind, exactly(read, offset, 10 if kind == b"VP8 " else 5))
            elif kind == b"EXIF" and not exif:
                exif = exactly(read, offset, length)
            elif kind == b"ANMF":
                frame = frame or (offset, length)
                frames += 1
        if size is None or not stills + frames:
            raise Fault("damaged: a WebP without an image")
        return Webp(size, orientation_of(exif), None if stills else frame, frames)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        if self.frame is not None:
            data = self._still(data, *self.frame)
        pixels = by_opencv(data)
        if pixels.ndim != 3:
            raise Fault("damaged: decodes to no colours")
        notes = first_of(self.frames, "frames") + (transparency(pixels[..., 3]) if pixels.shape[2] == 4 else [])
        return rgb(pixels), notes

    def _still(self, data: memoryview, offset: int, length: int) -> memoryview:
        """The first frame as a file of its own: played as an animation its transparent pixels would lose their colours."""
        fields = bytes(data[offset : offset + 16])
        if len(fields) < 16:
            raise Fault("damaged: a frame without a header")
        left, top, width, height = (int.from_bytes(fields[at : at + 3], "little") for at in (0, 3, 6, 9))
        if (left, top, width + 1, height + 1) != (0, 0, self.size.width, self.size.height):
            raise Fault("an animation whose first frame covers only a part; expected a whole image")
        canvas = b"VP8X" + struct.pack("<II", 10, 0x10) + fields[6:12]
        body = b"WEBP" + canvas + bytes(data[offset + 16 : offset + length])
        return memoryview(b"RIFF" + struct.pack("<I", len(body)) + body)


def _riff(read: Read, offset: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, offset of the content, its length) of the chunks in [offset, end)."""
    for _ in range(MOST):
        if offset + 8 > end:
            return
        kind, length = struct.unpack("<4sI", exactly(read, offset, 8))
        if offset + 8 + length > end:
            raise Fault(CUT_OFF)
        yield kind, offset + 8, length
        offset += 8 + length + length % 2
    raise Fault(ENDLESS)


def _webp_size(kind: bytes, fields: bytes) -> Size:
    """Of a lossy or lossless image stream, 14 bits a side."""
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", fields[6:10])
        return Size(height & 0x3FFF, width & 0x3FFF)
    packed = int.from_bytes(fields[1:5], "little")
    return Size((packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1)
