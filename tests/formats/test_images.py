"""What decode reads, refuses and says, for every format; Pillow, OpenCV and tifffile write the files and are the oracles."""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, ImageOps

from threecad.domain import Code, Size
from threecad.errors import ReadError
from threecad.formats import images
from threecad.formats.containers import in_memory
from threecad.formats.containers.tiff import Tiff

LIMIT = 1_000_000
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def texture(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Noise on a slope: every pixel matters, and JPEG can still carry it."""
    random = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    slope = np.linspace(0, top * 0.8, shape[0] * shape[1]).reshape(shape[:2] + (1,) * (len(shape) - 2))
    return (slope + random.integers(0, top // 6, shape)).astype(dtype)


GRAY = texture(37, 53)
RGB = texture(37, 53, 3)
GRAY16 = texture(37, 53, dtype=np.uint16)
RGB16 = texture(37, 53, 3, dtype=np.uint16)
ALPHA = texture(37, 53, seed=5)
RGBA = np.dstack([RGB, ALPHA])


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str, *options: int) -> bytes:
    channels = {2: None, 3: cv2.COLOR_RGB2BGR}[pixels.ndim] if pixels.shape[-1] != 4 else cv2.COLOR_RGBA2BGRA
    ok, data = cv2.imencode(suffix, pixels if channels is None else cv2.cvtColor(pixels, channels), options)
    assert ok
    return data.tobytes()


def by_tifffile(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "rgb" if pixels.ndim == 3 else "minisblack"} | options))
    return file.getvalue()


def read(data: bytes, limit: int = LIMIT) -> images.Picture:
    return images.decode(data, "it", limit)


def by_pillow(data: bytes, mode: str | None = None) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert(mode) if mode else image)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(png: bytes, kind: bytes, content: bytes, before: bytes = b"IDAT") -> bytes:
    at = png.index(before) - 4
    return png[:at] + chunk(kind, content) + png[at:]


def bmp(rows: np.ndarray, bits: int, palette: bytes = b"", masks: tuple[int, ...] = (), top_down: bool = False) -> bytes:
    """A BMP 53 pixels wide of ready rows (H, bytes), given top row first."""
    fields = (40, 53, -len(rows) if top_down else len(rows), 1, bits, 3 if masks else 0, 0, 0, 0, len(palette) // 4, 0)
    head = struct.pack("<IiiHHIIiiII", *fields) + struct.pack(f"<{len(masks)}I", *masks) + palette
    body = (rows if top_down else rows[::-1]).tobytes()
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


BITS = np.asarray(Image.fromarray(GRAY).convert("1"))
ramp4 = np.arange(53 * 37, dtype=np.uint8).reshape(37, 53) % 16
LOSSLESS: dict[str, tuple[bytes, np.ndarray]] = {
    "png gray": (saved(GRAY, "PNG"), GRAY),
    "png rgb": (saved(RGB, "PNG"), RGB),
    "png rgb of equal channels": (saved(np.dstack([GRAY] * 3), "PNG"), np.dstack([GRAY] * 3)),
    "png gray 16": (by_opencv(GRAY16, ".png"), GRAY16),
    "png rgb 16": (by_opencv(RGB16, ".png"), RGB16),
    "png rgb of equal bytes": (saved(RGB * 0, "PNG"), RGB * 0),
    "png 1 bit": (
        saved(BITS, "PNG"),
        BITS * np.uint8(255),
    ),
    "png with text, gamma and profile": (
        with_chunk(with_chunk(saved(RGB, "PNG"), b"gAMA", struct.pack(">I", 100_000)), b"iCCP", b"x\0\0broken"),
        RGB,
    ),
    "png with a text bomb": (with_chunk(saved(RGB, "PNG"), b"zTXt", b"x\0\0" + zlib.compress(bytes(100_000_000))), RGB),
    "bmp gray": (saved(GRAY, "BMP"), GRAY),
    "bmp rgb": (saved(RGB, "BMP"), RGB),
    "bmp rgb of equal channels": (saved(np.dstack([GRAY] * 3), "BMP"), np.dstack([GRAY] * 3)),
    "bmp 1 bit": (
        saved(BITS, "BMP"),
        BITS * np.uint8(255),
    ),
    "bmp gray, by opencv": (by_opencv(GRAY, ".bmp"), GRAY),
    "bmp 32 bits": (by_opencv(np.dstack([RGB, GRAY * 0 + 255]), ".bmp"), RGB),
    "tiff gray": (saved(GRAY, "TIFF"), GRAY),
    "tiff rgb": (saved(RGB, "TIFF"), RGB),
    "tiff gray, white is zero": (by_tifffile(GRAY, photometric="miniswhite"), ~GRAY),
    "tiff gray 16": (by_tifffile(GRAY16), GRAY16),
    "tiff gray 16, big endian": (by_tifffile(GRAY16.astype(">u2"), byteorder=">"), GRAY16),
    "tiff rgb 16": (by_tifffile(RGB16), RGB16),
    "tiff rgb 16, big endian": (by_tifffile(RGB16.astype(">u2"), byteorder=">"), RGB16),
    "tiff of strips": (by_tifffile(RGB, rowsperstrip=5), RGB),
    "tiff planar": (by_tifffile(np.moveaxis(RGB, 2, 0), planarconfig="separate"), RGB),
    "tiff planar 16": (by_tifffile(np.moveaxis(RGB16, 2, 0), planarconfig="separate"), RGB16),
    "tiff of tiles": (by_tifffile(RGB, tile=(16, 16)), RGB),
    "tiff of tiles 16": (by_tifffile(RGB16, tile=(16, 16)), RGB16),
    "tiff of tiles, gray 16": (by_tifffile(GRAY16, tile=(16, 32)), GRAY16),
    "tiff deflate": (by_tifffile(RGB, compression="zlib"), RGB),
    "tiff deflate 16": (by_tifffile(RGB16, compression="zlib"), RGB16),
    "tiff deflate 16, big endian": (by_tifffile(RGB16.astype(">u2"), compression="zlib", byteorder=">", rowsperstrip=7), RGB16),
    "tiff deflate, white is zero": (by_tifffile(GRAY, compression="zlib", photometric="miniswhite"), ~GRAY),
    "tiff deflate 16, white is zero": (by_tifffile(GRAY16, compression="zlib", photometric="miniswhite"), ~GRAY16),
    "tiff deflate planar 16": (by_tifffile(np.moveaxis(RGB16, 2, 0), planarconfig="separate", compression="zlib"), RGB16),
    "tiff deflate tiles": (by_tifffile(GRAY, tile=(16, 16), compression="zlib"), GRAY),
    "tiff lzw": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "tiff lzw gray": (saved(GRAY, "TIFF", compression="tiff_lzw"), GRAY),
    "tiff lzw 16 with predictor": (
        by_opencv(RGB16, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, 2),
        RGB16,
    ),
    "tiff packbits": (saved(RGB, "TIFF", compression="packbits"), RGB),
    "tiff fax": (
        saved(BITS, "TIFF", compression="group4"),
        BITS * np.uint8(255),
    ),
    "tiff 1 bit": (
        saved(BITS, "TIFF"),
        BITS * np.uint8(255),
    ),
    "bigtiff": (by_tifffile(RGB, bigtiff=True), RGB),
    "bigtiff deflate 16": (by_tifffile(RGB16, bigtiff=True, compression="zlib", rowsperstrip=3), RGB16),
    "bigtiff deflate": (by_tifffile(RGB, bigtiff=True, compression="zlib", rowsperstrip=3), RGB),
    "webp lossless": (saved(RGB, "WEBP", lossless=True), RGB),
}
for bits in (1, 2, 4):
    levels = ramp4 % 2**bits
    packed = np.packbits(np.unpackbits(levels[..., None], axis=2)[..., 8 - bits :].reshape(37, -1), axis=1)
    scan = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", 53, 37, bits, 0, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(scan)) + chunk(b"IEND", b"")
    LOSSLESS[f"png gray of {bits} bits"] = (file, levels * (255 // (2**bits - 1)))


@pytest.mark.parametrize("case", LOSSLESS)
def test_a_lossless_file_decodes_to_the_very_pixels_and_depth_that_were_written(case: str, tmp_path: Path) -> None:
    data, expected = LOSSLESS[case]
    for picture in (read(data), read(memoryview(data))):
        assert picture.pixels.dtype == expected.dtype
        assert picture.pixels.dtype.isnative
        assert np.array_equal(picture.pixels, expected)
        assert picture.notes == ()
    (tmp_path / "file").write_bytes(data)
    assert np.array_equal(images.decode_file(tmp_path / "file", "it", LIMIT).pixels, expected)
    assert images.size_of(data, "it") == images.size_of(tmp_path / "file", "it") == picture.size == Size(37, 53)


LOSSY = {
    "jpeg": saved(RGB, "JPEG", quality=90),
    "jpeg 4:4:4": saved(RGB, "JPEG", quality=90, subsampling=0),
    "jpeg progressive": saved(RGB, "JPEG", progressive=True),
    "jpeg gray": saved(GRAY, "JPEG"),
    "jpeg of equal channels": saved(np.dstack([GRAY] * 3), "JPEG"),
    "jpeg kept as RGB": saved(RGB, "JPEG", keep_rgb=True),
    "jpeg with restart markers": saved(RGB, "JPEG", restart_marker_rows=1),
    "webp": saved(RGB, "WEBP", quality=70),
    "tiff jpeg": saved(RGB, "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("case", LOSSY)
def test_a_lossy_file_decodes_to_pillows_pixels(case: str) -> None:
    picture = read(LOSSY[case])
    expected = by_pillow(LOSSY[case])
    assert picture.pixels.shape == expected.shape
    assert np.array_equal(picture.pixels, expected)
    assert picture.notes == ()


def test_a_cmyk_jpeg_and_tiff_become_rgb_as_pillow_converts_them() -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    for data in (saved(cmyk, "JPEG"), saved(cmyk, "TIFF"), saved(cmyk, "TIFF", compression="tiff_lzw")):
        assert np.array_equal(read(data).pixels, by_pillow(data, "RGB"))
    turned = saved(cmyk, "JPEG", exif=b"Exif\0\0" + exif(6) + b"broken", comment="kept")
    assert np.array_equal(read(turned).pixels, by_pillow(turned, "RGB"))


def test_a_jpeg_of_unusual_subsampling_is_read_all_the_same() -> None:
    data = bytearray(saved(GRAY, "JPEG"))
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x11
    data[frame + 11] = 0x31
    assert np.array_equal(read(bytes(data)).pixels, by_pillow(bytes(data)))


def test_a_jpeg_with_bytes_behind_its_last_pixel_is_read_and_doubted() -> None:
    data = saved(RGB, "JPEG")
    picture = read(data[:-2] + bytes(12) + data[-2:])
    assert np.array_equal(picture.pixels, by_pillow(data))
    assert [code for code, _ in picture.notes] == [Code.IMAGE_DOUBTFUL]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_bytes_behind_the_image_do_no_harm(kind: str) -> None:
    data = saved(RGB, kind)
    assert np.array_equal(read(data + b"\0" * 300).pixels, read(data).pixels)


# ---------------------------------------------------------------- palettes


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("colours", [2, 13, 200])
def test_a_palette_of_colours_becomes_rgb(kind: str, colours: int) -> None:
    data = saved(Image.fromarray(RGB).quantize(colours), kind)
    picture = read(data)
    assert picture.pixels.shape == RGB.shape
    assert np.array_equal(picture.pixels, by_pillow(data, "RGB"))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})])
def test_a_palette_of_grays_becomes_gray(kind: str, options: dict[str, str]) -> None:
    image = Image.fromarray(GRAY)
    image = image.convert("P")
    image.putpalette(bytes(255 - level for level in range(256) for _ in range(3)))
    picture = read(saved(image, kind, **options))
    assert np.array_equal(picture.pixels, 255 - GRAY)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_palette_may_be_short_and_an_index_may_miss_it(bits: int) -> None:
    levels = ramp4 % min(16, 2**bits)
    packed = np.packbits(np.unpackbits(levels[..., None], axis=2)[..., 8 - bits :].reshape(37, -1), axis=1)
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))
    data = bmp(packed, bits, palette=bytes((10, 20, 30, 0, 70, 80, 90, 0)))
    colours = np.zeros((16, 3), np.uint8)
    colours[:2] = (30, 20, 10), (90, 80, 70)
    assert np.array_equal(read(data).pixels, colours[levels])


# ---------------------------------------------------------------- BMP


@pytest.mark.parametrize("masks", [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)])
def test_a_bmp_of_16_bits_is_read_as_pillow_reads_it(masks: tuple[int, int, int]) -> None:
    rows = np.random.default_rng(3).integers(0, 0x8000, (37, 54), dtype=np.uint16).view(np.uint8)
    data = bmp(rows, 16, masks=masks)
    assert np.array_equal(read(data).pixels, by_pillow(data))


def test_a_bmp_of_32_bits_with_any_masks_is_read() -> None:
    rows = np.dstack([GRAY * 0, RGB]).reshape(37, -1)
    data = bmp(rows, 32, masks=(0xFF00, 0xFF0000, 0xFF000000))
    assert np.array_equal(read(data).pixels, RGB)


def test_a_bmp_may_stand_upside_down() -> None:
    rows = np.pad(GRAY, ((0, 0), (0, 3)))
    palette = bytes(value for level in range(256) for value in (level, level, level, 0))
    for top_down in (False, True):
        assert np.array_equal(read(bmp(rows, 8, palette, top_down=top_down)).pixels, GRAY)


def test_a_bmp_may_lack_the_filling_of_its_last_row_but_no_pixel() -> None:
    data = saved(GRAY, "BMP")
    assert np.array_equal(read(data[:-3]).pixels[1:], GRAY[1:])
    with pytest.raises(ReadError, match="cut off"):
        read(data[:-4])


def test_a_gray_bmp_is_a_view_that_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "it.bmp"
    path.write_bytes(saved(GRAY, "BMP"))
    picture = images.decode_file(path, "it.bmp", LIMIT)
    path.write_bytes(b"")
    assert np.array_equal(picture.pixels, GRAY)


# ---------------------------------------------------------------- orientation


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_as_pillow_applies_it(kind: str, orientation: int, order: str) -> None:
    for pixels in (RGB, GRAY):
        data = saved(pixels, kind, exif=b"Exif\0\0" * (kind == "JPEG") + exif(orientation, order))
        picture = read(data)
        expected = by_pillow(data)
        assert np.array_equal(picture.pixels, expected)
        assert picture.pixels.flags.c_contiguous
        assert images.size_of(data, "it") == picture.size
        if orientation == 6:
            assert expected.shape[:2] == (53, 37)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_of_a_tiff_is_applied_as_pillow_applies_it(orientation: int, compression: str | None) -> None:
    tag = Image.Exif()
    tag[274] = orientation
    data = saved(RGB, "TIFF", compression=compression, exif=tag)
    assert np.array_equal(read(data).pixels, by_pillow(data))
    assert images.size_of(data, "it") == read(data).size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_like_8(orientation: int) -> None:
    for pixels in (GRAY16, RGB16):
        turned = read(with_chunk(by_opencv(pixels, ".png"), b"eXIf", exif(orientation))).pixels
        low = read(with_chunk(saved((pixels >> 8).astype(np.uint8), "PNG"), b"eXIf", exif(orientation))).pixels
        assert np.array_equal(turned >> 8, low)
        extra = [(274, "H", 1, orientation, True)]
        for options in ({}, {"compression": "zlib"}):
            assert np.array_equal(read(by_tifffile(pixels, extratags=extra, **options)).pixels, turned)


def test_exif_behind_the_pixels_of_a_png_counts() -> None:
    data = with_chunk(saved(RGB, "PNG"), b"eXIf", exif(8), before=b"IEND")
    assert np.array_equal(read(data).pixels, np.rot90(RGB))
    assert images.size_of(data, "it") == Size(53, 37)


@pytest.mark.parametrize(
    "block", [b"", b"II", exif(6)[:9], exif(6)[:20], b"XX" + exif(6)[2:], exif(6).replace(b"\x08", b"\xf0", 1)]
)
def test_broken_exif_turns_nothing_and_warns_of_nothing(block: bytes) -> None:
    data = with_chunk(saved(RGB, "PNG"), b"eXIf", block)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read(data).pixels, RGB)


# ---------------------------------------------------------------- transparency, pages


@pytest.mark.parametrize(
    "data",
    [
        saved(RGBA, "PNG"),
        saved(RGBA, "WEBP", lossless=True, exact=True),
        saved(RGBA, "TIFF"),
        saved(RGBA, "TIFF", compression="tiff_lzw"),
        by_tifffile(RGBA, extrasamples=["unspecified"]),
        by_tifffile(RGBA, extrasamples=["assocalpha"], compression="zlib"),
        by_opencv(RGBA, ".bmp"),
    ],
    ids=["png", "webp", "tiff", "tiff lzw", "tiff unspecified", "tiff associated", "bmp"],
)
def test_transparency_is_dropped_with_a_note_and_colours_stay_as_stored(data: bytes) -> None:
    picture = read(data)
    assert np.array_equal(picture.pixels, RGB)
    assert picture.notes == ((Code.ALPHA_DROPPED, f"{np.count_nonzero(ALPHA < 255)} of {ALPHA.size} pixels are not opaque"),)


def test_transparency_of_16_bits_and_of_gray_is_dropped_too() -> None:
    deep = np.dstack([RGB16, GRAY16])
    for data in (by_opencv(deep, ".png"), by_tifffile(deep), by_tifffile(deep, compression="zlib")):
        picture = read(data)
        assert np.array_equal(picture.pixels, RGB16)
        assert [code for code, _ in picture.notes] == [Code.ALPHA_DROPPED]
    pair = Image.fromarray(np.dstack([GRAY, ALPHA]))
    for data in (saved(pair, "PNG"), saved(pair, "TIFF"), saved(pair, "TIFF", compression="tiff_lzw")):
        picture = read(data)
        assert np.array_equal(picture.pixels, GRAY)
        assert [code for code, _ in picture.notes] == [Code.ALPHA_DROPPED]


def test_an_opaque_alpha_channel_leaves_no_note() -> None:
    opaque = np.dstack([RGB, np.full_like(GRAY, 255)])
    for data in (saved(opaque, "PNG"), saved(opaque, "TIFF"), saved(opaque, "WEBP", lossless=True)):
        assert np.array_equal(read(data).pixels, RGB)
        assert read(data).notes == ()


def test_the_transparent_colour_of_a_png_is_noted_where_a_pixel_has_it() -> None:
    def notes(png: bytes, key: bytes) -> tuple[tuple[Code, str], ...]:
        return read(with_chunk(png, b"tRNS", key)).notes

    gray, rgb = saved(GRAY, "PNG"), saved(RGB, "PNG")
    some = int(np.count_nonzero(GRAY[3, 4] == GRAY))
    assert notes(gray, struct.pack(">H", GRAY[3, 4])) == ((Code.ALPHA_DROPPED, f"{some} of {GRAY.size} pixels are not opaque"),)
    assert notes(gray, struct.pack(">H", 400)) == ()
    assert [code for code, _ in notes(rgb, struct.pack(">HHH", *RGB[3, 4]))] == [Code.ALPHA_DROPPED]
    assert notes(rgb, struct.pack(">HHH", 400, 0, 0)) == ()
    assert [code for code, _ in notes(by_opencv(GRAY16, ".png"), struct.pack(">H", GRAY16[3, 4]))] == [Code.ALPHA_DROPPED]
    assert [code for code, _ in notes(LOSSLESS["png gray of 4 bits"][0], struct.pack(">H", 7))] == [Code.ALPHA_DROPPED]


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.fromarray(RGB).quantize(50)
    data = saved(image, "PNG", transparency=7)
    picture = read(data)
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    hits = np.count_nonzero(np.asarray(image) == 7)
    assert picture.notes == ((Code.ALPHA_DROPPED, f"{hits} of {GRAY.size} pixels are not opaque"),)


def test_of_several_pages_or_frames_the_first_is_read_with_a_note() -> None:
    others = [Image.fromarray(255 - RGBA), Image.fromarray(RGBA[::-1])]
    veiled = np.dstack([RGB, np.maximum(ALPHA, 1)])  # Pillow blackens the invisible pixels of an animation
    tiff = saved(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(GRAY)])
    assert np.array_equal(read(tiff).pixels, RGB)
    assert read(tiff).notes == ((Code.FIRST_PAGE_ONLY, "the first of 2 pages"),)
    squeezed = saved(GRAY, "TIFF", save_all=True, append_images=[Image.fromarray(RGB)] * 2, compression="tiff_lzw")
    assert np.array_equal(read(squeezed).pixels, GRAY)
    assert read(squeezed).notes == ((Code.FIRST_PAGE_ONLY, "the first of 3 pages"),)
    for data in (
        saved(veiled, "PNG", save_all=True, append_images=others),
        saved(veiled, "WEBP", save_all=True, append_images=others, lossless=True, exact=True),
    ):
        picture = read(data)
        assert np.array_equal(picture.pixels, RGB)
        assert [code for code, _ in picture.notes] == [Code.FIRST_PAGE_ONLY, Code.ALPHA_DROPPED]
        assert picture.notes[0][1] == "the first of 3 frames"


def test_smaller_copies_inside_a_tiff_are_no_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    assert read(file.getvalue()).notes == ()


# ---------------------------------------------------------------- refusals


def test_an_image_above_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 20000, 30000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    expected = r"^a/bomb.png: 20000 × 30000 = 600 MP, more than the limit of 400 MP \(read.max_megapixels\)$"
    with pytest.raises(images.TooLarge, match=expected):
        images.decode(bomb, "a/bomb.png", 400_000_000)
    with pytest.raises(images.TooLarge, match=expected):
        images.decode_file(tmp_path / "bomb.png", "a/bomb.png", 400_000_000)
    assert images.size_of(bomb, "a/bomb.png") == Size(30000, 20000)


@pytest.mark.parametrize("case", [*LOSSLESS, *LOSSY])
def test_the_limit_counts_pixels_and_lets_exactly_so_many_pass(case: str) -> None:
    data = LOSSLESS[case][0] if case in LOSSLESS else LOSSY[case]
    read(data, limit=37 * 53)
    with pytest.raises(images.TooLarge):
        read(data, limit=37 * 53 - 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty; expected PNG, JPEG, BMP, TIFF or WebP"),
        (saved(GRAY, "GIF"), "a GIF; expected PNG"),
        (saved(RGB, "PPM"), "a PNM file; expected PNG"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"v/1\x01\2\0\0\0", "an OpenEXR file"),
        (b'{"version": "5.0.1"}', "a JSON text"),
        (b"\xef\xbb\xbf<svg>", "an XML text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0\0\0\x1cftypavif", "an AVIF file"),
        (b"\0\0\0\x1cftypheic", "a HEIF file"),
        (b"\0" * 50, r"not an image \(it starts with 00 00 00 00\)"),
        (by_tifffile(GRAY.astype(np.float32)), "a TIFF of floating point samples of 32 bits"),
        (by_tifffile(GRAY.astype(np.int16)), "a TIFF of signed samples of 16 bits"),
        (by_tifffile(GRAY.astype(np.uint32)), "a TIFF of 32 bits a sample; expected 8 or 16"),
        (
            by_tifffile(np.zeros((9, 9, 7), np.uint8), photometric="minisblack", planarconfig="contig"),
            "a TIFF of 7 samples a pixel",
        ),
        (saved(Image.fromarray(RGB).convert("LAB"), "TIFF"), "a TIFF of Lab colours"),
        (
            saved(Image.fromarray(RGB).quantize(50), "TIFF").replace(b"\x40\x01\x03\x00\x00\x03", b"\x40\x01\x03\x00\x00\x01"),
            "damaged: a palette of 256 values; expected 768",
        ),
        (bmp(GRAY, 8)[:30] + b"\1" + bmp(GRAY, 8)[31:], "a BMP with run-length compression"),
        (saved(RGB, "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "a JPEG of 12 bits; expected 8"),
        (saved(RGB, "JPEG").replace(b"\xff\xc0\0\x11\x08\0%", b"\xff\xc0\0\x11\x08\0\0"), "damaged: it states a size of 53 × 0"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(data: bytes, message: str) -> None:
    with pytest.raises(ReadError, match=rf"^it: {message}") as refusal:
        read(data)
    assert "\n" not in str(refusal.value)


def test_the_name_of_a_file_plays_no_part(tmp_path: Path) -> None:
    path = tmp_path / "really.bmp"
    path.write_bytes(saved(RGB, "PNG"))
    assert np.array_equal(images.decode_file(path, "really.bmp", LIMIT).pixels, RGB)


def test_a_file_that_cannot_be_opened_is_a_read_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(ReadError, match=r"^x\.png: cannot be read: "):
            images.decode_file(path, "x.png", LIMIT)
        with pytest.raises(ReadError, match=r"^x\.png: cannot be read: "):
            images.size_of(path, "x.png")


# ---------------------------------------------------------------- damage

CORPUS = {
    case: LOSSLESS[case][0] if case in LOSSLESS else LOSSY[case]
    for case in (
        "png gray", "png rgb 16", "png 1 bit", "png with text, gamma and profile",
        "bmp gray", "bmp rgb", "bmp 32 bits", "bmp 1 bit",
        "tiff rgb", "tiff of strips", "tiff planar 16", "tiff deflate 16", "tiff deflate tiles", "tiff deflate planar 16",
        "tiff lzw", "tiff lzw 16 with predictor", "tiff packbits", "tiff fax", "tiff jpeg", "bigtiff deflate 16",
        "webp lossless", "webp", "jpeg", "jpeg progressive", "jpeg gray", "jpeg with restart markers",
    )
} | {
    "png palette": saved(Image.fromarray(RGB).quantize(50), "PNG", transparency=7, exif=exif(6)),
    "png animated": saved(RGBA, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGBA)]),
    "webp animated": saved(RGBA, "WEBP", save_all=True, append_images=[Image.fromarray(255 - RGBA)]),
    "webp with exif": saved(RGBA, "WEBP", exif=exif(6)),
    "tiff palette": saved(Image.fromarray(RGB).quantize(50), "TIFF"),
    "tiff pages": saved(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(GRAY)]),
    "bmp palette": saved(Image.fromarray(RGB).quantize(50), "BMP"),
    "jpeg with exif": saved(RGB, "JPEG", exif=b"Exif\0\0" + exif(6, ">")),
    "jpeg cmyk": saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
}  # fmt: skip


def outcome(data: bytes) -> np.ndarray | None:
    """The pixels, or None for a ReadError; anything else fails the test."""
    message = ""
    try:
        pixels = read(data).pixels
    except ReadError as error:
        message = str(error)
    if message:
        assert re.fullmatch("it: .+", message)
        return None
    assert images.size_of(data, "it") == Size(*pixels.shape[:2])
    return pixels


@pytest.mark.parametrize("permissive", [False, True], ids=["", "permissive Pillow"])
@pytest.mark.parametrize("case", CORPUS)
def test_a_file_cut_off_anywhere_never_passes_with_other_pixels(
    case: str, permissive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other libraries in the process may have asked Pillow to complete cut-off images.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", permissive)
    data = CORPUS[case]
    whole = read(data).pixels
    cuts = {*range(0, len(data), max(1, len(data) // 150)), *range(40), *range(len(data) - 60, len(data))}
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
        pixels = outcome(data[:cut])
        # TIFF may keep metadata, and BMP the filling of its last row, behind the pixels.
        spare = case.startswith(("tiff", "bigtiff", "bmp"))
        assert pixels is None or (spare and np.array_equal(pixels, whole)), cut


@pytest.mark.parametrize("case", CORPUS)
def test_a_damaged_file_is_refused_or_decodes_to_its_stated_size(case: str) -> None:
    data = CORPUS[case]
    random = np.random.default_rng(len(data))
    places = {*range(min(len(data), 80)), *map(int, random.integers(0, len(data), 130))}
    for place in sorted(places):
        for change in (0xFF, 1 << int(random.integers(8))):
            damaged = bytearray(data)
            damaged[place] ^= change
            pixels = outcome(bytes(damaged))
            # Whatever a codec makes of it, it may not be what happened to lie in memory.
            assert pixels is None or np.array_equal(pixels, read(bytes(damaged)).pixels)
    for _ in range(20):
        start, end = sorted(map(int, random.integers(0, len(data), 2)))
        outcome(data[:start] + data[end:])
        outcome(data[:start] + bytes(end - start) + data[end:])
        outcome(data[:start] + random.bytes(end - start) + data[end:])


@pytest.mark.parametrize("case", [case for case in CORPUS if case.startswith("png")])
def test_no_flipped_bit_of_a_png_passes_unnoticed(case: str) -> None:
    data = CORPUS[case]
    whole = read(data).pixels
    for place in np.random.default_rng(1).integers(8, len(data), 200):
        damaged = bytearray(data)
        damaged[place] ^= 4
        pixels = outcome(bytes(damaged))
        assert pixels is None or np.array_equal(pixels, whole)


def test_a_jpeg_whose_tail_was_never_written_is_refused() -> None:
    for case in ("jpeg", "jpeg progressive", "jpeg gray", "jpeg with restart markers"):
        data = LOSSY[case]
        for cut in range(100, len(data) - 4, 7):
            assert outcome(data[:cut] + bytes(len(data) - cut)) is None


class Written(io.BytesIO):
    """A file that somebody is writing: its rest arrives the moment after its length was asked for. It is not read for ever."""

    def __init__(self, start: bytes, rest: bytes) -> None:
        super().__init__(start)
        self.rest, self.reads = rest, 0

    def open(self, mode: str) -> Written:
        assert mode == "rb"
        return self

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = super().seek(offset, whence)
        if whence == io.SEEK_END:
            self.write(self.rest)
            self.rest = b""
        return place

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        assert self.reads < 1000, "the same bytes again and again"
        return super().read(size)


@pytest.mark.parametrize("case", CORPUS)
def test_a_header_is_read_to_an_end_while_its_file_grows(case: str) -> None:
    # Once the walk over the chunks of a growing PNG went on until the memory of the machine was full.
    data = CORPUS[case]
    size = images.size_of(data, "it")
    for cut in {*range(min(len(data), 1100)), *range(0, len(data), max(1, len(data) // 150))}:
        with suppress(ReadError):
            assert images.size_of(Written(data[:cut], data[cut:]), "it") == size
        with suppress(ReadError):
            assert images.decode_file(Written(data[:cut], data[cut:]), "it", LIMIT).size == size


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 5, 8, 0, 0, 0, 0)) + chunk(b"abCd", b"") * 1100),
        ("jpeg", b"\xff\xd8" + b"\xff\xe1\0\2" * 1100),
        ("jpeg", b"\xff\xd8" + b"\xff" * 1100),
        ("webp", b"RIFF" + struct.pack("<I", 8 * 1100 + 4) + b"WEBP" + b"JUNK\0\0\0\0" * 1100),
    ],
)
def test_a_file_of_nothing_but_structure_is_given_up(kind: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"threecad.formats.containers.{kind}.MOST", 1000)
    with pytest.raises(ReadError, match=r"^it: damaged: more than 1,048,576 pieces$"):
        images.size_of(data, "it")


def test_a_tiff_whose_tags_all_point_at_the_same_million_numbers_is_refused() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 1, 1 << 20, 1000) for tag in range(254, 334))
    data = struct.pack("<4sIH", b"II*\0", 8, 80) + entries + bytes(30) + bytes(1 << 20)
    with pytest.raises(ReadError, match=r"^it: damaged: a TIFF directory of more numbers than an image needs$"):
        images.size_of(data, "it")


def test_crowded_directories_of_a_tiff_are_not_followed() -> None:
    """Each of the overlapping directories says that it has 65,535 entries; ten thousand would take minutes."""
    tail, step = 65_535 * 12, 16
    body = bytearray(struct.pack("<4sI", b"II*\0", 8) + bytes(tail + 100 * step))
    for place in range(8, 8 + 100 * step, step):
        struct.pack_into("<H", body, place, 65_535)
        struct.pack_into("<I", body, place + 2 + tail, place + step)
    for number, tag in enumerate((256, 257)):
        struct.pack_into("<HHII", body, 10 + 12 * (60_000 + number), tag, 3, 1, 5)
    header = Tiff.parse(in_memory(memoryview(bytes(body))))
    assert (header.size, header.pages) == (Size(5, 5), 1)


def test_a_file_of_more_bytes_than_its_image_can_need_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(saved(RGB, "PNG"))
    for size, fits in ((images.most_bytes(LIMIT), True), (images.most_bytes(LIMIT) + 1, False)):
        os.truncate(path, size)
        if fits:
            assert np.array_equal(images.decode_file(path, "it", LIMIT).pixels, RGB)
        else:
            with pytest.raises(ReadError, match=rf"^it: {size} bytes, more than an image of 1 MP can need$"):
                images.decode_file(path, "it", LIMIT)


def test_damage_is_told_in_the_error_and_not_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    for case, data in CORPUS.items():
        if "16" in case or not case.startswith("tiff"):  # the libtiff inside Pillow prints, and nobody can stop it
            outcome(data[: len(data) // 2])
            outcome(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert capfd.readouterr() == ("", "")


def test_threads_decode_alike() -> None:
    cases = [*CORPUS.values()] * 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: read(data).pixels, cases))
    for data, pixels in zip(cases, together, strict=True):
        assert np.array_equal(read(data).pixels, pixels)


# ---------------------------------------------------------------- real data


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")  # Pillow's, about a file of the oracle's
def test_real_photographs_decode_to_pillows_pixels() -> None:
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    found = sorted(path for path in SHARED.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
    assert found
    for path in found[:: max(1, len(found) // 60)]:
        with Image.open(path) as image:
            gray = image.mode in ("1", "L") or (
                image.mode == "P" and image.convert("RGB").convert("L").convert("RGB") == image.convert("RGB")
            )
            expected = np.asarray(ImageOps.exif_transpose(image).convert("L" if gray else "RGB"))
        picture = images.decode_file(path, path.name, LIMIT * 400)
        assert np.array_equal(picture.pixels, expected) or any(code is Code.ALPHA_DROPPED for code, _ in picture.notes), path.name
        assert images.size_of(path, path.name) == picture.size


@pytest.mark.parametrize("shape", [(1, 1), (63, 5), (64, 4), (65, 7), (130, 33)])
def test_a_bmp_is_turned_into_rgb_in_memory_that_may_be_spent_and_nowhere_else(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    data = bytearray(file.getvalue())

    kept = images.decode(memoryview(data), "a.bmp", 10**6).pixels
    assert (kept == pixels).all()
    assert data == file.getvalue(), "nobody said that it may be spent"

    spent = images.decode(memoryview(data), "a.bmp", 10**6, spend=True).pixels
    assert (spent == pixels).all()
    assert np.shares_memory(spent, np.frombuffer(data, np.uint8))


def test_reading_into_memory_gives_what_there_is() -> None:
    assert bytes(images.read_into(io.BytesIO(b"abc"), 3)) == b"abc"
    assert bytes(images.read_into(io.BytesIO(b"abc"), 9)) == b"abc"
    assert bytes(images.read_into(io.BytesIO(b"abc"), 0)) == b""
