"""The model's squares of a data set, decoded once and kept in a file that is mapped into memory.

    squares-<digest>.npy        (squares, side, side, 3) uint8; when it was last used is its time of modification

The digest is of all that the squares depend on, so a file is never out of date: it is the one that is asked for, or another's.
Several processes may build the same one at once; each writes beside, and the last to finish replaces the others' equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from threecad.domain import Size
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.formats.dataset import Dataset
from threecad.formats.images import size_of
from threecad.learning.fitting import Fit, fit_image, fits
from threecad.pipeline.convert import budget, cores
from threecad.pipeline.measures import ENVIRONMENT
from threecad.pipeline.threads import Opened, work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.learning.config import Data

FORMAT = 1
"""Part of every digest: raise it whenever the same files would give other squares than before."""
LIMIT = 20_000_000_000
"""Bytes of squares above which those used least recently go."""

_OURS = re.compile(r"squares-[0-9a-f]{32}\.npy")
_BESIDE = re.compile(r"\.squares-.*\.new")
_STALE = 2 * 86_400  # seconds after which a file that is still being written belongs to nobody
_OPEN = 13  # bytes a pixel: 16-bit RGB as decoded, the same in 8 bits, and Pillow's copy in four


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """The squares of a data set, in the order of its rows, and those of one image from top to bottom and left to right.

    `pixels` is (squares, side, side, 3) uint8 RGB, mapped from a file that must not be written. `numbers` (squares,) are hashes,
    0 up to 2^63 − 1, of the row's id and the square's place in its image: the same wherever and in whatever company the image
    is used. `rows` (squares,) tells which of the data set's rows each shows.
    """

    pixels: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Picture:
    """One row's file as it looks from outside, and the first and the number of its squares."""

    path: Path
    nbytes: int
    mtime_ns: int
    first: int
    count: int


def home() -> Path:
    """Where squares are kept: the folder that THREECAD_CACHE names, else the user's cache folder. ConfigError without either."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).absolute()
    from platformdirs import user_cache_path

    folder = user_cache_path("threecad", appauthor=False)
    if not folder.is_absolute():  # of a user without a home
        raise ConfigError(f"found no cache folder of the user ({folder} is not absolute); set {ENVIRONMENT} to a folder")
    return folder


def squares(
    data: Dataset,
    settings: Data,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Squares:
    """The squares of every image, from the file in `folder` that holds them, which is made where it is missing or damaged.

    `progress` is called with the images done and their number, only while squares are made. Masks are not read, and the data
    set's transform is not applied. Few images are decoded at a time, within half the memory.

    ReadError names an image that cannot be read; no other stands in for it. ThreecadError where the folder cannot be written,
    or is full; nothing half-written is left.

    >>> from tempfile import TemporaryDirectory
    >>> from threecad.formats.png import encode_png
    >>> from threecad.learning.config import Data
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "nut", "train", "good", "0.png")
    ...     path.parent.mkdir(parents=True)
    ...     _ = path.write_bytes(encode_png(np.full((300, 200), 7, np.uint8)))
    ...     found = squares(Dataset(Path(folder, "nut")), Data(resize="tile"), Path(folder, "squares"))
    ...     found.pixels.shape, found.rows.tolist(), int(found.pixels[1, 0, 0, 0])
    ((2, 256, 256, 3), [0, 0], 7)
    """
    pictures = _pictures(data, settings)
    count = pictures[-1].first + pictures[-1].count if pictures else 0
    shape = (count, settings.size, settings.size, 3)
    ids = [_number(row.id, place) for row, at in zip(data.rows, pictures, strict=True) for place in range(at.count)]
    numbers = np.array(ids, np.int64)
    rows = np.repeat(np.arange(len(pictures), dtype=np.int64), [picture.count for picture in pictures])
    if not count:
        return Squares(np.empty(shape, np.uint8), numbers, rows)
    path = folder / f"squares-{_digest(data, settings, pictures)}.npy"
    pixels = _opened(path, shape)
    if pixels is None:
        fill = partial(_fill, data=data, settings=settings, pictures=pictures, workers=workers or cores(), progress=progress)
        _make(path, shape, fill)
        pixels = _opened(path, shape)
    if pixels is None:
        raise ThreecadError(f"{path}: was removed or changed as soon as it was written; run the same command again")
    return Squares(pixels, numbers, rows)


def trim(folder: Path, limit_bytes: int = LIMIT) -> None:
    """Remove the squares that were not used for longest until at most `limit_bytes` are left, and what broken-off runs left.

    A process that has such a file open keeps it until its end, where the system allows to remove the file at all.
    """
    found: list[tuple[int, str, int]] = []
    with suppress(OSError), os.scandir(folder) as listing:
        for entry in listing:
            with suppress(OSError):
                look = entry.stat(follow_symlinks=False)
                if _OURS.fullmatch(entry.name):
                    found.append((look.st_mtime_ns, entry.path, look.st_size))
                elif _BESIDE.fullmatch(entry.name) and time.time() - look.st_mtime > _STALE:
                    Path(entry.path).unlink()
    held = sum(nbytes for _, _, nbytes in found)
    for _, path, nbytes in sorted(found):
        if held <= limit_bytes:
            break
        with suppress(OSError):
            Path(path).unlink()
            held -= nbytes


def _pictures(data: Dataset, settings: Data) -> list[_Picture]:
    base = os.path.realpath(data.root)
    found: list[_Picture] = []
    first = 0
    for row in data.rows:
        path, look = _look(base, data.root / row.image)
        # Only the tiles of an image depend on its size; so where there are none, no file is opened.
        count = len(fits(size_of(path, str(path)), settings)) if settings.resize == "tile" else 1
        found.append(_Picture(path, look.st_size, look.st_mtime_ns, first, count))
        first += count
    return found


def _look(base: str, path: Path) -> tuple[Path, os.stat_result]:
    """How an image looks from outside. ReadError where there is none: rows may be anybody's, and name what they like."""
    try:
        real = os.path.realpath(path)
        if os.path.commonpath([base, real]) != base:
            raise ReadError(f"{path}: leads out of the data set")
        look = path.stat()
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ReadError(f"{str(path)!r}: found a name that no file can have") from None
    if not stat.S_ISREG(look.st_mode):  # to open a pipe is to wait for whoever writes into it
        raise ReadError(f"{path}: cannot be read: not a file")
    return path, look


