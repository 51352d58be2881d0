"""TIFF and BigTIFF: a directory of tags that tells where strips or tiles of pixels lie.

Uncompressed pixels are taken from there. A codec gets the file with a directory of our own, which says no more than it must know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Size
from threecad.formats.containers import CUT_OFF, Fault, Read, first_of, transparency
from threecad.formats.containers.codecs import by_opencv, by_pillow, rgb
from threecad.formats.containers.directories import Dialect, sane, with_directory

if TYPE_CHECKING:
    from threecad.formats.containers import Note, Pixels

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL, _STRIPS, _TURN = 254, 256, 257, 258, 259, 262, 266, 273, 274
_SAMPLES, _ROWS, _LENGTHS, _PLANES, _PREDICTOR, _COLOURS = 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_LENGTHS, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_PASSED_ON = (_FILL, 292, 293, 347, 530)
"""Tags that only the codec needs, beside those that are written anew: bit order, fax options, JPEG tables, subsampling."""
_WANTED = frozenset(range(254, 340)) | {347, 530}
_PAGES, _ENTRIES = 10_000, 1_000
"""Directories that are followed to count the pages, and the entries one may have: together some two seconds."""
_SPARE = 1 << 24
"""Pixels that the tiles of a small image may have beyond it: one of 4096 × 4096. A codec makes room for whole tiles."""


@dataclass(frozen=True, slots=True)
class Tiff:
    size: Size
    orientation: int
    dialect: Dialect
    tags: dict[int, tuple[int, ...]]
    pages: int
    bits: int
    samples: int
    photometric: int

    @staticmethod
    def parse(read: Read) -> Tiff:
        dialect, first = Dialect.parse(read)
        tags, following = dialect.directory(read, first, _WANTED)
        if not all(tags.get(tag) for tag in (_WIDTH, _HEIGHT)):
            raise Fault("damaged: a TIFF that states no size")
        samples, photometric = tags.get(_SAMPLES, (1,))[0], tags.get(_PHOTOMETRIC, (1,))[0]
        depths, kinds = set(tags.get(_BITS, (1,))), set(tags.get(_FORMAT, (1,)))
        if kinds - {1, 4}:
            kind = {2: "signed", 3: "floating point", 5: "complex", 6: "complex"}.get(max(kinds - {1, 4}), "unknown")
            raise Fault(f"a TIFF of {kind} samples of {max(depths)} bits; expected unsigned ones of at most 16")
        if tags.get(_COMPRESSION) == (6,):
            raise Fault("a TIFF with JPEG compression of the old kind; expected any other")
        if photometric not in (0, 1, 2, 3, 5, 6):
            what = {4: "a transparency mask", 8: "Lab colours", 9: "Lab colours", 32803: "raw sensor data"}
            raise Fault(
                f"a TIFF of {what.get(photometric, f'an unknown kind ({photometric})')}; expected gray, RGB, CMYK or a palette"
            )
        channels = _channels(photometric)
        bits = next(iter(depths))
        if len(depths) > 1 or bits not in ((1, 2, 4, 8, 16) if samples == 1 and photometric in (0, 1, 3) else (8, 16)):
            raise Fault(f"a TIFF of {'/'.join(map(str, sorted(depths)))} bits a sample; expected 8 or 16")
        if not channels <= samples <= channels + 4 or (bits == 16 and photometric not in (0, 1, 2)):
            raise Fault(f"a TIFF of {samples} samples a pixel of kind {photometric}, {bits} bits each; expected gray or RGB")
        if photometric == 3 and len(tags.get(_COLOURS, ())) != 3 * 2**bits:
            raise Fault(f"damaged: a palette of {len(tags.get(_COLOURS, ()))} values; expected {3 * 2**bits}")
        pages, seen = 1, {first}
        while following and following not in seen and len(seen) < _PAGES:
            seen.add(following)
            try:
                page, following = dialect.directory(read, following, {_SUBFILE}, most=_ENTRIES)
            except Fault:
                break
            # Smaller copies and masks of the first page are not pages.
            pages += not page.get(_SUBFILE, (0,))[0] & 5
        size = Size(tags[_HEIGHT][0], tags[_WIDTH][0])
        return Tiff(size, sane(tags.get(_TURN)), dialect, tags, pages, bits, samples, photometric)

    def decode(self, data: memoryview) -> tuple[Pixels, list[Note]]:
        pixels = self._planes(data) if self._is_planar() else self._pixels(data)
        notes = first_of(self.pages, "pages")
        channels = 1 if self.photometric in (0, 1) else 3
        if pixels.ndim == 3 and pixels.shape[2] > channels:
            notes += transparency(pixels[..., channels])
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
            pixels = by_opencv(alone)
            return pixels if pixels.ndim == 2 else rgb(pixels) if pixels.shape[2] == 3 else pixels[..., [2, 1, 0, 3]]
        return self._by_pillow(alone)

    def _planes(self, data: memoryview) -> Any:
        """As `_pixels`, of a file that stores one sample after the other, as so many gray images."""
        if self.photometric not in (0, 1, 2):
            raise Fault("a TIFF that stores its colours apart and is neither gray nor RGB; expected one of these")
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
                raise Fault("damaged: TIFF tiles without a size")
            whole = -(-width // across) * -(-height // down) * across * down
            if whole > 4 * self.size.area + _SPARE:
                raise Fault(f"damaged: TIFF tiles of {across} × {down} pixels, far more than the image has")
            count = whole // (across * down) * planes
            places, lengths = self.tags[_TILES], self.tags.get(_TILE_LENGTHS, ())
        else:
            count = -(-height // self._rows()) * planes
            places, lengths = self.tags.get(_STRIPS, ()), self.tags.get(_LENGTHS, ())
            if not lengths and count == 1 and self._compression() == 1:
                lengths = (height * self._pitch(),)
        if len(places) < count or len(lengths) < count:
            raise Fault(f"damaged: {min(len(places), len(lengths))} strips or tiles, {count} expected")
        places, lengths = places[:count], lengths[:count]
        if any(place + length > available for place, length in zip(places, lengths, strict=True)):
            raise Fault(CUT_OFF)
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
            raise Fault("cut off: a strip is shorter than its rows")
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
        return with_directory(data, self.dialect, tags)

    def _by_pillow(self, data: bytes) -> Any:
        """Gray or RGB (palette, bits and CMYK resolved), an extra channel last."""
        from PIL import TiffImagePlugin

        image = by_pillow(TiffImagePlugin.TiffImageFile, data)
        if image.mode == "1":
            return np.asarray(image.convert("L"))
        if image.mode == "P":
            colours = np.reshape(self.tags[_COLOURS], (3, -1))
            pixels = np.asarray(image.convert("RGB"))
            return np.ascontiguousarray(pixels[..., 0]) if (colours == colours[0]).all() else pixels
        if image.mode == "CMYK":
            return np.asarray(image.convert("RGB"))
        if image.mode not in ("L", "LA", "RGB", "RGBA", "RGBX"):
            raise Fault(f"a TIFF that Pillow reads as {image.mode}; expected gray or RGB")
        return np.asarray(image)


def _channels(photometric: int) -> int:
    """Samples a pixel needs, without extra ones."""
    return {2: 3, 5: 4, 6: 3}.get(photometric, 1)
