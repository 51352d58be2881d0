"""What masks say: the encoded masks of one image become a plane of pixels a type, and what is amiss with them becomes words.

A `binary` mask marks every pixel whose value is not 0. Gray values between are kept, for annotators' programs smooth outlines
(most masks of the magnetic tiles are smooth), and told as MASK_NOT_BINARY. In a lossy file, whose zeros are blurred as well, only
values above half the range count, and nothing is told. Of colours the brightest channel decides. Where a PNG's transparency
varies it decides how strongly a pixel is marked, and the colour only whether: a pixel nobody can see is not marked, nor is black
paint, unless all the paint is of one colour.

An `index` mask is read by its numbers: palette images by the places in the palette, images of 1, 2 or 4 bits as stored. Values
from `COLOUR` on name colours instead, for masks that paint each type in its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Code, Entry, MaskFile, Size, State
from threecad.errors import ReadError
from threecad.formats.containers import Fault, exactly, in_memory
from threecad.formats.containers.bmp import Bmp
from threecad.formats.containers.codecs import by_opencv
from threecad.formats.containers.png import SIGNATURE, Png
from threecad.formats.images import MOST_PIXELS, decode, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.bool_]
    Flaw = tuple[Code, str]

COLOUR = 1 << 24
"""In `MaskFile.types`, COLOUR + 65536 · red + 256 · green + blue names a colour; the name "" calls a value background."""

_MAX_PLANE_BYTES = 1 << 30
"""Of all planes of one mask: a hostile index mask of 16 bits could ask for 65,535."""
_MAX_BOX_BYTES = 10_000_000
_MAX_COVERS = 100
"""How often boxes may cover the whole image, so that nobody's list of boxes costs more than a hundred fills."""
_ROWS = 1 << 22
"""Pixels that are counted at a time: numpy counts in 64 bits."""


