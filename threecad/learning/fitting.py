"""How an image becomes the model's squares, and a map of each square becomes one of the image again.

Images shrink with antialiasing, masks so that no defect vanishes. Where squares overlap, their maps are blended: a square says
less near its own edge, where the network saw less of what lies around.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from threecad.domain import Size, Window
from threecad.errors import ConfigError
from threecad.imaging.tiling import windows
from threecad.settings import Tiling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.learning.config import Data

_LEAST = 1e-3
"""Weight at a square's very edge, a share of that in its middle: above 0, so that what one square alone shows counts in full."""
_ROWS = 1 << 22
"""Pixels that are brought from 16 bits to 8 at a time: the sums need four bytes each."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Which part of an image a square shows, and where: `window` is whole pixels of the image, all inside it; `inner` is (top,
    left, height, width) of that part within the square. The rest of the square is padding."""

    window: Window
    inner: tuple[int, int, int, int]


def fits(size: Size, settings: Data) -> list[Fit]:
    """The squares of an image, from top to bottom and left to right; together they show every pixel of it.

    `squash` and `letterbox` give one, `tile` as many as it takes at full resolution, with the last of a row moved back inside.
    What is smaller than the square stands in its middle.

    ConfigError where an image would give more squares than anybody wants.

    >>> from threecad.learning.config import Data
    >>> fits(Size(100, 200), Data(size=64))
    [Fit(window=Window(top=0, left=0, size=Size(height=100, width=200)), inner=(0, 0, 64, 64))]
    >>> fits(Size(100, 200), Data(size=64, resize="letterbox"))[0].inner
    (16, 0, 32, 64)
    >>> [fit.window.left for fit in fits(Size(50, 150), Data(size=64, resize="tile", overlap_ratio=0.25))]
    [0, 48, 86]
    """
    side = settings.size
    if settings.resize == "squash":
        return [Fit(Window(0, 0, size), (0, 0, side, side))]
    if settings.resize == "letterbox":
        longest = max(size.height, size.width)
        return [_amid(Window(0, 0, size), _share(size.height, longest, side), _share(size.width, longest, side), side)]
    tiling = Tiling(slice_size=side, overlap_ratio=settings.overlap_ratio, edge="shift", min_side_ratio=0)
    try:
        found, _ = windows(size, tiling)
    except ConfigError:  # which names the settings of a conversion
        raise ConfigError(
            f"an image of {size.width} × {size.height} pixels (width × height) would be cut into more than 200,000 squares "
            f"(data.size {side}, data.overlap_ratio {settings.overlap_ratio:g}); raise data.size or lower data.overlap_ratio"
        ) from None
    return [_amid(window, window.size.height, window.size.width, side) for window in found]


def fit_image(pixels: NDArray[np.uint8] | NDArray[np.uint16], fit: Fit, side: int) -> NDArray[np.uint8]:
    """The square that `fit` makes of an image: (height, width, 3), uint8 or uint16, becomes (side, side, 3) uint8.

    16 bits become 8 by 1/257, rounded. Scaling is bilinear, and where it shrinks, over all pixels that a new one covers.
    Padding repeats the outermost pixels.

    >>> fit = Fit(Window(0, 0, Size(2, 4)), (1, 0, 2, 4))
    >>> fit_image(np.arange(24, dtype=np.uint16).reshape(2, 4, 3) * 257, fit, 4)[:, 0, 0]
    array([ 0,  0, 12, 12], dtype=uint8)
    """
    part = _of_8_bits(pixels[_at(fit.window)])
    top, left, height, width = fit.inner
    if part.shape[:2] != (height, width):
        from PIL import Image

        picture = Image.fromarray(np.ascontiguousarray(part))
        part = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    if (height, width) == (side, side):
        return np.array(part)
    return np.pad(part, ((top, side - top - height), (left, side - left - width), (0, 0)), mode="edge")


def fit_mask(mask: NDArray[np.bool_], fit: Fit, side: int) -> NDArray[np.bool_]:
    """The mask (height, width) of the image as `fit` shows it, (side, side): any marked pixel marks what it touches.

    Pixel j of the n that show m rows covers those from floor(j·m/n) up to, not including, ceil((j + 1)·m/n); so no defect of
    the window vanishes, and most grow. Padding is not marked.

    >>> mask = np.zeros((1000, 1000), bool)
    >>> mask[999, 500] = True
    >>> np.argwhere(fit_mask(mask, Fit(Window(0, 0, Size(1000, 1000)), (0, 0, 32, 32)), 32)).tolist()
    [[31, 16]]
    """
    top, left, height, width = fit.inner
    found = np.zeros((side, side), np.bool_)
    found[top : top + height, left : left + width] = _any(_any(mask[_at(fit.window)], height).T, width).T
    return found


