"""PNG: a row of chunks, each under a checksum."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

from threecad.domain import Size
from threecad.formats.containers import ENDLESS, MOST, Fault, Read, exactly, first_of, see_through, transparency
from threecad.formats.containers.codecs import by_opencv, is_gray, rgb
from threecad.formats.containers.directories import orientation_of

if TYPE_CHECKING:
    from threecad.formats.containers import Note, Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""PNG's colour types (gray, RGB, palette, gray with alpha, RGB with alpha) and the bits each may have."""


@dataclass(frozen=True, slots=True)
class Png:
    size: Size
    orientation: int
    depth: int
    colour: int
    palette: bytes
    transparent: bytes
    frames: int
    chunks: tuple[tuple[bytes, int, int], ...]
    """(type, offset, whole length) of every chunk."""

    @staticmethod
    def parse(read: Read) -> Png:
        """Walk all chunks, since EXIF may stand behind the pixels; a file that IEND does not close is cut off."""
        contents: dict[bytes, bytes] = {}
        chunks: list[tuple[bytes, int, int]] = []
        offset = len(SIGNATURE)
        while not chunks or chunks[-1][0] != b"IEND":
            length, kind = struct.unpack(">I4s", exactly(read, offset, 8))
            if (kind == b"IHDR") != (not chunks):
                raise Fault("damaged: a PNG starts with one IHDR chunk")
            if kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL"):
                if kind in contents:
                    raise Fault(f"damaged: a second {kind.decode()} chunk")
                contents[kind] = exactly(read, offset + 8, length)
            if len(chunks) == MOST:
                raise Fault(ENDLESS)
            chunks.append((kind, offset, length + 12))
            offset += length + 12
        exactly(read, offset - 1, 1)
        if len(contents[b"IHDR"]) != 13:
            raise Fault("damaged: its IHDR chunk has another length than 13 bytes")
        width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", contents[b"IHDR"])
        if depth not in _DEPTHS.get(colour, ()):
            raise Fault(f"damaged: PNG has no colour type {colour} of {depth} bits")
        frames = contents.get(b"acTL", b"\0")[:4]
        return Png(
            Size(height, width),
            orientation_of(contents.get(b"eXIf", b"")),
            depth,
            colour,
            contents.get(b"PLTE", b""),
            contents.get(b"tRNS", b""),
            int.from_bytes(frames),
            tuple(chunks),
        )

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        for kind, offset, length in self.chunks:
            stated = int.from_bytes(data[offset + length - 4 : offset + length])
            if isal_zlib.crc32(data[offset + 4 : offset + length - 4]) != stated:
                raise Fault(f"damaged: the checksum of its {ascii(kind.decode('latin-1'))[1:-1]} chunk does not fit")
        if not any(kind == b"IDAT" for kind, _, _ in self.chunks):
            raise Fault("damaged: a PNG without pixels")
        pixels = by_opencv(self.plain(data))
        if pixels.dtype != (np.uint16 if self.depth == 16 else np.uint8):
            raise Fault(f"damaged: decodes to {pixels.dtype}, not to the {self.depth} bits it states")
        notes = first_of(self.frames, "frames")
        if pixels.ndim == 2:
            return pixels, notes + self._keyed(pixels)
        if pixels.shape[2] == 4:
            notes += transparency(pixels[..., 3])
        gray = self.colour in (0, 4) or (self.colour == 3 and is_gray(np.frombuffer(self.palette, np.uint8)))
        if gray:
            return np.ascontiguousarray(pixels[..., 0]), notes
        pixels = rgb(pixels)
        return pixels, notes + self._keyed(pixels)

    def plain(self, data: memoryview) -> memoryview:
        """The file without ancillary chunks: the decoder would unpack profiles, play animations and print warnings.

        Nor does it get what stands behind the end, or in it: it reads on there, and a few bytes can make it ask for gigabytes.
        """
        needed = {b"IHDR", b"PLTE", b"IDAT"} | ({b"tRNS"} if self.colour == 3 else set())
        if all(kind in needed for kind, _, _ in self.chunks[:-1]) and self.chunks[-1][2] == len(_END):
            return data[: self.chunks[-1][1] + len(_END)]
        kept = (data[at : at + length] for kind, at, length in self.chunks if kind in needed)
        return memoryview(b"".join([SIGNATURE, *kept, _END]))

    def _keyed(self, pixels: Any) -> list[Note]:
        """A note where a pixel has the one colour that tRNS declares transparent (gray and RGB only)."""
        channels = {0: 1, 2: 3}.get(self.colour, 0)
        if not channels or len(self.transparent) != 2 * channels:
            return []
        key = np.frombuffer(self.transparent, ">u2").astype(np.uint32)
        if self.depth < 8:
            key = key * 255 // (2**self.depth - 1)
        hits = (pixels.reshape(-1, channels) == key).all(axis=1)
        return see_through(int(np.count_nonzero(hits)), hits.size)
