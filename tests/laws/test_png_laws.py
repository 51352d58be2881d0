"""Whatever is written as a PNG comes back as it was, from every reader, and is the same bytes every time."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from threecad.domain import Size, Window
from threecad.formats import images, png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.settings import Effort

EFFORTS = st.sampled_from(["fast", "small"])


@st.composite
def pictures(draw: st.DrawFn, max_side: int = 24) -> NDArray[np.generic]:
    """(H, W) or (H, W, 3) of 8 or 16 bits: whole arrays, windows of larger ones, mirrored and transposed views."""
    kind = draw(st.sampled_from([np.uint8, np.uint16]))
    channels = draw(st.sampled_from([(), (3,)]))
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    top = draw(st.sampled_from([1, 7, np.iinfo(kind).max]))
    around = random.integers(0, top, (height + 7, width + 5, *channels), dtype=kind, endpoint=True)
    match draw(st.integers(0, 5)):
        case 0:
            return np.ascontiguousarray(around[:height, :width])
        case 1:
            return around[3 : 3 + height, 2 : 2 + width]
        case 2:
            return around[::-1][:height, :width]
        case 3:
            return around[:height, ::-1][:, :width]
        case 4:
            return around[: 2 * height : 2, : 2 * width : 2]
        case _:
            return around.swapaxes(0, 1)


def by_opencv(data: bytes) -> NDArray[np.generic]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else pixels[..., ::-1]


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(type, content) of every chunk, their checksums compared."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, offset = [], 8
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        content = data[offset + 8 : offset + 8 + length]
        assert struct.unpack_from(">I", data, offset + 8 + length) == (zlib.crc32(kind + content),)
        found.append((kind, content))
        offset += 12 + length
    return found


@given(pictures(), EFFORTS)
def test_a_png_gives_every_reader_the_pixels_that_went_in(pixels: NDArray[np.generic], effort: Effort) -> None:
    data = png.encode_png(pixels, effort)
    for found in (by_opencv(data), images.decode(data, "it", 10_000).pixels):
        assert found.dtype == pixels.dtype
        assert np.array_equal(found, pixels)
    if pixels.dtype == np.uint8 or pixels.ndim == 2:  # Pillow has no 16-bit colours
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


@given(pictures(), EFFORTS)
def test_a_png_holds_its_pixels_and_nothing_else(pixels: NDArray[np.generic], effort: Effort) -> None:
    data = png.encode_png(pixels, effort)
    Image.open(io.BytesIO(data)).verify()
    found = chunks(data)
    assert [kind for kind, _ in found] == [b"IHDR", b"IDAT", b"IEND"]
    scan = zlib.decompress(found[1][1])
    assert len(scan) == pixels.shape[0] * (1 + pixels.dtype.itemsize * pixels[0].size)


@given(pictures(), EFFORTS)
def test_equal_pixels_are_equal_bytes_whatever_their_strides_and_thread(pixels: NDArray[np.generic], effort: Effort) -> None:
    copies = [pixels, pixels.copy("C"), pixels.copy("F"), pixels.astype(pixels.dtype.newbyteorder())]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda copy: png.encode_png(copy, effort), copies * 3))) == 1


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]), st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 255)
    )
)
def test_a_mask_gives_every_reader_the_values_that_went_in(mask: NDArray[np.generic]) -> None:
    for view in (mask, mask[::-1, ::-1], mask.T, mask * 0):
        data = png.encode_mask(view)
        assert np.array_equal(by_opencv(data), view)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), view)
        assert [kind for kind, _ in chunks(data)] == [b"IHDR", b"IDAT", b"IEND"]


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 3)),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=4, max_size=256),
)
def test_an_indexed_mask_keeps_its_indices_and_shows_its_colours(
    mask: NDArray[np.uint8], palette: list[tuple[int, int, int]]
) -> None:
    data = png.encode_mask(mask, palette)
    image = Image.open(io.BytesIO(data))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), mask)
    assert np.array_equal(np.asarray(image.convert("RGB")), np.array(palette, np.uint8)[mask])
    assert [kind for kind, _ in chunks(data)] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]


@given(pictures(), EFFORTS)
def test_writing_what_was_read_gives_the_same_bytes(pixels: NDArray[np.generic], effort: Effort) -> None:
    data = png.encode_png(pixels, effort)
    assert png.encode_png(images.decode(data, "it", 10_000).pixels, effort) == data


@st.composite
def cut_images(draw: st.DrawFn) -> tuple[NDArray[np.generic], list[Window]]:
    """A picture and windows of it, in columns that overlap in every way; some reach beyond it."""
    pixels = draw(pictures(40))
    height, width = pixels.shape[:2]
    windows = set()
    for _ in range(draw(st.integers(1, 3))):
        left, wide = draw(st.integers(0, width - 1)), draw(st.integers(1, width + 3))
        tops = st.tuples(st.integers(0, height - 1), st.integers(1, height + 3))
        windows |= {Window(top, left, Size(high, wide)) for top, high in draw(st.lists(tops, min_size=1, max_size=5))}
    return pixels, sorted(windows)


def shown(pixels: NDArray[Any], window: Window) -> NDArray[Any]:
    size = window.size
    full = np.zeros((size.height, size.width, *pixels.shape[2:]), pixels.dtype)
    part = pixels[window.top : window.top + size.height, window.left : window.left + size.width]
    full[: part.shape[0], : part.shape[1]] = part
    return full


@given(cut_images(), EFFORTS, st.data())
def test_tiles_that_share_rows_are_pngs_of_their_own_pixels(
    cut: tuple[NDArray[np.generic], list[Window]], effort: Effort, data: st.DataObject
) -> None:
    pixels, windows = cut
    tiles = png.Overlapping(pixels, windows, set(windows), effort)
    for window in data.draw(st.permutations(windows)):
        encoded = tiles.encode(window, shown(pixels, window))
        assert [kind for kind, _ in chunks(encoded)] == [b"IHDR", b"IDAT", b"IEND"]
        for found in (by_opencv(encoded), images.decode(encoded, "it", 10_000).pixels):
            assert np.array_equal(found, shown(pixels, window))
    assert not any(part._made for part in tiles._parts.values()), "what nobody waits for is forgotten"


@given(cut_images(), st.data())
def test_a_tiles_bytes_hang_neither_on_the_order_nor_on_who_else_is_wanted(
    cut: tuple[NDArray[np.generic], list[Window]], data: st.DataObject
) -> None:
    pixels, windows = cut
    every = png.Overlapping(pixels, windows, set(windows))
    expected = {window: every.encode(window, shown(pixels, window)) for window in windows}
    wanted = data.draw(st.lists(st.sampled_from(windows), min_size=1, unique=True))
    some = png.Overlapping(pixels.copy("F"), windows, set(wanted))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda window: some.encode(window, shown(pixels, window)), wanted))
    assert found == [expected[window] for window in wanted]


@given(pictures())
def test_a_tile_that_overlaps_no_other_is_as_it_would_be_alone(pixels: NDArray[np.generic]) -> None:
    window = Window(0, 0, Size(*pixels.shape[:2]))
    assert png.Overlapping(pixels, [window], {window}).encode(window, pixels) == png.encode_png(pixels)
