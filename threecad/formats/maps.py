"""Score maps in and out: how anomalous each pixel of an image is, one number a pixel, in a file of its own.

Read are `.npy` (a plain array: of any real numbers, C or Fortran order), TIFF (float16, float32, float64, uint8, uint16; strips
or tiles, not compressed or by LZW, deflate, PackBits or Zstandard, with any predictor) and gray PNG (8 or 16 bits). What a file
is tells its beginning, not its suffix. Every size that a file states is held against the file's own length and a limit before
anything is allocated. A map is float32 in memory; two float64 scores nearer than seven digits become one.

Arrays are read by their structure (`containers/npy.py`), never with pickled objects. TIFF takes the way of all pictures:
a number is so many bytes, so the file is read as one of 8-bit gray, with the structure, the checks and the codec of `images`, and
the bytes are put together here. OpenCV would read floats as well, but takes much damage for data.

Written is a 16-bit PNG whose text chunk `threecad.scores` holds, as JSON, the `slope` and `offset` of score = level × slope +
offset. It travels with the file where a second file beside it would be left behind; a program that knows nothing of it sees the
levels, which order the pixels in the same way. Maps that such programs are to compare need one scale for all of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import struct
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from threecad.domain import Code, Size
from threecad.errors import LayoutError, ReadError
from threecad.formats import images
from threecad.formats.containers import CUT_OFF, Fault, Read, in_file, in_memory
from threecad.formats.containers.directories import Dialect, with_directory
from threecad.formats.containers.npy import Npy
from threecad.formats.containers.png import SIGNATURE, Png
from threecad.formats.layouts.files import contents, joined, listed
from threecad.formats.png import encode_png

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Map = NDArray[np.float32]

SUFFIXES = frozenset({".npy", ".png", ".tif", ".tiff"})
"""Of score maps, in any case."""
MOST_PIXELS = 100_000_000
"""Of a map: 10,000 × 10,000. Its scores take 0.4 GB, and measuring them several times that."""
_MOST_BYTES = 8 * MOST_PIXELS + (64 << 20)
_MOST_FILES = 5_000_000
"""More are no folder of maps but somebody's whole disk."""
_LEVELS = 65535
_KEYWORD = b"threecad.scores"
_MOST_SCALE_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Scale:
    """What the levels of a 16-bit map mean: score = level × slope + offset, for levels from 0 to 65,535.

    >>> scale = Scale.between(0.0, 7.0)
    >>> round(scale.slope, 7), scale.offset
    (0.0001068, 0.0)
    """

    slope: float
    offset: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and math.isfinite(self.slope) and self.slope > 0):
            raise ValueError(f"found slope {self.slope!r} and offset {self.offset!r}; expected finite numbers, the slope above 0")

    @classmethod
    def between(cls, least: float, most: float) -> Scale:
        """The scale whose levels reach from `least` to `most`; any, where both are the same."""
        return cls((most - least) / _LEVELS if most > least else 1.0, least)


def find(root: Path, suffixes: Iterable[str] = SUFFIXES) -> list[str]:
    """POSIX paths, relative to `root` and sorted, of the files below it that look like maps.

    Hidden files do not count, and a link to a folder inside is not followed, for what it leads to is found where it lies.
    LayoutError where there is no such folder, or no map in it, or where what is called like a map is none: a link that leads out
    of the folder or nowhere, a pipe.
    """
    if not root.is_dir():
        raise LayoutError(f"{root}: {'a file' if root.exists() else 'no such folder'}; expected a folder of score maps")
    wanted = tuple(suffixes)
    base = os.path.realpath(root)
    found: list[str] = []
    waiting, seen = [""], 0
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(base, folder)) as listing:  # noqa: PTH118  Path is slow on 100,000 names
                entries = sorted((each for each in listing if not each.name.startswith(".")), key=lambda each: each.name)
        except OSError as error:
            raise LayoutError(f"{root / folder}: the folder cannot be listed: {error.strerror}") from None
        for entry in entries:
            path = joined(folder, entry.name)
            kind = _kind(entry, base)
            if kind == "folder":
                waiting.append(path)
            elif kind == "folder elsewhere":
                raise LayoutError(
                    f"{root / path}: a link to a folder elsewhere, which is not followed; expected the maps themselves"
                )
            elif entry.name.lower().endswith(wanted) and kind != "folder inside":
                if kind is None:
                    raise LayoutError(f"{root / path}: found no file, or a link that leaves the folder; expected a score map")
                found.append(path)
        seen += len(entries)
        if seen > _MOST_FILES:
            raise LayoutError(f"{root}: found more than {_MOST_FILES} files; expected a folder of score maps")
    if not found:
        raise LayoutError(f"{root}: found {contents(root)}; expected score maps ({listed(wanted)})")
    return sorted(found)