def _digest(data: Dataset, settings: Data, pictures: Sequence[_Picture]) -> str:
    overlap = settings.overlap_ratio if settings.resize == "tile" else None
    # The folder counts as well: files of two data sets may agree in name, size and time, as those out of one archive do.
    told = [FORMAT, os.path.realpath(data.root), settings.size, settings.resize, overlap]
    digest = hashlib.sha256(json.dumps(told).encode())
    for row, picture in zip(data.rows, pictures, strict=True):
        digest.update(json.dumps([row.id, row.image, picture.nbytes, picture.mtime_ns]).encode())
    return digest.hexdigest()[:32]


def _number(name: str, place: int) -> int:
    """
    >>> _number("a.png", 0) == _number("a.png", 1), 0 <= _number("a.png", 0) < 2**63
    (False, True)
    """
    digest = hashlib.sha256(f"{place}:{name}".encode(errors="backslashreplace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _header(shape: tuple[int, ...]) -> bytes:
    """What stands before the pixels in a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _opened(path: Path, shape: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
    """The squares of a whole file, None where it is not there or not whole; it is then noted as used."""
    header = _header(shape)
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size == len(header) + math.prod(shape)
            if not whole or file.read(len(header)) != header:
                return None
            pixels: NDArray[np.uint8] = np.memmap(file, np.uint8, "r", len(header), shape)
    except (OSError, ValueError):
        return None
    with suppress(OSError):  # of somebody else's folder
        os.utime(path)
    return pixels


def _make(path: Path, shape: tuple[int, int, int, int], fill: Callable[[BinaryIO, int], None]) -> None:
    """Write the file beside, by `fill` from the first byte of the squares on, and move it into place."""
    header = _header(shape)
    needed = len(header) + math.prod(shape)
    beside: str | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        trim(path.parent, max(0, LIMIT - needed))
        free = shutil.disk_usage(path.parent).free
        if free < needed:  # said at once, and not after an hour
            raise ThreecadError(_full(path.parent, shape, needed, f"found {free / 1e6:.3g} MB"))
        handle, beside = tempfile.mkstemp(".new", ".squares-", path.parent)
        # Written, not mapped: where the disk is full, writing into mapped memory kills the process.
        with os.fdopen(handle, "wb") as file:
            file.write(header)
            fill(file, len(header))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105  mkstemp's names are text
    except OSError as error:
        raise ThreecadError(_full(path.parent, shape, needed, error.strerror or str(error))) from error
    finally:
        if beside is not None:
            with suppress(OSError):
                os.unlink(beside)  # noqa: PTH108


def _full(folder: Path, shape: tuple[int, ...], needed: int, why: str) -> str:
    return (
        f"{folder}: {shape[0]} squares of {shape[1]} pixels a side cannot be kept there ({why}; expected room for "
        f"{needed / 1e6:.3g} MB); make room, or set {ENVIRONMENT} to another folder"
    )


def _fill(
    file: BinaryIO,
    offset: int,
    data: Dataset,
    settings: Data,
    pictures: Sequence[_Picture],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write every square to its place, behind `offset` bytes, in whatever order the threads come to them."""
    plain = copy(data)
    plain.transform = None
    plain.rows = tuple(row._replace(mask="") for row in data.rows)  # so that none is read
    side = settings.size
    lock = threading.Lock()

    def start(number: int) -> Opened[int]:
        picture = pictures[number]
        pixels = plain[number]["image"]
        found = fits(Size(*pixels.shape[:2]), settings)
        if len(found) != picture.count:
            raise ReadError(f"{picture.path}: changed while it was read")

        def put(place: int, fit: Fit) -> None:
            square = fit_image(pixels, fit, side)
            with lock:
                file.seek(offset + (picture.first + place) * square.nbytes)
                file.write(square.data)

        # `work` takes a result of None for the end.
        return Opened([partial(put, *each) for each in enumerate(found)], lambda: number, _OPEN * pixels.size // 3)

    def weigh(number: int) -> int:
        path = pictures[number].path
        return _OPEN * size_of(path, str(path)).area

    going = work(range(len(pictures)), start, workers=workers, budget=budget(), weigh=weigh)
    with closing(going):  # no thread writes into a closed file
        for done, _ in enumerate(going, 1):
            if progress is not None:
                progress(done, len(pictures))
