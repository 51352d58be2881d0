"""One figure in one call, for scores that are all at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from threecad.metrics import curves
from threecad.metrics.curves import Bounded, Table
from threecad.metrics.inputs import ScoreError, flat
from threecad.metrics.meter import Meter


def auroc(scores: Any, labels: Any) -> float:
    """The area under the ROC curve, exactly; ties count half. Labels that are not 0 are positive.

    ScoreError where there are no positives or no negatives, a score is NaN or the lengths differ; so for the others.

    >>> auroc([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1])
    0.75
    """
    return curves.auroc(_table(scores, labels)).value


def average_precision(scores: Any, labels: Any) -> float:
    """Average precision, exactly: precision at each positive's own score, mean over the positives, without interpolation.

    >>> round(average_precision([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1]), 4)
    0.8333
    """
    return curves.average_precision(_table(scores, labels)).value


def best_f1(scores: Any, labels: Any) -> tuple[float, float]:
    """The largest F1 of any threshold, and the highest threshold that reaches it: scores at least that high are positive.

    >>> best_f1([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1])
    (0.8, 0.4)
    """
    figure, threshold = curves.best_f1(_table(scores, labels))
    return figure.value, threshold


def aupro(maps: Any, masks: Any, limit: float = 0.3, *, mantissa_bits: int = 16) -> Bounded:
    """The area under the PRO curve up to the false-positive rate `limit`, of maps and masks as `Meter.update` takes them.

    >>> aupro(np.array([[0.1, 0.9], [0.2, 0.8]]), np.array([[0, 1], [0, 1]])).value
    1.0
    """
    meter = Meter(mantissa_bits=mantissa_bits)
    meter.update(maps, masks)
    found = meter.compute(pro_limit=limit).aupro
    assert found is not None  # masks alone tell which images are defective: pixels of one kind leave nothing to measure
    return found


def _table(scores: Any, labels: Any) -> Table:
    numbers, marks = flat(scores, "scores"), flat(labels, "labels")
    if len(numbers) != len(marks):
        raise ScoreError(f"{len(numbers)} scores and {len(marks)} labels; expected one label a score")
    if np.isnan(numbers).any():
        raise ScoreError(f"score {int(np.flatnonzero(np.isnan(numbers))[0])} is NaN")
    positive = marks != 0
    if positive.all() or not positive.any():
        kind = "positive" if len(positive) and positive.all() else "negative"
        raise ScoreError(f"all {len(positive)} labels are {kind}; expected positives and negatives")
    return curves.of_scores(numbers, positive)