def _kind(entry: os.DirEntry[str], base: str) -> Literal["folder", "folder inside", "folder elsewhere", "file"] | None:
    """What it is; a link counts by where it leads, and one to a file elsewhere is none."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        is_inside = not entry.is_symlink() or os.path.commonpath([base, os.path.realpath(entry.path)]) == base
        if entry.is_dir():
            return "folder inside" if is_inside else "folder elsewhere"
        return "file" if is_inside and entry.is_file() else None
    except OSError:  # a link that leads to itself
        return None


def size_of_map(path: Path) -> Size:
    """Height and width of a map, from the header alone. ReadError as `read_map`, as far as the header tells."""
    with _opened(path) as file:
        stored = _parse(in_file(file), file.seek(0, io.SEEK_END))
        size = images.size_of(path, str(path)) if stored is None else stored.size
        _refuse_above_limit(size)
    return size


def read_map(path: Path) -> Map:
    """The scores of a map, (H, W) float32, finite. ReadError names the file, what was found in it and what was expected.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "a.npy", np.array([[0.25, 1e3]]))
    ...     read_map(Path(folder) / "a.npy")
    array([[2.5e-01, 1.0e+03]], dtype=float32)
    """
    with _opened(path) as file:
        data = file.read(os.fstat(file.fileno()).st_size)
    return decode_map(data, str(path))


def decode_map(data: bytes | memoryview, name: str) -> Map:
    """As `read_map`, of a file's bytes; `name` is what messages call it."""
    view = memoryview(data)
    try:
        stored = _parse(in_memory(view), len(view))
        return _gray(view, name) if stored is None else _scores(stored.decode(view, name))
    except Fault as fault:
        raise ReadError(f"{name}: {fault}") from None


def encode_map(scores: Map, scale: Scale | None = None) -> bytes:
    """The PNG of `write_map`.

    >>> scores = np.array([[0.1, 0.2], [0.3, 6.9]], np.float32)
    >>> scale = Scale.between(0, 7)
    >>> bool(abs(decode_map(encode_map(scores, scale), "map") - scores).max() <= scale.slope / 2 + 1e-7)
    True
    """
    if scores.ndim != 2 or not scores.size or scores.dtype.kind != "f":
        raise ValueError(f"expected (height, width) of floats, found {scores.shape} of {scores.dtype}")
    least, most = float(scores.min()), float(scores.max())
    if not math.isfinite(least + most):
        raise ValueError("a score is NaN or infinite")
    scale = scale or Scale.between(least, most)
    levels = np.rint((scores.astype(np.float64) - scale.offset) / scale.slope)
    if levels.min() < 0 or levels.max() > _LEVELS:
        reach = scale.offset + _LEVELS * scale.slope
        raise ValueError(f"scores from {least:g} to {most:g}, the scale reaches from {scale.offset:g} to {reach:g}")
    png = encode_png(levels.astype(np.uint16))
    text = json.dumps({"offset": scale.offset, "slope": scale.slope}, sort_keys=True).encode()
    chunk = _KEYWORD + b"\0" + text
    told = struct.pack(">I", len(chunk)) + b"tEXt" + chunk + struct.pack(">I", zlib.crc32(b"tEXt" + chunk))
    head = len(SIGNATURE) + 25  # the signature and IHDR, which comes first
    return png[:head] + told + png[head:]


