"""Pictures in, PNG out: PNG, JPEG, BMP, TIFF and WebP are read as their camera stored them, tiles and masks are written fast.

What a file is and how large, which way up (EXIF) and whether it is whole is read here from its own structure, in one way for
all formats; only the compressed pixels go to a codec, which is handed no more of the file than it needs. So the file's name
plays no part, a cut-off file is an error however forgiving the codec, and no metadata can upset, warn or slow anything down.

What is read means what it says: gray stays gray, three channels stay three, 16 bits stay 16. Transparency is dropped and the
colours beneath it kept as stored, never blended. Colour profiles and gamma are not applied. Orientation comes from EXIF (or
the TIFF tag) alone, not from XMP. CMYK goes through Pillow's plain conversion.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from isal import isal_zlib

from threecad.domain import Code, Size
from threecad.errors import ReadError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8] | NDArray[np.uint16]
    Note = tuple[Code, str]

Effort = Literal["fast", "small"]


class TooLarge(ReadError):
    """An image of more pixels than the limit; nothing of it was decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded image, the right way up.

    `pixels` is (H, W) gray or (H, W, 3) RGB, uint8 or uint16. It may be read-only, and a view of the file's bytes (which it
    keeps alive) or one with reversed rows. `notes` tells what of the file is not in the pixels: (code, detail).
    """

    pixels: Pixels
    notes: tuple[Note, ...] = ()

    @property
    def size(self) -> Size:
        return Size(*self.pixels.shape[:2])


# ---------------------------------------------------------------- reading


def decode(data: bytes | memoryview, name: str, max_pixels: int) -> Picture:
    """The image in `data`; `name` is what messages call it, `max_pixels` the most it may have.

    Raises TooLarge before anything is decoded, ReadError for everything else: a format that is not read, more than 16 bits,
    floating point, or a file that is cut off or damaged. Of several pages or frames the first is read.

    >>> picture = decode(encode_png(np.array([[0, 7]], np.uint8)), "dot.png", max_pixels=100)
    >>> picture.pixels, picture.notes
    (array([[0, 7]], dtype=uint8), ())
    """
    view = memoryview(data)
    with _naming(name):
        header = _header(_in_memory(view))
        _refuse_above(max_pixels, header, name)
        pixels, notes = header.decode(view)
        if pixels.shape[:2] != (header.size.height, header.size.width):
            raise _Fault(
                f"damaged: decodes to {pixels.shape[1]} × {pixels.shape[0]}, not to the {_measures(header.size)} it states"
            )
    return Picture(_upright(pixels, header.orientation), tuple(notes))


def decode_file(path: Path, name: str, max_pixels: int) -> Picture:
    """As `decode`, of a file: its header is looked at before the rest is read. The pixels do not depend on the file any more."""
    with _naming(name), path.open("rb") as file:
        _refuse_above(max_pixels, _header(_in_file(file)), name)
        file.seek(0)
        data = file.read()
    return decode(data, name, max_pixels)


def size_of(data: bytes | memoryview | Path, name: str) -> Size:
    """Height and width of an image (its bytes, or its path) the right way up, from the header alone.

    >>> size_of(encode_png(np.zeros((600, 2000), np.uint8)), "scan.png")
    Size(height=600, width=2000)
    """
    with _naming(name):
        if isinstance(data, (bytes, memoryview)):
            header = _header(_in_memory(memoryview(data)))
        else:
            with data.open("rb") as file:
                header = _header(_in_file(file))
    return _turned(header)


class _Fault(Exception):
    """What is wrong with the bytes at hand, without the name of the file."""


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turns a fault into a ReadError that names the file."""
    try:
        yield
    except _Fault as fault:
        raise ReadError(f"{name}: {fault}") from fault.__cause__
    except OSError as error:
        raise ReadError(f"{name}: cannot be read: {error.strerror or error}") from error


class _Header(Protocol):
    """What is known of an image before decoding: its size as stored, the EXIF orientation that applies, and how to decode it."""

    @property
    def size(self) -> Size: ...
    @property
    def orientation(self) -> int: ...
    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]: ...


Read = Callable[[int, int], bytes]
"""(offset, count) → at most so many bytes from there."""


def _in_memory(view: memoryview) -> Read:
    return lambda offset, count: bytes(view[offset : offset + count])


def _in_file(file: io.BufferedReader) -> Read:
    size = file.seek(0, io.SEEK_END)

    def read(offset: int, count: int) -> bytes:
        # A damaged file may state offsets and lengths that no file can have.
        file.seek(min(offset, size))
        return file.read(min(count, size))

    return read


def _exactly(read: Read, offset: int, count: int) -> bytes:
    found = read(offset, count)
    if len(found) < count:
        raise _Fault("cut off: the file ends before its image does")
    return found


