"""Maps and masks brought to one size: the map to its mask's, or the mask to its map's in such a way that no defect vanishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Size
from threecad.formats.containers.codecs import opencv

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resampled(scores: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """A map (H, W) at another size: bilinear along an axis that grows; along one that shrinks the mean of what a pixel covers.

    Pixels are areas, so that the centre of pixel i lies at i + 0.5, as torch has it with `align_corners=False`; beyond the
    outermost centres the border's score holds.

    >>> resampled(np.array([[0, 1]], np.float32), Size(1, 4))
    array([[0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    cv2 = opencv()
    height, width = scores.shape
    # An axis at a time: each has its own rule. What grows waits for what shrinks, or a thin map would not fit into any memory.
    first = (height, size.width) if size.height > height and size.width < width else (size.height, width)
    for goal in (first, (size.height, size.width)):
        if scores.shape != goal:
            shrinks = goal[0] < scores.shape[0] or goal[1] < scores.shape[1]
            scores = cv2.resize(scores, goal[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return scores


def reduced(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """A mask (H, W) at another size: a new pixel is marked where it touches a marked one, be it by a fraction.

    So no defect vanishes, and every one grows by less than a new pixel on each side; two that lie so close become one.

    >>> reduced(np.array([[1, 0, 0, 0, 0, 1]], bool), Size(1, 4))
    array([[ True, False, False,  True]])
    """
    touched: NDArray[np.bool_] = _touched(_touched(mask, size.height, 0), size.width, 1)
    return touched


def _touched(mask: Any, count: int, axis: int) -> Any:
    length = mask.shape[axis]
    if length == count:
        return mask
    new = np.arange(count, dtype=np.int64)
    edges = np.stack([new * length // count, -(-(new + 1) * length // count)], axis=1).ravel()
    if count > length:  # several new pixels end at the border, where reduceat takes no index
        mask = np.concatenate([mask, np.zeros_like(mask.take([0], axis))], axis)
    else:
        edges = edges[:-1]
    # Of each two edges what lies between, and then between this pixel's end and the next one's start, which is left out.
    found = np.logical_or.reduceat(mask, edges, axis)
    return found[::2] if axis == 0 else found[:, ::2]
