"""How a photograph is cut into windows, and each window becomes the model's squares; and the way back to one map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Size, Window
from threecad.imaging.tiling import windows
from threecad.learning.fitting import Fit, blend, fit_image, fits, unfit
from threecad.settings import Tiling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.learning.config import Data
    from threecad.learning.runs import Cut

    Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """A window of the photograph, and the squares that show it; the window reaches beyond the photograph where `edge` is pad."""

    window: Window
    fits: Sequence[Fit]


def parts(size: Size, data: Data, cut: Cut | None) -> list[Part]:
    """All windows of a photograph as `convert` cuts them, from top to bottom and left to right; the whole one without a `cut`.

    Every pixel is in one: where `convert` leaves a narrow window out, one of full size stands that is moved back inside, and
    a photograph that is itself too narrow is cut along its length. ConfigError above 200,000 windows or squares of a window.

    >>> from threecad.learning.config import Data
    >>> from threecad.learning.runs import Cut
    >>> cut = Cut(slice_size=100, overlap_ratio=0.1, edge="remainder")
    >>> [part.window.left for part in parts(Size(100, 195), Data(size=64), cut)]
    [0, 90, 95]
    >>> len(parts(Size(15, 300), Data(size=64), cut)), len(parts(Size(15, 300), Data(size=64), None))
    (4, 1)
    """
    if cut is None:
        return [Part(Window(0, 0, size), fits(size, data))]
    known: dict[Size, list[Fit]] = {}
    found = []
    for window in _windows(size, cut):
        if window.size not in known:
            known[window.size] = fits(window.size, data)
        found.append(Part(window, known[window.size]))
    return found


def _windows(size: Size, cut: Cut) -> list[Window]:
    tiling = Tiling(slice_size=cut.slice_size, overlap_ratio=cut.overlap_ratio, edge=cut.edge)
    kept, left_out = windows(size, tiling)
    if not left_out:
        return kept
    every, _ = windows(size, tiling.model_copy(update={"min_side_ratio": 0.0}))
    narrow = set(every) - set(kept)
    side = cut.slice_size
    inside = Size(min(side, size.height), min(side, size.width))
    moved = (
        Window(min(each.top, size.height - inside.height), min(each.left, size.width - inside.width), inside) for each in narrow
    )
    return sorted({*kept, *moved})


def square(pixels: NDArray[Any], part: Part, number: int, side: int) -> NDArray[np.uint8]:
    """A window's square of that number, (side, side, 3); `pixels` are the photograph's, (H, W) or (H, W, 3), 8 or 16 bits."""
    top, left, size = part.window.top, part.window.left, part.window.size
    tile = pixels[top : top + size.height, left : left + size.width]
    if tile.shape[:2] != (size.height, size.width):  # black beyond the edge, as `convert` has it
        full = np.zeros((size.height, size.width, *tile.shape[2:]), tile.dtype)
        full[: tile.shape[0], : tile.shape[1]] = tile
        tile = full
    if tile.ndim == 2:
        tile = np.repeat(tile[..., None], 3, axis=2)
    return fit_image(tile, part.fits[number], side)


def joined(maps: Iterator[Map], found: Sequence[Part], size: Size, *, align_corners: bool) -> Map:
    """The map (H, W) of a photograph from those of its squares, (side, side) each, one after the other."""
    pieces = (
        (part.window, unfit(np.stack([next(maps) for _ in part.fits]), part.fits, part.window.size, align_corners=align_corners))
        for part in found
    )
    if len(found) == 1 and found[0].window == Window(0, 0, size):
        return next(pieces)[1]
    return blend(pieces, size)
