"""What the PNG writer refuses, how small it gets, and that threads change no byte; tests/laws/ has the round trips."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from threecad.formats import png


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4), np.int16),
        np.zeros((4, 4), bool),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=["RGBA", "signed", "bool", "empty", "flat"],
)
def test_only_gray_and_rgb_of_8_and_16_bits_are_written(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected .* found"):
        png.encode_png(pixels)


def test_a_palette_must_name_every_index_of_an_8_bit_mask() -> None:
    mask = np.array([[0, 1, 2]], np.uint8)
    with pytest.raises(ValueError, match="index 2 in a palette of 2 colours"):
        png.encode_mask(mask, [(0, 0, 0), (255, 255, 255)])
    with pytest.raises(ValueError, match="uint16"):
        png.encode_mask(mask.astype(np.uint16), [(0, 0, 0)] * 3)
    with pytest.raises(ValueError, match="two dimensions"):
        png.encode_mask(np.ones((2, 2, 3), np.uint8))


def test_small_is_no_larger_than_fast_and_than_pillows_best() -> None:
    noise = np.random.default_rng(0).integers(0, 43, (256, 256, 3), dtype=np.uint8)
    slope = np.linspace(0, 200, 256, dtype=np.uint8)[:, None, None]
    flat = cv2.GaussianBlur(slope + noise, (9, 9), 0)
    by_pillow = io.BytesIO()
    Image.fromarray(flat).save(by_pillow, "PNG", optimize=True)
    small = len(png.encode_png(flat, "small"))
    assert small < len(png.encode_png(flat))
    assert small < 1.02 * len(by_pillow.getvalue())


def test_an_empty_mask_is_the_same_bytes_on_every_path() -> None:
    for kind in (np.uint8, np.uint16):
        mask = np.zeros((300, 200), kind)
        assert png.encode_mask(mask) == png.encode_mask(mask[::-1]) == png._unfiltered(mask, None)
        assert len(png.encode_mask(mask)) < 2000


def test_equal_pixels_are_equal_bytes_in_every_thread() -> None:
    """ISA-L's levels 1 and 2 fail this some fifty times: what they write depends on where in memory they work."""
    random = np.random.default_rng(0)
    tiles = [random.integers(0, 2, random.integers(2, 9, 2), dtype=np.uint8) for _ in range(2000)]
    for write in (png.encode_png, png.encode_mask):
        with ThreadPoolExecutor(12) as pool:
            runs = list(pool.map(lambda _, write=write: [write(tile) for tile in tiles], range(12)))
        assert all(run == runs[0] for run in runs)
