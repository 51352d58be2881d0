"""From where on an image is defective: the scores of good images that the model has not trained on decide."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from threecad.learning.batches import Batches, as_images
from threecad.learning.model import Detector
from threecad.learning.runs import Spread, Threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.formats.dataset import Dataset
    from threecad.learning.cache import Squares
    from threecad.learning.config import Scoring
    from threecad.learning.model import Cfrg


def measured(
    network: Cfrg, scoring: Scoring, squares: Squares, batch_size: int, device: torch.device
) -> tuple[Detector, tuple[Spread, ...]]:
    """The detector in eval mode on the network's device, and by how much its maps spread over these good images, a part each:
    nothing where `scoring.normalise` is off, which adds them as they are."""
    detector = Detector(network, scoring).eval().to(device)
    if not scoring.normalise:
        return detector, ()
    found = spreads(detector, squares, batch_size, device)
    return Detector(network, scoring, [(each.mean, each.deviation) for each in found]).eval().to(device), found


def spreads(detector: Detector, squares: Squares, batch_size: int, device: torch.device) -> tuple[Spread, ...]:
    """Mean and standard deviation of each part's smoothed map over all pixels of the squares. A map that is everywhere the same,
    or no number, has the deviation 1: the latter is told by whoever looks at the scores."""
    sums_P2 = torch.zeros(len(detector.spreads_P2), 2, dtype=torch.float64)
    count = 0
    with torch.inference_mode():
        for images, _ in Batches(squares, device).run(_order(len(squares.pixels), batch_size)):
            maps = [detector.smooth(part).cpu().double() for part in detector.parts(as_images(images))]
            sums_P2 += torch.stack([torch.stack([part.sum(), part.square().sum()]) for part in maps])
            count += maps[0].numel()
    found = []
    for total, square in (sums_P2 / count).tolist():
        deviation = math.sqrt(max(square - total**2, 0.0))
        known = math.isfinite(total) and deviation > 0
        found.append(Spread(mean=total if known else 0.0, deviation=deviation if known else 1.0))
    return tuple(found)


def scores(detector: Detector, squares: Squares, batch_size: int, device: torch.device) -> NDArray[np.float32]:
    """The score of each square, in their order; the detector is on the device, in eval mode."""
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for images, _ in Batches(squares, device).run(_order(len(squares.pixels), batch_size)):
            found.append(detector(as_images(images)).score_B.float().cpu().numpy())
    return np.concatenate(found)


def _order(count: int, batch_size: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(count), max(1, -(-count // batch_size)))


def threshold(
    found: NDArray[np.float32], squares: Squares, data: Dataset, rate: float, source: Literal["validation", "training"]
) -> Threshold:
    """The thresholds for images and for photographs; each counts with its greatest score."""
    images: defaultdict[str, float] = defaultdict(lambda: -math.inf)
    photographs: defaultdict[str, float] = defaultdict(lambda: -math.inf)
    for score, row in zip(found.tolist(), squares.rows.tolist(), strict=True):
        entry = data.rows[row]
        for kept, key in ((images, entry.id), (photographs, f"{entry.category}/{entry.entry.source}")):
            kept[key] = max(kept[key], score)
    return Threshold(
        image=quantile(list(images.values()), rate),
        photograph=quantile(list(photographs.values()), rate),
        false_positive_rate=rate,
        images=len(images),
        photographs=len(photographs),
        source=source,
    )


def quantile(good: Sequence[float], rate: float) -> float:
    """The least threshold that a new good image reaches with a chance of at most `rate`, told by n good ones: just above the one
    of rank ⌈(n + 1) · (1 − rate)⌉ (split conformal prediction). Too few for the rate: just above the greatest.

    >>> round(quantile([0.1, 0.2, 0.3, 0.4], 0.5), 6), round(quantile([0.1, 0.2], 0.01), 6)
    (0.3, 0.2)
    """
    ordered = np.sort(np.asarray(good, np.float32))
    rank = min(len(ordered), math.ceil((len(ordered) + 1) * (1 - rate)))
    return float(np.nextafter(ordered[rank - 1], np.float32(np.inf)))


def promised(count: int, rate: float) -> float:
    """The greatest share of new good images that are taken for defective, as far as a threshold chosen from n (`count`) good ones
    can promise: the `rate` asked for, or 1/(n + 1) where n are too few for it.

    >>> promised(10, 0.5), promised(1, 0.01), promised(99, 0.01), promised(0, 0.01)
    (0.5, 0.5, 0.01, 1.0)
    """
    return max(rate, 1 / (count + 1))
