"""Pictures and masks out as PNG: fast, without metadata, and equal pixels as equal bytes."""

from __future__ import annotations

import struct
import threading
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

from threecad.domain import Size
from threecad.formats.containers.png import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from threecad.formats.containers import Pixels
    from threecad.settings import Effort

_PICTURE, _FLAT = 3, 0
"""ISA-L's levels for pictures and for masks. Its levels 1 and 2 are faster, but memory addresses get into their hashes: once in
some thousand times equal pixels give other bytes in another thread. These two never do."""

_KEPT = 16 << 20
"""Bytes of filtered rows, at most, that a thread keeps for its next image; those of a tile of 2,048 × 2,048 in colour fit."""
_LOCAL = threading.local()


def encode_png(pixels: Pixels, effort: Effort = "fast") -> bytes:
    """The pixels, (H, W) gray or (H, W, 3) RGB of uint8 or uint16, as a PNG without any metadata; views are welcome.

    `fast` subtracts from each row the one above it and deflates with ISA-L; `small` picks the filter of each row and deflates
    with zlib's best level, which takes about a hundred times as long for a tenth to a fifth less. Equal pixels give equal bytes,
    whatever their strides and the thread.
    """
    rows, depth, colour = _rows_of(pixels)
    if effort == "small":
        packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
        blocks = _best_filtered(rows, rows.shape[1] // pixels.shape[1])
        packed = b"".join([*map(packer.compress, blocks), packer.flush()])
    else:
        filtered = _scratch(rows.shape[0], 1 + rows.shape[1])
        filtered[:, 0] = 2
        filtered[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        packed = isal_zlib.compress(filtered, _PICTURE)
    return _png(Size(*pixels.shape[:2]), depth, colour, packed)


def encode_mask(mask: Pixels, palette: Sequence[tuple[int, int, int]] | None = None) -> bytes:
    """A mask (H, W) as a PNG of gray levels, or of indices into `palette` (uint8 only); rows unfiltered, which suits flat areas.

    >>> import io
    >>> from PIL import Image
    >>> Image.open(io.BytesIO(encode_mask(np.eye(3, dtype=np.uint8), [(0, 0, 0), (255, 64, 0)]))).getpixel((1, 1))
    1
    """
    colours = None if palette is None else bytes(value for colour in palette for value in colour)
    if colours is not None:
        if mask.dtype != np.uint8 or not 0 < len(colours) <= 768:
            raise ValueError(f"a palette takes uint8 indices and 1 to 256 colours, found {mask.dtype} and {len(colours) // 3}")
        if mask.max() >= len(colours) // 3:
            raise ValueError(f"index {mask.max()} in a palette of {len(colours) // 3} colours")
    if not mask.any():
        return _empty(*mask.shape, mask.dtype.itemsize, colours)
    return _unfiltered(mask, colours)


@lru_cache(maxsize=64)
def _empty(height: int, width: int, depth: int, colours: bytes | None) -> bytes:
    """Most masks are empty and of the same size."""
    return _unfiltered(np.zeros((height, width), f"u{depth}"), colours)


def _unfiltered(mask: Any, colours: bytes | None) -> bytes:
    rows, depth, colour = _rows_of(mask)
    if colour:
        raise ValueError(f"a mask has two dimensions, found {mask.shape}")
    plain = _scratch(rows.shape[0], 1 + rows.shape[1])
    plain[:, 0] = 0
    plain[:, 1:] = rows
    return _png(Size(*mask.shape), depth, colour if colours is None else 3, isal_zlib.compress(plain, _FLAT), colours)


def _scratch(height: int, width: int) -> Any:
    """A place for filtered rows, uint8 and full of anything, that lasts until the same thread asks for the next one.

    Memory that is new to a process is handed over page by page, which takes a tenth of the time of encoding a gray tile.
    """
    size = height * width
    if size > _KEPT:
        return np.empty((height, width), np.uint8)
    if len(getattr(_LOCAL, "scratch", ())) < size:
        _LOCAL.scratch = np.empty(size, np.uint8)
    return _LOCAL.scratch[:size].reshape(height, width)


def _rows_of(pixels: Any) -> tuple[Any, int, int]:
    """The bytes of each row as PNG wants them, (H, bytes) uint8, with the bits a sample and the colour type."""
    known = pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2
    if not known or not pixels.size or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"expected (H, W) or (H, W, 3) of uint8 or uint16, found {pixels.shape} of {pixels.dtype}")
    depth = 8 * pixels.dtype.itemsize
    if depth == 16:
        pixels = pixels.astype(">u2", order="C").view(np.uint8)
    return pixels.reshape(len(pixels), -1), depth, 2 if pixels.ndim == 3 else 0


def _best_filtered(rows: Any, step: int) -> Iterator[Any]:
    """Blocks of rows, each row under the one of PNG's five filters that leaves the least sum of absolute differences."""
    padded = np.zeros((rows.shape[0] + 1, rows.shape[1] + step), np.int16)
    padded[1:, step:] = rows
    for top in range(0, rows.shape[0], 256):
        block = slice(top + 1, top + 257)
        here, left = padded[block, step:], padded[block, :-step]
        above = padded[top : top + len(here)]
        up, corner = above[:, step:], above[:, :-step]
        guess = left + up - corner
        to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
        paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
        choices = np.stack([(here - other).astype(np.uint8) for other in (0 * here, left, up, (left + up) >> 1, paeth)])
        costs = np.minimum(choices, 0 - choices).sum(axis=2, dtype=np.int64)
        best = costs.argmin(axis=0)
        filtered = np.empty((len(here), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = best
        filtered[:, 1:] = choices[best, np.arange(len(here))]
        yield filtered


def _png(size: Size, depth: int, colour: int, packed: bytes, colours: bytes | None = None) -> bytes:
    parts = [SIGNATURE, *_chunk(b"IHDR", struct.pack(">IIBBBBB", size.width, size.height, depth, colour, 0, 0, 0))]
    if colours is not None:
        parts += _chunk(b"PLTE", colours)
    return b"".join((*parts, *_chunk(b"IDAT", packed), *_chunk(b"IEND", b"")))


def _chunk(kind: bytes, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
    return struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)
