"""Exact figures of anomaly detection, from score maps and masks, in one pass.

`Meter` measures batch by batch in a bounded state; `auroc`, `average_precision`, `best_f1` and `aupro` are for what is at hand.
"""

from __future__ import annotations

from threecad.metrics.curves import Bounded, Curve
from threecad.metrics.figures import FIGURES, Scores
from threecad.metrics.inputs import ScoreError
from threecad.metrics.meter import Meter
from threecad.metrics.single import aupro, auroc, average_precision, best_f1

__all__ = [
    "FIGURES",
    "Bounded",
    "Curve",
    "Meter",
    "ScoreError",
    "Scores",
    "aupro",
    "auroc",
    "average_precision",
    "best_f1",
]
