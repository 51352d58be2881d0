"""How photographs become squares and maps again: every pixel is seen, and as `convert` cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from threecad.domain import Size
from threecad.imaging.tiling import windows
from threecad.learning.config import Data
from threecad.learning.model import Prediction
from threecad.learning.predict import predict_image
from threecad.learning.predict.cutting import parts, square
from threecad.learning.predict.passing import evenly
from threecad.learning.runs import Cut
from threecad.settings import Edge, Tiling

EDGES: tuple[Edge, ...] = ("shift", "remainder", "pad", "balanced")


class Brightness(nn.Module):
    """A detector whose map is the image's brightness."""

    align_corners = False

    def forward(self, images_B3HW: Tensor) -> Prediction:
        map_BHW = images_B3HW.mean(1)
        return Prediction(map_BHW, map_BHW.flatten(1).amax(1))


def bright(pixels: Any, data: Data, cut: Cut | None = None, **options: Any) -> Any:
    detector: Any = Brightness()
    return predict_image(detector, pixels, data, cut, **options)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(EDGES), st.floats(0, 0.6))
def test_windows_see_every_pixel_and_are_those_of_a_conversion_where_that_leaves_none_out(
    height: int, width: int, edge: Edge, overlap: float
) -> None:
    size, cut = Size(height, width), Cut(slice_size=32, overlap_ratio=overlap, edge=edge)
    found = [part.window for part in parts(size, Data(size=64), cut)]
    seen = np.zeros((height, width), bool)
    for window in found:
        assert min(window.top, window.left) >= 0
        assert max(window.size.height, window.size.width) <= 32
        seen[window.top : window.top + window.size.height, window.left : window.left + window.size.width] = True
    assert seen.all()
    theirs, left_out = windows(size, Tiling(slice_size=32, overlap_ratio=overlap, edge=edge))
    assert set(theirs) <= set(found)
    if not left_out:
        assert found == theirs


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("resize", ["squash", "letterbox", "tile"])
def test_the_map_of_a_photograph_in_windows_is_that_of_its_pixels(edge: Edge, resize: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 230), np.uint8)
    said = bright(pixels, Data(size=64, resize=resize), Cut(slice_size=64, overlap_ratio=0.25, edge=edge), batch_size=5)
    whole = edge != "remainder" or resize == "tile"
    height, width = (150, 230) if whole else (96, 192)  # beyond, the last windows are smaller, and so stretched
    assert np.allclose(said.map_HW[:height, :width], pixels[:height, :width] / 255, atol=1e-6)
    assert said.score == pytest.approx(pixels.max() / 255)


def test_gray_colour_and_16_bits_of_the_same_picture_give_the_same_map() -> None:
    gray = np.random.default_rng(1).integers(0, 256, (50, 70), np.uint8)
    data, cut = Data(size=64), Cut(slice_size=40, overlap_ratio=0.2, edge="shift")
    one = bright(gray, data, cut).map_HW
    assert np.array_equal(one, bright(np.repeat(gray[..., None], 3, 2), data, cut).map_HW)
    assert np.array_equal(one, bright(gray.astype(np.uint16) * 257, data, cut).map_HW)


def test_a_photograph_without_a_cut_is_seen_as_a_whole() -> None:
    pixels = np.zeros((300, 200, 3), np.uint8)
    pixels[:, 100:] = 255
    said = bright(pixels, Data(size=64))
    assert said.map_HW.shape == (300, 200)
    assert (said.map_HW[:, :90] == 0).all()
    assert (said.map_HW[:, 110:] == 1).all()


def test_a_photograph_too_narrow_for_a_conversion_is_seen_all_the_same() -> None:
    pixels = np.full((5, 300), 255, np.uint8)
    cut = Cut(slice_size=64, overlap_ratio=0.2, edge="shift")
    assert windows(Size(5, 300), Tiling(slice_size=64))[0] == []
    assert np.allclose(bright(pixels, Data(size=64), cut).map_HW, 1)


def test_a_window_beyond_the_edge_is_black_there() -> None:
    pixels = np.full((30, 40), 200, np.uint8)
    [part] = parts(Size(30, 40), Data(size=64), Cut(slice_size=64, overlap_ratio=0.2, edge="pad"))
    made = square(pixels, part, 0, 64)
    assert (made[:30, :40] == 200).all()
    assert made.sum() == 200 * 30 * 40 * 3


def test_a_smooth_scene_shows_no_seam_between_windows() -> None:
    x = np.linspace(0, 250, 300)
    pixels = np.repeat(x[None], 100, 0).astype(np.uint8)
    said = bright(pixels, Data(size=64), Cut(slice_size=100, overlap_ratio=0.2, edge="shift"))
    assert abs(np.diff(said.map_HW, axis=1)).max() < 3 / 255


@given(st.integers(0, 50), st.integers(1, 20))
def test_batches_are_even_whole_and_not_too_large(count: int, most: int) -> None:
    made = evenly(range(count), most)
    assert [each for some in made for each in some] == list(range(count))
    sizes = [len(some) for some in made] or [0]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= most


def test_a_full_device_says_what_to_do() -> None:
    from threecad.errors import ThreecadError

    class Full(Brightness):
        def forward(self, images_B3HW: Tensor) -> Prediction:
            raise torch.OutOfMemoryError("CUDA out of memory")

    detector: Any = Full()
    with pytest.raises(ThreecadError, match="--batch-size"):
        predict_image(detector, np.zeros((9, 9), np.uint8), Data(size=64))
