"""Pictures in: PNG, JPEG, BMP, TIFF and WebP are read as their camera stored them.

What a file is and how large, which way up (EXIF) and whether it is whole is read from its own structure (`containers`), in one
way for all formats; only the compressed pixels go to a codec, which is handed no more of the file than it needs. So the file's
name plays no part, a cut-off file is an error however forgiving the codec, and no metadata can upset, warn or slow anything down.

What is read means what it says: gray stays gray, three channels stay three, 16 bits stay 16. Transparency is dropped and the
colours beneath it kept as stored, never blended. Colour profiles and gamma are not applied. Orientation comes from EXIF (or
the TIFF tag) alone, not from XMP. CMYK goes through Pillow's plain conversion.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Size
from threecad.errors import ReadError
from threecad.formats.containers import Fault, in_file, in_memory
from threecad.formats.containers.bmp import Bmp
from threecad.formats.containers.codecs import opencv
from threecad.formats.containers.jpeg import Jpeg
from threecad.formats.containers.png import Png
from threecad.formats.containers.tiff import Tiff
from threecad.formats.containers.webp import Webp
from threecad.formats.remote import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from threecad.formats.containers import Header, Note, Pixels, Read


MOST_PIXELS = 400_000_000
"""Of an image of a finished data set, which no setting tells about; `read.max_megapixels` has the same default."""


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


def decode(data: bytes | memoryview, name: str, max_pixels: int, *, spend: bool = False) -> Picture:
    """The image in `data`; `name` is what messages call it, `max_pixels` the most it may have.

    With `spend` the caller needs `data` no more: where it can be written to, the pixels may be made in it and not beside it.

    Raises TooLarge before anything is decoded, ReadError for everything else: a format that is not read, more than 16 bits,
    floating point, or a file that is cut off or damaged. Of several pages or frames the first is read.

    >>> import numpy as np
    >>> from threecad.formats.png import encode_png
    >>> picture = decode(encode_png(np.array([[0, 7]], np.uint8)), "dot.png", max_pixels=100)
    >>> picture.pixels, picture.notes
    (array([[0, 7]], dtype=uint8), ())
    """
    view = memoryview(data) if spend else memoryview(data).toreadonly()
    with _naming(name):
        header = _header(in_memory(view))
        _refuse_above(max_pixels, header, name)
        pixels, notes = header.decode(view)
        if pixels.shape[:2] != (header.size.height, header.size.width):
            raise Fault(
                f"damaged: decodes to {pixels.shape[1]} × {pixels.shape[0]}, not to the {_measures(header.size)} it states"
            )
    return Picture(_upright(pixels, header.orientation), tuple(notes))


def decode_file(path: Path, name: str, max_pixels: int) -> Picture:
    """As `decode`, of a file: its header is looked at before the rest is read. The pixels do not depend on the file any more."""
    with _naming(name), path.open("rb") as file:
        _refuse_above(max_pixels, _header(in_file(file)), name)
        size = file.seek(0, io.SEEK_END)
        if size > most_bytes(max_pixels):
            raise Fault(f"{size} bytes, more than an image of {max_pixels / 1e6:.4g} MP can need")
        file.seek(0)
        data = read_into(file, size)
    return decode(memoryview(data), name, max_pixels, spend=True)


def read_into(file: BinaryIO, size: int) -> memoryview:
    """The next `size` bytes, or those there are, in memory that can be written to."""
    room = np.empty(size, np.uint8).data
    filled = 0
    while filled < size and (count := file.readinto(room[filled:])):  # type: ignore[attr-defined]
        filled += count
    return room[:filled]


def most_bytes(max_pixels: int) -> int:
    """Bytes that a file of so many pixels may have: those of 16-bit RGBA, and plenty for whatever else it holds."""
    return 8 * max_pixels + (64 << 20)


def size_of(data: bytes | memoryview | Place, name: str) -> Size:
    """Height and width of an image (its bytes, or its path) the right way up, from the header alone.

    >>> import numpy as np
    >>> from threecad.formats.png import encode_png
    >>> size_of(encode_png(np.zeros((600, 2000), np.uint8)), "scan.png")
    Size(height=600, width=2000)
    """
    with _naming(name):
        if isinstance(data, (bytes, memoryview)):
            header = _header(in_memory(memoryview(data)))
        else:
            with data.open("rb") as file:
                header = _header(in_file(file))
    return _turned(header)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turns a fault into a ReadError that names the file."""
    try:
        yield
    except Fault as fault:
        raise ReadError(f"{name}: {fault}") from fault.__cause__
    except OSError as error:
        raise ReadError(f"{name}: cannot be read: {error.strerror or error}") from error


def _refuse_above(max_pixels: int, header: Header, name: str) -> None:
    size = _turned(header)
    if size.area > max_pixels:
        found, limit = (f"{count / 1e6:.4g}" for count in (size.area, max_pixels))
        raise TooLarge(f"{name}: {_measures(size)} = {found} MP, more than the limit of {limit} MP (read.max_megapixels)")


def _measures(size: Size) -> str:
    return f"{size.width} × {size.height}"


_FORMATS: tuple[tuple[bytes, Callable[[Read], Header]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", Png.parse),
    (rb"\xff\xd8\xff[^\xf7]", Jpeg.parse),
    (rb"BM", Bmp.parse),
    (rb"II[*+]\0|MM\0[*+]", Tiff.parse),
    (rb"RIFF....WEBP", Webp.parse),
)
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


def _header(read: Read) -> Header:
    magic = read(0, 32)
    parse = next((parse for pattern, parse in _FORMATS if re.match(pattern, magic, re.DOTALL)), None)
    if parse is None:
        known = (what for pattern, what in _OTHERS if re.match(pattern, magic, re.DOTALL))
        what = next(known, f"not an image (it starts with {magic[:4].hex(' ')})" if magic else "empty")
        raise Fault(f"{what}; expected PNG, JPEG, BMP, TIFF or WebP")
    header = parse(read)
    if min(header.size.height, header.size.width) < 1:
        raise Fault(f"damaged: it states a size of {_measures(header.size)}")
    return header


def _turned(header: Header) -> Size:
    """The size that the image has the right way up."""
    return Size(header.size.width, header.size.height) if header.orientation > 4 else header.size


def _upright(pixels: Any, orientation: int) -> Pixels:
    """Pixels turned and mirrored as the EXIF orientation (1 to 8) asks."""
    if orientation == 1:
        return pixels  # type: ignore[no-any-return]
    cv2 = opencv()
    if orientation > 4:
        pixels = cv2.transpose(pixels)
    # OpenCV's flip: 0 turns the rows around, 1 the columns, -1 both.
    around = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if around is None else cv2.flip(pixels, around)  # type: ignore[no-any-return]