def unfit(maps: NDArray[np.float32], fits: Sequence[Fit], size: Size, *, align_corners: bool = False) -> NDArray[np.float32]:
    """The map of the whole image, (height, width), from those of its squares, (squares, side, side).

    The part of each that shows the image is scaled bilinearly to its window, and `blend` makes one of them. With one square that
    shows the whole image nothing but the scaling happens. `align_corners` is as in torch.

    >>> fit = Fit(Window(0, 0, Size(2, 4)), (0, 0, 2, 2))
    >>> unfit(np.array([[[0, 1], [0, 1]]], np.float32), [fit], Size(2, 4))[0]
    array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    if len(maps) != len(fits):
        raise ValueError(f"found {len(maps)} maps, expected {len(fits)}: one a square")
    parts = _parts(maps, fits, align_corners)
    if len(fits) == 1 and fits[0].window == Window(0, 0, size):
        return next(parts)[1]
    return blend(parts, size)


def blend(maps: Iterable[tuple[Window, NDArray[np.float32]]], size: Size) -> NDArray[np.float32]:
    """One map (height, width) of an image of that size from those of its windows, each at the window's own resolution.

    Each weighs most in its middle and, as a Hann window does, less and less towards its edges, but not towards those that are
    the image's own. The maps are taken one after the other and none is kept. A part of a window beyond the image is cut off.

    ValueError where a map is not of its window's size, or the windows leave a pixel uncovered.

    >>> left, right = (np.full((1, 4), value, np.float32) for value in (0, 1))
    >>> blend([(Window(0, 0, Size(1, 4)), left), (Window(0, 2, Size(1, 4)), right)], Size(1, 6)).round(2)
    array([[0.  , 0.  , 0.15, 0.85, 1.  , 1.  ]], dtype=float32)
    """
    total, weights = (np.zeros((size.height, size.width), np.float32) for _ in range(2))
    for window, given in maps:
        if given.shape != (window.size.height, window.size.width):
            raise ValueError(f"found a map of shape {given.shape} for {window}")
        weight = np.outer(_ramp(window.top, window.size.height, size.height), _ramp(window.left, window.size.width, size.width))[
            : size.height - window.top, : size.width - window.left
        ]
        total[_at(window)] += given[: weight.shape[0], : weight.shape[1]] * weight
        weights[_at(window)] += weight
    if not weights.all():
        raise ValueError(f"the windows leave {int((weights == 0).sum())} of {size.area} pixels uncovered")
    total /= weights
    return total


def _share(length: int, longest: int, side: int) -> int:
    """What `length` measures where `longest` becomes `side`: rounded, at least a pixel."""
    return max(1, (2 * length * side + longest) // (2 * longest))


def _amid(window: Window, height: int, width: int, side: int) -> Fit:
    return Fit(window, ((side - height) // 2, (side - width) // 2, height, width))


def _at(window: Window) -> tuple[slice, slice]:
    """The window's rows and columns; what lies beyond an array, slicing leaves out."""
    return slice(window.top, window.top + window.size.height), slice(window.left, window.left + window.size.width)


def _of_8_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    scaled = np.empty(pixels.shape, np.uint8)
    step = max(1, _ROWS // max(1, pixels.shape[1]))
    for row in range(0, len(pixels), step):
        scaled[row : row + step] = (pixels[row : row + step].astype(np.uint32) + 128) // 257
    return scaled


def _any(mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """The rows of a mask as `count` rows: each marks what any row that it touches marks."""
    length = len(mask)
    found = np.empty((count, mask.shape[1]), np.bool_)
    for row in range(count):
        np.any(mask[row * length // count : -(-(row + 1) * length // count)], axis=0, out=found[row])
    return found


def _parts(maps: NDArray[np.float32], fits: Sequence[Fit], align_corners: bool) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """The map of each window, at its own resolution."""
    for square, fit in zip(maps, fits, strict=True):
        top, left, height, width = fit.inner
        yield fit.window, _scaled(square[top : top + height, left : left + width], fit.window.size, align_corners)


def _scaled(part: NDArray[np.float32], size: Size, align_corners: bool) -> NDArray[np.float32]:
    # Copied, for torch warns of arrays that cannot be written; it is at most a square.
    part = np.array(part, np.float32, order="C")
    if part.shape == (size.height, size.width):
        return part
    import torch
    from torch.nn.functional import interpolate

    scaled = interpolate(
        torch.from_numpy(part)[None, None], size=(size.height, size.width), mode="bilinear", align_corners=align_corners
    )
    found: NDArray[np.float32] = scaled[0, 0].numpy()
    return found


def _ramp(start: int, length: int, whole: int) -> NDArray[np.float32]:
    """Weights along one axis of a window that begins at `start` in an image of `whole` pixels."""
    place = (np.arange(length) + 0.5) / length
    weight = _LEAST + (1 - _LEAST) * np.sin(np.pi * place) ** 2
    if start == 0:
        weight[place <= 0.5] = 1
    if start + length >= whole:
        weight[place >= 0.5] = 1
    return weight.astype(np.float32)
