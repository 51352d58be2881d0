"""Score maps and masks as anybody has them, checked and brought into one form before anything is counted.

torch is never imported here: whoever hands in a tensor has imported it. Tensors in the computer's memory are read in place as
NumPy's arrays; those on another device stay there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.errors import ThreecadError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_TOLD_APART = 2.0**53  # whole numbers from here on may be rounded by float64


class ScoreError(ThreecadError, ValueError):
    """Scores, masks or labels from which nothing can be measured; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Checked images of one size.

    `scores_BP` are float32, P pixels an image, an array or a tensor on its device; `rounded` says that some were given with
    more digits. `marked_BHW` is true where a pixel is anomalous. `lows_B` and `highs_B` are the range of each map, not rounded to
    float32, and a float64 wider on either side where whole numbers are beyond those that float64 tells apart.
    `known_B` says whose pixels count: not those of a defective image of which nobody marked where. `defective_B` and
    `image_scores_B` are the images' own.
    """

    scores_BP: Any
    rounded: bool
    marked_BHW: Flags
    lows_B: Floats
    highs_B: Floats
    known_B: Flags
    defective_B: Flags
    image_scores_B: Floats


def read(maps: Any, masks: Any, labels: Any = None, image_scores: Any = None) -> Batch:
    """Bring a batch into form, or say in a ScoreError what is wrong with which of its images, counted from 0."""
    maps_BHW = _stacked(maps, "the map")
    masks_BHW = _in_memory(_stacked(masks, "the mask"))
    shape = tuple(maps_BHW.shape)
    if shape != masks_BHW.shape:
        raise ScoreError(f"maps and masks differ in shape: {_times(shape)} and {_times(masks_BHW.shape)} (images, height, width)")
    if len(shape) != 3 or not shape[1] * shape[2]:
        raise ScoreError(f"maps have the shape {_times(shape)}; expected (images, height, width) or one image's (height, width)")
    marked_BHW = _marked(masks_BHW)
    lows_B, highs_B = _ranges(maps_BHW)
    scores_BP, rounded = _as_float32(maps_BHW)
    touched_B: Flags = np.asarray(marked_BHW.any(axis=(1, 2)))
    defective_B = _labels(labels, touched_B)
    scores_B = highs_B if image_scores is None else _numbers(image_scores, len(highs_B), "image_scores")
    vague_B = _beyond_float64(maps_BHW, lows_B, highs_B)
    if vague_B.any():
        rounded = True
        lows_B = np.where(vague_B, np.nextafter(lows_B, -np.inf), lows_B)
        highs_B = np.where(vague_B, np.nextafter(highs_B, np.inf), highs_B)
    return Batch(scores_BP, rounded, marked_BHW, lows_B, highs_B, touched_B | ~defective_B, defective_B, scores_B)


def flat(values: Any, name: str) -> NDArray[Any]:
    """Real numbers in memory in one dimension, whatever their shape was."""
    return _real(_in_memory(values), name).reshape(-1)


def is_elsewhere(values: Any) -> bool:
    """Whether this is a tensor on another device."""
    return _is_tensor(values) and values.device.type != "cpu"


def _is_tensor(values: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def _stacked(values: Any, name: str) -> Any:
    """(B, H, W) of (B, 1, H, W), (B, H, W) or (H, W); anything else as it is."""
    if _is_tensor(values):
        values = values.detach()
        values = values if is_elsewhere(values) else _in_memory(values)
    else:
        values = _real(np.asarray(values), name)
    if values.ndim == 4 and values.shape[1] == 1:
        return values[:, 0]
    return values[None] if values.ndim == 2 else values


def _in_memory(values: Any) -> NDArray[Any]:
    if not _is_tensor(values):
        return np.asarray(values)
    values = values.detach().cpu()
    # bfloat16 and the like have no counterpart in NumPy, and each of them fits into float32.
    known = values.dtype.itemsize > 2 or not values.dtype.is_floating_point or str(values.dtype) == "torch.float16"
    array: NDArray[Any] = (values if known else values.float()).resolve_neg().numpy()
    return array


def _real(values: NDArray[Any], name: str) -> NDArray[Any]:
    if values.dtype.kind not in "biuf":
        raise ScoreError(f"{name} holds values of type {values.dtype}; expected real numbers")
    return values


def _marked(masks_BHW: NDArray[Any]) -> Flags:
    _real(masks_BHW, "the mask")
    if masks_BHW.dtype.kind == "f" and np.isnan(masks_BHW).any():
        _refuse("the mask of image {} of the batch holds NaN; expected 0 for normal pixels", np.isnan(masks_BHW).any(axis=(1, 2)))
    marked: Flags = masks_BHW if masks_BHW.dtype == np.bool_ else masks_BHW != 0
    return marked


def _ranges(maps_BHW: Any) -> tuple[Floats, Floats]:
    """The lowest and highest score of each map; both are NaN where one of its scores is."""
    if not len(maps_BHW):
        return np.zeros(0), np.zeros(0)
    if is_elsewhere(maps_BHW):
        lows_B = _in_memory(maps_BHW.flatten(1).amin(1)).astype(np.float64)
        highs_B = _in_memory(maps_BHW.flatten(1).amax(1)).astype(np.float64)
    else:
        lows_B = maps_BHW.min(axis=(1, 2)).astype(np.float64)
        highs_B = maps_BHW.max(axis=(1, 2)).astype(np.float64)
    _refuse("the map of image {} of the batch holds NaN; expected a score for each pixel", np.isnan(highs_B))
    return lows_B, highs_B


def _beyond_float64(maps_BHW: Any, lows_B: Floats, highs_B: Floats) -> Flags:
    """Of which maps a comparison by float64 cannot tell whether rounding changed anything, as they hold large whole numbers."""
    whole = not (maps_BHW.dtype.is_floating_point if _is_tensor(maps_BHW) else maps_BHW.dtype.kind == "f")
    vague_B: Flags = np.maximum(-lows_B, highs_B) >= _TOLD_APART
    return vague_B & (whole and maps_BHW.dtype.itemsize == 8)


def _as_float32(maps_BHW: Any) -> tuple[Any, bool]:
    """The scores as float32, rounded to the nearest, which keeps their order; and whether that changed any."""
    count, pixels = len(maps_BHW), maps_BHW.shape[1] * maps_BHW.shape[2]
    if is_elsewhere(maps_BHW):
        scores = maps_BHW.float()
        wide = maps_BHW.dtype.itemsize > 2
        rounded = wide and scores.dtype != maps_BHW.dtype and bool((scores.to(maps_BHW.dtype) != maps_BHW).any())
        return scores.reshape(count, pixels).contiguous(), rounded
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, which is in its place there
        scores = np.ascontiguousarray(maps_BHW, dtype=np.float32)
    wide = maps_BHW.dtype.itemsize > 2 and maps_BHW.dtype != np.float32
    rounded = wide and bool((scores != maps_BHW).any())
    return scores.reshape(count, pixels), rounded


def _labels(labels: Any, marked_B: Flags) -> Flags:
    if labels is None:
        return marked_B
    values_B = _numbers(labels, len(marked_B), "labels")
    _refuse("the label of image {} of the batch is neither 0 (good) nor 1 (defective)", (values_B != 0) & (values_B != 1))
    defective_B: Flags = values_B == 1
    _refuse("image {} of the batch is labelled 0 (good), but its mask marks pixels", marked_B & ~defective_B)
    return defective_B


def _numbers(values: Any, count: int, name: str) -> Floats:
    numbers_B: Floats = flat(values, name).astype(np.float64)
    if len(numbers_B) != count:
        raise ScoreError(f"{name} has {len(numbers_B)} values for {count} images; expected one an image")
    _refuse(f"{name} holds NaN for image {{}} of the batch", np.isnan(numbers_B))
    return numbers_B


def _refuse(sentence: str, wrong_B: Flags) -> None:
    if wrong_B.any():
        raise ScoreError(sentence.format(int(np.flatnonzero(wrong_B)[0])))


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "of a single number"