class _Flawed(Exception):
    """A mask that gives no plane."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def planes(data: Sequence[bytes | memoryview], entry: Entry, size: Size) -> tuple[dict[str, Plane], list[Flaw]]:
    """Type → (height, width) of its pixels, for an image of that size and the bytes of `entry.masks`, in their order.

    Planes of types may overlap; each has at least one pixel. Of an untyped binary mask only those pixels count that no other
    mask names. They go to the entry's label where it has exactly one, else to "". What cannot be read, or is of another size,
    gives no plane; the bytes of a file that could not be opened may be given as b"". Flaws name no file: equal bytes have equal
    flaws. A good image's pixels are given as they are, and told.

    >>> from threecad.formats.png import encode_png
    >>> spot = encode_png(np.array([[0, 255], [0, 0]], np.uint8))
    >>> entry = Entry("a", "part", None, State.DEFECT, ("dent",), "a.png", (MaskFile("a_mask.png"),), "a")
    >>> planes([spot], entry, Size(2, 2))
    ({'dent': array([[False,  True],
           [False, False]])}, [])
    >>> planes([spot], entry, Size(2, 3))
    ({}, [(<Code.MASK_OTHER_SIZE: 'TC405'>, 'the mask is 2 × 2 pixels (width × height), its image 3 × 2')])
    """
    owned: dict[str, Plane] = {}
    loose: Plane | None = None
    flaws: list[Flaw] = []
    whole = True
    for number, (bits, mask) in enumerate(zip(data, entry.masks, strict=True), 1):
        which = f"mask {number} of {len(entry.masks)}: " if len(entry.masks) > 1 else ""
        try:
            found, faults = _read(memoryview(bits), mask, size)
        except _Flawed as flaw:
            found, faults, whole = [], [(flaw.code, flaw.detail)], False
        flaws += [(code, which + detail) for code, detail in faults]
        for name, plane in found:
            if name is None:
                loose = plane if loose is None else loose | plane
            else:
                owned[name] = owned[name] | plane if name in owned else plane
    if loose is not None:
        for plane in owned.values():
            loose = loose & ~plane
        if loose.any():
            name = entry.labels[0] if len(entry.labels) == 1 else ""
            owned[name] = owned[name] | loose if name in owned else loose
    flaws += _against(entry, owned, whole)
    return dict(sorted(owned.items())), flaws


def union(named: Mapping[str, Plane], size: Size) -> Plane:
    """Every pixel that any type owns, (height, width)."""
    marked: Plane = np.zeros((size.height, size.width), np.bool_)
    for plane in named.values():
        marked |= plane
    return marked


def _against(entry: Entry, owned: Mapping[str, Plane], whole: bool) -> Iterator[Flaw]:
    """What the pixels say against the state that the layout tells."""
    if entry.state is State.DEFECT and entry.masks and whole and not owned:
        yield Code.MASK_EMPTY, "the image is called defective, its mask marks no pixel"
    if entry.state is State.GOOD and owned:
        counts = ", ".join(f"{np.count_nonzero(plane)} of {name or 'no type'}" for name, plane in owned.items())
        yield Code.MASK_OF_GOOD, f"the image is called good, its mask marks pixels: {counts}"


def _read(data: memoryview, mask: MaskFile, size: Size) -> tuple[list[tuple[str | None, Plane]], list[Flaw]]:
    """(type, plane) of one mask, the type None where the mask does not say, and what is amiss with it."""
    names = dict(mask.types)
    if mask.kind == "boxes":
        return _boxes(data, names, size)
    try:
        _refuse_size(data, size)
        if mask.kind == "index":
            return _by_value(_indices(data, any(value >= COLOUR for value in names)), names)
        levels, lossy = _levels(data)
    except ReadError as error:
        raise _Flawed(Code.MASK_UNREADABLE, str(error).removeprefix("mask: ")) from None
    except Fault as fault:
        raise _Flawed(Code.MASK_UNREADABLE, str(fault)) from None
    marked: Plane = levels > (np.iinfo(levels.dtype).max // 2 if lossy else 0)
    kind = names[0] if list(names) == [0] else None
    return [(kind, marked)] if marked.any() else [], [] if lossy else _grays(levels, marked)


def _refuse_size(data: memoryview, size: Size) -> None:
    found = size_of(data, "mask")
    if found != size:
        detail = f"the mask is {found.width} × {found.height} pixels (width × height), its image {size.width} × {size.height}"
        raise _Flawed(Code.MASK_OTHER_SIZE, detail)
    if found.area > MOST_PIXELS:
        raise _Flawed(
            Code.MASK_UNREADABLE, f"{found.area / 1e6:.4g} million pixels; at most {MOST_PIXELS / 1e6:g} million are read"
        )


# Binary masks


def _levels(data: memoryview) -> tuple[NDArray[Any], bool]:
    """How strongly each pixel is marked, (height, width) of uint8 or uint16, and whether the file is lossy."""
    picture = decode(data, "mask", MOST_PIXELS)
    if any(code is Code.ALPHA_DROPPED for code, _ in picture.notes) and bytes(data[:8]) == SIGNATURE:
        seen = _seen(data)
        if seen is not None:
            return seen, False
    pixels = picture.pixels
    return pixels if pixels.ndim == 2 else pixels.max(axis=2), _is_lossy(data)


def _is_lossy(data: memoryview) -> bool:
    return bytes(data[:2]) == b"\xff\xd8" or (bytes(data[:4]) == b"RIFF" and b"VP8L" not in bytes(data[: 1 << 20]))


def _seen(data: memoryview) -> NDArray[Any] | None:
    """The levels of a PNG that is not opaque everywhere; None where its transparency tells nothing."""
    header = Png.parse(in_memory(data))
    if header.colour == 3:
        indices = _gray(data, header)
        colours, alphas = _palette(header)
        present = np.flatnonzero(_counts(indices))
        levels = _strength(colours[present].max(axis=1), _one(colours[present]), alphas[present])
        if levels is None:
            return None
        table = np.zeros(256, np.uint8)
        table[present] = levels
        return table[indices]
    if header.colour not in (4, 6) or header.orientation != 1:
        return None
    pixels = by_opencv(header.plain(data))
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return None
    return _strength(pixels[..., :3].max(axis=2), _one(pixels[..., :3]), pixels[..., 3])


def _one(colours: NDArray[Any]) -> bool:
    """Whether all are the same colour."""
    flat = colours.reshape(-1, colours.shape[-1])
    return bool((flat == flat[:1]).all())


def _strength(brightest: NDArray[Any], is_one: bool, alpha: NDArray[Any]) -> NDArray[Any] | None:
    if not alpha.size or bool((alpha == alpha.flat[0]).all()):
        return None
    strength: NDArray[Any] = alpha if is_one else np.where(brightest > 0, alpha, 0).astype(alpha.dtype)
    return strength


def _grays(levels: NDArray[Any], marked: Plane) -> list[Flaw]:
    count, top = int(np.count_nonzero(marked)), int(levels.max(initial=0))
    between = count - int(np.count_nonzero(levels == top)) if count else 0
    if not between:
        return []
    values = [value for value in np.flatnonzero(_counts(levels)).tolist() if 0 < value < top]
    few = ", ".join(map(str, values[:6])) + (f" … {values[-1]}" if len(values) > 6 else "")
    detail = f"{between} of {count} marked pixels are neither 0 nor {top} but {_counted(len(values), 'value')} between ({few})"
    return [(Code.MASK_NOT_BINARY, f"{detail}; all of them count")]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _counts(values: NDArray[Any]) -> NDArray[np.int64]:
    """How often each value of an array of uint8 or uint16 occurs."""
    flat = np.ascontiguousarray(values).reshape(-1)
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    for start in range(0, flat.size, _ROWS):
        counts += np.bincount(flat[start : start + _ROWS], minlength=counts.size)
    return counts


# Index masks


def _by_value(values: NDArray[Any], names: Mapping[int, str]) -> tuple[list[tuple[str | None, Plane]], list[Flaw]]:
    present = np.flatnonzero(_counts(values)) if values.dtype.itemsize < 4 else np.unique(values)
    wanted = [value for value in present.tolist() if value not in (0, COLOUR) and names.get(value) != ""]
    _refuse_many(wanted, values.size)
    found: list[tuple[str | None, Plane]] = [(names.get(value) or _called(value), values == value) for value in wanted]
    counts = {value: int(np.count_nonzero(plane)) for value, (_, plane) in zip(wanted, found, strict=True)}
    return found, _unnamed(counts, names)


def _refuse_many(values: Sequence[int], area: int) -> None:
    if len(values) * area > _MAX_PLANE_BYTES:
        raise _Flawed(Code.MASK_UNREADABLE, f"{len(values)} different values; expected the numbers of a few types")


def _unnamed(counts: Mapping[int, int], names: Mapping[int, str]) -> list[Flaw]:
    unnamed = [f"{_called(value)} ({_counted(count, 'pixel')})" for value, count in counts.items() if value not in names]
    more = f" and {len(unnamed) - 6} more" if len(unnamed) > 6 else ""
    return [(Code.UNKNOWN_VALUE, f"no type is named for {', '.join(unnamed[:6])}{more}")] if unnamed else []


def _called(value: int) -> str:
    """
    >>> _called(7), _called(COLOUR + 0xFF8000)
    ('value-7', 'colour-ff8000')
    """
    return f"value-{value}" if value < COLOUR else f"colour-{value - COLOUR:06x}"


def _indices(data: memoryview, coloured: bool) -> NDArray[Any]:
    """The number of each pixel, (height, width) of uint8, uint16 or, for colours, uint32."""
    if _is_lossy(data):
        raise _Flawed(Code.MASK_UNREADABLE, "an index mask in a lossy file, whose numbers are blurred; expected PNG, BMP or TIFF")
    if not coloured:
        if bytes(data[:8]) == SIGNATURE:
            header = Png.parse(in_memory(data))
            if header.colour == 3 or (header.colour == 0 and header.depth < 8):
                return _gray(data, header)
        if bytes(data[:2]) == b"BM":
            data = memoryview(_ramped(data))
    pixels: NDArray[Any] = decode(data, "mask", MOST_PIXELS).pixels
    if pixels.ndim == 2 and not coloured:
        return pixels
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if not coloured and bool((pixels[..., :1] == pixels[..., 1:]).all()):
        return np.ascontiguousarray(pixels[..., 0])
    if pixels.dtype != np.uint8:
        raise _Flawed(Code.MASK_UNREADABLE, "an index mask of 16-bit colours; expected gray, a palette, or colours of 8 bits")
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    coded: NDArray[Any] = red << 16 | green << 8 | blue | COLOUR
    seen = _seen(data) if bytes(data[:8]) == SIGNATURE else None
    if seen is not None:
        coded[seen == 0] = COLOUR
    return coded


def _gray(data: memoryview, header: Png) -> NDArray[np.uint8]:
    """The numbers that a PNG of a palette, or of few bits, stores: it is decoded as if it were gray."""
    ihdr = bytearray(data[12:29])
    if zlib.crc32(ihdr) != int.from_bytes(data[29:33]):
        raise Fault("damaged: the checksum of its IHDR chunk does not fit")
    ihdr[13] = 0
    rest = _chunks(data, header, {b"IDAT", b"IEND", b"eXIf"})
    plain = b"".join([SIGNATURE, struct.pack(">I", 13), ihdr, struct.pack(">I", zlib.crc32(ihdr)), *rest])
    pixels = decode(plain, "mask", MOST_PIXELS).pixels
    step = 255 // ((1 << header.depth) - 1)
    numbers: NDArray[np.uint8] = (pixels // step).astype(np.uint8) if step > 1 else pixels.astype(np.uint8, copy=False)
    return numbers


def _palette(header: Png) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(256, 3) colours and (256,) alphas of a PNG's palette."""
    colours = np.zeros((256, 3), np.uint8)
    stated = np.frombuffer(header.palette[: min(len(header.palette), 768) // 3 * 3], np.uint8).reshape(-1, 3)
    colours[: len(stated)] = stated
    alphas = np.full(256, 255, np.uint8)
    transparent = np.frombuffer(header.transparent[:256], np.uint8)
    alphas[: len(transparent)] = transparent
    return colours, alphas


def _chunks(data: memoryview, header: Png, kinds: set[bytes]) -> Iterator[memoryview]:
    return (data[at : at + length] for kind, at, length in header.chunks if kind in kinds)


def _ramped(data: memoryview) -> bytes:
    """A BMP whose palette, if it has one, is 0, 1, 2, …, so that it decodes to the numbers it stores."""
    read = in_memory(data)
    if not Bmp.parse(read).palette:
        return bytes(data)
    (header,) = struct.unpack("<I", exactly(read, 14, 4))
    entry = 3 if header == 12 else 4
    count = len(Bmp.parse(read).palette) // 3
    ramp = b"".join(bytes([value] * 3 + [0] * (entry - 3)) for value in range(count))
    return bytes(data[: 14 + header]) + ramp + bytes(data[14 + header + len(ramp) :])


# Boxes


def _boxes(data: memoryview, names: Mapping[int, str], size: Size) -> tuple[list[tuple[str | None, Plane]], list[Flaw]]:
    boxes = list(_parsed(data, size))
    if sum((right - left) * (bottom - top) for left, top, right, bottom, _ in boxes) > _MAX_COVERS * size.area:
        raise _Flawed(Code.MASK_UNREADABLE, f"boxes that cover the image more than {_MAX_COVERS} times over")
    _refuse_many(sorted({value for *_, value in boxes}), size.area)
    drawn: dict[int, Plane] = {}
    for left, top, right, bottom, value in boxes:
        if value not in drawn:
            drawn[value] = np.zeros((size.height, size.width), np.bool_)
        drawn[value][top:bottom, left:right] = True
    counts = {value: int(np.count_nonzero(drawn[value])) for value in sorted(drawn)}
    return [(names.get(value) or _called(value), drawn[value]) for value in counts], _unnamed(counts, names)


def _parsed(data: memoryview, size: Size) -> Iterator[tuple[int, int, int, int, int]]:
    """(left, top, right, bottom, value) of each line, inside the image."""
    if len(data) > _MAX_BOX_BYTES:
        raise _Flawed(Code.MASK_UNREADABLE, f"a text of {len(data) / 1e6:.3g} MB; expected lines of left top right bottom value")
    for number, text in enumerate(bytes(data).decode("utf-8", "replace").lstrip("\ufeff").splitlines(), 1):
        fields = text.replace(",", " ").split()
        if not fields:
            continue
        if len(fields) != 5 or not all(field.isascii() and field.isdigit() and len(field) < 10 for field in fields):
            raise _Flawed(Code.MASK_UNREADABLE, f"line {number}: {text[:40]!r}; expected left top right bottom value")
        left, top, right, bottom, value = map(int, fields)
        if left >= right or top >= bottom:
            raise _Flawed(Code.MASK_UNREADABLE, f"line {number}: {text[:40]!r} is a box without area")
        # An edge may be meant inclusive: one pixel beyond is cut off.
        if right > size.width + 1 or bottom > size.height + 1 or left >= size.width or top >= size.height:
            detail = f"line {number}: the box {text[:40]!r} reaches beyond its image, {size.width} × {size.height} pixels"
            raise _Flawed(Code.MASK_OTHER_SIZE, detail)
        yield left, top, min(right, size.width), min(bottom, size.height), value