def _measures(size: Size) -> str:
    return f"{size.width} × {size.height}"


def _turned(header: _Header) -> Size:
    """The size that the image has the right way up."""
    return Size(header.size.width, header.size.height) if header.orientation > 4 else header.size


def _refuse_above(max_pixels: int, header: _Header, name: str) -> None:
    size = _turned(header)
    if size.area > max_pixels:
        found, limit = (f"{count / 1e6:.4g}" for count in (size.area, max_pixels))
        raise TooLarge(f"{name}: {_measures(size)} = {found} MP, more than the limit of {limit} MP (read.max_megapixels)")


_OTHERS = (
    (rb"GIF8[79]a", "a GIF"),
    (rb"8BP[SB]", "a Photoshop file"),
    (rb"v/1\x01", "an OpenEXR file"),
    (rb"P[1-7FfJ]\s", "a PNM file"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL file"),
    (rb"\xff\xd8\xff\xf7", "a JPEG-LS file"),
    (rb"....ftypavi[fs]", "an AVIF file"),
    (rb"....ftyp(hei|hev|mif|msf)", "a HEIF file"),
    (rb"....ftyp", "a video"),
    (rb"RIFF....AVI ", "a video"),
    (rb"II\xbc", "a JPEG XR file"),
    (rb"\0\0\x01\0", "an icon"),
    (rb"#\?RADIANCE", "a Radiance file"),
    (rb"%PDF", "a PDF"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"(\xef\xbb\xbf)?\s*[{\[]", "a JSON text"),
    (rb"(\xef\xbb\xbf)?\s*<", "an XML text"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def _header(read: Read) -> _Header:
    magic = read(0, 32)
    header: _Header
    if magic.startswith(_PNG):
        header = _Png.parse(read)
    elif re.match(rb"\xff\xd8\xff[^\xf7]", magic, re.DOTALL):
        header = _Jpeg.parse(read)
    elif magic.startswith(b"BM"):
        header = _Bmp.parse(read)
    elif magic.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        header = _Tiff.parse(read)
    elif re.match(rb"RIFF....WEBP", magic, re.DOTALL):
        header = _Webp.parse(read)
    else:
        known = (what for pattern, what in _OTHERS if re.match(pattern, magic, re.DOTALL))
        what = next(known, f"not an image (it starts with {magic[:4].hex(' ')})" if magic else "empty")
        raise _Fault(f"{what}; expected PNG, JPEG, BMP, TIFF or WebP")
    if min(header.size.height, header.size.width) < 1:
        raise _Fault(f"damaged: it states a size of {_measures(header.size)}")
    return header


# ---------------------------------------------------------------- codecs


@cache
def _cv2() -> Any:
    """OpenCV, told once to leave the threads to us and its complaints about broken files unprinted."""
    import cv2

    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _opencv(data: memoryview | bytes) -> Any:
    """What OpenCV makes of an encoded image, channels in its own order (B, G, R, A). It returns nothing where data is missing."""
    cv2 = _cv2()
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _Fault("damaged: its compressed data cannot be decoded") from error
    if pixels is None:
        raise _Fault("damaged: its compressed data cannot be decoded")
    return pixels


def _pillow(plugin: Callable[[io.BytesIO], Any], data: memoryview | bytes) -> Any:
    """The loaded Pillow image.

    Its plugin is called directly, because Image.open warns of large images, and warnings cannot be caught safely in threads.
    Hostile bytes make Pillow raise nearly anything, so all of it counts as damage.
    """
    try:
        image = plugin(io.BytesIO(data))
        image.load()
    except Exception as error:
        raise _Fault("damaged: its compressed data cannot be decoded") from error
    return image


def _upright(pixels: Any, orientation: int) -> Pixels:
    """Pixels turned and mirrored as the EXIF orientation (1 to 8) asks."""
    if orientation == 1:
        return pixels  # type: ignore[no-any-return]
    cv2 = _cv2()
    if orientation > 4:
        pixels = cv2.transpose(pixels)
    # OpenCV's flip: 0 turns the rows around, 1 the columns, -1 both.
    around = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if around is None else cv2.flip(pixels, around)  # type: ignore[no-any-return]


def _rgb(pixels: Any) -> Any:
    """(H, W, 3 or 4) in OpenCV's order → (H, W, 3) RGB."""
    cv2 = _cv2()
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def _transparency(alpha: Any) -> list[Note]:
    """A note where some pixel is not opaque."""
    return _see_through(alpha.size - int(np.count_nonzero(alpha == np.iinfo(alpha.dtype).max)), alpha.size)


def _see_through(count: int, area: int) -> list[Note]:
    return [(Code.ALPHA_DROPPED, f"{count} of {area} pixels are not opaque")] if count else []


def _first_of(count: int, what: str) -> list[Note]:
    return [(Code.FIRST_PAGE_ONLY, f"the first of {count} {what}")] if count > 1 else []


# ---------------------------------------------------------------- EXIF and TIFF directories

_FORMATS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
"""TIFF's field types that hold unsigned numbers, as struct knows them."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Byte order of a TIFF structure, and whether it is a BigTIFF with its wider fields."""

    order: str
    big: bool

    @staticmethod
    def parse(read: Read) -> tuple[_Dialect, int]:
        """The dialect, and the offset of the first directory."""
        magic = _exactly(read, 0, 4)
        if magic not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise _Fault("damaged: no TIFF header")
        dialect = _Dialect("<" if magic.startswith(b"I") else ">", b"+" in magic)
        return dialect, dialect.numbers("Q" if dialect.big else "I", _exactly(read, *((8, 8) if dialect.big else (4, 4))))[0]

    def numbers(self, letter: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(f"{self.order}{len(data) // struct.calcsize('=' + letter)}{letter}", data)

    def directory(self, read: Read, offset: int, wanted: Iterable[int]) -> tuple[dict[int, tuple[int, ...]], int]:
        """The wanted tags of the directory at `offset` as numbers, and the offset of the next directory (0: none)."""
        counter, step, inline, pointer = ("Q", 20, 8, "Q") if self.big else ("H", 12, 4, "I")
        (count,) = self.numbers(counter, _exactly(read, offset, struct.calcsize("=" + counter)))
        start = offset + struct.calcsize("=" + counter)
        if count > 65535:
            raise _Fault("damaged: a TIFF directory without end")
        entries = _exactly(read, start, count * step)
        tags = {}
        for place in range(0, len(entries), step):
            tag, kind = struct.unpack_from(self.order + "HH", entries, place)
            if tag not in wanted or kind not in _FORMATS or tag in tags:
                continue
            (amount,) = self.numbers(pointer, entries[place + 4 : place + step - inline])
            value = entries[place + step - inline : place + step]
            if not amount:
                continue
            extent = amount * struct.calcsize("=" + _FORMATS[kind])
            if extent > inline:
                value = _exactly(read, self.numbers(pointer, value)[0], extent)
            tags[tag] = self.numbers(_FORMATS[kind], value[:extent])
        following = read(start + len(entries), inline)
        return tags, self.numbers(pointer, following)[0] if len(following) == inline else 0


def _orientation(exif: bytes) -> int:
    """The orientation that an EXIF block asks for; 1 where it asks for none or makes no sense."""
    view = memoryview(exif.removeprefix(b"Exif\0\0"))
    try:
        dialect, first = _Dialect.parse(_in_memory(view))
        tags, _ = dialect.directory(_in_memory(view), first, {274})
    except _Fault:
        return 1
    return _sane(tags.get(274))


def _sane(values: tuple[int, ...] | None) -> int:
    return values[0] if values and 1 <= values[0] <= 8 else 1


# ---------------------------------------------------------------- PNG

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""PNG's colour types (gray, RGB, palette, gray with alpha, RGB with alpha) and the bits each may have."""


@dataclass(frozen=True, slots=True)
class _Png:
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
    def parse(read: Read) -> _Png:
        """Walk all chunks, since EXIF may stand behind the pixels; a file that IEND does not close is cut off."""
        contents: dict[bytes, bytes] = {}
        chunks: list[tuple[bytes, int, int]] = []
        offset = len(_PNG)
        while not chunks or chunks[-1][0] != b"IEND":
            length, kind = struct.unpack(">I4s", _exactly(read, offset, 8))
            if (kind == b"IHDR") != (not chunks):
                raise _Fault("damaged: a PNG starts with one IHDR chunk")
            if kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL"):
                if kind in contents:
                    raise _Fault(f"damaged: a second {kind.decode()} chunk")
                contents[kind] = _exactly(read, offset + 8, length)
            chunks.append((kind, offset, length + 12))
            offset += length + 12
        _exactly(read, offset - 1, 1)
        if len(contents[b"IHDR"]) != 13:
            raise _Fault("damaged: its IHDR chunk has another length than 13 bytes")
        width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", contents[b"IHDR"])
        if depth not in _DEPTHS.get(colour, ()):
            raise _Fault(f"damaged: PNG has no colour type {colour} of {depth} bits")
        frames = contents.get(b"acTL", b"\0")[:4]
        return _Png(
            Size(height, width),
            _orientation(contents.get(b"eXIf", b"")),
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
                raise _Fault(f"damaged: the checksum of its {ascii(kind.decode('latin-1'))[1:-1]} chunk does not fit")
        # The decoder gets no ancillary chunk: it would unpack profiles, play animations and print warnings.
        needed = {b"IHDR", b"PLTE", b"IDAT", b"IEND"} | ({b"tRNS"} if self.colour == 3 else set())
        if any(kind not in needed for kind, _, _ in self.chunks):
            data = memoryview(b"".join([_PNG, *(data[at : at + length] for kind, at, length in self.chunks if kind in needed)]))
        pixels = _opencv(data)
        if pixels.dtype != (np.uint16 if self.depth == 16 else np.uint8):
            raise _Fault(f"damaged: decodes to {pixels.dtype}, not to the {self.depth} bits it states")
        notes = _first_of(self.frames, "frames")
        if pixels.ndim == 2:
            return pixels, notes + self._keyed(pixels)
        if pixels.shape[2] == 4:
            notes += _transparency(pixels[..., 3])
        gray = self.colour in (0, 4) or (self.colour == 3 and _is_gray(np.frombuffer(self.palette, np.uint8)))
        if gray:
            return np.ascontiguousarray(pixels[..., 0]), notes
        pixels = _rgb(pixels)
        return pixels, notes + self._keyed(pixels)

    def _keyed(self, pixels: Any) -> list[Note]:
        """A note where a pixel has the one colour that tRNS declares transparent (gray and RGB only)."""
        channels = {0: 1, 2: 3}.get(self.colour, 0)
        if not channels or len(self.transparent) != 2 * channels:
            return []
        key = np.frombuffer(self.transparent, ">u2").astype(np.uint32)
        if self.depth < 8:
            key = key * 255 // (2**self.depth - 1)
        hits = (pixels.reshape(-1, channels) == key).all(axis=1)
        return _see_through(int(np.count_nonzero(hits)), hits.size)


def _is_gray(palette: Any) -> bool:
    """Whether a flat palette r, g, b, r, g, b, … holds grays only."""
    colours = palette[: palette.size // 3 * 3].reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


# ---------------------------------------------------------------- JPEG

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers that start a frame (SOF0 to SOF15); the three others among them hold tables."""


@dataclass(frozen=True, slots=True)
class _Jpeg:
    size: Size
    orientation: int
    channels: int
    scan: int
    """Offset of the first scan."""
    extras: tuple[tuple[int, int], ...]
    """(start, end) of the segments with EXIF or XMP."""

    @staticmethod
    def parse(read: Read) -> _Jpeg:
        """Walk the segments up to the first scan."""
        frame, exif, offset = None, b"", 2
        extras = []
        while True:
            filler, marker = _exactly(read, offset, 2)
            if filler != 0xFF:
                raise _Fault("damaged: a JPEG segment does not start with a marker")
            if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
                offset += 1 if marker == 0xFF else 2
                continue
            if marker == 0xD9:
                raise _Fault("cut off: the file ends before its image does")
            length = int.from_bytes(_exactly(read, offset + 2, 2))
            body = _exactly(read, offset + 4, max(length - 2, 0)) if marker in _FRAMES or marker in (0xE1, 0xDA) else b""
            if marker in _FRAMES and frame is None:
                frame = body
            if marker == 0xE1:
                extras.append((offset, offset + 2 + length))
                exif = exif or (body if body.startswith(b"Exif\0\0") else b"")
            if marker == 0xDA:
                break
            offset += 2 + length
        if frame is None or len(frame) < 6:
            raise _Fault("damaged: a JPEG without a frame header")
        precision, height, width, channels = struct.unpack(">BHHB", frame[:6])
        if precision != 8:
            raise _Fault(f"a JPEG of {precision} bits; expected 8")
        if channels not in (1, 3, 4):
            raise _Fault(f"a JPEG of {channels} channels; expected 1, 3 or 4")
        return _Jpeg(Size(height, width), _orientation(exif), channels, offset, tuple(extras))

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        """libjpeg conceals damage and completes a cut-off image in gray; in strict mode it says so instead."""
        import simplejpeg

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
            raise _Fault(f"damaged: {reason[:1].lower()}{reason[1:]}") from error
        return pixels[..., 0] if self.channels == 1 else pixels, notes

    def _by_pillow(self, data: memoryview) -> Any:
        """CMYK and unusual subsampling. Pillow overlooks damage, so at least the end has to be there."""
        from PIL import JpegImagePlugin

        if bytes(data[self.scan :]).rfind(b"\xff\xd9") < 0:
            raise _Fault("cut off: the file ends before its image does")
        # Pillow would parse EXIF, and warn of what it finds wrong there.
        starts, ends = (0, *(end for _, end in self.extras)), (*(start for start, _ in self.extras), len(data))
        plain = b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))
        image = _pillow(JpegImagePlugin.JpegImageFile, plain)
        return np.asarray(image.convert("L" if self.channels == 1 else "RGB"))


# ---------------------------------------------------------------- BMP


@dataclass(frozen=True, slots=True)
class _Bmp:
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
    def parse(read: Read) -> _Bmp:
        start, header = struct.unpack("<II", _exactly(read, 10, 8))
        if header == 12:
            width, height, _, bits = struct.unpack("<HHHH", _exactly(read, 18, 8))
            packing, used, entry = 0, 0, 3
        elif 40 <= header <= 124:
            width, height, _, bits, packing = struct.unpack("<iiHHI", _exactly(read, 18, 16))
            (used,) = struct.unpack("<I", _exactly(read, 46, 4))
            entry = 4
        else:
            raise _Fault(f"damaged: BMP has no header of {header} bytes")
        if packing not in (0, 3, 6):
            what = {1: "run-length", 2: "run-length", 4: "JPEG", 5: "PNG"}.get(packing, f"unknown ({packing})")
            raise _Fault(f"a BMP with {what} compression; expected an uncompressed one")
        if bits not in (1, 4, 8, 16, 24, 32) or (packing and bits not in (16, 32)):
            raise _Fault(f"damaged: a BMP of {bits} bits")
        colours = b""
        if bits <= 8:
            count = min(used or 2**bits, 2**bits)
            table = np.frombuffer(_exactly(read, 14 + header, count * entry), np.uint8).reshape(-1, entry)
            colours = table[:, :3].tobytes()
        masks: tuple[int, ...] = (0x7C00, 0x3E0, 0x1F) if bits == 16 else (0xFF0000, 0xFF00, 0xFF)
        if packing:
            count = 4 if packing == 6 or header >= 56 else 3
            masks = struct.unpack(f"<{count}I", _exactly(read, 54, 4 * count))
            if not all(masks[:3]) or any(mask & (mask + (mask & -mask)) for mask in masks):
                raise _Fault("damaged: colour masks that are no runs of bits")
        return _Bmp(Size(abs(height), width), height < 0, bits, masks, colours, start)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        """Uncompressed rows, each filled up to whole words and the lowest one first: mostly a view of the data."""
        height, width = self.size.height, self.size.width
        step = (width * self.bits + 31) // 32 * 4
        # The filling of the very last row may be missing: some programs leave it out.
        least = step * (height - 1) + (width * self.bits + 7) // 8
        stored = data[self.start : self.start + step * height]
        if len(stored) < least:
            raise _Fault("cut off: the file ends before its image does")
        if len(stored) < step * height:
            stored = memoryview(bytes(stored).ljust(step * height, b"\0"))
        rows = np.frombuffer(stored, np.uint8).reshape(height, step)
        pixels: Any
        notes: list[Note] = []
        if self.bits <= 8:
            pixels = self._looked_up(rows, width)
        elif self.bits == 24:
            pixels = _rgb(rows[:, : width * 3].reshape(height, width, 3))
        elif self.masks[:3] == (0xFF0000, 0xFF00, 0xFF) and self.bits == 32:
            pixels = _rgb(rows.reshape(height, width, 4))
            if self.masks[3:] == (0xFF000000,):
                notes = _transparency(rows.reshape(height, width, 4)[..., 3])
        else:
            words = rows.view(f"<u{self.bits // 8}")[:, :width].astype(np.uint64)
            channels = [
                ((words & mask) // (mask & -mask) * 255 // (mask // (mask & -mask))).astype(np.uint8)
                for mask in self.masks
                if mask
            ]
            pixels = np.dstack(channels[:3])
            notes = _transparency(channels[3]) if channels[3:] else []
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
        if not _is_gray(colours.ravel()):
            return table[indices]
        ramp = table[:, 0]
        plain = len(colours) == 256 and bool((ramp == np.arange(256)).all())
        return indices if plain else ramp[indices]


# ---------------------------------------------------------------- TIFF

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL, _STRIPS, _TURN = 254, 256, 257, 258, 259, 262, 266, 273, 274
_SAMPLES, _ROWS, _LENGTHS, _PLANES, _PREDICTOR, _COLOURS = 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_LENGTHS, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_PASSED_ON = (_FILL, 292, 293, 347, 530)
"""Tags that only the codec needs, beside those that are written anew: bit order, fax options, JPEG tables, subsampling."""
_WANTED = frozenset(range(254, 340)) | {347, 530}


@dataclass(frozen=True, slots=True)
class _Tiff:
    size: Size
    orientation: int
    dialect: _Dialect
    tags: dict[int, tuple[int, ...]]
    pages: int
    bits: int
    samples: int
    photometric: int

    @staticmethod
    def parse(read: Read) -> _Tiff:
        dialect, first = _Dialect.parse(read)
        tags, following = dialect.directory(read, first, _WANTED)
        if not all(tags.get(tag) for tag in (_WIDTH, _HEIGHT)):
            raise _Fault("damaged: a TIFF that states no size")
        samples, photometric = tags.get(_SAMPLES, (1,))[0], tags.get(_PHOTOMETRIC, (1,))[0]
        depths, kinds = set(tags.get(_BITS, (1,))), set(tags.get(_FORMAT, (1,)))
        if kinds - {1, 4}:
            kind = {2: "signed", 3: "floating point", 5: "complex", 6: "complex"}.get(max(kinds - {1, 4}), "unknown")
            raise _Fault(f"a TIFF of {kind} samples of {max(depths)} bits; expected unsigned ones of at most 16")
        if tags.get(_COMPRESSION) == (6,):
            raise _Fault("a TIFF with JPEG compression of the old kind; expected any other")
        if photometric not in (0, 1, 2, 3, 5, 6):
            what = {4: "a transparency mask", 8: "Lab colours", 9: "Lab colours", 32803: "raw sensor data"}
            raise _Fault(
                f"a TIFF of {what.get(photometric, f'an unknown kind ({photometric})')}; expected gray, RGB, CMYK or a palette"
            )
        channels = _channels(photometric)
        bits = next(iter(depths))
        if len(depths) > 1 or bits not in ((1, 2, 4, 8, 16) if samples == 1 and photometric in (0, 1, 3) else (8, 16)):
            raise _Fault(f"a TIFF of {'/'.join(map(str, sorted(depths)))} bits a sample; expected 8 or 16")
        if not channels <= samples <= channels + 4 or (bits == 16 and photometric not in (0, 1, 2)):
            raise _Fault(f"a TIFF of {samples} samples a pixel of kind {photometric}, {bits} bits each; expected gray or RGB")
        if photometric == 3 and len(tags.get(_COLOURS, ())) != 3 * 2**bits:
            raise _Fault(f"damaged: a palette of {len(tags.get(_COLOURS, ()))} values; expected {3 * 2**bits}")
        pages, seen = 1, {first}
        while following and following not in seen and len(seen) < 10_000:
            seen.add(following)
            try:
                page, following = dialect.directory(read, following, {_SUBFILE})
            except _Fault:
                break
            # Smaller copies and masks of the first page are not pages.
            pages += not page.get(_SUBFILE, (0,))[0] & 5
        size = Size(tags[_HEIGHT][0], tags[_WIDTH][0])
        return _Tiff(size, _sane(tags.get(_TURN)), dialect, tags, pages, bits, samples, photometric)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        pixels = self._planes(data) if self._is_planar() else self._pixels(data)
        notes = _first_of(self.pages, "pages")
        channels = 1 if self.photometric in (0, 1) else 3
        if pixels.ndim == 3 and pixels.shape[2] > channels:
            notes += _transparency(pixels[..., channels])
            pixels = np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels[..., :3])
        return ~pixels if self.photometric == 0 else pixels, notes

    def _pixels(self, data: memoryview) -> Any:
        """(H, W) or (H, W, samples), extra samples included, white as stored."""
        places, lengths = self._pieces(len(data))
        if self._compression() == 1 and self.bits >= 8 and self.photometric in (0, 1, 2) and self._is_simple():
            return self._stored(data, places, lengths)
        alone = self._alone(data, places, lengths)
        if self.bits == 16:
            # Pillow would cut 16-bit colours down to 8; OpenCV would fill what it cannot decode of 8 bits without a word.
            pixels = _opencv(alone)
            return pixels if pixels.ndim == 2 else _rgb(pixels) if pixels.shape[2] == 3 else pixels[..., [2, 1, 0, 3]]
        return self._by_pillow(alone)

    def _planes(self, data: memoryview) -> Any:
        """As `_pixels`, of a file that stores one sample after the other, as so many gray images."""
        if self.photometric not in (0, 1, 2):
            raise _Fault("a TIFF that stores its colours apart and is neither gray nor RGB; expected one of these")
        kinds = (_TILES, _TILE_LENGTHS) if _TILES in self.tags else (_STRIPS, _LENGTHS)
        pieces = dict(zip(kinds, self._pieces(len(data)), strict=True))
        count = len(pieces[kinds[0]]) // self.samples
        planes = []
        for plane in range(self.samples):
            own = {kind: places[plane * count : (plane + 1) * count] for kind, places in pieces.items()}
            planes.append(replace(self, samples=1, photometric=1, tags=self.tags | own)._pixels(data))
        return np.dstack(planes)

    def _pieces(self, available: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Offset and length of every strip or tile, all inside the file."""
        height, width = self.size.height, self.size.width
        planes = self.samples if self._is_planar() else 1
        if _TILES in self.tags:
            across, down = self.tags.get(_TILE_WIDTH, (0,))[0], self.tags.get(_TILE_HEIGHT, (0,))[0]
            if not across or not down:
                raise _Fault("damaged: TIFF tiles without a size")
            count = -(-width // across) * -(-height // down) * planes
            places, lengths = self.tags[_TILES], self.tags.get(_TILE_LENGTHS, ())
        else:
            count = -(-height // self._rows()) * planes
            places, lengths = self.tags.get(_STRIPS, ()), self.tags.get(_LENGTHS, ())
            if not lengths and count == 1 and self._compression() == 1:
                lengths = (height * self._pitch(),)
        if len(places) < count or len(lengths) < count:
            raise _Fault(f"damaged: {min(len(places), len(lengths))} strips or tiles, {count} expected")
        places, lengths = places[:count], lengths[:count]
        if any(place + length > available for place, length in zip(places, lengths, strict=True)):
            raise _Fault("cut off: the file ends before its image does")
        return places, lengths

    def _rows(self) -> int:
        """Rows of a strip."""
        return min(self.tags.get(_ROWS, (self.size.height,))[0], self.size.height) or self.size.height

    def _pitch(self) -> int:
        """Bytes of an uncompressed row of all samples."""
        return (self.size.width * self.samples * self.bits + 7) // 8

    def _is_planar(self) -> bool:
        return self.samples > 1 and self.tags.get(_PLANES, (1,))[0] == 2

    def _is_simple(self) -> bool:
        """Whether the rows stand one behind the other, as bytes in their usual order."""
        return _TILES not in self.tags and self.tags.get(_FILL, (1,))[0] == 1

    def _compression(self) -> int:
        return self.tags.get(_COMPRESSION, (1,))[0]

    def _stored(self, data: memoryview, places: Sequence[int], lengths: Sequence[int]) -> Any:
        height, width, rows = self.size.height, self.size.width, self._rows()
        extents = [self._pitch() * min(rows, height - top) for top in range(0, height, rows)]
        if any(length < extent for length, extent in zip(lengths, extents, strict=True)):
            raise _Fault("cut off: a strip is shorter than its rows")
        follows = all(place + extent == after for place, extent, after in zip(places, extents, places[1:], strict=False))
        if follows:
            block = data[places[0] : places[0] + sum(extents)]
        else:
            block = memoryview(b"".join(data[place : place + extent] for place, extent in zip(places, extents, strict=True)))
        kind = np.dtype(f"{self.dialect.order}u{self.bits // 8}")
        shape = (height, width) if self.samples == 1 else (height, width, self.samples)
        return np.frombuffer(block, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)

    def _alone(self, data: memoryview, places: Sequence[int], lengths: Sequence[int]) -> bytes:
        """The file with a new directory that holds this page's pixels alone: not its orientation, for a codec would apply it."""
        width, height = self.size.width, self.size.height
        extra = self.samples - _channels(self.photometric)
        tags: dict[int, tuple[int, ...]] = {
            _WIDTH: (width,),
            _HEIGHT: (height,),
            _BITS: (self.bits,) * self.samples,
            _COMPRESSION: (self._compression(),),
            _PHOTOMETRIC: (self.photometric or 1,),
            _SAMPLES: (self.samples,),
        }
        if _TILES in self.tags:
            tags |= {tag: self.tags[tag][:1] for tag in (_TILE_WIDTH, _TILE_HEIGHT)} | {
                _TILES: tuple(places),
                _TILE_LENGTHS: tuple(lengths),
            }
        else:
            tags |= {_ROWS: (self._rows(),), _STRIPS: tuple(places), _LENGTHS: tuple(lengths)}
        if extra:
            # Said to be alpha not blended yet, it comes out untouched; any other kind would be multiplied in, or be left out.
            tags[_EXTRA] = (2,) + (0,) * (extra - 1)
        if self.tags.get(_PREDICTOR, (1,)) != (1,):
            tags[_PREDICTOR] = self.tags[_PREDICTOR]
        if self.photometric == 3:
            tags[_COLOURS] = self.tags[_COLOURS]
        tags |= {tag: self.tags[tag] for tag in _PASSED_ON if tag in self.tags}
        return _with_directory(data, self.dialect, tags)

    def _by_pillow(self, data: bytes) -> Any:
        """Gray or RGB (palette, bits and CMYK resolved), an extra channel last."""
        from PIL import TiffImagePlugin

        image = _pillow(TiffImagePlugin.TiffImageFile, data)
        if image.mode == "1":
            return np.asarray(image.convert("L"))
        if image.mode == "P":
            colours = np.reshape(self.tags[_COLOURS], (3, -1))
            rgb = np.asarray(image.convert("RGB"))
            return np.ascontiguousarray(rgb[..., 0]) if (colours == colours[0]).all() else rgb
        if image.mode == "CMYK":
            return np.asarray(image.convert("RGB"))
        if image.mode not in ("L", "LA", "RGB", "RGBA", "RGBX"):
            raise _Fault(f"a TIFF that Pillow reads as {image.mode}; expected gray or RGB")
        return np.asarray(image)


def _channels(photometric: int) -> int:
    """Samples a pixel needs, without extra ones."""
    return {2: 3, 5: 4, 6: 3}.get(photometric, 1)


def _with_directory(data: memoryview, dialect: _Dialect, tags: dict[int, tuple[int, ...]]) -> bytes:
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


# ---------------------------------------------------------------- WebP


@dataclass(frozen=True, slots=True)
class _Webp:
    size: Size
    orientation: int
    frame: tuple[int, int] | None
    """Offset and length of the first frame of an animation."""
    frames: int

    @staticmethod
    def parse(read: Read) -> _Webp:
        end = 8 + int.from_bytes(_exactly(read, 4, 4), "little")
        _exactly(read, end - 1, 1)
        size, exif, frame, frames, stills = None, b"", None, 0, 0
        for kind, offset, length in _riff(read, 12, end):
            if kind == b"VP8X" and size is None:
                fields = _exactly(read, offset, 10)
                size = Size(int.from_bytes(fields[7:10], "little") + 1, int.from_bytes(fields[4:7], "little") + 1)
            elif kind in (b"VP8 ", b"VP8L"):
                stills += 1
                size = size or _webp_size(kind, _exactly(read, offset, 10 if kind == b"VP8 " else 5))
            elif kind == b"EXIF" and not exif:
                exif = _exactly(read, offset, length)
            elif kind == b"ANMF":
                frame = frame or (offset, length)
                frames += 1
        if size is None or not stills + frames:
            raise _Fault("damaged: a WebP without an image")
        return _Webp(size, _orientation(exif), None if stills else frame, frames)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        if self.frame is not None:
            data = self._still(data, *self.frame)
        pixels = _opencv(data)
        if pixels.ndim != 3:
            raise _Fault("damaged: decodes to no colours")
        notes = _first_of(self.frames, "frames") + (_transparency(pixels[..., 3]) if pixels.shape[2] == 4 else [])
        return _rgb(pixels), notes

    def _still(self, data: memoryview, offset: int, length: int) -> memoryview:
        """The first frame as a file of its own: played as an animation its transparent pixels would lose their colours."""
        fields = bytes(data[offset : offset + 16])
        if len(fields) < 16:
            raise _Fault("damaged: a frame without a header")
        left, top, width, height = (int.from_bytes(fields[at : at + 3], "little") for at in (0, 3, 6, 9))
        if (left, top, width + 1, height + 1) != (0, 0, self.size.width, self.size.height):
            raise _Fault("an animation whose first frame covers only a part; expected a whole image")
        canvas = b"VP8X" + struct.pack("<II", 10, 0x10) + fields[6:12]
        body = b"WEBP" + canvas + bytes(data[offset + 16 : offset + length])
        return memoryview(b"RIFF" + struct.pack("<I", len(body)) + body)


def _riff(read: Read, offset: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, offset of the content, its length) of the chunks in [offset, end)."""
    while offset + 8 <= end:
        kind, length = struct.unpack("<4sI", _exactly(read, offset, 8))
        if offset + 8 + length > end:
            raise _Fault("cut off: the file ends before its image does")
        yield kind, offset + 8, length
        offset += 8 + length + length % 2


def _webp_size(kind: bytes, fields: bytes) -> Size:
    """Of a lossy or lossless image stream, 14 bits a side."""
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", fields[6:10])
        return Size(height & 0x3FFF, width & 0x3FFF)
    packed = int.from_bytes(fields[1:5], "little")
    return Size((packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1)


# ---------------------------------------------------------------- writing

_PICTURE, _FLAT = 3, 0
"""ISA-L's levels for pictures and for masks. Its levels 1 and 2 are faster, but memory addresses get into their hashes: once in
some thousand times equal pixels give other bytes in another thread. These two never do."""


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
        filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2
        filtered[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        packed = isal_zlib.compress(filtered, _PICTURE)
    return _png(Size(*pixels.shape[:2]), depth, colour, packed)


def encode_mask(mask: Pixels, palette: Sequence[tuple[int, int, int]] | None = None) -> bytes:
    """A mask (H, W) as a PNG of gray levels, or of indices into `palette` (uint8 only); rows unfiltered, which suits flat areas.

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
    plain = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    plain[:, 0] = 0
    plain[:, 1:] = rows
    return _png(Size(*mask.shape), depth, colour if colours is None else 3, isal_zlib.compress(plain, _FLAT), colours)


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
    parts = [_PNG, *_chunk(b"IHDR", struct.pack(">IIBBBBB", size.width, size.height, depth, colour, 0, 0, 0))]
    if colours is not None:
        parts += _chunk(b"PLTE", colours)
    return b"".join((*parts, *_chunk(b"IDAT", packed), *_chunk(b"IEND", b"")))


def _chunk(kind: bytes, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
    return struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)
