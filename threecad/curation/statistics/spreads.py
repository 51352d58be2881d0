"""How many values are spread: quantiles, and a histogram in bins that are the same for every data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from threecad.curation.statistics.records import Distribution, Histogram, Quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

AREA_EDGES = (*(float(f"{mantissa}e{power}") for power in range(-7, 0) for mantissa in ("1", "1.8", "3.2", "5.6")), 1.0)
"""Four bins a decade, about equally wide on a logarithmic axis; they begin at one pixel of 3162 × 3162."""
ASPECT_EDGES = (*(octave * quarter / 4 for octave in (1, 2, 4, 8, 16, 32) for quarter in (4, 5, 6, 7)), 64.0)
"""Four bins an octave: 1, 1.25, 1.5, 1.75, 2, 2.5, … 56, 64; what is longer counts in the last."""


def distribution(values: Doubles | Sequence[float], edges: tuple[float, ...]) -> Distribution:
    """The quantiles and the histogram of sorted values.

    >>> distribution([0.5, 1.0, 1.5, 9.0], (1.0, 2.0, 4.0)).histogram.counts
    (3, 1)
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), np.array(edges))
    return Distribution(quantiles(values) if len(values) else None, Histogram(edges, tuple(counts.tolist())))


def quantiles(values: Doubles | Sequence[float]) -> Quantiles:
    """Of sorted values, one at least: between two neighbours, interpolated on a straight line (Hyndman and Fan's type 7, numpy's
    default). The mean is the exact sum, rounded once, over the count.

    >>> quantiles([1.0, 2.0, 4.0]).q25
    1.5
    """
    shares = np.quantile(values, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), method="linear")
    return Quantiles(len(values), math.fsum(values) / len(values), *shares.tolist())
