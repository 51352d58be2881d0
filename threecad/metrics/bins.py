"""From a score to its bin and back: bins follow the score's float32 bits, so no range has to be guessed.

A float32 is a sign, 8 bits of exponent and 23 of mantissa; the integers that hold the bits of two positive numbers order as the
numbers do. A bin is what remains of that integer without its lowest bits, rounded up, so that 0 has a bin of its own and every
round number is the highest of its bin; negative scores mirror positive ones.

Floats are fine near 0 and not near 1, where a sigmoid gathers its anomalies. So between a half and 1 bins follow the bits of
the distance to 1 as well, which floats hold exactly: with 16 bits of mantissa, scores above 0.996 and 1 itself have bins of
their own. That costs the pages of seven more powers of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int32]
Bins = NDArray[np.int32]

MANTISSA = 23
"""Bits of mantissa of a float32; with as many kept, each number has a bin of its own."""
LEAST_BITS = 4
"""Fewer would leave bounds that say nothing."""

_MAGNITUDE = 0x7FFF_FFFF  # all bits of a float32 but its sign
_HALF, _ONE, _INFINITY = 0x3F00_0000, 0x3F80_0000, 0x7F80_0000  # the bits of 0.5, 1 and infinity
_STEPS = _ONE - _HALF  # floats from a half to 1, all of them as far apart


def keys_of(scores: NDArray[np.float32]) -> Keys:
    """Integers that order as the scores do; -0.0 equals 0.0, and NaN has no place.

    >>> keys_of(np.array([-np.inf, -1.0, -0.0, 0.0, 1e-45, 2.5], np.float32)).tolist()
    [-2139095040, -1065353216, 0, 0, 1, 1075838976]
    """
    bits = scores.view(np.int32)
    sign = bits >> 31  # 0, or -1 with all bits set
    keys: Keys = ((bits & _MAGNITUDE) ^ sign) - sign
    return keys


def scores_of(keys: Keys) -> NDArray[np.float32]:
    """The scores that keys stand for; beyond infinity there is none, so those stand for infinity.

    >>> scores_of(np.array([-2139095040, 0, 1, 1075838976], np.int32)).tolist()
    [-inf, 0.0, 1.401298464324817e-45, 2.5]
    """
    bits = np.minimum(np.abs(keys), _INFINITY).view(np.uint32) | (keys < 0).astype(np.uint32) << np.uint32(31)
    return bits.view(np.float32)


def least_that_round_to(keys: Keys) -> NDArray[np.float64]:
    """The smallest float64 that become these scores as float32: half-way down to the next lower one, or just above where that
    is a tie that goes to the lower. A number is at least that if and only if it is at least the score once it is rounded.

    >>> float(np.float32(0.3)), least_that_round_to(keys_of(np.array([0.3], np.float32))).tolist()
    (0.30000001192092896, [0.29999999701976776])
    """
    own, below = (_unbounded(each) for each in (keys.astype(np.int64), keys.astype(np.int64) - 1))
    middle = (own + below) / 2
    least: NDArray[np.float64] = np.where(keys & 1, np.nextafter(middle, np.inf), middle)
    return np.where(keys <= -_INFINITY, -np.inf, least)


def _unbounded(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """As `scores_of`, but 2¹²⁸ for infinity: half-way to there rounding begins to lead to infinity."""
    scores = scores_of(keys.astype(np.int32)).astype(np.float64)
    return np.clip(scores, -(2.0**128), 2.0**128)


@dataclass(frozen=True, slots=True)
class Scale:
    """Bins that keep so many bits of mantissa. Each bin lies in one of the scale that keeps a bit less: see `into`.

    >>> scale, scores = Scale(16), np.array([-1, 0, 1e-45, 0.3, 0.300001, 1 - 2**-24, 1, 1.000001], np.float32)
    >>> scale.bins(scores.view(np.int32)).tolist()
    [-8782336, 0, 1, 8205108, 8205108, 8782335, 8782336, 8782337]
    """

    mantissa: int

    @property
    def dropped(self) -> int:
        """Bits of mantissa that bins do not tell apart."""
        return MANTISSA - self.mantissa

    def bins(self, bits: Any, *, signed: bool = True, near_one: bool = True) -> Any:
        """The bins of scores whose float32 bits are given as int32, as NumPy's array or torch's tensor.

        `signed = False` promises that no sign bit is set, `near_one = False` that no score is above a half.
        """
        if not signed:
            return self._index(bits, near_one)
        sign = bits >> 31
        return (self._index(bits & _MAGNITUDE, near_one) ^ sign) - sign

    def bins_of_keys(self, keys: Keys) -> Bins:
        """The bins of scores given by their keys."""
        bins: Bins = self.bins(scores_of(keys).view(np.int32))
        return bins

    def _index(self, sizes: Any, near_one: bool) -> Any:
        """The bin of a score that is not negative; the sum of two numbers that only grow with it tells apart what either does."""
        if not self.dropped:
            return sizes
        index = (sizes + ((1 << self.dropped) - 1)) >> self.dropped
        return index + self._approach(sizes) if near_one else index

    def _approach(self, sizes: Any) -> Any:
        """What the distance to 1 adds to a bin: 0 up to a half, `_extra` from 1 on."""
        steps = (_ONE + self._offset) - sizes.clip(_HALF, _ONE)
        return self._farthest - (_float_bits(steps) >> self.dropped)

    @property
    def _offset(self) -> int:
        """Added to the steps that lie between a score and 1, so that as many next to 1 count one by one."""
        return 1 << self.mantissa

    @property
    def _farthest(self) -> int:
        return int(np.float32(_STEPS + self._offset).view(np.int32)) >> self.dropped

    @property
    def _extra(self) -> int:
        return self._farthest - (int(np.float32(self._offset).view(np.int32)) >> self.dropped) if self.dropped else 0

    def alone(self, keys: Keys) -> NDArray[np.bool_]:
        """Whether a score is next to 1, where each has its own bin, or a round number, which is seldom met by chance."""
        steps = _ONE - np.abs(keys)
        found: NDArray[np.bool_] = ((steps >= 0) & (steps < self._offset)) | ((keys & ((1 << self.dropped) - 1)) == 0)
        return found

    def ends(self, bins: Bins) -> tuple[Keys, Keys]:
        """The keys of the lowest and of the highest float32 of bins.

        >>> lowest, highest = Scale(16).ends(np.array([-1, 0, 8205108, 8782336], np.int32))
        >>> scores_of(lowest).tolist()
        [-1.793662034335766e-43, 0.0, 0.29999926686286926, 1.0]
        >>> scores_of(highest).tolist()
        [-1.401298464324817e-45, 0.0, 0.3000030517578125, 1.0]
        """
        sizes = np.abs(bins).astype(np.int64)
        far = self._highest(sizes)
        near = np.where(sizes > 0, np.minimum(self._highest(np.maximum(sizes - 1, 0)) + 1, far), 0)
        lowest, highest = np.where(bins < 0, -far, near), np.where(bins < 0, -near, far)
        return lowest.astype(np.int32), highest.astype(np.int32)

    def into(self, other: Scale, bins: Bins) -> Bins:
        """The bins of a scale that keeps no more bits, in which these lie. No bin is cut: where steps to 1 are counted in
        powers of two, those of the other scale are as large or larger, and elsewhere it only drops more bits.

        >>> Scale(16).into(Scale(15), np.array([-2, -1, 0, 1, 2, 3], np.int32)).tolist()
        [-1, -1, 0, 1, 1, 2]
        """
        return bins if self == other else other.bins_of_keys(self.ends(bins)[1])

    def _highest(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The largest integer of bits whose `_index` is at most this."""
        start, end = _HALF >> self.dropped, (_ONE >> self.dropped) + self._extra
        found: NDArray[np.int64] = np.where(index <= start, index, index - self._extra) << self.dropped
        between = (index > start) & (index < end)
        found[between] = self._search(index[between])
        return np.clip(found, 0, _INFINITY)

    def _search(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `_highest`, between a half and 1, by halving."""
        low, high = np.full(len(index), _HALF, np.int64), np.full(len(index), _ONE, np.int64)
        for _ in range(MANTISSA):  # index(low) <= index < index(high)
            middle = (low + high) >> 1
            below = self._index(middle.astype(np.int32), near_one=True) <= index
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return low


def _float_bits(numbers: Any) -> Any:
    """The float32 bits of whole numbers below 2²⁴, as int32."""
    if isinstance(numbers, np.ndarray):
        return numbers.astype(np.float32).view(np.int32)
    return numbers.float().view(numbers.dtype)
