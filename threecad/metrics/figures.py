"""The figures of a detector, what the paper calls them, and their mean over categories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from threecad.metrics.curves import Bounded

FIGURES = {
    "image_auroc": "I-AUROC",
    "pixel_auroc": "P-AUROC",
    "aupro": "P-PRO",
    "pixel_ap": "AP",
    "image_ap": "image AP",
    "image_f1": "image F1",
    "pixel_f1": "pixel F1",
    "pro_upstream": "P-PRO upstream",
}
"""Names of the figures of `Scores` that lie between 0 and 1, and what tables call them; the first four as the paper does."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector reached. Figures of images are exact, those of pixels come with bounds.

    Where one level has no positives or no negatives its figures are None and `why` says so in a sentence. A threshold is the
    lowest score that counts as anomalous; it is float64 where maps had more digits than float32, and holds for these as they were
    given. `pro_upstream` is None unless it was asked for; it is not comparable with `aupro`.
    `constant` says that all pixels have the same score, `mantissa_bits` how finely scores were told apart in the end.
    """

    image_auroc: float | None
    image_ap: float | None
    image_f1: float | None
    image_f1_threshold: float | None
    pixel_auroc: Bounded | None
    pixel_ap: Bounded | None
    pixel_f1: Bounded | None
    pixel_f1_threshold: float | None
    aupro: Bounded | None
    pro_upstream: float | None
    pro_limit: float
    images: int
    anomalous_images: int
    pixels: int
    anomalous_pixels: int
    regions: int
    constant: bool
    mantissa_bits: int
    why: str | None


def mean(values: Iterable[float | Bounded | None]) -> tuple[float | None, int]:
    """The mean of a figure over the categories that have it, each counting the same, and how many these are; None without any.

    >>> mean([0.5, None, Bounded(1.0, 0.9, 1.0)]), mean([None])
    ((0.75, 2), (None, 0))
    """
    found = [float(value) for value in values if value is not None]
    return (sum(found) / len(found) if found else None), len(found)