def write_map(path: Path, scores: Map, scale: Scale | None = None) -> None:
    """Write scores, (H, W) floats, as a 16-bit gray PNG from which `read_map` gives them back within half a step of the scale.

    Without a scale the map's own range is taken, which is finest; maps that are compared by programs that see only levels need
    one scale for all. ValueError where a score is not finite or beyond the scale, for it could not be given back. The file is
    written beside and moved, and equal scores give equal bytes.
    """
    # A name may be as long as names can be; what stands for it is short.
    beside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.new")
    data = encode_map(scores, scale)
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


# ---------------------------------------------------------------- what all maps share


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file, every fault of which becomes a ReadError that names it."""
    # What was a file when the folder was listed may be a pipe by now, and opening one waits for whoever writes into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Fault("not a file")
            if found.st_size > _MOST_BYTES:
                raise Fault(f"{found.st_size} bytes, more than a map of {MOST_PIXELS / 1e6:g} million pixels can need")
            yield file
    except Fault as fault:
        raise ReadError(f"{path}: {fault}") from None
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None


def _refuse_above_limit(size: Size) -> None:
    if min(size.height, size.width) < 1:
        raise Fault(f"{_measures(size)} pixels; expected at least one")
    if size.area > MOST_PIXELS:
        raise Fault(f"it states {_measures(size)} pixels; expected at most {MOST_PIXELS / 1e6:g} million")


def _measures(size: Size) -> str:
    return f"{size.height} × {size.width} (height × width)"


_OTHERS = (
    (b"PK", "a ZIP archive, as .npz and .pt are"),
    (b"\x80", "a Python pickle, which is never opened"),
    (b"\xff\xd8\xff", "a JPEG, which blurs values"),
    (b"\x89HDF", "an HDF5 file"),
    (b"v/1\x01", "an OpenEXR file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def _parse(read: Read, available: int) -> _Array | _Tiff | None:
    """How the scores are stored; None where they are whole numbers in a picture. Nothing but headers is read."""
    magic = read(0, 32)
    if magic.startswith(b"\x93NUMPY"):
        return _Array.parse(read, available)
    if magic[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _Tiff.parse(read)
    if magic.startswith(SIGNATURE):
        return None
    known = (what for start, what in _OTHERS if magic.startswith(start))
    what = next(known, f"neither (it starts with {magic[:4].hex(' ')})" if magic else "empty")
    raise Fault(f"{what}; expected a .npy, TIFF or PNG of one score a pixel")


def _scores(values: NDArray[Any]) -> Map:
    """As float32 in rows, refused where a value is not finite."""
    # What float32 cannot hold becomes infinite, and is refused; damage may hold NaN of a kind that warns when it is turned.
    with np.errstate(over="ignore", invalid="ignore"):
        scores: Map = np.ascontiguousarray(values, np.float32)
    # NaN comes through a minimum; this takes no second array of the map's size.
    if not (math.isfinite(scores.min()) and math.isfinite(scores.max())):
        bad = scores.size - int(np.count_nonzero(np.isfinite(scores)))
        raise Fault(f"{bad} of {scores.size} scores are NaN, infinite or beyond float32; expected finite numbers")
    return scores


# ---------------------------------------------------------------- pictures


def _gray(view: memoryview, name: str) -> Map:
    """The levels of a gray picture, or the scores they stand for where it says so."""
    _refuse_above_limit(images.size_of(view, name))
    picture = images.decode(view, name, MOST_PIXELS)
    if picture.pixels.ndim != 2:
        raise Fault(f"{picture.pixels.shape[2]} channels; expected one: the scores themselves, not a picture of them in colours")
    for code, detail in picture.notes:
        if code is Code.ALPHA_DROPPED:
            raise Fault(f"transparency ({detail}); expected one channel of scores")
        if code is Code.FIRST_PAGE_ONLY:
            raise Fault(f"several pages or frames ({detail}); expected one map a file")
    scale = _scale(view) if bytes(view[:8]) == SIGNATURE else None
    if scale is None:
        return _scores(picture.pixels)
    scores = picture.pixels.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of an absurd scale is not finite, and refused
        scores *= scale.slope
        scores += scale.offset
    return _scores(scores)


def _scale(view: memoryview) -> Scale | None:
    """The scale in a PNG's text; None where there is none."""
    for kind, place, length in Png.parse(in_memory(view)).chunks:
        if kind == b"tEXt" and bytes(view[place + 8 : place + 8 + len(_KEYWORD) + 1]) == _KEYWORD + b"\0":
            text = bytes(view[place + 8 + len(_KEYWORD) + 1 : place + length - 4][:_MOST_SCALE_BYTES])
            return _scale_of(text)
    return None


