"""All figures of a detector in one pass over score maps and masks: `Meter`.

Pixels are counted by bin (`bins.py`) and nothing but the counts is kept, in whole numbers, so that the figures depend neither on
the order of the images nor on who counted which.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from threecad.metrics import curves, regions, states
from threecad.metrics.bins import LEAST_BITS, MANTISSA, Bins, Keys, Scale, keys_of, least_that_round_to, scores_of
from threecad.metrics.curves import POINTS, Curve, Table
from threecad.metrics.figures import Scores
from threecad.metrics.inputs import Batch, ScoreError, flat, is_elsewhere, read
from threecad.metrics.tallies import Ints, Pages, Runs, least_bytes

LARGEST = 80 << 20
"""Bytes of pages that a meter may hold, 84 MB. Where scores range so wide that it would be more, bins become wider."""

_STAGE = 1 << 21  # bins (8 MB) that are gathered before they are counted: a count sweeps the whole range of scores
_FEW = 1 << 18  # anomalous pixels that are gathered, 3 MB
_PIECE = 1 << 16  # pixels that are turned into bins together, so that they stay in the cache
_PEEK = 64  # scores that show that a map has more digits than bins
_NARROW = 1 << 32  # pixels up to which a count needs no more than 32 bits


class Meter:
    """Counts score maps and their masks, batch by batch, and tells AUROC, average precision, best F1 and AUPRO.

    With `mantissa_bits` = 16 two scores share a bin only where they differ by less than 2⁻¹⁶ of their size; figures come with
    bounds for what that hides. What is held stays below 100 MB: where scores range so wide that pages would take more than
    `LARGEST`, bins become wider, all alike, and so do the bounds. With 23 every float32 has its own bin and figures are exact;
    then memory grows with the number of distinct scores, 12 bytes each and 24 more where they are anomalous. `upstream` asks
    for `pro_upstream` too.

    >>> meter = Meter()
    >>> meter.update(np.array([[0.1, 0.2], [0.8, 0.9]]), np.array([[0, 0], [1, 1]]))
    >>> meter.update(np.array([[0.1, 0.2], [0.3, 0.4]]), np.zeros((2, 2)))
    >>> scores = meter.compute()
    >>> scores.image_auroc, scores.pixel_ap.value, scores.aupro.value
    (1.0, 1.0, 1.0)
    """

    def __init__(self, *, mantissa_bits: int = 16, upstream: bool = False) -> None:
        if not LEAST_BITS <= mantissa_bits <= MANTISSA:
            raise ScoreError(f"mantissa_bits is {mantissa_bits}; expected {LEAST_BITS} to {MANTISSA}")
        self._finest = self._scale = Scale(mantissa_bits)
        self._pixels: Pages | Runs = Pages(small=True) if mantissa_bits < MANTISSA else Runs()
        self._marked: Pages | Runs = Pages(small=True) if mantissa_bits < MANTISSA else Runs()
        self._weights: Pages | Runs = Pages() if mantissa_bits < MANTISSA else Runs()
        self._stage = np.zeros(0, np.int32)
        self._staged = 0
        self._pieces: list[tuple[Keys, Ints]] = []
        self._pieced = 0
        self._pixel_count = 0
        self._marked_count = 0
        self._region_count = 0
        self._low, self._high = math.inf, -math.inf
        self._round = True  # each score is the highest of its bin, so that no two share one
        self._rounded = False  # some had more digits than a float32 has
        self._repeats = self._differs = 0  # neighbours of one region and bin that have equal scores, and that have not
        self._image_scores = array("d")
        self._image_labels = bytearray()
        self._upstream = array("d") if upstream else None

    # Counting

    def update(self, maps: Any, masks: Any, *, labels: Any = None, image_scores: Any = None) -> None:
        """Count images of one size.

        `maps` are (B, H, W), (B, 1, H, W) or one image's (H, W), of any real type, NumPy's or torch's; higher is more anomalous.
        float64 and wide integers are rounded to float32, which keeps their order but may make them equal. `masks` have the
        same shape; what is not zero is anomalous. `labels` are 0 or 1 an image, by default whether its mask marks anything; a
        defective image with an empty mask counts as an image, and its pixels not at all. `image_scores` are by default the
        highest of each map, and float64 in either case: whole numbers beyond 2⁵³ may become equal there, which no bound of a
        figure of images allows for. Infinite scores are in their order; NaN is a ScoreError, as is whatever else does not fit,
        and then nothing of the batch is counted.
        """
        batch = read(maps, masks, labels, image_scores)
        known_B = batch.known_B
        found = regions.find(batch.marked_BHW)
        self._admit(len(found.areas))
        self._image_scores.extend(batch.image_scores_B.tolist())
        self._image_labels.extend(batch.defective_B.astype(np.uint8).tobytes())
        if not known_B.any():
            return
        self._low = min(self._low, float(batch.lows_B[known_B].min()))
        self._high = max(self._high, float(batch.highs_B[known_B].max()))
        self._rounded = self._rounded or batch.rounded
        self._grow(int(known_B.sum()) * batch.marked_BHW[0].size)
        if is_elsewhere(batch.scores_BP):
            self._count_elsewhere(batch)
        else:
            for number in np.flatnonzero(known_B):
                self._count(batch.scores_BP[number], batch.lows_B[number], batch.highs_B[number])
        self._mark(batch, found)
        self._settle_if_large()

    def _admit(self, count: int) -> None:
        if self._region_count + count > regions.MOST:
            raise ScoreError(f"more than {regions.MOST} regions: their weights cannot be added up in 64 bits; are these masks?")
        self._region_count += count

    def _grow(self, pixels: int) -> None:
        """More pixels than a 32-bit count can tell are counted in 64 bits."""
        before, self._pixel_count = self._pixel_count, self._pixel_count + pixels
        if before < _NARROW <= self._pixel_count:
            for tally in (self._pixels, self._marked):
                if isinstance(tally, Pages):
                    tally.widen()

    def _count(self, scores_P: NDArray[np.float32], low: float, high: float) -> None:
        """Gather the bins of an image's pixels."""
        if not len(self._stage):
            self._stage = np.empty(_STAGE, np.int32)
        signed, near_one = not low > 0, high > 0.5 or low < -0.5  # -0.0 has a sign
        bits_P = scores_P.view(np.int32)
        at = 0
        while at < len(bits_P):
            size = min(_PIECE, len(bits_P) - at, _STAGE - self._staged)
            bits = bits_P[at : at + size]
            self._look(bits)
            self._stage[self._staged : self._staged + size] = self._scale.bins(bits, signed=signed, near_one=near_one)
            at += size
            self._staged += size
            if self._staged == _STAGE:
                self._settle()

    def _look(self, bits: Any) -> None:
        """Whether scores have digits that bins drop; maps of few levels mostly have none, and then all figures are exact."""
        hidden = (1 << self._finest.dropped) - 1
        if self._round and hidden:
            self._round = not bool((bits[:_PEEK] & hidden).any()) and not bool((bits & hidden).any())

    def _count_elsewhere(self, batch: Batch) -> None:
        """Count on the tensor's own device; only the bins that occur and their counts are brought over."""
        self._settle()
        torch = sys.modules["torch"]
        chosen_B = torch.as_tensor(np.flatnonzero(batch.known_B), device=batch.scores_BP.device)
        bits = batch.scores_BP[chosen_B].reshape(-1).view(torch.int32)
        self._look(bits)
        bins, counts = torch.unique(self._scale.bins(bits), return_counts=True)
        self._hold(bins.cpu().numpy(), counts.cpu().numpy())

    def _mark(self, batch: Batch, found: regions.Marked) -> None:
        """Gather the anomalous pixels and the weights of their regions."""
        if not len(found.places):
            return
        self._marked_count += len(found.places)
        scores = batch.scores_BP.reshape(-1)
        if is_elsewhere(scores):
            scores = scores[sys.modules["torch"].as_tensor(found.places, device=scores.device)].cpu().numpy()
        else:
            scores = scores[found.places]
        weighed = regions.weigh(keys_of(scores), found)
        self._compare(weighed)
        self._pieces.append((weighed.keys, weighed.weights))
        self._pieced += len(weighed.keys)
        if self._upstream is not None:
            self._upstream.extend(_upstream(batch, found))

    def _compare(self, weighed: regions.Weighed) -> None:
        """Whether scores that share a bin use to be equal or not is seen where it costs nothing: within a region."""
        bins = self._finest.bins_of_keys(weighed.keys)
        shared = np.flatnonzero(weighed.follows[1:] & (bins[1:] == bins[:-1])) + 1
        shared = shared[~self._finest.alone(weighed.keys[shared])]
        equal = int(np.count_nonzero(weighed.keys[shared] == weighed.keys[shared - 1]))
        self._repeats += equal
        self._differs += len(shared) - equal

    def _settle_if_large(self) -> None:
        if self._pieced >= _FEW or (isinstance(self._pixels, Pages) and self._tallied > LARGEST):
            self._settle()

    def _settle(self) -> None:
        """Count what was gathered, and keep less where pages have become too many."""
        staged, self._staged = self._stage[: self._staged], 0
        self._hold(staged)
        for keys, weights in _joined(self._pieces):
            bins = self._scale.bins_of_keys(keys)
            self._marked.add(bins)
            self._weights.add(bins, weights)
        self._pieces, self._pieced = [], 0
        while isinstance(self._pixels, Pages) and self._tallied > LARGEST:
            self._fold()

    def _hold(self, bins: Bins, counts: Ints | None = None) -> None:
        """Count pixels, in wider bins where these alone would take more than `LARGEST`."""
        while isinstance(self._pixels, Pages) and least_bytes(bins, LARGEST) > LARGEST:
            before = self._scale
            self._fold()
            bins = before.into(self._scale, bins)
        self._pixels.add(bins, counts)

    @property
    def _tallied(self) -> int:
        return self._pixels.nbytes + self._marked.nbytes + self._weights.nbytes

    def _fold(self) -> None:
        """Keep a bit less. When it comes to that depends on all that was counted and not on its order: the pages in use only
        become more, and what bins were joined to is what the wider ones would have counted."""
        before, self._scale = self._scale, Scale(self._scale.mantissa - 1)
        for tally in (self._pixels, self._marked, self._weights):
            if isinstance(tally, Pages):
                tally.move(partial(before.into, self._scale))

    # Joining and sending

    def merge(self, other: Meter) -> None:
        """Add what another meter of the same settings counted; the other one stays as it is. Any order gives the same."""
        if (self._finest, self._upstream is None) != (other._finest, other._upstream is None):
            raise ScoreError("meters of different settings cannot be merged: mantissa_bits and upstream must be equal")
        self._settle()
        other._settle()
        tables = [tally.table() for tally in (other._pixels, other._marked, other._weights)]
        self._admit(other._region_count)
        self._grow(other._pixel_count)
        self._marked_count += other._marked_count
        while self._scale.mantissa > other._scale.mantissa:
            self._fold()
        bins, counts = tables[0]
        self._hold(other._scale.into(self._scale, bins), counts)
        for tally, (bins, amounts) in zip((self._marked, self._weights), tables[1:], strict=True):
            tally.add(other._scale.into(self._scale, bins), amounts)
        self._repeats, self._differs = self._repeats + other._repeats, self._differs + other._differs
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._round, self._rounded = self._round and other._round, self._rounded or other._rounded
        self._image_scores.extend(list(other._image_scores))
        self._image_labels.extend(bytes(other._image_labels))
        if self._upstream is not None and other._upstream is not None:
            self._upstream.extend(list(other._upstream))
        self._settle()

    @property
    def nbytes(self) -> int:
        """Bytes that are held, what was gathered and not yet counted included."""
        pieces = sum(keys.nbytes + weights.nbytes for keys, weights in self._pieces)
        listed = 8 * (len(self._image_scores) + len(self._upstream or ())) + len(self._image_labels)
        return self._tallied + self._stage.nbytes + pieces + listed

    def state(self) -> dict[str, NDArray[Any]]:
        """All that was counted, as plain arrays to send or store (`numpy.savez`); equal for equal images, in whatever order."""
        self._settle()
        bins, counts = self._pixels.table()
        marked_bins, marked = self._marked.table()
        order = np.lexsort((self._labels, self._scores))
        return {
            "settings": np.array(
                [self._finest.mantissa, self._scale.mantissa, self._round, self._rounded, self._upstream is not None], np.int64
            ),
            "counts": np.array(
                [self._pixel_count, self._marked_count, self._region_count, self._repeats, self._differs], np.int64
            ),
            "range": np.array([self._low, self._high]),
            "bins": bins,
            "pixels": counts if self._pixel_count >= _NARROW else counts.astype(np.uint32),
            "marked_bins": marked_bins,
            "marked": marked,
            "weights": self._weights.table()[1],
            "image_scores": self._scores[order],
            "image_labels": self._labels[order],
            "upstream": np.sort(np.array(self._upstream or (), np.float64)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """The meter of a `state`; ScoreError where the arrays are not one."""
        parts = states.checked(state)
        bits, kept, round_, rounded, upstream = parts["settings"].tolist()
        meter = cls(mantissa_bits=bits, upstream=bool(upstream))
        pixel_count, marked_count, region_count, meter._repeats, meter._differs = parts["counts"].tolist()
        meter._admit(region_count)
        meter._grow(pixel_count)
        meter._marked_count, meter._scale = marked_count, Scale(kept)
        meter._round, meter._rounded = bool(round_), bool(rounded)
        meter._low, meter._high = parts["range"].tolist()
        meter._hold(parts["bins"], parts["pixels"].astype(np.int64))
        marked_bins = Scale(kept).into(meter._scale, parts["marked_bins"])
        meter._marked.add(marked_bins, parts["marked"].astype(np.int64))
        meter._weights.add(marked_bins, parts["weights"].astype(np.int64))
        meter._image_scores.extend(parts["image_scores"].tolist())
        meter._image_labels.extend(parts["image_labels"].astype(np.uint8).tobytes())
        if meter._upstream is not None:
            meter._upstream.extend(parts["upstream"].tolist())
        meter._settle()
        return meter

    # Telling

    @property
    def _scores(self) -> NDArray[np.float64]:
        return np.array(self._image_scores, np.float64)

    @property
    def _labels(self) -> NDArray[np.uint8]:
        return np.frombuffer(bytes(self._image_labels), np.uint8)

    def compute(self, *, pro_limit: float = 0.3) -> Scores:
        """The figures of all that was counted, AUPRO up to the false-positive rate `pro_limit`.

        ScoreError where neither images nor pixels have both positives and negatives: then nothing can be told.
        """
        _check_limit(pro_limit)
        images, pixels = self._why_no_images(), self._why_no_pixels()
        if images and pixels:
            raise ScoreError(f"nothing can be measured: {images}, and {pixels}")
        by_image = None if images else curves.of_scores(self._scores, self._labels == 1)
        by_pixel = None if pixels else self._table()
        image_f1, image_threshold = curves.best_f1(by_image) if by_image else (None, None)
        pixel_f1, pixel_threshold = curves.best_f1(by_pixel) if by_pixel else (None, None)
        return Scores(
            image_auroc=curves.auroc(by_image).value if by_image else None,
            image_ap=curves.average_precision(by_image).value if by_image else None,
            image_f1=image_f1.value if image_f1 else None,
            image_f1_threshold=image_threshold,
            pixel_auroc=curves.auroc(by_pixel) if by_pixel else None,
            pixel_ap=curves.average_precision(by_pixel) if by_pixel else None,
            pixel_f1=pixel_f1,
            pixel_f1_threshold=pixel_threshold,
            aupro=curves.aupro(by_pixel, pro_limit) if by_pixel else None,
            pro_upstream=math.fsum(self._upstream) / len(self._upstream) if self._upstream else None,
            pro_limit=pro_limit,
            images=len(self._image_labels),
            anomalous_images=sum(self._image_labels),
            pixels=self._pixel_count,
            anomalous_pixels=self._marked_count,
            regions=self._region_count,
            constant=self._constant,
            mantissa_bits=self._scale.mantissa,
            why=_sentence(images, "images") or _sentence(pixels, "pixels"),
        )

    def roc(self, points: int = POINTS) -> Curve:
        """The pixels' ROC curve, thinned to so many points; ScoreError where it is undefined, as for the other two."""
        return curves.roc(self._table(), points)

    def pr(self, points: int = POINTS) -> Curve:
        """The pixels' precision over recall, thinned to so many points."""
        return curves.pr(self._table(), points)

    def pro(self, limit: float = 0.3, points: int = POINTS) -> Curve:
        """The mean overlap of regions over the false-positive rate up to `limit`, thinned to so many points."""
        _check_limit(limit)
        return curves.pro(self._table(), limit, points)

    @property
    def _constant(self) -> bool:
        return self._pixel_count > 0 and self._low == self._high

    def _why_no_images(self) -> str | None:
        if not self._image_labels:
            return "there is no image"
        if not any(self._image_labels):
            return "no image is defective"
        return "every image is defective" if all(self._image_labels) else None

    def _why_no_pixels(self) -> str | None:
        if not self._pixel_count:
            return "there is no pixel of which it is known whether it is anomalous"
        if not self._marked_count:
            return "no pixel is anomalous"
        return "every pixel is anomalous" if self._marked_count == self._pixel_count else None

    def _table(self) -> Table:
        """Pixels by bin, the highest first."""
        if why := self._why_no_pixels():
            raise ScoreError(f"nothing can be measured of the pixels: {why}")
        self._settle()
        bins, marked = self._marked.table()
        # A row for each bin with anomalous pixels, and before each and after the last one for all bins in between.
        below, above = self._pixels.below(bins), self._pixels.below(bins + 1)
        rows = 2 * len(bins) + 1
        negatives, positives, weights = (np.zeros(rows, np.int64) for _ in range(3))
        negatives[0::2] = np.append(below, self._pixel_count) - np.append(0, above)
        negatives[1::2], positives[1::2], weights[1::2] = above - below - marked, marked, self._weights.table()[1]
        exact = self._constant or (self._round and not self._rounded and self._scale == self._finest)
        lowest, highest = self._scale.ends(bins)
        thresholds = np.empty(rows)
        # A threshold is for the scores as they were given, and the lowest of a row may have been below its float32.
        given = least_that_round_to if self._rounded else scores_of
        thresholds[0::2] = np.append(self._low, given(highest + 1))  # what lies above the next row
        thresholds[1::2] = self._high if self._constant else given(highest if exact else lowest)
        alone, rooms = np.ones(rows, np.bool_), np.ones(rows, np.int64)
        rooms[1::2] += highest.astype(np.int64) - lowest
        alone[1::2] = exact | ((lowest == highest) & (not self._rounded))
        kept = np.flatnonzero((negatives > 0) | (positives > 0))[::-1]
        return Table(
            thresholds=thresholds[kept],
            negatives=negatives[kept],
            positives=positives[kept],
            weights=weights[kept],
            regions=self._region_count,
            exact=alone[kept],
            rooms=rooms[kept] if self._differs > self._repeats else None,
        )


def _joined(pieces: list[tuple[Keys, Ints]]) -> list[tuple[Keys, Ints]]:
    """The pieces as one, or none."""
    if not pieces:
        return []
    return [(np.concatenate([keys for keys, _ in pieces]), np.concatenate([weights for _, weights in pieces]))]


def _upstream(batch: Batch, found: regions.Marked) -> list[float]:
    """The variant that is evaluated image by image, of each image that has a region."""
    size = batch.marked_BHW[0].size
    values = []
    for number in np.flatnonzero(batch.marked_BHW.any(axis=(1, 2))):
        start, stop = np.searchsorted(found.places, [number * size, (number + 1) * size])
        own = found.regions[start:stop]
        scores_P = flat(batch.scores_BP[number], "the map")
        value = regions.pro_upstream(scores_P, found.places[start:stop] - number * size, own - own.min())
        values += [] if value is None else [value]
    return values


def _check_limit(limit: float) -> None:
    if not 0 < limit <= 1:
        raise ScoreError(f"the limit of the PRO curve is {limit}; expected a false-positive rate above 0, at most 1")


def _sentence(why: str | None, level: str) -> str | None:
    return f"{why}, so the figures of {level} are undefined".capitalize() if why else None
