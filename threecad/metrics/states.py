"""Whether arrays that somebody sent or stored are the state of a meter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.metrics import regions
from threecad.metrics.bins import LEAST_BITS, MANTISSA, Scale, keys_of
from threecad.metrics.inputs import ScoreError

_MOST_PIXELS = 1 << 53  # as many can still be told one by one, and many such states be added up in 64 bits
_COLUMNS = {
    "settings": ("i", 5),
    "counts": ("i", 5),
    "range": ("f", 2),
    "bins": ("i", None),
    "pixels": ("iu", None),
    "marked_bins": ("i", None),
    "marked": ("i", None),
    "weights": ("i", None),
    "image_scores": ("f", None),
    "image_labels": ("u", None),
    "upstream": ("f", None),
}


def checked(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a state, whoever wrote it: what does not add up would give figures that look like figures."""
    parts: dict[str, NDArray[Any]] = {}
    for name, (kind, length) in _COLUMNS.items():
        if name not in state:
            raise ScoreError(f"the state of a meter has no {name!r}")
        column = np.asarray(state[name])
        if column.ndim != 1 or column.dtype.kind not in kind or length not in (None, len(column)):
            raise ScoreError(f"{name!r} in the state of a meter is {column.dtype} of shape {column.shape}")
        parts[name] = column
    if why := _inconsistent(parts):
        raise ScoreError(f"the state of a meter is damaged: {why}")
    return parts


def _inconsistent(parts: Mapping[str, NDArray[Any]]) -> str | None:
    bits, kept, *flags = parts["settings"].tolist()
    pixels, marked, count, *pairs = parts["counts"].tolist()
    low, high = parts["range"].tolist()
    bins, marked_bins = parts["bins"], parts["marked_bins"]
    lengths = len(bins) == len(parts["pixels"]) and len(marked_bins) == len(parts["marked"]) == len(parts["weights"])
    if min(pairs) < 0 or not (LEAST_BITS <= kept <= bits <= MANTISSA and set(flags) <= {0, 1}):
        return "its settings are none"
    if bits == MANTISSA != kept:
        return "exact bins never become wider"
    if (
        not lengths
        or bins.dtype != np.int32
        or marked_bins.dtype != np.int32
        or len(parts["image_scores"]) != len(parts["image_labels"])
    ):
        return "columns do not belong together"
    if why := _disordered(parts, Scale(kept)):
        return why
    if why := _miscounted(parts):
        return why
    if pixels > _MOST_PIXELS or count > marked or sum(pairs) > marked:
        return "its counts do not add up"
    if (low, high) != (np.inf, -np.inf) if not pixels else not _within(low, high, bins, Scale(kept), rounded=bool(flags[1])):
        return "its range of scores is none"
    return _images(parts, marked, upstream=bool(flags[2]))


def _disordered(parts: Mapping[str, NDArray[Any]], scale: Scale) -> str | None:
    bins, marked_bins = parts["bins"], parts["marked_bins"]
    farthest = keys_of(np.array([np.inf], np.float32))
    if len(bins) and max(-int(bins[0]), int(bins[-1])) > scale.bins_of_keys(farthest)[0]:
        return "it has bins of no score"
    # Compared, not subtracted: neighbours may lie further apart than 32 bits tell.
    falls = any(bool((each[1:] <= each[:-1]).any()) for each in (bins, marked_bins))
    if falls or not np.isin(marked_bins, bins).all():
        return "its bins are not in order"
    return None


def _miscounted(parts: Mapping[str, NDArray[Any]]) -> str | None:
    pixels, marked, count, *_ = parts["counts"].tolist()
    amounts = [parts[name].astype(np.int64) for name in ("pixels", "marked", "weights")]
    if any((each <= 0).any() for each in amounts):
        return "a bin holds nothing, or less"
    if (amounts[1] > amounts[0][np.searchsorted(parts["bins"], parts["marked_bins"])]).any():
        return "more pixels of a bin are anomalous than there are"
    if [_sum(each) for each in amounts] != [pixels, marked, count * regions.WHOLE]:
        return "its counts do not add up"
    return None


def _sum(amounts: NDArray[np.int64]) -> int:
    """The sum of numbers above 0, however large: of their upper and of their lower halves, of which 2³¹ fit into 64 bits."""
    return (int((amounts >> 32).sum()) << 32) + int((amounts & 0xFFFF_FFFF).sum())


def _within(low: float, high: float, bins: NDArray[np.int32], scale: Scale, *, rounded: bool) -> bool:
    """Whether the lowest score lies in the first bin and the highest in the last one."""
    if not low <= high or (low == high and len(bins) > 1):
        return False
    with np.errstate(over="ignore"):
        keys = keys_of(np.array([low, high], np.float32)).astype(np.int64)
    lowest, highest = scale.ends(bins[[0, -1]])
    slack = int(rounded)  # a whole number of 64 bits is rounded twice on its way into a range, once on its way into a bin
    return bool(((lowest - slack <= keys) & (keys <= highest + slack)).all())


def _images(parts: Mapping[str, NDArray[Any]], marked: int, *, upstream: bool) -> str | None:
    labels, values = parts["image_labels"], parts["upstream"]
    if (labels > 1).any():
        return "it has labels that are neither 0 nor 1"
    if marked and not labels.any():
        return "it has anomalous pixels and no defective image"
    if len(parts["bins"]) and not len(labels):
        return "it has pixels of no image"
    if np.isnan(parts["image_scores"]).any() or np.isnan(values).any():
        return "it holds NaN"
    if ((values < 0) | (values > 1)).any() or len(values) > (np.count_nonzero(labels) if upstream else 0):
        return "its figures by image are none"
    return None
