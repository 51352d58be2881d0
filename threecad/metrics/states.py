"""Whether arrays that somebody sent or stored are the state of a meter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.metrics import regions
from threecad.metrics.bins import LEAST_BITS, MANTISSA, Scale, keys_of
from threecad.metrics.inputs import ScoreError

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
    farthest = keys_of(np.array([np.inf], np.float32))
    if len(bins) and max(-int(bins[0]), int(bins[-1])) > Scale(kept).bins_of_keys(farthest)[0]:
        return "it has bins of no score"
    if (np.diff(bins) <= 0).any() or (np.diff(marked_bins) <= 0).any() or not np.isin(marked_bins, bins).all():
        return "its bins are not in order"
    amounts = [parts[name].astype(np.int64) for name in ("pixels", "marked", "weights")]
    if any((each < 0).any() for each in amounts) or (amounts[1] > amounts[0][np.searchsorted(bins, marked_bins)]).any():
        return "more pixels of a bin are anomalous than there are"
    if [int(each.sum()) for each in amounts] != [pixels, marked, count * regions.WHOLE]:
        return "its counts do not add up"
    if pixels and not low <= high:
        return "its range of scores is none"
    if (parts["image_labels"] > 1).any():
        return "it has labels that are neither 0 nor 1"
    if np.isnan(parts["image_scores"]).any() or not np.isfinite(parts["upstream"]).all():
        return "it holds NaN"
    return None