def _scale_of(text: bytes) -> Scale:
    called, expected = f"its text {_KEYWORD.decode()}", 'expected {"offset": number, "slope": number}'
    try:
        told = json.loads(text)
        slope, offset = float(told["slope"]), float(told["offset"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Fault(f"{called} does not read as such; {expected}") from None
    try:
        return Scale(slope, offset)
    except ValueError as error:
        raise Fault(f"{called}: {error}") from None


# ---------------------------------------------------------------- arrays


@dataclass(frozen=True, slots=True)
class _Array:
    """A .npy of one number a pixel."""

    size: Size
    stored: Npy

    @staticmethod
    def parse(read: Read, available: int) -> _Array:
        stored = Npy.parse(read)
        size = _plane(stored.shape)
        _refuse_above_limit(size)
        stored.refuse_unless_whole(available)
        return _Array(size, stored)

    def decode(self, view: memoryview, name: str) -> NDArray[Any]:
        return self.stored.decode(view).reshape((self.size.height, self.size.width))


def _plane(shape: tuple[int, ...]) -> Size:
    """Height and width of an array of so many axes. Axes of one in front (batch, channel) or one behind (channel) say nothing."""
    rest = shape
    while len(rest) > 2 and rest[0] == 1:
        rest = rest[1:]
    if len(rest) == 3 and rest[2] == 1:
        rest = rest[:2]
    if len(rest) == 2:
        return Size(*rest)
    if len(rest) == 3:
        what = "channels" if rest[0] <= 4 or rest[2] <= 4 else "maps"
        count = rest[2] if rest[2] <= 4 < rest[0] else rest[0]
        raise Fault(f"an array of shape {shape}, {count} {what}; expected (height, width), one map a file")
    raise Fault(f"an array of shape {shape}; expected (height, width)")


# ---------------------------------------------------------------- TIFF


_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL, _STRIPS, _TURN = 256, 257, 258, 259, 262, 266, 273, 274
_SAMPLES, _ROWS, _LENGTHS, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_LENGTHS, _FORMAT = (
    277, 278, 279, 317, 322, 323, 324, 325, 339,
)  # fmt: skip
_KINDS = {(1, 8): "u1", (1, 16): "u2", (3, 16): "f2", (3, 32): "f4", (3, 64): "f8"}
"""(sample format, bits) → the number it is."""
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 50000: "Zstandard"}


@dataclass(frozen=True, slots=True)
class _Tiff:
    """A TIFF of one number a pixel. `across` is the width of a tile, or of the image where it has strips."""

    size: Size
    tags: dict[int, tuple[int, ...]]
    kind: np.dtype[Any]
    across: int
    predictor: int

    @staticmethod
    def parse(read: Read) -> _Tiff | None:
        """None for pictures of other kinds, which `images` reads or refuses. What it would not find in the bytes is told here."""
        dialect, first = Dialect.parse(read)
        tags, following = dialect.directory(read, first, range(254, 340))
        one = {tag: values[0] for tag, values in tags.items()}
        form, bits = one.get(_FORMAT, 1), one.get(_BITS, 1)
        odd = (one.get(_SAMPLES, 1), one.get(_PHOTOMETRIC, 1), one.get(_TURN, 1)) != (1, 1, 1) or following
        if form in (1, 4) and (odd or bits not in (8, 16)) and bits <= 16:
            return None
        if (form, bits) not in _KINDS:
            what = {1: "unsigned", 2: "signed", 3: "floating point", 5: "complex", 6: "complex"}.get(form, "unknown")
            raise Fault(f"a TIFF of {what} samples of {bits} bits; expected float16, float32, float64, uint8 or uint16")
        if following:
            raise Fault("a TIFF of several pages; expected one map a file")
        if odd:
            raise Fault("a TIFF of floats in several channels, inverted or turned; expected one channel, upright, black is 0")
        if one.get(_COMPRESSION, 1) not in _COMPRESSIONS:
            known = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
            raise Fault(f"a TIFF of compression {one[_COMPRESSION]}; expected one of {known}")
        if one.get(_PREDICTOR, 1) not in ((1, 2, 3) if form == 3 else (1, 2)):
            raise Fault(f"a TIFF of predictor {one[_PREDICTOR]}; expected 1 or 2, or 3 for floats")
        size = Size(one.get(_HEIGHT, 0), one.get(_WIDTH, 0))
        _refuse_above_limit(size)
        across, down = (one.get(_TILE_WIDTH, 0), one.get(_TILE_HEIGHT, 0)) if _TILES in one else (size.width, 1)
        # The last tile of a row is as wide as all: the picture of bytes must hold it whole.
        whole = size.height * -(-size.width // across) * across if across else 0
        if not whole or not down or max(whole, across * down) > MOST_PIXELS:
            raise Fault(f"damaged: a TIFF with tiles of {down} × {across} pixels (height × width)")
        kind = np.dtype(f"{dialect.order}{_KINDS[form, bits]}")
        return _Tiff(size, tags, kind, across, one.get(_PREDICTOR, 1))

    def decode(self, view: memoryview, name: str) -> NDArray[Any]:
        (height, width), nbytes = (self.size.height, self.size.width), self.kind.itemsize
        count = -(-width // self.across)
        picture = images.decode(self._as_bytes(view, count), name, MOST_PIXELS * nbytes)
        rows: NDArray[Any] = np.ascontiguousarray(picture.pixels).reshape(height, count, self.across * nbytes)
        if self.predictor == 3:
            # The bytes of a row stand apart by their weight, the heaviest first, whatever the order of the file.
            planes = rows.reshape(height, count, nbytes, self.across)
            values: NDArray[Any] = np.ascontiguousarray(planes.transpose(0, 1, 3, 2)).view(self.kind.newbyteorder(">"))
        elif self.predictor == 2:
            # Differences of the words as whole numbers, modulo 2^bits, even where they are floats.
            words = rows.view(self.kind.str[0] + f"u{nbytes}")
            values = np.cumsum(words, axis=2, dtype=f"u{nbytes}").view(self.kind.newbyteorder("="))
        else:
            values = rows.view(self.kind)
        return values.reshape(height, count * self.across)[:, :width]

    def _as_bytes(self, view: memoryview, count: int) -> bytes:
        """The file as one of 8-bit gray whose rows are the bytes of these rows.

        A float predictor takes differences of bytes one after the other, which is the common predictor of 8-bit gray. Bytes have
        no order and these files are short, so the new directory is in the plainest of TIFF's dialects.
        """
        nbytes = self.kind.itemsize
        tags: dict[int, tuple[int, ...]] = {
            _WIDTH: (count * self.across * nbytes,),
            _HEIGHT: (self.size.height,),
            _BITS: (8,),
            _PHOTOMETRIC: (1,),
            _SAMPLES: (1,),
        }
        pieces = (_TILES, _TILE_LENGTHS, _TILE_HEIGHT) if _TILES in self.tags else (_STRIPS, _LENGTHS, _ROWS)
        tags |= {tag: self.tags[tag] for tag in (_COMPRESSION, _FILL, *pieces) if tag in self.tags}
        if _TILES in self.tags:
            tags[_TILE_WIDTH] = (self.across * nbytes,)
        if self.predictor == 3:
            tags[_PREDICTOR] = (2,)
        # The new directory lies behind the file, where it would pass for what is missing of a file that is cut off.
        places, lengths = tags.get(pieces[0], ()), tags.get(pieces[1], ())
        if len(places) != len(lengths):
            raise Fault(f"damaged: {len(places)} strips or tiles, and the lengths of {len(lengths)}")
        if any(place + length > len(view) for place, length in zip(places, lengths, strict=True)):
            raise Fault(CUT_OFF)
        return with_directory(memoryview(b"II*\0" + view[4:]), Dialect("<", False), tags)
