"""How images become squares, and maps of squares become maps of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from threecad.domain import Size, Window
from threecad.errors import ConfigError
from threecad.imaging.tiling import windows
from threecad.learning.config import Data
from threecad.learning.fitting import Fit, blend, fit_image, fit_mask, fits, unfit
from threecad.settings import Tiling

SIZES = st.builds(Size, st.integers(1, 220), st.integers(1, 220))
SETTINGS = st.builds(
    Data,
    size=st.sampled_from([64, 96]),
    resize=st.sampled_from(["squash", "letterbox", "tile"]),
    overlap_ratio=st.floats(0, 0.89),
)


def whole(size: Size, side: int) -> Fit:
    return Fit(Window(0, 0, size), (0, 0, side, side))


# Which squares


@given(SIZES, SETTINGS)
def test_the_squares_of_an_image_show_every_pixel_and_nothing_else(size: Size, settings: Data) -> None:
    seen = np.zeros((size.height, size.width), int)
    for fit in fits(size, settings):
        top, left, height, width = fit.inner
        assert min(top, left) >= 0
        assert 1 <= height <= settings.size - top
        assert 1 <= width <= settings.size - left
        window = fit.window
        assert window.top + window.size.height <= size.height
        assert window.left + window.size.width <= size.width
        seen[window.top : window.top + window.size.height, window.left : window.left + window.size.width] += 1
    assert seen.all()


@given(SIZES, st.sampled_from([64, 96]))
def test_a_letterbox_keeps_the_aspect_to_half_a_pixel_and_fills_one_axis(size: Size, side: int) -> None:
    (fit,) = fits(size, Data(size=side, resize="letterbox"))
    _, _, height, width = fit.inner
    assert max(height, width) == side
    scale = side / max(size.height, size.width)
    for length, given_ in ((height, size.height), (width, size.width)):
        assert length == 1 or abs(length - given_ * scale) <= 0.5


@given(SIZES, st.floats(0, 0.89))
def test_tiles_are_as_convert_cuts_them_and_never_scaled(size: Size, overlap: float) -> None:
    found = fits(size, Data(size=64, resize="tile", overlap_ratio=overlap))
    cuts, _ = windows(size, Tiling(slice_size=64, overlap_ratio=overlap, min_side_ratio=0))
    assert [fit.window for fit in found] == cuts
    assert all(fit.inner[2:] == (fit.window.size.height, fit.window.size.width) for fit in found)


def test_an_image_of_absurdly_many_tiles_is_refused_with_the_settings_to_change() -> None:
    with pytest.raises(
        ConfigError, match=r"60000 × 60000 .* more than 200,000 squares \(data\.size 64, data\.overlap_ratio 0\.2"
    ):
        fits(Size(60000, 60000), Data(size=64, resize="tile"))


# Images


@given(SIZES, SETTINGS, st.integers(0, 255))
def test_an_image_of_one_colour_gives_squares_of_that_colour(size: Size, settings: Data, value: int) -> None:
    pixels = np.full((size.height, size.width, 3), (value, 255 - value, 7), np.uint8)
    for fit in fits(size, settings):
        square = fit_image(pixels, fit, settings.size)
        assert square.shape == (settings.size, settings.size, 3)
        assert square.dtype == np.uint8
        assert (square == (value, 255 - value, 7)).all()


def test_shrinking_averages_and_so_fine_stripes_become_gray_not_black_or_white() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    square = fit_image(stripes, whole(Size(512, 512), 64), 64)
    assert square[:, 2:-2].min() >= 120
    assert square[:, 2:-2].max() <= 135


def test_16_bits_become_8_by_rounding() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    square = fit_image(np.repeat(values[:, :, None], 3, axis=2), whole(Size(256, 256), 256), 256)
    assert np.array_equal(square[:, :, 1], np.floor(values / 257 + 0.5))


def test_a_large_16_bit_image_is_scaled_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (70, 40, 3)).astype(np.uint16)
    at_once = fit_image(pixels, whole(Size(70, 40), 32), 32)
    monkeypatch.setattr("threecad.learning.fitting._ROWS", 100)
    assert np.array_equal(fit_image(pixels, whole(Size(70, 40), 32), 32), at_once)


def test_padding_repeats_the_border() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3)).astype(np.uint8)
    (fit,) = fits(Size(10, 20), Data(size=64, resize="tile"))
    top, left, height, width = fit.inner
    square = fit_image(pixels, fit, 64)
    assert np.array_equal(square[top : top + height, left : left + width], pixels)
    assert (square[:top, left : left + width] == pixels[0]).all()
    assert (square[top + height :, left : left + width] == pixels[-1]).all()
    assert (square[:top, :left] == pixels[0, 0]).all()


def test_pixels_that_cannot_be_written_or_lie_apart_in_memory_are_taken() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    expected = fit_image(pixels, whole(Size(40, 60), 32), 32)
    odd = np.asfortranarray(pixels)[::-1][::-1]
    odd.flags.writeable = False
    assert np.array_equal(fit_image(odd, whole(Size(40, 60), 32), 32), expected)


def test_a_square_never_shares_memory_with_the_image() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    assert not np.shares_memory(fit_image(pixels, whole(Size(32, 32), 32), 32), pixels)


# Masks


@given(st.data(), SETTINGS)
def test_no_defect_vanishes_and_none_appears(data: st.DataObject, settings: Data) -> None:
    size = data.draw(SIZES)
    mask = np.zeros((size.height, size.width), bool)
    for _ in range(data.draw(st.integers(0, 3))):
        mask[data.draw(st.integers(0, size.height - 1)), data.draw(st.integers(0, size.width - 1))] = True
    for fit in fits(size, settings):
        top, left, height, width = fit.inner
        window = fit.window
        part = mask[window.top : window.top + window.size.height, window.left : window.left + window.size.width]
        square = fit_mask(mask, fit, settings.size)
        assert square.shape == (settings.size, settings.size)
        assert square.any() == part.any()
        outside = square.copy()
        outside[top : top + height, left : left + width] = False
        assert not outside.any()


@given(arrays(np.bool_, st.tuples(st.integers(1, 70), st.integers(1, 70))))
def test_a_square_pixel_is_marked_exactly_if_it_touches_a_marked_one(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    square = fit_mask(mask, whole(Size(height, width), 32), 32)
    for row in range(32):
        for column in range(32):
            rows = slice(row * height // 32, -(-(row + 1) * height // 32))
            columns = slice(column * width // 32, -(-(column + 1) * width // 32))
            assert square[row, column] == mask[rows, columns].any()


# Maps


@given(SIZES, SETTINGS, st.floats(-1e3, 1e3, width=32), st.booleans())
def test_maps_of_one_value_give_a_map_of_that_value(size: Size, settings: Data, value: float, corners: bool) -> None:
    found = fits(size, settings)
    maps = np.full((len(found), settings.size, settings.size), value, np.float32)
    whole_map = unfit(maps, found, size, align_corners=corners)
    assert whole_map.shape == (size.height, size.width)
    assert whole_map.dtype == np.float32
    np.testing.assert_allclose(whole_map, value, rtol=1e-5, atol=1e-30)


@given(st.builds(Size, st.integers(33, 150), st.integers(33, 150)), SETTINGS)
def test_a_smooth_image_taken_apart_and_put_together_is_nearly_itself(size: Size, settings: Data) -> None:
    rows, columns = np.mgrid[: size.height, : size.width]
    ramp = (rows / size.height + columns / size.width) * 120
    pixels = np.repeat(ramp.round().astype(np.uint8)[:, :, None], 3, axis=2)
    found = fits(size, settings)
    maps = np.stack([fit_image(pixels, fit, settings.size)[:, :, 0] for fit in found]).astype(np.float32)
    # A letterbox leaves few pixels to the short side, on which the ramp is steep.
    step = 120 / min(fit.inner[2] for fit in found) + 120 / min(fit.inner[3] for fit in found)
    assert np.abs(unfit(maps, found, size) - ramp).max() <= 1.5 + (0 if settings.resize == "tile" else step)


@given(SIZES, st.integers(0, 99))
def test_tiles_of_a_map_give_back_the_map(size: Size, seed: int) -> None:
    whole_map = np.random.default_rng(seed).random((size.height, size.width), np.float32)
    cuts = [fit.window for fit in fits(size, Data(size=64, resize="tile", overlap_ratio=0.4))]

    def parts() -> Iterator[tuple[Window, NDArray[np.float32]]]:
        for cut in cuts:
            yield cut, whole_map[cut.top : cut.top + cut.size.height, cut.left : cut.left + cut.size.width]

    np.testing.assert_allclose(blend(parts(), size), whole_map, rtol=1e-5)


def test_a_seam_is_smooth_where_squares_disagree() -> None:
    size, settings = Size(64, 112), Data(size=64, resize="tile", overlap_ratio=0.25)
    found = fits(size, settings)
    blended = unfit(np.stack([np.full((64, 64), value, np.float32) for value in (0, 1)]), found, size)
    steps = np.diff(blended[30])
    assert (steps >= 0).all()
    assert steps.max() < 0.2
    assert (blended[:, :48] == 0).all()
    assert (blended[:, 64:] == 1).all()


def test_a_square_says_its_all_at_the_border_of_the_image() -> None:
    # Both squares show columns 48 to 63; rows do not matter, for both touch the upper and the lower border.
    found = fits(Size(64, 112), Data(size=64, resize="tile", overlap_ratio=0.25))
    first = np.random.default_rng(0).random((64, 64), np.float32)
    blended = unfit(np.stack([first, np.zeros_like(first)]), found, Size(64, 112))
    np.testing.assert_allclose(blended[:, :48], first[:, :48], rtol=1e-6)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [Size(300, 200), Size(64, 64), Size(20, 10), Size(1, 1)])
def test_the_map_of_one_squashed_square_is_torchs_bilinear_resize(size: Size, corners: bool) -> None:
    import torch

    maps = np.random.default_rng(0).random((1, 64, 64), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None], size=(size.height, size.width), mode="bilinear", align_corners=corners
    )[0, 0]
    found = unfit(maps, fits(size, Data(size=64)), size, align_corners=corners)
    assert np.array_equal(found, expected.numpy())


def test_maps_that_cannot_be_written_are_taken_and_left_as_they_are() -> None:
    maps = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    maps.flags.writeable = False
    same = unfit(maps, fits(Size(64, 64), Data(size=64)), Size(64, 64))
    assert np.array_equal(same, maps[0])
    assert not np.shares_memory(same, maps)


def test_a_window_beyond_the_image_is_cut_off() -> None:
    cuts, _ = windows(Size(40, 40), Tiling(slice_size=32, overlap_ratio=0.25, edge="pad", min_side_ratio=0))
    assert any(cut.top + cut.size.height > 40 for cut in cuts)
    found = blend(((cut, np.full((32, 32), 3, np.float32)) for cut in cuts), Size(40, 40))
    np.testing.assert_allclose(found, 3, rtol=1e-6)


def test_only_one_map_is_held_at_a_time() -> None:
    import weakref

    held: list[Any] = []

    def parts() -> Iterator[tuple[Window, NDArray[np.float32]]]:
        for left in range(0, 80, 16):
            given_ = np.ones((32, 32), np.float32)
            held.append(weakref.ref(given_))
            yield Window(0, left, Size(32, 32)), given_
            del given_
            assert sum(each() is not None for each in held) <= 1

    blend(parts(), Size(32, 96))


def test_windows_that_leave_a_pixel_uncovered_are_no_whole_map() -> None:
    with pytest.raises(ValueError, match="leave 64 of 1088 pixels uncovered"):
        blend([(Window(0, 0, Size(32, 32)), np.ones((32, 32), np.float32))], Size(32, 34))


def test_a_map_of_another_size_than_its_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(32, 31\)"):
        blend([(Window(0, 0, Size(32, 32)), np.ones((32, 31), np.float32))], Size(32, 32))
    with pytest.raises(ValueError, match="found 2 maps, expected 1"):
        unfit(np.zeros((2, 64, 64), np.float32), fits(Size(9, 9), Data(size=64)), Size(9, 9))
