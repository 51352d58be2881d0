"""BMP: uncompressed rows behind a header, taken as they lie there."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Size
from threecad.formats.containers import CUT_OFF, Fault, Read, exactly, transparency
from threecad.formats.containers.codecs import is_gray, rgb, turn_into_rgb

if TYPE_CHECKING:
    from threecad.formats.containers import Note, Pixels


@dataclass(frozen=True, slots=True)
class Bmp:
    size: Size
    top_down: bool
    bits: int
    masks: tuple[int, ...]
    """Of red, green, blue and, where it has one, alpha; for 16 and 32 bits."""
    palette: bytes
    """Blue, green, red a colour."""
    start: int
    orientation: int = 1

    @staticmethod
    def parse(read: Read) -> Bmp:
        start, header = struct.unpack("<II", exactly(read, 10, 8))
        if header == 12:
            width, height, _, bits = struct.unpack("<HHHH", exactly(read, 18, 8))
            packing, used, entry = 0, 0, 3
        elif 40 <= header <= 124:
            width, height, _, bits, packing = struct.unpack("<iiHHI", exactly(read, 18, 16))
            (used,) = struct.unpack("<I", exactly(read, 46, 4))
            entry = 4
        else:
            raise Fault(f"damaged: BMP has no header of {header} bytes")
        if packing not in (0, 3, 6):
            what = {1: "run-length", 2: "run-length", 4: "JPEG", 5: "PNG"}.get(packing, f"unknown ({packing})")
            raise Fault(f"a BMP with {what} compression; expected an uncompressed one")
        if bits not in (1, 4, 8, 16, 24, 32) or (packing and bits not in (16, 32)):
            raise Fault(f"damaged: a BMP of {bits} bits")
        colours = b""
        if bits <= 8:
            count = min(used or 2**bits, 2**bits)
            table = np.frombuffer(exactly(read, 14 + header, count * entry), np.uint8).reshape(-1, entry)
            colours = table[:, :3].tobytes()
        masks: tuple[int, ...] = (0x7C00, 0x3E0, 0x1F) if bits == 16 else (0xFF0000, 0xFF00, 0xFF)
        if packing:
            count = 4 if packing == 6 or header >= 56 else 3
            masks = struct.unpack(f"<{count}I", exactly(read, 54, 4 * count))
            if not all(masks[:3]) or any(mask & (mask + (mask & -mask)) for mask in masks):
                raise Fault("damaged: colour masks that are no runs of bits")
        return Bmp(Size(abs(height), width), height < 0, bits, masks, colours, start)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        """Uncompressed rows, each filled up to whole words and the lowest one first: mostly a view of the data."""
        height, width = self.size.height, self.size.width
        step = (width * self.bits + 31) // 32 * 4
        # The filling of the very last row may be missing: some programs leave it out.
        least = step * (height - 1) + (width * self.bits + 7) // 8
        stored = data[self.start : self.start + step * height]
        if len(stored) < least:
            raise Fault(CUT_OFF)
        if len(stored) < step * height:
            stored = memoryview(bytes(stored).ljust(step * height, b"\0"))
        rows = np.frombuffer(stored, np.uint8).reshape(height, step)
        pixels: Any
        notes: list[Note] = []
        if self.bits <= 8:
            pixels = self._looked_up(rows, width)
        elif self.bits == 24:
            pixels = rows[:, : width * 3].reshape(height, width, 3)
            pixels = turn_into_rgb(pixels) if pixels.flags.writeable else rgb(pixels)
        elif self.masks[:3] == (0xFF0000, 0xFF00, 0xFF) and self.bits == 32:
            pixels = rgb(rows.reshape(height, width, 4))
            if self.masks[3:] == (0xFF000000,):
                notes = transparency(rows.reshape(height, width, 4)[..., 3])
        else:
            words = rows.view(f"<u{self.bits // 8}")[:, :width].astype(np.uint64)
            channels = [
                ((words & mask) // (mask & -mask) * 255 // (mask // (mask & -mask))).astype(np.uint8)
                for mask in self.masks
                if mask
            ]
            pixels = np.dstack(channels[:3])
            notes = transparency(channels[3]) if channels[3:] else []
        return pixels if self.top_down else pixels[::-1], notes

    def _looked_up(self, rows: Any, width: int) -> Any:
        """Palette indices → gray if the palette is, else RGB."""
        if self.bits < 8:
            bits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, self.bits)
            rows = np.packbits(bits, axis=2, bitorder="big")[..., 0] >> (8 - self.bits)
        indices = rows[:, :width]
        table = np.zeros((256, 3), np.uint8)
        colours = np.frombuffer(self.palette, np.uint8).reshape(-1, 3)[:, ::-1]
        table[: len(colours)] = colours
        if not is_gray(colours.ravel()):
            return table[indices]
        ramp = table[:, 0]
        plain = len(colours) == 256 and bool((ramp == np.arange(256)).all())
        return indices if plain else ramp[indices]
