"""Pictures and masks out as PNG: fast, without metadata, and equal pixels as equal bytes."""

from __future__ import annotations

import struct
import threading
import zlib
from bisect import bisect_left
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from isal import isal_zlib

from threecad.domain import Size
from threecad.formats.containers.png import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from threecad.domain import Window
    from threecad.formats.containers import Pixels
    from threecad.settings import Effort

REVISION = 2
"""Goes up when the same pixels become other bytes than before."""

_PICTURE, _FLAT = 3, 0
"""ISA-L's levels for pictures and for masks. Its levels 1 and 2 are faster, but memory addresses get into their hashes: once in
some thousand times equal pixels give other bytes in another thread. These two never do."""

_ADLER = 65521
"""Adler-32's modulus: the largest prime below 2¹⁶."""

_KEPT = 16 << 20
"""Bytes of filtered rows, at most, that a thread keeps for its next image; those of a tile of 2,048 × 2,048 in colour fit."""
_LOCAL = threading.local()


def encode_png(pixels: Pixels, effort: Effort = "fast") -> bytes:
    """The pixels, (H, W) gray or (H, W, 3) RGB of uint8 or uint16, as a PNG without any metadata; views are welcome.

    `fast` subtracts from each row the one above it (from each pixel of the first its left neighbour) and deflates with ISA-L;
    `small` picks the filter of each row and deflates with zlib's best level, which takes about a hundred times as long for a
    tenth to a fifth less. Equal pixels give equal bytes, whatever their strides and the thread.
    """
    rows, depth, colour = _rows_of(pixels)
    if effort == "small":
        packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
        blocks = _best_filtered(rows, rows.shape[1] // pixels.shape[1])
        packed = b"".join([*map(packer.compress, blocks), packer.flush()])
    else:
        packed = _stream([_part(rows, rows.shape[1] // pixels.shape[1])])
    return _png(Size(*pixels.shape[:2]), depth, colour, packed)


class Overlapping:
    """The tiles of one image, where what overlaps is filtered and deflated once.

    Two tiles of the same columns share the rows where they overlap. A PNG's rows are one deflate stream, and that may be put
    together from parts that know nothing of each other; so the rows are parted wherever a tile of the column begins or ends, and
    a part that several tiles hold is made by the first that asks. `windows` are all of the image, of which only those in
    `wanted` will be asked for, each once: how the rows are parted does not hang on who wants them, and a part is kept no longer
    than until the last has had it. Any thread may ask. With the effort `small` nothing is shared.

    >>> from threecad.domain import Window
    >>> pixels = np.arange(60, dtype=np.uint8).reshape(10, 6)
    >>> upper, lower = Window(0, 0, Size(6, 6)), Window(4, 0, Size(6, 6))
    >>> tiles = Overlapping(pixels, [upper, lower], {upper, lower})
    >>> from threecad.formats.images import decode
    >>> bool((decode(tiles.encode(lower, pixels[4:]), "lower", max_pixels=100).pixels == pixels[4:]).all())
    True
    """

    def __init__(self, pixels: Pixels, windows: Iterable[Window], wanted: Container[Window], effort: Effort = "fast") -> None:
        self._pixels = pixels
        self._effort: Effort = effort
        self._cuts: dict[tuple[int, int], list[int]] = {}
        self._parts: dict[tuple[int, int, int], _Shared] = {}
        inside = [window for window in windows if effort == "fast" and not self._beyond(window)]
        for window in inside:
            self._cuts.setdefault(_column(window), []).extend((window.top, window.top + window.size.height))
        for column, cuts in self._cuts.items():
            self._cuts[column] = sorted(set(cuts))
        for window in inside:
            for top, _ in self._spans(window) if window in wanted else ():
                self._parts.setdefault((*_column(window), top), _Shared()).wanted += 1

    def encode(self, window: Window, pixels: Pixels) -> bytes:
        """The tile of one of the windows, as a PNG of its `pixels`. One that reaches beyond the image shares nothing."""
        if self._effort != "fast" or self._beyond(window):
            return encode_png(pixels, self._effort)
        left, width = _column(window)
        strip = self._pixels[:, left : left + width]
        _, depth, colour = _rows_of(strip[:1])

        def part(top: int, bottom: int) -> _Part:
            return _part(_rows_of(strip[top:bottom])[0], (3 if colour else 1) * depth // 8)

        parts = [self._parts[left, width, top].ask(partial(part, top, bottom)) for top, bottom in self._spans(window)]
        return _png(window.size, depth, colour, _stream(parts))

    def _beyond(self, window: Window) -> bool:
        height, width = map(int, self._pixels.shape[:2])
        return window.top + window.size.height > height or window.left + window.size.width > width

    def _spans(self, window: Window) -> Iterator[tuple[int, int]]:
        """Where the window's rows are parted: first row and the one behind the last of each part."""
        cuts = self._cuts[_column(window)]
        return pairwise(cuts[bisect_left(cuts, window.top) : bisect_left(cuts, window.top + window.size.height) + 1])


class _Shared:
    """A part that is made once and forgotten when all have had it."""

    def __init__(self) -> None:
        self.wanted = 0
        self._made: _Part | None = None
        self._lock = threading.Lock()

    def ask(self, make: Callable[[], _Part]) -> _Part:
        with self._lock:
            part = self._made or make()
            self.wanted -= 1
            self._made = part if self.wanted > 0 else None
        return part


class _Part(NamedTuple):
    """Rows filtered and deflated by themselves: blocks that end on a byte and look back to nothing before them."""

    packed: tuple[bytes, bytes]
    adler: int
    nbytes: int


def _column(window: Window) -> tuple[int, int]:
    return window.left, window.size.width


def _part(rows: Any, step: int) -> _Part:
    """`step` bytes are a pixel. The first row is filtered by what is left of each pixel, the others by the row above."""
    filtered = _scratch(rows.shape[0], 1 + rows.shape[1])
    filtered[0, 0] = 1
    filtered[0, 1 : 1 + step] = rows[0, :step]
    np.subtract(rows[0, step:], rows[0, :-step], out=filtered[0, 1 + step :])
    filtered[1:, 0] = 2
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    packer = isal_zlib.compressobj(_PICTURE, isal_zlib.DEFLATED, -15)
    packed = packer.compress(filtered), packer.flush(isal_zlib.Z_FULL_FLUSH)
    return _Part(packed, isal_zlib.adler32(filtered), filtered.size)


def _stream(parts: Sequence[_Part]) -> bytes:
    """A zlib stream of the parts, one after the other (RFC 1950, 1951): its last block is empty, its checksum that of all."""
    low, high = 1, 0
    for part in parts:
        high = (high + (part.adler >> 16) + part.nbytes * (low - 1)) % _ADLER
        low = (low + (part.adler & 0xFFFF) - 1) % _ADLER
    blocks = (block for part in parts for block in part.packed)
    return b"".join((b"\x78\x01", *blocks, b"\x03\x00", (high << 16 | low).to_bytes(4)))


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
