"""JPEG: a row of segments up to the first scan, behind which libjpeg knows the way."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Code, Size
from threecad.formats.containers import CUT_OFF, ENDLESS, MOST, Fault, Read, exactly
from threecad.formats.containers.codecs import by_pillow
from threecad.formats.containers.directories import orientation_of

if TYPE_CHECKING:
    from threecad.formats.containers import Note, Pixels

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers that start a frame (SOF0 to SOF15); the three others among them hold tables."""
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SCANS = 100
"""Scans a picture may be refined in. Encoders need some ten; each goes over all of it, and need not have more than ten bytes."""


@dataclass(frozen=True, slots=True)
class Jpeg:
    size: Size
    orientation: int
    channels: int
    scan: int
    """Offset of the first scan."""
    extras: tuple[tuple[int, int], ...]
    """(start, end) of the segments with EXIF or XMP."""
    refined: bool
    """Whether there are further scans behind the first one; else libjpeg stops at its end."""

    @staticmethod
    def parse(read: Read) -> Jpeg:
        """Walk the segments up to the first scan."""
        frame, exif, offset, progressive = None, b"", 2, False
        extras = []
        for _ in range(MOST):
            filler, marker = exactly(read, offset, 2)
            if filler != 0xFF:
                raise Fault("damaged: a JPEG segment does not start with a marker")
            if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
                offset += 1 if marker == 0xFF else 2
                continue
            if marker == 0xD9:
                raise Fault(CUT_OFF)
            length = int.from_bytes(exactly(read, offset + 2, 2))
            body = exactly(read, offset + 4, max(length - 2, 0)) if marker in _FRAMES or marker in (0xE1, 0xDA) else b""
            if marker in _FRAMES and frame is None:
                frame, progressive = body, marker in _PROGRESSIVE
            if marker == 0xE1:
                extras.append((offset, offset + 2 + length))
                exif = exif or (body if body.startswith(b"Exif\0\0") else b"")
            if marker == 0xDA:
                break
            offset += 2 + length
        else:
            raise Fault(ENDLESS)
        if frame is None or len(frame) < 6:
            raise Fault("damaged: a JPEG without a frame header")
        precision, height, width, channels = struct.unpack(">BHHB", frame[:6])
        if precision != 8:
            raise Fault(f"a JPEG of {precision} bits; expected 8")
        if channels not in (1, 3, 4):
            raise Fault(f"a JPEG of {channels} channels; expected 1, 3 or 4")
        refined = progressive or body[:1] != frame[5:6]  # or one channel after the other
        return Jpeg(Size(height, width), orientation_of(exif), channels, offset, tuple(extras), refined)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        """libjpeg conceals damage and completes a cut-off image in gray; in strict mode it says so instead."""
        import simplejpeg

        if self.refined and next(islice(re.finditer(rb"\xff\xda", data[self.scan :]), _SCANS, None), None) is not None:
            raise Fault(f"damaged: a JPEG of more than {_SCANS} scans")
        if self.channels == 4:
            return self._by_pillow(data), []
        colours = "GRAY" if self.channels == 1 else "RGB"
        notes: list[Note] = []
        try:
            try:
                pixels = simplejpeg.decode_jpeg(data, colours)
            except ValueError as error:
                left_over = re.search(r"(\d+) extraneous bytes before marker 0xd9", str(error))
                if not left_over:
                    raise
                # Bytes between the last block and the end: what some cameras fill up with, or the trace of a flipped bit.
                # Nobody can tell them apart, so the pixels are taken and the doubt is passed on.
                notes = [(Code.IMAGE_DOUBTFUL, f"{left_over[1]} bytes are left over behind the last pixel")]
                pixels = simplejpeg.decode_jpeg(data, colours, strict=False)
        except ValueError as error:
            if "subsampling" in str(error):
                return self._by_pillow(data), []
            reason = str(error).strip().rstrip(".")
            raise Fault(f"damaged: {reason[:1].lower()}{reason[1:]}") from error
        return pixels[..., 0] if self.channels == 1 else pixels, notes

    def _by_pillow(self, data: memoryview) -> Any:
        """CMYK and unusual subsampling. Pillow overlooks damage, so at least the end has to be there."""
        from PIL import JpegImagePlugin

        if bytes(data[self.scan :]).rfind(b"\xff\xd9") < 0:
            raise Fault(CUT_OFF)
        # Pillow would parse EXIF, and warn of what it finds wrong there.
        starts, ends = (0, *(end for _, end in self.extras)), (*(start for start, _ in self.extras), len(data))
        plain = b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))
        image = by_pillow(JpegImagePlugin.JpegImageFile, plain)
        return np.asarray(image.convert("L" if self.channels == 1 else "RGB"))
